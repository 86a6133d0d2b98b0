"""THE STATE MACHINE: one terminal's part of one broadcast, as a grow-only set of facts.

Theory of operation. A delivery is a mapping (attempt, state, reason) → (time, detail). Facts are only
ever added; folding is commutative, associative and idempotent, so duplicated, late and reordered reports
are harmless by construction. What the operator sees is derived: any `played` wins; else the latest
attempt's highest rank, equal ranks by the fixed order of their names. What to do next is derived too:
`next_action` is a pure function of the delivery, what has been tried, and the time.

Everything that affects the state or the next step of a delivery lives in this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final


class State(StrEnum):
    PENDING = "pending"
    """Planned; no command has gone out."""
    SENT = "sent"
    """A command was handed to the broker. Never to be called delivered."""
    REFUSED = "refused"
    """The terminal would not take the command; the reason says why."""
    ACCEPTED = "accepted"
    """Signature, counter, window and target were right."""
    READY = "ready"
    """The audio is on the terminal and its hash is right."""
    PLAYING = "playing"
    """The sound device took samples."""
    INTERRUPTED = "interrupted"
    """Power went away while it played; it will start again if still valid."""
    PREEMPTED = "preempted"
    """Something more urgent cut it; it will start again if still valid."""
    EXPIRED = "expired"
    """Its time ran out before it could start, as the terminal says, or, with reason ``unreached``, as the
    controller knows because nothing was heard."""
    FAILED = "failed"
    """It could not be fetched or sounded; the reason says why."""
    CANCELLED = "cancelled"
    """Stopped or replaced, acknowledged by the terminal."""
    PLAYED = "played"
    """Finished, all repeats."""


RESUMED: Final = "resumed"
"""Reason of a `playing` that follows an interruption or a pre-emption in the same attempt."""
FLOOR: Final = "floor"
"""Reason of a `playing` that is only the generic sentence, or the signal alone: the message is missing."""
BY_HAND: Final = "by-hand"
"""Reason of the `playing` and `played` of a standing message; further ones are ``by-hand-2`` and so on."""
BY_HANDS: Final = (BY_HAND, *(f"{BY_HAND}-{n}" for n in range(2, 10)))
"""All of them, in the order in which they happen."""
SILENT: Final = "silent"
"""Reason of what a silent test reports from `playing` on: the device was driven, and nothing was heard."""
UNREACHED: Final = "unreached"
OVER: Final = "expired"
"""Reason of the `refused` of a terminal whose clock says that the window is over."""
FORGOTTEN: Final = "forgotten"
"""Reason of the `failed` of a standing message whose terminal was enrolled anew: the board may be another."""

FactKey = tuple[int, State, str]
FactValue = tuple[int, str]
"""(time in ms, detail)"""
Facts = Mapping[FactKey, FactValue]

# A refusal ranks below acceptance: a forged command that names our broadcast makes an honest terminal
# report `refused`, and must not hide that the real command was accepted.
_RANK: Final[dict[State, int]] = {
    State.PENDING: 0,
    State.SENT: 10,
    State.REFUSED: 15,
    State.ACCEPTED: 20,
    State.READY: 30,
    State.PLAYING: 40,
    State.INTERRUPTED: 50,
    State.PREEMPTED: 50,
    State.EXPIRED: 70,
    State.FAILED: 80,
    State.CANCELLED: 90,
    State.PLAYED: 100,
}
_RESUMED_RANK: Final = 60
_FLOOR_RANK: Final = 25

# What anybody can make a terminal say of our broadcast, by giving it something else under its name: perhaps
# ours has not come at all (docs/security.md, "a broker").
_FORGEABLE: Final = frozenset({"malformed", "unsigned", "unknown-key", "bad-signature", "wrong-role"})
# Worth another attempt: the cause may be gone when the terminal tries again. Whose device did not start has
# begun anew meanwhile (docs/terminal.md, "Sound"). A lapsed window or a dead amplifier will not mend itself
# within a warning.
_RETRYABLE: Final = frozenset({"fetch", "hash-mismatch", "device-busy", "no-start", FORGOTTEN}) | _FORGEABLE
# After these a standing message is not kept any more: the key that sealed it has left the ring, or (which the
# controller itself records) the terminal was enrolled anew.
_LETS_GO: Final = frozenset({"unknown-key", FORGOTTEN})
_SILENCE: Final = (
    State.PLAYED,
    State.PREEMPTED,
    State.INTERRUPTED,
    State.FAILED,
    State.CANCELLED,
    State.EXPIRED,
)
# The message will not come, which a terminal says at once; its generic sentence may sound all the same, and
# nothing is said when that is over.
_STANDS_IN: Final = frozenset({"fetch", "hash-mismatch", "no-variant", "decode"})


def rank(key: FactKey) -> tuple[int, str, str]:
    """Total order of the facts of one attempt; a pure function of the fact, so folding order is moot."""
    _, state, reason = key
    value = _RANK[state]
    if state is State.PLAYING:
        value = {RESUMED: _RESUMED_RANK, FLOOR: _FLOOR_RANK}.get(reason, value)
    return (value, state.value, reason)


def is_message(key: FactKey) -> bool:
    """Whether this fact says that the message itself was heard, and not its stand-in."""
    _, state, reason = key
    return state in (State.PLAYING, State.PLAYED) and reason not in (FLOOR, SILENT)


def is_by_hand(key: FactKey) -> bool:
    """Whether this fact says that a hand at the terminal began to sound a standing message."""
    return key[1] is State.PLAYING and key[2] in BY_HANDS


def holds(facts: Facts) -> bool:
    """Whether a hand at the terminal can sound this standing message, by the terminal's last word: its clip
    is there, and neither a stop nor its end."""
    last = max((key[0] for key in facts), default=0)
    latest = [key for key in facts if key[0] == last]
    ended = any(state in (State.CANCELLED, State.EXPIRED) for _, state, _ in facts)
    lost = any(state is State.FAILED and reason in _LETS_GO for _, state, reason in latest)
    return not (ended or lost) and any(state is State.READY for _, state, _ in latest)


def sounds_by_hand(facts: Facts) -> bool:
    """Whether a hand sounds it there now, by the terminal's last word."""
    began = max((value[0] for key, value in facts.items() if is_by_hand(key)), default=0)
    ends = (value[0] for key, value in facts.items() if key[1] in _SILENCE)
    return began > 0 and began > max(ends, default=0)


