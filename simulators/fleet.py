"""A simulated county: thousands of terminals in one process, each a real `Core` behind a real TCP
connection, enrolled with a real code, in the reserved id class that only a sandbox controller takes.

Simulated are the loudspeaker (a playing takes its real time, divided by `speed`, which the report and the
log name) and the disk (memory). Everything else is what a board does: X25519 enrolment, MQTT 5, signed
time, Ed25519, fetching by hash with resume, sealed reports.

Two things are shared between the terminals of a process, and change nothing that they decide: the check of
one seal over the same bytes under the same ring is remembered (the last `SEALS_REMEMBERED`; a refusal
never is), and with ``audio="shared"`` a clip is fetched and checked once for all. All waiting is in one
heap (`_Timers`), because ten thousand asyncio timers and tasks would be most of the memory and the time.

``python -m simulators.fleet --help`` runs it as a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import hashlib
import heapq
import json
import logging
import os
import random as _random
import resource
import signal
import ssl
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

import httpx2

from config.counties import PackError, load_county
from simulators import mqtt_lite, scenarios
from simulators.faults import DEFAULT_SETTINGS, Breaks, Fault, FaultSettings, LosesPower, Plays, Seam, seam
from simulators.scenarios import placed, terminal_id
from terminals.agent.core import (
    Alarm,
    Core,
    Durable,
    Effect,
    Fetch,
    Identity,
    Reason,
    Save,
    Send,
    Silence,
    Sound,
    Subscribe,
)
from terminals.enrolment import KEY_ENTROPY, Applicant, Enrolled, EnrolmentError
from terminals.seal import KeyRing, OpenedCommand, SealError, open_command
from terminals.transports.mqtt import topics
from terminals.wire import Clip, Health, Time

log = logging.getLogger(__name__)

T = TypeVar("T")

KEEPALIVE_S: Final = 60
CONNECT_S: Final = 15.0
"""How long one connection may take to be let in."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
RESUMES: Final = 3
"""How often one fetch goes on after the connection broke, before it is `Core`'s turn to try again."""
FETCHES_AT_ONCE: Final = 32
ENROLMENTS_AT_ONCE: Final = 16
REGISTER_AT_ONCE: Final = 2_000
HELD: Final = 64
"""Clips that one terminal keeps."""
SEALS_REMEMBERED: Final = 256
SHARED_CLIPS: Final = 256
BATCH: Final = 256
"""What is due is done so many at a time."""
ALARMS_LOGGED: Final = 100
STOP_S: Final = 5.0
FILES_BESIDE: Final = 200
"""Open files that a process needs beside one for each terminal."""

PRESENT: Final = b"online"
GONE: Final = b"offline"


class FleetError(Exception):
    """The fleet cannot run: what is wrong and what to do."""


class FleetRefused(FleetError):
    """The controller takes no simulated terminals."""


class ControllerAway(FleetError):
    """Nobody answers at the controller's address."""


@dataclass(frozen=True, slots=True)
class FleetOptions:
    controller: str
    """The operators' API: ``http://127.0.0.1:8471`` or ``unix:/path``."""
    token: str = field(repr=False)
    """An operator's."""
    county: str = "zhouqu"
    """Name or folder of a county pack."""
    terminals: int = 212
    """How many: one for each terminal of the pack, and then round again over its villages."""
    speed: float = 1.0
    """How many times faster than in reality a playing goes; 1 or more."""
    audio: Literal["fetch", "shared"] = "fetch"
    """Whether every terminal fetches each clip itself, or one does for all of the process."""
    faults: Mapping[str, Fault] = field(default_factory=dict)
    fault_settings: FaultSettings = DEFAULT_SETTINGS
    seed: int = 0
    """Of everything that is random and is no key."""
    connect_at_once: int = 40
    """Connections under way at any time, 1 to 100 (mosquitto's backlog; rumqttd resets above 40)."""
    terminals_url: str | None = None
    """Where terminals enrol; None: as the controller's status says."""
    ca_file: Path | None = None
    """Who signed the broker's certificate, where the broker is an mqtts:// one."""

    def __post_init__(self) -> None:
        """Raises FleetError naming the option that is out of range."""
        wrong = ""
        if self.terminals < 1:
            wrong = f"terminals {self.terminals}: at least 1"
        elif not 1 <= self.speed <= 1_000:
            wrong = f"speed {self.speed}: from 1 to 1000"
        elif not 1 <= self.connect_at_once <= 100:
            wrong = f"connect_at_once {self.connect_at_once}: from 1 to 100"
        elif unknown := sorted(set(self.faults) - set(self.ids())):
            wrong = f"a fault for {unknown[0]}, which is not one of the {self.terminals} terminals"
        if wrong:
            raise FleetError(wrong)

    def ids(self) -> list[str]:
        return [terminal_id(n) for n in range(self.terminals)]


