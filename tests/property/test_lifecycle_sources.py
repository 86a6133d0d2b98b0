"""The same warning from five sources is one event, whoever is first; the most trusted one decides."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

from alert_builders import ALL, HERE, T0, alert
from hypothesis import given
from hypothesis import strategies as st

from alerts.feed import Trust
from alerts.lifecycle import (
    GONE,
    Cancel,
    Continuation,
    Decision,
    Duplicate,
    Known,
    New,
    Stale,
    State,
    Update,
    classify,
    remember,
    settled,
)
from alerts.model import Alert, Area, Colour, MsgType, Quake, Severity

MINUTE = timedelta(minutes=1)
NATIONAL = "62302341600000_20260715061500"
NEXT = "62302341600000_20260715063000"
END = "62302341600000_20260715070000"


@dataclass(frozen=True)
class Word:
    """A message as one source brings it."""

    alert: Alert
    trust: Trust
    feed: str
    villages: frozenset[str] = HERE


@dataclass
class Desk:
    """Releases what is official and not in doubt; holds the rest, as the release table must."""

    known: list[tuple[Known, Word]] = field(default_factory=list)
    sounded: list[tuple[str, frozenset[str]]] = field(default_factory=list)

    def take(self, word: Word, minutes: int = 30) -> Decision:
        now = T0 + minutes * MINUTE
        items = [item for item, _ in self.known]
        found = classify(word.alert, items, now, villages=word.villages, trust=word.trust, feed=word.feed)
        if isinstance(found, Duplicate):
            return found
        held = bool(found.doubt) or word.trust is not Trust.OFFICIAL
        if isinstance(found, Cancel) and found.silent:
            held = False
        state = settled(word.alert, found, held=held)
        if word.trust is not Trust.OFFICIAL and state is State.RELEASED:
            state = State.CLOSED
        if not held:
            over = State.CANCELLED if isinstance(found, Cancel) else State.SUPERSEDED
            self.known = [
                (replace(item, state=over), w)
                if item.identifier in found.withdraws and item.state in (State.HELD, State.RELEASED)
                else (item, w)
                for item, w in self.known
            ]
            if isinstance(found, New | Update | Continuation):
                self.sounded.append((word.feed, word.villages))
        kept = remember(word.alert, found, word.villages, state, trust=word.trust, feed=word.feed)
        self.known.append((kept, word))
        return found

    def of(self, state: State) -> list[str]:
        return [word.feed for item, word in self.known
                if item.state is state and item.msg_type is not MsgType.CANCEL]  # fmt: skip


def official(**changes: object) -> Word:
    return Word(alert(NATIONAL, sender="舟曲县气象台", **changes), Trust.OFFICIAL, "bureau")


def others(minutes: tuple[int, int, int, int]) -> list[Word]:
    """Four more sources: other times, areas, wording; two have identifiers of their own."""
    at = [T0 + n * MINUTE for n in minutes]
    nmc = alert(NATIONAL, sender="NMC", sent=at[0], instruction="", description="改写")
    list_12379 = alert(NATIONAL, sender="12379", sent=at[1], instruction="另一种说法")
    qweather = alert("10023-77", sender="qweather", sent=at[2], instruction="")
    caiyun = alert("abc", sender="caiyun", sent=at[3], expires=at[3] + timedelta(hours=9))
    return [
        Word(nmc, Trust.RELAY, "nmc", ALL),
        Word(list_12379, Trust.RELAY, "12379"),
        Word(qweather, Trust.UNOFFICIAL, "qweather", ALL),
        Word(caiyun, Trust.UNOFFICIAL, "caiyun"),
    ]


offsets = st.tuples(*[st.integers(-4, 5)] * 4)


@given(offsets, st.randoms(use_true_random=False))
def test_five_sources_in_any_order_sound_once_with_the_official_area_and_leave_nothing_held(
    minutes: tuple[int, int, int, int], random
) -> None:  # type: ignore[no-untyped-def]
    words = [official(), *others(minutes)]
    random.shuffle(words)
    desk = Desk()
    for word in words:
        desk.take(word)
    assert desk.sounded == [("bureau", HERE)], [w.feed for w in words]
    assert desk.of(State.RELEASED) == ["bureau"]
    assert desk.of(State.HELD) == []


@given(offsets, st.randoms(use_true_random=False))
def test_without_the_official_one_nothing_sounds_and_one_hold_asks_the_operator(
    minutes: tuple[int, int, int, int], random
) -> None:  # type: ignore[no-untyped-def]
    words = others(minutes)
    random.shuffle(words)
    desk = Desk()
    for word in words:
        desk.take(word)
    assert desk.sounded == []
    assert len(desk.of(State.HELD)) >= 1
    assert len({item.event_key for item, w in desk.known if item.state is State.HELD}) == 1


lower = st.sampled_from([Trust.RELAY, Trust.UNOFFICIAL])


@given(
    lower,
    st.sampled_from([None, *Colour]),
    st.sampled_from([HERE, ALL, frozenset({"v3"}), frozenset({"v9"})]),
    st.sampled_from([MsgType.ALERT, MsgType.UPDATE, MsgType.CANCEL]),
    st.sampled_from([NATIONAL, NEXT, "abc"]),
    st.integers(0, 120),
    st.booleans(),
)
def test_nothing_of_a_less_trusted_source_replaces_or_ends_what_is_in_force_by_itself(
    trust: Trust,
    colour: Colour | None,
    villages: frozenset[str],
    kind: MsgType,
    identifier: str,
    minutes: int,
    gone: bool,
) -> None:
    desk = Desk()
    desk.take(official(), 1)
    refs = () if kind is MsgType.ALERT else (NATIONAL,)
    message = alert(
        identifier,
        msg_type=kind,
        references=refs,
        colour=colour,
        sent=T0 + minutes * MINUTE,
        inferred=(GONE,) if gone and kind is MsgType.CANCEL else (),
    )
    found = desk.take(Word(message, trust, "x", villages), minutes + 1)
    assert desk.of(State.RELEASED) == ["bureau"]
    assert desk.sounded == [("bureau", HERE)]
    if found.withdraws and not isinstance(found, Stale):
        assert found.doubt, "an operator decides"
        assert "bureau (official)" in found.doubt


@given(offsets, st.randoms(use_true_random=False))
def test_the_official_cancel_ends_it_whoever_brought_the_warning_first(
    minutes: tuple[int, int, int, int], random
) -> None:  # type: ignore[no-untyped-def]
    words = [official(), *others(minutes)]
    random.shuffle(words)
    desk = Desk()
    for word in words:
        desk.take(word)
    ends = alert(END, sender="NMC", msg_type=MsgType.CANCEL, references=(NATIONAL,), sent=T0 + 60 * MINUTE)
    relayed = desk.take(Word(ends, Trust.RELAY, "nmc"), 61)
    assert isinstance(relayed, Cancel)
    assert relayed.doubt
    found = desk.take(Word(replace(ends, sender="舟曲县气象台"), Trust.OFFICIAL, "bureau"), 62)
    assert isinstance(found, Cancel), found
    assert not found.doubt
    assert desk.of(State.RELEASED) == desk.of(State.HELD) == []
    for late in words:
        desk.take(late, 63)
    assert desk.of(State.RELEASED) == []
    assert len(desk.sounded) == 1


def test_two_issues_of_one_agency_within_ten_minutes_are_two() -> None:
    desk = Desk()
    desk.take(official())
    again = replace(official(sent=T0 + 9 * MINUTE).alert, identifier=NEXT)
    assert isinstance(desk.take(Word(again, Trust.OFFICIAL, "bureau")), Continuation)


def test_what_differs_in_place_colour_or_time_is_another_warning() -> None:
    desk = Desk()
    desk.take(official())
    for changes in ({"colour": Colour.YELLOW}, {"sent": T0 + 11 * MINUTE}, {"hazard": "hail"}):
        other = alert("abc", sender="qweather", **changes)
        found = desk.take(Word(other, Trust.UNOFFICIAL, "qweather"), 12)
        assert isinstance(found, New), changes
        desk.known.pop()
    elsewhere = Word(alert("abc", sender="qweather"), Trust.UNOFFICIAL, "qweather", frozenset({"v9"}))
    assert isinstance(desk.take(elsewhere), New)


def test_what_its_list_no_longer_has_ends_silently_and_a_failed_twin_does_not() -> None:
    desk = Desk()
    nmc = Word(alert(NATIONAL, sender="NMC"), Trust.RELAY, "nmc")
    desk.take(nmc)
    gone = replace(nmc.alert, msg_type=MsgType.CANCEL, inferred=(GONE,))
    gone = replace(gone, references=alert("x", references=(NATIONAL,)).references)
    found = desk.take(Word(gone, Trust.RELAY, "nmc"))
    assert isinstance(found, Cancel)
    assert found.silent
    assert not found.doubt
    assert desk.of(State.HELD) == []


def test_a_cancel_without_a_reference_ends_what_it_describes_and_is_doubted_where_it_does_not_fit() -> None:
    def ends(**changes: object) -> Decision:
        desk = Desk()
        desk.take(official())
        villages = changes.pop("villages", HERE)
        named = {"identifier": END, "sender": "舟曲县气象台", **changes}
        over = alert(msg_type=MsgType.CANCEL, sent=T0 + 20 * MINUTE, **named)
        return desk.take(Word(over, Trust.OFFICIAL, "bureau", villages))  # type: ignore[arg-type]

    found = ends()
    assert isinstance(found, Cancel)
    assert (found.withdraws, found.doubt) == ((NATIONAL,), "")
    assert "yellow" in ends(colour=Colour.YELLOW).doubt
    assert "fewer" in ends(villages=frozenset({"v3"})).doubt
    assert not isinstance(ends(hazard="hail"), Cancel)
    stranger = ends(sender="others", identifier="10023-99")
    assert not isinstance(stranger, Cancel)
    assert not isinstance(ends(villages=frozenset({"v9"})), Cancel)


def shock(sender: str, *, seconds: float = 0, lat: float = 33.8, magnitude: float = 6.0) -> Alert:
    quake = Quake(T0 + timedelta(seconds=seconds), lat, 104.3, magnitude)
    return alert(f"{sender}-{seconds}-{lat}", sender=sender, hazard="earthquake", colour=None, quake=quake)


def test_one_earthquake_of_two_networks_is_one_event_and_an_aftershock_is_another() -> None:
    desk = Desk()
    desk.take(Word(shock("icl"), Trust.UNOFFICIAL, "icl"), 1)
    found = desk.take(Word(shock("cenc", seconds=4, lat=34.2), Trust.OFFICIAL, "cenc"), 1)
    assert isinstance(found, Update)
    assert found.first
    assert desk.of(State.HELD) == []
    again = desk.take(Word(shock("wolfx", seconds=-3, magnitude=7.0), Trust.UNOFFICIAL, "wolfx", ALL), 1)
    assert isinstance(again, Duplicate)
    for other in (shock("wolfx", seconds=40), shock("wolfx", lat=36.0)):
        assert isinstance(desk.take(Word(other, Trust.UNOFFICIAL, "wolfx"), 1), New | Continuation)
    assert desk.sounded == [("cenc", HERE)]


def test_two_relays_of_one_network_that_stamp_its_report_a_second_apart_bring_it_once() -> None:
    desk = Desk()
    report = replace(shock("cea"), identifier="cea-1-r3")
    desk.take(Word(report, Trust.UNOFFICIAL, "wolfx"), 1)
    later = replace(report, sent=report.sent - timedelta(seconds=1))
    assert isinstance(desk.take(Word(later, Trust.UNOFFICIAL, "fan"), 1), Duplicate)
    assert desk.of(State.HELD) == ["wolfx"]
    moved = replace(later, infos=shock("cea", lat=38.0).infos)
    assert not isinstance(desk.take(Word(moved, Trust.UNOFFICIAL, "fan"), 1), Duplicate)


def test_a_private_source_that_names_no_place_echoes_the_official_warning_whoever_is_first() -> None:
    nowhere = replace(alert("10023-77", sender="舟曲县气象台", sent=T0 - MINUTE), infos=())
    info = alert("x").infos[0]
    nowhere = replace(nowhere, infos=(replace(info, areas=(Area("舟曲县气象台"),)),))
    echo = Word(nowhere, Trust.UNOFFICIAL, "qweather", frozenset())
    for words in ([official(), echo], [echo, official()]):
        desk = Desk()
        found = [desk.take(word) for word in words]
        assert desk.of(State.HELD) == [], [w.feed for w in words]
        assert desk.sounded == [("bureau", HERE)]
        assert isinstance(found[1], Duplicate | Update)
    other = replace(nowhere, infos=(replace(nowhere.main, colour=Colour.RED),))
    desk = Desk()
    desk.take(official())
    desk.take(Word(other, Trust.UNOFFICIAL, "qweather", frozenset()))
    assert desk.of(State.HELD) == ["qweather"], "what contradicts the official one is shown"


def test_villages_that_are_left_out_are_told_it_is_over_unless_it_gets_worse() -> None:
    def narrowed(**changes: object) -> Decision:
        desk = Desk()
        desk.take(official(severity=Severity.MODERATE))
        fields = {"severity": Severity.MODERATE, **changes}
        later = alert(NEXT, msg_type=MsgType.UPDATE, references=(NATIONAL,), sent=T0 + 20 * MINUTE, **fields)
        return desk.take(Word(later, Trust.OFFICIAL, "bureau", frozenset({"v3"})))

    for changes in ({}, {"colour": Colour.YELLOW}, {"instruction": "别的"}):
        found = narrowed(**changes)
        assert isinstance(found, Update)
        assert found.ends == HERE - {"v3"}, changes
    for changes in ({"colour": Colour.RED}, {"severity": Severity.EXTREME}):
        found = narrowed(**changes)
        assert isinstance(found, Update)
        assert found.ends == frozenset(), changes
