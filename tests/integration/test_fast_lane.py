"""The fast lane: what counts in seconds names what terminals hold, and waits for nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path

from controller.desk import Released
from controller.dispatch import Run
from controller.staging import FLOOR, QUAKE, named
from controller.store.records import BroadcastState, CommandRow, Outcome
from support.county import CONFIG, LIMIT_S, County, a_county, cap
from support.quakes import SEISMIC, positioned, report, taken
from terminals import delivery, wire
from terminals.broadcast import Kind, Part
from tts import floor
from tts.bank import countdown
from tts.library import ClipRecord

DAM = CONFIG.replace("release:\n", "release:\n  - {feed: bureau, hazard: dam_break, action: auto}\n")


def play_of(command: CommandRow) -> wire.Play:
    body = command.envelope.split(b"\n", 1)[1]
    play = wire.decode_command(body)
    assert isinstance(play, wire.Play)
    return play


async def hold_floor_and_countdown(county: County) -> str:
    """Places both sets; the id of the countdown's."""
    await county.staging.place(FLOOR, [named(e.name, e.record) for e in floor.manifest()])
    clips = []
    for n, name in enumerate(countdown.sentences()):
        record = ClipRecord(f"{n:064x}", 100, 4.0, -16.0, -3.0, "mp3", "zh", "v", True, name)
        clips.append(named(name, record))
    return (await county.staging.place(QUAKE[Kind.ACTUAL], clips)).id


async def held_by_all(county: County, set_id: str) -> None:
    async with asyncio.timeout(LIMIT_S):
        while county.staging.cover(set_id)[0].whole < len(county.village.units):
            await asyncio.sleep(0.05)


async def first_playing(run: Run) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not all(delivery.has_sounded(facts) for facts in run.facts.values()):
            await asyncio.sleep(0.02)


async def test_an_earthquake_goes_out_in_the_transaction_of_its_plan_while_no_voice_can_speak(
    tmp_path: Path,
) -> None:
    async with a_county(tmp_path, config=SEISMIC) as county:
        positioned(county)
        countdown_set = await hold_floor_and_countdown(county)
        await held_by_all(county, countdown_set)
        county.mouth.hold.clear()  # the voice hangs for the whole of it
        result = await taken(county, report(6.0))
        assert isinstance(result, Released)
        lead, whole = sorted(
            await county.store.broadcasts(alert=result.alert), key=lambda b: b.broadcast.part is Part.WHOLE
        )
        assert (lead.broadcast.part, lead.state) == (Part.LEAD, BroadcastState.SENDING)
        assert whole.state is BroadcastState.VOICING
        run = county.dispatcher.runs[lead.broadcast.id]
        await first_playing(run)
        [command] = await county.store.commands(lead.broadcast.id)
        play = play_of(command)
        assert play.patience_ms == 0
        assert (play.hazard, play.signal) == ("earthquake", "quake")
        assert play.quake is not None
        assert play.quake.set == countdown_set
        assert (play.quake.magnitude, play.quake.depth_km) == (6.0, 10.0)
        assert play.clips[0].sha256 == floor.generic("actual", "first", "earthquake")[1].sha256
        assert county.mouth.said == []
        county.mouth.hold.set()
        assert await county.ended(whole.broadcast.id)  # the detail follows


async def test_without_a_countdown_set_the_clip_of_the_hazard_goes_out_and_no_number_is_promised(
    tmp_path: Path,
) -> None:
    async with a_county(tmp_path, config=SEISMIC) as county:
        positioned(county)
        county.mouth.hold.clear()
        result = await taken(county, report(6.0))
        assert isinstance(result, Released)
        lead = next(
            b for b in await county.store.broadcasts(alert=result.alert) if b.broadcast.part is Part.LEAD
        )
        play = play_of((await county.store.commands(lead.broadcast.id))[0])
        assert play.quake is None
        assert play.clips[0].sha256 == floor.generic("actual", "first", "earthquake")[1].sha256
        county.mouth.hold.set()


