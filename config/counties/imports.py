"""A county's own files into its pack: villages, terminals, township seats, boundary.

The datum of every position must be declared; what the positions themselves say about it is compared with
that (`datum.check`), and a contradiction refuses the import with the numbers. All or nothing: the pack is
changed only when every row was understood and the changed pack loads.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry
from shapely.validation import explain_validity

from alerts.model import Polygon
from alerts.regions import County, Township, Village, township_stem
from config.counties import COLUMNS, Pack, PackError, load_county, pack_folder, shipped
from config.counties.build import table as as_csv
from config.counties.datum import Datum, DatumCheck, Floats, check, distance_km, to_wgs84
from config.counties.tables import Row, Table, TableError, minutes_in_disguise, position, read, roles

OUTSIDE_KM: Final = 2.0
"""How far beyond the outline a position may lie: outlines are simplified (`geo.md` §2), enclaves exist."""
SURROUNDINGS_KM: Final = 150.0
"""Without an outline: how far from every known township seat."""
SEAT_KM: Final = 5.0
"""A village called like its township is taken for the seat's only so near to it."""
_AGREE: Final = 0.005
"""Share of the area by which a new outline must fit the old one better in another datum."""
_KM_A_DEGREE: Final = 111.195
_SIGNIFICANT: Final = ".6f"
"""Decimals of stored degrees: 0.1 m."""


class Kind(StrEnum):
    """In the order in which they are taken: each may need what is before it."""

    BOUNDARY = "boundary"
    TOWNSHIPS = "townships"
    VILLAGES = "villages"
    TERMINALS = "terminals"


class ImportRefused(Exception):
    """The pack was left as it was. `doubts`: it was understood, but contradicts what is known; the same
    import with `anyway` takes it."""

    def __init__(self, problems: Sequence[str], *, doubts: bool) -> None:
        super().__init__("\n".join(problems))
        self.doubts = doubts


@dataclass(frozen=True, slots=True)
class Taken:
    """What one file became."""

    kind: Kind
    file: Path
    rows: int
    """Of this county."""
    added: int
    updated: int
    left_out: int
    """Rows of other counties."""
    without_position: int
    check: DatumCheck | None
    """None where the file has no positions."""
    notes: tuple[str, ...]
    doubts: tuple[str, ...]
    """What was accepted although it contradicts what is known."""


@dataclass(slots=True)
class _Work:
    """One file on its way into a copy of the pack."""

    kind: Kind
    folder: Path
    table: Table
    datum: Datum | None
    columns: Mapping[str, str]
    pack: Pack = field(init=False)
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: int = field(init=False)

    def __post_init__(self) -> None:
        self.pack = load_county(self.folder)
        self.notes.extend(self.table.notes)
        self.left_out = self.table.foreign

    @property
    def county(self) -> County:
        return self.pack.county

    def roles(self, *wanted: str) -> dict[str, str]:
        return roles(self.table, wanted, self.columns)

    def stored(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream))

    def store(self, name: str, rows: Sequence[Mapping[str, str]]) -> None:
        lines = ([row[column] for column in COLUMNS[name]] for row in rows)
        (self.folder / name).write_text(as_csv(name, lines), encoding="utf-8")

    def wrong(self, row: Row, reason: str) -> None:
        self.problems.append(f"{row.where}: {reason}")

    def stop_if_wrong(self) -> None:
        if self.problems:
            raise TableError(self.problems)


