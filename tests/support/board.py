"""A real `fenghuo-terminal` in a process of its own, and an office that it can be enrolled at."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import numpy as np
import soundfile

from support.fake_controller import WAIT, FakeController
from terminals import delivery
from terminals.agent.control import NotRunning, ask
from terminals.delivery import State
from terminals.fleet import groups_of
from terminals.seal import open_report, report_key
from terminals.wire import Clip, Hello, Probe, Report, Staged, Time, Upward

ME = "sim-board-1"
RATE = 24_000

SETTINGS = """\
button = true
[sound]
device = "wav:{heard}"
lead_in_ms = {lead}
[disk]
clips_mb = 8
keep_free_mb = 1
"""


def speech(seconds: float, seed: int = 1, rate: int = RATE) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A sound that resembles nothing else, so that it can be found again: noise, mono, peak 0.5."""
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, int(seconds * rate))
    return noise.astype(np.float32)


def wav(path: Path, sound: np.ndarray[Any, np.dtype[np.float32]], rate: int = RATE) -> bytes:
    soundfile.write(path, sound, rate, subtype="PCM_16", format="WAV")
    return path.read_bytes()


class Office(FakeController):
    """A controller that knows the newer words too, and serves any files."""

    def __init__(self, broker: int) -> None:
        super().__init__(broker)
        self.files: dict[str, bytes] = {}
        self.staged: list[Staged] = []
        self.answers_time = True
        self.village = self.county.villages[0].key

    def put(self, data: bytes, seconds: float, codec: str = "wav") -> Clip:
        digest = hashlib.sha256(data).hexdigest()
        self.files[f"/clips/{digest}"] = data
        return Clip("zh", codec, digest, len(data), seconds)

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
        if path not in self.files:
            return super()._answer(method, path, headers, body)
        self.clip, before = self.files[path], self.clip
        try:
            return super()._answer(method, "/clips/any", headers, body)
        finally:
            self.clip = before

    async def _listen(self, ready: asyncio.Event) -> None:
        async with aiomqtt.Client(
            "127.0.0.1", self._broker, identifier="controller", protocol=aiomqtt.ProtocolVersion.V5
        ) as client:
            await client.subscribe(self.topics["report"].format("+"), qos=1)
            self._client = client
            ready.set()
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                await self._heard(open_report(message.payload, lambda t: report_key(self.secret, t)))

    async def _heard(self, said: Upward) -> None:
        match said:
            case Hello() | Probe():
                if isinstance(said, Hello):
                    self.hellos.append(said)
                if self.answers_time:
                    groups = groups_of(self.village, self.county)
                    await self.send(
                        Time(said.terminal, said.nonce, self.now(), groups, self.url), to=[said.terminal]
                    )
            case Staged():
                self.staged.append(said)
            case Report():
                known = self.facts.setdefault(said.broadcast, {}).get(said.terminal, {})
                new = [((f.attempt, State(f.state), f.reason), (f.at, f.detail)) for f in said.facts]
                self.order.setdefault(said.terminal, []).extend(k[1] for k, _ in new if k not in known)
                async with self._changed:
                    self.facts[said.broadcast][said.terminal] = delivery.fold(known, new)
                    self._changed.notify_all()
        async with self._changed:
            self._changed.notify_all()

    async def until_true(self, true: Any) -> None:
        async with asyncio.timeout(WAIT), self._changed:
            await self._changed.wait_for(true)

    def code(self, terminal: str = ME) -> str:
        row = {"id": terminal, "name": "board", "village": self.village}
        body = json.dumps({"terminals": [row]}).encode()
        said = FakeController._answer(
            self, "POST", "/v1/sandbox/terminals", {"authorization": "Bearer a-token"}, body
        )
        return str(json.loads(said[1])[terminal])


