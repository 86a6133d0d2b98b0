"""New keys for old, and the clock by probes: what a terminal believes and when."""

from __future__ import annotations

import random
from base64 import urlsafe_b64encode
from typing import Any

import msgspec
import pytest

from support.terminal import (
    ACTUAL,
    EPOCH,
    EXERCISE,
    HOUR,
    ROOT,
    SERVICE,
    SIGNERS,
    TEST,
    Rig,
    clip,
    identity,
    kinds,
    sealed_by,
)
from terminals.agent.core import PROBE_MS, RING_HELLO_MS, Alarm, Core, Durable, Save, Silence
from terminals.seal import (
    KeyRing,
    KeyRole,
    RingError,
    SealError,
    Signer,
    may_seal,
    new_signer,
    open_command,
    renewed,
)
from terminals.wire import Hello, Probe, Ring, RingKey, Stage, Targets, Time, encode

NEW = {role: new_signer(role, bytes([50 + n]) * 36) for n, role in enumerate(KeyRole)}


def public(signer: Signer) -> str:
    return urlsafe_b64encode(signer.public_bytes).rstrip(b"=").decode()


def ring(version: int, *signers: Signer, until: dict[str, int] | None = None, **changes: Any) -> Ring:
    keys = {s.key_id: RingKey(s.role.value, public(s), (until or {}).get(s.key_id, 0)) for s in signers}
    given: dict[str, Any] = {"county": "623023", "version": version, "issued": EPOCH, "keys": keys}
    return Ring(**(given | changes))


def alarms(rig: Rig) -> str:
    return " ".join(e.text for e in rig.effects if isinstance(e, Alarm))


ALL_NEW = (NEW[KeyRole.ACTUAL], NEW[KeyRole.EXERCISE], NEW[KeyRole.TEST], NEW[KeyRole.SERVICE])


def test_a_ring_by_the_root_key_replaces_the_others_durably() -> None:
    rig = Rig()
    rig.give(ring(1, *ALL_NEW), ROOT)
    assert rig.effects[0] == Save()
    for _ in range(2):
        rig.give(rig.play("old"), ACTUAL)
        assert rig.sounding is None
        assert rig.facts("old") == {(1, "refused", "unknown-key")}
        rig.boot(sync=False)
        rig.run(rig.core.connected(rig.mono))
        assert rig.hello.ring == 1
        rig.give(Time(rig.identity.id, rig.hello.nonce, rig.wire, ("v1",), "http://a"), NEW[KeyRole.SERVICE])
    rig.give(rig.play("new"), NEW[KeyRole.ACTUAL])
    assert rig.sounding == "new"


def test_the_new_version_is_told_within_seconds_but_not_by_all_at_once() -> None:
    waits = set()
    for seed in range(10):
        rig = Rig()
        rig.random.seed(seed)
        rig.give(ring(7, *SIGNERS_BUT_ROOT), ROOT)
        before = len(rig.sent)
        wake = rig.core.next_wake()
        assert wake is not None
        waits.add(wake - rig.mono)
        rig.wait(RING_HELLO_MS + 1)
        assert isinstance(rig.sent[before], Hello)
        assert rig.hello.ring == 7
    assert len(waits) > 5


SIGNERS_BUT_ROOT = (ACTUAL, EXERCISE, TEST, SERVICE)


def test_an_old_version_and_another_countys_ring_change_nothing() -> None:
    rig = Rig()
    old = ROOT.seal(ring(1, *ALL_NEW))
    rig.give(ring(2, *SIGNERS_BUT_ROOT), ROOT)
    for payload in (
        old,
        ROOT.seal(ring(2, *ALL_NEW)),
        ROOT.seal(ring(9, *ALL_NEW, county="110101")),
    ):
        ignored = rig.core.ignored
        assert not [e for e in rig.bytes(payload) if isinstance(e, Save)]
        assert rig.core.ignored == ignored + 1
        assert rig.core.ring_version == 2
    rig.boot()
    rig.bytes(old)
    rig.give(rig.play())
    assert rig.sounding == "b1"


@pytest.mark.parametrize("role", [role for role in KeyRole if role is not KeyRole.ROOT])
def test_no_other_key_can_say_which_keys_are_to_be_believed(role: KeyRole) -> None:
    rig = Rig()
    words = ring(5, *ALL_NEW)
    assert not may_seal(role, words)
    with pytest.raises(ValueError, match="may not seal"):
        SIGNERS[role].seal(words)
    assert rig.bytes(sealed_by(SIGNERS[role], encode(words))) == []
    assert rig.core.ring_version == 0
    assert rig.core.unverified == 1


