"""GCJ-02, the shifted coordinates of Chinese map services, to WGS-84; and which of them points are in.

The shift is 25 to 672 m, 434 m in the median (`geo.md` §0.4): nothing for a typhoon, the wrong gully for
a debris flow. CGCS2000 is WGS-84 to better than a metre and is taken as it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry.base import BaseGeometry

Floats = NDArray[np.float64]

# Krasovsky 1940, the ellipsoid of the shift.
_A: Final = 6_378_245.0
_EE: Final = 0.00669342162296594323
_ROUNDS: Final = 4
"""Of the iteration. Three leave 0.26 mm in the worst corner of the country, four nothing measurable."""
_EARTH_KM: Final = 6371.0088
DECIDES: Final = 3.0
"""Standard errors from which the seats of townships speak for or against a datum."""


class Datum(StrEnum):
    WGS84 = "wgs84"
    CGCS2000 = "cgcs2000"
    GCJ02 = "gcj02"

    @property
    def other(self) -> Datum:
        """What a wrong declaration most likely should have been."""
        return Datum.WGS84 if self is Datum.GCJ02 else Datum.GCJ02


def _shift(lat: Floats, lon: Floats) -> tuple[Floats, Floats]:
    """Degrees that GCJ-02 adds to a WGS-84 position."""
    x, y = lon - 105.0, lat - 35.0
    root, pi = np.sqrt(np.abs(x)), np.pi
    ripple = 2 / 3 * (20 * np.sin(6 * pi * x) + 20 * np.sin(2 * pi * x))
    north = ripple - 100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root
    north += 2 / 3 * (20 * np.sin(pi * y) + 40 * np.sin(pi / 3 * y))
    north += 2 / 3 * (160 * np.sin(pi / 12 * y) + 320 * np.sin(pi / 30 * y))
    east = ripple + 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root
    east += 2 / 3 * (20 * np.sin(pi * x) + 40 * np.sin(pi / 3 * x))
    east += 2 / 3 * (150 * np.sin(pi / 12 * x) + 300 * np.sin(pi / 30 * x))
    angle = np.radians(lat)
    square = 1 - _EE * np.sin(angle) ** 2
    meridian = _A * (1 - _EE) / (square * np.sqrt(square))
    parallel = _A / np.sqrt(square) * np.cos(angle)
    return np.degrees(north / meridian), np.degrees(east / parallel)


def to_gcj02(lat: ArrayLike, lon: ArrayLike) -> tuple[Floats, Floats]:
    """WGS-84 degrees to GCJ-02 degrees, for places in China."""
    lats, lons = np.asarray(lat, dtype=float), np.asarray(lon, dtype=float)
    north, east = _shift(lats, lons)
    return lats + north, lons + east


def from_gcj02(lat: ArrayLike, lon: ArrayLike) -> tuple[Floats, Floats]:
    """GCJ-02 degrees to WGS-84 degrees, to 0.1 mm, for places in China."""
    shifted_lat, shifted_lon = np.asarray(lat, dtype=float), np.asarray(lon, dtype=float)
    lats, lons = shifted_lat, shifted_lon
    for _ in range(_ROUNDS):
        north, east = _shift(lats, lons)
        lats, lons = shifted_lat - north, shifted_lon - east
    return lats, lons


def to_wgs84(lat: ArrayLike, lon: ArrayLike, datum: Datum) -> tuple[Floats, Floats]:
    """Degrees in `datum` to WGS-84 degrees."""
    if datum is Datum.GCJ02:
        return from_gcj02(lat, lon)
    return np.asarray(lat, dtype=float), np.asarray(lon, dtype=float)


def distance_km(lat: ArrayLike, lon: ArrayLike, to_lat: ArrayLike, to_lon: ArrayLike) -> Floats:
    """Great-circle kilometres on a sphere."""
    a, b, c, d = (np.radians(np.asarray(value, dtype=float)) for value in (lat, lon, to_lat, to_lon))
    half = np.sin((c - a) / 2) ** 2 + np.cos(a) * np.cos(c) * np.sin((d - b) / 2) ** 2
    return np.asarray(2 * _EARTH_KM * np.arcsin(np.sqrt(half)), dtype=float)


@dataclass(frozen=True, slots=True)
class Fit:
    """How well points sit where they should when they are read in one datum."""

    datum: Datum
    points: int
    inside: int | None
    """Of `points` within the county's outline; None where the pack has none."""
    seats: int
    """Points that could be compared with a known place: the seat of their township, their village."""
    seat_km: float | None
    """Their median distance to it."""

    def __str__(self) -> str:
        parts = []
        if self.inside is not None:
            parts.append(f"{self.inside} of {self.points} inside the county")
        if self.seat_km is not None:
            parts.append(f"{self.seat_km:.2f} km in the median from {self.seats} known places")
        return f"read as {self.datum}: " + (", ".join(parts) or "nothing to compare with")


