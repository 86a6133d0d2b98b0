"""What is wrong, doubtful or missing in a county pack, each with file and line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np

from alerts.regions import Village
from config.counties import Pack, PackError, load_county, pack_folder
from config.counties.datum import Datum, check, distance_km
from config.counties.imports import OUTSIDE_KM, SEAT_KM, km_outside, outline, seat_of
from config.counties.national import hazards, townships

FAR_KM: Final = 30.0
"""Beyond it a terminal cannot stand in its village; the widest villages of the pastures are smaller."""


class Level(StrEnum):
    ERROR = "error"
    """Would warn the wrong people, or stops the pack from loading."""
    WARNING = "warning"
    MISSING = "missing"
    """The county must still supply it; warnings are held or less exact until then."""


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    where: str
    """``file:line``."""
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


def examine(name_or_path: str | Path) -> tuple[Finding, ...]:
    """Everything that can be said about a pack, the gravest first. Raises PackError where there is none."""
    folder = pack_folder(name_or_path)
    try:
        pack = load_county(folder, synthetic=True)
    except PackError as error:
        return tuple(_split(line) for line in str(error).splitlines())
    found = [
        *_codes(folder, pack),
        *_villages(folder, pack),
        *_terminals(folder, pack),
        *_missing(folder, pack),
    ]
    return tuple(sorted(found, key=lambda finding: list(Level).index(finding.level)))


def _split(line: str) -> Finding:
    file, _, rest = line.partition(":")
    number, _, reason = rest.partition(": ")
    if not number.isdigit():
        return Finding(Level.ERROR, "pack", line)
    return Finding(Level.ERROR, f"{file}:{number}", reason)


def _rows(file: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        for row in reader:
            yield f"{file}:{reader.line_num}", {key: value.strip() for key, value in row.items()}


def _codes(folder: Path, pack: Pack) -> Iterator[Finding]:
    """Against the national list: what a code means elsewhere must be known here, or it would be guessed."""
    file = folder / "townships.csv"
    county = pack.county
    listed = townships(county.code)
    if not listed:
        yield Finding(
            Level.WARNING, f"{folder / 'pack.toml'}:1", f"{county.code} is not in the national list"
        )
        return
    by_code = {
        scheme: {getattr(e, scheme): e for e in listed if getattr(e, scheme)} for scheme in ("mca", "nbs")
    }
    known = {"mca": {u.mca for u in county.townships}, "nbs": {u.nbs for u in county.townships}}
    for item in county.meanings:
        known.setdefault(item.source, set()).add(item.digits)
    for where, row in _rows(file):
        for scheme, column in (("mca", "mca9"), ("nbs", "nbs9")):
            entry = by_code[scheme].get(row[column]) if row[column] else None
            names = {entry.name, entry.nbs_name} if entry else set()
            own = {row["name"], *(u.name for u in county.townships if u.key == row["key"])}
            own.update(*(u.old_names for u in county.townships if u.key == row["key"]))
            if row[column] and entry is None:
                yield Finding(Level.WARNING, where, f"{column} {row[column]} is not in the national list")
            elif entry is not None and not names & own:
                yield Finding(
                    Level.ERROR,
                    where,
                    f"{column} {row[column]} is {entry.name} in the national list, not {row['name']}; "
                    "if it was renamed, put the other name into aliases.csv",
                )
    for clash in hazards(county.code):
        for scheme, name in (("mca", clash.mca), ("nbs", clash.nbs)):
            if clash.digits not in known[scheme]:
                yield Finding(
                    Level.ERROR,
                    f"{file}:1",
                    f"{clash.digits} is {name} in the {scheme} list, which this pack does not say: an "
                    f"untagged warning would be guessed; add `{clash.digits},{scheme},{name}` to codes.csv",
                )
    for scheme in ("mca", "nbs"):
        absent = [
            f"{entry.name} {code}" for code, entry in by_code[scheme].items() if code not in known[scheme]
        ]
        if absent:
            yield Finding(
                Level.WARNING, f"{file}:1", f"of the {scheme} list these are not here: {'、'.join(absent)}"
            )


def _villages(folder: Path, pack: Pack) -> Iterator[Finding]:
    file = folder / "villages.csv"
    county = pack.county
    first: dict[tuple[str, str], str] = {}
    spots: dict[tuple[str, str], str] = {}
    lines: dict[str, str] = {}
    for where, row in _rows(file):
        lines[row["key"]] = where
        same = first.setdefault((row["township_key"], row["name"]), where)
        if same != where:
            yield Finding(Level.ERROR, where, f"{row['name']} stands already at {same}, in the same township")
        if not row["nbs12"]:
            yield Finding(Level.WARNING, where, f"{row['name']} has no village code; no code can name it")
        spot = spots.setdefault((row["lat"], row["lon"]), where) if row["lat"] else where
        if spot != where:
            yield Finding(
                Level.WARNING, where, f"{row['name']} has the very position of the village at {spot}"
            )
    placed = [v for v in county.villages if v.position and v.key not in pack.synthetic]
    yield from _outside(pack, [(lines[v.key], v.name, v.position) for v in placed if v.position])
    yield from _datum(file, pack, placed)


def _outside(pack: Pack, places: list[tuple[str, str, tuple[float, float]]]) -> Iterator[Finding]:
    shape = outline(pack.county.boundary)
    if shape is None or not places:
        return
    spots = np.array([spot for _, _, spot in places])
    for (where, name, _), away in zip(places, km_outside(shape, spots[:, 0], spots[:, 1]), strict=True):
        if away > OUTSIDE_KM:
            yield Finding(Level.ERROR, where, f"{name} lies {away:.1f} km outside {pack.county.name}")
        elif away > 0:
            yield Finding(
                Level.WARNING,
                where,
                f"{name} lies {away * 1000:.0f} m outside the outline, which is simplified",
            )


def _datum(file: Path, pack: Pack, placed: list[Village]) -> Iterator[Finding]:
    """Whether positions that should be WGS-84 are still GCJ-02."""
    if not placed:
        return
    county = pack.county
    spots = np.array([v.position for v in placed], dtype=float)
    seats = np.array(
        [seat_of(v.name, county.township(v.township_key)) or (np.nan, np.nan) for v in placed], dtype=float
    )
    seats[~(distance_km(spots[:, 0], spots[:, 1], seats[:, 0], seats[:, 1]) <= SEAT_KM)] = np.nan
    found = check(spots[:, 0], spots[:, 1], Datum.WGS84, outline=outline(county.boundary), seats=seats)
    if found.against:
        yield Finding(Level.ERROR, f"{file}:1", f"the positions look like GCJ-02, not WGS-84: {found}")


def _terminals(folder: Path, pack: Pack) -> Iterator[Finding]:
    file = folder / "terminals.csv"
    measured = {v.key: v for v in pack.county.villages if v.position and v.key not in pack.synthetic}
    spots: dict[tuple[str, str], str] = {}
    first: dict[tuple[str, str], str] = {}
    places: list[tuple[str, str, tuple[float, float]]] = []
    for (where, row), terminal in zip(_rows(file), pack.terminals, strict=True):
        same = first.setdefault((row["village_key"], row["name"]), where)
        if same != where:
            yield Finding(Level.ERROR, where, f"{terminal.name} stands already at {same}")
        spot = spots.setdefault((row["lat"], row["lon"]), where)
        if spot != where:
            yield Finding(
                Level.WARNING, where, f"{terminal.name} has the very position of the terminal at {spot}"
            )
        if terminal.synthetic:
            continue
        places.append((where, terminal.name, (terminal.lat, terminal.lon)))
        village = measured.get(terminal.village_key)
        if village is not None and village.position is not None:
            away = float(distance_km(terminal.lat, terminal.lon, *village.position))
            if away > FAR_KM:
                yield Finding(
                    Level.ERROR,
                    where,
                    f"{terminal.name} stands {away:.0f} km from {village.name}, its village; one of the two "
                    "positions, or the village, is wrong",
                )
    yield from _outside(pack, places)


def _missing(folder: Path, pack: Pack) -> Iterator[Finding]:
    county = pack.county
    villages, terminals = folder / "villages.csv", folder / "terminals.csv"
    if not county.villages:
        yield Finding(Level.MISSING, f"{villages}:1", "no village: every warning is held")
    empty = [u.name for u in county.townships if not county.villages_of(u.key)] if county.villages else []
    if empty:
        yield Finding(
            Level.MISSING, f"{villages}:1", f"no village of {'、'.join(empty)}: warnings for them are held"
        )
    bare = sum(v.position is None for v in county.villages)
    if bare:
        yield Finding(
            Level.MISSING,
            f"{villages}:1",
            f"{bare} of {len(county.villages)} villages have no position: a shape finds only their seat",
        )
    if pack.synthetic:
        yield Finding(
            Level.MISSING,
            f"{villages}:1",
            f"{len(pack.synthetic)} of {len(county.villages)} villages have a synthetic position, used "
            "for simulated terminals only",
        )
    seats = [u.name for u in county.townships if u.position is None]
    if seats:
        yield Finding(
            Level.MISSING, f"{folder / 'townships.csv'}:1", f"no position of the seat of {'、'.join(seats)}"
        )
    if not county.boundary:
        yield Finding(
            Level.MISSING,
            f"{folder / 'boundary.geojson'}:1",
            "no boundary: shapes cannot be cut to the county",
        )
    silent = len(county.villages) - len({t.village_key for t in pack.terminals})
    if silent:
        yield Finding(
            Level.MISSING, f"{terminals}:1", f"{silent} of {len(county.villages)} villages have no terminal"
        )
    made_up = sum(t.synthetic for t in pack.terminals)
    if made_up:
        yield Finding(
            Level.MISSING, f"{terminals}:1", f"{made_up} of {len(pack.terminals)} terminals are synthetic"
        )
    if not pack.readings:
        yield Finding(Level.MISSING, f"{folder / 'readings.csv'}:1", "no reading of a place name")
