"""Which lines a bank needs, from the language's templates. Pure.

Whole sentences where there is nothing to fill in. A clause (what stands between two commas) with the name or
colour of a warning is read whole, once for each. Only what cannot be counted so is a *piece* of its own,
joined when it is aired: a place, an issuer, a day, an hour, and the words that stand beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from string import Formatter
from typing import Final

from alerts import hazards
from alerts.model import Colour
from tts.bank import countdown
from tts.bank.model import Line, clauses, said
from tts.structure import Templates

USUAL: Final = (
    "rainstorm", "flash_flood", "debris_flow", "geological", "flood", "gale", "thunder_gust", "lightning",
    "hail", "snowstorm", "cold_wave", "road_ice", "heat", "forest_fire_risk", "earthquake", "dam_break",
)  # fmt: skip
"""Hazards that a mountain county meets; chosen by hand, others with ``bank new --hazard``."""
MOST_OF_ONE: Final = 600
"""Readings of one clause; with more, nobody records it."""
_TIMES: Final = frozenset(("issued", "onset", "expires"))
_JOINED: Final = _TIMES | {"places", "issuer", "count"}
"""Slots whose values are pieces."""
_MANY: Final = range(2, 31)
"""``等{count}个地方``."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a county wants recorded beside the fixed sentences."""

    hazards: Sequence[str] = USUAL
    places: Mapping[str, str] | None = None
    """Key of the county's pack → Chinese name, as people say it."""
    issuers: Sequence[str] = ()
    times: bool = False
    """Every day of a year, every hour and minute: 450 lines."""


def wanted(templates: Templates, needs: Needs) -> tuple[list[Line], list[str]]:
    """All lines of a language's bank, most needed first, and the clauses that are left to a voice. No words
    twice: what several sentences share is read once. Where the language has no words yet, the line is there
    with its Mandarin alone."""
    writer = _Writer(templates, needs)
    clips = countdown.sentences()
    for clip in (countdown.NUMBERLESS, *map(countdown.name, countdown.SECONDS)):
        writer.own(countdown.key(clip), clips[clip][0])
    patterns: list[str] = []
    theirs = {form for key in (*needs.hazards, "generic") for form in _of_hazard(templates, key)}
    for zh, what in templates.lines().items():
        kind = what.partition(".")[0]
        if kind in ("time", "place", "colour", "name", "amount"):
            continue
        # What several hazards say is listed under the first of them only.
        if kind in ("lead", "action", "guidance") and zh not in theirs:
            continue
        if "{" in zh:
            patterns.append(zh)
        else:
            writer.fixed(zh)
    for zh in patterns:
        writer.pattern(zh)
    writer.values()
    return distinct(writer.lines), list(dict.fromkeys(writer.left))


