"""A real MQTT 5 broker as an owned child process, on loopback only: for demos, drills and tests.

`EmbeddedBroker` is iotcore (rumqttd inside a wheel): no system package, good to about 2,000 terminals, no
topic access control, forgets everything when it stops. `MosquittoBroker` is the reference broker, where
its binary exists. A production broker is neither: it is a mosquitto of its own (`deploy/mosquitto.conf`).

Both children live in a session of their own (Ctrl-C at the terminal does not reach them), end when their
parent ends in whatever way, and keep only the last `LOG_BYTES` of what they print.

Use `with broker:` or `async with broker:` (which starts and stops in a thread).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

HOST: Final = "127.0.0.1"
LOG_BYTES: Final = 65_536
MAX_PAYLOAD: Final = 65_536
"""Bytes of one message at the embedded broker; audio goes over HTTP, a command is below 16 KiB."""
MAX_CONNECTIONS: Final = 10_010
"""At the embedded broker: 10,000 terminals and the few who watch them (rumqttd resets the rest)."""

# The free-port race (something else takes the port between the probe and the broker) is lost rarely.
_TRIES: Final = 5
_STOP_PATIENCE: Final = 5.0

# 10,000 connections need as many file descriptors; the usual soft limit is 1,024.
_RAISE_LIMIT: Final = (
    "import resource as r; h=r.getrlimit(r.RLIMIT_NOFILE)[1]; "
    "r.setrlimit(r.RLIMIT_NOFILE, (65536 if h == r.RLIM_INFINITY else min(h, 65536), h)); "
)

_IOTCORE_CHILD: Final = (
    "import sys; sys.path[:] = [p for p in sys.path if p not in ('', '.')]; "
    + _RAISE_LIMIT
    + "from iotcore._serve import main; main()"
)

# mosquitto does not watch its parent, so a guardian does: end of our stdin means the parent is gone.
_GUARDIAN: Final = (
    _RAISE_LIMIT
    + """
import os, subprocess, sys, threading
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
def watch():
    while os.read(0, 4096):
        pass
    child.terminate()
threading.Thread(target=watch, daemon=True).start()
sys.exit(abs(child.wait()))
"""
)

_IOTCORE_TOML: Final = """\
id = 0
[router]
id = 0
max_connections = {connections}
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "v5"
listen = "{host}:{port}"
next_connection_delay_ms = 0
    [v5.1.connections]
    connection_timeout_ms = 5000
    max_payload_size = {payload}
    max_inflight_count = 100
    dynamic_filters = true
"""


class BrokerError(Exception):
    """The broker cannot be started: why, and what to do."""


class _Child(ABC):
    """Starting, watching and ending one broker process; what it runs is the subclass's."""

    name: str

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._log = bytearray()

    @abstractmethod
    def _command(self, folder: Path, port: int) -> list[str]:
        """Write what the broker reads into `folder` (gone once it is ready); return what to run."""

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Leader of the broker's process group. Raises BrokerError when it is not started."""
        if self._process is None:
            raise BrokerError(f"{self.name} is not started")
        return self._process.pid

    @property
    def log(self) -> str:
        """The last that the broker printed."""
        return bytes(self._log).decode("utf-8", "replace")

    def start(self, timeout: float = 10) -> int:
        """Start it and wait until it accepts connections; the port (`port` as given, or a free one).

        Blocks, usually 0.1 s. Raises BrokerError when the port is taken or the broker does not come up
        within `timeout` seconds.
        """
        if self.running:
            return self.port
        for _ in range(1 if self.port else _TRIES):
            port = _free_port(self.port)
            if self._launch(port, timeout):
                self.port = port
                return port
            self.kill()
        raise BrokerError(
            f"{self.name} did not start on {HOST}:{port}: {self.log.strip() or 'it said nothing'}"
        )

    def stop(self) -> None:
        """End it in order: mosquitto writes its persistence. Harmless when it is not running."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL to its whole group). Harmless when it is not running."""
        if self._process is None:
            return
        if self.running:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        # The guardian is reaped; the broker behind it may hold its port a moment longer.
        end = time.monotonic() + _STOP_PATIENCE
        while self.port and _accepts(self.port) and time.monotonic() < end:
            time.sleep(0.005)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _launch(self, port: int, timeout: float) -> bool:
        with tempfile.TemporaryDirectory(prefix="fenghuo-broker-") as folder:
            command = self._command(Path(folder), port)
            self._log.clear()
            self._process = subprocess.Popen(  # our own command, no shell
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                # A panic of rumqttd's (any stranger's odd packet causes one) prints 17 lines with traces.
                env={**os.environ, "RUST_BACKTRACE": "0", "IOTCORE_LOG_LEVEL": "ERROR"},
                start_new_session=True,
            )
            assert self._process.stderr is not None
            threading.Thread(
                target=_keep_tail,
                args=(self._process.stderr, self._log),
                name=f"{self.name}.log",
                daemon=True,
            ).start()
            end = time.monotonic() + timeout
            while self._process.poll() is None and time.monotonic() < end:
                if _accepts(port):
                    return self.running
                time.sleep(0.02)
        return False


