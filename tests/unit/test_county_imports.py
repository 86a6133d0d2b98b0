"""A county's own files into its pack: what is understood, what is refused, and that nothing is half done."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import shapefile
from shapely.geometry import mapping

from config.counties import Pack, PackError, load_county, pack_folder
from config.counties.build import build
from config.counties.datum import Datum, to_gcj02
from config.counties.imports import ImportRefused, Kind, Taken, import_files, outline, spoken
from config.counties.national import find_county
from config.counties.tables import TableError

DAY = date(2026, 11, 22)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """舟曲 as `county new` builds it, with the outline of the shipped pack."""
    folder = tmp_path / "pack"
    build(find_county("舟曲"), folder)
    shutil.copy(pack_folder("zhouqu") / "boundary.geojson", folder / "boundary.geojson")
    return folder


def take(
    pack: Path,
    kind: Kind,
    file: Path,
    datum: Datum | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    anyway: bool = False,
    write: bool = True,
) -> Taken:
    found = import_files(pack, {kind: file}, datum, columns=columns or {}, anyway=anyway, on=DAY, write=write)
    return found[0]


def table(folder: Path, name: str, *lines: str, encoding: str = "utf-8") -> Path:
    (folder / name).write_text("\n".join(lines) + "\n", encoding=encoding)
    return folder / name


def refusal(pack: Path, kind: Kind, file: Path, datum: Datum | None = None) -> str:
    before = {path.name: path.read_bytes() for path in pack.iterdir()}
    with pytest.raises((TableError, ImportRefused, PackError)) as caught:
        take(pack, kind, file, datum)
    assert {path.name: path.read_bytes() for path in pack.iterdir()} == before, "nothing is half done"
    return str(caught.value).replace(f"{file.parent}/", "")


def shipped_places() -> list[tuple[str, str, float, float]]:
    """(township, village, lat, lon) all over 舟曲, WGS-84."""
    demo = load_county("zhouqu", synthetic=True).county
    return [(demo.township(v.township_key).name, v.name, *v.position) for v in demo.villages if v.position]


def stored(pack: Path, name: str) -> list[dict[str, str]]:
    with (pack / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- villages


def test_the_national_list_of_villages_is_taken_as_it_is(pack: Path, tmp_path: Path) -> None:
    file = table(
        tmp_path,
        "villages.csv",
        "code,name,streetCode,provinceCode,cityCode,areaCode",
        "110101001001,多福巷社区居委会,110101001,11,1101,110101",
        "623023101200,塔德村村民委员会,623023101,62,6230,623023",
        "623023208200,南峪村村民委员会,623023208,62,6230,623023",
    )
    taken = take(pack, Kind.VILLAGES, file)
    assert (taken.rows, taken.added, taken.left_out, taken.without_position) == (2, 2, 1, 2)
    county = load_county(str(pack)).county
    assert [(v.name, v.nbs, county.township(v.township_key).name) for v in county.villages] == [
        ("塔德村", "623023101200", "大川镇"),
        ("南峪村", "623023208200", "南峪乡"),  # 623023208 is an NBS code; the MCA list has 209
    ]
    again = take(pack, Kind.VILLAGES, file)
    assert (again.added, again.updated) == (0, 2)
    assert load_county(str(pack)).county == county, "keys are stable"


def test_positions_in_gcj02_arrive_in_wgs84_and_the_rest_of_the_row_too(pack: Path, tmp_path: Path) -> None:
    lat, lon = to_gcj02(33.70858, 104.44615)
    file = table(
        tmp_path,
        "村.csv",
        "所属乡镇,村名,经度,纬度,常住人口",
        f'大川镇,石门沟村,{float(lon):.7f},{float(lat):.7f},"1,204"',
        "大川,塔德村,,,",
        encoding="gbk",
    )
    taken = take(pack, Kind.VILLAGES, file, Datum.GCJ02)
    assert (taken.added, taken.without_position) == (2, 1)
    first, second = load_county(str(pack)).county.villages
    assert first.position == pytest.approx((33.70858, 104.44615), abs=2e-6)
    assert (first.population, second.position) == (1204, None)
    sources = (pack / "SOURCES.md").read_text(encoding="utf-8")
    assert "2026-11-22: villages from `村.csv`, 2 rows (2 new), positions declared gcj02" in sources


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("村,乡镇,lat,lon", "甲村,大川镇,33.7,104.4"), "has a position: declare its datum"),
        (("村,乡镇", "甲村,峰跌镇"), "a.csv:2: 峰跌镇 is no township of 舟曲县"),
        (
            ("村,代码", "甲村,623023999001"),
            "a.csv:2: the code 623023999001 begins with 623023999, no township",
        ),
        (
            ("村,乡镇,代码", "甲村,峰迭镇,623023101201"),
            "a.csv:2: the code 623023101201 belongs to 大川镇, but the township is 峰迭镇",
        ),
        (("村,代码", "甲村,623023101"), "a.csv:2: the code 623023101 has 9 digits; a village has 12"),
        (("村,代码", "甲村,6.23023E+11"), "a.csv:2: '6.23023E+11' is no code; a spreadsheet may have"),
        (("村", "甲村"), "a.csv:2: says neither by code nor by name in which township it is"),
        (("村,乡镇", "甲村,大川镇", "甲村民委员会,大川镇"), "a.csv:3: 大川镇甲村 stands already at a.csv:2"),
        (("村,乡镇", ",大川镇"), "a.csv:2: 村 is empty"),
        (("村,乡镇,人口", "甲村,大川镇,约800"), "a.csv:2: '约800' is no number of people"),
        (("乡镇,代码", "大川镇,623023101201"), "a.csv:1: no column says what a village is called"),
        (("村,代码", "甲村,110101001001"), "a.csv:1: nothing in it is of 舟曲县; all 1 rows are of other"),
    ],
)
def test_a_row_that_is_not_understood_refuses_the_file_with_its_line(
    pack: Path, tmp_path: Path, lines: tuple[str, ...], said: str
) -> None:
    assert said in refusal(pack, Kind.VILLAGES, table(tmp_path, "a.csv", *lines))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("104.4,33.7", "a.csv:2: has lat 104.4 and lon 33.7: they are swapped"),
        ("33.7,10426.3", "a.csv:2: '10426.3' looks like degrees and minutes run together"),
        ("3728123.2,35442211.8", "a.csv:2: '3728123.2' looks like metres of a projected system"),
        ("35.7,104.4", "a.csv:2: lies 18"),
    ],
)
def test_a_position_that_cannot_be_is_refused_with_its_line(
    pack: Path, tmp_path: Path, place: str, said: str
) -> None:
    file = table(tmp_path, "a.csv", "村,乡镇,lat,lon", f"甲村,大川镇,{place}")
    assert said in refusal(pack, Kind.VILLAGES, file, Datum.WGS84)


def test_a_village_whose_code_has_another_name_in_the_pack_is_a_contradiction(
    pack: Path, tmp_path: Path
) -> None:
    take(pack, Kind.VILLAGES, table(tmp_path, "a.csv", "村,代码", "塔德村,623023101200"))
    file = table(tmp_path, "b.csv", "村,代码", "石门沟村,623023101200")
    assert "b.csv:2: 623023101200 is 塔德村 in the pack, but 石门沟村 here" in refusal(
        pack, Kind.VILLAGES, file
    )


def test_a_village_without_a_code_gets_it_when_it_comes(pack: Path, tmp_path: Path) -> None:
    take(pack, Kind.VILLAGES, table(tmp_path, "a.csv", "村,乡镇", "塔德村,大川镇"))
    key = load_county(str(pack)).county.villages[0].key
    taken = take(pack, Kind.VILLAGES, table(tmp_path, "b.csv", "村,代码", "塔德村,623023101200"))
    assert taken.added == 0
    assert [(v.key, v.nbs) for v in load_county(str(pack)).county.villages] == [(key, "623023101200")]


@pytest.mark.parametrize(
    ("official", "said"),
    [
        ("庙沟村村民委员会", "庙沟村"),
        ("庙沟村民委员会", "庙沟村"),
        ("西城社区居民委员会", "西城社区"),
        ("南桥社区居委会", "南桥社区"),
        ("庙沟村", "庙沟村"),
        ("居委会", "居委会"),
    ],
)
def test_a_village_is_called_what_people_say(official: str, said: str) -> None:
    assert spoken(official) == said


# --- the datum


def seats_file(folder: Path, *, shifted: bool) -> Path:
    """Seats of 舟曲 measured afresh: beside GeoNames' by a few hundred metres, as they are."""
    random = np.random.default_rng(7)
    lines = ["乡镇名称,经度,纬度"]
    for unit in load_county("zhouqu").county.townships:
        assert unit.position
        lat, lon = np.array(unit.position) + random.normal(0, 0.15 / 111, 2)
        if shifted:
            lat, lon = map(float, to_gcj02(lat, lon))
        lines.append(f"{unit.name},{lon:.6f},{lat:.6f}")
    return table(folder, "seats.csv", *lines)


