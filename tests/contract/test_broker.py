"""What the product expects of a broker, asked of every broker that it starts."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from simulators.broker import (
    HOST,
    LOG_BYTES,
    MAX_PAYLOAD,
    BrokerError,
    EmbeddedBroker,
    MosquittoBroker,
)
from support.brokers import BROKERS, needs_mosquitto

REPO = Path(__file__).parents[2]
WAIT = 20  # seconds until a test gives up; no test waits that long when it passes


@pytest.fixture(scope="module", params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[EmbeddedBroker | MosquittoBroker]:
    with request.param() as started:
        yield started


def props(kind: int, **values: Any) -> Properties:
    made = Properties(kind)
    for name, value in values.items():
        setattr(made, name, value)
    return made


def client(port: int, name: str, *, session: int = 0, **more: Any) -> aiomqtt.Client:
    """`session`: seconds that the broker keeps it after it is gone; 0 = clean start, nothing kept."""
    return aiomqtt.Client(
        HOST,
        port,
        identifier=name,
        protocol=aiomqtt.ProtocolVersion.V5,
        keepalive=15,
        timeout=WAIT,
        clean_start=more.pop("clean_start", session == 0),
        properties=props(PacketTypes.CONNECT, SessionExpiryInterval=session),
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        **more,
    )


async def payloads(subscriber: aiomqtt.Client, count: int) -> list[bytes]:
    async with asyncio.timeout(WAIT):
        got: list[bytes] = []
        async for message in subscriber.messages:
            assert isinstance(message.payload, bytes)
            got.append(message.payload)
            if len(got) == count:
                break
        return got


@contextlib.asynccontextmanager
async def subscribed(port: int, name: str, topic: str, **more: Any) -> AsyncIterator[aiomqtt.Client]:
    async with client(port, name, **more) as subscriber:
        await subscriber.subscribe(topic, qos=1)
        yield subscriber


async def test_a_message_of_quality_one_goes_round_without_nagles_delay(broker: Any) -> None:
    async with subscribed(broker.port, "round", "round/1") as both:
        sock = both._client.socket()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        await both.publish("round/1", b"x", qos=1)
        async with asyncio.timeout(WAIT):
            message = await anext(aiter(both.messages))
        assert (str(message.topic), message.payload, message.qos, message.retain) == (
            "round/1",
            b"x",
            1,
            False,
        )


async def test_a_wildcard_hears_every_terminal_and_nothing_else(broker: Any) -> None:
    async with subscribed(broker.port, "wild", "wild/rpt/+") as controller:
        for topic in ("wild/rpt/a", "wild/other/b", "wild/rpt/c/deeper", "wild/rpt/d"):
            await controller.publish(topic, topic.encode(), qos=1)
        assert await payloads(controller, 2) == [b"wild/rpt/a", b"wild/rpt/d"]


async def test_a_message_whose_time_is_over_is_not_delivered_to_a_returning_session(broker: Any) -> None:
    async with subscribed(broker.port, "expiry", "expiry/1", session=300):
        pass
    async with client(broker.port, "expiry-sender") as sender:
        for payload, seconds in ((b"short", 1), (b"long", 600)):
            lifetime = props(PacketTypes.PUBLISH, MessageExpiryInterval=seconds)
            await sender.publish("expiry/1", payload, qos=1, properties=lifetime)
    await asyncio.sleep(2.5)
    async with client(broker.port, "expiry", session=300, clean_start=False) as back:
        assert await payloads(back, 1) == [b"long"]


async def test_an_abruptly_closed_connection_publishes_its_will(broker: Any) -> None:
    async with subscribed(broker.port, "watch", "will/here/t1") as watcher:
        will = aiomqtt.Will("will/here/t1", b"gone", qos=1, retain=False)
        with contextlib.suppress(aiomqtt.MqttError):
            async with client(broker.port, "t1", will=will) as terminal:
                terminal._client.socket().shutdown(socket.SHUT_RDWR)
                await payloads(terminal, 1)
        assert await payloads(watcher, 1) == [b"gone"]


async def test_the_second_with_an_id_takes_over_from_the_first(broker: Any) -> None:
    async def until_thrown_out(connected: asyncio.Event) -> None:
        async with client(broker.port, "twin") as first:
            connected.set()
            await payloads(first, 1)

    connected = asyncio.Event()
    first = asyncio.create_task(until_thrown_out(connected))
    await connected.wait()
    async with subscribed(broker.port, "twin", "twin/1") as second:
        with pytest.raises(aiomqtt.MqttError):
            await first
        await second.publish("twin/1", b"mine", qos=1)
        assert await payloads(second, 1) == [b"mine"]


async def test_a_clean_start_gets_nothing_that_was_queued_before(broker: Any) -> None:
    async with subscribed(broker.port, "clean", "clean/1", session=300):
        pass
    async with client(broker.port, "clean-sender") as sender:
        await sender.publish("clean/1", b"a Play that was cancelled since", qos=1)
    async with subscribed(broker.port, "clean", "clean/1") as back:
        await back.publish("clean/1", b"now", qos=1)
        assert await payloads(back, 1) == [b"now"]


async def test_a_kept_session_gets_what_was_queued_in_order(broker: Any) -> None:
    async with subscribed(broker.port, "kept", "kept/#", session=300):
        pass
    async with client(broker.port, "kept-sender") as sender:
        for number in range(50):
            await sender.publish(f"kept/{number}", b"%d" % number, qos=1)
    async with client(broker.port, "kept", session=300, clean_start=False) as back:
        assert await payloads(back, 50) == [b"%d" % n for n in range(50)]


async def test_a_payload_just_under_the_limit_passes(broker: Any) -> None:
    big = b"x" * (MAX_PAYLOAD - 500)
    async with subscribed(broker.port, "big", "big/1") as both:
        await both.publish("big/1", big, qos=1)
        assert await payloads(both, 1) == [big]


@pytest.mark.parametrize("kind", BROKERS)
async def test_only_a_known_user_with_the_right_password_gets_in(kind: Any) -> None:
    async with kind(users={"controller": 'quo"ted'}) as broker:
        async with client(broker.port, "ok", username="controller", password='quo"ted'):
            pass
        for name, password in (("controller", "wrong"), (None, None)):
            refused = client(broker.port, "no", username=name, password=password)
            refused.timeout = 2  # iotcore closes without a reason, so aiomqtt waits its time out
            with pytest.raises(aiomqtt.MqttError):
                async with refused:
                    pass


@pytest.mark.parametrize("kind", BROKERS)
def test_after_stop_and_after_kill_the_port_is_closed_and_the_same_port_starts_again(kind: Any) -> None:
    broker = kind()
    port = broker.start()
    for end in (broker.stop, broker.kill, broker.stop):
        assert broker.running
        end()
        assert not broker.running
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port), 1)
        assert broker.start() == port
    broker.stop()
    broker.stop()
    broker.kill()


@pytest.mark.parametrize("kind", BROKERS)
def test_a_taken_port_is_refused_with_its_number(kind: Any) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BrokerError, match=str(port)):
            kind(port).start()


@pytest.mark.parametrize("kind", BROKERS)
def test_it_listens_on_loopback_only(kind: Any) -> None:
    with kind() as broker:
        hexport = f"{broker.port:04X}"
        listening = [
            fields[1]
            for table in ("/proc/net/tcp", "/proc/net/tcp6")
            if Path(table).exists()
            for fields in (line.split() for line in Path(table).read_text().splitlines()[1:])
            if fields[3] == "0A" and fields[1].endswith(":" + hexport)
        ]
        assert listening == [f"0100007F:{hexport}"]


@pytest.mark.parametrize("kind", BROKERS)
def test_the_broker_ends_when_its_parent_is_killed(kind: Any) -> None:
    code = (
        f"from simulators.broker import {kind.__name__} as B; import time\n"
        "b = B(); print(b.start(), b.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=REPO)
    assert parent.stdout is not None
    with parent.stdout:
        port, group = (int(word) for word in parent.stdout.readline().split())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    try:
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            try:
                socket.create_connection((HOST, port), 1).close()
            except OSError:
                return
            time.sleep(0.02)
        pytest.fail("the broker outlived its parent")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def test_a_strangers_odd_packets_neither_end_the_embedded_broker_nor_fill_its_log() -> None:
    with EmbeddedBroker() as broker:
        for _ in range(300):
            with socket.create_connection((HOST, broker.port), WAIT) as stranger:
                stranger.sendall(b"\x20\x03\x00\x00\x00")  # CONNACK before CONNECT: rumqttd's task panics
        with socket.create_connection((HOST, broker.port), WAIT):
            assert broker.running
        assert len(broker.log.encode()) <= LOG_BYTES


async def test_the_embedded_broker_drops_who_sends_more_than_its_limit() -> None:
    async def send_too_much(port: int) -> None:
        async with client(port, "huge") as sender:
            await sender.publish("huge/1", b"x" * (MAX_PAYLOAD + 1000), qos=0)
            await payloads(sender, 1)

    async with EmbeddedBroker() as broker:
        with pytest.raises(aiomqtt.MqttError):
            await send_too_much(broker.port)


async def _queued_then_marker(broker: MosquittoBroker) -> bytes:
    """Queue 1,500 for an absent session; what comes after the first 1,000 once it is back."""
    async with subscribed(broker.port, "absent", "queue/1", session=300):
        pass
    async with client(broker.port, "queue-sender") as sender:
        for number in range(1500):
            await sender.publish("queue/1", b"%d" % number, qos=1)
        async with client(broker.port, "absent", session=300, clean_start=False) as back:
            assert await payloads(back, 1000) == [b"%d" % n for n in range(1000)]
            await sender.publish("queue/1", b"marker", qos=1)
            return (await payloads(back, 1))[0]


@needs_mosquitto
async def test_mosquittos_own_queue_limit_loses_and_the_production_limit_does_not() -> None:
    async with MosquittoBroker(production=False) as broker:
        assert await _queued_then_marker(broker) == b"marker"
    async with MosquittoBroker(production=True) as broker:
        assert await _queued_then_marker(broker) == b"1000"


@needs_mosquitto
async def test_mosquitto_with_persistence_keeps_queued_messages_over_a_stop(tmp_path: Path) -> None:
    for folder, expected in ((tmp_path, b"before the stop"), (None, b"after it")):
        broker = MosquittoBroker(persistence=folder)
        async with broker:
            async with subscribed(broker.port, "lasting", "lasting/1", session=300):
                pass
            async with client(broker.port, "lasting-sender") as sender:
                await sender.publish("lasting/1", b"before the stop", qos=1)
        async with broker, client(broker.port, "lasting", session=300, clean_start=False) as back:
            await back.subscribe("lasting/1", qos=1)
            await back.publish("lasting/1", b"after it", qos=1)
            assert await payloads(back, 1) == [expected]
