"""Sounds on this machine: speaking a text, hearing what would be aired, comparing, speaking ahead."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alerts.model import Colour
from controller.cli import ask, say, words
from controller.cli.call import table, write
from controller.cli.outcome import Code, Failure
from controller.cli.words import w
from tts.voice import Kind, Signal, Speaker, Speech, Stage, VoiceError

if TYPE_CHECKING:
    from config.schema import Config
    from controller.prepare import Likely
    from controller.voicing import Voicing
    from tts.library import ClipRecord
    from tts.renderer import Form, Piece, Rendered, Renderer

OFFLINE: Final = ("zm_yunjian", "zf_xiaobei")
_DEADLINE_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Take:
    """One rendering, and how it was asked for."""

    voice: str
    speaker: Speaker
    codec: str
    made: Rendered

    def about(self, file: Path) -> dict[str, Any]:
        return {
            "file": str(file),
            "seconds": round(self.made.seconds, 2),
            "lufs": round(self.made.lufs, 1),
            "dbtp": round(self.made.dbtp, 1),
            "bytes": len(self.made.clip),
            "voice": self.voice,
            "speaker": str(self.speaker),
            "codec": self.codec,
            "spoken": list(self.made.spoken),
        }


def split(text: str) -> tuple[str, ...]:
    return tuple(s for s in re.split(r"(?<=[。！？；!?])|\n", text) if s.strip())


def must_be_there(folder: Path, file: Path | None = None) -> None:
    """Raises Failure before anything is spoken in vain."""
    if not folder.is_dir():
        raise Failure(Code.FAILED, w("cannot_write", file=file or folder, why=os.strerror(errno.ENOENT)))


@asynccontextmanager
async def renderer() -> AsyncIterator[Renderer]:
    """A voice process of our own. Its failures are Failures."""
    from tts.renderer import Renderer

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    made = Renderer(home / "fenghuo" / "voice")
    try:
        yield made
    except VoiceError as error:
        raise Failure(Code.FAILED, str(error)) from error
    finally:
        await made.close()


async def speak(
    sentences: tuple[str, ...],
    voices: Sequence[str],
    forms: Sequence[Form],
    *,
    speed: float,
    language: str = "zh",
    config: Path | None = None,
) -> list[Take]:
    """`sentences` by each voice in each form. Raises Failure."""
    takes: list[Take] = []
    async with renderer() as made:
        for voice in voices:
            piece = await _piece(made, sentences, voice, language, speed, config)
            for form in forms:
                name = voice if voice in OFFLINE else OFFLINE[0]
                clip = await made.render_pieces(
                    [piece], form, voice=name, speed=speed, deadline_s=_DEADLINE_S
                )
                takes.append(Take(voice, form.speaker, form.codec, clip))
    return takes


async def _piece(
    made: Renderer, sentences: tuple[str, ...], voice: str, language: str, speed: float, file: Path | None
) -> Piece:
    from tts.renderer import Piece

    if voice in OFFLINE:
        return Piece(sentences)
    words, aloud = await made.read(sentences) if language == "zh" else (sentences, sentences)
    speech: Speech = await _opened(voice, language, file, made.decode).speak(aloud, speed=speed)
    return Piece(words, speech)


def _opened(name: str, language: str, file: Path | None, decode: Callable[[bytes], Awaitable[Speech]]) -> Any:
    """A voice of the configuration by its name, or one of the online service's. Raises Failure."""
    from controller import voices
    from controller.cli.setup import load_config
    from tts.voices.choice import Engine, VoiceChoice
    from tts.voices.edge import EdgeVoice

    if file is not None:
        options = load_config(file, on_this_machine=False).voice
        for offer in voices.offered(options):
            if (offer.name, offer.language) == (name, language) and offer.engine is not Engine.BANK:
                return voices.opened(options, VoiceChoice(offer, offer.timeout_s), decode)
    if name.startswith("edge:"):
        return EdgeVoice(name.removeprefix("edge:"), decode=decode)
    raise Failure(Code.USAGE, w("no_such_voice", voice=name, language=language))


def compared(takes: Sequence[Take], folder: Path, *, as_json: bool) -> Code:
    """Every take as a file, one picture of all, and a table."""
    rows = []
    for take in takes:
        file = folder / f"{take.voice.replace(':', '-')}-{take.speaker}.{take.codec}"
        write(file, take.made.clip)
        rows.append(take.about(file))
    from controller.cli.picture import picture

    drawn = folder / "compare.png"
    shown = [
        (f"{t.voice} {t.speaker} {t.codec}   {t.made.lufs:.1f} LUFS   {t.made.dbtp:.1f} dBTP", t.made.clip)
        for t in takes
    ]
    write(drawn, picture(shown))
    columns = {
        w("c_voice"): "voice",
        w("c_speaker"): "speaker",
        w("c_seconds"): "seconds",
        "LUFS": "lufs",
        "dBTP": "dbtp",
        w("c_file"): "file",
    }
    if as_json:
        say.data_json({"takes": rows, "picture": str(drawn)})
    else:
        shown_rows = [{**row, "speaker": w(f"speaker_{row['speaker']}")} for row in rows]
        table(shown_rows, columns, as_json=False)
        say.data(str(drawn))
    return Code.DONE


