"""THE TERMINAL: every decision that a loudspeaker takes, without a clock, a socket or a sound device.

Theory of operation. The host (the agent on a real board, or a simulator of ten thousand) tells `Core` what
happened and when on its monotonic clock; every call returns the effects to carry out, in order. If
anything durable changed, the first effect is `Save`: what follows may only be done once `Durable` is safe
on disk, so that a power cut between any two effects neither loses an accepted command nor plays a finished
one again. Reports go last and always carry every fact of their broadcast, so a lost one costs nothing.

A Play passes, in this order: seal (`terminals.seal`), target, known already?, signed time known?, role,
window, replay, variant, clip, queue. Whatever stops it there is a fact with a reason that goes to the
controller; only what is not for us, or not genuine and not claiming to be for us, is met with silence.

Four clocks are not confused: the host's monotonic milliseconds (`mono`), wire time (the controller's
signed clock, counted on from the last `Time`), the floor (the latest signed time on disk, below which
wire time never starts), and the wall clock, which is never asked. Once a command is accepted its deadline
is fixed on the monotonic clock: a controller whose clock jumps afterwards neither silences nor revives it.

A drill key must not be able to silence a real warning either: role ranks above the priority that a
command claims, a drill's record never stands in the way of an actual broadcast of the same id, only the
actual and service keys move the clock, and tables that overflow give up the least urgent first.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from itertools import islice
from typing import Final

import msgspec
from msgspec import Struct

from terminals.delivery import RESUMED, State
from terminals.model import is_simulated
from terminals.seal import (
    KeyRing,
    KeyRole,
    OpenedCommand,
    SealError,
    claimed_command,
    open_command,
    seal_report,
)
from terminals.wire import Clip, Fact, Health, Hello, Play, Query, Report, Stop, Targets, Time

MAX_LIFETIME_MS: Final = 24 * 3_600_000
"""expires − issued of a Play (design §5): how long a counter must be kept."""
TOLERANCE_MS: Final = 120_000
"""How far a signed time may lie behind ours before we keep our own and say so."""
NONCE_MS: Final = 30_000
"""A Time answers a Hello no older than this, so our clock is behind by at most this much."""
HELLO_RETRY_MS: Final = 2_000
HELLO_RETRY_MAX_MS: Final = 30_000
HELLO_EVERY_MS: Final = 900_000
"""Time and health anew; a quartz of 50 ppm drifts 45 ms meanwhile."""
HELLO_DOUBT_MS: Final = 60_000
HELLO_GAP_MS: Final = 1_000
LEAD_MS: Final = 2_000
"""A Sound is ordered this long before its start, so that the device can be ready."""
START_MS: Final = 10_000
"""A device that has not started this long after it should is broken."""
SLACK_MS: Final = 30_000
"""A playing may take a quarter longer than its length and this; then the device is stuck."""
RETRIES: Final = 2
"""Own retries of a fetch."""
MAX_RECORDS: Final = 256
MAX_SPENT: Final = 2_048
MAX_COUNTERS: Final = 1_024
"""Per key. Above it the lowest are forgotten and everything below them is refused as a replay."""
MAX_WAITING: Final = 16
MAX_FACTS: Final = 24
"""Per broadcast, so that a Report of the longest details fits wire.MAX_BODY."""
MAX_DETAIL: Final = 100
REFUSALS_PER_MINUTE: Final = 10
"""Answers to what is not genuine: a flood must not use us as its amplifier."""

_MAGIC: Final = b"FHD1"
_ROLE_RANK: Final = {KeyRole.ACTUAL: 0, KeyRole.EXERCISE: 1, KeyRole.TEST: 2, KeyRole.SERVICE: 3}
_CLOCK_ROLES: Final = frozenset({KeyRole.ACTUAL, KeyRole.SERVICE})


class Reason(StrEnum):
    """Why; the reasons of `SealReason` and those of the host's `broke` come beside these."""

    WRONG_ROLE = "wrong-role"
    LIFETIME = "lifetime"
    WINDOW = "window"
    """not_before or play_at lies at or after expires: it could never start."""
    EXPIRED = "expired"
    REPLAY = "replay"
    STOPPED = "stopped"
    NEVER_HAD = "never-had"
    REPLACED = "replaced"
    NO_VARIANT = "no-variant"
    FETCH = "fetch"
    HASH_MISMATCH = "hash-mismatch"
    DEVICE_BUSY = "device-busy"
    """More at once than this terminal keeps; worth another attempt."""
    NO_START = "no-start"
    STUCK = "stuck"
    UNKNOWN_KEY = "unknown-key"
    """The key that sealed it has left the ring since."""


# --- what is kept on disk ----------------------------------------------------------------------------


class DurableError(Exception):
    """The kept state is torn or of another version: what is wrong. Start with a new `Durable()`, tell
    somebody, and keep the file: replays are then caught by the time floor of the controller's answer
    alone."""


