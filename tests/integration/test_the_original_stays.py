"""What a source wrote stays beside what is said of it: in the store, and wherever an operator looks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controller.cli import words
from controller.events import decode_alert, decode_script
from support.county import CONFIG, County, a_county, cap
from support.county_api import TOKEN_SHA256, Hand, an_operator

RAW = (
    "舟曲县气象台2026年11月22日12时00分发布暴雨橙色预警信号：预计未来3小时将出现50毫米以上降水。"
    "详情请登录http://www.weather.example.cn/a?b=1查询。【舟曲县气象局】拒收请回复R"
)
TAIL = "拒收请回复R"
KNOWN = CONFIG.replace(CONFIG.partition('token_sha256: "')[2].partition('"')[0], TOKEN_SHA256)


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path, config=KNOWN) as made:
        yield made


@pytest.fixture
async def hand(
    county: County, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Hand]:
    async with an_operator(county, capsys, monkeypatch) as one:
        yield one


def flat(text: str) -> str:
    return "".join(text.split())


async def test_the_raw_text_of_a_feed_is_stored_and_shown_beside_the_cleaned_one(
    county: County, hand: Hand
) -> None:
    county.mouth.knows = False  # a lead, too
    taken = await county.give(cap(description=RAW))
    assert taken.alert is not None
    assert taken.broadcast is not None
    await county.ended(taken.broadcast)
    row = await county.store.alert(taken.alert)
    assert decode_alert(row).infos[0].description == RAW
    code, out, _ = await hand.does("alert", "show", taken.alert, "--json")
    assert code == 0
    plan = json.loads(out)["plan"]
    assert plan["original"]["description"] == RAW
    assert plan["original"]["instruction"] == "请向高处转移。"
    assert TAIL not in plan["text"]
    assert "http" not in plan["text"]
    assert "50毫米" in plan["text"]
    for language, label in (("en", "as it came"), ("zh", "原文")):
        words.use(language)
        for look in (("alert", "show", taken.alert), ("broadcast", "show", taken.broadcast)):
            code, out, _ = await hand.does(*look)
            assert code == 0
            assert label in out
            assert RAW in flat(out)
    for one in await county.store.broadcasts(alert=taken.alert):
        assert decode_script(one.script).description == RAW
        code, out, _ = await hand.does("broadcast", "show", one.broadcast.id, "--json")
        shown = json.loads(out)
        assert shown["original"]["description"] == RAW
        assert TAIL not in shown["text"]
        assert ("50毫米" in shown["text"]) is (shown["part"] == "whole")


async def test_what_is_too_long_to_be_said_is_told_and_a_question_stays_on_the_screen(
    county: County, hand: Hand
) -> None:
    lines = [f"第{n}段河堤的水位已经涨到{n}点5米并且还在继续上涨，两岸道路中断。" for n in range(1, 30)]
    taken = await county.give(cap(colour="黄色", description="".join(lines)))
    assert taken.alert is not None
    assert taken.broadcast is None, "held"
    code, out, _ = await hand.does("alert", "show", taken.alert, "--json")
    assert code == 0
    plan = json.loads(out)["plan"]
    assert plan["original"]["description"] == "".join(lines)
    assert lines[-1].rstrip("。") in "".join(plan["omitted"])
    code, out, _ = await hand.does("alert", "show", taken.alert)
    assert lines[-1] in flat(out)
    code, _, err = await hand.does("alert", "approve", taken.alert, types="no")
    assert code == 1
    assert lines[0] in flat(err)
    assert lines[-1] not in flat(err)
    assert len(err.splitlines()) < 80


async def test_an_operators_own_words_are_their_own_original(county: County, hand: Hand) -> None:
    asked = (
        "--template",
        "rainstorm",
        "--colour",
        "orange",
        "--area",
        "大川镇",
        "--text",
        "桥已经断了，请绕行。",
    )
    code, out, err = await hand.does("alert", "send", *asked, "--yes")
    assert code == 0, err
    _, broadcast = out.split()
    code, out, _ = await hand.does("broadcast", "show", broadcast, "--json")
    assert json.loads(out)["original"]["description"] == "桥已经断了，请绕行。"
    code, out, err = await hand.does("test", "send", *asked[:6], "--yes")
    _, broadcast = out.split()
    shown = json.loads((await hand.does("broadcast", "show", broadcast, "--json"))[1])
    assert shown["original"] is None
    assert "测试" in shown["text"]
