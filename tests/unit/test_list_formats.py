from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from alert_builders import FIXTURES, SHARED

from alerts.feed import Trust
from alerts.formats import FORMATS, Reading, fields, nmc, parse, rows, weather, weathercn
from alerts.formats.fields import Notes
from alerts.formats.lists import LISTS, Row
from alerts.lifecycle import Label, sounds_as
from alerts.model import (
    Alert,
    AlertError,
    Certainty,
    CodeScheme,
    Colour,
    MsgType,
    Reference,
    RegionCode,
    Severity,
    Status,
    Urgency,
)

NOW = datetime(2026, 7, 15, 0, 0, tzinfo=UTC)
BEIJING = timezone(timedelta(hours=8))
LISTED = FIXTURES / "lists"
FEEDS = SHARED / "feeds"
ID = "62302341600000_20260715061500"
HERE = RegionCode(CodeScheme.MCA, "623023")


def read(name: str, body: bytes, scheme: CodeScheme = CodeScheme.MCA) -> Alert:
    return parse(body, Reading(scheme, format=name), now=NOW)


def split(name: str, file: str) -> list[Row]:
    return LISTS[name].split((LISTED / file).read_bytes())


def said(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=BEIJING)  # type: ignore[misc,arg-type]


def shared(path: str) -> bytes:
    if not (FEEDS / path).is_file():
        pytest.skip(f"the shared sample {path} is not here")
    return (FEEDS / path).read_bytes()


# --- all of them ---------------------------------------------------------------------------------------


def test_every_list_has_a_reader_and_says_what_it_can_be_trusted_with_at_most() -> None:
    assert {source.name for source in LISTS.values()} <= set(FORMATS)
    trust = {name: source.trust for name, source in LISTS.items()}
    assert trust == {
        "nmc": Trust.RELAY,
        "12379": Trust.RELAY,
        "weathercn": Trust.RELAY,
        "qweather": Trust.UNOFFICIAL,
        "caiyun": Trust.UNOFFICIAL,
        "wolfx": Trust.UNOFFICIAL,
        "fanstudio": Trust.UNOFFICIAL,
        "icl": Trust.UNOFFICIAL,
        "icl-contract": Trust.OFFICIAL,
    }


@pytest.mark.parametrize("name", sorted(LISTS))
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>",
        b"\xef\xbb\xbf <html>",
        b"null",
        b"[1,",
        b'{"a":',
        b"\xff\xfe",
        b"NaN",
        b"[" * 100_000,
        b'{"data":' + b"9" * 5000 + b"}",
    ],
)
def test_an_answer_that_is_no_list_is_an_error_and_never_an_empty_list(name: str, answer: bytes) -> None:
    with pytest.raises(AlertError):
        LISTS[name].split(answer)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("nmc", {"code": 0, "data": {"page": {}}}),
        ("nmc", {"code": 500, "msg": "busy", "data": None}),
        ("12379", {"alertDta": []}),
        ("weathercn", {"status": "success", "result": {"count": "0"}}),
        ("qweather", {"code": "402"}),
        ("qweather", {"error": {"status": 401, "title": "Unauthorized"}}),
        ("caiyun", {"status": "failed", "error": "token is invalid"}),
        ("caiyun", {"status": "ok", "result": {"alert": {"status": "error", "content": []}}}),
        ("icl", {"code": 1, "message": "no", "data": []}),
        ("icl", {"code": 0}),
    ],
)
def test_an_error_code_or_a_list_that_is_not_there_is_an_error(name: str, answer: Any) -> None:
    with pytest.raises(AlertError):
        LISTS[name].split(said(answer))


@pytest.mark.parametrize("name", sorted(LISTS))
def test_an_error_page_with_status_200_is_called_what_it_is(name: str) -> None:
    page = "<!DOCTYPE html><html><head><script>var a=1</script></head><body>网站维护中</body></html>".encode()
    with pytest.raises(AlertError, match=r"HTML page, not JSON: .*网站维护中'"):
        LISTS[name].split(page)


