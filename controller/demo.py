"""`fenghuo demo`: one real-format warning through the real program and a simulated county, visibly.

Everything is the product's own: configuration file, embedded broker, controller, watched folder, voice,
signed commands over TCP, receipts. Only the county is simulated, in a process of its own, and its playing
is faster than real time, which is said. Success means that every terminal ended exactly as its scenario
says, the faulty ones included.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.panel import Panel

from controller.cli.client import Client, parse_address
from controller.cli.view import Watch, render_summary
from controller.cli.words import told
from controller.clock import moment, wall_ms
from controller.ids import BEIJING
from simulators import scenarios

TERMINALS: Final = 212
# Bounds for a machine that hangs; a healthy one needs a tenth.
READY_S: Final = 120.0
PLANNED_S: Final = 60.0
END_S: Final = 600.0

_CONFIG: Final = """\
county: zhouqu
mode: actual
state_dir: ./state
issuer: {{name: 舟曲县应急管理局, level: county}}
broker: {{embedded: {{port: 0}}}}
listen: {{api: "127.0.0.1:0", terminals: "127.0.0.1:0"}}
operators: [{{name: demo, token_sha256: {token}}}]
feeds:
  - {{name: bureau, kind: folder, path: ./inbox, official: true, authenticated: folder-0700, codes: mca}}
release:
  - {{feed: bureau, hazard: "*", colour: [red, orange], action: auto}}
# The demo's voice is machine-made and approved by nobody: it speaks only to simulated terminals.
voice: {{approved_by: demo, approved_on: 2026-01-01, check: findings}}
"""

_DOCUMENTS: Final = {"cap": "rainstorm-orange.cap.xml", "national": "debris-flow-red.national.xml"}

_WORDS: Final = {
    "en": {
        "title": "Fenghuo demo: 舟曲县, 19 townships, 212 villages, one simulated terminal each",
        "pace": "Playing is {speed:g} times faster than real time; everything else is real time.",
        "start": "controller, embedded broker and voice are starting",
        "fleet": "{ready} simulated terminals are enrolled, connected and on time ({seconds:.1f} s)",
        "drop": "a warning comes: {name} is put into the watched folder",
        "planned": "taken in, released by the county's table: {alert}: {broadcasts} ({seconds:.2f} s)",
        "said": "What is said:",
        "left": "The audio, the report and the log are in {folder}",
        "good": "Every terminal ended exactly as its scenario says, the {faulty} faulty ones included.",
        "bad": "NOT as the scenario says:",
        "lead": "lead: what, where, what to do",
        "whole": "the whole message",
        "sound": "{part}: file → first sound {first:.2f} s, last of {count} {last:.2f} s (voice included)",
    },
    "zh": {
        "title": "烽火演示：舟曲县，19个乡镇、212个村，每村一台模拟终端",
        "pace": "播放速度为实际的{speed:g}倍，其余均为实时。",
        "start": "正在启动控制器、内置消息服务器和语音",
        "fleet": "{ready}台模拟终端已注册、连接并校时（{seconds:.1f}秒）",
        "drop": "收到一条预警：{name} 放入监视文件夹",
        "planned": "已接收并按发布表自动放行：预警 {alert}：{broadcasts}（{seconds:.2f}秒）",
        "said": "播出内容：",
        "left": "音频、报告和日志在 {folder}",
        "good": "每台终端的结果都与情景完全一致，包括{faulty}台故障终端。",
        "bad": "与情景不一致：",
        "lead": "先导：什么、哪里、怎么办",
        "whole": "完整内容",
        "sound": "{part}：文件 → 首台发声 {first:.2f}秒，{count}台中最后一台 {last:.2f}秒（含语音合成）",
    },
}


class DemoError(Exception):
    """Something the demo needs did not come: what, and where to look."""


@dataclass(frozen=True, slots=True)
class Options:
    out: Path
    speed: float
    keep: bool
    """Keep the controller's state (database, keys, clips) in the folder as well."""
    lang: str
    document: str = "cap"
    """``cap`` or ``national``: which of the two shipped warnings comes."""


