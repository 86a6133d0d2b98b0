"""One weather warning of a mainland list, whatever source brought it: verbs, issuer, area, colour, and the
Alert that they make (`feeds.md` §5).

The mirrors rewrite the same warnings, each with its own numbers for kind and level. The name is believed over
the number, a contradiction is resolved by nobody, and what follows from words is noted as inferred.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from alerts import hazards
from alerts.formats import fields
from alerts.formats.fields import Notes, shown
from alerts.formats.rows import chinese, kind_of, moment
from alerts.model import (
    Alert,
    AlertError,
    Area,
    Certainty,
    Colour,
    Info,
    MsgType,
    Polygon,
    Reference,
    RegionCode,
    Ring,
    Scope,
    Severity,
    Status,
    Urgency,
)

if TYPE_CHECKING:
    from alerts.formats import Reading

NATIONAL: Final = re.compile(r"[0-9]{14}_[0-9]{14}(?:_[0-9]+)?")
"""The identifier that ties the public mirrors together (`feeds.md` §0)."""
SEVERITY: Final[Mapping[Colour | None, Severity]] = {
    Colour.RED: Severity.EXTREME,
    Colour.ORANGE: Severity.SEVERE,
    Colour.YELLOW: Severity.MODERATE,
    Colour.BLUE: Severity.MINOR,
    None: Severity.UNKNOWN,
}
"""Of a mainland signal colour (`feeds.md` §5.1)."""

# --- verbs, urgency, certainty -------------------------------------------------------------------------

_WARNING: Final = r"(?:预警|警报|信号|警告)"
_LIFT: Final = re.compile(
    rf"(?<![未不])(?:解除|取消|撤销|撤消|终止|停止发布)(?=[^，,；;。]{{0,40}}?{_WARNING})"
    rf"|{_WARNING}[^，,；;。未不前请]{{0,8}}?(?:解除|取消|撤销|撤消|终止|失效)(?![之以]?前|时间)"
    r"|\b(?:lift|cancel|remov|clear|reliev|withdraw|terminat)(?:e?s|e?d|led|ing|n|e)?\b"
    r"(?=[^.]{0,60}\b(?:warning|alert|signal|advisory|watch))",
    re.IGNORECASE,
)
_ISSUE: Final = re.compile(
    r"(?:发布|变更|更新|升级|降级|调整|改发|转为)(?!的|时)|\b(?:issu|upgrad|downgrad)(?:es|ing)\b",
    re.IGNORECASE,
)
_GO_ON: Final = re.compile(
    r"(?:继续|再次|延续|延长|变更|更新|升级|降级|续发|确认|维持|调整)(?:发布|生效|维持)?(?=[^，,；;。]{0,30}?"
    rf"{_WARNING})|{_WARNING}[^，,；;。]{{0,6}}?(?:更新|变更|升级|降级|调整|提升|降低)为"
    r"|\b(?:updat|upgrad|downgrad|continu|extend|renew)(?:es?|ed|ing|s)?\b",
    re.IGNORECASE,
)
_FIRST: Final = re.compile(r"首次发布|发布|\bissu(?:es?|ed)\b", re.IGNORECASE)
_LEAD: Final = re.compile(r"(?<![0-9])[:：]|[:：](?![0-9])|[。\n]")


def verb(text: str) -> MsgType | None:
    """What the sentence that opens a Chinese or English warning does (`feeds.md` §5.3); None if it does
    not say.

    What lifts one warning and issues another in the same sentence is an Update.
    """
    lead = _LEAD.split(text.strip()[:400], maxsplit=1)[0][:150]
    if lifted := _LIFT.search(lead):
        return MsgType.UPDATE if _issues_anew(lead[lifted.end() :]) else MsgType.CANCEL
    if _GO_ON.search(lead) or re.search(rf"{_WARNING}(?:更新|变更|升级|降级|调整)为", text[:1000]):
        return MsgType.UPDATE
    return MsgType.ALERT if _FIRST.search(lead) else None


def _issues_anew(rest: str) -> bool:
    """Whether what follows 解除 issues another warning; "09时40分发布的" only says which one is lifted."""
    return any(
        re.search("[并同，,；;]", rest[: match.start()]) or not re.search("[分时日]$", rest[: match.start()])
        for match in _ISSUE.finditer(rest)
    )


_HOURS: Final = re.compile(
    r"(?:未来|今后|接下来|未来的)\s*([0-9]{1,3}|[一二两三四五六七八九十]{1,3})(?:\s*[-~～—至到]\s*(?:[0-9]{1,3}))?\s*个?小时"
    r"|(?<![0-9去])([0-9]{1,3}|[一二两三四五六七八九十]{1,3})\s*个?小时(?:之|以)?内"
)
_NOW: Final = re.compile(
    r"(?<![或])(?<!或者)已(?:经)?(?:出现|发生|达|受|降|超过|导致|造成)|正在|目前.{0,12}出现|实测"
)
_CHINESE_NUMBERS: Final = dict(zip("一二两三四五六七八九十", (1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10), strict=True))


def urgency(text: str) -> Urgency:
    """From the words of a Chinese text, not from its colour (`feeds.md` §5.2)."""
    if _NOW.search(text):
        return Urgency.IMMEDIATE
    match = _HOURS.search(text)
    if match is None:
        return Urgency.UNKNOWN
    said = match[1] or match[2]
    hours = int(said) if said.isascii() else _CHINESE_NUMBERS[said[0]] + (10 if len(said) > 1 else 0)
    return Urgency.EXPECTED if hours <= 6 else Urgency.FUTURE


def certainty(text: str) -> Certainty:
    """From the words of a Chinese text (`feeds.md` §5.2)."""
    if _NOW.search(text):
        return Certainty.OBSERVED
    if "预计" in text:
        return Certainty.LIKELY
    return Certainty.POSSIBLE if "可能" in text else Certainty.UNKNOWN


# --- one weather warning -------------------------------------------------------------------------------

_ISSUER: Final = re.compile(
    r"(?P<who>[一-鿿（）()、]{2,60}?)(?:于|在)?(?:(?:[0-9]{4}年)?(?:[0-9]{1,2}月)?[0-9]{1,2}日[0-9时分:：]*)?"
    r"(?:联合|再次|首次)?(?:继续发布|发布|解除|取消|撤销|终止|变更|更新|升级|降级|续发|延长|延续|确认|继续)"
)
_AGENCY: Final = re.compile(r"(?:台|局|中心|厅|委员会|委|站|部|指挥部|办公室)$")


def issuer(*texts: str) -> str:
    """Who speaks, from the words before the verb; an agency before a bare place; empty if nobody."""
    found = [match["who"] for text in texts if (match := _ISSUER.match(text.strip()[:120]))]
    return next((who for who in found if _AGENCY.search(who)), found[0] if found else "")


def seat(sender: str) -> str:
    """The place in an agency's name (舟曲县气象台 → 舟曲县), for people to read."""
    return re.sub("(?:中心)?气象[台局](?:中心台)?$", "", sender)


