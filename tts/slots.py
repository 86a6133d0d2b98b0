"""What a script says in its slots, and whether two languages say the same. Pure.

In January 2024 the English of a Taiwanese warning said "missile" where the Chinese said "satellite": nobody
compared them (lessons-from-the-field.md §0.10, [S53]). Here each sentence knows the line that it was made
from and what fills its slots, and `disagreements` compares both that and the words themselves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from tts.phrases import numbers, turned_round

if TYPE_CHECKING:
    from tts.script import Script


class Role(StrEnum):
    """What a sentence is for."""

    LABEL = "label"
    """This is an exercise, this is a test: before and after."""
    ATTENTION = "attention"
    LEAD = "lead"
    ACTION = "action"
    SOURCE = "source"
    PLACES = "places"
    ONSET = "onset"
    EXPIRES = "expires"
    AGAIN = "again"
    FREE = "free"
    """The source's own words."""
    AMOUNT = "amount"
    """How much, taken from the source's own words; said where these cannot be."""
    MORE = "more"
    """Further guidance."""


WAIVED: Final = frozenset({Role.FREE, Role.AMOUNT, Role.MORE})
"""What a language may leave to the Mandarin, if it says so. Nothing else: a sentence without its place, time
or action is worse than Mandarin."""

_NAMES: Final = frozenset({"places", "issuer", "event"})
"""Slots that may hold a number in a name (十二村), written out in one language and not in another."""

_OF_PLACES: Final = re.compile(r" of (\d+)$")
"""Where only the first of many names are said: of how many (`tts.script`)."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot: `value` is the same in all languages (Mandarin names, ISO 8601 time in +08:00, hazard key,
    plain number), `said` is how this language says it."""

    name: str
    value: str
    said: str


@dataclass(frozen=True, slots=True)
class Said:
    """One sentence and what it was made from: the Mandarin `line` (empty for a source's own words)."""

    text: str
    role: Role
    line: str
    slots: tuple[Slot, ...] = ()

    @property
    def meaning(self) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        """What must be the same in every language."""
        return self.role, self.line, tuple(sorted((s.name, s.value) for s in self.slots))


def disagreements(a: Script, b: Script) -> list[str]:
    """What `b` says otherwise than `a`, or leaves out, or says that `a` does not; empty if they agree. `a` is
    the Mandarin of the same request. `b` may leave the source's own words and further guidance to it where
    `b.unsaid` says so. Slots and words are both compared, so a sentence changed after it was composed shows,
    and so does one composed of an older message."""
    out = [f"{s.language}: {problem}" for s in (a, b) for problem in _unlike_itself(s)]
    if (mine := _stances(b)) != (theirs := _stances(a)):
        out.append(f"{b.language}: composed as {mine}, {a.language} as {theirs}")
    if not a.said or not b.said:  # words alone, by whoever wrote them
        return out + _numbers(b.text, b.language, a.text, a.language, "as a whole")
    known = Counter(s.meaning for s in a.said)
    for sentence in b.said:
        if sentence.role is Role.AMOUNT:
            out += _unknown_amounts(sentence, a, b)
        elif sentence.meaning not in known:
            out.append(f"{b.language}: {_otherwise(sentence, a)}")
    told = Counter(s.meaning for s in b.said)
    for meaning, count in known.items():
        role, line, _ = meaning
        if told[meaning] == count or (role in WAIVED and not told[meaning] and b.unsaid):
            continue
        if told[meaning] > count:
            out.append(f"{b.language}: says {line!r} {told[meaning]} times instead of {count}")
        else:
            out.append(f"{b.language}: {role} is missing: {line!r}")
    if [s.meaning for s in _core(a)] != [s.meaning for s in _core(b)] and not out:
        out.append(f"{b.language}: the sentences stand in another order")
    mandarin = {s.meaning: s for s in a.said}
    for sentence in b.said:
        if (same := mandarin.get(sentence.meaning)) is not None:
            out += _numbers(
                _unnamed(sentence), b.language, _unnamed(same), a.language, f"in {sentence.text!r}"
            )
            out += _places_counted(sentence, b.language)
            if turned := turned_round(_unnamed(same), _unnamed(sentence), b.language):
                out.append(f"{b.language}: {sentence.text!r} {turned}")
    return list(dict.fromkeys(out))


def _unlike_itself(script: Script) -> Iterator[str]:
    """Where the words of a script are not those that its slots say."""
    if not script.said:
        return
    if tuple(s.text for s in script.said) != script.sentences:
        yield "its sentences are not those that were composed"
    if re.sub(r"\s", "", "".join(script.sentences)) != re.sub(r"\s", "", script.text):
        yield "its text is not its sentences"
    if not set(script.headline) <= set(script.sentences):
        yield "its headline says what the message does not"
    for sentence in script.said:
        for slot in sentence.slots:
            if slot.said and slot.said not in sentence.text and sentence.role is not Role.FREE:
                yield f"{slot.name} {slot.said!r} is not in {sentence.text!r}"


