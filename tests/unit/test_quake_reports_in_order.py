"""The number of a report says which is later; some sources give all of them one time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

from alert_builders import HERE, T0, alert

from alerts.lifecycle import Continuation, Known, New, Stale, State, Update, classify, remember
from alerts.model import Alert, Quake, Reference


def report(number: int, *, seconds: int = 0) -> Alert:
    quake = Quake(T0, 33.7, 104.3, 5.0 + number / 10, report=number)
    made = alert(f"cea-1-r{number}", sender="中国地震预警网", hazard="earthquake", colour=None, quake=quake)
    return replace(made, sent=T0 + timedelta(seconds=seconds), references=(Reference("cea-1"),))


def taken(message: Alert) -> Known:
    return remember(message, New("", "cea-1"), HERE, State.RELEASED)


def test_an_earlier_report_that_comes_late_changes_nothing_although_its_time_is_the_same() -> None:
    for first, second in permutations((2, 9, 10), 2):
        decision = classify(report(second), [taken(report(first))], T0, villages=HERE)
        assert isinstance(decision, Stale if second < first else Update | Continuation)


def test_a_later_report_counts_although_its_clock_is_behind() -> None:
    decision = classify(report(4, seconds=-3), [taken(report(3))], T0, villages=HERE)
    assert isinstance(decision, Update | Continuation)
    assert decision.withdraws == ("cea-1-r3",)


def test_the_latest_of_ten_reports_of_one_time_is_the_tenth() -> None:
    known = [taken(report(number)) for number in (9, 10)]
    assert classify(report(11), known, T0, villages=HERE).of == "cea-1-r10"
