"""What the store keeps and gives back: frozen rows, with the names the operator sees."""

from __future__ import annotations

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


class BroadcastState(StrEnum):
    VOICING = "voicing"
    SENDING = "sending"
    DONE = "done"
    """Every delivery settled."""
    STOPPED = "stopped"


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
class BroadcastRow:
    state: BroadcastState
    created: int
    broadcast: Broadcast
    script: bytes
    """The ScriptRequest as JSON, so that a restart can voice it again."""
    sending: int | None = None
    done: int | None = None
    stopped_by: str | None = None


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
class FactRow:
    broadcast: str
    terminal: str
    key: FactKey
    value: FactValue


@dataclass(frozen=True, slots=True)
class TerminalRow:
    terminal: Terminal
    last_seen: int | None
    floor: int | None
    boot: str | None
    health: bytes | None


@dataclass(frozen=True, slots=True)
class Seen:
    """One authenticated Hello, for the register."""

    terminal: str
    at: int
    floor: int
    boot: str
    health: bytes


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
