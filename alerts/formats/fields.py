"""Field values as both formats write them: times, numbers, shapes, division codes, colours, enumerations.

Every function takes the element path for its AlertError, and notes what it had to mend in `Notes`.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from typing import Final, TypeVar

from alerts.formats.xml import Element
from alerts.model import AlertError, Circle, CodeScheme, Colour, Line, Polygon, RegionCode, Ring
from alerts.regions import strip_padding

BEIJING: Final = timezone(timedelta(hours=8))
MAX_VERTICES: Final = 100_000
"""Per polygon. `geo.md` §4 gives 10,000; a live NOAA warning of our corpus has one of 34,066."""

WIDEST_KM: Final = 3_000.0
"""Of a circle. The widest of a live warning in our corpus has 2,618 km (a storm over the Pacific); who writes
metres where CAP has kilometres is above that from 3 km on."""

MOST_NOTES: Final = 200
"""Of each kind. A document can be wrong in a hundred thousand places."""

_E = TypeVar("_E", bound=StrEnum)


@dataclass(slots=True)
class Notes:
    """What one document's reading had to say; becomes `remarks`, `inferred` and `damage` of the `Alert`."""

    remarks: list[str] = field(default_factory=list)
    inferred: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)

    def remark(self, text: str) -> None:
        self._add(self.remarks, text)

    def damaged(self, error: AlertError | str) -> None:
        """Part of the document cannot be used, and that may matter: the warning is held for a person."""
        self._add(self.damage, str(error))

    def _add(self, texts: list[str], text: str) -> None:
        if text in texts:
            return
        if len(texts) < MOST_NOTES:
            texts.append(text)
        elif len(texts) == MOST_NOTES:
            texts.append("and more of the kind, which nobody would read")


def shown(text: str, length: int = 60) -> str:
    """`text` for an error message: one line, not longer than `length`."""
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= length else flat[:length] + "…")


# --- texts ---------------------------------------------------------------------------------------------

_INLINE: Final = frozenset(("a", "b", "em", "font", "i", "small", "span", "strong", "sub", "sup", "u"))
_BLOCKS: Final = "br|p|div|li|ul|ol|tr|td|th|table|tbody|h[1-6]|hr|pre|center|blockquote"
_TAG: Final = re.compile(
    rf"<(/?)({'|'.join(sorted(_INLINE))}|{_BLOCKS}|img)(?:\s[^<>]{{0,500}})?/?>", re.IGNORECASE
)
_ESCAPED: Final = re.compile(r"&(?:lt|gt|amp|quot|apos|nbsp|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});")


_TITLES: Final = (
    "(?:签发人?|审签人?|审核人?|责任预报员|预报员|值班(?:预报)?员|值班人员?|联系人|编辑|制作人?|发布人)"
)
_NAME: Final = "[一-鿿·]{2,4}?"
_NAMED: Final = re.compile(
    rf"[（(\[【]?{_TITLES}\s*[:：]\s*{_NAME}(?:[、/ ]{_NAME})*"
    rf"(?=[\s，,。；;、）)\]】]|$|{_TITLES}\s*[:：])[）)\]】]?"
)


def without_names(text: str) -> str:
    """`text` without the officers who signed, forecast or answer for it (``签发：…``)."""
    return _NAMED.sub("", text)


def prose(element: Element | None, notes: Notes) -> str:
    """An element's words as a person would read them: paragraphs on lines of their own, without markup, be it
    elements (Taiwan's typhoons) or escaped HTML, and without entities that were escaped twice."""
    if element is None:
        return ""
    text = "".join(_words(element)).strip()
    if any(isinstance(part, Element) for part in element.content):
        notes.remark(f"{element.path} has elements inside; their words are kept")
    for _ in range(2):
        if not _ESCAPED.search(text):
            break
        notes.remark(f"{element.path} was escaped twice; read as it was meant")
        text = html.unescape(text)
    if _TAG.search(text):
        notes.remark(f"{element.path} has HTML inside, which is left out")
        text = _TAG.sub(lambda tag: "" if tag[2].casefold() in _INLINE else "\n", text)
    if (impersonal := without_names(text)) != text:
        notes.remark(f"{element.path} named a person; left out")
        text = impersonal
    if "\ufffd" in text:
        notes.remark(f"{element.path} has characters that were damaged before it came (U+FFFD)")
    return "\n".join(line for part in text.splitlines() if (line := part.strip()))


