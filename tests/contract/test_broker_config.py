"""What `fenghuo broker config` writes, before a real mosquitto: who is let in, who says and hears what."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiomqtt
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config.counties import load_county
from controller import brokers, certificates
from controller.brokers import Member
from controller.certificates import Authority, CertificateError
from controller.clock import as_of
from controller.keys import KeysError, throw_away
from controller.register import Register
from controller.store import Store
from controller.store.records import CertificateRow, Entry
from controller.web.village import village_api
from simulators.broker import HOST, mosquitto_binary, password_hash
from support.brokers import needs_mosquitto
from terminals import certificate as boards
from terminals.agent import host, link
from terminals.agent.devices import Paced
from terminals.agent.link import trust
from terminals.agent.settings import Settings, Sound
from terminals.agent.state import StateFolder
from terminals.enrolment import KEY_ENTROPY, Applicant
from terminals.model import Terminal

WAIT_S = 10
COUNTY = "zhouqu"
A, B = "zq-0001", "zq-0002"
MEMBERS = [Member(A, ("all", "w01", "w01v01")), Member(B, ("all", "w02", "w02v01"))]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Site:
    """One county's authority and broker files."""

    def __init__(self, folder: Path, *, login: str = "certificate", county: str = COUNTY) -> None:
        self.keys = folder / "keys"
        self.out = folder / "mosquitto"
        self.out.mkdir(parents=True)
        certificates.create(self.keys, county, ["localhost", HOST], now_ms(), None)
        found = certificates.load(self.keys, None)
        assert found is not None
        self.authority: Authority = found
        self.login = login
        self.port = _free_port()
        self.revoked: list[CertificateRow] = []
        self.passwords: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def board(self, name: str, now: int | None = None) -> tuple[Path, CertificateRow]:
        """A terminal's folder with key and certificate, as its enrolment leaves them."""
        folder = self.keys.parent / f"board-{name}-{secrets.token_hex(3)}"
        folder.mkdir()
        key = boards.new_key(secrets.token_bytes(boards.ENTROPY))
        pem, row = self.authority.for_terminal(name, boards.request(key, name), now or now_ms())
        (folder / "key.pem").write_bytes(key)
        (folder / "certificate.pem").write_text(pem)
        return folder, row

    def write(self, members: Iterable[Member] = MEMBERS) -> None:
        by_certificate = self.login == "certificate"
        controller = certificates.CONTROLLER if by_certificate else "controller"
        files = {
            "mosquitto.conf": brokers.configuration(
                port=self.port,
                terminals=len(MEMBERS),
                certificates=by_certificate,
                folder=self.out,
                bind=HOST,
                user="root",
            )
            .replace("/var/lib/mosquitto/", f"{self.out}/")
            .encode(),
            "acl.txt": brokers.acl(COUNTY, members, controller).encode(),
            "crl.pem": self.authority.crl(self.revoked, now_ms()),
            "passwd": brokers.passwords(
                {user: password_hash(word) for user, word in self.passwords.items()}
            ).encode(),
        }
        for part in ("ca.crt", "server.crt", "server.key"):
            files[part] = certificates.file_of(self.keys, part, None)
        for name, data in files.items():
            (self.out / name).write_bytes(data)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Site]:
        self.write()
        self.process = mosquitto(self.out / "mosquitto.conf")
        try:
            end = time.monotonic() + WAIT_S
            while time.monotonic() < end and self.process.poll() is None:
                try:
                    socket.create_connection((HOST, self.port), 1).close()
                    break
                except OSError:
                    await asyncio.sleep(0.02)
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            yield self
        finally:
            self.process.terminate()
            self.process.communicate(timeout=WAIT_S)

    def reload(self, members: Iterable[Member] = MEMBERS) -> None:
        self.write(members)
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def context(self, board: Path | None, ca: Path | None = None) -> ssl.SSLContext:
        ca = ca or self.keys / "tls" / "ca.crt"
        if board is None:
            return trust(str(ca))
        return trust(str(ca), str(board / "certificate.pem"), str(board / "key.pem"), timeless=True)

    def client(self, board: Path | None, *, claims: str = "", word: str | None = None) -> aiomqtt.Client:
        return self.by(self.context(board), claims or secrets.token_hex(4), word)

    def controller(self) -> aiomqtt.Client:
        context = ssl.create_default_context(cafile=str(self.keys / "tls" / "ca.crt"))
        certificates.show_ours(context, self.keys, None)
        return self.by(context, "controller", None)

    def by(self, context: ssl.SSLContext, claims: str, word: str | None) -> aiomqtt.Client:
        return aiomqtt.Client(
            "localhost",
            self.port,
            identifier=f"{claims}-{secrets.token_hex(3)}",
            username=claims,
            password=word,
            protocol=aiomqtt.ProtocolVersion.V5,
            timeout=WAIT_S,
            tls_context=context,
        )


