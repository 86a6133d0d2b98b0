"""A county in memory: real terminal cores behind a `Transport` without a network, with faults at the seam.

`Village` passes the same contract suite as the MQTT transport, so it cannot lie about how one behaves.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from terminals.agent import core as agent
from terminals.agent.core import Core, Durable, Fetch, FetchManifest, Identity, Silence, Sound, Subscribe
from terminals.seal import KeyRing, KeyRole, report_key
from terminals.transport import Address, ToGroup, TransportError, Upward
from terminals.wire import decode_manifest


@dataclass
class Unit:
    """One terminal: its core, its disk, its host."""

    identity: Identity
    durable: Durable = field(default_factory=Durable)
    core: Core | None = None
    groups: tuple[str, ...] = ()
    held: set[str] = field(default_factory=set)
    sounded: list[str] = field(default_factory=list)
    """Broadcasts whose sound began, in order: what the village heard."""
    clips: list[tuple[str, str, int | None]] = field(default_factory=list)
    """(broadcast, hash of the clip or empty for the signal alone, wire ms) of every order to sound."""
    playing: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    breaks: str = ""
    """Reason with which every playing breaks."""
    boots: int = 0


class Village:
    """Terminals by id. `lose_up` and `lose_down` drop that share of messages; `cap` is the broker's queue."""

    def __init__(
        self,
        ids: Iterable[str],
        ring: KeyRing,
        secret: bytes,
        *,
        groups: Callable[[str], tuple[str, ...]] = lambda _: ("all",),
        play_s: float = 0.01,
        lose_up: float = 0.0,
        lose_down: float = 0.0,
        seed: int = 1,
    ) -> None:
        self._chance = random.Random(seed)
        self._play_s = play_s
        self._upward: Upward | None = None
        self.lose_up, self.lose_down = lose_up, lose_down
        self.reachable = True
        self.sent: list[tuple[Address, bytes]] = []
        self.manifests: Callable[[str], bytes | None] = lambda _: None
        """Set id → its manifest, as the controller serves it."""
        self.units = {
            i: Unit(
                Identity(
                    i,
                    "zhouqu",
                    report_key(secret, i),
                    ring,
                    groups(i),
                    ("zh",),
                    frozenset({"mp3"}),
                    frozenset({KeyRole.ACTUAL, KeyRole.EXERCISE, KeyRole.TEST}),
                )
            )
            for i in ids
        }

    # --- the port ---

    @property
    def connected(self) -> bool:
        return self._upward is not None and self.reachable

    async def run(self, upward: Upward, changed: Callable[[bool], Awaitable[None]]) -> None:
        self._upward = upward
        up = False
        try:
            while True:
                if up != self.reachable:
                    up = self.reachable
                    await changed(up)
                await asyncio.sleep(0.05)
                for unit in self.units.values():
                    wake = unit.core.next_wake() if unit.core is not None else None
                    if unit.core is not None and wake is not None and wake <= _mono():
                        self._do(unit, unit.core.tick(_mono()))
        finally:
            self._upward = None

    async def send(self, address: Address, envelope: bytes, *, lifetime_s: int, sure: bool) -> None:
        if not self.connected:
            raise TransportError("the village cannot be reached")
        self.sent.append((address, envelope))
        for unit in list(self.units.values()):
            hit = (
                address.key in unit.groups if isinstance(address, ToGroup) else address.id == unit.identity.id
            )
            if hit and unit.core is not None and self._chance.random() >= self.lose_down:
                self._do(unit, unit.core.command(envelope, _mono()))
        await asyncio.sleep(0)

    # --- what happens in the village ---

    def power_on(self, *ids: str) -> None:
        for i in ids or tuple(self.units):
            unit = self.units[i]
            unit.boots += 1
            unit.core = Core(
                unit.identity,
                unit.durable,
                boot=f"boot{unit.boots}",
                random=random.Random(f"{i}{unit.boots}"),
                held=unit.held,
            )
            self._do(unit, unit.core.connected(_mono()))

    def power_off(self, *ids: str) -> None:
        for i in ids or tuple(self.units):
            unit = self.units[i]
            for timer in unit.playing.values():
                timer.cancel()
            unit.playing.clear()
            unit.core, unit.groups = None, ()

    def heard(self, broadcast: str) -> set[str]:
        """Ids of the terminals whose loudspeaker began this broadcast."""
        return {i for i, unit in self.units.items() if broadcast in unit.sounded}

    def _do(self, unit: Unit, effects: list[agent.Effect]) -> None:
        core = unit.core
        assert core is not None
        for effect in effects:
            match effect:
                case agent.Send(payload=payload):
                    if self.connected and self._chance.random() >= self.lose_up:
                        assert self._upward is not None
                        self._upward(unit.identity.id, payload)
                case Subscribe(groups=groups):
                    unit.groups = groups
                case Fetch(clip=clip):
                    unit.held.add(clip.sha256)
                    asyncio.get_running_loop().call_soon(self._later, unit, core, "fetched", clip.sha256)
                case FetchManifest(set=name):
                    asyncio.get_running_loop().call_soon(self._manifest, unit, core, name)
                case Sound(broadcast=broadcast, at_mono=at, clip=clip):
                    unit.clips.append((broadcast, clip.sha256 if clip else "", core.now(_mono())))
                    loop = asyncio.get_running_loop()
                    wait = max(0, at - _mono()) / 1000
                    loop.call_later(wait, self._later, unit, core, "started", broadcast)
                case Silence(broadcast=broadcast):
                    if timer := unit.playing.pop(broadcast, None):
                        timer.cancel()
                case _:
                    pass

    def _manifest(self, unit: Unit, core: Core, name: str) -> None:
        body = self.manifests(name)
        if unit.core is core:
            manifest, problem = (None, "fetch") if body is None else (decode_manifest(body), None)
            self._do(unit, core.manifest(name, _mono(), manifest, problem))

    def _later(self, unit: Unit, core: Core, what: str, subject: str) -> None:
        if unit.core is not core:
            return  # the power went away meanwhile
        if what == "fetched":
            self._do(unit, core.fetched(subject, _mono(), None))
        elif what == "started" and unit.breaks:
            self._do(unit, core.broke(subject, _mono(), unit.breaks))
        elif what == "started":
            unit.sounded.append(subject)
            unit.playing[subject] = asyncio.get_running_loop().call_later(
                self._play_s, self._later, unit, core, "finished", subject
            )
            self._do(unit, core.started(subject, _mono()))
        else:
            unit.playing.pop(subject, None)
            self._do(unit, core.finished(subject, _mono()))


def _mono() -> int:
    return int(asyncio.get_running_loop().time() * 1000)
