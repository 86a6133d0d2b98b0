"""Why a terminal is in a warning or not: what decides, for each way; then and now; and its words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from alert_builders import alert, box

from alerts import intensity
from alerts.area import cut
from alerts.model import Alert, Area, Circle, CodeScheme, Line, Polygon, Quake, RegionCode
from alerts.regions import County, Township, Village
from config.schema import BroadcastOptions, Issuer, Targeting
from controller.cli import words
from controller.cli.program import run
from controller.cli.why import because
from controller.planning import Plan, plan_alert
from controller.why import Kind, Then, Why, why
from support import fake_desk as fake
from support.fake_desk import FakeDesk
from terminals.broadcast import Kind as Broadcasts
from terminals.fleet import Fleet
from terminals.model import Terminal

NOW = datetime(2026, 7, 15, 7, tzinfo=UTC)
ISSUER = Issuer(name="某县应急管理局")


COUNTY = County(
    key="made-up",
    code="623023",
    name="某县",
    townships=(
        Township("t1", "大川镇", "623023101", "623023101", position=(33.2, 104.2)),
        Township("t2", "曲告纳镇", "623023105", "623023105", position=(33.8, 104.8)),
    ),
    villages=(
        Village("v1", "甲村", "623023101201", "t1", (33.2, 104.2)),
        Village("v2", "乙村", "623023105201", "t2"),
    ),
    boundary=(box(33, 104, 34, 105),),
)
HERE = Terminal("x1", "甲一", "v1", 33.2, 104.2, enrolled=True)
BARE = Terminal("x2", "乙一", "v2", enrolled=True)
FLEET = (HERE, BARE)


def message(*shapes: Polygon | Circle | Line, codes: tuple[str, ...] = (), **fields: object) -> Alert:
    area = Area(
        "河谷",
        tuple(RegionCode(CodeScheme.MCA, code) for code in codes),
        tuple(s for s in shapes if isinstance(s, Polygon)),
        tuple(s for s in shapes if isinstance(s, Circle)),
        tuple(s for s in shapes if isinstance(s, Line)),
        **fields,  # type: ignore[arg-type]
    )
    return alert(areas=(area,))


def planned(about: Alert, terminals: tuple[Terminal, ...] = FLEET, *, narrow: bool = False) -> Plan:
    fleet = Fleet.of(terminals, COUNTY)
    return plan_alert(
        about,
        Broadcasts.ACTUAL,
        "first",
        cut(about.main.areas, COUNTY, narrow=narrow, positions=fleet.positions),
        county=COUNTY,
        terminals=fleet,
        settings=BroadcastOptions(),
        issuer=ISSUER,
        targeting=Targeting(),
        narrow=narrow,
    )


def asked(about: Alert, terminal: Terminal = HERE, plan: Plan | None = None) -> Why:
    others = [t for t in FLEET if t.id != terminal.id]
    return why(
        about,
        planned(about) if plan is None else plan,
        terminal,
        county=COUNTY,
        fleet=Fleet.of([*others, terminal], COUNTY),
        now=NOW,
        quake=intensity.Policy(),
    )


def kinds(found: Why) -> list[Kind]:
    return [one.kind for one in found.because]


def test_the_code_that_names_its_village_decides() -> None:
    found = asked(message(codes=("623023105", "623023101")))
    assert (found.inside, found.then, found.basis) == (True, Then.IN, "")
    assert found.because[0].values == {"code": "623023101 (mca)", "label": "大川镇"}
    assert kinds(found) == [Kind.CODE]


def test_a_code_of_another_township_says_both_names() -> None:
    found = asked(message(codes=("623023105", "610102")))
    assert (found.inside, found.then) == (False, Then.OUT)
    assert kinds(found) == [Kind.OTHER_CODE, Kind.NO_CODE]
    assert found.because[0].values == {"code": "623023105 (mca)", "label": "曲告纳镇", "township": "大川镇"}


def test_the_edge_of_a_polygon_is_given_in_kilometres_inside_and_outside() -> None:
    inside = asked(message(box(33.19, 104.1, 33.4, 104.4)))
    assert (inside.inside, inside.basis, inside.position) == (True, "own position", (33.2, 104.2))
    assert kinds(inside) == [Kind.INSIDE]
    assert inside.because[0].values["km"] == pytest.approx(1.11, abs=0.01)
    assert inside.because[0].values["shape"] == "polygon 1"
    outside = asked(message(box(33.21, 104.1, 33.85, 104.85), codes=("623023105",)))
    assert not outside.inside
    assert kinds(outside) == [Kind.OUTSIDE, Kind.OTHER_CODE]
    assert outside.because[0].values["km"] == pytest.approx(1.11, abs=0.01)


def test_a_circle_and_a_line_give_the_distance_to_their_edge() -> None:
    ring = asked(message(Circle(33.3, 104.2, 10)))
    assert (ring.inside, ring.then) == (False, Then.OUT)
    assert ring.because[0].values["km"] == pytest.approx(11.12 - 10.05, abs=0.01)
    band = asked(message(Line(((33.21, 104.0), (33.21, 105.0)), 2)))
    assert band.inside
    assert band.because[0].values["km"] == pytest.approx(2.01 - 1.11, abs=0.01)


def test_who_has_no_position_is_judged_by_the_village_and_the_township_seat() -> None:
    found = asked(message(box(33.75, 104.75, 33.85, 104.85)), BARE)
    assert (found.inside, found.basis, found.position) == (True, "township seat", (33.8, 104.8))


def test_of_many_polygons_the_nearest_edges_are_told() -> None:
    many = [box(10 + n, 10, 10.5 + n, 11) for n in range(20)]
    found = asked(message(*many))
    assert kinds(found) == [Kind.OUTSIDE] * 5
    assert found.because[0].values["shape"] == "polygon 20"


def test_an_exclusion_says_so_before_what_it_takes_away() -> None:
    found = asked(message(codes=("623023101",), excluded=(box(33.19, 104.1, 33.4, 104.4),)))
    assert not found.inside
    assert kinds(found) == [Kind.EXCLUDED, Kind.CODE]


def test_a_feed_whose_shapes_narrow_is_explained_so() -> None:
    about = message(box(33.75, 104.75, 33.85, 104.85), codes=("623023101", "623023105"))
    plan = planned(about, narrow=True)
    out = asked(about, HERE, plan)
    assert (out.inside, kinds(out)) == (False, [Kind.NARROWED, Kind.OUTSIDE])
    inside = asked(about, BARE, plan)
    assert (inside.inside, kinds(inside)) == (True, [Kind.CODE, Kind.INSIDE])


def test_a_point_names_the_village_and_what_could_not_be_used_is_said() -> None:
    found = asked(message(Circle(33.21, 104.21, 0)))
    assert (found.inside, kinds(found)) == (True, [Kind.MEANT])
    tie = Polygon(((33, 104), (34, 105), (34, 104), (33, 105), (33, 104)))
    broken = asked(message(tie))
    assert kinds(broken) == [Kind.PROBLEM]
    assert "crosses itself" in str(broken.because[0].values["text"])


def test_a_terminal_that_came_later_is_told_apart_from_one_that_was_left_out() -> None:
    about = message(codes=("623023101",))
    before = planned(about, (BARE,))
    found = asked(about, HERE, before)
    assert (found.inside, found.then) == (True, Then.OUT)


def test_a_message_without_a_plan_and_a_terminal_that_is_not_enrolled_are_out() -> None:
    cancel = replace(alert(), infos=())
    found = why(
        cancel, None, HERE, county=COUNTY, fleet=Fleet.of(FLEET, COUNTY), now=NOW, quake=intensity.Policy()
    )
    assert (found.inside, found.then, kinds(found)) == (False, Then.NO_PLAN, [Kind.NOTHING])
    idle = replace(HERE, enrolled=False)
    waiting = asked(message(codes=("623023101",)), idle)
    assert (waiting.inside, kinds(waiting)) == (False, [Kind.NOT_ENROLLED, Kind.CODE])


def test_of_many_codes_the_first_are_told_and_the_rest_counted() -> None:
    codes = tuple(f"6101{n:02}" for n in range(30))
    found = asked(message(codes=codes))
    assert kinds(found)[-1] is Kind.MORE_CODES
    assert found.because[-1].values == {"count": 22}


@pytest.mark.parametrize(
    ("magnitude", "kind"), [(6.0, Kind.SHAKEN), (4.1, Kind.NOT_SHAKEN), (3.0, Kind.SMALL_QUAKE)]
)
def test_an_earthquake_is_explained_by_the_intensity_that_is_estimated_there(
    magnitude: float, kind: Kind
) -> None:
    shock = Quake(NOW, 33.9, 105.2, magnitude, 10.0, "某地")
    about = alert(hazard="earthquake", areas=(), quake=shock)
    found = asked(about)
    assert kinds(found)[0] is kind
    assert found.inside is (kind is Kind.SHAKEN)


# --- in words ------------------------------------------------------------------------------------------


def answer(**changes: object) -> dict[str, object]:
    return fake.why() | changes


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch):
    with fake.beside(monkeypatch) as found:
        found.answers["GET", "/v1/alerts/A1/why/t-1"] = (200, answer())
        yield found


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_reason_has_words_in_both_languages(kind: Kind, language: str) -> None:
    words.use(language)
    values = {
        "code": "623023101 (mca)", "label": "大川镇", "township": "曲告纳镇", "text": "why", "count": 3,
        "shape": "polygon 1", "area": "area '河谷'", "km": 0.32, "intensity": 5.21, "magnitude": 6.1,
        "threshold": 3.0, "floor": 4.0,
    }  # fmt: skip
    said = because({"kind": kind.value, "values": values})
    assert "{" not in said
    if "320" in said:
        assert ("320 米" if language == "zh" else "320 m") in said
    words.use("en")


def test_the_command_says_in_or_out_why_and_what_was_planned(desk: FakeDesk, capsys) -> None:
    assert run(["why", "t-1", "--alert", "A1"]) == 0
    said = capsys.readouterr().out
    for part in (
        "OUT",
        "1.2 km beyond the edge of circle 1",
        "623023101 (mca) is 曲告纳镇",
        "it was in",
        "moved",
    ):
        assert part in said
    words.use("zh")
    assert run(["why", "t-1", "--alert", "A1"]) == 0
    said = capsys.readouterr().out
    for part in ("不在内", "1.2 公里", "而它在大川镇", "自身位置"):
        assert part in said


def test_as_json_the_reasons_come_as_data_and_as_words(desk: FakeDesk, capsys) -> None:
    import json

    assert run(["why", "t-1", "--alert", "A1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["because"][0]["values"]["km"] == 1.2
    assert said["words"][0].startswith("1.2 km beyond")


def test_an_unknown_terminal_or_alert_is_said(desk: FakeDesk, capsys) -> None:
    assert run(["why", "t-9", "--alert", "A1"]) == 1
    assert "t-9" in capsys.readouterr().err
