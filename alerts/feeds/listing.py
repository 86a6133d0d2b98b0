"""Lists over HTTP: sources that publish what is in force as rows which appear, change and disappear (NMC,
12379, weather.com.cn, QWeather, Caiyun, ICL).

Each new or changed row becomes a document, with its detail where the format has one. A row that is gone
becomes the format's own document that says so, but only after several good and plausible answers without
it: a failed, empty or truncated answer ends nothing (`feeds.md` §6.5). What was listed is remembered on
disk, so that a warning that vanished while we were down is still ended.
"""

from __future__ import annotations

import asyncio
import base64
import random as _random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx2

from alerts.feed import Document, FeedError, Outcome
from alerts.feeds import http
from alerts.feeds.memory import Memory
from alerts.formats.lists import ListFormat, Row
from alerts.formats.xml import MAX_BYTES
from alerts.model import AlertError

MAX_ANSWER: Final = 10_000_000
MAX_ROWS: Final = 10_000
MAX_PAGES: Final = 50
AT_ONCE: Final = 4
KEY: Final = "{key}"
"""In an address: what the source gave us to know us by."""
PAGE: Final = "{page}"
"""In an address: the number of the page, from 1. The round ends with the page that brings nothing new."""
DETAIL_TRIES: Final = 2
"""Rounds in which the detail of a row is asked for; then the row goes without: late is worse than short."""
GONE_AFTER: Final = 2
"""Good answers in a row without a row, until it counts as gone (`feeds.md` §2.4)."""
EMPTY_AFTER: Final = 5
"""Answers in a row without any row, until all that was listed counts as gone: a quiet place has such days,
a broken source too."""
LONG: Final = 20
"""Rows from which a list is one that does not shrink to less than half, or to nothing, between two looks."""
SETTLED_AFTER: Final = 10
"""Answers in a row that must agree before a list that shrank so is believed (we were away for long)."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A row that was given and acknowledged."""

    version: str
    body: bytes
    taken: bool
    """Whether intake understood it; what it refused needs no end."""


