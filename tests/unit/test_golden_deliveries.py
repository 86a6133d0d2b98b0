"""Delivery logs that were recorded once, through today's state machine."""

import copy
import json
from pathlib import Path

import pytest

from support import golden


@pytest.mark.parametrize("path", golden.logs(), ids=lambda path: path.stem)
def test_a_recorded_delivery_is_shown_and_decided_today_as_it_was_then(path: Path) -> None:
    assert golden.replay(json.loads(path.read_text(encoding="utf-8"))) == []


def test_every_kind_of_run_is_there_and_small() -> None:
    assert {path.stem for path in golden.logs()} == {"normal", "lossy", "stop", "update", "late"}
    assert sum(path.stat().st_size for path in golden.logs()) < 60_000


def test_a_state_machine_that_says_something_else_is_told_with_the_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = json.loads((golden.FOLDER / "normal.json").read_text(encoding="utf-8"))
    ranks = dict(golden.delivery._RANK)
    ranks[golden.State.READY] = 5
    monkeypatch.setattr(golden.delivery, "_RANK", ranks)
    [first, *_] = golden.replay(log)
    assert first == "normal: sim-00001 step 3 at 1640 ms: shown ['accepted', 1, '', 1220, '', False], " + (
        "was ['ready', 1, '', 1620, '', False]"
    )


def test_a_fact_that_was_not_recorded_shows() -> None:
    log = json.loads((golden.FOLDER / "late.json").read_text(encoding="utf-8"))
    less = copy.deepcopy(log)
    less["terminals"]["sim-00002"][-1]["facts"] = []
    assert golden.replay(less)


@pytest.mark.parametrize("name", golden.RUNS)
def test_the_recorder_records_runs_that_end_and_replay(name: str) -> None:
    log = golden.RUNS[name]().log()
    assert golden.replay(json.loads(golden.written(log))) == []
    assert all(steps[-1]["next"] == ["Settled"] for steps in log["terminals"].values())