class Record(Struct):
    """What became of one broadcast here. `play` has no targets and only the chosen clip; None: no sound
    was ever wanted (refused, or stopped before it came)."""

    broadcast: str
    role: KeyRole
    key: str
    attempt: int
    expires: int
    arrival: int
    facts: list[Fact]
    play: Play | None = None
    outcome: State | None = None
    """None while something may still sound."""
    stopped: bool = False
    sounding: bool = False
    """The device was taking samples when this was saved."""
    resumes: bool = False


class Spent(Struct, frozen=True):
    """The rest of a record that had to make room: never again, and what its end was."""

    role: KeyRole
    expires: int
    fact: Fact


class Durable(Struct):
    """Everything that survives a power cut. Times are wire time, ms."""

    floor: int = 0
    groups: tuple[str, ...] | None = None
    """As the last Time said; None: as enrolled."""
    highest: dict[str, int] = {}
    """Key id → highest counter accepted."""
    low: dict[str, int] = {}
    """Key id → every counter up to this one counts as accepted."""
    accepted: dict[str, dict[int, int]] = {}
    """Key id → counter → expires of its command."""
    records: dict[str, Record] = {}
    """Oldest first, at most MAX_RECORDS."""
    spent: dict[str, Spent] = {}
    arrivals: int = 0

    def to_bytes(self) -> bytes:
        """For a file that is written anew and renamed into place, fsync before the rename."""
        body = _durable_encoder.encode(self)
        return _MAGIC + b" " + sha256(body).hexdigest().encode() + b"\n" + body

    @classmethod
    def from_bytes(cls, data: bytes) -> Durable:
        """Raises DurableError unless every byte of a `to_bytes` of this version is there."""
        header, newline, body = data.partition(b"\n")
        magic, _, digest = header.partition(b" ")
        if magic != _MAGIC or not newline:
            raise DurableError(f"no {_MAGIC.decode()} header: empty, torn or of another version")
        if digest != sha256(body).hexdigest().encode():
            raise DurableError(f"torn: the hash of its {len(body)} bytes is another")
        try:
            return _durable_decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DurableError(f"whole, but not this version's: {error}") from error


_durable_encoder = msgspec.json.Encoder()
_durable_decoder = msgspec.json.Decoder(Durable)


# --- what the host is told to do ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Save:
    """Make `Durable` safe before any later effect of this list. Always first, at most one."""


@dataclass(frozen=True, slots=True)
class Send:
    """Publish these sealed bytes on this terminal's report topic; best effort."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get `url` after `delay_ms`, check size and SHA-256 before it counts as held, then call `fetched`."""

    clip: Clip
    url: str
    delay_ms: int


@dataclass(frozen=True, slots=True)
class Sound:
    """Play the clip `repeats` times from `at_mono` (at once if past), never starting at or after
    `until_mono`. Then call `started` when the device takes samples, and `finished` or `broke`."""

    broadcast: str
    clip: Clip
    repeats: int
    volume: int
    """Percent."""
    at_mono: int
    until_mono: int


@dataclass(frozen=True, slots=True)
class Silence:
    """Stop this Sound now, started or not. Nothing is to be called for it."""

    broadcast: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """The complete list of group topics to be subscribed to, beside the terminal's own."""

    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that an engineer should see in this terminal's log."""

    text: str


Effect = Save | Send | Fetch | Sound | Silence | Subscribe | Alarm


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this terminal is, from its enrolment."""

    id: str
    county: str
    report_key: bytes
    ring: KeyRing
    groups: tuple[str, ...]
    languages: tuple[str, ...]
    """In the village's order."""
    codecs: frozenset[str]
    roles: frozenset[KeyRole]
    """Kinds of broadcast that may sound here."""


class _Live:
    """A record that may still sound; forgotten at a power cut and made again from the record."""

    __slots__ = ("clip", "deadline", "order", "play", "ready", "record", "start")

    def __init__(self, record: Record, play: Play, start: int, deadline: int) -> None:
        self.record = record
        self.play = play
        self.clip = play.clips[0]
        self.start = start
        """mono"""
        self.deadline = deadline
        """mono"""
        self.ready = False
        # The kind a command claims in its priority is not believed; the role of its key is.
        self.order = ((_ROLE_RANK[record.role], *play.priority[1:]), record.arrival)


# --- the terminal ------------------------------------------------------------------------------------


