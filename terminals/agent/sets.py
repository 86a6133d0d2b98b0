"""Staged sets at a terminal: clips that are here before they are needed.

Theory of operation. A Stage names a manifest by its hash. The manifest is fetched, what fits this terminal
is fetched one after another, few at a time, and stays pinned until the set expires or newer sets say all that
it says. What is missing (a new disk, a damaged file) is found at every Hello and fetched again. Only what is
on the terminal is ever answered with, so a set that is half there already serves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from terminals.agent.choice import Profile, fitting
from terminals.agent.effects import Effect, Fetch, FetchManifest
from terminals.agent.kept import StagedSet
from terminals.wire import MAX_SETS, Clip, Manifest, Stage, set_id

MAX_STAGED_MS: Final = 400 * 24 * 3_600_000
"""expires − issued of a Stage."""
AT_ONCE: Final = 2
"""Fetches of staged clips under way: what is to sound now must never queue behind them for long."""
TRIES: Final = 3
PAUSE_MS: Final = 600_000
"""After a set's clip or manifest could not be had TRIES times."""

COUNTDOWN: Final = "quake/"
_NOTHING: Final[Mapping[str, Clip]] = {}

Fitting = Callable[[Manifest, Profile], Mapping[str, Clip]]


class StagedSets:
    """The sets of one terminal. `kept` is `Durable.sets`; every method that changes it says so."""

    __slots__ = (
        "_fetching",
        "_fitting",
        "_held",
        "_kept",
        "_maps",
        "_pause",
        "_profile",
        "_tries",
        "problems",
    )

    def __init__(
        self,
        kept: dict[str, StagedSet],
        profile: Profile,
        held: Collection[str],
        manifests: Mapping[str, Manifest],
        fitting: Fitting = fitting,
    ) -> None:
        self._kept = kept
        self._profile = profile
        self._held = held
        self._fitting = fitting
        self._maps: dict[str, Mapping[str, Clip]] = {
            name: fitting(manifests[name], profile) for name in kept if name in manifests
        }
        # Dictionaries, of which the empty one is 64 bytes and the empty set 216: ten thousand live in one
        # simulator.
        self._fetching: dict[str, None] = {}
        """Hashes under way, manifests and clips."""
        self._tries: dict[str, int] = {}
        self._pause: dict[str, int] = {}
        """Hash → mono before which it is not tried again."""
        self.problems: dict[str, str] = {}
        """Set → why it does not go on."""

    def __len__(self) -> int:
        return len(self._kept)

    # --- what is there ---

    def counts(self, name: str) -> tuple[int, int]:
        """(wanted, held) clips of this set; (0, 0) while its manifest is not here."""
        wanted = {clip.sha256 for clip in self._maps.get(name, _NOTHING).values()}
        return len(wanted), sum(sha256 in self._held for sha256 in wanted)

    def missing(self) -> dict[str, int]:
        """Set → clips still missing, for a Hello; without its manifest 1."""
        found = {}
        for name in self._kept:
            wanted, held = self.counts(name)
            found[name] = wanted - held if name in self._maps else 1
        return found

    def countdown(self, name: str, now: int) -> Mapping[str, Clip]:
        """The clips of exactly this set: those of an exercise must never count down a real earthquake."""
        staged = self._kept.get(name)
        if staged is None or staged.expires <= now:
            return _NOTHING
        return self._maps.get(name, _NOTHING)

    def find(self, name: str, now: int, usable: Callable[[Clip], bool]) -> Clip | None:
        """The clip of this name in the newest set that has it here."""
        newest = sorted(self._maps, key=lambda s: self._kept[s].issued, reverse=True)
        for each in newest:
            if self._kept[each].expires > now:
                clip = self._maps[each].get(name)
                if clip is not None and usable(clip):
                    return clip
        return None

    def pinned(self) -> set[str]:
        """Hashes that must stay: every manifest, every clip."""
        kept = {staged.sha256 for staged in self._kept.values()}
        return kept.union(*({clip.sha256 for clip in clips.values()} for clips in self._maps.values()))

    # --- what comes ---

    def objection(self, stage: Stage, now: int) -> str:
        """Why this Stage is not taken; "" if it is."""
        if stage.set != set_id(stage.sha256):
            return "malformed its id is not that of its hash"
        if stage.expires - stage.issued > MAX_STAGED_MS:
            return "lifetime"
        if now >= stage.expires:
            return "expired"
        full = len(self._kept) >= MAX_SETS and stage.set not in self._kept
        if full and min(staged.issued for staged in self._kept.values()) >= stage.issued:
            return "device-busy"
        return ""

    def withdraw(self, stage: Stage) -> bool:
        """A Stage that ends when it begins: forget this set, unless it was staged anew since. Whether
        anything went."""
        kept = self._kept.get(stage.set)
        if kept is None or kept.issued > stage.issued:
            return False
        self._drop(stage.set)
        return True

    def take(self, stage: Stage) -> bool:
        """A Stage without objection. Whether anything is new."""
        older = self._kept.get(stage.set)
        if older is not None and older.expires >= stage.expires:
            return False
        if older is None and len(self._kept) >= MAX_SETS:
            self._drop(min(self._kept, key=lambda s: self._kept[s].issued))
        self._kept[stage.set] = StagedSet(
            stage.sha256, stage.size, stage.url, stage.issued, stage.expires, stage.spread_ms
        )
        self.problems.pop(stage.set, None)
        return True

    def manifest(self, name: str, mono: int, manifest: Manifest | None, problem: str | None) -> None:
        """A FetchManifest ended."""
        staged = self._kept.get(name)
        if staged is None:
            return
        self._fetching.pop(staged.sha256, None)
        if manifest is not None and problem is None:
            self._maps[name] = self._fitting(manifest, self._profile)
            self._tries.pop(staged.sha256, None)
            self.problems.pop(name, None)
        else:
            self._failed(staged.sha256, mono)
            self.problems[name] = _worded(problem)

    def fetched(self, sha256: str, mono: int, problem: str | None) -> list[str]:
        """A clip's fetch ended. The sets whose counts or problems changed, if any."""
        self._fetching.pop(sha256, None)
        named = [n for n, clips in self._maps.items() if any(c.sha256 == sha256 for c in clips.values())]
        if problem is None:
            self._tries.pop(sha256, None)
            return [name for name in named if len(set(self.counts(name))) == 1]
        if not named:
            return []
        self._failed(sha256, mono)
        changed = [name for name in named if self.problems.get(name) != _worded(problem)]
        self.problems.update((name, _worded(problem)) for name in named)
        return changed

    def is_fetching(self, sha256: str) -> bool:
        return sha256 in self._fetching

    def fetch(
        self, mono: int, audio_base: str, delay: Callable[[int], int], coming: Collection[str]
    ) -> list[Effect]:
        """What to fetch now: manifests first, then clips, AT_ONCE under way. `delay`: a random part of it.
        `coming`: clips that are being fetched for their own sake."""
        found: list[Effect] = []
        self._pause = {sha256: at for sha256, at in self._pause.items() if at > mono}
        for name, staged in self._kept.items():
            if len(self._fetching) >= AT_ONCE:
                return found
            if name not in self._maps and self._may(staged.sha256):
                self._fetching[staged.sha256] = None
                url = address(audio_base, staged.url, staged.sha256)
                wait = delay(staged.spread_ms)
                found.append(FetchManifest(name, staged.sha256, staged.size, url, wait))
        for clips in self._maps.values():
            for clip in clips.values():
                if len(self._fetching) >= AT_ONCE:
                    return found
                here = clip.sha256 in self._held or clip.sha256 in coming
                if not here and self._may(clip.sha256):
                    self._fetching[clip.sha256] = None
                    found.append(Fetch(clip, address(audio_base, clip.url, clip.sha256), 0, pinned=True))
        return found

    def line_is_new(self) -> None:
        """What failed for want of a line is tried again at once."""
        self._tries.clear()
        self._pause.clear()

    def next_try(self) -> int | None:
        """mono at which something that was put off is to be tried again."""
        return min(self._pause.values()) if self._pause else None

    # --- what goes ---

    def tidy(self, now: int) -> bool:
        """Drop what has expired and what complete newer sets say as well. Whether anything went."""
        gone = [name for name, staged in self._kept.items() if staged.expires <= now]
        gone += [name for name in self._maps if name not in gone and self._is_superseded(name)]
        for name in gone:
            self._drop(name)
        return bool(gone)

    def _is_superseded(self, name: str) -> bool:
        """Countdowns are called by their set and not by name, so they are never superseded."""
        clips = self._maps[name]
        if any(each.startswith(COUNTDOWN) for each in clips):
            return False
        return any(
            self._kept[other].issued > self._kept[name].issued
            and clips.keys() <= newer.keys()
            and all(clip.sha256 in self._held for clip in newer.values())
            for other, newer in self._maps.items()
        )

    def _drop(self, name: str) -> None:
        staged = self._kept.pop(name)
        self._fetching.pop(staged.sha256, None)
        for clip in self._maps.pop(name, _NOTHING).values():
            self._fetching.pop(clip.sha256, None)
        self.problems.pop(name, None)

    def _may(self, sha256: str) -> bool:
        return sha256 not in self._fetching and sha256 not in self._pause

    def _failed(self, sha256: str, mono: int) -> None:
        tries = self._tries[sha256] = self._tries.get(sha256, 0) + 1
        if tries >= TRIES:
            self._pause[sha256] = mono + PAUSE_MS
            self._tries.pop(sha256)


def address(audio_base: str, url: str, sha256: str) -> str:
    """Below the audio base, whatever `url` says."""
    return f"{audio_base.rstrip('/')}/{url.lstrip('/') or 'clips/' + sha256}"


def _worded(problem: str | None) -> str:
    """The host's word if it is one of the protocol's, else ``fetch`` and what it said."""
    text = problem or "malformed"
    known = text.split(" ", 1)[0] in ("hash-mismatch", "malformed", "expired", "lifetime", "device-busy")
    return text if known else f"fetch {text}"
