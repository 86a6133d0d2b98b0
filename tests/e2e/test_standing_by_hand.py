"""A standing message of a real county at a real `fenghuo-terminal`: kept, played by hand while the broker is
away, told of afterwards, and dropped."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from simulators.broker import EmbeddedBroker
from support.board import Board, Wire
from support.running import LIMIT_S, Site

pytestmark = pytest.mark.slow

ME = "zq-0001"
HERE = ("-c", "county.yaml")
SEND = ("standing", "send", "actual", "--template", "flash_flood", "--colour", "orange", "--area", "城关镇")
ROW = "id,name,village,lat,lon,languages\nzq-0001,西城喇叭,w01v01,33.78,104.36,zh\n"


async def answer(site: Site, *words: str) -> Any:
    code, out, err = await site.cli(*words, *HERE)
    assert code == 0, err
    return json.loads(out)


async def one(site: Site, wanted: Any) -> dict[str, Any]:
    """The only standing message, once it is as wanted."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            (found,) = await answer(site, "standing", "list", "--json")
            if wanted(found):
                return dict(found)
            await asyncio.sleep(0.2)


async def test_a_hand_sounds_it_without_the_broker_and_the_county_hears_of_it_afterwards(
    tmp_path: Path,
) -> None:
    (tmp_path / "county").mkdir()
    async with EmbeddedBroker() as broker:
        office: Any = SimpleNamespace(_broker=broker.port)
        async with Wire(office) as way:
            assert way._server is not None
            line = way._server.sockets[0].getsockname()[1]
            urls = f"url: 'mqtt://127.0.0.1:{broker.port}', terminals_url: 'mqtt://127.0.0.1:{line}'"
            site = Site(tmp_path / "county", broker=f"{{{urls}}}", more="keys_dir: ./keys")
            assert (await site.cli("keys", "new", "--no-passphrase", *HERE))[0] == 0
            board = Board(tmp_path / "board")
            async with site.serve("brief", sandbox=False):
                (site.home / "t.csv").write_text(ROW)
                assert (await site.cli("terminal", "import", "t.csv", *HERE))[0] == 0
                url = (await answer(site, "status", "--json"))["terminals_url"]
                code = (await site.cli("terminal", "enrol", ME, *HERE))[1].split()[1]
                await board.enrol(url, code, ME)
                await board.start()
                await board.until_timed()
                refused, _, err = await site.cli(*SEND, "--valid", "401", "--yes", *HERE)
                assert refused == 2, err
                sent, out, err = await site.cli(*SEND, "--valid", "400", "--yes", *HERE)
                assert sent == 0, err
                broadcast = out.split()[1]
                assert (await one(site, lambda found: found["holding"]))["terminals"] == 1
                assert board.sounds() == []

                await way.cut()
                await board.until(lambda status: not status["connected"])
                code_, out, err = await board.run("play")
                assert (code_, out) == (0, f"{broadcast} sounds now\n"), err
                await board.until(lambda status: status["last_sound"].get("state") == "played")
                assert len(board.sounds()) == 1
                assert (await one(site, bool))["hands"] == 0, "nobody can know yet"

            async with site.serve("brief", sandbox=False):  # another process of the controller hears of it
                await way.mend()
                told = await one(site, lambda found: found["hands"])
                assert (told["holding"], told["now"], told["state"]) == (1, [], "kept")
                shown = await answer(site, "broadcast", "show", broadcast, "--json")
                assert [hand["terminal"] for hand in shown["hands"]] == [ME]
                mine = await answer(site, "terminal", "show", ME, "--json")
                assert [kept["broadcast"] for kept in mine["standing"]] == [broadcast]
                assert mine["standing"][0]["began"] == shown["hands"][0]["began"]
                assert mine["heard"] is not None
                audit = await answer(site, "audit", "--json", "--subject", broadcast)
                assert any(
                    (row["who"], row["what"]) == (f"terminal:{ME}", "standing.by-hand") for row in audit
                )
                status = await answer(site, "status", "--json")
                assert any(f"{broadcast} is sounded by hand at {ME}" in text for text in status["alarms"])
                assert (status["standing"], status["sending"]) == (1, 0)

                assert (await site.cli("broadcast", "stop", "--all", "--yes", *HERE))[0] == 0
                assert (await one(site, bool))["holding"] == 1, "what makes no sound stays"
                dropped, _, err = await site.cli("standing", "drop", broadcast, "--yes", *HERE)
                assert dropped == 0, err
                await board.until(lambda status: status["standing"] == [])
                code_, _, err = await board.run("play")
                assert code_ == 6, err
                async with asyncio.timeout(LIMIT_S):
                    while await answer(site, "standing", "list", "--json"):
                        await asyncio.sleep(0.2)
            assert await board.stop() == 0
    assert "Traceback" not in board.said() + site.log.read_text()
