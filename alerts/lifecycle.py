"""New, Update, Continuation, Cancel, Duplicate, Stale or Ignored: what a message is to what we know.

Pure: the known messages and the time are arguments. Rules: `feeds.md` §6. Messages are one *event* when
their references, identifiers and event keys connect, in whatever order they arrived; the national
format's star and CAP's chain both come out right. Within an event the later `sent` wins, whoever came
first. Intake stores every message it has classified as `Known` (`remember`), Cancels of events never
seen included: that is how a warning that arrives after its own Cancel stays silent.

The same warning through several sources is one event (rule 4): the same identifier, or the same hazard,
colour and area within ten minutes. The most trusted source decides what it is: it takes over from one that
came first and was held, and nothing that a less trusted one adds, changes or ends takes effect by itself.

An identifier is unique for one sender (CAP 1.2 §3.2.1): two gauges that both count from 1 share them all.
Where another agency's message has a name that ours uses for another hazard, they are two events.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from alerts import hazards
from alerts.fatigue import words
from alerts.feed import Trust
from alerts.model import Alert, Colour, MsgType, Quake, Scope, Severity, Status, Urgency

CLOCK_TOLERANCE: Final = timedelta(minutes=10)
"""A `sent` further ahead of our clock than this is doubted, and orders nothing until its time has come."""
SAME_WARNING: Final = timedelta(minutes=10)
"""Two sources' times for one warning differ by no more (rule 4)."""
RENEWAL_GAP: Final = timedelta(hours=1)
"""A renewal may come this long after the end of what it renews; later it is a first warning again."""
MEMORY: Final = timedelta(hours=72)
"""The hard sweep of rule 5: what has ended is remembered this long after it was sent, for what is late."""
SAME_QUAKE: Final = timedelta(seconds=30)
SAME_QUAKE_KM: Final = 100.0
"""Two networks' first estimates of one earthquake differ by no more in origin time and epicentre; the
project's own choice, wide enough for a first report and narrower than the next large event."""
OPERATOR: Final = "operator"
"""`Alert.format` of what an operator of ours started."""
GONE: Final = "cancel (no longer listed)"
"""In `Alert.inferred` of a Cancel that no source ever sent: its list simply no longer has the warning."""
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
    trust: Trust = Trust.OFFICIAL
    """Of the feed that brought it; of old rows the highest, so that nothing lower ends them by itself."""
    feed: str = ""
    """The feed's configured name; empty where it was not kept."""
    severity: Severity = Severity.UNKNOWN
    urgency: Urgency = Urgency.UNKNOWN
    quake: Quake | None = None
    counties: frozenset[str] = frozenset()
    """Six digits each (GB/T 2260): the places that its source names, for rule 4."""

    @property
    def end(self) -> datetime:
        """When it ends of itself: as it says, else after the lifetime of its hazard (rule 5)."""
        return self.expires or self.sent + hazards.by_key(self.hazard).default_lifetime


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
    spares: frozenset[str] = field(default=frozenset(), kw_only=True)
    """Event keys of other agencies' messages that only share identifiers with it: `of` and `withdraws` do
    not mean them."""


@dataclass(frozen=True, slots=True)
class New(_Decision):
    """First word of an event here."""


@dataclass(frozen=True, slots=True)
class Update(_Decision):
    """Replaces what is known of its event."""

    announce: bool = True
    """Whether it must sound: a higher colour, a larger or other area, another instruction, or the
    earlier one never sounded. A lower colour or smaller area replaces without a new alarm."""
    news: bool = True
    """Whether it says more to those as well who have heard the last one; a larger area alone does not."""
    first: bool = False
    """Whether nothing of its event has been released: said as a first warning."""
    ends: frozenset[str] = frozenset()
    """Villages that the last one named and this one does not: the event is over there, and they are owed
    the all-clear for it. Empty where the level rises: nobody is told it is over while it gets worse."""


@dataclass(frozen=True, slots=True)
class Continuation(_Decision):
    """The same colour for the same villages goes on; no new full alarm."""


