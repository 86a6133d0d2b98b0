"""Enveloped XML-DSig of a warning: whose it is, and exactly the bytes that were signed.

Only pinned certificates count: one of them made the signature, or issued (through at most `MAX_CHAIN`
others that the document brings) the one that did. What is verified is what is read: `verified` returns the
signed bytes, and nothing else of the document is looked at again, so that a signature cannot be moved
around other words. SHA-1, DSA, HMAC and transforms that compute are refused by name.

Sources: XML Signature 1.1 (W3C, 2013) §4.5, §6.6.4; XML Signature Best Practices (W3C, 2013) §2; RFC 5280
§4.2.1.9 and §6.1; `lessons-from-the-field.md` §9 #3, #8, #9, #11.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidDigest, SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from alerts.formats import xml
from alerts.formats.fields import shown
from alerts.model import AlertError

MAX_CHAIN: Final = 4
_DS: Final = "{http://www.w3.org/2000/09/xmldsig#}"
_WHERE: Final = "alert/Signature"
_METHODS: Final = frozenset(
    method
    for method in SignatureMethod
    if method.name.startswith(("RSA_", "ECDSA_", "SHA"))
    and "SHA1" not in method.name
    and "224" not in method.name
)
_DIGESTS: Final = frozenset(
    digest for digest in DigestAlgorithm if "SHA1" not in digest.name and "224" not in digest.name
)
_TRANSFORMS: Final = (
    "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments",
    "http://www.w3.org/2001/10/xml-exc-c14n#",
    "http://www.w3.org/2001/10/xml-exc-c14n#WithComments",
    "http://www.w3.org/2006/12/xml-c14n11",
    "http://www.w3.org/2006/12/xml-c14n11#WithComments",
)
# RFC 8301 and NIST SP 800-131A: shorter RSA keys can be broken by a state.
_SHORTEST_RSA: Final = 2048
# What signxml and cryptography raise for a signature that is malformed: it is the sender's doing.
_MALFORMED: Final = (
    SignXMLException, etree.LxmlError, InvalidSignature, UnsupportedAlgorithm,
    ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OverflowError,
)  # fmt: skip


@lru_cache(maxsize=64)
def pinned(pems: tuple[bytes, ...]) -> tuple[x509.Certificate, ...]:
    """The certificates in `pems`, each of which may hold several. Raises ValueError for what holds none."""
    return tuple(certificate for pem in pems for certificate in x509.load_pem_x509_certificates(pem))


def verified(body: bytes, certificates: Sequence[x509.Certificate], now: datetime) -> tuple[bytes, str]:
    """The signed bytes of the warning in `body`, without the signature, and whose it is.

    `body` is what `xml.read` has taken; certificates must be valid at `now`. Raises AlertError where there is
    no signature, or none that counts: why, and what the sender can do.
    """
    root = xml.tree(body)
    signature = _signature(root)
    signed_info = signature.find(f"{_DS}SignedInfo")
    if signed_info is None:
        raise AlertError(_WHERE, "has no SignedInfo", "sign it again")
    _refuse_weak(root, signed_info)
    brought = _brought(signature)
    for info in signature.findall(f"{_DS}KeyInfo"):
        signature.remove(info)  # which key counts is ours to say; and KeyInfo is not signed
    config = SignatureConfiguration(
        location="./", signature_methods=_METHODS, digest_algorithms=_DIGESTS, verification_time=now
    )
    failure: Exception | None = None
    for certificate in _candidates(brought, certificates, now):
        try:
            result = XMLVerifier().verify(root, x509_cert=certificate, expect_config=config)
        except _MALFORMED as error:
            failure = error
            continue
        assert not isinstance(result, list)  # one reference, so one result
        signed: bytes = result.signed_data
        if result.signed_xml is None or result.signed_xml.tag != root.tag:
            raise AlertError(
                _WHERE, f"covers {shown(str(result.signed_xml))}, not the warning", "sign the alert"
            )
        return signed, certificate.subject.rfc4514_string()
    if isinstance(failure, InvalidDigest):
        raise AlertError(
            _WHERE, "the document was changed after it was signed", "ask its sender"
        ) from failure
    raise AlertError(
        _WHERE,
        "is not made with the key of a certificate that this feed is configured with",
        "ask its sender",
    ) from failure


def _signature(root: etree._Element) -> etree._Element:
    found = list(root.iter(f"{_DS}Signature"))
    if not found:
        raise AlertError(_WHERE, "is missing, and this feed's warnings must be signed", "ask its sender")
    if len(found) > 1 or found[0].getparent() is not root:
        raise AlertError(
            _WHERE, "is not the one and only child of alert that it must be: it may cover something else",
            "sign the alert once",
        )  # fmt: skip
    return found[0]


def _refuse_weak(root: etree._Element, signed_info: etree._Element) -> None:
    """Algorithms that prove nothing, and signatures over anything but the whole alert."""
    again = "sign with RSA or ECDSA and SHA-256"
    for name, known in (("SignatureMethod", _METHODS), ("DigestMethod", _DIGESTS)):
        for item in signed_info.iter(f"{_DS}{name}"):
            if (algorithm := item.get("Algorithm", "")) not in set(map(str, (one.value for one in known))):
                raise AlertError(_WHERE, f"{_weak(algorithm)}", again)
    whole = "sign the alert as it is, whole"
    references = signed_info.findall(f"{_DS}Reference")
    if len(references) != 1:
        raise AlertError(_WHERE, f"covers {len(references)} parts; one is read, the alert", whole)
    uri = references[0].get("URI", "")
    if uri not in ("", *(f"#{root.get(name)}" for name in ("Id", "ID", "id") if root.get(name))):
        raise AlertError(_WHERE, f"covers {shown(uri)}, not the alert around it", whole)
    for transform in references[0].iter(f"{_DS}Transform"):
        if (algorithm := transform.get("Algorithm", "")) not in _TRANSFORMS:
            raise AlertError(_WHERE, f"uses the transform {shown(algorithm)}", whole)


def _weak(algorithm: str) -> str:
    name = algorithm.rpartition("#")[2] or algorithm
    if (
        any(part in name.casefold() for part in ("sha1", "sha224", "dsa-sha1", "md5", "dsa-"))
        or "hmac" in name
    ):
        return f"is made with {shown(name)}, which is too weak to prove anything"
    return f"is made with {shown(name)}, which is not known here"


def _brought(signature: etree._Element) -> list[x509.Certificate]:
    """Certificates that the document brings along: claims, until one of ours has issued them."""
    found = []
    for element in list(signature.iter(f"{_DS}X509Certificate"))[: 2 * MAX_CHAIN]:
        try:
            der = base64.b64decode("".join((element.text or "").split()), validate=True)
            certificate = x509.load_der_x509_certificate(der)
            certificate.public_key(), certificate.subject, certificate.extensions  # read only when asked for
        except (binascii.Error, ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
            raise AlertError(
                f"{_WHERE}/KeyInfo", "holds a certificate that cannot be read", "sign it again"
            ) from error
        found.append(certificate)
    return found


def _candidates(
    brought: Sequence[x509.Certificate], certificates: Sequence[x509.Certificate], now: datetime
) -> list[x509.Certificate]:
    """Certificates whose keys may have signed: ours, and what the document brings that ours issued."""
    trusted = [
        *(certificate for certificate in certificates if certificate in brought or not brought),
        *(
            certificate
            for certificate in brought
            if certificate not in certificates and _issued(certificate, brought, certificates, now)
        ),
    ]
    if not trusted:
        names = ", ".join(certificate.subject.rfc4514_string()[:80] for certificate in brought[:2])
        raise AlertError(
            _WHERE, f"is by {shown(names)}, which is none of this feed's certificates, nor issued by one",
            "ask its sender, or configure its certificate",
        )  # fmt: skip
    good = []
    for certificate in trusted:
        if why := _unfit(certificate, now):
            if len(trusted) == 1:
                raise AlertError(_WHERE, why, "configure the sender's present certificate")
            continue
        good.append(certificate)
    return good


def _unfit(certificate: x509.Certificate, now: datetime) -> str:
    name = certificate.subject.rfc4514_string()[:80]
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return f"its certificate {shown(name)} is valid from {since:%Y-%m-%d} to {until:%Y-%m-%d} only"
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _SHORTEST_RSA:
        return f"its certificate {shown(name)} has a key of {key.key_size} bits; {_SHORTEST_RSA} are needed"
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return f"its certificate {shown(name)} has a key that is neither RSA nor ECDSA"
    return ""


def _issued(
    certificate: x509.Certificate,
    brought: Sequence[x509.Certificate],
    certificates: Sequence[x509.Certificate],
    now: datetime,
    left: int = MAX_CHAIN,
) -> bool:
    """Whether one of `certificates` issued it, directly or through authorities among `brought`."""
    if _unfit(certificate, now):
        return False
    for issuer in certificates:
        if _signed_by(certificate, issuer, now):
            return True
    return left > 1 and any(
        other != certificate
        and _signed_by(certificate, other, now)
        and _issued(other, [item for item in brought if item != certificate], certificates, now, left - 1)
        for other in brought
    )


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
    """Only an authority issues: a pinned sender's own certificate vouches for nobody else (RFC 5280)."""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not constraints.ca or _unfit(issuer, now):
            return False
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        if not usage.key_cert_sign:
            return False
    except x509.ExtensionNotFound as error:
        if error.oid != x509.KeyUsage.oid:
            return False
    except ValueError:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
