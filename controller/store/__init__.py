"""The store: what must survive a killed process. One method per use case, one transaction each.

SQLite in WAL mode, one writer thread, one reader thread. `synchronous=FULL`: a plan, a counter or a fact
that a method has returned from is on the disk. What a sound waits for is written before all that waits to be
written (`controller.store.writer`). A concrete class over SQL, not a port.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec
import sqlalchemy as sa
from alembic import command as alembic_command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects.sqlite import insert

from controller.store import tables as t
from controller.store.records import (
    AlertLine,
    AlertRow,
    AlertState,
    AuditRow,
    BroadcastRow,
    BroadcastState,
    CertificateRow,
    CommandRow,
    Commit,
    DocumentRow,
    Entry,
    FactRow,
    HeardRow,
    Outcome,
    Papers,
    RetiredRow,
    Seen,
    SetRow,
    StagedRow,
    TerminalRow,
)
from controller.store.writer import Urgency, Writer
from controller.tests_schedule import Run, RunState
from terminals.broadcast import Broadcast
from terminals.delivery import State, shown
from terminals.model import Terminal

T = TypeVar("T")
MOST_LATE: Final = 64
"""Facts of one delivery, above which no late one is taken: three attempts say 30 at most."""
NO_PAPERS: Final = Papers()
WAL_PAGES = 4_000  # about 16 MB between checkpoints


class StoreError(Exception):
    """The disk or the file failed: what was being done, and SQLite's reason."""


class WrongSchema(StoreError):
    """Another version of the program made the file."""


class Unknown(Exception):
    """No such alert, broadcast or terminal."""


