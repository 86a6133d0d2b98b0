"""What a board keeps: whole after power loss at any byte, unreadable for others, honest about damage."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.terminal import ACTUAL, EPOCH, ME, RING, SECRET, SERVICE, SIGNERS
from terminals.agent import settings as board_settings
from terminals.agent.clips import ClipStore
from terminals.agent.control import control
from terminals.agent.core import Core, Durable, Identity, Send, Sound
from terminals.agent.files import write_whole
from terminals.agent.health import read_health, read_power
from terminals.agent.link import Broker, LinkError, trust
from terminals.agent.settings import SettingsError
from terminals.agent.state import StateError, StateFolder, fence
from terminals.agent.systemd import Systemd
from terminals.agent.words import _WORDS, WORDS, Words, chinese
from terminals.enrolment import Enrolled
from terminals.seal import KeyRole, open_report, report_key
from terminals.wire import Clip, Hello, Play, Targets, Time

CLIP = Clip("zh", "mp3", "1" * 64, 1000, 5.0)


def papers() -> Enrolled:
    return Enrolled.of(
        terminal=ME,
        county="623023",
        report_key=report_key(SECRET, ME),
        ring=RING,
        groups=("v1",),
        languages=("zh",),
        roles=(KeyRole.ACTUAL,),
        broker="mqtt://127.0.0.1:1",
        audio="http://127.0.0.1:2",
    )


def folder(path: Path) -> StateFolder:
    path.chmod(0o700)
    return StateFolder(path)


def core_on(durable: Durable) -> Core:
    identity = Identity(
        id=ME,
        county="623023",
        report_key=report_key(SECRET, ME),
        ring=RING,
        groups=("v1",),
        languages=("zh",),
        codecs=frozenset({"mp3"}),
        roles=frozenset({KeyRole.ACTUAL}),
    )
    return Core(identity, durable, boot="boot", random=random.Random(1), held={CLIP.sha256})


def timed(core: Core, now: int = EPOCH) -> None:
    """The controller's honest answer to its hello."""
    hello = next(
        said
        for effect in core.connected(1_000)
        if isinstance(effect, Send)
        and isinstance(said := open_report(effect.payload, lambda _: report_key(SECRET, ME)), Hello)
    )
    core.command(SERVICE.seal(Time(ME, hello.nonce, now, ("v1",), "http://a/")), 1_000)


def play(counter: int = EPOCH) -> bytes:
    return ACTUAL.seal(
        Play(
            "b1", "e", "actual", 1, counter, EPOCH, EPOCH, EPOCH + 3_600_000, (0, 1, 1, 4),
            Targets(groups=("v1",)), (CLIP,), 1, 80,
        )
    )  # fmt: skip


def played(state: StateFolder) -> None:
    """The message was accepted and played, and that is on the disk, in both copies."""
    durable, _, _ = state.load()
    core = core_on(durable)
    timed(core)
    assert any(isinstance(e, Sound) for e in core.command(play(), 1_100))
    core.started("b1", 1_200)
    core.finished("b1", 6_200)
    state.save(durable)
    state.save_copy(durable)


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(
        st.sampled_from(["durable", "durable.copy", "papers", "papers.copy", "sets/x.json"]),
        min_size=1,
        unique=True,
    ),
    cut=st.floats(0, 1),
    garble=st.booleans(),
    seed=st.integers(0, 1 << 20),
)
def test_whatever_file_is_torn_or_garbled_it_starts_says_so_and_replays_nothing(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], cut: float, garble: bool, seed: int
) -> None:
    path = tmp_path_factory.mktemp("state")
    state = folder(path)
    state.keep_papers(papers())
    played(state)
    (path / "sets" / "x.json").write_bytes(b"no manifest of this hash")
    for name in names:
        whole = (path / name).read_bytes()
        at = int(cut * (len(whole) - 1))
        torn = whole[:at]
        if garble:
            torn = whole[:at] + bytes([whole[at] ^ random.Random(seed).randrange(1, 256)]) + whole[at + 1 :]
        (path / name).write_bytes(torn)

    state = StateFolder(path)
    if {"papers", "papers.copy"} <= set(names):
        with pytest.raises(StateError, match="damaged"):
            state.papers()
    else:
        assert state.papers() == papers()
    durable, lines, lost = state.load()
    assert lost is ({"durable", "durable.copy"} <= set(names))
    assert bool(lines) is ("durable" in names)
    assert state.manifests()[0] == {}
    core = core_on(durable)
    if lost:
        fence(durable, RING, EPOCH + 10_000)
    timed(core, EPOCH + 10_000)
    effects = core.command(play(), 2_000)
    assert not any(isinstance(effect, Sound) for effect in effects), "it was played before"


