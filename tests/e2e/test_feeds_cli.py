"""``fenghuo feed …`` as people use it: against a fake of the API, against simulated sources that are well and
ill, and against a real controller that listens to them."""

import asyncio
import hashlib
import json
import os
import re
import signal
import ssl
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from alerts.model import Colour
from controller.cli import feeds, words
from controller.cli.outcome import Code
from controller.cli.program import run
from controller.clock import wall_ms
from controller.store import Store, StoreError
from controller.store.records import Outcome
from simulators import story
from simulators.feeds import load, simulated
from simulators.story import Fault, Scenario, Seconds, Source, Told, Trouble
from support import fake_desk as fake
from support.county import cap
from support.running import LIMIT_S, TOKEN, free_port

STORY = (
    story.Said(
        at=Seconds(0),
        event="rain",
        codes=("623023",),
        place="舟曲县",
        issuer="舟曲县气象台",
        hazard="rainstorm",
        colour=Colour.ORANGE,
        text="预计未来3小时有强降水。",
        valid=Seconds(36_000),
    ),
)
CONFIG = """\
county: zhouqu
mode: {mode}
state_dir: ./state
issuer: {{name: 舟曲县应急管理局, level: county}}
broker: {{embedded: {{port: 0}}}}
listen: {{api: "127.0.0.1:{api}", terminals: "127.0.0.1:{terminals}"}}
operators: [{{name: 王主任, token_sha256: {token}}}]
feeds:
{feeds}
release:
  - {{feed: bureau, hazard: rainstorm, colour: [red, orange], action: auto}}
voice: {{approved_by: 王主任, approved_on: 2026-11-01, check: findings}}
"""
BUREAU = """\
  - {name: bureau, kind: folder, path: ./inbox, official: true, authenticated: folder-0700, codes: mca}
"""


class Place:
    """A county's folder with a configuration, and the program in it."""

    def __init__(self, home, *feeds, mode="actual"):
        home.chmod(0o700)
        self.home = home
        self.api_port = free_port()
        (home / "inbox").mkdir(mode=0o700, exist_ok=True)
        (home / "county.yaml").write_text(
            CONFIG.format(
                mode=mode,
                api=self.api_port,
                terminals=free_port(),
                token=hashlib.sha256(TOKEN.encode()).hexdigest(),
                feeds=BUREAU + "".join(f"  - {feed}\n" for feed in feeds),
            ),
            encoding="utf-8",
        )
        self.env = {
            **os.environ,
            "FENGHUO_TOKEN": TOKEN,
            "FENGHUO_URL": f"http://127.0.0.1:{self.api_port}",
            "LC_ALL": "C.UTF-8",
        }

    async def start(self, *command):
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "controller.cli", *command, cwd=self.home, env=self.env,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def cli(self, *command):
        """Exit code, stdout and stderr."""
        process = await self.start(*command)
        try:
            async with asyncio.timeout(LIMIT_S):
                out, err = await process.communicate()
        finally:
            await ended(process)
        return process.returncode, out.decode(), err.decode()

    async def tried(self, name, *more):
        code, out, err = await self.cli("feed", "test", name, "-c", "county.yaml", "--json", *more)
        return code, json.loads(out) if out else json.loads(err)


