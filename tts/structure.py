"""What messages are made of: the lines of every frame, stage, hazard and colour. Pure.

The structure, in Mandarin, is that of all languages; a `Phrasebook` has the words of another language for
each of its lines, and says which may be aired (`tts.phrases`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final

from alerts import hazards
from alerts.model import Colour
from tts.phrases import MANDARIN, Line, Phrasebook, Status, slots_of
from tts.slots import AMOUNT_LINES
from tts.voice import Kind

_SLOTS: Final = frozenset(
    {"places", "event", "colour", "was", "issuer", "issued", "onset", "expires", "count"}
    | {"month", "day", "hour", "minute"}
)
_STAGES: Final = ("first", "update", "continuation", "downgrade", "cancel")
_FRAMES: Final = ("actual", "exercise", "notice_actual", "notice_exercise")


class ScriptError(Exception):
    """Nothing can be composed: templates or request are wrong; says where and what to do."""


@dataclass(frozen=True, slots=True)
class HazardTemplate:
    """One hazard's sentences: `actions` by colour; `severe` go with red and orange, `mild` with the rest.
    `leads` and `sources` by stage, where the hazard needs its own; ``""`` is for every stage but cancel."""

    actions: Mapping[Colour, str]
    severe: tuple[str, ...]
    mild: tuple[str, ...]
    leads: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    clear: str = ""
    """What to do when it is over, where the common words do not fit."""


@dataclass(frozen=True, slots=True)
class StageTemplate:
    lead: str
    source: str


@dataclass(frozen=True, slots=True)
class Frame:
    attention: str
    opening: str
    closing: str


@dataclass(frozen=True, slots=True)
class Parts:
    """Sentences that a message has where there is something to fill them with."""

    places: str
    onset: str
    expires: str


@dataclass(frozen=True, slots=True)
class Templates:
    """One language's templates, checked by `parse_templates`: the structure, in Mandarin, is that of all
    languages; `book` has the words of this one."""

    id: str
    version: str
    language: str
    anywhere: str
    many: str
    colours: Mapping[Colour, str]
    frames: Mapping[str, Frame]
    test: tuple[str, ...]
    stages: Mapping[str, StageTemplate]
    all_clear_action: str
    all_clear_more: tuple[str, ...]
    calm_action: str
    calm_more: tuple[str, ...]
    dangerous_after: frozenset[str]
    milder: tuple[str, ...]
    notices: frozenset[str]
    """Hazards that are no danger: their messages must not sound like warnings."""
    parts: Mapping[str, Parts]
    """``warning`` and ``notice``."""
    hour: str
    minute: str
    again: str
    hazards: Mapping[str, HazardTemplate]
    origin: Line
    """Who answers for the Mandarin lines as they are shipped, and how far."""
    book: Phrasebook

    def hazard(self, key: str) -> HazardTemplate:
        """The template of a hazard; the generic one where it has none of its own."""
        return self.hazards.get(key, self.hazards["generic"])

    def say(self, line: str, kind: Kind) -> tuple[str, str]:
        """(this language's words for a Mandarin line, "") or ("", why none may be aired)."""
        text, why = self.book.text(line, kind)
        if text or self.language != MANDARIN:
            return text, why
        if self.origin.status.rank < Status.REVIEWED.rank:
            return "", f"{self.origin.status}, not reviewed: {line!r}"
        return line, ""

    def standing(self, line: str) -> Line:
        """A line of this language as it stands, whatever may be aired."""
        found = self.book.lines.get(line)
        if found is None and self.language == MANDARIN:
            return replace(self.origin, text=line)
        return found or Line("", Status.MISSING)

    def spoken_in(self, book: Phrasebook) -> Templates:
        """The same messages in the words of `book`."""
        if book.language == self.language:
            return replace(
                self, book=book, version=f"{self.version}/{book.version}" if book.lines else self.version
            )
        return replace(
            self,
            id=book.language,
            language=book.language,
            version=f"{self.version}/{book.version}",
            book=book,
        )

    def fixed_sentences(self, keys: Sequence[str]) -> tuple[str, ...]:
        """Slotless sentences that messages about these hazards will need, in this language, as far as they
        may be aired: worth speaking beforehand."""
        out = [frame.attention for frame in self.frames.values()]
        out += [text for frame in self.frames.values() for text in (frame.opening, frame.closing) if text]
        out += [self.again, *(text for text in self.test if "{" not in text)]
        for key in keys:
            chosen = self.hazard(key)
            out += [*chosen.actions.values(), *chosen.severe, *chosen.mild]
        out += [self.all_clear_action, *self.all_clear_more, self.calm_action, *self.calm_more, *self.milder]
        said = (self.say(text, "actual")[0] for text in dict.fromkeys(out))
        return tuple(text for text in said if text)

    def lines(self) -> dict[str, str]:
        """Every line that a message can need: Mandarin line → what it is for, the most needed first."""
        out: dict[str, str] = {}

        def add(what: str, *texts: str) -> None:
            for text in texts:
                for form in (text, text.replace("{colour}", "")) if "{colour}" in text else (text,):
                    if form:
                        out.setdefault(form, what)

        for name, frame in self.frames.items():
            add(f"frame.{name}", frame.opening, frame.attention, frame.closing)
        add("test", *self.test)
        add("time", self.hour, self.minute)
        add("place", self.anywhere, self.many)
        add("colour", *self.colours.values())
        for stage, lines in self.stages.items():
            add(f"stage.{stage}", lines.lead, lines.source)
        for which, parts in self.parts.items():
            add(which, parts.places, parts.onset, parts.expires)
        add("repeat", self.again)
        add("all-clear", self.all_clear_action, self.calm_action, *self.all_clear_more, *self.calm_more)
        add("downgrade", *self.milder)
        keys = [h.key for h in (*hazards.HAZARDS, hazards.UNKNOWN)]
        for key in keys:
            add(f"name.{key}", hazards.by_key(key).zh)
        for key in ("generic", *keys):
            chosen = self.hazards.get(key)
            if chosen is not None:
                add(f"lead.{key}", *chosen.leads.values(), *chosen.sources.values())
                add(f"action.{key}", *(chosen.actions[c] for c in Colour), chosen.clear)
        for line in AMOUNT_LINES:
            add("amount", line)
        for key in ("generic", *keys):
            if (chosen := self.hazards.get(key)) is not None:
                add(f"guidance.{key}", *chosen.severe, *chosen.mild)
        return out


def parse_templates(data: Mapping[str, Any], *, where: str) -> Templates:
    """Mandarin templates from a parsed file. Raises ScriptError naming the key that is missing or wrong."""
    try:
        stage, notice = data["stage"], data["notice"]
        shared = Templates(
            id=str(data["id"]),
            version=str(data["version"]),
            language=str(data["language"]),
            anywhere=str(data["anywhere"]),
            many=str(data["many"]),
            colours={Colour(k): str(v) for k, v in data["colours"].items()},
            frames={kind: Frame(**data["frame"][kind]) for kind in _FRAMES},
            test=tuple(data["test"]["sentences"]),
            stages={
                **{name: StageTemplate(stage[name]["lead"], stage[name]["source"]) for name in _STAGES},
                "downgrade_unknown": StageTemplate(
                    stage["downgrade"]["lead"], stage["downgrade"]["source_unknown"]
                ),
                **{
                    f"notice_{name}": StageTemplate(notice[name]["lead"], notice[name]["source"])
                    for name in _STAGES
                    if name != "downgrade"
                },
            },
            all_clear_action=stage["cancel"]["action"],
            all_clear_more=tuple(stage["cancel"]["more"]),
            calm_action=stage["cancel"]["calm_action"],
            calm_more=tuple(stage["cancel"]["calm_more"]),
            dangerous_after=frozenset(stage["cancel"]["dangerous_after"]),
            milder=tuple(stage["downgrade"]["more"]),
            notices=frozenset(notice["hazards"]),
            parts={
                "warning": Parts(**data["parts"]["warning"]),
                "notice": Parts(**data["parts"]["notice"]),
            },
            hour=data["parts"]["hour"],
            minute=data["parts"]["minute"],
            again=data["parts"]["again"],
            hazards=_hazards(data["hazards"]),
            origin=Line("", Status(data["status"]), str(data["by"]), _date(data["on"])),
            book=Phrasebook(str(data["language"]), str(data["version"]), {}),
        )
        for text in shared.lines():
            for slot in slots_of(text):
                if slot not in _SLOTS and text not in AMOUNT_LINES:
                    raise ValueError(f"unknown slot {{{slot}}} in {text!r}; known: {sorted(_SLOTS)}")
    except KeyError as error:
        raise ScriptError(f"{where}: {error.args[0]} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ScriptError(f"{where}: {error}") from error
    known = {hazard.key for hazard in (*hazards.HAZARDS, hazards.UNKNOWN)} | {"generic"}
    for key in sorted({*shared.hazards, *shared.dangerous_after, *shared.notices} - known):
        raise ScriptError(f"{where}: hazard {key} is not in the catalogue (alerts/hazards.py)")
    return shared


def _date(value: object) -> date:
    if not isinstance(value, date):
        raise TypeError(f"on must be a date, not {value!r}")
    return value


def _hazards(data: Mapping[str, Any]) -> dict[str, HazardTemplate]:
    out: dict[str, HazardTemplate] = {}
    for name, row in data.items():
        template = HazardTemplate(
            actions={colour: str(row[colour.value]) for colour in Colour},
            severe=tuple(row["severe"]),
            mild=tuple(row["mild"]),
            leads=_by_stage(row, "lead"),
            sources=_by_stage(row, "source"),
            clear=str(row.get("clear", "")),
        )
        for key in row.get("keys", [name]):
            out[key] = template
    if "generic" not in out:
        raise KeyError("hazards.generic")
    return out


def _by_stage(row: Mapping[str, Any], what: str) -> dict[str, str]:
    """``lead`` and, for one stage, ``cancel_lead``."""
    own = {stage: str(row[f"{stage}_{what}"]) for stage in _STAGES if f"{stage}_{what}" in row}
    return own | ({"": str(row[what])} if what in row else {})
