"""Websocket: sources that push (Wolfx, FAN Studio). One connection, opened again for ever.

A socket may be open and dead: unless something comes (a warning, a heartbeat) within the watchdog's time
it is closed and opened again (`feeds.md` §7: heartbeat 60 s, watchdog 120 s). Sources replay their last
event on connect, days old: what was given once is not given again, and what is old is intake's to see.
"""

from __future__ import annotations

import asyncio
import hashlib
import random as _random
import ssl
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidURI, WebSocketException

from alerts.feed import Document, FeedError, Outcome
from alerts.feeds import http
from alerts.formats.lists import ListFormat, Row
from alerts.formats.xml import MAX_BYTES
from alerts.model import AlertError

MAX_MESSAGE: Final = 8_000_000
"""A longer message ends the connection; a row over `MAX_BYTES` is refused, and the next is read."""
WATCHDOG: Final = 120.0
FIRST_PAUSE: Final = 1.0
MAX_PAUSE: Final = 60.0
MEMORY: Final = 4_096
NONSENSE: Final = 20
"""Messages in a row that cannot be read, until the connection is given up."""


class _Connect(connect):
    """Never follows a redirect: the address that was configured is the one that is trusted."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class SocketFeed:
    """Feed over one websocket."""

    def __init__(
        self,
        name: str,
        url: str,
        source: ListFormat,
        *,
        watchdog: float = WATCHDOG,
        deadline: float = 10.0,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = _random.random,
    ) -> None:
        """`watchdog`: seconds of silence that end a connection. `deadline`: seconds to open one.

        Raises FeedError if `url` is not an absolute ws or wss address.
        """
        self._url = http.parse_url(url, ("ws", "wss"))
        self.name = name
        self.trust = source.trust
        self.last_good: datetime | None = None
        self.trouble = ""
        self._source = source
        self._watchdog = watchdog
        self._deadline = deadline
        self._headers = {**source.headers, **(headers or {})}
        self._tls = tls
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._failures = 0
        self._given: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def documents(self) -> AsyncIterator[Document]:
        """See `alerts.feed.Feed.documents`. Pauses between connections: 1 s ± 50 %, doubled to 60 s while
        nothing good comes."""
        while True:
            try:
                async with self._open() as socket, aclosing(self._messages(socket)) as messages:
                    async for document in messages:
                        yield document
            except FeedError as error:
                self.trouble = str(error)
            except (WebSocketException, OSError, TimeoutError) as error:
                self.trouble = f"{http.shown(self._url)}: {str(error) or type(error).__name__}"
            self._failures += 1
            await self._sleep(
                http.pause(FIRST_PAUSE, self._failures - 1, self._random, most=MAX_PAUSE, spread=0.5)
            )

    def _open(self) -> connect:
        try:
            return _Connect(
                str(self._url),
                ssl=self._tls if self._url.scheme == "wss" else None,
                additional_headers=self._headers,
                user_agent_header=http.USER_AGENT,
                open_timeout=self._deadline,
                close_timeout=1.0,
                max_size=MAX_MESSAGE,
                compression=None,  # a small message could grow past the limit
                proxy=None,
            )
        except InvalidURI as error:
            raise FeedError(f"{http.shown(self._url)}: {error}") from error

    async def _messages(self, socket: ClientConnection) -> AsyncGenerator[Document, None]:
        """What comes over one connection, until it is closed, silent or nonsense. Raises FeedError."""
        nonsense = 0
        while True:
            try:
                async with asyncio.timeout(self._watchdog):
                    message = await socket.recv()
            except TimeoutError as error:
                raise FeedError(
                    f"{http.shown(self._url)}: silent for {self._watchdog:g} s, though connected"
                ) from error
            body = message.encode() if isinstance(message, str) else message
            try:
                rows = self._source.split(body)
            except AlertError as error:
                nonsense += 1
                self.trouble = f"{http.shown(self._url)}: a message cannot be read: {error}"
                if nonsense > NONSENSE:
                    raise FeedError(self.trouble) from error
                if document := self._unread(body, str(error)):
                    yield document
                continue
            nonsense = 0
            self.last_good, self.trouble, self._failures = self._clock(), "", 0
            for row in rows:
                if (row.key, row.version) not in self._given:
                    yield self._document(row)

    def _document(self, row: Row) -> Document:
        self._remember(row.key, row.version)

        async def acknowledge(_: Outcome, __: str) -> None: ...

        size = len(row.body)
        refused = f"{size:,} bytes; the limit is {MAX_BYTES:,}" if size > MAX_BYTES else ""
        body = b"" if refused else row.body
        return Document(self.name, row.key, body, self._clock(), acknowledge, refused)

    def _unread(self, body: bytes, why: str) -> Document | None:
        """A message that is no row and no heartbeat, once."""
        digest = hashlib.sha256(body).hexdigest()
        if ("", digest) in self._given:
            return None
        self._remember("", digest)

        async def acknowledge(_: Outcome, __: str) -> None: ...

        return Document(self.name, http.shown(self._url), b"", self._clock(), acknowledge, why)

    def _remember(self, key: str, version: str) -> None:
        self._given[key, version] = None
        while len(self._given) > MEMORY:
            self._given.popitem(last=False)
