"""100,000 terminals × a 2,000-corner polygon, a 50 km circle, 200 township codes (bars: 15, 1 and 0.1 ms)."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely

from alerts.area import cut
from alerts.model import Area, Circle, CodeScheme, Polygon, RegionCode
from alerts.regions import County, Township, Village
from alerts.shapes import disc, patch, unit_vectors
from terminals.fleet import Fleet, cover, select
from terminals.model import Terminal

TERMINALS: Final = 100_000
TOWNSHIPS: Final = 900
"""As many as nine-digit codes of one county leave room for; ten villages in each, about eleven terminals."""
CORNERS: Final = 2_000
CODES: Final = 200


@dataclass(frozen=True, slots=True)
class Line:
    what: str
    ms: float
    floor: float | None = None
    bar: float | None = None


def measure(rounds: int = 21) -> list[Line]:
    """Medians in ms, each beside the least that the same library can do on the same arrays."""
    random = np.random.default_rng(20260715)
    county, terminals = _county(random)
    fleet = Fleet.of(terminals, county)
    points = fleet.points
    ring = _ring(random)
    shape, circle = patch(ring), disc(Circle(33.5, 104.5, 50.0))
    prepared = shapely.Polygon([(lon, lat) for lat, lon in ring.outer])
    shapely.prepare(prepared)
    centre, least = unit_vectors(33.5, 104.5), math.cos(50.0 / 6371.0)
    codes = tuple(RegionCode(CodeScheme.MCA, f"623023{n:03}") for n in range(1, TOWNSHIPS, 4))[:CODES]
    named = cut([Area("", codes)], county)
    groups = cover(named.village_keys, county)
    parts = [fleet.members[group] for group in groups]
    drawn = cut([Area("", polygons=(ring,))], county)
    return [
        Line(
            f"polygon of {CORNERS:,} corners: {int(shape.covers(points).sum()):,} inside",
            _median(lambda: shape.covers(points), rounds),
            _median(lambda: shapely.contains_xy(prepared, points.lon, points.lat), rounds),
            15.0,
        ),
        Line(
            f"circle of 50 km: {int(circle.covers(points).sum()):,} inside",
            _median(lambda: circle.covers(points), rounds),
            _median(lambda: points.xyz @ centre >= least, rounds),
            1.0,
        ),
        Line(
            f"{CODES} township codes: {len(fleet.rows_of(groups)):,} terminals",
            _median(lambda: fleet.rows_of(groups), rounds),
            _median(lambda: np.concatenate(parts), rounds),
            0.1,
        ),
        Line(
            "the polygon: cut, 9,000 villages", _median(lambda: cut([Area("", polygons=(ring,))], county), 5)
        ),
        Line("the polygon: selection with ids and groups", _median(lambda: select(fleet, drawn, county), 5)),
        Line("the codes: cut", _median(lambda: cut([Area("", codes)], county), 5)),
        Line("the codes: selection with ids and groups", _median(lambda: select(fleet, named, county), 5)),
        Line(
            "the fleet made ready, once per change of the register",
            _median(lambda: Fleet.of(terminals, county), 3),
        ),
    ]


def page(quick: bool) -> str:
    """The measurement as a markdown section."""
    rows = measure(7 if quick else 51)
    lines = [
        f"## Who is in: {TERMINALS:,} terminals",
        "",
        "Floor: `shapely.contains_xy` with a prepared polygon, one numpy product with the precomputed unit "
        "vectors, one `numpy.concatenate`. Below them what a plan costs around it.",
        "",
        "| what | median ms | floor | × floor | bar |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        floor = "" if row.floor is None else f"{row.floor:.3f}"
        ratio = "" if row.floor is None else f"{row.ms / row.floor:.2f}"
        met = "" if row.bar is None else f"{row.bar:g} ms: **{'met' if row.ms <= row.bar else 'not met'}**"
        lines.append(f"| {row.what} | {row.ms:.3f} | {floor} | {ratio} | {met} |")
    return "\n".join([*lines, ""])


def _county(random: np.random.Generator) -> tuple[County, list[Terminal]]:
    """A county of 330 × 330 km, as large as the measurement in `geo.md` §4."""
    townships = tuple(
        Township(f"t{n}", f"镇{n}", f"623023{n + 1:03}", f"623023{n + 1:03}", position=place)
        for n, place in enumerate(_places(random, TOWNSHIPS - 1))
    )
    villages = tuple(
        Village(f"t{n // 10}v{n % 10}", f"村{n}", None, f"t{n // 10}", position=place)
        for n, place in enumerate(_places(random, 10 * (TOWNSHIPS - 1)))
    )
    terminals = [
        Terminal(f"x{n:06}", "", villages[n % len(villages)].key, lat, lon, enrolled=True)
        for n, (lat, lon) in enumerate(_places(random, TERMINALS))
    ]
    return County("bench", "623023", "某县", townships, villages), terminals


def _places(random: np.random.Generator, count: int) -> list[tuple[float, float]]:
    lat, lon = random.uniform(32, 35, count), random.uniform(102.7, 106.3, count)
    return list(zip(lat.tolist(), lon.tolist(), strict=True))


def _ring(random: np.random.Generator) -> Polygon:
    """A ragged ring round the middle that holds about a seventh of all, as in `geo.md` §4."""
    turn = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    reach = 0.7 + 0.15 * np.sin(5 * turn) + 0.02 * random.random(CORNERS)
    lat, lon = 33.5 + reach * np.sin(turn), 104.5 + reach * np.cos(turn)
    return Polygon(tuple(zip(lat.tolist(), lon.tolist(), strict=True)))


def _median(work: Callable[[], object], rounds: int) -> float:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1e3)
    return statistics.median(took)
