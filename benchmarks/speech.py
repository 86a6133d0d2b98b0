"""Speech: how soon it sounds, what a minute of it costs, what a recogniser hears of it in a horn's noise."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import os
import resource
import shutil
import subprocess
import sys
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
from tts.trial import NOISES, PLAIN, SENTENCES, TARGETS, TOGETHER, Heard, score, trial
from tts.voice import DEFAULT_SPEED, DEFAULT_VOICE, Signal, Speaker, Speech, VoiceError, VoiceFailure
from tts.worker import encode

VOICES: Final = ("zm_yunjian", "zf_xiaobei")
MESSAGE: Final = SENTENCES[:5]
"""About 25 s of speech."""
MINUTE: Final = 60
SHAPED_BAR: Final = 0.5
_FEW: Final = SENTENCES[::4] + SENTENCES[1::20]
"""Twelve."""
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


@dataclass(frozen=True, slots=True)
class Cost:
    """Each the least of some rounds: on a busy machine the wall tells how busy it was."""

    wall: float
    cpu: float


@dataclass(slots=True)
class Minute:
    """Seconds of wall and CPU time for 60 s of speech, the best of some; None: not on this machine."""

    ours: Cost
    stages: dict[str, float] = field(default_factory=dict)
    """Wall, of the round that took the least."""
    pydub: Cost | None = None
    ffmpeg: Cost | None = None


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
    renderer, found = Renderer(cache), Minute(Cost(0.0, 0.0))
    costs: list[Cost] = []
    try:
        spoken = await renderer.speak(MESSAGE[:1], voice=DEFAULT_VOICE, deadline_s=_DEADLINE_S)
        samples = np.frombuffer(spoken.pcm, "<f4")
        samples = np.tile(samples, -(-MINUTE * spoken.sample_rate // len(samples)))
        samples = samples[: MINUTE * spoken.sample_rate]
        speech = Speech(pcm=samples.astype("<f4").tobytes(), sample_rate=spoken.sample_rate, seconds=MINUTE)
        for _ in range(rounds + 1):
            before = _cpu_of(renderer.pid)
            made = await renderer.render_pieces(
                [Piece(("说",), speech)], Form(Signal.TEST), deadline_s=_DEADLINE_S
            )
            costs.append(Cost(sum(made.stages.values()), _cpu_of(renderer.pid) - before))
            if costs[-1].wall == min(cost.wall for cost in costs):
                found.stages = dict(made.stages)
    finally:
        await renderer.close()
    found.ours = _least(costs)
    wav = await asyncio.to_thread(encode, samples, spoken.sample_rate, "wav")
    if shutil.which("ffmpeg") is not None:
        found.ffmpeg = await asyncio.to_thread(_best, rounds, lambda: _ffmpeg(wav))
        if _has_pydub():
            found.pydub = await asyncio.to_thread(_best, rounds, lambda: _pydub(wav))
    return found


def _cpu_of(pid: int | None) -> float:
    """CPU seconds of another process since it began, in steps of 10 ms (``man 5 proc``: utime, stime)."""
    if pid is None:
        raise VoiceError(VoiceFailure.CRASHED, "the voice process is gone")
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _least(costs: list[Cost]) -> Cost:
    return Cost(min(cost.wall for cost in costs), min(cost.cpu for cost in costs))


def _best(rounds: int, work: Callable[[], None]) -> Cost:
    """Ours and our children's; nothing else runs here meanwhile."""
    costs = []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), _cpu_here()
        work()
        costs.append(Cost(time.perf_counter() - wall, _cpu_here() - cpu))
    return _least(costs)


def _cpu_here() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


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


