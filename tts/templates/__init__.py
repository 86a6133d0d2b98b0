"""The templates that ship with the program, and a county's own words over them, read from TOML.
`tts.structure` and `tts.phrases` themselves read nothing.

``zh.toml`` is the structure and the Mandarin; ``bo.toml`` and its neighbours are phrasebooks. A county's
folder has phrasebooks only, ``zh.toml`` included.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

from tts import files
from tts.phrases import LANGUAGES, MANDARIN, Phrasebook, PhraseError, parse_phrasebook
from tts.structure import ScriptError, Templates, parse_templates

MAX_BYTES: Final = 4 << 20
_TAG: Final = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}")


def load(language: str = MANDARIN, county: Sequence[Path] = ()) -> Templates:
    """The templates of `language`: shipped, with the words in the county's folders over them, the last folder
    uppermost. Raises ScriptError if there are none or they are malformed."""
    mandarin = _mandarin()
    own_books = [book for folder in county if (book := own(folder, language)) is not None]
    if language == MANDARIN:
        base = mandarin.book
    elif language in LANGUAGES:
        base = shipped(language)
    elif own_books:
        base = Phrasebook(language, "", {})
    else:
        raise ScriptError(
            f"no templates for language {language!r}; {', '.join(LANGUAGES)} are shipped, and a county can "
            "add its own"
        )
    for book in own_books:
        base = base.under(book)
    return mandarin.spoken_in(base)


def load_all(county: Sequence[Path] = ()) -> dict[str, Templates]:
    """The templates of every language that is shipped or that the county has. Raises ScriptError."""
    tags = list(LANGUAGES)
    for folder in county:
        if folder.is_dir():
            tags += [file.stem for file in sorted(folder.glob("*.toml"))]
    return {tag: load(tag, county) for tag in dict.fromkeys(tags)}


def shipped(language: str) -> Phrasebook:
    """The drafts that come with the program. Raises ScriptError."""
    file = resources.files("tts.templates") / f"{language}.toml"
    return _book(
        _parsed(file.read_bytes(), f"tts/templates/{language}.toml"),
        f"tts/templates/{language}.toml",
        language,
    )


def own_file(folder: Path, language: str) -> Path:
    """Where a county's words of `language` stand."""
    if not _TAG.fullmatch(language):
        raise ScriptError(f"{language!r} is no language tag such as bo")
    return folder / f"{language}.toml"


def keep(folder: Path, book: Phrasebook) -> Path:
    """Writes a county's words, whole or not at all, and returns the file. Raises ScriptError where they could
    not be read again, and OSError."""
    target = own_file(folder, book.language)
    out = [
        "# The county's own words. Written by fenghuo tts sheet; may be edited. status: draft, reviewed or",
        "# approved, the last two with by and on.",
        f"language = {_quoted(book.language)}",
        f"version = {_quoted(book.version)}",
    ]
    for zh, line in book.lines.items():
        out += ["", "[[lines]]", f"zh = {_quoted(zh)}", f"text = {_quoted(line.text)}"]
        out += [f"status = {_quoted(line.status.value)}"]
        out += [f"by = {_quoted(line.by)}"] if line.by else []
        out += [f"on = {line.on.isoformat()}"] if line.on else []
        out += [f"note = {_quoted(line.note)}"] if line.note else []
    text = "\n".join(out) + "\n"
    _book(_parsed(text.encode(), str(target)), str(target), book.language)
    files.write(target, text.encode())
    return target


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _mandarin() -> Templates:
    file = resources.files("tts.templates") / "zh.toml"
    return parse_templates(_parsed(file.read_bytes(), "tts/templates/zh.toml"), where="tts/templates/zh.toml")


def own(folder: Path, language: str) -> Phrasebook | None:
    """A county's own words; None where it has none. Raises ScriptError."""
    file = own_file(folder, language)
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ScriptError(f"{file}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise ScriptError(f"{file}: is larger than {MAX_BYTES >> 20} MiB")
    return _book(_parsed(data, str(file)), str(file), language)


def _book(data: dict[str, Any], where: str, language: str) -> Phrasebook:
    try:
        book = parse_phrasebook(data, where=where)
    except PhraseError as error:
        raise ScriptError(str(error)) from error
    if book.language != language:
        raise ScriptError(f"{where}: language is {book.language!r}, but the file is named for {language!r}")
    return book


def _parsed(data: bytes, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ScriptError(f"{where}: is not UTF-8; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ScriptError(f"{where}: {error}") from None
