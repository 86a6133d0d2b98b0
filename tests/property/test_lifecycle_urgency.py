"""A worse warning is never told later, more briefly, less often or more quietly than a milder one.

Regression for a peer that broadcast "Severe" at once and left "Extreme" for later (lessons §9 #1).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import time, timedelta
from itertools import pairwise

import pytest
from alert_builders import COUNTY, T0, alert
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from alerts.area import cut
from alerts.fatigue import Form, Message, Rules, Sounding, judge
from alerts.lifecycle import New, State, classify, remember
from alerts.model import Colour, Severity, Urgency
from alerts.replay import Rehearsal
from config.schema import (
    BroadcastOptions,
    Fatigue,
    Issuer,
    RepeatsByColour,
    Targeting,
    VolumeByColour,
)
from controller.planning import Plan, divide, message_of, plan_alert, sounding, to_broadcast
from terminals.broadcast import Kind
from terminals.model import Terminal

COLOURS = list(Colour)
"""Worst first."""
SEVERITIES = list(Severity)
HOUR = timedelta(hours=1)
TERMINALS = [Terminal(f"t{v.key}", v.key, v.key, enrolled=True) for v in COUNTY.villages]

times = st.integers(-60 * 48, 0).map(lambda minutes: T0 + timedelta(minutes=minutes))
soundings = st.builds(
    lambda at, event, hazard, colour, form, clear, until: Sounding(
        at, event, hazard, colour, form, clear, until=at + until * HOUR
    ),
    times,
    st.sampled_from(["E", "F"]),
    st.sampled_from(["rainstorm", "hail"]),
    st.one_of(st.none(), st.sampled_from(COLOURS)),
    st.sampled_from([Form.FULL, Form.SHORT]),
    st.sampled_from([False] * 5 + [True]),
    st.integers(0, 30),
)
rules = st.builds(
    Rules,
    st.builds(time, st.integers(0, 23)),
    st.builds(time, st.integers(0, 23)),
    st.integers(1, 24).map(lambda hours: hours * HOUR),
    st.integers(1, 12),
)
hours = st.integers(0, 47).map(lambda hour: T0 + hour * HOUR)


@given(st.lists(soundings, max_size=20), rules, hours, st.booleans(), st.booleans())
def test_the_form_never_falls_as_the_colour_gets_worse(
    heard: list[Sounding], county: Rules, at, news: bool, first: bool
) -> None:  # type: ignore[no-untyped-def]
    told = [
        judge(Message(at, "E", "rainstorm", colour, news=news or first, first=first), heard, county)
        for colour in COLOURS
    ]
    ranks = [verdict.form.rank for verdict in told]
    assert ranks == sorted(ranks), [f"{v.form}: {v.reason}" for v in told]
    assert told[0].form is Form.FULL, "red"
    assert all(verdict.reason for verdict in told)


@given(st.lists(soundings, max_size=20), rules, hours, st.one_of(st.none(), st.sampled_from(COLOURS)))
def test_what_is_worse_than_everything_heard_or_never_heard_is_heard_in_full(
    heard: list[Sounding], county: Rules, at, colour: Colour | None
) -> None:  # type: ignore[no-untyped-def]
    message = Message(at, "E", "rainstorm", colour, news=False)
    found = judge(message, heard, county)
    worst = min(
        ((item.colour or Colour.ORANGE).rank for item in heard if item.event == "E" and item.at <= at),
        default=9,
    )
    if worst == 9 or (colour is not None and colour.rank < worst):
        assert found.form is Form.FULL
    assert judge(replace(message, news=True), heard, county).form is Form.FULL
    assert judge(replace(message, fast=True), heard, county).form is Form.FULL
    assert judge(replace(message, extreme=True), heard, county).form is Form.FULL
    assert judge(message, heard, county) == judge(message, heard[::-1], county), "in any order"


falling = st.lists(st.integers(1, 9), min_size=4, max_size=4).map(lambda n: sorted(n, reverse=True))
options = st.builds(
    lambda repeats, volume: BroadcastOptions(
        repeats=RepeatsByColour(**dict(zip(map(str, COLOURS), repeats, strict=True))),
        volume=VolumeByColour(**dict(zip(map(str, COLOURS), [v * 11 for v in volume], strict=True))),
    ),
    falling,
    falling,
)


def plan(settings: BroadcastOptions, **changes: object) -> Plan:
    message = alert(**changes)
    return plan_alert(
        message,
        Kind.ACTUAL,
        "continuation",
        cut(message.main.areas, COUNTY),
        county=COUNTY,
        terminals=TERMINALS,
        settings=settings,
        issuer=Issuer(name="舟曲县应急管理局"),
        targeting=Targeting(),
    )


def loudness(found: Plan, heard: list[Sounding], county: Rules, fatigue: Fatigue, at) -> tuple[int, ...]:  # type: ignore[no-untyped-def]
    """(repeats, volume) of what is really sent; zeros where nothing is."""
    found = replace(found, news=False)
    villages = {t.village for t in TERMINALS}
    verdicts = {v: judge(message_of(found, "E", at), heard, county) for v in villages}
    parts = sounding(
        divide(found, verdicts, set(found.terminals), terminals=TERMINALS, county=COUNTY), fatigue
    )
    if not parts:
        return (0, 0)
    [part] = parts
    sent = to_broadcast(part, "B", "A", wall=at, wire_ms=0)
    assert sent.terminals == found.terminals
    return (sent.repeats, sent.volume)


@given(options, st.integers(1, 100), st.lists(soundings, max_size=8), rules, hours)
def test_repeats_volume_and_priority_never_fall_as_the_colour_gets_worse(
    settings: BroadcastOptions, short: int, heard: list[Sounding], county: Rules, at
) -> None:  # type: ignore[no-untyped-def]
    fatigue = Fatigue(short_volume=short)
    plans = [plan(settings, colour=colour) for colour in COLOURS]
    sent = [loudness(p, heard, county, fatigue, at) for p in plans]
    for worse, milder in pairwise(sent):
        assert all(a >= b for a, b in zip(worse, milder, strict=True)), sent
    priorities = [to_broadcast(p, "B", "A", wall=at, wire_ms=0).priority for p in plans]
    assert priorities == sorted(priorities)
    assert len(set(priorities)) == len(priorities)


def test_without_a_colour_the_severity_orders_and_extreme_is_before_severe() -> None:
    plans = [plan(BroadcastOptions(), colour=None, severity=severity) for severity in SEVERITIES]
    priorities = [to_broadcast(p, "B", "A", wall=T0, wire_ms=0).priority for p in plans]
    assert priorities == sorted(priorities)
    assert len(set(priorities)) == len(priorities)
    assert message_of(plans[0], "E", T0).extreme
    assert not message_of(plans[1], "E", T0).extreme


@pytest.mark.parametrize("section", [RepeatsByColour, VolumeByColour])
def test_a_configuration_in_which_a_milder_colour_is_louder_is_refused(section: type) -> None:
    with pytest.raises(ValidationError, match="red >= orange"):
        section(red=1, orange=2, yellow=1, blue=1)


@given(
    st.sampled_from([None, *COLOURS]),
    st.sampled_from([None, *COLOURS]),
    st.sampled_from(SEVERITIES),
    st.sampled_from(SEVERITIES),
    st.sampled_from(Urgency),
    st.sampled_from(Urgency),
)
@example(None, None, Severity.SEVERE, Severity.EXTREME, Urgency.UNKNOWN, Urgency.UNKNOWN)
def test_any_rise_in_level_is_news_to_everybody(
    colour: Colour | None,
    now: Colour | None,
    severity: Severity,
    later: Severity,
    urgency: Urgency,
    then: Urgency,
) -> None:
    assume(Urgency.PAST not in (urgency, then))
    first = alert("A", colour=colour, severity=severity, urgency=urgency)
    known = remember(first, New("", "A"), frozenset({"v3"}), State.RELEASED)
    second = alert("B", sent=T0 + HOUR, references=("A",), colour=now, severity=later, urgency=then)
    found = classify(second, [known], T0 + HOUR, villages=frozenset({"v3"}))
    graded = Severity.UNKNOWN not in (severity, later)
    rises = (
        (now is not None and (colour is None or now.rank < colour.rank))
        or (graded and SEVERITIES.index(later) < SEVERITIES.index(severity))
        or (then is Urgency.IMMEDIATE and urgency in (Urgency.EXPECTED, Urgency.FUTURE))
    )
    assert getattr(found, "news", False) is rises, found


@given(st.lists(st.tuples(st.integers(0, 300), st.sampled_from(COLOURS)), min_size=1, max_size=15))
def test_over_any_sequence_every_rise_is_heard_in_full_and_the_memory_forgets(
    steps: list[tuple[int, Colour]],
) -> None:
    county, at, last = Rehearsal(), T0, None
    for number, (minutes, colour) in enumerate(steps):
        at += timedelta(minutes=minutes + 1)
        message = alert(f"M{number}", sent=at, colour=colour)
        told = county.take(message, frozenset({"v3"}), at)
        verdict = told.verdicts["v3"]
        if last is None or colour is Colour.RED or colour.rank < last.rank:
            assert verdict.form is Form.FULL, told.decision.reason
        last = colour
    county.forget(at + timedelta(days=4))
    assert county.known == []
    assert county.heard == {}
