"""``fenghuo keys …``: the county's keys on this machine. All but `ring` work off-line; a running controller
takes changes up by itself within seconds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

from controller.cli import say
from controller.cli.call import Call, ConfigFile, Json, asks_the_controller
from controller.cli.help import App
from controller.cli.outcome import Code, Failure
from controller.cli.setup import load_config
from controller.cli.words import told, w

if TYPE_CHECKING:
    from config.schema import Config
    from controller.keys import CountyKeys, Root

DAY_MS = 86_400_000

keys = App(w("h_keys"))

Passphrase = Annotated[Path | None, Option("--passphrase-file", metavar="FILE", help=w("o_passphrase_file"))]
NoPassphrase = Annotated[bool, Option("--no-passphrase", help=w("o_no_passphrase"))]
RootFile = Annotated[Path | None, Option("--root", metavar="FILE", help=w("o_root"))]
RootPassphrase = Annotated[
    Path | None, Option("--root-passphrase-file", metavar="FILE", help=w("o_root_passphrase_file"))
]


@keys.verb("new", w("h_keys_new"))
def new(
    config: ConfigFile,
    passphrase_file: Passphrase = None,
    no_passphrase: NoPassphrase = False,
    json: Json = False,
) -> Code:
    from controller.keys import create, load

    settings = load_config(config, on_this_machine=False)
    folder = settings.keys_dir
    with failing(folder):
        if not no_passphrase and not list(folder.glob("*.key")):
            passphrase: bytes | None = chosen(settings, passphrase_file)
        else:
            passphrase = None if no_passphrase else present(settings, passphrase_file)
        create(folder, passphrase=passphrase)
        made = load(folder, (), passphrase)
    ids = {role.value: key_id for key_id, (role, _) in made.ring.keys.items()}
    if json:
        say.data_json({"folder": str(folder), "key_ids": ids, "locked": passphrase is not None})
    else:
        for role, key_id in ids.items():
            say.data(f"{w('role_' + role)} {key_id}")
    say.talk(w("keys_made", folder=folder))
    say.talk(w("keys_root", file=folder / "root.key"))
    return Code.DONE


@keys.verb("show", w("h_keys_show"))
def show(config: ConfigFile, passphrase_file: Passphrase = None, json: Json = False) -> Code:
    from controller.keys import is_locked, load

    settings = load_config(config, on_this_machine=False)
    folder = settings.keys_dir
    with failing(folder):
        found = load(folder, (), present(settings, passphrase_file))
        locked = is_locked(folder)
    _say_keys(found, json, folder=str(folder), locked=locked)
    return Code.DONE


@keys.verb("rotate", w("h_keys_rotate"))
def rotate(
    config: ConfigFile,
    role: Annotated[
        Literal["actual", "exercise", "test", "service"], Argument(metavar="ROLE", help=w("a_role"))
    ],
    overlap: Annotated[int, Option("--overlap", metavar="DAYS", min=2, max=400, help=w("o_overlap"))] = 30,
    root: RootFile = None,
    root_passphrase_file: RootPassphrase = None,
    passphrase_file: Passphrase = None,
    json: Json = False,
) -> Code:
    from controller.keys import rotate as turn
    from terminals.seal import KeyRole

    settings = load_config(config, on_this_machine=False)
    with failing(settings.keys_dir):
        passphrase = present(settings, passphrase_file)
        made = turn(
            settings.keys_dir,
            KeyRole(role),
            county=_county(settings),
            now=_now(),
            overlap_ms=overlap * DAY_MS,
            passphrase=passphrase,
            root=_root(root, root_passphrase_file, passphrase),
        )
    _say_keys(made, json)
    say.talk(w("keys_rotated", version=made.version, days=overlap))
    return Code.DONE


@keys.verb("revoke", w("h_keys_revoke"))
def revoke(
    config: ConfigFile,
    key_id: Annotated[str, Argument(metavar="KEY_ID", help=w("a_key_id"))],
    root: RootFile = None,
    root_passphrase_file: RootPassphrase = None,
    passphrase_file: Passphrase = None,
    json: Json = False,
) -> Code:
    from controller.keys import revoke as take_back

    settings = load_config(config, on_this_machine=False)
    with failing(settings.keys_dir):
        passphrase = present(settings, passphrase_file)
        made = take_back(
            settings.keys_dir,
            key_id,
            county=_county(settings),
            now=_now(),
            passphrase=passphrase,
            root=_root(root, root_passphrase_file, passphrase),
        )
    _say_keys(made, json)
    say.talk(w("keys_revoked", version=made.version, key=key_id))
    return Code.DONE


@keys.verb("ring", w("h_keys_ring"))
@asks_the_controller
def ring(call: Call) -> Code:
    found = call.client.get("/v1/ring")
    call.fields(
        found,
        {
            w("c_version"): found["version"],
            w("c_holding"): w("ring_holding", **{k: found[k] for k in ("holding", "enrolled")}),
            w("c_waiting"): found["waiting"],
            w("c_ahead"): found["ahead"],
            w("c_sealing"): [f"{w('role_' + role)} {key}" for role, key in found["sealing"].items()],
            w("c_problem"): [told(p) for p in found["problems"]],
        },
    )
    return Code.DONE if not found["waiting"] and not found["problems"] else Code.PARTLY


@keys.verb("passwd", w("h_keys_passwd"))
def passwd(
    config: ConfigFile,
    passphrase_file: Passphrase = None,
    new_passphrase_file: Annotated[
        Path | None, Option("--new-passphrase-file", metavar="FILE", help=w("o_new_passphrase_file"))
    ] = None,
    no_passphrase: NoPassphrase = False,
    json: Json = False,
) -> Code:
    from controller.certificates import FOLDER
    from controller.keys import change_passphrase, given_passphrase

    settings = load_config(config, on_this_machine=False)
    folder = settings.keys_dir
    with failing(folder):
        old = present(settings, passphrase_file)
        if no_passphrase:
            fresh: bytes | None = None
        elif new_passphrase_file is not None:
            fresh = given_passphrase(new_passphrase_file, {})
        else:
            fresh = typed_twice()
        done = change_passphrase(folder, old, fresh, folder / FOLDER)
    if json:
        say.data_json({"files": [str(file) for file in done], "locked": fresh is not None})
    say.talk(w("keys_sealed" if fresh is not None else "keys_open", files=len(done), folder=folder))
    return Code.DONE


@keys.verb("ca", w("h_keys_ca"))
def ca(
    config: ConfigFile,
    host: Annotated[list[str] | None, Option("--host", metavar="NAME", help=w("o_ca_host"))] = None,
    renew: Annotated[bool, Option("--renew", help=w("o_ca_renew"))] = False,
    passphrase_file: Passphrase = None,
    json: Json = False,
) -> Code:
    from controller import certificates
    from controller.keys import load

    settings = load_config(config, on_this_machine=False)
    folder = settings.keys_dir
    hosts = host or _hosts(settings)
    with failing(folder):
        passphrase = present(settings, passphrase_file)
        load(folder, (), passphrase)
        if renew:
            certificates.renew(folder, hosts, _now(), passphrase)
        else:
            certificates.create(folder, _county(settings), hosts, _now(), passphrase)
        found = certificates.endings(folder)
    rows = [{"name": e.name, "ends": say.clock(_iso(e.at))} for e in found]
    if json:
        say.data_json({"folder": str(folder / certificates.FOLDER), "hosts": hosts, "certificates": rows})
    else:
        for row in rows:
            say.data(f"{row['name']} {row['ends']}")
    say.talk(w("ca_made", folder=folder / certificates.FOLDER))
    return Code.DONE


# --- passphrases -------------------------------------------------------------------------------------


def present(settings: Config, file: Path | None) -> bytes | None:
    """The passphrase of the keys as they are; asked for where they have one and nobody gave it. Raises
    KeysError, Failure."""
    from controller.keys import given_passphrase, is_locked

    given = given_passphrase(file or settings.keys_passphrase_file, os.environ)
    if given is not None or not settings.keys_dir.is_dir() or not is_locked(settings.keys_dir):
        return given
    return typed(w("passphrase_ask"))


def chosen(settings: Config, file: Path | None) -> bytes:
    """For new keys. Raises KeysError, Failure."""
    from controller.keys import given_passphrase

    given = given_passphrase(file or settings.keys_passphrase_file, os.environ)
    return typed_twice() if given is None else given


def typed_twice() -> bytes:
    """Raises Failure."""
    first = typed(w("passphrase_new"))
    if typed(w("passphrase_again")) != first:
        raise Failure(Code.USAGE, w("passphrase_differs"))
    return first


def typed(prompt: str) -> bytes:
    """Without echo. Raises Failure where nobody can type, or nothing was."""
    from getpass import getpass

    if not sys.stdin.isatty():
        raise Failure(Code.USAGE, w("passphrase_missing"))
    given = getpass(prompt).encode()
    if not given:
        raise Failure(Code.USAGE, w("passphrase_empty"))
    return given


def _root(file: Path | None, passphrase_file: Path | None, passphrase: bytes | None) -> Root | None:
    from controller.keys import Root, given_passphrase

    if file is None and passphrase_file is None:
        return None
    if file is None:
        raise Failure(Code.USAGE, w("root_missing"))
    return Root(file, given_passphrase(passphrase_file, {}) if passphrase_file else passphrase)


# --- small -------------------------------------------------------------------------------------------


@contextmanager
def failing(folder: Path) -> Iterator[None]:
    """What is wrong with key files, as an exit code. Raises Failure."""
    from controller.certificates import CertificateError
    from controller.keys import KeysError

    try:
        yield
    except (KeysError, CertificateError) as error:
        raise Failure(Code.CONFIG, str(error)) from None
    except OSError as error:
        raise Failure(Code.CONFIG, w("cannot_write", file=folder, why=error.strerror)) from None


def _say_keys(found: CountyKeys, as_json: bool, **more: Any) -> None:
    rows = [
        {
            "key_id": key_id,
            "role": role.value,
            "until": _iso(found.until(key_id)) if found.until(key_id) else None,
        }
        for key_id, (role, _) in found.ring.keys.items()
    ]
    if as_json:
        say.data_json({"version": found.version, "keys": rows, **more})
        return
    for row in rows:
        role = row["role"]
        until = w("key_until", at=say.clock(row["until"])) if row["until"] else ""
        say.data(f"{w(f'role_{role}')} {row['key_id']} {until}".rstrip())


def _county(settings: Config) -> str:
    from config.counties import PackError, load_county

    try:
        return load_county(settings.county).county.key
    except PackError as error:
        raise Failure(Code.CONFIG, *str(error).splitlines()) from None


def _hosts(settings: Config) -> list[str]:
    """How terminals and the controller reach the broker, by the configuration."""
    from urllib.parse import urlsplit

    urls = (settings.broker.terminals_url, settings.broker.url)
    hosts = [str(urlsplit(url).hostname) for url in urls if url]
    return list(dict.fromkeys(hosts))


def _now() -> int:
    return time.time_ns() // 1_000_000


def _iso(ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")
