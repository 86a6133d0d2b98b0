"""A loudspeaker in a valley, simulated: what a terminal's sound is when it reaches a villager.

Horn and amplifier (350 to 6,000 Hz, soft clipping), three echoes from the slopes, pink noise of wind, rain
and water. The model and its figures are those that the project's own measurements were made with
(``voice-and-audio.md`` §5). For measurements only: nothing of this is ever aired.

Pure: numpy only, noise by seed, the same bits for the same arguments.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]

BAND_HZ: Final = (350.0, 6_000.0)
DRIVE: Final = 1.6
"""Into the soft clip (tanh): full scale is rounded by 4.8 dB, the body of speech by almost nothing."""
ECHOES: Final = ((0.120, 0.35), (0.280, 0.25), (0.450, 0.18))
"""Seconds after the first sound, and how loud against it."""
SPEECH_DB: Final = -10.0
"""RMS, against full scale, of what the loudspeaker chain delivers; every SNR is against it, whatever sound it
is: a loudspeaker has so much peak to give, and the noise outside does not wait for it. With it the ESTOI of
plain and processed speech come out as measured before (``voice-and-audio.md`` §5: .36 and .56 at 5 dB)."""
_ROOM: Final = 0.25
"""So that echoes and noise stay below full scale."""


def horn(sound: Sound, rate: int, snr_db: float | None, *, seed: int = 0) -> Sound:
    """`sound`, brought to full scale, as it is heard in noise `snr_db` below `SPEECH_DB`;
    without noise when `snr_db` is None. Same length, same time: nothing is delayed. Silence stays silence."""
    peak = float(np.abs(sound).max(initial=0.0))
    if peak == 0.0:
        return sound
    driven = _band(np.asarray(sound, np.float64) / peak, rate)
    clipped = np.tanh(DRIVE * driven) / np.tanh(DRIVE)
    heard = clipped.copy()
    for seconds, loudness in ECHOES:
        late = int(seconds * rate)
        heard[late:] += loudness * clipped[: max(0, len(clipped) - late)]
    if snr_db is not None:
        heard += pink(len(heard), rate, seed) * 10 ** ((SPEECH_DB - snr_db) / 20)
    return np.asarray(heard * _ROOM, np.float32)


def pink(length: int, rate: int, seed: int) -> NDArray[np.float64]:
    """Noise of RMS 1 that falls by 3 dB an octave, from 50 Hz up."""
    size = 1 << max(1, length - 1).bit_length()
    random = np.random.default_rng(seed)
    bins = np.fft.rfftfreq(size, 1 / rate)
    spectrum = random.standard_normal(len(bins)) + 1j * random.standard_normal(len(bins))
    spectrum *= np.where(bins >= 50, 1 / np.sqrt(np.maximum(bins, 50)), 0)
    noise = np.fft.irfft(spectrum, size)[:length]
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))


def _band(sound: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """Fourth-order Butterworth magnitudes at both ends of `BAND_HZ`, without delay."""
    size = 1 << max(1, len(sound) + rate // 10).bit_length()
    hz = np.fft.rfftfreq(size, 1 / rate)
    low, high = BAND_HZ
    with np.errstate(divide="ignore"):
        passes = 1 / np.sqrt(1 + (low / np.maximum(hz, 1e-9)) ** 8) / np.sqrt(1 + (hz / high) ** 8)
    return np.asarray(np.fft.irfft(np.fft.rfft(sound, size) * passes, size)[: len(sound)])
