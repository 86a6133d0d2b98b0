"""Two controllers by mistake: at one broker nobody fights; and a drill never holds the actual key."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controller.keys import sandbox
from simulators.broker import MosquittoBroker
from support.brokers import NEEDS_MOSQUITTO
from terminals.seal import KeyRole
from terminals.transport import ToTerminal, TransportError
from terminals.transports import mqtt
from terminals.transports.mqtt import Endpoint, MqttTransport

LIMIT_S = 30.0


async def _until(done: object) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not done():  # type: ignore[operator]
            await asyncio.sleep(0.02)


@pytest.mark.mosquitto
@NEEDS_MOSQUITTO[1]
async def test_whose_place_is_taken_at_the_broker_says_so_and_does_not_fight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mqtt, "RIVAL_PAUSE_S", 0.3)
    async with MosquittoBroker() as broker:
        alarms: dict[str, list[str]] = {"first": [], "second": []}
        one = MqttTransport(Endpoint("127.0.0.1", broker.port), "zhouqu", alarms["first"].append)
        two = MqttTransport(Endpoint("127.0.0.1", broker.port), "zhouqu", alarms["second"].append)

        async def changed(_: bool) -> None: ...

        running = [asyncio.create_task(one.run(lambda *_: None, changed))]
        await _until(lambda: one.connected)
        running.append(asyncio.create_task(two.run(lambda *_: None, changed)))
        await _until(lambda: alarms["first"])
        assert "another controller" in alarms["first"][0]
        with pytest.raises(TransportError):
            await one.send(ToTerminal("t-1"), b"x", lifetime_s=1, sure=False)
        # Each takes the other's place once more at most; then one of them stays away for good.
        await _until(lambda: any("stay away" in text for both in alarms.values() for text in both))
        winner, loser = (two, one) if "stay away" in " ".join(alarms["first"]) else (one, two)
        await _until(lambda: winner.connected)
        told = sum(map(len, alarms.values()))
        await asyncio.sleep(1.0)
        assert winner.connected
        assert not loser.connected
        assert loser.rival
        assert sum(map(len, alarms.values())) == told <= 4
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def test_a_sandbox_in_drill_mode_does_not_even_load_its_actual_key(tmp_path: Path) -> None:
    roles = [role for role in KeyRole if role is not KeyRole.ACTUAL]
    made = sandbox(tmp_path / "keys", roles)
    again = sandbox(tmp_path / "keys", roles)
    assert KeyRole.ACTUAL not in made.signers
    assert KeyRole.ACTUAL not in again.signers
    assert {r: s.key_id for r, s in made.signers.items()} == {r: s.key_id for r, s in again.signers.items()}
    assert KeyRole.ACTUAL in sandbox(tmp_path / "keys").signers
