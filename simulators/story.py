"""What simulated sources tell: a scenario of warnings and earthquakes, as a timeline of messages.

A scenario is a YAML file. One story is told by all its sources, each in its own way and with its own lag, so
that a controller can be seen to make one event of it. A source may also serve recorded documents.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from alerts import hazards
from alerts.model import Colour, MsgType, Status

BEIJING: Final = timezone(timedelta(hours=8))
SHIPPED: Final = Path(__file__).with_name("payloads")
LIFTED_BEFORE: Final = 3600.0
"""A recorded warning that vanished more than this many seconds before its expiry was lifted: the snapshots
that it was seen in are an hour apart (`feeds.md` §2.2)."""
MAX_FILE: Final = 64_000_000
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class StoryError(Exception):
    """A scenario that is not there or makes no sense: where, what, and what it should be."""


class Source(StrEnum):
    """The kinds of source, by the name of their dialect."""

    CAP_ATOM = "cap_atom"
    CAP_RSS = "cap_rss"
    NMC = "nmc"
    CN12379 = "12379"
    WEATHERCN = "weathercn"
    QWEATHER = "qweather"
    CAIYUN = "caiyun"
    ICL = "icl"
    WOLFX = "wolfx"
    FAN = "fan"
    WIS2 = "wis2"
    FOLDER = "folder"
    INBOX = "inbox"


POLLED: Final = frozenset(
    {Source.CAP_ATOM, Source.CAP_RSS, Source.NMC, Source.CN12379, Source.WEATHERCN, Source.QWEATHER}
    | {Source.CAIYUN, Source.ICL}
)
SOCKETS: Final = frozenset({Source.WOLFX, Source.FAN})
QUAKES: Final = frozenset({Source.ICL, Source.WOLFX, Source.FAN})
"""Who tells of earthquakes; all but ICL and Wolfx tell of the weather."""


class Fault(StrEnum):
    LATE = "late"
    """A message comes `by` seconds after it should."""
    DUPLICATED = "duplicated"
    """A message comes twice."""
    REORDERED = "reordered"
    """A message comes after the one that follows it."""
    CUT = "cut"
    """Half of the body, and nothing says that it is half."""
    ERROR_500 = "error_500"
    FORBIDDEN = "forbidden"
    HTML = "html"
    """An error page, with status 200."""
    EMPTY = "empty"
    """A list without rows, though there are some."""
    REDIRECT = "redirect"
    WRONG_LENGTH = "wrong_length"
    """Content-Length promises more than comes."""
    SILENT = "silent"
    """Connected, and nothing comes, not even a heartbeat."""
    SLOW = "slow"
    """A byte a second."""


ON_ITEMS: Final = frozenset({Fault.LATE, Fault.DUPLICATED, Fault.REORDERED})


def faults_of(source: Source) -> frozenset[Fault]:
    """The faults that a source of this kind can have."""
    if source in POLLED:
        return frozenset(Fault)
    if source is Source.WIS2:
        return frozenset(Fault) - {Fault.EMPTY}  # its links are fetched over HTTP
    if source is Source.FOLDER:
        return ON_ITEMS | {Fault.CUT, Fault.SLOW}
    if source is Source.INBOX:
        return ON_ITEMS | {Fault.CUT}
    return ON_ITEMS | {Fault.CUT, Fault.SILENT}


class Seconds(float):
    """A duration; in the file a number with its unit: ``90s``, ``10m``, ``2h``, ``1d``."""


class Trouble(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fault: Fault
    share: float = 1.0
    """Of the requests or messages, from 0 to 1; which ones is the seed's choice."""
    after: Seconds = Seconds(0)
    until: Seconds | None = None
    """Story time between which it happens."""
    by: Seconds = Seconds(600)
    """How much later a `late` message comes."""


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message about a warning. What an Update or Cancel leaves out is as in the message before it."""

    at: Seconds
    event: str
    """Name of the event within the scenario: its messages refer to its first."""
    type: MsgType = MsgType.ALERT
    status: Status = Status.ACTUAL
    codes: tuple[str, ...] | None = None
    """Division codes of 6 to 12 digits."""
    place: str | None = None
    issuer: str | None = None
    hazard: str | None = None
    """Key of the hazard catalogue."""
    colour: Colour | None = None
    text: str | None = None
    action: str | None = None
    valid: Seconds | None = None


class Shaken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One report of an earthquake."""

    at: Seconds
    event: str
    lat: float
    lon: float
    magnitude: float
    place: str
    depth: float | None = None
    """Kilometres."""
    intensity: float | None = None
    origin: Seconds | None = None
    """When it shook; 5 s before the first report if left out."""


