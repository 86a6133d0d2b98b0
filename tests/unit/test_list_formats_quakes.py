from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from itertools import permutations
from typing import Any

import pytest
from alert_builders import FIXTURES, SHARED

from alerts.formats import Reading, parse
from alerts.formats.lists import LISTS, Row
from alerts.lifecycle import (
    Cancel,
    Continuation,
    Known,
    Refusal,
    State,
    Update,
    classify,
    remember,
    settled,
    sounds_as,
)
from alerts.model import (
    Alert,
    AlertError,
    Certainty,
    CodeScheme,
    Colour,
    MsgType,
    RegionCode,
    Status,
    Urgency,
)

BEIJING = timezone(timedelta(hours=8))
JAPAN = timezone(timedelta(hours=9))
NOW = datetime(2026, 9, 18, 12, 50, 40, tzinfo=UTC)
LISTED = FIXTURES / "lists"
FEEDS = SHARED / "feeds"

CENC: dict[str, Any] = {
    "type": "cenc_eew",
    "ID": "b4kybfnuqayyy",
    "EventID": "202609182050.0001",
    "ReportTime": "2026-09-18 20:50:31",
    "ReportNum": 2,
    "OriginTime": "2026-09-18 20:50:23",
    "HypoCenter": "四川甘孜州新龙县",
    "Latitude": 30.887,
    "Longitude": 99.89,
    "Magnitude": 4.2,
    "Depth": 14,
    "MaxIntensity": 5.8,
}
CEA: dict[str, Any] = {
    "id": "b4kybfnuqayyy",
    "eventId": "202609182050.0001",
    "shockTime": "2026-09-18 20:50:23",
    "longitude": 99.89,
    "latitude": 30.887,
    "placeName": "四川甘孜州新龙县",
    "magnitude": 4.2,
    "epiIntensity": 5.8,
    "depth": 14,
    "updates": 2,
}


