"""Whatever happens to a terminal, it never sounds what it must not, and always answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from support.agent_machine import DAY, TerminalMachine
from terminals.agent import admission, choice, loudspeaker
from terminals.agent.clock import SignedClock
from terminals.agent.core import Core, Save
from terminals.agent.loudspeaker import Live, Loudspeaker
from terminals.seal import KeyRole, OpenedCommand, SealError, claimed_command
from terminals.wire import Play

_SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


def test_a_terminal_holds_its_promises_whatever_happens() -> None:
    run_state_machine_as_test(
        TerminalMachine,
        settings=settings(
            max_examples=100, stateful_step_count=60, deadline=None, suppress_health_check=_SLOW
        ),
    )


class _Patient(Live):
    """Waits a day longer than the command allows."""

    __slots__ = ()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.deadline += DAY


def _forgetful(method: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    return lambda *args: [effect for effect in method(*args) if not isinstance(effect, Save)]


def _gullible(self: Core, payload: bytes, error: SealError, mono: int) -> None:
    claimed = claimed_command(payload)
    if isinstance(claimed, Play):
        self._offer(OpenedCommand(KeyRole(claimed.role), "a00000000", claimed, b""), mono)


_HEAR = SignedClock.hear
MUTANTS: dict[str, tuple[object, str, object]] = {
    "a repeat is a new command": (Core, "_answered", lambda *_: False),
    "everything is for us": (Core, "_targeted", lambda *_: True),
    "a stop is answered but not obeyed": (Core, "_cancel", lambda *_: None),
    "expiry in the queue is not looked at": (loudspeaker, "Live", _Patient),
    "the lifetime is not looked at": (admission, "MAX_LIFETIME_MS", 1 << 60),
    "the end of a playing is not saved": (Core, "finished", _forgetful(Core.finished)),
    "a refused seal is no reason": (Core, "_not_genuine", _gullible),
    "a preempted sound is not silenced": (
        Loudspeaker,
        "quiet",
        lambda self, _: setattr(self, "current", None),
    ),
    "nothing resumes after a power cut": (Core, "_resume", lambda *_: None),
    "a stand-in counts as the message": (
        Loudspeaker,
        "_floor_is_over",
        lambda self, live, mono: self._played(live.record, live, mono),
    ),
    "a standing message sounds by itself": (Core, "_keep_standing", Core._enliven),
    "a countdown promises more than there is": (choice, "NUMBER_AT_S", -5.0),
    "an answer's whole way is added to it": (
        SignedClock,
        "hear",
        lambda self, signed, sent, mono, floor: _HEAR(self, signed + mono - sent, sent, mono, floor),
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_rule_is_found_out(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule of the machine can fail: a terminal with one rule broken does not get through it."""
    target, name, broken = MUTANTS[mutant]
    monkeypatch.setattr(target, name, broken)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            TerminalMachine,
            settings=settings(
                max_examples=300,
                stateful_step_count=60,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=_SLOW,
            ),
        )
