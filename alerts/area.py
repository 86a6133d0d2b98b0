"""Areas of a warning → the villages of the home county that they name, with the why of every line. Pure.

Codes name villages from the county's lists; shapes take who stands in them. In one area both are united,
unless the feed declares that its shapes narrow its codes; several areas are always united. Whatever cannot
be used (an ambiguous code, a ring that crosses itself, a foreign code system) is a problem that holds the
warning for the operator: nothing is dropped silently and nothing is ever widened.

A village stands where the county measured it; else where its terminals stand; else at the seat of its
township, which is said. One that stands nowhere we know is reached by codes only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from shapely import MultiPoint
from shapely.geometry.base import BaseGeometry

from alerts import shapes
from alerts.model import Area, Circle
from alerts.regions import County, Reason, Resolved
from alerts.shapes import Disc, Mask, Patch, Points, Shape, ShapeError, Strip

_T = TypeVar("_T")

POINT_REACH_KM: Final = 3.0
"""A point means the village nearest to it, where one is measured so near. Villages of our packs stand a
median of 1 to 2 km from the next one, so beyond this it is anybody's guess which one is meant."""
SEAT_REACH_KM: Final = 10.0
"""A point that far from the seat of a township may still lie in it: shown to the operator, and held."""
NEAR_KM: Final = 5.0
"""A township's seat so near to a shape's edge stands badly for villages whose own place we do not know."""
SURROUNDINGS_KM: Final = 30.0
"""What is farther from every known place of a county without a boundary does not concern it."""
MOST_UNPLACED: Final = 0.1
"""Share of a county's villages without any known place; with more of them no shape can be trusted alone."""
MOST_SHAPES: Final = 200
"""Of one warning, polygons that are clearly elsewhere not counted. Each takes some ten milliseconds, and one
document must not keep the others waiting; a live NOAA warning of our corpus has 212 in all."""
MOST_AREAS: Final = 1_000
"""Of one warning; 10,000 took the controller 4 s."""
ASTRAY_DEGREES: Final = 0.5
"""A terminal that much outside the box around its county has a wrong position (0,0; degrees swapped)."""
_MOST_NAMES: Final = 5
_SWAPPED: Final = "would lie here with latitude and longitude swapped, so check who it means"


