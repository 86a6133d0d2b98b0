"""The watchdog over feeds is fired here with a clock of the test's own, so that it is known to bark."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.model import Alert, Info, MsgType, Quake, Scope, Status
from controller.intake import catch_up
from controller.vigil import Vigil

NOW = datetime(2026, 7, 15, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def vigil(*, quiet: timedelta | None = None) -> Vigil:
    return Vigil("nmc", 5 * MINUTE, quiet, since=0.0)


def test_a_feed_that_never_answers_is_told_once() -> None:
    watch = vigil()
    assert watch.look(300.0, None, None, "") == ""
    alarm = watch.look(301.0, None, None, "nmc.example took longer than 30 s")
    assert "feed nmc is stale: no sign of life for 5 min: nmc.example took longer" in alarm
    assert watch.stale
    assert [watch.look(at, None, None, "") for at in (302.0, 400.0, 90_000.0)] == ["", "", ""]


def test_a_feed_that_falls_silent_is_told_once_an_outage_and_once_when_it_is_back() -> None:
    watch, said = vigil(), []
    for at in range(0, 3_600, 5):
        minutes = at // 60
        alive = not (10 <= minutes < 20 or 30 <= minutes < 40)
        heard = NOW + timedelta(seconds=at) if alive else watch._alive
        if text := watch.look(float(at), heard, None, ""):
            said.append((minutes, text))
    assert [minutes for minutes, _ in said] == [15, 20, 35, 40]
    assert all("is stale" in said[n][1] for n in (0, 2))
    assert all("is back" in said[n][1] for n in (1, 3))
    assert watch.stale == ""


def test_a_pause_shorter_than_expected_is_nothing() -> None:
    watch = vigil()
    for at in range(0, 3_600, 299):
        assert watch.look(float(at), NOW + timedelta(seconds=at), None, "") == ""


def test_a_wall_clock_that_jumps_neither_hides_nor_makes_an_outage() -> None:
    watch = vigil()
    assert watch.look(0.0, NOW, None, "") == ""
    assert watch.look(100.0, NOW - timedelta(days=2), None, "") == "", "it spoke, whatever the clock says"
    assert watch.look(200.0, NOW + timedelta(days=2), None, "") == ""
    assert watch.look(501.0, NOW + timedelta(days=2), None, ""), "it has not spoken since"


def test_a_feed_that_answers_and_never_brings_anything_is_told_where_that_is_odd() -> None:
    watch = vigil(quiet=timedelta(hours=2))
    said = [
        text
        for at in range(0, 8_000, 60)
        if (text := watch.look(float(at), NOW + timedelta(seconds=at), None, ""))
    ]
    assert len(said) == 1
    assert "has brought no document for 2 h" in said[0]
    assert "is back" in watch.look(8_000.0, NOW + timedelta(seconds=8_000), NOW, "")


@given(st.lists(st.tuples(st.integers(1, 400), st.booleans()), max_size=60))
def test_alarms_and_all_clears_alternate_and_match_the_state(steps: list[tuple[int, bool]]) -> None:
    watch, at, heard, stale = vigil(), 0, NOW, False
    for seconds, alive in steps:
        at += seconds
        heard = NOW + timedelta(seconds=at) if alive else heard
        text = watch.look(float(at), heard, None, "")
        assert bool(text) == (bool(watch.stale) != stale)
        stale = bool(watch.stale)
        assert not text or ("is stale" in text) == stale


# --- what is old ---------------------------------------------------------------------------------------


def alert(*, sent: timedelta, expires: timedelta | None = None, origin: timedelta | None = None) -> Alert:
    quake = None if origin is None else Quake(NOW - origin, 33.8, 104.4, 6.1)
    info = Info("zh-CN", "x", "rainstorm", expires=None if expires is None else NOW + expires, quake=quake)
    return Alert("1", "s", NOW - sent, Status.ACTUAL, MsgType.ALERT, Scope.PUBLIC, (info,))


@pytest.mark.parametrize("backlog", [True, False])
@pytest.mark.parametrize(("seconds", "old"), [(0, False), (600, False), (601, True), (86_400, True)])
def test_an_earthquake_is_old_after_600_seconds_whatever_else_it_says(
    seconds: int, old: bool, backlog: bool
) -> None:
    origin = timedelta(seconds=seconds)
    quake = alert(sent=timedelta(0), expires=timedelta(hours=1), origin=origin)
    assert bool(catch_up(quake, NOW, backlog=backlog)) == old


@pytest.mark.parametrize(
    ("minutes", "expires", "backlog", "old"),
    [
        (0, None, True, False),
        (60, None, True, False),
        (61, None, True, True),
        (61, None, False, True),
        (61, 5 * 60, True, True),  # found at first contact: it may have been aired long ago
        (61, 5 * 60, False, False),  # we were there all the while, and it is in force
        (61, -1, False, True),
        (7 * 24 * 60, 60, True, True),
    ],
)
def test_a_warning_is_old_after_an_hour_unless_we_were_there_and_it_is_in_force(
    minutes: int, expires: int | None, backlog: bool, old: bool
) -> None:
    ends = None if expires is None else expires * MINUTE
    assert bool(catch_up(alert(sent=minutes * MINUTE, expires=ends), NOW, backlog=backlog)) == old
