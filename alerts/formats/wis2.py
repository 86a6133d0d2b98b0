"""WIS2 notification messages (WNM 1.1, a GeoJSON Feature over MQTT; `feeds.md` §4.5): what was published,
where it lies, and whether these bytes are it.

The data itself is read as what it is, usually CAP. A notification comes from several brokers and again from
a Global Cache: `Notification.keys` says what to remember.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from alerts.formats import rows
from alerts.formats.fields import Notes, shown
from alerts.formats.rows import Fields
from alerts.formats.xml import MAX_BYTES
from alerts.model import AlertError

MAX_NOTIFICATION: Final = 65_536
"""Bytes. Brokers drop what is over 8,192; some room for those that do not."""
_METHODS: Final = {
    "sha256": "sha256", "sha384": "sha384", "sha512": "sha512",
    "sha3-256": "sha3_256", "sha3-384": "sha3_384", "sha3-512": "sha3_512",
}  # fmt: skip


class Relation(StrEnum):
    """What has become of the data: exactly one of these links is in a notification."""

    CANONICAL = "canonical"
    """It is new."""
    UPDATE = "update"
    """It replaces what had the same `data_id`."""
    DELETION = "deletion"
    """It is withdrawn; nothing lies behind the link any more."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification. Times are aware."""

    id: str
    data_id: str
    pubtime: datetime
    """When the data was published; no cache or broker touches it."""
    relation: Relation
    href: str
    """Where the data lies (http or https)."""
    media_type: str = ""
    length: int | None = None
    """Bytes of the data, as the link says."""
    metadata_id: str = ""
    method: str = ""
    """Of the checksum, e.g. ``sha512``; empty if the notification has none."""
    digest: bytes = b""
    content: bytes | None = None
    """The data itself where it came along, decoded and unpacked; not verified yet."""
    content_sizes: frozenset[int] = frozenset()
    """Lengths that `content` may truthfully be declared as: packed and unpacked."""
    size: int | None = None
    """The declared length of `content`."""
    global_cache: str = ""
    """The Global Cache that repeats it; empty from the origin."""

    @property
    def keys(self) -> tuple[str, str]:
        """It is known if either of these is: the same notification again, or the same publication under
        another id."""
        return self.id, f"{self.data_id}@{self.pubtime.astimezone(UTC).isoformat()}"


def read_notification(body: bytes) -> Notification:
    """The notification in `body`. Raises AlertError with the path of what is wrong."""
    if len(body) > MAX_NOTIFICATION:
        raise AlertError("notification", f"has {len(body):,} bytes; the limit is {MAX_NOTIFICATION:,}")
    notes = Notes()
    root = Fields(rows.document(body, "notification"), "notification", notes)
    if root.text("type") != "Feature":
        raise AlertError(
            root.path("type"), f"is {shown(root.text('type'))}, not Feature: no WIS2 notification"
        )
    properties = root.child("properties")
    for where, name in ((root, "id"), (properties, "data_id"), (properties, "pubtime")):
        if not where.text(name):
            raise AlertError(where.path(name), "is missing or no text")
    relation, link = _link(root)
    length = link.number("length", low=0, high=10**12)
    integrity = properties.child("integrity")
    method = integrity.text("method").casefold()
    content, sizes, size = _content(properties)
    return Notification(
        id=root.word("id"),
        data_id=properties.text("data_id"),
        pubtime=rows.moment(_seconds(properties.text("pubtime")), properties.path("pubtime"), notes, UTC),
        relation=relation,
        href=_href(link),
        media_type=link.text("type"),
        length=None if length is None else int(length),
        metadata_id=properties.text("metadata_id"),
        method=method,
        digest=_digest(method, integrity.text("value"), integrity.path("value")) if method else b"",
        content=content,
        content_sizes=sizes,
        size=size,
        global_cache=properties.text("global-cache"),
    )


