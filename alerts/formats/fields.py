"""Field values as both formats write them: times, numbers, shapes, division codes, colours, enumerations.

Every function takes the element path for its AlertError, and notes what it had to mend in `Notes`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from typing import Final, TypeVar

from alerts.model import AlertError, Circle, CodeScheme, Colour, RegionCode, Ring
from alerts.regions import strip_padding

BEIJING: Final = timezone(timedelta(hours=8))
MAX_VERTICES: Final = 10_000
"""Per polygon (`geo.md` §4)."""

_E = TypeVar("_E", bound=StrEnum)


@dataclass(slots=True)
class Notes:
    """What one document's reading had to say; becomes `Alert.remarks` and `Alert.inferred`."""

    remarks: list[str] = field(default_factory=list)
    inferred: list[str] = field(default_factory=list)

    def remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)


def shown(text: str, length: int = 60) -> str:
    """`text` for an error message: one line, not longer than `length`."""
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= length else flat[:length] + "…")


# --- times ---------------------------------------------------------------------------------------------

_TIME: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]\s*([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]+)?)?"
    r"\s*(Z|[+-][0-9]{2}:?[0-9]{2})?"
)


def time(text: str, where: str, notes: Notes) -> datetime:
    """An aware time. No offset is taken as Beijing time and recorded as inferred.

    Raises AlertError for anything that is not a date and time between 1990 and 2100.
    """
    match = _TIME.fullmatch(text.strip())
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
        hours, minutes = int(offset[1:3]), int(offset[-2:])
        if hours > 14 or minutes > 59:
            raise AlertError(where, f"{shown(text)} has an impossible offset", "Beijing is +08:00")
        sign = -1 if offset[0] == "-" else 1
        zone = timezone(sign * timedelta(hours=hours, minutes=minutes))
    try:
        when = datetime(*(int(number or 0) for number in numbers[:6]), tzinfo=zone)  # type: ignore[misc,arg-type]
    except ValueError as error:
        raise AlertError(where, f"{shown(text)} is not a possible date and time") from error
    if not 1990 <= when.year <= 2100:
        raise AlertError(where, f"{shown(text)}: the year is not between 1990 and 2100")
    return when


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

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,2})?")


def number(text: str, where: str) -> float:
    """A finite decimal number. Raises AlertError."""
    if not _NUMBER.fullmatch(text):
        raise AlertError(where, f"{shown(text)} is not a number")
    return float(text)


def point(text: str, where: str, *, china: bool) -> tuple[float, float]:
    """(lat, lon) in degrees from ``33.7,104.4``. In a Chinese document a swapped pair is refused."""
    parts = text.split(",")
    if len(parts) != 2:
        raise AlertError(where, f"{shown(text)} is not a lat,lon pair", "CAP writes 33.70,104.40")
    lat, lon = number(parts[0], where), number(parts[1], where)
    if (china and (lat > 60 or lon < 73)) or not -90 <= lat <= 90:
        raise AlertError(
            where,
            f"{shown(text)} has latitude and longitude swapped",
            "CAP writes latitude first: 33.70,104.40",
        )
    if not -180 <= lon <= 180:
        raise AlertError(where, f"{shown(text)}: longitude is not between -180 and 180")
    return lat, lon


def points(text: str, where: str, *, china: bool) -> Ring:
    """All pairs of a polygon element, in order; spaces around the commas are let pass."""
    pairs = _tight(text).split()
    if len(pairs) > MAX_VERTICES:
        raise AlertError(
            where, f"{len(pairs):,} points; the limit is {MAX_VERTICES:,}", "simplify the outline"
        )
    return tuple(point(pair, where, china=china) for pair in pairs)


def _tight(text: str) -> str:
    return ",".join(part.strip() for part in text.split(","))


def ring(vertices: Ring, where: str, notes: Notes) -> Ring:
    """A closed ring. An open one of three or more distinct points is closed, with a remark."""
    if len(set(vertices)) < 3:
        raise AlertError(
            where, f"{len(set(vertices))} distinct points do not enclose anything", "three are needed"
        )
    if vertices[0] == vertices[-1]:
        return vertices
    notes.remark(f"{where} was not closed; its first point is repeated at the end")
    return (*vertices, vertices[0])


def circle(text: str, where: str, *, china: bool, unit_km: float = 1.0) -> Circle:
    """Centre and radius from ``33.7,104.4 25``; `unit_km` is the length of the radius's unit."""
    parts = _tight(text).split()
    if len(parts) != 2:
        raise AlertError(where, f"{shown(text)} is not a centre and a radius", "CAP writes 33.70,104.40 25")
    lat, lon = point(parts[0], where, china=china)
    radius = number(parts[1], where) * unit_km
    if not 0 <= radius <= 20_100 or not math.isfinite(radius):
        raise AlertError(where, f"a radius of {radius:g} km is not possible on Earth")
    return Circle(lat, lon, radius)


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

    Where one text says two colours, the one after the last 为 counts (变更蓝色预警为橙色预警). Colours or
    levels that still disagree give None with a remark, so that a person looks.
    """
    said = {
        found
        for name, value in parameters
        if any(part in name.casefold() for part in _COLOUR_NAMES)
        and (found := colour(value) or _level(value)) is not None
    }
    for text in texts:
        if said:
            break
        said = _said(text[:500])  # a headline is 160 characters; the patterns are not made for megabytes
    if len(said) > 1:
        notes.remark(f"{where} says more than one colour ({', '.join(sorted(said))}); taken as none")
        return None
    return next(iter(said), None)


def _said(text: str) -> set[Colour]:
    def within(part: str) -> set[Colour]:
        return {_COLOURS[(match[1] or match[2]).casefold()] for match in _IN_TEXT.finditer(part)}

    colours = within(text)
    if len(colours) > 1:
        colours = within(text.rpartition("为")[2]) or colours
    levels = {
        _LEVELS[next(group for group in match.groups() if group).upper()]
        for match in _LEVEL_IN_TEXT.finditer(text)
    }
    return colours | levels


def _level(text: str) -> Colour | None:
    match = re.match(rf"{_LEVEL}\s*级", text.strip())
    return _LEVELS[match[1]] if match else None