@pytest.mark.parametrize("role", [role for role in KeyRole if role is not KeyRole.ROOT])
def test_the_root_key_says_nothing_else(role: KeyRole) -> None:
    rig = Rig()
    for words in (
        rig.play(role="actual"),
        rig.play(role="root"),
        rig.stop("b1"),
        Time(rig.identity.id, rig.hello.nonce, EPOCH + HOUR, (), "http://evil"),
        Stage("s-" + "0" * 16, "0" * 64, 1, "", EPOCH, EPOCH + HOUR, Targets(groups=("v1",))),
    ):
        assert not may_seal(KeyRole.ROOT, words)
        rig.bytes(sealed_by(ROOT, encode(words)))
    assert rig.sounding is None
    assert rig.core._durable.sets == {}
    assert not may_seal(role, ring(1, *ALL_NEW))


def test_a_ring_cannot_bring_a_root_key_nor_one_of_the_other_class_nor_a_lie_about_a_role() -> None:
    rig = Rig()
    sandbox = [
        new_signer(role, bytes([9]) * 36, sandbox=True) for role in KeyRole if role is not KeyRole.ROOT
    ]
    liar = ring(1, *ALL_NEW)
    keys = dict(liar.keys)
    keys[NEW[KeyRole.TEST].key_id] = msgspec.structs.replace(keys[NEW[KeyRole.TEST].key_id], role="actual")
    for words in (
        ring(1, *ALL_NEW, NEW[KeyRole.ROOT]),
        ring(1, *sandbox),
        ring(1, *ALL_NEW, sandbox[0]),
        msgspec.structs.replace(liar, keys=keys),
        ring(1, *ALL_NEW, keys={"a0c1d2e3f": RingKey("actual", "A" * 42 + "B")}),
        ring(1, *ALL_NEW, keys={"x0c1d2e3f": RingKey("xenon", public(ACTUAL))}),
    ):
        rig.give(words, ROOT)
        assert "not taken" in alarms(rig)
        assert rig.core.ring_version == 0
    rig.give(rig.play())
    assert rig.sounding == "b1"


def test_a_ring_that_would_make_the_terminal_deaf_is_not_taken() -> None:
    rig = Rig()
    gone = {NEW[KeyRole.ACTUAL].key_id: EPOCH}
    for words, role in (
        (ring(1, NEW[KeyRole.ACTUAL], NEW[KeyRole.TEST]), "service"),
        (ring(1, NEW[KeyRole.SERVICE], NEW[KeyRole.TEST], NEW[KeyRole.EXERCISE]), "actual"),
        (ring(1, *ALL_NEW, until=gone), "actual"),
    ):
        rig.give(words, ROOT)
        assert f"no {role} key" in alarms(rig)
        assert rig.core.ring_version == 0
    drill = Rig(roles=frozenset({KeyRole.EXERCISE, KeyRole.TEST}))
    drill.give(ring(1, NEW[KeyRole.SERVICE], NEW[KeyRole.TEST]), ROOT)
    assert drill.core.ring_version == 1
    deaf = Rig(roles=frozenset({KeyRole.EXERCISE}))
    deaf.give(ring(1, NEW[KeyRole.SERVICE], NEW[KeyRole.TEST]), ROOT)
    assert deaf.core.ring_version == 0


def test_what_a_revoked_key_has_said_falls_silent_and_out_of_the_queue() -> None:
    rig = Rig()
    rig.give(rig.play("on"))
    rig.started("on")
    rig.give(rig.play("queued"))
    rig.give(rig.play("kept", standing=True))
    rig.give(rig.play("drill", role="test"))
    effects = rig.give(ring(1, NEW[KeyRole.ACTUAL], EXERCISE, TEST, SERVICE), ROOT)
    assert [e for e in effects if isinstance(e, Silence)] == [Silence("on")]
    for name in ("on", "queued", "kept"):
        assert rig.states(name)[-1] == "failed:unknown-key"
    assert rig.sounding == "drill", "its key is still good"
    assert rig.core.standing(rig.mono) == ()
    rig.boot()
    rig.wait(HOUR)
    assert rig.sounding in (None, "drill")