@pytest.mark.parametrize(("shifted", "wrong"), [(True, Datum.WGS84), (False, Datum.GCJ02)])
def test_seats_in_another_datum_than_declared_are_refused_with_the_numbers(
    pack: Path, tmp_path: Path, shifted: bool, wrong: Datum
) -> None:
    file = seats_file(tmp_path, shifted=shifted)
    said = refusal(pack, Kind.TOWNSHIPS, file, wrong)
    assert f"the positions look like {wrong.other}, not {wrong}" in said
    assert "km in the median from 18 known places" in said
    taken = take(pack, Kind.TOWNSHIPS, file, wrong.other)
    assert taken.check is not None
    assert not taken.check.against
    assert not taken.check.unsure


def test_what_is_taken_anyway_is_recorded(pack: Path, tmp_path: Path) -> None:
    file = seats_file(tmp_path, shifted=True)
    taken = take(pack, Kind.TOWNSHIPS, file, Datum.WGS84, anyway=True)
    assert len(taken.doubts) == 1
    assert "accepted anyway: " in (pack / "SOURCES.md").read_text(encoding="utf-8")


def test_terminals_are_compared_with_their_measured_villages(pack: Path, tmp_path: Path) -> None:
    places = shipped_places()
    villages = table(
        tmp_path, "v.csv", "乡镇,村,lat,lon", *(f"{t},{v},{lat},{lon}" for t, v, lat, lon in places)
    )
    take(pack, Kind.VILLAGES, villages, Datum.CGCS2000)
    lines = ["乡镇,村,安装点,经度,纬度"]
    for township, village, lat, lon in places:
        north, east = to_gcj02(lat + 0.0002, lon)
        lines.append(f"{township},{village},{village}村委会楼顶,{float(east):.6f},{float(north):.6f}")
    file = table(tmp_path, "t.csv", *lines)
    said = refusal(pack, Kind.TERMINALS, file, Datum.WGS84)
    assert "0.29 km in the median from 212 known places" in said
    assert "read as gcj02" in said
    taken = take(pack, Kind.TERMINALS, file, Datum.GCJ02)
    assert (taken.added, taken.without_position) == (212, 0)
    found = load_county(str(pack))
    assert not any(terminal.synthetic for terminal in found.terminals)
    assert found.terminals[0].lat == pytest.approx(places[0][2] + 0.0002, abs=2e-6)


