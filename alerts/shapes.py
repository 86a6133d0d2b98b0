"""Shapes on the ground: who stands inside a polygon, circle or line, and how far from its edge. Pure.

Degrees are WGS-84, distances kilometres on a sphere (IUGG mean radius). A circle's radius and a line's
width are taken 0.5 % wider, which is what the sphere may err against the ellipsoid (`geo.md` §4); nothing
else is ever widened. An edge between two corners is straight in latitude and longitude, as maps draw it; who
stands on it is inside. A ring that touches or crosses itself is used only where it leaves no doubt what it
encloses, else `ShapeError` says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import LinearRing, LineString, MultiPolygon
from shapely import Polygon as Surface
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from alerts.model import Circle, Line, Polygon, Ring

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

EARTH_KM: Final = 6371.0088
WIDER: Final = 1.005
MOST_VERTICES: Final = 100_000
"""Of one shape; the largest official polygons have about 10,000 (`geo.md` §4)."""
REPAIR_TOLERANCE: Final = 1e-4
"""Share of its area by which a repaired ring may differ from what its winding encloses. Rounding corners to
0.001° makes loops of this size; a bow tie differs by half."""
LOOP_SHARE: Final = 0.05
"""Loops of up to this share of a ring are slips where a drawn line was closed (17 of 1,105 polygons of the
CAP corpus, all Mexican): the ring is used, except where the loop itself lies (`Patch.doubt`)."""
# Repairing costs time with every crossing; a ring that crosses itself more often is no slip of the pen.
_MOST_CROSSINGS: Final = 200
_MOST_PAIRS: Final = 4_000_000
# Corners of the polygon that stands for a circle where its area or outline is wanted, never who is in it.
_CORNERS: Final = 180


class ShapeError(Exception):
    """A shape that cannot be used without guessing: why, and what is wrong with it."""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Places as arrays of one length, NaN where the position is not known."""

    lat: Floats
    lon: Floats
    xyz: Floats
    """Unit vectors, (n, 3)."""

    @classmethod
    def of(cls, positions: Iterable[tuple[float, float] | None]) -> Points:
        """From (lat, lon) in degrees."""
        nowhere = (np.nan, np.nan)
        table = np.array([nowhere if p is None else p for p in positions], np.float64).reshape(-1, 2)
        lat, lon = np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
        return cls(lat, lon, unit_vectors(lat, lon))

    def __len__(self) -> int:
        return len(self.lat)

    @property
    def known(self) -> Mask:
        return ~np.isnan(self.lat)


def unit_vectors(lat: Any, lon: Any) -> Floats:
    """(…, 3) of places in degrees."""
    phi, lam = np.radians(lat), np.radians(lon)
    flat = np.cos(phi)
    return np.stack((flat * np.cos(lam), flat * np.sin(lam), np.sin(phi)), axis=-1)


def distance_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Between two places (lat, lon), along the great circle."""
    return float(_haversine(a[0], a[1], np.float64(b[0]), np.float64(b[1])))


def _haversine(lat: float, lon: float, lats: Any, lons: Any) -> Any:
    a = np.sin(np.radians(lats - lat) / 2) ** 2
    b = np.cos(np.radians(lat)) * np.cos(np.radians(lats)) * np.sin(np.radians(lons - lon) / 2) ** 2
    return 2 * EARTH_KM * np.arcsin(np.sqrt(np.clip(a + b, 0, 1)))


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A polygon with its holes, (lon, lat) unrolled so that nothing in it jumps at ±180°."""

    name: str
    """As operators are told, e.g. ``polygon 1``."""
    surface: Surface | MultiPolygon
    repaired: str = ""
    """What was repaired, and where."""
    over_antimeridian: bool = False
    doubt: Surface | MultiPolygon | None = None
    """Where it crosses itself: what it encloses there cannot be told."""
    kind: str = "polygon"

    @property
    def outline(self) -> Surface | MultiPolygon:
        return self.surface

    def covers(self, points: Points) -> Mask:
        """Who is inside or on the edge. (n,)"""
        shapely.prepare(self.surface)  # an index of its edges, kept with it
        west, south, east, north = self.surface.bounds
        inside = np.zeros(len(points), np.bool_)
        for turn in (-360.0, 0.0, 360.0):
            if west > 180 + turn or east < -180 + turn:
                continue
            lon = points.lon + turn if turn else points.lon
            near = (lon >= west) & (lon <= east) & (points.lat >= south) & (points.lat <= north)
            rows = np.flatnonzero(near)
            inside[rows] |= shapely.intersects_xy(self.surface, lon[rows], points.lat[rows])
        return inside

    def edge_km(self, lat: float, lon: float) -> float:
        """To the nearest edge, of a hole as well; positive inside, negative outside."""
        away = min(_to_line(lat, lon, ring) for ring in _edges(self.surface))
        return away if self.covers(Points.of([(lat, lon)]))[0] else -away


