"""A whole controller without a network or a voice: real desk, intake, store and dispatch over a `Village`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from alerts.feed import Document, Outcome
from alerts.formats import Reading
from alerts.model import CodeScheme
from config.counties import load_county
from config.load import load
from config.schema import Config
from controller.clock import WireClock, mono_ms, wall_ms
from controller.desk import Desk
from controller.dispatch import Dispatcher, Signers
from controller.events import Events
from controller.intake import Intake, Taken
from controller.judging import Judging
from controller.keys import CountyKeys, throw_away
from controller.metrics import Metrics
from controller.outgoing import Outgoing
from controller.register import Register
from controller.staging import Staging
from controller.store import Store
from controller.store.records import Entry
from controller.voicing import Doubted
from support.village import Village
from terminals.broadcast import Kind, Part, Variant
from terminals.model import Terminal
from terminals.seal import SOUNDING, KeyRole
from tts import templates
from tts.airtime import Profile
from tts.script import Script, ScriptRequest, compose
from tts.verdict import Hold, TakeFlagged

BEIJING = ZoneInfo("Asia/Shanghai")
ME = Entry("王主任", "test", "it")
LIMIT_S = 60.0

CONFIG = """\
county: zhouqu
mode: actual
state_dir: ./state
issuer: {name: 舟曲县应急管理局, level: county}
broker: {embedded: {port: 0}}
listen: {api: "127.0.0.1:0", terminals: "127.0.0.1:0"}
operators: [{name: 王主任, token_sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}]
feeds:
  - {name: bureau, kind: folder, path: ./inbox, official: true, authenticated: folder-0700, codes: mca}
  - {name: mirror, kind: folder, path: ./mirror, codes: mca}
release:
  - {feed: bureau, hazard: rainstorm, colour: [red, orange], action: auto}
  - {feed: bureau, hazard: debris_flow, colour: [red], action: auto}
  - {feed: "*", hazard: "*", action: hold}
