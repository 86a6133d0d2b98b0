"""What a county's machines do wrong beside dying: clocks a day off, an old backup, a copied controller, full
disks. Real processes: `fenghuo serve`, `fenghuo-terminal`, a broker."""

from __future__ import annotations

import asyncio
import resource
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from controller.keys import create
from simulators.broker import EmbeddedBroker
from support.board import ME, Board, Office, speech, wav
from support.clocks import WrongClock
from support.county import BEIJING, cap
from support.running import Site
from terminals.delivery import State

pytestmark = pytest.mark.slow

REAL = "zq-0001"
DAY_S = 86_400
EPOCH = -56 * 365 * DAY_S
"""A board without a battery for its clock wakes in 1970."""
MORE = (
    "broadcast: {repeats: {orange: 1, yellow: 1, blue: 1}}\nkeys_dir: ./keys\n"
    "staging: {ahead_from: never, megabits: 1000}"
)


class Astray(Site):
    """A controller's machine whose clock may be wrong."""

    clock: WrongClock | None = None

    def __init__(self, home: Path, broker: str, more: str) -> None:
        super().__init__(home, broker, more)
        self.broker = broker

    @property
    def env(self) -> dict[str, str]:
        return super().env | ({} if self.clock is None else self.clock.env)


def a_site(home: Path, broker: EmbeddedBroker) -> Astray:
    home.mkdir()
    site = Astray(home, f"{{url: 'mqtt://127.0.0.1:{broker.port}'}}", MORE)
    create(site.home / "keys")
    return site


async def enrolled(site: Site, board: Board) -> None:
    """As `fenghuo terminal import` and `enrol` do it, without two more processes."""
    row = {"id": REAL, "name": "西城喇叭", "village": "w01v01", "lat": 33.78, "lon": 104.36}
    answer = await site.api.post("/v1/terminals", json={"terminals": [row]})
    assert answer.status_code == 200, answer.text
    codes = (await site.api.post("/v1/terminals/codes", json={"terminals": [REAL]})).json()
    status = (await site.api.get("/v1/status")).json()
    await board.enrol(status["terminals_url"], codes[REAL], REAL)


def drop(site: Site, name: str, sent: datetime | None = None) -> None:
    """A warning of its own event."""
    sent = sent or datetime.now(BEIJING).replace(microsecond=0)
    body = cap(
        identifier=name, event=name, sent=sent, expires=sent + timedelta(hours=6), codes=("623023100000",)
    )
    site.drop(body, f"{name}.xml")


async def played(site: Site, process: asyncio.subprocess.Process, name: str) -> list[str]:
    """The broadcasts of that warning, approved where that is asked, once each of them has ended, played."""
    found = await site.until_answered(
        "/v1/alerts", lambda a: any(name in one["headline"] for one in a.json()), process
    )
    (alert,) = (one for one in found.json() if name in one["headline"])
    if alert["state"] == "held":
        answer = await site.api.post(f"/v1/alerts/{alert['id']}/approve", json={})
        assert answer.json()["outcome"] == "released", answer.text
    done = await site.until_answered(
        "/v1/broadcasts",
        lambda a: (
            any(one["alert"] == alert["id"] for one in a.json())
            and all(one["state"] == "done" for one in a.json())
        ),
        process,
    )
    parts = [one["id"] for one in done.json() if one["alert"] == alert["id"]]
    for part in parts:
        total = (await site.api.get(f"/v1/broadcasts/{part}")).json()["total"]
        assert total["played"] == total["targeted"] == 1, total
    return parts


async def heard(
    site: Site, process: asyncio.subprocess.Process, name: str, sent: datetime | None = None
) -> list[str]:
    drop(site, name, sent)
    return await played(site, process, name)


def fill_disk(process: asyncio.subprocess.Process | None, *, full: bool = True) -> None:
    """No file of this process grows any more, as on a full disk; or it does again."""
    assert process is not None
    _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1 if full else most, most))


async def alarms(site: Site) -> str:
    return "\n".join((await site.api.get("/v1/status")).json()["alarms"])


def counters(database: Path) -> dict[str, int]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return dict(connection.execute("SELECT key_id, last FROM counter"))


@asynccontextmanager
async def a_county(tmp_path: Path) -> AsyncIterator[tuple[Astray, Board, EmbeddedBroker]]:
    board = Board(tmp_path / "board")
    try:
        async with EmbeddedBroker() as broker:
            yield a_site(tmp_path / "county", broker), board, broker
    finally:
        if board.process is not None:
            await board.kill()


