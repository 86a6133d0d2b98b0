"""There is always a sound: what a terminal does that lacks its message, and how it counts down."""

from __future__ import annotations

from typing import Any

import pytest

from support.terminal import EPOCH, HOUR, Rig, clip, kinds, staged_clip
from terminals.agent.core import Fetch, Sound
from terminals.delivery import FLOOR, State, is_message
from terminals.wire import Manifest, Quake, StagedClip, encode_manifest, set_id

FLOORS = (
    staged_clip("floor/actual/flood/first", 101),
    staged_clip("floor/actual/*/first", 102),
    staged_clip("floor/actual/*/cancel", 103),
    staged_clip("floor/exercise/*/first", 104),
)


def staged(rig: Rig, *clips: StagedClip, hold: bool = True) -> str:
    """A set that is on the terminal, with all its clips."""
    manifest = Manifest(clips)
    name = rig.stage(manifest)
    rig.manifest(name, manifest)
    for each in clips:
        if hold:
            rig.fetched(int(each.sha256, 16))
    return name


def sound(rig: Rig) -> tuple[int | None, str]:
    """(hash of the clip, signal) of what the loudspeaker was told last."""
    assert rig.speaker is not None
    clip = rig.speaker.clip
    return (None if clip is None else int(clip.sha256, 16), rig.speaker.signal)


def test_what_holds_nothing_sounds_the_signal_after_its_patience_and_then_the_message() -> None:
    rig = Rig(held=())
    rig.give(rig.play(signal="red", hazard="flood", patience_ms=3_000))
    rig.wait(2_999)
    assert rig.sounding is None
    rig.wait(1)
    assert sound(rig) == (None, "red")
    rig.started()
    assert rig.states() == ["accepted", "playing:floor"]
    rig.fetched(1)
    assert rig.sounding == "b1"
    assert sound(rig) == (None, "red"), "the sentence that sounds is not cut"
    rig.finished()
    assert sound(rig) == (1, "")
    rig.play_out()
    assert rig.states() == ["accepted", "playing:floor", "ready", "playing", "played"]


def test_the_generic_sentence_of_the_hazard_is_taken_then_the_general_one_then_the_signal() -> None:
    for hazard, signal, expected in (
        ("flood", "red", 101),
        ("wind", "red", 102),
        ("flood", "all_clear", 103),
        ("", "red", 102),
    ):
        rig = Rig(held=())
        staged(rig, *FLOORS)
        rig.give(rig.play(signal=signal, hazard=hazard, patience_ms=0))
        assert sound(rig) == (expected, "")
    rig = Rig(held=())
    staged(rig, *FLOORS)
    rig.give(rig.play(role="exercise", hazard="flood", signal="exercise", patience_ms=0))
    assert sound(rig) == (104, "")
    rig.broke(reason="amplifier")
    rig.give(rig.play("t", role="test", hazard="flood", signal="test", patience_ms=0))
    assert sound(rig) == (None, "test"), "an exercise's words are no test's"


def test_the_fast_lane_waits_for_nothing_whatever_patience_it_claims() -> None:
    rig = Rig(held=())
    effects = rig.give(rig.play(priority=(0, 0, 1, 4), patience_ms=60_000, signal="quake"))
    assert [k for k in kinds(effects) if k in ("Fetch", "Sound")] == ["Fetch", "Sound"]
    assert sound(rig) == (None, "quake")


def test_a_message_that_comes_before_its_stand_in_began_goes_first() -> None:
    rig = Rig(held=())
    rig.give(rig.play(priority=(0, 0, 1, 4)))
    effects = rig.fetched(1)
    assert [k for k in kinds(effects) if k in ("Silence", "Sound")] == ["Silence", "Sound"]
    assert sound(rig) == (1, "")
    assert rig.states() == ["accepted", "ready"]


def test_the_stand_in_sounds_as_often_as_the_message_would_and_then_waits() -> None:
    rig = Rig(held=())
    rig.give(rig.play(repeats=3, patience_ms=0))
    for _ in range(3):
        rig.started()
        rig.finished()
    assert rig.sounding is None
    rig.wait(60_000)
    assert rig.sounding is None
    assert rig.states() == ["accepted", "playing:floor"]
    rig.fetched(1)
    assert sound(rig) == (1, "")


