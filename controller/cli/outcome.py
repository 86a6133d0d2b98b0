"""How a command ends: the documented exit codes, and the one exception for what the world did wrong."""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class Code(IntEnum):
    """Exit codes; in the help and in docs/cli.md."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    CONFIG = 3
    UNREACHABLE = 4
    PARTLY = 5
    REFUSED = 6


class Failure(Exception):
    """Ends the command with `code`. `lines` are for the operator, `data` goes into the JSON beside them."""

    def __init__(self, code: Code, *lines: str, **data: Any) -> None:
        super().__init__("\n".join(lines))
        self.code = code
        self.lines = lines
        self.data = data


class ReaderGone(Exception):
    """Whoever read our output went away (``fenghuo … | head``); not an error."""