def test_a_single_place_proves_no_datum_and_that_is_said(pack: Path, tmp_path: Path) -> None:
    file = table(tmp_path, "a.csv", "村,乡镇,lat,lon", "甲村,大川镇,33.7,104.4")
    taken = take(pack, Kind.VILLAGES, file, Datum.WGS84)
    assert any("nothing here proves that the positions are wgs84" in note for note in taken.notes)


def test_minutes_written_as_decimals_are_refused(pack: Path, tmp_path: Path) -> None:
    lines = [f"村{n},大川镇,33.{42 + n % 3}{n:02d},104.{20 + n}{(7 * n) % 60:02d}" for n in range(24)]
    file = table(tmp_path, "a.csv", "村,乡镇,lat,lon", *lines)
    assert "the decimals of lat look like minutes and seconds" in refusal(
        pack, Kind.VILLAGES, file, Datum.WGS84
    )


# --- terminals


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("终端,村,lat,lon", "喇叭1,无名村,33.7,104.4"), "a.csv:2: there is no village 无名村 in the pack"),
        (
            ("终端,村,lat,lon", "喇叭1,中村,33.7,104.4"),
            "a.csv:2: 2 villages are called 中村; give the township",
        ),
        (("终端,村,乡镇", "喇叭1,塔德村,大川镇"), "a.csv:2: a terminal needs a position"),
        (
            ("终端,村,lat,lon", "喇叭1,塔德村,33.7,104.4", "喇叭1,塔德村,33.7,104.41"),
            "a.csv:3: 喇叭1 stands already at a.csv:2",
        ),
        (
            ("终端,村,村代码,lat,lon", "喇叭1,中村,623023101200,33.7,104.4"),
            "a.csv:2: the code 623023101200 is 塔德村, but the village is 中村",
        ),
    ],
)
def test_a_terminal_must_stand_in_one_village_of_the_pack(
    pack: Path, tmp_path: Path, lines: tuple[str, ...], said: str
) -> None:
    villages = table(
        tmp_path, "v.csv", "村,乡镇,代码", "塔德村,大川镇,623023101200", "中村,大川镇,", "中村,峰迭镇,"
    )
    take(pack, Kind.VILLAGES, villages)
    assert said in refusal(pack, Kind.TERMINALS, table(tmp_path, "a.csv", *lines), Datum.WGS84)
    good = table(tmp_path, "b.csv", "终端,村,乡镇,lat,lon", "喇叭1,中村,峰迭镇,33.81,104.24")
    assert take(pack, Kind.TERMINALS, good, Datum.WGS84).added == 1


