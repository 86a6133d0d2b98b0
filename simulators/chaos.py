"""A scripted disaster against a controller of our own, and what it kept of its promises.

Theory of operation. This process is the county: the broker is its child, the controller another (the real
program, ``serve --sandbox``, on a temporary state), and the terminals live here, so that what is judged is
what came out of their loudspeakers and not what anybody reports of it. One more client at the broker records
every command and publishes what an attacker would. Warnings come as files into watched folders.

The script: an earthquake in the calm, and a stop; 30 % of the lines are cut and a warning comes; every
command recorded so far is sent again; then stripped, altered and under false keys, with forged receipts
beside; the broker is killed and a warning comes meanwhile; documents come at 100 times the planned rate, and
in the middle of them another earthquake. Then everybody's outcome is compared with what was heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import random
import secrets
import signal
import statistics
import sys
import time
from base64 import urlsafe_b64encode
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final, Literal

import httpx2
from msgspec.structs import replace

from alerts.regions import County
from config.counties import load_county
from simulators import hum, mqtt_lite
from simulators.broker import EmbeddedBroker, MosquittoBroker, mosquitto_binary
from simulators.faults import Fault
from simulators.fleet import Fleet, FleetOptions, Heard
from simulators.scenarios import Scenario, placed
from terminals.agent.core import Sound
from terminals.seal import (
    SIGNER_ENTROPY,
    KeyRole,
    claimed_command,
    is_sandbox_key,
    new_signer,
    seal_report,
)
from terminals.transports.mqtt import topics
from terminals.wire import Fact, Play, Report, Stop

RECORDED: Final = 50_000
"""Commands that the spy keeps."""
REPLAYED: Final = 4_000
FORGED: Final = 400
VERIFICATIONS: Final = 20_000
"""Forgeries times terminals: each terminal checks each of them for itself, all on one core here."""
PHASES: Final = ("calm", "links", "replay", "forged", "broker", "storm")
START_S: Final = 120.0
"""Until the controller is there, and until the fleet is."""
PHASE_S: Final = 60.0
"""A healthy machine needs a tenth; what has not happened by then is a broken promise."""
VOICING_S: Final = 300.0
"""A dozen whole messages of half a minute each, on a machine that does all else too."""
QUIET_S: Final = 2.0
"""How long it is listened whether something sounds that must not."""
STOP_S: Final = 20.0
_BEIJING: Final = timezone(timedelta(hours=8))

# End of our stdin means that the drill is gone, in whatever way.
_GUARDIAN: Final = """
import os, signal, subprocess, sys, threading
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
def watch():
    while os.read(0, 4096):
        pass
    child.terminate()
    try:
        child.wait(20)
    except subprocess.TimeoutExpired:
        child.kill()
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
threading.Thread(target=watch, daemon=True).start()
sys.exit(abs(child.wait()))
"""

_CONFIG: Final = """\
county: {county}
mode: actual
state_dir: ./state
issuer: {{name: 演练, level: county}}
broker: {{url: "mqtt://127.0.0.1:{port}"}}
listen: {{api: "unix:./api.sock", terminals: "127.0.0.1:0"}}
operators: [{{name: drill, token_sha256: "{token}"}}]
feeds:
  - {{name: bureau, kind: folder, path: ./bureau, official: true, authenticated: folder-0700, codes: mca}}
  - {{name: seismic, kind: folder, path: ./seismic, official: true, authenticated: folder-0700, codes: mca}}
release:
  - {{feed: bureau, hazard: rainstorm, colour: [red, orange], action: auto}}
  - {{feed: seismic, hazard: earthquake, action: auto}}
  - {{feed: "*", hazard: "*", action: hold}}
voice: {{{voice}, check: "off"}}
"""

# Machine-made and approved by nobody: it speaks only to simulated terminals.
_REAL: Final = "approved_by: drill, approved_on: 2026-01-01"
# The built-in voice is approved by nobody here, so that the other one speaks what is actual.
_HUM: Final = (
    'others: [{{language: zh, engine: http, name: {name}, url: "{url}", approved_by: drill, '
    "approved_on: 2026-01-01}}]"
)

_CAP: Final = """<?xml version="1.0" encoding="UTF-8"?>
<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2"><identifier>{identifier}</identifier>
<sender>drill.{event}</sender><sent>{sent}</sent><status>{status}</status>
<msgType>Alert</msgType><scope>Public</scope><info><language>zh-CN</language>
<category>Met</category><event>{event}</event><urgency>Immediate</urgency><severity>{severity}</severity>
<certainty>Observed</certainty><effective>{sent}</effective><expires>{expires}</expires>
<senderName>县气象台</senderName><headline>{headline}</headline><description>{text}</description>
{parameters}<area><areaDesc>{place}</areaDesc>{codes}</area></info></alert>"""


class ChaosError(Exception):
    """The drill could not be held: what did not come, and where to look."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One line of the sheet."""

    key: str
    """``calm``, ``links``, ``replay``, ``forged``, ``broker``, ``storm``, ``right``, ``once``, ``outcomes``,
    ``receipts``, ``stop`` or ``alive``."""
    kept: bool
    figures: Mapping[str, int | float]
    broken: tuple[str, ...] = ()
    """What was not as promised, a few of them; for people."""


