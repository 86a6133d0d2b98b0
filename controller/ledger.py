"""What must be stored but must not hold up a sound: written at once; while the disk refuses, kept in order
and tried again until it takes it. Nothing of it is dropped while the process lives."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from controller.store import StoreError

log = logging.getLogger(__name__)

Write = Callable[[], Awaitable[object]]
PAUSE_S: Final = 2.0
# Each is at most one batch of 1,000 reports; above this whoever writes waits for the disk.
MOST: Final = 2_000


class Ledger:
    def __init__(self, alarm: Callable[[str], None]) -> None:
        self._alarm = alarm
        self._late: deque[Write] = deque()
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def late(self) -> int:
        """Writes that the disk has not taken yet."""
        return len(self._late)

    async def keep(self, write: Write) -> None:
        """Returns when it is stored, or kept to be. The order of writes is that of their calls."""
        if not self._late:
            try:
                await write()
            except StoreError as error:
                self._alarm(f"{error}; the broadcast goes on, and this is written when the disk takes it")
            else:
                return
        await self._room.wait()
        self._late.append(write)
        self._some.set()
        if len(self._late) >= MOST:
            self._room.clear()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._some.wait()
            count = 0
            while self._late:
                try:
                    await self._late[0]()
                except StoreError as error:
                    log.warning("%s; %d writes wait for the disk", error, len(self._late))
                    await asyncio.sleep(PAUSE_S)
                else:
                    self._late.popleft()
                    count += 1
                    self._room.set()
            self._some.clear()
            self._alarm(f"the disk takes what is written again; {count} late writes are stored")
