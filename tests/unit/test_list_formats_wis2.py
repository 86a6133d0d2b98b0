from __future__ import annotations

import base64
import gzip
import hashlib
import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from alert_builders import SHARED, cap_text

from alerts.formats import parse
from alerts.formats.wis2 import Notification, Relation, read_notification, verify
from alerts.model import AlertError

CAP = cap_text().encode()
ADDRESS = "https://cache.example.org/data/cap.xml"


def digest(content: bytes, method: str = "sha512") -> str:
    return base64.b64encode(hashlib.new(method.replace("-", "_"), content).digest()).decode()


def message(**changes: Any) -> dict[str, Any]:
    properties = {
        "data_id": "wis2/cn-cma/data/core/weather/advisories-warnings/x",
        "metadata_id": "urn:wmo:md:cn-cma:warnings",
        "pubtime": "2026-07-15T06:15:00.123456789Z",
        "datetime": "2026-07-15T06:15:00Z",
        "integrity": {"method": "sha512", "value": digest(CAP)},
    } | changes.pop("properties", {})
    return {
        "id": "31e9d66a-cd83-4174-9429-b932f1abe1be",
        "conformsTo": ["http://wis.wmo.int/spec/wnm/1/conf/core"],
        "type": "Feature",
        "geometry": None,
        "properties": {name: value for name, value in properties.items() if value is not ...},
        "links": [{"href": ADDRESS, "rel": "canonical", "type": "application/cap+xml", "length": len(CAP)}],
    } | changes


def read(value: Any) -> Notification:
    return read_notification(json.dumps(value).encode())


def inline(encoding: str, value: str, size: int) -> Notification:
    return read(message(properties={"content": {"encoding": encoding, "value": value, "size": size}}))


def test_a_notification_says_what_where_and_when() -> None:
    found = read(message())
    assert (found.relation, found.href, found.length) == (Relation.CANONICAL, ADDRESS, len(CAP))
    assert found.pubtime == datetime(2026, 7, 15, 6, 15, tzinfo=UTC)
    assert (found.method, found.content, found.global_cache) == ("sha512", None, "")
    verify(found, CAP)


def test_what_came_along_is_unpacked_verified_and_read_as_cap() -> None:
    packed = gzip.compress(CAP)
    for found in (
        inline("utf-8", CAP.decode(), len(CAP)),
        inline("base64", base64.b64encode(CAP).decode(), len(CAP)),
        inline("gzip", base64.b64encode(packed).decode(), len(packed)),
        inline("gzip", base64.b64encode(packed).decode(), len(CAP)),
    ):
        assert found.content == CAP
        verify(found, found.content)
        assert parse(found.content, now=found.pubtime).identifier


def test_a_notification_is_known_by_its_id_or_by_what_it_publishes_and_when() -> None:
    first = read(message())
    cached = read(message(id="other", properties={"global-cache": "cn-cma-global-cache"}))
    later = read(message(properties={"pubtime": "2026-07-15T07:15:00Z"}))
    assert first.keys[1] == cached.keys[1]
    assert first.keys[0] != cached.keys[0]
    assert first.keys[1] != later.keys[1]
    assert cached.global_cache == "cn-cma-global-cache"


@pytest.mark.parametrize("method", ["sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"])
def test_every_checksum_of_the_standard_is_verified_in_base64_and_in_hex(method: str) -> None:
    for value in (
        digest(CAP, method),
        base64.b64decode(digest(CAP, method)).hex(),
        base64.b64decode(digest(CAP, method)).hex().upper(),
    ):
        found = read(message(properties={"integrity": {"method": method, "value": value}}))
        verify(found, CAP)
        with pytest.raises(AlertError, match="does not match"):
            verify(found, CAP.replace(b"alert", b"alerT", 1))


