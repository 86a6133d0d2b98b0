"""The terminal's certificate for the broker: its key, the request, and whether what came back is ours."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# Order of the curve P-256 (SEC 2, §2.4.2).
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ENTROPY: Final = 48
"""Random bytes for a key: 128 bits more than its size, so that the remainder is even (FIPS 186-5, A.2.1)."""


class NotOurs(Exception):
    """A certificate that this terminal does not take: why."""


def new_key(entropy: bytes) -> bytes:
    """A P-256 key as PEM (PKCS#8), from ENTROPY random bytes."""
    if len(entropy) != ENTROPY:
        raise ValueError(f"a key needs {ENTROPY} random bytes, not {len(entropy)}")
    number = int.from_bytes(entropy, "big") % (_ORDER - 1) + 1
    return ec.derive_private_key(number, ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def request(key: bytes, terminal: str) -> bytes:
    """A certificate request (PKCS#10, DER) of `terminal` for the key in PEM. Raises ValueError when it is
    none."""
    private = _private(key)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, terminal)])
    signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(private, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


def check(certificate: str, authority: str, key: bytes, terminal: str) -> tuple[int, int]:
    """When it begins and ends, Unix ms. Raises NotOurs: of another key, of another authority, for another
    terminal."""
    try:
        mine = x509.load_pem_x509_certificate(certificate.encode())
        theirs = x509.load_pem_x509_certificate(authority.encode())
        private = _private(key)
        mine.verify_directly_issued_by(theirs)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise NotOurs(f"the certificate is not by our county's authority: {error}") from error
    if mine.public_key() != private.public_key():
        raise NotOurs("the certificate is for another key")
    if [a.value for a in mine.subject] != [terminal]:
        raise NotOurs(f"the certificate is not for {terminal}")
    begins, ends = mine.not_valid_before_utc, mine.not_valid_after_utc
    return int(begins.timestamp() * 1000), int(ends.timestamp() * 1000)


def is_due(begins: int, ends: int, now: int) -> bool:
    """Whether it is time to ask for the next: two thirds of its life are over. All in Unix ms."""
    return now - begins > (ends - begins) * 2 // 3


def _private(key: bytes) -> ec.EllipticCurvePrivateKey:
    private = serialization.load_pem_private_key(key, None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ValueError("not a P-256 key")
    return private
