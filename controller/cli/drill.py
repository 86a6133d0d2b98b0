"""``fenghuo drill …``: a disaster rehearsed in a sandbox of its own, and the sheet of what was promised."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from typer import Option

from controller.cli import say
from controller.cli.call import Json
from controller.cli.help import App
from controller.cli.outcome import Code, Failure
from controller.cli.words import w

if TYPE_CHECKING:
    from simulators.chaos import ChaosOptions, Sheet

Broker = Literal["best", "embedded"]

SHORT: Final = 300
"""Terminals of a short drill, where nobody says how many."""
SPEED: Final = 5.0
SHORT_SPEED: Final = 15.0

drill = App(w("h_drill"))


@drill.verb("chaos", w("h_drill_chaos"))
def chaos(
    scenario: Annotated[str, Option("--scenario", metavar="NAME|FILE", help=w("o_chaos"))] = "chaos",
    terminals: Annotated[
        int | None, Option("--terminals", min=20, max=20_000, help=w("o_chaos_terminals"))
    ] = None,
    seed: Annotated[int | None, Option("--seed", metavar="N", help=w("o_seed"))] = None,
    short: Annotated[bool, Option("--short", help=w("o_chaos_short"))] = False,
    broker: Annotated[Broker, Option("--broker", help=w("o_chaos_broker"))] = "best",
    keep: Annotated[Path | None, Option("--keep", metavar="DIR", help=w("o_chaos_keep"))] = None,
    url: Annotated[str | None, Option("--url", metavar="URL", help=w("o_chaos_url"))] = None,
    json: Json = False,
) -> Code:
    if url is not None:
        raise Failure(Code.REFUSED, w("drill_never_live", what=url))
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise Failure(Code.REFUSED, w("drill_not_empty", folder=keep))
    from config.counties import PackError
    from simulators import scenarios
    from simulators.broker import BrokerError
    from simulators.chaos import ChaosError, ChaosOptions, sheet_json
    from simulators.fleet import FleetError

    try:
        count = SHORT if terminals is None and short else terminals
        told = scenarios.load(scenario, count, seed=seed)
    except (PackError, scenarios.ScenarioError) as error:
        raise Failure(Code.CONFIG, *str(error).splitlines()) from error
    speed = SHORT_SPEED if short else SPEED
    with tempfile.TemporaryDirectory(prefix="fenghuo-drill-") as name:
        folder = Path(name)
        options = ChaosOptions(
            told, folder, short=short, speed=speed, voice="hum" if short else "real", broker=broker
        )
        try:
            sheet = asyncio.run(_until_signal(options, lambda phase: say.talk(w(f"chaos_does_{phase}"))))
        except (ChaosError, FleetError, BrokerError) as error:
            raise Failure(Code.FAILED, str(error)) from error
        finally:
            if keep is not None:
                ignored = shutil.ignore_patterns("api.sock", "lock", "sandbox-keys")
                shutil.copytree(folder, keep, ignore=ignored, dirs_exist_ok=True)
    if sheet is None:
        raise Failure(Code.FAILED, w("aborted"))
    if json:
        say.data_json(sheet_json(sheet))
    else:
        _show(sheet)
    return Code.DONE if sheet.kept else Code.FAILED


async def _until_signal(options: ChaosOptions, tell: Callable[[str], None]) -> Sheet | None:
    """None when SIGTERM or SIGINT came before the end; by then everything has been ended."""
    from simulators.chaos import run_chaos

    loop = asyncio.get_running_loop()
    task = asyncio.create_task(run_chaos(options, tell), name="chaos")
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        return await task
    return None


def _show(sheet: Sheet) -> None:
    say.data(
        w(
            "chaos_title",
            scenario=sheet.scenario,
            terminals=sheet.terminals,
            seed=sheet.seed,
            speed=f"{sheet.speed:g}",
            broker=sheet.broker,
            voice=sheet.voice,
        )
    )
    for promise in sheet.promises:
        figures = {n: f"{v:.2f}" if isinstance(v, float) else str(v) for n, v in promise.figures.items()}
        mark = w("chaos_kept") if promise.kept else w("chaos_broken")
        say.data(f"{mark}  {w(f'chaos_{promise.key}', **figures)}")
        for line in promise.broken:
            say.data(f"      {line}")
    broken = sum(not promise.kept for promise in sheet.promises)
    say.data(
        w("chaos_all_kept", seconds=f"{sheet.seconds:.0f}")
        if not broken
        else w("chaos_some_broken", broken=broken, count=len(sheet.promises))
    )
