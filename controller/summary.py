"""What an operator is told about one broadcast: counts, latencies, and who did not sound and why. Pure.

Absence is worded as what we know ("no report since …, last seen …"), never as a cause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Final

from alerts.regions import County
from controller.clock import moment
from controller.ids import BEIJING
from controller.standing import Hand, hands
from controller.store.records import BroadcastRow, BroadcastState
from terminals import delivery
from terminals.delivery import FactKey, Facts, State
from terminals.model import Terminal

# The success road; a terminal that has reached a later one has reached every earlier one.
ROAD: Final = (State.ACCEPTED, State.READY, State.PLAYING, State.PLAYED)


@dataclass(frozen=True, slots=True)
class Latency:
    """From the first publish, on the wire clock."""

    first_ms: int
    median_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Row:
    """One township, or the whole broadcast."""

    key: str
    name: str
    targeted: int
    accepted: int
    ready: int
    playing: int
    played: int
    failed: int
    """Refused, failed, expired or cancelled."""
    silent: int
    """Nothing heard about this broadcast."""
    floor: int = 0
    """Only the generic sentence was heard, or the signal alone: the message is missing."""


@dataclass(frozen=True, slots=True)
class Mute:
    """A targeted village in which no loudspeaker has sounded this broadcast, and what is known of each."""

    village: str
    township: str
    targeted: int
    """Loudspeakers that were to sound; 0: it has none."""
    words: tuple[str, ...]
    """What is known, and of how many of them, most first."""


@dataclass(frozen=True, slots=True)
class Together:
    """A start at one moment: how far it was achieved, by the terminals' own reports on the wire clock."""

    at: datetime
    """When all were to start."""
    started: int
    """Began at that moment, or within `TOGETHER_MS` of it."""
    late: int
    """Began later: they came late, or had to fetch."""
    spread_ms: int | None
    """Between the first and the last of `started`; None where fewer than two did."""
    error_ms: int | None
    """By how much the clock of one of them may be off at most; None where none has measured it."""
    unmeasured: int
    """Of `started`, those whose clock's error is not known."""


@dataclass(frozen=True, slots=True)
class NotReached:
    terminal: str
    name: str
    village: str
    township: str
    state: State
    reason: str
    words: str
    sounded: bool = False
    """Whether any part of it was heard there."""


@dataclass(frozen=True, slots=True)
class Step:
    """One fact of a delivery. `at`: ms on the wire clock; the terminal's own word for all but ``sent`` and
    ``unreached``."""

    at: int
    attempt: int
    state: State
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Chain:
    """All that is known of one terminal's part of one broadcast, in the order in which it happened."""

    state: State
    reason: str
    words: str
    sounded: bool
    last_seen: int | None
    """Wire ms of the terminal's last authenticated word about anything; None: never."""
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    id: str
    alert: str
    kind: str
    part: str
    """``whole``, or ``lead``: what, where and what to do, heard before the whole."""
    state: str
    headline: str
    created: datetime
    voiced: datetime | None
    """When the sound was ready and the first command about to go out."""
    done: datetime | None
    stopped_by: str | None
    total: Row
    townships: tuple[Row, ...]
    latency: Mapping[State, Latency]
    not_reached: tuple[NotReached, ...]
    silent_villages: tuple[str, ...]
    waiting: int
    """Terminals from which something may still come soon."""
    seconds: float
    """Length of one playing."""
    repeats: int
    clip: str | None
    """Hash of the audio; None while it is being voiced."""
    generic: bool
    """The voice failed, and the clip says only that there is a warning."""
    mute: tuple[Mute, ...] = ()
    """Targeted villages where nothing has sounded, those without any loudspeaker first."""
    together: Together | None = None
    """None where each started as soon as it could."""
    doubt: str = ""
    """What is wrong with its sound, as far as anything was found."""
    airs: datetime | None = None
    """While it waits for an operator because of that: when it is aired all the same."""
    aired_by: str | None = None
    """Who did not let it wait."""
    standing: bool = False
    """Kept by its terminals; `not_reached` are those that do not hold it."""
    expires: datetime | None = None
    """Of a standing message: until when a hand may sound it."""
    hands: tuple[Hand, ...] = ()
    """Where a hand has sounded it, the latest first."""


TOGETHER_MS: Final = 1_000