@dataclass(frozen=True, slots=True, eq=False)
class Disc:
    """A circle with a radius above 0."""

    name: str
    circle: Circle
    kind: str = "circle"
    repaired: str = ""

    @property
    def outline(self) -> Surface | MultiPolygon | None:
        """None where it holds a pole: such a circle has no outline on our maps."""
        reach = np.degrees(self.circle.radius_km / EARTH_KM)
        if abs(self.circle.lat) + reach >= 89.9:
            return None
        turn = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
        phi, d = np.radians(self.circle.lat), np.radians(reach)
        lat = np.arcsin(np.sin(phi) * np.cos(d) + np.cos(phi) * np.sin(d) * np.cos(turn))
        east = np.arctan2(np.sin(turn) * np.sin(d) * np.cos(phi), np.cos(d) - np.sin(phi) * np.sin(lat))
        return Surface(np.column_stack((self.circle.lon + np.degrees(east), np.degrees(lat))))

    def covers(self, points: Points) -> Mask:
        angle = min(self.circle.radius_km * WIDER / EARTH_KM, np.pi)
        centre = unit_vectors(self.circle.lat, self.circle.lon)
        found: Mask = points.xyz @ centre >= np.cos(angle)
        return found

    def edge_km(self, lat: float, lon: float) -> float:
        """To the circle; positive inside. Of the radius as taken, 0.5 % wider than declared."""
        return self.circle.radius_km * WIDER - distance_km((self.circle.lat, self.circle.lon), (lat, lon))


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """What is at most so far from a line."""

    name: str
    line: LineString
    buffer_km: float
    kind: str = "line"
    repaired: str = ""

    @property
    def outline(self) -> LineString:
        return self.line

    def covers(self, points: Points) -> Mask:
        reach = self.buffer_km * WIDER
        west, south, east, north = self.line.bounds
        high = np.degrees(reach / EARTH_KM) * 1.01
        flat = max(np.cos(np.radians(min(max(abs(south), abs(north)) + high, 89.9))), 1e-3)
        wide = high / flat
        path = np.asarray(self.line.coords)
        inside = np.zeros(len(points), np.bool_)
        for turn in (-360.0, 0.0, 360.0):
            lon = points.lon + turn
            near = (lon >= west - wide) & (lon <= east + wide)
            near &= (points.lat >= south - high) & (points.lat <= north + high)
            for row in np.flatnonzero(near):
                inside[row] |= _to_line(float(points.lat[row]), float(lon[row]), path) <= reach
        return inside

    def edge_km(self, lat: float, lon: float) -> float:
        return self.buffer_km * WIDER - _to_line(lat, lon, np.asarray(self.line.coords))


Shape = Patch | Disc | Strip


# --- reading a warning's shapes ----------------------------------------------------------------------------


def patch(polygon: Polygon, name: str = "polygon") -> Patch:
    """The polygon, its holes taken out. Raises ShapeError where it is not certain what it encloses."""
    vertices = len(polygon.outer) + sum(map(len, polygon.holes))
    if vertices > MOST_VERTICES:
        raise ShapeError(f"it has {vertices:,} corners; at most {MOST_VERTICES:,} are read")
    outer, over = _ring(polygon.outer, "it")
    rings = [outer]
    for number, hole in enumerate(polygon.holes, 1):
        ring, _ = _ring(hole, f"its hole {number}")
        ring[:, 0] += 360 * np.round((np.median(outer[:, 0]) - np.median(ring[:, 0])) / 360)
        rings.append(ring)
    whole = Surface(outer, rings[1:])
    if shapely.is_valid(whole):
        return Patch(name, whole, over_antimeridian=over)
    remarks: list[str] = []
    doubts: list[BaseGeometry] = []
    surface, *holes = [_certain(ring, remarks, doubts) for ring in rings]
    if holes:  # what lies in a hole is outside, also where holes touch or reach over the edge
        surface = _surfaces(shapely.difference(surface, shapely.union_all(holes)))
    if surface.is_empty:
        raise ShapeError("its holes leave nothing of it")
    doubt = _surfaces(shapely.union_all(doubts)) if doubts else None
    return Patch(name, surface, "; ".join(remarks) or "its holes touch", over, doubt)


