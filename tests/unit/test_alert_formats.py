from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alert_builders import COUNTY, FIXTURES, SHARED, cap_text, national_text

from alerts import hazards
from alerts.area import cut
from alerts.formats import Reading, parse, xml
from alerts.model import (
    Alert,
    AlertError,
    Certainty,
    Circle,
    CodeScheme,
    Colour,
    Line,
    MsgType,
    Reference,
    RegionCode,
    Scope,
    Severity,
    Urgency,
)

NOW = datetime(2026, 7, 15, 0, 0, tzinfo=UTC)


def read(text: str | bytes, scheme: CodeScheme = CodeScheme.UNKNOWN) -> Alert:
    return parse(text.encode() if isinstance(text, str) else text, Reading(scheme), now=NOW)


def swap(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def refusal(text: str | bytes, scheme: CodeScheme = CodeScheme.UNKNOWN) -> AlertError:
    with pytest.raises(AlertError) as caught:
        read(text, scheme)
    return caught.value


# --- CAP -----------------------------------------------------------------------------------------------


def test_a_cap_warning_is_read_field_by_field() -> None:
    alert = read(cap_text())
    info = alert.main
    assert (alert.identifier, alert.sender, alert.format) == (
        "62302341600000_20260715061500",
        "zhouqu.weather.demo",
        "cap-1.2",
    )
    assert alert.sent.isoformat() == "2026-07-15T06:15:00+08:00"
    assert (info.event, info.hazard, info.colour, info.severity) == (
        "暴雨",
        "rainstorm",
        Colour.ORANGE,
        Severity.SEVERE,
    )
    assert (info.urgency, info.certainty) == (Urgency.EXPECTED, Certainty.LIKELY)
    assert [str(code) for code in info.areas[0].codes] == ["623023101 (unknown)", "623023103 (unknown)"]
    assert info.expires is not None
    assert info.expires.isoformat() == "2026-07-15T12:15:00+08:00"
    assert ("senderName", "舟曲县气象台") in info.parameters
    assert alert.remarks == ()
    assert alert.inferred == ()
    assert len(alert.raw_sha256) == 64


def test_namespaces_prefixes_order_and_two_languages_are_read() -> None:
    alert = read((FIXTURES / "cap" / "bilingual-cancel.cap.xml").read_bytes())
    assert (alert.format, alert.msg_type) == ("cap-1.1", MsgType.CANCEL)
    assert [info.language for info in alert.infos] == ["en-US", "zh-CN"]
    assert [info.colour for info in alert.infos] == [Colour.ORANGE, Colour.ORANGE]
    assert [info.hazard for info in alert.infos] == ["rainstorm", "rainstorm"]
    assert alert.main.language == "zh-CN"
    assert alert.event_key == "62302341600000_20260715061500"
    assert alert.main.expires is None, "a Cancel needs no end"


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [
        ("urn:oasis:names:tc:emergency:cap:1.1", "cap-1.1"),
        ("http://www.incident.com/cap/1.0", "cap-1.0"),
        ("", "cap-1.2"),
    ],
)
def test_each_namespace_is_accepted(namespace: str, expected: str) -> None:
    assert read(swap(cap_text(), ("urn:oasis:names:tc:emergency:cap:1.2", namespace))).format == expected


def test_an_unknown_namespace_is_refused() -> None:
    assert "namespace" in refusal(swap(cap_text(), ("emergency:cap:1.2", "emergency:cap:9.9"))).why


@pytest.mark.parametrize("field", ["identifier", "sender", "sent", "status", "msgType", "scope"])
def test_a_missing_required_field_is_refused_by_its_path(field: str) -> None:
    start, end = cap_text().index(f"<{field}>"), cap_text().rindex(f"</{field}>") + len(field) + 3
    error = refusal(cap_text()[:start] + cap_text()[end:])
    assert error.where == f"alert/{field}"


@pytest.mark.parametrize("field", ["status", "msgType", "scope"])
def test_an_unknown_label_is_refused(field: str) -> None:
    start = cap_text().index(f"<{field}>") + len(field) + 2
    end = cap_text().index(f"</{field}>")
    assert refusal(cap_text()[:start] + "Whatever" + cap_text()[end:]).where == f"alert/{field}"


def without(text: str, field: str) -> str:
    """`text` without all from the first `field` element to the last."""
    return text[: text.index(f"<{field}>")] + text[text.rindex(f"</{field}>") + len(field) + 3 :]


def test_a_warning_that_says_nothing_is_taken_and_held() -> None:
    alert = read(without(cap_text(), "info"))
    assert (alert.main.hazard, alert.main.areas) == ("unknown", ())
    assert alert.damage == ("alert/info: is missing: nothing is said and nobody is named",)
    text = cap_text()
    for field in ("event", "headline", "description"):
        text = without(text, field)
    assert "nothing is said" in read(text).damage[0]


