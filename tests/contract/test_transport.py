"""What every `Transport` does: the village in memory and MQTT over each broker that the program can start."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from controller.keys import throw_away
from simulators.broker import HOST, EmbeddedBroker, MosquittoBroker
from support.brokers import BROKERS, certificate, needs_mosquitto
from support.village import Unit, Village
from terminals.agent import core as agent
from terminals.transport import Address, ToGroup, ToTerminal, Transport, TransportError
from terminals.transports.mqtt import Endpoint, MqttTransport, topics

WAIT = 20  # seconds until a test gives up; no test waits that long when it passes
COUNTY = "zhouqu"
GROUPS = {"t-0001": ("all", "w01"), "t-0002": ("all", "w01"), "t-0003": ("all", "w02")}


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT):
        while not true():
            await asyncio.sleep(0.005)


class Way(ABC):
    """A transport that runs, and the far end of it."""

    transport: Transport

    def __init__(self) -> None:
        self.reports: list[tuple[str, bytes]] = []
        self.changes: list[bool] = []
        self.got: dict[str, list[bytes]] = {}

    def upward(self, terminal: str, payload: bytes) -> None:
        self.reports.append((terminal, payload))

    async def changed(self, up: bool) -> None:
        assert self.transport.connected is up  # whoever is told may look, and send at once
        self.changes.append(up)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.transport.run(self.upward, self.changed), name="transport")
        try:
            yield task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def up(self) -> None:
        await until(lambda: self.transport.connected)

    async def send(self, address: Address, body: bytes, lifetime_s: int = 60) -> None:
        await self.transport.send(address, body, lifetime_s=lifetime_s, sure=True)

    async def fence(self, *terminals: str) -> None:
        """Until each of them has everything that was sent before."""
        for terminal in terminals:
            await self.send(ToTerminal(terminal), b"fence")
        await until(lambda: all(b"fence" in self.got[t] for t in terminals))

    @abstractmethod
    async def join(self, terminal: str) -> None:
        """It listens from now on, to its own commands and its groups'."""

    @abstractmethod
    async def leave(self, terminal: str) -> None:
        """It goes away and is expected to come back."""

    @abstractmethod
    async def say(self, terminal: str, body: bytes) -> None: ...

    @abstractmethod
    async def cut(self) -> None:
        """The way breaks as in a power cut."""

    @abstractmethod
    async def mend(self) -> None: ...

    async def close(self) -> None:
        for terminal in list(self.got):
            await self.leave(terminal)


class _Ear:
    """Stands in for a terminal's core: keeps what comes down."""

    def __init__(self, got: list[bytes]) -> None:
        self._got = got

    def command(self, payload: bytes, _: int) -> list[agent.Effect]:
        self._got.append(payload)
        return []

    def next_wake(self) -> None:
        return None


class InMemory(Way):
    def __init__(self) -> None:
        super().__init__()
        keys = throw_away(sandbox=False)
        self.transport = self.village = Village(GROUPS, keys.ring, keys.secret)

    def unit(self, terminal: str) -> Unit:
        return self.village.units[terminal]

    async def join(self, terminal: str) -> None:
        unit = self.unit(terminal)
        unit.core = _Ear(self.got.setdefault(terminal, []))  # type: ignore[assignment]
        unit.groups = GROUPS[terminal]

    async def leave(self, terminal: str) -> None:
        self.village.power_off(terminal)

    async def say(self, terminal: str, body: bytes) -> None:
        self.village._do(self.unit(terminal), [agent.Send(body)])

    async def cut(self) -> None:
        self.village.reachable = False

    async def mend(self) -> None:
        self.village.reachable = True