@dataclass(frozen=True, slots=True)
class Cancel(_Decision):
    """Ends `withdraws`: stop, drop what is queued, all-clear only where it had sounded. Never sounds as
    a warning."""

    silent: bool = False
    """Nobody said that it is over, a list merely dropped it: no all-clear, unless the county wants one."""


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
    if GONE in alert.inferred and not isinstance(decision, Cancel):
        return State.CLOSED  # that a list dropped something says nothing about what is yet to come
    ends = alert.msg_type is MsgType.CANCEL or _all_clear(alert)
    if isinstance(decision, Duplicate) or (
        isinstance(decision, Ignored) and not (ends and isinstance(_addressed(alert), Label))
    ):
        return State.CLOSED
    if held:
        return State.HELD
    return State.RELEASED if alert.msg_type is MsgType.CANCEL or not ends else State.SUPERSEDED


def is_news(decision: Decision) -> bool:
    """Whether those as well who have heard its forerunner must hear all of it; what `alerts.fatigue` asks."""
    return isinstance(decision, New) or (isinstance(decision, Update) and (decision.news or decision.first))


def remember(
    alert: Alert,
    decision: Decision,
    villages: frozenset[str],
    state: State,
    *,
    trust: Trust = Trust.OFFICIAL,
    feed: str = "",
) -> Known:
    """What to keep of a classified message. `villages` is its cut to the county; `trust` and `feed` are
    those that `classify` was given."""
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
        trust=trust,
        feed=feed,
        severity=main.severity if main else Severity.UNKNOWN,
        urgency=main.urgency if main else Urgency.UNKNOWN,
        quake=main.quake if main else None,
        counties=_counties(alert),
    )


def matters(item: Known, now: datetime) -> bool:
    """Whether `item` can still change what a later message is; the rest may be forgotten."""
    return item.end > now - RENEWAL_GAP or item.sent > now - MEMORY


def expires(alert: Alert) -> datetime | None:
    """When the last of its infos ends; None if one never does or there is none."""
    ends = [info.expires for info in alert.infos]
    return max((end for end in ends if end is not None), default=None) if None not in ends else None


def ends_at(alert: Alert) -> datetime:
    """When it is over of itself: the last of its infos, each as it says or by its hazard (rule 5)."""
    return max(
        (info.expires or alert.sent + hazards.by_key(info.hazard).default_lifetime for info in alert.infos),
        default=alert.sent,
    )


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
    """Of the words only: another layout of the same instruction is no news."""
    return _hash(part for info in alert.infos for part in (info.language, words(info.instruction)))


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256(repr(list(parts)).encode()).hexdigest()


def agency(identifier: str, sender: str) -> str:
    """Who speaks: in the national scheme the first 14 digits, whatever relay renamed the sender."""
    return identifier[:14] if _NATIONAL.fullmatch(identifier) else sender


def classify(
    alert: Alert,
    known: Sequence[Known],
    now: datetime,
    *,
    villages: frozenset[str],
    trust: Trust = Trust.OFFICIAL,
    feed: str = "",
) -> Decision:
    """What `alert`, which names `villages` of the county, is to the `known` messages at `now`.

    `trust` and `feed` are those of the source that brought it. Never raises. `known` may be in any order
    and hold other events.
    """
    addressed = _addressed(alert)
    if isinstance(addressed, Refusal):
        return Ignored(addressed.reason, alert.event_key)
    if alert.msg_type not in (MsgType.ALERT, MsgType.UPDATE, MsgType.CANCEL):
        return Ignored(f"a message of type {alert.msg_type} is no warning", alert.event_key)
    if not alert.infos and alert.msg_type is not MsgType.CANCEL:
        return Ignored("it has no info: nothing to say", alert.event_key)
    same_kind = [item for item in known if item.status is alert.status]
    namesakes = _namesakes(alert, same_kind)
    if namesakes:
        same_kind = [item for item in same_kind if item not in namesakes]
    new = _New(alert, villages, now, trust, feed, frozenset(item.event_key for item in namesakes))
    return replace(_judged(new, same_kind), spares=new.taken)


