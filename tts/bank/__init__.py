"""Recorded sentences: an announcer's files as named, levelled clips, each bound to its very words.

A bank is a folder in one language, by one announcer:

- ``bank.toml``: whose voice, with whose consent (`files.About`); ``lines.csv``: what is to be read.
- ``originals/<key>/``: every take as it came, for ever; ``originals/_sessions/``: long recordings.
- ``clips/``: the levelled clips (24 kHz FLAC); ``joined/``: sentences put together from clauses. Both can be
  made again.
- ``bank.json``: which take is used, what was levelled, who approved which clip (`files.Ledger`).

Only a clip that somebody approved, unchanged since, may be aired as actual (`Bank.find`). Blocking: call it
from a thread where that matters.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tts.bank import files
from tts.bank.files import About, Ledger
from tts.bank.model import (
    Approval,
    BankError,
    Clip,
    Entry,
    Finding,
    Grade,
    Line,
    State,
    Take,
    check_key,
    key_of,
    said,
    split,
    state,
)

if TYPE_CHECKING:
    from tts.audio import Sound

log = logging.getLogger("tts.bank")

MOST_PARTS: Final = 12
"""In one joined sentence; more sound like a list of words."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A sentence that somebody recorded, ready for the loudspeaker chain."""

    path: Path
    """Mono 24 kHz FLAC at -20 LUFS, peaks at most -3 dBFS, trimmed."""
    sentence: str
    """The words as they were asked for."""
    keys: tuple[str, ...]
    """Of the lines it is made of: one, or one for each clause."""
    seconds: float
    sha256: str
    """Of the file: part of what a clip made from it is known by."""
    approved_by: str
    """Empty: nobody; several people are joined by a comma."""
    approved_on: str
    synthetic: bool
    announcer: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not taken, and why."""

    file: str
    why: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A take that was added or found again."""

    key: str
    number: int
    file: str
    again: bool
    """The very same bytes were there already; nothing was added."""
    replaces: int
    """The take that was used until now; 0: none."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a long recording, in seconds, and the line that would stand there; empty beyond the last."""

    number: int
    start: float
    end: float
    key: str
    text: str


class PiecesDiffer(BankError):
    """A long recording has another number of pieces than there are lines: nothing was cut."""

    def __init__(
        self, message: str, pieces: tuple[Piece, ...], lines: int, pauses: tuple[float, ...]
    ) -> None:
        super().__init__(message)
        self.pieces = pieces
        self.lines = lines
        self.pauses = pauses
        """Lengths of pause that would give the right number, in seconds."""


