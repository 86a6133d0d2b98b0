"""The controller's side of the voice process: start it, ask it, time it, start it again.

One request at a time, a bounded queue in front. What nobody waits for any more (late, cancelled) is asked to
stop, so that the model stays loaded; only a process that does not answer to that is killed. The process dies
with the controller (stdin ends) and its memory (0.7 GB on two cores) is its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
import logging
import math
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from alerts.model import Colour
from tts.script import Script
from tts.voice import (
    ABREAST,
    DEFAULT_SPEED,
    DEFAULT_VOICE,
    Kind,
    Signal,
    SirenPermit,
    Speaker,
    Speech,
    Stage,
    Voice,
    VoiceError,
    VoiceFailure,
    signal_for,
)

log = logging.getLogger("tts.renderer")

_LOG_LINES: Final = 200
_MAX_ANSWER: Final = 400_000_000
_RATE: Final = 24_000
_SAMPLE: Final = 4
"""Bytes of a float32 sample."""
_IDLE: Final = 45
"""Urgency of the fixed sentences: behind whatever somebody waits for, before the countdown's set (50)."""
_ANSWER_S: Final = 120.0
"""Seconds for one answer, the wait for its turn not counted: the first load on a cold disk, the longest
sentence. A process that takes longer hangs."""
_STOP_S: Final = 5.0
"""For the process to say that it stopped: it looks between nodes of the model and steps of the chain."""
_END_S: Final = 2.0
"""From the end of its answers to the end of the process."""
_LOAD_S: Final = 60.0
"""The same while it loads the model, which cannot be stopped: whoever comes next needs it as well."""
_PATIENCE_S: Final = 24 * 3600.0
"""For its turn, of what nobody waits for: a day of warnings must not make the voice look broken."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Sentences of one language, one after the other, by one voice."""

    sentences: tuple[str, ...]
    speech: Speech | None = None
    """By another voice, 24 kHz; None: the offline voice speaks them, or a person has."""
    recorded: Mapping[str, Path] = field(default_factory=dict)
    """Sentence → file (mono, 24 kHz) in which a person says exactly that."""
    pause: float = 0.0
    """Seconds of silence before it, where something precedes it."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a clip is shaped and packed, whatever it says."""

    signal: Signal
    speaker: Speaker = Speaker.HORN
    codec: str = "mp3"
    """``mp3``, ``opus`` (extra `audio-more`) or ``wav``."""
    bit_rate: int = 32
    """kbit/s."""
    permit: SirenPermit | None = None
    """Without it no siren is made."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One playing, ready to be kept and sent; loudness and peak are of the decoded clip."""

    clip: bytes
    seconds: float
    lufs: float
    dbtp: float
    stages: Mapping[str, float]
    """Seconds spent in load, speak, shape, encode, measure."""
    voice: str
    model_sha256: str
    spoken: tuple[str, ...]
    """The words that were said, numbers written out, sentence by sentence."""
    findings: tuple[str, ...] = ()
    """What is wrong with it as sound (`tts.check`); it can still be aired."""


