"""The fast lane and what stands around it: feed bytes → the last loudspeaker → its word on the disk, beside
a raw client that only publishes and counts; clips over HTTP; readers of reports; what one command costs.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import multiprocessing
import secrets
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final
from zoneinfo import ZoneInfo

import aiomqtt
import httpx2

from benchmarks import fan
from benchmarks.floor import CFloor, RawClient
from benchmarks.site import STEP_S, Child, Failed, Site, site
from controller import keys as county_keys
from simulators import mqtt_lite
from simulators.broker import EmbeddedBroker, MosquittoBroker
from terminals import wire
from terminals.seal import KeyRing, KeyRole, open_command, open_report, seal_report
from terminals.transports.mqtt import Endpoint, MqttTransport
from tts import floor as generic
from tts.library import ClipRecord, Library

COUNTY: Final = "623023000000"
HAZARD: Final = "dam_break"
PAUSE_S: Final = 0.5
CLIP_BYTES: Final = 300_000
LISTENERS: Final = 200
"""Connections of the download benchmark at a time: terminals spread their fetching."""
PINGS: Final = 30


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of each is measured."""

    sizes: tuple[tuple[int, int, float], ...]
    """Terminals, rounds, seconds that one playing takes: longer than the burst, as a real one is."""
    rounds: int
    """Of one idle terminal, and of what needs no fleet."""
    listeners: int
    """Terminals that a clip goes to."""
    downloads: int
    """Rounds of that."""
    reports: int
    """In one round of a reader."""
    defaults: int
    """Terminals behind brokers with their default limits."""
    idle_s: float = 5.0


WHOLE: Final = Amount(
    ((1_000, 15, 1.0), (6_000, 15, 3.0), (10_000, 15, 5.0)),
    rounds=15,
    listeners=1_000,
    downloads=5,
    reports=5_000,
    defaults=10_000,
)
QUICK: Final = Amount(
    ((1_000, 3, 1.0),), rounds=3, listeners=1_000, downloads=1, reports=5_000, defaults=2_000
)
TINY: Final = Amount(((5, 1, 0.5),), rounds=1, listeners=5, downloads=1, reports=50, defaults=5, idle_s=0.1)
"""Says nothing of speed, but that every row can be measured."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Milliseconds since the bytes went to the feed's socket; of the floor, since its publish."""

    first: float
    """The first terminal plays."""
    has: float
    """The last one does."""
    arrived: float
    """The last terminal's `playing` has come back."""
    stored: float | None = None
    """And is on the disk."""
    published: float | None = None
    """The command was given to the broker."""
    cpu: float | None = None
    """CPU of the controller's process until then, ms."""


@dataclass(slots=True)
class Size:
    terminals: int
    controller: list[Lane] = field(default_factory=list)
    floor: list[Lane] = field(default_factory=list)
    c_has: list[float] = field(default_factory=list)
    c_back: list[float] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)
    idle_cpu: float = 0.0
    """Share of one core, nothing happening."""
    storm_cpu: float = 0.0
    """Share of one core from the bytes to the last report stored."""
    command: bytes = b""
    ring: KeyRing | None = None
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Download:
    megabytes_s: float
    loop_worst_ms: float
    stop_ms: float
    """A stop in the middle of it: asked for → acknowledged by every terminal, as stored."""
    terminals: int


class _First(RawClient):
    """Keeps the first command that comes to the group, which is the lead."""

    def mqtt_message(self, topic: str, payload: bytes) -> None:
        if "/rpt/" in topic or self.command is None:
            super().mqtt_message(topic, payload)


def warning(number: int) -> bytes:
    """A dam break in the whole county, another one for each number."""
    now = datetime.now(ZoneInfo("Asia/Shanghai")).replace(microsecond=0)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2">
