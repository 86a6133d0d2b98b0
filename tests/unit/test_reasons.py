"""What the controller words in English, as a Chinese operator reads it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.formats import Reading
from alerts.hazards import HAZARDS
from alerts.lint import lint_all
from alerts.model import Certainty, CodeScheme, Colour, Severity, Urgency
from config.counties import load_county
from controller.cli import reasons, words
from controller.cli.reasons import chinese
from controller.store.records import AlertState
from terminals.delivery import State

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "feeds"


@pytest.mark.parametrize(
    ("english", "said"),
    [
        # a hole, a number, a word in a hole, a name in quotes
        ("release rule 2 says hold", "发布规则第 2 条要求待审"),
        ("colour falls from orange to none", "颜色由橙色降为无"),
        ("hazard changes from rainstorm to flash_flood", "灾种由暴雨变为山洪"),
        ("there is no feed 'nmc' (did you mean nmc2?)", "没有来源 “nmc”（是不是 nmc2？）"),
        # reasons side by side, and a joint inside of one
        ("no release rule matches; nobody would hear it", "没有相符的发布规则；没有人能听到"),
        (
            "orange was heard 35 min ago; once in 3 h is enough",
            "35 分钟前播过橙色预警；3 小时一次即可",
        ),
        (
            'county.yaml:4: listen.api: 8470 is not a port (0 to 65535); or "unix:" and a path',
            'county.yaml:4：listen.api：8470 不是端口（0 到 65535）；或 "unix:" 加路径',
        ),
        (
            "the text names no place; unknown here: 阿克乡、巴克乡; it counts 5 乡 and names 3: 2 remain "
            "unnamed",
            "文字没有写地名；本县没有：阿克乡、巴克乡；说有 5 个乡，只写出 3 个：还有 2 个没写",
        ),
        # where, what and what to do
        ("alert/sent: is missing (give the time the message was sent)", "alert/sent：缺失（请写发布时间）"),
        (
            "document: ends early, at line 9, column 144: it was cut off (send the whole file again)",
            "文件：在第 9 行第 144 列处中断：文件不完整（请重发整个文件）",
        ),
        (
            "document: is GBK labelled UTF-8 (it declares no encoding, which means UTF-8, but byte 0xD5 at "
            "offset 70 is not utf-8, and all of it reads as GBK) "
            '(declare encoding="GBK" or send it as UTF-8)',
            "文件：实为 GBK，却标作 UTF-8（没有声明编码，即 UTF-8，但第 70 字节 0xD5 不是 utf-8，"
            "而全文能按 GBK 读）"
            '（请声明 encoding="GBK"，或用 UTF-8 发送）',
        ),
        (
            "answer: is an HTML page, not JSON: '502 Bad Gateway' (an error page of the source)",
            "answer：是网页，不是 JSON：“502 Bad Gateway”（是来源的出错页面）",
        ),
        ("its radius is inf km", "半径为 inf 公里"),
        # shapes and areas
        (
            "polygon 1 of area '河谷': 12 villages, 3 of them by their township's seat",
            "区域“河谷”的第 1 个多边形：12 个村，其中 3 个按乡镇驻地",
        ),
        ("polygon 1 of area 2 lies outside 舟曲县", "区域 2的第 1 个多边形在舟曲县以外"),
        (
            "villages by way: code 8, polygon, township seat 5, no position 1",
            "各依据村数：代码 8、多边形、按乡镇驻地 5、没有位置 1",
        ),
        ("polygon, township seat", "多边形、按乡镇驻地"),
        (
            "seats.csv: the positions look like gcj02, not wgs84: read as wgs84: 19 of 19 inside the county, "
            "0.36 km in the median from 18 known places; read as gcj02: 19 of 19 inside the county",
            "seats.csv：位置像是 gcj02，不是 wgs84：按 wgs84 读：19 处有 19 处在县内、"
            "与 18 处已知位置相距中位数 0.36 公里；按 gcj02 读：19 处有 19 处在县内",
        ),
        (
            "212 of 212 villages (100%) of 舟曲县 is unusually many for a drawn area (limit 80%); check who "
            "is meant: said to be meant",
            "舟曲县 212 个村中有 212 个（100%），对手绘区域来说异常多（上限 80%）；已确认确实如此",
        ),
        # codes with two meanings
        (
            "623023105 is 甲镇 in the MCA list (民政部) but 乙镇 in the NBS list (统计局), and the source "
            "does not say which it uses; confirm by name, or declare the feed's list",
            "623023105 在民政部名录中是甲镇，在统计局名录中是乙镇，来源没有说明用哪一份；"
            "请按名称确认，或在配置里声明该来源的代码体系",
        ),
        # times are Beijing's
        ("it expired at 2026-07-13T08:00:00+00:00", "已于 2026-07-13 16:00:00 过期"),
        # what is typed stays
        ("mode: must be actual or drill, not 'real'", "mode：应为 actual 或 drill，不是 “real”"),
        # what machines say
        ("http://127.0.0.1:1/: All connection attempts failed", "http://127.0.0.1:1/：连接失败"),
        ("inbox cannot be read: [Errno 13] Permission denied", "inbox 读不了：没有权限"),
        ("24 terminals", "24 台终端"),
        ("; latitude and longitude look swapped", "；经纬度像是颠倒了"),
    ],
)
def test_a_reason_is_said_in_chinese(english: str, said: str) -> None:
    assert chinese(english) == said


def test_an_earthquake_is_told_in_one_line() -> None:
    said = chinese(
        "M6.2 积石山 (35.70, 102.79), depth 10 km, report 3; intensity by GB 18306-2015, 西部, agency's "
        "greatest intensity 8.0 first; warned from 4.0"
    )
    assert said == (
        "M6.2 积石山（35.70, 102.79），深度 10 公里，第 3 报；烈度按 GB 18306-2015，西部，"
        "先用台网所报最大烈度 8.0；达到 4.0 即播发"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "舟曲县气象台发布暴雨橙色预警",
        "Heavy rain is now expected over the county",
        "Flood Warning: issued by the NWS; take cover now, (red)",
        "A261122-7K3QX",
        "the hills of home (and more); the rivers: of course",
    ],
)
def test_what_nobody_knows_is_shown_as_it_came(text: str) -> None:
    assert chinese(text) == text


def test_of_what_is_half_known_nothing_is_lost() -> None:
    said = chinese("nobody would hear it; the moon is in the way (ask the moon)")
    assert said == "没有人能听到；the moon is in the way (ask the moon)"
    assert chinese("feed x: the frob gave up (ask its sender)") == "feed x: the frob gave up（请问发布者）"


def test_a_command_to_copy_is_left_alone() -> None:
    command = "fenghuo alert send --template rainstorm --area '城关镇; red' --text='It is missing'"
    said = chinese(f"the text seems to name 城关镇; if that is right, send it instead: {command}")
    assert said == f"文字像是指城关镇；如果属实，请改发：{command}"


def test_names_are_not_translated() -> None:
    assert (
        chinese(
            "feed red is stale: it answers, but has brought no document for 3 h; what it would warn of may "
            "be missed"
        )
        == "来源 red 停更：连得上，但已 3 小时没有来文；可能漏掉它的预警"
    )


def test_lines_are_kept_apart() -> None:
    assert chinese("nobody would hear it\n\nno area") == "没有人能听到\n\n没有地区"


def test_every_word_of_ours_that_fills_a_hole_has_its_chinese() -> None:
    known = [word for kind in (Colour, Severity, Urgency, Certainty, AlertState, State) for word in kind]
    known += [name for hazard in HAZARDS for name in (hazard.key, hazard.en)]
    assert not [word for word in known if re.search("[A-Za-z]", chinese(word))]


def faults(source: str) -> list[str]:
    """What is wrong with a catalogue, for whoever has just edited it."""
    lines = [line.strip() for line in source.splitlines() if line.strip() and not line.startswith("#")]
    found = [f"{lines[-1]}: without its Chinese"] if len(lines) % 2 else []
    seen: set[str] = set()
    for entry in reasons.entries(source):
        if entry.english in seen:
            found.append(f"{entry.english}: given twice")
        seen.add(entry.english)
        if not re.search("[A-Za-z]", entry.english):
            found.append(f"{entry.english}: is no English; is a line missing above it?")
        strangers = set(re.findall(r"\{(\w+)\}", entry.chinese)) - set(entry.holes)
        found += [f"{entry.english}: its Chinese has {{{name}}}, which it has not" for name in strangers]
    return found


def test_the_catalogue_is_whole() -> None:
    assert faults(reasons.CATALOGUE.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("# c\na\n甲\nb\n", "b: without its Chinese"),
        ("a\n甲\na\n乙\n", "a: given twice"),
        ("a {n}\n甲 {m}\n", "a {n}: its Chinese has {m}, which it has not"),
        ("甲\nb\n乙\nc\n", "甲: is no English; is a line missing above it?"),
    ],
)
def test_a_slip_in_the_catalogue_is_found_and_stops_no_command(source: str, wrong: str) -> None:
    assert wrong in faults(source)
    assert reasons.entries(source)


def test_nothing_is_left_out_of_what_a_text_says() -> None:
    """Each hole of the English is in the Chinese; what machines say may be said shorter."""
    source = reasons.CATALOGUE.read_text(encoding="utf-8")
    ours = "".join(part for part in re.split(r"(?m)^(?=# --- )", source) if "what machines say" not in part)
    lost = {
        entry.english: found
        for entry in reasons.entries(ours)
        if (
            found := {hole for hole in entry.holes if f"{{{hole}}}" not in entry.chinese}
            - {"article", "name"}
        )
    }
    assert lost == {}


@given(st.text())
def test_any_text_is_survived(text: str) -> None:
    assert chinese(text).count("\n") == text.count("\n")


@given(
    st.lists(
        st.sampled_from(["is missing", "; ", ": ", " (", ")", ", ", "a", "red", "'", "“", " is ", "7"])
    ).map("".join)
)
def test_any_heap_of_our_own_joints_is_survived(text: str) -> None:
    assert bool(chinese(text)) is bool(text)


@pytest.mark.parametrize(
    "text", ["a: " * 1300, "(a " * 1300, "; (a: b" * 500, ", is missing" * 300, "is of " * 600]
)
def test_a_text_made_to_hang_us_comes_back(text: str) -> None:
    assert chinese(text)


def test_words_speak_through_it_only_in_chinese() -> None:
    assert words.told("nobody would hear it", "en") == "nobody would hear it"
    assert words.told("nobody would hear it", "zh") == "没有人能听到"
    assert words.w("no_map", "zh", why="no place of the county has a position in its county pack").endswith(
        "县包里没有一处有位置"
    )
    assert "red" in words.w("no_such_feed", "zh", name="red", known="red")


# --- every document of the corpus ------------------------------------------------------------------------

_NUMBERS = re.compile(r"'[^']*'|\"[^\"]*\"|“[^”]*”|灾种不认识：.*")
_THREE = re.compile("[a-z]{2,}( [a-z]{2,}){2,}")


@pytest.mark.parametrize("scheme", [CodeScheme.MCA, CodeScheme.UNKNOWN])
def test_what_lint_makes_of_real_documents_is_chinese(scheme: CodeScheme) -> None:
    files = sorted(SHARED.rglob("*.xml"))[:: 3 if scheme is CodeScheme.MCA else 4]
    if not files:
        pytest.skip("the shared corpus of documents is not here")
    county = load_county("zhouqu").county
    left = set()
    for path in files:
        for report in lint_all(
            path.read_bytes(), Reading(scheme), now=datetime(2026, 11, 22, tzinfo=UTC), county=county
        ):
            told = [*report.damage, *report.remarks, *report.inferred, report.silent]
            told += [str(report.refusal)] if report.refusal is not None else []
            told += [*report.cut.lines, *report.cut.outside, *report.cut.problems] if report.cut else []
            left |= {text for text in told if _THREE.search(_NUMBERS.sub("", chinese(text)))}
    assert left == set()
