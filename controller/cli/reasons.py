"""What the controller words in English, put into the operator's Chinese.

The API, the journal and the logs speak one language, so that they can be searched and compared; only what is
shown is translated (`docs/decisions/0015`). `reasons.zh.txt` holds pairs of lines: an English text with
``{holes}``, and the Chinese that is said instead. What fills a hole is translated in its turn. A text that no
pair knows is shown as it came.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Final

CATALOGUE: Final = Path(__file__).with_name("reasons.zh.txt")
VERBATIM: Final = frozenset(
    ("command", "feed", "file", "folder", "host", "id", "name", "path", "terminal", "text", "who")
)
"""Holes that hold a name or somebody's own words: never translated, whatever they look like."""
NUMBER: Final = "n"
"""A hole of this name holds a number."""
LABELS: Final = frozenset(("area", "colour", "county", "hazard", "level", "state", "time", "town", "village"))
"""Holes that hold one name or word of ours, so that no colon stands in them."""
REASONS: Final = frozenset(("claim", "meanings", "what", "why"))
"""Holes that hold a reason of its own: only these begin a text before its first colon, ``where: what``."""
OPTIONS: Final = "allowed"
"""A hole of this name holds words that somebody has to type: ``actual or drill``."""
COUNTS: Final = "counts"
"""A hole of this name holds words, each with its number: ``code 8, polygon, township seat 5``."""
MAX_TEXT: Final = 4_000
"""Characters; a longer line is no reason of ours, and is shown as it came."""

_HOLE: Final = re.compile(r"\{([a-z_0-9]+)\}")
_ENGLISH: Final = re.compile("[A-Za-z]")
_WORD: Final = re.compile("[A-Za-z]+")
_QUOTED: Final = re.compile(r"""(['"])([^'"]*)\1""")
_QUOTES: Final = re.compile(r"""'[^']*'|"[^"]*\"""")
_NUMBER: Final = re.compile(r"[-+]?([0-9][0-9.,:]*(e[-+]?[0-9]+)?|inf|nan)")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_JOINTS: Final = {"; ": "；", ", ": "，", ": ": "："}
_OWN_WORDS: Final = re.compile("“[^”]*”")
_ADDED: Final = re.compile(r" \(|[,:;] ")
_SENTENCE: Final = re.compile("[A-Za-z]{2,} [A-Za-z]{2,} [A-Za-z]{2,}")
_LIGHT: Final = 12
"""An entry that fixes fewer characters is tried last."""
_COMMAND: Final = "fenghuo alert send "
_MOST_PARTS: Final = 4
_DEEPEST: Final = 12
_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """One pair of the catalogue. `fixed` is what stands before, between and behind the `holes`."""

    english: str
    chinese: str
    fixed: tuple[str, ...]
    holes: tuple[str, ...]

    @property
    def weight(self) -> int:
        """How much of a text it fixes: of two entries that fit, the one that says more is meant."""
        return sum(map(len, self.fixed))

    def fill(self, text: str, *, joined: bool = False) -> list[str] | None:
        """What fills the holes if `text` is of this form, each as short as can be; else None. Unless
        `joined`, a hole holds whole reasons."""
        first, *between, last = self.fixed
        at, end = len(first), len(text) - len(last)
        if at > end or not text.startswith(first) or not text.endswith(last):
            return None
        values = []
        for fixed in between:
            found = text.find(fixed, at, end) if fixed else _added(text, at, end)
            if found < 0:
                return None
            values.append(text[at:found])
            at = found + len(fixed)
        values.append(text[at:end])
        for index, (hole, value) in enumerate(zip(self.holes, values, strict=True)):
            if hole == NUMBER and not _NUMBER.fullmatch(value):
                return None
            label = hole in LABELS or (index == 0 and not first and hole not in REASONS)
            if label and ": " in _QUOTES.sub("", value):
                return None
        return values if joined or all(map(_whole, values)) else None


@dataclass(frozen=True, slots=True)
class Catalogue:
    exact: dict[str, str]
    """Entries without holes."""
    by_word: dict[str, list[Entry]]
    """Entries with holes, under their longest fixed word; under "" those without one."""


