"""Who said it: sealed envelopes around wire bodies. Signed, not encrypted; TLS encrypts.

An envelope is one ASCII line and then the exact bytes that are sealed::

    FH1 <key id> <base64url, no padding>\\n<body>

Commands carry an Ed25519 signature, reports a truncated HMAC under a key of their own terminal. There is
one way to be genuine and none to be half so: no header, an empty seal or an unknown key is refused, never
let through as unsigned (ct-ewbsv2.0 verified only if a signature file was there: `lessons` §9 row 11).

A key has one role. What a drill key seals can never sound as a real warning, nor the other way round.
Pure: keys and randomness are arguments. `docs/wire.md` is the same for implementers.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from re import ASCII
from re import compile as regex
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from terminals.wire import (
    MAX_BODY,
    Command,
    Play,
    Query,
    Ring,
    Stage,
    Stop,
    Time,
    Upward,
    WireError,
    decode_command,
    decode_upward,
    encode,
)

MAX_ENVELOPE: Final = MAX_BODY + 300
"""Bytes; below every broker limit met in the field (rumqttd's default is 20,480)."""
SANDBOX_PREFIX: Final = "sandbox-"
"""Key ids that start so are throw-away keys of a sandbox: only simulated terminals know them."""
SIGNER_ENTROPY: Final = 36
"""Random bytes that `new_signer` needs: 32 for the key, 4 for its id."""
REPORT_MAC: Final = 16
"""Bytes of a report's MAC (RFC 2104 §5 allows half of SHA-256's 32)."""

_MAGIC: Final = "FH1"
_MAGIC_BYTES: Final = _MAGIC.encode()
_HEADER: Final = regex(r"FH1 ([A-Za-z0-9._-]{1,40}) ([A-Za-z0-9_-]{0,128})", ASCII)
_LONGEST_HEADER: Final = 3 + 1 + 40 + 1 + 128
_SIGNATURE: Final = 64
_COMMAND: Final = b"fenghuo/1 command\n"
_REPORT: Final = b"fenghuo/1 report\n"
_REPORT_KEY: Final = b"fenghuo/1 report key\n"
_STATES: Final = 16_384
"""HMAC states kept, 0.9 KB each: a large county's. To begin one anew costs four times what the rest does."""


class KeyRole(StrEnum):
    """What a key may seal. The first three are the kinds of broadcast and nothing else."""

    ACTUAL = "actual"
    EXERCISE = "exercise"
    TEST = "test"
    SERVICE = "service"
    """Time, Query and Stage only: makes no sound."""
    ROOT = "root"
    """Ring only: says which other keys are to be believed. Comes to a terminal at enrolment and in no other
    way, so that it can lie in a safe."""


SOUNDING: Final = frozenset({KeyRole.ACTUAL, KeyRole.EXERCISE, KeyRole.TEST})


class SealReason(StrEnum):
    MALFORMED = "malformed"
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown-key"
    BAD_SIGNATURE = "bad-signature"
    WRONG_ROLE = "wrong-role"
    TOO_LONG = "too-long"
    UNKNOWN_TERMINAL = "unknown-terminal"
    WRONG_TERMINAL = "wrong-terminal"
    """A genuine seal of one terminal around the words of another."""


class SealError(Exception):
    """The envelope is not to be believed. `reason` is for machines and metrics, the text for people."""

    def __init__(self, reason: SealReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class RingError(ValueError):
    """A key ring or signer that makes no sense: which key and why."""


# --- keys --------------------------------------------------------------------------------------------


class Signer:
    """A private key with its role. Refuses (ValueError: our bug) to seal what the role may not."""

    __slots__ = ("_private", "key_id", "public_bytes", "role")

    def __init__(self, role: KeyRole, key_id: str, private_key: Ed25519PrivateKey) -> None:
        _check_key_id(key_id, role)
        self.role: Final = role
        self.key_id: Final = key_id
        self._private = private_key
        self.public_bytes: Final = private_key.public_key().public_bytes_raw()
        """Raw Ed25519 public key, 32 bytes."""

    @property
    def private_bytes(self) -> bytes:
        """Raw Ed25519 private key, 32 bytes: for the file that keeps it, and nowhere else."""
        return self._private.private_bytes_raw()

    def seal(self, command: Command) -> bytes:
        """The sealed envelope. Raises WireError if the body is too long (split the targets)."""
        if not may_seal(self.role, command):
            raise ValueError(f"key {self.key_id} of role {self.role} may not seal {command!r}")
        body = encode(command)
        signature = self._private.sign(_COMMAND + self.key_id.encode() + b"\n" + body)
        return _envelope(self.key_id, signature, body)


def may_seal(role: KeyRole, command: Command) -> bool:
    """The role table: Play and Stop by the key of their own role, Ring by a root key, all else by the service
    key."""
    match command:
        case Play() | Stop():
            return role in SOUNDING and command.role == role.value
        case Query() | Time() | Stage():
            return role is KeyRole.SERVICE
        case Ring():
            return role is KeyRole.ROOT


def new_signer(role: KeyRole, entropy: bytes, *, sandbox: bool = False) -> Signer:
    """A new key of `role` from SIGNER_ENTROPY random bytes; its id is the role's letter and 8 hex digits."""
    if len(entropy) != SIGNER_ENTROPY:
        raise ValueError(f"a signer needs {SIGNER_ENTROPY} random bytes, not {len(entropy)}")
    key_id = f"{SANDBOX_PREFIX if sandbox else ''}{role.value[0]}{entropy[32:].hex()}"
    return Signer(role, key_id, Ed25519PrivateKey.from_private_bytes(entropy[:32]))


def is_sandbox_key(key_id: str) -> bool:
    return key_id.startswith(SANDBOX_PREFIX)


@dataclass(frozen=True, slots=True, eq=False)
class KeyRing:
    """The public keys that a terminal believes, by key id. Compared and hashed by identity."""

    keys: Mapping[str, tuple[KeyRole, Ed25519PublicKey]]
    until: Mapping[str, int] = field(default_factory=dict)
    """Key id → wire ms from which nothing is taken under it; absent: open. For whoever knows the time."""

    @classmethod
    def of(cls, signers: Iterable[Signer]) -> KeyRing:
        return cls.from_dict(
            {s.key_id: {"role": s.role.value, "public": _b64(s.public_bytes)} for s in signers}
        )

    def to_dict(self) -> dict[str, dict[str, str]]:
        """JSON-able: key id → {role, public (base64url of 32 bytes)}."""
        return {
            key_id: {"role": role.value, "public": _b64(public.public_bytes_raw())}
            for key_id, (role, public) in self.keys.items()
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, str]]) -> KeyRing:
        """The inverse of `to_dict`. Raises RingError naming the key that is wrong."""
        keys: dict[str, tuple[KeyRole, Ed25519PublicKey]] = {}
        for key_id, entry in data.items():
            try:
                role = KeyRole(entry["role"])
                public = Ed25519PublicKey.from_public_bytes(_unb64(entry["public"], 32))
            except (KeyError, ValueError) as error:
                raise RingError(f"key {key_id!r}: needs a role and 32 bytes of base64url: {error}") from error
            _check_key_id(key_id, role)
            keys[key_id] = (role, public)
        return cls(keys)

    @property
    def is_sandbox(self) -> bool:
        """Whether the ring holds throw-away keys. Raises RingError if it mixes both sorts."""
        sorts = {is_sandbox_key(key_id) for key_id in self.keys}
        if len(sorts) > 1:
            raise RingError(f"sandbox and real keys in one ring: {', '.join(sorted(self.keys))}")
        return sorts == {True}


