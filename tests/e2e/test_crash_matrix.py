"""kill -9 of controller, broker and terminal, alone and together, at the steps of a broadcast; a clock that
jumps. Real processes but for the clock.

A seeded few of all combinations by default; ``FENGHUO_CRASHES=60`` walks through so many of each."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from controller.desk import Released
from controller.keys import create
from simulators.broker import EmbeddedBroker
from support import crash
from support.board import ME, Board, Office, speech, times_in, wav
from support.county import BEIJING, a_county, cap
from support.crash_board import PLACES
from support.running import LIMIT_S, Site
from terminals.delivery import State

pytestmark = pytest.mark.slow

MANY = int(os.environ.get("FENGHUO_CRASHES", "0"))
SEED = int(os.environ.get("FENGHUO_SEED", "5"))
# (place, when, nth): the steps of a board from its first command to the last word about it.
STEPS = [
    f"{place}:{when}:{nth}"
    for place, most in (
        ("Core.command", 3),
        ("StateFolder.save", 6),
        ("ClipStore.keep", 1),
        ("Host.sound", 1),
        ("Host.told", 2),
        ("Link.send", 4),
    )
    for nth in range(1, most + 1)
    for when in ("before", "after")
]
CONTROLLER = [
    "Store.take:after",
    "Voicing.voice:after",
    "Store.commit_command:after",
    "Dispatcher.publish:after",
    "Store.mark_published:after",
    "Dispatcher.keep:before",
    "Dispatcher.keep:after",
    "Dispatcher.done:before",
]


def some(of: list[str], few: int) -> list[str]:
    return random.Random(SEED).sample(of, min(MANY or few, len(of)))


class Mortal(Board):
    """A board that dies at `point`."""

    point = "never"

    def _command(self, *words: str) -> list[str]:
        usual = super()._command(*words)
        if words[0] != "run":
            return usual
        return [sys.executable, crash.__file__.replace("crash.py", "crash_board.py"), self.point, *usual[3:]]


def test_every_place_of_the_matrix_is_there() -> None:
    for places in (PLACES, crash.PLACES):
        for owner, name in places.values():
            assert callable(getattr(owner, name))
    assert {step.split(":")[0] for step in STEPS} == set(PLACES)
    assert {step.split(":")[0] for step in CONTROLLER} <= set(crash.PLACES)


@pytest.mark.parametrize("step", some(STEPS, 4))
async def test_a_terminal_killed_there_sounds_the_message_whole_and_never_again_after_played(
    tmp_path: Path, step: str
) -> None:
    ours = speech(0.4)
    async with EmbeddedBroker() as broker, Office(broker.port) as office:
        clip = office.put(wav(tmp_path / "c", ours), 0.4)
        board = Mortal(tmp_path / "board")
        await board.enrol(office.url, office.code())
        board.point = step
        await board.start()
        assert board.process is not None
        play = None
        async with asyncio.timeout(LIMIT_S):
            while board.process.returncode is None:
                await asyncio.sleep(0.05)
                if play is None and office.hellos:
                    play = office.command("b1", clips=(clip,))
                if play is not None:
                    await office.send(play, to=[ME])  # again and again, as the dispatcher does
                if play is not None and State.PLAYED in office.states("b1", ME):
                    break  # this step comes later than all that a broadcast does
        if board.process.returncode is not None:
            assert board.process.returncode == -signal.SIGKILL, board.said()
        await board.kill()
        board.point = "never"
        async with board.running():
            await board.until_timed()
            if play is None:
                play = await office.play("b1", clips=(clip,))
            while State.PLAYED not in office.states("b1", ME):
                await office.send(play, to=[ME])
                await asyncio.sleep(0.3)
            sounded = len(board.sounds())
            for _ in range(3):
                await office.send(play, to=[ME])
            await office.ask("b1", ME)
            await office.play("b2", clips=(clip,))
            await office.until("b2", 1)
        sounds = board.sounds()
        assert len(sounds) == sounded + 1
        assert all(len(times_in(sound, ours)) == 1 for sound in sounds)
        states = [state for _, state, _ in office.facts["b1"][ME]]
        assert State.REFUSED not in states
        assert "Traceback" not in board.said()


REAL = "zq-0001"


async def enrolled(site: Site, board: Board) -> None:
    """As `fenghuo terminal import` and `enrol` do it, without their processes."""
    row = {"id": REAL, "name": "西城喇叭", "village": "w01v01", "lat": 33.78, "lon": 104.36}
    answer = await site.api.post("/v1/terminals", json={"terminals": [row]})
    assert answer.status_code == 200, answer.text
    codes = (await site.api.post("/v1/terminals/codes", json={"terminals": [REAL]})).json()
    await board.enrol((await site.api.get("/v1/status")).json()["terminals_url"], codes[REAL], REAL)


async def reborn(board: Mortal) -> None:
    """Whenever it has died of its point, power comes back, and stays."""
    while True:
        assert board.process is not None
        if await board.process.wait() == -signal.SIGKILL:
            board.point = "never"
            await board.start()


@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, MANY // 4)))
async def test_controller_broker_and_terminal_die_in_one_broadcast_and_it_is_heard(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    point, step = chance.choice(CONTROLLER), chance.choice(STEPS)
    (tmp_path / "county").mkdir()
    broker = EmbeddedBroker()
    await asyncio.to_thread(broker.start)
    try:
        site = Site(
            tmp_path / "county",
            broker=f"{{url: 'mqtt://127.0.0.1:{broker.port}'}}",
            more="broadcast: {repeats: {orange: 1, yellow: 1, blue: 1}}\nkeys_dir: ./keys\n"
            "staging: {ahead_from: never, megabits: 1000}",
        )
        create(site.home / "keys")
        board = Mortal(tmp_path / "board")
        # The places at which it dies are passed by a broadcast only, so it can enrol the board first.
        async with site.serve(f"brief+{point}", sandbox=False) as dying:
            await enrolled(site, board)
            board.point = step
            await board.start()
            life = asyncio.create_task(reborn(board), name="board")
            await board.until_timed()
            site.drop(cap(codes=("623023100000",)))
            async with asyncio.timeout(LIMIT_S):
                assert await dying.wait() == -signal.SIGKILL, point
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.start)
        async with site.serve("brief", sandbox=False) as process:
            done = await site.until_answered(
                "/v1/broadcasts",
                lambda a: a.json() != [] and all(one["state"] == "done" for one in a.json()),
                process,
            )
            parts = [one["id"] for one in done.json()]
            for part in parts:
                total = (await site.api.get(f"/v1/broadcasts/{part}")).json()["total"]
                assert total["played"] == total["targeted"] == 1
            before = len(board.sounds())
            assert before >= len(parts)
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            await board.kill()
            board.point = "never"
            await board.start()
            await board.until_timed()
            status = await board.status()
            assert status["queued"] == []
            assert len(board.sounds()) == before
            assert await board.stop() == 0
    finally:
        await asyncio.to_thread(broker.stop)
    assert "Traceback" not in board.said()


@pytest.mark.parametrize("hours", [-30, 30])
async def test_a_controllers_clock_that_jumps_neither_silences_nor_revives(
    tmp_path: Path, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_county(tmp_path) as county:
        first = await county.give(cap())
        assert first.broadcast is not None
        heard = await county.ended(first.broadcast)
        real = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: real() + hours * 3_600_000_000_000)
        absent = sorted(heard)[0]
        county.village.power_off(absent)
        county.village.power_on(absent)
        now = datetime.now(BEIJING).replace(microsecond=0)
        sent = now + timedelta(hours=max(hours, 0))
        second = await county.give(
            cap(
                identifier="second",
                event="大风",
                sent=sent,
                expires=sent + timedelta(hours=6),
                codes=("623023",),
            )
        )
        if second.broadcast is None:
            assert second.alert is not None
            approved = await county.desk.approve(second.alert, "王主任")
            assert isinstance(approved, Released)
            broadcast = approved.broadcast
        else:
            broadcast = second.broadcast
        assert await county.ended(broadcast) == set(county.village.units)
        assert all(unit.sounded.count(first.broadcast) <= 1 for unit in county.village.units.values())
