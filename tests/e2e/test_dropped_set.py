"""A held set that an operator drops is forgotten over a real broker, and the figure follows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from simulators.broker import EmbeddedBroker, MosquittoBroker
from simulators.fleet import Fleet, FleetOptions
from support.brokers import BROKERS
from support.running import LIMIT_S, TOKEN, Site

pytestmark = pytest.mark.slow
TERMINALS = 3


@pytest.mark.parametrize("kind", BROKERS)
async def test_a_dropped_set_leaves_every_terminal_and_the_figure_follows(
    tmp_path: Path, kind: type[EmbeddedBroker] | type[MosquittoBroker]
) -> None:
    broker = kind()
    await asyncio.to_thread(broker.start)
    try:
        site = Site(tmp_path, broker=f"{{url: 'mqtt://127.0.0.1:{broker.port}'}}")
        async with site.serve("speaking") as process:
            fleet = Fleet(FleetOptions(controller=site.url, token=TOKEN, terminals=TERMINALS, speed=60.0))
            try:
                async with asyncio.timeout(LIMIT_S):
                    await fleet.start()
                    await fleet.wait(fleet.ready)
                sets = await site.until_answered(
                    "/v1/sets",
                    lambda a: any(
                        s["purpose"] == "floor" and s["cover"]["whole"] == TERMINALS for s in a.json()
                    ),
                    process,
                )
                held = next(s["id"] for s in sets.json() if s["purpose"] == "floor")
                code, _, err = await site.cli("stage", "drop", held)
                assert code == 0, err
                assert held in err
                await site.until_answered(
                    "/v1/sets", lambda a: held not in {s["id"] for s in a.json()}, process
                )
                assert not any(held in unit.core.sets() for unit in fleet._terminals.values())
                code, out, _ = await site.cli("stage", "list")
                assert code == 0
                assert held not in out
            finally:
                await fleet.stop()
    finally:
        await asyncio.to_thread(broker.stop)