# --- townships


def test_a_township_code_must_be_of_the_township_that_is_named(pack: Path, tmp_path: Path) -> None:
    file = table(tmp_path, "a.csv", "乡镇,mca9", "南峪乡,623023208")
    assert "南峪乡 is 623023209 (mca), 623023208 (nbs), not 623023208 (mca9)" in refusal(
        pack, Kind.TOWNSHIPS, file
    )
    new = table(tmp_path, "b.csv", "乡镇,nbs9", "舟曲县林场,623023400")
    assert take(pack, Kind.TOWNSHIPS, new).added == 1
    assert load_county(str(pack)).county.townships[-1].key == "w20"
    nameless = table(tmp_path, "c.csv", "乡镇,代码", "某农场,623023401")
    assert "a new one needs its code in a column mca9 or nbs9" in refusal(pack, Kind.TOWNSHIPS, nameless)


# --- the boundary


def test_an_outline_in_the_wrong_datum_is_noticed_by_the_one_that_was_there(
    pack: Path, tmp_path: Path
) -> None:
    file = shutil.copy(pack_folder("zhouqu") / "boundary.geojson", tmp_path / "outline.geojson")
    said = refusal(pack, Kind.BOUNDARY, Path(file), Datum.GCJ02)
    assert "the outline looks like wgs84, not gcj02" in said
    assert "100.00% of the outline there was" in said
    taken = take(pack, Kind.BOUNDARY, Path(file), Datum.CGCS2000)
    assert taken.rows == 1
    county = load_county(str(pack)).county
    assert len(county.boundary[0].outer) == 154


