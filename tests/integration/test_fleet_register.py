"""The register: what cannot be is refused whole; moved, replaced and retired terminals; out and in again."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.counties import load_county
from config.load import load
from controller.app import open_app
from controller.clock import wall_ms
from controller.keys import throw_away
from controller.register import Register, RegisterError, as_csv
from controller.siting import wrong
from controller.store import Store, Unknown
from controller.store.records import Entry
from support.county import CONFIG, a_county, cap
from terminals.model import Terminal

COUNTY = load_county("zhouqu").county
SEAT = (33.7845, 104.3697)
ONE = Terminal("t-1", "村口", "w01v01", *SEAT, languages=("bo", "zh"), speaker="column")
TWO = Terminal("t-2", "学校", "w01v02")


@pytest.fixture
async def register(tmp_path: Path) -> AsyncIterator[Register]:
    store = await Store.open(tmp_path / "a.db")
    register = Register(store, COUNTY, throw_away(), broker="mqtt://h:1", audio="http://h:1", sandbox=False)
    await register.load()
    yield register
    await store.close()


def reasons(*terminals: Terminal, **changes: object) -> list[tuple[int, str]]:
    given: dict[str, object] = {"sandbox": False, "standing": {}, "retired": {}}
    return wrong(terminals, COUNTY, **(given | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("terminal", "said"),
    [
        (replace(ONE, village="w99v99"), "no village w99v99"),
        (replace(ONE, id="sim-1"), "reserved for simulated"),
        (replace(ONE, lat=30.0, lon=120.0), "km outside 舟曲县"),
        (replace(ONE, lat=0.0, lon=0.0), "not in China"),
        (replace(ONE, lat=SEAT[1], lon=SEAT[0]), "swapped"),
        (replace(ONE, lon=None), "only one of lat and lon"),
        (replace(ONE, lat=float("nan")), "no number"),
        (replace(ONE, languages=("xx",)), "language 'xx' is not known"),
        (replace(ONE, languages=("藏语",)), "is not known"),
        (replace(ONE, languages=("zh", "zh")), "a language is given twice"),
        (replace(ONE, name="=cmd|' /C calc'!A0"), "formula"),
        (replace(ONE, name="a\x07b"), "control characters"),
    ],
)
def test_each_impossible_row_is_refused_with_its_reason(terminal: Terminal, said: str) -> None:
    found = reasons(terminal)
    assert len(found) == 1
    assert said in found[0][1]


def test_what_is_right_is_taken() -> None:
    assert reasons(ONE, TWO) == []
    assert reasons(replace(ONE, id="sim-1"), sandbox=True) == []
    assert reasons(replace(ONE, languages=("bo-CN", "zh-Hans-CN"))) == []


def test_every_wrong_row_is_told_at_once_with_its_place() -> None:
    rows = [
        ONE,
        replace(TWO, village="nowhere"),
        replace(ONE, name="x"),
        replace(TWO, id="t-3", languages=("q",)),
    ]
    assert [n for n, _ in reasons(*rows)] == [1, 2, 3]


def test_the_same_loudspeaker_under_two_ids_is_told() -> None:
    assert "the very position of t-1" in reasons(ONE, replace(ONE, id="t-9"))[0][1]
    assert "the very position of t-1" in reasons(replace(ONE, id="t-9"), standing={"t-1": ONE})[0][1]


async def test_one_wrong_row_registers_nobody(register: Register) -> None:
    with pytest.raises(RegisterError, match=r"terminals\.1: no village nowhere"):
        await register.add([ONE, replace(TWO, village="nowhere")], "王主任")
    assert register.terminals == {}


async def test_an_import_says_what_is_new_moved_and_changed(register: Register) -> None:
    assert (await register.add([ONE, TWO], "王主任")).new == ("t-1", "t-2")
    done = await register.add([replace(ONE, village="w01v02"), replace(TWO, name="卫生室")], "王主任")
    assert (done.new, done.moved, done.changed) == ((), ("t-1",), ("t-2",))
    assert register.terminals["t-1"].village == "w01v02"
    assert register.changes([replace(ONE, village="w01v02")]).moved == ()


async def test_the_register_goes_out_and_in_again_as_it_was(register: Register) -> None:
    await register.add([ONE, TWO], "王主任")
    rows = list(csv.DictReader(io.StringIO(as_csv(register.terminals.values()).removeprefix("\ufeff"))))
    again = [
        Terminal(
            r["id"],
            r["name"],
            r["village"],
            float(r["lat"]) if r["lat"] else None,
            float(r["lon"]) if r["lon"] else None,
            tuple(r["languages"].split()),
            tuple(r["codecs"].split()),
            speaker=r["speaker"],
        )
        for r in rows
    ]
    assert again == list(register.terminals.values())
    done = register.changes(again)
    assert (done.new, done.moved, done.changed) == ((), (), ())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80),
    st.floats(33.0, 34.0),
    st.floats(103.0, 105.0),
)
def test_names_and_positions_survive_the_file_exactly(name: str, lat: float, lon: float) -> None:
    body = as_csv([replace(ONE, name=name, lat=lat, lon=lon)]).removeprefix("\ufeff")
    (row,) = csv.DictReader(io.StringIO(body, newline=""))
    assert (row["name"], float(row["lat"]), float(row["lon"])) == (name, lat, lon)


async def test_a_retired_terminal_is_history_and_its_id_is_never_used_again(register: Register) -> None:
    await register.add([ONE, TWO], "王主任")
    await register.retire("t-1", "王主任", "烧毁")
    assert set(register.terminals) == {"t-2"}
    assert register.retired["t-1"].terminal.village == "w01v01"
    with pytest.raises(Unknown, match="was retired on"):
        await register.retire("t-1", "王主任", "again")
    with pytest.raises(RegisterError, match="t-1 is retired; a new board has a new id"):
        await register.add([ONE], "王主任")
    # It may still be there: then it is told that it belongs to no group.
    assert register.groups("t-1") == ()


async def test_a_new_board_takes_the_place_of_a_broken_one(register: Register) -> None:
    await register.add([ONE, TWO], "王主任")
    board = await register.put_in_place("t-1", "t-9", "王主任", "雷击")
    assert board == replace(ONE, id="t-9")
    assert set(register.terminals) == {"t-2", "t-9"}
    assert register.retired["t-1"].replaced_by == "t-9"
    assert len((await register.codes(["t-9"], "王主任"))["t-9"]) == 19
    with pytest.raises(RegisterError, match="registered already"):
        await register.put_in_place("t-9", "t-2", "王主任", "x")
    with pytest.raises(RegisterError, match="is retired and replaced by t-9"):
        await register.put_in_place("t-9", "t-1", "王主任", "x")
    with pytest.raises(Unknown):
        await register.put_in_place("t-7", "t-8", "王主任", "x")
    with pytest.raises(RegisterError, match="must be 1 to 40"):
        await register.put_in_place("t-2", "t 8", "王主任", "x")
    assert set(register.terminals) == {"t-2", "t-9"}


async def test_a_retired_terminal_that_says_hello_leaves_every_group_and_hears_nothing_more(
    tmp_path: Path,
) -> None:
    async with a_county(tmp_path) as county:
        gone = min(county.register.terminals)
        unit = county.village.units[gone]
        entry = Entry("王主任", "terminal.retire", gone)
        assert county.register.enrolled(gone)
        assert await county.store.retire(gone, entry, wall_ms())
        await county.register.load()
        county.village.power_off(gone)
        county.village.power_on(gone)
        async with asyncio.timeout(30):
            while unit.groups != ():
                await asyncio.sleep(0.02)
        assert unit.durable.groups == ()
        assert gone not in {t.id for t in county.register.fleet}
        assert county.register.groups(gone) == ()
        assert not county.register.enrolled(gone)  # no change of keys waits for it


async def test_a_terminal_whose_village_the_pack_has_lost_stops_nobody_and_hears_what_is_for_everybody(
    tmp_path: Path,
) -> None:
    async with a_county(tmp_path) as county:
        lost = min(county.register.terminals)
        unit = county.village.units[lost]
        # As after a start with a pack from which somebody has taken its village.
        await county.store.register([Terminal(lost, lost, "w99v99")], Entry("x", "x", "x"), wall_ms())
        await county.register.load()
        county.village.power_off(lost)
        county.village.power_on(lost)
        async with asyncio.timeout(30):
            while unit.groups != ("all",):
                await asyncio.sleep(0.02)
        assert lost not in {t.id for t in county.register.fleet}
        with pytest.raises(Unknown, match="w99v99, which the county pack has no more"):
            await county.register.put_in_place(lost, "sim-9", "王主任", "x")
        taken = await county.give(cap(event="暴雨", colour="红色"))
        assert taken.broadcast, taken
        heard = await county.ended(taken.broadcast)
        assert heard == county.in_township("大川镇")
        await county.register.add([Terminal(lost, lost, "w01v01")], "王主任")
        assert county.register.homeless == {}
        assert county.register.terminals[lost].enrolled, "its enrolment is kept"


async def test_villages_that_the_pack_has_lost_are_an_alarm_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "county.yaml").write_text(CONFIG, encoding="utf-8")
    config = load(tmp_path / "county.yaml")
    store = await Store.open(config.state_dir / "fenghuo.db")
    await store.set_meta("class", "sandbox")
    await store.register(
        [Terminal(f"sim-{n}", "", f"w99v{n:02}") for n in range(12)], Entry("x", "x", "x"), wall_ms()
    )
    await store.close()
    async with open_app(config, sandbox=True) as app:
        assert any("12 terminals are in villages that the county pack has no more" in a for a in app.alarms)
        rows = {str(row["id"]): row for row in await app.terminal_rows()}
        assert (rows["sim-3"]["village"], rows["sim-3"]["township"]) == ("w99v03", "")
        assert (await app.readiness()).lines == (), "the list shows them, the board cannot judge them"
        assert app.village_name("w99v03") == "w99v03"
