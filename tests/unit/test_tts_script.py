"""What is said: order, slots, labels, and what is cleaned out of a source's own words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alerts import hazards
from alerts.model import Colour
from tts.cleaning import clean
from tts.reading import hanzi, read
from tts.script import ScriptError, ScriptRequest, compose, spoken_time
from tts.structure import parse_templates
from tts.templates import load

TEMPLATES = load("zh")
ISSUED = datetime(2026, 7, 15, 12, 30, tzinfo=UTC)
RAIN = ScriptRequest(
    kind="actual",
    stage="first",
    hazard="rainstorm",
    colour=Colour.ORANGE,
    issuer="舟曲县气象局",
    issued=ISSUED,
    places=("大川镇", "峰迭镇"),
    expires=ISSUED + timedelta(hours=6),
    description="预计未来6小时降雨量将达50毫米以上。",
)
STAGES = ("first", "update", "continuation", "downgrade", "cancel")


def said(request: ScriptRequest) -> str:
    return compose(request, TEMPLATES).text


def test_a_rainstorm_says_everything_in_order_and_once_more() -> None:
    script = compose(RAIN, TEMPLATES)
    assert script.sentences == (
        "请注意，请注意。",
        "大川镇、峰迭镇，暴雨橙色预警。",
        "请马上远离河道、沟谷和低洼地带，准备转移。",
        "舟曲县气象局7月15日20时30分发布暴雨橙色预警。",
        "预计未来6小时降雨量将达50毫米以上。",
        "预警有效到7月16日2时30分。",
        "住在山边、河边和危房里的群众，听从村干部安排转移。",
        "不要涉水过河，不要冒险过桥。",
        "互相通知邻居，帮助老人和孩子。",
        "再说一遍。",
        "大川镇、峰迭镇，暴雨橙色预警。",
        "请马上远离河道、沟谷和低洼地带，准备转移。",
    )
    assert script.text == "".join(script.sentences)
    assert (script.template, script.version, script.language) == ("zh", TEMPLATES.version, "zh")


WARNINGS = [h.key for h in (*hazards.HAZARDS, hazards.UNKNOWN) if h.key not in hazards.NOTICES]


@pytest.mark.parametrize("hazard", WARNINGS)
@pytest.mark.parametrize("colour", [*Colour, None])
@pytest.mark.parametrize("stage", STAGES)
def test_every_hazard_colour_and_stage_is_complete(hazard: str, colour: Colour | None, stage: str) -> None:
    script = compose(replace(RAIN, hazard=hazard, colour=colour, stage=stage), TEMPLATES)  # type: ignore[arg-type]
    assert script.sentences[0] == "请注意，请注意。"
    for part in ("舟曲县气象局", "7月15日20时30分", "大川镇", hazards.by_key(hazard).zh):
        assert part in script.text
    lead, action = script.sentences[1:3]
    # 0.24 s per character at the default speed: the action is begun within 10 s and done within 12 s.
    assert len(hanzi(read("".join(script.sentences[:2])))) <= 34
    assert len(hanzi(read("".join(script.sentences[:3])))) <= 50
    assert script.text.count(lead) == 2
    assert script.text.count(action) == 2
    assert script.brief().sentences == script.sentences[:3]
    assert "{" not in script.text
    assert ("解除" in script.text) == (stage == "cancel")


def test_the_most_common_hazards_have_templates_of_their_own() -> None:
    own = {
        "rainstorm", "flash_flood", "debris_flow", "geological", "gale", "thunderstorm_gale", "hail",
        "snowstorm", "cold_wave", "heat", "fog", "typhoon", "lightning", "wildfire", "earthquake",
        "evacuation",
    }  # fmt: skip
    assert own <= set(TEMPLATES.hazards)
    for key in own:
        assert len(set(TEMPLATES.hazards[key].actions.values())) >= 3


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("hazard", ["rainstorm", "evacuation", "unknown"])
def test_an_exercise_says_so_at_both_ends_and_in_the_brief(hazard: str, stage: str) -> None:
    script = compose(replace(RAIN, kind="exercise", hazard=hazard, stage=stage), TEMPLATES)  # type: ignore[arg-type]
    for sentences in (script.sentences, script.brief().sentences):
        assert sentences[0] == "这是演练，不是真实预警。"
        assert "这是演练，不是真实预警" in sentences[-1]
    assert "演练" not in said(replace(RAIN, hazard=hazard, stage=stage))  # type: ignore[arg-type]


def test_a_test_names_neither_hazard_nor_action() -> None:
    text = said(replace(RAIN, kind="test", colour=Colour.RED))
    assert "这是应急广播测试，不是预警" in text
    assert "不需要采取任何行动" in text
    assert "舟曲县气象局" in text
    assert "大川镇" in text
    for word in ("暴雨", "红色", "转移", "降雨量"):
        assert word not in text


def test_an_actual_warning_never_contains_words_of_exercise_or_test() -> None:
    assert not any(word in said(RAIN) for word in ("演练", "测试"))


def test_an_all_clear_gives_no_protective_order_and_no_validity() -> None:
    text = said(replace(RAIN, stage="cancel", description=""))
    assert "暴雨橙色预警已经解除" in text
    assert "确认安全后再返回" in text
    assert "有效到" not in text
    assert "恢复正常" in said(replace(RAIN, stage="cancel", hazard="heat", description=""))


def test_an_all_clear_does_not_repeat_the_orders_that_its_source_copied_from_the_warning() -> None:
    over = replace(
        RAIN, stage="cancel", description="降水已经减弱。", instruction="请沿沟群众立即向高处转移。"
    )
    script = compose(over, TEMPLATES)
    assert "降水已经减弱。" in script.sentences
    assert "转移" not in script.text
    assert "请沿沟群众立即向高处转移。" in script.omitted


def test_many_places_are_counted_first_and_listed_later() -> None:
    places = tuple(f"{c}镇" for c in "甲乙丙丁戊己")
    script = compose(replace(RAIN, places=places), TEMPLATES)
    assert script.sentences[1] == "甲镇、乙镇等6个地方，暴雨橙色预警。"
    assert "涉及甲镇、乙镇、丙镇、丁镇、戊镇、己镇。" in script.sentences
    assert "本地区，暴雨橙色预警。" in said(replace(RAIN, places=()))


def test_villages_of_a_township_count_one_by_one_so_that_the_lead_does_not_leave_the_others_out() -> None:
    places = ("甲镇", "乙镇一村、二村", "丙镇三村、四村、五村")
    script = compose(replace(RAIN, places=places), TEMPLATES)
    assert script.sentences[1] == "甲镇、乙镇一村等6个地方，暴雨橙色预警。"
    assert "涉及甲镇、乙镇一村、二村、丙镇三村、四村、五村。" in script.sentences
    two = compose(replace(RAIN, places=("甲镇", "乙镇一村、二村")), TEMPLATES)
    assert two.sentences[1] == "甲镇、乙镇一村等3个地方，暴雨橙色预警。"
    assert "涉及甲镇、乙镇一村、二村。" in two.sentences


def test_times_are_beijing_time() -> None:
    assert spoken_time(datetime(2026, 12, 31, 16, 0, tzinfo=UTC)) == "1月1日0时"
    assert "预计7月16日8时开始影响。" in said(replace(RAIN, onset=datetime(2026, 7, 16, 0, 0, tzinfo=UTC)))


def test_a_source_text_full_of_noise_keeps_only_its_substance() -> None:
    noisy = (
        "舟曲县气象台2026年07月15日20时30分发布暴雨橙色预警信号：预计未来6小时，"
        "<b>大川镇</b>降雨量将达50毫米以上&nbsp;&amp;局地80毫米。请注意防范。请注意防范。（预警信息来源：国家预警信息发布中心）防御指南：1.停止户外活动；2.做好山洪防范。"
        "详情见https://example.cn/a?b=1 。【舟曲县气象局】回T退订"
    )
    assert clean(noisy) == [
        "预计未来6小时，大川镇降雨量将达50毫米以上&局地80毫米。",
        "停止户外活动。",
        "做好山洪防范。",
    ]


def test_a_speaker_text_with_a_glued_headline_starts_at_the_forecast() -> None:
    glued = (
        "河南省气象局2020年02月05日10时53分39秒大风蓝色预警[IV级/一般]全省大部分地区"
        "河南省气象台2020年02月05日10时45分继续发布大风蓝色预警：预计未来24小时，全省大部分地区将出现5级左右偏北风，阵风6到7级。请注意防范。"
    )
    assert clean(glued) == ["预计未来24小时，全省大部分地区将出现5级左右偏北风，阵风6到7级。"]
    assert clean("三门县气象台2026年07月15日15时30分解除暴雨橙色预警信号。") == []


def test_a_raised_level_is_kept() -> None:
    raised = "变更暴雨蓝色预警信号为暴雨橙色预警信号：过去3小时雨量已达62.4毫米。"
    assert clean(f"三门县气象台2026年07月15日09时15分{raised}") == [raised]


def test_guidance_said_twice_is_spoken_once() -> None:
    script = compose(
        replace(RAIN, description="有大雨。关好门窗，不要外出。", instruction="关好门窗，不要外出。"),
        TEMPLATES,
    )
    assert script.text.count("关好门窗，不要外出") == 1


def test_numbers_of_substance_survive_cleaning() -> None:
    assert clean("雨量达12.5毫米，3.2万人受影响，气温8~10℃。") == [
        "雨量达12.5毫米，3.2万人受影响，气温8~10℃。"
    ]


def test_a_long_text_is_cut_at_a_sentence_and_the_rest_is_shown() -> None:
    long = "".join(f"第{i}条，" + "河水上涨" * 8 + "。" for i in range(12))
    script = compose(replace(RAIN, description=long), TEMPLATES)
    assert script.omitted
    assert not set(script.omitted) & set(script.sentences)
    assert len(script.omitted) + sum(s.startswith("第") for s in script.sentences) == 12


def test_sentences_are_short_enough_for_the_voice() -> None:
    script = compose(replace(RAIN, description="河水上涨很快，" * 40), TEMPLATES)
    assert max(map(len, script.sentences)) <= 61


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"language": "bo"}, "bo"),
        ({"issued": datetime(2026, 7, 15)}, "issued"),  # noqa: DTZ001
        ({"expires": datetime(2026, 7, 15)}, "expires"),  # noqa: DTZ001
        ({"issuer": " "}, "issuer"),
    ],
)
def test_what_cannot_be_said_rightly_is_refused(change: dict[str, object], why: str) -> None:
    with pytest.raises(ScriptError, match=why):
        compose(replace(RAIN, **change), TEMPLATES)  # type: ignore[arg-type]


def test_broken_templates_say_what_is_wrong() -> None:
    import tomllib
    from importlib import resources

    text = (resources.files("tts.templates") / "zh.toml").read_text("utf-8")
    for old, new, why in [
        ("[hazards.generic]", "[hazards.generik]", "hazards.generic"),
        ("[hazards.hail]", "[hazards.heil]", "heil"),
        ("{issuer}正在", "{isuer}正在", "isuer"),
        ('anywhere = "本地区"', "", "anywhere"),
    ]:
        assert old in text
        with pytest.raises(ScriptError, match=f"here.toml: .*{why}"):
            parse_templates(tomllib.loads(text.replace(old, new)), where="here.toml")
    with pytest.raises(ScriptError, match="xx"):
        load("xx")


def test_fixed_sentences_are_what_messages_use() -> None:
    fixed = set(TEMPLATES.fixed_sentences(["rainstorm"]))
    script = compose(RAIN, TEMPLATES)
    assert len([s for s in script.sentences if s in fixed]) >= 6
    assert not any("{" in s for s in fixed)
