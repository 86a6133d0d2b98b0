"""A stop reaches whoever may still sound, also where the broadcast was thought to be over."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from controller.desk import Refused
from controller.store.records import BroadcastState, Outcome
from support.county import BEIJING, CONFIG, LIMIT_S, County, a_county, cap
from terminals.delivery import State, shown

FAST = CONFIG.replace(
    "release:\n",
    "release:\n  - {feed: bureau, hazard: dam_break, action: auto}\n",
)


async def state_of(county: County, broadcast: str, state: BroadcastState) -> None:
    async with asyncio.timeout(LIMIT_S):
        while (await county.store.broadcast(broadcast)).state is not state:
            await asyncio.sleep(0.02)


async def silent(county: County) -> None:
    async with asyncio.timeout(LIMIT_S):
        while any(unit.playing for unit in county.village.units.values()):
            await asyncio.sleep(0.02)


async def test_a_stop_after_everybody_had_heard_it_silences_whoever_came_late(tmp_path: Path) -> None:
    async with a_county(tmp_path) as county:
        village, register = county.village, county.register
        late = min(county.in_township("大川镇"))
        enrolled = register.terminals
        register.terminals = {i: t for i, t in enrolled.items() if i != late}
        register._fleet = None
        village.power_off(late)
        given = await county.give(cap())
        assert given.broadcast is not None
        await state_of(county, given.broadcast, BroadcastState.DONE)
        register.terminals = enrolled
        village._play_s = 3_600.0
        village.power_on(late)
        async with asyncio.timeout(LIMIT_S):
            while not village.units[late].playing:
                await asyncio.sleep(0.02)
        run = county.dispatcher.runs[given.broadcast]
        assert run.row.state is BroadcastState.SENDING
        assert await county.desk.stop(given.broadcast, "王主任") is None
        await silent(county)
        await state_of(county, given.broadcast, BroadcastState.STOPPED)
        await county.ended(given.broadcast)
        assert shown(run.facts[late]).state is State.CANCELLED
        assert isinstance(await county.desk.stop(given.broadcast, "王主任"), Refused)


async def test_a_stop_silences_the_stand_in_that_sounds_where_the_message_has_failed(tmp_path: Path) -> None:
    async with a_county(tmp_path, play_s=3_600.0) as county:
        village = county.village
        here = county.in_township("大川镇")
        for i in here:  # nothing that the controller offers can be played there
            unit = village.units[i]
            unit.identity = replace(unit.identity, codecs=frozenset({"opus"}))
            village.power_off(i)
        village.power_on(*here)
        given = await county.give(cap())
        assert given.broadcast is not None
        await state_of(county, given.broadcast, BroadcastState.DONE)
        async with asyncio.timeout(LIMIT_S):
            while not all(village.units[i].playing for i in here):
                await asyncio.sleep(0.02)
        run = county.dispatcher.runs[given.broadcast]
        assert {shown(facts).state for facts in run.facts.values()} == {State.FAILED}
        assert await county.desk.stop(given.broadcast, "王主任") is None
        await silent(county)
        await county.ended(given.broadcast)
        await state_of(county, given.broadcast, BroadcastState.STOPPED)
        assert {shown(facts).state for facts in run.facts.values()} == {State.CANCELLED}


async def test_what_counts_in_seconds_does_not_wait_for_a_cancel_that_is_carried_out(tmp_path: Path) -> None:
    """A cancel waits up to 3 s for terminals to say whether they had sounded; a dam does not."""
    async with a_county(tmp_path, config=FAST, play_s=3_600.0) as county:
        given = await county.give(cap())
        assert given.broadcast is not None
        async with asyncio.timeout(LIMIT_S):
            while not county.village.heard(given.broadcast):
                await asyncio.sleep(0.02)
        settling, go_on = asyncio.Event(), asyncio.Event()

        async def settle(broadcasts: object) -> None:
            settling.set()
            await go_on.wait()

        county.desk._settle = settle  # type: ignore[method-assign]
        sent = datetime.now(BEIJING).replace(microsecond=0)
        reference = f"zhouqu.weather,62302341600000_20261122120000,{sent.isoformat()}"
        cancel = cap(
            identifier="62302341600000_20261122123000", msg_type="Cancel", references=reference, sent=sent
        )
        carried_out = asyncio.create_task(county.give(cancel), name="cancel")
        async with asyncio.timeout(LIMIT_S / 3):
            await settling.wait()
            dam = await county.give(
                cap(identifier="62302341600000_20261122123001", event="溃坝", colour="红色")
            )
        assert dam.outcome is Outcome.RELEASED
        assert not carried_out.done()
        go_on.set()
        assert (await carried_out).outcome is Outcome.RELEASED
