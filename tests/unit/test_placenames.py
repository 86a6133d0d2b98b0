"""Place names in Chinese text: the measured set, each trap by itself, and what may never happen.

Names of the three counties in fixtures/placenames/*.csv: 民政部 and 国家统计局 lists, 2025 and 2023.
"""

from __future__ import annotations

import csv
import json
import shlex
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.model import Alert, Area, Colour, Info, MsgType, Scope, Status
from alerts.placenames import MAX_TEXT, Flag, Proposal, Use, propose
from alerts.regions import County, Resolved, Township, Village
from config.counties.national import county_names
from support.county import BEIJING

FIXTURES = Path(__file__).parents[1] / "fixtures" / "placenames"
ABOUT = {
    "zhouqu": (
        "623023", "舟曲县", "甘肃省", "甘南藏族自治州",
        ("迭部县", "卓尼县", "临潭县", "宕昌县", "武都区", "文县", "礼县", "岷县", "九寨沟县"),
    ),
    "yutian": (
        "653226", "于田县", "新疆维吾尔自治区", "和田地区",
        ("策勒县", "民丰县", "和田县", "和田市", "墨玉县", "皮山县", "洛浦县", "沙雅县"),
    ),
    "wenchuan": (
        "513221", "汶川县", "四川省", "阿坝藏族羌族自治州",
        ("茂县", "理县", "都江堰市", "彭州市", "崇州市", "大邑县", "小金县", "芦山县", "宝兴县"),
    ),
}  # fmt: skip
SENTENCES = [
    json.loads(line) for line in (FIXTURES / "sentences.jsonl").read_text(encoding="utf-8").splitlines()
]


