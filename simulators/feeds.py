"""The sources of warnings, simulated: one process on loopback that tells a `Scenario` as each source would,
at any speed, with faults.

HTTP is written by hand: a server that only knows how to be right cannot send half an answer. Sockets and
brokers are real ones.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import aiomqtt
import httpx2
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from simulators import dialects
from simulators.broker import BrokerError, EmbeddedBroker
from simulators.dialects import Item
from simulators.story import (
    ON_ITEMS,
    POLLED,
    SOCKETS,
    Fault,
    Moment,
    Report,
    Scenario,
    Source,
    StoryError,
    Told,
    Trouble,
    load,
    timeline,
)

__all__ = ["Clock", "FeedsError", "Sources", "StoryClock", "StoryError", "load", "simulated"]

HOST: Final = "127.0.0.1"
HEARTBEAT: Final = 60.0
"""Story seconds between heartbeats of Wolfx and FAN Studio (`feeds.md` §2.10)."""
MOST_CONNECTIONS: Final = 7
"""Of one address; further ones are refused without a word (`feeds.md` §2.10)."""
WEATHERCN_REFERER: Final = "http://www.weather.com.cn/alarm/index.shtml"
POST_TRIES: Final = 30
_HEAD: Final = 65_536
_HEAD_S: Final = 10.0
# Real seconds between the bytes of a slow answer, and between looks at a folder that is filled slowly.
_DRIP_S: Final = 1.0
_STEP: Final = 0.001
_MAINTENANCE: Final = (
    "<!DOCTYPE html><html><head><title>系统维护</title></head><body><p>系统维护中</body></html>"
)

_LISTS: Final = {
    Source.CAP_ATOM: "/index.atom",
    Source.CAP_RSS: "/rss.xml",
    Source.NMC: "/rest/findAlarm",
    Source.CN12379: "/data/alarm_list_all.html",
    Source.WEATHERCN: "/api/v1/traffic/alarm/alarmMap",
    Source.QWEATHER: "/weatheralert/v1/current/33.78/104.37",
    Source.CAIYUN: "/v2.6/token/104.37,33.78/realtime",
    Source.ICL: "/v1/earlywarnings",
}
_PATHS: Final = {Source.WOLFX: ("/all_eew", "/cenc_eew"), Source.FAN: ("/all", "/cea", "/weatheralarm")}


class FeedsError(Exception):
    """A source cannot be set up here: which, why, and what to do."""


class Clock(Protocol):
    """The story's time in seconds."""

    speed: float

    def now(self) -> float:
        """Seconds since the beginning."""

    async def until(self, at: float) -> None:
        """Returns when the story has come to `at`; at once when it has passed it."""


class StoryClock:
    """Real time, `speed` times as fast. Begins when it is made."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self._began = time.monotonic()

    def now(self) -> float:
        return (time.monotonic() - self._began) * self.speed

    async def until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - self.now()) / self.speed)


@dataclass(slots=True)
class Tally:
    """What one source has done so far."""

    name: str
    kind: Source
    address: str
    messages: int = 0
    """In the story; what is not yet due counts too."""
    published: int = 0
    """Pushed, written or posted."""
    requests: int = 0
    unchanged: int = 0
    """Answered with 304."""
    connections: int = 0
    refused: int = 0
    """Requests for what is not there or without what the source demands; posts that were not taken."""
    faults: dict[str, int] = field(default_factory=dict)
    """How often each has struck; late, twice and out of order are counted for the whole story."""

    def strikes(self, fault: Fault) -> None:
        self.faults[fault] = self.faults.get(fault, 0) + 1


@dataclass(frozen=True, slots=True)
class Sources:
    """The simulated sources while they run."""

    tallies: dict[str, Tally]
    """By the source's name, in the scenario's order."""
    tasks: tuple[asyncio.Task[None], ...]
    """Of those that push. One that fails has met a fault of ours."""

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises what made a source fail."""
        stopped = asyncio.create_task(stop.wait(), name="sources.stop")
        left: set[asyncio.Task[object]] = {stopped, *self.tasks}
        try:
            while not stopped.done():
                done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            stopped.cancel()

    def address(self, name: str) -> str:
        """URL, folder or broker(s) of a source; several brokers are separated by spaces."""
        return self.tallies[name].address


