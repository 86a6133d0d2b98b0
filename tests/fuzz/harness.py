"""Fuzzing of every parser in `alerts.formats`: seeds, mutations, monsters, and what must never happen.

A parser may return or raise AlertError; anything else is a finding, and so is a result that later hops
cannot carry (a lone surrogate, NaN, a time without zone), or one that takes longer than `LIMIT_S` of
processor time or more memory than `LIMIT_MB`. Both limits are far above what any document needs, so that a
busy machine is no finding. Every run is repeatable by its seed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import re
import resource
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml.signer import XMLSigner

from alerts.formats import FORMATS, Reading, containers, parse, wis2, xml
from alerts.formats.lists import LISTS, ListFormat, Row
from alerts.lint import lint_all
from alerts.model import AlertError

NOW: Final = datetime(2026, 7, 15, tzinfo=UTC)
LIMIT_S: Final = 10.0
LIMIT_MB: Final = 400
"""By which the process may grow over all that one parser reads."""
LARGEST_SEED: Final = 60_000
FIXTURES: Final = Path(__file__).parents[1] / "fixtures"
SHARED: Final = Path(__file__).parents[2].parent / "shared" / "data" / "feeds"


@dataclass(frozen=True, slots=True)
class Parser:
    name: str
    read: Callable[[bytes], Any]
    seeds: tuple[bytes, ...]
    xml: bool


@dataclass(slots=True)
class Result:
    """What came of one parser."""

    name: str
    runs: int = 0
    taken: int = 0
    slowest_s: float = 0.0
    grown_mb: float = 0.0
    findings: list[tuple[str, bytes]] = field(default_factory=list)
    """(what happened, the input)."""


class TooSlow(BaseException):
    """Not an Exception: no parser may catch it."""


WNM: Final = json.dumps(
    {
        "id": "31e9d66a-cd83-4174-9429-b932f1abe1be",
        "type": "Feature",
        "conformsTo": ["http://wis.wmo.int/spec/wnm/1/conf/core"],
        "geometry": None,
        "properties": {
            "data_id": "cn-cma/warnings/1",
            "pubtime": "2026-07-15T00:00:00Z",
            "integrity": {
                "method": "sha512",
                "value": base64.b64encode(hashlib.sha512(b"<alert/>").digest()).decode(),
            },
            "content": {"encoding": "utf-8", "value": "<alert/>", "size": 8},
        },
        "links": [{"rel": "canonical", "href": "https://a.example/1.xml", "type": "application/cap+xml"}],
    }
).encode()


# --- parsers and seeds ---------------------------------------------------------------------------------


@cache
def _owner() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fuzz")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW - timedelta(days=1))
    return key, builder.not_valid_after(NOW + timedelta(days=1)).sign(key, hashes.SHA256())


def _signed(body: bytes) -> bytes:
    key, own = _owner()
    root = etree.fromstring(body)
    signed: bytes = etree.tostring(
        XMLSigner(signature_algorithm="ecdsa-sha256").sign(root, key=key, cert=[own])
    )
    return signed


def _files(*patterns: str) -> tuple[bytes, ...]:
    """Ours, and of the shared corpus (where it is) up to 60 of each kind, evenly."""
    found = [file for pattern in patterns for file in sorted(FIXTURES.rglob(pattern))]
    if SHARED.exists():
        for pattern in patterns:
            all_of = sorted(file for file in SHARED.rglob(pattern) if file.stat().st_size <= LARGEST_SEED)
            found += all_of[:: max(1, len(all_of) // 60)]
    return tuple(file.read_bytes() for file in found)


@cache
def parsers() -> tuple[Parser, ...]:
    """All of `alerts.formats`, whatever others have registered there, and the terminals' protocol."""
    cap = _files("cap/*.xml", "*.cap")
    national = _files("national/*.xml", "guotu-cap/*/*.xml")
    alerts = cap + national
    index = (
        b"<feed xmlns='http://www.w3.org/2005/Atom'><entry><id>1</id><content>"
        + alerts[0].split(b"?>", 1)[-1]
        + b"</content></entry><entry><link href='/a.xml'/></entry></feed>"
    )
    indexes = (index, *_files("*.atom", "*.rss.xml", "gdacs/*.xml"))
    pem = _owner()[1].public_bytes(serialization.Encoding.PEM)
    signed = Reading(certificates=(pem,), must_be_signed=True)
    found = [
        Parser("cap", lambda body: parse(body, now=NOW), cap, xml=True),
        Parser("national", lambda body: parse(body, now=NOW), national, xml=True),
        Parser("xml", lambda body: xml.read(body)[0].to_bytes(), alerts, xml=True),
        Parser("containers", containers.entries, indexes, xml=True),
        Parser("signature", lambda body: parse(body, signed, now=NOW), (_signed(cap[0]),), xml=True),
        Parser("lint", lambda body: [r.fields for r in lint_all(body, now=NOW)], indexes + alerts, xml=True),
    ]
    texts = _files("lists/*", "*-cn/*.json", "*.json", "weathercn/*/*", "qweather/*/*", "fanstudio/*/*")
    found.append(Parser("wis2", wis2.read_notification, (WNM, *_files("wis2/*.json")), xml=False))
    for name, source in sorted(LISTS.items()):
        found.append(Parser(f"{name} list", source.split, texts, xml=False))
        rows = _rows(source, texts)
        if source.gone is not None:
            found.append(Parser(f"{name} gone", source.gone, rows or texts, xml=False))
        if source.with_detail is not None:
            found.append(Parser(f"{name} detail", _detail(source, rows, texts), texts, xml=False))
    for name in sorted(FORMATS):
        seeds = _rows(LISTS[name], texts) if name in LISTS else ()
        found.append(Parser(name, _reader(name), seeds or texts, xml=False))
    from fuzz.wire import wire_parsers  # it takes Parser from here

    return (*found, *wire_parsers())


