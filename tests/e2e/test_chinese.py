"""A duty officer who reads Chinese: a real controller, and every command that gives its reasons, under
``--lang zh``. No English sentence may be left in what is printed."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from simulators.fleet import Fleet, FleetOptions
from support.county import BEIJING, cap
from support.running import LIMIT_S, TOKEN, Site, free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TERMINALS = 24
"""20 of 城关镇, 4 of 大川镇."""
HEADER = "id,name,village,lat,lon,languages"
BROKEN = """\
county: zhouqv
mode: real
feeds: [{name: x, kind: foldr}, {name: y, kind: folder, path: ./y, stale_after: soon}]
listen: {api: 8470}
extra: 1
"""
BOW = {
    "type": "Polygon",
    "coordinates": [[[104.3, 33.7], [104.5, 33.9], [104.5, 33.7], [104.3, 33.9], [104.3, 33.7]]],
}
PROGRAM = """
import contextlib, io, json, sys
from controller.cli import words
words.use("zh")
from controller.cli.program import run
for line in sys.stdin:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = run(json.loads(line))
    print(json.dumps([code, said.getvalue()]), flush=True)
"""
# A command, an option, a file or an address is the same in every language.
_SAME = re.compile(r"\S*[/_.@=:-]\S+|fenghuo( [a-z]+)*|alerts terminals tts config controller simulators")
_SENTENCE = re.compile("[A-Za-z]{2,}( [A-Za-z]{2,}){2,}")


@asynccontextmanager
async def a_program(site: Site) -> AsyncIterator[Callable[[Sequence[str]], Awaitable[tuple[int, str]]]]:
    """`fenghuo --lang zh` in a process of its own, for many commands: exit code and all that was printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, cwd=site.home, env={**site.env, "PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**24,
    )  # fmt: skip
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    async def told(given: Sequence[str]) -> tuple[int, str]:
        stdin.write(json.dumps(given).encode() + b"\n")
        async with asyncio.timeout(LIMIT_S):
            code, said = json.loads(await stdout.readline())
        return code, said

    try:
        yield told
    finally:
        stdin.close()
        await process.wait()


@asynccontextmanager
async def a_fleet(site: Site) -> AsyncIterator[None]:
    fleet = Fleet(FleetOptions(controller=site.url, token=TOKEN, terminals=TERMINALS, speed=100.0))
    try:
        async with asyncio.timeout(LIMIT_S):
            await fleet.start()
            await fleet.wait(fleet.ready)
        yield
    finally:
        await fleet.stop()


def english(said: str) -> list[str]:
    """Lines in which an English sentence is left."""
    return [line for line in said.splitlines() if _SENTENCE.search(_SAME.sub("|", line))]


@pytest.mark.parametrize(
    "line",
    [
        "被拒绝：nobody would hear it",
        "Held: release rule says hold",
        "x.csv:3：is given twice (say it once)",
    ],
)
def test_an_english_sentence_is_noticed(line: str) -> None:
    assert english(line)


async def test_the_whole_desk_in_chinese(tmp_path: Path) -> None:
    site = Site(tmp_path)
    dead = f"  - {{name: nmc, kind: list, format: nmc, url: 'http://127.0.0.1:{free_port()}/?pageNo={{page}}'}}\n"
    config = (tmp_path / "county.yaml").read_text(encoding="utf-8")
    now = datetime.now(BEIJING).replace(microsecond=0)
    swapped = cap(identifier="swapped").replace(
        b"</area>", b"<polygon>104.3,33.7 104.4,33.7 104.4,33.8 104.3,33.7</polygon></area>"
    )
    files = {
        "county.yaml": config.replace("release:\n", dead + "release:\n").encode(),
        "strange.csv": f"{HEADER}\nsim-a2,乙喇叭,天水村,,,zh\n".encode(),
        "broken.yaml": BROKEN.encode(),
        "bow.geojson": json.dumps(BOW).encode(),
        "damaged.xml": swapped.replace(b"<msgType>Alert", b"<msgType>Cancel"),
        "cut.xml": swapped[:900],
        "latin.xml": cap().decode().encode("gbk"),
    }
    for name, body in files.items():
        (tmp_path / name).write_bytes(body)
    documents = (
        cap(identifier="elsewhere", codes=("623026101000",)),
        cap(identifier="old", event="大风", sent=now - timedelta(days=2), expires=now + timedelta(hours=3)),
        cap(identifier="flood", event="山洪", codes=("623023",)),
        cap(identifier="drill", status="Exercise"),
        cap(identifier="later", event="雷电", sent=now + timedelta(hours=2)),
        cap(identifier="unknown", event="蝗灾", codes=("623023101999",)),
        cap(identifier="label", status="Real"),
        swapped,
    )
    left: list[str] = []

    async def zh(*given: str, says: str = "", code: int = 0) -> None:
        got, said = await told(given)
        left.extend(f"{' '.join(given)}: {line}" for line in english(said))
        assert says in said
        assert got == code, said

    async with a_program(site) as told:
        async with site.serve("speaking", up="/v1/status") as process, a_fleet(site):
            await zh("terminal", "import", "strange.csv", says="没有", code=6)
            for number, body in enumerate(documents):
                site.drop(body, f"{number}.xml")
            await site.until_answered(
                "/v1/documents",
                lambda answer: sum(row["outcome"] is not None for row in answer.json()) == len(documents),
                process,
            )
            alerts = {one["identifier"]: one["id"] for one in (await site.api.get("/v1/alerts")).json()}
            for identifier in alerts.values():
                await zh("alert", "show", identifier)
                await zh("why", "sim-00021", "--alert", identifier)
            await zh("alert", "show", alerts["later"], says="对方或本机的时钟不对")
            await zh("alert", "show", alerts["flood"], says="没有相符的发布规则")
            await zh("alert", "show", alerts["drill"], says="演练和测试由值班员发起")
            await zh("alert", "approve", alerts["elsewhere"], "--yes", says="已存档", code=6)
            await zh("status", says="连接失败")
            await zh("feed", "list", says="连接失败")
            await zh("feed", "tail", "--once", says="没有标明类别的预警一律拒收")
            await zh("feed", "test", "nmc", "-c", "county.yaml", "--seconds", "3", says="连接失败", code=1)
            await zh("feed", "replay", "-c", "county.yaml", "--since", "1h", says="会待审")
            await zh("audit")
            preview = ("alert", "preview", "--template", "rainstorm")
            await zh(*preview, "--area", "迭部县", says="舟曲县", code=6)
            await zh(*preview, "--area", "全县", "--circle", "33.78,104.36,5", says="异常多", code=6)
            await zh(*preview, "--polygon", "bow.geojson", says="自相交", code=6)
            send = ("alert", "send", "--template", "rainstorm", "--yes")
            await zh(*send, "--area", "南峪乡", says="没有已入网的终端", code=6)
            await zh(*send, "--area", "大川镇", says="已发布")
            await zh("alert", "cancel", "A0", "--yes", says="没有预警", code=1)
            await zh("terminal", "enrol", "sim-zz", says="没有终端", code=1)
        await zh("status", says="连", code=4)
        await zh("alert", "lint", "damaged.xml", "--county", "zhouqu", says="须写明解除哪一条", code=6)
        await zh("alert", "lint", "cut.xml", says="文件不完整", code=6)
        await zh("alert", "lint", "latin.xml", says="文字不可信", code=6)
        await zh("config", "check", "broken.yaml", says="应为 folder 或", code=3)
        await zh("county", "check", "yutian", says="没有驻地位置")
        assert left == []