def import_files(
    folder: Path,
    files: Mapping[Kind, Path],
    datum: Datum | None,
    *,
    columns: Mapping[str, str],
    anyway: bool,
    on: date,
    write: bool,
) -> tuple[Taken, ...]:
    """Takes `files` into the pack in `folder`; with `write` False only says what would come of it.

    `datum` may be None only where no file has positions. `columns` chooses a file's column for a role of
    `tables.COLUMN_NAMES`. What contradicts what is known refuses the import unless `anyway`; SOURCES.md
    then records it with the day `on`. Raises ImportRefused, TableError, PackError.
    """
    if not folder.exists() and str(folder) in shipped():
        folder = pack_folder(str(folder))
    folder = pack_folder(folder)
    if folder.name in shipped() and folder.samefile(pack_folder(folder.name)):
        raise PackError(f"{folder}: comes with the program; copy the folder and import into the copy")
    taken = []
    with tempfile.TemporaryDirectory(prefix="fenghuo-import-") as scratch:
        copy = Path(shutil.copytree(folder, Path(scratch) / "pack"))
        for kind in Kind:
            if kind in files:
                table = read(files[kind], load_county(copy).county.code)
                work = _Work(kind, copy, table, datum, columns)
                taken.append(_TAKE[kind](work))
        doubts = [doubt for one in taken for doubt in one.doubts]
        if doubts and not anyway:
            raise ImportRefused(doubts, doubts=True)
        load_county(copy)
        with (copy / "SOURCES.md").open("a", encoding="utf-8") as sources:
            sources.writelines(f"\n{_record(one, datum, on)}\n" for one in taken)
        if write:
            _replace(copy, folder)
    return tuple(taken)


def _replace(copy: Path, folder: Path) -> None:
    """Each changed file at once, so that no reader ever sees half of one."""
    try:
        for new in sorted(copy.iterdir()):
            old = folder / new.name
            if new.is_file() and (not old.exists() or old.read_bytes() != new.read_bytes()):
                beside = old.with_name(f".{old.name}.new")
                shutil.copyfile(new, beside)
                beside.replace(old)
    except OSError as error:
        raise PackError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None


def _record(one: Taken, datum: Datum | None, on: date) -> str:
    said = f"- {on}: {one.kind} from `{one.file.name}`, {one.rows} rows ({one.added} new)"
    if one.check is not None and datum is not None:
        said += f", positions declared {datum}; {one.check}"
    return said + "".join(f"; accepted anyway: {doubt}" for doubt in one.doubts)


# --- what every kind of file needs


def _township(county: County, text: str) -> Township | None:
    """By internal key, name, old name or stem, where that is one."""
    plain = text.removeprefix(county.name)
    for fits in (
        [unit for unit in county.townships if plain in (unit.key, unit.name)],
        [unit for unit in county.townships if plain in unit.old_names],
        [unit for unit in county.townships if township_stem(unit.name) == plain],
    ):
        if fits:
            return fits[0] if len(fits) == 1 else None
    return None


def _digits(text: str) -> str:
    """A code as digits. Raises ValueError for what a spreadsheet made of it."""
    plain = re.sub(r"\.0+$", "", text.replace(" ", ""))
    if plain and not (plain.isascii() and plain.isdigit()):
        raise ValueError(f"{text!r} is no code; a spreadsheet may have rounded it: format the column as text")
    return plain


def _parent(work: _Work, row: Row, code: str, township: str) -> Township | None:
    """The township of a village: its code and the township's name must not contradict each other."""
    county = work.county
    coded = next((u for u in county.townships if code and u.nbs == code[:9]), None)
    named = _township(county, township) if township else None
    if township and named is None:
        work.wrong(row, f"{township} is no township of {county.name}, or more than one")
    elif code and coded is None and not (named is not None and named.nbs is None):
        work.wrong(row, f"the code {code} begins with {code[:9]}, no township of the NBS list in this pack")
    elif coded and named and coded is not named:
        work.wrong(row, f"the code {code} belongs to {coded.name}, but the township is {named.name}")
    elif not coded and not named:
        work.wrong(row, "says neither by code nor by name in which township it is")
    else:
        return coded or named
    return None


def _place(work: _Work, row: Row, columns: Mapping[str, str]) -> tuple[float, float] | None:
    """(lat, lon) as it stands in the file."""
    try:
        found = position(row, columns)
    except ValueError as error:
        work.wrong(row, str(error))
        return None
    if found is not None and work.datum is None:
        raise TableError([f"{row.where}: has a position: declare its datum: gcj02, wgs84 or cgcs2000"])
    return found


