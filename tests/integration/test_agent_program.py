"""The program on a board, in a process of its own, at a real broker."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import uvicorn

from config.counties import load_county
from controller.keys import throw_away
from controller.register import Register
from controller.store import Store
from controller.strangers import BURST
from controller.web.village import village_api
from simulators.broker import EmbeddedBroker
from support.board import ME, RATE, Board, Office, Wire, speech, times_in, wav
from terminals.agent.program import main
from terminals.agent.tones import NOTES, tone
from terminals.delivery import State
from terminals.model import Terminal
from terminals.wire import Manifest, Stage, StagedClip, Targets, encode_manifest, set_id

pytestmark = pytest.mark.slow


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    async with EmbeddedBroker() as broker, Office(broker.port) as office:
        yield office


@pytest.fixture
async def board(tmp_path: Path, office: Office) -> Board:
    board = Board(tmp_path)
    await board.enrol(office.url, office.code())
    return board


async def test_it_enrols_connects_fetches_plays_both_repeats_without_a_gap_and_reports_all_of_it(
    tmp_path: Path, office: Office, board: Board
) -> None:
    words = speech(0.4)
    clip = office.put(wav(tmp_path / "clip.wav", words), 0.4)
    async with board.running():
        await board.until_timed()
        await office.play("b1", clips=(clip,), repeats=2, volume=50)
        await office.until("b1", 1)
    assert office.order[ME] == [State.ACCEPTED, State.READY, State.PLAYING, State.PLAYED]
    (heard,) = board.sounds()
    first, second = times_in(heard, words)
    assert second - first == len(words), "gapless"
    assert first == int(0.02 * RATE), "after the lead-in"
    assert np.max(np.abs(heard)) == pytest.approx(0.25, abs=0.01), "at half of full volume"


async def test_a_stop_silences_it_at_once_and_is_acknowledged(
    tmp_path: Path, office: Office, board: Board
) -> None:
    words = speech(20.0)
    clip = office.put(wav(tmp_path / "clip.wav", words), 20.0)
    async with board.running():
        await board.until_timed()
        play = await office.play("b1", clips=(clip,), repeats=3)
        await office.until_facts("b1", ME, State.PLAYING)
        await office.stop(play)
        await office.until("b1", 1, State.CANCELLED)
        status = await board.until(lambda status: status["playing"] == "")
        assert status["queued"] == []
    (heard,) = board.sounds()
    assert 0 < len(heard) < len(words)


async def test_the_more_urgent_cuts_and_the_other_begins_again_from_its_start(
    tmp_path: Path, office: Office, board: Board
) -> None:
    long, short = speech(3.0, seed=1), speech(0.3, seed=2)
    first = office.put(wav(tmp_path / "long.wav", long), 3.0)
    second = office.put(wav(tmp_path / "short.wav", short), 0.3)
    async with board.running():
        await board.until_timed()
        await office.play("b-test", clips=(first,))
        await office.until_facts("b-test", ME, State.PLAYING)
        await office.play("b-red", clips=(second,), role="actual", priority=(0, 1, 1, 4))
        await office.until("b-red", 1)
        await office.until("b-test", 1)
    states = [state for _, state, _ in sorted(office.facts["b-test"][ME], key=lambda k: k[1])]
    assert {State.PREEMPTED, State.PLAYED} <= set(states)
    cut, urgent, whole = board.sounds()
    assert len(cut) < len(long)
    assert len(times_in(urgent, short)) == 1
    assert len(times_in(whole, long)) == 1


async def test_a_named_clip_that_is_missing_never_means_silence(
    tmp_path: Path, office: Office, board: Board
) -> None:
    clip = office.put(wav(tmp_path / "clip.wav", speech(0.3)), 0.3)
    office.files.clear()  # the clip of the other hash comes instead
    async with board.running():
        await board.until_timed()
        await office.play("b1", clips=(clip,), signal="red", patience_ms=0, role="actual", repeats=1)
        await office.until("b1", 1, State.FAILED)
        await board.until(lambda status: status["playing"] == "" and status["queued"] == [])
    assert ("playing", "floor") in {(s, r) for _, s, r in office.facts["b1"][ME]}
    signal = tone(NOTES["red"])
    assert len(times_in(board.sounds()[0], signal)) == 1


async def test_a_power_cut_in_the_middle_is_reported_and_it_plays_from_its_start_and_never_again_after_played(
    tmp_path: Path, office: Office, board: Board
) -> None:
    words = speech(1.0)
    clip = office.put(wav(tmp_path / "clip.wav", words), 1.0)
    await board.start()
    await board.until_timed()
    play = await office.play("b1", clips=(clip,), repeats=3)
    await office.until_facts("b1", ME, State.PLAYING)
    await board.kill()
    async with board.running():
        await office.until("b1", 1)
    assert office.order[ME].index(State.INTERRUPTED) < office.order[ME].index(State.PLAYED)
    heard = board.sounds()[-1]
    assert len(times_in(heard, words)) == 3
    count = len(board.sounds())
    office.facts.clear()
    async with board.running():
        await board.until_timed()
        await office.send(play)
        await office.until("b1", 1)  # answered
        assert (await board.status())["playing"] == ""
    assert len(board.sounds()) == count


async def test_the_broker_goes_and_comes_back_and_what_was_said_meanwhile_arrives(
    tmp_path: Path, office: Office, board: Board
) -> None:
    words = speech(1.5)
    clip = office.put(wav(tmp_path / "clip.wav", words), 1.5)
    async with Wire(office) as way:
        await way.enrol(board)
        async with board.running():
            await board.until_timed()
            await office.play("b1", clips=(clip,))
            await office.until_facts("b1", ME, State.PLAYING)
            await way.cut()
            await board.until(lambda status: not status["connected"])
            # The sound goes on without the link.
            await board.until(lambda status: status["last_sound"]["state"] == "played")
            assert State.PLAYED not in office.states("b1", ME)
            await way.mend()
            await office.until("b1", 1)
    (heard,) = board.sounds()
    assert len(times_in(heard, words)) == 1


async def test_a_standing_message_sounds_only_by_hand_also_without_the_link(
    tmp_path: Path, office: Office, board: Board
) -> None:
    words = speech(0.3)
    clip = office.put(wav(tmp_path / "clip.wav", words), 0.3)
    async with board.running():
        await board.until_timed()
        await office.play("stand-1", clips=(clip,), role="actual", standing=True)
        await office.until("stand-1", 1, State.READY)
        code, _, err = await board.run("play", "b-unknown")
        assert (code, "no standing message" in err) == (6, True)
        assert board.sounds() == []
        code, out, _ = await board.run("play")
        assert (code, out) == (0, "stand-1 sounds now\n")
        await office.until_facts("stand-1", ME, State.PLAYED)
        (board.state / "by-hand" / "stand-1").touch()
        await board.until(lambda _: len(list(board.heard.iterdir())) == 2)
        await board.until(lambda status: status["playing"] == "")
    assert [len(times_in(heard, words)) for heard in board.sounds()] == [1, 1]
    assert any("by-hand" in reason for _, _, reason in office.facts["stand-1"][ME])


async def test_a_staged_set_is_held_pinned_and_still_there_after_a_power_cut(
    tmp_path: Path, office: Office, board: Board
) -> None:
    clips = [office.put(wav(tmp_path / f"{n}.wav", speech(0.2, seed=n)), 0.2) for n in range(3)]
    entries = tuple(
        StagedClip(f"event/{n}", "zh", "wav", "", c.sha256, c.size, c.seconds, f"clips/{c.sha256}")
        for n, c in enumerate(clips)
    )
    data = encode_manifest(Manifest(entries))
    digest = hashlib.sha256(data).hexdigest()
    office.files["/sets/m.json"] = data
    now = office.now()
    stage = Stage(set_id(digest), digest, len(data), "sets/m.json", now, now + 3_600_000, Targets(("all",)))
    await board.start()
    await board.until_timed()
    await office.send(stage)
    await office.until_true(lambda: any(s.held == 3 and not s.problem for s in office.staged))
    await board.kill()
    office.files.clear()
    async with board.running():
        await board.until_timed()
        status = await board.until(lambda status: status["sets"] == {set_id(digest): [3, 3]})
        assert office.hellos[-1].sets == {set_id(digest): 0}
        assert status["clips"] == 3


async def test_status_test_and_log_are_for_a_person_on_a_ladder(office: Office, board: Board) -> None:
    assert (await board.run("status"))[0] == 4
    async with board.running():
        await board.until_timed()
        code, english, _ = await board.run("status")
        assert code == 0
        assert f"Terminal: {ME}" in english
        assert "Connection: connected to mqtt://" in english
        _, chinese, _ = await board.run("status", env={"LC_ALL": "zh_CN.UTF-8"})
        assert "连接: 已连接" in chinese
        code, out, _ = await board.run("test", "silent")
        assert (code, out.splitlines()[0]) == (0, "sound device: well")
        code, out, _ = await board.run("test", "audible")
        assert code == 0
    silent, audible = board.sounds()
    assert np.max(np.abs(silent)) == 0.0
    assert np.max(np.abs(audible)) > 0.1
    _, log, _ = await board.run("log", "-n", "1")
    assert len(log.splitlines()) == 1


async def test_a_message_cuts_a_persons_test(tmp_path: Path, office: Office, board: Board) -> None:
    words = speech(0.3)
    clip = office.put(wav(tmp_path / "clip.wav", words), 0.3)
    async with board.running():
        await board.until_timed()
        test = asyncio.create_task(board.run("test", "audible"))
        await board.until(lambda _: len(list(board.heard.iterdir())) == 1)
        await office.play("b1", clips=(clip,))
        code, out, _ = await test
        assert (code, "a message came" in out) == (5, True)
        await office.until("b1", 1)
    assert len(times_in(board.sounds()[-1], words)) == 1


async def test_two_programs_on_one_state_folder_are_refused(office: Office, board: Board) -> None:
    async with board.running():
        await board.until_timed()
        code, _, err = await board.run("run")
        assert code == 3
        assert "another fenghuo-terminal" in err
        code, _, err = await board.run("enrol", "--controller", office.url, "--terminal", ME)
        assert code == 3


async def test_a_wrong_code_enrols_nobody_and_keeps_no_paper(tmp_path: Path, office: Office) -> None:
    board = Board(tmp_path)
    office.code()
    words = ("enrol", "--controller", office.url, "--terminal", ME)
    code, _, err = await board.run(*words, "--code", "0000")
    assert code == 3
    assert "16" in err
    assert (await board.run("run"))[0] == 3
    assert not (board.state / "papers").exists()


@asynccontextmanager
async def a_real_office(path: Path) -> AsyncIterator[tuple[Register, str]]:
    """The controller's register behind its own door for terminals; its address."""
    store = await Store.open(path / "fenghuo.db")
    door = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{door.getsockname()[1]}"
    county = load_county("zhouqu").county
    register = Register(
        store, county, throw_away(sandbox=False), broker="mqtt://127.0.0.1:1", audio=address, sandbox=False
    )
    app: Any = SimpleNamespace(register=register, alarm=lambda text: None)
    server = uvicorn.Server(uvicorn.Config(village_api(app), log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve([door]))
    try:
        await register.add([Terminal(ID, "喇叭", county.villages[0].key)], "王主任")
        yield register, address
    finally:
        server.should_exit = True
        await serving
        await store.close()


ID = "zq-0001"


async def test_who_stands_on_the_ladder_is_told_in_plain_words_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands in this process: eleven starts of Python would be half a minute."""

    async def say(*words: str, chinese: bool = False) -> tuple[int, str]:
        def run() -> int:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("LC_ALL", "zh_CN.UTF-8" if chinese else "C.UTF-8")
                return main([*words, "--state", str(board.state)])

        code = await asyncio.to_thread(run)
        said = capsys.readouterr()
        return code, said.out + said.err

    board = Board(tmp_path, settings='[sound]\ndevice = "USB that is gone"\n')
    async with a_real_office(tmp_path) as (register, address):
        code, told = await say("status")
        assert (code, "not enrolled; run: fenghuo-terminal enrol" in told) == (3, True)
        code, told = await say("test", chinese=True)
        assert (code, "没有运行" in told) == (4, True)
        enrol = ("enrol", "--terminal", ID, "--controller")
        code, told = await say(*enrol, "10.1.0.2:8470", "--code", "0" * 16)
        assert (code, "http://10.1.0.2:8470" in told) == (4, True)
        code, told = await say(*enrol, "http://127.0.0.1:1", "--code", "0" * 16, chinese=True)
        assert (code, "没有应答" in told) == (4, True)
        code, told = await say(*enrol, address, "--code", "0000", chinese=True)
        assert (code, "16 位" in told) == (3, True)
        good = (await register.codes([ID], "王主任"))[ID]
        for chinese, word in ((False, "good once and for 24 hours"), (True, "只能用一次"), (True, ID)):
            code, told = await say(*enrol, address, "--code", "0" * 16, chinese=chinese)
            assert (code, word in told) == (6, True), told
        code, told = await say(*enrol, address, "--code", good)
        assert (code, f"Enrolled: {ID}" in told) == (0, True)
        code, told = await say(*enrol, address, "--code", good)
        assert (code, "good once" in told) == (6, True), "a code that was used"
        for _ in range(BURST):
            code, told = await say(*enrol, address, "--code", "0" * 16, chinese=True)
        assert (code, "等一分钟" in told) == (6, True), told
    code, told = await say("status")
    assert (code, "NOT RUNNING" in told) == (4, True)
    async with board.running():
        await board.until(lambda status: status["link_trouble"])
        code, told = await say("status", chinese=True)
        assert code == 0
        assert "未连接 mqtt://127.0.0.1:1" in told
        assert "时间: 未知！" in told
        code, told = await say("test", "silent", chinese=True)
        assert code == 5
        assert "声卡" in told.splitlines()[0]
        assert "aplay -l" in told.splitlines()[0]
        assert "控制中心尚未应答" in told
        code, told = await say("play", chinese=True)
        assert (code, "没有可人工播放" in told) == (6, True)


def test_the_state_folder_stands_before_or_after_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--state", str(tmp_path / "a"), "status"], ["status", "--state", str(tmp_path / "b")]):
        assert main(words) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}
    assert "enrol" in capsys.readouterr().out


async def test_nobody_else_can_look_into_the_state_folder(office: Office, board: Board) -> None:
    async with board.running():
        await board.until_timed()
        modes = {
            p.relative_to(board.state).as_posix(): p.lstat().st_mode & 0o777 for p in board.state.rglob("*")
        }
    assert all(mode & 0o077 == 0 for name, mode in modes.items() if name != "terminal.log"), modes
    assert board.state.stat().st_mode & 0o777 == 0o700
    board.state.chmod(0o755)
    code, _, err = await board.run("status")
    assert (code, "chmod 700" in err) == (3, True)


class Versions:
    """Folders of versions, the link to the present one, and a systemd that starts whatever it points to."""

    def __init__(self, home: Path, board: Board) -> None:
        self._home = home
        self._board = board
        self.link = home / "current"
        self._keeps: asyncio.Task[None] | None = None
        board._command = self._run  # type: ignore[method-assign]

    def make(self, name: str, *, works: bool = True) -> Path:
        folder = self._home / name
        (folder / "bin").mkdir(parents=True)
        script = folder / "bin" / "fenghuo-terminal"
        real = f'exec {sys.executable} -m terminals.agent.program "$@"\n'
        broken = f'case "$*" in *--version*) echo {name};; *) sleep 0.2; exit 1;; esac\n'
        script.write_text("#!/bin/sh\n" + (real if works else broken))
        script.chmod(0o755)
        return folder

    def _run(self, *words: str) -> list[str]:
        return [str(self.link / "bin" / "fenghuo-terminal"), "--state", str(self._board.state), *words]

    async def __aenter__(self) -> Versions:
        self.link.symlink_to(self.make("old"))
        await self._board.start()
        self._board.kept = True
        self._keeps = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *why: object) -> None:
        assert self._keeps is not None
        self._keeps.cancel()
        await asyncio.gather(self._keeps, return_exceptions=True)
        assert await self._board.stop() == 0

    async def _keep(self) -> None:
        while True:
            assert self._board.process is not None
            await self._board.process.wait()
            await self._board.start()

    async def upgrade(self, new: Path, *words: str) -> tuple[int, str, str]:
        return await self._board.run("upgrade", str(new), "--link", str(self.link), *words)


async def test_an_upgrade_waits_until_nothing_plays_and_then_the_new_version_runs(
    tmp_path: Path, office: Office, board: Board
) -> None:
    words = speech(60.0)
    clip = office.put(wav(tmp_path / "clip.wav", words), 60.0)
    async with Versions(tmp_path / "opt", board) as versions:
        await board.until_timed()
        old = (await board.status())["pid"]
        new = versions.make("new")
        play = await office.play("b1", clips=(clip,))
        await office.until_facts("b1", ME, State.PLAYING)
        code, _, err = await versions.upgrade(new, "--wait", "0")
        assert (code, "nothing was changed" in err) == (6, True)
        assert versions.link.readlink().name == "old"
        upgrade = asyncio.create_task(versions.upgrade(new))
        while versions.link.readlink() != new:
            await asyncio.sleep(0.01)
        assert (await board.status())["playing"] == "b1"
        await office.stop(play)
        code, out, err = await upgrade
        assert code == 0, err
        assert "Running now" in out
        await office.until("b1", 1, State.CANCELLED)
        await board.until(lambda status: status["pid"] != old and status["connected"])
    assert len(board.sounds()) == 1


async def test_a_version_that_does_not_come_up_is_taken_back(
    tmp_path: Path, office: Office, board: Board
) -> None:
    async with Versions(tmp_path / "opt", board) as versions:
        await board.until_timed()
        code, _, err = await versions.upgrade(tmp_path / "nowhere")
        assert (code, "does not run" in err) == (3, True)
        code, _, err = await versions.upgrade(versions.make("broken", works=False), "--patience", "1")
        assert (code, "the old one is back" in err) == (1, True), err
        assert versions.link.readlink().name == "old"
        await board.until_timed()