class EmbeddedBroker(_Child):
    """iotcore: MQTT 5 on loopback, at most MAX_PAYLOAD bytes a message, MAX_CONNECTIONS connections.

    `users` are name → password; without them anybody on this machine may connect. It has no topic access
    control either way: the sealed commands carry the security. A wrong password closes the connection
    without a reason (`default-stack.md` §3).
    """

    name = "embedded broker"

    def __init__(self, port: int = 0, *, users: Mapping[str, str] | None = None) -> None:
        super().__init__(port)
        self._users = dict(users or {})

    def _command(self, folder: Path, port: int) -> list[str]:
        text = _IOTCORE_TOML.format(host=HOST, port=port, payload=MAX_PAYLOAD, connections=MAX_CONNECTIONS)
        if self._users:
            text += "    [v5.1.connections.auth]\n"
            # A JSON string is a valid basic string in TOML.
            text += "".join(f"    {json.dumps(u)} = {json.dumps(p)}\n" for u, p in self._users.items())
        path = folder / "iotcore.toml"
        path.write_text(text, encoding="utf-8")
        return [sys.executable, "-c", _IOTCORE_CHILD, json.dumps({"config_path": str(path)})]


class MosquittoBroker(_Child):
    """mosquitto on loopback.

    users: name → password; without them anonymous clients are let in.
    acl: a mosquitto ACL file.
    production: queue limits and packet size of `deploy/mosquitto.conf`; False leaves mosquitto's
        defaults, which silently lose everything above 1,020 messages in a burst (`messaging.md` §1.2).
    persistence: existing folder in which sessions, queues and retained messages outlive `stop`.
    tls: its certificate and key (PEM files); without them connections are not encrypted.
    """

    name = "mosquitto"

    def __init__(
        self,
        port: int = 0,
        *,
        users: Mapping[str, str] | None = None,
        acl: Path | None = None,
        production: bool = True,
        persistence: Path | None = None,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        super().__init__(port)
        self._tls = tls
        self._users = dict(users or {})
        self._acl = acl
        self._production = production
        self._persistence = persistence

    def _command(self, folder: Path, port: int) -> list[str]:
        binary = mosquitto_binary()
        if binary is None:
            raise BrokerError("no mosquitto binary on PATH or in /usr/sbin: install it with `make mosquitto`")
        lines = ["per_listener_settings false", f"listener {port} {HOST}", "set_tcp_nodelay true"]
        lines += ["log_dest stderr", "log_type error", "log_type warning"]
        if self._tls is not None:
            lines += [f"certfile {self._tls[0]}", f"keyfile {self._tls[1]}"]
        if os.geteuid() == 0:
            lines.append("user root")  # otherwise it becomes `mosquitto`, who may not read our folder
        if self._users:
            passwords = folder / "passwd"
            passwords.write_text(
                "".join(f"{u}:{password_hash(p)}\n" for u, p in self._users.items()), encoding="utf-8"
            )
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        else:
            lines.append("allow_anonymous true")
        if self._acl is not None:
            lines.append(f"acl_file {self._acl}")
        if self._production:
            lines += ["max_queued_messages 1000000", "max_inflight_messages 1000", "max_packet_size 1048576"]
        if self._persistence is not None:
            lines += ["persistence true", f"persistence_location {self._persistence}/"]
        config = folder / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return [sys.executable, "-I", "-S", "-c", _GUARDIAN, binary, "-c", str(config)]


def mosquitto_binary() -> str | None:
    """Where mosquitto is, or None. Debian puts it in /usr/sbin, which a user's PATH lacks."""
    return shutil.which("mosquitto", path=os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin")


def password_hash(password: str, like: str = "") -> str:
    """`password` as mosquitto 2's password file holds it (PBKDF2-HMAC-SHA512, 101 rounds, its default); with
    the salt of `like`, a hash that this made."""
    salt = base64.b64decode(like.split("$")[3]) if like else secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101, 64)
    return f"$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        # As the brokers bind: a port whose old connections linger in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            raise BrokerError(f"port {wanted} on {HOST} cannot be used ({error.strerror})") from error
        port: int = probe.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), 0.2) as connection:
            # A connection to a free ephemeral port can, rarely, connect to itself.
            itself: bool = connection.getsockname() == connection.getpeername()
            return not itself
    except OSError:
        return False


def _keep_tail(stream: IO[bytes], tail: bytearray) -> None:
    with stream:
        while chunk := os.read(stream.fileno(), 4096):
            tail += chunk
            del tail[:-LOG_BYTES]
