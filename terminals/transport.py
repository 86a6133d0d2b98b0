"""Port: how sealed bytes reach terminals and their words come back. It carries; it decides nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol


class TransportError(Exception):
    """The world's failure: nothing was handed on. Worth retrying."""


@dataclass(frozen=True, slots=True)
class ToGroup:
    key: str


@dataclass(frozen=True, slots=True)
class ToTerminal:
    id: str


Address = ToGroup | ToTerminal

Upward = Callable[[str, bytes], None]
"""Called with (terminal id that the way claims, sealed bytes) for every report; must not block."""


class Transport(Protocol):
    """One per bearer. Every adapter, the fake included, passes tests/contract/test_transport.py."""

    @property
    def connected(self) -> bool: ...

    async def run(self, upward: Upward, changed: Callable[[bool], Awaitable[None]]) -> None:
        """Carry reports until cancelled; reconnects for ever, telling `changed` up or down each time."""

    async def send(self, address: Address, envelope: bytes, *, lifetime_s: int, sure: bool) -> None:
        """Hand one sealed command on. `lifetime_s`: the way must drop it after that. `sure`: wait until
        the next hop has it; otherwise best effort, for what is repeated anyway.

        Raises TransportError when nothing was handed on.
        """
