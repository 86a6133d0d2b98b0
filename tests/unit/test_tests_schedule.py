"""When loudspeakers are tested: every slot ends once, none at night, none is made up twice."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.fatigue import BEIJING, Rules
from config.schema import WEEKDAYS, Trial
from controller.clock import to_ms
from controller.tests_schedule import (
    Begin,
    Missed,
    Run,
    RunState,
    deadline,
    due,
    fingerprint,
    following,
    latest,
    tally,
)

RULES = Rules()
MONDAY = datetime(2026, 11, 23, 10, 0, tzinfo=BEIJING)
LONG_AGO = datetime(2026, 1, 1, tzinfo=BEIJING)


def trial(day: str | int = "mon", at: time = time(10), sound: str = "silent") -> Trial:
    return Trial(name="t", day=day, at=f"{at:%H:%M}", sound=sound)  # type: ignore[arg-type]


def ran(slot: datetime, state: RunState = RunState.DONE) -> Run:
    return Run("t", to_ms(slot), state)


def test_a_weekly_test_is_due_on_its_day_and_not_a_second_before() -> None:
    last = ran(MONDAY - timedelta(days=7))
    assert due(trial(), last, LONG_AGO, MONDAY - timedelta(seconds=1), RULES) == ()
    assert due(trial(), last, LONG_AGO, MONDAY, RULES) == (Begin(MONDAY),)
    assert due(trial(), ran(MONDAY), LONG_AGO, MONDAY, RULES) == ()


def test_a_monthly_test_is_due_on_its_day_in_beijing_whatever_the_zone_of_now() -> None:
    monthly = trial(day=1, at=time(7))
    now = datetime(2026, 11, 30, 23, 0, tzinfo=UTC)  # 1 December 07:00 in Beijing
    assert due(monthly, ran(datetime(2026, 11, 1, 7, tzinfo=BEIJING)), LONG_AGO, now, RULES) == (
        Begin(datetime(2026, 12, 1, 7, tzinfo=BEIJING)),
    )
    assert following(monthly, now) == datetime(2027, 1, 1, 7, tzinfo=BEIJING)


def test_a_slot_before_the_schedule_was_known_is_nobodys() -> None:
    since = MONDAY + timedelta(minutes=30)
    assert due(trial(sound="audible"), None, since, since, RULES) == ()
    assert due(trial(), None, since, MONDAY + timedelta(days=7), RULES) == (
        Begin(MONDAY + timedelta(days=7)),
    )


def test_after_a_restart_a_silent_test_is_made_up_within_twelve_hours_and_then_missed() -> None:
    last = ran(MONDAY - timedelta(days=7))
    assert due(trial(), last, LONG_AGO, MONDAY + timedelta(hours=11), RULES) == (Begin(MONDAY),)
    assert due(trial(), last, LONG_AGO, MONDAY + timedelta(hours=12), RULES) == (Missed(MONDAY),)


def test_an_audible_test_is_not_made_up_at_night() -> None:
    evening = trial(at=time(20), sound="audible")
    slot = MONDAY.replace(hour=20)
    last = ran(slot - timedelta(days=7))
    assert due(evening, last, LONG_AGO, slot.replace(hour=21, minute=59), RULES) == (Begin(slot),)
    assert due(evening, last, LONG_AGO, slot.replace(hour=22), RULES) == (Missed(slot),)


def test_weeks_without_the_controller_are_told_one_by_one_and_only_the_last_is_run() -> None:
    last = ran(MONDAY - timedelta(days=28))
    assert due(trial(), last, LONG_AGO, MONDAY, RULES) == (
        Missed(MONDAY - timedelta(days=21)),
        Missed(MONDAY - timedelta(days=14)),
        Missed(MONDAY - timedelta(days=7)),
        Begin(MONDAY),
    )


def test_what_was_put_off_begins_later_or_is_missed() -> None:
    put_off = ran(MONDAY, RunState.POSTPONED)
    assert due(trial(), put_off, LONG_AGO, MONDAY + timedelta(hours=2), RULES) == (Begin(MONDAY),)
    assert due(trial(), put_off, LONG_AGO, MONDAY + timedelta(hours=13), RULES) == (Missed(MONDAY),)
    # The schedule was changed meanwhile: it ends, and is not begun on another's time.
    changed = MONDAY + timedelta(hours=1)
    assert due(trial(day="tue"), put_off, changed, changed, RULES) == (Missed(MONDAY),)


def test_what_runs_is_not_begun_again() -> None:
    running = ran(MONDAY, RunState.RUNNING)
    assert due(trial(), running, LONG_AGO, MONDAY + timedelta(hours=3), RULES) == ()


def test_another_time_or_sound_is_another_schedule_and_another_volume_is_not() -> None:
    assert fingerprint(trial()) != fingerprint(trial(at=time(11)))
    assert fingerprint(trial()) != fingerprint(trial(sound="audible"))
    louder = Trial(name="t", day="mon", at="10:00", sound="audible", volume=90)
    assert fingerprint(louder) == fingerprint(trial(sound="audible"))


def test_a_tally_counts_who_did_not_take_part_and_why() -> None:
    told = {"a": ("played", "silent"), "b": ("failed", "amplifier"), "c": ("failed", "amplifier")}
    result = tally(told, ["a", "b", "c", "d"])
    assert (result.planned, result.played) == (4, 1)
    assert result.text == "failed/amplifier 2, pending 1"


schedules = st.builds(
    trial,
    day=st.one_of(st.sampled_from(WEEKDAYS), st.integers(1, 28)),
    at=st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    sound=st.sampled_from(["silent", "audible"]),
)
moments = st.integers(1_700_000_000, 1_900_000_000).map(lambda s: datetime.fromtimestamp(s, UTC))


@given(schedules, moments)
def test_the_last_and_the_next_slot_enclose_now(one: Trial, now: datetime) -> None:
    assert latest(one, now) <= now < following(one, now)
    assert latest(one, following(one, now)) == following(one, now)
    assert latest(one, now).time() == one.at


@settings(max_examples=150)
@given(schedules, moments, st.lists(st.integers(1, 40 * 1440), min_size=1, max_size=12), st.data())
def test_whatever_the_pauses_every_slot_ends_once_and_nothing_audible_begins_at_night(
    one: Trial, start: datetime, steps: list[int], data: st.DataObject
) -> None:
    ended: list[int] = []
    last: Run | None = None
    now = start
    for minutes in steps:
        now += timedelta(minutes=minutes)
        for step in due(one, last, start, now, RULES):
            slot = to_ms(step.slot)
            if isinstance(step, Begin):
                assert step.slot <= now < deadline(one, step.slot, RULES)
                night = RULES.is_night(now) and not RULES.is_night(step.slot)
                assert not (one.sound == "audible" and night)
                if data.draw(st.booleans()):
                    last = Run("t", slot, RunState.POSTPONED)
                    continue
            ended.append(slot)
            last = Run("t", slot, RunState.DONE)
        if last is None or last.state is not RunState.POSTPONED:
            assert due(one, last, start, now, RULES) == ()
    assert ended == sorted(set(ended))


@pytest.mark.parametrize("day", ["Monday", 0, 29, True, 1.0, None])
def test_a_day_that_is_none_is_refused(day: object) -> None:
    with pytest.raises(ValueError, match="day of the week"):
        trial(day=day)  # type: ignore[arg-type]


def test_a_volume_of_a_silent_test_is_refused() -> None:
    with pytest.raises(ValueError, match="silent"):
        Trial(name="t", day="mon", at="10:00", sound="silent", volume=50)
