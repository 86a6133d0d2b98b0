"""The real recogniser on a real recording: what it is told to expect, and something else."""

from pathlib import Path

import pytest

from controller.listening import BUDGET_S, Ear
from terminals.broadcast import Part
from tts.library import ClipRecord
from tts.recogniser import missing
from tts.verdict import Hold, after_check

_SENTENCE = Path(__file__).parents[1] / "fixtures" / "speech" / "sentence.mp3"
pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


async def test_the_real_ear_lets_the_sentence_pass_and_holds_another_number(tmp_path: Path) -> None:
    sound = _SENTENCE.read_bytes()
    record = ClipRecord("a" * 64, len(sound), 1.0, -15.0, -2.0, "mp3", "zh", "zm_yunjian", True, "")
    ear = Ear("listen", tmp_path, lambda _: None)
    ear.lacks = ""
    try:
        text = await ear._recogniser.hear(sound)
        right = await ear.heard(record, sound, words=text, places=(), budget_s=120)
        wrong = await ear.heard(record, sound, words=f"{text}降水三百七十八毫米", places=(), budget_s=120)
    finally:
        await ear.close()
    assert BUDGET_S[Part.LEAD] < BUDGET_S[Part.WHOLE]
    assert right is not None
    assert (right.ser, right.doubt) == (0.0, "")
    assert wrong is not None
    outcome = after_check(None, (wrong.doubt,), red=False, fast=False, more_voices=False)
    assert isinstance(outcome, Hold)
    assert "三百七十八" in outcome.why
