"""What a terminal remembers of broadcasts: records, facts and counters, in its `Durable`.

Theory of operation. Facts only grow, and every change is noted twice: `dirty` says that `Durable` must be
saved before anything else is done, `touched` which broadcasts must be reported. `Core` does both at the end
of each call. All tables are bounded; what has to go first is what harms least.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from terminals.agent.clock import SignedClock
from terminals.agent.kept import Durable, Record, Spent
from terminals.delivery import BY_HAND, SILENT, State
from terminals.seal import KeyRing, OpenedCommand
from terminals.wire import Fact

MAX_RECORDS: Final = 256
MAX_SPENT: Final = 2_048
MAX_COUNTERS: Final = 1_024
"""Per key. Above it the lowest are forgotten and everything below them is refused as a replay."""
TIDIED: Final = 8
"""Counters that have expired are looked for once in so many."""
MAX_FACTS: Final = 24
"""Per broadcast, so that a Report of the longest details fits wire.MAX_BODY."""
MAX_DETAIL: Final = 100
MAX_BY_HAND: Final = 9
"""Soundings by hand that are told one by one; those after it are in the log alone."""


class Reason(StrEnum):
    """Why; the reasons of `SealReason` and those of the host's `broke` come beside these."""

    WRONG_ROLE = "wrong-role"
    LIFETIME = "lifetime"
    WINDOW = "window"
    """not_before or play_at lies at or after expires: it could never start."""
    EXPIRED = "expired"
    REPLAY = "replay"
    STOPPED = "stopped"
    NEVER_HAD = "never-had"
    REPLACED = "replaced"
    NO_VARIANT = "no-variant"
    FETCH = "fetch"
    HASH_MISMATCH = "hash-mismatch"
    DEVICE_BUSY = "device-busy"
    """More at once than this terminal keeps; worth another attempt."""
    NO_START = "no-start"
    STUCK = "stuck"
    UNKNOWN_KEY = "unknown-key"
    """The key that sealed it has left the ring since."""
    DECODE = "decode"
    """The device's word for a clip that is whole and no sound: the generic sentence is taken instead."""


