"""One simulated board."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final

from simulators import mqtt_lite
from simulators.faults import HEALTHY, Breaks, Link, LosesPower, Plays, Pretends, Seam
from simulators.fleet.timers import Entry
from terminals.agent.core import (
    SIGNAL_S,
    Alarm,
    Core,
    Durable,
    Effect,
    Fetch,
    FetchManifest,
    Identity,
    Save,
    Send,
    Silence,
    Sound,
    Subscribe,
)
from terminals.seal import SealError
from terminals.wire import Clip, Health, Manifest, Time

if TYPE_CHECKING:
    from simulators.fleet.county import Fleet

log = logging.getLogger(__name__)

KEEPALIVE_S: Final = 60
FIRST_PAUSE_S: Final = 0.5
HELD: Final = 64
"""Clips that one terminal keeps beside those it must."""
PRESENT: Final = b"online"
GONE: Final = b"offline"


class Heard(StrEnum):
    """What somebody who stands beside a loudspeaker hears."""

    STARTED = "started"
    FINISHED = "finished"
    """All repeats that were ordered."""
    SILENCED = "silenced"


Ear = Callable[[str, Sound, Heard], None]
"""Called with (terminal, what, how) for whatever really comes out."""


class Terminal:
    """One simulated board: carries out what its `Core` says. Its memory is what a power cut empties
    (`core`, `link`, timers); `durable`, `disk`, `held` and `manifests` are what it leaves."""

    __slots__ = (
        "away",
        "boots",
        "core",
        "disk",
        "durable",
        "fleet",
        "groups",
        "held",
        "identity",
        "link",
        "manifests",
        "opening",
        "pause",
        "ping",
        "playing",
        "report_topic",
        "room",
        "seam",
        "sound",
        "sounding",
        "synced",
        "up",
        "wake",
        "way",
    )

    def __init__(self, fleet: Fleet, identity: Identity, seam: Seam, way: Link | None = None) -> None:
        self.fleet = fleet
        self.identity = identity
        self.seam = seam
        self.durable = Durable()
        self.disk = self.durable.to_bytes() if seam.keeps_disk else None
        self.held: dict[str, None] = {}
        self.room = HELD
        """How many clips it holds when it next looks whether any can go."""
        self.manifests: dict[str, Manifest] | None = None
        self.way = way
        """None: a good link."""
        self.away = False
        """Its line is cut; nothing connects."""
        self.boots = 0
        self.core: Core | None = None
        self.link: mqtt_lite.Connection | None = None
        self.opening: asyncio.Future[bool] | None = None
        self.groups: tuple[str, ...] = ()
        self.pause = FIRST_PAUSE_S
        self.report_topic = fleet.topics["report"].format(identity.id)
        self.sound: Sound | None = None
        self.sounding = False
        """Whether anything comes out."""
        self.playing: Entry | None = None
        """The next thing that happens to `sound`."""
        self.wake: Entry | None = None
        self.ping: Entry | None = None
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
            manifests=self.manifests or _NOTHING,
            opener=self.fleet.opener,
            fitting=self.fleet.fitting,
            chosen=self.fleet.chosen,
        )
        if self.manifests:
            self.manifests = {n: m for n, m in self.manifests.items() if n in self.durable.sets}
        self.core.health = _HEALTH if self.seam.amplifier_ok else _HEALTH_BROKEN

    def lose_power(self) -> None:
        if self.core is None:
            return
        self.core = None
        timers = self.fleet.timers
        for entry in (self.wake, self.playing, self.ping):
            timers.cancel(entry)
        self.wake = self.playing = self.ping = self.sound = None
        self.sounding = False
        # A reader of the disk later finds the last Save; without a seam that keeps it exact, every change
        # until now counts as saved, which is what `Core` was told before it went on.
        self.disk = self.disk if self.seam.keeps_disk else self.durable.to_bytes()
        if self.link is not None:
            self.link.abort("the power is gone")

    # --- its clock ---

    def now(self) -> int:
        """Its own monotonic clock, ms."""
        now = self.fleet.timers.now()
        return int(now * (1 + self.seam.drift)) if self.seam.drift else now

    def at(self, mono: int, call: Callable[[], None]) -> Entry:
        """At `mono` of its own clock."""
        return self.fleet.timers.at(-int(-mono // (1 + self.seam.drift)) if self.seam.drift else mono, call)

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
        self.carry(core.connected(self.now()))

    def mqtt_message(self, topic: str, payload: bytes) -> None:
        if self.way is None:
            self._hear(payload)
            return
        copies = self.way.copies(self.fleet.random)
        self.fleet.counts.commands_lost += not copies
        for seconds in copies:
            if seconds:
                self.fleet.timers.after(seconds, partial(self._hear_late, self.boots, payload))
            else:
                self._hear(payload)

    def _hear_late(self, boot: int, payload: bytes) -> None:
        if boot == self.boots and self.link is not None:
            self._hear(payload)

    def _hear(self, payload: bytes) -> None:
        core = self.core
        if core is None or not self.seam.hears(payload):
            return
        self.fleet.counts.commands += 1
        ignored = core.ignored
        effects = core.command(payload, self.now())
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
            self.carry(self.core.disconnected(self.now()))
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
                if self.sounding:
                    self._tell(Heard.SILENCED)
                self.sounding = False
                self.fleet.timers.cancel(self.playing)
                self.sound = self.playing = None
            elif type(effect) is Fetch:
                self.fleet.fetch(self, effect)
            elif type(effect) is FetchManifest:
                self.fleet.fetch_manifest(self, effect)
            elif type(effect) is Subscribe:
                self._subscribe(effect.groups)
            elif type(effect) is Alarm:
                self.fleet.alarm(self, effect.text)
        if self.sound is not None and self.playing is None:
            if self.sound.at_mono <= self.now():
                self._start()
                return
            self.playing = self.at(self.sound.at_mono, self._start)
        self._wake_later()

    def _send(self, payload: bytes) -> None:
        if self.seam is HEALTHY and self.way is None:
            self._publish(self.report_topic, payload)
            return
        if not self.seam.says(payload):
            self.fleet.counts.reports_lost += 1
            return
        me = self.identity
        for terminal, said in self.seam.utters(payload, me.id, me.report_key):
            topic = self.report_topic if terminal == me.id else self.fleet.topics["report"].format(terminal)
            if self.way is None:
                self._publish(topic, said)
                continue
            copies = self.way.copies(self.fleet.random)
            self.fleet.counts.reports_lost += not copies
            for seconds in copies:
                if seconds:
                    self.fleet.timers.after(seconds, partial(self._publish, topic, said))
                else:
                    self._publish(topic, said)

    def _publish(self, topic: str, payload: bytes) -> None:
        link = self.link
        if link is not None and link.publish(topic, payload):
            self.fleet.counts.reports += 1
        else:
            self.fleet.counts.reports_lost += 1

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
        if at is None or (self.wake is not None and self.wake[0] <= at and not self.seam.drift):
            return
        self.fleet.timers.cancel(self.wake)
        self.wake = self.at(at, self._tick)

    def _tick(self) -> None:
        self.wake = None
        core = self.core
        if core is None:
            return
        now = self.now()
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
        now = self.now()
        self.playing = None
        if now >= sound.until_mono:
            self.sound = None
            self._wake_later()  # Core lets it expire at its own deadline
            return
        length = SIGNAL_S if sound.clip is None else sound.clip.seconds
        seconds = length * sound.repeats / fleet.options.speed
        playing = self.seam.plays(seconds)
        if not isinstance(playing, Pretends):
            fleet.counts.started += 1
            self.sounding = True
            self._tell(Heard.STARTED)
        match playing:
            case Pretends():
                self.playing = fleet.timers.after(0, self._finish)
            case Plays():
                self.playing = fleet.timers.after(seconds, self._finish)
            case Breaks(after_s, reason):
                self.playing = fleet.timers.after(after_s, partial(self._break, reason))
            case LosesPower(after_s, back_s):
                self.playing = fleet.timers.after(after_s, partial(self._power_cut, back_s))
        self.carry(core.started(sound.broadcast, now))

    def _finish(self) -> None:
        if self.sounding:
            self.fleet.counts.finished += 1
            self._tell(Heard.FINISHED)
        sound = self._end()
        assert self.core is not None
        self.carry(self.core.finished(sound.broadcast, self.now()))

    def _break(self, reason: str) -> None:
        sound = self._end()
        assert self.core is not None
        self.carry(self.core.broke(sound.broadcast, self.now(), reason, "simulated"))

    def _power_cut(self, back_s: float) -> None:
        self.fleet.kill_power(self.identity.id)
        self.fleet.timers.after(back_s, partial(self.fleet.restore_power, self.identity.id))

    def _end(self) -> Sound:
        sound = self.sound
        assert sound is not None
        self.sound = self.playing = None
        self.sounding = False
        return sound

    def _tell(self, heard: Heard) -> None:
        assert self.sound is not None
        if self.fleet.ear is not None and self.sound.volume:  # a silent test has none
            self.fleet.ear(self.identity.id, self.sound, heard)

    # --- fetching ---

    def fetched(self, boot: int, clip: Clip, problem: str | None) -> None:
        if self.core is None or boot != self.boots:
            return
        if problem is None:
            self.held[clip.sha256] = None
        self.carry(self.core.fetched(clip.sha256, self.now(), problem))
        if len(self.held) > self.room:
            self._make_room()

    def _make_room(self) -> None:
        """The oldest clips go, but never one that `Core` has pinned."""
        assert self.core is not None
        pinned = self.core.pinned()
        free = [sha256 for sha256 in self.held if sha256 not in pinned]
        for sha256 in free[: max(0, len(free) - HELD)]:
            del self.held[sha256]
        self.room = len(self.held) + HELD // 4

    def has_manifest(self, boot: int, name: str, manifest: Manifest | None, problem: str | None) -> None:
        if self.core is None or boot != self.boots:
            return
        if manifest is not None:
            self.fleet.counts.manifests += 1
            kept = self.manifests or {}
            self.manifests = {n: m for n, m in kept.items() if n in self.durable.sets} | {name: manifest}
        self.carry(self.core.manifest(name, self.now(), manifest, problem))


_NOTHING: Final[dict[str, Manifest]] = {}
_HEALTH: Final = Health(software="simulator", volume=80, amplifier_ok=True, mains=True)
_HEALTH_BROKEN: Final = Health(software="simulator", volume=80, amplifier_ok=False, mains=True)
