"""What an operator is told about one broadcast: counts, latencies, and who did not sound and why. Pure.

Absence is worded as what we know ("no report since …, last seen …"), never as a cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Final

from alerts.regions import County
from controller.clock import moment
from controller.ids import BEIJING
from controller.store.records import BroadcastRow
from terminals import delivery
from terminals.delivery import Facts, State
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


@dataclass(frozen=True, slots=True)
class NotReached:
    terminal: str
    name: str
    village: str
    township: str
    state: State
    reason: str
    words: str


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
) -> Summary:
    """`last_seen`: wire ms of a terminal's last authenticated word, None for never."""
    by_township: dict[str, list[Facts]] = {}
    missing: list[NotReached] = []
    for terminal_id, known in facts.items():
        terminal = terminals.get(terminal_id)
        village = None if terminal is None else county.village(terminal.village)
        township = county.township(village.township_key) if village else None
        by_township.setdefault(township.key if township else "", []).append(known)
        seen = delivery.shown(known)
        if seen.state is not State.PLAYED:
            missing.append(
                NotReached(
                    terminal_id,
                    terminal.name if terminal else "",
                    village.name if village else "",
                    township.name if township else "",
                    seen.state,
                    seen.reason,
                    _words(known, last_seen(terminal_id)),
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
        silent_villages=tuple(_village_name(v, county) for v in silent_villages),
        waiting=waiting,
        seconds=max((v.seconds for v in row.broadcast.variants), default=0.0),
        repeats=row.broadcast.repeats,
        clip=next((v.sha256 for v in row.broadcast.variants), None),
        generic=any(is_generic(v.sha256) for v in row.broadcast.variants),
    )


def _count(key: str, name: str, deliveries: Iterable[Facts]) -> Row:
    counts = dict.fromkeys(ROAD, 0)
    targeted = failed = silent = 0
    for facts in deliveries:
        targeted += 1
        states = {k[1] for k in facts}
        reached = max((n for n, state in enumerate(ROAD) if state in states), default=-1)
        for state in ROAD[: reached + 1]:
            counts[state] += 1
        shown = delivery.shown(facts)
        if shown.state in (State.REFUSED, State.FAILED, State.CANCELLED) or (
            shown.state is State.EXPIRED and shown.reason != delivery.UNREACHED
        ):
            failed += 1
        elif not states - {State.SENT, State.EXPIRED}:
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
    )


def _latency(state: State, deliveries: Iterable[Facts], published: int) -> Latency | None:
    times = [
        min(value[0] for key, value in facts.items() if key[1] is state) - published
        for facts in deliveries
        if any(key[1] is state for key in facts)
    ]
    return Latency(min(times), int(median(times)), max(times)) if times and published else None


def _words(facts: Facts, last_seen: int | None) -> str:
    seen = delivery.shown(facts)
    heard = max((value[0] for key, value in facts.items() if key[1] is not State.SENT), default=None)
    ago = "never seen" if last_seen is None else f"last seen {_clock(last_seen)}"
    if seen.state is State.PENDING:
        return "not sent yet"
    if seen.state is State.SENT or seen.reason == delivery.UNREACHED:
        since = min((value[0] for key, value in facts.items() if key[1] is State.SENT), default=None)
        return f"no report since {_clock(since)}, {ago}" if since else f"no report, {ago}"
    if seen.state in (State.REFUSED, State.FAILED, State.CANCELLED, State.EXPIRED):
        return " ".join(x for x in (seen.state, seen.reason, f"({seen.detail})" if seen.detail else "") if x)
    return (
        f"{seen.state} since {_clock(seen.at)}, nothing after {_clock(heard)}" if heard else seen.state.value
    )


def _clock(ms: int) -> str:
    return moment(ms).astimezone(BEIJING).strftime("%H:%M:%S")


def _village_name(key: str, county: County) -> str:
    village = county.village(key)
    return f"{county.township(village.township_key).name}{village.name}"
