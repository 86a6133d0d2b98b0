"""What a scenario says of every terminal, and whether a broadcast went so."""

import copy
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerts import formats
from config.counties import load_county
from simulators.faults import Fault, Link
from simulators.scenarios import (
    Scenario,
    ScenarioError,
    check,
    fill,
    load,
    names,
    placed,
    terminal_id,
    warnings,
)
from terminals.delivery import State

DEMO = load("demo")
NOW = datetime(2026, 7, 1, 4, 5, 6, tzinfo=UTC)


def perfect(scenario: Scenario) -> dict[str, Any]:
    """The outcome of a broadcast that went as the scenario says."""
    missed = []
    for terminal in sorted(scenario.targeted):
        state, reason = scenario.expected(terminal)
        if state is not State.PLAYED:
            missed.append({"terminal": terminal, "state": state.value, "reason": reason})
    targeted = len(scenario.targeted)
    return {"total": {"targeted": targeted, "played": targeted - len(missed)}, "not_reached": missed}


def test_the_demo_reaches_the_five_townships_that_its_warning_names() -> None:
    county = load_county("zhouqu").county
    rows = {str(row["id"]): str(row["village"]) for row in placed(load_county("zhouqu"), 212)}
    reached = {county.township(county.village(rows[t]).township_key).name for t in DEMO.targeted}
    assert reached == {"城关镇", "大川镇", "峰迭镇", "立节镇", "曲告纳镇"}
    inside = {"w01", "w02", "w03", "w04", "w06"}
    assert DEMO.targeted == {t for t, village in rows.items() if village[:3] in inside}


def test_the_demo_has_the_faults_that_it_should_show_where_they_show() -> None:
    assert set(DEMO.faults) < DEMO.targeted
    assert Counter(DEMO.faults.values()) == {
        Fault.OFFLINE: 2,
        Fault.DEAD_AMPLIFIER: 2,
        Fault.BAD_HASH: 1,
        Fault.WRONG_KEY: 1,
        Fault.POWER_CUT: 1,
        Fault.MUTE: 1,
    }


def test_a_terminal_that_the_warning_does_not_reach_has_no_ending() -> None:
    outside = next(terminal_id(n) for n in range(212) if terminal_id(n) not in DEMO.targeted)
    with pytest.raises(KeyError):
        DEMO.expected(outside)


def test_exactly_as_expected_is_no_deviation() -> None:
    assert check(perfect(DEMO), DEMO) == []


def test_silence_is_the_same_before_and_after_the_broadcast_has_expired() -> None:
    summary = perfect(DEMO)
    for row in summary["not_reached"]:
        if row["state"] == "sent":
            row.update(state="expired", reason="unreached")
    assert check(summary, DEMO) == []


@pytest.mark.parametrize("n", range(6))
def test_a_faulty_terminal_that_played_is_one_line(n: int) -> None:
    summary = perfect(DEMO)
    row = summary["not_reached"].pop(n)
    summary["total"]["played"] += 1
    wrong = check(summary, DEMO)
    ending = "/".join(filter(None, (row["state"], row["reason"])))
    fault = DEMO.faults[row["terminal"]]
    assert wrong[0] == f"{row['terminal']}: played; {ending} was expected of {fault}"
    assert len(wrong) == 2  # and the count


@pytest.mark.parametrize(
    ("state", "reason"), [("sent", ""), ("playing", ""), ("failed", "fetch"), ("expired", "unreached")]
)
def test_a_healthy_terminal_that_did_not_play_is_one_line(state: str, reason: str) -> None:
    summary = perfect(DEMO)
    victim = min(DEMO.targeted - set(DEMO.faults))
    summary["not_reached"].append({"terminal": victim, "state": state, "reason": reason})
    wrong = check(summary, DEMO)
    assert wrong == [f"{victim}: {'/'.join(filter(None, (state, reason)))}; played was expected"]


@pytest.mark.parametrize("n", range(6))
def test_the_right_state_for_another_reason_is_one_line(n: int) -> None:
    summary = perfect(DEMO)
    summary["not_reached"][n]["reason"] = "something else"
    wrong = check(summary, DEMO)
    assert len(wrong) == 1
    assert wrong[0].startswith(summary["not_reached"][n]["terminal"])


def test_one_that_nobody_warned_one_listed_twice_and_wrong_counts_are_said() -> None:
    summary = perfect(DEMO)
    outside = next(terminal_id(n) for n in range(212) if terminal_id(n) not in DEMO.targeted)
    summary["not_reached"].append({"terminal": outside, "state": "sent", "reason": ""})
    summary["not_reached"].append(copy.copy(summary["not_reached"][0]))
    summary["total"] = {"targeted": 1, "played": 2}
    assert check(summary, DEMO) == [
        f"{summary['not_reached'][0]['terminal']}: is listed 2 times",
        f"{outside}: sent; the warning was not for it",
        f"1 targeted; {len(DEMO.targeted)} were expected",
        f"2 played; {len(DEMO.targeted) - 6} were expected",
    ]


def test_with_more_or_fewer_terminals_the_same_ones_are_faulty() -> None:
    assert load("demo", 2_000).faults == DEMO.faults
    assert len(load("demo", 424).targeted) == 2 * len(DEMO.targeted)
    few = load("demo", 30)
    assert few.faults == {"sim-00004": Fault.OFFLINE, "sim-00023": Fault.BAD_HASH}


