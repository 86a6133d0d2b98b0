"""What the API takes and gives: the shapes of docs and OpenAPI. Edge types, not used further in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

Colour = Literal["red", "orange", "yellow", "blue"]
Kind = Literal["actual", "exercise", "test"]


class In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CircleIn(In):
    """A circle on the ground; `km` 0 is a point, which means the village nearest to it."""

    lat: Annotated[float, Field(ge=-90, le=90)]
    lon: Annotated[float, Field(ge=-180, le=180)]
    km: Annotated[float, Field(ge=0, le=2_000)]


RingIn = Annotated[list[tuple[float, float]], Field(min_length=3, max_length=20_000)]


class PolygonIn(In):
    """Rings of (lat, lon)."""

    outer: RingIn
    holes: Annotated[list[RingIn], Field(max_length=100)] = []


class Compose(In):
    """A warning that an operator composes from a template."""

    hazard: str
    """Key of the hazard catalogue, e.g. rainstorm."""
    colour: Colour | None = None
    areas: Annotated[list[str], Field(max_length=400)] = []
    """What an operator types: a township, a village, or a code of 6, 9 or 12 digits."""
    circles: Annotated[list[CircleIn], Field(max_length=50)] = []
    polygons: Annotated[list[PolygonIn], Field(max_length=50)] = []
    """What an operator drew, united with `areas`; at least one of the three."""
    datum: Literal["wgs84", "cgcs2000", "gcj02"] = "wgs84"
    """Of the circles and polygons. gcj02 is that of Amap and Tencent maps: converted, and said so."""
    description: Annotated[str, Field(max_length=500)] = ""
    """What is happening, in the operator's words."""
    instruction: Annotated[str, Field(max_length=500)] = ""
    """What to do; the template's own action when empty."""
    valid_minutes: Annotated[int, Field(ge=1, le=24 * 60)] | None = None
    """How long it is valid; the hazard's default lifetime when absent."""
    codes: Literal["mca", "nbs", "unknown"] = "unknown"
    """Which list typed codes are from."""
    issued: AwareDatetime | None = None
    """The preview's, so that what was confirmed is what is said; now when absent. 10 minutes old at most."""

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        if not (self.areas or self.circles or self.polygons):
            raise ValueError("name an area, or draw a circle or a polygon")
        return self


class Document(In):
    """A warning file, as its bytes' base64."""

    name: Annotated[str, Field(max_length=200)]
    body: Annotated[str, Field(max_length=2_800_000)]
    codes: Literal["mca", "nbs", "unknown"] = "unknown"


class Send(In):
    """Exactly one of `compose` and `document`. `kind` is never defaulted: nothing unlabelled exists."""

    kind: Kind
    compose: Compose | None = None
    document: Document | None = None
    sound: bool = True
    """For a preview: whether the audio is wanted, which may take a minute."""
    meant: bool = False
    """The operator has checked that an unusually large share of the county is meant."""
    map: Literal["svg", "png"] | None = None
    """For a preview: whether a map is wanted, and how."""


class Reason(In):
    reason: Annotated[str, Field(min_length=1, max_length=300)]


class TerminalIn(In):
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")]
    name: Annotated[str, Field(max_length=80)] = ""
    village: str
    """Internal village key, or what `--area` takes for exactly one village."""
    lat: Annotated[float, Field(ge=-90, le=90)] | None = None
    lon: Annotated[float, Field(ge=-180, le=180)] | None = None
    languages: Annotated[list[Annotated[str, Field(max_length=35)]], Field(min_length=1, max_length=8)] = [
        "zh"
    ]


class Import(In):
    terminals: Annotated[list[TerminalIn], Field(min_length=1, max_length=20_000)]


class Codes(In):
    terminals: Annotated[list[str], Field(min_length=1, max_length=20_000)]


class PlanOut(BaseModel):
    """Who would hear what, and why; also for what is held."""

    kind: Kind
    stage: str
    hazard: str
    colour: Colour | None
    headline: str
    places: list[str]
    villages: int
    terminals: int
    silent_villages: list[str]
    """Targeted villages without an enrolled terminal."""
    text: str
    """What is said, as written."""
    issued: datetime
    """The time that is said."""
    expires: datetime
    repeats: int
    volume: int
    ways: dict[str, int] = {}
    """How many villages are in by which way: code, polygon, circle, line, point; and where they were taken to
    stand if that is not their own position."""
    why: list[str]
    problems: list[str]
    """What would refuse or hold it."""


class ReachOut(BaseModel):
    """One village that is meant."""

    key: str
    name: str
    township: str
    way: str
    """By which way it is in, as in `ways`."""
    population: int | None
    """None where the county pack does not say."""
    terminals: int
    """That would be sent it; 0 = nobody there will hear it from us."""
    languages: list[str]
    """Of those terminals."""


