"""Our feeds cannot tell the simulated sources from real ones, on good days and bad."""

import asyncio
import base64
import gzip
import hashlib
import json
import math
import os
import signal
import sys
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import aiomqtt
import httpx2
import msgspec
import pytest
import yaml
from pydantic import TypeAdapter
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from alerts.feed import Outcome
from alerts.feeds.cap_index import CapIndexFeed
from alerts.feeds.folder import FolderFeed
from alerts.feeds.inbox import InboxFeed
from alerts.feeds.listing import ListFeed
from alerts.formats import Reading, parse, wis2
from alerts.formats.lists import LISTS
from alerts.model import AlertError, Colour, MsgType
from config import schema
from controller.cli.sources import as_feed
from simulators import dialects, story
from simulators.feeds import WEATHERCN_REFERER, StoryError, Tally, load, schedule, simulated
from simulators.story import Fault, Scenario, Seconds, Source, Told, Trouble

LIMIT_S = 60.0
"""Bounds a hang; nothing waits for it."""
SHARED = Path(__file__).parents[2].parent / "shared"
RAIN = story.Said(
    at=Seconds(10),
    event="rain",
    codes=("623023",),
    place="甘肃省甘南藏族自治州舟曲县",
    issuer="舟曲县气象台",
    hazard="rainstorm",
    colour=Colour.ORANGE,
    text="预计未来3小时有强降水。",
    valid=Seconds(3600),
)
WARNINGS = (
    RAIN,
    story.Said(at=Seconds(20), event="rain", type=MsgType.UPDATE, colour=Colour.RED),
    story.Said(at=Seconds(30), event="rain", type=MsgType.CANCEL),
)
QUAKES = tuple(
    story.Shaken(Seconds(at), "shock", 33.2, 103.8, magnitude, "四川九寨沟县", depth=18.0, intensity=8.0)
    for at, magnitude in ((12, 5.6), (16, 6.4))
)


class StepClock:
    """Story time that moves only when it is told to."""

    speed = 1.0

    def __init__(self):
        self._now = 0.0
        self._moved = asyncio.Condition()

    def now(self):
        return self._now

    async def until(self, at):
        async with self._moved:
            await self._moved.wait_for(lambda: self._now >= at)

    async def to(self, at):
        async with self._moved:
            self._now = at
            self._moved.notify_all()


@pytest.fixture
def clock():
    return StepClock()


def one(kind, *faults, **settings):
    told = Told("it", kind, faults=tuple(faults), **settings)
    return story.check(Scenario((told,), warnings=WARNINGS, quakes=QUAKES))


async def got(address, headers=None):
    async with httpx2.AsyncClient(trust_env=False, timeout=LIMIT_S) as client:
        return await client.get(address, headers=headers or {})


class Rounds:
    """A feed, one look at the world at a time: `sleep` is the feed's, and lets it go on when told to."""

    def __init__(self, make, reading=Reading()):  # noqa: B008 - frozen
        self._reading = reading
        self._go = asyncio.Semaphore(0)
        self._rested = asyncio.Event()
        self.documents = []
        self.feed = make(self._sleep)

    async def _sleep(self, seconds):
        self._rested.set()
        await self._go.acquire()

    async def run(self, outcome=Outcome.TAKEN):
        async with aclosing(self.feed.documents()) as documents:
            async for document in documents:
                self.documents.append(document)
                try:
                    parse(document.body, self._reading, now=datetime.now(UTC))
                    await document.done(Outcome.TAKEN)
                except AlertError as error:
                    await document.done(Outcome.REFUSED, str(error))

    async def look(self):
        async with asyncio.timeout(LIMIT_S):
            await self._rested.wait()
            self._rested.clear()
            self._go.release()
            await self._rested.wait()

    def alerts(self):
        out = []
        for document in self.documents:
            try:
                out.append(parse(document.body, self._reading, now=datetime.now(UTC)))
            except AlertError:
                out.append(None)
        return out


