"""One story per event: several sources, renewals, partial and silent ends, from bytes to the loudspeakers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path

import pytest

from alerts.feed import Trust
from alerts.lifecycle import GONE
from alerts.model import MsgType, Scope, Status
from controller.desk import Cancelled, Released
from controller.store.records import AlertState, BroadcastRow, BroadcastState, Outcome
from support.county import BEIJING, CONFIG, LIMIT_S, County, a_county, cap

FIRST = "62302341600000_20261122120000"
SECOND = "62302341600000_20261122123000"
THIRD = "62302341600000_20261122130000"
DACHUAN, QUGAONA = "623023101000", "623023105000"
AWAKE = CONFIG.replace(
    "colour: [red, orange], action: auto", "colour: [red, orange, yellow, blue], action: auto"
) + (
    'fatigue: {night_from: "00:00", night_until: "00:00", renewal_every: 12h, per_day: 6, short_volume: 50}\n'
)


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path, config=AWAKE) as made:
        yield made


def at(seconds: float = 0) -> datetime:
    return datetime.now(BEIJING).replace(microsecond=0) + timedelta(seconds=seconds)


def follows(identifier: str = SECOND, *, of: str = FIRST, seconds: float = 2, **changes: object) -> bytes:
    sent = at(seconds)
    fields = {"msg_type": "Update", "references": f"zhouqu.weather,{of},{sent.isoformat()}", "sent": sent}
    return cap(identifier=identifier, **{**fields, **changes})  # type: ignore[arg-type]


async def heard(county: County, body: bytes, **more: str) -> BroadcastRow:
    """Given, released, and played to the end."""
    taken = await county.give(body, **more)
    assert taken.outcome is Outcome.RELEASED, taken.reason
    assert taken.broadcast is not None
    await county.ended(taken.broadcast)
    return await county.store.broadcast(taken.broadcast)


async def in_state(county: County, state: AlertState) -> list[str]:
    return [row.identifier for row in await county.store.alerts(state=state)]


async def until(county: County, count: int) -> list[BroadcastRow]:
    """Every broadcast, oldest first, once there are `count` and all of them have ended."""
    async with asyncio.timeout(LIMIT_S):
        while len(rows := await county.store.broadcasts()) < count:
            await asyncio.sleep(0.02)
    for row in rows:
        await county.ended(row.broadcast.id)
    return sorted(await county.store.broadcasts(), key=lambda row: row.created)


# --- several sources -------------------------------------------------------------------------------------


async def test_a_feed_is_trusted_as_far_as_its_sender_is_proved(county: County) -> None:
    assert county.desk.judging.trust("bureau") is Trust.OFFICIAL
    assert county.desk.judging.trust("mirror") is Trust.RELAY


async def test_what_a_relay_brought_first_is_held_and_the_official_source_takes_over_with_its_own_area(
    county: County,
) -> None:
    held = await county.give(cap(codes=("623023",), colour="红色"), feed="mirror")
    assert held.outcome is Outcome.HELD
    row = await heard(county, cap())
    assert set(row.broadcast.terminals) == county.in_township("大川镇")
    assert "更新" not in county.mouth.said[-1].text, "nobody has heard of it before"
    assert await in_state(county, AlertState.HELD) == []
    assert await in_state(county, AlertState.RELEASED) == [FIRST]


@pytest.mark.parametrize("identifier", [FIRST, "qweather-10023"])
async def test_a_relay_that_comes_after_the_official_source_changes_nothing(
    county: County, identifier: str
) -> None:
    await heard(county, cap())
    same = {"colour": "橙色"} if identifier != FIRST else {"colour": "红色"}
    taken = await county.give(cap(identifier=identifier, codes=("623023",), **same), feed="mirror")
    assert taken.outcome is Outcome.IGNORED
    assert FIRST in taken.reason
    assert len(await county.store.broadcasts()) == 1
    assert await in_state(county, AlertState.HELD) == []


async def test_under_another_identifier_too_the_official_source_takes_over_what_a_relay_brought(
    county: County,
) -> None:
    await county.give(cap(identifier="qweather-10023", codes=("623023",)), feed="mirror")
    row = await heard(county, cap())
    assert set(row.broadcast.terminals) == county.in_township("大川镇")
    assert await in_state(county, AlertState.HELD) == []


async def test_when_an_operator_approved_the_relay_the_official_source_confirms_it_without_a_sound(
    county: County,
) -> None:
    held = await county.give(cap(), feed="mirror")
    assert held.alert is not None
    done = await county.desk.approve(held.alert, "李值班")
    assert isinstance(done, Released)
    await county.ended(done.broadcast)
    taken = await county.give(cap(colour="黄色", sent=at(-60)))
    assert len(await county.store.broadcasts()) == 2, "a milder colour is told once, briefly"
    assert taken.broadcast is not None
    assert (await county.store.broadcast(taken.broadcast)).broadcast.repeats == 1


async def test_a_relays_update_is_held_and_says_who_it_contradicts(county: County) -> None:
    await heard(county, cap())
    taken = await county.give(follows(colour="红色", codes=("623023",)), feed="mirror")
    assert taken.outcome is Outcome.HELD
    assert "mirror (relay)" in taken.reason
    assert "bureau (official)" in taken.reason
    assert await in_state(county, AlertState.RELEASED) == [FIRST]


async def test_a_relays_cancel_is_held_and_the_official_one_ends_the_warning_at_once(county: County) -> None:
    await heard(county, cap())
    ends = follows(msg_type="Cancel")
    taken = await county.give(ends, feed="mirror")
    assert taken.outcome is Outcome.HELD
    assert "mirror (relay)" in taken.reason
    assert len(await county.store.broadcasts()) == 1
    taken = await county.give(ends)
    assert taken.outcome is Outcome.RELEASED
    assert await in_state(county, AlertState.HELD) == []
    assert await in_state(county, AlertState.CANCELLED) == [FIRST]
    await until(county, 2)
    assert [("解除" in script.text) for script in county.mouth.said] == [False, True]


async def test_a_cancel_that_is_held_for_one_official_feed_ends_the_warning_when_the_automatic_feed_says_it(
    tmp_path: Path,
) -> None:
    post = "{name: post, kind: folder, path: post, official: true, authenticated: folder-0700, codes: mca}"
    (tmp_path / "post").mkdir(mode=0o700)
    async with a_county(tmp_path, config=AWAKE.replace("feeds:\n", f"feeds:\n  - {post}\n")) as county:
        await heard(county, cap())
        ends = follows(msg_type="Cancel")
        assert (await county.give(ends, feed="post")).outcome is Outcome.HELD
        assert await in_state(county, AlertState.RELEASED) == [FIRST]
        taken = await county.give(ends, feed="bureau")
        assert taken.outcome is Outcome.RELEASED, taken.reason
        assert await in_state(county, AlertState.HELD) == []
        assert await in_state(county, AlertState.CANCELLED) == [FIRST]
        assert "解除" in county.mouth.said[-1].text


async def test_a_second_sources_cancel_never_sounds_as_a_warning(county: County) -> None:
    held = await county.give(cap(), feed="mirror")
    assert held.alert is not None
    assert (await county.give(follows(msg_type="Cancel"), feed="mirror")).outcome is Outcome.RELEASED
    assert await in_state(county, AlertState.CANCELLED) == [FIRST], "its own feed may take back what is held"
    assert (await county.give(follows(msg_type="Cancel"))).outcome is not Outcome.RELEASED
    assert not county.heard_anything


# --- renewals --------------------------------------------------------------------------------------------


async def test_a_renewal_of_orange_is_one_sentence_once_and_lower(county: County) -> None:
    first = await heard(county, cap())
    again = await heard(county, follows())
    assert (first.broadcast.repeats, first.broadcast.volume) == (3, 100)
    assert (again.broadcast.repeats, again.broadcast.volume) == (1, 50)
    assert again.broadcast.terminals == first.broadcast.terminals
    assert again.broadcast.replaces == (), "it does not cut what says the same"
    said = county.mouth.said[-1]
    assert said.text == "请注意，请注意。大川镇，暴雨橙色预警继续有效。"


async def test_a_renewal_of_yellow_within_twelve_hours_is_silent_and_says_why_per_village(
    county: County, caplog: pytest.LogCaptureFixture
) -> None:
    await heard(county, cap(colour="黄色"))
    with caplog.at_level("INFO"):
        taken = await county.give(follows(colour="黄色"))
    assert taken.outcome is Outcome.IGNORED
    assert "once in 12 h is enough" in taken.reason
    assert len(await county.store.broadcasts()) == 1
    [row] = await county.store.alerts(state=AlertState.RELEASED)
    assert row.identifier == SECOND
    assert row.plan is not None
    assert "silent in 大川镇" in row.plan.decode()
    villages = {v.key for v in county.register.county.villages if v.township_key in row.plan.decode()}
    silent = [r for r in caplog.records if "silent in" in r.getMessage()]
    own = {county.register.terminals[t].village for t in county.in_township("大川镇")}
    assert len(silent) == len(own), villages


async def test_a_red_renewal_is_heard_in_full(county: County) -> None:
    await heard(county, cap(colour="红色"))
    again = await heard(county, follows(colour="红色"))
    assert (again.broadcast.repeats, again.broadcast.volume) == (3, 100)


async def test_a_loudspeaker_that_was_off_hears_the_renewal_in_full(county: County) -> None:
    deaf = min(county.in_township("大川镇"))
    county.village.power_off(deaf)
    taken = await county.give(cap())
    assert taken.broadcast is not None
    async with asyncio.timeout(LIMIT_S):
        while len(county.village.heard(taken.broadcast)) < len(county.in_township("大川镇")) - 1:
            await asyncio.sleep(0.02)
    again = await county.give(follows())
    assert again.broadcast is not None
    full, short = (b.broadcast for b in (await county.store.broadcasts(alert=again.alert))[::-1])
    assert (full.terminals, full.repeats) == ((deaf,), 3)
    assert set(short.terminals) == county.in_township("大川镇") - {deaf}
    county.village.power_on(deaf)
    await county.ended(full.id)
    assert county.village.units[deaf].sounded[-1] == full.id


async def test_a_larger_area_is_new_where_it_is_new_and_brief_where_it_was_heard(county: County) -> None:
    await heard(county, cap())
    taken = await county.give(follows(codes=(DACHUAN, QUGAONA)))
    full, short = (b.broadcast for b in (await county.store.broadcasts(alert=taken.alert))[::-1])
    assert set(full.terminals) == county.in_township("曲告纳镇")
    assert (full.repeats, full.volume) == (3, 100)
    assert full.groups, "one publish for whole villages"
    assert set(short.terminals) == county.in_township("大川镇")
    assert (short.repeats, short.volume) == (1, 50)


async def test_a_rise_and_a_new_instruction_are_heard_in_full(county: County) -> None:
    await heard(county, cap(colour="黄色"))
    rise = await heard(county, follows(colour="橙色"))
    assert rise.broadcast.repeats == 3
    told = follows(THIRD, of=SECOND, seconds=4).replace("请向高处转移。".encode(), "立即撤离。".encode())
    assert (await heard(county, told)).broadcast.repeats == 3


async def test_a_downgrade_from_orange_is_heard_once_and_replaces_what_plays(county: County) -> None:
    first = await heard(county, cap())
    fall = await heard(county, follows(colour="黄色"))
    assert (fall.broadcast.repeats, fall.broadcast.volume) == (1, 40)
    assert fall.broadcast.replaces == (first.broadcast.id,)
    assert county.mouth.said[-1].text == "请注意，请注意。大川镇，暴雨预警降为黄色。"
    assert (county.mouth.said[-1].stage, county.mouth.said[-1].kind) == ("downgrade", "actual")


async def test_a_held_renewal_that_an_operator_approves_is_heard_briefly(tmp_path: Path) -> None:
    async with a_county(
        tmp_path, config=AWAKE.replace("yellow, blue], action: auto", "blue], action: auto")
    ) as county:
        held = await county.give(cap(colour="黄色"))
        assert held.alert is not None
        done = await county.desk.approve(held.alert, "李值班")
        assert isinstance(done, Released)
        await county.ended(done.broadcast)
        taken = await county.give(follows(colour="黄色", sent=at(700)))
        assert taken.outcome is Outcome.HELD, "its time is in the future"
        assert taken.alert is not None
        done = await county.desk.approve(taken.alert, "李值班")
        assert isinstance(done, Released)
        row = await county.store.broadcast(done.broadcast)
        assert (row.broadcast.repeats, row.broadcast.volume) == (1, 40)
        plan = (await county.store.alert(taken.alert)).plan
        assert plan is not None
        assert "an operator wants it said" in plan.decode()


# --- ends ------------------------------------------------------------------------------------------------


async def test_a_smaller_area_is_the_all_clear_for_the_others_and_nothing_new_for_the_rest(
    county: County,
) -> None:
    await heard(county, cap(codes=(DACHUAN, QUGAONA), colour="黄色"))
    taken = await county.give(follows(codes=(DACHUAN,), colour="黄色"))
    assert taken.outcome is Outcome.RELEASED
    _, clear = await until(county, 2)
    assert set(clear.broadcast.terminals) == county.in_township("曲告纳镇")
    assert "曲告纳镇，暴雨黄色预警已经解除" in county.mouth.said[-1].text
    for terminal in county.in_township("大川镇"):
        assert len(county.village.units[terminal].sounded) == 1
    await county.desk.resume()
    assert len(await county.store.broadcasts()) == 2, "a restart does not say it again"
    await county.give(follows(THIRD, seconds=4, msg_type="Cancel"))
    last = (await until(county, 3))[-1]
    assert set(last.broadcast.terminals) == county.in_township("大川镇"), "the others know it already"


async def test_what_a_crash_left_of_a_partial_end_is_done_after_the_restart(
    county: County, monkeypatch: pytest.MonkeyPatch
) -> None:
    await heard(county, cap(codes=(DACHUAN, QUGAONA)))

    async def dies(*_: object) -> Cancelled:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(county.desk), "_end_in_part", dies)
        with pytest.raises(KeyboardInterrupt):
            await county.give(follows(codes=(DACHUAN,)))
    await county.desk.resume()
    clear = (await until(county, 3))[-1]
    assert set(clear.broadcast.terminals) == county.in_township("曲告纳镇")


async def test_what_was_taken_up_again_before_a_kill_goes_on_after_it(county: County) -> None:
    """Wire time had jumped, and who had refused it as over was owed it."""
    row = await heard(county, cap())
    await county.store.set_broadcast(replace(row, state=BroadcastState.SENDING))
    await county.desk.resume()
    async with asyncio.timeout(LIMIT_S):
        while (await county.store.broadcast(row.broadcast.id)).state is not BroadcastState.DONE:
            await asyncio.sleep(0.02)


async def test_a_rise_over_a_smaller_area_tells_nobody_that_it_is_over(county: County) -> None:
    await heard(county, cap(codes=(DACHUAN, QUGAONA)))
    await heard(county, follows(colour="红色", codes=(DACHUAN,)))
    assert not any("解除" in script.text for script in county.mouth.said)


async def test_a_warning_that_moves_to_another_county_ends_here_and_may_come_back(county: County) -> None:
    await heard(county, cap())
    taken = await county.give(follows(codes=("513221106000",)))
    assert taken.outcome is Outcome.RELEASED, taken.reason
    clear = (await until(county, 2))[-1]
    assert set(clear.broadcast.terminals) == county.in_township("大川镇")
    back = await heard(county, follows(THIRD, of=SECOND, seconds=4))
    assert back.broadcast.repeats == 3


@pytest.mark.parametrize(("policy", "clears"), [("false", 0), ("true", 1)])
async def test_what_its_list_no_longer_has_ends_without_a_word_unless_the_county_wants_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str, clears: int
) -> None:
    config = AWAKE.replace("short_volume: 50", f"short_volume: 50, all_clear_when_unlisted: {policy}")
    async with a_county(tmp_path, config=config) as county:
        held = await county.give(cap(), feed="mirror")
        assert held.alert is not None
        done = await county.desk.approve(held.alert, "李值班")
        assert isinstance(done, Released)
        await county.ended(done.broadcast)
        await unlisted(county, monkeypatch, FIRST)
        assert await in_state(county, AlertState.CANCELLED) == [FIRST]
        assert await in_state(county, AlertState.HELD) == []
        rows = await until(county, 1 + clears)
        assert len(rows) == 1 + clears


async def test_a_relay_that_no_longer_lists_it_does_not_end_an_official_warning(
    county: County, monkeypatch: pytest.MonkeyPatch
) -> None:
    await heard(county, cap())
    taken = await unlisted(county, monkeypatch, FIRST)
    assert taken.outcome is Outcome.IGNORED
    assert "bureau (official)" in taken.reason
    assert await in_state(county, AlertState.RELEASED) == [FIRST]
    assert await in_state(county, AlertState.HELD) == []
    assert (await county.give(follows(seconds=-30, colour="红色"))).outcome is not Outcome.QUARANTINED


async def unlisted(county: County, monkeypatch: pytest.MonkeyPatch, identifier: str):  # type: ignore[no-untyped-def]
    """What a list feed says of a row that has disappeared, through the mirror."""
    from dataclasses import replace

    from alerts import formats

    real = formats.parse
    with monkeypatch.context() as patch:
        patch.setattr(
            formats, "parse", lambda *a, **k: replace(real(*a, **k), inferred=(GONE,), note="不再列出")
        )
        return await county.give(
            follows(identifier, of=identifier, msg_type="Cancel", seconds=1), feed="mirror"
        )


async def test_an_all_clear_sent_as_an_update_by_a_relay_is_held_and_approving_it_ends_the_warning(
    county: County,
) -> None:
    await heard(county, cap())
    before = at(1)
    over = follows().replace(b"<urgency>Expected", b"<urgency>Past")
    taken = await county.give(over, feed="mirror")
    assert taken.outcome is Outcome.HELD
    assert taken.alert is not None
    done = await county.desk.approve(taken.alert, "李值班")
    assert isinstance(done, Cancelled)
    await until(county, 2)
    assert "解除" in county.mouth.said[-1].text
    assert await in_state(county, AlertState.RELEASED) == [SECOND], "in force as an end"
    late = await county.give(cap(identifier=THIRD, references=f"zhouqu.weather,{FIRST},{before.isoformat()}",
                                 msg_type="Update", sent=before))  # fmt: skip
    assert late.outcome is Outcome.HELD, "an official word against it, although an older one"
    assert "mirror" in late.reason


# --- tests, exercises and private matters ----------------------------------------------------------------


async def test_of_all_seventy_five_kinds_of_message_two_sound(county: County) -> None:
    """Status x scope x msgType, from bytes to the loudspeakers (lessons §9 #7)."""
    sounding = {(Status.ACTUAL, Scope.PUBLIC, kind) for kind in (MsgType.ALERT, MsgType.UPDATE)}
    numbered = list(enumerate(product(Status, Scope, MsgType)))
    assert len(numbered) == 75
    for number, (status, scope, kind) in sorted(numbered, key=lambda item: item[1] in sounding):
        body = cap(
            identifier=f"62302341600000_202611221200{number:02d}",
            status=status,
            msg_type=kind,
            # Of its own event each: a Cancel would end an Update of the same one and the same second.
            references="" if kind is MsgType.ALERT else f"zhouqu.weather,nothing-{number},{at().isoformat()}",
        ).replace(b"<scope>Public</scope>", restricted(scope))
        taken = await county.give(body)
        if (status, scope, kind) in sounding:
            assert taken.outcome is Outcome.RELEASED, taken.reason
        else:
            assert taken.outcome in (Outcome.IGNORED, Outcome.REFUSED), (status, scope, kind, taken.reason)
            assert taken.reason
            assert await county.store.broadcasts() == [], (status, scope, kind)
    assert len(await county.store.broadcasts()) == len(sounding)


def restricted(scope: Scope) -> bytes:
    more = {
        Scope.PUBLIC: "",
        Scope.RESTRICTED: "<restriction>officials only</restriction>",
        Scope.PRIVATE: "<addresses>somebody</addresses>",
    }
    return f"<scope>{scope}</scope>{more[scope]}".encode()


async def test_the_end_of_one_of_two_warnings_of_a_hazard_is_no_all_clear_where_the_other_goes_on(
    county: County,
) -> None:
    await heard(county, cap(codes=(DACHUAN, QUGAONA)))
    prefecture = cap(identifier="62300041600000_20261122114000", codes=(DACHUAN,), sent=at(-1200)).replace(
        b"zhouqu.weather", b"gannan.weather"
    )
    taken = await county.give(prefecture)
    assert taken.broadcast is not None
    assert (await county.store.broadcast(taken.broadcast)).broadcast.repeats == 1, "it is known there"
    await county.ended(taken.broadcast)
    await county.give(follows(msg_type="Cancel"))
    clear = (await until(county, 3))[-1]
    assert set(clear.broadcast.terminals) == county.in_township("曲告纳镇")
    [note] = [e for e in await county.store.audit(50) if e.what == "all-clear.withheld"]
    assert "大川镇" in note.detail
