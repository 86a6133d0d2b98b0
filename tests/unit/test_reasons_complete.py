"""Every English text that the program can show to an operator has its Chinese in `reasons.zh.txt`.

The sources are read, not run: each text of more than one word in them is taken as something that somebody may
come to read, unless it stands where nobody does (docstrings, logs, SQL, patterns, `UNSEEN`). Whoever adds a
text finds it here until it has its Chinese.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from controller.cli import reasons

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("alerts", "terminals", "tts", "config", "controller", "simulators")
UNSEEN_FILES: Final = {
    "alerts/hazards.py:HAZARDS": "names: the catalogue has both languages",
    "controller/cli": "worded in both languages in words.py",
    "controller/demo.py": "worded in both languages itself",
    "controller/map.py": "SVG, and its own words in both languages",
    "controller/metrics.py": "help texts of Prometheus",
    "controller/store/migrations": "SQL",
    "controller/store/tables.py": "SQL",
    "tts/floor/make.py": "run by a developer",
    "tts/worker.py": "another process; its words reach logs only",
    "simulators/broker.py": "configuration of a broker",
    "simulators/dialects.py": "documents of simulated sources",
    "simulators/mqtt_lite.py": "what a simulated terminal logs",
}


def _unseen(file: str) -> bool:
    return any(file.startswith(known) for known in UNSEEN_FILES)


_SENTENCE: Final = re.compile("[A-Za-z甲],? [A-Za-z(甲]")
_IDENTIFIER: Final = re.compile(r"\S*[/_\[\]<>@=\\]\S*|\b\w+\.\w+\b|--\w+|`[^`]*`")
_LOGS: Final = frozenset(("debug", "info", "warning", "error", "exception", "critical", "log"))
_MACHINE: Final = frozenset(
    ("compile", "match", "fullmatch", "search", "finditer", "findall", "sub", "split", "execute", "text", "getLogger")
)


def sources() -> list[Path]:
    found = (path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
    return sorted(path for path in found if not _unseen(path.relative_to(ROOT).as_posix()))


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of every text that somebody may read; 甲 stands for what is filled in."""
    match tree:
        case ast.Expr(value=ast.Constant()) | ast.Assert() | ast.Compare():
            return
        case ast.Call(func=ast.Attribute(value=value, attr=attr)) if (
            (attr in _LOGS and "log" in ast.unparse(value).lower())
            or (attr in _MACHINE and not isinstance(value, ast.JoinedStr))
        ):
            for argument in (*tree.args, *(k.value for k in tree.keywords)) if attr not in _LOGS | _MACHINE else ():
                yield from texts(argument)
            return
        case ast.Call(func=ast.Attribute(attr="ArgumentParser" | "add_argument")):
            return
        case ast.Constant(value=str() as text):
            yield tree.lineno, text
        case ast.JoinedStr(values=values):
            parts = (v.value if isinstance(v, ast.Constant) else "甲" for v in values)
            yield tree.lineno, "".join(str(part) for part in parts)
            for value in values:
                if isinstance(value, ast.FormattedValue):
                    yield from texts(value.value)
        case _:
            for child in ast.iter_child_nodes(tree):
                yield from texts(child)


def untranslated(text: str, intended: frozenset[str]) -> list[str]:
    """The English words of `text` that are left in its Chinese and that no Chinese text means to keep."""
    left = _IDENTIFIER.sub("", reasons.chinese(text))
    return [word for word in re.findall("[A-Za-z]{2,}", left) if word not in intended]


@pytest.fixture(scope="module")
def intended() -> frozenset[str]:
    pairs = reasons.entries(reasons.CATALOGUE.read_text(encoding="utf-8"))
    return frozenset(word for pair in pairs for word in re.findall("[A-Za-z]{2,}", pair.chinese))


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_text_of_a_module_has_its_chinese(path: Path, intended: frozenset[str]) -> None:
    missing = []
    for line, text in texts(ast.parse(path.read_text(encoding="utf-8"))):
        for part in text.splitlines():
            if _SENTENCE.search(part) and re.search("[A-Za-z]{2,}", _IDENTIFIER.sub("", part)):
                if words := untranslated(part.strip(), intended):
                    missing.append(f"{path.relative_to(ROOT)}:{line}: {part!r}: {' '.join(words)}")
    assert not missing, "give these their Chinese in controller/cli/reasons.zh.txt:\n" + "\n".join(missing)
