"""``fenghuo tts …``: what a text sounds like, on this machine and without a controller."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from typer import Argument, Option

from controller.cli import say
from controller.cli.call import FindConfig, Json, table
from controller.cli.help import App
from controller.cli.outcome import Code, Failure
from controller.cli.words import w
from tts.voice import DEFAULT_SPEED, Signal

if TYPE_CHECKING:
    from tts.renderer import Rendered

OfflineVoice = Literal["zm_yunjian", "zf_xiaobei"]
Text = Annotated[str, Argument(metavar="TEXT", help=w("a_text"))]

tts = App(w("h_tts"))


@tts.verb("read", w("h_tts_read"))
def read(text: Text, json: Json = False) -> Code:
    from tts import reading

    spoken = " ".join(reading.read(text).split())
    if json:
        say.data_json({"text": text, "spoken": spoken})
    else:
        say.data(spoken)
    return Code.DONE


@tts.verb("voices", w("h_tts_voices"))
def voices(config: FindConfig = None, json: Json = False) -> Code:
    from tts.voices.edge import VOICES

    used = _approved(config)
    rows = [
        {"voice": name, "language": "zh", "where": w("voice_offline"), "approved": used.get(name, "")}
        for name in get_args(OfflineVoice)
    ]
    rows += [
        {
            "voice": f"edge:{name}",
            "language": language,
            "where": w("voice_online"),
            "approved": used.get(f"edge:{name}", ""),
        }
        for language, names in VOICES.items()
        for name in names
    ]
    columns = {
        w("c_voice"): "voice",
        w("c_language"): "language",
        w("c_where"): "where",
        w("c_approved"): "approved",
    }
    table(rows, columns, as_json=json)
    return Code.DONE


@tts.verb("say", w("h_tts_say"))
def say_(
    text: Text,
    out: Annotated[Path, Option("--out", metavar="FILE.mp3", help=w("o_out"))],
    voice: Annotated[
        Literal["zm_yunjian", "zf_xiaobei"], Option("--voice", help=w("o_voice"))
    ] = "zm_yunjian",
    speed: Annotated[float, Option("--speed", min=0.5, max=2, help=w("o_voice_speed"))] = DEFAULT_SPEED,
    signal: Annotated[Signal, Option("--signal", help=w("o_signal"))] = Signal.TEST,
    json: Json = False,
) -> Code:
    if not out.parent.is_dir():
        raise Failure(Code.FAILED, w("cannot_write", file=out, why=os.strerror(errno.ENOENT)))
    sentences = tuple(s for s in re.split(r"(?<=[。！？；!?])|\n", text) if s.strip())
    made = asyncio.run(_render(sentences, voice, speed, signal))
    try:
        out.write_bytes(made.mp3)
    except OSError as error:
        raise Failure(Code.FAILED, w("cannot_write", file=out, why=error.strerror)) from None
    about = {
        "file": str(out),
        "seconds": round(made.seconds, 2),
        "lufs": round(made.lufs, 1),
        "dbtp": round(made.dbtp, 1),
        "voice": made.voice,
        "spoken": list(made.spoken),
    }
    if json:
        say.data_json(about)
    else:
        say.data(str(out))
        say.talk(w("tts_said", **{k: v for k, v in about.items() if k != "spoken"}))
    return Code.DONE


def _approved(file: Path | None) -> dict[str, str]:
    """Voice → who approved it and when, by the configuration, if there is one."""
    from controller.cli.setup import load_config

    if file is None:
        return {}
    voice = load_config(file, on_this_machine=False).voice
    found: dict[str, str] = {}
    if voice.approved_by is not None:
        found[voice.name] = f"{voice.approved_by} {voice.approved_on}"
    if voice.online is not None:
        found[f"edge:{voice.online.name}"] = f"{voice.online.approved_by} {voice.online.approved_on}"
    return found


async def _render(sentences: tuple[str, ...], voice: str, speed: float, signal: Signal) -> Rendered:
    from tts.renderer import Renderer
    from tts.script import Script
    from tts.voice import VoiceError

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    renderer = Renderer(home / "fenghuo" / "voice")
    script = Script("zh", sentences, "".join(sentences), "", "", sentences)
    try:
        return await renderer.render(
            script, kind="test", colour=None, voice=voice, speed=speed, signal=signal, deadline_s=600
        )
    except VoiceError as error:
        raise Failure(Code.FAILED, str(error)) from error
    finally:
        await renderer.close()
