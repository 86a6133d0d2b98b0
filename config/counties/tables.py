"""Files that a county hands over (CSV, GeoJSON, Shapefile) → rows that say where they stand.

Nothing is guessed: an encoding that does not fit, a number that may be degrees and minutes, metres of a
projected system, or two columns for one thing is a `TableError` with file and line.
"""

from __future__ import annotations

import codecs
import csv
import json
import math
import re
import struct
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import shapefile
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

MAX_BYTES: Final = 64 * 1024 * 1024
"""The national list of villages has 38 MB."""
MAX_PROBLEMS: Final = 50

COLUMN_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("name", "名称", "地名", "标准名称", "点名"),
    "village": (
        "village",
        "村",
        "村名",
        "村名称",
        "村庄",
        "行政村",
        "行政村名称",
        "村社区",
        "社区",
        "建制村",
        "所属村",
        "所在村",
        "village_key",
    ),
    "township": (
        "township",
        "township_key",
        "town",
        "乡镇",
        "乡镇名",
        "乡镇名称",
        "乡镇街道",
        "所属乡镇",
        "所在乡镇",
        "街道",
        "xzmc",
    ),
    "terminal": (
        "terminal",
        "终端",
        "终端名称",
        "设备",
        "设备名称",
        "喇叭",
        "广播名称",
        "安装点",
        "点位名称",
    ),
    "code12": ("nbs12", "code12", "村代码", "村码", "统计用区划代码", "12位代码", "行政村代码"),
    "mca9": ("mca9", "民政部代码"),
    "nbs9": ("nbs9", "统计局代码"),
    "code": ("code", "代码", "区划代码", "行政区划代码", "编码", "区划码", "gb", "adcode", "xzqdm"),
    "lat": ("lat", "latitude", "纬度", "北纬", "wd", "lat84", "纬度值"),
    "lon": ("lon", "lng", "long", "longitude", "经度", "东经", "jd", "lon84", "经度值"),
    "population": ("population", "人口", "人口数", "常住人口", "总人口", "户籍人口"),
}
"""What a column may be called, in a county's own files; compared without case, spaces and brackets."""
_CODES: Final = frozenset((*COLUMN_NAMES["code12"], *COLUMN_NAMES["code"]))

_DEGREES: Final = re.compile(
    r"""(?P<d>[0-9]{1,3})\s*[°度]\s*
        (?: (?P<m>[0-9]{1,2}(?:\.[0-9]+)?) \s* ['′分] \s*
            (?: (?P<s>[0-9]{1,2}(?:\.[0-9]+)?) \s* (?:["″秒]|''|′′) )? )?""",
    re.VERBOSE,
)
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,9}(?:\.[0-9]+)?")


class TableError(Exception):
    """A file that cannot be taken: every problem as ``file:line: reason``, one a line."""

    def __init__(self, problems: Sequence[str]) -> None:
        more = len(problems) - MAX_PROBLEMS
        tail = [f"… and {more} more"] if more > 0 else []
        super().__init__("\n".join([*problems[:MAX_PROBLEMS], *tail]))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table, or one feature of a map layer."""

    where: str
    """``file:line``, or ``file: feature N``."""
    cells: Mapping[str, str]
    """Column of the file → its text, without spaces around."""
    shape: BaseGeometry | None = None
    """Of a map layer: (lon, lat) as they stand in the file."""


@dataclass(frozen=True, slots=True)
class Table:
    file: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """What had to be found out: the encoding, and what the file itself says of its datum."""
    foreign: int = 0
    """Rows left out because their 12-digit code is of another county."""


def read(file: Path, county_code: str = "") -> Table:
    """By its ending: .csv, .txt, .tsv; .geojson, .json; .shp. Raises TableError.

    Of a CSV, with `county_code`, rows whose 12-digit code is of another county are only counted: the
    national list has 620,573.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise TableError([f"{file}:1: has over {MAX_BYTES // 2**20} MiB; cut it to the county"])
        match file.suffix.lower():
            case ".csv" | ".txt" | ".tsv":
                return _csv(file, county_code)
            case ".geojson" | ".json":
                return _geojson(file)
            case ".shp":
                return _shapefile(file)
    except OSError as error:
        raise TableError([f"{error.filename or file}:1: cannot be read: {error.strerror}"]) from None
    raise TableError([f"{file}:1: must be .csv, .tsv, .txt, .geojson, .json or .shp (export .xlsx as CSV)"])


