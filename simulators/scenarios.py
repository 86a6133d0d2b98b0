"""What is to happen to a simulated county, said beforehand: who is faulty, and how every terminal must end.

A scenario is a TOML file in the folder beside this one; warnings are templates there whose ``@…@`` are
filled in when they are sent.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

from alerts import formats
from alerts.area import cut
from alerts.model import AlertError, CodeScheme
from config.counties import Pack, load_county
from simulators.faults import Fault, outcome
from terminals.delivery import UNREACHED, State
from terminals.model import SIMULATED_PREFIX

_FOLDER: Final = Path(__file__).with_suffix("")
_BEIJING: Final = timezone(timedelta(hours=8))

# Nothing was heard of a terminal: before the broadcast expires it is `sent`, afterwards the controller
# records `expired/unreached`. To a scenario it is the same.
_SILENT: Final = frozenset({(State.SENT, ""), (State.EXPIRED, UNREACHED)})


class ScenarioError(Exception):
    """A scenario or warning that is not there or makes no sense: which, and what is wrong."""


def terminal_id(n: int) -> str:
    """The id of the simulated terminal of index `n`, from 0: ``sim-00001`` …"""
    return f"{SIMULATED_PREFIX}{n + 1:05d}"


def placed(pack: Pack, count: int) -> list[dict[str, object]]:
    """`count` simulated terminals as the operators' API registers them: the pack's own, and then round
    again over its villages. Raises ScenarioError for a pack without terminals."""
    if not pack.terminals:
        raise ScenarioError(f"the pack of {pack.county.name} has no terminals; import them, or take another")
    rows: list[dict[str, object]] = []
    for n in range(count):
        again, where = divmod(n, len(pack.terminals))
        at = pack.terminals[where]
        name = f"{at.name} {again + 1}" if again else at.name
        rows.append(
            {"id": terminal_id(n), "name": name, "village": at.village_key, "lat": at.lat, "lon": at.lon}
        )
    return rows


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    county: str
    """Name of the county pack."""
    terminals: int
    warning: str
    """Name of the warning's template."""
    faults: Mapping[str, Fault]
    """By terminal id; all others are healthy."""
    targeted: frozenset[str]
    """Terminals in the villages that the warning names."""

    def expected(self, terminal: str) -> tuple[State, str]:
        """(state, reason) of this terminal once the broadcast is over. Raises KeyError for a terminal
        that the warning does not reach."""
        if terminal not in self.targeted:
            raise KeyError(terminal)
        return outcome(self.faults.get(terminal))


def names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def warnings() -> tuple[str, ...]:
    return tuple(sorted(path.name for path in _FOLDER.glob("*.xml")))


def load(name: str, terminals: int | None = None, *, warning: str | None = None) -> Scenario:
    """The scenario `name`; with another number of terminals, or another of the shipped warnings, the same
    terminals are faulty as far as they are there. Raises ScenarioError, PackError."""
    path = _FOLDER / f"{name}.toml"
    if name not in names():
        raise ScenarioError(f"no scenario {name!r}; there are: {', '.join(names())}")
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
        count = int(said["terminals"]) if terminals is None else terminals
        pack = load_county(said["county"])
        rows = placed(pack, count)
        there = {str(row["id"]) for row in rows}
        faults = {t: Fault(f) for t, f in said["faults"].items() if t in there or terminals is None}
        if strangers := sorted(set(faults) - there):
            raise ScenarioError(f"{path.name}: {strangers[0]} is not one of its {count} terminals")
        chosen = str(said["warning"]) if warning is None else warning
    except (tomllib.TOMLDecodeError, KeyError, ValueError, TypeError) as error:
        raise ScenarioError(f"{path.name}: {type(error).__name__}: {error}") from error
    villages = _villages(chosen, pack)
    targeted = frozenset(str(row["id"]) for row in rows if row["village"] in villages)
    return Scenario(name, said["county"], count, chosen, faults, targeted)


def fill(warning: str, *, identifier: str, sent: datetime, expires: datetime) -> bytes:
    """The shipped template `warning` as a document of now. Raises ScenarioError; ValueError for times
    without a zone."""
    if warning not in warnings():
        raise ScenarioError(f"no warning {warning!r}; there are: {', '.join(warnings())}")
    if sent.tzinfo is None or expires.tzinfo is None:
        raise ValueError("a time without a zone")
    text = (_FOLDER / warning).read_text(encoding="utf-8").replace("@IDENTIFIER@", identifier)
    for mark, moment in (("SENT", sent), ("EXPIRES", expires)):
        local = moment.astimezone(_BEIJING).replace(microsecond=0)
        text = text.replace(f"@{mark}@", local.isoformat())
        text = text.replace(f"@{mark}_CN@", local.strftime("%Y-%m-%d %H:%M:%S"))
    return text.encode()


def check(summary: Mapping[str, Any], scenario: Scenario) -> list[str]:
    """What differs between a broadcast's outcome (the API's BroadcastOut as JSON) and what the scenario
    says of every terminal, one line each; empty means exactly as expected."""
    wrong: list[str] = []
    entries = [
        (str(row["terminal"]), str(row["state"]), str(row["reason"])) for row in summary["not_reached"]
    ]
    for terminal, times in Counter(entry[0] for entry in entries).items():
        if times > 1:
            wrong.append(f"{terminal}: is listed {times} times")
    missed = {terminal: (state, reason) for terminal, state, reason in entries}
    for terminal in sorted(set(missed) - scenario.targeted):
        wrong.append(f"{terminal}: {_words(missed[terminal])}; the warning was not for it")
    for terminal in sorted(scenario.targeted):
        wanted = scenario.expected(terminal)
        found = missed.get(terminal, (State.PLAYED, ""))
        if found != wanted and not (found in _SILENT and wanted in _SILENT):
            fault = scenario.faults.get(terminal)
            wrong.append(
                f"{terminal}: {_words(found)}; {_words(wanted)} was expected"
                + (f" of {fault}" if fault else "")
            )
    played = sum(scenario.expected(t)[0] is State.PLAYED for t in scenario.targeted)
    for word, wanted_count in (("targeted", len(scenario.targeted)), ("played", played)):
        if summary["total"][word] != wanted_count:
            wrong.append(f"{summary['total'][word]} {word}; {wanted_count} were expected")
    return wrong


def _words(ending: tuple[str, str]) -> str:
    return "/".join(part for part in ending if part)


def _villages(warning: str, pack: Pack) -> frozenset[str]:
    now = datetime.now(_BEIJING)
    body = fill(warning, identifier="scenario", sent=now, expires=now + timedelta(hours=1))
    try:
        alert = formats.parse(body, formats.Reading(CodeScheme.MCA), now=now)
    except AlertError as error:
        raise ScenarioError(f"{warning}: {error}") from error
    named = cut([area for info in alert.infos for area in info.areas], pack.county)
    if named.empty or named.problems:
        raise ScenarioError(f"{warning}: names nobody here: {'; '.join(named.problems) or 'no area'}")
    return named.village_keys
