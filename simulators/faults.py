"""What can be wrong with a simulated terminal: each fault sits at a seam between `Core` and its world (the
link, the loudspeaker, the power, the papers), never inside the decisions that are to be proven.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from terminals.delivery import State
from terminals.seal import SIGNER_ENTROPY, KeyRing, KeyRole, claimed_command, new_signer
from terminals.wire import Play, Report, WireError, decode_upward


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


@dataclass(frozen=True, slots=True)
class FaultSettings:
    """How much of each fault. Seconds are real ones, whatever the speed of playing."""

    power_back_s: float = 2.0
    lost_reports: int = 6
    """Two more than one broadcast has when all goes well: the controller must ask twice."""
    lost_commands: int = 2
    slow_s: float = 3.0
    late_s: float = 5.0


DEFAULT_SETTINGS: Final = FaultSettings()

_OUTCOME: dict[Fault, tuple[State, str]] = {
    Fault.OFFLINE: (State.SENT, ""),
    Fault.BAD_HASH: (State.FAILED, "hash-mismatch"),
    Fault.WRONG_KEY: (State.REFUSED, "unknown-key"),
    Fault.DEAD_AMPLIFIER: (State.FAILED, "amplifier"),
}


def outcome(fault: Fault | None) -> tuple[State, str]:
    """How one broadcast ends at a terminal with this fault (None: healthy), as the controller shows it.
    Nothing was ever heard of one that is off-line: `sent` until the broadcast expires."""
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


Playing = Plays | Breaks | LosesPower
_PLAYS = Plays()


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
    wall_offset_s = 0.0
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
        if self._left and _is_report(payload):
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


def _is_report(payload: bytes) -> bool:
    try:
        return isinstance(decode_upward(payload.partition(b"\n")[2]), Report)
    except WireError:
        return False
