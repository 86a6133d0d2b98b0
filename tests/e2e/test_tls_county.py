"""A county as it is installed: locked keys, its own authority, mosquitto from `fenghuo broker config`, a real
terminal with its certificate; a warning played, then keys changed under way."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from simulators.broker import mosquitto_binary
from support.board import Board
from support.brokers import needs_mosquitto
from support.county import cap
from support.running import LIMIT_S, Site, free_port

pytestmark = pytest.mark.slow

ME = "zq-0001"
HERE = ("-c", "county.yaml")


async def said(site: Site, *words: str) -> str:
    code, out, err = await site.cli(*words)
    assert code == 0, (words, out, err)
    return out


def started(config: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([str(mosquitto_binary()), "-c", str(config)], stderr=subprocess.PIPE)


@needs_mosquitto
async def test_a_warning_is_played_over_tls_and_the_terminal_takes_the_next_keys(tmp_path: Path) -> None:
    (tmp_path / "county").mkdir()
    port = free_port()
    site = Site(
        tmp_path / "county",
        broker=f"{{url: 'mqtts://localhost:{port}', ca_file: ./keys/tls/ca.crt, "
        "terminals_login: certificate}",
        more="broadcast: {repeats: {orange: 1, yellow: 1, blue: 1}}\n"
        "keys_dir: ./keys\nkeys_passphrase_file: ./word",
    )
    (site.home / "word").write_text("correct horse\n")
    (site.home / "word").chmod(0o600)
    await said(site, "keys", "new", *HERE)
    assert (await site.cli("serve", *HERE))[0] == 3, "without its authority it hands out nothing"
    await said(site, "keys", "ca", *HERE)
    assert json.loads(await said(site, "keys", "show", "--json", *HERE))["locked"]
    async with site.serve("speaking", sandbox=False, up="/livez") as process:
        (site.home / "t.csv").write_text(
            "id,name,village,lat,lon,languages\nzq-0001,西城喇叭,w01v01,33.78,104.36,zh\n"
        )
        await said(site, "terminal", "import", "t.csv", *HERE)
        typed = (await said(site, "terminal", "enrol", ME, *HERE)).split()[1]
        address = json.loads(await said(site, "status", "--json", *HERE))["terminals_url"]
        board = Board(tmp_path / "board")
        await board.enrol(address, typed, ME)
        broker = site.home / "mosquitto"
        await said(site, "broker", "config", "--out", str(broker), *HERE)
        await said(site, "broker", "config", "--check", "--out", str(broker), *HERE)
        assert f"user {ME}\n" in (broker / "acl.txt").read_text()
        own = (broker / "mosquitto.conf").read_text().replace("/var/lib/mosquitto/", f"{broker}/")
        (broker / "here.conf").write_text(f"user root\n{own}")
        mosquitto = started(broker / "here.conf")
        try:
            await board.start()
            await board.until_timed()
            site.drop(cap(codes=("623023100000",)))
            done = await site.until_answered(
                "/v1/broadcasts", lambda a: any(one["state"] == "done" for one in a.json()), process
            )
            (first,) = (one["id"] for one in done.json() if one["state"] == "done")
            told = (await site.api.get(f"/v1/broadcasts/{first}")).json()
            assert told["total"]["played"] == told["total"]["targeted"] == 1, told["not_reached"]
            before = (await site.api.get("/v1/ring")).json()
            await said(site, "keys", "rotate", "actual", *HERE)
            await site.until_answered(
                "/v1/ring", lambda a: a.json()["holding"] == 1 and a.json()["version"] == 1, process
            )
            async with asyncio.timeout(LIMIT_S):
                while (after := await site.api.get("/v1/ring")).json()["sealing"] == before["sealing"]:
                    await asyncio.sleep(0.2)
            assert after.json()["sealing"]["actual"] != before["sealing"]["actual"]
            assert json.loads((await board.run("status", "--json"))[1])["ring"] == 1
            assert (await site.cli("broker", "revoke", ME, *HERE))[0] == 0
            code, out, _ = await site.cli("broker", "config", "--check", "--out", str(broker), *HERE)
            assert (code, out.split()[0]) == (1, "crl.pem")
            assert await board.stop() == 0
        finally:
            mosquitto.terminate()
            mosquitto.communicate(timeout=20)
    assert "Traceback" not in board.said()
    assert "correct horse" not in site.log.read_text()
