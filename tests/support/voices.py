"""Worlds in which voices are tested: the real adapters over engines that do what they are told to, wrong
things included; and a voice without an engine, which passes the same contract."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
import wave
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np

import tts.renderer
from support.edge_service import edge_service
from support.edge_service import tone as mp3_tone
from tts.renderer import Renderer
from tts.voice import Speech, Voice, VoiceError, VoiceFailure
from tts.voices.edge import EdgeVoice
from tts.voices.espeak import EspeakVoice
from tts.voices.external import CommandVoice, HttpVoice
from tts.voices.sound import checked, read_audio
from tts.voices.writing import written_for

PACE = 0.2
"""Seconds a character of every engine here."""
MANDARIN = ("请注意，请注意。", "请马上远离河道、沟谷和低洼地带，准备转移。")
UYGHUR = ("دىققەت!", "دەرھال ئېگىز جايغا چىقىڭ.")
FAULTS = ("silent", "truncated", "spells", "hangs", "crashes")


@dataclass(frozen=True)
class World:
    """One adapter. `voice(fault, budget_s)`: the voice whose engine does that; `begun`: it has been asked."""

    name: str
    sentences: tuple[str, ...]
    foreign: tuple[str, ...]
    voice: Callable[[str, float], Voice]
    begun: Callable[[], bool]
    left: Callable[[], list[str]]
    """What still runs that it started."""


async def decode(data: bytes) -> Speech:
    """In this process; the controller leaves it to the voice process."""
    sound, rate = read_audio(data)
    return Speech(sound.astype("<f4").tobytes(), rate, len(sound) / rate)


@cache
def wav(seconds: float, level: float = 0.3, rate: int = 22_050) -> bytes:
    """A tone with a soft end, as 16-bit mono."""
    t = np.arange(int(seconds * rate)) / rate
    sound = level * np.sin(2 * np.pi * 300 * t) * np.minimum(1, (seconds - t) / 0.1)
    into = io.BytesIO()
    with wave.open(into, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    return into.getvalue()


def sounding(text: str, fault: str) -> bytes:
    """What an engine with that fault answers to `text`, as WAV."""
    seconds = round(PACE * sum(c.isalnum() for c in text), 2)
    match fault:
        case "silent":
            return wav(seconds, 0.0)
        case "truncated":
            return wav(seconds)[: int(44 + 22_050 * 2 * seconds * 0.6)]
        case "spells":
            return wav(seconds * 6 + 20)
    return wav(seconds)


class ToneVoice:
    """The port without an engine: hums for as long as the words would take."""

    name = "tone"
    languages = frozenset({"zh"})

    def __init__(self, fault: str = "", budget_s: float = 5.0) -> None:
        self._fault = fault
        self._budget_s = budget_s
        self.asked = 0

    async def speak(self, sentences: Sequence[str], *, speed: float) -> Speech:
        text = "\n".join(written_for("zh", sentences))
        self.asked += 1
        if self._fault == "crashes":
            raise VoiceError(VoiceFailure.CRASHED, "tone: as it was told")
        try:
            async with asyncio.timeout(self._budget_s):
                await asyncio.sleep(600 if self._fault == "hangs" else 0)
        except TimeoutError as error:
            raise VoiceError(VoiceFailure.TIMEOUT, "tone: nothing in time") from error
        return checked(await decode(sounding(text, self._fault)), text, speed=speed, what=self.name)


# The county's program: reads what it is to say, does what its first argument says.
ENGINE = """
import sys, time, os, subprocess
sys.path[:0] = {path!r}
from support.voices import sounding
fault, pids = sys.argv[1], sys.argv[2]
text = sys.stdin.buffer.read().decode()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(pids, "a") as file:
    file.write(f"{{os.getpid()}} {{child.pid}}\\n")
if fault == "crashes":
    sys.exit("no model, " * 3)
if fault == "hangs":
    time.sleep(600)
sys.stdout.buffer.write(sounding(text, fault))
"""

# The real worker and the real voice around a model that hums.
WORKER = """
import os, sys, time, types
sys.path[:0] = {path!r}
import numpy as np
from tts import worker
from tts.voices import kokoro
fault = {fault!r}

