"""Every rule of a terminal, one test each."""

from __future__ import annotations

import gc
import random
import sys

import msgspec
import pytest

from support.terminal import (
    ACTUAL,
    EPOCH,
    EXERCISE,
    HOUR,
    ME,
    SIGNERS,
    STRANGER,
    TEST,
    Rig,
    clip,
    identity,
    kinds,
    sealed_by,
)
from terminals.agent import core as core_module
from terminals.agent.core import (
    Alarm,
    Core,
    Durable,
    DurableError,
    Fetch,
    Record,
    Save,
    Silence,
    Sound,
    Subscribe,
)
from terminals.seal import KeyRing, KeyRole, OpenedCommand, new_signer, open_command
from terminals.wire import Health, Hello, Report, Targets, Time

# --- the ordinary road ---


def test_a_held_clip_is_accepted_and_ready_in_one_report_and_sounds_at_once() -> None:
    rig = Rig()
    effects = rig.give(rig.play())
    assert kinds(effects) == ["Save", "Sound", "Send"]
    assert rig.states() == ["accepted", "ready"]
    sound = next(e for e in effects if isinstance(e, Sound))
    assert (sound.repeats, sound.volume, sound.at_mono) == (2, 80, rig.mono)
    assert sound.until_mono == rig.mono + HOUR


def test_playing_and_played_are_facts_only_when_the_host_says_so() -> None:
    rig = Rig()
    rig.give(rig.play())
    assert kinds(rig.started()) == ["Save", "Send"]
    assert rig.states() == ["accepted", "ready", "playing"]
    rig.wait(20_000)
    rig.finished()
    assert rig.states() == ["accepted", "ready", "playing", "played"]
    at = {f.state: f.at for f in rig.reports()[-1].facts}
    assert at["played"] - at["playing"] == 20_000
    assert at["accepted"] == EPOCH


def test_save_comes_before_everything_else_that_a_change_causes() -> None:
    rig = Rig(held=())
    for effects in (
        rig.give(rig.play()),
        rig.fetched(1),
        rig.started(),
        rig.give(rig.stop("b1")),
        rig.give(rig.stop("b9")),
    ):
        assert effects[0] == Save()
        assert effects.count(Save()) == 1


def test_a_report_says_the_highest_counter_of_its_key() -> None:
    rig = Rig()
    first = rig.play()
    rig.give(rig.play("b2"))
    rig.give(first)
    assert rig.reports()[-1].counter_seen == rig.counter
    rig.boot()
    assert rig.hello.counters == {ACTUAL.key_id: rig.counter}


def test_hello_says_floor_clips_and_health_and_every_report_has_its_own_number() -> None:
    rig = Rig()
    rig.core.health = Health(software="1.0", amplifier_ok=True)
    rig.give(rig.play())
    rig.started()
    rig.wait(1000)
    rig.sync()
    assert rig.hello.holds == tuple(sorted(rig.held))
    assert rig.hello.floor == EPOCH
    assert rig.hello.health == Health(software="1.0", amplifier_ok=True, last_sound=EPOCH, clock_error_ms=1)
    numbers = [m.seq for m in rig.sent]
    assert numbers == sorted(set(numbers))


# --- verify first ---


def silent(rig: Rig, payload: bytes) -> None:
    before = rig.disk
    assert not [e for e in rig.bytes(payload) if isinstance(e, Save | Sound | Fetch | Silence)]
    rig.wait(2 * HOUR)
    assert rig.sounding is None
    assert len(Durable.from_bytes(rig.disk).records) == len(Durable.from_bytes(before).records)


def test_a_forged_command_makes_no_sound_and_is_refused_by_name() -> None:
    rig = Rig()
    silent(rig, STRANGER.seal(rig.play()))
    assert rig.facts() == {(1, "refused", "unknown-key")}
    forged = ACTUAL.seal(rig.play("b2", attempt=3)).replace(b'"volume":80', b'"volume":99')
    silent(rig, forged)
    assert rig.facts("b2") == {(3, "refused", "bad-signature")}
    assert rig.core.unverified == 2


def test_a_stripped_command_makes_no_sound() -> None:
    rig = Rig()
    envelope = ACTUAL.seal(rig.play())
    body = envelope.split(b"\n", 1)[1]
    silent(rig, body)
    assert rig.facts() == {(1, "refused", "unsigned")}
    for header in (b"FH1 " + ACTUAL.key_id.encode() + b" \n", b"FH1 \n", b"\n", b"FH1\n"):
        silent(rig, header + body)


def test_a_replayed_command_makes_no_sound() -> None:
    rig = Rig()
    envelope = ACTUAL.seal(rig.play())
    rig.bytes(envelope)
    rig.play_out()
    silent(rig, envelope)
    assert rig.states()[-1] == "played"


def test_an_expired_command_makes_no_sound() -> None:
    rig = Rig()
    envelope = ACTUAL.seal(rig.play())
    rig.wait(HOUR)
    rig.bytes(envelope)
    assert rig.sounding is None
    assert rig.facts() == {(1, "refused", "expired")}