def test_an_empty_list_is_empty() -> None:
    assert LISTS["nmc"].split(said({"code": 0, "data": {"page": {"list": []}, "provinceAlarms": []}})) == []
    assert LISTS["12379"].split(b'{"alertData":[]}') == []
    assert LISTS["weathercn"].split(said({"result": {"count": "0", "data": []}})) == []
    assert LISTS["qweather"].split(said({"metadata": {"zeroResult": True}, "alerts": []})) == []
    assert LISTS["qweather"].split(b'{"code":"204"}') == []
    assert LISTS["caiyun"].split(said({"status": "ok", "result": {"alert": {"content": []}}})) == []
    assert LISTS["icl"].split(b'{"code":0,"data":[]}') == []


def test_one_row_that_is_an_object_instead_of_an_array_is_a_list_of_one() -> None:
    row = json.loads((LISTED / "12379.json").read_text())["alertData"][0]
    assert [item.key for item in LISTS["12379"].split(said({"alertData": row}))] == [ID]


def test_the_javascript_around_json_is_taken_off() -> None:
    row = [{"identifier": ID, "headline": "舟曲县气象台发布暴雨红色预警"}]
    for around in ("var alertData =%s;", "cb(%s)", "jQuery.cb_1(%s);", "\ufeffvar a = %s", "%s"):
        body = (around % json.dumps(row, ensure_ascii=False)).encode()
        assert [item.key for item in LISTS["12379"].split(body)] == [ID], around


def test_a_row_that_cannot_be_read_is_handed_on_and_refused_instead_of_dropped() -> None:
    (good, bad) = LISTS["12379"].split(said({"alertData": [{"identifier": ID, "headline": "x"}, "nonsense"]}))
    assert good.key == ID
    with pytest.raises(AlertError, match="text, not an object"):
        read("12379", bad.body)


def test_the_version_of_a_row_changes_with_what_it_says_and_with_nothing_else() -> None:
    row = {"identifier": ID, "headline": "舟曲县气象台发布暴雨红色预警", "sendTime": "2026-07-15 06:17:02"}
    (first,) = LISTS["12379"].split(said({"alertData": [row]}))
    (again,) = LISTS["12379"].split(json.dumps({"alertData": [row]}, indent=3).encode())
    (other,) = LISTS["12379"].split(said({"alertData": [{**row, "description": "订正"}]}))
    assert first == again
    assert (first.key, first.version) != (other.key, other.version)
    assert first.key == other.key


def test_no_officer_is_named_in_a_row_or_a_warning() -> None:
    rows_ = [row.body.decode() for row in split("12379", "12379.json")]
    assert "李四" not in "".join(rows_)
    (row, _) = split("weathercn", "weathercn.json")
    whole = weathercn.with_detail(row, (LISTED / "weathercn-detail.js").read_bytes())
    assert "王五" not in whole.decode()
    page = nmc.with_detail(split("nmc", "nmc.json")[0], (LISTED / "nmc-page.html").read_bytes())
    assert "张三丰" not in page.decode()
    assert "张三丰" not in repr(read("nmc", page))
    for text in (
        "请防范。（签发：张三）",
        "请防范。签发人：张三 预报员:李四、王五",
        "请防范。 审核: 欧阳建国。",
    ):
        assert not any(name in fields.without_names(text) for name in ("张三", "李四", "王五", "欧阳"))
        assert fields.without_names(text).startswith("请防范。")
    for text in ("签发单位：舟曲县气象台", "发布：暴雨红色预警", "天气预报：今天夜里，有雨"):
        assert fields.without_names(text) == text


def test_from_these_sources_the_status_is_actual_and_said_to_be_inferred() -> None:
    alert = read("12379", split("12379", "12379.json")[0].body)
    assert sounds_as(alert) is Label.ACTUAL
    assert any("status and scope" in note for note in alert.inferred)


# --- NMC -----------------------------------------------------------------------------------------------


