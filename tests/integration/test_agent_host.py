"""The host around the core, where disk, memory, device and watchdog fail it."""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulators.broker import EmbeddedBroker
from support.board import ME, Office, speech, wav
from terminals import wire
from terminals.agent import core, loudspeaker, player
from terminals.agent.clips import ClipStore
from terminals.agent.devices import Opener, Paced
from terminals.agent.host import DeviceHangs, Host, Refused, _first_silences
from terminals.agent.settings import Settings, Sound
from terminals.agent.state import StateFolder
from terminals.agent.systemd import Systemd
from terminals.delivery import Policy, Send, State, Tried, next_action
from terminals.enrolment import KEY_ENTROPY, Applicant

LIMIT_S = 30


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    async with EmbeddedBroker() as broker, Office(broker.port) as office:
        yield office


@pytest.fixture
def state(tmp_path: Path, office: Office) -> StateFolder:
    """Of an enrolled terminal."""
    (tmp_path / "state").mkdir(mode=0o700)
    state = StateFolder(tmp_path / "state")
    applicant = Applicant(ME, office.code(), secrets.token_bytes(KEY_ENTROPY))
    state.keep_papers(applicant.open(office._enrol(applicant.request)))
    return state


@asynccontextmanager
async def hosted(
    state: StateFolder, open_device: Opener = Paced, systemd: Systemd | None = None
) -> AsyncIterator[tuple[Host, asyncio.Task[None]]]:
    papers = state.papers()
    assert papers is not None
    host = Host(
        state,
        papers,
        Settings(sound=Sound(device="null", lead_in_ms=0)),
        open_device=open_device,
        systemd=systemd,
    )
    task = asyncio.create_task(host.run())
    try:
        async with asyncio.timeout(LIMIT_S):
            while host.core.now(host.mono()) is None:
                assert not task.done(), task
                await asyncio.sleep(0.01)
        yield host, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(true: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not true():
            await asyncio.sleep(0.01)


async def test_a_disk_that_saves_nothing_does_not_silence_a_warning_and_is_told(
    tmp_path: Path, office: Office, state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = office.put(wav(tmp_path / "c", speech(0.2)), 0.2)
    async with hosted(state) as (host, _):
        real = state.save

        def read_only(durable: object) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(state, "save", read_only)
        await office.play("b1", clips=(clip,))
        await office.until("b1", 1)
        assert "Read-only" in host.status()["trouble"]["disk"]
        monkeypatch.setattr(state, "save", real)
        await office.play("b2", clips=(clip,))
        await office.until("b2", 1)
        assert "disk" not in host.status()["trouble"]
    assert set(state.load()[0].records) == {"b1", "b2"}


async def test_with_all_memory_lost_it_says_so_replays_nothing_and_sounds_what_is_sealed_later(
    tmp_path: Path, office: Office, state: StateFolder
) -> None:
    clip = office.put(wav(tmp_path / "c", speech(0.2)), 0.2)
    async with hosted(state):
        play = await office.play("b1", clips=(clip,))
        await office.until("b1", 1)
    for name in ("durable", "durable.copy"):
        (state.path / name).write_bytes(b"rubbish")
    office.facts.clear()
    opened: list[int] = []

    def watched(rate: int) -> Paced:
        opened.append(rate)
        return Paced(rate)

    async with hosted(state, watched) as (host, _):
        assert "not known" in host.status()["trouble"]["state"]
        await office.send(play)
        await office.until("b1", 1, State.REFUSED)
        assert office.ending("b1", ME) == (State.REFUSED, "replay")
        assert opened == []
        office._counter = office.now()
        await office.play("b2", clips=(clip,))
        await office.until("b2", 1)
        assert len(opened) == 1


async def test_one_copy_is_enough(tmp_path: Path, office: Office, state: StateFolder) -> None:
    clip = office.put(wav(tmp_path / "c", speech(0.2)), 0.2)
    async with hosted(state):
        play = await office.play("b1", clips=(clip,))
        await office.until("b1", 1)
    (state.path / "durable").write_bytes(b"rubbish")
    office.facts.clear()
    async with hosted(state) as (host, _):
        await office.send(play)
        await office.until("b1", 1, State.PLAYED)
        assert host.status()["last_sound"]["broadcast"] == "b1"


async def test_clips_that_take_long_to_check_keep_nobody_off_line_and_what_is_wrong_is_still_told(
    state: StateFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    goes_on = threading.Event()
    bugs: list[Exception] = []

    def slow(self: ClipStore) -> list[str]:
        goes_on.wait(LIMIT_S)
        for bug in bugs:
            raise bug
        return ["clip 1234 was damaged"]

    monkeypatch.setattr("terminals.agent.host.CHECK_S", 0.05)
    monkeypatch.setattr(ClipStore, "check_all", slow)
    async with hosted(state):
        goes_on.set()
        await until(lambda: "clip 1234 was damaged" in caplog.text)
    goes_on.clear()
    bugs.append(ZeroDivisionError("a bug"))
    async with hosted(state) as (_, task):
        goes_on.set()
        with pytest.raises(BaseExceptionGroup) as caught:
            async with asyncio.timeout(LIMIT_S):
                await task
        assert caught.group_contains(ZeroDivisionError)
    goes_on.clear()
    async with hosted(state):
        assert "clips" in names()
    assert "clips" not in names()
    goes_on.set()


def names() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()}


async def test_a_device_that_hangs_ends_the_program_and_the_message_sounds_after_the_restart(
    tmp_path: Path, office: Office, state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player, "RELEASE_S", 0.1)
    writing, lets_go = threading.Event(), threading.Event()
    clip = office.put(wav(tmp_path / "c", speech(0.2)), 0.2)

    class Hung(Paced):
        def write(self, block: np.ndarray[Any, Any]) -> None:
            writing.set()
            lets_go.wait(LIMIT_S)

    async with hosted(state, Hung) as (_, task):
        await office.play("b1", clips=(clip,))
        await until(writing.is_set)  # one that has not begun to write lets go
        await office.play("b2", clips=(clip,), role="actual", priority=(0, 1, 1, 4))
        with pytest.raises(BaseExceptionGroup) as caught:
            async with asyncio.timeout(LIMIT_S):
                await task
        assert caught.group_contains(DeviceHangs)
    lets_go.set()
    async with hosted(state):
        await office.until("b1", 1)
        await office.until("b2", 1)


async def test_a_device_that_hangs_in_its_first_message_ends_the_program_and_a_further_attempt_sounds(
    tmp_path: Path, office: Office, state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player, "RELEASE_S", 0.1)
    monkeypatch.setattr(loudspeaker, "START_MS", 300)
    clip = office.put(wav(tmp_path / "c", speech(0.2)), 0.2)
    lets_go = threading.Event()

    class Hung(Paced):
        def write(self, block: np.ndarray[Any, Any]) -> None:
            lets_go.wait(LIMIT_S)

    async with hosted(state, Hung) as (_, task):
        await office.play("b1", clips=(clip,))
        with pytest.raises(BaseExceptionGroup) as caught:
            async with asyncio.timeout(LIMIT_S):
                await task
        assert caught.group_contains(DeviceHangs)
    lets_go.set()
    await office.until("b1", 1, State.FAILED)
    assert office.ending("b1", ME) == (State.FAILED, "no-start")
    now = office.now()
    policy = Policy(expires=now + 60_000, seconds=0.2, quiet=300)
    again = next_action(office.facts["b1"][ME], Tried(1, now - 10_000, now - 1), now, policy)
    assert again == Send(2)
    async with hosted(state):
        await office.play("b1", clips=(clip,), attempt=again.attempt)
        await office.until("b1", 1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_bug_in_the_player_ends_the_program(
    tmp_path: Path, office: Office, state: StateFolder
) -> None:
    clip = office.put(wav(tmp_path / "c", speech(0.2)), 0.2)

    class Buggy(Paced):
        def consumed(self) -> int:
            raise ZeroDivisionError("a bug")

    async with hosted(state, Buggy) as (_, task):
        await office.play("b1", clips=(clip,))
        with pytest.raises(BaseExceptionGroup) as caught:
            async with asyncio.timeout(LIMIT_S):
                await task
        assert caught.group_contains(ZeroDivisionError, match="a bug")


async def test_the_watchdog_is_fed_and_the_end_is_said(
    tmp_path: Path, office: Office, state: StateFolder
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hears:
        hears.bind(str(tmp_path / "n"))
        hears.settimeout(LIMIT_S)
        systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "300000"})
        async with hosted(state, systemd=systemd):
            said = [await asyncio.to_thread(hears.recv, 100) for _ in range(4)]
        assert said == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        hears.setblocking(False)
        rest = []
        while (word := _word(hears)) is not None:
            rest.append(word)
        assert rest[-1] == b"STOPPING=1"


def _word(hears: socket.socket) -> bytes | None:
    try:
        return hears.recv(100)
    except BlockingIOError:
        return None


async def test_it_leaves_for_a_new_version_only_when_nothing_plays_or_is_due(
    tmp_path: Path, office: Office, state: StateFolder
) -> None:
    clip = office.put(wav(tmp_path / "c", speech(60)), 60)
    async with hosted(state) as (host, task):
        for broadcast, ahead_ms, state_then, why in (
            ("b1", 1_200_000, State.READY, "due"),
            ("b2", 0, State.PLAYING, "plays"),
        ):
            play = await office.play(broadcast, clips=(clip,), not_before=office.now() + ahead_ms)
            await office.until(broadcast, 1, state_then)
            with pytest.raises(Refused, match=why):
                host.leave()
            await office.stop(play)
            await until(lambda: host.idle)
        host.leave()
        async with asyncio.timeout(LIMIT_S):
            await task
    assert not task.cancelled()


async def test_a_hand_that_names_none_sounds_the_newest_standing_message_that_is_whole(
    tmp_path: Path, office: Office, state: StateFolder
) -> None:
    clip = office.put(wav(tmp_path / "c", speech(0.2)), 0.2)
    nowhere = wire.Clip("zh", "wav", "0" * 64, 10, 1.0)
    async with hosted(state) as (host, _):
        for broadcast in ("s1", "s2"):
            await office.play(broadcast, clips=(clip,), role="actual", standing=True)
            await office.until(broadcast, 1, State.READY)
        await office.play("s3", clips=(nowhere,), role="actual", standing=True)
        await until(lambda: len(host.core.standing(host.mono())) == 3)
        assert host.by_hand("") == "s2"
        await office.until_facts("s2", ME, State.PLAYED)
        assert State.PLAYING not in office.states("s1", ME)


def test_what_goes_out_of_the_list_first_is_silence() -> None:
    sound = core.Sound("b", None, 1, 80, 0, 1)
    effects: list[core.Effect] = [core.Save(), core.Silence("a"), sound, core.Silence("b")]
    assert _first_silences(effects) == [core.Silence("a")]