def national(text: str) -> str:
    """The national identifier that `text` is or ends with (``ALERT_CN_…``, an address); else empty."""
    match = re.search(rf"(?<![0-9])({NATIONAL.pattern})(?![0-9])", text)
    return match[1] if match else ""


def entered(identifier: str, where: str, notes: Notes) -> datetime | None:
    """The entry time inside a national identifier (Beijing), None if there is none or no time."""
    if not NATIONAL.fullmatch(identifier):
        return None
    try:
        return moment(identifier[15:29], where, notes)
    except AlertError as error:
        notes.remark(f"{error}; left out")
        return None


def codes(
    values: Iterable[tuple[str, str]], identifier: str, reading: Reading, notes: Notes
) -> tuple[RegionCode, ...]:
    """Division codes of (where, digits); without a usable one that of the issuer, which the first six
    digits of a national identifier name: a text may mean less than the whole of it."""
    found = []
    for where, digits in values:
        if not digits:
            continue
        try:
            found.append(fields.region_code(digits, reading.scheme, where))
        except AlertError as error:
            notes.damaged(error)
    if not found and (own := _issuer_code(identifier, reading, notes)):
        notes.inferred.append("area (the issuer's own, from the identifier; the text may mean less)")
        found.append(own)
    return tuple(dict.fromkeys(found))


def _issuer_code(identifier: str, reading: Reading, notes: Notes) -> RegionCode | None:
    if not NATIONAL.fullmatch(identifier):
        return None
    try:
        return fields.region_code(identifier[:6], reading.scheme, "identifier")
    except AlertError as error:
        notes.remark(f"{error}; left out")
        return None


def outline(value: Any, where: str, notes: Notes) -> tuple[Polygon, ...]:
    """GeoJSON coordinates (lon, lat) of a polygon or several, as (lat, lon). What is broken is damage."""
    found: list[Polygon] = []
    for number, rings in enumerate(_polygons(value)):
        try:
            closed = [fields.ring(_ring(ring, where), f"{where}[{number}]", notes) for ring in rings]
        except AlertError as error:
            notes.damaged(error)
            continue
        found.append(Polygon(closed[0], tuple(closed[1:])))
    if value and not found:
        notes.damaged(f"{where}: holds no polygon that can be read")
    return tuple(found)


