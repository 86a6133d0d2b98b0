"""The controller: its parts wired by one straight function, run under one TaskGroup, every task named.

`open_app` builds, `App.run` runs until cancelled. Our bugs travel up and end the process; systemd starts it
again and nothing is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import socket
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from alerts.feed import Feed, FeedError, Trust
from alerts.formats import Reading
from alerts.regions import County, Unresolved
from config import schema
from config.counties import load_county, template_folders
from config.schema import Config, Mode
from controller import certificates, escalation
from controller.adapters import open_feed, read_as
from controller.ahead import SOME, Ahead
from controller.clock import Steps, WireClock, moment, mono_ms, wall_ms
from controller.desk import Desk
from controller.dispatch import Dispatcher
from controller.events import Events, decode_plan
from controller.intake import Intake
from controller.judging import Judging
from controller.keys import KeysError, given_passphrase, load, stamp
from controller.keys import sandbox as sandbox_keys
from controller.metrics import Metrics
from controller.outgoing import Outgoing
from controller.readiness import ONLINE_MS, Board, Known, board
from controller.register import Register
from controller.rings import Rings, signers_of
from controller.staging import Staging
from controller.store import Store, StoreError, Unknown
from controller.store.records import BroadcastRow, BroadcastState, HeardRow, TerminalRow
from controller.summary import Chain, Summary, chain, place_of, summarise
from controller.trials import TrialError, Trials
from controller.vigil import Vigil
from controller.voicing import Voicing
from simulators.broker import EmbeddedBroker
from terminals import delivery
from terminals.model import Terminal, is_simulated
from terminals.seal import KeyRole
from terminals.transports.mqtt import Endpoint, MqttTransport
from terminals.wire import Health

log = logging.getLogger(__name__)

ALARMS_KEPT: Final = 50
CLOCK_EVERY_S: Final = 10.0
# Clock questions that a terminal asks where loudspeakers start together: the quickest answer counts.
PROBES: Final = 5
FEEDS_EVERY_S: Final = 5.0
KEEP_ALIVE_S: Final = 15
"""An idle connection is kept for so long: longer than our own clients keep theirs (httpx2: 5 s), so that no
question is on its way when it is closed."""
READINESS_S: Final = 60.0
CERTIFICATES_EVERY_S: Final = 86_400.0


class StartError(Exception):
    """The configuration does not allow a start: what is missing and the command that mends it."""


class NotYet(Exception):
    """It cannot start now; the same start may succeed in a moment: what it waits for."""


@dataclass(frozen=True, slots=True)
class FeedState:
    name: str
    kind: str
    trust: Trust
    """What its source is at most."""
    official: bool
    authenticated: str
    last_good: datetime | None
    """Its last sign of life."""
    last_document: datetime | None
    """When its latest document came, since the start."""
    stale: str
    """Why it counts as stale; empty while it does not."""
    problem: str
    """Why it cannot be read at present, or not all of it; empty when it can."""


class App:
    """What the web API sees. Made by `open_app` only."""

    def __init__(
        self,
        config: Config,
        *,
        sandbox: bool,
        store: Store,
        register: Register,
        transport: MqttTransport,
        dispatcher: Dispatcher,
        voicing: Voicing,
        staging: Staging,
        ahead: Ahead,
        desk: Desk,
        intake: Intake,
        metrics: Metrics,
        trials: Trials,
        alarms: deque[str],
        rings: Rings,
        feeds: list[tuple[schema.Feed, Feed]],
        readings: dict[str, Reading],
        api: socket.socket,
        village: socket.socket,
    ) -> None:
        self.version = version("fenghuo")
        self.config = config
        self.county = register.county
        self.sandbox = sandbox
        self.store = store
        self.register = register
        self.transport = transport
        self.dispatcher = dispatcher
        self.voicing = voicing
        self.staging = staging
        self.ahead = ahead
        self.desk = desk
        self.intake = intake
        self.metrics = metrics
        self.trials = trials
        self.alarms = alarms
        self.rings = rings
        self._shown_at = -READINESS_S
        self._feeds = feeds
        self._read_as = [(feed, readings[feed.name]) for _, feed in feeds]
        self._vigils = {
            settings.name: Vigil(
                settings.name, settings.signs_of_life, settings.quiet_after, time.monotonic()
            )
            for settings, _ in feeds
        }
        self._api = api
        self._village = village
        self.ended_certificates: list[str] = []
        self._steps = Steps(wall_ms() - mono_ms())
        self.stopping = asyncio.Event()
        """Set when the controller is told to stop: event streams end, so that nobody waits for them."""

    async def run(self, ready: asyncio.Event | None = None) -> None:
        """Everything, until cancelled."""
        from controller.web.operators import operators_api
        from controller.web.village import village_api
        from controller.web.wary import Wary

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.transport.run(self.dispatcher.upward, self._broker), name="transport")
            tasks.create_task(self.dispatcher.run(), name="dispatch")
            tasks.create_task(self.desk.outgoing.run(), name="desk")
            tasks.create_task(self.voicing.run(), name="voice")
            tasks.create_task(self.staging.run(), name="staging")
            tasks.create_task(self.ahead.run(), name="ahead")
            tasks.create_task(self.trials.run(), name="tests")
            tasks.create_task(self._keep_time(), name="clock")
            tasks.create_task(self.rings.run(), name="rings")
            tasks.create_task(self._watch_certificates(), name="certificates")
            tasks.create_task(
                escalation.ring(self.store, self.desk, self.metrics, self.config.hold_hook, self.alarm),
                name="escalation",
            )
            await self.desk.resume()
            await self.intake.recover({feed.name: reading for feed, reading in self._read_as})
            for feed, reading in self._read_as:
                tasks.create_task(self.intake.pump(feed, reading), name=f"feed.{feed.name}")
            tasks.create_task(self._watch_feeds(), name="feeds")
            tasks.create_task(_serve(operators_api(self), self._api, self.stopping), name="web.operators")
            village = _serve(village_api(self), self._village, self.stopping, http=Wary)
            tasks.create_task(village, name="web.village")
            if ready is not None:
                ready.set()

    def alarm(self, text: str) -> None:
        """For the engineer: in the log, the metrics and the status."""
        log.error("ALARM: %s", text)
        self.metrics.alarms.inc()
        self.alarms.append(f"{moment(wall_ms()).isoformat(timespec='seconds')} {text}")

    @property
    def api_port(self) -> int:
        """Where the operators' API listens, when that is TCP."""
        return int(self._api.getsockname()[1])

    # --- what the API asks ---------------------------------------------------------------------

    def problems(self) -> list[str]:
        """Why a warning could not go out now."""
        found = []
        if self.transport.rival:
            found.append(self.transport.rival)
        elif not self.transport.connected:
            found.append("the broker is not there")
        return found + self.rings.problems() + self.ended_certificates

    def refresh_gauges(self) -> None:
        self.metrics.terminals_online.set(self.online_count())
        self.metrics.broker_up.set(int(self.transport.connected))
        for _, feed in self._feeds:
            self.metrics.feed_trouble.labels(feed.name).set(int(bool(feed.trouble)))
            self.metrics.feed_stale.labels(feed.name).set(int(bool(self._vigils[feed.name].stale)))
            if feed.last_good is not None:
                self.metrics.feed_last_good.labels(feed.name).set(feed.last_good.timestamp())
            if (brought := self.intake.last_document.get(feed.name)) is not None:
                self.metrics.feed_last_document.labels(feed.name).set(brought.timestamp())

    def online_count(self) -> int:
        now = self.dispatcher.now()
        return sum(1 for seen in self.dispatcher.online.values() if now - seen < ONLINE_MS)

    def feed_states(self) -> list[FeedState]:
        return [
            FeedState(
                f.name,
                s.kind,
                self.desk.judging.trust(s.name),
                s.official,
                s.authenticated,
                f.last_good,
                self.intake.last_document.get(f.name),
                self._vigils[f.name].stale,
                f.trouble,
            )
            for s, f in self._feeds
        ]

    def stale_feeds(self) -> list[str]:
        """Feeds whose warnings may be missed at present, and why."""
        return [f"{name}: {vigil.stale}" for name, vigil in self._vigils.items() if vigil.stale]

    async def deliveries(self, broadcast: str) -> tuple[BroadcastRow, Mapping[str, delivery.Facts]]:
        """The broadcast, and all that is known of each of its terminals. Raises Unknown."""
        run = self.dispatcher.runs.get(broadcast)
        if run is not None:
            return run.row, run.facts
        row = await self.store.broadcast(broadcast)
        planned, rows = await self.store.deliveries(broadcast)
        facts: dict[str, dict[delivery.FactKey, delivery.FactValue]] = {terminal: {} for terminal in planned}
        for fact in rows:
            facts.setdefault(fact.terminal, {})[fact.key] = fact.value
        return row, facts

    async def chain(self, broadcast: str, terminal: str) -> Chain | None:
        """All that is known of one terminal's part; None where it has none. Raises Unknown."""
        row, facts = await self.deliveries(broadcast)
        if terminal not in facts:
            return None
        replaced = row.stopped_by or "" if row.state is BroadcastState.SUPERSEDED else ""
        return chain(facts[terminal], self._last_seen(terminal), replaced)

    async def summary(self, broadcast: str) -> Summary:
        """Raises Unknown."""
        row, facts = await self.deliveries(broadcast)
        run = self.dispatcher.runs.get(broadcast)
        alert = await self.store.alert(row.broadcast.alert_id)
        waiting = 0 if row.done else len(facts)
        if run is not None:
            # Settled and not yet recorded as done: one thing is still to come.
            recording = len(run.settled) == len(run.facts) and row.done is None
            waiting = max(run.waiting, int(recording))
        silent = decode_plan(alert).silent_villages if alert.plan is not None else ()
        return summarise(
            row,
            alert.headline,
            facts,
            self.register.terminals,
            self.county,
            waiting=waiting,
            last_seen=self._last_seen,
            silent_villages=silent,
            is_generic=self.voicing.is_generic,
            clock_error=self.dispatcher.clock_errors.get,
            doubted=await self.store.broadcast(broadcast),
            by_hand=() if run is None else run.sounding_by_hand(self.dispatcher.now()),
        )

    def _last_seen(self, terminal: str) -> int | None:
        """Wire ms of its last word: this run's, or what the register keeps of its last hello."""
        seen = self.dispatcher.online.get(terminal)
        return seen if seen is not None else self.register.last_seen.get(terminal)

    def version_of(self, broadcast: str) -> int:
        run = self.dispatcher.runs.get(broadcast)
        return run.version if run is not None else -1

    async def changed(self, broadcast: str, before: int, seconds: float) -> None:
        """Until the broadcast is no longer as it was at version `before`; `seconds` at most."""
        run = self.dispatcher.runs.get(broadcast)
        if run is None:
            await asyncio.sleep(min(seconds, 0.2))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), run.changed:
                await run.changed.wait_for(lambda: run.version != before)

    async def terminal_rows(self) -> list[dict[str, object]]:
        return [
            self.terminal_row(row.terminal, row.last_seen, row.health) for row in await self.store.terminals()
        ]

    def terminal_row(
        self, t: Terminal, last_seen: int | None = None, health: bytes | None = None
    ) -> dict[str, object]:
        """As `web.models.TerminalOut`. `last_seen` and `health`: of its last hello, as the store has them."""
        township, village = place_of(t.village, self.county)
        seen = self.dispatcher.online.get(t.id)
        last = max(last_seen or 0, seen or 0)
        return {
            "id": t.id,
            "name": t.name,
            "village": village,
            "township": township,
            "village_key": t.village,
            "lat": t.lat,
            "lon": t.lon,
            "languages": list(t.languages),
            "speaker": t.speaker,
            "codecs": list(t.codecs),
            "enrolled": t.enrolled,
            "simulated": is_simulated(t.id),
            "last_seen": moment(last) if last else None,
            "online": seen is not None and self.dispatcher.now() - seen < ONLINE_MS,
            "health": msgspec.json.decode(health) if health else {},
            "refused_reports": self.dispatcher.complaints.of(t.id),
        }

    async def readiness(self) -> Board:
        """Which loudspeakers would sound now, by what they said themselves, authenticated. Raises
        StoreError."""
        ours = self.register.terminals  # without those whose village is gone: the alarm has named them
        rows = [row for row in await self.store.terminals() if row.terminal.id in ours]
        heard = await self.store.heard()
        certificates: dict[str, int] = {}
        for row in await self.store.certificates():
            if row.revoked is None:
                certificates[row.terminal] = max(row.expires, certificates.get(row.terminal, 0))
        missing = {row.terminal.id: self.staging.missing(row.terminal) for row in rows}
        wall = wall_ms()
        ahead = self.dispatcher.now() - wall

        def judged() -> Board:
            return board(
                (
                    known_of(
                        row,
                        heard.get(row.terminal.id),
                        missing[row.terminal.id],
                        certificates,
                        self.county,
                        ahead,
                    )
                    for row in rows
                ),
                wall,
            )

        # A tenth of a second of work for 10,000: not on the road that warnings take.
        return await asyncio.to_thread(judged)

    async def show_readiness(self) -> None:
        """For Prometheus; worked out anew once a minute at most."""
        if time.monotonic() - self._shown_at < READINESS_S:
            return
        self._shown_at = time.monotonic()
        for line in (await self.readiness()).townships:
            name = self.county.township(line.key).name
            for grade, count in (("ready", line.ready), ("doubtful", line.doubtful), ("dead", line.dead)):
                self.metrics.readiness.labels(name, grade).set(count)

    def village_name(self, key: str) -> str:
        return "".join(place_of(key, self.county))

    def find_villages(self, typed: str) -> frozenset[str]:
        """Raises Unknown with what was probably meant."""
        found = self.county.find(typed)
        if isinstance(found, Unresolved):
            raise Unknown(found.text)
        return found.villages

    def one_village(self, typed: str) -> str:
        """Raises Unknown unless `typed` is a village key or names exactly one village."""
        if any(v.key == typed for v in self.county.villages):
            return typed
        villages = self.find_villages(typed)
        if len(villages) != 1:
            raise Unknown(f"{typed} is {len(villages)} villages; a terminal stands in one")
        return next(iter(villages))

    # --- small tasks ---------------------------------------------------------------------------

    async def _broker(self, up: bool) -> None:
        self.metrics.broker_up.set(int(up))

    async def _watch_feeds(self) -> None:
        while True:
            self.look_at_feeds(time.monotonic())
            await asyncio.sleep(FEEDS_EVERY_S)

    def look_at_feeds(self, now: float) -> None:
        """Alarms for each feed that has just become stale or has just come back. `now`: as time.monotonic."""
        for _, feed in self._feeds:
            brought = self.intake.last_document.get(feed.name)
            text = self._vigils[feed.name].look(now, feed.last_good, brought, feed.trouble)
            if text:
                self.alarm(text)

    async def _watch_certificates(self) -> None:
        while True:
            await self.look_at_certificates(wall_ms())
            await asyncio.sleep(CERTIFICATES_EVERY_S)

    async def look_at_certificates(self, now: int) -> None:
        """Alarms for each certificate that ends soon. `now`: Unix ms."""
        if self.sandbox:
            return
        try:
            found = certificates.endings(self.config.keys_dir)
            rows = await self.store.certificates()
        except (KeysError, StoreError) as error:
            self.alarm(str(error))
            return
        for one in found:
            self.metrics.certificate_expires.labels(one.name).set(one.at / 1000)
        self.ended_certificates = certificates.warnings((e for e in found if e.at < now), now)
        late = certificates.unrenewed(rows, now)
        for text in (*certificates.warnings(found, now), *([late] if late else [])):
            self.alarm(text)

    async def _keep_time(self) -> None:
        said = ""
        while True:
            try:
                await self.store.set_meta("signed_until", str(self.dispatcher.now()))
                said = ""
            except StoreError as error:
                if str(error) != said:  # once, or the list of alarms is full of it in minutes
                    self.alarm(str(error))
                said = str(error)
            self.look_at_clock(wall_ms(), mono_ms())
            await asyncio.sleep(CLOCK_EVERY_S)

    def look_at_clock(self, wall: int, mono: int) -> None:
        """An alarm when the time of day has jumped. Both in ms."""
        text = self._steps.look(wall, mono)
        if text is not None:
            self.alarm(text)


