"""``python -m benchmarks.controller_child PACE VOICE serve …``: the real program, which says when it passes
its steps, as JSON lines on stdout with the machine's monotonic clock (ns).

Nothing in the product knows of this: the steps are wrapped from outside. PACE: how much faster than real
time the fleet plays. VOICE: ``real``; ``prepared`` (one hazard's fixed sentences spoken beforehand, as a
county's own controller does); ``mute`` (every message is the generic clip, or what the
library holds); ``late`` (the same, after minutes).

On stdin: ``deaf`` and ``hear`` end and begin its subscription to reports, so that it is no load while
another client is measured; ``lag`` tells by how much its loop was late at the worst since the
last ``lag``; the end of stdin ends it.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from controller import app as app_module
from controller import voicing
from controller.app import App
from controller.dispatch import Dispatcher, Run
from controller.store import Store
from controller.store.records import BroadcastRow, FactRow
from terminals.delivery import State
from terminals.transports.mqtt import MqttTransport
from tts.renderer import Renderer
from tts.voice import VoiceError, VoiceFailure

PREPARED_HAZARD = "rainstorm"
"""The one of `benchmarks.road.WARNING`."""

ORPHAN_S = 10.0
LOOK_S = 0.002
LATE_S = 300.0


def say(event: str, **what: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **what}) + "\n")
    sys.stdout.flush()


@dataclass(slots=True)
class Marks:
    """One broadcast's; ns, 0 for not yet."""

    published: int = 0
    handed_on: int = 0
    """The broker has acknowledged the command."""
    cpu: float = 0.0
    """Process CPU seconds when it was published."""
    arrived: int = 0
    """The last terminal's word that it plays was handed up by the transport."""
    stored: dict[State, int] = field(default_factory=dict)
    """State → when the last terminal's fact of it was committed."""
    playing_from: set[str] = field(default_factory=set)
    repeats: int = 0
    """Commands and questions sent to single terminals."""
    reports: int = 0
    wanted: int = 0
    """Terminals of it."""
    plays: set[str] = field(default_factory=set)
    """Whose `playing` is committed."""


marks: dict[str, Marks] = {}
began: dict[str, float] = {}
"""Alert → process CPU seconds when its document was journalled, until its first command."""
read = 0.0
"""The same of the last document."""
current = Marks()


def watch() -> None:
    """Wraps the steps. One broadcast is under way at a time wherever `arrived` and `reports` are read."""
    journal, take, start = Store.journal, Store.take, Dispatcher.start
    publish, send, upward = Dispatcher._publish_surely, Dispatcher._send, Dispatcher.upward
    add_facts, done, warm = Store.add_facts, Dispatcher._done, Renderer.warm

    async def journal_(self: Store, *args: Any, **kwargs: Any) -> int:
        global read
        read = time.process_time()
        number = await journal(self, *args, **kwargs)
        say("journalled", at=time.monotonic_ns())
        return number

    async def take_(self: Store, alert: Any, broadcasts: Any, *args: Any, **kwargs: Any) -> Any:
        if read:
            began[alert.id] = read
        taken = await take(self, alert, broadcasts, *args, **kwargs)
        parts = {row.broadcast.id: row.broadcast.part.value for row in broadcasts}
        say("planned", at=time.monotonic_ns(), parts=parts)
        return taken

    async def start_(self: Dispatcher, row: BroadcastRow, *args: Any) -> Run:
        say("voiced", at=time.monotonic_ns(), id=row.broadcast.id)
        return await start(self, row, *args)

    async def publish_(self: Dispatcher, run: Run, command: Any) -> bool:
        global current
        first = run.id not in marks
        if first:
            spent, at = began.pop(run.row.broadcast.alert_id, time.process_time()), time.monotonic_ns()
            current = marks[run.id] = Marks(cpu=spent, published=at, wanted=len(run.facts))
        gone = await publish(self, run, command)
        if first:
            marks[run.id].handed_on = time.monotonic_ns()
            say("published", at=marks[run.id].published, id=run.id)
        return gone

    async def send_(self: Dispatcher, *args: Any) -> None:
        current.repeats += 1
        await send(self, *args)

    def upward_(self: Dispatcher, terminal: str, payload: bytes) -> None:
        current.reports += 1
        if b'"playing"' in payload and terminal not in current.playing_from:
            current.playing_from.add(terminal)
            current.arrived = time.monotonic_ns()
        upward(self, terminal, payload)

    async def add_facts_(self: Store, facts: Any, *args: Any) -> None:
        await add_facts(self, facts, *args)
        now = time.monotonic_ns()
        rows: list[FactRow] = facts
        for row in rows:
            if (mark := marks.get(row.broadcast)) is not None:
                mark.stored[row.key[1]] = now
                if row.key[1] is State.PLAYING and row.terminal not in mark.plays:
                    mark.plays.add(row.terminal)
                    if len(mark.plays) == mark.wanted:
                        say(
                            "playing stored",
                            id=row.broadcast,
                            at=now,
                            published=mark.published,
                            arrived=mark.arrived,
                            cpu=time.process_time() - mark.cpu,
                        )

    async def done_(self: Dispatcher, run: Run) -> None:
        new = run.row.done is None
        await done(self, run)
        if new and run.id in marks:
            mark = marks[run.id]
            say(
                "done",
                id=run.id,
                at=time.monotonic_ns(),
                published=mark.published,
                handed_on=mark.handed_on,
                arrived=mark.arrived,
                stored={state.value: at for state, at in mark.stored.items()},
                cpu=time.process_time() - mark.cpu,
                repeats=mark.repeats,
                reports=mark.reports,
                played=sum(1 for facts in run.facts.values() if any(k[1] is State.PLAYED for k in facts)),
            )

    async def warm_(self: Renderer, sentences: Sequence[str] = (), **kwargs: Any) -> str:
        model = await warm(self, sentences, **kwargs)
        # It is called once for the model and once for the sentences; prepared is only who has spoken them.
        say("voice prepared" if sentences else "voice loaded")
        return model

    for owner, name, wrapped in (
        (Store, "journal", journal_),
        (Store, "take", take_),
        (Store, "add_facts", add_facts_),
        (Dispatcher, "start", start_),
        (Dispatcher, "_publish_surely", publish_),
        (Dispatcher, "_send", send_),
        (Dispatcher, "upward", upward_),
        (Dispatcher, "_done", done_),
        (Renderer, "warm", warm_),
    ):
        setattr(owner, name, wrapped)