@cache
def county(name: str) -> County:
    code, title, province, prefecture, neighbours = ABOUT[name]
    townships: list[Township] = []
    villages: list[Village] = []
    with (FIXTURES / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if not row["village"]:
                old = tuple(filter(None, row["old_names"].split(";")))
                townships.append(Township(f"t{len(townships)}", row["township"], None, None, old))
            else:
                parent = next(t.key for t in townships if t.name == row["township"])
                villages.append(Village(f"v{len(villages)}", row["village"], None, parent))
    return County(
        name, code, title, tuple(townships), tuple(villages), province, prefecture, neighbours=neighbours
    )


def expected(row: dict[str, list[str]], home: County) -> frozenset[str]:
    keys: set[str] = set()
    for label in row["areas"]:
        keys |= _of(label, home)
    for label in row["excluded"]:
        keys -= _of(label, home)
    return frozenset(keys)


def _of(label: str, home: County) -> frozenset[str]:
    found = home.find(label)
    assert isinstance(found, Resolved), label
    return found.villages


def seen(text: str, name: str = "wenchuan") -> Proposal:
    return propose(text, county(name))


def kinds(found: Proposal) -> set[Flag]:
    return {flag for flag, _ in found.flags}


# --- the measured set ---------------------------------------------------------------------------------


def test_precision_and_recall_over_the_measured_set_hold_their_floor(
    record_property: pytest.RecordProperty,
) -> None:
    assert len(SENTENCES) >= 120
    right = wrong = missed = 0
    for row in SENTENCES:
        home = county(row["county"])
        got, want = propose(row["text"], home, county_names()).villages, expected(row, home)
        # By township, so that one whole county does not outweigh a hundred sentences.
        for township in home.townships:
            own = home.villages_of(township.key)
            a, b = got & own, want & own
            right += bool(a & b)
            wrong += bool(a - b)
            missed += bool(b - a)
    precision, recall = right / (right + wrong), right / (right + missed)
    record_property("precision", precision)
    record_property("recall", recall)
    assert precision >= 0.99
    assert recall >= 0.97


@pytest.mark.parametrize("row", SENTENCES, ids=lambda row: row["text"][:24])
@pytest.mark.parametrize("national", [False, True], ids=["neighbours", "every county"])
def test_each_sentence_is_read_as_a_person_reads_it(row: dict[str, list[str]], national: bool) -> None:
    home = county(str(row["county"]))
    found = propose(str(row["text"]), home, county_names() if national else ())
    assert found.villages == expected(row, home)
    assert set(found.excluded) == set(row["excluded"])
    assert set(found.unknown) == set(row["unknown"])
    assert set(row["flags"]) <= {flag.value for flag in kinds(found)}


# --- each trap by itself ------------------------------------------------------------------------------


def test_the_longest_name_is_taken_and_not_one_that_it_ends_with() -> None:
    assert seen("漩口镇、卧龙镇有大雨。").areas == ("卧龙镇", "漩口镇")
    assert seen("亚喀萨依村有冰雹。", "yutian").areas == ()
    assert seen("亚喀萨依村有冰雹。", "yutian").unknown == ("亚喀萨依村",)


def test_every_mention_says_where_it_stands_and_what_it_was_taken_for() -> None:
    text = "汶川县气象台发布：除卧龙镇外，井陉县威州镇、我县三江镇有雨，请转移至水磨镇。"
    found = seen(text)
    assert found.areas == ("三江镇",)
    used = {mention.text: mention.use for mention in found.mentions}
    assert used["卧龙镇"] is Use.EXCLUDED
    assert used["威州镇"] is Use.ELSEWHERE
    assert used["水磨镇"] is Use.DESTINATION
    assert used["三江镇"] is Use.NAMED
    assert all(text[m.start : m.end] == m.text and m.reason for m in found.mentions)


def test_a_shared_suffix_reaches_only_names_of_the_home_county() -> None:
    assert seen("绵虒、威州、三岔、灞州等镇").areas == ("威州镇", "绵虒镇", "灞州镇")
    assert seen("绵虒、威州、三岔、灞州等镇").unknown == ("三岔",)
    assert seen("三江、融水、龙胜等县").areas == ()
    assert seen("三江流域、水磨沟、卧龙山有雨").areas == ()


def test_except_takes_away_and_besides_adds() -> None:
    assert seen("除卧龙镇外，其余乡镇有雨").areas == ()
    assert seen("除卧龙镇外，其余乡镇有雨").excluded == ("卧龙镇",)
    besides = seen("除卧龙镇外，耿达镇也有暴雪")
    assert besides.areas == ("卧龙镇", "耿达镇")
    assert Flag.EXCLUSION in kinds(besides)
    assert seen("解除卧龙镇暴雨预警，请勿外出").excluded == ()


def test_a_village_of_another_township_is_not_the_one_that_is_written() -> None:
    found = seen("立节镇罗家峪村有险情", "zhouqu")
    assert found.areas == ()
    assert found.unknown == ("罗家峪村",)


def test_a_wrong_suffix_is_unknown_and_not_mended() -> None:
    assert seen("曲瓦镇有雨", "zhouqu").areas == ()
    assert seen("曲瓦镇有雨", "zhouqu").unknown == ("曲瓦镇",)


def test_a_merged_township_is_proposed_with_the_warning_that_it_was_smaller() -> None:
    found = seen("龙溪乡有雨")
    assert found.areas == ("灞州镇",)
    assert any("more than it was" in words for _, words in found.flags)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("映秀、漩口等8个乡镇有雨", "it counts 8 乡镇 and names 2: 6 remain unnamed"),
        ("映秀、漩口等十二个乡镇有雨", "it counts 12 乡镇 and names 2: 10 remain unnamed"),
        ("映秀镇、漩口镇两镇有雨", ""),
        ("映秀、漩口、水磨两镇有雨", "it counts 2 镇 and names 3"),
    ],
)
def test_counted_townships_are_compared_with_the_named_ones(text: str, words: str) -> None:
    found = [said for flag, said in seen(text).flags if flag is Flag.COUNT]
    assert found == ([words] if words else [])


def test_a_name_that_two_townships_share_is_shown_and_not_taken() -> None:
    home = County(
        "x", "530000", "甲县",
        (Township("a", "城关镇", None, None, ("旧乡",)), Township("b", "城关乡", None, None, ("旧乡",)),
         Township("c", "大川镇", None, None)),
        (Village("a1", "子村", None, "a"), Village("b1", "丑村", None, "b"), Village("c1", "寅村", None, "c"),
         Village("a2", "卯村", None, "a"), Village("c2", "卯村", None, "c")),
    )  # fmt: skip
    both = propose("城关、大川等乡镇有雨", home)
    assert both.areas == ("大川镇",)
    assert any("城关 may be 城关镇、城关乡" in words for _, words in both.flags)
    assert propose("城关、大川等镇有雨", home).areas == ("城关镇", "大川镇")
    assert propose("旧乡有雨", home).areas == ()
    assert propose("旧乡丑村有雨", home).areas == ("城关乡",)  # its only village
    listed = propose("大川镇、卯村有雨", home)
    assert listed.areas == ("大川镇",)
    assert Flag.AMBIGUOUS in kinds(listed)