@pytest.mark.parametrize("field", ["identifier", "sent", "status", "msgType", "scope"])
def test_a_label_that_is_given_twice_with_two_meanings_is_refused(field: str) -> None:
    text = cap_text()
    again = text.replace(f"<{field}>", f"<{field}>x</{field}><{field}>", 1)
    assert refusal(again).where == f"alert/{field}"
    foreign = text.replace(f"<{field}>", f"<x:{field} xmlns:x='urn:x'>x</x:{field}><{field}>", 1)
    assert "disagree" in refusal(foreign).why
    twice = text.replace(
        f"<{field}>", text[text.index(f"<{field}>") : text.index(f"</{field}>")] + f"</{field}><{field}>", 1
    )
    assert read(twice).damage == ()


def test_an_end_that_is_given_twice_is_held() -> None:
    text = swap(cap_text(), ("<expires>", "<expires>2026-07-15T20:15:00+08:00</expires><expires>"))
    assert "is given 2 times" in read(text).damage[0]


NO_REFERENCES = ["", "<references/>", "<references>  </references>", "<references>,,</references>"]


@pytest.mark.parametrize("references", NO_REFERENCES)
def test_a_cancel_without_usable_references_is_refused_and_an_update_is_taken(references: str) -> None:
    def of(kind: str) -> str:
        return swap(
            cap_text(),
            ("<msgType>Alert</msgType>", f"<msgType>{kind}</msgType>"),
            ("<info>", references + "<info>"),
        )

    assert refusal(of("Cancel")).where == "alert/references"
    update = read(of("Update"))
    assert (update.msg_type, update.references) == (MsgType.UPDATE, ())
    assert any(remark.startswith("alert/references") for remark in update.remarks)


def test_reference_triples_are_read_with_spaces_in_the_sender() -> None:
    refs = "Zhouqu County Met,one,2026-07-15T06:15:00+08:00 \n b,two,2026-07-15T07:15:00+08:00"
    alert = read(swap(cap_text(), ("<info>", f"<references>{refs}</references><info>")))
    assert [(item.sender, item.identifier) for item in alert.references] == [
        ("Zhouqu County Met", "one"),
        ("b", "two"),
    ]
    assert alert.references[1].sent == datetime(2026, 7, 14, 23, 15, tzinfo=UTC)


def test_references_of_bare_identifiers_are_taken_with_a_remark() -> None:
    alert = read(swap(cap_text(), ("<info>", "<references>one two</references><info>")))
    assert alert.references == (Reference("one"), Reference("two"))
    assert any("identifiers only" in remark for remark in alert.remarks)


def test_a_time_without_offset_is_beijing_time_and_says_so() -> None:
    alert = read(swap(cap_text(), ("06:15:00+08:00", "06:15:00")))
    assert alert.sent == datetime(2026, 7, 14, 22, 15, tzinfo=UTC)
    assert any("alert/sent" in item for item in alert.inferred)


@pytest.mark.parametrize("offset", ["+08:00", "+0800", "+08", " +08:00"])
def test_an_offset_is_read_however_it_is_written(offset: str) -> None:
    assert read(swap(cap_text(), ("06:15:00+08:00", f"06:15:00{offset}"))).sent == datetime(
        2026, 7, 14, 22, 15, tzinfo=UTC
    )


def test_z_and_fractions_of_seconds_are_taken() -> None:
    alert = read(swap(cap_text(), ("<sent>2026-07-15T06:15:00+08:00", "<sent>2026-07-14T22:15:00.250Z")))
    assert alert.sent == datetime(2026, 7, 14, 22, 15, tzinfo=UTC)
    assert any("ends in Z" in remark for remark in alert.remarks)


@pytest.mark.parametrize(
    "time",
    [
        "soon",
        "2026-02-30T00:00:00+08:00",
        "2026-07-15",
        "0001-01-01T00:00:00+08:00",
        "2026-07-15T06:15:00+99:00",
        "２０２６-07-15T06:15:00+08:00",
    ],
)
def test_an_impossible_end_is_held_and_an_impossible_sent_refused(time: str) -> None:
    alert = read(swap(cap_text(), ("<expires>2026-07-15T12:15:00+08:00", f"<expires>{time}")))
    assert alert.damage[0].startswith("alert/info[0]/expires: ")
    assert alert.main.expires == alert.sent + timedelta(hours=6), "the default for rainstorm"
    assert (
        refusal(swap(cap_text(), ("<sent>2026-07-15T06:15:00+08:00", f"<sent>{time}"))).where == "alert/sent"
    )


def test_an_impossible_onset_counts_as_none_with_a_remark() -> None:
    alert = read(swap(cap_text(), ("<expires>", "<onset>soon</onset><expires>")))
    assert (alert.main.onset, alert.damage) == (None, ())
    assert any("taken as not given" in remark for remark in alert.remarks)


