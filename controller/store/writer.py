"""The store's one writer: a thread that always does the most urgent of what waits, equals in their order.

An urgent plan so waits for the one transaction that is under way, never for all that was asked for before it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from enum import IntEnum
from itertools import count
from typing import TypeVar

T = TypeVar("T")


class Urgency(IntEnum):
    """Smaller goes first."""

    SOUND = 0
    """A sound waits for it: plans, decisions, counters with their commands."""
    WORD = 1
    """What terminals and operators say, and how broadcasts stand."""
    RECORD = 2
    """Rows that follow from what is stored already."""


class Writer:
    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, name)
        self._waiting: queue.PriorityQueue[tuple[Urgency, int, Callable[[], None]]] = queue.PriorityQueue()
        self._number = count()
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, urgency: Urgency, work: Callable[[], T]) -> Future[T]:
        """Raises RuntimeError after `shutdown`."""
        done: Future[T] = Future()

        def carry_out() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it goes on where it was asked for
                done.set_exception(error)
            else:
                done.set_result(result)

        # One turn of the thread for each; which of them it does in that turn is decided when it comes.
        with self._lock:
            if self._closed:
                raise RuntimeError("the store is closed")
            self._waiting.put((urgency, next(self._number), carry_out))
            self._pool.submit(self._next)
        return done

    def _next(self) -> None:
        self._waiting.get_nowait()[2]()

    def shutdown(self) -> None:
        """Waits for all that was asked for."""
        with self._lock:
            self._closed = True
        self._pool.shutdown()
