from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from alert_builders import ALL, COUNTY, HERE, T0, alert, cap_text, national_text

from alerts.lifecycle import (
    Cancel,
    Continuation,
    Decision,
    Duplicate,
    Ignored,
    Known,
    Label,
    New,
    Refusal,
    Stale,
    State,
    Update,
    classify,
    remember,
    settled,
    sounds_as,
)
from alerts.lint import lint
from alerts.model import Alert, Colour, MsgType, Scope, Status, Urgency

MINUTE = timedelta(minutes=1)
NOW = T0 + 5 * MINUTE
NATIONAL = "62302341600000_20260715061500"


def known(
    message: Alert, state: State = State.RELEASED, villages: frozenset[str] = HERE, **changes: object
) -> Known:
    key = message.event_key
    return replace(remember(message, New("", key), villages, state), **changes)


def judge(
    message: Alert, *items: Known, villages: frozenset[str] = HERE, after: timedelta = 5 * MINUTE
) -> Decision:
    return classify(message, items, T0 + after, villages=villages)


# --- what may sound ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "scope", "kind"), list(product(Status, Scope, MsgType)))
def test_only_actual_public_alert_or_update_sounds_from_a_feed(
    status: Status, scope: Scope, kind: MsgType
) -> None:
    message = alert(status=status, scope=scope, msg_type=kind, references=("x",))
    found = sounds_as(message)
    if (status, scope) == (Status.ACTUAL, Scope.PUBLIC) and kind in (MsgType.ALERT, MsgType.UPDATE):
        assert found is Label.ACTUAL
    else:
        assert isinstance(found, Refusal)
        assert found.reason
        decision = judge(message, known(alert("x")))
        expected = (
            Cancel if (status, scope, kind) == (Status.ACTUAL, Scope.PUBLIC, MsgType.CANCEL) else Ignored
        )
        assert isinstance(decision, expected)


@pytest.mark.parametrize(("status", "scope", "kind"), list(product(Status, Scope, MsgType)))
def test_an_operators_exercise_and_test_sound_as_such_only(
    status: Status, scope: Scope, kind: MsgType
) -> None:
    found = sounds_as(alert(status=status, scope=scope, msg_type=kind, format="operator"))
    label = {Status.ACTUAL: Label.ACTUAL, Status.EXERCISE: Label.EXERCISE, Status.TEST: Label.TEST}.get(
        status
    )
    if label and scope is Scope.PUBLIC and kind in (MsgType.ALERT, MsgType.UPDATE):
        assert found is label
    else:
        assert isinstance(found, Refusal)


def test_an_exercise_never_touches_an_actual_warning() -> None:
    drill = alert("C", status=Status.EXERCISE, msg_type=MsgType.CANCEL, references=("A",), format="operator")
    assert isinstance(judge(drill, known(alert("A"))), Ignored)


# --- one message ---------------------------------------------------------------------------------------


def test_the_first_message_is_new() -> None:
    found = judge(alert())
    assert found == New("first message of its event", "A")


def test_the_same_message_again_is_a_duplicate() -> None:
    found = judge(alert(), known(alert()))
    assert isinstance(found, Duplicate)
    assert found.of == "A"


def test_cap_identifiers_of_two_senders_are_two_messages() -> None:
    other = alert(sender="fire", hazard="wildfire", event="山火")
    assert not isinstance(judge(other, known(alert())), Duplicate)


def test_two_senders_that_count_from_one_neither_replace_nor_end_each_others_warnings() -> None:
    """An identifier is unique for one sender (CAP 1.2 §3.2.1)."""
    rain = known(alert("17"))
    fire = alert("17", sender="fire", hazard="wildfire", event="山火", sent=T0 + MINUTE)
    found = judge(fire, rain)
    assert isinstance(found, New)
    assert not found.withdraws
    assert not found.doubt
    assert found.event_key != rain.event_key
    both = (rain, remember(fire, found, HERE, State.RELEASED))
    for mine, other in (both, both[::-1]):
        own = {"sender": mine.sender, "hazard": mine.hazard}
        for kind, wanted in ((MsgType.UPDATE, Update), (MsgType.CANCEL, Cancel)):
            message = alert(
                "18", msg_type=kind, references=("17",), colour=Colour.RED, sent=T0 + 2 * MINUTE, **own
            )
            second = judge(message, *both)
            assert isinstance(second, wanted)
            assert second.withdraws == ("17",)
            assert second.event_key == mine.event_key
            assert second.spares == {other.event_key}
            # And a third knows whose it is by the second.
            end = alert("19", msg_type=MsgType.CANCEL, references=("18",), sent=T0 + 3 * MINUTE, **own)
            third = judge(end, *both, remember(message, second, HERE, State.RELEASED))
            assert third.event_key == mine.event_key
            assert third.spares == {other.event_key}


