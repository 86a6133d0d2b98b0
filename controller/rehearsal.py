"""What would be decided of documents that came before, by the desk itself, where nothing can sound.

The real intake, desk and lifecycle run over an empty journal of their own in a temporary folder. Nothing is
voiced and there is no way to a terminal; what the desk releases counts as played by every terminal at once,
so that renewals, cancels and fatigue follow from it as they would. Each document is judged at its own time.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from alerts.feed import Document
from alerts.feed import Outcome as FeedOutcome
from alerts.formats import Reading
from alerts.regions import County
from config.schema import Config, Mode
from controller.clock import WireClock, as_of, mono_ms, to_ms, wall_ms
from controller.desk import Desk
from controller.dispatch import Dispatcher, Signers
from controller.events import Events, decode_alert, decode_plan
from controller.intake import Intake, Taken
from controller.judging import Judging
from controller.keys import throw_away
from controller.metrics import Metrics
from controller.outgoing import Outgoing
from controller.register import Register
from controller.store import Store
from controller.store.records import BroadcastRow, BroadcastState, CommandRow, FactRow, Outcome
from controller.voicing import Voicing
from terminals.broadcast import Kind
from terminals.delivery import FactKey, FactValue, State
from terminals.model import SIMULATED_PREFIX, Terminal
from terminals.seal import SOUNDING, KeyRole
from terminals.transport import Address, TransportError, Upward
from tts.airtime import Profile
from tts.script import ScriptRequest

NOWHERE: Final = "http://127.0.0.1:9"


@dataclass(frozen=True, slots=True)
class Piece:
    """One document to be judged."""

    feed: str
    name: str
    body: bytes
    at: datetime
    """When it came, or counts as having come."""
    was: str = ""
    """What became of it then; empty for one that never came."""
    refused: str = ""
    """Why its feed would not read it."""
    backlog: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What would be decided of one document."""

    piece: Piece
    outcome: Outcome
    """released: it would sound, or silence, without a person; held: a person would be asked."""
    reason: str
    identifier: str = ""
    headline: str = ""
    villages: int = 0
    terminals: int = 0
    """That would play; 0 where nothing sounds."""
    stage: str = ""
    why: tuple[str, ...] = ()


@dataclass(slots=True)
class Summary:
    documents: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    differ: int = 0
    """Of those that came before: how many would end otherwise today."""

    def add(self, verdict: Verdict) -> None:
        self.documents += 1
        self.outcomes[verdict.outcome.value] = self.outcomes.get(verdict.outcome.value, 0) + 1
        self.differ += bool(verdict.piece.was) and verdict.piece.was != verdict.outcome.value


def village_terminals(county: County) -> list[Terminal]:
    """One pretended terminal in each village, for a county that has registered none."""
    return [
        Terminal(f"{SIMULATED_PREFIX}{n:05d}", village.name, village.key, enrolled=True)
        for n, village in enumerate(county.villages, 1)
    ]


class Rehearsal:
    """Made by `rehearsal` only."""

    def __init__(self, store: Store, desk: Desk, intake: Intake, readings: Mapping[str, Reading]) -> None:
        self._store = store
        self._desk = desk
        self._intake = intake
        self._readings = readings

    async def judge(self, pieces: Iterable[Piece]) -> AsyncIterator[Verdict]:
        """One verdict for each, in order of their times."""
        last = 0
        for piece in sorted(pieces, key=lambda piece: piece.at):
            last = max(last + 1, to_ms(piece.at))
            with as_of(last):
                verdict = await self._one(piece)
            yield verdict

    async def _one(self, piece: Piece) -> Verdict:
        async def heard(_: FeedOutcome, __: str) -> None: ...

        document = Document(piece.feed, piece.name, piece.body, piece.at, heard, piece.refused, piece.backlog)
        reading = self._readings.get(piece.feed, Reading())
        return await self._verdict(piece, await self._intake.accept(document, reading))

    async def _verdict(self, piece: Piece, taken: Taken) -> Verdict:
        if taken.outcome in (Outcome.REFUSED, Outcome.QUARANTINED):
            return Verdict(piece, taken.outcome, taken.reason)
        ended: list[str] = []
        if taken.alert is not None:
            row = await self._store.alert(taken.alert)
        else:  # a Cancel that was carried out: it is the newest, and names what it ended
            row, *others = await self._store.alerts(limit=1_000)
            ended = [other.identifier for other in others if other.id in taken.reason]
        plan = decode_plan(row) if row.plan is not None else None
        parts = await self._store.broadcasts(alert=row.id)
        sounds = {terminal for part in parts for terminal in part.broadcast.terminals}
        reason = row.reason if taken.outcome is Outcome.RELEASED else taken.reason
        if ended:
            reason = f"{reason}; ends {', '.join(ended)}"
        return Verdict(
            piece,
            taken.outcome,
            reason,
            identifier=decode_alert(row).identifier,
            headline=row.headline,
            villages=len(plan.villages) if plan else 0,
            terminals=len(sounds),
            stage=plan.stage if plan else "",
            why=plan.why if plan else (),
        )


