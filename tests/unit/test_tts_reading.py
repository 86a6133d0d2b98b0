"""What will be said: the 30 goldens of the brief, and the forms that warnings use in the field."""

import re
import time
import unicodedata
from pathlib import Path

import pytest

from tts.reading import ReadingError, check_readings, hanzi, quantity, read, spell_letters

_FIXTURES = Path(__file__).parents[1] / "fixtures" / "speech"
_GOLDENS = Path(__file__).parents[2].parent / "shared" / "data" / "speech" / "normalisation_30.tsv"

CASES = [
    ("请2人一组", "请两人一组"),
    ("气温-15℃～-5℃", "气温零下十五到零下五摄氏度"),
    ("气温-5~3℃", "气温零下五到三摄氏度"),
    ("夜间降到-8度", "夜间降到零下八度"),
    ("0℃", "零摄氏度"),
    ("±3℃", "正负三摄氏度"),
    ("风力5-6级", "风力五到六级"),
    ("阵风7－8级", "阵风七到八级"),
    ("震级8.5-9.0级", "震级八点五到九点零级"),
    ("70～100毫米", "七十到一百毫米"),
    ("湿度60%-80%", "湿度百分之六十到百分之八十"),
    ("持续3～5天", "持续三到五天"),
    ("15日-17日", "十五日到十七日"),
    ("4月-6月", "四月到六月"),
    ("10:00-12:00", "十点到十二点"),
    ("18:30—20:30", "十八点三十分到二十点三十分"),
    ("凌晨2:00", "凌晨两点"),
    ("7月16日2时30分", "七月十六日二时三十分"),
    ("2小时内", "两小时内"),
    ("雷电&大风", "雷电和大风"),
    ("12:00:30", "十二点零分三十秒"),
    ("7月15日08时05分", "七月十五日八时零五分"),
    ("2026/8/22 14:10", "二零二六年八月二十二日十四点十分"),
    ("20260715", "二零二六年七月十五日"),
    ("2026年", "二零二六年"),
    ("300年一遇", "三百年一遇"),
    ("2000年一遇", "二千年一遇"),
    ("发布时间2015 年6 月24 日15 时30 分", "发布时间二零一五年六月二十四日十五时三十分"),
    ("大风蓝色预警[Ⅳ级/一般]", "大风蓝色预警[四级、一般]"),
    ("20260715203000", "二零二六年七月十五日二十点三十分"),
    ("17:00分", "十七点零分"),
    ("17:30分", "十七点三十分"),
    ("17:00时", "十七时"),
    ("-5%", "负百分之五"),
    ("3:45 PM", "下午三点四十五分"),
    ("1h30min", "一小时三十分钟"),
    ("3#楼", "三号楼"),
    ("No.3机组", "三号机组"),
    ("$500", "五百美元"),
    ("50℉", "华氏五十度"),
    ("周一～周五", "周一到周五"),
    ("Ⅳ→Ⅲ级", "四到三级"),
    ("4-2-501", "四二五零一"),
    ("7/8日", "七、八日"),
    ("转移1.2w余人", "转移一点二万余人"),
    ("五十%", "百分之五十"),
    ("2026-07", "二零二六年七月"),
    ("0.1.2版", "零点一点二版"),
    ("980hPa", "九百八十百帕"),
    ("110kV线路", "一百一十千伏线路"),
    ("雨强20mm/h", "雨强二十毫米每小时"),
    ("流量12m³/s", "流量十二立方米每秒"),
    ("水深2m", "水深两米"),
    ("面积3.5km²", "面积三点五平方公里"),
    ("PM2.5浓度", "PM二点五浓度"),
    ("水位±0.5m", "水位正负零点五米"),
    ("降水＞50mm", "降水大于五十毫米"),
    ("１２３人", "一百二十三人"),
    ("①转移", "一、转移"),
    ("IV级响应", "四级响应"),
    ("Ⅱ级响应", "二级响应"),
    ("拨打12379或119", "拨打幺二三七九或幺幺九"),
    ("报警电话110、火警119、急救120", "报警电话幺幺零、火警幺幺九、急救幺二零"),
    ("降雨120毫米，转移119户110人", "降雨一百二十毫米，转移一百一十九户一百一十人"),
    ("值班电话0939-5122345、5122346", "值班电话零九三九五幺二二三四五、五幺二二三四六"),
    ("报警120人", "报警一百二十人"),
    ("G212线K35+200处", "G二一二线K三十五加二百处"),
    ("S313省道", "S三一三省道"),
    ("北纬33.8°，东经104.4°", "北纬三十三点八度，东经一百零四点四度"),
    ("编号GS-2026-001", "编号GS二零二六零零一"),
    ("12,500人", "一万二千五百人"),
    ("1.5亿元", "一点五亿元"),
    ("比例1:500", "比例一比五百"),
    ("占1/3", "占三分之一"),
    ("COVID-19", "COVID十九"),
    ("千分之几，3‰", "千分之几，千分之三"),
    ("24h内100mm以上", "二十四小时内一百毫米以上"),
]


