"""Loudspeaker sound, measured: loudness against the standard, ceilings, signals, and after MP3."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts import audio
from tts.audio import RATE, TARGET_LUFS, Sound, check_speech, db, loudness, true_peak
from tts.voice import Signal, VoiceError, VoiceFailure, signal_for
from tts.worker import Worker, decode, encode_mp3


def sine(hz: float, seconds: float, *, rate: int = RATE, peak: float = 1.0) -> Sound:
    return (peak * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def babble(seconds: float = 8.0) -> Sound:
    """Speech-like: noise around 500 Hz in syllables of 0.2 s of unequal loudness, with pauses."""
    rng = np.random.default_rng(7)
    n = int(seconds * RATE)
    noise = rng.standard_normal(n).astype(np.float32)
    voiced = audio.apply([audio.peaking(RATE, 500, 1.0, 18.0)], noise, RATE)
    syllables = (
        np.abs(np.sin(np.pi * np.arange(n) / (0.2 * RATE)))
        * np.repeat(rng.uniform(0.05, 1.0, n // 4800 + 1), 4800)[:n]
    )
    return (0.05 * voiced * syllables).astype(np.float32)


def test_k_weighting_has_the_coefficients_of_bs_1770_at_48_khz() -> None:
    shelf, high = audio.k_weighting(48_000)
    printed = (1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585)
    assert (shelf.b0, shelf.b1, shelf.b2, shelf.a1, shelf.a2) == pytest.approx(printed, abs=1e-10)
    assert (high.a1, high.a2) == pytest.approx((-1.99004745483398, 0.99007225036621), abs=1e-10)


@pytest.mark.parametrize("rate", [24_000, 48_000])
def test_a_full_scale_997_hz_sine_is_minus_3_01_lufs(rate: int) -> None:
    assert loudness(sine(997, 10, rate=rate), rate) == pytest.approx(-3.01, abs=0.05)


def test_loudness_gates_silence_out() -> None:
    tone = sine(997, 5, peak=0.1)
    assert loudness(np.concatenate([tone, audio.silence(60)]), RATE) == pytest.approx(
        loudness(tone, RATE), abs=0.3
    )
    assert loudness(audio.silence(5), RATE) == -math.inf
    assert loudness(sine(997, 0.3), RATE) == -math.inf


def test_true_peak_sees_between_the_samples() -> None:
    between = np.sin(2 * np.pi * 6000 * np.arange(RATE) / RATE + np.pi / 4).astype(np.float32)
    assert db(float(np.abs(between).max())) == pytest.approx(-3.01, abs=0.02)
    assert true_peak(between) == pytest.approx(0.0, abs=0.3)


@pytest.mark.parametrize("length", [1, 2, 11, 23, 24, 25, 47, 48, 49, 997, 3 * RATE])
def test_looking_only_near_the_loudest_samples_finds_the_peak_of_all(length: int) -> None:
    taps, phases = 24, 4
    n = np.arange(taps * phases) - taps * phases / 2
    kernel = np.sinc(n / phases) * np.kaiser(taps * phases + 1, 8.0)[:-1]
    rng = np.random.default_rng(length)
    wild = rng.standard_normal(length)
    for sound in (wild, wild * np.linspace(0, 1, length) ** 9, wild * rng.uniform(0, 1, length) ** 9):
        filled = np.zeros(length * phases)
        filled[::phases] = sound
        everywhere = np.convolve(filled, kernel)
        wanted = db(float(np.abs(everywhere).max()))
        assert true_peak(sound.astype(np.float32)) == pytest.approx(wanted, abs=0.01)


@given(
    values=st.lists(st.floats(0, 1), min_size=1, max_size=60), width=st.integers(min_value=1, max_value=60)
)
def test_the_lowest_of_neighbours_is_their_minimum(values: list[float], width: int) -> None:
    width = min(width, len(values))
    wanted = [min(values[i : i + width]) for i in range(len(values) - width + 1)]
    assert audio._lowest(np.array(values), width).tolist() == wanted


def test_filters_in_blocks_equal_the_recursion() -> None:
    rng = np.random.default_rng(1)
    sound = rng.standard_normal(150_000).astype(np.float32)
    biquad = audio.high_pass(RATE, 250, 0.7071)
    out = np.zeros(len(sound))
    x1 = x2 = y1 = y2 = 0.0
    for i, x in enumerate(sound.tolist()):
        y = biquad.b0 * x + biquad.b1 * x1 + biquad.b2 * x2 - biquad.a1 * y1 - biquad.a2 * y2
        out[i], x1, x2, y1, y2 = y, x, x1, y, y1
    assert np.abs(audio.apply([biquad], sound, RATE) - out).max() < 1e-4


@pytest.mark.parametrize(("hz", "gain"), [(60.0, -40.0), (2600.0, 8.0)])
def test_the_equaliser_does_what_the_horn_needs(hz: float, gain: float) -> None:
    chain = [
        audio.high_pass(RATE, 250, 0.5412),
        audio.high_pass(RATE, 250, 1.3066),
        audio.peaking(RATE, 2600, 0.8, 8),
    ]
    out = audio.apply(chain, sine(hz, 2, peak=0.1), RATE)[RATE:]
    measured = db(float(np.sqrt(np.mean(out**2)))) - db(0.1 / math.sqrt(2))
    assert measured < gain if gain < 0 else measured == pytest.approx(gain, abs=0.6)


def test_the_compressor_narrows_what_is_loud_and_quiet() -> None:
    loud, quiet = sine(1000, 2, peak=0.8), sine(1000, 2, peak=0.1)
    out = audio.compress(np.concatenate([loud, quiet]), RATE)
    before = db(0.8) - db(0.1)
    after = db(float(np.abs(out[RATE : 2 * RATE]).max())) - db(float(np.abs(out[3 * RATE :]).max()))
    assert after == pytest.approx(before / 4, abs=1.0)


def test_the_limiter_holds_every_sample_at_its_ceiling() -> None:
    rng = np.random.default_rng(3)
    wild = (rng.standard_normal(5 * RATE) * np.repeat(rng.uniform(0, 3, 5 * 100), RATE // 100)).astype(
        np.float32
    )
    out = audio.limit(wild, RATE)
    assert db(float(np.abs(out).max())) <= -3.0
    assert len(out) == len(wild)
    quiet = sine(500, 1, peak=0.3)
    assert np.array_equal(audio.limit(quiet, RATE), quiet)


def test_speech_comes_out_at_the_target_below_the_ceiling_also_after_mp3() -> None:
    out = audio.loudspeaker(babble())
    assert loudness(out, RATE) == pytest.approx(TARGET_LUFS, abs=1.5)
    assert db(float(np.abs(out).max())) <= -3.0
    heard, rate = decode(encode_mp3(audio.assemble(out, Signal.ORANGE), RATE))
    assert rate == RATE
    assert loudness(heard, rate) == pytest.approx(TARGET_LUFS, abs=1.5)
    assert true_peak(heard) <= -3.0


def test_a_codec_that_overshoots_is_given_less(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    told, mp3 = worker._shape([(0.0, babble(3))], {"signal": "red"}, {})
    assert told["dbtp"] == pytest.approx(true_peak(decode(mp3)[0]))
    assert told["dbtp"] <= -3.0
    monkeypatch.setattr("tts.worker.MAX_DBTP", -6.0)
    strict, _ = worker._shape([(0.0, babble(3))], {"signal": "red"}, {})
    assert strict["dbtp"] <= -6.0 < told["dbtp"]


@pytest.mark.parametrize("peaked", [1.0, 1.25])
def test_a_voice_with_high_peaks_is_made_as_loud_as_another(peaked: float) -> None:
    sound = babble()
    peaks = (np.sign(sound) * np.abs(sound) ** peaked).astype(np.float32)
    out = audio.loudspeaker(peaks)
    assert loudness(out, RATE) == pytest.approx(TARGET_LUFS, abs=0.6)
    assert db(float(np.abs(out).max())) <= audio.CEILING_DBFS


@pytest.mark.parametrize("level", [0.003, 1.0, 30.0])
def test_the_level_of_the_voice_does_not_change_the_loudness(level: float) -> None:
    assert loudness(audio.loudspeaker(babble() * np.float32(level)), RATE) == pytest.approx(
        TARGET_LUFS, abs=1.5
    )


def test_silence_stays_silence() -> None:
    assert not audio.loudspeaker(audio.silence(2)).any()
    assert not len(audio.trim(audio.silence(2), RATE))


def test_the_first_300_ms_of_a_clip_are_silent_also_after_mp3() -> None:
    heard, rate = decode(encode_mp3(audio.assemble(audio.loudspeaker(babble(3)), Signal.RED), RATE))
    assert np.abs(heard[: int(0.3 * rate)]).max() < 1e-3
    assert np.abs(heard[int(0.5 * rate) : int(1.0 * rate)]).max() > 0.1


def _spectrogram(sound: Sound) -> np.ndarray:
    padded = np.zeros(3 * RATE, np.float32)
    padded[: len(sound)] = sound[: len(padded)]
    return np.abs(np.fft.rfft(padded.reshape(-1, 1200), axis=1))


CHIMES = [which for which in Signal if not which.siren]


def test_every_signal_differs_from_every_other() -> None:
    for one, other in itertools.combinations(CHIMES, 2):
        a, b = _spectrogram(audio.signal(one)).ravel(), _spectrogram(audio.signal(other)).ravel()
        alike = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
        assert alike < 0.8, (one, other, alike)


@pytest.mark.parametrize("which", CHIMES)
def test_signals_are_short_audible_and_no_siren(which: Signal) -> None:
    sound = audio.signal(which)
    assert 0.1 <= len(sound) / RATE <= 3.0
    assert db(float(np.abs(sound).max())) <= -3.0
    spectrum = np.abs(np.fft.rfft(sound)) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    assert spectrum[(hz > 500) & (hz < 2500)].sum() > 0.8 * spectrum.sum()
    # A siren holds one pitch for seconds or glides; no note here is longer than 0.8 s and none glides.
    assert max(seconds for _, seconds in audio._NOTES[which]) <= 0.8


def test_only_an_actual_warning_has_a_warning_signal() -> None:
    from alerts.model import Colour

    assert signal_for("actual", Colour.RED) is Signal.RED
    assert signal_for("actual", None) is Signal.PLAIN
    assert signal_for("actual", Colour.RED, "cancel") is Signal.ALL_CLEAR
    assert signal_for("actual", Colour.RED, hazard="earthquake") is Signal.QUAKE
    assert signal_for("actual", Colour.RED, "cancel", "earthquake") is Signal.ALL_CLEAR
    assert signal_for("exercise", None, hazard="earthquake") is Signal.EXERCISE
    for colour in (*Colour, None):
        assert signal_for("exercise", colour) is Signal.EXERCISE
        assert signal_for("test", colour, "cancel") is Signal.TEST


def test_truncated_and_silent_speech_is_refused() -> None:
    tone = sine(500, 1, peak=0.2)
    check_speech(tone, RATE, 8, 1.0, "够长")
    check_speech(tone, RATE, 4, 2.0, "快")
    with pytest.raises(VoiceError) as failed:
        check_speech(tone, RATE, 9, 1.0, "太短")
    assert failed.value.reason is VoiceFailure.TRUNCATED
    for nothing in (tone * np.float32(0.001), tone[:0], tone * np.float32("nan")):
        with pytest.raises(VoiceError) as failed:
            check_speech(nothing, RATE, 4, 1.0, "无声")
        assert failed.value.reason is VoiceFailure.SILENT


def test_sentences_are_trimmed_and_joined_with_our_own_pauses() -> None:
    padded = np.concatenate([audio.silence(0.4), sine(500, 1), audio.silence(1.0)])
    joined = audio.join([padded, padded], RATE, pause=0.5)
    assert len(joined) / RATE == pytest.approx(2 * (1 + 0.06) + 0.5, abs=0.02)
    assert np.abs(joined[int(1.1 * RATE) : int(1.5 * RATE)]).max() == 0.0


def test_ten_minutes_stay_whole_and_at_the_target() -> None:
    long = np.tile(babble(10), 60)
    out = audio.loudspeaker(long)
    assert len(out) == len(long)
    assert out.dtype == np.float32
    assert loudness(out, RATE) == pytest.approx(TARGET_LUFS, abs=1.5)