def _village_code(work: _Work, row: Row, columns: Mapping[str, str]) -> str | None:
    """Twelve digits or empty; None for a row of another county."""
    text = row.cells.get(columns.get("code12", columns.get("code", "")), "")
    try:
        code = _digits(text)
    except ValueError as error:
        work.wrong(row, str(error))
        return ""
    if code and len(code) != 12:
        work.wrong(row, f"the code {code} has {len(code)} digits; a village has 12 (NBS list)")
        return ""
    if code and not code.startswith(work.county.code):
        work.left_out += 1
        return None
    return code


def outline(boundary: Sequence[Polygon]) -> BaseGeometry | None:
    """A county's boundary as one shape of (lon, lat), holes kept; None where there is none."""
    if not boundary:
        return None
    turned = (
        shapely.Polygon(
            [(lon, lat) for lat, lon in one.outer],
            [[(lon, lat) for lat, lon in hole] for hole in one.holes],
        )
        for one in boundary
    )
    return shapely.make_valid(shapely.union_all([shapely.make_valid(one) for one in turned]))


def km_outside(shape: BaseGeometry, lat: Floats, lon: Floats) -> Floats:
    """Kilometres from each position to `shape` (lon, lat); 0 inside. In a plane at the shape's middle
    latitude: good to 2 % around a county."""
    _, south, _, north = shape.bounds
    narrow = np.array([np.cos(np.radians((south + north) / 2)), 1.0])
    flat = shapely.transform(shape, lambda corners: corners * narrow)
    away = shapely.distance(flat, shapely.points(np.column_stack((lon, lat)) * narrow))
    return np.asarray(away * _KM_A_DEGREE, dtype=float)


def _converted(
    work: _Work,
    rows: Sequence[Row],
    places: Sequence[tuple[float, float] | None],
    known: Sequence[tuple[float, float] | None],
    columns: Mapping[str, str],
) -> tuple[list[tuple[float, float] | None], DatumCheck | None]:
    """Places in WGS-84, after the checks; `known` is where each should roughly be, if that is known."""
    there = [n for n, place in enumerate(places) if place is not None]
    if not there or work.datum is None:
        return [None] * len(places), None
    raw = np.array([places[n] for n in there], dtype=float)
    lat, lon = to_wgs84(raw[:, 0], raw[:, 1], work.datum)
    seats = np.array([known[n] or (np.nan, np.nan) for n in there], dtype=float)
    away = distance_km(lat, lon, seats[:, 0], seats[:, 1])
    seats[~(away <= SEAT_KM)] = np.nan
    shape = outline(work.county.boundary)
    found = check(raw[:, 0], raw[:, 1], work.datum, outline=shape, seats=seats)
    if found.against:
        work.doubts.append(
            f"{work.table.file}: the positions look like {work.datum.other}, not {work.datum}: {found}"
        )
    elif found.unsure:
        work.notes.append(f"nothing here proves that the positions are {work.datum}; check one on the ground")
    for name in ("lat", "lon"):
        if name in columns and minutes_in_disguise([row.cells[columns[name]] for row in rows]):
            work.doubts.append(
                f"{work.table.file}: the decimals of {columns[name]} look like minutes and seconds "
                "(no pair of digits is 60 or over); convert them to decimal degrees"
            )
    if shape is not None:
        beyond, limit, what = km_outside(shape, lat, lon), OUTSIDE_KM, "outside the county"
    else:
        limit, what = SURROUNDINGS_KM, "from the nearest known township seat"
        towns = np.array([unit.position for unit in work.county.townships if unit.position], dtype=float)
        beyond = np.zeros(len(there))
        if towns.size:
            beyond = distance_km(lat[:, None], lon[:, None], towns[:, 0], towns[:, 1]).min(axis=1)
    for index in map(int, np.flatnonzero(beyond > limit)):
        work.doubts.append(f"{rows[there[index]].where}: lies {beyond[index]:.1f} km {what}")
    result: list[tuple[float, float] | None] = [None] * len(places)
    for nth, n in enumerate(there):
        result[n] = float(lat[nth]), float(lon[nth])
    return result, found