class _Writer:
    def __init__(self, templates: Templates, needs: Needs) -> None:
        self._templates = templates
        self._needs = needs
        self._mandarin = templates.language == "zh"
        self._numbers = {"line": 0, "part": 0}
        self._runs: dict[str, str] = {}
        self.lines: list[Line] = []
        self.left: list[str] = []

    def own(self, key: str, zh: str) -> None:
        """A line that only a bank has: in another language its words are written into ``lines.csv``."""
        self.lines.append(Line(key, zh) if self._mandarin else Line(key, self._said(zh), zh=zh))

    def fixed(self, zh: str) -> None:
        self.own(self._next("line"), zh)

    def pattern(self, zh: str) -> None:
        """The clauses of a sentence with slots."""
        text = self._said(zh)
        if not text:
            self.left.append(zh)
            return
        for clause in clauses(text):
            slots = _slots(clause)
            lacks = {"was"} | (set() if self._needs.issuers else {"issuer"})
            lacks |= set() if self._needs.times and self._clock() else _TIMES
            lacks |= set() if self._needs.places else {"places"}
            if lacks & set(slots):
                self.left.append(clause)
                continue
            for run in _runs(clause):
                self._run(run, zh)

    def _run(self, run: str, zh: str) -> None:
        """What stands between two joined slots: words, and names of warnings that can be counted."""
        if not said(re.sub(r"\{\w+\}", "x", run)) or run in self._runs:
            return
        slots = _slots(run)
        counted = {"event": self._events(), "colour": self._colours()}
        values = [[(part, text) for part, text in counted[slot].items() if text] for slot in slots]
        if any(not value for value in values) or len(list(product(*values))) > MOST_OF_ONE:
            self.left.append(run)
            return
        self._runs[run] = key = self._next("part")
        for chosen in product(*values):
            filled = {slot: text for slot, (_, text) in zip(slots, chosen, strict=True)}
            told = "; ".join(f"{slot}={text}" for slot, text in filled.items())
            name = "-".join([key, *(part for part, _ in chosen)])
            self.lines.append(Line(name, run.format(**filled), "" if self._mandarin else zh, told))

    def values(self) -> None:
        """The pieces: places, how many, issuers, days, hours, minutes."""
        for key, name in (self._needs.places or {}).items():
            self._piece(f"place-{_slug(key)}", name, f"places={name}")
        if self._needs.places:
            self._piece("place-anywhere", self._templates.anywhere, "")
            many = self._said(self._templates.many).partition("{places}")[2]
            for count in _MANY if many else ():
                self.lines.append(Line(f"many-{count}", many.format(count=count), slots=f"count={count}"))
        for number, name in enumerate(self._needs.issuers, 1):
            self._piece(f"issuer-{number}", name, f"issuer={name}")
        if self._needs.times and (clock := self._clock()):
            day, hour, minute = clock
            for month, days in enumerate((31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), 1):
                for n in range(1, days + 1):
                    self.lines.append(Line(f"day-{month}-{n}", day.format(month=month, day=n)))
            self.lines += [Line(f"hour-{n}", hour.format(hour=n)) for n in range(24)]
            self.lines += [Line(f"minute-{n}", minute.format(minute=n)) for n in range(1, 60)]

    def _piece(self, key: str, zh: str, slots: str) -> None:
        self.lines.append(replace(Line(key, self._said(zh), slots=slots), zh="" if self._mandarin else zh))

    def _clock(self) -> tuple[str, str, str] | None:
        """Day, hour and minute of the language's time, if they stand in that order in both forms."""
        form = re.compile(r"(.*\{(?:month|day)\}.*\{(?:month|day)\}[^{]*)(\{hour\}[^{]*)(\{minute\}[^{]*)?")
        hour = form.fullmatch(self._said(self._templates.hour))
        minute = form.fullmatch(self._said(self._templates.minute))
        if not hour or not minute or hour[3] or not minute[3] or hour.groups()[:2] != minute.groups()[:2]:
            return None
        return hour[1], hour[2], minute[3]

    def _events(self) -> dict[str, str]:
        return {_slug(key): self._said(hazards.by_key(key).zh) for key in self._needs.hazards}

    def _colours(self) -> dict[str, str]:
        return {colour.value: self._said(self._templates.colours[colour]) for colour in Colour}

    def _said(self, zh: str) -> str:
        """This language's words, whoever has approved them: what is recorded is heard before it is aired."""
        return self._templates.standing(zh).text

    def _next(self, kind: str) -> str:
        self._numbers[kind] += 1
        return f"{kind}-{self._numbers[kind]:03d}"


def _of_hazard(templates: Templates, key: str) -> Iterator[str]:
    """What only warnings of this hazard say; nothing for one that says what all say."""
    if (chosen := templates.hazards.get(key)) is None:
        return
    for text in (
        *chosen.leads.values(), *chosen.sources.values(), *chosen.actions.values(), chosen.clear,
        *chosen.severe, *chosen.mild,
    ):  # fmt: skip
        yield from (text, text.replace("{colour}", ""))


def _slots(text: str) -> list[str]:
    return list(dict.fromkeys(slot for _, slot, _, _ in Formatter().parse(text) if slot))


def _runs(clause: str) -> list[str]:
    """`clause` without the slots that are pieces."""
    return re.split("|".join(rf"\{{{slot}\}}" for slot in sorted(_JOINED)), clause)


def _slug(key: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")


def distinct(lines: Iterable[Line]) -> list[Line]:
    """Without lines whose words an earlier one has."""
    seen: set[str] = set()
    out = []
    for line in lines:
        words = said(line.text) or f"\0{line.zh}"
        if words in seen:
            continue
        seen.add(words)
        out.append(line)
    return out


def merged(old: Sequence[Line], new: Sequence[Line]) -> list[Line]:
    """`new`, where words that `old` has keep their key, their note and what a person wrote, and running
    numbers go on behind the old ones. Lines that nothing needs any more stay, at the end."""
    by_words = {said(line.text): line for line in old if line.text}
    by_key = {line.key: line for line in old}
    by_meaning = {line.zh: line for line in old if line.zh and "{" not in line.zh and not line.slots}
    numbers = {
        kind: max((int(k[5:8]) for k in by_key if re.match(rf"{kind}-\d{{3}}", k)), default=0)
        for kind in ("line", "part")
    }
    moved: dict[str, str] = {}
    out: dict[str, Line] = {}
    for line in new:
        kind, number = line.key[:4], line.key[:8]
        same = by_words.get(said(line.text)) if line.text else None
        same = same or by_meaning.get(line.zh) or (None if kind in numbers else by_key.get(line.key))
        if same is not None and same.key not in out:
            found = replace(same, text=line.text or same.text, slots=line.slots, zh=line.zh or same.zh)
        elif kind in numbers and line.key in by_key:  # its number is taken by other words
            if number not in moved:
                numbers[kind] += 1
                moved[number] = f"{kind}-{numbers[kind]:03d}"
            found = replace(line, key=moved[number] + line.key[8:])
        else:
            found = line
        while found.key in out:
            found = replace(found, key=f"{found.key}-x")
        out[found.key] = found
    return [*out.values(), *(line for line in old if line.key not in out)]