def _judged(new: _New, same_kind: Sequence[Known]) -> Decision:
    alert, now = new.alert, new.now
    timely = [item for item in same_kind if item.sent <= now + CLOCK_TOLERANCE]
    repeated = max(
        (item for item in same_kind if _same_key(alert, item)),
        key=lambda item: (item.state in _LIVE, _rank(item.trust), item.sent),
        default=None,
    )
    if repeated is not None and (not new.outranks(repeated) or repeated.state is State.SUPERSEDED):
        return _repeat(new, repeated)
    ends = _is_end(alert)
    # A better source of what is known already: judged as itself, and the others as its forerunners, although
    # their times may be later.
    timely = [
        replace(item, sent=min(item.sent, alert.sent))
        if new.outranks(item) and (_same_key(alert, item) or (not ends and _is_twin(new, item)))
        else item
        for item in timely
    ]
    family = _family(alert, timely)
    if ends:
        family = family if _warnings(family) or alert.references else _ended(new, timely)
        return _cancel(new, family, _key(new, family))
    return _warning(new, timely, family)


# --- parts ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _New:
    """The message that is being classified, and all that is judged beside its own words."""

    alert: Alert
    villages: frozenset[str]
    now: datetime
    trust: Trust
    feed: str
    taken: frozenset[str] = frozenset()
    """Event keys of its namesakes."""

    def outranks(self, item: Known) -> bool:
        return _rank(self.trust) > _rank(item.trust)

    def is_below(self, items: Iterable[Known]) -> Known | None:
        """The known message, if any, of a source more trusted than this one's."""
        return next((item for item in items if _rank(self.trust) < _rank(item.trust)), None)

    @property
    def agency(self) -> str:
        return agency(self.alert.identifier, self.alert.sender)

    @property
    def doubt(self) -> str:
        """What is odd about the message by itself."""
        alert, ahead = self.alert, self.alert.sent - self.now
        if ahead > CLOCK_TOLERANCE:
            return f"sent {ahead // timedelta(minutes=1)} minutes after our clock: theirs or ours is wrong"
        if alert.msg_type is MsgType.ALERT and _all_clear(alert):
            return "an Alert that says it is over (urgency Past, or response AllClear)"
        return ""

    def doubt_against(self, items: Iterable[Known]) -> str:
        """What is odd about it, also beside the messages in force that it would replace or end."""
        above = self.is_below(items)
        if self.doubt or above is None:
            return self.doubt
        return (
            f"it comes from {_source(self.feed, self.trust)}, but {above.identifier} in force is from "
            f"{_source(above.feed, above.trust)}"
        )


_LIVE: Final = (State.HELD, State.RELEASED)


def _rank(trust: Trust) -> int:
    return -list(Trust).index(trust)


def _source(feed: str, trust: Trust) -> str:
    return f"{feed} ({trust})" if feed else f"a source that is {trust}"


def _key(new: _New, family: Sequence[Known]) -> str:
    if family:
        return min(family, key=lambda item: item.sent).event_key
    key = new.alert.event_key
    return f"{key} ({new.agency})" if key in new.taken else key


def _severity(severity: Severity) -> int:
    """0 (Extreme) to 4 (Unknown)."""
    return list(Severity).index(severity)


def _same_key(alert: Alert, item: Known) -> bool:
    if alert.identifier != item.identifier or alert.msg_type is not item.msg_type:
        return False
    if _NATIONAL.fullmatch(alert.identifier) or (alert.sender, alert.sent) == (item.sender, item.sent):
        return True
    # Two relays of one network stamp its report a second apart.
    quake = alert.main.quake if alert.infos else None
    return (
        alert.sender == item.sender
        and quake is not None
        and item.quake is not None
        and _is_same_quake(quake, item.quake)
    )


def _namesakes(alert: Alert, known: Sequence[Known]) -> list[Known]:
    """Other agencies' messages under an identifier that this one's agency uses for another hazard, and the
    rest of their events. Where either hazard is unknown, the name decides: a relay may leave it out."""
    ours = agency(alert.identifier, alert.sender)
    names = {item.identifier: item.hazard for item in known if agency(item.identifier, item.sender) == ours}
    if alert.infos:
        names[alert.identifier] = alert.main.hazard
    theirs = [item for item in known if agency(item.identifier, item.sender) != ours]
    keys = {
        item.event_key
        for item in theirs
        if hazards.UNKNOWN.key not in {item.hazard, names.get(item.identifier, hazards.UNKNOWN.key)}
        and item.hazard != names[item.identifier]
    }
    return [item for item in theirs if item.event_key in keys]


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


