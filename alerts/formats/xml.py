"""Bounded, safe XML: bytes → a small tree whose elements know their path, or an AlertError.

No DTD, no entity, no external reference (defusedxml); size, depth and element count are limited; bytes
are decoded strictly by what the document declares. Elements are looked up by local name, because live
feeds use CAP's three namespaces, none, and the wrong one (`feeds.md` §1.1).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr  # writes only

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError
from lxml import etree

from alerts.model import AlertError

MAX_BYTES: Final = 2_000_000
MAX_DEPTH: Final = 64
MAX_ELEMENTS: Final = 200_000

# What Chinese, Taiwanese and older western feeds are written in; anything else is refused by name.
_CODECS: Final = {
    "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "ascii": "ascii",
    "utf-16": "utf-16", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be",
    "gbk": "gbk", "gb2312": "gb2312", "gb18030": "gb18030", "big5": "big5",
    "iso-8859-1": "iso-8859-1", "latin1": "iso-8859-1", "iso-8859-15": "iso-8859-15",
    "windows-1252": "cp1252",
}  # fmt: skip
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8", ("utf-8",)),
    (codecs.BOM_UTF16_LE, "utf-16-le", ("utf-16", "utf-16-le")),
    (codecs.BOM_UTF16_BE, "utf-16-be", ("utf-16", "utf-16-be")),
)
_PACKED: Final = (b"\x1f\x8b", b"PK\x03\x04")
_PAGE: Final = re.compile(r"\s*<!DOCTYPE\s+html", re.I)
_DECLARATION: Final = re.compile(r"^\s*<\?xml\s[^>]{0,300}\?>")
_DECLARED: Final = re.compile(r"""^<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")


class Element:
    """One element: local `name`, `namespace`, attributes, and its mixed content in order."""

    __slots__ = ("attributes", "children", "content", "index", "name", "namespace", "parent")

    def __init__(self, name: str, namespace: str, attributes: dict[str, str] | None = None) -> None:
        self.name = name
        self.namespace = namespace
        self.attributes = attributes or {}
        self.parent: Element | None = None
        self.index = 0
        self.content: list[Element | str] = []
        self.children: dict[str, list[Element]] = {}

    def add(self, child: Element) -> None:
        """Appends a new child and tells it its place."""
        alike = self.children.setdefault(child.name, [])
        child.parent, child.index = self, len(alike)
        alike.append(child)
        self.content.append(child)

    @property
    def path(self) -> str:
        """``alert/info[0]/area[1]``: as an engineer would point at it. Counted among same names, from 0."""
        own = self.name[:40]
        return own if self.parent is None else f"{self.parent.path}/{own}[{self.index}]"

    @property
    def text(self) -> str:
        """All text inside, markup dropped, without white space around it."""
        return "".join(self._texts()).strip()

    def _texts(self) -> Iterator[str]:
        for part in self.content:
            if isinstance(part, str):
                yield part
            else:
                yield from part._texts()

    def all(self, name: str) -> list[Element]:
        """Child elements of that local name, whatever their namespace, in document order."""
        return list(self.children.get(name, ()))

    def first(self, name: str) -> Element | None:
        return next(iter(self.children.get(name, ())), None)

    def get(self, name: str) -> str:
        """Text of the first child of that name; empty when there is none."""
        child = self.first(name)
        return child.text if child is not None else ""

    def walk(self) -> Iterator[Element]:
        """This element and all below it, in document order."""
        yield self
        for part in self.content:
            if isinstance(part, Element):
                yield from part.walk()

    def to_bytes(self) -> bytes:
        """A UTF-8 document of this element alone, namespaces restated: for documents inside documents."""
        return b'<?xml version="1.0" encoding="UTF-8"?>\n' + "".join(self._write("")).encode()

    def _write(self, outer: str) -> Iterator[str]:
        space = f" xmlns={quoteattr(self.namespace)}" if self.namespace != outer else ""
        plain = (f" {key}={quoteattr(value)}" for key, value in self.attributes.items() if key[:1] != "{")
        yield f"<{self.name}{space}{''.join(plain)}>"
        for part in self.content:
            if isinstance(part, str):
                yield escape(part)
            else:
                yield from part._write(self.namespace)
        yield f"</{self.name}>"