def said(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def read(name: str, body: bytes) -> Alert:
    return parse(body, Reading(CodeScheme.MCA, format=name), now=NOW)


def wolfx(**changes: Any) -> Alert:
    (row,) = LISTS["wolfx"].split(said({**CENC, **changes}))
    return read("wolfx", row.body)


def fan(value: Any) -> Alert:
    (row,) = LISTS["fanstudio"].split(said(value))
    return read("fanstudio", row.body)


def japanese(**changes: Any) -> Alert:
    value = json.loads((LISTED / "wolfx-jma.json").read_text())
    (row,) = LISTS["wolfx"].split(said({**value, **changes}))
    return read("wolfx", row.body)


def all_of(file: str) -> dict[str, Row]:
    return {row.key: row for row in LISTS["fanstudio"].split((LISTED / file).read_bytes())}


def shared(path: str) -> bytes:
    if not (FEEDS / path).is_file():
        pytest.skip(f"the shared sample {path} is not here")
    return (FEEDS / path).read_bytes()


# --- a report ------------------------------------------------------------------------------------------


def test_an_early_warning_of_wolfx_is_read_field_by_field() -> None:
    alert = wolfx()
    quake = alert.main.quake
    assert quake is not None
    assert quake.origin == datetime(2026, 9, 18, 20, 50, 23, tzinfo=BEIJING)
    assert (quake.lat, quake.lon, quake.magnitude, quake.depth_km) == (30.887, 99.89, 4.2, 14.0)
    assert (quake.place, quake.report, quake.final, quake.intensity) == ("四川甘孜州新龙县", 2, False, 5.8)
    assert (alert.identifier, alert.event_key) == ("cea-202609182050.0001-r2", "cea-202609182050.0001")
    assert alert.sent == datetime(2026, 9, 18, 20, 50, 31, tzinfo=BEIJING)
    assert alert.msg_type is MsgType.UPDATE
    info = alert.main
    assert (info.hazard, info.urgency, info.certainty) == (
        "earthquake",
        Urgency.IMMEDIATE,
        Certainty.LIKELY,
    )
    assert (info.colour, info.areas) == (None, ())
    assert wolfx(ReportNum=1).msg_type is MsgType.ALERT


def test_the_same_network_through_two_relays_is_one_event() -> None:
    (bare, wrapped, named) = (
        fan({"Data": CEA, "md5": "x"}),
        fan({"type": "update", "data": {"Data": CEA, "md5": "x"}}),
        fan({"type": "update", "source": "cea", "Data": CEA, "md5": "x"}),
    )
    assert bare == wrapped == named
    assert (bare.identifier, bare.event_key) == (wolfx().identifier, wolfx().event_key)
    assert bare.main.quake == wolfx().main.quake
    assert bare.sender == wolfx().sender


def test_a_report_without_a_report_time_was_sent_at_its_origin_and_says_so() -> None:
    alert = fan({"Data": CEA})
    assert alert.sent == datetime(2026, 9, 18, 20, 50, 23, tzinfo=BEIJING)
    assert any("sent (the origin time" in note for note in alert.inferred)
    assert fan({"Data": {**CEA, "createTime": "2026-09-18 20:50:40"}}).sent.second == 40


def test_numbers_as_text_other_spellings_and_missing_fields_are_read() -> None:
    alert = wolfx(
        Latitude="30.887",
        Longitude=" 99.89 ",
        Magnitude=None,
        Magunitude="4.2",
        Depth="14km",
        MaxIntensity="5.8",
        ReportNum="2",
    )
    assert alert.main.quake == wolfx().main.quake
    poor = wolfx(Depth=None, MaxIntensity=None, HypoCenter=None, ReportNum=None)
    assert poor.main.quake is not None
    assert (poor.main.quake.depth_km, poor.main.quake.intensity, poor.main.quake.report) == (None, None, 1)
    assert any("ReportNum" in remark for remark in poor.remarks)


@pytest.mark.parametrize(
    "changes",
    [
        {"Latitude": None},
        {"Longitude": 999},
        {"Latitude": "north"},
        {"Magnitude": None},
        {"Magnitude": 42},
        {"Magnitude": True},
        {"OriginTime": None},
        {"OriginTime": "soon"},
        {"EventID": None, "OriginTime": None},
        {"ReportNum": 1.5},
        {"type": "us_eew"},
    ],
)
def test_a_report_that_does_not_say_who_feels_it_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(AlertError):
        wolfx(**changes)


def test_a_depth_or_intensity_that_cannot_be_is_left_out_and_mentioned() -> None:
    alert = wolfx(Depth=-999, MaxIntensity=20)
    assert alert.main.quake is not None
    assert (alert.main.quake.depth_km, alert.main.quake.intensity) == (None, None)
    assert len(alert.remarks) == 2


def test_a_final_report_is_observed() -> None:
    alert = wolfx(type="fj_eew", isFinal=True)
    assert alert.main.certainty is Certainty.OBSERVED
    assert alert.main.quake is not None
    assert alert.main.quake.final


# --- JMA -----------------------------------------------------------------------------------------------


def test_japanese_times_are_japanese_and_shindo_is_no_intensity_of_ours() -> None:
    alert = japanese()
    quake = alert.main.quake
    assert quake is not None
    assert quake.origin == datetime(2026, 7, 10, 1, 21, 43, tzinfo=JAPAN)
    assert alert.sent == datetime(2026, 7, 10, 1, 22, 52, tzinfo=JAPAN)
    assert quake.intensity is None
    assert ("shindo", "5弱") in alert.main.parameters
    relayed = fan(
        {
            "Data": {
                "id": "20260710012143",
                "updates": 6,
                "shockTime": "2026-07-10 01:21:43",
                "createTime": "2026-07-10 01:22:52",
                "latitude": 25.5,
                "longitude": 125.0,
                "depth": 100,
                "magnitude": 6.4,
                "placeName": "宮古島北西沖",
                "epiIntensity": "5弱",
                "infoTypeName": "警報",
                "final": False,
                "cancel": False,
            }
        }
    )
    assert (relayed.identifier, relayed.sent, relayed.main.quake) == (alert.identifier, alert.sent, quake)


def test_training_and_test_reports_are_labelled_and_never_sound() -> None:
    for changes, status in (
        ({"isTraining": True}, Status.EXERCISE),
        ({"isTraining": "true"}, Status.EXERCISE),
        ({"Title": "緊急地震速報（訓練）"}, Status.EXERCISE),
        ({"Issue.Status": "試験"}, Status.TEST),
    ):
        alert = japanese(**changes)
        assert alert.status is status
        assert isinstance(sounds_as(alert), Refusal)


def test_a_cancel_needs_no_place_and_ends_its_event() -> None:
    alert = japanese(isCancel=True, Latitude=None, Longitude=None, Magunitude=None, Serial=7)
    assert (alert.msg_type, alert.event_key) == (MsgType.CANCEL, japanese().event_key)
    assert (alert.main.quake, alert.main.urgency) == (None, Urgency.PAST)
    assert alert.main.description == ""


def test_an_assumed_hypocentre_is_said() -> None:
    assert any("isAssumption" in remark for remark in japanese(isAssumption=True).remarks)


# --- the life of an event ------------------------------------------------------------------------------


def fold(alerts: list[Alert]) -> list[str]:
    """What each of `alerts` is to those before it."""
    known: list[Known] = []
    kinds = []
    for alert in alerts:
        villages = frozenset({"v1"})
        decision = classify(alert, known, alert.sent + timedelta(seconds=2), villages=villages)
        kinds.append(type(decision).__name__)
        gone = set(decision.withdraws)
        after = State.CANCELLED if isinstance(decision, Cancel) else State.SUPERSEDED
        known = [item if item.identifier not in gone else _in_state(item, after) for item in known]
        known.append(remember(alert, decision, villages, settled(alert, decision, held=False)))
    return kinds


def _in_state(item: Known, state: State) -> Known:
    from dataclasses import replace

    return replace(item, state=state)


def test_reports_of_one_event_are_one_event_in_whatever_order_they_come() -> None:
    reports = [
        wolfx(ReportNum=number, ReportTime=f"2026-09-18 20:50:{25 + number * 2}") for number in (1, 2, 3)
    ]
    assert len({report.event_key for report in reports}) == 1
    assert len({report.identifier for report in reports}) == 3
    assert fold(reports) == ["New", "Continuation", "Continuation"]
    for order in permutations(reports):
        kinds = fold(list(order))
        assert kinds.count("New") == 1
        assert set(kinds) <= {"New", "Update", "Continuation", "Stale"}


def test_the_same_report_through_the_slower_relay_is_nothing_new() -> None:
    first, second = fold([wolfx(), fan({"Data": CEA})])
    assert (first, second) == ("New", "Duplicate")
    first, second = fold([fan({"Data": CEA}), wolfx()])
    assert second in (Continuation.__name__, Update.__name__, "Duplicate")


def test_a_japanese_cancel_ends_what_was_reported() -> None:
    cancel = japanese(isCancel=True, Serial=7, AnnouncedTime="2026/07/10 01:23:30")
    assert fold([japanese(), cancel]) == ["New", "Cancel"]


# --- catalogues ----------------------------------------------------------------------------------------


def test_an_earthquake_list_is_a_row_per_event_that_warns_of_nothing() -> None:
    listed = {
        "type": "cenc_eqlist",
        "No1": {
            "type": "reviewed",
            "EventID": "CD.20260918223231.903",
            "time": "2026-09-18 22:32:31",
            "ReportTime": "2026-09-18 22:37:38",
            "location": "新疆阿克苏地区沙雅县",
            "magnitude": "3.7",
            "depth": "17",
            "latitude": "41.14",
            "longitude": "83.15",
            "intensity": "5",
        },
        "No2": {"type": "automatic", "EventID": "AU.1", "time": "2026-09-18 20:09:47"},
        "md5": "x",
    }
    first, second = LISTS["wolfx"].split(said(listed))
    alert = read("wolfx", first.body)
    assert first.key == "cenc_eqlist-CD.20260918223231.903"
    assert (alert.msg_type, alert.main.urgency) == (MsgType.ALERT, Urgency.PAST)
    assert alert.main.quake is not None
    assert alert.main.quake.final
    assert classify(alert, [], NOW, villages=frozenset({"v"})).doubt
    with pytest.raises(AlertError):
        read("wolfx", second.body)


def test_a_japanese_list_says_its_depth_with_a_unit_and_its_time_in_japan() -> None:
    entry = {
        "Title": "震源・震度情報",
        "EventID": "20260907012500",
        "time": "09/07 01:25",
        "time_full": "2026/09/07 01:25:00",
        "location": "熊本県熊本地方",
        "magnitude": "3.7",
        "shindo": "3",
        "depth": "10km",
        "latitude": "32.8",
        "longitude": "130.7",
    }
    (row,) = LISTS["wolfx"].split(said({"type": "jma_eqlist", "No1": entry}))
    quake = read("wolfx", row.body).main.quake
    assert quake is not None
    assert (quake.origin, quake.depth_km) == (datetime(2026, 9, 7, 1, 25, tzinfo=JAPAN), 10.0)


# --- sockets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wolfx", "fanstudio"])
def test_heartbeats_and_pongs_are_no_rows(name: str) -> None:
    for message in (
        b'{"type":"heartbeat","ver":"1.1.0","id":"uuid","timestamp":1630000000000}',
        b'{"type":"pong","timestamp":1630000000000}',
        b"pong",
        b" ping ",
    ):
        assert LISTS[name].split(message) == []


@pytest.mark.parametrize("name", ["wolfx", "fanstudio"])
def test_a_message_of_an_unknown_kind_is_handed_on_and_refused(name: str) -> None:
    (row,) = LISTS[name].split(b'{"type":"volcano","x":1}')
    with pytest.raises(AlertError):
        read(name, row.body)


def test_the_socket_of_all_sources_gives_a_row_for_each() -> None:
    found = all_of("fan-all.json")
    assert list(found) == ["623023-20260715061200-11B0304", "cea-202609182050.0001", "tsunami-202507300724"]
    quake = read("fanstudio", found["cea-202609182050.0001"].body).main.quake
    assert quake is not None
    assert (quake.lat, quake.magnitude, quake.depth_km) == (30.887, 4.2, None)


def test_a_fan_weather_warning_has_the_code_inside_its_id() -> None:
    alert = read("fanstudio", all_of("fan-all.json")["623023-20260715061200-11B0304"].body)
    info = alert.main
    assert info.areas[0].codes == (RegionCode(CodeScheme.MCA, "623023"),)
    assert (info.colour, info.hazard, alert.sender) == (Colour.RED, "rainstorm", "舟曲县气象台")
    assert alert.damage == ()
    value = json.loads((LISTED / "fan-all.json").read_text())["weatheralarm"]["Data"]
    other = fan({"Data": {**value, "type": "11B03_blue"}})
    assert other.main.colour is None
    assert other.damage
    nowhere = fan({"Data": {**value, "id": "abc"}})
    assert nowhere.main.areas[0].codes == ()


def test_a_tsunami_bulletin_is_one_event_by_its_code_and_no_warning_of_shaking() -> None:
    alert = read("fanstudio", all_of("fan-all.json")["tsunami-202507300724"].body)
    info = alert.main
    assert (alert.identifier, alert.event_key) == ("nmefc-202507300724-b4", "nmefc-202507300724")
    assert (alert.msg_type, info.hazard, info.colour) == (MsgType.UPDATE, "tsunami", Colour.YELLOW)
    assert alert.sent == datetime(2025, 7, 30, 13, 34, tzinfo=BEIJING)
    assert info.quake is None
    assert "花莲，预计13:23到达，最大波幅30-100厘米" in info.description
    value = json.loads((LISTED / "fan-all.json").read_text())["tsunami"]["Data"]
    lifted = fan({"Data": {**value, "warningInfo": {"title": "海啸警报解除", "level": "解除"}}})
    assert (lifted.msg_type, lifted.main.urgency, lifted.main.colour) == (
        MsgType.CANCEL,
        Urgency.PAST,
        None,
    )
    told = fan({"Data": {**value, "warningInfo": {"title": "海啸信息", "level": "信息"}}})
    assert (told.main.colour, told.main.urgency) == (None, Urgency.UNKNOWN)


def test_two_provinces_with_the_same_number_are_two_events() -> None:
    value = {**CEA, "province": "四川"}
    here, there = fan({"Data": value}), fan({"Data": {**value, "province": "云南"}})
    assert here.event_key != there.event_key


# --- ICL -----------------------------------------------------------------------------------------------


def test_icl_rows_are_in_epoch_milliseconds_and_lose_the_noise_of_single_precision() -> None:
    first, second = LISTS["icl"].split((LISTED / "icl.json").read_bytes())
    alert = read("icl", first.body)
    quake = alert.main.quake
    assert quake is not None
    assert quake.origin == datetime(2026, 8, 24, 0, 26, 21, 614000, tzinfo=UTC)
    assert alert.sent == datetime(2026, 8, 24, 0, 26, 26, 850000, tzinfo=UTC)
    assert (quake.magnitude, quake.depth_km, quake.report, quake.final) == (5.9, 8.16, 5, False)
    assert (first.key, alert.event_key) == ("98395394", "icl-98395394")
    poor = read("icl", second.body)
    assert poor.main.quake is not None
    assert (poor.main.quake.intensity, poor.msg_type) == (5.0, MsgType.ALERT)


def test_an_icl_row_has_the_same_key_and_another_version_with_each_report() -> None:
    row = json.loads((LISTED / "icl.json").read_text())["data"][0]
    (before,) = LISTS["icl"].split(said({"code": 0, "data": [row]}))
    (after,) = LISTS["icl"].split(said({"code": 0, "data": {**row, "updates": 6}}))
    assert before.key == after.key
    assert before.version != after.version


# --- real captures -------------------------------------------------------------------------------------


def test_the_real_messages_are_read() -> None:
    for name, path, count in (
        ("wolfx", "wolfx/cenc_eew-20260918.json", 1),
        ("wolfx", "wolfx/cenc_eqlist-20260918-subset.json", 4),
        ("wolfx", "wolfx/sc_eew.partial.json", 1),
        ("wolfx", "wolfx/jma_eew.partial.json", 1),
        ("icl", "icl/earlywarnings.json", 5),
        *(
            ("fanstudio", f"fanstudio/examples/ws-{kind}-1.json", 1)
            for kind in ("cea", "cea-pr", "cenc", "cwa", "cwa-eew", "fssn-cmt", "jma", "sa", "usgs")
        ),
    ):
        rows = LISTS[name].split(shared(path))
        assert len(rows) == count
        for row in rows:
            assert read(name, row.body).main.quake is not None, path