def test_whoever_is_sent_expired_commands_says_the_time_it_holds_but_not_to_each() -> None:
    rig = Rig()
    rig.wait(HOUR)
    rig.sync()
    rig.wait(2 * core_module.DOUBT_GAP_MS)

    def hellos() -> int:
        return sum(isinstance(m, Hello) for m in rig.sent)

    before = hellos()
    for n in range(5):
        rig.give(rig.play(f"old-{n}", issued=EPOCH, not_before=EPOCH, expires=EPOCH + HOUR))
    assert rig.facts("old-4") == {(1, "refused", "expired")}
    assert hellos() == before + 1
    assert rig.hello.floor >= EPOCH + HOUR


def test_a_retargeted_command_makes_no_sound() -> None:
    rig = Rig()
    other = rig.play(targets=Targets(terminals=("t-0002",), groups=("v2",)))
    envelope = ACTUAL.seal(other)
    rig.bytes(envelope)
    assert rig.sounding is None
    assert rig.core.ignored == 1
    assert rig.reports() == []
    silent(rig, envelope.replace(b"t-0002", b"t-0001"))
    assert rig.facts() == {(1, "refused", "bad-signature")}


def test_an_exercise_key_cannot_sound_an_actual_warning_nor_an_actual_key_an_exercise() -> None:
    rig = Rig()
    body = (
        EXERCISE.seal(rig.play(role="exercise"))
        .split(b"\n", 1)[1]
        .replace(b'"role":"exercise"', b'"role":"actual"')
    )
    silent(rig, sealed_by(EXERCISE, body))
    assert rig.facts() == {(1, "refused", "wrong-role")}
    silent(rig, sealed_by(ACTUAL, EXERCISE.seal(rig.play("b2", role="exercise")).split(b"\n", 1)[1]))
    assert rig.facts("b2") == {(1, "refused", "wrong-role")}


def test_the_service_key_cannot_sound_anything_and_no_other_key_tells_the_time() -> None:
    rig = Rig()
    service = SIGNERS[KeyRole.SERVICE]
    for role in ("service", "actual", "daily"):
        body = msgspec.json.encode(rig.play(role=role))
        silent(rig, sealed_by(service, body))
    rig.run(rig.core.connected(rig.mono))
    time = Time(ME, rig.hello.nonce, EPOCH + HOUR, (), "http://elsewhere")
    rig.bytes(sealed_by(ACTUAL, msgspec.json.encode(time)))
    assert rig.hello.floor == EPOCH
    assert rig.core.unverified == 4


def test_the_core_checks_the_role_again_even_if_the_seal_let_it_through() -> None:
    rig = Rig()
    play = rig.play()
    lax = Core(
        rig.identity,
        Durable(),
        boot="x",
        random=random.Random(1),
        held=rig.held,
        opener=lambda envelope, ring: (
            OpenedCommand(KeyRole.EXERCISE, EXERCISE.key_id, play, b"")
            if envelope == b"lie"
            else open_command(envelope, ring)
        ),
    )
    rig.core = lax
    rig.sync()
    rig.bytes(b"lie")
    assert rig.sounding is None
    assert rig.facts() == {(1, "refused", "wrong-role")}


def test_a_kind_that_this_terminal_does_not_take_is_refused() -> None:
    rig = Rig(roles=frozenset({KeyRole.ACTUAL}))
    rig.give(rig.play(role="test"))
    assert rig.sounding is None
    assert rig.facts() == {(1, "refused", "wrong-role")}


def test_refusals_of_what_is_not_genuine_are_limited_to_ten_a_minute() -> None:
    rig = Rig()
    start = len(rig.sent)
    for n in range(30):
        rig.bytes(STRANGER.seal(rig.play(f"b{n}")))
    assert len(rig.sent) - start == 10
    rig.bytes(STRANGER.seal(rig.stop(*(f"c{n}" for n in range(64)))))
    assert len(rig.sent) - start == 10
    rig.wait(60_000, tick=False)
    rig.bytes(STRANGER.seal(rig.stop(*(f"c{n}" for n in range(64)))))
    assert len(rig.sent) - start == 20
    assert rig.core.unverified == 32


def test_a_forgery_that_names_a_broadcast_we_have_is_answered_with_the_truth() -> None:
    rig = Rig()
    rig.give(rig.play())
    rig.bytes(STRANGER.seal(rig.play(attempt=900)))
    assert rig.states() == ["accepted", "ready"]


def test_noise_is_met_with_silence() -> None:
    rig = Rig()
    for noise in (b"", b"\n", b"{}", b"FH1", b"\xff" * 100, b"FH1 a b\n{}", b"x" * 20_000):
        assert rig.bytes(noise) == []


# --- targets ---


def test_own_id_or_any_own_group_is_a_target_and_empty_lists_are_nobody() -> None:
    for targets, ours in (
        (Targets(), False),
        (Targets(groups=("county",)), True),
        (Targets(terminals=(ME,)), True),
        (Targets(groups=("v2",), terminals=("t-00011",)), False),
    ):
        rig = Rig()
        rig.give(rig.play(targets=targets))
        assert (rig.sounding == "b1") is ours, targets