@lru_cache(16)
def renewed(enrolled: KeyRing, body: bytes) -> KeyRing:
    """The ring after the Ring in `body`: the root keys of the enrolment and the keys that it names.

    Raises RingError. Remembered, so that the terminals of a simulator share one ring and with it what
    `open_command` has verified.
    """
    try:
        ring = decode_command(body)
    except WireError as error:
        raise RingError(f"not a Ring: {error}") from error
    if not isinstance(ring, Ring):
        raise RingError(f"a {type(ring).__name__} is no Ring")
    named = KeyRing.from_dict({k: {"role": e.role, "public": e.public} for k, e in ring.keys.items()})
    for key_id, (role, _) in named.keys.items():
        if role is KeyRole.ROOT:
            raise RingError(f"key {key_id}: a root key comes only with the enrolment")
    roots = {key_id: key for key_id, key in enrolled.keys.items() if key[0] is KeyRole.ROOT}
    both = KeyRing({**roots, **named.keys}, {k: e.until for k, e in ring.keys.items() if e.until})
    if both.is_sandbox != enrolled.is_sandbox:
        raise RingError("its keys are of the other class, sandbox or real")
    return both


def _check_key_id(key_id: str, role: KeyRole) -> None:
    """The letter is there for people who read logs; it must not lie."""
    bare = key_id.removeprefix(SANDBOX_PREFIX)
    if not regex(rf"{role.value[0]}[0-9a-f]{{8}}").fullmatch(bare):
        raise RingError(f"key id {key_id!r} of role {role}: must be {role.value[0]!r} and 8 hex digits")


