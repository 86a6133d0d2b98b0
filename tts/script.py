"""What is said: an alert's facts and reviewed templates → short sentences, the action first.

Pure. Order (the project's own choice):
attention, danger and place, the one thing to do (within ten seconds), who says so and when, what is
expected, until when, what else to do, and the danger and the action once more.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from string import Formatter
from typing import Any, Final

from alerts import hazards
from alerts.model import Colour
from tts.voice import Kind, Stage

BEIJING: Final = timezone(timedelta(hours=8))
"""China has had one time and no summer time since 1991; needs no tz database."""
MAX_DESCRIPTION: Final = 120
"""Characters of the source's own text that are spoken; the rest is listed in `Script.omitted`."""
MAX_INSTRUCTION: Final = 90
MAX_SENTENCE: Final = 60
_LEAD_PLACES: Final = 2
_MAX_PLACES: Final = 30

_SLOTS: Final = frozenset(
    {"places", "event", "colour", "issuer", "issued", "onset", "expires", "action", "lead"}
)


class ScriptError(Exception):
    """Nothing can be composed: templates or request are wrong; says where and what to do."""


@dataclass(frozen=True, slots=True)
class HazardTemplate:
    """One hazard's sentences: `actions` by colour; `severe` go with red and orange, `mild` with the rest."""

    actions: Mapping[Colour, str]
    severe: tuple[str, ...]
    mild: tuple[str, ...]
    lead: str = ""
    cancel_lead: str = ""
    source: str = ""
    cancel_source: str = ""


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
class Templates:
    """One language's templates, checked by `parse_templates`."""

    id: str
    version: str
    language: str
    anywhere: str
    colours: Mapping[Colour, str]
    frames: Mapping[str, Frame]
    test: tuple[str, ...]
    stages: Mapping[str, StageTemplate]
    all_clear_action: str
    all_clear_more: tuple[str, ...]
    calm_action: str
    calm_more: tuple[str, ...]
    dangerous_after: frozenset[str]
    places: str
    onset: str
    expires: str
    again: str
    hazards: Mapping[str, HazardTemplate]

    def hazard(self, key: str) -> HazardTemplate:
        """The template of a hazard; the generic one where it has none of its own."""
        return self.hazards.get(key, self.hazards["generic"])

    def fixed_sentences(self, keys: Sequence[str]) -> tuple[str, ...]:
        """Slotless sentences that messages about these hazards will need: worth speaking beforehand."""
        out = [frame.attention for frame in self.frames.values()]
        out += [text for frame in self.frames.values() for text in (frame.opening, frame.closing) if text]
        out += [self.again, *(text for text in self.test if "{" not in text)]
        for key in keys:
            chosen = self.hazard(key)
            out += [*chosen.actions.values(), *chosen.severe, *chosen.mild]
        out += [self.all_clear_action, *self.all_clear_more, self.calm_action, *self.calm_more]
        return tuple(dict.fromkeys(out))


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

    def brief(self) -> Script:
        """The headline alone, rendered in a quarter of the time; the whole can follow it. Its sentences
        are those of the whole, so the voice speaks them once."""
        return replace(self, sentences=self.headline, text="".join(self.headline))


def compose(request: ScriptRequest, templates: Templates) -> Script:
    """The script of `request`. Raises ScriptError for another language than the templates', a naive time
    or an empty issuer. An exercise says so at both ends; a test names neither hazard nor action."""
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
    sentences, headline, omitted = (_test if request.kind == "test" else _warning)(request, templates)
    return Script(
        language=templates.language,
        sentences=tuple(sentences),
        text="".join(sentences),
        template=templates.id,
        version=templates.version,
        headline=tuple(headline),
        omitted=tuple(omitted),
    )


def _test(request: ScriptRequest, templates: Templates) -> tuple[list[str], list[str], list[str]]:
    slots = _slots(request, templates)
    said = [text.format(**slots) for text in templates.test]
    return said, said, []


