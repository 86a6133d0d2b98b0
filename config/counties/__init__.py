"""County packs: a folder that says what a county is, read into frozen types.

A pack has `pack.toml` (key, code, names, editions), `townships.csv`, `villages.csv`, `aliases.csv` (old
names), `codes.csv` (other meanings of this county's digits), `terminals.csv`, `readings.csv`,
`boundary.geojson` and `SOURCES.md`. Internal keys stand in the files: they are stable for ever and never
the digits of an official code, because the two national township lists collide (`geo.md` §0.1). All
positions are WGS-84; `imports` converts.
"""

from __future__ import annotations

import csv
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alerts.model import Polygon
from alerts.regions import County, Meaning, Township, Village
from config.schema import did_you_mean

_SHIPPED: Final = Path(__file__).parent
_KEY: Final = re.compile(r"(?=.*[a-z])[a-z0-9-]{1,24}")
_RESERVED: Final = frozenset({"all"})  # the group of the whole county (`terminals.fleet.EVERYONE`)
_MAX_PROBLEMS: Final = 50

COLUMNS: Final = {
    "townships.csv": ("key", "name", "mca9", "nbs9", "pinyin", "lat", "lon", "position_source"),
    "villages.csv": (
        "key",
        "name",
        "official_name",
        "nbs12",
        "township_key",
        "lat",
        "lon",
        "position",
        "population",
    ),
    "aliases.csv": ("old_name", "township_key", "nbs2016_9", "evidence"),
    "codes.csv": ("digits", "source", "name"),
    "terminals.csv": ("village_key", "name", "lat", "lon", "position", "speaker"),
    "readings.csv": ("text", "pinyin", "basis"),
}
"""File → its columns."""
POSITIONS: Final = ("measured", "synthetic")
"""What the column `position` may say: measured in the field, or made up for demonstrations."""
SPEAKERS: Final = ("horn", "column", "indoor")
"""What the column `speaker` may say; empty is a horn. `tts.voice.Speaker`, which this package cannot see."""


class PackError(Exception):
    """A pack that cannot be used: every problem as ``file:line: reason``, one a line."""


@dataclass(frozen=True, slots=True)
class PackTerminal:
    """A terminal that the pack brings along. `synthetic`: its position is made up, for demonstrations."""

    village_key: str
    name: str
    lat: float
    lon: float
    synthetic: bool
    speaker: str = "horn"
    """Class of loudspeaker, as `terminals.model.Terminal.speaker`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a place name is read: one syllable with its tone mark for each character."""

    text: str
    pinyin: tuple[str, ...]
    basis: str
    """Where the reading is from, and whether the county still has to confirm it."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Everything a pack says."""

    county: County
    terminals: tuple[PackTerminal, ...]
    readings: tuple[Reading, ...]
    synthetic: frozenset[str]
    """Keys of villages whose position in the file is made up; the county has it only if it was asked for."""
    editions: tuple[tuple[str, str], ...]
    """(list, date) of the sources, for the log and `config check`."""


def shipped() -> tuple[str, ...]:
    """Names of the packs that come with the program."""
    return tuple(sorted(p.parent.name for p in _SHIPPED.glob("*/pack.toml")))


def pack_folder(name_or_path: str | Path) -> Path:
    """The folder of a shipped pack, or the path itself; a Path is never a name. Raises PackError when there
    is no pack."""
    is_name = isinstance(name_or_path, str) and name_or_path in shipped()
    folder = _SHIPPED / name_or_path if is_name else Path(name_or_path)
    name_or_path = str(name_or_path)
    if not (folder / "pack.toml").is_file():
        names = ", ".join(shipped())
        raise PackError(
            f"no county pack {name_or_path!r}{did_you_mean(name_or_path, shipped())}; "
            f"shipped: {names}; or give the path of a folder with a pack.toml"
        )
    return folder


def template_folders(name_or_path: str | Path, own: Path | None = None) -> tuple[Path, ...]:
    """Where a county's own words stand, for `tts.templates.load_all`: the folder ``templates`` of its pack,
    and over it the one that its configuration names (`own`). Raises PackError when there is no pack."""
    folder = pack_folder(name_or_path) / "templates"
    return (folder, *([own] if own is not None else []))