def _all_clear(alert: Alert) -> bool:
    """WCATWC, ECCC and others end an event with an Update that says so (`feeds.md` §1.3)."""
    return bool(alert.infos) and all(
        info.urgency is Urgency.PAST or ("responseType", "AllClear") in info.parameters
        for info in alert.infos
    )


def _is_end(alert: Alert) -> bool:
    return alert.msg_type is MsgType.CANCEL or (alert.msg_type is MsgType.UPDATE and _all_clear(alert))


def _counties(alert: Alert) -> frozenset[str]:
    """The area6 of rule 4: of every code, else of the national identifier, which names its issuer's."""
    codes = {code.digits[:6] for info in alert.infos for area in info.areas for code in area.codes}
    if not codes and _NATIONAL.fullmatch(alert.identifier):
        codes = {alert.identifier[:6]}
    return frozenset(code.ljust(6, "0") for code in codes)


def _cancels(items: Sequence[Known], state: State) -> list[Known]:
    return [item for item in items if item.msg_type is MsgType.CANCEL and item.state is state]


def _warnings(items: Sequence[Known]) -> list[Known]:
    return [item for item in items if item.msg_type in (MsgType.ALERT, MsgType.UPDATE)]


def _open(items: Sequence[Known]) -> list[Known]:
    return [item for item in _warnings(items) if item.state in _LIVE]


def _names(items: Sequence[Known]) -> tuple[str, ...]:
    ordered = sorted(items, key=lambda item: (item.sent, item.identifier))
    return tuple(dict.fromkeys(item.identifier for item in ordered))


def _latest(items: Iterable[Known]) -> Known:
    return max(items, key=lambda item: (item.sent, _report(item.quake), item.identifier))


def _report(quake: Quake | None) -> int:
    return quake.report if quake is not None else 0


def _is_later(item: Known, alert: Alert) -> bool:
    """Whether `item` was sent after `alert`. Of one network's reports the number decides: some sources give
    every report the time of the earthquake (`feeds.md` §2.10)."""
    numbers = (_report(item.quake), _report(alert.main.quake))
    alike = agency(item.identifier, item.sender) == agency(alert.identifier, alert.sender)
    if all(numbers) and numbers[0] != numbers[1] and alike:
        return numbers[0] > numbers[1]
    return item.sent > alert.sent


def _repeat(new: _New, item: Known) -> Decision:
    """The same message again; a corrected one is announced only if it says more (rule 3)."""
    alert, villages = new.alert, new.villages
    if alert.msg_type is MsgType.CANCEL or (
        text_hash(alert) == item.text_hash and villages == item.village_keys
    ):
        return Duplicate(f"already known as {item.identifier}", item.event_key, item.identifier)
    if new.is_below([item]):
        reason = f"already known as {item.identifier} from {_source(item.feed, item.trust)}"
        return Duplicate(reason, item.event_key, item.identifier)
    if item.state not in _LIVE or ends_at(alert) <= new.now:
        return Duplicate(
            f"a correction of {item.identifier}, which is {item.state}", item.event_key, item.identifier
        )
    change = _change(new, item)
    if not change:
        return Duplicate("same identifier, wording corrected only", item.event_key, item.identifier)
    found = _update(new, [item], item.event_key, new.doubt)
    return replace(found, reason=f"same identifier, corrected: {found.reason}")


