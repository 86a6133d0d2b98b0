"""A studio's files: read whatever they are, measured, levelled, cut; the microphone."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from support.studio import RATE, recorded, room, save, talk
from tts.audio import Sound
from tts.bank import microphone, sound
from tts.bank.model import BankError


def rms_db(x: Sound) -> float:
    return float(10 * np.log10(np.mean(np.square(x, dtype=np.float64)) + 1e-12))


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "ogg"])
def test_what_soundfile_reads_comes_as_one_channel_of_the_same_length(tmp_path: Path, suffix: str) -> None:
    speech = recorded(talk(1.5, 1))
    path = save(tmp_path / f"a.{suffix}", np.stack([speech, speech], axis=1), 24_000)
    read, rate = sound.load(path)
    assert (read.ndim, rate) == (1, 24_000)
    assert len(read) == pytest.approx(len(speech), abs=2500)


@pytest.mark.parametrize("suffix", ["m4a", "aac", "wma"])
def test_the_rest_comes_through_pyav(tmp_path: Path, suffix: str) -> None:
    av = pytest.importorskip("av", reason="PyAV (extra audio-more) is not installed")
    speech = recorded(talk(1.5, 1))
    path = tmp_path / f"a.{suffix}"
    codec = "wmav2" if suffix == "wma" else "aac"
    form = {"m4a": "ipod", "aac": "adts", "wma": "asf"}[suffix]
    with av.open(str(path), "w", format=form) as out:
        stream = out.add_stream(codec, rate=44_100)
        stream.layout = "mono"
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(
            sound.resampled(speech, RATE, 44_100)[None, :], format="fltp", layout="mono"
        )
        frame.rate = 44_100
        for part in (*stream.encode(frame), *stream.encode(None)):
            out.mux(part)
    read, rate = sound.load(path)
    assert rate == 44_100
    assert len(read) / rate == pytest.approx(len(speech) / RATE, abs=0.15)


def test_without_pyav_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.m4a").write_bytes(b"\0" * 100)
    with pytest.raises(BankError, match="audio-more"):
        sound.load(tmp_path / "a.m4a")


@pytest.mark.parametrize(
    "data",
    [b"", b"RIFF", b"RIFF\xff\xff\xff\xffWAVEfmt ", b"ID3" + b"\xff" * 50, b"fLaC" + b"\0" * 40, b"x" * 999],
)
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m4a", "a.ogg"])
def test_a_damaged_file_is_named(data: bytes, name: str) -> None:
    if name.endswith("m4a"):
        pytest.importorskip("av", reason="PyAV (extra audio-more) is not installed")
    with pytest.raises(BankError, match=rf"^{name}: "):
        sound.decode(data, name)


def test_a_file_that_was_cut_off_is_damaged() -> None:
    whole = io.BytesIO()
    soundfile.write(whole, talk(3, 1), RATE, format="FLAC")
    with pytest.raises(BankError, match="damaged"):
        sound.decode(whole.getvalue()[: len(whole.getvalue()) // 2], "a.flac")


def test_samples_that_are_no_numbers_are_damage() -> None:
    out = io.BytesIO()
    soundfile.write(out, np.array([0.1, np.nan, 0.2] * 999, np.float32), RATE, format="WAV", subtype="FLOAT")
    with pytest.raises(BankError, match="no numbers"):
        sound.decode(out.getvalue(), "a.wav")


def test_a_file_of_hours_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    soundfile.write(out, np.zeros(4_000 * 3_700, np.float32), 4_000, format="FLAC")
    assert len(out.getvalue()) < 200_000  # a bomb: an hour in little
    monkeypatch.setattr(soundfile.SoundFile, "blocks", lambda *a, **k: pytest.fail("it was decoded"))
    with pytest.raises(BankError, match="62 minutes"):
        sound.decode(out.getvalue(), "a.flac")


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_a_tone_keeps_its_pitch_level_and_length_at_24_khz(rate: int) -> None:
    seconds = 21.5  # over the block's edge
    tone = (0.5 * np.sin(2 * np.pi * 997 * np.arange(int(seconds * rate)) / rate)).astype(np.float32)
    out = sound.resampled(tone, rate)
    assert len(out) == pytest.approx(seconds * RATE, abs=1)
    wanted = 0.5 * np.sin(2 * np.pi * 997 * np.arange(len(out)) / RATE)
    assert np.abs(out - wanted)[RATE // 10 : -RATE // 10].max() < 0.01


def test_what_lies_above_12_khz_does_not_fold_down() -> None:
    tone = np.sin(2 * np.pi * 15_000 * np.arange(48_000) / 48_000).astype(np.float32)
    assert rms_db(sound.resampled(tone, 48_000)[2000:-2000]) < -60


def test_the_flaws_of_a_recording_are_measured() -> None:
    good = sound.measure(recorded(talk(2, 1)), RATE)
    assert good.clipped == 0
    assert good.snr_db > 30
    assert good.noise_db == pytest.approx(-65, abs=2)
    loud = np.clip(recorded(talk(2, 1, level=1.0)), -0.9, 0.9)
    assert sound.measure(loud, RATE).clipped > 100
    assert sound.measure(recorded(talk(2, 1)) + np.float32(0.1), RATE).dc == pytest.approx(0.1, abs=0.01)
    assert sound.measure(recorded(talk(2, 1), noise_db=-20), RATE).snr_db < 12
    gap = np.concatenate([talk(1, 1), np.zeros(2 * RATE, np.float32), talk(1, 2)])
    assert sound.measure(recorded(gap), RATE).longest_pause == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("gain", [0.03, 0.1, 1.0])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_every_clip_comes_to_one_loudness_and_below_the_ceiling(gain: float, rate: int) -> None:
    clip = sound.levelled(
        sound.resampled(recorded(talk(2, 3), noise_db=-80) * np.float32(gain), RATE, rate), rate
    )
    lufs, dbtp = sound.facts(clip)
    assert lufs == pytest.approx(sound.LUFS, abs=0.3)
    assert dbtp < -2.5
    assert len(clip) / RATE == pytest.approx(2.1, abs=0.12)
    assert abs(float(clip.mean())) < 1e-3
    assert clip[0] == clip[-1] == 0


@pytest.mark.parametrize("noise_db", [-60.0, -50.0, -45.0])
def test_pauses_come_down_to_one_noise_floor_and_words_stay(noise_db: float) -> None:
    speech = np.concatenate([talk(1, 1), np.zeros(RATE, np.float32), talk(1, 2)])
    clip = sound.levelled(recorded(speech, noise_db=noise_db), RATE)
    middle = len(clip) // 2
    pause = rms_db(clip[middle - RATE // 5 : middle + RATE // 5])
    assert pause < max(sound.NOISE_FLOOR + 2, noise_db + 10 - sound.MOST_REDUCTION)
    clean = sound.levelled(recorded(speech, noise_db=-90), RATE)
    assert rms_db(clip[RATE // 4 : RATE // 2]) == pytest.approx(rms_db(clean[RATE // 4 : RATE // 2]), abs=1)


@pytest.mark.parametrize("what", ["silence", "noise", "click"])
def test_where_nobody_speaks_there_is_no_clip(what: str) -> None:
    heard = {"silence": np.zeros(RATE, np.float32), "noise": room(2, -30), "click": room(2, -70)}[what]
    if what == "click":
        heard[RATE : RATE + 60] = 0.9
    with pytest.raises(BankError, match="nobody speaks"):
        sound.levelled(heard, RATE)


def test_a_session_is_cut_where_it_is_silent() -> None:
    said = [talk(1.0 + n / 4, n) for n in range(5)]
    gap = np.zeros(int(1.5 * RATE), np.float32)
    whole = recorded(np.concatenate([part for speech in said for part in (speech, gap)]), noise_db=-55)
    found = sound.pieces(whole, RATE, pause=0.8)
    assert [end - start for start, end in found] == pytest.approx([len(s) / RATE for s in said], abs=0.1)
    assert len(sound.pieces(whole, RATE, pause=2.0)) == 1


def test_two_takes_are_different_and_one_recording_is_itself() -> None:
    one, other = sound.levelled(recorded(talk(2, 1)), RATE), sound.levelled(recorded(talk(2, 2)), RATE)
    noisy = sound.levelled(recorded(talk(2, 1), noise_db=-50, before=0.9), RATE)
    assert sound.likeness(one, noisy) > 0.9
    assert sound.likeness(one, other) < 0.6
    assert sound.likeness(sound.outline(one), sound.outline(noisy)) > 0.95


def test_joined_clauses_follow_each_other_with_a_breath() -> None:
    one, other = talk(1, 1), talk(0.5, 2)
    whole = sound.joined([one, other], pause=0.2)
    assert len(whole) == pytest.approx(1.7 * RATE, abs=2)
    assert np.abs(whole[: len(one)] - one).max() < 1e-3
    assert rms_db(whole[len(one) + 10 : len(one) + int(0.19 * RATE)]) < -90


class Tape:
    """A microphone that hears a recording."""

    def __init__(self, heard: Sound) -> None:
        at_rate = sound.resampled(heard, RATE, microphone.RATE)
        self._data = (np.clip(at_rate, -1, 1) * 32767).astype("<i2").tobytes()
        self.at = 0

    def read(self, frames: int) -> bytes:
        self.at += 2 * frames
        return self._data[self.at - 2 * frames : self.at]

    def close(self) -> None:
        pass


def test_a_take_ends_when_the_voice_has_stopped() -> None:
    tape = Tape(recorded(talk(2, 1), noise_db=-60, before=1.5, after=10))
    levels: list[float] = []
    heard = microphone.take(tape, 30, levels.append)
    assert len(heard) / microphone.RATE == pytest.approx(1.5 + 2 + microphone.END_AFTER, abs=0.3)
    assert max(levels) > -30 > min(levels)


def test_a_take_ends_at_its_limit_while_the_voice_goes_on() -> None:
    heard = microphone.take(Tape(recorded(talk(9, 1), after=1)), 3)
    assert len(heard) / microphone.RATE == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("after", [0.0, 20.0])
def test_nobody_at_the_microphone_is_told(after: float) -> None:
    with pytest.raises(BankError, match=r"nobody spoke|no more sound"):
        microphone.take(Tape(room(2 + after, -60)), 10)


def test_a_microphone_that_is_pulled_out_is_told() -> None:
    class Pulled:
        def read(self, frames: int) -> bytes:
            raise OSError(-9988, "Stream closed")

        def close(self) -> None:
            pass

    with pytest.raises(BankError, match="microphone failed"):
        microphone.take(Pulled(), 5)


def test_without_pyaudio_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    with pytest.raises(BankError, match="bank import"):
        microphone.opened()
