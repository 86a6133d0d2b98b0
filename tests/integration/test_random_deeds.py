"""A county is mistreated at random, and judged by what was heard (`support.deeds`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.deeds import Untrue, once
from terminals.agent.loudspeaker import Live, Loudspeaker


@pytest.mark.parametrize(("seed", "deeds"), [(1, 60), (2, 60), (21, 60), (311, 200)])
def test_whatever_is_done_to_a_county_it_ends_in_silence_and_truth(
    tmp_path: Path, seed: int, deeds: int
) -> None:
    """The last two are lives in which it did not, once."""
    assert once(tmp_path, seed, deeds) > 0


def test_a_loudspeaker_that_does_not_fall_silent_is_found_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(self: Loudspeaker, live: Live) -> None:
        self.current = None if live is self.current else self.current

    monkeypatch.setattr(Loudspeaker, "quiet", deaf)
    with pytest.raises(Untrue, match="sounds"):
        once(tmp_path, 1, 60)
