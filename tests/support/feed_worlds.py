"""Worlds that feeds read: each can be given documents, broken and mended, and makes a feed over itself.

Polling feeds are driven by the injected `sleep`. What comes by itself (a socket, a broker, a post) is driven
beside the feed: the same counted polls go on once what was put has come, or the trouble is told.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import httpx2
from paho.mqtt import publish
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from alerts.feed import Document, Feed, Trust
from alerts.feeds.inbox import InboxFeed
from alerts.feeds.socket import SocketFeed
from alerts.feeds.wis2 import Broker, Wis2Feed
from alerts.formats.lists import ListFormat, Row
from alerts.model import AlertError
from simulators.broker import MosquittoBroker

Sleep = Callable[[float], Awaitable[None]]
TOKEN = "0123456789abcdef" * 4
LIMIT_S = 30.0


def answer(rows: list[Row]) -> bytes:
    """An answer of `PLAIN`."""
    return json.dumps(
        {"rows": [[row.key, row.version, base64.b64encode(row.body).decode(), row.link] for row in rows]}
    ).encode()


def split(body: bytes) -> list[Row]:
    try:
        said = json.loads(body)
    except ValueError as error:
        raise AlertError("answer", f"is no JSON: {error}") from error
    if not isinstance(said, dict) or "rows" not in said:
        raise AlertError("answer", "holds no rows")
    return [Row(key, version, base64.b64decode(body), link) for key, version, body, link in said["rows"]]


PLAIN = ListFormat(
    "plain",
    Trust.RELAY,
    split,
    with_detail=lambda row, detail: row.body + detail,
    gone=lambda body: b"gone: " + body,
)


class World(Protocol):
    def put(self, name: str, body: bytes) -> None: ...
    def break_it(self) -> None: ...
    def mend_it(self) -> None: ...
    def feed(self, sleep: Sleep) -> Feed: ...


class Pushing(Protocol):
    """A world whose documents come by themselves."""

    def as_put(self, feed: Feed, came: int) -> bool:
        """Whether the feed shows what was done to the world; `came`: documents it has brought."""


async def soon(_: float) -> None:
    await asyncio.sleep(0.01)


class Pushed:
    """`feed` with counted polls beside it."""

    def __init__(self, feed: Feed, world: Pushing, polls: Sleep) -> None:
        self._feed = feed
        self._world = world
        self._polls = polls
        self._came = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._feed, name)

    async def documents(self) -> AsyncIterator[Document]:
        counting = asyncio.create_task(self._count(), name="counted polls")
        try:
            async with aclosing(self._feed.documents()) as inner:  # type: ignore[type-var]
                while True:
                    coming = asyncio.ensure_future(anext(inner))
                    await asyncio.wait({coming, counting}, return_when=asyncio.FIRST_COMPLETED)
                    if not coming.done():
                        coming.cancel()
                        with suppress(asyncio.CancelledError):
                            await coming
                        counting.result()
                    document = await coming
                    yield document
                    self._came += 1
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)

    async def _count(self) -> None:
        while True:
            async with asyncio.timeout(LIMIT_S):
                while not self._world.as_put(self._feed, self._came):
                    await asyncio.sleep(0.005)
            await self._polls(1.0)


class SocketWorld:
    """A source that replays what it has to whoever connects, as Wolfx does."""

    def __init__(self) -> None:
        self.files: dict[str, Row] = {}
        self.server: Server | None = None
        self.port = 0
        self.broken = False
        self.expected = 0
        self.connections: set[ServerConnection] = set()
        self.sending: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/stream?key=secret"

    def put(self, name: str, body: bytes) -> None:
        version = str(int(self.files[name].version) + 1) if name in self.files else "1"
        self.files[name] = Row(name, version, body)
        self.expected += 1
        for connection in self.connections:
            task = asyncio.ensure_future(self._send(connection, self.files[name]))
            self.sending.add(task)
            task.add_done_callback(self.sending.discard)

    def break_it(self) -> None:
        self.broken = True

    def mend_it(self) -> None:
        self.broken = False

    def as_put(self, feed: Feed, came: int) -> bool:
        return bool(feed.trouble) if self.broken else not feed.trouble and came >= self.expected

    def feed(self, sleep: Sleep) -> Feed:
        self.expected = len(self.files)
        return Pushed(SocketFeed("a feed", self.url, PLAIN, sleep=soon), self, sleep)

    async def _send(self, connection: ServerConnection, row: Row) -> None:
        with suppress(ConnectionClosed):
            await connection.send(answer([row]))

    async def serve(self, connection: ServerConnection) -> None:
        await connection.send(answer([]))  # a heartbeat
        for row in list(self.files.values()):
            await self._send(connection, row)
        self.connections.add(connection)
        await connection.wait_closed()
        self.connections.discard(connection)

    def check(self, connection: ServerConnection, _: Request) -> Response | None:
        return connection.respond(503, "broken\n") if self.broken else None


@asynccontextmanager
async def socket_world() -> AsyncIterator[SocketWorld]:
    world = SocketWorld()
    async with serve(
        world.serve, "127.0.0.1", 0, process_request=world.check, close_timeout=0.1, max_size=None
    ) as server:
        world.port = server.sockets[0].getsockname()[1]
        yield world


class InboxWorld:
    """A sender that posts until it is told what became of it."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.blocker: socket.socket | None = None
        self.expected = 0
        self.posts: set[asyncio.Task[None]] = set()
        self.told: list[tuple[int, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, name: str, body: bytes) -> None:
        self.expected += 1
        task = asyncio.ensure_future(self._post(name, body))
        self.posts.add(task)
        task.add_done_callback(self.posts.discard)

    async def _post(self, name: str, body: bytes) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx2.AsyncClient(trust_env=False, timeout=LIMIT_S) as client:
            while True:
                with suppress(httpx2.HTTPError):
                    told = await client.post(f"{self.url}/{name}", content=body, headers=headers)
                    if told.status_code in (200, 413, 422):
                        self.told.append((told.status_code, told.json()))
                        return
                await asyncio.sleep(0.01)

    def break_it(self) -> None:
        self.blocker = socket.socket()
        self.blocker.bind(("127.0.0.1", self.port))
        self.blocker.listen()

    def mend_it(self) -> None:
        assert self.blocker is not None
        self.blocker.close()
        self.blocker = None

    def as_put(self, feed: Feed, came: int) -> bool:
        return bool(feed.trouble) if self.blocker else not feed.trouble and came >= self.expected

    def feed(self, sleep: Sleep) -> Feed:
        self.expected = len(self.posts)
        return Pushed(InboxFeed("a feed", "127.0.0.1", self.port, TOKEN, sleep=soon), self, sleep)


@asynccontextmanager
async def inbox_world() -> AsyncIterator[InboxWorld]:
    world = InboxWorld()
    try:
        yield world
    finally:
        if world.blocker:
            world.blocker.close()
        for task in set(world.posts):
            task.cancel()
        await asyncio.gather(*world.posts, return_exceptions=True)


class Wis2World:
    """A centre that publishes over one broker, and a cache that holds what it names."""

    def __init__(self, broker: MosquittoBroker, cache: int, files: dict[str, bytes]) -> None:
        self.broker = broker
        self.cache = cache
        self.files = files
        self.client = f"us-{secrets.token_hex(4)}"
        self.number = 0
        self.broken = False
        self.expected = 0

    def notification(self, name: str, body: bytes, *, relation: str = "canonical", **changed: Any) -> bytes:
        """Of `body`, which the cache then holds."""
        self.number += 1
        self.files[f"{self.number}-{name}"] = body
        digest = base64.b64encode(hashlib.sha512(body).digest()).decode()
        said = {
            "id": f"00000000-0000-4000-8000-{self.number:012}",
            "type": "Feature",
            "geometry": None,
            "properties": {
                "data_id": name,
                "pubtime": f"2026-07-15T00:{self.number // 60:02}:{self.number % 60:02}Z",
                "integrity": {"method": "sha512", "value": digest},
            },
            "links": [{"rel": relation, "href": f"http://127.0.0.1:{self.cache}/{self.number}-{name}"}],
        }
        return json.dumps(said | changed).encode()

    def put(self, name: str, body: bytes) -> None:
        self.expected += 1
        self.publish(self.notification(name, body))

    def publish(self, message: bytes, broker: MosquittoBroker | None = None) -> None:
        publish.single(
            "cache/a/wis2/cn-cma/data/core/weather/advisories-warnings",
            message,
            qos=1,
            hostname="127.0.0.1",
            port=(broker or self.broker).port,
        )

    def break_it(self) -> None:
        self.broken = True
        self.broker.stop()

    def mend_it(self) -> None:
        self.broken = False
        self.broker.start()

    def as_put(self, feed: Feed, came: int) -> bool:
        return bool(feed.trouble) if self.broken else not feed.trouble and came >= self.expected

    def adapter(self, *brokers: MosquittoBroker, sleep: Sleep = soon) -> Wis2Feed:
        return Wis2Feed(
            "a feed",
            [Broker("127.0.0.1", broker.port) for broker in brokers or (self.broker,)],
            ["cache/a/wis2/+/data/+/weather/advisories-warnings/#"],
            client=self.client,
            hosts=(f"127.0.0.1:{self.cache}",),
            sleep=sleep,
        )

    def feed(self, sleep: Sleep) -> Feed:
        return Pushed(self.adapter(), self, sleep)

    async def subscribe(self) -> None:
        """Makes the session at the broker, so that what is put before the feed looks is kept for it."""
        feed = self.adapter()
        looking = asyncio.ensure_future(anext(feed.documents()))
        async with asyncio.timeout(LIMIT_S):
            while feed.trouble:
                await asyncio.sleep(0.005)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


@asynccontextmanager
async def wis2_world(path: Path) -> AsyncIterator[Wis2World]:
    files: dict[str, bytes] = {}

    async def serve_file(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            name = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode().strip("/")
            body = files.get(name)
            head = f"HTTP/1.1 {404 if body is None else 200} X\r\nContent-Length: {len(body or b'')}\r\n"
            writer.write(head.encode() + b"Connection: close\r\n\r\n" + (body or b""))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve_file, "127.0.0.1", 0)
    broker = MosquittoBroker(persistence=path)
    async with broker, server:
        world = Wis2World(broker, server.sockets[0].getsockname()[1], files)
        await world.subscribe()
        yield world