def _reader(name: str) -> Callable[[bytes], Any]:
    return lambda body: parse(body, Reading(format=name), now=NOW)


def _rows(source: ListFormat, texts: Iterable[bytes]) -> tuple[bytes, ...]:
    """Bodies of the rows that a source finds in any of the texts."""
    found: list[bytes] = []
    for text in texts:
        try:
            found += [row.body for row in source.split(text)[:20]]
        except AlertError:
            continue
    return tuple(dict.fromkeys(found))[:100]


def _detail(source: ListFormat, rows: Sequence[bytes], texts: Sequence[bytes]) -> Callable[[bytes], bytes]:
    """Of the first row that any of the texts is the detail of."""
    read = source.with_detail
    assert read is not None
    rows = rows or (b"{}",)
    pairs = ((Row("1", "1", row, "x"), text) for row in rows for text in texts)
    row = next((row for row, text in pairs if _goes(read, row, text)), Row("1", "1", rows[0], "x"))
    return lambda body: read(row, body)


def _goes(read: Callable[[Row, bytes], object], row: Row, text: bytes) -> bool:
    try:
        read(row, text)
    except AlertError:
        return False
    return True


# --- mutations -----------------------------------------------------------------------------------------

NASTY: Final = (
    b"", b"\x00", b"\xff", b"\xef\xbf\xbd", b"\xed\xa0\x80", b"\xe2\x80\xae", b"&", b"&amp;amp;lt;", b"&#0;",
    b"&#xD800;", b"&#1114112;", b"&undefined;", b"]]>", b"<!--", b"<![CDATA[", b"<?x?>", b"<!DOCTYPE a>",
    b"'", b'"', b"<", b">", b"()", b",", b"NaN", b"inf", b"-0", b"1e999", b"1e-999", b"9" * 400, b"9" * 5000,
    b"-1", b"0", b"1.7976931348623157e308", b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59+14:00",
    b"2026-07-15T24:00:00Z",
    b"2026-02-30T00:00:00+08:00", b"Actual", b"Cancel", b"Exercise", b"zh-CN", b"623023000000", b"104.4,33.7",
    b"33.7,104.4 33.8,104.4 33.7,104.4", b"33.7,104.4 10", b"null", b"true", b"[]", b"{}", b'"\\ud800"',
    b"\\u0000",
    b"[[[[[[[[", b"\\", b"%s%n", b"1" * 20 + b"x", b"A" * 10_000, b"\n" * 1000, b" " * 1000, b"(" * 2000,
    *(text.encode() for text in ("解除", "发布暴雨红色预警", "０", "𐍈")),
)  # fmt: skip
_ELEMENT: Final = re.compile(rb"<([A-Za-z:]{1,30})[^<>]{0,200}>[^<>]{0,400}</\1>")
_VALUE: Final = re.compile(rb'(?<=>)[^<>]{1,300}(?=<)|(?<=")[^"\\]{0,300}(?=")|-?[0-9]+(?:\.[0-9]+)?')