def line(element: Element | None, notes: Notes) -> str:
    """`prose` on one line: for headlines and names."""
    return " ".join(prose(element, notes).split())


def _words(element: Element) -> Iterator[str]:
    for part in element.content:
        if isinstance(part, str):
            yield part
        elif part.name.casefold() in _INLINE:
            yield from _words(part)
        else:
            yield "\n"
            yield from _words(part)
            yield "\n"


def only(parent: Element, name: str, notes: Notes) -> Element | None:
    """The child of that name. Of several that disagree the first is taken, and a person must look."""
    found = parent.all(name)
    if len({child.text for child in found}) > 1:
        notes.damaged(
            f"{parent.path}/{name}: is given {len(found)} times and they disagree; the first is taken"
        )
    return found[0] if found else None


def label(root: Element, name: str) -> str:
    """A header field, which says what the message is. Raises AlertError if it is given twice and differs."""
    values = {child.text for child in root.all(name)}
    if len(values) > 1:
        raise AlertError(
            f"{root.path}/{name}", f"is given {len(values)} times and they disagree", "send it once"
        )
    return next(iter(values), "")


# --- times ---------------------------------------------------------------------------------------------

_TIME: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]\s*([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]+)?)?"
    r"\s*(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)


def time(text: str, where: str, notes: Notes) -> datetime:
    """An aware time. No offset is taken as Beijing time and recorded as inferred.

    Raises AlertError for anything that is not a date and time between 1990 and 2100.
    """
    match = _TIME.fullmatch(text.strip().upper())  # RFC 3339 §5.6: t and z may be small
    if match is None:
        raise AlertError(where, f"{shown(text)} is not a time", "write 2026-07-15T06:30:00+08:00")
    *numbers, offset = match.groups()
    if offset is None:
        zone: timezone = BEIJING
        notes.inferred.append(f"{where} offset (none given, taken as +08:00 Beijing)")
    elif offset == "Z":
        zone = timezone.utc  # noqa: UP017  # named like BEIJING above
        notes.remark(f"{where} ends in Z, which CAP writes as -00:00")
    else:
        hours, minutes = int(offset[1:3]), int(offset[3:].removeprefix(":") or 0)
        if hours > 14 or minutes > 59:
            raise AlertError(where, f"{shown(text)} has an impossible offset", "Beijing is +08:00")
        sign = -1 if offset[0] == "-" else 1
        zone = timezone(sign * timedelta(hours=hours, minutes=minutes))
    year, month, day, hour, minute, second = (int(number or 0) for number in numbers)
    midnight = (hour, minute, second) == (24, 0, 0)  # XML Schema 1.1 §3.3.7: the end of that day
    try:
        when = datetime(year, month, day, 0 if midnight else hour, minute, second, tzinfo=zone)
        when += timedelta(days=midnight)
    except (ValueError, OverflowError) as error:
        raise AlertError(where, f"{shown(text)} is not a possible date and time") from error
    if not 1990 <= when.year <= 2100:
        raise AlertError(where, f"{shown(text)}: the year is not between 1990 and 2100")
    return when


def times(
    block: Element, sent: datetime, notes: Notes
) -> tuple[datetime | None, datetime | None, datetime | None]:
    """``effective``, ``onset`` and ``expires`` of an info. One that cannot be read counts as not given; of
    the end, that holds the warning."""
    found: list[datetime | None] = []
    for name in ("effective", "onset", "expires"):
        text = (child.text if (child := only(block, name, notes)) else "").strip()
        try:
            found.append(time(text, f"{block.path}/{name}", notes) if text else None)
        except AlertError as error:
            found.append(None)
            if name == "expires":
                notes.damaged(error)
            else:
                notes.remark(f"{error}; taken as not given")
    effective, onset, expires = found
    if expires is not None and expires <= max(when for when in (sent, onset) if when is not None):
        notes.remark(f"{block.path}/expires is not after it was sent or sets in")
    return effective, onset, expires


# --- enumerations --------------------------------------------------------------------------------------