<identifier>bench-{number}-{secrets.token_hex(4)}</identifier><sender>zhouqu.water</sender><sent>{now.isoformat()}</sent><status>Actual</status><msgType>Alert</msgType>
<scope>Public</scope><info><language>zh-CN</language><category>Met</category><event>溃坝</event>
<urgency>Immediate</urgency><severity>Extreme</severity><certainty>Observed</certainty>
<expires>{(now + timedelta(hours=6)).isoformat()}</expires><senderName>舟曲县水务局</senderName>
<headline>溃坝红色预警</headline><description>水库溃坝。</description><parameter><valueName>AlertColor</valueName>
<value>红色</value></parameter><area><areaDesc>舟曲县</areaDesc><geocode><valueName>fenghuo:mca</valueName>
<value>{COUNTY}</value></geocode></area></info></alert>""".encode()


async def measure(
    terminals: int, rounds: int, playing_s: float, tool: CFloor | None, idle_s: float = 5.0
) -> Size:
    """`rounds` of the controller and of the raw client in turn, and the C fleet at the end."""
    size = Size(terminals)
    _, clip = generic.generic("actual", "first", HAZARD)
    pace = max(1.0, clip.seconds / playing_s)
    try:
        async with MosquittoBroker() as broker, site(broker.port, pace=pace, voice="late") as here:
            async with here.fleet(terminals, speed=pace, audio="shared", wanted=terminals) as fleet:
                await asyncio.sleep(2)
                size.memory["connected"] = here.controller.memory_mb()
                before = here.controller.cpu_s()
                await asyncio.sleep(idle_s)
                size.idle_cpu = (here.controller.cpu_s() - before) / idle_s
                await _rounds(size, here, fleet, rounds)
                size.memory["peak"] = here.controller.memory_mb("VmHWM")
            if tool is not None:
                least = await asyncio.to_thread(tool.fan, broker.port, terminals, rounds)
                size.c_has, size.c_back = least.has, least.reported
    except Failed as error:
        size.failed = str(error)
    return size


async def _rounds(size: Size, here: Site, fleet: Child, rounds: int) -> None:
    raw = _First("zhouqu")
    async with raw.connected(here.broker, "group"):
        await _controller(here, fleet, 0)  # fetches the clip, and shows the raw client the command
        assert raw.command is not None
    ring = county_keys.load(here.keys, KeyRole).ring
    play = open_command(raw.command, ring).command
    assert isinstance(play, wire.Play)
    size.command, size.ring = raw.command, ring
    gc.collect()
    gc.freeze()
    busy = spent = 0.0
    for n in range(rounds):
        for controller in (True, False) if n % 2 else (False, True):
            await asyncio.sleep(PAUSE_S)
            if controller:
                lane = await _controller(here, fleet, n + 1)
                size.controller.append(lane)
                assert lane.cpu is not None
                assert lane.stored is not None
                busy, spent = busy + lane.cpu, spent + lane.stored
            else:
                await here.controller.tell("deaf")
                async with raw.connected(here.broker, "report"):
                    counted = await raw.count(play, size.terminals, here)
                await here.controller.tell("hear")
                playing = await fleet.named("playing", counted.broadcast)
                zero = counted.published
                size.floor.append(
                    Lane(
                        (playing["first"] - zero) / 1e6,
                        (playing["last"] - zero) / 1e6,
                        (counted.playing - zero) / 1e6,
                    )
                )
    size.storm_cpu = busy / spent if spent else 0.0


async def _controller(here: Site, fleet: Child, number: int) -> Lane:
    body = warning(number)
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as feed:
        # The connection is there already, as a sender keeps it; a refused one costs nothing.
        zero = time.monotonic_ns()
        answer = await feed.post(here.inbox, content=body, headers=here.feed_token)
    if answer.status_code != 200:
        raise Failed(f"the feed said HTTP {answer.status_code}: {answer.text[:300]}")
    [alert] = await here.get("/v1/alerts?limit=1")
    if alert["state"] != "released":
        raise Failed(f"the warning is {alert['state']}: {alert['reason']}")
    stored = await here.controller.named("playing stored")
    playing = await fleet.named("playing", stored["id"])
    await _quiet(here, stored["id"])
    return Lane(
        (playing["first"] - zero) / 1e6,
        (playing["last"] - zero) / 1e6,
        (stored["arrived"] - zero) / 1e6,
        (stored["at"] - zero) / 1e6,
        (stored["published"] - zero) / 1e6,
        stored["cpu"] * 1e3,
    )


async def _quiet(here: Site, lead: str) -> None:
    """Everything of this round is over: the warning is cancelled, and its all-clear stopped with the rest."""
    for alert in await here.get("/v1/alerts?state=released"):
        await here.post(f"/v1/alerts/{alert['id']}/cancel", {"reason": "next round"})
    await here.post("/v1/broadcasts/stop-all", {"reason": "next round"})
    await here.controller.named("done", lead)


# --- clips over HTTP -------------------------------------------------------------------------------------


@asynccontextmanager
async def _with_a_clip() -> AsyncIterator[tuple[Path, str]]:
    """A library with one clip of that size, and its hash."""
    with tempfile.TemporaryDirectory(prefix="fenghuo-bench-clip-") as name:
        data = secrets.token_bytes(CLIP_BYTES)
        sha256 = hashlib.sha256(data).hexdigest()
        record = ClipRecord(sha256, len(data), 20.0, -16.0, -3.0, "mp3", "zh", "none", True, "")
        await asyncio.to_thread(Library(Path(name)).add, sha256, data, record)
        yield Path(name), sha256


async def download(terminals: int) -> Download:
    """As many fetches as terminals, of one clip of 300 KB, while a broadcast sounds on all of them; it is
    stopped in the middle."""
    _, clip = generic.generic("test")
    async with (
        _with_a_clip() as (clips, sha256),
        MosquittoBroker() as broker,
        site(broker.port, voice="mute", clips=clips) as here,
        here.fleet(terminals, speed=1, audio="shared", wanted=terminals) as fleet,
    ):
        compose: dict[str, Any] = {"hazard": "rainstorm", "areas": [COUNTY], "codes": "mca"}
        sent = await here.post("/v1/alerts", {"kind": "test", "compose": compose})
        await fleet.named("playing", sent["broadcast"])
        await asyncio.sleep(min(1.0, clip.seconds / 4))
        url = f"{here.terminals}/clips/{sha256}.mp3"
        await here.controller.tell("lag")
        queue = list(range(terminals))
        got = 0
        half = asyncio.Event()

        async def fetch(http: httpx2.AsyncClient) -> None:
            nonlocal got
            while queue:
                queue.pop()
                answer = await http.get(url)
                if answer.status_code != 200 or len(answer.content) != CLIP_BYTES:
                    raise Failed(f"{url}: HTTP {answer.status_code}, {len(answer.content)} bytes")
                got += 1
                if got >= terminals // 2:
                    half.set()

        limits = httpx2.Limits(max_connections=LISTENERS, max_keepalive_connections=LISTENERS)
        began = time.monotonic()
        async with httpx2.AsyncClient(limits=limits, timeout=STEP_S, trust_env=False) as http:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(LISTENERS):
                    tasks.create_task(fetch(http), name="benchmark.fetch")
                await half.wait()
                asked = time.monotonic_ns()
                await here.post(f"/v1/broadcasts/{sent['broadcast']}/stop", {})
                done = await here.controller.named("done", sent["broadcast"])
            took = time.monotonic() - began
        worst = (await here.controller.tell("lag"))["worst_ms"]
    return Download(terminals * CLIP_BYTES / 1e6 / took, worst, (done["at"] - asked) / 1e6, terminals)


# --- readers of reports, and Nagle -----------------------------------------------------------------------


def _pump(port: int, count: int, go: Any) -> None:
    """Another process: publishes `count` reports as fast as the broker takes them."""

    class Pump:
        def __init__(self) -> None:
            self.open = asyncio.Event()

        def mqtt_open(self) -> None:
            self.open.set()

        def mqtt_message(self, topic: str, payload: bytes) -> None: ...

        def mqtt_closed(self, why: str, error: Exception | None) -> None: ...

    async def run() -> None:
        owner = Pump()
        greeting = mqtt_lite.connect_packet("pump", keepalive=600, username="pump", will=None)
        link = mqtt_lite.Connection(owner, greeting)
        await asyncio.get_running_loop().create_connection(lambda: link, "127.0.0.1", port)
        await owner.open.wait()
        await asyncio.to_thread(go.wait)
        payload = b"x" * 300
        for n in range(count):
            while not link.publish(f"fenghuo/bench/rpt/t{n % 1000:04d}", payload, qos=1):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        while link.unacknowledged:  # noqa: ASYNC110 - it has no event for it
            await asyncio.sleep(0.001)
        link.close()

    asyncio.run(run())


async def readers(rounds: int, reports: int) -> dict[str, list[float]]:
    """Reader → µs of this process's CPU per report, one per round: all through one mosquitto, in turn."""
    found: dict[str, list[float]] = {"ours (aiomqtt, read past its parser)": [], "aiomqtt as it is": []}
    with MosquittoBroker() as broker:
        for _ in range(rounds):
            for name, values in found.items():
                values.append(await _read(broker.port, reports, own=name.startswith("ours")))
    return found


