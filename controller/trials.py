"""Tests of the loudspeakers that run by themselves: a thin loop around `controller.tests_schedule`.

One test at a time, and never beside anything that people must hear: while a real warning is held, voiced or
sent, or an exercise is on, a test is put off, and one that is running is stopped, because a "this is a test"
behind a real warning would take it back. All of it is stored before anything goes out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from alerts.fatigue import BEIJING
from alerts.regions import County, Unresolved
from config.schema import Config, Trial
from controller import tests_schedule as schedule
from controller.clock import moment, to_ms, wall_ms
from controller.compose import ComposeError, compose_alert
from controller.desk import Desk, Refused
from controller.store import Store, StoreError
from controller.store.records import AlertState, BroadcastState, Entry
from controller.tests_schedule import Begin, Run, RunState
from controller.web.models import Compose
from terminals import delivery
from terminals.broadcast import Kind

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0
VALID_MIN: Final = 15
"""How long a test may begin at a terminal: who is off must not play it an hour later."""
_ON: Final = (BroadcastState.VOICING, BroadcastState.SENDING)


class TrialError(Exception):
    """A test of the configuration that cannot run: which, and what to do."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One test as the operator sees it."""

    trial: Trial
    next: datetime
    waits: str
    """Why the one that is due does not begin; empty while nothing is due."""
    runs: tuple[Run, ...]
    """The last ones, newest first."""


