"""``fenghuo tts check``: what a recogniser on this machine makes of the voices, dry and in a horn's noise."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.cli import say
from controller.cli.call import table
from controller.cli.outcome import Code, Failure
from controller.cli.words import told, w

if TYPE_CHECKING:
    from tts.trial import Heard


def show(
    voices: Sequence[str],
    presets: Sequence[str],
    noises: Sequence[float],
    files: Sequence[Path],
    *,
    speed: float,
    as_json: bool,
) -> Code:
    """Syllable errors per voice, preset and noise; one line on stderr for each sentence heard wrong."""
    from tts import recogniser, trial

    if lacking := recogniser.missing():
        raise Failure(Code.FAILED, told(lacking))
    for preset in presets:
        if preset not in trial.PRESETS:
            raise Failure(Code.USAGE, w("check_preset", preset=preset, known=", ".join(trial.PRESETS)))
    sentences = _sentences(files) if files else trial.SENTENCES
    say.talk(w("check_going", count=len(sentences) * len(voices) * len(presets)))
    heard = asyncio.run(_listen(voices, presets, (None, *noises), sentences, speed))
    rows = [
        {
            "voice": score.voice,
            "preset": score.preset,
            "snr_db": score.snr_db,
            "sentences": score.sentences,
            "syllable_errors": round(score.ser, 4),
            "misheard": score.misheard,
        }
        for score in trial.score(heard)
    ]
    if as_json:
        wrong = [_wrong(one) for one in heard if not one.verdict.ok or one.faults]
        say.data_json({"scores": rows, "wrong": wrong})
        return Code.DONE
    shown = [
        {
            **row,
            "snr_db": w("check_dry") if row["snr_db"] is None else w("check_db", db=f"{row['snr_db']:g}"),
            "syllable_errors": f"{row['syllable_errors']:.1%}",
        }
        for row in rows
    ]
    columns = {
        w("c_voice"): "voice",
        w("c_preset"): "preset",
        w("c_noise"): "snr_db",
        w("c_sentences"): "sentences",
        w("c_syllable_errors"): "syllable_errors",
        w("c_misheard"): "misheard",
    }
    table(shown, columns, as_json=False)
    return Code.DONE


def _sentences(files: Sequence[Path]) -> tuple[str, ...]:
    """One a line."""
    found: list[str] = []
    for file in files:
        try:
            found += [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
        except OSError as error:
            raise Failure(Code.FAILED, w("cannot_read", file=file, why=error.strerror)) from None
        except UnicodeDecodeError:
            raise Failure(Code.FAILED, w("check_no_text", file=file)) from None
    if not found:
        raise Failure(Code.USAGE, w("check_no_text", file=files[0]))
    return tuple(found)


def _wrong(heard: Heard) -> dict[str, Any]:
    return {
        "voice": heard.voice,
        "preset": heard.preset,
        "snr_db": heard.snr_db,
        "text": heard.text,
        "heard": heard.heard,
        "missing": list(heard.verdict.missing),
        "faults": [str(fault) for fault in heard.faults],
    }


async def _listen(
    voices: Sequence[str],
    presets: Sequence[str],
    noises: Sequence[float | None],
    sentences: Sequence[str],
    speed: float,
) -> list[Heard]:
    from tts.recogniser import Recogniser, RecogniserError
    from tts.renderer import Renderer
    from tts.trial import trial
    from tts.voice import VoiceError

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fenghuo"
    renderer, recogniser = Renderer(home / "voice"), Recogniser(home / "recogniser")
    heard: list[Heard] = []
    try:
        for voice in voices:
            for preset in presets:
                async for one in trial(
                    renderer,
                    recogniser,
                    voice=voice,
                    preset=preset,
                    speed=speed,
                    noises=noises,
                    sentences=sentences,
                ):
                    heard.append(one)
                    if not one.verdict.ok:
                        say.talk(w("check_heard", text=one.text, heard=one.heard))
    except (VoiceError, RecogniserError) as error:
        raise Failure(Code.FAILED, told(str(error))) from error
    finally:
        await renderer.close()
        await recogniser.close()
    return heard
