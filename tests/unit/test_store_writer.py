"""The store's one writer: what a sound waits for goes before all that waits to be written."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from controller.store import Store
from controller.store.records import (
    AlertRow,
    AlertState,
    BroadcastRow,
    BroadcastState,
    CommandRow,
    Commit,
    Entry,
    FactRow,
)
from controller.store.writer import Urgency, Writer
from terminals.broadcast import Broadcast, Kind, Priority, Variant
from terminals.delivery import State

NOW = 1_795_305_600_000
ME = Entry("王主任", "test", "it")
CLIP = Variant("zh", "mp3", "0" * 64, 1000, 10.0)


def an_alert(alert_id: str) -> AlertRow:
    return AlertRow(
        id=alert_id,
        source="feed:bureau",
        kind="actual",
        identifier=f"cap-{alert_id}",
        event_key="e",
        msg_type="Alert",
        hazard="dam_break",
        colour="red",
        headline="溃坝红色预警",
        expires=NOW + 3_600_000,
        state=AlertState.RELEASED,
        reason="",
        created=NOW,
        plan=b"{}",
        message=b"{}",
        known=b"{}",
    )


def a_broadcast(broadcast_id: str, alert_id: str) -> BroadcastRow:
    plan = Broadcast(
        id=broadcast_id,
        alert_id=alert_id,
        event_key="e",
        kind=Kind.ACTUAL,
        priority=Priority.of(Kind.ACTUAL, 0, 1, 4),
        terminals=("t1", "t2"),
        groups=("all",),
        variants=(CLIP,),
        repeats=1,
        volume=80,
        expires_ms=NOW + 3_600_000,
    )
    return BroadcastRow(BroadcastState.SENDING, NOW, plan, b"{}")


def a_commit(broadcast: str) -> Commit:
    def make(counter: int) -> CommandRow:
        return CommandRow("k", counter, broadcast, "play", 1, ("all",), (), NOW + 3_600_000, b"sealed")

    return Commit("k", 1, NOW, make)


def test_the_most_urgent_goes_first_and_equals_in_their_order() -> None:
    writer = Writer("test")
    gate, order = threading.Event(), list[str]()
    writer.submit(Urgency.WORD, gate.wait)  # what is under way is not interrupted
    for urgency, name in (
        (Urgency.RECORD, "rows"),
        (Urgency.WORD, "facts 1"),
        (Urgency.WORD, "facts 2"),
        (Urgency.SOUND, "a plan"),
        (Urgency.SOUND, "another"),
    ):
        writer.submit(urgency, lambda name=name: order.append(name))
    gate.set()
    writer.shutdown()
    assert order == ["a plan", "another", "facts 1", "facts 2", "rows"]


def test_what_fails_fails_where_it_was_asked_for_and_the_next_is_done() -> None:
    writer = Writer("test")

    def broken() -> None:
        raise ValueError("of this one")

    first, second = writer.submit(Urgency.WORD, broken), writer.submit(Urgency.WORD, lambda: 2)
    with pytest.raises(ValueError, match="of this one"):
        first.result(30)
    assert second.result(30) == 2
    writer.shutdown()
    with pytest.raises(RuntimeError):
        writer.submit(Urgency.SOUND, lambda: 3)


async def test_an_urgent_plan_does_not_wait_behind_batches_of_facts(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "fenghuo.db")
    gate, order = threading.Event(), list[str]()
    held = store._writer.submit(Urgency.WORD, gate.wait)  # a transaction that is under way

    async def then(name: str, write: asyncio.Future[object]) -> None:
        await write
        order.append(name)

    fact = (1, State.PLAYING, ""), (NOW, "")
    batches = [[FactRow("B", f"t{batch}-{n}", *fact) for n in range(50)] for batch in range(8)]
    async with asyncio.TaskGroup() as tasks:
        for batch in batches:
            tasks.create_task(then("facts", asyncio.ensure_future(store.add_facts(batch, (), NOW))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        taken = store.take(an_alert("A1"), [a_broadcast("B1", "A1")], ME, NOW, commands=[a_commit("B1")])
        tasks.create_task(then("plan", asyncio.ensure_future(taken)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gate.set()
    assert held.result(30)
    assert order[0] == "plan"
    assert order.count("facts") == len(batches)
    await store.close()


async def test_deliveries_that_follow_their_plan_are_known_at_once_and_after_a_restart(
    tmp_path: Path,
) -> None:
    store = await Store.open(tmp_path / "fenghuo.db")
    row = a_broadcast("B1", "A1")
    await store.take(an_alert("A1"), [row], ME, NOW, commands=[a_commit("B1")])
    assert (await store.deliveries("B1"))[0] == ["t1", "t2"]
    assert await store.last_words("t1", 5) == []  # no row of its own yet
    await store.close()  # and the process is gone before it is written
    again = await Store.open(tmp_path / "fenghuo.db")
    assert [word[0] for word in await again.last_words("t1", 5)] == ["B1"]
    await again.add_delivery("B1", "t3", NOW)  # a late joiner
    await again.add_deliveries([row])  # twice is once
    assert sorted((await again.deliveries("B1"))[0]) == ["t1", "t2", "t3"]
    await again.close()


async def test_what_is_known_of_alerts_is_read_anew_when_one_of_them_changes(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "fenghuo.db")
    assert await store.lines(0) == []
    await store.take(an_alert("A1"), [], ME, NOW)
    assert [line.state for line in await store.lines(0)] == [AlertState.RELEASED]
    assert await store.lines(NOW + 1) == []  # of later ones alone
    assert len(await store.lines(NOW)) == 1
    await store.decide("A1", AlertState.CANCELLED, "", [], ME, NOW, expected=AlertState.RELEASED)
    assert [line.state for line in await store.lines(NOW)] == [AlertState.CANCELLED]
    await store.close()


async def test_a_journalled_document_is_there_although_it_waits_for_no_disk(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "fenghuo.db")
    await store.journal("bureau", "a.xml", b"<alert/>", "0" * 64, NOW, opened=True)
    [[mode]] = await store._write("looking", lambda c: c.exec_driver_sql("PRAGMA synchronous").all())
    assert mode == 2  # FULL again for all that follows
    async with Store.look(tmp_path / "fenghuo.db") as other:  # another process sees it
        assert [row.name for row, _ in await other.unfinished_documents()] == ["a.xml"]
    await store.close()