def _cancel(new: _New, family: Sequence[Known], key: str) -> Decision:
    alert = new.alert
    messages = _warnings(family)
    targets = [item for item in _open(messages) if item.sent <= alert.sent]
    if not targets:
        if not messages:
            reason = f"ends {alert.event_key}, which is not known here; recorded, not aired"
            return Ignored(reason, key, doubt=new.doubt)
        later = [item for item in _open(messages) if item.sent > alert.sent]
        if later:
            return Stale(f"older than {_names(later)[-1]}, which it cannot end", key, _names(later)[-1])
        return Ignored("what it ends is no longer in force", key, _names(messages)[-1], doubt=new.doubt)
    gone = GONE in alert.inferred
    above = new.is_below(targets)
    if gone and above is not None:
        reason = f"no longer listed by {_source(new.feed, new.trust)}; {above.identifier} in force is from "
        return Ignored(reason + _source(above.feed, above.trust), key, above.identifier)
    doubt = new.doubt_against(targets)
    ours = {agency(item.identifier, item.sender) for item in targets}
    if not doubt and not gone and alert.format != OPERATOR and new.agency not in ours:
        doubt = f"sent by {alert.sender}, but the warning is by {_latest(targets).sender}"
    if not doubt and not alert.references:
        doubt = _unlike(new, targets)
    reason = "cancelled by its source"
    if gone:
        reason = "no longer listed by its source"
    elif alert.msg_type is MsgType.UPDATE:
        reason = "an all-clear, sent as an Update"
    # A Cancel from elsewhere that was held is settled with what it meant to end.
    waiting = [item for item in _cancels(family, State.HELD) if item.sent <= alert.sent]
    return Cancel(reason, key, _latest(targets).identifier, _names([*targets, *waiting]), doubt, gone)


def _ended(new: _New, known: Sequence[Known]) -> list[Known]:
    """What a Cancel means that refers to nothing: 12379.cn's 解除 rows have identifiers of their own."""
    main = new.alert.main if new.alert.infos else None
    if main is None or main.hazard == hazards.UNKNOWN.key or not new.villages:
        return []
    return [
        item
        for item in _open(known)
        if item.hazard == main.hazard
        and agency(item.identifier, item.sender) == new.agency
        and item.village_keys & new.villages
    ]


def _unlike(new: _New, targets: Sequence[Known]) -> str:
    """Why a Cancel without a reference may mean something else than `targets`; empty if nothing says so."""
    last = _latest(targets)
    colour = new.alert.main.colour if new.alert.infos else None
    if colour is not None and colour is not last.colour:
        return f"it ends a {colour} warning, but {last.identifier} is {last.colour or 'without colour'}"
    if left := len(frozenset().union(*(item.village_keys for item in targets)) - new.villages):
        return f"it names {left} villages fewer than the warning that it seems to end"
    return ""


def _warning(new: _New, known: Sequence[Known], family: Sequence[Known]) -> Decision:
    alert, now = new.alert, new.now
    key, doubt = _key(new, family), new.doubt
    ended = [item for item in _cancels(family, State.RELEASED) if item.sent >= alert.sent]
    theirs = [item for item in ended if agency(item.identifier, item.sender) == new.agency]
    if theirs and not any(new.outranks(item) for item in theirs):
        last = _latest(theirs)
        left = [item for item in _open(family) if item.sent <= last.sent]
        return Stale(f"cancelled by {last.identifier} before it came", key, last.identifier, _names(left))
    if ended and not doubt:
        last = _latest(ended)
        doubt = f"cancelled by {last.identifier}, but that is from {last.feed or last.sender}"
    messages = _warnings(family)
    later = [item for item in messages if _is_later(item, alert)]
    newer = [item for item in later if item.state not in (State.CLOSED, State.HELD)]
    # What nobody released must not silence an older message, and must not go unmentioned either.
    unheard = [
        item
        for item in (*later, *(end for end in _cancels(family, State.HELD) if end.sent >= alert.sent))
        if not new.outranks(item)
    ]
    if newer:
        last = _latest(newer)
        left = [item for item in _open(messages) if item.sent < last.sent]
        return Stale(f"older than {last.identifier} of the same event", key, last.identifier, _names(left))
    if unheard and not doubt:
        doubt = f"{unheard[-1].identifier} of the same event is newer, and is {unheard[-1].state}"
    before = [item for item in _open(messages) if not _is_later(item, alert)]
    end = ends_at(alert)
    if end <= now:
        left = [item for item in before if not new.is_below([item])]
        return Stale(f"expired at {end.isoformat()}", key, withdraws=_names(left))
    if alert.format != OPERATOR:
        twins = [item for item in known if item not in family and _is_twin(new, item)]
        for twin in sorted(twins, key=lambda item: (_rank(item.trust), item.state in _LIVE), reverse=True):
            if new.is_below([twin]) or (not new.outranks(twin) and not _change(new, twin, twin=True)):
                reason = f"the same warning as {twin.identifier}, through another source"
                return Duplicate(reason, twin.event_key, twin.identifier)
        if live := [replace(item, sent=min(item.sent, alert.sent)) for item in _open(twins)]:
            key, before = _key(new, [*family, *live]), [*before, *live]
        elif not before and not alert.references and (resembled := _implicit(new, known)) is not None:
            if resembled.sent > alert.sent:
                reason = f"older than {resembled.identifier} for the same hazard and area"
                return Stale(reason, resembled.event_key, resembled.identifier)
            key, before = resembled.event_key, [resembled]
    if before:
        return _against(new, before, key, doubt)
    if any(item.state is State.CANCELLED for item in messages):
        doubt = doubt or "its event was cancelled before"
        return New("newer than the Cancel of its event", key, doubt=doubt)
    if alert.msg_type is MsgType.UPDATE:
        reason = f"an Update of {alert.event_key}, which is not in force here: taken as new"
        return New(reason, key, doubt=doubt)
    return New("first message of its event", key, doubt=doubt)


