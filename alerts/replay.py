"""What a county would have heard: messages through `lifecycle` and `fatigue`, one after another. Pure.

For replays of recorded feeds: as if release let through whatever is not in doubt, and every loudspeaker
sounded. It keeps of the past only what can still matter, so that a year needs no more memory than a day.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from alerts import fatigue, hazards, lifecycle
from alerts.fatigue import Form, Message, Rules, Sounding, Verdict
from alerts.feed import Trust
from alerts.lifecycle import Cancel, Continuation, Decision, Duplicate, Known, New, State, Update
from alerts.model import Alert, MsgType, Severity


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one message."""

    alert: Alert
    at: datetime
    decision: Decision
    verdicts: dict[str, Verdict]
    """Per village; empty where the message is no warning, or is held."""
    cleared: frozenset[str] = frozenset()
    """Villages that hear the all-clear."""

    @property
    def form(self) -> Form | None:
        """The loudest in any village; None where nothing of it could sound."""
        return min((v.form for v in self.verdicts.values()), key=lambda form: form.rank, default=None)


@dataclass(slots=True)
class Rehearsal:
    """One county. `known` and `heard` are its memory."""

    rules: Rules = field(default_factory=Rules)
    known: list[Known] = field(default_factory=list)
    heard: dict[str, list[Sounding]] = field(default_factory=dict)

    def take(
        self,
        alert: Alert,
        villages: frozenset[str],
        now: datetime,
        *,
        trust: Trust = Trust.OFFICIAL,
        feed: str = "",
    ) -> Told:
        """`alert`, which names `villages` of the county, comes at `now`; times must not run backwards."""
        self.forget(now)
        decision = lifecycle.classify(alert, self.known, now, villages=villages, trust=trust, feed=feed)
        held = bool(decision.doubt)
        state = lifecycle.settled(alert, decision, held=held)
        verdicts: dict[str, Verdict] = {}
        cleared: frozenset[str] = frozenset()
        if not held:
            cleared = self._ended(decision, now)
            over = State.CANCELLED if isinstance(decision, Cancel) else State.SUPERSEDED
            self.known = [
                replace(item, state=over)
                if item.identifier in decision.withdraws and item.state in (State.HELD, State.RELEASED)
                else item
                for item in self.known
            ]
            if isinstance(decision, New | Update | Continuation):
                verdicts = self._say(alert, decision, villages, now)
        if not isinstance(decision, Duplicate):
            self.known.append(lifecycle.remember(alert, decision, villages, state, trust=trust, feed=feed))
        for village in cleared:
            last = self.heard[village][-1]
            self.heard[village].append(
                replace(last, at=now, event=decision.event_key, form=Form.FULL, all_clear=True)
            )
        return Told(alert, now, decision, verdicts, cleared)

    def _say(
        self, alert: Alert, decision: Decision, villages: frozenset[str], now: datetime
    ) -> dict[str, Verdict]:
        main = alert.main
        fast = hazards.by_key(main.hazard).lane is hazards.Lane.FAST
        first = isinstance(decision, New) or (isinstance(decision, Update) and decision.first)
        said = fatigue.words(main.instruction)
        news = lifecycle.is_news(decision)
        extreme = main.severity is Severity.EXTREME
        message = Message(now, decision.event_key, main.hazard, main.colour, news, fast, extreme, first, said)
        verdicts = fatigue.judge_all(message, villages, self.heard, self.rules)
        for village, verdict in verdicts.items():
            if verdict.form is not Form.SILENT:
                self.heard.setdefault(village, []).append(
                    Sounding(
                        now,
                        decision.event_key,
                        main.hazard,
                        main.colour,
                        verdict.form,
                        until=lifecycle.ends_at(alert),
                        instruction=said,
                    )
                )
        return verdicts

    def _ended(self, decision: Decision, now: datetime) -> frozenset[str]:
        """Villages that heard of what `decision` ends, and are told so."""
        if isinstance(decision, Cancel) and not decision.silent:
            named = frozenset[str]().union(
                *(item.village_keys for item in self.known if item.identifier in decision.withdraws)
            )
        else:
            named = decision.ends if isinstance(decision, Update) else frozenset()
        if not named:
            return named
        ended = {item.identifier for item in self.known if item.identifier in decision.withdraws}
        kinds = {item.hazard for item in self.known if item.identifier in ended}
        # What another event of the same hazard is in force for is not over.
        still = frozenset[str]().union(
            *(
                item.village_keys
                for item in self.known
                if item.hazard in kinds
                and item.event_key != decision.event_key
                and item.state is State.RELEASED
                and item.msg_type is not MsgType.CANCEL
                and item.end > now
            )
        )
        told = {}
        for village in named:
            of = [item for item in self.heard.get(village, ()) if item.event == decision.event_key]
            told[village] = bool(of) and not of[-1].all_clear
        return frozenset(village for village, owed in told.items() if owed) - still

    def forget(self, now: datetime) -> None:
        """Lets go of what cannot matter any more; `take` does so, and who is quiet for long should."""
        self.known = [item for item in self.known if lifecycle.matters(item, now)]
        events = {item.event_key for item in self.known}
        for village, soundings in list(self.heard.items()):
            kept = [item for item in soundings if item.at > now - fatigue.DAY or item.event in events]
            if kept:
                self.heard[village] = kept
            else:
                del self.heard[village]
