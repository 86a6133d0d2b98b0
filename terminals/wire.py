"""The native wire protocol, version 1: bytes ⇄ Play, Stop, Query, Time; Report, Hello.

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

# \Z, not $: `$` also matches before a last newline, and ids go into topics and sealed headers.
Id = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9._-]+\Z")]
Key = Annotated[str, Meta(min_length=1, max_length=24, pattern=r"^[A-Za-z0-9._-]+\Z")]
Sha256 = Annotated[str, Meta(min_length=64, max_length=64, pattern=r"^[0-9a-f]+\Z")]
Millis = Annotated[int, Meta(ge=0, le=1 << 53)]
Text = Annotated[str, Meta(max_length=200)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Rank = Annotated[int, Meta(ge=0, le=99)]


class WireError(Exception):
    """Bytes that are not a message of this version: what is wrong and where."""


class Clip(Struct, frozen=True):
    """One variant of the sound: fetched by hash, or already held. `url` is relative to the audio base."""

    language: Annotated[str, Meta(max_length=35)]
    codec: Annotated[str, Meta(max_length=12)]
    sha256: Sha256
    size: Annotated[int, Meta(ge=1, le=50_000_000)]
    seconds: Annotated[float, Meta(gt=0, le=1200)]
    url: Annotated[str, Meta(max_length=300)] = ""


class Targets(Struct, frozen=True):
    """Who must act: the union of both lists. Both empty means nobody, never everybody."""

    groups: Annotated[tuple[Key, ...], Meta(max_length=400)] = ()
    terminals: Annotated[tuple[Id, ...], Meta(max_length=800)] = ()


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
    clips: Annotated[tuple[Clip, ...], Meta(min_length=1, max_length=32)]
    repeats: Annotated[int, Meta(ge=1, le=9)]
    volume: Annotated[int, Meta(ge=1, le=100)]
    play_at: Millis = 0
    """Start together at this time; 0 = at once."""
    replaces: Annotated[tuple[Id, ...], Meta(max_length=16)] = ()
    spread_ms: Annotated[int, Meta(ge=0, le=60_000)] = 0
    """A terminal that must fetch waits a random part of this first, so that many do not fetch at once."""


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
    nonce: Annotated[str, Meta(min_length=16, max_length=64)]
    now: Millis
    groups: Annotated[tuple[Key, ...], Meta(max_length=32)]
    """The groups this terminal must be subscribed to."""
    audio_base: Annotated[str, Meta(max_length=200)]
    """Where clip addresses are relative to, e.g. ``http://10.1.0.2:8470``."""


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


class Hello(Struct, frozen=True, tag="hello"):
    """First word after every connect, asking for the signed time."""

    terminal: Id
    boot: Id
    seq: Annotated[int, Meta(ge=0, le=1 << 53)]
    nonce: Annotated[str, Meta(min_length=16, max_length=64)]
    floor: Millis
    """Latest signed time this terminal holds on disk; a controller behind it must doubt its own clock."""
    counters: Annotated[dict[Key, Millis], Meta(max_length=8)] = {}
    """Per key id the highest counter accepted."""
    holds: Annotated[tuple[Sha256, ...], Meta(max_length=64)] = ()
    health: Health = Health()


Command = Play | Stop | Query | Time
Upward = Report | Hello
MESSAGES: Final = (Play, Stop, Query, Time, Report, Hello)

_encoder = msgspec.json.Encoder()
_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_upward: msgspec.json.Decoder[Upward] = msgspec.json.Decoder(Upward)


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


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    if len(body) > MAX_BODY:
        raise WireError(f"{len(body)} bytes; the limit is {MAX_BODY}")
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # ValidationError is a DecodeError; both name the field (`$.targets.groups[3]`). Bytes inside a
        # string that are not UTF-8 come as UnicodeDecodeError, which is not one.
        raise WireError(str(error)) from error
