"""XML-DSig: only pinned senders, only what was signed, nothing that can be forged."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from alert_builders import cap_text, national_text
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml import algorithms
from signxml.signer import XMLSigner

from alerts.formats import FORMATS, Reading, containers, parse
from alerts.model import Alert, AlertError

NOW = datetime(2026, 7, 15, 0, 0, tzinfo=UTC)
DS = "{http://www.w3.org/2000/09/xmldsig#}"
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Owner = tuple[Key, x509.Certificate]


class WeakSigner(XMLSigner):
    """Signs what nobody should sign any more."""

    def check_deprecated_methods(self) -> None:
        pass


def certificate(
    name: str,
    key: Key | dsa.DSAPrivateKey,
    issuer: Owner | None = None,
    *,
    ca: bool = False,
    days: tuple[int, int] = (-30, 365),
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[1].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    return builder.sign(issuer[0] if issuer else key, hashes.SHA256())


@cache
def bureau() -> Owner:
    key = rsa.generate_private_key(65537, 2048)
    return key, certificate("县气象局", key)


@cache
def stranger() -> Owner:
    key = ec.generate_private_key(ec.SECP256R1())
    return key, certificate("stranger", key)


@cache
def province() -> Owner:
    key = ec.generate_private_key(ec.SECP256R1())
    return key, certificate("省预警中心 CA", key, ca=True)


def issued(name: str, by: Owner, *, ca: bool = False, days: tuple[int, int] = (-30, 365)) -> Owner:
    key = ec.generate_private_key(ec.SECP256R1())
    return key, certificate(name, key, by, ca=ca, days=days)


def pem(owner: Owner) -> bytes:
    return owner[1].public_bytes(serialization.Encoding.PEM)


def signed(text: str, owner: Owner, *chain: x509.Certificate, **options: object) -> bytes:
    key, own = owner
    method = "rsa-sha256" if isinstance(key, rsa.RSAPrivateKey) else "ecdsa-sha256"
    signer = XMLSigner(**{"signature_algorithm": method, "digest_algorithm": "sha256", **options})  # type: ignore[arg-type]
    root = etree.fromstring(text.encode())
    return etree.tostring(signer.sign(root, key=key, cert=[own, *chain]))


def reading(*owners: Owner, must: bool = True) -> Reading:
    return Reading(certificates=tuple(map(pem, owners)), must_be_signed=must)


def read(body: bytes, how: Reading) -> Alert:
    return parse(body, how, now=NOW)


def refusal(body: bytes, how: Reading) -> AlertError:
    with pytest.raises(AlertError) as caught:
        read(body, how)
    assert caught.value.where.startswith("alert/Signature")
    return caught.value


@pytest.mark.parametrize("text", [cap_text(), national_text()], ids=["cap", "national"])
@pytest.mark.parametrize("owner", [bureau, stranger], ids=["rsa", "ecdsa"])
def test_a_signed_warning_is_read_and_says_whose_it_is(text: str, owner: object) -> None:
    who: Owner = owner()  # type: ignore[operator]
    alert = read(signed(text, who), reading(who))
    assert alert.main == parse(text.encode(), now=NOW).main
    assert f"alert/Signature holds: {who[1].subject.rfc4514_string()}" in alert.remarks
    assert alert.damage == ()


@pytest.mark.parametrize(
    "c14n", list(algorithms.CanonicalizationMethod), ids=lambda method: method.value.rsplit("/", 1)[-1]
)
def test_every_canonical_form_is_verified(c14n: algorithms.CanonicalizationMethod) -> None:
    assert read(signed(cap_text(), bureau(), c14n_algorithm=c14n), reading(bureau())).main.event == "暴雨"


def test_stripping_the_signature_does_not_pass() -> None:
    assert "is missing" in refusal(cap_text().encode(), reading(bureau())).why
    assert read(cap_text().encode(), reading(bureau(), must=False)).remarks == ("alert is not signed",)


def test_without_certificates_a_signature_is_not_verified_and_that_is_said() -> None:
    alert = read(signed(cap_text(), bureau()), Reading())
    assert alert.remarks == ("alert/Signature is not verified: this feed has no certificates",)
    assert "no certificates" in refusal(signed(cap_text(), bureau()), Reading(must_be_signed=True)).why


def test_a_changed_word_is_refused_or_held() -> None:
    body = (
        signed(cap_text(), bureau()).replace("橙色".encode(), "红色".encode()).replace(b"#27225;", b"#32418;")
    )
    body = body.replace(b"623023103000", b"623023104000")
    assert "changed after it was signed" in refusal(body, reading(bureau())).why
    damage = read(body, reading(bureau(), must=False)).damage
    assert any("changed after it was signed" in text for text in damage)


def test_a_strangers_signature_is_refused_whatever_certificate_it_brings() -> None:
    error = refusal(signed(cap_text(), stranger()), reading(bureau()))
    assert "stranger" in error.why
    root = etree.fromstring(signed(cap_text(), stranger()))
    for info in list(root.iter(f"{DS}KeyInfo")):
        info.getparent().remove(info)
    assert "not made with the key" in refusal(etree.tostring(root), reading(bureau())).why
    root = etree.fromstring(signed(cap_text(), stranger()))
    for certificate_ in root.iter(f"{DS}X509Certificate"):
        certificate_.text = (
            etree.fromstring(signed(cap_text(), bureau())).find(f".//{DS}X509Certificate").text
        )
    assert "not made with the key" in refusal(etree.tostring(root), reading(bureau())).why


def test_a_signature_without_key_info_is_tried_with_the_pinned_keys() -> None:
    root = etree.fromstring(signed(cap_text(), stranger()))
    for info in list(root.iter(f"{DS}KeyInfo")):
        info.getparent().remove(info)
    assert read(etree.tostring(root), reading(bureau(), stranger())).main.event == "暴雨"


def test_what_a_pinned_authority_issued_may_sign_directly_or_through_another() -> None:
    county = issued("县", province())
    assert read(signed(cap_text(), county), reading(province())).main.event == "暴雨"
    city = issued("市 CA", province(), ca=True)
    far = issued("县", city)
    assert read(signed(cap_text(), far, city[1]), reading(province())).main.event == "暴雨"
    assert "nor issued by one" in refusal(signed(cap_text(), far), reading(province())).why


def test_a_sender_that_is_no_authority_vouches_for_nobody() -> None:
    false = issued("false", bureau())
    assert "nor issued by one" in refusal(signed(cap_text(), false), reading(bureau())).why
    county = issued("县", province())
    through = issued("through", county)
    assert "not made with the key" in refusal(signed(cap_text(), through, county[1]), reading(province())).why


@pytest.mark.parametrize("days", [(-30, -1), (1, 30)])
def test_a_certificate_out_of_its_time_is_refused_with_its_days(days: tuple[int, int]) -> None:
    key, _ = bureau()
    late = key, certificate("县气象局", key, days=days)
    assert "is valid from 2026-" in refusal(signed(cap_text(), late), reading(late)).why
    child = issued("县", province(), days=days)
    assert "nor issued by one" in refusal(signed(cap_text(), child), reading(province())).why


def test_a_short_key_is_refused() -> None:
    key = rsa.generate_private_key(65537, 1024)
    short = key, certificate("short", key)
    assert "1024 bits" in refusal(signed(cap_text(), short), reading(short)).why


@pytest.mark.parametrize(
    ("method", "digest", "said"),
    [
        ("RSA_SHA1", "SHA256", "rsa-sha1"),
        ("RSA_SHA256", "SHA1", "sha1"),
        ("RSA_SHA224", "SHA256", "rsa-sha224"),
    ],
)
def test_weak_algorithms_are_refused_by_name(method: str, digest: str, said: str) -> None:
    signer = WeakSigner(
        signature_algorithm=algorithms.SignatureMethod[method],
        digest_algorithm=algorithms.DigestAlgorithm[digest],
    )
    root = signer.sign(etree.fromstring(cap_text().encode()), key=bureau()[0], cert=[bureau()[1]])
    error = refusal(etree.tostring(root), reading(bureau()))
    assert f"'{said}', which is too weak" in error.why
    assert "SHA-256" in error.remedy


def test_dsa_is_refused_by_name() -> None:
    root = etree.fromstring(signed(cap_text(), bureau()))
    root.find(f".//{DS}SignatureMethod").set("Algorithm", "http://www.w3.org/2000/09/xmldsig#dsa-sha1")
    assert "'dsa-sha1', which is too weak" in refusal(etree.tostring(root), reading(bureau())).why


def wrapped(inner: bytes, how: str) -> bytes:
    """A genuine signed alert moved inside a forged one."""
    genuine = etree.fromstring(inner)
    forged = etree.fromstring(
        cap_text().replace("橙色", "红色").replace("_20260715061500", "_20260715999999").encode()
    )
    signature = genuine.find(f"{DS}Signature")
    match how:
        case "beside":  # the genuine one as an extension, its signature moved up to the forged root
            genuine.set("Id", "genuine")
            forged.append(genuine)
            forged.append(signature)
        case "inside":
            forged.append(genuine)
        case "object":  # the genuine one inside the signature
            holder = etree.SubElement(signature, f"{DS}Object")
            holder.append(deepcopy(genuine))
            forged.append(signature)
        case "info":
            forged.find("{*}info").append(signature)
    return etree.tostring(forged)


@pytest.mark.parametrize("how", ["beside", "inside", "object", "info"])
def test_a_genuine_signature_around_other_words_never_passes(how: str) -> None:
    body = wrapped(signed(cap_text(), bureau()), how)
    refusal(body, reading(bureau()))
    assert read(body, reading(bureau(), must=False)).damage


def test_a_reference_to_a_part_is_refused() -> None:
    text = cap_text().replace("<info>", '<info Id="part">', 1)
    root = etree.fromstring(text.encode())
    signer = XMLSigner()
    whole = signer.sign(root, key=bureau()[0], cert=[bureau()[1]], reference_uri="#part")
    assert "covers '#part'" in refusal(etree.tostring(whole), reading(bureau())).why


def test_two_signatures_are_refused() -> None:
    root = etree.fromstring(signed(cap_text(), bureau()))
    other = etree.fromstring(signed(cap_text(), stranger()))
    root.append(other.find(f"{DS}Signature"))
    assert "one and only" in refusal(etree.tostring(root), reading(bureau())).why


def test_a_transform_that_computes_is_refused() -> None:
    root = etree.fromstring(signed(cap_text(), bureau()))
    root.find(f".//{DS}Transform").set("Algorithm", "http://www.w3.org/TR/1999/REC-xslt-19991116")
    assert "transform" in refusal(etree.tostring(root), reading(bureau())).why


@pytest.mark.parametrize(
    "spoil",
    [
        lambda root: root.find(f".//{DS}SignatureValue").__setattr__("text", "!!"),
        lambda root: root.find(f".//{DS}SignatureValue").__setattr__("text", None),
        lambda root: root.find(f".//{DS}DigestValue").__setattr__("text", "AAAA"),
        lambda root: root.find(f"{DS}Signature").remove(root.find(f".//{DS}SignedInfo")),
        lambda root: root.find(f".//{DS}SignedInfo").remove(root.find(f".//{DS}Reference")),
        lambda root: root.find(f".//{DS}SignedInfo").remove(root.find(f".//{DS}SignatureMethod")),
        lambda root: root.find(f".//{DS}CanonicalizationMethod").set("Algorithm", "urn:none"),
        lambda root: root.find(f".//{DS}X509Certificate").__setattr__("text", "AAAA"),
        lambda root: root.find(f"{DS}Signature").clear(),
    ],
)
def test_a_malformed_signature_is_a_refusal_and_never_a_crash(spoil: object) -> None:
    root = etree.fromstring(signed(cap_text(), bureau()))
    spoil(root)  # type: ignore[operator]
    refusal(etree.tostring(root), reading(bureau()))


def test_what_is_outside_the_signature_is_not_read() -> None:
    """A comment is not signed by most canonical forms; what it splits is read as it was signed."""
    body = signed(cap_text(), bureau()).replace(b"623023103000", b"623023<!-- 104 -->103000")
    alert = read(body, reading(bureau()))
    assert [code.digits for code in alert.main.areas[0].codes] == ["623023101", "623023103"]


def test_a_signed_warning_inside_an_index_still_holds() -> None:
    inner = signed(cap_text(), bureau()).decode()
    for index in (
        f"<feed xmlns='http://www.w3.org/2005/Atom' xmlns:x='urn:x'><entry><id>1</id>"
        f"<content type='text/xml'>{inner}</content></entry></feed>",
        "<feed xmlns='http://www.w3.org/2005/Atom'><entry><id>1</id><content type='text'>"
        f"{inner.replace('&', '&amp;').replace('<', '&lt;')}</content></entry></feed>",
    ):
        (entry,) = containers.entries(index.encode())
        assert read(entry.inline, reading(bureau())).main.event == "暴雨"


@pytest.mark.parametrize("name", sorted(FORMATS) or ["none"])
def test_a_format_that_cannot_be_signed_is_refused_where_signatures_are_demanded(name: str) -> None:
    if name not in FORMATS:
        pytest.skip("no other format is registered")
    with pytest.raises(AlertError, match="cannot be signed"):
        parse(b"{}", Reading(format=name, must_be_signed=True), now=NOW)
