"""Which loudspeakers would sound now, and what is wrong with the others: the board of a county. Pure.

Theory of operation. What is known of each terminal (`Known`) is judged rule by rule; every rule that finds
something gives a `Finding` with its grade and words. A terminal is as good as its worst finding, a township
is ordered by the share of its terminals that would not sound. Nothing is guessed: what a terminal cannot
tell (`None`) is no finding, except where not to know is the finding (never heard, never tested).

*Online* means a hello with a right MAC within `ONLINE_MS`. The broker's presence is a hint and is never
looked at: it is retained, and anybody who may publish can claim it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from terminals.wire import Health

ONLINE_MS: Final = 20 * 60_000
"""An idle terminal says hello every 15 min, 20 % sooner or later (`docs/wire.md` §4)."""
DAY_MS: Final = 86_400_000
LOW_BATTERY: Final = 30
"""Percent below which a terminal without mains is about to go."""
CLOCK_MS: Final = 1_000
"""Above it a terminal counts down an earthquake without a number (`docs/wire.md` §5.1)."""
QUIET_VOLUME: Final = 30
"""Percent of the device's full scale below which a village hardly hears a horn; ours."""
DISK_MB: Final = 50
"""Room for the sets that are placed ahead: about 25 MB for all languages of one terminal, twice."""
TESTED_DAYS: Final = 35
"""A month and the days by which two monthly tests may lie apart."""
CERTIFICATE_DAYS: Final = 30


class Grade(StrEnum):
    """Worst first."""

    DEAD = "dead"
    """A warning would not be heard there now, as far as we know."""
    DOUBTFUL = "doubtful"
    """It would be, and something needs a hand."""
    READY = "ready"

    @property
    def rank(self) -> int:
        """0 (dead) to 2 (ready)."""
        return list(Grade).index(self)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one terminal of the register. Times are Unix ms."""

    terminal: str
    name: str
    village: str
    """Its name."""
    township: str
    """Key of its township."""
    enrolled: bool
    hello: int | None
    """When its last authenticated hello came; None for never."""
    health: Health | None
    """As that hello said."""
    heard: int | None = None
    """When a message last played there to its end that was no silent test: a generic sentence proves no more
    than that the horn works."""
    tested: int | None = None
    """When it last went through a test, silent or audible."""
    missing: int | None = None
    """Sets of clips that it should hold and does not, or not all; None where none is placed."""
    certificate: int | None = None
    """When its last certificate for the broker ends; None where it has none."""


@dataclass(frozen=True, slots=True)
class Finding:
    grade: Grade
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One terminal on the board."""

    known: Known
    grade: Grade
    online: bool
    findings: tuple[Finding, ...]
    """Worst first."""


@dataclass(frozen=True, slots=True)
class Township:
    """Totals of one township, or of the whole."""

    key: str
    terminals: int
    ready: int
    doubtful: int
    dead: int
    online: int
    on_battery: int
    """Online, and without mains as they say themselves."""
    sick_amplifiers: int
    software: tuple[tuple[str, int], ...]
    """Version → how many, the commonest first."""
    heard: int | None
    """The longest that any of its terminals has not been heard: the oldest last time; None: one never was."""


@dataclass(frozen=True, slots=True)
class Board:
    total: Township
    townships: tuple[Township, ...]
    """Worst first: by the share that would not sound, then by the share in doubt."""
    lines: tuple[Line, ...]
    """Worst first."""


def board(terminals: Iterable[Known], now: int, *, common: str | None = None) -> Board:
    """`now`: Unix ms. `common`: the software version that terminals should have; None: the one that most
    of them have."""
    rows = list(terminals)
    versions = Counter(k.health.software for k in rows if k.health is not None and k.health.software)
    usual = common if common is not None else max(versions, key=lambda v: (versions[v], v), default="")
    return totals([look(known, now, usual) for known in rows])


def totals(lines: Sequence[Line]) -> Board:
    """The board of these lines alone."""
    by_township: dict[str, list[Line]] = {}
    for line in lines:
        by_township.setdefault(line.known.township, []).append(line)
    townships = [_total(key, found) for key, found in by_township.items()]
    townships.sort(key=lambda t: (-t.dead / t.terminals, -t.doubtful / t.terminals, t.key))
    ordered = sorted(lines, key=lambda line: (line.grade.rank, -len(line.findings), line.known.terminal))
    return Board(_total("", ordered), tuple(townships), tuple(ordered))


