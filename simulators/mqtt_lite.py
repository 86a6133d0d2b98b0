"""A small MQTT 5 client as an asyncio.Protocol, for simulated terminals only: ten thousand fit one process.

The product speaks through aiomqtt; this one exists because a client of that size (20 KB, a task and a
thread-safe lock each) would make the simulator the bottleneck of every measurement. It does what a terminal
needs: clean start, no session, a will, QoS 0 and 1 both ways, and nothing else. Every buffer has a limit;
any byte that a correct broker would not send ends the connection (`MalformedPacket` names it), never hangs
or raises into the loop.

It has no clock: whoever owns it calls `keep_alive` in time. Numbers in comments are sections of the MQTT
version 5.0 standard (OASIS, 2019).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol, cast

MAX_PACKET: Final = 65_536
"""Bytes of one incoming packet; told to the broker, and enforced."""
MAX_IN_FLIGHT: Final = 32
"""Own packets that wait for an acknowledgement; fewer if the broker says so."""
MAX_WAITING: Final = 256
"""Own messages that wait for a place in flight; what comes above it is refused."""

_CONNACK, _PUBLISH, _PUBACK, _SUBACK, _UNSUBACK, _PINGRESP, _DISCONNECT = 2, 3, 4, 9, 11, 13, 14
_PINGREQ: Final = b"\xc0\x00"
_GOODBYE: Final = b"\xe0\x00"
_FAILED: Final = 0x80
"""Reason codes from here on are refusals (2.4)."""

# 2.2.2.2: identifier → bytes of its value; -1 a string or binary, -2 a pair of strings, -3 a varint.
_PROPERTY: Final = {
    0x01: 1, 0x02: 4, 0x03: -1, 0x08: -1, 0x09: -1, 0x0B: -3, 0x11: 4, 0x12: -1, 0x13: 2, 0x15: -1,
    0x16: -1, 0x17: 1, 0x18: 4, 0x19: 1, 0x1A: -1, 0x1C: -1, 0x1F: -1, 0x21: 2, 0x22: 2, 0x23: 2,
    0x24: 1, 0x25: 1, 0x26: -2, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1,
}  # fmt: skip
_SERVER_KEEP_ALIVE: Final = 0x13
_RECEIVE_MAXIMUM: Final = 0x21

_WORDS: Final = {
    0x80: "unspecified error", 0x81: "malformed packet", 0x82: "protocol error", 0x84: "wrong version",
    0x85: "client id not valid", 0x86: "bad user name or password", 0x87: "not authorised",
    0x88: "server unavailable", 0x89: "server busy", 0x8A: "banned", 0x8B: "shutting down",
    0x8D: "keep alive timeout", 0x8E: "another one connected with this id", 0x93: "receive maximum exceeded",
    0x95: "packet too large", 0x97: "quota exceeded", 0x9D: "server moved", 0x9F: "too many connections",
}  # fmt: skip


class MalformedPacket(Exception):
    """Bytes that are no packet a broker may send to us: what and where."""


# --- bytes -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes (QoS 1, retained) when the connection ends without a goodbye."""

    topic: str
    payload: bytes


Message = tuple[str, bytes, int, bool]
"""Topic, payload, packet number (0: QoS 0, else QoS 1), retain. No class: one is made per message."""


def connect_packet(client_id: str, *, keepalive: int, username: str | None, will: Will | None) -> bytes:
    """Clean start, session ends with the connection (3.1). `keepalive` in seconds."""
    flags = 0x02
    body = _text(client_id)
    if will is not None:
        flags |= 0x04 | 1 << 3 | 0x20
        body += b"\x00" + _text(will.topic) + _binary(will.payload)
    if username is not None:
        flags |= 0x80
        body += _text(username)
    properties = b"\x27" + MAX_PACKET.to_bytes(4, "big")
    head = b"\x00\x04MQTT\x05" + bytes((flags,)) + keepalive.to_bytes(2, "big")
    return _packet(0x10, head + _varint(len(properties)) + properties + body)


