"""A real terminal of a real county: `fenghuo-terminal` against `fenghuo serve`, enrolled with a typed code,
its power cut again and again in the middle of a warning."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest
import soundfile

from simulators.broker import EmbeddedBroker
from support.board import Board
from support.county import cap
from support.running import LIMIT_S, Site

pytestmark = pytest.mark.slow

ME = "zq-0001"
ONCE = "broadcast: {repeats: {orange: 1, yellow: 1, blue: 1}}\nkeys_dir: ./keys"
CUTS = 5
HERE = ("-c", "county.yaml")


async def a_code(site: Site) -> tuple[str, str]:
    """The address where terminals enrol, and a code for ours, as an operator gets them."""
    (site.home / "t.csv").write_text(
        "id,name,village,lat,lon,languages\nzq-0001,西城喇叭,w01v01,33.78,104.36,zh\n"
    )
    code, _, err = await site.cli("terminal", "import", "t.csv", *HERE)
    assert code == 0, err
    code, out, err = await site.cli("terminal", "enrol", ME, *HERE)
    assert code == 0, err
    status = json.loads((await site.cli("status", "--json", *HERE))[1])
    return status["terminals_url"], out.split()[1]


def whole(board: Board) -> int:
    """Sounds that came to their end: the generic sentence is 12 s, and every cut comes within 3 s or so."""
    return sum(soundfile.info(path).duration > 9 for path in board.heard.iterdir())


@pytest.mark.parametrize("seed", [7])
async def test_however_often_the_power_goes_it_plays_to_the_end_once_and_never_again(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    (tmp_path / "county").mkdir()
    async with EmbeddedBroker() as broker:
        site = Site(tmp_path / "county", broker=f"{{url: 'mqtt://127.0.0.1:{broker.port}'}}", more=ONCE)
        assert (await site.cli("keys", "new", "--no-passphrase", *HERE))[0] == 0
        async with site.serve("speaking", sandbox=False) as process:
            board = Board(tmp_path / "board")
            await board.enrol(*await a_code(site), ME)
            await board.start()
            await board.until_timed()
            site.drop(cap(codes=("623023100000",)))
            await site.until_answered("/v1/broadcasts", lambda answer: answer.json() != [], process)
            for cut in range(CUTS):
                if cut % 2:  # in the middle of the sound; else anywhere
                    async with asyncio.timeout(LIMIT_S):
                        while not (await board.until(lambda _: True))["playing"]:
                            await asyncio.sleep(0.05)
                await asyncio.sleep(chance.uniform(0.0, 3.0))  # where it falls; nothing waits for it
                await board.kill()
                await board.start()
            done = await site.until_answered(
                "/v1/broadcasts", lambda a: any(one["state"] == "done" for one in a.json()), process
            )
            (first,) = (one["id"] for one in done.json() if one["state"] == "done")
            total = (await site.api.get(f"/v1/broadcasts/{first}")).json()["total"]
            assert total["played"] == total["targeted"] == 1
            assert whole(board) == 1
            await board.kill()
            await board.start()
            await board.until_timed()
            code, out, _ = await board.run("status", "--json")
            assert code == 0
            status = json.loads(out)
            assert status["trouble"] == {}
            assert first not in (status["playing"], *(one["broadcast"] for one in status["queued"]))
            assert await board.stop() == 0
    assert "Traceback" not in board.said()
