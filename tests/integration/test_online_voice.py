"""The county's online voice beside its offline one: which of the two is heard, and when nobody waits."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from alerts.model import Colour
from config.schema import OnlineVoice, Voice
from controller.metrics import Metrics
from controller.voicing import Voicing
from support.edge_service import EdgeService, edge_service
from terminals.broadcast import Part
from tts.renderer import Renderer
from tts.script import ScriptRequest

# The worker's protocol without a model: the offline voice takes a little for each sentence.
WORKER = """
import json, struct, sys, time
while size := sys.stdin.buffer.read(4):
    head = json.loads(sys.stdin.buffer.read(struct.unpack(">I", size)[0]))
    payload = sys.stdin.buffer.read(head["bytes"])
    pieces = head.get("pieces", [])
    data, said = b"", head.get("sentences", []) if head["op"] != "render" else [
        sentence for piece in pieces for sentence in piece["sentences"]]
    given = any(piece["samples"] for piece in pieces)
    if head["op"] == "speak": time.sleep(0.02)
    if head["op"] == "decode":  # 48 kbit/s, as the service sends
        data = struct.pack("<ff", 0.1, -0.1) * (12000 * len(payload) // 6000) + b"\\0" * 19200
    if head["op"] == "render": data = (("shape" if given else "render") + "".join(said)).encode()
    told = {"id": head["id"], "seconds": len(data) / 96000 or 1.0,
            "rate": 24000, "lufs": -15.0, "dbtp": -2.0, "stages": {},
            "voice": head.get("voice", ""), "model_sha256": "f", "spoken": said,
            "aloud": [words.replace("大川", "大穿") for words in said]}
    if given and "silent" in sys.argv:
        told, data = {"id": head["id"], "error": "silent", "detail": "no sound"}, b""
    body = json.dumps({**told, "bytes": len(data)}).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(body)) + body + data); sys.stdout.flush()
"""
REQUEST = ScriptRequest(
    kind="actual",
    stage="first",
    hazard="rainstorm",
    colour=Colour.ORANGE,
    issuer="舟曲县气象台",
    issued=datetime(2026, 7, 15, 6, 30, tzinfo=UTC),
    places=("大川镇",),
)
Made = Callable[..., Voicing]


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EdgeService]:
    async with edge_service() as running:
        monkeypatch.setattr("edge_tts.communicate.WSS_URL", running.url)
        yield running


@asynccontextmanager
async def voicing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> AsyncIterator[Voicing]:
    command = (sys.executable, "-c", WORKER, *arguments)
    monkeypatch.setattr("controller.voicing.Renderer", partial(Renderer, command=command))
    monkeypatch.setattr("tts.voices.choice.ONLINE_BUDGET_S", 20.0)
    monkeypatch.setattr("controller.voices._ONLINE_TIMEOUT_S", 20.0)
    approved = OnlineVoice(approved_by="值班员", approved_on=datetime(2026, 7, 1, tzinfo=UTC).date())
    made = Voicing(Voice(online=approved), tmp_path, (), Metrics(), lambda _: None, prepare=False)
    try:
        yield made
    finally:
        await made.close()


async def test_the_online_voice_is_heard_where_it_is_whole_in_time(
    service: EdgeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with voicing(tmp_path, monkeypatch) as made:
        record = await made.clip(REQUEST)
        assert record.voice == "edge:zh-CN-YunyangNeural"
        assert any("大穿镇" in text for text in service.asked)  # spelt so that it can be said in one way only
        assert (await made.audio(record.sha256)).startswith(b"shape")
        assert await made.known(REQUEST)
        service.fault = "503"  # what was heard in the preview is what goes out
        assert (await made.clip(REQUEST)).sha256 == record.sha256


@pytest.mark.parametrize("fault", ["closed half-way", "no audio", "403", "not json"])
async def test_whatever_goes_wrong_there_the_offline_voice_speaks(
    service: EdgeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    service.fault = fault
    async with voicing(tmp_path, monkeypatch) as made:
        record = await made.clip(REQUEST)
        assert record.voice == "zm_yunjian"
        assert (await made.audio(record.sha256)).startswith(b"render")


async def test_sound_that_does_not_pass_our_own_check_is_not_taken(
    service: EdgeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with voicing(tmp_path, monkeypatch, "silent") as made:
        assert (await made.clip(REQUEST)).voice == "zm_yunjian"


@pytest.mark.parametrize(
    "request_", [replace(REQUEST, colour=Colour.RED), replace(REQUEST, hazard="earthquake", colour=None)]
)
async def test_red_and_the_fast_lane_do_not_even_ask(
    service: EdgeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: ScriptRequest
) -> None:
    async with voicing(tmp_path, monkeypatch) as made:
        for part in Part:
            assert (await made.clip(request_, part)).voice == "zm_yunjian"
    assert service.asked == []