class Basis(StrEnum):
    """Why a village stands where we take it to stand."""

    POSITION = "position"
    """Measured by the county."""
    TERMINALS = "terminals"
    """The middle of its own terminals."""
    SEAT = "township seat"
    NOWHERE = "no position"


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Where the villages of a county stand. Arrays are in the order of `County.villages`."""

    county: County
    row: Mapping[str, int]
    """Village key → its row."""
    points: Points
    basis: tuple[Basis, ...]
    boundary: BaseGeometry | None
    """(lon, lat); None where the pack has none."""
    places: Points
    """All known ones, of villages and seats."""
    home: BaseGeometry | None
    """What concerns the county: its boundary; without one `SURROUNDINGS_KM` round its known places, None
    where none is known."""

    @classmethod
    def of(cls, county: County, positions: Mapping[str, tuple[float, float]] | None = None) -> Ground:
        """`positions`: village key → middle of its terminals (`terminals.fleet.Fleet.positions`). Raises
        ShapeError for a boundary that cannot be used."""
        known = positions or {}
        places: list[tuple[float, float] | None] = []
        basis: list[Basis] = []
        for village in county.villages:
            seat = county.township(village.township_key).position
            for place, why in (
                (village.position, Basis.POSITION),
                (known.get(village.key), Basis.TERMINALS),
                (seat, Basis.SEAT),
                (None, Basis.NOWHERE),
            ):
                if place is not None or why is Basis.NOWHERE:
                    places.append(place)
                    basis.append(why)
                    break
        row = {village.key: n for n, village in enumerate(county.villages)}
        boundary = shapes.merged(county.boundary)
        seats = (unit.position for unit in county.townships)
        known_places = Points.of(place for place in (*places, *seats) if place is not None)
        home: BaseGeometry | None = boundary
        if home is None and len(known_places):
            around = MultiPoint(np.column_stack((known_places.lon, known_places.lat))).convex_hull
            home = around.buffer(np.degrees(SURROUNDINGS_KM / shapes.EARTH_KM) * 1.2)
        return cls(county, row, Points.of(places), tuple(basis), boundary, known_places, home)

    def rows(self, villages: Iterable[str]) -> Mask:
        found = np.zeros(len(self.row), np.bool_)
        found[[self.row[key] for key in villages]] = True
        return found

    def keys(self, mask: Mask) -> frozenset[str]:
        villages = self.county.villages
        return frozenset(villages[row].key for row in np.flatnonzero(mask))

    def standing(self, basis: Basis) -> Mask:
        return np.array([found is basis for found in self.basis], np.bool_)

    @property
    def bounds(self) -> tuple[float, float, float, float] | None:
        """(west, south, east, north) of `home` and all that could stand in it; None without any place."""
        if self.home is None:
            return None
        west, south, east, north = self.home.bounds
        wide = 2 * ASTRAY_DEGREES
        return west - wide, south - wide, east + wide, north + wide

    @property
    def nowhere(self) -> list[str]:
        """Keys of villages that no shape can reach."""
        return [v.key for v, b in zip(self.county.villages, self.basis, strict=True) if b is Basis.NOWHERE]


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One area as it takes villages and terminals in. Masks are by row of `Ground`."""

    name: str
    coded: Mask
    """Named by a code."""
    codes: Mapping[str, str]
    """Village key → the code that names it, and what that means."""
    pointed: Mask
    """Meant by a point."""
    points: Mapping[str, str]
    """Village key → which point, and how far it is."""
    shapes: tuple[Shape, ...]
    excluded: tuple[Patch, ...]
    narrow: bool
    """Whether only those count who are named by a code and stand in a shape."""

    def covers(self, villages: NDArray[np.intp], points: Points) -> Mask:
        """Which of these places the area takes in. `villages`: the row of each place's village."""
        inside = self.pointed[villages]
        for shape in self.shapes:
            inside |= shape.covers(points)
        inside = inside & self.coded[villages] if self.narrow else inside | self.coded[villages]
        for hole in self.excluded:
            inside &= ~hole.covers(points)
        return inside


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """All areas of a warning as they take places in; what terminals with a position of their own ask."""

    ground: Ground
    rules: tuple[Rule, ...]

    def covers(self, villages: NDArray[np.intp], points: Points) -> Mask:
        inside = np.zeros(len(villages), np.bool_)
        for rule in self.rules:
            inside |= rule.covers(villages, points)
        return inside


@dataclass(frozen=True, slots=True)
class Cut:
    """The part of a warning's area that lies in the home county."""

    village_keys: frozenset[str]
    lines: tuple[str, ...]
    """One per code and shape: what it means, how many villages, or why none; then how many by which way."""
    outside: tuple[str, ...]
    """What was cut off because it lies in another county, or reaches beyond this one. Normal."""
    problems: tuple[str, ...]
    """What the operator must judge before anything sounds."""
    target: Target | None = None
    """Set where a shape decides: then a terminal's own place counts, not only its village."""
    ways: tuple[tuple[str, str], ...] = ()
    """(village key, by which way it is in): code, polygon, circle, line or point; and where it was taken to
    stand if that is not its own position."""
    until: datetime | None = None
    """When an earthquake has passed all of them: then nobody can be warned of it any more."""

    @property
    def empty(self) -> bool:
        """Whether nobody in the county is named."""
        return not self.village_keys


def cut(
    areas: Iterable[Area],
    county: County,
    *,
    narrow: bool = False,
    positions: Mapping[str, tuple[float, float]] | None = None,
) -> Cut:
    """The union of all `areas` (of every info that is meant), cut to `county`.

    `narrow`: the feed declares that a shape beside codes narrows them (`formats.Reading.shapes_narrow`).
    `positions`: where the terminals of villages without a measured place stand.
    """
    return _Cutter(tuple(areas), county, narrow, positions).cut()