class ListFeed:
    """Feed over one address of one list format."""

    def __init__(
        self,
        name: str,
        url: str,
        source: ListFormat,
        *,
        memory: Path | None = None,
        key: str = "",
        only: Iterable[str] = (),
        details: str | None = None,
        hosts: Iterable[str] = (),
        interval: float = 60.0,
        deadline: float = 30.0,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = _random.random,
    ) -> None:
        """`memory`: the file that remembers what was listed; without it a restart forgets. `key`: takes
        the place of ``{key}`` in `url`; no message repeats it. `only`: beginnings of row keys that concern
        us (where keys begin with a division code); empty for all. `details`: the address
        that details are relative to, where that is not the list's own. `hosts`: further hosts for details.
        `interval`: seconds between rounds. `deadline`: seconds that one request may take;
        NMC needs 25 when cold (`feeds.md` §2.4).

        Raises FeedError if `url` is not an absolute http or https address.
        """
        self._shown = http.shown(http.parse_url(url.replace(KEY, "KEY").replace(PAGE, "1")))
        self._url = url.replace(KEY, quote(key, safe=""))
        self._base = http.parse_url(self._url.replace(PAGE, "1"))
        self._details = http.parse_url(details) if details else self._base
        self._key = key
        self.name = name
        self.trust = source.trust
        self.last_good: datetime | None = None
        self._source = source
        self._memory = Memory(memory) if memory is not None else None
        self._only = tuple(only)
        self._hosts = http.hosts_of(hosts)
        self._interval = interval
        self._deadline = deadline
        self._headers = {**source.headers, **(headers or {})}
        self._tls = tls
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._trouble = ""
        self._odd = ""
        self._short = ""
        """Why the last detail could not be had."""
        self._failures = 0
        self._validators: Mapping[str, str] = {}
        self._behind = True
        self._backlog: set[tuple[str, str]] = set()
        self._rows: dict[str, Row] = {}
        """What the last good answer listed, by key."""
        self._known: dict[str, _Known] = {}
        self._changed = False
        self._out: dict[str, str | None] = {}
        """Given and not acknowledged: key → version; None where it was the end of the row."""
        self._tries: dict[tuple[str, str], int] = {}
        """How often the detail of (key, version) failed."""
        self._absent: dict[str, int] = {}
        """Good answers in a row without this key."""
        self._empty = 0
        """Answers in a row without any row."""
        self._most = 0
        """Rows of the last list that was believed."""
        self._shrunk = 0
        """Answers in a row that held less than half of that."""

    @property
    def trouble(self) -> str:
        """Why the list cannot be read, or not be believed, or not be remembered."""
        return self._trouble or self._odd or self._short or (self._memory.trouble if self._memory else "")

    async def documents(self) -> AsyncIterator[Document]:
        """See `alerts.feed.Feed.documents`. Rows come before ends."""
        await self._recall()
        async with http.Getter(
            deadline=self._deadline, headers=self._headers, tls=self._tls, secret=self._key
        ) as getter:
            while True:
                try:
                    believed = await self._look(getter)
                except FeedError as error:
                    self._failures += 1
                    self._behind = True
                    self._trouble = str(error)
                    believed = False
                else:
                    self._failures = 0
                    self._trouble = ""
                    self.last_good = self._clock()
                async with aclosing(self._news(getter)) as news:
                    async for document in news:
                        yield document
                if believed:
                    for document in self._ended():
                        yield document
                await self._remember()
                await self._sleep(http.pause(self._interval, self._failures, self._random))

    # --- the list --------------------------------------------------------------------------------------

    async def _look(self, getter: http.Getter) -> bool:
        """Brings `_rows` up to date; whether absence from this answer means something. Raises FeedError
        and leaves everything as it was."""
        answer = await getter.get(self._base, MAX_ANSWER, self._validators)
        if answer.unchanged:
            self._behind = False
            return self._believable(len(self._rows))
        rows = self._split(answer.body)
        paged = PAGE in self._url
        page = 1
        while paged and page < MAX_PAGES:
            page += 1
            more = await getter.get(http.parse_url(self._url.replace(PAGE, str(page))), MAX_ANSWER)
            new = {key: row for key, row in self._split(more.body).items() if key not in rows}
            if not new:
                break
            rows.update(new)
        self._rows = rows
        listed = {(row.key, row.version) for row in rows.values()}
        self._backlog = listed if self._behind else self._backlog & listed
        self._behind = False
        self._tries = {at: count for at, count in self._tries.items() if at in listed}
        # The first page alone says nothing about the others.
        self._validators = {} if paged else answer.validators
        return self._believable(len(rows))

    def _split(self, body: bytes) -> dict[str, Row]:
        try:
            rows = self._source.split(body)
        except AlertError as error:
            raise FeedError(f"{self._shown}: {error}") from error
        if len(rows) > MAX_ROWS:
            raise FeedError(f"{self._shown}: {len(rows):,} rows; the limit is {MAX_ROWS:,}")
        return {row.key: row for row in rows}

    def _believable(self, count: int) -> bool:
        """Whether a list of so many rows may end those it lacks."""
        if self._most >= LONG and count * 2 < self._most:
            self._shrunk += 1
            if count == 0 or self._shrunk < SETTLED_AFTER:
                self._odd = f"{self._shown}: {count} rows after {self._most}: not believed yet"
                return False
        self._most, self._shrunk, self._odd = count, 0, ""
        return True

    # --- what became of the rows -----------------------------------------------------------------------

    async def _news(self, getter: http.Getter) -> AsyncGenerator[Document, None]:
        """Rows that are new or changed, in the list's order as far as their details allow."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def whole(row: Row) -> Document | None:
            async with gate:
                return await self._whole(getter, row)

        waiting = [row for row in self._rows.values() if self._wanted(row)]
        tasks = [asyncio.create_task(whole(row), name=f"{self.name}: {row.key}") for row in waiting]
        try:
            for task in asyncio.as_completed(tasks):
                document = await task
                if document is not None:
                    yield document
        finally:
            for started in tasks:
                started.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _wanted(self, row: Row) -> bool:
        known = self._known.get(row.key)
        return (
            (not self._only or row.key.startswith(self._only))
            and self._out.get(row.key) != row.version
            and (known is None or known.version != row.version)
        )

    async def _whole(self, getter: http.Getter, row: Row) -> Document | None:
        """The row as a document, with its detail; None while the detail is still awaited."""
        if not row.link or self._source.with_detail is None:
            return self._document(row, row.body)
        tries = self._tries.get((row.key, row.version), 0) + 1
        try:
            link = self._details.join(row.link)
            if refused := http.forbidden(self._details, link, self._hosts):
                raise FeedError(refused)
            body = self._source.with_detail(row, (await getter.get(link, MAX_BYTES)).body)
        except (FeedError, AlertError, httpx2.InvalidURL) as error:
            self._short = f"the detail of {row.key} cannot be had: {error}"
            if tries < DETAIL_TRIES:
                self._tries[row.key, row.version] = tries
                return None
            return self._document(row, row.body)
        self._short = ""
        return self._document(row, body)

    def _document(self, row: Row, body: bytes) -> Document:
        self._out[row.key] = row.version

        async def acknowledge(outcome: Outcome, _: str) -> None:
            if self._out.get(row.key) != row.version:
                return  # said already, or overtaken by a newer version
            del self._out[row.key]
            self._known[row.key] = _Known(row.version, row.body, outcome is Outcome.TAKEN)
            self._changed = True

        refused = f"{len(body):,} bytes; the limit is {MAX_BYTES:,}" if len(body) > MAX_BYTES else ""
        return Document(
            self.name,
            row.key,
            b"" if refused else body,
            self._clock(),
            acknowledge,
            refused,
            (row.key, row.version) in self._backlog,
        )

    def _ended(self) -> list[Document]:
        """What the answers have lacked for long enough. A format without `gone` forgets it silently:
        there a row's absence means nothing."""
        self._empty = 0 if self._rows else self._empty + 1
        counts = int(bool(self._rows))  # an empty answer is no witness beside others
        absent = {key: self._absent.get(key, 0) + counts for key in self._known if key not in self._rows}
        self._absent = absent
        ended = []
        for key in [key for key in absent if key not in self._out]:
            if absent[key] < GONE_AFTER and self._empty < EMPTY_AFTER:
                continue
            known = self._known[key]
            if self._source.gone is None or not known.taken:
                self._forget(key)
            else:
                ended.append(self._end(key, self._source.gone(known.body)))
        return ended

    def _end(self, key: str, body: bytes) -> Document:
        self._out[key] = None

        async def acknowledge(_: Outcome, __: str) -> None:
            if self._out.get(key, "") is None:
                del self._out[key]
                if key not in self._rows:
                    self._forget(key)

        return Document(self.name, f"{key} (no longer listed)", body, self._clock(), acknowledge)

    def _forget(self, key: str) -> None:
        self._known.pop(key, None)
        self._absent.pop(key, None)
        self._changed = True

    # --- what a restart must not forget ----------------------------------------------------------------

    async def _recall(self) -> None:
        if self._memory is None:
            return
        saved = await asyncio.to_thread(self._memory.load)
        rows = saved.get("rows")
        for key, item in (rows if isinstance(rows, dict) else {}).items():
            if known := _known(item):
                self._known[key] = known
        most = saved.get("most")
        self._most = most if isinstance(most, int) else 0

    async def _remember(self) -> None:
        if self._memory is None or not self._changed:
            return
        self._changed = False
        data = {
            "most": self._most,
            "rows": {
                key: [known.version, base64.b64encode(known.body).decode(), known.taken]
                for key, known in self._known.items()
            },
        }
        await asyncio.to_thread(self._memory.save, data)
        self._changed = self._changed or bool(self._memory.trouble)


def _known(item: Any) -> _Known | None:
    match item:
        case [str(version), str(body), bool(taken)]:
            try:
                return _Known(version, base64.b64decode(body, validate=True), taken)
            except ValueError:
                return None
        case _:
            return None