@dataclass(frozen=True, slots=True)
class Sheet:
    scenario: str
    terminals: int
    seed: int
    speed: float
    """Playing went so many times faster than in reality."""
    broker: str
    voice: str
    seconds: float
    promises: tuple[Promise, ...]

    @property
    def kept(self) -> bool:
        return all(promise.kept for promise in self.promises)


@dataclass(frozen=True, slots=True)
class ChaosOptions:
    scenario: Scenario
    folder: Path
    """Empty, of this drill alone: the controller's state and log."""
    short: bool = False
    speed: float = 10.0
    voice: Literal["hum", "real"] = "real"
    """Who speaks: the voice that a county has, or one that takes no time (`simulators.hum`)."""
    phases: tuple[str, ...] = PHASES
    """Of the script; the first is always there."""
    broker: Literal["best", "embedded"] = "best"
    """``best``: mosquitto where it is installed."""
    serve: tuple[str, ...] = (sys.executable, "-m", "controller.cli")
    """How ``fenghuo`` is started."""


async def run_chaos(options: ChaosOptions, tell: Callable[[str], None]) -> Sheet:
    """Hold the drill. `tell` hears the name of each phase as it begins.

    Raises ChaosError, FleetError, BrokerError, PackError; however it ends, no process of it is left."""
    began = time.monotonic()
    embedded = options.broker == "embedded" or not mosquitto_binary()
    broker = EmbeddedBroker() if embedded else MosquittoBroker()
    with hum.HumService() as service, _logged(options.folder / "fleet.log"):
        world = _World(options, broker, service.url)
        promises = await _held(world, broker, tell)
    return Sheet(
        options.scenario.name,
        options.scenario.terminals,
        options.scenario.seed,
        options.speed,
        broker.name,
        options.voice,
        round(time.monotonic() - began, 1),
        promises,
    )


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """What simulated loudspeakers say of themselves, a hundred refused forgeries among it, is for the file:
    on the screen it would bury the phases."""
    ours = logging.getLogger("simulators")
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    before = ours.propagate
    ours.addHandler(handler)
    ours.propagate = False
    try:
        yield
    finally:
        ours.propagate = before
        ours.removeHandler(handler)
        handler.close()


async def _held(
    world: _World, broker: MosquittoBroker | EmbeddedBroker, tell: Callable[[str], None]
) -> tuple[Promise, ...]:
    async with broker:
        world.spy = _Spy(broker.port, topics(world.county.key))
        tell("start")
        async with world.running():
            await world.script(tell)
            tell("end")
            return await world.judge()


@dataclass(frozen=True, slots=True)
class _Warning:
    """A document of ours that is to sound, and where."""

    feed: str
    identifier: str
    targets: frozenset[str]
    dropped: float


