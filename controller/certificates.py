"""The county's own small certificate authority, for the way between broker, controller and terminals.

It signs one server certificate (the broker's), one client certificate of the controller, and one per
terminal, whose key is made on the terminal and never leaves it. Profiles after RFC 5280; P-256 keys, because
the TLS library of every small board has it. What they protect is the way; the sound itself is protected by
the seals (`terminals.seal`): who steals the authority can listen and disturb, and makes no loudspeaker sound.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controller.keys import KeysError, opened_line, replace_file, sealed_line
from controller.store.records import CertificateRow

FOLDER: Final = "tls"
"""In keys_dir."""
CONTROLLER: Final = "@controller"
"""The controller's name at the broker; no terminal id can hold an @ (wire.Id)."""
AUTHORITY_DAYS: Final = 20 * 365
"""It goes into every terminal at its enrolment, so it must outlive the loudspeakers."""
SERVER_DAYS: Final = 730
TERMINAL_DAYS: Final = 730
"""Terminals ask for the next one after two thirds of it."""
SOON_DAYS: Final = 30
"""The end of a certificate is told so long before."""
BACKDATED: Final = timedelta(days=2)
"""A day wrong, on either side, must not shut a terminal out (docs/decisions/0007)."""
MAX_CSR: Final = 2_048


class CertificateError(Exception):
    """A request or a name that no certificate is given for: which, and why."""


@dataclass(frozen=True, slots=True)
class Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return _pem(self.certificate).decode()

    def for_terminal(self, terminal: str, csr: bytes, now: int) -> tuple[str, CertificateRow]:
        """A client certificate (PEM) for the key of the request `csr` (DER), and the row to keep. `now`: Unix
        ms. Raises CertificateError: no request, another's name, no P-256 key, a false signature."""
        if len(csr) > MAX_CSR:
            raise CertificateError(f"the request has {len(csr)} bytes, at most {MAX_CSR}")
        try:
            request = x509.load_der_x509_csr(csr)
            name = [str(a.value) for a in request.subject]
            key = request.public_key()
            is_signed = request.is_signature_valid
        except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
            raise CertificateError(f"this is no certificate request: {error}") from error
        if name != [terminal]:
            raise CertificateError(f"the request names {', '.join(name)[:80] or 'nobody'}, not {terminal}")
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise CertificateError("the key of the request is not P-256")
        if not is_signed:
            raise CertificateError("the request is not signed with its own key")
        made = self._signed(terminal, key, now, TERMINAL_DAYS, ExtendedKeyUsageOID.CLIENT_AUTH)
        return _pem(made).decode(), CertificateRow(
            f"{made.serial_number:x}", terminal, now, _ms(made.not_valid_after_utc)
        )

    def crl(self, revoked: Iterable[CertificateRow], now: int) -> bytes:
        """The list of what is revoked, PEM. It ends with the authority: a broker with an expired list lets
        nobody in at all, which is worse than one that is a day old."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(_time(now) - BACKDATED)
            .next_update(self.certificate.not_valid_after_utc)
        )
        for row in revoked:
            if row.revoked is not None:
                builder = builder.add_revoked_certificate(
                    x509.RevokedCertificateBuilder()
                    .serial_number(int(row.serial, 16))
                    .revocation_date(_time(row.revoked))
                    .build()
                )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _signed(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        now: int,
        days: int,
        usage: x509.ObjectIdentifier,
        hosts: Iterable[str] = (),
    ) -> x509.Certificate:
        end = min(_time(now) + timedelta(days=days), self.certificate.not_valid_after_utc)
        builder = (
            _builder(name, self.certificate.subject, key, _time(now) - BACKDATED, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        names = [_host(host) for host in hosts]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())


@dataclass(frozen=True, slots=True)
class Ending:
    """When a certificate of a machine ends."""

    name: str
    """``authority``, ``server`` or ``controller``."""
    at: int
    """Unix ms."""


def create(folder: Path, county: str, hosts: Iterable[str], now: int, passphrase: bytes | None) -> None:
    """A new authority in `folder`/tls, the broker's certificate for `hosts` and the controller's. Raises
    KeysError when there is one: every terminal holds it."""
    tls = folder / FOLDER
    if (tls / "ca.key").exists():
        raise KeysError(f"{tls / 'ca.key'} is already there; keys are never overwritten")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    tls.mkdir(mode=0o700, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    # Of two counties on one computer, or old and new of one: told apart by name.
    name = f"Fenghuo {county} {os.urandom(3).hex()}"
    subject = _named(name)
    certificate = (
        _builder(
            name, subject, key.public_key(), _time(now) - BACKDATED, _time(now) + timedelta(AUTHORITY_DAYS)
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    replace_file(tls / "ca.crt", _pem(certificate))
    renew(folder, hosts, now, passphrase, authority=Authority(certificate, key))
    _keep(tls / "ca.key", key, passphrase)


def renew(
    folder: Path,
    hosts: Iterable[str],
    now: int,
    passphrase: bytes | None,
    *,
    authority: Authority | None = None,
) -> None:
    """New certificates, with new keys, for the broker and the controller. Raises KeysError,
    CertificateError."""
    found = authority or load(folder, passphrase)
    if found is None:
        raise KeysError(f"no authority in {folder / FOLDER}; make it: fenghuo keys ca -c FILE --host NAME")
    hosts = list(hosts)
    if not hosts:
        raise CertificateError("the broker's certificate needs the name or address that terminals connect to")
    for name, common, usage in (
        ("server", hosts[0], ExtendedKeyUsageOID.SERVER_AUTH),
        ("controller", CONTROLLER, ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        made = found._signed(
            common, key.public_key(), now, SERVER_DAYS, usage, hosts if name == "server" else ()
        )
        _keep(folder / FOLDER / f"{name}.key", key, passphrase)
        replace_file(folder / FOLDER / f"{name}.crt", _pem(made))


def load(folder: Path, passphrase: bytes | None) -> Authority | None:
    """The authority of this county; None: it has none. Raises KeysError."""
    tls = folder / FOLDER
    if not (tls / "ca.key").exists():
        return None
    key = _private_key(tls / "ca.key", passphrase)
    certificate = _certificate(tls / "ca.crt")
    if certificate.public_key() != key.public_key():
        raise KeysError(f"{tls / 'ca.crt'} does not belong to ca.key; restore both from one safe copy")
    return Authority(certificate, key)


def born(authority: Authority) -> int:
    """Unix ms."""
    return _ms(authority.certificate.not_valid_before_utc + BACKDATED)


def revokes(crl: bytes, authority: Authority, rows: Iterable[CertificateRow]) -> bool:
    """Whether this list (PEM) is of `authority` and names exactly these."""
    try:
        found = x509.load_pem_x509_crl(crl)
    except ValueError:
        return False
    if not found.is_signature_valid(authority.key.public_key()):
        return False
    return {entry.serial_number for entry in found} == {int(row.serial, 16) for row in rows}


def endings(folder: Path) -> list[Ending]:
    """Of the machines' certificates that are there. Raises KeysError."""
    return [
        Ending(name, _ms(_certificate(path).not_valid_after_utc))
        for name, path in (
            (name, folder / FOLDER / f"{file}.crt")
            for name, file in (("authority", "ca"), ("server", "server"), ("controller", "controller"))
        )
        if path.exists()
    ]


