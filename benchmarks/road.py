"""Feed file → first and last loudspeaker of 舟曲 playing, with the stages between, with the real voice."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from benchmarks.site import Failed, Voice, site
from controller.ids import BEIJING
from simulators.broker import EmbeddedBroker, MosquittoBroker, mosquitto_binary
from tts import floor as generic

TERMINALS: Final = 212
WHOLE_S: Final = 180.0
GENERIC: Final = frozenset(entry.record.sha256 for entry in generic.manifest())

WARNING: Final = """<?xml version="1.0" encoding="UTF-8"?>
<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2"><identifier>62302341600000_{number}</identifier>
<sender>zhouqu.weather</sender><sent>{sent}</sent><status>Actual</status>
<msgType>Alert</msgType><scope>Public</scope><info><language>zh-CN</language>
<category>Met</category><event>暴雨</event><urgency>Expected</urgency><severity>Severe</severity>
<certainty>Likely</certainty><effective>{sent}</effective><expires>{expires}</expires>
<senderName>舟曲县气象台</senderName><headline>舟曲县气象台发布暴雨橙色预警信号</headline>
<description>预计未来3小时，全县将出现50毫米以上降水，局地伴有短时强降水和雷电。</description>
<instruction>请沟口、河道和陡坡附近的群众立即向高处转移。</instruction>
<area><areaDesc>舟曲县</areaDesc>
<geocode><valueName>fenghuo:mca</valueName><value>623023000000</value></geocode></area></info></alert>"""


@dataclass(frozen=True, slots=True)
class Part:
    """Milliseconds since the feed file was there."""

    part: str
    """``lead`` or ``whole``; with ``generic clip`` where the voice failed or was too slow for it."""
    sound_s: float
    """Length of one playing."""
    journalled: float
    planned: float
    """Plan and all deliveries are stored."""
    voiced: float
    published: float
    accepted: float
    """The last terminal's, on the terminals' own clocks, as the API's summary has it; so is `ready`."""
    ready: float
    first_playing: float
    last_playing: float


@dataclass(frozen=True, slots=True)
class Run:
    how: str
    """``cold``, ``prepared`` or ``cached``."""
    parts: list[Part]


def broker() -> MosquittoBroker | EmbeddedBroker:
    return MosquittoBroker() if mosquitto_binary() else EmbeddedBroker()


@asynccontextmanager
async def library() -> AsyncIterator[Path]:
    """Where the clips of a cold run are kept for the cached ones."""
    with tempfile.TemporaryDirectory(prefix="fenghuo-bench-clips-") as name:
        yield Path(name) / "clips"


async def run(
    how: str, voice: Voice, sent: datetime, *, clips: Path, cached: bool, only_lead: bool = False
) -> Run:
    """One county from nothing, one warning; a cold one leaves its library in `clips`. Raises Failed."""
    async with (
        broker() as at,
        site(at.port, voice=voice, clips=clips if cached else None) as here,
        here.fleet(TERMINALS, speed=1.0, audio="fetch", wanted=TERMINALS) as fleet,
    ):
        controller = here.controller
        await asyncio.sleep(1)
        dropped = here.drop(document(sent))
        journalled = (await controller.named("journalled"))["at"]
        planned = await controller.named("planned")
        parts: list[Part] = []
        for broadcast, part in planned["parts"].items():
            if only_lead and part != "lead":
                continue
            voiced = await controller.named("voiced", broadcast, within=WHOLE_S)
            published = await controller.named("published", broadcast)
            playing = await fleet.named("playing", broadcast, within=WHOLE_S)
            await asyncio.sleep(2)  # the last reports come home
            told = await here.get(f"/v1/broadcasts/{broadcast}")
            if told["total"]["playing"] != TERMINALS:
                raise Failed(f"{broadcast}: {told['total']}")
            latency = told["latency"]
            zero = (published["at"] - dropped) / 1e6
            parts.append(
                Part(
                    part=f"{part}: generic clip" if told["clip"] in GENERIC else part,
                    sound_s=told["seconds"],
                    journalled=(journalled - dropped) / 1e6,
                    planned=(planned["at"] - dropped) / 1e6,
                    voiced=(voiced["at"] - dropped) / 1e6,
                    published=zero,
                    accepted=zero + latency["accepted"]["last_ms"],
                    ready=zero + latency["ready"]["last_ms"],
                    first_playing=(playing["first"] - dropped) / 1e6,
                    last_playing=(playing["last"] - dropped) / 1e6,
                )
            )
        if not cached and not only_lead:
            shutil.rmtree(clips, ignore_errors=True)
            await asyncio.to_thread(shutil.copytree, here.clips, clips)
        return Run(how, parts)


def document(sent: datetime) -> bytes:
    """The warning; the same words at the same `sent`."""
    expires = sent + timedelta(hours=6)
    return WARNING.format(
        number=f"{sent:%Y%m%d%H%M%S}", sent=sent.isoformat(), expires=expires.isoformat()
    ).encode()


def now() -> datetime:
    return datetime.now(BEIJING).replace(microsecond=0)
