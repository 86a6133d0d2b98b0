"""``fenghuo simulate fleet``: `simulators.fleet` in this process, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import gc
import signal
from dataclasses import asdict
from typing import Literal

from config.counties import PackError
from controller.cli import say
from controller.cli.client import Address
from controller.cli.outcome import Code, Failure
from controller.cli.words import w
from simulators import scenarios
from simulators.faults import DEFAULT_SETTINGS
from simulators.fleet import (
    ControllerAway,
    FleetError,
    FleetOptions,
    FleetRefused,
    FleetReport,
    run_fleet,
)


def run(
    address: Address,
    token: str | None,
    *,
    county: str,
    terminals: int,
    speed: float,
    audio: Literal["fetch", "shared"],
    scenario: str | None,
    as_json: bool,
) -> Code:
    """Prints what the fleet did, from its own side. Raises Failure."""
    if token is None:
        raise Failure(Code.UNREACHABLE, w("no_token"))
    try:
        told = None if scenario is None else scenarios.load(scenario, terminals)
        options = FleetOptions(
            controller=str(address),
            token=token,
            county=county,
            terminals=terminals,
            speed=speed,
            audio=audio,
            faults=told.faults if told else {},
            links=told.links if told else {},
            fault_settings=told.settings if told else DEFAULT_SETTINGS,
            seed=told.seed if told else 0,
        )
        say.talk(w("fleet_starts", count=terminals, address=address))
        report = asyncio.run(_until_signal(options))
    except FleetRefused as error:
        raise Failure(Code.REFUSED, str(error)) from error
    except ControllerAway as error:
        raise Failure(Code.UNREACHABLE, str(error)) from error
    except (PackError, scenarios.ScenarioError) as error:
        raise Failure(Code.CONFIG, *str(error).splitlines()) from error
    except FleetError as error:
        raise Failure(Code.FAILED, str(error)) from error
    if as_json:
        say.data_json(asdict(report))
    else:
        for name, value in asdict(report).items():
            say.data(f"{name}: {value}")
    return Code.DONE


async def _until_signal(options: FleetOptions) -> FleetReport:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def ready(count: int) -> None:
        # What is there now stays until the end: looking through it for garbage would stop the county.
        gc.collect()
        gc.freeze()
        say.talk(w("fleet_ready", count=count))

    return await run_fleet(options, ready=ready, stop=stop)
