"""A studio's files as sound: read, measured, brought to one loudness and noise floor, cut at pauses.

Sound is mono float32, full scale ±1 (`tts.audio`). What a file says of itself is not believed: lengths are
bounded before anything is decoded.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tts.audio import RATE, Sound, apply, db, fade, high_pass, level_to, loudness, silence, true_peak
from tts.bank.model import BankError

LUFS: Final = -20.0
"""Of every clip of every bank, ±`SPREAD`. 5 LU below what is aired (`tts.audio.TARGET_LUFS`): the limiter
has next to nothing to do, and the loudspeaker chain brings the rest."""
SPREAD: Final = 1.0
CEILING_DBFS: Final = -3.5
"""Of every clip of every bank: FLAC adds no peaks."""
NOISE_FLOOR: Final = -62.0
"""dBFS RMS of a clip's pauses, where the expander can bring them there."""
MOST_REDUCTION: Final = 24.0
"""Decibels that the expander takes away at most: more would breathe audibly."""
MARGIN: Final = 0.05
"""Seconds kept around the words: weak first consonants (f, s, h) lie there."""
MAX_BYTES: Final = 600_000_000
MAX_SECONDS: Final = 1800.0
"""Of one file: half an hour at 48 kHz takes 0.7 GB while it is cut."""
MAX_CLIP_SECONDS: Final = 60.0
SOUNDFILE: Final = frozenset(
    (".wav", ".mp3", ".flac", ".ogg", ".opus", ".aif", ".aiff", ".au", ".w64", ".caf")
)
PYAV: Final = frozenset((".m4a", ".aac", ".amr", ".wma", ".mp4", ".3gp", ".m4b", ".webm", ".mka"))
SUFFIXES: Final = SOUNDFILE | PYAV
_FRAME: Final = 0.01
_BLOCK_S: Final = 20


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of one recording as it came, and of its speech."""

    seconds: float
    rate: int
    """Hertz of the file."""
    peak_db: float
    clipped: int
    """Samples in runs of three and more at the top: a converter that had no room left."""
    dc: float
    """Mean of all samples; 0 is right."""
    noise_db: float
    """RMS of the quietest tenth of the frames, dBFS."""
    speech_db: float
    """RMS of the frames that speak, dBFS."""
    longest_pause: float
    """Seconds inside the words."""

    @property
    def snr_db(self) -> float:
        return self.speech_db - self.noise_db


def load(path: Path) -> tuple[Sound, int]:
    """Samples (channels averaged) and rate of an audio file. Raises BankError naming the file: it is none,
    damaged, too long, or of a kind that needs the extra ``audio-more``."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise BankError(f"{path.name}: {size // 1_000_000} MB; the limit is {MAX_BYTES // 1_000_000} MB")
        data = path.read_bytes()
    except OSError as error:
        raise BankError(f"{path.name}: {error.strerror}") from error
    return decode(data, path.name)


def decode(data: bytes, name: str) -> tuple[Sound, int]:
    """`load` of bytes; the end of `name` says what they are."""
    if not data:
        raise BankError(f"{name}: the file is empty")
    sound, rate = (_pyav if Path(name).suffix.lower() in PYAV else _soundfile)(data, name)
    if not len(sound) or not 4_000 <= rate <= 384_000:
        raise BankError(f"{name}: no sound in it")
    if not np.isfinite(sound).all():
        raise BankError(f"{name}: damaged: some samples are no numbers")
    return sound, rate


def _soundfile(data: bytes, name: str) -> tuple[Sound, int]:
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            _bounded(file.frames / file.samplerate, name)
            rate = int(file.samplerate)
            blocks = [b.mean(axis=1) for b in file.blocks(1 << 18, dtype="float32", always_2d=True)]
            announced = int(file.frames)
    except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
        why = getattr(error, "error_string", None) or error
        raise BankError(f"{name}: damaged, or no sound that can be read: {why}") from error
    sound: Sound = np.concatenate(blocks).astype(np.float32) if blocks else silence(0)
    if len(sound) < announced * 0.98:
        raise BankError(
            f"{name}: damaged: it ends after {len(sound) / rate:.1f} s of {announced / rate:.1f} s"
        )
    return sound, rate


def _pyav(data: bytes, name: str) -> tuple[Sound, int]:
    try:
        import av
        import av.audio.resampler
        import av.error
    except ImportError:
        raise BankError(
            f"{name}: {Path(name).suffix} needs PyAV: pip install 'fenghuo[audio-more]', or save it as wav, "
            "flac, mp3 or ogg"
        ) from None
    parts: list[Sound] = []
    total = 0
    try:
        with av.open(io.BytesIO(data), "r") as container:
            if not container.streams.audio:
                raise BankError(f"{name}: no sound in it")
            stream = container.streams.audio[0]
            rate = int(stream.rate)
            to_mono = av.audio.resampler.AudioResampler(format="flt", layout="mono", rate=rate)
            for frame in container.decode(stream):
                for piece in to_mono.resample(frame):
                    parts.append(piece.to_ndarray().reshape(-1).astype(np.float32))
                    total += len(parts[-1])
                    _bounded(total / rate, name)
    except (av.error.FFmpegError, ValueError) as error:
        raise BankError(f"{name}: damaged, or no sound that can be read: {error}") from error
    return np.concatenate(parts) if parts else silence(0), rate


def _bounded(seconds: float, name: str) -> None:
    if not 0 <= seconds <= MAX_SECONDS:
        raise BankError(f"{name}: {seconds / 60:.0f} minutes; the limit is {MAX_SECONDS / 60:.0f} minutes")


def resampled(sound: Sound, rate: int, to: int = RATE) -> Sound:
    """`sound` at `to` Hz: band-limited (FFT), in blocks that see a second of their neighbours."""
    if rate == to or not len(sound):
        return sound
    out = np.empty(round(len(sound) * to / rate), np.float32)
    padded = np.concatenate([silence(1, rate), sound, silence(_BLOCK_S + 2, rate)])
    for second in range(0, math.ceil(len(sound) / rate), _BLOCK_S):
        block = padded[second * rate : (second + _BLOCK_S + 2) * rate]
        spectrum = np.fft.rfft(block)
        wanted = (_BLOCK_S + 2) * to
        bins = min(len(spectrum), wanted // 2 + 1)
        moved = np.zeros(wanted // 2 + 1, complex)
        moved[:bins] = spectrum[:bins]
        new = np.fft.irfft(moved, wanted) * (to / rate)
        start = second * to
        end = min(start + _BLOCK_S * to, len(out))
        out[start:end] = new[to : to + end - start]
    return out


def _levels(sound: Sound, rate: int) -> NDArray[np.float64]:
    """RMS of each 10 ms, dBFS."""
    hop = int(rate * _FRAME)
    rows = len(sound) // hop
    if not rows:
        return np.full(1, db(0.0))
    energy = np.mean(np.square(sound[: rows * hop].reshape(rows, hop)), axis=1, dtype=np.float64)
    return np.asarray(10 * np.log10(np.maximum(energy, 1e-12)))


def _speaking(levels: NDArray[np.float64]) -> tuple[float, float, NDArray[np.bool_]]:
    """Noise and speech level, and which frames speak: halfway between them, at most 30 dB below speech."""
    loud = levels[levels > levels.max() - 20]
    noise = float(np.percentile(levels, 10))
    speech = float(10 * np.log10(np.mean(10 ** (loud / 10))))
    threshold = max(speech - 30, min(noise + 8, (noise + speech) / 2))
    return noise, speech, levels > threshold


def measure(sound: Sound, rate: int) -> Measured:
    """Of a recording as it came."""
    top = float(np.abs(sound).max(initial=0.0))
    dc = float(np.mean(sound, dtype=np.float64)) if len(sound) else 0.0
    at_top = (np.abs(sound) >= max(top * 0.999, 0.5)).astype(np.int8)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], at_top, [0]])))
    runs = edges[1::2] - edges[::2]
    noise, speech, speaks = _speaking(_levels(sound - np.float32(dc), rate))
    where = np.flatnonzero(speaks)
    gaps = np.diff(where) if len(where) > 1 else np.zeros(1, int)
    return Measured(
        seconds=len(sound) / rate,
        rate=rate,
        peak_db=db(top),
        clipped=int(runs[runs >= 3].sum()),
        dc=dc,
        noise_db=noise,
        speech_db=speech,
        longest_pause=float(max(gaps.max(initial=1) - 1, 0)) * _FRAME,
    )


