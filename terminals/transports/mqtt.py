"""Transport over an MQTT 5 broker, with aiomqtt (asyncio-mqtt under its present name).

The controller's own session persists (reports wait for it through a restart); commands are never retained
and carry a message expiry, so that a broker cannot play a queued Play to a terminal that comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import aiomqtt
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from terminals.transport import Address, ToGroup, TransportError, Upward

log = logging.getLogger(__name__)

# One hour: a controller that restarts finds the reports of meanwhile; what is older is asked for again.
SESSION_S: Final = 3600
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
# Two controllers that each take the other's place would both be deaf every other second. The first time may
# be an old one that is just ending; after that we stay away until we are started again.
RIVAL_PAUSE_S: Final = 60.0
RIVAL_FORGOTTEN_S: Final = 600.0
CLAIM_S: Final = 1.0
"""How long a broker has to show who was in our place last; only asked after a connection was lost."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the broker is and who we are there."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None


def topics(county: str) -> dict[str, str]:
    """The topic of each channel, with ``{}`` for the group key or the terminal id."""
    root = f"fenghuo/{county}"
    return {
        "group": root + "/cmd/g/{}",
        "terminal": root + "/cmd/t/{}",
        "report": root + "/rpt/{}",
        "here": root + "/here/{}",
        "claim": root + "/ctl/claim",
    }


class MqttTransport:
    def __init__(self, endpoint: Endpoint, county: str, alarm: Callable[[str], None] | None = None) -> None:
        """`alarm` is told when another controller takes our place at the broker."""
        self._alarm = alarm or log.error
        self.rival = ""
        """Why it keeps away from the broker; empty while it does not."""
        self._name = secrets.token_hex(8).encode()
        self._has_claimed = False
        self._claimed_by = b""
        self._claim_seen = asyncio.Event()
        self._endpoint = endpoint
        self._county = county
        self._topics = topics(county)
        self._client: aiomqtt.Client | None = None

    @property
    def connected(self) -> bool:
        return self._client is not None

    async def run(self, upward: Upward, changed: Callable[[bool], Awaitable[None]]) -> None:
        pause = FIRST_PAUSE_S
        said = False
        rival_at: float | None = None
        while True:
            client = self._connect()
            try:
                async with client:
                    _read_fast(client._client, self._arrived(upward))
                    await client.subscribe(self._topics["report"].format("+"), qos=1)
                    _stop_if_cancelled()
                    self._client = client
                    pause, said = FIRST_PAUSE_S, False
                    log.info("broker %s:%d is there", self._endpoint.host, self._endpoint.port)
                    await changed(True)
                    if await self._overtaken(client):
                        now = asyncio.get_running_loop().time()
                        again = rival_at is not None and now - rival_at < RIVAL_FORGOTTEN_S
                        rival_at = now
                        raise _Rival(for_good=again)
                    async for message in client.messages:  # those that came before `_read_fast`
                        if isinstance(message.payload, bytes):
                            self._arrived(upward)(message.topic.value, message.payload)
            except _Rival as rival:
                self._client = None
                await self._give_way(changed, for_good=rival.for_good)
                continue
            except (aiomqtt.MqttError, OSError) as error:
                if not said:  # once per outage, not once per try
                    log.error(
                        "broker %s:%d is not there (%s); trying again until it is",
                        self._endpoint.host,
                        self._endpoint.port,
                        error,
                    )
                    said = True
            finally:
                was, self._client = self._client is not None, None
            if was:
                await changed(False)
            await asyncio.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311 - spreads reconnects
            pause = min(pause * 2, LONGEST_PAUSE_S)

    def _arrived(self, upward: Upward) -> Callable[[str, bytes], None]:
        """What is done with a message: its topic and its payload."""

        def arrived(topic: str, payload: bytes) -> None:
            if topic == self._topics["claim"]:
                self._claimed_by = payload
                self._claim_seen.set()
            else:
                upward(topic.rpartition("/")[2], payload)

        return arrived

    async def _overtaken(self, client: aiomqtt.Client) -> bool:
        """Whether another controller has been in our place since we were last. Each leaves its name there,
        retained; a broker that ends the older of two connections does not say why (mosquitto 2.0)."""
        topic = self._topics["claim"]
        if self._has_claimed:
            self._claim_seen.clear()
            await client.subscribe(topic, qos=1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLAIM_S):
                    await self._claim_seen.wait()
                return self._claimed_by != self._name
        await client.publish(topic, self._name, qos=1, retain=True)
        self._has_claimed = True
        _stop_if_cancelled()
        return False

    async def _give_way(self, changed: Callable[[bool], Awaitable[None]], *, for_good: bool) -> None:
        """Another controller of this county is at the broker: never two that take each other's place."""
        where = f"broker {self._endpoint.host}:{self._endpoint.port}"
        self.rival = f"another controller of this county has taken our place at {where}"
        self._client = None
        await changed(False)
        if for_good:
            self._alarm(f"{self.rival} again; we stay away: stop one of them, then start this one again")
            await asyncio.Event().wait()
        self._alarm(f"{self.rival}; we try once more in {RIVAL_PAUSE_S:.0f} s: stop one of them")
        await asyncio.sleep(RIVAL_PAUSE_S)
        self.rival = ""
        self._has_claimed = False  # the other may be gone, and has left its name there

    async def send(self, address: Address, envelope: bytes, *, lifetime_s: int, sure: bool) -> None:
        client = self._client
        if client is None:
            raise TransportError(f"broker {self._endpoint.host}:{self._endpoint.port} is not there")
        topic = (
            self._topics["group"].format(address.key)
            if isinstance(address, ToGroup)
            else self._topics["terminal"].format(address.id)
        )
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.MessageExpiryInterval = max(1, lifetime_s)
        try:
            await client.publish(topic, envelope, qos=1 if sure else 0, retain=False, properties=properties)
        except aiomqtt.MqttError as error:
            raise TransportError(f"broker did not take a command for {topic}: {error}") from error
        _stop_if_cancelled()

    def _connect(self) -> aiomqtt.Client:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_S
        end = self._endpoint
        return aiomqtt.Client(
            end.host,
            end.port,
            username=end.username,
            password=end.password,
            identifier=f"fenghuo-{self._county}-controller",
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=properties,
            keepalive=15,
            timeout=5,
            tls_context=end.tls,
            # 43 ms per command without it (`messaging.md` §2.1).
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )


