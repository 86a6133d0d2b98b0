"""A silent test goes the whole way of a message, and nothing is heard: not even what stands in for it."""

from __future__ import annotations

import pytest

from support.terminal import Rig, clip, kinds
from terminals.agent.core import Sound
from terminals.delivery import State, has_sounded, shown
from terminals.wire import Play


def a_test(rig: Rig, **changes: object) -> Play:
    return rig.play("b1", role="test", silent=True, repeats=1, priority=(2, 1, 5, 4), **changes)


def facts_of(rig: Rig) -> dict[tuple[int, State, str], tuple[int, str]]:
    return {(f.attempt, State(f.state), f.reason): (f.at, f.detail) for f in rig.reports()[-1].facts}


def test_it_is_decoded_and_played_at_volume_nothing_and_told_as_silent() -> None:
    rig = Rig()
    effects = rig.give(a_test(rig))
    sound = next(e for e in effects if isinstance(e, Sound))
    assert (sound.volume, sound.clip, sound.signal) == (0, clip(), "")
    rig.started()
    rig.finished()
    assert rig.states() == ["accepted", "ready", "playing:silent", "played:silent"]
    rig.sync()
    assert rig.hello.health.last_sound == 0


def test_nobody_counts_it_as_heard() -> None:
    rig = Rig()
    rig.give(a_test(rig))
    rig.started()
    rig.finished()
    facts = facts_of(rig)
    assert shown(facts).state is State.PLAYED
    assert not has_sounded(facts)


@pytest.mark.parametrize("role", ["actual", "exercise"])
def test_what_is_no_test_cannot_be_made_silent(role: str) -> None:
    rig = Rig()
    rig.give(rig.play(role=role, silent=True))
    assert rig.facts() == {(1, "refused", "wrong-role")}
    assert rig.sounding is None


def test_a_standing_message_cannot_be_silent() -> None:
    rig = Rig()
    rig.give(a_test(rig, standing=True))
    assert rig.facts() == {(1, "refused", "wrong-role")}


def test_without_its_clip_it_fails_and_no_stand_in_is_heard() -> None:
    rig = Rig(held=())
    rig.give(a_test(rig, patience_ms=0, signal="test", hazard="rainstorm"))
    rig.wait(600_000, tick=True)
    assert rig.sounding is None
    for _ in range(3):
        rig.fetched(1, problem="no route")
        rig.wait(60_000)
        assert rig.sounding is None
    assert rig.states()[-1].startswith("failed:")
    assert not has_sounded(facts_of(rig))


def test_a_clip_that_is_no_sound_fails_and_nothing_is_heard() -> None:
    rig = Rig()
    rig.give(a_test(rig, signal="test"))
    rig.broke(reason="decode", detail="not one sample")
    rig.wait(60_000)
    assert rig.sounding is None
    assert (State.FAILED, "decode") in {(s, r) for _, s, r in facts_of(rig)}


def test_a_warning_cuts_it_at_once_and_what_it_says_of_that_is_silent_too() -> None:
    rig = Rig()
    rig.give(a_test(rig))
    rig.started()
    effects = rig.give(rig.play("a1"))
    assert kinds(effects)[:3] == ["Save", "Silence", "Sound"]
    assert rig.sounding == "a1"
    assert rig.states()[-1] == "preempted:silent"
    rig.started("a1")
    rig.finished("a1")
    assert rig.sounding == "b1"
    assert rig.speaker is not None
    assert rig.speaker.volume == 0
    assert not has_sounded(facts_of(rig))


def test_a_power_cut_in_it_is_no_sound_either() -> None:
    rig = Rig()
    rig.give(a_test(rig))
    rig.started()
    rig.boot()
    assert "interrupted:silent" in rig.states()
    assert not has_sounded(facts_of(rig))