class Renderer:
    """Owns the voice process. Everything the world does to it becomes a VoiceError with a reason.

    `cache_dir` is created with mode 0700. `queue` is how many requests may wait; one more fails as busy.
    """

    def __init__(
        self,
        cache_dir: Path,
        *,
        readings: Mapping[str, str] | None = None,
        queue: int = 16,
        command: Sequence[str] | None = None,
    ) -> None:
        self._command = (*(command or (sys.executable, "-m", "tts.worker")), "--cache", str(cache_dir))
        self._readings = dict(readings or {})
        self._queue = queue
        self._waiting = 0
        self._turn = _Turn()
        self._process: asyncio.subprocess.Process | None = None
        self._killed: list[asyncio.subprocess.Process] = []
        """Not waited for yet: a cancelled request cannot."""
        self._answer: asyncio.Task[_Answer] | None = None
        """Reads on when nobody waits for it: half an answer would be taken for the next one's."""
        self._leaving: asyncio.Task[None] | None = None
        self._loaded = False
        self._drains: set[asyncio.Task[None]] = set()
        self._lines: deque[str] = deque(maxlen=_LOG_LINES)
        self._serial = 0
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Process id of the voice process, None while it is down."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if alive and self._process else None

    @property
    def stderr(self) -> tuple[str, ...]:
        """The last lines that the voice process wrote, for `doctor` and bug reports."""
        return tuple(self._lines)

    async def render(
        self,
        script: Script,
        *,
        kind: Kind,
        colour: Colour | None,
        stage: Stage = "first",
        voice: str = DEFAULT_VOICE,
        speed: float = DEFAULT_SPEED,
        signal: Signal | None = None,
        deadline_s: float = 60.0,
        urgency: int = 0,
        needless: asyncio.Event | None = None,
    ) -> Rendered:
        """Speak `script` as one loudspeaker clip, waiting in the queue included, within `deadline_s`.

        The signal follows kind, colour and stage unless given; a smaller `urgency` goes first. Raises
        VoiceError.
        """
        return await self.render_pieces(
            [Piece(script.sentences)],
            Form(signal or signal_for(kind, colour, stage)),
            voice=voice,
            speed=speed,
            deadline_s=deadline_s,
            urgency=urgency,
            needless=needless,
        )

    async def render_pieces(
        self,
        pieces: Sequence[Piece],
        form: Form,
        *,
        voice: str = DEFAULT_VOICE,
        speed: float = DEFAULT_SPEED,
        deadline_s: float = 60.0,
        urgency: int = 0,
        needless: asyncio.Event | None = None,
    ) -> Rendered:
        """One clip that says `pieces` in order, `ABREAST` sentences at once. What is more urgent is let in
        between them, nothing else is. Once `needless` is set, it ends as closed before the next. Raises
        VoiceError: for the speech of another voice also if it is silent or too short."""
        said = [sentence for piece in pieces for sentence in piece.sentences]
        head = {
            **self._speech(said, voice, speed),
            "op": "render",
            **asdict(form),
            "rate": next((p.speech.sample_rate for p in pieces if p.speech), _RATE),
            "pieces": [
                {
                    "sentences": list(piece.sentences),
                    "recorded": {words: str(file) for words, file in piece.recorded.items()},
                    "samples": len(piece.speech.pcm) // _SAMPLE if piece.speech else 0,
                    "pause": piece.pause,
                }
                for piece in pieces
            ],
        }
        payload = b"".join(piece.speech.pcm for piece in pieces if piece.speech)
        ends = asyncio.get_running_loop().time() + deadline_s
        with self._turn.place(urgency) as place:
            ours = (
                sentence
                for piece in pieces
                if piece.speech is None
                for sentence in piece.sentences
                if sentence not in piece.recorded
            )
            for few in _abreast(ours):
                # Into the process's memory; then the whole costs only its shaping.
                some = {**self._speech(few, voice, speed), "op": "speak"}
                await self._ask(some, b"", deadline_s, needless=needless, place=place, ends=ends)
            told, clip = await self._ask(head, payload, deadline_s, needless=needless, place=place, ends=ends)
        return _rendered(told, clip)

    async def read(
        self, sentences: Sequence[str], *, urgency: int = 0
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """`sentences` with every number written out; and the same for another voice to speak, with names
        written so that they can be said in one way only (`reading.respelled`). Raises VoiceError."""
        question = {"op": "read", "sentences": list(sentences), "readings": self._readings}
        told, _ = await self._ask(question, b"", 30.0, urgency)
        return tuple(told["spoken"]), tuple(told["aloud"])

    async def decode(self, sound: bytes) -> Speech:
        """Another voice's file (`tts.voices.sound.read_audio`) as samples at 24 kHz. Raises VoiceError."""
        told, pcm = await self._ask({"op": "decode"}, sound, 30.0)
        return Speech(pcm=pcm, sample_rate=told["rate"], seconds=told["seconds"])

    async def speak(
        self, sentences: Sequence[str], *, voice: str, speed: float = DEFAULT_SPEED, deadline_s: float = 60.0
    ) -> Speech:
        """Bare speech of `sentences`. Raises VoiceError."""
        told, pcm = await self._ask({**self._speech(sentences, voice, speed), "op": "speak"}, b"", deadline_s)
        return Speech(pcm=pcm, sample_rate=told["rate"], seconds=told["seconds"])

    async def warm(
        self, sentences: Sequence[str] = (), *, voice: str = DEFAULT_VOICE, speed: float = DEFAULT_SPEED
    ) -> str:
        """Load the model, then speak `sentences` into the process's memory, a few at once, so that a real
        request never waits for more. Returns the model's sha256. Raises VoiceError."""
        told, _ = await self._ask({"op": "warm"}, b"", _PATIENCE_S, _IDLE)
        for few in _abreast(sentences):
            await self._ask({**self._speech(few, voice, speed), "op": "prepare"}, b"", _PATIENCE_S, _IDLE)
        return str(told["model_sha256"])

    def voice(self, name: str = DEFAULT_VOICE, *, budget_s: float = 60.0) -> Voice:
        """The port `Voice` over this process, waiting its turn included in `budget_s`."""
        return _WorkerVoice(self, name, budget_s)

    async def close(self) -> None:
        """End the process, and wait until it is gone, and those that were given up; waiting and later
        requests fail as closed."""
        self._closed = True
        await self._stop()

    def _speech(self, sentences: Sequence[str], voice: str, speed: float) -> dict[str, Any]:
        if not 0.5 <= speed <= 2.0:
            raise VoiceError(VoiceFailure.TEXT, f"speed {speed}; it must lie between 0.5 and 2")
        text = "".join(sentences)
        said = {name: pinyin for name, pinyin in self._readings.items() if name in text}
        return {"sentences": list(sentences), "voice": voice, "speed": speed, "readings": said}

    async def _ask(
        self,
        head: dict[str, Any],
        payload: bytes,
        deadline_s: float,
        urgency: int = 0,
        needless: asyncio.Event | None = None,
        place: _Rank | None = None,
        ends: float | None = None,
    ) -> tuple[dict[str, Any], bytes]:
        """`ends`, on the loop's clock: when `deadline_s` is over, where it began before this request."""
        if self._waiting > self._queue:
            raise VoiceError(VoiceFailure.BUSY, f"{self._queue} requests are waiting already")
        loop = asyncio.get_running_loop()
        ends = loop.time() + deadline_s if ends is None else ends
        if loop.time() >= ends:  # else the process would be given up for an answer it was given no time for
            raise VoiceError(VoiceFailure.TIMEOUT, "no time was left to ask for it")
        self._waiting += 1
        began = False
        try:
            async with asyncio.timeout_at(ends), self._turn.of(place or self._turn.rank(urgency)):
                if needless is not None and needless.is_set():
                    raise VoiceError(VoiceFailure.CLOSED, "it is not needed any more")
                began = True
                async with asyncio.timeout(_ANSWER_S):
                    return await self._exchange(head, payload)
        except TimeoutError as error:
            if began:
                self._let_go()
            doing = f"in {head['op']}" if began else "waiting for its turn"
            limit = deadline_s if loop.time() >= ends else _ANSWER_S
            raise VoiceError(VoiceFailure.TIMEOUT, f"no answer in {limit:g} s, {doing}") from error
        except asyncio.CancelledError:
            if began:
                self._let_go()
            raise
        finally:
            self._waiting -= 1

    async def _exchange(self, head: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        process = await self._started()
        assert process.stdin is not None
        self._serial += 1
        process.stdin.write(_frame({**head, "id": self._serial}, payload))
        answer = self._answer = asyncio.create_task(_read(process, self._serial), name="voice.answer")
        answer.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            await process.stdin.drain()
            told, data = await asyncio.shield(answer)
        except (ConnectionError, asyncio.IncompleteReadError, ValueError) as error:
            if not isinstance(error, ValueError):
                # It is ending. A kill now would take its exit code from asyncio's watcher (Popen.poll).
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), _END_S)
            await self._stop()
            reason = VoiceFailure.CLOSED if self._closed else VoiceFailure.CRASHED
            last = self._lines[-1] if self._lines else "it wrote nothing"
            raise VoiceError(
                reason, f"voice process ended with {process.returncode} in {head['op']}: {last}"
            ) from error
        if "error" in told:
            raise VoiceError(VoiceFailure(told["error"]), told["detail"])
        self._loaded |= head["op"] in _LOADS
        return told, data

    async def _started(self) -> asyncio.subprocess.Process:
        if self._closed:
            raise VoiceError(VoiceFailure.CLOSED, "the renderer was closed")
        if self._leaving is not None:
            await asyncio.wait({self._leaving})
        if self._process is None or self._process.returncode is not None:
            await self._stop()
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
                    start_new_session=True,
                )
            except OSError as error:
                raise VoiceError(VoiceFailure.CRASHED, f"voice process does not start: {error}") from error
            drain = asyncio.create_task(self._read_stderr(self._process), name="voice stderr")
            self._drains.add(drain)
            drain.add_done_callback(self._drains.discard)
        return self._process

    async def _read_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while chunk := await process.stderr.read(4096):
            for line in chunk.decode(errors="replace").splitlines():
                self._lines.append(line[:500])
                log.debug("voice process: %s", line[:500])

    def _let_go(self) -> None:
        """Nobody waits for what the process is doing: ask it to stop, and kill it if it does not answer. The
        next request waits for the one or the other."""
        process, answer = self._process, self._answer
        if process is None or answer is None or answer.done():
            return
        assert process.stdin is not None
        process.stdin.write(_frame({"op": "stop", "id": self._serial}))
        self._leaving = asyncio.create_task(self._leave(process, answer), name="voice.stops")

    async def _leave(self, process: asyncio.subprocess.Process, answer: asyncio.Task[_Answer]) -> None:
        done, _ = await asyncio.wait({answer}, timeout=_STOP_S if self._loaded else _LOAD_S)
        # Whatever it answered: it stopped, or it was ready in the same moment.
        if self._process is process and (not done or answer.exception() is not None):
            log.warning("the voice process did not stop when asked to; it is started anew")
            self._abandon()

    def _abandon(self) -> None:
        """Kill the process and forget it at once: the next request starts its own."""
        process, self._process, self._loaded = self._process, None, False
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if process is not None:
            self._killed.append(process)

    async def _stop(self) -> None:
        self._abandon()
        while self._killed:
            process = self._killed[-1]
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()
            if process in self._killed:
                self._killed.remove(process)
        if rest := {*self._drains, *(task for task in (self._answer, self._leaving) if task)}:
            await asyncio.wait(rest)