def subscribe_packet(packet_id: int, topics: Iterable[str]) -> bytes:
    """QoS 1; what is retained is not wanted (3.8)."""
    wanted = b"".join(_text(topic) + b"\x21" for topic in topics)
    return _packet(0x82, packet_id.to_bytes(2, "big") + b"\x00" + wanted)


def unsubscribe_packet(packet_id: int, topics: Iterable[str]) -> bytes:
    return _packet(0xA2, packet_id.to_bytes(2, "big") + b"\x00" + b"".join(map(_text, topics)))


def publish_packet(topic: str, payload: bytes, number: int, retain: bool) -> bytes:
    """3.3, of a `Message`; never a duplicate, no properties."""
    name = topic.encode()
    size = len(name) + len(payload) + (5 if number else 3)
    head = (b"\x33" if retain else b"\x32") if number else (b"\x31" if retain else b"\x30")
    length = bytes((size,)) if size < 0x80 else _varint(size)
    middle = number.to_bytes(2, "big") + b"\x00" if number else b"\x00"
    return b"".join((head, length, len(name).to_bytes(2, "big"), name, middle, payload))


def read_publish(flags: int, data: bytes, at: int, end: int) -> Message:
    """The PUBLISH whose variable header begins at `at` and which ends at `end`. Raises MalformedPacket."""
    qos = flags >> 1 & 3
    if qos > 1:
        raise MalformedPacket(f"a message of QoS {qos}; only 0 and 1 were asked for")
    stop = at + 2 + int.from_bytes(data[at : at + 2], "big")
    payload = stop + (2 if qos else 0)
    if payload >= end:
        raise MalformedPacket("a message shorter than its topic")
    try:
        topic = data[at + 2 : stop].decode()
    except UnicodeDecodeError as error:
        raise MalformedPacket(f"a topic that is not UTF-8: {error}") from error
    if not topic:
        raise MalformedPacket("a message without a topic")
    number = int.from_bytes(data[stop:payload], "big")
    if qos and not number:
        raise MalformedPacket("a message of QoS 1 without a number")
    if data[payload]:  # there are properties: none concerns us
        length, payload = read_varint(data, payload, end)
        payload += length
        if payload > end:
            raise MalformedPacket("properties longer than their packet")
    else:
        payload += 1
    return topic, data[payload:end], number, bool(flags & 1)


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(value, position behind it) of a variable byte integer (1.5.5). Raises MalformedPacket."""
    value = 0
    for shift in (0, 7, 14, 21):
        if at >= end:
            raise MalformedPacket("a length that is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise MalformedPacket("a length of more than four bytes")


def read_properties(data: bytes, at: int, end: int) -> dict[int, int]:
    """The numbers among the properties, which must fill `at` to `end`. Raises MalformedPacket."""
    length, at = read_varint(data, at, end)
    if at + length != end:
        raise MalformedPacket("properties that do not fit their packet")
    found: dict[int, int] = {}
    while at < end:
        kind = data[at]
        at += 1
        size = _PROPERTY.get(kind)
        if size is None:
            raise MalformedPacket(f"property {kind:#04x}, which does not exist")
        if size == -3:
            found[kind], at = read_varint(data, at, end)
            continue
        if size > 0:
            found[kind] = int.from_bytes(data[at : at + size], "big")
            at += size
        for _ in range(max(-size, 0)):
            at += 2 + int.from_bytes(data[at : at + 2], "big")
        if at > end:
            raise MalformedPacket(f"property {kind:#04x} is cut off")
    return found


def _packet(head: int, body: bytes) -> bytes:
    return bytes((head,)) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
    if len(out) > 4:
        raise ValueError("a packet may have 268,435,455 bytes")
    return bytes(out)


def _text(text: str) -> bytes:
    return _binary(text.encode())


def _binary(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


# --- the connection ----------------------------------------------------------------------------------


class Owner(Protocol):
    """Who is told. Called from the loop; must not block."""

    def mqtt_open(self) -> None:
        """The broker has let us in."""

    def mqtt_message(self, topic: str, payload: bytes) -> None:
        """One message; it is acknowledged when this returns, and not if it raises."""

    def mqtt_closed(self, why: str, error: Exception | None) -> None:
        """Once, at the end, whoever ended it and also if it never opened. `error`: a bug of the owner's."""