def _polygons(value: Any) -> list[list[Any]]:
    """Levels of GeoJSON: a polygon is a list of rings, a multipolygon a list of those."""

    def level(item: Any) -> int:
        deep = 0
        while isinstance(item, list) and item and deep < 6:
            item, deep = item[0], deep + 1
        return deep if isinstance(item, (int, float)) else 0

    match level(value):
        case 2:
            return [[value]]
        case 3:
            return [value]
        case 4:
            return [rings for rings in value if isinstance(rings, list) and rings]
        case _:
            return []


def _ring(value: Any, where: str) -> Ring:
    if not isinstance(value, list):
        raise AlertError(where, f"is {kind_of(value)}, not a ring of points")
    if len(value) > fields.MAX_VERTICES:
        raise AlertError(where, f"{len(value):,} points; the limit is {fields.MAX_VERTICES:,}")
    points = []
    for pair in value:
        match pair:
            case [int() | float() as lon, int() | float() as lat, *_]:
                if not (-90 <= lat <= 90 and -180 <= lon <= 180):
                    raise AlertError(where, f"{shown(str(pair))} is not a lon,lat pair")
                points.append((float(lat), float(lon)))
            case _:
                raise AlertError(where, f"{shown(str(pair))} is not a lon,lat pair")
    return tuple(points)


def area(
    name: str,
    found: tuple[RegionCode, ...],
    where: str,
    notes: Notes,
    *,
    shape: Any = None,
    other: tuple[tuple[str, str], ...] = (),
) -> Area:
    """An area by its codes; by its outline, `shape` in GeoJSON coordinates, only where there is no code.

    The mirrors draw the issuer's own division again, in a datum that they do not name (WGS-84 or GCJ-02,
    0.7 km apart at most: `geo.md` §2). United with the code of a neighbour, such an outline would reach
    over the border; as a limit, it would cut off those who live at it. So a code stands alone.
    """
    if not shape:
        return Area(name, found, other_codes=other)
    if found:
        notes.remark(
            f"{where}: the outline, its datum unknown, is not used beside the code: it draws "
            "the same division, up to 0.7 km off"
        )
        return Area(name, found, other_codes=other)
    notes.remark(f"{where}: no code, so the outline counts; its datum is unknown, it may be 0.7 km off")
    return Area(name, found, outline(shape, where, notes), other_codes=other)


def agreed(where: str, notes: Notes, **said: Colour | None) -> Colour | None:
    """The one colour that is said; several are a contradiction that nobody may resolve by rule."""
    colours = {colour for colour in said.values() if colour is not None}
    if len(colours) > 1:
        told = ", ".join(f"{name} {colour}" for name, colour in said.items() if colour is not None)
        notes.damaged(f"{where}: colours disagree ({told}); taken as none")
        return None
    return next(iter(colours), None)


def hazard(text: str, code: str, known_as: str, where: str, notes: Notes) -> hazards.Hazard:
    """By the name in `text`; else by the national `code`, else by what the source's own type number stands
    for (`known_as`). The name is believed over a number (`feeds.md` §5.4)."""
    found = hazards.find(text, code)
    numbered = hazards.find(known_as).hazard if known_as else hazards.UNKNOWN
    if found.hazard is hazards.UNKNOWN and numbered is not hazards.UNKNOWN:
        notes.remark(f"{where}: no hazard name known in the text; took {numbered.zh} from the type number")
        return numbered
    if found.remark:
        notes.remark(f"{where}: {found.remark}")
    elif numbered not in (hazards.UNKNOWN, found.hazard):
        notes.remark(
            f"{where}: the type number means {numbered.zh}, the text {found.hazard.zh}; believed the text"
        )
    return found.hazard


def language(*texts: str) -> str:
    """``zh-CN`` or ``en``, by the letters of the first text that has any."""
    said = next((text for text in texts if text), "")
    return "zh-CN" if not said or chinese(said) else "en"


