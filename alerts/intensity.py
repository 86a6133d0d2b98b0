"""Earthquakes: how strongly a place will shake, when the S wave is there, and which villages must hear it.

Intensity is that of GB/T 17742 (1 to 12), estimated by the relations that GB 18306-2015 was drawn with
(肖亮、俞言祥 2011; table on p. 172 of the 宣贯教材 edited by 高孟潭), I = A + B·M + C·lg(R + R0) with R the
epicentral distance in km. The book itself was not at hand: the coefficients are those of `geo.md` §7,
read there in two independent programs and checked (long and short axis agree at R = 0 to 0.001).
Decisions on what the relations leave open: `docs/decisions/0012-earthquakes-by-intensity.md`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alerts.area import Basis, Cut
from alerts.model import Info, Quake, SeismicZone
from alerts.regions import County
from alerts.swave import EARTH_KM, S_KM_S

Floats = NDArray[np.float32]

USUAL_DEPTH_KM: Final = 10.0
"""Taken where a report gives no depth: CENC's own figure for shallow events."""
CRUST_KM: Final = 30.0
"""The relations were fitted to crustal events; what lies deeper counts as distance (decision 0012)."""
FELT: Final = 2.0
"""From here on single people at rest notice it (GB/T 17742-2020, intensity Ⅱ)."""
MOST_RAISED: Final = 0.66
"""An agency's greatest intensity raises our estimate by one standard deviation at most (`geo.md` §7)."""
CONTRADICTS: Final = 2.0
"""Three standard deviations of the relations: more than this above the magnitude's own is an error."""
UNFELT_SHARE: Final = 0.25
"""A claimed area with more villages than this where nobody would feel it does not fit its magnitude."""
STALE_S: Final = 600.0
SHAKING: Final = timedelta(seconds=60)
"""After the S wave has reached the farthest village: then "take cover" is of no use any more. Ours; strong
shaking lasts tens of seconds."""
"""Age gate of earthquake early warnings (`feeds.md` §2.10, §6.7): later it warns of nothing."""
FUTURE_S: Final = 5.0
"""An origin this far after our clock is an error of one of the two, and no countdown can be trusted."""

_LARGEST: Final = 9.5  # Chile 1960, the largest ever measured
_DEEPEST_KM: Final = 750.0  # no earthquake has been located deeper

# zone: A, B, C, R0 of the long axis (geo.md §7). Without the strike of the fault nobody knows who lies
# along it, so every direction is taken for the long axis.
_RELATION: Final = {
    SeismicZone.QINGZANG: (6.4580, 1.2746, -4.4709, 25.0),
    SeismicZone.XINJIANG: (5.6018, 1.4347, -4.4899, 25.0),
    SeismicZone.EAST_STRONG: (5.7123, 1.3626, -4.2903, 25.0),
    SeismicZone.MODERATE: (5.8410, 1.0710, -3.6570, 15.0),
}
ZONE_NAMES: Final = {
    SeismicZone.QINGZANG: "青藏区",
    SeismicZone.XINJIANG: "新疆区",
    SeismicZone.EAST_STRONG: "东部强震区",
    SeismicZone.MODERATE: "中强地震区",
}


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Points on the earth as vectors (3, n) in km; made once, asked for every report."""

    xyz: Floats

    @classmethod
    def at(cls, lat: ArrayLike, lon: ArrayLike) -> Places:
        """Degrees, WGS-84; arrays of one length."""
        phi = np.radians(np.atleast_1d(np.asarray(lat, np.float64)))
        lam = np.radians(np.atleast_1d(np.asarray(lon, np.float64)))
        unit = np.stack((np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)))
        return cls((EARTH_KM * unit).astype(np.float32))

    def __len__(self) -> int:
        return int(self.xyz.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Felt:
    """What one report means at each place, in the order of its `Places`."""

    km: Floats
    """Epicentral distance along the surface."""
    intensity: Floats
    """Estimate, GB/T 17742, 0 to 12."""
    arrival: Floats
    """Seconds from origin to S wave."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a county decided. The defaults are ours: no standard that we could open gives them."""

    threshold: float = 3.0
    """Warn from this estimated intensity on; at Ⅲ a few people indoors feel it (GB/T 17742-2020)."""
    magnitude_floor: float = 4.0
    """Smaller events are recorded and make no sound."""
    zone: SeismicZone | None = None
    """None takes the greatest of the four relations at each distance."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a later report changes in the area."""

    grown: frozenset[str]
    """Villages that are newly in."""
    shrunk: frozenset[str]
    """Villages that are out now."""

    @property
    def text(self) -> str:
        if not (self.grown or self.shrunk):
            return "the same villages as before"
        return f"{len(self.grown)} villages more and {len(self.shrunk)} fewer than before"


