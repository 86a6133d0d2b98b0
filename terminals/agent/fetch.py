"""One clip over HTTP, by hash, with resume. The server is not believed: not its length, not its redirects,
not its pace; only bytes that have the right hash count.

Plain HTTP/1.1 through h11, because a board has no room for more; the clip server is the county's own.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import h11

from terminals.agent.clips import ClipError, ClipStore
from terminals.agent.core import Reason

CONNECT_S: Final = 10.0
IDLE_S: Final = 15.0
"""Without a byte for so long a connection counts as broken."""
SLOWEST: Final = 1_000
"""Bytes a second; a server that drips is given up after size / SLOWEST and PATIENCE_S."""
PATIENCE_S: Final = 60.0
RESUMES: Final = 4
"""How often one fetch goes on after its connection broke; then it is `Core`'s turn to try again."""
RESUME_PAUSE_S: Final = 0.5
_READ: Final = 1 << 16
_RANGE: Final = re.compile(rb"bytes (\d{1,12})-(\d{1,12})/(\d{1,12})")


class FetchError(Exception):
    """It did not come: what happened, for the report. `final` when the same server would say the same."""

    def __init__(self, problem: str, *, final: bool = False) -> None:
        super().__init__(problem)
        self.final = final


@dataclass(frozen=True, slots=True)
class Wanted:
    sha256: str
    size: int
    url: str


async def fetch(
    wanted: Wanted, store: ClipStore, pinned: frozenset[str], tls: ssl.SSLContext | None
) -> str | None:
    """Bring it into `store`. None when it is held; else the problem, as `Core.fetched` takes it.

    `pinned`: hashes that must not make room for it. `tls`: for https addresses."""
    if await asyncio.to_thread(store.check, wanted.sha256):
        return None
    try:
        store.make_room(wanted.size - _have(store, wanted.sha256), pinned, sha256=wanted.sha256)
        async with asyncio.timeout(wanted.size / SLOWEST + PATIENCE_S):
            return await _persist(wanted, store, tls)
    except TimeoutError:
        return f"slower than {SLOWEST} bytes a second"
    except FetchError as error:
        return str(error)
    except ClipError as error:
        return str(error)
    except OSError as error:
        return f"{error.strerror or error} while keeping the clip"


async def _persist(wanted: Wanted, store: ClipStore, tls: ssl.SSLContext | None) -> str | None:
    """Again and again where the connection broke. What an earlier start left in pieces may end in rubbish, so
    a wrong hash after a resume gets one more chance, from the beginning."""
    broken = 0
    fresh = _have(store, wanted.sha256) == 0
    while True:
        try:
            await _once(wanted, store, tls)
        except FetchError as error:
            broken += 1
            if error.final or broken > RESUMES:
                raise
            await asyncio.sleep(RESUME_PAUSE_S * broken)
            continue
        if await asyncio.to_thread(store.keep, wanted.sha256, wanted.size):
            return None
        if fresh:
            return Reason.HASH_MISMATCH
        fresh = True