def mutate(seed: bytes, others: Sequence[bytes], rng: random.Random, *, markup: bool) -> bytes:
    """`seed` with one to six wounds."""
    body = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        size = len(body) or 1
        at, other = rng.randrange(size), rng.choice(others)
        length = min(rng.choice((1, 1, 2, 8, 64, 1024)), size)
        match rng.randrange(11):
            case 0:
                body[at : at + 1] = bytes((rng.randrange(256),))
            case 1:
                del body[at : at + length]
            case 2:
                body[at:at] = body[at : at + length] * rng.choice((1, 2, 50))
            case 3:
                body[at:at] = rng.choice(NASTY)
            case 4:
                start = rng.randrange(len(other) or 1)
                body[at : at + length] = other[start : start + length]
            case 5:
                del body[at:]
            case 6 | 7 | 8:
                _replace(body, _VALUE, rng, lambda _: rng.choice(NASTY))
            case 9 if markup:
                _replace(body, _ELEMENT, rng, lambda found: found * rng.choice((0, 2, 3, 100)))
            case 10 if markup:
                start = rng.randrange(len(other) or 1)
                if found := _ELEMENT.search(other, start):
                    _replace(body, _ELEMENT, rng, lambda mine, theirs=found[0]: mine + theirs)
            case _:
                _restructure(body, rng)
    return bytes(body[:3_000_000])


def _replace(
    body: bytearray, what: re.Pattern[bytes], rng: random.Random, by: Callable[[bytes], bytes]
) -> None:
    if found := what.search(body, rng.randrange(len(body) or 1)) or what.search(body):
        body[found.start() : found.end()] = by(bytes(found[0]))


_VALUES: Final = (
    None, True, False, 0, -1, 1.5, 1e308, float("nan"), float("inf"), 10**400, "", " ", "null", "9999",
    "1e999",
    "\ud800", "\x00", [], {}, [[]], [None], {"": None}, "2026-02-30 00:00:00", "2026-07-15 06:30:00",
    "<p>x</p>", "&amp;lt;", "A" * 5000, "解除", [1, 2, 3], "623023", -(2**63), 1752537600000,
    "62302341600000_20260715061500",
)  # fmt: skip


def _restructure(body: bytearray, rng: random.Random) -> None:
    """Another value, or none, somewhere in a JSON document."""
    try:
        document = json.loads(bytes(body))
    except (ValueError, RecursionError):
        return
    holders = [node for node in _nodes(document) if isinstance(node, dict | list) and node]
    if not holders:
        return
    holder = rng.choice(holders[:2000])
    key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    if rng.randrange(4):
        holder[key] = rng.choice(_VALUES)
    else:
        del holder[key]
    try:
        body[:] = json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    except ValueError:  # 10**400 has too many digits to be written
        return


def _nodes(document: Any) -> Iterator[Any]:
    waiting = [document]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, dict | list):
            waiting += node.values() if isinstance(node, dict) else node


# --- monsters ------------------------------------------------------------------------------------------


def monsters(markup: bool) -> Iterator[tuple[str, bytes]]:
    """Documents made to break parsers, each at most a few megabytes."""
    yield "nothing", b""
    yield "NULs", b"\x00" * 1_000_000
    yield "spaces", b" " * 3_000_000
    for codec in ("utf-16", "utf-32", "utf-7"):
        yield codec, '{"a": "<alert/>"}'.encode(codec)
    if markup:
        yield from _xml_monsters()
    else:
        yield from _json_monsters()


