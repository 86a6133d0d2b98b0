"""What every Feed keeps, and what is each adapter's own. Polls are counted, never timed: the injected
`sleep` is where the world changes and where a test ends."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from alert_builders import cap_text

from alerts.feed import Document, Feed, FeedError, Outcome, Trust
from alerts.feeds import cap_index, folder
from alerts.feeds import http as http_get
from alerts.feeds.cap_index import CapIndexFeed
from alerts.feeds.folder import FolderFeed, replaceable
from alerts.feeds.listing import ListFeed
from alerts.formats import parse
from alerts.formats.lists import Row
from support.brokers import NEEDS_MOSQUITTO
from support.feed_worlds import PLAIN, World, answer, inbox_world, socket_world, wis2_world

NOW = datetime(2026, 7, 15, tzinfo=UTC)
GOOD = cap_text().encode()


class Enough(Exception):
    """The counted polls are over."""


class Polls:
    """A `sleep` that ends the feed after so many polls, and changes the world between them."""

    def __init__(self, count: int, **between: Callable[[], Any]) -> None:
        self.count = count
        self.between = between
        self.pauses: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if change := self.between.get(f"after{len(self.pauses)}"):
            change()
        if len(self.pauses) >= self.count:
            raise Enough
        await asyncio.sleep(0)


async def take(
    feed: Feed, outcome: Outcome | None = Outcome.TAKEN, seen: Callable[[Document], None] | None = None
) -> list[Document]:
    found = []
    try:
        async for document in feed.documents():
            found.append(document)
            if seen:
                seen(document)
            if outcome is not None:
                await document.done(outcome, "because")
    except Enough:
        pass
    return found


class FolderWorld:
    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def put(self, name: str, body: bytes) -> None:
        part = self.path / f"{name}.part"
        part.write_bytes(body)
        part.rename(self.path / name)

    def break_it(self) -> None:
        self.path.rename(self.path.with_name("away"))

    def mend_it(self) -> None:
        self.path.with_name("away").rename(self.path)

    def feed(self, sleep: Callable[[float], Awaitable[None]]) -> FolderFeed:
        return FolderFeed("a feed", self.path, interval=0.5, sleep=sleep)


@dataclass
class HttpWorld:
    """An index and its documents over a raw socket, which may answer any path in any bad way."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    answers: dict[str, Callable[[asyncio.StreamWriter], Awaitable[None]]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    index: bytes | None = None
    etag: str = ""
    hosts: tuple[str, ...] = ()
    deadline: float = 30.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/index.xml?key=secret"

    def put(self, name: str, body: bytes) -> None:
        self.files[name] = body
        self.versions[name] = self.versions.get(name, 0) + 1

    def break_it(self) -> None:
        self.answers["/index.xml"] = status(500)

    def mend_it(self) -> None:
        del self.answers["/index.xml"]

    def feed(self, sleep: Callable[[float], Awaitable[None]]) -> CapIndexFeed:
        return CapIndexFeed(
            "a feed", self.url, sleep=sleep, hosts=self.hosts, deadline=self.deadline, random=lambda: 0.5
        )

    def atom(self) -> bytes:
        entries = "".join(
            f"<entry><id>{name}</id><updated>{version}</updated><link href='/{name}'/></entry>"
            for name, version in reversed(self.versions.items())
        )
        return f"<feed xmlns='http://www.w3.org/2005/Atom'>{entries}</feed>".encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split()[1].split("?")[0]
            asked = dict(line.split(": ", 1) for line in head.lower().split("\r\n")[1:] if ": " in line)
            self.requests.append((path, asked))
            if path in self.answers:
                await self.answers[path](writer)
            elif path == "/index.xml":
                if self.etag and asked.get("if-none-match") == self.etag:
                    writer.write(b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n")
                else:
                    extra = (
                        f"ETag: {self.etag}\r\nLast-Modified: {format_datetime(NOW)}\r\n" if self.etag else ""
                    )
                    respond(writer, self.atom() if self.index is None else self.index, extra=extra)
            elif path[1:] in self.files:
                respond(writer, self.files[path[1:]])
            else:
                respond(writer, b"", code=404)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def respond(
    writer: asyncio.StreamWriter, body: bytes, *, code: int = 200, extra: str = "", length: int = -1
) -> None:
    size = len(body) if length < 0 else length
    writer.write(
        f"HTTP/1.1 {code} X\r\nContent-Length: {size}\r\nConnection: close\r\n{extra}\r\n".encode() + body
    )


def status(code: int, extra: str = "") -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def answer(writer: asyncio.StreamWriter) -> None:
        respond(writer, b"", code=code, extra=extra)

    return answer


class ListWorld(HttpWorld):
    """A list whose rows hold the documents."""

    def feed(self, sleep: Callable[[float], Awaitable[None]]) -> ListFeed:
        return ListFeed("a feed", self.url, PLAIN, sleep=sleep, random=lambda: 0.5)

    def atom(self) -> bytes:
        return answer([Row(name, str(self.versions[name]), body) for name, body in self.files.items()])


@asynccontextmanager
async def http_world(world: HttpWorld | None = None) -> AsyncIterator[HttpWorld]:
    world = world or HttpWorld()
    serving: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(world.serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    world.port = server.sockets[0].getsockname()[1]
    try:
        yield world
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


@pytest.fixture
async def http() -> AsyncIterator[HttpWorld]:
    async with http_world() as world:
        yield world


@pytest.fixture(
    params=[
        "folder",
        "cap_index",
        "list",
        "socket",
        "inbox",
        pytest.param("wis2", marks=NEEDS_MOSQUITTO),
    ]
)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    match request.param:
        case "folder":
            yield FolderWorld(tmp_path / "inbox")
        case "cap_index":
            async with http_world() as made:
                yield made
        case "list":
            async with http_world(ListWorld()) as made:
                yield made
        case "socket":
            async with socket_world() as pushing:
                yield pushing
        case "inbox":
            async with inbox_world() as posting:
                yield posting
        case "wis2":
            (tmp_path / "sessions").mkdir()
            async with wis2_world(tmp_path / "sessions") as publishing:
                yield publishing


# --- the contract --------------------------------------------------------------------------------------


async def test_every_document_comes_once_with_its_exact_bytes(world: World) -> None:
    world.put("a.xml", GOOD)
    world.put("b.xml", b"<not a warning at all>")
    feed = world.feed(Polls(5))
    assert feed.trust in Trust
    found = await take(feed)
    assert sorted(document.body for document in found) == sorted([GOOD, b"<not a warning at all>"])
    assert {document.feed for document in found} == {"a feed"}
    assert all("xml" in document.name and document.refused == "" for document in found)
    assert all(document.received.tzinfo is not None for document in found)
    assert feed.trouble == ""
    assert feed.last_good is not None


async def test_a_document_that_comes_later_is_found(world: World) -> None:
    found = await take(world.feed(Polls(5, after2=lambda: world.put("a.xml", GOOD))))
    assert [document.body for document in found] == [GOOD]


async def test_a_document_not_yet_acknowledged_is_not_brought_twice(world: World) -> None:
    world.put("a.xml", GOOD)
    assert len(await take(world.feed(Polls(5)), outcome=None)) == 1


async def test_a_document_not_acknowledged_comes_again_after_a_restart(world: World) -> None:
    world.put("a.xml", GOOD)
    assert len(await take(world.feed(Polls(3)), outcome=None)) == 1
    assert len(await take(world.feed(Polls(3)), outcome=None)) == 1


async def test_new_content_under_the_same_name_comes_too(world: World) -> None:
    world.put("a.xml", b"<first/>")
    found = await take(world.feed(Polls(6, after3=lambda: world.put("a.xml", b"<second/>"))), outcome=None)
    assert [document.body for document in found] == [b"<first/>", b"<second/>"]


async def test_a_refused_document_is_not_brought_again_unchanged(world: World) -> None:
    world.put("a.xml", b"<bad/>")
    assert len(await take(world.feed(Polls(6)), outcome=Outcome.REFUSED)) == 1


async def test_an_oversized_document_is_refused_unread_and_the_next_is_unharmed(world: World) -> None:
    world.put("a.xml", b"<a>" + b" " * 2_000_000 + b"</a>")
    world.put("b.xml", GOOD)
    found = {document.name.strip("/"): document for document in await take(world.feed(Polls(5)))}
    assert found["a.xml"].body == b""
    assert "2,000,000" in found["a.xml"].refused
    assert found["b.xml"].body == GOOD


async def test_trouble_is_told_and_recovered_from(world: World) -> None:
    world.put("a.xml", GOOD)
    world.break_it()
    troubles: list[tuple[str, object]] = []

    def mend() -> None:
        troubles.append((feed.trouble, feed.last_good))
        world.mend_it()

    feed = world.feed(Polls(5, after2=mend))
    found = await take(feed)
    assert troubles[0][0]
    assert troubles[0][1] is None
    assert feed.trouble == ""
    assert [document.body for document in found] == [GOOD]


async def test_an_abandoned_feed_leaves_no_task_behind(world: World) -> None:
    for number in range(9):
        world.put(f"{number}.xml", GOOD + b" " * number)
    before = asyncio.all_tasks()
    documents = world.feed(Polls(9)).documents()
    await anext(documents)
    await documents.aclose()  # type: ignore[attr-defined]
    assert {task for task in asyncio.all_tasks() - before if task.get_name().startswith("a feed")} == set()


# --- the folder's own ----------------------------------------------------------------------------------


def inbox(tmp_path: Path) -> FolderWorld:
    return FolderWorld(tmp_path / "inbox")


async def test_a_file_moves_only_after_it_was_journalled(tmp_path: Path) -> None:
    world = inbox(tmp_path)
    world.put("a.xml", GOOD)
    still_there = []
    await take(world.feed(Polls(4)), seen=lambda _: still_there.append((world.path / "a.xml").exists()))
    assert still_there == [True]
    assert (world.path / "taken" / "a.xml").read_bytes() == GOOD
    assert sorted(path.name for path in world.path.iterdir()) == ["taken"]


async def test_a_refused_file_lies_beside_its_reason(tmp_path: Path) -> None:
    world = inbox(tmp_path)
    world.put("a.XML", b"<bad/>")
    await take(world.feed(Polls(4)), outcome=Outcome.REFUSED)
    assert (world.path / "refused" / "a.XML").read_bytes() == b"<bad/>"
    assert (world.path / "refused" / "a.XML.reason.txt").read_text("utf-8") == "because\n"


async def test_equal_names_do_not_overwrite_each_other(tmp_path: Path) -> None:
    world = inbox(tmp_path)
    world.put("a.xml", b"<first/>")
    await take(world.feed(Polls(6, after3=lambda: world.put("a.xml", b"<second/>"))))
    assert {path.name: path.read_bytes() for path in (world.path / "taken").iterdir()} == {
        "a.xml": b"<first/>",
        "a.1.xml": b"<second/>",
    }


async def test_a_file_that_still_grows_is_left_until_it_stands_still(tmp_path: Path) -> None:
    world = inbox(tmp_path)
    file = world.path / "a.xml"
    file.write_bytes(GOOD[:100])
    more = {f"after{n}": lambda n=n: file.write_bytes(GOOD[: 100 * n]) for n in range(1, 5)}
    polls = Polls(9, **more, after5=lambda: file.write_bytes(GOOD))
    assert [document.body for document in await take(world.feed(polls))] == [GOOD]


async def test_a_file_that_stalled_half_way_is_given_time_and_then_taken_as_it_is(tmp_path: Path) -> None:
    world = inbox(tmp_path)
    (world.path / "a.xml").write_bytes(GOOD[:100])
    (world.path / "b.xml").write_bytes(b"")
    clock = datetime.now(UTC)
    assert await take(FolderFeed("f", world.path, sleep=Polls(9), clock=lambda: clock)) == []
    late = clock + folder.PATIENCE + timedelta(seconds=5)
    found = await take(FolderFeed("f", world.path, sleep=Polls(9), clock=lambda: late))
    assert sorted(document.body for document in found) == [b"", GOOD[:100]]


async def test_a_file_replaced_before_it_is_acknowledged_is_not_moved_unread(tmp_path: Path) -> None:
    world = inbox(tmp_path)
    world.put("a.xml", b"<first/>")
    replaced = []

    def replace_once(document: Document) -> None:
        if not replaced:
            replaced.append(document)
            world.put("a.xml", b"<second/>")

    found = await take(world.feed(Polls(7)), seen=replace_once)
    assert [document.body for document in found] == [b"<first/>", b"<second/>"]
    assert (world.path / "taken" / "a.xml").read_bytes() == b"<second/>"


async def test_links_folders_pipes_and_other_endings_are_left_alone(tmp_path: Path) -> None:
    world = inbox(tmp_path)
    outside = tmp_path / "outside.xml"
    outside.write_bytes(GOOD)
    (world.path / "link.xml").symlink_to(outside)
    (world.path / "folder.xml").mkdir()
    (world.path / "note.txt").write_bytes(GOOD)
    os.mkfifo(world.path / "pipe.xml")
    assert await take(world.feed(Polls(4))) == []
    assert outside.exists()


async def test_what_lies_unread_in_the_folder_is_told_once_no_transfer_can_still_be_writing_it(
    tmp_path: Path,
) -> None:
    world = FolderWorld(tmp_path / "in")
    (world.path / "warning.cap").write_bytes(GOOD)
    (world.path / "link.xml").symlink_to(tmp_path)
    (world.path / ".rsync.x1").write_bytes(GOOD)
    (world.path / "taken").mkdir()
    now = datetime.now(UTC)
    feed = FolderFeed("f", world.path, sleep=Polls(2), clock=lambda: now)
    assert await take(feed) == []
    assert feed.trouble == ""
    now += timedelta(minutes=1)
    feed = FolderFeed("f", world.path, sleep=Polls(2), clock=lambda: now)
    assert await take(feed) == []
    assert "2 files" in feed.trouble
    assert "link.xml, warning.cap" in feed.trouble
    (world.path / "warning.cap").rename(world.path / "warning.xml")
    (world.path / "link.xml").unlink()
    feed = FolderFeed("f", world.path, sleep=Polls(2), clock=lambda: now)
    assert len(await take(feed)) == 1
    assert feed.trouble == ""


async def test_files_come_oldest_first(tmp_path: Path) -> None:
    world = inbox(tmp_path)
    for name, age in (("a.xml", 100), ("b.xml", 300), ("c.xml", 200)):
        world.put(name, GOOD)
        os.utime(world.path / name, (1_700_000_000 - age,) * 2)
    assert [document.name for document in await take(world.feed(Polls(3)))] == ["b.xml", "c.xml", "a.xml"]


async def test_a_file_that_cannot_be_moved_is_told_and_not_brought_again(tmp_path: Path) -> None:
    world = inbox(tmp_path)
    world.put("a.xml", GOOD)
    (world.path / "taken").write_text("a file where the folder should be")
    feed = world.feed(Polls(6))
    assert len(await take(feed)) == 1
    assert "could not be moved" in feed.trouble


async def test_a_file_that_others_took_away_is_no_trouble(tmp_path: Path) -> None:
    world = inbox(tmp_path)
    world.put("a.xml", GOOD)
    feed = world.feed(Polls(5))
    assert len(await take(feed, seen=lambda _: (world.path / "a.xml").unlink())) == 1
    assert feed.trouble == ""


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(FeedError):
        FolderFeed("f", tmp_path / "x")


def test_nobody_may_be_able_to_put_another_folder_in_the_place_of_a_private_one(tmp_path: Path) -> None:
    path, me = tmp_path / "inbox", tmp_path.stat().st_uid
    assert not replaceable(path, me), "it may be missing yet"
    path.mkdir(mode=0o700)
    assert not replaceable(path, me)
    link = tmp_path / "link"
    link.symlink_to(path)
    assert "symbolic link" in replaceable(link, me)
    assert "symbolic link" in replaceable(link / "deeper", me)
    tmp_path.chmod(0o777)
    assert "writable by others" in replaceable(path, me)
    tmp_path.chmod(0o1777)
    assert not replaceable(path, me), "the sticky bit keeps others from renaming it"
    tmp_path.chmod(0o700)
    if me:
        assert "belongs to user" in replaceable(path, me + 1)


# --- the index's own -----------------------------------------------------------------------------------


async def test_an_unchanged_index_is_asked_conditionally_and_read_once(http: HttpWorld) -> None:
    http.put("a.xml", GOOD)
    http.etag = '"v1"'
    feed = http.feed(Polls(3))
    assert len(await take(feed)) == 1
    asked = [headers for path, headers in http.requests if path == "/index.xml"]
    assert "if-none-match" not in asked[0]
    assert [headers["if-none-match"] for headers in asked[1:]] == ['"v1"', '"v1"']
    assert all("if-modified-since" in headers for headers in asked[1:])
    assert [path for path, _ in http.requests].count("/a.xml") == 1
    assert feed.last_good is not None


async def test_a_document_that_failed_is_fetched_again_though_the_index_is_unchanged(http: HttpWorld) -> None:
    http.put("a.xml", GOOD)
    http.put("b.xml", GOOD + b"\n")
    http.etag = '"v1"'
    http.answers["/a.xml"] = status(404)
    feed = http.feed(Polls(9, after3=lambda: http.answers.clear()))
    found = await take(feed)
    assert [document.name for document in found] == ["/b.xml", "/a.xml"]
    assert feed.trouble == ""


async def test_a_document_that_keeps_failing_is_told(http: HttpWorld) -> None:
    http.put("a.xml", GOOD)
    http.answers["/a.xml"] = status(500)
    feed = http.feed(Polls(20))
    assert await take(feed) == []
    assert "1 listed document(s) cannot be had" in feed.trouble
    assert "500" in feed.trouble
    assert [path for path, _ in http.requests].count("/a.xml") == 5, "at polls 1, 2, 4, 8, 16"


async def test_a_failing_index_is_polled_ever_less_often(http: HttpWorld) -> None:
    http.break_it()
    polls = Polls(8, after6=http.mend_it)
    feed = http.feed(polls)
    await take(feed)
    assert polls.pauses == pytest.approx([120, 240, 480, 600, 600, 600, 60, 60])


def test_pauses_are_spread_by_ten_percent() -> None:
    for value, expected in ((0.0, 54.0), (0.5, 60.0), (0.999, 66.0)):
        assert http_get.pause(60, 0, lambda value=value: value) == pytest.approx(expected, abs=0.1)


def test_who_asks_often_is_back_soon_after_an_outage() -> None:
    assert [http_get.pause(3, failures, lambda: 0.5) for failures in (0, 1, 2, 9, 10**6)] == [
        3,
        6,
        12,
        30,
        30,
    ]
    assert http_get.pause(3600, 10**6, lambda: 0.5) == 3600


async def test_a_stalled_document_holds_up_no_other(http: HttpWorld) -> None:
    for number in range(8):
        http.put(f"{number}.xml", GOOD + b" " * number)
    all_others = asyncio.Event()

    async def stall(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n<a")
        await writer.drain()
        await all_others.wait()  # never answered before the others have come

    http.answers["/0.xml"] = stall
    found: list[str] = []

    def seen(document: Document) -> None:
        found.append(document.name)
        if len(found) == 7:
            all_others.set()

    await take(http.feed(Polls(1)), seen=seen)
    assert sorted(found) == [f"/{number}.xml" for number in range(1, 8)]


async def test_a_request_that_takes_too_long_is_given_up(http: HttpWorld) -> None:
    released = asyncio.Event()

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
        while not released.is_set():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    http.answers["/index.xml"] = drip
    http.deadline = 0.2
    feed = http.feed(Polls(1))
    await take(feed)
    released.set()
    assert "took longer than 0.2 s" in feed.trouble


async def test_a_body_that_is_cut_off_is_not_taken(http: HttpWorld) -> None:
    http.put("a.xml", GOOD)

    async def cut(writer: asyncio.StreamWriter) -> None:
        respond(writer, GOOD[:500], length=len(GOOD))

    http.answers["/a.xml"] = cut
    found = await take(http.feed(Polls(4, after2=lambda: http.answers.clear())))
    assert [document.body for document in found] == [GOOD]


async def test_a_refused_body_is_looked_at_again_in_case_it_was_cut_off(http: HttpWorld) -> None:
    http.put("a.xml", GOOD[:500])

    def mend() -> None:
        http.files["a.xml"] = GOOD

    found = await take(http.feed(Polls(4, after1=mend)), outcome=Outcome.REFUSED)
    assert [document.body for document in found] == [GOOD[:500], GOOD]


async def test_a_reordered_index_brings_nothing_twice(http: HttpWorld) -> None:
    for name in ("a.xml", "b.xml", "c.xml"):
        http.put(name, GOOD + name.encode())

    def reorder() -> None:
        http.versions = dict(sorted(http.versions.items(), reverse=True))

    assert len(await take(http.feed(Polls(4, after1=reorder, after2=reorder)))) == 3


async def test_an_oversized_or_bombed_index_is_trouble_and_keeps_the_last_good_one(http: HttpWorld) -> None:
    http.put("a.xml", GOOD)
    for bad, words in (
        (b"<feed>" + b" " * 5_000_000 + b"</feed>", "5,000,000"),
        (b'<!DOCTYPE f [<!ENTITY a "b">]><feed>&a;</feed>', "DTD"),
        (b"<html></html>", "not an Atom"),
        (b"", "empty"),
    ):
        http.index = bad
        feed = http.feed(Polls(1))
        assert await take(feed) == []
        assert words in feed.trouble, words
        assert "secret" not in feed.trouble


@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.1:1/a.xml",
        "http://localhost:{port}/a.xml",
        "http://169.254.169.254/latest",
        "ftp://127.0.0.1/a.xml",
        "file:///etc/passwd",
        "http://[bad",
        "http://user@evil.example/a.xml",
    ],
)
async def test_a_link_to_anywhere_else_is_refused_unvisited_and_told_once(http: HttpWorld, link: str) -> None:
    target = link.format(port=http.port)
    http.index = f"<rss><channel><item><link>{target}</link></item></channel></rss>".encode()
    found = await take(http.feed(Polls(4)), outcome=Outcome.REFUSED)
    assert [(document.body, bool(document.refused)) for document in found] == [(b"", True)]
    assert [path for path, _ in http.requests] == ["/index.xml"] * 4


async def test_a_configured_host_may_be_visited(http: HttpWorld) -> None:
    http.put("a.xml", GOOD)
    http.hosts = (f"localhost:{http.port}",)
    http.index = (
        f"<rss><channel><item><link>http://localhost:{http.port}/a.xml</link></item></channel></rss>".encode()
    )
    assert [document.body for document in await take(http.feed(Polls(2)))] == [GOOD]


async def test_a_redirect_is_not_followed(http: HttpWorld) -> None:
    http.put("a.xml", GOOD)
    http.answers["/index.xml"] = status(302, "Location: /elsewhere.xml\r\n")
    feed = http.feed(Polls(1))
    await take(feed)
    assert "redirects" in feed.trouble
    assert [path for path, _ in http.requests] == ["/index.xml"]


async def test_a_compressed_body_is_refused(http: HttpWorld) -> None:
    async def bomb(writer: asyncio.StreamWriter) -> None:
        respond(writer, gzip.compress(b" " * 10_000_000), extra="Content-Encoding: gzip\r\n")

    http.answers["/index.xml"] = bomb
    feed = http.feed(Polls(1))
    await take(feed)
    assert "compresses" in feed.trouble
    assert http.requests[0][1]["accept-encoding"] == "identity"


async def test_warnings_inside_the_index_are_taken_out_whole(http: HttpWorld) -> None:
    inner = GOOD.split(b"?>", 1)[1].decode()
    escaped = inner.replace("&", "&amp;").replace("<", "&lt;")
    atom = "<feed xmlns='http://www.w3.org/2005/Atom'><entry><id>1</id>{}</entry></feed>"
    for index in (
        atom.format(f"<content type='text/xml'>{inner}</content>"),
        atom.format(f"<content>{escaped}</content>"),
        f"<e:EDXLDistribution xmlns:e='urn:x'><e:contentObject><e:xmlContent><e:embeddedXMLContent>{inner}"
        "</e:embeddedXMLContent></e:xmlContent></e:contentObject></e:EDXLDistribution>",
    ):
        http.index = index.encode()
        (found,) = await take(http.feed(Polls(3)))
        alert = parse(found.body, now=NOW)
        assert (alert.identifier, alert.format) == ("62302341600000_20260715061500", "cap-1.2")
        assert alert.main.areas[0].codes[0].digits == "623023101"
    assert {path for path, _ in http.requests} == {"/index.xml"}


async def test_a_changed_warning_inside_the_index_comes_again(http: HttpWorld) -> None:
    inner = GOOD.split(b"?>", 1)[1]
    http.index = b"<feed><entry><id>1</id><content>" + inner + b"</content></entry></feed>"

    def change() -> None:
        http.index = (http.index or b"").replace("橙色".encode(), "红色".encode())

    assert len(await take(http.feed(Polls(4, after2=change)))) == 2


async def test_a_link_declared_as_cap_goes_before_others(http: HttpWorld) -> None:
    http.put("cap", GOOD)
    http.index = (
        b"<feed><entry><link href='/page.html'/><link type='application/cap+xml' href='/cap'/></entry></feed>"
    )
    assert [document.name for document in await take(http.feed(Polls(2)))] == ["/cap"]


async def test_memory_of_what_was_seen_is_bounded(http: HttpWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cap_index, "MEMORY", 6)
    monkeypatch.setattr(cap_index, "MAX_ENTRIES", 3)
    for number in range(5):
        http.put(f"{number}.xml", GOOD + b" " * number)

    def more() -> None:
        http.versions = {}
        for number in range(10, 13):
            http.put(f"{number}.xml", GOOD + b" " * number)

    feed = http.feed(Polls(4, after1=more))
    troubles: list[str] = []
    found = await take(feed, seen=lambda _: troubles.append(feed.trouble))
    assert len(found) == 6, "the newest three of five, then three"
    assert "5 entries; only the first 3" in troubles[0]
    assert len(feed._done) <= 6
    assert len(feed._yielded) <= 6


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1/x", "http://", "/index.xml", "http://[bad"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(FeedError):
        CapIndexFeed("f", url)


async def test_a_restart_fetches_only_what_was_not_taken(http: HttpWorld, tmp_path: Path) -> None:
    memory = tmp_path / "state" / "index.json"

    def feed() -> CapIndexFeed:
        return CapIndexFeed("f", http.url, memory=memory, sleep=Polls(2))

    http.put("a.xml", GOOD)
    http.put("b.xml", GOOD + b" ")
    assert len(await take(feed(), outcome=None)) == 2
    assert len(await take(feed(), outcome=Outcome.REFUSED)) == 2
    assert len(await take(feed())) == 2
    http.requests.clear()
    http.put("b.xml", GOOD + b"  ")
    assert [document.name for document in await take(feed())] == ["/b.xml"]
    assert "/a.xml" not in [path for path, _ in http.requests]
    for nonsense in ("{", '{"taken": 3}', '{"taken": [[1, 2], "x", ["/a.xml"]]}'):
        memory.write_text(nonsense)
        assert len(await take(feed())) == 2


async def test_what_is_listed_at_first_or_after_trouble_is_backlog_and_the_rest_is_not(
    http: HttpWorld,
) -> None:
    http.put("a.xml", GOOD)
    changes = {
        "after1": lambda: http.put("b.xml", GOOD),
        "after2": http.break_it,
        "after3": lambda: (http.put("c.xml", GOOD), http.mend_it()),
        "after4": lambda: http.put("d.xml", GOOD),
    }
    found = await take(http.feed(Polls(6, **changes)))
    marks = {document.name: document.backlog for document in found}
    assert marks == {"/a.xml": True, "/b.xml": False, "/c.xml": True, "/d.xml": False}