def load_county(name_or_path: str | Path, *, synthetic: bool = False) -> Pack:
    """Read a shipped pack by name or any pack by its folder. Raises PackError with all its problems.

    Made-up positions of villages are left out unless `synthetic`: a shape must never reach or miss a
    real loudspeaker because of one. Only simulated terminals may be targeted by them.
    """
    return _Reader(pack_folder(name_or_path), synthetic).pack()


def bad_key(key: str) -> str:
    """Why `key` can be no internal key, or empty."""
    if _KEY.fullmatch(key) and key not in _RESERVED:
        return ""
    return f"key {key!r} must be lowercase letters, digits and '-', with a letter, and not 'all'"


class _Row:
    """One line of a CSV file and where it stands."""

    def __init__(self, reader: _Reader, where: str, cells: dict[str, str]) -> None:
        self._reader = reader
        self._where = where
        self._cells = cells

    def __getitem__(self, column: str) -> str:
        return self._cells[column]

    def wrong(self, reason: str) -> None:
        self._reader.wrong(f"{self._where}: {reason}")

    def text(self, column: str) -> str:
        if not self[column]:
            self.wrong(f"{column} is empty")
        return self[column]

    def digits(self, column: str, count: int, prefix: str) -> str:
        """Empty, or `count` digits beginning with `prefix`."""
        code = self[column]
        if code and not (re.fullmatch(rf"[0-9]{{{count}}}", code) and code.startswith(prefix)):
            self.wrong(f"{column} {code!r} is not {count} digits beginning with {prefix}")
        return code

    def degrees(self, column: str, low: float, high: float) -> float:
        try:
            value = float(self[column])
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            self.wrong(f"{column} {self[column]!r} is not a number of degrees from {low:g} to {high:g}")
        return value

    def position(self) -> tuple[float, float] | None:
        """(lat, lon); None where both cells are empty."""
        if not self["lat"] and not self["lon"]:
            return None
        return self.degrees("lat", -90, 90), self.degrees("lon", -180, 180)

    def kind(self) -> str:
        if self["position"] not in POSITIONS:
            self.wrong(f"position must be measured or synthetic, not {self['position']!r}")
        return self["position"]


