"""Files that a county hands over: every way in which they are wrong is said with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import shapefile

from config.counties.tables import (
    COLUMN_NAMES,
    Row,
    TableError,
    degrees,
    minutes_in_disguise,
    position,
    read,
    roles,
)

WANTED = ("village", "township", "lat", "lon")


def wrote(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    (folder / name).write_text(text, encoding=encoding)
    return folder / name


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"])
def test_a_csv_is_read_in_any_encoding_that_is_used_here(tmp_path: Path, encoding: str) -> None:
    file = wrote(tmp_path, "a.csv", "乡镇,村名,经度,纬度\n大川镇,石门坪村,104.44,33.69\n", encoding)
    table = read(file)
    assert table.rows[0].cells == {"乡镇": "大川镇", "村名": "石门坪村", "经度": "104.44", "纬度": "33.69"}
    assert table.rows[0].where == f"{file}:2"
    assert bool(table.notes) == (not encoding.startswith("utf-8"))
    assert roles(table, WANTED, {}) == {
        "village": "村名",
        "township": "乡镇",
        "lat": "纬度",
        "lon": "经度",
    }


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_the_delimiter_is_the_one_in_the_header(tmp_path: Path, delimiter: str) -> None:
    file = wrote(
        tmp_path, "a.txt", f"村{delimiter}经度（°）{delimiter}纬度 (°)\n甲村{delimiter}104.1{delimiter}33.7\n"
    )
    table = read(file)
    assert position(table.rows[0], roles(table, WANTED, {})) == (33.7, 104.1)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"name\n\xff\xfe\x80\x81\n", "a.csv:2: is neither UTF-8 nor GBK"),
        (b"name,lat\nx,1\ny\n", "a.csv:3: 1 cells instead of 2"),
        (b'name,lat\n"x,1\n', "a.csv:2: unexpected end of data"),
        (b"name,name\nx,1\n", "a.csv:1: the first line must name the columns, each once"),
        (b"", "a.csv:1: the first line must name the columns"),
        (b"name\nx\0y\n", "a.csv:2: is not text"),
    ],
)
def test_a_csv_that_cannot_be_read_says_the_line(tmp_path: Path, body: bytes, said: str) -> None:
    (tmp_path / "a.csv").write_bytes(body)
    with pytest.raises(TableError) as caught:
        read(tmp_path / "a.csv")
    assert str(caught.value).startswith(f"{tmp_path}/{said}")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(TableError, match=r"export \.xlsx as CSV"):
        read(tmp_path / "a.xlsx")
    with pytest.raises(TableError, match=r"none\.csv:1: cannot be read: No such file"):
        read(tmp_path / "none.csv")


def test_two_columns_for_one_thing_are_a_question_that_column_answers(tmp_path: Path) -> None:
    table = read(wrote(tmp_path, "a.csv", "村,行政村,lat,lon\n甲,乙,33,104\n"))
    with pytest.raises(
        TableError, match=r"村 and 行政村 may both be the village; choose with --column village=村"
    ):
        roles(table, WANTED, {})
    assert roles(table, WANTED, {"village": "行政村"})["village"] == "行政村"
    with pytest.raises(TableError, match="no column '名'; there are: 村, 行政村, lat, lon"):
        roles(table, WANTED, {"village": "名"})


def test_no_name_of_a_column_has_two_meanings() -> None:
    names = [name for fitting in COLUMN_NAMES.values() for name in fitting]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("104.36278", 104.36278),
        ("１０４．５", 104.5),
        ("104°30′", 104.5),
        ("104度30分36秒", 104.51),
        ("104°21'46.008\"E", 104.36278),
        ("N33°47′3.012″", 33.78417),
        ("东经104.36278", 104.36278),
        ("33.78417N", 33.78417),
    ],
)
def test_degrees_are_read_where_they_can_be_nothing_else(text: str, value: float) -> None:
    assert degrees(text) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10421.767", "degrees and minutes run together"),
        ("35436278.12", "metres of a projected system"),
        ("104.21.46", "is no number of degrees"),
        ("104°75′", "minutes or seconds of 60 and over"),
        ("W104.3", "south or west"),
        ("经度", "is no number of degrees"),
    ],
)
def test_what_may_be_something_else_is_refused_with_what_it_looks_like(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        degrees(text)


@pytest.mark.parametrize(
    ("lat", "lon", "said"),
    [
        ("104.36", "33.78", "they are swapped"),
        ("33.78", "10.4", "which is not in China"),
        ("0", "0", "which is not in China"),
        ("33.78", "", "only one of lat and lon"),
        ("nan", "104", "is no number of degrees"),
    ],
)
def test_a_place_that_cannot_be_is_refused(lat: str, lon: str, said: str) -> None:
    row = Row("a.csv:2", {"lat": lat, "lon": lon})
    with pytest.raises(ValueError, match=said):
        position(row, {"lat": "lat", "lon": "lon"})


def test_minutes_and_seconds_written_as_decimals_are_noticed_in_a_column() -> None:
    disguised = [f"104.{minutes:02d}{seconds:02d}" for minutes in range(5) for seconds in (7, 16, 25, 33, 59)]
    assert minutes_in_disguise(disguised)
    assert not minutes_in_disguise([*disguised, "104.2876"])
    assert not minutes_in_disguise(disguised[:20])
    assert not minutes_in_disguise(["104.21"] * 50), "two decimals say nothing"


def geojson(*features: object, **more: object) -> str:
    return json.dumps({"type": "FeatureCollection", "features": features, **more}, ensure_ascii=False)


def point(lon: float, lat: float, **properties: object) -> dict[str, object]:
    return {
        "type": "Feature",
        "properties": properties,
        "geometry": {"type": "Point", "coordinates": [lon, lat]},
    }


def test_geojson_gives_its_properties_and_points(tmp_path: Path) -> None:
    table = read(wrote(tmp_path, "a.geojson", geojson(point(104.4, 33.7, 村=" 甲村 ", 代码=623023101200.0))))
    assert table.rows[0].cells == {"村": "甲村", "代码": "623023101200"}
    assert position(table.rows[0], {}) == (33.7, 104.4)
    assert table.rows[0].where.endswith("a.geojson: feature 1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "a.geojson:1: not JSON"),
        ("[]", "a.geojson:1: must be a GeoJSON FeatureCollection"),
        (geojson({"type": "Feature"}), "a.geojson: feature 1: has no usable geometry or properties"),
        (
            geojson({"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": []}}),
            "a.geojson: feature 1: has no usable",
        ),
        (geojson(crs={"properties": {"name": "EPSG:4610"}}), "a.geojson:1: is in an older Chinese datum"),
    ],
)
def test_geojson_that_cannot_be_read_says_where(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(TableError) as caught:
        read(wrote(tmp_path, "a.geojson", text))
    assert f"{tmp_path}/{said}" in str(caught.value)


def test_swapped_lon_and_lat_in_geojson_are_noticed(tmp_path: Path) -> None:
    table = read(wrote(tmp_path, "a.json", geojson(point(33.7, 104.4))))
    with pytest.raises(ValueError, match="they are swapped"):
        position(table.rows[0], {})


def layer(folder: Path, encoding: str, *, cpg: str = "", prj: str = "") -> Path:
    with shapefile.Writer(str(folder / "a"), shapeType=shapefile.POINT, encoding=encoding) as writer:
        writer.field("村名", "C", size=40)
        writer.field("人口", "N")
        writer.point(104.44, 33.69)
        writer.record("石门坪村", 812)
        writer.null()
        writer.record("无位置村", 0)
    (folder / "a.cpg").unlink(missing_ok=True)
    for ending, text in (("cpg", cpg), ("prj", prj)):
        if text:
            (folder / f"a.{ending}").write_text(text, encoding="ascii")
    return folder / "a.shp"


@pytest.mark.parametrize(
    ("encoding", "cpg"), [("utf-8", ""), ("utf-8", "UTF-8"), ("gbk", "GBK"), ("gbk", "936"), ("gbk", "")]
)
def test_a_shapefile_is_read_with_its_cpg_or_without(tmp_path: Path, encoding: str, cpg: str) -> None:
    table = read(layer(tmp_path, encoding, cpg=cpg))
    assert [row.cells["村名"] for row in table.rows] == ["石门坪村", "无位置村"]
    assert table.rows[0].cells["人口"] == "812"
    assert position(table.rows[0], {}) == pytest.approx((33.69, 104.44))
    assert table.rows[1].shape is None


def test_a_shapefile_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    file = layer(tmp_path, "gbk", cpg="UTF-8")
    with pytest.raises(TableError, match=r"a\.dbf:1: is not utf-8; name the right one in a\.cpg"):
        read(file)
    file = layer(tmp_path, "utf-8", cpg="KLINGON")
    with pytest.raises(TableError, match=r"a\.cpg:1: 'KLINGON' is no encoding"):
        read(file)
    file = layer(tmp_path, "utf-8", cpg="UTF-8", prj='PROJCS["CGCS2000_3_Degree_GK_CM_105E",GEOGCS["x"]]')
    with pytest.raises(TableError, match="metres of a projected system"):
        read(file)
    file = layer(tmp_path, "utf-8", cpg="UTF-8", prj='GEOGCS["GCS_Xian_1980",DATUM["D_Xian_1980"]]')
    with pytest.raises(TableError, match="an older Chinese datum"):
        read(file)
    layer(tmp_path, "utf-8", prj='GEOGCS["GCS_WGS_1984"]')
    assert read(file).notes == ("a.prj says: GCS_WGS_1984",)
    (tmp_path / "a.shx").unlink()
    with pytest.raises(TableError, match=r"a\.shx:1: there is no such file"):
        read(file)


def test_a_cut_shapefile_is_refused_not_crashed_on(tmp_path: Path) -> None:
    file = layer(tmp_path, "utf-8")
    body = (tmp_path / "a.shp").read_bytes()
    for length in (0, 50, 110):
        file.write_bytes(body[:length])
        with pytest.raises(TableError):
            read(file)
