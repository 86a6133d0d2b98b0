"""The duty desk: what feeds and operators can do with a warning, from plan to release to all-clear.

One straight road for both: plan, decide, store (plan and deliveries in one transaction), voice, dispatch.
Every refusal is a value with a reason (`Refused`), never a silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import msgspec

from alerts import lifecycle
from alerts.area import Cut, cut
from alerts.lifecycle import (
    Cancel,
    Continuation,
    Decision,
    Duplicate,
    Known,
    New,
    Update,
)
from alerts.model import Alert, AlertError, MsgType, Scope
from alerts.regions import County
from config.schema import Config
from controller.clock import moment, to_ms, wall_ms
from controller.dispatch import Dispatcher, Run
from controller.ids import new_id
from controller.metrics import Metrics
from controller.planning import Plan, Stage, plan_alert, plan_all_clear, to_broadcast
from controller.register import Register
from controller.release import Auto, Hold, decide
from controller.store import Store, Unknown
from controller.store.records import (
    AlertRow,
    AlertState,
    BroadcastRow,
    BroadcastState,
    Entry,
)
from controller.voicing import Voicing
from terminals import delivery
from terminals.broadcast import Kind, Part, Variant
from tts.script import ScriptRequest

log = logging.getLogger(__name__)

# Warnings older than this cannot concern an update any more (the longest CMA validity is 72 h).
MEMORY: Final = timedelta(days=7)
# A cancel waits this long for terminals to say whether they had sounded, then airs the all-clear.
HEARD_WAIT_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Judged:
    """A message, what it is to what we know, and what would be broadcast of it."""

    decision: Decision
    villages: frozenset[str]
    plan: Plan | None
    """None where nothing of it can sound."""
    elsewhere: tuple[str, ...] = ()
    """Its areas, where all of them lie in other counties: normal for a provincial or national feed."""


@dataclass(frozen=True, slots=True)
class Released:
    alert: str
    broadcast: str
    """The whole message; a lead may sound before it."""


@dataclass(frozen=True, slots=True)
class Held:
    alert: str
    reason: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    alerts: tuple[str, ...]
    stopped: tuple[str, ...]
    """Broadcasts that were told to stop."""
    all_clear: tuple[str, ...]
    """Broadcasts of the all-clear; empty where nothing had sounded."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Recorded; nothing sounds."""

    alert: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    reasons: tuple[str, ...]