# --- what would be aired ---------------------------------------------------------------------------------


@asynccontextmanager
async def voicing(config: Config) -> AsyncIterator[Voicing]:
    """The controller's own way from words to clips, in its own library. Evicts nothing: only the controller
    knows what is airing."""
    from config.counties import load_county, template_folders
    from controller.metrics import Metrics
    from controller.voicing import Voicing

    pack = load_county(config.county, synthetic=True)
    words = template_folders(config.county, config.templates)
    try:
        made = Voicing(
            config.voice, config.state_dir, pack.readings, Metrics(), say.talk, prepare=False, words=words,
            evict=False,
        )  # fmt: skip
    except OSError as error:
        raise Failure(
            Code.FAILED, w("cannot_write", file=config.state_dir / "clips", why=error.strerror)
        ) from None
    try:
        yield made
    except OSError as error:  # a full disk: what was made until then stays
        raise Failure(
            Code.FAILED, w("cannot_write", file=error.filename or config.state_dir, why=error.strerror)
        ) from error
    finally:
        await made.close()


async def preview(
    config: Config,
    *,
    kind: Kind,
    stage: Stage,
    hazard: str,
    colour: Colour | None,
    places: tuple[str, ...],
    description: str = "",
    instruction: str = "",
    languages: tuple[str, ...],
    speaker: Speaker,
    play: bool,
    as_json: bool,
) -> Code:
    """Lead and whole as they would be aired, the lead heard while the whole is made; and beside what is said,
    the source's words that it was made from. Raises Failure."""
    from controller.voicing import VoicingError
    from terminals.broadcast import Part
    from tts.airtime import Profile
    from tts.script import ScriptRequest

    if play:
        _pyaudio()
    now = datetime.now(UTC)
    request = ScriptRequest(
        kind, stage, hazard, colour, config.issuer.name, now, places,
        description=description, instruction=instruction,
    )  # fmt: skip
    profiles = {Profile(languages, speaker): 1}
    heard: list[dict[str, Any]] = []
    async with voicing(config) as made:
        playing: asyncio.Task[None] | None = None
        try:
            say.talk(w("preparing"))
            script = made.script(request)
            notes = made.notes(request, profiles)
            for note in notes:
                say.talk(note)
            began = time.monotonic()
            parts = (Part.WHOLE,) if kind == "test" else (Part.LEAD, Part.WHOLE)
            for part in parts:
                clip = await made.clip(request, part, profiles=profiles, patience_s=_DEADLINE_S)
                ready = time.monotonic() - began
                heard.append(_about(made, clip, part, ready))
                if not as_json:
                    say.data(heard[-1]["file"])
                    say.talk(w("previewed", part=part, seconds=f"{clip.seconds:.1f}", ready=f"{ready:.1f}"))
                    say.talk(f"{w('f_spoken')}: {clip.text}")
                    if clip.doubt:
                        say.talk(f"{w('f_doubt')}: {words.told(clip.doubt)}")
                if play:
                    if playing is not None:
                        await playing
                    data = await made.audio(clip.sha256)
                    playing = asyncio.create_task(asyncio.to_thread(played, data), name="play")
        except VoicingError as error:
            raise Failure(Code.FAILED, str(error)) from error
        finally:
            if playing is not None:  # a thread cannot be left half-way
                await playing
    said = {
        "text": script.text,
        "omitted": list(script.omitted),
        "original": {"description": description, "instruction": instruction}
        if description or instruction
        else None,
    }
    if as_json:
        say.data_json({"parts": heard, "notes": list(notes), **said})
    else:
        for name, text in {w("f_text"): script.text, **ask.originals(said)}.items():
            if text:
                say.talk(f"{name}: {text}")
    return Code.DONE


def _about(made: Voicing, clip: ClipRecord, part: str, ready: float) -> dict[str, Any]:
    return {
        "part": str(part),
        "file": str(made.path(clip.sha256)),
        "sha256": clip.sha256,
        "seconds": round(clip.seconds, 2),
        "lufs": round(clip.lufs, 1),
        "dbtp": round(clip.dbtp, 1),
        "voice": clip.voice,
        "doubt": clip.doubt,
        "ready_after": round(ready, 2),
        "spoken": clip.text,
    }


