"""Is what we are about to air what we meant? The controller's ear: a recogniser in its own process, a budget
for each clip, and a queue for what is listened to only after it has gone out."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from terminals.broadcast import Part
from tts.library import ClipRecord
from tts.recogniser import Recogniser, RecogniserError, missing
from tts.verdict import doubt

log = logging.getLogger(__name__)

BUDGET_S: Final = {Part.LEAD: 8.0, Part.WHOLE: 40.0}
"""How long a clip may be listened to before it is aired unheard, and listened to afterwards. whisper-base
hears ten times as fast as people speak on one core; the rest is for a machine that is busy."""
AFTERWARDS_S: Final = 120.0
QUEUE: Final = 100
LOAD_S: Final = 180.0
"""At the first start 145 MB of weights are joined on disk."""

Check = Literal["off", "findings", "listen"]
Later = Callable[[], Awaitable[None]]


class Ear:
    """`check` is the configuration's. Listening is off where the extra is not installed, or has failed to
    load: then `lacks` says why, and the sound alone is looked at."""

    def __init__(self, check: Check, folder: Path, alarm: Callable[[str], None]) -> None:
        """`folder`: 145 MB of weights are joined there when first needed."""
        self.check: Check = check
        self.lacks = missing() if check == "listen" else ""
        self._alarm = alarm
        self._recogniser = Recogniser(folder)
        self._later: asyncio.Queue[Later] = asyncio.Queue(QUEUE)

    @property
    def open(self) -> bool:
        """Whether clips are listened to."""
        return self.check == "listen" and not self.lacks

    async def run(self, sample: bytes) -> None:
        """Loads the recogniser with `sample`, then listens to what was aired first; until cancelled."""
        if self.lacks:
            log.info("nothing is listened to before it is aired: %s", self.lacks)
        elif not await self.load(sample):
            self._alarm(f"nothing is listened to before it is aired: {self.lacks}")
        while True:
            later = await self._later.get()
            await later()

    async def load(self, sample: bytes) -> bool:
        """Whether it can listen, `sample` heard; `lacks` says why not. True where it is not to."""
        if self.open:
            try:
                await self._recogniser.hear(sample, deadline_s=LOAD_S)
            except RecogniserError as error:
                self.lacks = str(error)
        return not self.lacks

    async def close(self) -> None:
        await self._recogniser.close()

    async def heard(
        self, record: ClipRecord, sound: bytes, *, words: str, places: Sequence[str], budget_s: float
    ) -> ClipRecord | None:
        """`record` with what the recogniser made of `sound`, which should say `words`; None where nobody
        could listen within `budget_s`."""
        try:
            verdict = await self._recogniser.judge(sound, words, places=places, deadline_s=budget_s)
        except RecogniserError as error:
            log.warning("nobody listened to %s: %s", record.sha256[:12], error)
            return None
        found = [record.doubt] if record.doubt else []
        return replace(record, ser=verdict.ser, doubt=doubt(verdict, found))

    def afterwards(self, later: Later) -> None:
        """`later` is done when the ear is free. Never waits."""
        if self._later.full():
            log.warning("too many clips wait to be listened to; one that was aired is not")
            return
        self._later.put_nowait(later)


def wav(pcm: bytes, rate: int) -> bytes:
    """Mono float32 samples as a file that the recogniser reads."""
    about = struct.pack("<HHIIHH", 3, 1, rate, rate * 4, 4, 32)  # 3: IEEE float
    body = b"WAVEfmt " + struct.pack("<I", len(about)) + about + b"data" + struct.pack("<I", len(pcm)) + pcm
    return b"RIFF" + struct.pack("<I", len(body)) + body
