"""Not reached is a fact: what is known of each, the mute villages first, and never a guess."""

from __future__ import annotations

from dataclasses import replace

import pytest

from config.counties import load_county
from controller.store.records import BroadcastRow, BroadcastState
from controller.summary import Summary, chain, summarise, unheard
from terminals import delivery
from terminals.broadcast import Broadcast, Kind, Lane, Priority, Variant
from terminals.delivery import Facts, State
from terminals.model import Terminal

COUNTY = load_county("zhouqu").county
VILLAGES = [v.key for v in COUNTY.villages[:3]]
TERMINALS = {f"t-{n}": Terminal(f"t-{n}", f"t-{n}", v, enrolled=True) for n, v in enumerate(VILLAGES)}
T0 = 1_795_000_000_000
SENT: Facts = {(1, State.SENT, ""): (T0, "")}
PLAYED: Facts = {**SENT, (1, State.PLAYING, ""): (T0 + 900, ""), (1, State.PLAYED, ""): (T0 + 9_000, "")}
FLOOR: Facts = {
    **SENT,
    (1, State.ACCEPTED, ""): (T0 + 100, ""),
    (1, State.PLAYING, delivery.FLOOR): (T0 + 20_000, ""),
}


def told(facts: dict[str, Facts], *, play_at: int = 0, **changes: object) -> Summary:
    plan = Broadcast(
        "B1", "A1", "e", Kind.ACTUAL, Priority.of(Kind.ACTUAL, Lane.NORMAL, 2, 4), tuple(facts), (),
        (Variant("zh", "mp3", "a" * 64, 1, 5.0),), 1, 100, T0 + 60_000, play_at=play_at,
    )  # fmt: skip
    row = replace(BroadcastRow(BroadcastState.SENDING, T0, plan, b"{}"), **changes)  # type: ignore[arg-type]
    return summarise(
        row, "h", facts, TERMINALS, COUNTY,
        waiting=0,
        last_seen={"t-1": T0 - 60_000}.get,
        silent_villages=[COUNTY.villages[5].key],
        clock_error={"t-0": 7}.get,
    )  # fmt: skip


def words_of(summary: Summary, terminal: str) -> str:
    return next(m.words for m in summary.not_reached if m.terminal == terminal)


def test_villages_where_nothing_sounded_come_first_and_say_what_is_known() -> None:
    refused: Facts = {**SENT, (1, State.REFUSED, "bad-signature"): (T0 + 5, "")}
    summary = told({"t-0": PLAYED, "t-1": SENT, "t-2": refused})
    assert [m.targeted for m in summary.mute] == [0, 1, 1]  # that without any loudspeaker first
    assert COUNTY.village(VILLAGES[0]).name not in [m.village for m in summary.mute]
    assert "refused bad-signature" in {w for m in summary.mute for w in m.words}
    assert "no report since" in words_of(summary, "t-1")
    assert "last seen" in words_of(summary, "t-1")


def test_the_generic_sentence_alone_is_not_counted_as_playing_and_is_said() -> None:
    summary = told({"t-0": FLOOR})
    assert (summary.total.floor, summary.total.playing, summary.total.silent) == (1, 0, 0)
    assert "generic sentence" in words_of(summary, "t-0")
    assert State.PLAYING not in summary.latency
    assert [m.targeted for m in summary.mute] == [0]  # something was heard in its village


def test_what_was_replaced_before_it_was_sent_says_by_which() -> None:
    summary = told({"t-0": {}}, state=BroadcastState.SUPERSEDED, stopped_by="B2")
    assert words_of(summary, "t-0") == "not sent: B2 replaced it"


def test_given_up_after_a_last_word_it_says_when_that_was_and_no_cause() -> None:
    facts: Facts = {
        **SENT,
        (1, State.ACCEPTED, ""): (T0 + 100, ""),
        (1, State.EXPIRED, delivery.UNREACHED): (T0 + 99_000, ""),
    }
    words = words_of(told({"t-1": facts}), "t-1")
    assert words.startswith("nothing after")
    assert "last seen" in words


@pytest.mark.parametrize(("late", "started"), [(500, 2), (5_000, 1)])
def test_the_achieved_spread_counts_who_was_on_time_and_whose_clock_is_not_known(
    late: int, started: int
) -> None:
    second: Facts = {**SENT, (1, State.PLAYING, ""): (T0 + 900 + late, "")}
    together = told({"t-0": PLAYED, "t-1": second}, play_at=T0 + 900).together
    assert together is not None
    assert (together.started, together.late) == (started, 2 - started)
    assert together.spread_ms == (late if started == 2 else None)
    assert together.error_ms == 7
    assert together.unmeasured == started - 1


def test_a_terminals_chain_is_in_the_order_in_which_it_happened_and_says_what_is_known() -> None:
    facts: Facts = {
        (2, State.SENT, ""): (T0 + 9_000, ""),
        (1, State.FAILED, "fetch"): (T0 + 4_000, "404"),
        (1, State.ACCEPTED, ""): (T0 + 100, ""),
        (1, State.SENT, ""): (T0, ""),
        (2, State.INTERRUPTED, ""): (T0 + 12_000, ""),
        (2, State.PLAYING, ""): (T0 + 11_000, ""),
    }
    found = chain(facts, T0 + 12_000)
    assert [(s.attempt, s.state) for s in found.steps] == [
        (1, State.SENT), (1, State.ACCEPTED), (1, State.FAILED),
        (2, State.SENT), (2, State.PLAYING), (2, State.INTERRUPTED),
    ]  # fmt: skip
    assert (found.steps[2].reason, found.steps[2].detail) == ("fetch", "404")
    assert found.sounded, "what was cut short was heard"
    assert found.state is State.INTERRUPTED
    silent = chain({}, None, replaced_by="B2")
    assert (silent.words, silent.sounded, silent.steps) == ("not sent: B2 replaced it", False, ())


def test_a_message_is_unheard_only_where_none_of_its_broadcasts_has_sounded() -> None:
    """The lead was heard at t-1 and cut short at t-0; t-2 refused both; t-9 was in neither."""
    cut: Facts = {**SENT, (1, State.PLAYING, ""): (T0, ""), (1, State.INTERRUPTED, ""): (T0 + 5, "")}
    refused: Facts = {**SENT, (1, State.REFUSED, "expired"): (T0 + 5, "")}
    lead = told({"t-0": cut, "t-1": PLAYED, "t-2": SENT})
    whole = replace(told({"t-0": SENT, "t-1": SENT, "t-2": refused}), id="B2")
    everywhere = ("t-0", "t-1", "t-2")
    [(broadcast, missing)] = unheard([(lead, everywhere), (whole, everywhere)])
    assert (broadcast, missing.terminal, missing.reason) == ("B2", "t-2", "expired")
    assert {m.terminal for _, m in unheard([(whole, everywhere)])} == set(everywhere)
    assert unheard([]) == ()


def test_who_sounded_the_generic_sentence_first_began_the_message_late() -> None:
    late: Facts = {**FLOOR, (1, State.PLAYING, ""): (T0 + 31_000, "")}
    summary = told({"t-0": PLAYED, "t-1": late}, play_at=T0 + 20_000)
    assert summary.together is not None
    assert (summary.together.started, summary.together.late) == (1, 1)
    assert summary.together.spread_ms is None
