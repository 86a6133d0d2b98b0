"""How a terminal gets its keys: both sides of the ceremony, pure.

The operator asks for a code for one terminal id and reads it to the installer; the code (80 random bits,
16 letters) is valid once, for 24 hours (the store enforces both). Both sides make a key pair of their own
for this one exchange, and the code authenticates both public keys:

1. terminal → controller: `Request`: id, X25519 public key, HMAC under the code.
2. controller → terminal: `Answer`: X25519 public key, and `Enrolled` in a ChaCha20-Poly1305 box whose key
   comes from the shared secret *and* the code. Who does not know the code can make neither.

With the request may come a certificate request (PKCS#10) for a key that stays on the terminal; the code
authenticates it too, and the certificate comes back in the box.

Nothing here is a default, and nothing is ever sent that a listener could turn into a key: guessing the
code from a recorded exchange means trying 2^80, and the recorded box also needs a private key that no
longer exists.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta, Struct

from terminals.model import is_simulated
from terminals.seal import KeyRing, KeyRole, RingError
from terminals.wire import MAX_BODY, Id, Key

CODE_ENTROPY: Final = 10
"""Random bytes in a code: 80 bits."""
KEY_ENTROPY: Final = 32
"""Random bytes that each side needs for its own key pair."""

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base32: no I, L, O, U
_READ_AS: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": "", " ": "", "\t": "", "\n": ""})
_LETTERS: Final = 16

# One encoded 32-byte value.
_Bytes32 = Annotated[str, Meta(min_length=43, max_length=43, pattern=r"^[A-Za-z0-9_-]+\Z")]
_Language = Annotated[str, Meta(min_length=1, max_length=35)]
_Address = Annotated[str, Meta(min_length=1, max_length=200)]
_Latitude = Annotated[float, Meta(ge=-90, le=90)]
_Longitude = Annotated[float, Meta(ge=-180, le=180)]
_Csr = Annotated[str, Meta(max_length=2_732, pattern=r"^[A-Za-z0-9_-]*\Z")]
_Pem = Annotated[str, Meta(max_length=4_096)]
_T = TypeVar("_T")


class EnrolmentReason(StrEnum):
    BAD_CODE = "bad-code"
    """Not 16 letters of the alphabet: mistyped."""
    WRONG_CODE = "wrong-code"
    """The code does not fit this terminal id, or the request was altered on the way: the same to us."""
    MALFORMED = "malformed"
    REPLAYED = "replayed"
    """An answer to another request than the one that is open."""
    ALTERED = "altered"
    """The box does not open: altered on the way, or sealed by somebody who does not know the code."""
    WRONG_TERMINAL = "wrong-terminal"
    WRONG_CLASS = "wrong-class"
    """Real keys for a simulated terminal or sandbox keys for a real one."""


class EnrolmentError(Exception):
    """The ceremony failed. `reason` is for machines, the text says what to do."""

    def __init__(self, reason: EnrolmentReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Request(Struct, frozen=True):
    """First message. `mac` proves that the sender knows the code of `terminal`."""

    terminal: Id
    public: _Bytes32
    mac: _Bytes32
    csr: _Csr = ""
    """Certificate request, DER; empty: none is wanted."""

    def csr_bytes(self) -> bytes:
        """Raises EnrolmentError(MALFORMED)."""
        return _unb64(self.csr)


class Renewal(Struct, frozen=True):
    """A further certificate, before the present one ends; `mac` is made with the terminal's report key."""

    terminal: Id
    csr: Annotated[_Csr, Meta(min_length=1)]
    mac: _Bytes32


class Renewed(Struct, frozen=True):
    """The answer: public, and checked by the terminal against its own key and the authority it knows."""

    terminal: Id
    certificate: _Pem


class Answer(Struct, frozen=True):
    """Second message. `request` is the hash of the request that it answers."""

    terminal: Id
    request: _Bytes32
    public: _Bytes32
    box: Annotated[str, Meta(max_length=MAX_BODY, pattern=r"^[A-Za-z0-9_-]+\Z")]


class PublicKey(Struct, frozen=True):
    role: KeyRole
    public: _Bytes32
    until: Annotated[int, Meta(ge=0, le=1 << 53)] = 0
    """Wire ms from which nothing is taken under it; 0: open."""