def _xml_monsters() -> Iterator[tuple[str, bytes]]:
    bomb = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    yield "entity bomb", f'<!DOCTYPE a [<!ENTITY a0 "x">{bomb}]><alert>&a11;</alert>'.encode()
    yield (
        "quadratic entities",
        f'<!DOCTYPE a [<!ENTITY a "{"x" * 50_000}">]><alert>{"&a;" * 9000}</alert>'.encode(),
    )
    yield "outside entity", b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><alert>&x;</alert>'
    yield "parameter entity", b'<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:1/x"> %x;]><alert/>'
    yield "deep", b"<a>" * 100_000 + b"</a>" * 100_000
    yield "deep and open", b"<alert>" * 200_000
    yield "wide", b"<alert>" + b"<a/>" * 210_000 + b"</alert>"
    yield "attributes", b"<alert " + b" ".join(b'a%d="x"' % n for n in range(100_000)) + b"/>"
    yield "long attribute", b'<alert a="' + b"x" * 1_900_000 + b'"/>'
    yield "namespaces", b"<alert " + b" ".join(b'xmlns:a%d="u"' % n for n in range(20_000)) + b"/>"
    yield "comments", b"<alert>" + b"<!-- x -->" * 180_000 + b"</alert>"
    yield "instructions", b"<alert>" + b"<?x y?>" * 200_000 + b"</alert>"
    head, tail = _around(b"</areaDesc>")
    for name, text in (
        ("a million vertices", b"<polygon>" + b"1,1 " * 1_000_000 + b"</polygon>"),
        ("200,000 vertices", b"<polygon>" + b"33,104 " * 200_000 + b"</polygon>"),
        (
            "90,000 different vertices",
            b"<polygon>" + b" ".join(b"33.%d,104" % n for n in range(90_000)) + b"</polygon>",
        ),
        ("commas", b"<polygon>" + b"," * 1_500_000 + b"</polygon>"),
        ("digits", b"<polygon>" + b"1" * 1_500_000 + b",1</polygon>"),
        ("brackets", b"<polygon>" + b"(" * 1_500_000 + b"</polygon>"),
        ("polygons", b"<polygon>1,1 2,2 3,1 1,1</polygon>" * 8_000),
        ("points", b"".join(b"<polygon>1,%d</polygon>" % n for n in range(20_000))),
        ("bad shapes", b"".join(b"<circle>1,x%d 1</circle>" % n for n in range(20_000))),
        ("circles", b"<circle>1,1 1</circle>" * 15_000),
        ("codes", b"<geocode><valueName>AdCode</valueName><value>623023</value></geocode>" * 5_000),
        (
            "list of codes",
            b"<geocode><valueName>AdCode</valueName><value>" + b"623023 " * 50_000 + b"</value></geocode>",
        ),
    ):
        yield name, head + text + tail
    head, tail = _around(b"<description>")
    for name, text in (
        ("tags", b"&lt;p" * 300_000),
        ("open tags", b"&lt;p " + b"x " * 800_000),
        ("entities", b"&amp;amp;" * 150_000),
        ("lines", b"x\n" * 900_000),
        ("one word", b"x" * 1_900_000),
        ("colours", "红色橙色".encode() * 100_000),
    ):
        yield name, head + text + tail
    head, tail = _around(b"</scope>")
    yield (
        "references",
        head + b"<references>" + b"a,b,2026-07-15T00:00:00+08:00 " * 15_000 + b"</references>" + tail,
    )
    yield "commas in references", head + b"<references>" + b"a," * 700_000 + b"</references>" + tail
    head, tail = _around(b"<info>")
    yield (
        "parameters",
        head + b"<parameter><valueName>a</valueName><value>b</value></parameter>" * 8_000 + tail,
    )
    yield "resources", head + b"<resource><derefUri>" + b"QUJD" * 450_000 + b"</derefUri></resource>" + tail
    whole = _files("cap/rainstorm-orange.cap.xml")[0]
    one = whole[whole.index(b"<info>") : whole.index(b"</info>") + 7]
    yield "infos", whole.replace(one, one * 400)
    yield "entries", b"<feed>" + b"<entry><link href='/a'/></entry>" * 10_000 + b"</feed>"
    yield "nested entries", b"<feed>" + b"<entry>" * 60 + b"<link/>" + b"</entry>" * 60 + b"</feed>"
    yield "alerts in alerts", b"<feed>" + b"<alert><identifier/>" * 30 + b"</alert>" * 30 + b"</feed>"