@dataclass(frozen=True, slots=True)
class DatumCheck:
    """Whether points are in the datum that was declared. `against`: their places speak clearly for the
    other one; `unsure`: nothing speaks clearly either way."""

    declared: Fit
    other: Fit
    against: bool
    unsure: bool

    def __str__(self) -> str:
        return f"{self.declared}; {self.other}"


def check(
    lat: ArrayLike,
    lon: ArrayLike,
    declared: Datum,
    *,
    outline: BaseGeometry | None = None,
    seats: ArrayLike = (),
) -> DatumCheck:
    """Compares both readings of the points as they stand in the file.

    `outline` is the county in (lon, lat), WGS-84. `seats` has one (lat, lon) a point: the seat of the
    township that it is, or the measured position of its village; NaN where neither is known. Two things
    speak against a datum: points that it puts outside of the county, at least three and one in fifty more
    than the other does; and a common offset from the seats that is the shift of GCJ-02 rather than
    nothing, by `DECIDES` standard errors. GeoNames' own error is 0.5 km a seat (`geo.md` §0.3), more than
    the shift: one seat proves nothing.
    """
    lats, lons = np.asarray(lat, dtype=float), np.asarray(lon, dtype=float)
    known = (
        np.asarray(seats, dtype=float).reshape(-1, 2) if np.size(seats) else np.full((lats.size, 2), np.nan)
    )
    paired = ~np.isnan(known[:, 0])
    read = {datum: to_wgs84(lats, lons, datum) for datum in (declared, declared.other)}
    fits = {datum: _fit(datum, *read[datum], outline, known, paired) for datum in read}
    mine, other = fits[declared], fits[declared.other]
    against = unsure = False
    lean = 0
    if mine.inside is not None and other.inside is not None:
        gained = other.inside - mine.inside
        enough = max(3, lats.size // 50)
        lean = int(gained >= enough) - int(-gained >= enough)
    towards = _towards(read[declared], read[declared.other], known, paired)
    against = lean > 0 or (towards is not None and towards > 0 and lean == 0)
    unsure = not against and lean == 0 and not (towards is not None and towards < 0)
    return DatumCheck(mine, other, against, unsure)


def _fit(
    datum: Datum,
    lat: Floats,
    lon: Floats,
    outline: BaseGeometry | None,
    known: Floats,
    paired: NDArray[np.bool_],
) -> Fit:
    inside = None if outline is None else int(np.count_nonzero(shapely.intersects_xy(outline, lon, lat)))
    seat_km = None
    if paired.any():
        away = distance_km(lat[paired], lon[paired], known[paired, 0], known[paired, 1])
        seat_km = float(np.median(away))
    return Fit(datum, int(lat.size), inside, int(np.count_nonzero(paired)), seat_km)


def _towards(
    declared: tuple[Floats, Floats], other: tuple[Floats, Floats], known: Floats, paired: NDArray[np.bool_]
) -> int | None:
    """1 where the seats' common offset speaks for the other reading, -1 for the declared one, 0 for
    neither; None with fewer than five seats.

    Each seat's offset is measured along the shift, in shifts: 0 where the declared reading is right, 1
    where the other is. Median and spread by quartiles, so that one moved seat does not decide.
    """
    if np.count_nonzero(paired) < 5:
        return None
    scale = np.array([1.0, np.cos(np.radians(np.median(known[paired, 0])))])
    mine = np.column_stack(declared)[paired]
    shift = (mine - np.column_stack(other)[paired]) * scale
    offset = (mine - known[paired]) * scale
    along = np.sum(offset * shift, axis=1) / np.sum(shift * shift, axis=1)
    low, middle, high = np.quantile(along, (0.25, 0.5, 0.75))
    # 1.349: the quartiles of a normal distribution in standard deviations; 1.2533: the median's error.
    error = max(1.2533 * (high - low) / 1.349 / np.sqrt(along.size), 1e-9)
    if (middle - 0.5) / error > DECIDES / 2 and middle / error > DECIDES:
        return 1
    if (0.5 - middle) / error > DECIDES / 2 and (1 - middle) / error > DECIDES:
        return -1
    return 0
