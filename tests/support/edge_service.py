"""Stands in for the online voice service: a real websocket, real MP3, and each of its known failures."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from aiohttp import WSMsgType, web

SECONDS_PER_CHARACTER = 0.25


@cache
def tone(seconds: float) -> bytes:
    """A steady tone as the service sends sound: MP3, 24 kHz, 48 kbit/s, mono."""
    import lameenc
    import numpy as np

    encoder = lameenc.Encoder()
    encoder.set_bit_rate(48)
    encoder.set_in_sample_rate(24_000)
    encoder.set_channels(1)
    encoder.silence()
    samples = 12_000 * np.sin(np.arange(int(seconds * 24_000)) * 0.12)
    return bytes(encoder.encode(samples.astype("<i2").tobytes()) + encoder.flush())


@dataclass
class EdgeService:
    """What it does is set by `fault`; what it was asked is in `asked`."""

    fault: str = ""
    asked: list[str] = field(default_factory=list)
    rates: list[str] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
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
        seconds = SECONDS_PER_CHARACTER * len(spoken)
        audio = tone(round(seconds, 2)) if self.fault != "too short" else tone(0.3)
        pieces = [audio[at : at + 4096] for at in range(0, len(audio), 4096)]
        offset = 0.1
        for line in spoken.split("\n"):
            length = SECONDS_PER_CHARACTER * len(line) - 0.1
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
