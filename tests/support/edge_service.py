"""Stands in for the online voice service: a real websocket, real MP3, and each of its known failures."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from aiohttp import WSMsgType, web


@cache
def tone(seconds: float, level: float = 12_000) -> bytes:
    """A tone as the service sends sound, silent at its end: MP3, 24 kHz, 48 kbit/s, mono."""
    import lameenc
    import numpy as np

    encoder = lameenc.Encoder()
    encoder.set_bit_rate(48)
    encoder.set_in_sample_rate(24_000)
    encoder.set_channels(1)
    encoder.set_quality(9)
    encoder.silence()
    at = np.arange(int(seconds * 24_000))
    samples = level * np.sin(at * 0.12) * (at < (seconds - 0.1) * 24_000)
    return bytes(encoder.encode(samples.astype("<i2").tobytes()) + encoder.flush())


@dataclass
class EdgeService:
    """What it does is set by `fault`; what it was asked is in `asked`."""

    fault: str = ""
    asked: list[str] = field(default_factory=list)
    rates: list[str] = field(default_factory=list)
    url: str = ""
    pace: float = 0.25
    """Seconds a character."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.fault.startswith("403 "):
            return _forbidden(self.fault.removeprefix("403 "))
        if self.fault.isdigit():
            return web.Response(status=int(self.fault))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is not WSMsgType.TEXT or "<speak" not in message.data:
                continue
            text = re.sub(r"<[^>]+>", "", message.data.split("\r\n\r\n", 1)[1]).strip()
            self.rates += re.findall(r"rate='([^']+)'", message.data)
            self.asked.append(text)
            await self._answer(socket, text)
        return socket

    async def _answer(self, socket: web.WebSocketResponse, text: str) -> None:
        if self.fault == "silent":
            await asyncio.sleep(600)
        await socket.send_str("Path:turn.start\r\n\r\n{}")
        if self.fault == "no audio":
            await socket.send_str("Path:turn.end\r\n\r\n{}")
            return
        if self.fault == "unknown path":
            await socket.send_str("Path:surprise\r\n\r\n{}")
            return
        if self.fault == "not json":
            await socket.send_str("Path:audio.metadata\r\n\r\n{]")
            return
        spoken = text if self.fault != "drops the end" else text[: len(text) // 2]
        seconds = self.pace * len(spoken)
        audio = tone(round(seconds, 2), 0 if self.fault == "hush" else 12_000)
        if self.fault == "too short":
            audio = tone(0.3)
        if self.fault == "spells":
            audio = tone(round(seconds * 6, 2))
        if self.fault == "no sound":
            audio = b"<html>" * 12_000
        pieces = [audio[at : at + 4096] for at in range(0, len(audio), 4096)]
        offset = 0.1
        for line in spoken.split("\n"):
            length = self.pace * len(line) - 0.1
            await socket.send_str(_boundary(offset, length, line))
            offset += length
        for n, piece in enumerate(pieces):
            if self.fault == "closed half-way" and n > len(pieces) // 2:
                await socket.close()
                return
            if self.fault == "slow":
                await asyncio.sleep(0.2)
            head = b"X-RequestId:0\r\nContent-Type:audio/mpeg\r\nPath:audio\r\n"
            await socket.send_bytes(len(head).to_bytes(2, "big") + head + piece)
        await socket.send_str("Path:turn.end\r\n\r\n{}")


def _forbidden(date: str) -> web.Response:
    """403 as edge-tts learns the time from it: without a Date, with one that is none, an hour away."""
    response = web.Response(status=403)
    if date == "an hour away":
        moment = datetime.now(UTC) + timedelta(hours=1)
        response.headers["Date"] = moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
    else:
        response.headers["Date"] = "" if date == "without a date" else "yesterday"
    return response


def _boundary(offset: float, length: float, text: str) -> str:
    data: dict[str, Any] = {
        "Offset": int(offset * 10_000_000),
        "Duration": int(length * 10_000_000),
        "text": {"Text": text, "Length": len(text), "BoundaryType": "SentenceBoundary"},
    }
    return "Path:audio.metadata\r\n\r\n" + json.dumps(
        {"Metadata": [{"Type": "SentenceBoundary", "Data": data}]}
    )


@asynccontextmanager
async def edge_service() -> AsyncIterator[EdgeService]:
    """Listens on loopback while the block runs."""
    service = EdgeService()
    app = web.Application()
    app.router.add_get("/edge/v1", service.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    service.url = f"ws://{host}:{port}/edge/v1?x=1"
    try:
        yield service
    finally:
        await runner.cleanup()
