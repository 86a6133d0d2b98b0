"""A broker in the hands of an enemy, between the real dispatcher and real terminals: it may drop and delay.
It cannot make a sound that nobody sent, nor a receipt of a sound that nobody heard.

``FENGHUO_ATTACKS=200`` runs so many examples; a few otherwise."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from controller import dispatch
from controller.clock import WireClock, mono_ms, wall_ms
from controller.dispatch import Dispatcher, Run, Signers
from controller.keys import throw_away
from controller.metrics import Metrics
from controller.store import Store
from controller.store.records import AlertRow, AlertState, BroadcastRow, BroadcastState, Entry
from support.village import Unit, Village
from terminals import delivery
from terminals.agent.core import Core
from terminals.broadcast import Broadcast, Kind, Lane, Priority, Variant
from terminals.delivery import State
from terminals.seal import (
    SOUNDING,
    KeyRing,
    KeyRole,
    OpenedCommand,
    SealError,
    SealReason,
    open_command,
    report_key,
)
from terminals.transport import Address, ToGroup, ToTerminal, TransportError, Upward
from terminals.wire import Clip, Play, Stop, Targets, WireError, decode_command, decode_upward
from terminals.wire import Upward as UpwardMessage

EXAMPLES = int(os.environ.get("FENGHUO_ATTACKS", "4"))
LIMIT_S = 60.0
ME = Entry("王主任", "test", "it")
KEYS, STRANGER = throw_away(), throw_away()
IDS = tuple(f"sim-{n:05d}" for n in range(8))
EAST, WEST = IDS[:4], IDS[4:]
SOUNDED = {State.PLAYING, State.PLAYED, State.INTERRUPTED, State.PREEMPTED}


@dataclass(frozen=True)
class Malice:
    """Shares of 1 for each message; what it does beside that."""

    seed: int
    drop: float
    double: float
    late: float
    astray: float
    """Given to somebody else."""
    altered: float
    lies: frozenset[str]
    cuts: int
    """Power cuts meanwhile, which are nobody's malice."""


LIES = ("replay", "reflect", "strip", "stranger", "retained", "relabel", "refuse", "cross")
MALICE = st.builds(
    Malice,
    seed=st.integers(0, 1 << 30),
    drop=st.sampled_from((0.0, 0.2, 0.5)),
    double=st.sampled_from((0.0, 0.5)),
    late=st.sampled_from((0.0, 0.4)),
    astray=st.sampled_from((0.0, 0.4)),
    altered=st.sampled_from((0.0, 0.3)),
    lies=st.frozensets(st.sampled_from(LIES), min_size=2),
    cuts=st.integers(0, 3),
)