class Trials:
    def __init__(
        self, config: Config, county: County, store: Store, desk: Desk, alarm: Callable[[str], None]
    ) -> None:
        """Raises TrialError for a township that the county does not have."""
        self._config = config
        self._county = county
        self._store = store
        self._desk = desk
        self._alarm = alarm
        self._waits: dict[str, str] = {}
        self._since: dict[str, datetime] = {}
        names = {unit.name for unit in county.townships}
        for trial in config.tests:
            for township in trial.townships:
                if township not in names:
                    found = county.find(township)
                    said = found.text if isinstance(found, Unresolved) else f"{township} is no township"
                    raise TrialError(f"tests: {trial.name}: {said}; in {county.name}: {'、'.join(names)}")

    async def run(self) -> None:
        """Looks every few seconds, and at once when a warning is held or sent; until cancelled."""
        while True:
            try:
                await self.look(moment(wall_ms()))
            except StoreError as error:
                self._alarm(f"tests: {error}")
            await self._desk.events.wait_changed(LOOK_S)

    async def planned(self, now: datetime) -> list[Planned]:
        """Every test of the configuration, with what became of its last runs."""
        runs = await self._store.trials()
        return [
            Planned(
                trial,
                schedule.following(trial, now),
                self._waits.get(trial.name, ""),
                tuple(runs.get(trial.name, ())),
            )
            for trial in self._config.tests
        ]

    async def look(self, now: datetime) -> None:
        """Does what is due at `now` (aware). Raises StoreError."""
        if not self._config.tests:
            return
        last = {name: runs[0] for name, runs in (await self._store.trials(1)).items()}
        await self._orphans(last)
        running = None
        for trial in self._config.tests:
            run = last.get(trial.name)
            if run is not None and run.state is RunState.RUNNING and not await self._follow(trial, run, now):
                running = trial.name
        last = {name: runs[0] for name, runs in (await self._store.trials(1)).items()}
        for trial in self._config.tests:
            self._waits.pop(trial.name, None)
            since = await self._known_since(trial, now)
            for step in schedule.due(trial, last.get(trial.name), since, now, self._config.fatigue.rules):
                if not isinstance(step, Begin):
                    await self._miss(trial, to_ms(step.slot), last.get(trial.name))
                elif running is not None:
                    self._waits[trial.name] = f"the test {running} is running"
                elif on := await self._on():
                    self._waits[trial.name] = on
                    await self._put_off(trial, to_ms(step.slot), last.get(trial.name), on)
                elif await self._begin(trial, to_ms(step.slot)):
                    running = trial.name

    # --- one test --------------------------------------------------------------------------------

    async def _begin(self, trial: Trial, slot: int) -> bool:
        """Whether it is on its way now."""
        now = wall_ms()
        run = Run(trial.name, slot, RunState.RUNNING, began=now)
        who = f"test:{trial.name}"
        # Before anything goes out: whatever kills us now, this slot does not begin a second time.
        await self._store.keep_trial(run, Entry(who, "test.begin", trial.name, trial.sound), now)
        try:
            places = list(trial.townships) or [self._county.name]
            words = Compose(hazard="notice", areas=places, valid_minutes=VALID_MIN)
            alert = compose_alert(words, Kind.TEST, self._county, self._config.issuer, moment(now))
        except ComposeError as error:
            await self._over(replace(run, state=RunState.MISSED, reason=str(error)))
            return False
        title = f"应急广播{'静默' if trial.sound == 'silent' else '有声'}测试（{trial.name}）"
        alert = replace(alert, infos=(replace(alert.main, event=title, headline=title),))
        volume = 0 if trial.sound == "silent" else trial.volume
        done = await self._desk.send(alert, Kind.TEST, who, meant=True, volume=volume)
        if isinstance(done, Refused):
            await self._over(replace(run, state=RunState.MISSED, reason="; ".join(done.reasons)))
            return False
        await self._store.keep_trial(replace(run, broadcast=done.broadcast), None, wall_ms())
        return True

    async def _follow(self, trial: Trial, run: Run, now: datetime) -> bool:
        """Whether it is over, or was stopped because something real is on."""
        if not run.broadcast:
            # Killed between the two: it may have gone out, and a second one is worse than none.
            reason = "the controller ended while it began; whether it was heard is in the list of broadcasts"
            await self._over(replace(run, state=RunState.MISSED, reason=reason))
            return True
        row = await self._store.broadcast(run.broadcast)
        on = await self._on() if row.state in _ON else ""
        if on:
            await self._desk.stop(run.broadcast, f"test:{trial.name}")
            late = now >= schedule.deadline(trial, moment(run.slot), self._config.fatigue.rules)
            state = RunState.MISSED if late else RunState.POSTPONED
            await self._over(replace(run, state=state, reason=f"stopped: {on}"))
            return True
        if row.state in _ON:
            return False
        planned, facts = await self._store.deliveries(run.broadcast)
        known: dict[str, dict[delivery.FactKey, delivery.FactValue]] = {}
        for fact in facts:
            known.setdefault(fact.terminal, {})[fact.key] = fact.value
        outcomes = {}
        for terminal, told in known.items():
            shown = delivery.shown(told)
            outcomes[terminal] = (shown.state.value, shown.reason)
        result = schedule.tally(outcomes, planned)
        run = replace(run, planned=result.planned, played=result.played, reason=result.text)
        stopped = row.state is BroadcastState.STOPPED
        if stopped:
            run = replace(run, reason=f"stopped by {row.stopped_by}; {result.text}".rstrip("; "))
        await self._over(replace(run, state=RunState.STOPPED if stopped else RunState.DONE))
        return True

    async def _put_off(self, trial: Trial, slot: int, last: Run | None, why: str) -> None:
        """Said once for each reason."""
        begun = last if last is not None and last.slot == slot else None
        if begun is None or begun.reason not in (why, f"stopped: {why}"):
            run = replace(begun or Run(trial.name, slot, RunState.POSTPONED), reason=why)
            entry = Entry(f"test:{trial.name}", "test.postponed", trial.name, why)
            await self._store.keep_trial(run, entry, wall_ms())
            log.warning("test %s is put off: %s", trial.name, why)

    async def _miss(self, trial: Trial, slot: int, last: Run | None) -> None:
        put_off = last is not None and last.slot == slot and last.state is RunState.POSTPONED
        why = last.reason if put_off and last is not None else "the controller was not running in time"
        began = last.began if put_off and last is not None else None
        broadcast = last.broadcast if put_off and last is not None else ""
        await self._over(Run(trial.name, slot, RunState.MISSED, why, began, broadcast=broadcast))

    async def _orphans(self, last: dict[str, Run]) -> None:
        """Runs of tests that are no longer in the configuration end here."""
        names = {trial.name for trial in self._config.tests}
        for name, run in last.items():
            if name not in names and run.state not in schedule.OVER:
                reason = "it is no longer in the configuration"
                await self._over(replace(run, state=RunState.MISSED, reason=reason))

    async def _over(self, run: Run) -> None:
        """Stored with its end; told where somebody must know."""
        run = replace(run, ended=wall_ms())
        detail = f"{run.state}: {run.played} of {run.planned} loudspeakers took part"
        if run.reason:
            detail += f": {run.reason}"
        await self._store.keep_trial(run, Entry(f"test:{run.test}", "test.over", run.test, detail), wall_ms())
        at = f"{moment(run.slot).astimezone(BEIJING):%Y-%m-%d %H:%M}"
        if run.state is RunState.MISSED:
            self._alarm(f"the test {run.test} of {at} was missed: {run.reason}")
        elif run.state is RunState.POSTPONED:
            log.warning("test %s of %s: %s", run.test, at, run.reason)
        elif run.state is RunState.DONE and run.played < run.planned:
            self._alarm(
                f"the test {run.test} of {at}: {run.planned - run.played} of {run.planned} loudspeakers did "
                f"not take part ({run.reason}); fenghuo broadcast show {run.broadcast}"
            )

    # --- what is on ------------------------------------------------------------------------------

    async def _on(self) -> str:
        """What people must hear, and would not tell from a test; empty when nothing."""
        for alert in await self._store.alerts(state=AlertState.HELD):
            if alert.kind == Kind.ACTUAL:
                return f"{alert.id} is held for a decision"
        rows: Sequence[str] = [
            f"{row.broadcast.id} ({row.broadcast.kind}) is on"
            for row in await self._store.broadcasts(states=_ON, limit=1000)
            if row.broadcast.kind is not Kind.TEST and not row.broadcast.standing
        ]
        return min(rows, default="")

    async def _known_since(self, trial: Trial, now: datetime) -> datetime:
        """When this controller first saw this very schedule; slots before that are nobody's."""
        known = self._since.get(trial.name)
        if known is None:
            key = f"test.{trial.name}"
            mark, _, since = ((await self._store.meta(key)) or "").rpartition("|")
            if mark == schedule.fingerprint(trial):
                known = moment(int(since))
            else:
                known = now
                await self._store.set_meta(key, f"{schedule.fingerprint(trial)}|{to_ms(now)}")
            self._since[trial.name] = known
        return known
