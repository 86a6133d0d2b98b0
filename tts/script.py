"""What is said: an alert's facts and reviewed templates → short sentences, the action first.

Pure. Order (the project's own choice):
attention, danger and place, the one thing to do (within ten seconds), who says so and when, what is
expected, until when, what else to do, and the danger and the action once more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Final

from alerts import hazards
from alerts.model import Colour
from tts.cleaning import MAX_SOURCE, clean, for_offices, key, limited, tidy
from tts.phrases import MANDARIN, language, slots_of
from tts.slots import WAIVED, Role, Said, Slot, amounts, disagreements
from tts.structure import HazardTemplate, ScriptError, Templates
from tts.voice import Kind, Stage

__all__ = [
    "BEIJING",
    "Fallback",
    "Script",
    "ScriptError",
    "ScriptRequest",
    "Spoken",
    "Templates",
    "Unsayable",
    "compose",
    "compose_all",
    "seconds",
    "spaced",
    "spoken_time",
]

BEIJING: Final = timezone(timedelta(hours=8))
"""China has had one time and no summer time since 1991; needs no tz database."""
MAX_DESCRIPTION: Final = 120
"""Characters of the source's own text that are spoken; the rest is listed in `Script.omitted`."""
MAX_INSTRUCTION: Final = 90
ACTION_WITHIN_S: Final = 10.0
"""Attention, danger and place, and the action: all said by then. An exercise says first that it is one."""
SECONDS_PER_SYLLABLE: Final = 0.215
"""Kokoro zm_yunjian at 0.95, the speed of a county that says nothing: measured on attention, leads and
actions of 36 to 57 syllables, 0.210 to 0.220 s without the pauses."""
SECONDS_BETWEEN: Final = 0.4
"""`tts.audio.BETWEEN_SENTENCES`, which this pure file does not import for numpy's sake."""
_LEAD_PLACES: Final = 2
_MAX_PLACES: Final = 30
_MAX_EVENT: Final = 8
_TEXT_IS_ALL: Final = frozenset({"notice"})
"""Hazards of which the source's own words are the whole message: these are what is said once more."""


class Unsayable(ScriptError):
    """A language cannot say this message: `reasons`, one for each line or word that it lacks."""

    def __init__(self, language: str, reasons: Sequence[str]) -> None:
        self.language = language
        self.reasons = tuple(dict.fromkeys(reasons))
        more = f"; and {len(self.reasons) - 3} more" if len(self.reasons) > 3 else ""
        super().__init__(f"{language} cannot say it: {'; '.join(self.reasons[:3])}{more}; say it in Mandarin")


@dataclass(frozen=True, slots=True)
class ScriptRequest:
    """What is to be said. `issued`, `onset`, `expires` are aware; names are Chinese, as people say them."""

    kind: Kind
    stage: Stage
    hazard: str
    """Key of `alerts.hazards`."""
    colour: Colour | None
    issuer: str
    issued: datetime
    places: tuple[str, ...]
    event: str = ""
    """The source's own name for the hazard; empty: the catalogue's."""
    onset: datetime | None = None
    expires: datetime | None = None
    description: str = ""
    instruction: str = ""
    language: str = "zh"
    short: bool = False
    """The attention word and one sentence only: for who has heard the rest (`alerts.fatigue`)."""
    was: Colour | None = None
    """The colour before, where `stage` is downgrade and it is known."""
    standing: bool = False
    """Kept for months and sounded by a hand: it says neither who issued it when, nor until when it holds."""
    siren: str = ""
    """In an exercise, the pattern of civil defence that sounds instead of its chime: ``prepare``, ``raid``,
    ``clear``, ``disaster``."""


@dataclass(frozen=True, slots=True)
class Script:
    """What will be said, sentence by sentence, numbers as written."""

    language: str
    sentences: tuple[str, ...]
    text: str
    template: str
    version: str
    headline: tuple[str, ...]
    """Attention, danger and place, action (and the exercise's words): what must be heard first."""
    omitted: tuple[str, ...] = ()
    """Sentences of the source that were left out, for length or because it is over; for the preview."""
    kind: str = ""
    stage: str = ""
    said: tuple[Said, ...] = ()
    """For each sentence, what it was made from."""
    unsaid: tuple[str, ...] = ()
    """What this language leaves to the Mandarin that follows it; for the operator."""

    def brief(self) -> Script:
        """The headline alone, rendered in a quarter of the time; the whole can follow it. Its sentences
        are those of the whole, so the voice speaks them once."""
        made = {s.text: s for s in self.said}
        return replace(
            self,
            sentences=self.headline,
            text=spaced(self.headline, self.language),
            said=tuple(made[text] for text in self.headline if text in made),
        )


