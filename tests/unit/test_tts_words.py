"""The Mandarin words: complete, short, the action in time; a notice is no warning, a downgrade is no end."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from alerts import hazards
from alerts.model import Colour
from config.counties import load_county, shipped
from tts.cleaning import clean
from tts.phrases import slots_of
from tts.reading import hanzi, read
from tts.script import (
    ACTION_WITHIN_S,
    SECONDS_BETWEEN,
    SECONDS_PER_SYLLABLE,
    Script,
    ScriptError,
    ScriptRequest,
    compose,
)
from tts.slots import Role
from tts.structure import parse_templates
from tts.templates import load

ZH = load("zh")
ISSUED = datetime(2026, 7, 15, 12, 30, tzinfo=UTC)
STAGES = ("first", "update", "continuation", "downgrade", "cancel")
KEYS = [h.key for h in (*hazards.HAZARDS, hazards.UNKNOWN)]
WARNINGS = [key for key in KEYS if key not in hazards.NOTICES]
# The longest issuer and township names in use (民政部 list of 2025-12-31).
LONG_ISSUER = "积石山保安族东乡族撒拉族自治县突发事件预警信息发布中心"
LONG_PLACES = (
    ("友谊达斡尔族满族柯尔克孜族乡",),
    ("军赛佤族拉祜族傈僳族德昂族乡", "大雪山彝族拉祜族傣族乡"),
    tuple(
        f"{a}{b}双语寄宿制牧民定居点村" for a in "甲乙丙丁戊己庚辛壬癸" for b in "子丑寅卯辰巳午未申酉戌亥"
    ),
    ("大川镇", "峰迭镇"),
    (),
)
BASE = ScriptRequest(
    kind="actual",
    stage="first",
    hazard="rainstorm",
    colour=Colour.ORANGE,
    issuer="舟曲县气象局",
    issued=ISSUED,
    places=("大川镇", "峰迭镇"),
    expires=ISSUED + timedelta(hours=6),
)


def said(**change: object) -> Script:
    return compose(replace(BASE, **change), ZH)  # type: ignore[arg-type]


def first_ten(script: Script) -> float:
    """Seconds until the action has been said: syllables as they are read, at the measured pace."""
    end = next(i for i, s in enumerate(script.said) if s.role is Role.ACTION)
    spoken = script.sentences[: end + 1]
    return sum(map(syllables, spoken)) * SECONDS_PER_SYLLABLE + end * SECONDS_BETWEEN


def syllables(sentence: str) -> int:
    return len(hanzi(re.sub(r"\d+个", lambda m: spoken(m[0]), sentence)))


@cache
def spoken(number: str) -> str:
    return read(number)


@pytest.mark.parametrize("hazard", KEYS)
def test_the_action_is_said_within_ten_seconds_whatever_the_place_is_called(hazard: str) -> None:
    for colour, stage, places in product((Colour.RED, Colour.BLUE, None), STAGES, LONG_PLACES[:3]):
        script = said(hazard=hazard, colour=colour, stage=stage, places=places, issuer=LONG_ISSUER)
        assert first_ten(script) <= ACTION_WITHIN_S, script.sentences[:3]
        for place in places[:1]:
            assert place in script.text  # named later, where it did not fit into the lead
        assert LONG_ISSUER in script.text


def test_the_longest_names_of_the_national_list_leave_the_action_in_time() -> None:
    file = Path(__file__).parents[2].parent / "shared/data/geo/cn_townships_mca_20251231.csv"
    if not file.is_file():
        pytest.skip("the shared list of townships is not here")
    with file.open(encoding="utf-8") as rows:
        names = sorted({row["name"] for row in csv.DictReader(rows)}, key=len)[-40:]
    for place, hazard, stage in product(names, ("chemical", "geological", "wildland_fire_risk"), STAGES):
        script = said(places=(place, place[::-1]), hazard=hazard, stage=stage, colour=Colour.RED)
        assert first_ten(script) <= ACTION_WITHIN_S
        assert place in script.text


def test_every_village_of_our_packs_is_named() -> None:
    for pack in shipped():
        for village in load_county(pack).county.villages:
            script = said(places=(village.name,))
            assert first_ten(script) <= ACTION_WITHIN_S
            assert village.name in script.text
            assert len(re.findall(r"\d", script.sentences[1])) == 0


@pytest.mark.parametrize("hazard", KEYS)
def test_every_hazard_has_words_of_its_own(hazard: str) -> None:
    if hazard == "unknown":
        return
    assert hazard in ZH.hazards, "a hazard of the catalogue without sentences"
    own = ZH.hazards[hazard]
    assert set(own.actions) == set(Colour)
    assert own.severe
    assert own.mild
    for action in own.actions.values():
        assert action.startswith(("请", "严禁", "禁止")) or "请" in action
        assert action.endswith("。")
    for sentence in (*own.actions.values(), *own.severe, *own.mild):
        assert len(hanzi(sentence)) <= 30, "a sentence that nobody keeps in mind"


def test_a_worse_colour_never_asks_less() -> None:
    for hazard in WARNINGS:
        for worse, milder in (("red", "blue"), ("orange", "blue"), ("red", "yellow")):
            actions = ZH.hazard(hazard).actions
            if hazard != "ozone":
                assert actions[Colour(worse)] != actions[Colour(milder)] or hazard == "road_ice", hazard


def test_every_line_of_the_file_is_used_and_has_known_slots() -> None:
    lines = ZH.lines()
    assert len(lines) > 300
    for line in lines:
        slots_of(line)
        assert "预警预警" not in line
        assert not re.search(r"\{colour\}\{colour\}|。。|，，", line)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("hazard", sorted(hazards.NOTICES))
@pytest.mark.parametrize("kind", ["actual", "exercise"])
def test_a_notice_never_sounds_like_a_warning(hazard: str, stage: str, kind: str) -> None:
    for colour in (None, *Colour):
        script = said(hazard=hazard, stage=stage, kind=kind, colour=colour, description="计划检修管道。")
        for word in ("预警", "警报", "紧急", "立即", "马上撤", "请注意，请注意", "红色", "橙色", "危险"):
            assert word not in script.text, word
        assert "通知，通知。" in script.sentences
        assert hazards.by_key(hazard).zh in script.text
        assert "舟曲县气象局7月15日20时30分" in script.text
        assert ("演练" in script.text) == (kind == "exercise")


def test_a_notice_of_the_end_does_not_tell_to_store_water() -> None:
    script = said(hazard="water_outage", stage="cancel", colour=None)
    assert "大川镇、峰迭镇，供水已经恢复。" in script.sentences
    assert "存好水" not in script.text


def test_a_warning_that_speaks_of_a_power_cut_is_not_taken_for_a_notice() -> None:
    for text in ("台风可能造成停电停水", "暴雨预警，请防范停电", "因大风停电", "power outage due to gale"):
        assert hazards.find(text).hazard.key not in hazards.NOTICES
    assert hazards.find("停电通知").hazard.key == "power_outage"


def test_a_downgrade_says_what_holds_now_and_that_it_is_not_over() -> None:
    script = said(stage="downgrade", colour=Colour.YELLOW, was=Colour.RED)
    assert script.sentences[1] == "大川镇、峰迭镇，暴雨预警降为黄色。"
    assert "舟曲县气象局7月15日20时30分把暴雨预警由红色降为黄色，请以这次为准。" in script.sentences
    assert script.sentences[2] == ZH.hazards["rainstorm"].actions[Colour.YELLOW]
    assert "危险减轻了，但还没有过去。" in script.sentences
    assert "解除" not in script.text


def test_a_downgrade_from_an_unknown_colour_does_not_make_one_up() -> None:
    script = said(stage="downgrade", colour=Colour.BLUE)
    assert "把暴雨预警降为蓝色" in script.text
    assert "由" not in script.text


def test_a_downgrade_to_no_colour_is_an_update() -> None:
    assert said(stage="downgrade", colour=None, was=Colour.RED).sentences[1].startswith("预警更新，")


@pytest.mark.parametrize("stage", STAGES)
def test_an_order_to_leave_is_an_order_at_every_stage(stage: str) -> None:
    text = said(hazard="evacuation", stage=stage, colour=Colour.RED).text
    assert "预警降为" not in text
    assert "危险减轻" not in text
    assert "紧急转移红色预警" not in text
    assert ("解除" in text) == (stage == "cancel")


def test_the_end_of_an_epidemic_does_not_speak_of_the_weather() -> None:
    assert "天气" not in said(hazard="epidemic", stage="cancel").text


def test_without_a_colour_nothing_is_left_of_it() -> None:
    for hazard, stage in product(KEYS, STAGES):
        text = said(hazard=hazard, stage=stage, colour=None).text
        assert "None" not in text
        assert "降为。" not in text
        assert not re.search("[红橙黄蓝]色", text)


def test_mandarin_is_said_by_somebody_who_answers_for_it() -> None:
    import tomllib
    from importlib import resources

    text = (resources.files("tts.templates") / "zh.toml").read_text("utf-8")
    draft = parse_templates(
        tomllib.loads(text.replace('status = "reviewed"', 'status = "draft"')), where="draft.toml"
    )
    with pytest.raises(ScriptError, match="draft, not reviewed"):
        compose(BASE, draft)
    assert ZH.origin.by
    assert ZH.origin.on is not None


# --- what a source writes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("气温<5℃，风速>10米每秒。", ["气温<5℃，风速>10米每秒。"]),
        ("<script>alert(1)</script><p>水位<b>上涨</b></p>", ["水位上涨。"]),
        ("&lt;b&gt;有雨&lt;/b&gt;，道路湿滑&#65292;慢行。", ["有雨，道路湿滑，慢行。"]),
        ("有大雨，请注意防范。", ["有大雨。"]),
        ("有大雨，请有关单位和人员作好防范准备。", ["有大雨。"]),
        ("雨量较大,请注意防范山洪。", ["雨量较大，请注意防范山洪。"]),
        (
            "海淀区气象台29日07时25分发布大风蓝色预警,预计,当前至29日16时,海淀区将有3、4级偏北风,阵风6、7级,请注意防范。",
            ["预计，当前至29日16时，海淀区将有3、4级偏北风，阵风6、7级。"],
        ),
        ("县政府解除预警，群众可以返回。", ["县政府解除预警，群众可以返回。"]),
        ("预计6小时内，我县...", []),
        ("预计6小时内全县大部有暴雨，局地冰雹，最大…", ["预计6小时内全县大部有暴雨，局地冰雹。"]),
        ("达黄色警戒(相关资讯请上资讯网( http://246.example.tw/ )查询)", ["达黄色警戒。"]),
        ("关注“舟曲气象”微信公众号了解更多。河水上涨。", ["河水上涨。"]),
        ("详情登录 www.12379.cn 查询。水位上涨。", ["水位上涨。"]),
        ("请登录weather.cma.cn/web查看。水位上涨。", ["水位上涨。"]),
        ("防御指南：1、关好门窗，2、不要外出；3、远离河道", ["关好门窗。", "不要外出。", "远离河道。"]),
        ("关好门窗。请关好门窗。", ["关好门窗。"]),
        ("[停课通知]大川镇：今天停课。", ["停课通知，大川镇：今天停课。"]),
        ("水位147.63米.请及早应变.", ["水位147.63米。", "请及早应变。"]),
        (
            "浦东新区气象台2026年08月02日10时43分更新高温黄色预警信号为高温橙色预警信号：预计最高气温将超过37℃，"
            "高温黄色预警信号更新为高温橙色预警信号，请注意防范。",
            ["更新高温黄色预警信号为高温橙色预警信号：预计最高气温将超过37℃。"],
        ),
        ("台风黄色预警信号更新为台风蓝色预警信号。", ["台风黄色预警信号更新为台风蓝色预警信号。"]),
        ("", []),
        ("<<<<>>>>&&&&", []),
    ],
)
def test_what_a_source_writes_is_cleaned(text: str, said: list[str]) -> None:
    assert clean(text) == said


def test_a_list_of_places_is_not_torn_apart_where_a_comma_is_near() -> None:
    text = (
        "预计今天夜里到明天白天全县大部地区有大雨到暴雨，"
        "请注意防范强降雨对城市运行、工农业生产、人体健康、大功率电气设备和低洼地带道路交通的不利影响。"
    )
    assert clean(text)[0].endswith("暴雨，")
    assert "人体健康、大功率电气设备" in clean(text)[1]


def test_what_is_meant_for_offices_is_not_said_to_villages_but_shown() -> None:
    script = said(instruction="1. 政府及有关部门按照职责做好防大风工作。2. 关好门窗。")
    assert "关好门窗。" in script.sentences
    assert "政府" not in script.text
    assert any("政府及有关部门" in s for s in script.omitted)


def test_the_source_s_own_text_stays_as_it_came() -> None:
    text = "舟曲县气象台发布暴雨橙色预警：有<b>大雨</b>。详情见http://a.example/x。"
    request = replace(BASE, description=text)
    compose(request, ZH)
    assert request.description == text


def test_numbers_are_never_lost_in_cleaning_the_recorded_feeds() -> None:
    folder = Path(__file__).parents[2].parent / "shared/data/feeds/weathercn/pudong/warnings.json"
    if not folder.is_file():
        pytest.skip("the shared feeds are not here")
    texts = re.findall(r'"description":\s*"([^"]{20,})"', folder.read_text(encoding="utf-8"))
    assert len(texts) > 30
    for text in texts:
        _, _, forecast = text.partition("预警")
        numbers = re.findall(r"\d+(?=毫米|级|℃|米|小时)", forecast)
        kept = "".join(clean(text))
        assert [n for n in numbers if n not in kept] == [], text
        assert "http" not in kept
        assert "来源" not in kept
        assert kept


@pytest.mark.parametrize(
    "bomb", ["<script", "【", "(", "1、", "发布预警：", "更新a为b：", "&amp;" * 3, "a.cn/", "0"]
)
def test_a_monster_is_read_no_further_than_a_text_can_be_long(bomb: str) -> None:
    script = said(description=bomb * 50_000, instruction=bomb * 50_000)
    assert len(script.text) < 1200
    assert any("原文超过" in s for s in script.omitted)
