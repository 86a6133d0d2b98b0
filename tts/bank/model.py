"""What a bank is made of: lines to read, takes of them, levelled clips, approvals. Pure but for its error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

KEY: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
MAX_KEY: Final = 64
PIECES: Final = frozenset(("place", "many", "issuer", "day", "hour", "minute", "part"))
"""First part of the keys whose lines may be joined without a comma between them. Two that both stand alone
only between commas (``part`` beside ``part``) never meet in a template."""
MAX_WORDS: Final = 400
"""Characters of one line."""

_ENDS: Final = " \t\u3000\xa0，、。！；：,.!;:।།༎؛،۔…"
_PARTS: Final = re.compile(r"(?<=[，、；：,;:،؛])")


class BankError(Exception):
    """A bank, a file or an answer of the county that cannot be used: what, where, what to do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing to be read aloud."""

    key: str
    text: str
    """The very words, in the bank's language; empty until somebody who speaks it has written them."""
    zh: str = ""
    """What they mean, in Mandarin; empty in a Mandarin bank."""
    slots: str = ""
    """What was filled in: ``places=城关镇``."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Take:
    """One recording of a line, as it came; never changed."""

    number: int
    file: str
    """Below ``originals/``."""
    sha256: str
    text: str
    """What the line said when it was recorded."""
    source: str
    """Name that the file came with, and where in it for a piece of a session."""
    on: str
    """Date."""


@dataclass(frozen=True, slots=True)
class Clip:
    """The levelled sound of a take."""

    file: str
    """Below ``clips/``."""
    sha256: str
    take: int
    text: str
    seconds: float
    lufs: float
    dbtp: float


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody who speaks the language heard exactly this sound say exactly these words. It stays in service
    until another is approved: a new take that nobody has heard yet does not silence the old one."""

    clip: Clip
    by: str
    on: str


@dataclass(frozen=True, slots=True)
class Entry:
    """All that is known of one key."""

    takes: tuple[Take, ...] = ()
    chosen: int = 0
    """Number of the take that is used; 0: none."""
    clip: Clip | None = None
    approval: Approval | None = None

    def take(self) -> Take | None:
        return next((take for take in self.takes if take.number == self.chosen), None)

    def newest(self, line: Line) -> Clip | None:
        """The clip of the chosen take, if it says the words that the line has now."""
        take = self.take()
        if take is None or self.clip is None or not line.text:
            return None
        return self.clip if self.clip.take == take.number and self.clip.text == line.text else None

    def in_service(self, line: Line) -> Clip | None:
        """The clip that somebody approved for the words that the line has now."""
        if self.approval is None or not line.text or self.approval.clip.text != line.text:
            return None
        return self.approval.clip


class State(StrEnum):
    """How far a line has come."""

    UNWRITTEN = "unwritten"
    """Its words in this language are still to be written."""
    MISSING = "missing"
    CHANGED = "changed"
    """Its words are not those that were recorded."""
    RECORDED = "recorded"
    """Not levelled yet."""
    LEVELLED = "levelled"
    APPROVED = "approved"


def state(line: Line, entry: Entry | None) -> State:
    """Of the chosen take; an older approved clip may be in service beside it."""
    if not line.text:
        return State.UNWRITTEN
    take = entry.take() if entry else None
    if entry is None or take is None:
        return State.MISSING
    if take.text != line.text:
        return State.CHANGED
    clip = entry.newest(line)
    if clip is None:
        return State.RECORDED
    approved = entry.in_service(line)
    return State.APPROVED if approved is not None and approved.sha256 == clip.sha256 else State.LEVELLED


class Grade(StrEnum):
    ERROR = "error"
    """Cannot be approved."""
    WARNING = "warning"


class Flaw(StrEnum):
    """What can be wrong with a recording. The value is worded by the CLI (``bank_flaw_…``)."""

    DAMAGED = "damaged"
    CLIPPED = "clipped"
    NOISY = "noisy"
    DC = "dc"
    LOW_RATE = "low_rate"
    FAINT = "faint"
    PAUSE = "pause"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    PACE = "pace"
    LOUDNESS = "loudness"
    PEAK = "peak"
    SAME_SOUND = "same_sound"
    SAME_WORDS = "same_words"


