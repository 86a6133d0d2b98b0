"""Attention signals that a board makes by itself, so that a missing file never means silence.

The notes are those of the controller's own signals (`tts.audio`; a test holds the two alike). None of them
wails, because wails are the civil-defence sirens (voice-and-audio.md §5), and their energy lies between 500
and 2,500 Hz (ISO 7731).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Block = NDArray[np.float32]

RATE: Final = 24_000
PEAK: Final = 0.7
"""Of full scale: -3.1 dB, below the ceiling of spoken clips (-3 dBFS, voice-and-audio.md §5)."""
PAUSE_S: Final = 2.0
"""Between a generated signal and its repetition."""
_FADE_S: Final = 0.008

NOTES: Final[dict[str, tuple[tuple[float, float], ...]]] = {
    # (hertz, seconds); 0 Hz is a rest.
    "quake": ((1245, 0.07), (1661, 0.07), (2217, 0.07), (0, 0.04)) * 4,
    "red": ((988, 0.14), (1319, 0.14)) * 9,
    "orange": ((784, 0.2), (1047, 0.2), (1319, 0.2), (0, 0.1)) * 3,
    "yellow": ((659, 0.3), (880, 0.3), (0, 0.12)) * 2,
    "blue": ((587, 0.45), (784, 0.55)),
    "plain": ((880, 0.2), (0, 0.06), (880, 0.2), (0, 0.06), (1175, 0.45)) * 2,
    "all_clear": ((1047, 0.35), (784, 0.35), (659, 0.35), (523, 0.8)),
    "exercise": ((1047, 0.4), (0, 0.05), (523, 0.4), (0, 0.25), (1047, 0.4), (0, 0.05), (523, 0.4)),
    "notice": ((1047, 0.3), (831, 0.6)),
    "test": ((1000, 0.18),),
}
CHECK: Final = ((700, 0.25), (0, 0.25), (700, 0.25))
"""What `fenghuo-terminal test audible` sounds: no attention signal, so that nobody is alarmed by it."""


def tone(notes: tuple[tuple[float, float], ...], rate: int = RATE) -> Block:
    """These notes with two overtones each, dying away; mono, peak PEAK."""
    whole = np.concatenate([_note(hz, seconds, rate) for hz, seconds in notes])
    whole *= np.float32(PEAK / np.max(np.abs(whole)))
    return whole


def signal(name: str, role: str) -> Block:
    """The signal of this name. One that is not known here (a newer controller's, a siren) sounds as the plain
    one of its kind (`role`): a drill's must not turn into a warning's."""
    return tone(NOTES.get(name, NOTES.get(role, NOTES["plain"])))


def _note(hz: float, seconds: float, rate: int) -> Block:
    t = np.arange(int(seconds * rate)) / rate
    if not hz:
        return np.zeros(len(t), np.float32)
    sound = sum(np.sin(2 * np.pi * hz * k * t) * weight for k, weight in ((1, 1.0), (2, 0.35), (3, 0.12)))
    shaped = np.asarray(sound * np.exp(-t), np.float32)
    ramp = np.linspace(0, 1, max(int(_FADE_S * rate), 1), dtype=np.float32)
    shaped[: len(ramp)] *= ramp
    shaped[-len(ramp) :] *= ramp[::-1]
    return shaped
