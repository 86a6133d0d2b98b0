"""How a village hears one more message about what it has heard of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from alerts.fatigue import Form, Message, Rules, Sounding, judge, judge_all
from alerts.model import Colour

NOON = datetime(2026, 7, 15, 4, tzinfo=UTC)
"""12:00 in Beijing."""
NIGHT = datetime(2026, 7, 15, 19, tzinfo=UTC)
"""03:00 in Beijing."""
HOUR = timedelta(hours=1)
RULES = Rules()
RED, ORANGE, YELLOW, BLUE = Colour.RED, Colour.ORANGE, Colour.YELLOW, Colour.BLUE


def message(colour: Colour | None = YELLOW, at: datetime = NOON, **changes: object) -> Message:
    return replace(Message(at, "E", "rainstorm", colour, news=False), **changes)


def heard(
    colour: Colour | None = YELLOW, ago: timedelta = 13 * HOUR, at: datetime = NOON, **changes: object
) -> Sounding:
    return replace(Sounding(at - ago, "E", "rainstorm", colour, until=at + HOUR), **changes)


@pytest.mark.parametrize(("last", "ago", "expected"), [
    (ORANGE, 1 * HOUR, Form.SHORT),
    (None, 1 * HOUR, Form.SHORT),
    (YELLOW, 13 * HOUR, Form.SHORT),
    (YELLOW, 11 * HOUR, Form.SILENT),
    (BLUE, 11 * HOUR, Form.SILENT),
    (BLUE, 12 * HOUR, Form.SHORT),
])  # fmt: skip
def test_a_renewal_is_brief_and_of_yellow_and_blue_at_most_every_twelve_hours(
    last: Colour | None, ago: timedelta, expected: Form
) -> None:
    found = judge(message(last), [heard(last, ago)], RULES)
    assert found.form is expected
    assert "heard" in found.reason


def test_nobody_is_woken_at_three_by_a_yellow_renewal_but_by_an_orange_one_briefly() -> None:
    assert judge(message(YELLOW, NIGHT), [heard(YELLOW, at=NIGHT)], RULES).form is Form.SILENT
    assert "night" in judge(message(YELLOW, NIGHT), [heard(YELLOW, at=NIGHT)], RULES).reason
    assert judge(message(ORANGE, NIGHT), [heard(ORANGE, at=NIGHT)], RULES).form is Form.SHORT


def test_the_night_is_the_countys_own() -> None:
    at_2230 = datetime(2026, 7, 15, 14, 30, tzinfo=UTC)
    west = Rules(night_from=time(0), night_until=time(8))
    assert RULES.is_night(at_2230)
    assert not west.is_night(at_2230)
    assert west.is_night(datetime(2026, 7, 15, 23, 59, tzinfo=UTC))
    assert not west.is_night(datetime(2026, 7, 15, 0, 0, tzinfo=UTC))
    never = Rules(night_from=time(0), night_until=time(0))
    assert not any(never.is_night(NOON + hour * HOUR) for hour in range(24))


@pytest.mark.parametrize("at", [NOON, NIGHT])
@pytest.mark.parametrize(("changes", "why"), [
    ({"colour": RED}, "red"),
    ({"news": True}, "more"),
    ({"fast": True, "colour": None}, "seconds"),
    ({"event": "other"}, "not heard"),
    ({"hazard": "flash_flood"}, "worse"),
    ({"colour": ORANGE}, "worse"),
])  # fmt: skip
def test_what_is_red_new_fast_or_worse_is_never_shortened_whatever_was_heard(
    at: datetime, changes: dict[str, object], why: str
) -> None:
    before = [heard(YELLOW, n * HOUR, at=at) for n in range(1, 30)]
    found = judge(replace(message(YELLOW, at), **changes), before, RULES)
    assert found.form is Form.FULL
    assert why in found.reason


def test_a_village_that_has_not_heard_of_it_hears_it_in_full() -> None:
    found = judge_all(message(ORANGE), {"a", "b"}, {"a": [heard(ORANGE, HOUR)]}, RULES)
    assert (found["a"].form, found["b"].form) == (Form.SHORT, Form.FULL)


def test_after_the_all_clear_it_is_new_again() -> None:
    over = [heard(), heard(ago=HOUR, all_clear=True)]
    assert judge(message(), over, RULES).form is Form.FULL
    assert judge(message(first=True, news=True), over, RULES).form is Form.FULL


@pytest.mark.parametrize(("last", "now", "at", "expected"), [
    (RED, YELLOW, NIGHT, Form.SHORT),
    (ORANGE, YELLOW, NIGHT, Form.SHORT),
    (YELLOW, BLUE, NIGHT, Form.SILENT),
    (YELLOW, BLUE, NOON, Form.SHORT),
])  # fmt: skip
def test_a_fall_is_heard_briefly_at_night_only_by_those_who_were_told_to_act(
    last: Colour, now: Colour, at: datetime, expected: Form
) -> None:
    assert judge(message(now, at), [heard(last, at=at)], RULES).form is expected


def test_a_fall_that_was_not_aired_is_told_by_the_next_message() -> None:
    """The village still believes yellow: a blue renewal in the morning is for it the fall."""
    evening = [heard(YELLOW, 14 * HOUR)]
    assert judge(message(BLUE, NIGHT - 24 * HOUR), evening, RULES).form is Form.SILENT
    assert judge(message(BLUE, NOON), evening, RULES).form is Form.SHORT


def test_after_six_soundings_in_a_day_yellow_goes_on_in_silence_and_says_so() -> None:
    busy = [heard(BLUE, n * HOUR, event=f"other{n}") for n in range(1, 6)]
    assert judge(message(), [heard(ago=13 * HOUR), *busy[:4]], RULES).form is Form.SHORT
    found = judge(message(), [heard(ago=13 * HOUR), *busy], RULES)
    assert found.form is Form.SILENT
    assert "6 soundings" in found.reason
    old = [replace(item, at=item.at - 24 * HOUR) for item in busy]
    assert judge(message(), [heard(ago=13 * HOUR), *old], RULES).form is Form.SHORT


def test_a_busy_day_does_not_eat_the_word_that_orange_has_fallen_but_a_swarm_of_renewals_ends() -> None:
    busy = [heard(BLUE, n * HOUR, event=f"other{n}") for n in range(1, 20)]
    assert judge(message(YELLOW), [heard(ORANGE, HOUR), *busy], RULES).form is Form.SHORT
    swarm = [heard(ORANGE, timedelta(minutes=10 * n), form=Form.SHORT) for n in range(1, 7)]
    assert judge(message(ORANGE), swarm, RULES).form is Form.SILENT
    assert judge(message(ORANGE), swarm[1:], RULES).form is Form.SHORT


@pytest.mark.parametrize(("last", "now", "ago", "until", "told", "expected"), [
    (YELLOW, YELLOW, HOUR, HOUR, "", Form.SHORT),
    (ORANGE, YELLOW, HOUR, HOUR, "", Form.SHORT),
    (YELLOW, ORANGE, HOUR, HOUR, "", Form.FULL),
    (RED, RED, HOUR, HOUR, "", Form.FULL),
    (YELLOW, YELLOW, HOUR, -HOUR / 2, "", Form.FULL),
    (YELLOW, YELLOW, 13 * HOUR, HOUR, "", Form.FULL),
    (YELLOW, YELLOW, HOUR, HOUR, "立即撤离", Form.FULL),
])  # fmt: skip
def test_a_first_word_is_brief_only_where_the_same_danger_is_in_force_from_another_source(
    last: Colour, now: Colour, ago: timedelta, until: timedelta, told: str, expected: Form
) -> None:
    other = heard(last, ago, event="prefecture", until=NOON + until, instruction="减少外出")
    first = message(now, first=True, news=True, instruction=told)
    assert judge(first, [other], RULES).form is expected
    at_night = replace(first, at=NIGHT)
    same = replace(other, at=NIGHT - ago, until=NIGHT + until)
    assert judge(at_night, [same], RULES).form is expected, "brief, but never silent"
    assert judge(replace(first, hazard="hail"), [other], RULES).form is Form.FULL