async def _read(port: int, reports: int, *, own: bool) -> float:
    context = multiprocessing.get_context("spawn")
    go = context.Event()
    pump = context.Process(target=_pump, args=(port, reports, go), daemon=True)
    pump.start()
    came = 0
    whole = asyncio.Event()
    there = asyncio.Event()

    def arrived(_terminal: str, _payload: bytes) -> None:
        nonlocal came
        came += 1
        if came == reports:
            whole.set()

    async def ours() -> None:
        async def changed(connected: bool) -> None:
            if connected:
                there.set()

        await MqttTransport(Endpoint("127.0.0.1", port), "bench").run(arrived, changed)

    async def plain() -> None:
        async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
            await client.subscribe("fenghuo/bench/rpt/+", qos=1)
            there.set()
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                arrived(message.topic.value.rpartition("/")[2], message.payload)

    reader = asyncio.create_task(ours() if own else plain(), name="benchmark.reader")
    try:
        async with asyncio.timeout(60):
            await there.wait()
            await asyncio.sleep(0.3)
            before = time.process_time()
            go.set()
            await whole.wait()
            spent = time.process_time() - before
    except TimeoutError:
        raise Failed(f"{came} of {reports} reports were read") from None
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        await asyncio.to_thread(pump.join, 10)
        if pump.is_alive():
            pump.kill()
    return spent * 1e6 / reports