class Recorded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document of its own: one CAP document, one row of a list, or one message, as the source writes it."""

    at: Seconds
    file: str
    """Relative to the scenario."""
    until: Seconds | None = None


class Week(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Recorded warnings of the whole country, one JSON object a line (`wmo-cma/SOURCES.md`)."""

    file: str
    within: str = ""
    """First digits of the division codes that are wanted."""
    lifts: bool = True
    """Whether a warning that vanished well before its expiry gets a Cancel: the record holds none."""


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A source."""

    name: str
    kind: Source
    port: int = 0
    """On loopback; 0 takes a free one."""
    lag: Seconds = Seconds(0)
    """How long after its issue a message is there."""
    window: int = 500
    """Entries that an index holds at most (SWIC: 500, `feeds.md` §2.9)."""
    brokers: int = 1
    """WIS2: how many brokers say the same."""
    path: str = ""
    """The folder that is written to; a relative one is below where the simulator was started."""
    format: str = ""
    """Folder and inbox: ``national`` (their default) or ``cap``."""
    url: str = ""
    """The inbox that is posted to."""
    token_file: str = ""
    documents: tuple[Recorded, ...] = ()
    faults: tuple[Trouble, ...] = ()


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sources: tuple[Told, ...]
    seed: int = 0
    start: datetime | None = None
    """The documents' own time at the beginning. Without it each carries the time at which it comes out, so
    that it is of now at any speed."""
    warnings: tuple[Said, ...] = ()
    quakes: tuple[Shaken, ...] = ()
    week: Week | None = None
    base: str = ""
    """Folder of the file; set by `load`."""


# --- reading ---------------------------------------------------------------------------------------------


def names() -> tuple[str, ...]:
    """The shipped scenarios."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.yaml")))


def load(scenario: str) -> Scenario:
    """A shipped scenario by its name, or the file of that path; a ``.jsonl`` or ``.jsonl.gz`` of recorded
    warnings is one CAP index in RSS, at the times of the record. Raises StoryError."""
    path = SHIPPED / f"{scenario}.yaml" if scenario in names() else Path(scenario)
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        first = next(iter(_lines(path)), None)
        if first is None:
            raise StoryError(f"{path}: no line in it")
        start = _time(first, "first_seen", path)
        found = Scenario((Told("cma", Source.CAP_RSS),), start=start, week=Week(path.name))
    else:
        found = _read(path)
    return check(msgspec.structs.replace(found, base=str(path.parent)))


def _read(path: Path) -> Scenario:
    try:
        said = yaml.safe_load(_bytes(path))
    except yaml.YAMLError as error:
        raise StoryError(f"{path}: {' '.join(str(error).split())}") from error
    try:
        return msgspec.convert(said, Scenario, dec_hook=_seconds)
    except msgspec.ValidationError as error:
        raise StoryError(f"{path}: {error}") from error


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            body = file.read(MAX_FILE + 1)
    except OSError as error:
        known = f"; shipped scenarios: {', '.join(names())}" if not path.suffix else ""
        raise StoryError(f"{path}: {error.strerror}{known}") from error
    if len(body) > MAX_FILE:
        raise StoryError(f"{path}: more than {MAX_FILE:,} bytes")
    return body


def _seconds(kind: type, value: object) -> object:
    if kind is not Seconds:
        raise NotImplementedError(kind)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is not a duration with its unit, such as 90s, 10m or 2h")
    return Seconds(float(found[1]) * _UNITS[found[2]])


