"""What `fenghuo drill` refuses, and the sheet that it prints, in both languages."""

from pathlib import Path
from typing import Any

import pytest

from controller.cli import drill, words
from controller.cli.program import run
from simulators import chaos
from simulators.chaos import Promise, Sheet

_NAMES = """
sounding first_s last_s missing slowest_s unacknowledged cut back back_last_s replayed sounded forged believed
median_s documents a_second storm_s calm_s limit_s sounds wrong heard twice deliveries broadcasts unknown
receipts false connected alarms
"""
FIGURES = dict.fromkeys(_NAMES.split(), 1.5)
_KEYS = "calm stop links replay forged broker storm right once outcomes receipts alive"
KEYS = _KEYS.split()


def sheet(*broken: str) -> Sheet:
    promises = tuple(
        Promise(key, key not in broken, FIGURES, ("sim-00007: B1",) if key in broken else ()) for key in KEYS
    )
    return Sheet("chaos", 200, 5, 20.0, "mosquitto", "hum", 33.3, promises)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Drills that were held; none is for real."""
    found: list[Any] = []

    async def never(options: Any, tell: Any) -> Sheet:
        found.append(options)
        return sheet("once") if options.scenario.seed == 13 else sheet()

    monkeypatch.setattr(chaos, "run_chaos", never)
    return found


def test_a_running_controller_is_refused_and_nothing_is_started(
    held: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["drill", "chaos", "--url", "http://127.0.0.1:8471"]) == 6
    assert "http://127.0.0.1:8471 is a running controller" in capsys.readouterr().err
    assert held == []


@pytest.mark.parametrize("name", ["lock", "fenghuo.db", "api.sock", "notes.txt"])
def test_a_folder_that_may_be_a_controllers_state_is_refused(
    held: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).touch()
    assert run(["drill", "chaos", "--keep", str(tmp_path)]) == 6
    assert "is not empty" in capsys.readouterr().err
    assert held == []
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_unknown_scenario_is_a_configuration_error(held: list[Any]) -> None:
    assert run(["drill", "chaos", "--scenario", "nowhere.toml"]) == 3
    assert held == []


def test_kept_is_0_and_a_broken_promise_is_1_and_named(
    held: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["drill", "chaos", "--short"]) == 0
    out = capsys.readouterr().out
    assert out.count("KEPT") == len(KEYS)
    assert "Every promise was kept" in out
    assert run(["drill", "chaos", "--short", "--seed", "13"]) == 1
    out = capsys.readouterr().out
    assert out.count("KEPT") == len(KEYS) - 1
    assert "sim-00007: B1" in out
    assert "1 of 12 promises were BROKEN" in out
    assert held[0].scenario.terminals == drill.SHORT
    assert not held[0].folder.exists()


def test_the_sheet_is_there_in_chinese_and_as_json(
    held: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    words.use("zh")
    try:
        assert run(["drill", "chaos", "--short"]) == 0
        out = capsys.readouterr().out
    finally:
        words.use("en")
    assert out.count("守住") == len(KEYS) + 1
    assert "{" not in out
    assert run(["drill", "chaos", "--short", "--json"]) == 0
    assert '"kept": true' in capsys.readouterr().out


def test_real_loudspeakers_are_never_served_faster_than_real_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "county.yaml").touch()
    assert run(["serve", "-c", str(tmp_path / "county.yaml"), "--speed", "2"]) == 2
    assert "--sandbox" in capsys.readouterr().err