async def test_clocks_a_day_off_and_an_old_backup_silence_nothing_revive_nothing_and_are_told(
    tmp_path: Path,
) -> None:
    async with a_county(tmp_path) as (site, board, broker):
        site.clock = WrongClock(site.home)
        theirs = WrongClock(tmp_path / "board", EPOCH)
        database = site.home / "state" / "fenghuo.db"
        async with site.serve("brief", sandbox=False) as process:
            await enrolled(site, board)
            await board.start(env=theirs.env)
            await board.until_timed()
            parts = await heard(site, process, "暴雨")
            with sqlite3.connect(database) as live, sqlite3.connect(tmp_path / "backup") as backup:
                live.backup(backup)
            # A day ahead, a warning of today seems to be over: nobody hears it, but it is told.
            site.clock.jump(DAY_S)
            site.drop(cap(identifier="today", event="霜冻", codes=("623023100000",)), "today.xml")
            await site.until_answered(
                "/v1/status", lambda a: "when it had expired" in "\n".join(a.json()["alarms"]), process
            )
            tomorrow = datetime.now(BEIJING).replace(microsecond=0) + timedelta(days=1)
            parts += await heard(site, process, "大风", sent=tomorrow)
            theirs.jump(DAY_S)
            site.clock.jump(-DAY_S)
            parts += await heard(site, process, "雷电")
            await site.until_answered(
                "/v1/status", lambda a: "has jumped" in "\n".join(a.json()["alarms"]), process
            )
            last = counters(database)
        # A new machine: an old backup, and a clock that nobody has set.
        for path in (*database.parent.glob("fenghuo.db*"),):
            path.unlink()
        shutil.copy(tmp_path / "backup", database)
        # Its broker is as new: the terminals come to it anew, and say what they have seen.
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.start)
        assert any(counters(database)[key] < last[key] for key in last), "the backup is old"
        async with site.serve("brief", sandbox=False) as process:
            await site.until_answered(
                "/v1/status", lambda a: "old backup" in "\n".join(a.json()["alarms"]), process
            )
            assert "clock" in await alarms(site)
            parts += await heard(site, process, "大雾")
            now = counters(database)
            assert all(now[key] >= last[key] for key in last), "no counter is used twice"
            status = await board.status()
            assert status["queued"] == []
        assert len(board.sounds()) == len(parts)
        assert await board.stop() == 0
        assert "Traceback" not in board.said() + site.log.read_text()


async def test_a_controllers_full_disk_delays_a_warning_with_an_alarm_and_loses_none(tmp_path: Path) -> None:
    async with a_county(tmp_path) as (site, board, _), site.serve("brief", sandbox=False) as process:
        await enrolled(site, board)
        async with board.running():
            await board.until_timed()
            parts = await heard(site, process, "暴雨")
            fill_disk(process)
            drop(site, "大风")
            await site.until_answered(
                "/v1/status", lambda a: "大风.xml waits" in "\n".join(a.json()["alarms"]), process
            )
            assert len(board.sounds()) == len(parts)
            fill_disk(process, full=False)
            parts += await played(site, process, "大风")
            assert len(board.sounds()) == len(parts)


async def test_a_terminals_full_disk_silences_nothing_is_told_and_nothing_sounds_again_after_it(
    tmp_path: Path,
) -> None:
    settings = '[sound]\ndevice = "null"\nlead_in_ms = 20\n[disk]\nkeep_free_mb = 1\n'
    async with EmbeddedBroker() as broker, Office(broker.port) as office:
        held = office.put(wav(tmp_path / "held", speech(0.3)), 0.3)
        board = Board(tmp_path / "board", settings=settings)
        await board.enrol(office.url, office.code())
        await board.start()
        await board.until_timed()
        await office.play("b1", clips=(held,))
        await office.until("b1", 1)
        fill_disk(board.process)
        second = await office.play("b2", clips=(held,))
        await office.until("b2", 1)
        assert "saved" in (await board.status())["trouble"]["disk"]
        other = office.put(wav(tmp_path / "other", speech(0.3, seed=2)), 0.3)
        await office.play("b3", clips=(other,), signal="red", patience_ms=0, role="actual")
        await office.until_facts("b3", ME, State.PLAYING)
        assert ("playing", "floor") in {(state, why) for _, state, why in office.facts["b3"][ME]}
        fill_disk(board.process, full=False)
        await office.play("b4", clips=(held,))
        await office.until("b4", 1)
        assert "disk" not in (await board.status())["trouble"]
        await board.kill()
        said = len(board.log.read_text(encoding="utf-8"))
        async with board.running():
            await board.until_timed()
            await office.send(second)
            await office.play("b5", clips=(held,))
            await office.until("b5", 1)
        after = board.log.read_text(encoding="utf-8")[said:]
        assert "b5: sounds" in after
        assert "b2: sounds" not in after
        for name in ("b1", "b2", "b4", "b5"):
            assert [state for _, state, _ in office.facts[name][ME]].count(State.PLAYING) == 1, name


async def test_a_copied_controller_beside_the_first_is_told_of_at_both(tmp_path: Path) -> None:
    async with a_county(tmp_path) as (site, _, _), site.serve("brief", sandbox=False) as process:
        (tmp_path / "copy").mkdir()
        copy = Astray(tmp_path / "copy", site.broker, MORE)
        for name in ("keys", "state"):
            shutil.copytree(site.home / name, copy.home / name)
        async with copy.serve("brief", sandbox=False, up="/livez") as other:
            told = "another controller"
            await site.until_answered("/readyz", lambda a: a.status_code == 503 and told in a.text, process)
            assert told in await alarms(site)
            # It does not fight: the copy has the broker until somebody stops one of the two.
            await copy.until_answered("/readyz", lambda a: a.status_code == 200, other)
