"""What the controller words in English, put into the operator's Chinese.

The API, the journal and the logs speak one language, so that they can be searched and compared; only what is
shown is translated (`docs/decisions/0014`). `reasons.zh.txt` holds pairs of lines: an English text with
``{holes}``, and the Chinese that is said instead. What fills a hole is translated in its turn. A text that no
pair knows is shown as it came.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

CATALOGUE: Final = Path(__file__).with_name("reasons.zh.txt")
VERBATIM: Final = frozenset(
    ("command", "feed", "file", "folder", "host", "id", "name", "path", "terminal", "text", "who")
)
"""Holes that hold a name or somebody's own words: never translated, whatever they look like."""
NUMBER: Final = "n"
"""A hole of this name holds a number and no word."""
MAX_TEXT: Final = 4_000
"""Characters; a longer line is no reason of ours, and is shown as it came."""

_HOLE: Final = re.compile(r"\{([a-z_0-9]+)\}")
_ENGLISH: Final = re.compile("[A-Za-z]")
_WORD: Final = re.compile("[A-Za-z]+")
_QUOTED: Final = re.compile(r"""(['"])([^'"]*)\1""")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_JOINTS: Final = {"; ": "；", ", ": "，", ": ": "："}
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
        """What fills the holes if `text` is of this form, each as short as can be; else None. A hole holds no
        ``; ``, unless `joined`."""
        first, *between, last = self.fixed
        at, end = len(first), len(text) - len(last)
        if at > end or not text.startswith(first) or not text.endswith(last):
            return None
        values = []
        for fixed in between:
            found = text.find(fixed, at, end)
            if found < 0:
                return None
            values.append(text[at:found])
            at = found + len(fixed)
        values.append(text[at:end])
        if any(h == NUMBER and _ENGLISH.search(value) for h, value in zip(self.holes, values, strict=True)):
            return None
        return values if joined or all(len(_parts(value, "; ")) == 1 for value in values) else None


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
    """The pairs of a catalogue. Raises ValueError for a line without its partner, an English text given
    twice, or a hole of the Chinese that the English does not fill."""
    lines = [line.strip() for line in source.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) % 2:
        raise ValueError(f"{lines[-1]}: without its Chinese")
    found: dict[str, Entry] = {}
    for english, said in zip(lines[::2], lines[1::2], strict=True):
        if english in found:
            raise ValueError(f"{english}: given twice")
        pieces = _HOLE.split(english)
        fixed, holes = tuple(pieces[::2]), tuple(pieces[1::2])
        if strangers := set(_HOLE.findall(said)) - set(holes):
            raise ValueError(f"{english}: its Chinese has {', '.join(sorted(strangers))}, which it has not")
        found[english] = Entry(english, said, fixed, holes)
    return list(found.values())


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
        said.append(parts[0] if found is None else found)
        parts = parts[count:]
    return "；".join(said)


def _known(text: str, depth: int, *, joined: bool = False) -> str | None:
    """The Chinese of one reason, or None. `joined`: as in `Entry.fill`.

    First by an entry that leaves no English sentence in its holes; then as what is put together of where,
    what and what to do; then by an entry that fixes next to nothing; then by one that knows only the frame.
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
    return frame


def _filled(entry: Entry, text: str, depth: int, *, joined: bool) -> tuple[str, bool] | None:
    """The Chinese of `entry`, its holes filled from `text`, and whether no English sentence is left in them;
    None if `text` is not of its form."""
    values = entry.fill(text, joined=joined)
    if values is None:
        return None
    filled = {
        hole: _quoted(value) if hole in VERBATIM else _said(_quoted(value), depth + 1)
        for hole, value in zip(entry.holes, values, strict=True)
    }
    said = _HOLE.sub(lambda hole: filled[hole[1]], entry.chinese)
    return said, not any(_SENTENCE.search(filled[hole]) for hole in filled if hole not in VERBATIM)


def _quoted(value: str) -> str:
    """What Python quotes, in Chinese quotation marks."""
    found = _QUOTED.fullmatch(value)
    return value if found is None else f"“{found[2]}”"


def _taken_apart(text: str, depth: int, *, joined: bool) -> str | None:
    """``where: what``, ``what (what to do)``, or items of which every one is known; else None."""
    start = _opening(text) if text.endswith(")") else 0
    what, remedy = text[:start].rstrip(), text[start + 1 : -1]
    place, colon, reason = text.partition(": ")
    if colon and " " in reason and (known := _known(reason, depth + 1, joined=joined)) is not None:
        return f"{_said(place, depth + 1)}：{known}"
    if start > 0 and (known := _known(what, depth + 1, joined=joined)) is not None:
        return f"{known}（{_said(remedy, depth + 1)}）"
    if start > 0 and " " in remedy and (known := _known(remedy, depth + 1)) is not None:
        return f"{what}（{known}）"
    items = _parts(text, ", ")
    if len(items) > 1:
        names = [item if not _ENGLISH.search(item) else _known(item, depth + 1) for item in items]
        return None if None in names else "、".join(filter(None, names))
    return None


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