async def nagle(rounds: int) -> dict[str, list[float]]:
    """With and without TCP_NODELAY → ms from a command's publish to its coming back through the broker, while
    a word was on its way already; one median per round."""
    found: dict[str, list[float]] = {"with TCP_NODELAY": [], "without": []}
    with MosquittoBroker() as broker:
        for _ in range(rounds):
            for name, values in found.items():
                values.append(await _ping(broker.port, 1 if name.startswith("with ") else 0))
    return found


async def _ping(port: int, no_delay: int) -> float:
    taken = []
    async with aiomqtt.Client(
        "127.0.0.1",
        port,
        protocol=aiomqtt.ProtocolVersion.V5,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, no_delay)],
    ) as client:
        await client.subscribe("bench/ping", qos=0)
        for _ in range(PINGS):
            before = time.perf_counter()
            # Two small packets one after the other: the second waits for the acknowledgement of the first.
            await client.publish("bench/other", b"x", qos=0)
            await client.publish("bench/ping", b"y" * 400, qos=0)
            await anext(aiter(client.messages))
            taken.append((time.perf_counter() - before) * 1e3)
    return median(taken)


# --- one command -----------------------------------------------------------------------------------------


def verifying(command: bytes, ring: KeyRing, rounds: int = 300) -> float:
    """µs to open one command on a terminal: Ed25519 over the exact bytes, then decoding; nothing
    remembered."""

    def one() -> None:
        open_command(command, ring)

    return _median_us(one, rounds)


