"""Following a broadcast to its end: events from the controller into a live picture, or into lines of JSON."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from controller.cli import say, words
from controller.cli.client import Client, Lost
from controller.cli.outcome import Code, Failure
from controller.cli.words import w

_TRIES: Final = 60
_AGAIN_S: Final = 1.0


def follow(client: Client, broadcast: str, *, as_json: bool) -> dict[str, Any]:
    """Until every outcome is known; returns the last summary. The live picture goes to stderr; with
    `as_json` each event is a line on stdout instead. Raises Failure."""
    if as_json:
        return _until_finished(
            client,
            broadcast,
            lambda name, data: say.data_json({"event": name, "data": data}, indent=None),
        )
    from controller.cli.view import Watch

    with Watch(say.console(err=True), words.lang()) as watch:
        return _until_finished(client, broadcast, watch.event)


def code_of(summary: dict[str, Any]) -> Code:
    """0 when every targeted terminal played, else 5."""
    total = summary["total"]
    return Code.DONE if total["played"] == total["targeted"] > 0 else Code.PARTLY


def finished(summary: dict[str, Any]) -> bool:
    """Whether the controller expects nothing more for now (as its event stream ends by)."""
    return summary["waiting"] == 0 and (
        summary["voiced"] is not None or summary["state"] in ("done", "stopped", "superseded")
    )


def _until_finished(client: Client, broadcast: str, event: Callable[[str, Any], None]) -> dict[str, Any]:
    """The controller may be restarted while we look; it goes on, so do we."""
    failure = Failure(Code.UNREACHABLE, w("watch_lost", broadcast=broadcast))
    seen = False
    for _ in range(_TRIES):
        try:
            for name, data in client.events(f"/v1/broadcasts/{broadcast}/watch"):
                event(name, data)
                if name == "summary":
                    seen = True
                    if finished(data):
                        return dict(data)
        except Lost:
            say.talk(w("stream_lost"))
        except Failure as error:
            if not seen or error.code is not Code.UNREACHABLE or "status" in error.data:
                raise
            failure = error
        time.sleep(_AGAIN_S)
    raise failure