@dataclass(slots=True)
class _Heard:
    """What came out of the loudspeakers."""

    starts: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    """Broadcast → terminal → when it first began, `time.monotonic`."""
    finished: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    silenced: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    rounds: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(broadcast, terminal, clip) → playings of it that went to their end."""
    again: list[tuple[str, str, int]] = field(default_factory=list)
    """(broadcast, terminal, playings before) of whatever began after it had been heard."""
    sounds: int = 0

    def ear(self, terminal: str, sound: Sound, how: Heard) -> None:
        now = time.monotonic()
        broadcast = sound.broadcast
        key = (broadcast, terminal, "" if sound.clip is None else sound.clip.sha256)
        match how:
            case Heard.STARTED:
                self.sounds += 1
                self.starts[broadcast].setdefault(terminal, now)
                if before := self.rounds[key]:
                    self.again.append((broadcast, terminal, before))
            case Heard.FINISHED:
                self.finished[broadcast].add(terminal)
                self.rounds[key] += sound.repeats
            case Heard.SILENCED:
                self.silenced[broadcast][terminal] = now


class _Spy:
    """One more client at the broker: hears every command, says what an attacker would."""

    def __init__(self, port: int, names: Mapping[str, str]) -> None:
        self._port = port
        self._names = names
        self.recorded: deque[tuple[str, bytes]] = deque(maxlen=RECORDED)
        self._link: mqtt_lite.Connection | None = None
        self._open = asyncio.Event()
        self.refused = 0

    async def connect(self) -> None:
        self._open.clear()
        link = mqtt_lite.Connection(
            self, mqtt_lite.connect_packet("drill-spy", keepalive=600, username=None, will=None)
        )
        self._link = link
        async with asyncio.timeout(START_S):
            await asyncio.get_running_loop().create_connection(lambda: link, "127.0.0.1", self._port)
            await self._open.wait()

    def mqtt_open(self) -> None:
        assert self._link is not None
        self._link.subscribe(self._names["group"].format("+"), self._names["terminal"].format("+"))
        self._open.set()

    def mqtt_message(self, topic: str, payload: bytes) -> None:
        self.recorded.append((topic, payload))

    def mqtt_closed(self, why: str, error: Exception | None) -> None:
        self._link = None
        if error is not None:
            raise error

    async def say(self, messages: Sequence[tuple[str, bytes]]) -> int:
        """How many the broker took."""
        taken = 0
        for topic, payload in messages:
            while self._link is not None and self._link.unacknowledged >= 50:  # noqa: ASYNC110 - of a protocol
                await asyncio.sleep(0.001)
            taken += self._link is not None and self._link.publish(topic, payload)
        return taken

    def close(self) -> None:
        if self._link is not None:
            self._link.close()


class _World:
    spy: _Spy

    def __init__(self, options: ChaosOptions, broker: MosquittoBroker | EmbeddedBroker, hum_url: str) -> None:
        self.options = options
        self.hum_url = hum_url
        self.scenario = options.scenario
        self.chaos = options.scenario.chaos
        self.broker = broker
        self.county: County = load_county(self.scenario.county, synthetic=True).county
        self.rows = {str(row["id"]): row for row in placed_rows(self.scenario)}
        self.heard = _Heard()
        self.dice = random.Random(self.scenario.seed)  # noqa: S311 - whose line is cut
        self.warnings: list[_Warning] = []
        self.found: dict[str, Promise] = {}
        self.token = secrets.token_urlsafe(32)
        self.number = 0

    # --- life ---

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Controller and terminals."""
        folder = self.options.folder
        for feed in ("bureau", "seismic"):
            (folder / feed).mkdir(mode=0o700)
        (folder / "county.yaml").write_text(
            _CONFIG.format(
                county=self.scenario.county,
                port=self.broker.port,
                token=hashlib.sha256(self.token.encode()).hexdigest(),
                voice=_REAL if self.options.voice == "real" else _HUM.format(name=hum.NAME, url=self.hum_url),
            ),
            encoding="utf-8",
        )
        socket = f"unix:{folder / 'api.sock'}"
        async with self._serving() as process, self._api() as self.api:
            self.process = process
            await self._until("the controller", self._is_ready, START_S)
            self.fleet = Fleet(
                FleetOptions(
                    controller=socket,
                    token=self.token,
                    county=self.scenario.county,
                    terminals=self.scenario.terminals,
                    speed=self.options.speed,
                    audio="shared",
                    faults=self.scenario.faults,
                    links=self.scenario.links,
                    fault_settings=self.scenario.settings,
                    seed=self.scenario.seed,
                ),
                ear=self.heard.ear,
            )
            self.whole = frozenset(self.rows) - self.scenario.faults.keys() - self.scenario.links.keys()
            """Those of whom everything is expected at once."""
            offline = {t for t, fault in self.scenario.faults.items() if fault is Fault.OFFLINE}
            self.reachable = frozenset(self.rows) - offline
            await self.spy.connect()
            try:
                async with asyncio.timeout(START_S):
                    await self.fleet.start()
                    await self.fleet.wait(self.fleet.ready)
                yield
            except TimeoutError as error:
                raise ChaosError(f"the terminals were not there after {START_S:g} s") from error
            finally:
                self.spy.close()
                await self.fleet.stop()

    @contextlib.asynccontextmanager
    async def _serving(self) -> AsyncIterator[asyncio.subprocess.Process]:
        folder = self.options.folder
        with (folder / "serve.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _GUARDIAN, *self.options.serve),
                *("serve", "--sandbox", "-c", str(folder / "county.yaml")),
                *("--speed", str(self.options.speed)),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                try:
                    async with asyncio.timeout(STOP_S):
                        await process.wait()
                except TimeoutError:
                    os.killpg(process.pid, signal.SIGKILL)
                    await process.wait()

    def _api(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(uds=str(self.options.folder / "api.sock"), trust_env=False),
            base_url="http://controller",
            headers={"authorization": f"Bearer {self.token}"},
            timeout=60,
        )

    async def _is_ready(self) -> bool:
        if self.process.returncode is not None:
            raise ChaosError(f"the controller did not start: {self._last_words()}")
        try:
            return (await self.api.get("/readyz")).status_code == 200
        except httpx2.TransportError:
            return False

    def _last_words(self) -> str:
        lines = (self.options.folder / "serve.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return " / ".join(lines[-3:]) or "it said nothing"

    async def _until(self, what: str, true: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Raises ChaosError after so many seconds."""
        end = time.monotonic() + seconds
        while not await true():
            if time.monotonic() > end:
                raise ChaosError(f"{what} was not there after {seconds:g} s; see serve.log")
            await asyncio.sleep(0.05)

    async def _ask(self, path: str, body: object = None) -> Any:
        if self.process.returncode is not None:
            raise ChaosError(f"the controller died: {self._last_words()}")
        try:
            answer = await self.api.request("GET" if body is None else "POST", path, json=body)
        except httpx2.HTTPError as error:
            raise ChaosError(f"the controller does not answer {path}: {type(error).__name__}") from error
        if answer.status_code != 200:
            raise ChaosError(f"{path}: HTTP {answer.status_code} {answer.text[:200]}")
        return answer.json()

    # --- warnings ---

    def _name(self) -> str:
        self.number += 1
        return f"drill-{self.scenario.seed}-{self.number:06d}"

    def _drop(self, feed: str, body: bytes) -> float:
        """Written aside and renamed, as a careful sender does; when."""
        name = f"{self.number:06d}.xml"
        aside = self.options.folder / f"{feed}.part"
        aside.write_bytes(body)
        now = time.monotonic()
        aside.rename(self.options.folder / feed / name)
        return now

    def _warn(self, feed: str, body: Callable[[str], bytes], targets: Collection[str]) -> _Warning:
        name = self._name()
        warning = _Warning(feed, name, frozenset(targets), self._drop(feed, body(name)))
        self.warnings.append(warning)
        return warning

    def quake(self, lat: float) -> _Warning:
        """Of the whole county."""

        def body(name: str) -> bytes:
            codes = [f"{self.county.code}000000"]
            return quake_document(name, datetime.now(UTC), lat, 104.3, self.county.name, codes)

        return self._warn("seismic", body, self.rows)

    def rain(self, townships: Sequence[str], colour: str = "红") -> _Warning:
        inside = {
            t
            for t, row in self.rows.items()
            if self.county.village(str(row["village"])).township_key in townships
        }
        return self._warn("bureau", lambda name: self.rain_document(name, townships, colour), inside)

    def rain_document(self, name: str, townships: Sequence[str], colour: str, **changes: str) -> bytes:
        places = [self.county.township(key) for key in townships]
        return rain_document(
            name,
            datetime.now(UTC),
            "、".join(place.name for place in places),
            [str(place.mca or place.nbs) + "000" for place in places],
            colour,
            **changes,
        )

    async def broadcasts(self, warning: _Warning) -> list[str]:
        """Of this warning, in the order in which they were planned; empty while it is not released."""
        found = await self._by_name()
        return found.get((warning.feed, warning.identifier), [])

    async def _by_name(self) -> dict[tuple[str, str], list[str]]:
        return broadcasts_by_name(await self._ask("/v1/alerts?limit=1000"))

    async def sounding(self, warning: _Warning, wanted: Collection[str]) -> dict[str, float]:
        """Terminal → seconds from the document to its first sound, of `wanted`; all of them, or those who had
        sounded after PHASE_S."""
        end = time.monotonic() + PHASE_S
        planned: list[str] = []
        while time.monotonic() < end:
            if not planned:
                planned = await self.broadcasts(warning)
            if sum(len(self.heard.starts[b]) for b in planned) >= len(wanted):
                found = self._first(planned, wanted, warning.dropped)
                if len(found) == len(wanted):
                    return found
            if self.process.returncode is not None:
                raise ChaosError(f"the controller died: {self._last_words()}")
            await asyncio.sleep(0.02 if planned else 0.1)
        return self._first(planned, wanted, warning.dropped)

    def _first(self, planned: Sequence[str], wanted: Collection[str], since: float) -> dict[str, float]:
        first: dict[str, float] = {}
        for broadcast in planned:
            for terminal, at in self.heard.starts[broadcast].items():
                if terminal in wanted:
                    first[terminal] = min(first.get(terminal, at - since), at - since)
        return first

    # --- the script ---

    async def script(self, tell: Callable[[str], None]) -> None:
        for name, phase in (
            ("calm", self._calm),
            ("links", self._links),
            ("replay", self._replay),
            ("forged", self._forged),
            ("broker", self._broker),
            ("storm", self._storm),
        ):
            if name in ("calm", *self.options.phases):
                tell(name)
                await phase()

    async def _calm(self) -> None:
        warning = self.quake(33.9)
        times = await self.sounding(warning, self.whole)
        self.calm_s = max(times.values(), default=PHASE_S)
        missing = len(self.whole) - len(times)
        self._found(
            "calm",
            not missing,
            first_s=min(times.values(), default=PHASE_S),
            last_s=self.calm_s,
            sounding=len(times),
            missing=missing,
        )
        await self._stop(warning)

    async def _stop(self, warning: _Warning) -> None:
        """Somebody presses stop while it sounds: at half of them at least. Where the machine is so slow that
        the first message was over meanwhile, that is the second one, which must be voiced before."""
        end = time.monotonic() + VOICING_S
        while True:
            planned = await self.broadcasts(warning)
            began = time.monotonic()
            sounding = self._sound_now(planned)
            if 2 * len(sounding) >= len(self.whole) or began > end:
                break
            await asyncio.sleep(0.05)
        for broadcast in planned:
            await self._ask(f"/v1/broadcasts/{broadcast}/stop", {})
        silent: dict[str, float] = {}
        unknown: list[str] = []
        end = began + PHASE_S
        while time.monotonic() < end:
            silent = {t: at for b in planned for t, at in self.heard.silenced[b].items() if t in sounding}
            told = [await self._ask(f"/v1/broadcasts/{b}") for b in planned]
            unknown = [t for one in told for t in _open(one, self.reachable)]
            over = {t for b in planned for t in self.heard.finished[b]}
            if not unknown and sounding <= silent.keys() | over:
                break
            await asyncio.sleep(0.1)
        still = sounding - silent.keys()  # they fell silent by themselves, or not at all
        self._found(
            "stop",
            len(silent) > len(still) and not unknown,
            (
                *(() if sounding else ("nothing was sounding that could be stopped",)),
                *(f"{t} was not silenced" for t in sorted(still)),
                *(f"{t} did not answer" for t in unknown),
            ),
            sounding=len(sounding),
            slowest_s=max((at - began for at in silent.values()), default=0.0),
            unacknowledged=len(unknown),
        )

    def _sound_now(self, broadcasts: Collection[str]) -> frozenset[str]:
        """Healthy terminals where one of these can be heard."""
        heard = self.heard
        return self.whole & {
            t
            for b in broadcasts
            for t in heard.starts[b]
            if t not in heard.finished[b] and t not in heard.silenced[b]
        }

    async def _links(self) -> None:
        """A share of the lines is gone when the warning comes, and comes back later."""
        reachable = sorted(self.whole)
        self.gone = frozenset(self.dice.sample(reachable, round(self.chaos.links_gone * len(reachable))))
        self.fleet.cut(self.gone)
        half = [t.key for t in self.county.townships[::2]]
        warning = self.rain(half)
        here = (self.whole - self.gone) & warning.targets
        times = await self.sounding(warning, here)
        early = self.gone & {t for b in await self.broadcasts(warning) for t in self.heard.starts[b]}
        again = time.monotonic()
        self.fleet.mend(self.gone)
        late = self.gone & warning.targets
        back = await self.sounding(warning, late)
        lost = (here - times.keys()) | (late - back.keys())
        self._found(
            "links",
            not lost and not early,
            tuple(f"{t} heard nothing" for t in sorted(lost)),
            cut=len(self.gone),
            sounding=len(times),
            last_s=max(times.values(), default=PHASE_S),
            back=len(back),
            back_last_s=max(
                (s + warning.dropped - again for s in back.values()),
                default=PHASE_S if late else 0.0,
            ),
            missing=len(lost),
        )

    async def _replay(self) -> None:
        """All that was said so far is said again, as it was, and to everybody's own topic."""
        await self._over()
        before, state = self.heard.sounds, self._sounded()
        names = topics(self.county.key)
        plays = [(t, p) for t, p in self.spy.recorded if isinstance(claimed_command(p), Play | Stop)]
        again = [(t, p) for t, p in plays if isinstance(claimed_command(p), Play)][-REPLAYED // 2 :]
        mine = {p for _, p in again}
        own = [
            (names["terminal"].format(terminal), payload)
            for terminal in self.dice.sample(sorted(self.rows), min(200, len(self.rows)))
            for payload in sorted(mine)[:4]
        ]
        everybody = [(names["group"].format("all"), payload) for payload in sorted(mine)[:200]]
        said = await self.spy.say([*again, *own, *everybody])
        await asyncio.sleep(QUIET_S)
        new = self._sounded() - state
        self._found(
            "replay", not new and said > 0, _named(new), replayed=said, sounded=self.heard.sounds - before
        )

    async def _forged(self) -> None:
        """Stripped, altered, under keys that are none; and receipts of loudspeakers that were never asked."""
        state = self._sounded()
        names = topics(self.county.key)
        plays = [p for _, p in self.spy.recorded if isinstance(claimed_command(p), Play)]
        before = await self._played()
        bad: list[tuple[str, bytes]] = []
        forged = max(24, min(FORGED, VERIFICATIONS // len(self.rows)))
        for n in range(forged if plays else 0):
            payload = plays[n % len(plays)]
            bad.append((names["group"].format("all"), _forge(payload, n, self.dice)))
        targets = self.dice.sample(sorted(self.whole), min(100, len(self.whole)))
        fact = Fact(1, "played", int(time.time() * 1000))
        known = [p.broadcast for p in map(claimed_command, plays) if isinstance(p, Play)]
        for n, terminal in enumerate(targets):
            if not known:
                break
            report = Report(terminal, known[n % len(known)], "forged", n + 1, (fact,))
            bad.append(
                (names["report"].format(terminal), seal_report(report, terminal, secrets.token_bytes(32)))
            )
        said = await self.spy.say(bad)
        await asyncio.sleep(QUIET_S)
        new = self._sounded() - state
        after = await self._played()
        false = {
            (b, t)
            for b, ts in after.items()
            for t in ts - before.get(b, frozenset())
            if t not in self.heard.finished[b]
        }
        self._found(
            "forged",
            not new and not false and said > 0,
            _named(new | false),
            forged=said,
            sounded=len(new),
            believed=len(false),
        )

    async def _broker(self) -> None:
        """Killed, a warning comes, and it is there again."""
        await asyncio.to_thread(self.broker.kill)
        warning = self.rain([t.key for t in self.county.townships[1::4]])
        await asyncio.sleep(1.0)
        await asyncio.to_thread(self.broker.start)
        back = time.monotonic()
        await self.spy.connect()
        wanted = self.whole & warning.targets
        times = await self.sounding(warning, wanted)
        since = [s + warning.dropped - back for s in times.values()]
        lost = wanted - times.keys()
        self._found(
            "broker",
            not lost,
            tuple(f"{t} heard nothing" for t in sorted(lost)),
            sounding=len(times),
            median_s=statistics.median(since) if since else PHASE_S,
            last_s=max(since, default=PHASE_S),
            missing=len(lost),
        )
        end = time.monotonic() + PHASE_S
        while not self.whole <= self.fleet.connected() and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    async def _storm(self) -> None:
        """Documents far above any plan; in the middle of them, the earthquake. Their number is the same on
        every machine: a storm that lasted until the earthquake has sounded everywhere would blow longest
        where the machine is slowest, and leave it the most to say."""
        a_second = self.chaos.storm * self.chaos.planned_per_minute / 60
        before_s = self.chaos.storm_s / (2 if self.options.short else 1)
        documents = max(1, round(2 * before_s * a_second))
        half = asyncio.Event()
        dropped = 0

        async def blow() -> None:
            nonlocal dropped
            began = time.monotonic()
            while dropped < documents:
                due = min(documents, int((time.monotonic() - began) * a_second) + 1)
                while dropped < due:
                    dropped += 1
                    self._noise(dropped)
                if 2 * dropped >= documents:
                    half.set()
                await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(blow(), name="chaos.storm")
            await half.wait()
            warning = self.quake(33.5)
            times = await self.sounding(warning, self.whole)
        last = max(times.values(), default=PHASE_S)
        limit = self.chaos.slower * self.calm_s + self.chaos.slack_s
        lost = self.whole - times.keys()
        self._found(
            "storm",
            not lost and last <= limit,
            tuple(f"{t} heard nothing" for t in sorted(lost)),
            documents=dropped,
            a_second=a_second,
            calm_s=self.calm_s,
            storm_s=last,
            limit_s=limit,
            missing=len(lost),
        )

    def _noise(self, n: int) -> None:
        """Most of it must make no sound: repeated, held, another county's, an exercise, damaged. Every
        twentieth is a real warning of one township."""
        townships = self.county.townships
        one = [townships[n % len(townships)].key]
        if n % 20 == 0:
            self.rain(one)
            return
        name = self._name()
        match n % 5:
            case 0:
                body = self.rain_document(name, one, "蓝")
            case 1:
                body = self.rain_document(name, one, "红", status="Exercise")
            case 2:
                body = self.rain_document(name, one, "红")
                body = body[: len(body) // 2]
            case 3:
                body = rain_document(name, datetime.now(UTC), "别处", ["110101000000"], "红")
            case _:
                body = self.rain_document(self.warnings[-1].identifier, one, "蓝")
        self._drop("bureau", body)

    # --- what came of it ---

    def _found(self, key: str, kept: bool, broken: tuple[str, ...] = (), /, **figures: int | float) -> None:
        rounded = {n: round(v, 3) if isinstance(v, float) else v for n, v in figures.items()}
        self.found[key] = Promise(key, kept, rounded, broken[:5])

    def _sounded(self) -> set[tuple[str, str]]:
        """(broadcast, terminal) of everything that ever began."""
        return {(b, t) for b, terminals in self.heard.starts.items() for t in terminals}

    async def _mine(self) -> dict[str, _Warning]:
        """Broadcast → the warning of ours that it is of."""
        found = await self._by_name()
        return {
            broadcast: warning
            for warning in self.warnings
            for broadcast in found.get((warning.feed, warning.identifier), ())
        }

    async def _played(self) -> dict[str, frozenset[str]]:
        """Broadcast → terminals of which the controller says that they have played it."""
        found: dict[str, frozenset[str]] = {}
        for broadcast, warning in (await self._mine()).items():
            told = await self._ask(f"/v1/broadcasts/{broadcast}")
            missed = {row["terminal"] for row in told["not_reached"]}
            if told["total"]["targeted"] == len(warning.targets):
                found[broadcast] = warning.targets - missed
            elif told["total"]["played"]:
                # It was divided by what each village had heard: who is in is known by who reported.
                found[broadcast] = frozenset(self.heard.starts[broadcast]) - missed
        return found

    async def _over(self) -> None:
        """Until no broadcast waits for anybody who is here; PHASE_S at most once all are voiced, which of a
        storm's messages takes its time."""
        last = time.monotonic() + VOICING_S
        end = time.monotonic() + PHASE_S
        known: set[str] = set()
        """Of these every end is known; asking again would only keep the controller from the others."""
        while time.monotonic() < min(end, last):
            told = [await self._ask(f"/v1/broadcasts/{b}") for b in await self._mine() if b not in known]
            known |= {one["id"] for one in told if not _open(one, self.reachable)}
            if known >= {one["id"] for one in told}:
                return
            if any(one["state"] == "voicing" for one in told):
                end = time.monotonic() + PHASE_S
            await asyncio.sleep(0.5)

    async def judge(self) -> tuple[Promise, ...]:
        await self._over()
        mine = await self._mine()
        wrong = {(b, t) for b, t in self._sounded() if b not in mine or t not in mine[b].targets}
        self._found("right", not wrong, _named(wrong), sounds=self.heard.sounds, wrong=len(wrong))
        told = {b: await self._ask(f"/v1/broadcasts/{b}") for b in mine}
        restarts = {t for t, f in self.scenario.faults.items() if f in (Fault.POWER_CUT, Fault.REBOOTS)}
        twice = {
            (b, t)
            for b, t, before in self.heard.again
            if t not in restarts and b in told and before >= told[b]["repeats"]
        }
        self._found("once", not twice, _named(twice), heard=len(self._sounded()), twice=len(twice))
        unknown = [
            f"{row['terminal']}: {b}, {row['state']} {row['reason']}".rstrip()
            for b, one in told.items()
            for row in one["not_reached"]
            if row["terminal"] in _open(one, self.reachable)
        ]
        self._found(
            "outcomes",
            not unknown,
            tuple(unknown[:: max(1, len(unknown) // 5)]),
            broadcasts=len(told),
            deliveries=sum(one["total"]["targeted"] for one in told.values()),
            unknown=len(unknown),
        )
        liars = {t for t, f in self.scenario.faults.items() if f is Fault.CLAIMS_PLAYED}
        played = await self._played()
        false = {(b, t) for b, ts in played.items() for t in ts - self.heard.finished[b] - liars}
        self._found(
            "receipts", not false, _named(false), receipts=sum(map(len, played.values())), false=len(false)
        )
        status = await self._ask("/v1/status")
        alive = self.process.returncode is None and self.whole <= self.fleet.connected()
        self._found("alive", alive, connected=len(self.fleet.connected()), alarms=len(status["alarms"]))
        order = (
            "calm", "stop", "links", "replay", "forged", "broker", "storm", "right", "once", "outcomes",
            "receipts", "alive",
        )  # fmt: skip
        return tuple(self.found[key] for key in order if key in self.found)


def placed_rows(scenario: Scenario) -> list[dict[str, object]]:
    return placed(load_county(scenario.county, synthetic=True), scenario.terminals)


def broadcasts_by_name(alerts: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """Broadcasts of what ``/v1/alerts`` lists, by feed and identifier. An identifier alone is one sender's
    (CAP 1.2 §3.2.1): the storm's documents bear each other's, the earthquake's too."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for alert in alerts:
        found[alert["source"], alert["identifier"]] += alert["broadcasts"]
    return found


def _open(told: Mapping[str, Any], here: Collection[str]) -> list[str]:
    """Terminals, of those who are here, of whose part in a broadcast the end is not known."""
    open_states = {"pending", "sent", "accepted", "ready", "playing", "interrupted", "preempted"}
    return [
        row["terminal"]
        for row in told["not_reached"]
        if row["state"] in open_states and row["terminal"] in here
    ]


def _named(pairs: Collection[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(f"{terminal}: {broadcast}" for broadcast, terminal in sorted(pairs)[:5])


def _forge(payload: bytes, n: int, dice: random.Random) -> bytes:
    """A genuine Play made false, in one of six ways; of a broadcast that nobody planned."""
    head = payload.partition(b"\n")[0]
    magic, key, sealed = head.decode("ascii").split(" ")
    play = claimed_command(payload)
    assert isinstance(play, Play)
    fresh = replace(play, broadcast=f"F{n:06d}-forged", counter=play.counter + 1_000_000 + n)
    stranger = new_signer(KeyRole(play.role), dice.randbytes(SIGNER_ENTROPY), sandbox=is_sandbox_key(key))
    theirs = stranger.seal(fresh)
    changed = theirs.partition(b"\n")[2]
    match n % 6:
        case 0:
            return changed
        case 1:
            return f"{magic} {key} \n".encode() + changed
        case 2:
            return f"{magic} {key} {sealed}\n".encode() + changed
        case 3:
            return theirs
        case 4:
            return (
                f"{magic} {key} {urlsafe_b64encode(dice.randbytes(64)).rstrip(b'=').decode()}\n".encode()
                + changed
            )
        case _:
            own = theirs.partition(b"\n")[0].decode().split(" ")[2]
            return f"{magic} {key} {own}\n".encode() + changed


def quake_document(
    identifier: str, now: datetime, lat: float, lon: float, place: str, codes: Sequence[str]
) -> bytes:
    """A CAP document of an earthquake that began three seconds ago."""
    origin = (now - timedelta(seconds=3)).astimezone(_BEIJING).replace(microsecond=0).isoformat()
    values = {"Magnitude": "6.5", "EventLatLon": f"{lat},{lon}", "EventOriginTime": origin, "Depth": "10 km"}
    parameters = "".join(
        f"<parameter><valueName>{name}</valueName><value>{value}</value></parameter>"
        for name, value in values.items()
    )
    return _document(
        identifier, now, "地震预警", "Extreme", f"{place}发生6.5级地震", "地震波即将到达。", place, codes,
        parameters=parameters,
    )  # fmt: skip


def rain_document(
    identifier: str, now: datetime, place: str, codes: Sequence[str], colour: str, *, status: str = "Actual"
) -> bytes:
    """A CAP document of a rainstorm warning in one of the four colours (蓝黄橙红)."""
    severity = {"红": "Extreme", "橙": "Severe", "黄": "Moderate", "蓝": "Minor"}[colour]
    return _document(
        identifier, now, "暴雨", severity, f"县气象台发布暴雨{colour}色预警信号",
        "预计未来3小时将出现100毫米以上降水。", place, codes, status=status,
    )  # fmt: skip


def _document(
    identifier: str,
    now: datetime,
    event: str,
    severity: str,
    headline: str,
    text: str,
    place: str,
    codes: Sequence[str],
    *,
    status: str = "Actual",
    parameters: str = "",
) -> bytes:
    local = now.astimezone(_BEIJING).replace(microsecond=0)
    geocodes = "".join(
        f"<geocode><valueName>fenghuo:mca</valueName><value>{code}</value></geocode>" for code in codes
    )
    return _CAP.format(
        identifier=identifier,
        event=event,
        severity=severity,
        headline=headline,
        text=text,
        place=place,
        codes=geocodes,
        status=status,
        parameters=parameters,
        sent=local.isoformat(),
        expires=(local + timedelta(hours=2)).isoformat(),
    ).encode()


def sheet_json(sheet: Sheet) -> dict[str, Any]:
    """For ``--json``."""
    return {
        "kept": sheet.kept,
        "scenario": sheet.scenario,
        "terminals": sheet.terminals,
        "seed": sheet.seed,
        "speed": sheet.speed,
        "broker": sheet.broker,
        "voice": sheet.voice,
        "seconds": sheet.seconds,
        "promises": [
            {"key": p.key, "kept": p.kept, "figures": dict(p.figures), "broken": list(p.broken)}
            for p in sheet.promises
        ],
    }
