"""docs/wire.md names everything that an implementer meets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from alerts.swave import S_KM_S
from terminals import wire
from terminals.agent.choice import COARSE_S, NUMBER_AT_S
from terminals.agent.core import MAX_STANDING, MAX_STANDING_MS, PROBE_MS, REFUSALS_PER_MINUTE, Reason
from terminals.delivery import BY_HAND, FLOOR, RESUMED, State
from terminals.enrolment import Answer, Enrolled, EnrolmentReason, Renewal, Renewed, Request
from terminals.seal import MAX_ENVELOPE, KeyRole, SealReason

TEXT = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")
STRUCTS = (
    *wire.MESSAGES,
    wire.Clip,
    wire.Targets,
    wire.Quake,
    wire.RingKey,
    wire.Manifest,
    wire.StagedClip,
    wire.Fact,
    wire.Health,
    Request,
    Answer,
    Renewal,
    Renewed,
    Enrolled,
)


def names() -> Iterable[str]:
    for struct in STRUCTS:
        yield from (field.encode_name for field in msgspec.structs.fields(struct))
    for message in wire.MESSAGES:
        yield message.__name__.lower()
    for words in (Reason, SealReason, EnrolmentReason, KeyRole):
        yield from (word.value for word in words)
    yield from (FLOOR, RESUMED, BY_HAND)
    yield from (state.value for state in State if state not in (State.PENDING, State.SENT))


@pytest.mark.parametrize("name", sorted(set(names())))
def test_every_field_state_and_reason_is_in_the_document(name: str) -> None:
    assert f"`{name}`" in TEXT or f"/`{name}`" in TEXT


def test_the_limits_in_the_document_are_the_ones_in_force() -> None:
    assert f"at most {wire.MAX_BODY:,} bytes" in TEXT
    assert f"the envelope at most {MAX_ENVELOPE:,}" in TEXT
    assert f"at most {REFUSALS_PER_MINUTE} a minute" in TEXT
    assert f"at most {wire.MAX_MANIFEST:,} bytes" in TEXT
    assert f"At most {wire.MAX_SETS} sets" in TEXT
    assert f"given up after {PROBE_MS // 1000} s" in TEXT
    assert f"{MAX_STANDING_MS // 86_400_000} days; at most {MAX_STANDING}" in TEXT
    assert f"at {S_KM_S} km/s" in TEXT
    assert f"left − {NUMBER_AT_S:g}" in TEXT
    assert f"less than {COARSE_S} below" in TEXT