def test_twenty_four_o_clock_is_the_next_midnight() -> None:
    alert = read(swap(cap_text(), ("<expires>2026-07-15T12:15:00", "<expires>2026-07-15T24:00:00")))
    assert alert.main.expires == datetime(2026, 7, 15, 16, 0, tzinfo=UTC)


def test_a_missing_end_is_the_hazards_default_after_its_latest_start_and_says_so() -> None:
    text = swap(
        cap_text(),
        ("<expires>2026-07-15T12:15:00+08:00</expires>", "<onset>2026-07-15T08:00:00+08:00</onset>"),
    )
    alert = read(text)
    assert alert.main.expires == datetime(2026, 7, 15, 6, 0, tzinfo=UTC)
    assert any("6 h, the default for rainstorm" in item for item in alert.inferred)


def test_unknown_severity_is_a_remark_and_never_gives_a_colour() -> None:
    text = swap(cap_text(), ("<severity>Severe", "<severity>Foobar"), ("暴雨橙色预警[II级/严重]", "暴雨预警"))
    alert = read(text)
    assert (alert.main.severity, alert.main.colour) == (Severity.UNKNOWN, None)
    assert any("severity" in remark for remark in alert.remarks)
    extreme = read(swap(text, ("<severity>Foobar", "<severity>Extreme")))
    assert (extreme.main.severity, extreme.main.colour) == (Severity.EXTREME, None)


@pytest.mark.parametrize(
    ("headline", "colour"),
    [
        ("发布暴雨红色预警", Colour.RED),
        ("發布大雨特報 紅色", Colour.RED),
        ("发布暴雨预警[III级/较重]", Colour.YELLOW),
        ("发布暴雨预警［Ⅳ级/一般］", Colour.BLUE),
        ("发布暴雨预警/II/严重", Colour.ORANGE),
        ("发布暴雨Ⅰ级预警", Colour.RED),
        ("变更暴雨蓝色预警信号为暴雨橙色预警信号", Colour.ORANGE),
        ("Observatory updates blue warning for flash flood disasters [Level IV/General]", Colour.BLUE),
        ("Orange early warning signal", Colour.ORANGE),
        ("启动防汛四级应急响应，阵风4级", None),
        ("Red Cross opens shelters", None),
        ("发布暴雨红色预警[IV级/一般]", None),
        ("台风白色预警", None),
    ],
)
def test_the_colour_is_what_the_headline_says(headline: str, colour: Colour | None) -> None:
    assert read(swap(cap_text(), ("舟曲县气象台发布暴雨橙色预警[II级/严重]", headline))).main.colour is colour


def test_a_colour_parameter_goes_before_the_headline() -> None:
    parameter = "<parameter><valueName>alert_color</valueName><value>紅色</value></parameter>"
    assert read(swap(cap_text(), ("<area>", parameter + "<area>"))).main.colour is Colour.RED


def test_a_contradiction_of_colours_is_none_and_says_so() -> None:
    alert = read(swap(cap_text(), ("[II级/严重]", "[IV级/一般]")))
    assert alert.main.colour is None
    assert any("more than one colour" in damage for damage in alert.damage)


@pytest.mark.parametrize(
    ("name", "declared", "expected"),
    [
        ("CPEAS Geographic Code", CodeScheme.MCA, CodeScheme.MCA),
        ("GB/T 2260-2007", CodeScheme.NBS, CodeScheme.NBS),
        ("行政区划代码", CodeScheme.UNKNOWN, CodeScheme.UNKNOWN),
        ("AdCode", CodeScheme.UNKNOWN, CodeScheme.UNKNOWN),
        ("fenghuo:mca", CodeScheme.NBS, CodeScheme.MCA),
        ("fenghuo:nbs", CodeScheme.UNKNOWN, CodeScheme.NBS),
        ("国家统计局 统计用区划代码", CodeScheme.MCA, CodeScheme.NBS),
    ],
)
def test_the_code_list_is_the_value_names_else_the_feeds(
    name: str, declared: CodeScheme, expected: CodeScheme
) -> None:
    codes = read(swap(cap_text(), ("CPEAS Geographic Code", name)), declared).main.areas[0].codes
    assert codes == (RegionCode(expected, "623023101"), RegionCode(expected, "623023103"))


@pytest.mark.parametrize(
    ("value", "digits"),
    [
        ("623023101000", "623023101"),
        ("623023000000", "623023"),
        ("623000000000", "6230"),
        ("620000", "62"),
        ("623023208200", "623023208200"),
        (" 623023 ", "623023"),
    ],
)
def test_padding_zeros_are_stripped_in_steps(value: str, digits: str) -> None:
    codes = read(swap(cap_text(), ("623023101000", value))).main.areas[0].codes
    assert codes[0].digits == digits


