"""Reports that nobody has read yet take bounded memory, however long they are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controller import dispatch
from controller.dispatch import Dispatcher
from controller.metrics import Metrics
from terminals.seal import MAX_ENVELOPE


def a_dispatcher(metrics: Metrics, alarms: list[str]) -> Dispatcher:
    nothing: Any = None
    return Dispatcher(
        nothing, nothing, nothing, lambda _: None, lambda _: None, "", nothing, metrics, alarms.append
    )


def test_a_report_that_is_too_long_is_told_and_not_kept() -> None:
    metrics, alarms = Metrics(), list[str]()
    dispatcher = a_dispatcher(metrics, alarms)
    dispatcher.upward("sim-00001", b"x" * (MAX_ENVELOPE + 1))
    assert dispatcher._inbox.empty()
    assert dispatcher.complaints.of("sim-00001") == 1
    dispatcher.upward("sim-00001", b"x" * MAX_ENVELOPE)
    assert dispatcher._inbox.qsize() == 1


def test_what_waits_to_be_read_is_bounded_in_bytes_and_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "INBOX_BYTES", 10_000)
    metrics = Metrics()
    dispatcher = a_dispatcher(metrics, [])
    for _ in range(20):
        dispatcher.upward("sim-00001", b"x" * 1_000)
    assert dispatcher._inbox.qsize() == 10
    assert metrics.reports_dropped._value.get() == 10


async def test_what_was_read_makes_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "INBOX_BYTES", 10_000)
    metrics = Metrics()
    dispatcher = a_dispatcher(metrics, [])
    for _ in range(3):
        for _ in range(10):
            dispatcher.upward("sim-00001", b"x" * 1_000)
        reading = asyncio.create_task(dispatcher._read_reports(), name="reading")
        while not dispatcher._inbox.empty():
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert metrics.reports_dropped._value.get() == 0
    assert metrics.reports_refused._value.get() == 30
