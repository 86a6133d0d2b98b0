"""Every code that means another township in the other national list, of every county: never guessed."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.model import CodeScheme, RegionCode
from alerts.regions import County, Reason, Resolved, Township, Unresolved, Village
from config.counties.build import township_keys
from config.counties.national import (
    Hazard,
    TownshipEntry,
    counties,
    former_units,
    hazards,
    meanings,
    townships,
)

GEO = Path(__file__).parents[2].parent / "shared" / "data" / "geo"
MCA, NBS, UNKNOWN = CodeScheme.MCA, CodeScheme.NBS, CodeScheme.UNKNOWN


@cache
def county(code: str) -> tuple[County, dict[str, TownshipEntry]]:
    """The county as a built pack has it, with one village in each township."""
    units = townships(code)
    keys = township_keys(len(units))
    entry = next(e for e in counties() if e.code == code)
    made = County(
        key="k",
        code=code,
        name=entry.name,
        townships=tuple(
            Township(key, unit.name, unit.mca, unit.nbs, (unit.nbs_name,) if unit.nbs_name else ())
            for key, unit in zip(keys, units, strict=True)
        ),
        villages=tuple(Village(f"{key}v01", f"{key}村", None, key) for key in keys),
        province=entry.province,
        prefecture=entry.prefecture,
        meanings=meanings(code),
    )
    return made, dict(zip(keys, units, strict=True))


def clashes() -> Iterator[tuple[str, Hazard]]:
    for entry in counties():
        for clash in hazards(entry.code):
            yield entry.code, clash


ALL = tuple(clashes())


def unit_of(code: str, found: Resolved | Unresolved) -> TownshipEntry:
    assert isinstance(found, Resolved), found
    assert found.township_key is not None
    assert found.villages == {f"{found.township_key}v01"}
    return county(code)[1][found.township_key]


def test_the_list_has_every_dangerous_code_that_was_found() -> None:
    crosswalk = GEO / "cn_townships_crosswalk_mca2025_nbs2023_nbs2016.csv"
    if not crosswalk.exists():
        pytest.skip("the shared geographic data is not on this machine")
    with crosswalk.open(encoding="utf-8", newline="") as stream:
        known = {
            (row["mca2025_code9"], row["name"], row["same_digits_in_nbs2023_mean"])
            for row in csv.DictReader(stream)
            if row["same_digits_in_nbs2023_mean"]
        }
    assert len(known) == 6003
    assert known <= {(clash.digits, clash.mca, clash.nbs) for _, clash in ALL}


def test_no_dangerous_code_is_ever_resolved_to_the_wrong_township() -> None:
    assert len(ALL) > 6000
    for code, clash in ALL:
        home = county(code)[0]
        assert unit_of(code, home.resolve(RegionCode(MCA, clash.digits))).mca == clash.digits
        assert unit_of(code, home.resolve(RegionCode(NBS, clash.digits))).nbs == clash.digits
        held = home.resolve(RegionCode(UNKNOWN, clash.digits))
        assert isinstance(held, Unresolved)
        assert held.reason is Reason.AMBIGUOUS
        assert {clash.mca, clash.nbs} <= set(held.suggestions)
        assert clash.mca in held.text
        assert clash.nbs in held.text


def test_the_name_beside_a_dangerous_code_decides_and_the_note_says_so() -> None:
    decided = 0
    for code, clash in ALL:
        home = county(code)[0]
        for name in (clash.mca, clash.nbs):
            for text in (name, f"{home.province}{home.prefecture}{home.name}{name}", f"{home.name} {name}。"):
                found = home.resolve(RegionCode(UNKNOWN, clash.digits), text)
                if isinstance(found, Resolved):
                    assert unit_of(code, found).name == name
                    assert name in found.note
                    decided += 1
        both = home.resolve(RegionCode(UNKNOWN, clash.digits), f"{clash.mca}、{clash.nbs}")
        neither = home.resolve(RegionCode(UNKNOWN, clash.digits), "全县大部")
        excluded = home.resolve(RegionCode(UNKNOWN, clash.digits), f"{clash.mca}除外")
        foreign = home.resolve(RegionCode(UNKNOWN, clash.digits), f"某某县 {clash.mca}")
        for open_question in (both, neither, excluded, foreign):
            assert isinstance(open_question, Unresolved), open_question
    # The rest are names that contain the other one or the county's own, and stay open.
    assert decided >= 0.999 * 6 * len(ALL)


@given(
    st.sampled_from(ALL), st.text(alphabet="镇乡街道、，县除外和 三江漩口白龙", max_size=12), st.booleans()
)
def test_no_text_beside_a_code_makes_it_a_township_that_it_never_was(
    case: tuple[str, Hazard], noise: str, named: bool
) -> None:
    code, clash = case
    text = f"{noise}、{clash.mca}" if named else noise
    found = county(code)[0].resolve(RegionCode(UNKNOWN, clash.digits), text)
    if isinstance(found, Resolved):
        assert unit_of(code, found).name in (clash.mca, clash.nbs)
        assert unit_of(code, found).name in text


def test_digits_that_the_list_of_2016_used_otherwise_are_never_guessed() -> None:
    checked = 0
    for entry in counties():
        home = county(entry.code)[0]
        current = {unit.mca: unit for unit in home.townships} | {unit.nbs: unit for unit in home.townships}
        for old in meanings(entry.code):
            today = current.get(old.digits)
            found = home.resolve(RegionCode(UNKNOWN, old.digits))
            if isinstance(found, Resolved):
                assert today is not None
                assert old.name in (today.name, *today.old_names)
            checked += 1
    assert checked > 500


def test_a_former_unit_that_no_township_continues_is_only_a_name() -> None:
    gone = [unit for entry in counties() for unit in former_units(entry.code)]
    renamed = [unit for unit in gone if unit.becomes]
    assert len(gone) > 6000
    assert len(renamed) > 1300
    for unit in renamed:
        shared, _, whole = unit.evidence.partition("/")
        assert 2 * int(shared) >= int(whole) > 0
