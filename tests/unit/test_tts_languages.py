"""One message in several languages: what is approved, what falls back, and whether all say the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from alerts.model import Colour
from tts.phrases import (
    LANGUAGES,
    Line,
    Phrasebook,
    PhraseError,
    Status,
    faults,
    numbers,
    parse_phrasebook,
    slots_of,
)
from tts.script import (
    Script,
    ScriptError,
    ScriptRequest,
    Templates,
    Unsayable,
    compose,
    compose_all,
)
from tts.slots import Role, Said, Slot, amounts, disagreements
from tts.templates import keep, load, load_all, own, own_file

ZH = load("zh")
ISSUED = datetime(2026, 7, 15, 12, 30, tzinfo=UTC)
RAIN = ScriptRequest(
    kind="actual",
    stage="first",
    hazard="rainstorm",
    colour=Colour.ORANGE,
    issuer="县气象局",
    issued=ISSUED,
    places=("大川镇", "峰迭镇", "老庄村"),
    onset=ISSUED + timedelta(hours=2),
    expires=ISSUED + timedelta(hours=6),
    description="预计未来6小时降雨量将达50毫米以上，阵风7到9级。",
    instruction="关好门窗。",
)
NAMES = ("县气象局", "大川镇", "峰迭镇", "老庄村")
# Words that nobody speaks: each Mandarin character as one Tibetan letter, slots and numbers as they are.
_LETTER = "ཀཁགངཅཆཇཉཏཐདནཔཕབམཙཚཛཝཞཟའཡརལཤསཧཨ"


def gibberish(zh: str) -> str:
    out, inside = [], False
    for c in zh:
        inside = (inside or c == "{") and c != "}"
        letter = "\u4e00" <= c <= "\u9fff" and not inside
        out.append(_LETTER[ord(c) % 30] + _LETTER[ord(c) // 30 % 30] + "་" if letter else c)
    return "".join(out)


def book(status: Status, *without: str, extra: tuple[str, ...] = NAMES) -> Phrasebook:
    texts = [zh for zh in (*ZH.lines(), *extra) if zh not in without]
    by = {} if status is Status.DRAFT else {"by": "扎西", "on": date(2026, 7, 1)}
    lines = {zh: Line(gibberish(zh), status, **by) for zh in texts}  # type: ignore[arg-type]
    return Phrasebook("bo", "1", lines)


def templates(status: Status = Status.APPROVED, *without: str) -> dict[str, Templates]:
    return {"zh": ZH, "bo": ZH.spoken_in(book(status, *without))}


def tibetan(request: ScriptRequest = RAIN, *without: str) -> Script:
    return compose(replace(request, language="bo"), templates(Status.APPROVED, *without)["bo"])


# --- what may be aired --------------------------------------------------------------------------------------


def test_an_approved_language_is_said_whole_and_mandarin_says_the_source_s_words() -> None:
    spoken = compose_all(RAIN, templates(), ("bo", "zh"))
    assert spoken.language == "bo+zh"
    bo, zh = spoken.scripts
    assert disagreements(zh, bo) == []
    assert all(not f.whole for f in spoken.fallback)
    assert spoken.fallback[0].reason.startswith("the source's own words: 预计未来6小时")
    assert len(bo.headline) == len(zh.headline) == 3
    assert bo.brief().said == bo.said[:3]
    assert "6" in bo.text
    assert "50" in bo.text
    assert not any("\u4e00" <= c <= "\u9fff" for c in bo.text)


@pytest.mark.parametrize(
    ("kind", "status", "heard"),
    [
        ("actual", Status.APPROVED, True),
        ("actual", Status.REVIEWED, False),
        ("actual", Status.DRAFT, False),
        ("exercise", Status.APPROVED, True),
        ("exercise", Status.REVIEWED, True),
        ("exercise", Status.DRAFT, False),
        ("test", Status.REVIEWED, True),
        ("test", Status.DRAFT, False),
    ],
)
def test_a_line_is_aired_only_as_far_as_somebody_answers_for_it(
    kind: str, status: Status, heard: bool
) -> None:
    spoken = compose_all(replace(RAIN, kind=kind), templates(status), ("bo",))  # type: ignore[arg-type]
    assert ("bo" in spoken.language.split("+")) == heard
    if not heard:
        assert spoken.language == "zh"
        assert any(f.whole and str(status) in f.reason for f in spoken.fallback)


def test_one_draft_among_approved_lines_takes_the_whole_language_off_the_air() -> None:
    action = ZH.hazards["rainstorm"].actions[Colour.ORANGE]
    good = book(Status.APPROVED)
    bad = Phrasebook("bo", "1", {**good.lines, action: replace(good.lines[action], status=Status.DRAFT)})
    with pytest.raises(Unsayable, match="draft, not approved"):
        compose(replace(RAIN, language="bo"), ZH.spoken_in(bad))


@pytest.mark.parametrize(
    "missing",
    [
        "请注意，请注意。",
        "{places}，{event}{colour}预警。",
        "{issuer}{issued}发布{event}{colour}预警。",
        "预警有效到{expires}。",
        "预计{onset}开始影响。",
        "{month}月{day}日{hour}时{minute}分",
        "{places}等{count}个地方",
        "涉及{places}。",
        "橙色",
        "暴雨",
        "大川镇",
        "县气象局",
        "再说一遍。",
    ],
)
def test_what_a_message_must_have_takes_the_language_off_and_says_why(missing: str) -> None:
    spoken = compose_all(RAIN, templates(Status.APPROVED, missing), ("bo",))
    assert spoken.language == "zh"
    assert [f.reason for f in spoken.fallback if f.whole] == [f"no words for {missing!r}"]


def test_further_guidance_that_is_missing_is_left_to_the_mandarin_and_told() -> None:
    missing = "不要涉水过河，不要冒险过桥。"
    spoken = compose_all(RAIN, templates(Status.APPROVED, missing), ("bo",))
    assert spoken.language == "bo+zh"
    assert f"no words for {missing!r}" in [f.reason for f in spoken.fallback if not f.whole]


def test_a_language_that_says_everything_needs_no_mandarin_after_it() -> None:
    whole = replace(RAIN, description="", instruction="")
    spoken = compose_all(whole, templates(), ("bo",))
    assert (spoken.language, spoken.fallback) == ("bo", ())
    assert compose_all(whole, templates(), ("zh", "bo")).language == "zh+bo"
    assert compose_all(whole, templates(), ()).language == "zh"
    assert compose_all(whole, templates(), ("bo", "bo")).language == "bo"


def test_a_language_without_templates_is_named() -> None:
    spoken = compose_all(RAIN, templates(), ("ug", "bo"))
    assert spoken.language == "bo+zh"
    assert ("ug", "it has no templates") in [(f.language, f.reason) for f in spoken.fallback]


def test_none_of_our_drafts_can_be_heard_as_it_is_shipped() -> None:
    every = load_all()
    assert set(LANGUAGES) <= set(every)
    for tag, found in every.items():
        if tag == "zh":
            continue
        assert {line.status for line in found.book.lines.values()} <= {Status.DRAFT}
        for kind in ("actual", "exercise", "test"):
            assert compose_all(replace(RAIN, kind=kind), every, (tag,)).language == "zh"  # type: ignore[arg-type]


@pytest.mark.parametrize("tag", [t for t in LANGUAGES if t != "zh"])
def test_our_drafts_keep_slots_numbers_and_script_and_translate_lines_that_exist(tag: str) -> None:
    found = load(tag)
    known = ZH.lines()
    for zh, line in found.book.lines.items():
        assert zh in known, f"stale: {zh}"
        assert faults(zh, line.text, tag) == []
    assert sum(1 for zh in known if found.standing(zh).status is Status.MISSING) > 0


def test_cantonese_and_korean_carry_a_warning_once_somebody_approves_it() -> None:
    for tag in ("yue", "ko"):
        drafts = load(tag).book
        lines = {
            zh: replace(line, status=Status.APPROVED, by="陈", on=date(2026, 7, 1))
            for zh, line in drafts.lines.items()
        }
        native = {"yue": NAMES, "ko": ("현기상국", "대천진", "봉질진", "로장촌")}[tag]
        lines |= {
            zh: Line(text, Status.APPROVED, "陈", date(2026, 7, 1))
            for zh, text in zip(NAMES, native, strict=True)
        }
        every = {"zh": ZH, tag: ZH.spoken_in(Phrasebook(tag, "1", lines))}
        for hazard, colour in (("rainstorm", Colour.RED), ("flash_flood", Colour.RED)):
            for stage in ("first", "continuation", "downgrade", "cancel"):
                request = replace(RAIN, hazard=hazard, colour=colour, stage=stage)  # type: ignore[arg-type]
                spoken = compose_all(request, every, (tag,))
                assert spoken.language == f"{tag}+zh", (hazard, stage, spoken.fallback)


# --- one story in all of them -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "tells"),
    [
        ({"places": ("大川镇",)}, "大川镇"),
        ({"places": ("大川镇", "峰迭镇", "别的村")}, "places"),
        ({"expires": ISSUED + timedelta(hours=7)}, "expires"),
        ({"expires": None}, "expires"),
        ({"onset": None}, "onset"),
        ({"issued": ISSUED + timedelta(minutes=1)}, "issued"),
        ({"issuer": "县应急局"}, "issuer"),
        ({"colour": Colour.RED}, "colour"),
        ({"colour": None}, "lead"),
        ({"hazard": "gale"}, "event"),
        ({"stage": "update"}, "update"),
        ({"stage": "cancel"}, "cancel"),
        ({"kind": "exercise"}, "exercise"),
        ({"description": "预计未来6小时降雨量将达80毫米以上。"}, "amount"),
    ],
)
def test_a_variant_of_another_message_is_told(change: dict[str, object], tells: str) -> None:
    names = {**book(Status.APPROVED, extra=(*NAMES, "别的村", "县应急局")).lines}
    other = ZH.spoken_in(Phrasebook("bo", "1", names))
    stale = compose(replace(RAIN, language="bo", **change), other)  # type: ignore[arg-type]
    found = disagreements(compose(RAIN, ZH), stale)
    assert any(tells in problem for problem in found), found


def test_a_slot_that_says_another_number_than_it_holds_is_told() -> None:
    mandarin, bo = compose(RAIN, ZH), tibetan()
    index = next(i for i, s in enumerate(bo.said) if s.role is Role.EXPIRES)
    slot = bo.said[index].slots[0]
    wrong = slot.said.replace("16", "17")
    assert wrong != slot.said
    text = bo.said[index].text.replace(slot.said, wrong)
    said = replace(bo.said[index], text=text, slots=(replace(slot, said=wrong),))
    sentences = (*bo.sentences[:index], text, *bo.sentences[index + 1 :])
    forged = replace(
        bo,
        said=(*bo.said[:index], said, *bo.said[index + 1 :]),
        sentences=sentences,
        text=" ".join(sentences),
    )
    assert any("numbers" in problem for problem in disagreements(mandarin, forged))


def test_another_count_of_places_is_told() -> None:
    def said(count: int) -> Script:
        text = f"XY {count}."
        slot = Slot("places", "甲镇、乙镇 of 3", f"XY {count}")
        return Script("bo", (text,), text, "", "", (), said=(Said(text, Role.LEAD, "{places}。", (slot,)),))

    assert disagreements(said(3), said(3)) == []
    assert disagreements(said(3), said(4)) == ["bo: 4 places in 'XY 4.', not 3"]


def test_words_that_nobody_composed_are_compared_by_their_numbers() -> None:
    a = Script("zh", ("十二村，30毫米。",), "十二村，30毫米。", "", "", ())
    good = Script("bo", ("༣༠",), "༡༢ ༣༠", "", "", ())
    bad = Script("bo", ("༤༠",), "༡༢ ༤༠", "", "", ())
    assert disagreements(a, good) == []
    assert disagreements(a, bad) == ["bo: numbers 12、40 as a whole, zh has 12、30"]


def test_a_name_with_a_number_in_it_may_be_written_out() -> None:
    lines = dict(book(Status.APPROVED).lines)
    lines["12村"] = Line("བཅུ་གཉིས་", Status.APPROVED, "扎西", date(2026, 7, 1))
    every = {"zh": ZH, "bo": ZH.spoken_in(Phrasebook("bo", "1", lines))}
    request = replace(RAIN, places=("12村",), description="", instruction="")
    assert compose_all(request, every, ("bo",)).language == "bo"


def test_a_township_s_village_is_named_by_both_names() -> None:
    request = replace(RAIN, places=("大川镇老庄村",), description="", instruction="")
    spoken = compose_all(request, templates(), ("bo",))
    assert spoken.language == "bo"
    assert f"{gibberish('大川镇')} {gibberish('老庄村')}" in spoken.scripts[0].text


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("预计未来6小时降雨量将达50毫米以上", ["未来{hours}小时雨量将达{value}毫米。"]),
        ("未来6小时雨量将达30～50毫米", ["未来{hours}小时雨量将达{value}毫米。"]),
        ("过去3小时健跳镇雨量已达62.4毫米", ["过去{hours}小时雨量已达{value}毫米。"]),
        ("阵风7-9级", ["阵风{low}到{high}级。"]),
        ("阵风可达8级", ["阵风{value}级。"]),
        ("最高气温将升至37℃", ["最高气温{value}度。"]),
        ("能见度小于500米的浓雾", ["能见度小于{value}米。"]),
        ("有大雨", []),
    ],
)
def test_amounts_are_found_in_a_source_s_words(text: str, lines: list[str]) -> None:
    assert [a.line for a in amounts(text)] == lines


# --- numbers and faults -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tag", "found"),
    [
        ("༡༢་ ༣༠", "bo", ("12", "30")),
        ("٦ سائەت 50", "ug", ("6", "50")),
        ("12,500 3.20", "za", ("3.2", "12500")),
        ("三十毫米，一百二十人，两小时", "zh", ("2", "30", "120")),
        ("再说一遍，一切安全", "zh", ()),
        ("十二点五", "yue", ("12.5",)),
        ("삼십 밀리미터, 이 지역", "ko", ("30",)),
        ("᠐᠕", "mn", ("5",)),
    ],
)
def test_numbers_are_read_in_the_digits_and_words_of_the_language(
    text: str, tag: str, found: tuple[str, ...]
) -> None:
    assert numbers(text, tag) == found


@pytest.mark.parametrize(
    ("zh", "text", "tag", "fault"),
    [
        ("涉及{places}。", "ཡུལ་", "bo", "slot {places} is missing"),
        ("涉及{places}。", "ཡུལ་ {places} {places}", "bo", "slot {places} is not in the Mandarin"),
        ("涉及{places}。", "ཡུལ་ {place}", "bo", "slot {place} is not"),
        ("涉及{places}。", "ཡུལ་ {places!r}", "bo", "plain slot"),
        ("涉及{places}。", "ཡུལ་ {places.__class__}", "bo", "plain slot"),
        ("涉及{places}。", "ཡུལ་ {places", "bo", "braces"),
        ("再说一遍。", "再说一遍。", "bo", "not in the script"),
        ("再说一遍。", "Тағы бір рет.", "kk", "not in the script"),
        ("再说一遍。", "Дахин хэлье.", "mn", "not in the script"),
        ("再说一遍。", "once more", "ug", "no letter of Uyghur"),
        ("走50米。", "གོམ་ 500", "bo", "numbers 500 instead of 50"),
        ("走50米。", "གོམ་", "bo", "numbers none instead of 50"),
        ("不要过河，不要过桥。", "唔好过河，要过桥。", "yue", "a 不 of the Mandarin is lost"),
        ("请过桥。", "다리를 건너지 마십시오.", "ko", "says not where"),
        ("再说一遍。", "ཡང་\u202e", "bo", "invisible"),
        ("再说一遍。", "ཡང་\n", "bo", "control"),
        ("再说一遍。", "ཡང་ http://a.cn", "bo", "web address"),
        ("再说一遍。", "ཡང་" * 200, "bo", "longer than"),
    ],
)
def test_a_machine_sees_what_is_wrong_with_a_line(zh: str, text: str, tag: str, fault: str) -> None:
    assert any(fault in problem for problem in faults(zh, text, tag)), faults(zh, text, tag)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"zh": "再说一遍。", "text": "ཡང་", "status": "approved"}, "needs by"),
        ({"zh": "再说一遍。", "text": "ཡང་", "status": "reviewed", "by": "扎西"}, "needs by"),
        ({"zh": "再说一遍。", "text": "ཡང་", "status": "reviewed", "by": "扎西", "on": "2026"}, "on must be"),
        ({"zh": "再说一遍。", "text": "ཡང་", "status": "aproved"}, "must be draft, reviewed or approved"),
        ({"zh": "再说一遍。", "text": "", "status": "draft"}, "text is empty"),
        ({"zh": "再说一遍。", "text": "ཡང་", "stat": "draft"}, "stat is not known"),
        ({"zh": "", "text": "ཡང་"}, "zh, the Mandarin"),
        ({"zh": "走50米。", "text": "གོམ་ 5", "status": "draft"}, "numbers"),
        ("again", "must be a table"),
    ],
)
def test_a_phrasebook_with_a_fault_is_refused_with_its_place(row: object, why: str) -> None:
    with pytest.raises(PhraseError, match=rf"here.toml: line 1.*{why}"):
        parse_phrasebook({"language": "bo", "version": "1", "lines": [row]}, where="here.toml")


def test_a_phrasebook_says_all_its_faults_at_once() -> None:
    rows = [
        {"zh": "走5米。", "text": "གོམ་"},
        {"zh": "走6米。", "text": "གོམ་"},
        {"zh": "走6米。", "text": "༦ གོམ་"},
    ]
    with pytest.raises(PhraseError) as told:
        parse_phrasebook({"language": "bo", "lines": rows, "extra": 1}, where="x")
    assert len(str(told.value).splitlines()) == 4


# --- a county's own words -----------------------------------------------------------------------------------


def test_a_county_s_words_lie_over_ours_and_survive_the_way_through_a_file(tmp_path: Path) -> None:
    line = Line('ཡང་ "བསྐྱར"\\', Status.APPROVED, "扎西", date(2026, 7, 1), "note")
    file = keep(tmp_path, Phrasebook("bo", "7", {"再说一遍。": line}))
    assert file == own_file(tmp_path, "bo")
    back = own(tmp_path, "bo")
    assert back is not None
    assert back.lines["再说一遍。"] == line
    found = load("bo", [tmp_path])
    assert found.say("再说一遍。", "actual") == (line.text, "")
    assert found.standing("请注意，请注意。").status is Status.DRAFT
    assert found.version != load("bo").version


def test_a_county_changes_the_mandarin_only_with_words_that_somebody_answers_for(tmp_path: Path) -> None:
    attention = "请注意，请注意。"
    keep(tmp_path, Phrasebook("zh", "1", {attention: Line("乡亲们，请注意。", Status.DRAFT)}))
    assert compose(RAIN, load("zh", [tmp_path])).sentences[0] == attention
    approved = Line("乡亲们，请注意。", Status.APPROVED, "王", date(2026, 7, 1))
    keep(tmp_path, Phrasebook("zh", "2", {attention: approved}))
    assert compose(RAIN, load("zh", [tmp_path])).sentences[0] == "乡亲们，请注意。"


def test_a_draft_does_not_unseat_what_somebody_has_answered_for() -> None:
    approved = Phrasebook("bo", "1", {"a": Line("ཀ", Status.APPROVED, "扎西", date(2026, 7, 1))})
    draft = Phrasebook("bo", "2", {"a": Line("ཁ", Status.DRAFT)})
    assert approved.under(draft).lines["a"].text == "ཀ"
    assert draft.under(approved).lines["a"].text == "ཀ"


def test_a_county_adds_a_language_of_its_own(tmp_path: Path) -> None:
    line = Line("wan", Status.APPROVED, "王", date(2026, 7, 1))
    keep(tmp_path, Phrasebook("lis", "1", {"再说一遍。": line}))
    assert "lis" in load_all([tmp_path])
    with pytest.raises(ScriptError, match="lis"):
        load("lis")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"language = ", "bo.toml"),
        (b'language = "ug"\n', "named for 'bo'"),
        ('language = "bo"\n[[lines]]\nzh = "走5米。"\ntext = "ཀ"\n'.encode(), "numbers none instead of 5"),
        (b"#" * (5 << 20), "larger than"),
    ],
)
def test_a_broken_file_of_a_county_says_which_and_why(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "bo.toml").write_bytes(data)
    with pytest.raises(ScriptError, match=rf"bo.toml.*{why}|{why}"):
        load("bo", [tmp_path])


def test_a_tag_is_never_a_path(tmp_path: Path) -> None:
    for tag in ("../bo", "/etc/passwd", "", "b", "bo/..", "BO"):
        with pytest.raises(ScriptError):
            load(tag, [tmp_path])


def test_slots_of_a_line_are_plain_names() -> None:
    assert slots_of("{places}，{event}") == {"places": 1, "event": 1}
    assert Slot("places", "a", "b") == Slot("places", "a", "b")
