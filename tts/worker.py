"""The voice process: ``python -m tts.worker --cache DIR``. One resident model, one request at a time, its
sentences abreast.

Frames on stdin and stdout: 4-byte big-endian header length, UTF-8 JSON header, then ``bytes`` (a count in
the header) of payload. A header over 1 MB or a payload over 400 MB ends the process: somebody else is
talking. Requests (`op`):

- ``warm`` → loads everything; answers ``model_sha256``.
- ``speak`` {sentences, voice, speed, readings} → float32 samples, ``rate``, ``seconds``, ``spoken``.
- ``prepare`` {as speak} → speaks and remembers the sentences, returns no sound.
- ``read`` {sentences, readings} → ``spoken``, the words with every number written out; ``aloud``, the same
  for another voice (`tts.reading.respelled`).
- ``decode`` {payload: a sound file} → mono float32 samples at 24 kHz, ``rate``, ``seconds``.
- ``render`` {pieces, voice, speed, readings, signal, speaker, codec, bit_rate, permit; payload: float32
  samples of the pieces that another voice spoke, one after the other} → the clip, ``seconds``, ``lufs``,
  ``dbtp``, ``stages``, ``spoken``, ``findings`` (sentences of `tts.check` on what is wrong with the sound)…
  A piece is {sentences, recorded, samples, pause}: `recorded` names the
  file of a sentence that a person has said, `samples` counts those in the payload (0: spoken here), `pause`
  is the silence before it.

- ``stop`` {id of another request} → no answer of its own: that request ends with the error ``closed`` as soon
  as it can, unless it is answered already. The model stays loaded.

Every other answer repeats ``id``; a failure answers ``{"id", "error": reason, "detail"}``. When stdin ends
(the controller is gone), the process ends at once, also in the middle of a sentence.
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
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from tts.reading import (
    ReadingError,
    check_readings,
    hanzi,
    plainly,
    prepare,
    read,
    respelled,
    spell_letters,
)
from tts.voice import ABREAST, MAX_DBTP, Signal, SirenPermit, Speaker, VoiceError, VoiceFailure

if TYPE_CHECKING:
    from tts.audio import Sound
    from tts.voices.kokoro import Kokoro

MAX_HEADER: Final = 1 << 20
MAX_PAYLOAD: Final = 400_000_000
BIT_RATE: Final = 32
"""kbit/s, mono, 24 kHz (MPEG-2 layer III): the base codec of every terminal; 0.6 % syllable loss."""
LAME_QUALITY: Final = 7
"""Of 0 to 9. Against 5 it takes 0.17 s for a minute instead of 0.37, and overshoots less. In the horn's noise
its ESTOI is no lower (0.510 against 0.502 at 5 dB SNR); in quiet it is (0.969 against 0.975)."""
OPUS_COMPLEXITY: Final = 5
"""Of 0 to 10; 10 takes four times as long, and nobody hears it (voice-and-audio.md §5)."""


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


def encode_mp3(sound: Sound, rate: int, bit_rate: int = BIT_RATE) -> bytes:
    """`sound` as constant-rate MP3, mono, without resampling."""
    import lameenc
    import numpy as np

    encoder = lameenc.Encoder()
    encoder.set_bit_rate(bit_rate)
    encoder.set_in_sample_rate(rate)
    encoder.set_out_sample_rate(rate)
    encoder.set_channels(1)
    encoder.set_quality(LAME_QUALITY)
    encoder.silence()
    samples = (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()
    return bytes(encoder.encode(samples) + encoder.flush())


def encode(sound: Sound, rate: int, codec: str, bit_rate: int = BIT_RATE) -> bytes:
    """`sound` as ``mp3``, ``opus`` (Ogg) or ``wav`` (16 bit). Raises VoiceError for another codec."""
    if codec == "mp3":
        return encode_mp3(sound, rate, bit_rate)
    if codec == "opus":
        return _encode_opus(sound, rate, bit_rate)
    if codec != "wav":
        raise VoiceError(VoiceFailure.TEXT, f"codec {codec!r}; there are mp3, opus and wav")
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, sound, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _encode_opus(sound: Sound, rate: int, bit_rate: int) -> bytes:
    """Ogg Opus by PyAV, 0.3 s for a minute; libsndfile, which we have anyway, takes 4.5 s for the same."""
    import numpy as np

    try:
        import av
    except ImportError as error:
        raise VoiceError(
            VoiceFailure.UNKNOWN_VOICE, "Opus needs the extra audio-more: pip install 'fenghuo[audio-more]'"
        ) from error
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream(
            "libopus", rate=rate, layout="mono", options={"compression_level": str(OPUS_COMPLEXITY)}
        )
        stream.bit_rate = bit_rate * 1000
        samples = (np.clip(sound, -1, 1) * 32767).astype("<i2")[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return file.getvalue()


def decode(data: bytes) -> tuple[Sound, int]:
    """Samples and rate of an audio file, as a terminal would hear it."""
    import soundfile

    sound, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    return sound, int(rate)


def _recording(file: Path) -> Sound:
    """A person's sentence. Raises VoiceError: a file that is gone or damaged must not fell the process."""
    from tts.voices.sound import read_audio

    try:
        data = file.read_bytes()
    except OSError as error:
        raise VoiceError(VoiceFailure.TRUNCATED, f"recording {file.name}: {error.strerror}") from error
    return read_audio(data)[0]


