"""Where words go: data to stdout, talk to stderr. Text from outside never steers the terminal."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import IO, TYPE_CHECKING, Any, Final

from controller.cli.outcome import ReaderGone

if TYPE_CHECKING:
    from rich.console import Console

BEIJING: Final = timezone(timedelta(hours=8))
# Controls (escape sequences among them) and the marks that reverse the direction of writing.
_STEERING: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(value: Any) -> Any:
    """`value` with the control characters in all its text replaced by ``�``."""
    if isinstance(value, str):
        return _STEERING.sub("�", value)
    if isinstance(value, Mapping):
        return {clean(k): clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [clean(v) for v in value]
    return value


def data(text: str) -> None:
    """One or more lines of data. Raises ReaderGone."""
    _write(sys.stdout, clean(text) + "\n")


def data_json(value: Any, *, indent: int | None = 2) -> None:
    """`indent` None: one line, for a stream of values. Raises ReaderGone."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # JSON itself escapes only what lies below U+0020: U+009B steers a terminal as ESC [ does.
    _write(sys.stdout, _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def talk(text: str) -> None:
    """A line for the person at the terminal."""
    _write(sys.stderr, clean(text) + "\n")


def bell() -> None:
    """Rings the terminal."""
    _write(sys.stderr, "\a")


def show(renderable: Any, *, err: bool = False) -> None:
    """Something made of rich: to stdout as data, or with `err` to stderr as talk. Raises ReaderGone."""
    out = console(err=err)
    with out.capture() as capture:
        out.print(renderable)
    _write(sys.stderr if err else sys.stdout, capture.get())


def console(*, err: bool) -> Console:
    """A terminal's own width; 120 columns where the output is no terminal."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else 120
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=width)


def at_terminal() -> bool:
    """Whether somebody can read a question and answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def clock(iso: str | None) -> str:
    """An ISO time of the API as date and time in Beijing; a dash for None."""
    if iso is None:
        return "—"
    return f"{datetime.fromisoformat(iso).astimezone(BEIJING):%Y-%m-%d %H:%M:%S}"


def minute(iso: str | None) -> str:
    """The same without year and seconds, for a table whose other columns matter more."""
    return "—" if iso is None else clock(iso)[5:16]


def _write(stream: IO[str], text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # What is still buffered would complain again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise ReaderGone from None
