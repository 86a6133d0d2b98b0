"""The operators' API as far as the command line asks it: real HTTP, canned answers of the API's shapes."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from pydantic import BaseModel

from controller.cli import words
from controller.web import models as m

TOKEN = "the-operators-token"
AT = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)  # noon in Beijing
# What the CLI sends is held against the API's own models.
BODIES: dict[str, type[BaseModel]] = {
    "/v1/alerts": m.Send,
    "/v1/alerts/preview": m.Send,
    "/v1/alerts/A1/reject": m.Reason,
    "/v1/alerts/A1/cancel": m.Reason,
    "/v1/terminals": m.Import,
    "/v1/terminals/codes": m.Codes,
}


def plan(kind: str = "test", *problems: str) -> dict[str, Any]:
    return m.Preview(
        kind=kind,  # type: ignore[arg-type]
        stage="first",
        hazard="rainstorm",
        colour="orange",
        headline="暴雨橙色预警",
        places=["大川镇", "城关镇"],
        villages=28,
        terminals=27,
        silent_villages=["大川镇石门村"],
        text="现在播报暴雨预警。",
        issued=AT,
        spoken=None if problems else "现在播报暴雨预警",
        voice_problem="",
        expires=AT,
        repeats=3,
        volume=100,
        ways={"code": 20, "polygon, township seat": 8},
        why=["sent by an operator"],
        reach=[
            m.ReachOut(
                key="w02v01",
                name="大川村",
                township="大川镇",
                way="code",
                population=812,
                terminals=2,
                languages=["zh", "bo"],
            ),
            m.ReachOut(
                key="w02v07",
                name="石门村",
                township="大川镇",
                way="polygon, township seat",
                population=None,
                terminals=0,
                languages=[],
            ),
        ],
        population=812,
        population_unknown=1,
        problems=list(problems),
        clip=None if problems else "c" * 64,
        seconds=None if problems else 12.5,
        lufs=None,
        dbtp=None,
        voice=None if problems else "zm_yunjian",
    ).model_dump(mode="json")


def why() -> dict[str, Any]:
    return m.WhyOut(
        alert="A1",
        state="closed",
        terminal="t-1",
        name="沙川村",
        village="沙川村",
        township="大川镇",
        inside=False,
        then="in",
        basis="own position",
        lat=33.7,
        lon=104.3,
        because=[
            m.BecauseOut(kind="outside", values={"shape": "circle 1", "area": "area '河谷'", "km": 1.2}),
            m.BecauseOut(
                kind="other_code",
                values={"code": "623023101 (mca)", "label": "曲告纳镇", "township": "大川镇"},
            ),
        ],
    ).model_dump(mode="json")


def alert(state: str = "held", kind: str = "actual") -> dict[str, Any]:
    shown = {k: v for k, v in plan(kind).items() if k in m.PlanOut.model_fields}
    return m.AlertDetail(
        id="A1",
        source="bureau",
        kind=kind,  # type: ignore[arg-type]
        state=state,
        reason="the table says hold",
        msg_type="Alert",
        identifier="X-1",
        event_key="X-1",
        hazard="rainstorm",
        colour="orange",
        headline="暴雨橙色预警",
        created=AT,
        expires=AT,
        decided=None if state == "held" else AT,
        decided_by=None if state == "held" else "李四",
        waiting_seconds=125 if state == "held" else None,
        broadcasts=["B1"],
        plan=m.PlanOut.model_validate(shown),
        remarks=["odd but harmless"],
        inferred=[],
    ).model_dump(mode="json")


def broadcast(
    *,
    played: int = 2,
    state: str = "done",
    waiting: int = 0,
    silent: str = "no report since 12:00:00, never seen",
) -> dict[str, Any]:
    """Three terminals: `played` of the first two have played, the third was never heard of."""
    counts = {
        "targeted": 3,
        "accepted": 2,
        "ready": 2,
        "playing": 2,
        "played": played,
        "failed": 0,
        "silent": 1,
    }
    missing = [("t-3", "sent", "", silent)] + [("t-2", "playing", "", "playing since 12:00:05")] * (
        2 - played
    )
    return m.BroadcastOut(
        id="B1",
        alert="A1",
        kind="test",
        part="whole",
        state=state,
        headline="暴雨橙色预警",
        created=AT,
        voiced=AT,
        done=AT if state == "done" else None,
        stopped_by="李四" if state == "stopped" else None,
        total=m.RowOut(key="", name="舟曲县", **counts),
        townships=[m.RowOut(key="w01", name="城关镇", **counts)],
        latency={"playing": m.LatencyOut(first_ms=250, median_ms=300, last_ms=410)},
        not_reached=[
            m.NotReachedOut(
                terminal=t, name="", village="沙川村", township="城关镇", state=s, reason=r, words=words
            )
            for t, s, r, words in missing
        ],
        silent_villages=["大川镇石门村"],
        waiting=waiting,
        seconds=12.5,
        repeats=3,
        clip="c" * 64,
        generic=False,
    ).model_dump(mode="json")


def all_played() -> dict[str, Any]:
    done = broadcast()
    total = {**done["total"], **dict.fromkeys(("accepted", "ready", "playing", "played"), 3), "silent": 0}
    return {**done, "total": total, "townships": [{**total, "name": "城关镇"}], "not_reached": []}


def done(outcome: str, **values: Any) -> dict[str, Any]:
    return m.Done(outcome=outcome, **values).model_dump(mode="json")  # type: ignore[arg-type]


def terminal(name: str = "t-1") -> dict[str, Any]:
    return m.TerminalOut(
        id=name,
        name="沙川村",
        village="沙川村",
        township="城关镇",
        village_key="w01v02",
        lat=33.7,
        lon=104.3,
        languages=["zh"],
        speaker="horn",
        codecs=["mp3"],
        enrolled=True,
        simulated=False,
        last_seen=AT,
        online=True,
        health={"volume": 80},
    ).model_dump(mode="json")


def terminal_detail(name: str = "t-1", **values: Any) -> dict[str, Any]:
    more = {
        "retired": None,
        "replaced_by": "",
        "replaces": ["t-0"],
        "grade": "dead",
        "findings": ["its amplifier is broken"],
        "heard": AT,
        "tested": None,
        "groups": ["all", "w01", "w01v02"],
        "ring": 3,
        "sets_missing": 1,
        "certificate": AT,
        "last_broadcasts": [
            {"broadcast": "B1", "kind": "test", "headline": "测试", "state": "played", "reason": "", "at": AT}
        ],
        "history": [],
    }
    return m.TerminalDetail(**{**terminal(name), **more, **values}).model_dump(mode="json")


def readiness() -> dict[str, Any]:
    total = {
        "name": "城关镇",
        "terminals": 1,
        "ready": 0,
        "doubtful": 0,
        "dead": 1,
        "online": 1,
        "on_battery": 0,
        "sick_amplifiers": 1,
        "software": {"1.2": 1},
        "heard": None,
    }
    one = {
        "id": "t-1",
        "name": "村口",
        "village": "沙川村",
        "township": "城关镇",
        "grade": "dead",
        "online": True,
        "hello": AT,
        "heard": None,
        "tested": None,
        "health": {"volume": 80},
        "sets_missing": None,
        "certificate": None,
        "findings": ["its amplifier is broken"],
    }
    board = {"total": {**total, "name": "舟曲县"}, "townships": [total], "terminals": [one]}
    return m.ReadinessOut.model_validate(board).model_dump(mode="json")


def tests() -> list[dict[str, Any]]:
    run = {
        "slot": AT,
        "state": "missed",
        "reason": "the controller was not running in time",
        "began": None,
        "ended": AT,
        "broadcast": "",
        "planned": 0,
        "played": 0,
    }
    one = {
        "name": "weekly",
        "day": "mon",
        "at": "10:00",
        "sound": "silent",
        "townships": [],
        "volume": 0,
        "next": AT,
        "waits": "",
        "runs": [run],
    }
    return [m.TrialOut.model_validate(one).model_dump(mode="json")]


def feed(name: str = "bureau", **values: Any) -> dict[str, Any]:
    return m.FeedOut(
        **{
            "name": name,
            "kind": "folder",
            "trust": "official",
            "official": True,
            "authenticated": "folder-0700",
            "last_good": AT,
            "last_document": AT,
            "stale": "",
            "problem": "",
            **values,
        }
    ).model_dump(mode="json")


def document(number: int = 1, **values: Any) -> dict[str, Any]:
    return m.DocumentOut(
        **{
            "id": number,
            "feed": "bureau",
            "name": f"{number}.xml",
            "received": AT,
            "sha256": "d" * 64,
            "size": 1_200,
            "outcome": "held",
            "reason": "the table says hold",
            "alert": "A1",
            "headline": "暴雨橙色预警",
            **values,
        }
    ).model_dump(mode="json")


def status() -> dict[str, Any]:
    feed = m.FeedOut(
        name="bureau",
        kind="folder",
        trust="official",
        official=True,
        authenticated="folder-0700",
        last_good=AT,
        last_document=AT,
        stale="",
        problem="",
    )
    return m.Status(
        version="0.1.0",
        county="舟曲县",
        mode="drill",
        sandbox=False,
        operator="王主任",
        broker=True,
        voice="zm_yunjian",
        voice_approved=False,
        terminals=212,
        enrolled=210,
        online=208,
        held=1,
        sending=0,
        feeds=[feed],
        alarms=[],
        terminals_url="http://127.0.0.1:8470",
    ).model_dump(mode="json")


class _Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class FakeDesk:
    """`answers`: (method, path) → (status, body); a body that is a list of (event, data) pairs under
    ``/watch`` or ``/v1/events`` is an event stream, where None as data cuts the connection.

    `asked`: (method, path, query, body) of every request, in order.
    """

    def __init__(self, socket: Path | None = None) -> None:
        self.answers: dict[tuple[str, str], Any] = {}
        self.streams: dict[str, list[Sequence[tuple[str, Any]]]] = {}
        """Streams for successive requests of a path; the last is repeated."""
        self.asked: list[tuple[str, str, dict[str, list[str]], Any]] = []
        desk = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                desk._answer(self, None)

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                desk._answer(self, json.loads(self.rfile.read(length)) if length else None)

            def address_string(self) -> str:
                return "loopback"

            def log_message(self, *args: Any) -> None:
                pass

        self._server = (
            _Unix(str(socket), Handler) if socket else ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        )
        self.url = f"unix:{socket}" if socket else f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def deeds(self) -> list[str]:
        """Paths of what was asked to be done, previews left out."""
        return [
            path for method, path, _, _ in self.asked if method == "POST" and not path.endswith("/preview")
        ]

    def _answer(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        parts = urlsplit(handler.path)
        path = unquote(parts.path)
        self.asked.append((handler.command, path, parse_qs(parts.query), body))
        if path != "/readyz" and handler.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(handler, 401, {"detail": "no operator has this token"})
        if handler.command == "POST" and path in BODIES:
            BODIES[path].model_validate(body, strict=False)
        if path in self.streams:
            left = self.streams[path]
            return self._stream(handler, left.pop(0) if len(left) > 1 else left[0])
        status, answer = self.answers.get((handler.command, path), (404, {"detail": f"no {path}"}))
        return self._send(handler, status, answer)

    def _send(self, handler: BaseHTTPRequestHandler, status: int, answer: Any) -> None:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _stream(self, handler: BaseHTTPRequestHandler, events: Sequence[tuple[str, Any]]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.close_connection = True
        for name, data in events:
            if data is None:
                return  # without the last chunk: the connection broke off
            chunk = f": a comment\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()
            handler.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            handler.wfile.flush()
        handler.wfile.write(b"0\r\n\r\n")


@contextmanager
def beside(
    monkeypatch: pytest.MonkeyPatch, answers: Mapping[tuple[str, str], Any] | None = None
) -> Iterator[FakeDesk]:
    """A desk that `controller.cli.program.run` finds, in English unless the test says otherwise."""
    words.use("en")
    for name in ("FENGHUO_CONFIG", "FENGHUO_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    with FakeDesk() as desk:
        monkeypatch.setenv("FENGHUO_URL", desk.url)
        monkeypatch.setenv("FENGHUO_TOKEN", TOKEN)
        desk.answers |= answers or {}
        yield desk
    words.use("en")
