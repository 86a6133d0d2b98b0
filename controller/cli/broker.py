"""``fenghuo broker …``: the files of the county's mosquitto, made from the register. Off-line."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from controller.cli import say
from controller.cli.call import ConfigFile, Json
from controller.cli.help import App
from controller.cli.keys import Passphrase, failing, present
from controller.cli.outcome import Code, Failure
from controller.cli.setup import load_config
from controller.cli.words import w

if TYPE_CHECKING:
    from config.schema import Config
    from controller.certificates import Authority
    from controller.store.records import CertificateRow

broker = App(w("h_broker"))

Out = Annotated[Path, Option("--out", metavar="DIR", help=w("o_broker_out"))]


@broker.verb("config", w("h_broker_config"))
def config(
    config: ConfigFile,
    out: Out = Path("/etc/mosquitto/fenghuo"),
    check: Annotated[bool, Option("--check", help=w("o_broker_check"))] = False,
    passphrase_file: Passphrase = None,
    json: Json = False,
) -> Code:
    from controller.brokers import SECRET, differences
    from controller.keys import replace_file

    settings = load_config(config, on_this_machine=False)
    with failing(out):
        files = asyncio.run(_files(settings, out, present(settings, passphrase_file)))
        found = differences(files, out)
        if not check:
            out.mkdir(mode=0o755, parents=True, exist_ok=True)
            for name, data in files.items():
                if any(name == other for other, _ in found):
                    replace_file(out / name, data)
                (out / name).chmod(0o640 if name in SECRET else 0o644)
    if json:
        say.data_json({"folder": str(out), "different": [{"file": n, "how": how} for n, how in found]})
    else:
        for name, how in found:
            say.data(f"{name} {w(f'broker_{how}')}")
    if check:
        return Code.FAILED if found else Code.DONE
    say.talk(w("broker_written", folder=out) if found else w("broker_same", folder=out))
    return Code.DONE


@broker.verb("revoke", w("h_broker_revoke"))
def revoke(
    config: ConfigFile,
    terminal: Annotated[str, Argument(metavar="TERMINAL", help=w("a_terminal"))],
    json: Json = False,
) -> Code:
    from controller.store import Store, StoreError
    from controller.store.records import Entry

    settings = load_config(config, on_this_machine=False)

    async def revoked() -> int:
        store = await Store.open(_database(settings))
        try:
            entry = Entry(f"user:{os.geteuid()}", "terminal.revoke", terminal)
            return await store.revoke(terminal, entry, time.time_ns() // 1_000_000)
        finally:
            await store.close()

    try:
        count = asyncio.run(revoked())
    except StoreError as error:
        raise Failure(Code.FAILED, str(error)) from None
    if not count:
        raise Failure(Code.FAILED, w("broker_nothing_to_revoke", terminal=terminal))
    if json:
        say.data_json({"terminal": terminal, "revoked": count})
    say.talk(w("broker_revoked", terminal=terminal, count=count))
    return Code.DONE


def _database(settings: Config) -> Path:
    path = settings.state_dir / "fenghuo.db"
    if not path.exists():
        raise Failure(Code.CONFIG, w("broker_no_register", file=path))
    return path


async def _files(settings: Config, folder: Path, passphrase: bytes | None) -> dict[str, bytes]:
    """Name → content of every file of the broker. Raises Failure, KeysError."""
    from urllib.parse import urlsplit

    from config.counties import PackError, load_county
    from controller import brokers, certificates
    from controller.keys import KeysError
    from controller.store import Store, StoreError
    from terminals.fleet import groups_of

    login = settings.broker.terminals_login
    if login is None:
        raise Failure(Code.CONFIG, w("broker_no_login"))
    authority = certificates.load(settings.keys_dir, passphrase)
    if authority is None:
        raise KeysError(
            f"no authority in {settings.keys_dir / certificates.FOLDER}; "
            "make it: fenghuo keys ca -c FILE --host NAME"
        )
    try:
        county = load_county(settings.county).county
        store = await Store.open(_database(settings))
        try:
            rows = await store.terminals()
            given = await store.certificates()
            hashes = await store.broker_hashes()
        finally:
            await store.close()
    except (PackError, StoreError) as error:
        raise Failure(Code.FAILED, *str(error).splitlines()) from None
    known = {v.key for v in county.villages}
    members = [
        brokers.Member(row.terminal.id, groups_of(row.terminal.village, county))
        for row in rows
        if row.terminal.enrolled and row.terminal.village in known
    ]
    by_certificate = login == "certificate"
    name = certificates.CONTROLLER if by_certificate else settings.broker.username or "controller"
    url = urlsplit(settings.broker.terminals_url or settings.broker.url or "")
    files = {
        "mosquitto.conf": brokers.configuration(
            port=url.port or 8883, terminals=len(members), certificates=by_certificate, folder=folder
        ).encode(),
        "acl.txt": brokers.acl(county.key, members, name).encode(),
    }
    for part in ("ca.crt", "server.crt", "server.key"):
        files[part] = certificates.file_of(settings.keys_dir, part, passphrase)
    if by_certificate:
        revoked = [row for row in given if row.revoked is not None]
        # Dated by its latest entry: the same register makes the same list.
        at = max((row.revoked or 0 for row in revoked), default=certificates.born(authority))
        files["crl.pem"] = _same_list(folder / "crl.pem", authority, revoked, at)
    else:
        if settings.broker.password_file is None:
            raise Failure(Code.CONFIG, w("broker_no_password"))
        from controller.keys import given_passphrase

        password = (given_passphrase(settings.broker.password_file, {}) or b"").decode().strip()
        before = _known_hash(folder / "passwd", name)
        hashes[name] = brokers.controller_hash(password, before)
        files["passwd"] = brokers.passwords(hashes).encode()
    return files


def _same_list(path: Path, authority: Authority, revoked: list[CertificateRow], at: int) -> bytes:
    """The list that is there, if it says the same: its signature is another each time."""
    from controller.certificates import revokes

    if path.exists() and revokes(path.read_bytes(), authority, revoked):
        return path.read_bytes()
    return authority.crl(revoked, at)


def _known_hash(path: Path, user: str) -> str | None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return next((line.partition(":")[2] for line in lines if line.startswith(f"{user}:")), None)
