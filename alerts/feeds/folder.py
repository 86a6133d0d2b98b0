"""Watched folder: what an FTP server, a copy script or an operator drops as ``*.xml``.

By polling, so that it also works on network file systems. A file that ends with the end of a warning is
whole and read at once; any other may still grow, and is read once its size and time have stood still for
half a second. It stays where it is until intake has journalled it, and then moves to ``taken/`` or
``refused/`` (there with a ``.reason.txt`` beside it). A crash in between brings it again.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from alerts.feed import Document, FeedError, Outcome, Trust
from alerts.formats.xml import MAX_BYTES

PATIENCE: Final = timedelta(seconds=30)
"""FTP servers create a file empty and fill it as data comes, with stalls. One that is empty or does not
end like XML is given this long without a change before it is taken as it is (and refused, loudly)."""

SETTLE: Final = 0.5
"""Seconds that a file which may still grow must stand still."""
_NAMED: Final = 3
"""At most so many unread files are named."""
_WHOLE: Final = re.compile(rb"</(?:[\w.-]{1,40}:)?alert\s*>\s*\Z")
"""Nothing can follow the end of the root: a file is written from its start to its end."""


def replaceable(path: Path, owner: int) -> str:
    """Why somebody else than user `owner` (and root) could put another folder in the place of `path`, private
    as that may be; empty if nobody can. `path` is absolute and may be missing yet.

    Safe is a path without symbolic links, of directories that belong to `owner` or root, where others may
    write only with the sticky bit. A directory's group counts as others unless it is root's or our own.
    """
    try:
        for place in (path, *path.parents):
            try:
                found = place.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISLNK(found.st_mode):
                return f"{place} is a symbolic link; name the real folder"
            if place == path:
                continue
            if found.st_uid not in (0, owner):
                return f"{place} belongs to user {found.st_uid}, who could replace {path}"
            others = 0o002 if found.st_gid in (0, os.getegid()) else 0o022
            if found.st_mode & others and not found.st_mode & stat.S_ISVTX:
                return f"{place} is writable by others, who could replace {path}"
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What tells one content of a name from another without reading it."""

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Stamp:
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


