"""What other systems failed at and no other test of ours holds: `docs/lessons.md` says which is which.

Above all, every alarm of the controller is made to sound (lessons §9 #2 and #15: a peer's alarm could never
sound, and another's circuit breaker could never be reached). The list of them is in
`tests/unit/test_lessons_in_the_tree.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from alerts.feed import Document, Outcome
from alerts.feeds.folder import FolderFeed
from alerts.formats import Reading
from alerts.model import CodeScheme, Colour
from config.load import load
from config.schema import Voice
from controller import certificates, clock, escalation
from controller.app import App, StartError, open_app
from controller.clock import wall_ms
from controller.keys import KeysError, create
from controller.metrics import Metrics
from controller.store import Store, StoreError
from controller.store.records import AlertState, Entry, FactRow
from controller.store.records import Outcome as Became
from controller.voicing import Voicing
from controller.web.operators import operators_api
from support.county import BEIJING, LIMIT_S, County, a_county, cap
from terminals.broadcast import Kind, Part
from terminals.delivery import State
from terminals.model import Terminal
from tts import floor
from tts.renderer import Renderer
from tts.script import ScriptRequest

MCA = Reading(CodeScheme.MCA)
DAY_MS = 24 * 3_600_000


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path) as made:
        yield made


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not true():
            await asyncio.sleep(0.01)


def full_for(times: int, real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """`real`, on a disk that is full for the first `times` calls."""
    left = times

    async def call(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise StoreError("the disk is full")
        return await real(*arguments, **named)

    return call


# --- every alarm, once -----------------------------------------------------------------------------------


async def test_a_disk_that_takes_no_document_delays_its_warning_with_an_alarm(
    county: County, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.intake.STORE_PAUSE_S", 0.01)
    monkeypatch.setattr(county.store, "journal", full_for(3, county.store.journal))
    (tmp_path / "late").mkdir(mode=0o700)
    (tmp_path / "late" / "a.xml").write_bytes(cap())
    pump = asyncio.create_task(county.intake.pump(FolderFeed("bureau", tmp_path / "late"), MCA))
    await until(lambda: county.heard_anything)
    pump.cancel()
    await asyncio.gather(pump, return_exceptions=True)
    assert county.alarms == ["bureau: a.xml waits: the disk is full"] * 3


async def test_a_disk_that_takes_no_report_is_an_alarm_and_every_receipt_is_there_in_the_end(
    county: County, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.ledger.PAUSE_S", 0.01)
    real = county.store.add_facts
    full = full_for(2, real)

    async def add_facts(facts: Sequence[FactRow], *more: Any) -> None:
        reported = any(fact.key[1] is not State.SENT for fact in facts)  # the rest is the dispatcher's own
        await (full if reported else real)(facts, *more)

    monkeypatch.setattr(county.store, "add_facts", add_facts)
    taken = await county.give(cap())
    assert taken.broadcast is not None
    heard = await county.ended(taken.broadcast)
    planned, facts = await county.store.deliveries(taken.broadcast)
    assert {f.terminal for f in facts if f.key[1] is State.PLAYED} == set(planned) == heard
    assert county.alarms[0].startswith("the disk is full; the broadcast goes on")
    await until(lambda: county.alarms[-1].startswith("the disk takes what is written again"))


async def test_a_terminal_that_claims_an_impossible_counter_is_an_alarm_and_silences_nobody(
    county: County,
) -> None:
    liar = min(county.in_township("大川镇"))
    key = county.keys.signers[next(r for r in county.keys.signers if r.value == "actual")].key_id
    county.village.power_off(liar)
    county.village.units[liar].durable.highest[key] = wall_ms() + 400 * DAY_MS
    county.village.power_on(liar)
    await until(lambda: bool(county.alarms))
    assert liar in county.alarms[0]
    assert "not believed" in county.alarms[0]
    taken = await county.give(cap())
    assert taken.broadcast is not None
    assert await county.ended(taken.broadcast) == county.in_township("大川镇")


async def test_terminals_that_hold_a_later_time_than_the_controller_are_an_alarm_and_are_obeyed(
    county: County,
) -> None:
    """A restored backup on a machine whose clock lost a day: terminals would refuse every command as old."""
    witnesses = sorted(county.village.units)[: clock.WITNESSES]
    later = wall_ms() + DAY_MS
    county.village.power_off(*witnesses)
    for one in witnesses:
        county.village.units[one].durable.floor = later
    county.village.power_on(*witnesses)
    await until(lambda: bool(county.alarms))
    assert "terminals hold a signed time" in county.alarms[0]
    assert county.dispatcher.now() >= later


async def test_a_document_that_kills_the_process_twice_is_an_alarm(county: County) -> None:
    number = await county.store.journal("bureau", "killer.xml", cap(), "0" * 64, wall_ms())
    for _ in range(2):
        await county.store.open_document(number)
    await county.intake.recover({"bureau": MCA})
    assert county.alarms == [
        f"document {number} of bureau was being read when the process died, twice; quarantined"
    ]


REQUEST = ScriptRequest(
    kind="actual",
    stage="first",
    hazard="rainstorm",
    colour=Colour.RED,
    issuer="舟曲县气象台",
    issued=datetime(2026, 7, 15, 14, 30, tzinfo=BEIJING),
    places=("大川镇",),
)


async def test_a_voice_that_is_not_there_is_an_alarm_and_the_generic_clip_goes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = (sys.executable, "-c", "raise SystemExit('no model')")
    monkeypatch.setattr("controller.voicing.Renderer", partial(Renderer, command=dead))
    alarms: list[str] = []
    voicing = Voicing(Voice(), tmp_path, (), Metrics(), alarms.append, prepare=False)
    loading = asyncio.create_task(voicing.run())
    try:
        await until(lambda: bool(alarms))
        assert "until it comes back the generic clip is sent" in alarms[0]
        [variant] = await voicing.voice(REQUEST, Part.WHOLE)
        assert "the generic clip goes out instead of" in alarms[1]
        assert "大川镇" in alarms[1]
        data, record = floor.generic("actual", "first", REQUEST.hazard)
        assert variant.sha256 == record.sha256
        assert await voicing.audio(variant.sha256) == data
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        await voicing.close()


NEVER = 10**15


@dataclass
class Waiting:
    """Stands in for the store and the desk: one alert is held, and each look comes when the test says so."""

    broken: int = 0
    full: int = 0
    expires: int = NEVER
    looked: asyncio.Queue[float] = field(default_factory=asyncio.Queue)
    go_on: asyncio.Queue[None] = field(default_factory=asyncio.Queue)

    @property
    def outgoing(self) -> Waiting:
        return self

    @property
    def events(self) -> Waiting:
        return self

    async def alerts(self, **_: object) -> list[Any]:
        if self.broken:
            self.broken -= 1
            raise StoreError("the database is locked")
        hold = {"headline": "暴雨", "reason": "hold", "msg_type": "Alert", "expires": self.expires}
        return [SimpleNamespace(id="A1", created=0, **hold)]

    async def doubted(self) -> list[Any]:
        return []

    async def lapse(self, _: object) -> bool:
        if self.full:
            self.full -= 1
            raise StoreError("the disk is full")
        self.expires = NEVER
        return True

    async def wait_changed(self, seconds: float) -> None:
        self.looked.put_nowait(seconds)
        await self.go_on.get()


@asynccontextmanager
async def ringing(waiting: Waiting, alarms: list[str], hook: list[str] | None) -> AsyncIterator[Metrics]:
    metrics = Metrics()
    ring = escalation.ring(waiting, waiting, metrics, hook, alarms.append)  # type: ignore[arg-type]
    task = asyncio.create_task(ring)
    try:
        async with asyncio.timeout(LIMIT_S):
            yield metrics
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_hold_rings_every_minute_until_it_is_answered_also_when_the_wall_clock_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Kerr County waited 72 minutes for a supervisor (lessons §10 #11). Nobody is forgotten here."""
    wall, mono = 10 * DAY_MS, 0
    monkeypatch.setattr(escalation, "wall_ms", lambda: wall)
    monkeypatch.setattr(escalation, "mono_ms", lambda: mono)
    calls = tmp_path / "calls"
    hook = [sys.executable, "-c", f"open({str(calls)!r}, 'a').write('rung ')", "{alert}"]
    waiting, alarms = Waiting(), list[str]()

    def rung() -> int:
        return calls.read_text().count("rung") if calls.exists() else 0

    async with ringing(waiting, alarms, hook) as metrics:
        for times in range(1, 4):
            assert 59 < await waiting.looked.get() <= 60, "until the next minute"
            await until(lambda times=times: rung() == times)  # type: ignore[misc]
            await asyncio.sleep(0.05)  # the hook's process has ended and is reaped
            mono += 59_999
            waiting.go_on.put_nowait(None)
            assert await waiting.looked.get() < 1
            assert rung() == times, "not yet a minute"
            mono += 1
            wall -= DAY_MS
            waiting.go_on.put_nowait(None)
        assert "fenghuo_alerts_held 1.0" in metrics.text().decode()
    assert alarms == []
    assert caplog.text.count("A1 waits for an operator") >= 3


