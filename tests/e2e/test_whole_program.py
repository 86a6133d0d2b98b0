"""The program as its people use it: `fenghuo …` in real processes, a controller, a broker and a simulated
county that speaks the real protocol. Nothing here looks inside; what is asserted is what was printed, what an
exit code said, and what the village heard."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest
import pytest_asyncio
from openapi_spec_validator import validate

from simulators.broker import EmbeddedBroker
from simulators.faults import Fault
from simulators.fleet import Fleet, FleetOptions
from support.county import BEIJING, cap
from support.running import LIMIT_S, TOKEN, Site, free_port
from terminals.enrolment import KEY_ENTROPY, Applicant
from terminals.seal import KeyRole
from tts import floor

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

IDS = re.compile(r"(A\d{6}-\w+) (B\d{6}-\w+)\n")
TERMINALS = 30
GOOD = ("城关镇", "623023100000", 20)
"""All terminals there are healthy."""
DEAD_AMPLIFIER = "sim-00021"
"""One of the eight in 大川镇."""
OFFLINE = "sim-00030"
"""One of the two in 峰迭镇; nobody hears of it."""
ONCE = "broadcast: {repeats: {red: 1, orange: 1, yellow: 1}}"
OFTEN = "broadcast: {repeats: {red: 5, orange: 5, yellow: 3}}"
RAIN = ("--template", "rainstorm", "--colour", "orange")


class Desk:
    """A site whose controller runs, and its fleet."""

    def __init__(self, site: Site, process: asyncio.subprocess.Process, fleet: Fleet) -> None:
        self.site, self.process, self.fleet = site, process, fleet
        (site.home / "other").write_text("other\n")
        (site.home / "other").chmod(0o600)

    def file(self, name: str, body: bytes) -> str:
        (self.site.home / name).write_bytes(body)
        return name

    async def cli(self, *words: str) -> tuple[int, str, str]:
        return await self.site.cli(*words)

    async def json(self, *words: str) -> Any:
        code, out, err = await self.cli(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    async def sent(self, *words: str, code: int = 0, says: str = "") -> tuple[str, str]:
        """Ids of the alert and of the broadcast that `fenghuo WORDS` printed, and nothing else on stdout."""
        got, out, err = await self.cli(*words)
        assert got == code, err
        assert says in err
        ids = IDS.fullmatch(out)
        assert ids is not None, out
        return ids[1], ids[2]

    async def parts(self, alert: str) -> list[dict[str, Any]]:
        """The broadcasts of an alert, each once every outcome is known."""
        found = []
        for broadcast in (await self.json("alert", "show", alert))["broadcasts"]:
            answer = await self.site.until_answered(
                f"/v1/broadcasts/{broadcast}",
                lambda a: a.json()["state"] == "done",
                self.process,
            )
            found.append(answer.json())
        return found

    async def metrics(self) -> dict[str, float]:
        text = (await self.site.api.get("/metrics")).text
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    async def until_held(self, identifier: str) -> str:
        """The alert's id, once it waits for somebody."""
        answer = await self.site.until_answered(
            "/v1/alerts?state=held",
            lambda a: any(one["identifier"] == identifier for one in a.json()),
            self.process,
        )
        return next(one["id"] for one in answer.json() if one["identifier"] == identifier)


@asynccontextmanager
async def a_desk(
    home: Path, *, voice: str = "speaking", often: str = ONCE, more: str = "", **fleet: Any
) -> AsyncIterator[Desk]:
    given: dict[str, Any] = {"terminals": TERMINALS, "speed": 60.0}
    async with EmbeddedBroker() as broker:
        site = Site(home, broker=f"{{url: 'mqtt://127.0.0.1:{broker.port}'}}", more=f"{often}\n{more}")
        async with site.serve(voice) as process, a_fleet(site, **(given | fleet)) as running:
            yield Desk(site, process, running)


