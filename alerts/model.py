"""What a warning is, whoever sent it: the frozen types that every later hop reads.

Nothing here parses, decides or knows a clock. Names are CAP 1.2's (OASIS, 2010) where CAP has one;
colour is the Chinese signal colour, kept apart from severity because neither may be derived from the
other silently (Taiwan's 雷雨 is Severe and orange, its earthquakes Minor and green: `feeds.md` §5.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    ACTUAL = "Actual"
    EXERCISE = "Exercise"
    SYSTEM = "System"
    TEST = "Test"
    DRAFT = "Draft"


class MsgType(StrEnum):
    ALERT = "Alert"
    UPDATE = "Update"
    CANCEL = "Cancel"
    ACK = "Ack"
    ERROR = "Error"


class Scope(StrEnum):
    PUBLIC = "Public"
    RESTRICTED = "Restricted"
    PRIVATE = "Private"


class Urgency(StrEnum):
    IMMEDIATE = "Immediate"
    EXPECTED = "Expected"
    FUTURE = "Future"
    PAST = "Past"
    UNKNOWN = "Unknown"


class Severity(StrEnum):
    EXTREME = "Extreme"
    SEVERE = "Severe"
    MODERATE = "Moderate"
    MINOR = "Minor"
    UNKNOWN = "Unknown"


class Certainty(StrEnum):
    OBSERVED = "Observed"
    LIKELY = "Likely"
    POSSIBLE = "Possible"
    UNLIKELY = "Unlikely"
    UNKNOWN = "Unknown"


class Colour(StrEnum):
    """Signal colour, worst first. `Colour.RED.rank` is 1 as in the national platform (Ⅰ级 = red)."""

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    BLUE = "blue"

    @property
    def rank(self) -> int:
        """1 (red, worst) to 4 (blue)."""
        return list(Colour).index(self) + 1


class CodeScheme(StrEnum):
    """Which national list a division code is from: the two collide (`geo.md` §0.1)."""

    MCA = "mca"
    """民政部 list (2025-12-31); its township digits are what GB/T 2260 based feeds use today."""
    NBS = "nbs"
    """国家统计局 统计用区划代码 (2023, the last edition); every 12-digit village code is from here."""
    UNKNOWN = "unknown"
    """The feed does not say. Safe only where both lists agree; otherwise held, never guessed."""


@dataclass(frozen=True, slots=True)
class RegionCode:
    """A division code of 2, 4, 6, 9 or 12 digits, without the zeros that pad it, and its list."""

    scheme: CodeScheme
    digits: str

    def __str__(self) -> str:
        return f"{self.digits} ({self.scheme})"


Ring = tuple[tuple[float, float], ...]
"""(lat, lon) in degrees (WGS-84), as CAP writes them; as an outline the first point is also the last."""


@dataclass(frozen=True, slots=True)
class Circle:
    """Centre in degrees (WGS-84) and radius in kilometres, whatever unit the feed used."""

    lat: float
    lon: float
    radius_km: float


@dataclass(frozen=True, slots=True)
class Polygon:
    """Closed rings of (lat, lon), as CAP writes them; what lies in a hole is outside."""

    outer: Ring
    holes: tuple[Ring, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """Whoever is at most `buffer_km` kilometres from the line; 0 where the source gives no width."""

    points: Ring
    buffer_km: float = 0.0


@dataclass(frozen=True, slots=True)
class Area:
    """One area block. `codes` and shapes are united, unless the feed declares that shapes narrow codes."""

    description: str = ""
    codes: tuple[RegionCode, ...] = ()
    polygons: tuple[Polygon, ...] = ()
    circles: tuple[Circle, ...] = ()
    """A radius of 0 is a point."""
    lines: tuple[Line, ...] = ()
    excluded: tuple[Polygon, ...] = ()
    """Taken away from all that this area names (DWD's EXCLUDE_POLYGON)."""
    other_codes: tuple[tuple[str, str], ...] = ()
    """(valueName, value) of geocode systems that we do not target by; kept, shown, never guessed."""


class SeismicZone(StrEnum):
    """Zones of the intensity relations behind GB 18306-2015; `alerts.intensity` has the numbers."""

    QINGZANG = "qingzang"
    """青藏区: Tibet, Qinghai, the west of Sichuan, Gannan."""
    XINJIANG = "xinjiang"
    """新疆区."""
    EAST_STRONG = "east_strong"
    """东部强震区."""
    MODERATE = "moderate"
    """中强地震区."""


@dataclass(frozen=True, slots=True)
class Quake:
    """One report of an earthquake, as its network saw it then. `place` is the network's own wording."""

    origin: datetime
    lat: float
    lon: float
    magnitude: float
    depth_km: float | None = None
    place: str = ""
    report: int = 1
    """Number of the report; a later one replaces it."""
    final: bool = False
    intensity: float | None = None
    """Greatest intensity by the agency's own estimate (GB/T 17742, 1 to 12)."""


@dataclass(frozen=True, slots=True)
class Info:
    """One language's account of the event. All times are aware datetimes."""

    language: str
    event: str
    hazard: str
    """Key into `alerts.hazards`, e.g. ``rainstorm``; ``unknown`` when nothing matched."""
    severity: Severity = Severity.UNKNOWN
    urgency: Urgency = Urgency.UNKNOWN
    certainty: Certainty = Certainty.UNKNOWN
    colour: Colour | None = None
    headline: str = ""
    description: str = ""
    instruction: str = ""
    effective: datetime | None = None
    onset: datetime | None = None
    expires: datetime | None = None
    web: str = ""
    areas: tuple[Area, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    quake: Quake | None = None

    @property
    def level(self) -> int:
        """1 (worst) to 5: by colour; without one by severity, 5 where that is unknown as well. It orders, and
        changes nothing that is said."""
        return self.colour.rank if self.colour else list(Severity).index(self.severity) + 1


@dataclass(frozen=True, slots=True)
class Reference:
    """A message that this one updates or cancels. The national format gives only the identifier."""

    identifier: str
    sender: str = ""
    sent: datetime | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """A whole warning message, as its source meant it."""

    identifier: str
    sender: str
    sent: datetime
    status: Status
    msg_type: MsgType
    scope: Scope
    infos: tuple[Info, ...]
    references: tuple[Reference, ...] = ()
    note: str = ""
    format: str = ""
    """``cap-1.2``, ``cap-1.1``, ``cap-1.0``, ``national``, ``operator`` or the name of a list format."""
    raw_sha256: str = ""
    """Hash of the original bytes, which the journal keeps."""
    inferred: tuple[str, ...] = ()
    """Fields that the document did not give and we derived, e.g. ``expires (default lifetime)``."""
    remarks: tuple[str, ...] = ()
    """What was odd but harmless; `fenghuo alert lint` shows these."""
    damage: tuple[str, ...] = ()
    """What could not be read or contradicts itself, and may change who is meant or what is said, by its
    path. It never sounds by itself: a person looks first (`docs/decisions/0011`)."""

    @property
    def main(self) -> Info:
        """The Mandarin account where there is one, else the first. Raises IndexError without infos."""
        for info in self.infos:
            if info.language.lower().startswith(("zh", "cmn")):
                return info
        return self.infos[0]

    @property
    def accounts(self) -> tuple[Info, ...]:
        """What is said in the language of `main`, the worst first. Blocks that say the same of several areas
        or times are one account: all their areas, from the first onset to the last end (`feeds.md` §1.1: a
        language is repeated because its blocks differ by area or time). Empty without infos."""
        if not self.infos:
            return ()
        language = self.main.language
        found: dict[tuple[object, ...], list[Info]] = {}
        for info in self.infos:
            if info.language == language:
                says = (info.hazard, info.colour, info.severity, info.instruction, info.quake)
                found.setdefault(says, []).append(info)
        return tuple(sorted((_united(infos) for infos in found.values()), key=lambda info: info.level))

    @property
    def event_key(self) -> str:
        """What all messages about one event share: the first referenced identifier, else our own.

        The national format always refers to the *first* issue (a star, not a chain: `feeds.md` §2.3).
        """
        return self.references[0].identifier if self.references else self.identifier


def _united(infos: Sequence[Info]) -> Info:
    onsets = [info.onset for info in infos if info.onset is not None]
    ends = [info.expires for info in infos if info.expires is not None]
    return replace(
        infos[0],
        areas=tuple(dict.fromkeys(area for info in infos for area in info.areas)),
        onset=min(onsets, default=None),
        expires=max(ends) if len(ends) == len(infos) else None,
    )


class AlertError(Exception):
    """A document that cannot be taken in. Raised by every parser.

    `where` is the element path in the document's own words (``alert/info[0]/area[1]/geocode``),
    `why` the reason, `remedy` what its sender or the operator can do, where something can be done.
    """

    def __init__(self, where: str, why: str, remedy: str = "") -> None:
        super().__init__(f"{where}: {why}" + (f" ({remedy})" if remedy else ""))
        self.where = where
        self.why = why
        self.remedy = remedy