def fail_fetch(rig: Rig, problem: str = "HTTP 404") -> None:
    for _ in range(3):
        rig.fetched(1, problem)


def test_a_message_that_never_comes_has_failed_at_once_and_its_stand_in_sounds_once() -> None:
    rig = Rig(held=())
    rig.give(rig.play(repeats=1))
    fail_fetch(rig)
    assert rig.states() == ["accepted", "failed:fetch"]
    assert rig.sounding == "b1", "no patience is left"
    rig.started()
    rig.finished()
    assert rig.states() == ["accepted", "failed:fetch", "playing:floor"]
    assert rig.core._durable.records["b1"].outcome is State.FAILED
    rig.give(rig.play(attempt=2, repeats=1))
    fail_fetch(rig)
    assert rig.sounding is None, "heard already"
    assert (2, "failed", "fetch") in rig.facts()
    rig.give(rig.play(attempt=3, repeats=1))
    rig.fetched(1)
    rig.play_out()
    assert rig.states()[-1] == "played"


def test_a_further_attempt_is_taken_while_the_stand_in_sounds() -> None:
    rig = Rig(held=())
    rig.give(rig.play(repeats=2))
    fail_fetch(rig)
    rig.started()
    effects = rig.give(rig.play(attempt=2, repeats=2))
    assert "Fetch" in kinds(effects)
    assert "Sound" not in kinds(effects)
    rig.fetched(1)
    rig.finished()
    assert sound(rig) == (1, "")
    rig.play_out()
    assert rig.states()[-1] == "played"


def test_a_clip_that_is_no_sound_gives_way_to_the_generic_sentence_and_that_to_the_signal() -> None:
    rig = Rig(held=(1,))
    staged(rig, *FLOORS)
    rig.give(rig.play(hazard="flood", signal="red"))
    rig.started()
    rig.broke(reason="decode", detail="no MPEG frame")
    assert sound(rig) == (101, "")
    assert "failed:decode" in rig.states()
    rig.broke(reason="decode")
    assert sound(rig) == (102, "")
    rig.broke(reason="decode")
    assert sound(rig) == (None, "red")
    rig.broke(reason="decode")
    assert rig.sounding is None


def test_no_variant_that_it_can_play_still_sounds_and_says_what_was_offered() -> None:
    for clips in ((), (clip(1, "ug"), clip(2, "zh", "opus"))):
        rig = Rig()
        rig.give(rig.play(clips=clips, repeats=1, signal="red"))
        assert sound(rig) == (None, "red")
        assert rig.states() == ["accepted", "failed:no-variant"]
        rig.started()
        rig.boot()
        assert sound(rig) == (None, "red"), "the power went in the middle of it"
        rig.started()
        rig.finished()
        assert rig.sounding is None
        rig.boot()
        assert rig.sounding is None


def test_a_power_cut_in_the_stand_in_is_told_and_the_message_plays_as_resumed() -> None:
    rig = Rig(held=())
    rig.give(rig.play(patience_ms=0))
    rig.started()
    rig.boot()
    assert rig.states() == ["accepted", "playing:floor", "interrupted"]
    rig.fetched(1)
    rig.started()
    rig.finished()
    assert rig.states()[-2:] == ["playing:resumed", "played"]


def test_an_update_without_its_clip_does_not_silence_the_older_words_with_a_stand_in() -> None:
    rig = Rig(held=(1,))
    rig.give(rig.play("old"))
    rig.started("old")
    rig.give(rig.play("new", clips=(clip(2),), replaces=("old",), patience_ms=1_000))
    rig.wait(5_000)
    assert rig.sounding == "old"
    rig.finished("old")
    assert rig.sounding == "new"
    rig.started("new")
    rig.fetched(2)
    rig.finished("new")
    assert sound(rig) == (2, "")


def test_an_update_silences_the_stand_in_of_the_older_words_when_it_is_ready() -> None:
    rig = Rig(held=(2,))
    rig.give(rig.play("old", patience_ms=0))
    rig.started("old")
    effects = rig.give(rig.play("new", clips=(clip(2),), replaces=("old",)))
    assert [k for k in kinds(effects) if k in ("Silence", "Sound")] == ["Silence", "Sound"]
    assert rig.sounding == "new"
    assert rig.states("old")[-1] == "cancelled:replaced"


