"""What a CAP document says: every language and area, texts as meant, earthquakes, ends that only the headline
tells, and what the schema forbids."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest
from alert_builders import COUNTY, SHARED, cap_text, national_text
from hypothesis import given
from hypothesis import strategies as st

from alerts.formats import parse
from alerts.lifecycle import Label, sounds_as
from alerts.lint import lint, lint_all
from alerts.model import Alert, AlertError, MsgType, Quake, Scope, Status

NOW = datetime(2026, 7, 15, 0, 0, tzinfo=UTC)


def read(text: str) -> Alert:
    return parse(text.encode(), now=NOW)


def swap(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def info() -> str:
    text = cap_text()
    return text[text.index("<info>") : text.index("</info>") + 7]


# --- several infos and areas ---------------------------------------------------------------------------


def test_every_info_of_one_language_is_kept_with_its_own_area_and_colour() -> None:
    second = swap(
        info(), ("橙色", "红色"), ("[II级/严重]", "[I级/特别严重]"), ("623023103000", "623023104000")
    )
    english = swap(info(), ("zh-CN", "en-US"))
    alert = read(swap(cap_text(), ("</info>", "</info>" + english + second)))
    assert [one.language for one in alert.infos] == ["zh-CN", "en-US", "zh-CN"]
    assert [one.colour for one in alert.infos] == ["orange", "orange", "red"]
    assert [one.areas[0].codes[1].digits for one in alert.infos] == ["623023103", "623023103", "623023104"]


def test_elements_in_any_order_mean_the_same_and_are_remarked() -> None:
    text = cap_text()
    area = text[text.index("<area>") : text.index("</area>") + 7]
    moved = text.replace(area, "").replace("<info>", "<info>" + area)
    alert = read(moved)
    assert alert.main == read(text).main
    assert any("is out of CAP's order" in remark for remark in alert.remarks)


def test_what_cap_does_not_know_and_what_it_demands_is_remarked() -> None:
    text = swap(cap_text(), ("<area>", "<siren>loud</siren><area>"), ("<urgency>Expected</urgency>", ""))
    remarks = read(text).remarks
    assert "alert/info[0]/siren[0] is no element of CAP; not used" in remarks
    assert "alert/info[0]/urgency is missing or empty" in remarks


def test_white_space_around_every_value_changes_nothing() -> None:
    padded = cap_text().replace("</", "\n  </")
    for name in ("identifier", "status", "value", "headline", "expires", "event", "areaDesc"):
        padded = padded.replace(f"<{name}>", f"<{name}>\n\t ")
    assert read(padded).main == read(cap_text()).main
    assert read(padded).identifier == read(cap_text()).identifier


def test_cap_1_0_pairs_are_read() -> None:
    text = swap(
        cap_text(),
        ("urn:oasis:names:tc:emergency:cap:1.2", "http://www.incident.com/cap/1.0"),
        (
            "<geocode>\n        <valueName>CPEAS Geographic Code</valueName>",
            "<geocode>CPEAS Geographic Code=",
        ),
    )
    text = text.replace("Code=\n        <value>", "Code=").replace("</value>\n      </geocode>", "</geocode>")
    text = swap(text, ("<certainty>Likely", "<certainty>Very Likely"))
    alert = read(text)
    assert (alert.format, alert.main.certainty) == ("cap-1.0", "Likely")
    assert [code.digits for code in alert.main.areas[0].codes] == ["623023101", "623023103"]


def test_a_chinese_text_without_language_is_chinese_and_says_so() -> None:
    alert = read(swap(cap_text(), ("<language>zh-CN</language>", "")))
    assert alert.main.language == "zh-CN"
    assert "alert/info[0]/language (zh-CN, from its text)" in alert.inferred
    assert read(swap(cap_text(), ("zh-CN", ""), ("暴雨", "rain"))).infos[0].language == "zh-CN"


# --- texts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("风力&lt;8级，&gt;6级", "风力<8级，>6级"),
        ("a &amp;amp; b", "a & b"),
        ("&amp;lt;p&amp;gt;第一段&amp;lt;/p&amp;gt;", "第一段"),
        ("&lt;p&gt;第一段&lt;/p&gt;&lt;p&gt;第二段&lt;/p&gt;", "第一段\n第二段"),
        ("第一行&lt;br/&gt;第二行", "第一行\n第二行"),
        ("&lt;b class='x'&gt;暴雨&lt;/b&gt;来了", "暴雨来了"),
        ("<b>暴雨</b>来了", "暴雨来了"),
        ("<typhoon><name>海葵</name><speed>20</speed></typhoon>", "海葵\n20"),
        ("<![CDATA[甲 & 乙 < 丙]]>", "甲 & 乙 < 丙"),
        ("  甲  \n\n   乙  ", "甲\n乙"),
        ("河水a<!-- 某人 -->上涨", "河水a上涨"),
        ("&amp;#8451; &#8451;", "℃ ℃"),
    ],
)
def test_texts_are_read_as_they_were_meant(written: str, meant: str) -> None:
    text = cap_text()
    start, end = text.index("<description>") + 13, text.index("</description>")
    assert read(text[:start] + written + text[end:]).main.description == meant


def test_a_headline_is_one_line() -> None:
    alert = read(swap(cap_text(), ("<headline>舟曲县气象台发布", "<headline>\n 舟曲县气象台\n   发布")))
    assert alert.main.headline.startswith("舟曲县气象台 发布暴雨橙色预警")


@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="￾￿"), max_size=60
    )
)
def test_plain_text_is_never_changed(words: str) -> None:
    """Whatever has no markup and no entity in it comes out as it went in, but for white space."""
    from xml.sax.saxutils import escape

    text = cap_text()
    start, end = text.index("<instruction>") + 13, text.index("</instruction>")
    if "&" in words or "<" in words:
        words = words.replace("&", "＆").replace("<", "＜")
    said = read(text[:start] + escape(words) + text[end:]).main.instruction
    assert said == "\n".join(line.strip() for line in words.splitlines() if line.strip())


# --- ends that only the headline tells -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("headline", "ends"),
    [
        ("Yuanshi County Meteorological Observatory lifts blue warning for flash flood disasters", True),
        ("Yuanshi County Meteorological Observatory cancels yellow warning for rainstorm", True),
        ("Observatory removed the orange alert for gale", True),
        ("元氏县气象台解除山洪灾害蓝色预警信号", True),
        ("元氏县气象台发布解除暴雨蓝色预警信号", True),
        ("Yuanshi County Meteorological Observatory issues blue warning for flash flood disasters", False),
        ("Observatory lifts blue warning and issues orange warning for rainstorm", False),
        ("Observatory updates blue warning for flash flood disasters [Level IV/General]", False),
        ("解除暴雨蓝色预警信号，发布暴雨橙色预警信号", False),
        ("变更暴雨蓝色预警信号为橙色预警信号", False),
        ("发布暴雨红色预警，学校停课、活动取消", False),
    ],
)
def test_a_lift_that_only_the_headline_tells_never_sounds_as_a_warning(headline: str, ends: bool) -> None:
    alert = read(swap(cap_text(), ("舟曲县气象台发布暴雨橙色预警[II级/严重]", headline)))
    assert (alert.msg_type is MsgType.CANCEL) is ends
    assert any("the headline lifts" in item for item in alert.inferred) is ends
    assert (sounds_as(alert) is Label.ACTUAL) is not ends


def test_a_lift_in_one_language_and_an_issue_in_the_other_is_no_end() -> None:
    english = swap(
        info(), ("zh-CN", "en-US"), ("舟曲县气象台发布暴雨橙色预警[II级/严重]", "lifts the warning")
    )
    alert = read(swap(cap_text(), ("</info>", "</info>" + english)))
    assert alert.msg_type is MsgType.ALERT


# --- labels --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [cap_text(), national_text()], ids=["cap", "national"])
def test_only_actual_public_alerts_and_updates_ever_sound(body: str) -> None:
    """`lessons` §9 #7 and #17: cap-composer sent Exercise + Public, and ATI took no label for Emergency."""
    for status, scope, kind in product(Status, Scope, MsgType):
        text = swap(
            body,
            ("<status>Actual", f"<status>{status}"),
            ("<scope>Public", f"<scope>{scope}"),
            ("<msgType>Alert", f"<msgType>{kind}"),
        )
        text = text.replace("<references></references>", "").replace("<references/>", "")
        text = text.replace("</scope>", "</scope><references>a,b,2026-07-15T00:00:00+08:00</references>", 1)
        sounds = sounds_as(read(text)) is Label.ACTUAL
        assert sounds == ((status, scope) == ("Actual", "Public") and kind in ("Alert", "Update"))
    for name in ("status", "scope", "msgType"):
        for label in ("", "Emergency", "actual public"):
            with pytest.raises(AlertError):
                read(
                    body.replace(f"<{name}>", f"<{name}>{label}<!-- ", 1).replace(
                        f"</{name}>", f" --></{name}>", 1
                    )
                )