def elsewhere(polygon: Polygon, name: str, bounds: tuple[float, float, float, float]) -> Patch | None:
    """The polygon, unchecked, where it clearly has nothing to do with `bounds` (west, south, east, north):
    a country's warning has hundreds that do not concern us. None where it might have, or has odd numbers,
    or would with latitude and longitude swapped.
    """
    if not 3 <= len(polygon.outer) <= MOST_VERTICES:
        return None
    path = np.array(polygon.outer, np.float64)[:, ::-1]
    low, high = path.min(axis=0), path.max(axis=0)
    if not (np.isfinite(path).all() and low[1] >= -90 and high[1] <= 90):
        return None
    if low[0] < -180 or high[0] > 180 or (np.abs(np.diff(path[:, 0], append=path[:1, 0])) > 180).any():
        return None
    west, south, east, north = bounds
    for a, b in ((0, 1), (1, 0)):
        if low[a] <= east and high[a] >= west and low[b] <= north and high[b] >= south:
            return None
    return Patch(name, Surface(path))


def disc(circle: Circle, name: str = "circle") -> Disc:
    """Raises ShapeError. A radius of 0 is a point and not for here."""
    _check(((circle.lat, circle.lon),), "its centre")
    if not 0 < circle.radius_km < np.inf:
        raise ShapeError(f"its radius is {circle.radius_km:g} km")
    return Disc(name, circle)


def strip(line: Line, name: str = "line") -> Strip:
    """Raises ShapeError, also for a line without a width: who is meant cannot be told."""
    if len(line.points) > MOST_VERTICES:
        raise ShapeError(f"it has {len(line.points):,} points; at most {MOST_VERTICES:,} are read")
    if len(line.points) < 2:
        raise ShapeError("it has fewer than two points")
    _check(line.points, "it")
    if not 0 < line.buffer_km < np.inf:
        raise ShapeError("it is a line without a width, so who is meant cannot be told")
    path, _ = _unrolled(np.array(line.points, np.float64)[:, ::-1])
    return Strip(name, LineString(path), line.buffer_km)


def other_way_round(polygon: Polygon) -> Patch | None:
    """A polygon that crosses ±180°, taken instead as its longitudes stand, round the other side of the Earth.
    None where that is no polygon."""
    surface = Surface([(lon, lat) for lat, lon in polygon.outer])
    return Patch("polygon", surface) if shapely.is_valid(surface) and surface.area else None


def swapped(polygon: Polygon) -> Patch | None:
    """The polygon with latitude and longitude changed over, where that is a polygon on Earth."""
    rings = [tuple((lon, lat) for lat, lon in ring) for ring in (polygon.outer, *polygon.holes)]
    try:
        return patch(Polygon(rings[0], tuple(rings[1:])))
    except ShapeError:
        return None


def merged(polygons: Iterable[Polygon]) -> Surface | MultiPolygon | None:
    """All of them as one surface, for a county's boundary; None where there are none. Raises ShapeError."""
    parts = [patch(polygon).surface for polygon in polygons]
    return _surfaces(shapely.union_all(parts)) if parts else None


def outside_share(shape: Shape, home: BaseGeometry) -> float | None:
    """How much of a shape (area, of a line its length) lies outside `home`: 0 to 1; None for a circle
    around a pole."""
    outline = shape.outline
    if outline is None:
        return None
    ours = _equal_area(home)
    sizes = []
    for turn in (0.0, -360.0, 360.0):
        moved = _equal_area(translate(outline, turn))
        whole = moved.length if shape.kind == "line" else moved.area
        inside = shapely.intersection(moved, ours)
        sizes.append((inside.length if shape.kind == "line" else inside.area) / whole if whole else 0.0)
    return float(min(max(1 - sum(sizes), 0.0), 1.0))


