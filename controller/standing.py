"""Standing messages as an operator sees them: who holds one, whose hand has sounded it, what is to be sent
anew. Pure.

A standing message lies at the terminals for the day when no line reaches them; only a hand there sounds it.
It is no warning in force (`controller.events`), and whoever holds it has not been warned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alerts.regions import County
from controller.store.records import BroadcastState
from terminals import delivery
from terminals.delivery import Facts, State
from terminals.model import Terminal

KEPT = (BroadcastState.VOICING, BroadcastState.SENDING, BroadcastState.DONE)
"""States of one that terminals hold or shall hold."""


@dataclass(frozen=True, slots=True)
class Cover:
    """Who holds it, in one township or everywhere."""

    key: str
    name: str
    terminals: int
    """Meant to hold it."""
    whole: int
    """Hold it, by their last word."""
    silent: int
    """Have not said a word about it."""
    problems: Mapping[str, int]
    """Why others do not, and how many each."""


@dataclass(frozen=True, slots=True)
class Hand:
    """A hand that has sounded it."""

    terminal: str
    name: str
    village: str
    township: str
    began: tuple[int, ...]
    """Wire ms of each time, by the terminal's clock, oldest first."""
    whole: int
    """How often it came to its end."""
    now: bool
    """Whether it sounds still, by the terminal's last word."""


def cover(
    facts: Mapping[str, Facts], terminals: Mapping[str, Terminal], county: County
) -> tuple[Cover, tuple[Cover, ...]]:
    """Everywhere, and per township, the worst first."""
    by_township: dict[str, list[Facts]] = {}
    for terminal, known in facts.items():
        by_township.setdefault(_township(terminal, terminals, county)[0], []).append(known)
    names = {t.key: t.name for t in county.townships}
    rows = [_cover(key, names.get(key, "?"), found) for key, found in by_township.items()]
    rows.sort(key=lambda row: (row.whole / row.terminals, row.name))
    return _cover("", county.name, facts.values()), tuple(rows)


def _cover(key: str, name: str, deliveries: Iterable[Facts]) -> Cover:
    terminals = whole = silent = 0
    problems: Counter[str] = Counter()
    for facts in deliveries:
        terminals += 1
        if delivery.holds(facts):
            whole += 1
        elif not {known[1] for known in facts} - {State.SENT}:
            silent += 1
        else:
            seen = delivery.shown(facts)
            ended = next((known for known in facts if known[1] is State.CANCELLED), None)
            problems[" ".join(filter(None, (ended or (0, seen.state, seen.reason))[1:]))] += 1
    return Cover(key, name, terminals, whole, silent, dict(problems))


def hands(
    facts: Mapping[str, Facts], terminals: Mapping[str, Terminal], county: County, now: Iterable[str] = ()
) -> tuple[Hand, ...]:
    """Every loudspeaker at which a hand has sounded it, the latest first. `now`: where it sounds still."""
    sounding = set(now)
    found = []
    for terminal, known in facts.items():
        began = tuple(sorted(value[0] for key, value in known.items() if delivery.is_by_hand(key)))
        if began:
            whole = sum(key[1] is State.PLAYED for key in known)
            _, township, village, name = _township(terminal, terminals, county)
            found.append(Hand(terminal, name, village, township, began, whole, terminal in sounding))
    return tuple(sorted(found, key=lambda hand: (-hand.began[-1], hand.terminal)))


def _township(terminal: str, terminals: Mapping[str, Terminal], county: County) -> tuple[str, str, str, str]:
    """Key and name of its township, its village, its own name; empty where the register has it no more."""
    known = terminals.get(terminal)
    if known is None:
        return "", "", "", ""
    village = county.village(known.village)
    return village.township_key, county.township(village.township_key).name, village.name, known.name


def anew(
    facts: Mapping[str, Facts],
    sealed: Iterable[str],
    believed: Iterable[str],
    until: Mapping[str, int],
    *,
    whole: bool = True,
) -> str:
    """Why it must be sent anew; empty while it need not be. `sealed`: ids of the keys that its commands are
    sealed by; `believed`: those of the ring; `until`: which of them end, wire ms. `whole`: whether its clips
    are still in the library (a backup has none)."""
    if not whole:
        return "send it anew: its clip is gone here, and who does not hold it cannot get it"
    keys, ring = set(sealed), set(believed)
    if gone := sorted(keys - ring):
        return f"send it anew: the key {gone[0]} that sealed it is not believed any more"
    if ending := sorted(key for key in keys if until.get(key)):
        return f"send it anew: the key {ending[0]} that sealed it ends soon"
    lost = sum(
        any(key[2] == "unknown-key" for key in known) and not delivery.holds(known)
        for known in facts.values()
    )
    return f"send it anew: {lost} loudspeakers do not believe the key that sealed it" if lost else ""
