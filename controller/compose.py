"""An operator's words become an Alert of the same type as a feed's, so that one road serves both."""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import datetime, timedelta
from typing import Final

from alerts import hazards
from alerts.lifecycle import OPERATOR
from alerts.model import (
    Alert,
    Area,
    Circle,
    CodeScheme,
    Colour,
    Info,
    MsgType,
    Polygon,
    RegionCode,
    Ring,
    Scope,
    Severity,
    Status,
    Urgency,
)
from alerts.regions import County, Unresolved
from alerts.shapes import ShapeError, patch
from config.counties.datum import Datum, to_wgs84
from config.schema import Issuer
from controller.ids import new_id
from controller.web.models import Compose
from terminals.broadcast import Kind

_STATUS = {Kind.ACTUAL: Status.ACTUAL, Kind.EXERCISE: Status.EXERCISE, Kind.TEST: Status.TEST}
_COLOUR_ZH = {Colour.RED: "红色", Colour.ORANGE: "橙色", Colour.YELLOW: "黄色", Colour.BLUE: "蓝色"}
# 《国家突发公共事件总体应急预案》 Ⅰ to Ⅳ with its colours, and the CAP severities of `feeds.md` §5.1.
_SEVERITY = {
    Colour.RED: Severity.EXTREME,
    Colour.ORANGE: Severity.SEVERE,
    Colour.YELLOW: Severity.MODERATE,
    Colour.BLUE: Severity.MINOR,
}


# Between looking at it and saying yes. What was confirmed is what is said, its minute included.
LONGEST_LOOK: Final = timedelta(minutes=10)


class ComposeError(Exception):
    """Words that do not make a warning: every reason at once, with what was probably meant."""


def compose_alert(words: Compose, kind: Kind, county: County, issuer: Issuer, now: datetime) -> Alert:
    """Raises ComposeError for a hazard or a place that is not known here; a place is never guessed."""
    problems: list[str] = []
    hazard = next((h for h in hazards.HAZARDS if h.key == words.hazard), hazards.UNKNOWN)
    if hazard is hazards.UNKNOWN:
        known = ", ".join(h.key for h in hazards.HAZARDS)
        problems.append(f"hazard {words.hazard!r} is not known; one of: {known}")
    villages: set[str] = set()
    for typed in words.areas:
        digits = typed.strip()
        found = (
            county.resolve(RegionCode(CodeScheme(words.codes), digits))
            if digits.isdigit() and words.codes != "unknown"
            else county.find(typed)
        )
        if isinstance(found, Unresolved):
            problems.append(f"{typed}: {found.text}")
        else:
            villages |= found.villages
    circles, polygons = _drawn(words, problems)
    nameless = [v.name for v in county.villages if v.key in villages and not v.nbs]
    if nameless and not _whole(villages, county):
        problems.append(f"no village code for {'、'.join(nameless)} in the county pack; name the township")
    if problems:
        raise ComposeError("; ".join(problems))
    sent = words.issued or now
    if abs(now - sent) > LONGEST_LOOK:
        minutes = int(abs(now - sent).total_seconds() // 60)
        raise ComposeError(f"what was confirmed was composed {minutes} minutes ago; look at it again")
    colour = Colour(words.colour) if words.colour else None
    lifetime = timedelta(minutes=words.valid_minutes) if words.valid_minutes else hazard.default_lifetime
    event = f"{hazard.zh}{_COLOUR_ZH[colour] if colour else ''}预警"
    codes = _codes(villages, county)
    return Alert(
        identifier=new_id("O", now),
        sender=issuer.name,
        sent=sent,
        status=_STATUS[kind],
        msg_type=MsgType.ALERT,
        scope=Scope.PUBLIC,
        format=OPERATOR,
        infos=(
            Info(
                language="zh-CN",
                event=event,
                hazard=hazard.key,
                severity=_SEVERITY[colour] if colour else Severity.UNKNOWN,
                urgency=Urgency.EXPECTED,
                colour=colour,
                headline=f"{issuer.name}发布{event}",
                description=words.description,
                instruction=words.instruction,
                effective=sent,
                expires=sent + lifetime,
                areas=(
                    Area(
                        description="、".join((*words.areas, *_counted(words))),
                        codes=codes,
                        polygons=polygons,
                        circles=circles,
                    ),
                ),
            ),
        ),
        remarks=("drawn in GCJ-02, converted to WGS-84",) if words.datum == "gcj02" else (),
    )


def _drawn(words: Compose, problems: list[str]) -> tuple[tuple[Circle, ...], tuple[Polygon, ...]]:
    """What the operator drew, in WGS-84. What cannot be used of it is a problem."""
    datum = Datum(words.datum)

    def ring(points: Sequence[tuple[float, float]]) -> Ring:
        lats, lons = to_wgs84([p[0] for p in points], [p[1] for p in points], datum)
        return tuple(zip(lats.tolist(), lons.tolist(), strict=True))

    centres = ring([(c.lat, c.lon) for c in words.circles])
    circles = tuple(Circle(*centre, c.km) for centre, c in zip(centres, words.circles, strict=True))
    try:
        polygons = tuple(Polygon(ring(p.outer), tuple(map(ring, p.holes))) for p in words.polygons)
        for number, polygon in enumerate(polygons, 1):
            patch(polygon, f"polygon {number}")
    except ShapeError as error:
        problems.append(f"polygon {number}: {error}")
        return circles, ()
    return circles, polygons


def _counted(words: Compose) -> list[str]:
    """What was drawn, as the area is called."""
    counts = ((len(words.circles), "处圆形区域"), (len(words.polygons), "处多边形区域"))
    datum = "（GCJ-02，已换算）" if words.datum == "gcj02" else ""
    return [f"{count}{what}{datum}" for count, what in counts if count]


def _whole(villages: Set[str], county: County) -> bool:
    """Whether these are exactly some whole townships."""
    return villages == {
        v
        for t in county.townships
        if county.villages_of(t.key) <= villages
        for v in county.villages_of(t.key)
    }


def _codes(villages: Set[str], county: County) -> tuple[RegionCode, ...]:
    """The fewest codes that mean exactly these villages: whole townships by theirs."""
    codes: list[RegionCode] = []
    for township in county.townships:
        own = county.villages_of(township.key)
        if own and own <= villages and township.mca:
            codes.append(RegionCode(CodeScheme.MCA, township.mca))
        elif own and own <= villages and township.nbs:
            codes.append(RegionCode(CodeScheme.NBS, township.nbs))
        else:
            inside = (county.village(v) for v in sorted(own & villages))
            codes += [RegionCode(CodeScheme.NBS, v.nbs) for v in inside if v.nbs]
    return tuple(codes)
