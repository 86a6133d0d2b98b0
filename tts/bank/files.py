"""The folder of a bank: files written aside, synced and renamed; nothing outside it is touched."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
import re
import tomllib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from tts import files
from tts.bank.model import MAX_WORDS, BankError, Entry, Line, check_key

FORMAT: Final = 1
COLUMNS: Final = ("key", "text", "zh", "slots", "note")
MAX_LEDGER: Final = 64_000_000


@dataclass(frozen=True, slots=True)
class About:
    """``bank.toml``: whose voice it is, and what the lines are made of. People edit it."""

    language: str
    announcer: str
    consent: str = ""
    """What the announcer agreed to, and the licence of the recordings."""
    synthetic: bool = False
    """A machine spoke: told wherever the recordings are used."""
    county: str = ""
    """Pack whose places are read, by name or path."""
    places: str = "townships"
    """``none``, ``townships`` or ``villages``."""
    hazards: tuple[str, ...] = ()
    """Empty: the usual ones."""
    issuers: tuple[str, ...] = ()
    """Who speaks, as the messages name them."""
    times: bool = False
    """Days, hours and minutes are recorded too."""
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Ledger:
    """``bank.json``: what was recorded, levelled and approved. Only the program writes it."""

    version: int = 0
    """Rises whenever what may be aired changes."""
    entries: dict[str, Entry] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    """SHA-256 of a long recording → its file below ``originals/``."""


def write(path: Path, data: bytes) -> None:
    """`data` at `path`, whole or not at all, durable when it returns. Raises BankError."""
    try:
        files.write(path, data)
    except OSError as error:
        raise BankError(f"{path}: cannot be written: {error.strerror}") from error


def below(folder: Path, name: str) -> Path:
    """The file `name` of the ledger below `folder`. Raises BankError for what would lie elsewhere."""
    path = folder / name
    if (
        name.startswith("/")
        or ".." in Path(name).parts
        or not path.resolve().is_relative_to(folder.resolve())
    ):
        raise BankError(f"{folder}: {name[:80]!r} in bank.json lies outside the bank; restore bank.json")
    return path


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One writer at a time. Raises BankError if another works in it."""
    try:
        fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise BankError(f"{folder}: cannot be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BankError(f"{folder}: another fenghuo is writing in this bank; wait for it") from None
        yield
    finally:
        os.close(fd)


def read_about(folder: Path) -> About:
    """Raises BankError."""
    file = folder / "bank.toml"
    try:
        about = msgspec.convert(tomllib.loads(file.read_text("utf-8")), About)
    except FileNotFoundError:
        raise BankError(f"{folder}: no bank here (no bank.toml); make one with fenghuo bank new") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BankError(f"{file}: {error}") from error
    if about.format != FORMAT:
        raise BankError(f"{file}: format {about.format}; this program reads {FORMAT}")
    if about.places not in ("none", "townships", "villages"):
        raise BankError(f"{file}: places is {about.places!r}; use none, townships or villages")
    check_key(about.language.lower())
    return about


def about_text(about: About) -> str:
    """``bank.toml`` of a new bank. Raises BankError for a name that no file can hold."""
    for value in (about.announcer, about.consent, about.county, *about.issuers, *about.hazards):
        if _unreadable(value) or len(value) > 2_000:
            raise BankError(f"{value[:80]!r}: give one line of printable text")
    rows = [f"format = {about.format}"]
    for name in ("language", "announcer", "consent", "county", "places"):
        rows.append(f"{name} = {json.dumps(getattr(about, name), ensure_ascii=False)}")
    for name in ("hazards", "issuers"):
        rows.append(f"{name} = {json.dumps(list(getattr(about, name)), ensure_ascii=False)}")
    for name in ("times", "synthetic"):
        rows.append(f"{name} = {'true' if getattr(about, name) else 'false'}")
    return "\n".join(rows) + "\n"


def _unreadable(text: str) -> bool:
    """Controls and halves of characters. Mongolian and Uyghur need invisible joiners: those are welcome."""
    return any(unicodedata.category(c) in ("Cc", "Cs", "Cn") for c in text)


def read_lines(folder: Path) -> list[Line]:
    """``lines.csv``, as a spreadsheet may have left it: UTF-8 or GB 18030. Raises BankError with its line."""
    file = folder / "lines.csv"
    try:
        data = file.read_bytes()
    except OSError as error:
        raise BankError(f"{file}: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("gb18030")
        except UnicodeDecodeError as error:
            raise BankError(f"{file}: neither UTF-8 nor GB 18030; save it as CSV UTF-8") from error
    rows = csv.DictReader(io.StringIO(text, newline=""), restkey="more", restval="", strict=True)
    out: dict[str, Line] = {}
    try:
        if not {"key", "text"} <= set(rows.fieldnames or ()):
            raise BankError(f"{file}: the first line must name the columns {', '.join(COLUMNS)}")
        for row in rows:
            where = f"{file}:{rows.line_num}"
            line = Line(*(re.sub(r"[ \t\r\n]+", " ", row.get(name) or "").strip(" ") for name in COLUMNS))
            if not any((line.key, line.text, line.zh)):
                continue
            if "more" in row:
                raise BankError(f"{where}: more cells than columns; put text with commas into quotes")
            if _unreadable(line.text) or len(line.text) > MAX_WORDS:
                raise BankError(
                    f"{where}: the text of {line.key[:80]} is no line of at most {MAX_WORDS} characters"
                )
            if line.key in out:
                raise BankError(f"{where}: key {line.key[:80]} stands twice")
            try:
                out[check_key(line.key)] = line
            except BankError as error:
                raise BankError(f"{where}: {error}") from None
    except csv.Error as error:
        raise BankError(f"{file}:{rows.line_num}: {error}") from error
    return list(out.values())


def lines_text(lines: Sequence[Line]) -> bytes:
    """``lines.csv``, marked as UTF-8 so that a spreadsheet opens it as that."""
    out = io.StringIO(newline="")
    table = csv.writer(out)
    table.writerow(COLUMNS)
    table.writerows([line.key, line.text, line.zh, line.slots, line.note] for line in lines)
    return out.getvalue().encode("utf-8-sig")


def read_ledger(folder: Path) -> Ledger:
    """Raises BankError for one that is damaged: it is never begun anew over recordings that are there."""
    file = folder / "bank.json"
    try:
        if file.stat().st_size > MAX_LEDGER:
            raise BankError(f"{file}: larger than {MAX_LEDGER // 1_000_000} MB; restore it")
        ledger = msgspec.json.decode(file.read_bytes(), type=Ledger)
    except (OSError, msgspec.DecodeError) as error:
        raise BankError(f"{file}: {error}; restore it from a backup") from error
    for key, entry in ledger.entries.items():
        check_key(key)
        for take in entry.takes:
            below(folder / "originals", take.file)
        for clip in (entry.clip, entry.approval.clip if entry.approval else None):
            if clip is not None:
                below(folder / "clips", clip.file)
    for name in ledger.sessions.values():
        below(folder / "originals", name)
    return ledger


def ledger_text(ledger: Ledger) -> bytes:
    return msgspec.json.format(msgspec.json.encode(ledger), indent=1)
