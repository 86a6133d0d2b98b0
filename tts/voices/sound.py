"""Sound that another engine made: into our form, and is it all there? In numpy."""

from __future__ import annotations

import io
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tts.audio import MIN_RMS_DB, RATE, Sound, db, gain, trim
from tts.voice import Speech, VoiceError, VoiceFailure
from tts.voices.writing import bounds

_LOWEST_RATE: Final = 8_000
_HIGHEST_RATE: Final = 48_000
_MOST_SECONDS: Final = 900.0
_TAPS: Final = 16
"""Zero crossings of the resampling filter on each side: flat to 0.92 of the smaller band, -80 dB beyond
it."""
_STREAMED: Final = 0x7FFF_0000
"""A RIFF length from here on is what a program writes that does not know it yet (espeak-ng 0x7ffff000)."""
_CUT_DB: Final = -6.0
_END: Final = 0.02


def read_audio(data: bytes) -> tuple[Sound, int]:
    """WAV, MP3, FLAC or Ogg, 8 to 48 kHz, as (mono samples at `RATE`, `RATE`).

    Raises VoiceError: truncated (a WAV shorter than it says), format (no sound, or none that can be used)."""
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(_whole_wav(data))) as file:
            rate = int(file.samplerate)
            if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
                raise VoiceError(VoiceFailure.FORMAT, f"sound at {rate} Hz; 8,000 to 48,000 can be used")
            sound = file.read(int(_MOST_SECONDS * rate) + 1, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, TypeError) as error:
        raise VoiceError(VoiceFailure.FORMAT, f"what came is no sound: {error}") from error
    if len(sound) > _MOST_SECONDS * rate:
        raise VoiceError(VoiceFailure.RUNAWAY, f"more than {_MOST_SECONDS:g} s of sound")
    if not np.isfinite(sound).all():
        raise VoiceError(VoiceFailure.FORMAT, "what came is no sound: it holds values that are no numbers")
    return resample(np.asarray(sound.mean(axis=1), np.float32), rate), RATE


def resample(sound: Sound, rate: int, to: int = RATE) -> Sound:
    """`sound` of `rate` at `to` hertz: a windowed-sinc filter in as many phases as the ratio needs."""
    if rate == to or not len(sound):
        return sound
    common = math.gcd(rate, to)
    up, down = to // common, rate // common
    widest = max(1.0, rate / to)
    reach = math.ceil(_TAPS * widest)
    padded = np.pad(sound, reach)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    out = np.zeros(-(-len(sound) * up // down), np.float32)
    for first in range(min(up, len(out))):
        position = np.arange(first, len(out), up, dtype=np.int64) * down
        kernel = _kernel((first * down % up) / up, reach, widest)
        out[first::up] = windows[position // up] @ kernel
    return out


def _kernel(fraction: float, reach: int, widest: float) -> NDArray[np.float32]:
    t = np.arange(-reach, reach + 1) - fraction
    band = 0.96 / widest
    window = np.where(
        np.abs(t) <= reach, np.i0(8 * np.sqrt(np.maximum(0, 1 - (t / reach) ** 2))) / np.i0(8), 0
    )
    kernel = band * np.sinc(t * band) * window
    return np.asarray(kernel / kernel.sum(), np.float32)


def check_whole(sound: Sound, text: str, *, speed: float, what: str) -> None:
    """Raises VoiceError unless `sound` (at `RATE`) can be `text` said at `speed`: silent, truncated (too
    short for it, or broken off in the middle of a sound), runaway. `what`: the voice, for the message."""
    spoken = trim(sound, RATE)
    rms = db(float(np.sqrt(np.mean(np.square(spoken), dtype=np.float64))) if len(spoken) else 0.0)
    if rms < MIN_RMS_DB:
        raise VoiceError(
            VoiceFailure.SILENT, f"{what}: {rms:.0f} dBFS; below {MIN_RMS_DB:g} nothing is heard"
        )
    seconds = len(spoken) / RATE
    least, most = bounds(text, speed)
    if seconds < least:
        raise VoiceError(VoiceFailure.TRUNCATED, f"{what}: {seconds:.2f} s for at least {least:.2f} s")
    if seconds > most:
        detail = f"{what}: {seconds:.1f} s for at most {most:.1f} s: it spells, or repeats itself"
        raise VoiceError(VoiceFailure.RUNAWAY, detail)
    end = sound[-int(_END * RATE) :]
    if float(np.sqrt(np.mean(np.square(end)))) > gain(rms + _CUT_DB):
        raise VoiceError(VoiceFailure.TRUNCATED, f"{what}: the sound breaks off in the middle")


def checked(speech: Speech, text: str, *, speed: float, what: str) -> Speech:
    """`speech` unchanged, if `check_whole` finds nothing, and it is at `RATE`."""
    if speech.sample_rate != RATE:
        raise VoiceError(VoiceFailure.FORMAT, f"{what}: {speech.sample_rate} Hz instead of {RATE}")
    check_whole(np.frombuffer(speech.pcm, "<f4"), text, speed=speed, what=what)
    return speech


def _whole_wav(data: bytes) -> bytes:
    """A WAV whose lengths are right; anything else as it is. Raises VoiceError (truncated)."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return data
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        there = len(data) - at - 8
        if name == b"data":
            if size == 0 or size >= _STREAMED:
                head = data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8 : at + 4]
                return head + there.to_bytes(4, "little") + data[at + 8 :]
            if there < size:
                detail = f"{there:,} bytes of sound came, and {size:,} were announced"
                raise VoiceError(VoiceFailure.TRUNCATED, detail)
            return data
        at += 8 + size + size % 2
    raise VoiceError(VoiceFailure.TRUNCATED, "a WAV file without sound in it")