class _Cutter:
    """One pass over the areas, with what there is to say about it."""

    def __init__(
        self,
        areas: Sequence[Area],
        county: County,
        narrow: bool,
        positions: Mapping[str, tuple[float, float]] | None,
    ) -> None:
        self.areas = areas[:MOST_AREAS]
        self.county = county
        self.narrow = narrow
        self.lines: list[str] = []
        self.outside: list[str] = []
        self.problems: list[str] = [] if areas else ["the warning names no area"]
        if len(areas) > MOST_AREAS:
            self.problems.append(
                f"it has {len(areas):,} areas; only the first {MOST_AREAS:,} are read, so check who it means"
            )
        self.left = MOST_SHAPES
        self.ground: Ground | None = None
        if any(_shaped(area) for area in areas):
            try:
                self.ground = Ground.of(county, positions)
            except ShapeError as error:
                self.problems.append(f"the boundary of {county.name} in its pack cannot be used: {error}")
                self.ground = Ground.of(replace(county, boundary=()), positions)

    def cut(self) -> Cut:
        if self.ground is None:
            named = [self._codes(area, _name(area)) for area in self.areas]
            return self._done(frozenset(v for codes in named for v in codes))
        ground = self.ground
        rules = [self._rule(area, number, ground) for number, area in enumerate(self.areas, 1)]
        target = Target(ground, tuple(rules))
        everywhere = np.arange(len(ground.row))
        villages = ground.keys(target.covers(everywhere, ground.points))
        ways = self._ways(target)
        counts = Counter(way for _, way in ways)
        counts["no position"] = sum(key not in villages for key in ground.nowhere)
        told = ", ".join(f"{way} {count}" for way, count in counts.most_common() if count)
        if told:
            self.lines.append(f"villages by way: {told}")
        return self._done(villages, target, ways)

    def _done(
        self, villages: frozenset[str], target: Target | None = None, ways: tuple[tuple[str, str], ...] = ()
    ) -> Cut:
        if target is None:
            ways = tuple((key, "code") for key in sorted(villages))
        return Cut(villages, _once(self.lines), _once(self.outside), _once(self.problems), target, ways)

    # --- codes -----------------------------------------------------------------------------------------

    def _codes(self, area: Area, name: str) -> dict[str, str]:
        """Village key → the code that names it."""
        self.problems += _unusable(area, name)
        named: dict[str, str] = {}
        for code in dict.fromkeys(area.codes):
            found = self.county.resolve(code, area.description)
            if isinstance(found, Resolved):
                named |= {v: f"{code} = {found.label}" for v in found.villages if v not in named}
                note = f" ({found.note})" if found.note else ""
                self.lines.append(f"{code} = {found.label}: {len(found.villages)} villages{note}")
                if found.doubt:
                    self.problems.append(found.doubt)
                if len(code.digits) < 6:
                    self.outside.append(found.note)
                if not found.villages:
                    self.problems.append(f"{code} = {found.label} has no villages on our list")
            else:
                self.lines.append(f"{code}: none, {found.text}")
                elsewhere = found.reason is Reason.OTHER_COUNTY
                (self.outside if elsewhere else self.problems).append(found.text)
        return named

    # --- shapes ----------------------------------------------------------------------------------------

    def _rule(self, area: Area, number: int, ground: Ground) -> Rule:
        name = _name(area) if area.description else f"area {number}"
        codes = self._codes(area, name)
        coded = ground.rows(codes)
        unread = len(self.problems)
        usable, far = self._polygons(area, name, ground)
        circles = dict.fromkeys(area.circles)
        rounds = [circle for circle in circles if circle.radius_km != 0 and self._takes()]
        usable += _read(rounds, "circle", shapes.disc, name, self.problems)
        lines = [line for line in area.lines if self._takes()]
        usable += _read(lines, "line", shapes.strip, name, self.problems)
        broken = len(self.problems) > unread
        minus = [polygon for polygon in area.excluded if self._takes()]
        excluded = _read(minus, "excluded polygon", shapes.patch, name, self.problems)
        pointed: dict[str, str] = {}
        for n, point in enumerate((c for c in circles if c.radius_km == 0 and self._takes()), 1):
            pointed |= self._point(point, f"point {n} of {name}", coded, ground)
        for shape in usable:
            pointed |= self._shape(shape, area, name, coded, ground)
        usable += far
        narrow = self.narrow and bool(codes)
        if narrow and (broken or not (usable or area.circles)):
            if broken:
                self.problems.append(
                    f"{name}: its codes cannot be narrowed as its feed means it; shown is all that they name"
                )
            narrow = False
        rule = Rule(name, coded, codes, ground.rows(pointed), pointed, tuple(usable), tuple(excluded), narrow)
        if usable or area.circles:
            self._together(rule, ground)
        self._exclusions(rule, ground)
        return rule

    def _polygons(self, area: Area, name: str, ground: Ground) -> tuple[list[Any], list[Any]]:
        """The polygons that can be used, and those that are clearly elsewhere; the others are problems."""
        found: list[Patch] = []
        far: list[Patch] = []
        bounds = ground.bounds
        for number, polygon in enumerate(area.polygons, 1):
            what = f"polygon {number}"
            away = shapes.elsewhere(polygon, what, bounds) if bounds is not None else None
            if away is not None:
                far.append(away)
                continue
            if self._takes():
                found += _read((polygon,), "polygon", shapes.patch, name, self.problems, number)
        if far:
            which = f"{far[0].name} lies" if len(far) == 1 else f"{len(far)} polygons lie"
            text = f"{which} outside {self.county.name}: {name}"
            self.lines.append(text)
            self.outside.append(text)
        return found, far

    def _takes(self) -> bool:
        """Whether one more shape of this warning is looked at; that one is not, is a problem."""
        self.left -= 1
        if self.left == -1:
            self.problems.append(
                f"it has more than {MOST_SHAPES} shapes here; the others are not read, so check who it means"
            )
        return self.left >= 0

    def _point(self, point: Circle, what: str, coded: Mask, ground: Ground) -> dict[str, str]:
        """Village key → which point means it, and how far it is.

        The measured village nearest to the point, at most `POINT_REACH_KM` away. Else the point lies in the
        cell of the township whose seat is nearest: which of its villages is meant is a guess, so they are
        shown and held. Else it means nobody that we know. A point beside a code that names the place where
        it lies (a station's, a seat's) adds nobody and holds nothing.
        """
        try:
            shapes.disc(Circle(point.lat, point.lon, 1.0))
        except ShapeError as error:
            self.problems.append(f"{what} cannot be used: {error}")
            return {}
        here = (point.lat, point.lon)
        county = self.county
        away, village = min(
            (
                (shapes.distance_km(here, (float(lat), float(lon))), village.key)
                for village, lat, lon, basis in zip(
                    county.villages, ground.points.lat, ground.points.lon, ground.basis, strict=True
                )
                if basis in (Basis.POSITION, Basis.TERMINALS)
            ),
            default=(np.inf, ""),
        )
        if away <= POINT_REACH_KM:
            self.lines.append(f"{what}: the nearest village is {_full(county, village)}, {_km(away)}")
            return {village: f"{what}, {_km(away)} away, as the village nearest to it"}
        far, township = min(
            (
                (shapes.distance_km(here, unit.position), unit.key)
                for unit in county.townships
                if unit.position is not None
            ),
            default=(np.inf, ""),
        )
        if not np.isfinite(min(away, far)) and ground.boundary is None:
            self.problems.append(_nowhere_known(county, what))
            return {}
        if min(away, far) > SURROUNDINGS_KM and not _within(ground.boundary, here):
            self.outside.append(f"{what} ({_place(here)}) lies outside {county.name}")
            if abs(here[1]) <= 90 and _within(ground.boundary, here[::-1]):
                self.problems.append(f"{what} {_SWAPPED}")
            return {}
        near = county.villages_of(township) if township else frozenset()
        named = [key for key in (near | {village} if village else near) if coded[ground.row[key]]]
        if named:
            self.lines.append(f"{what}: at no village that we know; codes name {len(named)} there already")
            return {}
        text = f"{what} ({_place(here)}) lies at no village that we know"
        if village:
            text += f"; the nearest measured one is {_full(county, village)}, {_km(away)}"
        unplaced = sorted(key for key in near if ground.basis[ground.row[key]] is Basis.SEAT)
        if township:
            text += f"; the nearest township seat is {county.township(township).name}, {_km(far)}"
        if far > SEAT_REACH_KM or not unplaced:
            self.lines.append(f"{what}: nobody")
            self.problems.append(text)
            return {}
        self.lines.append(f"{what}: {_names(county, unplaced)}")
        self.problems.append(
            f"{text}; its {len(unplaced)} villages without a position are shown, because which of them is "
            "meant cannot be told"
        )
        return dict.fromkeys(unplaced, f"{what}, {_km(far)} from the seat of its township")

    def _shape(self, shape: Shape, area: Area, name: str, coded: Mask, ground: Ground) -> dict[str, str]:
        """The line of one shape, what of it was cut off, who might be meant and is not taken in. Gives the
        villages without any place that it takes in all the same, because it covers the whole county."""
        county = self.county
        what = f"{shape.name} of {name}"
        inside = shape.covers(ground.points)
        count = int(inside.sum())
        by_seat = int((inside & ground.standing(Basis.SEAT)).sum())
        seats = f", {by_seat} of them by their township's seat" if by_seat else ""
        repaired = f" ({shape.repaired})" if shape.repaired else ""
        self.lines.append(f"{what}: {count} villages{seats}{repaired}")
        if not self._concerns(shape, ground, what):
            self._misread(shape, area, what, ground)
            return {}
        if isinstance(shape, Patch) and shape.doubt is not None and _meets(Patch("", shape.doubt), ground):
            self.problems.append(f"{what} crosses itself here, so what it encloses cannot be told")
        if ground.boundary is not None:
            share = shapes.outside_share(shape, ground.boundary)
            if share is None:
                self.outside.append(f"{what} reaches round a pole, far beyond {county.name}")
            elif share >= 0.001:
                self.outside.append(f"about {min(share, 0.999):.1%} of {what} lies outside {county.name}")
            if shapes.contains(shape, ground.boundary):
                return dict.fromkeys(ground.nowhere, f"{what}, which covers the whole county")
        if not count and ground.points.known.any():
            edge, key = _nearest(shape, ground)
            text = f"{what} takes in no village; the nearest is {_full(county, key)}, {_km(-edge)} outside it"
            (self.lines if coded[ground.row[key]] else self.problems).append(text)
        if unplaced := ground.nowhere:
            missing = (
                f"{len(unplaced)} of {len(ground.row)} villages have no position and no township seat, so no "
                f"shape can reach them: {_names(county, unplaced)}"
            )
            self.lines.append(missing)
            many = len(unplaced) > MOST_UNPLACED * len(ground.row)
            if many and not all(coded[ground.row[key]] for key in unplaced):
                self.problems.append(missing)
        self._doubtful(shape, what, ground)
        return {}

    def _concerns(self, shape: Shape, ground: Ground, what: str) -> bool:
        """Whether the shape has anything to do with our county; said where it has not."""
        if ground.home is None:
            self.problems.append(_nowhere_known(self.county, what))
            return True
        if shapes.meets(shape, ground.home) or shape.covers(ground.places).any():
            return True
        self.outside.append(f"{what} lies outside {self.county.name}")
        return False

    def _misread(self, shape: Shape, area: Area, what: str, ground: Ground) -> None:
        """A shape elsewhere that would be here, had its writer not swapped or rolled over its degrees."""
        if isinstance(shape, Strip):
            return
        if isinstance(shape, Disc):
            lat, lon = shape.circle.lat, shape.circle.lon
            if abs(lon) <= 90 and _meets(Disc("", Circle(lon, lat, shape.circle.radius_km)), ground):
                self.problems.append(f"{what} {_SWAPPED}")
            return
        polygon = area.polygons[int(shape.name.rpartition(" ")[2]) - 1]
        if (turned := shapes.swapped(polygon)) is not None and _meets(turned, ground):
            self.problems.append(f"{what} {_SWAPPED}")
        if shape.over_antimeridian:
            rolled = shapes.other_way_round(polygon)
            if rolled is not None and _meets(rolled, ground):
                self.problems.append(
                    f"{what} has a side of more than 180° and was taken to cross ±180°; the other way round "
                    "it would lie here, so check who it means"
                )

    def _doubtful(self, shape: Shape, what: str, ground: Ground) -> None:
        """Townships whose seat is close to the edge and must stand for villages without a position."""
        standing: Counter[str] = Counter(
            village.township_key
            for village, basis in zip(self.county.villages, ground.basis, strict=True)
            if basis is Basis.SEAT
        )
        for unit in self.county.townships:
            if not standing[unit.key] or unit.position is None:
                continue
            edge = shape.edge_km(*unit.position)
            if abs(edge) <= NEAR_KM:
                side = "inside" if edge >= 0 else "outside"
                taken = "are taken in" if edge >= 0 else "are not taken in"
                self.lines.append(
                    f"{what}: the seat of {unit.name} is only {_km(abs(edge))} {side} its edge; its "
                    f"{standing[unit.key]} villages without a position {taken} by that"
                )

    def _together(self, rule: Rule, ground: Ground) -> None:
        """How codes and shapes of one area come together."""
        if not rule.codes:
            return
        how = "narrow its codes, as its feed declares" if rule.narrow else "and its codes are united"
        self.lines.append(f"{rule.name}: its shapes {how}")
        both = rule.covers(np.arange(len(ground.row)), ground.points)
        if rule.narrow and not both.any():
            self.problems.append(f"{rule.name}: nobody whom its codes name stands in its shapes")
        lost = [key for key in ground.nowhere if rule.narrow and key in rule.codes]
        if lost:
            self.problems.append(
                f"{rule.name}: {_names(self.county, lost)} are named by code, but where they stand is not "
                "known, so its shapes cannot tell whether they are meant"
            )

    def _exclusions(self, rule: Rule, ground: Ground) -> None:
        for hole in rule.excluded:
            what = f"{hole.name} of {rule.name}"
            out = hole.covers(ground.points)
            self.lines.append(f"{what} takes away {_names(self.county, ground.keys(out)) or 'nobody'}")
            unknown = [key for key in ground.nowhere if rule.coded[ground.row[key]]]
            if unknown and _meets(hole, ground):
                self.problems.append(
                    f"{what}: where {_names(self.county, unknown)} stand is not known, so it may mean them"
                )

    def _ways(self, target: Target) -> tuple[tuple[str, str], ...]:
        """Each village that is in, by the surest way it came in."""
        ground = target.ground
        everywhere = np.arange(len(ground.row))
        found: dict[str, str] = {}

        def take(way: str, mask: Mask) -> None:
            for key in ground.keys(mask):
                found.setdefault(key, way)

        covered = [(rule, rule.covers(everywhere, ground.points)) for rule in target.rules]
        for rule, ours in covered:
            if not rule.narrow:
                take("code", rule.coded & ours)
        for basis, how in (
            (Basis.POSITION, ""),
            (Basis.TERMINALS, ", place of its terminals"),
            (Basis.SEAT, ", township seat"),
            (Basis.NOWHERE, ", whole county"),
        ):
            standing = ground.standing(basis)
            for rule, ours in covered:
                for shape in rule.shapes:
                    take(f"{shape.kind}{how}", ours & standing & shape.covers(ground.points))
                kind = "shape" if basis is Basis.NOWHERE else "point"
                take(f"{kind}{how}", ours & standing & rule.pointed)
        return tuple(sorted(found.items()))