def test_time_moves_the_terminal_to_other_groups_and_it_remembers() -> None:
    rig = Rig()
    rig.run(rig.core.connected(rig.mono))
    assert Subscribe(("v7",)) in rig.time(groups=("v7",))
    rig.give(rig.play())
    assert rig.sounding is None
    rig.give(rig.play("b2", targets=Targets(groups=("v7",))))
    assert rig.sounding == "b2"
    rig.boot(sync=False)
    assert rig.core.connected(rig.mono)[0] == Subscribe(("v7",))


# --- time ---


def test_a_play_before_the_first_signed_time_waits_and_asks_for_it() -> None:
    rig = Rig(sync=False)
    rig.run(rig.core.connected(rig.mono))
    hellos = len(rig.sent)
    rig.wait(1_000, tick=False)
    rig.give(rig.play())
    assert len(rig.sent) == hellos + 1
    assert rig.sounding is None
    rig.time()
    assert rig.sounding == "b1"
    assert rig.states() == ["accepted", "ready"]


def test_a_play_that_waited_for_the_time_is_judged_by_it() -> None:
    rig = Rig(sync=False)
    rig.run(rig.core.connected(rig.mono))
    rig.give(rig.play())
    rig.time(now=rig.wire + HOUR)
    assert rig.sounding is None
    assert rig.facts() == {(1, "refused", "expired")}


def test_at_most_sixteen_plays_wait_the_newest_of_each_and_the_least_urgent_gives_way() -> None:
    rig = Rig(sync=False)
    rig.run(rig.core.connected(rig.mono))
    for n in range(16):
        rig.give(rig.play(f"t{n}", role="test"))
    rig.give(rig.play("real", attempt=1))
    rig.give(rig.play("real", attempt=2))
    busy = [m.broadcast for m in rig.sent if isinstance(m, Report)]
    assert len(busy) == 1
    assert rig.facts(busy[0]) == {(1, "refused", "device-busy")}
    rig.time()
    assert rig.sounding == "real"
    assert rig.facts("real") == {(2, "accepted", ""), (2, "ready", "")}
    assert len(rig.core._durable.records) == 16


def test_time_without_our_nonce_or_for_another_or_too_late_is_not_believed() -> None:
    rig = Rig(sync=False)
    rig.run(rig.core.connected(rig.mono))
    rig.give(rig.play())
    rig.time(nonce="0" * 32)
    rig.time(terminal="t-0002")
    rig.wait(30_001, tick=False)
    rig.time()
    assert rig.sounding is None
    assert rig.core.ignored == 3
    rig.run(rig.core.tick(rig.mono))
    rig.time()
    assert rig.sounding == "b1"


def test_a_time_cannot_be_replayed() -> None:
    rig = Rig(sync=False)
    rig.run(rig.core.connected(rig.mono))
    old = SIGNERS[KeyRole.SERVICE].seal(Time(ME, rig.hello.nonce, EPOCH, ("v1",), "http://a"))
    rig.bytes(old)
    rig.wait(2 * HOUR)
    before = rig.core.ignored
    rig.bytes(old)
    assert rig.core.ignored == before + 1
    rig.give(rig.play("late", issued=EPOCH, not_before=EPOCH, expires=EPOCH + HOUR))
    assert rig.facts("late") == {(1, "refused", "expired")}


def test_hello_is_repeated_with_growing_pauses_until_the_time_comes() -> None:
    rig = Rig(sync=False)
    rig.run(rig.core.connected(rig.mono))
    for _ in range(20):
        rig.wait(10_000)
    assert 8 <= len(rig.sent) <= 16
    rig.time()
    count = len(rig.sent)
    rig.wait(600_000)
    assert len(rig.sent) == count
    rig.wait(600_000)
    assert len(rig.sent) > count


def test_the_clock_starts_never_below_the_floor_on_disk() -> None:
    rig = Rig()
    rig.give(rig.play())
    rig.wire += HOUR  # the controller's clock, by a Query
    rig.ask()
    rig.give(rig.play("b2"))
    rig.boot(sync=False)
    rig.run(rig.core.connected(rig.mono))
    assert rig.hello.floor == EPOCH + HOUR
    rig.time(now=EPOCH + HOUR - 60_000)
    rig.give(rig.play("b3", issued=EPOCH, not_before=EPOCH, expires=EPOCH + HOUR))
    assert rig.facts("b3") == {(1, "refused", "expired")}


def test_a_controller_behind_our_signed_clock_is_told_so_and_silences_nothing() -> None:
    rig = Rig()
    late = ACTUAL.seal(rig.play("late"))
    rig.wait(HOUR)
    rig.run(rig.core.connected(rig.mono))
    effects = rig.time(now=EPOCH - 24 * HOUR)
    assert any(isinstance(e, Alarm) and "behind" in e.text for e in effects)
    # nothing expired is revived, and what is valid by the signed clock sounds
    rig.bytes(late)
    assert rig.facts("late") == {(1, "refused", "expired")}
    rig.give(rig.play("now"))
    assert rig.sounding == "now"
    sent = len(rig.sent)
    rig.wait(80_000)
    assert rig.sent[sent:], "it says hello again soon, with the floor"
    assert rig.hello.floor == rig.wire - 80_000


def test_a_controller_clock_that_jumps_a_day_ahead_does_not_silence_what_was_accepted() -> None:
    rig = Rig()
    rig.give(rig.play("now"))
    rig.started("now")
    rig.give(rig.play("queued"))
    rig.wire += 24 * HOUR
    rig.ask("now")
    rig.wait(20_000)
    rig.finished("now")
    assert rig.sounding == "queued"


