"""Port: a feed yields the bytes of warnings as they come, and hears what became of each.

A feed neither parses nor judges a warning. It is a thin loop over the world; what goes wrong out there
is kept in `trouble` and tried again, so that `documents` ends only when it is cancelled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class FeedError(Exception):
    """The world's fault: where this feed reads is missing, unreachable or talks nonsense."""


class Trust(StrEnum):
    """What an adapter's source is. Only an official one may ever be configured to sound by itself."""

    OFFICIAL = "official"
    """May carry the words of who may lawfully issue warnings, provably: configuration decides."""
    RELAY = "relay"
    """A public mirror of official warnings (NMC, 12379.cn, weather.com.cn): late, unsigned, rewritten."""
    UNOFFICIAL = "unofficial"
    """Commercial or private; states itself that it must not be the only source."""


class Outcome(StrEnum):
    TAKEN = "taken"
    """Journalled and understood, whatever was then decided."""
    REFUSED = "refused"
    """Journalled and not understood, or not allowed."""


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One document as it came. Call `done` once it is journalled, not before: until then the feed keeps
    what it needs to bring the document again after a crash."""

    feed: str
    """The feed's configured name."""
    name: str
    """Where in the feed: a file name or an address."""
    body: bytes
    received: datetime
    acknowledge: Callable[[Outcome, str], Awaitable[None]]
    refused: str = ""
    """Why the feed would not read it (too large, a foreign host); then `body` is empty, and intake
    records the refusal like any other."""
    backlog: bool = True
    """Whether it may have lain there before we looked: found at the first good look since the start or
    since trouble, or brought by a transport that cannot tell. Then only its age says whether it is news
    (`feeds.md` §6.7)."""

    async def done(self, outcome: Outcome, reason: str = "") -> None:
        """Tell the feed what became of it; `reason` is for people. May be called more than once."""
        await self.acknowledge(outcome, reason)


class Feed(Protocol):
    """What every adapter is; `tests/contract/test_feed_contract.py` is the contract."""

    @property
    def name(self) -> str:
        """Configured name, unique in the county."""

    @property
    def trust(self) -> Trust:
        """What the source is at most; the configuration may trust it less, never more."""

    @property
    def last_good(self) -> datetime | None:
        """The last sign of life: when it could last be read, or said that it is there; documents or not.
        None until then."""

    @property
    def trouble(self) -> str:
        """Why it cannot be read at present; empty when it can."""

    def documents(self) -> AsyncIterator[Document]:
        """Documents for as long as the caller iterates, each once unless refused or changed.

        Waits by itself between looks at the world and after trouble. Never raises FeedError: that is
        for constructors. Cancelling it leaves nothing behind. Iterate one feed object once: what was
        not acknowledged comes again from a new one, as after a restart.
        """