async def test_a_register_of_holds_that_cannot_be_read_is_an_alarm_and_it_rings_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(escalation, "STORE_PAUSE_S", 0.01)
    waiting, alarms = Waiting(broken=2, full=1, expires=0), list[str]()
    async with ringing(waiting, alarms, None):
        await waiting.looked.get()
    assert alarms[:3] == ["the database is locked", "the database is locked", "the disk is full"]
    assert alarms[3:] == ["A1 expired while it waited for an operator; nobody heard it"]


CONFIG = """\
county: zhouqu
mode: {mode}
state_dir: ./state
keys_dir: ./keys
issuer: {{name: 舟曲县应急管理局}}
broker: {{embedded: {{port: 0}}}}
listen: {{api: "127.0.0.1:0", terminals: "127.0.0.1:0"}}
operators: [{{name: 王主任, token_sha256: "{token}"}}]
feeds:
  - {{name: bureau, kind: cap_index, url: "http://127.0.0.1:1/", stale_after: 1s}}
{more}
"""
NOBODYS = "9" * 64
VOICE = "voice: {approved_by: 王主任, approved_on: 2026-11-01}"


def config_file(path: Path, *, mode: str = "drill", token: str = NOBODYS, more: str = "") -> Path:
    path.chmod(0o700)
    file = path / "county.yaml"
    file.write_text(CONFIG.format(mode=mode, token=token, more=more), encoding="utf-8")
    return file


