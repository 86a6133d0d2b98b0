"""The simulators' MQTT client on the bench: its bytes, its limits, and what it does with hostile ones."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators import mqtt_lite
from simulators.mqtt_lite import (
    MAX_IN_FLIGHT,
    MAX_PACKET,
    MAX_WAITING,
    Connection,
    MalformedPacket,
    Will,
    connect_packet,
    publish_packet,
    read_properties,
    read_publish,
    read_varint,
    subscribe_packet,
    unsubscribe_packet,
)

CONNACK = b"\x20\x03\x00\x00\x00"
topics = st.text(min_size=1, max_size=60).filter(lambda t: not any("\ud800" <= c <= "\udfff" for c in t))


class Wire(asyncio.Transport):
    """What a socket would be told."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.writes = 0
        self.ended = ""
        self.reading = True

    def write(self, data: Any) -> None:
        self.sent += bytes(data)
        self.writes += 1

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def taken(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent


class Listener:
    def __init__(self) -> None:
        self.opened = 0
        self.got: list[tuple[str, bytes]] = []
        self.closed: list[tuple[str, Exception | None]] = []

    def mqtt_open(self) -> None:
        self.opened += 1

    def mqtt_message(self, topic: str, payload: bytes) -> None:
        self.got.append((topic, payload))

    def mqtt_closed(self, why: str, error: Exception | None) -> None:
        self.closed.append((why, error))


class Bench:
    def __init__(self, *, let_in: bytes = CONNACK) -> None:
        self.wire = Wire()
        self.owner = Listener()
        self.link = Connection(self.owner, connect_packet("me", keepalive=60, username=None, will=None))
        self.link.connection_made(self.wire)
        self.wire.taken()
        if let_in:
            self.link.data_received(let_in)

    def lost(self) -> tuple[str, Exception | None]:
        assert self.wire.ended
        self.link.connection_lost(None)
        assert len(self.owner.closed) == 1
        return self.owner.closed[0]


def incoming(topic: str, payload: bytes, number: int = 0, *, properties: bytes = b"") -> bytes:
    whole = publish_packet(topic, b"", number, False)
    _, start = read_varint(whole, 1, len(whole))
    body = whole[start:-1] + bytes((len(properties),)) + properties + payload
    return whole[:1] + mqtt_lite._varint(len(body)) + body


# --- bytes -------------------------------------------------------------------------------------------


@given(value=st.integers(0, 268_435_455))
def test_every_length_survives_its_encoding(value: int) -> None:
    data = mqtt_lite._varint(value)
    assert read_varint(data, 0, len(data)) == (value, len(data))


@given(
    topic=topics,
    payload=st.binary(max_size=300),
    number=st.integers(0, 65_535),
    retain=st.booleans(),
)
def test_every_message_survives_its_encoding(topic: str, payload: bytes, number: int, retain: bool) -> None:
    message = (topic, payload, number, retain)
    data = publish_packet(*message)
    length, start = read_varint(data, 1, len(data))
    assert start + length == len(data)
    assert data[0] >> 4 == 3
    assert read_publish(data[0] & 15, data, start, len(data)) == message


def test_the_packets_are_those_of_the_standard() -> None:
    plain = connect_packet("me", keepalive=60, username=None, will=None)
    assert plain == b"\x10\x14\x00\x04MQTT\x05\x02\x00\x3c\x05\x27\x00\x01\x00\x00\x00\x02me"
    full = connect_packet("me", keepalive=60, username="u", will=Will("w", b"x"))
    assert full == (
        b"\x10\x1e\x00\x04MQTT\x05\xae\x00\x3c\x05\x27\x00\x01\x00\x00"
        b"\x00\x02me\x00\x00\x01w\x00\x01x\x00\x01u"
    )
    assert subscribe_packet(7, ["a/b", "c"]) == b"\x82\x0d\x00\x07\x00\x00\x03a/b\x21\x00\x01c\x21"
    assert unsubscribe_packet(7, ["c"]) == b"\xa2\x06\x00\x07\x00\x00\x01c"
    assert publish_packet("t", b"hi", 9, True) == b"\x33\x08\x00\x01t\x00\x09\x00hi"


def test_properties_are_read_by_their_sizes_and_odd_ones_refused() -> None:
    data = b"\x0d\x21\x00\x14\x13\x00\x3c\x26\x00\x01a\x00\x01b"
    assert read_properties(data, 0, len(data)) == {0x21: 20, 0x13: 60}
    for bad in (b"\x01", b"\x02\x99\x00", b"\x02\x21\x00", b"\x03\x1f\x00\x09", b"\x00\x00"):
        with pytest.raises(MalformedPacket):
            read_properties(bad, 0, len(bad))


# --- the good road -----------------------------------------------------------------------------------


@given(pieces=st.lists(st.integers(1, 7), min_size=1, max_size=20))
def test_messages_are_heard_however_the_bytes_are_cut(pieces: list[int]) -> None:
    bench = Bench()
    data = incoming("a", b"one", 5) + incoming("b", b"x" * 200) + incoming("c", b"", 6) + b"\xd0\x00"
    at = n = 0
    while at < len(data):
        size = pieces[n % len(pieces)]
        bench.link.data_received(data[at : at + size])
        at, n = at + size, n + 1
    assert bench.owner.got == [("a", b"one"), ("b", b"x" * 200), ("c", b"")]
    assert bench.wire.sent == b"\x40\x02\x00\x05\x40\x02\x00\x06"
    assert not bench.wire.ended


def test_what_is_answered_to_one_read_goes_out_in_one_write() -> None:
    bench = Bench()
    bench.wire.writes = 0

    def answer(topic: str, payload: bytes) -> None:
        bench.link.publish("r", payload)

    bench.owner.mqtt_message = answer  # type: ignore[method-assign]
    bench.link.data_received(incoming("a", b"1", 5) + incoming("a", b"2", 6))
    assert bench.wire.writes == 1
    assert bench.wire.sent.count(b"\x40\x02") == 2


def test_a_message_with_properties_is_read_behind_them() -> None:
    bench = Bench()
    bench.link.data_received(incoming("a", b"p", properties=b"\x02\x00\x00\x00\x09"))
    assert bench.owner.got == [("a", b"p")]


def test_a_message_is_not_acknowledged_when_the_owner_raises() -> None:
    bench = Bench()

    def broken(topic: str, payload: bytes) -> None:
        raise ZeroDivisionError

    bench.owner.mqtt_message = broken  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        bench.link.data_received(incoming("a", b"p", 5))
    assert bench.wire.sent == b""
    bench.link.connection_lost(ZeroDivisionError())
    assert isinstance(bench.owner.closed[0][1], ZeroDivisionError)


def test_own_messages_are_numbered_up_to_the_brokers_limit_and_wait_beyond_it() -> None:
    bench = Bench(let_in=b"\x20\x06\x00\x00\x03\x21\x00\x02")
    assert all(bench.link.publish("t", bytes((n,))) for n in range(4))
    first = publish_packet("t", b"\x00", 1, False)
    second = publish_packet("t", b"\x01", 2, False)
    assert bench.wire.taken() == first + second
    assert bench.link.unacknowledged == 4
    bench.link.data_received(b"\x40\x02\x00\x02")
    assert bench.wire.taken() == publish_packet("t", b"\x02", 2, False)
    bench.link.data_received(b"\x40\x03\x00\x01\x10" + b"\x40\x02\x00\x02")
    assert bench.wire.taken() == publish_packet("t", b"\x03", 1, False)
    bench.link.data_received(b"\x40\x02\x00\x01")
    assert bench.link.unacknowledged == 0


def test_buffers_are_bounded_and_a_full_one_takes_no_more() -> None:
    bench = Bench()
    taken = sum(bench.link.publish("t", b"x") for _ in range(1_000))
    assert taken == MAX_IN_FLIGHT + MAX_WAITING
    assert bench.link.publish("t", b"x", qos=0)
    assert not bench.link.subscribe("a")


def test_a_broker_that_does_not_read_is_not_read_either() -> None:
    bench = Bench()
    bench.link.pause_writing()
    assert not bench.wire.reading
    assert not bench.link.publish("t", b"x")
    bench.link.resume_writing()
    assert bench.wire.reading
    assert bench.link.publish("t", b"x")


def test_nothing_is_taken_before_it_is_let_in() -> None:
    bench = Bench(let_in=b"")
    assert not bench.link.publish("t", b"x")
    assert not bench.link.subscribe("t")
    assert bench.wire.sent == b""
    bench.link.data_received(CONNACK)
    assert bench.owner.opened == 1
    assert bench.link.publish("t", b"x")


def test_the_brokers_own_keep_alive_is_known() -> None:
    bench = Bench(let_in=b"\x20\x06\x00\x00\x03\x13\x00\x0f")
    assert bench.link.server_keepalive == 15


def test_a_broker_that_leaves_a_ping_unanswered_is_given_up() -> None:
    bench = Bench()
    bench.link.keep_alive()
    assert bench.wire.taken() == b"\xc0\x00"
    bench.link.data_received(b"\xd0\x00")
    bench.link.keep_alive()
    assert not bench.wire.ended
    bench.link.keep_alive()
    assert bench.lost() == ("the broker is silent", None)


def test_a_goodbye_is_said_behind_what_was_written() -> None:
    bench = Bench()

    def answer_and_go(topic: str, payload: bytes) -> None:
        bench.link.publish("r", payload, qos=0)
        bench.link.close()

    bench.owner.mqtt_message = answer_and_go  # type: ignore[method-assign]
    bench.link.data_received(incoming("a", b"1") + incoming("a", b"2"))
    assert bench.wire.sent == publish_packet("r", b"1", 0, False) + b"\xe0\x00"
    assert bench.lost() == ("closed", None)


def test_one_that_was_given_up_while_it_was_being_made_never_says_a_word() -> None:
    wire, owner = Wire(), Listener()
    link = Connection(owner, b"greeting")
    link.abort("too late")
    link.connection_made(wire)
    assert (wire.sent, wire.ended) == (b"", "aborted")
    link.connection_lost(None)
    assert owner.closed == [("too late", None)]


# --- hostile -----------------------------------------------------------------------------------------

HOSTILE = {
    "a second welcome": CONNACK,
    "a client's packet": b"\x82\x02\x00\x01",
    "a reserved kind": b"\x00\x00",
    "an authentication": b"\xf0\x00",
    "QoS 2": b"\x34\x06\x00\x01a\x00\x01\x00",
    "QoS 3": b"\x36\x06\x00\x01a\x00\x01\x00",
    "number 0": b"\x32\x06\x00\x01a\x00\x00\x00",
    "no topic": b"\x30\x03\x00\x00\x00",
    "a topic beyond the end": b"\x30\x04\x00\x09a\x00",
    "a topic that is not UTF-8": b"\x30\x04\x00\x01\xff\x00",
    "properties beyond the end": b"\x30\x04\x00\x01a\x09",
    "a length of five bytes": b"\x30\x80\x80\x80\x80\x01",
    "too long": b"\x30" + mqtt_lite._varint(MAX_PACKET + 1),
    "an answer to nothing": b"\x40\x02\x00\x01",
    "an answer to number 40000": b"\x40\x02\x9c\x40",
    "an empty answer": b"\x40\x00",
    "a subscription's answer to nothing": b"\x90\x04\x00\x01\x00\x00",
    "a talking ping": b"\xd0\x01\x00",
}


@pytest.mark.parametrize("bytes_", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_no_broker_may_send_ends_the_connection_with_its_reason(bytes_: bytes) -> None:
    bench = Bench()
    bench.link.data_received(bytes_)
    why, error = bench.lost()
    assert why.startswith("the broker sent ")
    assert error is None
    assert bench.owner.got == []


@pytest.mark.parametrize(
    "bytes_",
    [
        incoming("a", b"x"),
        b"\x20\x01\x00",
        b"\x20\x03\x01\x00\x00",
        b"\x20\x06\x00\x00\x03\x21\x00\x00",
        b"\x20\x05\x00\x00\x02\x99\x00",
    ],
    ids=["a message first", "cut off", "an old session", "receive maximum 0", "an unknown property"],
)
def test_a_welcome_that_is_none_ends_the_connection(bytes_: bytes) -> None:
    bench = Bench(let_in=bytes_)
    assert bench.lost()[0].startswith("the broker sent ")
    assert bench.owner.opened == 0


@pytest.mark.parametrize(
    ("bytes_", "why"),
    [
        (b"\xe0\x01\x8e", "another one connected with this id"),
        (b"\xe0\x00", "reason 0x00"),
        (b"\x90\x04\x00\x01\x00\x87", "not authorised"),
    ],
)
def test_a_broker_that_ends_it_is_quoted(bytes_: bytes, why: str) -> None:
    bench = Bench()
    bench.link.subscribe("a")
    bench.link.data_received(bytes_)
    assert why in bench.lost()[0]


def test_a_refused_welcome_is_quoted() -> None:
    assert "bad user name or password (0x86)" in Bench(let_in=b"\x20\x03\x00\x86\x00").lost()[0]


@given(data=st.binary(max_size=400), let_in=st.booleans())
def test_no_bytes_raise_hang_or_pile_up(data: bytes, let_in: bool) -> None:
    bench = Bench(let_in=CONNACK if let_in else b"")
    bench.link.data_received(data)
    assert len(bench.link._rest) <= MAX_PACKET + 5
    assert bench.wire.ended or len(bench.link._rest) <= len(data)


@given(
    packets=st.lists(
        st.tuples(st.integers(0, 255), st.binary(max_size=40)).map(lambda p: bytes((p[0], len(p[1]))) + p[1]),
        max_size=10,
    )
)
def test_no_row_of_well_framed_packets_raises(packets: list[bytes]) -> None:
    bench = Bench()
    bench.link.subscribe("a")
    bench.link.publish("t", b"x")
    for packet in packets:
        if not bench.wire.ended:
            bench.link.data_received(packet)
    assert bench.wire.ended or bench.link._rest == b""