def roles(table: Table, wanted: Sequence[str], chosen: Mapping[str, str]) -> dict[str, str]:
    """Role → column of this table, by `chosen` first, else by `COLUMN_NAMES`. Raises TableError for a
    chosen column that is not there, and for two columns that may both be meant."""
    found: dict[str, str] = {}
    problems = []
    for role in wanted:
        if role in chosen:
            if chosen[role] not in table.columns:
                problems.append(f"{table.file}:1: there is no column {chosen[role]!r}; {_columns(table)}")
            found[role] = chosen[role]
            continue
        fitting = [column for column in table.columns if _plain(column) in COLUMN_NAMES[role]]
        if len(fitting) > 1:
            problems.append(
                f"{table.file}:1: the columns {' and '.join(fitting)} may both be the {role}; choose with "
                f"--column {role}={fitting[0]}"
            )
        elif fitting:
            found[role] = fitting[0]
    if problems:
        raise TableError(problems)
    return found


def _columns(table: Table) -> str:
    return "there are: " + ", ".join(table.columns)


def _plain(column: str) -> str:
    text = unicodedata.normalize("NFKC", column).casefold()
    return re.sub(r"\([^)]*\)|[\s°]", "", text)


def degrees(text: str) -> float:
    """Decimal degrees, or degrees with °, ′ and ″ (also 度分秒), N or E. Raises ValueError saying what
    else the text looks like."""
    plain = unicodedata.normalize("NFKC", text).strip().replace("’", "'").replace("”", '"').replace("“", '"')
    plain = re.sub(r"^(?:北纬|东经|[NE])\s*|\s*[NE]$", "", plain, flags=re.IGNORECASE)
    if re.search(r"[SW]|南纬|西经", plain, re.IGNORECASE):
        raise ValueError(f"{text!r} is south or west; China is neither")
    if _DECIMAL.fullmatch(plain):
        value = float(plain)
        if abs(value) > 180:
            what = (
                "degrees and minutes run together" if abs(value) < 20_000 else "metres of a projected system"
            )
            raise ValueError(f"{text!r} looks like {what}; give decimal degrees, such as 104.36278")
        return value
    found = _DEGREES.fullmatch(plain)
    if found:
        minutes, seconds = float(found["m"] or 0), float(found["s"] or 0)
        if minutes >= 60 or seconds >= 60:
            raise ValueError(f"{text!r} has minutes or seconds of 60 and over")
        return int(found["d"]) + minutes / 60 + seconds / 3600
    raise ValueError(f"{text!r} is no number of degrees, such as 104.36278 or 104°21′46″")


def position(row: Row, columns: Mapping[str, str]) -> tuple[float, float] | None:
    """(lat, lon) of a row, from its shape or its columns; None where it has neither. Raises ValueError for
    what cannot be a place in China, saying what it looks like."""
    if row.shape is not None:
        if not isinstance(row.shape, shapely.Point):
            raise ValueError(f"is a {row.shape.geom_type}, where a point is needed")
        lon, lat = row.shape.x, row.shape.y
    else:
        texts = [row.cells.get(columns.get(name, ""), "") for name in ("lat", "lon")]
        if not any(texts):
            return None
        if not all(texts):
            raise ValueError("has only one of lat and lon")
        lat, lon = map(degrees, texts)
    problem = implausible(lat, lon)
    if problem:
        raise ValueError(problem)
    return lat, lon


def implausible(lat: float, lon: float) -> str:
    """Why this can be no place in China, or empty. The box is 3 to 54° N, 73 to 136° E."""
    if not (math.isfinite(lat) and math.isfinite(lon)):
        return "has a position that is no number"
    if 3 <= lat <= 54 and 73 <= lon <= 136:
        return ""
    if 3 <= lon <= 54 and 73 <= lat <= 136:
        return f"has lat {lat:g} and lon {lon:g}: they are swapped"
    if abs(lat) > 180 or abs(lon) > 180:
        return f"has {lat:g}, {lon:g}: metres of a projected system; export it in degrees (EPSG:4490 or 4326)"
    return f"has lat {lat:g} and lon {lon:g}, which is not in China"