def levelled(sound: Sound, rate: int) -> Sound:
    """A clip of the bank: 24 kHz, without rumble and DC, pauses brought down to `NOISE_FLOOR`, trimmed,
    faded, at `LUFS` and limited below -3 dBFS. Raises BankError for sound in which nobody speaks."""
    if len(sound) / rate > MAX_CLIP_SECONDS:
        raise BankError(
            f"{len(sound) / rate:.0f} s in one clip; the limit is {MAX_CLIP_SECONDS:.0f} s: cut it"
        )
    plain = apply([high_pass(RATE, 70, 0.7071)], resampled(sound - np.float32(sound.mean()), rate), RATE)
    levels = _levels(plain, RATE)
    noise, speech, speaks = _speaking(levels)
    if speech < -60 or speech - noise < 3:
        raise BankError(f"nobody speaks in it: speech {speech:.0f} dBFS, noise {noise:.0f} dBFS")
    quiet = _expanded(plain, speaks, min(MOST_REDUCTION, max(0.0, noise + LUFS - speech - NOISE_FLOOR)))
    # Runs of under 50 ms are clicks; what is within 0.25 s of speech (a stop's release) belongs to it.
    where = np.flatnonzero(np.convolve(speaks, np.ones(5), "same") >= 4)
    if not len(where):
        raise BankError("nobody speaks in it: clicks only")
    hop = int(RATE * _FRAME)
    start = max(0, int(where[0] * hop - MARGIN * RATE))
    words = fade(quiet[start : int((where[-1] + 1) * hop + MARGIN * RATE)], RATE, 0.01)
    pad = silence(0.2, RATE)  # a loudness needs 0.4 s
    return level_to(np.concatenate([pad, words, pad]), RATE, LUFS, ceiling_db=CEILING_DBFS)[
        len(pad) : len(pad) + len(words)
    ]


