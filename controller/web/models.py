"""What the API takes and gives: the shapes of docs and OpenAPI. Edge types, not used further in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from config.schema import Siren
from tts.voice import Speaker

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


class StandingIn(In):
    """A message for terminals to keep, for a hand there to sound."""

    kind: Kind
    compose: Compose
    """Without `valid_minutes`."""
    days: Annotated[int, Field(ge=1, le=400)]
    """How long a hand may sound it."""
    sound: bool = True
    """For a preview: whether the audio is wanted."""
    meant: bool = False
    """As in `Send`."""

    @model_validator(mode="after")
    def _in_days(self) -> Self:
        if self.compose.valid_minutes is not None:
            raise ValueError("say how long in days, not in valid_minutes")
        return self


class SirenIn(In):
    """A siren of civil defence, as an exercise; only what the configuration permits."""

    pattern: Siren
    areas: Annotated[list[str], Field(min_length=1, max_length=400)]
    dry_run: bool = False


class StopAll(In):
    reason: Annotated[str, Field(min_length=1, max_length=300)]
    standing: bool = False
    """Take the standing messages from their terminals too."""


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
    speaker: Speaker = Speaker.HORN
    """Class of its loudspeaker: which chain its sound goes through."""
    codecs: Annotated[list[Literal["mp3", "opus"]], Field(min_length=1, max_length=2)] = ["mp3"]
    """What it can decode, the one it prefers first."""


class Import(In):
    terminals: Annotated[list[TerminalIn], Field(min_length=1, max_length=20_000)]
    dry_run: bool = False
    """Only say what it would do."""


class Replace(In):
    """A new board in the place of a broken one."""

    by: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")]
    """Id of the new board."""
    reason: Annotated[str, Field(min_length=1, max_length=300)]


class Codes(In):
    terminals: Annotated[list[str], Field(min_length=1, max_length=20_000)]


class OriginalOut(BaseModel):
    """The source's own words, as they came, beside what is said of them."""

    headline: str
    description: str
    instruction: str


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
    """What is said, as written; empty where it cannot be composed, and `notes` say why."""
    omitted: list[str] = []
    """What the source says and is not said, for length or because it is over."""
    original: OriginalOut | None = None
    """What `text` was made from; None where there is only a template."""
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
    notes: list[str] = []
    """What some of these loudspeakers will hear in Mandarin instead of their own language, or not at all, and
    why."""


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
    doubt: str = ""
    """What is wrong with that sound; unless red or in the fast lane it would wait for an operator."""


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
    """What an operator's verb came to."""

    outcome: Literal["released", "cancelled", "rejected", "stopped", "aired", "refused"]
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
    floor: int = 0
    """Only the generic sentence was heard there: the message is missing."""


class MuteOut(BaseModel):
    """A targeted village in which nothing has sounded, and what is known of its loudspeakers."""

    village: str
    township: str
    targeted: int
    words: list[str]


class TogetherOut(BaseModel):
    """A start at one moment, and how far it was achieved, by the terminals' own clocks."""

    at: datetime
    started: int
    late: int
    spread_ms: int | None
    error_ms: int | None
    unmeasured: int


class HandOut(BaseModel):
    """A loudspeaker at which a hand has sounded a standing message."""

    terminal: str
    name: str
    village: str
    township: str
    began: list[datetime]
    """Each time, by the terminal's clock."""
    whole: int
    """How often it came to its end."""
    now: bool
    """It sounds still, by the terminal's last word."""


class NotReachedOut(BaseModel):
    terminal: str
    name: str
    village: str
    township: str
    state: str
    reason: str
    words: str
    sounded: bool = False
    """Whether any part of it was heard there."""


class StepOut(BaseModel):
    """One fact of a delivery: the terminal's own word, but for ``sent`` and ``unreached``."""

    at: datetime
    attempt: int
    state: str
    reason: str
    detail: str


class ChainOut(BaseModel):
    """All that is known of one terminal's part of one broadcast, in the order in which it happened."""

    broadcast: str
    alert: str
    headline: str
    terminal: str
    name: str
    village: str
    township: str
    state: str
    reason: str
    words: str
    sounded: bool
    last_seen: datetime | None
    """Its last authenticated word about anything; null: never."""
    steps: list[StepOut]


