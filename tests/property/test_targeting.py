"""Whatever is drawn: nobody is in who does not stand in it, and no group reaches any further."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.area import cut
from alerts.model import Area, Circle, CodeScheme, Line, Polygon, RegionCode
from alerts.regions import County, Township, Village
from alerts.shapes import Points, ShapeError, disc, distance_km, patch, strip
from terminals.fleet import Fleet, groups_of, select
from terminals.model import Terminal

LAT = st.floats(33, 34, allow_nan=False)
LON = st.floats(104, 105, allow_nan=False)
PLACE = st.tuples(LAT, LON)
CODES = ("623023", "623023101", "623023102", "623023101201", "610102")


@st.composite
def stars(draw: st.DrawFn) -> Polygon:
    """A simple polygon of 3 to 12 corners round a middle."""
    count = draw(st.integers(3, 12))
    lat, lon = draw(PLACE)
    corners = []
    for n in range(count):
        reach, turn = draw(st.floats(0.05, 0.5)), 2 * math.pi * n / count
        corners.append((lat + reach * math.sin(turn), lon + reach * math.cos(turn)))
    return Polygon((*corners, corners[0]))


@st.composite
def counties(draw: st.DrawFn) -> County:
    townships = tuple(
        Township(f"t{n}", f"镇{n}", f"62302310{n}", f"62302310{n}", position=draw(st.none() | PLACE))
        for n in (1, 2)
    )
    villages = tuple(
        Village(f"v{n}{k}", f"村{n}{k}", f"62302310{n}20{k}", f"t{n}", position=draw(st.none() | PLACE))
        for n in (1, 2)
        for k in (1, 2, 3)
    )
    border = Polygon(((33, 104), (33, 105), (34, 105), (34, 104), (33, 104)))
    return County("x", "623023", "某县", townships, villages, boundary=draw(st.sampled_from(((), (border,)))))


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Terminal, ...]:
    villages = draw(st.lists(st.sampled_from([f"v{n}{k}" for n in (1, 2) for k in (1, 2, 3)]), max_size=12))
    found = []
    for n, village in enumerate(villages):
        lat, lon = draw(st.none() | PLACE) or (None, None)
        found.append(Terminal(f"x{n:02}", "", village, lat, lon, enrolled=draw(st.booleans())))
    return tuple(found)


@st.composite
def areas(draw: st.DrawFn) -> Area:
    codes = draw(st.lists(st.sampled_from(CODES), max_size=2, unique=True))
    return Area(
        "某处",
        tuple(RegionCode(CodeScheme.MCA, code) for code in codes),
        tuple(draw(st.lists(stars(), max_size=2))),
        tuple(
            Circle(*place, km) for place, km in draw(st.lists(st.tuples(PLACE, st.floats(0, 60)), max_size=2))
        ),
        tuple(
            Line(tuple(p), 3.0) for p in draw(st.lists(st.lists(PLACE, min_size=2, max_size=4), max_size=1))
        ),
        tuple(draw(st.lists(stars(), max_size=1))),
    )


@settings(max_examples=60, deadline=None)
@given(counties(), fleets(), st.lists(areas(), max_size=3), st.booleans())
def test_groups_reach_exactly_the_terminals_that_are_in(
    county: County, terminals: tuple[Terminal, ...], drawn: list[Area], narrow: bool
) -> None:
    fleet = Fleet.of(terminals, county)
    area = cut(drawn, county, narrow=narrow, positions=fleet.positions)
    found = select(fleet, area, county)
    if found.groups:
        reached = {
            t.id for t in terminals if t.enrolled and set(groups_of(t.village, county)) & set(found.groups)
        }
        assert reached == set(found.terminals)
    by_id = {t.id: t for t in terminals}
    assert {by_id[t].village for t in found.terminals} <= set(found.villages)
    assert area.village_keys <= set(found.villages)
    assert set(found.silent_villages) == set(found.villages) - {by_id[t].village for t in found.terminals}
    assert dict(area.ways).keys() == area.village_keys
    if area.empty:
        assert area.problems or area.outside, "an empty cut always has a reason"


@settings(max_examples=40, deadline=None)
@given(counties(), st.lists(areas(), min_size=1, max_size=2))
def test_narrowing_and_exclusion_only_take_away_and_more_areas_only_add(
    county: County, drawn: list[Area]
) -> None:
    whole = cut(drawn, county)
    open_ = cut([replace(one, excluded=()) for one in drawn], county)
    assert whole.village_keys <= open_.village_keys
    narrowed = cut(drawn, county, narrow=True)
    if not any("cannot be narrowed" in problem for problem in narrowed.problems):
        assert narrowed.village_keys <= whole.village_keys
    assert cut(drawn[:1], county).village_keys <= whole.village_keys


@settings(max_examples=40, deadline=None)
@given(stars(), st.integers(0, 11), st.booleans(), st.sampled_from((-360.0, 0.0, 360.0)))
def test_a_ring_means_the_same_wherever_it_starts_and_whichever_way_it_goes(
    star: Polygon, start: int, back: bool, turn: float
) -> None:
    corners = list(star.outer[:-1])
    start %= len(corners)
    corners = corners[start:] + corners[:start]
    if back:
        corners.reverse()
    if any(abs(lon + turn) > 360 for _, lon in corners):
        turn = 0.0
    other = Polygon(tuple((lat, lon + turn) for lat, lon in [*corners, corners[0]]))
    grid = Points.of((33 + a / 7, 104 + b / 7) for a in range(8) for b in range(8))
    edges = np.array([abs(patch(star).edge_km(*p)) for p in zip(grid.lat, grid.lon, strict=True)])
    clear = edges > 1e-6
    assert (patch(star).covers(grid) == patch(other).covers(grid))[clear].all()


@given(stars(), PLACE)
def test_inside_is_what_a_ray_to_the_east_says(star: Polygon, place: tuple[float, float]) -> None:
    lat, lon = place
    crossings = sum(
        (a[0] > lat) != (b[0] > lat) and lon < (b[1] - a[1]) * (lat - a[0]) / (b[0] - a[0]) + a[1]
        for a, b in zip(star.outer, star.outer[1:], strict=False)
    )
    found = patch(star)
    if abs(found.edge_km(lat, lon)) > 1e-6:
        assert found.covers(Points.of([place]))[0] == bool(crossings % 2)
        assert (found.edge_km(lat, lon) > 0) == bool(crossings % 2)


@given(PLACE, st.floats(0.1, 300), PLACE)
def test_a_circle_is_who_is_at_most_its_radius_away(
    centre: tuple[float, float], km: float, place: tuple[float, float]
) -> None:
    ring = disc(Circle(*centre, km))
    away = distance_km(centre, place)
    assert ring.edge_km(*place) == km * 1.005 - away
    if abs(away - km * 1.005) > 1e-6:
        assert ring.covers(Points.of([place]))[0] == (away <= km * 1.005)


@settings(max_examples=40, deadline=None)
@given(st.lists(PLACE, min_size=2, max_size=5), st.floats(0.1, 50), PLACE)
def test_a_line_reaches_whoever_a_fine_walk_along_it_finds(
    points: list[tuple[float, float]], km: float, place: tuple[float, float]
) -> None:
    band = strip(Line(tuple(points), km))
    steps = np.linspace(0, 1, 60)
    walked = min(
        distance_km(place, (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t))
        for a, b in pairwise(points)
        for t in steps
    )
    slack = 1.2 + 0.002 * walked
    inside = band.covers(Points.of([place]))[0]
    if walked < km * 1.005 - slack:
        assert inside
    if walked > km * 1.005 + slack:
        assert not inside


ANY = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-400, 400).map(float)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(ANY, ANY), max_size=12),
    st.lists(st.lists(st.tuples(ANY, ANY), max_size=5), max_size=2),
)
def test_any_numbers_are_a_polygon_or_a_shape_error(
    ring: list[tuple[float, float]], holes: list[list[tuple[float, float]]]
) -> None:
    try:
        found = patch(Polygon(tuple(ring), tuple(map(tuple, holes))))
    except ShapeError:
        return
    assert found.surface.is_valid
    assert found.surface.area > 0
    assert found.covers(Points.of([None, (0.0, 0.0)])).shape == (2,)
