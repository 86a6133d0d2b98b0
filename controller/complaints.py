"""Reports that are not taken: counted per terminal, told without flooding the log."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

log = logging.getLogger(__name__)

SAY_EVERY_MS: Final = 10_000
"""A line of the log for one terminal, at most this often; and for all together `LINES` in that time."""
LINES: Final = 20
ALARM_AT: Final = 100
"""So many of one terminal within `ALARM_WITHIN_MS` are no accident."""
ALARM_WITHIN_MS: Final = 60_000
# Ids come from topics, so from whoever may publish: the longest untouched are forgotten.
TERMINALS: Final = 10_000


@dataclass(slots=True)
class _Count:
    total: int = 0
    said: int = -SAY_EVERY_MS
    unsaid: int = 0
    since: int = 0
    recent: int = 0


class Complaints:
    """Pure but for the log: time is an argument, in ms of any clock that does not run back."""

    def __init__(self, alarm: Callable[[str], None]) -> None:
        self._alarm = alarm
        self._counts: OrderedDict[str, _Count] = OrderedDict()
        self._window = -SAY_EVERY_MS
        self._lines = 0

    def of(self, terminal: str) -> int:
        """Reports below this terminal's topic that were not taken, since the start."""
        count = self._counts.get(terminal)
        return count.total if count is not None else 0

    def add(self, terminal: str, why: str, now: int) -> bool:
        """One report below `terminal` was not taken because of `why`. Whether that was said in the log."""
        count = self._counts.setdefault(terminal, _Count(since=now))
        self._counts.move_to_end(terminal)
        if len(self._counts) > TERMINALS:
            self._counts.popitem(last=False)
        count.total += 1
        count.unsaid += 1
        if now - count.since >= ALARM_WITHIN_MS:
            count.since, count.recent = now, 0
        count.recent += 1
        if count.recent == ALARM_AT:
            self._alarm(
                f"{ALARM_AT} reports below {terminal} were not taken within a minute, the last: {why}; it is "
                "broken, or somebody else speaks below its topic; see: fenghuo terminal show"
            )
        if now - self._window >= SAY_EVERY_MS:
            self._window, self._lines = now, 0
        if now - count.said < SAY_EVERY_MS or self._lines >= LINES:
            return False
        self._lines += 1
        log.warning("report below %s not taken: %s (%d since last said)", terminal, why, count.unsaid)
        count.said, count.unsaid = now, 0
        return True
