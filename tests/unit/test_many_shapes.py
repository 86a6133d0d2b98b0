"""A document with thousands of shapes must not keep the next warning waiting; none is dropped silently."""

from __future__ import annotations

from alerts.area import MOST_AREAS, MOST_SHAPES, cut
from alerts.model import Area, Circle, CodeScheme, Polygon, RegionCode
from config.counties import load_county

COUNTY = load_county("zhouqu").county
HERE = tuple(Circle(33.7 + n / 10_000, 104.3, 1.0) for n in range(MOST_SHAPES + 1))
FAR = tuple(
    Polygon(((23.0, 110.0 + n / 100), (23.1, 110.0), (23.1, 110.1), (23.0, 110.0 + n / 100)))
    for n in range(MOST_SHAPES + 1)
)


def over(*areas: Area) -> bool:
    return any("shapes here" in problem for problem in cut(areas, COUNTY).problems)


def test_more_shapes_than_are_read_hold_the_warning() -> None:
    assert over(Area("x", circles=HERE))
    assert over(*(Area("x", circles=(circle,)) for circle in HERE)), "of all areas together"


def test_as_many_as_are_read_do_not() -> None:
    assert not over(Area("x", circles=HERE[1:]))


def test_the_same_circle_again_and_polygons_elsewhere_do_not_count() -> None:
    assert not over(Area("x", circles=HERE[:1] * (2 * MOST_SHAPES)))
    assert not over(Area("x", polygons=FAR))


def test_more_areas_than_are_read_hold_the_warning() -> None:
    code = RegionCode(CodeScheme.MCA, "623023101")
    areas = [Area("x", codes=(code,))] * MOST_AREAS
    assert cut(areas, COUNTY).problems == ()
    assert any("1,001 areas" in problem for problem in cut([*areas, areas[0]], COUNTY).problems)