@asynccontextmanager
async def a_fleet(site: Site, **options: Any) -> AsyncIterator[Fleet]:
    fleet = Fleet(FleetOptions(controller=site.url, token=TOKEN, **options))
    try:
        async with asyncio.timeout(LIMIT_S):
            await fleet.start()
            await fleet.wait(fleet.ready)
        yield fleet
    finally:
        await fleet.stop()


async def until(true: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not true():
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    home = tmp_path_factory.mktemp("county")
    hook = home / "hook.sh"
    hook.write_text(f'#!/bin/sh\necho "$1" >> {home}/rung\n')
    hook.chmod(0o700)
    faults = {DEAD_AMPLIFIER: Fault.DEAD_AMPLIFIER, OFFLINE: Fault.OFFLINE}
    async with a_desk(home, more=f'hold_hook: ["{hook}", "{{{{alert}}}}"]', faults=faults) as made:
        yield made


# --- sending -----------------------------------------------------------------------------------------


async def test_a_file_is_sent_heard_everywhere_and_followed_to_its_end(desk: Desk) -> None:
    file = desk.file("w.xml", cap(identifier="e2e-1", codes=(GOOD[1],)))
    before = desk.fleet.counts.started
    alert, broadcast = await desk.sent("alert", "send", file, "--yes", "--wait")
    parts = await desk.parts(alert)
    assert broadcast in {part["id"] for part in parts}
    assert all(part["total"]["played"] == part["total"]["targeted"] == GOOD[2] for part in parts)
    assert all(part["kind"] == "actual" for part in parts)
    assert desk.fleet.counts.started - before == GOOD[2] * len(parts)


async def test_an_operator_composes_a_warning_for_a_place_by_its_name(desk: Desk) -> None:
    alert, broadcast = await desk.sent(
        "alert", "send", *RAIN, "--area", GOOD[0], "--text", "寨子村后山有裂缝。", "--yes", "--wait"
    )
    shown = await desk.json("alert", "show", alert)
    assert shown["plan"]["places"] == [GOOD[0]]
    assert "寨子村后山有裂缝" in shown["plan"]["text"]
    assert (await desk.json("broadcast", "show", broadcast))["total"]["played"] == GOOD[2]


async def test_a_loudspeaker_that_does_not_sound_is_exit_5_and_named_with_its_reason(desk: Desk) -> None:
    _, broadcast = await desk.sent("alert", "send", *RAIN, "--area", "大川镇", "--yes", "--wait", code=5)
    code, out, _ = await desk.cli("broadcast", "show", broadcast)
    assert code == 0
    line = next(line for line in out.splitlines() if DEAD_AMPLIFIER in line)
    assert "大川镇" in line
    assert "amplifier" in line
    [missing] = (await desk.json("broadcast", "show", broadcast))["not_reached"]
    assert (missing["terminal"], missing["state"], missing["reason"]) == (
        DEAD_AMPLIFIER,
        "failed",
        "amplifier",
    )
    code, _, err = await desk.cli("broadcast", "watch", broadcast)
    assert code == 5, err


@pytest.mark.parametrize("kind", ["exercise", "test"])
async def test_an_exercise_and_a_test_are_verbs_of_their_own_and_say_what_they_are(
    desk: Desk, kind: Literal["exercise", "test"]
) -> None:
    alert, broadcast = await desk.sent(kind, "send", *RAIN, "--area", GOOD[0], "--yes", "--wait")
    shown = await desk.json("alert", "show", alert)
    assert shown["kind"] == kind == (await desk.json("broadcast", "show", broadcast))["kind"]
    word = {"exercise": "演练", "test": "测试"}[kind]
    assert word in shown["plan"]["text"]
    _, out, _ = await desk.cli("broadcast", "show", broadcast)
    assert kind.upper() in out
    assert {part["clip"] for part in await desk.parts(alert)} == {
        floor.generic(kind)[1].sha256
    }  # its voice's


async def test_a_dry_run_shows_everything_and_sends_nothing(desk: Desk) -> None:
    alerts, before = await desk.json("alert", "list"), await desk.metrics()
    code, out, _ = await desk.cli("alert", "send", *RAIN, "--area", GOOD[0], "--dry-run")
    assert code == 0
    for shown in ("ACTUAL", "nothing is sent", GOOD[0], "20 terminals", "暴雨橙色预警"):
        assert shown in out
    assert await desk.json("alert", "list") == alerts
    assert {k: v for k, v in (await desk.metrics()).items() if "commands" in k} == {
        k: v for k, v in before.items() if "commands" in k
    }


async def test_a_preview_says_who_and_what_and_leaves_the_sound_in_a_file(desk: Desk) -> None:
    alerts = await desk.json("alert", "list")
    code, out, err = await desk.cli("exercise", "preview", *RAIN, "--area", "大川镇", "--out", "say.mp3")
    assert code == 0, err
    assert "EXERCISE" in out
    assert "8 terminals" in out
    assert "这是演练" in out
    sound = (desk.site.home / "say.mp3").read_bytes()
    assert sound[:3] == b"ID3" or sound[0] == 0xFF  # an MP3, whole
    plan = await desk.json("exercise", "preview", *RAIN, "--area", "大川镇")
    assert len(sound) > 10_000
    assert plan["seconds"] > 1
    assert await desk.json("alert", "list") == alerts


async def typed(desk: Desk, word: str, *words: str) -> tuple[int, str, str]:
    """`fenghuo WORDS` at a terminal where somebody types `word` once asked to."""
    ours, theirs = pty.openpty()
    said = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # the far end is closed
            while chunk := os.read(ours, 65_536):
                said.extend(chunk)

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "controller.cli", *words, env=desk.site.env, cwd=desk.site.home,
        stdin=theirs, stderr=theirs, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    os.close(theirs)
    reader = asyncio.create_task(asyncio.to_thread(read))
    try:
        await until(lambda: b"type" in said or process.returncode is not None)
        os.write(ours, word.encode() + b"\n")  # earlier it would be forgotten
        async with asyncio.timeout(LIMIT_S):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reader
        os.close(ours)
    assert process.returncode is not None
    return process.returncode, out.decode(), said.decode()


async def test_at_a_terminal_only_the_word_of_its_kind_sends_it(desk: Desk) -> None:
    alerts = await desk.json("alert", "list")
    code, out, said = await typed(desk, "yes", "alert", "send", *RAIN, "--area", GOOD[0])
    assert (code, out) == (1, "")
    assert "nothing was done" in said
    assert await desk.json("alert", "list") == alerts
    code, out, said = await typed(desk, "ACTUAL", "alert", "send", *RAIN, "--area", GOOD[0])
    assert code == 0, said
    ids = IDS.fullmatch(out)
    assert ids is not None
    await desk.parts(ids[1])


# --- what is refused ---------------------------------------------------------------------------------


async def test_what_may_not_sound_is_exit_6_with_the_reason_and_makes_no_sound(desk: Desk) -> None:
    good = cap(identifier="e2e-bad", codes=(GOOD[1],))
    ago = datetime.now(BEIJING) - timedelta(hours=7)
    started, before = desk.fleet.counts.started, await desk.json("broadcast", "list")
    for words, says in (
        ((*RAIN, "--area", "火星镇"), "火星镇"),
        ((*RAIN, "--area", "623024101"), "623024101"),  # a neighbour's
        ((*RAIN, "--area", "62302310"), "62302310"),
        (cap(codes=(GOOD[1],), sent=ago, expires=ago + timedelta(hours=1)), "expired"),
        (cap(codes=("623021000000",)), "nothing of the area lies in 舟曲县"),
        (cap(codes=(GOOD[1],), status="Exercise"), "Exercise"),
        (good[:400], "cut off"),
        (good.replace(b"<alert", b'<!DOCTYPE a [<!ENTITY b "c">]><alert', 1), "DTD"),
    ):
        what = words if isinstance(words, tuple) else (desk.file("bad.xml", words),)
        code, out, err = await desk.cli("alert", "send", *what, "--yes")
        assert (code, out) == (6, ""), (says, err)
        assert says in err
    assert await desk.json("broadcast", "list") == before
    assert desk.fleet.counts.started == started


async def test_without_a_terminal_and_without_yes_it_is_usage_and_nothing_is_sent(desk: Desk) -> None:
    alerts = await desk.json("alert", "list")
    code, out, err = await desk.cli("alert", "send", *RAIN, "--area", GOOD[0])
    assert (code, out) == (2, "")
    assert "--yes" in err
    assert await desk.json("alert", "list") == alerts


# --- ending it ---------------------------------------------------------------------------------------


async def test_a_cancel_airs_the_all_clear_only_where_it_had_sounded(desk: Desk) -> None:
    alert, broadcast = await desk.sent("alert", "send", *RAIN, "--area", "峰迭镇", "--yes", "--wait", code=5)
    [missing] = (await desk.json("broadcast", "show", broadcast))["not_reached"]
    assert missing["terminal"] == OFFLINE
    assert "no report since" in missing["words"]
    assert "never seen" in missing["words"]
    done = await desk.json("alert", "cancel", alert, "--reason", "雨停了", "--yes")
    [clear] = done["all_clear"]
    assert broadcast in done["stopped"]
    answer = await desk.site.until_answered(
        f"/v1/broadcasts/{clear}", lambda a: a.json()["state"] == "done", desk.process
    )
    total = answer.json()["total"]
    assert (total["targeted"], total["played"]) == (1, 1)  # its neighbour
    assert (await desk.json("alert", "show", alert))["state"] == "cancelled"
    code, _, err = await desk.cli("alert", "cancel", alert, "--yes")
    assert code == 6
    assert "cancelled" in err


async def test_a_stop_is_acknowledged_by_every_terminal_and_no_all_clear_follows(tmp_path: Path) -> None:
    # Slowly: it still sounds when the stop comes, however long the command takes to start.
    # Often enough that it still sounds when the stop comes, however long that command takes to start.
    async with a_desk(tmp_path, often=OFTEN, terminals=20, speed=1.0) as desk:
        _, broadcast = await desk.sent("test", "send", *RAIN, "--area", GOOD[0], "--yes")
        await until(lambda: desk.fleet.counts.started == GOOD[2])
        code, _, err = await desk.cli("broadcast", "stop", broadcast, "--yes")
        assert code == 0, err
        code, _, err = await desk.cli("broadcast", "watch", broadcast)
        assert code == 5, err
        summary = await desk.json("broadcast", "show", broadcast)
        assert (summary["state"], summary["stopped_by"]) == ("stopped", "王主任")
        assert summary["total"]["played"] == 0
        assert {m["state"] for m in summary["not_reached"]} == {"cancelled"}
        assert len(summary["not_reached"]) == GOOD[2]
        assert desk.fleet.counts.finished == 0
        assert len(await desk.json("broadcast", "list")) == 1
        code, _, err = await desk.cli("broadcast", "stop", broadcast, "--yes")
        assert code == 6
        assert "stopped" in err


async def test_stopped_by_sigterm_in_the_middle_of_a_broadcast_it_ends_in_order_and_goes_on_after(
    tmp_path: Path,
) -> None:
    async with EmbeddedBroker() as broker:
        site = Site(tmp_path, broker=f"{{url: 'mqtt://127.0.0.1:{broker.port}'}}", more=ONCE)
        async with site.serve("speaking") as first, a_fleet(site, terminals=20, speed=2.0) as fleet:
            desk = Desk(site, first, fleet)
            _, broadcast = await desk.sent("test", "send", *RAIN, "--area", GOOD[0], "--yes")
            watcher = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "controller.cli", "broadcast", "watch", broadcast, "--json",
                env=site.env, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert watcher.stdout is not None
            assert (line := await watcher.stdout.readline())
            await until(lambda: fleet.counts.started == GOOD[2])
            first.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                assert await first.wait() == 0
            await until(lambda: fleet.counts.finished == GOOD[2])  # the village hears it to its end
            async with site.serve("speaking") as again:
                await site.until_answered(
                    f"/v1/broadcasts/{broadcast}", lambda a: a.json()["state"] == "done", again
                )
                async with asyncio.timeout(LIMIT_S):
                    out, _ = await watcher.communicate()
                assert watcher.returncode == 0  # it went on looking through the restart
                assert json.loads((line + out).splitlines()[-1])["data"]["total"]["played"] == GOOD[2]
                assert (await desk.json("broadcast", "show", broadcast))["total"]["played"] == GOOD[2]
                assert fleet.counts.started == GOOD[2]


# --- what is held ------------------------------------------------------------------------------------


async def test_what_is_held_rings_until_somebody_approves_it_and_then_sounds(desk: Desk) -> None:
    started = desk.fleet.counts.started
    watch = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "controller.cli", "alert", "watch", env=desk.site.env, cwd=desk.site.home,
        stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        desk.site.drop(
            cap(identifier="e2e-yellow", event="雷暴大风", colour="黄色", codes=(GOOD[1],)), "yellow.xml"
        )
        alert = await desk.until_held("e2e-yellow")
        assert watch.stderr is not None
        async with asyncio.timeout(LIMIT_S):
            said = await watch.stderr.readuntil(b"\a")
        assert alert in said.decode()
    finally:
        watch.terminate()
        await watch.wait()
    code, out, _ = await desk.cli("alert", "list", "--state", "held")
    line = next(line for line in out.splitlines() if alert in line)
    assert re.search(r"held \(0:\d\d min\)", line)
    shown = await desk.json("alert", "show", alert)
    assert (shown["state"], shown["reason"], shown["source"]) == ("held", "no release rule matches", "bureau")
    assert desk.fleet.counts.started == started
    await until(lambda: alert in _rung(desk))
    held = (await desk.metrics())["fenghuo_alerts_held"]
    assert held >= 1
    _, broadcast = await desk.sent("alert", "approve", alert, "--token-file", "other", "--yes", "--wait")
    assert (await desk.json("broadcast", "show", broadcast))["total"]["played"] == GOOD[2]
    assert (await desk.metrics())["fenghuo_alerts_held"] == held - 1
    code, out, err = await desk.cli("alert", "approve", alert, "--yes")
    assert (code, out) == (6, "")
    assert "李值班" in err
    who = [(row["who"], row["what"]) for row in await desk.json("audit", "--subject", alert)]
    assert who == [("李值班", "alert.approve"), ("feed:bureau", "alert.held")]


def _rung(desk: Desk) -> str:
    rung = desk.site.home / "rung"
    return rung.read_text() if rung.exists() else ""


async def test_what_is_rejected_never_sounds_and_the_log_says_who_and_why(desk: Desk) -> None:
    started = desk.fleet.counts.started
    desk.site.drop(cap(identifier="e2e-reject", event="大雾", colour="黄色", codes=(GOOD[1],)), "blue.xml")
    alert = await desk.until_held("e2e-reject")
    assert (await desk.cli("alert", "reject", alert))[0] == 2  # without a reason
    code, _, err = await desk.cli("alert", "reject", alert, "--reason", "误发")
    assert code == 0, err
    assert (await desk.json("alert", "show", alert))["state"] == "rejected"
    for verb in (("approve", alert, "--yes"), ("reject", alert, "--reason", "x"), ("cancel", alert, "--yes")):
        assert (await desk.cli("alert", *verb))[0] == 6
    top = (await desk.json("audit", "--subject", alert))[0]
    assert (top["who"], top["what"], top["detail"]) == ("王主任", "alert.reject", "误发")
    assert desk.fleet.counts.started == started


# --- looking -----------------------------------------------------------------------------------------


async def test_every_look_is_json_when_asked(desk: Desk) -> None:
    alert, broadcast = await desk.sent("test", "send", *RAIN, "--area", GOOD[0], "--yes", "--wait")
    for words in (
        ("status",),
        ("audit",),
        ("alert", "list"),
        ("alert", "show", alert),
        ("broadcast", "list"),
        ("broadcast", "show", broadcast),
        ("terminal", "list"),
        ("terminal", "list", "--village", "大川镇"),
        ("terminal", "show", DEAD_AMPLIFIER),
        ("config", "check", "county.yaml"),
        ("config", "show", "county.yaml"),
        ("alert", "lint", desk.file("lint.xml", cap(codes=(GOOD[1],))), "--county", "zhouqu"),
    ):
        assert await desk.json(*words), words
    code, out, _ = await desk.cli("broadcast", "watch", broadcast, "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert (code, events[-1]["event"], events[-1]["data"]["id"]) == (0, "summary", broadcast)
    code, out, err = await desk.cli("alert", "show", "A000000-00000", "--json")
    assert (code, out) == (1, "")
    assert json.loads(err)["exit"] == 1


async def test_terminals_are_listed_by_place_and_shown_with_their_health(desk: Desk) -> None:
    rows = await desk.json("terminal", "list", "--village", "大川镇")
    assert [row["id"] for row in rows] == [f"sim-{n:05}" for n in range(21, 29)]
    one = await desk.json("terminal", "show", DEAD_AMPLIFIER)
    assert (one["enrolled"], one["simulated"], one["online"]) == (True, True, True)
    assert one["health"]["amplifier_ok"] is False
    away = await desk.json("terminal", "show", OFFLINE)
    assert (away["enrolled"], away["online"], away["last_seen"]) == (True, False, None)
    assert (await desk.cli("terminal", "show", "sim-99999"))[0] == 1


async def test_the_service_can_be_watched_by_machines(desk: Desk) -> None:
    site = desk.site
    async with httpx2.AsyncClient(base_url=site.url, trust_env=False) as stranger:
        assert (await stranger.get("/livez")).text == "ok\n"
        ready = await stranger.get("/readyz")
        assert (ready.status_code, ready.json()) == (
            200,
            {"ready": True, "problems": [], "stale_feeds": []},
        )
        assert (await stranger.get("/metrics")).status_code == 200
        for path in ("/v1/status", "/v1/alerts", "/v1/audit", "/v1/terminals"):
            assert (await stranger.get(path)).status_code == 401
        assert (await stranger.post("/v1/alerts", json={"kind": "actual"})).status_code == 401
    metrics = await desk.metrics()
    assert metrics["fenghuo_broker_up"] == 1
    assert metrics["fenghuo_terminals_online"] == TERMINALS - 1
    assert metrics["fenghuo_reports_refused_total"] == 0


async def test_the_api_describes_itself(desk: Desk) -> None:
    spec = (await desk.site.api.get("/openapi.json")).json()
    validate(spec)
    bare = [
        f"{verb} {path}"
        for path, verbs in spec["paths"].items()
        for verb, one in verbs.items()
        if not one.get("tags") or not one.get("description")
    ]
    assert bare == []


# --- beginning ---------------------------------------------------------------------------------------


async def test_a_second_controller_on_the_same_state_is_exit_3(desk: Desk) -> None:
    code, _, err = await desk.cli("serve", "--sandbox", "-c", "county.yaml")
    assert code == 3
    assert "another controller is running" in err
    assert (await desk.site.api.get("/readyz")).status_code == 200  # the first is unharmed


async def test_a_configuration_with_mistakes_is_exit_3_with_every_line(tmp_path: Path) -> None:
    site = Site(tmp_path)
    text = (tmp_path / "county.yaml").read_text()
    text = text.replace("mode: actual", "mode: actuall").replace("state_dir:", "statedir:")
    (tmp_path / "county.yaml").write_text(text)
    lines = text.splitlines()
    for words in (("config", "check", "county.yaml"), ("serve", "-c", "county.yaml")):
        code, out, err = await site.cli(*words)
        assert (code, out) == (3, "")
        assert f"county.yaml:{lines.index('mode: actuall') + 1}: mode: " in err
        assert f"county.yaml:{lines.index('statedir: ./state') + 1}: statedir: " in err
        assert "did you mean" in err
    code, _, err = await site.cli("config", "check", "county.yaml", "--json")
    assert {p["path"] for p in json.loads(err)["problems"]} >= {"mode", "statedir"}


async def test_where_no_controller_runs_it_is_exit_4(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for words in (
        ("status",),
        ("alert", "send", *RAIN, "--area", GOOD[0], "--yes"),
        ("simulate", "fleet", "--terminals", "1"),
    ):
        code, out, err = await site.cli(*words)
        assert (code, out) == (4, ""), err
        assert str(site.api_port) in err or "is it running" in err


async def test_a_real_county_takes_real_terminals_once_and_no_simulated_ones(tmp_path: Path) -> None:
    """Over the local socket, as it is installed."""
    site = Site(tmp_path, more="keys_dir: ./keys")
    file = tmp_path / "county.yaml"
    file.write_text(file.read_text().replace(f"127.0.0.1:{site.api_port}", "unix:./state/api.sock"))
    here = ("-c", "county.yaml")
    code, _, err = await site.cli("serve", *here)
    assert code == 3
    assert "fenghuo keys new" in err
    code, out, err = await site.cli("keys", "new", "--no-passphrase", *here)
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()] == [role.value for role in KeyRole]
    site.api = httpx2.AsyncClient(
        base_url="http://fenghuo",
        transport=httpx2.AsyncHTTPTransport(uds=str(tmp_path / "state" / "api.sock")),
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    async with site.serve(sandbox=False):
        (tmp_path / "t.csv").write_text(
            "id,name,village,lat,lon,languages\nzq-0001,西城喇叭,w01v01,33.78,104.36,zh\n"
            "zq-0002,塔德村,大川镇塔德村,,,zh\n",
            encoding="utf-8",
        )
        (tmp_path / "sim.csv").write_text(
            "id,name,village,lat,lon,languages\nzq-0003,x,w01v02,,,zh\nsim-00001,x,w01v01,,,zh\n"
        )
        code, _, err = await site.cli("terminal", "import", "sim.csv", *here)
        assert code == 6
        assert "sim.csv:3: " in err
        assert "not a sandbox" in err
        code, _, err = await site.cli("terminal", "import", "t.csv", *here)
        assert code == 0, err
        rows = json.loads((await site.cli("terminal", "list", "--json", *here))[1])
        assert [(row["id"], row["village"], row["enrolled"]) for row in rows] == [
            ("zq-0001", "西城社区", False),
            ("zq-0002", "塔德村", False),
        ]
        assert (await site.cli("terminal", "enrol", "zq-9999", *here))[0] == 1
        code, out, err = await site.cli("terminal", "enrol", "zq-0001", *here)
        assert code == 0, err
        name, secret = out.split()
        url = json.loads((await site.cli("status", "--json", *here))[1])["terminals_url"]
        async with httpx2.AsyncClient(base_url=url, trust_env=False) as village:
            stranger = Applicant("zq-0002", secret, os.urandom(KEY_ENTROPY))
            assert (await village.post("/enrol", content=stranger.request)).status_code == 403
            board = Applicant(name, secret, os.urandom(KEY_ENTROPY))
            answer = await village.post("/enrol", content=board.request)
            assert answer.status_code == 200, answer.text
            papers = board.open(answer.content)
            assert papers.terminal == "zq-0001"
            assert papers.county == "zhouqu"
            assert not papers.key_ring().is_sandbox
            assert len(papers.ring) == len(KeyRole)
            again = Applicant(name, secret, os.urandom(KEY_ENTROPY))
            answer = await village.post("/enrol", content=again.request)
            assert answer.status_code == 403  # single use
            assert (await village.get("/v1/status")).status_code == 404  # nothing else is served there
        assert json.loads((await site.cli("terminal", "show", "zq-0001", "--json", *here))[1])["enrolled"]
        code, _, err = await site.cli("simulate", "fleet", "--terminals", "2", *here)
        assert code == 6
        assert "sandbox" in err
        what = [row["what"] for row in json.loads((await site.cli("audit", "--json", *here))[1])]
        what = [deed for deed in what if deed != "stage.place"]  # held sets are placed in their own time
        assert what == ["terminal.enrol", "terminal.code", "terminal.import"]
    code, _, err = await site.cli("serve", "--sandbox", *here)
    assert code == 3  # a county's state never becomes a drill's
    assert "state_dir" in err
    await site.api.aclose()


# --- what is not there -------------------------------------------------------------------------------


async def test_a_broker_that_is_not_there_delays_and_loses_nothing(tmp_path: Path) -> None:
    port = free_port()
    broker = EmbeddedBroker(port)
    await asyncio.to_thread(broker.start)
    site = Site(tmp_path, broker=f"{{url: 'mqtt://127.0.0.1:{port}'}}", more=ONCE)
    try:
        async with site.serve("speaking") as first, a_fleet(site, terminals=20, speed=60.0) as fleet:
            await asyncio.to_thread(broker.kill)
            first.send_signal(signal.SIGTERM)
            await first.wait()
            async with site.serve("speaking", up="/livez") as process:
                desk = Desk(site, process, fleet)
                ready = await site.api.get("/readyz")
                assert ready.status_code == 503
                assert "broker" in ready.json()["problems"][0]
                assert f"broker 127.0.0.1:{port} is not there" in site.log.read_text()
                alert, _ = await desk.sent(
                    "alert", "send", *RAIN, "--area", GOOD[0], "--yes",
                    says="It is stored, and goes out as soon as this is over: the broker is not there",
                )  # fmt: skip
                assert (await desk.json("alert", "show", alert))["state"] == "released"
                wrong, broadcast = await desk.sent("test", "send", *RAIN, "--area", GOOD[0], "--yes")
                done = await desk.json("alert", "cancel", wrong, "--yes")
                assert (done["stopped"], done["all_clear"]) == ([broadcast], [])
                assert fleet.counts.started == 0
                await asyncio.to_thread(broker.start)
                parts = await desk.parts(alert)
                assert all(part["total"]["played"] == GOOD[2] for part in parts)
                answer = await site.until_answered(
                    f"/v1/broadcasts/{broadcast}", lambda a: a.json()["done"] is not None, process
                )
                assert {m["state"] for m in answer.json()["not_reached"]} == {"cancelled"}
                assert fleet.counts.started == GOOD[2] * len(parts)
    finally:
        await asyncio.to_thread(broker.stop)


async def test_without_a_voice_an_operator_can_still_look_and_send(tmp_path: Path) -> None:
    async with a_desk(tmp_path, voice="never", terminals=3) as desk:
        code, out, err = await desk.cli("alert", "send", *RAIN, "--area", GOOD[0], "--dry-run")
        assert code == 0, err
        assert "3 terminals" in out
        code, _, said = await typed(desk, "ACTUAL", "alert", "send", *RAIN, "--area", GOOD[0])
        assert code == 0, said


async def test_who_looks_on_does_not_make_a_stop_look_like_a_fault(tmp_path: Path) -> None:
    async with a_desk(tmp_path, terminals=20, speed=1.0) as desk:
        site, process = desk.site, desk.process
        _, broadcast = await desk.sent("test", "send", *RAIN, "--area", GOOD[0], "--yes")
        async with (
            site.api.stream("GET", f"/v1/broadcasts/{broadcast}/watch") as watch,
            site.api.stream("GET", "/v1/events") as events,
        ):
            looking = [watch.aiter_lines(), events.aiter_lines()]  # kept: else they are closed again
            for lines in looking:
                await anext(lines)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                assert await process.wait() == 0
        log = site.log.read_text()
        assert "Traceback" not in log
        assert " uvicorn.error: " not in log
