"""Why one terminal is in a warning or not: the rule, code, edge distance or radius that decides. Pure.

It is judged by today's register and county pack; what was planned when the warning came stands beside it,
so that a terminal which was not there then is told apart from one that was left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

import numpy as np

from alerts import intensity
from alerts.area import Basis, Cut, Ground, Rule, cut
from alerts.model import Alert, Area, RegionCode
from alerts.regions import County, Resolved
from alerts.shapes import Points, Shape, distance_km
from controller.planning import Plan
from terminals.fleet import Fleet
from terminals.model import Terminal

Value = str | int | float
_MOST_CODES: Final = 8
_MOST_SHAPES: Final = 5


class Kind(StrEnum):
    """What decides; the command line has words for each, with these values."""

    CODE = "code"
    """`code` names its village, as part of `label`."""
    OTHER_CODE = "other_code"
    """`code` is `label`, but it stands in `township`."""
    NO_CODE = "no_code"
    """`code` names nothing here: `text`."""
    MORE_CODES = "more_codes"
    """`count` further codes do not name its village either."""
    INSIDE = "inside"
    """`km` inside the edge of `shape` of `area`."""
    OUTSIDE = "outside"
    """`km` beyond the edge of `shape` of `area`."""
    MEANT = "meant"
    """Its village is meant, wherever it stands: `text`."""
    EXCLUDED = "excluded"
    """`km` inside `shape` of `area`, which is taken away."""
    NARROWED = "narrowed"
    """`area` names its village by code, but its feed declares that shapes narrow codes."""
    UNPLACED = "unplaced"
    """Neither it nor its village nor its township has a position: no shape can reach it."""
    SHAKEN = "shaken"
    """`intensity` is estimated, `km` from the epicentre of M `magnitude`; warned is from `threshold` on."""
    NOT_SHAKEN = "not_shaken"
    """The same, below the threshold."""
    SMALL_QUAKE = "small_quake"
    """M `magnitude` is below the county's floor of `floor`."""
    PROBLEM = "problem"
    """What could not be used: `text`."""
    NOTHING = "nothing"
    """The message names no area: nobody can be in it."""
    NOT_ENROLLED = "not_enrolled"
    """It is registered and has never enrolled: it is sent nothing."""


@dataclass(frozen=True, slots=True)
class Because:
    kind: Kind
    values: Mapping[str, Value]


class Then(StrEnum):
    """Whether the plan that was made when the warning came has this terminal."""

    IN = "in"
    OUT = "out"
    NO_PLAN = "no_plan"
    """Nothing of the message can sound, so there was no plan."""


@dataclass(frozen=True, slots=True)
class Why:
    inside: bool
    """Whether today it would be sent this warning."""
    then: Then
    basis: str
    """Where it was taken to stand: ``own position``, or a `Basis` of its village; empty where only codes
    decide."""
    position: tuple[float, float] | None
    """(lat, lon) there."""
    because: tuple[Because, ...]
    """What decides first; then, for one that is out, how each other code and shape misses it."""


OWN: Final = "own position"


def why(
    alert: Alert,
    plan: Plan | None,
    terminal: Terminal,
    *,
    county: County,
    fleet: Fleet,
    now: datetime,
    quake: intensity.Policy,
) -> Why:
    """`fleet`: all terminals; `terminal` need not be enrolled. Raises KeyError for a terminal in a village
    that the county pack does not have."""
    if len(accounts := alert.accounts) > 1:  # the worst that names it is what it hears
        parts = [replace(alert, infos=(account,)) for account in accounts]
        told = [why(part, plan, terminal, county=county, fleet=fleet, now=now, quake=quake) for part in parts]
        return next((one for one in told if one.inside), told[0])
    planned = () if plan is None else (plan, *plan.also)
    then = Then.IN if any(terminal.id in part.terminals for part in planned) else Then.OUT
    if plan is None:
        then = Then.NO_PLAN
    basis, position = "", None
    found: list[Because]
    if not alert.infos:
        inside, found = False, [Because(Kind.NOTHING, {})]
    elif intensity.sounds_by_intensity(alert.main):
        place = _place(terminal, county, Ground.of(replace(county, boundary=()), fleet.positions), fleet)
        inside, found, basis, position = _shaken(alert, terminal, county, place, now, quake, fleet.positions)
    else:
        narrow = plan.narrow if plan is not None else False
        areas = alert.main.areas
        area = cut(areas, county, narrow=narrow, positions=fleet.positions)
        if area.target is None:
            inside = terminal.village in area.village_keys
            found = _by_codes(areas, terminal, county, inside)
        else:
            basis, position = _place(terminal, county, area.target.ground, fleet)
            inside, found = _by_rules(areas, area, terminal, county, position)
        if not inside:
            found += [Because(Kind.PROBLEM, {"text": text}) for text in area.problems]
    if not terminal.enrolled:
        found.insert(0, Because(Kind.NOT_ENROLLED, {}))
        inside = False
    return Why(inside, then, basis, position, tuple(found))


def _place(
    terminal: Terminal, county: County, ground: Ground, fleet: Fleet
) -> tuple[str, tuple[float, float] | None]:
    """Where it is taken to stand, and on what ground."""
    if terminal.lat is not None and terminal.lon is not None and terminal.id not in fleet.astray:
        return OWN, (terminal.lat, terminal.lon)
    row = ground.row[terminal.village]
    if ground.basis[row] is Basis.NOWHERE:
        return Basis.NOWHERE, None
    return ground.basis[row], (float(ground.points.lat[row]), float(ground.points.lon[row]))


