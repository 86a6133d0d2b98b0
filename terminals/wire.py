"""The native wire protocol, version 1: bytes ⇄ Play, Stop, Query, Time, Stage, Ring; Report, Hello, Probe,
Staged; and the manifest of a staged set, which is fetched and not sent.

Every message is one UTF-8 JSON body inside a sealed envelope (`terminals.seal`); the exact bytes are
sealed. Bodies are decoded strictly: unknown *kinds* are refused, unknown *fields* are ignored (a newer
controller may say more), every string and list has a length limit in its type. Written down for
implementers in `docs/wire.md`; nothing here verifies or decides.

All times are wire time: Unix milliseconds on the controller's signed clock (`Time`), never a wall clock
of the terminal's.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

_T = TypeVar("_T")

VERSION: Final = 1
# A command must fit the smallest broker limit met in the field with room (rumqttd's default is 20,480
# bytes, `messaging.md` §1.0); target lists are split to stay below it.
MAX_BODY: Final = 16_384
MAX_TARGETS_BYTES: Final = 8_192
MAX_MANIFEST: Final = 2_000_000
"""Bytes of a set's manifest."""
MAX_SETS: Final = 16
"""Sets that a terminal holds at a time; a Hello tells of all of them."""

# \Z, not $: `$` also matches before a last newline, and ids go into topics and sealed headers.
Id = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9._-]+\Z")]
Key = Annotated[str, Meta(min_length=1, max_length=24, pattern=r"^[A-Za-z0-9._-]+\Z")]
Sha256 = Annotated[str, Meta(min_length=64, max_length=64, pattern=r"^[0-9a-f]+\Z")]
Millis = Annotated[int, Meta(ge=0, le=1 << 53)]
Text = Annotated[str, Meta(max_length=200)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Rank = Annotated[int, Meta(ge=0, le=99)]
Word = Annotated[str, Meta(max_length=24, pattern=r"^[A-Za-z0-9._-]*\Z")]
"""A key, or "" for none."""
Nonce = Annotated[str, Meta(min_length=16, max_length=64)]
Size = Annotated[int, Meta(ge=1, le=50_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=1200)]
Language = Annotated[str, Meta(max_length=35)]
Codec = Annotated[str, Meta(max_length=12)]
Url = Annotated[str, Meta(max_length=300)]
# No part may be "." or "..": names never become file names here, and must not tempt anybody.
Name = Annotated[
    str, Meta(min_length=3, max_length=80, pattern=r"^[a-z]+(/([A-Za-z0-9_-][A-Za-z0-9._-]*|\*)){1,6}\Z")
]
"""What a staged clip is for: ``floor/<kind>/<hazard or *>/<first|cancel>``, ``quake/<seconds>``, ``quake/-``,
``event/<free>``."""


class WireError(Exception):
    """Bytes that are not a message of this version: what is wrong and where."""


class Clip(Struct, frozen=True):
    """One variant of the sound, whole with its attention signal: fetched by hash, or already held. `url` is
    relative to the audio base."""

    language: Language
    """One or more BCP 47 tags joined by "+", in the order in which they are spoken."""
    codec: Codec
    sha256: Sha256
    size: Size
    """Bytes."""
    seconds: Seconds
    url: Url = ""
    speaker: Word = ""
    """Class of loudspeaker that it was rendered for; "" any."""


class Targets(Struct, frozen=True):
    """Who must act: the union of both lists. Both empty means nobody, never everybody."""

    groups: Annotated[tuple[Key, ...], Meta(max_length=400)] = ()
    terminals: Annotated[tuple[Id, ...], Meta(max_length=800)] = ()


class Quake(Struct, frozen=True):
    """An earthquake, from which every terminal counts down for its own place."""

    origin: Millis
    """When the ground broke, wire time."""
    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]
    depth_km: Annotated[float, Meta(ge=0, le=750)]
    magnitude: Annotated[float, Meta(ge=0, le=10)]
    set: Id
    """The staged set with the countdown clips; no other set's are taken."""


