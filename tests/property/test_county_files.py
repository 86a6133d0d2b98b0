"""Whatever a county hands over is read or refused with words; nothing else comes out of it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import shapefile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.counties.tables import COLUMN_NAMES, TableError, degrees, position, read, roles

SCRATCH = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def understood_or_refused(file: Path) -> None:
    try:
        table = read(file, "623023")
        columns = roles(table, tuple(COLUMN_NAMES), {})
    except TableError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert str(file.parent) in said
        return
    for row in table.rows:
        try:
            found = position(row, columns)
        except ValueError:
            continue
        assert found is None or (3 <= found[0] <= 54 and 73 <= found[1] <= 136)


@SCRATCH
@given(st.binary(max_size=300))
def test_any_bytes_as_a_csv(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(body)
    understood_or_refused(tmp_path / "a.csv")


@SCRATCH
@given(st.lists(st.text(alphabet='村lat,"\n经度纬:.°′0123456789NS\r\x0b', max_size=30), max_size=5))
def test_any_text_below_a_header(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "a.csv").write_text("\n".join(["村,lat,lon", *lines]), encoding="utf-8")
    understood_or_refused(tmp_path / "a.csv")


@SCRATCH
@given(JSON, JSON, JSON)
def test_any_json_in_any_place_of_a_geojson(
    tmp_path: Path, geometry: object, properties: object, coordinates: object
) -> None:
    for feature in (
        geometry,
        {"type": "Feature", "geometry": geometry, "properties": properties},
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": coordinates},
            "properties": properties,
        },
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": coordinates}, "properties": {}},
    ):
        document = {"type": "FeatureCollection", "features": [feature]}
        (tmp_path / "a.geojson").write_text(json.dumps(document), encoding="utf-8")
        understood_or_refused(tmp_path / "a.geojson")


@pytest.mark.parametrize("ending", ["shp", "shx", "dbf"])
def test_any_damage_to_a_shapefile(tmp_path: Path, ending: str) -> None:
    with shapefile.Writer(str(tmp_path / "a"), shapeType=shapefile.POINT, encoding="utf-8") as writer:
        writer.field("村名", "C", size=40)
        writer.field("人口", "N")
        for number in range(5):
            writer.point(104.4 + number / 100, 33.69)
            writer.record(f"村{number}", number)
    good = (tmp_path / f"a.{ending}").read_bytes()
    luck = random.Random(ending)
    for _ in range(400):
        body = bytearray(good)
        for _ in range(luck.randint(1, 4)):
            body[luck.randrange(len(body))] = luck.randrange(256)
        (tmp_path / f"a.{ending}").write_bytes(
            body[: luck.randint(1, len(body))] if luck.random() < 0.3 else body
        )
        understood_or_refused(tmp_path / "a.shp")


@given(st.text(max_size=20))
def test_any_text_as_degrees(text: str) -> None:
    try:
        value = degrees(text)
    except ValueError:
        return
    assert -180 <= value <= 1000
