"""New, Update, Continuation, Cancel, Duplicate, Stale or Ignored: what a message is to what we know.

Pure: the known messages and the time are arguments. Rules: `feeds.md` §6. Messages are one *event* when
their references, identifiers and event keys connect, in whatever order they arrived; the national
format's star and CAP's chain both come out right. Within an event the later `sent` wins, whoever came
first. Intake stores every message it has classified as `Known` (`remember`), Cancels of events never
seen included: that is how a warning that arrives after its own Cancel stays silent.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from alerts import hazards
from alerts.model import Alert, Colour, MsgType, Scope, Status, Urgency

CLOCK_TOLERANCE: Final = timedelta(minutes=10)
"""A `sent` further ahead of our clock than this is doubted, and orders nothing until its time has come."""
OPERATOR: Final = "operator"
"""`Alert.format` of what an operator of ours started."""
# ZZZZZZDDDUUUXX_YYYYMMDDHHMISS: unique in the whole country, whatever relay brought it (`feeds.md` §0).
_NATIONAL: Final = re.compile(r"[0-9]{14}_[0-9]{14}(?:_[0-9]+)?")


class Label(StrEnum):
    """As what a message may sound. Values are those of `terminals.broadcast.Kind`."""

    ACTUAL = "actual"
    EXERCISE = "exercise"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message may never sound."""

    reason: str


class State(StrEnum):
    """Where a known message stands."""

    HELD = "held"
    """Waits for an operator."""
    RELEASED = "released"
    """Acted on: it was broadcast, or, for a Cancel, it is in force (also when it had no target yet)."""
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    CLOSED = "closed"
    """Never acted on and never will be: rejected, ignored, stale, or expired while held."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept of a stored message to judge later ones by."""

    identifier: str
    sender: str
    sent: datetime
    event_key: str
    status: Status
    msg_type: MsgType
    colour: Colour | None
    hazard: str
    text_hash: str
    instruction_hash: str
    village_keys: frozenset[str]
    expires: datetime | None
    state: State
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Decision:
    reason: str
    """For the operator and the log."""
    event_key: str
    """The key to store the message under: of the known event it belongs to, else its own."""
    of: str = ""
    """Identifier of the known message it was compared with, if any."""
    withdraws: tuple[str, ...] = ()
    """Identifiers of known HELD or RELEASED messages that no longer hold once this one is acted on."""
    doubt: str = ""
    """Why an operator must look before anything happens; release holds what has one."""


@dataclass(frozen=True, slots=True)
class New(_Decision):
    """First word of an event here."""


@dataclass(frozen=True, slots=True)
class Update(_Decision):
    """Replaces what is known of its event."""

    announce: bool = True
    """Whether it must sound: a higher colour, a larger or other area, another instruction, or the
    earlier one never sounded. A lower colour or smaller area replaces without a new alarm."""


@dataclass(frozen=True, slots=True)
class Continuation(_Decision):
    """The same colour for the same villages goes on; no new full alarm."""


@dataclass(frozen=True, slots=True)
class Cancel(_Decision):
    """Ends `withdraws`: stop, drop what is queued, all-clear only where it had sounded. Never sounds as
    a warning."""


@dataclass(frozen=True, slots=True)
class Duplicate(_Decision):
    """Already known (`of`). If that one is still held and this source may release it, intake may."""


@dataclass(frozen=True, slots=True)
class Stale(_Decision):
    """Too late: expired, overtaken by a later message, or cancelled before it came. Never sounds."""


@dataclass(frozen=True, slots=True)
class Ignored(_Decision):
    """Not for loudspeakers, or a Cancel of nothing known. Recorded, never sounds."""


Decision = New | Update | Continuation | Cancel | Duplicate | Stale | Ignored


def sounds_as(alert: Alert) -> Label | Refusal:
    """As what `alert` may sound, by status × scope × msgType; everything unlisted is refused.

    From a feed only Actual + Public + Alert or Update sounds. Exercises and tests are started by our
    operators, with verbs and keys of their own; from a feed they are refused.
    """
    if alert.msg_type not in (MsgType.ALERT, MsgType.UPDATE):
        return Refusal(f"a message of type {alert.msg_type} is no warning")
    return _addressed(alert)


def _addressed(alert: Alert) -> Label | Refusal:
    """The label by status and scope alone: a Cancel needs it as well, or a drill could end a warning."""
    if alert.scope is not Scope.PUBLIC:
        return Refusal(f"scope is {alert.scope}, not Public")
    if alert.status is Status.ACTUAL:
        return Label.ACTUAL
    if alert.status in (Status.EXERCISE, Status.TEST):
        if alert.format == OPERATOR:
            return Label.EXERCISE if alert.status is Status.EXERCISE else Label.TEST
        return Refusal(
            f"status is {alert.status}: exercises and tests are started by operators, not by feeds"
        )
    return Refusal(f"status is {alert.status}, not Actual")


