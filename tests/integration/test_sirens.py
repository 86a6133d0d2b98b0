"""The sirens of civil defence: only where the county permits them, in an exercise, by an operator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from config.schema import Sirens, Voice
from controller.clock import moment, wall_ms
from controller.compose import compose_alert
from controller.desk import Refused, Released
from controller.events import decode_script
from controller.metrics import Metrics
from controller.voicing import Voicing
from controller.web.models import Compose
from support.county import CONFIG, County, a_county, cap
from terminals.broadcast import Kind
from tts.audio import signal
from tts.renderer import Form
from tts.script import ScriptRequest
from tts.voice import Kind as VoiceKind
from tts.voice import Signal, VoiceError

PERMIT = "sirens: {permitted_by: 县人防办, permitted_on: 2026-09-01, patterns: [prepare, clear]}\n"
WORDS = Compose(hazard="notice", areas=["大川镇"], description="防空警报试鸣。")


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path, config=CONFIG + PERMIT) as made:
        yield made


async def ask(county: County, pattern: str, kind: Kind = Kind.EXERCISE) -> Released | Refused:
    alert = compose_alert(WORDS, kind, county.register.county, county.config.issuer, moment(wall_ms()))
    return await county.desk.send(alert, kind, "operator:王主任", siren=pattern)


async def test_a_permitted_siren_sounds_once_as_an_exercise_and_is_in_the_log(county: County) -> None:
    done = await ask(county, "prepare")
    assert isinstance(done, Released)
    assert await county.ended(done.broadcast)
    rows = await county.store.broadcasts(alert=done.alert)
    assert [row.broadcast.id for row in rows] == [done.broadcast], "no lead wails before it"
    assert rows[0].broadcast.kind is Kind.EXERCISE
    assert rows[0].broadcast.repeats == 1
    assert decode_script(rows[0].script).siren == "prepare"
    assert [e.what for e in await county.store.audit(10, done.alert)] == ["exercise.siren"]


@pytest.mark.parametrize("kind", [Kind.ACTUAL, Kind.TEST])
async def test_no_siren_sounds_as_anything_but_an_exercise(county: County, kind: Kind) -> None:
    done = await ask(county, "prepare", kind)
    assert isinstance(done, Refused)
    assert any("exercise only" in reason for reason in done.reasons)
    assert not county.heard_anything


async def test_a_pattern_that_is_not_permitted_is_refused(county: County) -> None:
    done = await ask(county, "raid")
    assert isinstance(done, Refused)
    assert any("siren raid is not permitted" in reason for reason in done.reasons)


async def test_without_a_permit_there_is_no_siren(tmp_path: Path) -> None:
    async with a_county(tmp_path) as county:
        done = await ask(county, "prepare")
        assert isinstance(done, Refused)
        assert any("permits no siren" in reason for reason in done.reasons)
        assert not county.heard_anything


async def test_no_feed_reaches_a_siren(county: County) -> None:
    taken = await county.give(cap(description="请鸣放空袭警报 siren_raid。"))
    assert taken.broadcast is not None
    assert decode_script((await county.store.broadcast(taken.broadcast)).script).siren == ""


def form(permitted: bool, kind: VoiceKind, tmp_path: Path) -> Form:
    permit = Sirens(permitted_by="县人防办", permitted_on=date(2026, 9, 1), patterns=("raid",))
    made = Voicing(
        Voice(), tmp_path, (), Metrics(), lambda _: None, prepare=False, sirens=permit if permitted else None
    )
    at = datetime(2026, 9, 18, tzinfo=UTC)
    request = ScriptRequest(kind, "first", "notice", None, "县人防办", at, ("大川镇",), siren="raid")
    return made._form(request, "horn", "mp3")


def test_the_last_gate_makes_no_siren_of_a_request_of_another_kind_or_without_a_permit(
    tmp_path: Path,
) -> None:
    for kind in ("actual", "test"):
        assert not form(True, kind, tmp_path).signal.siren
        assert form(True, kind, tmp_path).permit is None
    allowed = form(True, "exercise", tmp_path)
    assert allowed.signal is Signal.SIREN_RAID
    assert len(signal(allowed.signal, permit=allowed.permit)) > 24_000 * 100
    bare = form(False, "exercise", tmp_path)
    with pytest.raises(VoiceError, match="nobody of this county has permitted it"):
        signal(bare.signal, permit=bare.permit)