class PartOut(BaseModel):
    """One broadcast that came of a warning."""

    id: str
    part: str
    """``whole``, ``lead``, or ``all-clear``."""
    state: str
    created: datetime
    targeted: int
    played: int
    stopped_by: str | None


class UnheardOut(NotReachedOut):
    """A terminal where nothing of a warning has sounded."""

    broadcast: str
    """Whose delivery the words are about: the last that was meant for it."""


class DeliveriesOut(BaseModel):
    """What came of a warning at the loudspeakers."""

    id: str
    state: str
    headline: str
    reason: str
    why: list[str]
    """Who was to hear it, and why."""
    broadcasts: list[PartOut]
    """Oldest first."""
    silent_villages: list[str]
    """Targeted, and without an enrolled terminal."""
    unheard: list[UnheardOut]
    """Terminals where nothing of it has sounded, and what is known of each."""


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
    """The clip says only that there is a warning: the voice failed, or nothing could wait for it (fast lane).
    Then `text` is not said."""
    mute: list[MuteOut] = []
    """Targeted villages where nothing has sounded, those without any loudspeaker first."""
    together: TogetherOut | None = None
    """None where each started as soon as it could."""
    doubt: str = ""
    """What is wrong with its sound, as far as anything was found."""
    airs: datetime | None = None
    """While it waits for an operator because of that: when it is aired all the same."""
    aired_by: str | None = None
    """Who did not let it wait."""
    text: str = ""
    """What it says, as written; empty where today's templates cannot say it any more."""
    omitted: list[str] = []
    original: OriginalOut | None = None
    standing: bool = False
    """Kept by its terminals for a hand; `not_reached` are those that do not hold it."""
    expires: datetime | None = None
    """Of a standing message: until when a hand may sound it."""
    hands: list[HandOut] = []
    """Where a hand has sounded it, the latest first."""


class StandingLine(BaseModel):
    """A standing message, and how many of its terminals hold it."""

    id: str
    """Of its broadcast."""
    alert: str
    kind: Kind
    state: Literal["voicing", "kept", "dropped", "expired"]
    """dropped: told to forget it, and `cover` still counts who has not said so."""
    headline: str
    created: datetime
    expires: datetime
    terminals: int
    holding: int
    hands: int
    """Loudspeakers at which a hand has sounded it."""
    now: list[str]
    """Terminals where a hand sounds it now."""
    anew: str
    """Why it must be sent anew; empty while it need not be."""


class StandingCover(BaseModel):
    key: str
    name: str
    terminals: int
    whole: int
    """Hold it, by their last word."""
    silent: int
    problems: dict[str, int]


class StandingDetail(StandingLine):
    text: str
    generic: bool
    """The voice failed: terminals hold the generic sentence of its hazard, which does not say `text`."""
    doubt: str
    townships: list[StandingCover]
    """The worst first."""
    by_hand: list[HandOut]


class BroadcastLine(BaseModel):
    id: str
    alert: str
    kind: Kind
    part: str
    state: str
    created: datetime
    terminals: int
    standing: bool = False
    """Kept by its terminals; makes no sound but at a hand."""


class CoverOut(BaseModel):
    """Who holds a set, in one township or everywhere."""

    key: str
    name: str
    terminals: int
    """Meant to hold it."""
    whole: int
    part: int
    silent: int
    """Have not said a word about it."""
    problems: dict[str, int]


class SetOut(BaseModel):
    """A set of clips that terminals hold ahead."""

    id: str
    purpose: str
    """floor, quake, quake-exercise, or event: and an event's key."""
    clips: int
    size: int
    """Bytes, of all its clips."""
    groups: list[str]
    created: datetime
    expires: datetime
    cover: CoverOut
    dropped: bool = False
    """Nobody is to hold it any more: terminals are told to forget it."""
    still: int | None = None
    """Of one that was dropped: terminals that still hold it by their last word."""


class SetDetail(SetOut):
    names: list[str]
    townships: list[CoverOut]
    """The worst first."""


class Offer(In):
    alert: str | None = None
    """Place ahead what this warning may become; without it every set is offered again."""


