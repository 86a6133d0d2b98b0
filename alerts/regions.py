"""Division codes and names of one county: what a code or a typed name means here, village by village.

Two national lists of township codes are in use and collide: in 1,305 counties the same nine digits mean
a different current township in the other list (`geo.md` §0.1). So a code is resolved with its list, an
untagged one only where both lists agree, and everything else comes back as `Unresolved` with words for
the operator. Inside the product a township or village has one internal key.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

from alerts.model import CodeScheme, Polygon, RegionCode

_V = TypeVar("_V")

NATION: Final = "10"
"""100000 is the whole country in the meteorological code list; no province has it."""
_TOWNSHIP_ENDS: Final = ("街道办事处", "街道", "民族乡", "苏木", "地区", "镇", "乡")
_COMMITTEES: Final = ("村民委员会", "居民委员会", "村委会", "居委会")
_COUNTY_ENDS: Final = ("自治县", "自治旗", "县", "旗", "市", "区")
_DIVISION_ENDS: Final = (*_COUNTY_ENDS, "省", "州", "盟")
_EXCEPT: Final = ("除", "不含", "不包括", "以外", "之外")
_BETWEEN: Final = re.compile(r"[\s、，,;；。/|（）()\[\]]+")


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

    `source` is ``mca``, ``nbs`` or ``former`` (an older edition). The name is shown; a former one is
    targeted only where a township has it as a name or old name and the text beside the code says so.
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
    doubt: str = ""
    """Why a person must look first: the text beside the code names what it means in the other list."""


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

    def resolve(self, code: RegionCode, beside: str = "") -> Resolved | Unresolved:
        """The villages that `code` names in this county; never more than it names.

        The declared list decides. A code without one that has several meanings is resolved only where
        `beside`, the words that stand with it (CAP's areaDesc), name exactly one of them; the note then
        says so. Else it is `Unresolved` with every meaning.
        """
        digits = strip_padding(code.digits)
        if len(digits) in (2, 4) or digits == self.code:
            return self._larger(digits)
        if len(digits) not in (6, 9, 12):
            return Unresolved(Reason.UNKNOWN_CODE, f"{digits or code.digits} is not a division code")
        if not digits.startswith(self.code):
            return Unresolved(
                Reason.OTHER_COUNTY,
                f"{digits} is another county, not {self.name} ({self.code})"
                if len(digits) == 6
                else f"{digits} belongs to county {digits[:6]}, not to {self.name} ({self.code})",
            )
        if len(digits) == 12:
            return self._village_code(digits)
        return self._township_code(digits, code.scheme, beside)

    def whole(self, note: str = "") -> Resolved:
        """Every village of the county."""
        return Resolved(frozenset(unit.key for unit in self.villages), f"{self.name}全县", None, note)

    def _larger(self, digits: str) -> Resolved | Unresolved:
        if digits.ljust(6, "0") == self.code:  # 4419 is 东莞市, which has no counties
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

    def _township_code(self, digits: str, scheme: CodeScheme, beside: str) -> Resolved | Unresolved:
        if scheme is not CodeScheme.UNKNOWN:
            listed = (self._mca if scheme is CodeScheme.MCA else self._nbs).get(digits)
            if listed is None:
                return Unresolved(Reason.UNKNOWN_CODE, self._unknown_text(digits, scheme))
            return self._of_township(listed, digits, beside)
        meanings = self._meanings_of(digits)
        identities = {identity for _, _, identity in meanings}
        current = any(source != "former" for source, _, _ in meanings)
        if current and len(identities) == 1:
            unit = self._township.get(min(identities))
            if unit is not None:
                return self._of_township(unit, digits, beside)
        said = identities & self._named_beside(beside)
        unit = self._township.get(min(said)) if len(said) == 1 else None
        if unit is not None:
            note = f"{_told_apart(digits, meanings)}; the text beside it says {unit.name}"
            return Resolved(self._within[unit.key], unit.name, unit.key, note)
        if current and len(identities) > 1:
            # A source that does not name its list may use either, or an older one: another valley.
            return Unresolved(
                Reason.AMBIGUOUS,
                f"{_told_apart(digits, meanings)}, and the source does not say which it uses; "
                "confirm by name, or declare the feed's list",
                tuple(dict.fromkeys(name for _, name, _ in meanings)),
            )
        return Unresolved(Reason.UNKNOWN_CODE, self._unknown_text(digits, scheme))

    def _meanings_of(self, digits: str) -> list[tuple[str, str, str]]:
        """(list, name, identity) of all that these nine digits mean or meant."""
        found = []
        for source, table in (("mca", self._mca), ("nbs", self._nbs), ("former", {})):
            unit = table.get(digits)
            name = unit.name if unit else self._meaning(digits, source)
            if name:
                found.append((source, name, unit.key if unit else self._identity(name)))
        return found

    def _identity(self, name: str) -> str:
        """Key of the one township with this name or old name; else the name itself, marked as no key."""
        units = [unit for unit in self.townships if unit.name == name] or [
            unit for unit in self.townships if name in unit.old_names
        ]
        return units[0].key if len(units) == 1 else f"?{name}"

    def _named_beside(self, text: str) -> set[str]:
        """Identities that `text` names beyond doubt: each stands at the beginning of a part of its own,
        after our own county at most. Empty where it excludes something or names another division."""
        if not text or any(word in text for word in _EXCEPT):
            return set()
        names = {name: self._identity(name) for name in self._township_names()}
        stems: dict[str, set[str]] = {}
        for name, identity in names.items():
            stems.setdefault(township_stem(name), set()).add(identity)
        above = (self.province, self.prefecture, self.name)
        found = set()
        for part in _BETWEEN.split(unicodedata.normalize("NFKC", text)):
            # A unit may itself be called 高阳县锦华街道, beside another called 锦华街道: then both are named.
            bare = part
            for larger in above:
                bare = bare.removeprefix(larger) if larger else bare
            for each in {part, bare}:
                longest = max((name for name in names if each.startswith(name)), key=len, default="")
                if longest:
                    found.add(names[longest])
                elif len(stems.get(each, ())) == 1:
                    found |= stems[each]
            if bare.endswith(_DIVISION_ENDS) and bare not in names and bare != county_stem(self.name):
                return set()
        return found

    def _township_names(self) -> Iterator[str]:
        for unit in self.townships:
            yield unit.name
            yield from unit.old_names
        yield from (item.name for item in self.meanings)

    def _unknown_text(self, digits: str, scheme: CodeScheme) -> str:
        which = {CodeScheme.MCA: "the MCA list", CodeScheme.NBS: "the NBS list"}.get(scheme, "either list")
        labels = {"mca": "MCA list", "nbs": "NBS list", "former": "former list"}
        hints = [f"in the {labels[source]} it is {name}" for source, name, _ in self._meanings_of(digits)]
        return f"{digits} is no township of {self.name} in {which}" + "".join(f"; {hint}" for hint in hints)

    def _meaning(self, digits: str, source: str) -> str:
        return next(
            (item.name for item in self.meanings if (item.digits, item.source) == (digits, source)), ""
        )

    def _of_township(self, unit: Township, digits: str = "", beside: str = "") -> Resolved:
        notes = []
        doubt = ""
        former = self._meaning(digits, "former")
        if former and self._identity(former) != unit.key:
            notes.append(f"an older list used {digits} for {former}")
        others = self._named_beside(beside)
        if others and unit.key not in others:
            names = (self._township[key].name if key in self._township else key[1:] for key in sorted(others))
            notes.append(f"but the text beside it names {'、'.join(names)}")
            meanings = self._meanings_of(digits)
            if any(identity in others for _, _, identity in meanings):
                doubt = f"{_told_apart(digits, meanings)}; {notes[-1]}"
        return Resolved(self._within[unit.key], unit.name, unit.key, "; ".join(notes), doubt)

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
        if typed == county_stem(self.name):
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
        if any(item.source == "former" and item.name == typed for item in self.meanings):
            return Unresolved(
                Reason.UNKNOWN_NAME,
                f"{typed} is a former unit of {self.name} that no township continues by itself; name the "
                "townships or villages of today",
            )
        for other in self.neighbours:
            if other != self.name and typed.startswith(other):
                if typed == other:
                    return Unresolved(Reason.OTHER_COUNTY, f"{typed} is another county, not {self.name}")
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
        if len(strip_padding(digits)) < 6 and strip_padding(digits).ljust(6, "0") != self.code:
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
            for name in (unit.name, *unit.old_names, f"{township_stem(unit.name)}/"):
                rest = typed.removeprefix(name)
                if rest != typed and (villages := self._villages_named(rest.lstrip("/"), unit.key)):
                    return self._one_village(villages, typed)
        villages = self._villages_named(typed, None)
        stems = [unit for unit in self.townships if township_stem(unit.name) == typed]
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


def _told_apart(digits: str, meanings: list[tuple[str, str, str]]) -> str:
    said = {source: (name, identity) for source, name, identity in meanings}
    mca, nbs, former = said.get("mca"), said.get("nbs"), said.get("former")
    if mca and nbs and mca[1] != nbs[1]:
        return f"{digits} is {mca[0]} in the MCA list (民政部) but {nbs[0]} in the NBS list (统计局)"
    today = mca or nbs
    where = f"{today[0]} today" if today else "in neither list today"
    return f"{digits} is {where}" + (f" but was {former[0]} in the older list" if former else "")


def township_stem(name: str) -> str:
    """三江镇 → 三江; a name that is only its ending stays as it is."""
    return _without(name, _TOWNSHIP_ENDS)


def county_stem(name: str) -> str:
    """舟曲县 → 舟曲; an autonomous county keeps the name of its people (门源回族)."""
    return _without(name, _COUNTY_ENDS)


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
