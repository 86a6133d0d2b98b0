"""Written Mandarin → the words a voice reads right: amounts, dates, times, units, numbers to dial, roads.

Rules in order, each with its example in ``tests/fixtures/speech/reading_hard.tsv``. They read every number
themselves: what a general normaliser (wetext 0.1.8) made of the rest was wrong too often: 2月2日 as 两日,
约1/3 as 三分之约一, 5L/人 as 每人五升 (``docs/decisions/0019``). `pronounced` knows what voices say wrong.

Pure: no file, no clock.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Final

from tts.names import NAMES, WORDS

_DIGITS: Final = "零一二三四五六七八九"
_GROUPS: Final = ("", "万", "亿", "万亿")
_MAX_QUANTITY: Final = 16
"""Digits; longer runs are codes and are read one by one."""

_N: Final = r"\d+(?:\.\d+)?"

_UNITS: Final[dict[str, str]] = {
    "m/s²": "米每二次方秒", "m/s2": "米每二次方秒", "r/min": "转每分钟", "rpm": "转每分钟",
    "km²": "平方公里", "km2": "平方公里", "m²": "平方米", "m2": "平方米", "cm²": "平方厘米",
    "m³": "立方米", "m3": "立方米", "cm³": "立方厘米", "dm³": "立方分米",
    "km": "公里", "hm²": "公顷", "hm2": "公顷", "mm": "毫米", "cm": "厘米", "dm": "分米", "m": "米",
    "μm": "微米", "nm": "纳米",
    "kg": "公斤", "mg": "毫克", "μg": "微克", "ug": "微克", "g": "克", "t": "吨",
    "hPa": "百帕", "kPa": "千帕", "MPa": "兆帕", "Pa": "帕", "mmHg": "毫米汞柱",
    "kV": "千伏", "KV": "千伏", "kv": "千伏", "V": "伏", "kVA": "千伏安", "kWh": "千瓦时", "kW·h": "千瓦时",
    "kW": "千瓦", "KW": "千瓦", "MW": "兆瓦", "GW": "吉瓦", "W": "瓦", "mA": "毫安",
    "MHz": "兆赫", "kHz": "千赫", "GHz": "吉赫", "Hz": "赫兹", "dB": "分贝",
    "h": "小时", "min": "分钟", "s": "秒", "d": "天", "ms": "毫秒", "L": "升", "mL": "毫升", "ml": "毫升",
    "kN": "千牛", "gal": "伽", "Gal": "伽", "Bq": "贝克", "Sv": "西弗", "mSv": "毫西弗", "μSv": "微西弗",
    "uSv": "微西弗", "nSv": "纳西弗", "℃": "摄氏度", "°C": "摄氏度", "℉": "华氏度", "°F": "华氏度", "°": "度",
}  # fmt: skip
_UNIT: Final = "|".join(re.escape(u) for u in sorted(_UNITS, key=len, reverse=True))
_WRITTEN_UNIT: Final = (
    r"立方米|平方米|平方公里|公顷|微克|毫克|公斤|千克|克|吨|毫升|升|毫米|厘米|公里|千米|米|小时|分钟|秒钟|秒|分|时"
    r"|天|日|周|月|年|元|人次|人|户|次|个|亩|度|转|例|车|辆|株|平方|立方|微西弗|毫西弗|纳西弗|贝克|千瓦时"
)
_PER: Final = rf"({_UNIT}|{_WRITTEN_UNIT})\s*/\s*(\d*)\s*({_UNIT}|{_WRITTEN_UNIT})"
"""A unit by another: m³/s, 毫米/小时, L/人, mm/6h."""
_UNIT_END: Final = r"(?![A-Za-z0-9/²³])"
_NOT_PAIRED: Final = frozenset({"℃", "°C", "°", "g", "t", "V", "W"})
"""Units before which a lone 2 stays 二."""
_TEMPERATURE: Final = r"(?:摄氏度|度)"
_DASH: Final = r"(?:——|--|~~|～～|[-–—－−﹣‐‑‒―~～∼〜])"
_MINUS: Final = "[-−﹣－–‑]"

_HOTLINE_WORDS: Final = (
    r"电话|热线|拨打|致电|火警|急救|报警|求助|拨|呼叫|号码|来电|咨询|直拨|请打|联系|手机|座机|传真|值班室|客服"
    r"|短信发送[到至]|发短信[到至]|群号|QQ群?"
)
_COUNTED: Final = (
    r"(?!\s*(?:[.]\d|[多余万亿]?[个人户名间座辆头只次处条项天年月日时分秒小米毫厘公千平立吨度级号亩元例株棵台架"
    r"艘顶床件套箱袋斤瓶万亿倍]"
    rf"|{_UNIT}|[%‰℃]))"
)
_HOTLINE: Final = r"(?:123\d\d|121(?:1[09]|21)|11[09]|12[02]|95\d{3}|96\d{3})"
_DIALLED: Final = (
    r"(?:报警|火警|急救|消防|救护|电话|热线|指挥|接警|调度|求助|平台|交警|服务|客服|短信|气象|市民|政务|专线|咨询|抢修"
    r"|[”\"’」』])"
)
_NUMBERED: Final = (
    r"编号|文号|证号|序列号|代码|编码|单号|批次号|邮编|邮政编码|密码|验证码|取件码|尾号|账号|帐号|卡号|工号|学号"
    r"|微信号|车牌号码|车牌号|身份证号码|身份证号|识别码|标识"
)
_PROVINCES: Final = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"

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
_GASES: Final = {
    "CO2": "二氧化碳", "SO2": "二氧化硫", "NO2": "二氧化氮", "NOx": "氮氧化物", "H2S": "硫化氢",
    "NH3": "氨气", "CH4": "甲烷", "SF6": "六氟化硫", "Cl2": "氯气", "HCl": "氯化氢", "O3": "臭氧",
    "O2": "氧气", "H2": "氢气", "N2": "氮气", "CO": "一氧化碳",
}  # fmt: skip
_ALSO_LABELS: Final = r"O3|O2|H2|N2|CO"
"""Formulas that may as well be the number of a gate or the name of a thing: gases only beside such words."""
_OF_GAS: Final = (
    r"日最大|[八8]小时|浓度|超标|中毒|泄漏|含量|气体|监测|排放|污染|报警|[、，和及]\s*[A-Z]|[为达]"
)
_MASK: Final = "[xX×*＊]"
_WHERE: Final = {"N": "北纬", "S": "南纬", "E": "东经", "W": "西经"}
_PAIRED: Final = (
    r"个|名|位(?!数)|人|户|次(?!列车)|处|条|座|只|头|匹|辆|艘|架|台(?!阶)|件|套|间|张|把|块|片|根|棵|株|顶|床|箱|袋|瓶|桶"
    r"|份|封|场|起|例|批|遍|天|周(?!岁)|秒|分钟|点|小时|公里|千米|米|厘米|毫米|升|吨|斤|公斤|千克|亩|公顷|立方|平方|万|亿|千"
    r"|倍|家|支|岁|元|余|日内|日间|种|项|路人|眼|口|样|道(?!班)|对|届|轮|趟|颗|门|幢|所|股|串|筐|车|节(?!气)|国"
)
"""What is counted with 两."""
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
    if re.match(r"\s*[时点日号月]", m.string[m.end() :]):  # 08-20时
        first, second = str(int(float(first))), str(int(float(second)))
    left, right = _signed(sign1, first, unit), _signed(sign2, second, unit)
    spoken = _UNITS.get(unit2, unit2)
    return f"{left}{_UNITS.get(unit1, unit1) if unit1 != unit2 else ''}到{right}{spoken}"


def _measured(m: re.Match[str]) -> str:
    sign, number, unit = m.groups()
    if not sign and number == "2" and unit not in _NOT_PAIRED:
        return "两" + _UNITS[unit]
    if unit in ("℉", "°F"):
        return "华氏" + ("零下" if sign else "") + quantity(number) + "度"
    return _signed(sign or "", number, unit) + _UNITS[unit]


def _per(m: re.Match[str]) -> str:
    of, count, by = m.groups()
    by = {"分": "分钟", "时": "小时"}.get(by, _UNITS.get(by, by))
    return f"{_UNITS.get(of, of)}每{quantity(count) if count not in ('', '1') else ''}{by}"


def _phone_list(m: re.Match[str]) -> str:
    return m[1] + _dialled(m[2])


def _dialled(text: str) -> str:
    """Digits one by one, 一 as 幺; hyphens and spaces between them are no pause, a slash is 或."""
    return re.sub(r"\d[\d\- ]*", lambda n: digits(n[0], one="幺"), text).replace("/", "或")


def _masked(m: re.Match[str]) -> str:
    """A number with digits blotted out: 139****1234 → 幺三九某某某某幺二三四."""
    return "".join("某" if re.match(_MASK, c) else digits(c, one="幺") for c in m[0])


def _standard(m: re.Match[str]) -> str:
    """GB/T 27962-2011 → GBT二七九六二杠二零一一."""
    return f"{m[1].replace('/', '')}{'点'.join(digits(n) for n in m[2].split('.'))}杠{digits(m[3])}"


def _power(m: re.Match[str]) -> str:
    """10^-3, 10³ → 十的负三次方, 十的三次方."""
    power = unicodedata.normalize("NFKC", m[2] or m[3]).replace("−", "-")
    return f"{quantity(m[1])}的{'负' if power[0] == '-' else ''}{quantity(power.lstrip('-'))}次方"


def _coded(m: re.Match[str]) -> str:
    return m[1].rstrip("：: ") + re.sub(r"\d[\d-]*", lambda n: digits(n[0]), m[2]).translate(_NO_HYPHEN)


_NO_HYPHEN: Final = {ord("-"): None, ord("_"): None}


def _chainage(m: re.Match[str]) -> str:
    line, kilometre, metres, dash, line2, kilometre2, metres2 = m.groups()
    if not (metres or line2 or not dash):
        return m[0]
    words = f"{line}{quantity(kilometre)}" + (f"加{quantity(metres)}" if metres else "")
    if not dash:
        return words
    words += "到" + (f"{line2}{quantity(kilometre2)}加" if line2 and metres2 else line2 or "")
    return words + quantity(metres2 or kilometre2)


def _position(m: re.Match[str]) -> str:
    before, degrees, minutes, seconds, after = m.groups()
    where = _WHERE.get(before or after or "", "")
    words = where + quantity(degrees) + "度"
    if minutes:
        words += quantity(minutes) + "分"
    if seconds:
        words += quantity(seconds) + "秒"
    return words


def _fraction(m: re.Match[str]) -> str:
    part, whole = m.groups()
    if int(whole) == 0:
        return f"{quantity(part)}比{quantity(whole)}"
    after = m.string[m.end() :]
    if re.match(r"[日号]", after) and int(part) <= 12 and int(whole) <= 31 and int(whole) != int(part) + 1:
        return f"{quantity(str(int(part)))}月{quantity(str(int(whole)))}"
    if re.match(r"[日号月级楼栋组]", after):
        return f"{quantity(part)}、{quantity(whole)}"
    of = {"100": "百", "1000": "千", "10000": "万"}.get(whole, quantity(whole))
    return f"{of}分之{quantity(part)}"


def _day(month: str, day: str) -> str:
    return f"{quantity(str(int(month)))}月{quantity(str(int(day)))}日"


_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


def _rules() -> tuple[_Rule, ...]:
    hz = "[\u3400-\u9fff]"
    phone = (
        r"\d{3,4}-\d{3,4}[- ]\d{4}|\d{3,4}-\d{7,8}|1[3-9]\d[- ]\d{4}[- ]\d{4}|0\d{2,3} \d{7,8}"
        r"|\d[\d-]{1,13}\d"
    )
    extension = r"(?:转\s*\d{1,5})?"
    ranged = rf"(℃|°C|%|‰|{_UNIT}|{_TEMPERATURE})?"
    roman = r"[IVX]{1,4}"
    month_day = r"(1[0-2]|0?[1-9])\.(3[01]|[12]\d|0?[1-9])"
    numeral = "[零一二三四五六七八九十百千万亿两半余多几数]"
    table: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
        # Spaces between a word and a number are no pause.
        (rf"(?<={hz})[ \t]+(?=\d)|(?<=\d)[ \t]+(?={hz})", ""),
        # Levels and list numbers.
        (rf"(?<![A-Za-z])({roman})(?=\s*(?:(?:{_DASH}|[至到、和或])\s*{roman}\s*)*[级度类型号期])",
         lambda m: quantity(str(_ROMAN[m[1]])) if m[1] in _ROMAN else m[0]),
        (rf"(?<=[一二三四五六七八九十])\s*{_DASH}\s*(?=[一二三四五六七八九十]+\s*[级度类])", "到"),
        (rf"(?:(?<=^)|(?<=[\s。；;：:，,！!？?、）)]))(\d{{1,2}})\s*[.．]\s*(?={hz})",
         lambda m: quantity(m[1]) + "、"),
        (r"(?:(?<![A-Za-z])N[oO][.．:]?|№)\s*(\d+)", lambda m: quantity(m[1]) + "号"),
        (r"(?<![\dA-Za-z])#\s*(\d{1,3})(?!\d)|(?<![\d.])(\d{1,3})\s*#(?!\d)",
         lambda m: quantity(m[1] or m[2]) + "号"),
        # Standards by their numbers.
        (rf"(?<![A-Za-z])([A-Z]{{2,5}}(?:/[TZ])?)\s*(\d+(?:\.\d+)?)\s*{_DASH}\s*((?:19|20)\d\d)(?![\d-])",
         _standard),
        # Thousands separators and money.
        (r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])", lambda m: m[0].replace(",", "")),
        (rf"¥\s*({_N})\s*([万亿]?)元?", lambda m: quantity(m[1]) + m[2] + "元"),
        (rf"\$\s*({_N})\s*([万亿]?)(?:美元)?", lambda m: quantity(m[1]) + m[2] + "美元"),
        # Moments in one run of digits.
        (r"(?<![\d_-])((?:19|20)\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])([0-5]\d)([0-5]\d)?(?![\d_-])",
         lambda m: f"{digits(m[1])}年{_day(m[2], m[3])}{_clock(m[4], m[5], m[6] or '')}"
         if not re.search(rf"(?:{_NUMBERED})(?:为|是|：|:)?\s*$", m.string[: m.start()]) else m[0]),
        # Numbers to dial: named as such, mobile, land line, well-known hotlines.
        (r"[（(](0\d{2,3})[)）][- ]*(\d{3,4})[- ]?(\d{4})(?!\d)", r"\1-\2\3"),
        (rf"(?<![\d.])(0\d{{2,3}}|[48]00)\s*{_DASH}\s*(?=\d{{7,8}}(?!\d)|\d{{3}}{_DASH}\d{{4}}(?!\d))",
         r"\1-"),
        (rf"(?<![\d.])(?:\d{{3,}}{_MASK}{{2,}}|\d{{3,4}}-\d+{_MASK}{{2,}})\d*(?!{_MASK}?\d)", _masked),
        (r"(分机号?|内线|短号)[是为：:]?\s*(\d{2,6})(?!\d)|(转)\s*(\d{3,6})(?=\s*(?:[)）。，；、！]|人工|分机|$))",
         lambda m: (m[1] or m[3]) + digits(m[2] or m[4], one="幺")),
        (r"(?<![\d.])[+＋]?86[- ]?(?=1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?!\d))", "八六"),
        (rf"((?:{_HOTLINE_WORDS})(?:号码|电话|热线)?)[是为：:，]?\s*"
         rf"((?<![\d.])(?:{phone}){extension}(?:\s*(?:[、,，/或和]|以及)\s*(?:{phone}){extension})*)"
         rf"{_COUNTED}(?!\.?\d)",
         _phone_list),
        (r"(?<![\d.-])(?:1[3-9]\d{9}|1[3-9]\d[- ]\d{4}[- ]\d{4}|0\d{1,3}[- ]?\d{7,8}"
         r"|0\d{2,3}-\d{3,4}[- ]\d{4}"
         rf"|[48]00-?\d{{3}}-?\d{{4}}){extension}(?![\d.])",
         lambda m: _dialled(m[0])),
        (rf"(?<![\d.:-]){_HOTLINE}(?:\s*[、/，,或和及]\s*{_HOTLINE})+(?!\d){_COUNTED}",
         lambda m: _dialled(m[0])),
        (rf"(?<![\d.:-]){_HOTLINE}(?=\s*(?:[，。；、！？）)]|$))|(?<![\d.:-]){_HOTLINE}(?={_DIALLED})"
         rf"|(?<=[打拨“\"]){_HOTLINE}(?!\d){_COUNTED}|(?<![\d.:-])(?:123\d\d|12121|95\d{{3}}|10086|10010)(?!\d){_COUNTED}(?={hz})",
         lambda m: digits(m[0], one="幺")),
        # Codes: named as such, number plates, trains, document years, rooms, or three and more groups.
        (rf"((?:{_NUMBERED})(?:为|是|：|:)?\s*)([A-Za-z{_PROVINCES}]*[-·]?\d[A-Za-z\d_-]*)"
         r"(?!\s*[个份条张])", _coded),
        (rf"(?<=[{_PROVINCES}])([A-Z])[·• ]?(?=[A-Z\d]{{5,6}}(?![A-Z\d]))([A-Z\d]*\d[A-Z\d]*)",
         lambda m: m[1] + re.sub(r"\d", lambda n: digits(n[0]), m[2])),
        (r"(?<![A-Za-z\d])([GDCZTKYLS]?)(\d{1,4})(?=/?\d*次(?:列车|动车|高铁|火车|旅客))"
         r"|(?<![A-Za-z\d])([GDCZTKYLS])(\d{1,4})(?=次)",
         lambda m: (m[1] or m[3] or "") + digits(m[2] or m[4])),
        (r"([〔\[［【])((?:19|20)\d\d)(?=[〕\]］】])|([（(])((?:19|20)\d\d)(?=[）)]\s*第?\s*\d+\s*[号期])",
         lambda m: (m[1] or m[3]) + digits(m[2] or m[4])),
        (r"(?<=(?:台风|风暴)[“\"])([^”\"。]{1,12}[”\"]\s*[（(])(\d{4})(?=号?[）)])"
         r"|((?:台风|风暴)[^，。；（(\d]{0,24}[（(])(\d{4})(?=号?[）)])",
         lambda m: (m[1] or m[3]) + digits(m[2] or m[4])),
        (r"(?<![A-Za-z\d])(K?N)95(?!\d)", r"\1九五"),
        (r"(?<![\d/])24/7(?![\d/])", "二十四小时七天"),
        (r"(?<!\d)(\d{4})(?=号(?:超?强)?(?:台风|热带))", lambda m: digits(m[1])),
        (r"(?<![\d.])(\d{3,4})(?=室|号房|号病房|房间|医院|航班)", lambda m: digits(m[1])),
        # Dates and clock times.
        (r"(?<!\d)(\d{4})([-/.])(0?[1-9]|1[0-2])\2(0?[1-9]|[12]\d|3[01])(?!\d)[日号]?(?:[ T]+(?=\d))?",
         lambda m: f"{digits(m[1])}年{_day(m[3], m[4])}"),
        (r"(?<![\d.-])(20\d\d)[-/](0[1-9]|1[0-2])(?![\d/-])(?!\s*年)月?",
         lambda m: f"{digits(m[1])}年{quantity(str(int(m[2])))}月"),
        (r"(?<![\d.-])\d+(?:-\d+){2,}(?![\d.])", lambda m: digits(m[0])),
        (r"(?<![\d.])((?:19|20)\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?![\d.]|\s*[个人户名元米毫吨立])",
         lambda m: f"{digits(m[1])}年{_day(m[2], m[3])}"),
        (rf"(?<![\d.])((?:19|20)\d\d)\s*(?:{_DASH}|([至到、和及]))\s*((?:19|20)\d\d)(?=年(?!一遇))",
         lambda m: f"{digits(m[1])}{m[2] or '到'}{digits(m[3])}"),
        (r"(?<![\d.])((?:19|20)\d\d)(?=年(?!一遇))", lambda m: digits(m[1])),
        (r"(?<![\d.])(\d\d)年(?=\d{1,2}月)", lambda m: digits(m[1]) + "年"),
        (rf"(?<![\d./级位约为]){month_day}\s*{_DASH}\s*{month_day}(?![\d./])(?!\s*(?:{_UNIT}|%|{_WRITTEN_UNIT}|[级万亿倍成个]))",
         lambda m: f"{_day(m[1], m[2])}到{_day(m[3], m[4])}"),
        (rf"(?<![\d./]){month_day}(?:(日|号)|(?=当天|当日|凌晨|上午|下午|晚|夜间))",
         lambda m: _day(m[1], m[2])),
        (r"(?<![\d./])(\d{1,2})[·•‧・](\d{1,2})(?!\d)", lambda m: digits(m[1]) + digits(m[2])),
        (r"(?<![\d./])(1[0-2]|[1-9])\.([0-3]\d)(?=[”\"’』」]|地震|特大|暴雨|山洪|洪灾|泥石流|事件|事故|防灾)",
         lambda m: digits(m[1]) + digits(m[2])),
        (r"(?<![\d/-])(0[1-9]|1[0-2])([-/])(0[1-9]|[12]\d|3[01])(?=\s*(?:[0-2]?\d:[0-5]\d|[0-2]?\d[时点]))\s*",
         lambda m: _day(m[1], m[3])),
        (r"(?<=[T ]\d\d:\d\d:\d\d)(?:\.\d+)?(?:\+08:?00)|(?<=\d\d:\d\d:\d\d)\.\d+", ""),
        (r"(?<=\d\d:\d\d)\+08:?00", ""),
        (r"(?<=:\d\d)Z(?![A-Za-z])", "（协调世界时）"),
        (r"(?<![\d:])(\d{1,2}:[0-5]\d(?::[0-5]\d)?)\s*([AaPp])\.?[Mm]\.?(?![A-Za-z])",
         lambda m: ("" if int(m[1].partition(":")[0]) > 12 else "上午" if m[2] in "Aa" else "下午") + m[1]),
        (r"(?<![\d:.])(1[0-2]|[1-9])\s*([AaPp])\.?[Mm]\.?(?![A-Za-z\d])",
         lambda m: ("上午" if m[2] in "Aa" else "下午") + _clock(m[1], "0")),
        (r"(?<![\d:])([01]?\d|2[0-4]):00时", lambda m: quantity(str(int(m[1]))) + "时"),
        (r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])(分?)(?![钟之])",
         lambda m: _clock(m[1], m[2], m[3] or "") + ("零分" if m[4] and not int(m[2]) and not m[3] else "")),
        (r"(?<![\d.:])(\d+):(\d+)(?![\d:])", lambda m: f"{quantity(m[1])}比{quantity(m[2])}"),
        (rf"(?<![\d.])(\d{{1,2}})\s*{_DASH}\s*(0\d)(?=[时点日号月])",
         lambda m: f"{quantity(str(int(m[1])))}到{quantity(str(int(m[2])))}"),
        (r"(?<!\d)(0\d)(?=[时点分月日秒号])", lambda m: _zero_led(m[1], m.string[m.end()])),
        (rf"(?<=[点分秒日年月时])\s*{_DASH}\s*(?=[零一二三四五六七八九十两次当今明后昨翌凌傍]|\d+(?![.\d]))",
         "到"),
        (rf"(?<=[周期][一二三四五六日])\s*{_DASH}\s*(?=[周星一二三四五六日])", "到"),
        (r"(?<![\d.])(\d{1,2})(?=月(?:\d|[份上中下初底至到，。、]|$))", lambda m: quantity(m[1])),
        (r"(?<=月)(\d{1,2})(?=[日号])", lambda m: quantity(m[1])),
        (r"(?<![\d.])2(?=[日号](?![内间以之]))", "二"),
        # Roads and chainage.
        (r"(?<![A-Za-z])([GSXYC])(\d{1,4})(?![\d.%℃A-Za-z])", lambda m: m[1] + digits(m[2])),
        (rf"(国道|省道|县道|乡道|村道)(\d{{2,4}})(?!\d|\.\d|\s*(?:{_UNIT}|公里|千米|米|余|多|条|处))",
         lambda m: m[1] + digits(m[2])),
        (r"(?<![\d.])(\d{3})(?=(?:国|省|县|乡)道)", lambda m: digits(m[1])),
        (rf"(?<![A-Za-z])([A-Z]{{0,2}}[Kk])(\d+)(?:\+(\d+(?:\.\d+)?))?(?:\s*({_DASH})\s*([A-Z]{{0,2}}[Kk])?(\d+)(?:\+(\d+))?)?"
         r"(?![\d.]\d|[A-Za-ln-z]|m[A-Za-z])",
         _chainage),
        (r"(?<![A-Za-z\d.])([A-Za-z]+)-(?=\d)", r"\1"),
        (r"PM\s*(?=\d)", "PM"),
        (r"(?<=[A-Za-z])(?<!\d[A-Za-z])\d{3,}(?!\.\d)", lambda m: digits(m[0])),
        # Positions.
        (rf"(?:(?<![A-Za-z])([NSEW])\s*)?(?<!\d)({_N})°(?:\s*({_N})[′'’＇](?:\s*({_N})[″\"”＂])?)?(?![CF])"
         r"\s*(?:([NSEW])(?![A-Za-z]))?",
         _position),
        (rf"(?<=[度分秒])\s*{_DASH}\s*(?=(?:[东西]经|[南北]纬)?[零一二三四五六七八九十百点]+度)", "到"),
        (r"(?<![\d.])(\d{1,3})['′’](\d{1,2})[\"″”](?![A-Za-z\d])",
         lambda m: f"{quantity(m[1])}分{quantity(m[2])}秒"),
        (r"(?<![A-Za-z])([NSEW])(\d{1,3}\.\d+)()()()(?!\d)|(?<![\d.])(\d{1,3}\.\d+)([NSEW])(?![A-Za-z])",
         lambda m: f"{_WHERE[m[1] or m[7]]}{quantity(m[2] or m[6])}度"),
        # Signs.
        (r"(?<=[\dA-Za-z零一二三四五六七八九十])\s*\+\s*(?=\d)", "加"), (r"\+(?=\d)", "正"),
        (r"[↑⬆](?=\s*\d)", "上升"), (r"[↓⬇](?=\s*\d)", "下降"), (r"[↑⬆]", "以上"), (r"[↓⬇]", "以下"),
        (r"[→➜]", "到"), (r"[≈≒]", "约等于"),
        # Powers.
        (r"(?<!\s)\s*[×xX*]\s*10\s*(?:\^\s*(\d+)|([⁰¹²³⁴-⁹]+))(?!\d)",
         lambda m: f"乘十的{quantity(unicodedata.normalize('NFKC', m[1] or m[2]))}次方"),
        (rf"(?<![\d.A-Za-z])({_N})(?:\^(-?\d{{1,3}})|([⁻]?[⁰¹²³⁴-⁹]+))(?!\d)", _power),
        # Units by units, also where a word or nothing stands before them.
        (rf"(?<=[\d{numeral[1:-1]}])\s*{_PER}(?![A-Za-z²³])", _per),
        (r"(?<![A-Za-z\d])(m|km|m³|m3|μg|mg|mm)/()(s|h|m³|m3|d|L)(?![A-Za-z\d²³])", _per),
        (rf"(?<={numeral})\s*({_UNIT}){_UNIT_END}", lambda m: _UNITS[m[1]]),
        (r"(?<![A-Za-z\d ])(℃|hPa|kV|km²|km|cm|mm|m³|m²)(?![A-Za-z\d²³/])", lambda m: _UNITS[m[1]]),
        (rf"(?<!\d)({_N})\s*h\s*(?=\d+\s*min)", lambda m: quantity(m[1]) + "小时"),
        (r"(?<=\d)[wW](?=[余多]?[人元户])", "万"),
        (rf"(?<![\d.])({_N})\s*([万亿])\s*{_DASH}\s*(?={_N}\s*[万亿])", r"\1\2到"),
        # Ranges; a sign is a sign only where no number stands before it.
        (rf"(?<![\d.A-Za-z])({_MINUS})?({_N})\s*{ranged}\s*{_DASH}\s*({_MINUS})?({_N})\s*{ranged}(?![\d.]\d)(?![A-Za-z/])",
         _range),
        (rf"(?<![\d.A-Za-z]){_MINUS}({_N})(?=\s*(?:℃|°C|{_TEMPERATURE})?\s*[至到和、]\s*{_MINUS}?{_N}\s*(?:℃|°C|{_TEMPERATURE}))",
         lambda m: "零下" + quantity(m[1])),
        (rf"(?<!\d)({_N})\s*([至到])\s*(?={_MINUS}?\d)", r"\1\2"),
        (rf"(?<=[级月号度米克人户次个%℃层楼栋组秒])\s*{_DASH}\s*(?=\d|正\d)", "到"),
        (rf"(?<=[日天]){_DASH}\s*(?=\d+(?![.\d]))", "到"),
        # Signed and measured amounts.
        (rf"(?<![\d.A-Za-z]){_MINUS}({_N})\s*([%‰])",
         lambda m: ("负百分之" if m[2] == "%" else "负千分之") + quantity(m[1])),
        (rf"(?<![\d.A-Za-z])({_MINUS})?({_N})\s*({_UNIT}){_UNIT_END}", _measured),
        (rf"(?<![\d.A-Za-z]){_MINUS}({_N})(?=\s*{_TEMPERATURE})", lambda m: "零下" + quantity(m[1])),
        (rf"(?<![\d.A-Za-z]){_MINUS}({_N})", lambda m: "负" + quantity(m[1])),
        (rf"(?<!\d)({_N})\s*%", lambda m: "百分之" + ("百" if m[1] == "100" else quantity(m[1]))),
        (rf"(?<!\d)({_N})\s*‰", lambda m: "千分之" + quantity(m[1])),
        (r"(?<![零一二三四五六七八九十百千万点])([零一二三四五六七八九十百千万点]+[多余几]?)\s*%",
         r"百分之\1"),
        (r"(?<![\d./])(\d{1,5})/(\d{1,5})(?![\d/.])", _fraction),
        (r"≥|≧|>=", "大于等于"), (r"≤|≦|<=", "小于等于"), (r"[>＞]", "大于"), (r"[<＜]", "小于"),
        (r"[±]", "正负"),
        (r"(?<=[\d零一二三四五六七八九十百千米])\s*[×✕*]\s*(?=\d)", "乘"), (r"×", "乘"), (r"÷", "除以"),
        (rf"(?<=[\dA-Za-z])\s*[=＝]\s*(?=[\dA-Za-z])|(?<={hz})\s*[=＝]\s*(?={hz})", "等于"),
        (r"[&＆]", "和"), (rf"(?<={hz})[/／](?={hz})", "、"),
        # One 2: 两 before what is counted, 二 before what is numbered.
        (r"(?<![\d.第A-Za-z])2(?=年(?![级度代月])|时(?=间|段|长))", "两"),
        (rf"(?<![\d.第A-Za-z])2(?={_PAIRED})", "两"),
        (r"(?<![\d.])2(?![\d.]\d|\d)", "二"),
        # Codes and amounts.
        (r"(?<![\d.])(0\d+|\d{17,})(?![\d.])", lambda m: digits(m[1])),
        (r"(?<!\d)\d+(?:\.\d+){2,}", lambda m: "点".join(map(quantity, m[0].split(".")))),
        (_N, lambda m: quantity(m[0])),
        # What is left of signs between words.
        (rf"(?<={hz}|[”』」)）])\s*(?:[~～∼〜]+)\s*(?={hz}|[“『「(（])", "到"),
        (r"(?<=[A-Za-z])-(?=[A-Za-z])", ""), (r"(?<=[A-Za-z])\s*[/／]\s*(?=[克升吨天秒小分立平])", "每"),
        (r"\s*[/／]\s*", "、"), (r"[*^_|~～]+", ""),
        # Spaces between Chinese are no pause.
        (rf"(?<={hz})[ \t]+(?={hz})", ""),
    ]  # fmt: skip
    return tuple((re.compile(pattern), put) for pattern, put in table)


def _zero_led(number: str, unit: str) -> str:
    value = quantity(str(int(number)))
    return "零" + value if unit in "分秒" and int(number) else value


_RULES: Final = _rules()
_SAME: Final = {
    "㎡": "m²",
    "㎥": "m³",
    "µ": "μ",
    "㎎": "mg",
    "㎍": "μg",
    "㎾": "kW",
    "㎐": "Hz",
    "㏄": "毫升",
    "￥": "¥",
    **dict.fromkeys("\u00a0\u3000\u2002\u2003\u2009\u202f", " "),
}
_CHINESE: Final = "零一二三四五六七八九十"
_ZERO: Final = re.compile(
    rf"〇|(?<=[{_CHINESE}])[○◯Oo0](?=[{_CHINESE}〇○◯Oo0]|[年号日月](?!\d))|(?<=[{_CHINESE}][○◯Oo0])[○◯Oo0](?=[{_CHINESE}年])"
)
_FORMULA: Final = re.compile(
    rf"(?<![A-Za-z\d])(?:CO2|SO2|NO2|NOx|H2S|NH3|CH4|SF6|Cl2|HCl)(?![A-Za-z\d])"
    rf"|(?<![A-Za-z\d])(?:{_ALSO_LABELS})(?![A-Za-z\d])(?=\s*(?:{_OF_GAS}))"
    rf"|(?<=[、和及])(?:{_ALSO_LABELS})(?![A-Za-z\d])(?=[、和及]|(?:同时)?超标)"
)
_SHOUTED: Final = re.compile(
    r"(?<=\d)\s*(?:MM/\d*H|KM/H|M/S|M[3³]/S|L/S|MM|CM|KM|KG|MG|ML|HPA|KPA|M[3²³]?)(?![A-Za-z\d/²³])"
)
"""Units in capitals: 50MM, 25M/S, 500M³/S."""
_SPACED_THOUSANDS: Final = re.compile(
    r"(?<![\d.,:-])(?<!\d )[1-9]\d{0,2}(?: \d{3})+(?=\s*[余多万亿个人户名元毫米立吨平亩公千头株])"
)
_ROMAN_NUMERAL: Final = re.compile("[Ⅰ-Ⅻⅰ-ⅻ]")
_LISTED: Final = re.compile("[①-⑳⒈-⒛❶-❿⓵-⓾]")
_BRACKETED: Final = re.compile("[⑴-⒇㈠-㈩]")


def _plain(text: str) -> str:
    """Full-width digits, letters and unit signs as their usual selves; punctuation stays Chinese."""
    text = re.sub(r"(?<=[０-９])，(?=[０-９]{3}(?![０-９]))", ",", text)
    text = re.sub("[\ufe0e\ufe0f\u200b-\u200f\u2060\ufeff\u00ad]", "", text)
    text = _ROMAN_NUMERAL.sub(lambda m: quantity(str(int(unicodedata.numeric(m[0])))), text)
    text = re.sub("(?<=[0-9０-９])[\ufe0e\ufe0f]?\u20e3", "、", text)
    text = _LISTED.sub(
        lambda m: (
            ("，" if m.string[m.start() - 1 : m.start()].isalnum() else "")
            + quantity(str(int(unicodedata.numeric(m[0]))))
            + "、"
        ),
        text,
    )
    text = _BRACKETED.sub(lambda m: "（" + quantity(str(int(unicodedata.numeric(m[0])))) + "）", text)
    text = re.sub(r"(?<![A-Za-z])(?:SO|CO|NO|O|H|N|Cl|CH|NH|SF)[₂₃₄₆]S?(?![A-Za-z])", _gas, text)
    out = []
    for c in text:
        if (
            "０" <= c <= "９"
            or "Ａ" <= c <= "Ｚ"
            or "ａ" <= c <= "ｚ"
            or "₀" <= c <= "₉"
            or c in "％＋．／㎜㎝㎞㎏＃＊℉"
        ):
            out.append(unicodedata.normalize("NFKC", c))
        else:
            out.append(_SAME.get(c, c))
    plain = (
        re.sub(r"(?<=\d)\s*(?:°\s*C|º\s*C|度C)(?![A-Za-z])", "℃", "".join(out))
        .replace("°C", "℃")
        .replace("º", "°")
    )
    plain = _ZERO.sub("零", plain)
    plain = _FORMULA.sub(_gas, plain)
    plain = re.sub(
        r"(?<![A-Za-z\d])[Xx×]{2,}(?=[\u3400-\u9fff])|(?<![A-Za-z\d])[X×](?=[月日时年县乡镇村市区])",
        lambda m: "某某" if len(m[0]) > 1 else "某",
        plain,
    )
    plain = _SHOUTED.sub(lambda m: m[0].lower().replace("kpa", "kPa").replace("hpa", "hPa"), plain)
    plain = _SPACED_THOUSANDS.sub(lambda m: m[0].replace(" ", ""), plain)
    return re.sub(r"(?<=\d)[：∶](?=[0-5]\d)", ":", plain)


def _gas(m: re.Match[str]) -> str:
    return _GASES.get(unicodedata.normalize("NFKC", m[0]), m[0])


def prepare(text: str) -> str:
    """All the rules, in order. No digit is left."""
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


def pronounced(
    text: str, readings: Mapping[str, tuple[str, ...]], *, names_only: bool = False
) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    """`text` in runs, in order, none lost: each with its syllables where they are known (`readings`, as of
    `check_readings`, before `tts.names`), else with None: the voice's own dictionary says it."""
    traps = _TRAPS_IN_NAMES if names_only else _TRAPS
    names = sorted(readings, key=len, reverse=True)
    pieces = re.split("(" + "|".join(map(re.escape, names)) + ")", text) if names else [text]
    for piece in pieces:
        if piece in readings:
            yield piece, readings[piece]
            continue
        done = 0
        for trap in traps.finditer(piece):
            if trap.start() > done:
                yield piece[done : trap.start()], None
            yield trap[0], _SYLLABLES[trap.lastindex or 0]
            done = trap.end()
        if done < len(piece):
            yield piece[done:], None