def warnings(found: Iterable[Ending], now: int) -> list[str]:
    """What ends soon or has ended, for the engineer. Pure."""
    lines = []
    for one in found:
        days = (one.at - now) // 86_400_000
        if days < 0:
            lines.append(f"the certificate of {one.name} has ended: terminals cannot connect; {MEND}")
        elif days < SOON_DAYS:
            lines.append(f"the certificate of {one.name} ends in {days} days; {MEND}")
    return lines


def unrenewed(rows: Iterable[CertificateRow], now: int) -> str:
    """Which terminals have not renewed in time, for the engineer; empty: none. Pure."""
    last: dict[str, int] = {}
    for row in rows:
        if row.revoked is None:
            last[row.terminal] = max(row.expires, last.get(row.terminal, 0))
    late = sorted(t for t, end in last.items() if end - now < SOON_DAYS * 86_400_000)
    if not late:
        return ""
    some = ", ".join(late[:5])
    return f"the certificates of {len(late)} terminals end within {SOON_DAYS} days or have ended: {some}"


def show_ours(context: ssl.SSLContext, folder: Path, passphrase: bytes | None) -> None:
    """Lets the controller show its certificate. The key is in memory only while OpenSSL reads it. Raises
    KeysError."""
    tls = folder / FOLDER
    handle = os.memfd_create("fenghuo", os.MFD_CLOEXEC)
    try:
        os.write(handle, file_of(folder, "controller.key", passphrase))
        context.load_cert_chain(tls / "controller.crt", f"/proc/self/fd/{handle}")
    except ssl.SSLError as error:
        raise KeysError(f"{tls / 'controller.crt'} does not fit its key: {error}; restore both") from error
    finally:
        os.close(handle)


MEND: Final = "renew it: fenghuo keys ca --renew, then fenghuo broker config"


def file_of(folder: Path, name: str, passphrase: bytes | None) -> bytes:
    """A file as a broker or TLS library reads it, PEM: ``ca.crt``, ``server.crt``, ``server.key`` … Raises
    KeysError."""
    path = folder / FOLDER / name
    if not name.endswith(".key"):
        return _pem(_certificate(path))
    return _private_key(path, passphrase).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _keep(path: Path, key: ec.EllipticCurvePrivateKey, passphrase: bytes | None) -> None:
    data = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    replace_file(path, sealed_line(path.name, path.stem, data, passphrase))


def _private_key(path: Path, passphrase: bytes | None) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_der_private_key(opened_line(path, passphrase), None)
    except ValueError as error:
        raise KeysError(f"{path} holds no private key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeysError(f"{path} holds no P-256 key")
    return key


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise KeysError(f"{path} cannot be read as a certificate: {error}; restore it") from error


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as error:
        raise CertificateError(f"{name!r} is no name of a machine: {error}") from error


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
