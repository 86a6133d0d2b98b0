"""What terminals reach over HTTP, by somebody who wants to hold it, fill it, or read what is not theirs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controller.app import _serve
from controller.voicing import Voicing
from controller.web import wary
from controller.web.village import village_api
from controller.web.wary import Wary
from support.county import County, a_county
from terminals.enrolment import KEY_ENTROPY, Applicant, EnrolmentError, new_code
from terminals.wire import MAX_BODY
from tts.library import Library

CLIP = b"sound" * 1_000_000
"""More than the kernel's buffers take."""
NAME = hashlib.sha256(CLIP).hexdigest()
WAIT = 30


@dataclass
class Shop:
    port: int
    county: County

    async def call(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def raw(self, request: bytes) -> bytes:
        """All that comes back until the other side is done."""
        reader, writer = await self.call()
        try:
            async with asyncio.timeout(WAIT):
                writer.write(request)
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def get(self, target: str) -> tuple[int, bytes]:
        head, _, body = (await self.raw(get(target))).partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), body

    async def enrol(self, body: bytes) -> tuple[int, bytes]:
        size = len(body)
        head = f"POST /enrol HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n"
        answer, _, said = (await self.raw(head.encode() + body)).partition(b"\r\n\r\n")
        return int(answer.split(b" ")[1]), said

    async def is_open(self) -> bool:
        return await self.get(f"/clips/{NAME}.mp3") == (200, CLIP)


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode("latin-1")


async def ends(reader: asyncio.StreamReader) -> bytes:
    """What still comes until the server lets go of this connection."""
    try:
        async with asyncio.timeout(WAIT):
            return await reader.read()
    except ConnectionError:
        return b""


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """The real server, routes, library, register and store."""
    (tmp_path / "secret").write_text("not for you")
    (tmp_path / "library" / "clips" / NAME[:2]).mkdir(parents=True)
    library = Library(tmp_path / "library")
    library.path(NAME).write_bytes(CLIP)
    (tmp_path / "county").mkdir()
    async with a_county(tmp_path / "county") as county:
        voicing = SimpleNamespace(_library=library)
        app: Any = SimpleNamespace(
            voicing=SimpleNamespace(path=lambda name: Voicing.path(voicing, name)),  # type: ignore[arg-type]
            staging=county.staging,
            register=county.register,
        )
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.listen(256)
            sock.setblocking(False)
            api = _serve(village_api(app), sock, asyncio.Event(), http=Wary)
            task = asyncio.create_task(api, name="shop")
            try:
                yield Shop(sock.getsockname()[1], county)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


OUTSIDE = (
    "/clips/../secret",
    "/clips/..%2f..%2fsecret",
    "/clips/%2e%2e/secret",
    "/clips//etc/passwd",
    "/clips/%2fetc%2fpasswd",
    f"/clips/{NAME[:-1]}%00",
    f"/clips/{NAME.upper()}.mp3",
    f"/clips/{NAME}%0a",
    "/clips/fenghuo.db",
    "/clips/" + "a" * 5_000,
    "/sets/../fenghuo.db",
    "/sets/..%2f..%2fkeys%2factual.key",
    "/sets/s-%00",
    "/keys/actual.key",
    "/v1/status",
    "/v1/broadcasts",
    "/metrics",
    "/docs",
    "/openapi.json",
)


async def test_no_name_and_no_path_leads_out_of_what_is_served(shop: Shop) -> None:
    for target in OUTSIDE:
        status, body = await shop.get(target)
        assert status == 404, target
        assert b"not for you" not in body
        assert b"root:" not in body


async def test_a_request_said_letter_by_letter_holds_nothing_for_long(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wary, "REQUEST_S", 0.5)
    held = [await shop.call() for _ in range(20)]

    async def drip(writer: asyncio.StreamWriter) -> None:
        try:
            for letter in b"GET /clips/" + b"a" * 10_000:
                writer.write(bytes([letter]))
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            return

    drips = [asyncio.create_task(drip(writer)) for _, writer in held]
    assert await shop.is_open()
    assert [await ends(reader) for reader, _ in held] == [b""] * 20
    for task in drips:
        task.cancel()
    await asyncio.gather(*drips, return_exceptions=True)


async def test_an_enrolment_whose_body_never_ends_holds_nothing_for_long(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wary, "REQUEST_S", 0.3)
    for sent in (b"", b'{"terminal": "sim-'):
        reader, writer = await shop.call()
        writer.write(b"POST /enrol HTTP/1.1\r\nhost: x\r\ncontent-length: 4000\r\n\r\n" + sent)
        assert await ends(reader) == b""
    assert await shop.is_open()


