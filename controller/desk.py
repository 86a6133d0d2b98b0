"""The duty desk: what feeds and operators can do with a warning, from plan to release to all-clear.

One straight road for both: plan, decide, store (plan and deliveries in one transaction), voice, dispatch.
Every refusal is a value with a reason (`Refused`), never a silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
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
from controller.admission import VOICING, Turns
from controller.clock import moment, to_ms, wall_ms
from controller.dispatch import Dispatcher, Run, spread_ms
from controller.ids import new_id
from controller.metrics import Metrics
from controller.planning import (
    Plan,
    Stage,
    beside,
    counted_down,
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
from controller.staging import Staging
from controller.store import Store, StoreError, Unknown
from controller.store.records import (
    AlertLine,
    AlertRow,
    AlertState,
    BroadcastRow,
    BroadcastState,
    CommandRow,
    Entry,
)
from controller.voicing import Voicing, profiles_of
from terminals import delivery
from terminals.broadcast import Broadcast, Kind, Lane, Part, Variant
from tts import floor, verdict
from tts.airtime import Profile
from tts.script import ScriptRequest

log = logging.getLogger(__name__)

# Warnings older than this cannot concern an update any more (the longest CMA validity is 72 h).
MEMORY: Final = timedelta(days=7)
# A cancel waits this long for terminals to say whether they had sounded, then airs the all-clear.
HEARD_WAIT_S: Final = 3.0
OUT_WAIT_S: Final = 0.2
# While a doubted sound waits, the wire clock is looked at so often: it may be put right meanwhile.
LOOK_S: Final = 10.0
# Whatever a damaged row or a clock says: no hold of a sound is longer.
LONGEST_HOLD_S: Final = 600.0
# A message that keeps being replaced before it was spoken is spoken after this: somebody must hear something.
LONGEST_UNSPOKEN_MS: Final = 20_000
# Half a megabit per second, the slowest line that terminals are planned for (design §4), in bytes per ms.
SLOW_LINE: Final = 62.5
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


@dataclass(slots=True)
class _InHand:
    """A broadcast between its plan and its first command."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it is not to be sent any more: the voice has others to serve."""
    stopped_by: Entry | None = None
    replaced: bool = False
    voiced: bool = False
    """About to go out: too late to replace it here; the terminals do that."""
    doubt: verdict.Hold | verdict.TakeFlagged | None = None
    """What is wrong with its sound."""
    air: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when somebody airs it although its sound is doubted."""


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
        staging: Staging | None = None,
        released: Callable[[Plan], None] | None = None,
    ) -> None:
        """`kinds`: those whose keys are loaded; in drill mode there is no actual key. `staging`: what
        terminals hold ahead. `released`: told of every plan that goes out."""
        self._staging = staging
        self._released = released
        self._turns = Turns(VOICING)
        self._memo: dict[str, Known] = {}
        self._unspoken: dict[str, int] = {}
        """Event → since when its messages have been replaced before one of them was spoken."""
        self._kinds = kinds
        self._config = config
        self._county = county
        self._store = store
        self._register = register
        self._dispatcher = dispatcher
        self._voicing = voicing
        self._metrics = metrics
        self._to_voice: asyncio.Queue[BroadcastRow] = asyncio.Queue(1_000)
        self._in_hand: dict[str, _InHand] = {}
        """Broadcasts that wait for the voice or are being voiced."""
        self.changed = asyncio.Condition()
        """Notified when an alert is held, released or decided."""

    # --- feeds ---------------------------------------------------------------------------------

    async def known(self) -> list[Known]:
        """What lifecycle compares a new document with."""
        now = moment(wall_ms())
        lines = await self._recent()
        fresh = await self._store.known([line.id for line in lines if line.id not in self._memo])
        self._memo = {line.id: self._memo[line.id] for line in lines if line.id in self._memo}
        self._memo |= {i: msgspec.json.decode(body, type=Known) for i, body in fresh.items()}
        return [item for line in lines if lifecycle.matters(item := self._now_known(line), now)]

    def _now_known(self, line: AlertLine) -> Known:
        known = self._memo[line.id]
        return replace(known, state=_AS_KNOWN[line.state], msg_type=MsgType(line.msg_type))

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
                falls = _is_milder(plan.colour, last) and stage != "cancel"
                plan = replace(
                    plan,
                    script=replace(plan.script, stage="downgrade", was=last) if falls else plan.script,
                    news=lifecycle.is_news(decision) or bool(plan.also),
                    falls=falls,
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
        commands = await self._store.take(
            row,
            broadcasts,
            entry,
            row.created,
            document=document,
            supersedes=superseded,
            commands=[c for b in broadcasts if _at_once(b) for c in self._dispatcher.prepare(b)],
        )
        await self._begin(broadcasts, commands)
        await self._tell()
        if not auto:
            return Held(row.id, reason)
        await self._overtake(broadcasts)
        self._tell_released(plan)
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
        self,
        alert: Alert,
        kind: Kind,
        operator: str,
        *,
        meant: bool = False,
        siren: str = "",
        volume: int | None = None,
    ) -> Released | Refused:
        """An operator's own act is the release; what planning finds wrong is refused, not held. `volume`: of
        a test, played once, percent; 0 is a silent one."""
        now = wall_ms()
        plan = self.plan(alert, kind, meant=meant)
        if volume is not None:
            assert kind is Kind.TEST
            plan = replace(plan, repeats=1, volume=max(1, volume), silent=volume == 0)
        if siren:
            script = replace(plan.script, siren=siren)
            plan = replace(
                plan, script=script, repeats=1, problems=(*plan.problems, *self._no_siren(siren, kind))
            )
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
        commands = await self._store.take(
            row,
            broadcasts,
            Entry(
                operator,
                "exercise.siren" if siren else f"{kind}.send",
                row.id,
                f"{siren} {plan.headline}".strip(),
            ),
            now,
            commands=[c for b in broadcasts if _at_once(b) for c in self._dispatcher.prepare(b)],
        )
        await self._begin(broadcasts, commands)
        await self._tell()
        self._tell_released(plan)
        return Released(row.id, _whole(broadcasts))

    def siren_problems(self, alert: Alert, pattern: str) -> list[str]:
        """What `send` would refuse a siren for. Raises AlertError."""
        return [*self.plan(alert, Kind.EXERCISE).problems, *self._no_siren(pattern, Kind.EXERCISE)]

    def _no_siren(self, pattern: str, kind: Kind) -> list[str]:
        """Why this siren of civil defence may not sound."""
        permit = self._config.sirens
        if kind is not Kind.EXERCISE:
            return [f"a siren of civil defence sounds in an exercise only, never as {kind}"]
        if permit is None:
            return ["the county's configuration permits no siren (sirens:)"]
        if pattern not in permit.patterns:
            return [f"siren {pattern} is not permitted; {', '.join(permit.patterns)}"]
        return []

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
        await self._overtake(broadcasts)
        self._tell_released(plan)
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

    async def stop_all(self, operator: str, reason: str = "") -> tuple[str, ...]:
        """Silence everywhere, now: what sounds, what waits, what is still being voiced; nobody who comes late
        gets any of it. No all-clear. Holds are not touched. Returns the broadcasts that there was anything
        left to stop of. What cannot be written to the disk stops all the same."""
        active = (BroadcastState.VOICING, BroadcastState.SENDING, BroadcastState.DONE)
        now = self._dispatcher.now()
        rows = [
            row
            for row in await self._store.broadcasts(states=active, limit=10_000)
            if row.broadcast.expires_ms > now or row.state is not BroadcastState.DONE
        ]
        rows.sort(key=lambda row: row.state is BroadcastState.VOICING)  # what sounds already first
        stopped = await asyncio.gather(
            *(self._stop(row, Entry(operator, "broadcast.stop", row.broadcast.id, reason)) for row in rows)
        )
        done = tuple(row.broadcast.id for row, was in zip(rows, stopped, strict=True) if was)
        entry = Entry(operator, "broadcast.stop-all", f"{len(done)} broadcasts", reason)
        await self._dispatcher.keep(partial(self._store.note, entry, wall_ms()))
        return done

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
            if row.state is BroadcastState.SUPERSEDED:
                continue
            if row.state is BroadcastState.VOICING:
                log.info("%s was being voiced when the controller ended; voicing it again", row.broadcast.id)
                waiting.append(row)
            elif row.done is None:
                await self._dispatcher.resume(row)
            elif row.broadcast.expires_ms > now and row.state is BroadcastState.DONE:
                alert = await self._store.alert(row.broadcast.alert_id)
                if alert.state not in _OVER:  # whoever comes late still gets it
                    await self._dispatcher.resume(row)
        await self._begin(sorted(waiting, key=lambda row: (row.created, row.broadcast.part is Part.WHOLE)))
        for alert in await self._store.alerts(state=AlertState.RELEASED):  # released, but was it carried out?
            if alert.msg_type == MsgType.CANCEL:
                silent = lifecycle.GONE in decode_alert(alert).inferred
                event = await self._event_of(alert)
                await self._carry_out(alert, event, alert.source, alert.reason, silent=silent)
            elif alert.plan is not None and alert.expires > wall_ms():
                await self._end_in_part(alert, decode_plan(alert), alert.source)

    async def _begin(self, broadcasts: Sequence[BroadcastRow], commands: Sequence[CommandRow] = ()) -> None:
        """What terminals hold goes out at once, with its `commands` if they are committed; the rest is voiced
        first."""
        for row in broadcasts:
            self._metrics.broadcasts.labels(row.broadcast.kind).inc()
            if not _at_once(row):
                self._in_hand[row.broadcast.id] = _InHand()
            else:
                own = [c for c in commands if c.broadcast == row.broadcast.id]
                run = await self._dispatcher.start(row, own)
                # Nothing else is begun before it is out; a broker that is away holds up no voice.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(OUT_WAIT_S):
                        await run.out.wait()
        for row in broadcasts:
            if not _at_once(row):
                await self._to_voice.put(row)

    def _tell_released(self, plan: Plan) -> None:
        if self._released is not None:
            self._released(plan)

    async def _voice_and_send(self, row: BroadcastRow) -> None:
        hand = self._in_hand.setdefault(row.broadcast.id, _InHand())
        try:
            await self._voice_and_send_unless(row, hand)
        finally:
            self._in_hand.pop(row.broadcast.id, None)

    async def _voice_and_send_unless(self, row: BroadcastRow, hand: _InHand) -> None:
        script = decode_script(row.script)
        variants = await _unless(hand.stop, self._voiced(row, hand))
        if hand.doubt is not None and not hand.stop.is_set():
            row = await self._doubted(row, hand, hand.doubt)
        if hand.stop.is_set():
            variants = ()
        plan = replace(row.broadcast, variants=variants)
        if script.stage == "cancel":
            late = await self._owed(await self._store.alert(plan.alert_id), row.created)
            plan = replace(plan, terminals=tuple(sorted(late | set(plan.terminals))))
            for terminal in set(plan.terminals) - set(row.broadcast.terminals):
                await self._dispatcher.keep(partial(self._store.add_delivery, plan.id, terminal, wall_ms()))
        if hand.replaced:
            return
        hand.voiced = True
        stopped_by = hand.stopped_by
        self._unspoken.pop(plan.event_key, None)
        if stopped_by is None:
            row = replace(row, state=BroadcastState.SENDING)
            plan = replace(plan, play_at=self._together(plan))
        else:
            row = replace(row, state=BroadcastState.STOPPED, stopped_by=stopped_by.who)
        row = replace(row, broadcast=plan)
        await self._dispatcher.keep(partial(self._store.set_broadcast, row))
        await self._dispatcher.start(row)
        if stopped_by is None and hand.stopped_by is not None:  # while that was being stored
            await self._dispatcher.stop(plan.id, hand.stopped_by)

    async def air(self, broadcast: str, operator: str) -> Refused | None:
        """Does not let it wait any longer for a better voice. None when done. Raises Unknown."""
        row = await self._store.broadcast(broadcast)
        entry = Entry(operator, "broadcast.air", broadcast, row.doubt)
        if not await self._store.air(broadcast, entry, wall_ms()):
            return Refused((f"{broadcast} does not wait because of its sound; it is {row.state}",))
        if (hand := self._in_hand.get(broadcast)) is not None:
            hand.air.set()
        return None

    async def doubted(self) -> list[tuple[BroadcastRow, AlertRow]]:
        """What waits because no voice says it right, oldest first."""
        rows = await self._store.broadcasts(states=(BroadcastState.VOICING,), limit=1_000)
        waiting = [row for row in rows if row.airs is not None and row.aired_by is None]
        return [(row, await self._store.alert(row.broadcast.alert_id)) for row in reversed(waiting)]

    async def _doubted(
        self, row: BroadcastRow, hand: _InHand, doubt: verdict.Hold | verdict.TakeFlagged
    ) -> BroadcastRow:
        """Stores what is wrong with its sound; if it may wait, until somebody airs, stops or replaces it, or
        its clock is out, which is at half of its life at the latest: silence is worse."""
        now, ends = self._dispatcher.now(), row.broadcast.expires_ms
        airs = None
        if isinstance(doubt, verdict.Hold):
            airs = min(now + doubt.minutes * 60_000, now + max(0, ends - now) // 2)
        entry = Entry(
            "desk", "broadcast.doubted" if airs is None else "broadcast.waits", row.broadcast.id, doubt.why
        )
        try:
            row = await self._store.doubt(row.broadcast.id, doubt.why, airs, entry, wall_ms())
        except StoreError as error:
            log.error(
                "%s: what is wrong with its sound (%s) cannot be stored: %s",
                row.broadcast.id,
                doubt.why,
                error,
            )
            return replace(row, doubt=doubt.why)  # a full disk must not silence it
        log.warning("%s: its sound is doubted: %s", row.broadcast.id, doubt.why)
        await self._tell()
        clock = asyncio.get_running_loop()
        last = clock.time() + LONGEST_HOLD_S
        while airs is not None and row.airs is not None and row.aired_by is None:
            left = min((row.airs - self._dispatcher.now()) / 1000, last - clock.time())
            if left <= 0 or hand.air.is_set() or hand.stop.is_set() or await self._said_by_whole(row, hand):
                break
            await _either(hand.air, hand.stop, min(left, LOOK_S))
        await self._tell()
        return row

    async def _said_by_whole(self, row: BroadcastRow, hand: _InHand) -> bool:
        """A lead that still waits when its whole message has gone out is not needed any more."""
        if row.broadcast.part is not Part.LEAD:
            return False
        for other in await self._store.broadcasts(alert=row.broadcast.alert_id):
            same = set(row.broadcast.terminals) <= set(other.broadcast.terminals)
            out = other.state in (BroadcastState.SENDING, BroadcastState.DONE)
            if other.broadcast.part is Part.WHOLE and out and same:
                await self._supersede(row, other.broadcast.id, hand)
                return True
        return False

    async def _supersede(self, old: BroadcastRow, by: str, hand: _InHand) -> None:
        text = f"a newer message of its event, {by}, replaced it before it was sent"
        hand.replaced = True
        hand.stop.set()
        now = wall_ms()
        row = replace(old, state=BroadcastState.SUPERSEDED, stopped_by=by, done=now)
        entry = Entry("desk", "broadcast.superseded", old.broadcast.id, text)
        await self._dispatcher.keep(partial(self._store.set_broadcast, row, entry, now))
        log.info("%s: %s", old.broadcast.id, text)

    async def _flag(self, broadcast: str, hand: _InHand, doubt: verdict.Hold | verdict.TakeFlagged) -> None:
        """What is wrong with its sound, found before it went out or after."""
        if not hand.voiced:
            hand.doubt = doubt
            return
        entry = Entry("desk", "broadcast.doubted", broadcast, doubt.why)
        await self._dispatcher.keep(partial(self._store.doubt, broadcast, doubt.why, None, entry, wall_ms()))
        await self._tell()

    async def _voiced(self, row: BroadcastRow, hand: _InHand) -> tuple[Variant, ...]:
        """Its sound, when it is its turn at the voice."""
        p = row.broadcast.priority
        script = decode_script(row.script)
        whole = int(row.broadcast.part is Part.WHOLE and script.stage != "cancel")
        order = (p.kind_rank, whole, p.lane, p.colour, p.issuer_level)
        async with self._turns.turn(order):
            return await self._voicing.voice(
                script,
                row.broadcast.part,
                self.profiles(row.broadcast.terminals),
                doubted=partial(self._flag, row.broadcast.id, hand),
            )

    def _together(self, plan: Broadcast) -> int:
        """Wire time at which all its loudspeakers start at one moment, after whatever they must fetch; 0
        where each starts as soon as it can."""
        ahead = self._config.broadcast.together
        if ahead is None or plan.priority.lane == Lane.FAST or not plan.variants:
            return 0
        held = self._staging.pinned() if self._staging is not None else set()
        fetched = [v.size for v in plan.variants if v.sha256 not in held]
        needed = spread_ms(len(plan.terminals)) + max(fetched) / SLOW_LINE if fetched else 0.0
        return self._dispatcher.now() + int(max(ahead * 1000, min(needed, plan.patience_ms)))

    async def _overtake(self, fresh: Sequence[BroadcastRow]) -> None:
        """What the voice still has in hand, and `fresh` replaces for everybody who would have heard it, is
        not sent. A message whose turn never comes because it is always replaced is spoken after a while."""
        gone = {b for row in fresh for b in row.broadcast.replaces}
        reach = {t for row in fresh for t in row.broadcast.terminals}
        if not gone:
            return
        now = wall_ms()
        for old in await self._store.broadcasts(states=(BroadcastState.VOICING,), limit=10_000):
            plan = old.broadcast
            if plan.id not in gone or not set(plan.terminals) <= reach:
                continue
            hand = self._in_hand.get(plan.id)
            if hand is None or hand.voiced or hand.stopped_by is not None:
                continue
            since = self._unspoken.setdefault(plan.event_key, old.created)
            if now - since > LONGEST_UNSPOKEN_MS and plan.part is Part.LEAD:
                continue
            by = next(row.broadcast.id for row in fresh if plan.id in row.broadcast.replaces)
            await self._supersede(old, by, hand)

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
            await self._store.alert(row.id)
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
        if (hand := self._in_hand.get(broadcast)) is not None:
            if hand.replaced or hand.stopped_by is not None:
                return False
            hand.stopped_by = entry
            hand.stop.set()
            ended = replace(row, state=BroadcastState.STOPPED, stopped_by=entry.who)
            await self._dispatcher.keep(partial(self._store.set_broadcast, ended, entry, wall_ms()))
            return True
        run = self._dispatcher.runs.get(broadcast)
        if run is None or run.row.state is not BroadcastState.SENDING:
            self._dispatcher.shut(broadcast)
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

    async def _recent(self) -> list[AlertLine]:
        return await self._store.lines(wall_ms() - int(MEMORY.total_seconds() * 1000))

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
            if b.broadcast.expires_ms > self._dispatcher.now()
            and b.state not in (BroadcastState.STOPPED, BroadcastState.SUPERSEDED)
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
        if plan.lane is Lane.FAST and plan.kind is not Kind.TEST and not plan.script.short:
            return [self._held(alert, plan), whole]
        if (
            plan.kind is Kind.TEST
            or plan.script.short
            or plan.script.siren
            or await self._voicing.known(plan.script, self.profiles(plan.terminals))
        ):
            return [whole]
        lead = self._broadcast(alert, replace(plan, repeats=1))
        lead = replace(lead, broadcast=replace(lead.broadcast, part=Part.LEAD))
        return [lead, whole]

    def _held(self, alert: AlertRow, plan: Plan) -> BroadcastRow:
        """The lead in the fast lane: the clip of the hazard that terminals hold, and for an earthquake what
        they need to count down by themselves. Nothing has to be made, so it goes out with the plan."""
        lead = self._broadcast(alert, plan)
        wall = wall_ms()
        variants: tuple[Variant, ...] = ()
        countdown = ""
        if self._staging is not None:
            variants = self._staging.held(plan.kind, plan.hazard)
            countdown = self._staging.countdown(plan.kind)
        if not variants:
            _, clip = floor.generic(plan.kind.value, "first", plan.hazard)
            variants = (Variant(clip.language, clip.codec, clip.sha256, clip.size, clip.seconds),)
        quake = counted_down(plan, countdown, self._dispatcher.now() - wall)
        plain = replace(lead.broadcast, part=Part.LEAD, variants=variants, quake=quake)
        return replace(lead, state=BroadcastState.SENDING, broadcast=plain)

    def profiles(self, terminals: Iterable[str]) -> dict[Profile, int]:
        """What these loudspeakers can be told, with how many of each."""
        known = self._register.terminals
        return profiles_of(known[terminal] for terminal in terminals if terminal in known)

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


_OVER: Final = (AlertState.CANCELLED, AlertState.REJECTED, AlertState.CLOSED)
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


def _at_once(row: BroadcastRow) -> bool:
    """Whether it names a sound that terminals hold: nothing is to be voiced."""
    return row.state is BroadcastState.SENDING


def _whole(broadcasts: Sequence[BroadcastRow]) -> str:
    """The broadcast that stands for a message: the whole of its fullest form."""
    return next(b.broadcast.id for b in broadcasts if b.broadcast.part is Part.WHOLE)


def _silence(plan: Plan) -> str:
    return "; ".join(dict.fromkeys(p.reason for p in plan.portions if p.form is fatigue.Form.SILENT))


async def _either(one: asyncio.Event, other: asyncio.Event, seconds: float) -> None:
    """Until one of them is set; `seconds` at most."""
    waits = [asyncio.create_task(event.wait(), name="voice.held") for event in (one, other)]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


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
