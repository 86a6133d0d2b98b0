"""What is said in which order, in how long: the airtime plan of one playing. Pure.

A village may need two or three languages. The sentence that saves lives comes first in every one of them, in
the village's order; only then does the first language tell the rest, and the others after it. What does not
fit is left out from the end, and the plan says so. The terminal plays the whole two or three times.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tts.script import Script
from tts.voice import DEFAULT_SPEED

LONGEST_S: Final = 150.0
"""One playing. Three of them fill 7.5 minutes, in which nobody at this loudspeaker hears anything newer of
equal rank. A Mandarin message at its longest takes about 120 s. Our choice."""
BETWEEN_LANGUAGES: Final = 0.9
"""Seconds of silence where the language changes: longer than between two sentences, so that it is heard."""

# Measured on the offline voice at speed 1; other languages as syllables of a fast announcer.
_SECONDS_PER_HANZI: Final = 0.22
_SECONDS_PER_LETTER: Final = 0.075
_SECONDS_PER_SENTENCE: Final = 0.5
_WIDE: Final = re.compile(r"[\u3400-\u9fff\uac00-\ud7a3\ua000-\ua4cf]")


@dataclass(frozen=True, slots=True)
class Profile:
    """What a loudspeaker can be told: its village's languages in order, its class, what it decodes."""

    languages: tuple[str, ...] = ("zh",)
    speaker: str = "horn"
    codecs: tuple[str, ...] = ("mp3",)
    """The preferred one first."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Sentences of one language that are said without a break."""

    language: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Airtime:
    """One playing without its signal, in order."""

    segments: tuple[Segment, ...]
    seconds: float
    """Estimated, pauses included."""
    left_out: tuple[Segment, ...] = ()
    """What did not fit, in the order it would have been said."""

    @property
    def languages(self) -> tuple[str, ...]:
        """In the order spoken."""
        return tuple(dict.fromkeys(segment.language for segment in self.segments))

    @property
    def tag(self) -> str:
        """As on the wire: ``bo+zh``."""
        return "+".join(self.languages)


def estimate(sentence: str, speed: float = DEFAULT_SPEED) -> float:
    """Seconds that `sentence` takes, its pause included; within a third of what the voices measured."""
    wide = len(_WIDE.findall(sentence))
    letters = sum(c.isalnum() for c in sentence) - wide
    # A digit is a syllable, whatever the script around it.
    digits = sum(c.isdigit() for c in sentence)
    spoken = (wide + digits) * _SECONDS_PER_HANZI + (letters - digits) * _SECONDS_PER_LETTER
    return spoken / speed + _SECONDS_PER_SENTENCE


def plan(scripts: Sequence[Script], *, longest_s: float = LONGEST_S, speed: float = DEFAULT_SPEED) -> Airtime:
    """The order of `scripts` (one per language, in the village's order) within `longest_s`.

    Never left out: what stands in `Script.headline`, which is the attention word, the danger, the place and
    the action, and in an exercise that it is one. The rest goes sentence by sentence from the end of the last
    language backwards, so the first language keeps most. Raises ValueError for no script, or two of one
    language.
    """
    if not scripts or len({script.language for script in scripts}) != len(scripts):
        raise ValueError(f"one script per language is needed, not {[s.language for s in scripts]}")
    opening, middle, closing = zip(*(_parts(script) for script in scripts), strict=True)
    kept = [list(rest) for rest in middle]
    dropped: list[list[str]] = [[] for _ in scripts]
    while (seconds := _seconds(scripts, opening, kept, closing, speed)) > longest_s and any(kept):
        last = max(n for n, rest in enumerate(kept) if rest)
        dropped[last].insert(0, kept[last].pop())
    return Airtime(
        segments=_segments(scripts, opening, kept, closing),
        seconds=seconds,
        left_out=tuple(
            Segment(script.language, tuple(lost))
            for script, lost in zip(scripts, dropped, strict=True)
            if lost
        ),
    )


def _parts(script: Script) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """(said first, may be left out, said last and always) of one language."""
    said, head = script.sentences, script.headline
    first = 0
    while first < min(len(said), len(head)) and said[first] == head[first]:
        first += 1
    last = 0
    while last < min(len(said), len(head)) - first and said[-1 - last] == head[-1 - last]:
        last += 1
    end = len(said) - last
    missing = tuple(sentence for sentence in head[first : len(head) - last] if sentence not in said)
    return said[:first] + missing, said[first:end], said[end:]


def _segments(
    scripts: Sequence[Script],
    opening: Sequence[tuple[str, ...]],
    middle: Sequence[Sequence[str]],
    closing: Sequence[tuple[str, ...]],
) -> tuple[Segment, ...]:
    """Neighbours of one language are one segment."""
    first = [(script.language, tuple(head)) for script, head in zip(scripts, opening, strict=True)]
    rest = [
        (script.language, (*body, *end)) for script, body, end in zip(scripts, middle, closing, strict=True)
    ]
    out: list[Segment] = []
    for language, sentences in (*first, *rest):
        if not sentences:
            continue
        if out and out[-1].language == language:
            out[-1] = Segment(language, out[-1].sentences + sentences)
        else:
            out.append(Segment(language, sentences))
    return tuple(out)


def _seconds(
    scripts: Sequence[Script],
    opening: Sequence[tuple[str, ...]],
    middle: Sequence[Sequence[str]],
    closing: Sequence[tuple[str, ...]],
    speed: float,
) -> float:
    segments = _segments(scripts, opening, middle, closing)
    words = sum(estimate(sentence, speed) for segment in segments for sentence in segment.sentences)
    return words + BETWEEN_LANGUAGES * max(0, len(segments) - 1)


def orders(
    profiles: Mapping[Profile, int], can: Iterable[str], *, limit: int = 8
) -> tuple[tuple[tuple[str, ...], str, str], ...]:
    """The clips that `profiles` (with how many loudspeakers of each) need: (languages, speaker, codec), most
    loudspeakers first, each once. `can`: the languages that can be said of this message; Mandarin stands in
    for a loudspeaker without any of them. At most `limit`; the last place is kept for Mandarin, which
    everybody can be given."""
    able = {*can, "zh"}
    count: dict[tuple[tuple[str, ...], str, str], int] = {}
    for profile, many in (profiles or {Profile(): 1}).items():
        languages = tuple(dict.fromkeys(tag for tag in profile.languages if tag in able)) or ("zh",)
        wanted = (languages, profile.speaker, (*profile.codecs, "mp3")[0])
        count[wanted] = count.get(wanted, 0) + many
    ranked = sorted(count, key=lambda wanted: (-count[wanted], wanted))
    if len(ranked) <= limit:
        return tuple(ranked)
    kept = ranked[: limit - 1]
    plain = (("zh",), kept[0][1], "mp3")
    return tuple(dict.fromkeys((*kept, plain)))