class Looking:
    """`Rounds` that run as long as the block does."""

    def __init__(self, make, reading=Reading()):  # noqa: B008 - frozen
        self.rounds = Rounds(make, reading)

    async def __aenter__(self):
        self._task = asyncio.create_task(self.rounds.run())
        async with asyncio.timeout(LIMIT_S):
            await self.rounds._rested.wait()
        return self.rounds

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def index(address, deadline=LIMIT_S):
    return lambda sleep: CapIndexFeed("it", address, sleep=sleep, deadline=deadline)


# --- a good day ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Source.CAP_RSS, Source.CAP_ATOM])
async def test_a_cap_index_is_read_message_by_message_as_the_story_goes_on(clock, kind):
    async with simulated(one(kind), clock=clock) as sources, Looking(index(sources.address("it"))) as looking:
        assert looking.alerts() == []
        for at, count in ((15, 1), (25, 2), (35, 3)):
            await clock.to(at)
            await looking.look()
            assert len(looking.documents) == count
        first, update, cancel = looking.alerts()
        assert [a.msg_type for a in looking.alerts()] == [MsgType.ALERT, MsgType.UPDATE, MsgType.CANCEL]
        assert first.main.colour is Colour.ORANGE
        assert update.main.colour is Colour.RED
        assert [a.main.hazard for a in (first, update)] == ["rainstorm"] * 2
        assert update.references[0].identifier == first.identifier
        assert cancel.references[0].identifier == update.identifier
        assert looking.feed.trouble == ""


