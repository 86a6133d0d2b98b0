"""The earthquake's countdown: one whole clause for each number of seconds, one without a number.

An earthquake leaves no time to speak, fetch or join anything: terminals hold these clips and pick one by
themselves. Clauses, not glued digits: 5.6 % syllable errors against up to 15 % (voice-and-audio.md §7).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from tts.bank.model import BankError
from tts.reading import quantity
from tts.renderer import Form, Piece
from tts.voice import DEFAULT_VOICE, Signal, Speaker

if TYPE_CHECKING:
    from tts.bank import Bank
    from tts.renderer import Rendered, Renderer

CountdownKind = Literal["actual", "exercise"]
"""A test names no danger, so it has no countdown."""

SECONDS: Final = range(1, 61)
NUMBERLESS: Final = "quake/-"
VERSION: Final = "1"
"""Of the words: part of what a kept clip is known by."""

# The number early, and nothing before it but what it is about: every word costs 0.2 s of those that are left.
_CLAUSE: Final = "地震波还有{seconds}秒到达，请立即避险！"
# True with and without time left, whatever the terminal's clock: it says nothing of when.
_NUMBERLESS: Final = "地震预警！请立即避险，蹲下护住头，远离门窗！"
_DRILL: Final = ("这是演练！地震波还有{seconds}秒到达，请立即避险！", "这是演练，不是真实预警。")
_DRILL_NUMBERLESS: Final = ("这是演练！请立即避险，蹲下护住头，远离门窗！", "这是演练，不是真实预警。")


class CountdownError(BankError):
    """There are no words for a countdown in that language."""


def name(seconds: int | None) -> str:
    """What a set of clips calls it: ``quake/12``; None: ``quake/-``. Raises ValueError outside `SECONDS`."""
    if seconds is None:
        return NUMBERLESS
    if seconds not in SECONDS:
        raise ValueError(f"{seconds} s: the countdown has {SECONDS[0]} to {SECONDS[-1]}")
    return f"quake/{seconds}"


def key(clip: str) -> str:
    """The bank's key of a clip's name: ``quake-12``, ``quake-none``."""
    return "quake-none" if clip == NUMBERLESS else clip.replace("/", "-")


def sentences(language: str = "zh", kind: CountdownKind = "actual") -> dict[str, tuple[str, ...]]:
    """Name → what is said, in the order in which it is made: ``quake/-`` first, which serves alone, then
    from 10 s, the usual time left near a fault, outwards. Raises CountdownError for another language."""
    if language != "zh":
        raise CountdownError(
            f"no countdown words in {language}: record keys quake-1 to quake-60 and quake-none in a bank"
        )
    drill = kind == "exercise"
    said: dict[str, tuple[str, ...]] = {NUMBERLESS: _DRILL_NUMBERLESS if drill else (_NUMBERLESS,)}
    for seconds in sorted(SECONDS, key=lambda n: abs(n - 10)):
        number = "两" if seconds == 2 else quantity(str(seconds))
        said[name(seconds)] = tuple(s.format(seconds=number) for s in (_DRILL if drill else (_CLAUSE,)))
    return said


async def countdown(
    renderer: Renderer,
    *,
    language: str = "zh",
    kind: CountdownKind = "actual",
    voice: str = DEFAULT_VOICE,
    speed: float = 1.0,
    bank: Bank | None = None,
    speaker: Speaker = Speaker.HORN,
    codec: str = "mp3",
    only: Collection[str] | None = None,
    deadline_s: float = 60.0,
    urgency: int = 50,
) -> AsyncIterator[tuple[str, Rendered]]:
    """The loudspeaker clips of the set, one by one: approved recordings of `bank` first, `voice` for what it
    lacks; `only` these names, where the others are there already. In a language without words of its own
    only what the bank holds.

    Raises VoiceError, and CountdownError if neither the words nor a bank of that language are there. An
    exercise's clips carry its signal and say at both ends that it is one: keep the two sets apart.
    """
    form = Form(Signal.QUAKE if kind == "actual" else Signal.EXERCISE, speaker, codec)
    said: Mapping[str, tuple[str, ...]] = {}
    if language == "zh" or bank is None or bank.language != language or kind != "actual":
        said = sentences(language, kind)
    for clip in said or (NUMBERLESS, *map(name, SECONDS)):
        if only is not None and clip not in only:
            continue
        found: Mapping[str, Path] = {}
        if bank is not None and bank.language == language:
            found = await asyncio.to_thread(_recorded, bank, clip, said.get(clip, ()))
        words = said.get(clip) or tuple(found)
        if words:
            spoken_by = bank.name if bank is not None and set(words) <= set(found) else voice
            yield clip, await renderer.render_pieces(
                [Piece(words, recorded=found)], form, voice=spoken_by, speed=speed, deadline_s=deadline_s,
                urgency=urgency,
            )  # fmt: skip


def _recorded(bank: Bank, clip: str, words: tuple[str, ...]) -> dict[str, Path]:
    """Sentence → file, of what may be aired: all the words of the clip, or none of them."""
    if not words:
        found = bank.recording(key(clip))
        return {found.sentence: found.path} if found is not None else {}
    there = bank.recorded(bank.language, words)
    return {sentence: one.path for sentence, one in there.items()} if len(there) == len(set(words)) else {}
