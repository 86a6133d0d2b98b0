"""One county to measure: broker, controller and fleet as processes of their own, on loopback, in a folder
that is gone afterwards. However it ends, its children are ended by their ids."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, Self

import httpx2

TOKEN: Final = "a-token-of-the-benchmarks"
ROOT: Final = Path(__file__).parents[1]
STEP_S: Final = 240.0
"""Bounds whatever is waited for."""

CONFIG: Final = """\
county: zhouqu
mode: actual
state_dir: ./state
issuer: {{name: 舟曲县应急管理局, level: county}}
broker: {{url: 'mqtt://127.0.0.1:{broker}'}}
listen: {{api: "127.0.0.1:{api}", terminals: "127.0.0.1:{terminals}"}}
operators:
  - {{name: 王主任, token_sha256: {token}}}
feeds:
  - {{name: water, kind: inbox, listen: "127.0.0.1:{inbox}", token_file: ./feed.token, official: true,
      codes: mca}}
  - {{name: bureau, kind: folder, path: ./inbox, official: true, authenticated: folder-0700, codes: mca}}
release:
  - {{feed: water, hazard: dam_break, action: auto}}
  - {{feed: bureau, hazard: rainstorm, colour: [red, orange], action: auto}}
targeting: {{unusual: {{dam_break: 100}}}}
voice: {{approved_by: 王主任, approved_on: 2026-11-01}}
"""

Event = dict[str, Any]
Voice = Literal["real", "prepared", "mute", "late"]
FEED_TOKEN: Final = "a-token-of-the-feed-of-the-benchmarks"


class Failed(Exception):
    """A measurement could not be made: what happened, with the end of the child's log."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """A process that tells its events as JSON lines on stdout."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._log = log
        self._events: list[Event] = []
        self._news = asyncio.Condition()
        self._reader = asyncio.create_task(self._read(), name=f"benchmark.{name}")

    @classmethod
    async def start(cls, name: str, log: Path, *words: str, env: dict[str, str] | None = None) -> Self:
        with log.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=file,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        return cls(name, process, log)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._news:
                self._events.append(json.loads(line))
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    async def event(self, wanted: Callable[[Event], bool], *, within: float = STEP_S) -> Event:
        """The first such event, past or to come; it is taken. Raises Failed."""
        try:
            async with asyncio.timeout(within), self._news:
                while True:
                    for n, event in enumerate(self._events):
                        if wanted(event):
                            return self._events.pop(n)
                    if self._reader.done():
                        raise Failed(f"{self.name} ended:\n{self.tail()}")
                    await self._news.wait()
        except TimeoutError:
            raise Failed(f"{self.name} did not say it within {within:g} s:\n{self.tail()}") from None

    async def named(self, event: str, broadcast: str | None = None, *, within: float = STEP_S) -> Event:
        return await self.event(
            lambda e: e.get("event") == event and (broadcast is None or e.get("id") == broadcast),
            within=within,
        )

    async def tell(self, word: str) -> Event:
        """A command to it, carried out when this returns, with what it says to that."""
        assert self._process.stdin is not None
        self._process.stdin.write(word.encode() + b"\n")
        return await self.named(word, within=30)

    def tail(self) -> str:
        return self._log.read_text(errors="replace")[-2_000:]

    def memory_mb(self, what: Literal["VmRSS", "VmHWM"] = "VmRSS") -> float:
        """Resident memory of this one process, MB (10⁶ bytes): now, or the most it ever had."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        [line] = [line for line in status.splitlines() if line.startswith(f"{what}:")]
        return int(line.split()[1]) * 1024 / 1e6

    def cpu_s(self) -> float:
        """CPU seconds of this one process so far, in user and kernel."""
        spent = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(spent[11]) + int(spent[12])) / os.sysconf("SC_CLK_TCK")

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(30):
                    await self._process.wait()
            except TimeoutError:
                os.killpg(self.pid, signal.SIGKILL)
                await self._process.wait()
        await self._reader


class Site:
    """Made by `site` only."""

    def __init__(
        self, home: Path, broker: int, controller: Child, api: httpx2.AsyncClient, terminals: int, inbox: int
    ) -> None:
        """`broker`, `terminals`, `inbox`: ports."""
        self.terminals = f"http://127.0.0.1:{terminals}"
        """Where terminals enrol and fetch clips."""
        self.inbox = f"http://127.0.0.1:{inbox}/warning.xml"
        """The feed whose documents may sound by themselves in the fast lane."""
        self.feed_token = {"Authorization": f"Bearer {FEED_TOKEN}"}
        self.home = home
        self.broker = broker
        self.controller = controller
        self.api = api

    @property
    def keys(self) -> Path:
        return self.home / "state" / "sandbox-keys"

    @property
    def clips(self) -> Path:
        return self.home / "state" / "clips"

    @asynccontextmanager
    async def fleet(self, terminals: int, *, speed: float, audio: str, wanted: int) -> AsyncIterator[Child]:
        """A ready fleet; it says when `wanted` terminals have started a broadcast."""
        token = self.home / "token"
        token.write_text(TOKEN)
        fleet = await Child.start(
            "fleet", self.home / "fleet.log", "-m", "benchmarks.fleet_child", str(wanted),
            "--controller", str(self.api.base_url).rstrip("/"), "--token-file", str(token),
            "--terminals", str(terminals), "--speed", str(speed), "--audio", audio,
        )  # fmt: skip
        try:
            await fleet.event(lambda e: "ready" in e)
            yield fleet
        finally:
            await fleet.end()

    def drop(self, body: bytes) -> int:
        """Into the watched folder, as a careful sender does; monotonic ns of the rename."""
        aside = self.home / "aside"
        aside.write_bytes(body)
        aside.rename(self.home / "inbox" / "warning.xml")
        return time.monotonic_ns()

    async def post(self, path: str, body: object = None) -> Any:
        answer = await self.api.post(path, json=body)
        if answer.status_code != 200:
            raise Failed(f"{path}: HTTP {answer.status_code} {answer.text[:500]}")
        return answer.json()

    async def get(self, path: str) -> Any:
        answer = await self.api.get(path)
        if answer.status_code != 200:
            raise Failed(f"{path}: HTTP {answer.status_code} {answer.text[:500]}")
        return answer.json()


@asynccontextmanager
async def site(
    broker: int, *, pace: float = 1.0, voice: Voice, clips: Path | None = None
) -> AsyncIterator[Site]:
    """A controller on the broker at that port, ready. `clips`: another site's library to begin with."""
    home = Path(tempfile.mkdtemp(prefix="fenghuo-bench-"))
    try:
        (home / "inbox").mkdir(mode=0o700)
        (home / "state").mkdir(mode=0o700)
        if clips is not None:
            shutil.copytree(clips, home / "state" / "clips")
        port, terminals, inbox = free_port(), free_port(), free_port()
        (home / "feed.token").touch(mode=0o600)
        (home / "feed.token").write_text(FEED_TOKEN)
        (home / "county.yaml").write_text(
            CONFIG.format(
                broker=broker,
                api=port,
                terminals=terminals,
                inbox=inbox,
                token=hashlib.sha256(TOKEN.encode()).hexdigest(),
            ),
            encoding="utf-8",
        )
        url = f"http://127.0.0.1:{port}"
        controller = await Child.start(
            "controller", home / "serve.log", "-m", "benchmarks.controller_child", str(pace), voice,
            "serve", "--sandbox", "-c", str(home / "county.yaml"), env=environment(url),
        )  # fmt: skip
        api = httpx2.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=120, trust_env=False
        )
        try:
            await _until_ready(api, controller)
            if voice in ("real", "prepared"):
                ready = "voice prepared" if voice == "prepared" else "voice loaded"
                await controller.named(ready, within=3 * STEP_S)
            yield Site(home, broker, controller, api, terminals, inbox)
        finally:
            await api.aclose()
            await controller.end()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def environment(url: str) -> dict[str, str]:
    """What an operator's shell has set."""
    return {"FENGHUO_TOKEN": TOKEN, "FENGHUO_URL": url, "LC_ALL": "C.UTF-8"}


async def _until_ready(api: httpx2.AsyncClient, controller: Child) -> None:
    for _ in range(1_200):
        try:
            if (await api.get("/readyz")).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        if controller._reader.done():
            break
        await asyncio.sleep(0.05)
    raise Failed(f"the controller did not become ready:\n{controller.tail()}")