_Answer = tuple[dict[str, Any], bytes]
_LOADS: Final = frozenset({"warm", "speak", "prepare"})
"""What cannot be answered without the model."""


def _abreast(sentences: Iterable[str]) -> Iterator[list[str]]:
    """Each once, as many together as the process speaks at once."""
    once = list(dict.fromkeys(sentences))
    for at in range(0, len(once), ABREAST):
        yield once[at : at + ABREAST]


def _frame(head: Mapping[str, Any], payload: bytes = b"") -> bytes:
    body = json.dumps({**head, "bytes": len(payload)}, ensure_ascii=False).encode()
    return len(body).to_bytes(4, "big") + body + payload


async def _read(process: asyncio.subprocess.Process, serial: int) -> _Answer:
    """The answer to that request. Raises ValueError for another one, IncompleteReadError at the end."""
    assert process.stdout is not None
    size = int.from_bytes(await process.stdout.readexactly(4), "big")
    told = json.loads(await process.stdout.readexactly(size))
    count = told["bytes"]
    if told["id"] != serial or not 0 <= count <= _MAX_ANSWER:
        raise ValueError(f"answer {told['id']} to request {serial}, {count} bytes")
    return told, await process.stdout.readexactly(count)


_Rank = tuple[int, int]
"""Urgency, arrival: the smaller goes first."""


