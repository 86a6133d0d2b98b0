"""A hold is loud until answered: a hook every minute for each held alert, and for each that waits because no
voice says it right; and a metric. Bells ring in the operators' open CLIs, which hear of it through the API's
event stream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Final

from alerts.model import MsgType
from controller.clock import mono_ms, wall_ms
from controller.desk import Desk
from controller.metrics import Metrics
from controller.store import Store, StoreError
from controller.store.records import AlertState

log = logging.getLogger(__name__)

EVERY_MS: Final = 60_000
# An SMS gateway that takes longer is hanging; the next minute tries again.
HOOK_TIMEOUT_S: Final = 30.0
STORE_PAUSE_S: Final = 10.0
# A storm of held warnings must not become a storm of processes.
HOOKS_AT_ONCE: Final = 20


async def ring(
    store: Store, desk: Desk, metrics: Metrics, hook: Sequence[str] | None, alarm: Callable[[str], None]
) -> None:
    """Until cancelled; what expires while it is held is closed, with an alarm. `hook`: program and arguments,
    ``{alert}`` replaced by the id; no shell. Each alert has its own: one that hangs delays no other's. A wall
    clock that is set back silences nothing."""
    rung: dict[str, int] = {}  # when each rang last, by the clock that never jumps
    calling: set[str] = set()
    gate = asyncio.Semaphore(HOOKS_AT_ONCE)

    async def call(command: Sequence[str], alert: str) -> None:
        try:
            async with gate:
                problem = await _run([word.replace("{alert}", alert) for word in command])
        finally:
            calling.discard(alert)
        if problem:
            alarm(f"hold_hook for {alert}: {problem}")

    async with asyncio.TaskGroup() as hooks:
        while True:
            now, wall = mono_ms(), wall_ms()
            try:
                held = await store.alerts(state=AlertState.HELD)
                waiting = await desk.outgoing.doubted()
                # A held Cancel has no end of its own: what it would end may still be sounding.
                over = [h for h in held if h.expires <= wall and h.msg_type != MsgType.CANCEL]
                for alert in over:
                    if await desk.lapse(alert):
                        alarm(f"{alert.id} expired while it waited for an operator; nobody heard it")
            except StoreError as error:
                alarm(str(error))
                await asyncio.sleep(STORE_PAUSE_S)
                continue
            held = [h for h in held if h not in over]
            # What no voice says right waits as a broadcast, and rings under its alert's id.
            doubted = {
                alert.id: (row, alert) for row, alert in waiting if alert.id not in {h.id for h in held}
            }
            metrics.held.set(len(held) + len(doubted))
            metrics.held_longest.set(max(((wall - h.created) / 1000 for h in held), default=0))
            ringing = [*held, *(alert for _, alert in doubted.values())]
            rung = {h.id: rung[h.id] for h in ringing if h.id in rung}
            for alert in ringing:
                if alert.id in rung and now - rung[alert.id] < EVERY_MS:
                    continue
                rung[alert.id] = now
                minutes = (wall - alert.created) // 60_000
                reason = (
                    f"no voice says it right: {doubted[alert.id][0].doubt}"
                    if alert.id in doubted
                    else alert.reason
                )
                log.warning(
                    "%s waits for an operator, %d min: %s (%s)",
                    alert.id,
                    minutes,
                    alert.headline,
                    reason,
                )
                if hook is not None and alert.id not in calling:
                    calling.add(alert.id)
                    hooks.create_task(call(hook, alert.id), name=f"hook.{alert.id}")
            due = min((rung[h.id] + EVERY_MS for h in ringing), default=now + EVERY_MS)
            ends = (h.expires - wall for h in held if h.msg_type != MsgType.CANCEL)
            due = min(due, now + min(ends, default=EVERY_MS))
            await desk.events.wait_changed(max(0.05, (due - mono_ms()) / 1000))


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
        await _end(process)
        return f"{command[0]} took longer than {HOOK_TIMEOUT_S:.0f} s"
    except asyncio.CancelledError:
        await _end(process)
        raise
    return f"{command[0]} ended with {code}" if code else ""


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
        process.kill()
    await process.wait()
