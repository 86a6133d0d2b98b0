"""Villages → terminals: who is in, through which groups, and which villages have nobody."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Final

from alerts.regions import County
from terminals.model import Terminal

EVERYONE: Final = "all"
"""Group key of the whole county."""


def groups_of(village: str, county: County) -> tuple[str, ...]:
    """The groups of a terminal in this village, widest first. Raises KeyError for an unknown village."""
    return (EVERYONE, county.village(village).township_key, village)


@dataclass(frozen=True, slots=True)
class Selection:
    terminals: tuple[str, ...]
    """Ids, sorted."""
    groups: tuple[str, ...]
    """The fewest groups whose union is exactly these villages."""
    silent_villages: tuple[str, ...]
    """Targeted villages without an enrolled terminal: nobody there will hear it from us."""


def select(terminals: Iterable[Terminal], villages: Set[str], county: County) -> Selection:
    """Every enrolled terminal of these villages. Never widens: groups are exact covers."""
    chosen = [t for t in terminals if t.enrolled and t.village in villages]
    covered = {t.village for t in chosen}
    every = {v.key for v in county.villages}
    if villages >= every:
        groups: tuple[str, ...] = (EVERYONE,)
    else:
        whole = [t.key for t in county.townships if (own := county.villages_of(t.key)) and own <= villages]
        inside = {v for key in whole for v in county.villages_of(key)}
        groups = (*whole, *sorted(villages & every - inside))
    return Selection(
        terminals=tuple(sorted(t.id for t in chosen)),
        groups=groups,
        silent_villages=tuple(sorted(villages - covered)),
    )
