"""The port `Voice`, what it returns and how it fails; and what every rendered clip is asked for.

Free of numpy: the controller imports this and must stay small (design §8).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, Protocol

from alerts.hazards import NOTICES
from alerts.model import Colour

Kind = Literal["actual", "exercise", "test"]
Stage = Literal["first", "update", "continuation", "downgrade", "cancel"]

DEFAULT_VOICE: Final = "zm_yunjian"
"""Outdoors the better of the two: 32 % against over 100 % syllable errors at -5 dB SNR
(voice-and-audio.md §5)."""
DEFAULT_SPEED: Final = 0.9
"""0.85 took zm_yunjian from 15.5 to 9.2 % syllable errors at 0 dB SNR, and costs time; this is between."""
CHAIN_VERSION: Final = "6"
"""Changes whenever `tts.reading`, `tts.audio` or the worker would make other sound of the same text; part
of the clip key."""
ABREAST: Final = min(4, len(os.sched_getaffinity(0)))
"""Sentences that the offline voice speaks at once, and threads of its model. One keeps 1.3 of two cores
busy; the voice's memory grows by 0.17 GB for each further one (measured)."""
MAX_DBTP: Final = -3.0
"""True peak of a clip in any codec, as a terminal decodes it: an amplifier that is turned up clips what is
above."""
MIN_SECONDS_PER_HANZI: Final = 0.12
"""At speed 1. Less means that the voice swallowed part of the sentence (voice-and-audio.md §4)."""


class VoiceFailure(StrEnum):
    """Why there is no sound; shown to the operator and counted."""

    CRASHED = "crashed"
    TIMEOUT = "timeout"
    BUSY = "busy"
    SILENT = "silent"
    TRUNCATED = "truncated"
    UNKNOWN_VOICE = "unknown_voice"
    MODEL = "model"
    """The model or a voice file is missing or its hash is wrong."""
    TEXT = "text"
    """Nothing in the text can be spoken, or a reading is malformed."""
    LANGUAGE = "language"
    """The text is not written in this voice's language, or in a script that it reads."""
    REFUSED = "refused"
    """A service answered, and said no."""
    UNREACHABLE = "unreachable"
    FORMAT = "format"
    """What came is no sound that can be used."""
    RUNAWAY = "runaway"
    """Far more sound than the text has words: it spells, or has fallen into a loop."""
    CLOSED = "closed"


class VoiceError(Exception):
    """A voice that did not speak as asked: a named `reason` and a `detail` for the log."""

    def __init__(self, reason: VoiceFailure, detail: str) -> None:
        super().__init__(f"voice: {reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Speech:
    """Speech before the loudspeaker chain: mono little-endian float32 samples, full scale ±1."""

    pcm: bytes
    sample_rate: int
    seconds: float


class Voice(Protocol):
    """Something that speaks. Raises VoiceError, and nothing else that the world can cause."""

    @property
    def name(self) -> str: ...

    @property
    def languages(self) -> frozenset[str]:
        """Languages it may be asked for, e.g. ``{"zh"}``."""
        ...

    async def speak(self, sentences: Sequence[str], *, speed: float) -> Speech:
        """All sentences, whole and audible, in order. `speed` 1 is the voice's own pace, 0.85 slower."""
        ...


class Speaker(StrEnum):
    """The class of a loudspeaker: which chain its clips went through (`tts.audio.PRESETS`)."""

    HORN = "horn"
    COLUMN = "column"
    INDOOR = "indoor"


class Signal(StrEnum):
    """The attention signal before the words. None but the sirens is a wail: 36/24, 6/6 and a long steady tone
    are those of civil defence; 0.5/0.5/0.5/1.5 (ISO 8201) is an evacuation order (voice-and-audio.md §5)."""

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    BLUE = "blue"
    PLAIN = "plain"
    """An actual warning without a colour."""
    ALL_CLEAR = "all_clear"
    EXERCISE = "exercise"
    TEST = "test"
    QUAKE = "quake"
    NOTICE = "notice"
    """A message that warns of nothing."""
    SIREN_PREPARE = "siren_prepare"
    """预先警报."""
    SIREN_RAID = "siren_raid"
    """空袭警报."""
    SIREN_CLEAR = "siren_clear"
    """解除警报."""
    SIREN_DISASTER = "siren_disaster"
    """灾情警报; its pattern is local."""

    @property
    def siren(self) -> bool:
        """Whether it is one of civil defence: never of a warning, in exercises only with a `SirenPermit`."""
        return self.value.startswith("siren_")


@dataclass(frozen=True, slots=True)
class SirenPermit:
    """Who of this county allows civil-defence sirens in exercises, since when; without it none is made."""

    by: str
    on: str
    """Date, ISO 8601."""
    disaster: tuple[tuple[float, float], ...] = ((15, 10), (5, 10)) * 3
    """Seconds on and off of 灾情警报; this one is Qingdao's and Jiaozhou's (voice-and-audio.md §5)."""


def signal_for(kind: Kind, colour: Colour | None, stage: Stage = "first", hazard: str = "") -> Signal:
    """The signal of a message. An exercise or test never carries the signal of an actual warning, and no
    message carries a siren by itself."""
    if kind != "actual":
        return Signal(kind)
    if hazard in NOTICES:
        return Signal.NOTICE
    if stage == "cancel":
        return Signal.ALL_CLEAR
    if hazard == "earthquake":
        return Signal.QUAKE
    return Signal(colour.value) if colour else Signal.PLAIN