@pytest.mark.parametrize("value", ["6230231", "舟曲县", "", "000000000000", "62302310100x", "６２３０２３"])
def test_a_bad_division_code_is_damage_by_its_path_and_the_others_stand(value: str) -> None:
    alert = read(swap(cap_text(), ("623023101000", value)))
    assert alert.damage[0].startswith("alert/info[0]/area[0]/geocode[0]: ")
    assert [code.digits for code in alert.main.areas[0].codes] == ["623023103"]


def test_several_codes_in_one_geocode_are_all_taken() -> None:
    alert = read(swap(cap_text(), ("623023101000", "623023101000, 623023104000")))
    assert [code.digits for code in alert.main.areas[0].codes] == ["623023101", "623023104", "623023103"]
    assert alert.damage == ()


def test_foreign_geocodes_are_kept_aside() -> None:
    area = read(swap(cap_text(), ("CPEAS Geographic Code", "SAME"))).main.areas[0]
    assert area.codes == ()
    assert area.other_codes == (("SAME", "623023101000"), ("SAME", "623023103000"))


def with_shape(shape: str) -> str:
    return swap(cap_text(), ("</areaDesc>", "</areaDesc>" + shape))


def test_a_polygon_and_a_circle_are_read() -> None:
    polygon = "<polygon>\n33.7,104.4 33.8,104.4\t33.8,104.5 33.7,104.4 </polygon>"
    area = read(with_shape(polygon + "<circle>33.7, 104.4 12.5</circle>")).main.areas[0]
    assert [p.outer for p in area.polygons] == [((33.7, 104.4), (33.8, 104.4), (33.8, 104.5), (33.7, 104.4))]
    assert area.circles == (Circle(33.7, 104.4, 12.5),)


def test_an_open_ring_of_three_points_is_closed_with_a_remark() -> None:
    alert = read(with_shape("<polygon>33.7,104.4 33.8,104.4 33.8,104.5</polygon>"))
    ring = alert.main.areas[0].polygons[0].outer
    assert ring[0] == ring[-1]
    assert len(ring) == 4
    assert any("not closed" in remark for remark in alert.remarks)


@pytest.mark.parametrize(
    "shape",
    [
        "<polygon>nan,104.4 33.8,104.4 33.8,104.5 33.7,104.4</polygon>",
        "<polygon>33.7,1e99 33.8,104.4 33.8,104.5 33.7,104.4</polygon>",
        "<polygon>33.7,104.4,12 33.8,104.4 33.8,104.5 33.7,104.4</polygon>",
        "<polygon>33.7,104.4,33.8,104.4,33.8,104.5,33.7,104.4</polygon>",
        "<polygon>33.7 104.4 33.8 104.4 33.8 104.5</polygon>",
        "<polygon>三十三,104.4</polygon>",
        "<polygon>" + "33.7,104.4 " * 100_001 + "</polygon>",
        "<circle>33.7,104.4</circle>",
        "<circle>33.7,104.4 -1</circle>",
        "<circle>33.7,104.4 inf</circle>",
        "<circle>33.7,104.4 25 km</circle>",
        "<circle>36.85,81.67 1 2</circle>",
        "<circle>81.67,36.85 10</circle>",
    ],
)
def test_bad_geometry_is_damage_by_its_path_and_the_codes_stand(shape: str) -> None:
    alert = read(with_shape(shape))
    (damage,) = alert.damage
    assert damage.startswith("alert/info[0]/area[0]/")
    area = alert.main.areas[0]
    assert len(area.codes) == 2
    assert (area.polygons, area.circles, area.lines) == ((), (), ())


@pytest.mark.parametrize(
    "shape", ["<polygon/>", "<polygon>()</polygon>", "<circle> </circle>", "<circle>()</circle>"]
)
def test_an_empty_shape_names_nobody_and_is_remarked(shape: str) -> None:
    alert = read(with_shape(shape))
    assert alert.damage == ()
    assert any("is empty" in remark for remark in alert.remarks)


def test_pairs_in_brackets_and_with_semicolons_are_read() -> None:
    for text in (
        "(33.7,104.4) (33.8,104.4) (33.8,104.5) (33.7,104.4)",
        "33.7，104.4;33.8,104.4;33.8,104.5;33.7,104.4",
    ):
        alert = read(with_shape(f"<polygon>{text}</polygon>"))
        assert alert.main.areas[0].polygons[0].outer[1] == (33.8, 104.4)
        assert alert.damage == ()


@pytest.mark.parametrize(
    "text", ["33.7,104.4 12.5", "\n33.7 , 104.4\n\t12.50 ", "33.7,104.4,12.5", "+33.70，104.4 1.25e1"]
)
def test_a_circle_is_read_with_any_white_space(text: str) -> None:
    alert = read(with_shape(f"<circle>{text}</circle>"))
    assert alert.main.areas[0].circles == (Circle(33.7, 104.4, 12.5),)
    assert alert.damage == ()