def contains(shape: Shape, home: BaseGeometry) -> bool:
    """Whether all of `home` lies in the shape; never said of a line."""
    if isinstance(shape, Patch):
        return any(shapely.covers(translate(shape.surface, turn), home) for turn in (0.0, -360.0, 360.0))
    corners = shapely.get_coordinates(home)
    return isinstance(shape, Disc) and bool(shape.covers(Points.of((y, x) for x, y in corners)).all())


def meets(shape: Shape, home: BaseGeometry) -> bool:
    """Whether any of a shape (a line with its width) lies in `home`."""
    if isinstance(shape, Patch):
        return any(shapely.intersects(translate(shape.surface, turn), home) for turn in (0.0, -360.0, 360.0))
    corners = shapely.get_coordinates(home)
    if shape.covers(Points.of((y, x) for x, y in corners)).any():
        return True
    if isinstance(shape, Disc):
        centre = shapely.Point(shape.circle.lon, shape.circle.lat)
        return bool(home.covers(centre)) or any(
            _to_line(shape.circle.lat, shape.circle.lon, ring) <= shape.circle.radius_km * WIDER
            for ring in _edges(home)
        )
    if shapely.intersects(shape.line, home):
        return True
    reach = shape.buffer_km * WIDER
    return any(_to_line(y, x, ring) <= reach for x, y in shape.line.coords for ring in _edges(home))


# --- rings -------------------------------------------------------------------------------------------------


def _check(ring: Sequence[tuple[float, float]], what: str) -> None:
    table = np.array(ring, np.float64)
    wrong = ~np.isfinite(table).all(axis=1) | (np.abs(table[:, 0]) > 90) | (np.abs(table[:, 1]) > 360)
    if wrong.any():
        at = int(np.argmax(wrong))
        lat, lon = table[at]
        hint = "; latitude and longitude look swapped" if 90 < abs(lat) <= 180 and abs(lon) <= 90 else ""
        raise ShapeError(f"{what} has a point that is nowhere on Earth: {lat:g},{lon:g}{hint}")


def _ring(ring: Ring, what: str) -> tuple[Floats, bool]:
    """(lon, lat) rows, closed, unrolled, without repeated points; whether it crosses ±180°."""
    if len(ring) < 3:
        raise ShapeError(f"{what} has {len(ring)} corners; a ring needs three")
    _check(ring, what)
    path = np.array(ring, np.float64)[:, ::-1]
    if (path[0] != path[-1]).any():
        path = np.vstack((path, path[:1]))
    path, over = _unrolled(path)
    if abs(path[0, 0] - path[-1, 0]) > 1e-9:
        raise ShapeError(f"{what} goes round a pole")
    moves = np.ones(len(path), np.bool_)
    moves[1:] = (path[1:] != path[:-1]).any(axis=1)
    path = path[moves]
    if len(path) < 4 or shapely.MultiPoint(path).convex_hull.area == 0:
        raise ShapeError(f"{what} encloses nothing: its corners lie on one line or point")
    return path, over


def _unrolled(path: Floats) -> tuple[Floats, bool]:
    """Longitudes that go the short way from point to point: a step of more than 180° crosses ±180°."""
    steps = np.diff(path[:, 0])
    turns = -360.0 * np.round(steps / 360.0)
    turns[np.abs(steps) <= 180] = 0.0
    if not turns.any():
        return path, False
    path = path.copy()
    path[1:, 0] += np.cumsum(turns)
    return path, True


def _winding_area(path: Floats) -> float:
    """Area in square degrees as the ring winds round it: loops of the other direction count against it."""
    x, y = (path - path[0]).T
    return float(abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2)


def _certain(path: Floats, remarks: list[str], doubts: list[BaseGeometry]) -> Surface | MultiPolygon:
    """What a ring encloses. Certain where filling it by winding and by even-odd comes to the same area; where
    it crosses itself in small loops, certain except there."""
    surface = Surface(path)
    if shapely.is_valid(surface):
        return surface
    reason = shapely.is_valid_reason(surface)
    crossings = _crossings(path)
    if crossings is None:
        raise ShapeError(f"it crosses itself in more than {_MOST_CROSSINGS} places")
    fixed = _surfaces(shapely.make_valid(surface))
    meant = _winding_area(path)
    if abs(fixed.area - meant) <= REPAIR_TOLERANCE * max(meant, fixed.area):
        remarks.append(f"repaired without changing its area: {reason}")
        return fixed
    loops = [_loop(path, *edges) for edges in crossings]
    if not loops or sum(loop.area for loop in loops) > LOOP_SHARE * fixed.area:
        raise ShapeError(f"it crosses itself ({reason}), so what it encloses cannot be told")
    remarks.append(f"crosses itself in {len(loops)} small loops; certain except there")
    doubts += loops
    return fixed