def test_nmc_rows_carry_identifier_issuer_colour_kind_and_the_issuers_area() -> None:
    first, second, third = split("nmc", "nmc.json")  # the province's repetition counts once
    alert = read("nmc", first.body)
    assert (first.key, first.link) == (ID, f"/publish/alarm/{ID}.html")
    assert (alert.identifier, alert.format, alert.sent) == (ID, "nmc", at(2026, 7, 15, 6, 12))
    info = alert.main
    assert (info.hazard, info.colour, info.severity) == ("rainstorm", Colour.RED, Severity.EXTREME)
    assert alert.sender == "甘肃省甘南藏族自治州舟曲县气象台"
    assert info.areas[0].codes == (HERE,)
    assert info.areas[0].description.endswith("舟曲县")
    assert info.expires is None
    province = read("nmc", second.body).main
    assert (province.hazard, province.areas[0].codes) == ("flash_flood", (RegionCode(CodeScheme.MCA, "62"),))
    # No time in the row: the identifier's. The address in the row may name any host and is made anew.
    assert read("nmc", third.body).sent == at(2026, 7, 15, 4, 30)
    assert third.link == "/publish/alarm/62302341600000_20260715043000.html"


def test_the_page_of_an_nmc_row_gives_the_text_the_guide_and_the_verb_that_the_title_hides() -> None:
    row = split("nmc", "nmc.json")[0]
    alert = read("nmc", nmc.with_detail(row, (LISTED / "nmc-page.html").read_bytes()))
    info = alert.main
    assert alert.msg_type is MsgType.UPDATE
    assert alert.references == ()
    assert info.colour is Colour.RED
    assert info.description.startswith("舟曲县气象台2026年07月15日06时12分变更")
    assert info.description.endswith("注意防范。")
    assert "<" not in info.description
    assert info.instruction.split("\n") == ["防御指南：", "1.停止集会；", "2.撤离危险地带。"]
    assert (info.urgency, info.certainty) == (Urgency.IMMEDIATE, Certainty.OBSERVED)


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"<html>404</html>",
        b"<div id=alarmtext></div>",
        "<div id=title>别处气象台发布暴雨红色预警信号</div><div id=alarmtext>文</div>".encode(),
    ],
)
def test_a_page_without_a_warning_or_of_another_one_is_not_taken_for_its_detail(page: bytes) -> None:
    with pytest.raises(AlertError):
        nmc.with_detail(split("nmc", "nmc.json")[0], page)


def test_an_open_element_at_the_end_of_a_cut_page_still_gives_its_text() -> None:
    row = split("nmc", "nmc.json")[0]
    body = nmc.with_detail(row, "<div id='alarmtext'><p>舟曲县气象台发布暴雨红色预警".encode())
    assert read("nmc", body).main.description == "舟曲县气象台发布暴雨红色预警"


def test_the_sentinel_9999_is_nothing() -> None:
    warn = dict.fromkeys(("alert", "pic", "province", "city", "url", "issuecontent", "fmeans"), "9999")
    assert LISTS["nmc"].split(said({"code": 0, "data": {"real": {"warn": warn}}})) == []
    given = {
        **warn,
        "alert": "舟曲县气象台发布暴雨红色预警信号",
        "url": f"/publish/alarm/{ID}.html",
        "issuecontent": "舟曲县气象台发布暴雨红色预警信号：预计未来3小时有雨。",
        "issuetime": "2026-07-15 06:12",
        "signaltype": "暴雨",
        "signallevel": "红色",
    }
    (row,) = LISTS["nmc"].split(said({"code": 0, "data": {"real": {"warn": given}}}))
    alert = read("nmc", row.body)
    assert (row.key, alert.main.colour, alert.main.instruction) == (ID, Colour.RED, "")


# --- 12379 ---------------------------------------------------------------------------------------------


