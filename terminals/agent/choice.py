"""Which sound: the variant of a message, the seconds of a countdown, the generic sentence. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import msgspec

from alerts.swave import arrival_s
from terminals.wire import Clip, Manifest, Play, Quake, Targets

NUMBER_AT_S: Final = 2.6
"""From the start of a countdown clip to the end of its number (2.4 to 2.7 s measured): the number must be
true when it is heard."""
COARSE_S: Final = 5
"""A number this much smaller than the truth is still said; beyond it none is."""
CLOCK_LIMIT_MS: Final = 1_000
"""With a greater clock error no number is said (design §5)."""
MANDARIN: Final = "zh"
NUMBERLESS: Final = "quake/-"
_NOBODY: Final = Targets()


class _Variant(Protocol):
    @property
    def language(self) -> str: ...
    @property
    def codec(self) -> str: ...
    @property
    def speaker(self) -> str: ...


_V = TypeVar("_V", bound=_Variant)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a loudspeaker can play and its village understands."""

    languages: tuple[str, ...]
    """In the village's order."""
    codecs: frozenset[str]
    speaker: str = "horn"


def choose(variants: Iterable[_V], profile: Profile) -> _V | None:
    """The variant for this terminal, None if it can play none or understands none.

    Only what it can decode; by language: all of its languages in their order, else the longest beginning of
    them, else one that starts with the first, else Mandarin (alone, or first), else any others of its
    own; by loudspeaker: its own class, else one for any, else another's; then as the issuer ordered them.
    """
    best: _V | None = None
    best_rank: tuple[int, int] | None = None
    for variant in variants:
        if variant.codec not in profile.codecs:
            continue
        language = _language(variant.language, profile.languages)
        if language is None:
            continue
        speaker = 0 if variant.speaker == profile.speaker else 1 if not variant.speaker else 2
        if best_rank is None or (language, speaker) < best_rank:
            best, best_rank = variant, (language, speaker)
    return best


def chosen(play: Play, profile: Profile) -> Play:
    """What a terminal keeps of `play`: without targets, and only the clip that it chose, or none."""
    clip = choose(play.clips, profile)
    return msgspec.structs.replace(play, targets=_NOBODY, clips=() if clip is None else (clip,))


def _language(spoken: str, own: tuple[str, ...]) -> int | None:
    """Rank of these languages for who understands `own`; smaller is better, None is not understood."""
    tags = tuple(spoken.split("+"))
    if tags == own[: len(tags)]:
        return len(own) - len(tags)
    most = len(own)
    if own and tags[0] == own[0]:
        return most
    if tags == (MANDARIN,):
        return most + 1
    if tags[0] == MANDARIN:
        return most + 2
    if set(tags) <= set(own):
        return most + 3 + own.index(tags[0])
    return None


def fitting(manifest: Manifest, profile: Profile) -> Mapping[str, Clip]:
    """Name → the clip of the set that this terminal holds under it."""
    variants: dict[str, list[Clip]] = {}
    for entry in manifest.clips:
        variants.setdefault(entry.name, []).append(entry.clip)
    chosen = ((name, choose(clips, profile)) for name, clips in variants.items())
    return {name: clip for name, clip in chosen if clip is not None}


def seconds_left(quake: Quake, position: tuple[float, float], now: float) -> float:
    """Until the S wave is at `position` (latitude, longitude); `now` is wire ms. Below zero it has passed."""
    arrival = arrival_s(quake.latitude, quake.longitude, quake.depth_km, *position)
    return arrival - (now - quake.origin) / 1000


def countdown(clips: Mapping[str, Clip], left: float | None, usable: Callable[[Clip], bool]) -> Clip | None:
    """The countdown clip to start now with `left` seconds left (None: not known well enough to say). Never a
    number that promises more time than there is; the clip without a number where none fits."""
    if left is not None:
        true = math.floor(left - NUMBER_AT_S)
        for number in range(true, max(true - COARSE_S, 0), -1):
            clip = clips.get(f"quake/{number}")
            if clip is not None and usable(clip):
                return clip
    clip = clips.get(NUMBERLESS)
    return clip if clip is not None and usable(clip) else None


def generic_names(kind: str, hazard: str, signal: str) -> tuple[str, ...]:
    """Under which names the generic sentence is looked for, best first. An all-clear is known by its signal;
    it is never replaced by a warning, nor one kind by another. A notice and its end have one signal: either
    is only called a notice, or the water that comes back would be announced as going."""
    if signal == "notice":
        hazard = "notice"
    stage = "cancel" if signal == "all_clear" else "first"
    every = f"floor/{kind}/*/{stage}"
    return (f"floor/{kind}/{hazard}/{stage}", every) if hazard else (every,)