def test_after_the_loss_of_all_memory_what_is_sealed_later_sounds(tmp_path: Path) -> None:
    durable = Durable()
    fence(durable, RING, EPOCH + 10_000)
    core = core_on(durable)
    timed(core, EPOCH + 10_000)
    assert not any(isinstance(e, Sound) for e in core.command(play(EPOCH + 10_000), 2_000))
    assert any(isinstance(e, Sound) for e in core.command(play(EPOCH + 10_001), 2_100))


class Cut(BaseException):
    """The power."""


def cutting(name: str, after: int) -> Callable[..., Any]:
    """`os.<name>`, which loses the power at its call number `after`, and writes 7 bytes at a time."""
    real = getattr(os, name)
    calls = itertools.count()

    def call(*args: Any) -> Any:
        if next(calls) == after:
            raise Cut
        return real(args[0], args[1][:7]) if name == "write" else real(*args)

    return call


@pytest.mark.parametrize("name", ["open", "write", "fsync", "close", "replace"])
@pytest.mark.parametrize("after", range(3))
def test_a_power_cut_while_a_file_is_written_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, after: int
) -> None:
    path = tmp_path / "file"
    old, new = b"old" * 10, b"new" * 10
    write_whole(path, old)
    with monkeypatch.context() as patch:
        patch.setattr(os, name, cutting(name, after))
        with contextlib.suppress(Cut):
            write_whole(path, new)
    assert path.read_bytes() in (old, new)
    write_whole(path, new)
    assert path.read_bytes() == new
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on the disk is one that the kernel has mounted read-only."""
    refused = OSError(errno.EROFS, os.strerror(errno.EROFS))
    real = os.open

    def opened(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) or (flags & os.O_CREAT and not Path(path).exists()):
            raise refused
        return real(path, flags, *rest, **named)

    def refuse(*_: Any, **__: Any) -> Any:
        raise refused

    def become() -> None:
        monkeypatch.setattr(os, "open", opened)
        for name in ("unlink", "rename", "replace"):
            monkeypatch.setattr(os, name, refuse)
        monkeypatch.setattr(socket.socket, "bind", refuse)

    return become


async def test_a_disk_that_has_become_read_only_lets_a_board_speak_after_its_next_start(
    tmp_path: Path, read_only: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    state = folder(tmp_path)
    state.lock()
    state.unlock()
    state.keep_papers(papers())
    played(state)
    (tmp_path / "sets" / f"{'1' * 64}.json").write_bytes(b"damaged")
    store = ClipStore(state.clips, budget=1 << 20, keep_free=0)
    store.path("2" * 64).write_bytes(b"damaged")
    (tmp_path / "control").touch()  # left there by a power cut
    read_only()

    state = StateFolder(tmp_path)
    state.lock()
    with pytest.raises(StateError, match="another fenghuo-terminal"):
        StateFolder(tmp_path).lock()
    assert state.papers() == papers()
    durable, lines, lost = state.load()
    assert (set(durable.records), lines, lost) == ({"b1"}, [], False)
    manifests, bad = state.manifests()
    assert (manifests, len(bad)) == ({}, 1)
    store = ClipStore(state.clips, budget=1 << 20, keep_free=0)
    assert len(store.check_all()) == 1
    assert store.held == set()
    async with control(cast(Any, None), tmp_path):
        assert "nobody can ask this program anything" in caplog.text
    state.unlock()


def test_a_damaged_file_is_set_aside_and_not_lost(tmp_path: Path) -> None:
    state = folder(tmp_path)
    state.save(Durable())
    (tmp_path / "durable").write_bytes(b"rubbish")
    _, lines, lost = state.load()
    assert lost
    assert "durable.damaged" in lines[0]
    assert (tmp_path / "durable.damaged").read_bytes() == b"rubbish"


def test_a_new_terminal_has_lost_nothing(tmp_path: Path) -> None:
    durable, lines, lost = folder(tmp_path).load()
    assert (durable, lines, lost) == (Durable(), [], False)


def test_a_new_enrolment_begins_anew(tmp_path: Path) -> None:
    state = folder(tmp_path)
    state.keep_papers(papers())
    played(state)
    state.keep_papers(papers())
    assert state.load() == (Durable(), [], False)


def test_one_process_to_a_folder(tmp_path: Path) -> None:
    first, second = folder(tmp_path), StateFolder(tmp_path)
    first.lock()
    with pytest.raises(StateError, match="another fenghuo-terminal"):
        second.lock()
    first.unlock()
    second.lock()
    second.unlock()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_every_key_of_the_ring_is_fenced(tmp_path: Path) -> None:
    durable = Durable()
    fence(durable, RING, 5)
    assert durable.low == {signer.key_id: 5 for signer in SIGNERS.values()}


# --- settings ---


def test_settings_by_default_and_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "terminal.toml"
    assert board_settings.load(path, required=False) == board_settings.Settings()
    path.write_text(
        '[sound]\ndevice = "USB"\namplifier_on = ["gpioset", "0", "17=1"]\n[disk]\nclips_mb = 64\n'
    )
    read = board_settings.load(path, required=True)
    assert (read.sound.device, read.sound.amplifier_on[0], read.disk.clips_mb) == ("USB", "gpioset", 64)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[sound]\nvolume = 3\n", "volume"),
        ("[sound]\nfull_volume = 0\n", "full_volume"),
        ("[disk]\nclips_mb = 1\n", "clips_mb"),
        ("[link]\ncertificate = 'a.pem'\n", "certificate and key"),
        ("no toml", "terminal.toml"),
    ],
)
def test_wrong_settings_name_the_file_and_the_field(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "terminal.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=problem) as caught:
        board_settings.load(path, required=True)
    assert str(path) in str(caught.value)


def test_settings_that_must_be_there_and_are_not(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        board_settings.load(tmp_path / "x.toml", required=True)


# --- the board itself ---


def test_battery_and_mains_where_the_board_has_them(tmp_path: Path) -> None:
    assert read_power(tmp_path / "nowhere") == (None, None)
    for name, files in {
        "AC": {"type": "Mains", "online": "0"},
        "usb": {"type": "USB", "online": "1"},
        "BAT0": {"type": "Battery", "capacity": "81"},
        "BAT1": {"type": "Battery", "capacity": "40"},
        "odd": {"type": "Battery", "capacity": "much"},
    }.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text + "\n")
    assert read_power(tmp_path) == (40, True)


def test_health_tells_of_the_amplifier_what_its_check_says(tmp_path: Path) -> None:
    def health(*check: str) -> Any:
        return read_health(board_settings.Sound(amplifier_check=check), lambda: 77, tmp_path)

    assert health().amplifier_ok is None
    assert health("true").amplifier_ok is True
    assert health("false").amplifier_ok is False
    assert health("/no/such/program").amplifier_ok is False
    assert (health().disk_free_mb, health().volume) == (77, 100)


def test_systemd_hears_what_it_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hears:
        hears.bind(str(tmp_path / "n"))
        systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "30000000"})
        systemd.notify("READY=1")
        assert hears.recv(100) == b"READY=1"
    assert systemd.watchdog_s == 30.0
    systemd.notify("WATCHDOG=1")  # nobody listens any more: no error
    assert Systemd({}).watchdog_s is None
    assert Systemd({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}).watchdog_s is None
    Systemd({}).notify("READY=1")


@pytest.mark.parametrize("address", ["", "http://h:1", "mqtt://", "mqtts://h:99999", "mqtt://[::1"])
def test_a_brokers_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(LinkError, match="address of a broker"):
        Broker.of(address, lambda: pytest.fail("no certificates are needed"))


def test_certificates_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="nowhere"):
        trust(str(tmp_path / "nowhere.pem"))
    assert Broker.of("mqtts://h", trust_nobody).port == 8883


def trust_nobody() -> Any:
    return trust("")


# --- words ---


def test_both_languages_have_every_word_with_the_same_blanks() -> None:
    english, chinese_ = Words(chinese=False), Words(chinese=True)

    class Blank(dict[str, str]):
        def __missing__(self, key: str) -> str:
            return f"<{key}>"

    for word in WORDS:
        said = [text.format_map(Blank()) for text in _WORDS[word]]
        blanks = [sorted(part.split(">")[0] for part in text.split("<")[1:]) for text in said]
        assert blanks[0] == blanks[1], word
        assert said[0] != said[1], word
    assert english("stopped") == "Stopped."
    assert chinese_("stopped") == "已停止。"


def test_no_word_is_there_that_nobody_says() -> None:
    source = Path(board_settings.__file__).with_name("program.py").read_text(encoding="utf-8")
    computed = {f"help.{c}" for c in ("enrol", "run", "status", "test", "play", "log", "upgrade")}
    computed |= {f"part.{p}" for p in ("sound", "amplifier", "link", "time", "disk")}
    assert [w for w in sorted(WORDS - computed) if f'"{w}"' not in source and f"'{w}'" not in source] == []


def test_the_locale_decides_the_language() -> None:
    assert chinese({"LANG": "zh_CN.UTF-8"})
    assert not chinese({"LC_ALL": "C.UTF-8", "LANG": "zh_CN.UTF-8"})
    assert not chinese({})
