"""Held sets: clips that lie on the terminals before they are needed, and who holds which.

A set is a manifest (`terminals.wire.Manifest`) named by its hash. It is offered once to its groups, and at
every hello to whoever lacks it; terminals fetch by themselves, spread out, and say how far they are. A set
that is dropped is withdrawn in the same two ways; who still holds it is followed until it expires. Nothing
here makes a sound: a Stage is sealed by the service key.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from alerts.regions import County
from config.schema import Staging as Options
from controller.clock import wall_ms
from controller.store import Store, StoreError, Unknown
from controller.store.records import Entry, SetRow, StagedRow
from terminals import wire
from terminals.broadcast import Kind, Variant
from terminals.fleet import EVERYONE, groups_of
from terminals.model import Terminal
from terminals.seal import Signer
from terminals.transport import ToGroup, Transport, TransportError
from tts.library import ClipRecord

log = logging.getLogger(__name__)

FLOOR: Final = "floor"
QUAKE: Final = {Kind.ACTUAL: "quake", Kind.EXERCISE: "quake-exercise"}
EVENT: Final = "event:"
DAY_MS: Final = 24 * 3_600_000
# `terminals.agent.sets.MAX_STAGED_MS` is 400 days.
LASTING_MS: Final = 399 * DAY_MS
RENEW_MS: Final = 200 * DAY_MS
"""What is to be held for ever is offered anew when so much of its time is left."""
MOST_EVENTS: Final = wire.MAX_SETS - 4
"""A terminal that is offered more than it can hold drops the oldest: that must never be the floor. A set that
was dropped here stays on a terminal that is away, so it counts until it expires."""
STORE_EVERY_S: Final = 2.0
STORE_PAUSE_S: Final = 10.0
_LONGEST_SPREAD_MS: Final = 600_000
WORDS: Final = 200_000
"""Terminals' words that wait for the disk: more than 16 sets of 10,000 terminals. Above it the oldest are not
stored; a hello says the same again."""


class StagingError(Exception):
    """A set that cannot be placed: why."""


@dataclass(frozen=True, slots=True)
class HeldSet:
    row: SetRow
    manifest: wire.Manifest
    sha256: str

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def bytes(self) -> int:
        return sum(clip.size for clip in self.manifest.clips)


@dataclass(frozen=True, slots=True)
class Cover:
    """Who holds a set: in one township, or everywhere."""

    key: str
    name: str
    terminals: int
    """Enrolled, and meant to hold it."""
    whole: int
    """Hold all of it that fits them."""
    part: int
    silent: int
    """Have not said a word about it."""
    problems: Mapping[str, int]
    """Why it does not go on → how many."""


def named(name: str, record: ClipRecord, speaker: str = "") -> wire.StagedClip:
    """A clip of the library as an entry of a manifest."""
    return wire.StagedClip(
        name,
        record.language,
        record.codec,
        speaker,
        record.sha256,
        record.size,
        record.seconds,
        f"/clips/{record.sha256}.{record.codec}",
    )


class Staging:
    def __init__(
        self,
        store: Store,
        transport: Transport,
        service: Signer,
        now: Callable[[], int],
        alarm: Callable[[str], None],
        options: Options,
        terminals: Callable[[], Iterable[Terminal]],
        county: County,
    ) -> None:
        """`now`: wire time, ms. `terminals`: the register's."""
        self._store = store
        self._transport = transport
        self._service = service
        self._now = now
        self._alarm = alarm
        self._options = options
        self._terminals = terminals
        self._county = county
        self._sets: dict[str, HeldSet] = {}
        self._envelopes: dict[str, bytes] = {}
        self._events: dict[str, int] = {}
        """Every set of an event that may still be on terminals → when it expires there."""
        self._words: dict[str, dict[str, StagedRow]] = {}
        """Set → terminal → its last word."""
        self._dropped: dict[str, HeldSet] = {}
        """Sets that are not to be held any more, and may still be on terminals."""
        self._unstored: dict[tuple[str, str], StagedRow] = {}
        """(set, terminal) → its last word, as long as the disk does not have it; oldest first."""
        self.lost = 0
        """Words that were not stored, because too many waited for the disk."""
        self._wake = asyncio.Event()

    def seal_with(self, service: Signer) -> None:
        """From now on: the service key has changed."""
        self._service = service
        self._envelopes.clear()

    async def load(self) -> None:
        """What the store knows. Once, before anything else."""
        rows, words = await self._store.sets()
        now = self._now()
        for row in rows:
            if row.expires > now:
                self._take(row)
        gone, before = await self._store.sets(dropped=True)
        for row in gone:
            if row.expires > now:
                self._dropped[row.id] = _held_set(row)
                if row.purpose.startswith(EVENT):
                    self._events[row.id] = row.expires
        for word in (*words, *before):
            if word.set in self._sets or word.set in self._dropped:
                self._words.setdefault(word.set, {})[word.terminal] = word

    async def run(self) -> None:
        """Stores what terminals say, until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(STORE_EVERY_S)
            self._wake.clear()
            rows, self._unstored = self._unstored, {}
            try:
                await self._store.keep_staged(list(rows.values()))
            except StoreError as error:
                log.warning("%s; it is kept in memory", error)
                newer = self._unstored
                self._unstored = {key: row for key, row in rows.items() if key not in newer} | newer
                self._bound()
                await asyncio.sleep(STORE_PAUSE_S)
                self._wake.set()

    # --- placing ---------------------------------------------------------------------------------

    async def place(
        self,
        purpose: str,
        clips: Sequence[wire.StagedClip],
        groups: Sequence[str] = (EVERYONE,),
        *,
        expires: int | None = None,
        who: str = "controller",
    ) -> HeldSet:
        """These clips are held by these groups from now on, in place of what had this purpose. `expires`:
        wire ms; None: for ever, renewed in time. The same set again, with time enough left, is not offered
        again. Raises StagingError, StoreError."""
        now = self._now()
        try:
            body = wire.encode_manifest(wire.Manifest(tuple(clips)))
            wire.decode_manifest(body)
        except wire.WireError as error:
            raise StagingError(f"{purpose}: {error}") from error
        sha256 = hashlib.sha256(body).hexdigest()
        set_id = wire.set_id(sha256)
        old = self._sets.get(set_id)
        until = min(expires if expires is not None else now + LASTING_MS, now + LASTING_MS)
        enough = old is not None and (old.row.expires >= until or old.row.expires - now > RENEW_MS)
        if old is not None and enough and set(groups) <= set(old.row.groups):
            return old
        if purpose.startswith(EVENT):
            self._events = {name: at for name, at in self._events.items() if at > now}
            if set_id not in self._events and len(self._events) >= MOST_EVENTS:
                raise StagingError(
                    f"{len(self._events)} sets of events are out, and terminals hold no more; the next one "
                    "expires in "
                    f"{(min(self._events.values()) - now) // 60_000} min"
                )
        row = SetRow(set_id, purpose, body, tuple(groups), now, until)
        size = f"{len(clips)} clips, {sum(c.size for c in clips)} bytes"
        await self._store.place_set(row, Entry(who, "stage.place", set_id, f"{purpose}: {size}"), wall_ms())
        for other in [s for s in self._sets.values() if s.row.purpose == purpose and s.id != set_id]:
            self._let_go(other, now)
        held = self._take(row)
        await self.offer(set_id)
        return held

    async def offer(self, set_id: str) -> None:
        """Tells all its groups of it, once; whoever does not hear it is told at its next hello. Raises
        Unknown."""
        await self._tell(self.one(set_id))

    async def _tell(self, held: HeldSet) -> None:
        for group in held.row.groups:
            try:
                envelope = self._envelope(held)
                await self._transport.send(ToGroup(group), envelope, lifetime_s=3_600, sure=False)
            except TransportError as error:
                log.info("%s is not told yet (%s); each terminal hears of it at its hello", held.id, error)
                return

    async def drop(self, set_id: str, who: str) -> HeldSet:
        """Nobody is to hold it any more: its groups are told to forget it, and whoever does not hear that at
        the next hello. Raises Unknown, StoreError."""
        held = self.one(set_id)
        await self._store.drop_set(set_id, Entry(who, "stage.drop", set_id), wall_ms())
        gone = self._let_go(held, self._now())
        await self._tell(gone)
        return gone

    def _let_go(self, held: HeldSet, now: int) -> HeldSet:
        self._sets.pop(held.id, None)
        self._envelopes.pop(held.id, None)
        gone = replace(held, row=replace(held.row, dropped=now))
        self._dropped = {name: one for name, one in self._dropped.items() if one.row.expires > now}
        self._words = {n: w for n, w in self._words.items() if n in self._sets or n in self._dropped} | {
            held.id: self._words.get(held.id, {})
        }
        self._dropped[held.id] = gone
        return gone

    def _take(self, row: SetRow) -> HeldSet:
        held = self._sets[row.id] = _held_set(row)
        self._dropped.pop(row.id, None)
        self._envelopes.pop(row.id, None)
        if row.purpose.startswith(EVENT):
            self._events[row.id] = row.expires
        return held

    def _envelope(self, held: HeldSet) -> bytes:
        """Sealed once for all its terminals. Of a set that was dropped: the word to forget it."""
        found = self._envelopes.get(held.id)
        if found is None:
            row = held.row
            # A terminal forgets what was staged before this moment.
            gone = None if row.dropped is None else max(self._now(), row.created)
            stage = wire.Stage(
                set=row.id,
                sha256=held.sha256,
                size=len(row.manifest),
                url=f"/sets/{row.id}.json",
                issued=row.created if gone is None else gone,
                expires=row.expires if gone is None else gone,
                targets=wire.Targets(groups=row.groups),
                spread_ms=self._spread(held),
            )
            found = self._envelopes[row.id] = self._service.seal(stage)
        return found

    def _spread(self, held: HeldSet) -> int:
        """Over how long its terminals spread their fetching, so that all of them together stay below the
        configured rate: ten minutes at most."""
        terminals = sum(1 for _ in self._members(held))
        # Only what fits is fetched: per name about one of its variants.
        names = max(1, len({clip.name for clip in held.manifest.clips}))
        each = held.bytes * names // len(held.manifest.clips)
        return int(min(_LONGEST_SPREAD_MS, each * terminals * 8 / (self._options.megabits * 1000)))

    # --- what terminals say ----------------------------------------------------------------------

    def owed(self, hello: wire.Hello, groups: Sequence[str]) -> list[bytes]:
        """What a terminal that has said hello is to be offered: sets that it should hold and does not name.
        One that it names it knows of, and fetches by itself."""
        now = self._now()
        found = []
        lacks: set[str] = set()
        for held in self._sets.values():
            if held.row.expires <= now or not set(held.row.groups) & set(groups):
                continue
            missing = hello.sets.get(held.id)
            if missing != 0:
                lacks.add(held.row.purpose)
            if missing is None:
                found.append(self._envelope(held))
            elif missing == 0:
                before = self._words.get(held.id, {}).get(hello.terminal)
                if before is None or before.held < before.wanted or before.wanted == 0:
                    wanted = max(1, before.wanted if before else 1)
                    self._word(StagedRow(held.id, hello.terminal, wanted, wanted, "", now))
        for held in self._dropped.values():
            if held.id in hello.sets and held.row.purpose not in lacks:  # what takes its place is there
                found.append(self._envelope(held))
            elif held.id not in hello.sets and self._still(held.id, hello.terminal):
                self._word(StagedRow(held.id, hello.terminal, 0, 0, "", now))
        return found

    def heard(self, staged: wire.Staged, now: int) -> None:
        """A terminal's word about a set."""
        if staged.set in self._sets or staged.set in self._dropped:
            self._word(
                StagedRow(staged.set, staged.terminal, staged.wanted, staged.held, staged.problem, now)
            )

    def _word(self, row: StagedRow) -> None:
        self._words.setdefault(row.set, {})[row.terminal] = row
        key = (row.set, row.terminal)
        self._unstored.pop(key, None)  # what it said before does not count any more
        self._unstored[key] = row
        self._bound()
        self._wake.set()

    def _bound(self) -> None:
        if (over := len(self._unstored) - WORDS) <= 0:
            return
        if not self.lost:
            self._alarm(
                f"the disk takes no words about held sets; the oldest of more than {WORDS} are dropped"
            )
        self.lost += over
        for key in list(itertools.islice(self._unstored, over)):
            del self._unstored[key]

    def _still(self, set_id: str, terminal: str) -> bool:
        """Whether its last word is that it holds this set, or is about to."""
        word = self.word_of(set_id, terminal)
        return word is not None and (word.wanted > 0 or word.held > 0)

    # --- what is there ---------------------------------------------------------------------------

    def one(self, set_id: str) -> HeldSet:
        """Raises Unknown."""
        held = self._sets.get(set_id)
        if held is None:
            raise Unknown(f"no set {set_id}; see: fenghuo stage list")
        return held

    def sets(self) -> list[HeldSet]:
        """Those that are to be held now, in the order in which they were placed."""
        now = self._now()
        return [held for held in self._sets.values() if held.row.expires > now]

    def dropped(self) -> list[tuple[HeldSet, int]]:
        """Sets that were dropped, with how many terminals still hold them by their last word; none that
        nobody holds."""
        now = self._now()
        counts = ((held, self.still(held)) for held in self._dropped.values() if held.row.expires > now)
        return [(held, count) for held, count in counts if count]

    def still(self, held: HeldSet) -> int:
        """How many terminals hold it, by the last word of each."""
        return sum(self._still(held.id, terminal) for terminal in self._words.get(held.id, ()))

    def of(self, purpose: str) -> HeldSet | None:
        return next((held for held in self.sets() if held.row.purpose == purpose), None)

    def countdown(self, kind: Kind) -> str:
        """Id of the set whose clips count down to an earthquake of this kind; empty: there is none."""
        held = self.of(QUAKE[kind]) if kind in QUAKE else None
        return held.id if held is not None else ""

    def held(self, kind: Kind, hazard: str, stage: str = "first") -> tuple[Variant, ...]:
        """The clips that say at once what a hazard's first word is: its own, else that of any hazard. Empty
        where no set has one."""
        floor = self.of(FLOOR)
        if floor is None:
            return ()
        for name in (f"floor/{kind}/{hazard}/{stage}", f"floor/{kind}/*/{stage}"):
            found = tuple(
                Variant(c.language, c.codec, c.sha256, c.size, c.seconds, c.speaker)
                for c in floor.manifest.clips
                if c.name == name
            )
            if found:
                return found
        return ()

    def body(self, set_id: str) -> bytes:
        """The manifest as it is served. Raises Unknown."""
        return self.one(set_id).row.manifest

    def pinned(self) -> set[str]:
        """Hashes of all clips that terminals may still want to fetch."""
        return {clip.sha256 for held in self.sets() for clip in held.manifest.clips}

    def _members(self, held: HeldSet) -> Iterable[Terminal]:
        groups = set(held.row.groups)
        for terminal in self._terminals():
            if terminal.enrolled and groups & set(groups_of(terminal.village, self._county)):
                yield terminal

    def cover(self, set_id: str) -> tuple[Cover, list[Cover]]:
        """Who holds it: everywhere, and per township with the worst first. Raises Unknown."""
        held = self.one(set_id)
        words = self._words.get(set_id, {})
        by_township: dict[str, list[StagedRow | None]] = {}
        for terminal in self._members(held):
            township = self._county.village(terminal.village).township_key
            by_township.setdefault(township, []).append(words.get(terminal.id))
        rows = [_cover(key, self._county.township(key).name, found) for key, found in by_township.items()]
        rows.sort(key=lambda c: (c.whole / max(1, c.terminals), c.key))
        every = [word for found in by_township.values() for word in found]
        return _cover("", self._county.name, every), rows

    def missing(self, terminal: Terminal) -> int | None:
        """How many sets it should hold and does not, or not all of; None where there is none for it."""
        groups = set(groups_of(terminal.village, self._county))
        wanted = [held.id for held in self.sets() if groups & set(held.row.groups)]
        words = [self.word_of(set_id, terminal.id) for set_id in wanted]
        whole = sum(word is not None and word.wanted > 0 and word.held >= word.wanted for word in words)
        return len(wanted) - whole if wanted else None

    def word_of(self, set_id: str, terminal: str) -> StagedRow | None:
        return self._words.get(set_id, {}).get(terminal)


def _held_set(row: SetRow) -> HeldSet:
    return HeldSet(row, wire.decode_manifest(row.manifest), hashlib.sha256(row.manifest).hexdigest())


def _cover(key: str, name: str, words: Sequence[StagedRow | None]) -> Cover:
    said = [word for word in words if word is not None]
    whole = sum(word.wanted > 0 and word.held >= word.wanted for word in said)
    problems: dict[str, int] = {}
    for word in said:
        if word.problem and not (word.wanted > 0 and word.held >= word.wanted):
            kind = word.problem.split(" ")[0]
            problems[kind] = problems.get(kind, 0) + 1
    return Cover(key, name, len(words), whole, len(said) - whole, len(words) - len(said), problems)