# --- faults: which request or message they strike --------------------------------------------------------


def chance(seed: int, *words: object) -> float:
    """In [0, 1), always the same for the same words."""
    digest = hashlib.sha256("\0".join(map(str, (seed, *words))).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def struck(told: Told, seed: int, at: float, key: object, among: frozenset[Fault]) -> Trouble | None:
    """The first fault of `told` among these that strikes what has `key` at story time `at`."""
    for trouble in told.faults:
        in_time = trouble.after <= at and (trouble.until is None or at < trouble.until)
        hit = chance(seed, told.name, trouble.fault, key) < trouble.share
        if trouble.fault in among and in_time and hit:
            return trouble
    return None


def schedule(items: Sequence[Item], told: Told, seed: int) -> tuple[list[Item], Counter[str]]:
    """When each message is there, in order: with the source's lag, late, twice and out of order; and how many
    of each there are."""
    dealt: Counter[str] = Counter()
    out: list[Item] = []
    lagged = sorted((_shifted(item, told.lag) for item in items), key=lambda item: item.at)
    for place, item in enumerate(lagged):
        at = item.at
        after = lagged[place + 1] if place + 1 < len(lagged) else None
        late = struck(told, seed, at, item.key, frozenset({Fault.LATE}))
        if late is not None:
            dealt[Fault.LATE] += 1
            item = replace(item, at=item.at + late.by)
        if after is not None and struck(told, seed, at, item.key, frozenset({Fault.REORDERED})):
            dealt[Fault.REORDERED] += 1
            item = replace(item, at=max(item.at, after.at + _STEP))
        out.append(item)
        if struck(told, seed, at, item.key, frozenset({Fault.DUPLICATED})):
            dealt[Fault.DUPLICATED] += 1
            out.append(replace(item, at=item.at + _STEP))
    return sorted(out, key=lambda item: item.at), dealt


def _shifted(item: Item, by: float) -> Item:
    return replace(item, at=item.at + by, until=None if item.until is None else item.until + by)


def visible(kind: Source, items: Sequence[Item], now: float, window: int) -> list[Item]:
    """What a list shows at `now`, oldest first."""
    there = [item for item in items if item.at <= now and (item.until is None or now < item.until)]
    if kind is Source.ICL:  # one row an event: its latest report
        latest = {item.of.event: item for item in there if isinstance(item.of, Report)}
        there = [item for item in there if item.of is None or item in latest.values()]
    return there[-window:]


# --- HTTP ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    listing: bool = False
    """Whether this is the list, of which an empty one can be made."""


class _Teller:
    """What every source has: its messages, the time, and what it has done."""

    def __init__(self, told: Told, items: list[Item], clock: Clock, moment: Moment, seed: int) -> None:
        self.told = told
        self.items, dealt = schedule(items, told, seed)
        self.clock = clock
        self.moment = moment
        self.seed = seed
        self.tally = Tally(told.name, told.kind, "", messages=len(items), faults=dict(dealt))

    def struck(self, key: object, among: frozenset[Fault]) -> Fault | None:
        """The fault that strikes now, counted."""
        found = struck(self.told, self.seed, self.clock.now(), key, among)
        if found is None:
            return None
        self.tally.strikes(found.fault)
        return found.fault

    def cut(self, item: Item) -> bytes:
        """The message, or half of it."""
        if self.struck(item.key, frozenset({Fault.CUT})) is None:
            return item.body
        return item.body[: len(item.body) // 2]

    async def each(self, publish: Callable[[Item], Awaitable[None]]) -> None:
        """Every message at its time."""
        for item in self.items:
            await self.clock.until(item.at)
            await publish(item)


class _Web(_Teller):
    """A source that is asked. One request a connection."""

    def __init__(self, told: Told, items: list[Item], clock: Clock, moment: Moment, seed: int) -> None:
        super().__init__(told, items, clock, moment, seed)
        self._by_path = {path: item for item in self.items for path in self._paths(item)}
        self._talks: set[asyncio.Task[None]] = set()
        self.base = ""

    async def start(self, stack: AsyncExitStack) -> None:
        try:
            server = await asyncio.start_server(self._talk, HOST, self.told.port, limit=_HEAD)
        except OSError as error:
            raise FeedsError(
                f"{self.told.name}: port {self.told.port} on {HOST}: {error.strerror}"
            ) from error
        stack.push_async_callback(self._close, server)
        self.base = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
        # NMC's list comes in pages; here all of it is on each.
        paged = "?pageNo={page}&pageSize=300" if self.told.kind is Source.NMC else ""
        self.tally.address = self.base + _LISTS.get(self.told.kind, "") + paged

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        await server.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            async with asyncio.timeout(_HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
            await self._serve(head.decode("latin-1"), reader, writer)
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # whoever asked went away, or asked nothing
        except asyncio.CancelledError:
            pass  # we end; a cancelled handler would be reported as a fault of the server's
        finally:
            self._talks.discard(task)
            writer.close()

    async def _serve(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = head.split("\r\n")
        method, _, rest = first.partition(" ")
        path = rest.rpartition(" ")[0] or rest
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        number = self.tally.requests
        self.tally.requests += 1
        answer = self._answer(urlsplit(path).path, headers) if method == "GET" else _Answer(405)
        among = frozenset(Fault) - ON_ITEMS - (frozenset() if answer.listing else {Fault.EMPTY})
        fault = self.struck(number, among)
        if fault is Fault.EMPTY:
            body, kind = dialects.page(self.told.kind, (), self.moment)
            answer, fault = _Answer(200, body, kind), None
        if fault is None and answer.status == 304:
            self.tally.unchanged += 1
        if fault is None and answer.status >= 400:
            self.tally.refused += 1
        await self._write(answer, fault, reader, writer)

    async def _write(
        self, answer: _Answer, fault: Fault | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        match fault:
            case Fault.SILENT:
                await reader.read()  # until whoever asked gives up
                return
            case Fault.ERROR_500:
                answer = _Answer(500, b"internal error\n")
            case Fault.FORBIDDEN:
                answer = _Answer(403, b"forbidden\n")
            case Fault.REDIRECT:
                answer = _Answer(302, headers=(("Location", f"{self.base}/login"),))
            case Fault.HTML:
                answer = _Answer(200, _MAINTENANCE.encode(), "text/html; charset=utf-8")
            case Fault.CUT:
                answer = replace(answer, body=answer.body[: len(answer.body) // 2])
            case _:
                pass
        length = len(answer.body)
        promised = length + 1 + length // 2 if fault is Fault.WRONG_LENGTH else length
        lines = [
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
            f"Date: {format_datetime(datetime.now(UTC), usegmt=True)}",
            f"Content-Type: {answer.kind}",
            f"Content-Length: {promised}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in answer.headers),
        ]
        writer.write("\r\n".join((*lines, "", "")).encode())
        if fault is Fault.SLOW:
            for byte in answer.body:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(_DRIP_S)
        else:
            writer.write(answer.body)
        await writer.drain()

    def _answer(self, path: str, headers: dict[str, str]) -> _Answer:
        now, kind = self.clock.now(), self.told.kind
        path = unquote(path)
        if kind is Source.WEATHERCN and headers.get("referer") != WEATHERCN_REFERER:
            return _Answer(403, b"forbidden\n")
        if self._is_list(path):
            items = visible(kind, self.items, now, self.told.window)
            body, mime = dialects.page(kind, items, self.moment)
            return self._conditional(body, mime, headers)
        item = self._by_path.get(path)
        if item is None or item.at > now:
            return _Answer(404, b"not found\n")
        if kind is Source.NMC:
            return _Answer(200, item.detail, "text/html; charset=utf-8")
        if kind is Source.WEATHERCN:
            return _Answer(200, item.detail, "text/html; charset=utf-8")
        return _Answer(200, item.body, "application/cap+xml")

    def _is_list(self, path: str) -> bool:
        """Whether the list is asked for; a place in the path (QWeather, Caiyun) may be any."""
        if self.told.kind is Source.QWEATHER:
            return path.startswith("/weatheralert/v1/current/")
        if self.told.kind is Source.CAIYUN:
            return path.startswith("/v2.6/") and path.endswith("/realtime")
        return path == _LISTS.get(self.told.kind)

    def _conditional(self, body: bytes, mime: str, headers: dict[str, str]) -> _Answer:
        """With an ETag where the source has one (`feeds.md` §7); 304 to who has it."""
        name = {Source.CAP_ATOM: "ETag", Source.CAP_RSS: "ETag", Source.CAIYUN: "x-cy-etag"}.get(
            self.told.kind
        )
        if name is None:
            return _Answer(200, body, mime, listing=True)
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if headers.get("if-none-match") == tag:
            return _Answer(304, headers=((name, tag),), listing=True)
        return _Answer(200, body, mime, ((name, tag),), listing=True)

    def _paths(self, item: Item) -> tuple[str, ...]:
        match self.told.kind:
            case Source.NMC:
                return (f"/publish/alarm/{item.key}.html",) if item.detail else ()
            case Source.WEATHERCN:
                return (f"/alarm/webdata/{json.loads(item.body)[1]}",) if item.detail else ()
            case Source.CAP_ATOM | Source.CAP_RSS | Source.WIS2:
                return (f"/cap/{item.key}.xml",)
            case _:
                return ()


# --- sockets, brokers, folders, inboxes ------------------------------------------------------------------


class _Socket(_Teller):
    """Wolfx or FAN Studio: pushes, beats, and says its last message again to who has just connected."""

    def __init__(self, told: Told, items: list[Item], clock: Clock, moment: Moment, seed: int) -> None:
        super().__init__(told, items, clock, moment, seed)
        self._there: dict[ServerConnection, str] = {}
        self._last: dict[str, Item] = {}

    async def start(self, stack: AsyncExitStack) -> None:
        try:
            server = await stack.enter_async_context(serve(self._talk, HOST, self.told.port))
        except OSError as error:
            raise FeedsError(
                f"{self.told.name}: port {self.told.port} on {HOST}: {error.strerror}"
            ) from error
        port = next(iter(server.sockets)).getsockname()[1]
        self.tally.address = f"ws://{HOST}:{port}{_PATHS[self.told.kind][0]}"

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.each(self._publish), name=f"{self.told.name}.story")
            tasks.create_task(self._beat(), name=f"{self.told.name}.heartbeat")

    def _silent(self) -> bool:
        return struck(self.told, self.seed, self.clock.now(), "", frozenset({Fault.SILENT})) is not None

    async def _publish(self, item: Item) -> None:
        body = self.cut(item)
        self._last[_channel(item)] = replace(item, body=body)
        if self._silent():
            self.tally.strikes(Fault.SILENT)
            return
        self.tally.published += 1
        broadcast(
            [c for c, path in self._there.items() if _hears(path, item)], body.decode("utf-8", "replace")
        )

    async def _beat(self) -> None:
        while True:
            await self.clock.until(self.clock.now() + HEARTBEAT)
            if not self._silent():
                broadcast(list(self._there), self._heartbeat())

    def _heartbeat(self) -> str:
        return dialects.heartbeat(self.told.kind, self.moment(self.clock.now())).decode()

    async def _talk(self, connection: ServerConnection) -> None:
        path = urlsplit(connection.request.path).path if connection.request else ""
        if path not in _PATHS[self.told.kind] or len(self._there) >= MOST_CONNECTIONS:
            self.tally.refused += 1
            return  # the connection is closed without a word
        self.tally.connections += 1
        self._there[connection] = path
        try:
            if not self._silent():
                await connection.send(self._heartbeat())
                for item in self._known(path):
                    await connection.send(self._again(item))
            async for asked in connection:
                await self._reply(connection, path, asked)
        except ConnectionClosed:
            pass
        finally:
            del self._there[connection]

    def _known(self, path: str) -> list[Item]:
        return [item for item in self._last.values() if _hears(path, item)]

    def _again(self, item: Item) -> str:
        body = dialects.fan_initial(item.body) if self.told.kind is Source.FAN else item.body
        return body.decode("utf-8", "replace")

    async def _reply(self, connection: ServerConnection, path: str, asked: str | bytes) -> None:
        """`ping` and the queries; anything else is met with silence."""
        word = asked if isinstance(asked, str) else ""
        if word.lstrip().startswith("{"):
            try:
                word = str(json.loads(word).get("type", ""))
            except ValueError:
                return
        if self._silent():
            return
        if word == "ping":
            await connection.send(dialects.pong(self.moment(self.clock.now())).decode())
        elif word in ("query_cenceew", "query"):
            for item in self._known(path):
                await connection.send(self._again(item))


def _channel(item: Item) -> str:
    return "quake" if isinstance(item.of, Report) else "weather" if item.of is not None else "recorded"


def _hears(path: str, item: Item) -> bool:
    """Whether who listens at `path` hears of it."""
    channel = _channel(item)
    return path not in ("/cea", "/weatheralarm") or channel == {"/cea": "quake"}.get(path, "weather")


class _Wis2(_Web):
    """Notifications over real brokers; the documents lie on a web server."""

    def __init__(self, told: Told, items: list[Item], clock: Clock, moment: Moment, seed: int) -> None:
        super().__init__(told, items, clock, moment, seed)
        self._brokers: list[EmbeddedBroker] = []

    async def start(self, stack: AsyncExitStack) -> None:
        await super().start(stack)
        for number in range(self.told.brokers):
            broker = EmbeddedBroker(self.told.port + 1 + number if self.told.port else 0)
            try:
                await stack.enter_async_context(broker)
            except BrokerError as error:
                raise FeedsError(f"{self.told.name}: {error}") from error
            self._brokers.append(broker)
        self.tally.address = " ".join(f"mqtt://{HOST}:{broker.port}" for broker in self._brokers)

    async def run(self) -> None:
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(
                    aiomqtt.Client(HOST, broker.port, protocol=aiomqtt.ProtocolVersion.V5)
                )
                for broker in self._brokers
            ]

            async def publish(item: Item) -> None:
                address = f"{self.base}{self._paths(item)[0]}"
                said = dialects.notification(item, address, self.moment(item.at))
                if self.struck(item.key, frozenset({Fault.SILENT})):
                    return
                if self.struck(item.key, frozenset({Fault.CUT})):
                    said = said[: len(said) // 2]
                for client in clients:
                    await client.publish(dialects.TOPIC, said, qos=1)
                if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                    raise asyncio.CancelledError  # aiomqtt may have swallowed it (Python 3.11)
                self.tally.published += 1

            await self.each(publish)


class _Folder(_Teller):
    """Files, as an FTP server or a copy script puts them."""

    async def start(self, stack: AsyncExitStack) -> None:
        self._path = Path(self.told.path)
        self.tally.address = str(self._path)
        await asyncio.to_thread(self._make)

    def _make(self) -> None:
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise FeedsError(f"{self.told.name}: {self._path}: {error.strerror}") from error

    async def run(self) -> None:
        await self.each(self._publish)

    async def _publish(self, item: Item) -> None:
        body = self.cut(item)
        if self.struck(item.key, frozenset({Fault.SLOW})):
            target = await asyncio.to_thread(self._begin, item.key)
            third = len(body) // 3 + 1
            for start in range(0, len(body), third):
                await asyncio.to_thread(_append, target, body[start : start + third])
                await asyncio.sleep(_DRIP_S)
        else:
            await asyncio.to_thread(self._put, item.key, body)
        self.tally.published += 1

    def _free(self, key: str) -> Path:
        stem, number = key.removesuffix(".xml").replace("/", "_"), 1
        target = self._path / f"{stem}.xml"
        while target.exists():
            number += 1
            target = self._path / f"{stem}.{number}.xml"
        return target

    def _begin(self, key: str) -> Path:
        target = self._free(key)
        target.touch(mode=0o600)
        return target

    def _put(self, key: str, body: bytes) -> None:
        aside = self._path / f".{self.told.name}.part"
        aside.write_bytes(body)
        aside.rename(self._free(key))


def _append(target: Path, piece: bytes) -> None:
    with target.open("ab") as file:
        file.write(piece)


class _Inbox(_Teller):
    """Posts each document to a controller's inbox."""

    async def start(self, stack: AsyncExitStack) -> None:
        self.tally.address = self.told.url
        try:
            token = await asyncio.to_thread(Path(self.told.token_file).read_text, encoding="utf-8")
        except OSError as error:
            where = f"{self.told.name}: token_file {self.told.token_file}"
            raise FeedsError(f"{where}: {error.strerror}") from error
        self._client = await stack.enter_async_context(
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {token.strip()}"}, trust_env=False)
        )

    async def run(self) -> None:
        await self.each(self._publish)

    async def _publish(self, item: Item) -> None:
        body = self.cut(item)
        for _ in range(POST_TRIES):
            try:
                answer = await self._client.post(
                    self.told.url, content=body, headers={"Content-Type": "application/xml"}
                )
            except httpx2.TransportError:
                await asyncio.sleep(_DRIP_S)  # the controller may be starting
                continue
            if answer.status_code in (429, 503):
                await asyncio.sleep(_DRIP_S)  # not now
                continue
            if answer.status_code >= 400:
                break
            self.tally.published += 1
            return
        self.tally.refused += 1


# --- the whole -------------------------------------------------------------------------------------------


@asynccontextmanager
async def simulated(
    scenario: Scenario, *, speed: float = 1.0, clock: Clock | None = None, seed: int | None = None
) -> AsyncIterator[Sources]:
    """Runs the sources of `scenario` until the block ends.

    `speed`: story seconds per second. `clock`: instead of real time at that speed. `seed`: instead of the
    scenario's. Raises StoryError for what the scenario names and is not there, FeedsError for a port, a
    folder or a broker that cannot be had.
    """
    clock = clock or StoryClock(speed)
    seed = scenario.seed if seed is None else seed
    began, pace = scenario.start or datetime.now(UTC), 1.0 if scenario.start else clock.speed

    def moment(at: float) -> datetime:
        return began + timedelta(seconds=at / pace)

    messages = await asyncio.to_thread(timeline, scenario, moment)
    tellers: list[_Made] = []
    for told in scenario.sources:
        items = [item for m in messages if (item := dialects.tell(told.kind, m, form=told.format))]
        items += await asyncio.to_thread(_recorded, told, Path(scenario.base))
        tellers.append(_make(told, items, clock, moment, seed))
    async with AsyncExitStack() as stack:
        for teller in tellers:
            await teller.start(stack)
        running = [
            asyncio.create_task(teller.run(), name=f"source.{teller.told.name}")
            for teller in tellers
            if isinstance(teller, _Socket | _Wis2 | _Folder | _Inbox)
        ]
        try:
            yield Sources({teller.told.name: teller.tally for teller in tellers}, tuple(running))
        finally:
            for task in running:
                task.cancel()
            for ended in await asyncio.gather(*running, return_exceptions=True):
                if isinstance(ended, Exception):
                    raise ended


_Made = _Web | _Socket | _Wis2 | _Folder | _Inbox


def _make(told: Told, items: list[Item], clock: Clock, moment: Moment, seed: int) -> _Made:
    if told.kind in POLLED:
        return _Web(told, items, clock, moment, seed)
    if told.kind in SOCKETS:
        return _Socket(told, items, clock, moment, seed)
    if told.kind is Source.WIS2:
        return _Wis2(told, items, clock, moment, seed)
    return (_Folder if told.kind is Source.FOLDER else _Inbox)(told, items, clock, moment, seed)


def _recorded(told: Told, base: Path) -> list[Item]:
    items = []
    for recorded in told.documents:
        path = base / recorded.file
        try:
            body = path.read_bytes()
        except OSError as error:
            raise StoryError(f"sources: {told.name}: {path}: {error.strerror}") from error
        if told.kind in POLLED - {Source.CAP_ATOM, Source.CAP_RSS}:
            _row(body, f"sources: {told.name}: {path}")
        until = None if recorded.until is None else float(recorded.until)
        items.append(Item(recorded.at, until, path.stem, body))
    return items


def _row(body: bytes, where: str) -> None:
    try:
        json.loads(body)
    except ValueError as error:
        raise StoryError(f"{where}: a row of this source is JSON: {error}") from error