def test_a_stop_silences_the_stand_in_and_a_late_clip_makes_no_sound() -> None:
    rig = Rig(held=())
    rig.give(rig.play(patience_ms=0))
    rig.started()
    rig.give(rig.stop("b1"))
    assert rig.sounding is None
    rig.fetched(1)
    rig.wait(HOUR)
    assert rig.sounding is None
    assert rig.states()[-1] == "cancelled:stopped"


def test_a_finish_of_the_stand_in_that_crosses_its_stop_is_not_the_message() -> None:
    rig = Rig(held=())
    rig.give(rig.play(patience_ms=0))
    rig.started()
    rig.give(rig.stop("b1"))
    rig.run(rig.core.finished("b1", rig.mono))
    assert "played" not in " ".join(rig.states())


def test_what_is_more_urgent_cuts_a_stand_in_which_begins_again() -> None:
    rig = Rig(held=(2,))
    rig.give(rig.play(role="test", signal="test", patience_ms=0, repeats=2))
    rig.started()
    rig.finished()
    rig.started()
    rig.give(rig.play("real", clips=(clip(2),)))
    assert rig.sounding == "real"
    rig.play_out("real")
    for _ in range(2):
        assert sound(rig) == (None, "test")
        rig.started()
        rig.finished()
    assert rig.sounding is None


def test_a_stand_in_never_starts_at_or_after_expiry() -> None:
    rig = Rig(held=())
    rig.give(rig.play(expires=rig.wire + 5_000, patience_ms=5_000))
    rig.wait(6_000)
    assert rig.sounding is None
    assert rig.states() == ["accepted", "expired"]


def test_no_terminal_calls_a_stand_in_the_message() -> None:
    for key, message in (
        ((1, State.PLAYING, ""), True),
        ((1, State.PLAYING, "resumed"), True),
        ((1, State.PLAYED, ""), True),
        ((1, State.PLAYING, FLOOR), False),
        ((1, State.READY, ""), False),
    ):
        assert is_message(key) is message


# --- the countdown ---

COUNTS = (*(staged_clip(f"quake/{n}", n, seconds=3.0) for n in range(1, 61)), staged_clip("quake/-", 99))
HERE = (30.66, 104.06)


def quake_rig(**changes: Any) -> tuple[Rig, str]:
    rig = Rig(held=(), **({"position": HERE} | changes))
    return rig, staged(rig, *COUNTS)


def quake(rig: Rig, name: str, ago_ms: int = 5_000, **changes: Any) -> Any:
    """31.0 N 103.4 E, 14 km deep: the S wave is at HERE 21.3 s after the origin."""
    given = {
        "priority": (0, 0, 1, 1),
        "quake": Quake(rig.wire - ago_ms, 31.0, 103.4, 14.0, 7.0, name),
        "hazard": "earthquake",
        "signal": "quake",
        "clips": (),
        "repeats": 3,
        "expires": rig.wire + 60_000,
    }
    return rig.play(**(given | changes))


def test_each_terminal_counts_down_to_its_own_s_wave_and_each_repeat_anew() -> None:
    rig, name = quake_rig()
    rig.give(quake(rig, name))
    assert rig.states() == ["accepted", "ready"]
    heard = []
    for _ in range(3):
        heard.append(sound(rig)[0])
        rig.started()
        rig.wait(3_000)
        rig.finished()
    assert heard == [13, 10, 7]  # 16.3, 13.3 and 10.3 s left, and 2.6 s until the number is out
    assert rig.sounding is None
    assert rig.states() == ["accepted", "ready", "playing", "played"]


def test_when_the_wave_has_come_no_number_is_said() -> None:
    rig, name = quake_rig()
    rig.give(quake(rig, name, ago_ms=17_000))
    numbers = []
    for _ in range(3):
        numbers.append(sound(rig)[0])
        rig.started()
        rig.wait(3_000)
        rig.finished()
    assert numbers == [1, 99, 99]


