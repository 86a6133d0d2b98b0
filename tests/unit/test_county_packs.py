"""County packs: what ships is whole and attributed, and a broken pack is refused with its lines."""

import csv
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from alerts.model import CodeScheme, RegionCode
from alerts.regions import Resolved
from config.counties import Pack, PackError, load_county, pack_folder, shipped

REPO = Path(__file__).parents[2]
GEO = REPO.parent / "shared" / "data" / "geo"


@pytest.fixture(scope="module")
def zhouqu() -> Pack:
    return load_county("zhouqu")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(pack_folder("zhouqu"), tmp_path / "pack"))


def refused(pack: Path) -> list[str]:
    with pytest.raises(PackError) as caught:
        load_county(str(pack))
    return str(caught.value).replace(f"{pack}/", "").splitlines()


def inside(pack: Pack, lat: float, lon: float) -> bool:
    crossings = sum(
        (a_lat > lat) != (b_lat > lat) and lon < (b_lon - a_lon) * (lat - a_lat) / (b_lat - a_lat) + a_lon
        for ring in pack.boundary
        for (a_lat, a_lon), (b_lat, b_lon) in pairwise(ring)
    )
    return crossings % 2 == 1


def test_zhouqu_has_its_townships_villages_and_one_terminal_in_each(zhouqu: Pack) -> None:
    county = zhouqu.county
    assert (county.key, county.code, county.name, county.province) == ("zhouqu", "623023", "舟曲县", "甘肃省")
    assert (len(county.townships), len(county.villages)) == (19, 212)
    assert sorted(t.village_key for t in zhouqu.terminals) == sorted(v.key for v in county.villages)
    assert [t.key for t in county.townships] == [f"w{n:02d}" for n in range(1, 20)]
    assert county.townships[1].name == "大川镇"
    assert {t.key: t.old_names for t in county.townships}["w11"] == ("果耶乡",)
    assert "迭部县" in county.neighbours


def test_every_terminal_says_that_its_place_is_made_up_and_lies_in_the_county(zhouqu: Pack) -> None:
    assert all(t.synthetic for t in zhouqu.terminals)
    assert [t for t in zhouqu.terminals if not inside(zhouqu, t.lat, t.lon)] == []


def test_no_key_could_be_taken_for_the_beginning_of_an_official_code(zhouqu: Pack) -> None:
    keys = [u.key for u in (*zhouqu.county.townships, *zhouqu.county.villages)]
    assert not [k for k in keys if k[0].isdigit()]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("scheme", "digits", "name"),
    [
        (CodeScheme.MCA, "623023209", "南峪乡"),
        (CodeScheme.NBS, "623023208", "南峪乡"),
        (CodeScheme.MCA, "623023211", "八楞乡"),
        (CodeScheme.NBS, "623023210", "八楞乡"),
        (CodeScheme.MCA, "623023213", "插岗乡"),
        (CodeScheme.NBS, "623023212", "插岗乡"),
    ],
)
def test_both_lists_are_carried_where_they_differ(
    zhouqu: Pack, scheme: CodeScheme, digits: str, name: str
) -> None:
    found = zhouqu.county.resolve(RegionCode(scheme, digits))
    assert isinstance(found, Resolved)
    assert found.label == name


def test_digits_that_an_older_list_gave_to_another_township_are_carried_as_its_meaning(zhouqu: Pack) -> None:
    current = {t.mca: t.name for t in zhouqu.county.townships} | {
        t.nbs: t.name for t in zhouqu.county.townships
    }
    changed = {m.digits: (m.name, current[m.digits]) for m in zhouqu.county.meanings if m.digits in current}
    assert changed == {
        "623023209": ("果耶乡", "南峪乡"),
        "623023211": ("武坪乡", "八楞乡"),
        "623023213": ("拱坝乡", "插岗乡"),
    }


def test_readings_are_one_syllable_a_character_and_name_places_of_the_county(zhouqu: Pack) -> None:
    readings = {r.text: r.pinyin for r in zhouqu.readings}
    assert readings["舟曲"] == ("zhōu", "qǔ")
    names = " ".join(u.name for u in (zhouqu.county, *zhouqu.county.townships, *zhouqu.county.villages))
    assert [text for text in readings if text not in names] == []


@pytest.mark.skipif(not GEO.exists(), reason="the shared geographic data is not on this machine")
def test_the_pack_agrees_with_the_data_it_was_made_from(zhouqu: Pack) -> None:
    crosswalk = GEO / "cn_townships_crosswalk_mca2025_nbs2023_nbs2016.csv"
    with crosswalk.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["county_code"] == zhouqu.county.code]
    assert [(t.mca, t.name, t.nbs) for t in zhouqu.county.townships] == [
        (row["mca2025_code9"], row["name"], row["nbs2023_code9"]) for row in rows
    ]
    assert not [row for row in rows if row["same_digits_in_nbs2023_mean"]]
    with (GEO / "zhouqu_villages.csv").open(encoding="utf-8", newline="") as file:
        villages = {(row["nbs2023_code12"], row["name_spoken"]) for row in csv.DictReader(file)}
    assert {(v.nbs, v.name) for v in zhouqu.county.villages} == villages


