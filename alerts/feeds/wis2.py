"""WIS2: notifications of the WMO's Global Brokers over MQTT 5, and the documents that they name.

Several brokers bring the same notification: it is one by its id, and by data_id and pubtime (a cache
republishes under its own link, `feeds.md` §4.5). Each broker keeps our session: what is published while we
are away comes when we are back, and a notification is acknowledged to the broker only once its document is
journalled. What is fetched must match the notification's hash; links lead to named hosts only.
"""

from __future__ import annotations

import asyncio
import logging
import random as _random
import socket
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from alerts.feed import Document, FeedError, Outcome, Trust
from alerts.feeds import http
from alerts.formats.wis2 import MAX_NOTIFICATION, Notification, Relation, read_notification, verify
from alerts.formats.xml import MAX_BYTES
from alerts.model import AlertError

SESSION_S: Final = 86_400
"""How long a broker keeps what we miss."""
IN_FLIGHT: Final = 64
"""Notifications that a broker may send before the first is acknowledged: bounds every queue here."""
AT_ONCE: Final = 4
TRIES: Final = 5
RETRY: Final = 2.0
REMEMBERED: Final = 10_000
FIRST_PAUSE: Final = 1.0
MAX_PAUSE: Final = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Broker:
    """A Global Broker, or one that speaks like it."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(slots=True, eq=False)
class _Item:
    """One notification on its way, however many brokers brought it."""

    name: str
    copies: list[Notification]
    refused: str = ""
    keys: tuple[str, ...] = ()
    acks: list[Callable[[], None]] = field(default_factory=list)


class Wis2Feed:
    """Feed over one or more brokers."""

    trust = Trust.RELAY

    def __init__(
        self,
        name: str,
        brokers: Iterable[Broker],
        topics: Sequence[str],
        *,
        client: str,
        hosts: Iterable[str],
        deadline: float = 20.0,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = _random.random,
    ) -> None:
        """`client`: our name at the brokers, ours alone and the same after a restart. `hosts`: ``host`` or
        ``host:port`` from which documents may be fetched. `deadline`: seconds for one fetch."""
        self.name = name
        self._brokers = tuple(brokers)
        self._topics = tuple(topics)
        self._client = client
        self._hosts = http.hosts_of(hosts)
        self._deadline = deadline
        self._tls = tls
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._away = dict.fromkeys(self._brokers, "not connected yet")
        """Brokers that are not there, and why."""
        self._there: set[Broker] = set()
        self._last_good: datetime | None = None
        self._waiting: asyncio.Queue[_Item] = asyncio.Queue(IN_FLIGHT)
        self._ready: asyncio.Queue[Document] = asyncio.Queue(AT_ONCE)
        self._pending: dict[str, _Item] = {}
        """Not acknowledged yet, by each of its keys."""
        self._done: OrderedDict[str, None] = OrderedDict()

    @property
    def last_good(self) -> datetime | None:
        """Now, while any broker is there: that it has nothing to say is no trouble."""
        if self._there:
            self._last_good = self._clock()
        return self._last_good

    @property
    def trouble(self) -> str:
        """Brokers that are not there."""
        return "; ".join(f"broker {broker}: {why}" for broker, why in self._away.items())

    async def documents(self) -> AsyncIterator[Document]:
        """See `alerts.feed.Feed.documents`."""
        async with AsyncExitStack() as stack:
            getter = await stack.enter_async_context(http.Getter(deadline=self._deadline, tls=self._tls))
            loops = [
                *(
                    asyncio.create_task(self._listen(broker), name=f"{self.name}: {broker}")
                    for broker in self._brokers
                ),
                *(
                    asyncio.create_task(self._fetch(getter), name=f"{self.name}: fetch {number}")
                    for number in range(AT_ONCE)
                ),
            ]
            coming: asyncio.Task[Document] | None = None
            try:
                while True:
                    coming = asyncio.create_task(self._ready.get(), name=f"{self.name}: next")
                    await asyncio.wait([*loops, coming], return_when=asyncio.FIRST_COMPLETED)
                    for ended in loops:
                        if ended.done():
                            ended.result()  # only a bug, or a test's clock, ends one
                    yield await coming
            finally:
                for task in (*loops, *filter(None, (coming,))):
                    task.cancel()
                await asyncio.gather(*loops, *filter(None, (coming,)), return_exceptions=True)
                self._last_good = self.last_good
                self._there.clear()

    # --- brokers ---------------------------------------------------------------------------------------

    async def _listen(self, broker: Broker) -> None:
        """One broker's notifications, for ever. One broker's trouble is nothing to the others."""
        failures = 0
        while True:
            try:
                async with self._connect(broker) as client:
                    for topic in self._topics:
                        await client.subscribe(topic, qos=1)
                    _stop_if_cancelled()
                    self._away.pop(broker, None)
                    self._there.add(broker)
                    self._last_good = self._clock()
                    failures = 0
                    async for message in client.messages:
                        await self._take(client, message)
            except (aiomqtt.MqttError, OSError) as error:
                self._away[broker] = str(error) or type(error).__name__
                self._there.discard(broker)
            failures += 1
            await self._sleep(http.pause(FIRST_PAUSE, failures - 1, self._random, most=MAX_PAUSE, spread=0.5))

    def _connect(self, broker: Broker) -> aiomqtt.Client:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_S
        properties.ReceiveMaximum = IN_FLIGHT
        properties.MaximumPacketSize = 2 * MAX_NOTIFICATION
        client = aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            identifier=self._client,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=properties,
            keepalive=30,
            timeout=10,
            tls_context=broker.tls,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        # Acknowledged by hand, once the document is journalled. Before connecting: what the broker kept for
        # us comes with its greeting.
        client._client.manual_ack_set(True)
        return client

    async def _take(self, client: aiomqtt.Client, message: aiomqtt.Message) -> None:
        def ack() -> None:
            # Of a connection that is gone: the broker brings it again, and it is known then.
            client._client.ack(message.mid, message.qos)

        try:
            found = read_notification(message.payload)
        except AlertError as error:
            await self._waiting.put(_Item(message.topic.value, [], str(error), acks=[ack]))
            return
        keys = found.keys
        if any(key in self._done for key in keys):
            ack()
            return
        known = next((self._pending[key] for key in keys if key in self._pending), None)
        if known is not None:
            known.copies.append(found)
            known.acks.append(ack)
            return
        refused = ""
        if found.relation is Relation.DELETION:
            refused = f"withdraws {found.data_id}: that a document is withdrawn ends no warning"
        item = _Item(found.data_id, [found], refused, keys, [ack])
        self._pending |= dict.fromkeys(keys, item)
        await self._waiting.put(item)

    # --- documents -------------------------------------------------------------------------------------

    async def _fetch(self, getter: http.Getter) -> None:
        while True:
            item = await self._waiting.get()
            body, refused = b"", item.refused
            if not refused:
                body, refused = await self._body(getter, item)
            await self._ready.put(self._document(item, body, refused))

    async def _body(self, getter: http.Getter, item: _Item) -> tuple[bytes, str]:
        """The verified document, or why it cannot be had. Copies from other brokers name other links."""
        why = ""
        for attempt in range(TRIES):
            if attempt:
                await self._sleep(http.pause(RETRY, attempt - 1, self._random))
            copy = item.copies[attempt % len(item.copies)]
            try:
                if copy.content is not None:
                    body = copy.content
                else:
                    link = http.parse_url(copy.href)
                    if forbidden := http.forbidden(None, link, self._hosts):
                        raise FeedError(forbidden)
                    body = (await getter.get(link, MAX_BYTES)).body
                verify(copy, body)
            except (FeedError, AlertError) as error:
                why = str(error)
            else:
                return body, ""
        return b"", f"could not be had in {TRIES} tries: {why}"

    def _document(self, item: _Item, body: bytes, refused: str) -> Document:
        async def acknowledge(_: Outcome, __: str) -> None:
            for key in item.keys:
                self._pending.pop(key, None)
                self._done[key] = None
            while len(self._done) > REMEMBERED:
                self._done.popitem(last=False)
            while item.acks:
                item.acks.pop()()

        return Document(self.name, item.name, body, self._clock(), acknowledge, refused)


def _stop_if_cancelled() -> None:
    """aiomqtt waits with `asyncio.wait_for`, which before Python 3.12 swallows a cancellation that comes in
    the same tick as the answer (python/cpython#86296)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