@dataclass(frozen=True, slots=True)
class FleetReport:
    """What a fleet did, from its own side; JSON-able with `asdict`."""

    county: str
    terminals: int
    faults: Mapping[str, str]
    speed: float
    """Playing went so many times faster than in reality."""
    audio: str
    seconds: float
    enrolled: int
    connected: int
    """When it was stopped."""
    with_time: int
    """Terminals that had the signed time at least once."""
    commands: int
    reports: int
    """Sealed words handed to the broker."""
    reports_lost: int
    """By faults, or because the way was closed or full."""
    fetches: int
    fetched_bytes: int
    started: int
    finished: int
    reconnects: int
    power_cuts: int
    alarms: int
    peak_memory_mb: float


@dataclass(slots=True)
class _Counts:
    with_time: int = 0
    connected: int = 0
    commands: int = 0
    reports: int = 0
    reports_lost: int = 0
    fetches: int = 0
    fetched_bytes: int = 0
    started: int = 0
    finished: int = 0
    reconnects: int = 0
    power_cuts: int = 0
    alarms: int = 0


def allow_files(needed: int) -> None:
    """Let this process open `needed` files. Raises FleetError when the machine does not allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise FleetError(
                f"{needed} open files are needed and {hard} allowed; "
                "raise the hard limit (ulimit -Hn, LimitNOFILE=) or take fewer terminals"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


# --- waiting -----------------------------------------------------------------------------------------

_Entry = list[Any]
"""[mono ms, order, what to call or None once cancelled]"""


class _Timers:
    """One heap and one asyncio timer for everything that waits in the process."""

    def __init__(self, crash: Callable[[BaseException], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._crash = crash
        self._heap: list[_Entry] = []
        self._order = 0
        self._cancelled = 0
        self._handle: asyncio.TimerHandle | None = None
        self._handle_at = 0

    def now(self) -> int:
        """The monotonic clock of every terminal here, ms."""
        return int(self._loop.time() * 1000)

    def at(self, mono: int, call: Callable[[], None]) -> _Entry:
        self._order += 1
        entry: _Entry = [mono, self._order, call]
        heapq.heappush(self._heap, entry)
        self._arm()
        return entry

    def after(self, seconds: float, call: Callable[[], None]) -> _Entry:
        return self.at(self.now() + int(seconds * 1000), call)

    def cancel(self, entry: _Entry | None) -> None:
        """Harmless for what has been called or cancelled."""
        if entry is None or entry[2] is None:
            return
        entry[2] = None
        self._cancelled += 1
        if self._cancelled > 1_000 and 2 * self._cancelled > len(self._heap):
            self._heap = [e for e in self._heap if e[2] is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def clear(self) -> None:
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        """The asyncio timer is there, and not too late for the next entry."""
        if not self._heap:
            return
        if self._handle is not None:
            if self._handle_at <= self._heap[0][0]:
                return
            self._handle.cancel()
        self._handle_at = self._heap[0][0]
        self._handle = self._loop.call_at(self._handle_at / 1000, self._run)

    def _run(self) -> None:
        self._handle = None
        now = self.now()
        try:
            for _ in range(BATCH):  # then sockets have their turn
                if not self._heap or self._heap[0][0] > now:
                    break
                entry = heapq.heappop(self._heap)
                call, entry[2] = entry[2], None
                if call is None:
                    self._cancelled -= 1
                else:
                    call()
        except BaseException as error:
            self._crash(error)
            raise
        self._arm()


# --- one terminal ------------------------------------------------------------------------------------


class _Terminal:
    """One simulated board: carries out what its `Core` says. Its memory is what a power cut empties
    (`core`, `link`, timers); `durable`, `disk` and `held` are what it leaves."""

    __slots__ = (
        "boots",
        "core",
        "disk",
        "durable",
        "fleet",
        "groups",
        "held",
        "identity",
        "link",
        "opening",
        "pause",
        "ping",
        "playing",
        "report_topic",
        "seam",
        "sound",
        "synced",
        "up",
        "wake",
    )

    def __init__(self, fleet: Fleet, identity: Identity, seam: Seam) -> None:
        self.fleet = fleet
        self.identity = identity
        self.seam = seam
        self.durable = Durable()
        self.disk = self.durable.to_bytes() if seam.keeps_disk else None
        self.held: dict[str, None] = {}
        self.boots = 0
        self.core: Core | None = None
        self.link: mqtt_lite.Connection | None = None
        self.opening: asyncio.Future[bool] | None = None
        self.groups: tuple[str, ...] = ()
        self.pause = FIRST_PAUSE_S
        self.report_topic = fleet.topics["report"].format(identity.id)
        self.sound: Sound | None = None
        self.playing: _Entry | None = None
        """The next thing that happens to `sound`."""
        self.wake: _Entry | None = None
        self.ping: _Entry | None = None
        self.up = False
        self.synced = False

    # --- power ---

    def boot(self) -> None:
        if self.disk is not None:
            self.durable = Durable.from_bytes(self.disk)
        self.boots += 1
        wall = int((time.time() + self.seam.wall_offset_s) * 1000)
        self.core = Core(
            self.identity,
            self.durable,
            boot=f"{wall:x}.{self.boots}",
            random=self.fleet.random,
            held=self.held,
            opener=self.fleet.opener,
        )
        self.core.health = _HEALTH if self.seam.amplifier_ok else _HEALTH_BROKEN

    def lose_power(self) -> None:
        if self.core is None:
            return
        self.core = None
        timers = self.fleet.timers
        for entry in (self.wake, self.playing, self.ping):
            timers.cancel(entry)
        self.wake = self.playing = self.ping = self.sound = None
        # A reader of the disk later finds the last Save; without a seam that keeps it exact, every change
        # until now counts as saved, which is what `Core` was told before it went on.
        self.disk = self.disk if self.seam.keeps_disk else self.durable.to_bytes()
        if self.link is not None:
            self.link.abort("the power is gone")

    # --- the link ---

    def greeting(self) -> bytes:
        me = self.identity.id
        will = mqtt_lite.Will(self.fleet.topics["here"].format(me), GONE)
        return mqtt_lite.connect_packet(me, keepalive=KEEPALIVE_S, username=me, will=will)

    def mqtt_open(self) -> None:
        if self.opening is not None and not self.opening.done():
            self.opening.set_result(True)
        link, core = self.link, self.core
        if link is None or core is None:
            return
        self.up = True
        self.fleet.counts.connected += 1
        self.pause = FIRST_PAUSE_S
        self.groups = ()
        # Before the Hello, whose answer must not come too early.
        link.subscribe(self.fleet.topics["terminal"].format(self.identity.id))
        link.publish(self.fleet.topics["here"].format(self.identity.id), PRESENT, retain=True)
        self._ping_later()
        self.carry(core.connected(self.fleet.timers.now()))

    def mqtt_message(self, topic: str, payload: bytes) -> None:
        core = self.core
        if core is None or not self.seam.hears(payload):
            return
        self.fleet.counts.commands += 1
        ignored = core.ignored
        effects = core.command(payload, self.fleet.timers.now())
        if not self.synced and core.ignored == ignored and self._is_time(payload):
            self.synced = True
            self.fleet.got_time(self)
        self.carry(effects)

    def mqtt_closed(self, why: str, error: Exception | None) -> None:
        self.link = None
        self.fleet.timers.cancel(self.ping)
        if self.opening is not None and not self.opening.done():
            self.opening.set_result(False)
        self.fleet.counts.connected -= self.up
        self.up = False
        if error is not None:
            self.fleet.crash(error)
        if self.core is not None:
            log.debug("%s: %s", self.identity.id, why)
            self.carry(self.core.disconnected(self.fleet.timers.now()))
            self.fleet.reconnect(self)

    def _is_time(self, payload: bytes) -> bool:
        try:
            return isinstance(self.fleet.opener(payload, self.identity.ring).command, Time)
        except SealError:
            return False

    def _ping_later(self) -> None:
        assert self.link is not None
        seconds = self.link.server_keepalive or KEEPALIVE_S
        self.ping = self.fleet.timers.after(seconds * self.fleet.random.uniform(0.5, 0.75), self._ping)

    def _ping(self) -> None:
        if self.link is not None:
            self.link.keep_alive()
            self._ping_later()

    # --- what Core says ---

    def carry(self, effects: list[Effect]) -> None:
        for effect in effects:
            if type(effect) is Send:
                self._send(effect.payload)
            elif type(effect) is Save:
                if self.seam.keeps_disk:
                    self.disk = self.durable.to_bytes()
            elif type(effect) is Sound:
                self.sound = effect
                self.playing = None
            elif type(effect) is Silence:
                self.fleet.timers.cancel(self.playing)
                self.sound = self.playing = None
            elif type(effect) is Fetch:
                self.fleet.fetch(self, effect)
            elif type(effect) is Subscribe:
                self._subscribe(effect.groups)
            elif type(effect) is Alarm:
                self.fleet.alarm(self, effect.text)
        if self.sound is not None and self.playing is None:
            if self.sound.at_mono <= self.fleet.timers.now():
                self._start()
                return
            self.playing = self.fleet.timers.at(self.sound.at_mono, self._start)
        self._wake_later()

    def _send(self, payload: bytes) -> None:
        counts = self.fleet.counts
        link = self.link
        if self.seam.says(payload) and link is not None and link.publish(self.report_topic, payload):
            counts.reports += 1
        else:
            counts.reports_lost += 1

    def _subscribe(self, groups: tuple[str, ...]) -> None:
        if self.link is None:
            return
        before, self.groups = self.groups, groups
        topic = self.fleet.topics["group"]
        if new := [topic.format(g) for g in groups if g not in before]:
            self.link.subscribe(*new)
        if old := [topic.format(g) for g in before if g not in groups]:
            self.link.unsubscribe(*old)

    # --- time ---

    def _wake_later(self) -> None:
        """An entry that is too early does no harm and finds the right time when it comes; only one that
        would be too late is exchanged."""
        at = None if self.core is None else self.core.next_wake()
        if at is None or (self.wake is not None and self.wake[0] <= at):
            return
        self.fleet.timers.cancel(self.wake)
        self.wake = self.fleet.timers.at(at, self._tick)

    def _tick(self) -> None:
        self.wake = None
        core = self.core
        if core is None:
            return
        now = self.fleet.timers.now()
        wake = core.next_wake()
        if wake is not None and wake <= now:
            self.carry(core.tick(now))
        else:
            self._wake_later()

    # --- the loudspeaker ---

    def _start(self) -> None:
        core, sound = self.core, self.sound
        assert core is not None
        assert sound is not None
        fleet = self.fleet
        now = fleet.timers.now()
        self.playing = None
        if now >= sound.until_mono:
            self.sound = None
            self._wake_later()  # Core lets it expire at its own deadline
            return
        fleet.counts.started += 1
        seconds = sound.clip.seconds * sound.repeats / fleet.options.speed
        match self.seam.plays(seconds):
            case Plays():
                self.playing = fleet.timers.after(seconds, self._finish)
            case Breaks(after_s, reason):
                self.playing = fleet.timers.after(after_s, partial(self._break, reason))
            case LosesPower(after_s, back_s):
                self.playing = fleet.timers.after(after_s, partial(self._power_cut, back_s))
        self.carry(core.started(sound.broadcast, now))

    def _finish(self) -> None:
        sound = self._end()
        self.fleet.counts.finished += 1
        assert self.core is not None
        self.carry(self.core.finished(sound.broadcast, self.fleet.timers.now()))

    def _break(self, reason: str) -> None:
        sound = self._end()
        assert self.core is not None
        self.carry(self.core.broke(sound.broadcast, self.fleet.timers.now(), reason, "simulated"))

    def _power_cut(self, back_s: float) -> None:
        self.fleet.kill_power(self.identity.id)
        self.fleet.timers.after(back_s, partial(self.fleet.restore_power, self.identity.id))

    def _end(self) -> Sound:
        sound = self.sound
        assert sound is not None
        self.sound = self.playing = None
        return sound

    # --- fetching ---

    def fetched(self, boot: int, clip: Clip, problem: str | None) -> None:
        if self.core is None or boot != self.boots:
            return
        if problem is None:
            self.held[clip.sha256] = None
            if len(self.held) > HELD:
                del self.held[next(iter(self.held))]
        self.carry(self.core.fetched(clip.sha256, self.fleet.timers.now(), problem))


_HEALTH: Final = Health(software="simulator", volume=80, amplifier_ok=True, mains=True)
_HEALTH_BROKEN: Final = Health(software="simulator", volume=80, amplifier_ok=False, mains=True)


# --- all of them -------------------------------------------------------------------------------------


class Fleet:
    """`start`, then `stop`; both once. What the world does wrong is a FleetError; a bug of ours in any
    callback ends `wait` with it."""

    def __init__(self, options: FleetOptions) -> None:
        self.options = options
        self.random = _random.Random(options.seed)  # noqa: S311 - jitter and faults; keys are not from it
        self.opener: Callable[[bytes, KeyRing], OpenedCommand] = lru_cache(SEALS_REMEMBERED)(open_command)
        self.counts = _Counts()
        self.topics: dict[str, str] = {}
        self.ready = asyncio.Event()
        """Set when all that can be are enrolled, connected and have the signed time."""
        self.timers = _Timers(self.crash)
        self._terminals: dict[str, _Terminal] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._to_connect: asyncio.Queue[_Terminal] = asyncio.Queue()
        self._to_fetch: asyncio.Queue[Callable[[], Coroutine[Any, Any, None]]] = asyncio.Queue()
        self._clips: dict[tuple[str, str], list[Callable[[str | None], None]] | None] = {}
        """Shared clips: who waits for it, None once it is there."""
        self._interned: dict[Any, Any] = {}
        self._http: httpx2.AsyncClient | None = None
        self._broker = ("", 0)
        self._tls: ssl.SSLContext | None = None
        self._running = False
        self._said = False
        self._missing = 0
        self._began = time.monotonic()

    # --- life ---

    async def start(self) -> None:
        """Register, enrol and begin to connect; `ready` tells when all are there. Raises FleetError
        (FleetRefused, ControllerAway) and PackError."""
        options = self.options
        allow_files(options.terminals + FILES_BESIDE)
        rows = placed(load_county(options.county), options.terminals)
        self._running = True
        limits = httpx2.Limits(max_connections=FETCHES_AT_ONCE, max_keepalive_connections=FETCHES_AT_ONCE)
        timeout = httpx2.Timeout(30, pool=None)
        self._http = httpx2.AsyncClient(limits=limits, timeout=timeout, trust_env=False)
        async with _operators(options) as api:
            url = options.terminals_url or await _terminals_url(api)
            codes = await _codes(api, rows)
        await self._enrol_all(url.rstrip("/"), codes)
        log.info(
            "%d terminals of %s enrolled; playing goes %g times faster than in reality",
            len(self._terminals),
            options.county,
            options.speed,
        )
        for n in range(options.connect_at_once):
            self._spawn(self._connecting(), f"connect.{n}")
        for n in range(FETCHES_AT_ONCE):
            self._spawn(self._fetching(), f"fetch.{n}")
        self._missing = sum(t.seam.joins for t in self._terminals.values())
        self._ready_if_all()
        for terminal in self._terminals.values():
            terminal.boot()
            if terminal.seam.connect_after_s:
                self.timers.after(
                    terminal.seam.connect_after_s, partial(self._to_connect.put_nowait, terminal)
                )
            elif terminal.seam.connects:
                self._to_connect.put_nowait(terminal)

    async def stop(self) -> FleetReport:
        """Say goodbye and end everything; nothing of this fleet is left in the loop."""
        connected = self.counts.connected
        self._running = False
        for terminal in self._terminals.values():
            terminal.core = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.timers.clear()
        for terminal in self._terminals.values():
            if (link := terminal.link) is not None:
                # A simulated terminal leaves no retained message behind.
                link.publish(self.topics["here"].format(terminal.identity.id), b"", qos=0, retain=True)
                link.close()
        end = time.monotonic() + STOP_S
        while any(t.link for t in self._terminals.values()):
            if time.monotonic() > end:
                for terminal in self._terminals.values():
                    if terminal.link is not None:
                        terminal.link.abort()
            await asyncio.sleep(0.01)
        if self._http is not None:
            await self._http.aclose()
        return self._report(connected)

    async def wait(self, *events: asyncio.Event) -> None:
        """Until one of `events`; raises what went wrong meanwhile in a callback or task of the fleet."""
        waiters = [asyncio.create_task(event.wait(), name="fleet.wait") for event in events]
        try:
            ends: list[asyncio.Future[Any]] = [*waiters, self._crashed]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._crashed.done():
                self._crashed.result()
        finally:
            for waiter in waiters:
                waiter.cancel()
            await asyncio.gather(*waiters, return_exceptions=True)

    def kill_power(self, terminal: str) -> None:
        """Now, in whatever it is doing: what is not on its disk is gone. Harmless without power."""
        one = self._terminals[terminal]
        if one.core is not None:
            self.counts.power_cuts += 1
            one.lose_power()

    def restore_power(self, terminal: str) -> None:
        """It starts with what its disk holds. Harmless with power."""
        one = self._terminals[terminal]
        if one.core is None and self._running:
            one.boot()
            self._to_connect.put_nowait(one)

    def _report(self, connected: int) -> FleetReport:
        counts = asdict(self.counts)
        counts["connected"] = connected
        return FleetReport(
            county=self.options.county,
            terminals=self.options.terminals,
            faults={t: f.value for t, f in self.options.faults.items()},
            speed=self.options.speed,
            audio=self.options.audio,
            seconds=round(time.monotonic() - self._began, 3),
            enrolled=len(self._terminals),
            # Linux counts it in KiB.
            peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            **counts,
        )

    # --- what terminals ask ---

    def crash(self, error: BaseException) -> None:
        """A bug: the fleet must not go on as if nothing were wrong."""
        if not self._crashed.done():
            self._crashed.set_exception(error)
            self._crashed.exception()  # taken note of, also if nobody waits

    def got_time(self, terminal: _Terminal) -> None:
        self.counts.with_time += 1
        if terminal.seam.joins:
            self._missing -= 1
            self._ready_if_all()

    def _ready_if_all(self) -> None:
        if self._missing == 0:
            self.ready.set()

    def alarm(self, terminal: _Terminal, text: str) -> None:
        self.counts.alarms += 1
        if self.counts.alarms <= ALARMS_LOGGED:
            log.warning("%s: %s", terminal.identity.id, text)

    def reconnect(self, terminal: _Terminal) -> None:
        if self._running:
            self.counts.reconnects += 1
            pause = terminal.pause * self.random.uniform(0.5, 1.5)
            terminal.pause = min(2 * terminal.pause, LONGEST_PAUSE_S)
            self.timers.after(pause, partial(self._to_connect.put_nowait, terminal))

    def fetch(self, terminal: _Terminal, effect: Fetch) -> None:
        self.timers.at(
            self.timers.now() + effect.delay_ms,
            partial(self._fetch_now, terminal, terminal.boots, effect.clip, effect.url),
        )

    # --- tasks ---

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(coroutine, name=f"fleet.{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.crash(error)

    async def _connecting(self) -> None:
        while True:
            terminal = await self._to_connect.get()
            if terminal.core is not None and terminal.link is None:
                await self._connect(terminal)

    async def _connect(self, terminal: _Terminal) -> None:
        """Returns when it is let in, or is not."""
        loop = asyncio.get_running_loop()
        host, port = self._broker
        terminal.link = mqtt_lite.Connection(terminal, terminal.greeting())
        terminal.opening = loop.create_future()
        link = terminal.link
        why = "stopped"
        try:
            async with asyncio.timeout(CONNECT_S):
                await loop.create_connection(lambda: link, host, port, ssl=self._tls)
                await terminal.opening
        except TimeoutError:
            why = f"not let in within {CONNECT_S:g} s"
        except OSError as error:
            why = str(error)
            if not self._said:
                self._said = True
                log.warning("broker %s:%d: %s; trying again until it is there", host, port, error)
        finally:
            terminal.opening = None
            if not link.is_open:
                link.abort(why)
                link.connection_lost(None)

    async def _fetching(self) -> None:
        while True:
            work = await self._to_fetch.get()
            await work()

    def _fetch_now(self, terminal: _Terminal, boot: int, clip: Clip, url: str) -> None:
        def done(problem: str | None) -> None:
            terminal.fetched(boot, clip, problem)

        if self.options.audio == "fetch" or terminal.seam.own_link:

            async def fetch() -> None:
                problem = await self._fetch_clip(clip, url, terminal.seam)
                self.timers.after(terminal.seam.fetch_s, partial(done, problem))

            self._to_fetch.put_nowait(fetch)
            return
        key = (clip.sha256, url)
        waiting = self._clips.get(key, [])
        if waiting is None:
            done(None)
            return
        waiting.append(done)
        if len(waiting) > 1:
            return
        self._clips[key] = waiting

        async def fetch_for_all() -> None:
            problem = await self._fetch_clip(clip, url, None)
            waiting = self._clips.pop(key) or []
            if problem is None:
                self._clips[key] = None
                if len(self._clips) > SHARED_CLIPS:
                    del self._clips[next(k for k, v in self._clips.items() if v is None)]
            for tell in waiting:
                tell(problem)

        self._to_fetch.put_nowait(fetch_for_all)

    async def _fetch_clip(self, clip: Clip, url: str, seam: Seam | None) -> str | None:
        """None when all bytes came and are the right ones; else what went wrong, as `Core.fetched` takes
        it. Goes on where a connection broke."""
        assert self._http is not None
        self.counts.fetches += 1
        got = 0
        digest = hashlib.sha256()
        trouble = ""
        for _ in range(1 + RESUMES):
            headers = {"accept-encoding": "identity"} | ({"range": f"bytes={got}-"} if got else {})
            try:
                async with self._http.stream("GET", url, headers=headers) as response:
                    if response.status_code not in (200, 206):
                        return f"HTTP {response.status_code} for {url}"
                    if response.status_code == 200 and got:  # it does not resume: from the beginning
                        got, digest = 0, hashlib.sha256()
                    async for chunk in response.aiter_raw():
                        digest.update(chunk if seam is None else seam.clip(got, chunk))
                        got += len(chunk)
                        self.counts.fetched_bytes += len(chunk)
                        if got > clip.size:
                            return Reason.HASH_MISMATCH
            except httpx2.InvalidURL as error:
                return f"{url}: {error}"
            except httpx2.HTTPError as error:
                trouble = f"{type(error).__name__} after {got} bytes: {error}"
                continue
            right = got == clip.size and digest.hexdigest() == clip.sha256
            return None if right else Reason.HASH_MISMATCH
        return trouble

    # --- enrolment ---

    async def _enrol_all(self, url: str, codes: Mapping[str, str]) -> None:
        waiting = list(reversed(self.options.ids()))
        papers: dict[str, Enrolled] = {}

        async def enrol() -> None:
            while waiting:
                terminal = waiting.pop()
                papers[terminal] = await self._enrol(url, terminal, codes[terminal])

        try:
            async with asyncio.TaskGroup() as tasks:
                for n in range(ENROLMENTS_AT_ONCE):
                    tasks.create_task(enrol(), name=f"fleet.enrol.{n}")
        except* FleetError as errors:
            raise _first(errors) from None
        first = papers[terminal_id(0)]
        self._broker, self._tls = self._way(first.broker)
        self.topics = topics(first.county)
        for terminal in self.options.ids():
            self._terminals[terminal] = self._furnish(papers.pop(terminal))

    async def _enrol(self, url: str, terminal: str, code: str) -> Enrolled:
        assert self._http is not None
        applicant = Applicant(terminal, code, _entropy(KEY_ENTROPY))
        try:
            answer = await self._http.post(
                f"{url}/enrol", content=applicant.request, headers={"content-type": "application/json"}
            )
        except httpx2.HTTPError as error:
            raise ControllerAway(
                f"{url}/enrol does not answer: {str(error) or type(error).__name__}"
            ) from error
        if answer.status_code != 200:
            raise FleetError(f"{terminal} was not enrolled: HTTP {answer.status_code} {answer.text[:200]}")
        try:
            return applicant.open(answer.content)
        except EnrolmentError as error:
            raise FleetError(f"{terminal} was not enrolled: {error}") from error

    def _furnish(self, papers: Enrolled) -> _Terminal:
        """What terminals have in common is the same object: ten thousand key rings would be 30 MB, and
        the memory of checked seals goes by the ring's identity."""
        ring = self._interned.get(key := frozenset((k, v.public) for k, v in papers.ring.items()))
        if ring is None:
            ring = self._interned[key] = papers.key_ring()
        fault = self.options.faults.get(papers.terminal)
        here = seam(fault, self.options.fault_settings, self.random)
        identity = Identity(
            id=papers.terminal,
            county=self._shared(papers.county),
            report_key=papers.report_key_bytes(),
            ring=here.ring(ring),
            groups=self._shared(tuple(map(self._shared, papers.groups))),
            languages=self._shared(papers.languages),
            codecs=_CODECS,
            roles=self._shared(frozenset(papers.roles)),
        )
        return _Terminal(self, identity, here)

    def _shared(self, value: T) -> T:
        same: T = self._interned.setdefault(value, value)
        return same

    def _way(self, broker: str) -> tuple[tuple[str, int], ssl.SSLContext | None]:
        parts = urlsplit(broker)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise FleetError(f"the controller names {broker!r} as its broker, which is no mqtt:// address")
        tls = None
        if parts.scheme == "mqtts":
            try:
                tls = ssl.create_default_context(cafile=self.options.ca_file)
            except OSError as error:
                raise FleetError(f"the certificates in {self.options.ca_file}: {error}") from error
        return (parts.hostname, parts.port or (8883 if tls else 1883)), tls