class FolderFeed:
    """Feed over the files of one folder. Sub-folders are left alone; what else lies there for longer than a
    transfer takes and is not read (another ending, a link) is trouble: it may be a warning."""

    trust = Trust.OFFICIAL

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        interval: float = 0.1,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`interval` is seconds between looks: a whole file is yielded at the first that finds it.

        Raises FeedError if `path` is there and is not a folder. A missing one is waited for.
        """
        if path.exists() and not path.is_dir():
            raise FeedError(f"{path} is not a folder")
        self.name = name
        self.last_good: datetime | None = None
        self.trouble = ""
        self._path = path
        self._interval = interval
        self._clock = clock
        self._sleep = sleep
        self._stuck = ""
        """Why the last file could not be moved away; it is not yielded again, but the folder fills up."""
        self._strange: tuple[str, ...] = ()
        """What lies there and is not read, by name."""
        self._looks = max(1, round(SETTLE / interval))
        """How often a file that may still grow must be found unchanged."""
        self._before: dict[str, tuple[_Stamp, int]] = {}
        """Files of the last look, and how often each had been found unchanged by then."""
        self._behind = True
        self._backlog: dict[str, _Stamp] = {}
        """Files that were there when we came."""
        self._out: dict[str, _Stamp] = {}
        """Yielded; neither moved nor changed since."""

    async def documents(self) -> AsyncIterator[Document]:
        """See `alerts.feed.Feed.documents`. Oldest file first."""
        while True:
            try:
                ready = await asyncio.to_thread(self._look)
            except FeedError as error:
                self.trouble, self._behind, ready = str(error), True, []
            else:
                self.trouble, self.last_good = self._stuck or self._unread(), self._clock()
            for name, stamp in ready:
                document = await asyncio.to_thread(self._read, name, stamp)
                if document is not None:
                    self._out[name] = stamp
                    yield document
            await self._sleep(self._interval)

    def _look(self) -> list[tuple[str, _Stamp]]:
        found: dict[str, _Stamp] = {}
        strange = []
        forgotten = (self._clock() - PATIENCE).timestamp()
        try:
            with os.scandir(self._path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # gone between listing and looking
                    if entry.name.lower().endswith(".xml") and stat.S_ISREG(status.st_mode):
                        found[entry.name] = _Stamp.of(status)
                    elif not entry.name.startswith(".") and status.st_ctime < forgotten:
                        strange.append(entry.name)
        except OSError as error:
            raise FeedError(f"{self._path}: {error.strerror}") from error
        self._strange = tuple(sorted(strange))
        counted = {}
        for name, stamp in found.items():
            before, times = self._before.get(name, (None, 0))
            counted[name] = (stamp, times + 1 if before == stamp else 0)
        if self._behind:
            self._backlog, self._behind = found, False
        ready = [
            (name, stamp)
            for name, (stamp, times) in counted.items()
            if self._out.get(name) != stamp and (times == 0 or times >= self._looks)
        ]
        self._before = counted
        self._out = {name: stamp for name, stamp in self._out.items() if name in found}
        return sorted(ready, key=lambda item: (item[1].mtime_ns, item[0]))

    def _unread(self) -> str:
        """Why what lies there is not all read; empty if it is."""
        if not self._strange:
            return ""
        names = ", ".join(self._strange[:_NAMED]) + (", …" if len(self._strange) > _NAMED else "")
        return (
            f"{len(self._strange)} files in {self._path} are not read ({names}): "
            "a warning is a file of its own whose name ends in .xml; rename them or take them away"
        )

    def _read(self, name: str, stamp: _Stamp) -> Document | None:
        """The file as it was seen, or None if it changed or went meanwhile, or may still grow."""
        settled = self._before[name][1] >= self._looks
        backlog = self._backlog.get(name) == stamp

        async def acknowledge(outcome: Outcome, reason: str) -> None:
            await asyncio.to_thread(self._move, name, stamp, outcome, reason)

        def document(body: bytes, refused: str = "") -> Document:
            return Document(self.name, name, body, self._clock(), acknowledge, refused, backlog)

        if stamp.size > MAX_BYTES:
            if not settled:
                return None
            return document(b"", f"{stamp.size:,} bytes; the limit is {MAX_BYTES:,}")
        try:
            # NOFOLLOW and NONBLOCK: the name may have become a link or a pipe since we looked.
            handle = os.open(self._path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as file:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    return None
                body = file.read(MAX_BYTES + 1)
                if _Stamp.of(os.fstat(handle)) != stamp or len(body) != stamp.size:
                    return None
            if not settled and not _WHOLE.search(body, max(0, len(body) - 200)):
                return None
            quiet = self._clock().timestamp() - stamp.mtime_ns / 1e9
            if not body.rstrip(b" \t\r\n\0").endswith(b">") and quiet < PATIENCE.total_seconds():
                return None
        except FileNotFoundError:
            return None
        except OSError as error:
            return document(b"", f"cannot be read: {error.strerror}")
        return document(body)

    def _move(self, name: str, stamp: _Stamp, outcome: Outcome, reason: str) -> None:
        """Into the outcome's sub-folder, unless another file has taken the name since."""
        source = self._path / name
        folder = self._path / outcome.value
        try:
            if _Stamp.of(source.lstat()) != stamp:
                return
            folder.mkdir(mode=0o700, exist_ok=True)
            target = _free(folder / name)
            source.rename(target)
            if _Stamp.of(target.lstat()) != stamp:
                # Replaced between looking and moving: the new content has not been read yet.
                target.rename(source if not source.exists() else _free(source))
                return
            if outcome is Outcome.REFUSED:
                why = target.with_name(f"{target.name}.reason.txt")
                why.write_text(f"{reason or 'no reason given'}\n", encoding="utf-8")
            self._stuck = ""
        except FileNotFoundError:
            return  # taken away by somebody, or moved by an earlier acknowledgement
        except OSError as error:
            self._stuck = f"{source} could not be moved to {folder}: {error.strerror}"


def _free(path: Path) -> Path:
    """`path`, or with a number before its ending where that is taken."""
    number, free = 0, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}.{number}{path.suffix}")
    return free
