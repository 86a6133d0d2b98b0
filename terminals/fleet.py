"""Area → terminals: who is in and why, through which groups, and which villages have nobody. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from alerts.area import ASTRAY_DEGREES, Cut, Ground, Target
from alerts.regions import County
from alerts.shapes import Mask, Points
from terminals.model import Terminal

EVERYONE: Final = "all"
"""Group key of the whole county."""


def groups_of(village: str, county: County) -> tuple[str, ...]:
    """The groups of a terminal in this village, widest first. Raises KeyError for an unknown village."""
    return (EVERYONE, county.village(village).township_key, village)


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """The terminals of a county, made ready for targeting; made anew when the register changes."""

    terminals: tuple[Terminal, ...]
    """Enrolled ones in a village of the county, by id. Rows of the arrays below are theirs."""
    members: Mapping[str, NDArray[np.intp]]
    """Group key → rows of its terminals."""
    villages: NDArray[np.intp]
    """Row of each one's village in `County.villages`."""
    points: Points
    """Own positions; NaN where there is none, or it is astray."""
    positions: Mapping[str, tuple[float, float]]
    """Village key → middle of its terminals, enrolled or not, where any of them has a position."""
    astray: frozenset[str]
    """Ids of terminals whose position is not believed: they are taken to stand where their village does."""

    @classmethod
    def of(cls, terminals: Iterable[Terminal], county: County) -> Fleet:
        row = {village.key: n for n, village in enumerate(county.villages)}
        box = _box(county)
        ours = sorted((t for t in terminals if t.village in row), key=lambda t: t.id)
        places = [_place(t) for t in ours]
        astray = {t.id for t, p in zip(ours, places, strict=True) if p is not None and not _inside(box, p)}
        by_village: dict[str, list[tuple[float, float]]] = {}
        for terminal, place in zip(ours, places, strict=True):
            if place is not None and terminal.id not in astray:
                by_village.setdefault(terminal.village, []).append(place)
        enrolled = tuple(t for t in ours if t.enrolled)
        members: dict[str, list[int]] = {}
        for n, terminal in enumerate(enrolled):
            for group in groups_of(terminal.village, county):
                members.setdefault(group, []).append(n)
        return cls(
            enrolled,
            {group: np.array(rows, np.intp) for group, rows in members.items()},
            np.array([row[t.village] for t in enrolled], np.intp),
            Points.of(None if t.id in astray else _place(t) for t in enrolled),
            {key: (_mean(p[0] for p in own), _mean(p[1] for p in own)) for key, own in by_village.items()},
            frozenset(astray),
        )

    def __iter__(self) -> Iterator[Terminal]:
        return iter(self.terminals)

    def rows_of(self, groups: Iterable[str]) -> NDArray[np.intp]:
        """Rows of the terminals of any of these groups, which must not overlap."""
        parts = [rows for group in groups if (rows := self.members.get(group)) is not None]
        return np.concatenate(parts) if parts else np.empty(0, np.intp)

    def covered(self, target: Target) -> Mask:
        """Who is in, by row: by own position, else by where their village stands."""
        return target.covers(self.villages, self.placed(target.ground))

    def placed(self, ground: Ground) -> Points:
        """Where each terminal is taken to stand."""
        own = self.points.known
        theirs = ground.points
        return Points(
            np.where(own, self.points.lat, theirs.lat[self.villages]),
            np.where(own, self.points.lon, theirs.lon[self.villages]),
            np.where(own[:, None], self.points.xyz, theirs.xyz[self.villages]),
        )


@dataclass(frozen=True, slots=True)
class Selection:
    terminals: tuple[str, ...]
    """Ids, sorted."""
    groups: tuple[str, ...]
    """The fewest groups whose union is exactly these villages; none where a group would reach a terminal
    that is not meant."""
    silent_villages: tuple[str, ...]
    """Targeted villages without a terminal that is in: nobody there will hear it from us."""
    villages: tuple[str, ...] = ()
    """Targeted villages, and those of terminals that stand in a shape although their village does not."""
    lines: tuple[str, ...] = ()
    """How many terminals by which way, where a shape decides."""


