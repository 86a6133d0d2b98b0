"""The tests of this tree by their names, read from their files without running them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]
REPO = TESTS.parent


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def tests_of(path: Path) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Test functions of one file by their name, as pytest collects them."""
    return {
        node.name: node
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_files() -> list[Path]:
    return sorted(TESTS.rglob("test_*.py"))


def is_there(reference: str) -> bool:
    """Whether ``tests/…/test_file.py::test_name`` names a test that pytest would run."""
    file, _, name = reference.partition("::")
    path = REPO / file
    return path.is_file() and path.is_relative_to(TESTS) and name in tests_of(path)
