"""Tests that run by themselves, over real desk, dispatch, store and terminal cores."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from alerts.fatigue import BEIJING
from config.load import load
from controller.clock import moment, to_ms, wall_ms
from controller.store import StoreError
from controller.store.records import BroadcastState
from controller.tests_schedule import Run, RunState, latest
from controller.trials import TrialError, Trials
from support.county import CONFIG, County, a_county, cap
from terminals.broadcast import Kind

NOW = moment(wall_ms())


def config(sound: str = "silent", more: str = "") -> str:
    """A test whose slot was ten minutes ago, whatever the hour: there is no night in this county."""
    slot = (NOW - timedelta(minutes=10)).astimezone(BEIJING)
    day = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[slot.weekday()]
    return (
        CONFIG
        + 'fatigue: {night_from: "03:00", night_until: "03:00"}\n'
        + f'tests:\n  - {{name: weekly, day: {day}, at: "{slot:%H:%M}", sound: {sound}{more}}}\n'
    )


async def trials_of(county: County, *, known: bool = True) -> Trials:
    trials = Trials(county.config, county.register.county, county.store, county.desk, county.alarms.append)
    if known:
        # As if this schedule had stood in the file since yesterday.
        await trials._known_since(county.config.tests[0], NOW - timedelta(days=1))
    return trials


async def until_over(trials: Trials, county: County) -> None:
    async with asyncio.timeout(60):
        while (await county.store.trials())["weekly"][0].state is RunState.RUNNING:
            await trials.look(NOW)
            await asyncio.sleep(0.02)


async def test_a_silent_test_goes_to_everybody_and_is_told_as_done(tmp_path: Path) -> None:
    async with a_county(tmp_path, config=config()) as county:
        trials = await trials_of(county)
        await trials.look(NOW)
        await until_over(trials, county)
        (run,) = (await county.store.trials())["weekly"]
        everybody = len(county.register.terminals)
        assert (run.state, run.planned, run.played, run.reason) == (RunState.DONE, everybody, everybody, "")
        row = await county.store.broadcast(run.broadcast)
        assert (row.broadcast.kind, row.broadcast.silent, row.broadcast.repeats) == (Kind.TEST, True, 1)
        heard = await county.store.heard()
        assert all(row.heard is None and row.tested is not None for row in heard.values())
        assert county.alarms == []
        await trials.look(NOW)
        assert len((await county.store.trials())["weekly"]) == 1


async def test_an_audible_test_is_heard_in_its_townships_at_its_volume(tmp_path: Path) -> None:
    more = ", townships: [大川镇], volume: 35"
    async with a_county(tmp_path, config=config("audible", more)) as county:
        trials = await trials_of(county)
        await trials.look(NOW)
        await until_over(trials, county)
        (run,) = (await county.store.trials())["weekly"]
        assert county.village.heard(run.broadcast) == county.in_township("大川镇")
        row = await county.store.broadcast(run.broadcast)
        assert (row.broadcast.volume, row.broadcast.silent) == (35, False)
        assert "测试" in county.mouth.said[-1].text
        heard = await county.store.heard()
        assert {t for t, row in heard.items() if row.heard is not None} == county.in_township("大川镇")


async def test_a_schedule_that_was_just_written_begins_nothing_of_before(tmp_path: Path) -> None:
    async with a_county(tmp_path, config=config()) as county:
        trials = await trials_of(county, known=False)
        await trials.look(NOW)
        assert await county.store.trials() == {}
        (planned,) = await trials.planned(NOW)
        assert planned.next > NOW


async def test_nothing_is_tested_beside_a_held_warning_and_it_is_said_why(tmp_path: Path) -> None:
    async with a_county(tmp_path, config=config()) as county:
        trials = await trials_of(county)
        await county.give(cap(colour="黄色"))
        await trials.look(NOW)
        (run,) = (await county.store.trials())["weekly"]
        assert run.state is RunState.POSTPONED
        assert "is held for a decision" in run.reason
        (planned,) = await trials.planned(NOW)
        assert planned.waits == run.reason
        assert await county.store.broadcasts() == []
        held = (await county.store.alerts())[0]
        await county.desk.reject(held.id, "王主任", "误报")
        await trials.look(NOW)
        await until_over(trials, county)
        (run,) = (await county.store.trials())["weekly"]
        assert run.state is RunState.DONE


async def test_a_warning_that_comes_stops_the_test_and_it_is_put_off(tmp_path: Path) -> None:
    async with a_county(tmp_path, config=config("audible"), play_s=30.0) as county:
        trials = await trials_of(county)
        await trials.look(NOW)
        async with asyncio.timeout(60):
            while not county.heard_anything:
                await asyncio.sleep(0.02)
        first = (await county.store.trials())["weekly"][0].broadcast
        await county.give(cap(colour="红色"))
        await trials.look(NOW)
        (run,) = (await county.store.trials())["weekly"]
        assert run.state is RunState.POSTPONED
        assert run.reason.startswith("stopped: ")
        assert (await county.store.broadcast(first)).state is BroadcastState.STOPPED
        await trials.look(NOW)
        assert {
            b.broadcast.kind for b in await county.store.broadcasts(states=(BroadcastState.SENDING,))
        } == {Kind.ACTUAL}


async def test_a_missed_test_is_an_alarm(tmp_path: Path) -> None:
    async with a_county(tmp_path, config=config()) as county:
        trials = await trials_of(county)
        late = NOW + timedelta(hours=13)
        await trials.look(late)
        (run,) = (await county.store.trials())["weekly"]
        assert run.state is RunState.MISSED
        assert run.slot == to_ms(latest(county.config.tests[0], late))
        assert "was missed: the controller was not running in time" in county.alarms[0]
        await trials.look(late)
        assert len(county.alarms) == 1


async def test_terminals_that_did_not_take_part_are_an_alarm_with_the_command_that_shows_them(
    tmp_path: Path,
) -> None:
    async with a_county(tmp_path, config=config()) as county:
        trials = await trials_of(county)
        next(iter(county.village.units.values())).breaks = "amplifier"
        await trials.look(NOW)
        await until_over(trials, county)
        (run,) = (await county.store.trials())["weekly"]
        assert run.reason == "failed/amplifier 1"
        assert county.alarms == [
            alarm for alarm in county.alarms if f"fenghuo broadcast show {run.broadcast}" in alarm
        ]
        assert len(county.alarms) == 1


async def test_after_a_crash_between_plan_and_sending_nothing_is_sent_a_second_time(tmp_path: Path) -> None:
    async with a_county(tmp_path, config=config()) as county:
        trials = await trials_of(county)
        await trials.look(NOW)
        (run,) = (await county.store.trials())["weekly"]
        await county.ended(run.broadcast)
        sent = len(await county.store.broadcasts())
        # The controller died before it could note which broadcast it was.
        await county.store.keep_trial(replace(run, broadcast=""), None, wall_ms())
        again = await trials_of(county)
        await again.look(NOW)
        (run,) = (await county.store.trials())["weekly"]
        assert run.state is RunState.MISSED
        assert len(await county.store.broadcasts()) == sent


async def test_an_unknown_township_of_a_test_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "county.yaml").write_text(config(more=", townships: [大州镇]"), encoding="utf-8")
    settings = load(tmp_path / "county.yaml")
    async with a_county(tmp_path) as county:
        with pytest.raises(TrialError, match="大州镇"):
            Trials(settings, county.register.county, county.store, county.desk, county.alarms.append)


async def test_a_disk_that_takes_no_test_is_an_alarm_and_the_loop_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_county(tmp_path, config=config()) as county:
        trials = await trials_of(county)
        asked = asyncio.Event()
        real = county.store.trials

        async def full(limit: int = 10) -> dict[str, list[Run]]:
            if asked.is_set():
                return await real(limit)
            asked.set()
            raise StoreError("reading tests in a.db: the disk is full")

        monkeypatch.setattr(county.store, "trials", full)
        running = asyncio.create_task(trials.run(), name="tests")
        async with asyncio.timeout(60):
            while not await real():
                await county.desk.events.tell()
                await asyncio.sleep(0.02)
        assert county.alarms[0] == "tests: reading tests in a.db: the disk is full"
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
