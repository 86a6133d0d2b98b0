"""Feeds side by side over the real desk: one that is sick slows and silences no other, and a restart or a
first contact replays nothing as news."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from alerts import formats
from alerts.feed import Document, Feed, Outcome, Trust
from alerts.feeds.cap_index import CapIndexFeed
from alerts.feeds.folder import FolderFeed
from alerts.feeds.inbox import InboxFeed
from alerts.feeds.listing import ListFeed
from alerts.feeds.socket import SocketFeed
from alerts.formats import Reading
from alerts.formats.lists import LISTS
from alerts.model import CodeScheme
from config.load import load
from controller.adapters import open_feed, read_as
from controller.app import StartError, open_app
from controller.store.records import Outcome as Became
from support.county import BEIJING, LIMIT_S, County, a_county, cap
from support.feed_worlds import PLAIN, TOKEN, socket_world, soon

MCA = Reading(CodeScheme.MCA)


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path) as made:
        yield made


@asynccontextmanager
async def served(answer: bytes | None) -> AsyncIterator[str]:
    """A server that gives each request this answer; None to never answer."""
    connections: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for writer in connections:
            writer.close()


async def test_sick_feeds_beside_a_good_one_do_not_keep_its_warning_from_sounding(
    county: County, tmp_path: Path
) -> None:
    """One hangs, one answers 500, one floods with nonsense; the good one's documents come through."""
    (tmp_path / "good").mkdir(mode=0o700)
    (tmp_path / "flood").mkdir(mode=0o700)
    for number in range(300):
        (tmp_path / "flood" / f"{number}.xml").write_bytes(b"<alert>%d</alert>" % number)
    async with (
        served(None) as hanging,
        served(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as broken,
        socket_world() as flooding,
    ):
        for number in range(100):
            flooding.put(f"{number}", b"<nonsense/>")
        good = FolderFeed("bureau", tmp_path / "good")
        sick: list[Feed] = [
            CapIndexFeed("hanging", hanging, deadline=LIMIT_S),
            ListFeed("broken", broken, PLAIN, sleep=soon),
            SocketFeed("flooding", flooding.url, PLAIN),
            FolderFeed("flood", tmp_path / "flood"),
        ]
        tasks = [asyncio.create_task(county.intake.pump(feed, MCA)) for feed in (*sick, good)]
        (tmp_path / "good" / "a.xml").write_bytes(cap())
        async with asyncio.timeout(LIMIT_S):
            while not county.heard_anything:
                await asyncio.sleep(0.02)
        assert sick[0].last_good is None
        assert "500" in sick[1].trouble
        assert good.trouble == ""
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    [row] = await county.store.broadcasts()
    assert await county.ended(row.broadcast.id) == county.in_township("大川镇")


async def given(county: County, body: bytes, *, backlog: bool) -> tuple[Became, str]:
    async def done(outcome: Outcome, reason: str) -> None: ...

    document = Document("bureau", "a.xml", body, datetime.now(BEIJING), done, backlog=backlog)
    taken = await county.intake.accept(document, MCA)
    return taken.outcome, taken.reason


async def test_at_first_contact_what_is_old_is_held_as_catch_up_though_it_is_in_force(county: County) -> None:
    two_hours_ago = datetime.now(BEIJING) - timedelta(hours=2)
    outcome, reason = await given(county, cap(sent=two_hours_ago), backlog=True)
    assert outcome is Became.HELD
    assert "catch-up: it was sent 120 minutes ago" in reason
    assert not county.heard_anything


async def test_what_an_official_feed_brings_late_and_is_in_force_sounds(county: County) -> None:
    outcome, _ = await given(county, cap(sent=datetime.now(BEIJING) - timedelta(hours=2)), backlog=False)
    assert outcome is Became.RELEASED


async def test_a_restart_replays_no_old_file_as_news(county: County, tmp_path: Path) -> None:
    """What lay in the folder while we were down is catch-up; what is put there now is not."""
    folder = tmp_path / "good"
    folder.mkdir(mode=0o700)
    old = datetime.now(BEIJING) - timedelta(hours=3)
    (folder / "old.xml").write_bytes(cap(identifier="62302341600000_20261122090000", sent=old))
    feed = FolderFeed("bureau", folder)
    pump = asyncio.create_task(county.intake.pump(feed, MCA))
    async with asyncio.timeout(LIMIT_S):
        while len(await county.store.documents(5)) < 1:
            await asyncio.sleep(0.02)
        (folder / "new.xml").write_bytes(cap(codes=("623023102000",)))
        while len([row for row in await county.store.documents(5) if row.outcome]) < 2:
            await asyncio.sleep(0.02)
    pump.cancel()
    await asyncio.gather(pump, return_exceptions=True)
    became = {row.name: row.outcome for row in await county.store.documents(5)}
    assert became == {"old.xml": Became.HELD, "new.xml": Became.RELEASED}


async def test_a_document_of_a_list_is_read_again_after_a_crash_as_its_feed_says(county: County) -> None:
    """Before, only the code list was known to recovery, and a JSON document was read as XML."""
    row = json.dumps({"alertid": "1", "title": "x"}).encode()
    await county.store.journal("nmc", "1", row, "0" * 64, 1)
    await county.intake.recover({"nmc": Reading(CodeScheme.MCA, format="nmc")})
    [found] = await county.store.documents(1)
    assert "not well-formed" not in found.reason
    assert found.outcome is not Became.QUARANTINED
    with pytest.raises(formats.AlertError) as read_as_list:
        formats.parse(row, Reading(format="nmc"), now=datetime.now(BEIJING))
    assert found.reason == str(read_as_list.value)


# --- the configured program ----------------------------------------------------------------------------

CONFIG = """\
county: zhouqu
mode: drill
state_dir: ./state
issuer: {{name: 舟曲县应急管理局}}
broker: {{embedded: {{port: 0}}}}
listen: {{api: "127.0.0.1:0", terminals: "127.0.0.1:0"}}
operators: [{{name: 王主任, token_sha256: "{hash}"}}]
feeds:
  - {{name: files, kind: folder, path: ./inbox, authenticated: folder-0700, official: true}}
  - {{name: index, kind: cap_index, url: "http://127.0.0.1:1/", shapes: narrow, codes: mca}}
  - {{name: nmc, kind: list, format: nmc, url: "http://[::1]:1/{{key}}{{page}}", key_file: key, only: ["62"]}}
  - {{name: eew, kind: socket, format: wolfx, url: "ws://127.0.0.1:1/all_eew", stale_after: 20s}}
  - {{name: wis2, kind: wis2, topics: ["cache/#"], hosts: [c.example], brokers: [{{url: "mqtt://127.0.0.1:1"}}]}}
  - {{name: post, kind: inbox, listen: "127.0.0.1:0", token_file: ./token, signers: [./cert.pem]}}
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    for name, text in (("key", "k3y"), ("token", TOKEN)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "cert.pem").write_text("a certificate")
    (tmp_path / "inbox").mkdir(mode=0o700)
    path = tmp_path / "county.yaml"
    path.write_text(CONFIG.format(hash="9" * 64), encoding="utf-8")
    return path


def test_every_kind_of_feed_is_built_as_it_is_configured(config_file: Path, tmp_path: Path) -> None:
    config = load(config_file)
    feeds = {settings.name: open_feed(settings, tmp_path / "state") for settings in config.feeds}
    for settings in config.feeds:
        assert feeds[settings.name].name == settings.name
        assert feeds[settings.name].trust is settings.trust
        assert feeds[settings.name].last_good is None
    assert read_as(config.feeds[1]) == Reading(CodeScheme.MCA, shapes_narrow=True)
    assert read_as(config.feeds[2]).format == "nmc"
    assert read_as(config.feeds[5]).certificates == (b"a certificate",)
    assert feeds["nmc"].trust is Trust.RELAY is LISTS["nmc"].trust
    again = open_feed(config.feeds[4], tmp_path / "state")
    assert again._client == feeds["wis2"]._client, "the broker knows us after a restart"  # type: ignore[attr-defined]


def test_another_county_has_another_name_at_the_broker(config_file: Path, tmp_path: Path) -> None:
    wis2 = load(config_file).feeds[4]
    here, there = open_feed(wis2, tmp_path / "here"), open_feed(wis2, tmp_path / "there")
    assert here._client != there._client  # type: ignore[attr-defined]


async def test_a_guessable_token_stops_the_start(config_file: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("letmein")
    with pytest.raises(StartError, match="32 or more"):
        async with open_app(load(config_file), sandbox=True):
            pass


async def test_a_stale_feed_is_told_once_everywhere_and_once_when_it_is_back(config_file: Path) -> None:
    async with open_app(load(config_file), sandbox=True) as app:
        began = max(vigil.since for vigil in app._vigils.values())
        app.look_at_feeds(began + 10)
        assert (app.stale_feeds(), list(app.alarms)) == ([], [])
        for later in (21.0, 22.0, 30.0):
            app.look_at_feeds(began + later)
        assert [name.split(":")[0] for name in app.stale_feeds()] == ["eew"]
        [alarm] = app.alarms
        assert "feed eew is stale: no sign of life" in alarm
        states = {state.name: state for state in app.feed_states()}
        assert states["eew"].stale
        assert not states["nmc"].stale
        assert (states["eew"].trust, states["files"].trust) == (Trust.UNOFFICIAL, Trust.OFFICIAL)
        app.refresh_gauges()
        text = app.metrics.text().decode()
        assert 'fenghuo_feed_stale{feed="eew"} 1.0' in text
        assert 'fenghuo_feed_stale{feed="nmc"} 0.0' in text
        eew = next(feed for _, feed in app._feeds if feed.name == "eew")
        assert isinstance(eew, SocketFeed)
        eew.last_good = datetime.now(BEIJING)
        app.look_at_feeds(began + 31)
        assert "feed eew is back" in app.alarms[-1]
        assert len(app.alarms) == 2
        assert app.stale_feeds() == []


async def test_a_posted_warning_goes_through_the_running_program_and_its_sender_is_told(
    config_file: Path,
) -> None:
    """The whole controller with every kind of feed, all but the inbox without a world to read."""
    async with open_app(load(config_file), sandbox=True) as app:
        ready = asyncio.Event()
        running = asyncio.create_task(app.run(ready))
        async with asyncio.timeout(LIMIT_S):
            await ready.wait()
            inbox = next(feed for _, feed in app._feeds if feed.name == "post")
            assert isinstance(inbox, InboxFeed)
            while inbox.last_good is None:
                await asyncio.sleep(0.01)
            async with httpx2.AsyncClient(trust_env=False, timeout=LIMIT_S) as client:
                told = await client.post(
                    f"http://127.0.0.1:{inbox.port}/a.xml",
                    content=cap(),
                    headers={"Authorization": f"Bearer {TOKEN}"},
                )
        assert (told.status_code, told.json()["outcome"]) == (200, "taken")
        assert "no release rule matches" in told.json()["reason"]
        [state] = [state for state in app.feed_states() if state.name == "post"]
        assert state.last_document is not None
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert {"feeds", "feed.nmc", "feed.eew", "feed.wis2", "feed.post", "feed.files"} <= names
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        left = {task.get_name() for task in asyncio.all_tasks()}
        assert not {name for name in left if name.startswith(("feed", "wis2", "post", "nmc", "index"))}
