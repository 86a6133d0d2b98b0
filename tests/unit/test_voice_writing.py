"""What a voice is given to read: its language, in a script that it knows."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts.voice import VoiceError, VoiceFailure
from tts.voices.writing import SCRIPTS, bounds, cyrillic_kazakh, written_for

KAZAKH = """
قازاقستان қазақстан|ءتىل тіл|ەسكەرتۋ ескерту|توتەنشە төтенше|جاعداي жағдай
سۋ су|تاسقىنى тасқыны|جەر жер|سىلكىنىسى сілкінісі|قاۋىپتى қауіпті
قاۋىپسىزدىك қауіпсіздік|كوشكىن көшкін|ءورت өрт|جاڭبىر жаңбыр|نوسەر нөсер
قىزىل қызыл|سارى сары|كوك көк|دەرەۋ дереу|بيىك биік
جاۋىن жауын|داۋىل дауыл|اۋىل ауыл|تۇرعىندار тұрғындар|ايالداما аялдама
ياعني яғни|وقۋ оқу|جاتتىعۋ жаттығу|سىناق сынақ|ءبىز біз
ءۇي үй|ءۇش үш|ءتورت төрт|ەكى екі|ون он
اكىمشىلىك әкімшілік|ساعات сағат|مينۋت минут|قازىر қазір|مەكتەپ мектеп
وزەن өзен|كوپىر көпір|ءسوز сөз|كەڭسە кеңсе|بالا бала
جوعارى жоғары|شۇعىل шұғыл|ۆيرۋس вирус|قىزمەت қызмет|اۋدان аудан
كىتاپتار кітаптар|كيلومەتر километр|تاۋلىك тәулік|وقيعا оқиға|قويىڭىز қойыңыз
قار қар
"""


@pytest.mark.parametrize("pair", KAZAKH.replace("\n", "|").strip("|").split("|"))
def test_kazakh_in_arabic_script_becomes_cyrillic(pair: str) -> None:
    arabic, cyrillic = pair.split(" ")
    assert cyrillic_kazakh(arabic) == cyrillic


def test_a_sentence_keeps_its_stops_and_numbers_and_takes_our_digits() -> None:
    assert written_for("kk", ["٢٠٢٦ جىلى، سۋ تاسقىنى؟ 80 mm!"]) == ("2026 жылы, су тасқыны? 80 mm!",)


def test_kazakh_in_cyrillic_is_left_alone() -> None:
    said = "Төтенше ескерту: су тасқыны!"
    assert written_for("kk", [said]) == (said,)


@given(st.text("ابۆگعدەهجزيكقلمنڭوپرستۋۇفحچشىء ،", min_size=1, max_size=60))
def test_whatever_is_written_in_kazakhs_arabic_letters_comes_out_without_one(text: str) -> None:
    out = cyrillic_kazakh("ا" + text)
    assert not any("\u0600" <= c <= "\u06ff" for c in out)
    assert out.count(" ") == text.count(" ")


@pytest.mark.parametrize(
    ("language", "sentence", "word"),
    [
        ("ug", "请马上转移。", "Cjk"),
        ("ug", "دەرھال 紧急 چىقىڭ", "Cjk"),
        ("mn", "ᠰᠡᠷᠡᠮᠵᠢᠯᠡᠭᠦᠯᠬᠦ", "Cyrillic, or record"),
        ("mn", "请马上转移。", "Cjk"),
        ("zh", "دىققەت", "Arabic"),
        ("ko", "请马上转移。", "Cjk"),
        ("bo", "请马上转移。", "Cjk"),
        ("ii", "请马上转移。", "Cjk"),
        ("vi", "Опасность", "Cyrillic"),
        ("kk", "请马上转移。", "Cjk"),
        ("ky", "ەسكەرتۋ", "Arabic"),
        ("ug", "SOS 119", "nothing of it"),
        ("zh", "SOS", "nothing of it"),
    ],
)
def test_another_script_than_the_languages_is_refused_with_what_to_do(
    language: str, sentence: str, word: str
) -> None:
    with pytest.raises(VoiceError, match=word) as failed:
        written_for(language, [sentence])
    assert failed.value.reason is VoiceFailure.LANGUAGE


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("zh", "PM二点五，A区，请注意。"),
        ("ug", "دەرھال 80 mm ئېگىز جايغا چىقىڭ."),
        ("bo", "ཉེན་བརྡ། 12:30"),
        ("ii", "ꀋꉬꑌꋠ"),
        ("za", "Gyoengqvunz boux"),
        ("uz", "Diqqat! Диққат!"),
        ("hmn", "Ceev faj"),
        ("bo-CN", "ཉེན་བརྡ།"),
    ],
)
def test_its_own_script_passes_unchanged(language: str, sentence: str) -> None:
    assert written_for(language, [sentence]) == (sentence,)


def test_marks_that_nobody_says_and_control_characters_are_gone() -> None:
    assert written_for("zh", ["\u202e请\u200b注意\ufeff，\x00\x1b[31m马上\n转移"]) == (
        "请注意， [31m马上 转移",
    )
    assert written_for("zh", ["ＡＢ１２号，请注意"]) == ("AB12号，请注意",)


@pytest.mark.parametrize("nothing", [[], [""], ["。"], ["…", "——"], ["\u200b"]])
def test_nothing_to_say_is_refused(nothing: list[str]) -> None:
    with pytest.raises(VoiceError) as failed:
        written_for("zh", nothing)
    assert failed.value.reason is VoiceFailure.TEXT


@given(st.sampled_from(sorted(SCRIPTS)), st.text(max_size=40), st.floats(0.5, 2))
def test_whatever_the_text_the_bounds_hold_and_nothing_else_is_raised(
    language: str, text: str, speed: float
) -> None:
    least, most = bounds(text, speed)
    assert 0 <= least <= most
    with contextlib.suppress(VoiceError):
        ready = written_for(language, [text])
        assert any(c.isalnum() for c in ready[0])
        assert written_for(language, ready) == ready
