"""Waiting: one heap and one asyncio timer for everything in the process. Ten thousand asyncio timers and
tasks would be most of the memory and the time."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any, Final

BATCH: Final = 256
"""What is due is done so many at a time."""

Entry = list[Any]
"""[mono ms, order, what to call or None once cancelled]"""


class Timers:
    """One heap and one asyncio timer for everything that waits in the process."""

    def __init__(self, crash: Callable[[BaseException], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._crash = crash
        self._heap: list[Entry] = []
        self._order = 0
        self._cancelled = 0
        self._handle: asyncio.TimerHandle | None = None
        self._handle_at = 0

    def now(self) -> int:
        """The monotonic clock of every terminal here, ms."""
        return int(self._loop.time() * 1000)

    def at(self, mono: int, call: Callable[[], None]) -> Entry:
        self._order += 1
        entry: Entry = [mono, self._order, call]
        heapq.heappush(self._heap, entry)
        self._arm()
        return entry

    def after(self, seconds: float, call: Callable[[], None]) -> Entry:
        return self.at(self.now() + int(seconds * 1000), call)

    def cancel(self, entry: Entry | None) -> None:
        """Harmless for what has been called or cancelled."""
        if entry is None or entry[2] is None:
            return
        entry[2] = None
        self._cancelled += 1
        if self._cancelled > 1_000 and 2 * self._cancelled > len(self._heap):
            self._heap = [e for e in self._heap if e[2] is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def clear(self) -> None:
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        """The asyncio timer is there, and not too late for the next entry."""
        if not self._heap:
            return
        if self._handle is not None:
            if self._handle_at <= self._heap[0][0]:
                return
            self._handle.cancel()
        self._handle_at = self._heap[0][0]
        self._handle = self._loop.call_at(self._handle_at / 1000, self._run)

    def _run(self) -> None:
        self._handle = None
        now = self.now()
        try:
            for _ in range(BATCH):  # then sockets have their turn
                if not self._heap or self._heap[0][0] > now:
                    break
                entry = heapq.heappop(self._heap)
                call, entry[2] = entry[2], None
                if call is None:
                    self._cancelled -= 1
                else:
                    call()
        except BaseException as error:
            self._crash(error)
            raise
        self._arm()