def test_12379_lists_issues_and_lifts_and_the_verb_says_which() -> None:
    issue, lift = (read("12379", row.body) for row in split("12379", "12379.json"))
    assert (issue.msg_type, issue.sender, issue.main.colour) == (MsgType.ALERT, "舟曲县气象局", Colour.RED)
    assert issue.sent == at(2026, 7, 15, 6, 17, 2)
    assert (issue.main.urgency, issue.main.certainty) == (Urgency.EXPECTED, Certainty.LIKELY)
    assert (lift.msg_type, lift.main.urgency) == (MsgType.CANCEL, Urgency.PAST)
    assert lift.references == ()
    assert any("does not say of what" in remark for remark in lift.remarks)


def test_the_other_spelling_of_12379_is_read_too() -> None:
    row = {
        "alertid": ID,
        "alarmtype": "11B03",
        "alarmlevel": "1",
        "provincename": "甘肃省",
        "cityname": "舟曲县",
        "issuetime": "2026-07-15 06:12:00",
        "headline": "舟曲县气象台发布暴雨红色预警",
    }
    alert = read("12379", said(row))
    assert (alert.main.hazard, alert.main.colour, alert.damage) == ("rainstorm", Colour.RED, ())
    wrong = read("12379", said({**row, "alarmlevel": "4"}))
    assert wrong.main.colour is None
    assert wrong.damage
    # Some glue CMA's own number onto 11B: the name is believed, and that is said.
    glued = read("12379", said({**row, "alarmtype": "11B09"}))
    assert glued.main.hazard == "rainstorm"
    assert any("11B09" in remark for remark in glued.remarks)


def test_the_real_row_of_2018_is_read() -> None:
    (row,) = LISTS["12379"].split(shared("12379-cn/alarm_list_all-2018.json"))
    alert = read("12379", row.body)
    assert (alert.main.hazard, alert.main.colour) == ("road_ice", Colour.YELLOW)
    assert alert.main.areas[0].codes == (RegionCode(CodeScheme.MCA, "12"),)


# --- weather.com.cn ------------------------------------------------------------------------------------


def test_weathercn_counts_levels_the_other_way_round() -> None:
    for level, colour in (
        ("01", Colour.BLUE),
        ("02", Colour.YELLOW),
        ("03", Colour.ORANGE),
        ("04", Colour.RED),
    ):
        row = ["舟曲县", f"101050206-20260715061500-02{level}.html", "104.37", "33.78"]
        (listed,) = LISTS["weathercn"].split(said({"count": "1", "data": [row]}))
        alert = read("weathercn", listed.body)
        assert (alert.main.colour, alert.main.hazard) == (colour, "rainstorm")
        assert listed.link == f"/alarm/webdata/{row[1]}"


def test_a_weathercn_row_and_its_script_make_one_warning() -> None:
    row, _ = split("weathercn", "weathercn.json")
    alert = read("weathercn", weathercn.with_detail(row, (LISTED / "weathercn-detail.js").read_bytes()))
    info = alert.main
    assert (alert.identifier, alert.msg_type, alert.sender) == (ID, MsgType.UPDATE, "舟曲县气象台")
    assert alert.references == (Reference("62302341600000_20260715020000"),)
    assert (alert.sent, info.expires) == (at(2026, 7, 15, 6, 12), at(2026, 7, 15, 12, 12))
    assert info.colour is Colour.RED
    assert info.description.startswith("舟曲县气象台2026年")
    assert alert.damage == ()


def test_the_first_issue_refers_to_itself_which_is_no_reference() -> None:
    row = json.loads((LISTED / "weathercn.json").read_text())["result"]["data"][0]
    assert read("weathercn", said([*row[:5], ID, *row[6:]])).references == ()


