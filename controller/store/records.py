"""What the store keeps and gives back: frozen rows, with the names the operator sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from terminals.broadcast import Broadcast
from terminals.delivery import FactKey, FactValue
from terminals.model import Terminal


class Outcome(StrEnum):
    """How one document ended. Stored by name."""

    HELD = "held"
    RELEASED = "released"
    IGNORED = "ignored"
    REFUSED = "refused"
    QUARANTINED = "quarantined"


class AlertState(StrEnum):
    HELD = "held"
    RELEASED = "released"
    REJECTED = "rejected"
    CLOSED = "closed"
    """Recorded, and nothing comes of it: ignored, stale, or a renewal that is not aired."""
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    STANDING = "standing"
    """Terminals keep it for a hand to sound: no warning is in force by it, whatever sounds of it."""


class BroadcastState(StrEnum):
    VOICING = "voicing"
    SENDING = "sending"
    DONE = "done"
    """Every delivery settled."""
    STOPPED = "stopped"
    SUPERSEDED = "superseded"
    """A newer message of its event replaced it before it was sent; `stopped_by` is that broadcast."""


@dataclass(frozen=True, slots=True)
class DocumentRow:
    id: int
    feed: str
    name: str
    received: int
    sha256: str
    opened: int
    outcome: Outcome | None
    reason: str
    alert: str | None


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One message taken in, with the plan that was made of it. `plan`, `message` and `known` are JSON."""

    id: str
    source: str
    """The feed's name, or ``operator:<name>``."""
    kind: str
    identifier: str
    event_key: str
    msg_type: str
    hazard: str
    colour: str | None
    headline: str
    expires: int
    state: AlertState
    reason: str
    created: int
    plan: bytes | None
    message: bytes
    known: bytes
    decided: int | None = None
    decided_by: str | None = None


@dataclass(frozen=True, slots=True)
class AlertLine:
    """An `AlertRow` without what is large."""

    id: str
    source: str
    kind: str
    identifier: str
    event_key: str
    msg_type: str
    hazard: str
    state: AlertState
    expires: int
    created: int


@dataclass(frozen=True, slots=True)
class BroadcastRow:
    state: BroadcastState
    created: int
    broadcast: Broadcast
    script: bytes
    """The ScriptRequest as JSON, so that a restart can voice it again."""
    sending: int | None = None
    done: int | None = None
    stopped_by: str | None = None
    doubt: str = ""
    """What is wrong with its sound, as far as anything was found."""
    airs: int | None = None
    """Wire ms at which it is aired all the same; None: it never had to wait."""
    aired_by: str | None = None
    """Who did not let it wait until then."""


@dataclass(frozen=True, slots=True)
class CommandRow:
    key_id: str
    counter: int
    broadcast: str
    verb: str
    attempt: int
    groups: tuple[str, ...]
    terminals: tuple[str, ...]
    expires: int
    envelope: bytes
    published: int | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """A command that a transaction is to count and seal: `make` is called with its counter."""

    key_id: str
    at_least: int
    """The counter that was kept free for it."""
    now: int
    make: Callable[[int], CommandRow]


@dataclass(frozen=True, slots=True)
class FactRow:
    broadcast: str
    terminal: str
    key: FactKey
    value: FactValue


@dataclass(frozen=True, slots=True)
class TerminalRow:
    terminal: Terminal
    last_seen: int | None
    health: bytes | None
    ring: int = 0
    """Version of the ring of keys that it holds, as of its last hello."""


@dataclass(frozen=True, slots=True)
class RetiredRow:
    """A terminal that was taken down: kept for the history, never addressed."""

    terminal: Terminal
    at: int
    """Unix ms."""
    replaced_by: str
    """The terminal that stands there instead; empty where there is none."""


@dataclass(frozen=True, slots=True)
class HeardRow:
    """When a terminal was last heard by people, and when it last went through a test, silent or audible; wire
    ms, None for never."""

    heard: int | None
    tested: int | None


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A terminal's certificate for the broker. Times in Unix ms."""

    serial: str
    terminal: str
    issued: int
    expires: int
    revoked: int | None = None


@dataclass(frozen=True, slots=True)
class Papers:
    """What an enrolment leaves behind beside the terminal itself."""

    certificate: CertificateRow | None = None
    broker_hash: str | None = None
    ring: int = 0


@dataclass(frozen=True, slots=True)
class SetRow:
    """A set of clips that the terminals of `groups` hold ahead."""

    id: str
    purpose: str
    """``floor``, ``quake``, ``quake-exercise``, or ``event:`` and an event's key."""
    manifest: bytes
    groups: tuple[str, ...]
    created: int
    expires: int
    """Wire ms; held until then."""
    dropped: int | None = None
    """Since when it is not to be held any more, ms; None while it is."""


@dataclass(frozen=True, slots=True)
class StagedRow:
    """A terminal's last word on a set."""

    set: str
    terminal: str
    wanted: int
    """Clips of it that fit this terminal; 0 while it does not have the manifest."""
    held: int
    problem: str
    at: int


@dataclass(frozen=True, slots=True)
class Seen:
    """One authenticated Hello, for the register."""

    terminal: str
    at: int
    floor: int
    boot: str
    health: bytes
    ring: int = 0
    """Version of the ring of keys that it holds."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    id: int
    at: int
    who: str
    what: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Entry:
    """Who did what, to which thing. Written in the same transaction as the deed."""

    who: str
    what: str
    subject: str
    detail: str = ""
