"""`python saboteur.py HOW serve …`: the real program with one promise broken on purpose. The chaos drill must
find it out."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from controller import dispatch
from controller.dispatch import Dispatcher
from terminals import delivery
from terminals.delivery import FactKey, FactValue, State


async def no_stop(self: Dispatcher, broadcast: str, entry: Any) -> Any:
    """A stop that stops nothing."""
    return self.runs[broadcast]


_fold = delivery.fold


def boast(facts: Any, new: Iterable[tuple[FactKey, FactValue]]) -> dict[FactKey, FactValue]:
    """Whatever began counts as heard to its end."""
    told = list(new)
    more = [((a, State.PLAYED, ""), value) for (a, state, _), value in told if state is State.PLAYING]
    return _fold(facts, [*told, *more])


if __name__ == "__main__":
    how = sys.argv.pop(1)
    if how == "no_stop":
        Dispatcher.stop = no_stop  # type: ignore[method-assign]
    elif how == "boast":
        dispatch.delivery.fold = boast  # type: ignore[assignment]
    else:
        assert how == "honest", how
    from controller.cli import main

    sys.exit(main())
