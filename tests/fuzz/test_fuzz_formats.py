"""A few seconds of fuzzing for each parser; `make fuzz` runs for minutes."""

from __future__ import annotations

import random

import pytest
from fuzz.harness import Parser, Result, attempt, fuzz, mutate, parsers, unfit

from alerts.model import AlertError

RUNS = 400
SHARED = ("national", "lint", "signature")
"""Their monsters are those of ``cap`` and ``containers``, read by the same code."""


@pytest.mark.parametrize("parser", parsers(), ids=lambda parser: parser.name)
def test_nothing_but_a_result_or_a_named_error_ever_comes_out(parser: Parser) -> None:
    result = fuzz(parser, lambda so_far: so_far.runs < RUNS, with_monsters=parser.name not in SHARED)
    assert [(what, body[:300]) for what, body in result.findings] == []
    assert result.runs >= RUNS
    assert result.taken > 0, "a fuzzer whose seeds are all refused tests nothing"


def test_the_harness_finds_what_it_looks_for() -> None:
    def parser(read: object) -> Parser:
        return Parser("x", read, (b"a",), xml=False)  # type: ignore[arg-type]

    def raises(error: Exception) -> object:
        def read(_: bytes) -> None:
            raise error

        return read

    for read, said in (
        (raises(KeyError("k")), "KeyError"),
        (raises(RecursionError()), "RecursionError"),
        (raises(AlertError("", "")), "without place"),
        (lambda _: float("nan"), "nan"),
        (lambda _: ["\ud800"], "surrogate"),
    ):
        result = Result("x")
        attempt(parser(read), b"a", result)
        assert said in result.findings[0][0]
    result = Result("x")
    attempt(parser(raises(AlertError("document", "is bad"))), b"a", result)
    assert result.findings == []
    assert unfit((1.0, {"a": ["b"]})) == ""


def test_mutations_repeat_by_their_seed_and_change_most_inputs() -> None:
    seed = parsers()[0].seeds[0]

    def made(number: int) -> bytes:
        return mutate(seed, (seed,), random.Random(number), markup=True)

    assert [made(number) for number in range(50)] == [made(number) for number in range(50)]
    assert sum(made(number) != seed for number in range(50)) > 40
