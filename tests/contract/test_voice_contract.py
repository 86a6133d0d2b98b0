"""One contract for every voice, the fake included: whole sound or a named failure, in time, leaving
nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import numpy as np
import pytest

from support.voices import (
    World,
    command_world,
    edge_world,
    espeak_world,
    http_world,
    kokoro_world,
    tone_world,
)
from tts.voice import VoiceError, VoiceFailure
from tts.voices.writing import bounds

WORLDS: dict[str, Callable[[Path], AbstractAsyncContextManager[World]]] = {
    "tone": tone_world,
    "command": command_world,
    "http": http_world,
    "edge": edge_world,
    "kokoro": kokoro_world,
    "espeak": espeak_world,
}
PATIENCE = 30.0
"""Seconds that a busy machine may need; no test depends on less."""


@pytest.fixture(params=list(WORLDS))
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "espeak" and shutil.which("espeak-ng") is None:
        pytest.skip("needs the system package espeak-ng")
    async with WORLDS[request.param](tmp_path) as found:
        yield found


async def gone(world: World) -> bool:
    """Nothing is left, after a moment for the system to collect it."""
    for _ in range(200):
        if not world.left():
            return True
        await asyncio.sleep(0.02)
    return False


async def test_it_says_all_as_mono_float32_at_24_khz(world: World) -> None:
    voice = world.voice("", PATIENCE)
    speech = await voice.speak(world.sentences, speed=1.0)
    sound = np.frombuffer(speech.pcm, "<f4")
    least, most = bounds("\n".join(world.sentences), 0.7)
    assert speech.sample_rate == 24_000
    assert len(sound) == pytest.approx(speech.seconds * 24_000, abs=2)
    assert least * 0.7 < speech.seconds < most
    assert 0.01 < float(np.abs(sound).max()) <= 1.5
    assert voice.name
    assert len(voice.languages) == 1
    assert await gone(world)


async def test_nothing_to_say_is_refused(world: World) -> None:
    voice = world.voice("", PATIENCE)
    for nothing in ((), ("",), ("。", "……"), ("  \n",), ("!?",)):
        with pytest.raises(VoiceError) as failed:
            await voice.speak(nothing, speed=1.0)
        assert failed.value.reason is VoiceFailure.TEXT


async def test_another_language_is_refused(world: World) -> None:
    with pytest.raises(VoiceError) as failed:
        await world.voice("", PATIENCE).speak(world.foreign, speed=1.0)
    assert failed.value.reason in (VoiceFailure.LANGUAGE, VoiceFailure.TEXT)


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        ("silent", {VoiceFailure.SILENT}),
        ("truncated", {VoiceFailure.TRUNCATED}),
        ("spells", {VoiceFailure.RUNAWAY}),
        ("crashes", {VoiceFailure.CRASHED, VoiceFailure.REFUSED}),
    ],
)
async def test_what_an_engine_does_wrong_has_a_name(
    world: World, fault: str, reasons: set[VoiceFailure]
) -> None:
    if fault == "spells" and world.name == "kokoro":
        pytest.skip("its model's length follows from the text; there is no such fault")
    with pytest.raises(VoiceError) as failed:
        await world.voice(fault, PATIENCE).speak(world.sentences, speed=1.0)
    assert failed.value.reason in reasons, str(failed.value)
    assert await gone(world)


async def test_an_engine_that_hangs_costs_the_budget_and_is_ended(world: World) -> None:
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(VoiceError) as failed:
            await world.voice("hangs", 1.0).speak(world.sentences, speed=1.0)
    assert failed.value.reason is VoiceFailure.TIMEOUT
    assert await gone(world)


async def test_cancelled_it_leaves_no_task_and_no_process(world: World) -> None:
    voice = world.voice("hangs", 600)
    before = asyncio.all_tasks()
    speaking = asyncio.create_task(voice.speak(world.sentences, speed=1.0))
    async with asyncio.timeout(PATIENCE):
        while not world.begun():
            assert not speaking.done()
            await asyncio.sleep(0.01)
        speaking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await speaking
    assert await gone(world)

    def left() -> list[str]:
        return [task.get_name() for task in asyncio.all_tasks() - before if "voice." in task.get_name()]

    # A model is asked to stop first, and its process is killed only if it does not.
    async with asyncio.timeout(PATIENCE):
        while left():
            await asyncio.sleep(0.05)
    assert left() == []


async def test_two_at_once_both_get_their_own(world: World) -> None:
    voice = world.voice("", PATIENCE)
    short, long = world.sentences[:1], world.sentences
    both = await asyncio.gather(voice.speak(short, speed=1.0), voice.speak(long, speed=1.0))
    assert both[0].seconds < both[1].seconds
    assert await gone(world)