class Desk:
    def __init__(
        self,
        config: Config,
        county: County,
        store: Store,
        register: Register,
        dispatcher: Dispatcher,
        voicing: Voicing,
        metrics: Metrics,
        *,
        kinds: Set[Kind],
    ) -> None:
        """`kinds`: those whose keys are loaded; in drill mode there is no actual key."""
        self._kinds = kinds
        self._config = config
        self._county = county
        self._store = store
        self._register = register
        self._dispatcher = dispatcher
        self._voicing = voicing
        self._metrics = metrics
        self._to_voice: asyncio.Queue[BroadcastRow] = asyncio.Queue(1_000)
        self._stopped: dict[str, asyncio.Event] = {}
        """Broadcasts that are being voiced; the event is set when one is stopped meanwhile."""
        self.changed = asyncio.Condition()
        """Notified when an alert is held, released or decided."""

    # --- feeds ---------------------------------------------------------------------------------

    async def known(self) -> list[Known]:
        """What lifecycle compares a new document with."""
        return [_known(row) for row in await self._recent()]

    def judge(self, alert: Alert, known: Sequence[Known], now: datetime) -> Judged:
        """What this message is and what would come of it; decides nothing, stores nothing."""
        area = cut(alert.main.areas, self._county) if alert.infos else None
        villages = area.village_keys if area else frozenset()
        decision = lifecycle.classify(alert, known, now, villages=villages)
        plan = None
        if area is not None:
            stage: Stage = "first"
            if isinstance(decision, Update):
                stage = "update"
            elif isinstance(decision, Continuation):
                stage = "continuation"
            elif isinstance(decision, Cancel):
                stage = "cancel"
            plan = self._plan(alert, Kind.ACTUAL, stage, area)
            if isinstance(decision, Update) and not decision.announce:
                plan = replace(plan, repeats=1)  # the listener learns of it, and is not alarmed again
        elsewhere = area.outside if area and area.empty and not area.problems else ()
        return Judged(decision, villages, plan, elsewhere)

    async def take(
        self, alert: Alert, judged: Judged, *, feed: str, doubts: Sequence[str], document: int
    ) -> Released | Held | Cancelled | Closed:
        """Carries out what was judged of a document from `feed`."""
        decision = judged.decision
        if judged.elsewhere:
            reason = f"not for {self._county.name}: {'; '.join(judged.elsewhere)}"
            row = self._row(alert, judged, feed, AlertState.CLOSED, reason)
            entry = Entry(f"feed:{feed}", "alert.elsewhere", row.id, reason)
            await self._store.take(row, (), entry, row.created, document=document)
            return Closed(row.id, reason)
        doubts = [*doubts, decision.doubt] if decision.doubt else list(doubts)
        event = await self._ids(decision.withdraws)
        match decision:
            case New() | Update():
                return await self._take_warning(alert, judged, event, feed, doubts, document)
            case Duplicate() if held := await self._ids((decision.of,), AlertState.HELD):
                # An unofficial source may have been first; the official one still releases it.
                if isinstance(self._release(judged, feed, doubts), Auto):
                    return await self._take_warning(alert, judged, held, feed, doubts, document)
            case Cancel():
                return await self._take_cancel(alert, judged, event, feed, doubts, document)
            case Continuation() if not decision.doubt:
                row = self._row(alert, judged, feed, AlertState.RELEASED, decision.reason)
                entry = Entry(f"feed:{feed}", "alert.continued", row.id, decision.reason)
                await self._store.take(row, (), entry, row.created, document=document, supersedes=event)
                await self._tell()
                return Closed(row.id, f"not aired again: {decision.reason}")
            case Continuation():
                return await self._take_warning(alert, judged, event, feed, doubts, document)
            case _:
                pass
        # What ends an event that is not known here yet stays in force, so that a warning which comes
        # late stays silent; but only from a source whose own warnings would sound.
        trusted = judged.plan is not None and isinstance(self._release(judged, feed, doubts), Auto)
        state = _AS_STORED[lifecycle.settled(alert, decision, held=False)]
        if state is AlertState.RELEASED and not trusted:
            state = AlertState.CLOSED
        row = self._row(alert, judged, feed, state, decision.reason)
        entry = Entry(f"feed:{feed}", f"alert.{type(decision).__name__.lower()}", row.id, decision.reason)
        gone = event if trusted and not decision.doubt else ()
        await self._store.take(row, (), entry, row.created, document=document, supersedes=gone)
        return Closed(row.id, decision.reason)

    async def _take_warning(
        self,
        alert: Alert,
        judged: Judged,
        event: Sequence[str],
        feed: str,
        doubts: Sequence[str],
        document: int,
    ) -> Released | Held:
        assert judged.plan is not None
        release = self._release(judged, feed, doubts)
        plan = replace(judged.plan, replaces=tuple(await self._active(event)))
        auto = isinstance(release, Auto)
        reason = release.text
        row = self._row(
            alert, replace(judged, plan=plan), feed, AlertState.RELEASED if auto else AlertState.HELD, reason
        )
        broadcasts = await self._broadcasts(row, plan) if auto else ()
        entry = Entry(f"feed:{feed}", f"alert.{row.state}", row.id, reason)
        superseded = event if auto else ()
        await self._store.take(row, broadcasts, entry, row.created, document=document, supersedes=superseded)
        await self._tell()
        if not broadcasts:
            return Held(row.id, reason)
        await self._begin(broadcasts)
        return Released(row.id, broadcasts[-1].broadcast.id)

    async def _take_cancel(
        self,
        alert: Alert,
        judged: Judged,
        event: Sequence[str],
        feed: str,
        doubts: Sequence[str],
        document: int,
    ) -> Cancelled | Held:
        """The table decides as for the warning itself: a stranger's cancel silences as surely as a
        stranger's warning sounds."""
        original = await self._store.alert(event[-1])
        release = decide(decode_plan(original), feed, doubts, self._config.release)
        state = AlertState.RELEASED if isinstance(release, Auto) else AlertState.HELD
        row = self._row(alert, judged, feed, state, release.text)
        entry = Entry(f"feed:{feed}", f"cancel.{state}", row.id, release.text)
        await self._store.take(row, (), entry, row.created, document=document)
        await self._tell()
        if state is AlertState.HELD:
            return Held(row.id, release.text)
        return await self._cancel(event, f"feed:{feed}", alert.note or "来源解除")

    def _release(self, judged: Judged, feed: str, doubts: Sequence[str]) -> Auto | Hold:
        assert judged.plan is not None
        if Kind.ACTUAL not in self._kinds:
            doubts = [*doubts, f"mode: {self._config.mode}: this controller holds no actual key"]
        return decide(judged.plan, feed, doubts, self._config.release)

    # --- operators -----------------------------------------------------------------------------

    def plan(self, alert: Alert, kind: Kind) -> Plan:
        """What `send` would do, without doing it; `problems` are what it would refuse. Raises AlertError for
        a message that says nothing to anybody."""
        if not alert.infos:
            raise AlertError(
                "alert", "it has no info: nothing to say", "to end a warning: fenghuo alert cancel ID"
            )
        plan = self._plan(alert, kind, "first", cut(alert.main.areas, self._county))
        now = moment(wall_ms())
        problems = [*plan.problems, *_unfit(alert, kind)]
        if plan.expires <= now:
            problems.append(f"it expired at {plan.expires.isoformat()}")
        if kind not in self._kinds:
            problems.append(f"mode: {self._config.mode}: this controller holds no {kind} key")
        return replace(plan, problems=tuple(problems))

    async def send(self, alert: Alert, kind: Kind, operator: str) -> Released | Refused:
        """An operator's own act is the release; what planning finds wrong is refused, not held."""
        now = wall_ms()
        plan = self.plan(alert, kind)
        if plan.problems:
            await self._store.note(
                Entry(operator, f"{kind}.refused", alert.identifier, "; ".join(plan.problems)), now
            )
            return Refused(plan.problems)
        decision = New("sent by an operator", alert.event_key)
        judged = Judged(decision, frozenset(plan.villages), plan)
        row = self._row(alert, judged, f"operator:{operator}", AlertState.RELEASED, "")
        broadcasts = await self._broadcasts(row, plan)
        await self._store.take(row, broadcasts, Entry(operator, f"{kind}.send", row.id, plan.headline), now)
        await self._tell()
        await self._begin(broadcasts)
        return Released(row.id, broadcasts[-1].broadcast.id)

    async def approve(self, alert: str, operator: str) -> Released | Cancelled | Refused:
        """Releases what is held. Raises Unknown."""
        now = wall_ms()
        row = await self._store.alert(alert)
        if row.state is not AlertState.HELD:
            return Refused((f"{alert} is {row.state}" + (f" by {row.decided_by}" if row.decided_by else ""),))
        if row.msg_type == MsgType.CANCEL:
            event = await self._event_of(row)
            if not await self._decide(row, AlertState.RELEASED, "approved", (), operator, "alert.approve"):
                return Refused((f"{alert} was decided by somebody else",))
            return await self._cancel(event, operator, "核准解除")
        plan = decode_plan(row)
        if plan.expires <= moment(now):
            return Refused((f"it expired at {plan.expires.isoformat()}",))
        if plan.kind not in self._kinds:
            return Refused((f"mode: {self._config.mode}: this controller holds no {plan.kind} key",))
        # What was wrong with the area does not go away by approving: nobody is in it.
        if not plan.terminals:
            return Refused(plan.problems or ("nobody would hear it",))
        event = await self._event_of(row)
        plan = replace(plan, replaces=tuple(await self._active(event)))
        broadcasts = await self._broadcasts(row, plan)
        done = await self._decide(
            row, AlertState.RELEASED, "approved", broadcasts, operator, "alert.approve", supersedes=event
        )
        if not done:
            return Refused((f"{alert} was decided by somebody else",))
        await self._begin(broadcasts)
        return Released(alert, broadcasts[-1].broadcast.id)

    async def reject(self, alert: str, operator: str, reason: str) -> Refused | None:
        """Ends a hold without a sound. None when done. Raises Unknown."""
        row = await self._store.alert(alert)
        if row.state is not AlertState.HELD:
            return Refused((f"{alert} is {row.state}",))
        if not await self._decide(row, AlertState.REJECTED, reason, (), operator, "alert.reject"):
            return Refused((f"{alert} was decided by somebody else",))
        return None

    async def cancel(self, alert: str, operator: str, reason: str) -> Cancelled | Refused:
        """Stops it, drops what is queued, airs the all-clear only where it had sounded. Raises Unknown."""
        row = await self._store.alert(alert)
        if row.state not in _OPEN:
            return Refused((f"{alert} is {row.state}" + (f" ({row.reason})" if row.reason else ""),))
        return await self._cancel([alert], operator, reason)

    async def stop(self, broadcast: str, operator: str) -> Refused | None:
        """Silence now, no all-clear; acknowledged per terminal. Raises Unknown."""
        row = await self._store.broadcast(broadcast)
        if not await self._stop(row, Entry(operator, "broadcast.stop", broadcast)):
            return Refused((f"{broadcast} is {row.state}; nothing of it can sound any more",))
        return None

    # --- running -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Voices and starts broadcasts until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                row = await self._to_voice.get()
                tasks.create_task(self._voice_and_send(row), name=f"voice.{row.broadcast.id}")

    async def resume(self) -> None:
        """Takes up what a dead process left. Once, before anything new is taken in."""
        now = self._dispatcher.now()
        waiting: list[BroadcastRow] = []
        for row in await self._store.broadcasts(limit=1_000):
            if row.state is BroadcastState.VOICING:
                log.info("%s was being voiced when the controller ended; voicing it again", row.broadcast.id)
                waiting.append(row)
            elif row.done is None or row.broadcast.expires_ms > now:
                await self._dispatcher.resume(row)
        await self._begin(sorted(waiting, key=lambda row: (row.created, row.broadcast.part is Part.WHOLE)))
        for cancel in await self._store.alerts(state=AlertState.RELEASED):
            if cancel.msg_type == MsgType.CANCEL:  # released, but was it carried out?
                await self._cancel(await self._event_of(cancel), cancel.source, cancel.reason)

    async def _begin(self, broadcasts: Sequence[BroadcastRow]) -> None:
        for row in broadcasts:
            self._metrics.broadcasts.labels(row.broadcast.kind).inc()
            await self._to_voice.put(row)

    async def _voice_and_send(self, row: BroadcastRow) -> None:
        script = decode_script(row.script)
        stop = self._stopped.setdefault(row.broadcast.id, asyncio.Event())
        variants = await _unless(stop, self._voicing.voice(script, row.broadcast.part))
        plan = replace(row.broadcast, variants=variants)
        if script.stage == "cancel":
            plan = replace(plan, terminals=await self._heard_by_now(plan.replaces, plan.terminals))
            for terminal in set(plan.terminals) - set(row.broadcast.terminals):
                await self._store.add_delivery(plan.id, terminal, wall_ms())
        stopped = stop.is_set()
        state = BroadcastState.STOPPED if stopped else BroadcastState.SENDING
        current = await self._store.broadcast(plan.id)
        row = replace(current, broadcast=plan, state=state)
        await self._store.set_broadcast(row)
        self._stopped.pop(plan.id, None)
        await self._dispatcher.start(row)

    async def _heard_by_now(self, broadcasts: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
        heard = set(known)
        for broadcast in broadcasts:
            heard.update(await self._heard(broadcast))
        return tuple(sorted(heard))

    async def _heard(self, broadcast: str) -> list[str]:
        run = self._dispatcher.runs.get(broadcast)
        if run is not None:
            return [t for t, facts in run.facts.items() if delivery.has_sounded(facts)]
        _, rows = await self._store.deliveries(broadcast)
        facts: dict[str, dict[delivery.FactKey, delivery.FactValue]] = {}
        for fact in rows:
            facts.setdefault(fact.terminal, {})[fact.key] = fact.value
        return [t for t, known in facts.items() if delivery.has_sounded(known)]

    # --- the parts -----------------------------------------------------------------------------

    async def _cancel(self, alerts: Sequence[str], who: str, reason: str) -> Cancelled:
        done: list[str] = []
        stopped: list[str] = []
        clear: list[str] = []
        for alert in alerts:
            row = await self._store.alert(alert)
            if row.state not in (AlertState.HELD, AlertState.RELEASED):
                continue
            # All of the event: what an earlier message of it sounded is over as well.
            family = [r.id for r in await self._recent() if r.event_key == row.event_key]
            broadcasts = [b for member in family for b in await self._store.broadcasts(alert=member)]
            broadcasts = [b for b in broadcasts if decode_script(b.script).stage != "cancel"]
            ids = [b.broadcast.id for b in broadcasts]
            for b in broadcasts:
                if await self._stop(b, Entry(who, "broadcast.stop", b.broadcast.id, reason)):
                    stopped.append(b.broadcast.id)
            await self._settle(ids)
            heard = await self._heard_by_now(ids, ())
            all_clear: list[BroadcastRow] = []
            if heard:
                now = moment(wall_ms())
                plan = plan_all_clear(
                    decode_plan(row), heard, now=now, issuer=self._config.issuer, replaces=ids, reason=reason
                )
                all_clear = [self._broadcast(row, plan)]
            if not await self._decide(row, AlertState.CANCELLED, reason, all_clear, who, "alert.cancel"):
                continue
            done.append(alert)
            clear += [b.broadcast.id for b in all_clear]
            await self._begin(all_clear)
        return Cancelled(tuple(done), tuple(stopped), tuple(clear))

    async def _settle(self, broadcasts: Sequence[str]) -> None:
        """Until every terminal that can answer has said whether it had sounded; HEARD_WAIT_S at most."""
        runs: list[Run] = [self._dispatcher.runs[b] for b in broadcasts if b in self._dispatcher.runs]
        try:
            async with asyncio.timeout(HEARD_WAIT_S):
                for run in runs:
                    async with run.changed:
                        while run.waiting:
                            await run.changed.wait()
        except TimeoutError:
            log.info("the all-clear goes out before every terminal has answered the stop")

    async def _stop(self, row: BroadcastRow, entry: Entry) -> bool:
        """Whether there was anything left to stop."""
        broadcast = row.broadcast.id
        if row.state is BroadcastState.VOICING:
            self._stopped.setdefault(broadcast, asyncio.Event()).set()
            await self._store.set_broadcast(
                replace(row, state=BroadcastState.STOPPED, stopped_by=entry.who), entry, wall_ms()
            )
            return True
        run = self._dispatcher.runs.get(broadcast)
        if run is None or run.row.state is not BroadcastState.SENDING:
            return False
        await self._dispatcher.stop(broadcast, entry)
        return True

    async def _decide(
        self,
        row: AlertRow,
        state: AlertState,
        reason: str,
        broadcasts: Sequence[BroadcastRow],
        who: str,
        what: str,
        supersedes: Sequence[str] = (),
    ) -> bool:
        done = await self._store.decide(
            row.id,
            state,
            reason,
            broadcasts,
            Entry(who, what, row.id, reason),
            wall_ms(),
            supersedes=supersedes,
            expected=row.state,
        )
        await self._tell()
        return done

    async def _recent(self) -> list[AlertRow]:
        return await self._store.alerts(since=wall_ms() - int(MEMORY.total_seconds() * 1000), limit=10_000)

    async def _event_of(self, row: AlertRow) -> list[str]:
        """The other alerts of its event that are still open."""
        return [
            r.id
            for r in await self._recent()
            if r.event_key == row.event_key
            and r.id != row.id
            and r.state in _OPEN
            and r.msg_type != MsgType.CANCEL
        ]

    async def _ids(self, identifiers: Sequence[str], *states: AlertState) -> list[str]:
        """Our ids of the messages with these identifiers, oldest first."""
        rows = [
            r for r in await self._recent() if r.identifier in identifiers and r.state in (states or _OPEN)
        ]
        return [r.id for r in reversed(rows)]

    async def _active(self, alerts: Sequence[str]) -> list[str]:
        """Broadcasts of these alerts that may still sound."""
        return [
            b.broadcast.id
            for alert in alerts
            for b in await self._store.broadcasts(alert=alert)
            if b.broadcast.expires_ms > self._dispatcher.now() and b.state is not BroadcastState.STOPPED
        ]

    def _plan(self, alert: Alert, kind: Kind, stage: Stage, area: Cut) -> Plan:
        return plan_alert(
            alert,
            kind,
            stage,
            area,
            county=self._county,
            terminals=self._register.terminals.values(),
            settings=self._config.broadcast,
            issuer=self._config.issuer,
        )

    async def _broadcasts(self, alert: AlertRow, plan: Plan) -> list[BroadcastRow]:
        """The whole; before it, where its sound must still be made and people must act, a lead."""
        whole = self._broadcast(alert, plan)
        if plan.kind is Kind.TEST or await self._voicing.known(plan.script):
            return [whole]
        lead = self._broadcast(alert, replace(plan, repeats=1))
        lead = replace(lead, broadcast=replace(lead.broadcast, part=Part.LEAD))
        return [lead, replace(whole, created=max(whole.created, lead.created + 1))]

    def _broadcast(self, alert: AlertRow, plan: Plan) -> BroadcastRow:
        now = wall_ms()
        broadcast = to_broadcast(
            plan, new_id("B", moment(now)), alert.id, wall=moment(now), wire_ms=self._dispatcher.now()
        )
        return BroadcastRow(BroadcastState.VOICING, now, broadcast, msgspec.json.encode(plan.script))

    def _row(self, alert: Alert, judged: Judged, source: str, state: AlertState, reason: str) -> AlertRow:
        now = wall_ms()
        known = lifecycle.remember(alert, judged.decision, judged.villages, lifecycle.State.CLOSED)
        plan = judged.plan
        main = alert.main if alert.infos else None
        return AlertRow(
            id=new_id("A", moment(now)),
            source=source,
            kind=plan.kind if plan else Kind.ACTUAL,
            identifier=alert.identifier,
            event_key=known.event_key,
            msg_type=alert.msg_type,
            hazard=known.hazard,
            colour=known.colour,
            headline=(main.headline or main.event) if main else alert.note,
            expires=to_ms(plan.expires if plan else alert.sent),
            state=state,
            reason=reason,
            created=now,
            plan=msgspec.json.encode(plan) if plan else None,
            message=msgspec.json.encode(alert),
            known=msgspec.json.encode(known),
        )

    async def wait_changed(self, seconds: float) -> None:
        """Until an alert is held, released or decided; `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self.changed:
                await self.changed.wait()

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()


_OPEN: Final = (AlertState.HELD, AlertState.RELEASED)
_AS_STORED: Final = {
    lifecycle.State.HELD: AlertState.HELD,
    lifecycle.State.RELEASED: AlertState.RELEASED,
    lifecycle.State.SUPERSEDED: AlertState.SUPERSEDED,
    lifecycle.State.CANCELLED: AlertState.CANCELLED,
    lifecycle.State.CLOSED: AlertState.CLOSED,
}
_AS_KNOWN: Final = {
    AlertState.HELD: lifecycle.State.HELD,
    AlertState.RELEASED: lifecycle.State.RELEASED,
    AlertState.SUPERSEDED: lifecycle.State.SUPERSEDED,
    AlertState.CANCELLED: lifecycle.State.CANCELLED,
    AlertState.REJECTED: lifecycle.State.CLOSED,
    AlertState.CLOSED: lifecycle.State.CLOSED,
}


async def _unless(
    stop: asyncio.Event, voicing: Coroutine[object, object, tuple[Variant, ...]]
) -> tuple[Variant, ...]:
    """What is voiced; nothing, and at once, when it is stopped first: the voice has others to serve."""
    speaking = asyncio.create_task(voicing, name="voice")
    stopped = asyncio.create_task(stop.wait(), name="voice.stop")
    try:
        await asyncio.wait({speaking, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return speaking.result() if speaking.done() and not stop.is_set() else ()
    finally:
        for task in (speaking, stopped):
            task.cancel()
        await asyncio.gather(speaking, stopped, return_exceptions=True)


def _unfit(alert: Alert, kind: Kind) -> list[str]:
    """Why an operator's document may not be sent as this kind. A real warning may be rehearsed; a test or an
    exercise never becomes a real warning (lesson: cap-composer sent Exercise + Public)."""
    found = []
    fit = {"Actual"} if kind is Kind.ACTUAL else {"Actual", kind.value.capitalize()}
    if alert.status.value not in fit:
        found.append(f"its status is {alert.status}; that cannot be sent as {kind}")
    if alert.scope is not Scope.PUBLIC:
        found.append(f"its scope is {alert.scope}, not Public")
    if alert.msg_type not in (MsgType.ALERT, MsgType.UPDATE):
        found.append(f"a message of type {alert.msg_type} is no warning; to end one: fenghuo alert cancel ID")
    return found


def decode_plan(row: AlertRow) -> Plan:
    """Raises Unknown for a message of which nothing can sound."""
    if row.plan is None:
        raise Unknown(f"{row.id} has no plan: {row.reason}")
    return msgspec.json.decode(row.plan, type=Plan)


def decode_script(script: bytes) -> ScriptRequest:
    return msgspec.json.decode(script, type=ScriptRequest)


def decode_alert(row: AlertRow) -> Alert:
    return msgspec.json.decode(row.message, type=Alert)


def _known(row: AlertRow) -> Known:
    return replace(msgspec.json.decode(row.known, type=Known), state=_AS_KNOWN[row.state])
