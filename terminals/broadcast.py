"""What plays, where, how loud, until when and before what: one immutable broadcast.

A broadcast is planned once and never changed; an update of the event is another broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final


class Kind(StrEnum):
    """The label without which nothing sounds. Each has its own key, words, prompts and signal."""

    ACTUAL = "actual"
    EXERCISE = "exercise"
    TEST = "test"


class Part(StrEnum):
    """A warning whose voice is still being made goes out in two parts (docs/decisions/0009)."""

    WHOLE = "whole"
    LEAD = "lead"
    """What, where and what to do, once, at once; the whole follows and queues behind it."""


class Lane(IntEnum):
    """Fast names clips that terminals hold (earthquake, dam break, tsunami); lower goes first."""

    FAST = 0
    NORMAL = 1


_KIND_RANK = {Kind.ACTUAL: 0, Kind.EXERCISE: 1, Kind.TEST: 2}


@dataclass(frozen=True, slots=True, order=True)
class Priority:
    """Order at a loudspeaker; smaller sounds first, equal ones queue and never cut each other.

    Actual over exercise over test, then fast lane, then colour (1 red … 4 blue, 5 none), then issuer
    level (1 nation … 4 county). GD/J puts issuer level first; a provincial blue must not cut a
    county's red evacuation (docs/decisions/0003).
    """

    kind_rank: int
    lane: int
    colour: int
    issuer_level: int

    @classmethod
    def of(cls, kind: Kind, lane: Lane, colour: int, issuer_level: int) -> Priority:
        return cls(_KIND_RANK[kind], int(lane), colour, issuer_level)


@dataclass(frozen=True, slots=True)
class Variant:
    """One rendering of the message; each terminal picks the one that fits its profile best."""

    language: str
    """BCP 47 tags joined by ``+``, in the order spoken: ``zh``, ``bo+zh``."""
    codec: str
    sha256: str
    size: int
    """Bytes."""
    seconds: float
    """Length of one playing, signal and pauses included."""
    speaker: str = ""
    """Class of loudspeaker it was rendered for (`tts.voice.Speaker`); empty: for any."""


@dataclass(frozen=True, slots=True)
class Quake:
    """The earthquake that a terminal counts down to for its own position."""

    origin_ms: int
    """Unix ms."""
    latitude: float
    longitude: float
    depth_km: float
    magnitude: float
    set: str
    """Id of the held set with the countdown's clips; empty where none was placed."""


PATIENCE_MS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Broadcast:
    """The plan in its final form, as it is stored and as every command of it is made."""

    id: str
    alert_id: str
    event_key: str
    kind: Kind
    priority: Priority
    terminals: tuple[str, ...]
    groups: tuple[str, ...]
    """Group keys whose union is exactly `terminals`; empty when only single terminals are addressed."""
    variants: tuple[Variant, ...]
    repeats: int
    """How many times the variant is played, 1 to 9."""
    volume: int
    """Percent of the terminal's configured full volume, 1 to 100."""
    expires_ms: int
    """Wire time (Unix ms) after which no terminal may start it."""
    replaces: tuple[str, ...] = ()
    """Broadcasts of the same event that this one supersedes at the terminal, without a gap."""
    part: Part = Part.WHOLE
    hazard: str = ""
    """Key of `alerts.hazards`: which generic sentence a terminal falls back to."""
    signal: str = ""
    """A `tts.voice.Signal`: what a terminal generates while its clip is not there."""
    patience_ms: int = PATIENCE_MS
    """How long a terminal waits for its clip before it does so; 0 in the fast lane."""
    quake: Quake | None = None
    play_at: int = 0
    """Wire time (Unix ms) at which all start together; 0: each as soon as it can."""
    silent: bool = False
    """A test of everything but the sound."""
    standing: bool = False
    """Kept at the terminals with its clip; sounds only when a hand there wants it."""
