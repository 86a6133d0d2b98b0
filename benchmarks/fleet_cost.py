"""``python -m benchmarks.fleet_cost``: what one simulated terminal costs: bytes at rest, and CPU for one
command and all its reports, without the broker and the network. The bars are 5 KB and 60 µs (issue 5)."""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import time
import tracemalloc
from typing import Any

from simulators.faults import HEALTHY
from simulators.fleet import Fleet, FleetOptions, Terminal
from terminals.agent.core import Identity
from terminals.seal import KeyRing, KeyRole, new_signer, open_report, report_key
from terminals.transports.mqtt import topics
from terminals.wire import Clip, Hello, Play, Stop, Targets, Time

TERMINALS = 500
ROUNDS = 15
WAITS_MS = 3_600_000
SECRET = bytes(32)


class _Link:
    """A connection that takes everything."""

    def __init__(self) -> None:
        self.said: list[bytes] = []
        self.server_keepalive = None

    def publish(self, topic: str, payload: bytes, **_: Any) -> bool:
        self.said.append(payload)
        return True

    def subscribe(self, *_: str) -> bool:
        return True

    unsubscribe = subscribe

    def keep_alive(self) -> None:
        """Nobody is there."""


async def measure(terminals: int = TERMINALS, rounds: int = ROUNDS) -> dict[str, float]:
    """Median over `rounds` plays: CPU µs a terminal, from the command's bytes to the sealed `played`."""
    signers = {r: new_signer(r, bytes([n]) * 36, sandbox=True) for n, r in enumerate(KeyRole, 1)}
    ring = KeyRing.of(signers.values())
    fleet = Fleet(FleetOptions("http://127.0.0.1:9", "t", terminals=terminals, speed=1_000.0))
    fleet.topics = topics("zhouqu")
    groups, languages, roles = ("all", "w01"), ("zh",), frozenset({KeyRole.ACTUAL})
    codecs = frozenset({"mp3"})
    names = [f"sim-{n + 1:05d}" for n in range(terminals)]
    keys = {name: report_key(SECRET, name) for name in names}
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    boards: list[Terminal] = []
    now = int(time.time() * 1000)
    link = _Link()
    for name in names:
        board = Terminal(
            fleet, Identity(name, "zhouqu", keys[name], ring, groups, languages, codecs, roles), HEALTHY
        )
        board.boot()
        board.link = link  # type: ignore[assignment]
        board.mqtt_open()
        hello = open_report(link.said.pop(), keys.get)
        assert isinstance(hello, Hello)
        time_said = Time(name, hello.nonce, now, groups, "http://127.0.0.1:9")
        link.said.clear()
        board.mqtt_message("", signers[KeyRole.SERVICE].seal(time_said))
        boards.append(board)
    fleet.opener.cache_clear()  # type: ignore[attr-defined]
    gc.collect()
    size = (tracemalloc.get_traced_memory()[0] - before) / terminals
    tracemalloc.stop()
    gc.freeze()
    clip = Clip("zh", "mp3", "a" * 64, 300_000, 0.001, "/clips/a.mp3")
    for board in boards:
        board.held[clip.sha256] = None
    costs: dict[float, list[float]] = {}
    """Reports a terminal → CPU µs a terminal, of each round."""
    played = 0
    for n in range(2 * rounds):
        # In every other round it is only accepted: its time has not come.
        waits = n % 2 * WAITS_MS
        play = Play(
            f"b{n}", "e", "actual", 1, 2 * n + 1, now + n, now + n + waits, now + n + 2 * WAITS_MS,
            (0, 1, 1, 4), Targets(groups=("all",)), (clip,), 1, 80,
        )  # fmt: skip
        payload = signers[KeyRole.ACTUAL].seal(play)
        link.said.clear()
        played += 0 if waits else terminals
        began = time.process_time_ns()
        for board in boards:
            board.mqtt_message("", payload)
        while fleet.counts.finished < played:  # noqa: ASYNC110 - the timers run meanwhile
            await asyncio.sleep(0)
        cost = (time.process_time_ns() - began) / 1000 / terminals
        costs.setdefault(len(link.said) / terminals, []).append(cost)
        if waits:
            stop = Stop((play.broadcast,), "actual", 2 * n + 2, now + n, play.expires, play.targets)
            for board in boards:
                board.mqtt_message("", signers[KeyRole.ACTUAL].seal(stop))
    fleet.timers.clear()
    return {
        "terminals": terminals,
        "bytes": round(size),
        **{f"us_command_and_{reports:g}": round(statistics.median(c), 1) for reports, c in costs.items()},
    }


def page(quick: bool) -> str:
    """The row of ``python -m benchmarks --only fleet``."""
    found = asyncio.run(measure(*((100, 5) if quick else (TERMINALS, ROUNDS))))
    lines = [
        "## One simulated terminal",
        "",
        f"Of {found['terminals']:g} in one process, without broker and network; medians. The bars are those "
        "of issue 5.",
        "",
        "| what | measured | bar |",
        "|---|---|---|",
        f"| memory at rest | {found['bytes'] / 1000:.1f} KB | 5 KB |",
    ]
    for key, value in found.items():
        if key.startswith("us_"):
            reports = key.rpartition("_")[2]
            words = "its report" if reports == "1" else f"its {reports} reports"
            lines.append(f"| CPU for a command and {words} | {value:.0f} µs | 60 µs |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure())))
