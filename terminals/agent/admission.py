"""May this Play sound here? Pure functions; what was heard before is `ledger`'s."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from terminals.agent.kept import Record
from terminals.agent.keys import has_lapsed
from terminals.agent.ledger import Reason, stands
from terminals.delivery import State
from terminals.seal import KeyRing, KeyRole, OpenedCommand
from terminals.wire import Play

MAX_LIFETIME_MS: Final = 24 * 3_600_000
"""expires − issued of a Play (design §5): how long a counter must be kept."""
MAX_STANDING_MS: Final = 400 * 24 * 3_600_000
"""The same of a standing message: a year and what its renewal may be late by."""
MAX_STANDING: Final = 32
"""Standing messages kept; each holds a record and a clip."""


def objection(
    opened: OpenedCommand,
    play: Play,
    now: int,
    *,
    kinds: Collection[KeyRole],
    ring: KeyRing,
    records: Mapping[str, Record],
) -> tuple[Reason, str] | None:
    """Why this genuine Play, not a repeat, may not sound at a terminal that takes `kinds`, believes `ring`
    and keeps `records`: the first reason and a detail for a person; None if it may. `now`: signed wire time,
    ms."""
    if opened.role.value != play.role or opened.role not in kinds:
        return Reason.WRONG_ROLE, f"{play.role} by a {opened.role} key"
    if play.silent and (opened.role is not KeyRole.TEST or play.standing or play.quake is not None):
        return Reason.WRONG_ROLE, "only a test may be silent"
    if opened.key_id not in ring.keys or has_lapsed(ring, opened.key_id, now):
        return Reason.UNKNOWN_KEY, f"{opened.key_id} is not believed any more"
    if play.expires - play.issued > (MAX_STANDING_MS if play.standing else MAX_LIFETIME_MS):
        return Reason.LIFETIME, f"{(play.expires - play.issued) // 1000} s"
    if now >= play.expires:
        return Reason.EXPIRED, f"{(now - play.expires) // 1000} s ago by the signed clock"
    if max(play.not_before, play.play_at) >= play.expires:
        return Reason.WINDOW, "it would begin after it ends"
    if play.standing and _is_full_of_standing(records, play.broadcast):
        return Reason.DEVICE_BUSY, f"{MAX_STANDING} standing messages are kept already"
    for record in records.values():
        later = record.play
        if later is None or not later.replaces or record.outcome is not State.PLAYED:
            continue
        if play.broadcast in later.replaces and record.role == opened.role:
            return Reason.REPLACED, record.broadcast
    return None


def _is_full_of_standing(records: Mapping[str, Record], broadcast: str) -> bool:
    return sum(stands(r) for b, r in records.items() if b != broadcast) >= MAX_STANDING


def may_retry(record: Record, attempt: int, *, lacks_message: bool) -> bool:
    """Only what failed or was refused, and was never played, is tried again, by a higher attempt.
    `lacks_message`: its message failed while its stand-in may still sound."""
    failed = record.outcome in (State.FAILED, State.REFUSED) or lacks_message
    return (
        attempt > record.attempt and failed and not any(fact.state == State.PLAYED for fact in record.facts)
    )