def _against(new: _New, before: Sequence[Known], key: str, doubt: str) -> Update | Continuation:
    """Compared with the latest message of its event that is still in force or held."""
    doubt = doubt or new.doubt_against(before)
    heard = [item for item in before if item.state is State.RELEASED]
    last = _latest(heard or before)
    if not heard:
        reason = f"replaces {last.identifier}, which was held"
        if new.outranks(last):
            reason = f"takes over from {last.identifier} of {_source(last.feed, last.trust)}, which was held"
        return Update(reason, key, last.identifier, _names(before), doubt, first=True)
    if last.end <= new.alert.sent - RENEWAL_GAP:
        reason = f"goes on after {last.identifier} had expired"
        return Update(reason, key, last.identifier, _names(before), doubt, first=True)
    if not _change(new, last):
        return Continuation(
            f"continues {last.identifier} unchanged", key, last.identifier, _names(before), doubt
        )
    return replace(_update(new, [last], key, doubt), withdraws=_names(before))


@dataclass(frozen=True, slots=True)
class _Change:
    """How a message differs from one that was heard (rule 3)."""

    news: tuple[str, ...]
    """To everybody: the level rises, another hazard, another instruction."""
    more: frozenset[str]
    """Villages that were not named before."""
    less: frozenset[str]
    """Villages that no longer are."""
    falls: str
    rises: bool

    def __bool__(self) -> bool:
        return bool(self.news or self.more or self.less or self.falls)


def _change(new: _New, item: Known, *, twin: bool = False) -> _Change:
    """`twin`: of another source, whose smaller area ends nothing."""
    main = new.alert.main
    news: list[str] = []
    falls = ""
    rises = main.colour is not None and (item.colour is None or main.colour.rank < item.colour.rank)
    if rises:
        news.append(f"colour rises from {item.colour or 'none'} to {main.colour}")
    elif main.colour is not item.colour:
        falls = f"colour falls from {item.colour} to {main.colour or 'none'}"
    if main.hazard != item.hazard:
        news.append(f"hazard changes from {item.hazard} to {main.hazard}")
    # Two sources word one warning differently, leave parts out, and grade it by scales of their own.
    worded_elsewhere = new.feed != item.feed and (twin or new.alert.identifier == item.identifier)
    if not worded_elsewhere:
        if _severity(main.severity) < _severity(item.severity) < len(Severity) - 1:
            news.append(f"severity rises from {item.severity} to {main.severity}")
            rises = True
        if main.urgency is Urgency.IMMEDIATE and item.urgency in (Urgency.EXPECTED, Urgency.FUTURE):
            news.append(f"urgency rises from {item.urgency} to {main.urgency}")
            rises = True
        told = any(info.instruction.strip() for info in new.alert.infos)
        if told and _instruction_hash(new.alert) != item.instruction_hash:
            news.append("the instruction changes")
    less = frozenset[str]() if twin else item.village_keys - new.villages
    return _Change(tuple(news), new.villages - item.village_keys, less, falls, rises)