def settled(alert: Alert, decision: Decision, *, held: bool) -> State:
    """The state to store a classified message in; `held` is what release decided about it.

    Ends that had nothing to end stay in force, and stale messages still overtake older ones: both keep
    a warning that comes later than it should from sounding. A Duplicate need not be stored.
    """
    if isinstance(decision, Stale):
        return State.SUPERSEDED
    ends = alert.msg_type is MsgType.CANCEL or _all_clear(alert)
    if isinstance(decision, Duplicate) or (
        isinstance(decision, Ignored) and not (ends and isinstance(_addressed(alert), Label))
    ):
        return State.CLOSED
    if held:
        return State.HELD
    return State.RELEASED if alert.msg_type is MsgType.CANCEL or not ends else State.SUPERSEDED


def remember(alert: Alert, decision: Decision, villages: frozenset[str], state: State) -> Known:
    """What to keep of a classified message. `villages` is its cut to the county."""
    main = alert.main if alert.infos else None
    return Known(
        identifier=alert.identifier,
        sender=alert.sender,
        sent=alert.sent,
        event_key=decision.event_key,
        status=alert.status,
        msg_type=alert.msg_type,
        colour=main.colour if main else None,
        hazard=main.hazard if main else "unknown",
        text_hash=text_hash(alert),
        instruction_hash=_instruction_hash(alert),
        village_keys=villages,
        expires=expires(alert),
        state=state,
        references=tuple(reference.identifier for reference in alert.references),
    )


def expires(alert: Alert) -> datetime | None:
    """When the last of its infos ends; None if one never does or there is none."""
    ends = [info.expires for info in alert.infos]
    return max((end for end in ends if end is not None), default=None) if None not in ends else None


def text_hash(alert: Alert) -> str:
    """Hash of all that could be heard: the same key with another hash is a correction."""
    return _hash(
        part
        for info in alert.infos
        for part in (
            info.language,
            info.event,
            info.headline,
            info.description,
            info.instruction,
            info.colour or "",
        )
    )


def _instruction_hash(alert: Alert) -> str:
    return _hash(part for info in alert.infos for part in (info.language, info.instruction))


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256(repr(list(parts)).encode()).hexdigest()


def agency(identifier: str, sender: str) -> str:
    """Who speaks: in the national scheme the first 14 digits, whatever relay renamed the sender."""
    return identifier[:14] if _NATIONAL.fullmatch(identifier) else sender


def classify(alert: Alert, known: Sequence[Known], now: datetime, *, villages: frozenset[str]) -> Decision:
    """What `alert`, which names `villages` of the county, is to the `known` messages at `now`.

    Never raises. `known` may be in any order and hold other events.
    """
    addressed = _addressed(alert)
    if isinstance(addressed, Refusal):
        return Ignored(addressed.reason, alert.event_key)
    if alert.msg_type not in (MsgType.ALERT, MsgType.UPDATE, MsgType.CANCEL):
        return Ignored(f"a message of type {alert.msg_type} is no warning", alert.event_key)
    same_kind = [item for item in known if item.status is alert.status]
    repeated = next((item for item in same_kind if _same_key(alert, item)), None)
    family = _family(alert, [item for item in same_kind if item.sent <= now + CLOCK_TOLERANCE])
    key = min(family, key=lambda item: item.sent).event_key if family else alert.event_key
    doubt = _doubt(alert, now)
    if repeated is not None:
        return _repeat(alert, repeated, villages, now, doubt)
    if alert.msg_type is MsgType.CANCEL:
        return _cancel(alert, family, key, doubt)
    if alert.msg_type is MsgType.UPDATE and _all_clear(alert):
        return _cancel(alert, family, key, doubt, "an all-clear, sent as an Update")
    return _warning(alert, same_kind, family, key, now, villages, doubt)


# --- parts ---------------------------------------------------------------------------------------------


def _same_key(alert: Alert, item: Known) -> bool:
    if alert.identifier != item.identifier or alert.msg_type is not item.msg_type:
        return False
    return bool(_NATIONAL.fullmatch(alert.identifier)) or (alert.sender, alert.sent) == (
        item.sender,
        item.sent,
    )


def _family(alert: Alert, known: Sequence[Known]) -> list[Known]:
    """All known messages of the same event: those connected through any shared key."""
    keys = {alert.identifier, *(reference.identifier for reference in alert.references)}
    rest, family = list(known), list[Known]()
    while True:
        joined = [item for item in rest if keys & {item.identifier, item.event_key, *item.references}]
        if not joined:
            return family
        family += joined
        rest = [item for item in rest if item not in joined]
        for item in joined:
            keys |= {item.identifier, item.event_key, *item.references}


