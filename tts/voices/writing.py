"""What a voice is given to read: is it written in the voice's language, in a script that it knows, and how
long will it take to say? Pure.

A voice that meets a script it does not know skips it or names it letter by letter, and reports success
(``voice-and-audio.md`` §1: "Arabic noon …", "Chinese letter"). So what it cannot read is refused before it is
asked, and Kazakh in Arabic script, which is how it is written in Xinjiang, goes in as Cyrillic.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from tts.voice import MIN_SECONDS_PER_HANZI, VoiceError, VoiceFailure

SCRIPTS: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(("zh", "yue", "wuu", "nan", "hak"), frozenset({"CJK"})),
    **dict.fromkeys(("kk", "ky", "mn", "tt"), frozenset({"CYRILLIC"})),
    "uz": frozenset({"LATIN", "CYRILLIC"}),
    **dict.fromkeys(("vi", "za"), frozenset({"LATIN"})),
    "ug": frozenset({"ARABIC"}),
    "ko": frozenset({"HANGUL"}),
    "bo": frozenset({"TIBETAN"}),
    "ii": frozenset({"YI"}),
}
"""Language (first subtag) → scripts in which voices read it, by the first word of Unicode's character names.
Latin letters may stand in all of them (PM, kV). What is not listed is not judged."""

_LEAST: Final = {"CJK": MIN_SECONDS_PER_HANZI, "HANGUL": 0.09, "YI": 0.09, "TIBETAN": 0.04}
"""Seconds a letter at speed 1 that no voice undercuts; a letter of an alphabet 0.03: fast speech has about 8
syllables a second, of two to three letters (12 syllables a second is the bound for Chinese)."""
_LEAST_LETTER: Final = 0.03
_MOST: Final = {"CJK": 0.6, "HANGUL": 0.5, "YI": 0.6, "TIBETAN": 0.5}
"""Seconds a letter at speed 1 above which it is not reading but spelling, or has fallen into a loop.
espeak-ng takes 0.1 s a letter to read Kazakh and Uyghur, and 1.2 s to spell Kazakh in Arabic script
(measured)."""
_MOST_LETTER: Final = 0.2
_LEAST_DIGIT: Final = 0.08
_MOST_DIGIT: Final = 0.9
_MOST_BESIDES: Final = 2.5
"""Seconds for pauses, once and again for each sentence."""


def base(language: str) -> str:
    """The language itself: ``bo`` of ``bo-CN``."""
    return language.split("-")[0].lower()


def written_for(language: str, sentences: Sequence[str]) -> tuple[str, ...]:
    """`sentences` as a voice of `language` is to get them: letters in their plain forms, no direction
    marks, Kazakh in Cyrillic.

    Raises VoiceError: text (no sentence, nothing to say), language (written in a script that such a voice
    does not read)."""
    ready = tuple(_plain(sentence) for sentence in sentences)
    if not any(c.isalnum() for sentence in ready for c in sentence):
        raise VoiceError(VoiceFailure.TEXT, "no sentence to speak")
    if base(language) == "kk":
        ready = tuple(map(cyrillic_kazakh, ready))
    own = SCRIPTS.get(base(language))
    if own is None:
        return ready
    letters = [c for sentence in ready for c in sentence if c.isalpha()]
    foreign = next((c for c in letters if script(c) not in own | {"LATIN"}), "")
    if foreign:
        kind = script(foreign).capitalize()
        mend = (
            "write it in Cyrillic, or record it"
            if (base(language), kind) == ("mn", "Mongolian")
            else "such a voice would skip or spell it"
        )
        raise VoiceError(
            VoiceFailure.LANGUAGE, f"{kind} letters ({foreign}) in what is to be said in {language}; {mend}"
        )
    if not any(script(c) in own for c in letters):
        raise VoiceError(VoiceFailure.LANGUAGE, f"nothing of it is written in {language}")
    return ready


def bounds(text: str, speed: float) -> tuple[float, float]:
    """Seconds that `text` takes at least and at most when it is read out at `speed` (1: the voice's own)."""
    least = most = 0.0
    for c in text:
        if c.isdecimal():
            least, most = least + _LEAST_DIGIT, most + _MOST_DIGIT
        elif c.isalpha():
            kind = script(c)
            least += _LEAST.get(kind, _LEAST_LETTER)
            most += _MOST.get(kind, _MOST_LETTER)
    pauses = 1 + len(re.findall(r"[.!?;。！？；؟།\n]+", text))
    return least / speed, (most + pauses * _MOST_BESIDES) / speed


def script(letter: str) -> str:
    """The first word of the character's name: its script, such as ``CYRILLIC``."""
    return unicodedata.name(letter, "UNKNOWN").split(" ", 1)[0].split("-", 1)[0]


_DIRECTION: Final = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u0640]")
"""Marks of direction and joining, and the Arabic tatweel: nothing of it is said."""