def fold(facts: Facts, new: Iterable[tuple[FactKey, FactValue]]) -> dict[FactKey, FactValue]:
    """`facts` and `new` together. The same fact told twice keeps its earliest time."""
    merged = dict(facts)
    for key, value in new:
        known = merged.get(key)
        merged[key] = value if known is None else min(known, value)
    return merged


@dataclass(frozen=True, slots=True)
class Shown:
    """What an operator is told about one delivery."""

    state: State
    attempt: int
    reason: str
    at: int
    """ms; 0 for pending."""
    detail: str
    floor: bool = False
    """So far only the generic sentence was heard, or the signal alone; the message is missing."""


_PENDING: Final = Shown(State.PENDING, 0, "", 0, "")


def shown(facts: Facts) -> Shown:
    """Any `played` wins (the earliest attempt's); else the latest attempt's highest rank."""
    if not facts:
        return _PENDING
    played = [key for key in facts if key[1] is State.PLAYED]
    if played:
        top = min(played)
    else:
        last = max(key[0] for key in facts)
        top = max((key for key in facts if key[0] == last), key=rank)
    at, detail = facts[top]
    floor = any(reason == FLOOR for _, _, reason in facts) and not any(map(is_message, facts))
    return Shown(top[1], top[0], top[2], at, detail, floor)


def has_sounded(facts: Facts) -> bool:
    """Whether any part of it was heard: an all-clear is owed to exactly these."""
    return any(
        state in (State.PLAYING, State.PLAYED, State.INTERRUPTED, State.PREEMPTED) and reason != SILENT
        for _, state, reason in facts
    )


def may_be_forged(facts: Facts) -> bool:
    """Whether all we know is a refusal that may have been of somebody else's words, and not of ours."""
    seen = shown(facts)
    return seen.state is State.REFUSED and seen.reason in _FORGEABLE


def may_stand_in(facts: Facts) -> bool:
    """Whether the generic sentence may sound, or be about to, although the message has failed for good: a
    stop is owed to these too."""
    seen = shown(facts)
    return seen.state is State.FAILED and seen.reason in _STANDS_IN


@dataclass(frozen=True, slots=True)
class Policy:
    """How hard one broadcast tries. Milliseconds throughout."""

    expires: int
    """After this nothing may start; only outcomes are still asked for."""
    seconds: float
    """Length of the whole playing, repeats included."""
    quiet: int
    """Silence after which a report is taken as lost: max(300, twice the spread seen so far)."""
    longest_quiet: int = 30_000
    """Doubling stops here. A terminal that is away is asked this often, and at once when it says hello."""
    fetch_allowance: int = 5_000
    """From accepted to ready before we ask: 300 KB at 0.5 Mbit/s."""
    attempts: int = 3
    stopping: bool = False
    """Nothing may start any more: what `next_action` calls a send or an ask is a Stop."""
    standing: bool = False
    """It waits at the terminal for a hand: `ready` is all that is wanted."""
    moved: bool = False
    """The wire clock has jumped, and the window with it: who refused it as over may take it now."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What the controller itself did for one delivery; controller's clock, ms."""

    attempt: int = 0
    """Highest attempt sent; 0 before the first."""
    sent: int = 0
    """When a command or question last went out."""
    heard: int = 0
    """When the terminal last said anything about this broadcast; 0 = never."""
    unanswered: int = 0
    """Commands and questions since it was last heard."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send the command of this attempt (again)."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask for the state; makes no sound."""


@dataclass(frozen=True, slots=True)
class WaitUntil:
    at: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nothing can change it any more: record `expired/unreached`, which says only what we know."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Final, and known."""


Action = Send | Ask | WaitUntil | GiveUp | Settled