def minutes_in_disguise(values: Sequence[str]) -> bool:
    """Whether decimals are all minutes and seconds (104.2146 for 104°21′46″): over twenty numbers of at
    least four decimals without a single digit pair of 60 and over. By chance: under one in ten thousand."""
    decimals = [text.partition(".")[2] for text in values if _DECIMAL.fullmatch(text)]
    pairs = [(part[:2], part[2:4]) for part in decimals if len(part) >= 4]
    return len(pairs) > 20 and all(first < "60" and second < "60" for first, second in pairs)


# --- the three kinds


def _decoded(file: Path) -> tuple[str, str]:
    """The text, and its encoding where it is not UTF-8."""
    body = file.read_bytes()
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body.decode("utf-16"), "UTF-16"
    try:
        return body.decode("utf-8-sig"), ""
    except UnicodeDecodeError as error:
        bad = error.start
    try:
        return body.decode("gb18030"), "GBK"
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, max(bad, error.start)) + 1
        raise TableError([f"{file}:{line}: is neither UTF-8 nor GBK; save the file as UTF-8"]) from None


def _csv(file: Path, county_code: str) -> Table:
    text, encoding = _decoded(file)
    if "\0" in text:
        raise TableError([f"{file}:{text.count(chr(10), 0, text.index(chr(0))) + 1}: is not text"])
    first = text.partition("\n")[0]
    delimiter = max(",\t;", key=first.count)
    lines = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    problems = []
    foreign = 0
    try:
        columns = tuple(cell.strip() for cell in next(lines, []))
        if not any(columns) or len({c for c in columns if c}) != len([c for c in columns if c]):
            raise TableError([f"{file}:1: the first line must name the columns, each once"])
        coded = [n for n, column in enumerate(columns) if _plain(column) in _CODES] if county_code else []
        for cells in lines:
            if any(n < len(cells) and _elsewhere(cells[n], county_code) for n in coded):
                foreign += 1
                continue
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{file}:{lines.line_num}"
            if len(cells) != len(columns):
                problems.append(f"{where}: {len(cells)} cells instead of {len(columns)}")
                continue
            rows.append(Row(where, {c: v.strip() for c, v in zip(columns, cells, strict=True)}))
    except csv.Error as error:
        problems.append(f"{file}:{lines.line_num}: {error}")
    if problems:
        raise TableError(problems)
    notes = (f"{file.name} is written in {encoding}",) if encoding else ()
    return Table(file, columns, tuple(rows), notes, foreign)


def _elsewhere(text: str, county_code: str) -> bool:
    return len(text) == 12 and text.isdecimal() and not text.startswith(county_code)


def _geojson(file: Path) -> Table:
    text, encoding = _decoded(file)
    try:
        document = json.loads(text)
        if document.get("type") == "Feature":
            document = {"type": "FeatureCollection", "features": [document]}
        features = document["features"]
        if not isinstance(features, list):
            raise TypeError
    except json.JSONDecodeError as error:
        raise TableError([f"{file}:{error.lineno}: not JSON: {error.msg}"]) from None
    except RecursionError:
        raise TableError([f"{file}:1: is nested too deeply"]) from None
    except (AttributeError, KeyError, TypeError):
        raise TableError([f"{file}:1: must be a GeoJSON FeatureCollection"]) from None
    notes = [f"{file.name} is written in {encoding}"] if encoding else []
    crs = json.dumps(document["crs"]) if "crs" in document else ""
    if crs:
        notes.append(f"{file.name} says of itself: {crs[:120]}")
    if re.search(r"4214|4610|xian|beijing", crs, re.IGNORECASE):
        raise TableError([f"{file}:1: is in an older Chinese datum ({crs[:120]}); convert it to CGCS2000"])
    rows, problems = [], []
    for number, feature in enumerate(features, 1):
        where = f"{file}: feature {number}"
        try:
            geometry = _shape(feature["geometry"])
            properties = feature.get("properties") or {}
            cells = {str(key): _cell(value) for key, value in properties.items()}
        except (KeyError, TypeError, AttributeError, ValueError, IndexError, shapely.errors.ShapelyError):
            problems.append(f"{where}: has no usable geometry or properties")
            continue
        rows.append(Row(where, cells, geometry))
    if problems:
        raise TableError(problems)
    columns = tuple(dict.fromkeys(key for row in rows for key in row.cells))
    return Table(file, columns, tuple(rows), tuple(notes))