def report_key(county_secret: bytes, terminal_id: str) -> bytes:
    """The 32-byte key under which this terminal seals its reports; `county_secret` is 32 random bytes."""
    if len(county_secret) != 32:
        raise ValueError(f"the county secret has {len(county_secret)} bytes; it must have 32")
    info = _REPORT_KEY + terminal_id.encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(county_secret)


# --- commands, downwards -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenedCommand:
    """A command that is genuine: its key is in the ring, its seal holds, its role may say this."""

    role: KeyRole
    key_id: str
    command: Command
    body: bytes


def open_command(envelope: bytes, ring: KeyRing) -> OpenedCommand:
    """Verify, then decode, then check the role. Raises SealError, and nothing else, for any bytes.

    Pure in (envelope, ring), so a simulator of many terminals may memoise it
    (``functools.lru_cache(64)(open_command)``): a ring is hashed by identity, a command is immutable, and
    a refusal is not remembered.
    """
    key_id, signature, body = _split(envelope, _SIGNATURE)
    known = ring.keys.get(key_id)
    if known is None:
        raise SealError(SealReason.UNKNOWN_KEY, f"no key {key_id!r} in the ring")
    role, public = known
    try:
        public.verify(signature, _COMMAND + key_id.encode() + b"\n" + body)
    except InvalidSignature as error:
        raise SealError(SealReason.BAD_SIGNATURE, f"the seal of {key_id} does not fit the body") from error
    try:
        command = decode_command(body)
    except WireError as error:
        raise SealError(SealReason.MALFORMED, str(error)) from error
    if not may_seal(role, command):
        raise SealError(SealReason.WRONG_ROLE, f"key {key_id} of role {role} may not say this")
    return OpenedCommand(role, key_id, command, body)


def claimed_command(envelope: bytes) -> Command | None:
    """What an envelope *claims* to say, seal not looked at: to word a refusal, never to act on."""
    if len(envelope) > MAX_ENVELOPE:
        return None
    header, _, body = envelope.partition(b"\n")
    try:
        return decode_command(body if header.startswith(_MAGIC.encode()) else envelope)
    except WireError:
        return None


# --- reports, upwards --------------------------------------------------------------------------------


def seal_report(upward: Upward, terminal_id: str, key: bytes) -> bytes:
    """The sealed envelope of a Report or Hello; `key` is the terminal's `report_key`."""
    body = encode(upward)
    head, _ = begun = _begun(key, terminal_id)
    return b"%b%b\n%b" % (head, _b64_bytes(_mac(begun, body)), body)


