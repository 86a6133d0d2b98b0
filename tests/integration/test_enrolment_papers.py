"""What a terminal gets at its enrolment to log in at the broker with; and how it gets the next one."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from config.counties import load_county
from controller import certificates, register
from controller.clock import wall_ms
from controller.keys import create as create_keys
from controller.keys import load, rotate, throw_away
from controller.register import Register
from controller.store import Store
from controller.store.records import Entry
from controller.strangers import BURST
from controller.web.village import village_api
from simulators.broker import password_hash
from terminals import certificate as boards
from terminals.enrolment import KEY_ENTROPY, Applicant, Enrolled, EnrolmentError, read_renewed, renewal
from terminals.model import Terminal
from terminals.seal import KeyRole

ME, OTHER = "zq-0001", "zq-0002"
WHO = Entry("王主任", "test", "")
COUNTY = load_county("zhouqu").county
VILLAGE = COUNTY.villages[0].key


@dataclass
class Office:
    register: Register
    store: Store
    authority: certificates.Authority

    async def code(self, terminal: str = ME) -> str:
        return (await self.register.codes([terminal], "王主任"))[terminal]


@asynccontextmanager
async def an_office(path: Path, login: Any = "certificate") -> AsyncIterator[Office]:
    certificates.create(path / "keys", COUNTY.key, ["localhost"], wall_ms(), None)
    authority = certificates.load(path / "keys", None)
    assert authority is not None
    store = await Store.open(path / "fenghuo.db")
    try:
        made = Register(
            store, COUNTY, throw_away(sandbox=False), broker="mqtts://b:8883", audio="http://a",
            sandbox=False, authority=authority, login=login,
        )  # fmt: skip
        await made.add([Terminal(t, t, VILLAGE) for t in (ME, OTHER)], "王主任")
        yield Office(made, store, authority)
    finally:
        await store.close()


def fresh() -> bytes:
    return boards.new_key(secrets.token_bytes(boards.ENTROPY))


def applicant(code: str, key: bytes, *, names: str = ME) -> Applicant:
    return Applicant(ME, code, secrets.token_bytes(KEY_ENTROPY), boards.request(key, names))


async def enrolled(office: Office, key: bytes) -> Enrolled:
    asked = applicant(await office.code(), key)
    return asked.open(await office.register.enrol(asked.request))


async def test_the_certificate_is_for_the_key_that_was_made_on_the_terminal(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        key = fresh()
        papers = await enrolled(office, key)
        assert boards.check(papers.certificate, papers.authority, key, ME)[1] > wall_ms()
        assert papers.password == ""
        (row,) = await office.store.certificates()
        assert (row.terminal, row.revoked) == (ME, None)


async def test_a_request_for_another_id_spends_no_code(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        code, key = await office.code(), fresh()
        with pytest.raises(EnrolmentError, match=f"names {OTHER}, not {ME}"):
            await office.register.enrol(applicant(code, key, names=OTHER).request)
        assert await office.store.certificates() == []
        good = applicant(code, key)
        assert good.open(await office.register.enrol(good.request)).certificate


async def test_a_request_that_was_changed_on_the_way_is_not_signed(tmp_path: Path) -> None:
    """Who sits between the two would put in a request of his own key."""
    async with an_office(tmp_path) as office:
        code = await office.code()
        mine, his = (
            applicant(code, fresh()).request,
            Applicant(ME, "0" * 16, b"1" * 32, boards.request(fresh(), ME)),
        )
        import msgspec

        swapped = msgspec.json.encode(
            {**msgspec.json.decode(mine), "csr": msgspec.json.decode(his.request)["csr"]}
        )
        with pytest.raises(EnrolmentError, match="wrong-code"):
            await office.register.enrol(swapped)
        assert await office.store.certificates() == []


async def test_a_code_brings_one_certificate_and_a_new_enrolment_revokes_the_old(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        code = await office.code()
        asked = applicant(code, fresh())
        await office.register.enrol(asked.request)
        for again in (asked, applicant(code, fresh())):
            with pytest.raises(EnrolmentError, match="no open code"):
                await office.register.enrol(again.request)
        await enrolled(office, fresh())
        assert [row.revoked is None for row in await office.store.certificates()] == [False, True]


async def test_each_terminal_gets_a_password_of_its_own_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    async with an_office(tmp_path, "password") as office:
        papers = await enrolled(office, fresh())
        assert len(papers.password) >= 32
        assert papers.certificate == ""
        assert papers.authority == office.authority.pem, "the broker's certificate must be believed"
        known = (await office.store.broker_hashes())[ME]
        assert password_hash(papers.password, known) == known
        assert papers.password.encode() not in (tmp_path / "fenghuo.db").read_bytes()
        assert (await enrolled(office, fresh())).password != papers.password


async def test_a_terminal_renews_with_its_own_report_key_and_nobody_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with an_office(tmp_path) as office:
        key = fresh()
        papers = await enrolled(office, key)
        mine = renewal(ME, papers.report_key_bytes(), boards.request(key, ME))
        with pytest.raises(EnrolmentError, match="within the last hour"):
            await office.register.renew_certificate(mine)
        monkeypatch.setattr(register, "RENEWAL_PAUSE_MS", 0)
        for forged in (
            renewal(ME, b"\x00" * 32, boards.request(key, ME)),
            renewal(OTHER, papers.report_key_bytes(), boards.request(key, OTHER)),
            renewal(ME, papers.report_key_bytes(), boards.request(key, OTHER)),
            b"{}",
        ):
            with pytest.raises(EnrolmentError):
                await office.register.renew_certificate(forged)
        fresh_one = read_renewed(await office.register.renew_certificate(mine), ME)
        assert boards.check(fresh_one, papers.authority, key, ME)
        assert len(await office.store.certificates()) == 2
        assert await office.store.revoke(ME, WHO, wall_ms()) == 2
        with pytest.raises(EnrolmentError, match="revoked"):
            await office.register.renew_certificate(mine)


async def test_who_enrols_in_the_middle_of_a_rotation_knows_the_ring_and_its_ends(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        create_keys(tmp_path / "signing")
        keys = rotate(tmp_path / "signing", KeyRole.ACTUAL, county=COUNTY.key, now=wall_ms())
        keys = load(tmp_path / "signing", [KeyRole.ACTUAL])
        office.register.renew_keys(keys)
        papers = await enrolled(office, fresh())
        assert papers.ring_version == 1
        assert papers.key_ring().until == keys.ring.until != {}
        assert set(papers.key_ring().keys) == set(keys.ring.keys)


async def test_ten_thousand_requests_from_one_address_are_bounded_and_told(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        alarms: list[str] = []
        app: Any = SimpleNamespace(register=office.register, alarm=alarms.append)
        asked = 0
        enrol = office.register.enrol

        async def counted(body: bytes) -> bytes:
            nonlocal asked
            asked += 1
            return await enrol(body)

        office.register.enrol = counted  # type: ignore[method-assign]
        transport = httpx2.ASGITransport(app=village_api(app))
        async with httpx2.AsyncClient(transport=transport, base_url="http://v") as way:
            stranger = applicant("0000-0000-0000-0000", fresh()).request
            codes = [(await way.post("/enrol", content=stranger)).status_code for _ in range(500)]
        assert codes[:BURST] == [403] * BURST
        assert codes.count(429) >= 400
        assert asked < 100, "what is refused at the door costs nothing"
        assert len(alarms) == 1
        assert "failed to enrol" in alarms[0]