class _Rival(Exception):
    """Another controller of this county is at the broker."""

    def __init__(self, *, for_good: bool) -> None:
        self.for_good = for_good


def _stop_if_cancelled() -> None:
    """aiomqtt waits with `asyncio.wait_for`, which before Python 3.12 swallows a cancellation that comes in
    the same tick as the answer (python/cpython#86296): the task would live on and hang the shutdown."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _read_fast(paho: Any, arrived: Callable[[str, bytes], None]) -> None:
    """Reports past paho's parser and aiomqtt's task per message: 20 µs each instead of 150, and many in one
    turn of the loop (docs/decisions/0010). paho keeps the connection, the acknowledgements and all else."""

    def handle_publish() -> MQTTErrorCode:
        packet = bytes(paho._in_packet["packet"])
        qos = paho._in_packet["command"] >> 1 & 3
        try:
            topic, number, payload = _publish(packet, qos)
        except (IndexError, ValueError):
            return MQTTErrorCode.MQTT_ERR_PROTOCOL  # paho disconnects, and `run` connects again
        arrived(topic, payload)
        if qos:
            paho._send_puback(number)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    if paho._sock is None:
        raise aiomqtt.MqttError("the broker has gone at once")
    paho._sock = _Buffered(paho._sock)
    paho._handle_publish = handle_publish


def _publish(packet: bytes, qos: int) -> tuple[str, int, bytes]:
    """Topic, packet identifier and payload of a PUBLISH without its fixed header (MQTT 5, 3.3.2). We
    subscribe with QoS 1, so 2 is a broken broker. Raises IndexError or ValueError when it is malformed."""
    if qos > 1:
        raise ValueError("QoS 2 was not asked for")
    at = 2 + int.from_bytes(packet[:2], "big")
    topic, number = packet[2:at].decode(), 0
    if qos:
        number = int.from_bytes(packet[at : at + 2], "big")
        at += 2
    length = shift = 0
    while shift <= 21:  # properties: none concerns us
        byte = packet[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if at + length > len(packet):
        raise ValueError("properties are longer than the packet")
    return topic, number, packet[at + length :]


class _Buffered:
    """paho reads a packet with five system calls and aiomqtt one packet per turn of the loop; from this
    socket they read what one call brought, and `pending` makes aiomqtt take all of that in one turn, and no
    more: others have their turn too."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._data = b""
        self._at = 0
        self._may_read = True

    def recv(self, size: int) -> bytes:
        if self._at >= len(self._data):
            if not self._may_read:
                raise BlockingIOError
            self._may_read = False
            self._data = self._sock.recv(65_536)
            self._at = 0
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def pending(self) -> int:
        left = len(self._data) - self._at
        self._may_read = self._may_read or not left
        return left  # TLS keeps nothing back: a record of 16 KiB at most comes whole with one call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