async def _once(wanted: Wanted, store: ClipStore, tls: ssl.SSLContext | None) -> None:
    """One connection; returns when as many bytes are there as there must be. Raises FetchError; OSError of
    the disk."""
    try:
        parts = urlsplit(wanted.url)
        secure, port = parts.scheme == "https", parts.port
    except ValueError as error:
        raise FetchError(f"{wanted.url}: {error}", final=True) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchError(f"{wanted.url}: no http address", final=True)
    have = _have(store, wanted.sha256)
    if have >= wanted.size:
        return
    path = parts.path or "/"
    target = path + (f"?{parts.query}" if parts.query else "")
    headers = [
        ("host", parts.netloc.rpartition("@")[2]),
        ("accept-encoding", "identity"),
        ("connection", "close"),
    ]
    if have:
        headers.append(("range", f"bytes={have}-"))
    try:
        request = h11.Request(method="GET", target=target.encode("ascii"), headers=headers)
    except (h11.LocalProtocolError, UnicodeEncodeError) as error:
        raise FetchError(f"{wanted.url}: no http address ({error})", final=True) from error
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(
                parts.hostname,
                port or (443 if secure else 80),
                ssl=(tls or ssl.create_default_context()) if secure else None,
            )
        connection = h11.Connection(h11.CLIENT)
        writer.write(connection.send(request) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        answer = await _event(connection, reader)
        while isinstance(answer, h11.InformationalResponse):
            answer = await _event(connection, reader)
        if not isinstance(answer, h11.Response):
            raise FetchError("the server ended the connection without an answer")
        if have and answer.status_code in (206, 416) and not _goes_on(answer, wanted, have):
            store.part(wanted.sha256).unlink()  # it is another file there: next time from the beginning
            raise FetchError(f"HTTP {answer.status_code} for other bytes than asked for")
        start = _start(answer, wanted, have)
        await _take(connection, reader, wanted, store, start)
    except TimeoutError as error:
        raise FetchError(f"{parts.netloc} does not answer") from error
    except h11.RemoteProtocolError as error:
        raise FetchError(f"{parts.netloc} does not speak HTTP: {error}") from error
    except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError) as error:
        raise FetchError(f"{parts.netloc}: {error}") from error
    except OSError as error:
        if writer is None:  # it never was a matter of the disk
            raise FetchError(f"{parts.netloc}: {error}") from error
        raise
    finally:
        if writer is not None:
            writer.transport.abort()


def _start(answer: h11.Response, wanted: Wanted, have: int) -> int:
    """From which byte on the body is. Raises FetchError."""
    headers = dict(answer.headers)
    if 300 <= answer.status_code < 400:
        raise FetchError(f"HTTP {answer.status_code}: redirects are not followed", final=True)
    if answer.status_code not in (200, 206):
        final = 400 <= answer.status_code < 500 and answer.status_code not in (408, 416, 425, 429)
        raise FetchError(f"HTTP {answer.status_code} for {wanted.url}", final=final)
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise FetchError("the server sends it encoded, unasked", final=True)
    if answer.status_code == 200:
        return 0
    if not _goes_on(answer, wanted, have):
        raise FetchError("HTTP 206, unasked", final=True)
    return have


def _goes_on(answer: h11.Response, wanted: Wanted, have: int) -> bool:
    """Whether these are the bytes from `have` on of a file of the right size."""
    match = _RANGE.fullmatch(dict(answer.headers).get(b"content-range", b""))
    return (
        answer.status_code == 206
        and match is not None
        and have > 0
        and (int(match[1]), int(match[3])) == (have, wanted.size)
    )


async def _take(
    connection: h11.Connection, reader: asyncio.StreamReader, wanted: Wanted, store: ClipStore, start: int
) -> None:
    got = start
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if start == 0 else 0)
    handle = os.open(store.part(wanted.sha256), flags, 0o600)
    try:
        os.lseek(handle, start, os.SEEK_SET)
        while True:
            event = await _event(connection, reader)
            if isinstance(event, h11.EndOfMessage):
                break
            if not isinstance(event, h11.Data):
                raise FetchError(f"the connection broke after {got} of {wanted.size} bytes")
            got += len(event.data)
            if got > wanted.size:
                os.ftruncate(handle, 0)
                raise FetchError(f"more than the {wanted.size} bytes that it should have", final=True)
            view = memoryview(event.data)
            while view:
                view = view[os.write(handle, view) :]
    finally:
        os.close(handle)
    if got < wanted.size:
        raise FetchError(f"the server sent {got} of {wanted.size} bytes")


async def _event(
    connection: h11.Connection, reader: asyncio.StreamReader
) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
    while True:
        event = connection.next_event()
        if event is not h11.NEED_DATA:
            return event
        async with asyncio.timeout(IDLE_S):
            connection.receive_data(await reader.read(_READ))


def _have(store: ClipStore, sha256: str) -> int:
    try:
        return store.part(sha256).stat().st_size
    except FileNotFoundError:
        return 0