class OverMqtt(Way):
    """Terminals that keep a session, which ours never do: whatever a broker can do to one, it does."""

    def __init__(self, broker: EmbeddedBroker | MosquittoBroker) -> None:
        super().__init__()
        self.broker = broker
        self.topics = topics(COUNTY)
        self.transport = MqttTransport(Endpoint(HOST, broker.port), COUNTY)
        self.links: dict[str, tuple[aiomqtt.Client, asyncio.Task[None]]] = {}

    async def join(self, terminal: str) -> None:
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 300
        client = aiomqtt.Client(
            HOST,
            self.broker.port,
            identifier=terminal,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=session,
            timeout=WAIT,
        )
        got = self.got.setdefault(terminal, [])
        await client.__aenter__()

        async def listen() -> None:
            with contextlib.suppress(aiomqtt.MqttError):
                async for message in client.messages:
                    assert isinstance(message.payload, bytes)
                    got.append(message.payload)

        self.links[terminal] = (client, asyncio.create_task(listen()))
        await client.subscribe(self.topics["terminal"].format(terminal), qos=1)
        for group in GROUPS[terminal]:
            await client.subscribe(self.topics["group"].format(group), qos=1)

    async def leave(self, terminal: str) -> None:
        client, task = self.links.pop(terminal)
        with contextlib.suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def say(self, terminal: str, body: bytes) -> None:
        await self.links[terminal][0].publish(self.topics["report"].format(terminal), body, qos=1)

    async def cut(self) -> None:
        await asyncio.to_thread(self.broker.kill)

    async def mend(self) -> None:
        await asyncio.to_thread(self.broker.start)

    async def close(self) -> None:
        for terminal in list(self.links):
            await self.leave(terminal)
        await asyncio.to_thread(self.broker.stop)


@asynccontextmanager
async def opened(kind: Any) -> AsyncIterator[Way]:
    if kind is None:
        memory = InMemory()
        yield memory
        await memory.close()
        return
    broker = kind()
    await asyncio.to_thread(broker.start)
    way = OverMqtt(broker)
    try:
        yield way
    finally:
        await way.close()


@pytest.fixture(params=[pytest.param(None, id="memory"), *BROKERS])
async def way(request: pytest.FixtureRequest) -> AsyncIterator[Way]:
    async with opened(request.param) as made:
        yield made


@pytest.fixture(params=BROKERS)
async def mqtt(request: pytest.FixtureRequest) -> AsyncIterator[Way]:
    async with opened(request.param) as made:
        yield made


async def all_join(way: Way, terminals: Iterable[str] = GROUPS) -> None:
    for terminal in terminals:
        await way.join(terminal)


# --- down --------------------------------------------------------------------------------------------


async def test_a_send_to_a_group_reaches_exactly_its_terminals(way: Way) -> None:
    async with way.running():
        await way.up()
        await all_join(way)
        await way.send(ToGroup("w01"), b"one")
        await way.send(ToGroup("all"), b"two")
        await until(lambda: all(b"two" in way.got[t] for t in GROUPS))
        await way.fence(*GROUPS)
        assert {t: sorted(way.got[t]) for t in GROUPS} == {
            "t-0001": [b"fence", b"one", b"two"],
            "t-0002": [b"fence", b"one", b"two"],
            "t-0003": [b"fence", b"two"],
        }


async def test_a_send_to_a_terminal_reaches_it_alone(way: Way) -> None:
    async with way.running():
        await way.up()
        await all_join(way)
        await way.send(ToTerminal("t-0002"), b"you")
        await way.fence(*GROUPS)
        assert [b"you" in way.got[t] for t in GROUPS] == [False, True, False]


async def test_every_byte_arrives_as_it_was_handed_over(way: Way) -> None:
    envelope = bytes(range(256)) * 64  # as long as the longest command, every value of a byte
    async with way.running():
        await way.up()
        await way.join("t-0001")
        await way.transport.send(ToTerminal("t-0001"), envelope, lifetime_s=60, sure=False)
        await until(lambda: way.got["t-0001"])
        assert way.got["t-0001"] == [envelope]


async def test_a_command_is_not_kept_for_who_subscribes_later(way: Way) -> None:
    async with way.running():
        await way.up()
        await way.join("t-0001")
        await way.send(ToGroup("w01"), b"before")
        await way.send(ToTerminal("t-0002"), b"before")
        await way.fence("t-0001")
        await way.join("t-0002")
        await way.fence("t-0002")
        assert way.got["t-0002"] == [b"fence"]


async def test_a_command_whose_lifetime_is_over_does_not_reach_a_terminal_that_returns(way: Way) -> None:
    async with way.running():
        await way.up()
        await way.join("t-0001")
        await way.leave("t-0001")
        await way.send(ToGroup("w01"), b"short", lifetime_s=1)
        await way.send(ToGroup("w01"), b"long", lifetime_s=60)
        await asyncio.sleep(2.2)  # brokers count whole seconds
        await way.join("t-0001")
        await way.fence("t-0001")
        assert b"short" not in way.got["t-0001"]
        if isinstance(way, OverMqtt):  # it was queued: the shorter one is missing for its lifetime alone
            await until(lambda: b"long" in way.got["t-0001"])


# --- up ----------------------------------------------------------------------------------------------


