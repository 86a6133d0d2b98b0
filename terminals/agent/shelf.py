"""Which sounds a terminal has: clips that are whole here, those on their way, and the staged sets."""

from __future__ import annotations

import random as _random
from collections.abc import Collection
from typing import Final

from terminals.agent.choice import CLOCK_LIMIT_MS, Profile, countdown, generic_names, seconds_left
from terminals.agent.effects import Effect, Fetch
from terminals.agent.ledger import Ledger
from terminals.agent.sets import StagedSets, address
from terminals.seal import KeyRole
from terminals.wire import Clip, Play

MAX_BAD: Final = 64


class Shelf:
    """The sounds of one terminal. `mono` as in `Core`. Fetches go to the end of `out`."""

    __slots__ = (
        "_bad",
        "_ledger",
        "_out",
        "_position",
        "_random",
        "audio_base",
        "fetching",
        "held",
        "profile",
        "sets",
    )

    def __init__(
        self,
        sets: StagedSets,
        ledger: Ledger,
        random: _random.Random,
        out: list[Effect],
        *,
        profile: Profile,
        position: tuple[float, float] | None,
        held: Collection[str],
    ) -> None:
        self.sets = sets
        self.held = held
        """The host's living collection of the hashes of whole clips."""
        self.fetching: dict[str, int] = {}
        """Hash of a clip on its way for a message → own retries so far."""
        self.audio_base = ""
        """As the last Time said."""
        self._ledger = ledger
        self._random = random
        self._out = out
        self.profile = profile
        self._position = position
        self._bad: dict[str, None] = {}
        """Clips that the device could not decode."""

    # --- what is here ---

    def usable(self, clip: Clip) -> bool:
        return clip.sha256 in self.held and clip.sha256 not in self._bad

    def is_here(self, clips: Collection[Clip]) -> bool:
        return any(self.usable(clip) for clip in clips)

    def spoilt(self, clip: Clip) -> None:
        """The device could not decode it: not taken again before it was fetched again."""
        if len(self._bad) >= MAX_BAD:
            self._bad.clear()
        self._bad[clip.sha256] = None

    # --- which one ---

    def generic(self, role: KeyRole, play: Play, mono: int) -> Clip | None:
        """The generic sentence for this kind, None if none is here: then the signal alone sounds."""
        now = self._ledger.now(mono)
        for name in generic_names(role.value, play.hazard, play.signal):
            clip = self.sets.find(name, now, self.usable)
            if clip is not None:
                return clip
        return None

    def count(self, play: Play, mono: int) -> Clip | None:
        """The countdown clip to start at `mono`, None if there is none here or it is no earthquake."""
        quake = play.quake
        if quake is None:
            return None
        now = self._ledger.now(mono)
        clips = self.sets.countdown(quake.set, now)
        error = self._ledger.clock.error_ms(mono)
        left = None
        if self._position is not None and error is not None and error <= CLOCK_LIMIT_MS:
            left = seconds_left(quake, self._position, now)
        return countdown(clips, left, self.usable)

    def has_message(self, clip: Clip | None, play: Play, mono: int) -> bool:
        """Whether the message itself can sound: its clip, or the countdown that says as much."""
        if clip is not None and self.usable(clip):
            return True
        return self.count(play, mono) is not None

    # --- what is to come ---

    def seek(self, clip: Clip, play: Play) -> None:
        """Fetch it, unless it is coming already."""
        if clip.sha256 in self.fetching:
            return
        if self.sets.is_fetching(clip.sha256):
            self.fetching[clip.sha256] = 0
        else:
            self.fetch(clip, 0, self.part_of(play.spread_ms))

    def fetch(self, clip: Clip, tries: int, delay_ms: int) -> None:
        self.fetching[clip.sha256] = tries
        self._out.append(Fetch(clip, address(self.audio_base, clip.url, clip.sha256), delay_ms))

    def fetched(self, sha256: str, problem: str | None) -> int:
        """A fetch ended. How many retries it had."""
        if problem is None:
            self._bad.pop(sha256, None)
        return self.fetching.pop(sha256, 0)

    def go_on_staging(self, mono: int) -> None:
        self._out += self.sets.fetch(mono, self.audio_base, self.part_of, self.fetching)

    def part_of(self, spread_ms: int) -> int:
        """A random part of it, so that a county does not come at once."""
        return self._random.randrange(spread_ms + 1)
