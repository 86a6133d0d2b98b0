"""A stand-in, a standing message and the state machine of a delivery."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from terminals.delivery import (
    BY_HAND,
    FLOOR,
    OVER,
    RESUMED,
    Ask,
    FactKey,
    Policy,
    Send,
    Settled,
    State,
    Tried,
    WaitUntil,
    fold,
    has_sounded,
    is_message,
    is_settled,
    next_action,
    shown,
)

POLICY = Policy(expires=1_000_000, seconds=20.0, quiet=300)
STANDING = Policy(expires=1_000_000, seconds=20.0, quiet=300, standing=True)


def facts(*keys: FactKey) -> dict[FactKey, tuple[int, str]]:
    return {key: (n + 1, "") for n, key in enumerate(keys)}


ACCEPTED: FactKey = (1, State.ACCEPTED, "")
STAND_IN: FactKey = (1, State.PLAYING, FLOOR)
READY: FactKey = (1, State.READY, "")


def test_a_stand_in_is_shown_as_such_until_the_message_is_heard() -> None:
    seen = shown(facts(ACCEPTED, STAND_IN))
    assert (seen.state, seen.reason, seen.floor) == (State.PLAYING, FLOOR, True)
    seen = shown(facts(ACCEPTED, STAND_IN, READY))
    assert (seen.state, seen.floor) == (State.READY, True)
    seen = shown(facts(ACCEPTED, STAND_IN, READY, (1, State.PLAYING, "")))
    assert (seen.state, seen.reason, seen.floor) == (State.PLAYING, "", False)
    seen = shown(facts(ACCEPTED, STAND_IN, READY, (1, State.PLAYING, ""), (1, State.PLAYED, "")))
    assert (seen.state, seen.floor) == (State.PLAYED, False)
    assert shown(facts(ACCEPTED, READY)).floor is False


def test_a_failure_keeps_its_reason_and_tells_that_the_stand_in_was_heard() -> None:
    seen = shown(facts(ACCEPTED, (1, State.FAILED, "fetch"), STAND_IN))
    assert (seen.state, seen.reason, seen.floor) == (State.FAILED, "fetch", True)
    seen = shown(facts(ACCEPTED, STAND_IN, (2, State.FAILED, "fetch")))
    assert seen.floor is True, "of an earlier attempt too"


def test_who_heard_the_stand_in_is_owed_the_all_clear() -> None:
    assert has_sounded(facts(ACCEPTED, STAND_IN))


def test_a_stand_in_settles_nothing_and_the_controller_asks_again() -> None:
    known = facts(ACCEPTED, STAND_IN)
    assert not is_settled(known, POLICY)
    tried = Tried(attempt=1, sent=1_000, heard=2_000)
    action = next_action(known, tried, 2_001, POLICY)
    assert isinstance(action, WaitUntil)
    assert isinstance(next_action(known, tried, action.at, POLICY), Ask)


def test_a_standing_message_is_done_when_it_is_ready_and_still_stoppable() -> None:
    tried = Tried(attempt=1, sent=1, heard=2)
    assert not is_settled(facts(ACCEPTED), STANDING)
    for known in (
        facts(ACCEPTED, READY),
        facts(ACCEPTED, READY, (1, State.PLAYING, BY_HAND)),
        facts(ACCEPTED, READY, (1, State.PLAYING, BY_HAND), (1, State.PLAYED, BY_HAND)),
        facts(ACCEPTED, READY, (1, State.PLAYING, BY_HAND), (1, State.INTERRUPTED, "")),
    ):
        assert is_settled(known, STANDING)
        assert next_action(known, tried, 10, STANDING) == Settled()
    stopping = Policy(expires=1_000_000, seconds=20.0, quiet=300, standing=True, stopping=True)
    assert not is_settled(facts(ACCEPTED, READY), stopping)
    assert is_settled(facts(ACCEPTED, READY, (1, State.CANCELLED, "stopped")), stopping)
    assert not is_settled(facts(ACCEPTED, READY), POLICY)


def test_who_refused_it_as_over_is_sent_it_again_only_when_the_clock_has_moved_its_window() -> None:
    refused = facts((1, State.SENT, ""), (1, State.REFUSED, OVER))
    moved = Policy(expires=1_000_000, seconds=20.0, quiet=300, moved=True)
    assert is_settled(refused, POLICY)
    assert next_action(refused, Tried(1, sent=1, heard=2), 1_000, moved) == Send(2)
    third = facts((3, State.REFUSED, OVER))
    assert is_settled(third, moved), "three times is enough"


keys = st.tuples(
    st.integers(1, 3),
    st.sampled_from([State.ACCEPTED, State.READY, State.PLAYING, State.PLAYED, State.FAILED]),
    st.sampled_from(["", FLOOR, RESUMED, "fetch"]),
).filter(lambda key: key[2] != FLOOR or key[1] is State.PLAYING)


@given(st.lists(keys, max_size=8), st.randoms())
def test_only_the_message_ever_takes_the_mark_away_whatever_the_order(
    told: list[FactKey], chance: Any
) -> None:
    known = fold({}, [(key, (1, "")) for key in told])
    chance.shuffle(told)
    again = fold({}, [(key, (1, "")) for key in told])
    assert shown(known) == shown(again)
    heard = any(is_message(key) for key in known)
    stood_in = any(key[2] == FLOOR for key in known)
    assert shown(known).floor == (stood_in and not heard)
    if shown(known).floor:
        assert shown(known).state is not State.PLAYED
