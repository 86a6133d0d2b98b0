"""Thirty variants of a message that say something else, in a real phrasebook: none may be aired.

Each is changed as a slip in a phrasebook or a stale clip would change it: the sentence, the script's
sentences and its text all say the same wrong thing.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alerts.model import Colour
from tts.phrases import Phrasebook, Status
from tts.script import Script, ScriptRequest, compose
from tts.slots import Role, Said, disagreements
from tts.structure import Templates
from tts.templates import load, shipped

ZH = load("zh")
ISSUED = datetime(2026, 7, 15, 12, 30, tzinfo=UTC)
REQUEST = ScriptRequest(
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
TAGS = ("yue", "ko")
NAMES: dict[str, dict[str, str]] = {
    "ko": {"大川镇": "대천진", "峰迭镇": "봉질진", "立节镇": "립절진", "舟曲县气象局": "주곡현 기상국"},
    "yue": {n: n for n in ("大川镇", "峰迭镇", "立节镇", "舟曲县气象局")},
}
NEGATIONS = {"yue": "唔好|唔", "ko": "지 마십시오"}


def _templates(tag: str) -> Templates:
    book = shipped(tag)
    named = {zh: replace(next(iter(book.lines.values())), text=text) for zh, text in NAMES[tag].items()}
    lines = {
        zh: replace(line, status=Status.APPROVED, by="测试", on=ISSUED.date())
        for zh, line in ({**book.lines, **named}).items()
    }
    return ZH.spoken_in(Phrasebook(book.language, book.version, lines))


def _pair(tag: str, **changes: object) -> tuple[Script, Script]:
    request = replace(REQUEST, **changes)  # type: ignore[arg-type]
    return compose(request, ZH), compose(replace(request, language=tag), _templates(tag))


def _rewritten(script: Script, said: list[Said]) -> Script:
    """As one who changed all of it together would leave it."""
    texts = tuple(s.text for s in said)
    return replace(script, said=tuple(said), sentences=texts, text="".join(texts), headline=texts[:1])


def _changed(script: Script, role: Role, old: str, new: str) -> Script:
    said = [
        replace(
            s,
            text=re.sub(old, new, s.text, count=1),
            slots=tuple(replace(x, said=re.sub(old, new, x.said, count=1)) for x in s.slots),
        )
        if s.role is role
        else s
        for s in script.said
    ]
    assert said != list(script.said), (role, old, script.text)
    return _rewritten(script, said)


def _without(script: Script, role: Role) -> Script:
    assert any(s.role is role for s in script.said)
    return _rewritten(script, [s for s in script.said if s.role is not role])


@pytest.mark.parametrize("tag", TAGS)
def test_the_variant_itself_agrees(tag: str) -> None:
    assert disagreements(*_pair(tag)) == []


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize(
    ("role", "old", "new"),
    [
        (Role.SOURCE, "15", "16"),
        (Role.SOURCE, "20", "21"),
        (Role.SOURCE, "30", "31"),
        (Role.EXPIRES, "16", "17"),
        (Role.EXPIRES, r"\b2(?!\d)|2(?=[时點点시])", "3"),
        (Role.AMOUNT, "50", "51"),
        (Role.AMOUNT, "50", "500"),
        (Role.AMOUNT, "6", "5"),
    ],
)
def test_a_number_changed_by_one_blocks(tag: str, role: Role, old: str, new: str) -> None:
    zh, variant = _pair(tag)
    if not any(s.role is role for s in variant.said):
        role = Role.FREE
    assert disagreements(zh, _changed(variant, role, old, new)) != []


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize(
    "stale",
    [
        {"places": ("大川镇", "立节镇")},
        {"places": ("大川镇",)},
        {"issued": ISSUED - timedelta(hours=1)},
        {"expires": ISSUED + timedelta(hours=7)},
        {"expires": None},
        {"colour": Colour.RED},
        {"stage": "cancel"},
        {"kind": "exercise"},
    ],
)
def test_a_variant_of_the_message_before_blocks(tag: str, stale: dict[str, object]) -> None:
    zh, _ = _pair(tag)
    _, old = _pair(tag, **stale)
    assert disagreements(zh, old) != []


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("role", [Role.ATTENTION, Role.LEAD, Role.ACTION, Role.SOURCE, Role.EXPIRES])
def test_a_part_that_is_missing_blocks(tag: str, role: Role) -> None:
    zh, variant = _pair(tag)
    assert disagreements(zh, _without(variant, role)) != []


@pytest.mark.parametrize("tag", TAGS)
def test_a_negation_that_is_lost_blocks(tag: str) -> None:
    zh, variant = _pair(tag)
    turned = [s for s in variant.said if re.search(NEGATIONS[tag], s.text)]
    assert turned, variant.text
    for sentence in turned:
        lost = replace(
            sentence, text=re.sub(NEGATIONS[tag], "" if tag == "yue" else "십시오", sentence.text, count=1)
        )
        said = [lost if s is sentence else s for s in variant.said]
        assert any("不" in p for p in disagreements(zh, _rewritten(variant, said))), lost.text


@pytest.mark.parametrize("tag", TAGS)
def test_a_place_that_another_took_the_place_of_blocks(tag: str) -> None:
    zh, variant = _pair(tag)
    name = NAMES[tag].get("大川镇", "大川镇")
    said = [replace(s, text=s.text.replace(name, NAMES[tag].get("峰迭镇", "峰迭镇"))) for s in variant.said]
    assert disagreements(zh, _rewritten(variant, said)) != []
