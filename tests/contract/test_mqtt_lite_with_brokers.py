"""What a simulated terminal asks of its link, asked of every broker that the program starts."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiomqtt
import pytest

from simulators.broker import HOST, EmbeddedBroker, MosquittoBroker
from simulators.mqtt_lite import Connection, Will, connect_packet
from support.brokers import BROKERS

WAIT = 20  # seconds until a test gives up; no test waits that long when it passes


@pytest.fixture(scope="module", params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[EmbeddedBroker | MosquittoBroker]:
    with request.param() as started:
        yield started


class Listener:
    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.why: str | None = None
        self.is_open = False

    def mqtt_open(self) -> None:
        self.is_open = True

    def mqtt_message(self, topic: str, payload: bytes) -> None:
        self.got.append((topic, payload))

    def mqtt_closed(self, why: str, error: Exception | None) -> None:
        assert error is None
        self.why = why


Opener = Callable[..., Any]


@pytest.fixture
async def opened(broker: EmbeddedBroker) -> AsyncIterator[Opener]:
    """Opens connections and ends what is left of them."""
    links: list[Connection] = []

    async def open_one(name: str, **more: Any) -> tuple[Connection, Listener]:
        owner = Listener()
        given: dict[str, Any] = {"keepalive": 60, "username": name, "will": None}
        link = Connection(owner, connect_packet(name, **(given | more)))
        await asyncio.get_running_loop().create_connection(lambda: link, HOST, broker.port)
        links.append(link)
        await until(lambda: owner.is_open or owner.why is not None)
        assert owner.is_open, owner.why
        return link, owner

    yield open_one
    for link in links:
        link.abort()
    await asyncio.sleep(0)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT):
        while not true():
            await asyncio.sleep(0.005)


def aio(broker: EmbeddedBroker, name: str) -> aiomqtt.Client:
    return aiomqtt.Client(HOST, broker.port, identifier=name, protocol=aiomqtt.ProtocolVersion.V5)


async def test_nagle_does_not_delay_it(opened: Opener) -> None:
    link, _ = await opened("nodelay")
    sock = link._transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_messages_of_both_qualities_go_round_in_their_order(opened: Opener) -> None:
    link, owner = await opened("round")
    assert link.subscribe("round/1", "round/2")
    for n in range(40):
        assert link.publish(f"round/{n % 2 + 1}", b"%d" % n, qos=1)
    await until(lambda: len(owner.got) == 40)
    assert sorted(int(p) for _, p in owner.got) == list(range(40))
    assert [p for t, p in owner.got if t == "round/1"] == [b"%d" % n for n in range(0, 40, 2)]
    await until(lambda: link.unacknowledged == 0)
    link.publish("round/1", b"plain", qos=0)
    await until(lambda: owner.got[-1] == ("round/1", b"plain"))


async def test_it_understands_the_products_client_and_is_understood(
    opened: Opener, broker: EmbeddedBroker
) -> None:
    link, owner = await opened("t1")
    link.subscribe("lite/cmd/t1")
    await until(lambda: link.unacknowledged == 0)
    async with asyncio.timeout(WAIT), aio(broker, "product") as product:
        await product.subscribe("lite/rpt/+", qos=1)
        await product.publish("lite/cmd/t1", b"\x00\xff" * 8_000, qos=1)
        await until(lambda: owner.got)
        assert owner.got == [("lite/cmd/t1", b"\x00\xff" * 8_000)]
        link.publish("lite/rpt/t1", b"heard")
        message = await anext(aiter(product.messages))
        assert (message.topic.value, message.payload, message.qos) == ("lite/rpt/t1", b"heard", 1)


async def test_what_it_acknowledges_is_not_sent_again_and_the_next_ones_come(opened: Opener) -> None:
    link, owner = await opened("acks")
    link.subscribe("acks/1")
    sender, _ = await opened("acks-sender")
    await until(lambda: link.unacknowledged == 0)
    for n in range(500):  # more than any broker leaves in flight
        while not sender.publish("acks/1", b"%d" % n):
            await asyncio.sleep(0.001)
    await until(lambda: len(owner.got) >= 500)
    assert [int(p) for _, p in owner.got] == list(range(500))


async def test_after_unsubscribing_nothing_more_comes(opened: Opener) -> None:
    link, owner = await opened("leaver")
    link.subscribe("leave/1", "leave/2")
    link.unsubscribe("leave/1")
    await until(lambda: link.unacknowledged == 0)
    link.publish("leave/1", b"no")
    link.publish("leave/2", b"yes")
    await until(lambda: owner.got)
    assert owner.got == [("leave/2", b"yes")]


async def test_a_ping_is_answered(opened: Opener) -> None:
    link, owner = await opened("pinger")
    for _ in range(3):
        link.keep_alive()
        await until(lambda: link._heard)
    assert owner.why is None


async def test_only_a_connection_without_a_goodbye_leaves_its_will(opened: Opener) -> None:
    _, watcher = watching = await opened("will-watcher")
    watching[0].subscribe("will/+")
    await until(lambda: watching[0].unacknowledged == 0)
    polite, polite_owner = await opened("polite", will=Will("will/polite", b"gone"))
    rude, _ = await opened("rude", will=Will("will/rude", b"gone"))
    polite.close()
    await until(lambda: polite_owner.why is not None)
    rude.abort()
    await until(lambda: watcher.got)
    assert watcher.got == [("will/rude", b"gone")]


async def test_a_second_one_with_its_id_ends_it(opened: Opener) -> None:
    _, first = await opened("twin")
    await opened("twin")
    await until(lambda: first.why is not None)
    assert first.why
