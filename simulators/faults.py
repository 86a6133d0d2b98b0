"""What can be wrong with a simulated terminal and with its link: each fault sits at a seam between `Core`
and its world (the link, the loudspeaker, the power, the papers), never inside the decisions that are to be
proven.

A terminal has at most one `Fault`, and beside it a `Link` that may be bad.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from msgspec.structs import replace

from terminals.delivery import State
from terminals.seal import SIGNER_ENTROPY, KeyRing, KeyRole, claimed_command, new_signer, seal_report
from terminals.wire import Fact, Play, Report, WireError, decode_upward


class Fault(StrEnum):
    OFFLINE = "offline"
    """Enrolled, and never connects."""
    BAD_HASH = "bad_hash"
    """Its link turns one byte of every clip."""
    WRONG_KEY = "wrong_key"
    """It believes another county's keys: nothing that its controller says is genuine to it."""
    DEAD_AMPLIFIER = "dead_amplifier"
    """Playing breaks soon after it began."""
    POWER_CUT = "power_cut"
    """Loses power in the middle of its first playing and comes back."""
    MUTE = "mute"
    """Hears and plays, but its first reports are lost."""
    SLOW_LINK = "slow_link"
    """Fetching a clip takes long."""
    LATE = "late"
    """Switched on some time after the others."""
    CLOCK_WRONG = "clock_wrong"
    """Its wall clock is a day ahead. Nothing may come of it: a terminal counts from the signed time."""
    DEAF = "deaf"
    """Connected, but the first commands to sound are lost on the way."""
    REBOOTS = "reboots"
    """Starts anew again and again, whatever it is doing."""
    CLOCK_DRIFTS = "clock_drifts"
    """Its quartz runs too fast, by far more than any real one."""
    FULL_DISK = "full_disk"
    """No clip finds room: only the signal that it makes itself can sound."""
    CLAIMS_PLAYED = "claims_played"
    """A liar: fetches nothing, sounds nothing, and reports that it has played."""
    SPEAKS_FOR_OTHERS = "speaks_for_others"
    """A liar: beside its own reports it sends its neighbour's, sealed with its own key."""
    DISORDERLY = "disorderly"
    """Reports its facts one by one, the last one first."""


@dataclass(frozen=True, slots=True)
class Link:
    """How badly the way to one terminal works, the same in both directions. Shares are from 0 to 1, of
    messages; a connection itself stays, as behind a bad radio whose retries are over."""

    loss: float = 0.0
    duplicated: float = 0.0
    reordered: float = 0.0
    """Share that is held back by REORDERED_S, so that later ones overtake it."""
    delay_s: float = 0.0
    jitter_s: float = 0.0
    """A message takes up to so much longer."""
    kbps: float = 0.0
    """Of a clip's download; 0: as fast as it goes."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the value that is out of range."""
        for name in ("loss", "duplicated", "reordered"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)}: a share from 0 to 1")
        for name in ("delay_s", "jitter_s"):
            if not 0 <= getattr(self, name) <= 60:
                raise ValueError(f"{name} {getattr(self, name)}: from 0 to 60 s")
        if self.kbps and not 1 <= self.kbps <= 1_000_000:
            raise ValueError(f"kbps {self.kbps}: from 1 to 1,000,000, or 0 for as fast as it goes")

    def copies(self, random: random.Random) -> tuple[float, ...]:
        """Seconds after which one message arrives: none if it is lost, two if it comes twice."""
        if self.loss and random.random() < self.loss:
            return ()
        times = 2 if self.duplicated and random.random() < self.duplicated else 1
        late = REORDERED_S if self.reordered and random.random() < self.reordered else 0.0
        return tuple(self.delay_s + late + self.jitter_s * random.random() for _ in range(times))

    def fetch_s(self, size: int) -> float:
        """How much longer `size` bytes take."""
        return size / (125.0 * self.kbps) if self.kbps else 0.0


REORDERED_S: Final = 0.5
GOOD_LINK: Final = Link()


@dataclass(frozen=True, slots=True)
class FaultSettings:
    """How much of each fault. Seconds are real ones, whatever the speed of playing."""

    power_back_s: float = 2.0
    lost_reports: int = 6
    """Two more than one broadcast has when all goes well: the controller must ask twice."""
    lost_commands: int = 2
    slow_s: float = 3.0
    late_s: float = 5.0
    reboots: int = 3
    reboot_every_s: float = 4.0
    drift: float = 0.02
    """Share by which a drifting clock is too fast; a bad quartz has 0.0001."""