def test_names_with_a_people_in_them_are_known_without_it() -> None:
    home = County(
        "x", "530602", "昭阳区",
        (Township("a", "青岗岭回族彝族乡", None, None), Township("b", "洒渔镇", None, None)),
        (Village("a1", "甲村", None, "a"), Village("b1", "乙村", None, "b")),
    )  # fmt: skip
    assert propose("昭阳区洒渔、青岗岭等乡镇可能出现冰雹", home).villages == {"a1", "b1"}
    assert propose("青岗岭乡可能出现冰雹", home).areas == ("青岗岭回族彝族乡",)


def test_an_autonomous_county_is_known_by_its_short_name() -> None:
    home = County(
        "x", "530825", "镇沅彝族哈尼族拉祜族自治县",
        (Township("a", "和平镇", None, None),), (Village("a1", "子村", None, "a"),),
    )  # fmt: skip
    assert propose("镇沅县和平镇有雨", home).areas == ("镇沅彝族哈尼族拉祜族自治县",)  # its only township
    assert not kinds(propose("镇沅县和平镇有雨", home))
    away = propose("北川县和平镇有雨", home, ("北川羌族自治县",))
    assert away.areas == ()
    assert Flag.FOREIGN in kinds(away)


def test_a_narrowed_every_township_is_not_the_county() -> None:
    assert seen("我县各乡镇有雨").areas == ("汶川县",)
    for text in ("我县内陆所有乡镇有雨", "沿江各乡镇有雨", "我县南部各乡镇有雨", "其余各乡镇有雨"):
        assert seen(text).areas == (), text
        assert seen(text).flags, text


def test_a_text_too_long_is_flagged() -> None:
    assert any("characters were read" in words for _, words in seen("雨" * MAX_TEXT + "三江镇").flags)


# --- what may never happen ----------------------------------------------------------------------------

_WORDS = st.sampled_from(
    [
        *(
            "威州镇",
            "绵虒",
            "三江",
            "三江镇",
            "卧龙镇",
            "街村",
            "万村",
            "龙溪乡",
            "汶川县",
            "井陉县",
            "我县",
            "全县",
        ),
        *(
            "各乡镇",
            "、",
            "，",
            "。",
            "和",
            "等",
            "镇",
            "乡",
            "村",
            "县",
            "除",
            "外",
            "以外",
            "除外",
            "不含",
            "有雨",
        ),
        *(
            "转移至",
            "向",
            "至",
            "沿江",
            "8",
            "个",
            "两",
            "（",
            "）",
            "\n",
            "理县",
            "河",
            "段",
            "人民政府",
            "对",
            "无影响",
        ),
        *("草坡村", "\x00", "😀"),
    ]
)


@settings(max_examples=300)
@given(st.lists(_WORDS, max_size=25).map("".join) | st.text(max_size=60))
def test_any_text_gives_a_proposal_of_our_own_villages_and_nothing_excluded(text: str) -> None:
    home = county("wenchuan")
    found = propose(text, home, ("井陉县",))
    assert found.villages <= {village.key for village in home.villages}
    again: set[str] = set()
    for label in found.areas:
        again |= _of(label, home)
    assert again == found.villages
    for mention in found.mentions:
        assert text[mention.start : mention.end] == mention.text
        if mention.use is Use.EXCLUDED:
            assert not mention.villages & found.villages
    named = frozenset().union(*(m.villages for m in found.mentions if m.use is Use.NAMED))
    assert found.villages <= named


# --- at the desk --------------------------------------------------------------------------------------


def test_the_command_that_is_offered_says_exactly_what_was_proposed() -> None:
    from datetime import datetime

    from controller import naming

    text = "预计未来3小时，映秀镇、漩口镇“短时强降水”达 50 毫米。"
    info = Info("zh-CN", "暴雨", "rainstorm", colour=Colour.ORANGE, description=text, areas=(Area(),))
    alert = Alert("a", "b", datetime.now(BEIJING), Status.ACTUAL, MsgType.ALERT, Scope.PUBLIC, (info,))
    found = naming.proposed(_empty(), alert, county("wenchuan"))
    assert not found.village_keys
    line = next(text for text in found.problems if "fenghuo alert send" in text)
    assert shlex.split(line[line.index("fenghuo") :]) == [
        "fenghuo", "alert", "send", "--template", "rainstorm", "--colour", "orange",
        "--area", "映秀镇", "--area", "漩口镇", f"--text={text}",
    ]  # fmt: skip


def _empty() -> object:
    from alerts.area import cut

    return cut((Area("汶川县部分乡镇"),), county("wenchuan"))