def test_a_verified_issued_time_is_a_lower_bound_but_not_from_a_drill_key() -> None:
    rig = Rig()
    old = ACTUAL.seal(rig.play("old"))
    future = rig.wire + 2 * HOUR
    rig.give(rig.play("drill", role="test", issued=future, not_before=future, expires=future + HOUR))
    rig.bytes(old)
    assert rig.sounding == "old", "a drill key must not be able to expire a real warning"
    other = ACTUAL.seal(rig.play("other"))
    rig.wire = future
    rig.give(rig.play("new", targets=Targets(terminals=("t-0002",))))
    rig.bytes(other)
    assert rig.facts("other") == {(1, "refused", "expired")}


def test_a_drill_from_the_future_waits_for_the_time_and_is_then_taken() -> None:
    rig = Rig()
    rig.wait(5_000)
    rig.wire += 24 * HOUR
    hellos = len(rig.sent)
    rig.give(rig.play(role="test"))
    assert rig.sounding is None
    assert len(rig.sent) == hellos + 1
    rig.time()
    assert rig.sounding == "b1"


# --- window ---


def test_a_lifetime_over_a_day_is_refused() -> None:
    rig = Rig()
    rig.give(rig.play(expires=rig.wire + 24 * HOUR + 1))
    assert rig.facts() == {(1, "refused", "lifetime")}
    rig.give(rig.play("b2", expires=rig.wire + 24 * HOUR))
    assert rig.sounding == "b2"


def test_a_command_is_expired_at_the_very_millisecond() -> None:
    for age, state in ((HOUR - 1, "ready"), (HOUR, "refused:expired")):
        rig = Rig()
        envelope = ACTUAL.seal(rig.play())
        rig.wait(age)
        rig.bytes(envelope)
        assert rig.states()[-1] == state


def test_a_window_that_begins_after_it_ends_is_refused() -> None:
    rig = Rig()
    rig.give(rig.play(not_before=rig.wire + HOUR))
    assert rig.facts() == {(1, "refused", "window")}
    rig.give(rig.play("b2", play_at=rig.wire + HOUR))
    assert rig.facts("b2") == {(1, "refused", "window")}


@pytest.mark.parametrize("field", ["not_before", "play_at"])
def test_a_later_start_is_ordered_shortly_before_it_for_the_exact_moment(field: str) -> None:
    rig = Rig()
    rig.give(rig.play(**{field: rig.wire + 60_000}))
    due = rig.mono + 60_000
    assert rig.sounding is None
    rig.wait(57_999)
    assert rig.sounding is None
    rig.wait(1)
    assert rig.speaker is not None
    assert rig.speaker.at_mono == due


def test_what_is_scheduled_lets_others_sound_meanwhile_and_cuts_only_if_more_urgent() -> None:
    rig = Rig()
    rig.give(rig.play("later", play_at=rig.wire + 60_000, priority=(0, 0, 1, 1)))
    rig.give(rig.play("now", clips=(clip(seconds=60),)))
    rig.started("now")
    rig.wait(59_999)
    assert rig.sounding == "now"
    rig.wait(1)
    assert rig.sounding == "later"


# --- replay and repeats ---


def test_a_known_broadcast_is_answered_with_all_its_facts_and_makes_no_second_sound() -> None:
    rig = Rig()
    play = rig.play(attempt=2)
    rig.give(play)
    rig.play_out()
    for attempt in (1, 2):
        for counter in (play.counter, rig.counter + attempt):
            effects = rig.give(msgspec.structs.replace(play, attempt=attempt, counter=counter))
            assert kinds(effects) == ["Send"]
            assert rig.states() == ["accepted", "ready", "playing", "played"]
    rig.wait(25 * HOUR)
    assert kinds(rig.give(play)) == ["Send"]
    assert rig.states()[-1] == "played"


def test_a_counter_that_was_accepted_for_another_broadcast_is_a_replay() -> None:
    rig = Rig()
    play = rig.play()
    rig.give(play)
    rig.give(msgspec.structs.replace(play, broadcast="b2"))
    assert rig.facts("b2") == {(1, "refused", "replay")}
    rig.boot()
    rig.give(msgspec.structs.replace(play, broadcast="b3"))
    assert rig.facts("b3") == {(1, "refused", "replay")}


def test_the_order_of_counters_does_not_matter() -> None:
    rig = Rig()
    older = rig.play("older")
    rig.give(rig.play("newer"))
    rig.give(older)
    assert rig.states("older") == ["accepted", "ready"]


def test_counters_are_kept_until_expiry_and_never_without_bound() -> None:
    rig = Rig()
    first = rig.play("first")
    rig.give(first)
    for n in range(1_100):
        rig.give(rig.play(f"n{n}"))
        rig.broke("first" if n == 0 else f"n{n}")
        rig.broke(f"n{n}")
    kept = rig.core._durable.accepted[ACTUAL.key_id]
    assert len(kept) == 1_024
    rig.give(msgspec.structs.replace(first, broadcast="again"))
    assert rig.facts("again") == {(1, "refused", "replay")}
    rig.wait(2 * HOUR)
    rig.ask("first")
    rig.give(rig.play("last"))
    assert len(rig.core._durable.accepted[ACTUAL.key_id]) == 1


