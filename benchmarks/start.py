"""Wall time of the CLI beside that of the bare interpreter."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.road import broker
from benchmarks.site import ROOT, Failed, environment, site

RUNS: Final = 11


@dataclass(frozen=True, slots=True)
class Start:
    what: str
    ms: list[float]


async def measure(runs: int = RUNS) -> list[Start]:
    """One run of each in turn. Raises Failed."""
    fenghuo = str(Path(sys.executable).with_name("fenghuo"))
    async with broker() as at, site(at.port, voice="mute") as here:
        commands = {
            "`python -c pass`": [sys.executable, "-c", "pass"],
            '`python -I -c "import typer"`': [sys.executable, "-I", "-c", "import typer"],
            "`fenghuo --help`": [fenghuo, "--help"],
            "`fenghuo status`": [fenghuo, "status"],
        }
        env = {**os.environ, **environment(str(here.api.base_url).rstrip("/"))}
        times: dict[str, list[float]] = {what: [] for what in commands}
        for n in range(runs + 1):  # the first fills the disk's cache and is not counted
            for what, words in commands.items():
                took = await asyncio.to_thread(_time, words, env)
                if n:
                    times[what].append(took)
    return [Start(what, ms) for what, ms in times.items()]


def _time(words: list[str], env: dict[str, str]) -> float:
    began = time.perf_counter()
    run = subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)
    took = (time.perf_counter() - began) * 1e3
    if run.returncode:
        raise Failed(f"{' '.join(words)} ended with {run.returncode}: {run.stderr[-500:]}")
    return took