class Core:
    """One terminal. `mono` is the host's monotonic clock in ms and never goes back within a boot.

    Every method returns effects to carry out in order before the next call. Nothing raises for anything
    that the world may send; what a caller gets wrong (an identity with keys of the wrong class) is a
    ValueError from the constructor.
    """

    __slots__ = (
        "_anchor",
        "_audio_base",
        "_backoff",
        "_boot",
        "_connected",
        "_current",
        "_dirty",
        "_durable",
        "_fetching",
        "_held",
        "_hello_at",
        "_hello_sent",
        "_identity",
        "_last_sound",
        "_lives",
        "_minute",
        "_mono",
        "_nonce",
        "_nonce_at",
        "_open",
        "_out",
        "_random",
        "_refusals",
        "_seq",
        "_started",
        "_touched",
        "_unsent",
        "_waiting",
        "_watch",
        "health",
        "ignored",
        "unverified",
    )

    def __init__(
        self,
        identity: Identity,
        durable: Durable,
        *,
        boot: str,
        random: _random.Random,
        held: Collection[str] = frozenset(),
        opener: Callable[[bytes, KeyRing], OpenedCommand] = open_command,
    ) -> None:
        """`boot`: a new id at every start. `random`: `random.SystemRandom()` on a real terminal (nonces).
        `held`: the host's own, living collection of the hashes of clips that are whole on this terminal.
        `opener`: `open_command`, or the same memoised where many terminals live in one process.
        """
        if identity.ring.is_sandbox != is_simulated(identity.id):
            raise ValueError(f"{identity.id}: sandbox keys belong to simulated terminals, and only there")
        self._identity = identity
        self._durable = durable
        self._boot = boot
        self._random = random
        self._held = held
        self._open = opener
        self._lives: dict[str, _Live] = {}
        self._current: _Live | None = None
        self._started = False
        self._watch = 0
        self._waiting: dict[str, OpenedCommand] = {}
        self._fetching: dict[str, int] = {}
        self._anchor: tuple[int, int] | None = None  # (wire, mono)
        self._audio_base = ""
        self._connected = False
        self._nonce = ""
        self._nonce_at = 0
        self._hello_at: int | None = None
        self._hello_sent = 0
        self._backoff = HELLO_RETRY_MS
        self._last_sound = 0
        self._minute = 0
        self._refusals = 0
        self._seq = 0
        self._mono = 0
        self._dirty = False
        self._out: list[Effect] = []
        self._touched: dict[str, None] = {}
        self._unsent: dict[str, None] = {}
        self.health = Health()
        """For the host to keep current; `last_sound` is filled in here."""
        self.ignored = 0
        """Genuine commands that were not for us, and Times that answered nothing of ours."""
        self.unverified = 0
        """Payloads that were not genuine."""

    # --- what happens to it ---

    def connected(self, mono: int) -> list[Effect]:
        """The way to the controller is open: subscribe, ask for the time, say what could not be said."""
        self._mono = mono
        self._connected = True
        self._nonce = ""
        self._backoff = HELLO_RETRY_MS
        self._out.append(Subscribe(self._groups))
        self._hello(mono)
        self._touched.update(self._unsent)
        self._unsent.clear()
        return self._flush()

    def disconnected(self, mono: int) -> list[Effect]:
        """The way is gone. What plays goes on, what is queued will play."""
        self._mono = mono
        self._connected = False
        self._hello_at = None
        return self._flush()

    def command(self, payload: bytes, mono: int) -> list[Effect]:
        """Any bytes from the command topics."""
        self._mono = mono
        try:
            opened = self._open(payload, self._identity.ring)
        except SealError as error:
            self._not_genuine(payload, error, mono)
            return self._flush()
        command = opened.command
        if not isinstance(command, Time) and opened.role in _CLOCK_ROLES:
            self._at_least(command.issued, mono)
        match command:
            case Time():
                self._time(command, mono)
            case Query():
                self._touched[command.broadcast] = None
            case Play() | Stop() if not self._targeted(command.targets):
                self.ignored += 1
            case Play():
                if not self._answered(opened):
                    self._offer(opened, mono)
            case Stop():
                self._stop(opened, command, mono)
        return self._flush()

    def fetched(self, sha256: str, mono: int, problem: str | None) -> list[Effect]:
        """A Fetch ended. `problem`: None when the clip is held now, `Reason.HASH_MISMATCH`, or any text."""
        self._mono = mono
        tries = self._fetching.pop(sha256, 0)
        wanting = [live for live in self._lives.values() if not live.ready and live.clip.sha256 == sha256]
        if problem is None:
            for live in wanting:
                self._ready(live, mono)
        elif wanting and tries < RETRIES:
            delay = (500 << tries) + self._spread(wanting[0].play)
            self._fetch(wanting[0].clip, tries + 1, delay)
        else:
            reason = Reason.HASH_MISMATCH if problem == Reason.HASH_MISMATCH else Reason.FETCH
            for live in wanting:
                self._settle(live, State.FAILED, reason, mono, problem)
        self._pump(mono)
        return self._flush()

    def started(self, broadcast: str, mono: int) -> list[Effect]:
        """The device takes samples of the Sound that was ordered last."""
        self._mono = mono
        live = self._current
        if live is not None and live.record.broadcast == broadcast and not self._started:
            if mono >= live.deadline:
                self._quiet(live)
                self._settle(live, State.EXPIRED, "", mono)
            else:
                self._started = True
                self._last_sound = self._now(mono)
                record = live.record
                record.sounding = True
                self._fact(record, State.PLAYING, RESUMED if record.resumes else "", mono)
                self._watch = mono + int(live.clip.seconds * live.play.repeats * 1250) + SLACK_MS
        self._pump(mono)
        return self._flush()

    def finished(self, broadcast: str, mono: int) -> list[Effect]:
        """All repeats are out. True even if we just decided to cut it: then it is `played` all the same."""
        self._mono = mono
        record = self._durable.records.get(broadcast)
        if record is not None and self._heard(record):
            self._fact(record, State.PLAYED, "", mono)
            record.outcome = State.PLAYED
            record.sounding = False
            live = self._lives.pop(broadcast, None)
            if live is not None and live is self._current:
                if not self._started:  # cut, ordered again, and only now heard to have been over
                    self._quiet(live)
                self._current = None
        self._pump(mono)
        return self._flush()

    def broke(self, broadcast: str, mono: int, reason: str, detail: str = "") -> list[Effect]:
        """The Sound could not be played or went wrong: ``amplifier``, ``device``, ``decode`` …; the host
        has already fallen silent."""
        self._mono = mono
        live = self._lives.get(broadcast)
        if live is not None:
            self._settle(live, State.FAILED, reason, mono, detail)
        self._pump(mono)
        return self._flush()

    def tick(self, mono: int) -> list[Effect]:
        """To be called at `next_wake`; harmless at any time."""
        self._mono = mono
        if self._connected and self._hello_at is not None and mono >= self._hello_at:
            self._hello(mono)
        self._pump(mono)
        return self._flush()

    def next_wake(self) -> int | None:
        """mono of the next tick that is wanted, None if nothing is waiting for time to pass."""
        wakes = [] if self._hello_at is None else [self._hello_at]
        for live in self._lives.values():
            if live is self._current:
                wakes.append(self._watch if self._started else min(self._watch, live.deadline))
                continue
            wakes.append(live.deadline)
            if live.ready:
                wakes += [at for at in (live.start - LEAD_MS, live.start) if at > self._mono]
        return min(wakes, default=None)

    # --- time ---

    def _now(self, mono: int) -> int:
        """Wire time; the floor while no signed time is known."""
        if self._anchor is None:
            return self._durable.floor
        wire, at = self._anchor
        return wire + mono - at

    def _at_least(self, issued: int, mono: int) -> None:
        """A verified `issued` is a signed lower bound of now. Saved with the next thing worth saving."""
        self._durable.floor = max(self._durable.floor, issued)
        if self._anchor is not None and issued > self._now(mono):
            self._anchor = (issued, mono)

    def _hello(self, mono: int) -> None:
        if not self._nonce or mono - self._nonce_at > NONCE_MS:
            self._nonce = f"{self._random.getrandbits(128):032x}"
            self._nonce_at = mono
        durable, identity = self._durable, self._identity
        counters = {key: durable.highest[key] for key in identity.ring.keys if key in durable.highest}
        hello = Hello(
            terminal=identity.id,
            boot=self._boot,
            seq=self._next_seq(),
            nonce=self._nonce,
            floor=durable.floor,
            counters=dict(islice(counters.items(), 8)),
            holds=tuple(sorted(self._held)[:64]),
            health=msgspec.structs.replace(self.health, last_sound=self._last_sound),
        )
        self._out.append(Send(seal_report(hello, identity.id, identity.report_key)))
        self._hello_sent = mono
        self._hello_at = mono + self._jittered(self._backoff)
        self._backoff = min(2 * self._backoff, HELLO_RETRY_MAX_MS)

    def _time(self, time: Time, mono: int) -> None:
        fresh = bool(self._nonce) and mono - self._nonce_at <= NONCE_MS
        if time.terminal != self._identity.id or not fresh or time.nonce != self._nonce:
            self.ignored += 1
            return
        durable = self._durable
        first = self._anchor is None
        ours = self._now(mono)
        every = HELLO_EVERY_MS
        if time.now < ours - TOLERANCE_MS:
            # Our clock is signed too, and later: going back would revive what has expired.
            every = HELLO_DOUBT_MS
            self._out.append(
                Alarm(f"the controller's signed time is {(ours - time.now) // 1000} s behind ours; kept ours")
            )
            self._anchor = (ours, mono)
        else:
            self._anchor = (max(time.now, durable.floor), mono)
        durable.floor = max(durable.floor, time.now)
        self._dirty = True
        self._nonce = ""
        self._backoff = HELLO_RETRY_MS
        self._hello_at = mono + self._jittered(every)
        self._audio_base = time.audio_base
        if time.groups != self._groups:
            durable.groups = time.groups
            self._out.append(Subscribe(time.groups))
        if first:
            self._resume(mono)
        waiting, self._waiting = self._waiting, {}
        for opened in waiting.values():
            play = opened.command
            assert isinstance(play, Play)
            if self._targeted(play.targets) and not self._answered(opened):
                self._decide(opened, play, mono)
        self._pump(mono)

    def _jittered(self, ms: int) -> int:
        return int(ms * (0.8 + 0.4 * self._random.random()))

    # --- is it for us, do we know it ---

    @property
    def _groups(self) -> tuple[str, ...]:
        own = self._durable.groups
        return self._identity.groups if own is None else own

    def _targeted(self, targets: Targets) -> bool:
        """Both lists empty means nobody."""
        return self._identity.id in targets.terminals or any(g in targets.groups for g in self._groups)

    def _answered(self, opened: OpenedCommand) -> bool:
        """Whether this Play needs no decision, only the answer that it gets here: a repeat, a replay, or
        one of a broadcast that was stopped or is spent."""
        play = opened.command
        assert isinstance(play, Play)
        known = self._known(play.broadcast)
        seen = self._seen(opened.key_id, play.counter)
        if known is None:
            if seen:
                self._refuse_once(opened.key_id, play.broadcast, play.attempt, Reason.REPLAY)
            return seen
        if known.role != opened.role:
            if _ROLE_RANK[opened.role] < _ROLE_RANK[known.role] and not seen:
                return False
            self._out.append(
                Alarm(f"a {opened.role} command names the {known.role} broadcast {play.broadcast}")
            )
        elif isinstance(known, Record):
            if known.stopped:
                if not any(f.attempt == play.attempt and f.state == State.ACCEPTED for f in known.facts):
                    self._fact(known, State.REFUSED, Reason.STOPPED, self._mono, attempt=play.attempt)
            elif not seen and self._may_retry(known, play.attempt):
                return False
        self._touched[play.broadcast] = None
        return True

    @staticmethod
    def _may_retry(record: Record, attempt: int) -> bool:
        """Only what failed or was refused, and was never played, is tried again, by a higher attempt."""
        return (
            attempt > record.attempt
            and record.outcome in (State.FAILED, State.REFUSED)
            and not any(fact.state == State.PLAYED for fact in record.facts)
        )

    def _known(self, broadcast: str) -> Record | Spent | None:
        return self._durable.records.get(broadcast) or self._durable.spent.get(broadcast)

    def _seen(self, key: str, counter: int) -> bool:
        durable = self._durable
        return counter <= durable.low.get(key, -1) or counter in durable.accepted.get(key, ())

    def _count(self, key: str, counter: int, expires: int) -> None:
        """Accept this counter. Kept until the floor, which never goes back, has passed its expiry."""
        durable = self._durable
        durable.highest[key] = max(durable.highest.get(key, 0), counter)
        kept = {c: e for c, e in durable.accepted.get(key, {}).items() if e > durable.floor}
        kept[counter] = expires
        while len(kept) > MAX_COUNTERS:
            lowest = min(kept)
            del kept[lowest]
            durable.low[key] = max(durable.low.get(key, -1), lowest)
        durable.accepted[key] = kept
        self._dirty = True

    # --- deciding about a Play ---

    def _offer(self, opened: OpenedCommand, mono: int) -> None:
        """Decide now, or wait for the signed time without which no window can be judged."""
        play = opened.command
        assert isinstance(play, Play)
        # A drill's key does not move our clock; if it seems to come from the future, ask.
        doubtful = opened.role not in _CLOCK_ROLES and play.issued > self._now(mono) + TOLERANCE_MS
        if self._anchor is not None and not doubtful:
            self._decide(opened, play, mono)
            self._pump(mono)
            return
        self._wait(opened, play)
        if self._connected and mono - self._hello_sent >= HELLO_GAP_MS:
            self._hello(mono)

    def _wait(self, opened: OpenedCommand, play: Play) -> None:
        older = self._waiting.get(play.broadcast)
        if older is not None:
            before = older.command
            assert isinstance(before, Play)
            if _newness(opened, play) >= _newness(older, before):
                self._waiting[play.broadcast] = opened
            return
        self._waiting[play.broadcast] = opened
        if len(self._waiting) > MAX_WAITING:
            worst = max(self._waiting, key=lambda b: _urgency(self._waiting[b]))
            dropped = self._waiting.pop(worst)
            assert isinstance(dropped.command, Play)
            self._refuse_once(dropped.key_id, worst, dropped.command.attempt, Reason.DEVICE_BUSY)

    def _decide(self, opened: OpenedCommand, play: Play, mono: int) -> None:
        """Signed time is known and this Play is for us and not a repeat."""
        known = self._known(play.broadcast)
        if known is not None and known.role != opened.role:
            self._displace(play.broadcast, mono)
            known = None
        record = known if isinstance(known, Record) else None
        objection = self._objection(opened, play, mono)
        if record is None:
            if not self._make_room(_urgency(opened), mono):
                self._refuse_once(opened.key_id, play.broadcast, play.attempt, Reason.DEVICE_BUSY)
                return
            record = self._new_record(play.broadcast, opened, play.attempt, play.expires)
        record.key = opened.key_id
        record.attempt = play.attempt
        record.expires = play.expires
        record.resumes = False
        if objection is not None:
            reason, detail = objection
            record.outcome = State.REFUSED
            self._fact(record, State.REFUSED, reason, mono, detail)
            return
        self._count(opened.key_id, play.counter, play.expires)
        self._fact(record, State.ACCEPTED, "", mono)
        clip = self._choose(play)
        if clip is None:
            record.outcome = State.FAILED
            offered = " ".join(f"{c.language}/{c.codec}" for c in play.clips)
            self._fact(record, State.FAILED, Reason.NO_VARIANT, mono, offered)
            return
        record.outcome = None
        record.play = msgspec.structs.replace(play, targets=Targets(), clips=(clip,))
        self._enliven(record, record.play, mono)

    def _objection(self, opened: OpenedCommand, play: Play, mono: int) -> tuple[Reason, str] | None:
        """Why this Play may not sound, or None."""
        now = self._now(mono)
        if opened.role.value != play.role or opened.role not in self._identity.roles:
            return Reason.WRONG_ROLE, f"{play.role} by a {opened.role} key"
        if play.expires - play.issued > MAX_LIFETIME_MS:
            return Reason.LIFETIME, f"{(play.expires - play.issued) // 1000} s"
        if self._is_past(play, now):
            return Reason.EXPIRED, f"{(now - play.expires) // 1000} s ago by the signed clock"
        if max(play.not_before, play.play_at) >= play.expires:
            return Reason.WINDOW, "it would begin after it ends"
        for record in self._durable.records.values():
            superseded = record.play is not None and play.broadcast in record.play.replaces
            if superseded and record.role == opened.role and record.outcome is State.PLAYED:
                return Reason.REPLACED, record.broadcast
        return None

    @staticmethod
    def _is_past(play: Play, now: int) -> bool:
        return now >= play.expires

    def _choose(self, play: Play) -> Clip | None:
        """The first clip in the terminal's first language for which there is one that it can decode."""
        for language in self._identity.languages:
            for clip in play.clips:
                if clip.language == language and clip.codec in self._identity.codecs:
                    return clip
        return None

    def _enliven(self, record: Record, play: Play, mono: int) -> None:
        """Into the queue, with its window fixed on the monotonic clock."""
        now = self._now(mono)
        start = mono + max(play.not_before, play.play_at, now) - now
        live = _Live(record, play, start, mono + play.expires - now)
        self._lives[record.broadcast] = live
        if live.clip.sha256 in self._held:
            self._ready(live, mono)
        elif live.deadline > mono and live.clip.sha256 not in self._fetching:
            self._fetch(live.clip, 0, self._spread(play))

    def _spread(self, play: Play) -> int:
        return self._random.randrange(play.spread_ms + 1)

    def _fetch(self, clip: Clip, tries: int, delay_ms: int) -> None:
        self._fetching[clip.sha256] = tries
        url = f"{self._audio_base.rstrip('/')}/{clip.url.lstrip('/') or 'clips/' + clip.sha256}"
        self._out.append(Fetch(clip, url, delay_ms))

    def _ready(self, live: _Live, mono: int) -> None:
        live.ready = True
        self._fact(live.record, State.READY, "", mono)

    def _resume(self, mono: int) -> None:
        """After a power cut, once the signed time is known: what is unfinished and still valid starts
        again from its beginning."""
        for record in list(self._durable.records.values()):
            if record.outcome is not None or record.play is None:
                continue
            if record.sounding:
                record.sounding = False
                record.resumes = True
                self._fact(record, State.INTERRUPTED, "", mono)
            if record.key in self._identity.ring.keys:
                self._enliven(record, record.play, mono)
            else:
                record.outcome = State.FAILED
                self._fact(record, State.FAILED, Reason.UNKNOWN_KEY, mono)

    # --- stopping ---

    def _stop(self, opened: OpenedCommand, stop: Stop, mono: int) -> None:
        """Obeyed without a signed time and whatever its window: a stop is never wrong by being late."""
        durable = self._durable
        highest = max(durable.highest.get(opened.key_id, 0), stop.counter)
        self._dirty |= highest != durable.highest.get(opened.key_id)
        durable.highest[opened.key_id] = highest
        for broadcast in stop.broadcasts:
            waiting = self._waiting.get(broadcast)
            if waiting is not None and waiting.role == opened.role:
                del self._waiting[broadcast]
            known = self._known(broadcast)
            if known is not None and _ROLE_RANK[opened.role] < _ROLE_RANK[known.role]:
                self._displace(broadcast, mono)
                known = None
            if known is None:
                self._bury(broadcast, opened, stop, mono, never_had=waiting is None)
                continue
            if known.role != opened.role:
                self._out.append(Alarm(f"a {opened.role} key tried to stop the {known.role} {broadcast}"))
            elif isinstance(known, Record):
                self._cancel(known, mono)
            self._touched[broadcast] = None
        self._pump(mono)

    def _cancel(self, record: Record, mono: int) -> None:
        if not record.stopped:
            record.stopped = True
            self._dirty = True
        live = self._lives.get(record.broadcast)
        if live is not None:
            self._quiet(live)
            self._settle(live, State.CANCELLED, Reason.STOPPED, mono)
            return
        if record.outcome is not State.PLAYED:
            record.outcome = State.CANCELLED
            record.sounding = False
        if not any(fact.state == State.CANCELLED for fact in record.facts):
            self._fact(record, State.CANCELLED, Reason.STOPPED, mono)

    def _bury(self, broadcast: str, opened: OpenedCommand, stop: Stop, mono: int, *, never_had: bool) -> None:
        """A tombstone: the Play may still be on its way."""
        reason = Reason.NEVER_HAD if never_had else Reason.STOPPED
        if not self._make_room(_urgency(opened), mono):
            self._say_once(opened.key_id, broadcast, 1, State.CANCELLED, reason)
            return
        expires = min(stop.expires, stop.issued + MAX_LIFETIME_MS)
        record = self._new_record(broadcast, opened, 1, expires)
        record.stopped = True
        record.outcome = State.CANCELLED
        self._fact(record, State.CANCELLED, reason, mono)

    def _displace(self, broadcast: str, mono: int) -> None:
        """A drill's record gives way to the real broadcast of that id."""
        live = self._lives.get(broadcast)
        if live is not None:
            self._quiet(live)
            self._settle(live, State.CANCELLED, Reason.REPLACED, mono)
        self._durable.records.pop(broadcast, None)
        self._durable.spent.pop(broadcast, None)
        self._dirty = True

    # --- the loudspeaker: one sound at a time ---

    def _pump(self, mono: int) -> None:
        """Expire, replace, watch, preempt, start: whatever is due at `mono`."""
        if not self._lives:
            return
        for live in list(self._lives.values()):
            if mono >= live.deadline and not (live is self._current and self._started):
                self._quiet(live)
                self._settle(live, State.EXPIRED, "", mono)
        current = self._current
        if current is not None and mono >= self._watch:
            self._quiet(current)
            self._settle(current, State.FAILED, Reason.STUCK if self._started else Reason.NO_START, mono)
        for live in list(self._lives.values()):
            # Not before it can take over: if its clip never arrives, the older words are all there is.
            if live.play.replaces and live.ready and live.start <= mono and self._is_live(live):
                self._take_over(live, mono)
        due = [
            live
            for live in self._lives.values()
            if live.ready and live is not self._current and live.start <= mono + LEAD_MS
        ]
        if not due:
            return
        best = min(due, key=lambda live: live.order)
        current = self._current
        if current is not None:
            if best.start > mono or not self._cuts(best, current):
                return
            self._quiet(current)
            if self._started:
                current.record.sounding = False
                current.record.resumes = True
                self._fact(current.record, State.PREEMPTED, "", mono)
        self._current = best
        self._started = False
        at = max(best.start, mono)
        self._watch = at + START_MS
        play = best.play
        record = best.record
        self._out.append(Sound(record.broadcast, best.clip, play.repeats, play.volume, at, best.deadline))

    @staticmethod
    def _cuts(new: _Live, playing: _Live) -> bool:
        """Strictly more urgent cuts; equals queue."""
        return new.order[0] < playing.order[0]

    def _is_live(self, live: _Live) -> bool:
        return self._lives.get(live.record.broadcast) is live

    def _take_over(self, live: _Live, mono: int) -> None:
        for broadcast in live.play.replaces:
            old = self._lives.get(broadcast)
            if old is not None and old is not live and old.record.role == live.record.role:
                self._quiet(old)
                self._settle(old, State.CANCELLED, Reason.REPLACED, mono)

    def _quiet(self, live: _Live) -> None:
        if live is self._current:
            self._out.append(Silence(live.record.broadcast))
            self._current = None

    def _settle(self, live: _Live, state: State, reason: str, mono: int, detail: str = "") -> None:
        record = live.record
        record.outcome = state
        record.sounding = False
        self._fact(record, state, reason, mono, detail)
        del self._lives[record.broadcast]
        if live is self._current:
            self._current = None

    # --- records and facts ---

    def _new_record(self, broadcast: str, opened: OpenedCommand, attempt: int, expires: int) -> Record:
        durable = self._durable
        durable.arrivals += 1
        record = Record(broadcast, opened.role, opened.key_id, attempt, expires, durable.arrivals, [])
        durable.records[broadcast] = record
        return record

    def _make_room(self, urgency: tuple[int, ...], mono: int) -> bool:
        """For one more record: the oldest settled one goes, else a live one that is less urgent."""
        records = self._durable.records
        if len(records) < MAX_RECORDS:
            return True
        victim = next((r for r in records.values() if r.outcome is not None), None)
        if victim is None and self._lives:
            worst = max(self._lives.values(), key=lambda live: live.order)
            if worst.order[0] > urgency:
                victim = worst.record
                self._quiet(worst)
                self._settle(worst, State.FAILED, Reason.DEVICE_BUSY, mono)
        if victim is None:
            return False
        self._forget(victim)
        return True

    def _forget(self, record: Record) -> None:
        durable = self._durable
        del durable.records[record.broadcast]
        if record.expires <= durable.floor or not record.facts:
            return
        last = next((f for f in record.facts if f.state == State.PLAYED), record.facts[-1])
        spent = {b: s for b, s in durable.spent.items() if s.expires > durable.floor}
        if len(spent) >= MAX_SPENT:
            del spent[min(spent, key=lambda b: spent[b].expires)]
        spent[record.broadcast] = Spent(record.role, record.expires, last)
        durable.spent = spent

    def _fact(
        self,
        record: Record,
        state: State,
        reason: str,
        mono: int,
        detail: str = "",
        *,
        attempt: int | None = None,
    ) -> None:
        """Add to the grow-only set and report it; a fact that is there already stays as it is."""
        self._touched[record.broadcast] = None
        number = record.attempt if attempt is None else attempt
        facts = record.facts
        reason = _plain(reason, 32)
        if any(f.attempt == number and f.state == state and f.reason == reason for f in facts):
            return
        if len(facts) >= MAX_FACTS:
            del facts[next(i for i, f in enumerate(facts) if f.state != State.PLAYED)]
        facts.append(Fact(number, state.value, self._now(mono), reason, _plain(detail, MAX_DETAIL)))
        self._dirty = True

    @staticmethod
    def _heard(record: Record) -> bool:
        """Sounding in its present attempt and not yet known to be over."""
        states = {fact.state for fact in record.facts if fact.attempt == record.attempt}
        return State.PLAYING in states and State.PLAYED not in states

    # --- speaking ---

    def _not_genuine(self, payload: bytes, error: SealError, mono: int) -> None:
        """No sound and no record. Who claims to speak to us gets a refusal, so many a minute."""
        self.unverified += 1
        if mono - self._minute >= 60_000:
            self._minute = mono
            self._refusals = 0
        if self._refusals >= REFUSALS_PER_MINUTE:
            return
        claimed = claimed_command(payload)
        if not isinstance(claimed, Play | Stop) or not self._targeted(claimed.targets):
            return
        self._out.append(Alarm(f"refused a command that is not genuine: {error}"))
        for broadcast in (claimed.broadcast,) if isinstance(claimed, Play) else claimed.broadcasts:
            if self._refusals >= REFUSALS_PER_MINUTE:
                return
            self._refusals += 1
            if self._known(broadcast) is not None:
                # What we know of it is not to be blurred by a stranger.
                self._touched[broadcast] = None
            else:
                attempt = claimed.attempt if isinstance(claimed, Play) else 1
                self._refuse_once("", broadcast, attempt, error.reason)

    def _refuse_once(self, key: str, broadcast: str, attempt: int, reason: str) -> None:
        self._say_once(key, broadcast, attempt, State.REFUSED, reason)

    def _say_once(self, key: str, broadcast: str, attempt: int, state: State, reason: str) -> None:
        """A report of something that is not kept."""
        if self._connected:
            fact = Fact(attempt, state.value, self._now(self._mono), reason)
            self._out.append(Send(self._report(broadcast, (fact,), key)))

    def _report(self, broadcast: str, facts: tuple[Fact, ...], key: str) -> bytes:
        identity = self._identity
        report = Report(
            terminal=identity.id,
            broadcast=broadcast,
            boot=self._boot,
            seq=self._next_seq(),
            facts=facts,
            counter_seen=self._durable.highest.get(key, 0),
        )
        return seal_report(report, identity.id, identity.report_key)

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def _flush(self) -> list[Effect]:
        out, self._out = self._out, []
        if self._touched:
            if self._connected:
                for broadcast in self._touched:
                    known = self._known(broadcast)
                    match known:
                        case Record():
                            payload = self._report(broadcast, tuple(known.facts), known.key)
                        case Spent():
                            payload = self._report(broadcast, (known.fact,), "")
                        case None:
                            payload = self._report(broadcast, (), "")
                    out.append(Send(payload))
            else:
                self._unsent.update(self._touched)
            self._touched.clear()
        if self._dirty:
            self._dirty = False
            out.insert(0, Save())
        return out


def _urgency(opened: OpenedCommand) -> tuple[int, ...]:
    """Smaller is more urgent; comparable with `_Live.order[0]`."""
    command = opened.command
    rank = _ROLE_RANK[opened.role]
    return (rank, *command.priority[1:]) if isinstance(command, Play) else (rank,)


def _newness(opened: OpenedCommand, play: Play) -> tuple[int, int, int]:
    """Of two Plays of one broadcast the greater is kept."""
    return (-_ROLE_RANK[opened.role], play.attempt, play.counter)


def _plain(text: str, length: int) -> str:
    """Printable only, so that its encoded length is bounded."""
    return "".join(c if c.isprintable() else " " for c in text[:length])
