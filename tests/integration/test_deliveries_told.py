"""``fenghuo alert why``, ``broadcast why`` and ``broadcast watch`` over the real desk: what came of a warning
at each loudspeaker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controller.cli.outcome import Code
from controller.store.records import BroadcastState
from controller.voicing import VoicingError
from support.county import CONFIG, LIMIT_S, County, a_county, cap
from support.county_api import TOKEN_SHA256, Hand, an_operator
from terminals.delivery import State
from tts.script import Script

KNOWN = CONFIG.replace(CONFIG.partition('token_sha256: "')[2].partition('"')[0], TOKEN_SHA256)


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path, config=KNOWN) as made:
        yield made


@pytest.fixture
async def hand(
    county: County, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Hand]:
    async with an_operator(county, capsys, monkeypatch) as one:
        yield one


async def test_what_came_of_a_warning_is_told_for_it_and_for_each_of_its_terminals(
    county: County, hand: Hand
) -> None:
    away, broken, well, *_ = sorted(meant := county.in_township("大川镇"))
    county.village.power_off(away)
    county.village.units[broken].breaks = "amplifier"
    county.mouth.knows = False
    taken = await county.give(cap())
    async with asyncio.timeout(LIMIT_S):
        while len(rows := await county.store.broadcasts(alert=taken.alert)) < 2:
            await asyncio.sleep(0.02)
        lead, whole = (b.broadcast.id for b in reversed(rows))
        while meant - county.village.heard(lead) - {away, broken}:
            await asyncio.sleep(0.02)
        for terminal, end in ((well, State.PLAYED), (broken, State.FAILED)):
            while whole not in county.dispatcher.runs or end not in {
                state for _, state, _ in county.dispatcher.runs[whole].facts[terminal]
            }:
                await asyncio.sleep(0.02)

    code, out, err = await hand.does("alert", "why", str(taken.alert), "--json")
    assert code == Code.DONE, err
    told = json.loads(out)
    assert [(part["id"], part["part"]) for part in told["broadcasts"]] == [(lead, "lead"), (whole, "whole")]
    assert all(part["targeted"] == len(meant) for part in told["broadcasts"])
    unheard = {row["terminal"]: row for row in told["unheard"]}
    assert away in unheard
    assert well not in unheard
    assert unheard[away]["broadcast"] == whole, "the last that was meant for it"
    assert unheard[away]["words"].startswith("no report since"), unheard[away]
    assert not unheard[away]["sounded"]
    assert told["why"]

    code, out, err = await hand.does("broadcast", "why", whole, well, "--json")
    assert code == Code.DONE, err
    chain = json.loads(out)
    assert (chain["alert"], chain["terminal"], chain["township"]) == (taken.alert, well, "大川镇")
    assert (chain["state"], chain["sounded"]) == ("played", True)
    # Which of them comes first is the terminal's own word, and its clock is still being measured here.
    assert sorted(step["state"] for step in chain["steps"]) == [
        "accepted",
        "played",
        "playing",
        "ready",
        "sent",
    ]
    assert chain["last_seen"] is not None, "it has said hello"
    assert [step["at"] for step in chain["steps"]] == sorted(step["at"] for step in chain["steps"])
    code, out, _ = await hand.does("broadcast", "why", whole, broken, "--json")
    failed = [step for step in json.loads(out)["steps"] if step["state"] == "failed"]
    assert {step["reason"] for step in failed} == {"amplifier"}

    other = min(set(county.register.terminals) - meant)
    code, _, err = await hand.does("broadcast", "why", whole, other)
    assert code == Code.FAILED
    assert f"fenghuo why {other} --alert {taken.alert}" in " ".join(err.split())


async def test_what_waits_is_shown_and_can_be_decided_on_when_its_words_cannot_be_composed(
    county: County, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = await county.give(cap(), feed="mirror")
    with monkeypatch.context() as patch:
        patch.setattr(county.mouth, "script", fails)
        code, out, err = await hand.does("alert", "show", str(taken.alert), "--json")
    assert code == Code.DONE, err
    plan = json.loads(out)["plan"]
    assert (plan["text"], plan["notes"]) == ("", ["no line for it"])
    assert plan["terminals"] == len(county.in_township("大川镇"))


def fails(_: object) -> Script:
    raise VoicingError("no line for it")


async def test_who_watches_what_is_replaced_before_it_was_sent_sees_its_end(
    county: County, hand: Hand
) -> None:
    county.mouth.hold.clear()
    await county.give(cap())
    (first,) = await county.store.broadcasts()
    watching = asyncio.create_task(hand.does("broadcast", "watch", first.broadcast.id, "--json"))
    newer = cap(
        identifier="62302341600000_20261122120001",
        msg_type="Update",
        references="zhouqu.weather,62302341600000_20261122120000,2026-11-22T12:00:00+08:00",
        description="预计未来3小时将出现80毫米以上降水。",
    )
    await county.give(newer)
    assert (await county.store.broadcast(first.broadcast.id)).state is BroadcastState.SUPERSEDED
    async with asyncio.timeout(LIMIT_S):
        code, out, err = await watching
    assert code == Code.PARTLY, err
    last = json.loads(out.splitlines()[-1])
    assert last["data"]["state"] == "superseded"
    county.mouth.hold.set()
