"""To whom a stop is owed, and when it is over there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terminals.delivery import (
    FLOOR,
    Ask,
    FactKey,
    GiveUp,
    Policy,
    Settled,
    State,
    Tried,
    WaitUntil,
    is_settled,
    may_stand_in,
    next_action,
)

GOING = Policy(expires=1_000_000, seconds=20.0, quiet=300, attempts=1)
STOPPING = replace(GOING, stopping=True)
SENT = Tried(attempt=1, sent=1_000, unanswered=1)
CANCELLED: FactKey = (1, State.CANCELLED, "stopped")


def facts(*keys: FactKey) -> dict[FactKey, tuple[int, str]]:
    return {key: (n + 1, "") for n, key in enumerate(keys)}


@pytest.mark.parametrize("reason", ["fetch", "hash-mismatch", "no-variant", "decode"])
def test_a_stop_is_asked_for_where_the_message_failed_and_its_stand_in_may_sound(reason: str) -> None:
    known = facts((1, State.ACCEPTED, ""), (1, State.FAILED, reason), (1, State.PLAYING, FLOOR))
    assert may_stand_in(known)
    assert is_settled(known, GOING)
    assert not is_settled(known, STOPPING)
    assert next_action(known, SENT, 10_000, STOPPING) == Ask()
    assert next_action(known | facts(CANCELLED), SENT, 10_000, STOPPING) == Settled()


@pytest.mark.parametrize("reason", ["amplifier", "stuck", "no-start", "unknown-key", "device-busy"])
def test_where_the_device_gave_up_nothing_is_left_to_stop(reason: str) -> None:
    known = facts((1, State.ACCEPTED, ""), (1, State.FAILED, reason))
    assert not may_stand_in(known)
    assert is_settled(known, STOPPING)


def test_a_refusal_that_may_be_of_a_forgery_does_not_end_a_stop() -> None:
    """Ours may be on its way behind it, and would sound."""
    forged = facts((1, State.REFUSED, "bad-signature"))
    assert not is_settled(forged, STOPPING)
    assert next_action(forged, SENT, 10_000, STOPPING) == Ask()
    later = facts((2, State.REFUSED, "bad-signature"), CANCELLED)
    assert is_settled(later, STOPPING), "the terminal's own word for it, whatever it refused since"
    assert is_settled(facts((1, State.REFUSED, "expired")), STOPPING)


def test_a_stop_that_is_never_answered_ends_all_the_same() -> None:
    known = facts((1, State.FAILED, "fetch"))
    over = STOPPING.expires + 80_000
    assert next_action(known, replace(SENT, unanswered=40), over, STOPPING) == GiveUp()


def test_a_further_attempt_that_is_on_its_way_is_owed_the_stop_too() -> None:
    """It was refused as over by a board whose clock was a day ahead, and sent again in that board's time."""
    refused = facts((1, State.REFUSED, "expired"))
    assert is_settled(refused, STOPPING, 1)
    assert not is_settled(refused, STOPPING, 2)
    assert isinstance(next_action(refused, Tried(2, sent=1_000), 1_100, STOPPING), WaitUntil)
    assert isinstance(next_action(refused, Tried(2, sent=1_000), 2_000, STOPPING), Ask)
    assert is_settled(facts((1, State.REFUSED, "expired"), (1, State.CANCELLED, "stopped")), STOPPING, 2)
