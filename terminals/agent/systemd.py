"""systemd's readiness and watchdog protocol (sd_notify(3)): one datagram to a socket, no package needed."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Systemd:
    """Silent where systemd did not start us."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        micros = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_s: float | None = int(micros) / 1e6 if micros.isdecimal() and mine else None
        """Without a `WATCHDOG=1` for so long systemd kills and restarts us; None: it does not watch."""

    def notify(self, what: str) -> None:
        """``READY=1``, ``WATCHDOG=1``, ``STATUS=…``, ``STOPPING=1``. Never raises, never waits."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as way:
            way.setblocking(False)
            try:
                way.sendto(what.encode(), address)
            except OSError:
                return  # a watchdog that is not heard restarts us, which is right
