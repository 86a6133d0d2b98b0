"""`python crash.py POINT serve …`: the real program, which kills itself (SIGKILL) at one chosen point.

Nothing in the product knows of this. `POINT` is ``Class.method:before`` or ``:after`` of one of the places
below; ``never`` runs it unharmed. The voice is switched off, so that every message is the generic clip and
the test does not wait for a synthesiser; with ``speaking`` it runs unharmed and has a voice that says the
words of the generic clip, at once, whatever it was asked to say. ``brief`` is a voice whose every message is
a sound of `BRIEF_S` seconds, so that a test does not wait for speech; ``brief+POINT`` dies of it too.
"""

from __future__ import annotations

import asyncio
import faulthandler
import functools
import io
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import numpy as np
import soundfile

from controller import intake
from controller.desk import Desk
from controller.dispatch import Dispatcher
from controller.store import Store
from controller.voicing import Voicing
from tts import floor
from tts.renderer import Form, Piece, Rendered, Renderer
from tts.voice import Signal, VoiceError, VoiceFailure

PLACES: dict[str, tuple[type, str]] = {
    "Store.journal": (Store, "journal"),
    "Store.take": (Store, "take"),
    "Voicing.voice": (Voicing, "voice"),
    "Store.set_broadcast": (Store, "set_broadcast"),
    "Store.commit_command": (Store, "commit_command"),
    "Dispatcher.publish": (Dispatcher, "_publish_surely"),
    "Store.mark_published": (Store, "mark_published"),
    "Dispatcher.keep": (Dispatcher, "_keep"),
    "Dispatcher.done": (Dispatcher, "_done"),
    "Desk.cancel": (Desk, "_settle"),
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(place: str, when: str) -> None:
    owner, name = PLACES[place]
    real: Callable[..., Awaitable[Any]] = getattr(owner, name)

    @functools.wraps(real)
    async def armed(*args: Any, **kwargs: Any) -> Any:
        if place == "Dispatcher.keep" and not args[1]:
            return await real(*args, **kwargs)  # a hello, not yet a report
        if when == "before":
            die()
        result = await real(*args, **kwargs)
        die()
        return result

    setattr(owner, name, armed)


async def mute(self: Renderer, *args: Any, **kwargs: Any) -> Any:
    raise VoiceError(VoiceFailure.CRASHED, "switched off for this test")


KINDS: Final[dict[Signal, floor.Kind]] = {Signal.EXERCISE: "exercise", Signal.TEST: "test"}


async def speak(self: Renderer, pieces: Sequence[Piece], form: Form, **kwargs: Any) -> Rendered:
    data, record = floor.generic(KINDS.get(form.signal, "actual"))
    said = tuple(sentence for piece in pieces for sentence in piece.sentences)
    return Rendered(data, record.seconds, record.lufs, record.dbtp, {}, "generic", "0" * 64, said)


BRIEF_S: Final = 0.8


async def say_briefly(self: Renderer, pieces: Sequence[Piece], form: Form, **kwargs: Any) -> Rendered:
    said = tuple(sentence for piece in pieces for sentence in piece.sentences)
    # A tone of its own for each message: a clip is known by its hash.
    pitch = 300 + sum(map(ord, "".join(said))) % 900
    sound = 0.3 * np.sin(2 * np.pi * pitch * np.arange(int(24_000 * BRIEF_S)) / 24_000)
    file = io.BytesIO()
    soundfile.write(file, sound, 24_000, format="MP3")
    return Rendered(file.getvalue(), BRIEF_S, -16.0, -1.5, {}, "brief", "0" * 64, said)


async def warm(self: Renderer, *args: Any, **kwargs: Any) -> None: ...


def tell_where(_number: int, _frame: object) -> None:
    """For a stop that hangs: every task's stack on stderr."""
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stderr)


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR2, all_threads=True)
    signal.signal(signal.SIGUSR1, tell_where)
    point = sys.argv.pop(1)
    how, _, of = point.rpartition("+")
    if "brief" in (how, of):
        Renderer.render_pieces, Renderer.warm = say_briefly, warm  # type: ignore[method-assign, assignment]
    elif point == "speaking":
        Renderer.render_pieces, Renderer.warm = speak, warm  # type: ignore[method-assign, assignment]
    else:
        Renderer.render_pieces = Renderer.warm = mute  # type: ignore[method-assign, assignment]
    assert intake.MOST_READINGS == 2
    if of not in ("never", "speaking", "brief"):
        arm(*of.rsplit(":", 1))  # type: ignore[arg-type]
    from controller.cli import main

    sys.exit(main())
