"""Lines of one language: what each Mandarin line is called there, and who answers for it. Pure.

The Mandarin templates are the structure of every language (`tts.script`). Another language is a phrasebook:
Mandarin line → its own words, with the same slots. A line is found by the Mandarin that it translates, so
a line whose Mandarin was changed since is not found any more and never aired: that is how Taiwan came to
say "missile" in English for "satellite" in Chinese (lessons-from-the-field.md §0.10).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from string import Formatter
from typing import Any, Final

from tts.voice import Kind

MANDARIN: Final = "zh"
MAX_TEXT: Final = 400
"""Characters of one line; a Tibetan or Mongolian sentence has three to four times those of the Mandarin."""
MAX_LINES: Final = 5000


class PhraseError(Exception):
    """A phrasebook that cannot be used: every fault as ``file: line N: what; what to do``, one a line."""


class Status(StrEnum):
    """How far a line is on its way to the loudspeaker."""

    MISSING = "missing"
    STALE = "stale"
    """Its Mandarin is in the templates no more."""
    DRAFT = "draft"
    REVIEWED = "reviewed"
    APPROVED = "approved"

    @property
    def rank(self) -> int:
        """0 (missing) to 4 (approved)."""
        return list(Status).index(self)


@dataclass(frozen=True, slots=True)
class Language:
    """A language of the villages. `letters`: a class of characters, of which each line has one at least."""

    tag: str
    zh: str
    en: str
    letters: str = ""
    gap: str = " "
    """Between sentences."""
    comma: str = "، "
    """Between the names of a list."""
    foreign: str = ""
    """Characters that show that a line is not in the script that is read there."""


_HAN: Final = "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003134f"
_ARABIC: Final = "\u0620-\u064a\u066e-\u06d5\u06ee-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc"
_NOT_ARABIC: Final = f"{_HAN}\u0400-\u052f"

LANGUAGES: Final[Mapping[str, Language]] = {
    row.tag: row
    for row in (
        Language("zh", "普通话", "Mandarin", _HAN, "", "、"),
        Language("bo", "藏语", "Tibetan", "\u0f40-\u0fbc", " ", "། ", _HAN),
        Language("ug", "维吾尔语", "Uyghur", _ARABIC, " ", "، ", _NOT_ARABIC),
        # In China Kazakh is written in Arabic letters; a voice that reads Cyrillic transliterates.
        Language("kk", "哈萨克语", "Kazakh", _ARABIC, " ", "، ", _NOT_ARABIC),
        # In China Mongolian is written in the traditional script; the same holds for it.
        Language("mn", "蒙古语", "Mongolian", "\u1820-\u18aa", " ", "᠂ ", f"{_HAN}\u0400-\u052f"),
        Language("ko", "朝鲜语", "Korean", "\uac00-\ud7a3\u1100-\u11ff", " ", ", ", _HAN),
        Language("ii", "彝语", "Yi", "\ua000-\ua48c", " ", "、", _HAN),
        Language("za", "壮语", "Zhuang", "A-Za-z", " ", ", ", f"{_HAN}\u0400-\u052f"),
        Language("yue", "粤语", "Cantonese", _HAN, "", "、"),
    )
}


def language(tag: str) -> Language:
    """What is known of a language; of any other tag only that its sentences are parted by a blank."""
    return LANGUAGES.get(tag) or Language(tag, tag, tag, comma=", ")


NEEDED: Final[Mapping[Kind, Status]] = {
    "actual": Status.APPROVED,
    "exercise": Status.REVIEWED,
    "test": Status.REVIEWED,
}
"""The least that a line must be to be aired (docs/decisions/0016). Mandarin is aired from `REVIEWED` on:
below it there is nothing but the generic clip."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `by` and `on`: who reviewed or approved it, and when."""

    text: str
    status: Status
    by: str = ""
    on: date | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Phrasebook:
    """The lines of one language, by the Mandarin that they translate."""

    language: str
    version: str
    lines: Mapping[str, Line]

    def under(self, county: Phrasebook) -> Phrasebook:
        """These lines with those of the county over them. A line gives way only to one that is at least as
        far as it: a draft does not unseat what somebody has answered for."""
        merged = dict(self.lines)
        for zh, line in county.lines.items():
            if zh not in merged or line.status.rank >= merged[zh].status.rank:
                merged[zh] = line
        return Phrasebook(self.language, f"{self.version}+{county.version}", merged)

    def text(self, zh: str, kind: Kind) -> tuple[str, str]:
        """(words, "") or ("", why there are none that may be aired in a message of this kind)."""
        needed = Status.REVIEWED if self.language == MANDARIN else NEEDED[kind]
        line = self.lines.get(zh)
        if line is None or line.status is Status.MISSING:
            return "", f"no words for {zh!r}"
        if line.status.rank < needed.rank:
            return "", f"{line.status}, not {needed}: {zh!r}"
        return line.text, ""