def test_what_waits_for_the_time_under_a_revoked_key_is_refused() -> None:
    rig = Rig(sync=False)
    rig.run(rig.core.connected(rig.mono))
    rig.give(rig.play())
    rig.give(ring(1, NEW[KeyRole.ACTUAL], SERVICE), ROOT)
    rig.time()
    assert rig.sounding is None
    assert rig.facts() == {(1, "refused", "unknown-key")}


def test_after_its_until_a_key_is_not_believed_but_what_it_began_goes_on() -> None:
    rig = Rig()
    both = ring(1, *SIGNERS_BUT_ROOT, NEW[KeyRole.ACTUAL], until={ACTUAL.key_id: rig.wire + HOUR})
    rig.give(both, ROOT)
    rig.give(rig.play("early", expires=rig.wire + 2 * HOUR))
    rig.started("early")
    rig.give(rig.play("also"), NEW[KeyRole.ACTUAL])
    rig.wait(HOUR, tick=False)
    rig.give(rig.play("late"))
    assert rig.facts("late") == {(1, "refused", "unknown-key")}
    rig.give(rig.stop("early"))
    assert rig.sounding == "early", "a lapsed key stops nothing either"
    rig.give(rig.stop("early"), NEW[KeyRole.ACTUAL])
    assert rig.sounding != "early"


def test_a_play_that_waited_for_the_time_is_judged_by_the_until_of_its_key() -> None:
    rig = Rig()
    rig.give(ring(1, *SIGNERS_BUT_ROOT, NEW[KeyRole.ACTUAL], until={ACTUAL.key_id: rig.wire + HOUR}), ROOT)
    rig.boot(sync=False)
    rig.run(rig.core.connected(rig.mono))
    rig.give(rig.play(expires=rig.wire + 5 * HOUR))
    rig.time(now=rig.wire + 2 * HOUR)
    assert rig.facts() == {(1, "refused", "unknown-key")}


def test_a_replay_from_before_a_rotation_is_still_a_replay_after_it() -> None:
    rig = Rig()
    play = rig.play("b1", expires=rig.wire + 20 * HOUR)
    rig.give(play)
    rig.play_out()
    rig.give(ring(1, *ALL_NEW), ROOT)
    rig.give(ring(2, *SIGNERS_BUT_ROOT), ROOT)
    rig.give(msgspec.structs.replace(play, broadcast="b2"))
    assert rig.facts("b2") == {(1, "refused", "replay")}


def test_the_counters_of_many_rotated_keys_do_not_pile_up() -> None:
    rig = Rig()
    service = SERVICE
    for n in range(40):
        actual = new_signer(KeyRole.ACTUAL, bytes([n + 100]) * 36)
        rig.give(ring(n + 1, actual, service), ROOT)
        rig.give(rig.play(f"b{n}"), actual)
        rig.broke(f"b{n}")
        rig.wire += 2 * HOUR
        rig.ask(f"b{n}")
    durable = rig.core._durable
    assert len(durable.accepted) <= 3
    assert len(durable.highest) <= 3


def test_a_kept_ring_is_verified_anew_and_a_new_enrolment_counts_from_its_own_version() -> None:
    rig = Rig()
    rig.give(ring(3, *ALL_NEW), ROOT)
    stored = Durable.from_bytes(rig.disk)
    forged = Durable.from_bytes(rig.disk)
    forged.ring = forged.ring.replace('"version":3', '"version":4')
    for durable, given, version, alarm in (
        (stored, identity(), 3, False),
        (forged, identity(), 0, True),
        (stored, identity(ring_version=3), 3, False),
        (stored, identity(ring=KeyRing.of([*ALL_NEW, NEW[KeyRole.ROOT]])), 0, True),
    ):
        core = Core(given, durable, boot="b", random=random.Random(1))
        assert core.ring_version == version
        assert any(isinstance(e, Alarm) for e in core.tick(0)) is alarm
    re_enrolled = Core(identity(ring_version=5), stored, boot="b", random=random.Random(1))
    assert re_enrolled.command(ROOT.seal(ring(4, *ALL_NEW)), 0) == []
    assert re_enrolled.ignored == 1, "a ring of before the enrolment could bring back a revoked key"


