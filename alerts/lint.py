"""What we make of a document, field by field: for `fenghuo alert lint` and for people who write feeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from alerts import hazards, intensity
from alerts.area import Cut, cut
from alerts.formats import Reading, containers, parse
from alerts.formats.lists import LISTS, Row
from alerts.lifecycle import Refusal, sounds_as
from alerts.model import Alert, AlertError, Area, Info, Ring
from alerts.regions import County

_UNDECLARED: Final = Reading()


@dataclass(frozen=True, slots=True)
class LintReport:
    """`alert` or `refusal` is set, never both."""

    alert: Alert | None
    refusal: AlertError | None
    fields: tuple[tuple[str, str], ...] = ()
    """(name, value as we understood it), in the order an operator reads."""
    cut: Cut | None = None
    """Who would hear it, when a county was given."""
    silent: str = ""
    """Why it would never sound although it is taken in; empty if it may."""
    name: str = ""
    """What an index calls it; empty for a document by itself."""

    @property
    def ok(self) -> bool:
        """Whether the document would be taken in. It may still be held, never sound, or name nobody here."""
        return self.alert is not None

    @property
    def damage(self) -> tuple[str, ...]:
        """What could not be read and matters: it is held until a person has looked."""
        return self.alert.damage if self.alert else ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was odd but harmless."""
        return self.alert.remarks if self.alert else ()

    @property
    def inferred(self) -> tuple[str, ...]:
        """What the document did not say and we derived."""
        return self.alert.inferred if self.alert else ()


def lint(
    body: bytes,
    reading: Reading = _UNDECLARED,
    *,
    now: datetime,
    county: County | None = None,
    name: str = "",
) -> LintReport:
    """Read `body` as a feed with this `reading` would, at `now`, for `county` if given."""
    try:
        alert = parse(body, reading, now=now)
    except AlertError as error:
        return LintReport(None, error, name=name)
    here = _here(alert, county, now, narrow=reading.shapes_narrow) if county else None
    sounds = sounds_as(alert)
    silent = sounds.reason if isinstance(sounds, Refusal) else ""
    return LintReport(alert, None, tuple(_fields(alert)), here, silent, name)


def lint_all(
    body: bytes, reading: Reading = _UNDECLARED, *, now: datetime, county: County | None = None
) -> list[LintReport]:
    """Of a warning one report; of an Atom, RSS or EDXL-DE index, or a list of the reading's format, one for
    each entry. A link is reported as refused, because nothing is fetched here."""
    rows = _rows(body, reading.format)
    if rows is not None:
        return [lint(row.body, reading, now=now, county=county, name=row.key) for row in rows]
    try:
        entries = [] if reading.format else containers.entries(body)
    except AlertError:
        entries = []
    if not entries or entries[0].inline == body:
        return [lint(body, reading, now=now, county=county)]
    found = []
    for entry in entries:
        if entry.inline:
            found.append(lint(entry.inline, reading, now=now, county=county, name=entry.link))
        else:
            why = entry.refused or "is a link; lint the document behind it"
            found.append(LintReport(None, AlertError(entry.link, why), name=entry.link))
    return found


def _rows(body: bytes, form: str) -> list[Row] | None:
    """Of a list as its source answers it; None where `body` is one row, as a feed hands it on, or no list."""
    source = next((found for found in LISTS.values() if found.name == form), None)
    try:
        return source.split(body) if source is not None else None
    except AlertError:
        return None


def _here(alert: Alert, county: County, now: datetime, *, narrow: bool) -> Cut:
    if alert.infos and alert.main.quake is not None and intensity.sounds_by_intensity(alert.main):
        return intensity.cut_quake(alert.main.quake, county, now)
    return cut([area for info in alert.infos for area in info.areas], county, narrow=narrow)


def _fields(alert: Alert) -> list[tuple[str, str]]:
    sounds = sounds_as(alert)
    rows = [
        ("format", alert.format),
        ("identifier", alert.identifier),
        ("sender", alert.sender),
        ("sent", alert.sent.isoformat()),
        ("status", alert.status),
        ("msgType", alert.msg_type),
        ("scope", alert.scope),
        ("references", ", ".join(reference.identifier for reference in alert.references)),
        ("event key", alert.event_key),
        ("note", alert.note),
        ("sounds as", f"nothing: {sounds.reason}" if isinstance(sounds, Refusal) else sounds),
    ]
    for number, info in enumerate(alert.infos):
        rows += [(f"info[{number}] {name}", value) for name, value in _info(info)]
    return [(name, str(value)) for name, value in rows if value]


def _info(info: Info) -> Iterator[tuple[str, str]]:
    hazard = hazards.by_key(info.hazard)
    yield "language", info.language
    yield "event", info.event
    yield "hazard", f"{info.hazard} ({hazard.zh}, {hazard.lane} lane)"
    yield "colour", info.colour or "none"
    yield "severity", f"{info.severity}, {info.urgency}, {info.certainty}"
    for name, when in (("effective", info.effective), ("onset", info.onset), ("expires", info.expires)):
        yield name, when.isoformat() if when else ""
    yield "headline", info.headline
    yield "description", info.description
    yield "instruction", info.instruction
    if info.quake is not None:
        quake = info.quake
        depth = "depth not given" if quake.depth_km is None else f"{quake.depth_km:g} km deep"
        yield (
            "earthquake",
            f"M {quake.magnitude:g}, {quake.lat:g},{quake.lon:g}, {depth}, {quake.origin.isoformat()}, "
            f"report {quake.report}",
        )
    yield "parameters", "; ".join(f"{name}={value[:60]}" for name, value in info.parameters)
    for place, area in enumerate(info.areas):
        for name, value in _area(area):
            yield f"area[{place}]{name and ' ' + name}", value


def _area(area: Area) -> Iterator[tuple[str, str]]:
    codes = ", ".join(str(code) for code in area.codes)
    yield "", f"{area.description or 'no name'}: {codes or 'no codes'}"
    for name, polygons in (("polygon", area.polygons), ("excluded", area.excluded)):
        for number, polygon in enumerate(polygons):
            holes = f", {len(polygon.holes)} hole(s)" if polygon.holes else ""
            yield f"{name}[{number}]", _box(polygon.outer) + holes
    for number, circle in enumerate(area.circles):
        size = f"{circle.radius_km:g} km" if circle.radius_km else "a point"
        yield f"circle[{number}]", f"{circle.lat:g},{circle.lon:g}, {size}"
    for number, line in enumerate(area.lines):
        yield f"line[{number}]", f"{_box(line.points)}, {line.buffer_km:g} km to either side"
    yield "other codes", "; ".join(f"{name}={value[:60]}" for name, value in area.other_codes)


def _box(ring: Ring) -> str:
    lats, lons = [lat for lat, _ in ring], [lon for _, lon in ring]
    north, east = f"{min(lats):g} to {max(lats):g}", f"{min(lons):g} to {max(lons):g}"
    return f"{len(ring)} points, latitude {north}, longitude {east}"
