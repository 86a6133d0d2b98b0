"""Dispatch against real terminal cores: everybody is told once, everybody's outcome becomes known."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from controller.clock import WireClock, mono_ms, wall_ms
from controller.dispatch import Dispatcher, Run, Signers
from controller.keys import CountyKeys, throw_away
from controller.metrics import Metrics
from controller.store import MOST_LATE, Store
from controller.store.records import AlertRow, AlertState, BroadcastRow, BroadcastState, CommandRow, Entry
from support.village import Village
from terminals import delivery, wire
from terminals.agent import core
from terminals.broadcast import Broadcast, Kind, Lane, Priority, Variant
from terminals.delivery import FactKey, FactValue, State
from terminals.seal import SOUNDING, KeyRole, report_key, seal_report
from terminals.transport import ToGroup, ToTerminal

ME = Entry("王主任", "test", "it")
LIMIT_S = 60.0
"""Bounds a hang; nothing here waits for it."""


@dataclass
class World:
    store: Store
    keys: CountyKeys
    village: Village
    dispatcher: Dispatcher
    alarms: list[str]

    async def send(self, broadcast: str = "B1", terminals: tuple[str, ...] = (), **changes: object) -> Run:
        row = a_broadcast(broadcast, terminals or tuple(sorted(self.village.units)))
        row = replace(row, broadcast=replace(row.broadcast, **changes))  # type: ignore[arg-type]
        await self.store.take(an_alert(f"A-{broadcast}"), [row], ME, wall_ms())
        return await self.dispatcher.start(replace(row, state=BroadcastState.SENDING))

    async def until(self, run: Run, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not done():
                async with run.changed:
                    try:
                        await asyncio.wait_for(run.changed.wait(), 0.1)
                    except TimeoutError:
                        continue

    async def settled(self, run: Run) -> dict[str, State]:
        await self.until(run, lambda: run.row.done is not None and len(run.settled) == len(run.facts))
        await self.store.set_meta("barrier", "passed")  # one writer: what was written before is there
        return self.states(run)

    @staticmethod
    def states(run: Run) -> dict[str, State]:
        return {t: delivery.shown(facts).state for t, facts in run.facts.items()}


def an_alert(alert_id: str) -> AlertRow:
    return AlertRow(
        id=alert_id,
        source="operator:王主任",
        kind="actual",
        identifier=alert_id,
        event_key=alert_id,
        msg_type="Alert",
        hazard="rainstorm",
        colour="orange",
        headline="暴雨橙色预警",
        expires=wall_ms() + 600_000,
        state=AlertState.RELEASED,
        reason="",
        created=wall_ms(),
        plan=b"{}",
        message=b"{}",
        known=b"{}",
    )


def a_broadcast(broadcast: str, terminals: tuple[str, ...]) -> BroadcastRow:
    return BroadcastRow(
        BroadcastState.VOICING,
        wall_ms(),
        Broadcast(
            id=broadcast,
            alert_id=f"A-{broadcast}",
            event_key="e",
            kind=Kind.ACTUAL,
            priority=Priority.of(Kind.ACTUAL, Lane.NORMAL, 2, 4),
            terminals=terminals,
            groups=("all",),
            variants=(Variant("zh", "mp3", "ab" * 32, 1000, 0.01),),
            repeats=1,
            volume=100,
            expires_ms=wall_ms() + 600_000,
        ),
        b"{}",
    )


@asynccontextmanager
async def a_world(path: Path, village: Village, keys: CountyKeys, *, ahead: int = 0) -> AsyncIterator[World]:
    """`ahead`: ms that the latest time it has signed is ahead of this machine's."""
    store = await Store.open(path / "fenghuo.db")
    alarms: list[str] = []
    roles = {Kind(r.value): s for r, s in keys.signers.items() if r in SOUNDING}
    clock, _ = WireClock.start(wall_ms(), mono_ms(), wall_ms() + ahead)
    dispatcher = Dispatcher(
        store,
        village,
        Signers(roles, keys.signers[KeyRole.SERVICE]),
        lambda t: report_key(keys.secret, t) if t in village.units else None,
        lambda t: ("all",) if t in village.units else None,
        "http://127.0.0.1:1",
        clock,
        Metrics(),
        alarms.append,
    )

    async def changed(_: bool) -> None: ...

    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(village.run(dispatcher.upward, changed), name="village"),
            tasks.create_task(dispatcher.run(), name="dispatch"),
        ]
        await asyncio.sleep(0)
        yield World(store, keys, village, dispatcher, alarms)
        for task in running:
            task.cancel()
    await store.close()


