"""A terminal among hostile circumstances: commands repeated, reordered, lost and forged, power cuts between
any two effects, a controller whose own clock jumps by a day. What must hold whatever happens is asserted
where it would break: when a sound is ordered or started, and when a command goes unanswered."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from support.terminal import ACTUAL, HOUR, ME, SECRET, SERVICE, SIGNERS, STRANGER, clip, identity
from terminals.agent.core import (
    MAX_LIFETIME_MS,
    NONCE_MS,
    Core,
    Durable,
    Effect,
    Fetch,
    Save,
    Send,
    Silence,
    Sound,
)
from terminals.seal import KeyRole, open_report, report_key
from terminals.wire import Command, Hello, Play, Query, Report, Stop, Targets, Time

DAY = 24 * HOUR
KEY = report_key(SECRET, ME)
NAMES = ("b1", "b2", "b3")
ROLES = ("actual", "exercise", "test")
OURS = Targets(groups=("v1",))
THEIRS = Targets(groups=("v2",), terminals=("t-0002",))
CRASH = st.sampled_from([None] * 12 + [0, 1, 2, 3])
"""After how many effects the power goes; mostly it does not."""


@dataclass
class Issued:
    """A genuine command: what it says, and the real time at which it was sealed."""

    command: Command
    envelope: bytes
    real: int


@dataclass
class Heard:
    """What one call's effects told the controller, as far as they were carried out."""

    reports: list[Report] = field(default_factory=list)
    crashed: bool = False

    def about(self, broadcast: str) -> bool:
        return any(r.broadcast == broadcast for r in self.reports)


class TerminalMachine(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 1000))
    def power_on(self, seed: int) -> None:
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
        self.boots = 0
        self.boot()
        self.connect(True, None)

    def boot(self) -> None:
        self.boots += 1
        self.zero = self.real - self.random.randrange(10_000)
        self.core = Core(
            identity(),
            Durable.from_bytes(self.disk),
            boot=f"b{self.boots}",
            random=self.random,
            held=self.held,
        )
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
        self.issued.append(Issued(command, SIGNERS[KeyRole(role)].seal(command), self.real))

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
    ) -> None:
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
                clips=(clip(number, seconds=5),),
                repeats=1,
                volume=50,
                replaces=tuple(r for r in replaces if r != broadcast),
                spread_ms=1000,
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
        crash=CRASH,
    )
    def issue_stop(self, broadcasts: tuple[str, ...], role: str, whom: Targets, crash: int | None) -> None:
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

    @precondition(lambda self: self.connected and self.hello is not None)
    @rule(promptly=st.booleans(), crash=CRASH)
    def answer_hello(self, promptly: bool, crash: int | None) -> None:
        assert self.hello is not None
        if self.hello.floor > self.wire():
            self.signed = (self.hello.floor, self.real)
        time = Time(ME, self.hello.nonce, self.wire(), ("v1",), "http://a")
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
            and max(play.not_before, self.wire()) < play.expires
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
            self.speaker, self.started = None, False
            heard = self.carry_out(self.core.finished(sound.broadcast, self.mono), crash)
            if not heard.crashed or crash:
                self.played.add((play.role, play.broadcast))
        elif sound.at_mono <= self.mono < sound.until_mono:
            self.check(sound, self.mono)
            self.started = True
            self.carry_out(self.core.started(sound.broadcast, self.mono), crash)

    @precondition(lambda self: self.speaker is not None)
    @rule(crash=CRASH)
    def device_breaks(self, crash: int | None) -> None:
        sound = self.speaker
        assert sound is not None
        self.speaker, self.started = None, False
        self.carry_out(self.core.broke(sound.broadcast, self.mono, "amplifier"), crash)

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
                    self.check(effect, max(effect.at_mono, self.mono))
                    self.speaker, self.started = effect, False
                case Silence():
                    assert self.speaker is not None
                    assert self.speaker.broadcast == effect.broadcast
                    self.speaker, self.started = None, False
                case Fetch():
                    assert effect.clip.sha256 not in self.held
                    self.fetching.append(effect.clip.sha256)
                case Send():
                    assert self.connected
                    message = open_report(effect.payload, lambda _: KEY)
                    if isinstance(message, Hello):
                        self.hello = message
                    else:
                        assert isinstance(message, Report)
                        heard.reports.append(message)
                case _:
                    pass
        if crash is not None:
            heard.crashed = True
            self.boot()
        return heard

    def play_of(self, sound: Sound) -> Play:
        play = self.issued[int(sound.clip.sha256, 16)].command
        assert isinstance(play, Play)
        return play

    def check(self, sound: Sound, start_mono: int) -> None:
        """May this sound begin at this moment?"""
        play = self.play_of(sound)
        issued = self.issued[int(sound.clip.sha256, 16)]
        assert play.broadcast == sound.broadcast
        assert play.targets is OURS, "not for us"
        assert play.expires - play.issued <= MAX_LIFETIME_MS, "lives too long"
        assert (play.role, play.broadcast) not in self.played, "played already"
        assert (play.role, play.broadcast) not in self.stopped, "stopped"
        start = start_mono + self.zero
        # The signed time may be as old as its nonce when it arrives, so our clock that much behind.
        age = start - issued.real
        assert age < play.expires - play.issued + NONCE_MS, "expired"
        assert self.wire() + start - self.real >= play.not_before, "too early"

    def teardown(self) -> None:
        """In the end the line is up and the device works: everything comes to its end."""
        if not hasattr(self, "core"):
            return
        if not self.connected:
            self.connect(True, None)
        self.carry_out(self.core.connected(self.mono), None)
        self.answer_hello(True, None)
        for _ in range(200):
            while self.fetching:
                self.fetch_ends(None, None)
            if self.speaker is not None:
                self.device_goes_on(None)
            if self.started:
                self.device_goes_on(None)
            elif not self.core._lives:
                break
            else:
                wake = self.core.next_wake()
                assert wake is not None, "something is left and nothing will wake it"
                self.real = max(self.real, wake + self.zero)
                self.carry_out(self.core.tick(self.mono), None)
        assert not self.core._lives
        for record in self.core._durable.records.values():
            assert record.outcome is not None, record
            assert record.facts