def test_an_outline_of_unknown_datum_does_not_widen_a_code_and_stands_in_for_a_missing_one() -> None:
    row = json.loads((LISTED / "weathercn.json").read_text())["result"]["data"][0]
    coded = read("weathercn", said(row))
    assert coded.main.areas[0].codes == (HERE,)
    assert coded.main.areas[0].polygons == ()
    assert any("datum" in remark for remark in coded.remarks)
    drawn = read("weathercn", said([row[0], row[1], "", "", "", "", row[6], row[7]]))
    (polygon,) = drawn.main.areas[0].polygons
    assert drawn.main.areas[0].codes == ()
    assert polygon.outer[0] == (33.5, 104.1) == polygon.outer[-1]
    broken = read(
        "weathercn", said([row[0], row[1], "", "", "", "", row[6], {"coordinates": [[[1, 200], [2, 3]]]}])
    )
    assert broken.damage
    assert broken.main.areas[0].polygons == ()


def test_a_white_signal_informs_and_has_no_colour() -> None:
    _, row = split("weathercn", "weathercn.json")
    info = read("weathercn", row.body).main
    assert (info.colour, info.severity, info.urgency) == (None, Severity.MINOR, Urgency.FUTURE)


def test_a_script_of_another_warning_is_not_taken_for_the_detail() -> None:
    _, other = split("weathercn", "weathercn.json")
    with pytest.raises(AlertError, match="but the list says"):
        weathercn.with_detail(other, (LISTED / "weathercn-detail.js").read_bytes())


def test_a_file_name_that_is_no_file_name_is_no_link() -> None:
    for file in ("../../etc/passwd", "http://198.51.100.7/101050206-20260715061500-0204.html", None, 7):
        (row,) = LISTS["weathercn"].split(
            said({"data": [["舟曲县", file, "1", "2", ID, ID, "发布暴雨红色预警"]]})
        )
        assert row.link == ""


def test_an_end_that_cannot_be_read_is_damage_and_an_end_before_the_start_is_none() -> None:
    text = (LISTED / "weathercn-detail.js").read_text()
    broken = read("weathercn", text.replace("2026-07-15 12:12:00", "明天").encode())
    assert broken.main.expires is None
    assert broken.damage
    before = read("weathercn", text.replace("2026-07-15 12:12:00", "2026-07-15 06:12:00").encode())
    assert before.main.expires is None
    assert before.remarks


# --- QWeather ------------------------------------------------------------------------------------------


def test_qweather_keeps_its_own_ids_supersedes_and_cancels() -> None:
    update, cancel = (read("qweather", row.body) for row in split("qweather", "qweather.json"))
    info = update.main
    assert update.references == (Reference("202607150200001234567890"),)
    assert (update.msg_type, update.sender, update.sent) == (
        MsgType.UPDATE,
        "舟曲县气象台",
        at(2026, 7, 15, 6, 12),
    )
    assert (info.colour, info.severity, info.hazard) == (Colour.RED, Severity.EXTREME, "rainstorm")
    assert (info.urgency, info.certainty) == (Urgency.IMMEDIATE, Certainty.OBSERVED)
    assert info.expires == at(2026, 7, 15, 12, 12)
    assert info.areas[0].codes == ()
    assert ("responseType", "Evacuate") in info.parameters
    assert any("somethingNew" in remark for remark in update.remarks)
    assert (cancel.msg_type, cancel.references) == (MsgType.CANCEL, (Reference("202607150612001234567890"),))
    assert ("responseType", "AllClear") in cancel.main.parameters


def test_the_older_qweather_api_is_read_in_both_languages() -> None:
    for language, file in (("zh-CN", "zh"), ("en", "en")):
        (row,) = LISTS["qweather"].split(shared(f"qweather/examples/getWarningNow-{file}.json"))
        alert = read("qweather", row.body)
        assert (alert.main.language, alert.main.hazard, alert.main.colour) == (language, "gale", Colour.BLUE)
        assert alert.msg_type is MsgType.ALERT
        assert alert.sent == at(2023, 4, 3, 10, 30)
    old = json.loads(row.body)
    ended = read("qweather", said({**old, "status": "cancel", "related": "1,2"}))
    assert (ended.msg_type, ended.references) == (MsgType.CANCEL, (Reference("1"), Reference("2")))
    assert read("qweather", said({**old, "severity": "Cancel"})).msg_type is MsgType.CANCEL