DEFAULT_SETTINGS: Final = FaultSettings()

_OUTCOME: dict[Fault, tuple[State, str]] = {
    Fault.OFFLINE: (State.SENT, ""),
    Fault.BAD_HASH: (State.FAILED, "hash-mismatch"),
    Fault.WRONG_KEY: (State.REFUSED, "unknown-key"),
    Fault.DEAD_AMPLIFIER: (State.FAILED, "amplifier"),
    Fault.FULL_DISK: (State.FAILED, "fetch"),
}


def outcome(fault: Fault | None) -> tuple[State, str]:
    """How one broadcast ends at a terminal with this fault (None: healthy), as the controller shows it.
    Nothing was ever heard of one that is off-line: `sent` until the broadcast expires. One that claims to
    have played is believed of itself: who holds its key speaks for it, and only an ear beside it can tell."""
    return (State.PLAYED, "") if fault is None else _OUTCOME.get(fault, (State.PLAYED, ""))


# --- the seams ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plays:
    """The sound comes out to its end."""


@dataclass(frozen=True, slots=True)
class Breaks:
    """The device fails `after_s` from the start of the sound."""

    after_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class LosesPower:
    """Power goes `after_s` from the start of the sound and is back `back_s` later."""

    after_s: float
    back_s: float


@dataclass(frozen=True, slots=True)
class Pretends:
    """Nothing comes out, and it says that all of it did."""


Playing = Plays | Breaks | LosesPower | Pretends
_PLAYS = Plays()
_PRETENDS = Pretends()


class Seam:
    """Where a host touches the world, in good order: passes everything on unchanged."""

    __slots__ = ()

    connects = True
    joins = True
    """Whether it is there, with the signed time, when the fleet says that it is ready."""
    connect_after_s = 0.0
    keeps_disk = False
    """Whether its disk is to be exact to the last Save, because its power may go at any moment."""
    own_link = False
    """Whether it must fetch by itself, also where clips are shared between terminals."""
    fetch_s = 0.0
    """How much longer a fetch takes."""
    disk_full = False
    fetches = True
    """Whether it really gets what it says that it has got."""
    wall_offset_s = 0.0
    drift = 0.0
    """Share by which its clock is too fast."""
    reboots = 0
    reboot_every_s = 0.0
    amplifier_ok = True

    def ring(self, papers: KeyRing) -> KeyRing:
        """The keys it believes."""
        return papers

    def hears(self, payload: bytes) -> bool:
        """Whether bytes from the broker reach it."""
        return True

    def says(self, payload: bytes) -> bool:
        """Whether its bytes reach the broker."""
        return True

    def utters(self, payload: bytes, terminal: str, key: bytes) -> Sequence[tuple[str, bytes]]:
        """What it publishes in place of these sealed bytes: (below whose topic, bytes)."""
        return ((terminal, payload),)

    def clip(self, offset: int, data: bytes) -> bytes:
        """A piece of a clip, `offset` bytes from its beginning, as it arrives here."""
        return data

    def plays(self, seconds: float) -> Playing:
        """What becomes of a sound of so many (paced) seconds that starts now."""
        return _PLAYS


HEALTHY = Seam()


class _Offline(Seam):
    __slots__ = ()
    connects = False
    joins = False


class _BadHash(Seam):
    __slots__ = ()
    own_link = True

    def clip(self, offset: int, data: bytes) -> bytes:
        return bytes((data[0] ^ 1,)) + data[1:] if offset == 0 and data else data


class _WrongKey(Seam):
    __slots__ = ("_ring",)
    joins = False

    def __init__(self, random: random.Random) -> None:
        self._ring = KeyRing.of(
            new_signer(role, random.randbytes(SIGNER_ENTROPY), sandbox=True) for role in KeyRole
        )

    def ring(self, papers: KeyRing) -> KeyRing:
        return self._ring


class _DeadAmplifier(Seam):
    __slots__ = ()
    amplifier_ok = False

    def plays(self, seconds: float) -> Playing:
        return Breaks(min(0.1 * seconds, 1.0), "amplifier")


class _PowerCut(Seam):
    __slots__ = ("_back_s", "_done")
    keeps_disk = True

    def __init__(self, back_s: float) -> None:
        self._back_s = back_s
        self._done = False

    def plays(self, seconds: float) -> Playing:
        if self._done:
            return _PLAYS
        self._done = True
        return LosesPower(0.5 * seconds, self._back_s)


