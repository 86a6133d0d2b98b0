"""Staged sets, bad links and liars in the simulated county, against a controller that seals and listens."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from simulators.broker import EmbeddedBroker
from simulators.faults import Fault, FaultSettings, Link
from simulators.fleet import Fleet, FleetOptions, Heard
from support.fake_controller import HOUR, TOKEN, WAIT, FakeController
from terminals.agent.core import Sound
from terminals.delivery import State
from terminals.wire import Clip, Manifest, Stage, StagedClip, encode_manifest, set_id

ME, OTHER = "sim-00001", "sim-00002"
QUICK = FaultSettings(reboots=2, reboot_every_s=0.5, drift=0.05)


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as started:
        yield started


@pytest.fixture
async def controller(broker: EmbeddedBroker) -> AsyncIterator[FakeController]:
    async with FakeController(broker.port) as fake:
        yield fake


class Ear:
    """What came out of the loudspeakers."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str, Heard]] = []

    def __call__(self, terminal: str, sound: Sound, how: Heard) -> None:
        clip = "signal" if sound.clip is None else sound.clip.sha256
        self.heard.append((terminal, sound.broadcast, clip, how))

    def started(self, terminal: str) -> list[str]:
        return [clip for t, _, clip, how in self.heard if t == terminal and how is Heard.STARTED]


@contextlib.asynccontextmanager
async def running(
    controller: FakeController, terminals: int = 2, ear: Ear | None = None, **more: Any
) -> AsyncIterator[Fleet]:
    given: dict[str, Any] = {"fault_settings": QUICK, "speed": 10.0} | more
    fleet = Fleet(FleetOptions(controller.url, TOKEN, terminals=terminals, **given), ear=ear)
    try:
        async with asyncio.timeout(WAIT):
            await fleet.start()
            await fleet.wait(fleet.ready)
        yield fleet
    finally:
        await fleet.stop()


def offered(controller: FakeController, names: tuple[str, ...], *, lie: bool = False) -> Stage:
    """A set of clips of these names, each served under its own path."""
    clips = []
    for name in names:
        data = name.encode() * 100
        sha256 = hashlib.sha256(data).hexdigest()
        controller.files[f"/set/{sha256}"] = data
        clips.append(StagedClip(name, "zh", "mp3", "", sha256, len(data), 2.0, f"/set/{sha256}"))
    body = encode_manifest(Manifest(tuple(clips)))
    sha256 = hashlib.sha256(body).hexdigest()
    controller.files[f"/manifest/{sha256}"] = body[:-1] + b" " if lie else body
    now = controller.now()
    targets = controller.command("x").targets
    return Stage(
        set_id(sha256), sha256, len(body), f"/manifest/{sha256}", now, now + HOUR, targets, spread_ms=0
    )


async def until(true: Any) -> None:
    async with asyncio.timeout(WAIT):
        while not true():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("audio", ["fetch", "shared"])
async def test_a_set_is_fetched_to_its_last_clip_and_told_and_kept_over_a_power_cut(
    controller: FakeController, audio: str
) -> None:
    async with running(controller, 3, audio=audio) as fleet:
        stage = offered(controller, ("floor/actual/*/first", "quake/-", "quake/10"))
        await controller.send(stage)
        await until(lambda: sum(s.wanted == s.held == 3 for s in controller.staged) >= 3)
        assert {s.problem for s in controller.staged} == {""}
        before = len(controller.hellos)
        fleet.kill_power(ME)
        fleet.restore_power(ME)
        await until(lambda: any(h.terminal == ME for h in controller.hellos[before:]))
        hello = next(h for h in controller.hellos[before:] if h.terminal == ME)
        assert hello.sets == {stage.set: 0}
        assert fleet.counts.manifests == 3


async def test_what_a_set_holds_sounds_in_place_of_a_message_that_cannot_be_had(
    controller: FakeController,
) -> None:
    ear = Ear()
    async with running(controller, 2, ear):
        stage = offered(controller, ("floor/test/*/first",))
        await controller.send(stage)
        await until(lambda: sum(s.held == 1 for s in controller.staged) >= 2)
        missing = Clip("zh", "mp3", "0" * 64, 10, 1.0, "/nowhere")
        await controller.play("b1", clips=(missing,), patience_ms=0)
        await until(lambda: ear.started(ME) and ear.started(OTHER))
        floor = hashlib.sha256(b"floor/test/*/first" * 100).hexdigest()
        assert ear.started(ME) == ear.started(OTHER) == [floor]
        await controller.until_facts("b1", ME, State.PLAYING)
        assert (1, State.PLAYING, "floor") in controller.facts["b1"][ME]