def verify(notification: Notification, content: bytes) -> None:
    """Raises AlertError unless `content` is what `notification` announces: its checksum and, where given, its
    length. Without a checksum nothing is proven, and it is refused."""
    where = f"{notification.data_id[-80:]}"
    if not notification.method:
        raise AlertError(
            f"{where}/integrity",
            "is missing, so nothing proves that this is what was published",
            "ask the centre",
        )
    if notification.method not in _METHODS:
        raise AlertError(
            f"{where}/integrity/method", f"{shown(notification.method)} is none of {', '.join(_METHODS)}"
        )
    if not notification.digest:
        raise AlertError(f"{where}/integrity/value", f"is no {notification.method} checksum in base64 or hex")
    if notification.content is not None and content == notification.content:
        if notification.size is not None and notification.size not in notification.content_sizes:
            raise AlertError(
                f"{where}/content/size", f"says {notification.size:,} bytes, there are {len(content):,}"
            )
    elif notification.length not in (None, len(content)):
        raise AlertError(
            f"{where}/links/length", f"says {notification.length:,} bytes, there are {len(content):,}"
        )
    if hashlib.new(_METHODS[notification.method], content).digest() != notification.digest:
        raise AlertError(
            f"{where}/integrity", f"the {notification.method} checksum does not match: these bytes are not it"
        )


def _seconds(text: str) -> str:
    """Without a fraction of a second, of which nine digits are met."""
    return re.sub(r"\.[0-9]+", "", text)


def _link(root: Fields) -> tuple[Relation, Fields]:
    found: dict[Relation, Fields] = {}
    for link in root.children("links"):
        rel = link.text("rel").casefold()
        if rel in tuple(Relation):
            found.setdefault(Relation(rel), link)
    if Relation.DELETION in found and len(found) > 1:
        raise AlertError(
            root.path("links"), f"have {' and '.join(sorted(found))}: withdrawn and there at once"
        )
    for relation in (Relation.DELETION, Relation.UPDATE, Relation.CANONICAL):
        if relation in found:
            return relation, found[relation]
    raise AlertError(root.path("links"), "have none of canonical, update, deletion: nothing is announced")


def _href(link: Fields) -> str:
    href = link.text("href")
    try:
        parts = urlsplit(href)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username
    except ValueError:
        usable = False
    if not usable or re.search(r"\s", href):
        raise AlertError(link.path("href"), f"{shown(href, 120)} is no http or https address")
    return href


def _digest(method: str, value: str, where: str) -> bytes:
    """From base64 as the standard has it, or hex as EUMETSAT writes it; they differ in length, so neither is
    guessed. Empty if it is neither."""
    if method not in _METHODS:
        return b""
    size = hashlib.new(_METHODS[method]).digest_size
    if re.fullmatch(rf"[0-9A-Fa-f]{{{2 * size}}}", value):
        return bytes.fromhex(value)
    try:
        digest = base64.b64decode(value, validate=True)
    except ValueError:  # binascii.Error, or letters that are not ASCII
        return b""
    return digest if len(digest) == size else b""


def _content(properties: Fields) -> tuple[bytes | None, frozenset[int], int | None]:
    """Inline data, the lengths it may be declared with, and the declared one."""
    value: Any = properties.raw("content")
    if value is None:
        return None, frozenset(), None
    content = properties.child("content")
    encoding = content.text("encoding").casefold()
    text = content.raw("value")
    if not isinstance(text, str):
        raise AlertError(content.path("value"), "is missing or no text")
    declared = content.number("size", low=0, high=10**9)
    size = None if declared is None else int(declared)
    if encoding == "utf-8":
        data = text.encode("utf-8", "replace")
        return data, frozenset((len(data),)), size
    if encoding not in ("base64", "gzip"):
        raise AlertError(content.path("encoding"), f"{shown(encoding)} is none of utf-8, base64, gzip")
    try:
        packed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise AlertError(content.path("value"), f"is not base64: {error}") from error
    data = _gunzip(packed, content.path("value")) if encoding == "gzip" else packed
    return data, frozenset((len(data), len(packed), len(text))), size


def _gunzip(packed: bytes, where: str) -> bytes:
    """Unpacked, at most as long as a document may be: a few bytes can hold gigabytes."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(packed, MAX_BYTES + 1)
    except zlib.error as error:
        raise AlertError(where, f"is not gzip: {error}") from error
    if len(data) > MAX_BYTES:
        raise AlertError(where, f"unpacks to more than {MAX_BYTES:,} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise AlertError(where, "is a cut or repeated gzip stream")
    return data