def played(data: bytes) -> None:
    """`data` through this machine's loudspeaker, to its end. Raises Failure: without PyAudio it says how to
    get it, or to play the file otherwise."""
    pyaudio = _pyaudio()
    import numpy as np

    from tts.worker import decode

    sound, rate = decode(data)
    device = pyaudio.PyAudio()
    try:
        # Held ahead: the voice, busy with the whole, must not make the lead stutter.
        held = rate // 5
        stream = device.open(
            format=pyaudio.paInt16, channels=1, rate=rate, output=True, frames_per_buffer=held
        )
        try:
            # A device may swallow its first milliseconds (PulseAudio: 20), and what it still holds when it is
            # closed is thrown away: neither must be words.
            still = np.zeros(held + int(stream.get_output_latency() * rate))
            samples = (np.clip(np.concatenate([still, sound, still]), -1, 1) * 32767).astype("<i2")
            for start in range(0, len(samples), held):
                stream.write(samples[start : start + held].tobytes())
        finally:
            stream.close()
    except OSError as error:
        raise Failure(Code.FAILED, w("no_loudspeaker", why=error)) from None
    finally:
        device.terminate()


def _pyaudio() -> Any:
    try:
        import pyaudio
    except ImportError:
        raise Failure(Code.FAILED, w("no_pyaudio")) from None
    return pyaudio


# --- ahead -----------------------------------------------------------------------------------------------


async def ahead(config: Config, wanted: Sequence[Likely], *, dry: bool, check: bool, as_json: bool) -> Code:
    """Speaks `wanted` that are not in the library yet, with progress on stderr; the size figure at the end.
    With `check` every clip is listened to, once in its life; what is doubted is told and makes the end a
    failure. With `dry`, how long and large it would be: estimated. Raises Failure."""
    from controller import prepare
    from tts import floor
    from tts.airtime import estimate
    from tts.recogniser import missing

    if not wanted:
        raise Failure(Code.USAGE, w("prepare_nothing"))
    if check and not dry:
        if lacking := missing():
            raise Failure(Code.FAILED, lacking)
        config = config.model_copy(update={"voice": config.voice.model_copy(update={"check": "listen"})})
    failed: list[str] = []
    flagged: list[str] = []
    done = known = size = 0
    seconds = 0.0
    began = time.monotonic()
    async with voicing(config) as made:
        if dry:
            for one in wanted:
                script = prepare.lead(made, one)
                seconds += sum(map(estimate, script.sentences)) + _FRAME_S
            size, done = int(seconds * _BYTES_PER_S), len(wanted)
        else:
            if check and not await made.ear.load(floor.generic("test")[0]):
                raise Failure(Code.FAILED, made.ear.lacks)
            async with aclosing(prepare.make(made, wanted)) as results:
                async for result in results:
                    if result.clip is None:
                        failed.append(result.problem)
                        say.talk(result.problem)
                        if len(failed) >= 20:
                            raise Failure(Code.FAILED, w("prepare_gives_up"), *dict.fromkeys(failed))
                        continue
                    if wrong := _untrusted(result.clip, heard=not (check and made.to_be_heard(result.clip))):
                        flagged.append(wrong)
                        say.talk(wrong)
                    done += 1
                    known += result.known
                    size += result.clip.size
                    seconds += result.clip.seconds
                    if not result.known or done % 100 == 0:
                        say.talk(_progress(done, known, len(wanted), time.monotonic() - began))
        held = made.held_bytes
    figure = {
        "messages": done,
        "wanted": len(wanted),
        "known": known,
        "failed": len(failed),
        "flagged": flagged,
        "minutes": round(seconds / 60, 1),
        "megabytes": round(size / 1e6, 1),
        "estimated": dry,
        "took_s": round(time.monotonic() - began, 1),
        "library_megabytes": round(held / 1e6, 1),
        "budget_megabytes": config.voice.library_mb,
    }
    if as_json:
        say.data_json(figure)
    else:
        say.data(w("prepare_would" if dry else "prepared", **figure))
    if max(held, size if dry else 0) > config.voice.library_mb * 1_000_000:
        say.talk(w("prepare_over_budget", **figure))
    return Code.FAILED if failed or flagged else Code.DONE


def _untrusted(clip: ClipRecord, *, heard: bool) -> str:
    """Why this clip must not be trusted; empty where nothing speaks against it."""
    if clip.doubt:
        return f"{clip.text}: {words.told(clip.doubt)}"
    return "" if heard else w("prepare_unheard", text=clip.text)


_FRAME_S: Final = 3.5
"""Lead-in, signal, pause and tail of a lead, on average."""
_BYTES_PER_S: Final = 4_000
"""MP3 at 32 kbit/s."""


def _progress(done: int, known: int, total: int, took: float) -> str:
    made = done - known
    left = (total - done) * took / made if made else 0.0
    return w("prepare_going", done=done, total=total, known=known, left=f"{left / 60:.0f}")


def signal_names() -> tuple[str, ...]:
    """What may be asked for here: no siren."""
    return tuple(signal.value for signal in Signal if not signal.siren)