def test_a_ring_of_one_place_is_a_point_and_of_two_a_line() -> None:
    """Nothing is added and nothing lost: a live Mexican and a German warning have such rings."""
    alert = read(with_shape("<polygon>33.7,104.4 33.7,104.4 33.7,104.4 33.7,104.4</polygon>"))
    assert alert.main.areas[0].circles == (Circle(33.7, 104.4, 0.0),)
    alert = read(with_shape("<polygon>33.7,104.4 33.8,104.4 33.7,104.4</polygon>"))
    assert alert.main.areas[0].lines == (Line(((33.7, 104.4), (33.8, 104.4))),)
    assert alert.damage == ()
    assert any("encloses nobody" in remark for remark in alert.remarks)


def test_a_swapped_pair_is_turned_round_only_where_it_is_certain() -> None:
    proven = read(with_shape("<polygon>104.4,33.7 104.5,33.7 104.5,33.8 104.4,33.7</polygon>"))
    assert proven.main.areas[0].polygons[0].outer[1] == (33.7, 104.5)
    assert "there is no latitude 104.4" in proven.inferred[0]
    likely = read(with_shape("<polygon>81.6,36.8 81.7,36.8 81.7,36.9 81.6,36.8</polygon>"))
    assert "swapped" in likely.damage[0]
    assert likely.main.areas[0].polygons == ()
    mixed = read(with_shape("<polygon>104.4,33.7 33.7,104.5 33.8,104.5 104.4,33.7</polygon>"))
    assert "there is no latitude" in mixed.damage[0], "one writer writes one way: these are mistakes"


def test_likely_swapped_pairs_are_suspect_in_a_chinese_document_only() -> None:
    swapped = with_shape("<circle>80.5,41.2 10</circle>")
    foreign = swap(swapped, ("CPEAS Geographic Code", "SAME"), ("zh-CN", "en-US"))
    assert read(foreign).main.areas[0].circles == (Circle(80.5, 41.2, 10),)
    assert "swapped" in read(foreign, CodeScheme.MCA).damage[0], "a feed with a Chinese code list is Chinese"
    abroad = read(with_shape("<circle>36.5,70.7 10</circle>"))
    assert abroad.main.areas[0].circles == (Circle(36.5, 70.7, 10),), (
        "the Hindu Kush is not in China either way"
    )


def exclusion(value: str) -> str:
    geocode = f"<geocode><valueName>EXCLUDE_POLYGON</valueName><value>{value}</value></geocode>"
    return swap(cap_text(), ("</area>", geocode + "</area>"))


def test_an_excluded_polygon_is_taken_away_and_never_forgotten() -> None:
    alert = read(exclusion("33.7,104.4 33.8,104.4 33.8,104.5 33.7,104.4"))
    assert len(alert.main.areas[0].excluded) == 1
    assert (alert.main.areas[0].other_codes, alert.damage) == ((), ())
    for broken in ("", "()", "33.7,104.4 33.8,104.4", "north of the river"):
        assert (
            "EXCLUDE_POLYGON" in str(read(exclusion(broken)).damage)
            or "geocode" in read(exclusion(broken)).damage[0]
        )


def test_code_and_name_that_disagree_are_settled_by_the_name() -> None:
    alert = read(swap(cap_text(), ("11B03", "11B09")))
    assert alert.main.hazard == "rainstorm"
    assert any("believed the text" in remark for remark in alert.remarks)


def test_attachments_are_mentioned_and_embedded_sound_is_measured() -> None:
    sound = base64.b64encode(b"siren" * 1000).decode()
    text = swap(
        cap_text(),
        (
            "<area>",
            "<resource><resourceDesc>map</resourceDesc><mimeType>image/png</mimeType></resource>"
            "<resource><resourceDesc>tape</resourceDesc><mimeType>audio/mpeg</mimeType>"
            f"<derefUri>{sound}</derefUri><digest>00</digest></resource>"
            "<resource><resourceDesc>tape</resourceDesc><mimeType>audio/mpeg</mimeType>"
            "<derefUri>!</derefUri></resource><area>",
        ),
    )
    alert = read(text)
    remarks = " ".join(alert.remarks)
    assert "resource[0] (image/png) is attached and not used" in remarks
    assert f"5,000 bytes, SHA-256 {hashlib.sha256(b'siren' * 1000).hexdigest()}; never played" in remarks
    assert "resource[1]/digest is not that of its bytes" in remarks
    assert "is not base64" in remarks
    assert sound not in repr(alert)


def test_remarks_say_when_it_is_past_or_from_the_future() -> None:
    late = parse(cap_text().encode(), now=datetime(2026, 7, 20, tzinfo=UTC))
    early = parse(cap_text().encode(), now=datetime(2026, 7, 14, tzinfo=UTC))
    assert any("ago" in remark for remark in late.remarks)
    assert any("after our clock" in remark for remark in early.remarks)