async def heard(cache: Path, quick: bool) -> dict[int, list[Heard]]:
    """The default voice and preset on all sentences, each alone and then in messages; each other voice and
    preset on `_FEW` of them, in messages; quick: two sentences each, dry and in the loudest noise. Each clip
    misheard is written to stderr. Raises VoiceError, RecogniserError."""
    renderer, listener = Renderer(cache), Recogniser(cache / "recogniser")
    ours = (DEFAULT_VOICE, Speaker.HORN.value)
    runs = [(*ours, 1), (*ours, TOGETHER)]
    runs += [(voice, ours[1], TOGETHER) for voice in VOICES if voice != DEFAULT_VOICE]
    presets = (*(s.value for s in Speaker), PLAIN)
    runs += [(DEFAULT_VOICE, preset, TOGETHER) for preset in presets if preset != ours[1]]
    found: dict[int, list[Heard]] = {1: [], TOGETHER: []}
    try:
        for voice, preset, together in runs:
            few = SENTENCES[:2] if quick else SENTENCES if (voice, preset) == ours else _FEW
            async for one in trial(
                renderer,
                listener,
                voice=voice,
                preset=preset,
                speed=DEFAULT_SPEED,
                noises=(None, NOISES[-1]) if quick else (None, *NOISES),
                sentences=few,
                together=together,
            ):
                found[together].append(one)
                if one.verdict.ser:
                    print(f"  {_told(one)}", file=sys.stderr, flush=True)
    finally:
        await renderer.close()
        await listener.close()
    return found


def _told(one: Heard) -> str:
    noise = "dry" if one.snr_db is None else f"{one.snr_db:g} dB"
    errors = round(one.verdict.ser * one.syllables)
    missed = f" missed {', '.join(one.verdict.missing)};" if one.verdict.missing else ""
    return f"{one.voice} {one.preset} {noise}: {errors} of {one.syllables};{missed} {one.text} → {one.heard}"


async def time_page(quick: bool) -> str:
    """How soon it sounds and what a minute costs, as a markdown section: hangs on the machine's speed."""
    with tempfile.TemporaryDirectory(prefix="fenghuo-bench-speech-") as name:
        cache = Path(name)
        lines = ["## Speech: time", ""]
        try:
            lines += _soon([await soon(voice, cache) for voice in VOICES[: 1 if quick else None]])
            lines += _minute(await minute(cache, 1 if quick else 5))
        except VoiceError as error:
            lines += [f"Not measured further: {error}", ""]
    return "\n".join(lines)


async def errors_page(quick: bool) -> str:
    """What a recogniser hears, as a markdown section: the same on a busy machine."""
    lines = ["## Speech: syllable errors", ""]
    if lacking := recogniser.missing():
        return "\n".join([*lines, f"Not measured: {lacking}", ""])
    with tempfile.TemporaryDirectory(prefix="fenghuo-bench-speech-") as name:
        try:
            lines += _heard(await heard(Path(name), quick))
        except (VoiceError, RecogniserError) as error:
            lines += [f"Not measured: {error}", ""]
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
    def ratio(other: Cost | None) -> str:
        if other is None:
            return "not here"
        times = f"{other.wall / found.ours.wall:.1f} and {other.cpu / found.ours.cpu:.1f} × ours"
        return f"{other.wall:.2f} s, CPU {other.cpu:.2f} s ({times})"

    stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in found.stages.items())
    return [
        f"- 60 s of speech through the chain, MP3, decoding and measuring, warm: {found.ours.wall:.2f} s "
        f"({stages}), CPU {found.ours.cpu:.2f} s; bar {SHAPED_BAR} s: "
        f"**{'met' if found.ours.wall <= SHAPED_BAR else 'not met'}**",
        f"- pydub, normalise and export only: {ratio(found.pydub)}",
        f"- ffmpeg command line, the same steps as filters: {ratio(found.ffmpeg)}",
        "",
    ]


def _heard(found: dict[int, list[Heard]]) -> list[str]:
    rows = []
    for together, s in ((together, s) for together, some in found.items() for s in score(some)):
        ours = s.voice == DEFAULT_VOICE and s.preset == Speaker.HORN.value
        bar = (
            f"{TARGETS[s.snr_db]:.0%}: **{'met' if s.ser <= TARGETS[s.snr_db] else 'not met'}**"
            if ours
            else ""
        )
        noise = "dry" if s.snr_db is None else f"{s.snr_db:g} dB"
        rows.append(
            f"| {s.voice} | {s.preset} | {noise} | {s.sentences} | {together} | {s.ser:.1%} | {bar} "
            f"| {s.misheard} |"
        )
    return [
        "Toneless syllables that whisper-base hears wrong, after MP3, dry and through a simulated horn with "
        "echoes and pink noise (`tts/horn.py`); SNR against what the chain delivers.",
        "",
        "| voice | preset | noise | sentences | in one clip | errors | bar | clips that miss a number, place "
        "or action |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]
