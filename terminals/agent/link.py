"""The terminal's way to the broker: MQTT 5 with aiomqtt. It carries, and nothing waits for it.

Clean start and no session: a broker must not play us a Play that was queued before the Stop that cancelled
it (design §5). What goes out waits in a short queue; when that is full the oldest goes, because every report
carries all facts of its broadcast.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiomqtt

from terminals.agent.errors import LinkError
from terminals.transports.mqtt import topics

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
CONNECT_S: Final = 15.0
QUEUED: Final = 256
SENDERS: Final = 4
"""Publishes under way at once: on a slow link one does not wait for the other's answer."""
NO_CHECK_TIME: Final = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python's ssl does not name."""
PRESENT: Final = b"online"
GONE: Final = b"offline"


@dataclass(frozen=True, slots=True)
class Broker:
    host: str
    port: int
    tls: ssl.SSLContext | None
    password: str | None = None

    @classmethod
    def of(cls, address: str, tls: Callable[[], ssl.SSLContext], password: str = "") -> Broker:
        """From ``mqtt://host:port`` or ``mqtts://host:port``. Raises LinkError."""
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError as error:
            raise LinkError(f"{address!r} is no address of a broker: {error}") from error
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise LinkError(f"{address!r} is no address of a broker; it must be mqtts://host:port")
        secure = parts.scheme == "mqtts"
        return cls(
            parts.hostname, port or (8883 if secure else 1883), tls() if secure else None, password or None
        )


def trust(ca_file: str, certificate: str = "", key: str = "", *, timeless: bool = False) -> ssl.SSLContext:
    """Whom we believe at the other end, and who we are. `timeless`: for the county's own authority, whose
    certificates do not end for us: nobody believes our wall clock (design §5), and a board that starts in
    1970 must reach its broker. Raises LinkError."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if timeless:
            context.verify_flags |= NO_CHECK_TIME
        if certificate:
            context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise LinkError(f"certificates {ca_file or '(system)'} {certificate}: {error}") from error
    return context


class Link:
    """`up`, `down` and `message` are called on the loop and must not block; a bug in them ends `run`."""

    def __init__(
        self,
        broker: Broker,
        *,
        me: str,
        county: str,
        keepalive_s: int,
        up: Callable[[], None],
        down: Callable[[], None],
        message: Callable[[bytes], None],
    ) -> None:
        self._broker = broker
        self._me = me
        self._keepalive = keepalive_s
        self._topics = topics(county)
        self._up, self._down, self._message = up, down, message
        self._groups: tuple[str, ...] = ()
        self._subscribe = asyncio.Event()
        self._out: deque[bytes] = deque(maxlen=QUEUED)
        self._something = asyncio.Event()
        self.connected = False
        self.trouble = ""
        """Why it is not connected, as far as we know."""

    @property
    def queued(self) -> int:
        """Reports that wait for the link."""
        return len(self._out)

    def send(self, payload: bytes) -> None:
        """As soon as the link takes it; best effort."""
        self._out.append(payload)
        self._something.set()

    def subscribe(self, groups: tuple[str, ...]) -> None:
        """To exactly these groups, beside our own topic."""
        self._groups = groups
        self._subscribe.set()

    async def run(self) -> None:
        """Until cancelled; connects again and again."""
        pause = FIRST_PAUSE_S
        said = False
        where = f"broker {self._broker.host}:{self._broker.port}"
        while True:
            try:
                async with self._client() as client:
                    _stop_if_cancelled()
                    await client.subscribe(self._topics["terminal"].format(self._me), qos=1)
                    await client.publish(self._topics["here"].format(self._me), PRESENT, qos=1, retain=True)
                    _stop_if_cancelled()
                    log.info("%s is there", where)
                    self.connected, self.trouble = True, ""
                    self._something.set()
                    pause, said = FIRST_PAUSE_S, False
                    self._up()
                    try:
                        await self._carry(client)
                    finally:
                        self.connected = False
                        self._down()
            except* (aiomqtt.MqttError, OSError) as errors:
                self.trouble = _told(errors)
            _stop_if_cancelled()
            if not said:  # once per outage
                log.warning("%s is not there (%s); trying again until it is", where, self.trouble)
                said = True
            # Random: after a broker's restart a county must not come at once.
            await asyncio.sleep(random.uniform(0.1, 1.0) * pause)  # noqa: S311
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _carry(self, client: aiomqtt.Client) -> None:
        """Ends with the connection, by an error of it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._subscribing(client), name="link.groups")
            for n in range(SENDERS):
                tasks.create_task(self._sending(client), name=f"link.send.{n}")
            async for message in client.messages:
                if isinstance(message.payload, bytes):
                    self._message(message.payload)
            raise aiomqtt.MqttError("the connection ended")

    async def _sending(self, client: aiomqtt.Client) -> None:
        topic = self._topics["report"].format(self._me)
        while True:
            await self._something.wait()
            if not self._out:
                self._something.clear()
                continue
            payload = self._out.popleft()
            try:
                await client.publish(topic, payload, qos=1)
                _stop_if_cancelled()
            except (aiomqtt.MqttError, asyncio.CancelledError):
                if len(self._out) < QUEUED:  # told again over the next connection; twice does no harm
                    self._out.appendleft(payload)
                raise

    async def _subscribing(self, client: aiomqtt.Client) -> None:
        have: set[str] = set()
        while True:
            await self._subscribe.wait()
            self._subscribe.clear()
            wanted = {self._topics["group"].format(group) for group in self._groups}
            if new := sorted(wanted - have):
                await client.subscribe([(topic, 1) for topic in new])
            if old := sorted(have - wanted):
                await client.unsubscribe(old)
            _stop_if_cancelled()
            have = wanted

    def _client(self) -> aiomqtt.Client:
        return _Client(
            self._broker.host,
            self._broker.port,
            identifier=self._me,
            username=self._me,
            password=self._broker.password,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            will=aiomqtt.Will(self._topics["here"].format(self._me), GONE, qos=1, retain=True),
            keepalive=self._keepalive,
            timeout=CONNECT_S,
            tls_context=self._broker.tls,
            max_queued_incoming_messages=QUEUED,
            # 43 ms per command without it (messaging.md §2.1).
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )


class _Client(aiomqtt.Client):
    """aiomqtt asks the loop to watch a socket one turn later, by its number: a broker that dies in between
    leaves a closed socket, a traceback in the log, or another connection's number watched for ever."""

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        def write() -> None:
            try:
                client.loop_write()
            except OSError as error:
                if not self._disconnected.done():
                    self._disconnected.set_exception(error)

        def watch() -> None:
            if sock.fileno() >= 0:
                self._loop.add_writer(sock.fileno(), write)

        self._loop.call_soon_threadsafe(watch)


def _told(errors: BaseExceptionGroup[BaseException]) -> str:
    first = errors.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return _told(first)
    return str(first) or type(first).__name__


def _stop_if_cancelled() -> None:
    """aiomqtt waits with `asyncio.wait_for`, which before Python 3.12 swallows a cancellation that comes in
    the same tick as the answer (python/cpython#86296)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