class Play(Struct, frozen=True, tag="play"):
    """Sound this. Verified, counted and windowed at the terminal before anything else happens."""

    broadcast: Id
    event: Annotated[str, Meta(min_length=1, max_length=128)]
    role: Key
    """actual, exercise or test; must be the role of the key that sealed it."""
    attempt: Annotated[int, Meta(ge=1, le=1000)]
    counter: Millis
    issued: Millis
    not_before: Millis
    expires: Millis
    priority: tuple[Rank, Rank, Rank, Rank]
    targets: Targets
    clips: Annotated[tuple[Clip, ...], Meta(max_length=32)]
    """In the issuer's order; none: only a countdown or the generic sentence can sound."""
    repeats: Annotated[int, Meta(ge=1, le=9)]
    volume: Annotated[int, Meta(ge=1, le=100)]
    play_at: Millis = 0
    """Start together at this time; 0 = at once."""
    replaces: Annotated[tuple[Id, ...], Meta(max_length=16)] = ()
    spread_ms: Annotated[int, Meta(ge=0, le=60_000)] = 0
    """A terminal that must fetch waits a random part of this first, so that many do not fetch at once."""
    hazard: Word = ""
    """Of the hazard catalogue; names the generic sentence (`Name`)."""
    signal: Word = ""
    """The attention signal (a `tts.voice.Signal`) that is generated where not even a generic sentence is."""
    patience_ms: Annotated[int, Meta(ge=0, le=60_000)] = 20_000
    """How long a terminal that lacks its clip waits for the fetch before it sounds the generic sentence.
    None at all in the fast lane."""
    quake: Quake | None = None
    standing: bool = False
    """Kept with its clip, and sounded only by a hand at the terminal; may live up to 400 days."""
    silent: bool = False
    """A test of everything but the sound: the clip is decoded and the device driven with silence. Only of
    role test; whatever goes wrong, nothing is heard."""


class Stop(Struct, frozen=True, tag="stop"):
    """Silence these broadcasts now and never start them again. Acknowledged per broadcast."""

    broadcasts: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=64)]
    role: Key
    counter: Millis
    issued: Millis
    expires: Millis
    targets: Targets


class Query(Struct, frozen=True, tag="query"):
    """What is your state in this broadcast? Makes no sound, needs no counter, is always answered."""

    broadcast: Id
    issued: Millis


class Time(Struct, frozen=True, tag="time"):
    """Answer to a Hello: the signed time, and what the controller believes the terminal to be."""

    terminal: Id
    nonce: Nonce
    now: Millis
    groups: Annotated[tuple[Key, ...], Meta(max_length=32)]
    """The groups this terminal must be subscribed to."""
    audio_base: Annotated[str, Meta(max_length=200)]
    """Where clip addresses are relative to, e.g. ``http://10.1.0.2:8470``."""
    probes: Annotated[int, Meta(ge=0, le=8)] = 0
    """Measure your clock by so many Probes now."""


class Stage(Struct, frozen=True, tag="stage"):
    """Fetch this set of clips and keep it. Makes no sound."""

    set: Id
    """`set_id` of the manifest's hash."""
    sha256: Sha256
    size: Annotated[int, Meta(ge=1, le=MAX_MANIFEST)]
    url: Url
    """Of the manifest, relative to the audio base."""
    issued: Millis
    expires: Millis
    """Pinned until then; at most 400 days after `issued`. Not after `issued`: the set is to be forgotten."""
    targets: Targets
    spread_ms: Annotated[int, Meta(ge=0, le=600_000)] = 0


class RingKey(Struct, frozen=True):
    """A public key with its role."""

    role: Key
    public: Annotated[str, Meta(min_length=43, max_length=43, pattern=r"^[A-Za-z0-9_-]+\Z")]
    """base64url of 32 bytes."""
    until: Millis = 0
    """Nothing is taken under it from then on; 0 = open."""


class Ring(Struct, frozen=True, tag="ring"):
    """The keys to believe from now on, beside the root keys of the enrolment. Makes no sound."""

    county: Key
    version: Annotated[int, Meta(ge=1, le=1 << 53)]
    """A terminal takes only a higher one than it holds."""
    issued: Millis
    keys: Annotated[dict[Key, RingKey], Meta(max_length=32)]


class Fact(Struct, frozen=True):
    """One state that a terminal has reached, once."""

    attempt: Annotated[int, Meta(ge=1, le=1000)]
    state: Annotated[str, Meta(max_length=16)]
    at: Millis
    reason: Annotated[str, Meta(max_length=32)] = ""
    detail: Text = ""


class Report(Struct, frozen=True, tag="report"):
    """States reached in one broadcast. What is true when it is written travels together, so a lost
    report costs nothing once a later one arrives."""

    terminal: Id
    broadcast: Id
    boot: Id
    seq: Annotated[int, Meta(ge=0, le=1 << 53)]
    facts: Annotated[tuple[Fact, ...], Meta(max_length=64)]
    """Empty: asked about a broadcast that this terminal never received."""
    counter_seen: Millis = 0
    """Highest counter accepted under the role's key, so that a restored controller can jump above it."""


class Health(Struct, frozen=True):
    """What an engineer wants to know from afar; absent where the terminal cannot tell."""

    software: Annotated[str, Meta(max_length=40)] = ""
    volume: Percent | None = None
    amplifier_ok: bool | None = None
    battery: Percent | None = None
    mains: bool | None = None
    disk_free_mb: Annotated[int, Meta(ge=0, le=1 << 40)] | None = None
    last_sound: Millis = 0
    clock_error_ms: Millis | None = None
    """How far the terminal's wire time may be off: half the round trip it was measured by, and the drift
    since."""