@contextlib.asynccontextmanager
async def open_app(config: Config, *, sandbox: bool, pace: float = 1.0) -> AsyncIterator[App]:
    """Builds the controller: checks, keys, store, sockets. `pace`: how much faster than real time the
    terminals of a sandbox play, so that they are not asked too late. Raises StartError, NotYet, PackError,
    KeysError, StoreError, BrokerError. Everything it opened is closed again, last first."""
    metrics = Metrics()
    alarms: deque[str] = deque(maxlen=ALARMS_KEPT)
    async with AsyncExitStack() as stack:
        config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        stack.enter_context(_alone(config.state_dir / "lock"))
        for settings in config.feeds:
            if isinstance(settings, schema.FolderFeed):
                settings.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made-up positions of villages may direct a warning to simulated terminals only.
        pack = load_county(config.county, synthetic=sandbox)
        keys_dir = config.state_dir / "sandbox-keys" if sandbox else config.keys_dir
        passphrase = None if sandbox else given_passphrase(config.keys_passphrase_file, os.environ)
        keys = (
            sandbox_keys(keys_dir, _roles(config)) if sandbox else load(keys_dir, _roles(config), passphrase)
        )
        authority = None if sandbox else certificates.load(keys_dir, passphrase)
        login = config.broker.terminals_login
        if login is not None and authority is None and not sandbox:
            raise StartError(
                "broker.terminals_login needs the county's own authority; make it: "
                "fenghuo keys ca -c FILE --host NAME"
            )
        store = await Store.open(config.state_dir / "fenghuo.db")
        stack.push_async_callback(store.close)
        await _same_class(store, config, sandbox)
        endpoint = await _broker(config, stack, passphrase)
        api = stack.enter_context(_listen(config.listen.api))
        village = stack.enter_context(_listen(config.listen.terminals))
        audio_base = config.listen.audio_base(village.getsockname()[1])
        scheme = "mqtts" if endpoint.tls else "mqtt"
        register = Register(
            store,
            pack.county,
            keys,
            broker=config.broker.terminals_url or f"{scheme}://{endpoint.host}:{endpoint.port}",
            audio=audio_base,
            sandbox=sandbox,
            authority=authority,
            login=login,
        )
        await register.load()

        def alarm(text: str) -> None:
            app.alarm(text)

        voicing = Voicing(
            config.voice,
            config.state_dir,
            pack.readings,
            metrics,
            alarm,
            prepare=not sandbox,
            words=template_folders(config.county, config.templates),
            sirens=config.sirens,
        )
        stack.push_async_callback(voicing.close)
        if config.mode is Mode.ACTUAL and not sandbox and not config.voice.mandarin_approved:
            raise StartError(
                "mode: actual needs voice.approved_by and approved_on: somebody of the county must "
                "have listened to the voice (fenghuo alert preview) and answer for it"
            )
        clock, doubt = WireClock.start(wall_ms(), mono_ms(), int(await store.meta("signed_until") or 0))
        transport = MqttTransport(endpoint, pack.county.key, alarm)

        signers = signers_of(keys)

        def now() -> int:
            return clock.now(wall_ms(), mono_ms())

        staging = Staging(
            store,
            transport,
            signers.service,
            now,
            alarm,
            config.staging,
            lambda: register.terminals.values(),
            pack.county,
        )
        await staging.load()
        some = SOME if sandbox else None
        ahead = Ahead(staging, voicing, register, pack.county, config.staging, now, only=some)
        dispatcher = Dispatcher(
            store,
            transport,
            signers,
            register.report_key,
            register.groups,
            audio_base,
            clock,
            metrics,
            alarm,
            pace if sandbox else 1.0,
            PROBES if config.broadcast.together is not None else 0,
            staging,
        )
        rings = Rings(
            keys,
            signers,
            read=lambda: load(keys_dir, _roles(config), passphrase),
            stamp=lambda: stamp(keys_dir),
            transport=transport,
            staging=staging,
            store=store,
            held=register.rings,
            seen=register.last_seen,
            enrolled=register.enrolled,
            now=now,
            alarm=alarm,
            metrics=metrics,
            changed=register.renew_keys,
        )
        dispatcher.keys = rings
        judging = Judging(config, pack.county, lambda: register.fleet, frozenset(signers.roles))
        events = Events(config, pack.county, store, register, dispatcher)
        outgoing = Outgoing(config, store, register, dispatcher, voicing, metrics, events, staging=staging)
        desk = Desk(
            config, pack.county, store, dispatcher, judging, events, outgoing, released=ahead.released
        )
        dispatcher.hand = events.tell
        register.begun = dispatcher.enrolled
        intake = Intake(store, desk, metrics, alarm)
        try:
            trials = Trials(config, pack.county, store, desk, alarm)
        except TrialError as error:
            raise StartError(str(error)) from error
        try:
            feeds = [(settings, open_feed(settings, config.state_dir)) for settings in config.feeds]
            readings = {settings.name: read_as(settings) for settings in config.feeds}
        except FeedError as error:
            raise StartError(f"feeds: {error}") from error
        app = App(
            config,
            sandbox=sandbox,
            store=store,
            register=register,
            transport=transport,
            dispatcher=dispatcher,
            voicing=voicing,
            staging=staging,
            ahead=ahead,
            desk=desk,
            intake=intake,
            metrics=metrics,
            trials=trials,
            alarms=alarms,
            rings=rings,
            feeds=feeds,
            readings=readings,
            api=api,
            village=village,
        )
        if doubt is not None:
            app.alarm(doubt)
        if register.homeless:
            app.alarm(_homeless(register.homeless.values()))
        yield app