_CODECS: Final = frozenset({"mp3"})


def _entropy(count: int) -> bytes:
    return _random.SystemRandom().randbytes(count)


def _first(errors: BaseExceptionGroup[FleetError]) -> FleetError:
    inner = errors.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


# --- the operators' API ------------------------------------------------------------------------------


def _operators(options: FleetOptions) -> httpx2.AsyncClient:
    headers = {"authorization": f"Bearer {options.token}"}
    if options.controller.startswith("unix:"):
        transport = httpx2.AsyncHTTPTransport(uds=options.controller.removeprefix("unix:"), trust_env=False)
        return httpx2.AsyncClient(
            transport=transport, base_url="http://controller", headers=headers, timeout=120
        )
    if urlsplit(options.controller).scheme not in ("http", "https"):
        raise FleetError(f"{options.controller!r} is no address of a controller: http://… or unix:/path")
    return httpx2.AsyncClient(base_url=options.controller, headers=headers, timeout=120, trust_env=False)


async def _ask(api: httpx2.AsyncClient, method: str, path: str, body: object = None) -> Any:
    try:
        answer = await api.request(method, path, json=body)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise ControllerAway(
            f"the controller does not answer ({str(error) or type(error).__name__}); is it running?"
        ) from error
    if answer.status_code == 403:
        raise FleetRefused("this controller is not a sandbox; start one with: fenghuo serve --sandbox")
    if answer.status_code == 401:
        raise FleetError("the controller does not know this operator's token")
    try:
        said = answer.json()
    except ValueError as error:
        raise FleetError(f"{path}: HTTP {answer.status_code}, and no JSON") from error
    if answer.status_code != 200:
        raise FleetError(f"{path}: HTTP {answer.status_code} {json.dumps(said, ensure_ascii=False)[:300]}")
    return said


