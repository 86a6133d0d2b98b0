"""Dispatch: broadcasts out, reports in, until every terminal's outcome is known.

Thin loops around `terminals.delivery`: one task per active broadcast, one task that reads reports. What is
decided here is only pace: one publish per group first, then questions and re-sends to those still missing,
a bounded number outstanding, the most urgent broadcast before all others. Send first, then record `sent`: a
crash repeats a command, and the terminal drops repeats. A disk that refuses holds up no sound: what is to be
stored waits in the `Ledger`.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Final, Protocol, TypeVar

import msgspec

from controller.admission import PUBLISHING, Turns
from controller.clock import LONGEST_JUMP_MS, TOLERANCE_MS, WireClock, moment, mono_ms, wall_ms
from controller.complaints import Complaints
from controller.ids import BEIJING
from controller.ledger import Ledger, Write
from controller.metrics import Metrics
from controller.planning import moved
from controller.store import Store, StoreError
from controller.store.records import (
    BroadcastRow,
    BroadcastState,
    CommandRow,
    Commit,
    Entry,
    FactRow,
    Seen,
)
from terminals import delivery, wire
from terminals.broadcast import Broadcast, Kind, Lane, Quake
from terminals.delivery import Ask, FactKey, FactValue, GiveUp, Policy, Send, Settled, State, Tried, WaitUntil
from terminals.seal import MAX_ENVELOPE, SealError, Signer, open_report
from terminals.transport import Address, ToGroup, ToTerminal, Transport, TransportError

log = logging.getLogger(__name__)

# Reports arrive in bursts of one per terminal; 65,536 is four states of a 16,000-terminal county. Above it
# the newest are dropped and counted, and asked for again like any lost report.
INBOX: Final = 65_536
# The same in bytes: a report is 300 to 700, and a stolen terminal may send 64 KB at a time while a slow disk
# holds up whoever reads.
INBOX_BYTES: Final = 64_000_000
# Reports stored in one transaction.
BATCH: Final = 1_000
# Reports read, and deliveries looked through, in one turn of the loop: 10 to 20 ms, which is what an urgent
# plan or a stop waits for them.
SLICE: Final = 200
# Questions outstanding at a time. Mosquitto queues 1,000 for a busy controller by default and silently
# drops the rest (`messaging.md` §1.2); 400 answers always fit.
OUTSTANDING: Final = 400
FIRST_QUIET_MS: Final = 300
LONGEST_QUIET_MS: Final = 30_000
LONGEST_FIRST_QUIET_MS: Final = 1_500
# Asked this often in vain, a terminal counts as silent for whoever waits; it is still asked until expiry.
SILENT_AFTER: Final = 6
# A Stop may have to wait for a terminal that is off; its tombstone must outlive the Play it stops.
STOP_LIFETIME_MS: Final = 24 * 3_600_000
# Above this many Hello's waiting for their signed time, further ones are dropped: terminals say it again.
HELLOS: Final = 20_000
PROBES: Final = 20_000
"""Clock questions waiting for their answer; a terminal asks again."""
# Addresses of one broadcast that wait for the broker's word at a time: a slow link costs one round trip, not
# one for each of 200 villages.
ADDRESSES: Final = 32
# A second controller with our keys makes each terminal's word news; it is told so often.
FOREIGN_EVERY_MS: Final = 60_000
# A standing message waits for no answer in seconds: who is away is asked for this often, and at its hello.
STANDING_QUIET_MS: Final = 3_600_000
# After its end what a hand had sounded before may still be told: by a terminal that was cut off so long.
STANDING_AFTER_MS: Final = 30 * 86_400_000
ATTEMPTS: Final = 3
MOST_AGAIN: Final = 96
"""Further attempts for one terminal, one at each of its hellos: a day of them."""
_MAY_COME: Final = frozenset({"fetch", "hash-mismatch", "device-busy"})
_PROGRESS: Final = frozenset({State.SENT, State.ACCEPTED, State.READY, State.PLAYING})


@dataclass(slots=True)
class Run:
    """One active broadcast in memory; everything in it can be rebuilt from the store."""

    row: BroadcastRow
    facts: dict[str, dict[FactKey, FactValue]]
    tried: dict[str, Tried]
    first: list[CommandRow] = field(default_factory=list)
    """Attempt 1: one command to groups, or a few to lists of terminals."""
    own: dict[tuple[str, int], CommandRow] = field(default_factory=dict)
    """(terminal, attempt) → the command that names this terminal; without one it shares `first[0]`."""
    stop: list[CommandRow] = field(default_factory=list)
    heap: list[tuple[int, str]] = field(default_factory=list)
    due: dict[str, int] = field(default_factory=dict)
    hands: set[str] = field(default_factory=set)
    """Terminals where a hand has sounded it: a standing message only."""
    inflight: dict[str, int] = field(default_factory=dict)
    """Asked and not yet answered → when the answer counts as lost."""
    wait_until: int = 0
    """When the last of them does."""
    settled: set[str] = field(default_factory=set)
    spread: int = 0
    heard: int = 0
    """When anything new was last heard of it, from whichever terminal; or it was published."""
    pace: float = 1.0
    """How much faster than real time it is played; only in a sandbox other than 1."""
    shut: bool = False
    """Nobody joins late any more: its warning is over."""
    moved: bool = False
    """The wire clock has jumped, and its window with it."""
    again: dict[str, int] = field(default_factory=dict)
    """Terminal → further attempts, because what it refused may have been somebody else's."""
    version: int = 0
    owes: tuple[BroadcastRow, ...] = ()
    """Broadcasts whose deliveries are to be written when this one is out."""
    out: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its first commands are with the broker, or never will be."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def id(self) -> str:
        return self.row.broadcast.id

    @property
    def order(self) -> tuple[int, int, int, int]:
        """Smaller goes first; what makes no sound now last."""
        p = self.row.broadcast.priority
        return (len(Kind) if self.row.broadcast.standing else p.kind_rank, p.lane, p.colour, p.issuer_level)

    @property
    def urgent(self) -> bool:
        """Whether it waits for no other: the fast lane of what is real."""
        plan = self.row.broadcast
        return plan.kind is Kind.ACTUAL and plan.priority.lane == Lane.FAST and not plan.standing

    @property
    def stopping(self) -> bool:
        return self.row.state is BroadcastState.STOPPED

    @property
    def may_sound(self) -> bool:
        """Whether there is anything left to stop: somebody's part is not over, or a stand-in may sound where
        the message has failed."""
        if self.stopping:
            return False
        if self.row.broadcast.standing:
            return True  # at any hand
        over = self.row.state is BroadcastState.DONE
        return not over or any(map(delivery.may_stand_in, self.facts.values()))

    @property
    def ends_ms(self) -> int:
        """Wire time after which nothing of it is to be expected."""
        plan = self.row.broadcast
        return plan.expires_ms + (STANDING_AFTER_MS if plan.standing else 0)

    def sounding_by_hand(self, now: int) -> list[str]:
        """Terminals where a hand sounds it now, by their last word; none sounds longer than it is."""
        plan = self.row.broadcast
        if not plan.standing:
            return []
        longest = int(1000 * max((v.seconds for v in plan.variants), default=0.0) * plan.repeats) + 60_000
        return [
            terminal
            for terminal in sorted(self.hands)
            if delivery.sounds_by_hand(facts := self.facts[terminal])
            and now - max(value[0] for key, value in facts.items() if delivery.is_by_hand(key)) < longest
        ]

    def since_by_hand(self, where: Sequence[str]) -> int:
        """Wire ms of the first of those that `sounding_by_hand` has found."""
        return min(
            max(value[0] for key, value in self.facts[terminal].items() if delivery.is_by_hand(key))
            for terminal in where
        )

    def reopen(self) -> None:
        """Somebody's part is not over any more. When all of it was first known stays as it was."""
        if self.row.state is BroadcastState.DONE:
            self.row = replace(self.row, state=BroadcastState.SENDING)

    @property
    def is_published(self) -> bool:
        return self.is_for_all(self.first) and all(c.published is not None for c in self.first)

    def is_for_all(self, commands: Sequence[CommandRow]) -> bool:
        """Whether nobody is left out: a process may have died between two parts of a long list."""
        plan = self.row.broadcast
        named = sum(len(c.terminals) for c in commands)
        return bool(commands) and (bool(plan.groups) or named >= len(plan.terminals))

    def command(self, terminal: str, attempt: int) -> CommandRow:
        return self.own.get((terminal, attempt)) or self.first[0]

    def stop_of(self, terminal: str) -> CommandRow | None:
        """The Stop that is for this terminal, once it is sealed."""
        return next((c for c in self.stop if c.groups or terminal in c.terminals), None)

    def policy(self, terminal: str = "") -> Policy:
        plan = self.row.broadcast
        seconds = max((v.seconds for v in plan.variants), default=0.0) * plan.repeats / self.pace
        quiet = min(max(FIRST_QUIET_MS, 2 * self.spread), LONGEST_FIRST_QUIET_MS)
        more = self.again.get(terminal, 0)
        return Policy(
            plan.expires_ms,
            seconds,
            quiet,
            longest_quiet=STANDING_QUIET_MS if plan.standing else LONGEST_QUIET_MS,
            attempts=ATTEMPTS + more,
            stopping=self.stopping,
            standing=plan.standing,
            moved=self.moved,
        )

    def schedule(self, terminal: str, at: int) -> None:
        self.due[terminal] = at
        heapq.heappush(self.heap, (at, terminal))

    def is_silent(self, terminal: str) -> bool:
        return self.tried[terminal].unanswered >= SILENT_AFTER

    @property
    def waiting(self) -> int:
        """Terminals from which something may still come soon: neither settled nor silent."""
        return sum(1 for t in self.facts if t not in self.settled and not self.is_silent(t))

    def touch(self) -> None:
        self.version += 1
        self.wake.set()


