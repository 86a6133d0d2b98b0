"""What is to happen to a simulated county, said beforehand: who is faulty, and how every terminal must end.

A scenario is a TOML file, of the folder beside this one or anybody's; `docs/drills.md` has the format.
Warnings are templates there whose ``@…@`` are filled in when they are sent.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

import msgspec

from alerts import formats
from alerts.area import cut
from alerts.model import AlertError, CodeScheme
from alerts.regions import County, Unresolved
from alerts.shapes import distance_km
from config.counties import Pack, load_county
from simulators.faults import DEFAULT_SETTINGS, Fault, FaultSettings, Link, outcome
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
            {
                "id": terminal_id(n),
                "name": name,
                "village": at.village_key,
                "lat": at.lat,
                "lon": at.lon,
                "speaker": at.speaker,
            }
        )
    return rows


class Where(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which terminals: those of a township or village (as an operator types it) or within a circle; of these
    a share, drawn by the seed. Without a place: of the whole county."""

    place: str = ""
    circle: tuple[float, float, float] | None = None
    """Latitude, longitude, km."""
    share: float = 1.0


class Faulty(Where, frozen=True, forbid_unknown_fields=True, kw_only=True):
    fault: Fault


class BadLink(Where, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The values of `faults.Link`."""

    loss: float = 0.0
    duplicated: float = 0.0
    reordered: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    kbps: float = 0.0


class Chaos(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The figures of ``fenghuo drill chaos``."""

    links_gone: float = 0.3
    """Share of the lines that are cut."""
    planned_per_minute: float = 6.0
    """Documents that a county's feeds bring on a busy day; ours, for want of any published figure."""
    storm: float = 100.0
    """The storm is so many times that."""
    storm_s: float = 6.0
    """How long it has blown when the earthquake comes."""
    slower: float = 3.0
    """How much longer the fast lane may take in the storm than in the calm."""
    slack_s: float = 1.0
    """And this, for the machine that carries both worlds."""


DEFAULT_CHAOS: Final = Chaos()


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The values of `faults.FaultSettings`."""

    power_back_s: float = DEFAULT_SETTINGS.power_back_s
    lost_reports: int = DEFAULT_SETTINGS.lost_reports
    lost_commands: int = DEFAULT_SETTINGS.lost_commands
    slow_s: float = DEFAULT_SETTINGS.slow_s
    late_s: float = DEFAULT_SETTINGS.late_s
    reboots: int = DEFAULT_SETTINGS.reboots
    reboot_every_s: float = DEFAULT_SETTINGS.reboot_every_s
    drift: float = DEFAULT_SETTINGS.drift


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    county: str
    terminals: int
    warning: str
    seed: int = 0
    faults: dict[str, Fault] = {}
    faulty: tuple[Faulty, ...] = ()
    links: tuple[BadLink, ...] = ()
    settings: _Settings = _Settings()
    chaos: Chaos = Chaos()


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
    links: Mapping[str, Link] = field(default_factory=dict)
    """Bad links, by terminal id."""
    settings: FaultSettings = DEFAULT_SETTINGS
    chaos: Chaos = DEFAULT_CHAOS
    seed: int = 0

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


def load(
    name: str, terminals: int | None = None, *, warning: str | None = None, seed: int | None = None
) -> Scenario:
    """The scenario of this shipped name, or in this file; with another number of terminals, or another of the
    shipped warnings, the same terminals are faulty as far as they are there. `seed` replaces the file's.

    Raises ScenarioError (file:line: what is wrong), PackError."""
    path = _FOLDER / f"{name}.toml" if name in names() else Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"no scenario {name!r}; there are: {', '.join(names())}, or a file") from error
    try:
        said = msgspec.convert(tomllib.loads(text), _File)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path.name}: {error}") from error
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        raise ScenarioError(f"{path.name}:{_line(text, where.rstrip('`'))}: {message}") from error
    if said.terminals < 1:
        raise ScenarioError(
            f"{path.name}:{_line(text, '.terminals')}: terminals {said.terminals}: at least 1"
        )
    count = said.terminals if terminals is None else terminals
    pack = load_county(said.county, synthetic=True)
    rows = placed(pack, count)
    there = {str(row["id"]) for row in rows}
    if terminals is None and (strangers := sorted(set(said.faults) - there)):
        line = _line(text, f".faults.{strangers[0]}")
        raise ScenarioError(f"{path.name}:{line}: {strangers[0]} is not one of its {count} terminals")
    chosen = said.warning if warning is None else warning
    number = said.seed if seed is None else seed
    faults: dict[str, Fault] = {}
    links: dict[str, Link] = {}
    for n, faulty in enumerate(said.faulty):
        at = f"{path.name}:{_line(text, f'.faulty[{n}]')}"
        faults |= dict.fromkeys(_chosen(faulty, rows, pack.county, f"{number}.faulty.{n}", at), faulty.fault)
    faults |= {t: fault for t, fault in said.faults.items() if t in there}
    for n, bad in enumerate(said.links):
        at = f"{path.name}:{_line(text, f'.links[{n}]')}"
        try:
            link = Link(bad.loss, bad.duplicated, bad.reordered, bad.delay_s, bad.jitter_s, bad.kbps)
        except ValueError as error:
            raise ScenarioError(f"{at}: {error}") from error
        links |= dict.fromkeys(_chosen(bad, rows, pack.county, f"{number}.links.{n}", at), link)
    villages = _villages(chosen, pack)
    targeted = frozenset(str(row["id"]) for row in rows if row["village"] in villages)
    settings = FaultSettings(**msgspec.structs.asdict(said.settings))
    return Scenario(name, said.county, count, chosen, faults, targeted, links, settings, said.chaos, number)


def _chosen(
    where: Where, rows: Sequence[Mapping[str, Any]], county: County, seed: str, at: str
) -> Iterable[str]:
    """Terminals at this place, a share of them. Raises ScenarioError."""
    if not 0 <= where.share <= 1:
        raise ScenarioError(f"{at}: share {where.share}: from 0 to 1")
    if where.place and where.circle is not None:
        raise ScenarioError(f"{at}: a place or a circle, not both")
    inside = list(rows)
    if where.place:
        found = county.find(where.place)
        if isinstance(found, Unresolved):
            raise ScenarioError(f"{at}: {found.text}")
        inside = [row for row in rows if row["village"] in found.villages]
    elif where.circle is not None:
        *centre, km = where.circle
        inside = [row for row in rows if _is_near(row, county, (centre[0], centre[1]), km)]
    if not inside:
        # Of few terminals some places are empty; of all that the file names, none may be.
        if len(rows) < len(county.villages):
            return ()
        raise ScenarioError(f"{at}: no terminal stands there")
    dice = random.Random(seed)  # noqa: S311 - which terminals are faulty
    return dice.sample([str(row["id"]) for row in inside], round(where.share * len(inside)))


def _is_near(row: Mapping[str, Any], county: County, centre: tuple[float, float], km: float) -> bool:
    lat, lon = row["lat"], row["lon"]
    position = (lat, lon) if lat is not None else county.village(str(row["village"])).position
    return position is not None and distance_km(position, centre) <= km


def _line(text: str, path: str) -> int:
    """The line, from 1, at which ``.table[2].key`` stands; that of the nearest thing above it if it has none
    of its own."""
    lines = text.splitlines()
    found, first = 1, 0
    for name, number in re.findall(r"\.([^.\[]+)(?:\[(\d+)\])?", path.replace("[...]", "")):
        head = re.compile(rf"\s*\[\[?\s*{re.escape(name)}\s*\]")
        key = re.compile(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=")
        heads = [n for n, line in enumerate(lines) if head.match(line)]
        if heads:
            first = heads[min(int(number or 0), len(heads) - 1)]
            found = first + 1
            continue
        found = next((n + 1 for n in range(first, len(lines)) if key.match(lines[n])), found)
    return found


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
