"""The map of a plan, and what an operator draws: circles, GeoJSON files, the preview's list of villages."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import defusedxml.ElementTree
import pytest
from alert_builders import box
from PIL import Image
from pydantic import ValidationError

from alerts.area import cut
from alerts.model import Area, Circle, Line, Polygon
from alerts.regions import County, Township, Village
from config.schema import Issuer
from controller import map as plan_map
from controller.cli import drawn
from controller.cli.outcome import Code, Failure
from controller.cli.program import run
from controller.compose import ComposeError, compose_alert
from controller.map import Dot, Text, draw, png, svg
from controller.web.models import Compose
from support import fake_desk as fake
from support.fake_desk import FakeDesk
from terminals.broadcast import Kind
from terminals.fleet import Fleet, select
from terminals.model import Terminal

NOW = datetime(2026, 7, 15, 7, tzinfo=UTC)
ISSUER = Issuer(name="某县应急管理局")
SVG = "{http://www.w3.org/2000/svg}"


COUNTY = County(
    key="made-up",
    code="623023",
    name="某县",
    townships=(
        Township("t1", "大川镇", "623023101", "623023101", position=(33.2, 104.2)),
        Township("t2", "南<&峪", "623023105", "623023105", position=(33.8, 104.8)),
    ),
    villages=(
        Village("v1", "甲村", "623023101201", "t1", (33.3, 104.3)),
        Village("v2", "乙村", "623023101202", "t1", (33.35, 104.35)),
        Village("v3", "丙村", "623023105201", "t2", (33.7, 104.7)),
        Village("v4", "丁村", "623023105202", "t2"),
    ),
    boundary=(box(33, 104, 34, 105),),
)
FLEET = (Terminal("x1", "", "v1", 33.3, 104.3, enrolled=True), Terminal("x3", "", "v3", enrolled=True))
SHAPES = Area(
    "河谷",
    (),
    (box(33.1, 104.1, 33.5, 110),),
    (Circle(33.9, 104.2, 3),),
    (Line(((33.5, 104.5), (33.6, 104.9)), 2),),
    (box(33.15, 104.6, 33.2, 104.7),),
)


def drawing(county: County = COUNTY, *areas: Area, title: str = "暴雨橙色预警") -> plan_map.Drawing | None:
    fleet = Fleet.of(FLEET, county)
    area = cut(areas or (SHAPES,), county, positions=fleet.positions)
    found = select(fleet, area, county)
    return draw(title, area, county, fleet, set(found.terminals), set(found.villages))


def test_the_map_shows_villages_in_out_and_silent_where_they_stand_true_to_scale() -> None:
    found = drawing()
    assert found is not None
    dots = {
        item.style: item.at
        for item in found.items
        if isinstance(item, Dot) and item.at[1] < found.height - 92
    }
    assert {plan_map._IN, plan_map._OUT, plan_map._SILENT, plan_map._TERMINAL_IN} <= set(dots)
    (x1, y1), (x2, y2) = dots[plan_map._IN], dots[plan_map._SILENT]
    # 0.05° north and east: 5.56 km and 4.64 km.
    assert (x2 - x1) / (y1 - y2) == pytest.approx(0.835, abs=0.01)
    texts = [item.text for item in found.items if isinstance(item, Text)]
    assert "大川镇 2/2" in texts
    assert "南<&峪 0/2" in texts
    assert any("示意" in text for text in texts)
    assert any(text.endswith(" km") for text in texts)


def test_the_scale_bar_is_as_long_as_it_says() -> None:
    found = drawing()
    assert found is not None
    bar = max(
        (item for item in found.items if isinstance(item, plan_map.Track) and item.style.stroke == "#222222"),
        key=lambda item: item.points[1][0] - item.points[0][0],
    )
    km = next(float(i.text.split()[0]) for i in found.items if isinstance(i, Text) and i.text.endswith(" km"))
    frame = next(item for item in found.items if isinstance(item, plan_map.Area))
    high = max(y for _, y in frame.rings[0]) - min(y for _, y in frame.rings[0])
    assert km / (bar.points[1][0] - bar.points[0][0]) == pytest.approx(111.195 / high, rel=1e-3)


def test_the_svg_is_well_formed_whatever_names_hold_and_shapes_do_not_run_off_the_sheet() -> None:
    found = drawing(title="<script>\x07 & 预警")
    assert found is not None
    body = svg(found)
    root = defusedxml.ElementTree.fromstring(body)
    assert root.tag == f"{SVG}svg"
    assert {child.tag for child in root} <= {f"{SVG}{tag}" for tag in ("rect", "path", "circle", "text")}
    assert any("南<&峪" in (text.text or "") for text in root.iter(f"{SVG}text"))
    assert len(body) < 50_000


def test_the_png_is_a_picture_with_the_shape_in_it_also_without_a_chinese_font() -> None:
    found = drawing()
    assert found is not None
    picture = Image.open(io.BytesIO(png(found, None)))
    assert picture.size == (found.width, found.height)
    inside = next(i.at for i in found.items if isinstance(i, Dot) and i.style == plan_map._SILENT)
    red, green, blue = picture.getpixel((int(inside[0]) + 14, int(inside[1])))  # type: ignore[misc]
    assert red > green + 20, "shaded red"
    assert green - blue < 40


def test_without_a_chinese_font_the_legend_still_says_what_each_dot_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from PIL import ImageDraw

    written: list[str] = []
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "text", lambda self, at, text, **how: written.append(text), raising=True
    )
    made = drawing(COUNTY, Area("x"))
    assert made is not None
    png(made, None)
    assert {"villages 0", "no loudspeaker 0", "not warned", "terminals 0", "others"} <= set(written)


def test_a_county_without_any_position_has_no_map_and_one_without_a_boundary_has() -> None:
    bare = replace(
        COUNTY,
        boundary=(),
        townships=tuple(replace(t, position=None) for t in COUNTY.townships),
        villages=tuple(replace(v, position=None) for v in COUNTY.villages),
    )
    area = cut((SHAPES,), bare)
    assert draw("", area, bare, Fleet.of((), bare), set(), set()) is None
    assert drawing(replace(COUNTY, boundary=())) is not None
    tie = Polygon(((33, 104), (34, 105), (34, 104), (33, 105), (33, 104)))
    assert drawing(replace(COUNTY, boundary=(tie,)), Area("x")) is not None, "a broken outline is left out"


# --- what an operator draws ----------------------------------------------------------------------------


def composed(**words_: object):
    return compose_alert(Compose(hazard="rainstorm", **words_), Kind.TEST, COUNTY, ISSUER, NOW)  # type: ignore[arg-type]


def test_a_drawn_circle_and_polygon_become_an_area_like_a_feeds() -> None:
    found = composed(
        areas=["大川镇"],
        circles=[{"lat": 33.3, "lon": 104.3, "km": 5}],
        polygons=[{"outer": [(33, 104), (33, 104.5), (33.5, 104.5)]}],
    )
    (area,) = found.main.areas
    assert area.circles == (Circle(33.3, 104.3, 5),)
    assert area.polygons == (Polygon(((33, 104), (33, 104.5), (33.5, 104.5))),)
    assert [code.digits for code in area.codes] == ["623023101"]
    assert area.description == "大川镇、1处圆形区域、1处多边形区域"


def test_what_was_drawn_on_an_amap_map_is_moved_and_says_so() -> None:
    found = composed(circles=[{"lat": 33.3, "lon": 104.3, "km": 5}], datum="gcj02")
    (circle,) = found.main.areas[0].circles
    assert 0.0005 < abs(circle.lat - 33.3) + abs(circle.lon - 104.3) < 0.01
    assert found.remarks == ("drawn in GCJ-02, converted to WGS-84",)
    assert "GCJ-02" in found.main.areas[0].description


def test_nothing_named_and_what_cannot_be_drawn_are_refused() -> None:
    with pytest.raises(ValidationError):
        composed()
    tie = [(33, 104), (33.5, 104.5), (33.5, 104), (33, 104.5)]
    with pytest.raises(ComposeError, match="crosses itself"):
        composed(polygons=[{"outer": tie}])


@pytest.mark.parametrize(
    "text", ["33.3,104.3", "a,b,c", "104.3,33.3,5", "33.3,104.3,-1", "33.3,104.3,9999", ""]
)
def test_a_circle_that_is_none_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(Failure) as failure:
        drawn.circle(text)
    assert failure.value.code is Code.USAGE


def test_a_circle_is_latitude_longitude_and_kilometres() -> None:
    assert drawn.circle("33.3，104.3, 0.5") == {"lat": 33.3, "lon": 104.3, "km": 0.5}


RING = [[104.0, 33.0], [104.5, 33.0], [104.5, 33.5], [104.0, 33.0]]
SQUARE = {"type": "Polygon", "coordinates": [RING]}


def saved(folder: Path, thing: object) -> Path:
    file = folder / "area.geojson"
    file.write_text(json.dumps(thing), encoding="utf-8-sig")
    return file


@pytest.mark.parametrize(
    ("thing", "count"),
    [
        (SQUARE, 1),
        ({"type": "Feature", "properties": {}, "geometry": SQUARE}, 1),
        ({"type": "MultiPolygon", "coordinates": [[RING], [RING, RING]]}, 2),
        ({"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": SQUARE}] * 3}, 3),
        (SQUARE | {"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::4490"}}}, 1),
    ],
)
def test_polygons_of_a_geojson_file_come_latitude_first(tmp_path: Path, thing: object, count: int) -> None:
    found = drawn.polygons(saved(tmp_path, thing))
    assert len(found) == count
    assert found[0]["outer"][1] == (33.0, 104.5)


@pytest.mark.parametrize(
    "thing",
    [
        {"type": "Point", "coordinates": [104, 33]},
        {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "geometry": SQUARE}, {"type": "Feature"}],
        },
        {"type": "FeatureCollection", "features": []},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[["a", "b"]]]},
        {"type": "Polygon"},
        [],
        SQUARE | {"crs": {"properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}},
    ],
)
def test_a_file_that_holds_anything_else_is_refused_because_it_would_be_left_out(
    tmp_path: Path, thing: object
) -> None:
    with pytest.raises(Failure) as failure:
        drawn.polygons(saved(tmp_path, thing))
    assert failure.value.code is Code.REFUSED


# --- the command line ----------------------------------------------------------------------------------


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch):
    with fake.beside(monkeypatch) as found:
        body = base64.b64encode(b"<svg/>").decode()
        found.answers["POST", "/v1/alerts/preview"] = (200, fake.plan() | {"map": body})
        yield found


def test_a_preview_lists_villages_people_and_terminals_and_saves_the_map(
    desk: FakeDesk, tmp_path: Path, capsys
) -> None:
    chart = tmp_path / "who.svg"
    command = ["test", "preview", "--template", "rainstorm", "--circle", "33.3,104.3,5", "--map", str(chart)]
    assert run(command) == 0
    shown = capsys.readouterr().out
    for part in ("大川村", "812", "polygon, township seat", "none", "zh bo"):
        assert part in shown
    assert chart.read_bytes() == b"<svg/>"
    (_, _, _, asked) = desk.asked[-1]
    assert asked["map"] == "svg"
    assert asked["compose"]["circles"] == [{"lat": 33.3, "lon": 104.3, "km": 5.0}]


def test_a_map_needs_a_form_that_we_draw_and_drawing_needs_a_template(
    desk: FakeDesk, tmp_path: Path, capsys
) -> None:
    circle = ["--circle", "33.3,104.3,5"]
    assert run(["test", "preview", "--template", "rainstorm", *circle, "--map", "who.gif"]) == Code.USAGE
    warning = tmp_path / "a.xml"
    warning.write_text("<alert/>", encoding="utf-8")
    assert run(["test", "preview", str(warning), *circle]) == Code.USAGE
    assert "--circle" in capsys.readouterr().err
    assert desk.asked == []


def test_sending_says_that_an_unusual_share_is_meant_only_when_the_operator_says_so(desk: FakeDesk) -> None:
    desk.answers["POST", "/v1/alerts"] = (200, fake.done("released", alert="A1", broadcast="B1"))
    desk.answers["GET", "/readyz"] = (200, {"ready": True, "problems": []})
    command = ["test", "send", "--template", "rainstorm", "--area", "全县", "--yes"]
    assert run(command) == 0
    assert "meant" not in desk.asked[0][3]
    desk.asked.clear()
    assert run([*command, "--meant"]) == 0
    assert desk.asked[0][3]["meant"] is True
