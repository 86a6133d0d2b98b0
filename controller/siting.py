"""What is wrong with rows of the register: every problem at once, each at its row. Pure but for numpy.

A row that is taken wrongly is a village that is warned of its neighbour's flood, or not at all; so nothing
that cannot be is repaired or guessed here. What is merely odd belongs into `controller.readiness`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from alerts.regions import County
from config.counties.check import FAR_KM
from config.counties.datum import distance_km
from config.counties.imports import OUTSIDE_KM, SURROUNDINGS_KM, km_outside, outline
from config.counties.tables import implausible
from terminals.model import Terminal, is_simulated

_TAGS: Final = re.compile(
    "zh|yue|hak|nan|wuu|gan|hsn|cdo|cjy|mnp|cpx|czh|czo"  # Chinese, by its branches
    "|bo|ii|ug|kk|mn|ko|za|ky|tg|uz|tt|ru"
    "|hmn|hmd|hea|hms|muq|cqd|mww|ium|bji"  # 苗 and 瑶
    "|pcc|dib|kmc|tyz|zgn|zhn|zyb|zyg|zyj|zyn|zzj|doc"  # 布依, 侗, 壮
    "|bca|bfs|tdd|khb|lis|lhu|nxq|hni|wbm|jng|kac|acn|zng"  # 白, 傣, 傈僳, 拉祜, 纳西, 哈尼, 佤, 景颇
    "|adx|khg|sgp|evn|orh|sjo|mnc|sce|peh|yuy|tji|bfd|dta|jiy"
)
"""Primary subtags (ISO 639) of languages that are spoken in counties of China; ours. A tag may go on behind
a hyphen (`bo-CN`). That we have a voice for it is another question: without one Mandarin is heard."""
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4}")
_FORMULA: Final = "=+-@\t"
"""What a spreadsheet takes for the beginning of a formula, were such a name exported."""


def wrong(
    terminals: Sequence[Terminal],
    county: County,
    *,
    sandbox: bool,
    standing: Mapping[str, Terminal],
    retired: Mapping[str, str],
) -> list[tuple[int, str]]:
    """(index, reason) of everything that speaks against these rows, in their order. `standing`: what the
    register holds already; `retired`: id → the terminal that stands there instead, or empty."""
    found: list[tuple[int, str]] = []
    villages = {village.key: village for village in county.villages}
    first: dict[str, int] = {}
    ours = {t.id for t in terminals}
    twins = {_site(t): t.id for t in standing.values() if t.lat is not None and t.id not in ours}
    for n, terminal in enumerate(terminals):
        found += [(n, reason) for reason in _of_itself(terminal, sandbox)]
        if terminal.id in first:
            found.append((n, f"{terminal.id} is given twice, first in row {first[terminal.id] + 1}"))
        first.setdefault(terminal.id, n)
        if terminal.id in retired:
            by = f" and replaced by {retired[terminal.id]}" if retired[terminal.id] else ""
            found.append((n, f"{terminal.id} is retired{by}; a new board has a new id"))
        if terminal.village not in villages:
            found.append((n, f"no village {terminal.village} in {county.name}"))
        if terminal.lat is not None:
            other = twins.setdefault(_site(terminal), terminal.id)
            if other != terminal.id:
                found.append((n, f"{terminal.id} has the name, the village and the very position of {other}"))
    found += _astray(terminals, county)
    return sorted(found, key=lambda item: item[0])


def _site(terminal: Terminal) -> tuple[object, ...]:
    return terminal.village, terminal.name, terminal.lat, terminal.lon


_RESERVED: Final = frozenset({"controller"})
"""In deploy/acl.txt: whose certificate bears this name may say everything."""


def _of_itself(terminal: Terminal, sandbox: bool) -> Iterator[str]:
    if is_simulated(terminal.id) and not sandbox:
        yield f"{terminal.id}: sim-… is reserved for simulated terminals; this controller is not a sandbox"
    elif sandbox and not is_simulated(terminal.id):
        yield f"{terminal.id}: a sandbox controller takes only simulated terminals (sim-…)"
    if terminal.id.lower() in _RESERVED:
        yield f"{terminal.id}: this is the controller's name at the broker; no terminal may have it"
    if terminal.name.startswith(tuple(_FORMULA)) or not terminal.name.isprintable():
        yield f"the name {terminal.name!r} begins like a formula of a spreadsheet, or has control characters"
    for language in terminal.languages:
        if not _LANGUAGE.fullmatch(language) or not _TAGS.fullmatch(language.split("-")[0]):
            yield f"language {language!r} is not known; a tag such as zh, bo, ug, kk or ii"
    if len(set(terminal.languages)) != len(terminal.languages):
        yield f"a language is given twice: {' '.join(terminal.languages)}"
    if (terminal.lat is None) != (terminal.lon is None):
        yield "only one of lat and lon is given"
    elif terminal.lat is not None and terminal.lon is not None:
        odd = implausible(terminal.lat, terminal.lon)
        if odd:
            yield odd


def _astray(terminals: Sequence[Terminal], county: County) -> Iterator[tuple[int, str]]:
    """Positions outside the county, or far from their village."""
    placed = [
        (n, t.lat, t.lon)
        for n, t in enumerate(terminals)
        if t.lat is not None and t.lon is not None and not implausible(t.lat, t.lon)
    ]
    if not placed:
        return
    lat, lon = np.array([p[1] for p in placed]), np.array([p[2] for p in placed])
    shape = outline(county.boundary)
    limit, said = OUTSIDE_KM, f"outside {county.name}"
    if shape is not None:
        away = km_outside(shape, lat, lon)
    else:
        limit, said = SURROUNDINGS_KM, "from the nearest township seat that is known"
        seats = np.array([unit.position for unit in county.townships if unit.position], dtype=float)
        away = (
            distance_km(lat[:, None], lon[:, None], seats[:, 0], seats[:, 1]).min(axis=1)
            if seats.size
            else np.zeros(len(placed))
        )
    homes = {village.key: village for village in county.villages}
    for (n, y, x), beyond in zip(placed, away, strict=True):
        if beyond > limit:
            yield n, f"its position {y:g}, {x:g} lies {beyond:.1f} km {said}"
            continue
        home = homes.get(terminals[n].village)
        if home is not None and home.position is not None:
            far = float(distance_km(y, x, *home.position))
            if far > FAR_KM:
                yield (
                    n,
                    f"its position lies {far:.0f} km from {home.name}, its village; one of the two is wrong",
                )