async def test_an_index_that_has_not_changed_is_answered_with_304(clock):
    async with simulated(one(Source.CAP_RSS), clock=clock) as sources:
        address = sources.address("it")
        first = await got(address)
        again = await got(address, {"If-None-Match": first.headers["etag"]})
        await clock.to(15)
        after = await got(address, {"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code, after.status_code) == (200, 304, 200)
    assert sources.tallies["it"].unchanged == 1


async def test_an_index_holds_its_window_and_no_more(clock):
    async with simulated(one(Source.CAP_RSS, window=2), clock=clock) as sources:
        await clock.to(100)
        body = (await got(sources.address("it"))).text
    assert body.count("<item>") == 2
    assert body.index("lifts") < body.index("updates")  # the newest first
    assert "issues" not in body


async def test_what_is_not_yet_issued_is_not_there(clock):
    start = datetime(2026, 7, 14, tzinfo=UTC)
    scenario = msgspec.structs.replace(one(Source.CAP_RSS), start=start)
    async with simulated(scenario, clock=clock) as sources:
        base = sources.address("it").removesuffix("/rss.xml")
        update = f"{base}/cap/62302341600000_20260714080020.xml"
        await clock.to(15)
        assert (await got(sources.address("it"))).text.count("<item>") == 1
        assert (await got(update)).status_code == 404
        await clock.to(25)
        assert (await got(update)).status_code == 200
        assert sources.tallies["it"].refused == 1


async def test_lists_of_what_is_in_force_drop_what_is_replaced_and_what_has_ended(clock):
    rows = {
        Source.NMC: lambda said: said["data"]["page"]["list"],
        Source.CN12379: lambda said: said["alertData"],
        Source.QWEATHER: lambda said: said["alerts"],
        Source.CAIYUN: lambda said: said["result"]["alert"]["content"],
    }
    told = tuple(Told(kind.value, kind) for kind in rows)
    async with simulated(Scenario(told, warnings=WARNINGS), clock=clock) as sources:
        seen = {kind: [] for kind in rows}
        for at in (5, 15, 25, 35, 35 + dialects.CANCEL_LISTED):
            await clock.to(at)
            for kind, of in rows.items():
                seen[kind].append(len(of((await got(sources.address(kind.value))).json())))
    assert seen[Source.NMC] == seen[Source.CAIYUN] == [0, 1, 1, 0, 0]
    # These two say that it is over, and go on saying so for an hour.
    assert seen[Source.CN12379] == seen[Source.QWEATHER] == [0, 1, 1, 1, 0]


async def test_weather_com_cn_answers_only_who_comes_from_its_own_page(clock):
    async with simulated(one(Source.WEATHERCN), clock=clock) as sources:
        await clock.to(15)
        assert (await got(sources.address("it"))).status_code == 403
        listed = await got(sources.address("it"), {"Referer": WEATHERCN_REFERER})
        row = listed.json()["result"]["data"][0]
        base = sources.address("it").partition("/api/")[0]
        detail = await got(f"{base}/alarm/webdata/{row[1]}", {"Referer": WEATHERCN_REFERER})
    said = json.loads(detail.text.removeprefix("var alarminfo=").removesuffix(";"))
    assert said["identifier"] == row[4]
    assert said["SIGNALLEVEL"] == "橙色"


async def test_the_same_story_is_told_by_every_source_under_the_national_identifier(clock):
    told = tuple(
        Told(kind.value, kind) for kind in (Source.CAP_RSS, Source.NMC, Source.CN12379, Source.CAIYUN)
    )
    async with simulated(Scenario(told, warnings=WARNINGS), clock=clock) as sources:
        await clock.to(15)
        answers = [(await got(sources.address(t.name))).text for t in told]
    identifier = answers[0].partition('<guid isPermaLink="false">')[2].partition("</guid>")[0]
    assert identifier.startswith("62302341600000_")
    assert all(identifier in answer for answer in answers)


async def test_icl_lists_the_latest_report_of_an_earthquake(clock):
    async with simulated(one(Source.ICL), clock=clock) as sources:
        seen = []
        for at in (11, 13, 17):
            await clock.to(at)
            seen.append(
                [(r["updates"], r["magnitude"]) for r in (await got(sources.address("it"))).json()["data"]]
            )
    assert seen == [[], [(1, 5.6)], [(2, 6.4)]]


async def test_a_record_of_warnings_is_replayed_as_a_cap_index_and_lifts_are_added(clock, tmp_path):
    rows = [
        {"adcode": "623023", "type": "暴雨", "color": "橙色", "issued": "2026-07-14T00:10:00Z",
         "expires": "2026-07-14T06:10:00Z", "name": "舟曲县", "first_seen": "2026-07-14T01:00:00Z",
         "last_seen": "2026-07-14T02:00:00Z", "snapshots": 2},
        {"adcode": "621222", "type": "Strong convection", "color": "黄色", "issued": None, "expires": None,
         "name": "文县", "first_seen": "2026-07-14T03:00:00Z", "last_seen": "2026-07-14T04:00:00Z"},
    ]  # fmt: skip
    path = tmp_path / "week.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in rows).encode()))
    async with (
        simulated(load(str(path)), clock=clock) as sources,
        Looking(index(sources.address("cma"))) as looking,
    ):
        await clock.to(5 * 3600)
        await looking.look()
        warning, lift, other = sorted(looking.alerts(), key=lambda alert: alert.sent)
    assert warning.sent == datetime(2026, 7, 14, 0, 10, tzinfo=UTC)
    assert warning.identifier == "62302341600000_20260714081000"
    assert lift.msg_type is MsgType.CANCEL
    assert lift.references[0].identifier == warning.identifier
    assert timedelta() < lift.sent - datetime(2026, 7, 14, 2, tzinfo=UTC) < timedelta(minutes=1)
    assert other.msg_type is MsgType.ALERT
    assert other.main.event == "Strong convection"


def test_a_real_week_becomes_a_story():
    path = SHARED / "data/feeds/wmo-cma/cma-warning-lifecycle-first-week.jsonl.gz"
    if not path.exists():
        pytest.skip("the shared data is not here")
    messages = story.timeline(load(str(path)), lambda at: datetime.now(UTC))
    warnings = [m for m in messages if m.msg_type is MsgType.ALERT]
    assert len(warnings) == 7_982
    assert len({m.identifier for m in messages}) == len(messages)
    assert messages == sorted(messages, key=lambda m: m.at)
    for kind in (Source.CAP_RSS, Source.NMC):
        for message in messages[:200]:
            item = dialects.tell(kind, message)
            assert item is None or item.body


# --- every dialect is what its own reader takes ------------------------------------------------------------


DIALECTS = {
    Source.NMC: "nmc",
    Source.CN12379: "12379",
    Source.WEATHERCN: "weathercn",
    Source.QWEATHER: "qweather",
    Source.CAIYUN: "caiyun",
    Source.FAN: "fanstudio",
    Source.ICL: "icl",
    Source.WOLFX: "wolfx",
}
START = datetime(2026, 7, 14, tzinfo=UTC)


def moment(at):
    return START + timedelta(seconds=at)


def read_all(kind):
    """The alerts that our reader makes of every message of the story in the dialect of `kind`."""
    source = LISTS[DIALECTS[kind]]
    found = []
    for message in story.timeline(one(kind), moment):
        item = dialects.tell(kind, message)
        if item is None:
            continue
        answer = dialects.page(kind, [item], moment)[0] if kind in story.POLLED else item.body
        (row,) = source.split(answer)
        body = source.with_detail(row, item.detail) if source.with_detail and item.detail else row.body
        found.append((message, parse(body, Reading(format=source.name), now=START)))
    return found


@pytest.mark.parametrize("kind", sorted(set(DIALECTS) - story.QUAKES))
def test_a_warning_in_the_dialect_of_each_list_is_read_as_what_it_was(kind):
    found = read_all(kind)
    assert found
    for message, alert in found:
        assert (
            alert.msg_type is message.msg_type or message.msg_type is MsgType.UPDATE
        )  # NMC always says 发布
        assert alert.main.hazard == "rainstorm"
        assert alert.main.colour is message.colour
        assert abs(alert.sent - message.sent) < timedelta(minutes=1)
        if kind is not Source.QWEATHER:
            assert alert.identifier == message.identifier
            assert "623023" in {code.digits for area in alert.main.areas for code in area.codes}


@pytest.mark.parametrize("kind", sorted(story.QUAKES))
def test_an_earthquake_in_the_dialect_of_each_network_is_read_as_what_it_was(kind):
    found = [(message, alert) for message, alert in read_all(kind) if alert.main.quake is not None]
    assert [alert.main.quake.report for _, alert in found] == [1, 2]
    for message, alert in found:
        quake = alert.main.quake
        assert (quake.lat, quake.lon, quake.magnitude) == (message.lat, message.lon, message.magnitude)
        assert quake.depth_km == message.depth
        assert abs(quake.origin - message.origin) < timedelta(seconds=1)
    assert len({alert.event_key for _, alert in found}) == 1


@pytest.mark.parametrize("kind", [Source.WOLFX, Source.FAN])
def test_a_heartbeat_and_a_pong_are_no_rows(kind):
    split = LISTS[DIALECTS[kind]].split
    assert split(dialects.heartbeat(kind, START)) == split(dialects.pong(START)) == []


def test_a_notification_of_wis2_is_read_and_its_content_verified():
    issue = story.timeline(one(Source.WIS2), moment)[0]
    item = dialects.tell(Source.WIS2, issue)
    assert item is not None
    said = wis2.read_notification(dialects.notification(item, "http://127.0.0.1:1/cap/x.xml", START))
    wis2.verify(said, item.body)
    with pytest.raises(AlertError):
        wis2.verify(said, item.body[: len(item.body) // 2])


# --- sockets and brokers ---------------------------------------------------------------------------------


async def heard(connection):
    async with asyncio.timeout(LIMIT_S):
        return json.loads(await connection.recv())


async def test_wolfx_beats_at_once_and_says_its_last_report_again_to_who_connects_later(clock):
    async with simulated(one(Source.WOLFX), clock=clock) as sources, connect(sources.address("it")) as early:
        assert (await heard(early))["type"] == "heartbeat"
        await clock.to(13)
        assert (await heard(early))["ReportNum"] == 1
        await clock.to(17)
        assert (await heard(early))["ReportNum"] == 2
        async with connect(sources.address("it")) as late:
            assert (await heard(late))["type"] == "heartbeat"
            replayed = await heard(late)
        assert (replayed["ReportNum"], replayed["Magnitude"]) == (2, 6.4)
        await early.send("nonsense")
        await early.send("ping")
        assert (await heard(early))["type"] == "pong"  # and nothing came for the nonsense
        await clock.to(100)
        assert (await heard(early))["type"] == "heartbeat"


async def test_the_eighth_connection_is_refused_without_a_word(clock):
    async with simulated(one(Source.WOLFX), clock=clock) as sources:
        address = sources.address("it")
        held = [await connect(address) for _ in range(7)]
        for connection in held:
            await heard(connection)
        async with connect(address) as eighth:
            with pytest.raises(ConnectionClosed):
                await heard(eighth)
        for connection in held:
            await connection.close()
        assert sources.tallies["it"].refused == 1


async def test_fan_closes_a_path_that_it_does_not_know_and_keeps_its_channels_apart(clock):
    async with simulated(one(Source.FAN), clock=clock) as sources:
        base = sources.address("it").removesuffix("/all")
        async with connect(f"{base}/wrong") as wrong:
            with pytest.raises(ConnectionClosed):
                await heard(wrong)
        await clock.to(11)
        async with connect(f"{base}/weatheralarm") as weather, connect(f"{base}/cea") as shaken:
            assert (await heard(weather))["type"] == (await heard(shaken))["type"] == "heartbeat"
            initial = await heard(weather)
            assert initial["type"] == "initial"
            assert initial["Data"]["type"] == "11B03_orange"
            await clock.to(13)
            update = await heard(shaken)
            assert (update["type"], update["Data"]["updates"]) == ("update", 1)


async def test_a_silent_socket_stays_open_and_says_nothing(clock):
    silent = Trouble(Fault.SILENT, after=Seconds(5), until=Seconds(300))
    async with (
        simulated(one(Source.WOLFX, silent), clock=clock) as sources,
        connect(sources.address("it")) as it,
    ):
        await heard(it)
        await clock.to(200)
        while sources.tallies["it"].faults.get(Fault.SILENT, 0) < len(QUAKES):
            await asyncio.sleep(0)
        await it.send("ping")
        await (await it.ping())  # the connection itself is well
        await clock.to(301)
        await it.send("ping")
        said = await heard(it)
    assert said["type"] in ("pong", "heartbeat")  # neither report nor the first pong
    assert sources.tallies["it"].published == 0


async def test_wis2_notifications_come_from_every_broker_and_their_content_is_whole(clock):
    async with simulated(one(Source.WIS2, brokers=2), clock=clock) as sources:
        said = []
        for address in sources.address("it").split():
            port = int(address.rpartition(":")[2])
            async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
                await client.subscribe("cache/a/wis2/+/data/+/weather/advisories-warnings/#", qos=1)
                if not said:
                    other = int(sources.address("it").split()[1].rpartition(":")[2])
                    async with aiomqtt.Client(
                        "127.0.0.1", other, protocol=aiomqtt.ProtocolVersion.V5
                    ) as second:
                        await second.subscribe("cache/#", qos=1)
                        await clock.to(15)
                        for listening in (client, second):
                            async with asyncio.timeout(LIMIT_S):
                                said.append(json.loads((await anext(aiter(listening.messages))).payload))
        assert len(said) == 2
        assert said[0] == said[1]
        properties = said[0]["properties"]
        document = (await got(said[0]["links"][0]["href"])).content
    digest = base64.b64encode(hashlib.sha512(document).digest()).decode()
    assert properties["integrity"] == {"method": "sha512", "value": digest}
    assert properties["content"]["value"].encode() == document
    assert parse(document, now=datetime.now(UTC)).main.hazard == "rainstorm"


# --- folders and inboxes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "format_"), [("", "national"), ("cap", "cap-1.2")])
async def test_a_folder_is_filled_with_documents_that_our_feed_takes(clock, tmp_path, form, format_):
    scenario = one(Source.FOLDER, path=str(tmp_path / "in"), format=form)
    async with simulated(scenario, clock=clock) as sources:
        assert (tmp_path / "in").stat().st_mode & 0o777 == 0o700
        async with Looking(lambda sleep: FolderFeed("it", tmp_path / "in", sleep=sleep)) as looking:
            await clock.to(40)
            while sources.tallies["it"].published < 3:
                await asyncio.sleep(0.01)
            for _ in range(3):
                await looking.look()
    assert sorted(a.msg_type for a in looking.alerts()) == ["Alert", "Cancel", "Update"]
    assert {a.format for a in looking.alerts()} == {format_}


async def test_half_a_file_is_refused_and_a_file_that_comes_twice_keeps_both(clock, tmp_path):
    faults = (Trouble(Fault.DUPLICATED), Trouble(Fault.CUT, after=Seconds(30)))
    async with simulated(one(Source.FOLDER, *faults, path=str(tmp_path)), clock=clock) as sources:
        await clock.to(40)
        while sources.tallies["it"].published < 6:
            await asyncio.sleep(0.01)
    files = sorted(tmp_path.glob("*.xml"))
    assert len(files) == 6
    whole = [path for path in files if path.read_bytes().endswith(b"</alert>")]
    # Everything was put there when story time had passed 30 s, and so was cut.
    assert len(whole) == 0
    assert sources.tallies["it"].faults == {"duplicated": 3, "cut": 6}


class _Inbox(BaseHTTPRequestHandler):
    bodies: list[bytes] = []  # noqa: RUF012

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        good = self.headers["Authorization"] == "Bearer the-token"
        if good:
            self.bodies.append(body)
        self.send_response(200 if good else 401)
        self.end_headers()

    def address_string(self):
        return "loopback"

    def log_message(self, *args):
        pass


@pytest.mark.parametrize(("token", "taken", "refused"), [("the-token", 3, 0), ("another", 0, 3)])
async def test_an_inbox_is_posted_to_with_its_token(clock, tmp_path, token, taken, refused):
    (tmp_path / "token").write_text(token + "\n")
    _Inbox.bodies.clear()
    with HTTPServer(("127.0.0.1", 0), _Inbox) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/inbox"
        scenario = one(Source.INBOX, url=url, token_file=str(tmp_path / "token"))
        try:
            async with simulated(scenario, clock=clock) as sources, asyncio.timeout(LIMIT_S):
                await clock.to(40)
                tally = sources.tallies["it"]
                while tally.published + tally.refused < 3:
                    await asyncio.sleep(0.01)
        finally:
            server.shutdown()
            thread.join()
    assert (tally.published, tally.refused) == (taken, refused)
    assert len(_Inbox.bodies) == taken


async def test_our_own_inbox_takes_what_is_posted_and_refuses_half_of_it(clock, tmp_path):
    token = "0123456789abcdef0123456789abcdef"
    (tmp_path / "token").write_text(token)
    looking = Rounds(lambda sleep: InboxFeed("it", "127.0.0.1", 0, token))
    running = asyncio.create_task(looking.run())
    try:
        async with asyncio.timeout(LIMIT_S):
            while not looking.feed.port:
                await asyncio.sleep(0.01)
            url = f"http://127.0.0.1:{looking.feed.port}/warning"
            cut = Trouble(Fault.CUT, after=Seconds(35))
            scenario = one(Source.INBOX, cut, url=url, token_file=str(tmp_path / "token"))
            async with simulated(scenario, clock=clock) as sources:
                tally = sources.tallies["it"]
                for at, count in ((15, 1), (25, 2), (36, 3)):
                    await clock.to(at)
                    while tally.published + tally.refused < count:
                        await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert (tally.published, tally.refused) == (2, 1)
    assert [a and a.msg_type for a in looking.alerts()] == [MsgType.ALERT, MsgType.UPDATE, None]


# --- bad days --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault.ERROR_500,
        Fault.FORBIDDEN,
        Fault.HTML,
        Fault.REDIRECT,
        Fault.WRONG_LENGTH,
        Fault.CUT,
        Fault.EMPTY,
    ],
)
async def test_a_source_that_was_ill_loses_nothing_once_it_is_well(clock, fault):
    ill = Trouble(fault, after=Seconds(5), until=Seconds(50))
    scenario = one(Source.CAP_RSS, ill)
    async with simulated(scenario, clock=clock) as sources, Looking(index(sources.address("it"))) as looking:
        await clock.to(40)
        await looking.look()
        assert looking.documents == []
        assert bool(looking.feed.trouble) is (fault is not Fault.EMPTY)
        assert sources.tallies["it"].faults[fault] >= 1
        await clock.to(60)
        for _ in range(2):
            await looking.look()
        assert len(looking.documents) == 3
        assert looking.feed.trouble == ""


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.SLOW])
async def test_a_source_that_never_finishes_its_answer_is_given_up(clock, fault):
    scenario = one(Source.CAP_RSS, Trouble(fault))
    async with (
        simulated(scenario, clock=clock) as sources,
        Looking(index(sources.address("it"), deadline=0.2)) as looking,
    ):
        await looking.look()
        assert "took longer than 0.2 s" in looking.feed.trouble
        assert looking.feed.last_good is None


