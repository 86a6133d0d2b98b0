"""Release: may this sound without a person? A table, first match wins, nothing matches means hold. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from alerts import hazards
from config.schema import Action, Rule
from controller.planning import Plan


@dataclass(frozen=True, slots=True)
class Auto:
    rule: int
    """Number of the rule in the config, from 1, for the log and for `why`."""

    @property
    def text(self) -> str:
        return f"release rule {self.rule}"


@dataclass(frozen=True, slots=True)
class Hold:
    reasons: tuple[str, ...]
    """What an operator must look at; never empty."""

    @property
    def text(self) -> str:
        return "; ".join(self.reasons)


def decide(plan: Plan, feed: str, doubts: Sequence[str], table: Sequence[Rule]) -> Auto | Hold:
    """`doubts`: what lifecycle and intake found odd (a time in the future, catch-up after a restart). Any
    problem or doubt holds, whatever the table says; that `auto` names only official and authenticated feeds
    was checked when the config was loaded."""
    reasons = [*plan.problems, *doubts]
    if plan.hazard == hazards.UNKNOWN.key:
        reasons.append("its hazard is not one we know, so neither is what people should do")
    rule = next((n for n, rule in enumerate(table) if rule.matches(feed, plan.hazard, plan.colour)), None)
    if rule is None:
        reasons.append("no release rule matches")
    elif table[rule].action is Action.HOLD:
        reasons.append(f"release rule {rule + 1} says hold")
    if rule is None or reasons:
        return Hold(tuple(reasons))
    return Auto(rule + 1)


def decide_end(ended: Plan, feed: str, doubts: Sequence[str], table: Sequence[Rule]) -> Auto | Hold:
    """The table decides about a Cancel as about the warning that it ends: a stranger's silences as surely
    as a stranger's warning sounds. What spoke against sounding it does not speak against ending it."""
    return decide(replace(ended, problems=()), feed, doubts, table)
