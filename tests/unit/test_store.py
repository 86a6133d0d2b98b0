"""What must survive a killed process, one use case each."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from controller.store import Store, StoreError, Unknown, tables
from controller.store.records import (
    AlertRow,
    AlertState,
    BroadcastRow,
    BroadcastState,
    CommandRow,
    Entry,
    FactRow,
    Outcome,
)
from terminals.broadcast import Broadcast, Kind, Lane, Priority, Variant
from terminals.delivery import State
from terminals.model import Terminal

NOW = 1_800_000_000_000
ME = Entry("王主任", "test", "it")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "fenghuo.db")
    yield opened
    await opened.close()


def an_alert(alert_id: str = "A1", **changes: object) -> AlertRow:
    row = AlertRow(
        id=alert_id,
        source="bureau",
        kind="actual",
        identifier="62302341600000_20261122120000",
        event_key="62302341600000_20261122120000",
        msg_type="Alert",
        hazard="rainstorm",
        colour="orange",
        headline="暴雨橙色预警",
        expires=NOW + 3_600_000,
        state=AlertState.RELEASED,
        reason="",
        created=NOW,
        plan=b"{}",
        message=b"{}",
        known=b"{}",
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def a_broadcast(broadcast_id: str = "B1", terminals: tuple[str, ...] = ("t1", "t2")) -> BroadcastRow:
    plan = Broadcast(
        id=broadcast_id,
        alert_id="A1",
        event_key="e",
        kind=Kind.ACTUAL,
        priority=Priority.of(Kind.ACTUAL, Lane.NORMAL, 2, 4),
        terminals=terminals,
        groups=("all",),
        variants=(Variant("zh", "mp3", "0" * 64, 10, 1.5),),
        repeats=2,
        volume=100,
        expires_ms=NOW + 3_600_000,
    )
    return BroadcastRow(BroadcastState.VOICING, NOW, plan, b"{}")


async def test_the_migrations_make_exactly_the_tables(store: Store, tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'fenghuo.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


async def test_opening_twice_keeps_what_is_there(tmp_path: Path) -> None:
    first = await Store.open(tmp_path / "a.db")
    await first.set_meta("k", "v")
    await first.close()
    second = await Store.open(tmp_path / "a.db")
    assert await second.meta("k") == "v"
    await second.close()


async def test_the_file_of_a_later_program_is_refused_in_words_and_stays_as_it_is(tmp_path: Path) -> None:
    await (await Store.open(tmp_path / "a.db")).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as other, other:
        other.execute("UPDATE alembic_version SET version_num = '9999_later'")
    with pytest.raises(StoreError, match="9999_later, which this program does not know"):
        await Store.open(tmp_path / "a.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as other:
        assert other.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999_later",)]


async def test_a_plan_and_all_its_deliveries_come_together_or_not_at_all(store: Store) -> None:
    await store.take(an_alert(), [a_broadcast()], ME, NOW)
    planned, facts = await store.deliveries("B1")
    assert (sorted(planned), facts) == (["t1", "t2"], [])
    with pytest.raises(sa.exc.IntegrityError):
        # The broadcast's id is taken: the new alert must not be there either.
        await store.take(an_alert("A2"), [a_broadcast("B1")], ME, NOW)
    with pytest.raises(Unknown):
        await store.alert("A2")


async def test_a_broadcast_comes_back_as_it_was_stored(store: Store) -> None:
    row = a_broadcast()
    await store.take(an_alert(), [row], ME, NOW)
    assert await store.broadcast("B1") == row
    later = replace(row, state=BroadcastState.SENDING, sending=NOW + 5)
    await store.set_broadcast(later)
    assert await store.broadcast("B1") == later


async def test_only_the_first_of_two_deciders_decides(store: Store) -> None:
    await store.take(an_alert(state=AlertState.HELD), (), ME, NOW)
    decide = [
        await store.decide("A1", state, "", (), ME, NOW, expected=AlertState.HELD)
        for state in (AlertState.REJECTED, AlertState.RELEASED)
    ]
    assert decide == [True, False]
    assert (await store.alert("A1")).state is AlertState.REJECTED


async def test_counters_only_rise_and_are_durable_before_use(store: Store, tmp_path: Path) -> None:
    seen: list[int] = []

    def make(counter: int) -> CommandRow:
        seen.append(counter)
        return CommandRow("k1", counter, "B1", "play", 1, ("all",), (), NOW + 1, b"sealed")

    await store.commit_command("k1", NOW, make)
    await store.commit_command("k1", NOW - 86_400_000, make)  # the wall clock was set back
    await store.raise_counter("k1", NOW + 1_000)
    await store.commit_command("k1", NOW, make)
    assert seen == [NOW, NOW + 1, NOW + 1_001]
    assert await store.raise_counter("k1", NOW) is False
    other = sqlite3.connect(tmp_path / "fenghuo.db")
    assert other.execute("SELECT last FROM counter").fetchall() == [(NOW + 1_001,)]
    other.close()
    assert [c.counter for c in await store.commands("B1")] == seen


async def test_facts_are_kept_once_with_their_earliest_time_and_never_undone(store: Store) -> None:
    await store.take(an_alert(), [a_broadcast()], ME, NOW)
    played = FactRow("B1", "t1", (1, State.PLAYED, ""), (NOW + 9, ""))
    accepted = FactRow("B1", "t1", (1, State.ACCEPTED, ""), (NOW + 1, ""))
    await store.add_facts([played, accepted], (), NOW)
    await store.add_facts(
        [replace(played, value=(NOW + 99, "again")), replace(accepted, value=(NOW, ""))], (), NOW
    )
    _, facts = await store.deliveries("B1")
    assert {f.key[1]: f.value for f in facts} == {State.PLAYED: (NOW + 9, ""), State.ACCEPTED: (NOW, "")}


async def test_journalled_bytes_come_back_unchanged_until_they_are_decided(store: Store) -> None:
    number = await store.journal("bureau", "a.xml", b"\x00\xff<alert/>", "0" * 64, NOW)
    assert await store.open_document(number) == 1
    assert await store.open_document(number) == 2
    [(row, body)] = await store.unfinished_documents()
    assert (row.id, body) == (number, b"\x00\xff<alert/>")
    await store.close_document(number, Outcome.REFUSED, "why")
    assert await store.unfinished_documents() == []
    assert (await store.documents(1))[0].reason == "why"


async def test_an_enrolment_code_is_spent_once_and_only_in_time(store: Store) -> None:
    await store.register([Terminal("t1", "村口", "w01v01")], ME, NOW)
    await store.set_codes([("t1", "ab")], NOW + 10, ME, NOW)
    assert await store.code_hash("t1", NOW + 10) is None
    assert await store.code_hash("t1", NOW) == "ab"
    assert [await store.enrol("t1", "ab", ME, NOW) for _ in range(2)] == [True, False]
    assert (await store.terminals())[0].terminal.enrolled


async def test_registering_again_keeps_the_enrolment(store: Store) -> None:
    await store.register([Terminal("t1", "村口", "w01v01")], ME, NOW)
    await store.set_codes([("t1", "ab")], NOW + 10, ME, NOW)
    await store.enrol("t1", "ab", ME, NOW)
    await store.register([Terminal("t1", "村口大槐树", "w01v02")], ME, NOW)
    [row] = await store.terminals()
    assert (row.terminal.enrolled, row.terminal.village, row.terminal.name) == (True, "w01v02", "村口大槐树")


async def test_every_deed_is_in_the_audit_log_with_its_doer(store: Store) -> None:
    await store.take(an_alert(), (), Entry("李值班", "alert.send", "A1", "暴雨"), NOW)
    [entry] = await store.audit(10)
    assert (entry.who, entry.what, entry.subject, entry.at) == ("李值班", "alert.send", "A1", NOW)
    assert await store.audit(10, "A2") == []


async def test_a_file_that_is_no_database_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "fenghuo.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match="bringing the schema up to date"):
        await Store.open(tmp_path / "fenghuo.db")
