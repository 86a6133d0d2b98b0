"""What a feed must still know after a restart: one small JSON file, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

MAX_BYTES: Final = 64_000_000


class Memory:
    """A file that holds one JSON object. Blocking: call it in a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.trouble = ""
        """Why it could not be read or written; empty when it could."""

    def load(self) -> dict[str, Any]:
        """What was saved last; empty if nothing was. A file that cannot be read is set aside and told in
        `trouble`: a feed that starts without its memory is better than none."""
        try:
            with self._path.open("rb") as file:
                found = json.loads(file.read(MAX_BYTES))
            if not isinstance(found, dict):
                raise ValueError("it holds no object")
        except FileNotFoundError:
            return {}
        except OSError as error:
            self.trouble = f"{self._path} cannot be read: {error.strerror}"
            return {}
        except ValueError as error:
            aside = self._path.with_name(f"{self._path.name}.unreadable")
            self.trouble = f"{self._path} cannot be read ({error}); kept as {aside.name}"
            try:
                self._path.replace(aside)
            except OSError as stuck:
                self.trouble += f", which failed: {stuck.strerror}"
            return {}
        return found

    def save(self, data: dict[str, Any]) -> None:
        """Durable when it returns, unless `trouble` says why not."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(prefix=f"{self._path.name}.", dir=self._path.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(data, file, ensure_ascii=False, separators=(",", ":"))
                    file.flush()
                    os.fsync(file.fileno())
                Path(part).replace(self._path)
            except BaseException:
                Path(part).unlink(missing_ok=True)
                raise
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            self.trouble = f"{self._path} cannot be written: {error.strerror}"
        else:
            self.trouble = ""