def _around(mark: bytes) -> tuple[bytes, bytes]:
    whole = _files("cap/rainstorm-orange.cap.xml")[0]
    at = whole.index(mark) + len(mark)
    return whole[:at], whole[at:]


def _json_monsters() -> Iterator[tuple[str, bytes]]:
    yield "deep lists", b"[" * 500_000
    yield "deep and closed", b"[" * 100_000 + b"]" * 100_000
    yield "deep objects", b'{"a":' * 300_000
    yield "digits", b"9" * 1_000_000
    yield "digits in a field", b'{"id": ' + b"9" * 100_000 + b"}"
    yield "exponent", b'{"magnitude": 1e999999999}'
    yield "NaN", b'{"data": NaN, "latitude": Infinity}'
    yield "surrogate", b'{"title": "\\ud800", "data": "\\udfff"}'
    yield "quotes", b'"' * 200_000
    yield "backslashes", b'"' + b"\\" * 1_000_000
    yield "keys", b"{" + b",".join(b'"k%d": 1' % n for n in range(50_000)) + b"}"
    yield "same key", b"{" + b'"data": [],' * 50_000 + b'"data": {}}'
    yield "rows", b'{"data": [' + b",".join([b"{}"] * 60_000) + b"]}"
    yield "html", b"<html>" + b"<p id='alarmtext'>" * 100_000
    yield "wrapping", b"var a=" * 200_000 + b"{}"
    yield "semicolons", b"{}" + b";" * 1_000_000


# --- running -------------------------------------------------------------------------------------------


def attempt(parser: Parser, body: bytes, result: Result) -> None:
    """Reads `body` once; what must not happen becomes a finding."""
    result.runs += 1

    def too_slow(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGVTALRM, too_slow)
    # Processor time of this process: a busy machine is not the parser's fault.
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_S)
    start = time.process_time()
    try:
        wrong = unfit(parser.read(body))
        result.taken += 1
    except AlertError as error:
        wrong = "" if error.where and error.why else "an AlertError without place or reason"
        str(error).encode()
    except TooSlow:
        wrong = f"took more than {LIMIT_S:g} s"
    except Exception as error:  # noqa: BLE001  # that is what is looked for
        wrong = f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    result.slowest_s = max(result.slowest_s, time.process_time() - start)
    if wrong:
        result.findings.append((wrong, body))


def unfit(value: Any) -> str:
    """What in a result later hops could not carry, or empty."""
    waiting = [value]
    while waiting:
        node = waiting.pop()
        match node:
            case str():
                if any("\ud800" <= character <= "\udfff" for character in node):
                    return f"a lone surrogate in {node[:40]!r}"
            case float():
                if not math.isfinite(node):
                    return f"the number {node}"
            case datetime():
                if node.tzinfo is None:
                    return f"the time {node} without a zone"
            case dict():
                waiting += [*node, *node.values()]
            case list() | tuple() | set() | frozenset():
                waiting += node
            case _ if is_dataclass(node):
                waiting += [getattr(node, item.name) for item in fields(node)]
    return ""


def memory_mb() -> float:
    """The most that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fuzz(
    parser: Parser, go_on: Callable[[Result], bool], seed: int = 0, *, with_monsters: bool = True
) -> Result:
    """Seeds and monsters once, then mutations for as long as `go_on` says. At most ten findings."""
    result = Result(parser.name)
    before = memory_mb()
    rng = random.Random(f"{parser.name} {seed}")
    for body in parser.seeds:
        attempt(parser, body, result)
    for name, body in monsters(parser.xml) if with_monsters else ():
        count = len(result.findings)
        attempt(parser, body, result)
        if len(result.findings) > count:
            result.findings[-1] = (f"{name}: {result.findings[-1][0]}", body)
    pool = [body for body in parser.seeds if len(body) <= LARGEST_SEED]
    while len(result.findings) < 10 and go_on(result):
        body = mutate(rng.choice(pool), pool, rng, markup=parser.xml)
        attempt(parser, body, result)
    result.grown_mb = memory_mb() - before
    if result.grown_mb > LIMIT_MB:
        result.findings.append((f"grew by {result.grown_mb:.0f} MB", b""))
    return result
