"""The state folder of one board: its papers, what it must remember, its staged sets, its lock.

Each file carries its own hash, and is kept twice: cheap memory cards lose blocks (lessons-from-the-field.md
§6). One damaged copy costs nothing; with both gone, what had been accepted is not known any more, and
`fence` then refuses whatever was sealed before the terminal knew the time again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from terminals.agent.files import private_folder, sync_folder, write_whole
from terminals.agent.kept import Durable, DurableError
from terminals.enrolment import Enrolled
from terminals.seal import KeyRing
from terminals.wire import Manifest, WireError, decode_manifest, set_id

DEFAULT_STATE: Final = Path("/var/lib/fenghuo-terminal")
LOG_BYTES: Final = 262_144
"""Of each of the two log files."""
_MAGIC: Final = b"FHP1 "


class StateError(Exception):
    """The state folder cannot be used: what is wrong, what to do."""


class StateFolder:
    """Raises FileError when others may look into `path`."""

    def __init__(self, path: Path) -> None:
        self.path = private_folder(path)
        self._sets = private_folder(path / "sets")
        self._lock = -1

    @property
    def clips(self) -> Path:
        return self.path / "clips"

    @property
    def log(self) -> Path:
        return self.path / "terminal.log"

    @property
    def hand(self) -> Path:
        return self.path / "by-hand"

    # --- one process ---

    def lock(self) -> None:
        """For as long as this process lives. Raises StateError when another one has it. Only read, so that a
        disk that has become read-only still lets a board speak after its next start."""
        self._lock = os.open(self.path / "lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            self._lock = -1
            raise StateError(f"{self.path}: another fenghuo-terminal runs on this state folder") from error

    def unlock(self) -> None:
        """Harmless without the lock."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # --- papers ---

    def papers(self) -> Enrolled | None:
        """What the enrolment brought; None if this terminal was never enrolled. Raises StateError."""
        found = [name for name in ("papers", "papers.copy") if (self.path / name).exists()]
        for name in found:
            try:
                return _unwrapped((self.path / name).read_bytes())
            except (OSError, ValueError):
                continue
        if found:
            raise StateError(
                f"{self.path / 'papers'}: damaged, and its copy too; get a new code and run: "
                "fenghuo-terminal enrol"
            )
        return None

    def keep_papers(self, papers: Enrolled, key: bytes = b"") -> None:
        """A new enrolment; what belonged to an earlier one (counters, messages, certificates) goes with its
        keys. `key`: PEM, of the certificate in `papers`. Raises OSError."""
        body = msgspec.json.encode(papers)
        data = _MAGIC + sha256(body).hexdigest().encode() + b"\n" + body
        for name in ("durable", "durable.copy"):
            (self.path / name).unlink(missing_ok=True)
        if papers.authority:
            tls = private_folder(self.path / "tls")
            write_whole(tls / "authority.pem", papers.authority.encode())
            if papers.certificate:
                write_whole(tls / "key.pem", key)
                write_whole(tls / "certificate.pem", papers.certificate.encode())
        for name in ("papers", "papers.copy"):
            write_whole(self.path / name, data)

    # --- the certificate for the broker ---

    @property
    def tls(self) -> Path:
        """Folder of ``key.pem``, ``certificate.pem`` and ``authority.pem``, where the papers brought one."""
        return self.path / "tls"

    def keep_certificate(self, certificate: str) -> None:
        """The next one, PEM, over the same key. Raises OSError."""
        write_whole(self.tls / "certificate.pem", certificate.encode())

    # --- what must survive a power cut ---

    def load(self) -> tuple[Durable, list[str], bool]:
        """What was saved last; lines about damage; whether all of it is lost (then `fence` it)."""
        lines: list[str] = []
        names = ("durable", "durable.copy")
        for name in names:
            path = self.path / name
            try:
                return Durable.from_bytes(path.read_bytes()), lines, False
            except FileNotFoundError:
                continue
            except (OSError, DurableError) as error:
                lines.append(f"{path}: {error}; the file is kept as {name}.damaged")
                self._set_aside(path)
        if lines:
            lines.append("what was accepted before is not known: nothing sealed until now will sound")
        return Durable(), lines, bool(lines)

    def save(self, durable: Durable) -> None:
        """Safe when this returns. Raises OSError."""
        write_whole(self.path / "durable", durable.to_bytes())

    def save_copy(self, durable: Durable) -> None:
        """The second copy; may lag a little, because only damage makes it count. Raises OSError."""
        write_whole(self.path / "durable.copy", durable.to_bytes())

    @staticmethod
    def _set_aside(path: Path) -> None:
        try:
            path.replace(path.with_name(path.name + ".damaged"))
        except OSError:
            return  # a read-only disk: it is read again, and refused again, at the next start

    # --- manifests of staged sets, by the hash of their bytes ---

    def manifests(self) -> tuple[dict[str, Manifest], list[str]]:
        """Set id → manifest, of those that are whole; and a line for each that is not."""
        found: dict[str, Manifest] = {}
        lines = []
        for path in sorted(self._sets.iterdir()):
            if path.suffix != ".json":
                continue
            try:
                data = path.read_bytes()
                if sha256(data).hexdigest() != path.stem:
                    raise WireError("its hash is another")
                found[set_id(path.stem)] = decode_manifest(data)
            except (OSError, WireError) as error:
                with suppress(OSError):  # a read-only disk keeps it, and it counts for nothing all the same
                    path.unlink()
                lines.append(f"{path}: damaged ({error}); it will be fetched again")
        return found, lines

    def keep_manifest(self, digest: str, data: bytes) -> None:
        """`digest` has been checked. Raises OSError."""
        write_whole(self._sets / f"{digest}.json", data)

    def forget_manifests(self, but: Mapping[str, object]) -> None:
        """Remove all whose set id is not a key of `but`. Raises OSError."""
        gone = [path for path in self._sets.glob("*.json") if set_id(path.stem) not in but]
        for path in gone:
            path.unlink()
        if gone:
            sync_folder(self._sets)


def fence(durable: Durable, ring: KeyRing, now: int) -> None:
    """After the loss of what was accepted: nothing that was sealed before `now` (wire ms) is fresh. Counters
    are never below the wire time of their sealing (`controller/keys`: max(last + 1, milliseconds))."""
    for key in ring.keys:
        durable.low[key] = max(durable.low.get(key, -1), now)


def _unwrapped(data: bytes) -> Enrolled:
    """Raises ValueError."""
    head, newline, body = data.partition(b"\n")
    if not newline or head != _MAGIC + sha256(body).hexdigest().encode():
        raise ValueError("torn")
    return msgspec.json.decode(body, type=Enrolled)