def open_report(envelope: bytes, key_for: Callable[[str], bytes | None]) -> Upward:
    """What the terminal said. `key_for` gives its report key, None if there is no such terminal.

    Raises SealError, and nothing else of its own, for any bytes.
    """
    terminal_id, mac, body = _split(envelope, REPORT_MAC)
    key = key_for(terminal_id)
    if key is None:
        raise SealError(SealReason.UNKNOWN_TERMINAL, f"no terminal {terminal_id!r}")
    if not hmac.compare_digest(mac, _mac(_begun(key, terminal_id), body)):
        raise SealError(SealReason.BAD_SIGNATURE, f"the MAC of {terminal_id} does not fit the body")
    try:
        upward = decode_upward(body)
    except WireError as error:
        raise SealError(SealReason.MALFORMED, f"{terminal_id}: {error}") from error
    if upward.terminal != terminal_id:
        raise SealError(SealReason.WRONG_TERMINAL, f"{terminal_id} speaks for {upward.terminal}")
    return upward


def claimed_terminal(envelope: bytes) -> str:
    """The terminal id in the header, MAC not looked at. Raises SealError if there is none."""
    return _split(envelope, REPORT_MAC)[0]


def _mac(begun: tuple[bytes, HMAC], body: bytes) -> bytes:
    state = begun[1].copy()
    state.update(body)
    return state.finalize()[:REPORT_MAC]


@lru_cache(_STATES)
def _begun(key: bytes, terminal_id: str) -> tuple[bytes, HMAC]:
    """What all reports of a terminal have in common: the header up to the MAC, and the MAC's beginning, which
    is never finished, only copied."""
    state = HMAC(key, SHA256())
    state.update(_REPORT + terminal_id.encode() + b"\n")
    return b"%b %b " % (_MAGIC_BYTES, terminal_id.encode("ascii")), state


# --- the envelope ------------------------------------------------------------------------------------


def _envelope(key_id: str, seal: bytes, body: bytes) -> bytes:
    return b"%b %b %b\n%b" % (_MAGIC_BYTES, key_id.encode("ascii"), _b64_bytes(seal), body)


def _split(envelope: bytes, seal_length: int) -> tuple[str, bytes, bytes]:
    """(key id, seal, body). Raises SealError."""
    if len(envelope) > MAX_ENVELOPE:
        raise SealError(SealReason.TOO_LONG, f"{len(envelope)} bytes; the limit is {MAX_ENVELOPE}")
    end = envelope.find(b"\n", 0, _LONGEST_HEADER + 1)
    # latin-1 cannot fail; the ASCII pattern refuses what is not ours.
    header = envelope[: max(end, 0)].decode("latin-1")
    match = _HEADER.fullmatch(header)
    if match is None:
        if envelope[:1] == b"{":
            raise SealError(SealReason.UNSIGNED, "a bare body; nothing unsealed is believed")
        raise SealError(SealReason.MALFORMED, f"no line '{_MAGIC} <key id> <seal>' at the start")
    key_id, text = match.groups()
    if not text:
        raise SealError(SealReason.UNSIGNED, f"the seal of {key_id} is empty")
    try:
        seal = _unb64(text, seal_length)
    except ValueError as error:
        raise SealError(SealReason.MALFORMED, f"the seal of {key_id}: {error}") from error
    return key_id, seal, envelope[end + 1 :]


def _b64(data: bytes) -> str:
    return _b64_bytes(data).decode("ascii")


def _b64_bytes(data: bytes) -> bytes:
    """base64url without padding (RFC 4648 §5)."""
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_URL_SAFE)


_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def _unb64(text: str, length: int) -> bytes:
    """Exactly `length` bytes in their one canonical spelling. Raises ValueError."""
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(data) != length:
        raise ValueError(f"{len(data)} bytes where {length} belong")
    if _b64(data) != text:
        raise ValueError("not canonical base64url")
    return data