class Bank:
    """One bank. What changes it takes the folder's lock; what only reads may run beside that."""

    def __init__(self, folder: Path, about: About, lines: Sequence[Line], ledger: Ledger) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._stamp = _stamp(folder)
        self._hold(about, lines, ledger)

    def _hold(self, about: About, lines: Sequence[Line], ledger: Ledger) -> None:
        self.about = about
        self.lines = {line.key: line for line in lines}
        self._ledger = ledger
        self._by_words: dict[str, list[str]] = {}
        for line in lines:
            if line.text:
                self._by_words.setdefault(said(line.text), []).append(line.key)

    @classmethod
    def open(cls, folder: Path) -> Bank:
        """The bank in `folder`. Raises BankError: none there, a file of it is malformed or damaged."""
        about = files.read_about(folder)
        for name in ("originals", "clips", "joined"):
            if (folder / name).is_symlink():
                raise BankError(f"{folder / name}: leads elsewhere; a bank keeps its files in its own folder")
        return cls(folder, about, files.read_lines(folder), files.read_ledger(folder))

    @classmethod
    def create(cls, folder: Path, about: About, lines: Sequence[Line]) -> Bank:
        """A new bank. Raises BankError if anything is in `folder` already."""
        text = files.about_text(about)
        check_key(about.language.lower())
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BankError(f"{folder}: not empty; a bank is made in a new folder")
        for name in ("originals", "clips"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        files.write(folder / "bank.json", files.ledger_text(Ledger()))
        files.write(folder / "lines.csv", files.lines_text(lines))
        files.write(folder / "bank.toml", text.encode())  # last: only then it is a bank
        return cls.open(folder)

    @property
    def language(self) -> str:
        return self.about.language

    @property
    def announcer(self) -> str:
        return self.about.announcer

    @property
    def synthetic(self) -> bool:
        return self.about.synthetic

    @property
    def version(self) -> int:
        """Rises whenever what may be aired changes."""
        return self._ledger.version

    @property
    def name(self) -> str:
        """What a clip made from it says of its voice."""
        return f"bank:{self.folder.name}"

    # --- what may be said ---

    def find(self, language: str, sentence: str, *, approved_only: bool = True) -> Recording | None:
        """The recording of exactly these words, or of the parts it is made of, joined; else None.

        Blanks and the punctuation at the end do not count, nothing else is forgiven. With `approved_only`
        every part was approved as it sounds now; without, the newest that says these words is taken. A
        file whose bytes changed is none.
        """
        with self._lock:
            self._look_again()
            return self._found(sentence, approved_only) if language == self.language else None

    def _found(self, sentence: str, approved_only: bool) -> Recording | None:
        whole = self._by_key_of(said(sentence), approved_only)
        if whole is not None:
            return replace(whole, sentence=sentence)
        words = split(sentence, self._by_words)
        if words is None or len(words) > MOST_PARTS:
            return None
        parts = [self._by_key_of(part, approved_only) for part in words]
        found = [part for part in parts if part is not None]
        return self._joined(sentence, found) if len(found) == len(parts) else None

    def recorded(
        self, language: str, sentences: Iterable[str], *, approved_only: bool = True
    ) -> dict[str, Recording]:
        """Those of `sentences` that are recorded, as `find` finds them."""
        found = {s: self.find(language, s, approved_only=approved_only) for s in dict.fromkeys(sentences)}
        return {sentence: one for sentence, one in found.items() if one is not None}

    def recording(self, key: str, *, approved_only: bool = True) -> Recording | None:
        """The recording of a line, whatever its words; None as with `find`."""
        with self._lock:
            self._look_again()
            return self._recording(key, approved_only)

    def _recording(self, key: str, approved_only: bool) -> Recording | None:
        line, entry = self.lines.get(key), self._ledger.entries.get(key)
        if line is None or entry is None:
            return None
        approval = entry.approval
        clip = entry.in_service(line) if approved_only else entry.newest(line) or entry.in_service(line)
        if clip is None or self._bytes(clip) is None:
            return None
        approved = approval is not None and approval.clip.sha256 == clip.sha256 and clip.text == line.text
        return Recording(
            path=files.below(self.folder / "clips", clip.file),
            sentence=line.text,
            keys=(key,),
            seconds=clip.seconds,
            sha256=clip.sha256,
            approved_by=approval.by if approval and approved else "",
            approved_on=approval.on if approval and approved else "",
            synthetic=self.synthetic,
            announcer=self.announcer,
        )

    def _look_again(self) -> None:
        """A controller holds a bank for months; what is withdrawn meanwhile must not be aired once more. What
        cannot be read any more has no recordings."""
        if (stamp := _stamp(self.folder)) == self._stamp:
            return
        try:
            self._again()
        except BankError as error:
            log.error("nothing is taken from the bank %s: %s", self.folder, error)
            self._hold(self.about, (), Ledger(self.version))
        self._stamp = stamp

    def _by_key_of(self, words: str, approved_only: bool) -> Recording | None:
        for key in self._by_words.get(words, ()):
            if (found := self._recording(key, approved_only)) is not None:
                return found
        return None

    def _bytes(self, clip: Clip) -> bytes | None:
        """The file of `clip`, if it is what was levelled."""
        try:
            data = files.below(self.folder / "clips", clip.file).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == clip.sha256 else None

    def _joined(self, sentence: str, parts: Sequence[Recording]) -> Recording:
        """The clauses as one file, kept under the name of what it is made of."""
        from tts.audio import RATE
        from tts.bank import sound

        name = hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest()
        path = self.folder / "joined" / f"{name}.flac"
        data = sound.write(sound.joined([sound.load(part.path)[0] for part in parts]))
        try:
            kept = path.read_bytes() == data
        except OSError:
            kept = False
        if not kept:  # made anew each time: what lies there could be anything
            files.write(path, data)
        names = [part.approved_by for part in parts]
        return Recording(
            path=path,
            sentence=sentence,
            keys=tuple(key for part in parts for key in part.keys),
            seconds=len(sound.decode(data, path.name)[0]) / RATE,
            sha256=hashlib.sha256(data).hexdigest(),
            approved_by=", ".join(dict.fromkeys(names)) if all(names) else "",
            approved_on=max(part.approved_on for part in parts) if all(names) else "",
            synthetic=self.synthetic,
            announcer=self.announcer,
        )

    # --- what is there ---

    def entry(self, key: str) -> Entry:
        return self._ledger.entries.get(key, Entry())

    def state(self, key: str) -> State:
        return state(self.lines[key], self._ledger.entries.get(key))

    def totals(self) -> dict[State, int]:
        states = [self.state(key) for key in self.lines]
        return {one: states.count(one) for one in State}

    def serving(self) -> int:
        """Lines with an approved recording of their present words."""
        return sum(self.entry(key).in_service(line) is not None for key, line in self.lines.items())

    def missing(self) -> list[Line]:
        """Lines that have words and no recording of them, in the sheet's order."""
        return [line for key, line in self.lines.items() if self.state(key) in (State.MISSING, State.CHANGED)]

    # --- what changes it ---

    def refresh(self, wanted: Sequence[Line]) -> tuple[int, int]:
        """Adds the lines that the templates or the county need by now, keeping everything. Returns how many
        are new and how many nobody needs any more. Raises BankError."""
        from tts.bank.lines import merged

        with files.locked(self.folder):
            self._again()
            old = list(self.lines.values())
            lines = merged(old, wanted)
            files.write(self.folder / "lines.csv", files.lines_text(lines))
            self._again()
        known = {line.key for line in old}
        return sum(line.key not in known for line in lines), len(lines) - len(wanted)

    def add(
        self, sources: Sequence[Path], *, key: str = "", number: int = 0, on: str
    ) -> tuple[list[Taken], list[Skipped]]:
        """Takes recordings in. A file's name says its key and take; `key` says it for a single file; `number`
        takes only files of that take. Of several takes the highest number is used from now on, of those
        without a number the newest file. Raises BankError for a bank that cannot be written."""
        from tts.bank import sound

        found: list[tuple[Path, str, int]] = []
        skipped: list[Skipped] = []
        for path in _files(sources):
            if path.is_symlink() or not path.is_file():
                skipped.append(Skipped(path.name, "no plain file"))
            elif path.suffix.lower() not in sound.SUFFIXES:
                skipped.append(Skipped(path.name, "no sound file by its name"))
            elif (meant := (key, 0) if key else key_of(path.stem, self.lines)) is None:
                skipped.append(Skipped(path.name, "no key of this bank in its name"))
            elif number and meant[1] != number and not key:
                skipped.append(Skipped(path.name, f"not take {number}"))
            else:
                found.append((path, *meant))
        if key:
            if key not in self.lines:
                raise BankError(f"{key}: no line of this bank; see fenghuo bank list")
            if len(found) > 1:
                raise BankError(f"{len(found)} files for the one key {key}; give one file")
        found.sort(key=lambda one: (one[1], one[2], one[0].stat().st_mtime_ns, one[0].name))
        taken: list[Taken] = []
        with files.locked(self.folder):
            self._again()
            for path, meant_key, _ in found:
                if not self.lines[meant_key].text:
                    skipped.append(
                        Skipped(path.name, f"{meant_key} has no words yet; write them into lines.csv")
                    )
                    continue
                try:
                    sound.load(path)
                    data = path.read_bytes()
                except (BankError, OSError) as error:
                    skipped.append(Skipped(path.name, str(error).removeprefix(f"{path.name}: ")))
                    continue
                taken.append(self._keep(meant_key, data, path.suffix.lower(), path.name, on))
        return taken, skipped

    def keep(self, key: str, data: bytes, suffix: str, source: str, on: str) -> Taken:
        """One more take of `key` from bytes that are a sound. Raises BankError."""
        with files.locked(self.folder):
            self._again()
            if key not in self.lines or not self.lines[key].text:
                raise BankError(f"{key}: no line of this bank with words; see fenghuo bank list")
            return self._keep(key, data, suffix, source, on)

    def _keep(self, key: str, data: bytes, suffix: str, source: str, on: str) -> Taken:
        entry, line = self.entry(key), self.lines[key]
        sha256 = hashlib.sha256(data).hexdigest()
        for take in entry.takes:
            if take.sha256 == sha256 and take.text == line.text:
                return Taken(key, take.number, take.file, True, entry.chosen)
        number = max((take.number for take in entry.takes), default=0) + 1
        file = f"{check_key(key)}/{number}-{sha256[:12]}{suffix}"
        files.write(files.below(self.folder / "originals", file), data)
        take = Take(number, file, sha256, line.text, source[:200], on)
        self._save({key: replace(entry, takes=(*entry.takes, take), chosen=number)})
        return Taken(key, number, file, False, entry.chosen)

    def choose(self, key: str, number: int) -> None:
        """Use take `number` of `key` from now on. Raises BankError."""
        with files.locked(self.folder):
            self._again()
            entry = self.entry(key)
            if number not in [take.number for take in entry.takes]:
                there = ", ".join(str(take.number) for take in entry.takes) or "none"
                raise BankError(f"{key}: no take {number}; there are: {there}")
            self._save({key: replace(entry, chosen=number)})

    def cut(
        self,
        source: Path,
        *,
        keys: Sequence[str] = (),
        pause: float = 0.8,
        below_db: float | None = None,
        drop: Sequence[int] = (),
        on: str,
        write: bool = True,
    ) -> tuple[list[Piece], list[Taken]]:
        """One long recording → takes of `keys` (default: all that is missing), in the sheet's order, cut
        where it is silent for `pause` seconds; the pieces numbered `drop` are slips. Raises PiecesDiffer
        if their number differs, BankError for what cannot be read."""
        from tts.bank import sound

        if source.is_symlink() or not source.is_file() or source.suffix.lower() not in sound.SUFFIXES:
            raise BankError(f"{source.name}: no sound file")
        unknown = [key for key in keys if key not in self.lines or not self.lines[key].text]
        if unknown:
            raise BankError(
                f"{', '.join(unknown)[:200]}: no lines of this bank with words; see fenghuo bank list"
            )
        wanted = [self.lines[key] for key in keys] or self.missing()
        data = source.read_bytes()
        whole, rate = sound.decode(data, source.name)
        found = [
            (n, *piece)
            for n, piece in enumerate(sound.pieces(whole, rate, pause=pause, below_db=below_db), 1)
            if n not in drop
        ]
        shown = [
            Piece(n, start, end, *((line.key, line.text) if line else ("", "")))
            for (n, start, end), line in zip_longest(found, wanted[: len(found)])
        ]
        if len(found) != len(wanted):
            gaps = [b[0] - a[1] for a, b in pairwise(sound.pieces(whole, rate, pause=0.3, below_db=below_db))]
            others = [
                step / 20
                for step in range(6, 61)
                if 1 + sum(gap >= step / 20 for gap in gaps) - len(drop) == len(wanted)
            ]
            message = f"{source.name}: {len(found)} pieces for {len(wanted)} lines; nothing was cut"
            raise PiecesDiffer(message, tuple(shown), len(wanted), tuple(others))
        if not write:
            return shown, []
        taken = []
        room = [0.4, *(b.start - a.end for a, b in pairwise(shown)), 0.4]
        with files.locked(self.folder):
            self._again()
            sha256 = hashlib.sha256(data).hexdigest()
            session = f"_sessions/{sha256[:16]}{source.suffix.lower()}"
            files.write(files.below(self.folder / "originals", session), data)
            self._save({}, sessions={sha256: session})
            for n, one in enumerate(shown):
                kept = sound.piece(whole, rate, one.start, one.end, min(0.3, room[n] / 2, room[n + 1] / 2))
                where = f"{source.name} {one.start:.2f}-{one.end:.2f} s"
                taken.append(self._keep(one.key, sound.write_original(kept, rate), ".flac", where, on))
        return shown, taken

    def level(self, *, told: Callable[[str], None] = lambda key: None) -> tuple[int, list[Skipped]]:
        """Makes the clip of every chosen take that has none. Returns how many, and what cannot be made one.
        Stopped half-way, the rest is made next time. Raises BankError for a bank that cannot be written."""
        from tts.audio import RATE
        from tts.bank import sound

        made, skipped = 0, []
        with files.locked(self.folder):
            self._again()
            for key, line in self.lines.items():
                entry = self.entry(key)
                take, newest = entry.take(), entry.newest(line)
                if take is None or take.text != line.text:
                    continue
                if newest is not None and self._bytes(newest) is not None:
                    continue
                told(key)
                try:
                    original = self.original(take)
                    clip = sound.levelled(*original)
                except BankError as error:
                    skipped.append(Skipped(key, str(error)))
                    continue
                data = sound.write(clip)
                lufs, dbtp = sound.facts(clip)
                sha256 = hashlib.sha256(data).hexdigest()
                file = f"{key}-{sha256[:16]}.flac"
                files.write(files.below(self.folder / "clips", file), data)
                record = Clip(
                    file, sha256, take.number, line.text, len(clip) / RATE, round(lufs, 2), round(dbtp, 2)
                )
                self._save({key: replace(entry, clip=record)})
                made += 1
        return made, skipped

    def original(self, take: Take) -> tuple[Sound, int]:
        """Samples and rate of a take. Raises BankError if its bytes are not those that came."""
        from tts.bank import sound

        path = files.below(self.folder / "originals", take.file)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BankError(f"{take.file}: {error.strerror}; import it again") from error
        if hashlib.sha256(data).hexdigest() != take.sha256:
            raise BankError(f"{take.file}: its bytes have changed since it was imported; import it again")
        return sound.decode(data, path.name)

    def approve(self, keys: Sequence[str], *, by: str, on: str) -> tuple[list[str], list[Skipped]]:
        """`by` heard the clips of `keys` (default: every levelled one that nobody approved) and says they are
        right. What `check` finds an error in is left out. Raises BankError for a key that is none."""
        if not by.strip() or not by.isprintable():
            raise BankError("an approval needs the name of the person who listened")
        for key in keys:
            if key not in self.lines:
                raise BankError(f"{key}: no line of this bank; see fenghuo bank list")
        wrong = {finding.key for finding in self.check() if finding.grade is Grade.ERROR}
        done: list[str] = []
        skipped: list[Skipped] = []
        with files.locked(self.folder):
            self._again()
            for key in keys or [key for key in self.lines if self.state(key) is State.LEVELLED]:
                clip = self.entry(key).newest(self.lines[key])
                if self.state(key) is State.APPROVED:
                    skipped.append(Skipped(key, "approved already"))
                elif clip is None or self._bytes(clip) is None:
                    skipped.append(
                        Skipped(key, "nothing levelled that says its words; run fenghuo bank level")
                    )
                elif key in wrong:
                    skipped.append(Skipped(key, "has errors; see fenghuo bank check"))
                else:
                    done.append(key)
            changed = {}
            for key in done:
                entry = self.entry(key)
                if (clip := entry.clip) is not None:
                    changed[key] = replace(entry, approval=Approval(clip, by.strip(), on))
            if changed:
                self._save(changed, version=self.version + 1)
        return done, skipped

    def withdraw(self, keys: Sequence[str]) -> list[str]:
        """Takes the approval of `keys` back. Returns those that had one. Raises BankError: unknown key."""
        for key in keys:
            if key not in self.lines:
                raise BankError(f"{key}: no line of this bank; see fenghuo bank list")
        with files.locked(self.folder):
            self._again()
            had = [key for key in keys if self.entry(key).approval is not None]
            if had:
                self._save(
                    {key: replace(self.entry(key), approval=None) for key in had}, version=self.version + 1
                )
        return had

    # --- is it good ---

    def check(self) -> list[Finding]:
        """What is wrong with the recordings that are there (what is missing: `totals`, `missing`)."""
        from tts.bank import examine

        return examine.check(self)

    def heard(self, clip: Clip) -> Sound | None:
        """The samples of a clip, None if its file is damaged or gone."""
        from tts.bank import sound

        data = self._bytes(clip)
        return None if data is None else sound.decode(data, clip.file)[0]

    def _again(self) -> None:
        """What is on the disk now: another may have written between."""
        self._hold(
            files.read_about(self.folder), files.read_lines(self.folder), files.read_ledger(self.folder)
        )

    def _save(
        self,
        entries: Mapping[str, Entry],
        *,
        version: int | None = None,
        sessions: Mapping[str, str] | None = None,
    ) -> None:
        ledger = Ledger(
            version=self._ledger.version if version is None else version,
            entries={**self._ledger.entries, **entries},
            sessions={**self._ledger.sessions, **(sessions or {})},
        )
        files.write(self.folder / "bank.json", files.ledger_text(ledger))
        self._ledger = ledger


def _stamp(folder: Path) -> tuple[tuple[int, int, int], ...]:
    """Changes whenever a file that says what may be aired is another."""
    found = []
    for name in ("bank.toml", "lines.csv", "bank.json"):
        try:
            it = (folder / name).stat()
        except OSError:
            found.append((0, 0, 0))
        else:
            found.append((it.st_ino, it.st_mtime_ns, it.st_size))
    return tuple(found)


def _files(sources: Sequence[Path]) -> list[Path]:
    """The files named, and those in the folders named, one level deep and hidden ones left out."""
    out: list[Path] = []
    for source in sources:
        inside = sorted(source.iterdir()) if source.is_dir() and not source.is_symlink() else [source]
        out += [path for path in inside if not path.name.startswith(".")]
    return out


__all__ = ["Bank", "BankError", "Piece", "PiecesDiffer", "Recording", "Skipped", "Taken"]