def _homeless(terminals: Collection[Terminal]) -> str:
    gone = sorted({t.village for t in terminals})
    return (
        f"{len(terminals)} terminals are in villages that the county pack has no more "
        f"({', '.join(gone[:10])}{' …' if len(gone) > 10 else ''}): no plan names them. Put the villages "
        "back, or move the terminals: fenghuo terminal import"
    )


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two controllers on one state would both count, and sound twice. The kernel frees the lock of a killed
    process."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartError(f"another controller is running on {path.parent}; stop it first") from None
        yield


async def _same_class(store: Store, config: Config, sandbox: bool) -> None:
    """A drill's database never becomes a county's, nor a county's a drill's."""
    mine = "sandbox" if sandbox else "county"
    found = await store.meta("class")
    if found is None:
        await store.set_meta("class", mine)
    elif found != mine:
        raise StartError(
            f"the state in {config.state_dir} is a {found}'s; a {mine} needs a state_dir of its own"
        )


def _roles(config: Config) -> tuple[KeyRole, ...]:
    """In drill mode the actual key is not even read; the root key never."""
    roles = tuple(r for r in KeyRole if r is not KeyRole.ROOT)
    return roles if config.mode is Mode.ACTUAL else tuple(r for r in roles if r is not KeyRole.ACTUAL)


