"""Who goes first where many want to: turns by urgency, a bounded number at a time.

Two places need it: publishing to the broker and voicing. What is urgent (the fast lane, every stop) waits for
nobody; the rest takes turns, the more urgent before the less, equals in the order in which they came.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

Order = tuple[int, ...]
"""Smaller goes first, as `terminals.broadcast.Priority`."""


class Turns:
    def __init__(self, places: int) -> None:
        """`places`: so many at a time, those that wait for nobody not counted."""
        self._free = places
        self._number = 0
        self._waiting: list[tuple[Order, int, asyncio.Future[None]]] = []

    @property
    def waiting(self) -> int:
        return sum(not future.done() for _, _, future in self._waiting)

    @asynccontextmanager
    async def turn(self, order: Order, *, urgent: bool = False) -> AsyncIterator[None]:
        """Inside it is one's turn. `urgent`: at once, whoever else is inside."""
        if urgent:
            yield
            return
        await self._take(order)
        try:
            yield
        finally:
            self._free += 1
            self._call()

    async def _take(self, order: Order) -> None:
        if self._free and not self.waiting:
            self._free -= 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._number += 1
        heapq.heappush(self._waiting, (order, self._number, future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # called and cancelled in one turn of the loop
                self._free += 1
                self._call()
            raise

    def _call(self) -> None:
        while self._free and self._waiting:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                self._free -= 1
                future.set_result(None)


PUBLISHING: Final = 4
"""Normal broadcasts that publish at a time. One is mostly a single packet; what comes back from thousands of
terminals is what takes its time."""
VOICING: Final = 4
"""Broadcasts in the hands of the voice at a time. It speaks one sentence after the other, the most urgent
first; what waits here can still be replaced before any work went into it."""