class Compromised(Village):
    """Everything that goes through it is its to keep, to change and to say again. It has no key of ours."""

    def __init__(self, malice: Malice) -> None:
        super().__init__(
            IDS, KEYS.ring, KEYS.secret, groups=lambda i: ("all", "east" if i in EAST else "west")
        )
        self.malice = malice
        self.chance = random.Random(malice.seed)
        self.evil = True
        self.down: list[bytes] = []
        self.up: list[tuple[str, bytes]] = []
        self.began: dict[str, list[str]] = {i: [] for i in IDS}
        self.ended: dict[str, set[str]] = {i: set() for i in IDS}
        self.again: list[tuple[str, str]] = []
        """Sounds of what had been played to its end, or whose Stop was acknowledged."""
        self.tried = 0
        """Messages that no honest broker would have delivered."""

    # --- downwards ---

    async def send(self, address: Address, envelope: bytes, *, lifetime_s: int, sure: bool) -> None:
        if not self.evil:
            await super().send(address, envelope, lifetime_s=lifetime_s, sure=sure)
            return
        self.down.append(envelope)
        if "refuse" in self.malice.lies and self.chance.random() < 0.2:
            raise TransportError("not today")
        for terminal, unit in self.units.items():
            meant = address.key in unit.groups if isinstance(address, ToGroup) else address.id == terminal
            if not meant and self.chance.random() >= self.malice.astray:
                continue
            self.tried += not meant
            self._mangled(envelope, lambda payload, t=terminal: self.give(t, payload))
        await asyncio.sleep(0)

    def give(self, terminal: str, payload: bytes) -> None:
        unit = self.units[terminal]
        if unit.core is not None:
            self._do(unit, unit.core.command(payload, int(asyncio.get_running_loop().time() * 1000)))

    # --- upwards ---

    async def run(self, upward: Upward, changed: Callable[[bool], Awaitable[None]]) -> None:
        def twisted(terminal: str, payload: bytes) -> None:
            if not self.evil:
                upward(terminal, payload)
                return
            self.up.append((terminal, payload))
            if "relabel" in self.malice.lies and self.chance.random() < 0.3:
                self.tried += 1
                upward(self.chance.choice(IDS), payload)
            self._mangled(payload, lambda bent: upward(terminal, bent))

        self.honest = upward
        await super().run(twisted, changed)

    # --- what it does with one message ---

    def _mangled(self, payload: bytes, deliver: Callable[[bytes], None]) -> None:
        m, chance = self.malice, self.chance
        for _ in range(2 if chance.random() < m.double else 1):
            if chance.random() < m.drop:
                continue
            bent = payload
            if chance.random() < m.altered:
                at = chance.randrange(len(payload))
                bent = payload[:at] + bytes([payload[at] ^ 1 << chance.randrange(8)]) + payload[at + 1 :]
                self.tried += 1
            if chance.random() < m.late:
                asyncio.get_running_loop().call_later(chance.uniform(0, 0.6), self._late, bent, deliver)
            else:
                deliver(bent)

    @staticmethod
    def _late(payload: bytes, deliver: Callable[[bytes], None]) -> None:
        deliver(payload)

    def lie(self, at_all: float = 1.0) -> None:
        """Something that no honest broker says, now."""
        if not self.down or not self.up:
            return
        chance = self.chance
        terminal, body = chance.choice(IDS), chance.choice(self.down)
        self.tried += 1
        match chance.choice(sorted(self.malice.lies)):
            case "replay" | "retained":
                self.give(terminal, body)
                self.honest(*chance.choice(self.up))
            case "reflect":
                self.give(terminal, chance.choice(self.up)[1])
                self.honest(terminal, body)
            case "strip":
                bare = body.partition(b"\n")[2]
                for stripped in (bare, b"\n" + bare, b"FH1 x \n" + bare, b"FH0" + body[3:]):
                    self.give(terminal, stripped)
                self.honest(terminal, chance.choice(self.up)[1].partition(b"\n")[2])
            case "stranger":
                play = a_play(chance.choice(("B1", "B2", "forged")))
                signer = STRANGER.signers[KeyRole.ACTUAL]
                self.give(terminal, signer.seal(play))
                ours = KEYS.signers[KeyRole.ACTUAL].key_id.encode()
                self.give(terminal, signer.seal(play).replace(signer.key_id.encode(), ours))
                words = f'{{"type":"report","terminal":"{terminal}","broadcast":"B1","boot":"b","seq":9}}'
                self.honest(terminal, f"FH1 {terminal} {'A' * 22}\n{words}".encode())
            case "relabel":
                self.honest(terminal, chance.choice(self.up)[1])
            case "cross":
                head, other = chance.choice(self.down), chance.choice(self.down)
                self.give(terminal, head.partition(b"\n")[0] + b"\n" + other.partition(b"\n")[2])

    # --- what the village heard ---

    def _later(self, unit: Unit, core: Core, what: str, subject: str) -> None:
        t = unit.identity.id
        alive = unit.core is core
        if alive and what == "started":
            self.began[t].append(subject)
            if subject in self.ended[t]:
                self.again.append((t, subject))
        super()._later(unit, core, what, subject)
        if alive and what == "finished":
            self.ended[t].add(subject)


def a_play(broadcast: str) -> Play:
    now = wall_ms()
    return Play(
        broadcast, "e", "actual", 1, now, now, now, now + 600_000, (0, 0, 0, 0), Targets(("all",)),
        (Clip("zh", "mp3", "cd" * 32, 1, 0.01),), 1, 100,
    )  # fmt: skip


def a_row(
    broadcast: str, kind: Kind, terminals: tuple[str, ...], group: str
) -> tuple[AlertRow, BroadcastRow]:
    alert = AlertRow(
        id=f"A-{broadcast}", source="operator:王主任", kind=kind.value, identifier=broadcast,
        event_key=broadcast, msg_type="Alert", hazard="rainstorm", colour="orange", headline="x",
        expires=wall_ms() + 600_000, state=AlertState.RELEASED, reason="", created=wall_ms(),
        plan=b"{}", message=b"{}", known=b"{}",
    )  # fmt: skip
    plan = Broadcast(
        id=broadcast, alert_id=alert.id, event_key=broadcast, kind=kind,
        priority=Priority.of(kind, Lane.NORMAL, 2, 4), terminals=terminals, groups=(group,),
        variants=(Variant("zh", "mp3", f"{int(broadcast[1:]):064x}", 1000, 0.01),), repeats=1, volume=100,
        expires_ms=wall_ms() + 600_000,
    )  # fmt: skip
    return alert, BroadcastRow(BroadcastState.VOICING, wall_ms(), plan, b"{}")


@dataclass
class World:
    village: Compromised
    dispatcher: Dispatcher
    store: Store
    runs: dict[str, Run]

    async def send(self, broadcast: str, kind: Kind, terminals: tuple[str, ...], group: str) -> Run:
        alert, row = a_row(broadcast, kind, terminals, group)
        await self.store.take(alert, [row], ME, wall_ms())
        run = await self.dispatcher.start(replace(row, state=BroadcastState.SENDING))
        self.runs[broadcast] = run
        return run


