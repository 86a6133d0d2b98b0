"""Run somebody else's program once: bounded in time and in what it may write, and gone afterwards with all
that it started. No shell."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import tempfile
from asyncio.subprocess import Process, SubprocessStreamProtocol
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tts.voice import VoiceError, VoiceFailure

_TAIL: Final = 2_000
_SHOWN: Final = 200
_LOOK_S: Final = 0.02
_REAP_LOOKS: Final = 400
"""Two seconds in all; a process that the kernel holds in a disk access for longer is left to it."""
_CHUNK: Final = 1 << 16
_KEPT: Final = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")


async def spoken_by(
    argv: Sequence[str],
    text: str,
    *,
    most_bytes: int,
    budget_s: float,
    what: str,
    told: Mapping[str, str] | None = None,
) -> bytes:
    """The sound that the program makes of `text`.

    ``{file}`` in `argv` becomes the path of a file that holds the text (UTF-8); without it the text comes on
    standard input. ``{out}`` becomes a path to write the sound to; without it the sound is expected on
    standard output. `told` goes into the environment, of which nothing else is passed on but `_KEPT`.
    Raises VoiceError, with the end of what the program wrote to standard error."""
    with tempfile.TemporaryDirectory(prefix="fenghuo-voice-", ignore_cleanup_errors=True) as folder:
        file, out = Path(folder, "text.txt"), Path(folder, "speech.wav")
        places = {"{file}": str(file), "{out}": str(out)}
        uses_file = any("{file}" in a for a in argv)
        to_file = any("{out}" in a for a in argv)
        if uses_file:
            await asyncio.to_thread(file.write_text, text, encoding="utf-8")
        for mark, path in places.items():
            argv = [a.replace(mark, path) for a in argv]
        run = _Run(argv, what, most_bytes, out if to_file else None)
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment = {**kept, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **(told or {})}
        try:
            async with asyncio.timeout(budget_s):
                return await run.sound(b"" if uses_file else text.encode(), folder, environment)
        except TimeoutError as error:
            detail = f"{what}: no whole sound in {budget_s:g} s" + run.words()
            raise VoiceError(VoiceFailure.TIMEOUT, detail) from error


class _Run:
    def __init__(self, argv: Sequence[str], what: str, most_bytes: int, out: Path | None) -> None:
        self._argv = argv
        self._what = what
        self._most = most_bytes
        self._out = out
        self._errors = b""
        self._sound = bytearray()

    def words(self) -> str:
        """The last that the program said of itself, to hang on to a message."""
        last = " ".join(self._errors.decode(errors="replace").split())[-_SHOWN:]
        return f": {last}" if last else ""

    async def sound(self, given: bytes, folder: str, environment: Mapping[str, str]) -> bytes:
        loop = asyncio.get_running_loop()
        try:
            transport, protocol = await loop.subprocess_exec(
                lambda: SubprocessStreamProtocol(_CHUNK, loop),
                *self._argv,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            detail = f"{self._what}: the program does not start: {error}"
            raise VoiceError(VoiceFailure.CRASHED, detail) from error
        process = Process(transport, protocol, loop)
        try:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_give(process, given), name="voice.command.text")
                    tasks.create_task(self._take(process), name="voice.command.sound")
                    tasks.create_task(self._listen(process), name="voice.command.words")
                    tasks.create_task(self._watch(process), name="voice.command.watch")
            except* VoiceError as failed:
                raise _first(failed) from failed
        finally:
            _kill(process)
            await _gone(process)
            transport.close()  # our ends of the pipes, which something that fled its session may hold open
        if process.returncode:
            detail = f"{self._what}: the program ended with {process.returncode}{self.words()}"
            raise VoiceError(VoiceFailure.CRASHED, detail)
        sound = bytes(self._sound) if self._out is None else _written(self._out, self._most, self._what)
        if not sound:
            raise VoiceError(VoiceFailure.SILENT, f"{self._what}: the program wrote no sound{self.words()}")
        return sound

    async def _take(self, process: Process) -> None:
        assert process.stdout is not None
        while chunk := await process.stdout.read(_CHUNK):
            if self._out is not None:
                continue  # progress for people; the sound is in the file
            self._sound += chunk
            if len(self._sound) > self._most:
                raise self._too_much()

    async def _listen(self, process: Process) -> None:
        assert process.stderr is not None
        while chunk := await process.stderr.read(_CHUNK):
            self._errors = (self._errors + chunk)[-_TAIL:]

    async def _watch(self, process: Process) -> None:
        """Until the program has ended; then ends what it left behind, which would hold our pipes open."""
        while process.returncode is None:
            if self._out is not None and _size(self._out) > self._most:
                raise self._too_much()
            await asyncio.sleep(_LOOK_S)
        _kill(process)

    def _too_much(self) -> VoiceError:
        return VoiceError(VoiceFailure.RUNAWAY, f"{self._what}: more than {self._most:,} bytes of sound")


async def _give(process: Process, text: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):  # a program may end, or not care, before it has read all
        process.stdin.write(text)
        await process.stdin.drain()
    process.stdin.close()


def _kill(process: Process) -> None:
    """The program and everything in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def _gone(process: Process) -> None:
    """Reaped, also while we are being cancelled: what is killed ends at once."""
    cancelled: asyncio.CancelledError | None = None
    for _ in range(_REAP_LOOKS):
        if process.returncode is not None:
            break
        try:
            await asyncio.sleep(_LOOK_S / 4)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def _first(group: BaseExceptionGroup[VoiceError]) -> VoiceError:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _written(path: Path, most: int, what: str) -> bytes:
    """A plain file of at most `most` bytes: no link to somewhere else, no pipe that never ends."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise VoiceError(VoiceFailure.FORMAT, f"{what}: {error.strerror} in what it wrote") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise VoiceError(VoiceFailure.FORMAT, f"{what}: what it wrote is no plain file")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise VoiceError(VoiceFailure.RUNAWAY, f"{what}: more than {most:,} bytes of sound")
    return data