KEYS = throw_away()
IDS = [f"sim-{n:05d}" for n in range(40)]


def a_village(ids: list[str] = IDS, **changes: object) -> Village:
    return Village(ids, KEYS.ring, KEYS.secret, **changes)  # type: ignore[arg-type]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path, a_village(), KEYS) as made:
        made.village.power_on()
        yield made


async def test_one_publish_reaches_every_terminal_and_every_receipt_comes_back(world: World) -> None:
    run = await world.send()
    assert set((await world.settled(run)).values()) == {State.PLAYED}
    plays = [address for address, envelope in world.village.sent if b'"play"' in envelope]
    assert plays.count(ToGroup("all")) == 1  # single terminals may have said hello just after it
    _, facts = await world.store.deliveries("B1")
    played = {f.terminal for f in facts if f.key[1] is State.PLAYED}
    assert played == set(IDS)


async def test_nothing_sounds_twice_and_nothing_is_lost_on_a_bad_link(tmp_path: Path) -> None:
    async with a_world(tmp_path, a_village(IDS[:12]), KEYS) as world:
        world.village.power_on()
        async with asyncio.timeout(LIMIT_S):
            while len(world.dispatcher.online) < 12:
                await asyncio.sleep(0.02)
        world.village.lose_up = world.village.lose_down = 0.3
        run = await world.send()
        assert set((await world.settled(run)).values()) == {State.PLAYED}
        assert all(unit.sounded == ["B1"] for unit in world.village.units.values())


async def test_a_terminal_that_comes_back_while_it_is_valid_still_hears_it(world: World) -> None:
    world.village.power_off("sim-00003")
    run = await world.send()
    await world.until(run, lambda: len(run.settled) == len(IDS) - 1)
    assert world.states(run)["sim-00003"] is State.SENT
    world.village.power_on("sim-00003")
    assert (await world.settled(run))["sim-00003"] is State.PLAYED


async def test_who_comes_back_after_the_end_is_asked_once_and_given_up(world: World) -> None:
    """It knows nothing of it. Question and answer used to chase each other until a minute after the end."""
    late = "sim-00003"
    world.village.power_off(late)
    run = await world.send(expires_ms=wall_ms() + 2_000)
    await world.until(run, lambda: len(run.settled) >= len(IDS) - 1 and wall_ms() > run.ends_ms)
    world.village.power_on(late)
    assert (await world.settled(run))[late] is State.EXPIRED
    asked = [address for address, envelope in world.village.sent if b'"query"' in envelope]
    assert asked.count(ToTerminal(late)) <= 30  # while it was off


async def test_who_played_and_was_cut_off_is_believed_when_it_returns_after_the_end(tmp_path: Path) -> None:
    """Any `played` wins, however late: or an operator sends somebody to a village that has heard it."""
    late = "sim-00003"
    async with a_world(tmp_path, a_village(), KEYS) as world:
        world.village.power_on()
        world.village.power_off(late)
        run = await world.send()
        await world.until(run, lambda: len(run.settled) == len(IDS) - 1)
        await world.store.set_meta("barrier", "passed")
    async with a_world(tmp_path, a_village(), KEYS) as world:  # nobody follows it any more

        def report(broadcast: str, *facts: wire.Fact) -> None:
            said = wire.Report(late, broadcast, "boot1", 0, facts)
            world.dispatcher.upward(late, seal_report(said, late, report_key(KEYS.secret, late)))

        async def stored() -> dict[FactKey, FactValue]:
            _, facts = await world.store.deliveries("B1")
            return {f.key: f.value for f in facts if f.terminal == late}

        assert delivery.shown(await stored()).state is State.SENT
        at = wall_ms()
        report("B1", *(wire.Fact(n, state, at) for n, state in ((1, "played"), (7, "failed"), (1, "jumped"))))
        report("B2", wire.Fact(1, "played", at))
        for n in range(MOST_LATE):
            report("B1", wire.Fact(1, "failed", at, f"reason-{n}"))
        report("B1", wire.Fact(1, "ready", at))  # one more than is taken
        async with asyncio.timeout(LIMIT_S):
            while len(await stored()) < MOST_LATE:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        known = await stored()
        assert delivery.shown(known).state is State.PLAYED
        assert len(known) == MOST_LATE
        assert {attempt for attempt, _, _ in known} == {1}
        assert (await world.store.deliveries("B2"))[1] == []


