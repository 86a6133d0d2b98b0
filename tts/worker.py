"""The voice process: ``python -m tts.worker --cache DIR``. One resident model, one request at a time.

Frames on stdin and stdout: 4-byte big-endian header length, UTF-8 JSON header, then ``bytes`` (a count in
the header) of payload. A header over 1 MB or a payload over 400 MB ends the process: somebody else is
talking. Requests (`op`):

- ``warm`` → loads everything; answers ``model_sha256``.
- ``speak`` {sentences, voice, speed, readings} → float32 samples, ``rate``, ``seconds``, ``spoken``.
- ``prepare`` {as speak} → speaks and remembers the sentences, returns no sound.
- ``read`` {sentences} → ``spoken``, the words with every number written out, for another voice.
- ``decode`` {payload: MP3 of 24 kHz} → float32 samples, ``rate``, ``seconds``.
- ``shape`` {sentences, speed, signal, rate; payload: float32 samples} → as render, for another voice's
  speech of those sentences.
- ``render`` {sentences, voice, speed, readings, signal} → MP3, ``seconds``, ``lufs``, ``dbtp``, ``stages``…

Every answer repeats ``id``; a failure answers ``{"id", "error": reason, "detail"}``. When stdin ends (the
controller is gone), the process ends at once, also in the middle of a sentence.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from tts.reading import ReadingError, check_readings, hanzi, plainly, prepare, spell_letters
from tts.voice import Signal, VoiceError, VoiceFailure

if TYPE_CHECKING:
    from tts.audio import Sound
    from tts.voices.kokoro import Kokoro

MAX_HEADER: Final = 1 << 20
MAX_PAYLOAD: Final = 400_000_000
MAX_DBTP: Final = -1.0
"""Of the decoded MP3."""
BIT_RATE: Final = 32
"""kbit/s, mono, 24 kHz (MPEG-2 layer III): the base codec of every terminal; 0.6 % syllable loss."""


def write_frame(stream: BinaryIO, header: dict[str, Any], payload: bytes = b"") -> None:
    """Send one frame and flush it."""
    head = json.dumps({**header, "bytes": len(payload)}, ensure_ascii=False).encode()
    stream.write(len(head).to_bytes(4, "big") + head + payload)
    stream.flush()


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next frame; None at the end of the stream. Raises ValueError for what is no frame."""
    size = stream.read(4)
    if len(size) < 4:
        return None
    length = int.from_bytes(size, "big")
    if length > MAX_HEADER:
        raise ValueError(f"header of {length} bytes; the limit is {MAX_HEADER}")
    head = json.loads(stream.read(length))
    count = int(head["bytes"])
    if not 0 <= count <= MAX_PAYLOAD:
        raise ValueError(f"payload of {count} bytes; the limit is {MAX_PAYLOAD}")
    return head, stream.read(count)


