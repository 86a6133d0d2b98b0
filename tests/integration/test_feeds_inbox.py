"""The inbox: who does not know the token reaches nothing, and who does is told what became of it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from alerts.feed import Document, FeedError, Outcome
from alerts.feeds import inbox as inbox_feed
from alerts.feeds.inbox import InboxFeed
from controller.adapters import _served
from support.brokers import certificate
from support.feed_worlds import LIMIT_S, TOKEN

AUTH = {"Authorization": f"Bearer {TOKEN}"}


class Inbox:
    """A running inbox, what came of it, and a client."""

    def __init__(self, feed: InboxFeed, decide: Callable[[Document], Outcome | None]) -> None:
        self.feed = feed
        self.decide = decide
        self.came: list[Document] = []

    async def run(self) -> None:
        async for document in self.feed.documents():
            self.came.append(document)
            if (outcome := self.decide(document)) is not None:
                await document.done(outcome, "because")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.feed.port}"

    async def post(self, body: bytes, *, path: str = "/a.xml", **options: Any) -> httpx2.Response:
        async with httpx2.AsyncClient(trust_env=False, timeout=LIMIT_S) as client:
            return await client.post(self.url + path, content=body, **({"headers": AUTH} | options))


@asynccontextmanager
async def running(
    *, decide: Callable[[Document], Outcome | None] = lambda _: Outcome.TAKEN, **options: Any
) -> AsyncIterator[Inbox]:
    inbox = Inbox(InboxFeed("an inbox", "127.0.0.1", 0, TOKEN, **options), decide)
    task = asyncio.create_task(inbox.run())
    while inbox.feed.last_good is None:
        await asyncio.sleep(0.005)
    try:
        yield inbox
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("an inbox")]


async def test_the_sender_is_told_what_became_of_it() -> None:
    outcomes = {b"<good/>": Outcome.TAKEN, b"<bad/>": Outcome.REFUSED}
    async with running(decide=lambda document: outcomes[document.body]) as inbox:
        good = await inbox.post(b"<good/>", path="/%E6%9A%B4%E9%9B%A8.xml?x=1")
        assert (good.status_code, good.json()) == (200, {"reason": "because", "outcome": "taken"})
        bad = await inbox.post(b"<bad/>")
        assert (bad.status_code, bad.json()) == (422, {"reason": "because", "outcome": "refused"})
        assert [document.name for document in inbox.came] == ["暴雨.xml", "a.xml"]
        assert not any(document.backlog for document in inbox.came), "it is posted now"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN}0"},
        {"Authorization": f"Bearer {TOKEN.upper()}"},
    ],
)
async def test_a_stranger_is_turned_away_before_the_document_is_read(headers: dict[str, str]) -> None:
    async with running() as inbox:
        told = await inbox.post(b"<alert/>", headers=headers)
        assert told.status_code == 401
        assert TOKEN not in told.text
        # The head alone is enough to be turned away: the body is never waited for.
        reader, writer = await asyncio.open_connection("127.0.0.1", inbox.feed.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n")
        async with asyncio.timeout(LIMIT_S):
            assert b" 401 " in await reader.readline()
        writer.close()
        assert inbox.came == []


async def test_the_answer_reaches_a_stranger_who_is_still_sending() -> None:
    async with running() as inbox:
        reader, writer = await asyncio.open_connection("127.0.0.1", inbox.feed.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000)
        async with asyncio.timeout(LIMIT_S):
            await writer.drain()
            while inbox.feed._serving:  # it has closed: unread data would have destroyed its answer
                await asyncio.sleep(0.005)
            assert b" 401 " in await reader.readline()
        writer.close()


@pytest.mark.parametrize("token", ["", "short", "x" * 31, "x" * 40 + " ", "字" * 40])
def test_a_token_that_could_be_guessed_is_refused(token: str) -> None:
    with pytest.raises(FeedError, match="32 or more"):
        InboxFeed("f", "127.0.0.1", 0, token)


async def test_only_a_post_is_answered() -> None:
    async with running() as inbox, httpx2.AsyncClient(trust_env=False) as client:
        for method in ("GET", "PUT", "DELETE", "HEAD"):
            assert (await client.request(method, inbox.url, headers=AUTH)).status_code == 405
        assert inbox.came == []


async def test_nonsense_instead_of_http_is_survived() -> None:
    async with running() as inbox:
        for nonsense in (
            b"\x00" * 100 + b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"POST / HTTP/1.1\r\n" + b"a: b\r\n" * 9_000,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", inbox.feed.port)
            writer.write(nonsense)
            with suppress(ConnectionError):
                async with asyncio.timeout(LIMIT_S):
                    assert (await reader.read(12))[9:10] in (b"4", b"")
            writer.close()
        assert (await inbox.post(b"<good/>")).status_code == 200


async def test_the_same_document_posted_again_is_taken_once_and_told_the_same() -> None:
    async with running() as inbox:
        assert [(await inbox.post(b"<x/>")).status_code for _ in range(3)] == [200, 200, 200]
        assert len(inbox.came) == 1


async def test_who_waits_too_long_is_told_to_post_again_and_nothing_is_taken_twice() -> None:
    async with running(decide=lambda _: None, patience=0.05) as inbox:
        for _ in range(2):
            late = await inbox.post(b"<x/>")
            assert (late.status_code, late.headers["retry-after"]) == (503, "5")
        assert len(inbox.came) == 1
        await inbox.came[0].done(Outcome.TAKEN, "at last")
        assert (await inbox.post(b"<x/>")).json()["reason"] == "at last"


async def test_what_is_too_large_is_cut_off_and_recorded() -> None:
    async with running(decide=lambda _: Outcome.REFUSED) as inbox:

        async def endless() -> AsyncIterator[bytes]:
            with suppress(asyncio.CancelledError):
                while True:
                    yield b"x" * 65_536

        with suppress(httpx2.HTTPError):  # the sender may still be sending when it is answered
            assert (await inbox.post(endless())).status_code == 413  # type: ignore[arg-type]
        while not inbox.came:
            await asyncio.sleep(0.005)
        assert inbox.came[0].body == b""
        assert "2,000,000" in inbox.came[0].refused


async def test_more_than_the_rate_is_put_off_and_comes_later() -> None:
    now = [0.0]
    async with running(per_minute=3, monotonic=lambda: now[0]) as inbox:
        codes = [(await inbox.post(b"<x/>" + b" " * n)).status_code for n in range(5)]
        assert codes == [200, 200, 200, 429, 429]
        now[0] = 61.0
        assert (await inbox.post(b"<x/>" + b" " * 3)).status_code == 200


async def test_who_sends_too_slowly_is_cut_off_and_holds_up_nobody() -> None:
    async with running(deadline=0.2) as inbox:
        reader, writer = await asyncio.open_connection("127.0.0.1", inbox.feed.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n")
        assert (await inbox.post(b"<x/>")).status_code == 200
        async with asyncio.timeout(LIMIT_S):
            assert await reader.read() == b""
        writer.close()


async def test_one_address_cannot_take_all_connections() -> None:
    async with running(deadline=LIMIT_S) as inbox:
        idle = [
            await asyncio.open_connection("127.0.0.1", inbox.feed.port)
            for _ in range(inbox_feed.MAX_FROM_ONE)
        ]
        while len(inbox.feed._serving) < inbox_feed.MAX_FROM_ONE:
            await asyncio.sleep(0.005)
        reader, writer = await asyncio.open_connection("127.0.0.1", inbox.feed.port)
        async with asyncio.timeout(LIMIT_S):
            assert b" 503 " in await reader.readline()
        writer.close()
        for _, writer in idle:
            writer.close()
        while inbox.feed._serving:
            await asyncio.sleep(0.005)
        assert (await inbox.post(b"<x/>")).status_code == 200


async def test_a_full_queue_puts_off(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = InboxFeed("f", "127.0.0.1", 0, TOKEN)
    for number in range(inbox_feed.QUEUE):
        feed._hand_on("x", b"%d" % number, "")
    with pytest.raises(inbox_feed._Answered) as caught:
        feed._hand_on("x", b"one more", "")
    assert caught.value.code == 503
    assert len(feed._pending) == inbox_feed.QUEUE


async def test_over_tls_with_our_certificate(tmp_path: Path) -> None:
    certificate("us", tmp_path, None)
    tls = _served(tmp_path / "us.crt", tmp_path / "us.key")
    async with running(tls=tls) as inbox:
        trust = ssl.create_default_context(cafile=str(tmp_path / "us.crt"))
        async with httpx2.AsyncClient(trust_env=False, verify=trust) as client:
            told = await client.post(
                f"https://localhost:{inbox.feed.port}/a.xml", content=b"<x/>", headers=AUTH
            )
        assert told.status_code == 200


async def test_a_mistake_of_our_own_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(InboxFeed, "_check", broken)
    inbox = Inbox(InboxFeed("an inbox", "127.0.0.1", 0, TOKEN), lambda _: None)
    running_feed = asyncio.create_task(inbox.run())
    while inbox.feed.last_good is None:
        await asyncio.sleep(0.005)
    with suppress(httpx2.HTTPError):
        await inbox.post(b"<x/>")
    async with asyncio.timeout(LIMIT_S):
        with pytest.raises(ZeroDivisionError):
            await running_feed
