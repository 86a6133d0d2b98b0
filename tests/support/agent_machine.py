"""A terminal among hostile circumstances: commands repeated, reordered, lost and forged, power cuts between
any two effects, a controller whose own clock jumps by a day, clips and sets that come late, broken or
never, a hand at the button. What must hold whatever happens is asserted where it would break: when a sound
is ordered or started, and when a command goes unanswered."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from hashlib import sha256

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from support.terminal import (
    ACTUAL,
    HOUR,
    ME,
    ROOT,
    SECRET,
    SERVICE,
    SIGNERS,
    STRANGER,
    clip,
    identity,
    ring_of,
    staged_clip,
)
from terminals.agent.choice import seconds_left
from terminals.agent.core import (
    MAX_LIFETIME_MS,
    MAX_STANDING_MS,
    NONCE_MS,
    Core,
    Durable,
    Effect,
    Fetch,
    FetchManifest,
    NotByHand,
    Save,
    Send,
    Silence,
    Sound,
)
from terminals.agent.ledger import stands
from terminals.seal import KeyRole, open_report, report_key
from terminals.wire import (
    Command,
    Hello,
    Manifest,
    Play,
    Probe,
    Quake,
    Query,
    Report,
    Stage,
    Staged,
    Stop,
    Targets,
    Time,
    encode_manifest,
    set_id,
)

DAY = 24 * HOUR
KEY = report_key(SECRET, ME)
NAMES = ("b1", "b2", "b3")
ROLES = ("actual", "exercise", "test")
OURS = Targets(groups=("v1",))
THEIRS = Targets(groups=("v2",), terminals=("t-0002",))
CRASH = st.sampled_from([None] * 12 + [0, 1, 2, 3])
"""After how many effects the power goes; mostly it does not."""
PLACE = (30.66, 104.06)
GENERIC = 1_000_000
"""Clips from here on are generic sentences, one for each role; from COUNT on countdowns of COUNT + n."""
COUNT = 2_000_000
MANIFEST = Manifest(
    (
        *(staged_clip(f"floor/{role}/*/first", GENERIC + n) for n, role in enumerate(ROLES)),
        *(staged_clip(f"quake/{n}", COUNT + n) for n in (3, 5, 8, 12, 20)),
        staged_clip("quake/-", COUNT),
    )
)
BYTES = encode_manifest(MANIFEST)
DIGEST = sha256(BYTES).hexdigest()
SET = set_id(DIGEST)


@dataclass
class Issued:
    """A genuine command: what it says, and the real time at which it was sealed."""

    command: Command
    envelope: bytes
    real: int
    jumps: int


@dataclass
class Heard:
    """What one call's effects told the controller, as far as they were carried out."""

    reports: list[Report] = field(default_factory=list)
    staged: bool = False
    crashed: bool = False

    def about(self, broadcast: str) -> bool:
        return any(r.broadcast == broadcast for r in self.reports)


def is_message(sound: Sound) -> bool:
    """Not a stand-in."""
    return sound.clip is not None and not GENERIC <= int(sound.clip.sha256, 16) < COUNT