def chinese(text: str) -> str:
    """`text` as a duty officer says it; what is unknown stays as it came. Lines are kept apart."""
    return "\n".join(_said(line, 0) for line in text.split("\n"))


def entries(source: str) -> list[Entry]:
    """The pairs of a catalogue: lines two by two, without empty ones and comments. What is wrong with it is
    the business of the tests: a slip in a translation stops no command."""
    lines = [line.strip() for line in source.splitlines() if line.strip() and not line.startswith("#")]
    found = []
    for english, said in zip(lines[::2], lines[1::2], strict=False):
        pieces = _HOLE.split(english)
        found.append(Entry(english, said, tuple(pieces[::2]), tuple(pieces[1::2])))
    return found


@cache
def catalogue() -> Catalogue:
    from alerts.hazards import HAZARDS

    exact = {name: hazard.zh for hazard in HAZARDS for name in (hazard.key, hazard.en, *hazard.aliases)}
    by_word: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries(CATALOGUE.read_text(encoding="utf-8")):
        if entry.holes:
            by_word[_longest_word(entry)].append(entry)
        else:
            exact[entry.english] = entry.chinese
    return Catalogue(exact, dict(by_word))


def _added(text: str, at: int, end: int) -> int:
    """Where something is added to what fills a hole; `end` where nothing is."""
    found = _ADDED.search(text, at, end)
    return end if found is None else found.start()


def _longest_word(entry: Entry) -> str:
    """One that is a whole word of every text that fits: not one that a hole could prolong."""
    alone = "\0".join(entry.fixed)
    whole = (
        found[0]
        for found in _WORD.finditer(alone)
        if "\0" not in alone[max(0, found.start() - 1) : found.end() + 1]
    )
    return max(whole, key=len, default="")


@lru_cache(_REMEMBERED)
def _said(text: str, depth: int) -> str:
    text = text.strip()
    if not _ENGLISH.search(text) or len(text) > MAX_TEXT or depth > _DEEPEST:
        return text
    if _TIME.fullmatch(text):
        from controller.cli.say import clock

        return clock(text)
    if text[:2] in _JOINTS:  # what is added to another text
        return _JOINTS[text[:2]] + _said(text[2:], depth + 1)
    parts = _parts(text, "; ")
    said = _in_parts(parts, depth + 1)
    if len(parts) > 1 and said == "；".join(parts):  # a joint may belong to what fills a hole
        return _known(text, depth + 1, joined=True) or text
    return said


def _in_parts(parts: list[str], depth: int) -> str:
    """Reasons stand side by side behind ``; ``, and an entry may have such joints of its own: the longest
    run of parts that one entry knows counts."""
    said = []
    while parts:
        for count in range(min(len(parts), _MOST_PARTS), 0, -1):
            found = _known("; ".join(parts[:count]), depth)
            if found is not None:
                break
        said.append(_remedied(parts[0], depth) if found is None else found)
        parts = parts[count:]
    return "；".join(said)


def _known(text: str, depth: int, *, joined: bool = False) -> str | None:
    """The Chinese of one reason, or None. `joined`: as in `Entry.fill`.

    First by an entry that leaves no English sentence in its holes; then as what is put together of where,
    what and what to do; then by an entry that fixes next to nothing; then by one that knows only the frame;
    then as a list.
    """
    known = catalogue()
    if text in known.exact:
        return known.exact[text]
    if depth > _DEEPEST:
        return None
    entries = [entry for word in {*_WORD.findall(text), ""} for entry in known.by_word.get(word, ())]
    entries.sort(key=lambda entry: entry.weight, reverse=True)
    frame: str | None = None
    light: list[Entry] = []
    for entry in entries:
        if entry.weight < _LIGHT:
            light.append(entry)
        elif (found := _filled(entry, text, depth, joined=joined)) is not None:
            said, whole = found
            if whole:
                return said
            frame = frame or said
    if (together := _taken_apart(text, depth, joined=joined)) is not None:
        return together
    for entry in light:
        if (found := _filled(entry, text, depth, joined=joined)) is not None and found[1]:
            return found[0]
    return frame or _listed(text, depth)