def obey() -> None:
    """Commands from stdin, beside `App.run`."""
    run = App.run

    async def run_(self: App, ready: asyncio.Event | None = None) -> None:
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()

        worst = 0.0

        async def watch_loop() -> None:
            nonlocal worst
            while True:
                due = loop.time() + LOOK_S
                await asyncio.sleep(LOOK_S)
                worst = max(worst, loop.time() - due)

        tasks.add(loop.create_task(watch_loop(), name="benchmark.lag"))

        async def carry_out(word: str) -> None:
            nonlocal worst
            if word == "lag":
                say(word, worst_ms=worst * 1e3)
                worst = 0.0
                return
            transport: MqttTransport = self.transport
            client = transport._client
            assert client is not None, "no broker"
            topic = transport._topics["report"].format("+")
            if word == "deaf":
                await client.unsubscribe(topic)
            elif word == "hear":
                await client.subscribe(topic, qos=1)
            say(word)

        def read() -> None:
            words = os.read(0, 4096)
            if not words:
                loop.remove_reader(0)
                os.kill(os.getpid(), signal.SIGTERM)
                loop.call_later(ORPHAN_S, os._exit, 1)  # its broker may be gone as well
            for word in words.decode().split():
                tasks.add(loop.create_task(carry_out(word), name=f"benchmark.{word}"))

        loop.add_reader(0, read)
        await run(self, ready)

    App.run = run_  # type: ignore[method-assign]


async def mute(self: Renderer, *args: Any, **kwargs: Any) -> Any:
    raise VoiceError(VoiceFailure.CRASHED, "switched off for this benchmark")


async def late(self: Renderer, *args: Any, **kwargs: Any) -> Any:
    await asyncio.sleep(LATE_S)
    return await mute(self)


def main() -> int:
    pace, voice = float(sys.argv.pop(1)), sys.argv.pop(1)
    app_module.open_app = functools.partial(app_module.open_app, pace=pace)
    if voice == "late":
        Renderer.render_pieces = Renderer.warm = late  # type: ignore[method-assign]
    elif voice == "mute":
        Renderer.render_pieces = Renderer.warm = mute  # type: ignore[method-assign]
    elif voice == "prepared":
        setattr(voicing, "PREPARED", (PREPARED_HAZARD,))  # noqa: B010 - a Final, on purpose
        setattr(app_module, "Voicing", _Prepared)  # noqa: B010
    watch()
    obey()
    from controller.cli import main as fenghuo

    return fenghuo()


class _Prepared(voicing.Voicing):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "prepare": True})


if __name__ == "__main__":
    sys.exit(main())
