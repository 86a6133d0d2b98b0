"""Clips on disk, found by what they say and named by their hash.

``clips/ab/<sha256>.mp3`` are the bytes, ``index/<key>.json`` says which bytes answer a `cache_key`. Every
file is written aside, synced and renamed: a kill leaves the old state or the new one. `get` hashes what it
hands out; a damaged clip is dropped and reported as absent, so it is rendered again.

Blocking (a clip is 100 to 300 kB); call it from a thread where that matters.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tts.voice import CHAIN_VERSION, Signal

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """What is known about a clip without decoding it."""

    sha256: str
    size: int
    """Bytes."""
    seconds: float
    lufs: float
    dbtp: float
    codec: str
    language: str
    voice: str
    synthetic: bool
    """True for every machine voice; False only for recordings of people."""
    text: str


def cache_key(
    sentences: Sequence[str],
    *,
    voice: str,
    speed: float,
    signal: Signal,
    template: str,
    version: str,
    readings: Mapping[str, str] | None = None,
) -> str:
    """Hex key of everything that decides how a clip sounds. Readings that name nothing in the text do
    not count, so a new place name elsewhere does not make every clip again."""
    text = "".join(sentences)
    said = {name: pinyin for name, pinyin in sorted((readings or {}).items()) if name in text}
    parts = [list(sentences), voice, speed, signal.value, template, version, said, CHAIN_VERSION]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


class Library:
    """A folder of clips. Raises OSError when the disk refuses; everything else it mends itself."""

    def __init__(self, root: Path) -> None:
        self._clips = root / "clips"
        self._index = root / "index"
        self._clips.mkdir(parents=True, exist_ok=True)
        self._index.mkdir(parents=True, exist_ok=True)
        for torn in (*self._clips.glob("*/.part-*"), *self._index.glob(".part-*")):
            torn.unlink(missing_ok=True)

    def put(self, data: bytes) -> str:
        """Keep `data`; returns its sha256. Durable when it returns; keeping it twice costs nothing."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.verify(sha256):
            self.path(sha256).parent.mkdir(exist_ok=True)
            _write(self.path(sha256), data)
        return sha256

    def path(self, sha256: str) -> Path:
        """Where the clip of that hash is, or would be. Raises ValueError for what is no hash."""
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256[:80]!r} is no sha256 (64 hex digits)")
        return self._clips / sha256[:2] / f"{sha256}.mp3"

    def verify(self, sha256: str) -> bool:
        """True if the clip is here and its bytes have that hash. A damaged one is removed."""
        path = self.path(sha256)
        try:
            actual = hashlib.sha256(path.read_bytes()).hexdigest()
        except FileNotFoundError:
            return False
        if actual != sha256:
            path.unlink(missing_ok=True)
        return actual == sha256

    def add(self, key: str, data: bytes, record: ClipRecord) -> None:
        """Keep `data` as the answer to `key`. Raises ValueError if the record is of other bytes."""
        sha256 = self.put(data)
        if (record.sha256, record.size) != (sha256, len(data)):
            raise ValueError(f"record of {record.sha256[:12]} ({record.size} bytes) for {sha256[:12]}")
        _write(self._entry(key), json.dumps(asdict(record), ensure_ascii=False, indent=1).encode())

    def get(self, key: str) -> ClipRecord | None:
        """The whole, hash-checked clip for `key`, or None: render it."""
        try:
            record = ClipRecord(**json.loads(self._entry(key).read_bytes()))
            whole = self.verify(record.sha256)
        except (FileNotFoundError, ValueError, TypeError):
            whole = False
        if not whole:
            self._entry(key).unlink(missing_ok=True)
            return None
        return record

    def _entry(self, key: str) -> Path:
        if not _SHA256.fullmatch(key):
            raise ValueError(f"{key[:80]!r} is no cache key (64 hex digits)")
        return self._index / f"{key}.json"


def _write(path: Path, data: bytes) -> None:
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