def test_qweathers_colour_and_severity_are_each_their_own_field() -> None:
    (row,) = LISTS["qweather"].split(shared("qweather/examples/getWeatherAlertCurrent-en.json"))
    foreign = read("qweather", row.body)
    assert (foreign.main.colour, foreign.main.severity) == (Colour.ORANGE, Severity.MODERATE)
    value = json.loads(row.body)
    silent = read("qweather", said({**value, "severity": "unknown"}))
    assert silent.main.severity is Severity.UNKNOWN
    black = read(
        "qweather", said({**value, "color": {"code": "black"}, "headline": "Rain", "severity": "extreme"})
    )
    assert (black.main.colour, black.main.severity) == (None, Severity.EXTREME)


# --- Caiyun --------------------------------------------------------------------------------------------


def test_both_versions_of_caiyun_give_the_national_identifier_and_the_division() -> None:
    for file in ("caiyun-v26.json", "caiyun-v3.json"):
        (row,) = split("caiyun", file)
        alert = read("caiyun", row.body)
        assert row.key == alert.identifier == ID
        assert alert.main.areas[0].codes == (HERE,)
        assert (alert.main.colour, alert.main.hazard) == (Colour.RED, "rainstorm")
        assert alert.sent == at(2026, 7, 15, 6, 12)
        assert (alert.damage, alert.remarks) == ((), ())


def test_caiyun_v3_keeps_every_language() -> None:
    (row,) = split("caiyun", "caiyun-v3.json")
    infos = read("caiyun", row.body).infos
    assert [info.language for info in infos] == ["zh-CN", "en"]
    assert infos[1].description == "Heavy rain is expected."
    assert infos[1].areas == infos[0].areas


def test_caiyuns_four_digits_may_come_as_a_number_and_00_is_white() -> None:
    (row,) = split("caiyun", "caiyun-v26.json")
    value = json.loads(row.body)
    number = read("caiyun", said({**value, "code": 204, "title": "发布预警", "description": "x"}))
    assert (number.main.colour, number.main.hazard) == (Colour.RED, "rainstorm")
    pale = read("caiyun", said({**value, "code": "0100", "title": "某县气象台发布台风白色预警"}))
    assert (pale.main.colour, pale.main.severity) == (None, Severity.MINOR)


def test_a_geojson_feature_of_caiyun_without_a_code_is_known_by_its_outline() -> None:
    properties = {
        "id": "ALERT_CN_x1",
        "publish_time": 1784067120000,
        "data": {"language_code": "zh", "title": "某县气象台发布暴雨红色预警", "text": "有雨。"},
    }
    geometry = {"type": "MultiPolygon", "coordinates": [[[[104, 33], [105, 33], [105, 34], [104, 33]]]]}
    (row,) = LISTS["caiyun"].split(
        said({"type": "FeatureCollection", "features": [{"properties": properties, "geometry": geometry}]})
    )
    alert = read("caiyun", row.body)
    assert alert.sent == at(2026, 7, 15, 6, 12)
    assert alert.main.areas[0].polygons[0].outer[1] == (33.0, 105.0)


# --- what is gone --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file"), [("nmc", "nmc.json"), ("weathercn", "weathercn.json"), ("caiyun", "caiyun-v26.json")]
)
def test_what_is_no_longer_listed_reads_as_a_cancel_of_it(name: str, file: str) -> None:
    gone: Callable[[bytes], bytes] | None = LISTS[name].gone
    assert gone is not None
    row = split(name, file)[0]
    was, cancel = read(name, row.body), read(name, gone(row.body))
    assert cancel.msg_type is MsgType.CANCEL
    assert cancel.identifier == was.identifier
    assert cancel.references[0] == Reference(was.identifier, was.sender, was.sent)
    assert cancel.event_key == was.identifier
    assert "cancel (no longer listed)" in cancel.inferred
    info = cancel.main
    assert (info.hazard, info.areas, info.urgency) == (was.main.hazard, was.main.areas, Urgency.PAST)
    assert info.description == info.instruction == ""
    assert info.headline.startswith("来源已不再列出")


