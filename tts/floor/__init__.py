"""The sound that is always there: a generic Mandarin clip per kind, for when every voice fails.

Rendered by our own pipeline (`python -m tts.floor.make`), shipped in the package, marked synthetic. An
exercise's clip says that it is one, and so does a test's: failing must not turn a drill into an alarm.
"""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from typing import Final, Literal

from tts.library import ClipRecord
from tts.voice import Kind, Stage

Clip = Literal["actual", "exercise", "test", "all-clear"]

TEXTS: Final[dict[Clip, tuple[str, ...]]] = {
    "actual": (
        "请注意，请注意。",
        "这里是应急广播。",
        "有紧急预警，请立即留意周围情况，听从当地政府安排。",
        "再说一遍。",
        "有紧急预警，请立即留意周围情况，听从当地政府安排。",
    ),
    "all-clear": (
        "请注意，请注意。",
        "这里是应急广播。",
        "刚才的预警已经解除。",
        "再说一遍，刚才的预警已经解除。",
    ),
    "exercise": (
        "这是演练，不是真实预警。",
        "这里是应急广播，正在进行演练。",
        "这是演练，不是真实预警。",
    ),
    "test": ("这是应急广播测试，不是预警。", "听到测试的群众，不需要采取任何行动。"),
}


class FloorError(Exception):
    """A shipped generic clip is missing or damaged: which, and how to mend it."""


def file_name(clip: Clip) -> str:
    return "generic-zh.mp3" if clip == "actual" else f"generic-zh-{clip}.mp3"


def generic(kind: Kind = "actual", stage: Stage = "first") -> tuple[bytes, ClipRecord]:
    """Bytes and record of the generic Mandarin clip of `kind`, hash-checked. An all-clear has its own: the
    words of a warning must never end one. Raises FloorError."""
    name = file_name("all-clear" if kind == "actual" and stage == "cancel" else kind)
    folder = resources.files("tts.floor")
    try:
        record = ClipRecord(**json.loads((folder / f"{name}.json").read_text("utf-8")))
        data = (folder / name).read_bytes()
    except (OSError, ValueError, TypeError) as error:
        raise FloorError(f"tts/floor/{name}: {error}; install Fenghuo again") from error
    if (hashlib.sha256(data).hexdigest(), len(data)) != (record.sha256, record.size):
        raise FloorError(f"tts/floor/{name}: its bytes are not those of its record; install Fenghuo again")
    return data, record
