"""From a feed's bytes to the village and back: what sounds, what is held, what is refused, and why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from alerts import formats
from alerts.feed import Document, Feed
from alerts.feed import Outcome as FeedOutcome
from alerts.formats import Reading
from alerts.model import CodeScheme
from controller import intake
from controller.clock import moment, wall_ms
from controller.compose import ComposeError, compose_alert
from controller.desk import Cancelled, Refused, Released
from controller.store import StoreError
from controller.store.records import AlertState, BroadcastState, CommandRow, Outcome
from controller.web.models import Compose
from support.county import BEIJING, CONFIG, LIMIT_S, County, a_county, cap
from terminals import delivery
from terminals.broadcast import Kind, Part
from terminals.delivery import State


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path) as made:
        yield made


async def test_an_official_warning_sounds_in_its_townships_and_nowhere_else(county: County) -> None:
    taken = await county.give(cap(codes=("623023101000", "623023105")))
    assert taken.outcome is Outcome.RELEASED
    assert taken.broadcast is not None
    heard = await county.ended(taken.broadcast)
    wanted = set((await county.store.broadcast(taken.broadcast)).broadcast.terminals)
    assert heard == wanted
    assert heard >= county.in_township("大川镇")
    assert len(heard) < len(county.village.units)


async def test_a_warning_from_an_unofficial_feed_is_held_and_makes_no_sound(county: County) -> None:
    taken = await county.give(cap(), feed="mirror")
    assert taken.outcome is Outcome.HELD
    assert not county.heard_anything
    [row] = await county.store.alerts(state=AlertState.HELD)
    assert "hold" in row.reason


async def test_the_official_source_releases_what_an_unofficial_one_brought_first(county: County) -> None:
    await county.give(cap(), feed="mirror")
    taken = await county.give(cap())
    assert taken.outcome is Outcome.RELEASED
    assert await county.store.alerts(state=AlertState.HELD) == []


async def test_the_same_document_again_makes_no_second_sound(county: County) -> None:
    body = cap()
    first = await county.give(body)
    assert first.broadcast is not None
    await county.ended(first.broadcast)
    assert (await county.give(body)).outcome is Outcome.IGNORED
    assert all(len(u.sounded) <= 1 for u in county.village.units.values())


@pytest.mark.parametrize("status", ["Test", "Exercise", "System", "Draft"])
async def test_only_an_actual_warning_of_a_feed_can_sound(county: County, status: str) -> None:
    taken = await county.give(cap(status=status))
    assert taken.outcome is Outcome.IGNORED
    assert status in taken.reason
    assert not county.heard_anything


async def test_an_expired_warning_is_not_aired(county: County) -> None:
    now = datetime.now(BEIJING).replace(microsecond=0)
    taken = await county.give(cap(sent=now - timedelta(hours=3), expires=now - timedelta(hours=1)))
    assert taken.outcome is Outcome.IGNORED
    assert "expired" in taken.reason


async def test_catch_up_after_an_outage_is_never_automatic(county: County) -> None:
    now = datetime.now(BEIJING).replace(microsecond=0)
    taken = await county.give(cap(sent=now - timedelta(hours=2), expires=now + timedelta(hours=4)))
    assert taken.outcome is Outcome.HELD
    assert "catch-up" in taken.reason


async def test_a_warning_from_the_future_is_held_with_both_clocks_in_doubt(county: County) -> None:
    now = datetime.now(BEIJING).replace(microsecond=0)
    taken = await county.give(cap(sent=now + timedelta(days=1), expires=now + timedelta(days=2)))
    assert taken.outcome is Outcome.HELD
    assert "clock" in taken.reason


BOMB = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><alert>&c;</alert>"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (BOMB, "DTD"),
        (b'<?xml version="1.0"?><!DOCTYPE alert SYSTEM "file:///etc/passwd"><alert/>', "DTD"),
        (b"<alert>" + b" " * 50_000_000 + b"</alert>", "limit"),
        (cap()[:400], "line"),
        (cap().decode().encode("gbk"), "GBK"),
        (b"", "empty"),
        (b"\xff\xfe\x00not xml at all", ""),
    ],
    ids=["bomb", "dtd", "50MB", "truncated", "gbk-labelled-utf8", "empty", "noise"],
)
async def test_a_hostile_or_broken_document_is_refused_with_its_reason_and_the_next_is_unharmed(
    county: County, body: bytes, said: str
) -> None:
    taken = await county.give(body)
    assert taken.outcome is Outcome.REFUSED
    assert taken.reason
    assert said.lower() in taken.reason.lower()
    assert not county.heard_anything
    assert (await county.give(cap())).outcome is Outcome.RELEASED


async def test_a_warning_for_another_county_is_recorded_and_rings_nobody(county: County) -> None:
    taken = await county.give(cap(codes=("513221106000",)))
    assert taken.outcome is Outcome.IGNORED
    assert "not for 舟曲县" in taken.reason
    assert await county.store.alerts(state=AlertState.HELD) == []
    assert not county.heard_anything


async def test_a_cancel_that_comes_before_its_warning_keeps_it_silent_if_its_source_is_trusted(
    county: County,
) -> None:
    now = datetime.now(BEIJING).replace(microsecond=0)
    reference = f"zhouqu.weather,62302341600000_20261122120000,{now.isoformat()}"
    late = cap(sent=now - timedelta(minutes=5))
    ends = cap(identifier="62302341600000_20261122123000", msg_type="Cancel", references=reference, sent=now)
    assert (await county.give(ends)).outcome is Outcome.IGNORED
    assert (await county.give(late)).outcome is Outcome.IGNORED
    assert not county.heard_anything


async def test_an_untrusted_cancel_cannot_silence_a_warning_that_is_yet_to_come(county: County) -> None:
    now = datetime.now(BEIJING).replace(microsecond=0)
    reference = f"zhouqu.weather,62302341600000_20261122120000,{now.isoformat()}"
    ends = cap(identifier="62302341600000_20261122123000", msg_type="Cancel", references=reference, sent=now)
    assert (await county.give(ends, feed="mirror")).outcome is Outcome.IGNORED
    assert (await county.give(cap())).outcome is Outcome.RELEASED


async def test_an_empty_area_is_held_and_approving_it_widens_nothing(county: County) -> None:
    taken = await county.give(cap(codes=()))
    assert taken.outcome is Outcome.HELD
    assert taken.alert is not None
    assert isinstance(await county.desk.approve(taken.alert, "王主任"), Refused)
    assert not county.heard_anything


async def test_a_neighbours_part_is_cut_off_and_shown(county: County) -> None:
    taken = await county.give(cap(codes=("623023101000", "513221106000")))
    assert taken.outcome is Outcome.RELEASED
    assert taken.alert is not None
    row = await county.store.alert(taken.alert)
    assert row.plan is not None
    assert "cut off" in row.plan.decode()


async def test_an_unforeseen_error_quarantines_one_document_with_an_alarm(
    county: County, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = formats.parse

    def broken(body: bytes, *_: object, **rest: object) -> object:
        if b"POISON" in body:
            raise RuntimeError("a bug of ours")
        return real(body, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(formats, "parse", broken)
    taken = await county.give(cap(description="POISON"))
    assert taken.outcome is Outcome.QUARANTINED
    assert county.alarms
    [row] = await county.store.documents(1)
    assert row.outcome is Outcome.QUARANTINED
    assert (await county.give(cap())).outcome is Outcome.RELEASED


async def test_a_document_that_waits_for_the_disk_is_journalled_once(
    county: County, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "STORE_PAUSE_S", 0.0)
    real, full = county.store.take, [3]

    async def take(*args: Any, **more: Any) -> list[CommandRow]:
        if full[0]:
            full[0] -= 1
            raise StoreError("planning an alert: database or disk is full")
        return await real(*args, **more)

    monkeypatch.setattr(county.store, "take", take)
    ends: list[FeedOutcome] = []

    async def done(outcome: FeedOutcome, reason: str) -> None:
        ends.append(outcome)

    class One:
        async def documents(self) -> AsyncIterator[Document]:
            yield Document("bureau", "a.xml", cap(), moment(wall_ms()), done, "")

    await county.intake.pump(cast(Feed, One()), Reading(CodeScheme.MCA))
    assert ends == [FeedOutcome.TAKEN]
    assert len([text for text in county.alarms if "waits" in text]) == 3
    [document] = await county.store.documents(10)
    assert document.outcome is Outcome.RELEASED


async def test_a_document_that_kills_the_process_is_read_twice_and_then_set_aside(county: County) -> None:
    number = await county.store.journal("bureau", "killer.xml", cap(), "0" * 64, wall_ms())
    for _ in range(2):  # two processes died in the middle of it
        await county.store.open_document(number)
    await county.intake.recover({})
    [row] = await county.store.documents(1)
    assert row.outcome is Outcome.QUARANTINED
    assert not county.heard_anything


async def test_a_document_journalled_before_a_crash_is_taken_after_the_restart(county: County) -> None:
    await county.store.journal("bureau", "a.xml", cap(), "0" * 64, wall_ms())
    await county.intake.recover({"bureau": formats.Reading(CodeScheme.MCA)})
    [row] = await county.store.broadcasts()
    assert await county.ended(row.broadcast.id) == county.in_township("大川镇")


async def test_a_document_whose_feed_is_configured_no_more_is_held_and_not_lost(county: County) -> None:
    await county.store.journal("bureau", "a.xml", cap(), "0" * 64, wall_ms())
    await county.intake.recover({})
    [row] = await county.store.documents(1)
    assert row.outcome is Outcome.HELD
    assert "configured no more" in row.reason
    assert not county.heard_anything


async def test_what_a_feed_would_not_read_is_recorded_as_refused(county: County) -> None:
    taken = await county.give(b"", refused="9,000,000 bytes; the limit is 2,000,000")
    assert taken.outcome is Outcome.REFUSED
    assert FeedOutcome.REFUSED == "refused"


async def test_while_the_voice_is_still_at_work_a_lead_says_what_and_where_and_what_to_do(
    county: County,
) -> None:
    county.mouth.knows = False
    taken = await county.give(cap())
    assert taken.broadcast is not None
    await county.ended(taken.broadcast)
    whole, lead = await county.store.broadcasts()
    if whole.broadcast.part is Part.LEAD:
        whole, lead = lead, whole
    assert (whole.broadcast.id, whole.broadcast.repeats) == (taken.broadcast, 3)
    assert (lead.broadcast.part, lead.broadcast.repeats) == (Part.LEAD, 1)
    await county.ended(lead.broadcast.id)
    brief, full = county.mouth.said
    assert len(brief.text) < len(full.text)
    assert "大川镇" in brief.text
    for terminal in county.in_township("大川镇"):
        assert county.village.units[terminal].sounded == [lead.broadcast.id, whole.broadcast.id]


async def test_a_test_of_the_loudspeakers_has_no_lead(county: County) -> None:
    county.mouth.knows = False
    alert = compose_alert(words(), Kind.TEST, county.register.county, county.config.issuer, moment(wall_ms()))
    assert isinstance(await county.desk.send(alert, Kind.TEST, "李值班"), Released)
    assert len(await county.store.broadcasts()) == 1


# --- holding, approving, rejecting ----------------------------------------------------------------


async def test_what_is_held_sounds_only_after_an_operator_approves_it_and_the_log_says_who(
    county: County,
) -> None:
    held = await county.give(cap(colour="黄色"))
    assert held.outcome is Outcome.HELD
    assert held.alert is not None
    done = await county.desk.approve(held.alert, "李值班")
    assert isinstance(done, Released)
    assert await county.ended(done.broadcast) == county.in_township("大川镇")
    assert [(e.who, e.what) for e in await county.store.audit(1, held.alert)] == [("李值班", "alert.approve")]


async def test_two_operators_cannot_both_decide(county: County) -> None:
    held = await county.give(cap(colour="黄色"))
    assert held.alert is not None
    assert await county.desk.reject(held.alert, "李值班", "误报") is None
    assert isinstance(await county.desk.approve(held.alert, "王主任"), Refused)
    assert not county.heard_anything


# --- update and cancel -----------------------------------------------------------------------------


async def test_an_upgrade_replaces_what_plays(tmp_path: Path) -> None:
    async with a_county(tmp_path, play_s=3_600.0) as county:
        first = await county.give(cap())
        assert first.broadcast is not None
        await playing(county, first.broadcast)
        sent = datetime.now(BEIJING).replace(microsecond=0) + timedelta(seconds=2)
        reference = f"zhouqu.weather,62302341600000_20261122120000,{sent.isoformat()}"
        second = await county.give(
            cap(
                identifier="62302341600000_20261122123000",
                msg_type="Update",
                colour="红色",
                references=reference,
                sent=sent,
            )
        )
        assert second.outcome is Outcome.RELEASED, second.reason
        assert second.broadcast is not None
        await playing(county, second.broadcast)
        await county.ended(first.broadcast)
        units = [county.village.units[t] for t in county.in_township("大川镇")]
        assert all(list(unit.playing) == [second.broadcast] for unit in units)
        assert first.alert is not None
        assert (await county.store.alert(first.alert)).state is AlertState.SUPERSEDED


async def playing(county: County, broadcast: str) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            run = county.dispatcher.runs.get(broadcast)
            if run and all(delivery.shown(f).state is State.PLAYING for f in run.facts.values()):
                return
            await asyncio.sleep(0.02)


async def test_a_cancel_stops_the_sound_and_airs_the_all_clear_only_where_it_had_sounded(
    tmp_path: Path,
) -> None:
    async with a_county(tmp_path, play_s=3_600.0) as county:
        deaf = next(iter(county.in_township("大川镇")))
        county.village.power_off(deaf)
        first = await county.give(cap())
        assert first.broadcast is not None
        async with asyncio.timeout(LIMIT_S):
            while len(county.village.heard(first.broadcast)) < len(county.in_township("大川镇")) - 1:
                await asyncio.sleep(0.02)
        now = datetime.now(BEIJING).replace(microsecond=0)
        reference = f"zhouqu.weather,62302341600000_20261122120000,{now.isoformat()}"
        cancel = await county.give(
            cap(identifier="62302341600000_20261122123000", msg_type="Cancel", references=reference, sent=now)
        )
        assert cancel.outcome is Outcome.RELEASED, cancel.reason
        [document] = await county.store.documents(1)
        assert document.alert is not None
        assert (await county.store.alert(document.alert)).msg_type == "Cancel"
        county.village.power_on(deaf)
        [clear] = [b for b in await county.store.broadcasts() if b.broadcast.id != first.broadcast]
        await playing(county, clear.broadcast.id)
        assert set(clear.broadcast.terminals) == county.in_township("大川镇") - {deaf}
        assert county.village.units[deaf].sounded == []
        assert "解除" in county.mouth.said[-1].text


async def test_a_cancel_of_something_held_ends_it_silently(county: County) -> None:
    held = await county.give(cap(colour="黄色"))
    assert held.alert is not None
    done = await county.desk.cancel(held.alert, "李值班", "误报")
    assert isinstance(done, Cancelled)
    assert (done.stopped, done.all_clear) == ((), ())
    assert not county.heard_anything


async def test_a_cancel_while_it_is_still_being_voiced_keeps_every_village_silent(county: County) -> None:
    county.mouth.hold.clear()
    first = await county.give(cap())
    assert first.alert is not None
    assert first.broadcast is not None
    done = await county.desk.cancel(first.alert, "李值班", "误报")
    assert isinstance(done, Cancelled)
    county.mouth.hold.set()
    assert await county.ended(first.broadcast) == set()
    assert (await county.store.broadcast(first.broadcast)).state is BroadcastState.STOPPED
    run = county.dispatcher.runs[first.broadcast]
    assert {delivery.shown(f).reason for f in run.facts.values()} == {"not-sent"}


async def test_what_is_being_voiced_while_the_wire_clock_jumps_is_heard_all_the_same(county: County) -> None:
    county.mouth.hold.clear()
    given = await county.give(cap())
    assert given.broadcast is not None
    for terminal in sorted(county.village.units)[:3]:
        county.village.units[terminal].durable.floor = county.dispatcher.now() + 86_400_000
        county.village.power_off(terminal)
        county.village.power_on(terminal)
    async with asyncio.timeout(LIMIT_S):
        while not county.dispatcher.jumped_ms:
            await asyncio.sleep(0.02)
    county.mouth.hold.set()
    assert await county.ended(given.broadcast) == county.in_township("大川镇")


async def test_a_cancel_ends_its_own_senders_warning_and_not_the_other_of_the_same_identifier(
    county: County,
) -> None:
    def of_the_other(**more: Any) -> bytes:
        return cap(event="大风", **more).replace(b"zhouqu.weather</sender>", b"zhouqu.wind</sender>")

    rain = await county.give(cap(identifier="17"))
    wind = await county.give(of_the_other(identifier="17"))
    assert rain.alert is not None
    assert wind.alert is not None
    assert isinstance(await county.desk.approve(wind.alert, "李值班"), Released)
    assert (await county.store.alert(rain.alert)).state is AlertState.RELEASED
    now = datetime.now(BEIJING).replace(microsecond=0) + timedelta(seconds=2)
    reference = f"zhouqu.wind,17,{now.isoformat()}"
    cancel = await county.give(
        of_the_other(identifier="18", msg_type="Cancel", references=reference, sent=now)
    )
    if cancel.outcome is Outcome.HELD:  # of a hazard that only people end
        assert cancel.alert is not None
        await county.desk.approve(cancel.alert, "李值班")
    assert (await county.store.alert(wind.alert)).state is AlertState.CANCELLED
    assert (await county.store.alert(rain.alert)).state is AlertState.RELEASED


async def test_a_cancel_of_a_stranger_is_held(county: County) -> None:
    first = await county.give(cap())
    assert first.broadcast is not None
    await county.ended(first.broadcast)
    now = datetime.now(BEIJING).replace(microsecond=0) + timedelta(seconds=2)
    reference = f"zhouqu.weather,62302341600000_20261122120000,{now.isoformat()}"
    cancel = await county.give(
        cap(identifier="62302341600000_20261122123000", msg_type="Cancel", references=reference, sent=now),
        feed="mirror",
    )
    assert cancel.outcome is Outcome.HELD


async def test_a_strangers_cancel_of_what_an_operator_has_just_cancelled_is_closed(
    county: County, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await county.give(cap())
    assert first.broadcast is not None
    assert first.alert is not None
    await county.ended(first.broadcast)
    alert, real = first.alert, county.desk.events.ids

    async def after_the_operator(
        identifiers: Sequence[str], *states: AlertState, but: Collection[str] = ()
    ) -> list[str]:
        await county.desk.cancel(alert, "李值班", "误报")
        return await real(identifiers, *states, but=but)

    monkeypatch.setattr(county.desk.events, "ids", after_the_operator)
    now = datetime.now(BEIJING).replace(microsecond=0) + timedelta(seconds=2)
    reference = f"zhouqu.weather,62302341600000_20261122120000,{now.isoformat()}"
    cancel = await county.give(
        cap(identifier="62302341600000_20261122123000", msg_type="Cancel", references=reference, sent=now),
        feed="mirror",
    )
    assert cancel.outcome is Outcome.IGNORED
    assert cancel.alert is not None
    assert (await county.store.alert(cancel.alert)).state is AlertState.CLOSED


# --- operators --------------------------------------------------------------------------------------


def words(**changes: object) -> Compose:
    return Compose.model_validate({"hazard": "rainstorm", "colour": "orange", "areas": ["大川镇"], **changes})


async def test_an_operators_exercise_sounds_as_an_exercise(county: County) -> None:
    alert = compose_alert(
        words(), Kind.EXERCISE, county.register.county, county.config.issuer, moment(wall_ms())
    )
    done = await county.desk.send(alert, Kind.EXERCISE, "李值班")
    assert isinstance(done, Released)
    assert await county.ended(done.broadcast) == county.in_township("大川镇")
    assert "演练" in county.mouth.said[-1].text
    assert (await county.store.broadcast(done.broadcast)).broadcast.kind is Kind.EXERCISE


@pytest.mark.parametrize("area", ["威州镇", "汶川县", "513221100", "nowhere"])
async def test_a_place_that_is_not_ours_is_refused_before_anything_is_planned(
    county: County, area: str
) -> None:
    with pytest.raises(ComposeError, match=area):
        compose_alert(
            words(areas=[area]), Kind.ACTUAL, county.register.county, county.config.issuer, moment(wall_ms())
        )


async def test_the_time_that_was_confirmed_is_the_time_that_is_said(county: County) -> None:
    now = moment(wall_ms())
    issued = now - timedelta(minutes=9)
    alert = compose_alert(
        words(issued=issued.isoformat()), Kind.TEST, county.register.county, county.config.issuer, now
    )
    assert county.desk.judging.plan(alert, Kind.TEST, now).script.issued == issued
    with pytest.raises(ComposeError, match="11 minutes ago"):
        compose_alert(
            words(issued=(now - timedelta(minutes=11)).isoformat()),
            Kind.TEST,
            county.register.county,
            county.config.issuer,
            now,
        )


async def test_an_unknown_hazard_is_refused_with_the_list(county: County) -> None:
    with pytest.raises(ComposeError, match="rainstorm"):
        compose_alert(
            words(hazard="rain"), Kind.ACTUAL, county.register.county, county.config.issuer, moment(wall_ms())
        )


@pytest.mark.parametrize(
    ("status", "kind", "goes"),
    [
        ("Actual", Kind.ACTUAL, True),
        ("Actual", Kind.EXERCISE, True),
        ("Actual", Kind.TEST, True),
        ("Exercise", Kind.ACTUAL, False),
        ("Exercise", Kind.EXERCISE, True),
        ("Exercise", Kind.TEST, False),
        ("Test", Kind.ACTUAL, False),
        ("Test", Kind.EXERCISE, False),
        ("Test", Kind.TEST, True),
        ("System", Kind.TEST, False),
        ("Draft", Kind.ACTUAL, False),
    ],
)
async def test_a_document_is_sent_only_as_what_it_says_it_is(
    county: County, status: str, kind: Kind, goes: bool
) -> None:
    alert = formats.parse(cap(status=status), formats.Reading(CodeScheme.MCA), now=moment(wall_ms()))
    done = await county.desk.send(alert, kind, "李值班")
    assert isinstance(done, Released) is goes


async def test_a_warning_of_an_unknown_hazard_is_held_even_by_a_table_that_says_auto(tmp_path: Path) -> None:
    config = CONFIG.replace("hazard: rainstorm, colour: [red, orange]", 'hazard: "*"')
    async with a_county(tmp_path, config=config) as county:
        taken = await county.give(cap(event="外星人入侵"))
        assert taken.outcome is Outcome.HELD
        assert "hazard" in taken.reason


async def test_in_drill_mode_nothing_actual_can_be_sent(tmp_path: Path) -> None:
    async with a_county(tmp_path) as county:
        county.desk.judging.kinds = frozenset({Kind.EXERCISE, Kind.TEST})
        alert = compose_alert(
            words(), Kind.ACTUAL, county.register.county, county.config.issuer, moment(wall_ms())
        )
        assert isinstance(await county.desk.send(alert, Kind.ACTUAL, "李值班"), Refused)
        assert (await county.give(cap())).outcome is Outcome.HELD
        assert not county.heard_anything