@dataclass(frozen=True, slots=True)
class Fallback:
    """A language in which a message is not said, in whole or in part, and why; Mandarin says it."""

    language: str
    reason: str
    whole: bool = True
    """False: the language is heard, and `reason` is what of the message it leaves to the Mandarin."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One message in the languages of one loudspeaker, in the order in which they are heard."""

    scripts: tuple[Script, ...]
    fallback: tuple[Fallback, ...]

    @property
    def language(self) -> str:
        """As on the wire: ``bo+zh``."""
        return "+".join(script.language for script in self.scripts)


def compose_all(request: ScriptRequest, templates: Mapping[str, Templates], order: Sequence[str]) -> Spoken:
    """`request` in the languages `order`, each checked against the Mandarin.

    A language without templates, with a line that may not be aired, or that disagrees with the Mandarin is
    left out, with the reason. Mandarin is said where it stands in `order`; where it does not, it follows
    whenever another language is left out or leaves something to it. `templates` must have ``zh``; raises
    ScriptError where even the Mandarin cannot be composed.
    """
    mandarin = compose(replace(request, language=MANDARIN), templates[MANDARIN])
    scripts: list[Script] = []
    fallback: list[Fallback] = []
    for tag in dict.fromkeys(order):
        if tag == MANDARIN:
            scripts.append(mandarin)
            continue
        if tag not in templates:
            fallback.append(Fallback(tag, "it has no templates"))
            continue
        try:
            script = compose(replace(request, language=tag), templates[tag])
        except Unsayable as error:
            fallback += [Fallback(tag, reason) for reason in error.reasons]
            continue
        if wrong := disagreements(mandarin, script):
            fallback += [Fallback(tag, reason) for reason in wrong]
            continue
        scripts.append(script)
        fallback += [Fallback(tag, reason, whole=False) for reason in script.unsaid]
    if mandarin not in scripts and (fallback or not scripts):
        scripts.append(mandarin)
    return Spoken(tuple(scripts), tuple(fallback))


def compose(request: ScriptRequest, templates: Templates) -> Script:
    """The script of `request`. Raises ScriptError for another language than the templates', a naive time
    or an empty issuer, and Unsayable where a line that the message needs is missing or may not be aired in
    a message of this kind. An exercise says so at both ends; a test names neither hazard nor action."""
    if request.language != templates.language:
        raise ScriptError(
            f"templates {templates.id} speak {templates.language}, not {request.language}; say it in Mandarin"
        )
    for name in ("issued", "onset", "expires"):
        value = getattr(request, name)
        if value is not None and value.tzinfo is None:
            raise ScriptError(f"{name} {value.isoformat()} has no time zone; give an aware datetime")
    if not request.issuer.strip():
        raise ScriptError("issuer is empty; every message says who speaks")
    outline = (_test if request.kind == "test" else _warning)(request, templates)
    words = _Words(request, templates, outline.places)
    said = [s for item in outline.body for s in words.say(item)]
    headline = [s.text for item in outline.headline for s in words.say(item)]
    if words.missing:
        raise Unsayable(templates.language, words.missing)
    sentences = tuple(s.text for s in said)
    return Script(
        language=templates.language,
        sentences=sentences,
        text=spaced(sentences, templates.language),
        template=templates.id,
        version=templates.version,
        headline=tuple(headline),
        omitted=outline.omitted,
        kind=request.kind,
        stage=request.stage,
        said=tuple(said),
        unsaid=tuple(dict.fromkeys(words.left)),
    )


def spaced(sentences: Sequence[str], tag: str) -> str:
    """Sentences as one text, as the language writes them."""
    return language(tag).gap.join(sentences)


@dataclass(frozen=True, slots=True)
class _Item:
    """One sentence to be: a line of the templates, or a source's own words."""

    role: Role
    line: str
    free: str = ""


