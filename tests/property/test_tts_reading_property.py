"""Reading loses nothing: no digit stays, no Chinese character goes, amounts keep their value."""

import cn2an
from hypothesis import given, settings
from hypothesis import strategies as st

from tts.reading import hanzi, prepare, pronounced, quantity, read

_UNITS = [
    "毫米",
    "米",
    "公里",
    "级",
    "℃",
    "mm",
    "m/s",
    "km/h",
    "%",
    "人",
    "小时",
    "天",
    "立方米每秒",
    "hPa",
    "户",
    "",
]
_DASHES = ["-", "~", "～", "—", "–", "至", "到"]

numbers = st.one_of(
    st.integers(0, 10**13).map(str),
    st.decimals(0, 10_000, places=2, allow_nan=False, allow_infinity=False).map(lambda d: f"{d:f}"),
)
times = st.builds(lambda h, m: f"{h}:{m:02d}", st.integers(0, 23), st.integers(0, 59))
dates = st.builds(
    lambda y, m, d: f"{y}-{m:02d}-{d:02d}", st.integers(1950, 2099), st.integers(1, 12), st.integers(1, 28)
)
amounts = st.builds(lambda n, u: n + u, numbers, st.sampled_from(_UNITS))
ranges = st.builds(
    lambda a, dash, b, u: f"{a}{dash}{b}{u}",
    numbers,
    st.sampled_from(_DASHES),
    numbers,
    st.sampled_from(_UNITS),
)
phones = st.from_regex(r"(1[3-9][0-9]{9}|0[0-9]{2,3}-[0-9]{7,8}|12379|119)", fullmatch=True)
words = st.sampled_from(
    ["预计", "降雨量将达", "请于", "前转移", "风力", "水位涨到", "拨打电话", "编号", "，", "。", "在舟曲县"]
)
sentences = st.lists(st.one_of(words, amounts, ranges, times, dates, phones), min_size=1, max_size=7).map(
    "".join
)


@given(sentences)
@settings(max_examples=300, deadline=None)
def test_no_digit_stays_and_no_word_is_lost(text: str) -> None:
    spoken = read(text)
    assert not any(c.isdigit() for c in spoken), (text, spoken)
    rest = iter(hanzi(spoken).replace("两", "二"))
    assert all(c in rest for c in hanzi(text) if c != "至"), (text, spoken)


@given(sentences)
@settings(max_examples=200, deadline=None)
def test_the_rules_lose_no_word(text: str) -> None:
    rest = iter(hanzi(prepare(text)))
    assert all(c in rest for c in hanzi(text) if c != "至"), (text, prepare(text))


@given(st.integers(0, 10**12 - 1))
@settings(max_examples=500, deadline=None)
def test_a_quantity_read_back_has_its_value(value: int) -> None:
    assert cn2an.cn2an(quantity(str(value)), "smart") == value


@given(st.integers(0, 99_999), st.sampled_from(["毫米", "公里", "人", "户"]))
@settings(max_examples=300, deadline=None)
def test_an_amount_in_a_sentence_keeps_its_value(value: int, unit: str) -> None:
    spoken = read(f"预计达{value}{unit}以上。")
    number = spoken.removeprefix("预计达").removesuffix(f"{unit}以上。").replace("两", "二")
    assert cn2an.cn2an(number, "smart") == value


@given(st.integers(-60, -1), st.integers(-60, 60))
@settings(max_examples=200, deadline=None)
def test_frost_never_becomes_warmth(low: int, high: int) -> None:
    spoken = read(f"气温{low}～{high}℃")
    sign = "零下" if high < 0 else ""
    assert spoken == f"气温零下{quantity(str(-low))}到{sign}{quantity(str(abs(high)))}摄氏度"


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_text_makes_the_reader_raise(text: str) -> None:
    spoken = read(text)
    assert not any(c in "0123456789" for c in spoken)


@given(st.text(st.sampled_from("长洪洞宕昌为暴雨地安全迅速得涨，。三十米县"), max_size=40))
@settings(max_examples=300, deadline=None)
def test_cutting_a_text_at_its_names_loses_nothing(text: str) -> None:
    runs = list(pronounced(text, {"昌县": ("chang1", "xian4")}))
    assert "".join(run for run, _ in runs) == text
    assert all(len(run) == len(said) for run, said in runs if said is not None)