def test_one_name_for_one_hazard_or_an_unknown_one_is_one_event_whoever_relays_it() -> None:
    for hazard in ("rainstorm", "unknown"):
        relayed = alert("17", sender="relay", hazard=hazard, colour=Colour.RED, sent=T0 + MINUTE)
        found = judge(relayed, known(alert("17")))
        assert not isinstance(found, New)
        assert not found.spares


def test_a_national_identifier_is_the_same_through_any_relay() -> None:
    relayed = alert(NATIONAL, sender="Zhouqu_County_Meteorological_Observatory", sent=T0 + 2 * MINUTE)
    assert isinstance(judge(relayed, known(alert(NATIONAL, sender="舟曲县气象台"))), Duplicate)


def test_an_expired_warning_is_stale() -> None:
    assert isinstance(judge(alert(), after=timedelta(hours=7)), Stale)
    assert isinstance(judge(alert(), after=timedelta(hours=6)), Stale), "the end itself is too late"


def test_a_message_from_the_future_is_doubted() -> None:
    assert judge(alert(sent=T0 + 16 * MINUTE)).doubt
    assert not judge(alert(sent=T0 + 14 * MINUTE)).doubt


def test_an_alert_of_the_past_is_doubted() -> None:
    assert "Past" in judge(alert(urgency=Urgency.PAST)).doubt


@pytest.mark.parametrize(
    ("changes", "villages", "kind", "announce"),
    [
        ({"headline": "改字"}, HERE, Duplicate, None),
        ({"colour": Colour.RED}, HERE, Update, True),
        ({"instruction": "留在室内"}, HERE, Update, True),
        ({}, ALL, Update, True),
        ({"colour": Colour.YELLOW}, HERE, Update, False),
        ({}, frozenset({"v3"}), Update, False),
    ],
)
def test_a_correction_under_the_same_key_is_announced_only_if_it_says_more(
    changes: dict[str, object], villages: frozenset[str], kind: type, announce: bool | None
) -> None:
    found = judge(alert(**changes), known(alert()), villages=villages)
    assert isinstance(found, kind)
    if isinstance(found, Update):
        assert found.announce is announce
        assert found.withdraws == ("A",)


def test_a_correction_of_what_is_over_is_only_a_duplicate() -> None:
    assert isinstance(judge(alert(colour=Colour.RED), known(alert(), State.CANCELLED)), Duplicate)


# --- updates -------------------------------------------------------------------------------------------


def later(identifier: str = "U", minutes: int = 2, **changes: object) -> Alert:
    fields = {"msg_type": MsgType.UPDATE, "references": ("A",), "sent": T0 + minutes * MINUTE, **changes}
    return alert(identifier, **fields)


@pytest.mark.parametrize(
    ("changes", "villages", "kind", "announce"),
    [
        ({}, HERE, Continuation, None),
        ({"headline": "继续发布", "description": "新的时间"}, HERE, Continuation, None),
        ({"colour": Colour.RED}, HERE, Update, True),
        ({"colour": Colour.BLUE}, HERE, Update, False),
        ({"colour": None}, HERE, Update, False),
        ({"instruction": "立即转移"}, HERE, Update, True),
        ({"hazard": "flash_flood"}, HERE, Update, True),
        ({}, ALL, Update, True),
        ({}, frozenset({"v3"}), Update, False),
        ({}, frozenset({"v3", "v5"}), Update, True),
    ],
)
def test_an_update_is_announced_when_it_says_more_and_a_renewal_is_a_continuation(
    changes: dict[str, object], villages: frozenset[str], kind: type, announce: bool | None
) -> None:
    found = judge(later(**changes), known(alert()), villages=villages)
    assert type(found) is kind
    assert (found.event_key, found.of, found.withdraws) == ("A", "A", ("A",))
    if isinstance(found, Update):
        assert found.announce is announce


@pytest.mark.parametrize("state", [State.HELD, State.RELEASED])
def test_a_renewal_of_what_never_sounded_must_sound(state: State) -> None:
    expired = known(alert(), state, expires=T0 + MINUTE)
    found = judge(later(minutes=62), expired, after=timedelta(hours=2))
    assert isinstance(found, Update)
    assert found.announce
    assert found.news
    assert found.first


def test_a_renewal_that_comes_a_little_after_the_end_is_still_a_renewal() -> None:
    found = judge(later(minutes=60), known(alert(), expires=T0 + MINUTE), after=timedelta(hours=2))
    assert isinstance(found, Continuation)


def test_an_update_of_an_unseen_event_is_new() -> None:
    found = judge(later())
    assert isinstance(found, New)
    assert "taken as new" in found.reason
    assert found.event_key == "A"


def test_an_older_update_is_stale() -> None:
    found = judge(later("U1", 2), known(alert(), State.SUPERSEDED), known(later("U2", 4)))
    assert isinstance(found, Stale)
    assert found.of == "U2"