def test_every_shipped_pack_is_attributed_and_ships_nothing_of_amap() -> None:
    notice = (REPO / "NOTICE").read_text(encoding="utf-8")
    for name in shipped():
        folder = pack_folder(name)
        sources = (folder / "SOURCES.md").read_text(encoding="utf-8")
        for line in ("GeoNames (CC BY 4.0", "行政区划数据来源：天地图 / 国家地名信息库(民政部) / 国家统计局"):
            assert line in sources
            assert line in notice
        for table in folder.glob("*.csv"):
            assert not re.search("amap|高德|vonng", table.read_text(encoding="utf-8"), re.IGNORECASE), table


def test_an_unknown_pack_names_what_ships() -> None:
    with pytest.raises(PackError, match=r"'zhouqi' \(did you mean zhouqu\?\); shipped: zhouqu"):
        load_county("zhouqi")


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("townships.csv", "w02,", "w01,", "townships.csv:3: key 'w01' is given twice"),
        ("townships.csv", "w02,", "623023101,", "townships.csv:3: key '623023101' must be lowercase letters"),
        ("townships.csv", "w02,", "all,", "townships.csv:3: key 'all' must be"),
        (
            "townships.csv",
            "623023101,623023101",
            "623024101,623023101",
            "townships.csv:3: mca9 '623024101' is not 9",
        ),
        (
            "townships.csv",
            "623023101,623023101",
            "623023100,623023101",
            "townships.csv:3: mca9 623023100 is given tw",
        ),
        ("townships.csv", "623023101,623023101", ",", "townships.csv:3: has neither mca9 nor nbs9"),
        (
            "townships.csv",
            "33.7162",
            "x",
            "townships.csv:3: lat 'x' is not a number of degrees from -90 to 90",
        ),
        ("townships.csv", "key,name", "name,key", "townships.csv:1: the columns must be key,name,mca9,nbs9"),
        (
            "villages.csv",
            ",623023100001,w01",
            ",623023101001,w01",
            "villages.csv:2: nbs12 '623023101001' is not 12",
        ),
        (
            "villages.csv",
            ",623023100001,w01",
            ",623023100001,w99",
            "villages.csv:2: there is no township 'w99'",
        ),
        ("villages.csv", ",623023100001,w01", ",623023100001", "villages.csv:2: 4 cells instead of 5"),
        ("villages.csv", ",623023100001,w01", ',"623023100001,w01', "villages.csv:"),
        ("villages.csv", "w01v02,东城社区", "w01v02,", "villages.csv:3: name is empty"),
        ("villages.csv", "w01v02,", "w02,", "villages.csv:3: key 'w02' is given twice"),
        ("aliases.csv", ",w05,", ",w55,", "aliases.csv:1: 东山乡: there is no township 'w55'"),
        ("terminals.csv", "w01v01,", "w01v99,", "terminals.csv:2: there is no village 'w01v99'"),
        ("terminals.csv", "synthetic", "real", "terminals.csv:2: position must be synthetic or measured"),
        ("readings.csv", "zhōu qǔ", "zhōu", "readings.csv:2: 舟曲 has 2 characters, its reading 1 syllables"),
        ("pack.toml", 'name = "舟曲县"', "", "pack.toml:1: name is missing or not text"),
        ("pack.toml", 'name = "', 'nmae = "', "pack.toml:1: nmae is not known (did you mean name?)"),
        ("pack.toml", '"623023"', '"62302"', "pack.toml:1: code '62302' is not six digits"),
        ("pack.toml", 'key = "zhouqu"', "key = ", "pack.toml:3: Invalid value"),
        ("boundary.geojson", '"features":', '"features"', "boundary.geojson:1: not JSON"),
        ("boundary.geojson", '"MultiPolygon"', '"Point"', "boundary.geojson:1: must be a FeatureCollection"),
    ],
)
def test_a_broken_pack_is_refused_with_the_line(
    copy: Path, file: str, old: str, new: str, expected: str
) -> None:
    text = (copy / file).read_text(encoding="utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    found = refused(copy)
    assert [line for line in found if line.startswith(expected)], found


def test_all_problems_of_a_pack_are_reported_at_once(copy: Path) -> None:
    for file, old, new in (("terminals.csv", "w01v01,", "x,"), ("readings.csv", "zhōu qǔ", "zhōu")):
        text = (copy / file).read_text(encoding="utf-8")
        (copy / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    assert [line.split(":")[0] for line in refused(copy)] == ["terminals.csv", "readings.csv"]


def test_a_missing_file_and_one_in_gbk_are_named(copy: Path) -> None:
    body = (copy / "villages.csv").read_text(encoding="utf-8").encode("gbk", "replace")
    (copy / "villages.csv").write_bytes(body)
    assert refused(copy) == ["villages.csv:2: is not UTF-8; save the file as UTF-8"]
    (copy / "villages.csv").unlink()
    assert refused(copy) == ["villages.csv:1: there is no such file"]
