"""The readiness board: each rule, the order, and that presence alone counts for nothing."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.readiness import DAY_MS, ONLINE_MS, Grade, Known, board, look, totals
from terminals.wire import Health

NOW = 1_800_000_000_000
GOOD = Health(
    software="1.2",
    volume=80,
    amplifier_ok=True,
    battery=100,
    mains=True,
    disk_free_mb=4000,
    last_sound=NOW,
    clock_error_ms=5,
)


def one(terminal: str = "t1", health: Health | None = GOOD, **changes: object) -> Known:
    good = Known(
        terminal,
        "村口",
        "大川村",
        "w02",
        True,
        NOW - 60_000,
        health,
        heard=NOW - DAY_MS,
        tested=NOW - DAY_MS,
        missing=0,
        certificate=NOW + 300 * DAY_MS,
    )
    return replace(good, **changes)  # type: ignore[arg-type]


def but(**changes: object) -> Health:
    return Health(**{f: getattr(GOOD, f) for f in GOOD.__struct_fields__} | changes)


def test_one_that_lacks_nothing_is_ready() -> None:
    line = look(one(), NOW, "1.2")
    assert (line.grade, line.online, line.findings) == (Grade.READY, True, ())


@pytest.mark.parametrize(
    ("known", "grade", "said"),
    [
        (one(enrolled=False), Grade.DEAD, "not enrolled"),
        (one(hello=None), Grade.DEAD, "never said hello"),
        (one(hello=NOW - ONLINE_MS), Grade.DEAD, "not been heard of for 20 min"),
        (one(hello=NOW - 3 * DAY_MS), Grade.DEAD, "3 days"),
        (one(health=but(amplifier_ok=False)), Grade.DEAD, "amplifier"),
        (one(health=but(volume=0)), Grade.DEAD, "volume is 0 %"),
        (one(health=but(volume=20)), Grade.DOUBTFUL, "only 20 %"),
        (one(health=but(mains=False, battery=80)), Grade.DOUBTFUL, "no mains; battery 80 %"),
        (one(health=but(mains=False, battery=0)), Grade.DEAD, "battery 0 %"),
        (one(health=but(mains=False, battery=None)), Grade.DOUBTFUL, "does not know its battery"),
        (one(health=but(battery=10)), Grade.DOUBTFUL, "battery is at 10 %"),
        (one(health=but(clock_error_ms=1_001)), Grade.DOUBTFUL, "1001 ms"),
        (one(health=but(disk_free_mb=49)), Grade.DOUBTFUL, "49 MB"),
        (one(health=but(software="1.1")), Grade.DOUBTFUL, "1.1; most have 1.2"),
        (one(missing=2), Grade.DOUBTFUL, "2 sets"),
        (one(certificate=NOW - 2 * DAY_MS), Grade.DEAD, "ended 2 days ago"),
        (one(certificate=NOW + 5 * DAY_MS), Grade.DOUBTFUL, "ends in 5 days"),
        (one(heard=None), Grade.DOUBTFUL, "no message has ever played there to its end"),
        (one(tested=None), Grade.DOUBTFUL, "never been tested"),
        (one(tested=NOW - 36 * DAY_MS), Grade.DOUBTFUL, "36 days ago"),
    ],
)
def test_each_rule_finds_its_fault_alone(known: Known, grade: Grade, said: str) -> None:
    line = look(known, NOW, "1.2")
    assert line.grade is grade
    assert len(line.findings) == 1
    assert said in line.findings[0].text


def test_what_a_terminal_cannot_tell_is_no_fault() -> None:
    assert look(one(health=Health()), NOW, "1.2").grade is Grade.READY
    assert look(one(missing=None, certificate=None), NOW, "1.2").grade is Grade.READY


def test_there_is_no_field_for_presence() -> None:
    assert "online" not in {field.name for field in fields(Known)}
    assert "presence" not in {field.name for field in fields(Known)}


def test_the_usual_software_is_that_of_most() -> None:
    rows = [one(f"t{n}") for n in range(3)] + [one("t9", but(software="0.9"))]
    worst = board(rows, NOW).lines[0]
    assert worst.known.terminal == "t9"
    assert worst.findings[0].text == "its software is 0.9; most have 1.2"


def test_the_worst_township_and_the_worst_terminal_come_first() -> None:
    rows = [
        one("a1", township="a"),
        one("a2", township="a", hello=None),
        one("b1", township="b", hello=None),
        one("b2", township="b", hello=None, tested=None),
        one("c1", township="c", tested=None),
        one("d1", township="d"),
    ]
    done = board(rows, NOW)
    assert [t.key for t in done.townships] == ["b", "a", "c", "d"]
    assert [line.known.terminal for line in done.lines] == ["b2", "a2", "b1", "c1", "a1", "d1"]
    assert (done.total.terminals, done.total.dead, done.total.doubtful, done.total.ready) == (6, 3, 1, 2)
    assert done.total.online == 3


def test_a_township_was_heard_when_its_quietest_was() -> None:
    rows = [one("a", heard=NOW - 9 * DAY_MS), one("b", heard=NOW)]
    assert board(rows, NOW).total.heard == NOW - 9 * DAY_MS
    assert board([*rows, one("c", heard=None)], NOW).total.heard is None


def test_no_terminal_is_a_board_too() -> None:
    done = board([], NOW)
    assert (done.total.terminals, done.townships, done.lines) == (0, (), ())
    assert totals(()).total.heard is None


times = st.one_of(st.none(), st.integers(NOW - 400 * DAY_MS, NOW + DAY_MS))
healths = st.one_of(
    st.none(),
    st.builds(
        Health,
        software=st.sampled_from(["", "1.1", "1.2"]),
        volume=st.one_of(st.none(), st.integers(0, 100)),
        amplifier_ok=st.sampled_from([None, True, False]),
        battery=st.one_of(st.none(), st.integers(0, 100)),
        mains=st.sampled_from([None, True, False]),
    ),
)
anybody = st.builds(
    one,
    terminal=st.text("abc", min_size=1, max_size=5),
    health=healths,
    township=st.sampled_from("wxyz"),
    enrolled=st.booleans(),
    hello=times,
    heard=times,
    tested=times,
    certificate=times,
)


@given(st.lists(anybody, max_size=30))
def test_everybody_is_counted_once_and_dead_ones_are_never_ready(rows: list[Known]) -> None:
    done = board(rows, NOW)
    total = done.total
    assert total.ready + total.doubtful + total.dead == total.terminals == len(rows) == len(done.lines)
    assert sum(t.terminals for t in done.townships) == len(rows)
    for line in done.lines:
        if not line.online or not line.known.enrolled:
            assert line.grade is Grade.DEAD
    ranks = [line.grade.rank for line in done.lines]
    assert ranks == sorted(ranks)
