"""Which voices may say a message in a language, in which order, with how much time; and why not the
others. Pure.

The order of design §6: the recorded bank, the online voice within its budget, the offline voice, the county's
own engines, espeak. A voice that nobody of the county has approved is never aired as actual.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tts.voice import Kind

ONLINE_BUDGET_S: Final = 2.0
"""Design §6: the online voice is taken where it has passed its checks within this, while an offline one
waits."""
RED_BUDGET_S: Final = 8.0
"""What another engine may take of a red warning: it is to sound within 10 s (design §1)."""


class Engine(StrEnum):
    BANK = "bank"
    EDGE = "edge"
    KOKORO = "kokoro"
    COMMAND = "command"
    HTTP = "http"
    ESPEAK = "espeak"


@dataclass(frozen=True, slots=True)
class Offer:
    """One voice for one language, as the county configured it and as this machine has it."""

    language: str
    engine: Engine
    name: str
    """As clips and their keys name it: ``zm_yunjian``, ``edge:kk-KZ-AigulNeural``, ``command:mms-uig``."""
    online: bool = False
    """Whether the words leave this machine's own networks: never for red, never where seconds count."""
    speed: float = 1.0
    timeout_s: float = 8.0
    approved_by: str = ""
    approved_on: str = ""
    missing: str = ""
    """Why this machine cannot use it now; empty when it can."""


@dataclass(frozen=True, slots=True)
class VoiceChoice:
    """`offer`, and within how many seconds it must have spoken."""

    offer: Offer
    budget_s: float


@dataclass(frozen=True, slots=True)
class LeftOut:
    """`offer` is not used for this message, and why, for the operator."""

    offer: Offer
    why: str


@dataclass(frozen=True, slots=True)
class Choices:
    """`usable` in the order in which they are tried; none means: say it in Mandarin."""

    usable: tuple[VoiceChoice, ...]
    left_out: tuple[LeftOut, ...]


def voices_for(
    language: str, kind: Kind, offers: Iterable[Offer], *, red: bool, fast: bool, unapproved: bool = False
) -> Choices:
    """The voices of `language` for a message of `kind`.

    `red`: its colour; `fast`: its hazard is one where seconds count. `unapproved`: also voices that nobody
    has approved, to try them, and where only simulated terminals can hear it."""
    found = sorted((o for o in offers if o.language == language), key=_rank)
    why = {offer: _why_not(offer, kind, red=red, fast=fast, unapproved=unapproved) for offer in found}
    taken = [offer for offer in found if not why[offer]]
    waits = any(not offer.online and offer.engine is not Engine.BANK for offer in taken)
    return Choices(
        tuple(VoiceChoice(offer, _budget(offer, red=red, waits=waits)) for offer in taken),
        tuple(LeftOut(offer, why[offer]) for offer in found if why[offer]),
    )


def _why_not(offer: Offer, kind: Kind, *, red: bool, fast: bool, unapproved: bool) -> str:
    if offer.missing:
        return offer.missing
    if kind == "actual" and not offer.approved_by and not unapproved:
        return "nobody of the county has approved it (approved_by and approved_on)"
    if offer.online and fast:
        return "it needs the internet, and an alert where seconds count does not wait for that"
    if offer.online and red:
        return "it needs the internet, and a red warning does not wait for that"
    return ""


_ORDER: Final = {Engine.EDGE: 1, Engine.KOKORO: 2, Engine.COMMAND: 3, Engine.HTTP: 3, Engine.ESPEAK: 4}


def _rank(offer: Offer) -> int:
    if offer.engine is Engine.BANK:
        return 0
    return 1 if offer.online else _ORDER[offer.engine]


def _budget(offer: Offer, *, red: bool, waits: bool) -> float:
    """`waits`: another voice of this language works offline and need not wait for this one."""
    if offer.online and waits:
        return min(offer.timeout_s, ONLINE_BUDGET_S)
    if red and offer.engine in (Engine.COMMAND, Engine.HTTP, Engine.ESPEAK):
        return min(offer.timeout_s, RED_BUDGET_S)
    return offer.timeout_s
