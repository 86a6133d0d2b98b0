"""HTTP for a network on which anybody may connect: who is slow to ask or slow to take loses the connection.

uvicorn waits for a request for ever, and for ever until an answer is taken (slow-loris); and it accepts until
no file descriptor is left, with which the store and the broker's connection are lost too.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

REQUEST_S: Final = 15.0
"""A request is whole within this time from the connection, or from the answer before it."""
ANSWER_S: Final = 600.0
"""Its answer is taken within this time; 300 KB at 4 kbit/s. A terminal goes on where it broke."""
STALL_S: Final = 30.0
"""Somebody who takes nothing at all for so long is gone."""

# "Invalid HTTP request" from a stranger is no news for the county's log; an exception of ours is.
_LOG: Final = logging.getLogger("controller.web.village")
_LOG.setLevel(logging.ERROR)


def most_connections() -> int:
    """Half of the file descriptors that this process may have: the rest is for what the county lives by."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, soft // 2)


class Wary(H11Protocol):
    """uvicorn's protocol, with deadlines and a limit. When there are too many connections, the one goes that
    has owed us its request for longest; only where none owes any, the new one."""

    most = 0
    """Connections at a time; 0: `most_connections()`. Set by tests."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _LOG
        self._watch: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        # One mapping for each server: its state is the one thing that its connections share.
        self._owing: dict[Wary, None] = self.server_state.__dict__.setdefault("owing", {})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > (self.most or most_connections()):
            next(iter(self._owing), self)._drop()
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owing.pop(self, None)
        for timer in (self._watch, self._stalled):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if self in self._owing and cycle is not None and not cycle.more_body and not cycle.response_complete:
            del self._owing[self]
            self._until(ANSWER_S)

    def on_response_complete(self) -> None:
        self._expect()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(STALL_S, self._drop)

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    def _expect(self) -> None:
        self._owing.pop(self, None)
        self._owing[self] = None
        self._until(REQUEST_S)

    def _until(self, seconds: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self.loop.call_later(seconds, self._drop)

    def _drop(self) -> None:
        self._owing.pop(self, None)
        self.transport.abort()