def _rows(file: Path) -> list[list[str]]:
    lines = file.read_text("utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def _pattern(spoken: str) -> str:
    parts = re.split(r"(\[[^\]]*\])", spoken)
    return "".join(
        "(?:" + "|".join(map(re.escape, part[1:-1].split("|"))) + ")" if part[:1] == "[" else re.escape(part)
        for part in parts
    )


def _wrong(rows: list[list[str]]) -> list[tuple[str, str, str]]:
    return [(said, read(said), want) for said, want in rows if not re.fullmatch(_pattern(want), read(said))]


def test_all_thirty_goldens_are_read_as_written_down() -> None:
    if not _GOLDENS.exists():
        pytest.skip("shared/data/speech/normalisation_30.tsv is not on this machine")
    rows = _rows(_GOLDENS)
    assert len(rows) == 30
    assert _wrong(rows) == []


def test_150_sentences_written_before_the_rules_are_read_right() -> None:
    rows = _rows(_FIXTURES / "reading_150.tsv")
    assert len(rows) == 150
    assert _wrong(rows) == []


def _bare(text: str) -> str:
    return "".join(c for c in text if unicodedata.category(c)[0] in "LN")


def test_200_sentences_written_without_a_look_at_the_rules_are_read_right() -> None:
    rows = _rows(_FIXTURES / "reading_200.tsv")
    assert len(rows) == 200
    wrong = [
        (written, read(written), spoken)
        for _, written, spoken in rows
        if not re.fullmatch(_pattern(re.sub(r"[、，。：；！“”（）《》]", "", spoken)), _bare(read(written)))
    ]
    assert wrong == []


_HARD = _rows(_FIXTURES / "reading_hard.tsv")


@pytest.mark.parametrize("category", sorted({row[0] for row in _HARD}))
def test_hard_forms_are_read_right(category: str) -> None:
    rows = [row[1:] for row in _HARD if row[0] == category]
    assert len(rows) >= 3
    assert _wrong(rows) == []


@pytest.mark.parametrize(
    "flood",
    ["1" * 20_000, "一" * 20_000, " " * 20_000, "1-" * 10_000, "1.1" * 7_000, "K1+" * 7_000, "、1" * 10_000,
     "1 " * 10_000, "1/" * 10_000, "1:" * 10_000, "AB" * 10_000],
)  # fmt: skip
def test_a_flood_of_digits_is_read_in_time_that_grows_with_its_length(flood: str) -> None:
    began = time.process_time()
    assert not any(c.isdigit() for c in read(flood))
    assert time.process_time() - began < 20  # squared, it would be minutes


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_forms_of_the_field_are_read_right(written: str, spoken: str) -> None:
    assert read(written) == spoken


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("0", "零"), ("10", "十"), ("11", "十一"), ("110", "一百一十"), ("1005", "一千零五"),
        ("10010", "一万零一十"), ("100000", "十万"), ("1000001", "一百万零一"), ("20000005", "二千万零五"),
        ("100010000", "一亿零一万"), ("0018", "零零一八"), ("3.05", "三点零五"),
        ("12345678901234567", "一二三四五六七八九零一二三四五六七"),
    ],
)  # fmt: skip
def test_quantities_have_their_zeros(number: str, words: str) -> None:
    assert quantity(number) == words


def test_letters_are_named_so_that_the_voice_does_not_drop_them() -> None:
    spelled = spell_letters(read("G56高速"))
    assert spelled == "记五六高速"
    assert all(hanzi(spell_letters(letter)) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def test_place_readings_are_checked() -> None:
    assert check_readings({"舟曲": "zhou1 qu3", "绿春": "lv4 chun1"}) == {
        "舟曲": ("zhou1", "qu3"),
        "绿春": ("lü4", "chun1"),
    }
    for name, pinyin in [("舟曲", "zhou1"), ("舟曲", "zhou qu"), ("Zhouqu", "zhou1 qu3"), ("", "")]:
        with pytest.raises(ReadingError, match="reading of"):
            check_readings({name: pinyin})
