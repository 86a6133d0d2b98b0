"""Held sets: who is offered which, who holds what, and what a restart and a full house leave of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from alerts.model import Colour
from controller import staging as module
from controller.ahead import Ahead
from controller.clock import wall_ms
from controller.events import decode_plan
from controller.planning import likely
from controller.staging import EVENT, FLOOR, Staging, StagingError, named
from controller.store import StoreError, Unknown
from controller.store.records import StagedRow
from support.county import LIMIT_S, County, a_county, cap
from terminals import wire
from terminals.broadcast import Kind, Part
from terminals.seal import KeyRole
from terminals.transport import ToGroup, ToTerminal
from tts import floor
from tts.library import ClipRecord
from tts.script import ScriptRequest


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path) as made:
        yield made


def clip(n: int, name: str = "event/x/red/first") -> wire.StagedClip:
    return named(name, ClipRecord(f"{n:064x}", 1_000, 4.0, -16.0, -3.0, "mp3", "zh", "v", True, "x"))


def the_floor() -> list[wire.StagedClip]:
    return [named(entry.name, entry.record) for entry in floor.manifest()]


async def until_whole(county: County, set_id: str) -> None:
    async with asyncio.timeout(LIMIT_S):
        while county.staging.cover(set_id)[0].whole < len(county.village.units):
            await asyncio.sleep(0.05)


async def restarted(county: County) -> Staging:
    """What the next process would know."""
    again = Staging(
        county.store,
        county.village,
        county.keys.signers[KeyRole.SERVICE],
        county.dispatcher.now,
        county.alarms.append,
        county.config.staging,
        county.register.terminals.values,
        county.register.county,
    )
    await again.load()
    return again


async def test_a_set_is_offered_to_its_group_once_and_everybody_says_that_it_holds_it(county: County) -> None:
    held = await county.staging.place(FLOOR, the_floor())
    await until_whole(county, held.id)
    total, townships = county.staging.cover(held.id)
    assert (total.whole, total.silent, total.part) == (len(county.village.units), 0, 0)
    assert sum(row.terminals for row in townships) == total.terminals
    offers = [a for a, e in county.village.sent if b'"stage"' in e]
    assert [a for a in offers if isinstance(a, ToGroup)] == [ToGroup("all")]
    assert (
        county.staging.held(Kind.ACTUAL, "rainstorm")[0].sha256
        == floor.generic("actual", "first", "rainstorm")[1].sha256
    )


async def test_who_was_away_is_offered_it_at_its_hello_and_nobody_else_again(county: County) -> None:
    away = next(iter(county.village.units))
    county.village.power_off(away)
    held = await county.staging.place(FLOOR, the_floor())
    county.village.power_on(away)
    await until_whole(county, held.id)
    offered = [a for a, e in county.village.sent if b'"stage"' in e and isinstance(a, ToTerminal)]
    assert ToTerminal(away) in offered


async def test_the_same_set_again_is_not_offered_again_and_a_new_one_takes_its_place(county: County) -> None:
    first = await county.staging.place(FLOOR, the_floor())
    count = len(county.village.sent)
    assert await county.staging.place(FLOOR, the_floor()) is first
    assert len(county.village.sent) == count
    second = await county.staging.place(FLOOR, the_floor()[:-1])
    assert second.id != first.id
    assert [s.id for s in county.staging.sets()] == [second.id]


async def test_sets_and_who_holds_them_survive_a_restart(county: County) -> None:
    held = await county.staging.place(FLOOR, the_floor())
    await until_whole(county, held.id)
    async with asyncio.timeout(LIMIT_S):
        while sum(w.held >= w.wanted > 0 for w in (await county.store.sets())[1]) < len(county.village.units):
            await asyncio.sleep(0.1)
    again = await restarted(county)
    assert [s.id for s in again.sets()] == [held.id]
    assert again.cover(held.id)[0].whole == len(county.village.units)
    assert again.body(held.id) == held.row.manifest


async def test_a_problem_is_counted_by_its_word_and_a_dropped_set_is_offered_to_nobody(
    county: County,
) -> None:
    held = await county.staging.place(FLOOR, the_floor(), ("nobody-there",))
    assert county.staging.cover(held.id)[0].terminals == 0
    held = await county.staging.place(FLOOR, the_floor()[:-1])
    terminal = next(iter(county.village.units))
    county.staging.heard(
        wire.Staged(terminal, "boot1", 1, held.id, 30, 3, "fetch 404"), county.dispatcher.now()
    )
    assert county.staging.cover(held.id)[0].problems.get("fetch") in (1, None)
    word = county.staging.word_of(held.id, terminal)
    assert word is not None
    await county.staging.drop(held.id, "王主任")
    assert county.staging.sets() == []
    with pytest.raises(Unknown, match="stage list"):
        county.staging.body(held.id)
    hello = wire.Hello(terminal, "boot1", 2, "n" * 16, wall_ms())
    assert county.staging.owed(hello, ("all",)) == []


async def test_a_dropped_set_is_forgotten_by_who_is_there_at_once_and_by_who_was_away_at_its_hello(
    county: County,
) -> None:
    held = await county.staging.place(FLOOR, the_floor())
    await until_whole(county, held.id)
    away = next(iter(county.village.units))
    county.village.power_off(away)
    gone = await county.staging.drop(held.id, "王主任")
    async with asyncio.timeout(LIMIT_S):
        while county.staging.still(gone) > 1:
            await asyncio.sleep(0.05)
    assert [(one.id, still) for one, still in county.staging.dropped()] == [(held.id, 1)]
    assert not any(unit.core.sets() for unit in county.village.units.values() if unit.core)
    async with asyncio.timeout(LIMIT_S):
        while [(one.id, still) for one, still in (await restarted(county)).dropped()] != [(held.id, 1)]:
            await asyncio.sleep(0.1)  # a restart remembers it, once what they said is stored
    county.village.power_on(away)
    async with asyncio.timeout(LIMIT_S):
        while county.staging.dropped():
            await asyncio.sleep(0.05)
    assert not any(unit.core is None or unit.core.sets() for unit in county.village.units.values())


async def test_a_set_that_was_replaced_is_withdrawn_only_from_who_holds_what_took_its_place(
    county: County,
) -> None:
    old = await county.staging.place(FLOOR, the_floor())
    new = await county.staging.place(FLOOR, the_floor()[:-1])
    terminal = next(iter(county.village.units))
    for missing, owed in ((3, []), (0, [old.id])):
        hello = wire.Hello(terminal, "boot1", 2, "n" * 16, wall_ms(), sets={old.id: 0, new.id: missing})
        told = county.staging.owed(hello, ("all",))
        assert [i for e in told for i in (old.id, new.id) if i.encode() in e] == owed


async def test_while_the_disk_is_full_only_each_terminals_last_word_waits_and_no_more_than_the_bound(
    county: County, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await county.staging.place(FLOOR, the_floor())
    await until_whole(county, held.id)
    full, stored = True, []

    async def keep(rows: Sequence[StagedRow]) -> None:
        if full:
            raise StoreError("storing who holds what: the disk is full")
        stored.extend(rows)

    monkeypatch.setattr(county.store, "keep_staged", keep)
    monkeypatch.setattr(module, "STORE_EVERY_S", 0.01)
    monkeypatch.setattr(module, "STORE_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "WORDS", 5)
    county.staging._unstored.clear()
    now = county.dispatcher.now()
    for n in range(8):
        for word in (1, 2):
            said = wire.Staged(f"sim-9000{n}", "boot1", word, held.id, 30, word, "")
            county.staging.heard(said, now + word)
            await asyncio.sleep(0.02)
    assert county.staging.lost == 3
    assert len([alarm for alarm in county.alarms if "held sets" in alarm]) == 1
    full = False
    async with asyncio.timeout(LIMIT_S):
        while len({row.terminal for row in stored}) < 5:
            await asyncio.sleep(0.01)
    assert {row.terminal for row in stored} == {f"sim-9000{n}" for n in range(3, 8)}, "the oldest went"
    assert {row.held for row in stored} == {2}, "what it said before does not count any more"


async def test_so_many_sets_of_events_that_a_terminal_would_drop_the_floor_are_refused(
    county: County,
) -> None:
    await county.staging.place(FLOOR, the_floor())
    until = county.dispatcher.now() + 3_600_000
    for n in range(module.MOST_EVENTS):
        await county.staging.place(f"{EVENT}e{n}", [clip(n)], expires=until)
    with pytest.raises(StagingError, match="no more"):
        await county.staging.place(f"{EVENT}one-more", [clip(99)], expires=until)
    assert county.staging.of(FLOOR) is not None


async def test_the_spread_keeps_all_downloads_together_below_the_configured_rate(county: County) -> None:
    held = await county.staging.place(FLOOR, the_floor())
    terminals = len(county.village.units)
    spread_s = county.staging._spread(held) / 1000
    assert (
        held.bytes * terminals * 8 / spread_s <= county.config.staging.megabits * 1e6 * 1.01
        or spread_s == 600
    )


async def test_at_yellow_the_worse_that_may_come_is_made_and_placed_where_the_warning_is(
    county: County,
) -> None:
    asked: list[ScriptRequest] = []

    class Voice:
        name = "v"
        loaded = asyncio.Event()

        async def clip(
            self, request: ScriptRequest, part: Part, *, ahead: bool, profiles: object, patience_s: float
        ) -> ClipRecord:
            asked.append(request)
            assert part is Part.LEAD
            # It waits for everybody, as long as it takes.
            assert ahead
            assert patience_s > 3600
            return ClipRecord(
                f"{len(asked):064x}", 1_000, 4.0, -16.0, -3.0, "mp3", "zh", "v", True, request.hazard
            )

        async def pin(self, clips: object, reason: str, until: float) -> None:
            assert until > wall_ms() / 1000

    given = await county.give(cap(colour="黄色"))
    assert given.alert is not None
    ahead = Ahead(
        county.staging,
        Voice(),  # type: ignore[arg-type]
        county.register,
        county.register.county,
        county.config.staging,
        county.dispatcher.now,
        only=(),
    )
    plan = decode_plan(await county.store.alert(given.alert))
    running = asyncio.create_task(ahead.run())
    ahead.released(plan)
    async with asyncio.timeout(LIMIT_S):
        while county.staging.of(f"{EVENT}{plan.event_key}") is None:
            await asyncio.sleep(0.02)
    held = county.staging.of(f"{EVENT}{plan.event_key}")
    assert held is not None
    assert set(held.row.groups) == set(plan.groups)
    said = {(r.hazard, r.colour) for r in asked}
    assert said == {
        ("rainstorm", Colour.ORANGE),
        ("rainstorm", Colour.RED),
        ("evacuation", Colour.RED),
    }
    members = county.staging.cover(held.id)[0].terminals
    assert 0 < members < len(county.village.units)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_nothing_is_made_ahead_of_blue_of_drills_and_of_hazards_that_are_not_listed(
    county: County,
) -> None:
    given = await county.give(cap(colour="蓝色"))
    assert given.alert is not None
    plan = decode_plan(await county.store.alert(given.alert))
    options = county.config.staging
    assert likely(plan, options.ahead_from, options.hazards) == ()
    assert likely(plan, "blue", options.hazards)
    assert likely(plan, "blue", ("hail",)) == ()
    assert likely(plan, "never", ("*",)) == ()
