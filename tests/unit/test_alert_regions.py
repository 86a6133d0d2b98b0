from __future__ import annotations

import csv
from dataclasses import replace

import pytest
from alert_builders import ALL, COUNTY, SHARED

from alerts.area import cut
from alerts.model import Area, Circle, CodeScheme, Polygon, RegionCode
from alerts.regions import County, Meaning, Reason, Resolved, Township, Unresolved, Village

MCA, NBS, UNKNOWN = CodeScheme.MCA, CodeScheme.NBS, CodeScheme.UNKNOWN


def resolve(digits: str, scheme: CodeScheme = UNKNOWN) -> Resolved | Unresolved:
    return COUNTY.resolve(RegionCode(scheme, digits))


def villages(found: Resolved | Unresolved) -> frozenset[str]:
    assert isinstance(found, Resolved), found
    return found.villages


def reason(found: Resolved | Unresolved) -> Reason:
    assert isinstance(found, Unresolved), found
    return found.reason


@pytest.mark.parametrize(
    ("digits", "scheme", "expected"),
    [
        ("623023101", UNKNOWN, {"v3", "v4"}),
        ("623023101", MCA, {"v3", "v4"}),
        ("623023101000", NBS, {"v3", "v4"}),
        ("623023209", UNKNOWN, {"v7"}),
        ("623023209", MCA, {"v7"}),
        ("623023208", NBS, {"v7"}),
        ("623023208", UNKNOWN, {"v7"}),
        ("623023306", MCA, {"v9"}),
        ("623023306", NBS, {"v10"}),
        ("623023208200", UNKNOWN, {"v7"}),
        ("623023208200", MCA, {"v7"}),
        ("623023400", NBS, {"v11"}),
    ],
)
def test_a_code_is_what_its_own_list_says(digits: str, scheme: CodeScheme, expected: set[str]) -> None:
    assert villages(resolve(digits, scheme)) == expected


def test_an_untagged_colliding_code_is_ambiguous_and_shows_both_meanings() -> None:
    found = resolve("623023306")
    assert reason(found) is Reason.AMBIGUOUS
    assert isinstance(found, Unresolved)
    assert "三江镇" in found.text
    assert "漩口镇" in found.text
    assert found.suggestions == ("三江镇", "漩口镇")


def test_a_code_of_the_other_list_is_not_guessed_but_explained() -> None:
    found = resolve("623023208", MCA)
    assert reason(found) is Reason.UNKNOWN_CODE
    assert isinstance(found, Unresolved)
    assert "in the NBS list it is 南峪乡" in found.text


def test_a_unit_that_only_the_other_list_knows_makes_a_code_ambiguous() -> None:
    county = replace(COUNTY, meanings=(Meaning("623023209", "nbs", "某工业园区"),))
    found = county.resolve(RegionCode(UNKNOWN, "623023209"))
    assert reason(found) is Reason.AMBIGUOUS
    assert villages(county.resolve(RegionCode(MCA, "623023209"))) == {"v7"}


def test_a_code_that_meant_another_township_in_an_older_list_is_not_guessed() -> None:
    found = resolve("623023211")
    assert reason(found) is Reason.AMBIGUOUS
    assert isinstance(found, Unresolved)
    assert found.suggestions == ("八楞乡", "武坪乡")
    declared = resolve("623023211", MCA)
    assert isinstance(declared, Resolved)
    assert "武坪乡" in declared.note
    gone = resolve("623023202")
    assert isinstance(gone, Unresolved)
    assert "大峪乡" in gone.text


@pytest.mark.parametrize("digits", ["623023", "623023000000", "6230", "62", "10"])
def test_the_county_and_what_contains_it_are_the_whole_county(digits: str) -> None:
    found = resolve(digits)
    assert villages(found) == ALL
    assert isinstance(found, Resolved)
    assert found.label == "舟曲县全县"
    assert bool(found.note) == (digits not in ("623023", "623023000000"))


@pytest.mark.parametrize("digits", ["623022", "623022101", "610000", "6231", "623024101200"])
def test_another_countys_code_is_outside(digits: str) -> None:
    assert reason(resolve(digits)) is Reason.OTHER_COUNTY


