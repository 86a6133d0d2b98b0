"""Whose fixed sentences are spoken ahead at the start: only those of a voice that will say them."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from config.schema import Voice
from controller.metrics import Metrics
from controller.voicing import Voicing

APPROVED: dict[str, Any] = {"approved_by": "王", "approved_on": date(2026, 1, 1)}
OTHER = {"language": "zh", "engine": "http", "name": "hers", "url": "http://127.0.0.1:9/", **APPROVED}


@pytest.mark.parametrize(
    ("given", "spoken"),
    [(APPROVED, True), ({"others": [OTHER]}, False)],
)
async def test_the_built_in_voice_says_nothing_ahead_where_another_is_to_speak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], spoken: bool
) -> None:
    made = Voicing(Voice.model_validate(given), tmp_path, (), Metrics(), lambda _: None, prepare=True)
    asked: list[int] = []

    async def warm(sentences: Sequence[str] = (), **_: Any) -> None:
        asked.append(len(sentences))

    monkeypatch.setattr(made._renderer, "warm", warm)
    task = asyncio.create_task(made.run(), name="voice")
    while len(asked) < 2:
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await made.close()
    # It is loaded in any case: it stands in for the other.
    assert asked[0] == 0
    assert (asked[1] > 20) is spoken