def _texts(place: tuple[float, float] | None) -> dict[str, str]:
    return (
        {}
        if place is None
        else {"lat": format(place[0], _SIGNIFICANT), "lon": format(place[1], _SIGNIFICANT)}
    )


def _taken(work: _Work, rows: int, added: int, updated: int, empty: int, found: DatumCheck | None) -> Taken:
    if not rows:
        others = f"; all {work.left_out} rows are of other counties" if work.left_out else ""
        raise TableError([f"{work.table.file}:1: nothing in it is of {work.county.name}{others}"])
    return Taken(
        work.kind,
        work.table.file,
        rows,
        added,
        updated,
        work.left_out,
        empty,
        found,
        tuple(work.notes),
        tuple(work.doubts),
    )


# --- villages


def spoken(name: str) -> str:
    """庙沟村村民委员会 → 庙沟村, 西城社区居委会 → 西城社区: the name that people say."""
    for end in ("村民委员会", "村委会"):
        if name.endswith(end) and len(name) > len(end):
            stem = name.removesuffix(end)
            return stem if stem.endswith("村") else f"{stem}村"
    for end in ("居民委员会", "居委会"):
        if name.endswith(end) and len(name) > len(end):
            return name.removesuffix(end)
    return name


def seat_of(village_name: str, unit: Township) -> tuple[float, float] | None:
    """The township's seat, for a village that is called like it (大川村 in 大川镇)."""
    stem = re.sub("(村|社区)$", "", village_name)
    return unit.position if stem == township_stem(unit.name) else None


def _villages(work: _Work) -> Taken:
    columns = work.roles("village", "name", "township", "code12", "code", "lat", "lon", "population")
    named = columns.get("village", columns.get("name"))
    if named is None:
        raise TableError(
            [f"{work.table.file}:1: no column says what a village is called; --column village=…"]
        )
    stored = work.stored("villages.csv")
    by_code = {row["nbs12"]: row for row in stored if row["nbs12"]}
    by_name = {(row["township_key"], row["name"]): row for row in stored}
    rows: list[Row] = []
    targets: list[dict[str, str]] = []
    places: list[tuple[float, float] | None] = []
    known: list[tuple[float, float] | None] = []
    first: dict[str, str] = {}
    added = 0
    for row in work.table.rows:
        code = _village_code(work, row, columns)
        if code is None:
            continue
        official = row.cells[named]
        if not official:
            work.wrong(row, f"{named} is empty")
            continue
        parent = _parent(work, row, code, row.cells.get(columns.get("township", ""), ""))
        if parent is None:
            continue
        name = spoken(official)
        target = by_code.get(code) if code else None
        if target is not None and target["name"] != name:
            work.wrong(row, f"{code} is {target['name']} in the pack, but {name} here")
            continue
        same_name = by_name.get((parent.key, name))
        if target is None and same_name is not None and (not code or not same_name["nbs12"]):
            target = same_name
        if target is None:
            target = dict.fromkeys(COLUMNS["villages.csv"], "")
            target |= {"key": _next_key(stored, parent.key), "name": name, "official_name": official}
            target |= {"township_key": parent.key}
            stored.append(target)
            by_name[parent.key, name] = target
            added += 1
        if code:
            target["nbs12"] = code
            by_code[code] = target
        if target["key"] in first:
            work.wrong(row, f"{parent.name}{name} stands already at {first[target['key']]}")
            continue
        first[target["key"]] = row.where
        people = row.cells.get(columns.get("population", ""), "").replace(",", "")
        if people and not re.fullmatch("[0-9]{1,7}", people):
            work.wrong(row, f"{people!r} is no number of people")
        elif people:
            target["population"] = people
        rows.append(row)
        targets.append(target)
        places.append(_place(work, row, columns))
        known.append(seat_of(name, parent))
    work.stop_if_wrong()
    converted, found = _converted(work, rows, places, known, columns)
    for target, place in zip(targets, converted, strict=True):
        if place is not None:
            target |= _texts(place) | {"position": "measured"}
    order = {unit.key: n for n, unit in enumerate(work.county.townships)}
    stored.sort(key=lambda row: order[row["township_key"]])
    work.store("villages.csv", stored)
    return _taken(work, len(rows), added, len(rows) - added, places.count(None), found)


