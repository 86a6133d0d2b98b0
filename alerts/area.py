"""Areas of a warning → the villages of the home county that they name, with the why of every line.

This version targets by division code only. Whatever it cannot use (a shape, a foreign code system, an
ambiguous code) is a problem that holds the warning for the operator: nothing is dropped silently and
nothing is ever widened.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from alerts.model import Area, RegionCode
from alerts.regions import County, Reason, Resolved


@dataclass(frozen=True, slots=True)
class Cut:
    """The part of a warning's area that lies in the home county."""

    village_keys: frozenset[str]
    lines: tuple[str, ...]
    """One per code: the code and its list, what it means, how many villages, or why none."""
    outside: tuple[str, ...]
    """What was cut off because it lies in another county, or reaches beyond this one. Normal."""
    problems: tuple[str, ...]
    """What the operator must judge before anything sounds."""

    @property
    def empty(self) -> bool:
        """Whether nobody in the county is named."""
        return not self.village_keys


def cut(areas: Iterable[Area], county: County) -> Cut:
    """The union of all `areas` (of every info that is meant), cut to `county`."""
    villages: set[str] = set()
    lines: list[str] = []
    outside: list[str] = []
    problems: list[str] = []
    seen: set[RegionCode] = set()
    areas = tuple(areas)
    if not areas:
        problems.append("the warning names no area")
    for area in areas:
        problems.extend(_unusable(area))
        for code in area.codes:
            if code in seen:
                continue
            seen.add(code)
            found = county.resolve(code)
            if isinstance(found, Resolved):
                villages |= found.villages
                note = f" ({found.note})" if found.note else ""
                lines.append(f"{code} = {found.label}: {len(found.villages)} villages{note}")
                if len(code.digits) < 6:
                    outside.append(found.note)
                if not found.villages:
                    problems.append(f"{code} = {found.label} has no villages on our list")
            else:
                lines.append(f"{code}: none, {found.text}")
                (outside if found.reason is Reason.OTHER_COUNTY else problems).append(found.text)
    return Cut(frozenset(villages), tuple(lines), _once(outside), _once(problems))


def _unusable(area: Area) -> list[str]:
    name = f"area {area.description[:40]!r}"
    found = []
    if area.polygons or area.circles:
        beside = "beside its codes" if area.codes else "and no code"
        found.append(
            f"{name} has {len(area.polygons)} polygon(s) and {len(area.circles)} circle(s) {beside}; "
            "shapes cannot be targeted yet, so check who it means"
        )
    for value_name, _ in area.other_codes:
        # EXCLUDE_POLYGON (DWD) takes away from the area, a national open polygon is a line: both change
        # who is meant.
        if "exclude" in value_name.casefold() or value_name == "line":
            found.append(f"{name} has a {value_name[:40]!r}, which cannot be used; check who it means")
    if not (area.codes or area.polygons or area.circles):
        others = ", ".join(f"{key[:40]}={value[:40]}" for key, value in area.other_codes[:5])
        found.append(f"{name} has no division code" + (f", only {others}" if others else ""))
    return found


def _once(texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
