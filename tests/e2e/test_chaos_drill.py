"""The chaos drill: a whole one that is kept, sabotage that it finds out, and that nothing is left."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec.structs import replace

from simulators import scenarios
from simulators.chaos import (
    PHASES,
    ChaosError,
    ChaosOptions,
    Sheet,
    broadcasts_by_name,
    run_chaos,
    sheet_json,
)

pytestmark = pytest.mark.slow

SUPPORT = Path(__file__).parents[1] / "support"
ROOT = Path(__file__).parents[2]
LIMIT_S = 300.0
"""Bounds a hang; nothing waits for it."""


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A mark that every process of a drill inherits; none may be left in the end."""
    mark = f"drill-{uuid4().hex}"
    monkeypatch.setenv("FENGHUO_TEST_MARK", mark)
    yield mark
    end = time.monotonic() + 40
    while (left := marked(mark)) and time.monotonic() < end:
        time.sleep(0.1)
    assert left == []


def marked(mark: str) -> list[int]:
    """Processes that were started with this mark, without ourselves."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:  # it has just ended
                continue
            if mark.encode() in environment:
                found.append(int(entry.name))
    return found


def drilled(
    folder: Path, how: str, *phases: str, terminals: int = 60, told: list[str] | None = None
) -> Sheet:
    home = folder / "d"
    home.mkdir(mode=0o700)
    scenario = scenarios.load("chaos", terminals)
    # How fast is for `benchmarks/` and for the drill on its own machine; here others run beside it.
    patient = replace(scenario.chaos, slack_s=LIMIT_S)
    options = ChaosOptions(
        dataclasses.replace(scenario, chaos=patient),
        home,
        short=True,
        speed=15,
        voice="hum",
        phases=phases,
        serve=(sys.executable, str(SUPPORT / "saboteur.py"), how),
    )

    async def bounded() -> Sheet:
        async with asyncio.timeout(LIMIT_S):
            return await run_chaos(options, (told if told is not None else []).append)

    return asyncio.run(bounded())


@pytest.fixture(autouse=True)
def path_of_the_support(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))


def test_a_short_drill_keeps_every_promise_and_leaves_no_process(tmp_path: Path, ours: str) -> None:
    told: list[str] = []
    sheet = drilled(tmp_path, "honest", *PHASES, terminals=200, told=told)
    broken = {p.key: (dict(p.figures), p.broken) for p in sheet.promises if not p.kept}
    assert broken == {}
    assert sheet.kept
    assert told == ["start", *PHASES, "end"]
    figures = {p.key: p.figures for p in sheet.promises}
    # None of it is kept by nothing having happened.
    assert figures["calm"]["sounding"] > 100
    assert figures["stop"]["sounding"] > 100
    assert figures["links"]["cut"] >= 0.3 * figures["calm"]["sounding"] - 1
    assert figures["links"]["back"] > 0
    assert figures["replay"]["replayed"] > 200
    assert figures["forged"]["forged"] > 100
    assert figures["broker"]["sounding"] > 0
    assert figures["storm"]["documents"] >= 20
    assert figures["outcomes"]["deliveries"] > 400
    assert figures["receipts"]["receipts"] > 200
    assert json.loads(json.dumps(sheet_json(sheet)))["kept"] is True


def test_another_feeds_document_of_the_same_identifier_does_not_hide_a_warning() -> None:
    """A storm's document bore the earthquake's identifier, and nobody was said to have heard it."""
    alerts = [
        {"source": "bureau", "identifier": "drill-32", "broadcasts": []},
        {"source": "seismic", "identifier": "drill-32", "broadcasts": ["B-Q"]},
        {"source": "bureau", "identifier": "drill-33", "broadcasts": ["B-1", "B-2"]},
        {"source": "bureau", "identifier": "drill-33", "broadcasts": []},
    ]
    found = broadcasts_by_name(alerts)
    assert found["seismic", "drill-32"] == ["B-Q"]
    assert found["bureau", "drill-32"] == []
    assert found["bureau", "drill-33"] == ["B-1", "B-2"]


@pytest.mark.parametrize(("how", "red"), [("no_stop", "stop"), ("boast", "receipts")])
def test_sabotage_turns_the_sheet_red(
    tmp_path: Path, ours: str, how: str, red: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulators.chaos.PHASE_S", 15.0)
    sheet = drilled(tmp_path, how, "calm")
    assert not sheet.kept
    found = {p.key: p for p in sheet.promises}
    assert not found[red].kept
    assert found[red].broken
    assert found["calm"].kept


def test_a_controller_that_does_not_start_is_an_error_with_its_last_words(tmp_path: Path, ours: str) -> None:
    with pytest.raises(ChaosError, match=r"did not start: .*AssertionError: unknown"):
        drilled(tmp_path, "unknown", "calm")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_a_drill_that_is_ended_in_whatever_way_leaves_no_process(
    tmp_path: Path, ours: str, number: signal.Signals
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "controller.cli", "drill", "chaos", "--short", "--terminals", "20"),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            while len(marked(ours)) < 4:  # the drill, the broker, the guardian, the controller
                await asyncio.sleep(0.05)
            process.send_signal(number)
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert code == (-signal.SIGKILL if number is signal.SIGKILL else 1)
    left = [name for name in os.listdir(tmp_path) if name.startswith("fenghuo-drill-")]  # noqa: PTH208
    assert number is signal.SIGKILL or left == []
