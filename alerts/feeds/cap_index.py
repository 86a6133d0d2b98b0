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
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx2

from alerts.feed import Document, FeedError, Outcome, Trust
from alerts.feeds import http
from alerts.feeds.memory import Memory
from alerts.formats import containers, xml
from alerts.formats.containers import Entry
from alerts.model import AlertError

MAX_INDEX: Final = 5_000_000
MAX_ENTRIES: Final = 2_000
MEMORY: Final = 4 * MAX_ENTRIES
"""Entries remembered: more than any index may hold, so that nothing is forgotten while it is listed."""
AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class _Retry:
    """A failed entry: how often, at which poll to try again, and the last reason."""

    failures: int
    poll: int
    why: str


class CapIndexFeed:
    """Feed over one index address."""

    trust = Trust.OFFICIAL

    def __init__(
        self,
        name: str,
        url: str,
        *,
        memory: Path | None = None,
        hosts: Iterable[str] = (),
        interval: float = 60.0,
        deadline: float = 10.0,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = _random.random,
    ) -> None:
        """`memory`: the file that remembers which entries were taken; without it a restart fetches all that
        is listed again. `hosts`: further ``host`` or ``host:port`` that links may lead to. `interval`:
        seconds between polls. `deadline`: seconds that one request may take in all. `random`: in [0, 1),
        for jitter.

        Raises FeedError if `url` is not an absolute http or https address.
        """
        self._url = http.parse_url(url)
        self.name = name
        self.last_good: datetime | None = None
        self._index_trouble = ""
        self._overfull = ""
        self._memory = Memory(memory) if memory is not None else None
        self._hosts = http.hosts_of(hosts)
        self._interval = interval
        self._deadline = deadline
        self._headers = headers
        self._tls = tls
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._failures = 0
        self._poll = 0
        self._validators: Mapping[str, str] = {}
        self._entries: list[Entry] = []
        self._behind = True
        """Whether we could not look lately: what the next good look finds may be old."""
        self._backlog: frozenset[Entry] = frozenset()
        self._done: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Entries that need no more fetching, as (link, version)."""
        self._taken: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Entries that intake understood: what a restart need not bring again."""
        self._changed = False
        self._yielded: OrderedDict[tuple[str, str], None] = OrderedDict()
        """What has been yielded, as (link, hash of the body)."""
        self._retry: dict[Entry, _Retry] = {}

    @property
    def trouble(self) -> str:
        """The index's trouble; else a document that it lists and that failed three times or more."""
        failing = [(entry, retry) for entry, retry in self._retry.items() if retry.failures >= 3]
        missing = f"{len(failing)} listed document(s) cannot be had: {failing[0][1].why}" if failing else ""
        forgets = self._memory.trouble if self._memory else ""
        return self._index_trouble or self._overfull or missing or forgets

    async def documents(self) -> AsyncIterator[Document]:
        """See `alerts.feed.Feed.documents`. The oldest entries of a poll are fetched first."""
        await self._recall()
        async with http.Getter(deadline=self._deadline, headers=self._headers, tls=self._tls) as getter:
            while True:
                self._poll += 1
                try:
                    await self._refresh(getter)
                except FeedError as error:
                    self._failures += 1
                    self._behind = True
                    self._index_trouble = str(error)
                else:
                    self._failures = 0
                    self._index_trouble = ""
                    self.last_good = self._clock()
                # Closed by hand: an abandoned generator does not close the one inside it.
                async with aclosing(self._outstanding(getter)) as outstanding:
                    async for document in outstanding:
                        yield document
                await self._remember()
                await self._sleep(http.pause(self._interval, self._failures, self._random))

    # --- the index -------------------------------------------------------------------------------------

    async def _refresh(self, getter: http.Getter) -> None:
        """Brings `_entries` up to date. Raises FeedError and leaves them as they were."""
        answer = await getter.get(self._url, MAX_INDEX, self._validators)
        if answer.unchanged:
            self._behind = False
            return
        try:
            entries = containers.entries(answer.body, max_bytes=MAX_INDEX)
        except AlertError as error:
            raise FeedError(f"{http.shown(self._url)}: the index {error.why}") from error
        # Indexes list the newest first; a warning should come before its update and its cancel.
        self._entries = entries[:MAX_ENTRIES][::-1]
        listed = frozenset(self._entries)
        self._backlog = listed if self._behind else self._backlog & listed
        self._behind = False
        self._retry = {entry: retry for entry, retry in self._retry.items() if entry in listed}
        self._overfull = ""
        if len(entries) > MAX_ENTRIES:
            self._overfull = f"the index has {len(entries)} entries; only the first {MAX_ENTRIES} are read"
        self._validators = answer.validators

    # --- the documents ---------------------------------------------------------------------------------

    async def _outstanding(self, getter: http.Getter) -> AsyncGenerator[Document, None]:
        """Every entry not yet dealt with, a few at a time, in the order in which they arrive."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def fetch(entry: Entry) -> Document | None:
            async with gate:
                return await self._fetch(getter, entry)

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

    async def _fetch(self, getter: http.Getter, entry: Entry) -> Document | None:
        if entry.inline or entry.refused:
            return self._document(entry, entry.inline, entry.refused)
        try:
            address = self._url.join(entry.link)
        except httpx2.InvalidURL as error:
            return self._document(entry, b"", f"{entry.link[:200]!r} is not an address: {error}")
        if refused := http.forbidden(self._url, address, self._hosts):
            return self._document(entry, b"", refused)
        try:
            body = (await getter.get(address, xml.MAX_BYTES)).body
        except http.TooLarge as error:
            return self._document(entry, b"", str(error))
        except FeedError as error:
            # 404 for a minute after the index names it is common (`feeds.md` §7).
            self._again(entry, str(error))
            return None
        return self._document(entry, body)

    def _document(self, entry: Entry, body: bytes, refused: str = "") -> Document | None:
        """The document to yield, or None if exactly this has been yielded before."""
        _remember(self._done, (entry.link, entry.version))
        self._retry.pop(entry, None)
        digest = hashlib.sha256(body).hexdigest() if body else refused
        if (entry.link, digest) in self._yielded:
            return None
        _remember(self._yielded, (entry.link, digest))

        async def acknowledge(outcome: Outcome, reason: str) -> None:
            if outcome is Outcome.TAKEN:
                _remember(self._taken, (entry.link, entry.version))
                self._changed = True
            # Perhaps it was cut off on the way; another body under the same link is worth a look.
            if outcome is Outcome.REFUSED and body and not entry.inline:
                self._done.pop((entry.link, entry.version), None)
                self._again(entry, reason)

        return Document(
            self.name, entry.link, body, self._clock(), acknowledge, refused, entry in self._backlog
        )

    def _again(self, entry: Entry, why: str) -> None:
        """Tries a failed entry again after 1, 2, 4 … 64 polls."""
        failures = self._retry[entry].failures if entry in self._retry else 0
        self._retry[entry] = _Retry(failures + 1, self._poll + 2 ** min(failures, 6), why)

    # --- what a restart must not forget ----------------------------------------------------------------

    async def _recall(self) -> None:
        if self._memory is None:
            return
        saved = await asyncio.to_thread(self._memory.load)
        taken = saved.get("taken")
        for item in taken if isinstance(taken, list) else []:
            match item:
                case [str(link), str(version)]:
                    _remember(self._taken, (link, version))
                    _remember(self._done, (link, version))
                case _:
                    pass

    async def _remember(self) -> None:
        if self._memory is None or not self._changed:
            return
        self._changed = False
        await asyncio.to_thread(self._memory.save, {"taken": list(self._taken)})
        self._changed = self._changed or bool(self._memory.trouble)


def _remember(memory: OrderedDict[tuple[str, str], None], key: tuple[str, str]) -> None:
    memory[key] = None
    memory.move_to_end(key)
    while len(memory) > MEMORY:
        memory.popitem(last=False)
