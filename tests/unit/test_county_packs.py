"""County packs: what ships is whole and attributed, and a broken pack is refused with its lines."""

import csv
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from alerts.model import CodeScheme, RegionCode
from alerts.regions import Resolved, Unresolved
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
        for polygon in pack.county.boundary
        for ring in (polygon.outer, *polygon.holes)
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


@pytest.mark.parametrize("name", shipped())
def test_every_terminal_says_that_its_place_is_made_up_and_lies_in_the_county(name: str) -> None:
    pack = load_county(name)
    assert all(t.synthetic for t in pack.terminals)
    assert len(pack.terminals) == len(pack.county.villages)
    assert [t for t in pack.terminals if not inside(pack, t.lat, t.lon)] == []


@pytest.mark.parametrize("name", shipped())
def test_made_up_positions_of_villages_are_there_only_for_who_asks_for_them(name: str) -> None:
    real, demo = load_county(name), load_county(name, synthetic=True)
    assert [v for v in real.county.villages if v.position] == []
    assert [v for v in demo.county.villages if not v.position] == []
    assert real.synthetic == demo.synthetic == {v.key for v in demo.county.villages}
    assert all(inside(demo, *v.position) for v in demo.county.villages if v.position)


@pytest.mark.parametrize("name", shipped())
def test_the_outline_and_the_seats_reach_the_county(name: str) -> None:
    pack = load_county(name)
    assert len(pack.county.boundary) == 1
    assert pack.county.boundary[0].outer[0] == pack.county.boundary[0].outer[-1]
    seats = [t.position for t in pack.county.townships if t.mca]
    assert all(position and inside(pack, *position) for position in seats)


def test_yutian_has_its_townships_the_statistical_units_and_232_villages() -> None:
    county = load_county("yutian").county
    assert (county.key, county.code, county.name) == ("yutian", "653226", "于田县")
    assert len([t for t in county.townships if t.mca]) == 15
    assert [t.name for t in county.townships if not t.mca] == ["于田监狱", "工业园区"]
    assert len(county.villages) == 232
    found = county.resolve(RegionCode(CodeScheme.NBS, "653226403"))
    assert isinstance(found, Resolved)
    assert len(found.villages) == 8


def test_a_position_measured_in_the_field_is_always_there_and_population_where_known(copy: Path) -> None:
    text = (copy / "villages.csv").read_text(encoding="utf-8")
    old = "33.78368,104.3631,synthetic,"
    assert old in text
    (copy / "villages.csv").write_text(
        text.replace(old, "33.78400,104.36300,measured,1520"), encoding="utf-8"
    )
    village = load_county(str(copy)).county.village("w01v01")
    assert (village.position, village.population) == ((33.784, 104.363), 1520)
    assert load_county(str(copy)).county.village("w01v02").position is None


def test_a_code_of_the_other_list_in_codes_csv_makes_its_digits_ambiguous(copy: Path) -> None:
    (copy / "codes.csv").write_text("digits,source,name\n623023209,nbs,某某园区\n", encoding="utf-8")
    found = load_county(str(copy)).county.resolve(RegionCode(CodeScheme.UNKNOWN, "623023209"))
    assert isinstance(found, Unresolved)
    assert "某某园区" in found.text


def test_a_county_without_a_prefecture_and_without_an_outline_loads(copy: Path) -> None:
    about = (copy / "pack.toml").read_text(encoding="utf-8")
    (copy / "pack.toml").write_text(
        about.replace('prefecture = "甘南藏族自治州"', 'prefecture = ""'), encoding="utf-8"
    )
    (copy / "boundary.geojson").write_text('{"type":"FeatureCollection","features":[]}', encoding="utf-8")
    county = load_county(str(copy)).county
    assert (county.prefecture, county.boundary) == ("", ())


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


@pytest.mark.skipif(not GEO.exists(), reason="the shared geographic data is not on this machine")
@pytest.mark.parametrize("name", shipped())
def test_no_position_of_a_shipped_pack_is_one_of_amap(name: str) -> None:
    """The village points of 2016 came from the Amap web service (SOURCES.md of the shared data)."""
    with (GEO / f"{name}_villages.csv").open(encoding="utf-8", newline="") as file:
        amap = {row["nbs2023_code12"]: (row["lat"], row["lon"]) for row in csv.DictReader(file) if row["lat"]}
    assert amap
    with (pack_folder(name) / "villages.csv").open(encoding="utf-8", newline="") as file:
        shown = {row["nbs12"]: (row["lat"], row["lon"]) for row in csv.DictReader(file)}
    assert not [code for code, point in amap.items() if shown[code] == point]


def test_an_unknown_pack_names_what_ships() -> None:
    with pytest.raises(PackError, match=r"'zhouqi' \(did you mean zhouqu\?\); shipped: yutian, zhouqu"):
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
        ("villages.csv", ",623023100001,w01,", ",623023100001,", "villages.csv:2: 8 cells instead of 9"),
        ("villages.csv", ",623023100001,w01", ',"623023100001,w01', "villages.csv:"),
        ("villages.csv", "w01v02,东城社区", "w01v02,", "villages.csv:3: name is empty"),
        ("villages.csv", "w01v02,", "w02,", "villages.csv:3: key 'w02' is given twice"),
        ("aliases.csv", ",w05,", ",w55,", "aliases.csv:1: 东山乡: there is no township 'w55'"),
        ("terminals.csv", "w01v01,", "w01v99,", "terminals.csv:2: there is no village 'w01v99'"),
        ("terminals.csv", "synthetic", "real", "terminals.csv:2: position must be measured or synthetic"),
        ("villages.csv", "33.78368,104.3631,", ",,", "villages.csv:2: position is 'synthetic', but lat and"),
        ("villages.csv", "33.78368,", "91,", "villages.csv:2: lat '91' is not a number of degrees"),
        ("villages.csv", "synthetic,", "guessed,", "villages.csv:2: position must be measured or synthetic"),
        ("villages.csv", "synthetic,", "synthetic,many", "villages.csv:2: population 'many' is not a number"),
        (
            "codes.csv",
            "name\n",
            "name\n623023209,gb,南峪乡\n",
            "codes.csv:2: source must be mca, nbs or form",
        ),
        (
            "codes.csv",
            "name\n",
            "name\n623023101,nbs,甲\n",
            "codes.csv:2: 623023101 is already 大川镇",
        ),
        ("codes.csv", "name\n", "name\n,mca,南峪乡\n", "codes.csv:2: digits is empty"),
        ("boundary.geojson", "[104.072815,34.014144]", "[34.014144,104.0728]", "boundary.geojson:1: "),
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
