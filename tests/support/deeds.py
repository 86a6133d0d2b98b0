"""A county that is mistreated: random deeds of feeds, operators, power, links, disk and clock against the
real desk, intake, store, dispatch and terminal cores, in virtual time and by one seed.

`once` lives such a life, then makes all well again and judges it by what was heard: no exception leaves a
task, every delivery ends, nothing sounds after its stop, never two sounds at once, no outcome is better than
the truth.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alerts import formats
from alerts.feed import Document, Outcome
from alerts.formats import Reading
from alerts.model import CodeScheme
from config.counties import load_county
from config.load import load
from controller import clock as controller_clock
from controller import ids
from controller.clock import WireClock, moment, mono_ms, wall_ms
from controller.desk import Desk, Refused
from controller.dispatch import Dispatcher, Signers
from controller.events import Events, decode_script
from controller.intake import Intake, Taken
from controller.judging import Judging
from controller.keys import throw_away
from controller.metrics import Metrics
from controller.outgoing import Outgoing
from controller.register import Register
from controller.store import Store, StoreError, Unknown
from controller.store.records import AlertState, BroadcastState
from support.county import BEIJING, CONFIG, ME, Mouth, cap
from support.village import Unit, Village
from terminals import delivery
from terminals.agent import core as agent
from terminals.agent.core import Core
from terminals.broadcast import Kind
from terminals.delivery import State
from terminals.model import Terminal
from terminals.seal import SOUNDING, KeyRole
from terminals.transport import Address, ToGroup, TransportError
from terminals.wire import Clip

AUTO = CONFIG.replace(
    "release:\n",
    "release:\n  - {feed: bureau, hazard: '*', colour: [red, orange, yellow, blue], action: auto}\n",
)
TERMINALS = 12
EVENTS = (("暴雨", "橙色"), ("暴雨", "红色"), ("泥石流", "红色"), ("溃坝", "红色"), ("大风", "黄色"))
READING = Reading(CodeScheme.MCA)
_UNKNOWN = frozenset({State.PENDING, State.SENT, State.ACCEPTED, State.READY, State.PLAYING})


class Untrue(AssertionError):
    """What must never be."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes only while nothing is to be done; what threads would do is done in place and told later."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._chance = random.Random(seed)
        self._virtual = 1_000.0
        self._look = self._selector.select  # type: ignore[attr-defined]
        self._selector.select = self._select  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._virtual

    def _select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0:
            return self._look(timeout)
        events = self._look(0)
        if not events:
            self._virtual += timeout
        return events

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        future = self.create_future()
        try:
            tell, result = future.set_result, func(*args)
        except Exception as error:  # noqa: BLE001 - told to whoever waits for it
            tell, result = future.set_exception, error
        self.call_later(self._chance.random() * 0.004, lambda: future.done() or tell(result))
        return future


class _Time:
    """In place of `time` in controller.clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.skew_s = 0

    def time_ns(self) -> int:
        return int((1_800_000_000 + self.skew_s + self._loop.time()) * 1e9)

    def monotonic_ns(self) -> int:
        return int(self._loop.time() * 1e9)


class Disk:
    """`controller.store.writer.Writer` in virtual time: slow or full, the most urgent first."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._waiting: list[Any] = []
        self._number, self._at = 0, 0.0
        self.slow, self.full = 0.004, False

    def submit(self, urgency: int, work: Callable[[], Any]) -> Future[Any]:
        done: Future[Any] = Future()
        self._number += 1
        heapq.heappush(self._waiting, (urgency, self._number, work, done))
        loop = asyncio.get_running_loop()
        self._at = max(self._at, loop.time()) + self._chance.random() * self.slow
        loop.call_at(self._at, self._next)
        return done

    def _next(self) -> None:
        if not self._waiting:
            return
        _, _, work, done = heapq.heappop(self._waiting)
        if self.full:
            done.set_exception(StoreError("database or disk is full"))
            return
        try:
            done.set_result(work())
        except Exception as error:  # noqa: BLE001 - told to whoever waits for it
            done.set_exception(error)

    def shutdown(self) -> None:
        while self._waiting:
            self._next()