def _warning(request: ScriptRequest, templates: Templates) -> tuple[list[str], list[str], list[str]]:
    frame = templates.frames[request.kind]
    stage = templates.stages[request.stage]
    chosen = templates.hazard(request.hazard)
    slots = _slots(request, templates)
    over = request.stage == "cancel"
    lead = ((chosen.cancel_lead if over else chosen.lead) or stage.lead).format(**slots)
    source = ((chosen.cancel_source if over else chosen.source) or stage.source).format(**slots)
    action, more = _action(request, templates, chosen)

    free, omitted = _limited(clean(request.description, request.instruction), MAX_DESCRIPTION)
    told, left = _limited(clean(request.instruction), MAX_INSTRUCTION)
    if over:  # A Cancel often repeats the warning's orders: "move at once" must not follow "it is over".
        told, left = [], [*told, *left]
    omitted += left
    body = [source]
    if (count := len(_each(request.places))) > _LEAD_PLACES:
        listed = _listed(_tidied(request.places), _MAX_PLACES, count)
        body.append(templates.places.format(**{**slots, "places": listed}))
    body += free
    if not over:
        if request.onset and request.onset > request.issued + timedelta(minutes=30):
            body.append(templates.onset.format(**slots))
        if request.expires:
            body.append(templates.expires.format(**slots))
    body += told
    closing = [frame.closing] if frame.closing else []
    headline = [*([frame.opening] if frame.opening else []), frame.attention, lead, action]
    if request.short:
        said = [*headline[:-1], *closing]
        return said, said, omitted
    said = list(headline)
    for sentence in [*body, *more]:
        if _key(sentence) not in {_key(s) for s in said}:
            said.append(sentence)
    # Word for word the same, so that the voice does not speak them a second time.
    said += [templates.again, lead, action]
    return [*said, *closing], [*headline, *closing], omitted


def _action(
    request: ScriptRequest, templates: Templates, chosen: HazardTemplate
) -> tuple[str, tuple[str, ...]]:
    if request.stage == "cancel":
        if request.hazard in templates.dangerous_after:
            return templates.all_clear_action, templates.all_clear_more
        return templates.calm_action, templates.calm_more
    colour = request.colour or Colour.ORANGE
    return chosen.actions[colour], chosen.severe if colour.rank <= 2 else chosen.mild


def _slots(request: ScriptRequest, templates: Templates) -> dict[str, str]:
    event = re.sub(r"(?:风险)?预警(?:信号)?$|(?<=.)(?:事件|灾害)$", "", _tidy(request.event))
    each = _each(request.places)
    return {
        "places": _listed(each, _LEAD_PLACES, len(each)) or templates.anywhere,
        "event": event or hazards.by_key(request.hazard).zh,
        "colour": templates.colours[request.colour] if request.colour else "",
        "issuer": _tidy(request.issuer),
        "issued": spoken_time(request.issued),
        "onset": spoken_time(request.onset) if request.onset else "",
        "expires": spoken_time(request.expires) if request.expires else "",
    }


def _tidied(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, map(_tidy, names))))


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


