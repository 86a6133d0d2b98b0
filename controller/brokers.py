"""The files of the county's mosquitto, made from the enrolment register.

The generated ACL names each enrolled terminal with exactly its own topics. A pattern ACL (`deploy/acl.txt`)
cannot say which groups a terminal belongs to, so it must let each read every group. What an ACL cannot do in
either form: keep a broker itself from reading or dropping, or prove who wrote a report; that the seals do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controller.certificates import CONTROLLER
from simulators.broker import password_hash
from terminals.transports.mqtt import topics

FOLDER: Final = Path("/etc/mosquitto/fenghuo")
"""Where the files are meant to lie."""
SECRET: Final = frozenset({"server.key", "passwd"})
"""Files that only the broker may read."""
CONNECTIONS_SPARE: Final = 200
"""Connections beside one for each terminal: broken ones not yet noticed, the controller, an engineer."""


@dataclass(frozen=True, slots=True)
class Member:
    """One enrolled terminal at the broker."""

    terminal: str
    groups: Sequence[str]


def acl(county: str, members: Iterable[Member], controller: str = CONTROLLER) -> str:
    """mosquitto's ACL file: the controller in this county, each terminal in its own topics."""
    named = topics(county)
    lines = [
        "# Made by `fenghuo broker config` from the enrolment register. Do not edit: it is written anew.",
        f"user {controller}",
        f"topic readwrite fenghuo/{county}/#",
        "topic read $SYS/#",
    ]
    for member in sorted(members, key=lambda m: m.terminal):
        me = member.terminal
        lines += [
            "",
            f"user {me}",
            f"topic read {named['terminal'].format(me)}",
            *(f"topic read {named['group'].format(group)}" for group in member.groups),
            f"topic write {named['report'].format(me)}",
            f"topic write {named['here'].format(me)}",
        ]
    return "\n".join(lines) + "\n"


def passwords(hashes: Mapping[str, str]) -> str:
    """mosquitto's password file, from what it holds of each password."""
    return "".join(f"{user}:{known}\n" for user, known in sorted(hashes.items()))


def controller_hash(password: str, known: str | None) -> str:
    """What the password file holds of it; the line that is there already, if it fits."""
    if known is not None and password_hash(password, known) == known:
        return known
    return password_hash(password)


def configuration(
    *, port: int, terminals: int, certificates: bool, folder: Path = FOLDER, bind: str = "", user: str = ""
) -> str:
    """mosquitto.conf, for `terminals` enrolled ones. `certificates`: all come with one of the county's
    authority; otherwise with a password over TLS. `user`: whom it runs as; empty: its default."""
    who = (
        ["require_certificate true", "use_identity_as_username true", f"crlfile {folder}/crl.pem"]
        if certificates
        else [f"password_file {folder}/passwd"]
    )
    return "\n".join(
        [
            "# Made by `fenghuo broker config`. mosquitto 2.0.22 or 2.1 is advised; 2.0.11 works.",
            *([f"user {user}"] if user else []),
            "per_listener_settings false",
            "allow_anonymous false",
            f"acl_file {folder}/acl.txt",
            "",
            f"listener {port} {bind}".rstrip(),
            f"cafile {folder}/ca.crt",
            f"certfile {folder}/server.crt",
            f"keyfile {folder}/server.key",
            *who,
            "# Or any terminal could take the controller's place by claiming its client id.",
            "use_username_as_clientid true",
            "tls_version tlsv1.2",
            f"max_connections {terminals + CONNECTIONS_SPARE}",
            "",
            "# The default of 1,000 silently loses every report above about 1,020 in a burst. Not 0",
            '# ("unlimited"), which was broken until 2.0.22.',
            "max_queued_messages 1000000",
            "max_inflight_messages 1000",
            "# Without it a command and its report take 43 ms instead of 0.2 ms.",
            "set_tcp_nodelay true",
            "max_keepalive 120",
            "max_packet_size 65536",
            "",
            "# Only the controller keeps a session; terminals start clean, so that no old Play waits here.",
            "persistence true",
            "persistence_location /var/lib/mosquitto/",
            "autosave_interval 300",
            "persistent_client_expiration 1d",
            "sys_interval 10",
            "connection_messages false",
            "log_type error",
            "log_type warning",
            "",
        ]
    )


def differences(wanted: Mapping[str, bytes], folder: Path) -> list[tuple[str, str]]:
    """(file, ``missing``, ``other`` or ``open``) of each that is not in `folder` as it should be; ``open``: a
    secret that others may read. Raises OSError."""
    found = []
    for name, data in wanted.items():
        path = folder / name
        if not path.exists():
            found.append((name, "missing"))
        elif path.read_bytes() != data:
            found.append((name, "other"))
        elif name in SECRET and path.stat().st_mode & 0o007:
            found.append((name, "open"))
    return found
