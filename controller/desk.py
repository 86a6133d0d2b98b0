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

from alerts import fatigue, intensity, lifecycle
from alerts.area import Cut, cut
from alerts.feed import Trust
from alerts.lifecycle import (
    Cancel,
    Continuation,
    Decision,
    Duplicate,
    Known,
    Label,
    New,
    Update,
)
from alerts.model import Alert, AlertError, Colour, MsgType, Scope
from alerts.regions import County
from config.schema import Config
from controller import naming
from controller.clock import moment, to_ms, wall_ms
from controller.dispatch import Dispatcher, Run
from controller.ids import new_id
from controller.metrics import Metrics
from controller.planning import (
    Plan,
    Stage,
    beside,
    divide,
    message_of,
    places_of,
    plan_alert,
    plan_all_clear,
    replacing,
    sounding,
    to_broadcast,
)
from controller.register import Register
from controller.release import Auto, Hold, decide, decide_end
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
# `wire.Play.replaces` holds so many; older broadcasts of an event have long sounded.
MOST_REPLACED: Final = 16
_SOUNDED: Final = (
    delivery.State.PLAYING,
    delivery.State.PLAYED,
    delivery.State.INTERRUPTED,
    delivery.State.PREEMPTED,
)


@dataclass(frozen=True, slots=True)
class Judged:
    """A message, what it is to what we know, and what would be broadcast of it."""

    decision: Decision
    villages: frozenset[str]
    plan: Plan | None
    """None where nothing of it can sound."""
    elsewhere: tuple[str, ...] = ()
    """Its areas, where all of them lie in other counties: normal for a provincial or national feed."""
    alert: Alert | None = None
    """The message as it concerns this county; None: as it came."""


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
        now = moment(wall_ms())
        return [item for row in await self._recent() if lifecycle.matters(item := _known(row), now)]

    def trust(self, feed: str) -> Trust:
        """How far the words of a configured feed go. Whose official sender nothing proves is no better than
        a relay of it; our own operators are official, and so is a feed configured no more: what it brought is
        ended by nobody below."""
        settings = next((f for f in self._config.feeds if f.name == feed), None)
        if settings is None or (settings.official and settings.authenticated != "none"):
            return Trust.OFFICIAL
        return max(settings.trust, Trust.RELAY, key=_TRUSTS.index)

    def judge(
        self, alert: Alert, known: Sequence[Known], now: datetime, *, feed: str = "", narrow: bool = False
    ) -> Judged:
        """What this message of `feed` is and what would come of it; decides nothing, stores nothing.
        `narrow`: its feed declares that shapes narrow codes."""
        alert = self._here(alert, now, narrow)
        areas = [self.area(account, now, narrow) for account in _accounts(alert)]
        area = areas[0] if areas else None
        villages = frozenset[str]().union(*(found.village_keys for found in areas))
        trust = self.trust(feed)
        decision = lifecycle.classify(alert, known, now, villages=villages, trust=trust, feed=feed)
        plan = None
        if area is not None:
            stage: Stage = "first"
            if isinstance(decision, Update) and not decision.first:
                stage = "update"
            elif isinstance(decision, Continuation):
                stage = "continuation"
            elif isinstance(decision, Cancel):
                stage = "cancel"
            plan = self._plan(alert, Kind.ACTUAL, stage, areas, narrow=narrow)
            if area.until is not None and plan.expires <= now:
                over = "the earthquake has passed every village here: to take cover is of no use any more"
                plan = replace(plan, problems=(*plan.problems, over))
            if alert.main.quake is not None:
                before = next((k.village_keys for k in known if k.identifier == decision.of), None)
                if before is not None:
                    changed = intensity.change(before, villages)
                    plan = replace(plan, why=(*plan.why, f"after {decision.of}: {changed.text}"))
            if isinstance(decision, Update | Continuation) and stage != "first":
                last = next((k.colour for k in known if k.identifier == decision.of), plan.colour)
                plan = replace(
                    plan,
                    news=lifecycle.is_news(decision) or bool(plan.also),
                    falls=_is_milder(plan.colour, last),
                    # An earthquake's estimate swings within seconds: it takes nothing back.
                    ends=tuple(sorted(decision.ends))
                    if isinstance(decision, Update) and alert.main.quake is None
                    else (),
                )
        elsewhere = area.outside if area and not villages and not any(a.problems for a in areas) else ()
        return Judged(decision, villages, plan, elsewhere, alert)

    async def take(
        self, alert: Alert, judged: Judged, *, feed: str, doubts: Sequence[str], document: int
    ) -> Released | Held | Cancelled | Closed:
        """Carries out what was judged of a document from `feed`."""
        alert = judged.alert or alert
        decision = judged.decision
        doubts = [*doubts, decision.doubt] if decision.doubt else list(doubts)
        event = await self._ids(decision.withdraws)
        if judged.elsewhere and isinstance(decision, Cancel):
            return await self._take_cancel(alert, judged, event, feed, doubts, document)
        if judged.elsewhere and isinstance(decision, Update) and judged.plan and judged.plan.ends:
            # It was here and has moved on: over for us, whatever it is there.
            moved = replace(judged, plan=replace(judged.plan, problems=()))
            return await self._take_warning(alert, moved, event, feed, doubts, document)
        if judged.elsewhere:
            reason = f"not for {self._county.name}: {'; '.join(judged.elsewhere)}"
            row = self._row(alert, judged, feed, AlertState.CLOSED, reason)
            entry = Entry(f"feed:{feed}", "alert.elsewhere", row.id, reason)
            await self._store.take(row, (), entry, row.created, document=document)
            return Closed(row.id, reason)
        match decision:
            case New() | Update():
                return await self._take_warning(alert, judged, event, feed, doubts, document)
            case Duplicate() if isinstance(lifecycle.sounds_as(alert), Label) and (
                held := await self._ids((decision.of,), AlertState.HELD)
            ):
                # One that may sound by itself releases what another source brought first.
                if isinstance(self._release(judged, feed, doubts), Auto):
                    return await self._take_warning(alert, judged, held, feed, doubts, document)
            case Duplicate() if alert.msg_type is MsgType.CANCEL and (
                held := await self._ids((decision.of,), AlertState.HELD)
            ):
                # The same for an end: one that may end it by itself does not wait for the other's approval.
                again, ended = await self._end_of_held(alert, judged, feed)
                if ended and isinstance(
                    decide_end(decode_plan(ended[-1]), feed, doubts, self._config.release), Auto
                ):
                    event = [*(row.id for row in ended), *held]
                    return await self._take_cancel(alert, again, event, feed, doubts, document)
            case Cancel():
                return await self._take_cancel(alert, judged, event, feed, doubts, document)
            case Continuation() if not decision.doubt and alert.main.quake is not None:
                # A further report of one earthquake renews nothing: it comes every second.
                return await self._record(alert, judged, judged.plan, event, feed, decision.reason, document)
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
    ) -> Released | Held | Cancelled | Closed:
        assert judged.plan is not None
        release = self._release(judged, feed, doubts)
        plan = replacing(judged.plan, await self._active(event))
        plan = await self._in_form(plan, judged.decision.event_key)
        parts = sounding(plan, self._config.fatigue)
        if not (parts or plan.ends or plan.problems or doubts):
            reason = f"{judged.decision.reason}; {_silence(plan)}"
            return await self._record(alert, judged, plan, event, feed, reason, document)
        auto = isinstance(release, Auto)
        reason = release.text
        row = self._row(
            alert, replace(judged, plan=plan), feed, AlertState.RELEASED if auto else AlertState.HELD, reason
        )
        broadcasts = await self._broadcasts(row, parts) if auto else ()
        entry = Entry(f"feed:{feed}", f"alert.{row.state}", row.id, reason)
        # What waits for an operator is replaced by what its own feed says now, so that only that waits.
        overtaken = () if judged.decision.doubt else await self._waiting(event, feed)
        superseded = event if auto else overtaken
        await self._store.take(row, broadcasts, entry, row.created, document=document, supersedes=superseded)
        await self._tell()
        if not auto:
            return Held(row.id, reason)
        await self._begin(broadcasts)
        ended = await self._end_in_part(row, plan, entry.who)
        return Released(row.id, _whole(broadcasts)) if broadcasts else replace(ended, alerts=tuple(event))

    async def _waiting(self, event: Sequence[str], feed: str) -> list[str]:
        """Those of `event` that are held and came from `feed`."""
        rows = [await self._store.alert(a) for a in event]
        return [row.id for row in rows if row.state is AlertState.HELD and row.source == feed]

    async def _record(
        self,
        alert: Alert,
        judged: Judged,
        plan: Plan | None,
        event: Sequence[str],
        feed: str,
        reason: str,
        document: int,
    ) -> Closed:
        """In force in place of its forerunner, and nobody hears it."""
        row = self._row(alert, replace(judged, plan=plan), feed, AlertState.RELEASED, reason)
        entry = Entry(f"feed:{feed}", "alert.continued", row.id, reason)
        await self._store.take(row, (), entry, row.created, document=document, supersedes=event)
        await self._tell()
        return Closed(row.id, f"not aired again: {reason}")

    async def _end_of_held(self, alert: Alert, judged: Judged, feed: str) -> tuple[Judged, list[AlertRow]]:
        """What a Cancel would be, and would end, if another source's word for it were not held. Nothing where
        it is doubted."""
        known = [
            k
            for k in await self.known()
            if (k.identifier, k.msg_type, k.state)
            != (judged.decision.of, MsgType.CANCEL, lifecycle.State.HELD)
        ]
        again = self.judge(alert, known, moment(wall_ms()), feed=feed)
        if not isinstance(again.decision, Cancel) or again.decision.doubt:
            return again, []
        rows = [await self._store.alert(one) for one in await self._ids(again.decision.withdraws)]
        return again, [row for row in rows if row.msg_type != MsgType.CANCEL]

    async def _take_cancel(
        self,
        alert: Alert,
        judged: Judged,
        event: Sequence[str],
        feed: str,
        doubts: Sequence[str],
        document: int,
    ) -> Cancelled | Held:
        """As `decide_end` says. What nobody has released yet its own feed may always take back."""
        decision = judged.decision
        rows = [await self._store.alert(a) for a in event]
        ended = [row for row in rows if row.msg_type != MsgType.CANCEL]
        waiting = [row.id for row in rows if row.msg_type == MsgType.CANCEL]
        silent = isinstance(decision, Cancel) and decision.silent
        state, reason = AlertState.RELEASED, decision.reason
        taken_back = all(row.state is AlertState.HELD and row.source == feed for row in ended) and not doubts
        if not (silent or taken_back):
            release = decide_end(decode_plan(ended[-1]), feed, doubts, self._config.release)
            state = AlertState.RELEASED if isinstance(release, Auto) else AlertState.HELD
            reason = release.text
        row = self._row(alert, judged, feed, state, reason)
        row = replace(row, msg_type=MsgType.CANCEL)  # also if its source sent it as an Update
        entry = Entry(f"feed:{feed}", f"cancel.{state}", row.id, reason)
        settled = waiting if state is AlertState.RELEASED else ()
        await self._store.take(row, (), entry, row.created, document=document, supersedes=settled)
        await self._tell()
        if state is AlertState.HELD:
            return Held(row.id, reason)
        ids = [r.id for r in ended]
        return await self._carry_out(row, ids, f"feed:{feed}", alert.note or "来源解除", silent=silent)

    async def _carry_out(
        self, cancel: AlertRow, event: Sequence[str], who: str, reason: str, *, silent: bool
    ) -> Cancelled:
        """A Cancel that is in force. One that no source sent is closed then: it says nothing about what is
        yet to come."""
        all_clear = not silent or self._config.fatigue.all_clear_when_unlisted
        done = await self._cancel(event, who, reason, all_clear=all_clear)
        if silent:
            await self._decide(cancel, AlertState.CLOSED, cancel.reason, (), who, "cancel.closed")
        return done

    def _release(self, judged: Judged, feed: str, doubts: Sequence[str]) -> Auto | Hold:
        assert judged.plan is not None
        if Kind.ACTUAL not in self._kinds:
            doubts = [*doubts, f"mode: {self._config.mode}: this controller holds no actual key"]
        return decide(judged.plan, feed, doubts, self._config.release)

    # --- operators -----------------------------------------------------------------------------

    def plan(self, alert: Alert, kind: Kind, *, meant: bool = False) -> Plan:
        """What `send` would do, without doing it; `problems` are what it would refuse. `meant`: the operator
        says that an unusual share of the county is meant. Raises AlertError for a message that says nothing
        to anybody."""
        if not alert.infos:
            raise AlertError(
                "alert", "it has no info: nothing to say", "to end a warning: fenghuo alert cancel ID"
            )
        now = moment(wall_ms())
        alert = self._here(alert, now)
        areas = [self.area(account, now) for account in _accounts(alert)]
        plan = self._plan(alert, kind, "first", areas, meant=meant)
        problems = [*plan.problems, *_unfit(alert, kind)]
        if plan.expires <= now:
            problems.append(f"it expired at {plan.expires.isoformat()}")
        if kind not in self._kinds:
            problems.append(f"mode: {self._config.mode}: this controller holds no {kind} key")
        return replace(plan, problems=tuple(problems))

    async def send(
        self, alert: Alert, kind: Kind, operator: str, *, meant: bool = False
    ) -> Released | Refused:
        """An operator's own act is the release; what planning finds wrong is refused, not held."""
        now = wall_ms()
        plan = self.plan(alert, kind, meant=meant)
        if plan.problems:
            await self._store.note(
                Entry(operator, f"{kind}.refused", alert.identifier, "; ".join(plan.problems)), now
            )
            return Refused(plan.problems)
        decision = New("sent by an operator", alert.event_key)
        judged = Judged(decision, frozenset(v for part in (plan, *plan.also) for v in part.villages), plan)
        alert = self._here(alert, moment(now))
        row = self._row(alert, judged, f"operator:{operator}", AlertState.RELEASED, "")
        broadcasts = await self._broadcasts(row, [plan])
        await self._store.take(row, broadcasts, Entry(operator, f"{kind}.send", row.id, plan.headline), now)
        await self._tell()
        await self._begin(broadcasts)
        return Released(row.id, _whole(broadcasts))

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
        if not (plan.terminals or plan.ends or plan.also):
            return Refused(plan.problems or ("nobody would hear it",))
        event = await self._event_of(row)
        plan = replacing(plan, await self._active(event))
        plan = await self._in_form(plan, row.event_key, asked=True)
        broadcasts = await self._broadcasts(row, sounding(plan, self._config.fatigue))
        done = await self._decide(
            row,
            AlertState.RELEASED,
            "approved",
            broadcasts,
            operator,
            "alert.approve",
            supersedes=event,
            plan=msgspec.json.encode(plan),
        )
        if not done:
            return Refused((f"{alert} was decided by somebody else",))
        await self._begin(broadcasts)
        ended = await self._end_in_part(row, plan, operator)
        return Released(alert, _whole(broadcasts)) if broadcasts else replace(ended, alerts=tuple(event))

    async def reject(self, alert: str, operator: str, reason: str) -> Refused | None:
        """Ends a hold without a sound. None when done. Raises Unknown."""
        row = await self._store.alert(alert)
        if row.state is not AlertState.HELD:
            return Refused((f"{alert} is {row.state}",))
        if not await self._decide(row, AlertState.REJECTED, reason, (), operator, "alert.reject"):
            return Refused((f"{alert} was decided by somebody else",))
        return None

    async def lapse(self, row: AlertRow) -> bool:
        """Ends a hold whose warning is over: nobody decided, nobody heard it. Whether it was still held."""
        reason = f"expired at {moment(row.expires).isoformat()} while it waited for an operator"
        return await self._decide(row, AlertState.CLOSED, reason, (), "controller", "alert.expired")

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
        for alert in await self._store.alerts(state=AlertState.RELEASED):  # released, but was it carried out?
            if alert.msg_type == MsgType.CANCEL:
                silent = lifecycle.GONE in decode_alert(alert).inferred
                event = await self._event_of(alert)
                await self._carry_out(alert, event, alert.source, alert.reason, silent=silent)
            elif alert.plan is not None and alert.expires > wall_ms():
                await self._end_in_part(alert, decode_plan(alert), alert.source)

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
            late = await self._owed(await self._store.alert(plan.alert_id), row.created)
            plan = replace(plan, terminals=tuple(sorted(late | set(plan.terminals))))
            for terminal in set(plan.terminals) - set(row.broadcast.terminals):
                await self._store.add_delivery(plan.id, terminal, wall_ms())
        stopped = stop.is_set()
        state = BroadcastState.STOPPED if stopped else BroadcastState.SENDING
        current = await self._store.broadcast(plan.id)
        row = replace(current, broadcast=plan, state=state)
        await self._store.set_broadcast(row)
        self._stopped.pop(plan.id, None)
        await self._dispatcher.start(row)

    async def _family(self, event_key: str) -> list[BroadcastRow]:
        """The broadcasts of an event, oldest first."""
        members = [r.id for r in await self._recent() if r.event_key == event_key]
        found = [b for member in members for b in await self._store.broadcasts(alert=member)]
        return sorted(found, key=lambda b: b.created)

    async def _owed(self, alert: AlertRow, before: int) -> set[str]:
        """Terminals that are owed an all-clear by `alert`, which ends its event or a part of it: those that
        have sounded anything of it, made before then, and no all-clear since."""
        owed: set[str] = set()
        for b in await self._family(alert.event_key):
            if b.created >= before:
                continue
            if decode_script(b.script).stage == "cancel":
                owed -= set(b.broadcast.terminals)
            else:
                owed.update(await self._heard(b.broadcast.id))
        ends = () if alert.state is AlertState.CANCELLED or alert.plan is None else decode_plan(alert).ends
        owed = {t for t in owed if self._village_of(t) in ends} if ends else owed
        if not owed:
            return owed
        still = await self._still_warned(alert)
        return {t for t in owed if self._village_of(t) not in still}

    async def _still_warned(self, alert: AlertRow) -> set[str]:
        """Villages that another event of the same hazard is in force for: to say that it is over would be
        wrong there."""
        now = wall_ms()
        others = [
            row
            for row in await self._recent()
            if row.hazard == alert.hazard
            and row.event_key != alert.event_key
            and row.kind == alert.kind
            and row.state is AlertState.RELEASED
            and row.msg_type != MsgType.CANCEL
            and row.expires > now
        ]
        return {village for row in others if row.plan for village in decode_plan(row).villages}

    def _village_of(self, terminal: str) -> str:
        known = self._register.terminals.get(terminal)
        return known.village if known else ""

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

    async def _cancel(
        self, alerts: Sequence[str], who: str, reason: str, *, all_clear: bool = True
    ) -> Cancelled:
        done: list[str] = []
        stopped: list[str] = []
        clear: list[str] = []
        for alert in alerts:
            row = await self._store.alert(alert)
            if row.state not in _OPEN:
                continue
            # All of the event: what an earlier message of it sounded is over as well.
            ids, now_stopped = await self._stop_all(row.event_key, who, reason)
            stopped += now_stopped
            plan = decode_plan(row)
            ended = replace(row, plan=None)  # the whole of it, whatever its last message had ended in part
            clears = await self._all_clear(ended, plan, ids, reason) if all_clear else []
            if not await self._decide(row, AlertState.CANCELLED, reason, clears, who, "alert.cancel"):
                continue
            done.append(alert)
            clear += [b.broadcast.id for b in clears]
            await self._begin(clears)
        return Cancelled(tuple(done), tuple(stopped), tuple(clear))

    async def _end_in_part(self, row: AlertRow, plan: Plan, who: str) -> Cancelled:
        """The villages that an Update no longer names hear that it is over for them; nobody else does. Once:
        after a crash again only if it was not done."""
        own = await self._store.broadcasts(alert=row.id)
        if not plan.ends or any(decode_script(b.script).stage == "cancel" for b in own):
            return Cancelled((), (), ())
        reason = "范围缩小"
        ids, stopped = await self._stop_all(row.event_key, who, reason, but=row.id)
        part = replace(plan, villages=plan.ends, places=places_of(set(plan.ends), self._county))
        clears = await self._all_clear(replace(row, plan=msgspec.json.encode(plan)), part, ids, reason)
        if clears:
            await self._decide(
                await self._store.alert(row.id),
                AlertState.RELEASED,
                row.reason,
                clears,
                who,
                "alert.narrowed",
            )
            await self._begin(clears)
        return Cancelled((), tuple(stopped), tuple(b.broadcast.id for b in clears))

    async def _stop_all(
        self, event_key: str, who: str, reason: str, but: str = ""
    ) -> tuple[list[str], list[str]]:
        """Stops what still sounds of an event, except of the alert `but`. Returns all its broadcasts, and
        those that there was anything left to stop of."""
        family = [b for b in await self._family(event_key) if decode_script(b.script).stage != "cancel"]
        family = [b for b in family if b.broadcast.alert_id != but]
        stopped = [
            b.broadcast.id
            for b in family
            if await self._stop(b, Entry(who, "broadcast.stop", b.broadcast.id, reason))
        ]
        ids = [b.broadcast.id for b in family]
        await self._settle(ids)
        return ids, stopped

    async def _all_clear(
        self, row: AlertRow, plan: Plan, ended: Sequence[str], reason: str
    ) -> list[BroadcastRow]:
        """The all-clear where `row`'s event, or its part, had sounded; nothing where it had not."""
        owed = await self._owed(row, wall_ms() + 1)
        if still := sorted(await self._still_warned(row) & set(plan.villages)):
            places = "、".join(places_of(set(still), self._county))
            text = f"no all-clear in {places}: another warning of {plan.hazard} is in force there"
            log.info("%s: %s", row.id, text)
            await self._store.note(Entry("desk", "all-clear.withheld", row.id, text), wall_ms())
        if not owed:
            return []
        clear = plan_all_clear(
            plan,
            sorted(owed),
            now=moment(wall_ms()),
            issuer=self._config.issuer,
            replaces=ended[-MOST_REPLACED:],
            reason=reason,
        )
        return [self._broadcast(row, clear)]

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
        plan: bytes | None = None,
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
            plan=plan,
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

    async def _active(self, alerts: Sequence[str]) -> tuple[str, ...]:
        """Broadcasts of these alerts that may still sound, oldest first; the last MOST_REPLACED."""
        found = [
            b
            for alert in alerts
            for b in await self._store.broadcasts(alert=alert)
            if b.broadcast.expires_ms > self._dispatcher.now() and b.state is not BroadcastState.STOPPED
        ]
        return tuple(b.broadcast.id for b in sorted(found, key=lambda b: b.created))[-MOST_REPLACED:]

    async def _in_form(self, plan: Plan, event: str, *, asked: bool = False) -> Plan:
        """`plan`, divided by what each village has heard. `asked`: an operator wants it said; then nobody is
        left out, and who knows it all hears it briefly."""
        now = moment(wall_ms())
        message = message_of(plan, event, now)
        rules = self._config.fatigue.rules
        if fatigue.exempt(message) or (message.first and not await self._is_in_force(plan.hazard, now)):
            return plan
        heard, terminals = await self._heard_so_far(message, finished=bool(plan.ends))
        villages = {self._village_of(t) for t in plan.terminals}
        verdicts = fatigue.judge_all(message, villages, heard, rules)
        if asked:
            verdicts = {
                v: replace(
                    found, form=fatigue.Form.SHORT, reason=f"{found.reason}; an operator wants it said"
                )
                if found.form is fatigue.Form.SILENT
                else found
                for v, found in verdicts.items()
            }
        known = self._register.terminals
        divided = divide(plan, verdicts, terminals, terminals=known.values(), county=self._county)
        for portion in divided.portions:
            for village in portion.villages:
                log.info("%s: %s in %s: %s", plan.headline, portion.form, village, portion.reason)
        return divided

    async def _is_in_force(self, hazard: str, now: datetime) -> bool:
        """Whether any released warning of this hazard has not ended."""
        return any(
            row.hazard == hazard and row.expires > to_ms(now) and row.state is not AlertState.HELD
            for row in await self._recent()
        )

    async def _heard_so_far(
        self, message: fatigue.Message, *, finished: bool
    ) -> tuple[dict[str, list[fatigue.Sounding]], set[str]]:
        """Per village what it has heard of this event, and of any within a day; and the terminals that have
        sounded this event, or before its first message another one of this hazard that is in force.
        `finished`: what was begun does not count, because it is about to be stopped."""
        event, now = message.event, message.at
        alerts = {r.id: r for r in await self._recent()}
        since = to_ms(now - fatigue.DAY)
        rows = [
            (b, alerts[b.broadcast.alert_id])
            for b in await self._store.broadcasts(limit=1_000)
            if b.broadcast.kind is Kind.ACTUAL
            and b.broadcast.alert_id in alerts
            and (b.created >= since or alerts[b.broadcast.alert_id].event_key == event)
        ]
        states = (delivery.State.PLAYED,) if finished else _SOUNDED
        reached = await self._store.reached([b.broadcast.id for b, _ in rows], states)
        once: dict[tuple[str, bool], tuple[fatigue.Sounding, set[str]]] = {}
        terminals: set[str] = set()
        for b, alert in sorted(rows, key=lambda row: row[0].created):
            script = decode_script(b.script)
            clear = script.stage == "cancel"
            form = fatigue.Form.SHORT if script.short else fatigue.Form.FULL
            who = reached[b.broadcast.id]
            item = fatigue.Sounding(
                moment(b.created),
                alert.event_key,
                script.hazard,
                script.colour,
                form,
                clear,
                until=script.expires,
                instruction=fatigue.words(script.instruction),
            )
            # A lead and its whole, a full and a short form: one message.
            _, villages = once.setdefault((alert.id, clear), (item, set()))
            villages |= {self._village_of(t) for t in who}
            alike = message.first and script.hazard == message.hazard and alert.expires > to_ms(now)
            if alert.event_key == event or alike:
                terminals = terminals - set(b.broadcast.terminals) if clear else terminals | who
        heard: dict[str, list[fatigue.Sounding]] = {}
        for item, villages in once.values():
            for village in villages:
                heard.setdefault(village, []).append(item)
        return heard, terminals

    def area(self, alert: Alert, now: datetime, narrow: bool = False) -> Cut:
        """Whom it concerns here: who is in its area; of an earthquake that names none, who is shaken."""
        info, here, positions = alert.main, self._county, self._register.fleet.positions
        options = self._config.earthquake
        policy = intensity.Policy(options.threshold, options.magnitude_floor, options.zone)
        if info.quake is not None and intensity.sounds_by_intensity(info):
            return intensity.cut_quake(info.quake, here, now, policy, positions=positions)
        area = cut(info.areas, here, narrow=narrow, positions=positions)
        if info.quake is not None:
            return intensity.doubted(area, info.quake, here, now, policy.zone)
        return naming.proposed(area, alert, here) if area.empty and area.problems else area

    def _plan(
        self,
        alert: Alert,
        kind: Kind,
        stage: Stage,
        areas: Sequence[Cut],
        *,
        narrow: bool = False,
        meant: bool = False,
    ) -> Plan:
        """`areas`: one for each of the accounts of `alert`."""
        worst, *others = [
            plan_alert(
                account,
                kind,
                stage,
                area,
                county=self._county,
                terminals=self._register.fleet,
                settings=self._config.broadcast,
                issuer=self._config.issuer,
                targeting=self._config.targeting,
                narrow=narrow,
                meant=meant,
            )
            for account, area in zip(_accounts(alert), areas, strict=True)
        ]
        return beside(worst, others)

    def _here(self, alert: Alert, now: datetime, narrow: bool = False) -> Alert:
        """`alert` with what it says of this county alone, the worst first; as it is where that is nothing. It
        may say one thing here and another, worse or milder, elsewhere."""
        if len(alert.infos) < 2:
            return alert
        accounts = _accounts(alert)
        areas = [self.area(account, now, narrow) for account in accounts]
        ours = [a.main for a, area in zip(accounts, areas, strict=True) if not area.empty or area.problems]
        chosen = ours or [a.main for a in accounts]
        rest = [info for info in alert.infos if info.language != chosen[0].language]
        return replace(alert, infos=(*chosen, *rest))

    async def _broadcasts(self, alert: AlertRow, parts: Sequence[Plan]) -> list[BroadcastRow]:
        """One for each part, in that order also for who sorts by `created`."""
        rows = [row for part in parts for row in await self._in_two(alert, part)]
        return [replace(row, created=rows[0].created + n) for n, row in enumerate(rows)]

    async def _in_two(self, alert: AlertRow, plan: Plan) -> list[BroadcastRow]:
        """The whole; before it, where its sound must still be made and people must act, a lead."""
        whole = self._broadcast(alert, plan)
        if plan.kind is Kind.TEST or plan.script.short or await self._voicing.known(plan.script):
            return [whole]
        lead = self._broadcast(alert, replace(plan, repeats=1))
        lead = replace(lead, broadcast=replace(lead.broadcast, part=Part.LEAD))
        return [lead, whole]

    def _broadcast(self, alert: AlertRow, plan: Plan) -> BroadcastRow:
        now = wall_ms()
        broadcast = to_broadcast(
            plan, new_id("B", moment(now)), alert.id, wall=moment(now), wire_ms=self._dispatcher.now()
        )
        return BroadcastRow(BroadcastState.VOICING, now, broadcast, msgspec.json.encode(plan.script))

    def _row(self, alert: Alert, judged: Judged, source: str, state: AlertState, reason: str) -> AlertRow:
        now = wall_ms()
        known = lifecycle.remember(
            alert,
            judged.decision,
            judged.villages,
            lifecycle.State.CLOSED,
            trust=self.trust(source),
            feed=source,
        )
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
_TRUSTS: Final = list(Trust)
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


def _is_milder(colour: Colour | None, than: Colour | None) -> bool:
    return than is not None and (colour is None or colour.rank > than.rank)


def _whole(broadcasts: Sequence[BroadcastRow]) -> str:
    """The broadcast that stands for a message: the whole of its fullest form."""
    return next(b.broadcast.id for b in broadcasts if b.broadcast.part is Part.WHOLE)


def _silence(plan: Plan) -> str:
    return "; ".join(dict.fromkeys(p.reason for p in plan.portions if p.form is fatigue.Form.SILENT))


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


def _accounts(alert: Alert) -> list[Alert]:
    """One message for each of its accounts."""
    return [replace(alert, infos=(account,)) for account in alert.accounts]


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
    known = msgspec.json.decode(row.known, type=Known)
    return replace(known, state=_AS_KNOWN[row.state], msg_type=MsgType(row.msg_type))
