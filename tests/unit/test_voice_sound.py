"""Sound that another engine made: into our form, and all of it there."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from support.voices import wav
from tts.audio import RATE, Sound
from tts.voice import VoiceError, VoiceFailure
from tts.voices.sound import check_whole, read_audio, resample

TEXT = "请马上转移到高处。"


def tone(hz: float, rate: int, seconds: float = 1.0) -> Sound:
    return np.asarray(np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate), np.float32)


def level(sound: Sound, hz: float, rate: int) -> float:
    """Amplitude at `hz`, away from the ends."""
    middle = sound[rate // 4 : 3 * rate // 4]
    t = np.arange(len(middle)) / rate
    return float(2 * np.abs(np.mean(middle * np.exp(-2j * np.pi * hz * t))))


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000])
def test_every_rate_comes_out_at_ours_with_its_tones_and_no_others(rate: int) -> None:
    for hz in (300, 1_000, 3_000):
        out = resample(tone(hz, rate), rate)
        assert len(out) == pytest.approx(RATE, abs=1)
        assert level(out, hz, RATE) == pytest.approx(1, abs=0.01)
        spare = out[RATE // 4 : 3 * RATE // 4] - tone(hz, RATE)[RATE // 4 : 3 * RATE // 4]
        assert float(np.sqrt(np.mean(spare**2))) < 0.005


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_what_lies_above_our_band_does_not_fold_into_it(rate: int) -> None:
    for hz in (13_500, 16_000, 20_000):
        out = resample(tone(hz, rate), rate)
        assert float(np.abs(out[RATE // 4 : -RATE // 4]).max()) < 0.01


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3_000), st.sampled_from([8_000, 12_000, 16_000, 22_050, 44_100, 48_000]))
def test_the_length_is_right_for_any_number_of_samples(count: int, rate: int) -> None:
    out = resample(np.ones(count, np.float32), rate)
    assert len(out) == -(-count * RATE // rate)
    assert not len(out) or float(np.abs(out).max()) < 1.3


def packed(sound: Sound, rate: int, kind: str, subtype: str | None = None) -> bytes:
    into = io.BytesIO()
    soundfile.write(into, sound, rate, format=kind, subtype=subtype)
    return into.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_each_kind_of_file_is_read_stereo_as_mono(kind: str) -> None:
    rate = 44_100
    both = np.stack([0.5 * tone(440, rate), 0.1 * tone(440, rate)], axis=1)
    out, now = read_audio(packed(both, rate, kind))
    assert now == RATE
    assert out.ndim == 1
    assert level(out, 440, RATE) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ALAW", "ULAW"])
def test_each_kind_of_sample_is_read(subtype: str) -> None:
    out, _ = read_audio(packed(0.5 * tone(440, 16_000), 16_000, "WAV", subtype))
    assert level(out, 440, RATE) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("announced", [0, 0x7FFF_F000, 0xFFFF_FFFF])
def test_a_wav_that_was_streamed_has_all_its_sound(announced: int) -> None:
    whole = wav(1.0)
    streamed = whole[:40] + announced.to_bytes(4, "little") + whole[44:]
    assert len(read_audio(streamed)[0]) == pytest.approx(RATE, abs=2)


def test_a_wav_shorter_than_it_says_is_truncated() -> None:
    for kept in (46, 1_000, len(wav(1.0)) - 2):
        with pytest.raises(VoiceError) as failed:
            read_audio(wav(1.0)[:kept])
        assert failed.value.reason is VoiceFailure.TRUNCATED, kept


@settings(deadline=None)
@given(st.binary(max_size=400), st.integers(0, 60))
def test_no_bytes_whatever_raise_anything_but_a_voice_error(junk: bytes, kept: int) -> None:
    for data in (junk, wav(0.1)[:kept] + junk, b"RIFF" + junk, b"ID3" + junk, b"\xff\xfb" + junk):
        with contextlib.suppress(VoiceError):
            sound, rate = read_audio(data)
            assert rate == RATE
            assert np.isfinite(sound).all()


def test_numbers_that_are_none_and_absurd_rates_are_refused() -> None:
    broken = tone(440, RATE).copy()
    broken[100] = np.nan
    with pytest.raises(VoiceError, match="no numbers"):
        read_audio(packed(broken, RATE, "WAV", "FLOAT"))
    with pytest.raises(VoiceError, match="4000 Hz"):
        read_audio(packed(tone(440, 4_000), 4_000, "WAV"))
    with pytest.raises(VoiceError, match="96000 Hz"):
        read_audio(packed(tone(440, 96_000), 96_000, "WAV"))


def speech(seconds: float, amplitude: float = 0.3) -> Sound:
    sound = amplitude * tone(200, RATE, seconds)
    sound[-RATE // 10 :] = 0
    return sound


def test_sound_of_a_plausible_length_passes() -> None:
    for seconds in (1.5, 2.0, 4.0):
        check_whole(speech(seconds), TEXT, speed=1.0, what="x")
    check_whole(speech(1.5), TEXT, speed=1.5, what="x")
    assert speech(1.5).any()


@pytest.mark.parametrize(
    ("sound", "reason"),
    [
        (speech(0.5), VoiceFailure.TRUNCATED),
        (np.concatenate([speech(0.5), np.zeros(3 * RATE, np.float32)]), VoiceFailure.TRUNCATED),
        (speech(2.0, 0.001), VoiceFailure.SILENT),
        (np.zeros(2 * RATE, np.float32), VoiceFailure.SILENT),
        (np.zeros(0, np.float32), VoiceFailure.SILENT),
        (speech(2.0)[: int(1.8 * RATE)], VoiceFailure.TRUNCATED),
        (speech(30.0), VoiceFailure.RUNAWAY),
    ],
    ids=["short", "short and silence", "whisper", "silence", "nothing", "broken off", "endless"],
)
def test_sound_that_cannot_be_the_text_has_a_name(sound: Sound, reason: VoiceFailure) -> None:
    with pytest.raises(VoiceError) as failed:
        check_whole(sound, TEXT, speed=1.0, what="x")
    assert failed.value.reason is reason
