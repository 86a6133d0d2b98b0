"""Wire time never runs backwards and is not carried away by one liar."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from controller.clock import LONGEST_JUMP_MS, TOLERANCE_MS, WITNESSES, Steps, WireClock
from controller.planning import moved
from terminals.broadcast import Broadcast, Kind, Lane, Priority, Quake

DAY = 86_400_000
NOW = 1_800_000_000_000


def clock(floor: int = 0) -> WireClock:
    return WireClock.start(NOW, 0, floor)[0]


@given(st.lists(st.tuples(st.integers(-DAY, DAY), st.integers(0, 60_000)), max_size=30))
def test_it_never_runs_backwards_however_the_wall_clock_jumps(steps: list[tuple[int, int]]) -> None:
    wire, mono, last = clock(), 0, NOW
    for wall_offset, passed in steps:
        mono += passed
        here = wire.now(NOW + mono + wall_offset, mono)
        assert here >= last
        last = here


def test_a_wall_clock_set_back_by_a_day_leaves_it_counting() -> None:
    wire = clock()
    assert wire.now(NOW - DAY, 5_000) == NOW + 5_000


def test_a_start_behind_the_last_signed_time_goes_on_from_there_and_says_so() -> None:
    wire, alarm = WireClock.start(NOW - DAY, 0, NOW)
    assert wire.now(NOW - DAY, 1_000) == NOW + 1_000
    assert alarm is not None
    assert "clock" in alarm
    assert WireClock.start(NOW, 0, NOW)[1] is None


def test_enough_terminals_holding_a_later_time_are_believed() -> None:
    wire = clock()
    said = [wire.witness(f"t{n}", NOW + DAY, NOW, 0, fleet=200) for n in range(WITNESSES)]
    assert said[:-1] == [None] * (WITNESSES - 1)
    assert said[-1] is not None
    assert wire.now(NOW, 1_000) == NOW + DAY + 1_000


def test_one_lying_terminal_of_many_moves_nothing() -> None:
    wire = clock()
    for _ in range(10):
        wire.witness("liar", NOW + DAY, NOW, 0, fleet=200)
    assert wire.now(NOW, 0) == NOW


def test_a_claim_of_next_year_is_never_believed() -> None:
    wire = clock()
    said = [wire.witness(f"t{n}", NOW + 365 * DAY, NOW, 0, fleet=3) for n in range(9)]
    assert all(text is not None and "not believed" in text for text in said)
    assert wire.now(NOW, 0) == NOW


def test_a_terminal_within_tolerance_is_no_witness() -> None:
    wire = clock()
    assert wire.witness("t1", NOW + TOLERANCE_MS, NOW, 0, fleet=1) is None
    assert wire.now(NOW, 0) == NOW
    assert LONGEST_JUMP_MS > DAY


def test_a_jump_of_the_time_of_day_is_told_once_each_way_and_drift_is_not() -> None:
    steps = Steps(NOW)
    for n in range(1, 100):  # a second an hour, for days
        assert steps.look(NOW + n * 3_601_000, n * 3_600_000) is None
    mono = 99 * 3_600_000
    wall = NOW + 99 * 3_601_000
    assert "has jumped from" in (steps.look(wall + DAY, mono) or "")
    assert steps.look(wall + DAY + 10_000, mono + 10_000) is None
    assert steps.look(wall + 20_000, mono + 20_000) is not None
    assert steps.look(wall + 30_000, mono + 30_000) is None


def test_what_is_planned_on_a_clock_that_jumps_keeps_its_distance_and_a_standing_message_its_end() -> None:
    quake = Quake(NOW - 4_000, 33.8, 104.4, 10.0, 6.1, "s-0123456789abcdef")
    plan = Broadcast(
        id="B1",
        alert_id="A1",
        event_key="e",
        kind=Kind.ACTUAL,
        priority=Priority.of(Kind.ACTUAL, Lane.FAST, 1, 4),
        terminals=("sim-00001",),
        groups=(),
        variants=(),
        repeats=1,
        volume=100,
        expires_ms=NOW + 60_000,
        quake=quake,
        play_at=NOW + 2_000,
    )
    after = moved(plan, DAY)
    assert (after.expires_ms, after.play_at) == (NOW + 60_000 + DAY, NOW + 2_000 + DAY)
    assert after.quake == replace(quake, origin_ms=NOW - 4_000 + DAY)
    assert moved(replace(plan, quake=None, play_at=0), DAY).play_at == 0
    standing = replace(plan, standing=True)
    assert moved(standing, DAY) == standing