@dataclass(frozen=True, slots=True)
class _Outline:
    """A message before it has a language."""

    body: tuple[_Item, ...]
    headline: tuple[_Item, ...]
    places: tuple[str, ...]
    """Those that the lead names; fewer than all of them, none where their names are too long."""
    omitted: tuple[str, ...] = ()


def _test(request: ScriptRequest, templates: Templates) -> _Outline:
    lines = [line for line in templates.test if not (request.standing and "{issued}" in line)]
    said = tuple(_Item(Role.SOURCE if "{" in line else Role.LABEL, line) for line in lines)
    return _Outline(said, said, tuple(_each(request.places)[:_LEAD_PLACES]))


def _warning(request: ScriptRequest, templates: Templates) -> _Outline:
    notice = request.hazard in templates.notices
    frame = templates.frames[f"notice_{request.kind}" if notice else request.kind]
    stage = _stage(request, notice)
    lines = templates.stages[f"notice_{stage}" if notice else stage]
    chosen = templates.hazard(request.hazard)
    parts = templates.parts["notice" if notice else "warning"]
    over = stage == "cancel"
    lead = _own(chosen.leads, stage) or lines.lead
    if stage == "downgrade" and request.was is None:
        lines = templates.stages["downgrade_unknown"]
    source = _own(chosen.sources, stage) or lines.source
    action, more = _action(request, templates, chosen)
    more = (*templates.milder, *more) if lead == templates.stages["downgrade"].lead else more
    attention = _Item(Role.ATTENTION, frame.attention)
    lead_item, action_item = _Item(Role.LEAD, _bare(lead, request)), _Item(Role.ACTION, action)
    places = _places_of_the_lead(request, templates, frame.attention, lead_item.line, action)

    free, omitted = limited(clean(request.description, request.instruction), MAX_DESCRIPTION)
    orders = clean(request.instruction)
    offices = [s for s in orders if for_offices(s)]
    told, left = limited([s for s in orders if s not in offices], MAX_INSTRUCTION)
    left += offices
    if len(request.description) > MAX_SOURCE or len(request.instruction) > MAX_SOURCE:
        left.append(f"原文超过{MAX_SOURCE}字，后面的没有读。")
    if over:  # A Cancel often repeats the warning's orders: "move at once" must not follow "it is over".
        told, left = [], [*told, *left]
    omitted += left
    guidance = {key(line): line for line in more}

    def own_words(sentences: list[str]) -> list[_Item]:
        """A source that says what our guidance says is taken for the guidance: other languages have it."""
        known = [(guidance.get(key(text)), text) for text in sentences]
        return [_Item(Role.MORE, line) if line else _Item(Role.FREE, "", text) for line, text in known]

    body = [] if request.standing else [_Item(Role.SOURCE, _bare(source, request))]
    if len(_each(request.places)) > len(places):
        body.append(_Item(Role.PLACES, parts.places))
    body += own_words(free)
    if not (over or request.standing):
        if request.onset and request.onset > request.issued + timedelta(minutes=30):
            body.append(_Item(Role.ONSET, parts.onset))
        if request.expires:
            body.append(_Item(Role.EXPIRES, parts.expires))
    body += own_words(told)
    body += [_Item(Role.MORE, line) for line in more]
    closing = [_Item(Role.LABEL, frame.closing)] if frame.closing else []
    opening = [_Item(Role.LABEL, frame.opening)] if frame.opening else []
    headline = [*opening, attention, lead_item, action_item]
    if request.short:
        said = [*headline[:-1], *closing]
        return _Outline(tuple(said), tuple(said), places, tuple(omitted))
    said = list(headline)
    for item in body:
        if key(item.free or item.line) not in {key(s.free or s.line) for s in said}:
            said.append(item)
    # Word for word the same, so that the voice does not speak them a second time.
    said += [_Item(Role.AGAIN, templates.again), lead_item, action_item]
    if request.hazard in _TEXT_IS_ALL and not over:
        said += own_words(free)
    return _Outline((*said, *closing), (*headline, *closing), places, tuple(omitted))


def _stage(request: ScriptRequest, notice: bool) -> Stage:
    """A downgrade is to a lower colour; without one, for a notice, and where the colour did not fall (nothing
    falls to red), it is an update: "lowered" would take the edge off what is worse."""
    if request.stage == "downgrade" and (notice or not _fell(request)):
        return "update"
    return request.stage


