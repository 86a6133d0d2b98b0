"""Files that are whole or not there, whenever the power goes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

ASIDE: Final = ".part-"
"""How the name of a file begins that is not whole yet."""


def write(path: Path, data: bytes) -> None:
    """`data` at `path`, readable by all: written aside, synced, renamed. Folders that are missing are made;
    durable when it returns. Raises OSError, and then `path` is what it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=ASIDE)
    aside = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(0o644)
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