@dataclass(slots=True)
class Signers:
    """One key per role; the service key signs time and questions and can never sound."""

    roles: Mapping[Kind, Signer]
    service: Signer
    ours: set[str] = field(default_factory=set)
    """Ids of every key of `roles` since the start."""

    def __post_init__(self) -> None:
        self.use(self.roles, self.service)

    def use(self, roles: Mapping[Kind, Signer], service: Signer) -> None:
        """From now on."""
        self.roles, self.service = roles, service
        self.ours.update(signer.key_id for signer in roles.values())


class Keys(Protocol):
    """What the dispatcher tells of rings (`controller.rings`)."""

    def heard(self, hello: wire.Hello, now: int) -> bytes | None:
        """The Ring for a terminal that has said hello with an older one."""
        ...


class Sets(Protocol):
    """What the dispatcher tells of held sets (`controller.staging`)."""

    def owed(self, hello: wire.Hello, groups: Sequence[str]) -> Sequence[bytes]:
        """Envelopes for a terminal that has said hello: sets that it should hold and does not."""
        ...

    def heard(self, staged: wire.Staged, now: int) -> None: ...


class Dispatcher:
    """`alarm` is told what an engineer must know; `groups_of` is None for a terminal not in the register.
    `probes`: how often a terminal is asked to measure its clock when it says hello (0 to 8)."""

    def __init__(
        self,
        store: Store,
        transport: Transport,
        signers: Signers,
        report_key: Callable[[str], bytes | None],
        groups_of: Callable[[str], tuple[str, ...] | None],
        audio_base: str,
        clock: WireClock,
        metrics: Metrics,
        alarm: Callable[[str], None],
        pace: float = 1.0,
        probes: int = 0,
        sets: Sets | None = None,
    ) -> None:
        self.keys: Keys | None = None
        self._pace = pace
        self._probes_wanted = probes
        self._sets = sets
        self._turns = Turns(PUBLISHING)
        self._ledger = Ledger(alarm)
        self.complaints = Complaints(alarm)
        self._store = store
        self._transport = transport
        self._signers = signers
        self._report_key = report_key
        self._groups_of = groups_of
        self._audio_base = audio_base
        self._clock = clock
        self._metrics = metrics
        self._alarm = alarm
        self._inbox: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(INBOX)
        self._inbox_bytes = 0
        self._hellos: asyncio.Queue[wire.Hello] = asyncio.Queue(HELLOS)
        self._new: asyncio.Queue[Run] = asyncio.Queue(1_000)
        self._records: asyncio.Queue[Write] = asyncio.Queue(1_000)
        """Rows that follow from what is stored: no sound, no stop and no question waits for them."""
        self._probes: asyncio.Queue[wire.Probe] = asyncio.Queue(PROBES)
        self._counters: dict[str, int] = {}
        """Key id → the last counter given out, and the highest that a terminal has told of."""
        self._foreign: dict[str, int] = {}
        """Key id → when it was last said that somebody else counts under it."""
        self.clock_errors: dict[str, int] = {}
        """Terminal → how far its wire time may be off, ms, by its last hello."""
        self._hands: list[tuple[str, str, int]] = []
        """Standing messages that a hand has begun to sound, where and when, as the reports of a batch say."""
        self.hand: Callable[[], Awaitable[None]] | None = None
        """Told after each batch of reports in which there was any."""
        self.runs: dict[str, Run] = {}
        self.jumped_ms = 0
        """By how much wire time has jumped ahead since the start, all jumps together."""
        self.online: dict[str, int] = {}
        """Terminal → wire time of its last authenticated word."""

    # --- what the rest of the controller calls --------------------------------------------------

    def now(self) -> int:
        """Wire time, ms."""
        return self._clock.now(wall_ms(), mono_ms())

    async def start(
        self, row: BroadcastRow, commands: Sequence[CommandRow] = (), owes: Sequence[BroadcastRow] = ()
    ) -> Run:
        """Send this broadcast (planned and voiced). Returns at once; `Run.changed` tells of progress.
        `commands`: those of `prepare`, as the store committed them with the plan; `owes`: what was planned
        with it, whose deliveries `Store.take` has left to be written afterwards."""
        terminals = row.broadcast.terminals
        # One empty mapping for all: facts are folded into new ones, never written into.
        facts: dict[FactKey, FactValue] = {}
        run = Run(row, dict.fromkeys(terminals, facts), dict.fromkeys(terminals, Tried()), pace=self._pace)
        run.owes = tuple(owes)
        for command in commands:
            run.first.append(command)
            run.own.update({(t, 1): command for t in command.terminals})
            self._counted(command)
        self.runs[run.id] = run
        await self._new.put(run)
        return run

    def prepare(self, row: BroadcastRow) -> list[Commit]:
        """Its first commands, to be counted and sealed in the transaction that stores its plan."""
        return [self._play(row.broadcast, 1, part) for part in _parts(row.broadcast, ())]

    async def resume(self, row: BroadcastRow) -> Run:
        """Take up a broadcast after a restart, exactly where the store left it."""
        planned, facts = await self._store.deliveries(row.broadcast.id)
        run = Run(row, {t: {} for t in planned}, {t: Tried() for t in planned}, pace=self._pace)
        for fact in facts:
            run.facts.setdefault(fact.terminal, {})[fact.key] = fact.value
            if delivery.is_by_hand(fact.key):
                run.hands.add(fact.terminal)
        for command in await self._store.commands(run.id):
            if command.verb == "stop":
                run.stop.append(command)
            else:
                if command.attempt == 1:
                    run.first.append(command)
                run.own.update({(t, command.attempt): command for t in command.terminals})
        now = self.now()
        for terminal, known in run.facts.items():
            attempt = max((key[0] for key in known), default=1 if run.is_published else 0)
            heard = max((value[0] for key, value in known.items() if key[1] is not State.SENT), default=0)
            run.tried[terminal] = Tried(attempt, sent=now - FIRST_QUIET_MS, heard=min(heard, now))
        if run.is_published:
            await self._sent(run, max(c.published or 0 for c in run.first), also=False)
        self.runs[run.id] = run
        await self._new.put(run)
        return run

    async def stop(self, broadcast: str, entry: Entry) -> Run:
        """Silence it everywhere and drop what is queued; acknowledged per terminal. Raises KeyError when it
        is not active. Idempotent."""
        run = self.runs[broadcast]
        if not run.stopping:
            run.row = replace(run.row, state=BroadcastState.STOPPED, stopped_by=entry.who, done=None)
            policy = run.policy()
            run.settled = {
                t for t in run.settled if delivery.is_settled(run.facts[t], policy, run.tried[t].attempt)
            }
            run.touch()  # at once: to be silent must not wait for the disk
            await self._ledger.keep(partial(self._store.set_broadcast, run.row, entry, wall_ms()))
            now = self.now()
            for terminal in run.facts:
                if terminal not in run.settled:
                    run.tried[terminal] = replace(run.tried[terminal], unanswered=0)
                    run.schedule(terminal, now)
            run.touch()
        return run

    async def keep(self, write: Write) -> None:
        """What must be stored and must not hold up a sound (`Ledger.keep`)."""
        await self._ledger.keep(write)

    def shut(self, broadcast: str) -> None:
        """Its warning is over: whoever comes late does not get it any more."""
        if (run := self.runs.get(broadcast)) is not None:
            run.shut = True
            run.touch()

    async def enrolled(self, terminal: str) -> None:
        """It begins anew: the board may be another, or its card was wiped. What it held for a hand is sent to
        it once more, when it says hello."""
        facts: list[FactRow] = []
        now = self.now()
        for run in self.runs.values():
            known = run.facts.get(terminal)
            if run.row.broadcast.standing and not run.stopping and known and delivery.holds(known):
                key = (max(run.tried[terminal].attempt, 1), State.FAILED, delivery.FORGOTTEN)
                run.facts[terminal] = delivery.fold(known, [(key, (now, ""))])
                facts.append(FactRow(run.id, terminal, key, (now, "")))
                run.again[terminal] = min(run.again.get(terminal, 0) + 1, MOST_AGAIN)
                run.settled.discard(terminal)
                run.reopen()
                run.schedule(terminal, now)
                run.touch()
        if facts:
            await self._keep(facts, ())

    def upward(self, terminal: str, payload: bytes) -> None:
        """Called by the transport for every report. Never blocks, never raises."""
        if len(payload) > MAX_ENVELOPE:
            self._metrics.reports_refused.inc()
            self.complaints.add(terminal, f"it sends {len(payload)} bytes at once", mono_ms())
            return
        if self._inbox_bytes + len(payload) > INBOX_BYTES or self._inbox.full():
            self._metrics.reports_dropped.inc()
            return
        self._inbox.put_nowait((terminal, payload))
        self._inbox_bytes += len(payload)

    async def run(self) -> None:
        """All of dispatch; runs until cancelled."""
        try:
            for key_id, last in (await self._store.counters()).items():
                self._counters[key_id] = max(last, self._counters.get(key_id, 0))
        except StoreError as error:
            log.warning("%s; counting on from the time of day", error)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ledger.run(), name="dispatch.ledger")
            tasks.create_task(self._write_records(), name="dispatch.records")
            tasks.create_task(self._answer_probes(), name="dispatch.probes")
            tasks.create_task(self._read_reports(), name="dispatch.reports")
            tasks.create_task(self._answer_hellos(), name="dispatch.time")
            while True:
                run = await self._new.get()
                tasks.create_task(self._drive(run), name=f"dispatch.{run.id}")

    # --- out -------------------------------------------------------------------------------------

    async def _drive(self, run: Run) -> None:
        """Until nothing may sound any more: a settled broadcast still waits for late joiners."""
        if not run.stopping:
            await self._first_publish(run)
        now = self.now()
        for terminal in run.facts:
            run.schedule(terminal, now)
        while True:
            run.wake.clear()
            wait = await self._step(run)
            if len(run.settled) == len(run.facts):
                await self._done(run)
                wait = run.ends_ms - self.now()
                dropped = run.stopping and run.row.broadcast.standing
                if (wait <= 0 or run.shut or dropped) and len(run.settled) == len(
                    run.facts
                ):  # nobody joined meanwhile
                    break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait / 1000):
                    await run.wake.wait()
        del self.runs[run.id]

    async def _done(self, run: Run) -> None:
        """Every terminal's outcome is known; recorded once."""
        if run.row.done is None or run.row.state is BroadcastState.SENDING:
            state = BroadcastState.STOPPED if run.stopping else BroadcastState.DONE
            run.row = replace(run.row, state=state, done=run.row.done or wall_ms())
            await self._ledger.keep(partial(self._store.set_broadcast, run.row))
            await self._tell(run)

    async def _first_publish(self, run: Run) -> None:
        if run.is_published:
            return
        for part in _parts(run.row.broadcast, run.first):
            command = await self._seal_play(run, 1, part)
            run.first.append(command)
            run.own.update({(t, 1): command for t in part})
        now = self.now()
        handed_on = [await self._publish_surely(run, c) for c in run.first if c.published is None]
        run.out.set()
        if run.owes:
            await self._records.put(partial(self._store.add_deliveries, run.owes))
            run.owes = ()
        if not any(handed_on):
            return  # stopped, or over, before the broker came back: `next_action` gives it up as not sent
        once = Tried(1, sent=now, unanswered=1)
        for terminal, tried in run.tried.items():
            if tried.attempt == 0:  # an answer may already be here
                run.tried[terminal] = replace(once, heard=tried.heard) if tried.heard else once
        run.heard = self.now()
        run.row = replace(run.row, sending=run.row.sending or wall_ms())
        await self._sent(run, now, also=True)
        for n, command in enumerate(run.first):
            run.first[n] = replace(command, published=now)
            await self._ledger.keep(partial(self._store.mark_published, command, now))
        await self._ledger.keep(partial(self._store.set_broadcast, run.row))
        run.touch()
        await self._tell(run)

    async def _sent(self, run: Run, at: int, *, also: bool) -> None:
        """The fact of it for all its terminals; without `also`, for those of whom nothing is known. The
        commands tell when they were published, so that a restart finds it before the rows are there."""
        sent: dict[FactKey, FactValue] = {(1, State.SENT, ""): (at, "")}
        told = [t for t, facts in run.facts.items() if also or not facts]
        for terminal in told:
            facts = run.facts[terminal]
            run.facts[terminal] = delivery.fold(facts, sent.items()) if facts else sent  # one for all
        if told:
            await self._records.put(partial(self._store.add_sent, run.id, told, at, wall_ms()))

    async def _write_records(self) -> None:
        while True:
            await self._ledger.keep(await self._records.get())

    async def _publish_surely(self, run: Run, command: CommandRow) -> bool:
        """Until the broker has it, the broadcast is stopped, or its time is over. Whether any of it went."""
        addresses = _addresses(command)
        if len(addresses) == 1:
            return await self._hand_on(run, command, addresses[0])
        at_once = asyncio.Semaphore(ADDRESSES)
        gone: list[bool] = []

        async def one(address: Address) -> None:
            async with at_once:
                gone.append(await self._hand_on(run, command, address))

        async with asyncio.TaskGroup() as tasks:
            for n, address in enumerate(addresses):
                tasks.create_task(one(address), name=f"dispatch.{run.id}.{n}")
        return any(gone)

    async def _hand_on(self, run: Run, command: CommandRow, address: Address) -> bool:
        lifetime = max(1, (command.expires - self.now()) // 1000)
        urgent = run.urgent or command.verb == "stop"
        said = False
        while not (run.stopping and command.verb == "play") and self.now() < command.expires:
            try:
                async with self._turns.turn(run.order, urgent=urgent):
                    if run.stopping and command.verb == "play":
                        return False  # while it waited for its turn
                    await self._transport.send(address, command.envelope, lifetime_s=lifetime, sure=True)
                self._metrics.commands.labels(command.verb).inc()
            except TransportError as error:
                if not said:
                    log.warning("%s: %s; trying again until it goes", run.id, error)
                    said = True
                await asyncio.sleep(0.2)
            else:
                return True
        return False

    async def _step(self, run: Run) -> int:
        """Does everything that is due; returns ms until the next thing is."""
        if run.stopping and not run.is_for_all(run.stop):
            await self._first_stop(run)
        policy = run.policy()
        now = self.now()
        run.inflight = {t: until for t, until in run.inflight.items() if until > now}
        if run.heap and run.heard <= now < run.heard + policy.quiet:
            # While words keep coming, whoever is missing is in the queue, not lost: asking now would make
            # the burst longer. Held up so for LONGEST_FIRST_QUIET_MS at most.
            until = min(run.heard + policy.quiet, run.heap[0][0] + LONGEST_FIRST_QUIET_MS)
            if now < until:
                return until - now
        room = self._room(run, now)
        retry: dict[int, list[str]] = {}
        ask: list[str] = []
        gone: list[FactRow] = []
        slice_ = SLICE
        while run.heap and run.heap[0][0] <= now and len(run.inflight) < room and slice_:
            slice_ -= 1
            at, terminal = heapq.heappop(run.heap)
            if run.due.get(terminal) != at or terminal in run.settled:
                continue
            tried = run.tried[terminal]
            mine = run.policy(terminal) if terminal in run.again else policy
            match delivery.next_action(run.facts[terminal], tried, now, mine):
                case Settled():
                    run.settled.add(terminal)
                    continue
                case GiveUp():
                    key = _key(max(tried.attempt, 1), State.EXPIRED, delivery.UNREACHED)
                    if run.stopping and tried.attempt == 0:
                        key = _key(1, State.CANCELLED, "not-sent")
                    run.facts[terminal] = delivery.fold(run.facts[terminal], [(key, (now, ""))])
                    gone.append(FactRow(run.id, terminal, key, (now, "")))
                    run.settled.add(terminal)
                    continue
                case WaitUntil(at):
                    run.schedule(terminal, at)
                    continue
                case Send(attempt):
                    retry.setdefault(attempt, []).append(terminal)
                    run.tried[terminal] = replace(
                        tried, attempt=max(attempt, tried.attempt), sent=now, unanswered=tried.unanswered + 1
                    )
                case Ask():
                    ask.append(terminal)
                    run.tried[terminal] = replace(tried, sent=now, unanswered=tried.unanswered + 1)
            run.inflight[terminal] = now + policy.quiet
            run.schedule(terminal, now + policy.quiet)
        if gone:
            await self._ledger.keep(partial(self._store.add_facts, gone, (), wall_ms()))
            await self._tell(run)
        await self._repeat(run, retry, ask)
        run.wait_until = max(run.inflight.values(), default=0)
        if len(run.inflight) >= room:
            answers = [until for r in self.runs.values() for until in r.inflight.values() if until > now]
            return max(1, min(answers, default=now + FIRST_QUIET_MS) - self.now())
        while run.heap and run.due.get(run.heap[0][1]) != run.heap[0][0]:
            heapq.heappop(run.heap)
        if not run.heap:
            return 0 if len(run.settled) == len(run.facts) else 1_000
        return max(1, run.heap[0][0] - self.now())

    def _room(self, run: Run, now: int) -> int:
        """How many of its questions may be outstanding. One broker queue for all: what the others have asked
        for counts as well, and only the most urgent is never locked out by them."""
        others = [r for r in self.runs.values() if r is not run and r.wait_until > now]
        free = OUTSTANDING - sum(len(r.inflight) for r in others)
        first = all(run.order <= r.order for r in others)
        return max(free, OUTSTANDING // 4 if first else 0)

    async def _repeat(self, run: Run, retry: Mapping[int, list[str]], ask: list[str]) -> None:
        if run.stopping:
            for terminal in (*ask, *(t for group in retry.values() for t in group)):
                if (stop := run.stop_of(terminal)) is not None:
                    await self._send(terminal, stop.envelope, stop.expires)
            return
        for attempt, terminals in retry.items():
            if attempt > 1 and (missing := [t for t in terminals if (t, attempt) not in run.own]):
                for part in _split(missing):
                    command = await self._seal_play(run, attempt, tuple(part))
                    run.own.update({(t, attempt): command for t in part})
            for terminal in terminals:
                command = run.command(terminal, attempt)
                await self._send(terminal, command.envelope, command.expires)
        if ask:
            query = wire.Query(run.id, self.now())
            envelope = self._signers.service.seal(query)
            self._metrics.questions.inc(len(ask))
            for terminal in ask:
                await self._send(terminal, envelope, self.now() + 30_000)

    async def _send(self, terminal: str, envelope: bytes, expires: int) -> None:
        lifetime = max(1, (expires - self.now()) // 1000)
        try:
            await self._transport.send(ToTerminal(terminal), envelope, lifetime_s=lifetime, sure=False)
        except TransportError:
            self._metrics.not_handed_on.inc()  # comes round again by its schedule

    async def _first_stop(self, run: Run) -> None:
        """One publish to wherever the command went. Nothing went out: nothing to stop, and `next_action`
        gives those deliveries up as not sent."""
        if not any(t.attempt for t in run.tried.values()):
            return
        plan = run.row.broadcast
        signer = self._signers.roles[plan.kind]
        now = self.now()
        if all(t in run.settled for t in run.facts):
            return  # nothing of it can sound any more
        for part in _parts(plan, run.stop):
            targets = wire.Targets(plan.groups, part)

            def make(counter: int, targets: wire.Targets = targets) -> CommandRow:
                expires = max(now + STOP_LIFETIME_MS, plan.expires_ms)
                stop = wire.Stop((run.id,), signer.role, counter, now, expires, targets)
                return CommandRow(
                    signer.key_id,
                    counter,
                    run.id,
                    "stop",
                    1,
                    targets.groups,
                    targets.terminals,
                    expires,
                    signer.seal(stop),
                )

            command = await self._commit(self._reserve(signer.key_id, now, make))
            await self._publish_surely(run, command)
            await self._ledger.keep(partial(self._store.mark_published, command, self.now()))
            run.stop.append(command)
        now = self.now()
        for terminal in run.facts:
            if terminal not in run.settled:
                run.tried[terminal] = replace(run.tried[terminal], sent=now, unanswered=1)
                run.schedule(terminal, now + FIRST_QUIET_MS)

    async def _seal_play(self, run: Run, attempt: int, terminals: tuple[str, ...]) -> CommandRow:
        return await self._commit(self._play(run.row.broadcast, attempt, terminals))

    def _play(self, plan: Broadcast, attempt: int, terminals: tuple[str, ...]) -> Commit:
        signer = self._signers.roles[plan.kind]
        now = self.now()
        groups = () if terminals else plan.groups

        def make(counter: int) -> CommandRow:
            play = wire.Play(
                broadcast=plan.id,
                event=plan.event_key[:128],
                role=plan.kind,
                attempt=attempt,
                counter=counter,
                issued=now,
                not_before=now,
                expires=plan.expires_ms,
                priority=(
                    plan.priority.kind_rank,
                    plan.priority.lane,
                    plan.priority.colour,
                    plan.priority.issuer_level,
                ),
                targets=wire.Targets(groups, terminals),
                clips=tuple(
                    wire.Clip(
                        v.language,
                        v.codec,
                        v.sha256,
                        v.size,
                        v.seconds,
                        f"/clips/{v.sha256}.{v.codec}",
                        v.speaker,
                    )
                    for v in plan.variants
                ),
                repeats=plan.repeats,
                volume=plan.volume,
                play_at=plan.play_at if plan.play_at > now else 0,
                replaces=plan.replaces,
                spread_ms=spread_ms(len(plan.terminals)),
                hazard=plan.hazard,
                signal=plan.signal,
                patience_ms=plan.patience_ms,
                quake=_on_the_wire(plan.quake) if plan.quake is not None and plan.quake.set else None,
                silent=plan.silent,
                standing=plan.standing,
            )
            return CommandRow(
                signer.key_id,
                counter,
                plan.id,
                "play",
                attempt,
                groups,
                terminals,
                plan.expires_ms,
                signer.seal(play),
            )

        return self._reserve(signer.key_id, now, make)

    def _reserve(self, key_id: str, now: int, make: Callable[[int], CommandRow]) -> Commit:
        """The next counter of this key, given to nobody else in this process, whatever the disk does."""
        self._counters[key_id] = max(self._counters.get(key_id, 0) + 1, now)
        return Commit(key_id, self._counters[key_id], now, make)

    async def _commit(self, commit: Commit) -> CommandRow:
        """Counted and sealed, durably. Where the disk refuses: all the same, because a sound must not wait
        for it; counters follow the time of day, so that none is used twice after a restart either."""
        try:
            row = await self._store.commit_command(
                commit.key_id, commit.now, commit.make, at_least=commit.at_least
            )
        except StoreError as error:
            self._alarm(f"{error}; the command goes out all the same")
            row = commit.make(commit.at_least)
            await self._ledger.keep(partial(self._store.keep_command, row, commit.now))
        self._counted(row)
        return row

    def _counted(self, command: CommandRow) -> None:
        self._counters[command.key_id] = max(command.counter, self._counters.get(command.key_id, 0))

    # --- in --------------------------------------------------------------------------------------

    async def _read_reports(self) -> None:
        while True:
            batch = [await self._inbox.get()]
            while len(batch) < BATCH and not self._inbox.empty():
                batch.append(self._inbox.get_nowait())
            self._inbox_bytes -= sum(len(payload) for _, payload in batch)
            facts: list[FactRow] = []
            late: list[FactRow] = []
            seen: list[Seen] = []
            touched: set[str] = set()
            for n, (terminal, payload) in enumerate(batch):
                if n % SLICE == 0 and n:
                    await asyncio.sleep(0)
                try:
                    message = open_report(payload, self._report_key)
                except (SealError, wire.WireError) as error:
                    self._metrics.reports_refused.inc()
                    self.complaints.add(terminal, str(error), mono_ms())
                    continue
                except Exception as error:  # the bulkhead: no report may silence the others
                    self._metrics.quarantined.labels("report").inc()
                    if self.complaints.add(terminal, f"{error!r} of {payload[:200]!r}", mono_ms()):
                        log.exception("report below %s quarantined", terminal)
                    continue
                if message.terminal != terminal:
                    self._metrics.reports_refused.inc()
                    self.complaints.add(terminal, f"it is a report of {message.terminal}", mono_ms())
                    continue
                self._metrics.reports.inc()
                now = self.now()
                self.online[terminal] = now
                match message:
                    case wire.Probe():
                        _offer(self._probes, message, self._metrics)
                    case wire.Hello():
                        health = msgspec.json.encode(message.health)
                        seen.append(
                            Seen(terminal, wall_ms(), message.floor, message.boot, health, message.ring)
                        )
                        if message.health.clock_error_ms is not None:
                            self.clock_errors[terminal] = message.health.clock_error_ms
                        _offer(self._hellos, message, self._metrics)
                    case wire.Staged():
                        if self._sets is not None:
                            self._sets.heard(message, now)
                    case wire.Report():
                        run = self.runs.get(message.broadcast)
                        if run is not None:
                            key_id = (
                                run.command(terminal, run.tried[terminal].attempt).key_id
                                if (run.first and terminal in run.tried)
                                else self._signers.roles[run.row.broadcast.kind].key_id
                            )
                            if message.counter_seen > self._counters.get(key_id, 0):
                                await self._claim(terminal, key_id, message.counter_seen)
                        if run is None:
                            # What it did before its line was cut is told when the line is back.
                            late += [FactRow(message.broadcast, terminal, *fact) for fact in _facts(message)]
                        elif self._fold(run, terminal, message, now, facts):
                            touched.add(message.broadcast)
            if facts or seen or late:
                await self._keep(facts, seen, late)
            await self._tell_hands()
            for broadcast in touched:
                if (run := self.runs.get(broadcast)) is not None:  # not over meanwhile
                    run.touch()
                    await self._tell(run)

    async def _keep(
        self, facts: Sequence[FactRow], seen: Sequence[Seen], late: Sequence[FactRow] = ()
    ) -> None:
        """Known in memory already; on the disk as soon as that takes it."""
        await self._ledger.keep(partial(self._store.add_facts, facts, seen, wall_ms(), late))

    async def _tell_hands(self) -> None:
        """Somebody has sounded a standing message at a loudspeaker: the operator must know of it, and why may
        only be asked there."""
        hands, self._hands = self._hands, []
        if not hands:
            return
        for broadcast, terminal, at in hands:
            entry = Entry(
                f"terminal:{terminal}", "standing.by-hand", broadcast, f"by hand since {clock_of(at)}"
            )
            await self._ledger.keep(partial(self._store.note, entry, wall_ms()))
        for broadcast in dict.fromkeys(broadcast for broadcast, _, _ in hands):
            where = [(terminal, at) for b, terminal, at in hands if b == broadcast]
            first, at = min(where, key=lambda one: one[1])
            more = f" and {len(where) - 1} more" if len(where) > 1 else ""
            self._alarm(f"{broadcast} is sounded by hand at {first}{more}, since {clock_of(at)}")
        if self.hand is not None:
            await self.hand()

    def _fold(self, run: Run, terminal: str, report: wire.Report, now: int, out: list[FactRow]) -> bool:
        if terminal not in run.facts:
            return False
        known, tried = run.facts[terminal], run.tried[terminal]
        new: list[tuple[FactKey, FactValue]] = []
        for key, value in _facts(report):
            unsent = key[0] > max(1, tried.attempt)
            if unsent and (key[1] is State.REFUSED or key[0] > run.policy(terminal).attempts):
                # It refused a forgery that named our broadcast; we never sent such an attempt.
                log.warning("%s reports attempt %d of %s: not ours", terminal, key[0], run.id)
            elif key not in known:
                new.append((key, value))
                # What it has not refused bore our signature: sent while the disk was full, before a kill.
                tried = replace(tried, attempt=key[0]) if unsent else tried
        run.inflight.pop(terminal, None)
        if not report.facts:
            run.tried[terminal] = delivery.never_heard(tried, now)
            run.schedule(terminal, now)
            return True
        if tried.heard == 0 and tried.unanswered == 1:  # an answer to the first publish, not to a repeat
            run.spread = max(run.spread, now - tried.sent)
        run.tried[terminal] = delivery.answered(tried, now, fruitless=run.stopping and not new)
        if not new:
            return False
        run.heard = now
        run.facts[terminal] = delivery.fold(known, new)
        if run.row.broadcast.standing:
            begun = [value[0] for key, value in new if delivery.is_by_hand(key)]
            self._hands += [(run.id, terminal, at) for at in begun]
            run.hands.update([terminal] if begun else ())
        out += [FactRow(run.id, terminal, key, value) for key, value in new]
        # Two reports in three only tell of progress, which settles nothing: 20 % of a report's cost.
        if any(key[1] not in _PROGRESS for key, _ in new):
            if delivery.is_settled(run.facts[terminal], run.policy(terminal), tried.attempt):
                run.settled.add(terminal)
            elif any(key[1] in (State.FAILED, State.REFUSED) for key, _ in new):
                run.schedule(terminal, now)
        return True

    async def _claim(self, terminal: str, key_id: str, seen: int) -> None:
        """A terminal has accepted a counter above all that we ever gave out: a backup was restored, or a
        second controller counts under our key. Counters jump above it, with an alarm; a wild claim is only
        alarmed. Another's key is none of our business."""
        last = self._counters.get(key_id, 0)
        if seen <= last or key_id not in self._signers.ours:
            return
        now = self.now()
        if seen > now + LONGEST_JUMP_MS:
            self._foreign_word(
                key_id, now, f"terminal {terminal} claims counter {seen} under key {key_id}, not believed"
            )
            return
        again = key_id in self._foreign
        self._counters[key_id] = seen
        await self._ledger.keep(partial(self._store.raise_counter, key_id, seen))
        text = (
            f"terminal {terminal} has seen counter {seen} under key {key_id}, ours was {last}, again: a "
            "second controller sends with our keys; find it and stop it"
            if again
            else f"terminal {terminal} has seen counter {seen} under key {key_id}, ours was {last}: an old "
            "backup was restored, or a second controller sends with our keys; counting on from there"
        )
        self._foreign_word(key_id, now, text)

    def _foreign_word(self, key_id: str, now: int, text: str) -> None:
        if now - self._foreign.get(key_id, -FOREIGN_EVERY_MS) >= FOREIGN_EVERY_MS:
            self._foreign[key_id] = now
            self._alarm(text)

    async def _answer_probes(self) -> None:
        """A terminal measures its clock: nothing else is done first."""
        while True:
            probe = await self._probes.get()
            groups = self._groups_of(probe.terminal)
            if groups is not None:
                answer = wire.Time(probe.terminal, probe.nonce, self.now(), groups, self._audio_base)
                await self._send(probe.terminal, self._signers.service.seal(answer), self.now() + 30_000)

    async def _answer_hellos(self) -> None:
        while True:
            hello = await self._hellos.get()
            groups = self._groups_of(hello.terminal)
            if groups is None:
                continue
            if not groups:  # retired: it leaves every group, and nothing else is its business
                leave = wire.Time(hello.terminal, hello.nonce, self.now(), (), self._audio_base)
                await self._send(hello.terminal, self._signers.service.seal(leave), self.now() + 30_000)
                continue
            before = self.now()
            text = self._clock.witness(
                hello.terminal, hello.floor, wall_ms(), mono_ms(), max(1, len(self.online))
            )
            if text is not None:
                self._alarm(text)
                await self._move_windows(self.now() - before)
            for key_id, seen in hello.counters.items():
                await self._claim(hello.terminal, key_id, seen)
            await self._stops_first(hello.terminal)
            answer = wire.Time(
                hello.terminal, hello.nonce, self.now(), groups, self._audio_base, self._probes_wanted
            )
            await self._send(hello.terminal, self._signers.service.seal(answer), self.now() + 30_000)
            if self.keys is not None:
                ring = self.keys.heard(hello, self.now())
                if ring is not None:
                    await self._send(hello.terminal, ring, self.now() + 60_000)
            await self._catch_up(hello.terminal, groups)
            if self._sets is not None:
                for envelope in self._sets.owed(hello, groups):
                    await self._send(hello.terminal, envelope, self.now() + 60_000)

    async def _move_windows(self, ms: int) -> None:
        """Wire time has jumped ahead: what is in force ends no sooner for it, and whoever refused it as over
        is sent it again, in a window that lies in their time."""
        if ms <= TOLERANCE_MS:
            return  # not believed: no jump
        self.jumped_ms += ms
        self.online = {terminal: at + ms for terminal, at in self.online.items()}
        for run in tuple(self.runs.values()):
            run.row = replace(run.row, broadcast=moved(run.row.broadcast, ms))
            run.moved = True
            again = [t for t in run.settled if not delivery.is_settled(run.facts[t], run.policy(t))]
            for terminal in again:
                run.settled.discard(terminal)
                run.schedule(terminal, self.now())
            if again:
                run.reopen()
            await self._ledger.keep(partial(self._store.set_broadcast, run.row))
            run.touch()

    async def _stops_first(self, terminal: str) -> None:
        """Before the time: a Play that a broker kept for it waits there for the time to be judged by, and
        would sound between that and the Stop."""
        for run in tuple(self.runs.values()):  # others begin and end while one is sent
            stop = run.stop_of(terminal)
            if stop is not None and terminal in run.facts and terminal not in run.settled:
                await self._send(terminal, stop.envelope, stop.expires)

    async def _catch_up(self, terminal: str, groups: tuple[str, ...]) -> None:
        """Only the controller decides what a returning terminal gets: what is still valid, at once."""
        now = self.now()
        for run in tuple(self.runs.values()):  # others begin and end while one is sent
            if run.row.broadcast.expires_ms <= now or run.row.state is BroadcastState.VOICING:
                continue
            if self.runs.get(run.id) is not run:
                continue
            if terminal not in run.facts:
                if run.stopping or run.shut or not set(groups) & set(run.row.broadcast.groups):
                    continue
                # First: a run that has one to reach does not end.
                run.facts[terminal], run.tried[terminal] = {}, Tried(1 if run.is_published else 0)
                run.reopen()
                await self._ledger.keep(partial(self._store.add_delivery, run.id, terminal, wall_ms()))
                log.info("%s: %s joins late", run.id, terminal)
            if terminal in run.settled:
                again = delivery.may_be_forged(run.facts[terminal]) or _may_come(run, terminal)
                if run.stopping or not again:
                    continue
                # Whoever kept ours away and gave it another may be gone by now.
                run.again[terminal] = min(run.again.get(terminal, 0) + 1, MOST_AGAIN)
                run.settled.discard(terminal)
                run.reopen()
            run.tried[terminal] = replace(run.tried[terminal], sent=0, unanswered=0)
            if run.tried[terminal].heard and not run.stopping:
                # It has been away, and with it perhaps its last word: ask now, not when it should be done.
                await self._send(terminal, self._signers.service.seal(wire.Query(run.id, now)), now + 30_000)
                run.tried[terminal] = replace(run.tried[terminal], sent=now, unanswered=1)
            run.schedule(terminal, now)
            run.touch()

    async def _tell(self, run: Run) -> None:
        run.version += 1
        async with run.changed:
            run.changed.notify_all()


T = TypeVar("T")


@lru_cache(1_024)
def _key(attempt: int, state: str, reason: str) -> FactKey:
    """One for all terminals: a warning's facts stay in memory as long as it is in force, and their keys were
    a fifth of them. Raises ValueError for a state that this version does not know."""
    return attempt, State(state), reason


def _facts(report: wire.Report) -> list[tuple[FactKey, FactValue]]:
    """What a report says, but for states that this version does not know."""
    told: list[tuple[FactKey, FactValue]] = []
    for fact in report.facts:
        try:
            told.append((_key(fact.attempt, fact.state, fact.reason), (fact.at, fact.detail)))
        except ValueError:
            log.warning("%s reports a state %r that this version does not know", report.terminal, fact.state)
    return told


def _offer(queue: asyncio.Queue[T], message: T, metrics: Metrics) -> None:
    try:
        queue.put_nowait(message)
    except asyncio.QueueFull:  # it is said again
        metrics.reports_dropped.inc()


def spread_ms(terminals: int) -> int:
    """Over how long terminals that must fetch spread it: one a millisecond, 5 s at most."""
    return min(5_000, terminals)


def _may_come(run: Run, terminal: str) -> bool:
    """Whether what a standing message lacked for at this terminal may be there by now."""
    seen = delivery.shown(run.facts[terminal])
    return run.row.broadcast.standing and seen.state is State.FAILED and seen.reason in _MAY_COME


def _on_the_wire(quake: Quake) -> wire.Quake:
    return wire.Quake(
        quake.origin_ms, quake.latitude, quake.longitude, quake.depth_km, quake.magnitude, quake.set
    )


def clock_of(ms: int) -> str:
    """Wire ms as people in the county read it."""
    return moment(ms).astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def _parts(plan: Broadcast, sealed: Sequence[CommandRow]) -> list[tuple[str, ...]]:
    """The terminals of each command that is still to be sealed beside these: one to the plan's groups, which
    names none, or as many as its list needs."""
    if plan.groups:
        return [] if sealed else [()]
    named = {terminal for command in sealed for terminal in command.terminals}
    return [tuple(part) for part in _split([t for t in plan.terminals if t not in named])]


def _split(terminals: Sequence[str]) -> Iterable[list[str]]:
    """Target lists over 8 KB are several commands (design §5)."""
    part: list[str] = []
    size = 0
    for terminal in terminals:
        if part and (size + len(terminal) + 3 > wire.MAX_TARGETS_BYTES or len(part) >= 800):
            yield part
            part, size = [], 0
        part.append(terminal)
        size += len(terminal) + 3
    if part:
        yield part


def _addresses(command: CommandRow) -> list[Address]:
    return [*(ToGroup(g) for g in command.groups), *(ToTerminal(t) for t in command.terminals)]