@asynccontextmanager
async def a_world(folder: Path, malice: Malice) -> AsyncIterator[World]:
    store = await Store.open(folder / "fenghuo.db")
    village = Compromised(malice)
    roles = {Kind(r.value): s for r, s in KEYS.signers.items() if r in SOUNDING}
    clock, _ = WireClock.start(wall_ms(), mono_ms(), 0)
    dispatcher = Dispatcher(
        store,
        village,
        Signers(roles, KEYS.signers[KeyRole.SERVICE]),
        lambda t: report_key(KEYS.secret, t) if t in IDS else None,
        lambda t: village.units[t].identity.groups if t in IDS else None,
        "http://127.0.0.1:1",
        clock,
        Metrics(),
        lambda _: None,
    )

    async def changed(_: bool) -> None: ...

    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(village.run(dispatcher.upward, changed), name="village"),
            tasks.create_task(dispatcher.run(), name="dispatch"),
        ]
        await asyncio.sleep(0)
        yield World(village, dispatcher, store, {})
        for task in running:
            task.cancel()
    await store.close()


async def attacked(folder: Path, malice: Malice) -> World:
    async with a_world(folder, malice) as world, asyncio.timeout(LIMIT_S):
        village, chance = world.village, random.Random(malice.seed + 1)
        village.power_on()
        await world.send("B1", Kind.ACTUAL, EAST, "east")
        await world.send("B2", Kind.EXERCISE, WEST, "west")
        await world.send("B3", Kind.ACTUAL, IDS, "all")
        stopped = chance.uniform(0.05, 0.4)
        for n in range(30):
            await asyncio.sleep(0.02)
            village.lie()
            if n == int(stopped / 0.02):
                await world.dispatcher.stop("B3", ME)
            if chance.random() < malice.cuts / 30:
                one = chance.choice(IDS)
                village.power_off(one)
                village.power_on(one)
        village.evil = False  # it is found out; from here on it is a broker like any other
        for one in IDS:  # and everybody connects anew
            village.power_off(one)
            village.power_on(one)
        for run in world.runs.values():
            while run.row.done is None or len(run.settled) < len(run.facts):
                await asyncio.sleep(0.02)
        for _ in range(40):  # what it had kept and says only now
            village.lie()
        await asyncio.sleep(0.1)
        return world