async def test_reports_come_up_under_the_id_of_the_topic_that_they_came_by(way: Way) -> None:
    async with way.running():
        await way.up()
        await all_join(way)
        await way.say("t-0003", b"\x00played\xff")
        await way.say("t-0001", b"t-0002 played")  # whatever is in it: the way says only whose way it was
        await until(lambda: len(way.reports) == 2)
        assert sorted(way.reports) == [("t-0001", b"t-0002 played"), ("t-0003", b"\x00played\xff")]


# --- the way breaks ----------------------------------------------------------------------------------


async def test_before_it_runs_nothing_can_be_sent(way: Way) -> None:
    assert not way.transport.connected
    with pytest.raises(TransportError):
        await way.send(ToGroup("all"), b"x")


async def test_it_comes_back_by_itself_every_time_and_says_so(way: Way) -> None:
    async with way.running():
        await way.up()
        for time in (1, 2):
            await way.cut()
            await until(lambda times=time: way.changes.count(False) == times)
            assert not way.transport.connected
            with pytest.raises(TransportError):
                await way.send(ToGroup("all"), b"lost")
            for terminal in list(getattr(way, "links", ())):
                await way.leave(terminal)
            await way.mend()
            await until(lambda times=time: way.changes.count(True) == times + 1)
            await way.join("t-0001")
            way.got["t-0001"].clear()
            await way.fence("t-0001")
            await way.say("t-0001", b"here %d" % time)
            await until(lambda times=time: ("t-0001", b"here %d" % times) in way.reports)
            assert way.got["t-0001"] == [b"fence"]
        assert way.changes == [True, False, True, False, True]


async def test_what_is_not_there_at_first_is_waited_for(way: Way) -> None:
    await way.cut()
    async with way.running():
        await asyncio.sleep(0.3)
        assert way.changes == []
        with pytest.raises(TransportError):
            await way.send(ToGroup("all"), b"x")
        await way.mend()
        await until(lambda: way.changes == [True])


async def test_a_sure_send_into_a_way_that_breaks_just_now_is_an_error_and_never_a_hang(way: Way) -> None:
    async with way.running():
        await way.up()
        await way.cut()
        with pytest.raises(TransportError):  # whether the break has been noticed or not
            async with asyncio.timeout(WAIT):
                await way.send(ToGroup("all"), b"x")


async def test_cancelling_it_leaves_no_task_and_no_connection(way: Way) -> None:
    before = asyncio.all_tasks()
    async with way.running() as task:
        await way.up()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not way.transport.connected
        with pytest.raises(TransportError):
            await way.send(ToGroup("all"), b"x")
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_cancelling_it_while_the_way_is_broken_leaves_no_task(way: Way) -> None:
    await way.cut()
    before = asyncio.all_tasks()
    async with way.running():
        await asyncio.sleep(0.3)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


# --- what only a network has -------------------------------------------------------------------------


def sockets(port: int) -> list[socket.socket]:
    """Copies of this process's own connections to `port`."""
    found: dict[str, socket.socket] = {}
    for fd in list(Path("/proc/self/fd").iterdir()):
        try:
            inode = str(fd.readlink())
            if not inode.startswith("socket:") or inode in found:
                continue
            one = socket.socket(fileno=os.dup(int(fd.name)))
        except OSError:
            continue
        with contextlib.suppress(OSError):
            if one.family == socket.AF_INET and one.getpeername()[1] == port:
                found[inode] = one
                continue
        one.close()
    return list(found.values())


