"""What the JSON sources have in common: safe reading, fields of uncertain type, verbs, one weather warning.

The sources write numbers as text, leave out, rename and null their fields, put ``9999`` where they have
nothing, wrap JSON in JavaScript and answer with an HTML page and status 200 (`feeds.md` §2.4 to §2.10).
Nothing here guesses: what is not understood is missing, with a remark.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any, Final

from alerts.formats import fields
from alerts.formats.fields import BEIJING, Notes, shown
from alerts.formats.lists import Row
from alerts.model import (
    Alert,
    AlertError,
    MsgType,
    Reference,
    Urgency,
)

if TYPE_CHECKING:
    from alerts.formats import Reading

JAPAN: Final = timezone(timedelta(hours=9))
MAX_BYTES: Final = 8 * 2**20
"""Of one answer; the whole country's warnings with their outlines are 0.5 MB."""
MAX_DEPTH: Final = 32
MAX_TEXT: Final = 20_000
MAX_ITEMS: Final = 1_000
"""Of an array inside one row."""
_GONE: Final = "no longer listed"
_NOTHING: Final = frozenset(
    ("", "9999", "9999.0", "null", "none", "nan", "undefined", "无", "-", "--", "n/a")
)
PERSONAL: Final = frozenset(("underwriter", "signer", "linkman", "contactperson", "dutyofficer"))
"""Keys, in lower case without punctuation, that hold an officer's name."""


# --- JSON ----------------------------------------------------------------------------------------------

_PREFIX: Final = re.compile(r"\s*(?:var\s+|let\s+|const\s+)?[A-Za-z_$][\w$.]*\s*([=(])\s*")
_NESTING: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
"""Brackets, and whole strings, in which they do not count."""


def document(body: bytes, where: str = "answer") -> Any:
    """The JSON value of `body`, without the JavaScript around it.

    Raises AlertError for anything else, an HTML error page above all, and beyond 8 MiB or 32 levels.
    """
    if len(body) > MAX_BYTES:
        raise AlertError(where, f"has {len(body):,} bytes; the limit is {MAX_BYTES:,}")
    try:
        text = body.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise AlertError(where, f"is not UTF-8 (byte {error.start})") from error
    if not text:
        raise AlertError(where, "is empty")
    if text.startswith("<"):
        raise AlertError(
            where, f"is an HTML page, not JSON: {shown(_bare(text))}", "an error page of the source"
        )
    if text[0] not in '[{"' and (match := _PREFIX.match(text)):
        text = text[match.end() :].rstrip().removesuffix(";").rstrip()
        if match[1] == "(":
            text = text.removesuffix(")")
    depth = 0
    for token in _NESTING.finditer(text):
        if (sign := token[0]) in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise AlertError(where, f"is nested more than {MAX_DEPTH} levels deep")
        elif sign in "]}":
            depth -= 1
    try:
        return json.loads(text, parse_constant=_constant)
    except ValueError as error:  # json.JSONDecodeError, and integers of thousands of digits
        raise AlertError(where, f"is not JSON: {error}", f"begins {shown(text, 40)}") from error


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    """`value` if it is an object. Raises AlertError."""
    if not isinstance(value, dict):
        raise AlertError(where, f"is {kind_of(value)}, not an object")
    return value


