"""GCJ-02 and back, everywhere in China; and whether points tell which of the two they are in."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from config.counties.datum import Datum, check, distance_km, from_gcj02, to_gcj02, to_wgs84

LAT = st.floats(3, 54)
LON = st.floats(73, 136)
# Read off an independent implementation (eviltransform 0.1.1), which takes another ellipsoid: 2 cm at most.
KNOWN = (
    ((33.78417, 104.36278), (33.78268385925851, 104.36554104097053)),
    ((36.8545, 81.66425), (36.85408620381937, 81.66690082456792)),
    ((31.49267, 103.58491), (31.490281976739382, 103.58693972379248)),
    ((39.9087, 116.3975), (39.91010352310999, 116.40374367837322)),
    ((45.8038, 126.535), (45.80578155870129, 126.54104045243824)),
    ((18.2528, 109.5119), (18.251094762861612, 109.5159843639854)),
)


@given(LAT, LON)
def test_there_and_back_is_the_same_place_to_a_tenth_of_a_millimetre(lat: float, lon: float) -> None:
    back = from_gcj02(*to_gcj02(lat, lon))
    # distance_km itself cannot tell less than about a millimetre apart.
    metres = np.hypot((back[0] - lat) * 111_320, (back[1] - lon) * 111_320)
    assert float(metres) < 1e-4


@given(LAT, LON)
def test_the_shift_is_never_more_than_a_kilometre_and_never_nothing(lat: float, lon: float) -> None:
    assert 0.01 < float(distance_km(lat, lon, *to_gcj02(lat, lon))) < 1.5


@pytest.mark.parametrize(("wgs84", "gcj02"), KNOWN)
def test_it_agrees_with_another_implementation(
    wgs84: tuple[float, float], gcj02: tuple[float, float]
) -> None:
    assert float(distance_km(*to_gcj02(*wgs84), *gcj02)) < 2e-5
    assert float(distance_km(*from_gcj02(*gcj02), *wgs84)) < 2e-5


def test_cgcs2000_is_taken_as_wgs84() -> None:
    assert tuple(map(float, to_wgs84(33.5, 104.5, Datum.CGCS2000))) == (33.5, 104.5)


def _seats(count: int, noise_km: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Seats, and places beside them that are as wrong as GeoNames is."""
    random = np.random.default_rng(seed)
    seats = np.column_stack((random.uniform(33, 34, count), random.uniform(104, 105, count)))
    return seats, seats + random.normal(0, noise_km / 111, seats.shape)


@given(st.integers(0, 10_000))
def test_the_wrong_datum_is_noticed_by_a_common_offset_and_the_right_one_is_not_blamed(seed: int) -> None:
    seats, places = _seats(40, 0.2, seed)
    shifted = np.column_stack(to_gcj02(places[:, 0], places[:, 1]))
    right = check(shifted[:, 0], shifted[:, 1], Datum.GCJ02, seats=seats)
    wrong = check(shifted[:, 0], shifted[:, 1], Datum.WGS84, seats=seats)
    assert wrong.against
    assert not right.against
    twice = check(places[:, 0], places[:, 1], Datum.GCJ02, seats=seats)
    assert twice.against, "a WGS-84 file that is converted once too often"


def test_few_or_scattered_seats_prove_nothing() -> None:
    seats, places = _seats(4, 0.0, 1)
    assert check(places[:, 0], places[:, 1], Datum.WGS84, seats=seats).unsure
    scattered = [_seats(8, 2.0, seed) for seed in range(200)]
    verdicts = [check(p[:, 0], p[:, 1], Datum.WGS84, seats=s) for s, p in scattered]
    assert sum(verdict.against for verdict in verdicts) <= 4
    assert sum(verdict.unsure for verdict in verdicts) >= 150
    assert check(places[:, 0], places[:, 1], Datum.WGS84).unsure


def test_points_along_the_border_tell_by_the_side_on_which_they_fall() -> None:
    county = shapely.box(104, 33, 105, 34)
    inner = county.buffer(-0.0008).exterior
    border = [inner.interpolate(n / 200, normalized=True) for n in range(200)]
    lat, lon = to_gcj02([p.y for p in border], [p.x for p in border])
    wrong = check(lat, lon, Datum.WGS84, outline=county)
    right = check(lat, lon, Datum.GCJ02, outline=county)
    assert wrong.against
    assert (right.against, right.declared.inside) == (False, 200)
    assert "200 of 200 inside the county" in str(wrong)