def test_another_shipped_warning_reaches_others() -> None:
    other = load("demo", warning="debris-flow-red.national.xml")
    assert other.faults == DEMO.faults
    assert other.targeted != DEMO.targeted
    assert check(perfect(other), other) == []


@pytest.mark.parametrize("warning", warnings())
def test_every_warning_is_filled_completely_and_read_back(warning: str) -> None:
    body = fill(warning, identifier="id-1", sent=NOW, expires=NOW + timedelta(hours=3))
    assert b"@" not in body
    alert = formats.parse(body, now=NOW)
    assert (alert.identifier, alert.sent) == ("id-1", NOW)
    assert alert.main.expires == NOW + timedelta(hours=3)


def test_terminals_stand_one_in_each_village_and_then_round_again() -> None:
    pack = load_county("zhouqu")
    rows = placed(pack, 2 * len(pack.terminals) + 1)
    assert [row["id"] for row in rows[:2]] == ["sim-00001", "sim-00002"]
    assert len({row["id"] for row in rows}) == len(rows)
    first, second = rows[: len(pack.terminals)], rows[len(pack.terminals) : -1]
    assert [row["village"] for row in first] == [t.village_key for t in pack.terminals]
    assert [row["village"] for row in second] == [row["village"] for row in first]
    assert all(str(row["name"]).endswith(" 2") for row in second)


def test_what_is_not_there_is_said_with_what_is() -> None:
    assert "demo" in names()
    with pytest.raises(ScenarioError, match="demo"):
        load("dmeo")
    with pytest.raises(ScenarioError, match="rainstorm-orange"):
        fill("none.xml", identifier="x", sent=NOW, expires=NOW)
    with pytest.raises(ValueError, match="zone"):
        fill(warnings()[0], identifier="x", sent=datetime(2026, 1, 1), expires=NOW)  # noqa: DTZ001


# --- a file of one's own -------------------------------------------------------------------------------

MINE = """\
county = "zhouqu"
terminals = 424
warning = "rainstorm-orange.cap.xml"
seed = 5
[faults]
sim-00004 = "offline"
[[faulty]]
fault = "reboots"
place = "立节镇"
share = 0.5
[[faulty]]
fault = "full_disk"
circle = [33.784, 104.363, 3]
[[links]]
place = "博峪镇"
loss = 0.2
kbps = 64
[settings]
drift = 0.01
[chaos]
storm = 50
"""


def mine(tmp_path: Path, old: str = "", new: str = "", *, terminals: int | None = None) -> Scenario:
    assert old in MINE
    (tmp_path / "mine.toml").write_text(MINE.replace(old, new, 1), encoding="utf-8")
    return load(str(tmp_path / "mine.toml"), terminals)


def test_faults_and_links_go_by_place_circle_and_share_the_same_for_the_same_seed(tmp_path: Path) -> None:
    found = mine(tmp_path)
    county = load_county("zhouqu").county
    rows = {str(row["id"]): str(row["village"]) for row in placed(load_county("zhouqu"), 424)}
    lijie = {t for t, v in rows.items() if v in county.villages_of("w04")}
    reboots = {t for t, f in found.faults.items() if f is Fault.REBOOTS}
    assert reboots < lijie
    assert len(reboots) == len(lijie) // 2
    assert found.faults["sim-00004"] is Fault.OFFLINE
    assert {rows[t][:3] for t, f in found.faults.items() if f is Fault.FULL_DISK} >= {"w01"}
    assert {t for t, v in rows.items() if v in county.villages_of("w07")} == set(found.links)
    assert set(found.links.values()) == {Link(loss=0.2, kbps=64)}
    assert (found.settings.drift, found.chaos.storm, found.seed) == (0.01, 50, 5)
    assert mine(tmp_path) == found
    assert load(str(tmp_path / "mine.toml"), seed=6).faults != found.faults


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("reboots", "rebots", r"mine.toml:8: .*rebots"),
        ("loss = 0.2", "loss = 2.0", r"mine.toml:14: loss 2.0"),
        ("loss = 0.2", 'loss = "much"', r"mine.toml:16: Expected `float`"),
        ("loss", "lost", r"mine.toml:14: .*unknown field `lost`"),
        ("立节镇", "立节乡镇", r"mine.toml:7: .*立节乡镇"),
        ("share = 0.5", "share = 5.0", r"mine.toml:7: share 5.0"),
        ("[33.784, 104.363, 3]", "[10.0, 10.0, 3]", r"mine.toml:11: no terminal stands there"),
        ("sim-00004", "sim-09999", r"mine.toml:6: sim-09999"),
        ("seed = 5", "seed = ", r"line 4"),
        ("storm = 50", "strom = 50", r"mine.toml:20: .*strom"),
    ],
)
def test_a_mistake_in_a_file_is_said_with_its_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        mine(tmp_path, old, new)


def test_every_shipped_scenario_is_read_and_some_terminal_of_each_is_well() -> None:
    for name in names():
        found = load(name)
        assert len(found.faults) + len(found.links) < found.terminals