class _Reader:
    def __init__(self, folder: Path, synthetic: bool) -> None:
        self._folder = folder
        self._with_synthetic = synthetic
        self._problems: list[str] = []
        self._synthetic: set[str] = set()

    def wrong(self, problem: str) -> None:
        self._problems.append(problem)

    def pack(self) -> Pack:
        about, neighbours = self._about()
        old = self._old_names(about["code"])
        townships = self._townships(about["code"], old)
        villages = self._villages(about["code"], townships)
        terminals = self._terminals({village.key for village in villages})
        readings, boundary = self._readings(), self._boundary()
        meanings = self._meanings(about["code"], townships)
        meanings += tuple(Meaning(digits, "former", name) for name, _, digits in old if digits)
        self._stop_if_wrong()
        county = County(
            key=about["key"],
            code=about["code"],
            name=about["name"],
            townships=townships,
            villages=villages,
            province=about["province"],
            prefecture=about["prefecture"],
            meanings=meanings,
            neighbours=neighbours,
            boundary=boundary,
        )
        editions = tuple((k.removeprefix("editions."), v) for k, v in about.items() if "." in k)
        return Pack(county, terminals, readings, frozenset(self._synthetic), editions)

    def _stop_if_wrong(self) -> None:
        if self._problems:
            more = len(self._problems) - _MAX_PROBLEMS
            tail = [f"… and {more} more"] if more > 0 else []
            raise PackError("\n".join(self._problems[:_MAX_PROBLEMS] + tail))

    def _about(self) -> tuple[dict[str, str], tuple[str, ...]]:
        path = self._folder / "pack.toml"
        try:
            table = tomllib.loads(self._read(path))
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"line (\d+)", str(error))
            raise PackError(f"{path}:{line[1] if line else 1}: {error}") from None
        editions = table.pop("editions", {})
        neighbours = table.pop("neighbours", [])
        if not isinstance(neighbours, list) or not all(isinstance(name, str) for name in neighbours):
            self.wrong(f"{path}:1: neighbours must be a list of county names")
        known = ("key", "code", "name", "prefecture", "province")
        about = {name: table.pop(name, "") for name in known}
        for name in table:
            self.wrong(f"{path}:1: {name} is not known{did_you_mean(name, known)}")
        if isinstance(editions, dict):
            about |= {f"editions.{name}": date for name, date in editions.items()}
        else:
            self.wrong(f"{path}:1: editions must be a table")
        for name, value in about.items():
            if not isinstance(value, str) or (not value and name != "prefecture"):
                self.wrong(f"{path}:1: {name} is missing or not text")
        self._stop_if_wrong()
        if not re.fullmatch(r"[0-9]{6}", about["code"]):
            self.wrong(f"{path}:1: code {about['code']!r} is not six digits")
        self._key(path, 1, about["key"], set())
        self._stop_if_wrong()
        return about, tuple(neighbours)

    def _old_names(self, county_code: str) -> tuple[tuple[str, str, str], ...]:
        """(old name, key of the township that continues it or "", code in 2016)."""
        rows = self._rows("aliases.csv")
        return tuple(
            (row.text("old_name"), row["township_key"], row.digits("nbs2016_9", 9, county_code))
            for row in rows
        )

    def _townships(self, county_code: str, old: tuple[tuple[str, str, str], ...]) -> tuple[Township, ...]:
        townships: list[Township] = []
        seen: set[str] = set()
        for row in self._rows("townships.csv"):
            key = row.text("key")
            self._key(row, 0, key, seen)
            mca, nbs = row.digits("mca9", 9, county_code), row.digits("nbs9", 9, county_code)
            if not mca and not nbs:
                row.wrong("has neither mca9 nor nbs9")
            for scheme, code in (("mca9", mca), ("nbs9", nbs)):
                if code and f"{scheme} {code}" in seen:
                    row.wrong(f"{scheme} {code} is given twice")
                seen.add(f"{scheme} {code}")
            names = tuple(name for name, township, _ in old if township == key)
            townships.append(Township(key, row.text("name"), mca or None, nbs or None, names, row.position()))
        keys = {t.key for t in townships}
        for name, township, _ in old:
            if township and township not in keys:
                self.wrong(f"{self._folder / 'aliases.csv'}:1: {name}: there is no township {township!r}")
        return tuple(townships)

    def _meanings(self, county_code: str, townships: tuple[Township, ...]) -> tuple[Meaning, ...]:
        own = {("mca", t.mca): t.name for t in townships} | {("nbs", t.nbs): t.name for t in townships}
        found = []
        for row in self._rows("codes.csv"):
            if row["source"] not in ("mca", "nbs", "former"):
                row.wrong(f"source must be mca, nbs or former, not {row['source']!r}")
            if not row["digits"]:
                row.wrong("digits is empty")
            if (row["source"], row["digits"]) in own:
                name = own[row["source"], row["digits"]]
                row.wrong(f"{row['digits']} is already {name} of that list, in townships.csv")
            found.append(Meaning(row.digits("digits", 9, county_code), row["source"], row.text("name")))
        return tuple(found)

    def _villages(self, county_code: str, townships: tuple[Township, ...]) -> tuple[Village, ...]:
        parents = {t.key: t for t in townships}
        villages: list[Village] = []
        seen = set(parents)
        for row in self._rows("villages.csv"):
            key = row.text("key")
            self._key(row, 0, key, seen)
            parent = parents.get(row["township_key"])
            if parent is None:
                row.wrong(f"there is no township {row['township_key']!r}")
                continue
            # A 12-digit code begins with the township's code in the NBS list, never the MCA list.
            nbs = row.digits("nbs12", 12, parent.nbs or county_code)
            if nbs and f"nbs12 {nbs}" in seen:
                row.wrong(f"nbs12 {nbs} is given twice")
            seen.add(f"nbs12 {nbs}")
            position = row.position()
            if position is None and row["position"]:
                row.wrong(f"position is {row['position']!r}, but lat and lon are empty")
            if position is not None and row.kind() == "synthetic":
                self._synthetic.add(key)
            if key in self._synthetic and not self._with_synthetic:
                position = None
            people = row["population"]
            if people and not re.fullmatch(r"[0-9]{1,7}", people):
                row.wrong(f"population {people!r} is not a number of people")
                people = ""
            villages.append(
                Village(
                    key, row.text("name"), nbs or None, parent.key, position, int(people) if people else None
                )
            )
        return tuple(villages)

    def _terminals(self, villages: set[str]) -> tuple[PackTerminal, ...]:
        terminals = []
        for row in self._rows("terminals.csv"):
            if row["village_key"] not in villages:
                row.wrong(f"there is no village {row['village_key']!r}")
            if row["speaker"] and row["speaker"] not in SPEAKERS:
                row.wrong(f"speaker is {row['speaker']!r}; it must be one of: {', '.join(SPEAKERS)}")
            terminals.append(
                PackTerminal(
                    village_key=row["village_key"],
                    name=row.text("name"),
                    lat=row.degrees("lat", -90, 90),
                    lon=row.degrees("lon", -180, 180),
                    synthetic=row.kind() == "synthetic",
                    speaker=row["speaker"] or "horn",
                )
            )
        return tuple(terminals)

    def _readings(self) -> tuple[Reading, ...]:
        readings = []
        for row in self._rows("readings.csv"):
            text, syllables = row.text("text"), tuple(row["pinyin"].split())
            if len(syllables) != len(text):
                row.wrong(f"{text} has {len(text)} characters, its reading {len(syllables)} syllables")
            readings.append(Reading(text=text, pinyin=syllables, basis=row["basis"]))
        return tuple(readings)

    def _boundary(self) -> tuple[Polygon, ...]:
        path = self._folder / "boundary.geojson"
        try:
            document = json.loads(self._read(path))
            polygons = tuple(
                tuple(tuple((float(lat), float(lon)) for lon, lat in ring) for ring in polygon)
                for feature in document["features"]
                for polygon in _polygons(feature["geometry"])
            )
        except json.JSONDecodeError as error:
            self.wrong(f"{path}:{error.lineno}: not JSON: {error.msg}")
            return ()
        except (KeyError, TypeError, ValueError, RecursionError):
            self.wrong(f"{path}:1: must be a FeatureCollection of Polygon or MultiPolygon, [lon, lat]")
            return ()
        for rings in polygons:
            if not rings or any(len(ring) < 4 or ring[0] != ring[-1] for ring in rings):
                self.wrong(f"{path}:1: every ring needs at least four points and must end where it begins")
                return ()
            if any(not (-90 <= lat <= 90 and -180 <= lon <= 180) for ring in rings for lat, lon in ring):
                self.wrong(f"{path}:1: a point is no position in degrees; it must be [lon, lat], WGS-84")
                return ()
        return tuple(Polygon(rings[0], rings[1:]) for rings in polygons)

    def _rows(self, name: str) -> Iterator[_Row]:
        columns = COLUMNS[name]
        path = self._folder / name
        reader = csv.reader(self._read(path).splitlines(keepends=True), strict=True)
        try:
            header = next(reader, [])
            if tuple(header) != columns:
                self.wrong(f"{path}:1: the columns must be {','.join(columns)}")
                return
            for cells in reader:
                where = f"{path}:{reader.line_num}"
                if len(cells) != len(columns):
                    self.wrong(f"{where}: {len(cells)} cells instead of {len(columns)}")
                    continue
                yield _Row(self, where, dict(zip(columns, (c.strip() for c in cells), strict=True)))
        except csv.Error as error:
            self.wrong(f"{path}:{reader.line_num}: {error}")

    def _read(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise PackError(f"{path}:1: there is no such file") from None
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise PackError(f"{path}:{line}: is not UTF-8; save the file as UTF-8") from None
        except OSError as error:
            raise PackError(f"{path}:1: cannot be read: {error.strerror}") from None

    def _key(self, where: _Row | Path, line: int, key: str, seen: set[str]) -> None:
        reason = bad_key(key)
        if not reason and key in seen:
            reason = f"key {key!r} is given twice"
        seen.add(key)
        if not reason:
            return
        if isinstance(where, _Row):
            where.wrong(reason)
        else:
            self.wrong(f"{where}:{line}: {reason}")


def _polygons(geometry: dict[str, object]) -> list[list[list[list[float]]]]:
    kind, coordinates = geometry["type"], geometry["coordinates"]
    if kind not in ("Polygon", "MultiPolygon") or not isinstance(coordinates, list):
        raise ValueError(kind)
    return [coordinates] if kind == "Polygon" else coordinates