async def test_a_terminal_that_returns_after_a_stop_never_plays_it(world: World) -> None:
    world.village.power_off("sim-00003")
    run = await world.send()
    await world.until(run, lambda: len(run.settled) == len(IDS) - 1)
    await world.dispatcher.stop("B1", ME)
    world.village.power_on("sim-00003")
    states = await world.settled(run)
    assert states["sim-00003"] is State.CANCELLED
    assert "sim-00003" not in world.village.heard("B1")


async def test_a_stop_silences_what_plays_and_every_terminal_acknowledges_it(tmp_path: Path) -> None:
    async with a_world(tmp_path, a_village(play_s=3_600.0), KEYS) as world:
        world.village.power_on()
        run = await world.send()
        await world.until(run, lambda: set(world.states(run).values()) == {State.PLAYING})
        await world.dispatcher.stop("B1", ME)
        assert set((await world.settled(run)).values()) == {State.CANCELLED}
        assert not any(unit.playing for unit in world.village.units.values())
        assert (await world.store.broadcast("B1")).state is BroadcastState.STOPPED


async def test_a_stop_is_repeated_until_a_bad_link_lets_it_through(tmp_path: Path) -> None:
    async with a_world(tmp_path, a_village(IDS[:12], play_s=3_600.0), KEYS) as world:
        world.village.power_on()
        run = await world.send()
        await world.until(run, lambda: set(world.states(run).values()) == {State.PLAYING})
        world.village.lose_down = 0.4
        await world.dispatcher.stop("B1", ME)
        assert set((await world.settled(run)).values()) == {State.CANCELLED}


async def test_a_dead_amplifier_is_named_and_not_tried_again(world: World) -> None:
    world.village.units["sim-00007"].breaks = "amplifier"
    run = await world.send()
    states = await world.settled(run)
    assert states["sim-00007"] is State.FAILED
    assert delivery.shown(run.facts["sim-00007"]).reason == "amplifier"
    assert run.tried["sim-00007"].attempt == 1


async def test_a_failed_download_gets_another_attempt_with_its_own_counter(world: World) -> None:
    unit = world.village.units["sim-00007"]
    unit.breaks = "fetch"
    run = await world.send()
    await world.until(run, lambda: run.tried["sim-00007"].attempt == 2)
    unit.breaks = ""
    assert (await world.settled(run))["sim-00007"] is State.PLAYED
    counters = [c.counter for c in await world.store.commands("B1")]
    assert len(counters) == len(set(counters)) >= 2


async def test_a_terminal_of_another_county_refuses_and_says_why(tmp_path: Path) -> None:
    village = a_village()
    stranger = village.units["sim-00005"]
    stranger.identity = replace(stranger.identity, ring=throw_away().ring)
    async with a_world(tmp_path, village, KEYS) as world:
        village.power_on()
        run = await world.send()
        assert (await world.settled(run))["sim-00005"] is State.REFUSED
        assert delivery.shown(run.facts["sim-00005"]).reason == "unknown-key"
        assert stranger.sounded == []


async def test_an_unreachable_broker_delays_and_loses_nothing(world: World) -> None:
    world.village.reachable = False
    run = await world.send()
    await asyncio.sleep(0.3)
    assert not any(unit.sounded for unit in world.village.units.values())
    world.village.reachable = True
    assert set((await world.settled(run)).values()) == {State.PLAYED}


async def test_what_was_stopped_before_the_broker_came_back_is_never_called_sent(world: World) -> None:
    world.village.reachable = False
    run = await world.send()
    await world.until(run, lambda: bool(run.first))
    await world.dispatcher.stop("B1", ME)
    assert set((await world.settled(run)).values()) == {State.CANCELLED}
    world.village.reachable = True
    await asyncio.sleep(0.3)
    assert not any(unit.sounded for unit in world.village.units.values())
    assert not any(key[1] is State.SENT for facts in run.facts.values() for key in facts)


async def test_a_restarted_controller_goes_on_where_it_was_and_nothing_sounds_again(tmp_path: Path) -> None:
    village = a_village()
    async with a_world(tmp_path, village, KEYS) as world:
        village.power_on()
        village.power_off("sim-00001", "sim-00002")
        run = await world.send()
        await world.until(run, lambda: len(run.settled) == len(IDS) - 2)
    async with a_world(tmp_path, village, KEYS) as world:
        run = await world.dispatcher.resume(await world.store.broadcast("B1"))
        village.power_on("sim-00001", "sim-00002")
        assert set((await world.settled(run)).values()) == {State.PLAYED}
    assert all(unit.sounded == ["B1"] for unit in village.units.values())


