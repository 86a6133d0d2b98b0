"""Real processes for end-to-end tests: the controller through its CLI, on loopback, ended by their ids."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

TOKEN = "a-token-of-the-tests"
LIMIT_S = 120.0
"""Bounds a hang; nothing waits for it."""

CONFIG = """\
county: zhouqu
mode: actual
state_dir: ./state
issuer: {{name: 舟曲县应急管理局, level: county}}
broker: {broker}
listen: {{api: "127.0.0.1:{api}", terminals: "127.0.0.1:{terminals}"}}
operators:
  - {{name: 王主任, token_sha256: {token}}}
  - {{name: 李值班, token_sha256: "{other}"}}
feeds:
  - {{name: bureau, kind: folder, path: ./inbox, official: true, authenticated: folder-0700, codes: mca}}
release:
  - {{feed: bureau, hazard: rainstorm, colour: [red, orange], action: auto}}
voice: {{approved_by: 王主任, approved_on: 2026-11-01, check: findings}}
{more}
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Site:
    """One county's folder: configuration, state, inbox; and the controller process that runs on it."""

    def __init__(self, home: Path, broker: str = "{embedded: {port: 0}}", more: str = "") -> None:
        home.chmod(0o700)
        self.home = home
        self.inbox = home / "inbox"
        self.inbox.mkdir(mode=0o700)
        self.api_port = free_port()
        (home / "county.yaml").write_text(
            CONFIG.format(
                broker=broker,
                api=self.api_port,
                terminals=free_port(),
                more=more,
                token=hashlib.sha256(TOKEN.encode()).hexdigest(),
                other=hashlib.sha256(b"other").hexdigest(),
            ),
            encoding="utf-8",
        )
        self.log = home / "serve.log"
        self.api = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{self.api_port}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=30,
            trust_env=False,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "FENGHUO_TOKEN": TOKEN, "FENGHUO_URL": self.url, "LC_ALL": "C.UTF-8"}

    @asynccontextmanager
    async def serve(
        self, crash: str = "never", *, sandbox: bool = True, up: str = "/readyz"
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """`fenghuo serve` in a process of its own, once `up` answers 200; stopped at the end. `crash`: see
        crash.py."""
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(Path(__file__).with_name("crash.py")),
                crash,
                "serve",
                *(("--sandbox",) if sandbox else ()),
                "-c",
                str(self.home / "county.yaml"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
                start_new_session=True,
            )
        try:
            await self.until_answered(up, lambda answer: answer.status_code == 200, process)
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                try:
                    async with asyncio.timeout(60):
                        await process.wait()
                except TimeoutError:
                    for number in (signal.SIGUSR1, signal.SIGUSR2):
                        process.send_signal(number)
                        await asyncio.sleep(0.5)
                    process.kill()
                    await process.wait()
                    tail = self.log.read_text()[-6000:]
                    raise AssertionError(f"serve did not stop at SIGTERM:\n{tail}") from None

    async def killed(self, crash: str) -> int:
        """Runs serve until it has killed itself at `crash`; its return code. It may never get ready."""
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(Path(__file__).with_name("crash.py")), crash, "serve", "--sandbox", "-c",
                str(self.home / "county.yaml"), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.env, start_new_session=True,
            )  # fmt: skip
        try:
            async with asyncio.timeout(LIMIT_S):
                return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def until_answered(
        self, path: str, good: Any, process: asyncio.subprocess.Process
    ) -> httpx2.Response:
        deadline = time.monotonic() + 3 * LIMIT_S
        while time.monotonic() < deadline:
            if process.returncode is not None:
                raise AssertionError(
                    f"serve ended with {process.returncode}:\n{self.log.read_text()[-3000:]}"
                )
            try:
                answer = await self.api.get(path)
                if good(answer):
                    return answer
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.05)
        raise AssertionError(f"{path} never became as wanted:\n{self.log.read_text()[-3000:]}")

    def drop(self, body: bytes, name: str = "warning.xml") -> None:
        aside = self.home / "aside"
        aside.write_bytes(body)
        aside.rename(self.inbox / name)

    async def cli(self, *words: str, stdin: bytes | None = None) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of `fenghuo WORDS`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "controller.cli",
            *words,
            env=self.env,
            cwd=self.home,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(LIMIT_S):
            out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()