# --- earthquakes ---------------------------------------------------------------------------------------


def quake_text(*parameters: tuple[str, str], area: str = "<circle>23.756,121.529 0.000</circle>") -> str:
    text = swap(
        cap_text(), ("<event>暴雨", "<event>地震"), ("舟曲县气象台发布暴雨橙色预警[II级/严重]", "地震报告")
    )
    said = "".join(
        f"<parameter><valueName>{name}</valueName><value>{value}</value></parameter>"
        for name, value in parameters
    )
    start, end = text.index("<area>"), text.index("</area>") + 7
    text = text[:start] + said + f"<area><areaDesc>x</areaDesc>{area}</area>" + text[end:]
    code = text[text.index("<eventCode>") : text.index("</eventCode>") + 12] if "<eventCode>" in text else ""
    return text.replace(code, "")


ORIGIN = ("EventOriginTime", "2024-04-22T17:09:14+08:00")


def test_an_earthquake_that_its_issuer_states_is_read() -> None:
    alert = read(
        quake_text(
            ORIGIN,
            ("EventLatLon", "23.756,121.529 0.000"),
            ("EventDepth", "9.5公里"),
            ("EventMagnitudeDescription", "芮氏規模4.4"),
            ("EventLocationName", "花蓮縣壽豐鄉"),
        )
    )
    assert alert.main.quake == Quake(
        origin=datetime(2024, 4, 22, 9, 9, 14, tzinfo=UTC),
        lat=23.756,
        lon=121.529,
        magnitude=4.4,
        depth_km=9.5,
        place="花蓮縣壽豐鄉",
    )


