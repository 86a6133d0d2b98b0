"""When the county's loudspeakers are tested: what is due, what was missed, what is put off. Pure.

Theory of operation. A `config.schema.Trial` names a day and a time of Beijing; each of its moments is a
*slot*, and every slot ends in exactly one `Run`, whatever happens: done, stopped or missed. A slot that
could not begin in time (a real warning was on, the controller was down) may begin later the same day:
within `LATEST`, an audible one never after the night has begun, because people who are woken by a test stop
listening to warnings. After that it is missed, and that is an alarm. Older slots are never made up: one
test says as much as three.

A slot before `since`, when this controller first knew this very schedule, is nobody's: who writes a test
for nine o'clock into the file at ten does not hear it at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from alerts.fatigue import BEIJING, Rules
from config.schema import WEEKDAYS, Trial

LATEST: Final = timedelta(hours=12)
"""How long after its slot a test may still begin."""
MOST_MISSED: Final = 12
"""Slots that are told one by one after a long time away; older ones are not told."""


class RunState(StrEnum):
    RUNNING = "running"
    POSTPONED = "postponed"
    """Not begun, or stopped, because something real is on; it begins after that, if that is in time."""
    DONE = "done"
    STOPPED = "stopped"
    """An operator stopped it."""
    MISSED = "missed"


OVER: Final = frozenset({RunState.DONE, RunState.STOPPED, RunState.MISSED})


@dataclass(frozen=True, slots=True)
class Run:
    """One slot of one test, and what became of it. Times are Unix ms."""

    test: str
    slot: int
    state: RunState
    reason: str = ""
    """Why it was put off or missed, or what went wrong in it."""
    began: int | None = None
    ended: int | None = None
    broadcast: str = ""
    planned: int = 0
    """Terminals that were to take part."""
    played: int = 0
    """That went through to the end."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Start it now."""

    slot: datetime


@dataclass(frozen=True, slots=True)
class Missed:
    """Too late for this one."""

    slot: datetime


Step = Begin | Missed


def latest(trial: Trial, now: datetime) -> datetime:
    """Its last slot at or before `now` (aware), Beijing time."""
    here = now.astimezone(BEIJING)
    at = datetime.combine(here.date(), trial.at, BEIJING)
    if isinstance(trial.day, str):
        at -= timedelta(days=(at.weekday() - WEEKDAYS.index(trial.day)) % 7)
        return at if at <= here else at - timedelta(days=7)
    at = at.replace(day=trial.day)
    return at if at <= here else _month_before(at)


def following(trial: Trial, now: datetime) -> datetime:
    """Its first slot after `now`."""
    last = latest(trial, now)
    if isinstance(trial.day, str):
        return last + timedelta(days=7)
    return (last.replace(day=1) + timedelta(days=32)).replace(day=last.day)


def deadline(trial: Trial, slot: datetime, rules: Rules) -> datetime:
    """From then on it is too late to begin the test of this slot."""
    end = slot + LATEST
    if trial.sound == "silent" or rules.night_from == rules.night_until:
        return end
    night = datetime.combine(slot.date(), rules.night_from, BEIJING)
    return min(end, night if night > slot else night + timedelta(days=1))


def due(trial: Trial, last: Run | None, since: datetime, now: datetime, rules: Rules) -> tuple[Step, ...]:
    """What is to be done at `now`, oldest first: at most one `Begin`, and it comes last. `last`: the run of
    the newest slot there is a run of. Total, and stable: once each step is a `Run` that is over or
    running, the same question is answered with nothing."""
    slots: list[datetime] = []
    slot = latest(trial, now)
    known = max(since, _moment(last.slot)) if last is not None else since
    while slot >= since and (slot > known or last is None) and len(slots) < MOST_MISSED:
        slots.append(slot)
        slot = latest(trial, slot - timedelta(milliseconds=1))
    if last is not None and last.state is RunState.POSTPONED:
        slots.append(_moment(last.slot))
    steps: list[Step] = []
    newest = latest(trial, now)
    for slot in sorted(set(slots)):
        in_time = slot == newest and now < deadline(trial, slot, rules)
        steps.append(Begin(slot) if in_time else Missed(slot))
    return tuple(steps)


def fingerprint(trial: Trial) -> str:
    """What makes it another schedule: its day, its time, and whether it is heard."""
    return f"{trial.day} {trial.at:%H:%M} {trial.sound}"


@dataclass(frozen=True, slots=True)
class Tally:
    planned: int
    played: int
    text: str
    """What kept the rest, with numbers; empty where all took part."""


def tally(outcomes: Mapping[str, tuple[str, str]], ordered: Iterable[str]) -> Tally:
    """`outcomes`: terminal → (state, reason) as `terminals.delivery.shown`. `ordered`: all that were
    planned."""
    counts: dict[str, int] = {}
    planned = played = 0
    for terminal in ordered:
        planned += 1
        state, reason = outcomes.get(terminal, ("pending", ""))
        if state == "played":
            played += 1
        else:
            word = f"{state}/{reason}" if reason else state
            counts[word] = counts.get(word, 0) + 1
    worst = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Tally(planned, played, ", ".join(f"{word} {count}" for word, count in worst))


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, BEIJING)


def _month_before(at: datetime) -> datetime:
    return (at.replace(day=1) - timedelta(days=1)).replace(day=at.day)