class Model:
    def run(self, _, feed, _options):
        open({begun!r}, "w").close()
        if fault == "crashes":
            os._exit(9)
        if fault == "hangs":
            time.sleep(600)
        count = feed["tokens"].size - 2
        seconds = {pace} * count * (0.3 if fault == "truncated" else 1)
        level = 0.0 if fault == "silent" else 0.3
        return [level * np.sin(np.arange(int(seconds * 24000)) * 0.08)]

class Kokoro(kokoro.Kokoro):
    model_sha256 = "0" * 64
    def __init__(self, cache_dir):
        self._session, self._styles, self._kept = Model(), {{}}, cache_dir
        self._run = types.SimpleNamespace(terminate=False)
        self._vocabulary = {{c: 1 for c in [*map(chr, range(0x3400, 0xa000)), *",.;:!? "]}}
        self._spoken, self._alone = kokoro.OrderedDict(), kokoro.threading.Lock()
        self._reader = self
    def read(self, text):
        return text
    def phonemes(self, words, readings):
        return words

kokoro.Kokoro = Kokoro
worker.main()
"""


def _path() -> list[str]:
    tests = Path(__file__).parents[1]
    return [str(tests.parent), str(tests)]


@asynccontextmanager
async def tone_world(_folder: Path) -> AsyncIterator[World]:
    made: list[ToneVoice] = []

    def voice(fault: str, budget_s: float) -> Voice:
        made.append(ToneVoice(fault, budget_s))
        return made[-1]

    yield World("tone", MANDARIN, UYGHUR, voice, lambda: any(v.asked for v in made), list)


@asynccontextmanager
async def command_world(folder: Path) -> AsyncIterator[World]:
    """A Uyghur engine as a program, which leaves a child behind each time."""
    pids = folder / "pids"
    script = folder / "engine.py"
    script.write_text(ENGINE.format(path=_path()))

    def voice(fault: str, budget_s: float) -> Voice:
        argv = [sys.executable, str(script), fault, str(pids)]
        return CommandVoice("command:test", "ug", argv, decode=decode, budget_s=budget_s)

    def left() -> list[str]:
        return [pid for pid in pids.read_text().split() if _runs(pid)] if pids.exists() else []

    yield World("command", UYGHUR, MANDARIN, voice, pids.exists, left)
    for pid in left():
        os.kill(int(pid), signal.SIGKILL)


@dataclass
class VoiceService:
    """A vendor's service: what it does is set by `fault`, what it was asked is in `asked`."""

    fault: str = ""
    url: str = ""
    asked: list[dict[str, object]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    open: int = 0

    async def handle(self, request: object) -> object:
        from aiohttp import web

        assert isinstance(request, web.Request)
        question = await request.json()
        self.asked.append(question)
        self.headers.append(dict(request.headers))
        self.open += 1
        try:
            return await self._answer(request, str(question["text"]))
        finally:
            self.open -= 1

    async def _answer(self, request: object, text: str) -> object:
        from aiohttp import web

        assert isinstance(request, web.Request)
        body, kind = sounding(text, self.fault), "audio/wav"
        match self.fault:
            case "crashes":
                return web.json_response({"error": "no such voice"}, status=500)
            case "hangs":
                await asyncio.sleep(600)
            case "mp3":
                body, kind = mp3_tone(round(PACE * sum(c.isalnum() for c in text), 2)), "audio/mpeg"
            case "html":
                body, kind = b"<html><body>please log in</body></html>", "text/html"
            case "called wav":
                body = b"<html><body>please log in</body></html>"
            case "redirects":
                raise web.HTTPFound("/elsewhere")
            case "endless":
                return await self._stream(request, b"\0" * 65_536)
            case "drips":
                return await self._stream(request, b"\0", 0.05)
            case "cut":
                response = web.StreamResponse(
                    headers={"Content-Type": kind, "Content-Length": str(len(body))}
                )
                await response.prepare(request)
                await response.write(body[:1000])
                assert request.transport is not None
                request.transport.close()
                return response
        return web.Response(body=body, content_type=kind)

    async def _stream(self, request: object, chunk: bytes, wait: float = 0.0) -> object:
        from aiohttp import web

        assert isinstance(request, web.Request)
        response = web.StreamResponse(headers={"Content-Type": "audio/wav"})
        await response.prepare(request)
        await response.write(wav(0.1))
        while request.transport is not None and not request.transport.is_closing():
            await response.write(chunk)
            await asyncio.sleep(wait)
        return response


@asynccontextmanager
async def voice_service() -> AsyncIterator[VoiceService]:
    """Listens on loopback while the block runs."""
    from aiohttp import web

    service = VoiceService()
    app = web.Application()
    app.router.add_post("/speak", service.handle)  # type: ignore[arg-type]
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    service.url = f"http://{host}:{port}/speak"
    try:
        yield service
    finally:
        await runner.cleanup()


@asynccontextmanager
async def http_world(_folder: Path) -> AsyncIterator[World]:
    async with voice_service() as service:

        def voice(fault: str, budget_s: float) -> Voice:
            service.fault = fault
            return HttpVoice("http:test", "ug", service.url, decode=decode, budget_s=budget_s)

        yield World(
            "http", UYGHUR, MANDARIN, voice, lambda: bool(service.asked), lambda: ["request"] * service.open
        )


@asynccontextmanager
async def edge_world(_folder: Path) -> AsyncIterator[World]:
    """The caller points edge-tts at the `url` of the service, which is the first thing in `left`'s
    closure."""
    import edge_tts.communicate

    faults = {"truncated": "closed half-way", "hangs": "silent", "silent": "hush", "crashes": "unknown path"}
    async with edge_service() as service:
        real, edge_tts.communicate.WSS_URL = edge_tts.communicate.WSS_URL, service.url

        def voice(fault: str, budget_s: float) -> Voice:
            service.fault = faults.get(fault, fault)
            return EdgeVoice("zh-CN-YunyangNeural", decode=decode, budget_s=budget_s)

        try:
            yield World("edge", MANDARIN, UYGHUR, voice, lambda: bool(service.asked), list)
        finally:
            edge_tts.communicate.WSS_URL = real


@asynccontextmanager
async def kokoro_world(folder: Path) -> AsyncIterator[World]:
    """A model that hangs hears no stop, and is killed; for one that may be loading, the real patience is a
    minute."""
    begun = folder / "begun"
    renderers: list[Renderer] = []

    def voice(fault: str, budget_s: float) -> Voice:
        script = WORKER.format(path=_path(), fault=fault, begun=str(begun), pace=PACE)
        renderer = Renderer(folder / "cache", command=(sys.executable, "-c", script))
        renderers.append(renderer)
        return renderer.voice(budget_s=budget_s)

    (folder / "cache").mkdir(mode=0o700)
    try:
        with mock.patch.object(tts.renderer, "_LOAD_S", 0.5):
            # It stays for the next request; only one that was given up must be gone.
            yield World("kokoro", MANDARIN, UYGHUR, voice, begun.exists, list)
    finally:
        for renderer in renderers:
            await renderer.close()
        await asyncio.sleep(
            0.05
        )  # a process given up in a cancelled request is told to the loop a little later


ESPEAK = """#!{python}
import sys
sys.argv[1:] = ["{fault}", "{pids}"]
exec(compile(open({engine!r}).read(), "engine", "exec"))
"""


@asynccontextmanager
async def espeak_world(folder: Path) -> AsyncIterator[World]:
    """The adapter over the real program; for what that never does, over one that does it."""
    pids = folder / "pids"
    engine = folder / "engine.py"
    engine.write_text(ENGINE.format(path=_path()))

    def voice(fault: str, budget_s: float) -> Voice:
        program = folder / f"espeak-{fault}"
        program.write_text(ESPEAK.format(python=sys.executable, fault=fault, pids=pids, engine=str(engine)))
        program.chmod(0o755)
        name = str(program) if fault else "espeak-ng"
        return EspeakVoice("ug", decode=decode, budget_s=budget_s, program=name)

    def left() -> list[str]:
        return [pid for pid in pids.read_text().split() if _runs(pid)] if pids.exists() else []

    yield World("espeak", UYGHUR, MANDARIN, voice, pids.exists, left)


def _runs(pid: str) -> bool:
    """Not a zombie that its parent (init, in a container nobody) has yet to collect."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")