def test_a_source_that_says_itself_what_ends_has_no_gone() -> None:
    assert [name for name, source in LISTS.items() if source.gone] == ["nmc", "weathercn", "caiyun"]


# --- words ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("舟曲县气象台发布暴雨红色预警信号", MsgType.ALERT),
        ("舟曲县气象台首次发布暴雨红色预警", MsgType.ALERT),
        ("舟曲县气象台继续发布暴雨红色预警", MsgType.UPDATE),
        ("临桂区气象台更新大风蓝色预警信号", MsgType.UPDATE),
        ("舟曲县气象台变更暴雨橙色预警信号为暴雨红色预警信号：解除措施", MsgType.UPDATE),
        ("舟曲县气象台将暴雨橙色预警信号升级为暴雨红色预警信号", MsgType.UPDATE),
        ("舟曲县气象台发布高温橙色预警：高温黄色预警信号更新为高温橙色预警信号", MsgType.UPDATE),
        ("舟曲县气象台解除暴雨橙色预警信号", MsgType.CANCEL),
        ("舟曲县气象台发布解除暴雨橙色预警信号的消息", MsgType.CANCEL),
        ("暴雨橙色预警信号解除", MsgType.CANCEL),
        ("舟曲县气象台20日10时解除09时40分发布的暴雨蓝色预警", MsgType.CANCEL),
        ("舟曲县气象台20日10时解除09时40分发布暴雨蓝色预警", MsgType.CANCEL),
        ("舟曲县气象台取消台风预警", MsgType.CANCEL),
        ("舟曲县气象台解除暴雨红色预警信号，同时发布暴雨黄色预警信号", MsgType.UPDATE),
        ("舟曲县气象台解除暴雨红色预警信号并发布暴雨黄色预警信号", MsgType.UPDATE),
        ("舟曲县气象台发布暴雨红色预警：预警信号解除前请勿外出", MsgType.ALERT),
        ("舟曲县气象台发布暴雨红色预警，暴雨预警信号解除之前请勿外出", MsgType.ALERT),
        ("舟曲县气象台发布暴雨红色预警。请取消户外活动", MsgType.ALERT),
        ("舟曲县气象台发布暴雨红色预警，请取消户外活动", MsgType.ALERT),
        ("Observatory lifts the blue gale warning", MsgType.CANCEL),
        ("Observatory updated the blue gale warning", MsgType.UPDATE),
        ("Observatory issues a blue gale warning; remove loose objects", MsgType.ALERT),
        ("暴雨红色预警", None),
        ("", None),
    ],
)
def test_the_verb_of_a_warning(text: str, kind: MsgType | None) -> None:
    assert weather.verb(text) is kind


@pytest.mark.parametrize(
    ("text", "urgency", "certainty"),
    [
        ("预计未来2小时有雨", Urgency.EXPECTED, Certainty.LIKELY),
        ("过去3小时降雨30毫米，预计未来12小时有雨", Urgency.FUTURE, Certainty.LIKELY),
        ("24小时内可能受大风影响，或者已经受大风影响", Urgency.FUTURE, Certainty.POSSIBLE),
        ("6小时内可能有雨", Urgency.EXPECTED, Certainty.POSSIBLE),
        ("未来六小时有雨", Urgency.EXPECTED, Certainty.UNKNOWN),
        ("未来十二小时有雨", Urgency.FUTURE, Certainty.UNKNOWN),
        ("我县已出现雷雨大风", Urgency.IMMEDIATE, Certainty.OBSERVED),
        ("请注意防范", Urgency.UNKNOWN, Certainty.UNKNOWN),
    ],
)
def test_urgency_and_certainty_follow_from_the_words(
    text: str, urgency: Urgency, certainty: Certainty
) -> None:
    assert (weather.urgency(text), weather.certainty(text)) == (urgency, certainty)