def felt(quake: Quake, places: Places, zone: SeismicZone | None = None) -> Felt:
    """Intensity and S wave of `quake` at `places`. 100,000 places take a few milliseconds.

    The agency's greatest intensity, where there is one, comes first: nowhere is the estimate above it,
    and where it exceeds the relation at the epicentre the estimate is raised by the difference, by
    `MOST_RAISED` at most.
    """
    epicentre = Places.at(quake.lat, quake.lon).xyz
    # Differences, not a dot product: near the epicentre that would be off by 2 km in single precision.
    offset = places.xyz - epicentre
    chord_2 = np.einsum("in,in->n", offset, offset)
    km = (2 * EARTH_KM) * np.arcsin(np.minimum(np.sqrt(chord_2) / np.float32(2 * EARTH_KM), 1))
    depth = _depth(quake)
    below = depth - CRUST_KM
    distance = np.hypot(km, np.float32(below)) if below > 0 else km
    intensity = _relation(quake.magnitude, distance, zone)
    agency = _agency(quake)
    if agency is not None:
        intensity += np.float32(_raised(quake, agency, zone))
        np.minimum(intensity, np.float32(agency), out=intensity)
    np.clip(intensity, 0, 12, out=intensity)
    # The law of cosines between the focus, at EARTH_KM - depth from the centre, and the place.
    arrival = np.sqrt(chord_2 * np.float32(1 - depth / EARTH_KM) + np.float32(depth * depth))
    arrival /= np.float32(S_KM_S)
    return Felt(km, intensity, arrival)


def seconds_left(quake: Quake, arrival: Floats, now: datetime) -> Floats:
    """Until the S wave is there; below zero it shakes already. `now` is aware."""
    return arrival - np.float32((now - quake.origin).total_seconds())


def blind_km(quake: Quake, now: datetime) -> float:
    """Radius round the epicentre that the S wave has passed; 0 before it comes up."""
    reached = S_KM_S * (now - quake.origin).total_seconds()
    depth = _depth(quake)
    return math.sqrt(reached**2 - depth**2) if reached > depth else 0.0


def radius_km(quake: Quake, intensity: float, zone: SeismicZone | None = None) -> float:
    """How far from the epicentre it is estimated to be at least `intensity`; 0 where it is nowhere."""
    steps = np.arange(0, math.pi * EARTH_KM, 0.5, dtype=np.float32)
    reached = felt(quake, Places.at(quake.lat, quake.lon), zone).intensity[0] >= intensity
    if not reached:
        return 0.0
    below = max(_depth(quake) - CRUST_KM, 0.0)
    agency = _agency(quake)
    raised = 0.0 if agency is None else _raised(quake, agency, zone)
    values = _relation(quake.magnitude, np.hypot(steps, np.float32(below)), zone) + raised
    return float(steps[np.flatnonzero(values >= intensity)[-1]])


def change(before: Set[str], after: Set[str]) -> Change:
    """From the villages of one report to those of the next."""
    return Change(frozenset(after - before), frozenset(before - after))


def sounds_by_intensity(info: Info) -> bool:
    """Whether `info` is an earthquake that names no area: then who is shaken decides.

    A point is where it happened, not whom it concerns.
    """
    return info.quake is not None and not any(
        area.codes
        or area.polygons
        or area.lines
        or area.other_codes
        or any(circle.radius_km > 0 for circle in area.circles)
        for area in info.areas
    )