def test_an_outline_as_a_shapefile_of_several_counties_gives_the_one(pack: Path, tmp_path: Path) -> None:
    shape = outline(load_county("zhouqu").county.boundary)
    other = outline(load_county("yutian").county.boundary)
    assert shape is not None
    assert other is not None
    with shapefile.Writer(str(tmp_path / "c"), shapeType=shapefile.POLYGON, encoding="gbk") as writer:
        writer.field("gb", "C", size=12)
        for code, one in (("156653226", other), ("156623023", shape)):
            writer.shape(mapping(one))
            writer.record(code)
    (pack / "boundary.geojson").write_text('{"type":"FeatureCollection","features":[]}', encoding="utf-8")
    taken = take(pack, Kind.BOUNDARY, tmp_path / "c.shp", Datum.CGCS2000)
    assert (taken.rows, taken.left_out) == (1, 1)
    found = outline(load_county(str(pack)).county.boundary)
    assert found is not None
    assert found.symmetric_difference(shape).area < 1e-5
    assert any("nothing here proves" in note for note in taken.notes)


def test_an_outline_that_is_none_is_refused(pack: Path, tmp_path: Path) -> None:
    def layer(*rings: list[list[float]], **properties: str) -> Path:
        document = {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "properties": properties,
                    "geometry": {"type": "Polygon", "coordinates": [r]},
                }
                for r in rings
            ],
        }
        return table(tmp_path, "b.geojson", json.dumps(document))

    bow = [[104.0, 33.0], [105.0, 34.0], [105.0, 33.0], [104.0, 34.0], [104.0, 33.0]]
    square = [[104.0, 33.0], [105.0, 33.0], [105.0, 34.0], [104.0, 34.0], [104.0, 33.0]]
    swapped = [[lat, lon] for lon, lat in square]
    far = [[lon - 20, lat] for lon, lat in square]
    assert "the outline crosses itself" in refusal(pack, Kind.BOUNDARY, layer(bow), Datum.WGS84)
    assert "lat and lon are swapped" in refusal(pack, Kind.BOUNDARY, layer(swapped), Datum.WGS84)
    assert "0 features are 舟曲县 (623023), not one" in refusal(
        pack, Kind.BOUNDARY, layer(square, far), Datum.WGS84
    )
    assert "18 of 18 known township seats lie outside" in refusal(
        pack, Kind.BOUNDARY, layer(far), Datum.WGS84
    )
    assert "declare their datum" in refusal(pack, Kind.BOUNDARY, layer(square))


# --- the whole


def test_a_dry_run_changes_nothing(pack: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in pack.iterdir()}
    file = table(tmp_path, "a.csv", "村,乡镇", "塔德村,大川镇")
    assert take(pack, Kind.VILLAGES, file, write=False).added == 1
    assert {path.name: path.read_bytes() for path in pack.iterdir()} == before


def test_a_shipped_pack_is_not_imported_into(tmp_path: Path) -> None:
    file = table(tmp_path, "a.csv", "村,乡镇", "塔德村,大川镇")
    for name in ("zhouqu", str(pack_folder("zhouqu"))):
        with pytest.raises(PackError, match="comes with the program; copy the folder"):
            take(Path(name), Kind.VILLAGES, file)


def test_several_files_are_taken_in_the_order_in_which_they_need_each_other(
    pack: Path, tmp_path: Path
) -> None:
    villages = table(tmp_path, "v.csv", "村,乡镇,lat,lon", "塔德村,大川镇,33.71782,104.43778")
    terminals = table(tmp_path, "t.csv", "村,lat,lon", "塔德村,33.7179,104.4378")
    taken = import_files(
        pack,
        {Kind.TERMINALS: terminals, Kind.VILLAGES: villages},
        Datum.WGS84,
        columns={},
        anyway=False,
        on=DAY,
        write=True,
    )
    assert [one.kind for one in taken] == [Kind.VILLAGES, Kind.TERMINALS]
    found: Pack = load_county(str(pack))
    assert [t.name for t in found.terminals] == ["塔德村"]
    assert stored(pack, "terminals.csv")[0]["position"] == "measured"