class Enrolled(Struct, frozen=True):
    """What a terminal knows after the ceremony; everything it needs to verify, connect and report."""

    terminal: Id
    county: Key
    """The county's key in the topics."""
    report_key: _Bytes32
    ring: Annotated[dict[Key, PublicKey], Meta(min_length=1, max_length=36)]
    """As `KeyRing.to_dict`, with the ends."""
    groups: Annotated[tuple[Key, ...], Meta(max_length=32)]
    languages: Annotated[tuple[_Language, ...], Meta(min_length=1, max_length=16)]
    """In the terminal's order."""
    roles: Annotated[tuple[KeyRole, ...], Meta(min_length=1, max_length=3)]
    """Kinds of broadcast that this terminal sounds."""
    broker: _Address
    """``mqtts://host:port``"""
    audio: _Address
    """Base address of clips until the first signed Time names another."""
    speaker: Key = "horn"
    """Class of loudspeaker."""
    position: tuple[_Latitude, _Longitude] | None = None
    """Degrees, WGS-84; None: no countdown with a number."""
    ring_version: Annotated[int, Meta(ge=0, le=1 << 53)] = 0
    """Of `ring`: no Ring of this or a lower version is taken any more."""
    certificate: _Pem = ""
    """For the broker, PEM, over the key of the request; empty: none."""
    authority: _Pem = ""
    """Who signs the certificates of the broker and of terminals, PEM."""
    password: Annotated[str, Meta(max_length=64)] = ""
    """For the broker, with the terminal's id as user name; empty: none."""

    @classmethod
    def of(
        cls,
        *,
        terminal: str,
        county: str,
        report_key: bytes,
        ring: KeyRing,
        groups: tuple[str, ...],
        languages: tuple[str, ...],
        roles: tuple[KeyRole, ...],
        broker: str,
        audio: str,
        speaker: str = "horn",
        position: tuple[float, float] | None = None,
        ring_version: int = 0,
        certificate: str = "",
        authority: str = "",
        password: str = "",
    ) -> Enrolled:
        keys = {
            k: PublicKey(KeyRole(e["role"]), e["public"], ring.until.get(k, 0))
            for k, e in ring.to_dict().items()
        }
        return cls(
            terminal,
            county,
            _b64(report_key),
            keys,
            groups,
            languages,
            roles,
            broker,
            audio,
            speaker,
            position,
            ring_version,
            certificate,
            authority,
            password,
        )

    def key_ring(self) -> KeyRing:
        """Raises EnrolmentError if a key is not one."""
        try:
            named = KeyRing.from_dict(
                {k: {"role": e.role.value, "public": e.public} for k, e in self.ring.items()}
            )
            return KeyRing(named.keys, {k: e.until for k, e in self.ring.items() if e.until})
        except RingError as error:
            raise EnrolmentError(EnrolmentReason.MALFORMED, str(error)) from error

    def report_key_bytes(self) -> bytes:
        return _unb64(self.report_key)


# --- the code ----------------------------------------------------------------------------------------


def new_code(entropy: bytes) -> str:
    """A code for the installer, like ``7K3Q-9XWP-M2FD-HT0V``, from CODE_ENTROPY random bytes."""
    if len(entropy) != CODE_ENTROPY:
        raise ValueError(f"a code needs {CODE_ENTROPY} random bytes, not {len(entropy)}")
    number = int.from_bytes(entropy, "big")
    letters = "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (_LETTERS - 1), -1, -5))
    return "-".join(letters[i : i + 4] for i in range(0, _LETTERS, 4))


def code_bytes(typed: str) -> bytes:
    """The 80 bits of a code as a person typed it: any case, O for 0, I or L for 1, any grouping.

    Raises EnrolmentError(BAD_CODE).
    """
    letters = typed.upper().translate(_READ_AS)
    wrong = sorted(set(letters) - set(_ALPHABET))
    if wrong:
        raise EnrolmentError(EnrolmentReason.BAD_CODE, f"{''.join(wrong)!r} cannot be in a code; look again")
    if len(letters) != _LETTERS:
        raise EnrolmentError(EnrolmentReason.BAD_CODE, f"{len(letters)} letters; a code has {_LETTERS}")
    number = 0
    for letter in letters:
        number = number << 5 | _ALPHABET.index(letter)
    return number.to_bytes(CODE_ENTROPY, "big")