def _update(new: _New, before: Sequence[Known], key: str, doubt: str) -> Update:
    last = _latest(before)
    if last.state is not State.RELEASED:
        reason = f"replaces {last.identifier}, which was held"
        return Update(reason, key, last.identifier, _names(before), doubt, first=True)
    change = _change(new, last)
    parts = [*change.news]
    if change.falls:
        parts.append(change.falls)
    if change.more:
        parts.append(f"{len(change.more)} more villages")
    if change.less:
        parts.append(f"ends for {len(change.less)} villages")
    return Update(
        "; ".join(parts),
        key,
        last.identifier,
        _names(before),
        doubt,
        announce=bool(change.news or change.more),
        news=bool(change.news),
        ends=frozenset() if change.rises else change.less,
    )


def _implicit(new: _New, known: Sequence[Known]) -> Known | None:
    """The warning in force of the same agency and hazard for these villages or fewer, for feeds that never
    reference (rule 2). A smaller area is not guessed to end it elsewhere.

    Only what has been released counts, so that nothing goes unheard for the sake of one that is held.
    """
    alert = new.alert
    hazard = hazards.by_key(alert.main.hazard)
    if hazard is hazards.UNKNOWN or hazard.lane is hazards.Lane.FAST or not new.villages:
        return None  # an aftershock is no renewal of the first shock
    alike = [
        item
        for item in _open(known)
        if item.state is State.RELEASED
        and item.hazard == alert.main.hazard
        and item.village_keys
        and item.village_keys <= new.villages
        and item.end > max(alert.sent, new.now) - RENEWAL_GAP
        and agency(item.identifier, item.sender) == new.agency
    ]
    return _latest(alike) if alike else None


def _is_twin(new: _New, item: Known) -> bool:
    """Rule 4: the same warning from another source, as far as two documents can show it."""
    alert = new.alert
    if (
        item.msg_type not in (MsgType.ALERT, MsgType.UPDATE)
        or item.state is State.CLOSED
        or agency(item.identifier, item.sender) == new.agency
    ):
        return False
    if alert.main.quake is not None and item.quake is not None:
        return _is_same_quake(alert.main.quake, item.quake)
    hazard = hazards.by_key(alert.main.hazard)
    return (
        hazard is not hazards.UNKNOWN
        and hazard.lane is not hazards.Lane.FAST
        and item.hazard == alert.main.hazard
        and item.colour is alert.main.colour
        and abs(alert.sent - item.sent) <= SAME_WARNING
        and (_same_place(new, item) or _placeless_echo(new, item))
    )


def _same_place(new: _New, item: Known) -> bool:
    return bool(item.village_keys & new.villages) and (
        item.village_keys == new.villages or bool(item.counties & _counties(new.alert))
    )


def _placeless_echo(new: _New, item: Known) -> bool:
    """One of the two is of a source that only informs and names no place (QWeather: one asks for a place and
    gets what holds there). The better source decides either way."""
    if new.trust is Trust.UNOFFICIAL and new.is_below([item]) and item.village_keys:
        return not _counties(new.alert) and not any(
            area.codes or area.polygons or area.circles or area.lines or area.other_codes
            for info in new.alert.infos
            for area in info.areas
        )
    echo = item.trust is Trust.UNOFFICIAL and not (item.village_keys or item.counties)
    return echo and new.outranks(item) and bool(new.villages)


def _is_same_quake(one: Quake, other: Quake) -> bool:
    """By origin time and epicentre; on a plane, which is exact enough at this distance."""
    north = (one.lat - other.lat) * 111.2
    east = ((one.lon - other.lon + 180) % 360 - 180) * 111.2 * math.cos(math.radians(one.lat))
    return abs(one.origin - other.origin) <= SAME_QUAKE and math.hypot(north, east) <= SAME_QUAKE_KM