def _read(
    items: Sequence[_T],
    kind: str,
    reader: Callable[[_T, str], Any],
    name: str,
    problems: list[str],
    first: int = 1,
) -> list[Any]:
    """The shapes that can be used; each that cannot is a problem. Numbered from `first`."""
    found = []
    for number, item in enumerate(items, first):
        try:
            found.append(reader(item, f"{kind} {number}"))
        except ShapeError as error:
            problems.append(f"{kind} {number} of {name} cannot be used: {error}")
    return found


def _shaped(area: Area) -> bool:
    return bool(area.polygons or area.circles or area.lines or area.excluded)


def _unusable(area: Area, name: str) -> list[str]:
    found = []
    for value_name, _ in area.other_codes:
        # EXCLUDE_POLYGON (DWD) takes away from the area, a national open polygon is a line: both change
        # who is meant.
        key = value_name.casefold()
        if ("exclude" in key and not area.excluded) or (key == "line" and not area.lines):
            found.append(f"{name} has a {value_name[:40]!r}, which cannot be used; check who it means")
    if not (area.codes or area.polygons or area.circles or area.lines):
        others = ", ".join(f"{key[:40]}={value[:40]}" for key, value in area.other_codes[:5])
        found.append(f"{name} has no division code and no shape" + (f", only {others}" if others else ""))
    return found