def code_fingerprint(typed: str) -> bytes:
    """32 bytes that the store keeps instead of the code; both sides' keys come from it, so the controller
    needs nothing else. The code cannot be read back from it, but while the code is valid it is worth as
    much: delete it when the code is used or its 24 hours are over. Raises EnrolmentError(BAD_CODE)."""
    return sha256(b"fenghuo/1 enrolment code\n" + code_bytes(typed)).digest()


# --- the terminal ------------------------------------------------------------------------------------


class Applicant:
    """The terminal's side of one ceremony. Forget it, with its private key, when it is over."""

    __slots__ = ("_csr", "_fingerprint", "_private", "_public", "request", "terminal")

    def __init__(self, terminal: str, code: str, entropy: bytes, csr: bytes = b"") -> None:
        """`entropy`: KEY_ENTROPY fresh random bytes. `csr`: a certificate request (DER) for a key that stays
        here. Raises EnrolmentError(BAD_CODE)."""
        self.terminal: Final = terminal
        self._csr = csr
        self._fingerprint = code_fingerprint(code)
        self._private = X25519PrivateKey.from_private_bytes(entropy)
        self._public = self._private.public_key().public_bytes_raw()
        mac = _mac(self._fingerprint, terminal, self._public, csr)
        self.request: Final = msgspec.json.encode(Request(terminal, _b64(self._public), _b64(mac), _b64(csr)))
        """What to send."""

    def open(self, answer: bytes) -> Enrolled:
        """Raises EnrolmentError: MALFORMED, REPLAYED, ALTERED, WRONG_TERMINAL or WRONG_CLASS."""
        said = _decode(answer, Answer)
        if said.terminal != self.terminal:
            raise EnrolmentError(EnrolmentReason.WRONG_TERMINAL, f"this answers {said.terminal}")
        if not hmac.compare_digest(
            _unb64(said.request), _request_hash(self.terminal, self._public, self._csr)
        ):
            raise EnrolmentError(EnrolmentReason.REPLAYED, "this answers another request; ask again")
        public = _unb64(said.public)
        transcript = _transcript(self.terminal, self._public, public)
        key = _box_key(self._private, public, self._fingerprint, transcript)
        try:
            plain = ChaCha20Poly1305(key).decrypt(_NONCE, _unb64(said.box), transcript)
        except InvalidTag as error:
            raise EnrolmentError(
                EnrolmentReason.ALTERED, "the answer does not open with this code; do not trust this address"
            ) from error
        enrolled = _decode(plain, Enrolled)
        _check(self.terminal, enrolled)
        return enrolled


# --- the controller ----------------------------------------------------------------------------------


def read_request(body: bytes) -> Request:
    """Decode only; `answer` verifies. Raises EnrolmentError(MALFORMED)."""
    return _decode(body, Request)


def answer(request: Request, fingerprint: bytes, enrolled: Enrolled, entropy: bytes) -> bytes:
    """Verify the request against the stored `code_fingerprint` of its terminal, and answer it.

    `entropy`: KEY_ENTROPY fresh random bytes, never used twice. The caller marks the code used, durably,
    before it sends the answer. Raises EnrolmentError: WRONG_CODE, ALTERED, WRONG_TERMINAL or WRONG_CLASS.
    """
    verify(request, fingerprint)
    public = _unb64(request.public)
    _check(request.terminal, enrolled)
    private = X25519PrivateKey.from_private_bytes(entropy)
    ours = private.public_key().public_bytes_raw()
    transcript = _transcript(request.terminal, public, ours)
    key = _box_key(private, public, fingerprint, transcript)
    box = ChaCha20Poly1305(key).encrypt(_NONCE, msgspec.json.encode(enrolled), transcript)
    hashed = _request_hash(request.terminal, public, request.csr_bytes())
    return msgspec.json.encode(Answer(request.terminal, _b64(hashed), _b64(ours), _b64(box)))


def verify(request: Request, fingerprint: bytes) -> None:
    """Whether the sender knew the code and the request is as it was sent. Raises EnrolmentError(WRONG_CODE,
    MALFORMED)."""
    mac = _mac(fingerprint, request.terminal, _unb64(request.public), request.csr_bytes())
    if not hmac.compare_digest(_unb64(request.mac), mac):
        raise EnrolmentError(
            EnrolmentReason.WRONG_CODE,
            f"{request.terminal}: the code is wrong or the request was altered; look at the code again",
        )


# --- further certificates ----------------------------------------------------------------------------