def test_a_higher_attempt_is_taken_only_after_failure_or_refusal() -> None:
    rig = Rig()
    rig.give(rig.play())
    rig.started()
    assert kinds(rig.give(rig.play(attempt=2))) == ["Send"]
    rig.broke(reason="device-busy")
    assert rig.states()[-1] == "failed:device-busy"
    rig.give(rig.play(attempt=3))
    assert rig.sounding == "b1"
    rig.started()
    rig.finished()
    assert rig.states() == [
        "accepted",
        "ready",
        "playing",
        "failed:device-busy",
        "accepted",
        "ready",
        "playing",
        "played",
    ]
    assert kinds(rig.give(rig.play(attempt=4))) == ["Send"]


def test_a_higher_attempt_needs_a_fresh_counter() -> None:
    rig = Rig()
    play = rig.play()
    rig.give(play)
    rig.broke()
    rig.give(msgspec.structs.replace(play, attempt=2))
    assert rig.sounding is None
    assert rig.states()[-1] == "failed:amplifier"


def test_a_refused_broadcast_may_be_tried_again() -> None:
    rig = Rig()
    rig.give(rig.play(expires=rig.wire + 25 * HOUR))
    rig.give(rig.play(attempt=2))
    assert rig.sounding == "b1"
    assert rig.states() == ["refused:lifetime", "accepted", "ready"]


def test_what_expired_in_the_queue_is_not_tried_again() -> None:
    rig = Rig()
    rig.give(rig.play("long"))
    rig.started("long")
    rig.give(rig.play(expires=rig.wire + 10_000))
    rig.wait(10_000)
    assert rig.states() == ["accepted", "ready", "expired"]
    rig.finished("long")
    rig.give(rig.play(attempt=2))
    assert rig.sounding is None


# --- query ---


def test_a_query_is_always_answered_even_without_time_and_about_the_unknown() -> None:
    rig = Rig()
    assert rig.ask("never") == set()
    rig.give(rig.play())
    rig.play_out()
    rig.boot(sync=False)
    rig.run(rig.core.connected(rig.mono))
    assert (1, "played", "") in rig.ask()


# --- stop ---


def test_stop_silences_what_plays_and_is_acknowledged() -> None:
    rig = Rig()
    rig.give(rig.play())
    rig.started()
    effects = rig.give(rig.stop("b1"))
    assert kinds(effects) == ["Save", "Silence", "Send"]
    assert rig.states()[-1] == "cancelled:stopped"
    rig.give(rig.stop("b1"))
    assert rig.states().count("cancelled:stopped") == 1


def test_stop_takes_out_of_the_queue_and_lets_the_next_one_sound() -> None:
    rig = Rig()
    for name in ("b1", "b2", "b3"):
        rig.give(rig.play(name))
    rig.started()
    rig.give(rig.stop("b2"))
    rig.give(rig.stop("b1"))
    assert rig.sounding == "b3"
    assert rig.states("b2")[-1] == "cancelled:stopped"


def test_a_stopped_broadcast_never_starts_again_whatever_its_attempt() -> None:
    rig = Rig()
    first = rig.play()
    rig.give(first)
    rig.give(rig.stop("b1"))
    rig.give(first)
    assert rig.states()[-1] == "cancelled:stopped"
    rig.give(rig.play(attempt=2))
    assert rig.facts() >= {(1, "cancelled", "stopped"), (2, "refused", "stopped")}
    rig.boot()
    rig.give(rig.play(attempt=3))
    assert rig.sounding is None


def test_a_stop_before_its_play_leaves_a_tombstone() -> None:
    rig = Rig()
    play = ACTUAL.seal(rig.play())
    rig.give(rig.stop("b1"))
    assert rig.facts() == {(1, "cancelled", "never-had")}
    rig.boot()
    rig.bytes(play)
    assert rig.sounding is None
    assert rig.facts() == {(1, "cancelled", "never-had"), (1, "refused", "stopped")}


def test_stop_needs_no_signed_time_and_drops_what_waits_for_it() -> None:
    rig = Rig(sync=False)
    rig.run(rig.core.connected(rig.mono))
    rig.give(rig.play())
    rig.give(rig.stop("b1"))
    assert rig.facts() == {(1, "cancelled", "stopped")}
    rig.time()
    assert rig.sounding is None


def test_stop_after_a_power_cut_and_before_the_time_keeps_it_silent() -> None:
    rig = Rig()
    rig.give(rig.play())
    rig.started()
    rig.boot(sync=False)
    rig.run(rig.core.connected(rig.mono))
    rig.give(rig.stop("b1"))
    rig.time()
    assert rig.sounding is None
    assert rig.states()[-1] == "cancelled:stopped"


def test_a_late_stop_of_what_was_played_is_acknowledged_beside_it() -> None:
    rig = Rig()
    rig.give(rig.play())
    rig.play_out()
    rig.give(rig.stop("b1"))
    assert rig.states()[-2:] == ["played", "cancelled:stopped"]