def encode_mp3(sound: Sound, rate: int) -> bytes:
    """`sound` as constant-rate MP3, mono, without resampling."""
    import lameenc
    import numpy as np

    encoder = lameenc.Encoder()
    encoder.set_bit_rate(BIT_RATE)
    encoder.set_in_sample_rate(rate)
    encoder.set_out_sample_rate(rate)
    encoder.set_channels(1)
    encoder.set_quality(2)
    encoder.silence()
    samples = (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()
    return bytes(encoder.encode(samples) + encoder.flush())


def decode(data: bytes) -> tuple[Sound, int]:
    """Samples and rate of an audio file, as a terminal would hear it."""
    import soundfile

    sound, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    return sound, int(rate)


def _decoded(data: bytes) -> tuple[Sound, int]:
    """Raises VoiceError for what is no sound of one channel at our rate."""
    from soundfile import LibsndfileError

    from tts.audio import RATE

    try:
        sound, rate = decode(data)
    except LibsndfileError as error:
        raise VoiceError(VoiceFailure.TRUNCATED, f"what came is no sound: {error}") from error
    if sound.ndim != 1 or rate != RATE:
        raise VoiceError(VoiceFailure.TEXT, f"{sound.ndim} channels at {rate} Hz; one at {RATE} is needed")
    return sound, rate


class Worker:
    """Answers requests. The model is loaded by the first that needs it."""

    def __init__(self, cache_dir: Path) -> None:
        self._cache_dir = cache_dir
        self._kokoro: Kokoro | None = None

    def answer(self, head: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """Raises VoiceError for what the request or this machine did wrong."""
        stages: dict[str, float] = {}
        match head["op"]:
            case "warm":
                return {"model_sha256": self._model(stages).model_sha256, "stages": stages}, b""
            case "prepare":
                self._speak(head, stages, keep=True)
                return {"stages": stages}, b""
            case "speak":
                sound, spoken, _ = self._speak(head, stages)
                from tts.audio import RATE

                told = {"rate": RATE, "seconds": len(sound) / RATE, "spoken": spoken, "stages": stages}
                return told, sound.astype("<f4").tobytes()
            case "read":
                from tts.reading import read

                return {"spoken": [read(sentence) for sentence in head["sentences"]]}, b""
            case "decode":
                sound, rate = _decoded(payload)
                told = {"rate": rate, "seconds": len(sound) / rate}
                return told, sound.astype("<f4").tobytes()
            case "shape":
                import numpy as np

                from tts.audio import RATE, check_speech, trim

                if head["rate"] != RATE:
                    raise VoiceError(VoiceFailure.TEXT, f"{head['rate']} Hz; speech must come at {RATE} Hz")
                speech = np.frombuffer(payload, "<f4")
                # Our own rules suffice to count syllables; wetext would cost its loading time.
                words = spell_letters(plainly(prepare("".join(head["sentences"]))))
                check_speech(trim(speech, RATE), RATE, len(hanzi(words)), head["speed"], words[:40])
                return self._shape(speech, head, stages)
            case "render":
                sound, spoken, sha256 = self._speak(head, stages)
                told, mp3 = self._shape(sound, head, stages)
                return {**told, "spoken": spoken, "model_sha256": sha256, "voice": head["voice"]}, mp3
            case unknown:
                raise ValueError(f"op {unknown!r}")

    def _model(self, stages: dict[str, float]) -> Kokoro:
        if self._kokoro is None:
            start = time.perf_counter()
            from tts.voices.kokoro import Kokoro

            self._kokoro = Kokoro(self._cache_dir)
            stages["load"] = time.perf_counter() - start
        return self._kokoro

    def _speak(
        self, head: dict[str, Any], stages: dict[str, float], *, keep: bool = False
    ) -> tuple[Sound, list[str], str]:
        kokoro = self._model(stages)
        from tts.audio import RATE, join

        try:
            readings = check_readings(head["readings"])
        except ReadingError as error:
            raise VoiceError(VoiceFailure.TEXT, str(error)) from error
        start = time.perf_counter()
        sounds, spoken = [], []
        for sentence in head["sentences"]:
            sound, words = kokoro.speak(
                sentence, voice=head["voice"], speed=head["speed"], readings=readings, keep=keep
            )
            sounds.append(sound)
            spoken.append(words)
        if not sounds:
            raise VoiceError(VoiceFailure.TEXT, "no sentence to speak")
        stages["speak"] = time.perf_counter() - start
        return join(sounds, RATE), spoken, kokoro.model_sha256

    def _shape(
        self, speech: Sound, head: dict[str, Any], stages: dict[str, float]
    ) -> tuple[dict[str, Any], bytes]:
        import numpy as np

        from tts.audio import CEILING_DBFS, RATE, assemble, gain, limit, loudness, loudspeaker, true_peak

        start = time.perf_counter()
        sound = assemble(loudspeaker(speech), Signal(head["signal"]))
        stages["shape"] = time.perf_counter() - start
        start = time.perf_counter()
        ceiling = CEILING_DBFS
        for attempt in range(5):
            mp3 = encode_mp3(sound, RATE)
            heard, rate = decode(mp3)
            dbtp = true_peak(heard)
            if dbtp <= MAX_DBTP:
                break
            # The codec overshoots by up to 2.3 dB. Limiting harder keeps the loudness; less gain is certain.
            ceiling -= dbtp - MAX_DBTP + 0.1
            lower = np.float32(gain(MAX_DBTP - 0.1 - dbtp))
            sound = limit(sound, RATE, ceiling_db=ceiling) if attempt < 2 else sound * lower
        stages["encode"] = time.perf_counter() - start
        start = time.perf_counter()
        lufs = loudness(heard, rate)
        stages["measure"] = time.perf_counter() - start
        seconds = len(heard) / rate
        if seconds < len(sound) / RATE - 0.1:
            raise VoiceError(VoiceFailure.TRUNCATED, f"{seconds:.2f} s decoded of {len(sound) / RATE:.2f} s")
        return {"seconds": seconds, "lufs": lufs, "dbtp": dbtp, "stages": stages}, mp3


def _requests(stream: BinaryIO, into: queue.SimpleQueue[tuple[dict[str, Any], bytes]]) -> None:
    """Reads for ever; ends the process when the controller is gone, whatever the model is doing."""
    while (frame := read_frame(stream)) is not None:
        into.put(frame)
    os._exit(0)


def _read_or_exit(stream: BinaryIO, into: queue.SimpleQueue[tuple[dict[str, Any], bytes]]) -> None:
    try:
        _requests(stream, into)
    except (ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"tts.worker: no frame on stdin: {error}\n")
        sys.stderr.flush()
        os._exit(2)


def main(argv: list[str] | None = None) -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(prog="python -m tts.worker", description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="private folder for the dictionary cache")
    arguments = parser.parse_args(argv)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # Anything that a library prints must not land between two frames.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
    threading.Thread(target=_read_or_exit, args=(sys.stdin.buffer, requests), daemon=True).start()
    worker = Worker(arguments.cache)
    while True:
        head, payload = requests.get()
        try:
            told, sound = worker.answer(head, payload)
        except VoiceError as error:
            told, sound = {"error": error.reason.value, "detail": error.detail}, b""
        write_frame(answers, {"id": head["id"], **told}, sound)


if __name__ == "__main__":
    main()
