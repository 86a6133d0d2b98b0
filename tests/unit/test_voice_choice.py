"""Which voices may speak, in which order, with how much time, and why not the others."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts.voice import Kind
from tts.voices.choice import ONLINE_BUDGET_S, RED_BUDGET_S, Choices, Engine, Offer, voices_for

BY = {"approved_by": "扎西", "approved_on": "2026-11-01"}
BANK = Offer("ug", Engine.BANK, "bank:ug", timeout_s=0, **BY)
EDGE = Offer("ug", Engine.EDGE, "edge:x", online=True, **BY)
OFFLINE = Offer("ug", Engine.KOKORO, "zm_yunjian", timeout_s=240, **BY)
COMMAND = Offer("ug", Engine.COMMAND, "command:mms", timeout_s=20, **BY)
VENDOR = Offer("ug", Engine.HTTP, "http:vendor", online=True, timeout_s=20, **BY)
LOCAL = Offer("ug", Engine.HTTP, "http:local", timeout_s=20, **BY)
ESPEAK = Offer("ug", Engine.ESPEAK, "espeak:ug", **BY)
ALL = (ESPEAK, LOCAL, COMMAND, OFFLINE, EDGE, VENDOR, BANK)


def names(choices: Choices) -> list[str]:
    return [choice.offer.name for choice in choices.usable]


def test_the_order_is_recordings_online_offline_the_countys_own_espeak() -> None:
    found = voices_for("ug", "actual", ALL, red=False, fast=False)
    assert names(found) == [
        "bank:ug", "edge:x", "http:vendor", "zm_yunjian", "http:local", "command:mms", "espeak:ug",
    ]  # fmt: skip
    assert found.left_out == ()


@pytest.mark.parametrize(("red", "fast"), [(True, False), (False, True), (True, True)])
def test_red_and_fast_never_wait_for_the_internet(red: bool, fast: bool) -> None:
    found = voices_for("ug", "actual", ALL, red=red, fast=fast)
    assert not any(choice.offer.online for choice in found.usable)
    assert {out.offer.name for out in found.left_out} == {"edge:x", "http:vendor"}
    assert all("internet" in out.why for out in found.left_out)


def test_an_online_voice_has_two_seconds_where_another_works_offline_and_its_own_time_where_none_does() -> (
    None
):
    beside = voices_for("ug", "actual", (EDGE, ESPEAK), red=False, fast=False)
    assert [c.budget_s for c in beside.usable] == [ONLINE_BUDGET_S, ESPEAK.timeout_s]
    alone = voices_for("ug", "actual", (EDGE, BANK), red=False, fast=False)
    assert [c.budget_s for c in alone.usable] == [0, EDGE.timeout_s]


def test_a_red_warning_gives_the_countys_engine_less_time() -> None:
    found = voices_for("ug", "actual", (COMMAND, OFFLINE), red=True, fast=False)
    assert {c.offer.name: c.budget_s for c in found.usable} == {
        "zm_yunjian": 240,
        "command:mms": RED_BUDGET_S,
    }


def test_what_nobody_approved_is_left_out_of_actual_and_may_be_heard_in_drills() -> None:
    bare = Offer("ug", Engine.ESPEAK, "espeak:ug")
    refused = voices_for("ug", "actual", (bare,), red=False, fast=False)
    assert refused.usable == ()
    assert "approved" in refused.left_out[0].why
    for kind in ("exercise", "test"):
        assert names(voices_for("ug", kind, (bare,), red=False, fast=False)) == ["espeak:ug"]
    assert names(voices_for("ug", "actual", (bare,), red=False, fast=False, unapproved=True)) == ["espeak:ug"]


def test_what_the_machine_lacks_is_said_before_all_else() -> None:
    lost = Offer("ug", Engine.COMMAND, "command:mms", missing="there is no program")
    (out,) = voices_for("ug", "test", (lost,), red=False, fast=False, unapproved=True).left_out
    assert out.why == "there is no program"


def test_a_language_without_a_voice_has_none_and_no_reason_of_another() -> None:
    assert voices_for("bo", "actual", ALL, red=False, fast=False) == Choices((), ())
    assert voices_for(
        "zh", "actual", (Offer("zh-TW", Engine.EDGE, "edge:y", **BY),), red=False, fast=False
    ) == (Choices((), ()))


offers = st.builds(
    Offer,
    language=st.sampled_from(["zh", "ug"]),
    engine=st.sampled_from(list(Engine)),
    name=st.sampled_from("abcdef"),
    online=st.booleans(),
    timeout_s=st.floats(0, 240),
    approved_by=st.sampled_from(["", "扎西"]),
    missing=st.sampled_from(["", "gone"]),
)


@given(st.lists(offers, max_size=8, unique=True))
def test_every_voice_of_the_language_is_used_or_has_its_reason_and_none_unapproved_is_actual(
    given_offers: list[Offer],
) -> None:
    for kind, red, fast in product(get_args(Kind), (False, True), (False, True)):
        found = voices_for("ug", kind, given_offers, red=red, fast=fast)
        taken = [c.offer for c in found.usable]
        told = [out.offer for out in found.left_out]
        assert sorted(map(repr, taken + told)) == sorted(repr(o) for o in given_offers if o.language == "ug")
        assert all(out.why for out in found.left_out)
        assert not any(o.missing for o in taken)
        assert kind != "actual" or all(o.approved_by for o in taken)
        assert not ((red or fast) and any(o.online for o in taken))
        assert all(0 <= c.budget_s <= c.offer.timeout_s for c in found.usable)