def warning(
    *,
    format_name: str,
    where: str,
    notes: Notes,
    identifier: str,
    sender: str,
    sent: datetime,
    headline: str,
    description: str,
    areas: tuple[Area, ...],
    colours: Mapping[str, Colour | None],
    instruction: str = "",
    code: str = "",
    known_as: str = "",
    said_type: MsgType | None = None,
    references: tuple[Reference, ...] = (),
    effective: datetime | None = None,
    expires: datetime | None = None,
    pale: bool = False,
    web: str = "",
    parameters: Iterable[tuple[str, str]] = (),
) -> Alert:
    """A warning of a mainland list: one Chinese account, type by the source's field or the verbs, severity
    by the colour, urgency and certainty by the words.

    `colours`: what each place of the row says. `pale`: the source's number says white. Raises AlertError
    where nothing is said at all.
    """
    if not (headline or description):
        raise AlertError(where, "has neither title nor text: nothing to say")
    msg_type = _msg_type(headline, description, said_type, where, notes)
    found = hazard(headline or description, code, known_as, where, notes)
    if pale or fields.white(headline):
        colour = None
        notes.remark(f"{where}: a white signal, which informs and warns nobody")
        severity, when, sure = Severity.MINOR, Urgency.FUTURE, Certainty.UNKNOWN
    else:
        spoken = fields.colour_of((), (headline,) if headline else (description,), where, notes)
        colour = agreed(where, notes, title=spoken, **colours)
        severity, when, sure = SEVERITY[colour], urgency(description), certainty(description)
    if msg_type is MsgType.CANCEL:
        when = Urgency.PAST
    notes.inferred.append(f"{where} status and scope (Actual and Public: this source has no other)")
    for name, value in (("urgency", when), ("certainty", sure)):
        if value != "Unknown":
            notes.inferred.append(f"{where} {name} ({value}, from the words)")
    if not references and msg_type is not MsgType.ALERT:
        notes.remark(
            f"{where}: an {msg_type} that does not say of what; issuer, kind and area must find its event"
        )
    if expires is not None and expires <= sent:
        notes.remark(f"{where}: ends {expires.isoformat()}, not after it was sent; taken as no end")
        expires = None
    if not sender:
        sender = format_name
        notes.inferred.append(f"{where} sender ({format_name}: the text names no agency)")
    return Alert(
        identifier=identifier,
        sender=sender,
        sent=sent,
        status=Status.ACTUAL,
        msg_type=msg_type,
        scope=Scope.PUBLIC,
        infos=(
            Info(
                language="zh-CN",
                event=found.zh if found is not hazards.UNKNOWN else headline or description[:60],
                hazard=found.key,
                severity=severity,
                urgency=when,
                certainty=sure,
                colour=colour,
                headline=headline,
                description=description,
                instruction=instruction,
                effective=effective,
                expires=expires,
                web=web,
                areas=areas,
                parameters=tuple((name, value) for name, value in parameters if value),
            ),
        ),
        references=tuple(item for item in references if item.identifier != identifier),
        format=format_name,
    )


def _msg_type(headline: str, description: str, said: MsgType | None, where: str, notes: Notes) -> MsgType:
    """The mirrors' titles say 发布 of an Update and of a 解除 too (`feeds.md` §2.4): the stronger of title
    and text counts, and the source's own field unless the words end what it still calls a warning."""
    titled, told = verb(headline), verb(description)
    order = (MsgType.CANCEL, MsgType.UPDATE, MsgType.ALERT)
    worded = next((kind for kind in order if kind in (titled, told)), None)
    if titled is MsgType.UPDATE and told is MsgType.CANCEL:
        worded = MsgType.UPDATE
    if said is None:
        notes.inferred.append(f"{where} type ({worded or MsgType.ALERT}, from the words)")
        return worded or MsgType.ALERT
    if worded is not None and worded is not said:
        notes.damaged(f"{where}: the field says {said}, the words {worded}")
        if worded is MsgType.CANCEL or (said is MsgType.ALERT and worded is MsgType.UPDATE):
            return worded
    return said


def msg_type_of(text: str, where: str, notes: Notes) -> MsgType | None:
    """A type field such as ``Update``, ``active`` or ``cancel``; None where there is none or it is new."""
    known = {
        "alert": MsgType.ALERT, "active": MsgType.ALERT, "new": MsgType.ALERT, "发布": MsgType.ALERT,
        "update": MsgType.UPDATE, "更新": MsgType.UPDATE, "续发": MsgType.UPDATE,
        "cancel": MsgType.CANCEL, "cancelled": MsgType.CANCEL, "解除": MsgType.CANCEL,
    }  # fmt: skip
    found = known.get(text.strip().casefold())
    if text and found is None:
        notes.remark(f"{where} {shown(text)} is not a known type; the words decide")
    return found
