"""Whether a sound says what was meant: faults of the sound, words against what was heard, what follows."""

import numpy as np
import pytest

from tts.audio import RATE, Sound
from tts.check import (
    HOLD_MINUTES,
    Fault,
    Finding,
    Hold,
    Take,
    TakeFlagged,
    TryNext,
    Verdict,
    after_check,
    clip_faults,
    compare,
    speech_faults,
    syllables,
)
from tts.verdict import doubt

WORDS = "请立即转移到安全地带不要过河"


def _speech(seconds: float, *, peak: float = 0.5) -> Sound:
    """Syllables of 0.2 s that rise and decay, as speech does."""
    t = np.arange(int(seconds * RATE)) / RATE
    envelope = np.sin(np.pi * (t % 0.2) / 0.2) ** 2
    envelope *= np.minimum(1, (seconds - t) / 0.1)
    return (peak * envelope * np.sin(2 * np.pi * 300 * t)).astype(np.float32)


def _faults(speech: Sound, words: str = WORDS) -> set[Fault]:
    return {f.fault for f in speech_faults(speech, RATE, words=words, speed=1.0)}


def test_whole_speech_has_no_fault() -> None:
    assert _faults(_speech(3.0)) == set()


def test_speech_too_short_for_its_words_was_swallowed() -> None:
    assert _faults(_speech(1.0)) == {Fault.TOO_SHORT}


def test_slow_speech_is_judged_by_its_speed() -> None:
    assert speech_faults(_speech(1.5), RATE, words=WORDS, speed=1.25) == ()
    assert speech_faults(_speech(1.5), RATE, words=WORDS, speed=1.0)[0].fault is Fault.TOO_SHORT


def test_speech_far_too_long_for_its_words_is_noticed() -> None:
    assert _faults(_speech(12.0)) == {Fault.TOO_LONG}


def test_speech_that_is_cut_in_a_syllable_is_noticed() -> None:
    assert Fault.CUT_OFF in _faults(_speech(3.0)[: int(2.5 * RATE)])


def test_speech_on_the_ceiling_is_clipped() -> None:
    loud = np.clip(_speech(3.0, peak=4.0), -1, 1)
    assert _faults(loud) == {Fault.CLIPPED}


def test_a_hole_in_the_middle_is_noticed_but_not_at_the_ends() -> None:
    hole = np.zeros(2 * RATE, np.float32)
    one = _speech(1.6)
    assert _faults(np.concatenate([one, hole, one])) == {Fault.SILENCE}
    assert Fault.SILENCE not in _faults(np.concatenate([hole, _speech(3.0), hole]))


def test_silence_is_no_speech() -> None:
    assert Fault.SILENCE in _faults(np.zeros(3 * RATE, np.float32))
    assert Fault.SILENCE in _faults(np.zeros(0, np.float32))


@pytest.mark.parametrize(
    ("lufs", "dbtp", "fault"),
    [
        (-15.0, -3.1, None),
        (-17.0, -3.1, Fault.TOO_QUIET),
        (-12.0, -3.1, Fault.TOO_LOUD),
        (-15.0, -2.9, Fault.TRUE_PEAK),
    ],
)
def test_a_clip_has_its_loudness_and_its_peak(lufs: float, dbtp: float, fault: Fault | None) -> None:
    found = [f.fault for f in clip_faults(_speech(3.0), RATE, lufs=lufs, dbtp=dbtp)]
    assert found == ([] if fault is None else [fault])


def test_a_finding_tells_its_numbers() -> None:
    assert str(Finding(Fault.TOO_SHORT, 0.08, 0.12)).startswith("0.08 s per syllable, at least 0.12 s")
    assert all(str(Finding(fault, 1.0, 2.0)) for fault in Fault)


TEXT = "舟曲县7月15日20时降雨120毫米，请拨打12379，立即转移，不要返回。"


@pytest.mark.parametrize(
    "heard",
    [
        TEXT,
        "周曲县七月十五日二十时降雨一百二十毫米 请拨打幺二三七九 立即转移 不要返回",
        "舟曲縣7月15日20時降雨120毫米,請撥打12379,立即轉移,不要返回.",
    ],
)
def test_another_character_of_the_same_sound_is_heard_right(heard: str) -> None:
    assert compare(TEXT, heard, places=["舟曲县"]) == Verdict(0.0, (), True)


