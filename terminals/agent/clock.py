"""Wire time at a terminal: the controller's signed clock, and how far ours may be off it.

Theory of operation. A question (Hello or Probe) goes out with a fresh nonce and comes back with a signed
time. Whoever stands between may only delay: the answer was signed somewhere within the round trip that we
measured ourselves, so its middle is right to half of it, whatever happened on the way (Cristian 1989). Of
several answers the one that leaves the smallest error is kept, the drift of the quartz since counted in.
An answer that does not fit what we have, errors included, says that the controller's clock itself has
moved, and is followed; but not far back (`TOLERANCE_MS`), where what has expired would come to life again.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

TOLERANCE_MS: Final = 120_000
"""How far a signed time may lie behind ours before we keep our own and say so."""
NONCE_MS: Final = 30_000
"""A Time answers a question no older than this, so our clock is off by half of it at most."""
QUESTIONS: Final = 8
"""Kept open at a time; the oldest is given up."""
DRIFT_PPM: Final = 50
"""Of a cheap quartz, temperature included; `messaging.md` takes the same."""


class Followed(Enum):
    FIRST = "first"
    YES = "yes"
    KEPT = "kept"
    """It fits, and what we have is nearer."""
    BEHIND = "behind"
    """The controller is further behind us than TOLERANCE_MS: we keep ours."""


class SignedClock:
    """Wire time counted on the host's monotonic clock; all in ms. Pure: times are arguments."""

    __slots__ = ("_at", "_error", "_questions", "_wire")

    def __init__(self) -> None:
        self._wire: int | None = None
        self._at = 0
        self._error = 0
        self._questions: dict[str, int] = {}

    @property
    def is_known(self) -> bool:
        return self._wire is not None

    def now(self, mono: int) -> int | None:
        """None before the first signed time of this boot."""
        return None if self._wire is None else self._wire + mono - self._at

    def error_ms(self, mono: int) -> int | None:
        """How far `now` may be off; None before the first signed time."""
        if self._wire is None:
            return None
        return self._error + -(-(mono - self._at) * DRIFT_PPM // 1_000_000)

    def ask(self, nonce: str, mono: int) -> None:
        """A question goes out."""
        self._questions[nonce] = mono
        if len(self._questions) > QUESTIONS:
            del self._questions[next(iter(self._questions))]

    def forget(self) -> None:
        """The line is new: no answer to an old question is taken."""
        self._questions.clear()

    def answered(self, nonce: str, mono: int) -> int | None:
        """When the question was asked, once; None if it is not ours, answered already, or too old."""
        sent = self._questions.pop(nonce, None)
        return sent if sent is not None and mono - sent <= NONCE_MS else None

    def hear(self, signed: int, sent: int, mono: int, floor: int) -> Followed:
        """A signed time that answers the question of `sent`. The clock never begins below `floor`."""
        half = (mono - sent) // 2
        sample, error = signed + half, mono - sent - half
        ours, ours_error = self.now(mono), self.error_ms(mono)
        if ours is None or ours_error is None:
            self._set(max(sample, floor), mono, error + max(floor - sample, 0))
            return Followed.FIRST
        if signed < ours - TOLERANCE_MS:
            return Followed.BEHIND
        if abs(sample - ours) <= error + ours_error and ours_error <= error:
            return Followed.KEPT
        self._set(max(sample, floor), mono, error + max(floor - sample, 0))
        return Followed.YES

    def at_least(self, issued: int, mono: int) -> None:
        """A verified `issued` is a lower bound of now."""
        ours = self.now(mono)
        if ours is None or issued <= ours:
            return
        error = self.error_ms(mono)
        assert error is not None
        # Further than our error: the controller's clock has jumped, and how old this command is nobody knows.
        self._set(issued, mono, error if issued - ours <= error else issued - ours)

    def _set(self, wire: int, mono: int, error: int) -> None:
        self._wire, self._at, self._error = wire, mono, error
