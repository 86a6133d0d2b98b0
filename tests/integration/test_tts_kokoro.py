"""The neural voice from inside its process: readings, letters, and what it refuses."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Timer

import numpy as np
import pytest

from tts.audio import RATE
from tts.voice import VoiceError, VoiceFailure
from tts.voices import kokoro
from tts.voices.kokoro import load_style, voices


def test_voice_files_have_the_hashes_of_their_sources() -> None:
    assert set(voices()) == {"zm_yunjian", "zf_xiaobei"}
    for name in voices():
        assert load_style(name).shape == (510, 1, 256)
    with pytest.raises(VoiceError, match="zf_xiaobei, zm_yunjian"):
        load_style("nobody")


def test_a_changed_voice_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kokoro, "voices", lambda: {"zm_yunjian": "0" * 64})
    with pytest.raises(VoiceError) as failed:
        load_style("zm_yunjian")
    assert failed.value.reason is VoiceFailure.MODEL


def test_a_cache_that_others_may_write_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(VoiceError, match="chmod 700"):
        kokoro.Kokoro(shared)
    (tmp_path / "file").write_text("")
    with pytest.raises(VoiceError, match="voice cache"):
        kokoro.Kokoro(tmp_path / "file")


@pytest.mark.slow
def test_phonemes_follow_the_readings_and_lose_no_letter(tmp_path: Path) -> None:
    engine = kokoro.Kokoro(tmp_path)
    readings = {"舟曲": ("zhou1", "qu3"), "宕昌": ("tan4", "chang1")}
    assert engine.phonemes("舟曲县", readings).startswith("ꭧou→ʨʰy↓ ")
    assert engine.phonemes("舟曲县", {}).startswith("ꭧou→ʨʰy↓ ")  # a trap that is known everywhere
    assert engine.phonemes("舟曲县", {"舟曲": ("zhou1", "qu1")}).startswith(
        "ꭧou→ʨʰy→"
    )  # the county has the last word
    assert engine.phonemes("去宕昌。", readings).endswith("tʰa↘nꭧʰa→ŋ .")
    assert engine.phonemes("G五六高速", {}) == engine.phonemes("记五六高速", {})
    long = "河水上涨很快，" * 18
    sound, _ = engine.speak(long, voice="zm_yunjian", speed=1.5, readings={})
    assert len(sound) / RATE > 0.12 * 6 * 18 / 1.5
    again, words = engine.speak(long, voice="zm_yunjian", speed=1.5, readings={})
    assert again is sound
    assert words == long
    # Stopped in the middle, or before it began: it ends as closed, and speaks again when it is to.
    stopping = Timer(0.05, engine.stop)
    stopping.start()
    with pytest.raises(VoiceError) as stopped:
        engine.speak("住在山边的群众，" * 18, voice="zm_yunjian", speed=1.0, readings={})
    stopping.join()
    assert stopped.value.reason is VoiceFailure.CLOSED
    engine.resume()
    # Two at once say bit for bit what each says alone, and one stop ends both.
    two = ("请注意防范。", "向高处转移。")
    alone = [engine.speak(each, voice="zm_yunjian", speed=1.0, readings={})[0] for each in two]
    engine._spoken.clear()
    with ThreadPoolExecutor(2) as pool:
        say = partial(engine.speak, voice="zm_yunjian", speed=1.0, readings={})
        for heard, (sound, _) in zip(alone, pool.map(say, two), strict=True):
            assert heard is not sound
            assert np.array_equal(heard, sound)
        both = [pool.submit(say, "住在沟边的群众，" * n) for n in (16, 18)]
        Timer(0.05, engine.stop).start()
        for each in both:
            with pytest.raises(VoiceError, match="not needed"):
                each.result()
    engine.resume()
    # A character without a known sound is left out; the rest is still said.
    assert engine.phonemes("请𠮷注意", {}).replace(" ", "") == engine.phonemes("请注意", {}).replace(" ", "")