async def test_an_attempt_that_the_killed_controller_could_not_write_down_is_believed(world: World) -> None:
    """Its disk was full. A refusal proves nothing: anybody can send a forgery to be refused."""
    late = "sim-00003"
    world.village.power_off(late)
    run = await world.send()
    await world.until(run, lambda: len(run.settled) == len(IDS) - 1)

    def report(*facts: tuple[int, State]) -> None:
        told = tuple(wire.Fact(attempt, state, wall_ms()) for attempt, state in facts)
        said = wire.Report(late, "B1", "boot1", 0, told)
        world.dispatcher.upward(late, seal_report(said, late, report_key(KEYS.secret, late)))

    report((1, State.FAILED), (2, State.REFUSED), (9, State.PLAYED))
    await world.until(run, lambda: world.states(run)[late] is State.FAILED)
    assert {attempt for attempt, _, _ in run.facts[late]} == {1}
    report((2, State.ACCEPTED), (2, State.PLAYED))
    assert (await world.settled(run))[late] is State.PLAYED
    assert run.tried[late].attempt == 2


async def test_killed_after_the_commit_and_before_the_publish_it_is_published_after_the_restart(
    tmp_path: Path,
) -> None:
    village = a_village()
    async with a_world(tmp_path, village, KEYS) as world:
        village.power_on()
        village.reachable = False
        run = await world.send()
        await world.until(run, lambda: bool(run.first))
        [command] = await world.store.commands("B1")
        assert command.published is None
    village.reachable = True
    async with a_world(tmp_path, village, KEYS) as world:
        run = await world.dispatcher.resume(await world.store.broadcast("B1"))
        assert set((await world.settled(run)).values()) == {State.PLAYED}
        assert [c.counter for c in await world.store.commands("B1")] == [command.counter]


async def test_an_update_replaces_the_broadcast_before_it(tmp_path: Path) -> None:
    async with a_world(tmp_path, a_village(play_s=3_600.0), KEYS) as world:
        world.village.power_on()
        first = await world.send("B1")
        await world.until(first, lambda: set(world.states(first).values()) == {State.PLAYING})
        second = await world.send("B2", replaces=("B1",))
        await world.until(second, lambda: set(world.states(second).values()) == {State.PLAYING})
        assert set((await world.settled(first)).values()) == {State.CANCELLED}
        assert all(list(unit.playing) == ["B2"] for unit in world.village.units.values())


async def test_a_list_of_single_terminals_reaches_only_them(world: World) -> None:
    run = await world.send(terminals=("sim-00001", "sim-00009"), groups=())
    assert set((await world.settled(run)).values()) == {State.PLAYED}
    assert world.village.heard("B1") == {"sim-00001", "sim-00009"}


