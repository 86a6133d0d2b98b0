"""Waveform and spectrogram of several sounds, one under the other, as PNG."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_PIXELS_PER_S: Final = 60
_WIDEST: Final = 2_400
_WAVE: Final = 110
_SPECTRUM: Final = 200
_HEAD: Final = 24
_LEFT: Final = 52
_FLOOR_DB: Final = -90.0
_MARKS: Final = (1_000, 2_000, 4_000, 8_000)
_HOP: Final = 240
_WINDOW: Final = 1_024


def picture(sounds: Sequence[tuple[str, bytes]]) -> bytes:
    """`sounds`: (name, file). All on one time axis: 60 pixels a second, less where that gets too wide. A
    county may name its voices in Chinese: then in a Chinese font, where this machine has one."""
    from controller.map import cjk_font
    from tts.worker import decode

    foreign = not all(name.isascii() for name, _ in sounds)
    found = cjk_font() if foreign else None
    font = ImageFont.truetype(str(found), 12) if found else None
    heard = [(name, *decode(data)) for name, data in sounds]
    longest = max(len(sound) / rate for _, sound, rate in heard)
    width = min(_WIDEST, max(400, round(longest * _PIXELS_PER_S)))
    row = _HEAD + _WAVE + _SPECTRUM + 22
    image = Image.new("RGB", (_LEFT + width + 12, row * len(heard)), "white")
    draw = ImageDraw.Draw(image)
    for n, (name, sound, rate) in enumerate(heard):
        top = n * row
        share = max(1, round(width * len(sound) / rate / longest))
        draw.text((_LEFT, top + 5), f"{name}   {len(sound) / rate:.1f} s", fill="black", font=font)
        _wave(draw, sound, top + _HEAD, share)
        spectrum = _spectrum(sound)
        shades = Image.fromarray(_coloured(spectrum)).resize((share, _SPECTRUM), Image.Resampling.BOX)
        image.paste(shades, (_LEFT, top + _HEAD + _WAVE))
        for hz in _MARKS:
            if hz < rate / 2:
                y = top + _HEAD + _WAVE + round(_SPECTRUM * (1 - hz / (rate / 2)))
                draw.line((_LEFT - 4, y, _LEFT, y), fill="black")
                draw.text((4, y - 6), f"{hz // 1000}k", fill="black")
        bottom = top + _HEAD + _WAVE + _SPECTRUM
        step = 1 if longest < 30 else 5
        for second in range(0, int(longest) + 1, step):
            x = _LEFT + round(second * width / longest)
            draw.line((x, bottom, x, bottom + 4), fill="black")
            draw.text((x - 4, bottom + 5), str(second), fill="black")
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _wave(draw: ImageDraw.ImageDraw, sound: NDArray[np.float32], top: int, width: int) -> None:
    middle = top + _WAVE // 2
    edges = np.linspace(0, len(sound), width + 1).astype(int)
    for full in (0.708, -0.708):  # -3 dBFS
        y = middle - round(full * _WAVE / 2)
        draw.line((_LEFT, y, _LEFT + width, y), fill=(230, 180, 180))
    for x, (start, end) in enumerate(itertools.pairwise(edges)):
        part = sound[start : max(end, start + 1)]
        high, low = float(part.max(initial=-1.0)), float(part.min(initial=1.0))
        draw.line(
            (_LEFT + x, middle - high * _WAVE / 2, _LEFT + x, middle - low * _WAVE / 2), fill=(40, 70, 120)
        )


def _spectrum(sound: NDArray[np.float32]) -> NDArray[np.float64]:
    """Level in dB, rows from the highest frequency down, columns in time."""
    padded = np.zeros(max(len(sound), _WINDOW) + _WINDOW, np.float32)
    padded[: len(sound)] = sound
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1)) / (_WINDOW / 4)
    level: NDArray[np.float64] = 20 * np.log10(np.maximum(power, 1e-6)).T[::-1]
    return level


def _coloured(level: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Dark where it is quiet, through violet and orange to white."""
    x = np.clip((level - _FLOOR_DB) / -_FLOOR_DB, 0, 1)
    stops = np.array([0.0, 0.35, 0.7, 1.0])
    ramp = [(10, 80, 235, 255), (10, 20, 120, 250), (40, 110, 40, 230)]
    return np.stack([np.interp(x, stops, channel) for channel in ramp], axis=-1).astype(np.uint8)