def check(scenario: Scenario) -> Scenario:
    """The scenario itself. Raises StoryError for what no single value shows to be wrong."""
    if not scenario.sources:
        raise StoryError("sources: none; nobody would tell the story")
    if scenario.start is not None and scenario.start.tzinfo is None:
        raise StoryError("start: has no zone; write 2026-07-13T08:00:00+08:00")
    seen: set[str] = set()
    for source in scenario.sources:
        where = f"sources: {source.name}"
        if source.name in seen:
            raise StoryError(f"{where}: two sources have this name")
        seen.add(source.name)
        for trouble in source.faults:
            if trouble.fault not in faults_of(source.kind):
                can = ", ".join(sorted(faults_of(source.kind)))
                raise StoryError(f"{where}: {source.kind} cannot be {trouble.fault}; it can be: {can}")
            if not 0 < trouble.share <= 1:
                raise StoryError(f"{where}: {trouble.fault}: share must be above 0 and at most 1")
        if (source.kind is Source.FOLDER) != bool(source.path):
            raise StoryError(f"{where}: path is for a folder, and a folder needs it")
        if (source.kind is Source.INBOX) != bool(source.url and source.token_file):
            raise StoryError(f"{where}: url and token_file are for an inbox, and an inbox needs both")
        if source.format not in ("", "national", "cap"):
            raise StoryError(f"{where}: format must be national or cap")
    known = {hazard.key for hazard in hazards.HAZARDS}
    begun: dict[str, float] = {}
    for said in scenario.warnings:
        where = f"warnings: {said.event} at {said.at:g} s"
        if said.hazard is not None and said.hazard not in known:
            raise StoryError(f"{where}: {said.hazard} is not a key of the hazard catalogue")
        if any(not re.fullmatch(r"\d{6}|\d{9}|\d{12}", code) for code in said.codes or ()):
            raise StoryError(f"{where}: codes have 6, 9 or 12 digits")
        if said.event not in begun and not (said.codes and said.place and said.issuer and said.hazard):
            raise StoryError(f"{where}: the first message of an event says codes, place, issuer and hazard")
        if said.at < begun.get(said.event, 0.0):
            raise StoryError(f"{where}: comes before the message above it; write them in order")
        begun[said.event] = said.at
    return scenario


# --- the timeline ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Issue:
    """A message about a warning, whoever relays it. Times are aware."""

    at: float
    """Story seconds at which it is issued."""
    until: float | None
    """Story seconds at which the lists of what is in force drop it; None: never."""
    identifier: str
    """The national one: area, agency, entry time (`feeds.md` §0)."""
    first: str
    """Identifier of the event's first message; its own if it is that."""
    previous: Issue | None
    msg_type: MsgType
    status: Status
    codes: tuple[str, ...]
    place: str
    issuer: str
    hazard: hazards.Hazard
    colour: Colour | None
    text: str
    action: str
    sent: datetime
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class Report:
    """A report about an earthquake."""

    at: float
    event: str
    """``202609182050.0001``: the networks' own form of it."""
    number: int
    final: bool
    origin: datetime
    reported: datetime
    lat: float
    lon: float
    magnitude: float
    place: str
    depth: float | None
    intensity: float | None


Moment = Callable[[float], datetime]
"""Story seconds → the time that a document of then carries."""


def timeline(scenario: Scenario, moment: Moment) -> list[Issue | Report]:
    """Everything that happens, in order. Raises StoryError for a record that cannot be read."""
    taken: set[str] = set()
    messages: list[Issue | Report] = [*_issues(scenario.warnings, moment, taken)]
    messages += _reports(scenario.quakes, moment)
    if scenario.week is not None:
        messages += _week(scenario.week, Path(scenario.base), taken)
    return sorted(messages, key=lambda message: message.at)


def _issues(said: Iterable[Said], moment: Moment, taken: set[str]) -> Iterator[Issue]:
    events: dict[str, list[Said]] = {}
    for one in said:
        before = events.get(one.event)
        events.setdefault(one.event, []).append(_inherit(one, before[-1]) if before else one)
    for event in events.values():
        previous: Issue | None = None
        for one, after in zip(event, (*event[1:], None), strict=True):
            previous = _issue(one, after, previous, moment, taken)
            yield previous


def _inherit(one: Said, before: Said) -> Said:
    given = {name: getattr(one, name) for name in one.__struct_fields__}
    return Said(**{name: getattr(before, name) if v is None else v for name, v in given.items()})


def _issue(one: Said, after: Said | None, previous: Issue | None, moment: Moment, taken: set[str]) -> Issue:
    assert one.codes is not None  # `check` saw to all four
    assert one.place is not None
    assert one.issuer is not None
    assert one.hazard is not None
    hazard = hazards.by_key(one.hazard)
    valid = one.valid or hazard.default_lifetime.total_seconds()
    sent = moment(one.at)
    identifier = _identifier(one.codes[0][:6], sent, taken)
    ends = one.at if one.type is MsgType.CANCEL else one.at + valid
    return Issue(
        at=one.at,
        until=min(ends, after.at) if after else ends,
        identifier=identifier,
        first=previous.first if previous else identifier,
        previous=previous,
        msg_type=one.type,
        status=one.status,
        codes=one.codes,
        place=one.place,
        issuer=one.issuer,
        hazard=hazard,
        colour=one.colour,
        text=one.text or "",
        action=one.action or "",
        sent=sent,
        expires=None if one.type is MsgType.CANCEL else sent + timedelta(seconds=valid),
    )