def test_a_ring_shared_by_many_terminals_is_one_object() -> None:
    body = encode(ring(1, *ALL_NEW))
    enrolled = KeyRing.of(SIGNERS.values())
    assert renewed(enrolled, body) is renewed(enrolled, body)
    for wrong in (b"{}", b"\xff", encode(Rig().play())):
        with pytest.raises(RingError):
            renewed(enrolled, wrong)


def test_a_stripped_or_altered_ring_is_nothing() -> None:
    rig = Rig()
    envelope = ROOT.seal(ring(1, *ALL_NEW))
    for forged in (
        envelope.split(b"\n", 1)[1],
        envelope.replace(b'"version":1', b'"version":2'),
        envelope.replace(ROOT.key_id.encode(), SERVICE.key_id.encode()),
        envelope.replace(b"FH1", b"FH0"),
    ):
        assert rig.bytes(forged) == []
        with pytest.raises(SealError):
            open_command(forged, rig.identity.ring)
    assert rig.core.ring_version == 0


# --- probes ---


def probe(rig: Rig) -> Probe:
    return next(m for m in reversed(rig.sent) if isinstance(m, Probe))


def test_probes_are_sent_one_after_the_other_and_the_nearest_answer_counts() -> None:
    rig = Rig(sync=False)
    rig.run(rig.core.connected(rig.mono))
    rig.wait(400, tick=False)
    rig.time(probes=3, now=rig.wire - 100)
    assert rig.core.clock_error_ms(rig.mono) == 200
    nonces = set()
    for rtt in (100, 6, 50):
        nonces.add(probe(rig).nonce)
        rig.wait(rtt, tick=False)
        rig.time(nonce=probe(rig).nonce, now=rig.wire - rtt // 2)
    assert len(nonces) == 3
    error = rig.core.clock_error_ms(rig.mono)
    assert error is not None
    assert 3 <= error <= 4
    now = rig.core.now(rig.mono)
    assert now is not None
    assert abs(now - rig.wire) <= error
    assert len([m for m in rig.sent if isinstance(m, Probe)]) == 3
    rig.sync()
    assert rig.hello.health.clock_error_ms == error


def test_a_probe_that_is_not_answered_is_given_up_and_probes_make_no_storm() -> None:
    rig = Rig()
    rig.run(rig.core.connected(rig.mono))
    rig.time(probes=8)
    rig.wait(8 * PROBE_MS)
    assert len([m for m in rig.sent if isinstance(m, Probe)]) == 8
    rig.wait(10 * PROBE_MS)
    assert len([m for m in rig.sent if isinstance(m, Probe)]) == 8


def test_an_answer_to_a_probe_asks_for_no_more_and_saves_nothing() -> None:
    rig = Rig()
    rig.run(rig.core.connected(rig.mono))
    rig.time(probes=1)
    effects = rig.time(nonce=probe(rig).nonce, probes=8)
    assert effects == []


def test_a_late_or_repeated_answer_to_a_probe_does_not_send_the_next_one_early() -> None:
    rig = Rig()
    rig.run(rig.core.connected(rig.mono))
    rig.time(probes=2)
    first = probe(rig).nonce
    rig.wait(PROBE_MS)
    second = probe(rig).nonce
    assert second != first
    rig.wait(100, tick=False)
    for nonce in (first, first, second, second):
        rig.time(nonce=nonce)
    assert len([m for m in rig.sent if isinstance(m, Probe)]) == 2
    assert rig.core.ignored == 2


@pytest.mark.parametrize("held_back", [0, 700, 29_000])
def test_whoever_holds_back_an_answer_moves_the_clock_by_half_of_it_at_most(held_back: int) -> None:
    for where in ("up", "down"):
        rig = Rig(sync=False)
        rig.run(rig.core.connected(rig.mono))
        asked = rig.wire
        rig.wait(held_back, tick=False)
        rig.time(now=asked if where == "down" else rig.wire)
        now, error = rig.core.now(rig.mono), rig.core.clock_error_ms(rig.mono)
        assert now is not None
        assert error == (held_back + 1) // 2
        assert abs(now - rig.wire) <= error


def test_losing_the_line_ends_the_probing() -> None:
    rig = Rig()
    rig.run(rig.core.connected(rig.mono))
    rig.time(probes=8)
    rig.run(rig.core.disconnected(rig.mono))
    assert rig.wait(HOUR) == []
    assert "Send" not in kinds(rig.run(rig.core.tick(rig.mono)))
    assert clip().speaker == ""