def _name(area: Area) -> str:
    return f"area {area.description[:40]!r}"


def _full(county: County, key: str) -> str:
    village = county.village(key)
    return f"{county.township(village.township_key).name}{village.name}"


def _names(county: County, keys: Iterable[str]) -> str:
    """A few villages by name, and how many there are more."""
    names = [_full(county, key) for key in sorted(keys)]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return "、".join(names[:_MOST_NAMES]) + more


def _km(km: float) -> str:
    return f"{km * 1000:.0f} m" if km < 1 else f"{km:.1f} km"


def _place(place: tuple[float, float]) -> str:
    return f"{place[0]:.4f},{place[1]:.4f}"


def _nowhere_known(county: County, what: str) -> str:
    lacks = f"the pack of {county.name} has no boundary and no positions"
    return f"{what} cannot be placed: {lacks}; check who it means"


def _nearest(shape: Shape, ground: Ground) -> tuple[float, str]:
    """How far inside (negative: outside) the innermost village stands, and its key."""
    points = ground.points
    return max(
        (shape.edge_km(float(points.lat[row]), float(points.lon[row])), village.key)
        for row, village in enumerate(ground.county.villages)
        if points.known[row]
    )


def _within(boundary: BaseGeometry | None, place: tuple[float, float]) -> bool:
    return boundary is not None and bool(boundary.intersects(MultiPoint([(place[1], place[0])])))


def _meets(shape: Shape, ground: Ground) -> bool:
    return ground.home is not None and shapes.meets(shape, ground.home)


def _once(texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


# --- how much of the county ----------------------------------------------------------------------------

USUAL_SHARE: Final[Mapping[str, float]] = {
    "debris_flow": 0.5,
    "tornado": 0.5,
    "chemical": 0.5,
    "wildfire": 0.5,
    "tsunami": 0.5,
    "dam_break": 0.8,
    "evacuation": 0.8,
}
"""Hazard → the largest share of a county's villages that is usual for it; ours, no source gives any. What is
not here (rain, cold, heat, geological and flash flood *risk*) is issued for whole counties every week."""


def unusual_share(villages: int, county: County, limit: float, what: str) -> str:
    """Why so many villages are unusual for `what` (a hazard's name); empty where they are not. `limit`: share
    of the county's villages, 0 to 1, from which on it is unusual only above."""
    total = len(county.villages)
    if not total or villages <= limit * total:
        return ""
    return (
        f"{villages} of {total} villages ({villages / total:.0%}) of {county.name} is unusually many for "
        f"{what} (limit {limit:.0%}); check who is meant"
    )