def kind_of(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def listed(value: Any, where: str, *names: str) -> list[Any]:
    """The rows under the first of `names`; one row that is an object instead of an array counts too.

    Raises AlertError when there is none: a list that is not there is not an empty list.
    """
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        for name in names:
            found = value.get(name)
            if isinstance(found, list):
                return found
            if isinstance(found, dict):
                return [found]
    raise AlertError(where, f"has no list ({' or '.join(names)})", "the source changed, or this is an error")


def pack(value: Any, personal: frozenset[str] = PERSONAL) -> bytes:
    """`value` as compact JSON, without the fields called `personal` and without officers' names in texts."""
    said = _compact(value)
    if _SUSPECT.search(said):  # few are, and outlines of 10,000 points are slow to walk
        said = _compact(_impersonal(value, personal))
    return said.encode("utf-8", "replace")


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _impersonal(value: Any, personal: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {
            key: _impersonal(item, personal) for key, item in value.items() if _plain(key) not in personal
        }
    if isinstance(value, list):
        return [_impersonal(item, personal) for item in value]
    return fields.without_names(value) if isinstance(value, str) else value


_SUSPECT: Final = re.compile(
    "签发|审签|审核|预报员|值班|联系人|编辑|制作|发布人|writer|signer|linkman|contact|duty|sender",
    re.IGNORECASE,
)
"""In what may name a person: a part of each title and of each personal key."""


def row(
    key: str, value: Any, *, link: str = "", version: str = "", personal: frozenset[str] = PERSONAL
) -> Row:
    """A row whose version follows its content. What has no key of its own is keyed by its content: the
    reader then says what is wrong with it, and nothing is dropped silently."""
    body = pack(value, personal)
    digest = hashlib.sha256(body).hexdigest()[:16]
    return Row(key or f"unnamed-{digest}", f"{version}-{digest}" if version else digest, body, link)


def once(rows: Iterable[Row]) -> list[Row]:
    """Rows without the repetitions of a key; the first counts."""
    found: dict[str, Row] = {}
    for item in rows:
        found.setdefault(item.key, item)
    return list(found.values())


def gone(body: bytes) -> bytes:
    """The document that says that the row in `body` is no longer listed."""
    return pack({_GONE: document(body, "row")})


def reader(
    read: Callable[[Any, Notes, Reading], Alert],
) -> Callable[[bytes, Notes, Reading], Alert]:
    """A reader of `alerts.formats.FORMATS` from one that takes the row's value; it reads what `gone`
    writes as a Cancel of that row.

    Its `sent` is the warning's own: a source that only removes a row says no time.
    """

    def whole(body: bytes, notes: Notes, reading: Reading) -> Alert:
        value = document(body, "row")
        if not (isinstance(value, dict) and _GONE in value):
            return read(value, notes, reading)
        was = read(value[_GONE], notes, reading)
        if was.msg_type is MsgType.CANCEL:
            return was
        notes.inferred.append("cancel (no longer listed)")
        notes.inferred.append("sent (of the warning; its source removed it without a word)")
        return replace(
            was,
            msg_type=MsgType.CANCEL,
            references=(Reference(was.identifier, was.sender, was.sent), *was.references),
            note="no longer listed by its source",
            infos=tuple(
                replace(
                    info,
                    headline=("来源已不再列出：" if chinese(info.headline) else "No longer listed: ")
                    + info.headline,
                    description="",
                    instruction="",
                    urgency=Urgency.PAST,
                )
                for info in was.infos
            ),
        )

    return whole


# --- fields --------------------------------------------------------------------------------------------

_TIME: Final = re.compile(
    r"([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?[T\s]*"
    r"(?:(上午|下午)\s*)?([0-9]{1,2})[:时]([0-9]{1,2})分?(?::?([0-9]{1,2})秒?(?:\.[0-9]+)?)?"
    r"\s*(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_DIGITS: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})?")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\u202a-\u202e\u2066-\u2069]")
_TAG: Final = re.compile(r"</?[A-Za-z][^<>]{0,2000}>")


def moment(text: str, where: str, notes: Notes, zone: tzinfo = BEIJING) -> datetime:
    """An aware time from any of the sources' spellings (`feeds.md` §5.5), epoch seconds and milliseconds
    among them. `zone` is where the source's clock stands if the text does not say.

    Raises AlertError for what is no date and time between 1990 and 2100.
    """
    text = text.strip()
    if re.fullmatch(r"[0-9]{9,10}(\.[0-9]+)?|[0-9]{13}", text):
        seconds = float(text) / (1000 if len(text) == 13 else 1)
        found = datetime.fromtimestamp(seconds, UTC)
    else:
        found = _calendar(text, where, notes, zone)
    if not 1990 <= found.year <= 2100:
        raise AlertError(where, f"{shown(text)}: the year is not between 1990 and 2100")
    return found


def _calendar(text: str, where: str, notes: Notes, zone: tzinfo) -> datetime:
    offset = ""
    if match := _DIGITS.fullmatch(text):
        numbers = [int(part or 0) for part in match.groups()]
    elif match := _TIME.fullmatch(text):
        half, offset = match[4], match[8] or ""
        numbers = [int(match[group] or 0) for group in (1, 2, 3, 5, 6, 7)]
        if half:
            numbers[3] = numbers[3] % 12 + (12 if half == "下午" else 0)
    else:
        raise AlertError(where, f"{shown(text)} is not a time")
    if offset == "Z":
        zone = UTC
    elif offset:
        zone = fields.time(f"2000-01-01T00:00:00{offset}", where, notes).tzinfo or zone
    else:
        hours = datetime(2000, 1, 1, tzinfo=zone).strftime("%z")
        note = f"{where} offset ({hours}, the zone of this source)"
        if note not in notes.inferred:
            notes.inferred.append(note)
    try:
        year, month, day, hour, minute, second = numbers
        return datetime(year, month, day, hour, minute, second, tzinfo=zone)
    except ValueError as error:
        raise AlertError(where, f"{shown(text)} is not a possible date and time") from error


def _plain(key: str) -> str:
    return re.sub(r"[\W_]", "", key).casefold()


def _bare(text: str) -> str:
    return html.unescape(_TAG.sub(" ", re.sub(r"(?is)<(script|style)\b.*?</\1>", " ", text[:2000])))


class Fields:
    """One object of a source, asked by any of a field's names, whatever their case and punctuation."""

    __slots__ = ("_names", "_values", "notes", "where")

    def __init__(self, value: Any, where: str, notes: Notes) -> None:
        """Raises AlertError if `value` is not an object."""
        self.where = where
        self.notes = notes
        self._values: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        for name, item in mapping(value, where).items():
            self._values.setdefault(_plain(name), item)
            self._names.setdefault(_plain(name), name[:60])

    def has(self, *names: str) -> bool:
        """Whether any of `names` is there, be it null."""
        return any(_plain(name) in self._values for name in names)

    def raw(self, *names: str) -> Any:
        """The first of `names` that is not null; None if all are."""
        for name in names:
            value = self._values.get(_plain(name))
            if value is not None:
                return value
        return None

    def path(self, *names: str) -> str:
        """Where the first of `names` that is there lies, in the source's own spelling."""
        return next(
            (f"{self.where}/{self._names[_plain(name)]}" for name in names if self.has(name)),
            f"{self.where}/{names[0]}",
        )

    def text(self, *names: str) -> str:
        """The first of `names` that says something, on one or more lines, without markup, control
        characters and officers' names; empty if none does. Numbers are taken as text.

        Raises AlertError beyond 20,000 characters.
        """
        for name in names:
            value = self._values.get(_plain(name))
            if isinstance(value, bool) or value is None:
                continue
            if isinstance(value, (int, float)):
                value = format(value, ".15g") if isinstance(value, float) else str(value)
            if not isinstance(value, str):
                self.notes.remark(f"{self.path(name)} is {kind_of(value)}, not text; left out")
                continue
            text = self._clean(value, name)
            if text.casefold() not in _NOTHING:
                return text
        return ""

    def _clean(self, value: str, name: str) -> str:
        if len(value) > MAX_TEXT:
            raise AlertError(self.path(name), f"has {len(value):,} characters; the limit is {MAX_TEXT:,}")
        text = value.encode("utf-8", "replace").decode()
        if "<" in text or "&" in text:
            text = html.unescape(text)
            text = re.sub(r"(?i)<br\s*/?>|</p>", "\n", text)
            text = html.unescape(_TAG.sub("", text))
        text = _CONTROL.sub(" ", text.replace("\r\n", "\n"))
        kept = fields.without_names(text)
        if kept != text:
            self.notes.remark(f"{self.path(name)} named a person; left out")
        return kept.strip()

    def word(self, *names: str) -> str:
        """A short text without spaces inside, e.g. an identifier. Raises AlertError beyond 200."""
        text = "_".join(self.text(*names).split())
        if len(text) > 200:
            raise AlertError(self.path(*names), f"has {len(text)} characters; the limit is 200")
        return text

    def number(self, *names: str, low: float = -math.inf, high: float = math.inf) -> float | None:
        """The first of `names` that is a finite number, also one written as text or with a unit after it
        (``10km``). What is outside `low` to `high` is missing, with a remark."""
        for name in names:
            text = self.text(name)
            if not text:
                continue
            match = re.fullmatch(
                r"[Mm]?\s*([+-]?[0-9]{1,12}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,2})?)\s*(?:km|公里|千米|级|度|\(.*)?",
                text,
            )
            if match is None:
                self.notes.remark(f"{self.path(name)} {shown(text)} is not a number; left out")
                continue
            value = float(match[1])
            if not low <= value <= high:
                self.notes.remark(
                    f"{self.path(name)} is {value:g}, not between {low:g} and {high:g}; left out"
                )
                continue
            return value
        return None

    def time(self, *names: str, zone: tzinfo = BEIJING) -> datetime | None:
        """The first of `names` that says something, as an aware time; None if none does. Raises
        AlertError for what is no time."""
        for name in names:
            if text := self.text(name):
                return moment(text, self.path(name), self.notes, zone)
        return None

    def optional_time(self, *names: str, zone: tzinfo = BEIJING) -> datetime | None:
        """Like `time`, but what is no time is missing, with a remark: for times that decide nothing."""
        try:
            return self.time(*names, zone=zone)
        except AlertError as error:
            self.notes.remark(f"{error}; left out")
            return None

    def end(self, *names: str) -> datetime | None:
        """Like `optional_time`, for when a warning ends: what is no time is damage."""
        try:
            return self.time(*names)
        except AlertError as error:
            self.notes.damaged(error)
            return None

    def flag(self, *names: str) -> bool:
        """Whether the first of `names` that is there says yes."""
        value = self.raw(*names)
        if isinstance(value, str):
            return value.strip().casefold() in ("true", "1", "yes", "y", "是")
        return value is True or (isinstance(value, (int, float)) and value == 1)

    def child(self, *names: str) -> Fields:
        """The object under the first of `names`; without any field if it is not there or no object."""
        value = self.raw(*names)
        if value is not None and not isinstance(value, dict):
            self.notes.remark(f"{self.path(*names)} is {kind_of(value)}, not an object; left out")
        return Fields(value if isinstance(value, dict) else {}, self.path(*names), self.notes)

    def children(self, *names: str) -> list[Fields]:
        """The objects of the array under the first of `names`; one object counts as an array of one."""
        value = self.raw(*names)
        where = self.path(*names)
        items = value if isinstance(value, list) else [] if value is None else [value]
        found = []
        self._cut(items, where)
        for number, item in enumerate(items[:MAX_ITEMS]):
            if isinstance(item, dict):
                found.append(Fields(item, f"{where}[{number}]", self.notes))
            else:
                self.notes.remark(f"{where}[{number}] is {kind_of(item)}, not an object; left out")
        return found

    def _cut(self, items: list[Any], where: str) -> None:
        if len(items) > MAX_ITEMS:
            self.notes.damaged(f"{where}: {len(items):,} entries; only the first {MAX_ITEMS:,} are read")

    def words(self, *names: str) -> list[str]:
        """The texts of the array under the first of `names`, or the one text there."""
        value = self.raw(*names)
        items = value if isinstance(value, list) else [value]
        self._cut(items, self.path(*names))
        return [
            text
            for item in items[:MAX_ITEMS]
            if (text := Fields({"item": item}, self.path(*names), self.notes).text("item"))
        ]


def must(value: datetime | None, where: str, what: str) -> datetime:
    """`value`, or an AlertError that it is missing."""
    if value is None:
        raise AlertError(where, f"has no {what}")
    return value


def chinese(text: str) -> bool:
    """Whether any character is a Chinese one."""
    return re.search("[一-鿿]", text) is not None