async def test_a_command_is_not_held_back_to_be_sent_with_the_next(mqtt: OverMqtt) -> None:
    async with mqtt.running():
        await mqtt.up()
        mine = sockets(mqtt.broker.port)
        try:
            assert len(mine) == 1
            assert mine[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        finally:
            for one in mine:
                one.close()


async def test_reports_wait_for_a_controller_that_is_being_restarted(mqtt: OverMqtt) -> None:
    async with mqtt.running():
        await mqtt.up()
        await mqtt.join("t-0001")
    await mqtt.say("t-0001", b"meanwhile")
    async with mqtt.running():
        await until(lambda: mqtt.reports)
    assert mqtt.reports == [("t-0001", b"meanwhile")]


def is_stopped(group: int) -> bool:
    """Whether every process of the group stands still, every thread of it (T in /proc/PID/stat)."""
    states = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended while we looked
                for thread in (process / "task").iterdir():
                    fields = (thread / "stat").read_text().rpartition(") ")[2].split()
                    states += fields[:1] if int(fields[2]) == group else []
    return bool(states) and set(states) <= {"T", "Z"}


async def test_a_broker_that_hangs_is_an_error_and_then_an_outage(mqtt: OverMqtt) -> None:
    async with mqtt.running():
        await mqtt.up()
        os.killpg(mqtt.broker.pid, signal.SIGSTOP)
        try:
            await until(lambda: is_stopped(mqtt.broker.pid))  # a signal takes effect in its own time
            with pytest.raises(TransportError):
                async with asyncio.timeout(WAIT):
                    await mqtt.send(ToGroup("all"), b"x")
        finally:
            os.killpg(mqtt.broker.pid, signal.SIGCONT)
        await mqtt.up()
        await mqtt.join("t-0001")
        await mqtt.fence("t-0001")


# --- reports come in bursts --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 127, 128, 3000])
async def test_a_burst_of_reports_arrives_whole_and_in_order(mqtt: OverMqtt, size: int) -> None:
    bodies = [n.to_bytes(2, "big") * size for n in range(400)]
    async with mqtt.running():
        await mqtt.up()
        await mqtt.join("t-0001")
        await asyncio.gather(*(mqtt.say("t-0001", body) for body in bodies))
        await until(lambda: len(mqtt.reports) == len(bodies))
        assert [body for _, body in mqtt.reports] == bodies
        await mqtt.fence("t-0001")  # whatever was acknowledged meanwhile, commands still go down


@needs_mosquitto
async def test_a_burst_arrives_whole_over_tls(tmp_path: Path) -> None:
    certificate("server", tmp_path, None)
    both = ssl.create_default_context(cafile=str(tmp_path / "server.crt"))
    broker = MosquittoBroker(tls=(tmp_path / "server.crt", tmp_path / "server.key"))
    await asyncio.to_thread(broker.start)
    got: list[bytes] = []
    ups: list[bool] = []

    async def changed(up: bool) -> None:
        ups.append(up)

    transport = MqttTransport(Endpoint("localhost", broker.port, tls=both), COUNTY)
    task = asyncio.create_task(transport.run(lambda _, body: got.append(body), changed))
    try:
        await until(lambda: transport.connected)
        async with aiomqtt.Client(
            "localhost", broker.port, protocol=aiomqtt.ProtocolVersion.V5, tls_context=both, timeout=WAIT
        ) as terminal:
            bodies = [b"%04d" % n * 300 for n in range(1000)]
            topic = topics(COUNTY)["report"].format("t-0001")
            await asyncio.gather(*(terminal.publish(topic, body, qos=1) for body in bodies))
            await until(lambda: len(got) == len(bodies))
        assert got == bodies
        assert ups == [True]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(broker.stop)


# One CONNACK, one SUBACK for the first packet identifier, then what no broker may say.
_HELLO = bytes([0x20, 3, 0, 0, 0])
_SUBSCRIBED = bytes([0x90, 4, 0, 1, 0, 1])


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(bytes([0x32, 1, 0]), id="cut in the topic's length"),
        pytest.param(bytes([0x32, 3, 0, 9, 65]), id="topic longer than the packet"),
        pytest.param(bytes([0x32, 6, 0, 1, 65, 0, 1, 99]), id="properties longer than the packet"),
        pytest.param(bytes([0x34, 6, 0, 1, 65, 0, 1, 0]), id="QoS 2, which we never ask for"),
        pytest.param(bytes([0x30, 5, 0, 1, 0xFF, 0, 0]), id="a topic that is no UTF-8"),
    ],
)
async def test_a_broker_that_speaks_nonsense_is_an_outage_and_no_crash(odd: bytes) -> None:
    connections = 0

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with contextlib.suppress(ConnectionError):
            await reader.read(1000)
            writer.write(_HELLO)
            await reader.read(1000)
            writer.write(_SUBSCRIBED + odd)
            while await reader.read(1000):
                pass
        writer.close()

    server = await asyncio.start_server(broker, HOST, 0)
    changes: list[bool] = []
    reports: list[bytes] = []

    async def changed(up: bool) -> None:
        changes.append(up)

    transport = MqttTransport(Endpoint(HOST, server.sockets[0].getsockname()[1]), COUNTY)
    task = asyncio.create_task(transport.run(lambda _, body: reports.append(body), changed))
    try:
        await until(lambda: connections >= 2)
        assert not task.done()
        assert reports == []
        assert changes[:2] in ([True, False], [])
    finally:
        # aiomqtt leaves its socket behind when it is cancelled while it connects: the next try is refused.
        server.close()
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
