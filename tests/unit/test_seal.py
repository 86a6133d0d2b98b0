"""Nothing is believed that is not sealed, by the right key, to the last byte."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from support.terminal import ACTUAL, EXERCISE, ME, RING, SECRET, SERVICE, SIGNERS, STRANGER, Rig
from terminals.seal import (
    MAX_ENVELOPE,
    KeyRing,
    KeyRole,
    RingError,
    SealError,
    SealReason,
    Signer,
    claimed_command,
    claimed_terminal,
    new_signer,
    open_command,
    open_report,
    report_key,
    seal_report,
)
from terminals.wire import (
    MAX_BODY,
    Command,
    Fact,
    Hello,
    Play,
    Query,
    Report,
    Targets,
    Time,
    WireError,
    encode,
)

KEY = report_key(SECRET, ME)
REPORT = Report(ME, "b1", "boot", 1, (Fact(1, "played", 5),), 7)


@pytest.fixture
def play() -> Play:
    return Rig(sync=False).play()


def why(envelope: bytes, ring: KeyRing = RING) -> SealReason:
    with pytest.raises(SealError) as caught:
        open_command(envelope, ring)
    return caught.value.reason


def why_report(envelope: bytes, key: bytes | None = KEY) -> SealReason:
    with pytest.raises(SealError) as caught:
        open_report(envelope, lambda terminal: key if terminal == ME else None)
    return caught.value.reason


def test_a_sealed_command_opens_to_what_was_sealed(play: Play) -> None:
    opened = open_command(ACTUAL.seal(play), RING)
    assert (opened.role, opened.key_id, opened.command) == (KeyRole.ACTUAL, ACTUAL.key_id, play)
    for command in (Query("b1", 5), Time(ME, "n" * 32, 5, (), "")):
        assert open_command(SERVICE.seal(command), RING).command == command


def test_the_envelope_is_one_ascii_line_and_the_exact_body(play: Play) -> None:
    header, body = ACTUAL.seal(play).split(b"\n", 1)
    magic, key_id, seal = header.decode("ascii").split(" ")
    assert (magic, key_id, len(seal)) == ("FH1", ACTUAL.key_id, 86)
    assert body.startswith(b'{"type":"play"')


def test_every_single_flipped_bit_is_noticed(play: Play) -> None:
    for envelope, opener in (
        (ACTUAL.seal(play), lambda e: open_command(e, RING)),
        (seal_report(REPORT, ME, KEY), lambda e: open_report(e, lambda _: KEY)),
    ):
        for at in range(len(envelope)):
            for bit in (1, 32, 128):
                altered = bytearray(envelope)
                altered[at] ^= bit
                with pytest.raises(SealError):
                    opener(bytes(altered))


def test_every_truncation_and_addition_is_noticed(play: Play) -> None:
    envelope = ACTUAL.seal(play)
    for length in range(len(envelope)):
        why(envelope[:length])
    assert why(envelope + b" ") is SealReason.BAD_SIGNATURE


def test_stripped_seals_are_unsigned_and_never_let_through(play: Play) -> None:
    body = ACTUAL.seal(play).split(b"\n", 1)[1]
    assert why(body) is SealReason.UNSIGNED
    assert why(f"FH1 {ACTUAL.key_id} \n".encode() + body) is SealReason.UNSIGNED
    for header in (b"\n", b"FH1\n", b"FH1 " + ACTUAL.key_id.encode() + b"\n", b"FH2 a1 x\n", b""):
        assert why(header + body) in (SealReason.MALFORMED, SealReason.UNSIGNED)


def test_a_seal_has_one_spelling(play: Play) -> None:
    header, body = ACTUAL.seal(play).split(b"\n", 1)
    for spelled in (header + b"==", header[:-1], header[:-1] + bytes([header[-1] + 1]), header + b" "):
        assert why(spelled + b"\n" + body) is SealReason.MALFORMED


def test_unknown_keys_and_wrong_signatures_have_different_names(play: Play) -> None:
    assert why(STRANGER.seal(play)) is SealReason.UNKNOWN_KEY
    impostor = Signer(KeyRole.ACTUAL, ACTUAL.key_id, new_signer(KeyRole.ACTUAL, b"z" * 36)._private)
    assert why(impostor.seal(play)) is SealReason.BAD_SIGNATURE


def test_a_seal_under_one_key_id_is_none_under_another(play: Play) -> None:
    twin = Signer(KeyRole.ACTUAL, "a00000000", ACTUAL._private)
    ring = KeyRing.of([ACTUAL, twin])
    envelope = ACTUAL.seal(play).replace(ACTUAL.key_id.encode(), b"a00000000", 1)
    assert why(envelope, ring) is SealReason.BAD_SIGNATURE


def commands() -> list[Command]:
    rig = Rig(sync=False)
    roles = ("actual", "exercise", "test", "service", "daily")
    return [
        *(rig.play(role=role) for role in roles),
        *(rig.stop("b", role=role) for role in roles),
        Query("b1", 5),
        Time(ME, "n" * 32, 5, (), ""),
    ]


@pytest.mark.parametrize("command", commands(), ids=lambda c: f"{type(c).__name__}-{getattr(c, 'role', '')}")
@pytest.mark.parametrize("role", KeyRole)
def test_each_role_seals_and_opens_only_its_own_words(role: KeyRole, command: Command) -> None:
    """The whole truth table, on both sides."""
    signer = SIGNERS[role]
    own = (
        role is KeyRole.SERVICE
        if isinstance(command, Query | Time)
        else role is not KeyRole.SERVICE and command.role == role
    )
    body = encode(command)
    seal = signer._private.sign(b"fenghuo/1 command\n" + signer.key_id.encode() + b"\n" + body)
    text = urlsafe_b64encode(seal).rstrip(b"=").decode()
    envelope = f"FH1 {signer.key_id} {text}\n".encode() + body
    if own:
        assert signer.seal(command) == envelope, "the format of docs/wire.md"
        assert open_command(envelope, RING).command == command
    else:
        assert why(envelope) is SealReason.WRONG_ROLE
        with pytest.raises(ValueError, match="may not seal"):
            signer.seal(command)


def test_a_genuine_seal_around_nonsense_is_malformed() -> None:
    body = b'{"type":"dance"}'
    seal = ACTUAL._private.sign(b"fenghuo/1 command\n" + ACTUAL.key_id.encode() + b"\n" + body)
    text = urlsafe_b64encode(seal).rstrip(b"=").decode()
    assert why(f"FH1 {ACTUAL.key_id} {text}\n".encode() + body) is SealReason.MALFORMED


def test_too_long_is_refused_before_anything_is_looked_at(play: Play) -> None:
    assert why(b"x" * (MAX_ENVELOPE + 1)) is SealReason.TOO_LONG
    assert why_report(b"x" * (MAX_ENVELOPE + 1)) is SealReason.TOO_LONG
    many = Targets(terminals=tuple(f"t-{n:036d}" for n in range(800)))
    with pytest.raises(WireError, match=str(MAX_BODY)):
        ACTUAL.seal(Rig(sync=False).play(targets=many))


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda b: b"FH1 a01010101 " + b))
def test_any_bytes_at_all_are_only_ever_a_seal_error(noise: bytes) -> None:
    why(noise)
    why_report(noise)
    claimed_command(noise)


def test_claims_are_read_without_belief(play: Play) -> None:
    assert claimed_command(STRANGER.seal(play)) == play
    assert claimed_command(ACTUAL.seal(play).split(b"\n", 1)[1]) == play
    assert claimed_command(b"FH1 x y\n{") is None
    assert claimed_command(b"x" * (MAX_ENVELOPE + 1)) is None
    assert claimed_terminal(seal_report(REPORT, ME, KEY)) == ME
    with pytest.raises(SealError):
        claimed_terminal(b"FH1")


# --- reports ---


def test_a_report_opens_under_its_own_terminals_key() -> None:
    for message in (REPORT, Hello(ME, "boot", 0, "n" * 16, 5)):
        assert open_report(seal_report(message, ME, KEY), lambda t: report_key(SECRET, t)) == message


def test_a_report_under_another_key_or_of_a_stranger_is_refused() -> None:
    assert why_report(seal_report(REPORT, ME, report_key(SECRET, "t-0002"))) is SealReason.BAD_SIGNATURE
    assert why_report(seal_report(REPORT, "t-0002", KEY)) is SealReason.UNKNOWN_TERMINAL
    assert why_report(seal_report(REPORT, ME, KEY), None) is SealReason.UNKNOWN_TERMINAL


def test_a_terminal_cannot_speak_for_another() -> None:
    with pytest.raises(SealError) as caught:
        open_report(seal_report(REPORT, "t-0002", KEY), lambda _: KEY)
    assert caught.value.reason is SealReason.WRONG_TERMINAL


def test_a_short_or_stripped_mac_is_refused() -> None:
    header, body = seal_report(REPORT, ME, KEY).split(b"\n", 1)
    assert why_report(header[:-2] + b"\n" + body) is SealReason.MALFORMED
    assert why_report(f"FH1 {ME} \n".encode() + body) is SealReason.UNSIGNED
    assert why_report(body) is SealReason.UNSIGNED


def test_a_command_is_no_report_and_a_report_no_command(play: Play) -> None:
    assert why(seal_report(REPORT, ME, KEY)) is SealReason.MALFORMED
    assert why_report(ACTUAL.seal(play)) is SealReason.MALFORMED


def test_report_keys_differ_by_terminal_and_by_secret() -> None:
    keys = {report_key(s, t) for s in (SECRET, bytes(32)) for t in (ME, "t-0002", "t-000", "")}
    assert len(keys) == 8
    assert {len(k) for k in keys} == {32}
    with pytest.raises(ValueError, match="32"):
        report_key(b"short", ME)


def test_the_report_key_is_what_the_wire_document_says() -> None:
    """HKDF-SHA256 (RFC 5869) by hand: no salt, one block."""
    prk = hmac.digest(bytes(32), SECRET, "sha256")
    assert hmac.digest(prk, b"fenghuo/1 report key\n" + ME.encode() + b"\x01", "sha256") == KEY
    header, body = seal_report(REPORT, ME, KEY).split(b"\n", 1)
    mac = hmac.digest(KEY, b"fenghuo/1 report\n" + ME.encode() + b"\n" + body, "sha256")[:16]
    assert header == b"FH1 " + ME.encode() + b" " + urlsafe_b64encode(mac).rstrip(b"=")


# --- keys ---


def test_key_ids_say_role_and_sandbox() -> None:
    assert new_signer(KeyRole.TEST, bytes(32) + b"\xab\xcd\xef\x01").key_id == "tabcdef01"
    assert new_signer(KeyRole.ACTUAL, bytes(36), sandbox=True).key_id == "sandbox-a00000000"
    with pytest.raises(ValueError, match="36"):
        new_signer(KeyRole.ACTUAL, bytes(32))
    with pytest.raises(RingError, match="must be 'a' and 8 hex"):
        Signer(KeyRole.ACTUAL, "t00000000", ACTUAL._private)


def test_a_ring_survives_its_dictionary() -> None:
    again = KeyRing.from_dict(RING.to_dict())
    assert again.to_dict() == RING.to_dict()
    assert set(RING.to_dict()) == {s.key_id for s in SIGNERS.values()}
    assert not RING.is_sandbox


def test_a_signer_survives_its_private_bytes(play: Play) -> None:
    again = Signer(ACTUAL.role, ACTUAL.key_id, Ed25519PrivateKey.from_private_bytes(ACTUAL.private_bytes))
    assert again.seal(play) == ACTUAL.seal(play)
    assert again.public_bytes == ACTUAL.public_bytes


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"role": "actual"},
        {"role": "king", "public": "A" * 43},
        {"role": "actual", "public": "AAAA"},
        {"role": "actual", "public": "A" * 42 + "B"},
        {"role": "test", "public": "A" * 43},
    ],
)
def test_a_bad_ring_names_the_key(entry: dict[str, str]) -> None:
    with pytest.raises(RingError, match="a01234567"):
        KeyRing.from_dict({"a01234567": entry})


def test_a_ring_of_both_sorts_is_refused() -> None:
    ring = KeyRing.of([EXERCISE, new_signer(KeyRole.ACTUAL, bytes(36), sandbox=True)])
    with pytest.raises(RingError, match="sandbox and real"):
        _ = ring.is_sandbox
