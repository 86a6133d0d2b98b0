"""Files that a power cut cannot tear, for nobody else's eyes.

A file is written beside its place, made durable (fsync), renamed into place, and the rename is made durable
too (fsync of the folder): at any byte, power loss leaves the old content or the new, never a mixture.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700


class FileError(Exception):
    """The disk does not do what it must: which file, what happened, what to do."""


def private_folder(path: Path) -> Path:
    """`path` as a folder of mode 0700, made if it is not there. Raises FileError if others may look in."""
    try:
        path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise FileError(f"{path}: cannot be used as a folder ({error.strerror})") from error
    if mode & 0o077:
        raise FileError(f"{path}: others may look into it (mode {mode:o}); run: chmod 700 {path}")
    return path


def write_whole(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, durably and all or nothing; mode 0600. Raises OSError."""
    aside = path.with_name(path.name + ".new")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    aside.replace(path)
    sync_folder(path.parent)


def make_durable(path: Path) -> None:
    """The bytes of a file that was written in pieces are on the disk afterwards. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Names that were made, renamed or removed in `folder` stay so. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