def _identifier(area: str, at: datetime, taken: set[str]) -> str:
    """The next one that is free: two of the same second differ by a second."""
    while True:
        found = f"{area}41600000_{at.astimezone(BEIJING):%Y%m%d%H%M%S}"
        if found not in taken:
            taken.add(found)
            return found
        at += timedelta(seconds=1)


def _reports(shaken: Sequence[Shaken], moment: Moment) -> Iterator[Report]:
    count: dict[str, int] = {}
    first: dict[str, Shaken] = {}
    names_of: dict[str, str] = {}
    for one in shaken:
        begun = first.setdefault(one.event, one)
        count[one.event] = count.get(one.event, 0) + 1
        origin = moment(begun.origin if begun.origin is not None else max(0.0, begun.at - 5))
        name = f"{origin.astimezone(BEIJING):%Y%m%d%H%M}.{len(names_of) + 1:04d}"
        yield Report(
            at=one.at,
            event=names_of.setdefault(one.event, name),
            number=count[one.event],
            final=count[one.event] == sum(other.event == one.event for other in shaken),
            origin=origin,
            reported=moment(one.at),
            lat=one.lat,
            lon=one.lon,
            magnitude=one.magnitude,
            place=one.place,
            depth=one.depth,
            intensity=one.intensity,
        )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    body = _bytes(path)
    if path.suffix == ".gz":
        try:
            body = gzip.decompress(body)
        except (OSError, EOFError, zlib.error) as error:
            raise StoryError(f"{path}: {error}") from error
    for number, line in enumerate(body.splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise StoryError(f"{path}:{number}: {error}") from error
        if not isinstance(row, dict):
            raise StoryError(f"{path}:{number}: is not an object")
        yield row


def _time(row: dict[str, Any], name: str, path: Path) -> datetime:
    try:
        return datetime.fromisoformat(row[name]).astimezone(UTC)
    except (KeyError, TypeError, ValueError) as error:
        raise StoryError(f"{path}: {name} of {row!r:.200}: {error}") from error


def _week(week: Week, base: Path, taken: set[str]) -> Iterator[Issue]:
    """The recorded warnings, at the times of the record: when they were first seen, and lifted when they
    vanished. What was active when recording began is there from the beginning."""
    path = base / week.file
    start: datetime | None = None
    colours = {"红色": Colour.RED, "橙色": Colour.ORANGE, "黄色": Colour.YELLOW, "蓝色": Colour.BLUE}
    for row in _lines(path):
        seen, last = _time(row, "first_seen", path), _time(row, "last_seen", path)
        start = start or seen
        area = str(row.get("adcode", ""))
        if not area.startswith(week.within):
            continue
        sent = _time(row, "issued", path) if row.get("issued") else seen
        expires = _time(row, "expires", path) if row.get("expires") else None
        kind, name = str(row.get("type", "")), str(row.get("name", ""))
        identifier = _identifier(area, sent, taken)
        at, gone = (seen - start).total_seconds(), (last - start).total_seconds() + 1.0
        issue = Issue(
            at=at,
            until=gone,
            identifier=identifier,
            first=identifier,
            previous=None,
            msg_type=MsgType.ALERT,
            status=Status.ACTUAL,
            codes=(area,),
            place=name,
            issuer=f"{name}气象台",
            hazard=_hazard(kind),
            colour=colours.get(str(row.get("color", ""))),
            text="",
            action="",
            sent=sent,
            expires=expires,
        )
        yield issue
        if week.lifts and expires is not None and (expires - last).total_seconds() > LIFTED_BEFORE:
            lifted = start + timedelta(seconds=gone)
            yield Issue(
                at=gone,
                until=gone,
                identifier=_identifier(area, lifted, taken),
                first=identifier,
                previous=issue,
                msg_type=MsgType.CANCEL,
                status=Status.ACTUAL,
                codes=issue.codes,
                place=name,
                issuer=issue.issuer,
                hazard=issue.hazard,
                colour=issue.colour,
                text="",
                action="",
                sent=lifted,
                expires=None,
            )


def _hazard(name: str) -> hazards.Hazard:
    """By its Chinese name; one that the catalogue does not have keeps the name it was recorded under."""
    for hazard in hazards.HAZARDS:
        if name == hazard.zh or name in hazard.aliases:
            return hazard
    return hazards.Hazard("unknown", "", name, name, timedelta(hours=24))
