"""Every fault at its seam, without a fleet."""

import random

import pytest

from simulators.faults import (
    GOOD_LINK,
    HEALTHY,
    REORDERED_S,
    Breaks,
    Fault,
    FaultSettings,
    Link,
    LosesPower,
    Plays,
    Pretends,
    Seam,
    outcome,
    seam,
)
from terminals.delivery import State
from terminals.seal import KeyRing, KeyRole, SealError, new_signer, open_report, seal_report
from terminals.wire import Clip, Fact, Hello, Play, Query, Report, Targets

SETTINGS = FaultSettings(power_back_s=7, lost_reports=2, lost_commands=2, slow_s=3, late_s=4)
SIGNER = new_signer(KeyRole.TEST, bytes([7]) * 36, sandbox=True)
SERVICE = new_signer(KeyRole.SERVICE, bytes([8]) * 36, sandbox=True)
RING = KeyRing.of([SIGNER, SERVICE])
PLAY = SIGNER.seal(
    Play(
        broadcast="b1",
        event="e",
        role="test",
        attempt=1,
        counter=1,
        issued=1,
        not_before=1,
        expires=2,
        priority=(0, 0, 0, 0),
        targets=Targets(groups=("all",)),
        clips=(Clip("zh", "mp3", "0" * 64, 1, 1.0),),
        repeats=1,
        volume=50,
    )
)
QUERY = SERVICE.seal(Query("b1", 1))
FACTS = (Fact(1, "accepted", 1), Fact(1, "ready", 2))
REPORT = seal_report(Report("sim-00001", "b1", "boot", 1, FACTS), "sim-00001", bytes(32))
HELLO = seal_report(Hello("sim-00001", "boot", 1, "n" * 16, 0), "sim-00001", bytes(32))


def made(fault: Fault | None) -> Seam:
    return seam(fault, SETTINGS, random.Random(1))


def marks(one: Seam) -> dict[str, object]:
    """Everything that a seam does to the world, asked once."""
    return {
        "connects": one.connects,
        "joins": one.joins,
        "connect_after_s": one.connect_after_s,
        "keeps_disk": one.keeps_disk,
        "own_link": one.own_link,
        "fetch_s": one.fetch_s,
        "disk_full": one.disk_full,
        "fetches": one.fetches,
        "reboots": (one.reboots, one.reboot_every_s),
        "drift": one.drift,
        "utters": len(one.utters(REPORT, "sim-00001", bytes(32))),
        "greets": one.utters(HELLO, "sim-00001", bytes(32)) == (("sim-00001", HELLO),),
        "wall_offset_s": one.wall_offset_s,
        "amplifier_ok": one.amplifier_ok,
        "ring": one.ring(RING) is RING,
        "play": one.hears(PLAY),
        "query": one.hears(QUERY),
        "report": one.says(REPORT),
        "hello": one.says(HELLO),
        "clip": one.clip(0, b"abc") + one.clip(3, b"def"),
        "plays": one.plays(20.0),
    }


CHANGES: dict[Fault, dict[str, object]] = {
    Fault.OFFLINE: {"connects": False, "joins": False},
    Fault.BAD_HASH: {"own_link": True, "clip": b"`bcdef"},
    Fault.WRONG_KEY: {"joins": False, "ring": False},
    Fault.DEAD_AMPLIFIER: {"amplifier_ok": False, "plays": Breaks(1.0, "amplifier")},
    Fault.POWER_CUT: {"keeps_disk": True, "plays": LosesPower(10.0, 7)},
    Fault.MUTE: {"report": False},
    Fault.SLOW_LINK: {"own_link": True, "fetch_s": 3},
    Fault.LATE: {"joins": False, "connect_after_s": 4},
    Fault.CLOCK_WRONG: {"wall_offset_s": 86_400.0},
    Fault.DEAF: {"play": False},
    Fault.REBOOTS: {"keeps_disk": True, "reboots": (3, 4.0)},
    Fault.CLOCK_DRIFTS: {"drift": 0.02},
    Fault.FULL_DISK: {"disk_full": True},
    Fault.CLAIMS_PLAYED: {"fetches": False, "plays": Pretends()},
    Fault.SPEAKS_FOR_OTHERS: {"utters": 3},
    Fault.DISORDERLY: {"utters": 2},
}


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_changes_what_it_is_about_and_nothing_else(fault: Fault) -> None:
    healthy = marks(HEALTHY)
    found = marks(made(fault))
    assert {k: v for k, v in found.items() if v != healthy[k]} == CHANGES[fault]


