"""Staged sets and standing messages: what a terminal keeps for the day when nobody can reach it."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from support.terminal import HOUR, SERVICE, STRANGER, Rig, clip, kinds, staged_clip
from terminals.agent.choice import Profile
from terminals.agent.core import Core, Durable, Fetch, FetchManifest, NotByHand, Save
from terminals.agent.sets import AT_ONCE, PAUSE_MS, address
from terminals.wire import (
    MAX_SETS,
    Hello,
    Manifest,
    Stage,
    Staged,
    StagedClip,
    Targets,
    WireError,
    decode_manifest,
    encode_manifest,
    set_id,
)

DAY = 24 * HOUR


def clips(*numbers: int, name: str = "event/e{}") -> tuple[StagedClip, ...]:
    return tuple(staged_clip(name.format(n), n) for n in numbers)


def staged(rig: Rig) -> Staged:
    return next(m for m in reversed(rig.sent) if isinstance(m, Staged))


def pinned(rig: Rig) -> set[int]:
    """Staged clips that are being fetched by the last effects."""
    return {int(e.clip.sha256, 16) for e in rig.effects if isinstance(e, Fetch) and e.pinned}


# --- sets ---


def test_a_set_is_fetched_bit_by_bit_and_told() -> None:
    rig = Rig(held=())
    manifest = Manifest(clips(*range(1, 6)))
    name = rig.stage(manifest, spread_ms=60_000)
    fetch = next(e for e in rig.effects if isinstance(e, FetchManifest))
    assert fetch.url == f"http://audio/sets/{fetch.sha256}"
    assert 0 <= fetch.delay_ms <= 60_000
    assert (staged(rig).set, staged(rig).wanted, staged(rig).problem) == (name, 0, "")
    assert rig.core.pinned() == {fetch.sha256}
    rig.manifest(name, manifest)
    assert (staged(rig).wanted, staged(rig).held) == (5, 0)
    under_way = pinned(rig)
    assert len(under_way) == AT_ONCE
    while under_way:
        rig.fetched(under_way.pop())
        under_way |= pinned(rig)
    assert (staged(rig).wanted, staged(rig).held) == (5, 5)
    assert len(rig.core.pinned()) == 6
    rig.sync()
    assert rig.hello.sets == {name: 0}


def test_a_set_that_is_withdrawn_is_forgotten_and_one_staged_anew_since_stays() -> None:
    rig = Rig(held=())
    manifest = Manifest(clips(1, 2))
    name = rig.stage(manifest)
    rig.manifest(name, manifest)
    assert staged(rig).wanted == 2
    rig.wait(1_000)
    withdrawn = {"issued": rig.wire, "expires": rig.wire}
    rig.stage(manifest, **withdrawn)
    assert (staged(rig).set, staged(rig).wanted, staged(rig).held, staged(rig).problem) == (name, 0, 0, "")
    assert rig.core.pinned() == set()
    rig.sync()
    assert rig.hello.sets == {}
    rig.wait(1_000)
    rig.stage(manifest)
    rig.stage(manifest, **withdrawn)  # the old word again, by a broker that kept it
    rig.sync()
    assert set(rig.hello.sets) == {name}


def test_a_withdrawal_survives_a_power_cut() -> None:
    rig = Rig(held=())
    manifest = Manifest(clips(1))
    rig.stage(manifest)
    rig.stage(manifest, issued=rig.wire, expires=rig.wire)
    rig.boot()
    assert rig.core.sets() == {}


def test_a_set_makes_no_sound_and_is_no_record() -> None:
    rig = Rig(held=())
    manifest = Manifest(clips(1))
    rig.manifest(rig.stage(manifest), manifest)
    rig.fetched(1)
    rig.wait(HOUR)
    assert rig.sounding is None
    assert not rig.core._durable.records


def test_a_set_that_is_not_for_us_is_not_taken() -> None:
    rig = Rig()
    assert rig.give(Stage("s-0", "0" * 64, 1, "", 0, 1, Targets(groups=("v2",)))) == []
    assert rig.core._durable.sets == {}


def test_what_is_wrong_with_a_stage_is_told() -> None:
    rig = Rig()
    good: dict[str, Any] = {
        "set": set_id("a" * 64),
        "sha256": "a" * 64,
        "size": 10,
        "url": "",
        "issued": rig.wire,
        "expires": rig.wire + DAY,
        "targets": Targets(groups=("v1",)),
    }
    for changes, problem in (
        ({"set": "s-" + "b" * 16}, "malformed"),
        ({"expires": rig.wire + 401 * DAY}, "lifetime"),
        ({"issued": rig.wire - DAY, "expires": rig.wire}, "expired"),
    ):
        rig.give(Stage(**(good | changes)))
        assert staged(rig).problem.split()[0] == problem
        assert rig.core._durable.sets == {}
    rig.give(Stage(**good))
    rig.manifest(good["set"], None, "hash-mismatch")
    assert staged(rig).problem == "hash-mismatch"
    rig.manifest(good["set"], None, "HTTP 404")
    assert staged(rig).problem == "fetch HTTP 404"


def test_a_stage_is_answered_each_time_and_fetched_once() -> None:
    rig = Rig(held=())
    manifest = Manifest(clips(1))
    name = rig.stage(manifest)
    rig.manifest(name, manifest)
    sent = len(rig.sent)
    assert rig.stage(manifest) == name
    assert len(rig.sent) == sent + 1
    assert "FetchManifest" not in kinds(rig.effects)
    rig.stage(manifest, expires=rig.wire + 30 * DAY)
    assert rig.core._durable.sets[name].expires == rig.wire + 30 * DAY


def test_a_set_survives_a_power_cut_and_a_lost_disk_of_clips() -> None:
    rig = Rig(held=())
    manifest = Manifest(clips(1, 2))
    name = rig.stage(manifest)
    rig.manifest(name, manifest)
    rig.fetched(1)
    rig.boot()
    assert rig.hello.sets == {name: 1}
    assert pinned(rig) == {2}
    rig.manifests.clear()
    rig.boot()
    assert rig.hello.sets == {name: 1}, "without its manifest something is missing"
    assert "FetchManifest" in kinds(rig.effects)
    rig.fetched(2)
    rig.manifest(name, manifest)
    assert (staged(rig).wanted, staged(rig).held) == (2, 2)
    rig.held.clear()
    rig.run(rig.core.connected(rig.mono))
    assert rig.hello.sets == {name: 2}
    assert pinned(rig) == {1, 2}


def test_what_cannot_be_had_is_tried_again_later_and_at_once_on_a_new_line() -> None:
    rig = Rig(held=())
    manifest = Manifest(clips(1))
    name = rig.stage(manifest)
    rig.manifest(name, manifest)
    for _ in range(2):
        rig.fetched(1, "HTTP 500")
        assert pinned(rig) == {1}
    rig.fetched(1, "HTTP 500")
    assert pinned(rig) == set()
    assert staged(rig).problem == "fetch HTTP 500"
    done = rig.wait(PAUSE_MS)
    assert [e for e in done if isinstance(e, Fetch)]
    for _ in range(3):
        rig.fetched(1, "disk full")
    assert staged(rig).problem == "fetch disk full"
    assert "Fetch" in kinds(rig.run(rig.core.connected(rig.mono)))


def test_a_message_rides_on_the_fetch_of_its_staged_clip() -> None:
    rig = Rig(held=())
    manifest = Manifest(clips(1))
    rig.manifest(rig.stage(manifest), manifest)
    assert "Fetch" not in kinds(rig.give(rig.play()))
    rig.fetched(1, "broken")
    assert kinds(rig.effects).count("Fetch") == 1
    rig.fetched(1)
    assert rig.sounding == "b1"


def test_a_newer_complete_set_that_says_as_much_replaces_the_older_one_but_no_countdown() -> None:
    rig = Rig(held=())
    old = Manifest(clips(1, 2))
    first = rig.stage(old)
    rig.manifest(first, old)
    count = Manifest((staged_clip("quake/3", 3), staged_clip("quake/-", 4)))
    exercise = Manifest((staged_clip("quake/3", 5), staged_clip("quake/-", 6), *clips(1, 2)))
    for manifest in (count, exercise):
        rig.wire += 1
        name = rig.stage(manifest)
        rig.manifest(name, manifest)
        for each in manifest.clips:
            rig.fetched(int(each.sha256, 16))
    rig.sync()
    assert first not in rig.core._durable.sets
    assert len(rig.core._durable.sets) == 2
    rig.wire += 1
    newer = Manifest(tuple(staged_clip(f"event/e{n}", n + 20) for n in (1, 2)))
    name = rig.stage(newer)
    rig.manifest(name, newer)
    rig.sync()
    assert len(rig.core._durable.sets) == 3, "the newer one is not complete yet"


def test_a_set_is_let_go_when_it_expires() -> None:
    rig = Rig(held=(1,))
    manifest = Manifest((staged_clip("floor/actual/*/first", 1),))
    rig.manifest(rig.stage(manifest, expires=rig.wire + HOUR), manifest)
    assert len(rig.core.pinned()) == 2
    rig.wait(HOUR)
    rig.give(rig.play(clips=(clip(7),), patience_ms=0, signal="red"))
    assert rig.speaker is not None
    assert rig.speaker.clip is None, "not used any more, even before it is tidied away"
    rig.sync()
    assert rig.core._durable.sets == {}
    assert f"{1:064x}" not in rig.core.pinned()


def test_the_number_of_sets_is_bounded_and_the_oldest_gives_way() -> None:
    rig = Rig()
    names = []
    for n in range(MAX_SETS + 3):
        rig.wire += 1
        names.append(rig.stage(Manifest(clips(n + 1))))
    assert list(rig.core._durable.sets) == names[3:]
    rig.stage(Manifest(clips(99)), issued=rig.wire - 1_000)
    assert staged(rig).problem == "device-busy"
    assert list(rig.core._durable.sets) == names[3:]
    rig.sync()
    assert len(rig.hello.sets) == MAX_SETS


def test_ten_thousand_terminals_share_one_reading_of_a_manifest() -> None:
    calls = []

    def shared(manifest: Manifest, profile: Profile) -> dict[str, Any]:
        calls.append(profile)
        return {}

    rig = Rig()
    rig.core = Core(rig.identity, Durable(), boot="x", random=rig.random, held=rig.held, fitting=shared)
    rig.sync()
    manifest = Manifest(clips(1))
    rig.manifest(rig.stage(manifest), manifest)
    assert calls == [Profile(("bo", "zh"), frozenset({"mp3"}), "horn")]


# --- the manifest ---


def test_a_manifest_survives_its_bytes_and_is_named_by_their_hash() -> None:
    manifest = Manifest(clips(1, 2))
    data = encode_manifest(manifest)
    assert decode_manifest(data).clips == manifest.clips
    assert set_id(sha256(data).hexdigest()).startswith("s-")


@pytest.mark.parametrize(
    "name",
    [
        "../etc/passwd",
        "event/../x",
        "event/.",
        "event/.hidden",
        "event//x",
        "/event/x",
        "event/x/",
        "event",
        "event/x\n",
        "event/村",
        "EVENT/x",
        "event/" + "x" * 80,
        "event/a/b/c/d/e/f/g",
        "event/a*b",
        "event/a\x00",
    ],
)
def test_names_that_could_tempt_a_file_system_are_refused(name: str) -> None:
    data = encode_manifest(Manifest((staged_clip("event/x", 1),))).replace(b'"event/x"', _json(name))
    with pytest.raises(WireError):
        decode_manifest(data)


def _json(text: str) -> bytes:
    import json

    return json.dumps(text).encode()


def test_a_manifest_with_two_clips_for_one_variant_or_too_long_is_refused() -> None:
    with pytest.raises(WireError, match="two clips for event/x"):
        decode_manifest(encode_manifest(Manifest((staged_clip("event/x", 1), staged_clip("event/x", 2)))))
    with pytest.raises(WireError, match="2000000"):
        decode_manifest(b" " * 2_000_001)
    with pytest.raises(WireError):
        decode_manifest(b'{"clips":[]}')


def test_an_address_stays_below_the_audio_base() -> None:
    assert address("http://a:1/", "/clips/x.mp3", "h") == "http://a:1/clips/x.mp3"
    assert address("http://a:1", "", "h") == "http://a:1/clips/h"
    assert address("http://a:1", "//evil/x", "h") == "http://a:1/evil/x"
    assert address("http://a:1", "http://evil/x", "h") == "http://a:1/http://evil/x"


# --- standing messages ---


def keep(rig: Rig, broadcast: str = "s1", **changes: Any) -> None:
    given = {"standing": True, "expires": rig.wire + 300 * DAY, "repeats": 1}
    rig.give(rig.play(broadcast, **(given | changes)))


def test_a_standing_message_is_kept_and_sounds_by_a_hand_alone() -> None:
    rig = Rig()
    keep(rig)
    assert rig.states("s1") == ["accepted", "ready"]
    rig.wait(3 * HOUR)
    rig.boot()
    rig.wait(3 * HOUR)
    assert rig.sounding is None
    (standing,) = rig.core.standing(rig.mono)
    assert (standing.broadcast, standing.event, standing.ready) == ("s1", "e", True)
    rig.run(rig.core.by_hand("s1", rig.mono))
    assert rig.effects[0] == Save()
    assert rig.sounding == "s1"
    rig.play_out("s1")
    assert rig.states("s1")[-2:] == ["playing:by-hand", "played:by-hand"]


def test_each_sounding_by_hand_is_told_by_itself_even_when_the_line_was_down() -> None:
    rig = Rig()
    keep(rig)
    rig.run(rig.core.disconnected(rig.mono))
    for _ in range(12):
        rig.run(rig.core.by_hand("s1", rig.mono))
        rig.play_out("s1")
    rig.run(rig.core.connected(rig.mono))
    reasons = [f.reason for f in rig.reports("s1")[-1].facts if f.state == "played"]
    assert reasons == ["by-hand", *(f"by-hand-{n}" for n in range(2, 10))]
    assert len(rig.core.standing(rig.mono)) == 1


def test_a_sounding_by_hand_is_told_again_when_the_controller_has_shown_that_it_is_there() -> None:
    """After a county's power cut the loudspeakers find the broker before the controller does: what they say
    into it then nobody hears, and nobody asks."""
    rig = Rig()
    keep(rig)
    rig.run(rig.core.disconnected(rig.mono))
    rig.run(rig.core.by_hand("s1", rig.mono))
    rig.play_out("s1")

    def told() -> bool:
        return any(f.reason == "by-hand" for r in rig.reports("s1") for f in r.facts if f.state == "played")

    rig.run(rig.core.connected(rig.mono))
    assert told()
    rig.sent = [said for said in rig.sent if isinstance(said, Hello)]  # all else is lost
    rig.run(rig.core.disconnected(rig.mono))
    rig.run(rig.core.connected(rig.mono))
    rig.sent = [said for said in rig.sent if isinstance(said, Hello)]
    rig.time()
    assert told()
    rig.sent = [said for said in rig.sent if isinstance(said, Hello)]
    rig.sync()
    assert rig.reports("s1") == [], "once heard it is not told at every hello"
    rig.boot()
    assert told(), "nor does a power cut forget it"


def test_a_hand_reaches_it_without_a_line_and_without_the_time() -> None:
    rig = Rig()
    keep(rig)
    rig.boot(sync=False)
    rig.run(rig.core.by_hand("s1", rig.mono))
    assert rig.sounding == "s1"
    rig.play_out("s1")
    rig.sync()
    rig.ask("s1")
    assert rig.states("s1")[-1] == "played:by-hand"


def test_a_standing_message_may_live_400_days_and_another_only_one() -> None:
    rig = Rig()
    keep(rig, "s1", expires=rig.wire + 400 * DAY)
    keep(rig, "s2", expires=rig.wire + 400 * DAY + 1)
    rig.give(rig.play("b1", expires=rig.wire + 2 * DAY))
    assert rig.states("s1")[-1] == "ready"
    assert rig.states("s2") == ["refused:lifetime"]
    assert rig.states("b1") == ["refused:lifetime"]


def test_no_hand_can_sound_what_is_not_standing_or_stopped_or_expired_or_on_already() -> None:
    rig = Rig()
    rig.give(rig.play("b1"))
    keep(rig, "s1")
    keep(rig, "s2", expires=rig.wire + HOUR)
    keep(rig, "s3")
    rig.give(rig.stop("s1"))
    rig.wait(HOUR)
    rig.run(rig.core.by_hand("s3", rig.mono))
    for broadcast, why in (
        ("b1", "no standing"),
        ("b9", "no standing"),
        ("s1", "cancelled"),
        ("s3", "on already"),
    ):
        with pytest.raises(NotByHand, match=why):
            rig.core.by_hand(broadcast, rig.mono)
    with pytest.raises(NotByHand, match="expired"):
        rig.core.by_hand("s2", rig.mono)
    rig.sync()
    assert rig.states("s2")[-1] == "expired"
    assert [s.broadcast for s in rig.core.standing(rig.mono)] == ["s3"]


def test_a_forged_or_replayed_standing_message_is_not_kept() -> None:
    rig = Rig()
    play = rig.play("s1", standing=True)
    rig.bytes(SERVICE.seal(Stage("s-0", "0" * 64, 1, "", 0, 1, Targets())))
    rig.bytes(STRANGER.seal(play))
    assert rig.core.standing(rig.mono) == ()
    rig.give(play)
    rig.give(rig.stop("s1"))
    rig.give(play)
    assert rig.core.standing(rig.mono) == ()


def test_a_stop_reaches_a_standing_message_that_a_hand_has_started() -> None:
    rig = Rig()
    keep(rig)
    rig.run(rig.core.by_hand("s1", rig.mono))
    rig.started("s1")
    rig.give(rig.stop("s1"))
    assert rig.sounding is None
    assert rig.states("s1")[-1] == "cancelled:stopped"
    with pytest.raises(NotByHand):
        rig.core.by_hand("s1", rig.mono)


def test_the_hand_can_stop_what_it_started_and_nothing_else() -> None:
    rig = Rig()
    keep(rig)
    rig.give(rig.play("b1"))
    rig.started("b1")
    rig.run(rig.core.silence_by_hand("b1", rig.mono))
    assert rig.sounding == "b1"
    rig.finished("b1")
    rig.run(rig.core.by_hand("s1", rig.mono))
    rig.started("s1")
    rig.run(rig.core.silence_by_hand("s1", rig.mono))
    assert rig.sounding is None
    assert rig.states("s1")[-1] == "preempted:by-hand"
    rig.run(rig.core.by_hand("s1", rig.mono))
    assert rig.sounding == "s1"


def test_a_real_warning_cuts_what_a_hand_has_started_if_it_is_more_urgent() -> None:
    rig = Rig()
    keep(rig, priority=(0, 1, 4, 4))
    rig.run(rig.core.by_hand("s1", rig.mono))
    rig.started("s1")
    rig.give(rig.play("b1"))
    assert rig.sounding == "b1"


def test_a_power_cut_in_a_sounding_by_hand_waits_for_the_hand_again() -> None:
    rig = Rig()
    keep(rig)
    rig.run(rig.core.by_hand("s1", rig.mono))
    rig.started("s1")
    rig.boot()
    rig.wait(HOUR)
    assert rig.sounding is None
    assert rig.states("s1")[-1] == "interrupted"
    assert len(rig.core.standing(rig.mono)) == 1


def test_a_standing_clip_is_fetched_pinned_and_fetched_again_after_a_power_cut() -> None:
    rig = Rig(held=())
    keep(rig)
    assert "Fetch" in kinds(rig.effects)
    assert f"{1:064x}" in rig.core.pinned()
    assert rig.core.standing(rig.mono)[0].ready is False
    rig.boot()
    assert "Fetch" in kinds(rig.effects)
    rig.fetched(1)
    assert rig.states("s1") == ["accepted", "ready"]
    for _ in range(3):
        rig.fetched(1, "HTTP 404")
    assert rig.states("s1") == ["accepted", "ready"]


def test_a_hand_that_finds_the_clip_missing_hears_the_generic_sentence() -> None:
    rig = Rig(held=())
    keep(rig, signal="red")
    rig.run(rig.core.by_hand("s1", rig.mono))
    assert rig.speaker is not None
    assert (rig.speaker.clip, rig.speaker.signal) == (None, "red")
    rig.started("s1")
    rig.finished("s1")
    assert rig.sounding is None
    assert rig.states("s1") == ["accepted", "playing:floor"]


def test_a_newer_standing_message_replaces_the_older_one_once_its_clip_is_here() -> None:
    rig = Rig(held=(1,))
    keep(rig, "s1")
    keep(rig, "s2", clips=(clip(2),), replaces=("s1",))
    assert {s.broadcast for s in rig.core.standing(rig.mono)} == {"s1", "s2"}
    rig.fetched(2)
    assert {s.broadcast for s in rig.core.standing(rig.mono)} == {"s2"}
    assert rig.states("s1")[-1] == "cancelled:replaced"


def test_standing_messages_are_bounded_and_give_way_to_nothing() -> None:
    rig = Rig()
    for n in range(33):
        keep(rig, f"s{n}")
    assert rig.states("s32") == ["refused:device-busy"]
    for n in range(300):
        rig.give(rig.play(f"b{n}"))
        rig.broke(f"b{n}")
    assert len(rig.core._durable.records) <= 256
    assert len(rig.core.standing(rig.mono)) == 32


def test_what_a_terminal_says_of_sets_and_standing_messages_always_fits() -> None:
    rig = Rig(held=range(64))
    for n in range(MAX_SETS):
        rig.wire += 1
        rig.stage(Manifest(clips(n + 1)))
    rig.sync()
    assert isinstance(rig.hello, Hello)
    assert len(rig.hello.holds) == 64
    assert len(rig.hello.sets) == MAX_SETS
