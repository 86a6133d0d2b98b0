"""Running a simulated county, and as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from config.counties import PackError
from simulators import scenarios
from simulators.faults import DEFAULT_SETTINGS
from simulators.fleet.county import Fleet
from simulators.fleet.options import ControllerAway, FleetError, FleetOptions, FleetRefused, FleetReport

log = logging.getLogger("simulators.fleet")


async def run_fleet(
    options: FleetOptions,
    *,
    ready: Callable[[int], None] | None = None,
    stop: asyncio.Event | None = None,
) -> FleetReport:
    """Run a fleet until `stop` (or for ever). `ready` is called once, with how many have the signed time.

    Raises FleetError, PackError; however it ends, nothing of the fleet is left."""
    stop = stop or asyncio.Event()
    fleet = Fleet(options)
    try:
        await fleet.start()
        await fleet.wait(fleet.ready, stop)
        if fleet.ready.is_set() and ready is not None:
            ready(fleet.counts.with_time)
        await fleet.wait(stop)
    finally:
        report = await fleet.stop()
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """A fleet as a process: ``{"ready": N}`` on stdout when it is, the report as one line at the end
    (SIGTERM or SIGINT). Exit codes: 0 done, 1 failed, 3 county pack, scenario or token file, 4 controller
    not there, 6 not a sandbox."""
    parser = argparse.ArgumentParser(
        prog="python -m simulators.fleet", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--controller", required=True, help="operators' API: http://HOST:PORT or unix:/path")
    parser.add_argument("--token-file", required=True, type=Path, help="file with an operator's token")
    parser.add_argument("--terminals-url", help="where terminals enrol, if the controller does not say")
    parser.add_argument("--county", default="zhouqu", help="county pack (default: %(default)s)")
    parser.add_argument("--terminals", type=int, default=212, help="how many (default: %(default)s)")
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster playing goes")
    parser.add_argument("--audio", choices=("fetch", "shared"), default="fetch")
    parser.add_argument("--scenario", metavar="NAME|FILE", help="which are faulty, and how")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--connect-at-once", type=int, default=40, help="1 to 100 (default: %(default)s)")
    parser.add_argument("--ca-file", type=Path, help="who signed the broker's certificate")
    parser.add_argument(
        "--until-stdin-ends", action="store_true", help="stop when whoever started this is gone"
    )
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    log.setLevel(logging.INFO)
    try:
        scenario = None
        if given.scenario is not None:
            scenario = scenarios.load(given.scenario, given.terminals, seed=given.seed)
        options = FleetOptions(
            controller=given.controller,
            token=given.token_file.read_text(encoding="utf-8").strip(),
            county=given.county,
            terminals=given.terminals,
            speed=given.speed,
            audio=given.audio,
            faults=scenario.faults if scenario else {},
            links=scenario.links if scenario else {},
            fault_settings=scenario.settings if scenario else DEFAULT_SETTINGS,
            seed=given.seed,
            connect_at_once=given.connect_at_once,
            terminals_url=given.terminals_url,
            ca_file=given.ca_file,
        )
        report = asyncio.run(_until_signal(options, until_stdin_ends=given.until_stdin_ends))
    except FleetRefused as error:
        return _fail(error, 6)
    except ControllerAway as error:
        return _fail(error, 4)
    except (PackError, scenarios.ScenarioError, OSError) as error:
        return _fail(error, 3)
    except FleetError as error:
        return _fail(error, 1)
    say(asdict(report))
    return 0


async def _until_signal(options: FleetOptions, *, until_stdin_ends: bool) -> FleetReport:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def parent_is_gone() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin)
            stop.set()

    if until_stdin_ends:
        loop.add_reader(sys.stdin, parent_is_gone)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def ready(count: int) -> None:
        # What is there now stays until the end: looking through it for garbage would stop the county.
        gc.collect()
        gc.freeze()
        say({"ready": count})

    return await run_fleet(options, ready=ready, stop=stop)


def say(what: object) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(what, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def _fail(error: Exception, code: int) -> int:
    sys.stderr.write(f"fleet: {error}\n")
    return code
