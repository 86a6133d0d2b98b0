"""A studio without an announcer: sound that has the shape of speech, different for each seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from tts.audio import Sound

RATE = 24_000


def talk(seconds: float, seed: int, rate: int = RATE, level: float = 0.15) -> Sound:
    """Syllables of 0.2 s: a buzzing tone of its own pitch each, with noise on top."""
    rng = np.random.default_rng(seed)
    n = int(seconds * rate)
    t = np.arange(n) / rate
    pitch = np.repeat(rng.uniform(110, 220, int(seconds / 0.2) + 2), int(0.2 * rate))[:n]
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voiced = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 12))
    shape = 0.15 + np.abs(np.sin(np.pi * t / 0.2)) * np.repeat(rng.uniform(0.4, 1, n // 4800 + 1), 4800)[:n]
    sound = (voiced + 0.1 * rng.standard_normal(n)) * shape
    return np.asarray(level * sound / np.abs(sound).max() * 3, np.float32)


def room(seconds: float, db: float, seed: int = 1, rate: int = RATE) -> Sound:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.standard_normal(int(seconds * rate)) * 10 ** (db / 20), np.float32)


def recorded(speech: Sound, *, noise_db: float = -65.0, before: float = 0.6, after: float = 0.8) -> Sound:
    """`speech` in a room, with the room before and behind it."""
    whole = np.concatenate([np.zeros(int(before * RATE)), speech, np.zeros(int(after * RATE))])
    return np.asarray(whole + room(len(whole) / RATE + 1, noise_db)[: len(whole)], np.float32)


def save(path: Path, sound: Sound, rate: int = RATE, **more: str) -> Path:
    soundfile.write(path, sound, rate, **more)
    return path
