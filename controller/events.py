"""Events: what the county was told of each, and who has heard it.

An event is all messages about one happening, whatever source brought them (`docs/decisions/0013`). Every new
message is judged, and worded, against what is known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import msgspec

from alerts import fatigue, lifecycle
from alerts.lifecycle import Known
from alerts.model import Alert, MsgType
from alerts.regions import County
from config.schema import Config
from controller.clock import moment, to_ms, wall_ms
from controller.dispatch import Dispatcher
from controller.planning import Plan, divide, message_of
from controller.register import Register
from controller.store import Store, Unknown
from controller.store.records import AlertLine, AlertRow, AlertState, BroadcastRow, BroadcastState
from terminals import delivery
from terminals.broadcast import Kind
from tts.script import ScriptRequest

log = logging.getLogger(__name__)

# Warnings older than this cannot concern an update any more (the longest CMA validity is 72 h).
MEMORY: Final = timedelta(days=7)
# `wire.Play.replaces` holds so many; older broadcasts of an event have long sounded.
MOST_REPLACED: Final = 16
OPEN: Final = (AlertState.HELD, AlertState.RELEASED)
_SOUNDED: Final = (
    delivery.State.PLAYING,
    delivery.State.PLAYED,
    delivery.State.INTERRUPTED,
    delivery.State.PREEMPTED,
)
_AS_KNOWN: Final = {
    AlertState.HELD: lifecycle.State.HELD,
    AlertState.RELEASED: lifecycle.State.RELEASED,
    AlertState.SUPERSEDED: lifecycle.State.SUPERSEDED,
    AlertState.CANCELLED: lifecycle.State.CANCELLED,
    AlertState.REJECTED: lifecycle.State.CLOSED,
    AlertState.CLOSED: lifecycle.State.CLOSED,
}
# A standing message is no part of any event, also when a hand has sounded it: no real warning is shorter,
# silent or taken for a repeat because of it.


class Events:
    def __init__(
        self, config: Config, county: County, store: Store, register: Register, dispatcher: Dispatcher
    ) -> None:
        self._config = config
        self._county = county
        self._store = store
        self._register = register
        self._dispatcher = dispatcher
        self._memo: dict[str, Known] = {}
        self.changed = asyncio.Condition()
        """Notified when an alert is held, released or decided."""

    async def known(self) -> list[Known]:
        """What lifecycle compares a new document with."""
        now = moment(wall_ms())
        lines = await self.recent()
        fresh = await self._store.known([line.id for line in lines if line.id not in self._memo])
        self._memo = {line.id: self._memo[line.id] for line in lines if line.id in self._memo}
        self._memo |= {i: msgspec.json.decode(body, type=Known) for i, body in fresh.items()}
        return [item for line in lines if lifecycle.matters(item := self._now_known(line), now)]

    def remember(self, row: AlertRow) -> None:
        """What `known` needs of an alert that is about to be stored, so that it need not be read back."""
        self._memo[row.id] = msgspec.json.decode(row.known, type=Known)

    def _now_known(self, line: AlertLine) -> Known:
        known = self._memo[line.id]
        return replace(known, state=_AS_KNOWN[line.state], msg_type=MsgType(line.msg_type))

    async def recent(self) -> list[AlertLine]:
        lines = await self._store.lines(wall_ms() - int(MEMORY.total_seconds() * 1000))
        return [line for line in lines if line.state is not AlertState.STANDING]

    async def event_of(self, row: AlertRow) -> list[str]:
        """The other alerts of its event that are still open."""
        return [
            r.id
            for r in await self.recent()
            if r.event_key == row.event_key
            and r.id != row.id
            and r.state in OPEN
            and r.msg_type != MsgType.CANCEL
        ]

    async def ids(
        self, identifiers: Sequence[str], *states: AlertState, but: Collection[str] = ()
    ) -> list[str]:
        """Our ids of the messages with these identifiers, oldest first, without those of the events `but`."""
        if not identifiers:
            return []
        return [
            r.id
            for r in reversed(await self.recent())
            if r.identifier in identifiers and r.state in (states or OPEN) and r.event_key not in but
        ]

    async def waiting(self, event: Sequence[str], feed: str) -> list[str]:
        """Those of `event` that are held and came from `feed`."""
        rows = [await self._store.alert(a) for a in event]
        return [row.id for row in rows if row.state is AlertState.HELD and row.source == feed]

    async def active(self, alerts: Sequence[str]) -> tuple[str, ...]:
        """Broadcasts of these alerts that may still sound, oldest first; the last MOST_REPLACED."""
        found = [
            b
            for alert in alerts
            for b in await self._store.broadcasts(alert=alert)
            if b.broadcast.expires_ms > self._dispatcher.now()
            and b.state not in (BroadcastState.STOPPED, BroadcastState.SUPERSEDED)
        ]
        return tuple(b.broadcast.id for b in sorted(found, key=lambda b: b.created))[-MOST_REPLACED:]

    async def family(self, event_key: str) -> list[BroadcastRow]:
        """The broadcasts of an event, oldest first."""
        members = [r.id for r in await self.recent() if r.event_key == event_key]
        found = [b for member in members for b in await self._store.broadcasts(alert=member)]
        return sorted(found, key=lambda b: b.created)

    async def owed(self, alert: AlertRow, before: int) -> set[str]:
        """Terminals that are owed an all-clear by `alert`, which ends its event or a part of it: those that
        have sounded anything of it, made before then, and no all-clear since."""
        owed: set[str] = set()
        for b in await self.family(alert.event_key):
            if b.created >= before:
                continue
            if decode_script(b.script).stage == "cancel":
                owed -= set(b.broadcast.terminals)
            else:
                owed.update(await self._heard(b.broadcast.id))
        ends = () if alert.state is AlertState.CANCELLED or alert.plan is None else decode_plan(alert).ends
        owed = {t for t in owed if self.village_of(t) in ends} if ends else owed
        if not owed:
            return owed
        still = await self.still_warned(alert)
        return {t for t in owed if self.village_of(t) not in still}

    async def still_warned(self, alert: AlertRow) -> set[str]:
        """Villages that another event of the same hazard is in force for: to say that it is over would be
        wrong there."""
        now = wall_ms()
        others = [
            await self._store.alert(row.id)
            for row in await self.recent()
            if row.hazard == alert.hazard
            and row.event_key != alert.event_key
            and row.kind == alert.kind
            and row.state is AlertState.RELEASED
            and row.msg_type != MsgType.CANCEL
            and row.expires > now
        ]
        return {village for row in others if row.plan for village in decode_plan(row).villages}

    async def _heard(self, broadcast: str) -> list[str]:
        run = self._dispatcher.runs.get(broadcast)
        if run is not None:
            return [t for t, facts in run.facts.items() if delivery.has_sounded(facts)]
        _, rows = await self._store.deliveries(broadcast)
        facts: dict[str, dict[delivery.FactKey, delivery.FactValue]] = {}
        for fact in rows:
            facts.setdefault(fact.terminal, {})[fact.key] = fact.value
        return [t for t, known in facts.items() if delivery.has_sounded(known)]

    def village_of(self, terminal: str) -> str:
        known = self._register.terminals.get(terminal)
        return known.village if known else ""

    async def in_form(self, plan: Plan, event: str, *, asked: bool = False) -> Plan:
        """`plan`, divided by what each village has heard. `asked`: an operator wants it said; then nobody is
        left out, and who knows it all hears it briefly."""
        now = moment(wall_ms())
        message = message_of(plan, event, now)
        rules = self._config.fatigue.rules
        if fatigue.exempt(message) or (message.first and not await self._is_in_force(plan.hazard, now)):
            return plan
        heard, terminals = await self._heard_so_far(message, finished=bool(plan.ends))
        villages = {self.village_of(t) for t in plan.terminals}
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
            for row in await self.recent()
        )

    async def _heard_so_far(
        self, message: fatigue.Message, *, finished: bool
    ) -> tuple[dict[str, list[fatigue.Sounding]], set[str]]:
        """Per village what it has heard of this event, and of any within a day; and the terminals that have
        sounded this event, or before its first message another one of this hazard that is in force.
        `finished`: what was begun does not count, because it is about to be stopped."""
        event, now = message.event, message.at
        alerts = {r.id: r for r in await self.recent()}
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
            villages |= {self.village_of(t) for t in who}
            alike = message.first and script.hazard == message.hazard and alert.expires > to_ms(now)
            if alert.event_key == event or alike:
                terminals = terminals - set(b.broadcast.terminals) if clear else terminals | who
        heard: dict[str, list[fatigue.Sounding]] = {}
        for item, villages in once.values():
            for village in villages:
                heard.setdefault(village, []).append(item)
        return heard, terminals

    async def wait_changed(self, seconds: float) -> None:
        """Until an alert is held, released or decided; `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self.changed:
                await self.changed.wait()

    async def tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()


def decode_plan(row: AlertRow) -> Plan:
    """Raises Unknown for a message of which nothing can sound."""
    if row.plan is None:
        raise Unknown(f"{row.id} has no plan: {row.reason}")
    return msgspec.json.decode(row.plan, type=Plan)


def decode_script(script: bytes) -> ScriptRequest:
    return msgspec.json.decode(script, type=ScriptRequest)


def decode_alert(row: AlertRow) -> Alert:
    return msgspec.json.decode(row.message, type=Alert)