async def ended(process, number=signal.SIGTERM):
    if process.returncode is None:
        process.send_signal(number)
        try:
            async with asyncio.timeout(LIMIT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise


# --- list and tail, against a fake of the API ------------------------------------------------------------


@pytest.fixture
def desk(monkeypatch):
    monkeypatch.setattr(feeds, "_AGAIN_S", 0.0)
    with fake.beside(monkeypatch) as desk:
        yield desk


def test_the_list_says_which_sources_are_well_stale_in_trouble_and_not_heard_yet(desk, capsys):
    desk.answers["GET", "/v1/feeds"] = (200, [
        fake.feed("bureau"),
        fake.feed("cma", kind="cap_index", trust="relay", official=False, stale="no sign of life for 6 min"),
        fake.feed("wolfx", kind="socket", trust="unofficial", official=False, problem="answers 403"),
        fake.feed("new", last_good=None, last_document=None),
    ])  # fmt: skip
    assert run(["feed", "list"]) == Code.DONE
    lines = [re.sub(r"\s+", " ", line).strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == "bureau folder official 2026-11-22 12:00:00 2026-11-22 12:00:00 well"
    assert lines[2].endswith("STALE: no sign of life for 6 min")
    assert "relay" in lines[2]
    assert lines[3].endswith("TROUBLE: answers 403")
    assert lines[4] == "new folder official — — not heard yet"


def test_the_list_is_there_as_json_and_in_chinese(desk, capsys):
    desk.answers["GET", "/v1/feeds"] = (200, [fake.feed(stale="no sign of life for 6 min")])
    assert run(["feed", "list", "--json"]) == Code.DONE
    assert json.loads(capsys.readouterr().out) == [fake.feed(stale="no sign of life for 6 min")]
    words.use("zh")
    assert run(["feed", "list"]) == Code.DONE
    out = capsys.readouterr().out
    assert "官方" in out
    assert "停更：已 6 分钟没有动静" in out


def test_the_tail_shows_each_document_and_again_what_became_of_it(desk, capsys):
    open_ = fake.document(2, outcome=None, reason="", alert=None, headline="")
    refused = fake.document(2, outcome="refused", reason="no identifier", alert=None, headline="")
    desk.streams["/v1/documents/tail"] = [
        [("document", fake.document(1)), ("alive", {}), ("document", open_), ("document", refused)]
    ]
    assert run(["feed", "tail", "bureau", "--last", "3"]) == Code.DONE
    assert capsys.readouterr().out.splitlines() == [
        "2026-11-22 12:00:00  bureau  1.xml  held: the table says hold  (A1 暴雨橙色预警)",
        "2026-11-22 12:00:00  bureau  2.xml  being decided",
        "2026-11-22 12:00:00  bureau  2.xml  refused: no identifier",
    ]
    assert desk.asked[0][2] == {"last": ["3"], "feed": ["bureau"]}


def test_the_tail_goes_on_after_a_break_and_repeats_nothing(desk, capsys):
    desk.streams["/v1/documents/tail"] = [
        [("document", fake.document(1)), ("document", None)],
        [("document", fake.document(1)), ("document", fake.document(2))],
    ]
    assert run(["feed", "tail", "--json"]) == Code.DONE
    out = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["data"]["id"] for row in out] == [1, 2]
    assert [query["last"] for _, _, query, _ in desk.asked] == [["10"], ["1000"]]


def test_the_tail_once_shows_the_last_and_ends_and_a_feed_that_is_not_there_is_an_error(desk, capsys):
    desk.answers["GET", "/v1/documents"] = (200, [fake.document(1)])
    assert run(["feed", "tail", "--once", "--last", "1"]) == Code.DONE
    assert len(capsys.readouterr().out.splitlines()) == 1
    desk.answers["GET", "/v1/documents/tail"] = (404, {"detail": "no feed x; there are: bureau"})
    assert run(["feed", "tail", "x"]) == Code.FAILED
    assert "there are: bureau" in capsys.readouterr().err


def test_the_help_of_feeds_needs_nothing_heavy():
    import subprocess

    heavy = "{'httpx2', 'sqlalchemy', 'fastapi', 'websockets', 'yaml', 'alerts', 'simulators', 'pydantic'}"
    script = f"import sys, controller.cli.feeds; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- one round against a source --------------------------------------------------------------------------


def told(kind, *faults, **settings):
    return Scenario((Told("it", kind, faults=tuple(faults), **settings),), warnings=STORY)


async def test_a_source_that_is_well_is_shown_with_what_each_document_would_be(tmp_path):
    async with simulated(told(Source.CAP_RSS)) as sources:
        place = Place(tmp_path, f"{{name: cma, kind: cap_index, url: '{sources.address('it')}'}}")
        code, said = await place.tried("cma")
        plain = await place.cli("feed", "test", "cma", "-c", "county.yaml")
        requests = sources.tallies["it"].requests
    assert code == Code.DONE
    assert said["reached"]
    assert said["trouble"] == ""
    assert said["connections"][0]["problem"] == ""
    (document,) = said["documents"]
    assert document["ok"]
    assert document["headline"] == "舟曲县气象台发布暴雨橙色预警"
    assert document["villages"] == 212
    assert document["fields"]["msgType"] == "Alert"
    assert plain[0] == Code.DONE
    assert "212 villages here" in plain[1]
    assert requests == 4  # one index and one document in each of the two rounds, and no more
    assert not (tmp_path / "state" / "fenghuo.db").exists()


@pytest.mark.parametrize(
    ("fault", "code", "words_"),
    [
        (Fault.ERROR_500, Code.FAILED, "answers 500"),
        (Fault.HTML, Code.FAILED, "index"),
        (Fault.REDIRECT, Code.FAILED, "redirects"),
        (Fault.EMPTY, Code.DONE, ""),
    ],
)
async def test_a_source_that_is_ill_is_told_from_one_that_has_nothing_to_say(tmp_path, fault, code, words_):
    async with simulated(told(Source.CAP_RSS, Trouble(fault))) as sources:
        place = Place(tmp_path, f"{{name: cma, kind: cap_index, url: '{sources.address('it')}'}}")
        found, said = await place.tried("cma")
    assert found == code
    assert words_ in said["trouble"]
    assert said["documents"] == []


async def test_files_are_looked_at_and_left_where_they_are_and_a_bad_one_is_explained(tmp_path):
    place = Place(tmp_path)
    (tmp_path / "inbox" / "good.xml").write_bytes(cap())
    (tmp_path / "inbox" / "bad.xml").write_bytes(b"<alert><identifier>1</identifier></alert>")
    code, said = await place.tried("bureau")
    assert code == Code.PARTLY
    assert {d["name"]: d["ok"] for d in said["documents"]} == {"good.xml": True, "bad.xml": False}
    assert next(d["reason"] for d in said["documents"] if not d["ok"])
    assert sorted(path.name for path in (tmp_path / "inbox").iterdir()) == ["bad.xml", "good.xml"]


async def test_a_socket_is_heard_until_it_has_said_what_it_says_on_connecting(tmp_path):
    shaken = (story.Shaken(Seconds(0), "q", 33.2, 103.8, 6.1, "四川九寨沟县", depth=20.0),)
    scenario = Scenario((Told("it", Source.WOLFX),), quakes=shaken)
    async with simulated(scenario) as sources:
        while not sources.tallies["it"].published:
            await asyncio.sleep(0.01)
        place = Place(tmp_path, f"{{name: eew, kind: socket, format: wolfx, url: '{sources.address('it')}'}}")
        code, said = await place.tried("eew")
    assert (code, said["trust"]) == (Code.DONE, "unofficial")
    (document,) = said["documents"]
    assert "6.1" in document["headline"]
    assert document["villages"] is None


async def test_nobody_at_the_address_and_no_such_feed_have_their_own_exit_codes(tmp_path):
    place = Place(tmp_path, f"{{name: dead, kind: cap_index, url: 'http://127.0.0.1:{free_port()}/x'}}")
    code, said = await place.tried("dead")
    assert code == Code.FAILED
    assert not said["reached"]
    assert said["connections"][0]["problem"]
    code, said = await place.tried("dread")
    assert code == Code.CONFIG
    assert "bureau, dead" in said["messages"][0]


def _certificate(folder):
    """A certificate of our own for 127.0.0.1, and its key."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a bureau")])
    here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(7).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([here]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@asynccontextmanager
async def secured(folder, plain):
    """TLS in front of the address `plain`."""
    port = int(re.search(r":(\d+)/", plain)[1])

    async def talk(reader, writer):
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
            back.write(await reader.readuntil(b"\r\n\r\n"))
            writer.write(await there.read())
            await writer.drain()
            back.close()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # it only looked at the certificate
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=_certificate(folder))
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/rss.xml"
    finally:
        server.close()


async def test_a_certificate_is_shown_when_it_is_pinned_and_refused_when_nobody_vouches_for_it(tmp_path):
    async with simulated(told(Source.CAP_RSS)) as sources, secured(tmp_path, sources.address("it")) as url:
        place = Place(
            tmp_path,
            f"{{name: pinned, kind: cap_index, url: '{url}', ca_file: ./cert.pem}}",
            f"{{name: public, kind: cap_index, url: '{url}'}}",
        )
        good, said = await place.tried("pinned")
        bad, refused = await place.tried("public")
    assert good == Code.DONE
    assert "certificate of a bureau" in said["connections"][0]["tls"]
    assert len(said["documents"]) == 1
    assert bad == Code.FAILED
    assert not refused["reached"]
    assert "ca_file" in refused["connections"][0]["problem"]


# --- what would be decided today -------------------------------------------------------------------------


def verdicts(out):
    rows = [json.loads(line) for line in out.splitlines()]
    assert rows[-1]["event"] == "summary"
    return [row["data"] for row in rows[:-1]], rows[-1]["data"]


async def test_files_are_judged_in_their_order_and_at_their_own_times_and_nothing_is_stored(tmp_path):
    place = Place(tmp_path)
    sent = datetime(2026, 7, 14, 8, tzinfo=UTC)
    first = "62302341600000_20260714160000"
    folder = tmp_path / "old"
    folder.mkdir()
    documents = {
        "c.xml": cap(identifier=first, sent=sent, expires=sent + timedelta(hours=6)),
        "a.xml": cap(
            identifier="62302341600000_20260714170000",
            msg_type="Cancel",
            sent=sent + timedelta(hours=1),
            references=f"zhouqu.weather,{first},{sent.isoformat()}",
        ),
        "b.xml": cap(
            identifier="62302341600000_20260714163000",
            event="大风",
            colour="蓝色",
            sent=sent + timedelta(minutes=30),
            expires=sent + timedelta(hours=6),
        ),
        "d.xml": b"<alert/>",
    }
    for name, body in documents.items():
        (folder / name).write_bytes(body)
    code, out, err = await place.cli(
        "feed", "replay", "old", "--feed", "bureau", "-c", "county.yaml", "--json"
    )
    assert code == Code.DONE, err
    rows, summary = verdicts(out)
    assert [(row["name"], row["outcome"]) for row in rows] == [
        ("c.xml", "released"), ("b.xml", "held"), ("a.xml", "released"), ("d.xml", "refused")
    ]  # fmt: skip
    assert rows[0]["terminals"] > 0
    assert first in rows[2]["reason"]
    assert all(row["reason"] for row in rows)
    assert summary["outcomes"] == {"released": 2, "held": 1, "refused": 1}
    assert not (tmp_path / "state").exists()


async def test_judged_as_if_they_came_now_old_warnings_are_held(tmp_path):
    place = Place(tmp_path)
    sent = datetime.now(UTC) - timedelta(hours=3)
    (tmp_path / "old.xml").write_bytes(cap(sent=sent, expires=sent + timedelta(hours=9)))
    words_ = ("feed", "replay", "old.xml", "--feed", "bureau", "-c", "county.yaml", "--json")
    then, now = [verdicts((await place.cli(*words_, *more))[1])[0][0] for more in ((), ("--now",))]
    assert (then["outcome"], now["outcome"]) == ("released", "held")
    assert "catch-up" in now["reason"]


async def test_the_journal_is_judged_again_and_what_would_end_otherwise_is_said(tmp_path):
    place = Place(tmp_path)
    path = tmp_path / "state" / "fenghuo.db"
    store = await Store.open(path)
    for body in (cap(), b"not XML"):
        digest = hashlib.sha256(body).hexdigest()
        number = await store.journal("bureau", "it.xml", body, digest, wall_ms())
        await store.close_document(number, Outcome.REFUSED, "a rule of yesterday")
    await store.close()
    before = path.read_bytes()
    code, out, err = await place.cli("feed", "replay", "--since", "1h", "-c", "county.yaml")
    assert code == Code.DONE, err
    lines = out.splitlines()
    assert "WOULD BE CARRIED OUT AT ONCE (then: refused): release rule 1" in lines[0]
    assert "would be refused: " in lines[1]
    assert "1 would end otherwise" in err
    assert path.read_bytes() == before
    later = await place.cli("feed", "replay", "--since", "2099-01-01", "-c", "county.yaml", "--json")
    assert verdicts(later[1]) == ([], {"documents": 0, "outcomes": {}, "differ": 0})


async def test_a_record_of_warnings_is_judged_for_the_county_that_it_concerns(tmp_path):
    place = Place(tmp_path, "{name: cma, kind: cap_index, url: 'http://127.0.0.1:9/rss.xml', codes: mca}")
    rows = [("623023", "暴雨"), ("623000", "大风"), ("621222", "暴雨"), ("653226", "暴雨")]
    record = "".join(
        json.dumps({
            "adcode": code, "type": kind, "color": "橙色", "name": code, "issued": "2026-07-14T00:00:00Z",
            "expires": "2026-07-14T06:00:00Z", "first_seen": "2026-07-14T01:00:00Z",
            "last_seen": "2026-07-14T05:30:00Z",
        }) + "\n"
        for code, kind in rows
    )  # fmt: skip
    (tmp_path / "week.jsonl").write_text(record)
    words_ = ("feed", "replay", "week.jsonl", "--feed", "cma", "-c", "county.yaml", "--json")
    mine, _ = verdicts((await place.cli(*words_))[1])
    assert sorted(row["identifier"][:6] for row in mine) == ["623000", "623023"]
    assert {row["outcome"] for row in mine} == {"held"}
    every, _ = verdicts((await place.cli(*words_, "--within", "62"))[1])
    assert sorted(row["outcome"] for row in every) == ["held", "held", "ignored"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), Code.USAGE),
        (("inbox",), Code.USAGE),
        (("inbox", "--since", "1h", "--feed", "bureau"), Code.USAGE),
        (("--since", "yesterday"), Code.USAGE),
        (("--since", "1h", "--feed", "nobody"), Code.CONFIG),
        (("--since", "1h"), Code.FAILED),
    ],
)
async def test_a_replay_that_cannot_be_says_why(tmp_path, arguments, code):
    place = Place(tmp_path)
    found, out, err = await place.cli("feed", "replay", *arguments, "-c", "county.yaml")
    assert found == code
    assert out == ""
    assert err.strip()


async def test_a_store_that_is_only_looked_at_cannot_be_written_and_must_be_ours(tmp_path):
    path = tmp_path / "fenghuo.db"
    store = await Store.open(path)
    async with Store.look(path) as beside:  # while the other is open
        number = await store.journal("f", "n", b"x", "0", 1)
        assert [row.id for row, _, _ in await beside.journalled(limit=9)] == [number]
        with pytest.raises(StoreError):
            await beside.journal("f", "n", b"x", "0", 1)
    await store.close()
    (tmp_path / "other.db").write_bytes(b"")
    with pytest.raises(StoreError, match="schema"):
        async with Store.look(tmp_path / "other.db"):
            pass
    with pytest.raises(StoreError):
        async with Store.look(tmp_path / "missing.db"):
            pass


async def test_the_journal_is_read_forwards_from_a_place_or_backwards_from_its_end(tmp_path):
    store = await Store.open(tmp_path / "fenghuo.db")
    ids = [await store.journal("ab"[n % 2], str(n), b"x", "0", n) for n in range(6)]

    async def read(**query):
        return [row.id for row, _, _ in await store.journalled(**query)]

    assert await read(limit=9) == ids
    assert await read(limit=2) == ids[:2]
    assert await read(limit=2, latest=True) == ids[-2:]
    assert await read(limit=9, feed="a", after=ids[0]) == ids[2::2]
    assert await read(limit=9, since=4) == ids[4:]
    await store.close()


# --- a real controller ------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_controller_hears_three_sources_as_one_event_and_its_operators_see_it(tmp_path):
    kinds = (Source.CAP_RSS, Source.CN12379, Source.CAIYUN)
    scenario = Scenario(tuple(Told(kind.value, kind) for kind in kinds), warnings=STORY)
    async with simulated(scenario) as sources:
        place = Place(
            tmp_path,
            f"{{name: cma, kind: cap_index, url: '{sources.address('cap_rss')}'}}",
            f"{{name: list, kind: list, format: '12379', url: '{sources.address('12379')}'}}",
            f"{{name: sky, kind: list, format: caiyun, url: '{sources.address('caiyun')}'}}",
            mode="drill",
        )
        serve = await place.start("serve", "--sandbox", "-c", "county.yaml")
        talk = asyncio.gather(serve.stdout.read(), serve.stderr.read())
        try:
            await _answers(place)
            tail = await place.start("feed", "tail", "--json", "--last", "100")
            try:
                seen = {}
                async with asyncio.timeout(LIMIT_S):
                    while len(seen) < 3 or None in seen.values():
                        row = json.loads(await tail.stdout.readline())["data"]
                        seen[row["feed"]] = row["outcome"]
                (tmp_path / "inbox" / "new.xml").write_bytes(b"<nonsense/>")
                async with asyncio.timeout(LIMIT_S):
                    while True:
                        row = json.loads(await tail.stdout.readline())["data"]
                        if row["feed"] == "bureau" and row["outcome"]:
                            break
            finally:
                await ended(tail, signal.SIGINT)
            code, out, _ = await place.cli("feed", "list", "--json")
            nobody = await place.cli("feed", "tail", "nobody")
            _, held, _ = await place.cli("alert", "list", "--state", "held", "--json")
        finally:
            await ended(serve)
            await talk
    # One event, whoever was first; where that was the private source, a relay's word waits beside its own.
    assert len({alert["event_key"] for alert in json.loads(held)}) == 1
    assert set(seen.values()) == {"held", "ignored"}
    assert row["outcome"] == "refused"
    assert tail.returncode == Code.DONE
    listed = {feed["name"]: feed for feed in json.loads(out)}
    assert code == Code.DONE
    assert {name: feed["trust"] for name, feed in listed.items()}["list"] == "relay"
    assert all(feed["last_good"] and not feed["stale"] for feed in listed.values())
    assert all(listed[name]["last_document"] for name in ("bureau", "cma", "list", "sky"))
    assert nobody[0] == Code.FAILED


async def _answers(place):
    async with httpx2.AsyncClient(trust_env=False) as client, asyncio.timeout(3 * LIMIT_S):
        while True:
            try:
                if (await client.get(f"{place.env['FENGHUO_URL']}/livez")).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.05)


def test_the_shipped_scenarios_can_be_named():
    assert load("five-sources").sources
    assert load("bad-day").seed