def run_demo(out: Path, speed: float, keep: bool, lang: str, document: str = "cap") -> int:
    """0 only if every terminal ended as its scenario says; 1 otherwise."""
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    handler = logging.FileHandler(out / "demo.log", mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for chatty in ("httpx2", "httpcore2", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        return asyncio.run(_demo(Options(out.resolve(), speed, keep, lang, document), console))
    except DemoError as error:
        console.print(f"[bold red]{told(str(error), lang)}[/]")
        return 1
    finally:
        root.removeHandler(handler)
        handler.close()


async def _demo(options: Options, console: Console) -> int:
    from config.load import load
    from controller.app import open_app

    words = _WORDS.get(options.lang, _WORDS["en"])
    console.print(Panel(words["title"] + "\n" + words["pace"].format(speed=options.speed), style="bold"))
    console.print("· " + words["start"])
    with tempfile.TemporaryDirectory(prefix="fenghuo-demo-") as scratch:
        home = Path(scratch)
        (home / "inbox").mkdir(mode=0o700)
        token = secrets.token_urlsafe(32)
        (home / "county.yaml").write_text(
            _CONFIG.format(token=hashlib.sha256(token.encode()).hexdigest()), encoding="utf-8"
        )
        config = load(home / "county.yaml")
        async with open_app(config, sandbox=True, pace=options.speed) as app:
            ready = asyncio.Event()
            running = asyncio.create_task(app.run(ready), name="controller")
            try:
                url = f"http://127.0.0.1:{app.api_port}"
                await _first(running, ready.wait())
                await _first(running, app.voicing.loaded.wait())
                async with _fleet(url, token, home, options) as (count, seconds):
                    console.print("· " + words["fleet"].format(ready=count, seconds=seconds))
                    client = Client(parse_address(url), token)
                    work = asyncio.to_thread(_warn_and_watch, client, home / "inbox", options, words, console)
                    parts, dropped = await _first(running, work)
                    clips = [await app.voicing.audio(part["clip"]) for part in parts]
            finally:
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running
        if options.keep:
            shutil.copytree(home / "state", options.out / "state", dirs_exist_ok=True)
    return _conclude(parts, dropped, clips, options, words, console)


async def _first(running: asyncio.Task[None], work: Any) -> Any:
    """`work`, unless the controller ends before it: then its error."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({running, task}, return_when=asyncio.FIRST_COMPLETED, timeout=END_S)
    if task in done:
        return task.result()
    task.cancel()
    if running in done:
        running.result()
        raise DemoError("the controller ended by itself")
    raise DemoError(f"no end after {END_S:.0f} s")


@contextlib.asynccontextmanager
async def _fleet(url: str, token: str, home: Path, options: Options) -> AsyncIterator[tuple[int, float]]:
    """The simulated county in a process of its own; yields how many are ready and after how long."""
    (home / "token").write_text(token)
    (home / "token").chmod(0o600)
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "simulators.fleet",
        "--controller",
        url,
        "--token-file",
        str(home / "token"),
        "--county",
        "zhouqu",
        "--terminals",
        str(TERMINALS),
        "--speed",
        str(options.speed),
        "--scenario",
        "demo",
        "--until-stdin-ends",  # also when this process is killed
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=(options.out / "fleet.log").open("wb"),
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        try:
            async with asyncio.timeout(READY_S):
                line = await process.stdout.readline()
        except TimeoutError:
            raise DemoError(
                f"the simulated county was not ready after {READY_S:.0f} s; see fleet.log"
            ) from None
        if not line:
            raise DemoError("the simulated county did not start; see fleet.log")
        yield int(json.loads(line)["ready"]), time.monotonic() - began
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(10):
                await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()


def _warn_and_watch(
    client: Client, inbox: Path, options: Options, words: dict[str, str], console: Console
) -> tuple[list[dict[str, Any]], int]:
    """Puts the warning into the folder and follows its broadcasts to the end, over the operators' API."""
    name = _DOCUMENTS[options.document]
    console.print("· " + words["drop"].format(name=name))
    dropped = wall_ms()
    _drop(inbox / name)
    deadline = time.monotonic() + PLANNED_S
    while True:
        alerts = client.get("/v1/alerts")
        if alerts and alerts[0]["broadcasts"]:
            break
        if time.monotonic() > deadline:
            raise DemoError(f"the warning did not become a broadcast: {alerts or 'nothing was taken in'}")
        time.sleep(0.02)
    alert = alerts[0]["id"]
    parts = [client.get(f"/v1/broadcasts/{broadcast}") for broadcast in alerts[0]["broadcasts"]]
    parts.sort(key=lambda part: part["part"] == "whole")
    seconds = (wall_ms() - dropped) / 1000
    names = " + ".join(f"{part['id']} ({words[part['part']]})" for part in parts)
    console.print("· " + words["planned"].format(alert=alert, broadcasts=names, seconds=seconds))
    detail = client.get(f"/v1/alerts/{alert}")
    console.print(Panel(detail["plan"]["text"], title=words["said"], title_align="left"))
    for part in parts:
        console.rule(f"{part['id']} · {words[part['part']]}")
        with Watch(console, options.lang) as watch:
            for event, data in client.events(f"/v1/broadcasts/{part['id']}/watch"):
                watch.event(event, data)
    return [client.get(f"/v1/broadcasts/{part['id']}") for part in parts], dropped


def _drop(target: Path) -> None:
    """Written aside and renamed, as a careful sender does."""
    now = moment(wall_ms())
    body = scenarios.fill(
        target.name,
        identifier=f"62302341600000_{now.astimezone(BEIJING):%Y%m%d%H%M%S}",
        sent=now,
        expires=now + timedelta(hours=6),
    )
    aside = target.with_suffix(".part")
    aside.write_bytes(body)
    aside.rename(target)


def _conclude(
    parts: list[dict[str, Any]],
    dropped: int,
    clips: list[bytes],
    options: Options,
    words: dict[str, str],
    console: Console,
) -> int:
    scenario = scenarios.load("demo", warning=_DOCUMENTS[options.document])
    console.print(render_summary(parts[-1], options.lang))
    for part, clip in zip(parts, clips, strict=True):
        playing = part["latency"].get("playing")
        if playing and part["voiced"]:
            voiced = datetime.fromisoformat(part["voiced"]).timestamp() - dropped / 1000
            first, last = voiced + playing["first_ms"] / 1000, voiced + playing["last_ms"] / 1000
            name = words[part["part"]]
            console.print(
                words["sound"].format(part=name, first=first, last=last, count=part["total"]["playing"])
            )
        (options.out / f"warning-{part['part']}.mp3").write_bytes(clip)
    deviations = scenarios.check(parts[-1], scenario)
    report = {
        "scenario": scenario.name,
        "deviations": deviations,
        "speed": options.speed,
        "broadcasts": parts,
    }
    (options.out / "report.json").write_text(
        json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8"
    )
    if deviations:
        console.print(f"[bold red]{words['bad']}[/]")
        for line in deviations:
            console.print(f"  {line}")
    else:
        faulty = len(set(scenario.faults) & scenario.targeted)
        console.print(f"[bold green]{words['good'].format(faulty=faulty)}[/]")
    console.print(words["left"].format(folder=os.path.relpath(options.out)))
    return 1 if deviations else 0