class Hello(Struct, frozen=True, tag="hello"):
    """First word after every connect, asking for the signed time."""

    terminal: Id
    boot: Id
    seq: Annotated[int, Meta(ge=0, le=1 << 53)]
    nonce: Nonce
    floor: Millis
    """Latest signed time this terminal holds on disk; a controller behind it must doubt its own clock."""
    counters: Annotated[dict[Key, Millis], Meta(max_length=8)] = {}
    """Per key id the highest counter accepted."""
    holds: Annotated[tuple[Sha256, ...], Meta(max_length=64)] = ()
    health: Health = Health()
    ring: Annotated[int, Meta(ge=0, le=1 << 53)] = 0
    """Version of the last Ring taken; 0: the keys of the enrolment."""
    sets: Annotated[dict[Id, Annotated[int, Meta(ge=0, le=1 << 20)]], Meta(max_length=MAX_SETS)] = {}
    """Staged set → how many of its clips are still missing here."""


class Probe(Struct, frozen=True, tag="probe"):
    """What is the time? Answered like a Hello by a Time, at once."""

    terminal: Id
    nonce: Nonce


class Staged(Struct, frozen=True, tag="staged"):
    """How far a terminal is with a set."""

    terminal: Id
    boot: Id
    seq: Annotated[int, Meta(ge=0, le=1 << 53)]
    set: Id
    wanted: Annotated[int, Meta(ge=0, le=1 << 20)]
    """Clips of it that fit this terminal; 0 while the manifest is not here."""
    held: Annotated[int, Meta(ge=0, le=1 << 20)]
    problem: Text = ""
    """Why it does not go on: a word of `docs/wire.md` and perhaps details after it."""


Command = Play | Stop | Query | Time | Stage | Ring
Upward = Report | Hello | Probe | Staged
MESSAGES: Final = (Play, Stop, Query, Time, Stage, Ring, Report, Hello, Probe, Staged)


# --- the manifest of a set, which is fetched -----------------------------------------------------------


class StagedClip(Struct, frozen=True):
    """One clip of a set, as in its manifest."""

    name: Name
    language: Language
    codec: Codec
    speaker: Word
    sha256: Sha256
    size: Size
    seconds: Seconds
    url: Url

    @property
    def clip(self) -> Clip:
        return Clip(self.language, self.codec, self.sha256, self.size, self.seconds, self.url, self.speaker)


class Manifest(Struct, frozen=True, eq=False):
    """All clips of a set, for every language, codec and class of loudspeaker. Compared by identity."""

    clips: Annotated[tuple[StagedClip, ...], Meta(min_length=1, max_length=8_000)]


def set_id(sha256: str) -> str:
    """The id of the set whose manifest has this hash."""
    return f"s-{sha256[:16]}"


_encoder = msgspec.json.Encoder()
_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_upward: msgspec.json.Decoder[Upward] = msgspec.json.Decoder(Upward)
_manifests: msgspec.json.Decoder[Manifest] = msgspec.json.Decoder(Manifest)


def encode(message: Command | Upward) -> bytes:
    """The body of `message`. Raises WireError above MAX_BODY bytes: split the targets."""
    body = _encoder.encode(message)
    if len(body) > MAX_BODY:
        raise WireError(f"{type(message).__name__} of {len(body)} bytes; the limit is {MAX_BODY}")
    return body


def decode_command(body: bytes) -> Command:
    """What the controller said. Raises WireError with the field that is wrong."""
    return _decode(_commands, body)


def decode_upward(body: bytes) -> Upward:
    """What a terminal said. Raises WireError with the field that is wrong."""
    return _decode(_upward, body)


def encode_manifest(manifest: Manifest) -> bytes:
    """What is hashed, named by `set_id` and served. Raises WireError above MAX_MANIFEST bytes."""
    data = _encoder.encode(manifest)
    if len(data) > MAX_MANIFEST:
        raise WireError(f"a manifest of {len(data)} bytes; the limit is {MAX_MANIFEST}")
    return data


def decode_manifest(data: bytes) -> Manifest:
    """A set's manifest whose hash has been checked. Raises WireError: what is wrong and where."""
    manifest = _decode(_manifests, data, MAX_MANIFEST)
    seen = set()
    for entry in manifest.clips:
        variant = (entry.name, entry.language, entry.codec, entry.speaker)
        if variant in seen:
            raise WireError(f"two clips for {' '.join(filter(None, variant))}")
        seen.add(variant)
    return manifest


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes, limit: int = MAX_BODY) -> _T:
    if len(body) > limit:
        raise WireError(f"{len(body)} bytes; the limit is {limit}")
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # ValidationError is a DecodeError; both name the field (`$.targets.groups[3]`). Bytes inside a
        # string that are not UTF-8 come as UnicodeDecodeError, which is not one.
        raise WireError(str(error)) from error