async def test_a_dam_break_sounds_its_held_sentence_at_once_from_the_bytes_of_a_feed(tmp_path: Path) -> None:
    async with a_county(tmp_path, config=DAM) as county:
        county.mouth.hold.clear()
        given = await county.give(cap(event="溃坝", colour="红色"))
        assert given.outcome is Outcome.RELEASED
        assert given.alert is not None
        rows = await county.store.broadcasts(alert=given.alert)
        lead = next(b for b in rows if b.broadcast.part is Part.LEAD)
        await first_playing(county.dispatcher.runs[lead.broadcast.id])
        play = play_of((await county.store.commands(lead.broadcast.id))[0])
        assert play.clips[0].sha256 == floor.generic("actual", "first", "dam_break")[1].sha256
        assert play.targets.groups
        assert not play.targets.terminals
        county.mouth.hold.set()
        whole = next(b for b in rows if b.broadcast.part is Part.WHOLE)
        assert await county.ended(whole.broadcast.id)


async def test_a_fast_warning_that_was_planned_and_not_published_is_published_by_the_next_start(
    tmp_path: Path,
) -> None:
    async with a_county(tmp_path, config=DAM) as county:
        county.mouth.hold.clear()
        county.village.reachable = False  # as if the process had died before the publish
        given = await county.give(cap(event="溃坝", colour="红色"))
        assert given.alert is not None
        lead = next(
            b for b in await county.store.broadcasts(alert=given.alert) if b.broadcast.part is Part.LEAD
        )
        before = await county.store.commands(lead.broadcast.id)
        assert [c.published for c in before] == [None]
        county.village.reachable = True
        run = await county.dispatcher.resume(await county.store.broadcast(lead.broadcast.id))
        await first_playing(run)
        after = await county.store.commands(lead.broadcast.id)
        assert after[0].envelope == before[0].envelope
        county.mouth.hold.set()


async def test_a_fast_document_does_not_wait_behind_a_storm_of_others(tmp_path: Path) -> None:
    async with a_county(tmp_path, config=DAM) as county:
        storm = [
            asyncio.create_task(
                county.give(cap(identifier=f"62302341600000_202611221{n:05d}", event="大风", colour="蓝色"))
            )
            for n in range(40)
        ]
        await asyncio.sleep(0.05)
        fast = asyncio.create_task(county.give(cap(identifier="dam-1", event="溃坝", colour="红色")))
        await fast
        waiting = sum(not task.done() for task in storm)
        await asyncio.gather(*storm)
        assert waiting > 0


async def test_of_many_messages_of_one_event_only_the_newest_is_spoken_and_the_others_say_why(
    tmp_path: Path,
) -> None:
    async with a_county(tmp_path) as county:
        county.mouth.hold.clear()
        county.mouth.knows = False
        identifier = "62302341600000_20261122120000"
        given = [await county.give(cap(identifier=identifier))]
        for n in range(1, 12):
            last, identifier = identifier, f"62302341600000_2026112212{n:04d}"
            body = cap(
                identifier=identifier,
                msg_type="Update",
                references=f"zhouqu.weather,{last},2026-11-22T12:00:00+08:00",
                description=f"预计未来3小时将出现{50 + n}毫米以上降水。",
            )
            given.append(await county.give(body))
        released = [g for g in given if g.outcome is Outcome.RELEASED]
        assert len(released) > 3
        rows = {b.broadcast.id: b for b in await county.store.broadcasts(limit=1000)}
        newest = [b for b in rows.values() if b.broadcast.alert_id == released[-1].alert]
        others = [b for b in rows.values() if b.broadcast.alert_id != released[-1].alert]
        assert all(b.state is BroadcastState.VOICING for b in newest)
        assert all(b.state is BroadcastState.SUPERSEDED and b.stopped_by for b in others)
        county.mouth.hold.set()
        for row in newest:
            assert await county.ended(row.broadcast.id)
        sounded = {b for unit in county.village.units.values() for b in unit.sounded}
        assert sounded == {b.broadcast.id for b in newest}
        assert len(county.mouth.said) == len(newest)
        audit = await county.store.audit(1000)
        assert sum(row.what == "broadcast.superseded" for row in audit) == len(others)
