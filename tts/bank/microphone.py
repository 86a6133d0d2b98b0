"""One line from the microphone: waits for the voice, ends behind it. PyAudio, where it is installed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import numpy as np

from tts.audio import Sound, db
from tts.bank.model import BankError

RATE: Final = 48_000
BLOCK: Final = 2_400
"""Samples: 50 ms."""
END_AFTER: Final = 1.2
"""Seconds of silence behind the words that end a take."""
ROOM: Final = 0.5
"""Seconds of the room before anybody speaks: its noise is measured there."""
ABOVE_ROOM: Final = 12.0
"""Decibels above the room from which it is speech; the loudness of a voice at 20 cm is far above."""


class Stream(Protocol):
    """An open microphone: mono, 16 bit, `RATE`."""

    def read(self, frames: int) -> bytes: ...

    def close(self) -> None: ...


def take(stream: Stream, longest: float, told: Callable[[float], None] = lambda level: None) -> Sound:
    """Reads until the voice has been silent for `END_AFTER` s, at most `longest` s; `told` gets the level of
    each 50 ms (dBFS). Raises BankError if nobody spoke, or the device gave out."""
    blocks: list[Sound] = []
    room: list[float] = []
    spoke = quiet = 0.0
    step = BLOCK / RATE
    while len(blocks) * step < longest:
        try:
            data = stream.read(BLOCK)
        except OSError as error:
            raise BankError(f"the microphone failed: {error}") from error
        if len(data) < 2 * BLOCK:
            raise BankError("the microphone gave no more sound")
        block = (np.frombuffer(data, "<i2") / 32768).astype(np.float32)
        level = db(float(np.sqrt(np.mean(np.square(block), dtype=np.float64))))
        told(level)
        blocks.append(block)
        if len(blocks) * step <= ROOM:
            room.append(level)
            continue
        if level > max(min(room) + ABOVE_ROOM, -55.0):
            spoke, quiet = spoke + step, 0.0
        else:
            quiet += step
        if spoke >= 0.15 and quiet >= END_AFTER:
            break
    if spoke < 0.15:
        raise BankError("nobody spoke; check the microphone and its level")
    return np.concatenate(blocks)


@contextmanager
def _hushed() -> Iterator[None]:
    """ALSA and JACK write a hundred lines to stderr about devices that they try: the announcer is to read one
    line of ours. Only where nobody else writes meanwhile."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class _Device:
    """PyAudio's default input."""

    def __init__(self) -> None:
        try:
            import pyaudio
        except ImportError:
            raise BankError(
                "recording needs PyAudio: pip install 'fenghuo[terminal]' (on Linux with PortAudio), or "
                "record elsewhere and use fenghuo bank import"
            ) from None
        with _hushed():
            self._audio = pyaudio.PyAudio()
            try:
                self._stream = self._audio.open(
                    rate=RATE, channels=1, format=pyaudio.paInt16, input=True, frames_per_buffer=BLOCK
                )
            except OSError as error:
                self._audio.terminate()
                raise BankError(f"no microphone can be opened: {error}") from error

    def read(self, frames: int) -> bytes:
        return bytes(self._stream.read(frames, exception_on_overflow=False))

    def close(self) -> None:
        self._stream.close()
        self._audio.terminate()


def opened() -> Stream:
    """The default microphone. Raises BankError if there is none, or no PyAudio."""
    return _Device()
