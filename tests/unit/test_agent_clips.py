"""Clips by their hash, on a disk that fills up and breaks, from a server that is not believed."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from terminals.agent import fetch as module
from terminals.agent.clips import ClipError, ClipStore
from terminals.agent.core import Reason
from terminals.agent.fetch import Wanted, fetch
from terminals.agent.files import FileError

DATA = bytes(range(256)) * 400
SHA = hashlib.sha256(DATA).hexdigest()
MB = 1 << 20


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> ClipStore:
    return ClipStore(tmp_path / "clips", budget=4 * MB, keep_free=0)


def put(store: ClipStore, data: bytes) -> str:
    sha = digest(data)
    store.part(sha).write_bytes(data)
    assert store.keep(sha, len(data))
    return sha


# --- the store ---


@pytest.mark.parametrize(
    "name", ["", "..", "../../etc/passwd", "a/" + "0" * 62, "0" * 63, "0" * 64 + "\n", "A" * 64]
)
def test_only_a_hash_is_a_name(store: ClipStore, name: str) -> None:
    with pytest.raises(ValueError, match="is no SHA-256"):
        store.path(name)
    with pytest.raises(ValueError, match="is no SHA-256"):
        store.part(name)


def test_what_has_another_hash_or_size_is_never_kept(store: ClipStore) -> None:
    for data, size in ((DATA[:-1] + b"x", len(DATA)), (DATA, len(DATA) - 1)):
        store.part(SHA).write_bytes(data)
        assert not store.keep(SHA, size)
        assert not store.part(SHA).exists()
    assert store.held == set()


def test_after_a_start_only_what_is_whole_counts(tmp_path: Path, store: ClipStore) -> None:
    whole, torn = put(store, DATA), put(store, b"another" * 100)
    path = store.path(torn)
    path.write_bytes(path.read_bytes()[:-1])
    (tmp_path / "clips" / "not-a-hash").write_bytes(b"x")
    again = ClipStore(tmp_path / "clips", budget=4 * MB, keep_free=0)
    assert again.held == set()
    lines = again.check_all()
    assert again.held == {whole}
    assert len(lines) == 1
    assert torn[:12] in lines[0]
    assert not path.exists()


def test_the_least_recently_used_goes_first_and_what_is_wanted_never(store: ClipStore) -> None:
    hashes = [put(store, bytes([n]) * MB) for n in range(4)]
    for n, sha in enumerate(hashes):
        os.utime(store.path(sha), (n, n))
    store.used(hashes[0])
    store.make_room(MB, wanted={hashes[1]})
    assert store.held == {hashes[0], hashes[1], hashes[3]}
    with pytest.raises(ClipError, match="no room for 4194304 bytes"):
        store.make_room(4 * MB, wanted={hashes[1]})
    assert hashes[1] in store.held


def test_unfinished_pieces_go_before_any_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ClipStore(tmp_path / "clips", budget=4 * MB, keep_free=MB)
    sha = put(store, DATA)
    store.part("1" * 64).write_bytes(b"x" * MB)
    store.part("2" * 64).write_bytes(b"x" * 10)
    monkeypatch.setattr("terminals.agent.clips._free", lambda folder: MB // 2)
    store.make_room(1000, wanted=(), sha256="2" * 64)
    assert store.held == {sha}
    assert not store.part("1" * 64).exists()
    assert store.part("2" * 64).exists()


def test_the_disk_is_never_made_fuller_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ClipStore(tmp_path / "clips", budget=4 * MB, keep_free=MB)
    monkeypatch.setattr("terminals.agent.clips._free", lambda folder: MB + 99)
    store.make_room(99, wanted=())
    with pytest.raises(ClipError, match="no room"):
        store.make_room(100, wanted=())


def test_a_folder_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir(mode=0o755)
    with pytest.raises(FileError, match="chmod 700"):
        ClipStore(tmp_path / "clips", budget=MB, keep_free=0)


# --- the server that is not believed ---

Serve = Callable[[dict[str, str], asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers each request with the next of `answers`, the last one again and again."""

    def __init__(self, *answers: Serve) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, str]] = []
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *why: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            headers = {"": line.decode()}
            while (line := await reader.readline()).strip():
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            self.requests.append(headers)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            await answer(headers, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def get(
        self, store: ClipStore, *, sha: str = SHA, size: int = len(DATA), path: str = "/clips/x"
    ) -> Any:
        async with asyncio.timeout(30):
            return await fetch(
                Wanted(sha, size, f"http://127.0.0.1:{self.port}{path}"), store, frozenset(), None
            )


def plain(data: bytes = DATA, *, cut: int | None = None, head: str = "", length: int | None = None) -> Serve:
    """200, or 206 where a range is asked for; `cut`: the connection ends after so many bytes."""

    async def serve(headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        start = int(headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        status = (
            f"206 P\r\ncontent-range: bytes {start}-{len(data) - 1}/{len(data)}"
            if "range" in headers
            else "200 OK"
        )
        body = data[start:]
        said = len(body) if length is None else length
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {said}\r\n{head}\r\n".encode())
        writer.write(body[:cut])
        await writer.drain()

    return serve


def says(text: str) -> Serve:
    async def serve(headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        writer.write(text.encode())
        await writer.drain()

    return serve


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESUME_PAUSE_S", 0.0)


async def test_a_broken_connection_is_gone_on_with_where_it_broke(store: ClipStore) -> None:
    async with Server(plain(cut=10_000), plain(cut=20_000), plain()) as server:
        assert await server.get(store) is None
    assert [r.get("range") for r in server.requests] == [None, "bytes=10000-", "bytes=30000-"]
    assert store.path(SHA).read_bytes() == DATA
    assert store.held == {SHA}


async def test_what_is_held_is_not_fetched_again(store: ClipStore) -> None:
    put(store, DATA)
    async with Server(plain()) as server:
        assert await server.get(store) is None
    assert server.requests == []


async def test_what_was_held_and_is_damaged_is_fetched_again(store: ClipStore) -> None:
    put(store, DATA)
    store.path(SHA).write_bytes(DATA[:100])
    async with Server(plain()) as server:
        assert await server.get(store) is None
    assert store.path(SHA).read_bytes() == DATA


async def test_a_server_without_ranges_begins_again(store: ClipStore) -> None:
    async def whole(headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        await plain()({}, writer)

    async with Server(plain(cut=10_000), whole) as server:
        assert await server.get(store) is None
    assert server.requests[1]["range"] == "bytes=10000-"


async def test_rubbish_at_the_end_of_a_piece_from_before_a_power_cut_costs_one_more_fetch(
    store: ClipStore,
) -> None:
    store.part(SHA).write_bytes(DATA[:5000] + bytes(3000))
    async with Server(plain()) as server:
        assert await server.get(store) is None
    assert [r.get("range") for r in server.requests] == ["bytes=8000-", None]


async def test_a_piece_that_is_longer_than_the_clip_does_no_harm(store: ClipStore) -> None:
    store.part(SHA).write_bytes(DATA + b"more")
    async with Server(plain()) as server:
        assert await server.get(store) is None


async def test_other_bytes_are_not_taken(store: ClipStore) -> None:
    async with Server(plain(bytes(len(DATA)))) as server:
        assert await server.get(store) == Reason.HASH_MISMATCH
    assert len(server.requests) == 1
    assert store.held == set()
    assert not store.path(SHA).exists()


@pytest.mark.parametrize(
    ("answer", "problem", "final"),
    [
        (
            says("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/x\r\ncontent-length: 0\r\n\r\n"),
            "redirects",
            True,
        ),
        (says("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"), "HTTP 404", True),
        (says("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"), "HTTP 503", False),
        (plain(DATA + b"x"), "more than", True),
        (plain(head="content-encoding: gzip\r\n"), "encoded", True),
        (plain(DATA[:-1]), "sent 102399 of 102400", False),
        (says("SSH-2.0-OpenSSH_9\r\n\r\n"), "does not speak HTTP", False),
        (says("HTTP/1.1 200 OK\r\n" + "a: b\r\n" * 10_000), "does not speak HTTP", False),
        (says(""), "", False),
        (
            says("HTTP/1.1 206 P\r\ncontent-range: bytes 7-9/10\r\ncontent-length: 3\r\n\r\nabc"),
            "unasked",
            True,
        ),
    ],
    ids=["redirect", "404", "503", "longer", "encoded", "shorter", "ssh", "headers", "nothing", "range"],
)
async def test_a_server_that_lies_is_told_and_nothing_is_kept(
    store: ClipStore, answer: Serve, problem: str, final: bool
) -> None:
    async with Server(answer) as server:
        said = await server.get(store)
    assert isinstance(said, str)
    assert problem in said
    assert store.held == set()
    assert (len(server.requests) == 1) is final, server.requests


async def test_a_server_that_falls_asleep_is_given_up(
    store: ClipStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.05)
    monkeypatch.setattr(module, "RESUMES", 1)
    asleep = asyncio.Event()

    async def sleepy(headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        await plain(cut=10)(headers, writer)
        await asleep.wait()

    async with Server(sleepy) as server:
        said = await server.get(store)
        asleep.set()
    assert "does not answer" in said
    assert len(server.requests) == 2


async def test_a_server_that_drips_is_given_up(store: ClipStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    monkeypatch.setattr(module, "SLOWEST", 10**9)
    done = asyncio.Event()

    async def drips(headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(DATA)}\r\n\r\n".encode())
        for byte in DATA:
            writer.write(bytes([byte]))
            await writer.drain()
            try:
                async with asyncio.timeout(0.01):
                    await done.wait()
                return
            except TimeoutError:
                continue

    async with Server(drips) as server:
        said = await server.get(store)
        done.set()
    assert "slower than" in said
    assert 0 < store.part(SHA).stat().st_size < len(DATA), "what came is kept for the next try"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/y",
        "file:///etc/passwd",
        "http://",
        "http://[::1",
        "http://h:99999/",
        "http://127.0.0.1/a b\r\nX: y",
    ],
)
async def test_what_is_no_http_address_is_a_problem_and_no_crash(store: ClipStore, url: str) -> None:
    said = await fetch(Wanted(SHA, len(DATA), url), store, frozenset(), None)
    assert said is not None
    assert "no http address" in said or "refused" in said or url in said


async def test_a_server_that_is_not_there_is_told(store: ClipStore) -> None:
    async with Server(plain()) as server:
        pass
    said = await server.get(store)
    assert str(server.port) in said


async def test_a_full_disk_is_told_and_harms_nothing_that_is_held(
    store: ClipStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = put(store, b"other")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with Server(plain()) as server:
        monkeypatch.setattr(module.os, "write", full)
        said = await server.get(store)
    assert "No space left" in said
    assert store.held == {other}


async def test_a_clip_larger_than_the_budget_is_refused_before_a_byte_is_asked_for(store: ClipStore) -> None:
    async with Server(plain()) as server:
        said = await server.get(store, size=5 * MB)
    assert "no room" in said
    assert server.requests == []


async def test_another_file_at_the_server_after_a_break_is_fetched_from_the_beginning(
    store: ClipStore,
) -> None:
    async with Server(plain(cut=1000), plain(bytes(50_000)), plain()) as server:
        assert await server.get(store) is None
    assert [r.get("range") for r in server.requests] == [None, "bytes=1000-", None]
