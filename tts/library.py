"""Clips on disk, found by what they say and named by their hash.

``clips/ab/<sha256>.clip`` are the bytes, ``index/<key>.json`` says which bytes answer a `cache_key`,
``pins.json`` which must stay. Every file is written aside, synced and renamed: a kill leaves the old state or
the new one. `get` hashes what it hands out; a damaged clip is dropped and reported as absent, so it is
rendered again.

With a budget, the least recently used clips go, first their bytes and then what points at them: a kill in
between leaves a pointer to nothing, which is the same as no pointer. Never a pinned clip, nor one used within
`RECENT_S`: it may be on its way to a pin.

Blocking (a clip is 100 to 300 kB); call it from a thread where that matters. Safe in several threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tts import files
from tts.voice import CHAIN_VERSION, Signal

log = logging.getLogger("tts.library")

RECENT_S: Final = 3_600.0
"""A clip used since then is not evicted."""
TORN_S: Final = 600.0
"""A half-written file that old is a kill's leftover."""
ROOM: Final = 0.9
"""Eviction stops at this part of the budget, so that it is not needed again with the next clip."""
_DAY_S: Final = 86_400.0
_DAMAGED: Final = "damaged-pins"
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
    speaker: str = ""
    """Class of loudspeaker it was shaped for; empty: for any."""
    doubt: str = ""
    """What is wrong with it (`tts.verdict.doubt`); empty where nothing was found."""
    ser: float | None = None
    """Share of its Mandarin syllables that a recogniser heard otherwise; None: nobody has listened to it."""


def cache_key(
    sentences: Sequence[str],
    *,
    voice: str,
    speed: float,
    signal: Signal,
    template: str,
    version: str,
    readings: Mapping[str, str] | None = None,
    form: str = "",
) -> str:
    """Hex key of everything that decides how a clip sounds; `form` is whatever else does (loudspeaker, codec,
    hashes of recordings). Readings that name nothing in the text do not count, so a new place name elsewhere
    does not make every clip again."""
    text = "".join(sentences)
    said = {name: pinyin for name, pinyin in sorted((readings or {}).items()) if name in text}
    parts = [list(sentences), voice, speed, signal.value, template, version, said, CHAIN_VERSION, form]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Pin:
    until: float
    clips: frozenset[str]


class Library:
    """A folder of clips. Raises OSError when the disk refuses; everything else it mends itself."""

    def __init__(
        self, root: Path, *, budget: int | None = None, now: Callable[[], float] = time.time
    ) -> None:
        """`budget` in bytes of clips, None for no limit; `now` in Unix seconds."""
        self._clips = root / "clips"
        self._index = root / "index"
        self._pin_file = root / "pins.json"
        self._budget = budget
        self._now = now
        self._lock = threading.RLock()
        self._clips.mkdir(parents=True, exist_ok=True)
        self._index.mkdir(parents=True, exist_ok=True)
        for torn in (
            *self._clips.glob(f"*/{files.ASIDE}*"),
            *self._index.glob(f"{files.ASIDE}*"),
            *root.glob(f"{files.ASIDE}*"),
        ):
            with contextlib.suppress(FileNotFoundError):
                # A young one may be of another process: `fenghuo tts prepare` beside the controller.
                if torn.stat().st_mtime < self._now() - TORN_S:
                    torn.unlink()
        self._size = sum(size for _, size, _ in self._held())
        self._pins = self._read_pins()

    @property
    def size(self) -> int:
        """Bytes of all clips."""
        return self._size

    def pin(self, clips: Iterable[str], reason: str, until: float) -> None:
        """Keep `clips` until then (Unix seconds), whatever else needs room; durable when it returns. A second
        pin with the same `reason` replaces the first."""
        with self._lock:
            self._pins[reason] = _Pin(until, frozenset(clips))
            self._write_pins()

    def unpin(self, reason: str) -> None:
        with self._lock:
            if self._pins.pop(reason, None) is not None:
                self._write_pins()

    def pinned(self) -> frozenset[str]:
        now = self._now()
        with self._lock:
            return frozenset(clip for pin in self._pins.values() if pin.until > now for clip in pin.clips)

    def _write_pins(self) -> None:
        now = self._now()
        self._pins = {reason: pin for reason, pin in self._pins.items() if pin.until > now}
        told = {r: {"until": p.until, "clips": sorted(p.clips)} for r, p in self._pins.items()}
        files.write(self._pin_file, json.dumps(told, ensure_ascii=False, indent=1).encode())

    def _read_pins(self) -> dict[str, _Pin]:
        try:
            told = json.loads(self._pin_file.read_bytes())
            return {r: _Pin(float(p["until"]), frozenset(p["clips"])) for r, p in told.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError, AttributeError):
            log.warning("%s is damaged; nothing that is here is evicted for a day", self._pin_file.name)
            everything = frozenset(path.stem for _, _, path in self._held())
            return {_DAMAGED: _Pin(self._now() + _DAY_S, everything)}

    def _held(self) -> list[tuple[float, int, Path]]:
        """(last used, bytes, file) of every clip."""
        found = []
        for path in self._clips.glob("*/*.clip"):
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        return found

    def _make_room(self) -> None:
        """Down to `ROOM` of the budget, where it is exceeded and something may go."""
        if self._budget is None or self._size <= self._budget:
            return
        keep, recent = self.pinned(), self._now() - RECENT_S
        held = sorted(self._held(), key=lambda one: one[0])
        self._size = sum(size for _, size, _ in held)
        gone: set[str] = set()
        for used, size, path in held:
            if self._size <= self._budget * ROOM:
                break
            if path.stem in keep or used > recent:
                continue
            path.unlink(missing_ok=True)
            self._size -= size
            gone.add(path.stem)
        if gone:
            log.info("%d clips least used made room", len(gone))
            for entry in self._index.glob("*.json"):
                with contextlib.suppress(FileNotFoundError, ValueError, TypeError, KeyError):
                    if json.loads(entry.read_bytes())["sha256"] in gone:
                        entry.unlink()
        elif self._size > self._budget:
            log.warning(
                "clips of %d MB exceed the budget, and all of them are in use", self._size // 1_000_000
            )

    def put(self, data: bytes) -> str:
        """Keep `data`; returns its sha256. Durable when it returns; keeping it twice costs nothing."""
        sha256 = hashlib.sha256(data).hexdigest()
        if self.verify(sha256):
            self._touch(sha256)
            return sha256
        with self._lock:
            files.write(self.path(sha256), data)
            self._touch(sha256)
            self._size += len(data)
            self._make_room()
        return sha256

    def _touch(self, sha256: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.path(sha256), (self._now(), self._now()))

    def path(self, sha256: str) -> Path:
        """Where the clip of that hash is, or would be. Raises ValueError for what is no hash."""
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256[:80]!r} is no sha256 (64 hex digits)")
        return self._clips / sha256[:2] / f"{sha256}.clip"

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
        self.amend(key, record)

    def amend(self, key: str, record: ClipRecord) -> None:
        """What became known about the clip that answers `key` since it was added."""
        files.write(self._entry(key), json.dumps(asdict(record), ensure_ascii=False, indent=1).encode())

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
        self._touch(record.sha256)
        return record

    def _entry(self, key: str) -> Path:
        if not _SHA256.fullmatch(key):
            raise ValueError(f"{key[:80]!r} is no cache key (64 hex digits)")
        return self._index / f"{key}.json"