def _next_key(stored: Sequence[Mapping[str, str]], township: str) -> str:
    used = [
        int(row["key"].removeprefix(f"{township}v"))
        for row in stored
        if re.fullmatch(rf"{re.escape(township)}v[0-9]+", row["key"])
    ]
    return f"{township}v{max(used, default=0) + 1:02d}"


# --- terminals


def _terminals(work: _Work) -> Taken:
    columns = work.roles("terminal", "name", "village", "township", "code12", "code", "lat", "lon")
    named = columns.get("terminal", columns.get("name"))
    stored = work.stored("terminals.csv")
    by_name = {(row["village_key"], row["name"]): row for row in stored}
    rows: list[Row] = []
    targets: list[dict[str, str]] = []
    places: list[tuple[float, float] | None] = []
    known: list[tuple[float, float] | None] = []
    first: dict[tuple[str, str], str] = {}
    added = 0
    for row in work.table.rows:
        code = _village_code(work, row, columns)
        if code is None:
            continue
        village = _village(work, row, code, columns)
        place = _place(work, row, columns)
        if village is None:
            continue
        if place is None:
            work.wrong(row, "a terminal needs a position")
            continue
        name = (row.cells[named] if named else "") or village.name
        if (village.key, name) in first:
            work.wrong(row, f"{name} stands already at {first[village.key, name]}")
            continue
        first[village.key, name] = row.where
        target = by_name.get((village.key, name))
        if target is None:
            target = {"village_key": village.key, "name": name, "speaker": ""}
            stored.append(target)
            added += 1
        rows.append(row)
        targets.append(target)
        places.append(place)
        known.append(village.position or seat_of(village.name, work.county.township(village.township_key)))
    work.stop_if_wrong()
    converted, found = _converted(work, rows, places, known, columns)
    for target, place in zip(targets, converted, strict=True):
        target |= _texts(place) | {"position": "measured"}
    made_up = sum(row["position"] == "synthetic" for row in stored)
    if made_up:
        work.notes.append(f"{made_up} synthetic terminals are still in terminals.csv; delete their lines")
    work.store("terminals.csv", stored)
    return _taken(work, len(rows), added, len(rows) - added, 0, found)


def _village(work: _Work, row: Row, code: str, columns: Mapping[str, str]) -> Village | None:
    county = work.county
    text = row.cells.get(columns.get("village", ""), "")
    township = row.cells.get(columns.get("township", ""), "")
    if code:
        fits = [v for v in county.villages if v.nbs == code]
        if fits and text and spoken(text) != fits[0].name and text != fits[0].key:
            work.wrong(row, f"the code {code} is {fits[0].name}, but the village is {text}")
            return None
    else:
        unit = _township(county, township) if township else None
        if township and unit is None:
            work.wrong(row, f"{township} is no township of {county.name}, or more than one")
            return None
        fits = [
            v
            for v in county.villages
            if (v.key == text or v.name == spoken(text)) and (unit is None or v.township_key == unit.key)
        ]
    if len(fits) == 1:
        return fits[0]
    which = code or text or "(empty)"
    if fits:
        work.wrong(row, f"{len(fits)} villages are called {which}; give the township or the 12-digit code")
    else:
        work.wrong(row, f"there is no village {which} in the pack; import the villages first")
    return None


# --- townships