@dataclass
class Ear:
    """What was really heard at one loudspeaker: (when, broadcast, whether it was the message itself)."""

    now: str = ""
    order: int = 0
    timer: asyncio.TimerHandle | None = None
    starts: list[tuple[float, str, bool]] = field(default_factory=list)
    ends: list[tuple[float, str, bool]] = field(default_factory=list)

    def hush(self) -> None:
        self.now, self.order = "", self.order + 1
        if self.timer is not None:
            self.timer.cancel()


class Street(Village):
    """A village with faithful hosts: what is silenced never starts; fetches fail and take their time;
    messages are late, doubled, lost and out of order."""

    def __init__(self, *args: Any, chance: random.Random, **more: Any) -> None:
        super().__init__(*args, **more)
        self._chance = chance
        self.ears = {i: Ear() for i in self.units}
        self.linked = set(self.units)
        self.delay = self.double = self.fetch_fails = self.breaks = 0.0
        self.fetch_s, self.sounds_s = 0.1, (0.5, 4.0)
        self.wrong: list[str] = []

    async def run(self, upward: Any, changed: Any) -> None:
        self._upward = upward
        try:
            while True:
                await asyncio.sleep(0.2)
                for unit in self.units.values():
                    wake = unit.core.next_wake() if unit.core is not None else None
                    if unit.core is not None and wake is not None and wake <= _mono():
                        self._do(unit, unit.core.tick(_mono()))
        finally:
            self._upward = None

    async def send(self, address: Address, envelope: bytes, *, lifetime_s: int, sure: bool) -> None:
        if not self.connected:
            raise TransportError("the village cannot be reached")
        self.sent = [*self.sent[-500:], (address, envelope)]
        for unit in self.units.values():
            group = isinstance(address, ToGroup)
            if address.key in unit.groups if group else address.id == unit.identity.id:  # type: ignore[union-attr]
                self.down(unit, envelope)
        await asyncio.sleep(self._chance.random() * self.delay / 4)

    def down(self, unit: Unit, envelope: bytes) -> None:
        for _ in range(self._times(self.lose_down)):
            self._late(self._arrive, unit, envelope)

    def _times(self, lose: float) -> int:
        return sum(self._chance.random() >= lose for _ in range(1 + (self._chance.random() < self.double)))

    def _late(self, call: Callable[..., None], *args: Any) -> None:
        if self.delay:
            asyncio.get_running_loop().call_later(self._chance.random() * self.delay, call, *args)
        else:
            call(*args)

    def _arrive(self, unit: Unit, envelope: bytes) -> None:
        if unit.core is not None and unit.identity.id in self.linked:
            self._do(unit, unit.core.command(envelope, _mono()))

    def _up(self, terminal: str, payload: bytes) -> None:
        if self.connected and self._upward is not None:
            self._upward(terminal, payload)

    def power_off(self, *names: str) -> None:
        for i in names:
            self.ears[i].hush()
            self.units[i].core, self.units[i].groups = None, ()

    def power_on(self, *names: str) -> None:
        for i in names or tuple(self.units):
            unit = self.units[i]
            if unit.core is None:
                unit.boots += 1
                chance = random.Random(f"{i}{unit.boots}")
                unit.core = Core(
                    unit.identity, unit.durable, boot=f"boot{unit.boots}", random=chance, held=unit.held
                )
                if i in self.linked:
                    self._do(unit, unit.core.connected(_mono()))

    def unlink(self, i: str) -> None:
        self.linked.discard(i)
        core = self.units[i].core
        if core is not None:
            self._do(self.units[i], core.disconnected(_mono()))

    def link(self, i: str) -> None:
        core = self.units[i].core
        if i not in self.linked and core is not None:
            self._do(self.units[i], core.connected(_mono()))
        self.linked.add(i)

    def well(self) -> None:
        self.delay = self.double = self.fetch_fails = self.lose_up = self.lose_down = self.breaks = 0.0
        self.reachable, self.sounds_s = True, (0.5, 4.0)
        for i in self.units:
            self.link(i)
        self.power_on()

    def _do(self, unit: Unit, effects: list[agent.Effect]) -> None:
        core, i = unit.core, unit.identity.id
        assert core is not None
        loop, ear = asyncio.get_running_loop(), self.ears[i]
        for effect in effects:
            match effect:
                case agent.Send(payload=payload) if i in self.linked:
                    for _ in range(self._times(self.lose_up)):
                        self._late(self._up, i, payload)
                case agent.Subscribe(groups=groups):
                    unit.groups = groups
                case agent.Fetch(clip=clip, delay_ms=wait):
                    problem = "timeout" if self._chance.random() < self.fetch_fails else None
                    seconds = wait / 1000 + self._chance.random() * self.fetch_s
                    loop.call_later(seconds, self._got, unit, core, clip.sha256, problem)
                case agent.Sound(broadcast=name, at_mono=at, clip=clip):
                    if ear.now:
                        self.wrong.append(f"{i}: {name} is ordered while {ear.now} sounds")
                    ear.hush()
                    wait = max(0, at - _mono()) / 1000 + self._chance.random() * 0.05
                    ear.timer = loop.call_later(wait, self._begin, unit, core, name, clip, ear.order)
                case agent.Silence():
                    ear.hush()
                case _:
                    pass

    def _got(self, unit: Unit, core: Core, sha256: str, problem: str | None) -> None:
        if unit.core is core:
            if problem is None:
                unit.held.add(sha256)
            self._do(unit, core.fetched(sha256, _mono(), problem))

    def _begin(self, unit: Unit, core: Core, name: str, clip: Clip | None, order: int) -> None:
        ear = self.ears[unit.identity.id]
        if unit.core is not core or ear.order != order:
            return
        if self._chance.random() < self.breaks:
            self._do(unit, core.broke(name, _mono(), "amplifier"))
            return
        record = unit.durable.records[name]
        if record.stopped:
            self.wrong.append(f"{unit.identity.id}: {name} starts after its stop")
        own = record.play is not None and clip is not None and clip in record.play.clips
        loop = asyncio.get_running_loop()
        ear.now = name
        ear.starts.append((loop.time(), name, own))
        seconds = self._chance.uniform(*self.sounds_s)
        ear.timer = loop.call_later(seconds, self._end, unit, core, name, own, order)
        self._do(unit, core.started(name, _mono()))

    def _end(self, unit: Unit, core: Core, name: str, own: bool, order: int) -> None:
        ear = self.ears[unit.identity.id]
        if unit.core is core and ear.order == order:
            ear.now = ""
            ear.ends.append((asyncio.get_running_loop().time(), name, own))
            self._do(unit, core.finished(name, _mono()))


