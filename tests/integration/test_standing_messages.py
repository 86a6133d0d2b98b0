"""A standing message from the operator to the hand and back: real desk, dispatch, store and cores."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alerts.model import Alert
from controller.cli.outcome import Code
from controller.clock import wall_ms
from controller.compose import compose_alert
from controller.desk import Refused, Released
from controller.dispatch import Run
from controller.keys import throw_away
from controller.store.records import AlertState, BroadcastState
from controller.web.models import Compose
from support.county import CONFIG, LIMIT_S, County, a_county, cap
from support.county_api import TOKEN_SHA256, Hand, an_operator
from terminals.agent.core import Durable, NotByHand
from terminals.broadcast import Kind
from terminals.delivery import FORGOTTEN, State, holds

KNOWN = CONFIG.replace(CONFIG.partition('token_sha256: "')[2].partition('"')[0], TOKEN_SHA256)
TOWN = "大川镇"
SEND = (
    "standing",
    "send",
    "actual",
    "--template",
    "rainstorm",
    "--colour",
    "red",
    "--area",
    TOWN,
    "--valid",
    "90",
)


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path, config=KNOWN) as made:
        yield made


@pytest.fixture
async def hand(
    county: County, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Hand]:
    async with an_operator(county, capsys, monkeypatch) as one:
        yield one


def words(county: County, kind: Kind = Kind.ACTUAL, hazard: str = "rainstorm") -> Alert:
    said = Compose(hazard=hazard, colour="red", areas=[TOWN])
    return compose_alert(said, kind, county.register.county, county.config.issuer, datetime.now(UTC))


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not true():
            await asyncio.sleep(0.02)


async def kept(county: County, *, but: set[str] = frozenset(), hazard: str = "rainstorm") -> Run:  # type: ignore[assignment]
    """One that everybody there holds, except those."""
    sent = await county.desk.keep(words(county, hazard=hazard), Kind.ACTUAL, "王主任", 90)
    assert isinstance(sent, Released)
    await until(lambda: sent.broadcast in county.dispatcher.runs)
    run = county.dispatcher.runs[sent.broadcast]
    everybody = county.in_township(TOWN)
    await until(lambda: {t for t, known in run.facts.items() if holds(known)} >= everybody - but)
    return run


def by_hand(county: County, terminal: str, broadcast: str) -> None:
    unit = county.village.units[terminal]
    assert unit.core is not None
    county.village._do(unit, unit.core.by_hand(broadcast, _mono()))


def _mono() -> int:
    return int(asyncio.get_running_loop().time() * 1000)


async def test_it_is_kept_by_its_terminals_makes_no_sound_and_is_no_warning_in_force(county: County) -> None:
    run = await kept(county)
    await until(lambda: run.row.state is BroadcastState.DONE)
    assert not county.heard_anything
    assert set(run.facts) == county.in_township(TOWN)
    alert = await county.store.alert(run.row.broadcast.alert_id)
    assert alert.state is AlertState.STANDING
    assert await county.desk.events.recent() == []
    assert await county.desk.events.known() == []
    assert isinstance(await county.desk.cancel(alert.id, "王主任", ""), Refused)
    (clips, end) = county.mouth.pins[f"standing {run.id}"]
    assert clips == tuple(v.sha256 for v in run.row.broadcast.variants)
    assert end * 1000 - wall_ms() == pytest.approx(90 * 86_400_000, abs=120_000)


async def test_a_real_warning_sounds_in_full_beside_one_that_a_hand_has_sounded(county: County) -> None:
    run = await kept(county)
    me = min(run.facts)
    by_hand(county, me, run.id)
    await until(lambda: any(key[1] is State.PLAYED for key in run.facts[me]))
    before = len(county.mouth.said)
    given = await county.give(cap(colour="红色"))
    assert given.broadcast is not None
    assert await county.ended(given.broadcast) == county.in_township(TOWN)
    whole = await county.store.broadcast(given.broadcast)
    assert whole.broadcast.replaces == ()
    assert not any(script.stage != "first" for script in county.mouth.said[before:])
    assert holds(run.facts[me])


async def test_a_fast_hazard_is_kept_and_never_goes_out_by_the_fast_lane(county: County) -> None:
    run = await kept(county, hazard="dam_break")
    assert not county.heard_anything
    assert len(await county.store.broadcasts()) == 1, "no lead"
    assert not run.urgent
    assert run.row.broadcast.quake is None


async def test_a_hand_is_told_of_to_the_operator_once_for_each_time(county: County) -> None:
    run = await kept(county)
    me = min(run.facts)
    changes = 0

    async def changed() -> None:
        nonlocal changes
        changes += 1

    county.dispatcher.hand = changed
    for times in (1, 2):
        by_hand(county, me, run.id)
        await until(lambda n=times: sum(key[1] is State.PLAYED for key in run.facts[me]) == n)  # type: ignore[misc]
    await until(lambda: sum(f"{run.id} is sounded by hand at {me}" in text for text in county.alarms) == 2)
    audit = [row for row in await county.store.audit(50) if row.what == "standing.by-hand"]
    assert [(row.who, row.subject) for row in audit] == [(f"terminal:{me}", run.id)] * 2
    assert changes == 2
    assert county.village.heard(run.id) == {me}
    heard = await county.store.heard()
    assert heard[me].heard is not None, "people have heard it there"
    assert all(heard[t].heard is None for t in run.facts if t != me)


async def test_one_cut_off_plays_it_by_hand_and_tells_so_when_it_is_back(county: County) -> None:
    run = await kept(county)
    me = min(run.facts)
    unit = county.village.units[me]
    assert unit.core is not None
    unit.core.disconnected(_mono())
    by_hand(county, me, run.id)
    await until(lambda: run.id in unit.sounded and not unit.playing)
    assert not any(state is State.PLAYING for _, state, _ in run.facts[me])
    county.village._do(unit, unit.core.connected(_mono()))
    await until(lambda: any(key[1] is State.PLAYED for key in run.facts[me]))
    await until(lambda: any("by hand" in text for text in county.alarms))


async def test_whoever_was_away_gets_it_at_its_hello(county: County) -> None:
    late = min(county.in_township(TOWN))
    county.village.power_off(late)
    run = await kept(county, but={late})
    assert not holds(run.facts[late])
    assert run.policy().longest_quiet == 3_600_000, "who is away is not asked every minute for a year"
    county.village.power_on(late)
    await until(lambda: holds(run.facts[late]))


async def test_a_board_that_is_enrolled_anew_counts_for_nothing_until_it_holds_it_again(
    county: County,
) -> None:
    run = await kept(county)
    me = min(run.facts)
    county.village.power_off(me)
    unit = county.village.units[me]
    unit.durable = Durable()
    unit.held.clear()
    await county.dispatcher.enrolled(me)
    assert not holds(run.facts[me])
    assert any(fact.key[2] == FORGOTTEN for fact in (await county.store.deliveries(run.id))[1])
    county.village.power_on(me)
    await until(lambda: holds(run.facts[me]))
    assert unit.core is not None
    assert [kept.broadcast for kept in unit.core.standing(_mono())] == [run.id]


async def test_a_clip_that_a_backup_did_not_bring_back_is_told(county: County, hand: Hand) -> None:
    await kept(county)
    county.mouth.whole = False
    (one,) = json.loads((await hand.does("standing", "list", "--json"))[1])
    assert one["anew"].startswith("send it anew: its clip is gone here")


async def test_a_drop_takes_it_from_every_terminal_also_from_one_that_has_played_it(county: County) -> None:
    away, played, *_ = sorted(county.in_township(TOWN))
    run = await kept(county)
    by_hand(county, played, run.id)
    await until(lambda: any(key[1] is State.PLAYED for key in run.facts[played]))
    county.village.power_off(away)
    assert await county.desk.drop(run.id, "李值班", "换新的") is None
    await until(lambda: not any(holds(known) for t, known in run.facts.items() if t != away))
    with pytest.raises(NotByHand):
        by_hand(county, played, run.id)
    assert holds(run.facts[away])
    assert (await county.store.broadcast(run.id)).done is None
    county.village.power_on(away)
    await until(lambda: not holds(run.facts[away]))
    await until(lambda: run.id not in county.dispatcher.runs)
    assert f"standing {run.id}" not in county.mouth.pins
    assert isinstance(await county.desk.drop(run.id, "李值班"), Refused)
    assert any(row.what == "standing.drop" for row in await county.store.audit(50))


async def test_stop_all_leaves_what_makes_no_sound_and_silences_what_a_hand_sounds(county: County) -> None:
    quiet, loud = await kept(county), await kept(county, hazard="flash_flood")
    county.village._play_s = 3_600.0
    me = min(loud.facts)
    by_hand(county, me, loud.id)
    await until(lambda: loud.sounding_by_hand(county.dispatcher.now()) == [me])
    assert await county.desk.stop_all("王主任", "夜里") == (loud.id,)
    await until(lambda: not county.village.units[me].playing)
    assert all(map(holds, quiet.facts.values()))
    assert await county.desk.stop_all("王主任", "夜里") == ()
    assert await county.desk.stop_all("王主任", "全撤", standing=True) == (quiet.id,)
    await until(lambda: not any(map(holds, quiet.facts.values())))


async def test_a_restart_takes_it_up_however_many_came_after_it(county: County) -> None:
    run = await kept(county)
    await until(lambda: run.row.state is BroadcastState.DONE)
    await asyncio.sleep(0.1)
    county.dispatcher.runs.clear()
    newest = county.store.broadcasts

    async def none_of_it(**asked: object) -> list[object]:
        return [] if asked == {"limit": 1_000} else await newest(**asked)  # type: ignore[arg-type, return-value]

    county.store.broadcasts = none_of_it  # type: ignore[assignment, method-assign]
    await county.desk.resume()
    again = county.dispatcher.runs[run.id]
    assert again is not run
    assert all(map(holds, again.facts.values()))
    me = min(again.facts)
    by_hand(county, me, run.id)
    await until(lambda: any(key[1] is State.PLAYED for key in again.facts[me]))


async def test_what_would_refuse_the_real_thing_refuses_it(county: County) -> None:
    nowhere = compose_alert(
        Compose(hazard="rainstorm", colour="red", circles=[{"lat": 10.0, "lon": 10.0, "km": 1.0}]),  # type: ignore[list-item]
        Kind.ACTUAL,
        county.register.county,
        county.config.issuer,
        datetime.now(UTC),
    )
    assert isinstance(await county.desk.keep(nowhere, Kind.ACTUAL, "王主任", 90), Refused)
    assert await county.store.broadcasts() == []


# --- as it is typed ----------------------------------------------------------------------------------------


async def test_an_operator_sends_lists_shows_and_drops_one(county: County, hand: Hand) -> None:
    code, _, err = await hand.does(*SEND, types="yes")
    assert code == Code.FAILED, "only the word of its kind"
    assert await county.store.broadcasts() == []
    code, _, err = await hand.does(*SEND)
    assert code == Code.USAGE, "nobody is there to be asked"
    code, out, err = await hand.does(*SEND, types="ACTUAL")
    assert code == Code.DONE, err
    broadcast = out.split()[1]
    await until(lambda: broadcast in county.dispatcher.runs)
    run = county.dispatcher.runs[broadcast]
    await until(lambda: all(map(holds, run.facts.values())))
    me = min(run.facts)
    by_hand(county, me, broadcast)
    await until(lambda: any(key[1] is State.PLAYED for key in run.facts[me]))
    await until(lambda: run.row.state is BroadcastState.DONE)

    (one,) = json.loads((await hand.does("standing", "list", "--json"))[1])
    count = len(county.in_township(TOWN))
    assert (one["id"], one["state"], one["holding"], one["terminals"]) == (broadcast, "kept", count, count)
    assert (one["hands"], one["now"], one["anew"]) == (1, [], "")
    code, out, err = await hand.does("standing", "show", broadcast)
    assert code == Code.DONE, err
    assert me in out
    assert TOWN in out
    code, out, err = await hand.does("broadcast", "show", broadcast)
    assert code == Code.DONE, err
    assert "Sounded by hand at 1 loudspeakers" in out
    assert f"{count} of {count} loudspeakers hold it" in out
    assert "did not play" not in out
    code, out, err = await hand.does("broadcast", "list")
    assert "kept, makes no sound" in out
    code, out, err = await hand.does("alert", "why", run.row.broadcast.alert_id, "--json")
    assert json.loads(out)["unheard"] == [], "nobody was to hear it"
    code, out, err = await hand.does("broadcast", "stop", "--standing", types="ACTUAL")
    assert code == Code.USAGE

    code, _, err = await hand.does("standing", "drop", broadcast, types="ACTUAL")
    assert code == Code.DONE, err
    await until(lambda: not any(map(holds, run.facts.values())))
    await until(lambda: broadcast not in county.dispatcher.runs)
    assert json.loads((await hand.does("standing", "list", "--json"))[1]) == []
    code, _, err = await hand.does("standing", "drop", broadcast, "--yes")
    assert code == Code.REFUSED
    assert "no hand can sound it" in err


async def test_after_a_change_of_keys_the_list_says_what_must_be_sent_anew(
    county: County, hand: Hand
) -> None:
    run = await kept(county)
    (key,) = {command.key_id for command in run.first}
    county.keys = throw_away()
    (one,) = json.loads((await hand.does("standing", "list", "--json"))[1])
    assert f"the key {key} that sealed it is not believed any more" in one["anew"]


async def test_more_than_400_days_are_refused(county: County, hand: Hand) -> None:
    code, _, _ = await hand.does(*SEND[:-1], "401", types="ACTUAL")
    assert code == Code.USAGE
    assert await county.store.broadcasts() == []