async def test_an_empty_list_ends_nothing_and_a_row_that_is_gone_ends_what_it_said(clock):
    empty = Trouble(Fault.EMPTY, after=Seconds(14), until=Seconds(16))
    scenario = one(Source.NMC, empty)

    def listing(sleep):
        return ListFeed("it", sources.address("it"), LISTS["nmc"], sleep=sleep)

    reading = Reading(format="nmc")
    async with simulated(scenario, clock=clock) as sources, Looking(listing, reading) as looking:
        for at, looks, count in ((13, 1, 1), (15, 3, 1), (25, 2, 3), (35, 9, 4)):
            await clock.to(at)
            for _ in range(looks):
                await looking.look()
            assert len(looking.documents) == count
        assert sources.tallies["it"].faults == {"empty": 6}  # three looks at two pages
    names = [document.name for document in looking.documents]
    assert names[2] == f"{names[0]} (no longer listed)"
    assert names[3] == f"{names[1]} (no longer listed)"


async def test_documents_that_are_cut_are_asked_for_again(clock):
    ill = Trouble(Fault.CUT, share=0.5)
    scenario = msgspec.structs.replace(one(Source.CAP_ATOM, ill), seed=3)
    async with simulated(scenario, clock=clock) as sources, Looking(index(sources.address("it"))) as looking:
        await clock.to(40)
        for _ in range(60):
            await looking.look()
    assert sources.tallies["it"].faults[Fault.CUT] > 3
    whole = [alert for alert in looking.alerts() if alert is not None]
    assert {a.msg_type for a in whole} == {MsgType.ALERT, MsgType.UPDATE, MsgType.CANCEL}
    assert len(whole) < len(looking.documents)  # some came broken, and then whole


