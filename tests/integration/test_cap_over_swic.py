"""CMA over the WMO relay by configuration alone: an RSS of English titles, bilingual CAP 1.2 behind links,
an end that only the headline tells (`feeds.md` §1.3, §2.9). Over real HTTP, on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from alert_builders import COUNTY, cap_text

from alerts.feed import Outcome
from alerts.feeds.cap_index import CapIndexFeed
from alerts.formats import Reading, parse
from alerts.lifecycle import Label, sounds_as
from alerts.lint import lint
from alerts.model import Alert, CodeScheme, MsgType

NOW = datetime(2026, 7, 15, 0, 0, tzinfo=UTC)
RSS = """<?xml version="1.0" encoding="UTF-8"?>
<rss xmlns:cap="urn:oasis:names:tc:emergency:cap:1.1" version="2.0"><channel>
<link>http://{host}/v2/cap-alerts/cn-cma-xx/rss.xml</link><copyright>public domain</copyright>
{items}</channel></rss>"""
ITEM = """<item><title>{title}</title>{address}<pubDate>Wed, 15 Jul 2026 {time} +0000</pubDate>
<cap:event>Rainstorm</cap:event><cap:severity>Severe</cap:severity>
<cap:areaDesc>Zhouqu County</cap:areaDesc></item>"""
ISSUES = "Zhouqu County Meteorological Observatory issues orange warning for rainstorm [Level II/Severe]"
LIFTS = "Zhouqu County Meteorological Observatory lifts orange warning for rainstorm"


def cap(identifier: str, english: str, chinese: str) -> str:
    """As CMA sends it: English first, underscores for spaces in the sender, codes and no shape."""
    text = cap_text().replace("62302341600000_20260715061500", identifier)
    text = text.replace("舟曲县气象台发布暴雨橙色预警[II级/严重]", chinese)
    block = text[text.index("<info>") : text.index("</info>") + 7]
    first = (
        block.replace("zh-CN", "en-US").replace(chinese, english).replace("<event>暴雨", "<event>Rainstorm")
    )
    return text.replace(block, first + block)


class Relay:
    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        body = self.pages.get(head.split()[1], "").encode()
        status = "200 OK" if body else "404 Not Found"
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        )
        await writer.drain()
        writer.close()


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    made = Relay()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("where", ["link", "guid"])
async def test_a_warning_and_its_lift_come_through_and_only_the_warning_sounds(
    relay: Relay, where: str
) -> None:
    host, folder = f"127.0.0.1:{relay.port}", "/v2/cap-alerts/cn-cma-xx"
    items = ""
    for number, (title, chinese) in enumerate(
        ((LIFTS, "舟曲县气象台解除暴雨橙色预警信号"), (ISSUES, "舟曲县气象台发布暴雨橙色预警[II级/严重]"))
    ):
        page = f"{folder}/2026/07/15/{number}.xml"
        relay.pages[page] = cap(f"62302341600000_2026071506150{number}", title, chinese)
        link = f"http://{host}{page}"
        address = (
            f"<link>{link}</link><guid isPermaLink='false'>x{number}</guid>"
            if where == "link"
            else f"<guid>{link}</guid>"
        )
        items += ITEM.format(title=title, address=address, time=f"0{9 - number}:00:00")
    relay.pages[f"{folder}/rss.xml"] = RSS.format(host=host, items=items)

    async def forever(_: float) -> None:
        await asyncio.Event().wait()

    feed = CapIndexFeed("cma", f"http://{host}{folder}/rss.xml", sleep=forever)
    found: list[Alert] = []
    documents = feed.documents()
    async for document in documents:
        found.append(parse(document.body, Reading(CodeScheme.MCA), now=NOW))
        await document.done(Outcome.TAKEN)
        if len(found) == 2:
            break
    await documents.aclose()  # type: ignore[attr-defined]
    assert feed.trouble == ""
    by_kind = {alert.msg_type: alert for alert in found}
    assert sounds_as(by_kind[MsgType.ALERT]) is Label.ACTUAL
    assert sounds_as(by_kind[MsgType.CANCEL]) is not Label.ACTUAL
    warning = by_kind[MsgType.ALERT]
    assert [info.language for info in warning.infos] == ["en-US", "zh-CN"]
    assert warning.main.hazard == "rainstorm"
    report = lint(
        relay.pages[f"{folder}/2026/07/15/1.xml"].encode(), Reading(CodeScheme.MCA), now=NOW, county=COUNTY
    )
    assert report.cut is not None
    assert not report.cut.empty
