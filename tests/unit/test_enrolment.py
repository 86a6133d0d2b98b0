"""Both sides know each other by the code, or nothing happens."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.terminal import ACTUAL, ME, RING, SECRET, SERVICE
from terminals import enrolment
from terminals.enrolment import (
    Answer,
    Applicant,
    Enrolled,
    EnrolmentError,
    EnrolmentReason,
    Request,
    answer,
    code_bytes,
    code_fingerprint,
    new_code,
    read_request,
)
from terminals.seal import KeyRing, KeyRole, new_signer, report_key

CODE = new_code(bytes(range(10)))
FINGERPRINT = code_fingerprint(CODE)
HERS = b"\x11" * 32
OURS = b"\x22" * 32


def papers(terminal: str = ME, ring: KeyRing = RING) -> Enrolled:
    return Enrolled.of(
        terminal=terminal,
        county="623023",
        report_key=report_key(SECRET, terminal),
        ring=ring,
        groups=("v1", "county"),
        languages=("bo", "zh"),
        roles=(KeyRole.ACTUAL, KeyRole.TEST),
        broker="mqtts://10.1.0.2:8883",
        audio="http://10.1.0.2:8470",
    )


def refused(reason: EnrolmentReason) -> pytest.RaisesExc[EnrolmentError]:
    return pytest.raises(EnrolmentError, match=f"^{re.escape(reason.value)}: ")


def exchange(terminal: str = ME, ring: KeyRing = RING) -> Enrolled:
    applicant = Applicant(terminal, CODE, HERS)
    request = read_request(applicant.request)
    return applicant.open(answer(request, FINGERPRINT, papers(terminal, ring), OURS))


def test_the_right_code_hands_over_everything_a_terminal_needs() -> None:
    got = exchange()
    assert got == papers()
    assert got.report_key_bytes() == report_key(SECRET, ME)
    assert got.key_ring().to_dict() == RING.to_dict()


def test_nothing_secret_can_be_read_on_the_way() -> None:
    applicant = Applicant(ME, CODE, HERS)
    box = answer(read_request(applicant.request), FINGERPRINT, papers(), OURS)
    for secret in (papers().report_key, CODE, CODE.replace("-", ""), "8883", "623023"):
        assert secret.encode() not in applicant.request + box


def test_a_wrong_code_is_refused_by_the_controller() -> None:
    other = Applicant(ME, new_code(b"x" * 10), HERS)
    with refused(EnrolmentReason.WRONG_CODE):
        answer(read_request(other.request), FINGERPRINT, papers(), OURS)


def test_a_controller_that_does_not_know_the_code_is_refused_by_the_terminal() -> None:
    applicant = Applicant(ME, CODE, HERS)
    stranger = code_fingerprint(new_code(b"y" * 10))
    told = read_request(Applicant(ME, new_code(b"y" * 10), HERS).request)
    with refused(EnrolmentReason.ALTERED):
        applicant.open(answer(told, stranger, papers(), OURS))


def test_every_altered_field_of_the_request_is_noticed() -> None:
    request = read_request(Applicant(ME, CODE, HERS).request)
    for field, value in (("terminal", "t-0002"), ("public", "A" * 43), ("mac", "A" * 43)):
        altered = msgspec.structs.replace(request, **{field: value})
        with refused(EnrolmentReason.WRONG_CODE):
            answer(altered, FINGERPRINT, papers(altered.terminal), OURS)


def test_every_altered_byte_of_the_answer_is_noticed() -> None:
    applicant = Applicant(ME, CODE, HERS)
    good = answer(read_request(applicant.request), FINGERPRINT, papers(), OURS)
    decoded = msgspec.json.decode(good, type=Answer)
    zero = msgspec.structs.replace(decoded, public="A" * 43)
    with refused(EnrolmentReason.ALTERED):
        applicant.open(msgspec.json.encode(zero))
    for at in range(0, len(decoded.box) - 1, 7):
        box = decoded.box[:at] + ("A" if decoded.box[at] != "A" else "B") + decoded.box[at + 1 :]
        with refused(EnrolmentReason.ALTERED):
            applicant.open(msgspec.json.encode(msgspec.structs.replace(decoded, box=box)))


def test_an_answer_to_an_earlier_request_is_a_replay() -> None:
    earlier = Applicant(ME, CODE, b"\x33" * 32)
    recorded = answer(read_request(earlier.request), FINGERPRINT, papers(), OURS)
    with refused(EnrolmentReason.REPLAYED):
        Applicant(ME, CODE, HERS).open(recorded)


def test_an_answer_relabelled_as_ours_does_not_open() -> None:
    earlier = Applicant(ME, CODE, b"\x33" * 32)
    ours = Applicant(ME, CODE, HERS)
    recorded = msgspec.json.decode(
        answer(read_request(earlier.request), FINGERPRINT, papers(), OURS), type=Answer
    )
    label = msgspec.json.decode(answer(read_request(ours.request), FINGERPRINT, papers(), OURS), type=Answer)
    with refused(EnrolmentReason.ALTERED):
        ours.open(msgspec.json.encode(msgspec.structs.replace(recorded, request=label.request)))


def test_papers_of_another_terminal_are_refused_on_both_sides() -> None:
    applicant = Applicant(ME, CODE, HERS)
    with refused(EnrolmentReason.WRONG_TERMINAL):
        answer(read_request(applicant.request), FINGERPRINT, papers("t-0002"), OURS)
    other = Applicant("t-0002", CODE, HERS)
    told = answer(read_request(other.request), FINGERPRINT, papers("t-0002"), OURS)
    with refused(EnrolmentReason.WRONG_TERMINAL):
        applicant.open(told)


def test_real_keys_go_to_real_terminals_and_sandbox_keys_to_simulated_ones() -> None:
    sandbox = KeyRing.of([new_signer(KeyRole.ACTUAL, bytes(36), sandbox=True)])
    mixed = KeyRing.of([ACTUAL, SERVICE, new_signer(KeyRole.ACTUAL, bytes(36), sandbox=True)])
    assert exchange("sim-1", sandbox).key_ring().is_sandbox
    for terminal, ring in ((ME, sandbox), ("sim-1", RING), ("sim-1", mixed)):
        with refused(EnrolmentReason.WRONG_CLASS):
            exchange(terminal, ring)


@pytest.mark.parametrize(
    ("terminal", "about", "sandbox", "reason"),
    [
        (ME, ME, True, EnrolmentReason.WRONG_CLASS),
        ("sim-1", "sim-1", False, EnrolmentReason.WRONG_CLASS),
        (ME, "t-0002", False, EnrolmentReason.WRONG_TERMINAL),
    ],
)
def test_a_terminal_takes_no_wrong_papers_even_from_a_controller_that_gives_them(
    monkeypatch: pytest.MonkeyPatch, terminal: str, about: str, sandbox: bool, reason: EnrolmentReason
) -> None:
    """Whoever runs a sandbox of his own knows his code, and need not ask whom he gives papers to."""
    ring = KeyRing.of([new_signer(KeyRole.ACTUAL, bytes(36), sandbox=True)]) if sandbox else RING
    applicant = Applicant(terminal, CODE, HERS)
    with monkeypatch.context() as patch:
        patch.setattr(enrolment, "_check", lambda *_: None)
        told = answer(read_request(applicant.request), FINGERPRINT, papers(about, ring), OURS)
    with refused(reason):
        applicant.open(told)


@given(st.binary(max_size=200))
def test_any_bytes_at_all_are_only_ever_an_enrolment_error(noise: bytes) -> None:
    with refused(EnrolmentReason.MALFORMED):
        read_request(noise)
    with refused(EnrolmentReason.MALFORMED):
        Applicant(ME, CODE, HERS).open(noise)


def test_a_ring_that_is_none_is_malformed() -> None:
    bad = msgspec.structs.replace(papers(), ring={"a0": next(iter(papers().ring.values()))})
    with refused(EnrolmentReason.MALFORMED):
        bad.key_ring()


@given(st.binary(min_size=10, max_size=10))
def test_a_code_carries_all_its_eighty_bits(entropy: bytes) -> None:
    code = new_code(entropy)
    assert re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}", code)
    assert code_bytes(code) == entropy


@given(st.binary(min_size=10, max_size=10), st.randoms(use_true_random=False))
def test_a_code_may_be_typed_as_people_type(entropy: bytes, random: object) -> None:
    code = new_code(entropy)
    typed = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert code_bytes(typed) == entropy
    assert code_bytes(code.replace("-", "").replace("1", "I").replace("0", "O")) == entropy


@pytest.mark.parametrize(
    "typed", ["", "7K3Q", "7K3Q-9XWP-M2FD-HT0U", "7K3Q-9XWP-M2FD-HT0V-7", "七K3Q-9XWP-M2FD-HT0V"]
)
def test_a_mistyped_code_is_named_as_such(typed: str) -> None:
    with refused(EnrolmentReason.BAD_CODE):
        code_fingerprint(typed)
    with refused(EnrolmentReason.BAD_CODE):
        Applicant(ME, typed, HERS)


def test_the_fingerprint_is_the_same_however_typed_and_does_not_show_the_code() -> None:
    assert code_fingerprint(CODE.lower().replace("-", "")) == FINGERPRINT
    assert code_bytes(CODE) not in FINGERPRINT
    assert len(FINGERPRINT) == 32


def test_too_little_entropy_is_our_bug() -> None:
    with pytest.raises(ValueError, match="10"):
        new_code(b"short")
    with pytest.raises(ValueError, match="32"):
        Applicant(ME, CODE, b"short")


def test_requests_are_bounded() -> None:
    big = msgspec.json.encode(Request("t", "A" * 43, "A" * 43)) + b" " * 40_000
    with refused(EnrolmentReason.MALFORMED):
        read_request(big)
