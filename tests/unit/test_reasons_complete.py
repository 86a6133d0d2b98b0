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
    "controller/brokers.py": "configuration of a broker",
    "controller/cli/help.py": "translates what typer says",
    "controller/cli/reference.py": "writes docs/cli.md",
    "controller/cli/words.py": "worded in both languages itself",
    "controller/map.py": "SVG, and its own words in both languages",
    "controller/metrics.py": "help texts of Prometheus",
    "controller/store/migrations": "SQL",
    "controller/store/tables.py": "SQL",
    "terminals/agent/control.py": "read at the terminal, by whoever stands there",
    "terminals/agent/files.py": "read at the terminal, by whoever stands there",
    "terminals/agent/link.py": "read at the terminal, by whoever stands there",
    "terminals/agent/post.py": "read at the terminal, by whoever stands there",
    "terminals/certificate.py": "read at the terminal, by whoever stands there",
    "terminals/agent/program.py": "read at the terminal, by whoever stands there",
    "terminals/agent/settings.py": "read at the terminal, by whoever stands there",
    "terminals/agent/state.py": "read at the terminal, by whoever stands there",
    "tts/floor/make.py": "run by a developer",
    "simulators/hum.py": "what a drill's voice answers to our own program",
    "simulators/chaos.py": "details of a drill's log; the sheet is worded in both languages",
    "tts/worker.py": "another process; its words reach logs only",
    "simulators/broker.py": "configuration of a broker",
    "simulators/dialects.py": "documents of simulated sources",
    "simulators/mqtt_lite.py": "what a simulated terminal logs",
}


UNSEEN_TEXTS: Final = {
    "fenghuo (county emergency broadcast)": "a User-Agent",
    "Bearer 7": "a header",
    "cpeas geographic code": "a value name of CAP",
    "PRIVATE KEY-----": "what is searched for",
    "Fenghuo county.yaml": "a title in the JSON schema",
    "Fenghuo terminals": "a title in OpenAPI",
    "The county's warning desk. Every call needs an operator's token.": "a description in OpenAPI",
    "resourceDesc mimeType size uri derefUri digest": "elements of CAP",
    "areaDesc polygon circle geocode altitude ceiling": "elements of CAP",
    "valueName value": "elements of CAP",
    "Fenghuo 7 7": "the name of an authority",
    "7 clear 7": "a line of a key file",
    "7 scrypt:7:7 7": "a line of a key file",
}
GLUE: Final = frozenset(("7 is 7", "7 of 7", " of 7", "7 to 7", "there is no 7", "read as 7: "))
"""What joins parts that are never shown alone: the catalogue has an entry for each whole."""


def _unseen(file: str) -> bool:
    return any(file.startswith(known) for known in UNSEEN_FILES)


ELSEWHERE: Final = tuple(
    f"# --- {head}"
    for head in ("words that fill", "what machines say", "CAP", "what the API says", "put together")
)
"""Sections of the catalogue with words that come from others, or are put together."""

_WORD: Final = re.compile("[A-Za-z]{2,}")
_CLAUSE: Final = re.compile("[,;:()“”\0]")
_SENTENCE: Final = re.compile("[A-Za-z7],? [A-Za-z(7]")
_IDENTIFIER: Final = re.compile(r"\S*[/_\[\]<>@=\\]\S*|\b\w+\.\w+\b|--\w+|`[^`]*`")
_MACHINE_TEXT: Final = re.compile(
    "(INSERT|UPDATE|SELECT|DELETE|PRAGMA) |# |identifier sender|language category|bold |  - {name: "
    "|(fenghuo|make|pip|apt-get|python3.11|systemctl|journalctl|timedatectl|ulimit) "
)
"""SQL, comments of files that we write, elements of CAP, styles, YAML and commands for the shell."""
_LOGS: Final = frozenset(("debug", "info", "warning", "error", "exception", "critical", "log"))


def sources() -> list[Path]:
    found = (path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
    return sorted(path for path in found if not _unseen(path.relative_to(ROOT).as_posix()))


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of every text that somebody may read; 7 stands for what is filled in."""
    match tree:
        case ast.Expr(value=ast.Constant()) | ast.Assert() | ast.Compare():
            return
        case ast.AnnAssign(
            target=ast.Name(id="_WORDS" | "_CONFIG")
        ):  # the demo's: in both languages, and YAML
            return
        case ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "logger"), attr=attr)) if attr in _LOGS:
            return
        case ast.Call(func=ast.Attribute(value=ast.Name(id="re"))):
            return
        case ast.Call(func=ast.Attribute(attr="ArgumentParser" | "add_argument")):
            return
        case ast.Constant(value=str() as text):
            yield tree.lineno, text
        case ast.JoinedStr(values=values):
            parts = (v.value if isinstance(v, ast.Constant) else "7" for v in values)
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
    return [word for word in _WORD.findall(left) if word not in intended]


def shown(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every line of a text in `path` that an operator may read."""
    for line, text in texts(ast.parse(path.read_text(encoding="utf-8"))):
        for part in text.splitlines():
            kept = not (part in UNSEEN_TEXTS or part in GLUE or _MACHINE_TEXT.match(part))
            if kept and _SENTENCE.search(part) and _WORD.search(_IDENTIFIER.sub("", part)):
                yield line, part


@pytest.fixture(scope="module")
def intended() -> frozenset[str]:
    pairs = reasons.entries(reasons.CATALOGUE.read_text(encoding="utf-8"))
    return frozenset(word for pair in pairs for word in _WORD.findall(pair.chinese))


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_text_of_a_module_has_its_chinese(path: Path, intended: frozenset[str]) -> None:
    missing = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}: {' '.join(words)}"
        for line, text in shown(path)
        if (words := untranslated(text.strip(), intended))
    ]
    assert not missing, "give these their Chinese in controller/cli/reasons.zh.txt:\n" + "\n".join(missing)


@pytest.mark.parametrize(
    "line",
    [
        'raise AlertError(path, f"is {size} feet tall", "make it smaller")',
        'problems.append(f"{village} sleeps too deeply")',
        'text += f"; the {kind} speaks of {thing} and of nothing else"',
        'where = "beyond the hills" if far else ""',
    ],
)
def test_a_new_text_is_found(line: str, intended: frozenset[str]) -> None:
    found = [text for _, text in texts(ast.parse(line)) if _SENTENCE.search(text)]
    assert any(untranslated(text, intended) for text in found)


@pytest.mark.parametrize(
    "line",
    ['log.info("%s waits for an operator", alert)', 're.compile("one or two words")', '"""A docstring."""'],
)
def test_what_no_operator_reads_is_left_alone(line: str) -> None:
    assert not list(texts(ast.parse(line)))


def test_no_entry_outlives_its_text() -> None:
    source = reasons.CATALOGUE.read_text(encoding="utf-8")
    ours = "".join(part for part in re.split(r"(?m)^(?=# --- )", source) if not part.startswith(ELSEWHERE))
    files = [*sources(), ROOT / "controller" / "cli" / "words.py"]
    written = "\n".join(
        text for path in files for _, text in texts(ast.parse(path.read_text(encoding="utf-8")))
    )
    dead = [
        entry.english
        for entry in reasons.entries(ours)
        if (clauses := [c for c in _CLAUSE.split("\0".join(entry.fixed)) if " " in c.strip()])
        and not any(clause.strip() in written for clause in clauses)
    ]
    assert not dead, "nobody says these any more:\n" + "\n".join(dead)