async def test_after_an_answer_the_next_request_has_no_more_time_than_the_first(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wary, "REQUEST_S", 0.5)
    reader, writer = await shop.call()
    writer.write(b"GET /clips/none HTTP/1.1\r\nhost: x\r\n\r\n")
    await reader.readuntil(b"}")
    writer.write(b"GET /clips/none HT")
    assert await ends(reader) == b""


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> list[Wary]:
    """The connections that were given up."""
    gone: list[Wary] = []
    real = Wary._drop

    def drop(self: Wary) -> None:
        gone.append(self)
        real(self)

    monkeypatch.setattr(Wary, "_drop", drop)
    return gone


async def test_whoever_does_not_take_his_clip_loses_the_connection(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, dropped: list[Wary]
) -> None:
    monkeypatch.setattr(wary, "STALL_S", 0.3)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, ("127.0.0.1", shop.port))
        await loop.sock_sendall(slow, get(f"/clips/{NAME}.mp3"))
        async with asyncio.timeout(WAIT):
            while not dropped:  # takes nothing
                await asyncio.sleep(0.05)
        got = 0
        try:
            async with asyncio.timeout(WAIT):
                while data := await loop.sock_recv(slow, 65_536):
                    got += len(data)
        except ConnectionError:
            pass
        assert got < len(CLIP)


async def test_whoever_takes_it_by_the_spoonful_is_given_up_and_can_go_on_where_it_broke(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, dropped: list[Wary]
) -> None:
    monkeypatch.setattr(wary, "ANSWER_S", 0.5)
    reader, writer = await shop.call()
    writer.write(get(f"/clips/{NAME}.mp3"))
    got = b""
    try:
        async with asyncio.timeout(WAIT):
            while data := await reader.read(1_000 if not dropped else -1):  # then what the kernel holds
                got += data
                await asyncio.sleep(0.005)
    except ConnectionError:
        pass
    writer.close()
    body = got.partition(b"\r\n\r\n")[2]
    assert len(body) < len(CLIP)
    monkeypatch.setattr(wary, "ANSWER_S", 60.0)
    rest = await shop.raw(
        get(f"/clips/{NAME}.mp3").replace(b"host: x", b"host: x\r\nrange: bytes=%d-" % len(body))
    )
    assert body + rest.partition(b"\r\n\r\n")[2] == CLIP


async def test_hundreds_of_connections_that_say_nothing_keep_nobody_out(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Wary, "most", 50)
    held = [await shop.call() for _ in range(300)]
    for _ in range(3):
        assert await shop.is_open()
    # The oldest have gone first: the very first was let go of, although no deadline was over.
    assert await ends(held[0][0]) == b""
    for _, writer in held:
        writer.close()


async def test_half_of_the_file_descriptors_are_never_a_strangers() -> None:
    import resource

    assert wary.most_connections() == max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


async def test_a_stranger_who_speaks_no_http_does_not_fill_the_log(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for n in range(50):
            await shop.raw(b"\x16\x03\x01 nonsense %d\r\n\r\n" % n)
            await shop.get(f"/clips/{n}")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_websocket_is_not_offered(shop: Shop) -> None:
    answer = await shop.raw(
        b"GET /clips/x HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 404 ")


async def test_a_body_without_an_end_is_cut_at_the_limit_and_many_headers_are_refused(shop: Shop) -> None:
    chunk = b"%x\r\n" % 4_000 + b"a" * 4_000 + b"\r\n"
    answer = await shop.raw(
        b"POST /enrol HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        + chunk * (MAX_BODY // 4_000 + 2)
        + b"0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    answer = await shop.raw(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 40_000 + b"\r\n")
    assert answer[:13] in (b"HTTP/1.1 400 ", b"HTTP/1.1 431 ", b"")
    assert await shop.is_open()


async def test_enrolment_tells_a_stranger_nothing_and_takes_no_guess(shop: Shop) -> None:
    register = shop.county.register
    (mine, other, *_) = sorted(register.terminals)
    code = (await register.codes([mine], "王主任"))[mine]
    wrong = new_code(secrets.token_bytes(10))
    answers = set()
    for terminal in (mine, other, "sim-nobody", "zq-0001"):
        request = Applicant(terminal, wrong, secrets.token_bytes(KEY_ENTROPY)).request
        status, body = await shop.enrol(request)
        assert status == 403
        answers.add(body)
    # Whether a terminal exists or has a code open cannot be told from the answer.
    [answer] = answers
    assert json.loads(answer)["reason"] == "wrong-code"
    bodies = (b"", b"[]", b'{"terminal":"../x","public":"","mac":""}', b"[" * 16_000, b"\xff" * 100)
    for body in bodies:
        assert (await shop.enrol(body))[0] == 403
    applicant = Applicant(mine, code, secrets.token_bytes(KEY_ENTROPY))
    status, body = await shop.enrol(applicant.request)
    assert status == 200
    assert applicant.open(body).terminal == mine
    # Spent: the same request, heard on the way and said again, is nothing.
    assert (await shop.enrol(applicant.request))[0] == 403
    thief = Applicant(mine, code, secrets.token_bytes(KEY_ENTROPY))
    assert (await shop.enrol(thief.request))[0] == 403
    with pytest.raises(EnrolmentError):
        thief.open(body)
