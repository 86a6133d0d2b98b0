"""A standing message: its plan, its words, who holds it, and when it is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

from alerts.model import Colour
from config.counties import load_county
from controller.planning import LONGEST, LONGEST_STANDING, MOST_STANDING, Plan, standing, to_broadcast
from controller.standing import anew, cover, hands
from terminals.broadcast import Kind, Lane
from terminals.delivery import BY_HANDS, Facts, Policy, State, holds, is_settled, sounds_by_hand
from terminals.model import Terminal
from tts import templates
from tts.script import ScriptRequest, compose

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
STOPPING = Policy(expires=1_000_000, seconds=20.0, quiet=300, standing=True, stopping=True)
KEEPING = replace(STOPPING, stopping=False)


def facts(*told: tuple[State, str, int], attempt: int = 1) -> Facts:
    return {(attempt, state, reason): (at, "") for state, reason, at in told}


ACCEPTED, READY = (State.ACCEPTED, "", 1), (State.READY, "", 2)
BEGUN, ENDED = (State.PLAYING, BY_HANDS[0], 10), (State.PLAYED, BY_HANDS[0], 30)
AGAIN = (State.PLAYING, BY_HANDS[1], 50)
STOPPED = (State.CANCELLED, "stopped", 60)


def request(**given: object) -> ScriptRequest:
    known: dict[str, object] = {
        "kind": "actual",
        "stage": "first",
        "hazard": "flash_flood",
        "colour": Colour.RED,
        "issuer": "舟曲县应急管理局",
        "issued": NOW,
        "places": ("大川镇",),
        "expires": NOW + timedelta(days=90),
        "description": "断电断网时由村干部播放。",
        "standing": True,
    }
    return ScriptRequest(**{**known, **given})  # type: ignore[arg-type]


@cache
def a_plan() -> Plan:
    return Plan(
        kind=Kind.ACTUAL,
        stage="first",
        event_key="O-1",
        hazard="flash_flood",
        colour=Colour.RED,
        lane=Lane.NORMAL,
        issuer_level=4,
        headline="山洪红色预警",
        villages=(),
        places=("大川镇",),
        terminals=("t-1", "t-2"),
        groups=(),
        silent_villages=(),
        script=request(standing=False, onset=NOW + timedelta(hours=1)),
        expires=NOW + timedelta(hours=6),
        repeats=3,
        volume=100,
        why=(),
        problems=(),
    )


def test_it_lives_for_days_where_another_message_lives_for_one_at_most() -> None:
    until = NOW + timedelta(days=90)
    made = to_broadcast(standing(a_plan(), until, {}), "B-1", "A-1", wall=NOW, wire_ms=0)
    assert made.standing
    assert made.expires_ms == 90 * 86_400_000
    far = replace(a_plan(), standing=True, expires=NOW + timedelta(days=900))
    assert (
        to_broadcast(far, "B", "A", wall=NOW, wire_ms=0).expires_ms == LONGEST_STANDING.total_seconds() * 1000
    )
    plain = replace(a_plan(), expires=until)
    assert to_broadcast(plain, "B", "A", wall=NOW, wire_ms=0).expires_ms == LONGEST.total_seconds() * 1000


def test_a_terminal_that_is_full_refuses_it_before_anything_is_sent() -> None:
    full = standing(a_plan(), NOW + timedelta(days=1), {"t-1": MOST_STANDING, "t-2": MOST_STANDING - 1})
    assert full.problems == (
        f"1 of these loudspeakers keep {MOST_STANDING} standing messages already; drop one",
    )
    assert standing(a_plan(), NOW + timedelta(days=1), {"t-1": MOST_STANDING - 1}).problems == ()


def test_what_a_hand_sounds_in_a_year_says_no_time_and_no_end() -> None:
    zh = templates.load("zh")
    now = compose(request(standing=False), zh).text
    kept = compose(request(), zh).text
    assert "22日" in now
    assert "有效" in now
    assert "日" not in kept.replace("今日", "")
    assert "有效" not in kept
    assert "大川镇" in kept
    assert "断电断网时由村干部播放。" in kept
    assert compose(request(), zh).headline == compose(request(standing=False), zh).headline


def test_a_test_that_is_kept_names_no_time_either() -> None:
    zh = templates.load("zh")
    assert "22日" in compose(request(kind="test", standing=False), zh).text
    kept = compose(request(kind="test"), zh).text
    assert "22日" not in kept
    assert "测试" in kept


def test_it_is_held_from_ready_until_a_stop_its_end_or_the_end_of_its_key() -> None:
    assert not holds({})
    assert not holds(facts(ACCEPTED))
    assert holds(facts(ACCEPTED, READY))
    assert holds(facts(ACCEPTED, READY, BEGUN, ENDED)), "a hand does not use it up"
    for end in (STOPPED, (State.EXPIRED, "", 60), (State.FAILED, "unknown-key", 60)):
        assert not holds(facts(ACCEPTED, READY, end))
    lacking = dict(facts(ACCEPTED, (State.FAILED, "fetch", 5)))
    assert not holds(lacking)
    assert holds(lacking | dict(facts(ACCEPTED, READY, attempt=2)))


def test_it_sounds_at_a_hand_until_its_last_word_says_otherwise() -> None:
    assert not sounds_by_hand(facts(ACCEPTED, READY))
    assert sounds_by_hand(facts(ACCEPTED, READY, BEGUN))
    assert not sounds_by_hand(facts(ACCEPTED, READY, BEGUN, ENDED))
    assert sounds_by_hand(facts(ACCEPTED, READY, BEGUN, ENDED, AGAIN))
    assert not sounds_by_hand(facts(ACCEPTED, READY, BEGUN, ENDED, AGAIN, STOPPED))
    assert not sounds_by_hand(facts((State.PLAYING, "", 10)))


def test_a_drop_is_owed_to_whoever_has_played_it_until_it_says_that_it_is_gone() -> None:
    played = facts(ACCEPTED, READY, BEGUN, ENDED)
    assert is_settled(played, KEEPING)
    assert not is_settled(played, STOPPING), "it could be played again"
    assert not is_settled(facts(ACCEPTED, READY, BEGUN, (State.FAILED, "amplifier", 20)), STOPPING)
    assert is_settled(facts(ACCEPTED, READY, BEGUN, ENDED, STOPPED), STOPPING)


def test_what_lost_its_key_waits_for_an_operator_and_is_not_sent_again_by_itself() -> None:
    assert is_settled(facts(ACCEPTED, READY, (State.FAILED, "unknown-key", 60)), KEEPING)
    assert not is_settled(facts((State.REFUSED, "unknown-key", 5)), KEEPING), "it may not have the ring yet"


def test_coverage_names_the_worst_township_first_and_why() -> None:
    county = load_county("zhouqu").county
    first, second = county.townships[0], county.townships[1]
    where = {
        name: Terminal(name, name, county.villages_of(town.key).__iter__().__next__())
        for name, town in (("a1", first), ("a2", first), ("b1", second), ("b2", second))
    }
    known = {
        "a1": facts(ACCEPTED, READY),
        "a2": facts(ACCEPTED, READY, BEGUN),
        "b1": facts((State.SENT, "", 0)),
        "b2": facts(ACCEPTED, READY, STOPPED),
    }
    total, rows = cover(known, where, county)
    assert (total.terminals, total.whole, total.silent) == (4, 2, 1)
    assert [row.name for row in rows] == [second.name, first.name]
    assert rows[0].problems == {"cancelled stopped": 1}
    (one,) = hands(known, where, county, ["a2"])
    assert (one.terminal, one.township, one.began, one.whole, one.now) == ("a2", first.name, (10,), 0, True)


def test_it_says_which_must_be_sent_anew_after_a_change_of_keys() -> None:
    kept = {"a1": facts(ACCEPTED, READY)}
    assert anew(kept, ["k1"], ["k1"], {}) == ""
    assert "k1 that sealed it is not believed" in anew(kept, ["k1"], ["k2"], {})
    assert "k1 that sealed it ends soon" in anew(kept, ["k1"], ["k1", "k2"], {"k1": 5})
    lost = {**kept, "a2": facts(ACCEPTED, READY, (State.FAILED, "unknown-key", 9))}
    assert anew(lost, ["k1"], ["k1"], {}).startswith("send it anew: 1 loudspeakers")