@pytest.mark.parametrize(
    ("heard", "missing"),
    [
        (TEXT.replace("120", "110"), ("一百二十",)),
        (TEXT.replace("12379", "12397"), ("幺二三七九",)),
        (TEXT.replace("转移", "安全"), ("转移",)),
        (TEXT.replace("不要", ""), ("不要",)),
        (TEXT.replace("舟曲县", "下雨天"), ("舟曲县",)),
    ],
)
def test_a_wrong_number_place_or_action_is_missed_by_name(heard: str, missing: tuple[str, ...]) -> None:
    verdict = compare(TEXT, heard, places=["舟曲县"])
    assert set(missing) <= set(verdict.missing)
    assert not verdict.ok


@pytest.mark.parametrize(
    ("text", "heard", "missing"),
    [
        ("请在六小时内撤离", "请在九小时内撤离", "六小时"),
        ("阵风8级", "阵风9级", "八级"),
        ("停课1天", "停课7天", "一天"),
        ("有5到6级大风", "有3到6级大风", "五级"),
        ("有5到6级大风", "有5到7级大风", "六级"),
        ("响应提升为二级", "响应提升为三级", "二级"),
    ],
)
def test_a_number_of_one_digit_is_missed_before_its_unit(text: str, heard: str, missing: str) -> None:
    verdict = compare(text, heard)
    assert verdict.missing == (missing,)
    assert not verdict.ok
    assert compare(text, text).ok


def test_what_is_no_number_may_be_written_otherwise() -> None:
    text = "三眼峪沟一定可能发生泥石流，请注意防范"
    assert compare(text, text.replace("三", "山")).missing == ()


@pytest.mark.parametrize(
    ("text", "heard", "added"),
    [
        ("请下游群众立即撤离河道", "请下游群众不要撤离河道", "不要"),
        ("暴雨红色预警信号现在生效", "暴雨红色预警信号现在解除", "解除"),
        ("这是一次应急广播", "这是一次应急演练", "演练"),
    ],
)
def test_a_word_that_turns_the_message_round_is_told_when_it_was_added(
    text: str, heard: str, added: str
) -> None:
    verdict = compare(text, heard)
    assert verdict.added == (added,)
    assert not verdict.ok
    assert f"heard, but not in the text: {added}" in doubt(verdict)
    assert compare(heard, heard).added == ()


def test_what_was_said_twice_is_heard_when_it_was_heard_once() -> None:
    verdict = compare("请立即转移。再说一遍，请立即转移。", "请立即转移再说一遍请立即专利")
    assert verdict.missing == ()


def test_near_sounds_pass_for_a_place_but_not_for_a_number() -> None:
    assert compare("请前往曲瓦乡中心小学", "请前往曲娃香中心小学", places=["曲瓦乡"]).missing == ()
    assert compare("请撤离四十户", "请撤离十四户").missing == ("四十",)


def test_babble_is_not_ok_however_much_of_it_is_right() -> None:
    verdict = compare("请注意", "请注意" + "谢谢观看" * 10)
    assert verdict.ser > 1
    assert not verdict.ok


def test_nothing_heard_is_all_wrong() -> None:
    assert compare(TEXT, "").ser == 1.0


def test_syllables_read_numbers_and_letters() -> None:
    assert syllables("G56，2人") == ["ji", "wu", "liu", "er", "ren"]


_BAD = Verdict(0.3, ("一百二十",), False)


def test_what_is_right_is_taken_and_nothing_listened_is_no_fault() -> None:
    assert after_check(Verdict(0.0, (), True), red=False, fast=False, more_voices=True) == Take()
    assert after_check(None, red=False, fast=False, more_voices=False) == Take()


def test_what_is_wrong_goes_to_the_next_voice_then_to_a_person_with_a_clock() -> None:
    first = after_check(_BAD, red=False, fast=False, more_voices=True)
    assert isinstance(first, TryNext)
    assert "一百二十" in first.why
    last = after_check(_BAD, red=False, fast=False, more_voices=False)
    assert isinstance(last, Hold)
    assert last.minutes == HOLD_MINUTES > 0


@pytest.mark.parametrize(("red", "fast"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("more", [True, False])
def test_red_and_fast_are_aired_with_their_flag(red: bool, fast: bool, more: bool) -> None:
    assert isinstance(after_check(_BAD, red=red, fast=fast, more_voices=more), TakeFlagged)
    short = (Finding(Fault.TOO_SHORT, 0.1, 0.12),)
    assert isinstance(after_check(None, short, red=red, fast=fast, more_voices=more), TakeFlagged)
