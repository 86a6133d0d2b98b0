"""Command published → last terminal has it → last report stored: the controller beside the raw client, on
the same fleet through the same broker, rounds in turn."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.floor import RawClient
from benchmarks.site import Child, Failed, Site, site
from config.schema import BroadcastOptions
from controller import keys as county_keys
from simulators.broker import EmbeddedBroker, MosquittoBroker
from terminals import wire
from terminals.seal import KeyRole, open_command
from tts import floor as generic

PAUSE_S: Final = 0.5
"""Between rounds, for whatever the last one has left."""
COUNTY: Final = "623023000000"


@dataclass(frozen=True, slots=True)
class Round:
    """Milliseconds since the command was published."""

    has: float
    """The last terminal has accepted it and its loudspeaker has started: one step, the clip is there."""
    reported: float
    """The last terminal's `playing` has come to the controller, or to the raw client."""
    stored: float | None = None
    """It is committed; the raw client stores nothing."""
    all_played: float | None = None
    """Every `played` is known (and stored); one playing takes `Fan.playing_s`."""
    planned: float | None = None
    """Before the publish: an operator's request → published, with every delivery stored."""
    cpu: float | None = None
    """CPU of the controller's process, ms, until all were played."""
    reports: int = 0
    repeats: int = 0
    """Commands and questions that it sent to single terminals."""


@dataclass(slots=True)
class Fan:
    broker: str
    terminals: int
    playing_s: float
    controller: list[Round] = field(default_factory=list)
    floor: list[Round] = field(default_factory=list)
    envelope: int = 0
    """Bytes of one command."""
    report: float = 0.0
    """Bytes of one report, on average."""
    connect_s: float = 0.0
    memory: dict[str, float] = field(default_factory=dict)
    """MB of the controller's process."""
    failed: str = ""


Broker = EmbeddedBroker | MosquittoBroker


async def measure(
    make: Callable[[], Broker],
    name: str,
    terminals: int,
    rounds: int,
    playing_s: float,
    *,
    floor: bool = True,
) -> Fan:
    """`rounds` of each in turn; what could be measured before something failed is kept, with the reason."""
    _, clip = generic.generic("test")
    pace = clip.seconds * BroadcastOptions().repeats.of(None) / playing_s
    fan = Fan(name, terminals, playing_s)
    try:
        async with make() as broker, site(broker.port, pace=pace, voice="mute") as here:
            fan.memory["started"] = here.controller.memory_mb()
            began = asyncio.get_running_loop().time()
            async with here.fleet(terminals, speed=pace, audio="shared", wanted=terminals) as fleet:
                fan.connect_s = asyncio.get_running_loop().time() - began
                await asyncio.sleep(2)
                fan.memory["connected"] = here.controller.memory_mb()
                await _rounds(fan, here, fleet, rounds, floor)
                fan.memory["peak"] = here.controller.memory_mb("VmHWM")
    except Failed as error:
        fan.failed = str(error)
    return fan


async def _rounds(fan: Fan, here: Site, fleet: Child, rounds: int, floor: bool) -> None:
    raw = RawClient("zhouqu")
    async with raw.connected(here.broker, "group"):
        # The first round fetches the clip and shows the raw client the controller's command.
        await _controller(here, fleet)
        assert raw.command is not None
    ring = county_keys.load(here.keys, KeyRole).ring
    play = open_command(raw.command, ring).command
    assert isinstance(play, wire.Play)
    fan.envelope = len(raw.command)
    gc.collect()
    gc.freeze()
    for n in range(rounds):
        for controller in (True, False) if n % 2 else (False, True):
            await asyncio.sleep(PAUSE_S)
            if controller:
                fan.controller.append(await _controller(here, fleet))
                if len(fan.controller) == 4:  # and the first one
                    fan.memory["five"] = here.controller.memory_mb()
            elif floor:
                await here.controller.tell("deaf")
                async with raw.connected(here.broker, "report"):
                    counted = await raw.count(play, fan.terminals, here)
                await here.controller.tell("hear")
                playing = await fleet.named("playing", counted.broadcast)
                fan.report = counted.bytes / counted.reports
                fan.floor.append(
                    Round(
                        has=(playing["last"] - counted.published) / 1e6,
                        reported=(counted.playing - counted.published) / 1e6,
                        all_played=(counted.last - counted.published) / 1e6,
                        reports=counted.reports,
                    )
                )


async def _controller(here: Site, fleet: Child) -> Round:
    asked = asyncio.get_running_loop().time() * 1e9
    compose: dict[str, Any] = {"hazard": "rainstorm", "areas": [COUNTY], "codes": "mca"}
    answer = await here.post("/v1/alerts", {"kind": "test", "compose": compose})
    if answer["outcome"] != "released":
        raise Failed(f"the test was {answer}")
    broadcast = answer["broadcast"]
    done = await here.controller.named("done", broadcast)
    playing = await fleet.named("playing", broadcast)
    zero = done["published"]
    return Round(
        has=(playing["last"] - zero) / 1e6,
        reported=(done["arrived"] - zero) / 1e6,
        stored=(done["stored"]["playing"] - zero) / 1e6,
        all_played=(done["at"] - zero) / 1e6,
        planned=(zero - asked) / 1e6,
        cpu=done["cpu"] * 1e3,
        reports=done["reports"],
        repeats=done["repeats"],
    )