def items():
    moment = datetime(2026, 7, 14, tzinfo=UTC)
    messages = story.timeline(one(Source.CAP_RSS), lambda at: moment + timedelta(seconds=at))
    return [item for message in messages if (item := dialects.tell(Source.CAP_RSS, message))]


def test_a_schedule_has_the_lag_and_the_faults_of_its_source():
    plain = Told("it", Source.CAP_RSS, lag=Seconds(5))
    assert [item.at for item in schedule(items(), plain, 0)[0]] == [15, 25, 35]
    late = Told("it", Source.CAP_RSS, faults=(Trouble(Fault.LATE, by=Seconds(100), until=Seconds(15)),))
    out, dealt = schedule(items(), late, 0)
    assert [item.at for item in out] == [20, 30, 110]
    assert dealt == {Fault.LATE: 1}
    twice, dealt = schedule(items(), Told("it", Source.CAP_RSS, faults=(Trouble(Fault.DUPLICATED),)), 0)
    assert [twice.count(item) for item in twice] == [1] * 6  # the second a moment later
    assert len({item.key for item in twice}) == 3
    assert dealt == {Fault.DUPLICATED: 3}
    mixed, _ = schedule(items(), Told("it", Source.CAP_RSS, faults=(Trouble(Fault.REORDERED),)), 0)
    assert [item.key for item in mixed] != [item.key for item in items()]
    assert {item.key for item in mixed} == {item.key for item in items()}