voice: {approved_by: 王主任, approved_on: 2026-11-01}
"""


class Mouth:
    """Stands in for the voice: every script is one short clip, at once. Keeps what was said."""

    approved = True
    name = "mouth"

    def __init__(self) -> None:
        self.said: list[Script] = []
        self.knows = True
        """Whether every clip is in its library already; else a lead goes first."""
        self.doubt: Hold | TakeFlagged | None = None
        """What is found to be wrong with whatever it says."""
        self.doubted: Doubted | None = None
        """Whom it told, to be told more later."""
        self.whole = True
        """Whether every clip is still in its library."""
        self.pins: dict[str, tuple[tuple[str, ...], float]] = {}
        """What its library keeps: reason → clips, and until when."""
        self.hold = asyncio.Event()
        self.hold.set()
        self._templates = templates.load("zh")

    def script(self, request: ScriptRequest) -> Script:
        return compose(request, self._templates)

    def notes(self, request: ScriptRequest, profiles: Mapping[Profile, int]) -> tuple[str, ...]:
        return ()

    def is_generic(self, sha256: str) -> bool:
        return False

    async def known(self, request: ScriptRequest, profiles: Mapping[Profile, int]) -> bool:
        return self.knows

    async def pin(self, clips: Iterable[str], reason: str, until: float) -> None:
        self.pins[reason] = (tuple(clips), until)

    def has(self, sha256: str) -> bool:
        return self.whole

    async def unpin(self, reason: str) -> None:
        self.pins.pop(reason, None)

    async def voice(
        self,
        request: ScriptRequest,
        part: Part,
        profiles: Mapping[Profile, int],
        *,
        doubted: Doubted | None = None,
    ) -> tuple[Variant, ...]:
        await self.hold.wait()
        self.doubted = doubted
        if self.doubt is not None and doubted is not None:
            await doubted(self.doubt)
        script = self.script(request)
        self.said.append(script.brief() if part is Part.LEAD else script)
        return (Variant("zh", "mp3", f"{len(self.said):064x}", 1000, 0.01),)


@dataclass
class County:
    config: Config
    store: Store
    keys: CountyKeys
    register: Register
    village: Village
    dispatcher: Dispatcher
    desk: Desk
    intake: Intake
    mouth: Mouth
    staging: Staging
    alarms: list[str] = field(default_factory=list)

    async def give(self, body: bytes, *, feed: str = "bureau", refused: str = "") -> Taken:
        """One document from a feed, journalled, read and carried out."""

        async def done(outcome: Outcome, reason: str) -> None: ...

        document = Document(feed, "a.xml", body, datetime.now(UTC), done, refused)
        return await self.intake.accept(document, Reading(CodeScheme.MCA))

    async def ended(self, broadcast: str) -> set[str]:
        """Waits until every outcome of it is known; the ids that heard it."""
        async with asyncio.timeout(LIMIT_S):
            while (await self.store.broadcast(broadcast)).done is None:
                await asyncio.sleep(0.02)
        return self.village.heard(broadcast)

    @property
    def heard_anything(self) -> bool:
        return any(unit.sounded for unit in self.village.units.values())

    def in_township(self, *names: str) -> set[str]:
        keys = {t.key for t in self.register.county.townships if t.name in names}
        return {
            t.id
            for t in self.register.terminals.values()
            if self.register.county.village(t.village).township_key in keys
        }


@asynccontextmanager
async def a_county(
    path: Path, *, config: str = CONFIG, play_s: float = 0.01, sandbox: bool = True
) -> AsyncIterator[County]:
    """舟曲县 with one enrolled terminal in each village, all of them on; of a drill's keys and names or of a
    county's."""
    (path / "county.yaml").write_text(config, encoding="utf-8")
    for name in ("inbox", "mirror"):
        (path / name).mkdir(mode=0o700, exist_ok=True)
    settings = load(path / "county.yaml")
    pack = load_county("zhouqu")
    keys = throw_away(sandbox)
    store = await Store.open(path / "fenghuo.db")
    register = Register(
        store, pack.county, keys, broker="mqtt://127.0.0.1:1", audio="http://127.0.0.1:1", sandbox=sandbox
    )
    ids = {v.key: f"{'sim' if sandbox else 'zq'}-{n:05d}" for n, v in enumerate(pack.county.villages, 1)}
    await store.register([Terminal(i, v, v) for v, i in ids.items()], ME, wall_ms())
    await store.set_codes([(i, "x") for i in ids.values()], wall_ms() + 10_000_000, ME, wall_ms())
    for i in ids.values():
        await store.enrol(i, "x", ME, wall_ms())
    await register.load()
    village = Village(
        ids.values(), keys.ring, keys.secret, groups=lambda i: register.groups(i) or (), play_s=play_s
    )
    roles = {Kind(r.value): s for r, s in keys.signers.items() if r in SOUNDING}
    alarms: list[str] = []
    clock, _ = WireClock.start(wall_ms(), mono_ms(), 0)
    staging = Staging(
        store,
        village,
        keys.signers[KeyRole.SERVICE],
        lambda: clock.now(wall_ms(), mono_ms()),
        alarms.append,
        settings.staging,
        register.terminals.values,
        pack.county,
    )
    await staging.load()
    village.manifests = lambda name: next((s.row.manifest for s in staging.sets() if s.id == name), None)
    dispatcher = Dispatcher(
        store,
        village,
        Signers(roles, keys.signers[KeyRole.SERVICE]),
        register.report_key,
        register.groups,
        "http://127.0.0.1:1",
        clock,
        Metrics(),
        alarms.append,
        probes=3,
        sets=staging,
    )
    mouth = Mouth()
    judging = Judging(settings, pack.county, lambda: register.fleet, frozenset(Kind))
    events = Events(settings, pack.county, store, register, dispatcher)
    outgoing = Outgoing(settings, store, register, dispatcher, mouth, Metrics(), events, staging=staging)  # type: ignore[arg-type]
    desk = Desk(settings, pack.county, store, dispatcher, judging, events, outgoing)
    dispatcher.hand = events.tell
    intake = Intake(store, desk, Metrics(), alarms.append)

    async def changed(_: bool) -> None: ...

    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(village.run(dispatcher.upward, changed), name="village"),
            tasks.create_task(dispatcher.run(), name="dispatch"),
            tasks.create_task(outgoing.run(), name="desk"),
            tasks.create_task(staging.run(), name="staging"),
        ]
        await desk.resume()
        village.power_on()
        yield County(
            settings, store, keys, register, village, dispatcher, desk, intake, mouth, staging, alarms
        )
        for task in running:
            task.cancel()
    await store.close()


def cap(
    *,
    identifier: str = "62302341600000_20261122120000",
    msg_type: str = "Alert",
    status: str = "Actual",
    colour: str = "橙色",
    event: str = "暴雨",
    codes: tuple[str, ...] = ("623023101000",),
    sent: datetime | None = None,
    expires: datetime | None = None,
    references: str = "",
    description: str = "预计未来3小时将出现50毫米以上降水。",
) -> bytes:
    """A CAP 1.2 warning of 舟曲县气象台, current unless told otherwise."""
    now = datetime.now(BEIJING).replace(microsecond=0)
    sent = sent or now
    expires = expires or now + timedelta(hours=6)
    geocodes = "".join(
        f"<geocode><valueName>fenghuo:mca</valueName><value>{code}</value></geocode>" for code in codes
    )
    refs = f"<references>{references}</references>" if references else ""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2"><identifier>{identifier}</identifier>
<sender>zhouqu.weather</sender><sent>{sent.isoformat()}</sent><status>{status}</status>
<msgType>{msg_type}</msgType><scope>Public</scope>{refs}<info><language>zh-CN</language>
<category>Met</category><event>{event}</event><urgency>Expected</urgency><severity>Severe</severity>
<certainty>Likely</certainty><effective>{sent.isoformat()}</effective><expires>{expires.isoformat()}</expires>
<senderName>舟曲县气象台</senderName><headline>舟曲县气象台发布{event}{colour}预警</headline>
<description>{description}</description><instruction>请向高处转移。</instruction>
<area><areaDesc>舟曲县</areaDesc>{geocodes}</area></info></alert>""".encode()