def test_a_test_key_cannot_stop_an_actual_broadcast() -> None:
    rig = Rig()
    rig.give(rig.play())
    rig.started()
    effects = rig.give(rig.stop("b1", role="test"), TEST)
    assert rig.sounding == "b1"
    assert rig.states() == ["accepted", "ready", "playing"]
    assert any(isinstance(e, Alarm) for e in effects)


def test_a_drill_can_neither_bury_nor_impersonate_an_actual_broadcast() -> None:
    rig = Rig()
    rig.give(rig.stop("b1", role="test"), TEST)
    rig.give(rig.play("b2", role="exercise"))
    rig.started("b2")
    rig.give(rig.play("b1"))
    assert rig.sounding == "b1"
    rig.started("b1")
    rig.finished("b1")
    real = rig.play("b2")
    rig.give(real)
    rig.started("b2")
    rig.finished("b2")
    assert rig.states("b2") == ["accepted", "ready", "playing", "played"]
    rig.give(rig.play("b2", role="test", attempt=9))
    assert rig.sounding is None


def test_a_stop_for_others_is_not_for_us() -> None:
    rig = Rig()
    rig.give(rig.play())
    assert rig.give(rig.stop("b1", targets=Targets(groups=("v2",)))) == []
    assert rig.sounding == "b1"


def test_a_finish_that_crosses_a_stop_is_still_the_truth() -> None:
    rig = Rig()
    rig.give(rig.play())
    rig.started()
    rig.give(rig.stop("b1"))
    rig.run(rig.core.finished("b1", rig.mono))
    assert rig.states()[-2:] == ["cancelled:stopped", "played"]


# --- clips ---


def test_the_clip_is_the_first_playable_one_in_the_terminals_own_order() -> None:
    rig = Rig()
    rig.give(
        rig.play(
            clips=(clip(1, "zh"), clip(2, "ii"), clip(3, "bo", "opus"), clip(2, "bo"), clip(3, "bo")),
        )
    )
    assert rig.speaker is not None
    assert (rig.speaker.clip.language, rig.speaker.clip.sha256) == ("bo", f"{2:064x}")


def test_no_clip_that_it_can_play_is_a_failure_with_what_was_offered() -> None:
    rig = Rig()
    rig.give(rig.play(clips=(clip(1, "ii"), clip(2, "zh", "opus"))))
    assert rig.states() == ["accepted", "failed:no-variant"]
    assert rig.reports()[-1].facts[-1].detail == "ii/mp3 zh/opus"


def test_a_missing_clip_is_fetched_once_after_a_random_part_of_the_spread() -> None:
    delays = set()
    for seed in range(20):
        rig = Rig(held=())
        rig.random.seed(seed)
        effects = rig.give(rig.play(spread_ms=1000))
        fetch = next(e for e in effects if isinstance(e, Fetch))
        assert fetch.url == "http://audio/clips/1.mp3"
        assert 0 <= fetch.delay_ms <= 1000
        delays.add(fetch.delay_ms)
        assert "Fetch" not in kinds(rig.give(rig.play("b2")))
        rig.fetched(1)
        assert rig.states() == ["accepted", "ready"]
        assert rig.states("b2") == ["accepted", "ready"]
        assert rig.sounding == "b1"
    assert len(delays) > 10


@pytest.mark.parametrize(
    ("problem", "reason"), [("hash-mismatch", "hash-mismatch"), ("HTTP 404", "fetch"), ("", "fetch")]
)
def test_a_fetch_is_tried_three_times_and_then_fails_with_its_reason(problem: str, reason: str) -> None:
    rig = Rig(held=())
    rig.give(rig.play())
    assert kinds(rig.fetched(1, problem)) == ["Fetch"]
    assert kinds(rig.fetched(1, problem)) == ["Fetch"]
    rig.fetched(1, problem)
    assert rig.states()[-1] == f"failed:{reason}"
    rig.give(rig.play(attempt=2))
    rig.fetched(1)
    assert rig.sounding == "b1"


def test_a_fetch_that_ends_after_expiry_or_stop_makes_no_sound() -> None:
    for end in ("expire", "stop"):
        rig = Rig(held=())
        rig.give(rig.play(expires=rig.wire + 10_000))
        rig.give(rig.stop("b1")) if end == "stop" else rig.wait(10_000)
        rig.fetched(1)
        assert rig.sounding is None
        assert rig.states()[-1] in ("expired", "cancelled:stopped")


# --- the queue ---


def test_strictly_more_urgent_cuts_and_the_cut_one_resumes() -> None:
    rig = Rig()
    rig.give(rig.play(role="test"))
    rig.started()
    effects = rig.give(rig.play("real"))
    assert kinds(effects)[:3] == ["Save", "Silence", "Sound"]
    assert rig.states() == ["accepted", "ready", "playing", "preempted"]
    rig.started("real")
    rig.finished("real")
    assert rig.sounding == "b1"
    rig.started()
    rig.finished()
    assert rig.states()[-2:] == ["playing:resumed", "played"]