class Store:
    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        url = f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true" if read_only else f"sqlite:///{path}"
        settings = {"check_same_thread": False}
        self._engine = sa.create_engine(url, poolclass=sa.pool.StaticPool, connect_args=settings)
        self._readers = sa.create_engine(url, poolclass=sa.pool.StaticPool, connect_args=settings)
        if not read_only:
            sa.event.listen(self._engine, "connect", _pragmas)
            sa.event.listen(self._readers, "connect", _pragmas)
        self._writer = Writer("store-writer")
        self._alerts = 0
        """Grows with every change of the alerts; only the writer's thread counts it."""
        self._lines: tuple[int, int, list[AlertLine]] = (-1, 0, [])
        """The alerts, as of which count, and since when."""
        self._reader = ThreadPoolExecutor(1, "store-reader")

    @classmethod
    async def open(cls, path: Path, *, durable: bool = True) -> Store:
        """Opens or makes the file and brings its schema up to date. `durable` False: for a journal that
        nobody needs after the process. Raises StoreError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        store = cls(path)
        if not durable:
            sa.event.listen(store._engine, "connect", _forgetful)
        await store._write("bringing the schema up to date", partial(_migrate, path))
        await store._write("completing deliveries", lambda c: c.exec_driver_sql(_COMPLETE_DELIVERIES))
        return store

    @classmethod
    @asynccontextmanager
    async def look(cls, path: Path) -> AsyncIterator[Store]:
        """A store that is only read, beside the controller that runs on it; writing raises StoreError.
        Raises StoreError for a file that is not there or that another version of the program made."""
        store = cls(path, read_only=True)
        try:
            await store._read("looking at the schema", partial(_same_schema, path))
            yield store
        finally:
            await store.close()

    async def close(self) -> None:
        """Waits for what was begun, then lets go of the file. Safe to call twice."""
        for pool, engine in ((self._writer, self._engine), (self._reader, self._readers)):
            await asyncio.to_thread(pool.shutdown)
            engine.dispose()

    # --- documents -----------------------------------------------------------------------------

    async def journal(
        self, feed: str, name: str, body: bytes, sha256: str, now: int, *, opened: bool = False
    ) -> int:
        """Bytes are kept before anybody reads them. `opened`: the first reading begins at once, and counts
        (as `open_document`) in the same transaction.

        It survives the end of the process at once, and a power cut from the next transaction on, which at
        the latest decides the document: until then its feed has no answer and brings it again. What counts in
        seconds so waits for one sync of the disk, not for two."""

        def write(c: sa.Connection) -> int:
            row = c.exec_driver_sql(
                "INSERT INTO document (feed, name, received, sha256, body, opened, reason) "
                "VALUES (?, ?, ?, ?, ?, ?, '')",
                (feed, name, now, sha256, body, int(opened)),
            )
            return int(row.lastrowid)

        return await self._write("journalling a document", write, Urgency.SOUND, sync=False)

    async def open_document(self, document: int) -> int:
        """Counts one begun reading, durably, before it begins. Returns how many there have been."""

        def write(c: sa.Connection) -> int:
            c.execute(
                t.document.update().where(t.document.c.id == document).values(opened=t.document.c.opened + 1)
            )
            return int(
                c.execute(sa.select(t.document.c.opened).where(t.document.c.id == document)).scalar_one()
            )

        return await self._write("opening a document", write, Urgency.SOUND)

    async def close_document(self, document: int, outcome: Outcome, reason: str) -> None:
        """How it ended; what was said of it first stays."""

        def write(c: sa.Connection) -> None:
            _close(c, document, outcome, reason, None)

        await self._write("closing a document", write)

    async def unfinished_documents(self) -> list[tuple[DocumentRow, bytes]]:
        """Journalled, and the process died before they were decided; oldest first."""

        def read(c: sa.Connection) -> list[tuple[DocumentRow, bytes]]:
            rows = c.execute(
                t.document.select().where(t.document.c.outcome.is_(None)).order_by(t.document.c.id)
            )
            return [(_document(r), r.body) for r in rows]

        return await self._read("reading unfinished documents", read)

    async def journalled(
        self, *, feed: str | None = None, after: int = 0, since: int = 0, latest: bool = False, limit: int
    ) -> list[tuple[DocumentRow, bytes, str]]:
        """Documents with their bytes and the headline of the alert they became (or empty), oldest first: of
        `feed` if given, with ids above `after`, received at `since` (Unix ms) or later. Where there are more
        than `limit`: the oldest of them, or with `latest` the newest."""
        query = (
            sa.select(t.document, t.alert.c.headline)
            .outerjoin(t.alert, t.alert.c.id == t.document.c.alert)
            .where(t.document.c.id > after, t.document.c.received >= since)
            .order_by(t.document.c.id.desc() if latest else t.document.c.id)
            .limit(limit)
        )
        if feed is not None:
            query = query.where(t.document.c.feed == feed)

        def read(c: sa.Connection) -> list[tuple[DocumentRow, bytes, str]]:
            rows = [(_document(r), bytes(r.body), r.headline or "") for r in c.execute(query)]
            return rows[::-1] if latest else rows

        return await self._read("reading the journal", read)

    async def documents(self, limit: int) -> list[DocumentRow]:
        def read(c: sa.Connection) -> list[DocumentRow]:
            query = t.document.select().order_by(t.document.c.id.desc()).limit(limit)
            return [_document(r) for r in c.execute(query)]

        return await self._read("reading documents", read)

    # --- alerts --------------------------------------------------------------------------------

    async def take(
        self,
        alert: AlertRow,
        broadcasts: Sequence[BroadcastRow],
        entry: Entry,
        now: int,
        *,
        document: int | None = None,
        supersedes: Sequence[str] = (),
        commands: Sequence[Commit] = (),
    ) -> list[CommandRow]:
        """An alert and, when it is released at once, its broadcasts with every delivery: all or nothing,
        before the first command. The alerts that it replaces are marked in the same transaction. `commands`:
        the first commands of what names sounds that terminals hold, sealed and counted in it too, as
        `commit_command` would; returned in that order. Then the rows of the deliveries, which the plan names
        one by one, are left to `add_deliveries`: nobody waits for 20,000 rows while an earthquake comes."""

        def write(c: sa.Connection) -> list[CommandRow]:
            c.exec_driver_sql(_ADD_ALERT, tuple(getattr(alert, name) for name in _ALERT_COLUMNS))
            for broadcast in broadcasts:
                _plan(c, broadcast)
                if not commands:
                    c.exec_driver_sql(_ADD_DELIVERIES, _deliveries(broadcast))
            for old in supersedes:
                _set_alert(c, old, AlertState.SUPERSEDED, f"by {alert.id}", entry.who, now)
            if document is not None:
                _close(c, document, _OUTCOMES.get(alert.state, Outcome.IGNORED), alert.reason, alert.id)
            _audit(c, entry, now)
            return [_commit(c, x.key_id, x.now, x.make, x.at_least) for x in commands]

        return await self._write("planning an alert", write, Urgency.SOUND, alerts=True)

    async def decide(
        self,
        alert: str,
        state: AlertState,
        reason: str,
        broadcasts: Sequence[BroadcastRow],
        entry: Entry,
        now: int,
        *,
        supersedes: Sequence[str] = (),
        expected: AlertState,
        plan: bytes | None = None,
    ) -> bool:
        """Approve, reject or cancel: only from `expected`, so that two operators cannot both decide.
        `plan` replaces the stored one, where deciding later changed it. Returns False when somebody else was
        first."""

        def write(c: sa.Connection) -> bool:
            done = c.execute(
                t.alert.update()
                .where(t.alert.c.id == alert, t.alert.c.state == expected)
                .values(
                    state=state,
                    reason=reason,
                    decided=now,
                    decided_by=entry.who,
                    **({} if plan is None else {"plan": plan}),
                )
            )
            if done.rowcount != 1:
                return False
            for broadcast in broadcasts:
                _plan(c, broadcast)
                c.exec_driver_sql(_ADD_DELIVERIES, _deliveries(broadcast))
            for old in supersedes:
                _set_alert(c, old, AlertState.SUPERSEDED, f"by {alert}", entry.who, now)
            _audit(c, entry, now)
            return True

        return await self._write("deciding an alert", write, Urgency.SOUND, alerts=True)

    async def alert(self, alert: str) -> AlertRow:
        """Raises Unknown."""

        def read(c: sa.Connection) -> AlertRow:
            row = c.execute(t.alert.select().where(t.alert.c.id == alert)).one_or_none()
            if row is None:
                raise Unknown(f"no alert {alert}; see: fenghuo alert list")
            return _alert(row)

        return await self._read("reading an alert", read)

    async def lines(self, since: int) -> list[AlertLine]:
        """What is known of the alerts since then without their plans and messages, which may be of megabytes;
        newest first. Asked for by every document, so it is kept until an alert changes."""
        count, kept_since, kept = self._lines
        if count == self._alerts and kept_since <= since:
            return [line for line in kept if line.created >= since]
        count = self._alerts

        def read(c: sa.Connection) -> list[AlertLine]:
            rows = c.exec_driver_sql(
                "SELECT id, source, kind, identifier, event_key, msg_type, hazard, state, expires, created "
                "FROM alert WHERE created >= ? ORDER BY created DESC LIMIT 10000",
                (since,),
            )
            return [
                AlertLine(r[0], r[1], r[2], r[3], r[4], r[5], r[6], AlertState(r[7]), r[8], r[9])
                for r in rows
            ]

        found = await self._read("reading alerts", read)
        self._lines = (count, since, found)
        return found[:]

    async def known(self, alerts: Sequence[str]) -> dict[str, bytes]:
        """The lifecycle view (JSON of `alerts.lifecycle.Known`) of each of these alerts."""

        def read(c: sa.Connection) -> dict[str, bytes]:
            found: dict[str, bytes] = {}
            for n in range(0, len(alerts), 500):
                part = alerts[n : n + 500]
                query = sa.select(t.alert.c.id, t.alert.c.known).where(t.alert.c.id.in_(part))
                found.update({row[0]: row[1] for row in c.execute(query)})
            return found

        return await self._read("reading what is known of alerts", read) if alerts else {}

    async def alerts(
        self, *, since: int = 0, state: AlertState | None = None, limit: int = 500
    ) -> list[AlertRow]:
        """Newest first."""

        def read(c: sa.Connection) -> list[AlertRow]:
            query = t.alert.select().where(t.alert.c.created >= since)
            if state is not None:
                query = query.where(t.alert.c.state == state)
            return [_alert(r) for r in c.execute(query.order_by(t.alert.c.created.desc()).limit(limit))]

        return await self._read("reading alerts", read)

    # --- broadcasts ----------------------------------------------------------------------------

    async def set_broadcast(self, row: BroadcastRow, entry: Entry | None = None, now: int = 0) -> None:
        """The broadcast's own progress: voiced, sending, done, stopped."""

        def write(c: sa.Connection) -> None:
            c.execute(
                t.broadcast.update()
                .where(t.broadcast.c.id == row.broadcast.id)
                .values(
                    state=row.state,
                    sending=row.sending,
                    done=row.done,
                    stopped_by=row.stopped_by,
                    plan=msgspec.json.encode(row.broadcast),
                )
            )
            if entry is not None:
                _audit(c, entry, now)

        await self._write("storing a broadcast's progress", write)

    async def doubt(self, broadcast: str, why: str, airs: int | None, entry: Entry, now: int) -> BroadcastRow:
        """What is wrong with its sound, and until when it waits for somebody; a clock that runs is not set
        again. Raises Unknown."""

        def write(c: sa.Connection) -> BroadcastRow:
            found = c.execute(t.broadcast.select().where(t.broadcast.c.id == broadcast)).one_or_none()
            if found is None:
                raise Unknown(f"no broadcast {broadcast}; see: fenghuo broadcast list")
            row = _broadcast(found)
            told = replace(row, doubt=why, airs=airs if row.airs is None else row.airs)
            if told != row:
                values = {"doubt": told.doubt, "airs": told.airs}
                c.execute(t.broadcast.update().where(t.broadcast.c.id == broadcast).values(values))
                _audit(c, entry, now)
            return told

        return await self._write("storing a doubt", write)

    async def air(self, broadcast: str, entry: Entry, now: int) -> bool:
        """Somebody airs what waits with a doubt. Whether it still waited."""

        def write(c: sa.Connection) -> bool:
            b = t.broadcast.c
            waits = (b.id == broadcast, b.state == BroadcastState.VOICING, b.airs > 0, b.aired_by.is_(None))
            done = c.execute(t.broadcast.update().where(*waits).values(aired_by=entry.who))
            if done.rowcount:
                _audit(c, entry, now)
            return bool(done.rowcount)

        return await self._write("storing a decision", write)

    async def add_deliveries(self, broadcasts: Sequence[BroadcastRow]) -> None:
        """The deliveries of what `take` has planned with commands; those that are there stay."""

        def write(c: sa.Connection) -> None:
            for broadcast in broadcasts:
                c.exec_driver_sql(_ADD_DELIVERIES, _deliveries(broadcast))

        await self._write("adding deliveries", write, Urgency.RECORD)

    async def add_delivery(self, broadcast: str, terminal: str, now: int) -> None:
        """A late joiner: a terminal that appeared while the broadcast is valid."""

        def write(c: sa.Connection) -> None:
            c.exec_driver_sql("INSERT OR IGNORE INTO delivery VALUES (?, ?, ?)", (broadcast, terminal, now))

        await self._write("adding a delivery", write)

    async def broadcast(self, broadcast: str) -> BroadcastRow:
        """Raises Unknown."""

        def read(c: sa.Connection) -> BroadcastRow:
            row = c.execute(t.broadcast.select().where(t.broadcast.c.id == broadcast)).one_or_none()
            if row is None:
                raise Unknown(f"no broadcast {broadcast}; see: fenghuo broadcast list")
            return _broadcast(row)

        return await self._read("reading a broadcast", read)

    async def broadcasts(
        self,
        *,
        states: Sequence[BroadcastState] = tuple(BroadcastState),
        alert: str | None = None,
        limit: int = 200,
    ) -> list[BroadcastRow]:
        """Newest first."""

        def read(c: sa.Connection) -> list[BroadcastRow]:
            query = t.broadcast.select().where(t.broadcast.c.state.in_(states))
            if alert is not None:
                query = query.where(t.broadcast.c.alert == alert)
            return [
                _broadcast(r) for r in c.execute(query.order_by(t.broadcast.c.created.desc()).limit(limit))
            ]

        return await self._read("reading broadcasts", read)

    async def standing(self, since: int) -> list[BroadcastRow]:
        """The standing messages whose time ends after `since` (Unix ms), dropped ones with them; newest
        first."""

        def read(c: sa.Connection) -> list[BroadcastRow]:
            query = t.broadcast.select().join(t.alert, t.alert.c.id == t.broadcast.c.alert)
            query = query.where(t.alert.c.state == AlertState.STANDING, t.alert.c.expires > since)
            return [_broadcast(r) for r in c.execute(query.order_by(t.broadcast.c.created.desc()))]

        return await self._read("reading standing messages", read)

    async def deliveries(self, broadcast: str) -> tuple[list[str], list[FactRow]]:
        """The planned terminals and every fact about them."""

        def read(c: sa.Connection) -> tuple[list[str], list[FactRow]]:
            rows = c.exec_driver_sql("SELECT terminal FROM delivery WHERE broadcast = ?", (broadcast,))
            planned = {row[0]: None for row in rows}
            # They follow the plan of what counts in seconds; until they are there, it speaks for them.
            for row in c.exec_driver_sql("SELECT plan FROM broadcast WHERE id = ?", (broadcast,)):
                planned |= dict.fromkeys(msgspec.json.decode(row[0], type=_Terminals).terminals)
            facts = c.exec_driver_sql(
                "SELECT terminal, attempt, state, reason, at, detail FROM fact WHERE broadcast = ?",
                (broadcast,),
            )
            return (
                list(planned),
                [FactRow(broadcast, r[0], (r[1], State(r[2]), r[3]), (r[4], r[5])) for r in facts],
            )

        return await self._read("reading deliveries", read)

    async def reached(self, broadcasts: Sequence[str], states: Sequence[State]) -> dict[str, set[str]]:
        """For each of these broadcasts, the terminals that have been in one of `states`."""
        query = (
            sa.select(t.fact.c.broadcast, t.fact.c.terminal)
            .where(t.fact.c.broadcast.in_(broadcasts), t.fact.c.state.in_([s.value for s in states]))
            .distinct()
        )

        def read(c: sa.Connection) -> dict[str, set[str]]:
            out: dict[str, set[str]] = {broadcast: set() for broadcast in broadcasts}
            for broadcast, terminal in c.execute(query):
                out[broadcast].add(terminal)
            return out

        return await self._read("reading what was heard", read)

    async def add_sent(self, broadcast: str, terminals: Sequence[str], at: int, now: int) -> None:
        """The first attempt of this broadcast was handed on at `at` for all of these."""

        def write(c: sa.Connection) -> None:
            rows = [(broadcast, terminal, 1, State.SENT.value, "", at, "", now) for terminal in terminals]
            c.exec_driver_sql(_ADD_FACT, rows)

        if terminals:
            await self._write("storing what was sent", write, Urgency.RECORD)

    async def add_facts(
        self, facts: Sequence[FactRow], seen: Sequence[Seen], now: int, late: Sequence[FactRow] = ()
    ) -> None:
        """One micro-batch of reports. The same fact again keeps its earliest time; nothing is ever undone.
        `late` are facts of broadcasts that nobody follows any more: kept of an attempt that was sent to that
        terminal, up to MOST_LATE of a delivery."""

        def rows(some: Sequence[FactRow]) -> list[tuple[Any, ...]]:
            return [(f.broadcast, f.terminal, *f.key, *f.value, now) for f in some]

        def write(c: sa.Connection) -> None:
            if facts:
                c.exec_driver_sql(_ADD_FACT, rows(facts))
            if late:
                c.exec_driver_sql(_ADD_LATE, rows(late))
            if seen:
                c.exec_driver_sql(
                    "UPDATE terminal SET last_seen = ?, floor = ?, boot = ?, health = ?, ring = ? "
                    "WHERE id = ?",
                    [(s.at, s.floor, s.boot, s.health, s.ring, s.terminal) for s in seen],
                )

        await self._write("storing reports", write)

    # --- commands ------------------------------------------------------------------------------

    async def commit_command(
        self, key_id: str, now: int, make: Callable[[int], CommandRow], *, at_least: int = 0
    ) -> CommandRow:
        """The next counter of this key, max(last + 1, now, at_least), and the command sealed with it, both
        durable before this returns: only then may it be published."""

        def write(c: sa.Connection) -> CommandRow:
            return _commit(c, key_id, now, make, at_least)

        return await self._write("committing a command", write, Urgency.SOUND)

    async def keep_command(self, row: CommandRow, now: int) -> None:
        """A command that went out while the disk refused it, and its counter; keeping it twice is no harm."""

        def write(c: sa.Connection) -> None:
            last = c.execute(sa.select(t.counter.c.last).where(t.counter.c.key_id == row.key_id)).scalar()
            c.exec_driver_sql(_COUNT, (row.key_id, max(last or 0, row.counter)))
            c.execute(insert(t.command).values(**_command_values(row, now)).on_conflict_do_nothing())

        await self._write("keeping a command", write)

    async def counters(self) -> dict[str, int]:
        """The last counter of each key."""

        def read(c: sa.Connection) -> dict[str, int]:
            return {row.key_id: row.last for row in c.execute(t.counter.select())}

        return await self._read("reading counters", read)

    async def raise_counter(self, key_id: str, above: int) -> bool:
        """A terminal has seen a higher counter than we remember (a restored backup): jump above it.
        Returns whether that was news."""

        def write(c: sa.Connection) -> bool:
            last = c.execute(sa.select(t.counter.c.last).where(t.counter.c.key_id == key_id)).scalar() or 0
            if above <= last:
                return False
            c.exec_driver_sql(_COUNT, (key_id, above))
            return True

        return await self._write("raising a counter", write)

    async def mark_published(self, command: CommandRow, now: int) -> None:
        def write(c: sa.Connection) -> None:
            c.exec_driver_sql(
                "UPDATE command SET published = ? WHERE key_id = ? AND counter = ?",
                (now, command.key_id, command.counter),
            )

        await self._write("marking a command published", write)

    async def commands(self, broadcast: str) -> list[CommandRow]:
        """In the order they were made."""

        def read(c: sa.Connection) -> list[CommandRow]:
            rows = c.execute(
                t.command.select().where(t.command.c.broadcast == broadcast).order_by(t.command.c.counter)
            )
            return [
                CommandRow(
                    r.key_id,
                    r.counter,
                    r.broadcast,
                    r.verb,
                    r.attempt,
                    tuple(json.loads(r.groups)),
                    tuple(json.loads(r.terminals)),
                    r.expires,
                    r.envelope,
                    r.published,
                )
                for r in rows
            ]

        return await self._read("reading commands", read)

    # --- terminals -----------------------------------------------------------------------------

    async def register(self, terminals: Iterable[Terminal], entry: Entry, now: int) -> None:
        """Adds terminals, or changes what is known of them; enrolment is kept."""
        rows = [_terminal_values(terminal) for terminal in terminals]

        def write(c: sa.Connection) -> None:
            c.exec_driver_sql(_REGISTER, rows)
            _audit(c, entry, now)

        if rows:
            await self._write("registering terminals", write)

    async def set_codes(self, codes: Sequence[tuple[str, str]], expires: int, entry: Entry, now: int) -> None:
        """(terminal id, fingerprint of its single-use code); replaces an unused one."""

        def write(c: sa.Connection) -> None:
            c.exec_driver_sql(
                "UPDATE terminal SET code_hash = ?, code_expires = ? WHERE id = ?",
                [(code, expires, terminal) for terminal, code in codes],
            )
            _audit(c, entry, now)

        if codes:
            await self._write("storing enrolment codes", write)

    async def code_hash(self, terminal: str, now: int) -> str | None:
        """Fingerprint of the terminal's code while it is unused and less than its lifetime old."""

        def read(c: sa.Connection) -> str | None:
            row = c.exec_driver_sql(
                "SELECT code_hash, code_expires FROM terminal WHERE id = ?", (terminal,)
            ).one_or_none()
            return row[0] if row is not None and row[0] is not None and row[1] > now else None

        return await self._read("reading an enrolment code", read)

    async def enrol(
        self, terminal: str, code_hash: str, entry: Entry, now: int, papers: Papers = NO_PAPERS
    ) -> bool:
        """Spends the code; False when it was spent, replaced or too old. Certificates of an earlier enrolment
        are revoked: their key may be on another board."""

        def write(c: sa.Connection) -> bool:
            spent = c.exec_driver_sql(
                "UPDATE terminal SET enrolled = ?, code_hash = NULL, code_expires = NULL, ring = ?, "
                "broker_hash = ? WHERE id = ? AND code_hash = ? AND code_expires > ?",
                (now, papers.ring, papers.broker_hash, terminal, code_hash, now),
            ).rowcount
            if spent == 1:
                c.exec_driver_sql(_REVOKE, (now, terminal))
                if papers.certificate is not None:
                    _add_certificate(c, papers.certificate)
                _audit(c, entry, now)
            return spent == 1

        return await self._write("enrolling a terminal", write)

    async def terminals(self) -> list[TerminalRow]:
        def read(c: sa.Connection) -> list[TerminalRow]:
            return [TerminalRow(_terminal(r), r.last_seen, r.health, r.ring) for r in c.execute(_STANDING)]

        return await self._read("reading terminals", read)

    async def retired(self) -> list[RetiredRow]:
        """The terminals that were taken down, by id."""

        def read(c: sa.Connection) -> list[RetiredRow]:
            return [RetiredRow(_terminal(r), r.retired, r.replaced_by or "") for r in c.execute(_RETIRED)]

        return await self._read("reading retired terminals", read)

    async def retire(self, terminal: str, entry: Entry, now: int, by: Terminal | None = None) -> bool:
        """Takes a terminal down; `by` is registered in its place in the same transaction. Its enrolment, its
        code and its certificates end. False when it was not there, or retired already."""

        def write(c: sa.Connection) -> bool:
            gone = c.exec_driver_sql(
                "UPDATE terminal SET retired = ?, replaced_by = ?, enrolled = NULL, code_hash = NULL, "
                "code_expires = NULL, broker_hash = NULL WHERE id = ? AND retired IS NULL",
                (now, by.id if by is not None else None, terminal),
            ).rowcount
            if gone != 1:
                return False
            c.exec_driver_sql(_REVOKE, (now, terminal))
            if by is not None:
                c.exec_driver_sql(_REGISTER, _terminal_values(by))
            _audit(c, entry, now)
            return True

        return await self._write("retiring a terminal", write)

    async def heard(self) -> dict[str, HeardRow]:
        """Of every terminal that stands: when people last heard it, and when it last went through a test."""

        def read(c: sa.Connection) -> dict[str, HeardRow]:
            return {row[0]: HeardRow(row[1], row[2]) for row in c.exec_driver_sql(_HEARD)}

        return await self._read("reading when loudspeakers were heard", read)

    async def last_words(self, terminal: str, limit: int) -> list[tuple[str, str, str, str, str, int]]:
        """(broadcast, kind, headline, state, reason, when) of the last broadcasts that this terminal was to
        play, newest first; of the 500 newest there are."""

        def read(c: sa.Connection) -> list[tuple[str, str, str, str, str, int]]:
            out = []
            for b, created, kind, headline in c.exec_driver_sql(_LAST, (terminal, limit)).all():
                rows = c.exec_driver_sql(_FACTS_OF, (b, terminal))
                seen = shown({(r[0], State(r[1]), r[2]): (r[3], r[4]) for r in rows})
                out.append((b, kind, headline, seen.state.value, seen.reason, seen.at or created))
            return out

        return await self._read("reading what a terminal said", read)

    # --- tests that run by themselves ----------------------------------------------------------

    async def keep_trial(self, run: Run, entry: Entry | None, now: int) -> None:
        """One slot of a test, as it stands now."""
        values = astuple(run)

        def write(c: sa.Connection) -> None:
            c.exec_driver_sql(_KEEP_TRIAL, values)
            if entry is not None:
                _audit(c, entry, now)

        await self._write("storing a test", write)

    async def trials(self, limit: int = 10) -> dict[str, list[Run]]:
        """Test → its last runs, newest first."""

        def read(c: sa.Connection) -> dict[str, list[Run]]:
            out: dict[str, list[Run]] = {}
            for r in c.exec_driver_sql(_TRIALS, (limit,)):
                out.setdefault(r[0], []).append(Run(r[0], r[1], RunState(r[2]), *r[3:9]))
            return out

        return await self._read("reading tests", read)

    async def renew(self, row: CertificateRow, entry: Entry, now: int) -> None:
        """One more certificate of a terminal; its others stay good until they end."""

        def write(c: sa.Connection) -> None:
            _add_certificate(c, row)
            _audit(c, entry, now)

        await self._write("storing a certificate", write)

    async def revoke(self, terminal: str, entry: Entry, now: int) -> int:
        """Every certificate of this terminal; how many that were."""

        def write(c: sa.Connection) -> int:
            revoked = c.exec_driver_sql(_REVOKE, (now, terminal)).rowcount
            _audit(c, entry, now)
            return revoked

        return await self._write("revoking certificates", write)

    async def certificates(self) -> list[CertificateRow]:
        """Every one that was ever given, by terminal, the oldest first."""

        def read(c: sa.Connection) -> list[CertificateRow]:
            found = c.execute(
                t.certificate.select().order_by(t.certificate.c.terminal, t.certificate.c.issued)
            )
            return [CertificateRow(r.serial, r.terminal, r.issued, r.expires, r.revoked) for r in found]

        return await self._read("reading certificates", read)

    async def broker_hashes(self) -> dict[str, str]:
        """Enrolled terminal → what mosquitto's password file holds of its password."""

        def read(c: sa.Connection) -> dict[str, str]:
            found = c.exec_driver_sql(
                "SELECT id, broker_hash FROM terminal WHERE enrolled IS NOT NULL AND broker_hash IS NOT NULL "
                "ORDER BY id"
            )
            return {r.id: r.broker_hash for r in found}

        return await self._read("reading passwords of the broker", read)

    # --- held sets -----------------------------------------------------------------------------

    async def place_set(self, row: SetRow, entry: Entry, now: int) -> None:
        """A set that is to be held from now on, in place of every other of its purpose."""

        def write(c: sa.Connection) -> None:
            c.execute(
                t.held_set.update()
                .where(
                    t.held_set.c.purpose == row.purpose,
                    t.held_set.c.id != row.id,
                    t.held_set.c.dropped.is_(None),
                )
                .values(dropped=now)
            )
            c.exec_driver_sql(
                "INSERT INTO held_set VALUES (?, ?, ?, ?, ?, ?, NULL) ON CONFLICT (id) DO UPDATE "
                "SET purpose = excluded.purpose, groups = excluded.groups, created = excluded.created, "
                "expires = excluded.expires, dropped = NULL",
                (row.id, row.purpose, row.manifest, json.dumps(row.groups), row.created, row.expires),
            )
            _audit(c, entry, now)

        await self._write("placing a set", write)

    async def drop_set(self, set_id: str, entry: Entry, now: int) -> None:
        """It is no longer to be held."""

        def write(c: sa.Connection) -> None:
            c.execute(t.held_set.update().where(t.held_set.c.id == set_id).values(dropped=now))
            _audit(c, entry, now)

        await self._write("dropping a set", write)

    async def sets(self, *, dropped: bool = False) -> tuple[list[SetRow], list[StagedRow]]:
        """The sets that are to be held, oldest first, and what terminals have said of them. `dropped`: those
        that are not to be held any more."""

        def read(c: sa.Connection) -> tuple[list[SetRow], list[StagedRow]]:
            rows = c.execute(
                t.held_set.select()
                .where(t.held_set.c.dropped.is_not(None) if dropped else t.held_set.c.dropped.is_(None))
                .order_by(t.held_set.c.created)
            )
            sets = [
                SetRow(
                    r.id, r.purpose, r.manifest, tuple(json.loads(r.groups)), r.created, r.expires, r.dropped
                )
                for r in rows
            ]
            words = c.execute(t.staged.select().where(t.staged.c.set.in_([s.id for s in sets])))
            return sets, [StagedRow(*r) for r in words]

        return await self._read("reading held sets", read)

    async def keep_staged(self, rows: Sequence[StagedRow]) -> None:
        """Terminals' last words on sets."""

        def write(c: sa.Connection) -> None:
            c.exec_driver_sql(
                'INSERT INTO staged VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT ("set", terminal) DO UPDATE '
                "SET wanted = excluded.wanted, held = excluded.held, problem = excluded.problem, "
                "at = excluded.at",
                [(r.set, r.terminal, r.wanted, r.held, r.problem, r.at) for r in rows],
            )

        if rows:
            await self._write("storing who holds what", write)

    # --- the rest ------------------------------------------------------------------------------

    async def meta(self, key: str) -> str | None:
        def read(c: sa.Connection) -> str | None:
            return c.execute(sa.select(t.meta.c.value).where(t.meta.c.key == key)).scalar()

        return await self._read("reading the store's own notes", read)

    async def set_meta(self, key: str, value: str) -> None:
        def write(c: sa.Connection) -> None:
            c.exec_driver_sql(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, value),
            )

        await self._write("writing the store's own notes", write)

    async def note(self, entry: Entry, now: int) -> None:
        """A deed that changed nothing else."""
        await self._write("writing the audit log", lambda c: _audit(c, entry, now))

    async def audit(self, limit: int, subject: str | None = None) -> list[AuditRow]:
        """Newest first."""

        def read(c: sa.Connection) -> list[AuditRow]:
            query = t.audit.select()
            if subject is not None:
                query = query.where(t.audit.c.subject == subject)
            return [
                AuditRow(r.id, r.at, r.who, r.what, r.subject, r.detail)
                for r in c.execute(query.order_by(t.audit.c.id.desc()).limit(limit))
            ]

        return await self._read("reading the audit log", read)

    # --- how ------------------------------------------------------------------------------------

    async def _write(
        self,
        what: str,
        work: Callable[[sa.Connection], T],
        urgency: Urgency = Urgency.WORD,
        *,
        sync: bool = True,
        alerts: bool = False,
    ) -> T:
        """`sync`: the disk has it when this returns; else the next transaction brings it there. `alerts`:
        whether it changes any."""

        def inside() -> T:
            self._alerts += alerts  # before and after: what is read meanwhile is not kept
            try:
                return self._transact(self._engine, what, work, sync=sync)
            finally:
                self._alerts += alerts

        # Shielded: a write that was begun is finished, whoever stops waiting for it.
        return await asyncio.shield(asyncio.wrap_future(self._writer.submit(urgency, inside)))

    async def _read(self, what: str, work: Callable[[sa.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        read = partial(self._transact, self._readers, what, work)
        return await asyncio.shield(loop.run_in_executor(self._reader, read))

    def _transact(
        self, engine: sa.Engine, what: str, work: Callable[[sa.Connection], T], *, sync: bool = True
    ) -> T:
        try:
            if sync:
                with engine.begin() as connection:
                    return work(connection)
            with engine.connect() as connection:
                [[before]] = connection.exec_driver_sql("PRAGMA synchronous").all()
                connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
                connection.commit()
                try:
                    with connection.begin():
                        return work(connection)
                finally:
                    connection.exec_driver_sql(f"PRAGMA synchronous={before}")
                    connection.commit()
        except sa.exc.DatabaseError as error:
            # The disk's or the file's fault; its subclasses for constraints and SQL are our bugs.
            if type(error) not in (sa.exc.OperationalError, sa.exc.DatabaseError):
                raise
            raise StoreError(f"{what} in {self._path}: {error.orig}") from error


_ALERT_COLUMNS = [c.name for c in t.alert.columns]
# Plain SQL where a sound waits for it: a tenth of the time that it takes to build the same statement.
_ADD_ALERT = (
    f"INSERT INTO alert ({', '.join(_ALERT_COLUMNS)}) VALUES ({', '.join('?' for _ in _ALERT_COLUMNS)})"
)
# What a process that died between `take` and `add_deliveries` has left out.
_COMPLETE_DELIVERIES = (
    "INSERT OR IGNORE INTO delivery SELECT b.id, each.value, b.created "
    "FROM broadcast b, json_each(CAST(b.plan AS TEXT), '$.terminals') each "
    "WHERE NOT EXISTS (SELECT 1 FROM delivery d WHERE d.broadcast = b.id)"
)
_ADD_DELIVERIES = "INSERT OR IGNORE INTO delivery VALUES (?, ?, ?)"


class _Terminals(msgspec.Struct):
    """Of a stored `Broadcast`."""

    terminals: tuple[str, ...]


def _deliveries(row: BroadcastRow) -> list[tuple[str, str, int]]:
    return [(row.broadcast.id, terminal, row.created) for terminal in row.broadcast.terminals]


_STANDING = t.terminal.select().where(t.terminal.c.retired.is_(None)).order_by(t.terminal.c.id)
_RETIRED = t.terminal.select().where(t.terminal.c.retired.is_not(None)).order_by(t.terminal.c.id)

# A retired id is never taken into use again.
_REGISTER = (
    "INSERT INTO terminal (id, name, village, lat, lon, languages, codecs, speaker) "
    "VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE "
    "SET name = excluded.name, village = excluded.village, "
    "lat = excluded.lat, lon = excluded.lon, languages = excluded.languages, "
    "codecs = excluded.codecs, speaker = excluded.speaker WHERE retired IS NULL"
)

# Each by a walk back along the index `fact_played` until one fits.
_HEARD = (
    "SELECT id, "
    "(SELECT f.at FROM fact f WHERE f.terminal = terminal.id AND f.state = 'played' "
    "AND f.reason <> 'silent' ORDER BY f.at DESC LIMIT 1), "
    "(SELECT f.at FROM fact f JOIN broadcast b ON b.id = f.broadcast JOIN alert a ON a.id = b.alert "
    "WHERE f.terminal = terminal.id AND f.state = 'played' AND a.kind = 'test' ORDER BY f.at DESC LIMIT 1) "
    "FROM terminal WHERE retired IS NULL"
)

_LAST = (
    "SELECT b.id, b.created, a.kind, a.headline FROM "
    "(SELECT id, alert, created FROM broadcast ORDER BY created DESC LIMIT 500) b "
    "JOIN delivery d ON d.broadcast = b.id AND d.terminal = ? JOIN alert a ON a.id = b.alert "
    "ORDER BY b.created DESC LIMIT ?"
)

_FACTS_OF = "SELECT attempt, state, reason, at, detail FROM fact WHERE broadcast = ? AND terminal = ?"

_KEEP_TRIAL = "INSERT OR REPLACE INTO trial VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_TRIALS = (
    "SELECT test, slot, state, reason, began, ended, broadcast, planned, played FROM "
    "(SELECT *, row_number() OVER (PARTITION BY test ORDER BY slot DESC) AS n FROM trial) WHERE n <= ? "
    "ORDER BY test, slot DESC"
)


def _terminal_values(x: Terminal) -> tuple[object, ...]:
    return (
        x.id,
        x.name,
        x.village,
        x.lat,
        x.lon,
        json.dumps(x.languages),
        json.dumps(x.codecs),
        x.speaker,
    )


_OUTCOMES = {AlertState.HELD: Outcome.HELD, AlertState.RELEASED: Outcome.RELEASED}

_INSERT_FACT = (
    "INSERT INTO fact {} ON CONFLICT (broadcast, terminal, attempt, state, reason) "
    "DO UPDATE SET at = excluded.at, detail = excluded.detail WHERE excluded.at < fact.at"
)
_ADD_FACT = _INSERT_FACT.format("SELECT ?, ?, ?, ?, ?, ?, ?, ? WHERE true")
_ADD_LATE = _INSERT_FACT.format(
    "SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE EXISTS (SELECT 1 FROM fact WHERE broadcast = ?1 "
    f"AND terminal = ?2 AND state = '{State.SENT.value}' AND attempt >= ?3) "
    f"AND (SELECT count(*) FROM fact WHERE broadcast = ?1 AND terminal = ?2) < {MOST_LATE}"
)


_COUNT = "INSERT INTO counter VALUES (?, ?) ON CONFLICT (key_id) DO UPDATE SET last = excluded.last"


def _commit(
    c: sa.Connection, key_id: str, now: int, make: Callable[[int], CommandRow], at_least: int = 0
) -> CommandRow:
    last = c.exec_driver_sql("SELECT last FROM counter WHERE key_id = ?", (key_id,)).scalar()
    counter = max((last or 0) + 1, now, at_least)
    c.exec_driver_sql(_COUNT, (key_id, counter))
    row = make(counter)
    values = _command_values(row, now)
    c.exec_driver_sql(
        f"INSERT INTO command ({', '.join(values)}) VALUES ({', '.join('?' for _ in values)})",
        tuple(values.values()),
    )
    return row


def _command_values(row: CommandRow, now: int) -> dict[str, object]:
    return {
        "key_id": row.key_id,
        "counter": row.counter,
        "broadcast": row.broadcast,
        "verb": row.verb,
        "attempt": row.attempt,
        "groups": json.dumps(row.groups),
        "terminals": json.dumps(row.terminals),
        "expires": row.expires,
        "envelope": row.envelope,
        "committed": now,
        "published": row.published,
    }


def _pragmas(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=5000",
        f"wal_autocheckpoint={WAL_PAGES}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _forgetful(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def _migrations(connection: sa.Connection) -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _migrate(path: Path, connection: sa.Connection) -> None:
    """Raises WrongSchema for the file of a later program."""
    config = _migrations(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in known:
        raise WrongSchema(
            f"{path}: its schema is {found}, which this program does not know: a later version has used it. "
            "Install that one again, or restore the backup from before it"
        )
    alembic_command.upgrade(config, "head")


def _same_schema(path: Path, connection: sa.Connection) -> None:
    """Raises WrongSchema unless the file's schema is ours."""
    wanted = ScriptDirectory.from_config(_migrations(connection)).get_current_head()
    found = MigrationContext.configure(connection).get_current_revision()
    if found != wanted:
        raise WrongSchema(
            f"{path}: its schema is {found}, this program's is {wanted}; "
            "start the controller of this version once"
        )


def _plan(c: sa.Connection, row: BroadcastRow) -> None:
    plan = row.broadcast
    c.exec_driver_sql(
        "INSERT INTO broadcast (id, alert, state, created, sending, plan, script) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (plan.id, plan.alert_id, row.state, row.created, row.sending, msgspec.json.encode(plan), row.script),
    )


def _set_alert(c: sa.Connection, alert: str, state: AlertState, reason: str, who: str, now: int) -> None:
    c.execute(
        t.alert.update()
        .where(t.alert.c.id == alert, t.alert.c.state.in_((AlertState.HELD, AlertState.RELEASED)))
        .values(state=state, reason=reason, decided=now, decided_by=who)
    )


def _close(c: sa.Connection, document: int, outcome: Outcome, reason: str, alert: str | None) -> None:
    c.exec_driver_sql(
        "UPDATE document SET outcome = ?, reason = ?, alert = ? WHERE id = ? AND outcome IS NULL",
        (outcome, reason, alert, document),
    )


_REVOKE = "UPDATE certificate SET revoked = ? WHERE terminal = ? AND revoked IS NULL"


def _add_certificate(c: sa.Connection, row: CertificateRow) -> None:
    c.execute(
        t.certificate.insert().values(
            serial=row.serial,
            terminal=row.terminal,
            issued=row.issued,
            expires=row.expires,
            revoked=row.revoked,
        )
    )


def _audit(c: sa.Connection, entry: Entry, now: int) -> None:
    c.exec_driver_sql(
        "INSERT INTO audit (at, who, what, subject, detail) VALUES (?, ?, ?, ?, ?)",
        (now, entry.who, entry.what, entry.subject, entry.detail),
    )


def _terminal(r: Any) -> Terminal:
    return Terminal(
        r.id,
        r.name,
        r.village,
        r.lat,
        r.lon,
        tuple(json.loads(r.languages)),
        tuple(json.loads(r.codecs)),
        r.enrolled is not None,
        r.speaker,
    )


def _document(r: Any) -> DocumentRow:
    return DocumentRow(
        r.id,
        r.feed,
        r.name,
        r.received,
        r.sha256,
        r.opened,
        None if r.outcome is None else Outcome(r.outcome),
        r.reason,
        r.alert,
    )


def _alert(r: Any) -> AlertRow:
    values = {name: getattr(r, name) for name in _ALERT_COLUMNS}
    return AlertRow(**{**values, "state": AlertState(r.state)})


def _broadcast(r: Any) -> BroadcastRow:
    return BroadcastRow(
        BroadcastState(r.state),
        r.created,
        msgspec.json.decode(r.plan, type=Broadcast),
        r.script,
        r.sending,
        r.done,
        r.stopped_by,
        r.doubt,
        r.airs,
        r.aired_by,
    )
