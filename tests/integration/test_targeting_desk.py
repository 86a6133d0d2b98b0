"""A warning's shapes from a feed's bytes to the loudspeakers: who sounds, what is held, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from alerts import intensity
from alerts.area import cut
from alerts.formats import Reading
from alerts.model import Area, CodeScheme, Polygon
from controller.compose import compose_alert
from controller.desk import Refused, Released
from controller.events import decode_alert, decode_plan
from controller.store.records import AlertState, Outcome
from controller.web.models import Compose
from controller.why import Kind as Because
from controller.why import why
from support.county import County, a_county, cap
from terminals.broadcast import Kind
from terminals.model import Terminal

ALL_OVER = "33.2,103.5 33.2,105 34.3,105 34.3,103.5 33.2,103.5"
# Round the seat of 大川镇 (GeoNames), 0.1° wide.
DACHUAN = "33.66,104.38 33.66,104.49 33.77,104.49 33.77,104.38 33.66,104.38"


@pytest.fixture
async def county(tmp_path: Path):
    async with a_county(tmp_path) as found:
        yield found


def shaped(polygon: str, **fields: object) -> bytes:
    document = cap(**fields).decode()  # type: ignore[arg-type]
    return document.replace(
        "<areaDesc>舟曲县</areaDesc>", f"<areaDesc>x</areaDesc><polygon>{polygon}</polygon>"
    ).encode()


def ring(text: str) -> Polygon:
    return Polygon(tuple((float(a), float(b)) for a, b in (pair.split(",") for pair in text.split())))


async def test_a_polygon_sounds_where_the_loudspeakers_stand_in_it_and_nowhere_else(county: County) -> None:
    expected = cut([Area("x", polygons=(ring(DACHUAN),))], county.register.county).village_keys
    assert 0 < len(expected) < 60
    taken = await county.give(shaped(DACHUAN, codes=()))
    assert taken.outcome is Outcome.RELEASED, taken.reason
    assert taken.broadcast is not None
    heard = await county.ended(taken.broadcast)
    assert {county.register.terminals[t].village for t in heard} == expected
    plan = decode_plan(await county.store.alert(taken.alert or ""))
    assert set(dict(plan.ways)) == expected
    assert any("polygon 1" in line for line in plan.why)


async def test_a_polygon_that_crosses_itself_is_held_with_the_reason(county: County) -> None:
    taken = await county.give(shaped("33.6,104.3 33.8,104.5 33.8,104.3 33.6,104.5 33.6,104.3", codes=()))
    assert taken.outcome is Outcome.HELD
    assert "crosses itself" in taken.reason
    assert not county.heard_anything


async def test_a_debris_flow_for_the_whole_county_is_held_and_a_rainstorm_is_not(county: County) -> None:
    flow = await county.give(cap(identifier="F", event="泥石流", codes=("623023000000",)))
    assert flow.outcome is Outcome.HELD
    assert "(100%)" in flow.reason
    assert "limit 50%" in flow.reason
    rain = await county.give(cap(identifier="R", codes=("623023000000",)))
    assert rain.outcome is Outcome.RELEASED


async def test_an_operators_slip_of_a_nought_is_refused_until_it_is_said_to_be_meant(county: County) -> None:
    home, issuer = county.register.county, county.config.issuer
    now = datetime.now(UTC)

    def drawn(km: float) -> Compose:
        return Compose(hazard="rainstorm", circles=[{"lat": 33.72, "lon": 104.44, "km": km}])  # type: ignore[list-item]

    slip = compose_alert(drawn(100), Kind.EXERCISE, home, issuer, now)
    refused = await county.desk.send(slip, Kind.EXERCISE, "李值班")
    assert isinstance(refused, Refused)
    assert any("unusually many for a drawn area" in reason for reason in refused.reasons)
    again = compose_alert(drawn(100), Kind.EXERCISE, home, issuer, now)
    assert isinstance(await county.desk.send(again, Kind.EXERCISE, "李值班", meant=True), Released)
    right = compose_alert(drawn(5), Kind.EXERCISE, home, issuer, now)
    assert isinstance(await county.desk.send(right, Kind.EXERCISE, "李值班"), Released)
    elsewhere = compose_alert(
        Compose(hazard="rainstorm", circles=[{"lat": 31.2, "lon": 121.5, "km": 5}]),  # type: ignore[list-item]
        Kind.EXERCISE, home, issuer, now,
    )  # fmt: skip
    assert isinstance(await county.desk.send(elsewhere, Kind.EXERCISE, "李值班"), Refused)


async def test_a_feed_that_narrows_is_cut_and_explained_so_also_later(county: County) -> None:
    async def done(*_: object) -> None: ...

    from alerts.feed import Document

    body = shaped(DACHUAN, codes=("623023000000",))
    document = Document("bureau", "n.xml", body, datetime.now(UTC), done)
    taken = await county.intake.accept(document, Reading(CodeScheme.MCA, shapes_narrow=True))
    row = await county.store.alert(taken.alert or "")
    plan = decode_plan(row)
    assert plan.narrow
    assert 0 < len(plan.villages) < 60
    out = next(t for t in county.register.terminals.values() if t.village not in plan.villages)
    found = why(
        decode_alert(row),
        plan,
        out,
        county=county.register.county,
        fleet=county.register.fleet,
        now=datetime.now(UTC),
        quake=intensity.Policy(),
    )
    assert found.because[0].kind is Because.NARROWED
    assert found.because[1].kind is Because.OUTSIDE


async def test_what_lies_elsewhere_is_closed_and_still_explained(county: County) -> None:
    taken = await county.give(shaped("30,120 31,120 31,121 30,121 30,120", codes=()))
    assert taken.outcome is Outcome.IGNORED
    row = await county.store.alert(taken.alert or "")
    assert row.state is AlertState.CLOSED
    one = next(iter(county.register.terminals.values()))
    found = why(
        decode_alert(row),
        decode_plan(row),
        one,
        county=county.register.county,
        fleet=county.register.fleet,
        now=datetime.now(UTC),
        quake=intensity.Policy(),
    )
    assert (found.inside, found.because[0].kind) == (False, Because.OUTSIDE)
    assert float(found.because[0].values["km"]) > 1_000


async def test_the_fleet_follows_the_register(county: County) -> None:
    before = county.register.fleet
    assert county.register.fleet is before
    village = county.register.county.villages[0].key
    await county.register.add([Terminal("sim-99999", "", village, 33.78, 104.36)], "李四")
    assert county.register.fleet is not before
    assert village in county.register.fleet.positions
