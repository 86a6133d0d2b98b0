"""Real sound: PortAudio through ALSA into a PulseAudio of our own whose loudspeaker is a tape."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile

from support.board import RATE, speech, times_in
from support.horn_tape import NEEDED, Horn, horn, until_quiet
from terminals.agent.devices import opener
from terminals.agent.player import Amplifier, Broken, Job, Player

__all__ = ["horn"]
pytestmark = [pytest.mark.slow, pytest.mark.sound, *NEEDED]


class Ear:
    def __init__(self) -> None:
        self.told: list[Broken | BaseException | str | None] = []
        self.player = Player(opener("default"), self.tell, lead_in_s=0.05, amplifier=Amplifier())

    def tell(self, job: Job, what: BaseException | str | None) -> None:
        self.told.append(what)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.told) < count:
                await asyncio.sleep(0.01)


TAKES = 5
"""This machine is no real-time machine: PulseAudio itself starves now and then for 20 ms. What is wrong with
the player is wrong in every take."""


def twice(heard: np.ndarray[tuple[int], np.dtype[np.float32]], words: np.ndarray) -> bool:
    """Whether `words` are heard two times at half volume, one right behind the other."""
    begun = times_in(heard, words)
    if len(begun) != 2 or begun[1] - begun[0] != len(words):
        return False
    pieces = [heard[at : at + len(words)] for at in begun]
    whole = float(np.linalg.norm(words))
    return all(
        np.dot(piece, words) / np.linalg.norm(piece) / whole > 0.999
        and np.linalg.norm(piece) / whole == pytest.approx(0.5, rel=0.01)
        for piece in pieces
    )


async def test_what_the_loudspeaker_got_is_the_clip_twice_without_a_gap(tmp_path: Path, horn: Horn) -> None:
    words = speech(1.0)
    soundfile.write(tmp_path / "c", words, RATE, subtype="FLOAT", format="WAV")
    ear = Ear()
    good = False
    for take in range(1, TAKES + 1):
        before = len(horn.heard())
        ear.player.play(Job("b", 2, tmp_path / "c", 0.0, 0.5, 0.0, 1e12))
        await ear.until(2 * take)
        heard = (await until_quiet(horn))[before:]
        good = ear.told[-2:] == [None, ""] and twice(heard, words)
        if good:
            break
    assert good, ear.told
    assert await ear.player.released()


async def test_a_stop_is_heard_as_silence_and_the_next_sound_as_sound(tmp_path: Path, horn: Horn) -> None:
    long, short = speech(30.0, seed=1), speech(0.5, seed=2)
    soundfile.write(tmp_path / "long", long, RATE, subtype="FLOAT", format="WAV")
    soundfile.write(tmp_path / "short", short, RATE, subtype="FLOAT", format="WAV")
    ear = Ear()
    ear.player.play(Job("long", 1, tmp_path / "long", 0.0, 1.0, 0.0, 1e12))
    await ear.until(1)
    ear.player.stop()
    assert await ear.player.released()
    ear.player.play(Job("short", 1, tmp_path / "short", 0.0, 1.0, 0.0, 1e12))
    await ear.until(3)
    heard = await until_quiet(horn)
    assert len(times_in(heard, short)) == 1
    assert len(heard) < len(long), "the rest of the long one never sounded"
    assert await ear.player.released()
