"""What rings while a warning waits for an operator."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from controller.clock import wall_ms
from controller.desk import Refused
from controller.escalation import ring
from controller.metrics import Metrics
from controller.store.records import AlertState, Outcome
from support.county import BEIJING, a_county, cap

WAIT = 20  # seconds until a test gives up; no test waits that long when it passes


@dataclass
class Waiting:
    """Stands in for the store and the desk: these are held, and `later` are with the next look."""

    ids: list[str]
    later: list[str] = field(default_factory=list)

    @property
    def outgoing(self) -> Waiting:
        return self

    @property
    def events(self) -> Waiting:
        return self

    async def alerts(self, **_: object) -> list[Any]:
        now = wall_ms()
        ends = {"over": now - 1}
        return [
            SimpleNamespace(
                id=i,
                created=now,
                expires=ends.get(i, now + 10**9),
                msg_type="Alert",
                headline="暴雨",
                reason="",
            )
            for i in self.ids
        ]

    async def doubted(self) -> list[Any]:
        return []

    async def lapse(self, row: Any) -> bool:
        self.ids.remove(row.id)
        return True

    async def wait_changed(self, seconds: float) -> None:
        if self.later:
            self.ids += self.later
            self.later.clear()
        else:
            await asyncio.sleep(seconds)


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


async def test_what_expires_while_it_is_held_is_closed_with_an_alarm_and_rings_no_more() -> None:
    waiting = Waiting(["over", "A1"])
    alarms: list[str] = []
    task = asyncio.create_task(ring(waiting, waiting, metrics := Metrics(), None, alarms.append))  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(WAIT):
            while not alarms or metrics.held._value.get() != 1:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert waiting.ids == ["A1"]
    assert alarms == ["over expired while it waited for an operator; nobody heard it"]


async def test_a_held_warning_that_is_over_is_closed_and_says_why(tmp_path: Path) -> None:
    alarms: list[str] = []
    async with a_county(tmp_path) as county:
        soon = datetime.now(BEIJING) + timedelta(seconds=1)
        taken = await county.give(cap(expires=soon), feed="mirror")
        assert taken.outcome is Outcome.HELD
        assert taken.alert is not None
        ringing = asyncio.create_task(ring(county.store, county.desk, Metrics(), None, alarms.append))
        try:
            async with asyncio.timeout(WAIT):
                while not alarms:
                    await asyncio.sleep(0.02)
        finally:
            ringing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ringing
        row = await county.store.alert(taken.alert)
        assert row.state is AlertState.CLOSED
        assert "while it waited for an operator" in row.reason
        assert isinstance(await county.desk.approve(taken.alert, "李值班"), Refused)
        assert not county.heard_anything