def is_settled(facts: Facts, policy: Policy, attempt: int = 0) -> bool:
    """Whether the terminal's part is over and nothing more will be tried. `attempt`: the highest sent."""
    return _is_settled(facts, shown(facts), policy, attempt)


def _is_settled(facts: Facts, seen: Shown, policy: Policy, attempt: int) -> bool:
    if policy.standing and policy.stopping:
        # Played or failed by hand, it is kept for the next one: not over before it says so.
        over = any(state in (State.CANCELLED, State.EXPIRED) for _, state, _ in facts)
        return over or (seen.state is State.REFUSED and not may_be_forged(facts))
    if policy.standing and seen.state is State.FAILED and seen.reason == "unknown-key":
        return True  # to be sent anew, by an operator and under the key of now
    match seen.state:
        case State.PLAYED | State.CANCELLED | State.EXPIRED:
            return True
        case State.REFUSED | State.FAILED if policy.stopping:
            # Not over before it says so: its stand-in may sound, or ours be on its way, a further attempt or
            # behind a forgery.
            cancelled = any(state is State.CANCELLED for _, state, _ in facts)
            coming = attempt > seen.attempt or may_be_forged(facts)
            return cancelled or not (coming or may_stand_in(facts))
        case State.REFUSED | State.FAILED:
            again = seen.reason in _RETRYABLE or (policy.moved and seen.reason == OVER)
            return not again or seen.attempt >= policy.attempts
        case State.READY | State.PLAYING | State.INTERRUPTED | State.PREEMPTED:
            return policy.standing and not policy.stopping
        case _:
            return False


def next_action(facts: Facts, tried: Tried, now: int, policy: Policy) -> Action:
    """What to do for this delivery at `now`. Total: every reachable delivery gets exactly one answer, and
    a WaitUntil always lies after `now`, so the loop always makes progress."""
    seen = shown(facts)
    if _is_settled(facts, seen, policy, tried.attempt):
        return Settled()
    over = now >= policy.expires
    # What started just before expiry may still be playing; its outcome is asked for that long and a minute.
    if now >= policy.expires + int(policy.seconds * 1000) + 60_000:
        return GiveUp()
    if over and seen.state in (State.PENDING, State.SENT) and tried.heard >= policy.expires:
        return GiveUp()  # after its end the terminal has said that it knows nothing of it
    if tried.attempt == 0:
        return GiveUp() if over or policy.stopping else Send(1)
    if seen.state in (State.REFUSED, State.FAILED) and not policy.stopping:  # retryable, or settled
        again = tried.attempt + 1 if tried.attempt <= seen.attempt else tried.attempt
        return _when(tried.sent + _patience(tried, policy), now, Send(again), over)
    if seen.state in (State.PENDING, State.SENT):
        return _when(tried.sent + _patience(tried, policy), now, Send(tried.attempt), over)
    if policy.stopping:
        due = tried.sent + _patience(tried, policy)
        return Ask() if now >= due else WaitUntil(due)
    base = max(tried.sent, tried.heard)
    match seen.state:
        case State.PLAYING if seen.reason == FLOOR:
            # The message may still come, or its last try fail.
            due = max(tried.heard + policy.fetch_allowance, base + _patience(tried, policy))
        case State.ACCEPTED:
            due = max(tried.heard + policy.fetch_allowance, base + _patience(tried, policy))
        case State.READY:
            # Queued behind another message, or about to start: the next word should come soon.
            due = base + _patience(tried, policy) + 1_000
        case State.PLAYING:
            due = max(
                tried.heard + int(policy.seconds * 1000) + policy.quiet, tried.sent + _patience(tried, policy)
            )
        case _:  # interrupted, preempted: it comes back by itself
            due = base + _patience(tried, policy) + 1_000
    return Ask() if now >= due else WaitUntil(due)


def never_heard(tried: Tried, now: int) -> Tried:
    """After the terminal has answered, at `now`, that it knows nothing of the broadcast. The first time, what
    it is owed goes out at once; then as patiently as to silence. Otherwise question and answer would chase
    each other as fast as the line allows."""
    return replace(tried, heard=now) if tried.heard else replace(tried, sent=0, heard=now, unanswered=0)


def answered(tried: Tried, now: int, *, fruitless: bool) -> Tried:
    """After a report at `now`. `fruitless`: a stop was asked for, and it says nothing new. That is no answer,
    or one that does not obey would be told three times a second until the end."""
    return Tried(tried.attempt, tried.sent, now, tried.unanswered if fruitless else 0)


def _patience(tried: Tried, policy: Policy) -> int:
    """Silence to bear after the last word: `quiet` for the first three, which a busy broker may have dropped
    among many, then doubling with each unanswered one."""
    doublings = min(max(tried.unanswered - 3, 0), 16)
    return int(min(policy.quiet << doublings, max(policy.longest_quiet, policy.quiet)))


def _when(due: int, now: int, send: Send, over: bool) -> Action:
    if now < due:
        return WaitUntil(due)
    # After expiry a command cannot sound any more, but the question still gets an answer.
    return Ask() if over else send
