"""One message, several blocks: what it says of each place is what that place hears, and no place is lost."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from alerts.intensity import Policy
from controller.desk import Released
from controller.events import decode_alert, decode_plan
from controller.store.records import AlertState, Outcome
from controller.why import Then, why
from support.county import BEIJING, County, a_county, cap

DACHUAN, CHENGGUAN, BAZANG = "623023101000", "623023100000", "623023105000"


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path) as made:
        yield made


def info(**changes: object) -> str:
    found = re.search(rb"<info>.*</info>", cap(**changes), re.DOTALL)  # type: ignore[arg-type]
    assert found is not None
    return found[0].decode()


def message(*infos: str, **changes: object) -> bytes:
    whole = cap(**changes).decode()  # type: ignore[arg-type]
    return re.sub(r"<info>.*</info>", lambda _: "".join(infos), whole, flags=re.DOTALL).encode()


async def told(county: County, colour: str) -> set[str]:
    """Ids that heard a broadcast of this colour."""
    rows = await county.store.broadcasts()
    chosen = [row for row in rows if f'"colour":"{colour}"' in row.script.decode()]
    found: set[str] = set()
    for row in chosen:
        found |= await county.ended(row.broadcast.id)
    return found


def names(county: County) -> list[str]:
    """Two townships by the names that their codes have in the pack."""
    by_code = {t.mca: t.name for t in county.register.county.townships}
    return [by_code[code[:9]] for code in (DACHUAN, CHENGGUAN)]


async def test_blocks_that_say_the_same_of_several_areas_are_one_warning_for_all_of_them(
    county: County,
) -> None:
    both = message(info(codes=(DACHUAN,)), info(codes=(CHENGGUAN,)))
    taken = await county.give(both)
    assert taken.outcome is Outcome.RELEASED, taken.reason
    assert taken.broadcast is not None
    assert await county.ended(taken.broadcast) == county.in_township(*names(county))
    assert len(await county.store.broadcasts()) == 1


@pytest.mark.parametrize("order", [1, -1])
async def test_red_here_and_orange_there_is_red_here_and_orange_there(county: County, order: int) -> None:
    infos = [info(colour="红色", codes=(DACHUAN,)), info(colour="橙色", codes=(CHENGGUAN,))][::order]
    taken = await county.give(message(*infos))
    assert taken.outcome is Outcome.RELEASED, taken.reason
    here, there = names(county)
    assert await told(county, "red") == county.in_township(here)
    assert await told(county, "orange") == county.in_township(there)


async def test_who_is_in_both_hears_the_worse_and_only_that(county: County) -> None:
    infos = [info(colour="橙色", codes=("623023",)), info(colour="红色", codes=(DACHUAN,))]
    taken = await county.give(message(*infos))
    assert taken.outcome is Outcome.RELEASED, taken.reason
    red = county.in_township(names(county)[0])
    assert await told(county, "red") == red
    assert await told(county, "orange") == set(county.register.terminals) - red


async def test_what_is_said_of_another_county_changes_nothing_here(county: County) -> None:
    infos = [info(colour="红色", codes=("513221",)), info(colour="橙色", codes=(DACHUAN,))]
    taken = await county.give(message(*infos))
    assert taken.outcome is Outcome.RELEASED, taken.reason
    assert await told(county, "red") == set()
    assert await told(county, "orange") == county.in_township(names(county)[0])


async def test_when_all_of_it_is_of_other_counties_nobody_hears_it(county: County) -> None:
    taken = await county.give(message(info(colour="红色", codes=("513221",)), info(codes=("621224",))))
    assert taken.outcome is Outcome.IGNORED
    assert not county.heard_anything


async def test_held_it_says_both_and_approved_both_are_heard(county: County) -> None:
    infos = [info(colour="红色", codes=(DACHUAN,)), info(colour="橙色", codes=(CHENGGUAN,))]
    taken = await county.give(message(*infos), feed="mirror")
    assert taken.outcome is Outcome.HELD
    assert taken.alert is not None
    assert isinstance(await county.desk.approve(taken.alert, "李值班"), Released)
    here, there = names(county)
    assert await told(county, "red") == county.in_township(here)
    assert await told(county, "orange") == county.in_township(there)


async def test_one_block_that_cannot_be_placed_holds_the_whole(county: County) -> None:
    infos = [info(colour="红色", codes=("623023999",)), info(colour="橙色", codes=(CHENGGUAN,))]
    taken = await county.give(message(*infos))
    assert taken.outcome is Outcome.HELD
    assert "623023999" in taken.reason
    assert not county.heard_anything


async def test_its_cancel_ends_all_of_it(county: County) -> None:
    sent = datetime.now(BEIJING).replace(microsecond=0)
    infos = [info(colour="红色", codes=(DACHUAN,)), info(colour="橙色", codes=(CHENGGUAN,))]
    await county.give(message(*infos, sent=sent))
    here, there = names(county)
    assert await told(county, "red") | await told(county, "orange") == county.in_township(here, there)
    cancel = cap(
        identifier="62302341600000_20261122130000",
        msg_type="Cancel",
        references=f"zhouqu.weather,62302341600000_20261122120000,{sent.isoformat()}",
        sent=sent + timedelta(seconds=2),
    )
    taken = await county.give(cancel)
    assert taken.outcome is Outcome.RELEASED, taken.reason
    rows = await county.store.broadcasts()
    clear = [row for row in rows if '"stage":"cancel"' in row.script.decode()]
    assert {t for row in clear for t in row.broadcast.terminals} == county.in_township(here, there)
    assert [a.state for a in await county.store.alerts() if a.msg_type == "Alert"] == [AlertState.CANCELLED]


async def test_an_english_block_beside_the_chinese_one_is_the_same_account(county: County) -> None:
    english = info(codes=("623023",)).replace("zh-CN", "en-US").replace("暴雨", "rainstorm")
    taken = await county.give(message(english, info(codes=(DACHUAN,))))
    assert taken.outcome is Outcome.RELEASED, taken.reason
    assert taken.broadcast is not None
    assert await county.ended(taken.broadcast) == county.in_township(names(county)[0])


async def test_why_names_the_block_that_a_terminal_is_in(county: County) -> None:
    infos = [info(colour="红色", codes=(DACHUAN,)), info(colour="橙色", codes=(CHENGGUAN,))]
    taken = await county.give(message(*infos))
    assert taken.alert is not None
    row = await county.store.alert(taken.alert)
    here, there = names(county)
    for place in (here, there):
        terminal = county.register.terminals[min(county.in_township(place))]
        told = why(
            decode_alert(row),
            decode_plan(row),
            terminal,
            county=county.register.county,
            fleet=county.register.fleet,
            now=datetime.now(BEIJING),
            quake=Policy(),
        )
        assert (told.inside, told.then) == (True, Then.IN)
        assert told.because[0].values["label"] == place