def summarise(
    row: BroadcastRow,
    headline: str,
    facts: Mapping[str, Facts],
    terminals: Mapping[str, Terminal],
    county: County,
    *,
    waiting: int,
    last_seen: Callable[[str], int | None],
    silent_villages: Iterable[str] = (),
    is_generic: Callable[[str], bool] = lambda _: False,
    clock_error: Callable[[str], int | None] = lambda _: None,
    doubted: BroadcastRow | None = None,
    by_hand: Iterable[str] = (),
) -> Summary:
    """`doubted`: the row as it is stored, which alone knows of doubts. `by_hand`: terminals where a hand
    sounds it now. `last_seen`: wire ms of a terminal's last authenticated word, None for never.
    `clock_error`: how far its clock may be off, ms, or None."""
    superseded = row.state is BroadcastState.SUPERSEDED
    doubted = doubted or row
    standing = row.broadcast.standing
    waits = row.state is BroadcastState.VOICING and doubted.aired_by is None
    villages: dict[str, list[str]] = {}
    sounding: set[str] = set()
    by_township: dict[str, list[Facts]] = {}
    missing: list[NotReached] = []
    for terminal_id, known in facts.items():
        terminal = terminals.get(terminal_id)
        village = None if terminal is None else county.village(terminal.village)
        township = county.township(village.township_key) if village else None
        by_township.setdefault(township.key if township else "", []).append(known)
        seen = delivery.shown(known)
        words = (
            f"not sent: {row.stopped_by} replaced it" if superseded else _words(known, last_seen(terminal_id))
        )
        if terminal is not None:
            villages.setdefault(terminal.village, []).append(words)
            if delivery.has_sounded(known):
                sounding.add(terminal.village)
        if not (delivery.holds(known) if standing else seen.state is State.PLAYED):
            missing.append(
                NotReached(
                    terminal_id,
                    terminal.name if terminal else "",
                    village.name if village else "",
                    township.name if township else "",
                    seen.state,
                    seen.reason,
                    words,
                    delivery.has_sounded(known),
                )
            )
    names = {t.key: t.name for t in county.townships}
    order = [t.key for t in county.townships if t.key in by_township]
    order += [key for key in by_township if key not in names]
    published = min(
        (value[0] for known in facts.values() for key, value in known.items() if key[1] is State.SENT),
        default=0,
    )
    return Summary(
        id=row.broadcast.id,
        alert=row.broadcast.alert_id,
        kind=row.broadcast.kind,
        part=row.broadcast.part,
        state=row.state,
        headline=headline,
        created=moment(row.created),
        voiced=moment(row.sending) if row.sending else None,
        done=moment(row.done) if row.done else None,
        stopped_by=row.stopped_by,
        total=_count("", county.name, facts.values()),
        townships=tuple(_count(key, names.get(key, "?"), by_township[key]) for key in order),
        latency={s: found for s in ROAD if (found := _latency(s, facts.values(), published)) is not None},
        not_reached=tuple(sorted(missing, key=lambda m: (m.township, m.village, m.terminal))),
        silent_villages=tuple("".join(place_of(v, county)) for v in silent_villages),
        waiting=waiting,
        seconds=max((v.seconds for v in row.broadcast.variants), default=0.0),
        repeats=row.broadcast.repeats,
        clip=next((v.sha256 for v in row.broadcast.variants), None),
        generic=any(is_generic(v.sha256) for v in row.broadcast.variants),
        mute=() if standing else _mute(villages, sounding, silent_villages, county),
        together=_together(row.broadcast.play_at, facts, clock_error),
        doubt=doubted.doubt,
        airs=moment(doubted.airs) if doubted.airs and waits else None,
        aired_by=doubted.aired_by,
        standing=standing,
        expires=moment(row.broadcast.expires_ms) if standing else None,
        hands=hands(facts, terminals, county, by_hand),
    )


def chain(facts: Facts, last_seen: int | None, replaced_by: str = "") -> Chain:
    """`replaced_by`: the broadcast that took its place before it was sent."""
    seen = delivery.shown(facts)
    order = sorted(facts.items(), key=lambda item: (item[0][0], item[1][0], delivery.rank(item[0])))
    return Chain(
        seen.state,
        seen.reason,
        f"not sent: {replaced_by} replaced it" if replaced_by else _words(facts, last_seen),
        delivery.has_sounded(facts),
        last_seen,
        tuple(Step(at, attempt, state, reason, text) for (attempt, state, reason), (at, text) in order),
    )


def unheard(parts: Sequence[tuple[Summary, Collection[str]]]) -> tuple[tuple[str, NotReached], ...]:
    """The terminals where nothing of a message has sounded: the last of its broadcasts for each, and what is
    known of it there. `parts`: its broadcasts, oldest first, with the terminals of each; no all-clear."""
    last: dict[str, tuple[str, NotReached]] = {}
    heard: set[str] = set()
    for summary, terminals in parts:
        mute = {row.terminal: (summary.id, row) for row in summary.not_reached if not row.sounded}
        heard.update(set(terminals) - mute.keys())
        last |= mute
    found = (known for terminal, known in last.items() if terminal not in heard)
    return tuple(sorted(found, key=lambda known: (known[1].township, known[1].village, known[1].terminal)))


