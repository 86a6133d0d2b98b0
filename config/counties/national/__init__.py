"""Every county of the country and its townships in both national lists, as they ship with the program.

For building a county pack and for noticing the names of other counties. Read when first asked for, then
kept. Sources, editions and licences: `SOURCES.md` beside this file; it is made by `make.py`.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from alerts.regions import Meaning, county_stem, strip_padding, township_stem

_DATA: Final = Path(__file__).parent / "data"
COUNTIES: Final = _DATA / "counties.csv.gz"
TOWNSHIPS: Final = _DATA / "townships.csv.gz"
COUNTY_COLUMNS: Final = ("code", "name", "prefecture", "province")
TOWNSHIP_COLUMNS: Final = (
    "county",
    "name",
    "mca3",
    "nbs3",
    "former3",
    "nbs_name",
    "lat",
    "lon",
    "geonames",
    "becomes3",
    "evidence",
)
EDITIONS: Final = {"mca": "2025-12-31", "nbs": "2023", "former": "2016"}
"""List → its edition. The 2023 edition of the NBS list is the last one (`geo.md` §0.2)."""


class NoSuchCounty(Exception):
    """No county, or more than one, is what was asked for; `choices` are labels to choose from."""

    def __init__(self, text: str, choices: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.choices = tuple(choices)


@dataclass(frozen=True, slots=True)
class CountyEntry:
    """A county, banner, district, or a city without counties (东莞市: 441900), by the MCA list."""

    code: str
    name: str
    prefecture: str
    """Empty in a municipality and for a county directly under its province."""
    province: str

    @property
    def label(self) -> str:
        """623023 甘肃省甘南藏族自治州舟曲县."""
        return f"{self.code} {self.province}{self.prefecture}{self.name}"


@dataclass(frozen=True, slots=True)
class TownshipEntry:
    """A township by either list. Nine digits, None where that list lacks it."""

    name: str
    mca: str | None
    nbs: str | None
    former: str | None = None
    """Its nine digits in the NBS list of 2016, where they were others."""
    nbs_name: str = ""
    """Its name in the NBS list, where that is another one."""
    position: tuple[float, float] | None = None
    """(lat, lon) of its seat, WGS-84, from GeoNames."""
    geonames: str = ""
    """Id of that point."""


@dataclass(frozen=True, slots=True)
class FormerEntry:
    """A unit of the NBS list of 2016 whose name is gone."""

    name: str
    digits: str
    becomes: str | None
    """MCA digits of the township that continues it under another name; None where it was merged,
    abolished, or is not surely the same."""
    evidence: str
    """How many of its village names of 2016 are found under that one in NBS-2023: 13/16."""


@dataclass(frozen=True, slots=True)
class Hazard:
    """Nine digits that mean another township in the other list: an untagged warning may miss its valley."""

    digits: str
    mca: str
    nbs: str


@cache
def counties() -> tuple[CountyEntry, ...]:
    """All counties, by code."""
    return tuple(CountyEntry(*row) for row in _rows(COUNTIES, COUNTY_COLUMNS))


@cache
def county_names() -> frozenset[str]:
    """Full names of all counties (舟曲县), to notice one in a text."""
    return frozenset(entry.name for entry in counties())


@cache
def county_stems() -> frozenset[str]:
    """Their names without 县, 区, 市 (舟曲), where two characters are left."""
    return frozenset(stem for name in county_names() if len(stem := county_stem(name)) > 1)


def named(name: str) -> tuple[CountyEntry, ...]:
    """Counties with this full name, else with this stem; 27 full names are used more than once."""
    exact = tuple(entry for entry in counties() if entry.name == name)
    return exact or tuple(entry for entry in counties() if county_stem(entry.name) == name)


def find_county(text: str) -> CountyEntry:
    """The one county that `text` is: six digits, a name or stem, or one with what is above it
    (北京市朝阳区). Raises NoSuchCounty, with the choices where there are several."""
    typed = "".join(text.split())
    if typed.isascii() and typed.isdigit():
        digits = strip_padding(typed).ljust(6, "0")
        found = tuple(entry for entry in counties() if entry.code == digits)
        near = tuple(entry for entry in counties() if entry.code[:4] == digits[:4])
    else:
        found = named(typed) or tuple(
            entry
            for entry in counties()
            if typed.endswith((entry.name, county_stem(entry.name)))
            and typed
            in {
                f"{province}{prefecture}{name}"
                for province in (entry.province, "")
                for prefecture in (entry.prefecture, "")
                for name in (entry.name, county_stem(entry.name))
            }
        )
        near = tuple(entry for entry in counties() if len(typed) > 1 and typed[:2] == entry.name[:2])
    if len(found) == 1:
        return found[0]
    choices = tuple(entry.label for entry in found or near)
    if found:
        raise NoSuchCounty(f"{len(found)} counties are called {typed}; give the code", choices)
    raise NoSuchCounty(f"no county {typed[:40]!r} in the list of {EDITIONS['mca']}", choices[:20])


@cache
def townships(county_code: str) -> tuple[TownshipEntry, ...]:
    """Townships of a county: those of the MCA list first, then what only the NBS list has (farms,
    development zones). Empty for a code that is no county."""
    return tuple(_by_county().get(county_code, ((), ()))[0])


def former_units(county_code: str) -> tuple[FormerEntry, ...]:
    """Units of 2016 whose name is gone, renamed or abolished."""
    return tuple(_by_county().get(county_code, ((), ()))[1])


def meanings(county_code: str) -> tuple[Meaning, ...]:
    """What digits of the list of 2016 meant, where a township of today had other digits then."""
    return tuple(
        Meaning(entry.former, "former", entry.name) for entry in townships(county_code) if entry.former
    )


def hazards(county_code: str) -> tuple[Hazard, ...]:
    """Digits of this county that mean different units in the two lists."""
    nbs = {entry.nbs: entry for entry in townships(county_code) if entry.nbs}
    return tuple(
        Hazard(entry.mca, entry.name, other.name)
        for entry in townships(county_code)
        if entry.mca and (other := nbs.get(entry.mca)) is not None and other is not entry
    )


def likely_renames(county_code: str) -> tuple[tuple[TownshipEntry, TownshipEntry], ...]:
    """(unit of the NBS list only, township of the MCA list only) with one stem: 凉水河乡, 凉水河镇.
    Probably one and renamed since 2023; the county must say so."""
    units = townships(county_code)
    return tuple(
        (old, new)
        for old in units
        if old.mca is None
        for new in units
        if new.nbs is None and township_stem(new.name) == township_stem(old.name)
    )


@cache
def _by_county() -> dict[str, tuple[list[TownshipEntry], list[FormerEntry]]]:
    found: dict[str, tuple[list[TownshipEntry], list[FormerEntry]]] = {}
    for row in _rows(TOWNSHIPS, TOWNSHIP_COLUMNS):
        county, name, mca, nbs, former, nbs_name, lat, lon, geonames, becomes, evidence = row
        current, gone = found.setdefault(county, ([], []))
        if not (mca or nbs):
            gone.append(FormerEntry(name, county + former, county + becomes if becomes else None, evidence))
            continue
        current.append(
            TownshipEntry(
                name,
                county + mca if mca else None,
                county + nbs if nbs else None,
                county + former if former else None,
                nbs_name,
                (float(lat), float(lon)) if lat else None,
                geonames,
            )
        )
    return found


def _rows(file: Path, columns: Sequence[str]) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(gzip.decompress(file.read_bytes()).decode(), newline=""))
    header = next(reader)
    assert header == list(columns), header
    return reader