def _townships(work: _Work) -> Taken:
    columns = work.roles("township", "name", "mca9", "nbs9", "code", "lat", "lon")
    named = columns.get("township", columns.get("name"))
    if named is None:
        raise TableError(
            [f"{work.table.file}:1: no column says what a township is called; --column township=…"]
        )
    stored = work.stored("townships.csv")
    by_key = {row["key"]: row for row in stored}
    rows: list[Row] = []
    targets: list[dict[str, str]] = []
    places: list[tuple[float, float] | None] = []
    known: list[tuple[float, float] | None] = []
    first: dict[str, str] = {}
    added = 0
    for row in work.table.rows:
        name = row.cells[named]
        try:
            codes = {
                scheme: _digits(row.cells.get(columns.get(scheme, ""), ""))[:9]
                for scheme in ("mca9", "nbs9", "code")
            }
        except ValueError as error:
            work.wrong(row, str(error))
            continue
        if any(code and not code.startswith(work.county.code) for code in codes.values()):
            work.left_out += 1
            continue
        unit = _township(work.county, name)
        if unit is None:
            if not (codes["mca9"] or codes["nbs9"]) or not name:
                work.wrong(
                    row,
                    f"{name or '(empty)'} is no township of {work.county.name}; a new one needs its code "
                    "in a column mca9 or nbs9",
                )
                continue
            numbers = [int(key[1:]) for key in by_key if re.fullmatch("w[0-9]+", key)]
            target = dict.fromkeys(COLUMNS["townships.csv"], "")
            target |= {"key": f"w{max(numbers, default=0) + 1:02d}", "name": name}
            target |= {"mca9": codes["mca9"], "nbs9": codes["nbs9"]}
            stored.append(target)
            by_key[target["key"]] = target
            added += 1
        else:
            target = by_key[unit.key]
            differs = [
                f"{code} ({scheme})"
                for scheme, own in (
                    ("mca9", (unit.mca,)),
                    ("nbs9", (unit.nbs,)),
                    ("code", (unit.mca, unit.nbs)),
                )
                if (code := codes[scheme]) and code not in own
            ]
            if differs:
                work.wrong(
                    row, f"{unit.name} is {unit.mca} (mca), {unit.nbs} (nbs), not {', '.join(differs)}"
                )
                continue
        if target["key"] in first:
            work.wrong(row, f"{name} stands already at {first[target['key']]}")
            continue
        first[target["key"]] = row.where
        rows.append(row)
        targets.append(target)
        places.append(_place(work, row, columns))
        from_geonames = unit is not None and target["position_source"].startswith("GeoNames")
        known.append(unit.position if unit is not None and from_geonames else None)
    work.stop_if_wrong()
    converted, found = _converted(work, rows, places, known, columns)
    for target, place in zip(targets, converted, strict=True):
        if place is not None:
            target |= _texts(place) | {"position_source": f"{work.table.file.name}, declared {work.datum}"}
    work.store("townships.csv", stored)
    return _taken(work, len(rows), added, len(rows) - added, places.count(None), found)


# --- the boundary