def _filled(entry: Entry, text: str, depth: int, *, joined: bool) -> tuple[str, bool] | None:
    """The Chinese of `entry`, its holes filled from `text`, and whether all of it is said: no English
    sentence is left in a hole, and no advice behind somebody's own words. None if it is not of its form."""
    values = entry.fill(text, joined=joined)
    if values is None:
        return None
    filled = {hole: _inside(hole, value, depth + 1) for hole, value in zip(entry.holes, values, strict=True)}
    said = _HOLE.sub(lambda hole: filled.get(hole[1], hole[0]), entry.chinese)
    ours = (_OWN_WORDS.sub("", filled[hole]) for hole in filled if hole not in VERBATIM)
    remedied = entry.holes[-1] in VERBATIM and values[-1].endswith(")") and _opening(values[-1]) > 0
    return said, not remedied and not any(map(_SENTENCE.search, ours))


def _inside(hole: str, value: str, depth: int) -> str:
    """What fills a hole, in Chinese; what Python quotes, in Chinese quotation marks."""
    if quoted := _QUOTED.fullmatch(value):
        return f"“{quoted[2]}”"
    if hole == OPTIONS:
        return value.replace(" or ", " 或 ").replace(" and ", " 和 ")
    if hole == COUNTS:
        items = (item.rpartition(" ") for item in re.split("(?<=[0-9]), ", value))
        return "、".join(f"{_said(words, depth)} {count}" for words, _, count in items)
    return value if hole in VERBATIM else _said(value, depth)


def _taken_apart(text: str, depth: int, *, joined: bool) -> str | None:
    """``where: what`` or ``what (what to do)``; else None."""
    start = _opening(text) if text.endswith(")") else 0
    what, remedy = text[:start].rstrip(), text[start + 1 : -1]
    place, colon, reason = text.partition(": ")
    if (
        colon
        and " " in reason
        and _whole(place)
        and (known := _known(reason, depth + 1, joined=joined)) is not None
    ):
        return f"{_said(place, depth + 1)}：{known}"
    if start > 0 and (known := _known(what, depth + 1, joined=joined)) is not None:
        return f"{known}（{_said(remedy, depth + 1)}）"
    return None


def _listed(text: str, depth: int) -> str | None:
    """Items of which every one is known; else None."""
    items = _parts(text, ", ")
    names = [_known(item, depth + 1) if _ENGLISH.search(item) else item for item in items]
    return "、".join(filter(None, names)) if len(items) > 1 and None not in names else None


def _remedied(text: str, depth: int) -> str:
    """What nobody knows, with what to do about it, which may be known."""
    start = _opening(text) if text.endswith(")") else 0
    remedy = text[start + 1 : -1]
    known = _known(remedy, depth + 1) if start > 0 and " " in remedy else None
    return text if known is None else f"{text[:start].rstrip()}（{known}）"


def _whole(text: str) -> bool:
    """Whether it is one reason, and closes no bracket that opened before it."""
    depths = accumulate((char == "(") - (char == ")") for char in text)
    return min(depths, default=0) >= 0 and len(_parts(text, "; ")) == 1 and not text.endswith(";")


def _opening(text: str) -> int:
    """Where the bracket opens that the end of `text` closes; −1 where none does."""
    depth = 0
    for index in range(len(text) - 1, -1, -1):
        depth += (text[index] == ")") - (text[index] == "(")
        if depth == 0:
            return index
    return -1


def _parts(text: str, joint: str) -> list[str]:
    """`text` at those of its joints that lie in no brackets, nor in a command that somebody will copy."""
    parts, depth = [""], 0
    for piece in text.split(joint):
        parts[-1] += joint * bool(parts[-1]) + piece
        depth = max(0, depth + piece.count("(") - piece.count(")"))
        if depth == 0 and _COMMAND not in parts[-1]:
            parts.append("")
    return [part for part in parts if part] or [text]
