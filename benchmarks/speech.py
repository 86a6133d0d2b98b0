"""Speech: how soon it sounds, what a minute of it costs, what a recogniser hears of it in a horn's noise."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from tts import recogniser
from tts.recogniser import Recogniser, RecogniserError
from tts.renderer import Form, Piece, Renderer
from tts.trial import NOISES, PLAIN, SENTENCES, TARGETS, Heard, score, trial
from tts.voice import DEFAULT_SPEED, DEFAULT_VOICE, Signal, Speaker, Speech, VoiceError
from tts.worker import encode

VOICES: Final = ("zm_yunjian", "zf_xiaobei")
MESSAGE: Final = SENTENCES[:5]
"""About 25 s of speech."""
MINUTE: Final = 60
SHAPED_BAR: Final = 0.5
_DEADLINE_S: Final = 600.0
_FILTERS: Final = (
    "highpass=f=250,highpass=f=250,equalizer=f=2600:t=q:w=0.8:g=8,acompressor=threshold=-26dB:ratio=4:attack=8:"
    "release=120,loudnorm=I=-15:TP=-3,alimiter=limit=0.7"
)


@dataclass(slots=True)
class Spoken:
    """Seconds from the text to the first sample and to the finished clip."""

    voice: str
    cold_first: float
    warm_first: float
    cold_clip: float
    warm_clip: float
    clip_s: float


@dataclass(slots=True)
class Minute:
    """Seconds of wall time for 60 s of speech, best of some; None: not on this machine."""

    ours: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    pydub: float | None = None
    ffmpeg: float | None = None


async def soon(voice: str, cache: Path) -> Spoken:
    """A voice process of its own, twice the same message; the second time every sentence is new to it, but
    the model is there. Raises VoiceError."""

    async def first(renderer: Renderer, sentence: str) -> float:
        began = time.perf_counter()
        await renderer.speak([sentence], voice=voice, speed=DEFAULT_SPEED, deadline_s=_DEADLINE_S)
        return time.perf_counter() - began

    async def clip(renderer: Renderer, sentences: tuple[str, ...]) -> tuple[float, float]:
        began = time.perf_counter()
        made = await renderer.render_pieces(
            [Piece(sentences)], Form(Signal.RED), voice=voice, speed=DEFAULT_SPEED, deadline_s=_DEADLINE_S
        )
        return time.perf_counter() - began, made.seconds

    warm, cold = Renderer(cache), Renderer(cache)
    try:
        cold_first = await first(warm, MESSAGE[0])
        warm_first = await first(warm, SENTENCES[5])
        warm_clip, seconds = await clip(warm, tuple(SENTENCES[6:11]))
        await warm.close()
        cold_clip, _ = await clip(cold, MESSAGE)
    finally:
        await warm.close()
        await cold.close()
    return Spoken(voice, cold_first, warm_first, cold_clip, warm_clip, seconds)


async def minute(cache: Path, rounds: int) -> Minute:
    """60 s of speech through chain, MP3, decoding and measuring; then what others need for less. Raises
    VoiceError."""
    renderer, found = Renderer(cache), Minute()
    try:
        spoken = await renderer.speak(MESSAGE[:1], voice=DEFAULT_VOICE, deadline_s=_DEADLINE_S)
        samples = np.frombuffer(spoken.pcm, "<f4")
        samples = np.tile(samples, -(-MINUTE * spoken.sample_rate // len(samples)))
        samples = samples[: MINUTE * spoken.sample_rate]
        speech = Speech(pcm=samples.astype("<f4").tobytes(), sample_rate=spoken.sample_rate, seconds=MINUTE)
        for _ in range(rounds + 1):
            made = await renderer.render_pieces(
                [Piece(("说",), speech)], Form(Signal.TEST), deadline_s=_DEADLINE_S
            )
            cost = sum(made.stages.values())
            if not found.ours or cost < found.ours:
                found.ours, found.stages = cost, dict(made.stages)
    finally:
        await renderer.close()
    wav = await asyncio.to_thread(encode, samples, spoken.sample_rate, "wav")
    if shutil.which("ffmpeg") is not None:
        found.ffmpeg = await asyncio.to_thread(_best, rounds, lambda: _ffmpeg(wav))
        if _has_pydub():
            found.pydub = await asyncio.to_thread(_best, rounds, lambda: _pydub(wav))
    return found


def _best(rounds: int, work: Callable[[], None]) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _ffmpeg(wav: bytes) -> None:
    words = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        "-",
        "-af",
        _FILTERS,
        "-ar",
        "24000",
        "-b:a",
        "32k",
        "-f",
        "mp3",
        "-",
    ]
    subprocess.run(words, input=wav, stdout=subprocess.DEVNULL, check=True, timeout=_DEADLINE_S)


def _has_pydub() -> bool:
    return importlib.util.find_spec("pydub") is not None


def _pydub(wav: bytes) -> None:
    """Its own way: normalise, and export through ffmpeg; no filter, no compressor, no limiter."""
    from pydub import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        AudioSegment,
        effects,
    )

    sound = effects.normalize(AudioSegment.from_file(io.BytesIO(wav), format="wav"), headroom=3.0)
    sound.export(io.BytesIO(), format="mp3", bitrate="32k").close()


async def heard(cache: Path, quick: bool) -> list[Heard]:
    """The default voice and preset on all sentences; not quick: also the other voice, and without the chain.
    Raises VoiceError, RecogniserError."""
    renderer, listener = Renderer(cache), Recogniser(cache / "recogniser")
    runs = [(DEFAULT_VOICE, Speaker.HORN.value)]
    if not quick:
        runs += [(DEFAULT_VOICE, PLAIN), ("zf_xiaobei", Speaker.HORN.value)]
    found: list[Heard] = []
    try:
        for voice, preset in runs:
            async for one in trial(
                renderer,
                listener,
                voice=voice,
                preset=preset,
                speed=DEFAULT_SPEED,
                noises=(None,) if quick else (None, *NOISES),
                sentences=SENTENCES[:4] if quick else SENTENCES,
            ):
                found.append(one)
    finally:
        await renderer.close()
        await listener.close()
    return found


async def page(quick: bool) -> str:
    """The measurements as a markdown section."""
    with tempfile.TemporaryDirectory(prefix="fenghuo-bench-speech-") as name:
        cache = Path(name)
        lines = ["## Speech", ""]
        try:
            lines += _soon([await soon(voice, cache) for voice in VOICES[: 1 if quick else None]])
            lines += _minute(await minute(cache, 1 if quick else 5))
            if lacking := recogniser.missing():
                lines += [f"Syllable errors: not measured: {lacking}", ""]
            else:
                lines += _heard(await heard(cache, quick))
        except (VoiceError, RecogniserError) as error:
            lines += [f"Not measured further: {error}", ""]
    return "\n".join(lines)


def _soon(rows: list[Spoken]) -> list[str]:
    return [
        "Seconds from the text. `cold`: the voice process is started for it. `first sample`: the first "
        "sentence is there. `clip`: five sentences, shaped, encoded and measured.",
        "",
        "| voice | first sample, cold | first sample, warm | clip, cold | clip, warm | clip lasts |",
        "|---|---|---|---|---|---|",
        *(
            f"| {r.voice} | {r.cold_first:.2f} | {r.warm_first:.2f} | {r.cold_clip:.1f} | {r.warm_clip:.1f} "
            f"| {r.clip_s:.0f} s |"
            for r in rows
        ),
        "",
    ]


def _minute(found: Minute) -> list[str]:
    def ratio(other: float | None) -> str:
        return "not here" if other is None else f"{other:.2f} s ({other / found.ours:.1f} × ours)"

    stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in found.stages.items())
    return [
        f"- 60 s of speech through the chain, MP3, decoding and measuring, warm: {found.ours:.2f} s "
        f"({stages}); bar {SHAPED_BAR} s: **{'met' if found.ours <= SHAPED_BAR else 'not met'}**",
        f"- pydub, normalise and export only: {ratio(found.pydub)}",
        f"- ffmpeg command line, the same steps as filters: {ratio(found.ffmpeg)}",
        "",
    ]


def _heard(found: list[Heard]) -> list[str]:
    rows = []
    for s in score(found):
        ours = s.voice == DEFAULT_VOICE and s.preset == Speaker.HORN.value
        bar = (
            f"{TARGETS[s.snr_db]:.0%}: **{'met' if s.ser <= TARGETS[s.snr_db] else 'not met'}**"
            if ours
            else ""
        )
        noise = "dry" if s.snr_db is None else f"{s.snr_db:g} dB"
        rows.append(
            f"| {s.voice} | {s.preset} | {noise} | {s.sentences} | {s.ser:.1%} | {bar} | {s.misheard} |"
        )
    return [
        "Toneless syllables that whisper-base hears wrong, after MP3, dry and through a simulated horn with "
        "echoes and pink noise (`tts/horn.py`); SNR against what the chain delivers.",
        "",
        "| voice | preset | noise | sentences | errors | bar | a number, place or action missed in |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]
