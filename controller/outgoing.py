"""Outgoing: a broadcast from its plan to its first command.

What terminals hold goes out at once. The rest waits for its turn at the voice; meanwhile it can be doubted,
aired, replaced or stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import msgspec

from config.schema import Config
from controller.admission import VOICING, Turns
from controller.clock import moment, wall_ms
from controller.dispatch import Dispatcher, spread_ms
from controller.events import Events, decode_script
from controller.ids import new_id
from controller.metrics import Metrics
from controller.planning import Plan, counted_down, moved, to_broadcast
from controller.register import Register
from controller.staging import Staging
from controller.store import Store, StoreError
from controller.store.records import AlertRow, BroadcastRow, BroadcastState, CommandRow, Entry
from controller.voicing import Voicing, numbered
from terminals.broadcast import Broadcast, Kind, Lane, Part, Variant
from terminals.fleet import Fleet
from tts import floor, verdict
from tts.airtime import Profile

log = logging.getLogger(__name__)

OUT_WAIT_S: Final = 0.2
# While a doubted sound waits, the wire clock is looked at so often: it may be put right meanwhile.
LOOK_S: Final = 10.0
# Whatever a damaged row or a clock says: no hold of a sound is longer.
LONGEST_HOLD_S: Final = 600.0
# A message that keeps being replaced before it was spoken is spoken after this: somebody must hear something.
LONGEST_UNSPOKEN_MS: Final = 20_000
# Half a megabit per second, the slowest line that terminals are planned for (design §4), in bytes per ms.
SLOW_LINE: Final = 62.5


@dataclass(slots=True)
class _InHand:
    """A broadcast between its plan and its first command."""

    jumped_ms: int
    """`Dispatcher.jumped_ms` when it was planned."""
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


class Outgoing:
    def __init__(
        self,
        config: Config,
        store: Store,
        register: Register,
        dispatcher: Dispatcher,
        voicing: Voicing,
        metrics: Metrics,
        events: Events,
        *,
        staging: Staging | None = None,
    ) -> None:
        """`staging`: what terminals hold ahead."""
        self._config = config
        self._store = store
        self._register = register
        self._dispatcher = dispatcher
        self._voicing = voicing
        self._metrics = metrics
        self._events = events
        self._staging = staging
        self._turns = Turns(VOICING)
        self._profiles_as_of: Fleet | None = None
        self._profile_of: dict[str, int] = {}
        self._profiles: list[Profile] = []
        self._unspoken: dict[str, int] = {}
        """Event → since when its messages have been replaced before one of them was spoken."""
        self._to_voice: asyncio.Queue[BroadcastRow] = asyncio.Queue(1_000)
        self._in_hand: dict[str, _InHand] = {}
        """Broadcasts that wait for the voice or are being voiced."""

    async def broadcasts(self, alert: AlertRow, parts: Sequence[Plan]) -> list[BroadcastRow]:
        """One for each part, in that order also for who sorts by `created`."""
        rows = [row for part in parts for row in await self._in_two(alert, part)]
        return [replace(row, created=rows[0].created + n) for n, row in enumerate(rows)]

    async def _in_two(self, alert: AlertRow, plan: Plan) -> list[BroadcastRow]:
        """The whole; before it, where its sound must still be made and people must act, a lead."""
        whole = self.broadcast(alert, plan)
        if plan.standing:
            return [whole]
        if plan.lane is Lane.FAST and plan.kind is not Kind.TEST and not plan.script.short:
            return [self._held(alert, plan), whole]
        if (
            plan.kind is Kind.TEST
            or plan.script.short
            or plan.script.siren
            or await self._voicing.known(plan.script, self.profiles(plan.terminals))
        ):
            return [whole]
        lead = self.broadcast(alert, replace(plan, repeats=1))
        lead = replace(lead, broadcast=replace(lead.broadcast, part=Part.LEAD))
        return [lead, whole]

    def _held(self, alert: AlertRow, plan: Plan) -> BroadcastRow:
        """The lead in the fast lane: the clip of the hazard that terminals hold, and for an earthquake what
        they need to count down by themselves. Nothing has to be made, so it goes out with the plan."""
        lead = self.broadcast(alert, plan)
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

    def broadcast(self, alert: AlertRow, plan: Plan) -> BroadcastRow:
        now = wall_ms()
        broadcast = to_broadcast(
            plan, new_id("B", moment(now)), alert.id, wall=moment(now), wire_ms=self._dispatcher.now()
        )
        return BroadcastRow(BroadcastState.VOICING, now, broadcast, msgspec.json.encode(plan.script))

    def profiles(self, terminals: Iterable[str]) -> dict[Profile, int]:
        """What these loudspeakers can be told, with how many of each."""
        fleet = self._register.fleet
        if self._profiles_as_of is not fleet:  # made anew when the register changes
            self._profiles_as_of = fleet
            self._profile_of, self._profiles = numbered(self._register.terminals.values())
        counts = Counter(map(self._profile_of.get, terminals))
        return {self._profiles[n]: count for n, count in counts.items() if n is not None}

    async def run(self) -> None:
        """Voices and starts broadcasts until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                row = await self._to_voice.get()
                tasks.create_task(self._voice_and_send(row), name=f"voice.{row.broadcast.id}")

    async def begin(self, broadcasts: Sequence[BroadcastRow], commands: Sequence[CommandRow] = ()) -> None:
        """What terminals hold goes out at once, with its `commands` if they are committed; the rest is voiced
        first."""
        owed = broadcasts if commands else ()
        for row in broadcasts:
            self._metrics.broadcasts.labels(row.broadcast.kind).inc()
            if not at_once(row):
                self._in_hand[row.broadcast.id] = _InHand(self._dispatcher.jumped_ms)
            else:
                own = [c for c in commands if c.broadcast == row.broadcast.id]
                run = await self._dispatcher.start(row, own, owed)
                owed = ()
                # Nothing else is begun before it is out; a broker that is away holds up no voice.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(OUT_WAIT_S):
                        await run.out.wait()
        for row in broadcasts:
            if not at_once(row):
                await self._to_voice.put(row)

    async def overtake(self, fresh: Sequence[BroadcastRow]) -> None:
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

    async def stop(self, row: BroadcastRow, entry: Entry) -> bool:
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
        if run is None or not run.may_sound:
            self._dispatcher.shut(broadcast)
            return False
        await self._dispatcher.stop(broadcast, entry)
        if row.broadcast.standing:
            await self._voicing.unpin(f"standing {broadcast}")
        return True

    def air(self, broadcast: str) -> None:
        """Does not let it wait any longer for a better voice."""
        if (hand := self._in_hand.get(broadcast)) is not None:
            hand.air.set()

    async def doubted(self) -> list[tuple[BroadcastRow, AlertRow]]:
        """What waits because no voice says it right, oldest first."""
        rows = await self._store.broadcasts(states=(BroadcastState.VOICING,), limit=1_000)
        waiting = [row for row in rows if row.airs is not None and row.aired_by is None]
        return [(row, await self._store.alert(row.broadcast.alert_id)) for row in reversed(waiting)]

    async def _voice_and_send(self, row: BroadcastRow) -> None:
        hand = self._in_hand.setdefault(row.broadcast.id, _InHand(self._dispatcher.jumped_ms))
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
        jumped = self._dispatcher.jumped_ms - hand.jumped_ms
        plan = replace(moved(row.broadcast, jumped), variants=variants)
        if script.stage == "cancel":
            late = await self._events.owed(await self._store.alert(plan.alert_id), row.created)
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
        if plan.standing and variants:
            until = (wall_ms() + plan.expires_ms - self._dispatcher.now()) / 1000
            await self._voicing.pin([v.sha256 for v in variants], f"standing {plan.id}", until)
        await self._dispatcher.keep(partial(self._store.set_broadcast, row))
        await self._dispatcher.start(row)
        if stopped_by is None and hand.stopped_by is not None:  # while that was being stored
            await self._dispatcher.stop(plan.id, hand.stopped_by)

    async def _voiced(self, row: BroadcastRow, hand: _InHand) -> tuple[Variant, ...]:
        """Its sound, when it is its turn at the voice."""
        p = row.broadcast.priority
        script = decode_script(row.script)
        whole = int(row.broadcast.part is Part.WHOLE and script.stage != "cancel")
        kind = len(Kind) if row.broadcast.standing else p.kind_rank  # nobody waits to hear that
        order = (kind, whole, p.lane, p.colour, p.issuer_level)
        async with self._turns.turn(order):
            return await self._voicing.voice(
                script,
                row.broadcast.part,
                self.profiles(row.broadcast.terminals),
                doubted=partial(self._flag, row.broadcast.id, hand),
            )

    async def _flag(self, broadcast: str, hand: _InHand, doubt: verdict.Hold | verdict.TakeFlagged) -> None:
        """What is wrong with its sound, found before it went out or after."""
        if not hand.voiced:
            hand.doubt = doubt
            return
        entry = Entry("desk", "broadcast.doubted", broadcast, doubt.why)
        await self._dispatcher.keep(partial(self._store.doubt, broadcast, doubt.why, None, entry, wall_ms()))
        await self._events.tell()

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
        await self._events.tell()
        clock = asyncio.get_running_loop()
        last = clock.time() + LONGEST_HOLD_S
        while airs is not None and row.airs is not None and row.aired_by is None:
            left = min((row.airs - self._dispatcher.now()) / 1000, last - clock.time())
            if left <= 0 or hand.air.is_set() or hand.stop.is_set() or await self._said_by_whole(row, hand):
                break
            await _either(hand.air, hand.stop, min(left, LOOK_S))
        await self._events.tell()
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

    def _together(self, plan: Broadcast) -> int:
        """Wire time at which all its loudspeakers start at one moment, after whatever they must fetch; 0
        where each starts as soon as it can."""
        ahead = self._config.broadcast.together
        if ahead is None or plan.standing or plan.priority.lane == Lane.FAST or not plan.variants:
            return 0
        held = self._staging.pinned() if self._staging is not None else set()
        fetched = [v.size for v in plan.variants if v.sha256 not in held]
        needed = spread_ms(len(plan.terminals)) + max(fetched) / SLOW_LINE if fetched else 0.0
        return self._dispatcher.now() + int(max(ahead * 1000, min(needed, plan.patience_ms)))


def at_once(row: BroadcastRow) -> bool:
    """Whether it names a sound that terminals hold: nothing is to be voiced."""
    return row.state is BroadcastState.SENDING


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
