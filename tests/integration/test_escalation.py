"""What rings while a warning waits for an operator."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from controller.clock import wall_ms
from controller.escalation import ring
from controller.metrics import Metrics

WAIT = 20  # seconds until a test gives up; no test waits that long when it passes


@dataclass
class Waiting:
    """Stands in for the store and the desk: these are held, and `later` are with the next look."""

    ids: list[str]
    later: list[str] = field(default_factory=list)

    async def alerts(self, **_: object) -> list[Any]:
        return [SimpleNamespace(id=i, created=wall_ms(), headline="暴雨", reason="hold") for i in self.ids]

    async def wait_changed(self, _: float) -> None:
        if self.later:
            self.ids += self.later
            self.later.clear()
        else:
            await asyncio.sleep(WAIT)


async def test_a_hook_that_hangs_delays_no_other_alerts_hook(tmp_path: Path) -> None:
    script = tmp_path / "hook.py"
    script.write_text(
        "import pathlib, sys, time\n"
        "pathlib.Path(sys.argv[1], sys.argv[2]).touch()\n"
        "time.sleep(600 if sys.argv[2] == 'A1' else 0)\n"
    )
    waiting = Waiting(["A1"], ["A2"])
    alarms: list[str] = []
    hook = [sys.executable, str(script), str(tmp_path), "{alert}"]
    task = asyncio.create_task(ring(waiting, waiting, Metrics(), hook, alarms.append))  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(WAIT):
            while not ((tmp_path / "A1").exists() and (tmp_path / "A2").exists()):
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert alarms == []


async def test_a_hook_that_fails_is_an_alarm_that_names_the_alert(tmp_path: Path) -> None:
    alarms: list[str] = []
    waiting = Waiting(["A1"])
    task = asyncio.create_task(
        ring(waiting, waiting, Metrics(), [str(tmp_path / "absent"), "{alert}"], alarms.append)  # type: ignore[arg-type]
    )
    try:
        async with asyncio.timeout(WAIT):
            while not alarms:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert "A1" in alarms[0]
    assert "could not be run" in alarms[0]