def reading(rounds: int = 300) -> float:
    """µs to open one report on the controller: HMAC and decoding."""
    key = secrets.token_bytes(32)
    report = wire.Report(
        "t0001", "B123456", "b" * 16, 1, (wire.Fact(1, "playing", 1_795_305_600_000),), counter_seen=1
    )
    payload = seal_report(report, "t0001", key)

    def one() -> None:
        open_report(payload, lambda _: key)

    return _median_us(one, rounds)


def _median_us(one: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        before = time.perf_counter_ns()
        one()
        taken.append((time.perf_counter_ns() - before) / 1e3)
    return median(taken)


# --- the page --------------------------------------------------------------------------------------------


async def page(amount: Amount, tool: CFloor | None, say: Callable[[str], None]) -> str:
    """All of it as a markdown section; what fails is a line in it."""
    say("fast lane, one terminal")
    idle = await measure(1, amount.rounds, 1.0, None, amount.idle_s)
    sizes = []
    for terminals, count, playing_s in amount.sizes:
        say(f"fast lane, {terminals} terminals")
        sizes.append(await measure(terminals, count, playing_s, tool, amount.idle_s))
    lines: list[str] = []
    for what, made in (
        ("a clip of 300 KB", _clips(amount)),
        ("readers", _readers(amount)),
        ("TCP_NODELAY", _nagle(amount)),
        ("brokers with their default limits", _defaults(amount)),
    ):
        say(f"fast lane, {what}")
        try:
            lines += await made
        except Failed as error:
            lines.append(f"- {what}: **not measured**: {error}")
    if sizes[-1].ring is not None:
        each = verifying(sizes[-1].command, sizes[-1].ring)
        lines.append(f"- a terminal verifies and decodes one command in {each:.0f} µs")
    lines.append(f"- the controller opens one report in {reading():.0f} µs")
    return _lanes(sizes, idle) + "\n".join(lines) + "\n"


def _lanes(sizes: Sequence[Size], idle: Size) -> str:
    text = [
        "## E. The fast lane: feed bytes → the last of N terminals\n",
        "Milliseconds since a warning's bytes were posted to the feed's own socket; of the floor (a raw "
        "client that publishes the same bytes to the same fleet through the same mosquitto and counts the "
        "same reports) since its publish, rounds in turn. Terminals hold the clip. `C`: the same fan with C "
        "terminals, 200-byte command, 80-byte report.\n",
        "| terminals | | rounds | published | first plays | last plays | last `playing` back | stored |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size in [idle, *sizes]:
        for who, rows in (("controller", size.controller), ("floor", size.floor)):
            if rows:
                cells = [
                    _ms([r.published for r in rows if r.published is not None]),
                    _ms([r.first for r in rows]),
                    _ms([r.has for r in rows]),
                    _ms([r.arrived for r in rows]),
                    _ms([r.stored for r in rows if r.stored is not None]),
                ]
                text.append(f"| {size.terminals:,} | {who} | {len(rows)} | {' | '.join(cells)} |")
        if size.c_has:
            text.append(
                f"| {size.terminals:,} | C | {len(size.c_has)} | | | {_ms(size.c_has)} "
                f"| {_ms(size.c_back)} | |"
            )
    text.append("")
    if idle.controller:
        back = median(r.arrived for r in idle.controller)
        text.append(_bar("one idle terminal, feed bytes → `playing` reported", back, 10, "ms"))
    for size in sizes:
        n = f"{size.terminals:,} terminals"
        if size.controller and size.floor:
            has = median(r.has for r in size.controller)
            stored = median(r.stored or 0.0 for r in size.controller)
            least, back = median(r.has for r in size.floor), median(r.arrived for r in size.floor)
            text.append(_bar(f"{n}: last plays, against the floor", has / least, 1.5, "×"))
            text.append(_bar(f"{n}: last `playing` stored, against the floor", stored / back, 2, "×"))
            if size.terminals == 10_000:
                text.append(_bar(f"{n}: last plays", has, 1_000, "ms"))
            out = median(r.published or 0.0 for r in size.controller)
            rate = size.terminals / max(1e-3, (stored - out) / 1e3)
            text.append(f"- {n}: {rate:,.0f} terminals' words stored per second in the burst")
        if size.memory:
            text.append(
                f"- {n}: controller {size.memory['connected']:.0f} MB idle, "
                f"{size.memory.get('peak', 0):.0f} MB at the most; CPU {size.idle_cpu:.1%} of a core idle, "
                f"{size.storm_cpu:.0%} in the burst"
            )
            if size.terminals == 10_000:
                text.append(_bar(f"{n}: memory", max(size.memory.values()), 300, "MB"))
    text += [
        f"- {s.terminals:,} terminals: **stopped early**: {s.failed}" for s in [idle, *sizes] if s.failed
    ]
    return "\n".join(text) + "\n"


async def _clips(amount: Amount) -> list[str]:
    rows = [await download(amount.listeners) for _ in range(amount.downloads)]
    return [
        f"- {CLIP_BYTES // 1000} KB to {amount.listeners:,} over HTTP: "
        f"{_ms([r.megabytes_s for r in rows])} MB/s; the controller's loop was "
        f"held up {_ms([r.loop_worst_ms for r in rows])} ms at the worst",
        _bar(
            "a stop in the middle of it, asked for → acknowledged by every terminal",
            median(r.stop_ms for r in rows),
            200,
            "ms",
        ),
    ]


async def _readers(amount: Amount) -> list[str]:
    found = await readers(amount.rounds, amount.reports)
    return [
        f"- one report read, {name}: {_ms(values)} µs of CPU ({len(values)} rounds of {amount.reports:,})"
        for name, values in found.items()
    ]


async def _nagle(amount: Amount) -> list[str]:
    found = await nagle(amount.rounds)
    return [f"- two small commands and back, {name}: {_ms(values)} ms" for name, values in found.items()]


async def _defaults(amount: Amount) -> list[str]:
    lines = []
    brokers: tuple[tuple[str, Callable[[], fan.Broker], int], ...] = (
        ("mosquitto", partial(MosquittoBroker, production=False), amount.defaults),
        ("the embedded broker", EmbeddedBroker, min(amount.defaults, 2_000)),
    )
    for name, make, terminals in brokers:
        playing_s = 1.0
        found = await fan.measure(make, name, terminals, min(3, amount.rounds), playing_s, floor=False)
        if found.failed:
            lines.append(f"- {name} with its default limits: **not measured**: {found.failed}")
            continue
        seconds = [(r.all_played or 0.0) / 1e3 for r in found.controller]
        again = median(r.repeats for r in found.controller)
        lines.append(
            _bar(
                f"{name} with its default limits, {terminals:,} terminals, {playing_s:g} s of sound: "
                f"the last `played` is stored ({again:,.0f} questions and repeats)",
                max(seconds),
                30,
                "s",
            )
        )
    return lines


def _bar(what: str, value: float, bar: float, unit: str) -> str:
    met = "met" if value <= bar else "not met"
    return f"- {what}: {value:,.2f} {unit} (bar {bar:g} {unit}): **{met}**"


def _ms(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{median(values):,.1f} ({min(values):,.1f} – {max(values):,.1f})"
