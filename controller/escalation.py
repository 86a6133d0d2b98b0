"""A hold is loud until answered: a hook every minute for each held alert, and a metric. Bells ring in the
operators' open CLIs, which hear of it through the API's event stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from controller.clock import wall_ms
from controller.desk import Desk
from controller.metrics import Metrics
from controller.store import Store, StoreError
from controller.store.records import AlertState

log = logging.getLogger(__name__)

EVERY_MS: Final = 60_000
# An SMS gateway that takes longer is hanging; the next minute tries again.
HOOK_TIMEOUT_S: Final = 30.0
STORE_PAUSE_S: Final = 10.0


async def ring(
    store: Store, desk: Desk, metrics: Metrics, hook: Sequence[str] | None, alarm: Callable[[str], None]
) -> None:
    """Until cancelled. `hook`: program and arguments, ``{alert}`` replaced by the id; no shell."""
    rung: dict[str, int] = {}
    while True:
        now = wall_ms()
        try:
            held = await store.alerts(state=AlertState.HELD)
        except StoreError as error:
            alarm(str(error))
            await asyncio.sleep(STORE_PAUSE_S)
            continue
        metrics.held.set(len(held))
        metrics.held_longest.set(max(((now - h.created) / 1000 for h in held), default=0))
        rung = {h.id: rung[h.id] for h in held if h.id in rung}
        for alert in held:
            if now - rung.get(alert.id, 0) >= EVERY_MS:
                rung[alert.id] = now
                minutes = (now - alert.created) // 60_000
                log.warning(
                    "%s waits for an operator, %d min: %s (%s)",
                    alert.id,
                    minutes,
                    alert.headline,
                    alert.reason,
                )
                if hook is not None:
                    problem = await _run([word.replace("{alert}", alert.id) for word in hook])
                    if problem:
                        alarm(f"hold_hook for {alert.id}: {problem}")
        due = min((rung[h.id] + EVERY_MS for h in held), default=now + EVERY_MS)
        await desk.wait_changed(max(0.05, (due - wall_ms()) / 1000))


async def _run(command: Sequence[str]) -> str:
    """What went wrong, or nothing."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        return f"{command[0]} could not be run: {error.strerror}"
    try:
        async with asyncio.timeout(HOOK_TIMEOUT_S):
            code = await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"{command[0]} took longer than {HOOK_TIMEOUT_S:.0f} s"
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return f"{command[0]} ended with {code}" if code else ""