def test_equals_queue_in_their_order_and_never_cut_each_other() -> None:
    rig = Rig()
    for name in ("b1", "b2", "b3"):
        rig.give(rig.play(name))
    rig.give(rig.play("red", priority=(0, 1, 1, 4)))
    assert rig.sounding == "red"
    order = []
    while rig.sounding:
        order.append(name := rig.sounding)
        rig.started(name)
        rig.finished(name)
    assert order == ["red", "b1", "b2", "b3"]
    assert "preempted" not in " ".join(rig.states("b1")), "it had not been heard yet"


def test_the_role_of_the_key_outranks_the_priority_that_a_command_claims() -> None:
    rig = Rig()
    rig.give(rig.play(priority=(9, 1, 4, 4)))
    rig.started()
    rig.give(rig.play("drill", role="exercise", priority=(0, 0, 1, 1)))
    assert rig.sounding == "b1"


def test_an_update_takes_over_without_a_gap_once_it_is_ready() -> None:
    rig = Rig(held=(1,))
    rig.give(rig.play("old"))
    rig.started("old")
    rig.give(rig.play("waiting"))
    rig.give(rig.play("new", clips=(clip(2),), replaces=("old", "waiting")))
    assert rig.sounding == "old"
    effects = rig.fetched(2)
    assert [k for k in kinds(effects) if k in ("Silence", "Sound")] == ["Silence", "Sound"]
    assert rig.sounding == "new"
    assert rig.states("old")[-1] == "cancelled:replaced"
    assert rig.states("waiting")[-1] == "cancelled:replaced"


def test_an_update_whose_clip_never_comes_does_not_silence_the_older_words() -> None:
    rig = Rig(held=(1,))
    rig.give(rig.play("busy"))
    rig.started("busy")
    rig.give(rig.play("old"))
    rig.give(rig.play("new", clips=(clip(2),), replaces=("old",)))
    for _ in range(3):
        rig.fetched(2, "HTTP 404")
    rig.finished("busy")
    assert rig.sounding == "old"


def test_what_was_replaced_before_it_came_is_refused() -> None:
    rig = Rig()
    old = rig.play("old")
    rig.give(rig.play("new", replaces=("old",)))
    rig.started("new")
    rig.finished("new")
    rig.give(old)
    assert rig.facts("old") == {(1, "refused", "replaced")}


def test_a_drill_replaces_no_actual_broadcast() -> None:
    rig = Rig()
    rig.give(rig.play())
    rig.started()
    rig.give(rig.play("drill", role="test", replaces=("b1",)))
    assert rig.sounding == "b1"
    rig.finished()
    assert rig.sounding == "drill"


def test_what_plays_when_it_expires_is_played_to_its_end() -> None:
    rig = Rig()
    rig.give(rig.play(expires=rig.wire + 10_000))
    rig.started()
    rig.wait(20_000)
    assert rig.sounding == "b1"
    rig.finished()
    assert rig.states()[-1] == "played"


def test_what_is_cut_and_expires_meanwhile_does_not_resume() -> None:
    rig = Rig()
    rig.give(rig.play(role="test", expires=rig.wire + 10_000))
    rig.started()
    rig.give(rig.play("real"))
    rig.started("real")
    rig.wait(15_000)
    rig.finished("real")
    assert rig.sounding is None
    assert rig.states()[-2:] == ["preempted", "expired"]


def test_a_device_that_starts_too_late_is_silenced() -> None:
    rig = Rig()
    rig.give(rig.play(expires=rig.wire + 5_000))
    rig.wait(5_000, tick=False)
    assert kinds(rig.started()) == ["Save", "Silence", "Send"]
    assert rig.states()[-1] == "expired"


# --- broken devices ---


def test_a_dead_amplifier_is_a_failure_with_its_reason() -> None:
    rig = Rig()
    rig.give(rig.play())
    rig.give(rig.play("next"))
    rig.broke(reason="amplifier", detail="no current\n" + "x" * 500)
    assert rig.states()[-1] == "failed:amplifier"
    assert rig.reports()[-1].facts[-1].detail.startswith("no current x")
    assert rig.sounding == "next"


def test_a_device_that_never_starts_or_never_ends_is_found_out() -> None:
    rig = Rig()
    rig.give(rig.play())
    rig.wait(10_000)
    assert rig.states()[-1] == "failed:no-start"
    rig.give(rig.play("b2"))
    rig.started("b2")
    rig.wait(54_999)
    assert rig.sounding == "b2"
    rig.wait(1)
    assert rig.sounding is None
    assert rig.states("b2")[-1] == "failed:stuck"


# --- power cuts ---


def test_an_unfinished_broadcast_is_interrupted_and_plays_again_from_its_start() -> None:
    rig = Rig()
    rig.give(rig.play())
    rig.started()
    rig.boot(sync=False)
    assert rig.run(rig.core.tick(rig.mono)) == []
    rig.sync()
    assert rig.sounding == "b1"
    assert rig.states() == ["accepted", "ready", "playing", "interrupted"]
    rig.started()
    rig.finished()
    assert rig.states()[-2:] == ["playing:resumed", "played"]
    rig.boot()
    assert rig.sounding is None


def test_what_expired_while_the_power_was_off_stays_silent_and_says_why() -> None:
    rig = Rig()
    rig.give(rig.play())
    rig.started()
    rig.wire += HOUR
    rig.boot()
    assert rig.sounding is None
    assert rig.states()[-2:] == ["interrupted", "expired"]


