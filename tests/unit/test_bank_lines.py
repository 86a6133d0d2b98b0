"""Recorded sentences, the pure part: which lines a bank needs, how words are found, how files name keys."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts import hazards
from tts.bank import countdown, files
from tts.bank.lines import USUAL, Needs, distinct, merged, wanted
from tts.bank.model import (
    Approval,
    BankError,
    Clip,
    Entry,
    Line,
    State,
    Take,
    check_key,
    key_of,
    said,
    split,
    state,
    syllables,
)
from tts.reading import quantity
from tts.templates import load

PLACES = {"w01": "城关镇", "w01v01": "西城社区"}
ZH = load("zh")


def texts(needs: Needs, language: str = "zh") -> dict[str, str]:
    return {line.key: line.text for line in wanted(load(language), needs)[0]}


def test_the_usual_hazards_are_in_the_catalogue() -> None:
    assert set(USUAL) <= {hazard.key for hazard in hazards.HAZARDS}


def test_every_countdown_clause_says_its_own_number_and_no_other() -> None:
    clauses = countdown.sentences()
    assert next(iter(clauses)) == countdown.NUMBERLESS
    assert set(clauses) == {"quake/-", *(f"quake/{n}" for n in range(1, 61))}
    for n in range(1, 61):
        number = "两" if n == 2 else quantity(str(n))
        assert f"还有{number}秒" in clauses[f"quake/{n}"][0]
    assert "秒" not in "".join(clauses["quake/-"])
    assert len({"".join(said_) for said_ in clauses.values()}) == 61


def test_an_exercise_countdown_says_at_both_ends_that_it_is_one() -> None:
    actual = countdown.sentences()
    for clip, sentences in countdown.sentences(kind="exercise").items():
        assert "演练" in sentences[0][:6]
        assert "演练" in sentences[-1]
        assert set(sentences).isdisjoint(actual[clip])


def test_a_language_without_countdown_words_says_what_to_record() -> None:
    with pytest.raises(countdown.CountdownError, match="quake-1 to quake-60"):
        countdown.sentences("bo")


@pytest.mark.parametrize("seconds", [0, 61, -1])
def test_the_countdown_has_no_clip_beyond_its_ends(seconds: int) -> None:
    with pytest.raises(ValueError, match="1 to 60"):
        countdown.name(seconds)


def test_no_words_are_read_twice_and_every_key_is_safe() -> None:
    lines, _ = wanted(ZH, Needs(places=PLACES, issuers=("舟曲县气象台",), times=True))
    words = [said(line.text) for line in lines]
    assert len(words) == len(set(words))
    assert len({line.key for line in lines}) == len(lines)
    assert all(check_key(line.key) == line.key for line in lines)


def test_every_fixed_sentence_of_the_templates_is_a_line() -> None:
    lines = {said(line.text) for line in wanted(ZH, Needs(hazards=("rainstorm",)))[0]}
    assert {said(text) for text in ZH.fixed_sentences(("rainstorm",))} <= lines


def test_an_announcer_reads_what_the_chosen_hazards_say_and_nothing_of_the_others() -> None:
    for hazard in ("rainstorm", "lightning", "thunder_gust", "dam_break"):
        lines = {said(line.text) for line in wanted(ZH, Needs(hazards=(hazard,)))[0]}
        own, generic = ZH.hazards[hazard], ZH.hazards["generic"]
        assert {said(text) for text in (*own.actions.values(), *own.severe, *own.mild) if text} <= lines
        theirs = {
            said(text)
            for key, one in ZH.hazards.items()
            for text in (*one.actions.values(), *one.severe, *one.mild)
            if key not in (hazard, "generic")
        }
        shared = {said(t) for one in (own, generic) for t in (*one.actions.values(), *one.severe, *one.mild)}
        assert not lines & (theirs - shared - {said(t) for t in ZH.all_clear_more})
        assert not {"台风", "霾"} & lines, "a name alone is never said alone"
    few, usual = (len(wanted(ZH, Needs(hazards=one))[0]) for one in (("dam_break",), USUAL))
    assert few < 150 < usual


def test_clauses_carry_names_and_colours_and_places_stand_alone() -> None:
    found = texts(Needs(hazards=("rainstorm", "hail"), places=PLACES))
    words = {said(text) for text in found.values()}
    assert {"暴雨红色预警", "冰雹蓝色预警", "暴雨预警", "城关镇", "西城社区", "等3个地方"} <= words
    assert found["place-w01"] == "城关镇"
    assert not any("{" in text for text in found.values())


def test_what_cannot_be_counted_is_left_to_a_voice() -> None:
    found, left = wanted(ZH, Needs(hazards=("rainstorm",), places=PLACES))
    assert any("{issued}" in text for text in left)
    assert not any(line.key.startswith("day-") for line in found)
    _, less = wanted(ZH, Needs(hazards=("rainstorm",), places=PLACES, issuers=("甲",), times=True))
    assert not any("{issued}" in text and "{was}" not in text for text in less)


def test_a_language_without_words_still_has_its_lines_with_the_mandarin() -> None:
    bo = replace(load("bo"), book=replace(load("bo").book, lines={}))
    lines, left = wanted(bo, Needs(hazards=("rainstorm",), places=PLACES))
    assert all(line.zh and not line.text for line in lines)
    assert {line.key for line in lines} >= {"quake-12", "quake-none", "place-w01", "line-001"}
    assert left


def line(key: str, text: str, **more: str) -> Line:
    return Line(key, text, **more)


def test_a_refresh_keeps_keys_notes_and_what_nobody_needs_any_more() -> None:
    old = [line("line-001", "甲乙。", note="slow"), line("line-002", "丙丁。"), line("place-w01", "城关镇")]
    new = [line("line-001", "丙丁。"), line("line-002", "新的。"), line("place-w01", "城关街道")]
    found = merged(old, new)
    assert [(one.key, one.text) for one in found] == [
        ("line-002", "丙丁。"), ("line-003", "新的。"), ("place-w01", "城关街道"), ("line-001", "甲乙。"),
    ]  # fmt: skip
    assert found[-1].note == "slow"


def test_words_that_were_written_at_last_go_to_the_line_that_waited_for_them() -> None:
    old = [line("line-007", "", zh="再说一遍。", note="ask Tashi")]
    found = merged(old, [line("line-001", "ཡང་བསྐྱར།", zh="再说一遍。")])
    assert [(one.key, one.text, one.note) for one in found] == [("line-007", "ཡང་བསྐྱར།", "ask Tashi")]


def test_what_a_person_wrote_into_the_table_is_not_taken_away() -> None:
    old = [line("quake-12", "ས་འགུལ།", zh="地震波还有十二秒到达，请立即避险！")]
    found = merged(old, [line("quake-12", "", zh="地震波还有十二秒到达，请立即避险！")])
    assert [one.text for one in found] == ["ས་འགུལ།"]


words_ = st.text(st.sampled_from("甲乙丙丁戊"), min_size=1, max_size=3)


@given(
    st.lists(words_, max_size=8, unique=True), st.lists(words_, max_size=8, unique=True), st.integers(0, 3)
)
def test_a_refresh_loses_no_words_and_makes_no_key_twice(old: list[str], new: list[str], shift: int) -> None:
    before = [line(f"line-{n + shift:03d}", text) for n, text in enumerate(old)]
    found = merged(before, [line(f"line-{n:03d}", text) for n, text in enumerate(new)])
    keys = [one.key for one in found]
    assert len(keys) == len(set(keys))
    assert {one.text for one in found} == {*old, *new}
    by_key = {one.key: one.text for one in found}
    assert all(by_key[one.key] == one.text for one in before)


def test_distinct_keeps_the_first_of_the_same_words() -> None:
    assert [one.key for one in distinct([line("a", "甲。"), line("b", "甲！"), line("c", "乙")])] == [
        "a",
        "c",
    ]


KNOWN = {
    "城关镇": ["place-1"], "大川镇": ["place-2"], "暴雨红色预警": ["part-1-rainstorm-red"],
    "等3个地方": ["many-3"], "请注意": ["line-1"], "请立即离开": ["line-2"],
    "预警有效到": ["part-2"], "7月15日": ["day-7-15"],
    "1月5日": ["day-1-5"], "20时": ["hour-20"], "2": ["hour-2"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("sentence", "parts"),
    [
        ("城关镇，暴雨红色预警。", ["城关镇", "暴雨红色预警"]),
        ("城关镇、大川镇等3个地方，暴雨红色预警。", ["城关镇", "大川镇", "等3个地方", "暴雨红色预警"]),
        ("预警有效到7月15日20时。", ["预警有效到", "7月15日", "20时"]),
        ("请注意，请注意。", ["请注意", "请注意"]),
        ("城关镇，暴雨橙色预警。", None),
        ("暴雨红色预警", ["暴雨红色预警"]),
        ("请注意请立即离开", None),  # two whole sentences without a comma are no clause
        ("不是暴雨红色预警", None),
        ("暴雨红色预警吗", None),
        ("预警有效到11月5日20时。", None),  # 1月5日 must not be cut out of a number
        ("预警有效到7月15日220时。", None),
        ("", None),
        ("。", None),
    ],
)
def test_a_sentence_is_put_together_of_its_very_words_only(sentence: str, parts: list[str] | None) -> None:
    assert split(sentence, KNOWN) == parts


@given(
    st.text(st.sampled_from("甲乙丙12，。 "), max_size=14),
    st.sets(words_ | st.sampled_from(["1", "2", "12"])),
)
def test_whatever_is_put_together_says_the_sentence_and_nothing_else(sentence: str, known: set[str]) -> None:
    parts = split(sentence, {words: ["place-x"] for words in known})
    if parts is not None:
        bare = "".join(c for c in sentence if c not in "，。 ")
        assert "".join(parts) == bare
        assert set(parts) <= known


@pytest.mark.parametrize(
    ("stem", "meant"),
    [
        ("line-012", ("line-012", 0)), ("LINE_012", ("line-012", 0)), ("line-012 (2)", ("line-012", 2)),
        ("line-012_take3", ("line-012", 3)), ("line-012-第2遍", ("line-012", 2)), ("quake-1", ("quake-1", 0)),
        ("quake-12", ("quake-12", 0)), ("quake-1-2", ("quake-1", 2)), ("quake-1 2", ("quake-1", 2)),
        ("quake-13", None), ("quake-122", None), ("../line-012", None), ("line-012x", None), ("", None),
        ("xline-012", None),
    ],
)  # fmt: skip
def test_a_file_name_means_one_key_and_take(stem: str, meant: tuple[str, int] | None) -> None:
    assert key_of(stem, ["line-012", "quake-1", "quake-12"]) == meant


@pytest.mark.parametrize("key", ["", "../x", "a/b", "A", "a..b", "a b", "-a", "a-", "a" * 65, "a\x00", "é"])
def test_a_key_that_could_name_another_file_is_refused(key: str) -> None:
    with pytest.raises(BankError, match="small letters"):
        check_key(key)


def test_syllables_are_counted_in_every_script() -> None:
    assert syllables("请立即避险！", "zh") == 5
    assert syllables("བཀྲ་ཤིས་བདེ་ལེགས།", "bo") == 4
    assert syllables("지금 대피", "ko") == 4
    assert 2 <= syllables("دىققەت", "ug") <= 4


CLIP = Clip("a.flac", "0" * 64, 1, "甲", 1.0, -20.0, -4.0)
TAKE = Take(1, "a/1.wav", "1" * 64, "甲", "a.wav", "2026-11-22")


@pytest.mark.parametrize(
    ("line_", "entry", "expected"),
    [
        (line("a", ""), None, State.UNWRITTEN),
        (line("a", "甲"), None, State.MISSING),
        (line("a", "甲"), Entry((TAKE,), 1), State.RECORDED),
        (line("a", "乙"), Entry((TAKE,), 1, CLIP), State.CHANGED),
        (line("a", "甲"), Entry((TAKE,), 1, CLIP), State.LEVELLED),
        (line("a", "甲"), Entry((TAKE,), 1, CLIP, Approval(CLIP, "x", "d")), State.APPROVED),
        (
            line("a", "甲"),
            Entry((TAKE,), 1, CLIP, Approval(replace(CLIP, sha256="2" * 64), "x", "d")),
            State.LEVELLED,
        ),
        (line("a", "甲"), Entry((TAKE, replace(TAKE, number=2)), 2, CLIP), State.RECORDED),
    ],
)
def test_how_far_a_line_has_come(line_: Line, entry: Entry | None, expected: State) -> None:
    assert state(line_, entry) is expected


def test_an_approved_clip_serves_until_its_words_change_or_another_is_approved() -> None:
    entry = Entry((TAKE, replace(TAKE, number=2)), 2, None, Approval(CLIP, "x", "d"))
    assert entry.in_service(line("a", "甲")) == CLIP
    assert entry.in_service(line("a", "乙")) is None
    assert entry.newest(line("a", "甲")) is None


def test_the_table_survives_a_spreadsheet(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    lines = [line("line-001", "请注意，“请注意”。", note='a "b", c'), line("quake-1", "")]
    (folder / "lines.csv").write_bytes(files.lines_text(lines))
    assert files.read_lines(folder) == lines
    (folder / "lines.csv").write_bytes(files.lines_text(lines).decode("utf-8-sig").encode("gb18030"))
    assert files.read_lines(folder) == lines


def test_a_file_is_on_the_disk_before_it_takes_its_name(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    from pathlib import Path

    done: list[str] = []
    rename = Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: done.append("sync"))
    monkeypatch.setattr(Path, "replace", lambda self, to: (done.append("rename"), rename(self, to))[1])
    files.write(Path(str(tmp_path)) / "a", b"x")
    assert done == ["sync", "rename", "sync"]