def slots_of(text: str) -> Counter[str]:
    """Slots by name. Raises ValueError for anything but plain ``{name}``: a template is data, never code."""
    found: Counter[str] = Counter()
    for _, name, spec, conversion in Formatter().parse(text):
        if name is None:
            continue
        if not re.fullmatch(r"[a-z_]+", name) or spec or conversion:
            raise ValueError(f"{{{name}}} must be a plain slot such as {{places}}")
        found[name] += 1
    return found


def bare(text: str) -> str:
    """`text` without its slots."""
    return re.sub(r"\{[^{}]*\}", " ", text)


def faults(zh: str, text: str, tag: str) -> list[str]:
    """What is wrong with `text` as the translation of `zh`, whoever wrote it; empty if nothing can be seen
    by a machine: slots, numbers, the script, length, addresses and invisible characters."""
    known = language(tag)
    found = []
    try:
        mine, theirs = slots_of(text), slots_of(zh)
    except ValueError as error:
        return [f"braces: {error}"]
    found += [f"slot {{{name}}} is missing" for name in sorted(theirs - mine)]
    found += [f"slot {{{name}}} is not in the Mandarin" for name in sorted(mine - theirs)]
    if (said := numbers(bare(text), tag)) != (meant := numbers(bare(zh), MANDARIN)):
        found.append(f"numbers {_shown(said)} instead of {_shown(meant)}")
    if turned := turned_round(bare(zh), bare(text), tag):
        found.append(turned)
    words = bare(text)
    if known.foreign and (odd := re.findall(f"[{known.foreign}]+", words)):
        found.append(f"{odd[0]!r} is not in the script that is read in {known.en} in China")
    elif known.letters and re.search(r"\w", bare(zh)) and not re.search(f"[{known.letters}]", words):
        found.append(f"no letter of {known.en}")
    if any(unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn") or c in _INVISIBLE for c in text):
        found.append("control or invisible characters")
    if re.search(r"https?:|www\.", text, re.I):
        found.append("a web address")
    if len(text) > MAX_TEXT:
        found.append(f"longer than {MAX_TEXT} characters")
    return found


_NEGATIONS: Final = {
    MANDARIN: re.compile("不(?!同)|没(?!有接到)|未(?!来)|勿|严禁|禁止|别"),
    "yue": re.compile("唔(?!同|该)|不(?!同)|咪|冇|未(?!来)|莫|勿|禁|别|没"),
    "ko": re.compile("마십시오|마시|말(?!씀)|금지|엄금|금하|않|아니|아닙|못|없|삼가"),
}
"""Words that turn a sentence round, in the languages where a machine can be sure to know them."""


def turned_round(zh: str, text: str, tag: str) -> str:
    """What is wrong with the negations of `text`: fewer than in the Mandarin (不要过河，不要过桥 with one
    lost), or one where the Mandarin has none. Empty if nothing, or if the language's words are not
    known here. 没有接到通知 (before you are told) is a time and counts as none."""
    if tag not in _NEGATIONS:
        return ""
    said, meant = (len(_NEGATIONS[t].findall(words)) for t, words in ((tag, text), (MANDARIN, zh)))
    if said < meant:
        return f"a 不 of the Mandarin is lost: {meant} there, {said} here"
    return "says not where the Mandarin does not" if said and not meant and "没有接到" not in zh else ""


# Bidirectional overrides make a line look like another one; the joiners and the Mongolian separators do not.
_INVISIBLE: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\u2028\u2029")


def _shown(values: Sequence[str]) -> str:
    return "、".join(values) or "none"


# --- numbers as they stand in a text ------------------------------------------------------------------------

_DECIMAL: Final = re.compile(r"\d+(?:[,٬]\d{3})+(?:[.٫]\d+)?|\d+(?:[.٫]\d+)?")
_CHINESE_UNIT: Final = (
    r"(?:毫米|厘米|公里|千米|米|小时|个?钟头|分钟|分|秒|点|時|时|日|号|號|天|月|年"
    r"|级|級|度|个|個|处|處|人|户|戶)"
)
_CHINESE: Final = re.compile(
    rf"[零〇一二三四五六七八九十百千万两兩]{{2,}}(?:点[零一二三四五六七八九]+)?"
    rf"|[零一二三四五六七八九十百两兩](?={_CHINESE_UNIT})"
)
_KOREAN: Final = re.compile(
    r"(?<![가-힣])[영일이삼사오육칠팔구십백천만]+"
    r"(?= ?(?:밀리미터|센티미터|킬로미터|미터|시간|시|분|초|월|일|급|도|명)(?![가-힣]))"
)
_KOREAN_DIGITS: Final = dict(zip("영일이삼사오육칠팔구십백천만", "零一二三四五六七八九十百千万", strict=True))
_VALUES: Final = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_POWERS: Final = {"十": 10, "百": 100, "千": 1000}


def numbers(text: str, tag: str) -> tuple[str, ...]:
    """All numbers of a text, smallest first, as plain decimals: digits of any script, and number words where
    the language's are known (Chinese characters, Sino-Korean before a unit)."""
    found = [_plain(m[0]) for m in _DECIMAL.finditer(text)]
    if tag in (MANDARIN, "yue"):
        found += [_chinese(m[0]) for m in _CHINESE.finditer(text)]
    elif tag == "ko":
        found += [_chinese("".join(_KOREAN_DIGITS[c] for c in m[0])) for m in _KOREAN.finditer(text)]
    return tuple(sorted(found, key=lambda n: (float(n), n)))


def _plain(digits: str) -> str:
    ascii_ = "".join("." if c in ".٫" else "" if c in ",٬" else str(unicodedata.decimal(c)) for c in digits)
    whole, _, part = ascii_.partition(".")
    part = part.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{part}" if part else "")


def _chinese(word: str) -> str:
    whole, _, part = word.partition("点")
    if not any(c in _POWERS or c == "万" for c in whole):
        value = "".join(str(_VALUES[c]) for c in whole)
    else:
        total = section = digit = 0
        for c in whole:
            if c in _POWERS:
                section += (digit or 1) * _POWERS[c]
                digit = 0
            elif c == "万":
                total += (section + digit) * 10_000
                section = digit = 0
            else:
                digit = _VALUES[c]
        value = str(total + section + digit)
    return _plain(f"{value}.{''.join(str(_VALUES[c]) for c in part)}" if part else value)


# --- files --------------------------------------------------------------------------------------------------

_KEYS: Final = frozenset({"zh", "text", "status", "by", "on", "note"})


def parse_phrasebook(data: Mapping[str, Any], *, where: str) -> Phrasebook:
    """A checked phrasebook from a parsed file: `language`, `version`, and `lines`, each with `zh`, `text`,
    `status`, and `by` and `on` where somebody reviewed or approved it. Raises PhraseError with all faults."""
    problems: list[str] = []
    tag, version = data.get("language"), data.get("version", "1")
    if not isinstance(tag, str) or not re.fullmatch(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}", tag):
        raise PhraseError(f"{where}: language {tag!r} must be a tag such as bo")
    problems += [
        f"{where}: {key} is not known; only language, version and lines stand here"
        for key in sorted(set(data) - {"language", "version", "lines"})
    ]
    rows = data.get("lines", [])
    if not isinstance(rows, list) or len(rows) > MAX_LINES:
        raise PhraseError(f"{where}: lines must be a list of at most {MAX_LINES} tables [[lines]]")
    lines: dict[str, Line] = {}
    for number, row in enumerate(rows, 1):
        here = f"{where}: line {number}"
        if not isinstance(row, Mapping):
            problems.append(f"{here}: must be a table")
            continue
        zh = row.get("zh")
        if not isinstance(zh, str) or not zh.strip():
            problems.append(f"{here}: zh, the Mandarin that it translates, is missing")
            continue
        wrong = [f"{key} is not known; {sorted(_KEYS)} are" for key in sorted(set(row) - _KEYS)]
        line, bad = _line(zh, row, tag)
        wrong += bad
        if zh in lines:
            wrong.append("stands here twice")
        problems += [f"{here}: {zh!r}: {text}" for text in wrong]
        if line is not None:
            lines[zh] = line
    if problems:
        raise PhraseError("\n".join(problems[:50]))
    return Phrasebook(tag, str(version), lines)


def _line(zh: str, row: Mapping[str, Any], tag: str) -> tuple[Line | None, list[str]]:
    wrong = [f"{key} must be text" for key in ("text", "by", "note") if not isinstance(row.get(key, ""), str)]
    if wrong:
        return None, wrong
    text, by, on = row.get("text", "").strip(), row.get("by", "").strip(), row.get("on")
    try:
        status = Status(row.get("status", "missing" if not text else "draft"))
    except ValueError:
        return None, [f"status {row.get('status')!r} must be draft, reviewed or approved"]
    if status is Status.STALE or (status is Status.MISSING) != (not text):
        return None, [f"status is {status}, but text is {'there' if text else 'empty'}"]
    if isinstance(on, datetime):
        on = on.date()
    if status.rank >= Status.REVIEWED.rank and (not by or not isinstance(on, date)):
        wrong.append(f"{status} needs by (a person's name) and on (a date such as 2026-11-22)")
    if on is not None and not isinstance(on, date):
        wrong.append("on must be a date such as 2026-11-22, without quotes")
        on = None
    if text:
        wrong += faults(zh, text, tag)
    return Line(text, status, by, on, row.get("note", "")), wrong