def dies_after_one(world: World, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """From the next command on, the store takes one, and the process gets no further: that is told."""
    real, taken, dead = world.store.commit_command, [0], asyncio.Event()

    async def commit(*args: Any, **more: Any) -> CommandRow:
        if taken[0]:
            dead.set()
            await asyncio.Event().wait()
        taken[0] += 1
        return await real(*args, **more)

    monkeypatch.setattr(world.store, "commit_command", commit)
    return dead


async def test_killed_between_two_parts_of_a_long_list_the_restart_leaves_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_TARGETS_BYTES", 120)  # ten to a part
    village = a_village()
    async with a_world(tmp_path, village, KEYS) as world:
        village.power_on()
        dead = dies_after_one(world, monkeypatch)
        await world.send(groups=())
        async with asyncio.timeout(LIMIT_S):
            await dead.wait()
        [part] = await world.store.commands("B1")
        assert 0 < len(part.terminals) < len(IDS)
    async with a_world(tmp_path, village, KEYS) as world:
        run = await world.dispatcher.resume(await world.store.broadcast("B1"))
        assert set((await world.settled(run)).values()) == {State.PLAYED}
        named = [t for c in await world.store.commands("B1") for t in c.terminals]
        assert sorted(named) == IDS
    assert village.heard("B1") == set(IDS)


async def test_killed_between_two_parts_of_a_long_stop_the_restart_stops_the_others_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_TARGETS_BYTES", 120)
    village = a_village(play_s=3_600.0)
    async with a_world(tmp_path, village, KEYS) as world:
        village.power_on()
        run = await world.send(groups=())
        await world.until(run, lambda: set(world.states(run).values()) == {State.PLAYING})
        dead = dies_after_one(world, monkeypatch)
        await world.dispatcher.stop("B1", ME)
        async with asyncio.timeout(LIMIT_S):
            await dead.wait()
        assert any(unit.playing for unit in village.units.values())
    async with a_world(tmp_path, village, KEYS) as world:
        run = await world.dispatcher.resume(await world.store.broadcast("B1"))
        assert set((await world.settled(run)).values()) == {State.CANCELLED}
    assert not any(unit.playing for unit in village.units.values())


async def test_a_controller_with_an_old_backup_jumps_above_the_counters_terminals_have_seen(
    tmp_path: Path,
) -> None:
    village = a_village(["sim-00001"])
    ahead = wall_ms() + 3_600_000
    key = KEYS.signers[KeyRole.ACTUAL].key_id
    village.units["sim-00001"].durable.highest[key] = ahead
    async with a_world(tmp_path, village, KEYS) as world:
        village.power_on()
        async with asyncio.timeout(LIMIT_S):
            while not world.alarms:
                await asyncio.sleep(0.02)
        run = await world.send()
        assert set((await world.settled(run)).values()) == {State.PLAYED}
        assert (await world.store.commands("B1"))[0].counter > ahead


async def test_who_is_a_day_ahead_of_a_restored_backup_hears_the_first_broadcast_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "DOUBT_GAP_MS", 0)  # their last hello was long ago
    village, day = a_village(), 86_400_000
    async with a_world(tmp_path / "before", village, KEYS, ahead=day) as world:
        village.power_on()
        async with asyncio.timeout(LIMIT_S):
            while len(world.dispatcher.online) < len(IDS):
                await asyncio.sleep(0.02)
    village.units["sim-00003"].core = None
    async with a_world(tmp_path / "restored", village, KEYS) as world:
        run = await world.send()
        await world.until(run, lambda: len(run.settled) == len(IDS) - 1 and run.moved)
        assert set(world.states(run).values()) == {State.PLAYED, State.SENT}
        assert all(delivery.OVER in {key[2] for key in f} for t, f in run.facts.items() if t != "sim-00003")
        assert any("signed time" in text for text in world.alarms)
        assert world.dispatcher.jumped_ms > day // 2
        village.power_on("sim-00003")
        assert set((await world.settled(run)).values()) == {State.PLAYED}
        stored = await world.store.broadcast("B1")
        assert stored.broadcast.expires_ms - wall_ms() > day
    assert all(unit.sounded == ["B1"] for unit in village.units.values())


async def test_garbage_below_the_report_topic_harms_nobody(world: World) -> None:
    for junk in (b"", b"{}", secrets.token_bytes(500), b"FH1 sim-00001 AAAA\n{}"):
        world.dispatcher.upward("sim-00001", junk)
    run = await world.send()
    assert set((await world.settled(run)).values()) == {State.PLAYED}


async def test_a_genuine_report_below_another_terminals_topic_is_not_taken(world: World) -> None:
    run = await world.send()
    await world.settled(run)
    from terminals.seal import seal_report
    from terminals.wire import Fact, Report

    forged = Report("sim-00002", "B1", "boot1", 99, (Fact(1, "failed", wall_ms(), "amplifier"),))
    world.dispatcher.upward(
        "sim-00001", seal_report(forged, "sim-00002", report_key(KEYS.secret, "sim-00002"))
    )
    await asyncio.sleep(0.05)
    assert not any(key[1] is State.FAILED for key in run.facts["sim-00002"])


async def test_a_forged_attempt_that_a_terminal_refused_does_not_hide_its_true_state(world: World) -> None:
    from terminals.seal import seal_report
    from terminals.wire import Fact, Report

    run = await world.send()
    await world.settled(run)
    honest = Report("sim-00001", "B1", "boot1", 98, (Fact(999, "refused", wall_ms(), "bad-signature"),))
    world.dispatcher.upward(
        "sim-00001", seal_report(honest, "sim-00001", report_key(KEYS.secret, "sim-00001"))
    )
    await asyncio.sleep(0.05)
    assert delivery.shown(run.facts["sim-00001"]).state is State.PLAYED
    assert not any(key[0] == 999 for key in run.facts["sim-00001"])
