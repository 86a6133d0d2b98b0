"""The terminal's way to the broker: its own certificate, its will, and nothing that waits for it there."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from simulators.broker import HOST, EmbeddedBroker, mosquitto_binary
from support.brokers import BROKERS, certificate, needs_mosquitto
from terminals.agent import link as module
from terminals.agent.link import QUEUED, Broker, Link, trust
from terminals.transports.mqtt import topics

TOPICS = topics("zhouqu")
LIMIT_S = 30


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(module, "CONNECT_S", 3.0)


class End:
    """The terminal's end."""

    def __init__(self, broker: Broker, me: str = "t1") -> None:
        self.got: list[bytes] = []
        self.ups = self.downs = 0
        self.groups: tuple[str, ...] = ("all",)
        self.fails: Exception | None = None
        self.link = Link(
            broker, me=me, county="zhouqu", keepalive_s=10, up=self.up, down=self.down, message=self.message
        )

    def up(self) -> None:
        self.ups += 1
        self.link.subscribe(self.groups)
        self.link.send(b"hello")

    def down(self) -> None:
        self.downs += 1

    def message(self, payload: bytes) -> None:
        if self.fails is not None:
            raise self.fails
        self.got.append(payload)

    @asynccontextmanager
    async def on(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.link.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, true: Any) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not true():
                await asyncio.sleep(0.01)


def plainly(port: int) -> Broker:
    return Broker(HOST, port, None)


@asynccontextmanager
async def office(port: int) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client(HOST, port, protocol=aiomqtt.ProtocolVersion.V5, timeout=LIMIT_S) as client:
        await client.subscribe("fenghuo/#", qos=1)
        yield client


async def next_of(client: aiomqtt.Client, topic: str) -> bytes:
    async with asyncio.timeout(LIMIT_S):
        async for message in client.messages:
            if message.topic.value == topic:
                assert isinstance(message.payload, bytes)
                return message.payload
    raise AssertionError("the broker went away")


@pytest.mark.parametrize("kind", BROKERS)
async def test_it_says_that_it_is_there_hears_its_topics_and_the_broker_says_when_it_is_gone(
    kind: Any,
) -> None:
    async with kind() as broker, office(broker.port) as client:
        end = End(plainly(broker.port))
        async with end.on():
            assert await next_of(client, "fenghuo/zhouqu/here/t1") == b"online"
            assert await next_of(client, "fenghuo/zhouqu/rpt/t1") == b"hello"
            while not end.got:  # the group's topic is subscribed to a moment after the own one
                await client.publish("fenghuo/zhouqu/cmd/g/all", b"to all", qos=1)
                await asyncio.sleep(0.05)
            await client.publish("fenghuo/zhouqu/cmd/t/t2", b"to another", qos=1)
            await client.publish("fenghuo/zhouqu/cmd/t/t1", b"to us", qos=1)
            await end.until(lambda: b"to us" in end.got)
            assert set(end.got) == {b"to all", b"to us"}
            assert end.link.connected
        assert (end.ups, end.downs, end.link.connected) == (1, 1, False)


@pytest.mark.parametrize("kind", BROKERS)
async def test_its_will_is_said_when_the_connection_breaks(kind: Any) -> None:
    async with kind() as broker, office(broker.port) as client:
        end = End(plainly(broker.port))
        async with end.on():
            assert await next_of(client, "fenghuo/zhouqu/here/t1") == b"online"
            reached = asyncio.create_task(next_of(client, "fenghuo/zhouqu/here/t1"))
            _break(end)
            assert await reached == b"offline"


def _break(end: End) -> None:
    """As a cable that is pulled out: the peer's reset."""
    for client in (obj for obj in _clients(end) if obj._client.socket() is not None):
        client._client.socket().shutdown(socket.SHUT_RDWR)


def _clients(end: End) -> Iterator[aiomqtt.Client]:
    yield from (o for o in gc.get_objects() if isinstance(o, aiomqtt.Client) and o.identifier == end.link._me)


async def test_after_the_brokers_restart_it_comes_back_and_subscribes_again() -> None:
    broker = EmbeddedBroker()
    await asyncio.to_thread(broker.start)
    try:
        end = End(plainly(broker.port))
        async with end.on():
            await end.until(lambda: end.ups == 1)
            await asyncio.to_thread(broker.kill)
            await end.until(lambda: end.downs == 1)
            for n in range(QUEUED + 10):
                end.link.send(b"%d" % n)
            assert end.link.queued == QUEUED, "bounded; the oldest go"
            await asyncio.to_thread(broker.start)
            await end.until(lambda: end.ups == 2)
            await end.until(lambda: end.link.queued == 0)
            async with office(broker.port) as client:
                end.got.clear()
                while not end.got:
                    await client.publish("fenghuo/zhouqu/cmd/g/all", b"again", qos=1)
                    await asyncio.sleep(0.05)
        assert end.got[0] == b"again"
    finally:
        await asyncio.to_thread(broker.stop)


async def test_a_bug_in_what_is_done_with_a_message_ends_it() -> None:
    async with EmbeddedBroker() as broker, office(broker.port) as client:
        end = End(plainly(broker.port))
        end.fails = ZeroDivisionError("a bug")
        async with end.on() as task:
            await end.until(lambda: end.ups == 1)
            await client.publish("fenghuo/zhouqu/cmd/t/t1", b"x", qos=1)
            with pytest.raises(BaseExceptionGroup) as caught:
                async with asyncio.timeout(LIMIT_S):
                    await task
        assert caught.group_contains(ZeroDivisionError, match="a bug")


async def test_nobody_at_the_brokers_address_is_said_and_tried_again() -> None:
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    end = End(plainly(port))
    async with end.on() as task:
        await end.until(lambda: end.link.trouble)
        assert not task.done()
    assert end.ups == end.downs == 0


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


@needs_mosquitto
async def test_with_its_certificate_it_is_let_in_and_without_it_is_not(tmp_path: Path) -> None:
    authority = certificate("ca", tmp_path, None)
    for name in ("server", "t1"):
        certificate(name, tmp_path, authority)
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    config = tmp_path / "mosquitto.conf"
    config.write_text(
        f"listener {port} {HOST}\nallow_anonymous false\nuser root\n"
        "require_certificate true\nuse_identity_as_username true\n"
        f"cafile {tmp_path}/ca.crt\ncertfile {tmp_path}/server.crt\nkeyfile {tmp_path}/server.key\n"
    )
    process = _started([str(mosquitto_binary()), "-c", str(config)])
    try:
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection((HOST, port), 1).close()
                break
            except OSError:
                await asyncio.sleep(0.02)
        ca = str(tmp_path / "ca.crt")
        address = f"mqtts://localhost:{port}"
        stranger = End(Broker.of(address, lambda: trust(ca)))
        ours = End(Broker.of(address, lambda: trust(ca, str(tmp_path / "t1.crt"), str(tmp_path / "t1.key"))))
        mistaken = End(Broker.of(address, lambda: trust("")))  # does not know who signed the broker's
        async with stranger.on(), ours.on(), mistaken.on():
            await ours.until(lambda: ours.ups == 1 and stranger.link.trouble and mistaken.link.trouble)
            assert "certificate" in mistaken.link.trouble.lower()
        assert stranger.ups == mistaken.ups == 0
    finally:
        process.terminate()
        process.wait(LIMIT_S)
