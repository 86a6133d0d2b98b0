"""What terminals fetch: clips and the manifests of staged sets, by hash, with resume."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import httpx2

from simulators.faults import GOOD_LINK, Link, Seam
from simulators.fleet.options import Counts
from simulators.fleet.timers import Timers
from terminals.agent.core import Reason
from terminals.wire import Manifest, WireError, decode_manifest

RESUMES: Final = 3
"""How often one fetch goes on after the connection broke, before it is `Core`'s turn to try again."""
AT_ONCE: Final = 32
SHARED: Final = 1_024
"""Clips that count as fetched for all."""
MANIFESTS: Final = 64
"""Decoded manifests kept: terminals share the object."""
FULL: Final = "the disk is full"

_Done = Callable[[str | None], None]
_Work = Callable[[], Coroutine[Any, Any, None]]


class Downloads:
    """`shared`: one terminal fetches and checks a clip for all. What is to sound now goes before what is only
    staged."""

    def __init__(self, timers: Timers, counts: Counts, *, shared: bool) -> None:
        self._timers = timers
        self._counts = counts
        self._shared = shared
        self._queue: asyncio.PriorityQueue[tuple[bool, int, _Work]] = asyncio.PriorityQueue()
        self._order = itertools.count()
        self._waiting: dict[tuple[str, str], list[_Done] | None] = {}
        """Shared fetches: who waits for it, None once it is there."""
        self._manifests: dict[str, Manifest] = {}
        timeout = httpx2.Timeout(30, pool=None)
        limits = httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
        self.http = httpx2.AsyncClient(limits=limits, timeout=timeout, trust_env=False)

    async def work(self) -> None:
        """One of the AT_ONCE tasks that fetch; never ends."""
        while True:
            _, _, work = await self._queue.get()
            await work()

    async def close(self) -> None:
        await self.http.aclose()

    def clip(
        self, sha256: str, size: int, url: str, seam: Seam, link: Link | None, pinned: bool, done: _Done
    ) -> None:
        """Then calls `done` with None when all bytes came and are the right ones, else with what went wrong,
        as `Core.fetched` takes it."""
        if seam.disk_full or not seam.fetches:
            self._timers.after(0, partial(done, FULL if seam.disk_full else None))
            return
        slower = seam.fetch_s + (link or GOOD_LINK).fetch_s(size)
        if not self._shared or seam.own_link or slower:

            async def fetch() -> None:
                problem, _ = await self._get(sha256, size, url, seam)
                self._timers.after(slower, partial(done, problem))

            self._put(pinned, fetch)
            return
        self._for_all(sha256, size, url, pinned, done)

    def manifest(
        self,
        sha256: str,
        size: int,
        url: str,
        seam: Seam,
        link: Link | None,
        done: Callable[[Manifest | None, str | None], None],
    ) -> None:
        """Then calls `done` as `Core.manifest` takes it. The decoded manifest is one object for all."""
        if seam.disk_full:
            self._timers.after(0, partial(done, None, FULL))
            return
        slower = seam.fetch_s + (link or GOOD_LINK).fetch_s(size)

        async def fetch() -> None:
            problem: str | None = None
            found = self._manifests.get(sha256)
            if found is None or not self._shared or seam.own_link:
                problem, data = await self._get(sha256, size, url, seam, keep=True)
                if problem is None:
                    try:
                        found = self._manifests.get(sha256) or decode_manifest(data)
                        self._remember(sha256, found)
                    except WireError as error:
                        problem = f"malformed {error}"
            self._timers.after(slower, partial(done, None if problem else found, problem))

        self._put(True, fetch)

    def _remember(self, sha256: str, manifest: Manifest) -> None:
        self._manifests[sha256] = manifest
        if len(self._manifests) > MANIFESTS:
            del self._manifests[next(iter(self._manifests))]

    def _put(self, pinned: bool, work: _Work) -> None:
        self._queue.put_nowait((pinned, next(self._order), work))

    def _for_all(self, sha256: str, size: int, url: str, pinned: bool, done: _Done) -> None:
        key = (sha256, url)
        waiting = self._waiting.get(key, [])
        if waiting is None:
            done(None)
            return
        waiting.append(done)
        if len(waiting) > 1:
            return
        self._waiting[key] = waiting

        async def fetch() -> None:
            problem, _ = await self._get(sha256, size, url, None)
            waiting = self._waiting.pop(key) or []
            if problem is None:
                self._waiting[key] = None
                if len(self._waiting) > SHARED:
                    del self._waiting[next(k for k, v in self._waiting.items() if v is None)]
            for tell in waiting:
                tell(problem)

        self._put(pinned, fetch)

    async def _get(
        self, sha256: str, size: int, url: str, seam: Seam | None, *, keep: bool = False
    ) -> tuple[str | None, bytes]:
        """(what went wrong or None, the bytes if they are to be kept). Goes on where a connection broke."""
        self._counts.fetches += 1
        got = 0
        digest = hashlib.sha256()
        kept = bytearray()
        trouble = ""
        for _ in range(1 + RESUMES):
            headers = {"accept-encoding": "identity"} | ({"range": f"bytes={got}-"} if got else {})
            try:
                async with self.http.stream("GET", url, headers=headers) as response:
                    if response.status_code not in (200, 206):
                        return f"HTTP {response.status_code} for {url}", b""
                    if response.status_code == 200 and got:  # it does not resume: from the beginning
                        got, digest = 0, hashlib.sha256()
                        kept.clear()
                    async for chunk in response.aiter_raw():
                        piece = chunk if seam is None else seam.clip(got, chunk)
                        digest.update(piece)
                        got += len(chunk)
                        self._counts.fetched_bytes += len(chunk)
                        if got > size:
                            return Reason.HASH_MISMATCH, b""
                        if keep:
                            kept += piece
            except httpx2.InvalidURL as error:
                return f"{url}: {error}", b""
            except httpx2.HTTPError as error:
                trouble = f"{type(error).__name__} after {got} bytes: {error}"
                continue
            right = got == size and digest.hexdigest() == sha256
            return (None, bytes(kept)) if right else (Reason.HASH_MISMATCH, b"")
        return trouble, b""
