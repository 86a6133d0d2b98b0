"""All terminals of a simulated county in one process."""

from __future__ import annotations

import asyncio
import logging
import random as _random
import resource
import ssl
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import asdict
from functools import lru_cache, partial
from typing import Any, Final, TypeVar

from config.counties import load_county
from simulators import mqtt_lite
from simulators.faults import Link, seam
from simulators.fleet import downloads, joining
from simulators.fleet.downloads import Downloads
from simulators.fleet.options import FILES_BESIDE, Counts, FleetOptions, FleetReport, allow_files
from simulators.fleet.terminal import Ear, Terminal
from simulators.fleet.timers import Timers
from simulators.scenarios import placed
from terminals.agent.choice import Profile, chosen, fitting
from terminals.agent.core import Fetch, FetchManifest, Identity
from terminals.enrolment import Enrolled
from terminals.seal import KeyRing, OpenedCommand, open_command
from terminals.transports.mqtt import topics
from terminals.wire import Clip, Manifest, Play

log = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT_S: Final = 15.0
"""How long one connection may take to be let in."""
LONGEST_PAUSE_S: Final = 30.0
SEALS_REMEMBERED: Final = 256
FITS_REMEMBERED: Final = 1_024
ALARMS_LOGGED: Final = 100
STOP_S: Final = 5.0