def read(
    body: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH, max_elements: int = MAX_ELEMENTS
) -> tuple[Element, tuple[str, ...]]:
    """The root element and remarks about the encoding.

    Raises AlertError for everything else: too large (before anything is parsed), not text in the
    declared encoding, DTD or entities, not well-formed (with line and column), too deep, too many
    elements.
    """
    if len(body) > max_bytes:
        raise AlertError(
            "document",
            f"{len(body):,} bytes; the limit is {max_bytes:,}",
            "leave out attached audio and pictures",
        )
    if body.startswith(_PACKED):
        raise AlertError("document", "is compressed (gzip or zip), not XML", "unpack it first")
    text, remarks = decode(body)
    builder = _Builder(max_depth, max_elements)
    parser = DefusedXMLParser(target=builder, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    try:
        parser.feed(text)
        root: Element = parser.close()  # type: ignore[assignment]  # what our builder made
    except DefusedXmlException as error:
        if _PAGE.match(text):
            raise AlertError(
                "document",
                "is a web page, not a warning",
                "check the address; the page may say what is wrong there",
            ) from error
        raise AlertError(
            "document",
            f"contains a DTD or entities ({type(error).__name__})",
            "send plain XML without <!DOCTYPE>",
        ) from error
    except ParseError as error:
        raise _broken(error, text) from error
    return root, remarks


def tree(body: bytes) -> etree._Element:
    """`body` for lxml, where signatures and exact namespaces matter. Give it only what `read` has taken:
    size, depth and the absence of a DTD are already known. Raises AlertError."""
    text, _ = decode(body)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_blank_text=False
    )
    try:
        root = etree.fromstring(_DECLARATION.sub("", text, count=1).encode(), parser)
    except etree.XMLSyntaxError as error:
        raise AlertError(
            "document", f"is not well-formed XML: {error.msg}", "send it again or repair it"
        ) from error
    if root.getroottree().docinfo.doctype:
        raise AlertError("document", "contains a DTD", "send plain XML without <!DOCTYPE>")
    return root


def excerpts(body: bytes, root: Element, wanted: Sequence[Element]) -> list[bytes]:
    """`wanted` (elements of `root`, which `read` made of `body`) as documents of their own: their own bytes,
    and the namespaces around them that they use, so that a signature inside still holds."""
    places = {id(element) for element in wanted}
    found = [
        _excerpt(twin)
        for element, twin in zip(root.walk(), tree(body).iter("*"), strict=True)
        if id(element) in places
    ]
    assert len(found) == len(wanted)
    return found


def _excerpt(element: etree._Element) -> bytes:
    alone: bytes = etree.tostring(element, with_tail=False, encoding="utf-8")
    if element.find(".//{http://www.w3.org/2000/09/xmldsig#}Signature") is None:
        return alone
    # Namespaces that only the index declares would become part of what was signed (Canonical XML §4.7).
    inside = {
        prefix
        for part in element.iter("*")
        for prefix, uri in part.nsmap.items()
        if prefix and (part.getparent() is None or part.getparent().nsmap.get(prefix) != uri)
    }
    copy = etree.fromstring(alone)
    etree.cleanup_namespaces(copy, keep_ns_prefixes=sorted(inside))
    cut_out: bytes = etree.tostring(copy, encoding="utf-8")
    return cut_out


def _broken(error: ParseError, text: str) -> AlertError:
    line, column = error.position
    at = f"line {line}, column {column + 1}"
    if not text.strip():
        return AlertError("document", "is empty", "check that the sender finished writing it")
    if text.lstrip()[0] in "{[":
        return AlertError(
            "document",
            "is JSON, not XML",
            "say whose it is: `format` of a feed of kind list or socket, --format of alert lint",
        )
    if "no element found" in str(error) or "unclosed token" in str(error):
        return AlertError("document", f"ends early, at {at}: it was cut off", "send the whole file again")
    what = str(error).split(":", 1)[0]
    return AlertError("document", f"is not well-formed XML at {at}: {what}", "send it again or repair it")