def test_the_alert_after_its_update_is_stale() -> None:
    assert isinstance(judge(alert(), known(later())), Stale)


def test_a_newer_message_that_nobody_released_does_not_silence_but_is_told() -> None:
    for state in (State.HELD, State.CLOSED):
        found = judge(alert(), known(later(), state))
        assert isinstance(found, New)
        assert "U" in found.doubt


def test_a_message_from_the_far_future_orders_nothing() -> None:
    poison = known(later("P", sent=T0 + timedelta(days=400)))
    assert isinstance(judge(later(colour=Colour.RED), known(alert()), poison), Update)
    assert isinstance(
        judge(alert(), known(later("C", msg_type=MsgType.CANCEL, sent=T0 + timedelta(days=9)))), New
    )


def test_a_chain_and_a_star_are_one_event() -> None:
    chain = judge(later("U2", 4, references=("U1",)), known(alert(), State.SUPERSEDED), known(later("U1")))
    star = judge(later("U2", 4, references=("A",)), known(alert(), State.SUPERSEDED), known(later("U1")))
    assert isinstance(chain, Continuation)
    assert isinstance(star, Continuation)
    assert chain.event_key == star.event_key == "A"


def test_an_expired_update_still_replaces_what_it_updates() -> None:
    found = judge(later(expires=T0 + 3 * MINUTE), known(alert()))
    assert isinstance(found, Stale)
    assert found.withdraws == ("A",)


def test_a_renewal_without_reference_continues_the_same_hazard_and_area() -> None:
    found = judge(alert("B", sent=T0 + 30 * MINUTE), known(alert()), after=31 * MINUTE)
    assert isinstance(found, Continuation)
    assert (found.event_key, found.withdraws) == ("A", ("A",))
    raised = judge(alert("B", sent=T0 + 30 * MINUTE, colour=Colour.RED), known(alert()), after=31 * MINUTE)
    assert isinstance(raised, Update)
    assert raised.announce


@pytest.mark.parametrize(
    "changes",
    [
        {"hazard": "hail"},
        {"hazard": "unknown"},
        {"hazard": "earthquake"},
        {"sender": "another agency", "sent": T0 + 20 * MINUTE},
        {"format": "operator"},
    ],
)
def test_what_only_resembles_a_warning_in_force_is_new(changes: dict[str, object]) -> None:
    message = alert("B", **{"sent": T0 + 2 * MINUTE, **changes})
    same_hazard = alert(hazard=message.main.hazard if message.main.hazard != "hail" else "rainstorm")
    found = judge(message, known(same_hazard), after=25 * MINUTE)
    assert isinstance(found, New)


def test_a_warning_for_other_villages_or_after_the_end_is_new() -> None:
    message = alert("B", sent=T0 + 90 * MINUTE)
    other = frozenset({"v3", "v5"})
    assert isinstance(judge(message, known(alert()), villages=other, after=91 * MINUTE), New)
    over = known(alert(), expires=T0 + 20 * MINUTE)
    assert isinstance(judge(message, over, after=91 * MINUTE), New)


def test_a_warning_of_the_same_agency_for_more_villages_replaces_the_one_in_force() -> None:
    found = judge(alert("B", sent=T0 + 30 * MINUTE), known(alert()), villages=ALL, after=31 * MINUTE)
    assert isinstance(found, Update)
    assert found.announce
    assert not found.news, "who heard the first one has heard all of it"
    assert found.withdraws == ("A",)


def test_a_smaller_area_without_a_reference_ends_nothing() -> None:
    found = judge(alert("B", sent=T0 + 30 * MINUTE), known(alert(), villages=ALL), after=31 * MINUTE)
    assert isinstance(found, New)
    assert found.withdraws == ()


def test_an_aftershock_is_never_a_renewal() -> None:
    shock = alert("E1", hazard="earthquake", colour=Colour.RED, expires=T0 + 10 * MINUTE)
    after = alert("E2", hazard="earthquake", colour=Colour.RED, sent=T0 + MINUTE, expires=T0 + 11 * MINUTE)
    assert isinstance(judge(after, known(shock), after=2 * MINUTE), New)


# --- cancels -------------------------------------------------------------------------------------------


def end(identifier: str = "C", minutes: int = 3, **changes: object) -> Alert:
    return later(identifier, minutes, **{"msg_type": MsgType.CANCEL, **changes})


def test_a_cancel_ends_all_that_is_open_of_its_event() -> None:
    found = judge(end(), known(alert(), State.SUPERSEDED), known(later()))
    assert isinstance(found, Cancel)
    assert (found.event_key, found.withdraws, found.doubt) == ("A", ("U",), "")