def required(kind: type[_E], text: str, where: str) -> _E:
    """The member whose value is `text`; anything else, nothing included, is refused."""
    for member in kind:
        if member.value.casefold() == text.strip().casefold():
            return member
    allowed = ", ".join(kind)
    given = (
        f"{shown(text)} is not one of {allowed}"
        if text.strip()
        else f"is missing; one of {allowed} is needed"
    )
    raise AlertError(where, given, "an unlabelled warning is refused")


def optional(kind: type[_E], text: str, where: str, notes: Notes) -> _E:
    """Like `required`, but what is missing or not understood is ``Unknown``, with a remark if given."""
    aliases = {"very likely": "likely", "verylikely": "likely"}
    wanted = aliases.get(text.strip().casefold(), text.strip().casefold())
    for member in kind:
        if member.value.casefold() == wanted:
            return member
    if text.strip():
        notes.remark(f"{where} {shown(text)} is not a known value; taken as Unknown")
    return kind("Unknown")


# --- shapes --------------------------------------------------------------------------------------------

_DECIMAL: Final = r"[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,2})?"
_NUMBER: Final = re.compile(_DECIMAL)
_PAIRS: Final = re.compile(rf"(?:{_DECIMAL},{_DECIMAL}(?:\s+|$))+")


def number(text: str, where: str) -> float:
    """A finite decimal number. Raises AlertError."""
    if not _NUMBER.fullmatch(text):
        raise AlertError(where, f"{shown(text)} is not a number")
    return float(text)


def points(text: str, where: str, notes: Notes, *, china: bool) -> Ring:
    """All ``lat,lon`` pairs, in order, in degrees. Raises AlertError.

    Spaces around the commas, brackets around the pairs (GDACS) and semicolons between them are let pass.
    Pairs that are all written longitude first are turned round only where that is certain: one of them has a
    latitude that does not exist, and all are possible the other way. A Chinese document (`china`) whose pairs
    lie in China only the other way is refused: likely is not certain.
    """
    if text.count(",") > MAX_VERTICES:
        raise AlertError(
            where, f"{text.count(','):,} points; the limit is {MAX_VERTICES:,}", "simplify the outline"
        )
    plain = re.sub(r"[()\[\];|]", " ", text.replace("，", ","))
    if plain != text and plain.strip():
        notes.remark(f"{where} is written with brackets, semicolons or wide commas")
    tight = _tight(plain).strip()
    if _PAIRS.fullmatch(tight):  # the usual case, at the speed of the regex engine
        values = list(map(float, tight.replace(",", " ").split()))
        pairs = list(zip(values[::2], values[1::2], strict=True))
    else:
        pairs = [_pair(part, where) for part in tight.split()]
    return _the_right_way(pairs, where, notes, china=china)


def _pair(text: str, where: str) -> tuple[float, float]:
    parts = text.split(",")
    if len(parts) != 2:
        raise AlertError(where, f"{shown(text)} is not a lat,lon pair", "CAP writes 33.70,104.40")
    return number(parts[0], where), number(parts[1], where)


def _the_right_way(pairs: list[tuple[float, float]], where: str, notes: Notes, *, china: bool) -> Ring:
    turned = [(lon, lat) for lat, lon in pairs]
    if not all(map(_on_earth, pairs)):
        lat, lon = next(pair for pair in pairs if not _on_earth(pair))
        if abs(lat) <= 90 or not all(map(_on_earth, turned)):
            what = f"longitude {lon:g}" if abs(lat) <= 90 else f"latitude {lat:g}"
            raise AlertError(
                where, f"there is no {what}", "CAP writes latitude first, in degrees: 33.70,104.40"
            )
        notes.inferred.append(f"{where} (longitude was written first: there is no latitude {lat:g})")
        return tuple(turned)
    if china and pairs and all(map(_in_china, turned)) and not any(map(_in_china, pairs)):
        lat, lon = pairs[0]
        raise AlertError(
            where,
            f"{lat:g},{lon:g} lies in China only with latitude and longitude swapped",
            "CAP writes latitude first: 33.70,104.40",
        )
    return tuple(pairs)


