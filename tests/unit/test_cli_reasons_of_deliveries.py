"""`fenghuo alert why`, `broadcast why` and what `status` says of keys and held sets, in both languages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from controller.cli import words
from controller.cli.outcome import Code
from controller.cli.program import run
from support import fake_desk as fake
from support.fake_desk import FakeDesk

AT = "2026-11-22T12:00:00Z"
MISSING = {
    "terminal": "t-2", "name": "", "village": "立节村", "township": "立节镇", "state": "refused",
    "reason": "expired", "words": "refused expired", "sounded": False, "broadcast": "B2",
}  # fmt: skip
PART = {
    "id": "B1", "part": "lead", "state": "done", "created": AT, "targeted": 3, "played": 1, "stopped_by": None
}  # fmt: skip
DELIVERIES = {
    "id": "A1", "state": "released", "headline": "暴雨红色预警", "reason": "", "why": ["code 623023101"],
    "broadcasts": [PART, {**PART, "id": "B2", "part": "whole"}, {**PART, "id": "B3", "part": "all-clear"}],
    "silent_villages": ["立节镇某村"], "unheard": [MISSING],
}  # fmt: skip


def step(state: str, reason: str = "", detail: str = "") -> dict[str, Any]:
    return {"at": AT, "attempt": 1, "state": state, "reason": reason, "detail": detail}


CHAIN = {
    "broadcast": "B2", "alert": "A1", "headline": "暴雨红色预警", "terminal": "t-2", "name": "",
    "village": "立节村", "township": "立节镇", "state": "expired", "reason": "unreached",
    "words": "no report since 20:00:00, last seen 19:59:00", "sounded": True, "last_seen": None,
    "steps": [step("sent"), step("playing", "floor"), step("refused", "amplifier", "no current"),
              step("expired", "unreached")],
}  # fmt: skip


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDesk]:
    answers = {
        ("GET", "/v1/alerts/A1/deliveries"): (200, DELIVERIES),
        ("GET", "/v1/broadcasts/B2/why/t-2"): (200, CHAIN),
    }
    with fake.beside(monkeypatch, answers) as desk:
        yield desk


@pytest.mark.parametrize(
    ("language", "said"),
    [
        (
            "en",
            ("Nothing of it has sounded at 1 terminals", "came too late", "all-clear", "without a terminal"),
        ),
        ("zh", ("1 台终端一点都没播出", "收到时已过期", "解除", "没有终端")),
    ],
)
def test_alert_why_names_where_nothing_sounded_first_then_its_broadcasts(
    desk: FakeDesk, capsys: pytest.CaptureFixture[str], language: str, said: tuple[str, ...]
) -> None:
    words.use(language)
    assert run(["alert", "why", "A1"]) == Code.DONE
    out = capsys.readouterr().out
    assert all(text in out for text in said), out
    assert out.index("立节镇某村") < out.index("t-2") < out.index("B1")
    assert "fenghuo broadcast why B2 t-2" in " ".join(out.split())
    assert run(["alert", "why", "A1", "--json"]) == Code.DONE
    assert json.loads(capsys.readouterr().out) == DELIVERIES


def test_a_warning_of_which_nothing_came_says_so(desk: FakeDesk, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = {**DELIVERIES, "state": "rejected", "broadcasts": [], "unheard": [], "reason": "误报"}
    desk.answers["GET", "/v1/alerts/A1/deliveries"] = (200, nothing)
    assert run(["alert", "why", "A1"]) == Code.DONE
    out = capsys.readouterr().out
    assert "nobody has heard it" in out
    assert "误报" in out


@pytest.mark.parametrize(
    ("language", "said"),
    [
        (
            "en",
            ("generic sentence", "amplifier is dead", "no current", "our own entry", "never", "has sounded"),
        ),
        ("zh", ("通用语句", "功放", "no current", "控制端记录", "从未", "已播出")),
    ],
)
def test_broadcast_why_tells_a_terminals_facts_with_times(
    desk: FakeDesk, capsys: pytest.CaptureFixture[str], language: str, said: tuple[str, ...]
) -> None:
    words.use(language)
    assert run(["broadcast", "why", "B2", "t-2"]) == Code.DONE
    out = capsys.readouterr().out
    assert out.count("20:00:00.000") == 4, "Beijing time, each fact"
    assert all(text in out for text in said), out
    assert run(["broadcast", "why", "B2", "t-2", "--json"]) == Code.DONE
    assert json.loads(capsys.readouterr().out) == CHAIN


@pytest.mark.parametrize(
    ("language", "said"),
    [
        (
            "en",
            (
                "3 of 4 enrolled terminals hold the newest ring (version 7)",
                "1 HOLD A NEWER",
                "sentences: 2 of 4",
            ),
        ),
        (
            "zh",
            (
                "4 台入网终端中 3 台持有最新密钥环（第 7 版）",
                "1 台持有比我们更新的",
                "通用语句：4 台中 2 台已存全",
            ),
        ),
    ],
)
def test_status_says_how_many_hold_the_newest_keys_and_the_held_sets(
    desk: FakeDesk, capsys: pytest.CaptureFixture[str], language: str, said: tuple[str, ...]
) -> None:
    words.use(language)
    found = {
        **STATUS,
        "ring": {"version": 7, "enrolled": 4, "holding": 3, "ahead": 1},
        "sets": [{"purpose": "floor", "terminals": 4, "whole": 2}],
    }
    desk.answers["GET", "/v1/status"] = (200, found)
    assert run(["status"]) == Code.DONE
    out = " ".join(capsys.readouterr().out.split())
    assert all(text in out for text in said), out


STATUS = {
    "version": "1", "county": "舟曲县", "mode": "drill", "sandbox": False, "operator": "王主任",
    "broker": True, "terminals_url": "http://127.0.0.1:1", "voice": "v", "voice_approved": True,
    "terminals": 4, "enrolled": 4, "online": 4, "held": 0, "doubted": 0, "sending": 0,
    "feeds": [], "alarms": [],
}  # fmt: skip