def _expanded(sound: Sound, speaks: NDArray[np.bool_], reduction: float) -> Sound:
    """`sound` with its pauses `reduction` dB down: open 60 ms before and 120 ms after speech, 30 ms ramps."""
    opened = np.convolve(speaks, np.ones(19), "full")[6 : 6 + len(speaks)] > 0
    eased = np.convolve(np.pad(np.where(opened, 0.0, -reduction), 1, mode="edge"), np.ones(3) / 3, "valid")
    hop = int(RATE * _FRAME)
    middles = (np.arange(len(eased)) + 0.5) * hop
    gains = np.interp(np.arange(len(sound)), middles, 10 ** (eased / 20))
    return np.asarray(sound * gains, np.float32)


def facts(clip: Sound) -> tuple[float, float]:
    """Loudness (LUFS) and true peak (dBTP) of a levelled clip."""
    pad = silence(0.2, RATE)
    return loudness(np.concatenate([pad, clip, pad]), RATE), true_peak(clip)


def write(clip: Sound) -> bytes:
    """A clip of the bank as FLAC, 24 bit, 24 kHz."""
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, clip, RATE, format="FLAC", subtype="PCM_24")
    return out.getvalue()


def write_original(sound: Sound, rate: int) -> bytes:
    """A piece of a session, or what the microphone gave, as FLAC with its own rate."""
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, sound, rate, format="FLAC", subtype="PCM_24")
    return out.getvalue()


def joined(clips: Sequence[Sound], pause: float = 0.12) -> Sound:
    """Whole clauses one after the other, with a breath between them."""
    whole = _segment(clips[0], RATE)
    breath = _pydub().AudioSegment.silent(duration=round(pause * 1000), frame_rate=RATE)
    for clip in clips[1:]:
        whole = whole + breath + _segment(clip, RATE)
    return np.asarray(np.frombuffer(whole.raw_data, "<i2") / np.float32(32768), np.float32)


def pieces(
    sound: Sound, rate: int, *, pause: float, below_db: float | None = None
) -> list[tuple[float, float]]:
    """Where it speaks, in seconds: parts with at least `pause` seconds of silence between them. Silence is
    what lies below `below_db` (dBFS); by default a third of the way, in decibels, from noise to speech."""
    noise, speech, _ = _speaking(_levels(sound, rate))
    threshold = noise + max(4.0, (speech - noise) / 3) if below_db is None else below_db
    around = silence(pause + 0.1, 8_000)  # or a short silence before the first line belongs to it
    # 8 kHz: enough to see pauses, and six times faster.
    low = np.concatenate([around, resampled(sound, rate, 8_000), around])
    found = _pydub().silence.detect_nonsilent(
        _segment(low, 8_000), min_silence_len=round(pause * 1000), silence_thresh=threshold, seek_step=10
    )
    # A cough or a page turned is shorter than any clause.
    shift = len(around) / 8_000
    return [(max(0.0, a / 1000 - shift), b / 1000 - shift) for a, b in found if b - a >= 150]


def piece(sound: Sound, rate: int, start: float, end: float, keep: float = 0.2) -> Sound:
    """`start` to `end` with `keep` seconds of the room around it: the noise is measured there."""
    return sound[max(0, int((start - keep) * rate)) : int((end + keep) * rate)]


def outline(clip: Sound) -> Sound:
    """The level of each 20 ms, normalised: enough to tell which clips are worth comparing."""
    hop = RATE // 50
    rows = max(1, len(clip) // hop)
    levels = np.sqrt(np.mean(np.square(clip[: rows * hop].reshape(rows, -1)), axis=1))
    return np.asarray(levels / max(float(np.linalg.norm(levels)), 1e-9), np.float32)


def likeness(a: Sound, b: Sound) -> float:
    """Greatest normalised cross-correlation, 0 to 1: two takes of one person stay far below 0.9."""
    size = 1 << (len(a) + len(b)).bit_length()
    cross = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)), size)
    return float(np.abs(cross).max() / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9))


def _segment(sound: Sound, rate: int) -> Any:
    samples = (np.clip(sound, -1, 32767 / 32768) * 32768).astype("<i2")
    return _pydub().AudioSegment(data=samples.tobytes(), sample_width=2, frame_rate=rate, channels=1)


def _pydub() -> Any:
    with warnings.catch_warnings():  # that there is no ffmpeg, which is not used; and that audioop goes
        warnings.simplefilter("ignore")
        import pydub
        import pydub.silence

    return pydub