def _doubt(alert: Alert, now: datetime) -> str:
    if alert.sent > now + CLOCK_TOLERANCE:
        minutes = (alert.sent - now) // timedelta(minutes=1)
        return f"sent {minutes} minutes after our clock: theirs or ours is wrong"
    if (
        alert.msg_type is MsgType.ALERT
        and alert.infos
        and all(i.urgency is Urgency.PAST for i in alert.infos)
    ):
        return "an Alert whose urgency is Past"
    return ""


def _all_clear(alert: Alert) -> bool:
    """WCATWC, ECCC and others end an event with an Update that says so (`feeds.md` §1.3)."""
    return bool(alert.infos) and all(
        info.urgency is Urgency.PAST or ("responseType", "AllClear") in info.parameters
        for info in alert.infos
    )


def _cancels(items: Sequence[Known], state: State) -> list[Known]:
    return [item for item in items if item.msg_type is MsgType.CANCEL and item.state is state]


def _warnings(items: Sequence[Known]) -> list[Known]:
    return [item for item in items if item.msg_type in (MsgType.ALERT, MsgType.UPDATE)]


def _open(items: Sequence[Known]) -> list[Known]:
    return [item for item in _warnings(items) if item.state in (State.HELD, State.RELEASED)]


def _names(items: Sequence[Known]) -> tuple[str, ...]:
    return tuple(item.identifier for item in sorted(items, key=lambda item: (item.sent, item.identifier)))


def _repeat(alert: Alert, item: Known, villages: frozenset[str], now: datetime, doubt: str) -> Decision:
    """The same message again; a corrected one is announced only if it says more (rule 3)."""
    if alert.msg_type is MsgType.CANCEL or (
        text_hash(alert) == item.text_hash and villages == item.village_keys
    ):
        return Duplicate(f"already known as {item.identifier}", item.event_key, item.identifier)
    end = expires(alert)
    if item.state not in (State.HELD, State.RELEASED) or (end is not None and end <= now):
        return Duplicate(
            f"a correction of {item.identifier}, which is {item.state}", item.event_key, item.identifier
        )
    if why := _says_more(alert, item, villages):
        reason = f"same identifier, corrected: {why}"
        return Update(reason, item.event_key, item.identifier, (item.identifier,), doubt)
    if alert.main.colour is not item.colour or villages != item.village_keys:
        reason = "same identifier, corrected: lower colour or smaller area"
        return Update(reason, item.event_key, item.identifier, (item.identifier,), doubt, announce=False)
    return Duplicate("same identifier, wording corrected only", item.event_key, item.identifier)


def _cancel(
    alert: Alert, family: Sequence[Known], key: str, doubt: str, reason: str = "cancelled by its source"
) -> Decision:
    messages = _warnings(family)
    targets = [item for item in _open(messages) if item.sent <= alert.sent]
    if not targets:
        if not messages:
            return Ignored(
                f"ends {alert.event_key}, which is not known here; recorded, not aired", key, doubt=doubt
            )
        later = [item for item in _open(messages) if item.sent > alert.sent]
        if later:
            return Stale(f"older than {_names(later)[-1]}, which it cannot end", key, _names(later)[-1])
        return Ignored("what it ends is no longer in force", key, _names(messages)[-1], doubt=doubt)
    ours = {agency(item.identifier, item.sender) for item in targets}
    if not doubt and alert.format != OPERATOR and agency(alert.identifier, alert.sender) not in ours:
        doubt = f"sent by {alert.sender}, but the warning is by {targets[-1].sender}"
    return Cancel(reason, key, _names(targets)[-1], _names(targets), doubt)


