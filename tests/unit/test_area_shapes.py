"""Shapes on the ground and what they take in of a county: geometry, repair, refusal, reasons."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from alerts.area import Cut, cut, unusual_share
from alerts.model import Area, Circle, CodeScheme, Line, Polygon, RegionCode
from alerts.regions import County, Township, Village
from alerts.shapes import (
    MOST_VERTICES,
    Patch,
    Points,
    ShapeError,
    disc,
    distance_km,
    merged,
    outside_share,
    patch,
    strip,
)

# A made-up county of 1° × 1°: four townships at its quarters, each with a measured and an unmeasured village.
SEATS = {"t-sw": (33.25, 104.25), "t-se": (33.25, 104.75), "t-nw": (33.75, 104.25), "t-ne": (33.75, 104.75)}


def box(south: float, west: float, north: float, east: float) -> tuple[tuple[float, float], ...]:
    return ((south, west), (south, east), (north, east), (north, west), (south, west))


def polygon(*corners: float, holes: tuple[tuple[tuple[float, float], ...], ...] = ()) -> Polygon:
    south, west, north, east = corners
    return Polygon(box(south, west, north, east), holes)


COUNTY = County(
    key="made-up",
    code="623023",
    name="某县",
    townships=tuple(
        Township(key, f"{key[2:]}镇", f"62302310{n}", f"62302310{n}", position=seat)
        for n, (key, seat) in enumerate(SEATS.items(), 1)
    ),
    villages=tuple(
        village
        for n, (key, (lat, lon)) in enumerate(SEATS.items(), 1)
        for village in (
            Village(f"{key[2:]}-a", f"{key[2:]}甲村", f"62302310{n}201", key, (lat + 0.1, lon + 0.1)),
            Village(f"{key[2:]}-b", f"{key[2:]}乙村", f"62302310{n}202", key),
        )
    ),
    boundary=(polygon(33, 104, 34, 105),),
)
NOWHERE = replace(
    COUNTY,
    boundary=(),
    townships=tuple(replace(t, position=None) for t in COUNTY.townships),
    villages=tuple(replace(v, position=None) for v in COUNTY.villages),
)


def area(*shapes: Polygon | Circle | Line, codes: tuple[str, ...] = (), **fields: object) -> Area:
    made = Area(
        "河谷",
        tuple(RegionCode(CodeScheme.MCA, code) for code in codes),
        tuple(s for s in shapes if isinstance(s, Polygon)),
        tuple(s for s in shapes if isinstance(s, Circle)),
        tuple(s for s in shapes if isinstance(s, Line)),
    )
    return replace(made, **fields)


def taken(found: Cut) -> set[str]:
    return set(found.village_keys)


def at(shape: Patch, *places: tuple[float, float]) -> list[bool]:
    return shape.covers(Points.of(places)).tolist()


# --- polygons ------------------------------------------------------------------------------------------


def test_a_village_is_in_by_its_position_and_without_one_by_its_townships_seat() -> None:
    found = cut([area(polygon(33.2, 104.2, 33.4, 104.4))], COUNTY)
    assert taken(found) == {"sw-a", "sw-b"}
    assert dict(found.ways) == {"sw-a": "polygon", "sw-b": "polygon, township seat"}
    assert any("polygon 1, polygon, township seat 1" in line for line in found.lines)
    only_seat = cut([area(polygon(33.2, 104.2, 33.3, 104.3))], COUNTY)
    assert taken(only_seat) == {"sw-b"}, "the measured village stands outside, wherever its seat is"
    assert found.problems == ()


def test_terminals_say_better_than_the_seat_where_a_village_stands() -> None:
    shape = area(polygon(33.2, 104.2, 33.3, 104.3))
    assert cut([shape], COUNTY, positions={"sw-b": (33.9, 104.9)}).village_keys == frozenset()
    found = cut([area(polygon(33.85, 104.88, 33.95, 104.95))], COUNTY, positions={"sw-b": (33.9, 104.9)})
    assert dict(found.ways) == {"sw-b": "polygon, place of its terminals"}


def test_who_stands_in_a_hole_or_on_an_island_in_it_is_told_apart() -> None:
    hole = box(33.3, 104.3, 33.5, 104.5)
    ring = patch(Polygon(box(33, 104, 34, 105), (hole,)))
    assert at(ring, (33.1, 104.1), (33.4, 104.4)) == [True, False]
    island = patch(polygon(33.38, 104.38, 33.42, 104.42))
    assert at(island, (33.4, 104.4)) == [True]
    whole = cut([area(Polygon(box(33, 104, 34, 105), (hole,)))], COUNTY)
    assert taken(whole) == {v.key for v in COUNTY.villages} - {"sw-a"}


def test_the_edge_counts_as_inside_and_holes_that_touch_or_reach_over_take_away_what_they_cover() -> None:
    square = patch(polygon(33, 104, 34, 105))
    assert at(square, (33, 104.5), (33, 104), (32.999999, 104.5)) == [True, True, False]
    touching = Polygon(box(33, 104, 34, 105), (box(33.2, 104.2, 33.4, 104.4), box(33.3, 104.3, 33.5, 104.5)))
    assert at(patch(touching), (33.25, 104.25), (33.35, 104.35), (33.45, 104.45), (33.6, 104.6)) == [
        False, False, False, True,
    ]  # fmt: skip
    over = Polygon(box(33, 104, 34, 105), (box(33.5, 104.5, 35, 106),))
    assert at(patch(over), (33.7, 104.7), (33.2, 104.2)) == [False, True]


def test_several_polygons_of_an_area_and_several_areas_are_united() -> None:
    one, two = polygon(33.3, 104.3, 33.4, 104.4), polygon(33.8, 104.8, 33.9, 104.9)
    assert taken(cut([area(one, two)], COUNTY)) == {"sw-a", "ne-a"}
    assert taken(cut([area(one), area(two)], COUNTY)) == {"sw-a", "ne-a"}


def test_an_excluded_polygon_takes_away_what_a_code_and_a_shape_name_in_its_own_area_only() -> None:
    gone = (polygon(33.3, 104.3, 33.4, 104.4),)
    coded = area(codes=("623023101",), excluded=gone)
    found = cut([coded], COUNTY)
    assert taken(found) == {"sw-b"}
    assert any("takes away sw镇sw甲村" in line for line in found.lines)
    assert taken(cut([coded, area(codes=("623023101",))], COUNTY)) == {"sw-a", "sw-b"}


def test_an_exclusion_that_cannot_be_judged_holds() -> None:
    coded = area(codes=("623023101",), excluded=(polygon(33.3, 104.3, 33.4, 104.4),))
    somewhere = replace(NOWHERE, boundary=COUNTY.boundary)
    found = cut([coded], somewhere)
    assert taken(found) == {"sw-a", "sw-b"}
    assert any("is not known" in problem for problem in found.problems)


def test_a_polygon_over_the_antimeridian_is_the_small_one() -> None:
    fiji = patch(polygon(-18, 179, -16, -179))
    assert at(fiji, (-17, 179.5), (-17, -179.5), (-17, 180), (-17, -180), (-17, 0)) == [
        True, True, True, True, False,
    ]  # fmt: skip
    assert fiji.edge_km(-17, -179.5) == pytest.approx(53, rel=0.02)
    assert outside_share(fiji, merged([polygon(-18, 179, -16, 180)])) == pytest.approx(0.5, abs=0.01)


def test_a_ring_of_the_whole_world_and_one_round_a_pole_are_refused() -> None:
    with pytest.raises(ShapeError, match="encloses nothing"):
        patch(Polygon(((-90, -180), (-90, 180), (90, 180), (90, -180), (-90, -180))))
    cap_ = tuple((70.0, lon) for lon in (0.0, 100.0, -160.0, -60.0, 0.0))
    with pytest.raises(ShapeError, match="pole"):
        patch(Polygon(cap_))


def test_a_side_of_more_than_180_degrees_that_may_mean_us_is_held() -> None:
    found = cut([area(polygon(20, -90, 50, 130))], COUNTY)
    assert found.empty
    assert any("other way round" in problem for problem in found.problems)


def test_ten_thousand_corners_are_read_and_more_than_the_most_are_refused() -> None:
    turn = np.linspace(0, 2 * np.pi, 10_000, endpoint=False)
    reach = 0.3 + 0.02 * np.sin(40 * turn)
    lat, lon = 33.5 + reach * np.sin(turn), 104.5 + reach * np.cos(turn)
    fine = patch(Polygon(tuple(zip(lat.tolist(), lon.tolist(), strict=True))))
    assert at(fine, (33.5, 104.5), (33.5, 104.9)) == [True, False]
    with pytest.raises(ShapeError, match="corners"):
        patch(Polygon(((33.0, 104.0),) * (MOST_VERTICES + 1)))


# --- repair --------------------------------------------------------------------------------------------

TRIANGLE_ON_A_CORNER = (*box(33, 104, 34, 105)[:-1], (33, 104), (32.5, 103.8), (32.5, 104.2), (33, 104))


@pytest.mark.parametrize(
    ("ring", "inside", "outside"),
    [
        pytest.param(TRIANGLE_ON_A_CORNER[::-1], (32.6, 104.0), (32.0, 104.0), id="touches at a corner"),
        pytest.param(
            ((0, 0), (0, 4), (4, 4), (4, 0), (0, 0), (1, 1), (2, 1), (1, 2), (0, 0)), (3, 3), (1.3, 1.3),
            id="a hole that hangs on the ring",
        ),
        pytest.param(
            ((0, 0), (0, 4), (4, 4), (4, 2), (6, 2), (4, 2), (4, 0), (0, 0)), (2, 2), (5, 2.001), id="a spike"
        ),
    ],
)  # fmt: skip
def test_a_ring_that_touches_itself_is_repaired_where_its_area_stays(
    ring: tuple[tuple[float, float], ...], inside: tuple[float, float], outside: tuple[float, float]
) -> None:
    found = patch(Polygon(ring))
    assert found.repaired
    assert at(found, inside, outside) == [True, False]


@pytest.mark.parametrize(
    "ring",
    [
        pytest.param(((33, 104), (34, 105), (34, 104), (33, 105), (33, 104)), id="bow tie"),
        pytest.param(((33, 104), (34, 105), (34.2, 104), (33, 105), (33, 104)), id="lopsided bow tie"),
        pytest.param(
            tuple(
                (33 + math.sin(4 * math.pi * n / 5), 104 + math.cos(4 * math.pi * n / 5)) for n in range(6)
            ),
            id="pentagram",
        ),
        pytest.param((*box(33, 104, 34, 105)[:-1], *box(33, 104, 33.5, 104.5)), id="a loop wound twice"),
    ],
)
def test_a_ring_that_crosses_itself_is_refused_because_it_may_mean_two_things(
    ring: tuple[tuple[float, float], ...],
) -> None:
    with pytest.raises(ShapeError, match="crosses itself"):
        patch(Polygon(ring))
    found = cut([area(Polygon(ring), codes=("623023101",))], COUNTY)
    assert any("crosses itself" in problem for problem in found.problems), "it holds"
    assert taken(found) == {"sw-a", "sw-b"}, "and takes nobody in"


# A box of 2° × 2° whose last stroke runs past its first corner: a loop of 0.1° in the south-west.
SLIP = ((33.02, 104.1), (33.02, 106), (35, 106), (35, 104), (33.0, 104.05), (33.1, 104.0), (33.02, 104.1))


def test_a_slip_where_a_line_was_closed_is_doubtful_only_there() -> None:
    found = patch(Polygon(SLIP))
    assert found.doubt is not None
    assert found.doubt.bounds[2] < 104.2
    assert at(found, (34, 105), (33.2, 104.5)) == [True, True]
    far = replace(COUNTY, boundary=(polygon(33.3, 104.3, 34, 105),))
    used = cut([area(Polygon(SLIP))], far)
    assert used.problems == ()
    assert "ne-a" in taken(used)
    assert any("certain except there" in line for line in used.lines)
    held = cut([area(Polygon(SLIP))], COUNTY)
    assert any("crosses itself here" in problem for problem in held.problems)


def test_what_is_broken_far_away_concerns_nobody_here() -> None:
    mexico = Polygon(((20, -100), (21, -99), (21, -100), (20, -99), (20, -100)))
    found = cut([area(mexico, codes=("623023101",))], COUNTY)
    assert found.problems == ()
    assert any("polygon 1 lies outside" in text for text in found.outside)
    many = cut([area(*[mexico] * 200)], COUNTY)
    assert (len(many.lines), len(many.outside)) == (1, 1), "said once"


def test_a_ring_that_crosses_itself_a_thousand_times_is_refused_without_being_worked_out() -> None:
    points = 2_001
    star = tuple(
        (33 + math.sin(2 * math.pi * n * 1_000 / points), 104 + math.cos(2 * math.pi * n * 1_000 / points))
        for n in range(points)
    )
    with pytest.raises(ShapeError, match="more than 200 places"):
        patch(Polygon(star))


@pytest.mark.parametrize(
    ("ring", "why"),
    [
        (((33, 104), (33.5, 104.5)), "corners"),
        (((33, 104), (33, 104), (33, 104), (33, 104)), "encloses nothing"),
        (((33, 104), (33.5, 104.5), (34, 105), (33, 104)), "encloses nothing"),
        (((33, 104), (float("nan"), 104.5), (34, 104), (33, 104)), "nowhere on Earth"),
        (((104, 33), (105, 33), (105, 34), (104, 33)), "swapped"),
        (((33, 404), (33, 405), (34, 405), (33, 404)), "nowhere on Earth"),
    ],
)
def test_what_is_no_polygon_is_refused_with_the_reason(
    ring: tuple[tuple[float, float], ...], why: str
) -> None:
    found = cut([area(Polygon(ring))], COUNTY)
    assert found.empty
    assert any(why in problem and "polygon 1" in problem for problem in found.problems)


def test_an_unclosed_ring_is_closed_and_a_broken_hole_spoils_its_polygon() -> None:
    assert at(patch(Polygon(box(33, 104, 34, 105)[:-1])), (33.9, 104.1)) == [True]
    with pytest.raises(ShapeError, match="hole 1"):
        patch(Polygon(box(33, 104, 34, 105), (((33.1, 104.1), (33.2, 104.2)),)))


def test_degrees_that_were_swapped_or_are_another_place_of_ours_are_held_not_dropped() -> None:
    # 80° E 37° N is 和田; swapped it lies in the Barents Sea, which is a place as well.
    hotan = replace(
        COUNTY, boundary=(polygon(36, 79, 38, 81),), townships=NOWHERE.townships, villages=NOWHERE.villages
    )
    found = cut([area(Polygon(tuple((lon, lat) for lat, lon in box(36.5, 79.5, 37.5, 80.5))))], hotan)
    assert found.empty
    assert any("swapped" in problem for problem in found.problems)
    rounds = cut([area(Circle(80, 37, 50))], hotan)
    assert any("swapped" in problem for problem in rounds.problems)


# --- circles, points, lines ----------------------------------------------------------------------------


def test_a_circle_is_round_on_the_sphere_and_half_a_percent_wide() -> None:
    ring = disc(Circle(33.5, 104.5, 50))
    north, east = 50 / 111.195, 50 / (111.195 * math.cos(math.radians(33.5)))
    found = ring.covers(
        Points.of(
            [(33.5 + north * 1.004, 104.5), (33.5 + north * 1.006, 104.5), (33.5, 104.5 + east * 1.004), None]
        )
    )
    assert found.tolist() == [True, False, True, False]
    assert ring.edge_km(33.5, 104.5) == pytest.approx(50.25)
    assert distance_km((33, 104), (34, 104)) == pytest.approx(111.195, abs=0.01)


@pytest.mark.parametrize("radius", [-1.0, float("nan"), float("inf")])
def test_a_circle_without_a_size_is_refused(radius: float) -> None:
    found = cut([area(Circle(33.5, 104.5, radius))], COUNTY)
    assert found.empty
    assert any("radius" in problem for problem in found.problems)


def test_a_point_means_the_nearest_measured_village_within_three_kilometres() -> None:
    found = cut([area(Circle(33.36, 104.36, 0))], COUNTY)
    assert dict(found.ways) == {"sw-a": "point"}
    assert found.problems == ()


def test_a_point_at_no_village_is_held_with_who_might_be_meant() -> None:
    near_a_seat = cut([area(Circle(33.26, 104.26, 0))], COUNTY)
    assert taken(near_a_seat) == {"sw-b"}, "shown, because an operator may say yes"
    assert any("which of them is meant cannot be told" in problem for problem in near_a_seat.problems)
    in_the_hills = cut([area(Circle(33.5, 104.5, 0))], COUNTY)
    assert in_the_hills.empty
    assert any("lies at no village that we know" in problem for problem in in_the_hills.problems)


def test_a_point_beside_the_code_of_where_it_lies_holds_nothing() -> None:
    every = tuple(f"62302310{n}" for n in range(1, 5))
    found = cut([area(Circle(33.5, 104.5, 0), codes=every)], COUNTY)
    assert len(taken(found)) == 8
    assert found.problems == ()


def test_a_point_elsewhere_is_elsewhere() -> None:
    found = cut([area(Circle(31.2, 121.5, 0))], COUNTY)
    assert (found.empty, found.problems) == (True, ())
    assert found.outside


def test_a_line_reaches_as_far_as_its_width_and_without_one_it_is_held() -> None:
    along = Line(((33.35, 104.0), (33.35, 105.0)), 2.0)
    assert taken(cut([area(along)], COUNTY)) == {"sw-a", "se-a"}
    band = strip(along)
    off = 2.0 / 111.195
    places = Points.of([(33.35 + off * 1.004, 104.5), (33.35 + off * 1.007, 104.5), (33.35, 105.03), None])
    assert band.covers(places).tolist() == [True, False, False, False]
    bare = cut([area(Line(along.points))], COUNTY)
    assert bare.empty
    assert any("without a width" in problem for problem in bare.problems)


def test_a_line_over_the_antimeridian_reaches_both_sides() -> None:
    band = strip(Line(((-17, 179.5), (-17, -179.5)), 20))
    assert band.covers(Points.of([(-17, 179.9), (-17, -179.9), (-17, 178)])).tolist() == [True, True, False]


# --- codes and shapes together -------------------------------------------------------------------------


def test_codes_and_shapes_of_one_area_are_united_unless_the_feed_says_that_shapes_narrow() -> None:
    both = area(polygon(33.8, 104.8, 33.9, 104.9), codes=("623023101", "623023104"))
    united = cut([both], COUNTY)
    assert taken(united) == {"sw-a", "sw-b", "ne-a", "ne-b"}
    assert any("united" in line for line in united.lines)
    narrowed = cut([both], COUNTY, narrow=True)
    assert taken(narrowed) == {"ne-a"}
    assert any("narrow" in line for line in narrowed.lines)


def test_a_shape_that_should_narrow_and_cannot_holds_all_that_the_codes_name() -> None:
    broken = Polygon(((33, 104), (34, 105), (34, 104), (33, 105), (33, 104)))
    found = cut([area(broken, codes=("623023101",))], COUNTY, narrow=True)
    assert taken(found) == {"sw-a", "sw-b"}
    assert any("cannot be narrowed" in problem for problem in found.problems)
    nobody = cut([area(polygon(33.8, 104.8, 33.9, 104.9), codes=("623023101",))], COUNTY, narrow=True)
    assert nobody.empty
    assert any("nobody whom its codes name" in problem for problem in nobody.problems)


def test_narrowing_changes_nothing_where_there_is_nothing_to_narrow() -> None:
    coded, drawn = area(codes=("623023101",)), area(polygon(33.3, 104.3, 33.4, 104.4))
    for one in (coded, drawn):
        assert cut([one], COUNTY, narrow=True).village_keys == cut([one], COUNTY).village_keys


# --- the home county -----------------------------------------------------------------------------------


def test_what_reaches_beyond_the_county_is_cut_off_with_its_share() -> None:
    found = cut([area(polygon(33, 104, 34, 109))], COUNTY)
    assert len(taken(found)) == 8
    assert any("80.0% of polygon 1" in text for text in found.outside)
    assert found.problems == ()
    typhoon = cut([area(Circle(33.5, 104.5, 900))], COUNTY)
    assert any("99." in text for text in typhoon.outside)


def test_a_shape_elsewhere_is_no_problem_and_one_among_us_that_hits_nobody_is() -> None:
    elsewhere = cut([area(polygon(30, 120, 31, 121), Circle(31, 121, 30))], COUNTY)
    assert (elsewhere.empty, elsewhere.problems, len(elsewhere.outside)) == (True, (), 2)
    tiny = cut([area(polygon(33.5, 104.5, 33.501, 104.501))], COUNTY)
    assert tiny.empty
    assert any("takes in no village; the nearest is" in problem for problem in tiny.problems)
    beside = cut([area(polygon(33.34, 104.34, 33.341, 104.341), codes=("623023101",))], COUNTY)
    assert beside.problems == (), "a code names the village that is nearest to it"


def test_without_a_boundary_the_known_places_say_what_is_near() -> None:
    open_ = replace(COUNTY, boundary=())
    assert cut([area(Circle(33.5, 105.05, 10))], open_).problems
    far = cut([area(Circle(33.5, 108, 10))], open_)
    assert (far.problems, len(far.outside)) == ((), 1)


def test_villages_that_no_shape_can_reach_hold_it_where_they_are_many_and_are_named_where_they_are_few() -> (
    None
):
    for shape in (polygon(33, 104, 33.5, 105), Circle(33.3, 104.3, 5), Circle(33.3, 104.3, 0)):
        assert cut([area(shape)], NOWHERE).problems
    lost = replace(COUNTY, townships=(replace(COUNTY.townships[0], position=None), *COUNTY.townships[1:]))
    few = cut([area(polygon(33.8, 104.8, 33.9, 104.9))], lost)
    assert any("no shape can reach them: sw镇sw乙村" in problem for problem in few.problems), "1 of 8 is many"
    many = replace(
        lost,
        villages=(
            *lost.villages,
            *(Village(f"x{n}", f"{n}村", None, "t-ne", (33.9, 104.9)) for n in range(20)),
        ),
    )
    said = cut([area(polygon(33.8, 104.8, 33.95, 104.95))], many)
    assert said.problems == ()
    assert any("no position 1" in line for line in said.lines)


def test_a_shape_round_the_whole_county_takes_in_villages_that_stand_nowhere_we_know() -> None:
    outlined = replace(NOWHERE, boundary=COUNTY.boundary)
    for shape in (polygon(32, 103, 35, 106), Circle(33.5, 104.5, 300)):
        found = cut([area(shape)], outlined)
        assert len(taken(found)) == 8
        assert set(dict(found.ways).values()) == {"shape, whole county"}
        assert found.problems == ()


def test_a_seat_close_to_the_edge_is_named_because_it_stands_for_unmeasured_villages() -> None:
    found = cut([area(polygon(33.2, 104.24, 33.5, 104.5))], COUNTY)
    assert any("the seat of sw镇 is only" in line and "inside its edge" in line for line in found.lines)


def test_a_boundary_that_cannot_be_used_is_a_problem_of_the_pack_and_shapes_still_count() -> None:
    torn = replace(COUNTY, boundary=(Polygon(((33, 104), (34, 105), (34, 104), (33, 105), (33, 104))),))
    found = cut([area(polygon(33.3, 104.3, 33.4, 104.4))], torn)
    assert taken(found) == {"sw-a"}
    assert any("boundary" in problem for problem in found.problems)


def test_codes_alone_are_cut_as_ever_and_need_no_ground() -> None:
    found = cut([area(codes=("623023101",))], COUNTY)
    assert found.target is None
    assert found.lines == ("623023101 (mca) = sw镇: 2 villages",)
    assert dict(found.ways) == {"sw-a": "code", "sw-b": "code"}


# --- unusual -------------------------------------------------------------------------------------------


def test_an_unusual_share_is_said_with_its_numbers() -> None:
    text = unusual_share(8, COUNTY, 0.5, "泥石流")
    assert "8 of 8 villages (100%)" in text
    assert "limit 50%" in text
    assert unusual_share(4, COUNTY, 0.5, "泥石流") == ""
    assert unusual_share(8, COUNTY, 1.0, "寒潮") == ""
