"""Area → terminals: by own position, by their village's, through groups that reach nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from alert_builders import box
from pydantic import ValidationError

from alerts.area import USUAL_SHARE, cut
from alerts.hazards import HAZARDS
from alerts.model import Area, Circle, CodeScheme, Polygon, RegionCode
from alerts.regions import County, Township, Village
from config.schema import Targeting
from terminals.fleet import EVERYONE, Fleet, Selection, cover, select
from terminals.model import Terminal

COUNTY = County(
    key="made-up",
    code="623023",
    name="某县",
    townships=(
        Township("t1", "东镇", "623023101", "623023101", position=(33.2, 104.2)),
        Township("t2", "西镇", "623023102", "623023102", position=(33.8, 104.8)),
    ),
    villages=(
        Village("v1", "甲村", "623023101201", "t1", (33.2, 104.2)),
        Village("v2", "乙村", "623023101202", "t1", (33.3, 104.3)),
        Village("v3", "丙村", "623023102201", "t2", (33.8, 104.8)),
        Village("v4", "丁村", "623023102202", "t2"),
    ),
    boundary=(box(33, 104, 34, 105),),
)


def terminal(name: str, village: str, lat: float | None = None, lon: float | None = None) -> Terminal:
    return Terminal(name, name, village, lat, lon, enrolled=True)


FLEET = (
    terminal("a1", "v1"),
    terminal("a2", "v1", 33.21, 104.21),
    terminal("b1", "v2", 33.3, 104.3),
    terminal("c1", "v3"),
    terminal("d1", "v4", 33.9, 104.9),
)


def drawn(*shapes: Polygon | Circle, codes: tuple[str, ...] = (), **changes: object) -> Selection:
    fleet = Fleet.of(changes.pop("fleet", FLEET), COUNTY)  # type: ignore[arg-type]
    area = Area(
        "河谷",
        tuple(RegionCode(CodeScheme.MCA, code) for code in codes),
        tuple(s for s in shapes if isinstance(s, Polygon)),
        tuple(s for s in shapes if isinstance(s, Circle)),
        **changes,  # type: ignore[arg-type]
    )
    return select(fleet, cut([area], COUNTY, positions=fleet.positions), COUNTY)


def test_by_codes_a_terminal_is_in_with_its_village_wherever_it_stands() -> None:
    found = drawn(codes=("623023101",))
    assert found.terminals == ("a1", "a2", "b1")
    assert found.groups == ("t1",)
    assert found.silent_villages == ()
    assert found.lines == ()


def test_by_codes_groups_cover_villages_without_terminals_too_and_name_them_as_silent() -> None:
    found = drawn(codes=("623023102",), fleet=FLEET[:3])
    assert found.terminals == ()
    assert found.groups == ("t2",)
    assert found.silent_villages == ("v3", "v4")
    assert drawn(codes=("623023",)).groups == (EVERYONE,)


def test_in_a_shape_a_terminal_counts_where_it_stands_and_without_a_position_where_its_village_does() -> None:
    found = drawn(box(33.15, 104.15, 33.205, 104.205))
    assert found.terminals == ("a1",), "a2 stands a kilometre off, outside"
    assert found.villages == ("v1",)
    assert any("0 by their own position, 1 by their village's" in line for line in found.lines)


def test_a_group_is_used_only_where_every_terminal_of_it_is_in() -> None:
    assert drawn(box(33.15, 104.15, 33.205, 104.205)).groups == (), "the group v1 would reach a2"
    assert drawn(box(33.15, 104.15, 33.25, 104.25)).groups == ("v1",)
    assert drawn(box(33.1, 104.1, 33.4, 104.4)).groups == ("t1",)
    assert drawn(box(33, 104, 34, 105)).groups == (EVERYONE,)
    partly = drawn(box(33.15, 104.15, 33.205, 104.205), codes=("623023102",))
    assert (partly.terminals, partly.groups) == (("a1", "c1", "d1"), ())


def test_a_terminal_that_stands_in_brings_its_village_which_stands_outside() -> None:
    found = drawn(box(33.205, 104.205, 33.25, 104.25))
    assert found.terminals == ("a2",)
    assert found.villages == ("v1",)
    assert any("1 villages stand outside, but a terminal of theirs inside" in line for line in found.lines)


def test_a_village_whose_terminals_all_stand_outside_is_silent_and_said() -> None:
    found = drawn(box(33.29, 104.29, 33.31, 104.31), fleet=(terminal("b1", "v2", 33.4, 104.4),))
    assert found.terminals == ()
    assert found.silent_villages == ("v2",)
    assert found.groups == ()
    assert any("stand inside, but their terminals outside: v2" in line for line in found.lines)


def test_a_village_without_a_position_stands_where_its_terminals_do() -> None:
    here = drawn(box(33.85, 104.85, 33.95, 104.95))
    assert here.terminals == ("d1",)
    assert Fleet.of(FLEET, COUNTY).positions["v4"] == (33.9, 104.9)
    idle = replace(FLEET[4], enrolled=False)
    assert Fleet.of([idle], COUNTY).positions == {"v4": (33.9, 104.9)}, "not enrolled, but it stands there"


def test_an_exclusion_takes_terminals_away_where_they_stand_also_from_a_code() -> None:
    found = drawn(codes=("623023101",), excluded=(box(33.205, 104.205, 33.25, 104.25),))
    assert found.terminals == ("a1", "b1")
    assert found.groups == ()


@pytest.mark.parametrize("place", [(0.0, 0.0), (104.2, 33.2), (33.2, 14.2)])
def test_a_position_far_outside_the_county_is_not_believed(place: tuple[float, float]) -> None:
    lost = terminal("a3", "v1", *place)
    found = drawn(box(33.15, 104.15, 33.25, 104.25), fleet=(lost,))
    assert found.terminals == ("a3",), "it is taken to stand where its village does"
    assert any("not believed: a3" in line for line in found.lines)
    assert Fleet.of([lost], COUNTY).positions == {}


def test_terminals_that_are_not_enrolled_or_of_a_village_that_is_no_more_are_never_in() -> None:
    others = (replace(FLEET[0], enrolled=False), terminal("z", "v99", 33.2, 104.2))
    assert drawn(box(33, 104, 34, 105), fleet=others).terminals == ()
    assert drawn(codes=("623023",), fleet=others).terminals == ()


def test_a_fleet_may_be_given_ready_or_as_terminals() -> None:
    area = cut([Area("", polygons=(box(33.1, 104.1, 33.4, 104.4),))], COUNTY)
    assert select(FLEET, area, COUNTY) == select(Fleet.of(FLEET, COUNTY), area, COUNTY)


def test_a_county_may_say_what_share_is_unusual_and_a_drawn_shape_has_its_own_limit() -> None:
    ours = Targeting()
    assert ours.limit("debris_flow", drawn=False) == 0.5
    assert ours.limit("cold_wave", drawn=False) == 1.0
    assert ours.limit("cold_wave", drawn=True) == 0.8
    assert ours.limit("debris_flow", drawn=True) == 0.5
    theirs = Targeting(unusual={"debris_flow": 90, "hail": 60}, unusual_drawn=40)
    assert theirs.limit("debris_flow", drawn=False) == 0.9
    assert theirs.limit("hail", drawn=False) == 0.6
    assert theirs.limit("dam_break", drawn=False) == 0.8, "what it does not name stays"
    assert theirs.limit("debris_flow", drawn=True) == 0.4
    with pytest.raises(ValidationError):
        Targeting(unusual={"debris_flow": 0})
    with pytest.raises(ValidationError):
        Targeting(unusual={"debrisflow": 50})


def test_every_hazard_with_a_usual_share_is_in_the_catalogue() -> None:
    assert set(USUAL_SHARE) <= {hazard.key for hazard in HAZARDS}


def test_a_cover_is_the_fewest_groups_and_nothing_of_nobody() -> None:
    assert cover({"v1", "v2", "v3"}, COUNTY) == ("t1", "v3")
    assert cover(set(), COUNTY) == ()
