"""`docs/lessons.md` and the tree say the same: each lesson has its row, each test that is named is there."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import pytest

from support.named_tests import REPO, TESTS, is_there

PAGE = REPO / "docs" / "lessons.md"
NUMBERS = {"§9": 17, "§10": 32}
"""Rows of the two lists in the collection of field experience."""
TEST = re.compile(r"`(tests/[\w/]+\.py::\w+)`")
MISSING = re.compile(r"(?:^|; )(later|open): (.+?)(?=; (?:later|open): |$)")


@dataclass(frozen=True)
class Row:
    number: int
    wrong: str
    rule: str
    held_by: str

    @property
    def tests(self) -> list[str]:
        return TEST.findall(self.held_by)

    @property
    def missing(self) -> list[tuple[str, str]]:
        return MISSING.findall(self.held_by)

    @property
    def rest(self) -> str:
        """What is neither a test nor said to be missing."""
        return MISSING.sub("", TEST.sub("", self.held_by)).strip(", ;")


def rows(section: str) -> list[Row]:
    text = PAGE.read_text(encoding="utf-8")
    _, found, after = text.partition(f"\n## {section} ")
    assert found, f"no section {section}"
    lines = [line for line in after.partition("\n## ")[0].splitlines() if re.match(r"\| *\d", line)]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert all(len(row) == 4 for row in cells), [row[:2] for row in cells if len(row) != 4]
    return [Row(int(row[0]), row[1], row[2], row[3]) for row in cells]


ALL = [pytest.param(row, id=f"{section}-{row.number}") for section in NUMBERS for row in rows(section)]


@pytest.mark.parametrize("section", NUMBERS)
def test_every_lesson_has_one_row_and_they_are_in_order(section: str) -> None:
    assert [row.number for row in rows(section)] == list(range(1, NUMBERS[section] + 1))


@pytest.mark.parametrize("row", ALL)
def test_a_row_says_in_few_words_what_went_wrong_and_what_holds(row: Row) -> None:
    assert 3 <= len(row.wrong.split()) <= 5, row.wrong
    assert row.rule.endswith(".")
    assert row.tests or row.missing, "no test, and not said what is missing"
    assert row.rest == "", "neither a test nor what is missing"
    assert [test for test, times in Counter(row.tests).items() if times > 1] == []
    assert all(len(what) > 5 for _, what in row.missing)


@pytest.mark.parametrize("row", ALL)
def test_every_test_that_a_row_names_is_there(row: Row) -> None:
    assert [test for test in row.tests if not is_there(test)] == []


def test_a_test_that_says_which_lesson_it_holds_is_in_the_row_of_that_lesson() -> None:
    """So that the page does not fall behind the tests."""
    forgotten = []
    for section in NUMBERS:
        listed = {row.number: {test.partition("::")[0] for test in row.tests} for row in rows(section)}
        for path in sorted(TESTS.rglob("test_*.py")):
            name = path.relative_to(REPO).as_posix()
            if name == "tests/unit/test_lessons_table.py":
                continue
            said = re.findall(rf"{section} #(\d+)", path.read_text(encoding="utf-8"))
            forgotten += [f"{name}: {section} #{n}" for n in sorted(set(said)) if name not in listed[int(n)]]
    assert forgotten == []
