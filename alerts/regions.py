"""Division codes and names of one county: what a code or a typed name means here, village by village.

Two national lists of township codes are in use and collide: in 1,305 counties the same nine digits mean
a different current township in the other list (`geo.md` §0.1). So a code is resolved with its list, an
untagged one only where both lists agree, and everything else comes back as `Unresolved` with words for
the operator. Inside the product a township or village has one internal key.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

from alerts.model import CodeScheme, Polygon, RegionCode

_V = TypeVar("_V")

NATION: Final = "10"
"""100000 is the whole country in the meteorological code list; no province has it."""
_TOWNSHIP_ENDS: Final = ("街道办事处", "街道", "民族乡", "镇", "乡")
_COMMITTEES: Final = ("村民委员会", "居民委员会", "村委会", "居委会")
_COUNTY_ENDS: Final = ("自治县", "自治旗", "县", "旗", "市", "区")


@dataclass(frozen=True, slots=True)
class Township:
    """`mca` and `nbs` are its nine digits in either list, None where that list lacks it."""

    key: str
    name: str
    mca: str | None
    nbs: str | None
    old_names: tuple[str, ...] = ()
    position: tuple[float, float] | None = None
    """(lat, lon) of its seat, WGS-84."""


@dataclass(frozen=True, slots=True)
class Village:
    """A village or community; `nbs` is its 12-digit code, which only the NBS list ever had."""

    key: str
    name: str
    nbs: str | None
    township_key: str
    position: tuple[float, float] | None = None
    """(lat, lon), WGS-84; None until the county has measured it."""
    population: int | None = None


@dataclass(frozen=True, slots=True)
class Meaning:
    """What nine digits of this county mean in a list where they are none of our townships.

    `source` is ``mca``, ``nbs`` or ``former`` (an older edition); the name is shown, never targeted.
    """

    digits: str
    source: str
    name: str


class Reason(StrEnum):
    OTHER_COUNTY = "other_county"
    UNKNOWN_CODE = "unknown_code"
    UNKNOWN_NAME = "unknown_name"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class Resolved:
    """What will be warned: keys of villages, a label in Chinese, and a note when it needs saying."""

    villages: frozenset[str]
    label: str
    township_key: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why nothing will be warned for it, in words an operator understands."""

    reason: Reason
    text: str
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class County:
    """One home county and its units. `code` is its six digits, the same in both lists.

    Raises ValueError when keys or codes repeat or a village names no township: such a pack would
    warn the wrong valley.
    """

    key: str
    code: str
    name: str
    townships: tuple[Township, ...]
    villages: tuple[Village, ...]
    province: str = ""
    prefecture: str = ""
    meanings: tuple[Meaning, ...] = ()
    neighbours: tuple[str, ...] = ()
    """Names of other counties that an operator might type."""
    boundary: tuple[Polygon, ...] = ()
    """Outline (WGS-84); empty where the pack has none."""
    _township: dict[str, Township] = field(init=False, repr=False, compare=False)
    _mca: dict[str, Township] = field(init=False, repr=False, compare=False)
    _nbs: dict[str, Township] = field(init=False, repr=False, compare=False)
    _village: dict[str, Village] = field(init=False, repr=False, compare=False)
    _by_key: dict[str, Village] = field(init=False, repr=False, compare=False)
    _within: dict[str, frozenset[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.code) != 6 or not (self.code.isascii() and self.code.isdigit()):
            raise ValueError(f"county code {self.code!r} is not six digits")
        keyed = _unique("township key", ((unit.key, unit) for unit in self.townships))
        by_key = _unique("village key", ((unit.key, unit) for unit in self.villages))
        within: dict[str, set[str]] = {key: set() for key in keyed}
        for village in self.villages:
            if village.township_key not in keyed:
                raise ValueError(
                    f"village {village.key} names township {village.township_key!r}, which is not there"
                )
            within[village.township_key].add(village.key)
        put = object.__setattr__
        put(self, "_township", keyed)
        put(self, "_by_key", by_key)
        put(self, "_mca", _unique("MCA code", ((unit.mca, unit) for unit in self.townships if unit.mca)))
        put(self, "_nbs", _unique("NBS code", ((unit.nbs, unit) for unit in self.townships if unit.nbs)))
        put(
            self,
            "_village",
            _unique("village code", ((unit.nbs, unit) for unit in self.villages if unit.nbs)),
        )
        put(self, "_within", {key: frozenset(keys) for key, keys in within.items()})

    # --- units ----------------------------------------------------------------------------------------

    def township(self, key: str) -> Township:
        """Raises KeyError."""
        return self._township[key]

    def village(self, key: str) -> Village:
        """Raises KeyError."""
        return self._by_key[key]

    def villages_of(self, township_key: str) -> frozenset[str]:
        """Village keys of a township. Raises KeyError."""
        return self._within[township_key]

    # --- codes -----------------------------------------------------------------------------------------

    def resolve(self, code: RegionCode) -> Resolved | Unresolved:
        """The villages that `code` names in this county; never more than it names."""
        digits = strip_padding(code.digits)
        if len(digits) in (2, 4) or digits == self.code:
            return self._larger(digits)
        if len(digits) not in (6, 9, 12):
            return Unresolved(Reason.UNKNOWN_CODE, f"{digits or code.digits} is not a division code")
        if not digits.startswith(self.code):
            return Unresolved(
                Reason.OTHER_COUNTY,
                f"{digits} belongs to county {digits[:6]}, not to {self.name} ({self.code})",
            )
        if len(digits) == 12:
            return self._village_code(digits)
        return self._township_code(digits, code.scheme)

    def whole(self, note: str = "") -> Resolved:
        """Every village of the county."""
        return Resolved(frozenset(unit.key for unit in self.villages), f"{self.name}全县", None, note)

    def _larger(self, digits: str) -> Resolved | Unresolved:
        if digits == self.code:
            return self.whole()
        if digits == NATION or self.code.startswith(digits):
            larger = "the whole country" if digits == NATION else self._name_of(digits)
            return self.whole(f"{digits} is {larger}; cut to {self.name}")
        return Unresolved(Reason.OTHER_COUNTY, f"{digits} does not contain {self.name} ({self.code})")

    def _name_of(self, digits: str) -> str:
        return (self.province if len(digits) == 2 else self.prefecture) or f"code {digits}"

    def _village_code(self, digits: str) -> Resolved | Unresolved:
        village = self._village.get(digits)
        if village is None:
            parent = self._nbs.get(digits[:9])
            where = f"; its first nine digits are {parent.name} in the NBS list" if parent else ""
            return Unresolved(Reason.UNKNOWN_CODE, f"{digits} is no village of {self.name}{where}")
        return self._of_village(village)

    def _township_code(self, digits: str, scheme: CodeScheme) -> Resolved | Unresolved:
        mca, nbs = self._mca.get(digits), self._nbs.get(digits)
        if scheme is CodeScheme.UNKNOWN:
            in_mca = mca.name if mca else self._meaning(digits, "mca")
            in_nbs = nbs.name if nbs else self._meaning(digits, "nbs")
            found = mca or nbs
            former = self._meaning(digits, "former")
            if found is not None and former and former not in (found.name, *found.old_names):
                # A source that does not name its list may still use the older one: another valley.
                return Unresolved(
                    Reason.AMBIGUOUS,
                    f"{digits} is {found.name} today but was {former} in the older list, and the source does "
                    "not say which it uses; confirm by name, or declare the feed's list",
                    (found.name, former),
                )
            if found is not None and (in_mca == in_nbs or not (in_mca and in_nbs)):
                return self._of_township(found, digits)
            if in_mca and in_nbs and found is not None:
                return Unresolved(
                    Reason.AMBIGUOUS,
                    f"{digits} is {in_mca} in the MCA list (民政部) but {in_nbs} in the NBS list (统计局), "
                    "and the source does not say which it uses; confirm by name, or declare the feed's list",
                    (in_mca, in_nbs),
                )
        else:
            listed = mca if scheme is CodeScheme.MCA else nbs
            if listed is not None:
                return self._of_township(listed, digits)
        return Unresolved(Reason.UNKNOWN_CODE, self._unknown_text(digits, scheme))

    def _unknown_text(self, digits: str, scheme: CodeScheme) -> str:
        which = {CodeScheme.MCA: "the MCA list", CodeScheme.NBS: "the NBS list"}.get(scheme, "either list")
        hints = [
            f"in the {label} it is {name}"
            for label, name in (
                ("MCA list", self._mca[digits].name if digits in self._mca else self._meaning(digits, "mca")),
                ("NBS list", self._nbs[digits].name if digits in self._nbs else self._meaning(digits, "nbs")),
                ("former list", self._meaning(digits, "former")),
            )
            if name
        ]
        return f"{digits} is no township of {self.name} in {which}" + "".join(f"; {hint}" for hint in hints)

    def _meaning(self, digits: str, source: str) -> str:
        return next(
            (item.name for item in self.meanings if (item.digits, item.source) == (digits, source)), ""
        )

    def _of_township(self, unit: Township, digits: str = "") -> Resolved:
        former = self._meaning(digits, "former")
        note = ""
        if former and former != unit.name and former not in unit.old_names:
            note = f"an older list used {digits} for {former}"
        return Resolved(self._within[unit.key], unit.name, unit.key, note)

    def _of_village(self, village: Village) -> Resolved:
        township = self._township[village.township_key]
        return Resolved(frozenset((village.key,)), f"{township.name}{village.name}", township.key)

    # --- names -----------------------------------------------------------------------------------------

    def find(self, text: str) -> Resolved | Unresolved:
        """What an operator typed: a township, a village, ``township/village``, an old name or a code.

        A township goes with or without 镇/乡, a village without its committee, where that is unique.
        Anything else is `Unresolved`, with the names that look like it.
        """
        typed = "".join(text.replace("／", "/").split())
        digits = unicodedata.normalize("NFKC", typed)
        if digits.isascii() and digits.isdigit():
            return self._typed_code(digits)
        for above in (self.province, self.prefecture):
            if above and typed == above:
                return Unresolved(
                    Reason.UNKNOWN_NAME,
                    f"{typed} is larger than this county; for all of it type {self.name}",
                    (self.name,),
                )
            typed = typed.removeprefix(above)
        if typed in (self.name, "全县", f"{self.name}全县"):
            return self.whole()
        if typed == _without(self.name, _COUNTY_ENDS):
            unit = self._named(typed)
            if unit is None:
                return self.whole()
            # Taking 于田 for 于田县 where a 于田镇 exists would widen a typed township to the county.
            options = (
                (self.name, unit.label) if isinstance(unit, Resolved) else (self.name, *unit.suggestions)
            )
            return Unresolved(Reason.AMBIGUOUS, f"{typed} may be {' or '.join(options)}", options)
        typed = typed.removeprefix(self.name).lstrip("/")
        found = self._named(typed)
        if found is not None:
            return found
        for other in self.neighbours:
            if other != self.name and typed.startswith(other):
                return Unresolved(Reason.OTHER_COUNTY, f"{typed} lies in {other}, not in {self.name}")
        near = tuple(difflib.get_close_matches(typed, self._names(), n=3, cutoff=0.5))
        if not near and typed.endswith(_COUNTY_ENDS) and len(typed) > 1:
            return Unresolved(
                Reason.OTHER_COUNTY, f"{typed} is not {self.name}; only this county can be warned"
            )
        hint = f"; did you mean {' / '.join(near)}?" if near else ""
        return Unresolved(
            Reason.UNKNOWN_NAME, f"{self.name} has no place called {text.strip()[:40]!r}{hint}", near
        )

    def _typed_code(self, digits: str) -> Resolved | Unresolved:
        if len(digits) not in (6, 9, 12):
            return Unresolved(Reason.UNKNOWN_CODE, f"{digits[:20]} is not a code of 6, 9 or 12 digits")
        if len(strip_padding(digits)) < 6:
            return Unresolved(
                Reason.UNKNOWN_CODE,
                f"{digits} is larger than a county; for all of it type {self.name}",
                (self.name,),
            )
        found = self.resolve(RegionCode(CodeScheme.UNKNOWN, digits))
        if isinstance(found, Unresolved) and found.reason is Reason.UNKNOWN_CODE:
            codes = {code: unit.name for table in (self._mca, self._nbs) for code, unit in table.items()}
            near = tuple(
                f"{code} {codes[code]}" for code in difflib.get_close_matches(digits, codes, n=3, cutoff=0.85)
            )
            return Unresolved(found.reason, found.text, near)
        return found

    def _named(self, typed: str) -> Resolved | Unresolved | None:
        """A township by full, old or short name, then a village; None when nothing has that name."""
        for townships in (
            [unit for unit in self.townships if unit.name == typed],
            [unit for unit in self.townships if typed in unit.old_names],
        ):
            if townships:
                return self._one_township(townships, typed)
        for unit in self.townships:
            for name in (unit.name, *unit.old_names, f"{_without(unit.name, _TOWNSHIP_ENDS)}/"):
                rest = typed.removeprefix(name)
                if rest != typed and (villages := self._villages_named(rest.lstrip("/"), unit.key)):
                    return self._one_village(villages, typed)
        villages = self._villages_named(typed, None)
        stems = [unit for unit in self.townships if _without(unit.name, _TOWNSHIP_ENDS) == typed]
        if villages and stems:
            options = (*(unit.name for unit in stems), *self._options(villages))
            return Unresolved(Reason.AMBIGUOUS, f"{typed} may be {' or '.join(options)}", options)
        if stems:
            return self._one_township(stems, typed)
        return self._one_village(villages, typed) if villages else None

    def _one_township(self, units: list[Township], typed: str) -> Resolved | Unresolved:
        if len(units) > 1:
            options = tuple(unit.name for unit in units)
            return Unresolved(Reason.AMBIGUOUS, f"{typed} may be {' or '.join(options)}", options)
        found = self._of_township(units[0])
        if typed in units[0].old_names:
            return Resolved(found.villages, found.label, found.township_key, f"{typed} is now {found.label}")
        return found

    def _one_village(self, villages: list[Village], typed: str) -> Resolved | Unresolved:
        if len(villages) > 1:
            options = self._options(villages)
            return Unresolved(
                Reason.AMBIGUOUS,
                f"{len(villages)} villages are called {typed}: {', '.join(options)}",
                options,
            )
        return self._of_village(villages[0])

    def _options(self, villages: Iterable[Village]) -> tuple[str, ...]:
        return tuple(f"{self._township[unit.township_key].name}/{unit.name}" for unit in villages)

    def _villages_named(self, name: str, township_key: str | None) -> list[Village]:
        wanted = {name}
        for end in _COMMITTEES:  # 庙沟村村民委员会 and 庙沟村委会 are both 庙沟村
            if name.endswith(end):
                wanted |= {name.removesuffix(end), name.removesuffix(end) + "村"}
        return [
            unit
            for unit in self.villages
            if unit.name in wanted and township_key in (None, unit.township_key)
        ]

    def _names(self) -> Iterator[str]:
        for unit in self.townships:
            yield unit.name
            yield from unit.old_names
        for village in self.villages:
            yield village.name


def strip_padding(digits: str) -> str:
    """``623023101000`` → ``623023101``, ``620000000000`` → ``62``, in steps of 12-9-6-4-2 digits; all
    zeros → empty."""
    for length, shorter in ((12, 9), (9, 6), (6, 4), (4, 2), (2, 0)):
        if len(digits) == length and not digits[shorter:].strip("0"):
            digits = digits[:shorter]
    return digits


def _without(name: str, ends: tuple[str, ...]) -> str:
    """`name` without its generic ending, where something is left of it."""
    for end in ends:
        if name.endswith(end) and len(name) > len(end):
            return name.removesuffix(end)
    return name


def _unique(what: str, items: Iterable[tuple[str, _V]]) -> dict[str, _V]:
    found: dict[str, _V] = {}
    for key, value in items:
        if key in found:
            raise ValueError(f"{what} {key!r} is used twice")
        found[key] = value
    return found