_INLINE_TAGS: Final = re.compile(r"</?(?:b|i|u|em|strong|font|span|a|small|big|sub|sup)(?:\s[^<>]*)?>", re.I)
_TAGS: Final = re.compile(r"<(?:script|style)\b.*?</(?:script|style)\s*>|<!--.*?-->|<[^<>]*>", re.I | re.S)
_URL: Final = re.compile(
    r"(?:https?://|www\.)[^\s\u3000-\u9fff，。；、）】]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+", re.I
)
_SOURCE: Final = re.compile(
    r"[（(【\[]?\s*(?:预警)?(?:信息|消息|数据)?来源\s*[：:][^）)】\]。；\n]*(?:[）)】\]]|(?=[。；\n])|$)"
)
_LEVEL: Final = re.compile(r"[\[［【(（]\s*[IVⅠⅡⅢⅣ]{1,3}\s*级?\s*/[^\]］】)）]*[\]］】)）]")
_SMS: Final = re.compile(
    r"[（(]?(?:拒收|退订|回复?)\s*(?:请)?(?:回复?)?\s*[A-Za-z]{1,4}\d?(?:退订)?[）)]?[。.]?\s*$"
    r"|【[^】]{2,20}(?:局|台|办|部|厅|站|中心|府|委|预警|移动|联通|电信)】"
    r"|(?:点击|详情|查看)[^。；]{0,12}(?:链接|网址|公众号|详情)[^。；]*[：:]?\s*"
)
_GLUED: Final = re.compile(
    r"^[^。；！？\n]*?(?:发布|解除|取消)[^。；：！？\n]{0,40}?(?:预警|警报|提示)(?:信号|信息)?\s*[：:]\s*"
)
_STAMP: Final = re.compile(
    r"^[^。；，：\d]{2,30}?(?:\d{4}年)?\d{1,2}月\d{1,2}日\d{1,2}[时:：](?:\d{1,2}分?)?\s*(?=变更|更新|升级)"
)
_HEADLINE_ONLY: Final = re.compile(r"^[^。，；]*(?:发布|解除|取消)[^。，；]*(?:预警|警报)(?:信号)?[。！]?$")
_LABEL: Final = re.compile(r"^(?:防御指南|防范建议|防御措施|防范措施|温馨提示|建议)\s*[：:]\s*")
_NUMBERING: Final = re.compile(
    r"^\s*(?:[（(]?\d{1,2}\s*[）)]|\d{1,2}\s*[、．.](?!\d)|[①-⑳]|[一二三四五六七八九十]是)\s*"
)
_EMPTY_PHRASES: Final = frozenset(
    {"请注意防范", "请注意", "请做好防范", "请加强防范", "请有关单位和人员做好防范准备", "特此通知", "详情见"}
)


def clean(text: str, instruction: str = "") -> list[str]:
    """Free text of a source as sentences fit to be said.

    Out go markup, entities, addresses, SMS tails, level brackets, the note of origin, a headline glued in
    front, labels and list numbers, empty phrases, and what `instruction` or an earlier sentence says
    already. Words of substance stay as they are.
    """
    plain = html.unescape(html.unescape(text))
    plain = _TAGS.sub("\n", _INLINE_TAGS.sub("", plain))
    for pattern in (_URL, _SOURCE, _LEVEL, _SMS):
        plain = pattern.sub("", plain)
    plain = _tidy(plain, keep_breaks=True)
    while (cut := _GLUED.sub("", plain, count=1)) != plain:
        plain = cut
    plain = _STAMP.sub("", plain)
    later = {_key(s) for s in clean(instruction)} if instruction else set()
    out: list[str] = []
    seen: set[str] = set()
    for raw in _split(plain):
        sentence = _NUMBERING.sub("", _LABEL.sub("", _NUMBERING.sub("", raw)))
        key = _key(sentence)
        if (
            len(key) < 2
            or key in _EMPTY_PHRASES
            or key in seen
            or key in later
            or _HEADLINE_ONLY.match(sentence)
        ):
            continue
        seen.add(key)
        out.append(sentence)
    return out


def _tidy(text: str, *, keep_breaks: bool = False) -> str:
    """Without control characters, emoji and doubled blanks."""
    kept = "".join(c for c in text if c.isprintable() or c == "\n")
    kept = re.sub(
        "[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f\u200b-\u200f\ufeff*#|_~^`\\\\]+", _keep_tilde, kept
    )
    kept = re.sub(r"[ \t\u3000\xa0]+", " ", kept)
    kept = re.sub(r"(?<=[^\x00-\x7f]) | (?=[^\x00-\x7f])", "", kept)
    return re.sub(r"\s*\n\s*", "\n" if keep_breaks else "", kept).strip()


def _keep_tilde(m: re.Match[str]) -> str:
    return "~" if m[0] == "~" else ""


