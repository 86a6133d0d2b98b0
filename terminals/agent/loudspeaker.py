"""The queue at a loudspeaker: one sound at a time, the most urgent first.

Theory of operation. What may still sound is a `Live` in `lives`. `pump` looks at all of them at one moment:
what has expired goes, a device that is stuck is given up, what takes over ends what it replaces, and the most
urgent that is due is ordered, cutting what plays only if it is strictly more urgent. The device then says
`started`, `finished` or `broke`; a countdown and the generic sentence are ordered one repeat at a time, so
that the next is chosen anew. What is cut starts again from its beginning once it is the most urgent again.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from terminals.agent.effects import Effect, Silence, Sound
from terminals.agent.kept import Record
from terminals.agent.ledger import Ledger, Reason, by_hand, heard
from terminals.agent.shelf import Shelf
from terminals.delivery import FLOOR, RESUMED, State
from terminals.seal import KeyRole
from terminals.wire import Clip, Play

SIGNAL_S: Final = 10.0
"""No generated attention signal is longer than this; for the watch on the device alone."""
LEAD_MS: Final = 2_000
"""A Sound is ordered this long before its start, so that the device can be ready."""
START_MS: Final = 10_000
"""A device that has not started this long after it should is broken."""
SLACK_MS: Final = 30_000
"""A playing may take a quarter longer than its length and this; then the device is stuck."""

ROLE_RANK: Final = {role: rank for rank, role in enumerate(KeyRole)}
_FAST: Final = 0


def urgency(role: KeyRole, play: Play) -> tuple[int, ...]:
    """Smaller is more urgent. The kind that a command claims in its priority is not believed; the role of its
    key is."""
    return (ROLE_RANK[role], *play.priority[1:])


class _Part(Enum):
    """What the device was told to play."""

    MESSAGE = "message"
    COUNT = "count"
    """One repeat of a countdown: the next is chosen anew."""
    FLOOR = "floor"


class Live:
    """A record that may still sound; forgotten at a power cut and made again from the record."""

    __slots__ = (
        "clip",
        "deadline",
        "floor_at",
        "hand",
        "left",
        "order",
        "play",
        "problem",
        "ready",
        "record",
        "start",
    )

    def __init__(self, record: Record, play: Play, mono: int, now: int) -> None:
        self.record = record
        self.ready = False
        self.hand = False
        self.renew(play, mono, now)

    def renew(self, play: Play, mono: int, now: int) -> None:
        """This play from now on: a further attempt, while the generic sentence may already sound."""
        self.play = play
        self.clip = play.clips[0] if play.clips else None
        self.start = mono + max(play.not_before, play.play_at, now) - now
        """mono"""
        self.deadline = mono + play.expires - now
        """mono"""
        patience = 0 if play.priority[1] == _FAST else play.patience_ms
        self.floor_at = max(self.start, mono + patience)
        """mono from which the generic sentence may sound, if the message is not here"""
        self.left = play.repeats
        """Repeats of a countdown or of the generic sentence still to come."""
        self.problem: tuple[str, str] | None = None
        """Why the message will not come in this attempt; already reported."""
        self.order = (urgency(self.record.role, play), self.record.arrival)

    def due(self) -> int | None:
        """mono from which it may sound, None while it must wait for its clip or has no sound left."""
        if self.ready:
            return self.start
        return None if self.record.floored or self.play.silent else self.floor_at


class Loudspeaker:
    """The queue of one terminal and what its device is doing. Orders go to the end of `out`."""

    __slots__ = (
        "_ledger",
        "_out",
        "_part",
        "_playing",
        "_shelf",
        "_started",
        "_watch",
        "current",
        "last_sound",
        "lives",
    )

    def __init__(self, ledger: Ledger, shelf: Shelf, out: list[Effect]) -> None:
        self._ledger = ledger
        self._shelf = shelf
        self._out = out
        self.lives: dict[str, Live] = {}
        """By broadcast."""
        self.current: Live | None = None
        """What the device was told to play, started or not."""
        self._started = False
        self._part = _Part.MESSAGE
        self._playing: Clip | None = None
        """What `current` was told to play; None is the signal alone."""
        self._watch = 0
        """mono at which `current` is given up."""
        self.last_sound = 0
        """Wire ms of the last start of a sound."""

    # --- what comes into the queue ---

    def enter(self, record: Record, play: Play, mono: int) -> Live:
        """In the queue, with its window fixed on the monotonic clock."""
        live = self.lives.get(record.broadcast)
        if live is None:
            live = self.lives[record.broadcast] = Live(record, play, mono, self._ledger.now(mono))
        else:
            live.renew(play, mono, self._ledger.now(mono))
        return live

    def sound_by_hand(self, record: Record, play: Play, mono: int) -> None:
        """A standing message, because a hand wants it."""
        live = self.enter(record, play, mono)
        live.hand = True
        record.hand += 1
        record.floored = False
        self._ledger.dirty = True
        live.ready = self.has_message(live, mono)

    def ready(self, live: Live, mono: int) -> None:
        """Its message can sound."""
        live.ready = True
        self._ledger.fact(live.record, State.READY, "", mono)

    def lacks(self, live: Live, reason: str, mono: int, detail: str) -> None:
        """The message will not come in this attempt. Said at once, so that another may be made; meanwhile
        the generic sentence sounds, once."""
        live.ready = False
        live.problem = (reason, detail)
        live.floor_at = min(live.floor_at, max(live.start, mono))
        self._ledger.fact(live.record, State.FAILED, reason, mono, detail)
        if live.record.floored or live.play.silent:
            self._end(live, mono)

    def has_message(self, live: Live, mono: int) -> bool:
        return self._shelf.has_message(live.clip, live.play, mono)

    # --- whatever is due ---

    def pump(self, mono: int) -> None:
        """Expire, replace, watch, preempt, start: whatever is due at `mono`."""
        if not self.lives:
            return
        for live in list(self.lives.values()):
            if mono >= live.deadline and not (live is self.current and self._started):
                self.quiet(live)
                self._end(live, mono)
        current = self.current
        if current is not None and mono >= self._watch:
            self.give_up(current, State.FAILED, Reason.STUCK if self._started else Reason.NO_START, mono)
        for live in list(self.lives.values()):
            # Not before it can take over: if its clip never arrives, the older words are all there is.
            if live.play.replaces and live.ready and live.start <= mono and self._is_live(live):
                self._take_over(live, mono)
        current = self.current
        if current is not None and current.ready and self._part is _Part.FLOOR and not self._started:
            self.quiet(current)  # the message is here before its stand-in began
        best = self._most_urgent(mono)
        if best is None:
            return
        current = self.current
        at = best.due()
        assert at is not None
        if current is not None:
            if at > mono or not self._cuts(best, current):
                return
            self.quiet(current)
            current.left = current.play.repeats
            if self._started:
                current.record.sounding = False
                current.record.resumes = True
                self._ledger.fact(current.record, State.PREEMPTED, heard(current.record), mono)
        self._order(best, max(at, mono))

    def _most_urgent(self, mono: int) -> Live | None:
        """What may begin now, or is about to."""
        best: Live | None = None
        for live in list(self.lives.values()):
            if live is self.current:
                continue
            if live.ready and not self.has_message(live, mono):
                live.ready = False  # its clip has gone from the disk
                if live.clip is not None:
                    self._shelf.seek(live.clip, live.play)
            at = live.due()
            if at is None or at > mono + (LEAD_MS if live.ready else 0):
                continue
            if best is None or live.order < best.order:
                best = live
        return best

    def _order(self, live: Live, at: int) -> None:
        """Tell the device: the message, one repeat of a countdown, or the generic sentence."""
        play, record = live.play, live.record
        clip, repeats, signal = live.clip, play.repeats, ""
        self._part = _Part.MESSAGE
        if not live.ready:
            self._part = _Part.FLOOR
            clip, repeats = self._shelf.generic(record.role, play, at), 1
            signal = play.signal if clip is None else ""
        elif (count := self._shelf.count(play, at)) is not None:
            self._part = _Part.COUNT
            clip, repeats = count, 1
        self.current = live
        self._playing = clip
        self._started = False
        self._watch = at + START_MS
        volume = 0 if play.silent else play.volume
        self._out.append(Sound(record.broadcast, clip, repeats, volume, at, live.deadline, signal))

    @staticmethod
    def _cuts(new: Live, playing: Live) -> bool:
        """Strictly more urgent cuts; equals queue."""
        return new.order[0] < playing.order[0]

    def _is_live(self, live: Live) -> bool:
        return self.lives.get(live.record.broadcast) is live

    def _take_over(self, live: Live, mono: int) -> None:
        for broadcast in live.play.replaces:
            old = self.lives.get(broadcast)
            if old is not None and old is not live and old.record.role == live.record.role:
                self.give_up(old, State.CANCELLED, Reason.REPLACED, mono)

    def next_wake(self, mono: int) -> int | None:
        """mono of the next moment at which something here may be due; `mono` is that of the last call."""
        wake: int | None = None
        for live in self.lives.values():
            if live is self.current:
                at = self._watch if self._started else min(self._watch, live.deadline)
            else:
                at = live.deadline
                if (due := live.due()) is not None and due > mono:
                    at = min(at, due - LEAD_MS if due - LEAD_MS > mono else due)
            if wake is None or at < wake:
                wake = at
        return wake

    # --- what the device says ---

    def started(self, broadcast: str, mono: int) -> None:
        live = self.current
        if live is not None and live.record.broadcast == broadcast and not self._started:
            if mono >= live.deadline:
                self.quiet(live)
                self._end(live, mono)
            else:
                self._sounds(live, mono)

    def _sounds(self, live: Live, mono: int) -> None:
        self._started = True
        if not live.play.silent:
            self.last_sound = self._ledger.now(mono)
        record, clip, part = live.record, self._playing, self._part
        seconds = SIGNAL_S if clip is None else clip.seconds
        repeats = live.play.repeats if part is _Part.MESSAGE else 1
        self._watch = mono + int(seconds * repeats * 1250) + SLACK_MS
        completes = part is _Part.MESSAGE or (part is _Part.COUNT and live.left <= 1)
        if record.completes != completes or not record.sounding:
            record.completes, record.sounding = completes, True
            self._ledger.dirty = True
        if part is _Part.FLOOR:
            reason = FLOOR
        elif live.hand:
            reason = by_hand(record)
        else:
            reason = heard(record) or (RESUMED if record.resumes else "")
        self._ledger.fact(record, State.PLAYING, reason, mono)

    def finished(self, broadcast: str, mono: int) -> None:
        record = self._ledger.durable.records.get(broadcast)
        live = self.lives.get(broadcast)
        is_current = live is not None and live is self.current and self._started
        if live is not None and is_current and self._part is not _Part.MESSAGE and live.left > 1:
            live.left -= 1
            self.current = None
        elif live is not None and is_current and self._part is _Part.FLOOR:
            self._floor_is_over(live, mono)
        elif record is not None and record.completes and self._is_unplayed(record, live):
            self._played(record, live, mono)

    def _floor_is_over(self, live: Live, mono: int) -> None:
        """The generic sentence was heard; the message is still waited for, unless it will not come."""
        self.current = None
        record = live.record
        record.floored, record.sounding = True, False
        self._ledger.dirty = True
        if live.hand:
            del self.lives[record.broadcast]
        elif live.problem is not None:
            self._end(live, mono)
        else:
            live.left = live.play.repeats

    @staticmethod
    def _is_unplayed(record: Record, live: Live | None) -> bool:
        if live is not None and live.hand:
            return True
        if record.play is not None and record.play.standing:
            return False
        return not any(f.state == State.PLAYED and f.attempt == record.attempt for f in record.facts)

    def _played(self, record: Record, live: Live | None, mono: int) -> None:
        hand = live is not None and live.hand
        self._ledger.fact(record, State.PLAYED, by_hand(record) if hand else heard(record), mono)
        if not hand:
            record.outcome = State.PLAYED
        record.sounding = record.completes = False
        self._ledger.dirty = True
        if live is not None:
            del self.lives[record.broadcast]
            if live is self.current:
                if not self._started:  # cut, ordered again, and only now heard to have been over
                    self.quiet(live)
                self.current = None

    def broke(self, broadcast: str, mono: int, reason: str, detail: str) -> None:
        live = self.lives.get(broadcast)
        if live is None:
            return
        clip = self._playing if live is self.current else None
        if reason == Reason.DECODE and clip is not None:
            self._undecodable(live, clip, mono, detail)
        else:
            self._settle(live, State.FAILED, reason, mono, detail)

    def _undecodable(self, live: Live, clip: Clip, mono: int, detail: str) -> None:
        """The clip is no sound; something else still is: another clip, the signal."""
        self._shelf.spoilt(clip)
        self.current = None
        live.record.sounding = False
        self._ledger.dirty = True
        if self._part is not _Part.FLOOR and not self.has_message(live, mono):
            self.lacks(live, Reason.DECODE, mono, detail)

    # --- what leaves it ---

    def give_up(self, live: Live, state: State, reason: str, mono: int) -> None:
        """Silent now, and for good."""
        self.quiet(live)
        self._settle(live, state, reason, mono)

    def quiet(self, live: Live) -> None:
        if live is self.current:
            self._out.append(Silence(live.record.broadcast))
            self.current = None

    def _end(self, live: Live, mono: int) -> None:
        """Its time is over, or nothing of it is left to sound."""
        if live.problem is None:
            self._settle(live, State.EXPIRED, "", mono)
        else:
            reason, detail = live.problem
            self._settle(live, State.FAILED, reason, mono, detail)

    def _settle(self, live: Live, state: State, reason: str, mono: int, detail: str = "") -> None:
        record = live.record
        if not live.hand or state in (State.CANCELLED, State.EXPIRED):
            record.outcome = state
        record.sounding = False
        self._ledger.dirty = True
        self._ledger.fact(record, state, reason, mono, detail)
        del self.lives[record.broadcast]
        if live is self.current:
            self.current = None
