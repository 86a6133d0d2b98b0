"""Who comes while a warning is still valid hears it at once, planned or not; nobody hears what is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.clock import wall_ms
from support.county import ME, County, a_county, cap
from support.village import Unit
from terminals.delivery import Tried
from terminals.model import Terminal
from terminals.seal import SOUNDING, report_key

LIMIT_S = 20
"""Less than the silence after which somebody who is away is asked again by itself (30 s)."""
NEW = "sim-09999"


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path) as made:
        await until(lambda: len(made.dispatcher.online) >= len(made.village.units))
        yield made


async def until(true: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not true():
            await asyncio.sleep(0.01)


async def newcomer(county: County) -> None:
    """Enrolled today, in a village of 大川镇, and switched on."""
    beside = county.register.terminals[min(county.in_township("大川镇"))]
    await county.store.register([Terminal(NEW, "新喇叭", beside.village)], ME, wall_ms())
    await county.store.set_codes([(NEW, "x")], wall_ms() + 10_000_000, ME, wall_ms())
    await county.store.enrol(NEW, "x", ME, wall_ms())
    await county.register.load()
    keys = county.keys
    known = county.village.units[beside.id].identity
    county.village.units[NEW] = Unit(replace(known, id=NEW, report_key=report_key(keys.secret, NEW)))
    assert known.roles == SOUNDING
    county.village.power_on(NEW)


async def given(county: County) -> str:
    taken = await county.give(cap())
    assert taken.broadcast is not None
    await until(lambda: taken.broadcast in county.dispatcher.runs)
    return taken.broadcast


async def test_a_loudspeaker_that_is_enrolled_during_a_warning_hears_it_and_is_counted(
    county: County,
) -> None:
    broadcast = await given(county)
    everybody = county.in_township("大川镇")
    assert await county.ended(broadcast) == everybody
    await newcomer(county)
    await until(lambda: NEW in county.village.heard(broadcast))
    assert await county.ended(broadcast) == everybody | {NEW}
    planned, _ = await county.store.deliveries(broadcast)
    assert set(planned) == everybody | {NEW}


async def test_who_was_away_for_long_hears_it_at_once_when_it_says_hello(county: County) -> None:
    away = min(county.in_township("大川镇"))
    county.village.power_off(away)
    broadcast = await given(county)
    run = county.dispatcher.runs[broadcast]
    await until(lambda: run.facts.keys() - {away} == run.settled)
    # So often in vain that it would not be asked again by itself before 30 s are over.
    run.tried[away] = Tried(1, sent=county.dispatcher.now(), unanswered=12)
    run.schedule(away, county.dispatcher.now() + 30_000)
    county.village.power_on(away)
    await until(lambda: away in county.village.heard(broadcast))
    assert await county.ended(broadcast) == county.in_township("大川镇")


async def test_a_newcomer_hears_nothing_that_was_stopped_or_is_for_others(county: County) -> None:
    stopped = await given(county)
    await county.ended(stopped)
    await county.dispatcher.stop(stopped, ME)
    other = await county.give(
        cap(identifier="62302341600000_20261122120001", codes=("623023100000",), colour="红色")
    )
    assert other.broadcast is not None
    assert not await county.ended(other.broadcast) & county.in_township("大川镇")
    await newcomer(county)
    await until(lambda: NEW in county.dispatcher.online)
    now = await county.give(cap(identifier="62302341600000_20261122120002", event="泥石流", colour="红色"))
    assert now.broadcast is not None
    assert NEW in await county.ended(now.broadcast)
    assert NEW not in county.village.heard(stopped) | county.village.heard(other.broadcast)