@pytest.mark.parametrize("digits", ["623023999", "623023101999", "6230231", "", "000000"])
def test_an_unknown_code_is_unknown(digits: str) -> None:
    assert reason(resolve(digits)) is Reason.UNKNOWN_CODE


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("大川镇", {"v3", "v4"}),
        ("大川", {"v3", "v4"}),
        (" 大 川 镇 ", {"v3", "v4"}),
        ("甘肃省甘南藏族自治州舟曲县大川镇", {"v3", "v4"}),
        ("舟曲县/大川镇", {"v3", "v4"}),
        ("曲告纳乡", {"v6"}),
        ("石门坪村", {"v4"}),
        ("石门坪村村民委员会", {"v4"}),
        ("石门坪村委会", {"v4"}),
        ("立节镇/阳山村", {"v5"}),
        ("立节/阳山村", {"v5"}),
        ("曲告纳镇阳山村", {"v6"}),
        ("西城社区居民委员会", {"v1"}),
        ("623023101", {"v3", "v4"}),
        ("６２３０２３１０１", {"v3", "v4"}),
        ("623023101000", {"v3", "v4"}),
        ("623023101200", {"v3"}),
        ("623023", ALL),
        ("舟曲县", ALL),
        ("舟曲", ALL),
        ("全县", ALL),
    ],
)
def test_what_an_operator_types_is_found(typed: str, expected: set[str]) -> None:
    assert villages(COUNTY.find(typed)) == expected


def test_an_old_name_says_the_new_one() -> None:
    found = COUNTY.find("曲告纳乡")
    assert isinstance(found, Resolved)
    assert (found.label, found.note) == ("曲告纳镇", "曲告纳乡 is now 曲告纳镇")


@pytest.mark.parametrize(
    ("typed", "why", "suggested"),
    [
        ("阳山村", Reason.AMBIGUOUS, ("立节镇/阳山村", "曲告纳镇/阳山村")),
        ("大穿镇", Reason.UNKNOWN_NAME, ("大川镇",)),
        ("大川镇/阳山村", Reason.UNKNOWN_NAME, ()),
        ("宕昌县", Reason.OTHER_COUNTY, ()),
        ("迭部县电尕镇", Reason.OTHER_COUNTY, ()),
        ("文县", Reason.OTHER_COUNTY, ()),
        ("甘肃省", Reason.UNKNOWN_NAME, ("舟曲县",)),
        ("620000", Reason.UNKNOWN_CODE, ("舟曲县",)),
        ("623022101", Reason.OTHER_COUNTY, ()),
        ("623023306", Reason.AMBIGUOUS, ("三江镇", "漩口镇")),
        ("623023102", Reason.UNKNOWN_CODE, ()),
        ("12345", Reason.UNKNOWN_CODE, ()),
        ("", Reason.UNKNOWN_NAME, ()),
        ("舟曲县/", Reason.UNKNOWN_NAME, ()),
    ],
)
def test_what_is_not_found_says_why(typed: str, why: Reason, suggested: tuple[str, ...]) -> None:
    found = COUNTY.find(typed)
    assert reason(found) is why
    assert isinstance(found, Unresolved)
    assert found.suggestions[: len(suggested)] == suggested
    assert found.text


def test_a_mistyped_code_suggests_townships() -> None:
    found = COUNTY.find("623023102")
    assert isinstance(found, Unresolved)
    assert "623023103 立节镇" in found.suggestions


def test_a_short_name_shared_by_county_and_township_is_never_widened() -> None:
    county = replace(COUNTY, townships=(*COUNTY.townships, Township("t-z", "舟曲镇", "623023120", None)))
    found = county.find("舟曲")
    assert reason(found) is Reason.AMBIGUOUS
    assert isinstance(found, Unresolved)
    assert found.suggestions == ("舟曲县", "舟曲镇")


def test_a_short_name_of_two_townships_is_ambiguous() -> None:
    county = replace(COUNTY, townships=(*COUNTY.townships, Township("t-d", "大川乡", "623023220", None)))
    assert reason(county.find("大川")) is Reason.AMBIGUOUS
    assert isinstance(county.find("大川镇"), Resolved)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("code", "62302"),
        ("townships", (Township("a", "甲", "1", None), Township("a", "乙", "2", None))),
        ("townships", (Township("a", "甲", "1", None), Township("b", "乙", "1", None))),
        ("villages", (Village("v", "甲", None, "nowhere"),)),
    ],
)
def test_a_contradictory_county_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError):
        replace(COUNTY, villages=(), **{field: value}) if field != "villages" else replace(
            COUNTY, villages=value
        )