class TerminalMachine(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 1000), staged=st.sampled_from([True, True, False]))
    def power_on(self, seed: int, staged: bool) -> None:
        self.random = random.Random(seed)
        self.real = 1_000_000  # the one true clock, ms
        self.clock_error = 1_800_000_000_000  # the controller's own clock is this far off it
        self.signed = (self.real + self.clock_error, self.real)  # latest wire time signed, and when
        self.issued: list[Issued] = []
        self.counter = 0
        self.disk = Durable().to_bytes()
        self.held: set[str] = set()
        self.played: set[tuple[str, str]] = set()  # (role, broadcast): known to the disk or the controller
        self.stopped: set[tuple[str, str]] = set()
        self.named: set[str] = set()  # broadcasts that any genuine command to us has named
        self.times: list[tuple[bytes, int]] = []
        self.manifests: dict[str, Manifest] = {}
        self.hands: set[str] = set()  # pressed, and not yet over
        self.jumps = 0
        self.rings: list[bytes] = []
        self.ring = 0  # the highest version that the terminal has safe
        self.boots = 0
        self.boot()
        self.connect(True, None)
        if staged:  # otherwise a stand-in or a countdown would hardly ever sound
            self.issue_stage(300, OURS, None)
            self.manifest_ends(None, None)
            while self.fetching:
                self.fetch_ends(None, None)

    def boot(self) -> None:
        self.boots += 1
        self.zero = self.real - self.random.randrange(10_000)
        self.core = Core(
            identity(position=PLACE),
            Durable.from_bytes(self.disk),
            boot=f"b{self.boots}",
            random=self.random,
            held=self.held,
            manifests=self.manifests,
        )
        assert self.core.ring_version >= self.ring, "an older ring came back"
        self.hands.clear()
        self.probe: Probe | None = None
        self.manifesting = False
        self.speaker: Sound | None = None
        self.started = False
        self.connected = False
        self.synced = False
        self.hello: Hello | None = None
        self.fetching: list[str] = []
        self.owed: set[str] = set()

    # --- the controller ---

    @property
    def mono(self) -> int:
        return self.real - self.zero

    def wire(self) -> int:
        """The signed clock never goes back, whatever the controller's own clock does, and never stands."""
        last, at = self.signed
        self.signed = (max(self.real + self.clock_error, last + self.real - at), self.real)
        return self.signed[0]

    def seal(self, command: Command) -> None:
        role = command.role if isinstance(command, Play | Stop) else "service"
        self.issued.append(Issued(command, SIGNERS[KeyRole(role)].seal(command), self.real, self.jumps))

    @rule(
        broadcast=st.sampled_from(NAMES),
        role=st.sampled_from(ROLES),
        attempt=st.integers(1, 3),
        lifetime=st.sampled_from([5_000, 60_000, HOUR, 23 * HOUR, 25 * HOUR]),
        later=st.sampled_from([0, 0, 0, 3_000, 30_000]),
        colour=st.integers(1, 3),
        whom=st.sampled_from([OURS, OURS, OURS, THEIRS]),
        replaces=st.sampled_from([(), (), ("b1",), ("b2", "b3")]),
        hold=st.sampled_from([True, True, True, False]),
        goes=st.sampled_from(["lost", "sent", "sent", "started", "started", "finished"]),
        patience=st.sampled_from([0, 2_000, 20_000]),
        special=st.sampled_from(["", "", "", "", "standing", "quake", "quake", "nothing fits"]),
    )
    def issue_play(
        self,
        broadcast: str,
        role: str,
        attempt: int,
        lifetime: int,
        later: int,
        colour: int,
        whom: Targets,
        replaces: tuple[str, ...],
        hold: bool,
        goes: str,
        patience: int,
        special: str,
    ) -> None:
        if special == "quake":  # else too few ever count down for their rule to be tried
            role, whom, later, lifetime, goes = "actual", OURS, 0, 60_000, "started"
        now = self.wire()
        self.counter = max(self.counter + 1, now)
        number = len(self.issued)  # every Play has a clip of its own, which tells the sounds apart
        if hold:
            self.held.add(f"{number:064x}")
        self.seal(
            Play(
                broadcast=broadcast,
                event="e",
                role=role,
                attempt=attempt,
                counter=self.counter,
                issued=now,
                not_before=now + later,
                expires=now + lifetime,
                priority=(0, 1, colour, 4),
                targets=whom,
                clips=(clip(number, "ug" if special == "nothing fits" else "zh", seconds=5),),
                repeats=2 if special == "quake" else 1,
                volume=50,
                replaces=tuple(r for r in replaces if r != broadcast),
                spread_ms=1000,
                patience_ms=patience,
                quake=Quake(now - 5_000, 31.0, 103.4, 14.0, 7.0, SET) if special == "quake" else None,
                standing=special == "standing",
            )
        )
        if goes != "lost" and self.connected:
            self.deliver(-1, None)
        if goes in ("started", "finished") and self.speaker is not None:
            self.device_goes_on(None)
        if goes == "finished" and self.started:
            self.device_goes_on(None)

    @rule(
        broadcasts=st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True).map(tuple),
        role=st.sampled_from(ROLES),
        whom=st.sampled_from([OURS, OURS, THEIRS]),
        aimed=st.booleans(),
        crash=CRASH,
    )
    def issue_stop(
        self, broadcasts: tuple[str, ...], role: str, whom: Targets, aimed: bool, crash: int | None
    ) -> None:
        if aimed and self.speaker is not None:
            playing = self.play_of(self.speaker)
            broadcasts, role, whom = (playing.broadcast,), playing.role, OURS
        now = self.wire()
        self.counter = max(self.counter + 1, now)
        self.seal(Stop(broadcasts, role, self.counter, now, now + HOUR, whom))
        self.deliver(-1, crash)

    @rule(broadcast=st.sampled_from(NAMES))
    def issue_query(self, broadcast: str) -> None:
        self.seal(Query(broadcast, self.wire()))
        self.deliver(-1, None)

    @rule(days=st.sampled_from([-1, 1]))
    def controllers_clock_jumps(self, days: int) -> None:
        self.clock_error += days * DAY
        self.jumps += 1

    @precondition(lambda self: self.connected)
    @rule(days=st.sampled_from([1, 300]), whom=st.sampled_from([OURS, OURS, THEIRS]), crash=CRASH)
    def issue_stage(self, days: int, whom: Targets, crash: int | None) -> None:
        now = self.wire()
        stage = Stage(SET, DIGEST, len(BYTES), "", now, now + days * DAY, whom)
        heard = self.carry_out(self.core.command(SERVICE.seal(stage), self.mono), crash)
        if not heard.crashed:
            assert heard.staged == (whom is OURS), "what is for us is answered"

    @precondition(lambda self: self.connected)
    @rule(which=st.integers(-3, 0), crash=CRASH)
    def give_ring(self, which: int, crash: int | None) -> None:
        """A new version of the same keys, or an old one once more."""
        if which == 0 or not self.rings:
            self.rings.append(ROOT.seal(ring_of(SIGNERS.values(), len(self.rings) + 1, self.wire())))
            which = -1
        before = self.core.ring_version
        heard = self.carry_out(self.core.command(self.rings[max(which, -len(self.rings))], self.mono), crash)
        assert self.core.ring_version >= before or heard.crashed
        if not heard.crashed:
            self.ring = self.core.ring_version

    @rule(broadcast=st.sampled_from(NAMES), crash=CRASH)
    def press(self, broadcast: str, crash: int | None) -> None:
        try:
            self.hands.add(broadcast)
            effects = self.core.by_hand(broadcast, self.mono)
        except NotByHand:
            if broadcast not in self.core._loudspeaker.lives:
                self.hands.discard(broadcast)
            return
        self.carry_out(effects, crash)

    @precondition(lambda self: self.manifesting)
    @rule(problem=st.sampled_from([None, None, "hash-mismatch"]), crash=CRASH)
    def manifest_ends(self, problem: str | None, crash: int | None) -> None:
        self.manifesting = False
        if problem is None:
            self.manifests[SET] = MANIFEST
        manifest = MANIFEST if problem is None else None
        self.carry_out(self.core.manifest(SET, self.mono, manifest, problem), crash)

    @precondition(lambda self: self.connected and self.probe is not None)
    @rule()
    def answer_probe(self) -> None:
        assert self.probe is not None
        time = Time(ME, self.probe.nonce, self.wire(), ("v1",), "http://a")
        self.carry_out(self.core.command(SERVICE.seal(time), self.mono), None)

    @precondition(lambda self: self.connected and self.hello is not None)
    @rule(promptly=st.booleans(), crash=CRASH, probes=st.sampled_from([0, 0, 2]))
    def answer_hello(self, promptly: bool, crash: int | None, probes: int = 0) -> None:
        assert self.hello is not None
        if self.hello.floor > self.wire():
            self.signed = (self.hello.floor, self.real)
        time = Time(ME, self.hello.nonce, self.wire(), ("v1",), "http://a", probes)
        self.times.append((SERVICE.seal(time), self.real))
        if promptly:
            self.deliver_time(-1, crash)

    @precondition(lambda self: self.connected and self.times)
    @rule(which=st.integers(-3, -1), crash=CRASH)
    def deliver_time(self, which: int, crash: int | None) -> None:
        envelope, _ = self.times[max(which, -len(self.times))]
        ignored = self.core.ignored
        heard = self.carry_out(self.core.command(envelope, self.mono), crash)
        if heard.crashed or self.core.ignored > ignored:
            return
        self.synced = True
        for broadcast in self.owed:
            assert heard.about(broadcast), f"{broadcast} waited for the time and was not answered"
        self.owed.clear()

    # --- the line ---

    @precondition(lambda self: self.connected and self.issued)
    @rule(which=st.integers(-12, -1), crash=CRASH)
    def deliver(self, which: int, crash: int | None) -> None:
        """Any command, new or old, any number of times; what is not drawn is lost."""
        if not self.connected:
            return
        issued = self.issued[max(which, -len(self.issued))]
        command = issued.command
        must_accept = isinstance(command, Play) and self.must_accept(command)
        heard = self.carry_out(self.core.command(issued.envelope, self.mono), crash)
        assert not isinstance(command, Time)
        if not isinstance(command, Query) and command.targets is THEIRS:
            assert not heard.reports, "not for us, so not ours to answer"
            return
        names = command.broadcasts if isinstance(command, Stop) else (command.broadcast,)
        if not isinstance(command, Query):
            self.named.update(names)
        if heard.crashed:
            if isinstance(command, Stop) and crash:
                self.stopped.update((command.role, name) for name in names)
            return
        if isinstance(command, Stop):
            self.stopped.update((command.role, name) for name in names)
            self.owed.difference_update(names)
            if self.speaker is not None:
                now = self.play_of(self.speaker)
                assert (now.role, now.broadcast) not in self.stopped, "it goes on after its stop"
        for name in names:
            if not heard.about(name):
                drill = isinstance(command, Play) and command.role != "actual"
                assert isinstance(command, Play), f"{command} was not answered"
                assert not self.synced or drill, f"{command} was not answered"
                self.owed.add(name)
        if must_accept:
            assert isinstance(command, Play)
            facts = [f for r in heard.reports if r.broadcast == command.broadcast for f in r.facts]
            assert any(f.state == "accepted" for f in facts), f"valid, but {facts}"

    def must_accept(self, play: Play) -> bool:
        """Valid beyond doubt: first of its name, for us, in its window by the signed clock."""
        superseded = any(
            isinstance(i.command, Play) and play.broadcast in i.command.replaces for i in self.issued
        )
        return (
            self.synced
            and play.role == "actual"
            and play.targets is OURS
            and play.broadcast not in self.named
            and not superseded
            and play.expires - play.issued <= MAX_LIFETIME_MS
            and max(play.not_before, self.wire() + self.clock_error_ms()) < play.expires
        )

    @precondition(lambda self: self.connected and self.issued)
    @rule(
        which=st.integers(-6, -1),
        how=st.sampled_from(["flip", "strip", "stranger", "role", "target", "other id"]),
        at=st.integers(0, 400),
    )
    def forge(self, which: int, how: str, at: int) -> None:
        """Whatever a stranger, or a thief of the drill key, can make of what was said before."""
        issued = self.issued[max(which, -len(self.issued))]
        header, body = issued.envelope.split(b"\n", 1)
        match how:
            case "flip":
                at %= len(body)
                forged = header + b"\n" + body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
            case "strip":
                forged = body
            case "stranger":
                forged = header.replace(header.split(b" ")[1], STRANGER.key_id.encode()) + b"\n" + body
            case "role":
                own = header.split(b" ")[1].decode()
                other = SERVICE.key_id if own == ACTUAL.key_id else ACTUAL.key_id
                forged = issued.envelope.replace(own.encode(), other.encode(), 1)
            case "target":
                forged = issued.envelope.replace(b'"v2"', b'"v1"').replace(b'"t-0002"', b'"t-0001"')
            case _:
                forged = issued.envelope.replace(b'"b1"', b'"b2"').replace(b'"b3"', b'"b4"')
        if forged == issued.envelope:
            return
        effects = self.core.command(forged, self.mono)
        for effect in effects:
            assert not isinstance(effect, Save | Sound | Silence | Fetch), f"{how}: {effect}"
        self.carry_out(effects, None)

    @precondition(lambda self: not self.connected)
    @rule(answered=st.sampled_from([True, True, False]), crash=CRASH)
    def connect(self, answered: bool, crash: int | None) -> None:
        self.connected = True
        self.carry_out(self.core.connected(self.mono), crash)
        if answered and crash is None:
            self.answer_hello(True, None)

    @precondition(lambda self: self.connected)
    @rule(sure=st.sampled_from([True, False, False, False]))
    def disconnect(self, sure: bool) -> None:
        if not sure:
            return
        self.connected = False
        self.carry_out(self.core.disconnected(self.mono), None)

    # --- the machine itself ---

    @rule(
        ms=st.sampled_from([10, 900, 2_500, 6_000, 40_000, 11 * 60_000, HOUR, 20 * HOUR]),
        ticking=st.booleans(),
        crash=CRASH,
    )
    def time_passes(self, ms: int, ticking: bool, crash: int | None) -> None:
        """With a tick at each wake that was asked for, or in one stall with a single tick after it."""
        end = self.real + ms
        while (
            ticking and ms <= HOUR and (wake := self.core.next_wake()) is not None and wake + self.zero < end
        ):
            self.real = max(wake + self.zero, self.real + 1)
            if self.carry_out(self.core.tick(self.mono), None).crashed:
                break
        self.real = max(end, self.real)
        self.carry_out(self.core.tick(self.mono), crash)
        wake = self.core.next_wake()
        assert wake is None or wake > self.mono or crash is not None, "it would spin"

    @rule(returns=st.sampled_from([True, True, False]))
    def power_cut(self, returns: bool) -> None:
        self.boot()
        if returns:
            self.connect(True, None)

    @precondition(lambda self: self.speaker is not None)
    @rule(crash=CRASH)
    def device_goes_on(self, crash: int | None) -> None:
        """It starts what it was told to, or comes to its end."""
        sound = self.speaker
        assert sound is not None
        if self.started:
            play = self.play_of(sound)
            whole = is_message(sound) and not play.standing
            if play.quake is not None:
                whole = self.core._durable.records[play.broadcast].completes
            self.hands.discard(sound.broadcast)
            self.speaker, self.started = None, False
            heard = self.carry_out(self.core.finished(sound.broadcast, self.mono), crash)
            if not is_message(sound) and not play.standing:
                facts = [f for r in heard.reports if r.broadcast == sound.broadcast for f in r.facts]
                assert not any(f.state == "played" for f in facts), "a stand-in is no message"
            if whole and (not heard.crashed or crash):
                self.played.add((play.role, play.broadcast))
        elif sound.at_mono <= self.mono < sound.until_mono:
            self.check(sound, self.mono)
            self.started = True
            self.carry_out(self.core.started(sound.broadcast, self.mono), crash)

    @precondition(lambda self: self.speaker is not None)
    @rule(why=st.sampled_from(["amplifier", "decode"]), crash=CRASH)
    def device_breaks(self, why: str, crash: int | None) -> None:
        sound = self.speaker
        assert sound is not None
        self.speaker, self.started = None, False
        self.carry_out(self.core.broke(sound.broadcast, self.mono, why), crash)

    @precondition(lambda self: self.fetching)
    @rule(problem=st.sampled_from([None, None, "hash-mismatch", "HTTP 500"]), crash=CRASH)
    def fetch_ends(self, problem: str | None, crash: int | None) -> None:
        sha256 = self.fetching.pop(0)
        if problem is None:
            self.held.add(sha256)
        self.carry_out(self.core.fetched(sha256, self.mono, problem), crash)

    # --- what must hold ---

    def carry_out(self, effects: list[Effect], crash: int | None) -> Heard:
        heard = Heard()
        assert Save() not in effects[1:], "Save comes first and once"
        for effect in effects if crash is None else effects[:crash]:
            match effect:
                case Save():
                    self.disk = self.core._durable.to_bytes()
                case Sound():
                    assert self.speaker is None, "one sound at a time"
                    self.said_by = self.issue_of(effect)
                    self.check(effect, max(effect.at_mono, self.mono))
                    self.speaker, self.started = effect, False
                case Silence():
                    assert self.speaker is not None
                    assert self.speaker.broadcast == effect.broadcast
                    self.speaker, self.started = None, False
                case Fetch():
                    assert effect.clip.sha256 not in self.held
                    self.fetching.append(effect.clip.sha256)
                case FetchManifest():
                    assert SET not in self.manifests or SET not in self.core._shelf.sets._maps
                    self.manifesting = True
                case Send():
                    assert self.connected
                    message = open_report(effect.payload, lambda _: KEY)
                    match message:
                        case Hello():
                            self.hello = message
                        case Probe():
                            self.probe = message
                        case Staged():
                            heard.staged = True
                        case Report():
                            heard.reports.append(message)
                case _:
                    pass
        if crash is not None:
            heard.crashed = True
            self.boot()
        now = self.core.now(self.mono)
        assert now is None or now <= self.wire() + self.clock_error_ms(), "ahead by more than it says"
        return heard

    def clock_error_ms(self) -> int:
        return self.core.clock_error_ms(self.mono) or 0

    def issue_of(self, sound: Sound) -> Issued:
        """The genuine command that this is the sound of. A stand-in and a countdown are of whatever the
        terminal keeps under that name, if that was ever said."""
        number = -1 if sound.clip is None else int(sound.clip.sha256, 16)
        if 0 <= number < GENERIC:
            return self.issued[number]
        if sound is self.speaker:
            return self.said_by  # a further attempt may have come since it was ordered
        kept = self.core._durable.records[sound.broadcast].play
        assert kept is not None
        return next(
            i for i in self.issued if isinstance(i.command, Play) and i.command.counter == kept.counter
        )

    def play_of(self, sound: Sound) -> Play:
        play = self.issue_of(sound).command
        assert isinstance(play, Play)
        return play

    def check(self, sound: Sound, start_mono: int) -> None:
        """May this sound begin at this moment?"""
        play = self.play_of(sound)
        issued = self.issue_of(sound)
        assert play.broadcast == sound.broadcast
        assert play.targets is OURS, "not for us"
        longest = MAX_STANDING_MS if play.standing else MAX_LIFETIME_MS
        assert play.expires - play.issued <= longest, "lives too long"
        assert (play.role, play.broadcast) not in self.played, "played already"
        assert (play.role, play.broadcast) not in self.stopped, "stopped"
        assert not play.standing or play.broadcast in self.hands, "no hand has touched it"
        start = start_mono + self.zero
        # The signed time may be as old as its nonce when it arrives, so our clock that much behind; a hand
        # may come before the time is known again.
        age = start - issued.real
        assert play.standing or age < play.expires - play.issued + NONCE_MS, "expired"
        slack = self.clock_error_ms()
        assert play.standing or self.wire() + start - self.real >= play.not_before - slack, "too early"
        number = -1 if sound.clip is None else int(sound.clip.sha256, 16)
        if GENERIC <= number < COUNT:
            assert number - GENERIC == ROLES.index(play.role), "the generic sentence of another kind"
        if number > COUNT:
            assert play.quake is not None
            if play.role == "actual" and issued.jumps == self.jumps and self.synced:
                at = self.wire() + start - self.real
                left = seconds_left(play.quake, PLACE, at) + slack / 1000
                assert number - COUNT + 2 <= left + 0.01, "it promises more time than there is"

    def teardown(self) -> None:
        """In the end the line is up and the device works: everything comes to its end."""
        if not hasattr(self, "core"):
            return
        if not self.connected:
            self.connect(True, None)
        self.carry_out(self.core.connected(self.mono), None)
        self.answer_hello(True, None)
        for _ in range(200):
            if self.manifesting:
                self.manifest_ends(None, None)
            while self.fetching:
                self.fetch_ends(None, None)
            if self.speaker is not None:
                self.device_goes_on(None)
            if self.started:
                self.device_goes_on(None)
            elif not self.core._loudspeaker.lives:
                break
            else:
                wake = self.core.next_wake()
                assert wake is not None, "something is left and nothing will wake it"
                self.real = max(self.real, wake + self.zero)
                self.carry_out(self.core.tick(self.mono), None)
        assert not self.core._loudspeaker.lives
        for record in self.core._durable.records.values():
            assert record.outcome is not None or stands(record), record
            assert record.facts
