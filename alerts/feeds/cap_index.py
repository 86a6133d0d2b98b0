"""CAP over HTTP: polls an Atom, RSS or EDXL-DE index and yields the CAP documents it names or contains.

Polite (ETag, If-Modified-Since, jitter, back-off) and wary: links are followed only to the index's own
host or to hosts named in the configuration, never through redirects, with limits on size and time, so
that an index cannot make the controller call the county's other machines. A document that fails is
tried again later and holds up no other.
"""

from __future__ import annotations

import asyncio
import hashlib
import random as _random
import ssl
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx2

from alerts.feed import Document, FeedError, Outcome
from alerts.formats import xml
from alerts.model import AlertError

MAX_INDEX: Final = 5_000_000
MAX_ENTRIES: Final = 2_000
MEMORY: Final = 4 * MAX_ENTRIES
"""Entries remembered: more than any index may hold, so that nothing is forgotten while it is listed."""
AT_ONCE: Final = 4
MAX_BACKOFF: Final = 600.0
_CAP: Final = "application/cap+xml"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of the index: an address to fetch, or the document itself."""

    link: str
    version: str
    """What changes when the source issues the entry again under the same link."""
    inline: bytes = b""


@dataclass(frozen=True, slots=True)
class _Retry:
    """A failed entry: how often, at which poll to try again, and the last reason."""

    failures: int
    poll: int
    why: str


class CapIndexFeed:
    """Feed over one index address."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        hosts: Iterable[str] = (),
        interval: float = 60.0,
        deadline: float = 10.0,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = _random.random,
    ) -> None:
        """`hosts`: further ``host`` or ``host:port`` that links may lead to. `interval`: seconds between
        polls. `deadline`: seconds that one request may take in all. `random`: in [0, 1), for jitter.

        Raises FeedError if `url` is not an absolute http or https address.
        """
        try:
            self._url = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise FeedError(f"{url!r} is not an address: {error}") from error
        # httpx2 quotes what no host may contain ("http://[bad" → %5Bbad) instead of refusing it.
        if self._url.scheme not in ("http", "https") or not self._url.host or "%" in self._url.host:
            raise FeedError(f"{url!r} is not an http or https address")
        self.name = name
        self.last_good: datetime | None = None
        self._index_trouble = ""
        self._overfull = ""
        self._hosts = frozenset(host.casefold() for host in hosts)
        self._interval = interval
        self._deadline = deadline
        self._headers = {
            "User-Agent": "fenghuo (county emergency broadcast)",
            # Compressed bodies could grow past any limit inside the library.
            "Accept-Encoding": "identity",
            **(headers or {}),
        }
        self._tls = tls
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._failures = 0
        self._poll = 0
        self._validators: dict[str, str] = {}
        self._entries: list[_Entry] = []
        self._done: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Entries that need no more fetching, as (link, version)."""
        self._yielded: OrderedDict[tuple[str, str], None] = OrderedDict()
        """What has been yielded, as (link, hash of the body)."""
        self._retry: dict[_Entry, _Retry] = {}

    @property
    def trouble(self) -> str:
        """The index's trouble; else a document that it lists and that failed three times or more."""
        failing = [(entry, retry) for entry, retry in self._retry.items() if retry.failures >= 3]
        missing = f"{len(failing)} listed document(s) cannot be had: {failing[0][1].why}" if failing else ""
        return self._index_trouble or self._overfull or missing

    async def documents(self) -> AsyncIterator[Document]:
        """See `alerts.feed.Feed.documents`. The oldest entries of a poll are fetched first."""
        verify = self._tls if self._tls is not None else True
        async with httpx2.AsyncClient(
            headers=self._headers,
            verify=verify,
            follow_redirects=False,
            trust_env=False,
            timeout=self._deadline,
        ) as client:
            while True:
                self._poll += 1
                try:
                    await self._refresh(client)
                except FeedError as error:
                    self._failures += 1
                    self._index_trouble = str(error)
                else:
                    self._failures = 0
                    self._index_trouble = ""
                    self.last_good = self._clock()
                # Closed by hand: an abandoned generator does not close the one inside it.
                async with aclosing(self._outstanding(client)) as outstanding:
                    async for document in outstanding:
                        yield document
                await self._sleep(self._pause())

    def _pause(self) -> float:
        """Seconds to the next poll: the interval ± 10 %, doubled with every failure, at most 10 minutes
        (or the interval, if that is longer)."""
        base: float = min(self._interval * 2 ** min(self._failures, 10), max(MAX_BACKOFF, self._interval))
        return base * (0.9 + 0.2 * self._random())

    # --- the index -------------------------------------------------------------------------------------

    async def _refresh(self, client: httpx2.AsyncClient) -> None:
        """Brings `_entries` up to date. Raises FeedError and leaves them as they were."""
        status, body, headers = await self._get(client, self._url, MAX_INDEX, self._validators)
        if status == 304:
            return
        try:
            root, _ = xml.read(body, max_bytes=MAX_INDEX)
        except AlertError as error:
            raise FeedError(f"{_shown(self._url)}: the index {error.why}") from error
        if root.name not in ("feed", "rss", "RDF", "EDXLDistribution"):
            raise FeedError(f"{_shown(self._url)}: <{root.name[:40]}> is not an Atom, RSS or EDXL-DE index")
        entries = list(dict.fromkeys(_entries(root)))
        # Indexes list the newest first; a warning should come before its update and its cancel.
        self._entries = entries[:MAX_ENTRIES][::-1]
        listed = set(self._entries)
        self._retry = {entry: retry for entry, retry in self._retry.items() if entry in listed}
        self._overfull = ""
        if len(entries) > MAX_ENTRIES:
            self._overfull = f"the index has {len(entries)} entries; only the first {MAX_ENTRIES} are read"
        self._validators = {
            ask: headers[told]
            for ask, told in (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified"))
            if told in headers
        }

    # --- the documents ---------------------------------------------------------------------------------

    async def _outstanding(self, client: httpx2.AsyncClient) -> AsyncGenerator[Document, None]:
        """Every entry not yet dealt with, a few at a time, in the order in which they arrive."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def fetch(entry: _Entry) -> Document | None:
            async with gate:
                return await self._fetch(client, entry)

        waiting = [
            entry
            for entry in self._entries
            if (entry.link, entry.version) not in self._done
            and (entry not in self._retry or self._retry[entry].poll <= self._poll)
        ]
        tasks = [asyncio.create_task(fetch(entry), name=f"{self.name}: {entry.link}") for entry in waiting]
        try:
            for task in asyncio.as_completed(tasks):
                document = await task
                if document is not None:
                    yield document
        finally:
            for started in tasks:
                started.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetch(self, client: httpx2.AsyncClient, entry: _Entry) -> Document | None:
        if entry.inline:
            return self._document(entry, entry.inline)
        try:
            address = self._url.join(entry.link)
        except httpx2.InvalidURL as error:
            return self._document(entry, b"", f"{entry.link[:200]!r} is not an address: {error}")
        if refused := self._forbidden(address):
            return self._document(entry, b"", refused)
        try:
            _, body, _ = await self._get(client, address, xml.MAX_BYTES, {})
        except _TooLarge as error:
            return self._document(entry, b"", str(error))
        except FeedError as error:
            # 404 for a minute after the index names it is common (`feeds.md` §7).
            self._again(entry, str(error))
            return None
        return self._document(entry, body)

    def _forbidden(self, address: httpx2.URL) -> str:
        """Why a link may not be followed, or empty."""
        if address.scheme not in ("http", "https") or (self._url.scheme, address.scheme) == ("https", "http"):
            return f"{_shown(address)}: links may not leave {self._url.scheme}"
        if (address.host, _port(address)) == (self._url.host, _port(self._url)):
            return ""
        if {address.host.casefold(), f"{address.host.casefold()}:{_port(address)}"} & self._hosts:
            return ""
        return f"{_shown(address)}: not the index's host; name it in the feed's hosts if that is right"

    def _document(self, entry: _Entry, body: bytes, refused: str = "") -> Document | None:
        """The document to yield, or None if exactly this has been yielded before."""
        _remember(self._done, (entry.link, entry.version))
        self._retry.pop(entry, None)
        digest = hashlib.sha256(body).hexdigest() if body else refused
        if (entry.link, digest) in self._yielded:
            return None
        _remember(self._yielded, (entry.link, digest))

        async def acknowledge(outcome: Outcome, reason: str) -> None:
            # Perhaps it was cut off on the way; another body under the same link is worth a look.
            if outcome is Outcome.REFUSED and body and not entry.inline:
                self._done.pop((entry.link, entry.version), None)
                self._again(entry, reason)

        return Document(self.name, entry.link, body, self._clock(), acknowledge, refused)

    def _again(self, entry: _Entry, why: str) -> None:
        """Tries a failed entry again after 1, 2, 4 … 64 polls."""
        failures = self._retry[entry].failures if entry in self._retry else 0
        self._retry[entry] = _Retry(failures + 1, self._poll + 2 ** min(failures, 6), why)

    async def _get(
        self, client: httpx2.AsyncClient, address: httpx2.URL, limit: int, ask: Mapping[str, str]
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Status 200 with its body, or 304. Raises FeedError for everything else."""
        try:
            async with (
                asyncio.timeout(self._deadline),
                client.stream("GET", address, headers=dict(ask)) as response,
            ):
                if response.status_code == 304 and ask:
                    return 304, b"", response.headers
                if response.is_redirect:
                    raise FeedError(f"{_shown(address)} redirects; configure the address it leads to")
                if response.status_code != 200:
                    raise FeedError(f"{_shown(address)} answers {response.status_code}")
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise FeedError(f"{_shown(address)} compresses, though asked not to")
                body = bytearray()
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > limit:
                        raise _TooLarge(f"{_shown(address)}: more than {limit:,} bytes")
                return 200, bytes(body), response.headers
        except TimeoutError as error:
            raise FeedError(f"{_shown(address)} took longer than {self._deadline:g} s") from error
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
            raise FeedError(f"{_shown(address)}: {str(error) or type(error).__name__}") from error


class _TooLarge(FeedError):
    pass


def _shown(url: httpx2.URL) -> str:
    """An address for people and logs, without what might be a key: no user, no query."""
    return f"{url.scheme}://{url.host}{f':{url.port}' if url.port else ''}{url.path}"


def _port(url: httpx2.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _remember(memory: OrderedDict[tuple[str, str], None], key: tuple[str, str]) -> None:
    memory[key] = None
    memory.move_to_end(key)
    while len(memory) > MEMORY:
        memory.popitem(last=False)


def _entries(root: xml.Element) -> Iterator[_Entry]:
    """What an index of any of the three kinds lists, in its order. Entries that name nothing are left out."""
    for item in root.walk():
        if item.name not in ("entry", "item", "contentObject"):
            continue
        version = item.get("updated") or item.get("pubDate") or item.get("published") or item.get("guid")
        inline = next((part for part in item.walk() if part.name == "alert" and part.all("identifier")), None)
        if inline is not None:
            body = inline.to_bytes()
            yield _Entry(_label(item, inline), f"{version} {hashlib.sha256(body).hexdigest()}", body)
            continue
        content = item.get("content")
        if content.startswith("<") and "alert" in content[:500]:  # escaped instead of nested
            yield _Entry(item.get("id") or item.get("guid") or version, version, content.encode())
        elif link := _link(item):
            yield _Entry(link, version)


def _label(item: xml.Element, alert: xml.Element) -> str:
    return item.get("id") or item.get("guid") or alert.get("identifier")


def _link(item: xml.Element) -> str:
    """The address of the CAP document: one declared as CAP, else the entry's own."""
    links = item.all("link")
    typed = [
        link for link in (*links, *item.all("enclosure")) if link.attributes.get("type", "").startswith(_CAP)
    ]
    plain = [link for link in links if link.attributes.get("rel", "alternate") == "alternate"]
    for link in (*typed, *plain, *links):
        found = link.attributes.get("href") or link.attributes.get("url") or link.text
        if found:
            return found
    return ""
