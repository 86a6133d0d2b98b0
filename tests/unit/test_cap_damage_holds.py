"""What cannot be read of a warning holds it, in planning and release, and never narrows it silently."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from alert_builders import COUNTY, cap_text, national_text

from alerts.area import cut
from alerts.formats import Reading, parse
from alerts.model import Alert, CodeScheme, Colour, Severity
from config.schema import Action, BroadcastOptions, Issuer, Rule, Targeting
from controller.planning import Plan, plan_alert
from controller.release import Auto, Hold, decide
from terminals.broadcast import Kind
from terminals.model import Terminal

NOW = datetime(2026, 7, 15, 0, 0, tzinfo=UTC)
ALWAYS = [Rule(feed="*", hazard="*", action=Action.AUTO)]
TERMINALS = [Terminal(village.key, village.name, village.key, enrolled=True) for village in COUNTY.villages]


def read(text: str) -> Alert:
    return parse(text.encode(), Reading(CodeScheme.MCA), now=NOW)


def planned(alert: Alert, stage: Any = "first") -> Plan:
    return plan_alert(
        alert,
        Kind.ACTUAL,
        stage,
        cut(alert.main.areas, COUNTY),
        county=COUNTY,
        terminals=TERMINALS,
        settings=BroadcastOptions(),
        issuer=Issuer(name="舟曲县应急管理局"),
        targeting=Targeting(),
    )


def spoilt(old: str, new: str) -> Alert:
    assert old in cap_text()
    return read(cap_text().replace(old, new, 1))


def test_an_unharmed_warning_is_released_by_the_same_rule() -> None:
    assert isinstance(decide(planned(read(cap_text())), "feed", (), ALWAYS), Auto)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("</areaDesc>", "</areaDesc><polygon>33.7,x 33.8,104.4 33.8,104.5</polygon>", "polygon[0]"),
        ("</areaDesc>", "</areaDesc><polygon>81.6,36.8 81.7,36.8 81.7,36.9</polygon>", "polygon[0]"),
        ("</areaDesc>", "</areaDesc><circle>33.7,104.4 -5</circle>", "circle[0]"),
        (
            "</area>",
            "<geocode><valueName>EXCLUDE_POLYGON</valueName><value/></geocode></area>",
            "geocode[2]",
        ),
        ("623023103000", "62302310300", "geocode[1]"),
        ("<expires>2026-07-15T12:15:00+08:00", "<expires>tonight", "expires"),
    ],
)
def test_damage_holds_and_keeps_what_could_be_read(old: str, new: str, where: str) -> None:
    """`lessons` §9 #16: a polygon that said Exclude alerted a whole county."""
    alert = spoilt(old, new)
    plan = planned(alert)
    assert plan.terminals, "the codes that stand still say who is meant"
    verdict = decide(plan, "feed", (), ALWAYS)
    assert isinstance(verdict, Hold)
    assert any(where in reason for reason in verdict.reasons)


def test_a_cancel_is_not_held_for_damage() -> None:
    references = "<references>a,b,2026-07-15T00:00:00+08:00</references><info>"
    text = cap_text().replace("<msgType>Alert", "<msgType>Cancel").replace("<info>", references)
    alert = read(text.replace("</areaDesc>", "</areaDesc><circle>x</circle>"))
    assert alert.damage
    assert not any("circle" in problem for problem in planned(alert, "cancel").problems)


def test_an_area_that_lies_elsewhere_is_named() -> None:
    alert = read(
        cap_text()
        .replace("623023101000", "623021100000")
        .replace("623023103000", "623021101000")
        .replace("<areaDesc>", "<areaDesc>临潭县")
    )
    (problem,) = [text for text in planned(alert).problems if "nothing of the area" in text]
    assert "临潭县" in problem
    assert "(6230211" in problem


@pytest.mark.parametrize("severity", [level for level in Severity if level is not Severity.UNKNOWN])
def test_every_severity_is_read_as_it_is_written(severity: Severity) -> None:
    """`lessons` §9 #1: obplayer took Severe for urgent and Extreme for not."""
    assert spoilt("<severity>Severe", f"<severity>{severity}").main.severity is severity
    assert spoilt("<severity>Severe", f"<severity> {severity.upper()} ").main.severity is severity


def test_a_worse_national_colour_is_never_a_milder_severity() -> None:
    text = national_text().replace("泥石流红色预警[I级/特别严重]", "泥石流预警")
    order = list(Severity)
    ranks = []
    for colour in Colour:
        info = read(text.replace("<severity>Red", f"<severity>{colour.title()}")).main
        assert info.colour is colour
        ranks.append(order.index(info.severity))
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == 4