class _Mute(Seam):
    __slots__ = ("_left",)

    def __init__(self, lost: int) -> None:
        self._left = lost

    def says(self, payload: bytes) -> bool:
        # A Hello must pass: without the signed time there would be nothing to report.
        if self._left and _report(payload) is not None:
            self._left -= 1
            return False
        return True


class _SlowLink(Seam):
    __slots__ = ("fetch_s",)
    own_link = True

    def __init__(self, seconds: float) -> None:
        self.fetch_s = seconds


class _Late(Seam):
    __slots__ = ("connect_after_s",)
    joins = False

    def __init__(self, seconds: float) -> None:
        self.connect_after_s = seconds


class _ClockWrong(Seam):
    __slots__ = ()
    wall_offset_s = 86_400.0


class _Reboots(Seam):
    __slots__ = ("reboot_every_s", "reboots")
    keeps_disk = True

    def __init__(self, times: int, every_s: float) -> None:
        self.reboots = times
        self.reboot_every_s = every_s


class _ClockDrifts(Seam):
    __slots__ = ("drift",)

    def __init__(self, drift: float) -> None:
        self.drift = drift


class _FullDisk(Seam):
    __slots__ = ()
    disk_full = True


class _ClaimsPlayed(Seam):
    __slots__ = ()
    fetches = False

    def plays(self, seconds: float) -> Playing:
        return _PRETENDS


class _SpeaksForOthers(Seam):
    """Its neighbour is the terminal of the next number, there or not."""

    __slots__ = ()

    def utters(self, payload: bytes, terminal: str, key: bytes) -> Sequence[tuple[str, bytes]]:
        own = (terminal, payload)
        report = _report(payload)
        if report is None:
            return (own,)
        other = f"{terminal[:-5]}{int(terminal[-5:]) + 1:05d}"
        facts = (Fact(fact.attempt, State.PLAYED.value, fact.at) for fact in report.facts[:1])
        forged = replace(report, terminal=other, facts=tuple(facts))
        return own, (other, seal_report(forged, other, key)), (terminal, seal_report(forged, other, key))


class _Disorderly(Seam):
    __slots__ = ()

    def utters(self, payload: bytes, terminal: str, key: bytes) -> Sequence[tuple[str, bytes]]:
        report = _report(payload)
        if report is None or len(report.facts) < 2:
            return ((terminal, payload),)
        alone = (replace(report, facts=(fact,)) for fact in reversed(report.facts))
        return tuple((terminal, seal_report(each, terminal, key)) for each in alone)


class _Deaf(Seam):
    __slots__ = ("_left",)

    def __init__(self, lost: int) -> None:
        self._left = lost

    def hears(self, payload: bytes) -> bool:
        if self._left and isinstance(claimed_command(payload), Play):
            self._left -= 1
            return False
        return True


def seam(fault: Fault | None, settings: FaultSettings, random: random.Random) -> Seam:
    """The seam of one terminal; a healthy one shares `HEALTHY`."""
    match fault:
        case None:
            return HEALTHY
        case Fault.OFFLINE:
            return _Offline()
        case Fault.BAD_HASH:
            return _BadHash()
        case Fault.WRONG_KEY:
            return _WrongKey(random)
        case Fault.DEAD_AMPLIFIER:
            return _DeadAmplifier()
        case Fault.POWER_CUT:
            return _PowerCut(settings.power_back_s)
        case Fault.MUTE:
            return _Mute(settings.lost_reports)
        case Fault.SLOW_LINK:
            return _SlowLink(settings.slow_s)
        case Fault.LATE:
            return _Late(settings.late_s)
        case Fault.CLOCK_WRONG:
            return _ClockWrong()
        case Fault.DEAF:
            return _Deaf(settings.lost_commands)
        case Fault.REBOOTS:
            return _Reboots(settings.reboots, settings.reboot_every_s)
        case Fault.CLOCK_DRIFTS:
            return _ClockDrifts(settings.drift)
        case Fault.FULL_DISK:
            return _FullDisk()
        case Fault.CLAIMS_PLAYED:
            return _ClaimsPlayed()
        case Fault.SPEAKS_FOR_OTHERS:
            return _SpeaksForOthers()
        case Fault.DISORDERLY:
            return _Disorderly()


def _report(payload: bytes) -> Report | None:
    try:
        said = decode_upward(payload.partition(b"\n")[2])
    except WireError:
        return None
    return said if isinstance(said, Report) else None
