"""Wire time: the one clock that commands and terminals share, signed by the controller.

It never runs backwards. A machine whose wall clock is wrong by a day neither silences valid commands nor
plays expired ones, because windows are made and judged on this clock alone; the doubt is alarmed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

# Clocks of healthy machines agree to well within this; more is worth an alarm.
TOLERANCE_MS: Final = 120_000
# Terminals may pull the clock this far, no further: a lying one must not carry a county into next year.
LONGEST_JUMP_MS: Final = 48 * 3_600_000
# One terminal can be broken or lying; as many as this (or the whole fleet, if smaller) are believed.
WITNESSES: Final = 3


@dataclass(slots=True)
class WireClock:
    """Pure: wall and monotonic time are arguments, in ms."""

    anchor: int
    """Wire time at `mono`."""
    mono: int
    witnesses: dict[str, int] = field(default_factory=dict)
    """Terminals that hold a later signed time than ours, and that time."""

    @classmethod
    def start(cls, wall: int, mono: int, floor: int) -> tuple[WireClock, str | None]:
        """`floor`: the latest time this controller ever signed, from the store. Returns the clock and,
        where the wall clock is behind it, the alarm's text."""
        clock = cls(max(wall, floor), mono)
        if floor > wall + TOLERANCE_MS:
            return clock, (
                f"this machine's clock ({_show(wall)}) is behind the last signed time ({_show(floor)}); "
                "commands go on from the signed time; set the clock"
            )
        return clock, None

    def now(self, wall: int, mono: int) -> int:
        """Wire time. Follows the wall clock forwards, goes on by the monotonic clock when it steps back."""
        here = max(self.anchor + (mono - self.mono), wall)
        self.anchor, self.mono = here, mono
        return here

    def witness(self, terminal: str, floor: int, wall: int, mono: int, fleet: int) -> str | None:
        """An authenticated terminal holds a signed time `floor`. Returns an alarm's text when the clock
        jumped or when the terminal is not believed."""
        here = self.now(wall, mono)
        if floor <= here + TOLERANCE_MS:
            self.witnesses.pop(terminal, None)
            return None
        if floor > here + LONGEST_JUMP_MS:
            return f"terminal {terminal} claims a signed time of {_show(floor)}, not believed"
        self.witnesses[terminal] = floor
        if len(self.witnesses) < min(WITNESSES, fleet):
            return None
        # The smallest claim of the witnesses: enough of them agree on at least this.
        jump = min(self.witnesses.values())
        self.witnesses.clear()
        self.anchor, self.mono = jump, mono
        return (
            f"terminals hold a signed time of {_show(jump)}, this machine says {_show(wall)}; "
            "commands go on from the terminals' time; check the clock and whether a backup was restored"
        )


@dataclass(slots=True)
class Steps:
    """Jumps of this machine's time of day, as its monotonic clock sees them. Pure; all in ms."""

    ahead: int
    """Time of day less monotonic time, at the last look."""

    def look(self, wall: int, mono: int) -> str | None:
        """An alarm's text when the time of day has jumped since the last look. What drifts, or is set
        slowly, is followed."""
        before = mono + self.ahead
        self.ahead = wall - mono
        if abs(wall - before) <= TOLERANCE_MS:
            return None
        return (
            f"this machine's clock has jumped from {_show(before)} to {_show(wall)}: warnings are judged by "
            "it, and may be taken as expired or as old news; check it"
        )


_AS_OF: ContextVar[int | None] = ContextVar("as_of", default=None)


@contextmanager
def as_of(ms: int) -> Iterator[None]:
    """For what runs in this context it is `ms` (Unix): what came before is judged at its own time
    (`controller.rehearsal`)."""
    token = _AS_OF.set(ms)
    try:
        yield
    finally:
        _AS_OF.reset(token)


def wall_ms() -> int:
    at = _AS_OF.get()
    return time.time_ns() // 1_000_000 if at is None else at


def mono_ms() -> int:
    at = _AS_OF.get()
    return time.monotonic_ns() // 1_000_000 if at is None else at


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def to_ms(when: datetime) -> int:
    """Raises ValueError for a naive time: nothing here guesses a zone."""
    if when.tzinfo is None:
        raise ValueError("a time without a zone")
    return int(when.timestamp() * 1000)


def _show(ms: int) -> str:
    return moment(ms).strftime("%Y-%m-%d %H:%M:%SZ")