def judge(world: World) -> None:
    village = world.village
    planned = {"B1": set(EAST), "B2": set(WEST), "B3": set(IDS)}
    for terminal, began in village.began.items():
        assert set(began) <= set(planned), f"{terminal} sounded what nobody sent: {began}"
        for broadcast in began:
            assert terminal in planned[broadcast], f"{terminal} is no target of {broadcast}"
    assert village.again == [], "it sounded again after it was played"
    for broadcast, run in world.runs.items():
        assert set(run.facts) == planned[broadcast], "a delivery that nobody planned"
        for terminal, facts in run.facts.items():
            states = {state for _, state, _ in facts}
            if states & SOUNDED:
                assert broadcast in village.began[terminal], f"{terminal} never sounded {broadcast}: {facts}"
            if State.PLAYED in states:
                assert broadcast in village.ended[terminal], f"{terminal} never ended {broadcast}: {facts}"
            if broadcast != "B3":
                assert State.PLAYED in states, f"{terminal} was silenced for good: {facts}"


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions come sooner, or a broker that drops costs seconds of waiting each time."""
    monkeypatch.setattr(dispatch, "FIRST_QUIET_MS", 40)
    monkeypatch.setattr(dispatch, "LONGEST_FIRST_QUIET_MS", 120)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES < 20,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(malice=MALICE)
def test_it_makes_no_sound_and_no_receipt_and_when_it_ends_everybody_has_been_told(
    eager: None, malice: Malice
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        judge(asyncio.run(attacked(Path(folder), malice)))


WORST = Malice(7, 0.2, 0.5, 0.4, 0.4, 0.3, frozenset(LIES), 2)


async def test_the_enemy_of_this_test_really_attacks(tmp_path: Path, eager: None) -> None:
    world = await attacked(tmp_path, WORST)
    judge(world)
    assert world.village.tried > 100
    assert world.dispatcher._metrics.reports_refused._value.get() > 10
    assert sum(unit.core.unverified for unit in world.village.units.values() if unit.core) > 10


def _gullible(envelope: bytes, ring: KeyRing) -> OpenedCommand:
    """Believes whatever can be read."""
    try:
        return open_command(envelope, ring)
    except SealError as error:
        try:
            command = decode_command(envelope.partition(b"\n")[2])
            role = KeyRole(command.role) if isinstance(command, Play | Stop) else KeyRole.SERVICE
        except (WireError, ValueError):
            raise error from None
        return OpenedCommand(role, KEYS.signers[role].key_id, command, b"")


def _unsealed(payload: bytes, _: object) -> UpwardMessage:
    try:
        return decode_upward(payload.partition(b"\n")[2])
    except WireError as error:
        raise SealError(SealReason.MALFORMED, str(error)) from error


def _dumb(self: Compromised, unit: Unit, core: Core, what: str, subject: str) -> None:
    """One loudspeaker never begins."""
    if what != "started" or unit.identity.id != EAST[0]:
        _LATER(self, unit, core, what, subject)


_LATER, _CORE = Compromised._later, Core.__init__
HOLES: dict[str, tuple[tuple[tuple[object, str, object], ...], str]] = {
    "seals are not looked at": (
        ((Core, "__init__", lambda *a, **k: _CORE(*a, **k, opener=_gullible)),),
        "sounded what nobody sent|is no target",  # whichever forgery comes first
    ),
    "everything is for everybody": (((Core, "_targeted", lambda *_: True),), "is no target"),
    "reports need no seal": (
        (
            (dispatch, "open_report", _unsealed),
            (Compromised, "lie", lambda self: _lie_of_a_receipt(self)),
            (Compromised, "_later", _dumb),
        ),
        "never sounded B1",
    ),
    "a repeat is a new command": (((Core, "_answered", lambda *_: False),), "again after it was played"),
    "a refusal of anything ends it": (
        ((delivery, "_RETRYABLE", frozenset({"fetch"})), (delivery, "may_be_forged", lambda _: False)),
        "silenced for good",
    ),
}


@pytest.mark.parametrize("hole", HOLES)
async def test_a_hole_in_any_of_the_walls_is_found_by_it(
    tmp_path: Path, eager: None, hole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, found = HOLES[hole]
    for owner, name, instead in broken:
        monkeypatch.setattr(owner, name, instead)
    monkeypatch.setitem(globals(), "LIMIT_S", 20)
    noticed = ""
    for seed in range(8):  # an enemy too may have bad luck
        (tmp_path / str(seed)).mkdir()
        world = None
        try:
            world = await attacked(tmp_path / str(seed), replace(WORST, seed=seed))
        except* TimeoutError:
            pass  # who takes what is meant for another reports attempts that we never sent it, without end
        if world is None:
            continue
        try:
            judge(world)
        except AssertionError as error:
            noticed += f"{error}\n"
            if any(one in noticed for one in found.split("|")):
                break
    assert any(one in noticed for one in found.split("|")), noticed


def _lie_of_a_receipt(self: Compromised) -> None:
    words = '{"type":"report","terminal":"%s","broadcast":"B1","boot":"b","seq":9,"facts":[%s]}'
    fact = '{"attempt":1,"state":"played","at":5}'
    self.honest(EAST[0], f"FH1 {EAST[0]} AAAA\n{words % (EAST[0], fact)}".encode())


async def test_it_can_hold_back_a_stop_and_that_is_all(tmp_path: Path, eager: None) -> None:
    """What security.md says of delays: without the Stop a valid Play still sounds, until it expires; whoever
    has heard the Stop never plays it, whenever the Play comes."""
    calm = Malice(1, 0.0, 0.0, 0.0, 0.0, 0.0, frozenset({"replay"}), 0)
    async with a_world(tmp_path, calm) as world, asyncio.timeout(LIMIT_S):
        village = world.village
        village.power_on()
        while len(world.dispatcher.online) < len(IDS):
            await asyncio.sleep(0.02)
        kept: list[bytes] = []

        async def holding(address: Address, envelope: bytes, *, lifetime_s: int, sure: bool) -> None:
            if b'"play"' in envelope and isinstance(address, ToGroup | ToTerminal):
                kept.append(envelope)
                return
            if b'"stop"' in envelope and (isinstance(address, ToGroup) or address.id == IDS[0]):
                kept.append(envelope)
                for one in IDS[1:]:
                    village.give(one, envelope)
                return
            await Village.send(village, address, envelope, lifetime_s=lifetime_s, sure=sure)

        village.send = holding  # type: ignore[method-assign]
        run = await world.send("B3", Kind.ACTUAL, IDS, "all")
        while not kept:
            await asyncio.sleep(0.02)
        play = kept[0]
        await world.dispatcher.stop("B3", ME)
        while len(run.settled) < len(IDS) - 1:
            await asyncio.sleep(0.02)
        for one in IDS:
            village.give(one, play)
        await asyncio.sleep(0.2)
        assert village.heard("B3") == {IDS[0]}
        while State.PLAYED not in {state for _, state, _ in run.facts[IDS[0]]}:
            await asyncio.sleep(0.02)  # and what sounded in spite of the Stop is known