def _split(text: str) -> list[str]:
    """Sentences, each ending in 。！？; over-long ones are cut at a comma."""
    out: list[str] = []
    for part in re.findall(r"[^。！？!?；;\n]+[。！？!?；;]?", text):
        sentence = part.strip(" ，,、：:；;")
        while len(sentence) > MAX_SENTENCE:
            cut = max(sentence.rfind(c, 0, MAX_SENTENCE) for c in "，,、：")
            if cut < 10:
                break
            out.append(sentence[:cut].rstrip("，,、：") + "，")
            sentence = sentence[cut + 1 :]
        if _key(sentence):
            out.append(sentence if sentence[-1] in "。！？!?" else sentence + "。")
    return out


def _limited(sentences: list[str], limit: int) -> tuple[list[str], list[str]]:
    """The first sentences up to `limit` characters (always the first), and the rest."""
    total = 0
    for index, sentence in enumerate(sentences):
        total += len(sentence)
        if index and total > limit:
            return sentences[:index], sentences[index:]
    return sentences, []


def _key(sentence: str) -> str:
    return re.sub(r"[\W_]+", "", sentence)


def parse_templates(data: Mapping[str, Any], *, where: str) -> Templates:
    """Checked templates from a parsed file. Raises ScriptError naming the key that is missing or wrong."""
    try:
        shared = Templates(
            id=str(data["id"]),
            version=str(data["version"]),
            language=str(data["language"]),
            anywhere=str(data["anywhere"]),
            colours={Colour(k): str(v) for k, v in data["colours"].items()},
            frames={kind: Frame(**data["frame"][kind]) for kind in ("actual", "exercise")},
            test=tuple(data["test"]["sentences"]),
            stages={
                stage: StageTemplate(data["stage"][stage]["lead"], data["stage"][stage]["source"])
                for stage in ("first", "update", "continuation", "cancel")
            },
            all_clear_action=data["stage"]["cancel"]["action"],
            all_clear_more=tuple(data["stage"]["cancel"]["more"]),
            calm_action=data["stage"]["cancel"]["calm_action"],
            calm_more=tuple(data["stage"]["cancel"]["calm_more"]),
            dangerous_after=frozenset(data["stage"]["cancel"]["dangerous_after"]),
            places=data["parts"]["places"],
            onset=data["parts"]["onset"],
            expires=data["parts"]["expires"],
            again=data["parts"]["again"],
            hazards=_hazards(data["hazards"]),
        )
    except KeyError as error:
        raise ScriptError(f"{where}: {error.args[0]} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ScriptError(f"{where}: {error}") from error
    known = {hazard.key for hazard in (*hazards.HAZARDS, hazards.UNKNOWN)} | {"generic"}
    for key in sorted({*shared.hazards, *shared.dangerous_after} - known):
        raise ScriptError(f"{where}: hazard {key} is not in the catalogue (alerts/hazards.py)")
    for text in _strings(data):
        for _, slot, _, _ in Formatter().parse(text):
            if slot is not None and slot not in _SLOTS:
                raise ScriptError(f"{where}: unknown slot {{{slot}}} in {text!r}; known: {sorted(_SLOTS)}")
    return shared


def _hazards(data: Mapping[str, Any]) -> dict[str, HazardTemplate]:
    out: dict[str, HazardTemplate] = {}
    for name, row in data.items():
        template = HazardTemplate(
            actions={colour: str(row[colour.value]) for colour in Colour},
            severe=tuple(row["severe"]),
            mild=tuple(row["mild"]),
            **{k: row[k] for k in ("lead", "cancel_lead", "source", "cancel_source") if k in row},
        )
        for key in row.get("keys", [name]):
            out[key] = template
    if "generic" not in out:
        raise KeyError("hazards.generic")
    return out


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [s for v in value.values() for s in _strings(v)]
    return [s for v in value for s in _strings(v)] if isinstance(value, list) else []