async def _broker(config: Config, stack: AsyncExitStack, passphrase: bytes | None) -> Endpoint:
    broker = config.broker
    if broker.embedded is not None:
        child = EmbeddedBroker(broker.embedded.port)
        await stack.enter_async_context(child)
        return Endpoint("127.0.0.1", child.port)
    password = None
    if broker.password_file is not None:
        password = _secret(broker.password_file)
    tls = None
    if broker.tls:
        try:
            tls = ssl.create_default_context(cafile=str(broker.ca_file) if broker.ca_file else None)
        except OSError as error:
            raise StartError(f"{broker.ca_file} is no certificate that can be used: {error}") from error
        if (config.keys_dir / certificates.FOLDER / "controller.crt").exists():
            certificates.show_ours(tls, config.keys_dir, passphrase)
    return Endpoint(broker.host, broker.port, broker.username, password, tls)


def known_of(
    row: TerminalRow,
    heard: HeardRow | None,
    missing: int | None,
    certificates: Mapping[str, int],
    county: County,
    ahead: int,
) -> Known:
    """A terminal of the register as the readiness board judges it. `ahead`: ms that wire time is ahead of
    Unix time."""
    t = row.terminal
    village = county.village(t.village)
    return Known(
        t.id,
        t.name,
        village.name,
        village.township_key,
        t.enrolled,
        row.last_seen,
        msgspec.json.decode(row.health, type=Health) if row.health else None,
        None if heard is None or heard.heard is None else heard.heard - ahead,
        None if heard is None or heard.tested is None else heard.tested - ahead,
        missing,
        certificates.get(t.id),
    )


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise StartError(f"broker.password_file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StartError(f"{path} is not text") from error


@contextlib.contextmanager
def _listen(address: schema.Tcp | schema.UnixSocket) -> Iterator[socket.socket]:
    if isinstance(address, schema.UnixSocket):
        path = address.path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # of a process that was killed; two controllers are kept apart by the store's lock
        sock = socket.socket(socket.AF_UNIX)
        target: tuple[str, int] | str = str(path)
    else:
        sock = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        target = (address.host, address.port)
    try:
        sock.bind(target)
        if isinstance(address, schema.UnixSocket):
            address.path.chmod(0o660)  # the folder's mode and every call's token say who may
        sock.listen(1024)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        why = error.strerror
        if error.errno == errno.EADDRNOTAVAIL:  # at boot, a network that is not up yet
            text = f"cannot listen at {address}: {why}; no network of this machine has that address (yet)"
            raise NotYet(text) from error
        if error.errno == errno.EADDRINUSE:  # a predecessor that is being killed
            raise NotYet(f"cannot listen at {address}: {why}; is another controller running?") from error
        raise StartError(
            f"cannot listen at {address}: {why}; listen: must name what this user may use"
        ) from error
    try:
        yield sock
    finally:
        sock.close()
        if isinstance(address, schema.UnixSocket):
            with contextlib.suppress(FileNotFoundError):
                address.path.unlink()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are the program's business, not one server's


async def _serve(
    api: FastAPI, sock: socket.socket, stopping: asyncio.Event, http: type[asyncio.Protocol] = H11Protocol
) -> None:
    server = _Server(
        uvicorn.Config(
            api,
            http=http,
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=2,
        )
    )
    try:
        await server.serve(sockets=[sock])
    except asyncio.CancelledError:
        stopping.set()
        server.should_exit = True
        await server.shutdown(sockets=[])
        raise
