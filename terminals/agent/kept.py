"""What a terminal keeps on its disk, and what survives a power cut because of it."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct

from terminals.delivery import State
from terminals.seal import KeyRole
from terminals.wire import Fact, Play

_MAGIC: Final = b"FHD1"


class DurableError(Exception):
    """The kept state is torn or of another version: what is wrong. Start with a new `Durable()`, tell
    somebody, and keep the file: replays are then caught by the time floor of the controller's answer
    alone."""


class Record(Struct):
    """What became of one broadcast here. `play` has no targets and only the chosen clip, or none where none
    fits; None: no sound was ever wanted (refused, or stopped before it came)."""

    broadcast: str
    role: KeyRole
    key: str
    attempt: int
    expires: int
    arrival: int
    facts: list[Fact]
    play: Play | None = None
    outcome: State | None = None
    """None while something may still sound."""
    stopped: bool = False
    sounding: bool = False
    """The device was taking samples when this was saved."""
    resumes: bool = False
    completes: bool = False
    """What the device was last told of it is the rest of the message: when that is out, all was heard."""
    floored: bool = False
    """The generic sentence was heard to its end: not a second time."""
    hand: int = 0
    """How often a hand has sounded it."""


class Spent(Struct, frozen=True):
    """The rest of a record that had to make room: never again, and what its end was."""

    role: KeyRole
    expires: int
    fact: Fact


class StagedSet(Struct, frozen=True):
    """A set to be held. Its manifest and clips are the host's, by their hashes."""

    sha256: str
    size: int
    url: str
    issued: int
    expires: int
    spread_ms: int


class Durable(Struct):
    """Everything that survives a power cut. Times are wire time, ms."""

    floor: int = 0
    groups: tuple[str, ...] | None = None
    """As the last Time said; None: as enrolled."""
    highest: dict[str, int] = {}
    """Key id → highest counter accepted."""
    low: dict[str, int] = {}
    """Key id → every counter up to this one counts as accepted."""
    accepted: dict[str, dict[int, int]] = {}
    """Key id → counter → expires of its command."""
    records: dict[str, Record] = {}
    """Oldest first, at most MAX_RECORDS."""
    spent: dict[str, Spent] = {}
    arrivals: int = 0
    ring: str = ""
    """The envelope of the last Ring taken, as latin-1: its seal is verified anew at every start."""
    ring_version: int = 0
    """Highest ever taken."""
    sets: dict[str, StagedSet] = {}

    def to_bytes(self) -> bytes:
        """For a file that is written anew and renamed into place, fsync before the rename."""
        body = _encoder.encode(self)
        return _MAGIC + b" " + sha256(body).hexdigest().encode() + b"\n" + body

    @classmethod
    def from_bytes(cls, data: bytes) -> Durable:
        """Raises DurableError unless every byte of a `to_bytes` of this version is there."""
        header, newline, body = data.partition(b"\n")
        magic, _, digest = header.partition(b" ")
        if magic != _MAGIC or not newline:
            raise DurableError(f"no {_MAGIC.decode()} header: empty, torn or of another version")
        if digest != sha256(body).hexdigest().encode():
            raise DurableError(f"torn: the hash of its {len(body)} bytes is another")
        try:
            return _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DurableError(f"whole, but not this version's: {error}") from error


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Durable)