def decode(body: bytes) -> tuple[str, tuple[str, ...]]:
    """The text of an XML document and remarks about its encoding. Raises AlertError."""
    for bom, codec, names in _BOMS:
        if body.startswith(bom):
            text = _strictly(body[len(bom) :], codec, f"its byte order mark says {codec}")
            declared = _declared(text)
            if declared and _CODECS.get(declared) not in names:
                return text, (f"byte order mark says {codec}, declaration says {declared}; read as {codec}",)
            return text, ()
    for start, codec in ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be")):
        if body.startswith(start):
            return _strictly(body, codec, f"its first bytes are {codec}"), (
                f"{codec} without byte order mark",
            )
    declared = _declared(body[:300].decode("ascii", "replace").lstrip())
    if not declared:
        return _strictly(body, "utf-8", "it declares no encoding, which means UTF-8"), ()
    known = _CODECS.get(declared)
    if known is None or known.startswith("utf-16"):
        why = "is not known here" if known is None else "is declared, but the bytes are not"
        raise AlertError("document", f"encoding {declared} {why}", "send it as UTF-8")
    if known == "gb2312":
        try:
            return body.decode("gb2312"), ()
        except UnicodeDecodeError:
            # Windows writes GBK and calls it GB2312; GB 18030 contains both, so nothing changes meaning.
            return _strictly(body, "gb18030", "it declares gb2312"), (
                "declared gb2312, is gb18030; read as that",
            )
    return _strictly(body, known, f"it declares {declared}"), ()


def _declared(start: str) -> str:
    match = _DECLARED.match(start[:300])
    return match[1].lower() if match else ""


def _strictly(body: bytes, codec: str, claim: str) -> str:
    try:
        return body.decode(codec)
    except UnicodeDecodeError as error:
        if error.reason in ("unexpected end of data", "truncated data"):
            line = body.count(b"\n") + 1
            column = len(body) - body.rfind(b"\n")
            raise AlertError(
                "document",
                f"ends in the middle of a character, at line {line}, column {column} (bytes): it was cut off",
                "send the whole file again",
            ) from error
        at = f"byte 0x{body[error.start]:02X} at offset {error.start} is not {codec}"
        if codec == "utf-8" and _readable(body, "gb18030"):
            raise AlertError(
                "document",
                f"is GBK labelled UTF-8 ({claim}, but {at}, and all of it reads as GBK)",
                'declare encoding="GBK" or send it as UTF-8',
            ) from error
        raise AlertError("document", f"{claim}, but {at}", "declare the encoding that it is in") from error


def _readable(body: bytes, codec: str) -> bool:
    try:
        body.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


class _Builder:
    """Parser target that builds the tree and stops at the limits."""

    def __init__(self, max_depth: int, max_elements: int) -> None:
        self._max_depth = max_depth
        self._max_elements = max_elements
        self._count = 0
        self._open: list[Element] = []
        self._root: Element | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        namespace, _, name = tag.rpartition("}")
        element = Element(name, namespace[1:], attributes)
        if self._count > self._max_elements:
            raise AlertError("document", f"more than {self._max_elements:,} elements", "split it")
        if len(self._open) >= self._max_depth:
            raise AlertError(
                "document", f"elements nested deeper than {self._max_depth}", "no warning needs that"
            )
        if self._open:
            self._open[-1].add(element)
        else:
            self._root = element
        self._open.append(element)

    def end(self, tag: str) -> None:
        self._open.pop()

    def data(self, data: str) -> None:
        self._open[-1].content.append(data)

    def close(self) -> Element:
        assert self._root is not None  # the parser has already refused a document without a root
        return self._root