class Fleet:
    """`start`, then `stop`; both once. What the world does wrong is a FleetError; a bug of ours in any
    callback ends `wait` with it."""

    def __init__(self, options: FleetOptions, *, ear: Ear | None = None) -> None:
        self.options = options
        self.ear = ear
        self.random = _random.Random(options.seed)  # noqa: S311 - jitter and faults; keys are not from it
        self.opener: Callable[[bytes, KeyRing], OpenedCommand] = lru_cache(SEALS_REMEMBERED)(open_command)
        self.counts = Counts()
        self.topics: dict[str, str] = {}
        self.ready = asyncio.Event()
        """Set when all that can be are enrolled, connected and have the signed time."""
        self.timers = Timers(self.crash)
        self._terminals: dict[str, Terminal] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._to_connect: asyncio.Queue[Terminal] = asyncio.Queue()
        self._downloads: Downloads | None = None
        self._fits: dict[tuple[int, Profile], tuple[Manifest, Mapping[str, Clip]]] = {}
        """By the manifest's identity, which is kept with it: hashing one would cost more than choosing."""
        self._chosen: dict[tuple[int, Profile], tuple[Play, Play]] = {}
        """As `_fits`, of a Play."""
        self._interned: dict[Any, Any] = {}
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
        self._downloads = Downloads(self.timers, self.counts, shared=options.audio == "shared")
        url, codes = await joining.register(options, rows)
        papers = await joining.enrol_all(self._downloads.http, url, codes)
        first = papers[options.ids()[0]]
        self._broker, self._tls = joining.way(first.broker, options.ca_file)
        self.topics = topics(first.county)
        for name in options.ids():
            self._terminals[name] = self._furnish(papers.pop(name))
        log.info(
            "%d terminals of %s enrolled; playing goes %g times faster than in reality",
            len(self._terminals),
            options.county,
            options.speed,
        )
        for n in range(options.connect_at_once):
            self._spawn(self._connecting(), f"connect.{n}")
        for n in range(downloads.AT_ONCE):
            self._spawn(self._downloads.work(), f"fetch.{n}")
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
            if terminal.seam.reboots:
                self._reboot_later(terminal, terminal.seam.reboots)

    def _reboot_later(self, terminal: Terminal, times: int) -> None:
        def reboot() -> None:
            self.kill_power(terminal.identity.id)
            self.restore_power(terminal.identity.id)
            if times > 1:
                self._reboot_later(terminal, times - 1)

        self.timers.after(terminal.seam.reboot_every_s, reboot)

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
        if self._downloads is not None:
            await self._downloads.close()
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

    def cut(self, terminals: Iterable[str]) -> None:
        """Their lines are gone until `mend`: what is connected breaks off without a word."""
        for name in terminals:
            one = self._terminals[name]
            one.away = True
            if one.link is not None:
                one.link.abort("the line is cut")

    def mend(self, terminals: Iterable[str]) -> None:
        """Their lines are there again. Harmless for whoever has one."""
        for name in terminals:
            one = self._terminals[name]
            if one.away:
                one.away = False
                if one.seam.connects:
                    self._to_connect.put_nowait(one)

    def relink(self, terminal: str, way: Link | None) -> None:
        """Its line is as good as this from now on; None: a good one."""
        self._terminals[terminal].way = way

    def connected(self) -> frozenset[str]:
        """Terminals that are connected now."""
        return frozenset(name for name, one in self._terminals.items() if one.up)

    def _report(self, connected: int) -> FleetReport:
        counts = asdict(self.counts)
        counts["connected"] = connected
        return FleetReport(
            county=self.options.county,
            terminals=self.options.terminals,
            faults={t: f.value for t, f in self.options.faults.items()},
            bad_links=len(self.options.links),
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

    def got_time(self, terminal: Terminal) -> None:
        self.counts.with_time += 1
        if terminal.seam.joins:
            self._missing -= 1
            self._ready_if_all()

    def _ready_if_all(self) -> None:
        if self._missing == 0:
            self.ready.set()

    def alarm(self, terminal: Terminal, text: str) -> None:
        self.counts.alarms += 1
        if self.counts.alarms <= ALARMS_LOGGED:
            log.warning("%s: %s", terminal.identity.id, text)

    def reconnect(self, terminal: Terminal) -> None:
        if self._running and not terminal.away:
            self.counts.reconnects += 1
            pause = terminal.pause * self.random.uniform(0.5, 1.5)
            terminal.pause = min(2 * terminal.pause, LONGEST_PAUSE_S)
            self.timers.after(pause, partial(self._to_connect.put_nowait, terminal))

    def fetch(self, terminal: Terminal, effect: Fetch) -> None:
        self.timers.after(effect.delay_ms / 1000, partial(self._fetch_now, terminal, terminal.boots, effect))

    def _fetch_now(self, terminal: Terminal, boot: int, effect: Fetch) -> None:
        assert self._downloads is not None
        clip = effect.clip
        self._downloads.clip(
            clip.sha256,
            clip.size,
            effect.url,
            terminal.seam,
            terminal.way,
            effect.pinned,
            partial(terminal.fetched, boot, clip),
        )

    def fetch_manifest(self, terminal: Terminal, effect: FetchManifest) -> None:
        def fetch() -> None:
            assert self._downloads is not None
            done = partial(terminal.has_manifest, terminal.boots, effect.set)
            self._downloads.manifest(
                effect.sha256, effect.size, effect.url, terminal.seam, terminal.way, done
            )

        self.timers.after(effect.delay_ms / 1000, fetch)

    def fitting(self, manifest: Manifest, profile: Profile) -> Mapping[str, Clip]:
        """`choice.fitting`, once for each kind of terminal."""
        key = (id(manifest), profile)
        known = self._fits.get(key)
        if known is None:
            if len(self._fits) >= FITS_REMEMBERED:
                self._fits.clear()
            known = self._fits[key] = (manifest, fitting(manifest, profile))
        return known[1]

    def chosen(self, play: Play, profile: Profile) -> Play:
        """`choice.chosen`, once for each kind of terminal: what they keep is one object."""
        key = (id(play), profile)
        known = self._chosen.get(key)
        if known is None:
            if len(self._chosen) >= FITS_REMEMBERED:
                self._chosen.clear()
            known = self._chosen[key] = (play, chosen(play, profile))
        return known[1]

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
            if terminal.core is not None and terminal.link is None and not terminal.away:
                await self._connect(terminal)

    async def _connect(self, terminal: Terminal) -> None:
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

    def _furnish(self, papers: Enrolled) -> Terminal:
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
            speaker=self._shared(papers.speaker),
            position=papers.position,
            ring_version=papers.ring_version,
        )
        return Terminal(self, identity, here, self.options.links.get(papers.terminal))

    def _shared(self, value: T) -> T:
        same: T = self._interned.setdefault(value, value)
        return same


_CODECS: Final = frozenset({"mp3"})
