"""``python -m benchmarks [--quick] [--only road,fan,start] [--out FILE]``: tables as markdown on stdout."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import (
    cap,
    fast,
    fleet_cost,
    lifecycle,
    prepare,
    quake,
    report,
    road,
    speech,
    start,
    targeting,
)
from benchmarks import fan as fan_
from benchmarks.fan import Fan
from benchmarks.floor import CFloor, c_floor
from benchmarks.site import Failed, Voice
from simulators.broker import EmbeddedBroker, MosquittoBroker, mosquitto_binary

PARTS: Final = (
    "road",
    "fan",
    "fast",
    "start",
    "quake",
    "lifecycle",
    "targeting",
    "cap",
    "speech",
    "prepare",
    "fleet",
)
HALVES: Final = ("speech-time", "speech-errors")
"""Of ``speech``: the one needs a quiet machine, the other only patience."""


async def run(quick: bool, parts: Sequence[str], tiny: bool = False) -> str:
    """Everything asked for, in order; what fails is a line in the result, not the end of it."""
    pages = [report.machine(quick)]
    if "road" in parts:
        say("feed to loudspeaker")
        pages.append(await _road(quick))
    if "fan" in parts:
        pages.append(await _fan(quick))
    if "fast" in parts:
        pages.append(await _fast(fast.TINY if tiny else fast.QUICK if quick else fast.WHOLE))
    if "start" in parts:
        say("starts of the CLI")
        try:
            pages.append(report.starts(await start.measure(5 if quick else start.RUNS)))
        except Failed as error:
            pages.append(report.failure("D. Starts of the CLI", error))
    if "quake" in parts:
        say("an earthquake and 100,000 terminals")
        pages.append(quake.page(quick))
    if "lifecycle" in parts:
        say("a week of real warnings")
        pages.append(lifecycle.page(quick))
    if "targeting" in parts:
        say("who is in, of 100,000 terminals")
        pages.append(targeting.page(quick))
    if "cap" in parts:
        say("the CAP corpus")
        pages.append(cap.page(quick))
    if {"speech", "speech-time"} & set(parts):
        say("speech: how soon, and what a minute costs")
        pages.append(await speech.time_page(quick))
    if {"speech", "speech-errors"} & set(parts):
        say("speech: what is heard of it")
        pages.append(await speech.errors_page(quick))
    if "prepare" in parts:
        say("what a county will have to say, spoken ahead")
        pages.append(await prepare.page(quick))
    if "fleet" in parts:
        say("one simulated terminal")
        pages.append(await asyncio.to_thread(fleet_cost.page, quick))
    pages.append(report.end())
    return "\n".join(pages)


async def _road(quick: bool) -> str:
    runs: list[road.Run] = []
    failures: list[str] = []
    sent = road.now()
    async with road.library() as clips:
        plan: list[tuple[str, Voice]] = [("cold", "real")]
        if not quick:
            plan += [("cold", "real")] * 2
            plan += [("prepared", "prepared")] * 2
            plan += [("cached", "mute")] * 5
        for how, voice in plan:
            say(f"  {how}")
            try:
                runs.append(
                    await road.run(how, voice, sent, clips=clips, cached=how == "cached", only_lead=quick)
                )
            except Failed as error:
                failures.append(f"{how}: {error}")
    return report.roads(runs, failures)


async def _fan(quick: bool) -> str:
    mosquitto = mosquitto_binary() is not None
    fans: list[Fan] = []
    # Terminals, rounds, seconds that one playing takes: longer than the burst, as a real one is.
    sizes = [(212, 3, 1.0), (500, 3, 1.0)] if quick else [(212, 15, 1.0), (2_000, 7, 3.0), (10_000, 5, 10.0)]
    for terminals, rounds, playing in sizes if mosquitto else ():
        say(f"mosquitto, {terminals} terminals")
        fans.append(await fan_.measure(MosquittoBroker, "mosquitto", terminals, rounds, playing))
    for terminals, rounds, playing in sizes[:1] if quick else sizes[:2]:
        say(f"embedded broker, {terminals} terminals")
        fans.append(await fan_.measure(EmbeddedBroker, "embedded", terminals, rounds, playing))
    defaults = partial(MosquittoBroker, production=False)
    if mosquitto and not quick:
        say("mosquitto with its default queue limits, 10000 terminals")
        lossy = await fan_.measure(defaults, "mosquitto, default limits", 10_000, 3, 1.0, floor=False)
    else:
        lossy = None
    async with c_floor() as tool:
        rows: list[tuple[str, int, list[float], list[float]]] = []
        if isinstance(tool, CFloor):
            say("C floor")
            for terminals, rounds, _ in sizes:
                rows += await asyncio.to_thread(_c, tool, terminals, rounds, mosquitto)
        skipped = tool if isinstance(tool, str) else ""
    return report.fans(fans, lossy, rows, skipped or ("" if mosquitto else "mosquitto: not on this machine"))


async def _fast(amount: fast.Amount) -> str:
    if mosquitto_binary() is None:
        return report.failure("E. The fast lane", Failed("mosquitto is not on this machine"))
    async with c_floor() as tool:
        return await fast.page(amount, tool if isinstance(tool, CFloor) else None, say)


def _c(tool: CFloor, terminals: int, rounds: int, mosquitto: bool) -> list[report.CRow]:
    rows: list[report.CRow] = []
    try:
        bare = tool.fan_of_its_own(terminals, rounds)
        rows.append(("C broker", terminals, bare.has, bare.reported))
        if mosquitto:
            with MosquittoBroker() as broker:
                fan = tool.fan(broker.port, terminals, rounds)
            rows.append(("mosquitto", terminals, fan.has, fan.reported))
    except Failed as error:
        say(f"  C floor: {error}")
    return rows


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small version, less than two minutes")
    parser.add_argument(
        "--tiny", action="store_true", help="does every row of `fast` run? no number means much"
    )
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join((*PARTS, *HALVES))}")
    parser.add_argument("--out", type=Path, help="write the tables there, too")
    given = parser.parse_args()
    parts = given.only.split(",")
    if unknown := set(parts) - {*PARTS, *HALVES}:
        parser.error(f"--only {sorted(unknown)[0]}: there are {', '.join((*PARTS, *HALVES))}")
    text = asyncio.run(run(given.quick or given.tiny, parts, given.tiny))
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
