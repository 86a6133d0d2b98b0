"""The earthquake's countdown, made with the real voice, placed, held, and counted down from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from config.schema import Voice
from controller.ahead import SOME, Ahead
from controller.desk import Released
from controller.dispatch import _on_the_wire
from controller.metrics import Metrics
from controller.staging import QUAKE, HeldSet
from controller.voicing import Voicing
from support.county import LIMIT_S, County, a_county
from support.quakes import SEISMIC, positioned, report, taken
from terminals.agent.choice import COARSE_S, NUMBER_AT_S, seconds_left
from terminals.broadcast import Kind, Part
from tts import floor
from tts.bank import countdown
from tts.renderer import Form, Piece, Rendered, Renderer
from tts.voice import Signal, VoiceError, VoiceFailure
from tts.voices import weights

EPICENTRE = (33.784, 104.363)


class Mouth:
    """In the renderer's place: says the generic clip with its words behind it, and fails after `breath`."""

    def __init__(self, breath: int = 1_000) -> None:
        self.breath = breath
        self.said: list[str] = []
        self.signals: set[Signal] = set()

    async def render_pieces(self, pieces: Sequence[Piece], form: Form, **_: object) -> Rendered:
        if self.breath == 0:
            raise VoiceError(VoiceFailure.CRASHED, "out of breath")
        self.breath -= 1
        words = "".join(sentence for piece in pieces for sentence in piece.sentences)
        self.said.append(words)
        self.signals.add(form.signal)
        data, record = floor.generic("actual")
        return Rendered(
            data + words.encode(), record.seconds, record.lufs, record.dbtp, {}, "v", "0" * 64, (words,)
        )


def a_voicing(folder: Path, monkeypatch: pytest.MonkeyPatch, mouth: Mouth | None = None) -> Voicing:
    if mouth is not None:
        monkeypatch.setattr(Renderer, "render_pieces", partial(Mouth.render_pieces, mouth))
    return Voicing(Voice(), folder, (), Metrics(), lambda _: None, prepare=False)


def an_ahead(county: County, voicing: Voicing, only: Sequence[str] | None) -> Ahead:
    return Ahead(
        county.staging,
        voicing,
        county.register,
        county.register.county,
        county.config.staging,
        county.dispatcher.now,
        only=only,
    )


async def held_by_all(county: County, held: HeldSet) -> None:
    async with asyncio.timeout(LIMIT_S):
        while county.staging.cover(held.id)[0].whole < len(county.village.units):
            await asyncio.sleep(0.05)


async def test_an_interrupted_countdown_goes_on_with_the_clips_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mouth = Mouth(breath=3)
    async with a_county(tmp_path, config=SEISMIC) as county:
        first = a_voicing(tmp_path / "voice", monkeypatch, mouth)
        with pytest.raises(VoiceError):
            await an_ahead(county, first, SOME).place_countdown(Kind.ACTUAL)
        assert county.staging.of(QUAKE[Kind.ACTUAL]) is None, "half a countdown is not placed"
        assert len(mouth.said) == 3
        await first.close()
        mouth.breath = 1_000
        again = a_voicing(tmp_path / "voice", monkeypatch, mouth)  # the process started anew
        held = await an_ahead(county, again, SOME).place_countdown(Kind.ACTUAL)
        assert [c.name for c in held.manifest.clips] == [n for n in countdown.sentences() if n in SOME]
        assert len(mouth.said) == len(set(mouth.said)) == len(SOME), "nothing is spoken twice"
        assert mouth.signals == {Signal.QUAKE}
        assert await an_ahead(county, again, SOME).place_countdown(Kind.ACTUAL) is held
        assert len(mouth.said) == len(SOME)
        await again.close()


async def test_the_clips_of_an_exercise_say_so_and_are_a_set_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mouth = Mouth()
    async with a_county(tmp_path, config=SEISMIC) as county:
        voicing = a_voicing(tmp_path / "voice", monkeypatch, mouth)
        ahead = an_ahead(county, voicing, SOME)
        real = await ahead.place_countdown(Kind.ACTUAL)
        drill = await ahead.place_countdown(Kind.EXERCISE)
        assert real.id != drill.id
        assert not {c.sha256 for c in real.manifest.clips} & {c.sha256 for c in drill.manifest.clips}
        assert all("演练" in words for words in mouth.said[len(SOME) :])
        assert county.staging.countdown(Kind.EXERCISE) == drill.id
        await voicing.close()


@pytest.mark.slow
async def test_an_earthquake_is_counted_down_in_the_clips_that_the_voice_made_and_the_terminals_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if weights.missing():
        pytest.skip(f"the voice's weights are not here: {weights.missing()}")
    names = ("quake/-", "quake/5", "quake/10")
    async with a_county(tmp_path, config=SEISMIC) as county:
        positioned(county)
        voicing = a_voicing(tmp_path / "voice", monkeypatch)
        try:
            held = await an_ahead(county, voicing, names).place_countdown(Kind.ACTUAL)
            assert {c.name for c in held.manifest.clips} == set(names)
            for clip in held.manifest.clips:
                assert len(await voicing.audio(clip.sha256)) == clip.size
                assert 2 < clip.seconds < 20
        finally:
            await voicing.close()
        await held_by_all(county, held)
        # Some at the epicentre, where it has come, others 15 to 150 km away; every twelfth knows no place.
        for n, unit in enumerate(county.village.units.values()):
            if n % 12 < 11:
                place = (EPICENTRE[0] + n % 12 * 15 / 111.2, EPICENTRE[1])
                unit.identity = replace(unit.identity, position=place)
                county.village.power_off(unit.identity.id)
                county.village.power_on(unit.identity.id)
        await asyncio.sleep(0.5)  # each has the time again
        result = await taken(county, report(7.5))
        assert isinstance(result, Released)
        rows = await county.store.broadcasts(alert=result.alert)
        lead = next(b.broadcast for b in rows if b.broadcast.part is Part.LEAD)
        assert lead.quake is not None
        assert lead.quake.set == held.id
        units = [county.village.units[terminal] for terminal in lead.terminals]
        assert len(units) > 12
        async with asyncio.timeout(LIMIT_S):
            while not all(any(b == lead.id for b, _, _ in unit.clips) for unit in units):
                await asyncio.sleep(0.05)
        name_of = {clip.sha256: clip.name for clip in held.manifest.clips}
        said: list[str] = []
        for unit in units:
            sha256, at = next((clip, at) for b, clip, at in unit.clips if b == lead.id)
            name = name_of[sha256]
            said.append(name)
            if unit.identity.position in (None, EPICENTRE):
                assert name == countdown.NUMBERLESS
            elif name != countdown.NUMBERLESS:
                assert unit.identity.position is not None
                left = seconds_left(_on_the_wire(lead.quake), unit.identity.position, cast(int, at))
                number = int(name.removeprefix("quake/"))
                assert number <= left - NUMBER_AT_S + 0.1, "never more time than there is"
                assert number > left - NUMBER_AT_S - COARSE_S - 1, "nor much less"
        assert set(said) == set(names), "near and far heard numbers of their own"
