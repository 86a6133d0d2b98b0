"""The least: a raw client in the controller's place, and a bare C fleet.

The raw client is one MQTT connection that publishes one ready, sealed Play of the controller's own bytes to
the same group of the same fleet through the same broker, and counts the same reports without opening,
decoding or storing them. It is connected only while it measures; the controller is deaf meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.site import STEP_S, Failed, Site, free_port
from controller import keys
from simulators import mqtt_lite
from terminals import wire
from terminals.fleet import EVERYONE
from terminals.seal import KeyRole
from terminals.transports.mqtt import topics

LIFETIME_MS: Final = 3_600_000
REPORTS_EACH: Final = 3
"""Of a terminal that holds the clip: accepted and ready; playing; played."""
TOOLS: Final = Path(__file__).parents[2] / "shared" / "tools" / "mqtt-floor"


@dataclass(frozen=True, slots=True)
class Counted:
    """One broadcast of the raw client; monotonic ns."""

    broadcast: str
    published: int
    playing: int
    """The last terminal's word that it plays has come."""
    last: int
    """The last report of all."""
    reports: int
    bytes: int
    """Of the reports' payloads."""


class RawClient:
    """An `mqtt_lite.Owner`."""

    def __init__(self, county: str) -> None:
        self.topics = topics(county)
        self.link: mqtt_lite.Connection | None = None
        self.command: bytes | None = None
        """The last envelope that came to the group of everyone."""
        self.open = asyncio.Event()
        self.full = asyncio.Event()
        self._wanted = 0
        self._playing: set[str] = set()
        self._playing_at = 0
        self._reports = 0
        self._bytes = 0
        self._last = 0

    def mqtt_open(self) -> None:
        self.open.set()

    def mqtt_message(self, topic: str, payload: bytes) -> None:
        if "/rpt/" not in topic:
            self.command = payload
            return
        self._reports += 1
        self._bytes += len(payload)
        if b'"playing"' in payload and topic not in self._playing:
            self._playing.add(topic)
            self._playing_at = time.monotonic_ns()
        if self._reports == self._wanted:
            self._last = time.monotonic_ns()
            self.full.set()

    def mqtt_closed(self, why: str, error: Exception | None) -> None:
        self.link = None

    @asynccontextmanager
    async def connected(self, port: int, *names: str) -> AsyncIterator[None]:
        """Subscribed to the channels of these names (QoS 1), for everybody."""
        self.open.clear()
        greeting = mqtt_lite.connect_packet("raw-client", keepalive=600, username="raw-client", will=None)
        link = self.link = mqtt_lite.Connection(self, greeting)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: link, "127.0.0.1", port)
        async with asyncio.timeout(30):
            await self.open.wait()
            link.subscribe(*(self.topics[name].format("+") for name in names))
            while link.unacknowledged:  # noqa: ASYNC110 - it has no event for it
                await asyncio.sleep(0.005)
        try:
            yield
        finally:
            link.close()

    async def count(self, play: wire.Play, terminals: int, site: Site) -> Counted:
        """Publish `play` under a new id and count until all reports are in. Raises Failed."""
        assert self.link is not None
        now = time.time_ns() // 1_000_000
        fresh = msgspec.structs.replace(
            play,
            broadcast="B" + secrets.token_hex((len(play.broadcast) - 1) // 2),
            counter=now,
            issued=now,
            not_before=now,
            expires=now + LIFETIME_MS,
        )
        signer = keys.load(site.keys, [KeyRole(play.role)]).signers[KeyRole(play.role)]
        envelope = signer.seal(fresh)
        self._wanted, self._reports, self._bytes = terminals * REPORTS_EACH, 0, 0
        self._playing.clear()
        self.full.clear()
        published = time.monotonic_ns()
        self.link.publish(self.topics["group"].format(EVERYONE), envelope)
        try:
            async with asyncio.timeout(STEP_S / 4):
                await self.full.wait()
        except TimeoutError:
            raise Failed(f"{self._reports} of {self._wanted} reports came to the raw client") from None
        return Counted(fresh.broadcast, published, self._playing_at, self._last, self._reports, self._bytes)


# --- the same in C -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fan:
    """Milliseconds, one per round."""

    has: list[float]
    reported: list[float]


class CFloor:
    """`mqbench` and `floor_broker` of the shared tools, compiled into a folder that is gone afterwards."""

    def __init__(self, folder: Path) -> None:
        self._mqbench = folder / "mqbench"
        self._broker = folder / "floor_broker"

    def fan(self, port: int, terminals: int, rounds: int) -> Fan:
        """One 200-byte command, one 80-byte report from each; C terminals. Raises Failed."""
        words = [str(self._mqbench), "fan", "--port", str(port), "--n", str(terminals)]
        try:
            run = subprocess.run(
                [*words, "--rounds", str(rounds), "--conc", "40"],
                capture_output=True,
                text=True,
                timeout=STEP_S,
            )
        except subprocess.TimeoutExpired:
            raise Failed("mqbench did not end") from None
        if run.returncode:
            raise Failed(f"mqbench ended with {run.returncode}: {run.stderr[-500:]}")
        events = [json.loads(line) for line in run.stdout.splitlines()]
        rows = [e for e in events if e["ev"] == "round"]
        if any(row["got"] != terminals or row["acked"] != terminals for row in rows):
            raise Failed(f"mqbench lost reports: {rows}")
        return Fan([row["fan_last"] for row in rows], [row["ack_last"] for row in rows])

    def fan_of_its_own(self, terminals: int, rounds: int) -> Fan:
        """The same against the C broker that only copies."""
        port = free_port()
        broker = subprocess.Popen([str(self._broker), str(port)], stdout=subprocess.DEVNULL)
        try:
            time.sleep(0.3)
            return self.fan(port, terminals, rounds)
        finally:
            broker.terminate()
            broker.wait(10)


@asynccontextmanager
async def c_floor() -> AsyncIterator[CFloor | str]:
    """The compiled tools, or why there are none."""
    gcc = shutil.which("gcc")
    if gcc is None or not (TOOLS / "mqbench.c").is_file():
        yield "skipped: " + ("no gcc" if gcc is None else "the C tools are not beside this checkout")
        return
    with tempfile.TemporaryDirectory(prefix="fenghuo-bench-c-") as name:
        for tool in ("mqbench", "floor_broker"):
            words = [gcc, "-O2", "-w", "-o", f"{name}/{tool}", str(TOOLS / f"{tool}.c")]
            await asyncio.to_thread(subprocess.run, words, check=True, timeout=STEP_S)
        yield CFloor(Path(name))