def _stances(script: Script) -> str:
    """Kind and stage, as composed."""
    return f"{script.kind} {script.stage}".strip()


def _core(script: Script) -> list[Said]:
    return [s for s in script.said if s.role not in WAIVED]


def _otherwise(sentence: Said, a: Script) -> str:
    """How a sentence of another language differs from the Mandarin that it comes closest to."""
    for same in a.said:
        if same.line == sentence.line and same.role == sentence.role:
            theirs = {s.name: s.value for s in same.slots}
            mine = {s.name: s.value for s in sentence.slots}
            return "; ".join(
                f"{name} is {mine.get(name, 'missing')}, not {theirs.get(name, 'said in Mandarin')}"
                for name in sorted(mine.keys() | theirs.keys())
                if mine.get(name) != theirs.get(name)
            )
    return f"{sentence.role} {sentence.line!r} is not in the Mandarin"


def _unknown_amounts(sentence: Said, a: Script, b: Script) -> list[str]:
    """An amount must be one of the Mandarin's, and stand in the sentence as it is."""
    known = {s.value for said in a.said for s in said.slots if s.name == "amount"}
    value = next((s.value for s in sentence.slots if s.name == "amount"), "")
    out = [] if value in known else [f"{b.language}: amount {value!r} is not in the Mandarin"]
    meant = tuple(sorted(re.findall(r"\d+(?:\.\d+)?", value), key=lambda n: (float(n), n)))
    said = numbers(sentence.text, b.language)
    if said != meant:
        out.append(f"{b.language}: numbers {_list(said)} in {sentence.text!r}, not {_list(meant)}")
    return out


def _places_counted(sentence: Said, language: str) -> Iterator[str]:
    """Of how many places it names some: a number among names, which are else not looked at for numbers."""
    for slot in sentence.slots:
        count = _OF_PLACES.search(slot.value) if slot.name == "places" else None
        if count and count[1] not in (said := numbers(slot.said, language)):
            yield f"{language}: {_list(said)} places in {sentence.text!r}, not {count[1]}"


def _unnamed(sentence: Said) -> str:
    text = sentence.text
    for slot in sentence.slots:
        if slot.name in _NAMES and slot.said:
            text = text.replace(slot.said, " ")
    return text


def _numbers(mine: str, tag: str, theirs: str, other: str, where: str) -> list[str]:
    said, meant = numbers(mine, tag), numbers(theirs, other)
    if said == meant:
        return []
    return [f"{tag}: numbers {_list(said)} {where}, {other} has {_list(meant)}"]


def _list(values: Sequence[str]) -> str:
    return "、".join(values) or "none"


# --- amounts in a source's own words ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of what. `line` is the Mandarin line that says it; `values` fill its slots, in millimetres,
    hours, wind force, degrees Celsius or metres."""

    line: str
    values: tuple[tuple[str, str], ...]

    @property
    def value(self) -> str:
        """The same in every language."""
        return f"{self.line} " + " ".join(f"{name}={number}" for name, number in self.values)


_N: Final = r"\d+(?:\.\d+)?"
_TO: Final = r"(?:-|~|～|–|—|到|至)"
_AMOUNTS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (
        "未来{hours}小时雨量将达{value}毫米。",
        re.compile(
            rf"(?:未来|今后)(?P<hours>{_N})个?小时[^。；]{{0,40}}?雨量?[^。；\d]{{0,12}}(?:{_N}{_TO})?(?P<value>{_N})(?:毫米|mm)"
        ),
    ),
    (
        "过去{hours}小时雨量已达{value}毫米。",
        re.compile(
            rf"过去(?P<hours>{_N})个?小时[^。；]{{0,40}}?雨量?[^。；\d]{{0,12}}(?:{_N}{_TO})?(?P<value>{_N})(?:毫米|mm)"
        ),
    ),
    ("阵风{low}到{high}级。", re.compile(rf"阵风[可达将]*(?P<low>{_N}){_TO}(?P<high>{_N})级")),
    ("阵风{value}级。", re.compile(rf"阵风[可达将]*(?P<value>{_N})级")),
    ("最高气温{value}度。", re.compile(rf"最高气温[将可达升至到在]*(?P<value>{_N})(?:℃|摄氏度|度)")),
    (
        "降温{value}度。",
        re.compile(rf"(?:降温幅度|气温下降|降温)[将可达至为]*(?P<value>{_N})(?:℃|摄氏度|度)"),
    ),
    ("能见度小于{value}米。", re.compile(rf"能见度(?:小于|不足|低于)(?P<value>{_N})米")),
)
"""Amounts that decide what a household does; each is said in a language where the line has words there."""
AMOUNT_LINES: Final = tuple(line for line, _ in _AMOUNTS)


def amounts(text: str) -> tuple[Amount, ...]:
    """The amounts in one sentence of a source, in the order of `AMOUNT_LINES`; each kind once."""
    found = []
    for line, pattern in _AMOUNTS:
        if match := pattern.search(text):
            values = tuple((name, match[name]) for name in sorted(match.groupdict()))
            found.append(Amount(line, values))
    return tuple(found)
