"""Is a feed still there? One alarm when it falls silent, one word when it is back. Pure: the time, in seconds
of a clock that never jumps, is an argument.

A watchdog that never fires is worse than none (`lessons-from-the-field.md` §9 #2): a test fires this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(slots=True)
class Vigil:
    """The watch over one feed."""

    name: str
    stale_after: timedelta
    """How long it may show no sign of life."""
    quiet_after: timedelta | None
    """How long it may bring no document; None for as long as it likes."""
    since: float
    """When the watch began."""
    stale: str = ""
    """Why it counts as stale; empty while it does not."""

    _alive_at: float | None = None
    _alive: datetime | None = None
    _brought_at: float | None = None
    _brought: datetime | None = None

    def look(
        self, now: float, last_good: datetime | None, last_document: datetime | None, trouble: str
    ) -> str:
        """An alarm when it has just become stale, a word when it has just ceased to be; else empty.

        `last_good`, `last_document`: as the feed says. Only that they change counts, never what a wall
        clock makes of them. `trouble`: why it cannot be read, for the alarm.
        """
        if last_good != self._alive:
            self._alive, self._alive_at = last_good, now
        if last_document != self._brought:
            self._brought, self._brought_at = last_document, now
        silent = now - (self.since if self._alive_at is None else self._alive_at)
        quiet = now - (self.since if self._brought_at is None else self._brought_at)
        was = self.stale
        if silent > self.stale_after.total_seconds():
            why = f": {trouble}" if trouble else ""
            self.stale = f"no sign of life for {_span(silent)}{why}"
        elif self.quiet_after is not None and quiet > self.quiet_after.total_seconds():
            self.stale = f"it answers, but has brought no document for {_span(quiet)}"
        else:
            self.stale = ""
        if self.stale and not was:
            return f"feed {self.name} is stale: {self.stale}; what it would warn of may be missed"
        if was and not self.stale:
            return f"feed {self.name} is back; it was stale ({was})"
        return ""


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
