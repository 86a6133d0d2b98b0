"""What follows from a check of a clip. Pure, and free of numpy: the controller decides by it (`tts.check` and
`tts.recogniser` find out)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HOLD_MINUTES: Final = 5
"""How long a message that no voice says right waits for a person, before it is aired with its flag."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a recogniser made of a sound. `ser`: wrong, missing and added syllables by those of the text, 0 at
    best, over 1 for a babble. `missing`: numbers, places and actions of the text that were not heard.
    `ok`: it may be aired. `added`: words heard that turn the message round, and that are not in the text."""

    ser: float
    missing: tuple[str, ...]
    ok: bool
    added: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Take:
    """Air it."""


@dataclass(frozen=True, slots=True)
class TryNext:
    """Let the next voice say it."""

    why: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Nobody says it right: ask a person; without an answer in `minutes`, air it with its flag."""

    why: str
    minutes: int


@dataclass(frozen=True, slots=True)
class TakeFlagged:
    """Air it, and tell the operator what is wrong with it."""

    why: str


Outcome = Take | TryNext | Hold | TakeFlagged


def doubt(verdict: Verdict | None, findings: Sequence[object] = ()) -> str:
    """What is wrong with a clip, in words; empty if nothing is. `verdict` is None where nobody listened."""
    wrong = [str(finding) for finding in findings]
    if verdict is not None and not verdict.ok:
        if verdict.missing:
            wrong.append(f"not heard: {', '.join(verdict.missing)}")
        if verdict.added:
            wrong.append(f"heard, but not in the text: {', '.join(verdict.added)}")
        wrong.append(f"{verdict.ser:.0%} of the syllables heard otherwise")
    return "; ".join(wrong)


def after_check(
    verdict: Verdict | None,
    findings: Sequence[object] = (),
    *,
    red: bool,
    fast: bool,
    more_voices: bool,
) -> Outcome:
    """What to do with a clip that was checked; `verdict` is None where nothing listened to it, a finding
    (`tts.check.Finding`) says in words what is wrong.

    Red and the fast lane are never kept waiting (`Take`, `TakeFlagged`). When clips are rendered beforehand,
    nobody waits: ask with `red` and `fast` False. Sound that cannot be aired at all never comes here: the
    renderer refuses it.
    """
    why = doubt(verdict, findings)
    if not why:
        return Take()
    if red or fast:
        return TakeFlagged(why)
    return TryNext(why) if more_voices else Hold(why, HOLD_MINUTES)
