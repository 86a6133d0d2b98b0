"""A websocket that is silent, redirects, floods, talks nonsense or dies: told, given up, opened again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from alerts.feed import Document, FeedError
from alerts.feeds import socket as socket_feed
from alerts.feeds.socket import SocketFeed
from alerts.formats.lists import Row
from support.feed_worlds import LIMIT_S, PLAIN, answer

Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def source(handler: Handler, check: Callable[..., Response | None] | None = None) -> AsyncIterator[str]:
    async def quietly(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await handler(connection)

    async with serve(
        quietly, "127.0.0.1", 0, process_request=check, close_timeout=0.1, max_size=None
    ) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/all?token=secret"


class Enough(Exception):
    """So many connections were enough."""


def pauses(count: int) -> tuple[list[float], Callable[[float], Awaitable[None]]]:
    """A `sleep` that notes its seconds and ends the feed at the last."""
    noted: list[float] = []

    async def sleep(seconds: float) -> None:
        noted.append(seconds)
        if len(noted) >= count:
            raise Enough
        await asyncio.sleep(0)

    return noted, sleep


async def take(feed: SocketFeed, *, most: int = 10**6) -> list[Document]:
    found: list[Document] = []
    async with asyncio.timeout(LIMIT_S), aclosing(feed.documents()) as documents:  # type: ignore[type-var]
        with suppress(Enough):
            async for document in documents:
                found.append(document)
                if len(found) == most:
                    break
    return found


def row(name: str, body: bytes = b"x") -> bytes:
    return answer([Row(name, "1", body)])


async def test_a_silent_socket_is_given_up_and_opened_again() -> None:
    async def silent(connection: ServerConnection) -> None:
        await connection.wait_closed()

    noted, sleep = pauses(3)
    async with source(silent) as url:
        feed = SocketFeed("eew", url, PLAIN, watchdog=0.05, sleep=sleep, random=lambda: 0.5)
        assert await take(feed) == []
    assert "silent for 0.05 s, though connected" in feed.trouble
    assert "secret" not in feed.trouble
    assert feed.last_good is None
    assert noted == [1, 2, 4]


async def test_a_heartbeat_is_a_sign_of_life_and_no_document() -> None:
    async def beating(connection: ServerConnection) -> None:
        while True:
            await connection.send(answer([]))
            await asyncio.sleep(0.01)

    async with source(beating) as url:
        feed = SocketFeed("eew", url, PLAIN, watchdog=5.0)
        running = asyncio.create_task(take(feed))
        while feed.last_good is None:
            await asyncio.sleep(0.005)
        first = feed.last_good
        while feed.last_good == first:
            await asyncio.sleep(0.005)
        assert feed.trouble == ""
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_what_is_replayed_on_every_connect_comes_once_and_the_new_comes() -> None:
    connected = 0

    async def replaying(connection: ServerConnection) -> None:
        nonlocal connected
        connected += 1
        for number in range(connected):
            await connection.send(row(f"event-{number}"))

    noted, sleep = pauses(4)
    async with source(replaying) as url:
        found = await take(SocketFeed("eew", url, PLAIN, sleep=sleep))
    assert [document.name for document in found] == ["event-0", "event-1", "event-2", "event-3"]
    assert all(document.backlog for document in found), "a socket cannot tell old from new"
    assert all(0.5 <= seconds <= 1.5 for seconds in noted), "good connections do not grow the pause"


async def test_nonsense_is_told_once_and_its_flood_ends_the_connection() -> None:
    async def babbling(connection: ServerConnection) -> None:
        await connection.send(row("good"))
        while True:
            await connection.send("<html>nonsense</html>")

    noted, sleep = pauses(2)
    async with source(babbling) as url:
        feed = SocketFeed("eew", url, PLAIN, sleep=sleep)
        found = await take(feed)
    assert [(document.name, bool(document.refused)) for document in found[:1]] == [("good", False)]
    assert [bool(document.refused) for document in found[1:]] == [True]
    assert "cannot be read" in feed.trouble
    assert len(noted) == 2


async def test_nonsense_between_good_messages_does_not_end_the_connection() -> None:
    async def mixed(connection: ServerConnection) -> None:
        for number in range(socket_feed.NONSENSE * 3):
            await connection.send(f"nonsense {number}")
            await connection.send(row(f"event-{number}"))
        await connection.wait_closed()

    async with source(mixed) as url:
        found = await take(SocketFeed("eew", url, PLAIN), most=socket_feed.NONSENSE * 6)
    assert sum(not document.refused for document in found) == socket_feed.NONSENSE * 3


async def test_a_message_beyond_all_bounds_ends_the_connection_and_not_the_feed() -> None:
    connected = 0

    async def huge(connection: ServerConnection) -> None:
        nonlocal connected
        connected += 1
        if connected == 1:
            await connection.send(b"[" * (socket_feed.MAX_MESSAGE + 1))
        await connection.send(row("after"))
        await connection.wait_closed()

    _, sleep = pauses(5)
    async with source(huge) as url:
        [found] = await take(SocketFeed("eew", url, PLAIN, sleep=sleep), most=1)
    assert found.name == "after"
    assert connected == 2


async def test_a_redirect_is_not_followed() -> None:
    visited = []

    async def never(connection: ServerConnection) -> None:
        visited.append(connection)

    async with source(never) as target:

        def redirect(_: ServerConnection, __: Request) -> Response:
            return Response(302, "Found", Headers({"Location": target}), b"")

        _, sleep = pauses(2)
        async with source(never, redirect) as url:
            feed = SocketFeed("eew", url, PLAIN, sleep=sleep)
            assert await take(feed) == []
    assert visited == []
    assert "302" in feed.trouble


async def test_a_refused_connection_is_tried_ever_less_often_with_jitter() -> None:
    noted, sleep = pauses(9)
    feed = SocketFeed("eew", "ws://127.0.0.1:1/", PLAIN, sleep=sleep, random=lambda: 0.5)
    assert await take(feed) == []
    assert noted == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert feed.trouble
    for spread, expected in ((0.0, 0.5), (0.999, 1.5)):
        noted, sleep = pauses(1)
        await take(SocketFeed("eew", "ws://127.0.0.1:1/", PLAIN, sleep=sleep, random=lambda v=spread: v))
        assert noted == pytest.approx([expected], abs=0.01)


async def test_many_messages_wait_their_turn_in_bounded_memory() -> None:
    sent = 0

    async def flooding(connection: ServerConnection) -> None:
        nonlocal sent
        for number in range(5_000):
            await connection.send(row(f"event-{number}", b"x" * 10_000))
            sent += 1

    async with source(flooding) as url, asyncio.timeout(LIMIT_S):
        feed = SocketFeed("eew", url, PLAIN)
        async with aclosing(feed.documents()) as documents:  # type: ignore[type-var]
            await anext(documents)
            before = -1
            while before != sent:  # until the sender is stopped by what we have not taken
                before = sent
                await asyncio.sleep(0.1)
            assert sent < 4_000
            assert (await anext(documents)).name == "event-1", "and nothing is skipped"


async def test_cancelling_leaves_nothing_behind() -> None:
    async def silent(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with source(silent) as url:
        before = asyncio.all_tasks()
        running = asyncio.create_task(take(SocketFeed("eew", url, PLAIN)))
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        async with asyncio.timeout(20):  # the server needs a moment to see that its caller has gone
            while asyncio.all_tasks() - before:
                await asyncio.sleep(0.01)


def test_what_is_no_websocket_is_refused_at_once() -> None:
    for url in ("http://x.example/", "x.example", "ws://"):
        with pytest.raises(FeedError):
            SocketFeed("eew", url, PLAIN)