# --- national ------------------------------------------------------------------------------------------


def test_a_national_warning_is_read_field_by_field() -> None:
    alert = read(national_text())
    info = alert.main
    assert (alert.format, alert.sender, alert.msg_type) == ("national", "舟曲县自然资源局", MsgType.ALERT)
    assert alert.sent.isoformat() == "2026-07-15T15:00:00+08:00"
    assert (info.hazard, info.colour, info.severity) == ("debris_flow", Colour.RED, Severity.EXTREME)
    assert [code.digits for code in info.areas[0].codes] == [
        "623023100", "623023101", "623023102", "623023104", "623023113",
    ]  # fmt: skip
    assert dict(info.parameters)["SPEAKER"].startswith("舟曲县自然资源局发布")
    assert alert.references == ()


def test_what_real_national_files_do_is_read() -> None:
    alert = read((FIXTURES / "national" / "as-seen-in-the-field.xml").read_bytes(), CodeScheme.MCA)
    info = alert.main
    assert info.hazard == "lightning", "11B09 is glued CMA numbering for 雷电 here; the name is believed"
    assert (info.colour, info.certainty) == (Colour.YELLOW, Certainty.LIKELY)
    area = info.areas[0]
    assert area.codes == (RegionCode(CodeScheme.MCA, "623023101"),)
    assert area.description == "大川镇"
    assert area.circles == (Circle(33.7162, 104.4362, 2.5),), "metres"
    assert area.polygons == ()
    assert len(area.lines) == 1
    assert alert.event_key == "62302341600000_20260715061500"
    assert any("line" in remark for remark in alert.remarks)
    assert any("alert/sendTime" in item for item in alert.inferred)
    assert info.expires == datetime(2026, 7, 16, 6, 16, tzinfo=UTC), "6 h for lightning after effective"


def test_a_national_cancel_keeps_its_reason_and_target() -> None:
    alert = read((FIXTURES / "national" / "debris-flow-cancel.xml").read_bytes())
    assert (alert.msg_type, alert.note) == (MsgType.CANCEL, "降雨已停止")
    assert alert.references == (Reference("62302333200000_20260715150211"),)


@pytest.mark.parametrize(
    "file", ["debris-flow-red.xml", "debris-flow-cancel.xml", "as-seen-in-the-field.xml"]
)
def test_the_officers_name_is_nowhere(file: str) -> None:
    body = (FIXTURES / "national" / file).read_text(encoding="utf-8")
    assert "某值班员" in body
    assert "某值班员" not in repr(read(body))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<severity>Red", "<severity>某值班员甲"),
        ("<effective>2026", "<effective>bad"),
        ("<geocode>623023100000", "<geocode>62302310"),
        ("<area>", "<area><polygon>33.7,104.4,1</polygon>"),
    ],
)
def test_the_officers_name_is_in_no_error(old: str, new: str) -> None:
    alert = read(swap(national_text(), (old, new)))
    if "severity" in old:
        # A name in a field where a colour belongs is quoted back: that is not senderName.
        assert alert.main.colour is Colour.RED
        return
    assert alert.damage or any("taken as not given" in remark for remark in alert.remarks)
    assert "某值班员" not in repr(alert)
    assert "某值班员" not in str(refusal(swap(national_text(), ("<status>Actual", "<status>"))))


@pytest.mark.parametrize("field", ["identifier", "sender", "sendTime", "status", "msgType", "scope"])
def test_a_missing_national_field_is_refused_by_its_path(field: str) -> None:
    start, end = national_text().index(f"<{field}>"), national_text().index(f"</{field}>")
    assert (
        refusal(national_text()[: start + len(field) + 2] + national_text()[end:]).where == f"alert/{field}"
    )


def test_a_national_cancel_without_reference_is_refused_and_an_update_is_taken() -> None:
    assert refusal(swap(national_text(), ("<msgType>Alert", "<msgType>Cancel"))).where == "alert/references"
    update = read(swap(national_text(), ("<msgType>Alert", "<msgType>Update")))
    assert update.event_key == update.identifier
    assert "alert/references is missing or empty" in update.remarks


def test_a_contradicting_secrecy_is_refused() -> None:
    twice = "<secClassification>Inner</secClassification><secClassification>"
    assert refusal(swap(national_text(), ("<secClassification>", twice))).where == "alert/secClassification"


def test_a_headline_of_another_colour_gives_none() -> None:
    alert = read(swap(national_text(), ("<severity>Red", "<severity>Blue")))
    assert alert.main.colour is None
    assert any("taken as none" in damage for damage in alert.damage)


def test_an_internal_document_is_not_public() -> None:
    alert = read(swap(national_text(), ("<secClassification>None", "<secClassification>Inner")))
    assert alert.scope is Scope.RESTRICTED


