"""The tasks of a test."""

from __future__ import annotations

import asyncio
from typing import Any


async def ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancels until they are over. `asyncio.wait_for` of Python 3.11, in which aiomqtt publishes and
    subscribes, swallows a cancellation that comes in the tick of the answer: the task then listens on."""
    while alive := [task for task in tasks if not task.done()]:
        for task in alive:
            task.cancel()
        await asyncio.wait(alive, timeout=1)