def _loop(path: Floats, first: int, second: int) -> BaseGeometry:
    """The hull of the smaller of the two loops into which two crossing edges part a ring."""
    one = path[first + 1 : second + 1]
    other = np.vstack((path[second + 1 :], path[: first + 1]))
    hulls = [shapely.MultiPoint(part).convex_hull for part in (one, other)]
    edges = (LineString(path[first : first + 2]), LineString(path[second : second + 2]))
    small = min(hulls, key=lambda hull: float(hull.area))
    hull: BaseGeometry = shapely.union_all([small, shapely.intersection(*edges)]).convex_hull
    return hull


def _crossings(path: Floats) -> list[tuple[int, int]] | None:
    """Pairs of edges of the ring that cross, by number; None once they are too many."""
    low, high = np.minimum(path[:-1], path[1:]), np.maximum(path[:-1], path[1:])
    order = np.argsort(low[:, 0], kind="stable")
    low, high = low[order], high[order]
    a, b = path[:-1][order], path[1:][order]
    last = np.searchsorted(low[:, 0], high[:, 0], side="right")
    found: list[tuple[int, int]] = []
    pairs = 0
    for row in range(len(order)):
        others = slice(row + 1, int(last[row]))
        count = others.stop - others.start
        if count <= 0:
            continue
        pairs += count
        c, d = a[others], b[others]
        side_c, side_d = _side(a[row], b[row], c), _side(a[row], b[row], d)
        side_a, side_b = _side(c, d, a[row]), _side(c, d, b[row])
        across = np.flatnonzero((side_c * side_d < 0) & (side_a * side_b < 0)) + others.start
        one = int(order[row])
        found += [(min(one, int(n)), max(one, int(n))) for n in order[across]]
        if len(found) > _MOST_CROSSINGS or pairs > _MOST_PAIRS:
            return None
    return found


def _side(a: Floats, b: Floats, p: Floats) -> Any:
    return (b[..., 0] - a[..., 0]) * (p[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (
        p[..., 0] - a[..., 0]
    )


def _surfaces(found: BaseGeometry) -> Surface | MultiPolygon:
    """The surfaces of a result, without the lines and points that have no area."""
    parts = [p for p in shapely.get_parts(shapely.get_parts(found)) if isinstance(p, Surface)]
    flat = [p for p in parts if p.area > 0]
    return flat[0] if len(flat) == 1 else MultiPolygon(flat)


def _edges(surface: BaseGeometry) -> list[Floats]:
    """The rings of a surface, (lon, lat) rows."""
    rings: list[LinearRing] = []
    for part in shapely.get_parts(surface):
        rings += [part.exterior, *part.interiors]
    return [np.asarray(ring.coords) for ring in rings]


def _to_line(lat: float, lon: float, path: Floats) -> float:
    """Kilometres from a place to the nearest point of a path of (lon, lat), unrolled.

    The nearest point of each edge is found in the plane that touches the Earth at the place, which is
    exact where it matters, near the edge; the distance to it is then that along the great circle.
    """
    x = path[:, 0] - lon
    x -= 360 * np.round(x.mean() / 360)
    flat = np.cos(np.radians(lat))
    x, y = x * flat, path[:, 1] - lat
    dx, dy = np.diff(x), np.diff(y)
    length = dx * dx + dy * dy
    length[length == 0] = 1.0
    t = np.clip(-(x[:-1] * dx + y[:-1] * dy) / length, 0, 1)
    near_x, near_y = x[:-1] + t * dx, y[:-1] + t * dy
    away = _haversine(lat, lon, lat + near_y, lon + near_x / max(flat, 1e-6))
    return float(away.min())


def _equal_area(shape: BaseGeometry) -> BaseGeometry:
    """Lambert's cylindrical projection, so that shares of area are right at any latitude."""

    def projected(xy: Floats) -> Floats:
        return np.column_stack((xy[:, 0], np.degrees(np.sin(np.radians(xy[:, 1])))))

    return shapely.transform(shape, projected)
