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
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

import msgspec

from terminals.agent.admission import (
    MAX_LIFETIME_MS,
    MAX_STANDING,
    MAX_STANDING_MS,
    may_retry,
    objection,
)
from terminals.agent.choice import Profile
from terminals.agent.choice import chosen as _chosen
from terminals.agent.choice import fitting as _fitting
from terminals.agent.clock import NONCE_MS, TOLERANCE_MS, Followed, SignedClock
from terminals.agent.effects import (
    Alarm,
    Effect,
    Fetch,
    FetchManifest,
    Save,
    Send,
    Silence,
    Sound,
    Subscribe,
)
from terminals.agent.kept import Durable, DurableError, Record, Spent, StagedSet
from terminals.agent.keys import has_lapsed, kept_ring, lacking
from terminals.agent.ledger import MAX_DETAIL, Ledger, Reason, by_hand, heard, plain, stands
from terminals.agent.loudspeaker import ROLE_RANK, SIGNAL_S, Loudspeaker, urgency
from terminals.agent.sets import Fitting, StagedSets
from terminals.agent.shelf import Shelf
from terminals.delivery import State
from terminals.model import is_simulated
from terminals.seal import (
    KeyRing,
    KeyRole,
    OpenedCommand,
    RingError,
    SealError,
    SealReason,
    claimed_command,
    open_command,
    renewed,
    seal_report,
)
from terminals.wire import (
    Fact,
    Health,
    Hello,
    Manifest,
    Play,
    Probe,
    Query,
    Report,
    Ring,
    Stage,
    Staged,
    Stop,
    Targets,
    Time,
    Upward,
)

__all__ = [
    "MAX_LIFETIME_MS",
    "MAX_STANDING",
    "MAX_STANDING_MS",
    "NONCE_MS",
    "SIGNAL_S",
    "TOLERANCE_MS",
    "Alarm",
    "Core",
    "Durable",
    "DurableError",
    "Effect",
    "Fetch",
    "FetchManifest",
    "Identity",
    "NotByHand",
    "Profile",
    "Reason",
    "Record",
    "Save",
    "Send",
    "Silence",
    "Sound",
    "Spent",
    "StagedSet",
    "Standing",
    "Subscribe",
]

PROBE_MS: Final = 2_000
"""An answer to a probe that takes longer is of no use."""
RING_HELLO_MS: Final = 5_000
"""Within this a new ring is told, so that a county does not say so at once."""
HELLO_RETRY_MS: Final = 2_000
HELLO_RETRY_MAX_MS: Final = 30_000
HELLO_EVERY_MS: Final = 900_000
"""Time and health anew; a quartz of 50 ppm drifts 45 ms meanwhile."""
HELLO_DOUBT_MS: Final = 60_000
HELLO_GAP_MS: Final = 1_000
DOUBT_GAP_MS: Final = 60_000
"""So seldom does a broker that sends it yesterday's commands make it speak."""
RETRIES: Final = 2
"""Own retries of a fetch."""
MAX_WAITING: Final = 16
REFUSALS_PER_MINUTE: Final = 10
"""Answers to what is not genuine: a flood must not use us as its amplifier."""

Chosen = Callable[[Play, Profile], Play]
_NO_MANIFESTS: Final[Mapping[str, Manifest]] = {}
_HELLO: Final = "h"
_PROBE: Final = "p"
"""First letter of a nonce: which of our questions was answered."""
_CLOCK_ROLES: Final = frozenset({KeyRole.ACTUAL, KeyRole.SERVICE})


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
    speaker: str = "horn"
    """Class of loudspeaker."""
    position: tuple[float, float] | None = None
    """Latitude and longitude, degrees; None: no countdown with a number."""
    ring_version: int = 0
    """Of the ring that came with the enrolment."""


class NotByHand(Exception):
    """A standing message may not sound now: why, for the person who pressed the button."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A message that waits for a hand."""

    broadcast: str
    event: str
    role: KeyRole
    expires: int
    """Wire ms."""
    ready: bool
    """Its clip is here; otherwise the generic sentence would sound."""


# --- the terminal ------------------------------------------------------------------------------------


