"""Whatever is changed in a variant after it was composed, or taken from another message, shows."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from alerts import hazards
from alerts.model import Colour
from tts.cleaning import clean
from tts.phrases import Line, Phrasebook, Status, numbers
from tts.script import Script, ScriptRequest, compose, compose_all
from tts.slots import disagreements
from tts.templates import load

ZH = load("zh")
_LETTER = "كگڭلمنوۇۆپرسشتچجخدزژغف"
NAMES = ("大川镇", "峰迭镇", "立节镇", "曲告纳镇", "县气象局", "县应急局")


def gibberish(zh: str) -> str:
    parts = re.split(r"(\{[a-z]+\}|\d+)", zh)
    return "".join(
        part
        if i % 2
        else "".join(
            _LETTER[ord(c) % 22] + _LETTER[ord(c) // 22 % 22] if c >= "\u4e00" and c.isalpha() else c
            for c in part
        )
        for i, part in enumerate(parts)
    )


BOOK = Phrasebook(
    "ug",
    "1",
    {zh: Line(gibberish(zh), Status.APPROVED, "ئادىل", date(2026, 7, 1)) for zh in (*ZH.lines(), *NAMES)},
)
UG = ZH.spoken_in(BOOK)
MOMENTS = st.integers(0, 60 * 24 * 365).map(lambda m: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=m))
REQUESTS = st.builds(
    ScriptRequest,
    kind=st.sampled_from(["actual", "exercise", "test"]),
    stage=st.sampled_from(["first", "update", "continuation", "downgrade", "cancel"]),
    hazard=st.sampled_from([h.key for h in (*hazards.HAZARDS, hazards.UNKNOWN)]),
    colour=st.sampled_from([None, *Colour]),
    was=st.sampled_from([None, *Colour]),
    issuer=st.sampled_from(["县气象局", "县应急局"]),
    issued=MOMENTS,
    onset=st.none() | MOMENTS,
    expires=st.none() | MOMENTS,
    places=st.lists(st.sampled_from(NAMES[:4]), max_size=4, unique=True).map(tuple),
    description=st.sampled_from(["", "未来6小时降雨量将达50毫米，河水上涨。", "阵风8到10级。"]),
    instruction=st.sampled_from(["", "不要涉水过河，不要冒险过桥。"]),
    short=st.booleans(),
)


def both(request: ScriptRequest) -> tuple[Script, Script]:
    return compose(request, ZH), compose(replace(request, language="ug"), UG)


@settings(max_examples=50, deadline=None)
@given(REQUESTS)
def test_two_languages_of_one_message_always_agree(request: ScriptRequest) -> None:
    zh, ug = both(request)
    assert disagreements(zh, ug) == []
    spoken = compose_all(request, {"zh": ZH, "ug": UG}, ("ug", "zh"))
    assert spoken.language == "ug+zh"
    assert all(not f.whole for f in spoken.fallback)


@settings(max_examples=50, deadline=None)
@given(REQUESTS, REQUESTS)
def test_a_variant_of_another_message_agrees_only_if_mandarin_says_the_same(
    one: ScriptRequest, other: ScriptRequest
) -> None:
    zh, _ = both(one)
    zh_other, stale = both(other)
    if disagreements(zh, stale) == []:
        core = [s.meaning for s in zh.said if s.role not in ("free", "more", "amount")]
        assert core == [s.meaning for s in zh_other.said if s.role not in ("free", "more", "amount")]


@settings(max_examples=80, deadline=None)
@given(REQUESTS, st.data())
def test_one_field_of_the_request_changed_is_told(request: ScriptRequest, data: st.DataObject) -> None:
    changed = data.draw(
        st.sampled_from(
            [
                {"issued": request.issued + timedelta(hours=1)},
                {"issuer": "县应急局" if request.issuer == "县气象局" else "县气象局"},
                {
                    "places": (*request.places[1:], "立节镇")
                    if "立节镇" not in request.places
                    else ("大川镇",)
                },
                {"kind": "exercise" if request.kind != "exercise" else "actual"},
            ]
        )
    )
    zh, _ = both(request)
    zh_new, stale = both(replace(request, **changed))
    assume([s.meaning for s in zh.said] != [s.meaning for s in zh_new.said] or zh.kind != zh_new.kind)
    assert disagreements(zh, stale) != []


@settings(max_examples=150, deadline=None)
@given(REQUESTS, st.data())
def test_a_sentence_changed_dropped_doubled_or_moved_is_told(
    request: ScriptRequest, data: st.DataObject
) -> None:
    zh, ug = both(request)
    index = data.draw(st.integers(0, len(ug.said) - 1))
    how = data.draw(st.sampled_from(["digit", "drop", "double", "swap", "words", "text"]))
    said = list(ug.said)
    one = said[index]
    if how == "digit":
        assume(re.search(r"\d", one.text))
        at = data.draw(st.sampled_from([m.start() for m in re.finditer(r"\d", one.text)]))
        text = one.text[:at] + str((int(one.text[at]) + 1) % 10) + one.text[at + 1 :]
        assume(numbers(text, "ug") != numbers(one.text, "ug"))
        slots = tuple(
            replace(s, said=text[one.text.find(s.said) :][: len(s.said)] if s.said in one.text else s.said)
            for s in one.slots
        )
        said[index] = replace(one, text=text, slots=slots)
    elif how == "drop":
        assume(one.role not in ("more", "amount"))
        del said[index]
    elif how == "double":
        said.insert(index, one)
    elif how == "swap":
        other = data.draw(st.integers(0, len(said) - 1))
        assume(said[other].meaning != one.meaning)
        assume({one.role, said[other].role}.isdisjoint({"more", "amount"}))
        said[index], said[other] = said[other], one
    sentences = tuple(s.text for s in said)
    forged = replace(ug, said=tuple(said), sentences=sentences, text=" ".join(sentences))
    if how == "words":
        forged = replace(ug, sentences=(*ug.sentences[:index], "كگ.", *ug.sentences[index + 1 :]))
    if how == "text":
        forged = replace(ug, text=ug.text + " كگ 7")
    if how == "digit":
        assume(one.role != "amount" or numbers(said[index].text, "ug") != numbers(one.text, "ug"))
    assert disagreements(zh, forged) != [], how


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=400), st.text(max_size=200))
def test_whatever_a_source_writes_becomes_short_sentences(text: str, instruction: str) -> None:
    for sentence in clean(text, instruction):
        assert sentence.strip()
        assert "\n" not in sentence
        assert "http" not in sentence or "://" not in sentence
        assert all(c.isprintable() for c in sentence)
    request = ScriptRequest(
        kind="actual",
        stage="first",
        hazard="rainstorm",
        colour=Colour.RED,
        issuer="县气象局",
        issued=datetime(2026, 7, 15, tzinfo=UTC),
        places=(),
        description=text,
        instruction=instruction,
    )
    assert len(compose(request, ZH).text) < 1000
