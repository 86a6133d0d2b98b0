"""When an earthquake's S wave is at one place: for a loudspeaker's small computer, without arrays.

`alerts.intensity` says the same of many places at once; both take the numbers from here.
"""

from __future__ import annotations

import math
from typing import Final

EARTH_KM: Final = 6371.0
S_KM_S: Final = 3.5
"""Speed of the S wave (CENC's explainer, `geo.md` §7): of the direct wave, which carries the shaking."""


def arrival_s(
    quake_lat: float, quake_lon: float, depth_km: float, place_lat: float, place_lon: float
) -> float:
    """Seconds from the origin to the S wave at a place on the surface; degrees, WGS-84."""
    phi, other = math.radians(quake_lat), math.radians(place_lat)
    half = math.sin((other - phi) / 2) ** 2
    half += math.cos(phi) * math.cos(other) * math.sin(math.radians(place_lon - quake_lon) / 2) ** 2
    # The law of cosines between the focus, at EARTH_KM - depth from the centre, and the place.
    chord_2 = 4 * EARTH_KM * EARTH_KM * half
    return math.sqrt(chord_2 * (1 - depth_km / EARTH_KM) + depth_km * depth_km) / S_KM_S