class Core:
    """One terminal. `mono` is the host's monotonic clock in ms and never goes back within a boot.

    Every method returns effects to carry out in order before the next call. Nothing raises for anything
    that the world may send; what a caller gets wrong (an identity with keys of the wrong class) is a
    ValueError from the constructor.
    """

    __slots__ = (
        "_backoff",
        "_boot",
        "_chosen",
        "_clock",
        "_connected",
        "_durable",
        "_hello_at",
        "_hello_sent",
        "_identity",
        "_ledger",
        "_loudspeaker",
        "_minute",
        "_mono",
        "_open",
        "_out",
        "_probe_at",
        "_probes",
        "_random",
        "_refusals",
        "_ring",
        "_seq",
        "_shelf",
        "_unheard",
        "_waiting",
        "health",
        "ignored",
        "ring_version",
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
        manifests: Mapping[str, Manifest] = _NO_MANIFESTS,
        opener: Callable[[bytes, KeyRing], OpenedCommand] = open_command,
        fitting: Fitting = _fitting,
        chosen: Chosen = _chosen,
    ) -> None:
        """`boot`: a new id at every start. `random`: `random.SystemRandom()` on a real terminal (nonces).
        `held`: the host's own, living collection of the hashes of clips that are whole on this terminal.
        `manifests`: set id → manifest of those of `durable.sets` that the host still has; the rest is
        fetched again. `opener`, `fitting`, `chosen`: memoised where many terminals live in one process.
        """
        if identity.ring.is_sandbox != is_simulated(identity.id):
            raise ValueError(f"{identity.id}: sandbox keys belong to simulated terminals, and only there")
        self._identity = identity
        self._durable = durable
        self._boot = boot
        self._random = random
        self._open = opener
        self._chosen = chosen
        self._out: list[Effect] = []
        """Effects of the call under way, in order; one list for all parts."""
        self._clock = SignedClock()
        self._ledger = Ledger(durable, self._clock)
        profile = Profile(identity.languages, identity.codecs, identity.speaker)
        self._shelf = Shelf(
            StagedSets(durable.sets, profile, held, manifests, fitting),
            self._ledger,
            random,
            self._out,
            profile=profile,
            position=identity.position,
            held=held,
        )
        self._loudspeaker = Loudspeaker(self._ledger, self._shelf, self._out)
        self._waiting: dict[str, OpenedCommand] = {}
        """Plays that wait for the signed time."""
        self._probe_at = 0
        self._probes = 0
        """Still to be answered, the one under way with them."""
        self._connected = False
        self._unheard: dict[str, None] | None = {}
        """Broadcasts told of on a line on which the controller has not answered yet: perhaps nobody was there
        to hear it. None once it has."""
        self._hello_at: int | None = None
        self._hello_sent = 0
        self._backoff = HELLO_RETRY_MS
        self._minute = 0
        self._refusals = 0
        self._seq = 0
        self._mono = 0
        self.health = Health()
        """For the host to keep current; `last_sound` and `clock_error_ms` are filled in here."""
        self.ignored = 0
        """Genuine commands that were not for us, and Times that answered nothing of ours."""
        self.unverified = 0
        """Payloads that were not genuine."""
        self._ring, self.ring_version, wrong = kept_ring(
            identity.ring, identity.ring_version, durable, opener
        )
        """The ring that is believed, and its version."""
        if wrong:
            self._out.append(Alarm(wrong))

    # --- what happens to it ---

    def connected(self, mono: int) -> list[Effect]:
        """The way to the controller is open: subscribe, ask for the time, say what could not be said."""
        self._mono = mono
        self._connected = True
        self._unheard = self._unheard or {}
        self._clock.forget()
        self._probes = 0
        self._shelf.sets.line_is_new()
        self._backoff = HELLO_RETRY_MS
        self._out.append(Subscribe(self._groups))
        self._hello(mono)
        self._go_on_staging(mono)
        return self._flush()

    def disconnected(self, mono: int) -> list[Effect]:
        """The way is gone. What plays goes on, what is queued will play."""
        self._mono = mono
        self._connected = False
        self._hello_at = None
        self._probes = 0
        return self._flush()

    def command(self, payload: bytes, mono: int) -> list[Effect]:
        """Any bytes from the command topics."""
        self._mono = mono
        try:
            opened = self._open(payload, self._ring)
            if self._ring.until and has_lapsed(self._ring, opened.key_id, self._ledger.now(mono)):
                raise SealError(SealReason.UNKNOWN_KEY, f"the time of key {opened.key_id} is over")
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
                self._ledger.touched[command.broadcast] = None
            case Ring():
                self._take_ring(command, payload, mono)
            case Play() | Stop() | Stage() if not self._targeted(command.targets):
                self.ignored += 1
            case Stage():
                self._stage(command, mono)
            case Play():
                if not self._answered(opened):
                    self._offer(opened, mono)
            case Stop():
                self._stop(opened, command, mono)
        return self._flush()

    def fetched(self, sha256: str, mono: int, problem: str | None) -> list[Effect]:
        """A Fetch ended. `problem`: None when the clip is held now, `Reason.HASH_MISMATCH`, or any text."""
        self._mono = mono
        changed = self._shelf.sets.fetched(sha256, mono, problem)
        tries = self._shelf.fetched(sha256, problem)
        wanting = [
            live
            for live in self._loudspeaker.lives.values()
            if not live.ready
            and live.problem is None
            and live.clip is not None
            and live.clip.sha256 == sha256
        ]
        kept = self._ledger.standing_without(sha256)
        if problem is None:
            for live in wanting:
                self._loudspeaker.ready(live, mono)
            for record in kept:
                self._ready_by_hand(record, mono)
            # A countdown that has come, or a clip of the same sound.
            for live in self._loudspeaker.lives.values():
                if not live.ready and self._loudspeaker.has_message(live, mono):
                    self._loudspeaker.ready(live, mono)
        elif (wanting or kept) and tries < RETRIES:
            play = wanting[0].play if wanting else kept[0].play
            assert play is not None
            clip = play.clips[0]
            self._shelf.fetch(clip, tries + 1, (500 << tries) + self._shelf.part_of(play.spread_ms))
        else:
            reason = Reason.HASH_MISMATCH if problem == Reason.HASH_MISMATCH else Reason.FETCH
            for live in wanting:
                self._loudspeaker.lacks(live, reason, mono, problem)
            for record in kept:
                record.outcome = State.FAILED
                self._ledger.fact(record, State.FAILED, reason, mono, problem)
        for name in changed:
            self._say_staged(name)
        self._go_on_staging(mono)
        self._loudspeaker.pump(mono)
        return self._flush()

    def manifest(self, name: str, mono: int, manifest: Manifest | None, problem: str | None) -> list[Effect]:
        """A FetchManifest of the set `name` ended. `problem`: None when `manifest` is that of its hash."""
        self._mono = mono
        self._shelf.sets.manifest(name, mono, manifest, problem)
        self._say_staged(name)
        self._go_on_staging(mono)
        return self._flush()

    def started(self, broadcast: str, mono: int) -> list[Effect]:
        """The device takes samples of the Sound that was ordered last."""
        self._mono = mono
        self._loudspeaker.started(broadcast, mono)
        self._loudspeaker.pump(mono)
        return self._flush()

    def finished(self, broadcast: str, mono: int) -> list[Effect]:
        """All repeats of the Sound are out. True even if we just decided to cut it: then what it was the rest
        of is `played` all the same."""
        self._mono = mono
        self._loudspeaker.finished(broadcast, mono)
        self._loudspeaker.pump(mono)
        return self._flush()

    def broke(self, broadcast: str, mono: int, reason: str, detail: str = "") -> list[Effect]:
        """The Sound could not be played or went wrong: ``amplifier``, ``device``, ``decode`` …; the host
        has already fallen silent."""
        self._mono = mono
        self._loudspeaker.broke(broadcast, mono, reason, detail)
        self._loudspeaker.pump(mono)
        return self._flush()

    def by_hand(self, broadcast: str, mono: int) -> list[Effect]:
        """A hand at the terminal sounds this standing message now. Raises NotByHand if it may not."""
        self._mono = mono
        record = self._durable.records.get(broadcast)
        if record is None or record.play is None or not record.play.standing:
            raise NotByHand(f"{broadcast} is no standing message of this terminal")
        now = self._ledger.now(mono)
        if record.outcome is not None or record.stopped:
            raise NotByHand(f"{broadcast} is {record.outcome or State.CANCELLED}: it may not sound any more")
        if now >= record.play.expires:
            raise NotByHand(f"{broadcast} has expired")
        if record.key not in self._ring.keys:
            raise NotByHand(f"{broadcast} was sealed by the key {record.key}, which is not believed any more")
        if broadcast in self._loudspeaker.lives:
            raise NotByHand(f"{broadcast} is on already")
        play = msgspec.structs.replace(record.play, not_before=0, play_at=0, patience_ms=0)
        self._loudspeaker.sound_by_hand(record, play, mono)
        self._out.append(Alarm(f"{broadcast} is sounded by hand, for the {record.hand}. time"))
        self._loudspeaker.pump(mono)
        return self._flush()

    def silence_by_hand(self, broadcast: str, mono: int) -> list[Effect]:
        """The hand stops what a hand has started, and nothing else; harmless when nothing sounds."""
        self._mono = mono
        live = self._loudspeaker.lives.get(broadcast)
        if live is not None and live.hand:
            self._loudspeaker.give_up(live, State.PREEMPTED, by_hand(live.record), mono)
            self._loudspeaker.pump(mono)
        return self._flush()

    def tick(self, mono: int) -> list[Effect]:
        """To be called at `next_wake`; harmless at any time."""
        self._mono = mono
        if self._connected and self._hello_at is not None and mono >= self._hello_at:
            self._hello(mono)
        if self._probes and mono >= self._probe_at:
            self._probe_is_over(mono)
        retry = self._shelf.sets.next_try()
        if retry is not None and mono >= retry:
            self._go_on_staging(mono)
        self._loudspeaker.pump(mono)
        return self._flush()

    def next_wake(self) -> int | None:
        """mono of the next tick that is wanted, None if nothing is waiting for time to pass."""
        wake = self._loudspeaker.next_wake(self._mono)
        for at in (self._hello_at, self._probe_at if self._probes else None, self._shelf.sets.next_try()):
            if at is not None and (wake is None or at < wake):
                wake = at
        return wake

    # --- what may be asked of it ---

    def now(self, mono: int) -> int | None:
        """Wire time, ms; None before the first signed time of this boot."""
        return self._clock.now(mono)

    def clock_error_ms(self, mono: int) -> int | None:
        """How far `now` may be off it; None like `now`."""
        return self._clock.error_ms(mono)

    def standing(self, mono: int) -> tuple[Standing, ...]:
        """The messages that a hand may sound now, the oldest first."""
        now = self._ledger.now(mono)
        return tuple(
            Standing(r.broadcast, r.play.event, r.role, r.expires, self._shelf.is_here(r.play.clips))
            for r in self._durable.records.values()
            if r.play is not None and r.play.standing and r.outcome is None and r.expires > now
        )

    def pinned(self) -> set[str]:
        """Hashes of clips and manifests that the host must keep."""
        unfinished = (r for r in self._durable.records.values() if r.outcome is None and r.play is not None)
        clips = (clip for r in unfinished if r.play is not None for clip in r.play.clips)
        return self._shelf.sets.pinned().union(clip.sha256 for clip in clips)

    def sets(self) -> dict[str, tuple[int, int]]:
        """Staged set → (wanted, held) clips."""
        return {name: self._shelf.sets.counts(name) for name in self._durable.sets}

    # --- time ---

    def _at_least(self, issued: int, mono: int) -> None:
        """A verified `issued` is a signed lower bound of now. Saved with the next thing worth saving."""
        self._durable.floor = max(self._durable.floor, issued)
        self._clock.at_least(issued, mono)

    def _ask(self, mono: int, kind: str) -> str:
        nonce = f"{kind}{self._random.getrandbits(128):032x}"
        self._clock.ask(nonce, mono)
        return nonce

    def _hello(self, mono: int) -> None:
        self._tidy(mono)
        durable, identity = self._durable, self._identity
        counters = {key: durable.highest[key] for key in self._ring.keys if key in durable.highest}
        hello = Hello(
            terminal=identity.id,
            boot=self._boot,
            seq=self._next_seq(),
            nonce=self._ask(mono, _HELLO),
            floor=durable.floor,
            counters=dict(islice(counters.items(), 8)),
            holds=tuple(sorted(self._shelf.held)[:64]),
            health=msgspec.structs.replace(
                self.health,
                last_sound=self._loudspeaker.last_sound,
                clock_error_ms=self._clock.error_ms(mono),
            ),
            ring=self.ring_version,
            sets=self._shelf.sets.missing(),
        )
        self._say(hello)
        self._hello_sent = mono
        self._hello_at = mono + self._jittered(self._backoff)
        self._backoff = min(2 * self._backoff, HELLO_RETRY_MAX_MS)

    def _probe(self, mono: int) -> None:
        """One question after the other, so that none waits behind another."""
        self._probe_at = mono + PROBE_MS
        self._say(Probe(self._identity.id, self._ask(mono, _PROBE)))

    def _probe_is_over(self, mono: int) -> None:
        self._probes -= 1
        if self._probes:
            self._probe(mono)

    def _time(self, time: Time, mono: int) -> None:
        if time.terminal != self._identity.id:
            self.ignored += 1
            return
        sent = self._clock.answered(time.nonce, mono)
        if sent is None:
            self.ignored += 1
            return
        durable = self._durable
        ours = self._ledger.now(mono)
        followed = self._clock.hear(time.now, sent, mono, durable.floor)
        durable.floor = max(durable.floor, time.now)
        if time.nonce.startswith(_PROBE):
            if self._probes and mono < self._probe_at:
                self._probe_is_over(mono)
            self._loudspeaker.pump(mono)
            return
        if self._unheard is not None:
            self._ledger.touched.update(self._unheard)
            self._unheard = None
        every = HELLO_EVERY_MS
        if followed is Followed.BEHIND:
            # Our clock is signed too, and later: going back would revive what has expired.
            every = HELLO_DOUBT_MS
            self._out.append(
                Alarm(f"the controller's signed time is {(ours - time.now) // 1000} s behind ours; kept ours")
            )
        self._ledger.dirty = True
        self._backoff = HELLO_RETRY_MS
        self._hello_at = mono + self._jittered(every)
        self._shelf.audio_base = time.audio_base
        if time.groups != self._groups:
            durable.groups = time.groups
            self._out.append(Subscribe(time.groups))
        if followed is Followed.FIRST:
            self._resume(mono)
        waiting, self._waiting = self._waiting, {}
        for opened in waiting.values():
            play = opened.command
            assert isinstance(play, Play)
            if self._targeted(play.targets) and not self._answered(opened):
                self._decide(opened, play, mono)
        if time.probes and self._connected:
            self._probes = time.probes
            self._probe(mono)
        self._go_on_staging(mono)
        self._loudspeaker.pump(mono)

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
        known = self._ledger.known(play.broadcast)
        seen = self._ledger.seen(opened.key_id, play.counter)
        if known is None:
            if seen:
                self._refuse_once(opened.key_id, play.broadcast, play.attempt, Reason.REPLAY)
            return seen
        if known.role != opened.role:
            if ROLE_RANK[opened.role] < ROLE_RANK[known.role] and not seen:
                return False
            self._out.append(
                Alarm(f"a {opened.role} command names the {known.role} broadcast {play.broadcast}")
            )
        elif isinstance(known, Record):
            if known.stopped:
                if not any(f.attempt == play.attempt and f.state == State.ACCEPTED for f in known.facts):
                    self._ledger.fact(known, State.REFUSED, Reason.STOPPED, self._mono, attempt=play.attempt)
            elif not seen:
                live = self._loudspeaker.lives.get(known.broadcast)
                lacks_message = live is not None and live.problem is not None
                if may_retry(known, play.attempt, lacks_message=lacks_message):
                    return False
        self._ledger.touched[play.broadcast] = None
        return True

    # --- deciding about a Play ---

    def _offer(self, opened: OpenedCommand, mono: int) -> None:
        """Decide now, or wait for the signed time without which no window can be judged."""
        play = opened.command
        assert isinstance(play, Play)
        # A drill's key does not move our clock; if it seems to come from the future, ask.
        doubtful = opened.role not in _CLOCK_ROLES and play.issued > self._ledger.now(mono) + TOLERANCE_MS
        if self._clock.is_known and not doubtful:
            self._decide(opened, play, mono)
            self._loudspeaker.pump(mono)
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
        known = self._ledger.known(play.broadcast)
        if known is not None and known.role != opened.role:
            self._displace(play.broadcast, mono)
            known = None
        record = known if isinstance(known, Record) else None
        problem = objection(
            opened,
            play,
            self._ledger.now(mono),
            kinds=self._identity.roles,
            ring=self._ring,
            records=self._durable.records,
        )
        if record is None:
            if not self._make_room(_urgency(opened), mono):
                self._refuse_once(opened.key_id, play.broadcast, play.attempt, Reason.DEVICE_BUSY)
                return
            record = self._ledger.new(play.broadcast, opened, play.attempt, play.expires)
        if problem is not None:
            reason, detail = problem
            if play.broadcast not in self._loudspeaker.lives:
                record.outcome = State.REFUSED
                record.key, record.attempt, record.expires = opened.key_id, play.attempt, play.expires
            self._ledger.fact(record, State.REFUSED, reason, mono, detail, attempt=play.attempt)
            if reason is Reason.EXPIRED and self._connected and mono - self._hello_sent >= DOUBT_GAP_MS:
                self._hello(mono)  # an old word, or a controller whose clock went back: it is to know ours
            return
        record.key, record.attempt, record.expires = opened.key_id, play.attempt, play.expires
        record.resumes = False
        self._ledger.accept(opened.key_id, play.counter, play.expires)
        self._ledger.fact(record, State.ACCEPTED, "", mono)
        record.outcome = None
        record.play = self._chosen(play, self._shelf.profile)
        if not record.play.clips and self._shelf.count(play, mono) is None:
            offered = " ".join(f"{c.language}/{c.codec}" for c in play.clips)
            self._no_variant(record, record.play, mono, offered or "nothing")
        elif play.standing:
            self._keep_standing(record, record.play, mono)
        else:
            self._enliven(record, record.play, mono)

    def _no_variant(self, record: Record, play: Play, mono: int, offered: str) -> None:
        """Nothing that this terminal can play: the generic sentence is all there is."""
        if play.standing:
            record.outcome = State.FAILED
            self._ledger.fact(record, State.FAILED, Reason.NO_VARIANT, mono, offered)
        else:
            live = self._loudspeaker.enter(record, play, mono)
            self._loudspeaker.lacks(live, Reason.NO_VARIANT, mono, offered)

    def _enliven(self, record: Record, play: Play, mono: int) -> None:
        """Into the queue, and its clip on the way."""
        live = self._loudspeaker.enter(record, play, mono)
        if self._loudspeaker.has_message(live, mono):
            self._loudspeaker.ready(live, mono)
        elif live.clip is None:
            self._loudspeaker.lacks(live, Reason.NO_VARIANT, mono, "")
        elif live.deadline > mono:
            self._shelf.seek(live.clip, play)

    def _resume(self, mono: int) -> None:
        """After a power cut, once the signed time is known: what is unfinished and still valid starts
        again from its beginning; a standing message waits for its hand again."""
        for record in list(self._durable.records.values()):
            if (
                record.outcome is not None
                or record.play is None
                or record.broadcast in self._loudspeaker.lives
            ):
                continue
            record.completes = False
            if record.sounding:
                record.sounding = False
                record.resumes = not record.play.standing
                self._ledger.fact(record, State.INTERRUPTED, heard(record), mono)
            if record.key not in self._ring.keys:
                record.outcome = State.FAILED
                self._ledger.fact(record, State.FAILED, Reason.UNKNOWN_KEY, mono)
            elif record.play.standing:
                self._keep_standing(record, record.play, mono)
            else:
                self._enliven(record, record.play, mono)

    # --- standing messages ---

    def _keep_standing(self, record: Record, play: Play, mono: int) -> None:
        """Its clip here, and no sound."""
        if self._shelf.is_here(play.clips):
            self._ready_by_hand(record, mono)
        else:
            self._shelf.seek(play.clips[0], play)

    def _ready_by_hand(self, record: Record, mono: int) -> None:
        self._ledger.fact(record, State.READY, "", mono)
        assert record.play is not None
        for broadcast in record.play.replaces:
            old = self._durable.records.get(broadcast)
            if old is not None and old is not record and old.role == record.role and stands(old):
                live = self._loudspeaker.lives.get(broadcast)
                if live is None:
                    old.outcome = State.CANCELLED
                    self._ledger.fact(old, State.CANCELLED, Reason.REPLACED, mono)
                else:
                    self._loudspeaker.give_up(live, State.CANCELLED, Reason.REPLACED, mono)

    def _tidy(self, mono: int) -> None:
        """What has expired without anybody looking."""
        now = self._ledger.now(mono)
        self._ledger.dirty |= self._shelf.sets.tidy(now)
        for record in self._durable.records.values():
            if record.expires <= now and stands(record) and record.broadcast not in self._loudspeaker.lives:
                record.outcome = State.EXPIRED
                self._ledger.fact(record, State.EXPIRED, "", mono)

    # --- staged sets ---

    def _stage(self, stage: Stage, mono: int) -> None:
        """Makes no sound, so a repeat needs no counter; it is answered like everything that is for us."""
        if stage.expires <= stage.issued:
            self._ledger.dirty |= self._shelf.sets.withdraw(stage)
            self._say_staged(stage.set)
            return
        problem = self._shelf.sets.objection(stage, self._ledger.now(mono))
        if problem:
            self._say_staged(stage.set, problem)
            return
        self._ledger.dirty |= self._shelf.sets.take(stage)
        self._say_staged(stage.set)
        self._go_on_staging(mono)

    def _go_on_staging(self, mono: int) -> None:
        """The clips' address comes with the signed time; without it there is nothing to fetch from."""
        if self._connected and self._clock.is_known:
            self._shelf.go_on_staging(mono)

    def _say_staged(self, name: str, problem: str = "") -> None:
        if self._connected:
            wanted, held = self._shelf.sets.counts(name)
            text = plain(problem or self._shelf.sets.problems.get(name, ""), MAX_DETAIL)
            self._say(Staged(self._identity.id, self._boot, self._next_seq(), name, wanted, held, text))

    # --- the keys ---

    def _take_ring(self, ring: Ring, payload: bytes, mono: int) -> None:
        """New keys for old, durably; what a revoked key has said falls silent."""
        if ring.county != self._identity.county or ring.version <= self.ring_version:
            self.ignored += 1
            return
        try:
            keys = renewed(self._identity.ring, payload[payload.index(b"\n") + 1 :])
        except RingError as error:
            self._out.append(Alarm(f"ring {ring.version} is not taken: {error}"))
            return
        if role := lacking(keys, self._identity.roles, self._ledger.now(mono)):
            self._out.append(
                Alarm(f"ring {ring.version} is not taken: it leaves this terminal no {role} key")
            )
            return
        durable = self._durable
        durable.ring, durable.ring_version = payload.decode("latin-1"), ring.version
        self.ring_version, self._ring = ring.version, keys
        self._ledger.dirty = True
        self._out.append(Alarm(f"ring {ring.version} is taken: {', '.join(sorted(keys.keys))}"))
        self._revoke(mono)
        if self._connected:
            soon = mono + 1 + self._shelf.part_of(RING_HELLO_MS)
            self._hello_at = soon if self._hello_at is None else min(self._hello_at, soon)
        self._loudspeaker.pump(mono)

    def _revoke(self, mono: int) -> None:
        """Unfinished commands of keys that are not believed any more."""
        known = self._ring.keys
        for live in list(self._loudspeaker.lives.values()):
            if live.record.key not in known:
                self._loudspeaker.give_up(live, State.FAILED, Reason.UNKNOWN_KEY, mono)
        for record in self._durable.records.values():
            if record.key not in known and record.outcome is None:
                record.outcome = State.FAILED
                self._ledger.fact(record, State.FAILED, Reason.UNKNOWN_KEY, mono)
        for broadcast, opened in list(self._waiting.items()):
            if opened.key_id not in known:
                del self._waiting[broadcast]
                command = opened.command
                attempt = command.attempt if isinstance(command, Play) else 1
                self._refuse_once(opened.key_id, broadcast, attempt, Reason.UNKNOWN_KEY)
        self._ledger.forget_keys(self._ring)

    # --- stopping ---

    def _stop(self, opened: OpenedCommand, stop: Stop, mono: int) -> None:
        """Obeyed without a signed time and whatever its window: a stop is never wrong by being late."""
        self._ledger.heard_of(opened.key_id, stop.counter)
        for broadcast in stop.broadcasts:
            waiting = self._waiting.get(broadcast)
            if waiting is not None and waiting.role == opened.role:
                del self._waiting[broadcast]
            known = self._ledger.known(broadcast)
            if known is not None and ROLE_RANK[opened.role] < ROLE_RANK[known.role]:
                self._displace(broadcast, mono)
                known = None
            if known is None:
                self._bury(broadcast, opened, stop, mono, never_had=waiting is None)
                continue
            if known.role != opened.role:
                self._out.append(Alarm(f"a {opened.role} key tried to stop the {known.role} {broadcast}"))
            elif isinstance(known, Record):
                self._cancel(known, mono)
            self._ledger.touched[broadcast] = None
        self._loudspeaker.pump(mono)

    def _cancel(self, record: Record, mono: int) -> None:
        if not record.stopped:
            record.stopped = True
            self._ledger.dirty = True
        live = self._loudspeaker.lives.get(record.broadcast)
        if live is not None:
            self._loudspeaker.give_up(live, State.CANCELLED, Reason.STOPPED, mono)
            return
        if record.outcome is not State.PLAYED:
            record.outcome = State.CANCELLED
            record.sounding = False
        if not any(fact.state == State.CANCELLED for fact in record.facts):
            self._ledger.fact(record, State.CANCELLED, Reason.STOPPED, mono)

    def _bury(self, broadcast: str, opened: OpenedCommand, stop: Stop, mono: int, *, never_had: bool) -> None:
        """A tombstone: the Play may still be on its way."""
        reason = Reason.NEVER_HAD if never_had else Reason.STOPPED
        if not self._make_room(_urgency(opened), mono):
            self._say_once(opened.key_id, broadcast, 1, State.CANCELLED, reason)
            return
        expires = min(stop.expires, stop.issued + MAX_STANDING_MS)
        record = self._ledger.new(broadcast, opened, 1, expires)
        record.stopped = True
        record.outcome = State.CANCELLED
        self._ledger.fact(record, State.CANCELLED, reason, mono)

    def _displace(self, broadcast: str, mono: int) -> None:
        """A drill's record gives way to the real broadcast of that id."""
        live = self._loudspeaker.lives.get(broadcast)
        if live is not None:
            self._loudspeaker.give_up(live, State.CANCELLED, Reason.REPLACED, mono)
        self._ledger.drop(broadcast)

    def _make_room(self, urgency: tuple[int, ...], mono: int) -> bool:
        """For one more record: the oldest settled one goes, else a live one that is less urgent."""
        if not self._ledger.is_full():
            return True
        victim = self._ledger.oldest_settled()
        lives = self._loudspeaker.lives
        if victim is None and lives:
            worst = max(lives.values(), key=lambda live: live.order)
            if worst.order[0] > urgency:
                victim = worst.record
                self._loudspeaker.give_up(worst, State.FAILED, Reason.DEVICE_BUSY, mono)
        if victim is None:
            return False
        self._ledger.forget(victim)
        return True

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
            if self._ledger.known(broadcast) is not None:
                # What we know of it is not to be blurred by a stranger.
                self._ledger.touched[broadcast] = None
            else:
                attempt = claimed.attempt if isinstance(claimed, Play) else 1
                self._refuse_once("", broadcast, attempt, error.reason)

    def _refuse_once(self, key: str, broadcast: str, attempt: int, reason: str) -> None:
        self._say_once(key, broadcast, attempt, State.REFUSED, reason)

    def _say_once(self, key: str, broadcast: str, attempt: int, state: State, reason: str) -> None:
        """A report of something that is not kept."""
        if self._connected:
            fact = Fact(attempt, state.value, self._ledger.now(self._mono), reason)
            self._out.append(Send(self._report(broadcast, (fact,), key)))

    def _say(self, upward: Upward) -> None:
        identity = self._identity
        self._out.append(Send(seal_report(upward, identity.id, identity.report_key)))

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
        """All effects of this call; reports last, and only while there is a line, the Save first."""
        out = self._out[:]
        self._out.clear()
        ledger = self._ledger
        if ledger.touched and self._connected:
            for broadcast in ledger.touched:
                match known := ledger.known(broadcast):
                    case Record():
                        payload = self._report(broadcast, tuple(known.facts), known.key)
                    case Spent():
                        payload = self._report(broadcast, (known.fact,), "")
                    case None:
                        payload = self._report(broadcast, (), "")
                out.append(Send(payload))
            if self._unheard is not None:
                self._unheard.update(ledger.touched)
            ledger.touched.clear()
        if ledger.dirty:
            ledger.dirty = False
            out.insert(0, Save())
        return out


def _urgency(opened: OpenedCommand) -> tuple[int, ...]:
    """Smaller is more urgent; comparable with `Live.order[0]`."""
    command = opened.command
    return urgency(opened.role, command) if isinstance(command, Play) else (ROLE_RANK[opened.role],)


def _newness(opened: OpenedCommand, play: Play) -> tuple[int, int, int]:
    """Of two Plays of one broadcast the greater is kept."""
    return (-ROLE_RANK[opened.role], play.attempt, play.counter)