class Board:
    """One board: its folders, and whichever process runs on them now."""

    def __init__(self, home: Path, *, lead_ms: int = 20, settings: str = SETTINGS) -> None:
        self.state = home / "state"
        self.heard = home / "heard"
        self.heard.mkdir(parents=True)
        self.settings = home / "terminal.toml"
        self.settings.write_text(settings.format(heard=self.heard, lead=lead_ms), encoding="utf-8")
        self.log = home / "board.log"
        self.process: asyncio.subprocess.Process | None = None
        self.kept = False
        """Whether somebody starts it again when it ends."""

    async def run(
        self, *words: str, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of `fenghuo-terminal WORDS`."""
        process = await asyncio.create_subprocess_exec(
            *self._command(*words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"LC_ALL": "C.UTF-8"} | (env or {}),
        )
        async with asyncio.timeout(WAIT):
            out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "terminals.agent.program", "--state", str(self.state), *words]

    async def enrol(self, url: str, code: str, terminal: str = ME) -> None:
        words = ("enrol", "--controller", url, "--terminal", terminal)
        result, _, err = await self.run(*words, stdin=code.encode() + b"\n")
        assert result == 0, err

    async def start(self, *, env: dict[str, str] | None = None) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._command("run", "--settings", str(self.settings)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | (env or {}),
                start_new_session=True,
            )

    async def kill(self) -> None:
        """As a power cut."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(20):
                return await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise AssertionError(f"it did not stop at SIGTERM:\n{self.said()}") from None

    @asynccontextmanager
    async def running(self, *, env: dict[str, str] | None = None) -> AsyncIterator[None]:
        """In a process until the end of the block; SIGTERM must end it with 0."""
        await self.start(env=env)
        try:
            yield
        finally:
            code = await self.stop()
        assert code == 0, self.said()

    async def status(self) -> dict[str, Any]:
        return (await asyncio.to_thread(ask, self.state, {"do": "status"}))["status"]

    async def until(self, true: Any) -> dict[str, Any]:
        """The first status that is as wanted."""
        try:
            async with asyncio.timeout(WAIT):
                while True:
                    assert self.process is not None
                    assert self.kept or self.process.returncode is None, self.said()
                    try:
                        if true(status := await self.status()):
                            return status
                    except NotRunning:
                        pass
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"its status never became as wanted:\n{self.said()}") from None

    async def until_timed(self) -> None:
        """Connected, and the signed time known."""
        await self.until(lambda status: status["connected"] and status["time"] is not None)

    def sounds(self) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
        """What the loudspeaker took, whole sounds only, in order."""
        paths = sorted(self.heard.iterdir(), key=lambda path: int(path.stem))
        return [soundfile.read(path, dtype="float32")[0] for path in paths]

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")[-6000:]


def times_in(
    sound: np.ndarray[Any, np.dtype[np.float32]], clip: np.ndarray[Any, np.dtype[np.float32]]
) -> list[int]:
    """Frames at which `clip` begins in `sound`, whatever its volume."""
    size = 1 << (len(sound) + len(clip)).bit_length()
    product = np.fft.irfft(np.fft.rfft(sound, size) * np.conj(np.fft.rfft(clip, size)), size)[: len(sound)]
    top = float(np.max(product, initial=0.0))
    if top <= 0.02 * float(np.dot(clip, clip)):
        return []
    found: list[int] = []
    for at in np.flatnonzero(product > 0.8 * top):
        if not found or at - found[-1] > len(clip) // 2:
            found.append(int(at))
    return found


class Wire:
    """The line between a board and its broker, which can be cut and mended."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._broker = office._broker
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._whole = True

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *why: object) -> None:
        assert self._server is not None
        self._server.close()
        self._break()

    async def enrol(self, board: Board) -> None:
        """So that the board's papers name this line as its broker."""
        assert self._server is not None
        self._office._broker = self._server.sockets[0].getsockname()[1]
        await board.enrol(self._office.url, self._office.code())
        self._office._broker = self._broker

    async def cut(self) -> None:
        self._whole = False
        self._break()

    async def mend(self) -> None:
        self._whole = True

    def _break(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._broker)
        self._open |= {writer, back}
        try:
            await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        except OSError:
            pass
        finally:
            writer.close()
            back.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()
