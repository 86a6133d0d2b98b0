"""Written Mandarin → the words a voice reads right: amounts, dates, times, units, numbers to dial, roads.

The rules were written against the errors that wetext 0.1.8 makes (``voice-and-audio.md`` §3: "5-6级"
as 五减六级, 12379 as a quantity, hPa as 小时Pa) and go first; wetext (Apache-2.0) reads what they leave:
month and day, 两 before measure words, fractions, money. If its answer loses a word or keeps a digit, our
own plain reading is used instead: a number is never dropped.

Pure: no file, no clock; wetext (0.5 s) is loaded by the first `Reader.read`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final

_DIGITS: Final = "零一二三四五六七八九"
_GROUPS: Final = ("", "万", "亿", "万亿")
_MAX_QUANTITY: Final = 16
"""Digits; longer runs are codes and are read one by one."""

_N: Final = r"\d+(?:\.\d+)?"

_UNITS: Final[dict[str, str]] = {
    "km/h": "公里每小时", "m/s": "米每秒", "m³/s": "立方米每秒", "m3/s": "立方米每秒", "mm/h": "毫米每小时",
    "mm/d": "毫米每天", "cm/s": "厘米每秒", "L/s": "升每秒", "μg/m³": "微克每立方米", "ug/m3": "微克每立方米",
    "μg/m3": "微克每立方米", "mg/m³": "毫克每立方米", "mg/m3": "毫克每立方米", "mg/L": "毫克每升",
    "km²": "平方公里", "km2": "平方公里", "m²": "平方米", "m2": "平方米", "m³": "立方米", "m3": "立方米",
    "km": "公里", "hm²": "公顷", "mm": "毫米", "cm": "厘米", "m": "米", "kg": "公斤", "mg": "毫克",
    "g": "克", "t": "吨", "hPa": "百帕", "kPa": "千帕", "MPa": "兆帕", "Pa": "帕", "kV": "千伏", "KV": "千伏",
    "kW": "千瓦", "MW": "兆瓦", "V": "伏", "W": "瓦", "MHz": "兆赫", "kHz": "千赫", "Hz": "赫兹",
    "dB": "分贝", "h": "小时", "min": "分钟", "s": "秒", "d": "天", "L": "升", "mL": "毫升", "ml": "毫升",
    "gal": "伽", "Gal": "伽",
    "μSv/h": "微西弗每小时", "mSv": "毫西弗", "℃": "摄氏度", "°C": "摄氏度", "°": "度",
}  # fmt: skip
_UNIT: Final = "|".join(re.escape(u) for u in sorted(_UNITS, key=len, reverse=True))
_UNIT_END: Final = r"(?![A-Za-z0-9/²³])"
_NOT_PAIRED: Final = frozenset({"℃", "°C", "°", "g", "t", "V", "W"})
"""Units before which a lone 2 stays 二."""
_TEMPERATURE: Final = r"(?:摄氏度|度)"
_DASH: Final = r"(?:——|--|~~|～～|[-–—－−﹣~～∼〜])"

_HOTLINE_WORDS: Final = (
    r"电话|热线|拨打|致电|火警|急救|报警|求助|拨|呼叫|号码|来电|咨询|直拨|请打|联系|手机|座机|传真|值班室"
)
_COUNTED: Final = (
    r"(?!\s*(?:[.]\d|[多余]?[个人户名间座辆头只次处条项天年月日时分秒小米毫厘公千平立吨度级号]"
    rf"|{_UNIT}|[%‰℃]))"
)

_ROMAN: Final = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "X": 10,
                 "XI": 11, "XII": 12}  # fmt: skip
_LETTERS: Final = dict(
    zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (
            *("诶", "必", "西", "第", "伊", "艾弗", "记", "艾尺", "艾", "杰", "开", "艾勒", "艾姆", "恩"),
            *("欧", "批", "克优", "阿", "艾丝", "踢", "优", "威", "达不溜", "艾克斯", "歪", "贼"),
        ),
        strict=True,
    )
)
_SYLLABLE: Final = re.compile(r"[a-zü]{1,6}[1-5]")


class ReadingError(Exception):
    """A place-name reading that cannot be used: what is wrong with it and how it should look."""


def digits(text: str, *, one: str = "一") -> str:
    """Each digit by name; everything that is not a digit is dropped. ``one="幺"`` for numbers to dial."""
    return "".join(one if c == "1" else _DIGITS[int(c)] for c in text if c.isdecimal())


def quantity(text: str) -> str:
    """``12500.5`` → 一万二千五百点五. Leading zeros or over 16 digits: read digit by digit."""
    whole, _, fraction = text.partition(".")
    if len(whole) > _MAX_QUANTITY or (len(whole) > 1 and whole[0] == "0"):
        words = digits(whole)
    else:
        words = _integer(int(whole))
    return words + ("点" + digits(fraction) if fraction else "")


def _integer(value: int) -> str:
    if value == 0:
        return "零"
    parts: list[str] = []
    gap = False
    for index in range(3, -1, -1):
        group = value // 10_000**index % 10_000
        if not group:
            gap = bool(parts)
            continue
        if parts and (gap or group < 1000):
            parts.append("零")
        parts.append(_group(group) + _GROUPS[index])
        gap = False
    words = "".join(parts).replace("万亿亿", "万亿")
    return words[1:] if words.startswith("一十") else words


def _group(value: int) -> str:
    out, zero = "", False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = value // unit % 10
        if digit:
            out += ("零" if zero and out else "") + _DIGITS[digit] + name
            zero = False
        else:
            zero = True
    return out


def _clock(hour: str, minute: str, second: str = "") -> str:
    words = ("两" if int(hour) == 2 else quantity(str(int(hour)))) + "点"
    if int(minute) or int(second or 0):
        words += ("零" if int(minute) < 10 and int(minute) else "") + quantity(str(int(minute))) + "分"
    if int(second or 0):
        words += quantity(str(int(second))) + "秒"
    return words


def _signed(sign: str, number: str, unit: str) -> str:
    cold = re.match(rf"℃|°C|{_TEMPERATURE}", unit)
    return (("零下" if cold else "负") if sign else "") + quantity(number)


def _range(m: re.Match[str]) -> str:
    sign1, first, unit1, sign2, second, unit2 = (g or "" for g in m.groups())
    unit = unit2 or unit1
    if unit in ("%", "‰"):
        name = "百分之" if unit == "%" else "千分之"
        return f"{name}{quantity(first)}到{name}{quantity(second)}"
    left, right = _signed(sign1, first, unit), _signed(sign2, second, unit)
    spoken = _UNITS.get(unit2, unit2)
    return f"{left}{_UNITS.get(unit1, unit1) if unit1 != unit2 else ''}到{right}{spoken}"


def _measured(m: re.Match[str]) -> str:
    sign, number, unit = m.groups()
    if not sign and number == "2" and unit not in _NOT_PAIRED:
        return "两" + _UNITS[unit]
    return _signed(sign or "", number, unit) + _UNITS[unit]


def _phone_list(m: re.Match[str]) -> str:
    return m[1] + re.sub(r"\d[\d\- ]*", lambda n: digits(n[0], one="幺"), m[2])


_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


def _rules() -> tuple[_Rule, ...]:
    hz = "[\u3400-\u9fff]"
    phone = r"\d{3,4}-\d{3,4}-\d{4}|\d{3,4}-\d{7,8}|\d[\d-]{1,13}\d"
    ranged = rf"(℃|°C|%|‰|{_UNIT}|{_TEMPERATURE})?"
    table: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
        # Levels and list numbers.
        (r"(?<![A-Za-z])([IVX]{1,4})(?=[级度类型号期])",
         lambda m: quantity(str(_ROMAN[m[1]])) if m[1] in _ROMAN else m[0]),
        # Thousands separators.
        (r"(?<![\d.])\d{1,3}(?:,\d{3})+(?!\d)", lambda m: m[0].replace(",", "")),
        # Numbers to dial: named as such, mobile, land line, well-known hotlines standing alone.
        (rf"((?:{_HOTLINE_WORDS})(?:号码|电话|热线)?)[是为：:，]?\s*"
         rf"((?<![\d.])(?:{phone})(?:\s*(?:[、,，/或和]|以及)\s*(?:{phone}))*){_COUNTED}(?!\.?\d)",
         _phone_list),
        (r"(?<![\d.-])(?:1[3-9]\d{9}|1[3-9]\d[- ]\d{4}[- ]\d{4}|0\d{2,3}[- ]?\d{7,8}|400-?\d{3}-?\d{4})"
         r"(?![\d.])",
         lambda m: digits(m[0], one="幺")),
        (r"(?<![\d.:-])(?:123\d\d|95\d{3}|96\d{3}|11[09]|12[02])(?=\s*(?:[，。；、！？）)]|$))",
         lambda m: digits(m[0], one="幺")),
        # Codes: named as such, or three and more groups joined by hyphens that are no date.
        (r"((?:编号|文号|证号|序列号|代码|编码|单号|批次号)(?:为|是|：|:)?\s*)([A-Za-z]*-?\d[A-Za-z\d-]*)",
         lambda m: m[1].rstrip("：: ") + re.sub(r"\d[\d-]*", lambda n: digits(n[0]), m[2]).replace("-", "")),
        # Dates and clock times.
        (r"(?<!\d)(\d{4})([-/.])(0?[1-9]|1[0-2])\2(0?[1-9]|[12]\d|3[01])(?!\d)[日号]?(?:[ T]+(?=\d))?",
         lambda m: f"{digits(m[1])}年{quantity(str(int(m[3])))}月{quantity(str(int(m[4])))}日"),
        (r"(?<![\d.-])\d+(?:-\d+){2,}(?![\d.])", lambda m: digits(m[0])),
        (r"(?<![\d.])((?:19|20)\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?![\d.]|\s*[个人户名元米毫吨立])",
         lambda m: f"{digits(m[1])}年{quantity(str(int(m[2])))}月{quantity(str(int(m[3])))}日"),
        (r"(?<![\d.])((?:19|20)\d\d)(?=年(?!一遇))", lambda m: digits(m[1])),
        (r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])",
         lambda m: _clock(m[1], m[2], m[3] or "")),
        (r"(?<![\d.:])(\d+):(\d+)(?![\d:])", lambda m: f"{quantity(m[1])}比{quantity(m[2])}"),
        (r"(?<!\d)(0\d)(?=[时点分月日秒])", lambda m: _zero_led(m[1], m.string[m.end()])),
        (rf"(?<=[点分秒日年月时])\s*{_DASH}\s*(?=[零一二三四五六七八九十\d次当])", "到"),
        # Roads and chainage.
        (r"(?<![A-Za-z])([GSXYC])(\d{1,4})(?![\d.%℃A-Za-z])", lambda m: m[1] + digits(m[2])),
        (r"(?<![A-Za-z])[Kk](\d+)\+(\d+)", lambda m: f"K{quantity(m[1])}加{quantity(m[2])}"),
        (r"(?<![A-Za-z])K(\d+)(?![\d.A-Za-z])", lambda m: f"K{quantity(m[1])}"),
        (r"([A-Za-z])-(?=\d)", r"\1"),
        (r"PM\s*(?=\d)", "PM"),
        (r"(?<=[A-Za-z])\d{3,}(?!\.\d)", lambda m: digits(m[0])),
        # Ranges; a sign is a sign only where no number stands before it.
        (rf"(?<![\d.A-Za-z])([-−﹣－])?({_N}){ranged}\s*{_DASH}\s*([-−﹣－])?({_N}){ranged}(?![\d.]\d)(?![A-Za-z/])",
         _range),
        (rf"({_N})\s*([至到])\s*(?=[-−﹣－]?\d)", r"\1\2"),
        (rf"(?<=[级日月号度米克天人户次个%℃])\s*{_DASH}\s*(?=\d)", "到"),
        # Signed and measured amounts.
        (rf"(?<![\d.A-Za-z])([-−﹣－])?({_N})\s*({_UNIT}){_UNIT_END}", _measured),
        (rf"(?<![\d.A-Za-z])[-−﹣－]({_N})(?=\s*{_TEMPERATURE})", lambda m: "零下" + quantity(m[1])),
        (rf"(?<![\d.A-Za-z])[-−﹣－]({_N})", lambda m: "负" + quantity(m[1])),
        (rf"({_N})\s*%", lambda m: "百分之" + quantity(m[1])),
        (rf"({_N})\s*‰", lambda m: "千分之" + quantity(m[1])),
        (r"(?<![\d.])2(?=时(?![间长段]))", "二"),
        (r"(?<![\d.第])2(?=[次名户位处条座])", "两"), (r"°", "度"),
        (r"≥", "大于等于"), (r"≤", "小于等于"), (r"[>＞]", "大于"), (r"[<＜]", "小于"), (r"[±]", "正负"),
        (r"[&＆]", "和"),
        # Codes and amounts that wetext would shorten.
        (r"(?<![\d.])(0\d+|\d{17,})(?![\d.])", lambda m: digits(m[1])),
        (r"\d+\.\d+", lambda m: quantity(m[0])),
        (r"\d{3,}", lambda m: quantity(m[0])),
        # Spaces between Chinese are no pause.
        (rf"(?<={hz})[ \t]+(?={hz}|\d)|(?<=\d)[ \t]+(?={hz})", ""),
    ]  # fmt: skip
    return tuple((re.compile(pattern), put) for pattern, put in table)


def _zero_led(number: str, unit: str) -> str:
    value = quantity(str(int(number)))
    return "零" + value if unit in "分秒" and int(number) else value


_RULES: Final = _rules()
_ROMAN_NUMERAL: Final = re.compile("[Ⅰ-Ⅻⅰ-ⅻ]")
_CIRCLED: Final = re.compile("[①-⑳]")


def _plain(text: str) -> str:
    """Full-width digits, letters and unit signs as their usual selves; punctuation stays Chinese."""
    out = []
    for c in text:
        if "０" <= c <= "９" or "Ａ" <= c <= "Ｚ" or "ａ" <= c <= "ｚ" or c in "％＋．／㎜㎝㎞㎏":
            out.append(unicodedata.normalize("NFKC", c))
        else:
            out.append({"㎡": "m²", "㎥": "m³", "µ": "μ", "\u00a0": " ", "\u3000": " "}.get(c, c))
    plain = "".join(out)
    plain = re.sub(r"(?<=\d)：(?=[0-5]\d)", ":", plain)
    plain = _ROMAN_NUMERAL.sub(lambda m: quantity(str(int(unicodedata.numeric(m[0])))), plain)
    return _CIRCLED.sub(lambda m: quantity(str(int(unicodedata.numeric(m[0])))) + "、", plain)


def prepare(text: str) -> str:
    """The rules that go before wetext. What remains in digits, wetext reads rightly."""
    text = _plain(text)
    for pattern, put in _RULES:
        text = pattern.sub(put, text)
    return text


def plainly(text: str) -> str:
    """Every number still in digits as a plain quantity: the reading that loses nothing."""
    return re.sub(_N, lambda m: quantity(m[0]), text)


def hanzi(text: str) -> str:
    """The Chinese characters of `text`, in order."""
    return "".join(c for c in text if "\u3400" <= c <= "\u9fff" or c >= "\U00020000" or c == "〇")


def keeps(source: str, spoken: str) -> bool:
    """True if `spoken` has no digit and every Chinese character of `source`, in order (两 for 二 is one)."""
    if any(c.isdigit() for c in spoken):
        return False
    rest = iter(hanzi(spoken).replace("两", "二"))
    return all(c in rest for c in hanzi(source).replace("两", "二"))


def spell_letters(text: str) -> str:
    """Latin letters as the Chinese syllables that name them; at the phoneme stage, never on screen."""
    return re.sub(r"[A-Za-z]", lambda m: _LETTERS[m[0].upper()], text)


def check_readings(readings: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Place-name readings (``{"舟曲": "zhou1 qu3"}``) → syllables per name.

    Raises ReadingError unless each name is Chinese and has one toned pinyin syllable (tone 5 is neutral,
    ü or v for ü) per character.
    """
    out: dict[str, tuple[str, ...]] = {}
    for name, pinyin in readings.items():
        syllables = tuple(pinyin.lower().replace("v", "ü").split())
        if not name or hanzi(name) != name:
            raise ReadingError(f"reading of {name!r}: a name is written in Chinese characters only")
        if len(syllables) != len(name) or not all(_SYLLABLE.fullmatch(s) for s in syllables):
            raise ReadingError(
                f"reading of {name}: {pinyin!r} should be {len(name)} pinyin syllables with tone numbers, "
                "such as 'zhou1 qu3'"
            )
        out[name] = syllables
    return out


class Reader:
    """What will be said. Holds wetext once it was needed; not for use by two threads at once."""

    def __init__(self) -> None:
        self._normalize: Callable[[str], str] | None = None

    def read(self, text: str) -> str:
        """`text` in words: no digit is left and no Chinese character of it is lost."""
        prepared = prepare(text)
        if not any(c.isdigit() for c in prepared) and not re.search(r"[×÷=/]", prepared):
            return prepared
        spoken = self._wetext(prepared)
        return spoken if keeps(prepared, spoken) else plainly(prepared)

    def _wetext(self, text: str) -> str:
        if self._normalize is None:
            from wetext import Normalizer

            self._normalize = Normalizer(lang="zh", operator="tn").normalize
        return re.sub(r"(?<=[\u3400-\u9fff])[ \t]+(?=[\u3400-\u9fff])", "", self._normalize(text))


_reader = Reader()


def read(text: str) -> str:
    """`Reader.read` with one shared reader."""
    return _reader.read(text)