class Worker:
    """Answers requests. The model is loaded by the first that needs it."""

    _now: int | None = None
    _stopped = -1
    """Ids of requests; they differ until somebody stops the one that is answered."""

    def __init__(self, cache_dir: Path) -> None:
        self._cache_dir = cache_dir
        self._kokoro: Kokoro | None = None

    def stop(self, request: int) -> None:
        """From another thread: nobody waits for the answer to that request any more."""
        self._stopped = request
        # Before `answer` has it, or after: what it does then is not meant.
        if self._now == request and self._kokoro is not None:
            self._kokoro.stop()

    def _begin(self, request: int) -> None:
        if self._kokoro is not None:
            self._kokoro.resume()
        self._now = request
        self._go_on()

    def _go_on(self) -> None:
        if self._stopped == self._now:
            raise VoiceError(VoiceFailure.CLOSED, "it is not needed any more")

    def answer(self, head: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """Raises VoiceError for what the request or this machine did wrong, and if it was stopped."""
        self._begin(head["id"])
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
                readings = check_readings(head["readings"])
                spoken = [read(sentence) for sentence in head["sentences"]]
                return {"spoken": spoken, "aloud": [respelled(words, readings) for words in spoken]}, b""
            case "decode":
                from tts.voices.sound import read_audio

                sound, rate = read_audio(payload)
                told = {"rate": rate, "seconds": len(sound) / rate}
                return told, sound.astype("<f4").tobytes()
            case "render":
                return self._render(head, payload, stages)
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
        """The sentences of `head`, those that a person recorded from their files. The model's hash is empty
        where it was not needed."""
        from tts.audio import RATE, join

        try:
            readings = check_readings(head["readings"])
        except ReadingError as error:
            raise VoiceError(VoiceFailure.TEXT, str(error)) from error
        recorded = head.get("recorded", {})
        start = time.perf_counter()
        kokoro = self._model(stages) if set(head["sentences"]) - set(recorded) else None

        def say(sentence: str) -> tuple[Sound, str]:
            if kokoro is None or sentence in recorded:
                return _recording(Path(recorded[sentence])), sentence
            self._go_on()
            return kokoro.speak(
                sentence, voice=head["voice"], speed=head["speed"], readings=readings, keep=keep
            )

        once = list(dict.fromkeys(head["sentences"]))
        with ThreadPoolExecutor(ABREAST, "speak") as pool:
            said = dict(zip(once, pool.map(say, once), strict=True))
        if not said:
            raise VoiceError(VoiceFailure.TEXT, "no sentence to speak")
        stages["speak"] = stages.get("speak", 0.0) + time.perf_counter() - start
        sounds, spoken = zip(*(said[sentence] for sentence in head["sentences"]), strict=True)
        return join(sounds, RATE), list(spoken), kokoro.model_sha256 if kokoro else ""

    def _render(
        self, head: dict[str, Any], payload: bytes, stages: dict[str, float]
    ) -> tuple[dict[str, Any], bytes]:
        import numpy as np

        from tts.audio import RATE, check_speech, trim
        from tts.check import speech_faults

        if head["rate"] != RATE:
            raise VoiceError(VoiceFailure.TEXT, f"{head['rate']} Hz; speech must come at {RATE} Hz")
        given = np.frombuffer(payload, "<f4")
        speeches: list[tuple[float, Sound]] = []
        spoken: list[str] = []
        findings: list[str] = []
        sha256, at = "", 0
        for piece in head["pieces"]:
            count = piece["samples"]
            if count:
                speech = trim(given[at : at + count], RATE)
                at += count
                # Of another script than Chinese no hanzi are counted, and silence alone is found.
                words = spell_letters(plainly(prepare("".join(piece["sentences"]))))
                check_speech(speech, RATE, len(hanzi(words)), head["speed"], words[:40])
                said = piece["sentences"]
            else:
                speech, said, model = self._speak({**head, **piece}, stages)
                sha256 = sha256 or model
                words = "".join(said)
            spoken += said
            # What a person has said and somebody approved is not measured by a machine's pace.
            if hanzi(words) and set(piece["sentences"]) - set(piece["recorded"]):
                findings += map(str, speech_faults(speech, RATE, words=words, speed=head["speed"]))
            speeches.append((piece["pause"], speech))
        if at != len(given):
            raise VoiceError(VoiceFailure.TEXT, f"{len(given)} samples came for pieces of {at}")
        told, clip = self._shape(speeches, head, stages)
        told["findings"] = [*findings, *told["findings"]]
        return {**told, "spoken": spoken, "model_sha256": sha256, "voice": head["voice"]}, clip

    def _shape(
        self, speeches: Sequence[tuple[float, Sound]], head: Mapping[str, Any], stages: dict[str, float]
    ) -> tuple[dict[str, Any], bytes]:
        """One playing of `speeches` (each after its pause), encoded and measured as it will be heard."""
        import numpy as np

        from tts.audio import (
            CEILING_DBFS,
            PRESETS,
            RATE,
            assemble,
            gain,
            limit,
            loudness,
            loudspeaker,
            silence,
            true_peak,
        )  # fmt: skip
        from tts.check import clip_faults

        speaker = Speaker(head.get("speaker", Speaker.HORN))
        codec, bit_rate = head.get("codec", "mp3"), head.get("bit_rate", BIT_RATE)
        permit = SirenPermit(**head["permit"]) if head.get("permit") else None
        start = time.perf_counter()
        spoken: list[Sound] = []
        for pause, speech in speeches:
            if spoken:
                spoken.append(silence(pause))
            self._go_on()
            spoken.append(loudspeaker(speech, RATE, speaker))
        sound = assemble(np.concatenate(spoken), Signal(head["signal"]), speaker=speaker, permit=permit)
        stages["shape"] = time.perf_counter() - start
        start = time.perf_counter()
        ceiling = CEILING_DBFS
        for attempt in range(5):
            self._go_on()
            clip = encode(sound, RATE, codec, bit_rate)
            heard, rate = decode(clip)
            dbtp = true_peak(heard)
            if dbtp <= MAX_DBTP:
                break
            # What a codec overshoots by hangs on the sound (Opus: up to 4 dB). Limiting harder keeps the
            # loudness; less gain is certain.
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
        found = () if permit else clip_faults(heard, rate, lufs=lufs, dbtp=dbtp, target=PRESETS[speaker].lufs)
        told = {"seconds": seconds, "lufs": lufs, "dbtp": dbtp, "stages": stages}
        return {**told, "findings": [str(finding) for finding in found]}, clip


_Requests = queue.SimpleQueue[tuple[dict[str, Any], bytes]]


def _requests(stream: BinaryIO, worker: Worker, into: _Requests) -> None:
    """Reads for ever; ends the process when the controller is gone, whatever the model is doing."""
    while (frame := read_frame(stream)) is not None:
        if frame[0]["op"] == "stop":
            worker.stop(frame[0]["id"])
        else:
            into.put(frame)
    os._exit(0)


def _read_or_exit(stream: BinaryIO, worker: Worker, into: _Requests) -> None:
    try:
        _requests(stream, worker, into)
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
    requests: _Requests = queue.SimpleQueue()
    worker = Worker(arguments.cache)
    threading.Thread(target=_read_or_exit, args=(sys.stdin.buffer, worker, requests), daemon=True).start()
    try:
        while True:
            head, payload = requests.get()
            try:
                told, sound = worker.answer(head, payload)
            except VoiceError as error:
                told, sound = {"error": error.reason.value, "detail": error.detail}, b""
            write_frame(answers, {"id": head["id"], **told}, sound)
    except BaseException:  # noqa: BLE001 - the process ends with it
        # Told and ended here: the interpreter's own end aborts, because the other thread holds stdin, and the
        # operator, who is shown the last line, would read of that instead of what went wrong.
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    main()
