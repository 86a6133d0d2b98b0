"""Samples to a device: gapless, at the right moment and volume, silent when told, honest about it."""

from __future__ import annotations

import asyncio
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from support.board import speech
from terminals.agent import player as module
from terminals.agent import tones
from terminals.agent.devices import BLOCK_S, BUFFER_S, DeviceError, Paced, opener
from terminals.agent.player import Amplifier, Broken, Job, Player
from tts import audio
from tts.voice import Signal

RATE = 24_000
NO_HOOKS = Amplifier()


class Card:
    """A device that takes what it is given, as fast as the test lets it."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.taken: list[np.ndarray[Any, Any]] = []
        self.underruns = 0
        self.holds_back = False
        """Nothing leaves the buffer."""
        self.breaks_at: int | None = None
        self.closed = 0
        self.blocked: threading.Event | None = None
        self.on_write: Callable[[], None] = lambda: None

    def write(self, block: np.ndarray[Any, Any]) -> None:
        self.on_write()
        if self.blocked is not None:
            self.blocked.wait(20)
        if self.breaks_at is not None and self.frames >= self.breaks_at:
            raise DeviceError("unplugged")
        self.taken.append(block.copy())

    @property
    def frames(self) -> int:
        return sum(map(len, self.taken))

    def consumed(self) -> int:
        return 0 if self.holds_back else self.frames

    def close(self) -> None:
        self.closed += 1

    @property
    def sound(self) -> np.ndarray[Any, Any]:
        return np.concatenate(self.taken)


class Rig:
    def __init__(self, *, lead_in_s: float = 0.0, amplifier: Amplifier = NO_HOOKS) -> None:
        self.cards: list[Card] = []
        self.prepare: Callable[[Card], None] = lambda card: None
        self.fails = ""
        self.rate = 0
        self.told: list[tuple[str, Any]] = []
        self.more = asyncio.Event()
        self.player = Player(self.open, self.tell, lead_in_s=lead_in_s, amplifier=amplifier)

    def open(self, rate: int) -> Card:
        if self.fails:
            raise DeviceError(self.fails)
        card = Card(self.rate or rate)
        self.prepare(card)
        self.cards.append(card)
        return card

    def tell(self, job: Job, what: Any) -> None:
        self.told.append((job.name, what))
        self.more.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.told) < count:
                self.more.clear()
                await self.more.wait()

    def broken(self) -> Broken:
        what = self.told[-1][1]
        assert isinstance(what, Broken)
        return what


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    rig.player.stop()
    assert await rig.player.released()


def job(piece: Any, **changes: Any) -> Job:
    given: dict[str, Any] = {
        "name": "b",
        "repeats": 1,
        "gap_s": 0.0,
        "gain": 1.0,
        "start": 0.0,
        "until": 1e12,
    }
    return Job(**(given | {"piece": piece} | changes))


def clip(path: Path, sound: np.ndarray[Any, Any], rate: int = RATE, **more: Any) -> Path:
    soundfile.write(path, sound, rate, subtype="FLOAT", format="WAV", **more)
    return path


async def test_repeats_follow_each_other_without_a_missing_or_added_sample(tmp_path: Path, rig: Rig) -> None:
    words = speech(0.333)
    rig.player.play(job(clip(tmp_path / "c", words), repeats=3, gain=0.5))
    await rig.until(2)
    assert rig.told == [("b", None), ("b", "")]
    assert np.array_equal(rig.cards[0].sound, np.tile(words * np.float32(0.5), 3))
    assert not rig.player.busy


async def test_a_long_clip_is_never_in_memory(tmp_path: Path, rig: Rig) -> None:
    rig.prepare = lambda card: setattr(card, "on_write", card.taken.clear)
    whole = np.zeros(RATE * 20, np.float32)
    path = clip(tmp_path / "c", whole)
    tracemalloc.start()
    try:
        rig.player.play(job(path))
        await rig.until(1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < whole.nbytes / 4


async def test_started_waits_for_samples_that_left_the_buffer_and_not_for_the_lead_in(tmp_path: Path) -> None:
    rig = Rig(lead_in_s=0.1)
    frames: list[int] = []
    rig.prepare = lambda card: None
    path = clip(tmp_path / "c", speech(0.2))
    real = rig.tell

    def tell(what_job: Job, what: Any) -> None:
        frames.append(rig.cards[0].frames)
        real(what_job, what)

    rig.player._told = tell
    rig.player.play(job(path))
    await rig.until(2)
    assert np.all(rig.cards[0].sound[: int(0.1 * RATE)] == 0)
    assert frames[0] > 0.1 * RATE


async def test_a_device_that_takes_samples_and_never_plays_them_is_told_as_broken_and_never_as_started(
    tmp_path: Path, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DRAIN_S", 0.05)
    rig.prepare = lambda card: setattr(card, "holds_back", True)
    rig.player.play(job(clip(tmp_path / "c", speech(0.1))))
    await rig.until(1)
    assert rig.broken().reason == "device"
    assert len(rig.told) == 1


async def test_after_a_stop_not_one_more_block_is_written_and_nothing_is_told(
    tmp_path: Path, rig: Rig
) -> None:
    reached = threading.Event()
    go = threading.Event()

    def slow(card: Card) -> None:
        card.on_write = lambda: (reached.set(), go.wait(20)) if card.frames > 4_000 else None  # type: ignore[func-returns-value]

    rig.prepare = slow
    rig.player.play(job(clip(tmp_path / "c", speech(5))))
    assert await asyncio.to_thread(reached.wait, 20)
    before = rig.cards[0].frames
    rig.player.stop()
    told = len(rig.told)
    go.set()
    assert await rig.player.released()
    assert rig.cards[0].frames <= before + BLOCK_S * RATE
    assert rig.cards[0].closed == 1
    await asyncio.sleep(0)
    assert len(rig.told) == told
    assert BUFFER_S + 2 * BLOCK_S <= 0.2, "the bound of the design"


async def test_a_new_sound_waits_until_the_old_one_has_let_go_of_the_device(tmp_path: Path, rig: Rig) -> None:
    path = clip(tmp_path / "c", speech(0.5))
    rig.player.play(job(path, name="old"))
    rig.player.play(job(path, name="new"))
    await rig.until(2)
    assert {name for name, _ in rig.told} == {"new"}
    assert [card.closed for card in rig.cards] == [1] * len(rig.cards)


async def test_a_device_that_does_not_let_go_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RELEASE_S", 0.05)
    rig = Rig()
    hangs = threading.Event()
    rig.prepare = lambda card: setattr(card, "blocked", hangs)
    path = clip(tmp_path / "c", speech(0.5))
    rig.player.play(job(path))
    async with asyncio.timeout(20):
        while not rig.cards:
            await asyncio.sleep(0.001)
    rig.player.stop()
    assert not await rig.player.released()
    rig.player.play(job(path, name="next"))
    await rig.until(1)
    assert rig.broken().reason == "device"
    hangs.set()
    assert await rig.player.released()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda rig, path: path.write_bytes(b"no sound at all"), "decode"),
        (lambda rig, path: path.unlink(), "decode"),
        (lambda rig, path: soundfile.write(path, np.zeros(0), RATE, format="WAV"), "decode"),
        (lambda rig, path: setattr(rig, "fails", "no card"), "device"),
        (lambda rig, path: setattr(rig, "prepare", lambda c: setattr(c, "breaks_at", 2000)), "device"),
    ],
    ids=["garbage", "gone", "empty", "no card", "unplugged"],
)
async def test_what_cannot_sound_is_told_with_its_reason(
    tmp_path: Path, rig: Rig, damage: Callable[[Rig, Path], None], reason: str
) -> None:
    path = clip(tmp_path / "c", speech(1))
    damage(rig, path)
    rig.player.play(job(path))
    async with asyncio.timeout(20):
        while not rig.told or rig.told[-1][1] is None:
            await asyncio.sleep(0.001)
    assert rig.broken().reason == reason
    assert not rig.player.busy


async def test_a_device_without_samples_again_and_again_is_no_speech(
    tmp_path: Path, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNDERRUN_AFTER_S", -1.0)
    rig.prepare = lambda card: setattr(card, "underruns", 1_000_000)
    rig.player.play(job(clip(tmp_path / "c", speech(1))))
    async with asyncio.timeout(20):
        while not rig.told or rig.told[-1][1] is None:
            await asyncio.sleep(0.001)
    assert rig.broken().reason == "underrun"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_bug_on_the_players_thread_comes_to_the_loop(
    tmp_path: Path, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig, "prepare", lambda card: 1 / 0)
    rig.player.play(job(clip(tmp_path / "c", speech(0.1))))
    await rig.until(1)
    assert isinstance(rig.told[-1][1], ZeroDivisionError)


async def test_it_never_starts_at_or_after_its_end(tmp_path: Path, rig: Rig) -> None:
    rig.player.play(job(clip(tmp_path / "c", speech(0.1)), until=time.monotonic() - 1))
    assert rig.player._thread is not None
    await asyncio.to_thread(rig.player._thread.join, 20)
    await asyncio.sleep(0)
    assert rig.told == []
    assert rig.cards[0].taken == []


async def test_a_set_moment_is_that_of_the_first_word_and_not_of_the_lead_in(tmp_path: Path) -> None:
    rig = Rig(lead_in_s=0.2)
    begun: list[float] = []
    rig.prepare = lambda card: setattr(card, "on_write", lambda: begun.append(time.monotonic()))
    start = time.monotonic() + 0.6
    rig.player.play(job(clip(tmp_path / "c", speech(0.1)), start=start))
    await rig.until(2)
    assert begun[0] >= start - 0.2
    assert np.all(rig.cards[0].sound[: int(0.2 * RATE)] == 0)


async def test_right_after_another_sound_no_lead_in_is_needed(tmp_path: Path) -> None:
    rig = Rig(lead_in_s=0.3)
    words = speech(0.1)
    path = clip(tmp_path / "c", words)
    rig.player.play(job(path))
    await rig.until(2)
    rig.player.play(job(path))
    await rig.until(4)
    assert [len(card.sound) for card in rig.cards] == [int(0.3 * RATE) + len(words), len(words)]


async def test_an_amplifier_that_does_not_switch_on_makes_it_failed_though_it_was_tried(
    tmp_path: Path,
) -> None:
    rig = Rig(amplifier=Amplifier(on=("false",)))
    rig.player.play(job(clip(tmp_path / "c", speech(0.1))))
    await rig.until(2)
    assert rig.told[0] == ("b", None)
    assert rig.broken().reason == "amplifier"


async def test_the_amplifier_is_switched_on_once_and_off_when_nothing_follows(tmp_path: Path) -> None:
    def note(what: str) -> tuple[str, ...]:
        return ("sh", "-c", f"echo {what} >> {tmp_path / 'hooks'}")

    rig = Rig(amplifier=Amplifier(on=note("on"), off=note("off")))
    path = clip(tmp_path / "c", speech(0.1))
    rig.player.play(job(path))
    await rig.until(2)
    rig.player.play(job(path))
    await rig.until(4)
    await rig.player.rest()
    await rig.player.rest()
    assert (tmp_path / "hooks").read_text().split() == ["on", "off"]


async def test_stereo_is_mixed_and_another_rate_is_converted_to_the_cards(tmp_path: Path, rig: Rig) -> None:
    t = np.arange(RATE) / RATE
    left = np.sin(2 * np.pi * 440 * t).astype(np.float32)
    path = clip(tmp_path / "c", np.stack([left, left], axis=1) * 0.5)
    rig.rate = 48_000
    rig.player.play(job(path))
    await rig.until(2)
    heard = rig.cards[0].sound
    assert abs(len(heard) - 48_000) <= 2
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(heard)) / 48_000)
    error = np.sqrt(np.mean((heard[100:-100] - expected[100:-100]) ** 2))
    assert error < 0.01


@pytest.mark.parametrize("kind", ["MP3", "OGG", "FLAC", "WAV"])
async def test_reading_in_blocks_changes_nothing_of_the_sound(tmp_path: Path, rig: Rig, kind: str) -> None:
    t = np.arange(RATE) / RATE
    rising = 0.4 * np.sin(2 * np.pi * (300 + 900 * t) * t) + 0.2 * speech(1.0)
    soundfile.write(tmp_path / "c", rising, RATE, format=kind)
    whole, _ = soundfile.read(tmp_path / "c", dtype="float32")
    rig.player.play(job(tmp_path / "c"))
    await rig.until(2)
    heard = rig.cards[0].sound
    assert np.allclose(heard[: len(whole)], whole[: len(heard)], atol=1e-5)
    assert abs(len(heard) - len(whole)) <= 1152, "an MP3 may end in one more frame"


async def test_generated_signals_pause_between_repeats_only(rig: Rig) -> None:
    signal = tones.signal("red", "actual")
    rig.player.play(job(signal, repeats=2, gap_s=tones.PAUSE_S))
    await rig.until(2)
    heard = rig.cards[0].sound
    pause = np.zeros(int(tones.PAUSE_S * RATE), np.float32)
    assert np.array_equal(heard, np.concatenate([signal, pause, signal]))


# --- signals and devices ---


@pytest.mark.parametrize("name", sorted(tones.NOTES))
def test_a_signal_sounds_like_the_controllers_own(name: str) -> None:
    ours = tones.signal(name, "actual").astype(np.float64)
    theirs = audio.signal(Signal(name)).astype(np.float64)
    assert abs(len(ours) - len(theirs)) < 0.02 * RATE
    size = min(len(ours), len(theirs))
    likeness = (
        np.dot(ours[:size], theirs[:size]) / np.linalg.norm(ours[:size]) / np.linalg.norm(theirs[:size])
    )
    assert likeness > 0.8


def test_every_signal_but_the_sirens_is_known() -> None:
    assert set(tones.NOTES) == {signal.value for signal in Signal if not signal.siren}


def test_an_unknown_signal_of_a_drill_does_not_sound_like_a_warning() -> None:
    plain = tones.signal("plain", "actual")
    assert np.array_equal(tones.signal("siren_raid", "exercise"), tones.signal("exercise", "exercise"))
    assert np.array_equal(tones.signal("", "test"), tones.signal("test", "test"))
    assert np.array_equal(tones.signal("newer", "actual"), plain)
    assert not np.array_equal(tones.signal("", "exercise"), plain)


class Hands:
    """A clock that only moves when somebody sleeps or the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_device_without_a_card_takes_samples_at_the_pace_of_one() -> None:
    hands = Hands()
    device = Paced(1_000, hands.clock, hands.sleep)
    block = np.zeros(20, np.float32)
    for _ in range(100):
        device.write(block)
    written, passed = 2_000, hands.now - 100.0
    assert passed == pytest.approx(written / 1_000 - BUFFER_S, abs=0.005)
    assert device.consumed() == pytest.approx(written - BUFFER_S * 1_000, abs=3)
    hands.now += 1
    assert device.consumed() == written
    assert device.underruns == 0
    device.write(block)
    assert device.underruns == 1, "it ran empty meanwhile"
    assert device.consumed() == written


def test_nothing_is_consumed_before_it_was_written() -> None:
    hands = Hands()
    device = Paced(1_000, hands.clock, hands.sleep)
    hands.now += 5
    assert device.consumed() == 0


def test_a_card_that_is_not_there_is_a_named_failure() -> None:
    with pytest.raises(DeviceError, match="no such card anywhere"):
        opener("no such card anywhere")(RATE)


def test_a_job_can_be_changed_only_by_making_another() -> None:
    one = job(np.zeros(1, np.float32))
    with pytest.raises(AttributeError):
        one.gain = 0.5  # type: ignore[misc]
    assert replace(one, gain=0.5).gain == 0.5
