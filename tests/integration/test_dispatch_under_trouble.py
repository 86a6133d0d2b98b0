"""Dispatch when the disk is full, a second controller counts, floods come, and everything is to be silent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from controller import dispatch, ledger
from controller.clock import wall_ms
from controller.desk import Released
from controller.store import StoreError
from controller.store.records import BroadcastState, Entry, Outcome
from controller.summary import summarise
from support.county import CONFIG, LIMIT_S, County, a_county, cap
from support.quakes import SEISMIC, positioned, report, taken
from terminals import delivery, wire
from terminals.broadcast import Part
from terminals.delivery import State
from terminals.seal import KeyRole, report_key, seal_report
from terminals.transport import ToGroup


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path) as made:
        yield made


def summary_of(county: County, broadcast: str) -> object:
    run = county.dispatcher.runs[broadcast]
    return summarise(
        run.row,
        "x",
        run.facts,
        county.register.terminals,
        county.register.county,
        waiting=0,
        last_seen=county.dispatcher.online.get,
        clock_error=county.dispatcher.clock_errors.get,
    )


async def fill_disk(county: County, *, full: bool) -> None:
    """SQLite refuses every page more than it has, as on a full disk (SQLITE_FULL); its room is filled."""

    def pragma(c: sa.Connection) -> None:
        pages = c.exec_driver_sql("PRAGMA page_count").scalar()
        c.exec_driver_sql(f"PRAGMA max_page_count = {pages if full else 1_073_741_823}")

    await county.store._write("filling", pragma)
    for size in (4_000, 100, 1) if full else ():
        with contextlib.suppress(StoreError):
            for n in range(1_000):
                await county.store.set_meta(f"filler-{size}-{n}", "x" * size)


async def test_a_full_disk_neither_stops_the_sound_nor_loses_a_fact(
    county: County, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PAUSE_S", 0.05)
    county.mouth.hold.clear()
    given = await county.give(cap(codes=("623023",)))
    assert given.broadcast is not None
    # Journal, plan and deliveries are there; from now on nothing more goes on the disk.
    await fill_disk(county, full=True)
    with pytest.raises(StoreError):
        await county.store.set_meta("one more", "x" * 4_000)
    county.mouth.hold.set()
    async with asyncio.timeout(LIMIT_S):
        while given.broadcast not in county.dispatcher.runs:
            await asyncio.sleep(0.02)
        run = county.dispatcher.runs[given.broadcast]
        while len(county.village.heard(given.broadcast)) < len(run.facts):
            await asyncio.sleep(0.05)
        while len(run.settled) < len(run.facts):
            await asyncio.sleep(0.05)
    assert county.dispatcher._ledger.late > 0
    assert any("goes on" in text or "all the same" in text for text in county.alarms)
    await fill_disk(county, full=False)
    await county.ended(given.broadcast)
    async with asyncio.timeout(LIMIT_S):
        while county.dispatcher._ledger.late:
            await asyncio.sleep(0.05)
    _, facts = await county.store.deliveries(given.broadcast)
    stored = {(f.terminal, f.key) for f in facts}
    assert stored == {(t, key) for t, known in run.facts.items() for key in known}
    commands = await county.store.commands(given.broadcast)
    assert commands
    assert all(c.published for c in commands)
    assert (await county.store.counters())[commands[0].key_id] >= commands[-1].counter


async def test_an_operators_stop_works_while_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PAUSE_S", 0.05)
    async with a_county(tmp_path, play_s=3_600.0) as county:
        given = await county.give(cap())
        assert given.broadcast is not None
        async with asyncio.timeout(LIMIT_S):
            while not county.village.heard(given.broadcast):
                await asyncio.sleep(0.02)
        real = county.store._write

        async def refused(what: str, *_: object, **__: object) -> None:
            raise StoreError(f"{what}: database or disk is full")

        monkeypatch.setattr(county.store, "_write", refused)
        stopped = await county.desk.stop_all("王主任", "故障")
        assert stopped == (given.broadcast,)
        async with asyncio.timeout(LIMIT_S):
            while any(unit.playing for unit in county.village.units.values()):
                await asyncio.sleep(0.02)
        assert any("all the same" in text for text in county.alarms)
        monkeypatch.setattr(county.store, "_write", real)
        await county.ended(given.broadcast)
        assert (await county.store.broadcast(given.broadcast)).state is BroadcastState.STOPPED
        audit = await county.store.audit(100)
        assert any(row.what == "broadcast.stop-all" for row in audit)


async def test_stop_all_silences_what_sounds_what_is_voiced_and_what_a_latecomer_would_get(
    tmp_path: Path,
) -> None:
    async with a_county(tmp_path, play_s=3_600.0) as county:
        sounding = await county.give(cap())
        assert sounding.broadcast is not None
        async with asyncio.timeout(LIMIT_S):
            while not county.village.heard(sounding.broadcast):
                await asyncio.sleep(0.02)
        county.mouth.hold.clear()
        voiced = await county.give(cap(identifier="other-1", event="大风", colour="红色"))
        if voiced.outcome is Outcome.HELD:
            assert voiced.alert is not None
            approved = await county.desk.approve(voiced.alert, "王主任")
            assert isinstance(approved, Released)
            other = approved.broadcast
        else:
            assert voiced.broadcast is not None
            other = voiced.broadcast
        stopped = await county.desk.stop_all("王主任", "误报")
        assert set(stopped) == {sounding.broadcast, other}
        county.mouth.hold.set()
        async with asyncio.timeout(LIMIT_S):
            while any(unit.playing for unit in county.village.units.values()):
                await asyncio.sleep(0.02)
        await county.ended(sounding.broadcast)
        await county.ended(other)
        assert county.village.heard(other) == set()
        states = {b.broadcast.id: b.state for b in await county.store.broadcasts(limit=100)}
        assert set(states.values()) == {BroadcastState.STOPPED}
        audit = await county.store.audit(100)
        assert any(row.what == "broadcast.stop-all" and row.who == "王主任" for row in audit)
        assert await county.desk.stop_all("王主任", "") == ()  # again: nothing is left


async def test_whoever_comes_after_the_cancel_of_a_finished_broadcast_hears_nothing_of_it(
    county: County,
) -> None:
    absent = next(t for t in sorted(county.in_township("大川镇")))
    known = county.register.terminals[absent]
    county.register.terminals[absent] = replace(known, enrolled=False)  # it comes into the fleet later
    county.register._fleet = None
    county.village.power_off(absent)
    given = await county.give(cap())
    assert given.broadcast is not None
    assert given.alert is not None
    assert absent not in await county.ended(given.broadcast)
    await county.desk.cancel(given.alert, "王主任", "误报")
    county.register.terminals[absent] = known
    county.village.power_on(absent)
    run_ids = set(county.dispatcher.runs)
    async with asyncio.timeout(LIMIT_S):
        while absent not in county.dispatcher.online:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    assert given.broadcast not in county.village.units[absent].sounded
    assert given.broadcast not in run_ids or absent not in county.dispatcher.runs[given.broadcast].facts


async def test_a_second_controller_with_a_copy_of_the_keys_is_told_of(county: County) -> None:
    given = await county.give(cap())
    assert given.broadcast is not None
    heard = sorted(await county.ended(given.broadcast))
    signer = county.keys.signers[KeyRole.ACTUAL]
    before = (await county.store.counters())[signer.key_id]
    for n, terminal in enumerate(heard[:2], 1):
        seen = before + n  # below the time of day: no restored backup of tomorrow, but another hand
        word = wire.Report(
            terminal, given.broadcast, "boot1", 900 + n, (wire.Fact(1, "accepted", wall_ms()),), seen
        )
        county.dispatcher.upward(
            terminal, seal_report(word, terminal, report_key(county.keys.secret, terminal))
        )
    async with asyncio.timeout(LIMIT_S):
        while not any("second controller" in text for text in county.alarms):
            await asyncio.sleep(0.02)
    assert sum("second controller" in text for text in county.alarms) == 1  # and not one for each report
    async with asyncio.timeout(LIMIT_S):
        while (await county.store.counters())[signer.key_id] < before + 2:
            await asyncio.sleep(0.02)
    again = await county.give(cap(identifier="other-2"))
    assert again.outcome is Outcome.IGNORED or again.broadcast is not None


async def test_a_flood_of_forged_reports_is_counted_and_harms_nobody(
    county: County,
) -> None:
    for n in range(500):
        county.dispatcher.upward("sim-00001", b"FH1 sim-00001 AAAA\n{%d}" % n)
    given = await county.give(cap(codes=("623023",)))
    assert given.broadcast is not None
    assert await county.ended(given.broadcast)
    assert county.dispatcher.complaints.of("sim-00001") == 500
    assert any("500 reports" not in text and "sim-00001" in text for text in county.alarms)


async def test_loudspeakers_start_at_one_moment_where_the_policy_says_and_the_spread_is_told(
    tmp_path: Path,
) -> None:
    config = CONFIG + "broadcast: {together: 0.5}\n"
    async with a_county(tmp_path, config=config) as county:
        given = await county.give(cap())
        assert given.broadcast is not None
        await county.ended(given.broadcast)
        summary = summary_of(county, given.broadcast)
        together = summary.together  # type: ignore[attr-defined]
        assert together is not None
        starts = [
            value[0]
            for facts in county.dispatcher.runs[given.broadcast].facts.values()
            for key, value in facts.items()
            if key[1] is State.PLAYING
        ]
        play_at = county.dispatcher.runs[given.broadcast].row.broadcast.play_at
        # By each terminal's own clock, which may be ahead by the error that the summary tells.
        assert together.error_ms is None or min(starts) >= play_at - 2 * together.error_ms - 50
        assert together.started + together.late == len(starts)
        assert together.spread_ms is None or together.spread_ms == max(
            s for s in starts if s <= play_at + 1000
        ) - min(starts)


async def test_the_fast_lane_never_waits_for_a_common_start(tmp_path: Path) -> None:
    async with a_county(tmp_path, config=SEISMIC + "broadcast: {together: 3}\n") as county:
        positioned(county)
        result = await taken(county, report(6.0))
        assert isinstance(result, Released)
        rows = await county.store.broadcasts(alert=result.alert)
        lead = next(b for b in rows if b.broadcast.part is Part.LEAD)
        await county.ended(lead.broadcast.id)
        run = county.dispatcher.runs[lead.broadcast.id]
        assert run.row.broadcast.play_at == 0
        started = min(v[0] for f in run.facts.values() for k, v in f.items() if k[1] is State.PLAYING)
        assert started >= lead.created


async def test_only_the_most_urgent_keeps_room_for_questions_when_all_are_taken(county: County) -> None:
    high = await county.give(cap(colour="红色"))
    low = await county.give(cap(identifier="other-3", codes=("623023105",)))
    assert high.broadcast is not None
    assert low.broadcast is not None
    for b in (high.broadcast, low.broadcast):
        await county.ended(b)
    first, second = county.dispatcher.runs[high.broadcast], county.dispatcher.runs[low.broadcast]
    assert first.order < second.order
    now = county.dispatcher.now()
    first.inflight = {f"x{n}": now + 9_000 for n in range(dispatch.OUTSTANDING)}
    second.inflight = {f"y{n}": now + 9_000 for n in range(dispatch.OUTSTANDING)}
    first.wait_until = second.wait_until = now + 9_000
    assert county.dispatcher._room(second, now) == 0
    assert county.dispatcher._room(first, now) == dispatch.OUTSTANDING // 4


async def test_a_normal_publish_waits_its_turn_while_the_broker_is_slow_and_a_stop_does_not(
    county: County, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = asyncio.Event()
    real = county.village.send
    asked: list[str] = []

    async def send(address: object, envelope: bytes, *, lifetime_s: int, sure: bool) -> None:
        if sure and isinstance(address, ToGroup):
            command = wire.decode_command(envelope.split(b"\n", 1)[1])
            asked.append(type(command).__name__)
            if isinstance(command, wire.Play):
                await slow.wait()
        await real(address, envelope, lifetime_s=lifetime_s, sure=sure)  # type: ignore[arg-type]

    monkeypatch.setattr(county.village, "send", send)
    given = [
        await county.give(cap(identifier=f"many-{n}", colour="红色", codes=(code,)))
        for n, code in enumerate(("623023101000", "623023105000", "623023102000"))
    ]
    ids = [g.broadcast for g in given if g.broadcast is not None]
    assert ids
    async with asyncio.timeout(LIMIT_S):
        while "Play" not in asked:
            await asyncio.sleep(0.02)
    await county.desk.stop_all("王主任", "")
    slow.set()
    for broadcast in ids:
        await county.ended(broadcast)
    assert asked.count("Play") <= dispatch.PUBLISHING


async def test_nothing_is_sent_of_a_broadcast_whose_time_is_over(county: County) -> None:
    given = await county.give(cap())
    assert given.broadcast is not None
    await county.ended(given.broadcast)
    row = await county.store.broadcast(given.broadcast)
    over = replace(row.broadcast, id="B-over", expires_ms=county.dispatcher.now() - 1)
    alert = await county.store.alert(row.broadcast.alert_id)
    late = replace(row, broadcast=over, state=BroadcastState.SENDING, done=None, sending=None)
    await county.store.take(
        replace(alert, id="A-over", identifier="over"),
        [replace(late, broadcast=replace(over, alert_id="A-over"))],
        dispatch.Entry("t", "t", "t"),
        wall_ms(),
    )
    sent = len(county.village.sent)
    run = await county.dispatcher.start(late)
    async with asyncio.timeout(LIMIT_S):
        while len(run.settled) < len(run.facts):
            await asyncio.sleep(0.02)
    plays = [e for _, e in county.village.sent[sent:] if b'"play"' in e]
    assert plays == []
    assert {delivery.shown(f).state for f in run.facts.values()} == {State.EXPIRED}


async def test_broadcasts_begin_and_end_while_a_returning_terminal_is_caught_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by chance on a loaded machine: it ended the whole of dispatch."""
    async with a_county(tmp_path, play_s=3_600.0) as county:
        dispatcher = county.dispatcher
        given = await county.give(cap())
        assert given.broadcast is not None
        async with asyncio.timeout(LIMIT_S):
            while not (heard := county.village.heard(given.broadcast)):
                await asyncio.sleep(0.02)
        run, terminal = dispatcher.runs[given.broadcast], min(heard)
        sent: list[bytes] = []

        async def send(terminal: str, envelope: bytes, expires: int) -> None:
            sent.append(envelope)
            dispatcher.runs[f"begun-{len(sent)}"] = run
            dispatcher.runs.pop(f"begun-{len(sent) - 1}", None)

        monkeypatch.setattr(dispatcher, "_send", send)
        groups = dispatcher._groups_of(terminal)
        assert groups
        await dispatcher._catch_up(terminal, groups)
        assert len(sent) == 1
        await dispatcher.stop(given.broadcast, Entry("李值班", "stop", given.broadcast))
        async with asyncio.timeout(LIMIT_S):
            while not run.stop:
                await asyncio.sleep(0.02)
        run.settled.discard(terminal)
        await dispatcher._stops_first(terminal)
        assert len(sent) > 1
        dispatcher.runs = {given.broadcast: run}
