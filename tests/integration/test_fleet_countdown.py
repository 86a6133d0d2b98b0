"""What a whole simulated county sounds in an earthquake, and in a silent test, over real brokers."""

import asyncio
import contextlib
import hashlib
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator

import pytest

from alerts.swave import arrival_s
from simulators.broker import EmbeddedBroker, MosquittoBroker, mosquitto_binary
from simulators.faults import Fault
from simulators.fleet import Fleet, FleetOptions, Heard
from support.fake_controller import HOUR, TOKEN, WAIT, FakeController
from terminals.agent.choice import CLOCK_LIMIT_MS, NUMBER_AT_S
from terminals.agent.core import Sound
from terminals.delivery import SILENT, State
from terminals.wire import Manifest, Quake, Stage, StagedClip, Targets, encode_manifest, set_id

NUMBERS = range(1, 100)


@pytest.fixture(params=[EmbeddedBroker, MosquittoBroker], scope="module")
def broker(request: pytest.FixtureRequest) -> Iterator[EmbeddedBroker | MosquittoBroker]:
    if request.param is MosquittoBroker and mosquitto_binary() is None:
        pytest.skip("mosquitto is not installed")
    with request.param() as started:
        yield started


class County:
    """A fleet, its controller, and an ear beside every loudspeaker."""

    def __init__(self, controller: FakeController) -> None:
        self.controller = controller
        self.sounds: defaultdict[str, list[Sound]] = defaultdict(list)
        self.finished: defaultdict[str, int] = defaultdict(int)
        self.fleet: Fleet

    def ear(self, terminal: str, sound: Sound, how: Heard) -> None:
        if how is Heard.STARTED:
            self.sounds[terminal].append(sound)
        if how is Heard.FINISHED:
            self.finished[terminal] += 1


@contextlib.asynccontextmanager
async def county(
    broker: EmbeddedBroker | MosquittoBroker,
    terminals: int,
    *,
    nowhere: tuple[str, ...] = (),
    faults: dict[str, Fault] | None = None,
) -> AsyncIterator[County]:
    async with FakeController(broker.port) as controller:
        controller.nowhere |= set(nowhere)
        it = County(controller)
        given = FleetOptions(
            controller.url, TOKEN, terminals=terminals, audio="shared", speed=20, faults=faults or {}
        )
        it.fleet = Fleet(given, ear=it.ear)
        try:
            async with asyncio.timeout(WAIT):
                await it.fleet.start()
                await it.fleet.wait(it.fleet.ready)
            yield it
        finally:
            await it.fleet.stop()


async def hold_numbers(it: County, terminals: int) -> tuple[str, dict[str, int | None]]:
    """All of them hold the countdown: its set, and hash → number (None: no number)."""
    controller = it.controller
    numbers: dict[str, int | None] = {}
    clips = []
    for number in (None, *NUMBERS):
        data = f"in {number} seconds".encode() * 40
        digest = hashlib.sha256(data).hexdigest()
        numbers[digest] = number
        controller.files[f"/held/{digest}"] = data
        name = "quake/-" if number is None else f"quake/{number}"
        clips.append(StagedClip(name, "zh", "mp3", "", digest, len(data), 4.0, f"/held/{digest}"))
    body = encode_manifest(Manifest(tuple(clips)))
    digest = hashlib.sha256(body).hexdigest()
    controller.files["/held/manifest"] = body
    now = controller.now()
    name = set_id(digest)
    stage = Stage(name, digest, len(body), "/held/manifest", now, now + HOUR, Targets(groups=("all",)))
    await controller.send(stage)
    async with asyncio.timeout(WAIT):
        while len({s.terminal for s in controller.staged if s.set == name and s.held == s.wanted > 0}) < (
            terminals
        ):
            await asyncio.sleep(0.02)
    return name, numbers


async def test_in_an_earthquake_every_terminal_says_the_seconds_of_its_own_place(
    broker: EmbeddedBroker | MosquittoBroker,
) -> None:
    terminals, lost = 60, "sim-00007"
    async with county(broker, terminals, nowhere=(lost,)) as it:
        held, numbers = await hold_numbers(it, terminals)
        now = it.controller.now()
        quake = Quake(now - 3_000, 33.2, 104.0, 10.0, 6.5, held)
        await it.controller.play(
            "quake",
            role="actual",
            priority=(0, 0, 0, 0),
            clips=(),
            repeats=3,
            hazard="earthquake",
            quake=quake,
        )
        await it.controller.until("quake", terminals)
        assert set(it.sounds) == set(it.controller.rows)
        said = set()
        for terminal, sounds in it.sounds.items():
            core = it.fleet._terminals[terminal].core
            assert core is not None
            assert [s.repeats for s in sounds] == [1, 1, 1]
            found = [None if s.clip is None else numbers[s.clip.sha256] for s in sounds]
            place = it.controller.position(terminal)
            if place is None:
                assert terminal == lost
                assert found == [None] * 3
                continue
            arrival = arrival_s(quake.latitude, quake.longitude, quake.depth_km, *place)
            for sound, number in zip(sounds, found, strict=True):
                error, wire = core.clock_error_ms(sound.at_mono), core.now(sound.at_mono)
                assert error is not None
                assert wire is not None
                if error > CLOCK_LIMIT_MS:  # a machine that slow: then no number is the right one
                    assert number is None
                    continue
                assert number == math.floor(arrival - (wire - quake.origin) / 1000 - NUMBER_AT_S)
                said.add(number)
        # A county is wide: they cannot all have said the same.
        assert len(said) > 5
        assert lost in it.sounds


async def test_a_silent_test_finds_the_ill_ones_and_nothing_is_heard_anywhere(
    broker: EmbeddedBroker | MosquittoBroker,
) -> None:
    terminals = 30
    faults = {
        "sim-00003": Fault.DEAD_AMPLIFIER,
        "sim-00005": Fault.BAD_HASH,
        "sim-00008": Fault.FULL_DISK,
        "sim-00011": Fault.DISORDERLY,
        "sim-00014": Fault.SPEAKS_FOR_OTHERS,
    }
    ill = {"sim-00003": "amplifier", "sim-00005": "hash-mismatch", "sim-00008": "fetch"}
    async with county(broker, terminals, faults=faults) as it:
        await it.controller.play("t1", seconds=2.0, silent=True)
        await it.controller.until("t1", terminals - len(ill))
        await it.controller.until("t1", len(ill), State.FAILED)
        endings = {t: it.controller.ending("t1", t) for t in it.controller.rows}
        assert {t: reason for t, (state, reason) in endings.items() if state is State.FAILED} == ill
        assert {e for t, e in endings.items() if t not in ill} == {(State.PLAYED, SILENT)}
        # Whoever speaks for its neighbour is not believed, and nothing came out of anything.
        assert "sim-00015" in it.controller.refused
        assert it.sounds == {}
        # The same ears hear what is to be heard.
        await it.controller.play("t2", seconds=2.0)
        await it.controller.until("t2", terminals - len(ill))
        assert set(it.finished) - ill.keys() == set(it.controller.rows) - ill.keys()
        assert "sim-00003" not in it.finished
