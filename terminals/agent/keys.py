"""Which keys a terminal believes: its ring, renewed under the root of its enrolment. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Collection

from terminals.agent.kept import Durable
from terminals.seal import SOUNDING, KeyRing, KeyRole, OpenedCommand, RingError, SealError, renewed


def kept_ring(
    enrolled: KeyRing, version: int, durable: Durable, opener: Callable[[bytes, KeyRing], OpenedCommand]
) -> tuple[KeyRing, int, str]:
    """(ring to believe at a start, its version, what was wrong with the kept one or ""): the one taken last,
    its seal verified anew under the root of this enrolment, else the `enrolled` one of `version`."""
    if durable.ring_version <= version:
        return enrolled, version, ""
    try:
        opened = opener(durable.ring.encode("latin-1"), enrolled)
        return renewed(enrolled, opened.body), durable.ring_version, ""
    except (SealError, RingError) as error:
        return enrolled, version, f"the kept ring is not this enrolment's: {error}; its own keys are taken"


def lacking(keys: KeyRing, kinds: Collection[KeyRole], now: int) -> str:
    """The role without which a terminal that takes `kinds` would be deaf, "" if none: the service key,
    without which it gets no time, and the key of real warnings (of a terminal that takes none: of any kind
    it takes)."""
    roles = {role for k, (role, _) in keys.keys.items() if keys.until.get(k, now + 1) > now}
    if KeyRole.SERVICE not in roles:
        return KeyRole.SERVICE.value
    wanted = SOUNDING & frozenset(kinds)
    if KeyRole.ACTUAL in wanted:
        return "" if KeyRole.ACTUAL in roles else KeyRole.ACTUAL.value
    return "" if wanted & roles else "sounding"


def has_lapsed(ring: KeyRing, key_id: str, now: int) -> bool:
    """Whether the ring gives this key an end, and it is over."""
    until = ring.until.get(key_id)
    return until is not None and now >= until