class _Turn:
    """One at a time; the most urgent of those who wait is next, equals as they came.

    What says several sentences holds a `place` while it speaks: what comes later, or is less urgent, does not
    slip in between its sentences. Each would cost it as long as one of its own.
    """

    def __init__(self) -> None:
        self._held = False
        self._arrivals = 0
        self._places: list[_Rank] = []
        self._waiting: list[tuple[_Rank, int, asyncio.Future[None]]] = []

    def rank(self, urgency: int) -> _Rank:
        self._arrivals += 1
        return urgency, self._arrivals

    @contextlib.contextmanager
    def place(self, urgency: int) -> Iterator[_Rank]:
        """The rank of everything that is asked with it."""
        rank = self.rank(urgency)
        self._places.append(rank)
        try:
            yield rank
        finally:
            self._places.remove(rank)
            self._let_in()

    @contextlib.asynccontextmanager
    async def of(self, rank: _Rank) -> AsyncIterator[None]:
        turn = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heapq.heappush(self._waiting, (rank, self._arrivals, turn))
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # it was given to us in the same moment
            raise
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        self._held = False
        self._let_in()

    def _let_in(self) -> None:
        """The turn is held from the moment it is given, so that nobody slips in between."""
        while not self._held and self._waiting:
            rank, _, turn = self._waiting[0]
            if turn.done():
                heapq.heappop(self._waiting)
            elif self._places and min(self._places) < rank:
                return
            else:
                heapq.heappop(self._waiting)
                self._held = True
                turn.set_result(None)


class _WorkerVoice:
    def __init__(self, renderer: Renderer, name: str, budget_s: float) -> None:
        self._renderer = renderer
        self._budget_s = budget_s
        self.name = name
        self.languages = frozenset({"zh"})

    async def speak(self, sentences: Sequence[str], *, speed: float) -> Speech:
        return await self._renderer.speak(sentences, voice=self.name, speed=speed, deadline_s=self._budget_s)


def _rendered(told: Mapping[str, Any], clip: bytes) -> Rendered:
    if not clip or not math.isfinite(told["lufs"]):
        raise VoiceError(VoiceFailure.SILENT, "the voice process returned no sound")
    return Rendered(
        clip=clip,
        seconds=told["seconds"],
        lufs=told["lufs"],
        dbtp=told["dbtp"],
        stages=told["stages"],
        voice=told["voice"],
        model_sha256=told["model_sha256"],
        spoken=tuple(told["spoken"]),
        findings=tuple(told.get("findings", ())),
    )
