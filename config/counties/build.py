"""A county pack from the national list: townships and codes, and the list of what the county must supply."""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from alerts.regions import county_stem
from config.counties import COLUMNS, PackError, bad_key
from config.counties.national import (
    EDITIONS,
    CountyEntry,
    TownshipEntry,
    counties,
    former_units,
    hazards,
    likely_renames,
    meanings,
    townships,
)

_TEMPLATES: Final = Path(__file__).parent / "templates"
_KEY_LENGTH: Final = 24


def build(entry: CountyEntry, folder: Path, *, key: str = "", lang: str = "en") -> tuple[str, ...]:
    """Writes the pack of `entry` into `folder`, which must be new or empty; names of the files written.

    `key` is the county's internal key for ever; without one it is its name in pinyin. `lang` (``zh``,
    ``en``) is that of TODO.md. Raises PackError for a key that can be none, and for a folder that is taken or
    cannot be written.
    """
    if key and (problem := bad_key(key)):
        raise PackError(problem)
    units = townships(entry.code)
    keyed = dict(zip(units, township_keys(len(units)), strict=True))
    texts = {
        "pack.toml": _about(entry, key or county_key(entry)),
        "townships.csv": table("townships.csv", (_township_row(unit, own) for unit, own in keyed.items())),
        "villages.csv": table("villages.csv", ()),
        "aliases.csv": table("aliases.csv", _aliases(entry, {unit.mca: own for unit, own in keyed.items()})),
        "codes.csv": table(
            "codes.csv", ((item.digits, item.source, item.name) for item in meanings(entry.code))
        ),
        "terminals.csv": table("terminals.csv", ()),
        "readings.csv": table("readings.csv", ()),
        "boundary.geojson": json.dumps({"type": "FeatureCollection", "features": []}) + "\n",
        "SOURCES.md": (_TEMPLATES / "SOURCES.md").read_text("utf-8").format(label=entry.label, **EDITIONS),
        "TODO.md": todo(entry, folder.name, lang),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise PackError(f"{folder}: is not empty; name a new folder with --out")
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise PackError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    return tuple(texts)


def county_key(entry: CountyEntry) -> str:
    """Its name in pinyin (zhouqu); the first letters of the syllables where that is too long."""
    from pypinyin import lazy_pinyin

    syllables = [
        re.sub("[^a-z]", "", part.replace("ü", "v")) for part in lazy_pinyin(county_stem(entry.name))
    ]
    whole = "".join(syllables)
    return whole if len(whole) <= _KEY_LENGTH else "".join(part[:1] for part in syllables)


def township_keys(count: int) -> list[str]:
    """w01, w02 …: as many digits as are needed, two at least."""
    digits = max(2, len(str(count)))
    return [f"w{n:0{digits}d}" for n in range(1, count + 1)]


def table(name: str, rows: Iterable[Sequence[str]]) -> str:
    """A CSV file of a pack, with its header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS[name])
    writer.writerows(rows)
    return text.getvalue()


def _township_row(unit: TownshipEntry, key: str) -> tuple[str, ...]:
    lat, lon = (f"{value:.5f}" for value in unit.position) if unit.position else ("", "")
    source = f"GeoNames {unit.geonames}" if unit.position else ""
    return key, unit.name, unit.mca or "", unit.nbs or "", "", lat, lon, source


def _aliases(entry: CountyEntry, keys: Mapping[str | None, str]) -> Iterator[tuple[str, ...]]:
    for unit in townships(entry.code):
        if unit.nbs_name:
            yield (
                unit.nbs_name,
                keys[unit.mca],
                "",
                f"its name in the NBS list of {EDITIONS['nbs']}: same digits",
            )
    for gone in former_units(entry.code):
        if gone.becomes is None:
            yield gone.name, "", gone.digits, "no current township surely continues it"
        else:
            share, _, whole = gone.evidence.partition("/")
            yield (
                gone.name,
                keys[gone.becomes],
                gone.digits,
                f"{share} of {whole} village names of {EDITIONS['former']} found under it "
                f"in NBS-{EDITIONS['nbs']}",
            )


def _about(entry: CountyEntry, key: str) -> str:
    around = [
        other.name
        for other in counties()
        if other.name != entry.name
        and (other.province, other.prefecture) == (entry.province, entry.prefecture)
    ]
    quoted = json.dumps(around, ensure_ascii=False)
    return _PACK.format(
        key=json.dumps(key),
        code=json.dumps(entry.code),
        name=json.dumps(entry.name, ensure_ascii=False),
        prefecture=json.dumps(entry.prefecture, ensure_ascii=False),
        province=json.dumps(entry.province, ensure_ascii=False),
        neighbours=quoted,
        **EDITIONS,
    )


def todo(entry: CountyEntry, folder: str, lang: str) -> str:
    """What the county must supply and confirm, with the commands that take it in."""
    units = townships(entry.code)
    seatless = [unit.name for unit in units if unit.position is None]
    only_nbs = [f"{unit.name} {unit.nbs}" for unit in units if unit.mca is None]
    only_mca = [f"{unit.name} {unit.mca}" for unit in units if unit.nbs is None]
    clashes = hazards(entry.code)
    renames = likely_renames(entry.code)
    file = _TEMPLATES / f"todo.{'zh' if lang == 'zh' else 'en'}.toml"
    words: dict[str, str] = tomllib.loads(file.read_text("utf-8"))
    parts = [words["head"].format(label=entry.label, count=len(units), seats=len(units) - len(seatless))]
    parts.append(words["supply"].format(folder=folder))
    if seatless:
        parts.append(words["seatless"].format(count=len(seatless), names="、".join(seatless)))
    parts.append(words["codes"].format(**EDITIONS))
    if clashes:
        rows = "\n".join(f"| {item.digits} | {item.mca} | {item.nbs} |" for item in clashes)
        parts.append(words["clashes"].format(count=len(clashes)) + rows + "\n")
    else:
        parts.append(words["no_clashes"])
    if renames:
        rows = "\n".join(f"- [ ] {old.name} {old.nbs} → {new.name} {new.mca}" for old, new in renames)
        parts.append(words["renames"] + rows + "\n")
    for key, names in (("only_nbs", only_nbs), ("only_mca", only_mca)):
        if names:
            parts.append(words[key].format(names="、".join(names)))
    parts.append(words["end"].format(folder=folder))
    return "\n".join(parts)


_PACK: Final = """\
# A county pack: what the county is. Internal keys are stable for ever and never a prefix of an official
# code, because the two national township lists collide. Sources and licences: SOURCES.md.
# What is still missing: TODO.md.
key = {key}
code = {code}
name = {name}
prefecture = {prefecture}
province = {province}
# Counties whose names an operator might type. Here: those of the same prefecture; add the ones beside it.
neighbours = {neighbours}

[editions]
mca = "{mca}"
nbs = "{nbs}"
positions = "WGS-84"
"""