def respelled(words: str, readings: Mapping[str, tuple[str, ...]]) -> str:
    """Normalised `words` for a voice that takes no pinyin: in names whose syllables are known, a character
    that may be said otherwise gives its place to one that may not (单县 → 擅县). As long as `words`; a
    syllable that no such character has stays as written."""
    out: list[str] = []
    for piece, syllables in pronounced(words, readings, names_only=True):
        for character, syllable in zip(piece, syllables or piece, strict=True):
            known = syllables is None or _sounds(character) == [syllable]
            out.append(character if known else _only().get(syllable, character))
    return "".join(out)


def _sounds(character: str) -> list[str]:
    """All syllables that the dictionary has for it."""
    from pypinyin.constants import PINYIN_DICT
    from pypinyin.contrib.tone_convert import to_tone3

    marked = PINYIN_DICT.get(ord(character), "").split(",")
    return [to_tone3(sound, neutral_tone_with_five=True).replace("v", "ü") for sound in marked]


@cache
def _only() -> dict[str, str]:
    """Syllable → the first of the 3,755 most common characters (GB/T 2312, level 1) that is said only so."""
    level = bytes(b for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF) for b in (row, cell))
    found: dict[str, str] = {}
    for character in level.decode("gb2312", "ignore"):
        if len(sounds := _sounds(character)) == 1:
            found.setdefault(sounds[0], character)
    return found


def _entries(lines: str) -> list[list[str]]:
    return [line.rsplit("  ", 1) for line in lines.splitlines() if line]


def _traps(lines: str) -> re.Pattern[str]:
    return re.compile("|".join(f"({pattern.strip()})" for pattern, _ in _entries(lines)), re.VERBOSE)


_TRAPS_IN_NAMES: Final = _traps(NAMES)
_TRAPS: Final = _traps(NAMES + WORDS)
_SYLLABLES: Final = {
    number: tuple(said.split()) for number, (_, said) in enumerate(_entries(NAMES + WORDS), 1)
}


def read(text: str) -> str:
    """`text` in words, as it will be said: no digit is left and no Chinese character of it is lost."""
    return plainly(prepare(text))