@asynccontextmanager
async def started(file: Path) -> AsyncIterator[App]:
    """The whole controller as a sandbox, running."""
    async with open_app(load(file), sandbox=True) as app:
        ready = asyncio.Event()
        running = asyncio.create_task(app.run(ready))
        try:
            async with asyncio.timeout(LIMIT_S):
                await ready.wait()
            yield app
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def test_the_running_controller_notices_by_itself_that_a_feed_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only the watchdog's rule: the loop that asks it (a peer's never came to its alarm)."""
    monkeypatch.setattr("controller.app.FEEDS_EVERY_S", 0.02)
    async with started(config_file(tmp_path)) as app:
        await until(lambda: any("feed bureau is stale: no sign of life" in text for text in app.alarms))
        assert "fenghuo_alarms_total" in app.metrics.text().decode()
        async with client_of(app) as client:
            ready = (await client.get("/readyz")).json()
        assert ready["stale_feeds"][0].startswith("bureau: no sign of life")


async def test_a_signed_time_that_cannot_be_kept_is_an_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.app.CLOCK_EVERY_S", 0.01)
    real = Store.set_meta

    async def full(store: Store, key: str, value: str) -> None:
        if key == "signed_until":
            raise StoreError("the disk is full")
        await real(store, key, value)

    monkeypatch.setattr(Store, "set_meta", full)
    async with started(config_file(tmp_path)) as app:
        await until(lambda: any("the disk is full" in text for text in app.alarms))
        await asyncio.sleep(0.2)  # twenty tries later
        assert sum("the disk is full" in text for text in app.alarms) == 1


async def test_a_certificate_that_ends_soon_is_an_alarm(tmp_path: Path) -> None:
    async with open_app(load(config_file(tmp_path)), sandbox=True) as app:
        app.sandbox = False  # a sandbox has no certificates to watch
        certificates.create(app.config.keys_dir, "623023", ["127.0.0.1"], wall_ms(), None)
        await app.look_at_certificates(wall_ms())
        assert not app.alarms
        await app.look_at_certificates(wall_ms() + 20 * 365 * 86_400_000)
        assert any("certificate" in text for text in app.alarms)


async def test_a_certificate_that_cannot_be_read_is_an_alarm(tmp_path: Path) -> None:
    async with open_app(load(config_file(tmp_path)), sandbox=True) as app:
        app.sandbox = False
        certificates.create(app.config.keys_dir, "623023", ["127.0.0.1"], wall_ms(), None)
        for file in app.config.keys_dir.rglob("*.crt"):
            file.write_text("rubbish")
        await app.look_at_certificates(wall_ms())
        assert len(app.alarms) == 1


async def test_what_the_parts_alarm_about_reaches_the_status_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = hashlib.sha256(TOKEN.encode()).hexdigest()

    def bug(*_: object, **__: object) -> None:
        raise RuntimeError("a bug of ours")

    async with open_app(load(config_file(tmp_path, token=token)), sandbox=True) as app:
        monkeypatch.setattr("alerts.formats.parse", bug)
        document = Document("bureau", "a.xml", cap(), datetime.now(BEIJING), _nothing_more)
        await app.intake.accept(document, MCA)
        async with client_of(app, TOKEN) as client:
            [alarm] = (await client.get("/v1/status")).json()["alarms"]
            assert "fenghuo_alarms_total 1.0" in (await client.get("/metrics")).text
        assert "document 1 of bureau could not be read" in alarm


async def _nothing_more(outcome: Outcome, reason: str) -> None: ...


async def test_a_start_behind_the_last_signed_time_is_an_alarm_of_the_running_program(tmp_path: Path) -> None:
    file = config_file(tmp_path)
    async with open_app(load(file), sandbox=True) as app:
        assert list(app.alarms) == []
        await app.store.set_meta("signed_until", str(wall_ms() + DAY_MS))
    async with open_app(load(file), sandbox=True) as app:
        [alarm] = app.alarms
        assert "behind the last signed time" in alarm
        assert app.dispatcher.now() >= wall_ms() + DAY_MS - 60_000, "what is signed goes on from there"


# --- who may speak, and as what --------------------------------------------------------------------------


@asynccontextmanager
async def client_of(app: App, token: str | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    transport = httpx2.ASGITransport(app=operators_api(app))
    async with httpx2.AsyncClient(transport=transport, base_url="http://desk", headers=headers) as client:
        yield client


RAIN = {"compose": {"hazard": "rainstorm", "colour": "red", "areas": ["大川镇"]}}
TOKEN = "kx3-a-token-of-this-test"


async def test_what_has_no_kind_is_refused_and_every_kind_is_its_own(tmp_path: Path) -> None:
    """ATI took what was not marked as an exercise for an emergency (lessons §9 #17)."""
    token = hashlib.sha256(TOKEN.encode()).hexdigest()
    async with (
        open_app(load(config_file(tmp_path, token=token)), sandbox=True) as app,
        client_of(app, TOKEN) as client,
    ):
        for body in (RAIN, {**RAIN, "kind": None}, {**RAIN, "kind": ""}, {**RAIN, "kind": "Actual "}):
            for path in ("/v1/alerts", "/v1/alerts/preview"):
                answer = await client.post(path, json=body)
                assert answer.status_code == 422, (path, body)
                assert "kind" in answer.text
        assert await app.store.alerts() == []
        assert await app.store.broadcasts() == []
        texts = set()
        for kind in ("actual", "exercise", "test"):
            asked = {**RAIN, "kind": kind, "sound": False}
            texts.add((await client.post("/v1/alerts/preview", json=asked)).json()["text"])
        assert len(texts) == 3, "what is heard says which it is"


async def test_a_preview_on_a_full_disk_shows_all_but_the_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    token = hashlib.sha256(TOKEN.encode()).hexdigest()
    async with (
        open_app(load(config_file(tmp_path, token=token)), sandbox=True) as app,
        client_of(app, TOKEN) as client,
    ):
        monkeypatch.setattr(app.voicing, "clip", full)
        real = app.desk.judging.plan
        monkeypatch.setattr(  # as if loudspeakers stood there
            app.desk.judging, "plan", lambda *a, **k: replace(real(*a, **k), problems=())
        )
        answer = await client.post("/v1/alerts/preview", json={**RAIN, "kind": "exercise"})
        assert answer.status_code == 200
        assert answer.json()["clip"] is None
        assert "No space left" in answer.json()["voice_problem"]
        assert "大川镇" in answer.json()["text"]


@pytest.mark.parametrize("token", [None, "", "admin", "password", "123456", "fenghuo", "operator", "0" * 64])
async def test_nobody_gets_in_before_a_token_was_made_for_him(tmp_path: Path, token: str | None) -> None:
    """Peers shipped accounts with passwords that everybody knows (lessons §9 #4, §10 #2). The shipped
    examples name an operator, and no token opens his door."""
    shipped = Path(__file__).parents[2] / "deploy" / "county.example.yaml"
    [operator] = load(shipped, on_this_machine=False).operators
    async with open_app(load(config_file(tmp_path, token=operator.token_sha256)), sandbox=True) as app:
        public = {"/livez", "/readyz", "/metrics"}
        async with client_of(app, token) as client:
            paths = {
                (method.upper(), path.replace("{alert}", "A1").replace("{broadcast}", "B1"))
                for path, found in (await client.get("/openapi.json")).json()["paths"].items()
                for method in found
                if path not in public
            }
            assert len(paths) > 15
            for method, path in sorted(paths):
                answer = await client.request(method, path, json={})
                assert answer.status_code == 401, (method, path)
                assert "operator" in answer.json()["detail"]


async def test_in_drill_mode_the_actual_key_is_not_even_read(tmp_path: Path) -> None:
    """SASMEX sounded twice because somebody prepared a drill (lessons §10 #23)."""
    create(tmp_path / "keys")
    (tmp_path / "keys" / "actual.key").unlink()
    async with open_app(load(config_file(tmp_path)), sandbox=False) as app:
        assert app.desk.judging.kinds == {Kind.EXERCISE, Kind.TEST}
    actual = config_file(tmp_path, mode="actual", more=VOICE)
    with pytest.raises(KeysError, match=r"actual\.key is missing"):
        async with open_app(load(actual), sandbox=False):
            pass


async def test_the_state_of_a_drill_never_becomes_a_countys_nor_a_countys_a_drills(tmp_path: Path) -> None:
    """A peer chose its signing service by a row in the database, the test signer by default (§9 #12)."""
    create(tmp_path / "keys")
    file = config_file(tmp_path)
    for first, then in ((True, False), (False, True)):
        home = tmp_path / str(first)
        config = load(file).model_copy(update={"state_dir": home})
        async with open_app(config, sandbox=first):
            pass
        with pytest.raises(StartError, match="needs a state_dir of its own"):
            async with open_app(config, sandbox=then):
                pass


# --- too much at once ------------------------------------------------------------------------------------


async def test_a_storm_from_one_feed_lets_the_next_one_through_after_a_single_document(
    county: County, tmp_path: Path
) -> None:
    """Warntag 2020: 52 messages at once made the one that mattered half an hour late (lessons §10 #24)."""
    order: list[str] = []
    storm, arrived = 300, asyncio.Event()

    class Storm:
        name = "mirror"

        async def documents(self) -> AsyncIterator[Document]:
            for number in range(storm):
                yield document("mirror", cap(identifier=f"62302341600000_202611221{number:05d}"), number)

    class Bureau:
        name = "bureau"

        async def documents(self) -> AsyncIterator[Document]:
            await arrived.wait()
            yield document("bureau", cap(colour="红色"), -1)

    def document(feed: str, body: bytes, number: int) -> Document:
        async def done(outcome: Outcome, reason: str) -> None:
            order.append(feed)
            if len(order) == 5:
                arrived.set()

        return Document(feed, f"{number}.xml", body, datetime.now(BEIJING), done)

    pumps = [asyncio.create_task(county.intake.pump(feed, MCA)) for feed in (Storm(), Bureau())]  # type: ignore[arg-type]
    await until(lambda: "bureau" in order)
    at = order.index("bureau")
    assert at <= 5 + 3, f"{at - 5} documents of the storm went before the red warning"
    await until(lambda: county.heard_anything)
    for pump in pumps:
        pump.cancel()
    await asyncio.gather(*pumps, return_exceptions=True)
    [row] = [r for r in await county.store.broadcasts() if r.broadcast.part is Part.WHOLE]
    assert (await county.store.alert(row.broadcast.alert_id)).colour == "red"


async def test_fifty_two_messages_of_one_danger_are_said_in_full_once_and_end_by_the_villages_budget(
    county: County,
) -> None:
    """Warntag again: 52 offices sent one message each. Every identifier is another message to us; what is in
    force and says nothing new is not said in full again, and not without end."""
    budget = county.config.fatigue.per_day
    became = []
    for number in range(52):
        became.append(await county.give(cap(identifier=f"office-{number}")))
        if (broadcast := became[-1].broadcast) is not None:
            await county.ended(broadcast)  # so that the next one knows who has heard it
    sounded = [taken for taken in became if taken.outcome is Became.RELEASED]
    assert len(sounded) <= 1 + budget
    repeats = [b.broadcast.repeats for b in await county.store.broadcasts(limit=100)]
    assert sorted(repeats)[-1] > 1, "the first, as orange is said"
    assert repeats.count(1) == len(repeats) - 1, "the others are one sentence, once"
    assert all(taken.reason for taken in became)
    assert len(await county.store.alerts(state=AlertState.RELEASED)) == 1, "one story"
    again = await county.give(cap(identifier="62302341600000_20261122130000", colour="红色"))
    assert again.outcome is Became.RELEASED
    assert again.broadcast is not None
    row = await county.store.broadcast(again.broadcast)
    assert row.broadcast.repeats == max(repeats), "what is worse is heard in full, whatever was spent"


# --- with the internet gone ------------------------------------------------------------------------------

_calls: list[tuple[str, str]] | None = None


def _listen_in(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook cannot be taken out again; while `_calls` is None it does nothing."""
    if _calls is None or event not in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        return
    target = arguments[0] if event == "socket.getaddrinfo" else arguments[-1]
    host = target[0] if isinstance(target, tuple) else target
    _calls.append((event, str(host)))


sys.addaudithook(_listen_in)


async def test_from_the_file_to_the_broker_nobody_outside_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CodeRED was out for two weeks, with 10,000 communities behind it (lessons §10 #8). The county's own
    machine does it all."""
    dead = (sys.executable, "-c", "raise SystemExit('no model')")
    monkeypatch.setattr("controller.voicing.Renderer", partial(Renderer, command=dead))
    (tmp_path / "inbox").mkdir(mode=0o700)
    more = "release: [{feed: files, hazard: rainstorm, colour: [red], action: auto}]\n" + VOICE
    file = config_file(tmp_path, mode="actual", more=more)
    proved = "official: true, authenticated: folder-0700, codes: mca"
    folder = f"  - {{name: files, kind: folder, path: ./inbox, {proved}}}"
    text = file.read_text(encoding="utf-8").replace("feeds:\n", f"feeds:\n{folder}\n")
    file.write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys.modules[__name__], "_calls", [])
    async with started(file) as app:
        village = next(iter(app.find_villages("大川镇")))
        await app.register.add([Terminal("sim-1", "大川喇叭", village)], "王主任")
        await app.store.set_codes(
            [("sim-1", "x")], wall_ms() + DAY_MS, Entry("王主任", "test", ""), wall_ms()
        )
        await app.store.enrol("sim-1", "x", Entry("王主任", "test", ""), wall_ms())
        await app.register.load()
        (tmp_path / "inbox" / "a.xml").write_bytes(cap(colour="红色"))
        await until(lambda: any(run.row.sending for run in app.dispatcher.runs.values()))
    assert _calls, "the broker is on this machine, and somebody has spoken to it"
    assert {host for _, host in _calls} <= {"127.0.0.1", "::1", "localhost"}