def test_no_code_of_the_collision_in_wenchuan_warns_the_wrong_valley() -> None:
    file = SHARED / "geo" / "cn_townships_crosswalk_mca2025_nbs2023_nbs2016.csv"
    if not file.exists():
        pytest.skip("the crosswalk (../shared/data/geo) is not here")
    with file.open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["county_code"] == "513221"]
    county = County(
        "wenchuan",
        "513221",
        "汶川县",
        tuple(Township(r["name"], r["name"], r["mca2025_code9"], r["nbs2023_code9"] or None) for r in rows),
        tuple(Village(r["name"], r["name"], None, r["name"]) for r in rows),
    )
    assert villages(county.resolve(RegionCode(MCA, "513221106"))) == {"三江镇"}
    assert villages(county.resolve(RegionCode(NBS, "513221106"))) == {"漩口镇"}
    assert reason(county.resolve(RegionCode(UNKNOWN, "513221106"))) is Reason.AMBIGUOUS
    assert reason(county.resolve(RegionCode(UNKNOWN, "513221107"))) is Reason.AMBIGUOUS


# --- area ----------------------------------------------------------------------------------------------


def area(*digits: str, scheme: CodeScheme = UNKNOWN, **fields: object) -> Area:
    return replace(Area("somewhere", tuple(RegionCode(scheme, code) for code in digits)), **fields)


def test_the_cut_is_the_union_of_the_codes_with_a_line_each() -> None:
    found = cut((area("623023101", "623023103"), area("623023101", "623023101200")), COUNTY)
    assert found.village_keys == {"v3", "v4", "v5"}
    assert len(found.lines) == 3, "a repeated code is said once"
    assert found.lines[0] == "623023101 (unknown) = 大川镇: 2 villages"
    assert (found.outside, found.problems, found.empty) == ((), (), False)


def test_what_lies_outside_is_cut_off_and_shown() -> None:
    found = cut((area("623023101", "623022", "62"),), COUNTY)
    assert found.village_keys == ALL
    assert any("623022" in line for line in found.outside)
    assert any("cut to 舟曲县" in line for line in found.outside)
    assert found.problems == ()


def test_another_county_alone_is_empty() -> None:
    found = cut((area("610102"),), COUNTY)
    assert found.empty
    assert found.outside
    assert found.problems == ()


@pytest.mark.parametrize(
    "areas",
    [
        (),
        (Area("舟曲县南部"),),
        (area("623023306"),),
        (area("623023999"),),
        (area("623023101", circles=(Circle(33.7, 104.4, 5),)),),
        (
            area(
                "623023101", polygons=(Polygon(((33.7, 104.4), (33.8, 104.4), (33.8, 104.5), (33.7, 104.4))),)
            ),
        ),
        (area(circles=(Circle(33.7, 104.4, 5),)),),
        (area(other_codes=(("SAME", "006109"),)),),
        (area("623023101", other_codes=(("EXCLUDE_POLYGON", "33,104 …"),)),),
        (area("623023101", other_codes=(("line", "33,104 …"),)),),
        (area("623023101"), Area("舟曲县南部")),
    ],
)
def test_what_cannot_be_used_is_a_problem_never_dropped_or_widened(areas: tuple[Area, ...]) -> None:
    found = cut(areas, COUNTY)
    assert found.problems
    assert found.village_keys <= {"v3", "v4"}


def test_a_township_without_villages_is_a_problem() -> None:
    county = replace(COUNTY, townships=(*COUNTY.townships, Township("t-e", "空镇", "623023130", "623023130")))
    found = cut((area("623023130"),), county)
    assert found.empty
    assert found.problems


def test_foreign_codes_beside_ours_are_no_problem() -> None:
    assert cut((area("623023101", other_codes=(("AreaId", "7"),)),), COUNTY).problems == ()


def test_the_name_of_another_county_is_not_said_to_lie_in_itself() -> None:
    for typed, said in (("文县", "文县 is another county"), ("迭部县电尕镇", "lies in 迭部县")):
        found = replace(COUNTY, neighbours=("文县", "迭部县")).find(typed)
        assert isinstance(found, Unresolved)
        assert said in found.text
