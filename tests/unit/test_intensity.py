"""Earthquakes: intensity and seconds left at a place, who is reached, and what does not add up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts import intensity
from alerts.area import Cut
from alerts.intensity import Places, Policy, change, cut_quake, felt, here, implausible, unlikely_area
from alerts.model import Area, Circle, CodeScheme, Info, Quake, RegionCode, SeismicZone
from alerts.regions import County, Township, Village

ORIGIN = datetime(2026, 11, 22, 4, 0, 0, tzinfo=UTC)
SOON = ORIGIN + timedelta(seconds=8)
QINGZANG = SeismicZone.QINGZANG
KM = 1 / 111.195
"""Degrees of latitude in one kilometre of a sphere of 6371 km."""


def quake(magnitude: float = 6.0, **changes: object) -> Quake:
    fixed = Quake(ORIGIN, 33.0, 104.0, magnitude, depth_km=10.0, place="甘肃甘南州舟曲县")
    return replace(fixed, **changes)  # type: ignore[arg-type]


def north(*km: float) -> Places:
    """Places that many kilometres north of the epicentre."""
    return Places.at([33.0 + d * KM for d in km], [104.0] * len(km))


def county(*, own: bool = True, seats: bool = True, start_km: float = 10.0) -> County:
    """Three townships, 40 km apart going north, with two villages each; the second without a position."""
    seat = [(33.0 + (start_km + 40 * n) * KM, 104.0) for n in range(3)]
    return County(
        "here",
        "623023",
        "此县",
        tuple(Township(f"t{n}", f"第{n}镇", None, None, (), seat[n] if seats else None) for n in range(3)),
        tuple(
            Village(f"t{n}-v{m}", f"{m}村", None, f"t{n}", seat[n] if own and not m else None)
            for n in range(3)
            for m in range(2)
        ),
    )


# --- the relation -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("magnitude", "radii"),
    # geo.md §7, long axis of 青藏区: km at which the intensity is 6, 5, 4, 3.
    [(5.0, (9, 31, 69, 133)), (6.0, (40, 84, 157, 280)), (7.0, (100, 185, 326, 563))],
)
def test_the_radii_of_the_qingzang_relation_are_those_of_the_table(
    magnitude: float, radii: tuple[int, ...]
) -> None:
    found = [intensity.radius_km(quake(magnitude), level, QINGZANG) for level in (6, 5, 4, 3)]
    assert found == pytest.approx(radii, abs=1.0)
    assert felt(quake(magnitude), north(*radii), QINGZANG).intensity == pytest.approx([6, 5, 4, 3], abs=0.1)


@pytest.mark.parametrize(
    # Real reports of CENC and ICL (the shared samples of Wolfx and ICL): magnitude, depth, zone, their own
    # greatest intensity. None was used to fit the relation.
    ("magnitude", "depth", "zone", "agency"),
    [
        (4.2, 14.0, SeismicZone.QINGZANG, 5.8),
        (3.7, 17.0, SeismicZone.XINJIANG, 5.0),
        (3.2, 11.0, SeismicZone.QINGZANG, 4.0),
        (3.6, 15.0, SeismicZone.QINGZANG, 4.0),
        (4.0, 19.0, SeismicZone.XINJIANG, 5.0),
        (5.1, 5.0, SeismicZone.QINGZANG, 7.0),
        (4.6, None, SeismicZone.XINJIANG, 6.0),
    ],
)
def test_the_epicentral_intensity_is_near_what_agencies_reported(
    magnitude: float, depth: float | None, zone: SeismicZone, agency: float
) -> None:
    own = felt(quake(magnitude, depth_km=depth), north(0), zone).intensity[0]
    assert abs(own - agency) < 0.85


def test_without_a_zone_the_greatest_of_the_four_relations_is_taken() -> None:
    places = north(0, 20, 100, 300, 600)
    every = [felt(quake(7.0), places, zone).intensity for zone in SeismicZone]
    assert felt(quake(7.0), places).intensity == pytest.approx(np.max(every, axis=0))


def test_a_deep_focus_counts_as_distance_and_a_shallow_one_does_not() -> None:
    at = north(50)
    shallow = felt(quake(depth_km=10.0), at, QINGZANG).intensity[0]
    assert felt(quake(depth_km=29.0), at, QINGZANG).intensity[0] == pytest.approx(shallow)
    assert felt(quake(depth_km=200.0), at, QINGZANG).intensity[0] < shallow - 1.5


@given(
    magnitude=st.floats(2, 8.5),
    more=st.floats(0.01, 1),
    near=st.floats(0, 800),
    farther=st.floats(0.1, 500),
    depth=st.floats(0, 300),
    zone=st.sampled_from([None, *SeismicZone]),
)
def test_intensity_rises_with_magnitude_and_falls_with_distance_and_depth(
    magnitude: float, more: float, near: float, farther: float, depth: float, zone: SeismicZone | None
) -> None:
    one = quake(magnitude, depth_km=depth)
    here_, there = felt(one, north(near, near + farther), zone).intensity
    assert there <= here_ + 1e-4
    assert felt(quake(magnitude + more, depth_km=depth), north(near), zone).intensity[0] >= here_ - 1e-4
    assert felt(quake(magnitude, depth_km=depth + 50), north(near), zone).intensity[0] <= here_ + 1e-4


# --- the agency's own intensity -----------------------------------------------------------------------


@given(magnitude=st.floats(2, 9), agency=st.floats(1, 12), km=st.floats(0, 1000), depth=st.floats(0, 600))
def test_no_place_is_estimated_above_the_agencys_greatest_intensity(
    magnitude: float, agency: float, km: float, depth: float
) -> None:
    one = quake(magnitude, intensity=agency, depth_km=depth)
    assert felt(one, north(km)).intensity[0] <= np.float32(agency)


def test_a_higher_agency_intensity_raises_the_estimate_by_one_deviation_at_most() -> None:
    at = north(0, 60)
    own = felt(quake(5.0), at, QINGZANG).intensity
    raised = felt(quake(5.0, intensity=7.0), at, QINGZANG).intensity
    assert raised[0] == pytest.approx(7.0, abs=0.001)
    assert raised - own == pytest.approx([7.0 - own[0]] * 2, abs=0.001)
    most = felt(quake(5.0, intensity=8.4), at, QINGZANG).intensity
    assert most - own == pytest.approx([intensity.MOST_RAISED] * 2, abs=0.001)


@pytest.mark.parametrize("nothing", [None, 0.0, -1.0, float("nan"), 13.0])
def test_an_intensity_that_is_none_changes_nothing(nothing: float | None) -> None:
    at = north(0, 60)
    plain = felt(quake(5.0), at).intensity
    assert felt(quake(5.0, intensity=nothing), at).intensity == pytest.approx(plain)


# --- distance and time --------------------------------------------------------------------------------


@pytest.mark.parametrize(("km", "left"), [(30, 1.0), (50, 6.6), (80, 15.0), (100, 20.7), (200, 49.2)])
def test_the_countdown_is_that_of_the_table(km: float, left: float) -> None:
    found = felt(quake(), north(km))
    assert intensity.seconds_left(quake(), found.arrival, SOON)[0] == pytest.approx(left, abs=0.1)


@pytest.mark.parametrize(("latency", "radius"), [(6, 18.5), (8, 26.2), (10, 33.5)])
def test_the_blind_zone_is_what_the_s_wave_has_passed(latency: float, radius: float) -> None:
    assert intensity.blind_km(quake(), ORIGIN + timedelta(seconds=latency)) == pytest.approx(radius, abs=0.1)
    assert intensity.blind_km(quake(depth_km=30.0), ORIGIN + timedelta(seconds=8)) == 0


def test_whoever_is_in_the_blind_zone_has_no_second_left() -> None:
    blind = intensity.blind_km(quake(), SOON)
    arrival = felt(quake(), north(blind - 0.5, blind + 0.5)).arrival
    inside, outside = intensity.seconds_left(quake(), arrival, SOON)
    assert inside < 0 < outside


def test_the_way_from_a_deep_focus_is_that_of_a_round_earth() -> None:
    """Focus 600 km down, place 1,000 km away: chord by the law of cosines, 1,124 km; a flat one has 1,166."""
    inner, angle = 6371.0 - 600.0, 1000.0 / 6371.0
    chord = (6371.0**2 + inner**2 - 2 * 6371.0 * inner * np.cos(angle)) ** 0.5
    assert felt(quake(depth_km=600.0), north(1000)).arrival[0] == pytest.approx(chord / 3.5, abs=0.05)


@given(
    lat=st.floats(-80, 80),
    lon=st.floats(-180, 180),
    d_lat=st.floats(-3, 3),
    d_lon=st.floats(-3, 3),
)
def test_distances_agree_with_the_haversine_to_ten_metres(
    lat: float, lon: float, d_lat: float, d_lon: float
) -> None:
    one = quake(lat=lat, lon=lon)
    there = (lat + d_lat, lon + d_lon)
    a, b = np.radians((lat, lon)), np.radians(there)
    half = np.sin((b[0] - a[0]) / 2) ** 2 + np.cos(a[0]) * np.cos(b[0]) * np.sin((b[1] - a[1]) / 2) ** 2
    assert felt(one, Places.at(*there)).km[0] == pytest.approx(
        2 * 6371.0 * np.arcsin(np.sqrt(half)), abs=0.01
    )


def test_the_antimeridian_is_no_edge() -> None:
    one = quake(lat=10.0, lon=179.9)
    assert felt(one, Places.at(10.0, -179.9)).km[0] < 25


# --- who is reached -----------------------------------------------------------------------------------


def test_villages_are_warned_from_the_threshold_on_and_every_line_says_why() -> None:
    found = cut_quake(quake(5.0), county(), SOON, Policy(threshold=5.0, zone=QINGZANG))
    assert found.village_keys == {"t0-v0", "t0-v1"}
    assert not found.problems
    assert "青藏区" in found.lines[0]
    assert found.lines[1] == "the seconds were counted at 12:00:08", "the lines are read later"
    assert "10 km from 第0镇, intensity 5.9, already shaking: 2 villages" in found.lines[2]
    assert "26 km round the epicentre" in found.lines[3]
    assert found.lines[-1] == "judged by position 3, terminals 0, township seat 3, the county's middle 0"


def test_lower_thresholds_only_ever_add_villages() -> None:
    reached = [
        cut_quake(quake(5.0), county(), SOON, Policy(threshold=level, zone=QINGZANG)).village_keys
        for level in (6.0, 5.0, 4.3, 3.0)
    ]
    assert [len(keys) for keys in reached] == [0, 2, 4, 6]
    assert all(small <= large for small, large in pairwise(reached))


def test_the_line_of_one_place_says_magnitude_distance_intensity_and_seconds() -> None:
    text = here(quake(6.1), "大川镇", 33.0 + 58 * KM, 104.0, SOON, QINGZANG)
    assert text == "M6.1, 58 km from 大川镇, intensity 5.7, 9 s left"


def test_without_seats_a_village_is_judged_at_the_countys_middle() -> None:
    bare = county(own=True, seats=False)
    found = cut_quake(quake(6.0), bare, SOON)
    assert found.lines[-1] == "judged by position 3, terminals 0, township seat 0, the county's middle 0"
    assert found.village_keys == {"t0-v0", "t1-v0", "t2-v0"}
    seated = replace(
        bare, townships=(*bare.townships[:2], replace(bare.townships[2], position=(33.5, 104.0)))
    )
    found = cut_quake(quake(6.0), seated, SOON)
    assert found.lines[-1] == "judged by position 3, terminals 0, township seat 1, the county's middle 2"
    assert len(found.village_keys) == 6


def test_a_village_without_a_position_is_judged_where_its_terminals_stand() -> None:
    far = (33.0 + 400 * KM, 104.0)
    found = cut_quake(quake(5.0), county(), SOON, positions={"t0-v1": far, "t0-v0": far})
    assert "t0-v1" not in found.village_keys
    assert dict(found.ways)["t0-v0"] == "intensity, by position"
    assert found.lines[-1] == "judged by position 3, terminals 1, township seat 2, the county's middle 0"


def test_villages_that_no_position_reaches_are_a_problem_and_never_left_out_silently() -> None:
    found = cut_quake(quake(6.0), county(own=True, seats=False), SOON)
    assert any("3 villages have no position" in problem for problem in found.problems)


def test_a_county_without_any_position_is_held_and_nobody_is_guessed() -> None:
    found = cut_quake(quake(7.0), county(own=False, seats=False), SOON)
    assert found.empty
    assert any("has a position" in problem for problem in found.problems)


def test_below_the_floor_or_the_threshold_nobody_is_warned_and_it_says_so() -> None:
    small = cut_quake(quake(3.9), county(), SOON)
    assert small.empty
    assert not small.problems
    assert small.outside == ("M3.9, below the county's floor of M4.0",)
    far = cut_quake(quake(4.5, lat=20.0), county(), SOON)
    assert far.empty
    assert not far.problems
    assert "below the county's threshold of 3.0" in far.outside[0]


def test_an_odd_report_is_held_only_where_it_could_concern_us() -> None:
    late = ORIGIN + timedelta(hours=1)
    assert cut_quake(quake(6.0), county(), late).problems
    far = cut_quake(quake(6.0, lat=0.5), county(), late)
    assert far.empty
    assert not far.problems
    assert any("catch-up" in line for line in far.lines)
    near = cut_quake(quake(3.0, intensity=9.0), county(), SOON)
    assert near.empty
    assert "does not fit M3.0" in near.problems[0]
    assert not cut_quake(quake(3.0, intensity=9.0, lat=0.5), county(), SOON).problems


def test_a_later_report_grows_or_shrinks_the_area() -> None:
    policy = Policy(threshold=5.0, zone=QINGZANG)
    first = cut_quake(quake(5.0), county(), SOON, policy).village_keys
    second = cut_quake(quake(6.0, report=2), county(), SOON, policy).village_keys
    assert change(first, second).text == "2 villages more and 0 fewer than before"
    assert change(first, second).grown == {"t1-v0", "t1-v1"}
    assert change(second, first).shrunk == {"t1-v0", "t1-v1"}
    assert change(first, first).text == "the same villages as before"


# --- what does not add up -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"magnitude": float("nan")},
        {"magnitude": -1.0},
        {"magnitude": 60.0},
        {"depth_km": -1.0},
        {"depth_km": 10_000.0},
        {"lat": -200.0},
        {"lat": 0.0, "lon": 0.0},
        {"lat": float("nan")},
    ],
)
def test_numbers_that_are_no_earthquake_warn_nobody_and_are_held(changes: dict[str, float]) -> None:
    found = cut_quake(quake(**{"magnitude": 6.0} | changes), county(), SOON)
    assert found.empty
    assert "is no earthquake" in found.problems[0]


def test_an_old_report_is_catch_up_and_one_from_the_future_is_a_wrong_clock() -> None:
    assert implausible(quake(), ORIGIN + timedelta(seconds=600)) == ()
    assert "catch-up" in implausible(quake(), ORIGIN + timedelta(seconds=601))[0]
    assert implausible(quake(), ORIGIN - timedelta(seconds=4)) == ()
    assert "after our clock" in implausible(quake(), ORIGIN - timedelta(seconds=6))[0]


def test_an_intensity_that_the_magnitude_cannot_cause_is_held() -> None:
    assert implausible(quake(5.0, intensity=7.5), SOON, QINGZANG) == ()
    assert "does not fit M3.0" in implausible(quake(3.0, intensity=9.0), SOON, QINGZANG)[0]
    offshore = quake(7.5, intensity=4.0)  # the greatest on land, far from where it happened
    assert implausible(offshore, SOON, QINGZANG) == ()


def test_a_small_quake_that_claims_a_county_300_km_away_is_held_and_a_great_one_is_not() -> None:
    here_ = county(start_km=300.0)
    every = {village.key for village in here_.villages}
    reason = unlikely_area(quake(3.0), every, here_, QINGZANG)
    assert reason is not None
    assert "300 to 380 km away: in 6 of 6 villages nobody would feel it" in reason
    assert unlikely_area(quake(7.5), every, here_, QINGZANG) is None
    assert unlikely_area(quake(3.0), every, county(start_km=0.0), QINGZANG) is not None
    assert intensity.doubted(Cut(frozenset(every), (), (), ()), quake(3.0), here_, SOON).problems
    nobody = Cut(frozenset(), (), ("in another county",), ())
    assert intensity.doubted(nobody, quake(3.0), here_, ORIGIN + timedelta(hours=1)) == nobody
    assert unlikely_area(quake(3.0), {"t0-v0"}, county(start_km=0.0), QINGZANG) is None


def test_only_an_earthquake_that_names_no_area_is_targeted_by_intensity() -> None:
    base = Info("zh", "地震", "earthquake", quake=quake())
    assert intensity.sounds_by_intensity(base)
    point = Area("震中", circles=(Circle(33.0, 104.0, 0.0),))
    assert intensity.sounds_by_intensity(replace(base, areas=(point,)))
    coded = Area("舟曲县", codes=(RegionCode(CodeScheme.MCA, "623023"),))
    assert not intensity.sounds_by_intensity(replace(base, areas=(point, coded)))
    assert not intensity.sounds_by_intensity(replace(base, areas=(Area(circles=(Circle(33, 104, 80),)),)))
    assert not intensity.sounds_by_intensity(replace(base, areas=(Area(other_codes=(("x", "1"),)),)))
    assert not intensity.sounds_by_intensity(replace(base, quake=None))
