"""What a stranger, a compromised broker or the thief of one key can make of bytes: nothing that sounds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.terminal import (
    ACTUAL,
    EPOCH,
    HOUR,
    ME,
    RING,
    ROOT,
    SECRET,
    SERVICE,
    SIGNERS,
    Rig,
    clip,
    ring_of,
    sealed_by,
)
from terminals.agent.core import Alarm, Fetch, FetchManifest, Save, Silence, Sound, Subscribe
from terminals.seal import (
    MAX_ENVELOPE,
    KeyRole,
    SealError,
    SealReason,
    open_command,
    open_report,
    report_key,
    seal_report,
)
from terminals.wire import (
    Command,
    Fact,
    Hello,
    Play,
    Probe,
    Quake,
    Query,
    Report,
    Stage,
    Staged,
    Stop,
    Targets,
    Time,
    Upward,
    encode,
    set_id,
)

KEY = report_key(SECRET, ME)
NONCE = "n" * 32


def play(**changes: Any) -> Play:
    return Rig(sync=False).play(**changes)


COMMANDS: tuple[tuple[Command, KeyRole], ...] = (
    (play(), KeyRole.ACTUAL),
    (play(quake=Quake(EPOCH, 31.0, 103.4, 14.0, 7.0, "s-1"), clips=()), KeyRole.ACTUAL),
    (play(standing=True, role="exercise"), KeyRole.EXERCISE),
    (Rig(sync=False).stop("b1"), KeyRole.ACTUAL),
    (Query("b1", EPOCH), KeyRole.SERVICE),
    (Time(ME, NONCE, EPOCH, ("v1",), "http://a", 8), KeyRole.SERVICE),
    (
        Stage(set_id("a" * 64), "a" * 64, 9, "x", EPOCH, EPOCH + HOUR, Targets(groups=("v1",))),
        KeyRole.SERVICE,
    ),
    (ring_of(SIGNERS.values(), 1), KeyRole.ROOT),
)
UPWARD: tuple[Upward, ...] = (
    Report(ME, "b1", "boot", 1, (Fact(1, "played", EPOCH),)),
    Hello(ME, "boot", 1, NONCE, EPOCH, sets={"s-1": 3}, ring=2),
    Probe(ME, NONCE),
    Staged(ME, "boot", 1, "s-1", 9, 3, "fetch HTTP 404"),
)
NAMES = [type(c).__name__ for c, _ in COMMANDS]


def harmless(rig: Rig, payload: bytes) -> None:
    """Whatever it is: nothing sounds, nothing falls silent, nothing is kept or fetched."""
    for effect in rig.bytes(payload):
        assert not isinstance(effect, Save | Sound | Silence | Fetch | FetchManifest | Subscribe), effect
    assert rig.core.ring_version == 0
    assert not rig.core._durable.records.keys() - {"on"}
    assert rig.core._durable.sets == {}


def busy() -> Rig:
    """A terminal in the middle of a real warning."""
    rig = Rig()
    rig.give(rig.play("on"))
    rig.started("on")
    return rig


@pytest.mark.parametrize("upward", UPWARD, ids=lambda m: type(m).__name__)
def test_a_report_sent_down_is_no_command_and_a_command_sent_up_no_report(upward: Upward) -> None:
    envelope = seal_report(upward, ME, KEY)
    harmless(busy(), envelope)
    harmless(busy(), sealed_by(ACTUAL, encode(upward)))
    harmless(busy(), sealed_by(SERVICE, encode(upward)))
    for command, role in COMMANDS:
        for payload in (SIGNERS[role].seal(command), _mac(encode(command))):
            with pytest.raises(SealError):
                open_report(payload, lambda _: KEY)


def _mac(body: bytes) -> bytes:
    """A genuine MAC of this terminal around any words."""
    import hmac
    from base64 import urlsafe_b64encode

    mac = hmac.digest(KEY, b"fenghuo/1 report\n" + ME.encode() + b"\n" + body, "sha256")[:16]
    return b"FH1 " + ME.encode() + b" " + urlsafe_b64encode(mac).rstrip(b"=") + b"\n" + body


@pytest.mark.parametrize("upward", UPWARD, ids=lambda m: type(m).__name__)
def test_a_terminal_cannot_speak_for_another(upward: Upward) -> None:
    other = encode(upward).replace(ME.encode(), b"t-0002")
    with pytest.raises(SealError) as caught:
        open_report(_mac(other), lambda _: KEY)
    assert caught.value.reason is SealReason.WRONG_TERMINAL
    stolen = seal_report(upward, ME, KEY).replace(b"FH1 t-0001", b"FH1 t-0002")
    with pytest.raises(SealError):
        open_report(stolen, lambda t: report_key(SECRET, t))


def reseals(command: Command, role: KeyRole) -> Iterator[bytes]:
    envelope = SIGNERS[role].seal(command)
    header, body = envelope.split(b"\n", 1)
    _, key_id, seal = header.split(b" ")
    yield body
    yield b"FH0 " + key_id + b" " + seal + b"\n" + body
    yield b"FH2 " + key_id + b" " + seal + b"\n" + body
    yield b"fh1 " + key_id + b" " + seal + b"\n" + body
    yield b"FH1 " + key_id + b" \n" + body
    yield b"FH1 " + key_id + b"\n" + body
    yield b"FH1  " + seal + b"\n" + body
    yield b"FH1 " + key_id + b" none\n" + body
    yield b"FH1 " + key_id + b" " + b"A" * 86 + b"\n" + body
    yield b"FH1 " + key_id + b" " + seal[:-2] + b"\n" + body
    yield b"FH1 " + key_id + b" " + seal + b"=\n" + body
    yield b"FH1 " + key_id + b" " + seal + b"\r\n" + body
    yield b"\n" + envelope
    yield b" " + envelope
    yield b"\xef\xbb\xbf" + envelope
    yield envelope + b" "
    yield envelope.replace(b"\n", b"\n\n", 1)
    yield header + b"\n" + body.replace(b'"type"', b'"type" ')
    for other in KeyRole:
        if other is not role:
            yield envelope.replace(key_id, SIGNERS[other].key_id.encode(), 1)


@pytest.mark.parametrize(("command", "role"), COMMANDS, ids=NAMES)
def test_stripped_downgraded_and_confused_seals_do_nothing(command: Command, role: KeyRole) -> None:
    for payload in reseals(command, role):
        with pytest.raises(SealError):
            open_command(payload, RING)
        harmless(busy(), payload)


@pytest.mark.parametrize(("command", "role"), COMMANDS, ids=NAMES)
@pytest.mark.parametrize("thief", KeyRole)
def test_the_thief_of_one_key_can_say_only_what_that_key_may(
    command: Command, role: KeyRole, thief: KeyRole
) -> None:
    envelope = sealed_by(SIGNERS[thief], encode(command))
    if thief is role:
        assert open_command(envelope, RING).command == command
        return
    with pytest.raises(SealError) as caught:
        open_command(envelope, RING)
    assert caught.value.reason is SealReason.WRONG_ROLE
    harmless(busy(), envelope)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(COMMANDS), st.data())
def test_no_byte_of_a_command_can_be_changed_added_or_left_out(
    one: tuple[Command, KeyRole], data: st.DataObject
) -> None:
    envelope = bytearray(SIGNERS[one[1]].seal(one[0]))
    at = data.draw(st.integers(0, len(envelope) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "add", "end"])):
        case "flip":
            envelope[at] ^= data.draw(st.integers(1, 255))
        case "cut":
            del envelope[at]
        case "add":
            envelope.insert(at, data.draw(st.integers(0, 255)))
        case _:
            del envelope[at:]
    if bytes(envelope) != SIGNERS[one[1]].seal(one[0]):
        with pytest.raises(SealError):
            open_command(bytes(envelope), RING)


def test_a_command_of_another_terminal_is_not_ours_under_any_topic() -> None:
    rig = busy()
    theirs = Targets(terminals=("t-0002",), groups=("v2",))
    for command in (
        rig.play("x", targets=theirs),
        rig.stop("on", targets=theirs),
        Stage(set_id("a" * 64), "a" * 64, 9, "x", EPOCH, EPOCH + HOUR, theirs),
        Time("t-0002", rig.hello.nonce, EPOCH + HOUR, ("evil",), "http://evil"),
    ):
        role = KeyRole(command.role) if isinstance(command, Play | Stop) else KeyRole.SERVICE
        harmless(rig, SIGNERS[role].seal(command))
    assert rig.sounding == "on"


def test_everything_said_before_says_nothing_new_when_it_is_said_again() -> None:
    """A broker that has recorded it all plays it back, in any order, after it has been acted on."""
    rig = Rig(held=(1, 2))
    said = [
        ACTUAL.seal(rig.play("p1")),
        ACTUAL.seal(rig.play("p2", clips=(clip(2),), replaces=("p1",))),
        ACTUAL.seal(rig.stop("p2")),
        ROOT.seal(ring_of(SIGNERS.values(), 1)),
        SERVICE.seal(Time(ME, rig.hello.nonce, rig.wire, ("v1", "county"), "http://audio/")),
    ]
    for payload in said:
        rig.bytes(payload)
    assert rig.sounding is None
    before = rig.disk
    for payload in (*said, *reversed(said)):
        for effect in rig.bytes(payload):
            assert not isinstance(effect, Sound | Silence | Fetch | Subscribe), effect
    assert rig.core._durable.ring_version == 1
    assert len(rig.disk) - len(before) < 500


BODY = json.loads(encode(play()))
WRONG: dict[str, Any] = {
    "huge integer": {"counter": 10**400},
    "negative": {"counter": -1},
    "above 2^53": {"issued": 2**53 + 1},
    "float for integer": {"repeats": 1.5},
    "boolean for integer": {"volume": True},
    "string for integer": {"volume": "80"},
    "topic in an id": {"broadcast": "a/b"},
    "wildcard in an id": {"broadcast": "#"},
    "plus in an id": {"broadcast": "+"},
    "newline in an id": {"broadcast": "b1\n"},
    "NUL in an id": {"broadcast": "b\u0000"},
    "full-width id": {"broadcast": "\uff42\uff11"},
    "direction override": {"broadcast": "b\u202e1"},
    "combining mark": {"broadcast": "b\u0301"},
    "lone surrogate": {"event": "\ud800"},
    "empty id": {"broadcast": ""},
    "long id": {"broadcast": "b" * 41},
    "cyrillic role": {"role": "\u0430ctual"},
    "key as topic": {"targets": {"groups": ["v1/#"], "terminals": []}},
    "too many clips": {"clips": [json.loads(json.dumps(BODY["clips"][0]))] * 33},
    "quake from nowhere": {
        "quake": {"origin": 1, "latitude": 91, "longitude": 0, "depth_km": 1, "magnitude": 1, "set": "s"}
    },
    "quake too deep": {
        "quake": {"origin": 1, "latitude": 0, "longitude": 0, "depth_km": 1e9, "magnitude": 1, "set": "s"}
    },
    "patience of a year": {"patience_ms": 10**10},
    "standing as text": {"standing": "true"},
    "signal as a path": {"signal": "../../x"},
    "hazard as a path": {"hazard": "a/b"},
    "type of two minds": {"type": ["play", "stop"]},
    "null": {"expires": None},
}


@pytest.mark.parametrize("how", WRONG)
def test_a_field_that_is_wrong_makes_the_whole_message_malformed(how: str) -> None:
    body = json.dumps(BODY | WRONG[how]).encode()
    envelope = sealed_by(ACTUAL, body)
    with pytest.raises(SealError) as caught:
        open_command(envelope, RING)
    assert caught.value.reason is SealReason.MALFORMED
    harmless(busy(), envelope)


def _raw(field: str, value: str) -> bytes:
    text = json.dumps(BODY)
    return text.replace(f'"{field}": {json.dumps(BODY[field])}', f'"{field}": {value}').encode()


@pytest.mark.parametrize(
    "body",
    [
        _raw("volume", "NaN"),
        _raw("volume", "Infinity"),
        _raw("volume", "1e999"),
        _raw("counter", "9" * 5_000),
        _raw("counter", "0x10"),
        _raw("counter", "1_0"),
        _raw("event", '"\\ud800"'),
        _raw("event", '"' + "x" * 200 + '"'),
        b"[" * 8_000 + b"]" * 8_000,
        b'{"type":"play","x":' + b'{"a":' * 3_000 + b"1" + b"}" * 3_000 + b"}",
        b'{"type":"play"',
        b"",
        b"null",
        b"\x00" * 100,
        b" " * 16_000,
    ],
    ids=lambda b: repr(b[:20]) + str(len(b)),
)
def test_bodies_that_no_json_reader_should_choke_on(body: bytes) -> None:
    with pytest.raises(SealError):
        open_command(sealed_by(ACTUAL, body), RING)
    harmless(busy(), sealed_by(ACTUAL, body))
    with pytest.raises(SealError):
        open_report(_mac(body), lambda _: KEY)


def test_what_is_too_long_is_not_even_verified() -> None:
    rig = busy()
    long = sealed_by(ACTUAL, encode(rig.play("x")) + b" " * MAX_ENVELOPE)
    with pytest.raises(SealError) as caught:
        open_command(long, RING)
    assert caught.value.reason is SealReason.TOO_LONG
    assert [e for e in rig.bytes(long) if not isinstance(e, Alarm)] == []


def test_a_field_said_twice_is_read_one_way_by_the_terminal_and_is_sealed_anyway() -> None:
    """Readers may differ on which of them counts; but only the owner of the key can make such bytes."""
    body = encode(play()).replace(b'"volume":80', b'"volume":80,"volume":90')
    opened = open_command(sealed_by(ACTUAL, body), RING)
    assert isinstance(opened.command, Play)
    with pytest.raises(SealError):
        open_command(ACTUAL.seal(play()).split(b"\n", 1)[0] + b"\n" + body, RING)