class TerminalOut(BaseModel):
    id: str
    name: str
    village: str
    township: str
    village_key: str
    lat: float | None
    lon: float | None
    languages: list[str]
    speaker: str
    codecs: list[str]
    enrolled: bool
    simulated: bool
    last_seen: datetime | None
    online: bool
    """Heard, authenticated, within the last 20 minutes."""
    health: dict[str, object]
    refused_reports: int = 0
    """Reports below its topic that were not taken since the controller started: forged, damaged or broken."""


class RingOut(BaseModel):
    version: int
    """0: none was ever issued; terminals hold the keys of their enrolment."""
    enrolled: int
    holding: int
    """Enrolled terminals that hold it."""
    waiting: list[str]
    """Heard within the last week, and with an older ring; the first hundred."""
    ahead: list[str]
    """With a newer ring than the controller's; the first hundred."""
    sealing: dict[str, str]
    """Role → id of the key that seals now."""
    problems: list[str]


class Imported(BaseModel):
    """What an import did, or would do; ids."""

    registered: int
    new: list[str]
    moved: list[str]
    """To another village."""
    changed: list[str]


class RetiredOut(BaseModel):
    id: str
    name: str
    village: str
    retired: datetime
    by: str
    """The terminal that stands there instead; empty where there is none."""


class PlayedOut(BaseModel):
    """What a terminal said last about a broadcast."""

    broadcast: str
    kind: str
    headline: str
    state: str
    reason: str
    at: datetime


class KeptOut(BaseModel):
    """A standing message that a terminal holds."""

    broadcast: str
    kind: Kind
    headline: str
    expires: datetime
    began: list[datetime]
    """When a hand sounded it there."""


class TerminalDetail(TerminalOut):
    retired: datetime | None
    replaced_by: str
    replaces: list[str]
    grade: str | None
    """ready, doubtful or dead; None for one that is retired."""
    findings: list[str]
    heard: datetime | None
    """When people last heard it."""
    tested: datetime | None
    groups: list[str]
    ring: int
    """Version of the ring of keys that it holds."""
    sets_missing: int | None
    certificate: datetime | None
    last_broadcasts: list[PlayedOut]
    standing: list[KeptOut] = []
    """The standing messages that it holds."""
    history: list[AuditOut]


class ReadyOut(BaseModel):
    id: str
    name: str
    village: str
    township: str
    grade: str
    """ready, doubtful or dead."""
    online: bool
    hello: datetime | None
    """Its last authenticated word."""
    heard: datetime | None
    tested: datetime | None
    health: dict[str, object]
    sets_missing: int | None
    certificate: datetime | None
    findings: list[str]


class TownshipOut(BaseModel):
    name: str
    terminals: int
    ready: int
    doubtful: int
    dead: int
    online: int
    on_battery: int
    sick_amplifiers: int
    software: dict[str, int]
    heard: datetime | None
    """How long ago the one was heard that has been quiet longest; None: one was never heard."""


class ReadinessOut(BaseModel):
    total: TownshipOut
    townships: list[TownshipOut]
    terminals: list[ReadyOut]


class TrialRunOut(BaseModel):
    slot: datetime
    state: str
    reason: str
    began: datetime | None
    ended: datetime | None
    broadcast: str
    planned: int
    played: int


class TrialOut(BaseModel):
    name: str
    day: str | int
    at: str
    sound: str
    townships: list[str]
    volume: int
    next: datetime
    waits: str
    runs: list[TrialRunOut]


class RingCover(BaseModel):
    """How many terminals hold the newest keys."""

    version: int
    enrolled: int
    holding: int
    ahead: int
    """Hold a newer ring than ours: somebody else has our root, or a backup was restored."""


class SetCover(BaseModel):
    """How many of those that are to hold a set ahead do."""

    purpose: str
    terminals: int
    whole: int


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
    doubted: int = 0
    """Broadcasts that wait because no voice says them right."""
    sending: int
    """Without those that terminals only keep."""
    standing: int = 0
    """Standing messages in force."""
    feeds: list[FeedOut]
    alarms: list[str]
    ring: RingCover | None = None
    sets: list[SetCover] = []


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