@pytest.mark.parametrize("why", ["no position", "bad clock", "too far"])
def test_no_number_where_it_cannot_be_known(why: str) -> None:
    rig, name = quake_rig(position=None) if why == "no position" else quake_rig()
    play = quake(rig, name)
    if why == "bad clock":
        rig.boot(sync=False)
        rig.run(rig.core.connected(rig.mono))
        rig.wait(2_100, tick=False)
        rig.time()
        play = quake(rig, name)
    if why == "too far":
        play = quake(rig, name, quake=Quake(rig.wire, 35.0, 103.4, 14.0, 8.0, name))
    rig.give(play)
    assert sound(rig) == (99, "")


def test_a_power_cut_in_a_countdown_counts_on_from_where_the_wave_is() -> None:
    rig, name = quake_rig()
    rig.give(quake(rig, name))
    rig.started()
    rig.wait(6_000)
    rig.boot()
    assert sound(rig) == (7, "")


def test_only_the_set_that_is_named_counts_down() -> None:
    """An exercise has countdowns of its own, and neither may be heard for the other."""
    rig, _ = quake_rig()
    rig.give(quake(rig, "s-0123456789abcdef"))
    assert sound(rig) == (None, "quake")
    staged(rig, *FLOORS)
    rig.give(quake(rig, "s-0123456789abcdef", broadcast="b2", priority=(0, 0, 0, 1)))
    assert sound(rig) == (102, "")


def test_a_countdown_whose_set_is_not_here_plays_the_clip_of_the_command() -> None:
    rig = Rig(held=(1,), position=HERE)
    rig.give(quake(rig, "s-0123456789abcdef", clips=(clip(1),), repeats=2))
    assert sound(rig) == (1, "")
    assert rig.speaker is not None
    assert rig.speaker.repeats == 2


def test_a_later_report_takes_over_with_its_own_countdown() -> None:
    rig, name = quake_rig()
    rig.give(quake(rig, name))
    rig.started()
    rig.wait(1_000)
    nearer = Quake(rig.wire - 6_000, 30.8, 103.9, 14.0, 7.2, name)
    rig.give(quake(rig, name, broadcast="b2", quake=nearer, replaces=("b1",)))
    assert rig.sounding == "b2"
    assert sound(rig) == (99, "")
    assert rig.states("b1")[-1] == "cancelled:replaced"


def test_a_cut_countdown_that_had_one_repeat_left_is_not_played_by_a_finish_that_crosses() -> None:
    rig, name = quake_rig()
    rig.give(quake(rig, name))
    rig.started()
    rig.give(rig.stop("b1"))
    rig.run(rig.core.finished("b1", rig.mono))
    assert "played" not in " ".join(rig.states())


def test_the_stand_in_is_used_for_a_countdown_only_until_its_set_comes() -> None:
    manifest = Manifest(COUNTS)
    rig = Rig(held=(), position=HERE)
    name = rig.stage(manifest)
    assert name == set_id(name_hash(manifest))
    rig.give(quake(rig, name, clips=(clip(200),)))
    assert sound(rig) == (None, "quake")
    rig.manifest(name, manifest)
    assert [e for e in rig.effects if isinstance(e, Fetch) and e.pinned]
    rig.started()
    for n in (99, *range(1, 15)):
        rig.fetched(n)
    rig.finished()
    assert sound(rig) == (13, "")


def name_hash(manifest: Manifest) -> str:
    from hashlib import sha256

    return sha256(encode_manifest(manifest)).hexdigest()


def test_play_at_starts_neighbours_at_one_moment_by_the_signed_clock() -> None:
    """Two terminals, their monotonic clocks a minute apart, one behind a slow line."""
    starts = []
    for mono, delay in ((5_000, 0), (65_000, 800)):
        rig = Rig(held=(1,), sync=False)
        rig.mono = mono
        rig.run(rig.core.connected(rig.mono))
        signed = rig.wire + delay // 2
        rig.wait(delay, tick=False)
        rig.time(now=signed)
        rig.give(rig.play(play_at=EPOCH + 3_000))
        assert rig.speaker is None or isinstance(rig.speaker, Sound)
        rig.wait(2_000)
        assert rig.speaker is not None
        starts.append(rig.speaker.at_mono - mono)
    assert starts == [3_000, 3_000]