def cut_quake(
    quake: Quake,
    county: County,
    now: datetime,
    policy: Policy = Policy(),
    *,
    positions: Mapping[str, tuple[float, float]] | None = None,
) -> Cut:
    """The villages where `quake` is estimated to reach the threshold, township by township with the why.

    A village without a position is judged where its terminals stand (`positions`: village key → their
    middle), else at its township's seat, else at the county's middle; the lines say how many by which way.
    A report that does not add up is held, and its villages are still shown; but not where nobody here would
    be reached even if the worst of it is true: or every old report from another province would ring.
    """
    problems = list(implausible(quake, now, policy.zone))
    headline = _headline(quake, policy)
    if not _usable(quake):
        return Cut(frozenset(), (headline,), (), tuple(problems))
    located = _locate(county, positions)
    if not located.keys:
        problems.append(
            f"no place of {county.name} has a position in its county pack: nobody can be warned by distance"
        )
        return Cut(frozenset(), (headline,), (), tuple(problems))
    shaken = felt(quake, located.places, policy.zone)
    inside = shaken.intensity >= policy.threshold
    counts = Counter(located.ways)
    judged = "judged by " + ", ".join(f"{way} {counts[way]}" for way in _WAYS)
    small = quake.magnitude < policy.magnitude_floor
    if small or not inside.any():
        worst = int(np.argmax(shaken.intensity))
        reason = _shaking(quake, county.name, shaken.km[worst], shaken.intensity[worst], None)
        limit = f"threshold of {policy.threshold:.1f}"
        if small:
            reason, limit = f"M{quake.magnitude:.1f}", f"floor of M{policy.magnitude_floor:.1f}"
        held = problems if _worst_case(quake, located.places, policy) else ()
        return Cut(
            frozenset(),
            (headline, judged, *problems),
            (f"{reason}, below the county's {limit}",),
            tuple(held),
        )
    if lost := len(county.villages) - len(located.keys):
        problems.append(
            f"{lost} villages have no position, nor has their township: nobody knows how near it is"
        )
    left = seconds_left(quake, shaken.arrival, now)
    # These lines are kept, and read later: a countdown without its clock would be untrue by then.
    counted = f"the seconds were counted at {now.astimezone(_BEIJING):%H:%M:%S}"
    lines = [headline, *_townships(county, located, shaken, left, inside)]
    lines.insert(1, counted)
    if blind := blind_km(quake, now):
        lines.append(f"the S wave has passed {blind:.0f} km round the epicentre: no warning time there")
    ways = tuple(
        (key, f"intensity, by {way}")
        for key, way, reached in zip(located.keys, located.ways, inside, strict=True)
        if reached
    )
    last = quake.origin + timedelta(seconds=float(shaken.arrival[inside].max()))
    return Cut(
        frozenset(key for key, _ in ways),
        (*lines, judged),
        (),
        tuple(problems),
        ways=ways,
        until=last + SHAKING,
    )


def doubted(area: Cut, quake: Quake, county: County, now: datetime, zone: SeismicZone | None = None) -> Cut:
    """The cut of an earthquake that names its own area, with what does not add up as further problems."""
    if area.empty and not area.problems:
        return area  # not for us: nothing of it can sound
    found = list(implausible(quake, now, zone))
    if reason := unlikely_area(quake, area.village_keys, county, zone):
        found.append(reason)
    return replace(area, problems=(*area.problems, *found))