def _fell(request: ScriptRequest) -> bool:
    worst = request.was or Colour.RED
    return request.colour is not None and request.colour.rank > worst.rank


def _own(lines: Mapping[str, str], stage: Stage) -> str:
    return lines.get(stage, "" if stage == "cancel" else lines.get("", ""))


def _bare(line: str, request: ScriptRequest) -> str:
    """The form of a line for a warning without a colour."""
    return line if request.colour else line.replace("{colour}", "")


def _action(
    request: ScriptRequest, templates: Templates, chosen: HazardTemplate
) -> tuple[str, tuple[str, ...]]:
    if request.stage == "cancel":
        if chosen.clear:
            return chosen.clear, ()
        if request.hazard in templates.dangerous_after:
            return templates.all_clear_action, templates.all_clear_more
        return templates.calm_action, templates.calm_more
    colour = request.colour or Colour.ORANGE
    return chosen.actions[colour], chosen.severe if colour.rank <= 2 else chosen.mild


def _places_of_the_lead(
    request: ScriptRequest, templates: Templates, attention: str, lead: str, action: str
) -> tuple[str, ...]:
    """As many names, at most two, as leave the action within ten seconds. None where even one is too long:
    the loudspeaker stands in one of them, and all are named right after who speaks."""
    each = _each(request.places)
    slots = _mandarin_slots(request, templates)
    for count in range(min(_LEAD_PLACES, len(each)), 0, -1):
        filled = lead.format(**slots | {"places": _listed(each, count, len(each))})
        if seconds([attention, filled, action]) <= ACTION_WITHIN_S:
            return tuple(each[:count])
    return ()


def seconds(sentences: Sequence[str]) -> float:
    """How long Mandarin sentences take to say, in seconds, at the measured pace."""
    syllables = sum(
        len(re.findall("[\u3400-\u9fff]", s)) + sum(2 * len(n) - 1 for n in re.findall(r"\d+", s))
        for s in sentences
    )
    return syllables * SECONDS_PER_SYLLABLE + (len(sentences) - 1) * SECONDS_BETWEEN


def _mandarin_slots(request: ScriptRequest, templates: Templates) -> dict[str, str]:
    return {
        "event": _event(request),
        "colour": templates.colours[request.colour] if request.colour else "",
        "was": templates.colours[request.was] if request.was else "",
        "issuer": tidy(request.issuer),
    }


def _event(request: ScriptRequest) -> str:
    event = re.sub(r"(?:风险)?预警(?:信号)?$|(?<=.)(?:事件|灾害)$", "", tidy(request.event))
    return event if 0 < len(event) <= _MAX_EVENT else hazards.by_key(request.hazard).zh


