"""Who fails to enrol again and again: bounded and told. Pure.

A code cannot be guessed (80 bits); what is kept off is the work and the flood in the log. Only failures
count, so that an office may enrol a whole county from one address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BURST: Final = 20
"""Failures in a row that an address may have."""
EACH_MS: Final = 3_000
"""One more is forgiven after each."""
ADDRESSES: Final = 1_024
"""Remembered at most; the one that failed longest ago goes first."""
TOLD_EVERY_MS: Final = 600_000


@dataclass(slots=True)
class _Failures:
    count: float
    at: int
    refused: int = 0


class Strangers:
    """All times in ms of one clock that does not go back."""

    def __init__(self) -> None:
        self._of: dict[str, _Failures] = {}
        self._told = -TOLD_EVERY_MS

    def may_try(self, address: str, now: int) -> bool:
        known = self._of.get(address)
        if known is None:
            return True
        known.count = max(0.0, known.count - (now - known.at) / EACH_MS)
        known.at = now
        if known.count <= BURST - 1:
            return True
        known.refused += 1
        return False

    def failed(self, address: str, why: str, now: int) -> str:
        """An alarm, when this address has just failed too often; else nothing."""
        known = self._of.pop(address, None) or _Failures(0.0, now)
        self._of[address] = known  # the youngest is last
        while len(self._of) > ADDRESSES:
            del self._of[next(iter(self._of))]
        known.count += 1
        if known.count <= BURST - 1 or now - self._told < TOLD_EVERY_MS:
            return ""
        self._told = now
        return f"{address or 'somebody'} has failed to enrol {BURST} times in a row, last: {why}"