def test_a_healthy_terminal_passes_everything_on() -> None:
    assert made(None) is HEALTHY
    found = marks(HEALTHY)
    assert (found["clip"], found["plays"]) == (b"abcdef", Plays())
    assert all(found[k] for k in ("connects", "joins", "ring", "play", "query", "report", "hello"))


def test_only_the_first_reports_and_commands_are_lost() -> None:
    mute, deaf = made(Fault.MUTE), made(Fault.DEAF)
    assert [mute.says(REPORT) for _ in range(4)] == [False, False, True, True]
    assert [deaf.hears(PLAY) for _ in range(4)] == [False, False, True, True]


def test_power_is_lost_once() -> None:
    one = made(Fault.POWER_CUT)
    assert [type(one.plays(1.0)) for _ in range(3)] == [LosesPower, Plays, Plays]


def test_the_strangers_keys_are_of_the_sandbox_and_unknown_here() -> None:
    ring = made(Fault.WRONG_KEY).ring(RING)
    assert ring.is_sandbox
    assert {role for role, _ in ring.keys.values()} == set(KeyRole)
    assert not set(ring.keys) & set(RING.keys)


def test_every_fault_has_an_ending() -> None:
    unheard = {f for f in Fault if outcome(f) != (State.PLAYED, "")}
    assert unheard == {
        Fault.OFFLINE, Fault.BAD_HASH, Fault.WRONG_KEY, Fault.DEAD_AMPLIFIER, Fault.FULL_DISK,
    }  # fmt: skip
    assert outcome(None) == (State.PLAYED, "")


# --- liars and links ---------------------------------------------------------------------------------


def test_a_liars_word_for_its_neighbour_is_sealed_with_its_own_key_and_so_believed_by_nobody() -> None:
    own, *forged = made(Fault.SPEAKS_FOR_OTHERS).utters(REPORT, "sim-00001", bytes(32))
    assert own == ("sim-00001", REPORT)
    assert [topic for topic, _ in forged] == ["sim-00002", "sim-00001"]
    keys = {"sim-00001": bytes(32), "sim-00002": bytes([1]) * 32}
    for _, payload in forged:
        with pytest.raises(SealError):
            open_report(payload, keys.get)


def test_a_disorderly_one_says_all_of_it_backwards_under_its_own_seal() -> None:
    said = made(Fault.DISORDERLY).utters(REPORT, "sim-00001", bytes(32))
    reports = [open_report(payload, {"sim-00001": bytes(32)}.get) for _, payload in said]
    assert [r.facts for r in reports if isinstance(r, Report)] == [FACTS[1:], FACTS[:1]]


def test_a_bad_link_loses_doubles_delays_and_reorders_its_share_and_a_good_one_nothing() -> None:
    dice = random.Random(1)
    assert {GOOD_LINK.copies(dice) for _ in range(100)} == {(0.0,)}
    link = Link(loss=0.2, duplicated=0.3, reordered=0.1, delay_s=1.0, jitter_s=0.2)
    came = [link.copies(dice) for _ in range(5_000)]
    times = [t for copies in came for t in copies]
    assert sum(not copies for copies in came) / 5_000 == pytest.approx(0.2, abs=0.03)
    assert sum(len(copies) == 2 for copies in came) / 5_000 == pytest.approx(0.8 * 0.3, abs=0.03)
    assert all(1.0 <= t <= 1.2 or 1.0 + REORDERED_S <= t <= 1.2 + REORDERED_S for t in times)
    assert sum(t > 1.3 for t in times) / len(times) == pytest.approx(0.1, abs=0.03)
    assert Link(kbps=8).fetch_s(1_000) == pytest.approx(1.0)
    assert GOOD_LINK.fetch_s(10**9) == 0


@pytest.mark.parametrize(
    ("wrong", "says"), [({"loss": 1.1}, "loss"), ({"delay_s": 61}, "delay_s"), ({"kbps": 0.5}, "kbps")]
)
def test_a_link_out_of_range_is_refused_by_name(wrong: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Link(**wrong)
