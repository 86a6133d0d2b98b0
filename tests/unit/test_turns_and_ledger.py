"""Who goes first, what waits for a disk, and how complaints stay readable."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import complaints, ledger
from controller.admission import Turns
from controller.complaints import Complaints
from controller.ledger import Ledger
from controller.store import StoreError


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_turns_go_to_the_most_urgent_and_never_to_more_than_there_are_places(
    orders: list[int], places: int
) -> None:
    async def play() -> tuple[list[int], int]:
        turns = Turns(places)
        inside = most = 0
        served: list[int] = []
        gate = asyncio.Event()

        async def one(order: int) -> None:
            nonlocal inside, most
            async with turns.turn((order,)):
                inside += 1
                most = max(most, inside)
                await gate.wait()
                served.append(order)
                await asyncio.sleep(0)
                inside -= 1

        tasks = [asyncio.create_task(one(order)) for order in orders]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*tasks)
        return served, most

    served, most = asyncio.run(play())
    assert most <= places
    assert sorted(served) == sorted(orders)
    assert served[:places] == orders[:places]  # those that found a place free
    if places == 1:
        assert served[1:] == sorted(orders[1:])


async def test_who_is_urgent_waits_for_nobody_and_takes_nobodys_place() -> None:
    turns = Turns(1)
    async with turns.turn((1,)), turns.turn((9,), urgent=True):
        waiting = asyncio.create_task(_through(turns))
        await asyncio.sleep(0)
        assert turns.waiting == 1
    await waiting
    assert turns.waiting == 0


async def test_a_cancelled_wait_loses_no_place() -> None:
    turns = Turns(1)
    async with turns.turn((1,)):
        waiting = [asyncio.create_task(_through(turns)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        waiting[1].cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*waiting, return_exceptions=True)
    async with asyncio.timeout(5), turns.turn((1,)):
        assert turns.waiting == 0


async def _through(turns: Turns) -> None:
    async with turns.turn((2,)):
        pass


async def test_what_the_disk_refuses_is_written_in_its_order_when_it_takes_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger, "PAUSE_S", 0.01)
    alarms: list[str] = []
    book = Ledger(alarms.append)
    written: list[int] = []
    full = True

    def write(n: int) -> ledger.Write:
        async def now() -> None:
            if full:
                raise StoreError("storing reports in db: database or disk is full")
            written.append(n)

        return now

    running = asyncio.create_task(book.run())
    for n in range(5):
        await book.keep(write(n))
    assert (written, book.late) == ([], 5)
    assert "disk is full" in alarms[0]
    full = False
    async with asyncio.timeout(10):
        while book.late:
            await asyncio.sleep(0.01)
    await book.keep(write(5))
    assert written == [0, 1, 2, 3, 4, 5]
    assert "again" in alarms[-1]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_whoever_writes_waits_when_too_much_waits_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MOST", 2)
    monkeypatch.setattr(ledger, "PAUSE_S", 0.01)
    book = Ledger(lambda _: None)
    full = True

    async def write() -> None:
        if full:
            raise StoreError("full")

    running = asyncio.create_task(book.run())
    await book.keep(write)
    await book.keep(write)
    third = asyncio.create_task(book.keep(write))
    await asyncio.sleep(0.05)
    assert not third.done()
    full = False
    async with asyncio.timeout(10):
        await third
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_a_flood_of_bad_reports_is_a_few_lines_one_alarm_and_an_exact_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    alarms: list[str] = []
    book = Complaints(alarms.append)
    with caplog.at_level(logging.WARNING):
        for n in range(5_000):
            book.add("sim-00001", "wrong seal", n)
    assert book.of("sim-00001") == 5_000
    assert len(caplog.records) == 1
    assert len(alarms) == 1
    assert "sim-00001" in alarms[0]
    assert book.add("sim-00001", "wrong seal", 20_000)
    assert "4999 since" not in caplog.records[0].getMessage()


def test_a_flood_below_made_up_ids_is_bounded_in_lines_and_in_memory(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(complaints, "TERMINALS", 50)
    book = Complaints(lambda _: None)
    with caplog.at_level(logging.WARNING):
        for n in range(1_000):
            book.add(f"x-{n}", "unknown terminal", n % 100)
    assert len(caplog.records) == complaints.LINES
    assert len(book._counts) == 50
    assert book.of("x-0") == 0