async def test_a_manifest_that_is_not_that_of_its_hash_is_told_and_nothing_of_it_kept(
    controller: FakeController,
) -> None:
    async with running(controller) as fleet:
        await controller.send(offered(controller, ("quake/-",), lie=True))
        await until(lambda: any(s.problem == "hash-mismatch" for s in controller.staged))
        assert fleet.counts.manifests == 0


async def test_pinned_clips_stay_when_the_others_have_to_go(controller: FakeController) -> None:
    async with running(controller, 1) as fleet:
        names = tuple(f"quake/{n}" for n in range(90))
        await controller.send(offered(controller, names))
        await until(lambda: any(s.held == 90 for s in controller.staged))
        one = fleet._terminals[ME]
        pinned = {hashlib.sha256(n.encode() * 100).hexdigest() for n in names}
        for n in range(200):
            one.fetched(one.boots, Clip("zh", "mp3", f"{n:064x}", 1, 1.0), None)
        assert pinned <= set(one.held)
        assert len(one.held) <= 90 + 64 + 17


async def test_a_full_disk_has_no_message_and_sounds_the_signal_it_makes_itself(
    controller: FakeController,
) -> None:
    ear = Ear()
    async with running(controller, 2, ear, faults={ME: Fault.FULL_DISK}):
        await controller.play("b1", seconds=0.2, patience_ms=0)
        await controller.until_facts("b1", ME, State.FAILED)
        await until(lambda: ear.started(ME))
        assert ear.started(ME) == ["signal"]
        await controller.until_facts("b1", OTHER, State.PLAYED)


async def test_one_that_claims_to_have_played_is_believed_and_only_an_ear_beside_it_knows(
    controller: FakeController,
) -> None:
    ear = Ear()
    async with running(controller, 2, ear, faults={ME: Fault.CLAIMS_PLAYED}):
        await controller.play("b1", seconds=0.2)
        await controller.until("b1", 2)
        assert ear.started(ME) == []
        assert len(ear.started(OTHER)) == 1
        assert controller.clip_requests == 1


async def test_a_report_in_anothers_name_is_refused_and_its_own_is_taken(controller: FakeController) -> None:
    async with running(controller, 2, faults={ME: Fault.SPEAKS_FOR_OTHERS}):
        await controller.play("b1", seconds=0.2)
        await controller.until("b1", 2)
        assert {ME, OTHER} <= set(controller.refused)


async def test_facts_that_come_backwards_one_by_one_fold_to_the_same_end(controller: FakeController) -> None:
    async with running(controller, 1, faults={ME: Fault.DISORDERLY}) as fleet:
        await controller.play("b1", seconds=0.2)
        await controller.until_facts("b1", ME, State.ACCEPTED, State.READY, State.PLAYING, State.PLAYED)
        assert controller.ending("b1", ME) == (State.PLAYED, "")
        assert fleet.counts.reports >= 8  # a hello, and more than the four of an orderly one


async def test_a_message_survives_reboots_and_a_clock_that_runs_too_fast(controller: FakeController) -> None:
    faults = {ME: Fault.REBOOTS, OTHER: Fault.CLOCK_DRIFTS}
    ear = Ear()
    async with running(controller, 2, ear, faults=faults, speed=1.0) as fleet:
        await controller.play("b1", seconds=1.2)
        await controller.until("b1", 2)
        assert fleet.counts.power_cuts == 2
        assert ear.started(OTHER) == [controller.clip_of(1).sha256]


async def test_over_a_bad_link_nothing_sounds_twice_and_asking_brings_every_report(
    controller: FakeController,
) -> None:
    ear = Ear()
    link = Link(loss=0.3, duplicated=0.5, reordered=0.3, jitter_s=0.05)
    names = [f"sim-{n + 1:05d}" for n in range(20)]
    async with running(controller, 20, ear) as fleet:
        for name in names:
            fleet.relink(name, link)
        play = await controller.play("b1", seconds=0.2)
        async with asyncio.timeout(WAIT):
            while sum(controller.ending("b1", n)[0] is State.PLAYED for n in names) < 20:
                late = [n for n in names if controller.ending("b1", n)[0] is not State.PLAYED]
                await controller.send(play, to=late)
                await asyncio.sleep(0.3)
        assert all(len(ear.started(name)) == 1 for name in names)
        assert fleet.counts.commands_lost > 0
        assert fleet.counts.reports_lost > 0


async def test_a_line_that_is_cut_says_nothing_until_it_is_mended(controller: FakeController) -> None:
    async with running(controller, 2) as fleet:
        fleet.cut([ME])
        await until(lambda: fleet.connected() == {OTHER})
        play = await controller.play("b1", seconds=0.1)
        await controller.until("b1", 1)
        await asyncio.sleep(0.2)
        assert fleet.connected() == {OTHER}
        fleet.mend([ME, OTHER])
        await until(lambda: fleet.connected() == {ME, OTHER})
        await controller.send(play, to=[ME])
        await controller.until("b1", 2)
