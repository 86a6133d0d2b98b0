"""The duty desk: what feeds and operators do with a warning, from release to all-clear.

One straight road for both: judge (`controller.judging`), decide, store (plan and deliveries in one
transaction), send out (`controller.outgoing`). Every refusal is a value with a reason (`Refused`), never a
silence.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Final

import msgspec

from alerts import fatigue, lifecycle
from alerts.lifecycle import Cancel, Continuation, Duplicate, Ignored, Label, New, Update
from alerts.model import Alert, MsgType
from alerts.regions import County
from config.schema import Config
from controller.clock import moment, to_ms, wall_ms
from controller.dispatch import STANDING_AFTER_MS, Dispatcher, Run
from controller.events import MOST_REPLACED, OPEN, Events, decode_alert, decode_plan, decode_script
from controller.ids import new_id
from controller.judging import Judged, Judging
from controller.outgoing import Outgoing, at_once
from controller.planning import Plan, places_of, plan_all_clear, replacing, sounding
from controller.planning import standing as as_standing
from controller.release import Auto, decide_end
from controller.standing import KEPT
from controller.store import Store
from controller.store.records import AlertRow, AlertState, BroadcastRow, BroadcastState, Entry
from terminals.broadcast import Kind, Part

log = logging.getLogger(__name__)

# A cancel waits this long for terminals to say whether they had sounded, then airs the all-clear.
HEARD_WAIT_S: Final = 3.0
_OVER: Final = (AlertState.CANCELLED, AlertState.REJECTED, AlertState.CLOSED)
_AS_STORED: Final = {
    lifecycle.State.HELD: AlertState.HELD,
    lifecycle.State.RELEASED: AlertState.RELEASED,
    lifecycle.State.SUPERSEDED: AlertState.SUPERSEDED,
    lifecycle.State.CANCELLED: AlertState.CANCELLED,
    lifecycle.State.CLOSED: AlertState.CLOSED,
}


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
        dispatcher: Dispatcher,
        judging: Judging,
        events: Events,
        outgoing: Outgoing,
        *,
        released: Callable[[Plan], None] | None = None,
    ) -> None:
        """`released`: told of every plan that goes out."""
        self._config = config
        self._county = county
        self._store = store
        self._dispatcher = dispatcher
        self.judging = judging
        self.events = events
        self.outgoing = outgoing
        self._released = released

    async def take(
        self, alert: Alert, judged: Judged, *, feed: str, doubts: Sequence[str], document: int
    ) -> Released | Held | Cancelled | Closed:
        """Carries out what was judged of a document from `feed`."""
        alert = judged.alert or alert
        decision = judged.decision
        doubts = [*doubts, decision.doubt] if decision.doubt else list(doubts)
        event = await self.events.ids(decision.withdraws, but=decision.spares)
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
                held := await self.events.ids((decision.of,), AlertState.HELD, but=decision.spares)
            ):
                # One that may sound by itself releases what another source brought first.
                if isinstance(self.judging.release(judged, feed, doubts), Auto):
                    return await self._take_warning(alert, judged, held, feed, doubts, document)
            case Duplicate() if alert.msg_type is MsgType.CANCEL and (
                held := await self.events.ids((decision.of,), AlertState.HELD, but=decision.spares)
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
        return await self._keep_quiet(alert, judged, event, feed, doubts, document)

    async def _keep_quiet(
        self,
        alert: Alert,
        judged: Judged,
        event: Sequence[str],
        feed: str,
        doubts: Sequence[str],
        document: int,
    ) -> Closed:
        """Recorded. What ends an event that is not known here yet stays in force, so that a warning which
        comes late stays silent; but only from a source whose own warnings would sound."""
        decision = judged.decision
        trusted = judged.plan is not None and isinstance(self.judging.release(judged, feed, doubts), Auto)
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
        release = self.judging.release(judged, feed, doubts)
        plan = replacing(judged.plan, await self.events.active(event))
        plan = await self.events.in_form(plan, judged.decision.event_key)
        parts = sounding(plan, self._config.fatigue)
        if not (parts or plan.ends or plan.problems or doubts):
            reason = f"{judged.decision.reason}; {_silence(plan)}"
            return await self._record(alert, judged, plan, event, feed, reason, document)
        auto = isinstance(release, Auto)
        reason = release.text
        row = self._row(
            alert, replace(judged, plan=plan), feed, AlertState.RELEASED if auto else AlertState.HELD, reason
        )
        broadcasts = await self.outgoing.broadcasts(row, parts) if auto else ()
        entry = Entry(f"feed:{feed}", f"alert.{row.state}", row.id, reason)
        # What waits for an operator is replaced by what its own feed says now, so that only that waits.
        overtaken = () if judged.decision.doubt else await self.events.waiting(event, feed)
        superseded = event if auto else overtaken
        commands = await self._store.take(
            row,
            broadcasts,
            entry,
            row.created,
            document=document,
            supersedes=superseded,
            commands=[c for b in broadcasts if at_once(b) for c in self._dispatcher.prepare(b)],
        )
        await self.outgoing.begin(broadcasts, commands)
        await self.events.tell()
        if not auto:
            return Held(row.id, reason)
        await self.outgoing.overtake(broadcasts)
        self._tell_released(plan)
        ended = await self._end_in_part(row, plan, entry.who)
        return Released(row.id, _whole(broadcasts)) if broadcasts else replace(ended, alerts=tuple(event))

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
        await self.events.tell()
        return Closed(row.id, f"not aired again: {reason}")

    async def _end_of_held(self, alert: Alert, judged: Judged, feed: str) -> tuple[Judged, list[AlertRow]]:
        """What a Cancel would be, and would end, if another source's word for it were not held. Nothing where
        it is doubted."""
        known = [
            k
            for k in await self.events.known()
            if (k.identifier, k.msg_type, k.state)
            != (judged.decision.of, MsgType.CANCEL, lifecycle.State.HELD)
        ]
        again = self.judging.judge(alert, known, moment(wall_ms()), feed=feed)
        if not isinstance(again.decision, Cancel) or again.decision.doubt:
            return again, []
        ids = await self.events.ids(again.decision.withdraws, but=again.decision.spares)
        rows = [await self._store.alert(one) for one in ids]
        return again, [row for row in rows if row.msg_type != MsgType.CANCEL]

    async def _take_cancel(
        self,
        alert: Alert,
        judged: Judged,
        event: Sequence[str],
        feed: str,
        doubts: Sequence[str],
        document: int,
    ) -> Cancelled | Held | Closed:
        """As `decide_end` says. What nobody has released yet its own feed may always take back."""
        decision = judged.decision
        rows = [await self._store.alert(a) for a in event]
        ended = [row for row in rows if row.msg_type != MsgType.CANCEL]
        if not ended:  # since it was judged, an operator has ended it
            over = Ignored("what it ends is no longer in force", decision.event_key, decision.of)
            return await self._keep_quiet(alert, replace(judged, decision=over), (), feed, doubts, document)
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
        await self.events.tell()
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
        plan = self.judging.plan(alert, kind, moment(now), meant=meant)
        if volume is not None:
            assert kind is Kind.TEST
            plan = replace(plan, repeats=1, volume=max(1, volume), silent=volume == 0)
        if siren:
            script = replace(plan.script, siren=siren)
            plan = replace(
                plan, script=script, repeats=1, problems=(*plan.problems, *self.judging.no_siren(siren, kind))
            )
        deed = Entry(
            operator,
            "exercise.siren" if siren else f"{kind}.send",
            "",
            f"{siren} {plan.headline}".strip(),
        )
        return await self._send(alert, plan, deed)

    async def standing(self, alert: Alert, kind: Kind, days: int, *, meant: bool = False) -> Plan:
        """What `keep` would do, without doing it. Raises AlertError as `Judging.plan`."""
        now = wall_ms()
        plan = self.judging.plan(alert, kind, moment(now), meant=meant)
        kept = [row.broadcast for row in await self._store.standing(now) if row.state in KEPT]
        many = Counter(terminal for one in kept for terminal in one.terminals)
        return as_standing(plan, alert.sent + timedelta(days=days), many)

    async def keep(
        self, alert: Alert, kind: Kind, operator: str, days: int, *, meant: bool = False
    ) -> Released | Refused:
        """An operator's message for the terminals to keep: it makes no sound, but a hand there may make it
        sound at any time. So what would refuse it now refuses it."""
        plan = await self.standing(alert, kind, days, meant=meant)
        return await self._send(alert, plan, Entry(operator, "standing.send", "", f"{kind} {plan.headline}"))

    async def _send(self, alert: Alert, plan: Plan, deed: Entry) -> Released | Refused:
        """`deed`: without its subject."""
        now, kind, operator = wall_ms(), plan.kind, deed.who
        if plan.problems:
            await self._store.note(
                Entry(operator, f"{kind}.refused", alert.identifier, "; ".join(plan.problems)), now
            )
            return Refused(plan.problems)
        decision = New("sent by an operator", alert.event_key)
        judged = Judged(decision, frozenset(v for part in (plan, *plan.also) for v in part.villages), plan)
        alert = self.judging.here(alert, moment(now))
        state = AlertState.STANDING if plan.standing else AlertState.RELEASED
        row = self._row(alert, judged, f"operator:{operator}", state, "")
        broadcasts = await self.outgoing.broadcasts(row, [plan])
        commands = await self._store.take(
            row,
            broadcasts,
            replace(deed, subject=row.id),
            now,
            commands=[c for b in broadcasts if at_once(b) for c in self._dispatcher.prepare(b)],
        )
        await self.outgoing.begin(broadcasts, commands)
        await self.events.tell()
        if not plan.standing:
            self._tell_released(plan)
        return Released(row.id, _whole(broadcasts))

    async def drop(self, broadcast: str, operator: str, reason: str = "") -> Refused | None:
        """A standing message that no hand may sound any more; acknowledged per terminal, by who is away when
        it comes back. None when done. Raises Unknown."""
        row = await self._store.broadcast(broadcast)
        if not row.broadcast.standing:
            return Refused((f"{broadcast} is no standing message; to stop it: fenghuo broadcast stop",))
        gone = row.broadcast.expires_ms <= self._dispatcher.now()
        if gone or not await self.outgoing.stop(row, Entry(operator, "standing.drop", broadcast, reason)):
            if gone:
                return Refused((f"{broadcast} has expired; no hand can sound it",))
            return Refused((f"{broadcast} is dropped already; no hand can sound it",))
        return None

    async def approve(self, alert: str, operator: str) -> Released | Cancelled | Refused:
        """Releases what is held. Raises Unknown."""
        now = wall_ms()
        row = await self._store.alert(alert)
        if row.state is not AlertState.HELD:
            return Refused((f"{alert} is {row.state}" + (f" by {row.decided_by}" if row.decided_by else ""),))
        if row.msg_type == MsgType.CANCEL:
            event = await self.events.event_of(row)
            if not await self._decide(row, AlertState.RELEASED, "approved", (), operator, "alert.approve"):
                return Refused((f"{alert} was decided by somebody else",))
            return await self._cancel(event, operator, "核准解除")
        plan = decode_plan(row)
        if plan.expires <= moment(now):
            return Refused((f"it expired at {plan.expires.isoformat()}",))
        if plan.kind not in self.judging.kinds:
            return Refused((f"mode: {self._config.mode}: this controller holds no {plan.kind} key",))
        # What was wrong with the area does not go away by approving: nobody is in it.
        if not (plan.terminals or plan.ends or plan.also):
            return Refused(plan.problems or ("nobody would hear it",))
        event = await self.events.event_of(row)
        plan = replacing(plan, await self.events.active(event))
        plan = await self.events.in_form(plan, row.event_key, asked=True)
        broadcasts = await self.outgoing.broadcasts(row, sounding(plan, self._config.fatigue))
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
        await self.outgoing.begin(broadcasts)
        await self.outgoing.overtake(broadcasts)
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
        if row.state is AlertState.STANDING:
            return Refused((f"{alert} is no warning in force but a standing message: fenghuo standing drop",))
        if row.state not in OPEN:
            return Refused((f"{alert} is {row.state}" + (f" ({row.reason})" if row.reason else ""),))
        return await self._cancel([alert], operator, reason)

    async def stop(self, broadcast: str, operator: str) -> Refused | None:
        """Silence now, no all-clear; acknowledged per terminal. Raises Unknown."""
        row = await self._store.broadcast(broadcast)
        if not await self.outgoing.stop(row, Entry(operator, "broadcast.stop", broadcast)):
            return Refused((f"{broadcast} is {row.state}; nothing of it can sound any more",))
        return None

    async def stop_all(self, operator: str, reason: str = "", *, standing: bool = False) -> tuple[str, ...]:
        """Silence everywhere, now: what sounds, what waits, what is still being voiced; nobody who comes late
        gets any of it. No all-clear. Holds are not touched. Returns the broadcasts that there was anything
        left to stop of. What cannot be written to the disk stops all the same.

        Of the standing messages those that a hand sounds somewhere now, and `standing`: all of them. A Stop
        takes such a message from its terminals for good; what makes no sound is for the day without a line,
        and stays."""
        active = (BroadcastState.VOICING, BroadcastState.SENDING, BroadcastState.DONE)
        now = self._dispatcher.now()
        found = {
            row.broadcast.id: row for row in await self._store.standing(wall_ms()) if row.state in active
        }
        found |= {b.broadcast.id: b for b in await self._store.broadcasts(states=active, limit=10_000)}
        rows = [
            row
            for row in found.values()
            if (row.broadcast.expires_ms > now or row.state is not BroadcastState.DONE)
            and (standing or not row.broadcast.standing or self._by_hand(row.broadcast.id, now))
        ]
        rows.sort(key=lambda row: row.state is BroadcastState.VOICING)  # what sounds already first
        stopped = await asyncio.gather(
            *(
                self.outgoing.stop(row, Entry(operator, "broadcast.stop", row.broadcast.id, reason))
                for row in rows
            )
        )
        done = tuple(row.broadcast.id for row, was in zip(rows, stopped, strict=True) if was)
        entry = Entry(operator, "broadcast.stop-all", f"{len(done)} broadcasts", reason)
        await self._dispatcher.keep(partial(self._store.note, entry, wall_ms()))
        return done

    def _by_hand(self, broadcast: str, now: int) -> bool:
        run = self._dispatcher.runs.get(broadcast)
        return run is not None and bool(run.sounding_by_hand(now))

    async def air(self, broadcast: str, operator: str) -> Refused | None:
        """Does not let it wait any longer for a better voice. None when done. Raises Unknown."""
        row = await self._store.broadcast(broadcast)
        entry = Entry(operator, "broadcast.air", broadcast, row.doubt)
        if not await self._store.air(broadcast, entry, wall_ms()):
            return Refused((f"{broadcast} does not wait because of its sound; it is {row.state}",))
        self.outgoing.air(broadcast)
        return None

    async def resume(self) -> None:
        """Takes up what a dead process left. Once, before anything new is taken in."""
        now = self._dispatcher.now()
        waiting: list[BroadcastRow] = []
        rows = {row.broadcast.id: row for row in await self._store.broadcasts(limit=1_000)}
        # However many broadcasts came after it; and after its end a hand may still be told of.
        rows |= {row.broadcast.id: row for row in await self._store.standing(now - STANDING_AFTER_MS)}
        for row in rows.values():
            if row.state is BroadcastState.SUPERSEDED:
                continue
            if row.state is BroadcastState.VOICING:
                log.info("%s was being voiced when the controller ended; voicing it again", row.broadcast.id)
                waiting.append(row)
            elif row.done is None or row.state is BroadcastState.SENDING:  # or taken up again since
                await self._dispatcher.resume(row)
            elif row.broadcast.standing and row.state is BroadcastState.DONE:
                if row.broadcast.expires_ms + STANDING_AFTER_MS > now:
                    await self._dispatcher.resume(row)
            elif row.broadcast.expires_ms > now and row.state is BroadcastState.DONE:
                alert = await self._store.alert(row.broadcast.alert_id)
                if alert.state not in _OVER:  # whoever comes late still gets it
                    await self._dispatcher.resume(row)
        await self.outgoing.begin(
            sorted(waiting, key=lambda row: (row.created, row.broadcast.part is Part.WHOLE))
        )
        for alert in await self._store.alerts(state=AlertState.RELEASED):  # released, but was it carried out?
            if alert.msg_type == MsgType.CANCEL:
                silent = lifecycle.GONE in decode_alert(alert).inferred
                event = await self.events.event_of(alert)
                await self._carry_out(alert, event, alert.source, alert.reason, silent=silent)
            elif alert.plan is not None and alert.expires > wall_ms():
                await self._end_in_part(alert, decode_plan(alert), alert.source)

    async def _cancel(
        self, alerts: Sequence[str], who: str, reason: str, *, all_clear: bool = True
    ) -> Cancelled:
        done: list[str] = []
        stopped: list[str] = []
        clear: list[str] = []
        for alert in alerts:
            row = await self._store.alert(alert)
            if row.state not in OPEN:
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
            await self.outgoing.begin(clears)
        return Cancelled(tuple(done), tuple(stopped), tuple(clear))

    async def _end_in_part(self, row: AlertRow, plan: Plan, who: str) -> Cancelled:
        """The villages that an Update no longer names hear that it is over for them; nobody else does. Once:
        after a crash again only if it was not done."""
        own = await self._store.broadcasts(alert=row.id) if plan.ends else []
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
            await self.outgoing.begin(clears)
        return Cancelled((), tuple(stopped), tuple(b.broadcast.id for b in clears))

    async def _stop_all(
        self, event_key: str, who: str, reason: str, but: str = ""
    ) -> tuple[list[str], list[str]]:
        """Stops what still sounds of an event, except of the alert `but`. Returns all its broadcasts, and
        those that there was anything left to stop of."""
        family = [b for b in await self.events.family(event_key) if decode_script(b.script).stage != "cancel"]
        family = [b for b in family if b.broadcast.alert_id != but]
        stopped = [
            b.broadcast.id
            for b in family
            if await self.outgoing.stop(b, Entry(who, "broadcast.stop", b.broadcast.id, reason))
        ]
        ids = [b.broadcast.id for b in family]
        await self._settle(ids)
        return ids, stopped

    async def _all_clear(
        self, row: AlertRow, plan: Plan, ended: Sequence[str], reason: str
    ) -> list[BroadcastRow]:
        """The all-clear where `row`'s event, or its part, had sounded; nothing where it had not."""
        owed = await self.events.owed(row, wall_ms() + 1)
        if still := sorted(await self.events.still_warned(row) & set(plan.villages)):
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
        return [self.outgoing.broadcast(row, clear)]

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
        await self.events.tell()
        return done

    def _row(self, alert: Alert, judged: Judged, source: str, state: AlertState, reason: str) -> AlertRow:
        now = wall_ms()
        known = lifecycle.remember(
            alert,
            judged.decision,
            judged.villages,
            lifecycle.State.CLOSED,
            trust=self.judging.trust(source),
            feed=source,
        )
        plan = judged.plan
        main = alert.main if alert.infos else None
        row = AlertRow(
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
        self.events.remember(row)
        return row

    def _tell_released(self, plan: Plan) -> None:
        if self._released is not None:
            self._released(plan)


def _whole(broadcasts: Sequence[BroadcastRow]) -> str:
    """The broadcast that stands for a message: the whole of its fullest form."""
    return next(b.broadcast.id for b in broadcasts if b.broadcast.part is Part.WHOLE)


def _silence(plan: Plan) -> str:
    return "; ".join(dict.fromkeys(p.reason for p in plan.portions if p.form is fatigue.Form.SILENT))
