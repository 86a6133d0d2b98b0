"""Loudspeakers that lie, at a real mosquitto with the rules that we ship: of whom they are believed."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from pathlib import Path

import aiomqtt

from simulators.broker import HOST, MosquittoBroker
from simulators.faults import Fault
from simulators.fleet import Fleet, FleetOptions, Heard
from support.brokers import NEEDS_MOSQUITTO
from support.county import cap
from support.running import LIMIT_S, TOKEN, Site
from terminals.agent.core import Sound

DEPLOY = Path(__file__).parents[2] / "deploy"
CLAIMS, SPEAKS_FOR_VICTIM, VICTIM = "sim-00003", "sim-00005", "sim-00006"
TERMINALS = 12
pytestmark = NEEDS_MOSQUITTO


def rules(folder: Path) -> Path:
    """What deploy/acl.txt lets a terminal do; without a user name everything, for controller and spy."""
    shipped = (DEPLOY / "acl.txt").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in shipped if line.startswith("pattern ")]
    assert len(patterns) == 4
    path = folder / "acl"
    path.write_text("\n".join(("topic readwrite fenghuo/#", *patterns)) + "\n", encoding="utf-8")
    path.chmod(0o600)
    return path


async def test_a_liar_is_believed_of_itself_and_of_nobody_else_and_an_ear_beside_it_knows(
    tmp_path: Path,
) -> None:
    finished: dict[str, set[str]] = defaultdict(set)

    def ear(terminal: str, sound: Sound, how: Heard) -> None:
        if how is Heard.FINISHED:
            finished[sound.broadcast].add(terminal)

    said_of_victim: list[bytes] = []

    async def spy(port: int, there: asyncio.Event) -> None:
        async with aiomqtt.Client(HOST, port, identifier="spy") as client:
            await client.subscribe(f"fenghuo/zhouqu/rpt/{VICTIM}", qos=1)
            there.set()
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                said_of_victim.append(message.payload)

    broker = MosquittoBroker(acl=rules(tmp_path))
    async with broker, asyncio.TaskGroup() as tasks:
        there = asyncio.Event()
        spying = tasks.create_task(spy(broker.port, there))
        await there.wait()
        (tmp_path / "county").mkdir()
        site = Site(
            tmp_path / "county",
            broker=f"{{url: 'mqtt://{HOST}:{broker.port}'}}",
            more="broadcast: {repeats: {orange: 1, yellow: 1, blue: 1}}",
        )
        async with site.serve("speaking") as process:
            fleet = Fleet(
                FleetOptions(
                    controller=site.url,
                    token=TOKEN,
                    terminals=TERMINALS,
                    speed=60.0,
                    faults={
                        CLAIMS: Fault.CLAIMS_PLAYED,
                        SPEAKS_FOR_VICTIM: Fault.SPEAKS_FOR_OTHERS,
                        VICTIM: Fault.OFFLINE,
                    },
                ),
                ear=ear,
            )
            try:
                async with asyncio.timeout(LIMIT_S):
                    await fleet.start()
                    await fleet.wait(fleet.ready)
                (site.home / "w.xml").write_bytes(cap(codes=("623023000000",)))
                code, out, err = await site.cli("exercise", "send", "w.xml", "--yes")
                assert code == 0, err
                shown = await site.api.get(f"/v1/alerts/{out.split()[0]}")
                broadcasts: list[str] = shown.json()["broadcasts"]
                everybody = {f"sim-{n + 1:05d}" for n in range(TERMINALS)}
                for broadcast in broadcasts:
                    answer = await site.until_answered(
                        f"/v1/broadcasts/{broadcast}",
                        lambda a: a.json()["total"]["played"] >= TERMINALS - 1,
                        process,
                    )
                    # The lie of itself is believed, that of its neighbour is not.
                    missed = [(r["terminal"], r["state"]) for r in answer.json()["not_reached"]]
                    assert missed == [(VICTIM, "sent")]
                    async with asyncio.timeout(LIMIT_S):
                        while finished[broadcast] != everybody - {CLAIMS, VICTIM}:
                            await asyncio.sleep(0.05)
                metrics = (await site.api.get("/metrics")).text
                refused = [x for x in metrics.splitlines() if x.startswith("fenghuo_reports_refused_total")]
                assert float(refused[0].split()[-1]) >= len(broadcasts), (
                    "in its neighbour's name, on its own way"
                )
                # That on its neighbour's way the broker has kept.
                end = time.monotonic() + 1
                while time.monotonic() < end and not said_of_victim:
                    await asyncio.sleep(0.05)
                assert said_of_victim == []
            finally:
                await fleet.stop()
        spying.cancel()
