"""The delivery machine: facts in any order, repeated, lost; it always makes progress and never lies."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from terminals import delivery
from terminals.delivery import Ask, GiveUp, Policy, Send, Settled, Shown, State, Tried, WaitUntil

REASONS = ("", "resumed", "fetch", "hash-mismatch", "amplifier", "unknown-key", "stopped", "unreached")
keys = st.tuples(st.integers(1, 4), st.sampled_from(State), st.sampled_from(REASONS))
values = st.tuples(st.integers(0, 10_000), st.sampled_from(("", "detail")))
facts = st.lists(st.tuples(keys, values), max_size=12)


@example([((1, State.SENT, ""), (5, ""))], [((1, State.SENT, ""), (3, ""))], [])
@given(facts, facts, facts)
def test_folding_is_commutative_associative_and_idempotent(a: list, b: list, c: list) -> None:
    fold = delivery.fold
    ab = fold(fold({}, a), b)
    assert ab == fold(fold({}, b), a)
    assert fold(fold({}, ab.items()), c) == fold({}, [*a, *fold(fold({}, b), c).items()])
    assert fold(ab, a) == ab
    assert fold(ab, ab.items()) == ab


@given(facts, st.randoms(use_true_random=False))
def test_what_is_shown_does_not_depend_on_the_order_of_arrival(known: list, shuffle: random.Random) -> None:
    mixed = [*known, *known]
    shuffle.shuffle(mixed)
    one_by_one: dict = {}
    for fact in mixed:
        one_by_one = delivery.fold(one_by_one, [fact])
    assert delivery.shown(one_by_one) == delivery.shown(delivery.fold({}, known))


@example([((2, State.SENT, ""), (1, ""))], (0, ""))
@given(facts, values)
def test_any_played_wins_however_late(known: list, value: tuple[int, str]) -> None:
    folded = delivery.fold(delivery.fold({}, known), [((1, State.PLAYED, ""), value)])
    assert delivery.shown(folded).state is State.PLAYED
    assert delivery.is_settled(folded, POLICY)


@given(facts)
def test_without_played_the_latest_attempt_is_shown(known: list) -> None:
    folded = delivery.fold({}, [f for f in known if f[0][1] is not State.PLAYED])
    if folded:
        assert delivery.shown(folded).attempt == max(key[0] for key in folded)


def test_a_forged_commands_refusal_does_not_hide_the_acceptance_of_the_real_one() -> None:
    folded = delivery.fold(
        {}, [((1, State.ACCEPTED, ""), (5, "")), ((1, State.REFUSED, "bad-signature"), (9, ""))]
    )
    assert delivery.shown(folded) == Shown(State.ACCEPTED, 1, "", 5, "")


def test_playing_again_after_a_power_cut_is_shown_as_playing() -> None:
    folded = delivery.fold(
        {},
        [
            ((1, State.PLAYING, ""), (1, "")),
            ((1, State.INTERRUPTED, ""), (2, "")),
            ((1, State.PLAYING, delivery.RESUMED), (3, "")),
        ],
    )
    assert delivery.shown(folded).reason == delivery.RESUMED


POLICY = Policy(expires=600_000, seconds=30.0, quiet=300)
tries = st.builds(
    Tried,
    attempt=st.integers(0, 4),
    sent=st.integers(0, 700_000),
    heard=st.integers(0, 700_000),
    unanswered=st.integers(0, 40),
)


@given(facts, tries, st.integers(0, 2_000_000), st.booleans())
def test_every_delivery_has_exactly_one_next_step_and_waiting_is_always_for_later(
    known: list, tried: Tried, now: int, stopping: bool
) -> None:
    folded = delivery.fold({}, known)
    policy = replace(POLICY, stopping=stopping)
    match delivery.next_action(folded, tried, now, policy):
        case WaitUntil(at):
            assert now < at
        case Send(attempt):
            assert now < policy.expires
            assert 1 <= attempt <= policy.attempts + 1
        case Settled():
            assert delivery.is_settled(folded, policy)
        case GiveUp():
            over = now >= policy.expires
            assert over or (stopping and tried.attempt == 0)
        case Ask():
            assert tried.attempt > 0


@example([], Tried(attempt=1, sent=600_000, unanswered=1), 600_400)
@given(facts, tries, st.integers(600_000, 2_000_000))
def test_nothing_is_sent_after_expiry(known: list, tried: Tried, now: int) -> None:
    assert not isinstance(delivery.next_action(delivery.fold({}, known), tried, now, POLICY), Send)


@dataclass
class World:
    """One terminal behind a bad link, and the controller, on a clock that jumps from event to event."""

    loss: float
    chance: random.Random
    deaf_until: int = 0
    fails: tuple[str, ...] = ()
    """Reasons with which its first attempts fail."""
    now: int = 0
    sends: int = 0
    asks: int = 0
    played_at: int | None = None

    def run(self, policy: Policy) -> dict[delivery.FactKey, delivery.FactValue]:
        known: dict[delivery.FactKey, delivery.FactValue] = {}
        own: dict[delivery.FactKey, delivery.FactValue] = {}
        tried = Tried()
        playing_until: int | None = None
        while True:
            if playing_until is not None and self.now >= playing_until and self.played_at is None:
                self.played_at = playing_until
                own[max(k[0] for k in own), State.PLAYED, ""] = (playing_until, "")
                if self.arrives():
                    known = delivery.fold(known, own.items())
                    tried = replace(tried, heard=self.now, unanswered=0)
            action = delivery.next_action(known, tried, self.now, policy)
            match action:
                case Settled() | GiveUp():
                    return known
                case WaitUntil(at):
                    stops = [at] + ([playing_until] if playing_until and self.played_at is None else [])
                    self.now = max(self.now + 1, min(stops))
                    continue
                case Send(attempt):
                    self.sends += 1
                    tried = replace(tried, attempt=max(attempt, tried.attempt), sent=self.now)
                case Ask():
                    self.asks += 1
                    attempt = 0
                    tried = replace(tried, sent=self.now)
            tried = replace(tried, unanswered=tried.unanswered + 1)
            if self.arrives():
                if attempt and not any(k[0] == attempt for k in own) and self.played_at is None:
                    own[attempt, State.ACCEPTED, ""] = (self.now, "")
                    if attempt <= len(self.fails):
                        own[attempt, State.FAILED, self.fails[attempt - 1]] = (self.now, "")
                    else:
                        own[attempt, State.PLAYING, ""] = (self.now, "")
                        playing_until = self.now + int(policy.seconds * 1000)
                if self.arrives():
                    if own:
                        known = delivery.fold(known, own.items())
                        tried = replace(tried, heard=self.now, unanswered=0)
                    elif not attempt:
                        tried = delivery.never_heard(tried, self.now)

    def arrives(self) -> bool:
        return self.now >= self.deaf_until and self.chance.random() >= self.loss


@settings(max_examples=200)
@example(0.5625, 9218)
@given(st.floats(0, 0.9), st.integers(0, 2**32))
def test_what_played_is_known_to_have_played_whatever_the_link_loses(loss: float, seed: int) -> None:
    world = World(loss, random.Random(seed))
    known = world.run(POLICY)
    if world.played_at is not None and world.played_at < POLICY.expires and loss < 0.6:
        # Or it was asked again and again, and by chance each word of it was lost (0.81 ** 30 at 0.56).
        assert delivery.shown(known).state is State.PLAYED or world.asks >= 20


def test_a_terminal_that_is_deaf_for_five_minutes_is_reached_and_not_shouted_at() -> None:
    world = World(0.0, random.Random(1), deaf_until=300_000)
    assert delivery.shown(world.run(POLICY)).state is State.PLAYED
    assert world.sends <= 20  # three at once, doubling to 30 s in 7 steps, then 9 more in 300 s


def test_a_dead_terminal_expires_and_the_machine_ends() -> None:
    world = World(1.0, random.Random(1))
    assert delivery.shown(world.run(POLICY)).state is not State.PLAYED
    assert world.now <= POLICY.expires + 30_000 + 60_000 + 30_000


def test_who_knows_nothing_of_it_is_sent_it_at_once_and_after_its_end_no_more() -> None:
    sent = {(1, State.SENT, ""): (0, "")}
    tried = delivery.never_heard(Tried(attempt=1, sent=400, unanswered=1), 401)
    assert delivery.next_action(sent, tried, 401, POLICY) == Send(1)
    asked = Tried(attempt=1, sent=POLICY.expires, unanswered=1)
    after = delivery.never_heard(asked, POLICY.expires + 20)
    assert delivery.next_action(sent, after, POLICY.expires + 20, POLICY) == GiveUp()


@pytest.mark.parametrize("stopping", [False, True])
@pytest.mark.parametrize("state", [State.SENT, State.ACCEPTED, State.READY, State.PLAYING, State.PREEMPTED])
def test_question_and_answer_do_not_chase_each_other(state: State, stopping: bool) -> None:
    """A terminal that says at once, whatever it gets, that it knows nothing of it."""
    known = {(1, state, ""): (0, "")}
    policy = replace(POLICY, stopping=stopping)
    tried, now, words = Tried(attempt=1, unanswered=1), 0, 0
    while words <= 60:  # 7 until the pause is 30 s, then one in each of 690 s, and some
        match delivery.next_action(known, tried, now, policy):
            case WaitUntil(at):
                now = at
            case Send() | Ask():
                words += 1
                asked = replace(tried, sent=now, unanswered=tried.unanswered + 1)
                tried = delivery.never_heard(asked, now)
            case _:
                return
    pytest.fail(f"{words} words within {now} ms")


@pytest.mark.parametrize("state", [State.ACCEPTED, State.PLAYING, State.INTERRUPTED])
def test_who_answers_a_stop_and_does_not_obey_is_told_ever_less_often(state: State) -> None:
    known = {(1, state, ""): (0, "")}
    policy = replace(POLICY, stopping=True)
    tried, now, words = Tried(attempt=1, unanswered=1), 0, 0
    while words <= 60:
        match delivery.next_action(known, tried, now, policy):
            case WaitUntil(at):
                now = at
            case Ask():
                words += 1
                told = replace(tried, sent=now, unanswered=tried.unanswered + 1)
                tried = delivery.answered(told, now + 20, fruitless=True)
            case _:
                return
    pytest.fail(f"{words} stops within {now} ms")


def test_a_broken_download_is_tried_again_and_a_dead_amplifier_is_not() -> None:
    broken = World(0.0, random.Random(1), fails=("hash-mismatch",))
    assert delivery.shown(broken.run(POLICY)).attempt == 2
    dead = World(0.0, random.Random(1), fails=("amplifier",))
    assert delivery.shown(dead.run(POLICY)).state is State.FAILED
    assert dead.sends == 1


def test_attempts_are_bounded() -> None:
    world = World(0.0, random.Random(1), fails=("fetch",) * 9)
    assert delivery.shown(world.run(POLICY)) == Shown(State.FAILED, 3, "fetch", world.now, "")


# --- hand-made mutants: each breaks one rule, and the property above must notice ------------------------


def _mutant(monkeypatch: pytest.MonkeyPatch, name: str, value: object, check: object) -> None:
    monkeypatch.setattr(delivery, name, value)
    with pytest.raises(AssertionError):
        check()  # type: ignore[operator]


def test_mutant_refusal_above_acceptance_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = {**delivery._RANK, State.REFUSED: 80}
    _mutant(
        monkeypatch,
        "_RANK",
        ranks,
        test_a_forged_commands_refusal_does_not_hide_the_acceptance_of_the_real_one,
    )


def test_mutant_last_report_wins_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def last_wins(known: dict, new: list) -> dict:
        return {**known, **dict(new)}

    _mutant(
        monkeypatch,
        "fold",
        last_wins,
        test_folding_is_commutative_associative_and_idempotent,
    )


def test_mutant_played_does_not_win_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def latest_only(known: dict) -> Shown:
        last = max(key[0] for key in known)
        top = max((key for key in known if key[0] == last), key=delivery.rank)
        return Shown(top[1], top[0], top[2], *known[top])

    _mutant(monkeypatch, "shown", latest_only, test_any_played_wins_however_late)


def test_mutant_no_doubling_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    _mutant(
        monkeypatch,
        "_patience",
        lambda tried, policy: policy.quiet,
        test_a_terminal_that_is_deaf_for_five_minutes_is_reached_and_not_shouted_at,
    )


def test_mutant_sending_after_expiry_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def when(due: int, now: int, send: Send, over: bool) -> object:
        return WaitUntil(due) if now < due else send

    _mutant(monkeypatch, "_when", when, test_nothing_is_sent_after_expiry)