class Connection(asyncio.Protocol):
    """One connection, made by ``loop.create_connection(lambda: Connection(owner, connect_packet(...)), ...)``
    (asyncio sets TCP_NODELAY). What is published before `Owner.mqtt_open` is refused.
    """

    __slots__ = (
        "_corked",
        "_greeting",
        "_heard",
        "_in_flight",
        "_limit",
        "_open",
        "_owner",
        "_paused",
        "_rest",
        "_transport",
        "_waiting",
        "_why",
        "server_keepalive",
    )

    def __init__(self, owner: Owner, greeting: bytes) -> None:
        """`greeting`: a `connect_packet`."""
        self._owner: Owner | None = owner
        self._greeting = greeting
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._corked: list[bytes] | None = None
        self._in_flight = 0
        """Bit n − 1 is set while packet number n is not acknowledged."""
        self._limit = MAX_IN_FLIGHT
        self._waiting: deque[tuple[str, bytes, bool]] | None = None
        self._open = False
        self._paused = False
        self._heard = True
        self._why = ""
        self.server_keepalive: int | None = None
        """Seconds, where the broker wants another keep-alive than ours."""

    # --- what the owner asks ---

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def unacknowledged(self) -> int:
        """Subscriptions and messages of QoS 1 for which the broker has not answered yet."""
        return self._in_flight.bit_count() + (len(self._waiting) if self._waiting else 0)

    def subscribe(self, *topics: str) -> bool:
        """False, and nothing is done, when not open or no number is free; a refusal closes."""
        return self._numbered(subscribe_packet, topics)

    def unsubscribe(self, *topics: str) -> bool:
        """As `subscribe`."""
        return self._numbered(unsubscribe_packet, topics)

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> bool:
        """Hand one message on; False when it is not taken: not open, or the buffers are full."""
        if not self._open or self._paused:
            return False
        if qos == 0:
            self._write(publish_packet(topic, payload, 0, retain))
            return True
        number = self._number()
        if number:
            self._write(publish_packet(topic, payload, number, retain))
            return True
        if self._waiting is None:
            self._waiting = deque()
        if len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting.append((topic, payload, retain))
        return True

    def keep_alive(self) -> None:
        """To be called in less than the keep-alive time: pings, and gives a silent broker up."""
        if not self._open:
            return
        if not self._heard:
            self.abort("the broker is silent")
            return
        self._heard = False
        self._write(_PINGREQ)

    def close(self) -> None:
        """In order: what was written goes out, then goodbye; the will is not published."""
        if self._transport is None:
            return
        self._why = self._why or "closed"
        if self._open:
            self._write(_GOODBYE)
            self._open = False
        self._flush()
        self._transport.close()

    def abort(self, why: str = "aborted") -> None:
        """As a power cut does: at once, what is buffered is lost, the broker publishes the will. Also good
        for a connection that is only being made."""
        self._why = self._why or why
        self._open = False
        if self._corked:
            self._corked.clear()
        if self._transport is not None:
            self._transport.abort()

    # --- what asyncio says ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._why:  # given up meanwhile
            self._transport.abort()
            return
        self._transport.write(self._greeting)
        self._greeting = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False
        self._transport = None
        self._waiting = None
        owner, self._owner = self._owner, None
        if owner is not None:
            world = exc is None or isinstance(exc, OSError)
            why = self._why or (str(exc) if exc else "the broker closed the connection")
            owner.mqtt_closed(why, None if world else exc)

    def pause_writing(self) -> None:
        # A broker that sends without reading gets nothing to acknowledge either.
        self._paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        if self._transport is not None:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._rest:
            data = self._rest + data
            self._rest = b""
        at, size = 0, len(data)
        self._corked = []
        try:
            while at < size:
                # 2.1: one byte of kind and flags, then the length of the rest.
                body, length = at + 2, data[at + 1] if at + 1 < size else 0x80
                if length >= 0x80:
                    if size - at < 5 and not any(byte < 0x80 for byte in data[at + 1 : size]):
                        break
                    length, body = read_varint(data, at + 1, size)
                if length > MAX_PACKET:
                    raise MalformedPacket(f"a packet of {length} bytes; the limit is {MAX_PACKET}")
                end = body + length
                if end > size:
                    break
                self._take(data[at], data, body, end)
                if self._transport is None or self._why:
                    return
                at = end
            self._rest = data[at:]
        except MalformedPacket as error:
            self.abort(f"the broker sent {error}")
        finally:
            self._flush()

    # --- inside ---

    def _take(self, head: int, data: bytes, at: int, end: int) -> None:
        kind = head >> 4
        if not self._open:
            if head != _CONNACK << 4:
                raise MalformedPacket(f"packet {head:#04x} before it let us in")
            self._connack(data, at, end)
        elif kind == _PUBLISH:
            topic, payload, number, _ = read_publish(head & 15, data, at, end)
            assert self._owner is not None
            self._owner.mqtt_message(topic, payload)
            if number and self._open:
                self._write(b"\x40\x02" + number.to_bytes(2, "big"))
        elif head == _PUBACK << 4:
            self._acknowledged(data, at, end)
            # A refused report (e.g. 0x97) is a lost one, as on any way: it is asked for again.
            while self._waiting and (number := self._number()):
                topic, payload, retain = self._waiting.popleft()
                self._write(publish_packet(topic, payload, number, retain))
        elif head in (_SUBACK << 4, _UNSUBACK << 4):
            self._acknowledged(data, at, end)
            length, codes = read_varint(data, at + 2, end)
            for code in data[min(codes + length, end) : end]:
                if code >= _FAILED:
                    self.abort(f"the broker refused a subscription: {_word(code)}")
                    return
        elif head == _PINGRESP << 4:
            if at != end:
                raise MalformedPacket("an answer to a ping that says something")
        elif head == _DISCONNECT << 4:
            code = data[at] if at < end else 0
            self.abort(f"the broker ended it: {_word(code)}")
        else:
            raise MalformedPacket(f"packet {head:#04x}, which no broker may send here")

    def _connack(self, data: bytes, at: int, end: int) -> None:
        if end - at < 3:
            raise MalformedPacket("an answer to our connect that is cut off")
        present, code = data[at], data[at + 1]
        if code:
            self.abort(f"the broker refused us: {_word(code)}")
            return
        if present:
            raise MalformedPacket("an old session, although we asked for a clean start")
        properties = read_properties(data, at + 2, end)
        self._limit = min(properties.get(_RECEIVE_MAXIMUM, MAX_IN_FLIGHT), MAX_IN_FLIGHT)
        if not self._limit:
            raise MalformedPacket("a receive maximum of 0")
        self.server_keepalive = properties.get(_SERVER_KEEP_ALIVE)
        self._open = True
        assert self._owner is not None
        self._owner.mqtt_open()

    def _acknowledged(self, data: bytes, at: int, end: int) -> None:
        number = int.from_bytes(data[at : at + 2], "big")
        bit = 1 << number - 1 if 0 < number <= MAX_IN_FLIGHT and at + 2 <= end else 0
        if not self._in_flight & bit:
            raise MalformedPacket(f"an acknowledgement of number {number}, which is not open")
        self._in_flight ^= bit

    def _number(self) -> int:
        """The lowest free packet number, now in flight; 0 when there is none."""
        free = ~self._in_flight & (1 << self._limit) - 1
        lowest = free & -free
        self._in_flight |= lowest
        return lowest.bit_length()

    def _numbered(self, packet: _Numbered, topics: tuple[str, ...]) -> bool:
        number = self._number() if self._open and not self._paused else 0
        if number:
            self._write(packet(number, topics))
        return bool(number)

    def _write(self, packet: bytes) -> None:
        if self._corked is not None:
            self._corked.append(packet)
        elif self._transport is not None:
            self._transport.write(packet)

    def _flush(self) -> None:
        packets, self._corked = self._corked, None
        if packets and self._transport is not None:
            self._transport.write(b"".join(packets))


class _Numbered(Protocol):
    def __call__(self, packet_id: int, topics: Iterable[str], /) -> bytes: ...


def _word(code: int) -> str:
    word = _WORDS.get(code)
    return f"{word} ({code:#04x})" if word else f"reason {code:#04x}"