def test_a_white_national_warning_has_no_colour() -> None:
    text = swap(
        national_text(),
        ("<severity>Red", "<severity>White"),
        ("泥石流红色预警[I级/特别严重]", "台风白色预警"),
    )
    assert read(text).main.colour is None


# --- XML -----------------------------------------------------------------------------------------------


def test_fifty_megabytes_are_refused_by_size_before_parsing() -> None:
    error = refusal(b"<alert>" * 7_500_000)
    assert "52,500,000 bytes" in error.why


def test_a_dtd_is_refused() -> None:
    assert "DTD" in refusal(b'<!DOCTYPE alert SYSTEM "http://127.0.0.1/x"><alert/>').why


def test_an_entity_bomb_is_refused() -> None:
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><alert>&b;</alert>'
    assert "DTD" in refusal(bomb).why


def test_gbk_labelled_utf8_is_said_exactly() -> None:
    error = refusal(cap_text().encode("gbk"))
    assert "is GBK labelled UTF-8" in error.why
    assert "0xB1" in error.why
    assert "GBK" in error.remedy


@pytest.mark.parametrize("encoding", ["GBK", "GB18030", "gb2312", "UTF-16"])
def test_declared_chinese_encodings_are_read(encoding: str) -> None:
    body = swap(cap_text(), ('encoding="UTF-8"', f'encoding="{encoding}"')).encode(encoding)
    assert read(body).main.event == "暴雨"


def test_gbk_called_gb2312_is_read_with_a_remark() -> None:
    text = swap(cap_text(), ('encoding="UTF-8"', 'encoding="gb2312"'), ("立即停止", "竝即停止"))
    alert = read(text.encode("gbk"))
    assert "竝" in alert.main.instruction
    assert any("gb18030" in remark for remark in alert.remarks)


def test_a_byte_order_mark_is_let_pass() -> None:
    assert read(b"\xef\xbb\xbf" + cap_text().encode()).main.event == "暴雨"


def test_an_unknown_encoding_is_refused_by_name() -> None:
    assert "utf-7" in refusal(swap(cap_text(), ('encoding="UTF-8"', 'encoding="UTF-7"'))).why


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.9, 0.99])
def test_a_truncated_file_says_where_it_ends(keep: float) -> None:
    body = cap_text().encode()
    error = refusal(body[: int(len(body) * keep)])
    assert "cut off" in error.why
    assert "line " in error.why
    assert "column " in error.why


def test_a_file_cut_inside_a_character_says_cut_off() -> None:
    body = cap_text().encode()
    error = refusal(body[: body.index("暴".encode()) + 2])
    assert "cut off" in error.why


def test_deep_and_wide_documents_are_refused() -> None:
    assert "deeper" in refusal(b"<alert>" * 65 + b"</alert>" * 65).why
    assert "elements" in refusal(b"<alert>" + b"<a/>" * 200_001 + b"</alert>").why


def test_something_that_is_no_warning_is_refused_by_its_name() -> None:
    assert refusal(b"<feed/>").where == "feed"
    assert "empty" in refusal(b"").why


def test_an_element_inside_another_document_is_restated_whole() -> None:
    root, _ = xml.read(b'<f xmlns="a" xmlns:c="b"><c:alert x="1"><c:t>a &lt; b</c:t> <c:u/></c:alert></f>')
    again, _ = xml.read(root.all("alert")[0].to_bytes())
    assert (again.name, again.namespace, again.get("t"), again.attributes) == (
        "alert",
        "b",
        "a < b",
        {"x": "1"},
    )


# --- hazards -------------------------------------------------------------------------------------------


def test_the_catalogue_is_consistent() -> None:
    keys = [hazard.key for hazard in hazards.HAZARDS]
    codes = [hazard.code for hazard in hazards.HAZARDS if hazard.code]
    names = [name for hazard in hazards.HAZARDS for name in (hazard.zh, hazard.en, *hazard.aliases)]
    assert len(set(keys)) == len(keys)
    assert len(set(codes)) == len(codes)
    assert len(set(names)) == len(names)
    fast = {hazard.key for hazard in hazards.HAZARDS if hazard.lane is hazards.Lane.FAST}
    assert fast == {"earthquake", "dam_break", "tsunami"}
    for hazard in hazards.HAZARDS:
        assert timedelta(0) < hazard.default_lifetime <= timedelta(hours=24)
        assert hazards.find(hazard.zh, hazard.code) == hazards.Found(hazard)
        assert hazards.find(hazard.en).hazard is hazard


@pytest.mark.parametrize(
    ("text", "code", "key"),
    [
        ("甘肃省地震局和舟曲县气象局发布暴雨橙色预警", "", "rainstorm"),
        ("舟曲县水务局发布山洪灾害气象风险预警", "", "flash_flood"),
        ("雷暴大风", "", "thunderstorm_gale"),
        ("Flash flood events", "", "flash_flood"),
        ("", "11b03", "rainstorm"),
        ("莫名其妙", "11B03", "rainstorm"),
        ("莫名其妙", "99Z99", "unknown"),
        ("Fogarty County", "", "unknown"),
    ],
)
def test_hazards_are_found_by_name_first(text: str, code: str, key: str) -> None:
    assert hazards.find(text, code).hazard.key == key


