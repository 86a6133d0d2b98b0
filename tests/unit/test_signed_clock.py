"""The terminal's signed clock: what an honest line, a slow one and a liar on the line can do to it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from terminals.agent.clock import DRIFT_PPM, NONCE_MS, QUESTIONS, TOLERANCE_MS, Followed, SignedClock

TRUE = 1_800_000_000_000


def test_an_answer_is_right_to_half_its_round_trip() -> None:
    clock = SignedClock()
    assert clock.now(0) is None
    assert clock.error_ms(0) is None
    assert clock.hear(TRUE, 1_000, 1_100, 0) is Followed.FIRST
    assert clock.now(1_100) == TRUE + 50
    assert clock.error_ms(1_100) == 50
    assert clock.now(2_100) == TRUE + 1_050


def test_the_error_grows_with_the_drift_of_the_quartz() -> None:
    clock = SignedClock()
    clock.hear(TRUE, 0, 0, 0)
    assert clock.error_ms(1_000_000) == DRIFT_PPM
    assert clock.error_ms(1) == 1


def test_of_several_answers_the_nearest_is_kept_until_drift_makes_it_worse() -> None:
    clock = SignedClock()
    clock.hear(TRUE, 0, 20, 0)
    assert clock.hear(TRUE + 1_000, 1_000, 3_000, 0) is Followed.KEPT
    assert clock.error_ms(3_000) == 11
    assert clock.hear(TRUE + 4_010 - 2, 4_000, 4_004, 0) is Followed.YES
    assert clock.error_ms(4_004) == 2
    later = 4_004 + 4_000_000
    assert clock.hear(TRUE + later, later - 100, later, 0) is Followed.YES


def test_a_nonce_is_answered_once_and_in_time_and_only_the_last_are_open() -> None:
    clock = SignedClock()
    clock.ask("a", 0)
    assert clock.answered("b", 1) is None
    assert clock.answered("a", NONCE_MS) == 0
    assert clock.answered("a", NONCE_MS) is None
    clock.ask("a", 0)
    assert clock.answered("a", NONCE_MS + 1) is None
    for n in range(QUESTIONS + 1):
        clock.ask(str(n), n)
    assert clock.answered("0", 10) is None
    assert clock.answered("1", 10) == 1
    clock.forget()
    assert clock.answered("2", 10) is None


def test_the_clock_does_not_start_below_the_floor_and_says_how_little_it_knows_then() -> None:
    clock = SignedClock()
    clock.hear(TRUE, 0, 10, TRUE + 5_000)
    assert clock.now(10) == TRUE + 5_000
    error = clock.error_ms(10)
    assert error is not None
    assert error >= 4_995


def test_a_controller_far_behind_is_not_followed_and_one_a_little_behind_is() -> None:
    clock = SignedClock()
    clock.hear(TRUE, 0, 10, 0)
    assert clock.hear(TRUE - TOLERANCE_MS - 1_000, 20, 30, 0) is Followed.BEHIND
    assert clock.now(30) == TRUE + 25
    assert clock.hear(TRUE - 60_000, 40, 50, 0) is Followed.YES
    assert clock.now(50) == TRUE - 60_000 + 5


def test_a_later_signed_word_moves_the_clock_forward_only_and_a_jump_makes_it_uncertain() -> None:
    clock = SignedClock()
    clock.at_least(TRUE, 0)
    assert clock.now(0) is None
    clock.hear(TRUE, 0, 100, 0)
    clock.at_least(TRUE - 1, 100)
    assert clock.now(100) == TRUE + 50
    clock.at_least(TRUE + 80, 100)
    assert (clock.now(100), clock.error_ms(100)) == (TRUE + 80, 50)
    clock.at_least(TRUE + 90_000, 100)
    error = clock.error_ms(100)
    assert error is not None
    assert error >= 89_000, "no countdown by such a clock"


@given(
    st.lists(
        st.tuples(st.integers(0, 100_000), st.integers(0, NONCE_MS), st.integers(0, NONCE_MS)),
        min_size=1,
        max_size=12,
    )
)
def test_whoever_delays_the_line_cannot_move_the_clock_by_more_than_it_says(
    rounds: list[tuple[int, int, int]],
) -> None:
    """(pause, delay upwards, delay downwards): an attacker holds questions and answers as he likes."""
    clock = SignedClock()
    mono = 0
    for pause, up, down in rounds:
        sent = mono + pause
        mono = sent + up + down
        before = clock.error_ms(mono)
        clock.hear(TRUE + sent + up, sent, mono, 0)
        now, error = clock.now(mono), clock.error_ms(mono)
        assert now is not None
        assert error is not None
        assert abs(now - (TRUE + mono)) <= error
        assert error <= (up + down + 1) // 2 if before is None else error <= max(before, 1)