def _boundary(work: _Work) -> Taken:
    county = work.county
    layers = [row for row in work.table.rows if row.shape is not None]
    if len(layers) > 1:
        marks = {county.name, county.code, f"156{county.code}", f"{county.code}000000"}
        fits = [row for row in layers if marks & set(row.cells.values())]
        work.left_out += len(layers) - len(fits)
        layers = fits
    if len(layers) != 1:
        raise TableError(
            [f"{work.table.file}:1: {len(layers)} features are {county.name} ({county.code}), not one"]
        )
    row = layers[0]
    shape = row.shape
    if not isinstance(shape, shapely.Polygon | shapely.MultiPolygon):
        raise TableError([f"{row.where}: is no polygon"])
    if not shape.is_valid:
        raise TableError([f"{row.where}: the outline crosses itself: {explain_validity(shape)[:120]}"])
    if work.datum is None:
        raise TableError([f"{row.where}: has positions: declare their datum: gcj02, wgs84 or cgcs2000"])
    # CAP and our types have (lat, lon); the file, like all GeoJSON, (lon, lat).
    corners = shapely.get_coordinates(shape)
    if (corners[:, 1] > corners[:, 0]).all():
        raise TableError([f"{row.where}: lat and lon are swapped"])
    for lon, lat in corners:
        if not (3 <= lat <= 54 and 73 <= lon <= 136):
            raise TableError(
                [f"{row.where}: the corner {lat:g}, {lon:g} (lat, lon) is not in China, in degrees"]
            )
    readings = {datum: _turned(shape, datum) for datum in (work.datum, work.datum.other)}
    new = readings[work.datum]
    found = _boundary_check(work, readings)
    seats = [unit for unit in county.townships if unit.position]
    beyond = [
        unit.name
        for unit in seats
        if unit.position and not shapely.intersects_xy(new, unit.position[1], unit.position[0])
    ]
    if len(beyond) * 5 > len(seats):
        work.doubts.append(
            f"{row.where}: {len(beyond)} of {len(seats)} known township seats lie outside: "
            + "、".join(beyond[:10])
        )
    document = {
        "type": "FeatureCollection",
        "name": f"{county.key}_boundary",
        "features": [
            {
                "type": "Feature",
                "properties": {
                    "code": county.code,
                    "name": county.name,
                    "source": f"{work.table.file.name}, declared {work.datum}",
                },
                "geometry": mapping(shapely.set_precision(new, 1e-6)),
            }
        ],
    }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"
    (work.folder / "boundary.geojson").write_text(text, encoding="utf-8")
    return _taken(work, 1, int(not county.boundary), int(bool(county.boundary)), 0, found)


def _turned(shape: BaseGeometry, datum: Datum) -> BaseGeometry:
    def wgs84(corners: Floats) -> Floats:
        lat, lon = to_wgs84(corners[:, 1], corners[:, 0], datum)
        return np.column_stack((lon, lat))

    return shapely.transform(shape, wgs84)


def _boundary_check(work: _Work, readings: Mapping[Datum, BaseGeometry]) -> DatumCheck:
    """By the measured villages and seats that each reading keeps inside, and by the outline that the pack
    had before."""
    assert work.datum is not None
    county = work.county
    places = [v.position for v in county.villages if v.position] + [
        u.position for u in county.townships if u.position
    ]
    points = np.array(places, dtype=float).reshape(-1, 2)
    fits = {
        datum: check(points[:, 0], points[:, 1], Datum.WGS84, outline=shape).declared
        for datum, shape in readings.items()
    }
    mine, other = fits[work.datum], fits[work.datum.other]
    gained = (other.inside or 0) - (mine.inside or 0)
    old = outline(county.boundary)
    shares = (
        {} if old is None else {d: old.intersection(s).area / old.union(s).area for d, s in readings.items()}
    )
    against = gained >= max(3, len(places) // 50)
    unsure = abs(gained) < 3
    if shares:
        better = shares[work.datum.other] - shares[work.datum]
        against = against or better > _AGREE
        unsure = unsure and abs(better) <= _AGREE
    said = {d: fits[d].__class__(d, fits[d].points, fits[d].inside, 0, None) for d in fits}
    result = DatumCheck(said[work.datum], said[work.datum.other], against, unsure and not against)
    shown = "; ".join(
        f"read as {d}: covers {share:.2%} of the outline there was, both together"
        for d, share in shares.items()
    )
    if result.against:
        work.doubts.append(
            f"{work.table.file}: the outline looks like {work.datum.other}, not {work.datum}: {result}"
            + (f"; {shown}" if shown else "")
        )
    elif result.unsure:
        work.notes.append(f"nothing here proves that the outline is {work.datum}; lay it over a map")
    elif shown:
        work.notes.append(shown)
    return result


_TAKE: Final[Mapping[Kind, Callable[[_Work], Taken]]] = {
    Kind.BOUNDARY: _boundary,
    Kind.TOWNSHIPS: _townships,
    Kind.VILLAGES: _villages,
    Kind.TERMINALS: _terminals,
}