def test_an_unrecognised_hazard_says_what_was_given() -> None:
    assert "莫名其妙" in hazards.find("莫名其妙", "99Z99").remark


# --- shipped scenarios and the corpus ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "hazard", "colour"),
    [
        ("rainstorm-orange.cap.xml", "rainstorm", Colour.ORANGE),
        ("debris-flow-red.national.xml", "debris_flow", Colour.RED),
    ],
)
def test_the_shipped_scenarios_parse_without_a_remark(file: str, hazard: str, colour: Colour) -> None:
    text = (Path(__file__).parents[2] / "simulators" / "scenarios" / file).read_text(encoding="utf-8")
    sent, end = NOW - timedelta(minutes=1), NOW + timedelta(hours=6)
    for token, value in (
        ("@IDENTIFIER@", "62302341600000_20260715080000"),
        ("@SENT@", sent.isoformat(timespec="seconds")),
        ("@EXPIRES@", end.isoformat(timespec="seconds")),
        ("@SENT_CN@", sent.isoformat(" ", "seconds")),
        ("@EXPIRES_CN@", end.isoformat(" ", "seconds")),
    ):
        text = text.replace(token, value)
    assert "@" not in text
    alert = read(text, CodeScheme.MCA)
    assert (alert.main.hazard, alert.main.colour) == (hazard, colour)
    assert alert.remarks == ()
    assert alert.inferred == ()
    assert len(alert.main.areas[0].codes) == 5
    assert not cut(alert.main.areas, COUNTY).empty


def manifest() -> list[dict[str, Any]]:
    folder = SHARED / "feeds" / "cap"
    if not (folder / "manifest.json").exists():
        pytest.skip("the CAP corpus (../shared/data/feeds/cap) is not here")
    rows = json.loads((folder / "manifest.json").read_text("utf-8"))
    return [{**row, "body": (folder / row["file"]).read_bytes()} for row in rows]


def outcome(body: bytes) -> Alert | AlertError:
    try:
        return parse(body, now=datetime(2005, 1, 1, tzinfo=UTC))
    except AlertError as error:
        return error


def test_every_valid_document_of_the_corpus_is_taken_and_every_invalid_one_explained() -> None:
    """Valid: by the OASIS schema of its version, as the manifest says, which says nothing of CAP 1.0 and of
    documents without a namespace; those live issuers send, so they are taken as well."""
    valid, explained = 0, 0
    for row in manifest():
        read = outcome(row["body"])
        if isinstance(read, AlertError):
            assert (row.get("xsd") if row["wellformed"] else False) is False, (row["file"], read)
            assert read.where.startswith(("alert/", "document")), (row["file"], read)
            assert read.why
            explained += 1
        elif row.get("xsd"):
            valid += 1
        elif row.get("xsd") is False:
            odd = [remark for remark in read.remarks if "after our clock" not in remark]
            assert odd or read.damage, (row["file"], row["xsderr"])
            explained += 1
    assert (valid, explained) == (741, 36)


def test_what_is_held_of_the_corpus_is_what_nobody_can_read() -> None:
    found = ((row["file"].rsplit("/", 1)[1], outcome(row["body"])) for row in manifest())
    held = {
        name: alert.damage[0].split(":")[0]
        for name, alert in found
        if isinstance(alert, Alert) and alert.damage
    }
    assert held == {
        "no_optional_fields.cap": "alert/info",
        "noaa_errors.cap": "alert/info[0]/area[0]/polygon[0]",
        "noaa_errors~1.cap": "alert/info[0]/area[0]/polygon[0]",
        # Tests of their systems that were sent as Actual.
        "ipaws-5e6dd964023f1930ef638846.xml": "alert/info[0]/headline",
        "ipaws-5e6ddbad023f1930ef6c1a5a.xml": "alert/info[0]/headline",
        "test_cap_data_expired_alert.xml": "alert/info[0]/headline",
    }


def test_the_real_national_message_parses() -> None:
    file = SHARED / "feeds/guotu-cap/real/41000041600000_20200205105119_11B06_BLUE_UPDATE.xml"
    if not file.exists():
        pytest.skip("the real 国突 message (../shared/data/feeds/guotu-cap) is not here")
    alert = read(file.read_bytes())
    assert (alert.main.hazard, alert.main.colour) == ("gale", Colour.BLUE)
    assert [code.digits for code in alert.main.areas[0].codes] == ["41"]
    assert alert.event_key == "41000041600000_20200204121842"
    assert any("expires" in item for item in alert.inferred), "it has an empty one"