def test_faults_strike_the_same_messages_for_the_same_seed_and_the_share_that_was_wanted():
    told = Told("it", Source.CAP_RSS, faults=(Trouble(Fault.LATE, share=0.3),))
    many = [replace(items()[0], key=str(n)) for n in range(2_000)]
    first, again, other = (schedule(many, told, seed)[1][Fault.LATE] for seed in (1, 1, 2))
    assert first == again
    assert {i.key for i in schedule(many, told, 1)[0] if i.at > 11} != {
        i.key for i in schedule(many, told, 2)[0] if i.at > 11
    }
    for count in (first, other):
        assert math.isclose(count / 2_000, 0.3, abs_tol=0.05)


# --- scenarios -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", story.names())
async def test_the_shipped_scenarios_run(name):
    async with simulated(load(name), speed=100_000) as sources, asyncio.timeout(LIMIT_S):
        while not all(t.published for t in sources.tallies.values() if t.kind in story.SOCKETS):
            await asyncio.sleep(0.01)
        assert all(t.messages for t in sources.tallies.values())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sources: []", "nobody would tell"),
        ("sources: [{name: a, kind: carrier_pigeon}]", "carrier_pigeon"),
        ("sources: [{name: a, kind: nmc, odd: 1}]", "odd"),
        ("sources: [{name: a, kind: nmc, lag: 10}]", "10m"),
        ("sources: [{name: a, kind: nmc}, {name: a, kind: icl}]", "two sources"),
        ("sources: [{name: a, kind: wolfx, faults: [{fault: redirect}]}]", "wolfx cannot be redirect"),
        ("sources: [{name: a, kind: nmc, faults: [{fault: cut, share: 2}]}]", "share"),
        ("sources: [{name: a, kind: folder}]", "path"),
        ("sources: [{name: a, kind: inbox, url: 'http://127.0.0.1:1'}]", "token_file"),
        ("sources: [{name: a, kind: nmc}]\nstart: 2026-07-13T08:00:00", "zone"),
        ("sources: [{name: a, kind: nmc}]\nwarnings: [{at: 1s, event: x, hazard: rian}]", "rian"),
        ("sources: [{name: a, kind: nmc}]\nwarnings: [{at: 1s, event: x, hazard: gale}]", "first message"),
        ("sources: [{name: a, kind: nmc}]\nwarnings: [{at: 1s, event: x, codes: ['62']}]", "digits"),
        ("sources: [", "line"),
        ("7", "Expected `object`"),
    ],
)
def test_a_scenario_that_makes_no_sense_says_where_and_why(tmp_path, text, words):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(StoryError) as error:
        load(str(path))
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("lines", "words"),
    [("", "no line"), ("{", ":1:"), ("[1]", "not an object"), ('{"adcode": "62"}', "first_seen")],
)
def test_a_record_that_cannot_be_read_says_where_and_why(tmp_path, lines, words):
    path = tmp_path / "week.jsonl"
    path.write_text(lines)
    with pytest.raises(StoryError) as error:
        story.timeline(load(str(path)), lambda at: datetime.now(UTC))
    assert words in str(error.value)


