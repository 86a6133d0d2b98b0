"""Words that contradict the labels of a warning hold it: a rehearsal called Actual, an end called Update."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from alert_builders import HERE, cap_text, national_text

from alerts.formats import Reading, containers, fields, parse, weather
from alerts.formats.fields import Notes
from alerts.lifecycle import classify
from alerts.model import Alert, Colour, MsgType

NOW = datetime(2026, 7, 15, 0, 0, tzinfo=UTC)
LIFTED = (
    "舟曲县气象台解除暴雨红色预警",
    "舟曲县气象台发布解除暴雨红色预警",
    "暴雨红色预警信号解除",
    "舟曲县气象台2026年7月15日10时发布的暴雨红色预警信号已解除",
    "舟曲县气象台停止发布暴雨红色预警信号",
)


def titled(text: str, headline: str) -> Alert:
    start, end = text.index("<headline>") + len("<headline>"), text.index("</headline>")
    return parse((text[:start] + headline + text[end:]).encode(), Reading(), now=NOW)


@pytest.mark.parametrize("headline", LIFTED)
@pytest.mark.parametrize("msg_type", ["Alert", "Update"])
def test_a_national_message_that_lifts_and_is_called_a_warning_is_held(headline: str, msg_type: str) -> None:
    text = national_text().replace("<msgType>Alert", f"<msgType>{msg_type}")
    alert = titled(text, headline)
    assert any("the warning is over" in damage for damage in alert.damage)


@pytest.mark.parametrize("headline", LIFTED)
def test_a_chinese_cap_that_lifts_is_a_cancel_however_it_is_worded(headline: str) -> None:
    assert titled(cap_text(), headline).msg_type is MsgType.CANCEL


@pytest.mark.parametrize(
    "headline",
    [
        "舟曲县气象台解除暴雨橙色预警，发布暴雨红色预警",
        "舟曲县气象台继续发布暴雨红色预警",
        "舟曲县气象台发布暴雨红色预警，预警信号解除前请勿返回",
    ],
)
def test_what_goes_on_is_no_end(headline: str) -> None:
    for text in (national_text(), cap_text()):
        alert = titled(text, headline)
        assert alert.msg_type is MsgType.ALERT
        assert not alert.damage


def test_a_text_that_lifts_under_a_headline_that_issues_is_held() -> None:
    text = national_text()
    start, end = text.index("<description>") + len("<description>"), text.index("</description>")
    said = "舟曲县气象台7月15日12时解除暴雨红色预警信号。"
    alert = parse((text[:start] + said + text[end:]).encode(), Reading(), now=NOW)
    assert any("the warning is over" in damage for damage in alert.damage)


@pytest.mark.parametrize(
    "headline", ["【演练】舟曲县气象台发布暴雨红色预警", "测试：暴雨红色预警", "Test warning"]
)
def test_a_headline_that_calls_itself_a_rehearsal_is_held_although_actual(headline: str) -> None:
    for text in (national_text(), cap_text()):
        assert any("but status is Actual" in damage for damage in titled(text, headline).damage)


def test_a_white_signal_of_an_official_source_is_held() -> None:
    for text in (national_text(), cap_text()):
        assert any("white signal" in damage for damage in titled(text, "舟曲县气象台发布台风白色预警").damage)


def test_an_english_lead_that_lifts_one_and_issues_another_is_an_update() -> None:
    said = "Zhouqu lifts the blue warning and issues a yellow warning for rainstorm"
    assert weather.verb(said) is MsgType.UPDATE
    assert weather.verb("Zhouqu lifts the blue warning issued at 09:40") is MsgType.CANCEL


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("暴雨预警由黄色升级至橙色", Colour.ORANGE),
        ("解除暴雨蓝色预警发布暴雨黄色预警", Colour.YELLOW),
        ("发布雷电黄色、暴雨橙色预警", None),
    ],
)
def test_of_two_colours_the_one_it_changes_to_counts_and_else_a_person_looks(
    text: str, colour: Colour | None
) -> None:
    notes = Notes()
    assert fields.colour_of((), (text,), "headline", notes) is colour
    assert bool(notes.damage) is (colour is None)


def test_a_circle_that_is_only_sane_in_metres_is_held() -> None:
    circle = "<circle>33.7,104.4 10000</circle></area>"
    alert = parse(cap_text().replace("</area>", circle, 1).encode(), Reading(), now=NOW)
    assert any("is it metres?" in damage for damage in alert.damage)


@pytest.mark.parametrize(
    ("status", "kind", "taken"),
    [("Actual", "Report", True), ("Exercise", "Report", False), ("Actual", "Ack", False)],
)
def test_the_second_edition_of_edxl_is_opened_and_its_envelope_obeyed(
    status: str, kind: str, taken: bool
) -> None:
    inner = cap_text().split("?>", 1)[1]
    body = (
        '<edxlDistribution xmlns="urn:oasis:names:tc:emergency:EDXL:DE:2.0">'
        f"<distributionStatus><StatusKindDefault>{status}</StatusKindDefault></distributionStatus>"
        f"<distributionKind><DistributionKindDefault>{kind}</DistributionKindDefault></distributionKind>"
        f"<content><contentObject><contentXML><embeddedXMLContent>{inner}</embeddedXMLContent></contentXML>"
        "</contentObject></content></edxlDistribution>"
    )
    (entry,) = containers.entries(body.encode())
    assert bool(entry.inline) is taken
    assert bool(entry.refused) is not taken


def test_an_alert_that_gives_the_all_clear_is_doubted() -> None:
    clear = "<responseType>AllClear</responseType><urgency>"
    alert = parse(cap_text().replace("<urgency>", clear, 1).encode(), Reading(), now=NOW)
    assert "it is over" in classify(alert, [], NOW, villages=HERE).doubt


@pytest.mark.parametrize("text", [cap_text(), national_text()])
def test_no_officer_is_named_in_what_is_kept_or_said(text: str) -> None:
    text = re.sub("(<senderName>)[^<]*", r"\1欧阳明", text)
    text = text.replace("</description>", "签发：欧阳明</description>", 1)
    assert "欧阳明" not in repr(parse(text.encode(), Reading(), now=NOW))


def test_an_agency_is_no_person() -> None:
    for name in ("舟曲县气象台", "中央氣象署", "水利署", "市政府"):
        text = re.sub("(<senderName>)[^<]*", rf"\g<1>{name}", cap_text())
        assert ("senderName", name) in parse(text.encode(), Reading(), now=NOW).main.parameters


@pytest.mark.parametrize(
    ("severity", "colour", "held"),
    [("Ⅱ级", Colour.ORANGE, False), ("Extreme", None, True), ("1", None, True), ("Unknown", None, False)],
)
def test_a_national_severity_that_is_no_colour_is_held(
    severity: str, colour: Colour | None, held: bool
) -> None:
    text = re.sub("(<severity>)[^<]*", rf"\g<1>{severity}", national_text())
    alert = titled(text, "舟曲县气象台发布暴雨预警")
    assert alert.main.colour is colour
    assert bool(alert.damage) is held


def test_a_national_message_under_caps_namespace_is_still_national() -> None:
    text = national_text().replace("<alert>", '<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2">', 1)
    assert parse(text.encode(), Reading(), now=NOW).format == "national"