class _Words:
    """An outline's sentences in one language; what it lacks is collected in `missing` and `left`."""

    def __init__(self, request: ScriptRequest, templates: Templates, places: tuple[str, ...]) -> None:
        self._request = request
        self._templates = templates
        self._places = places
        self._language = language(templates.language)
        self.missing: list[str] = []
        self.left: list[str] = []

    def say(self, item: _Item) -> list[Said]:
        """The sentence, or none: then it is told why."""
        if item.free:
            return self._free(item.free)
        text, why = self._templates.say(item.line, self._request.kind)
        slots = tuple(self._slot(name, item.role) for name in slots_of(item.line)) if not why else ()
        if why and item.role in WAIVED:
            self.left.append(why)
        elif why:
            self.missing.append(why)
        if why or any(slot is None for slot in slots):
            return []
        kept = tuple(slot for slot in slots if slot is not None)
        filled = text.format(**{slot.name: slot.said for slot in kept})
        canonical = item.line
        if item.role is Role.ACTION:
            kept = (*kept, Slot("action", canonical, filled))
        return [Said(filled, item.role, canonical, kept)]

    def _free(self, sentence: str) -> list[Said]:
        found = amounts(sentence)
        if self._templates.language == MANDARIN:
            return [Said(sentence, Role.FREE, "", tuple(Slot("amount", a.value, "") for a in found))]
        self.left.append(f"the source's own words: {sentence}")
        out = []
        for amount in found:
            text, why = self._templates.say(amount.line, self._request.kind)
            if why:
                self.left.append(why)
            else:
                filled = text.format(**dict(amount.values))
                out.append(Said(filled, Role.AMOUNT, amount.line, (Slot("amount", amount.value, ""),)))
        return out

    def _slot(self, name: str, role: Role) -> Slot | None:
        request, templates = self._request, self._templates
        match name:
            case "places":
                each = _each(request.places)
                if role is Role.PLACES:
                    return self._list(tuple(_tidied(request.places)[:_MAX_PLACES]), len(each), ())
                return self._list(self._places, len(each), (templates.anywhere,))
            case "issuer":
                return self._word(name, tidy(request.issuer), tidy(request.issuer))
            case "event":
                named = _event(request)
                if self._templates.language != MANDARIN and not self._templates.say(named, request.kind)[0]:
                    named = hazards.by_key(request.hazard).zh
                return self._word(name, named, request.hazard)
            case "colour" | "was":
                colour = request.colour if name == "colour" else request.was
                return self._word(name, templates.colours[colour], colour.value) if colour else None
            case "issued" | "onset" | "expires":
                return self._time(name, getattr(request, name))
        raise ScriptError(f"slot {{{name}}} stands in a line that cannot have it; mend the templates")

    def _word(self, slot: str, zh: str, value: str) -> Slot | None:
        if self._templates.language == MANDARIN:
            return Slot(slot, value, self._templates.book.text(zh, self._request.kind)[0] or zh)
        said, why = self._templates.say(zh, self._request.kind)
        if why:
            self.missing.append(why)
            return None
        return Slot(slot, value, said)

    def _place(self, zh: str) -> Slot | None:
        """A name as it stands in the book; or 大川镇老庄村 as the township's and the village's."""
        if self._templates.language != MANDARIN and not self._templates.say(zh, self._request.kind)[0]:
            for cut in range(len(zh) - 1, 0, -1):
                parts = [self._templates.say(part, self._request.kind)[0] for part in (zh[:cut], zh[cut:])]
                if all(parts):
                    return Slot("places", zh, " ".join(parts))
        return self._word("places", zh, zh)

    def _list(self, names: tuple[str, ...], count: int, otherwise: tuple[str, ...]) -> Slot | None:
        """Names, and of how many places in all where these are not all of them."""
        value = "、".join(names) + (f" of {count}" if names and len(_each(names)) < count else "")
        words = [self._place(one) for name in names or otherwise for one in name.split("、")]
        said = self._language.comma.join(word.said for word in words if word is not None)
        if any(word is None for word in words):
            return None
        if names and len(_each(names)) < count:
            many, why = self._templates.say(self._templates.many, self._request.kind)
            if why:
                self.missing.append(why)
                return None
            said = many.format(places=said, count=count)
        return Slot("places", value, said)

    def _time(self, name: str, moment: datetime | None) -> Slot | None:
        assert moment is not None, "the outline has this line only where there is a time"
        local = moment.astimezone(BEIJING)
        line = self._templates.minute if local.minute else self._templates.hour
        text, why = self._templates.say(line, self._request.kind)
        if why:
            self.missing.append(why)
            return None
        said = text.format(month=local.month, day=local.day, hour=local.hour, minute=local.minute)
        return Slot(name, local.replace(second=0, microsecond=0).isoformat(timespec="minutes"), said)


def _tidied(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, map(tidy, names))))


def _each(names: Sequence[str]) -> list[str]:
    """What a listener counts as a place: one name may hold several villages of a township. Counted as one, a
    lead of three villages "等3个地方" would tell all others that they are not meant."""
    return [place for name in _tidied(names) for place in name.split("、")]


def _listed(names: Sequence[str], limit: int, count: int) -> str:
    """The first `limit` of `names`, and of how many places in all where that is not all of them."""
    shown = "、".join(names[:limit])
    return f"{shown}等{count}个地方" if len(names) > limit else shown


def spoken_time(moment: datetime) -> str:
    """北京时间 as it is written in a notice: ``7月15日20时30分``, without zero minutes. 0 o'clock is 0时."""
    local = moment.astimezone(BEIJING)
    minutes = f"{local.minute}分" if local.minute else ""
    return f"{local.month}月{local.day}日{local.hour}时{minutes}"