def _shape(geometry: Any) -> BaseGeometry | None:
    if geometry is None:
        return None
    found = shape(geometry)
    if found.is_empty:
        raise ValueError("empty")
    return shapely.force_2d(found)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # 12-digit codes come out of spreadsheets as numbers
    return str(value).strip()


def _shapefile(file: Path) -> Table:
    notes = []
    projection = file.with_suffix(".prj")
    if projection.is_file():
        said = projection.read_text("utf-8", errors="replace").strip()
        name = re.search(r'"([^"]+)"', said)
        notes.append(f"{projection.name} says: {name[1] if name else said[:60]}")
        if said.upper().startswith("PROJ"):
            raise TableError(
                [f"{projection}:1: {notes[0]}, metres of a projected system; export it in degrees"]
            )
        if re.search("xian|beijing", said, re.IGNORECASE):
            raise TableError([f"{projection}:1: {notes[0]}, an older Chinese datum; convert it to CGCS2000"])
    for beside in (".dbf", ".shx"):
        if not file.with_suffix(beside).is_file():
            raise TableError([f"{file.with_suffix(beside)}:1: there is no such file beside {file.name}"])
    names = _encodings(file)
    for encoding in names:
        try:
            with warnings.catch_warnings():
                # That our encoding is not spelled as in the .cpg is meant; the other two are losses.
                warnings.simplefilter("ignore", UserWarning)
                warnings.simplefilter("error", shapefile.PossiblyCorruptFileHeader)
                warnings.simplefilter("error", shapefile.PossibleDataLoss)
                rows = tuple(_features(file, encoding))
        except (UnicodeDecodeError, shapefile.PossibleDataLoss):
            continue
        except shapefile.dbfFileException as error:
            if "Could not decode" in str(error):
                continue
            raise TableError([f"{file.with_suffix('.dbf')}:1: {error}"]) from None
        except (
            shapefile.ShapefileException,
            shapefile.PossiblyCorruptFileHeader,
            shapely.errors.ShapelyError,
            # What pyshp 3.1 lets out for damaged bytes (tests/property/test_county_files.py).
            ValueError,
            LookupError,
            struct.error,
        ) as error:
            raise TableError([f"{file}:1: is no whole Shapefile: {error}"]) from None
        if encoding != "utf-8":
            notes.append(f"{file.stem}.dbf is written in {encoding}")
        columns = tuple(dict.fromkeys(key for row in rows for key in row.cells))
        return Table(file, columns, rows, tuple(notes))
    raise TableError(
        [f"{file.with_suffix('.dbf')}:1: is not {' nor '.join(names)}; name the right one in {file.stem}.cpg"]
    )


def _encodings(file: Path) -> tuple[str, ...]:
    """What the .cpg says; without one UTF-8, then GBK."""
    declared = file.with_suffix(".cpg")
    if not declared.is_file():
        return ("utf-8", "gb18030")
    name = declared.read_text("ascii", errors="replace").strip()
    plain = re.sub(r"^(?:windows-|cp|ansi |ms)", "", name.lower())
    plain = {"936": "gb18030", "gbk": "gb18030", "gb2312": "gb18030", "65001": "utf-8"}.get(plain, name)
    try:
        return (codecs.lookup(plain).name,)
    except LookupError:
        raise TableError([f"{declared}:1: {name!r} is no encoding; put UTF-8 or GBK there"]) from None


def _features(file: Path, encoding: str) -> Iterator[Row]:
    with shapefile.Reader(str(file), encoding=encoding, encodingErrors="strict") as layer:
        for number, item in enumerate(layer.iterShapeRecords(), 1):
            cells = {key: _cell(value) for key, value in item.record.as_dict().items()}
            empty = item.shape.shapeType == shapefile.NULL
            yield Row(
                f"{file}: feature {number}", cells, None if empty else _shape(item.shape.__geo_interface__)
            )
