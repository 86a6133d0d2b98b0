"""Which key seals, who holds the ring, and who asks too often."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.rotation import BEFORE_END_MS, LATELY_MS, coverage, sealing
from controller.strangers import ADDRESSES, BURST, EACH_MS, Strangers
from terminals.seal import SIGNER_ENTROPY, KeyRole, Signer, new_signer

NOW = 1_795_000_000_000
KEYS = [new_signer(KeyRole.ACTUAL, bytes([n]) * SIGNER_ENTROPY) for n in (1, 2, 3)]
OLD, MIDDLE, NEW = KEYS
DAY = 86_400_000


def chosen(ends: dict[Signer, int], *, all_hold: bool) -> Signer:
    by_id = {key.key_id: end for key, end in ends.items()}
    return sealing(KEYS, lambda k: by_id.get(k, 0), all_hold=all_hold, now=NOW)


def test_the_newest_seals_once_all_hold_the_ring() -> None:
    assert chosen({OLD: NOW + 9 * DAY, MIDDLE: NOW + 20 * DAY}, all_hold=True) is NEW


def test_before_that_the_one_that_everybody_believes() -> None:
    assert chosen({OLD: NOW + 9 * DAY, MIDDLE: NOW + 20 * DAY}, all_hold=False) is OLD


def test_a_key_that_ends_within_a_day_gives_way_whoever_is_waiting() -> None:
    assert chosen({OLD: NOW + BEFORE_END_MS, MIDDLE: NOW + 20 * DAY}, all_hold=False) is MIDDLE
    assert chosen({OLD: NOW - 1, MIDDLE: NOW + 1}, all_hold=False) is NEW


@given(
    st.tuples(st.integers(-DAY, 40 * DAY), st.integers(-DAY, 40 * DAY)), st.booleans(), st.integers(0, DAY)
)
def test_what_is_sealed_now_is_believed_for_as_long_as_it_may_live(
    ends: tuple[int, int], all_hold: bool, later: int
) -> None:
    by_id = dict(zip((OLD.key_id, MIDDLE.key_id), (NOW + e for e in ends), strict=True))
    key = sealing(KEYS, lambda k: by_id.get(k, 0), all_hold=all_hold, now=NOW)
    assert key is NEW or by_id[key.key_id] > NOW + later


def test_a_terminal_long_unheard_holds_up_nobody_and_one_ahead_is_named() -> None:
    held = {"a": 3, "b": 2, "c": 1, "d": 4}
    seen = {"a": NOW, "b": NOW - 1, "c": NOW - LATELY_MS, "d": NOW}
    found = coverage(3, held, seen, NOW)
    assert (found.holding, found.enrolled, found.waiting, found.ahead) == (1, 4, ("b",), ("d",))


# --- who fails to enrol ---


def test_ten_thousand_failures_from_one_address_are_stopped_and_told_once() -> None:
    strangers = Strangers()
    told, tried = [], 0
    for n in range(10_000):
        if strangers.may_try("10.0.0.9", n):
            tried += 1
            told.append(strangers.failed("10.0.0.9", "wrong-code", n))
    assert tried <= BURST + 10_000 // EACH_MS + 1
    assert [bool(t) for t in told].count(True) == 1
    assert any("10.0.0.9" in t for t in told)
    assert strangers.may_try("10.0.0.8", 10_000), "a neighbour is not punished for it"


def test_patience_is_forgiven_and_success_never_counts() -> None:
    strangers = Strangers()
    for n in range(BURST):
        strangers.failed("a", "wrong-code", n)
    assert not strangers.may_try("a", BURST)
    assert strangers.may_try("a", BURST + 2 * EACH_MS)
    assert all(strangers.may_try("office", n) for n in range(10_000))


def test_many_addresses_fill_no_memory() -> None:
    strangers = Strangers()
    for n in range(3 * ADDRESSES):
        strangers.failed(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "wrong-code", n)
    assert len(strangers._of) == ADDRESSES