@pytest.mark.parametrize(
    ("magnitude", "depth", "expected"),
    [
        ("6.3", "38.7 km (24.0 miles)", (6.3, 38.7)),
        ("3.4 Ml", "11.8 mi.", (3.4, pytest.approx(18.99, abs=0.01))),
        ("M6.7", "10 kilometers", (6.7, 10.0)),
        ("6.1级", "10", (6.1, None)),
    ],
)
def test_magnitude_and_depth_as_issuers_write_them(
    magnitude: str, depth: str, expected: tuple[float, float | None]
) -> None:
    quake = read(quake_text(("EventTime", ORIGIN[1]), ("Magnitude", magnitude), ("Depth", depth))).main.quake
    assert quake is not None
    assert (quake.magnitude, quake.depth_km) == expected
    assert (quake.lat, quake.lon) == (23.756, 121.529)


@pytest.mark.parametrize(
    "parameters",
    [
        [ORIGIN],
        [ORIGIN, ("Magnitude", "about 6")],
        [ORIGIN, ("Magnitude", "6.1"), ("EventMagnitude", "6.4")],
        [("Magnitude", "6.1")],
        [("Magnitude", "6.1"), ("EventTime", "06/11/2003 20:53:26 PDT")],
        [("Magnitude", "6.1"), ("EventTime", "2024-04-22T17:09:14")],
        [ORIGIN, ("Magnitude", "6.1"), ("EventLatLon", "south of the town")],
    ],
)
def test_an_earthquake_that_is_not_clearly_stated_is_none(parameters: list[tuple[str, str]]) -> None:
    assert read(quake_text(*parameters)).main.quake is None