def test_a_cancel_of_something_held_ends_it_too() -> None:
    found = judge(end(), known(alert(), State.HELD))
    assert isinstance(found, Cancel)


def test_a_cancel_of_nothing_known_is_recorded_and_kept_in_force() -> None:
    message = end()
    found = judge(message)
    assert isinstance(found, Ignored)
    state = settled(message, found, held=False)
    record = remember(message, found, HERE, state)
    assert state is State.RELEASED
    assert isinstance(judge(alert(), record), Stale)
    assert isinstance(judge(later(), record), Stale)


def test_a_held_cancel_does_not_silence_but_is_told() -> None:
    found = judge(alert(), known(end(), State.HELD))
    assert isinstance(found, New)
    assert found.doubt


def test_a_cancel_by_another_agency_is_doubted() -> None:
    assert judge(end(sender="somebody"), known(alert())).doubt
    assert not judge(end(sender="somebody", format="operator"), known(alert())).doubt
    early = judge(alert(), known(end(sender="somebody")))
    assert isinstance(early, New)
    assert early.doubt


def test_a_repeated_cancel_is_a_duplicate_and_a_second_one_has_nothing_to_end() -> None:
    over = known(alert(), State.CANCELLED)
    assert isinstance(judge(end(), over, known(end())), Duplicate)
    assert isinstance(judge(end("C2", 4), over, known(end())), Ignored)


def test_a_cancel_older_than_the_update_ends_only_what_it_knew() -> None:
    assert isinstance(judge(end(minutes=1), known(alert(), State.SUPERSEDED), known(later())), Stale)


def test_a_cancel_of_the_same_second_ends_the_warning_whichever_comes_first() -> None:
    assert isinstance(judge(alert(), known(end(minutes=0))), Stale)
    assert isinstance(judge(end(minutes=0), known(alert())), Cancel)


def test_a_cancel_finds_its_event_through_messages_that_came_in_the_wrong_order() -> None:
    first, second = known(alert(), State.SUPERSEDED), known(later("U1"), State.SUPERSEDED)
    third = known(later("U2", references=("U1",)), event_key="U1")
    found = judge(end(references=("A",)), third, second, first)
    assert isinstance(found, Cancel)
    assert found.withdraws == ("U2",)


def test_an_update_that_came_expired_still_overtakes_what_is_older() -> None:
    message = later(expires=T0 + 3 * MINUTE)
    found = judge(message)
    assert isinstance(found, Stale)
    record = remember(message, found, HERE, settled(message, found, held=False))
    assert isinstance(judge(alert(), record), Stale)


def test_an_update_newer_than_the_cancel_is_new_and_doubted() -> None:
    found = judge(later(minutes=4), known(alert(), State.CANCELLED), known(end()))
    assert isinstance(found, New)
    assert "cancelled before" in found.doubt


@pytest.mark.parametrize(
    "changes", [{"urgency": Urgency.PAST}, {"parameters": (("responseType", "AllClear"),)}]
)
def test_an_all_clear_sent_as_update_is_a_cancel(changes: dict[str, object]) -> None:
    message = later(expires=T0 + 2 * MINUTE, **changes)
    found = judge(message, known(alert()))
    assert isinstance(found, Cancel)
    assert found.withdraws == ("A",)
    assert settled(message, found, held=False) is State.SUPERSEDED
    assert isinstance(judge(message), Ignored)
    early = remember(message, judge(message), HERE, settled(message, judge(message), held=False))
    assert isinstance(judge(alert(), early), Stale)


# --- lint ----------------------------------------------------------------------------------------------


def test_lint_shows_what_was_made_of_a_document() -> None:
    report = lint(cap_text().encode(), now=NOW, county=COUNTY)
    fields = dict(report.fields)
    assert report.ok
    assert report.refusal is None
    assert fields["sounds as"] == "actual"
    assert fields["info[0] hazard"] == "rainstorm (暴雨, normal lane)"
    assert fields["info[0] colour"] == "orange"
    assert report.cut is not None
    assert report.cut.village_keys == {"v3", "v4", "v5"}
    assert lint(cap_text().encode(), now=NOW).cut is None


def test_lint_says_why_a_document_would_not_sound_and_what_it_noted() -> None:
    report = lint(
        national_text().replace("<status>Actual", "<status>Test").encode(), now=T0 + timedelta(days=2)
    )
    assert report.ok
    assert dict(report.fields)["sounds as"].startswith("nothing: status is Test")
    assert any("ago" in remark for remark in report.remarks)
    assert report.inferred == ()


def test_lint_gives_the_refusal() -> None:
    report = lint(cap_text().replace("<scope>Public</scope>", "").encode(), now=NOW)
    assert not report.ok
    assert report.refusal is not None
    assert report.refusal.where == "alert/scope"
    assert (report.fields, report.remarks, report.inferred) == ((), (), ())