async def _terminals_url(api: httpx2.AsyncClient) -> str:
    said = await _ask(api, "GET", "/v1/status")
    url = said.get("terminals_url") if isinstance(said, dict) else None
    if not isinstance(url, str):
        raise FleetError("the controller's status does not say where terminals enrol; give --terminals-url")
    return url


async def _codes(api: httpx2.AsyncClient, rows: Sequence[dict[str, object]]) -> dict[str, str]:
    codes: dict[str, str] = {}
    for n in range(0, len(rows), REGISTER_AT_ONCE):
        part = rows[n : n + REGISTER_AT_ONCE]
        said = await _ask(api, "POST", "/v1/sandbox/terminals", {"terminals": part})
        if not isinstance(said, dict) or {row["id"] for row in part} - set(said):
            raise FleetError("the controller did not give a code for every terminal")
        codes.update(said)
    return codes


# --- running -----------------------------------------------------------------------------------------


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
    parser = argparse.ArgumentParser(prog="python -m simulators.fleet", description=__doc__.split("\n\n")[0])
    parser.add_argument("--controller", required=True, help="operators' API: http://HOST:PORT or unix:/path")
    parser.add_argument("--token-file", required=True, type=Path, help="file with an operator's token")
    parser.add_argument("--terminals-url", help="where terminals enrol, if the controller does not say")
    parser.add_argument("--county", default="zhouqu", help="county pack (default: %(default)s)")
    parser.add_argument("--terminals", type=int, default=212, help="how many (default: %(default)s)")
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster playing goes")
    parser.add_argument("--audio", choices=("fetch", "shared"), default="fetch")
    parser.add_argument("--scenario", choices=scenarios.names(), help="which terminals are faulty, and how")
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
        faults = {} if given.scenario is None else scenarios.load(given.scenario, given.terminals).faults
        options = FleetOptions(
            controller=given.controller,
            token=given.token_file.read_text(encoding="utf-8").strip(),
            county=given.county,
            terminals=given.terminals,
            speed=given.speed,
            audio=given.audio,
            faults=faults,
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
    _say(asdict(report))
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
        _say({"ready": count})

    return await run_fleet(options, ready=ready, stop=stop)


def _say(what: object) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(what, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def _fail(error: Exception, code: int) -> int:
    sys.stderr.write(f"fleet: {error}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