def test_the_field_is_believed_over_the_words_unless_they_end_what_it_calls_a_warning() -> None:
    text = (LISTED / "weathercn-detail.js").read_text()
    lifted = text.replace("发布暴雨红色预警信号", "解除暴雨红色预警信号").replace(
        "变更暴雨橙色预警信号为", "解除"
    )
    assert read("weathercn", lifted.encode()).msg_type is MsgType.CANCEL
    assert read("weathercn", lifted.encode()).damage
    field = text.replace('"Update"', '"Cancel"')
    assert read("weathercn", field.encode()).msg_type is MsgType.CANCEL
    unknown = read("weathercn", text.replace('"Update"', '"Foo"').encode())
    assert unknown.msg_type is MsgType.UPDATE
    assert any("Foo" in remark for remark in unknown.remarks)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026/09/20 00:43", at(2026, 9, 20, 0, 43)),
        ("2026年09月19日07时57分", at(2026, 9, 19, 7, 57)),
        ("2026-10-06 21:29:27", at(2026, 10, 6, 21, 29, 27)),
        ("2026-7-5 9:05", at(2026, 7, 5, 9, 5)),
        ("2026/8/22 下午 02:10:00", at(2026, 8, 22, 14, 10)),
        ("2026/8/22 上午 12:10:00", at(2026, 8, 22, 0, 10)),
        ("20260922010203", at(2026, 9, 22, 1, 2, 3)),
        ("202512272305", at(2025, 12, 27, 23, 5)),
        ("1640733900", at(2021, 12, 29, 7, 25)),
        ("1787531181614", datetime(2026, 8, 24, 0, 26, 21, 614000, tzinfo=UTC)),
        ("2025-10-24T11:19+08:00", at(2025, 10, 24, 11, 19)),
        ("2025-10-16T21:00Z", datetime(2025, 10, 16, 21, 0, tzinfo=UTC)),
    ],
)
def test_every_spelling_of_a_time_is_read_in_its_zone(text: str, expected: datetime) -> None:
    assert rows.moment(text, "t", Notes()) == expected


@pytest.mark.parametrize(
    "text",
    ["", "9999", "2026-13-01 00:00", "0000-00-00 00:00:00", "昨天", "12345678901234567", "2026-02-30 00:00"],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(AlertError):
        rows.moment(text, "t", Notes())


def test_a_warning_without_words_identifier_or_time_is_refused_with_the_field_that_lacks() -> None:
    good = {"identifier": ID, "headline": "舟曲县气象台发布暴雨红色预警", "sendTime": "2026-07-15 06:17:02"}
    for field, path in (("identifier", "row/identifier"), ("headline", "row")):
        with pytest.raises(AlertError) as caught:
            read("12379", said({**good, field: None}))
        assert caught.value.where == path
    assert read("12379", said({**good, "sendTime": None})).sent == at(2026, 7, 15, 6, 15)
    with pytest.raises(AlertError, match="no time"):
        read("12379", said({**good, "sendTime": None, "identifier": "x"}))


def test_all_rows_of_the_real_captures_are_read_without_damage() -> None:
    count = 0
    for name, path in (
        ("nmc", "nmc-cn/findAlarm-20260920-subset.json"),
        ("weathercn", "weathercn/alarmMap-20261006.json"),
        ("caiyun", "caiyun/v2.6-realtime-alert.json"),
        ("qweather", "qweather/examples/getWeatherAlertCurrent-zh.json"),
    ):
        for row in LISTS[name].split(shared(path)):
            alert = read(name, row.body)
            assert alert.main.colour is not None
            assert alert.main.hazard != "unknown"
            assert alert.damage == ()
            assert alert.status is Status.ACTUAL
            assert row.key == alert.identifier
            count += 1
    assert count == 23
    assert LISTS["nmc"].split(shared("nmc-cn/restWeather-real-warn-9999.json")) == []