def select(terminals: Iterable[Terminal], area: Cut, county: County) -> Selection:
    """Every enrolled terminal that the area takes in. Never widens: groups are exact covers.

    By codes alone a terminal is in with its village. Where a shape decides, its own position counts, and
    without one that of its village. `terminals` may be a `Fleet`, which saves making one.
    """
    fleet = terminals if isinstance(terminals, Fleet) else Fleet.of(terminals, county)
    if area.target is None:
        groups = cover(area.village_keys, county)
        chosen = fleet.rows_of(groups)
        reached = {fleet.terminals[n].village for n in chosen}
        return Selection(
            terminals=tuple(sorted(fleet.terminals[n].id for n in chosen)),
            groups=groups,
            silent_villages=tuple(sorted(area.village_keys - reached)),
            villages=tuple(sorted(area.village_keys)),
        )
    covered = fleet.covered(area.target)
    chosen = np.flatnonzero(covered)
    reached = {fleet.terminals[n].village for n in chosen}
    partly = {fleet.terminals[n].village for n in np.flatnonzero(~covered)}
    villages = area.village_keys | reached
    exact = not reached & partly
    return Selection(
        terminals=tuple(fleet.terminals[n].id for n in chosen),
        groups=cover(villages - partly, county) if exact else (),
        silent_villages=tuple(sorted(villages - reached)),
        villages=tuple(sorted(villages)),
        lines=_counted(fleet, chosen, area, reached, partly),
    )


def cover(villages: Set[str], county: County) -> tuple[str, ...]:
    """The fewest groups whose union is exactly these villages."""
    every = {v.key for v in county.villages}
    if villages and villages >= every:
        return (EVERYONE,)
    whole = [t.key for t in county.townships if (own := county.villages_of(t.key)) and own <= villages]
    inside = {v for key in whole for v in county.villages_of(key)}
    return (*whole, *sorted(villages & every - inside))


def _counted(
    fleet: Fleet, chosen: NDArray[np.intp], area: Cut, reached: Set[str], partly: Set[str]
) -> tuple[str, ...]:
    own = int(fleet.points.known[chosen].sum())
    found = [f"terminals: {own} by their own position, {len(chosen) - own} by their village's"]
    if beside := reached - area.village_keys:
        found.append(f"{len(beside)} villages stand outside, but a terminal of theirs inside")
    if mute := (area.village_keys & partly) - reached:
        found.append(f"{len(mute)} villages stand inside, but their terminals outside: {_some(mute)}")
    if fleet.astray:
        found.append(
            f"{len(fleet.astray)} terminals have a position far outside the county, which is not believed: "
            f"{_some(fleet.astray)}"
        )
    return tuple(found)


def _some(names: Set[str]) -> str:
    shown = sorted(names)[:5]
    return ", ".join(shown) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _place(terminal: Terminal) -> tuple[float, float] | None:
    if terminal.lat is None or terminal.lon is None:
        return None
    return terminal.lat, terminal.lon


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _box(county: County) -> tuple[float, float, float, float] | None:
    """(south, west, north, east) around all that we know of a county; None where that is nothing."""
    known = [
        p for p in (*(v.position for v in county.villages), *(t.position for t in county.townships)) if p
    ]
    known += [p for polygon in county.boundary for p in polygon.outer]
    if not known:
        return None
    lats, lons = [p[0] for p in known], [p[1] for p in known]
    return min(lats), min(lons), max(lats), max(lons)


def _inside(box: tuple[float, float, float, float] | None, place: tuple[float, float]) -> bool:
    if box is None:
        return True
    south, west, north, east = box
    wide = ASTRAY_DEGREES
    return south - wide <= place[0] <= north + wide and west - wide <= place[1] <= east + wide
