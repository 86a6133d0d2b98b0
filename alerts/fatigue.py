"""Full, short or silent: how a village hears one more message about an event that it has heard of. Pure.

A loudspeaker that wakes a village at three in the morning to say what was said at nine is unplugged by
noon. Two in five re-issues of a county repeat the colour in force (`feeds.md` §2.2: of 4,430 rainstorm
warnings issued again within twelve hours, 1,231 had the same colour), so these are said briefly, or not at
all, and always with the reason.

Never touched: what is red, what says more than before (a higher colour, another hazard, another
instruction), the fast lane, and a village that has not heard of the danger yet. A county and its prefecture
often warn of the same thing within the hour: in a real week one first warning in five repeats what is in
force at that level already. The second is one sentence, never silence.

The gate depends on what the village has *heard* last, not on what is said now. So a worse message is never
told more quietly than a milder one (`tests/property/test_lifecycle_urgency.py`), and a fall that was not
aired is told by the next message that is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from enum import StrEnum
from typing import Final

from alerts.model import Colour

BEIJING: Final = timezone(timedelta(hours=8))
"""The clock that people live by; in the far west the night begins later, and the county says when."""
DAY: Final = timedelta(hours=24)


class Form(StrEnum):
    """How a message is heard, loudest first."""

    FULL = "full"
    """Signal and the whole message, as often and as loud as its colour asks."""
    SHORT = "short"
    """The attention word and one sentence, once, at lower volume."""
    SILENT = "silent"
    """Recorded with its reason; nobody hears it."""

    @property
    def rank(self) -> int:
        """0 (full) to 2 (silent)."""
        return list(Form).index(self)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a county decides about it."""

    night_from: time = time(22)
    night_until: time = time(6)
    """Beijing time; equal times mean that there is no night."""
    renewal_every: timedelta = timedelta(hours=12)
    """A village hears at most one renewal of a yellow or blue warning in this time (`feeds.md` §2.2)."""
    per_day: int = 6
    """Soundings in 24 h after which it is silent that a yellow or blue warning goes on or falls: p99 of a
    county's day (`feeds.md` §2.2). Of an orange one only its own short soundings count."""

    def is_night(self, at: datetime) -> bool:
        """Whether `at` (aware) lies in the night."""
        clock, begins, ends = at.astimezone(BEIJING).time(), self.night_from, self.night_until
        if begins <= ends:
            return begins <= clock < ends
        return clock >= begins or clock < ends


@dataclass(frozen=True, slots=True)
class Sounding:
    """Once that a village heard something."""

    at: datetime
    event: str
    """`Decision.event_key` of what it heard."""
    hazard: str
    colour: Colour | None
    form: Form = Form.FULL
    all_clear: bool = False
    until: datetime | None = None
    """When what it heard ends of itself."""
    instruction: str = ""
    """What it was told to do, as `words` gives it."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be judged: the same for every village that it names."""

    at: datetime
    event: str
    hazard: str
    colour: Colour | None
    news: bool
    """Whether it says more than what was in force: `Update.news`, and every first message."""
    fast: bool = False
    """Whether seconds count (`hazards.Lane.FAST`)."""
    extreme: bool = False
    """Whether its source calls it Extreme, whatever its colour, or without one."""
    first: bool = False
    """Whether it is the first of its event that sounds."""
    instruction: str = ""
    """As `words` gives it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    form: Form
    reason: str
    """For the operator and the log, also where it sounds in full."""


def exempt(message: Message) -> str:
    """Why everybody hears it in full, whatever they have heard; empty if that matters."""
    if message.fast:
        return "seconds count"
    if message.colour is Colour.RED:
        return "red is never shortened"
    if message.extreme:
        return "what is Extreme is never shortened"
    return "it says more than what was in force" if message.news and not message.first else ""


def words(text: str) -> str:
    """Without layout and punctuation: what two texts must share to say the same."""
    return re.sub(r"[\W_]+", "", text)


def judge(message: Message, heard: Sequence[Sounding], rules: Rules) -> Verdict:
    """How one village, which has `heard` all this (in any order), hears `message`."""
    if always := exempt(message):
        return Verdict(Form.FULL, always)
    if message.first:
        return _first(message, heard, rules)
    last = max(
        (item for item in heard if item.event == message.event and item.at <= message.at),
        # Of the same moment the one after which most is still to be said.
        key=lambda item: (item.at, item.all_clear, _rank(item.colour), str(item.colour), item.hazard),
        default=None,
    )
    if last is None:
        return Verdict(Form.FULL, "not heard here yet")
    if last.all_clear:
        return Verdict(Form.FULL, f"the all-clear was heard {_ago(last, message)}")
    if last.hazard != message.hazard or (
        message.colour is not None and (last.colour is None or message.colour.rank < last.colour.rank)
    ):
        return Verdict(Form.FULL, f"worse than what was heard {_ago(last, message)}")
    said = f"{last.colour or last.hazard} was heard {_ago(last, message)}"
    if shut := _shut(last, heard, message.at, rules):
        return Verdict(Form.SILENT, f"{said}; {shut}")
    return Verdict(Form.SHORT, said)


def _first(message: Message, heard: Sequence[Sounding], rules: Rules) -> Verdict:
    """A first word: brief only where the same danger, at this level or a worse one, was heard not long ago
    and is in force."""
    since = message.at - rules.renewal_every
    alike = [item for item in heard if item.hazard == message.hazard and since < item.at <= message.at]
    for item in sorted(alike, key=lambda item: item.at, reverse=True):
        if item.all_clear:
            break
        if (
            item.until is not None
            and item.until > message.at
            and _rank(item.colour) <= _rank(message.colour)
            and message.instruction in ("", item.instruction)
        ):
            level = item.colour or item.hazard
            return Verdict(
                Form.SHORT, f"another {level} warning of it is in force, heard {_ago(item, message)}"
            )
    return Verdict(Form.FULL, "not heard here yet")


def _rank(colour: Colour | None) -> int:
    """1 (worst) to 4; what has no colour acts as orange, as in the spoken templates."""
    return (colour or Colour.ORANGE).rank


def judge_all(
    message: Message, villages: Set[str], heard: Mapping[str, Sequence[Sounding]], rules: Rules
) -> dict[str, Verdict]:
    """`judge` for every one of `villages`, in order of their keys."""
    return {village: judge(message, heard.get(village, ()), rules) for village in sorted(villages)}


def _shut(last: Sounding, heard: Sequence[Sounding], at: datetime, rules: Rules) -> str:
    """Why nothing milder than news is said after `last`; empty if it may be, briefly."""
    if last.colour is Colour.RED:
        return ""  # whoever was told to flee is told how it goes on
    if last.colour in (Colour.YELLOW, Colour.BLUE):
        if rules.is_night(at):
            return "at night people are not woken for it"
        if at - last.at < rules.renewal_every:
            hours = rules.renewal_every / timedelta(hours=1)
            return f"once in {hours:g} h is enough"
    today = [item for item in heard if not item.all_clear and at - DAY < item.at <= at]
    if last.colour not in (Colour.YELLOW, Colour.BLUE):
        # A busy day must not eat the word that an orange warning has fallen: people acted on it.
        today = [item for item in today if item.event == last.event and item.form is Form.SHORT]
    if len(today) >= rules.per_day:
        return f"{len(today)} soundings in 24 h here are enough"
    return ""


def _ago(last: Sounding, message: Message) -> str:
    minutes = (message.at - last.at) // timedelta(minutes=1)
    return f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"