def mosquitto(config: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([str(mosquitto_binary()), "-c", str(config)], stderr=subprocess.PIPE)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


async def is_let_in(client: aiomqtt.Client) -> bool:
    try:
        async with client:
            return True
    except aiomqtt.MqttError:
        return False


async def any_is_let_in(*clients: aiomqtt.Client) -> list[bool]:
    """At once: who is refused by TLS 1.3 only learns it by waiting in vain."""
    return list(await asyncio.gather(*map(is_let_in, clients)))


async def arrived(subscriber: aiomqtt.Client, last: str) -> list[str]:
    """Topics, up to and with `last`."""
    found: list[str] = []
    async with asyncio.timeout(WAIT_S):
        async for message in subscriber.messages:
            found.append(str(message.topic))
            if found[-1] == last:
                break
    return found


def topic(*parts: str) -> str:
    return "/".join(("fenghuo", COUNTY, *parts))


async def publish(client: aiomqtt.Client, topics: Iterable[str]) -> None:
    for one in topics:
        await client.publish(one, b"x", qos=1)


@needs_mosquitto
async def test_only_our_own_certificates_that_are_good_today_are_let_in(tmp_path: Path) -> None:
    site, other = Site(tmp_path / "ours"), Site(tmp_path / "theirs", county="other")
    day = 86_400_000
    good, _ = site.board(A)
    expired, _ = site.board(A, now_ms() - 800 * day)
    future, _ = site.board(A, now_ms() + 30 * day)
    stolen, row = site.board(B)
    site.revoked.append(CertificateRow(row.serial, B, row.issued, row.expires, now_ms()))
    theirs, _ = other.board(A)
    async with site.running():
        assert await is_let_in(site.client(good))
        assert await is_let_in(site.controller())
        strangers = {
            "no certificate": site.client(None),
            "a name alone": site.client(None, claims="@controller", word="x"),
            "another county's": site.client(theirs),
            "ended": site.client(expired),
            "not begun": site.client(future),
            "revoked": site.client(stolen),
        }
        found = await any_is_let_in(*strangers.values())
        assert [why for why, is_in in zip(strangers, found, strict=True) if is_in] == []
        assert await is_let_in(site.client(good)), "the broker is still well"
        # A terminal that knows another county's authority does not talk to this broker.
        context = site.context(theirs, other.keys / "tls" / "ca.crt")
        assert not await is_let_in(site.by(context, A, None))


@needs_mosquitto
async def test_a_terminal_says_only_its_own_whatever_it_calls_itself(tmp_path: Path) -> None:
    site = Site(tmp_path)
    a, _ = site.board(A)
    others = [("rpt", B), ("here", B), ("cmd", "t", A), ("cmd", "t", B), ("cmd", "g", "all")]
    others += [("cmd", "g", "w01v01"), ("rpt", A, "deeper"), ("ctl", "claim")]
    forbidden = [*(topic(*parts) for parts in others), f"fenghuo/other/rpt/{A}"]
    async with site.running(), site.controller() as controller:
        await controller.subscribe("fenghuo/#", qos=1)
        for claims in ("", "@controller", B):
            async with site.client(a, claims=claims) as terminal:
                await publish(terminal, forbidden)
                await publish(terminal, [topic("here", A), topic("rpt", A)])
            assert await arrived(controller, topic("rpt", A)) == [topic("here", A), topic("rpt", A)]


@needs_mosquitto
async def test_a_terminal_hears_its_own_groups_and_no_other_villages(tmp_path: Path) -> None:
    site = Site(tmp_path)
    a, _ = site.board(A)
    async with site.running(), site.controller() as controller, site.client(a) as terminal:
        for wish in ("#", topic("#"), topic("cmd", "g", "w02v01"), topic("cmd", "t", B), topic("rpt", "+")):
            await terminal.subscribe(wish, qos=1)
        mine = [topic("cmd", "g", g) for g in ("all", "w01", "w01v01")] + [topic("cmd", "t", A)]
        await publish(
            controller,
            [
                topic("cmd", "g", "w02"), topic("cmd", "g", "w02v01"), topic("cmd", "t", B), topic("rpt", B),
                topic("ctl", "claim"), *mine,
            ],
        )  # fmt: skip
        assert set(await arrived(terminal, mine[-1])) == set(mine)


@needs_mosquitto
async def test_a_terminal_that_left_the_register_hears_and_says_nothing_after_a_reload(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path)
    a, _ = site.board(A)
    b, _ = site.board(B)
    async with site.running(), site.controller() as controller:
        await controller.subscribe("fenghuo/#", qos=1)
        (site.out / "acl.txt").write_text(brokers.acl(COUNTY, MEMBERS[1:]))
        assert site.process is not None
        site.process.send_signal(signal.SIGHUP)
        await asyncio.sleep(0.5)
        async with site.client(a) as gone, site.client(b) as there:
            await publish(gone, [topic("rpt", A)])
            await publish(there, [topic("rpt", B)])
        assert await arrived(controller, topic("rpt", B)) == [topic("rpt", B)]


@needs_mosquitto
async def test_who_is_revoked_is_shut_out_by_a_reload_and_nobody_else_notices(tmp_path: Path) -> None:
    site = Site(tmp_path)
    a, _ = site.board(A)
    b, row = site.board(B)
    async with site.running():
        async with site.client(a) as there, site.client(b) as stolen, site.controller() as controller:
            await controller.subscribe("fenghuo/#", qos=1)
            site.revoked.append(CertificateRow(row.serial, B, row.issued, row.expires, now_ms()))
            site.reload(MEMBERS[:1])
            context = site.context(b)
            context.maximum_version = ssl.TLSVersion.TLSv1_2  # in which the refusal comes at once
            async with asyncio.timeout(3 * WAIT_S):
                while await is_let_in(site.by(context, B, None)):
                    await asyncio.sleep(0.05)
            # Its open connection is left, if no try above has taken its place, and has no topic any more.
            with contextlib.suppress(aiomqtt.MqttError):
                await publish(stolen, [topic("rpt", B)])
            await publish(there, [topic("rpt", A)])
            assert await arrived(controller, topic("rpt", A)) == [topic("rpt", A)]
        assert await is_let_in(site.client(a))


@asynccontextmanager
async def an_office(site: Site, path: Path) -> AsyncIterator[tuple[Register, int]]:
    """The controller's register behind the real HTTP of the village network; its port."""
    store = await Store.open(path / "fenghuo.db")
    door = socket.create_server((HOST, 0))
    port = int(door.getsockname()[1])
    register = Register(
        store, load_county(COUNTY).county, throw_away(sandbox=False), broker=f"mqtts://localhost:{site.port}",
        audio=f"http://{HOST}:{port}", sandbox=False, authority=site.authority, login="certificate",
    )  # fmt: skip
    app: Any = SimpleNamespace(register=register, alarm=print)
    server = uvicorn.Server(uvicorn.Config(village_api(app), log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve([door]))
    try:
        await register.add([Terminal(A, A, register.county.villages[0].key)], "王主任")
        yield register, port
    finally:
        server.should_exit = True
        await serving
        await store.close()


@needs_mosquitto
async def test_a_board_whose_certificate_ended_while_it_was_off_gets_the_next_and_is_let_in_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path)
    async with an_office(site, tmp_path) as (register, _), site.running():
        key = boards.new_key(secrets.token_bytes(boards.ENTROPY))
        with as_of(now_ms() - 800 * 86_400_000):
            code = (await register.codes([A], "王主任"))[A]
            asked = Applicant(A, code, secrets.token_bytes(KEY_ENTROPY), boards.request(key, A))
            papers = asked.open(await register.enrol(asked.request))
        (tmp_path / "state").mkdir(mode=0o700)
        state = StateFolder(tmp_path / "state")
        state.keep_papers(papers, key)
        # It has no battery for its clock, and no signed time, because the broker does not let it in.
        wall = [0.0]
        monkeypatch.setattr(host, "time", SimpleNamespace(time=lambda: wall[0], monotonic=time.monotonic))
        monkeypatch.setattr(host, "CUT_OFF_S", 1.0)
        monkeypatch.setattr(link, "LONGEST_PAUSE_S", 0.2)
        monkeypatch.setattr(link, "CONNECT_S", 1.0)  # who is refused by TLS 1.3 learns it by waiting in vain
        one = host.Host(state, papers, Settings(sound=Sound(device="null")), open_device=Paced)
        running = asyncio.create_task(one.run())
        try:
            async with asyncio.timeout(3 * WAIT_S):
                while not one.link.connected:
                    await asyncio.sleep(0.02)
            begins, ends = boards.check((state.tls / "certificate.pem").read_text(), papers.authority, key, A)
            assert begins < now_ms() < ends
            assert "certificate" not in one.trouble
            assert len(await register._store.certificates()) == 2
            assert not await one.renew_if_due(), "in 1970 it asks once, not again and again"
            wall[0] = time.time()
            assert not await one.renew_if_due(), "not due yet"
            assert "certificate" not in one.trouble
            # In two thirds of its life it asks again; what the office refuses is told to who stands there.
            wall[0] = ends / 1000 - 1
            assert not await one.renew_if_due()
            assert "within the last hour" in one.status()["trouble"]["certificate"]
            monkeypatch.setattr("controller.register.RENEWAL_PAUSE_MS", 0)
            assert await one.renew_if_due()
            assert "certificate" not in one.status()["trouble"]
            await register._store.revoke(A, Entry("王主任", "test", A), now_ms())
            assert not await one.renew_if_due()
            assert "revoked" in one.status()["trouble"]["certificate"]
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@needs_mosquitto
async def test_passwords_are_each_terminals_own(tmp_path: Path) -> None:
    site = Site(tmp_path, login="password")
    site.passwords = {"controller": "c", A: "one", B: "two"}
    async with site.running():
        assert await is_let_in(site.client(None, claims=A, word="one"))
        assert await is_let_in(site.client(None, claims="controller", word="c"))
        assert not await is_let_in(site.client(None, claims=A, word="two"))
        assert not await is_let_in(site.client(None, claims=A, word=""))
        assert not await is_let_in(site.client(None, claims="zq-0003", word=""))
        async with site.client(None, claims="controller", word="c") as controller:
            await controller.subscribe("fenghuo/#", qos=1)
            async with site.client(None, claims=A, word="one") as terminal:
                await publish(terminal, [topic("rpt", B), topic("rpt", A)])
            assert await arrived(controller, topic("rpt", A)) == [topic("rpt", A)]


# --- the authority itself ---


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_request_for_another_id_or_with_another_kind_of_key_is_refused(site: Site) -> None:
    key = boards.new_key(b"\x01" * boards.ENTROPY)
    with pytest.raises(CertificateError, match="names zq-0002, not zq-0001"):
        site.authority.for_terminal(A, boards.request(key, B), now_ms())
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, A)])
    other = (
        x509.CertificateSigningRequestBuilder().subject_name(name).sign(Ed25519PrivateKey.generate(), None)
    )
    with pytest.raises(CertificateError, match="not P-256"):
        site.authority.for_terminal(A, other.public_bytes(serialization.Encoding.DER), now_ms())
    good = boards.request(key, A)
    for at in (len(good) - 1, len(good) // 2):
        bad = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        with pytest.raises(CertificateError):
            site.authority.for_terminal(A, bad, now_ms())
    for junk in (b"", b"\x00" * 100, b"x" * 5000):
        with pytest.raises(CertificateError):
            site.authority.for_terminal(A, junk, now_ms())


def test_a_terminal_takes_only_a_certificate_of_its_own_key_county_and_id(site: Site, tmp_path: Path) -> None:
    key, other = (boards.new_key(bytes([n]) * boards.ENTROPY) for n in (1, 2))
    pem, row = site.authority.for_terminal(A, boards.request(key, A), now_ms())
    begins, ends = boards.check(pem, site.authority.pem, key, A)
    assert ends == row.expires
    assert not boards.is_due(begins, ends, now_ms())
    assert boards.is_due(begins, ends, begins + (ends - begins) * 3 // 4)
    foreign = Site(tmp_path / "foreign", county="other").authority
    for words in (
        (pem, site.authority.pem, other, A),
        (pem, foreign.pem, key, A),
        (pem, site.authority.pem, key, B),
        ("", site.authority.pem, key, A),
    ):
        with pytest.raises(boards.NotOurs):
            boards.check(*words)


def test_a_locked_authority_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    certificates.create(tmp_path, COUNTY, ["localhost"], now_ms(), b"word")
    assert certificates.load(tmp_path, b"word") is not None
    assert b"PRIVATE KEY" in certificates.file_of(tmp_path, "server.key", b"word")
    with pytest.raises(KeysError, match="passphrase"):
        certificates.load(tmp_path, b"other")
    with pytest.raises(KeysError, match="never overwritten"):
        certificates.create(tmp_path, COUNTY, ["localhost"], now_ms(), b"word")


def test_the_end_of_a_certificate_is_told_in_time(site: Site) -> None:
    found = certificates.endings(site.keys)
    assert {e.name for e in found} == {"authority", "server", "controller"}
    first = min(e.at for e in found)
    day = 86_400_000
    assert certificates.warnings(found, now_ms()) == []
    assert any("ends in 9 days" in line for line in certificates.warnings(found, first - 10 * day + 1000))
    assert any("has ended" in line for line in certificates.warnings(found, first + day))
    row = CertificateRow("1", A, 0, 100 * day)
    assert certificates.unrenewed([row], 50 * day) == ""
    assert A in certificates.unrenewed([row], 90 * day)
    assert certificates.unrenewed([row, CertificateRow("2", A, 0, 900 * day)], 90 * day) == ""
    assert certificates.unrenewed([CertificateRow("1", A, 0, 100 * day, revoked=1)], 90 * day) == ""


def test_what_differs_is_named(tmp_path: Path) -> None:
    wanted = {"acl.txt": b"a", "passwd": b"p", "ca.crt": b"c"}
    (tmp_path / "acl.txt").write_bytes(b"other")
    (tmp_path / "passwd").write_bytes(b"p")
    (tmp_path / "passwd").chmod(0o644)
    assert brokers.differences(wanted, tmp_path) == [
        ("acl.txt", "other"),
        ("passwd", "open"),
        ("ca.crt", "missing"),
    ]