def _mono() -> int:
    return int(asyncio.get_running_loop().time() * 1000)


class Life:
    """One county's life. `street` survives restarts of the controller."""

    street: Street

    def __init__(self, path: Path, seed: int, time: _Time) -> None:
        self.path, self.chance, self.time = path, random.Random(seed), time
        self.alarms: list[str] = []
        self.stopped: dict[str, float] = {}
        """Broadcast → when an operator was told that nothing of it sounds any more."""
        self.said: list[tuple[str, str, str]] = []
        self.number = 0

    async def open(self) -> None:
        (self.path / "county.yaml").write_text(AUTO, encoding="utf-8")
        for name in ("inbox", "mirror"):
            (self.path / name).mkdir(mode=0o700)
        self.settings, self.county, self.keys = (
            load(self.path / "county.yaml"),
            load_county("zhouqu").county,
            throw_away(),
        )
        await self.open_store()
        town = next(t.key for t in self.county.townships if t.name == "大川镇")
        villages = sorted(self.county.villages, key=lambda v: v.township_key != town)[:TERMINALS]
        self.names = [f"sim-{n:05d}" for n in range(len(villages))]
        boards = [Terminal(i, v.key, v.key) for i, v in zip(self.names, villages, strict=True)]
        await self.store.register(boards, ME, wall_ms())
        await self.store.set_codes([(i, "x") for i in self.names], wall_ms() + 10_000_000, ME, wall_ms())
        for i in self.names:
            await self.store.enrol(i, "x", ME, wall_ms())
        await self._read_register()
        self.street = Street(
            self.names, self.keys.ring, self.keys.secret, chance=self.chance,
            groups=lambda i: self.register.groups(i) or (),
        )  # fmt: skip
        await self.up()
        self.street.power_on()

    async def open_store(self) -> None:
        self.store = await Store.open(self.path / "fenghuo.db", durable=False)
        self.disk = Disk(self.chance)
        await asyncio.to_thread(self.store._writer.shutdown)
        self.store._writer = self.disk  # type: ignore[assignment]

    async def _read_register(self) -> None:
        self.register = Register(
            self.store,
            self.county,
            self.keys,
            broker="mqtt://127.0.0.1:1",
            audio="http://127.0.0.1:1",
            sandbox=True,
        )
        await self.register.load()

    async def up(self) -> None:
        await self._read_register()
        roles = {Kind(r.value): s for r, s in self.keys.signers.items() if r in SOUNDING}
        signers = Signers(roles, self.keys.signers[KeyRole.SERVICE])
        clock, _ = WireClock.start(wall_ms(), mono_ms(), 0)
        self.metrics, self.mouth = Metrics(), Mouth()
        self.dispatcher = Dispatcher(
            self.store, self.street, signers, self.register.report_key, self.register.groups, "http://127.0.0.1:1",
            clock, self.metrics, self.alarms.append, probes=3,
        )  # fmt: skip
        judging = Judging(self.settings, self.county, lambda: self.register.fleet, frozenset(Kind))
        events = Events(self.settings, self.county, self.store, self.register, self.dispatcher)
        mouth: Any = self.mouth
        self.outgoing = Outgoing(
            self.settings, self.store, self.register, self.dispatcher, mouth, self.metrics, events
        )
        self.desk = Desk(
            self.settings, self.county, self.store, self.dispatcher, judging, events, self.outgoing
        )
        self.intake = Intake(self.store, self.desk, self.metrics, self.alarms.append)
        self.running = asyncio.create_task(self._run(), name="controller")
        await self.desk.resume()
        await self.intake.recover({"bureau": READING, "mirror": READING})

    async def _run(self) -> None:
        async def changed(_: bool) -> None: ...

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.street.run(self.dispatcher.upward, changed), name="village")
            tasks.create_task(self.dispatcher.run(), name="dispatch")
            tasks.create_task(self.outgoing.run(), name="desk")

    async def down(self) -> None:
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.running
        await self.store.close()

    # --- deeds ---

    async def give(self) -> Taken:
        chance = self.chance
        now = moment(wall_ms()).astimezone(BEIJING).replace(microsecond=0)
        kind = chance.choice(["Alert"] * 5 + ["Update"] * 4 + ["Cancel"] * 3) if self.said else "Alert"
        event, colour = chance.choice(EVENTS)
        references = ""
        if kind != "Alert":
            before, sent, event = chance.choice(self.said[-4:])
            references = f"zhouqu.weather,{before},{sent}"
        self.number += 1
        identifier = f"62302341600000_2026{self.number:010d}"
        if kind != "Cancel":
            self.said.append((identifier, now.isoformat(), event))
        body = cap(
            identifier=identifier, msg_type=kind, colour=colour, event=event, sent=now, references=references,
            expires=now + timedelta(seconds=chance.choice([20, 60, 120, 400])),
            codes=chance.choice([("623023101000",), ("623023",)]),
        )  # fmt: skip

        async def done(outcome: Outcome, reason: str) -> None: ...

        feed = chance.choice(["bureau"] * 5 + ["mirror"])
        return await self.intake.accept(Document(feed, "a.xml", body, moment(wall_ms()), done, ""), READING)

    async def exercise(self) -> None:
        self.number += 1
        now = moment(wall_ms()).astimezone(BEIJING).replace(microsecond=0)
        body = cap(
            identifier=f"ex-{self.number}", status="Exercise", sent=now, expires=now + timedelta(seconds=90)
        )
        await self.desk.send(formats.parse(body, READING, now=now), Kind.EXERCISE, "李值班")

    async def stop(self) -> None:
        rows = await self.store.broadcasts(limit=12)
        if rows:
            row = self.chance.choice(rows)
            await self.desk.stop(row.broadcast.id, "李值班")
            self.stopped[row.broadcast.id] = asyncio.get_running_loop().time()

    async def stop_all(self) -> None:
        for name in await self.desk.stop_all("李值班", "试"):
            self.stopped[name] = asyncio.get_running_loop().time()

    async def decide(self, deed: str) -> None:
        state = AlertState.RELEASED if deed == "cancel" else AlertState.HELD
        rows = await self.store.alerts(state=state)
        if not rows:
            return
        row = self.chance.choice(rows)
        if deed == "approve":
            await self.desk.approve(row.id, "李值班")
        elif deed == "reject":
            await self.desk.reject(row.id, "李值班", "否")
        else:
            family = await self.desk.events.family(row.event_key)
            if not isinstance(await self.desk.cancel(row.id, "李值班", "误报"), Refused):
                sounding = [b for b in family if decode_script(b.script).stage != "cancel"]
                self.stopped |= dict.fromkeys(
                    (b.broadcast.id for b in sounding), asyncio.get_running_loop().time()
                )

    async def restart(self) -> None:
        self.disk.full = False
        await self.down()
        await asyncio.sleep(self.chance.choice([0.1, 5.0]))
        await self.open_store()
        await self.up()

    async def deed(self) -> None:
        chance, street, disk = self.chance, self.street, self.disk
        some = chance.sample(self.names, 3)
        often = ["give"] * 8 + ["stop"] * 4 + ["cancel", "approve"] * 3 + ["off", "on", "unlink", "link"] * 3
        rare = ["reject", "stop_all", "exercise", "reach", "lose", "delay", "fetch"]
        rare += ["amplifier", "disk", "disk", "voice", "length", "clock", "replay"]
        match chance.choice(often + rare * 2):
            case "give":
                await self.give()
            case "exercise":
                await self.exercise()
            case "stop":
                await self.stop()
            case "stop_all":
                await self.stop_all()
            case "cancel" | "approve" | "reject" as deed:
                await self.decide(deed)
            case "off":
                street.power_off(some[0])
            case "on":
                street.power_on(*some)
            case "unlink":
                street.unlink(some[0])
            case "link":
                for i in some:
                    street.link(i)
            case "reach":
                street.reachable = chance.random() < 0.7
            case "lose":
                street.lose_up, street.lose_down = chance.choice([0, 0.1, 0.4]), chance.choice([0, 0.1, 0.4])
            case "delay":
                street.delay, street.double = chance.choice([0, 0.2, 2.0, 8.0]), chance.choice([0, 0.5])
            case "fetch":
                street.fetch_fails, street.fetch_s = chance.choice([0, 0.3, 1]), chance.choice([0.1, 5, 40])
            case "amplifier":
                street.breaks = chance.choice([0, 0, 0.3])
            case "disk":
                disk.full, disk.slow = chance.random() < 0.3, chance.choice([0.004, 0.004, 0.5, 3.0])
            case "voice":
                (self.mouth.hold.clear if chance.random() < 0.3 else self.mouth.hold.set)()
            case "length":
                street.sounds_s = chance.choice([(0.5, 4.0), (5.0, 25.0)])
            case "clock":
                self.time.skew_s += chance.choice([-3_600, -30, 30, 60])
            case "replay" if street.sent:
                for _ in range(5):
                    street.down(street.units[chance.choice(self.names)], chance.choice(street.sent)[1])

    async def live(self, deeds: int) -> None:
        for _ in range(deeds):
            await asyncio.sleep(self.chance.choice([0.0, 0.001, 0.01, 0.1, 0.5, 2.0, 10.0]))
            if self.chance.random() < 0.03:
                await self.restart()
            beside = 2 if self.chance.random() < 0.3 else 1
            for end in await asyncio.gather(*(self.deed() for _ in range(beside)), return_exceptions=True):
                if end is not None and not isinstance(end, StoreError | Unknown):
                    raise Untrue(f"a deed failed: {end!r}") from end
            self.look()

    # --- what must be true ---

    def look(self) -> None:
        if self.street.wrong:
            raise Untrue("; ".join(self.street.wrong))
        if self.running.done():
            raise Untrue("the controller has ended") from self.running.exception()
        for what in ("report", "document"):
            if self.metrics.quarantined.labels(what)._value.get():
                raise Untrue(f"a {what} was quarantined: {self.alarms[-3:]}")

    async def judge(self) -> None:
        """All is well again, and stays so until everything is over."""
        self.disk.full, self.disk.slow = False, 0.004
        self.mouth.hold.set()
        self.street.well()
        await asyncio.sleep(75.0)
        well = asyncio.get_running_loop().time()
        for i, ear in self.street.ears.items():
            if ear.now in self.stopped:
                raise Untrue(f"{i}: {ear.now} still sounds, stopped at {self.stopped[ear.now]}")
        await asyncio.sleep(900.0)
        self.look()
        for i, ear in self.street.ears.items():
            late = [b for at, b, _ in ear.starts if b in self.stopped and at > max(well, self.stopped[b])]
            if late or ear.now:
                raise Untrue(f"{i}: {late} began after their stop; {ear.now!r} sounds without an end")
        if self.dispatcher._ledger.late or self.outgoing._in_hand:
            raise Untrue(f"left over: {self.dispatcher._ledger.late} writes, {list(self.outgoing._in_hand)}")
        for row in await self.store.broadcasts(limit=10_000):
            if row.done is None:
                raise Untrue(f"{row.broadcast.id} ({row.state}) never ends")
            if row.state is not BroadcastState.SUPERSEDED:
                await self._judge_deliveries(row.broadcast.id)

    async def _judge_deliveries(self, name: str) -> None:
        planned, rows = await self.store.deliveries(name)
        facts: dict[str, dict[delivery.FactKey, delivery.FactValue]] = {t: {} for t in planned}
        for fact in rows:
            facts.setdefault(fact.terminal, {})[fact.key] = fact.value
        for terminal, known in facts.items():
            ear, seen = self.street.ears[terminal], delivery.shown(known)
            if seen.state in _UNKNOWN:
                raise Untrue(f"{name} at {terminal} ends as {seen}")
            if seen.state is State.PLAYED and not any(b == name and own for _, b, own in ear.ends):
                raise Untrue(f"{name} at {terminal} is called {seen}, and was not heard to its end")
            if any(map(delivery.is_message, known)) and not any(
                b == name and own for _, b, own in ear.starts
            ):
                raise Untrue(f"{name} at {terminal}: {seen}, and its message never began")


def once(path: Path, seed: int, deeds: int) -> int:
    """One life; how many sounds began. Raises Untrue."""
    loop = VirtualLoop(seed)
    wrong: list[Any] = []
    loop.set_exception_handler(lambda _, context: wrong.append(context))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(controller_clock, "time", time := _Time(loop))
        patch.setattr(ids, "secrets", random.Random(seed))
        life = Life(path, seed, time)

        async def live() -> None:
            await life.open()
            try:
                await life.live(deeds)
                await life.judge()
            finally:
                await life.down()

        try:
            loop.run_until_complete(live())
        finally:
            loop.close()
    if wrong:
        raise Untrue(f"an exception left a task: {wrong}")
    return sum(len(ear.starts) for ear in life.street.ears.values())