def _warning(
    alert: Alert,
    same_kind: Sequence[Known],
    family: Sequence[Known],
    key: str,
    now: datetime,
    villages: frozenset[str],
    doubt: str,
) -> Decision:
    who = agency(alert.identifier, alert.sender)
    ended = [item for item in _cancels(family, State.RELEASED) if item.sent >= alert.sent]
    if any(agency(item.identifier, item.sender) == who for item in ended):
        last = max(ended, key=lambda item: item.sent)
        left = [item for item in _open(family) if item.sent <= last.sent]
        return Stale(f"cancelled by {last.identifier} before it came", key, last.identifier, _names(left))
    if ended and not doubt:
        doubt = f"cancelled by {ended[0].identifier}, but that is from {ended[0].sender}"
    messages = _warnings(family)
    later = [item for item in messages if item.sent > alert.sent]
    newer = [item for item in later if item.state not in (State.CLOSED, State.HELD)]
    # What nobody released must not silence an older message, and must not go unmentioned either.
    unheard = [item for item in (*later, *_cancels(family, State.HELD)) if item.sent >= alert.sent]
    if newer:
        last = max(newer, key=lambda item: item.sent)
        left = [item for item in _open(messages) if item.sent < last.sent]
        return Stale(f"older than {last.identifier} of the same event", key, last.identifier, _names(left))
    if unheard and not doubt:
        doubt = f"{unheard[-1].identifier} of the same event is newer, and is {unheard[-1].state}"
    before = [item for item in _open(messages) if item.sent <= alert.sent]
    end = expires(alert)
    if end is not None and end <= now:
        return Stale(f"expired at {end.isoformat()}", key, withdraws=_names(before))
    if not before and not alert.references and alert.format != OPERATOR:
        twin = _implicit(alert, same_kind, villages, now)
        if twin is not None and _relayed(alert, twin):
            reason = f"the same warning as {twin.identifier}, through another source"
            return Duplicate(reason, twin.event_key, twin.identifier)
        if twin is not None and twin.sent > alert.sent:
            reason = f"older than {twin.identifier} for the same hazard and area"
            return Stale(reason, twin.event_key, twin.identifier)
        if twin is not None:
            key, before = twin.event_key, [twin]
    if before:
        return _against(alert, before, key, villages, doubt)
    if any(item.state is State.CANCELLED for item in messages):
        doubt = doubt or "its event was cancelled before"
        return New("newer than the Cancel of its event", key, doubt=doubt)
    if alert.msg_type is MsgType.UPDATE:
        reason = f"an Update of {alert.event_key}, which is not in force here: taken as new"
        return New(reason, key, doubt=doubt)
    return New("first message of its event", key, doubt=doubt)


def _against(
    alert: Alert, before: Sequence[Known], key: str, villages: frozenset[str], doubt: str
) -> Update | Continuation:
    """Compared with the latest message of its event that is still in force or held."""
    last = max(before, key=lambda item: (item.sent, item.identifier))
    withdraws = _names(before)
    if last.state is not State.RELEASED:
        return Update(f"replaces {last.identifier}, which was held", key, last.identifier, withdraws, doubt)
    if last.expires is not None and last.expires <= alert.sent:
        return Update(f"goes on after {last.identifier} had expired", key, last.identifier, withdraws, doubt)
    why = _says_more(alert, last, villages)
    if why:
        return Update(why, key, last.identifier, withdraws, doubt)
    if alert.main.colour is not last.colour:
        reason = f"colour falls from {last.colour} to {alert.main.colour or 'none'}"
        return Update(reason, key, last.identifier, withdraws, doubt, announce=False)
    if villages != last.village_keys:
        gone = len(last.village_keys - villages)
        return Update(f"ends for {gone} villages", key, last.identifier, withdraws, doubt, announce=False)
    return Continuation(f"continues {last.identifier} unchanged", key, last.identifier, withdraws, doubt)


def _says_more(alert: Alert, item: Known, villages: frozenset[str]) -> str:
    """Why people must hear it again, or empty (rule 3: level rises, area grows, instruction changes)."""
    colour = alert.main.colour
    if colour is not None and (item.colour is None or colour.rank < item.colour.rank):
        return f"colour rises from {item.colour or 'none'} to {colour}"
    if new := len(villages - item.village_keys):
        return f"{new} more villages"
    if alert.main.hazard != item.hazard:
        return f"hazard changes from {item.hazard} to {alert.main.hazard}"
    if _instruction_hash(alert) != item.instruction_hash:
        return "the instruction changes"
    return ""


def _implicit(alert: Alert, known: Sequence[Known], villages: frozenset[str], now: datetime) -> Known | None:
    """The broadcast warning in force of the same hazard and villages, for feeds that never reference.

    Rule 2: (agency, event type, area); rule 4, across sources: the same colour within 10 minutes.
    Only what has been released counts, so that nothing goes unheard for the sake of one that is held.
    """
    hazard = hazards.by_key(alert.main.hazard)
    if hazard is hazards.UNKNOWN or hazard.lane is hazards.Lane.FAST or not villages:
        return None  # an aftershock is no renewal of the first shock
    who = agency(alert.identifier, alert.sender)
    alike = [
        item
        for item in _open(known)
        if item.state is State.RELEASED
        and item.sent <= now + CLOCK_TOLERANCE
        and item.hazard == alert.main.hazard
        and item.village_keys == villages
        and (item.expires is None or item.expires > max(alert.sent, now))
        and (agency(item.identifier, item.sender) == who or _relayed(alert, item))
    ]
    return max(alike, key=lambda item: (item.sent, item.identifier), default=None)


def _relayed(alert: Alert, item: Known) -> bool:
    return (
        agency(alert.identifier, alert.sender) != agency(item.identifier, item.sender)
        and alert.main.colour is item.colour
        and abs(alert.sent - item.sent) <= timedelta(minutes=10)
    )