def test_two_points_are_no_epicentre_and_rain_is_no_earthquake() -> None:
    two = "<circle>23.7,121.5 0</circle><circle>23.8,121.5 0</circle>"
    assert read(quake_text(ORIGIN, ("Magnitude", "6.1"), area=two)).main.quake is None
    rain = swap(
        quake_text(ORIGIN, ("Magnitude", "6.1")), ("<event>地震", "<event>暴雨"), ("地震报告", "暴雨")
    )
    assert read(rain).main.quake is None


def test_the_earthquakes_of_the_corpus_are_read() -> None:
    folder = SHARED / "feeds" / "cap" / "alerts" / "tasi788+TaiwanAlertBot"
    files = sorted(folder.glob("CWA-EQ*.cap"))
    if not files:
        pytest.skip("the CAP corpus (../shared/data/feeds/cap) is not here")
    for file in files:
        alert = parse(file.read_bytes(), now=NOW)
        quake = alert.main.quake
        assert quake is not None, file.name
        assert alert.main.onset == quake.origin
        assert f"規模{quake.magnitude}" in alert.main.description
        assert quake.depth_km is not None


# --- lint ----------------------------------------------------------------------------------------------


def test_lint_shows_every_info_area_and_shape() -> None:
    shapes = (
        "<polygon>33.7,104.4 33.8,104.4 33.8,104.5 33.7,104.4</polygon><circle>33.7,104.4 0</circle>"
        "<polygon>33.7,104.4 33.8,104.4 33.7,104.4</polygon>"
    )
    exclude = (
        "<geocode><valueName>EXCLUDE_POLYGON</valueName>"
        "<value>33.7,104.4 33.8,104.4 33.8,104.5 33.7,104.4</value></geocode>"
    )
    text = swap(cap_text(), ("</areaDesc>", "</areaDesc>" + shapes), ("</area>", exclude + "</area>"))
    report = lint(text.encode(), now=NOW, county=COUNTY)
    fields = dict(report.fields)
    assert fields["info[0] area[0] polygon[0]"] == "4 points, latitude 33.7 to 33.8, longitude 104.4 to 104.5"
    assert fields["info[0] area[0] circle[0]"] == "33.7,104.4, a point"
    assert fields["info[0] area[0] line[0]"].startswith("2 points")
    assert fields["info[0] area[0] excluded[0]"].startswith("4 points")
    assert report.silent == ""


def test_lint_says_why_a_test_is_taken_and_never_sounds() -> None:
    report = lint(cap_text().replace("<status>Actual", "<status>Test").encode(), now=NOW)
    assert report.ok
    assert report.silent.startswith("status is Test")


def test_lint_shows_damage_by_its_path() -> None:
    report = lint(swap(cap_text(), ("</areaDesc>", "</areaDesc><circle>x</circle>")).encode(), now=NOW)
    assert report.damage[0].startswith("alert/info[0]/area[0]/circle[0]: ")


def test_lint_of_an_index_tells_of_each_entry() -> None:
    alert = cap_text().split("?>", 1)[1]
    broken = alert.replace("<scope>Public</scope>", "").replace("_20260715061500", "_1")
    entries = (f"<id>a</id>{alert}", f"<id>b</id>{broken}", "<link>/c</link>")
    index = f"<feed>{''.join(f'<entry>{entry}</entry>' for entry in entries)}</feed>"
    good, bad, link = lint_all(index.encode(), now=NOW)
    assert (good.name, good.ok) == ("a", True)
    assert (bad.name, str(bad.refusal).split(":")[0]) == ("b", "alert/scope")
    assert (link.name, "is a link" in str(link.refusal)) == ("/c", True)
    (alone,) = lint_all(cap_text().encode(), now=NOW)
    assert (alone.name, alone.ok) == ("", True)