# --- codes ---------------------------------------------------------------------------------------------


def _by_codes(areas: tuple[Area, ...], terminal: Terminal, county: County, inside: bool) -> list[Because]:
    """By the first code that names its village; else by all that do not."""
    codes = list(dict.fromkeys((code, area.description) for area in areas for code in area.codes))
    told = [_code(code, beside, terminal, county) for code, beside in codes]
    named = [because for because in told if because.kind is Kind.CODE]
    if inside:
        return named[:1]
    if not told:
        return [Because(Kind.NOTHING, {})]
    # The nearest by name first: what is resolved here says more than a code of another county.
    told.sort(key=lambda because: because.kind is not Kind.OTHER_CODE)
    if len(told) > _MOST_CODES:
        told[_MOST_CODES:] = [Because(Kind.MORE_CODES, {"count": len(told) - _MOST_CODES})]
    return told


def _code(code: RegionCode, beside: str, terminal: Terminal, county: County) -> Because:
    found = county.resolve(code, beside)
    if not isinstance(found, Resolved):
        return Because(Kind.NO_CODE, {"code": str(code), "text": found.text})
    named: dict[str, Value] = {"code": str(code), "label": found.label}
    if terminal.village in found.villages:
        return Because(Kind.CODE, named)
    village = county.village(terminal.village)
    return Because(Kind.OTHER_CODE, {**named, "township": county.township(village.township_key).name})


# --- shapes --------------------------------------------------------------------------------------------


def _by_rules(
    areas: tuple[Area, ...],
    area: Cut,
    terminal: Terminal,
    county: County,
    position: tuple[float, float] | None,
) -> tuple[bool, list[Because]]:
    assert area.target is not None
    row = np.array([area.target.ground.row[terminal.village]], np.intp)
    points = Points.of([position])
    misses: list[Because] = []
    for rule, source in zip(area.target.rules, areas, strict=True):
        reasons = list(_rule(rule, source, terminal, county, points, position))
        if rule.covers(row, points)[0]:
            return True, reasons
        misses += reasons
    return False, misses


def _rule(
    rule: Rule,
    area: Area,
    terminal: Terminal,
    county: County,
    points: Points,
    position: tuple[float, float] | None,
) -> Iterator[Because]:
    """What one area says about it: first what takes it away, then what takes it in, or how it is missed."""
    village = terminal.village
    # The nearest edges say enough: a country's warning has hundreds of polygons.
    shape_reasons = [_edge(shape, rule.name, position) for shape in rule.shapes] if position else []
    shape_reasons.sort(key=lambda b: (b.kind is not Kind.INSIDE, b.values["km"]))
    del shape_reasons[_MOST_SHAPES:]
    if not position and rule.shapes and village not in rule.points:
        shape_reasons = [Because(Kind.UNPLACED, {})]
    if village in rule.points:
        shape_reasons.insert(0, Because(Kind.MEANT, {"text": rule.points[village]}))
    takes = (Kind.INSIDE, Kind.MEANT)
    shaped = [because for because in shape_reasons if because.kind in takes]
    coded = _by_codes((area,), terminal, county, village in rule.codes) if area.codes else []
    for hole in rule.excluded:
        if position and hole.covers(points)[0]:
            yield Because(
                Kind.EXCLUDED, {"shape": hole.name, "area": rule.name, "km": abs(hole.edge_km(*position))}
            )
    if village in rule.codes and rule.narrow:
        if shaped:
            yield from (*coded, *shaped[:1])
        else:
            yield Because(Kind.NARROWED, {"area": rule.name})
            yield from shape_reasons
    elif village in rule.codes:
        yield from coded
    elif shaped and not rule.narrow:
        yield shaped[0]
    else:
        yield from shape_reasons
        yield from coded


def _edge(shape: Shape, area: str, position: tuple[float, float]) -> Because:
    km = shape.edge_km(*position)
    values: dict[str, Value] = {"shape": shape.name, "area": area, "km": abs(km)}
    return Because(Kind.INSIDE if shape.covers(Points.of([position]))[0] else Kind.OUTSIDE, values)


# --- earthquakes ---------------------------------------------------------------------------------------


def _shaken(
    alert: Alert,
    terminal: Terminal,
    county: County,
    place: tuple[str, tuple[float, float] | None],
    now: datetime,
    policy: intensity.Policy,
    positions: Mapping[str, tuple[float, float]],
) -> tuple[bool, list[Because], str, tuple[float, float] | None]:
    """An earthquake goes by village: all terminals of one that is shaken hear it."""
    shock = alert.main.quake
    assert shock is not None
    area = intensity.cut_quake(shock, county, now, policy, positions=positions)
    inside = terminal.village in area.village_keys
    basis, position = place
    if shock.magnitude < policy.magnitude_floor:
        small = {"magnitude": shock.magnitude, "floor": policy.magnitude_floor}
        return False, [Because(Kind.SMALL_QUAKE, small)], basis, position
    if position is None:
        found = [Because(Kind.UNPLACED, {})]
    else:
        felt = intensity.felt(shock, intensity.Places.at(position[0], position[1]), policy.zone)
        found = [
            Because(
                Kind.SHAKEN if inside else Kind.NOT_SHAKEN,
                {
                    "intensity": float(felt.intensity[0]),
                    "km": distance_km((shock.lat, shock.lon), position),
                    "magnitude": shock.magnitude,
                    "threshold": policy.threshold,
                },
            )
        ]
    if not inside:
        found += [Because(Kind.PROBLEM, {"text": text}) for text in area.problems]
    return inside, found, basis, position