class Preview(PlanOut):
    reach: list[ReachOut] = []
    population: int | None = None
    """Of the villages whose population is known; None where it is of none."""
    population_unknown: int = 0
    """Villages whose population is not known."""
    map: str | None = None
    """The map as base64, where one was asked for and the county has any position."""
    map_note: str = ""
    """What is missing on the map, and why."""
    spoken: str | None
    """What is said, as read aloud: numbers, units and dates in words."""
    clip: str | None
    """Hash of the audio, at /v1/clips/<hash>; None with `problems`, without `sound`, or as `voice_problem`
    says."""
    voice_problem: str
    """Why the voice could not speak it now; the generic clip would go out."""
    seconds: float | None
    lufs: float | None
    dbtp: float | None
    voice: str | None


class AlertOut(BaseModel):
    id: str
    source: str
    kind: Kind
    state: str
    reason: str
    msg_type: str
    identifier: str
    event_key: str
    hazard: str
    colour: Colour | None
    headline: str
    created: datetime
    expires: datetime
    decided: datetime | None
    decided_by: str | None
    waiting_seconds: int | None
    """How long it has been held; None when it is not."""
    broadcasts: list[str]


class AlertDetail(AlertOut):
    plan: PlanOut | None
    remarks: list[str]
    inferred: list[str]


class BecauseOut(BaseModel):
    kind: str
    """As `controller.why.Kind`."""
    values: dict[str, str | int | float]


class WhyOut(BaseModel):
    """Why one terminal is in a warning or not."""

    alert: str
    state: str
    terminal: str
    name: str
    village: str
    township: str
    inside: bool
    """By today's register, county pack and rules."""
    then: Literal["in", "out", "no_plan"]
    """What was planned when the warning came."""
    basis: str
    """Where it was taken to stand: own position, position (of its village), terminals (of its village),
    township seat, no position; empty where only codes decide."""
    lat: float | None
    lon: float | None
    because: list[BecauseOut]


class Done(BaseModel):
    """What an operator's verb came to. `outcome` is released, cancelled, rejected, stopped or refused."""

    outcome: Literal["released", "cancelled", "rejected", "stopped", "refused"]
    alert: str | None = None
    broadcast: str | None = None
    stopped: list[str] = []
    all_clear: list[str] = []
    reasons: list[str] = []


class LatencyOut(BaseModel):
    first_ms: int
    median_ms: int
    last_ms: int


class RowOut(BaseModel):
    key: str
    name: str
    targeted: int
    accepted: int
    ready: int
    playing: int
    played: int
    failed: int
    silent: int


class NotReachedOut(BaseModel):
    terminal: str
    name: str
    village: str
    township: str
    state: str
    reason: str
    words: str


class BroadcastOut(BaseModel):
    id: str
    alert: str
    kind: Kind
    part: str
    """``whole``, or ``lead``: what, where and what to do, heard before the whole."""
    state: str
    headline: str
    created: datetime
    voiced: datetime | None
    done: datetime | None
    stopped_by: str | None
    total: RowOut
    townships: list[RowOut]
    latency: dict[str, LatencyOut]
    not_reached: list[NotReachedOut]
    silent_villages: list[str]
    waiting: int
    """Terminals from which something may still come soon; 0 = as finished as it will be for now."""
    seconds: float
    repeats: int
    clip: str | None
    """Hash of the audio, at /v1/clips/<hash>."""
    generic: bool
    """The voice failed, and the clip says only that there is a warning."""


class BroadcastLine(BaseModel):
    id: str
    alert: str
    kind: Kind
    part: str
    state: str
    created: datetime
    terminals: int


class TerminalOut(BaseModel):
    id: str
    name: str
    village: str
    township: str
    village_key: str
    lat: float | None
    lon: float | None
    languages: list[str]
    enrolled: bool
    simulated: bool
    last_seen: datetime | None
    online: bool
    """Heard, authenticated, within the last 20 minutes."""
    health: dict[str, object]


class Status(BaseModel):
    version: str
    county: str
    mode: str
    sandbox: bool
    operator: str
    broker: bool
    terminals_url: str
    """Where terminals enrol and fetch audio."""
    voice: str
    voice_approved: bool
    terminals: int
    enrolled: int
    online: int
    held: int
    sending: int
    feeds: list[FeedOut]
    alarms: list[str]


class FeedOut(BaseModel):
    name: str
    kind: str
    trust: str
    official: bool
    authenticated: str
    last_good: datetime | None
    last_document: datetime | None
    stale: str
    problem: str


class DocumentOut(BaseModel):
    """A document as it came from a feed, and what became of it."""

    id: int
    feed: str
    name: str
    """Where in the feed: a file name, an address, or what the source calls it."""
    received: datetime
    sha256: str
    size: int
    """Bytes; 0 for one that the feed would not read."""
    outcome: str | None
    """held, released, ignored, refused or quarantined; None while it is being decided."""
    reason: str
    alert: str | None
    headline: str
    """Of the alert that it became."""


class AuditOut(BaseModel):
    id: int
    at: datetime
    who: str
    what: str
    subject: str
    detail: str


Status.model_rebuild()