def implausible(quake: Quake, now: datetime, zone: SeismicZone | None = None) -> tuple[str, ...]:
    """What a person must judge before this report sounds; empty when nothing."""
    if not _usable(quake):
        return (
            f"M{quake.magnitude:g} at {quake.lat:g}, {quake.lon:g}, depth {quake.depth_km} km is no "
            f"earthquake: magnitude must be 0 to {_LARGEST}, depth 0 to {_DEEPEST_KM:.0f} km, and the place "
            "on earth",
        )
    found = []
    age = (now - quake.origin).total_seconds()
    if age > STALE_S:
        found.append(
            f"catch-up: the earthquake began {age / 60:.0f} minutes ago; the gate is {STALE_S:.0f} s"
        )
    elif age < -FUTURE_S:
        found.append(f"the earthquake begins {-age:.0f} s after our clock: one of the two clocks is wrong")
    agency = _agency(quake)
    if agency is not None:
        own = _epicentral(quake, zone)
        if agency - own > CONTRADICTS:
            found.append(
                f"its greatest intensity {agency:.1f} does not fit M{quake.magnitude:.1f}, "
                f"which gives {own:.1f} at the epicentre"
            )
    return tuple(found)


def unlikely_area(
    quake: Quake, villages: Set[str], county: County, zone: SeismicZone | None = None
) -> str | None:
    """Why an area that the warning itself names does not fit its magnitude; None where it fits.

    An earthquake may cover a whole county, and more; so its size is judged by what people would feel.
    """
    if not _usable(quake):
        return None  # `implausible` says so
    located = _locate(county)
    claimed = np.array([key in villages for key in located.keys], bool)
    if not claimed.any():
        return None
    shaken = felt(quake, located.places, zone)
    unfelt = int(np.count_nonzero(shaken.intensity[claimed] < FELT))
    total = int(np.count_nonzero(claimed))
    if unfelt <= UNFELT_SHARE * total:
        return None
    limit = radius_km(quake, FELT, zone)
    return (
        f"M{quake.magnitude:.1f} is felt (intensity {FELT:.0f}) to {limit:.0f} km, but "
        f"the area it names lies {shaken.km[claimed].min():.0f} to {shaken.km[claimed].max():.0f} km away: "
        f"in {unfelt} of {total} villages nobody would feel it"
    )


def here(
    quake: Quake, name: str, lat: float, lon: float, now: datetime, zone: SeismicZone | None = None
) -> str:
    """One place in words: ``M6.1, 58 km from 大川镇, intensity 5.2, 11 s left``."""
    shaken = felt(quake, Places.at(lat, lon), zone)
    left = seconds_left(quake, shaken.arrival, now)
    return _shaking(quake, name, shaken.km[0], shaken.intensity[0], left[0])


_BEIJING: Final = timezone(timedelta(hours=8))
_MIDDLE: Final = "the county's middle"
_WAYS: Final = (Basis.POSITION.value, Basis.TERMINALS.value, Basis.SEAT.value, _MIDDLE)


@dataclass(frozen=True, slots=True, eq=False)
class _Located:
    keys: tuple[str, ...]
    places: Places
    ways: tuple[str, ...]


def _locate(county: County, positions: Mapping[str, tuple[float, float]] | None = None) -> _Located:
    """Every village that has any place, in the order of `_WAYS`."""
    seats = {township.key: township.position for township in county.townships}
    middle = _middle(county)
    keys: list[str] = []
    points: list[tuple[float, float]] = []
    ways: list[str] = []
    for village in county.villages:
        terminals = positions.get(village.key) if positions else None
        options = zip(_WAYS, (village.position, terminals, seats[village.township_key], middle), strict=True)
        way, point = next(((way, at) for way, at in options if at is not None), ("", None))
        if point is not None:
            keys.append(village.key)
            points.append(point)
            ways.append(way)
    lat, lon = zip(*points, strict=True) if points else ((), ())
    return _Located(tuple(keys), Places.at(lat, lon), tuple(ways))


def _middle(county: County) -> tuple[float, float] | None:
    """Mean of the seats; without any, of the boundary's corners."""
    points = [township.position for township in county.townships if township.position is not None]
    points = points or [point for polygon in county.boundary for point in polygon.outer]
    if not points:
        return None
    return (sum(lat for lat, _ in points) / len(points), sum(lon for _, lon in points) / len(points))


