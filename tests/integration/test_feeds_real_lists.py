"""What the sources really answered, through the adapter, the reader and the desk of a county."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest

from alerts.feed import Document
from alerts.feed import Outcome as Told
from alerts.feeds.listing import ListFeed
from alerts.formats import Reading
from alerts.formats.lists import LISTS
from alerts.model import CodeScheme
from controller.store.records import AlertState, Outcome
from support.county import BEIJING, County, a_county, cap

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "feeds"


class Source:
    """A server whose list can be changed between looks; details are not there."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.looks = 0
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            self.asked.append(path)
            found = path.startswith("/list")
            head = (
                f"HTTP/1.1 {200 if found else 404} X\r\nContent-Length: {len(self.body) if found else 0}\r\n"
            )
            writer.write(head.encode() + b"Connection: close\r\n\r\n" + (self.body if found else b""))
            await writer.drain()
        writer.close()


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path) as made:
        yield made


def sample(name: str) -> bytes:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"the sample {name} (../shared/data/feeds) is not here")
    return path.read_bytes()


async def looks(feed: ListFeed, county: County, reading: Reading) -> Counter[Outcome]:
    """What became of all that the feed brings until its `sleep` ends it."""
    became: Counter[Outcome] = Counter()

    async def take(document: Document) -> None:
        taken = await county.intake.accept(document, reading)
        assert taken.outcome is not Outcome.QUARANTINED, taken.reason
        became[taken.outcome] += 1
        refused = taken.outcome is Outcome.REFUSED
        await document.done(Told.REFUSED if refused else Told.TAKEN)

    with suppress(Over):
        async for document in feed.documents():
            await take(document)
    return became


class Over(Exception):
    """Looked often enough."""


@pytest.mark.parametrize(
    ("format_name", "file"),
    [
        ("nmc", "nmc-cn/findAlarm-20260920-subset.json"),
        ("12379", "12379-cn/alarm_list_all-2018.json"),
        ("weathercn", "weathercn/alarmMap-20261006.json"),
        ("icl", "icl/earlywarnings.json"),
    ],
)
async def test_a_real_list_is_taken_in_without_a_sound_and_once(
    county: County, format_name: str, file: str
) -> None:
    source = Source(sample(file))
    rows = LISTS[format_name].split(source.body)
    server = await asyncio.start_server(source.serve, "127.0.0.1", 0)
    count = 0

    async def sleep(_: float) -> None:
        nonlocal count
        count += 1
        if count == 4:
            raise Over

    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/list"
        feed = ListFeed("mirror", url, LISTS[format_name], sleep=sleep)
        became = await looks(feed, county, Reading(CodeScheme.MCA, format=format_name))
    assert sum(became.values()) == len({row.key for row in rows}), became
    assert feed.last_good is not None
    assert not county.heard_anything, "a relay never sounds by itself"
    assert became[Outcome.RELEASED] == 0
    assert not county.alarms


async def listed_and_gone(county: County, identifier: str) -> list[tuple[Outcome | None, str]]:
    """NMC lists one warning of our county twice, and then no more; what became of the two documents."""
    said = json.loads(sample("nmc-cn/findAlarm-20260920-subset.json"))
    rows = said["data"]["page"]["list"]
    ours = rows[0] | {
        "alertid": identifier,
        "title": "甘肃省甘南藏族自治州舟曲县气象台发布暴雨红色预警信号",
        "pic": "https://image.nmc.cn/assets/img/alarm/p0002001.png",
        "issuetime": f"{datetime.now(BEIJING):%Y/%m/%d %H:%M}",
    }
    source = Source(b"")
    count = 0

    def publish() -> None:
        said["data"]["page"]["list"] = [*rows, ours] if count < 3 else rows
        source.body = json.dumps(said).encode()

    async def sleep(_: float) -> None:
        nonlocal count
        count += 1
        publish()
        if count == 6:
            raise Over

    publish()
    server = await asyncio.start_server(source.serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/list"
        feed = ListFeed("mirror", url, LISTS["nmc"], only=["6230"], sleep=sleep)
        await looks(feed, county, Reading(CodeScheme.MCA, format="nmc"))
    documents = [row for row in reversed(await county.store.documents(10)) if row.feed == "mirror"]
    assert [row.name for row in documents] == [identifier, f"{identifier} (no longer listed)"]
    return [(row.outcome, row.reason) for row in documents]


def an_identifier() -> str:
    return f"62302341600000_{datetime.now(BEIJING):%Y%m%d%H%M%S}"


async def test_a_warning_that_nmc_lists_no_more_waits_for_an_operator_no_longer(county: County) -> None:
    listed, gone = await listed_and_gone(county, an_identifier())
    assert listed[0] is Outcome.HELD
    assert gone == (Outcome.RELEASED, "no longer listed by its source")
    assert not await county.store.alerts(state=AlertState.HELD)
    assert not county.heard_anything


async def test_that_a_mirror_lists_it_no_more_does_not_end_what_the_official_source_issued(
    county: County,
) -> None:
    identifier = an_identifier()
    given = await county.give(cap(identifier=identifier, colour="红色"))
    assert given.alert is not None
    assert given.outcome is Outcome.RELEASED
    await listed_and_gone(county, identifier)
    assert (await county.store.alert(given.alert)).state is AlertState.RELEASED
