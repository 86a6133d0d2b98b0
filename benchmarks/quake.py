"""100,000 terminals × one earthquake: intensity and countdown for each (bar: 10 ms on two cores)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np

from alerts import intensity
from alerts.model import Quake, SeismicZone

TERMINALS = 100_000
BAR_MS = 10.0


def measure(rounds: int = 21) -> list[tuple[str, float]]:
    """(what, median in ms). The floor is one logarithm and two square roots of as many numbers: no estimate
    can do with less."""
    random = np.random.default_rng(18306)
    places = intensity.Places.at(random.uniform(31, 34, TERMINALS), random.uniform(102, 105.5, TERMINALS))
    quake = Quake(datetime.now(UTC), 33.0, 104.0, 6.1, depth_km=12.0, intensity=8.0)
    now = quake.origin + timedelta(seconds=8)
    numbers = random.uniform(1, 300, TERMINALS).astype(np.float32)

    def floor() -> None:
        np.log10(numbers)
        np.sqrt(np.sqrt(numbers))

    def one_zone() -> None:
        found = intensity.felt(quake, places, SeismicZone.QINGZANG)
        intensity.seconds_left(quake, found.arrival, now)

    def every_zone() -> None:
        found = intensity.felt(quake, places)
        intensity.seconds_left(quake, found.arrival, now)

    return [
        ("floor: numpy log10 and two roots", _median(floor, rounds)),
        ("intensity and countdown, one zone", _median(one_zone, rounds)),
        ("the same, no zone configured (greatest of four)", _median(every_zone, rounds)),
    ]


def page(quick: bool) -> str:
    """The measurement as a markdown section."""
    rows = measure(5 if quick else 51)
    floor = rows[0][1]
    lines = [
        f"## Earthquake × {TERMINALS:,} terminals",
        "",
        "| what | median ms | × floor | bar |",
        "|---|---|---|---|",
    ]
    for what, value in rows:
        bar = (
            ""
            if what.startswith("floor")
            else ("holds" if value <= BAR_MS else "MISSED") + f" ({BAR_MS:g} ms)"
        )
        lines.append(f"| {what} | {value:.2f} | {value / floor:.1f} | {bar} |")
    return "\n".join(lines) + "\n"


def _median(run: Callable[[], None], rounds: int) -> float:
    times = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[2:])