class Ledger:
    """The memory of one terminal. `durable` is the only thing here that survives a power cut."""

    __slots__ = ("clock", "dirty", "durable", "touched")

    def __init__(self, durable: Durable, clock: SignedClock) -> None:
        self.durable = durable
        self.clock = clock
        self.dirty = False
        """`durable` has changed since it was last saved."""
        self.touched: dict[str, None] = {}
        """Broadcasts to be reported, in this order; they wait here while there is no line."""

    def now(self, mono: int) -> int:
        """Wire time, ms; the floor while no signed time is known."""
        now = self.clock.now(mono)
        return self.durable.floor if now is None else now

    # --- records ---

    def known(self, broadcast: str) -> Record | Spent | None:
        return self.durable.records.get(broadcast) or self.durable.spent.get(broadcast)

    def new(self, broadcast: str, opened: OpenedCommand, attempt: int, expires: int) -> Record:
        durable = self.durable
        durable.arrivals += 1
        record = Record(broadcast, opened.role, opened.key_id, attempt, expires, durable.arrivals, [])
        durable.records[broadcast] = record
        return record

    def is_full(self) -> bool:
        return len(self.durable.records) >= MAX_RECORDS

    def oldest_settled(self) -> Record | None:
        return next((r for r in self.durable.records.values() if r.outcome is not None), None)

    def forget(self, record: Record) -> None:
        """Make room: what is left is that it must never sound again, and what its end was."""
        durable = self.durable
        del durable.records[record.broadcast]
        if record.expires <= durable.floor or not record.facts:
            return
        last = next((f for f in record.facts if f.state == State.PLAYED), record.facts[-1])
        spent = {b: s for b, s in durable.spent.items() if s.expires > durable.floor}
        if len(spent) >= MAX_SPENT:
            del spent[min(spent, key=lambda b: spent[b].expires)]
        spent[record.broadcast] = Spent(record.role, record.expires, last)
        durable.spent = spent

    def drop(self, broadcast: str) -> None:
        """Nothing of it is left: for a drill's record that stands in the way of a real broadcast."""
        self.durable.records.pop(broadcast, None)
        self.durable.spent.pop(broadcast, None)
        self.dirty = True

    def standing_without(self, sha256: str) -> list[Record]:
        """Standing messages that wait for this clip."""
        return [
            r
            for r in self.durable.records.values()
            if r.play is not None
            and stands(r)
            and any(clip.sha256 == sha256 for clip in r.play.clips)
            and not any(f.state == State.READY and f.attempt == r.attempt for f in r.facts)
        ]

    # --- facts ---

    def fact(
        self,
        record: Record,
        state: State,
        reason: str,
        mono: int,
        detail: str = "",
        *,
        attempt: int | None = None,
    ) -> None:
        """Add to the grow-only set and report it; a fact that is there already stays as it is."""
        self.touched[record.broadcast] = None
        number = record.attempt if attempt is None else attempt
        facts = record.facts
        reason = plain(reason, 32)
        for known in facts:
            if known.state == state and known.attempt == number and known.reason == reason:
                return
        if len(facts) >= MAX_FACTS:
            del facts[next(i for i, f in enumerate(facts) if f.state != State.PLAYED)]
        facts.append(Fact(number, state.value, self.now(mono), reason, plain(detail, MAX_DETAIL)))
        self.dirty = True

    # --- counters ---

    def seen(self, key: str, counter: int) -> bool:
        """Whether a command of this counter is a replay."""
        durable = self.durable
        return counter <= durable.low.get(key, -1) or counter in durable.accepted.get(key, ())

    def accept(self, key: str, counter: int, expires: int) -> None:
        """Take this counter. Kept at least until the floor, which never goes back, has passed its expiry."""
        durable = self.durable
        durable.highest[key] = max(durable.highest.get(key, 0), counter)
        kept = durable.accepted.get(key)
        if kept is None or not len(kept) % TIDIED:
            kept = {c: e for c, e in (kept or {}).items() if e > durable.floor}
            durable.accepted[key] = kept
        kept[counter] = expires
        while len(kept) > MAX_COUNTERS:
            lowest = min(kept)
            del kept[lowest]
            durable.low[key] = max(durable.low.get(key, -1), lowest)
        self.dirty = True

    def heard_of(self, key: str, counter: int) -> None:
        """A counter that need not be kept as accepted: that of a Stop, which may always be obeyed again."""
        durable = self.durable
        highest = max(durable.highest.get(key, 0), counter)
        self.dirty |= highest != durable.highest.get(key)
        durable.highest[key] = highest

    def forget_keys(self, known: KeyRing) -> None:
        """Counters of keys that have left the ring, once all that they sealed has expired: until then it
        would be a replay, should the key ever come back."""
        durable = self.durable
        for key in [k for k in durable.accepted if k not in known.keys]:
            if all(expires <= durable.floor for expires in durable.accepted[key].values()):
                for table in (durable.accepted, durable.highest, durable.low):
                    table.pop(key, None)


def stands(record: Record) -> bool:
    """A standing message that a hand may still sound."""
    return record.outcome is None and record.play is not None and record.play.standing


def heard(record: Record) -> str:
    """The reason that keeps a silent test from being taken for a sound."""
    return SILENT if record.play is not None and record.play.silent else ""


def by_hand(record: Record) -> str:
    """Each sounding by hand is a fact of its own, up to MAX_BY_HAND."""
    number = min(record.hand, MAX_BY_HAND)
    return BY_HAND if number <= 1 else f"{BY_HAND}-{number}"


def plain(text: str, length: int) -> str:
    """Printable only, so that its encoded length is bounded."""
    text = text[:length]
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
