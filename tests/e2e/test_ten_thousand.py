"""More terminals than mosquitto's default queues hold: what the broker silently drops is asked for again."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from simulators.broker import MosquittoBroker
from support.brokers import NEEDS_MOSQUITTO
from support.county import cap
from support.running import TOKEN, Site

TERMINALS = int(os.environ.get("FENGHUO_TEST_FLEET", "1500"))
"""Above the 1,020 messages that a default mosquitto keeps for a busy controller (`messaging.md` §1.2)."""
LIMIT_S = 600.0

pytestmark = [pytest.mark.slow, *NEEDS_MOSQUITTO]


@asynccontextmanager
async def a_fleet(site: Site, report: dict[str, Any]) -> AsyncIterator[None]:
    """Simulated terminals in a process of their own, all of them connected; at the end, their own report."""
    token = site.home / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulators.fleet", "--controller", site.url, "--token-file", str(token),
        "--terminals", str(TERMINALS), "--audio", "shared", "--speed", "100",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            assert json.loads(await process.stdout.readline()) == {"ready": TERMINALS}
        yield
        process.terminate()
        async with asyncio.timeout(LIMIT_S):
            out, _ = await process.communicate()
        report.update(json.loads(out))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def counted(metrics: str, name: str) -> float:
    lines = [line.rsplit(" ", 1) for line in metrics.splitlines() if line.startswith(name)]
    return sum(float(value) for _, value in lines)


async def test_a_broker_that_drops_most_of_a_burst_costs_no_terminal_its_warning(tmp_path: Path) -> None:
    report: dict[str, Any] = {}
    broker = MosquittoBroker(production=False)
    await asyncio.to_thread(broker.start)
    try:
        site = Site(
            tmp_path,
            broker=f"{{url: 'mqtt://127.0.0.1:{broker.port}'}}",
            more="broadcast: {repeats: {orange: 1, yellow: 1, blue: 1}}",
        )
        async with site.serve("speaking") as process, a_fleet(site, report):
            (tmp_path / "w.xml").write_bytes(cap(codes=("623023000000",)))
            before = (await site.api.get("/metrics")).text
            code, out, err = await site.cli("exercise", "send", "w.xml", "--yes")
            assert code == 0, err
            alert = out.split()[0]
            parts = (await site.api.get(f"/v1/alerts/{alert}")).json()["broadcasts"]
            for broadcast in parts:
                answer = await site.until_answered(
                    f"/v1/broadcasts/{broadcast}", lambda a: a.json()["state"] == "done", process
                )
                total = answer.json()["total"]
                assert total["played"] == TERMINALS == total["targeted"]
                assert answer.json()["not_reached"] == []
            after = (await site.api.get("/metrics")).text
            again = counted(after, "fenghuo_questions_total") - counted(before, "fenghuo_questions_total")
            assert again > 0  # the broker did drop reports; without that nothing was proven
            assert counted(after, "fenghuo_reports_dropped_total") == 0  # not we
    finally:
        await asyncio.to_thread(broker.stop)
    assert report["started"] == TERMINALS * len(parts) == report["finished"]
    assert report["connected"] == TERMINALS
    assert report["reconnects"] == 0
