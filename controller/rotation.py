"""Which key of a role seals now, and who holds which ring. Pure.

While an older key is still believed, it reaches every terminal, and the new one only those that hold the new
ring. So the older one goes on until all that can hold it do, and gives way in any case before it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from terminals.seal import Signer

LATELY_MS: Final = 7 * 86_400_000
"""A terminal not heard for so long does not hold up a change of keys: it is out of use, and learns of the new
ring with its first hello."""
BEFORE_END_MS: Final = 24 * 3_600_000
"""So long before its end a key seals no more: what was sealed under it has expired by then (wire.md §2:
nothing is taken under a key from its end on, a Stop neither; a Play lives 24 h at most)."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Who holds the ring of `version`."""

    version: int
    enrolled: int
    holding: int
    waiting: tuple[str, ...]
    """Heard lately, and with an older ring."""
    ahead: tuple[str, ...]
    """With a newer ring than ours: a backup of the keys was restored, or somebody else has our root."""


def coverage(version: int, held: Mapping[str, int], seen: Mapping[str, int], now: int) -> Coverage:
    """`held`: each enrolled terminal's version; `seen`: when it was heard last, ms like `now`."""
    return Coverage(
        version,
        len(held),
        sum(1 for v in held.values() if v == version),
        tuple(sorted(t for t, v in held.items() if v < version and now - seen.get(t, 0) < LATELY_MS)),
        tuple(sorted(t for t, v in held.items() if v > version)),
    )


def sealing(keys: Sequence[Signer], until: Callable[[str], int], *, all_hold: bool, now: int) -> Signer:
    """Of the keys of one role, oldest first and at least one: the newest once all hold the ring; before that
    the oldest that does not end soon. `until`: wire ms, 0 for open, as is the newest."""
    if all_hold:
        return keys[-1]
    lasting = [key for key in keys if not until(key.key_id) or until(key.key_id) - now > BEFORE_END_MS]
    return lasting[0] if lasting else keys[-1]
