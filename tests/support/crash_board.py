"""`python crash_board.py PLACE:WHEN:NTH --state … run …`: the real `fenghuo-terminal`, which kills itself
(SIGKILL) before or after the NTH call of one of the places below. ``never`` runs it unharmed."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

from terminals.agent.clips import ClipStore
from terminals.agent.core import Core
from terminals.agent.host import Host
from terminals.agent.link import Link
from terminals.agent.state import StateFolder

PLACES: dict[str, tuple[type, str]] = {
    "Core.command": (Core, "command"),
    "StateFolder.save": (StateFolder, "save"),
    "ClipStore.keep": (ClipStore, "keep"),
    "Host.sound": (Host, "_sound"),
    "Host.told": (Host, "_told"),
    "Link.send": (Link, "send"),
}


def arm(place: str, when: str, nth: int) -> None:
    owner, name = PLACES[place]
    real: Callable[..., Any] = getattr(owner, name)
    calls = count(1)

    @functools.wraps(real)
    def armed(*args: Any, **kwargs: Any) -> Any:
        now = next(calls) == nth
        if now and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **kwargs)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, armed)


if __name__ == "__main__":
    point = sys.argv.pop(1)
    if point != "never":
        place, when, nth = point.split(":")
        arm(place, when, int(nth))
    from terminals.agent.program import main

    sys.exit(main())
