"""A terminal that was away while a warning was sent and cancelled never plays it: not ours, which start
clean, and not even one whose session the broker kept with the Play in its queue."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from simulators.broker import HOST, EmbeddedBroker, MosquittoBroker
from simulators.fleet import Fleet, FleetOptions
from support.brokers import BROKERS
from support.county import cap
from support.running import LIMIT_S, TOKEN, Site
from support.tasks import ended
from terminals.agent.core import Core, Durable, Fetch, Identity, Send, Sound
from terminals.seal import open_command
from terminals.transports.mqtt import topics
from terminals.wire import Play, Stop, Time
from tts import floor

pytestmark = pytest.mark.slow

ME = "sim-00001"
TOPICS = topics("zhouqu")


class Place:
    """A controller, a broker and one simulated terminal in 西城社区."""

    def __init__(self, site: Site, process: asyncio.subprocess.Process, fleet: Fleet, port: int) -> None:
        self.site, self.process, self.fleet, self.port = site, process, fleet, port

    async def send(self) -> str:
        (self.site.home / "w.xml").write_bytes(cap(codes=("623023100000",)))
        code, out, err = await self.site.cli("alert", "send", "w.xml", "--yes")
        assert code == 0, err
        alert = out.split()[0]
        for broadcast in await self.broadcasts(alert):  # the broker has them
            await self.until(broadcast, lambda one: one["voiced"] is not None)
        return alert

    async def cancel(self, alert: str) -> None:
        code, out, err = await self.site.cli("alert", "cancel", alert, "--yes")
        assert code == 0, err
        assert "all_clear" not in out  # nobody had heard it

    async def broadcasts(self, alert: str) -> list[str]:
        return (await self.site.api.get(f"/v1/alerts/{alert}")).json()["broadcasts"]

    async def until(self, broadcast: str, true: Callable[[Any], bool]) -> Any:
        path = f"/v1/broadcasts/{broadcast}"
        return (await self.site.until_answered(path, lambda a: true(a.json()), self.process)).json()

    async def all_cancelled(self, alert: str) -> None:
        """Every broadcast of it is over at the terminal, which said so itself."""
        for broadcast in await self.broadcasts(alert):
            summary = await self.until(broadcast, lambda one: one["done"] is not None)
            assert [(m["terminal"], m["state"]) for m in summary["not_reached"]] == [(ME, "cancelled")]


@asynccontextmanager
async def a_place(home: Path, kind: type[EmbeddedBroker] | type[MosquittoBroker]) -> AsyncIterator[Place]:
    broker = kind()
    await asyncio.to_thread(broker.start)
    try:
        site = Site(home, broker=f"{{url: 'mqtt://127.0.0.1:{broker.port}'}}")
        async with site.serve("speaking") as process:
            fleet = Fleet(FleetOptions(controller=site.url, token=TOKEN, terminals=1, speed=60.0))
            try:
                async with asyncio.timeout(LIMIT_S):
                    await fleet.start()
                    await fleet.wait(fleet.ready)
                yield Place(site, process, fleet, broker.port)
            finally:
                await fleet.stop()
    finally:
        await asyncio.to_thread(broker.stop)


class Board:
    """A real core on a host that does what ours never do: it asks the broker to keep its session. Its
    loudspeaker starts at once, and it has the clip already, so that nothing but a decision delays a sound."""

    def __init__(self, identity: Identity, port: int, lost: Callable[[str, object], bool]) -> None:
        self._identity, self._port, self._lost = identity, port, lost
        self.core = Core(
            identity,
            Durable(),
            boot="b1",
            random=random.SystemRandom(),
            held={floor.generic("actual")[1].sha256},
        )
        self.got: list[str] = []
        self.sounded: list[str] = []

    def _client(self) -> aiomqtt.Client:
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 600
        return aiomqtt.Client(
            HOST,
            self._port,
            identifier=self._identity.id,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=session,
        )

    async def subscribe_and_go(self) -> None:
        async with self._client() as client:
            await self._subscribe(client)

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        await client.subscribe(TOPICS["terminal"].format(self._identity.id), qos=1)
        for group in self._identity.groups:
            await client.subscribe(TOPICS["group"].format(group), qos=1)

    @asynccontextmanager
    async def on(self) -> AsyncIterator[None]:
        """Connected, with what was queued for it coming down first."""
        async with self._client() as client:
            task = asyncio.create_task(self._live(client))
            try:
                yield
            finally:
                await ended(task)
                with contextlib.suppress(asyncio.CancelledError):
                    task.result()

    async def _live(self, client: aiomqtt.Client) -> None:
        await self._carry(client, self.core.connected(_mono()))
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            command = open_command(message.payload, self._identity.ring).command
            if self._lost(message.topic.value, command):
                continue
            self.got.append(type(command).__name__)
            await self._carry(client, self.core.command(message.payload, _mono()))

    async def _carry(self, client: aiomqtt.Client, effects: list[Any]) -> None:
        for effect in effects:
            match effect:
                case Send(payload=payload):
                    await client.publish(TOPICS["report"].format(self._identity.id), payload, qos=1)
                case Sound(broadcast=broadcast):
                    self.sounded.append(broadcast)
                    await self._carry(client, self.core.started(broadcast, _mono()))
                case Fetch():
                    raise AssertionError("the clip is held")
                case _:
                    pass


def _mono() -> int:
    return int(asyncio.get_running_loop().time() * 1000)


def _nothing(topic: str, command: object) -> bool:
    return False


def _queued_stops(topic: str, command: object) -> bool:
    """As a queue that overflowed: mosquitto keeps the first thousand messages by default."""
    return isinstance(command, Stop) and "/cmd/g/" in topic


@pytest.mark.parametrize("kind", BROKERS)
async def test_one_of_ours_returns_after_the_cancel_and_never_plays_it(tmp_path: Path, kind: Any) -> None:
    async with a_place(tmp_path, kind) as place:
        place.fleet.kill_power(ME)
        alert = await place.send()
        await place.cancel(alert)
        place.fleet.restore_power(ME)
        await place.all_cancelled(alert)
        assert place.fleet.counts.started == 0
        # That it would have played shows one that is not cancelled.
        place.fleet.kill_power(ME)
        alert = await place.send()
        place.fleet.restore_power(ME)
        for broadcast in await place.broadcasts(alert):
            summary = await place.until(broadcast, lambda one: one["done"] is not None)
        assert summary["total"]["played"] == 1
        assert place.fleet.counts.started > 0


async def _impostor(tmp_path: Path, kind: Any, lost: Callable[[str, object], bool]) -> Board:
    """What a terminal heard and did that was away with its session kept, while a warning came and went."""
    async with a_place(tmp_path, kind) as place:
        place.fleet.kill_power(ME)
        identity = place.fleet._terminals[ME].identity
        board = Board(identity, place.port, lost)
        await board.subscribe_and_go()
        alert = await place.send()
        await place.cancel(alert)
        async with board.on():
            await place.all_cancelled(alert)
        return board


@pytest.mark.parametrize("kind", BROKERS)
async def test_a_play_still_in_the_brokers_queue_makes_no_sound_after_its_cancel(
    tmp_path: Path, kind: Any
) -> None:
    board = await _impostor(tmp_path, kind, _nothing)
    assert board.got[0] == Play.__name__  # the broker did play it to us
    assert board.got.index(Play.__name__) < board.got.index(Time.__name__)
    assert board.sounded == []


# The embedded broker queues what is sent without an acknowledgement too, so that the repeated Stops are in
# its queue as well; mosquitto does not.
@pytest.mark.parametrize("kind", BROKERS)
async def test_a_play_in_the_queue_makes_no_sound_even_if_its_stop_was_lost_there(
    tmp_path: Path, kind: Any
) -> None:
    board = await _impostor(tmp_path, kind, _queued_stops)
    assert board.got[0] == Play.__name__
    assert Stop.__name__ in board.got  # the controller's own answer to the hello
    assert board.sounded == []
