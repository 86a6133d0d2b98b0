"""Keys change while the controller runs: who gets the ring, which key seals, what a revoked one can do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controller.clock import wall_ms
from controller.keys import CountyKeys, create, load, revoke, rotate
from controller.metrics import Metrics
from controller.rings import META, Rings, signers_of
from controller.store import Store, StoreError
from terminals.agent.core import Core, Identity
from terminals.agent.kept import Durable
from terminals.seal import KeyRole, open_command
from terminals.transport import ToGroup, TransportError
from terminals.wire import Health, Hello, Ring

ROLES = [r for r in KeyRole if r is not KeyRole.ROOT]
COUNTY = "623023"
DAY = 86_400_000


class Wire:
    def __init__(self) -> None:
        self.sent: list[tuple[object, bytes]] = []
        self.up = True

    async def send(self, address: object, envelope: bytes, *, lifetime_s: int, sure: bool) -> None:
        if not self.up:
            raise TransportError("not there")
        self.sent.append((address, envelope))


class Sealed:
    """Stands for Staging: remembers with which key its stages are sealed."""

    key_id = ""

    def seal_with(self, service: Any) -> None:
        self.key_id = service.key_id


@dataclass
class Office:
    folder: Path
    rings: Rings
    signers: Any
    wire: Wire
    staging: Sealed
    alarms: list[str]
    given: list[CountyKeys]
    held: dict[str, int]

    def hello(self, terminal: str, ring: int) -> bytes | None:
        said = Hello(terminal, "boot", 1, "n" * 16, 0, {}, (), Health("1"), ring=ring)
        return self.rings.heard(said, wall_ms())

    def key(self, role: KeyRole) -> str:
        return self.rings.sealing()[role.value]


@asynccontextmanager
async def an_office(tmp_path: Path, held: dict[str, int], *, highest: int = 0) -> AsyncIterator[Office]:
    folder = tmp_path / "keys"
    if not folder.exists():
        create(folder)
    store = await Store.open(tmp_path / "fenghuo.db")
    if highest:
        await store.set_meta(META, str(highest))
    keys = load(folder, ROLES)
    signers, wire, staging = signers_of(keys), Wire(), Sealed()
    alarms: list[str] = []
    given: list[CountyKeys] = []
    from controller.keys import stamp

    rings = Rings(
        keys,
        signers,
        read=lambda: load(folder, ROLES),
        stamp=lambda: stamp(folder),
        transport=wire,  # type: ignore[arg-type]
        staging=staging,  # type: ignore[arg-type]
        store=store,
        held=held,
        seen=dict.fromkeys(held, wall_ms()),
        enrolled=lambda t: True,
        now=wall_ms,
        alarm=alarms.append,
        metrics=Metrics(),
        changed=given.append,
    )
    try:
        yield Office(folder, rings, signers, wire, staging, alarms, given, held)
    finally:
        await store.close()


def turn(folder: Path, role: KeyRole = KeyRole.ACTUAL) -> CountyKeys:
    return rotate(folder, role, county=COUNTY, now=wall_ms())


async def test_a_rotation_is_taken_up_sent_to_all_and_used_when_all_hold_it(tmp_path: Path) -> None:
    async with an_office(tmp_path, {"t1": 0, "t2": 0}) as office:
        old = office.key(KeyRole.ACTUAL)
        new = turn(office.folder).signers[KeyRole.ACTUAL].key_id
        office.rings.look()
        await office.rings._publish()
        assert [type(a) for a, _ in office.wire.sent] == [ToGroup]
        assert office.given[-1].version == 1, "who enrols now is given the new ring"
        assert office.key(KeyRole.ACTUAL) == old
        assert office.hello("t1", 0) == office.rings.keys.envelope, "owed to who returns"
        assert office.hello("t1", 1) is None
        office.rings.look()
        assert (office.key(KeyRole.ACTUAL), office.rings.coverage().waiting) == (old, ("t2",))
        office.hello("t2", 1)
        office.rings.look()
        assert office.key(KeyRole.ACTUAL) == new
        assert office.signers.ours >= {old, new}, "reports under the older key are still believed to be ours"


async def test_a_ring_waits_for_the_broker(tmp_path: Path) -> None:
    async with an_office(tmp_path, {"t1": 0}) as office:
        office.wire.up = False
        turn(office.folder)
        office.rings.look()
        await office.rings._publish()
        assert office.rings._unsent
        office.wire.up = True
        await office.rings._publish()
        assert len(office.wire.sent) == 1


async def test_a_revoked_key_seals_nothing_from_then_on(tmp_path: Path) -> None:
    async with an_office(tmp_path, {"t1": 0}) as office:
        for role in (KeyRole.ACTUAL, KeyRole.SERVICE):
            stolen = office.key(role)
            revoke(office.folder, stolen, county=COUNTY, now=wall_ms())
            office.rings.look()
            assert office.key(role) != stolen, "although t1 does not hold the new ring yet"
        assert office.staging.key_id == office.key(KeyRole.SERVICE)


async def test_a_terminal_with_a_newer_ring_alarms_and_is_no_secret_to_readiness(tmp_path: Path) -> None:
    async with an_office(tmp_path, {"t1": 0}) as office:
        assert office.hello("t1", 7) is None
        office.hello("t1", 7)
        assert len(office.alarms) == 1
        assert "holds ring 7, ours is 0" in office.alarms[0]
        assert office.rings.problems()
        assert office.rings.coverage().ahead == ("t1",)


async def test_a_rolled_back_ring_file_is_not_taken_and_is_told(tmp_path: Path) -> None:
    async with an_office(tmp_path, {"t1": 0}) as office:
        turn(office.folder)
        old = (office.folder / "ring").read_bytes()
        keys = (office.folder / "actual.key").read_bytes()
        turn(office.folder)
        office.rings.look()
        await office.rings._publish()
        assert office.rings.keys.version == 2
        (office.folder / "ring").write_bytes(old)
        (office.folder / "actual.key").write_bytes(keys)
        office.rings.look()
        assert office.rings.keys.version == 2
        assert any("the ring in keys_dir is old" in a for a in office.alarms)
    async with an_office(tmp_path, {"t1": 2}) as again:  # and after a restart
        task = asyncio.create_task(again.rings.run())
        async with asyncio.timeout(20):
            while not again.rings.problems():
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert any("ring 2 was in use" in a for a in again.alarms)


async def test_damaged_keys_leave_the_running_ones_in_use(tmp_path: Path) -> None:
    async with an_office(tmp_path, {"t1": 0}) as office:
        before = office.rings.sealing()
        (office.folder / "actual.key").write_text("rubbish")
        office.rings.look()
        assert office.rings.sealing() == before
        assert any("cannot be taken up" in a for a in office.alarms)


async def test_a_disk_that_does_not_keep_the_highest_ring_is_an_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise StoreError("the disk is full")

    async with an_office(tmp_path, {"t1": 0}) as office:
        turn(office.folder)
        office.rings.look()
        monkeypatch.setattr(Store, "set_meta", full)
        await office.rings._remember()
        assert office.alarms == ["the disk is full"]


async def test_a_real_terminal_core_takes_our_ring_and_no_older_one(tmp_path: Path) -> None:
    async with an_office(tmp_path, {"t1": 0}) as office:
        enrolled = office.rings.keys.ring
        core = Core(
            Identity(
                id="t1", county=COUNTY, report_key=b"k" * 32, ring=enrolled, groups=("all",),
                languages=("zh",), codecs=frozenset({"mp3"}), roles=frozenset({KeyRole.ACTUAL}),
            ),
            Durable(), boot="b", random=random.Random(1), held=set(),
        )  # fmt: skip
        first = turn(office.folder).envelope
        second = turn(office.folder).envelope
        core.command(second, 1)
        assert core.ring_version == 2
        core.command(first, 2)
        assert core.ring_version == 2
        opened = open_command(second, enrolled)
        assert isinstance(opened.command, Ring)
