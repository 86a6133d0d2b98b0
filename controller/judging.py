"""Judging: what a message is to what we know, whom it concerns here, and what would be broadcast of it. Pure.

Decides nothing and stores nothing: feeds, operators and previews ask the same and get the same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from alerts import intensity, lifecycle
from alerts.area import Cut, cut
from alerts.feed import Trust
from alerts.lifecycle import Cancel, Continuation, Decision, Known, Update
from alerts.model import Alert, AlertError, Colour, MsgType, Scope
from alerts.regions import County
from config.schema import Config
from controller import naming
from controller.planning import Plan, Stage, beside, plan_alert
from controller.release import Auto, Hold, decide
from terminals.broadcast import Kind
from terminals.fleet import Fleet

_TRUSTS: Final = list(Trust)


@dataclass(frozen=True, slots=True)
class Judged:
    """A message, what it is to what we know, and what would be broadcast of it."""

    decision: Decision
    villages: frozenset[str]
    plan: Plan | None
    """None where nothing of it can sound."""
    elsewhere: tuple[str, ...] = ()
    """Its areas, where all of them lie in other counties: normal for a provincial or national feed."""
    alert: Alert | None = None
    """The message as it concerns this county; None: as it came."""


class Judging:
    def __init__(self, config: Config, county: County, fleet: Callable[[], Fleet], kinds: Set[Kind]) -> None:
        """`fleet`: the enrolled terminals as they stand. `kinds`: those whose keys are loaded; in drill mode
        there is no actual key."""
        self._config = config
        self._county = county
        self._fleet = fleet
        self.kinds = kinds

    def trust(self, feed: str) -> Trust:
        """How far the words of a configured feed go. Whose official sender nothing proves is no better than
        a relay of it; our own operators are official, and so is a feed configured no more: what it brought is
        ended by nobody below."""
        settings = next((f for f in self._config.feeds if f.name == feed), None)
        if settings is None or (settings.official and settings.authenticated != "none"):
            return Trust.OFFICIAL
        return max(settings.trust, Trust.RELAY, key=_TRUSTS.index)

    def judge(
        self, alert: Alert, known: Sequence[Known], now: datetime, *, feed: str = "", narrow: bool = False
    ) -> Judged:
        """What this message of `feed` is and what would come of it; decides nothing, stores nothing.
        `narrow`: its feed declares that shapes narrow codes."""
        alert = self.here(alert, now, narrow)
        areas = [self.area(account, now, narrow) for account in _accounts(alert)]
        area = areas[0] if areas else None
        villages = frozenset[str]().union(*(found.village_keys for found in areas))
        trust = self.trust(feed)
        decision = lifecycle.classify(alert, known, now, villages=villages, trust=trust, feed=feed)
        plan = None
        if area is not None:
            stage: Stage = "first"
            if isinstance(decision, Update) and not decision.first:
                stage = "update"
            elif isinstance(decision, Continuation):
                stage = "continuation"
            elif isinstance(decision, Cancel):
                stage = "cancel"
            plan = self._plan(alert, Kind.ACTUAL, stage, areas, narrow=narrow)
            if area.until is not None and plan.expires <= now:
                over = "the earthquake has passed every village here: to take cover is of no use any more"
                plan = replace(plan, problems=(*plan.problems, over))
            if alert.main.quake is not None:
                before = next((k.village_keys for k in known if k.identifier == decision.of), None)
                if before is not None:
                    changed = intensity.change(before, villages)
                    plan = replace(plan, why=(*plan.why, f"after {decision.of}: {changed.text}"))
            if isinstance(decision, Update | Continuation) and stage != "first":
                last = next((k.colour for k in known if k.identifier == decision.of), plan.colour)
                falls = _is_milder(plan.colour, last) and stage != "cancel"
                plan = replace(
                    plan,
                    script=replace(plan.script, stage="downgrade", was=last) if falls else plan.script,
                    news=lifecycle.is_news(decision) or bool(plan.also),
                    falls=falls,
                    # An earthquake's estimate swings within seconds: it takes nothing back.
                    ends=tuple(sorted(decision.ends))
                    if isinstance(decision, Update) and alert.main.quake is None
                    else (),
                )
        elsewhere = area.outside if area and not villages and not any(a.problems for a in areas) else ()
        return Judged(decision, villages, plan, elsewhere, alert)

    def plan(self, alert: Alert, kind: Kind, now: datetime, *, meant: bool = False) -> Plan:
        """What `Desk.send` would do, without doing it; `problems` are what it would refuse. `meant`: the
        operator says that an unusual share of the county is meant. Raises AlertError for a message that says
        nothing to anybody."""
        if not alert.infos:
            raise AlertError(
                "alert", "it has no info: nothing to say", "to end a warning: fenghuo alert cancel ID"
            )
        alert = self.here(alert, now)
        areas = [self.area(account, now) for account in _accounts(alert)]
        plan = self._plan(alert, kind, "first", areas, meant=meant)
        problems = [*plan.problems, *_unfit(alert, kind)]
        if plan.expires <= now:
            problems.append(f"it expired at {plan.expires.isoformat()}")
        if kind not in self.kinds:
            problems.append(f"mode: {self._config.mode}: this controller holds no {kind} key")
        return replace(plan, problems=tuple(problems))

    def siren_problems(self, alert: Alert, pattern: str, now: datetime) -> list[str]:
        """What `Desk.send` would refuse a siren for. Raises AlertError."""
        return [*self.plan(alert, Kind.EXERCISE, now).problems, *self.no_siren(pattern, Kind.EXERCISE)]

    def no_siren(self, pattern: str, kind: Kind) -> list[str]:
        """Why this siren of civil defence may not sound."""
        permit = self._config.sirens
        if kind is not Kind.EXERCISE:
            return [f"a siren of civil defence sounds in an exercise only, never as {kind}"]
        if permit is None:
            return ["the county's configuration permits no siren (sirens:)"]
        if pattern not in permit.patterns:
            return [f"siren {pattern} is not permitted; {', '.join(permit.patterns)}"]
        return []

    def release(self, judged: Judged, feed: str, doubts: Sequence[str]) -> Auto | Hold:
        assert judged.plan is not None
        if Kind.ACTUAL not in self.kinds:
            doubts = [*doubts, f"mode: {self._config.mode}: this controller holds no actual key"]
        return decide(judged.plan, feed, doubts, self._config.release)

    def area(self, alert: Alert, now: datetime, narrow: bool = False) -> Cut:
        """Whom it concerns here: who is in its area; of an earthquake that names none, who is shaken."""
        info, here, positions = alert.main, self._county, self._fleet().positions
        options = self._config.earthquake
        policy = intensity.Policy(options.threshold, options.magnitude_floor, options.zone)
        if info.quake is not None and intensity.sounds_by_intensity(info):
            return intensity.cut_quake(info.quake, here, now, policy, positions=positions)
        area = cut(info.areas, here, narrow=narrow, positions=positions)
        if info.quake is not None:
            return intensity.doubted(area, info.quake, here, now, policy.zone)
        return naming.proposed(area, alert, here) if area.empty and area.problems else area

    def _plan(
        self,
        alert: Alert,
        kind: Kind,
        stage: Stage,
        areas: Sequence[Cut],
        *,
        narrow: bool = False,
        meant: bool = False,
    ) -> Plan:
        """`areas`: one for each of the accounts of `alert`."""
        worst, *others = [
            plan_alert(
                account,
                kind,
                stage,
                area,
                county=self._county,
                terminals=self._fleet(),
                settings=self._config.broadcast,
                issuer=self._config.issuer,
                targeting=self._config.targeting,
                narrow=narrow,
                meant=meant,
            )
            for account, area in zip(_accounts(alert), areas, strict=True)
        ]
        return beside(worst, others)

    def here(self, alert: Alert, now: datetime, narrow: bool = False) -> Alert:
        """`alert` with what it says of this county alone, the worst first; as it is where that is nothing. It
        may say one thing here and another, worse or milder, elsewhere."""
        if len(alert.infos) < 2:
            return alert
        accounts = _accounts(alert)
        areas = [self.area(account, now, narrow) for account in accounts]
        ours = [a.main for a, area in zip(accounts, areas, strict=True) if not area.empty or area.problems]
        chosen = ours or [a.main for a in accounts]
        rest = [info for info in alert.infos if info.language != chosen[0].language]
        return replace(alert, infos=(*chosen, *rest))


def _is_milder(colour: Colour | None, than: Colour | None) -> bool:
    return than is not None and (colour is None or colour.rank > than.rank)


def _accounts(alert: Alert) -> list[Alert]:
    """One message for each of its accounts."""
    return [replace(alert, infos=(account,)) for account in alert.accounts]


def _unfit(alert: Alert, kind: Kind) -> list[str]:
    """Why an operator's document may not be sent as this kind. A real warning may be rehearsed; a test or an
    exercise never becomes a real warning (lesson: cap-composer sent Exercise + Public)."""
    found = []
    fit = {"Actual"} if kind is Kind.ACTUAL else {"Actual", kind.value.capitalize()}
    if alert.status.value not in fit:
        found.append(f"its status is {alert.status}; that cannot be sent as {kind}")
    if alert.scope is not Scope.PUBLIC:
        found.append(f"its scope is {alert.scope}, not Public")
    if alert.msg_type not in (MsgType.ALERT, MsgType.UPDATE):
        found.append(f"a message of type {alert.msg_type} is no warning; to end one: fenghuo alert cancel ID")
    return found