def test_a_scenario_that_is_not_there_names_those_that_are():
    with pytest.raises(StoryError, match="five-sources"):
        load("no-such-day")


# --- the program -----------------------------------------------------------------------------------------


def test_each_source_is_shown_as_a_feed_that_a_configuration_takes(tmp_path):
    addresses = {
        Source.WIS2: "mqtt://127.0.0.1:1 mqtt://127.0.0.1:2",
        Source.FOLDER: str(tmp_path),
        Source.WOLFX: "ws://127.0.0.1:1/all_eew",
        Source.FAN: "ws://127.0.0.1:1/all",
    }
    for kind in set(Source) - {Source.INBOX}:
        line = as_feed(Tally(kind.value, kind, addresses.get(kind, "http://127.0.0.1:1/{page}")))
        feed = TypeAdapter(schema.Feed).validate_python(yaml.safe_load(line))
        assert feed.name == kind.value
        assert not feed.official
    assert as_feed(Tally("post", Source.INBOX, "http://127.0.0.1:1/{page}")) == ""


async def test_the_program_says_where_its_sources_are_and_at_the_end_what_they_did(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "warnings: [{at: 0s, event: r, codes: ['623023'], place: 舟曲县, issuer: 气象台, hazard: gale}]\n"
        "sources: [{name: cma, kind: cap_rss}, {name: wis2, kind: wis2}]\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "controller.cli", "simulate", "feeds", "--json",
        "--scenario", str(tmp_path / "s.yaml"),
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LIMIT_S):
            ready = json.loads(await process.stdout.readline())
            addresses = {row["name"]: row["address"] for row in ready["data"]}
            assert (
                "大风" in (await got(addresses["cma"])).text or "gale" in (await got(addresses["cma"])).text
            )
            process.send_signal(signal.SIGTERM)
            report = json.loads(await process.stdout.readline())
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    rows = {row["name"]: row for row in report["data"]}
    assert rows["cma"]["requests"] >= 1
    port = int(addresses["wis2"].rpartition(":")[2])
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)  # its broker has ended with it