@asynccontextmanager
async def rehearsal(
    config: Config,
    county: County,
    terminals: Sequence[Terminal],
    readings: Mapping[str, Reading],
    *,
    begin: datetime,
) -> AsyncIterator[Rehearsal]:
    """`readings`: how each feed's documents are read. `begin`: not after the first document."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fenghuo-replay-")))
        store = await Store.open(folder / "fenghuo.db", durable=False)
        stack.push_async_callback(store.close)
        keys = throw_away()
        register = Register(store, county, keys, broker="mqtt://127.0.0.1:9", audio=NOWHERE, sandbox=True)
        register.terminals = {terminal.id: terminal for terminal in terminals}
        kinds = frozenset(Kind) if config.mode is Mode.ACTUAL else frozenset(Kind) - {Kind.ACTUAL}
        roles = {Kind(r.value): s for r, s in keys.signers.items() if r in SOUNDING}
        with as_of(to_ms(begin)):
            clock, _ = WireClock.start(wall_ms(), mono_ms(), 0)
        metrics = Metrics()
        dispatcher = Dispatcher(
            store,
            _NoWay(),
            Signers(roles, keys.signers[KeyRole.SERVICE]),
            register.report_key,
            register.groups,
            NOWHERE,
            clock,
            metrics,
            _ignore,
        )
        events = Events(config, county, store, register, dispatcher)
        outgoing = _Heard(config, store, register, dispatcher, _Mute(), metrics, events)
        judging = Judging(config, county, lambda: register.fleet, kinds)
        desk = Desk(config, county, store, dispatcher, judging, events, outgoing)
        yield Rehearsal(store, desk, Intake(store, desk, metrics, _ignore), readings)


def _ignore(_: str) -> None:
    """An alarm of the rehearsal; what it is about is in the verdict."""


class _NoWay:
    """A transport without a way."""

    connected = False

    async def run(self, upward: Upward, changed: object) -> None: ...

    async def send(self, address: Address, envelope: bytes, *, lifetime_s: int, sure: bool) -> None:
        raise TransportError("a rehearsal sends nothing")


class _Mute(Voicing):
    """A voice that has nothing to do: whatever is asked for is already there."""

    def __init__(self) -> None: ...

    async def known(self, request: ScriptRequest, profiles: Mapping[Profile, int] | None = None) -> bool:
        return True


class _Heard(Outgoing):
    """What goes out has at once been played by everybody."""

    async def begin(self, broadcasts: Sequence[BroadcastRow], commands: Sequence[CommandRow] = ()) -> None:
        now = wall_ms()
        for row in broadcasts:
            await self._store.set_broadcast(replace(row, state=BroadcastState.DONE, sending=now, done=now))
            played: FactKey = (0, State.PLAYED, "")
            heard: FactValue = (now, "")
            facts = [FactRow(row.broadcast.id, t, played, heard) for t in row.broadcast.terminals]
            await self._store.add_facts(facts, (), now)