def test_a_clip_that_was_on_its_way_is_fetched_again_after_a_power_cut() -> None:
    rig = Rig(held=())
    rig.give(rig.play())
    rig.boot()
    assert "Fetch" in kinds(rig.effects)
    rig.fetched(1)
    assert rig.sounding == "b1"


def test_a_key_that_left_the_ring_resumes_nothing() -> None:
    rig = Rig()
    rig.give(rig.play())
    rig.started()
    others = [s for s in SIGNERS.values() if s is not ACTUAL]
    rig.identity = identity(ring=KeyRing.of(others))
    rig.boot()
    assert rig.sounding is None
    assert rig.states()[-1] == "failed:unknown-key"


def test_what_was_said_while_the_line_was_down_is_said_on_return() -> None:
    rig = Rig()
    rig.give(rig.play())
    rig.run(rig.core.disconnected(rig.mono))
    before = len(rig.reports())
    rig.started()
    rig.finished()
    assert len(rig.reports()) == before
    rig.run(rig.core.connected(rig.mono))
    assert rig.states()[-1] == "played"


# --- what is kept ---


def test_at_most_256_records_are_kept_and_a_forgotten_one_still_never_sounds_again() -> None:
    rig = Rig()
    first = rig.play("first")
    rig.give(first)
    rig.play_out("first")
    for n in range(300):
        rig.give(rig.play(f"n{n}"))
        rig.broke(f"n{n}")
    durable = Durable.from_bytes(rig.disk)
    assert len(durable.records) == 256
    assert "first" not in durable.records
    rig.boot()
    rig.give(msgspec.structs.replace(first, attempt=5, counter=rig.counter + 1))
    assert rig.sounding is None
    assert rig.states("first") == ["played"]
    assert rig.ask("first") == {(1, "played", "")}


def test_a_flood_of_drills_does_not_keep_a_real_warning_out() -> None:
    rig = Rig()
    later = rig.wire + 1000
    for n in range(256):
        rig.give(rig.play(f"d{n}", role="test", not_before=later))
    rig.give(rig.play("one-more", role="test", not_before=later))
    assert rig.facts("one-more") == {(1, "refused", "device-busy")}
    rig.give(rig.play("real"))
    assert rig.sounding == "real"


def test_the_list_of_spent_broadcasts_is_bounded() -> None:
    rig = Rig()
    for n in range(40):
        rig.give(rig.stop(*(f"s{n}-{m}" for m in range(64))))
    assert len(rig.core._durable.records) == 256
    assert len(rig.core._durable.spent) == 2_048


def test_facts_of_one_broadcast_are_bounded_and_the_report_always_fits() -> None:
    rig = Rig()
    for attempt in range(1, 40):
        rig.give(rig.play(attempt=attempt))
        rig.broke(reason="设备坏了" * 20, detail="\x00说" * 300)
    assert len(rig.reports()[-1].facts) == 24
    assert rig.reports()[-1].facts[-1].attempt == 39


def test_durable_survives_a_round_trip() -> None:
    rig = Rig(held=(1,))
    rig.give(rig.play())
    rig.started()
    rig.give(rig.play("b2", clips=(clip(9),), replaces=("b1",)))
    rig.give(rig.stop("b3"))
    rig.broke("b2", "fetch")
    again = Durable.from_bytes(rig.core._durable.to_bytes())
    assert again == rig.core._durable
    assert isinstance(again.records["b1"], Record)


def test_every_torn_or_altered_file_is_a_named_error() -> None:
    rig = Rig()
    rig.give(rig.play())
    whole = rig.disk
    for length in range(len(whole)):
        with pytest.raises(DurableError):
            Durable.from_bytes(whole[:length])
    with pytest.raises(DurableError, match="torn"):
        Durable.from_bytes(whole.replace(b'"stopped":false', b'"stopped":true'))
    with pytest.raises(DurableError, match="version"):
        Durable.from_bytes(whole.replace(b"FHD1", b"FHD2"))


def test_sandbox_keys_and_simulated_terminals_belong_together() -> None:
    sandbox = KeyRing.of([new_signer(KeyRole.ACTUAL, bytes(36), sandbox=True)])
    for name, ring in (("t-1", sandbox), ("sim-1", None)):
        with pytest.raises(ValueError, match="sandbox"):
            Core(
                identity(id=name, **({} if ring is None else {"ring": ring})),
                Durable(),
                boot="b",
                random=random.Random(1),
            )
    Core(identity(id="sim-1", ring=sandbox), Durable(), boot="b", random=random.Random(1))


def test_an_idle_terminal_is_small() -> None:
    """A simulator holds ten thousand: under 5 KB each, what they share not counted."""
    shared = random.Random(1)
    who = identity()
    cores = [Core(who, Durable(), boot="b", random=shared) for _ in range(2)]
    seen = {id(shared), id(core_module.open_command)}

    def size(thing: object) -> int:
        total = 0
        todo = [thing]
        while todo:
            thing = todo.pop()
            if id(thing) in seen or isinstance(thing, type) or callable(thing):
                continue
            seen.add(id(thing))
            total += sys.getsizeof(thing)
            todo += gc.get_referents(thing)
        return total

    assert size(who) > 0
    assert size(cores[1]) < 4_000
