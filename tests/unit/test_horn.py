"""The simulated horn, and what the loudspeaker chain gains in it: the gate that needs no model."""

from pathlib import Path

import numpy as np
import pytest

from tts.audio import RATE, Sound, loudspeaker
from tts.horn import ECHOES, SPEECH_DB, horn, pink
from tts.worker import decode

_SENTENCE = Path(__file__).parents[1] / "fixtures" / "speech" / "sentence.mp3"


def _tone(hz: float, seconds: float = 1.0) -> Sound:
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


def _db(sound: Sound) -> float:
    return float(10 * np.log10(np.mean(np.square(sound, dtype=np.float64)) + 1e-12))


def test_the_same_arguments_give_the_same_sound_and_another_seed_other_noise() -> None:
    tone = _tone(1000)
    assert np.array_equal(horn(tone, RATE, 5.0, seed=1), horn(tone, RATE, 5.0, seed=1))
    assert not np.array_equal(horn(tone, RATE, 5.0, seed=1), horn(tone, RATE, 5.0, seed=2))


def test_the_horn_carries_speech_and_neither_hum_nor_hiss() -> None:
    middle = _db(horn(_tone(1000), RATE, None))
    assert _db(horn(_tone(100), RATE, None)) < middle - 25
    assert _db(horn(_tone(11_000), RATE, None)) < middle - 12


def test_each_echo_comes_at_its_time() -> None:
    click = np.zeros(RATE, np.float32)
    click[: RATE // 100] = _tone(1000, 0.01)
    heard = horn(click, RATE, None)
    for seconds, _ in ECHOES:
        at = int(seconds * RATE)
        assert _db(heard[at : at + RATE // 100]) > _db(heard[at - RATE // 20 : at - RATE // 50]) + 15


@pytest.mark.parametrize("snr_db", [15.0, 5.0, 0.0])
def test_the_noise_lies_as_far_below_the_loudspeaker_as_asked(snr_db: float) -> None:
    """Against a tone that fills the middle of the band at that level, without its echoes."""
    tone = np.concatenate([_tone(1000, 0.1), np.zeros(2 * RATE, np.float32)])
    loud = _db(horn(tone, RATE, None)[: RATE // 10])  # full scale: 3 dB below its peak, and rounded
    noise = _db(horn(tone, RATE, snr_db)[RATE:])
    assert loud - noise == pytest.approx(-SPEECH_DB + snr_db - 3.0, abs=2.0)


def test_pink_noise_falls_by_three_decibels_an_octave() -> None:
    power = np.abs(np.fft.rfft(pink(1 << 18, RATE, 3))) ** 2
    hz = np.fft.rfftfreq(1 << 18, 1 / RATE)
    low = power[(hz > 500) & (hz < 1000)].mean()
    high = power[(hz > 4000) & (hz < 8000)].mean()
    assert 10 * np.log10(low / high) == pytest.approx(9.0, abs=1.0)


def test_silence_stays_silence() -> None:
    assert not horn(np.zeros(RATE, np.float32), RATE, 5.0).any()


@pytest.mark.parametrize(("snr_db", "gain"), [(15.0, 0.04), (5.0, 0.08), (0.0, 0.08)])
def test_the_chain_keeps_its_gain_in_the_horns_noise(snr_db: float, gain: float) -> None:
    stoi = pytest.importorskip("pystoi", reason="ESTOI needs the extra check (pystoi)").stoi
    speech, rate = decode(_SENTENCE.read_bytes())
    assert rate == RATE
    plain = speech / np.abs(speech).max()
    before = stoi(speech, horn(plain, rate, snr_db), rate, extended=True)
    after = stoi(speech, horn(loudspeaker(speech, rate), rate, snr_db), rate, extended=True)
    assert after - before > gain, (before, after)


def test_the_gate_fails_for_a_chain_that_only_turns_the_voice_down() -> None:
    stoi = pytest.importorskip("pystoi", reason="ESTOI needs the extra check (pystoi)").stoi
    speech, rate = decode(_SENTENCE.read_bytes())
    before = stoi(speech, horn(speech, rate, 5.0), rate, extended=True)
    after = stoi(speech, horn(speech * np.float32(0.5), rate, 5.0), rate, extended=True)
    assert after - before < 0.08