def _mute(
    villages: Mapping[str, Sequence[str]], sounding: Set[str], empty: Iterable[str], county: County
) -> tuple[Mute, ...]:
    found = []
    for key in (*empty, *sorted(set(villages) - sounding)):
        said = Counter(villages.get(key, ()))
        township, village = place_of(key, county)
        words = tuple(text if count == 1 else f"{count} × {text}" for text, count in said.most_common())
        found.append(Mute(village, township, sum(said.values()), words))
    return tuple(sorted(found, key=lambda m: (m.targeted > 0, m.township, m.village)))


def _together(
    play_at: int, facts: Mapping[str, Facts], clock_error: Callable[[str], int | None]
) -> Together | None:
    if not play_at:
        return None
    starts = {
        terminal: min(times)
        for terminal, known in facts.items()
        if (times := [value[0] for key, value in known.items() if _is(key, State.PLAYING)])
    }
    on_time = {t: at for t, at in starts.items() if at <= play_at + TOGETHER_MS}
    errors = [error for t in on_time if (error := clock_error(t)) is not None]
    spread = max(on_time.values()) - min(on_time.values()) if len(on_time) > 1 else None
    return Together(
        moment(play_at),
        len(on_time),
        len(starts) - len(on_time),
        spread,
        max(errors, default=None),
        len(on_time) - len(errors),
    )


def _count(key: str, name: str, deliveries: Iterable[Facts]) -> Row:
    counts = dict.fromkeys(ROAD, 0)
    targeted = failed = silent = only_floor = 0
    for facts in deliveries:
        targeted += 1
        states = {k[1] for k in facts if k[2] != delivery.FLOOR}
        reached = max((n for n, state in enumerate(ROAD) if state in states), default=-1)
        for state in ROAD[: reached + 1]:
            counts[state] += 1
        shown = delivery.shown(facts)
        only_floor += shown.floor
        if shown.state in (State.REFUSED, State.FAILED, State.CANCELLED) or (
            shown.state is State.EXPIRED and shown.reason != delivery.UNREACHED
        ):
            failed += 1
        elif not states - {State.SENT, State.EXPIRED} and not shown.floor:
            silent += 1
    return Row(
        key,
        name,
        targeted,
        accepted=counts[State.ACCEPTED],
        ready=counts[State.READY],
        playing=counts[State.PLAYING],
        played=counts[State.PLAYED],
        failed=failed,
        silent=silent,
        floor=only_floor,
    )


def _latency(state: State, deliveries: Iterable[Facts], published: int) -> Latency | None:
    times = [
        min(value[0] for key, value in facts.items() if _is(key, state)) - published
        for facts in deliveries
        if any(_is(key, state) for key in facts)
    ]
    return Latency(min(times), int(median(times)), max(times)) if times and published else None


def _ours(key: FactKey) -> bool:
    """Whether the controller itself recorded it."""
    return key[2] in (delivery.UNREACHED, "not-sent")


def _is(key: FactKey, state: State) -> bool:
    return key[1] is state and key[2] != delivery.FLOOR


def _words(facts: Facts, last_seen: int | None) -> str:
    seen = delivery.shown(facts)
    said = [value[0] for key, value in facts.items() if key[1] is not State.SENT and not _ours(key)]
    heard = max(said, default=None)
    ago = "never seen" if last_seen is None else f"last seen {_clock(last_seen)}"
    if seen.state is State.PENDING:
        return "not sent yet"
    if seen.floor:
        at = min(value[0] for key, value in facts.items() if key[2] == delivery.FLOOR)
        sounded = f"only the generic sentence sounded, at {_clock(at)}"
        if seen.state in (State.FAILED, State.EXPIRED):
            return f"{sounded}; the message {seen.state} {seen.reason}"
        return f"{sounded}; the message is missing, {ago}"
    if seen.state is State.SENT or seen.reason == delivery.UNREACHED:
        since = min((value[0] for key, value in facts.items() if key[1] is State.SENT), default=None)
        if heard is not None and seen.state is State.EXPIRED:
            return f"nothing after {_clock(heard)}, {ago}"
        return f"no report since {_clock(since)}, {ago}" if since else f"no report, {ago}"
    if seen.state in (State.REFUSED, State.FAILED, State.CANCELLED, State.EXPIRED):
        return " ".join(x for x in (seen.state, seen.reason, f"({seen.detail})" if seen.detail else "") if x)
    return (
        f"{seen.state} since {_clock(seen.at)}, nothing after {_clock(heard)}" if heard else seen.state.value
    )


def _clock(ms: int) -> str:
    return moment(ms).astimezone(BEIJING).strftime("%H:%M:%S")


def place_of(village: str, county: County) -> tuple[str, str]:
    """Names of its township and of itself; of one that the county pack has no more, nothing and its key."""
    try:
        known = county.village(village)
    except KeyError:
        return "", village
    return county.township(known.township_key).name, known.name
