"""HTTP inbox: a sender that knows the token posts a document and is told what became of it.

``POST /<any name>`` with ``Authorization: Bearer <token>`` and the document as the body. 200: journalled
and understood; 422: journalled and refused, with the reason; 401: not the token; 413: too large; 429: too
many; 503: not decided in time or not now: post it again, the same document is taken once.

A stranger can reach nothing: the token is compared before the body is read, in constant time, and there
are limits on time, size, rate, and connections from one address.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import ssl
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote

import h11

from alerts.feed import Document, FeedError, Outcome, Trust
from alerts.formats.xml import MAX_BYTES

MIN_TOKEN: Final = 32
MAX_CONNECTIONS: Final = 64
MAX_FROM_ONE: Final = 8
"""Connections at once from one address; a stranger's do not shut out the sender's."""
MAX_HEAD: Final = 16_384
QUEUE: Final = 16
REMEMBERED: Final = 1_024
PER_MINUTE: Final = 120
"""Documents of the sender; a county has 1 to 14 warnings a day (`feeds.md` §2.2)."""
BIND_PAUSE: Final = 5.0
LINGER_S: Final = 2.0
_OK, _UNKNOWN, _METHOD, _LARGE, _REFUSED, _MANY, _LATER = 200, 401, 405, 413, 422, 429, 503


@dataclass(slots=True, eq=False)
class _Post:
    """One document on its way, and everybody who waits for what becomes of it."""

    name: str
    body: bytes
    refused: str
    became: asyncio.Future[tuple[Outcome, str]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class _Answered(Exception):
    """The request ends here, with this answer."""

    def __init__(self, code: int, reason: str, **more: str) -> None:
        super().__init__(reason)
        self.code = code
        self.body = {"reason": reason, **more}


class InboxFeed:
    """Feed over one listening socket of our own."""

    trust = Trust.OFFICIAL

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        token: str,
        *,
        tls: ssl.SSLContext | None = None,
        deadline: float = 10.0,
        patience: float = 30.0,
        per_minute: int = PER_MINUTE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`deadline`: seconds in which a request must be whole. `patience`: seconds that a sender waits for
        the decision before it is told to post again.

        Raises FeedError for a token of less than 32 characters: it must not be guessed.
        """
        if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            raise FeedError(
                f"the token must be {MIN_TOKEN} or more ASCII characters without blanks, such as "
                "`openssl rand -hex 32` prints"
            )
        self.name = name
        self.trouble = ""
        self.port = port
        """Where it listens; of port 0, once it does."""
        self._host = host
        self._token = hashlib.sha256(token.encode()).digest()
        self._tls = tls
        self._deadline = deadline
        self._patience = patience
        self._per_minute = per_minute
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._listening = False
        self._last_good: datetime | None = None
        self._posts: asyncio.Queue[_Post] = asyncio.Queue(QUEUE)
        self._pending: dict[str, _Post] = {}
        """Not acknowledged yet, by the hash of the body."""
        self._ended: OrderedDict[str, tuple[Outcome, str]] = OrderedDict()
        self._taken_at: list[float] = []
        self._serving: set[asyncio.Task[None]] = set()
        self._from: Counter[str] = Counter()
        self._bug: asyncio.Future[None]
        """Fails when serving a post failed through our fault."""

    @property
    def last_good(self) -> datetime | None:
        """Now, while it listens: that a sender has nothing to say is no trouble."""
        if self._listening:
            self._last_good = self._clock()
        return self._last_good

    async def documents(self) -> AsyncIterator[Document]:
        """See `alerts.feed.Feed.documents`. Listens for as long as it is iterated."""
        server = await self._listen()
        self._bug = asyncio.get_running_loop().create_future()
        coming: asyncio.Future[_Post] | None = None
        try:
            self._listening = True
            while True:
                coming = asyncio.ensure_future(self._posts.get())
                await asyncio.wait((coming, self._bug), return_when=asyncio.FIRST_COMPLETED)
                if self._bug.done():
                    self._bug.result()  # raises: our own mistakes end the process
                yield self._document(coming.result())
        finally:
            self._bug.cancel()
            if coming is not None:
                coming.cancel()
            self._last_good = self.last_good
            self._listening = False
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def _listen(self) -> asyncio.Server:
        while True:
            try:
                server = await asyncio.start_server(
                    self._accept, self._host, self.port, ssl=self._tls, limit=MAX_HEAD, backlog=64
                )
            except OSError as error:
                self.trouble = f"cannot listen at {self._host}:{self.port}: {error.strerror or error}"
                await self._sleep(BIND_PAUSE)
            else:
                self.trouble = ""
                self.port = int(server.sockets[0].getsockname()[1])
                return server

    def _document(self, post: _Post) -> Document:
        digest = hashlib.sha256(post.body).hexdigest()

        async def acknowledge(outcome: Outcome, reason: str) -> None:
            self._pending.pop(digest, None)
            if not post.became.done():
                post.became.set_result((outcome, reason))
            if not post.refused:
                self._ended[digest] = (outcome, reason)
                while len(self._ended) > REMEMBERED:
                    self._ended.popitem(last=False)

        body = b"" if post.refused else post.body
        return Document(self.name, post.name, body, self._clock(), acknowledge, post.refused, backlog=False)

    # --- one connection --------------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name=f"{self.name}: a post")
        self._serving.add(task)
        task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None and not self._bug.done():
            self._bug.set_exception(bug)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = str((writer.get_extra_info("peername") or ("?",))[0])
        self._from[peer] += 1
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        try:
            try:
                if len(self._serving) > MAX_CONNECTIONS or self._from[peer] > MAX_FROM_ONE:
                    raise _Answered(_LATER, "too many connections; post it again")
                async with asyncio.timeout(self._deadline):
                    post = await self._read(http, reader, peer)
                await self._wait(post)
            except _Answered as answer:
                await self._answer(http, writer, answer)
                await self._linger(http, reader)
            except h11.RemoteProtocolError as error:
                if http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                    await self._answer(http, writer, _Answered(error.error_status_hint, str(error)))
        except (TimeoutError, OSError, EOFError, h11.LocalProtocolError):
            pass  # the sender went away, or sent too slowly; it knows
        finally:
            self._from[peer] -= 1
            if not self._from[peer]:
                del self._from[peer]
            writer.close()

    async def _read(self, http: h11.Connection, reader: asyncio.StreamReader, peer: str) -> _Post:
        """The whole request as a post on its way. Raises _Answered for what gets no further."""
        request: h11.Request | None = None
        body = bytearray()
        refused = ""
        while True:
            match http.next_event():
                case h11.NEED_DATA:
                    http.receive_data(await reader.read(65_536))
                case h11.Request() as request:
                    self._check(request)
                case h11.Data(data=data):
                    body += data
                    if len(body) > MAX_BYTES:
                        refused = f"more than {MAX_BYTES:,} bytes"
                        break
                case h11.EndOfMessage():
                    break
                case _:
                    raise EOFError
        assert request is not None
        self._count()
        name = unquote(request.target.decode("ascii").partition("?")[0], errors="replace")
        name = "".join(letter for letter in name if letter.isprintable()).strip("/ ")[:80] or f"from {peer}"
        return self._hand_on(name, bytes(body), refused)

    def _check(self, request: h11.Request) -> None:
        given = dict(request.headers).get(b"authorization", b"")
        scheme, _, token = given.partition(b" ")
        known = hmac.compare_digest(hashlib.sha256(token.strip()).digest(), self._token)
        if not known or scheme.lower() != b"bearer":
            raise _Answered(_UNKNOWN, "not the token of this inbox")
        if request.method != b"POST":
            raise _Answered(_METHOD, "POST a document")

    def _count(self) -> None:
        now = self._monotonic()
        self._taken_at = [at for at in self._taken_at if now - at < 60.0]
        if len(self._taken_at) >= self._per_minute:
            raise _Answered(_MANY, f"more than {self._per_minute} documents in a minute; post it again")
        self._taken_at.append(now)

    def _hand_on(self, name: str, body: bytes, refused: str) -> _Post:
        digest = hashlib.sha256(body).hexdigest()
        if refused:
            post = _Post(name, body[:0], refused)
        elif (ended := self._ended.get(digest)) is not None:
            raise _became(*ended)
        elif (waiting := self._pending.get(digest)) is not None:
            return waiting
        else:
            post = _Post(name, body, "")
        try:
            self._posts.put_nowait(post)
        except asyncio.QueueFull:
            raise _Answered(_LATER, "documents are waiting to be read; post it again") from None
        if not refused:
            self._pending[digest] = post
        return post

    async def _wait(self, post: _Post) -> None:
        try:
            async with asyncio.timeout(self._patience):
                outcome, reason = await asyncio.shield(post.became)
        except TimeoutError:
            raise _Answered(_LATER, "not decided yet; post it again to be told") from None
        raise _became(outcome, reason, too_large=bool(post.refused))

    async def _answer(self, http: h11.Connection, writer: asyncio.StreamWriter, answer: _Answered) -> None:
        body = json.dumps(answer.body, ensure_ascii=False).encode() + b"\n"
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        if answer.code in (_MANY, _LATER):
            headers.append(("Retry-After", "5"))
        if answer.code == _UNKNOWN:
            headers.append(("WWW-Authenticate", "Bearer"))
        for event in (
            h11.Response(status_code=answer.code, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            writer.write(http.send(event) or b"")
        async with asyncio.timeout(self._deadline):
            await writer.drain()

    async def _linger(self, http: h11.Connection, reader: asyncio.StreamReader) -> None:
        """Discards what a sender still sends that was answered early: closing on it would destroy the answer
        on its way (RFC 9112 §9.6). Bounded in bytes and time."""
        with contextlib.suppress(TimeoutError, h11.RemoteProtocolError):
            async with asyncio.timeout(LINGER_S):
                for _ in range(2 * MAX_BYTES // 65_536):
                    while http.their_state is h11.SEND_BODY and http.next_event() is not h11.NEED_DATA:
                        pass
                    if http.their_state is not h11.SEND_BODY:
                        return
                    http.receive_data(await reader.read(65_536))


def _became(outcome: Outcome, reason: str, *, too_large: bool = False) -> _Answered:
    code = _OK if outcome is Outcome.TAKEN else _LARGE if too_large else _REFUSED
    return _Answered(code, reason, outcome=outcome.value)
