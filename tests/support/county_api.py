"""The operators' API over a `support.county.County`: the real desk behind real HTTP on loopback, and the real
`fenghuo` as an operator types it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import pytest
import uvicorn

from controller.app import App
from controller.cli import say, words
from controller.cli.program import run
from controller.keys import CountyKeys
from controller.web.operators import operators_api
from support.county import County

TOKEN = "a-token-of-the-tests"
TOKEN_SHA256 = hashlib.sha256(TOKEN.encode()).hexdigest()


@dataclass(frozen=True)
class Hand:
    """An operator with a terminal and a token."""

    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    async def does(self, *arguments: str, types: str | None = None) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of `fenghuo ARGUMENTS`; `types` is what somebody answers, if anybody
        is there at all."""
        with self.monkeypatch.context() as patch:
            patch.setattr(say, "at_terminal", lambda: types is not None)
            patch.setattr(sys, "stdin", io.StringIO(f"{types}\n"))
            self.capsys.readouterr()
            code = await asyncio.to_thread(run, list(arguments))
            told = self.capsys.readouterr()
        return int(code), told.out, told.err


@dataclass(frozen=True)
class _Rings:
    county: County

    @property
    def keys(self) -> CountyKeys:
        return self.county.keys


@asynccontextmanager
async def an_operator(
    county: County, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Hand]:
    """`county.config` must know the operator with `TOKEN_SHA256`."""
    app = SimpleNamespace(
        version="0",
        config=county.config,
        county=county.register.county,
        register=county.register,
        store=county.store,
        desk=county.desk,
        dispatcher=county.dispatcher,
        voicing=county.mouth,
        rings=_Rings(county),
        village_name=lambda key: county.register.county.village(key).name,
        stopping=asyncio.Event(),
    )
    app._last_seen = partial(App._last_seen, app)
    app.version_of = partial(App.version_of, app)
    app.changed = partial(App.changed, app)
    app.deliveries = partial(App.deliveries, app)
    app.chain = partial(App.chain, app)
    app.summary = partial(App.summary, app)
    server = uvicorn.Server(uvicorn.Config(operators_api(app), log_level="warning", lifespan="off"))  # type: ignore[arg-type]
    with socket.socket() as at:
        at.bind(("127.0.0.1", 0))
        serving = asyncio.create_task(server._serve([at]), name="api")
        for name in ("FENGHUO_CONFIG", "FENGHUO_TOKEN_FILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("FENGHUO_URL", f"http://127.0.0.1:{at.getsockname()[1]}")
        monkeypatch.setenv("FENGHUO_TOKEN", TOKEN)
        words.use("en")
        try:
            async with asyncio.timeout(30):
                while not server.started:
                    await asyncio.sleep(0.01)
            yield Hand(capsys, monkeypatch)
        finally:
            words.use("en")
            server.should_exit = True
            await serving
