"""What an index holds: CAP inside Atom, RSS, EDXL-DE or a bare list. A pure function, bytes → entries.

A warning may lie in an index whole (nested, or as escaped text), as an address, or in pieces (``cap:``
elements of the entry). A whole one is cut out byte for byte with the namespaces in force around it, so
that its signature still holds; pieces are put together only where they are a complete message. Links
declared as CAP go first; SWIC's RSS gives the address in ``link`` or only in ``guid`` (`feeds.md` §2.9).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from alerts.formats import cap, fields, xml
from alerts.formats.xml import Element
from alerts.model import AlertError

CAP_TYPE: Final = "application/cap+xml"
_ENVELOPES: Final = ("EDXLDistribution", "edxlDistribution")
"""Of EDXL-DE 1.0 and 2.0."""
_ROOTS: Final = ("feed", "rss", "RDF", *_ENVELOPES, "alerts", "alert")
_ITEMS: Final = ("entry", "item", "contentObject")
_TEXTS: Final = ("content", "encoded", "description", "summary")
_WARNING: Final = re.compile(r"\s*(?:<\?xml[^>]{0,200}>\s*)?<(?:[\w.-]{1,40}:)?alert[\s>]")
_PIECES: Final = ("identifier", "sender", "sent", "status", "msgType", "scope", "info")
# EDXL-DE 1.0 and 2.0, §3.2: kinds of distribution that bring no message of their own to the public.
_NO_MESSAGE: Final = ("cancel", "error", "ack", "request", "response")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an index: an address to fetch, or the document itself, or why it is neither."""

    link: str
    """The address; for what lies in the index its id there, or its identifier."""
    version: str
    """What changes when the source issues the entry again under the same link."""
    inline: bytes = b""
    refused: str = ""
    """Why nothing of it may be taken, in words for the operator."""


def entries(body: bytes, *, max_bytes: int = xml.MAX_BYTES) -> list[Entry]:
    """Everything that an index lists, each once, in its order.

    Raises AlertError for what is no Atom, RSS or EDXL-DE index and no CAP. An entry that names nothing,
    and one that its EDXL-DE envelope does not mean for the public, comes back as refused.
    """
    body, root = _read(body, max_bytes)
    if root.name not in _ROOTS:
        raise AlertError(root.path, "is not an Atom, RSS or EDXL-DE index", "check the feed's address")
    whole = [element for element in root.walk() if _is_warning(element)]
    if whole == [root]:
        return [_inline(body, "", "", "")]
    cut_out = dict(zip(whole, xml.excerpts(body, root, whole), strict=True)) if whole else {}
    return list(dict.fromkeys(_entries(root, cut_out)))


def _read(body: bytes, max_bytes: int) -> tuple[bytes, Element]:
    """An index whose titles are in another encoding than it says still has links worth following (NAADS). A
    warning inside it that is damaged by that says so itself, by U+FFFD, and `_inline` refuses it."""
    try:
        return body, xml.read(body, max_bytes=max_bytes)[0]
    except AlertError as error:
        mended = body.decode("utf-8", "replace").encode() if len(body) <= max_bytes else body
        if mended == body:
            raise
        try:
            return mended, xml.read(mended, max_bytes=max_bytes)[0]
        except AlertError:
            raise error from None


def _is_warning(element: Element) -> bool:
    return element.name == "alert" and bool(element.all("identifier") or element.all("info"))


def _is_complete(element: Element) -> bool:
    return all(element.all(name) for name in _PIECES)