def _on_earth(pair: tuple[float, float]) -> bool:
    return abs(pair[0]) <= 90 and abs(pair[1]) <= 180


def _in_china(pair: tuple[float, float]) -> bool:
    """Within its box, seas included (`geo.md` §4)."""
    return 3 <= pair[0] <= 54 and 73 <= pair[1] <= 136


def _tight(text: str) -> str:
    return ",".join(part.strip() for part in text.split(","))


def ring(vertices: Ring, where: str, notes: Notes) -> Ring:
    """A closed ring. An open one is closed, with a remark. Raises AlertError for fewer than three places."""
    if (distinct := len(set(vertices))) < 3:
        raise AlertError(where, f"{distinct} distinct points do not enclose anything", "three are needed")
    if vertices[0] == vertices[-1]:
        return vertices
    notes.remark(f"{where} was not closed; its first point is repeated at the end")
    return (*vertices, vertices[0])


def outline(vertices: Ring, where: str, notes: Notes) -> Polygon | Line | Circle:
    """What a ring encloses: one of two places is a line, one of one a point. Nothing is added or lost by
    that, and it is remarked. Raises AlertError for none."""
    match list(dict.fromkeys(vertices)):
        case [(lat, lon)]:
            notes.remark(f"{where} is one place only: taken as a point")
            return Circle(lat, lon, 0.0)
        case [start, end]:
            notes.remark(
                f"{where} has two places only: taken as the line between them, which encloses nobody"
            )
            return Line((start, end))
        case _:
            return Polygon(ring(vertices, where, notes))


def circle(text: str, where: str, notes: Notes, *, china: bool, unit_km: float = 1.0) -> Circle:
    """Centre and radius from ``33.7,104.4 25``; `unit_km` is the length of the radius's unit. Raises
    AlertError."""
    parts = _tight(text.replace("，", ",")).split()
    if len(parts) == 1 and parts[0].count(",") == 2:
        notes.remark(f"{where} has a comma before its radius")
        parts = parts[0].rsplit(",", 1)
    if len(parts) != 2:
        raise AlertError(where, f"{shown(text)} is not a centre and a radius", "CAP writes 33.70,104.40 25")
    centre, size = parts
    ((lat, lon),) = points(centre, where, notes, china=china)
    radius = number(size, where) * unit_km
    if not 0 <= radius <= 20_100 or not math.isfinite(radius):
        raise AlertError(where, f"a radius of {radius:g} km is not possible on Earth")
    if radius > WIDEST_KM:
        notes.damaged(f"{where}: a radius of {radius:g} km is more than any warning covers; is it metres?")
    return Circle(lat, lon, radius)


def blank(text: str) -> bool:
    """Whether a shape's text holds nothing, as GDACS's ``()``."""
    return not text.strip("()[] \t\r\n,;")


# --- division codes ------------------------------------------------------------------------------------

DIVISION_NAMES: Final = (
    "cpeas geographic code", "gb/t 2260", "gb/t2260", "gbt2260", "gb2260", "gb/t 10114", "行政区划", "adcode",
    "统计用区划", "fenghuo:mca", "fenghuo:nbs",
)  # fmt: skip
"""Parts of a geocode's valueName, in lower case, that say its value is a Chinese division code."""

_SCHEMES: Final = (
    (("fenghuo:mca", "民政"), CodeScheme.MCA),
    (("fenghuo:nbs", "统计"), CodeScheme.NBS),
)


def division_scheme(value_name: str, declared: CodeScheme) -> CodeScheme | None:
    """The list that a geocode's valueName names, else the feed's; None if it is not a division code."""
    name = " ".join(value_name.casefold().split())
    for parts, scheme in _SCHEMES:
        if any(part in name for part in parts):
            return scheme
    return declared if any(part in name for part in DIVISION_NAMES) else None


def region_code(text: str, scheme: CodeScheme, where: str) -> RegionCode:
    """A code with its padding zeros stripped in steps of 12-9-6-4-2 digits. Raises AlertError."""
    digits = text.strip()
    if not re.fullmatch(r"[0-9]+", digits) or len(digits) not in (2, 4, 6, 9, 12):
        raise AlertError(
            where,
            f"{shown(text)} is not a division code",
            "2, 4, 6, 9 or 12 digits, e.g. 623023101000 for a township",
        )
    stripped = strip_padding(digits)
    if not stripped:
        raise AlertError(where, f"{shown(text)} is all zeros, which is nowhere")
    return RegionCode(scheme, stripped)


