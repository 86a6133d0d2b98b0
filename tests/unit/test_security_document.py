"""docs/security.md promises nothing without a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.named_tests import is_there

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\|(?! promise \||---).*$", PAGE, re.MULTILINE)


def test_there_is_a_promise_against_each_kind_of_enemy() -> None:
    assert len(ROWS) > 35
    for word in ("network", "broker", "stolen terminal", "clip server", "feed"):
        assert re.search(rf"^## .*{word}", PAGE, re.MULTILINE), word


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:60])
def test_a_promise_names_a_test_that_is_there(row: str) -> None:
    named = re.findall(r"`(tests/[^`]+)`", row)
    assert named
    assert [reference for reference in named if not is_there(reference)] == []


def test_other_tests_that_the_page_names_are_there() -> None:
    named = re.findall(r"`(tests/[^`]+::[^`]+)`", PAGE)
    assert len(named) > len(ROWS)
    assert [reference for reference in named if not is_there(reference)] == []
