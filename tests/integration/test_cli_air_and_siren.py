"""``fenghuo broadcast air`` and ``fenghuo exercise siren`` as an operator types them, over the real desk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controller.cli import words
from controller.cli.outcome import Code
from controller.events import decode_script
from controller.store.records import BroadcastRow, BroadcastState
from support.county import CONFIG, LIMIT_S, County, a_county, cap
from support.county_api import TOKEN_SHA256, Hand, an_operator
from terminals.broadcast import Kind
from tts.verdict import Hold

WHY = "not heard: 五十"
KNOWN = CONFIG.replace(CONFIG.partition('token_sha256: "')[2].partition('"')[0], TOKEN_SHA256)
PERMIT = "sirens: {permitted_by: 县人防办, permitted_on: 2026-09-01, patterns: [prepare, clear]}\n"


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path, config=KNOWN + PERMIT) as made:
        yield made


@pytest.fixture
async def hand(
    county: County, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Hand]:
    async with an_operator(county, capsys, monkeypatch) as one:
        yield one


async def waiting(county: County) -> BroadcastRow:
    county.mouth.doubt = Hold(WHY, 5)
    await county.give(cap())
    async with asyncio.timeout(LIMIT_S):
        while not (found := await county.desk.outgoing.doubted()):
            await asyncio.sleep(0.01)
    return found[0][0]


# --- air ---------------------------------------------------------------------------------------------------


async def test_what_waits_is_aired_by_name_once_its_kinds_word_is_typed(county: County, hand: Hand) -> None:
    held = (await waiting(county)).broadcast.id
    code, out, err = await hand.does("broadcast", "air", held, types="yes")
    assert code == Code.FAILED
    assert WHY in err, "the question shows what is wrong with it"
    assert "舟曲县" in err
    assert not county.heard_anything
    code, out, err = await hand.does("broadcast", "air", held, "--json", types="ACTUAL")
    assert code == Code.DONE, err
    assert json.loads(out)["outcome"] == "aired"
    assert await county.ended(held)
    stored = await county.store.broadcast(held)
    assert (stored.aired_by, stored.doubt) == ("王主任", WHY)
    code, out, _ = await hand.does("broadcast", "show", held)
    assert code == Code.DONE
    assert "王主任" in out
    assert WHY in out


async def test_air_without_a_hand_needs_yes_and_a_dry_run_airs_nothing(county: County, hand: Hand) -> None:
    held = (await waiting(county)).broadcast.id
    assert (await hand.does("broadcast", "air", held))[0] == Code.USAGE
    code, out, _ = await hand.does("broadcast", "air", held, "--dry-run", "--json")
    assert code == Code.DONE
    assert json.loads(out)["airs"] is not None
    code, out, _ = await hand.does("broadcast", "air", held, "--dry-run")
    assert f"fenghuo broadcast air {held}" in " ".join(out.split())
    assert (await county.store.broadcast(held)).state is BroadcastState.VOICING
    assert not county.heard_anything
    code, _, err = await hand.does("broadcast", "air", held, "--yes")
    assert code == Code.DONE
    assert held in err
    assert await county.ended(held)


async def test_what_does_not_wait_cannot_be_aired_and_the_operator_is_told_why(
    county: County, hand: Hand
) -> None:
    taken = await county.give(cap())
    assert taken.broadcast is not None
    await county.ended(taken.broadcast)
    for language, said in (("en", ("does not wait: it is done", "because of its sound")),
                           ("zh", ("没有在等待：已结束", "没有因语音核对而等待"))):  # fmt: skip
        words.use(language)
        for extra, why in zip(("--dry-run", "--yes"), said, strict=True):
            code, out, err = await hand.does("broadcast", "air", taken.broadcast, extra)
            assert code == Code.REFUSED, err
            assert out == ""
            assert taken.broadcast in err
            assert why in err
    code, _, err = await hand.does("broadcast", "air", "B000000-none", "--yes")
    assert code == Code.FAILED
    assert "B000000-none" in err


# --- siren -------------------------------------------------------------------------------------------------


async def test_a_permitted_siren_is_shown_confirmed_by_its_own_word_and_sounds(
    county: County, hand: Hand
) -> None:
    for wrong in ("EXERCISE", "ACTUAL", "yes"):
        code, _, err = await hand.does("exercise", "siren", "prepare", "--place", "大川镇", types=wrong)
        assert code == Code.FAILED, wrong
        assert "大川镇" in err
    assert not await county.store.broadcasts()
    code, out, err = await hand.does("exercise", "siren", "prepare", "--place", "大川镇", types="SIREN")
    assert code == Code.DONE, err
    alert, broadcast = out.split()
    assert await county.ended(broadcast) == county.in_township("大川镇")
    [row] = await county.store.broadcasts(alert=alert)
    assert row.broadcast.kind is Kind.EXERCISE
    assert decode_script(row.script).siren == "prepare"
    entries = await county.store.audit(10, alert)
    assert [(e.who, e.what) for e in entries] == [("王主任", "exercise.siren")]
    assert not county.mouth.said[-1].text.count("紧急预警")


async def test_a_dry_run_of_a_siren_says_what_would_sound_and_sounds_nothing(
    county: County, hand: Hand
) -> None:
    code, out, err = await hand.does("exercise", "siren", "clear", "--place", "大川镇", "--dry-run", "--json")
    assert code == Code.DONE, err
    assert json.loads(out)["outcome"] == "released"
    assert "大川镇" in err
    assert not await county.store.broadcasts()
    assert not county.heard_anything


async def test_a_siren_that_is_not_permitted_or_has_no_place_never_sounds(county: County, hand: Hand) -> None:
    for pattern, place, why in (
        ("raid", "大川镇", "siren raid is not permitted"),
        ("prepare", "没有这个乡", "没有这个乡"),
    ):
        for extra in ("--dry-run", "--yes"):
            code, out, err = await hand.does("exercise", "siren", pattern, "--place", place, extra)
            assert code == Code.REFUSED, err
            assert out == ""
            assert why in err
    for wrong in (
        ["exercise", "siren", "wail", "--place", "大川镇", "--yes"],  # no such pattern
        ["exercise", "siren", "prepare", "--yes"],  # nowhere
        ["exercise", "siren", "prepare", "--place", "大川镇"],  # nobody there to confirm
        ["alert", "siren", "prepare", "--place", "大川镇", "--yes"],  # never as actual
    ):
        assert (await hand.does(*wrong))[0] == Code.USAGE
    assert not await county.store.broadcasts()
    assert not county.heard_anything


async def test_without_a_permit_the_county_has_no_siren(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_county(tmp_path, config=KNOWN) as county, an_operator(county, capsys, monkeypatch) as hand:
        code, _, err = await hand.does("exercise", "siren", "prepare", "--place", "大川镇", "--yes")
        assert code == Code.REFUSED
        assert "permits no siren" in err
        words.use("zh")
        code, _, err = await hand.does("exercise", "siren", "prepare", "--place", "大川镇", "--yes")
        assert "permits no siren" not in err
        assert "警报" in err
        assert not await county.store.broadcasts()
