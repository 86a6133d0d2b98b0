"""The brokers that the program can start, as parameters; a certificate for one that speaks TLS."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from simulators.broker import EmbeddedBroker, MosquittoBroker, mosquitto_binary

_ABSENT = pytest.mark.skipif(
    mosquitto_binary() is None, reason="no mosquitto binary: `make mosquitto` installs it"
)
NEEDS_MOSQUITTO = [pytest.mark.mosquitto, _ABSENT]
BROKERS = [
    pytest.param(EmbeddedBroker, id="embedded"),
    pytest.param(MosquittoBroker, id="mosquitto", marks=NEEDS_MOSQUITTO),
]


def needs_mosquitto(test: Any) -> Any:
    return pytest.mark.mosquitto(_ABSENT(test))


def certificate(
    name: str, folder: Path, signer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """`name`.crt and `name`.key in `folder`, for localhost, valid today; without `signer` it signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    san = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[0].subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(san, critical=False)
        .sign(signer[1] if signer else key, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return signed, key
