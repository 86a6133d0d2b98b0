"""A sound that no voice says right: it waits where the operator sees it, never longer than its clock; what is
red never waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controller.desk import Refused
from controller.store import Store
from controller.store.records import BroadcastRow, BroadcastState
from support.county import LIMIT_S, County, Mouth, a_county, cap
from terminals.broadcast import Part
from tts.verdict import Hold, TakeFlagged

WHY = "not heard: 五十"


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path) as made:
        yield made


async def waiting(county: County) -> BroadcastRow:
    async with asyncio.timeout(LIMIT_S):
        while not (found := await county.desk.outgoing.doubted()):
            await asyncio.sleep(0.01)
    return found[0][0]


async def test_it_waits_in_sight_until_an_operator_airs_it(county: County) -> None:
    county.mouth.doubt = Hold(WHY, 5)
    taken = await county.give(cap())
    row = await waiting(county)
    assert row.broadcast.id == taken.broadcast
    assert (row.doubt, row.state) == (WHY, BroadcastState.VOICING)
    assert row.airs is not None
    assert not county.heard_anything
    assert await county.desk.air(row.broadcast.id, "operator:王主任") is None
    assert await county.ended(row.broadcast.id)
    stored = await county.store.broadcast(row.broadcast.id)
    assert (stored.aired_by, stored.doubt) == ("operator:王主任", WHY)
    done = [entry.what for entry in await county.store.audit(50, row.broadcast.id)]
    assert {"broadcast.waits", "broadcast.air"} <= set(done)
    assert isinstance(await county.desk.air(row.broadcast.id, "operator:李四"), Refused)


async def test_when_nobody_answers_it_is_aired_with_its_flag(county: County) -> None:
    county.mouth.doubt = Hold(WHY, 0)
    taken = await county.give(cap())
    assert taken.broadcast is not None
    assert await county.ended(taken.broadcast)
    stored = await county.store.broadcast(taken.broadcast)
    assert (stored.doubt, stored.aired_by) == (WHY, None)


async def test_what_is_stopped_while_it_waits_never_sounds(county: County) -> None:
    county.mouth.doubt = Hold(WHY, 5)
    await county.give(cap())
    row = await waiting(county)
    assert await county.desk.stop(row.broadcast.id, "operator:王主任") is None
    await county.ended(row.broadcast.id)
    assert not county.heard_anything
    assert await county.desk.outgoing.doubted() == []


async def test_a_flagged_sound_does_not_wait_and_what_is_found_later_is_kept(county: County) -> None:
    county.mouth.doubt = TakeFlagged("too quiet")
    taken = await county.give(cap(colour="红色"))
    assert taken.broadcast is not None
    assert await county.ended(taken.broadcast)
    stored = await county.store.broadcast(taken.broadcast)
    assert (stored.doubt, stored.airs) == ("too quiet", None)
    assert county.mouth.doubted is not None
    await county.mouth.doubted(TakeFlagged(WHY))
    assert (await county.store.broadcast(taken.broadcast)).doubt == WHY


async def test_a_lead_that_waits_is_not_needed_once_its_whole_has_gone_out(
    county: County, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.outgoing.LOOK_S", 0.05)
    county.mouth.knows = False
    county.mouth.doubt = Hold(WHY, 5)
    taken = await county.give(cap())
    async with asyncio.timeout(LIMIT_S):
        while len(found := await county.desk.outgoing.doubted()) < 2:
            await asyncio.sleep(0.01)
    lead, whole = sorted((row for row, _ in found), key=lambda row: row.broadcast.part is Part.WHOLE)
    assert whole.broadcast.id == taken.broadcast
    await county.desk.air(whole.broadcast.id, "operator:王主任")
    await county.ended(whole.broadcast.id)
    async with asyncio.timeout(LIMIT_S):
        while (await county.store.broadcast(lead.broadcast.id)).state is BroadcastState.VOICING:
            await asyncio.sleep(0.01)
    assert (await county.store.broadcast(lead.broadcast.id)).state is BroadcastState.SUPERSEDED
    assert not county.village.heard(lead.broadcast.id)


class Doubting(Mouth):
    def __init__(self) -> None:
        super().__init__()
        self.doubt = Hold(WHY, 9)


async def test_a_controller_killed_in_the_hold_goes_on_with_the_same_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_county(tmp_path) as county:
        county.mouth.doubt = Hold(WHY, 5)
        taken = await county.give(cap())
        before = await waiting(county)
    store = await Store.open(tmp_path / "fenghuo.db")
    row = await store.broadcast(before.broadcast.id)
    assert (row.state, row.airs) == (BroadcastState.VOICING, before.airs)
    entry_before = len(await store.audit(50, row.broadcast.id))
    await store.close()
    monkeypatch.setattr("support.county.Mouth", Doubting)
    async with a_county(tmp_path) as county:
        async with asyncio.timeout(LIMIT_S):
            while not county.mouth.said:
                await asyncio.sleep(0.01)
        assert (await waiting(county)).airs == before.airs
        assert len(await county.store.audit(50, row.broadcast.id)) == entry_before
        assert not county.heard_anything
        await county.desk.air(before.broadcast.id, "operator:王主任")
        assert taken.broadcast is not None
        async with asyncio.timeout(LIMIT_S):
            while (await county.store.broadcast(taken.broadcast)).state is BroadcastState.VOICING:
                await asyncio.sleep(0.01)