# --- colours -------------------------------------------------------------------------------------------

_COLOURS: Final = {
    "红": Colour.RED, "紅": Colour.RED, "red": Colour.RED,
    "橙": Colour.ORANGE, "orange": Colour.ORANGE,
    "黄": Colour.YELLOW, "黃": Colour.YELLOW, "yellow": Colour.YELLOW,
    "蓝": Colour.BLUE, "藍": Colour.BLUE, "blue": Colour.BLUE,
}  # fmt: skip
_LEVELS: Final = {
    **dict.fromkeys(("Ⅰ", "I", "一", "1"), Colour.RED),
    **dict.fromkeys(("Ⅱ", "II", "二", "2"), Colour.ORANGE),
    **dict.fromkeys(("Ⅲ", "III", "三", "3"), Colour.YELLOW),
    **dict.fromkeys(("Ⅳ", "IV", "四", "4"), Colour.BLUE),
}
_LEVEL: Final = r"(IV|I{1,3}|[ⅠⅡⅢⅣ一二三四1-4])"
_IN_TEXT: Final = re.compile(
    r"([红紅橙黄黃蓝藍])色|\b(red|orange|yellow|blue)\s+(?:early\s+)?(?:warning|alert|signal)", re.IGNORECASE
)
# Only where it is the warning's own level: in brackets, after a slash, or right before 预警. "启动四级应急
# 响应" and "阵风4级" are other scales.
_LEVEL_IN_TEXT: Final = re.compile(
    rf"[\[［【(（/／]\s*{_LEVEL}\s*级?\s*(?:[/／\]］】)）]|$)|{_LEVEL}\s*级(?:[/／]\w+)?预警|\bLevel\s+{_LEVEL}\b"
)
_COLOUR_NAMES: Final = ("colour", "color", "颜色", "预警级别", "预警等级", "预警信号级别")


def colour(name: str) -> Colour | None:
    """Of a word that stands alone, as in a parameter or the national severity: ``Red``, ``红色``, ``橙``."""
    return _COLOURS.get(name.strip().casefold().removesuffix("色"))


def colour_of(
    parameters: Iterable[tuple[str, str]], texts: Iterable[str], where: str, notes: Notes
) -> Colour | None:
    """The signal colour from a colour-like parameter, else from headline or event; never from severity.

    Where one text says two colours, the one it changes to counts (变更蓝色预警为橙色预警; 解除蓝色预警并发布
    黄色预警). Colours or levels that still disagree are damage: nobody may choose by rule.
    """
    said = {
        found
        for name, value in parameters
        if any(part in name.casefold() for part in _COLOUR_NAMES)
        and (found := colour(value) or level(value)) is not None
    }
    for text in texts:
        if said:
            break
        said = _said(text[:500])  # a headline is 160 characters; the patterns are not made for megabytes
    if len(said) > 1:
        notes.damaged(f"{where}: says more than one colour ({', '.join(sorted(said))}); taken as none")
        return None
    return next(iter(said), None)


def white(*texts: str) -> bool:
    """Whether a headline gives the white signal, which only informs (`feeds.md` §5.1)."""
    return any(re.search("白色(?:预警|台风|信号)", text[:200]) for text in texts)


def _said(text: str) -> set[Colour]:
    def within(part: str) -> set[Colour]:
        return {_COLOURS[(match[1] or match[2]).casefold()] for match in _IN_TEXT.finditer(part)}

    colours = within(text)
    if len(colours) > 1:
        colours = within(re.split("为|成|至|发布|更新", text)[-1]) or colours
    levels = {
        _LEVELS[next(group for group in match.groups() if group).upper()]
        for match in _LEVEL_IN_TEXT.finditer(text)
    }
    return colours | levels


def level(text: str) -> Colour | None:
    """Of a level that stands alone: ``Ⅱ级``, ``二级``."""
    match = re.match(rf"{_LEVEL}\s*级", text.strip())
    return _LEVELS[match[1]] if match else None
