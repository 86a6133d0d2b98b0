"""A controller for the fleet's tests: real enrolment, real seals, a real broker's client; no store, no plan.

It answers over HTTP what the fleet asks for, says the time to whoever says hello, and keeps every fact.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import aiomqtt

from alerts.regions import County
from config.counties import load_county
from support.tasks import ended
from terminals import delivery
from terminals.delivery import FactKey, FactValue, State
from terminals.enrolment import (
    CODE_ENTROPY,
    KEY_ENTROPY,
    Enrolled,
    answer,
    code_fingerprint,
    new_code,
    read_request,
)
from terminals.fleet import groups_of
from terminals.seal import (
    SIGNER_ENTROPY,
    KeyRing,
    KeyRole,
    SealError,
    Signer,
    new_signer,
    open_report,
    report_key,
)
from terminals.transports.mqtt import topics
from terminals.wire import Clip, Command, Hello, Play, Probe, Query, Staged, Stop, Targets, Time

TOKEN = "a-token"
HOUR = 3_600_000
WAIT = 30
"""Seconds until a test gives up; none waits that long when it passes."""


class FakeController:
    """`async with` it. Every knob is an attribute that a test may set at any time."""

    def __init__(self, broker: int, *, sandbox: bool = True, county: str = "zhouqu") -> None:
        self.county: County = load_county(county).county
        self.topics = topics(self.county.key)
        self.sandbox = sandbox
        self.says_url = True
        self.clip = bytes(range(256)) * 200
        self.cut_after: list[int] = []
        """Bytes after which the next answers with a clip break off."""
        self.ranges: list[str] = []
        """Range headers of the requests for clips."""
        self.clip_requests = 0
        self.secret = secrets.token_bytes(32)
        self.signers: dict[KeyRole, Signer] = {
            role: new_signer(role, secrets.token_bytes(SIGNER_ENTROPY), sandbox=True) for role in KeyRole
        }
        self.ring = KeyRing.of(self.signers.values())
        self.rows: dict[str, dict[str, Any]] = {}
        self.nowhere: set[str] = set()
        """Terminals that are enrolled without a position."""
        self.codes: dict[str, bytes] = {}
        self.enrolled: set[str] = set()
        self.hellos: list[Hello] = []
        self.staged: list[Staged] = []
        self.refused: list[str] = []
        """Topics below which a report came that is not genuine."""
        self.files: dict[str, bytes] = {}
        """Path → what is served there beside the one clip."""
        self.facts: dict[str, dict[str, dict[FactKey, FactValue]]] = {}
        self.order: dict[str, list[str]] = {}
        """Terminal → states in the order of their first arrival."""
        self.url = ""
        self._broker = broker
        self._changed = asyncio.Condition()
        self._counter = int(time.time() * 1000)
        self._server: asyncio.Server | None = None
        self._client: aiomqtt.Client | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._http, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        ready = asyncio.Event()
        self._tasks.append(asyncio.create_task(self._listen(ready), name="fake.listen"))
        async with asyncio.timeout(WAIT):
            await ready.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        await ended(*self._tasks)
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    # --- what a test does ---

    def position(self, terminal: str) -> tuple[float, float] | None:
        """Where it stands, or else its village."""
        row = self.rows[terminal]
        if terminal in self.nowhere:
            return None
        if row.get("lat") is None:  # as most of these tests register them
            return self.county.village(row["village"]).position
        return row["lat"], row["lon"]

    def now(self) -> int:
        return int(time.time() * 1000)

    def clip_of(self, seconds: float) -> Clip:
        digest = hashlib.sha256(self.clip).hexdigest()
        return Clip("zh", "mp3", digest, len(self.clip), seconds, f"/clips/{digest}.mp3")

    def command(self, broadcast: str, *, seconds: float = 0.2, **changes: Any) -> Play:
        self._counter += 1
        now = self.now()
        given: dict[str, Any] = {
            "broadcast": broadcast,
            "event": "e",
            "role": "test",
            "attempt": 1,
            "counter": self._counter,
            "issued": now,
            "not_before": now,
            "expires": now + HOUR,
            "priority": (2, 1, 2, 4),
            "targets": Targets(groups=("all",)),
            "clips": (self.clip_of(seconds),),
            "repeats": 1,
            "volume": 80,
        }
        return Play(**(given | changes))

    async def send(self, command: Command, *, to: Iterable[str] = (), group: str = "all") -> None:
        """Sealed, to the group or to single terminals."""
        role = command.role if isinstance(command, Play | Stop) else "service"
        envelope = self.signers[KeyRole(role)].seal(command)
        assert self._client is not None
        single = [self.topics["terminal"].format(t) for t in to]
        for topic in single or [self.topics["group"].format(group)]:
            await self._client.publish(topic, envelope, qos=1)

    async def play(self, broadcast: str = "b1", *, seconds: float = 0.2, **changes: Any) -> Play:
        play = self.command(broadcast, seconds=seconds, **changes)
        await self.send(play)
        return play

    async def stop(self, play: Play) -> None:
        self._counter += 1
        everybody = Targets(groups=("all",))
        await self.send(
            Stop((play.broadcast,), play.role, self._counter, self.now(), play.expires, everybody)
        )

    async def ask(self, broadcast: str, *terminals: str) -> None:
        await self.send(Query(broadcast, self.now()), to=terminals)

    async def until(self, broadcast: str, count: int, state: State = State.PLAYED) -> None:
        """Until so many terminals are shown in `state`."""

        def reached() -> bool:
            facts = self.facts.get(broadcast, {})
            return sum(delivery.shown(f).state is state for f in facts.values()) >= count

        async with asyncio.timeout(WAIT), self._changed:
            await self._changed.wait_for(reached)

    async def until_facts(self, broadcast: str, terminal: str, *states: State) -> None:
        """Until this terminal has reported all of `states`."""
        async with asyncio.timeout(WAIT), self._changed:
            await self._changed.wait_for(lambda: set(states) <= self.states(broadcast, terminal))

    def states(self, broadcast: str, terminal: str) -> set[State]:
        return {state for _, state, _ in self.facts.get(broadcast, {}).get(terminal, {})}

    def ending(self, broadcast: str, terminal: str) -> tuple[State, str]:
        seen = delivery.shown(self.facts.get(broadcast, {}).get(terminal, {}))
        return (State.SENT, "") if seen.state is State.PENDING else (seen.state, seen.reason)

    def summary(self, broadcast: str, targeted: Iterable[str]) -> dict[str, Any]:
        """As the API gives it, as far as a scenario is judged by it."""
        endings = {t: self.ending(broadcast, t) for t in targeted}
        missed = [
            {"terminal": t, "state": str(state), "reason": reason}
            for t, (state, reason) in endings.items()
            if state is not State.PLAYED
        ]
        total = {"targeted": len(endings), "played": len(endings) - len(missed)}
        return {"total": total, "not_reached": missed}

    # --- MQTT ---

    async def _listen(self, ready: asyncio.Event) -> None:
        async with aiomqtt.Client(
            "127.0.0.1", self._broker, identifier="controller", protocol=aiomqtt.ProtocolVersion.V5
        ) as client:
            await client.subscribe(self.topics["report"].format("+"), qos=1)
            self._client = client
            ready.set()
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                terminal = message.topic.value.rpartition("/")[2]
                try:
                    said = open_report(message.payload, lambda t: report_key(self.secret, t))
                except SealError:
                    self.refused.append(terminal)
                    continue
                if said.terminal != terminal:
                    self.refused.append(terminal)
                    continue
                if isinstance(said, Staged):
                    self.staged.append(said)
                    continue
                if isinstance(said, Probe):
                    await self.send(Time(terminal, said.nonce, self.now(), ("all",), self.url), to=[terminal])
                    continue
                if isinstance(said, Hello):
                    self.hellos.append(said)
                    groups = groups_of(self.rows[terminal]["village"], self.county)
                    await self.send(Time(terminal, said.nonce, self.now(), groups, self.url), to=[terminal])
                    continue
                known = self.facts.setdefault(said.broadcast, {}).get(terminal, {})
                new = [((f.attempt, State(f.state), f.reason), (f.at, f.detail)) for f in said.facts]
                order = self.order.setdefault(terminal, [])
                order += [key[1] for key, _ in new if key not in known]
                async with self._changed:
                    self.facts[said.broadcast][terminal] = delivery.fold(known, new)
                    self._changed.notify_all()

    # --- HTTP/1.1 ---

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                method, path, _ = line.decode().split(" ", 2)
                headers: dict[str, str] = {}
                while (line := await reader.readline()).strip():
                    name, _, value = line.decode().partition(":")
                    headers[name.strip().lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                status, content, more = self._answer(method, path, headers, body)
                head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(content)}\r\n{more}\r\n"
                if path.startswith("/clips/") and self.cut_after:
                    writer.write(head.encode() + content[: self.cut_after.pop(0)])
                    await writer.drain()
                    return
                writer.write(head.encode() + content)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
        if path in self.files:
            return 200, self.files[path], ""
        if path.startswith("/clips/"):
            self.clip_requests += 1
            if not (wanted := headers.get("range", "")):
                return 200, self.clip, ""
            self.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            more = f"content-range: bytes {start}-{len(self.clip) - 1}/{len(self.clip)}\r\n"
            return 206, self.clip[start:], more
        if path == "/enrol":
            return 200, self._enrol(body), ""
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, b'{"detail": "no"}', ""
        if path == "/v1/status":
            return 200, json.dumps({"terminals_url": self.url} if self.says_url else {}).encode(), ""
        if (method, path) == ("POST", "/v1/sandbox/terminals"):
            if not self.sandbox:
                return 403, b'{"detail": "not a sandbox"}', ""
            codes = {}
            for row in json.loads(body)["terminals"]:
                self.rows[row["id"]] = row
                code = codes[row["id"]] = new_code(secrets.token_bytes(CODE_ENTROPY))
                self.codes[row["id"]] = code_fingerprint(code)
            return 200, json.dumps(codes).encode(), ""
        return 404, b"{}", ""

    def _enrol(self, body: bytes) -> bytes:
        request = read_request(body)
        papers = Enrolled.of(
            terminal=request.terminal,
            county=self.county.key,
            report_key=report_key(self.secret, request.terminal),
            ring=self.ring,
            groups=groups_of(self.rows[request.terminal]["village"], self.county),
            languages=("zh",),
            roles=(KeyRole.ACTUAL, KeyRole.EXERCISE, KeyRole.TEST),
            broker=f"mqtt://127.0.0.1:{self._broker}",
            audio=self.url,
            position=self.position(request.terminal),
        )
        fingerprint = self.codes.pop(request.terminal)
        sealed = answer(request, fingerprint, papers, secrets.token_bytes(KEY_ENTROPY))
        self.enrolled.add(request.terminal)
        return sealed