@pytest.mark.parametrize(
    ("integrity", "why"),
    [
        (..., "missing"),
        (None, "missing"),
        ({"method": "md5", "value": "x"}, "none of"),
        ({"method": "sha512", "value": "A2KNxvks...S8qfSCw=="}, "no sha512 checksum"),
        ({"method": "sha512", "value": digest(CAP, "sha256")}, "no sha512 checksum"),
        ({"method": "sha512"}, "no sha512 checksum"),
        ({"method": "sha512", "value": digest(b"else")}, "does not match"),
    ],
)
def test_what_is_not_proven_is_refused(integrity: Any, why: str) -> None:
    with pytest.raises(AlertError, match=why):
        verify(read(message(properties={"integrity": integrity})), CAP)


def test_another_length_than_announced_is_refused() -> None:
    link = {"href": ADDRESS, "rel": "canonical", "length": len(CAP) + 1}
    with pytest.raises(AlertError, match="links/length"):
        verify(read(message(links=[link])), CAP)
    lying = inline("utf-8", CAP.decode(), len(CAP) + 1)
    with pytest.raises(AlertError, match="content/size"):
        verify(lying, CAP)


@pytest.mark.parametrize(
    ("encoding", "value"),
    [
        ("gzip", base64.b64encode(gzip.compress(b"0" * 50_000_000, 9)).decode()),
        ("gzip", base64.b64encode(gzip.compress(CAP)[:-9]).decode()),
        ("gzip", base64.b64encode(gzip.compress(CAP) * 2).decode()),
        ("gzip", base64.b64encode(CAP).decode()),
        ("base64", "not base64!"),
        ("brotli", "x"),
        ("utf-8", 7),
    ],
)
def test_a_bomb_and_broken_content_are_refused(encoding: str, value: Any) -> None:
    with pytest.raises(AlertError):
        inline(encoding, value, 10)


def test_a_bomb_is_not_unpacked_first() -> None:
    value = base64.b64encode(gzip.compress(b"0" * 40_000_000, 9)).decode()
    tracemalloc.start()
    try:
        with pytest.raises(AlertError, match="unpacks to more"):
            inline("gzip", value, 10)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_exactly_one_relation_counts_and_an_update_may_keep_its_canonical_link() -> None:
    def links(*rels: str) -> list[dict[str, str]]:
        return [{"href": f"{ADDRESS}?{rel}", "rel": rel} for rel in rels]

    assert read(message(links=links("item", "update"))).relation is Relation.UPDATE
    both = read(message(links=links("canonical", "update")))
    assert (both.relation, both.href) == (Relation.UPDATE, f"{ADDRESS}?update")
    assert read(message(links=links("deletion", "about"))).relation is Relation.DELETION
    for rels in (("deletion", "canonical"), ("item",), ()):
        with pytest.raises(AlertError, match="links"):
            read(message(links=links(*rels)))


@pytest.mark.parametrize(
    "href",
    [
        "",
        None,
        "file:///etc/passwd",
        "ftp://x/y",
        "https://",
        "https://user:pw@x/y",
        "https://[::1",
        "https://x/a b",
        "javascript:alert(1)",
    ],
)
def test_an_address_that_is_none_is_refused(href: Any) -> None:
    with pytest.raises(AlertError, match="href"):
        read(message(links=[{"href": href, "rel": "canonical"}]))


def test_what_is_no_notification_is_refused() -> None:
    for value in (
        [],
        {},
        message(type="FeatureCollection"),
        message(id=None),
        message(properties={"data_id": ...}),
        message(properties={"pubtime": "soon"}),
        message(links="x"),
    ):
        with pytest.raises(AlertError):
            read(value)
    with pytest.raises(AlertError, match="limit"):
        read_notification(b" " * 65_537)


def test_the_standards_examples_are_read() -> None:
    folder = SHARED / "feeds" / "wis2" / "wnm" / "examples"
    if not folder.is_dir():
        pytest.skip("the standard's examples are not here")
    found = {path.name: read_notification(path.read_bytes()) for path in folder.glob("*.json")}
    assert len(found) == 7
    assert found["example4.json"].relation is Relation.DELETION
    assert found["example3.json"].method == ""
    eumetsat = found["eumetsat-msg-seviri-core-notification.json"]
    assert len(eumetsat.digest) == 64
    # An inline example whose checksum and size are of other bytes.
    example = found["example1.json"]
    assert example.content is not None
    with pytest.raises(AlertError):
        verify(example, example.content)