def renewal(terminal: str, report_key: bytes, csr: bytes) -> bytes:
    """What a terminal sends to get a further certificate."""
    return msgspec.json.encode(Renewal(terminal, _b64(csr), _b64(_renewal_mac(terminal, report_key, csr))))


def read_renewal(body: bytes) -> Renewal:
    """Decode only. Raises EnrolmentError(MALFORMED)."""
    return _decode(body, Renewal)


def verify_renewal(request: Renewal, report_key: bytes) -> bytes:
    """The certificate request, DER. Raises EnrolmentError: MALFORMED, or WRONG_TERMINAL where it was not made
    with this terminal's report key."""
    csr = _unb64(request.csr)
    if not hmac.compare_digest(_unb64(request.mac), _renewal_mac(request.terminal, report_key, csr)):
        raise EnrolmentError(
            EnrolmentReason.WRONG_TERMINAL, f"this was not made with the report key of {request.terminal}"
        )
    return csr


def renewed(terminal: str, certificate: str) -> bytes:
    """The answer to it."""
    return msgspec.json.encode(Renewed(terminal, certificate))


def read_renewed(body: bytes, terminal: str) -> str:
    """The certificate, PEM. Raises EnrolmentError: MALFORMED or WRONG_TERMINAL."""
    said = _decode(body, Renewed)
    if said.terminal != terminal:
        raise EnrolmentError(EnrolmentReason.WRONG_TERMINAL, f"this answers {said.terminal}")
    return said.certificate


def _renewal_mac(terminal: str, report_key: bytes, csr: bytes) -> bytes:
    text = b"fenghuo/1 certificate renewal\n" + terminal.encode() + b"\n" + csr
    return hmac.digest(report_key, text, "sha256")


def _check(terminal: str, enrolled: Enrolled) -> None:
    if enrolled.terminal != terminal:
        raise EnrolmentError(EnrolmentReason.WRONG_TERMINAL, f"papers of {enrolled.terminal} for {terminal}")
    try:
        sandbox = enrolled.key_ring().is_sandbox
    except RingError as error:
        raise EnrolmentError(EnrolmentReason.WRONG_CLASS, str(error)) from error
    if sandbox != is_simulated(terminal):
        kinds = ("sandbox" if sandbox else "real", "simulated" if is_simulated(terminal) else "real")
        raise EnrolmentError(
            EnrolmentReason.WRONG_CLASS, f"{kinds[0]} keys for the {kinds[1]} terminal {terminal}"
        )


# --- shared ------------------------------------------------------------------------------------------

# Each key seals exactly one box: it comes from two private keys made for this one exchange.
_NONCE: Final = bytes(12)


def _transcript(terminal: str, terminal_public: bytes, controller_public: bytes) -> bytes:
    """Unambiguous: an id has no newline, a public key 32 bytes."""
    return b"fenghuo/1 enrolment answer\n" + terminal.encode() + b"\n" + terminal_public + controller_public


def _request_transcript(terminal: str, public: bytes, csr: bytes) -> bytes:
    return b"fenghuo/1 enrolment request\n" + terminal.encode() + b"\n" + public + csr


def _request_hash(terminal: str, public: bytes, csr: bytes) -> bytes:
    return sha256(_request_transcript(terminal, public, csr)).digest()


def _mac(fingerprint: bytes, terminal: str, public: bytes, csr: bytes) -> bytes:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"fenghuo/1 enrolment mac").derive(fingerprint)
    return hmac.digest(key, _request_transcript(terminal, public, csr), "sha256")


def _box_key(private: X25519PrivateKey, public: bytes, fingerprint: bytes, transcript: bytes) -> bytes:
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:  # a point of small order: the shared secret would be zero
        raise EnrolmentError(EnrolmentReason.ALTERED, "not an honest public key") from error
    return HKDF(algorithm=SHA256(), length=32, salt=fingerprint, info=transcript).derive(shared)


def _decode(body: bytes, kind: type[_T]) -> _T:
    if len(body) > 2 * MAX_BODY:
        raise EnrolmentError(EnrolmentReason.MALFORMED, f"{len(body)} bytes")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EnrolmentError(EnrolmentReason.MALFORMED, f"{kind.__name__}: {error}") from error


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _unb64(text: str) -> bytes:
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise EnrolmentError(EnrolmentReason.MALFORMED, f"base64url: {error}") from error
    return data