def _relation(magnitude: float, km: Floats, zone: SeismicZone | None) -> Floats:
    values: Floats | None = None
    for a, b, c, r0 in [_RELATION[zone]] if zone else _RELATION.values():
        one = np.float32(a + b * magnitude) + np.float32(c) * np.log10(km + np.float32(r0))
        values = one if values is None else np.maximum(values, one)
    assert values is not None
    return values


def _epicentral(quake: Quake, zone: SeismicZone | None) -> float:
    below = max(_depth(quake) - CRUST_KM, 0.0)
    return float(_relation(quake.magnitude, np.array([below], np.float32), zone)[0])


def _agency(quake: Quake) -> float | None:
    """The agency's greatest intensity; a 0, which some sources write for "not computed", is none."""
    value = quake.intensity
    return value if value is not None and 1 <= value <= 12 else None


def _raised(quake: Quake, agency: float, zone: SeismicZone | None) -> float:
    return min(max(agency - _epicentral(quake, zone), 0.0), MOST_RAISED)


def _worst_case(quake: Quake, places: Places, policy: Policy) -> bool:
    """Whether a report whose intensity contradicts its magnitude reaches us if the intensity is right."""
    more = (_agency(quake) or 0.0) - _epicentral(quake, policy.zone)
    if more <= CONTRADICTS:
        return False
    magnitude = quake.magnitude + more / min(b for _, b, _, _ in _RELATION.values())
    worst = felt(replace(quake, magnitude=magnitude, intensity=None), places, policy.zone)
    return bool((worst.intensity >= policy.threshold).any())


def _depth(quake: Quake) -> float:
    return USUAL_DEPTH_KM if quake.depth_km is None else quake.depth_km


def _usable(quake: Quake) -> bool:
    return (
        0 <= quake.magnitude <= _LARGEST
        and 0 <= _depth(quake) <= _DEEPEST_KM
        and -90 <= quake.lat <= 90
        and -180 <= quake.lon <= 180
        and (quake.lat, quake.lon) != (0, 0)  # what a missing place becomes
    )


def _headline(quake: Quake, policy: Policy) -> str:
    depth = "depth not given" if quake.depth_km is None else f"depth {quake.depth_km:.0f} km"
    relation = ZONE_NAMES[policy.zone] if policy.zone else "the greatest of the four zones"
    agency = _agency(quake)
    first = f", agency's greatest intensity {agency:.1f} first" if agency is not None else ""
    where = f"{quake.place} " if quake.place else ""
    return (
        f"M{quake.magnitude:.1f} {where}({quake.lat:.2f}, {quake.lon:.2f}), {depth}, report {quake.report}; "
        f"intensity by GB 18306-2015, {relation}{first}; warned from {policy.threshold:.1f}"
    )


def _townships(
    county: County, located: _Located, shaken: Felt, left: Floats, inside: NDArray[np.bool_]
) -> list[str]:
    """One line for each township that is reached or partly reached, strongest first."""
    members: dict[str, list[int]] = {}
    for number, key in enumerate(located.keys):
        members.setdefault(county.village(key).township_key, []).append(number)
    rows = []
    for key, numbers in members.items():
        reached = [n for n in numbers if inside[n]]
        if not reached:
            continue
        worst = max(reached, key=lambda n: shaken.intensity[n])
        share = (
            f"{len(reached)} villages"
            if len(reached) == len(numbers)
            else (f"{len(reached)} of {len(numbers)} villages")
        )
        rows.append(
            (
                -float(shaken.intensity[worst]),
                f"{shaken.km[worst]:.0f} km from {county.township(key).name}, intensity "
                f"{shaken.intensity[worst]:.1f}, {_countdown(left[worst])}: {share}",
            )
        )
    return [text for _, text in sorted(rows)]


def _shaking(quake: Quake, name: str, km: float, intensity: float, left: float | None) -> str:
    text = f"M{quake.magnitude:.1f}, {km:.0f} km from {name}, intensity {intensity:.1f}"
    return text if left is None else f"{text}, {_countdown(left)}"


def _countdown(left: float) -> str:
    """Never a negative number: what has come is said (`geo.md` §7)."""
    return f"{left:.0f} s left" if left >= 0.5 else "already shaking"
