"""kill -9 of the controller at every step of a broadcast, and of the broker in the middle of one: nothing is
lost, nothing sounds twice."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from simulators.broker import EmbeddedBroker
from simulators.fleet import Fleet, FleetOptions
from support.county import cap
from support.running import LIMIT_S, TOKEN, Site

pytestmark = pytest.mark.slow

TERMINALS = 24
TARGETED = 20
"""The first twenty terminals of the pack stand in 城关镇."""
ONCE = "broadcast: {repeats: {orange: 1, yellow: 1, blue: 1}}\nstaging: {megabits: 1000}"
"""Nothing here needs to hear it three times, or to wait for the generic sentences on a slow line."""
WARNING = cap(codes=("623023100000",))


@asynccontextmanager
async def a_fleet(site: Site, speed: float = 60.0) -> AsyncIterator[Fleet]:
    fleet = Fleet(FleetOptions(controller=site.url, token=TOKEN, terminals=TERMINALS, speed=speed))
    await fleet.start()
    try:
        async with asyncio.timeout(LIMIT_S):
            await fleet.ready.wait()
            # Each holds the generic sentences, as it does from its first day: who has to fetch from a
            # controller that is dead sounds a stand-in first, and that is not what is counted here.
            while not await _held_by_all(site):
                await asyncio.sleep(0.05)
        yield fleet
    finally:
        await fleet.stop()


async def _held_by_all(site: Site) -> bool:
    sets = (await site.api.get("/v1/sets")).json()
    return bool(sets) and all(one["cover"]["whole"] == TERMINALS for one in sets)


async def all_played(site: Site, process: asyncio.subprocess.Process, fleet: Fleet) -> None:
    """The lead and the whole come to their end: every targeted terminal played each of them once."""
    listed = await site.until_answered("/v1/broadcasts", lambda answer: answer.json() != [], process)
    parts = [line["id"] for line in listed.json()]
    assert len(parts) == 2
    for part in parts:
        answer = await site.until_answered(
            f"/v1/broadcasts/{part}", lambda answer: answer.json()["state"] == "done", process
        )
        total = answer.json()["total"]
        assert total["played"] == TARGETED == total["targeted"]
    assert fleet.counts.started == TARGETED * len(parts)


@pytest.mark.parametrize(
    "point",
    [
        "Store.journal:before",
        "Store.journal:after",
        "Store.take:before",
        "Store.take:after",
        "Voicing.voice:after",
        "Store.set_broadcast:after",
        "Store.commit_command:after",
        "Dispatcher.publish:after",
        "Store.mark_published:after",
        "Dispatcher.keep:before",
        "Dispatcher.keep:after",
        "Dispatcher.done:before",
    ],
)
async def test_a_controller_killed_there_loses_nothing_and_repeats_no_sound(
    tmp_path: Path, point: str
) -> None:
    async with EmbeddedBroker() as broker:
        site = Site(tmp_path, broker=f"{{url: 'mqtt://127.0.0.1:{broker.port}'}}", more=ONCE)
        async with site.serve(crash=point) as process, a_fleet(site) as fleet:
            site.drop(WARNING)
            async with asyncio.timeout(LIMIT_S):
                assert await process.wait() == -signal.SIGKILL
            async with site.serve() as again:
                await all_played(site, again, fleet)


async def test_killed_again_and_again_it_still_comes_to_its_end(tmp_path: Path) -> None:
    async with EmbeddedBroker() as broker:
        site = Site(tmp_path, broker=f"{{url: 'mqtt://127.0.0.1:{broker.port}'}}", more=ONCE)
        async with site.serve(crash="Store.take:after") as first, a_fleet(site) as fleet:
            site.drop(WARNING)
            async with asyncio.timeout(LIMIT_S):
                await first.wait()
            for point in ("Voicing.voice:after", "Store.commit_command:after", "Dispatcher.keep:before"):
                assert await site.killed(point) == -signal.SIGKILL
            async with site.serve() as last:
                await all_played(site, last, fleet)


async def test_a_broker_killed_in_the_middle_of_a_broadcast_delays_and_loses_nothing(tmp_path: Path) -> None:
    broker = EmbeddedBroker()
    await asyncio.to_thread(broker.start)
    try:
        site = Site(tmp_path, broker=f"{{url: 'mqtt://127.0.0.1:{broker.port}'}}", more=ONCE)
        async with site.serve() as process, a_fleet(site, speed=10.0) as fleet:
            site.drop(WARNING)
            async with asyncio.timeout(LIMIT_S):
                while fleet.counts.started < TARGETED:
                    await asyncio.sleep(0.02)
            await asyncio.to_thread(broker.kill)
            async with asyncio.timeout(LIMIT_S):
                while fleet.counts.finished < fleet.counts.started:
                    await asyncio.sleep(0.02)
            await asyncio.to_thread(broker.start)
            await all_played(site, process, fleet)
    finally:
        await asyncio.to_thread(broker.stop)