@dataclass(frozen=True, slots=True)
class Finding:
    """One flaw of one line, with its number."""

    key: str
    flaw: Flaw
    grade: Grade
    values: Mapping[str, str] = field(default_factory=dict)


def check_key(key: str) -> str:
    """`key`, which names files. Raises BankError if it could name anything outside the bank."""
    if len(key) > MAX_KEY or not KEY.fullmatch(key):
        raise BankError(f"key {key[:80]!r}: use small letters, digits and single hyphens, {MAX_KEY} at most")
    return key


def said(words: str) -> str:
    """Words as they are compared: blanks and the punctuation at their end say nothing."""
    return " ".join(words.split()).strip(_ENDS)


def clauses(sentence: str) -> list[str]:
    """`sentence` cut behind its own commas, where a speaker breathes."""
    return [part for part in _PARTS.split(sentence) if said(part)]


def split(sentence: str, known: Mapping[str, Sequence[str]]) -> list[str] | None:
    """`sentence` as the fewest of the `known` words (as `said` gives them → keys) that give it whole, None
    if they cannot. It is cut at its own punctuation, elsewhere only beside a piece (`PIECES`), and never
    within a number."""
    by_first: dict[str, list[str]] = {}
    for words in known:
        by_first.setdefault(words[:1], []).append(words)

    def loose(words: str) -> bool:
        return any(key.partition("-")[0] in PIECES for key in known[words])

    # Position → the words that lead there, fewest first; and whether a comma or a piece was behind them.
    best: dict[int, list[str]] = {_skip(sentence, 0): []}
    for at in range(len(sentence)):
        if at not in best:
            continue
        for words in by_first.get(sentence[at], ()):
            end = at + len(words)
            if not sentence.startswith(words, at):
                continue
            behind = _skip(sentence, end)
            before = best[at]
            if before and not _parted(sentence, at) and not (loose(before[-1]) or loose(words)):
                continue
            if end < len(sentence) and sentence[end - 1].isdigit() and sentence[end].isdigit():
                continue
            if behind not in best or len(before) + 1 < len(best[behind]):
                best[behind] = [*before, words]
    return best.get(len(sentence)) or None


def _skip(sentence: str, at: int) -> int:
    while at < len(sentence) and sentence[at] in _ENDS:
        at += 1
    return at


def _parted(sentence: str, at: int) -> bool:
    return at > 0 and sentence[at - 1] in _ENDS


def syllables(text: str, language: str) -> float:
    """About how many there are: a character each in Chinese, Korean and Yi; marks between them in Tibetan;
    2.4 letters in alphabets (Uyghur, Kazakh and Mongolian words have 2 to 3 letters a syllable)."""
    if language == "bo":
        return float(len([part for part in re.split(r"[\u0f00-\u0f14\u0f20-\u0f34\s]+", text) if part]) or 1)
    whole = sum(
        "\u3400" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7a3" or "\ua000" <= c <= "\ua4cf" for c in text
    )
    letters = sum(c.isalpha() for c in text) - whole
    return whole + max(0, letters) / 2.4


def key_of(stem: str, keys: Iterable[str]) -> tuple[str, int] | None:
    """The key and take number (0: none given) that a file's name means: ``line-012``, ``LINE-012 (2)``,
    ``line-012_take3``. The longest key wins: ``quake-1-2`` is a take of ``quake-1``, ``quake-12`` is not."""
    name = stem.strip().casefold().replace("_", "-")
    best: tuple[str, int] | None = None
    for key in keys:
        rest = name.removeprefix(key)
        if name == key:
            return key, 0
        found = re.fullmatch(
            r"(?:\s*-?\s*(?:take|第)|\s+|\s*-\s*|\s*(?=\())\s*\(?([0-9]{1,3})\)?(?:条|遍)?", rest
        )
        if name != rest and found and (best is None or len(key) > len(best[0])):
            best = key, int(found[1])
    return best