def _entries(root: Element, cut_out: dict[Element, bytes]) -> Iterator[Entry]:
    refused = _envelope(root)
    heads = [root, *root.all("channel")]
    own = {root.get("id"), *(_address(link) for head in heads for link in head.all("link"))}
    outside = dict(cut_out)
    for item in [element for element in root.walk() if element.name in _ITEMS]:
        name = item.get("id") or item.get("guid") or item.get("contentDescription")
        dates = (item.get(key) for key in ("updated", "pubDate", "published", "date"))
        version = next(filter(None, dates), item.get("guid"))
        typed, plain = _links(item)
        inside = [part for part in item.walk() if part in outside]
        found = [(outside.pop(part), _is_complete(part)) for part in inside]
        # Part of a message beside a link to the whole: the link is meant.
        bodies = [body for body, complete in found if complete or not (typed or plain)] or _escaped(item)
        if not bodies and not typed and (pieces := _pieces(item)):
            bodies = [pieces]
        for body in bodies:
            yield _inline(body, name, version, refused)
        if bodies:
            continue
        for link in typed or plain[:1]:
            if link not in own:  # an entry "nothing in force" leads back to the index
                yield Entry(link, version, refused=refused)
        if not typed and not plain:
            yield Entry(
                name or item.path, version, refused=f"{item.path} names no warning: no link, none inside"
            )
    for body in outside.values():
        yield _inline(body, "", "", refused)


def _inline(body: bytes, name: str, version: str, refused: str) -> Entry:
    digest = hashlib.sha256(body).hexdigest()
    if not refused and "\ufffd".encode() in body:
        refused = "characters of it were damaged in the index (U+FFFD): its words cannot be trusted"
    return Entry(name or digest, f"{version} {digest}".lstrip(), b"" if refused else body, refused)


def _envelope(root: Element) -> str:
    """Why an EDXL-DE distribution is not for the public, or empty. A drill's envelope makes a drill of all
    that it holds, whatever that says itself."""
    if root.name not in _ENVELOPES:
        return ""
    status = root.get("distributionStatus")
    kind = root.get("distributionType") or root.get("distributionKind")
    if status.casefold() not in ("", "actual"):
        return f"{root.path}/distributionStatus is {fields.shown(status)}, not Actual"
    if kind.casefold() in _NO_MESSAGE:
        return f"{root.path}/distributionType is {fields.shown(kind)}, which brings no warning"
    return ""


def _escaped(item: Element) -> list[bytes]:
    """Warnings that lie in the item as text, escaped once or twice, or as base64 (EDXL-DE)."""
    found = []
    for name in _TEXTS:
        for child in item.all(name):
            text = child.text
            if text.startswith("&lt;"):
                text = html.unescape(text)
            if _WARNING.match(text):
                found.append(text.encode())
    for child in (part for part in item.walk() if part.name == "contentData"):
        try:
            data = base64.b64decode("".join(child.text.split()), validate=True)
        except (binascii.Error, ValueError):
            continue
        if _WARNING.match(data[:1000].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")):
            found.append(data)
    return found


def _pieces(item: Element) -> bytes:
    """The message whose parts are the item's own ``cap:`` children; empty unless they are all there."""
    parts = [part for part in item.content if isinstance(part, Element) and part.namespace in cap.VERSIONS]
    spaces = {part.namespace for part in parts}
    if len(spaces) != 1 or not {part.name for part in parts}.issuperset(_PIECES):
        return b""
    alert = Element("alert", spaces.pop())
    alert.content.extend(parts)  # only to be written out; they stay where they are
    return alert.to_bytes()


def _links(item: Element) -> tuple[list[str], list[str]]:
    """Addresses declared as CAP, and those that may be one, the likeliest first."""
    links = item.all("link")
    typed = [
        link
        for link in (*links, *item.all("enclosure"))
        if link.attributes.get("type", "").startswith(CAP_TYPE)
    ]
    named = [part.get("uri") for part in item.walk() if part.get("mimeType").startswith(CAP_TYPE)]
    named += [part.text for part in item.all("cap") if "://" in part.text]  # GDACS
    plain = [link for link in links if link.attributes.get("rel", "alternate") == "alternate"]
    guid = item.get("guid")
    may_be = [_address(link) for link in (*plain, *links)] + [guid if "://" in guid else ""]
    likely = sorted(may_be, key=lambda link: not link.partition("?")[0].endswith((".xml", ".cap")))
    return _once([*map(_address, typed), *named]), _once(likely)


def _address(link: Element) -> str:
    """Of an Atom or RSS link, or an RSS enclosure."""
    return link.attributes.get("href") or link.attributes.get("url") or link.text


def _once(links: list[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, links)))
