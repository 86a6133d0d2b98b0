"""Clips on a small disk, by the SHA-256 of their bytes: the only name that a stranger cannot make lie.

A file's name is its hash and nothing that came over the wire, so there is no path to traverse. What comes in
pieces lies beside it until it is whole and checked; what is found at a start is checked before it counts.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from terminals.agent.files import make_durable, private_folder, sync_folder

_NAME: Final = re.compile(r"[0-9a-f]{64}")
_READ: Final = 1 << 18
_MB: Final = 1 << 20


class ClipError(Exception):
    """A clip cannot be kept: which, why, what to do."""


class ClipStore:
    """`held` is living: the hashes of clips that are whole and checked. Blocking calls are short, but for
    `check_all`, `check` and `keep`, which read whole files: call those in a thread."""

    def __init__(self, folder: Path, *, budget: int, keep_free: int) -> None:
        """`budget`, `keep_free`: bytes. Raises FileError."""
        self._folder = private_folder(folder)
        self._parts = private_folder(folder / "parts")
        self._budget = budget
        self._keep_free = keep_free
        self.held: set[str] = set()

    def path(self, sha256: str) -> Path:
        """Where a clip of this hash is or would be. Raises ValueError for what is no hash."""
        return self._folder / _checked(sha256)

    def part(self, sha256: str) -> Path:
        """Where its pieces are gathered."""
        return self._parts / _checked(sha256)

    def check_all(self) -> list[str]:
        """Make `held` true of the disk. One line for each damaged clip, which is removed."""
        lines = []
        for path in sorted(self._folder.iterdir()):
            if not path.is_file() or not _NAME.fullmatch(path.name):
                continue
            if self.check(path.name):
                self.held.add(path.name)
            else:
                lines.append(f"clip {path.name[:12]}… was damaged on the disk and does not count")
        return lines

    def check(self, sha256: str) -> bool:
        """Whether it is here and whole; what is not is removed. True puts it into `held`. Never raises."""
        path = self.path(sha256)
        try:
            whole = _hash(path) == sha256
        except OSError:
            whole = False
        if whole:
            self.held.add(sha256)
        else:
            self.held.discard(sha256)
            with suppress(OSError):  # a read-only disk keeps it, and it counts for nothing all the same
                path.unlink()
        return whole

    def keep(self, sha256: str, size: int) -> bool:
        """The gathered part is the whole clip: keep it, durably. False, and the part is removed, when its
        bytes are other ones. Raises OSError."""
        part = self.part(sha256)
        if part.stat().st_size != size or _hash(part) != sha256:
            part.unlink()
            return False
        make_durable(part)
        part.replace(self.path(sha256))
        sync_folder(self._folder)
        self.held.add(sha256)
        return True

    def take(self, sha256: str) -> bytes:
        """What was kept under this name, which is no clip: out of the store. Raises OSError."""
        path = self.path(sha256)
        data = path.read_bytes()
        self.held.discard(sha256)
        path.unlink()
        return data

    def make_room(self, size: int, wanted: Collection[str], *, sha256: str = "") -> None:
        """Room for `size` more bytes: clips that are not `wanted` go, least recently used first. Parts of
        other clips go before any clip. Raises ClipError when even that is not enough."""
        kept = {path: path.stat() for path in self._folder.iterdir() if path.is_file()}
        used = sum(about.st_size for about in kept.values())
        free = _free(self._folder)

        def enough() -> bool:
            return used + size <= self._budget and free - size >= self._keep_free

        if not enough():
            for part in self._parts.iterdir():
                if part.name != sha256:
                    free += part.stat().st_size
                    part.unlink()
        for path, about in sorted(kept.items(), key=lambda one: one[1].st_mtime_ns):
            if enough():
                break
            if path.name in wanted:
                continue
            self.held.discard(path.name)
            path.unlink()
            used -= about.st_size
            free += about.st_size
        if not enough():
            raise ClipError(
                f"no room for {size} bytes: clips take {used // _MB} of {self._budget // _MB} MB, "
                f"{free // _MB} MB are free; free the disk or raise disk.clips_mb"
            )

    def used(self, sha256: str) -> None:
        """It is about to sound: the last to be evicted."""
        try:
            os.utime(self.path(sha256))
        except OSError:
            return  # a read-only disk plays all the same

    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self._folder.iterdir() if path.is_file())

    def free_mb(self) -> int:
        return _free(self._folder) // _MB


def _checked(sha256: str) -> str:
    if not _NAME.fullmatch(sha256):
        raise ValueError(f"{sha256!r} is no SHA-256")
    return sha256


def _free(folder: Path) -> int:
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_READ):
            digest.update(piece)
    return digest.hexdigest()