def _plain(sentence: str) -> str:
    # Letters and digits in their plain forms (full-width, Arabic presentation forms); stops stay as they are,
    # because voices pause by them.
    letters = (unicodedata.normalize("NFKC", c) if c.isalnum() else c for c in sentence)
    text = _DIRECTION.sub("", unicodedata.normalize("NFC", "".join(letters)))
    # A control character in the middle of a request to a program or service has no good meaning.
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


_KAZAKH: Final = dict(zip(
    "ابۆگعدەهجزيكکقلمنڭوپرستۋۇفحخھچشىی",
    "абвгғдеежзиккқлмнңопрстуұфххһчшыи",
    strict=True,
))  # fmt: skip
"""The alphabet of Kazakh as it is written in Xinjiang (töte jazu), letter by letter; ا و ۇ ى are also ә ө
ү і."""
_FRONT: Final = str.maketrans("аоұы", "әөүі")
_HAMZA: Final = "\u0621\u0674"
"""Written before a word with front vowels, unless ك, گ or ە shows them already."""
_VOWELS: Final = frozenset("аәеоөуұүыі")
_STEMS: Final = {
    "قاۋىپ": "қауіп",
    "مۇعالىم": "мұғалім",
    "كىتاپ": "кітап",
    "قازىر": "қазір",
    "قاسىرەت": "қасірет",
    "قۇدىرەت": "құдірет",
    "قادىر": "қадір",
    "كارتا": "карта",
    "كارانتين": "карантин",
    "كيلو": "кило",
    "تەلەفون": "телефон",
    "تەلەۆيزور": "телевизор",
    "مەتەورولوگيا": "метеорология",
    "گرادۋس": "градус",
    "سانتيمەتر": "сантиметр",
    "گەكتار": "гектар",
    "كاسىپورىن": "кәсіпорын",
    "ەلەكتروستانتسيا": "электростанция",
    "رەاكتور": "реактор",
    "كومپانيا": "компания",
    "كوميتەت": "комитет",
    "ۆەرتولەت": "вертолет",
    "رايون": "район",
    "اۆتوموبيل": "автомобиль",
}
"""Stems, mostly borrowed, whose vowels do not follow the rule; what follows them goes by their last vowel."""
_WORD: Final = re.compile(f"[{''.join(_KAZAKH)}{_HAMZA}]+")
_SIGNS: Final = str.maketrans("،؛؟٪٫", ",;?%,")


def cyrillic_kazakh(text: str) -> str:
    """Kazakh in Arabic script as Cyrillic; all else unchanged.

    Regular but for borrowed words: vowels are front in a word with the hamza or with ك, گ, ە, and back
    beside ق and ع. A borrowed word outside `_STEMS` may come out with ә for а: listen before approving."""
    if not any(script(c) == "ARABIC" for c in text if c.isalpha()):
        return text
    text = "".join(str(unicodedata.digit(c)) if c.isdecimal() else c for c in text)
    return _WORD.sub(lambda found: _kazakh_word(found[0]), text.translate(_SIGNS))


def _kazakh_word(word: str) -> str:
    front = any(c in _HAMZA for c in word)
    letters = "".join(c for c in word if c not in _HAMZA)
    stem = next((s for s in sorted(_STEMS, key=len, reverse=True) if letters.startswith(s)), "")
    if stem:
        said = _STEMS[stem]
        last = next(c for c in reversed(said) if c in _VOWELS or c in "ия")
        rest = "".join(_KAZAKH[c] for c in letters[len(stem) :])
        return _glides(said + (rest.translate(_FRONT) if last in "әеөүіи" else rest), len(said))
    back = any(c in "قع" for c in letters)
    front = front or (not back and any(c in "كکگەه" for c in letters))
    said = "".join(_KAZAKH[c] for c in letters)
    return _glides(said.translate(_FRONT) if front else said)


def _glides(word: str, start: int = 0) -> str:
    """ي is и between consonants and й beside a vowel; ya and yu have letters of their own."""
    out = list(word[:start])
    letters: Iterable[tuple[int, str]] = ((n, word[n]) for n in range(start, len(word)))
    for n, letter in letters:
        before = out[-1] if out else ""
        if letter != "и":
            if before == "й" and letter in "аәу":
                out[-1] = "ю" if letter == "у" else "я"
            else:
                out.append(letter)
        elif before in _VOWELS or (not before and n + 1 < len(word) and word[n + 1] in _VOWELS):
            out.append("й")
        else:
            out.append("и")
    return "".join(out)