def look(known: Known, now: int, usual: str = "") -> Line:
    """One terminal, rule by rule. `usual`: the software version that the others have."""
    found = list(_findings(known, now, usual))
    found.sort(key=lambda finding: finding.grade.rank)
    grade = found[0].grade if found else Grade.READY
    return Line(known, grade, is_online(known.hello, now), tuple(found))


def is_online(hello: int | None, now: int) -> bool:
    """Of a hello that seems to come from the future, nothing is believed but that it came."""
    return hello is not None and now - hello < ONLINE_MS


def _findings(known: Known, now: int, usual: str) -> Iterable[Finding]:
    dead, doubtful = Grade.DEAD, Grade.DOUBTFUL
    if not known.enrolled:
        yield Finding(dead, "it is registered and not enrolled")
        return
    if known.hello is None:
        yield Finding(dead, "it has never said hello")
    elif not is_online(known.hello, now):
        yield Finding(dead, f"it has not been heard of for {_span(now - known.hello)}")
    health = known.health or Health()
    if health.amplifier_ok is False:
        yield Finding(dead, "its amplifier is broken")
    if health.volume is not None and health.volume == 0:
        yield Finding(dead, "its volume is 0 %")
    elif health.volume is not None and health.volume < QUIET_VOLUME:
        yield Finding(doubtful, f"its volume is only {health.volume} %")
    if health.mains is False:
        if health.battery is None:
            yield Finding(doubtful, "it has no mains, and does not know its battery")
        else:
            grade = dead if health.battery == 0 else doubtful
            yield Finding(grade, f"it has no mains; battery {health.battery} %")
    elif health.battery is not None and health.battery < LOW_BATTERY:
        yield Finding(doubtful, f"its battery is at {health.battery} %")
    if health.clock_error_ms is not None and health.clock_error_ms > CLOCK_MS:
        yield Finding(doubtful, f"its clock may be {health.clock_error_ms} ms off")
    if health.disk_free_mb is not None and health.disk_free_mb < DISK_MB:
        yield Finding(doubtful, f"its disk has only {health.disk_free_mb} MB left")
    if usual and health.software and health.software != usual:
        yield Finding(doubtful, f"its software is {health.software}; most have {usual}")
    if known.missing:
        yield Finding(doubtful, f"{known.missing} sets of clips are not all there")
    if known.certificate is not None and known.certificate <= now:
        yield Finding(dead, f"its certificate ended {_span(now - known.certificate)} ago")
    elif known.certificate is not None and known.certificate - now < CERTIFICATE_DAYS * DAY_MS:
        yield Finding(doubtful, f"its certificate ends in {_span(known.certificate - now)}")
    if known.heard is None:
        yield Finding(doubtful, "no message has ever played there to its end")
    if known.tested is None:
        yield Finding(doubtful, "it has never been tested")
    elif now - known.tested > TESTED_DAYS * DAY_MS:
        yield Finding(doubtful, f"its last test was {_span(now - known.tested)} ago")


def _span(ms: int) -> str:
    minutes = max(0, ms) // 60_000
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"


def _total(key: str, lines: Sequence[Line]) -> Township:
    grades = Counter(line.grade for line in lines)
    healths = [line.known.health for line in lines if line.online and line.known.health is not None]
    versions = Counter(h.software for h in healths if h.software)
    heard = [line.known.heard for line in lines]
    return Township(
        key=key,
        terminals=len(lines),
        ready=grades[Grade.READY],
        doubtful=grades[Grade.DOUBTFUL],
        dead=grades[Grade.DEAD],
        online=sum(line.online for line in lines),
        on_battery=sum(h.mains is False for h in healths),
        sick_amplifiers=sum(h.amplifier_ok is False for h in healths),
        software=tuple(sorted(versions.items(), key=lambda item: (-item[1], item[0]))),
        heard=None if not heard or None in heard else min(h for h in heard if h is not None),
    )
