"""``fenghuo simulate feeds``: `simulators.feeds` in this process, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from controller.cli import say
from controller.cli.outcome import Code, Failure
from controller.cli.words import w
from simulators.dialects import TOPIC
from simulators.feeds import FeedsError, StoryError, Tally, load, simulated
from simulators.story import Source


def run(scenario: str, *, speed: float, seed: int | None, as_json: bool) -> Code:
    """Prints where each source is, and at the end what each has done. Raises Failure."""
    try:
        asyncio.run(_until_signal(scenario, speed, seed, as_json))
    except StoryError as error:
        raise Failure(Code.CONFIG, str(error)) from error
    except FeedsError as error:
        raise Failure(Code.FAILED, str(error)) from error
    return Code.DONE


async def _until_signal(scenario: str, speed: float, seed: int | None, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    story = await asyncio.to_thread(load, scenario)
    async with simulated(story, speed=speed, seed=seed) as sources:
        tallies = list(sources.tallies.values())
        if as_json:
            ready = [{"name": t.name, "kind": t.kind, "address": t.address} for t in tallies]
            say.data_json({"event": "ready", "data": ready}, indent=None)
        else:
            say.data("\n".join(["feeds:", *(f"  - {line}" for t in tallies if (line := as_feed(t)))]))
        say.talk(w("feeds_ready", count=len(tallies), speed=f"{speed:g}"))
        await sources.run(stop)
    _report([asdict(tally) for tally in tallies], as_json)


def as_feed(tally: Tally) -> str:
    """How a county.yaml names this source; empty for one that posts by itself (an inbox is the feed)."""
    feed: dict[str, Any] = {"name": tally.name}
    match tally.kind:
        case Source.CAP_ATOM | Source.CAP_RSS:
            feed |= {"kind": "cap_index", "url": tally.address}
        case Source.WOLFX | Source.FAN:
            feed |= {"kind": "socket", "format": _FORMATS.get(tally.kind, tally.kind), "url": tally.address}
        case Source.WIS2:
            brokers = [{"url": url} for url in tally.address.split()]
            feed |= {"kind": "wis2", "brokers": brokers, "topics": [TOPIC], "hosts": ["127.0.0.1"]}
        case Source.FOLDER:
            feed |= {"kind": "folder", "path": str(Path(tally.address).absolute())}
        case Source.INBOX:
            return ""
        case _:
            feed |= {"kind": "list", "format": tally.kind, "url": tally.address}
    return json.dumps(feed, ensure_ascii=False)  # which is YAML, too


_FORMATS: Final = {Source.FAN: "fanstudio"}


def _report(rows: list[dict[str, Any]], as_json: bool) -> None:
    """One JSON object; or a line for each source, what is 0 left out."""
    if as_json:
        say.data_json({"event": "report", "data": rows}, indent=None)
        return
    for row in rows:
        done = [f"{name} {value}" for name, value in row.items() if isinstance(value, int) and value]
        done += [f"{fault} {count}" for fault, count in row["faults"].items()]
        say.data(f"{row['name']} ({row['kind']}): {', '.join(done)}")
