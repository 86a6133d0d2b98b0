"""Packs of any county from the national list, their check, and the commands for both."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from alerts.model import CodeScheme, RegionCode
from alerts.regions import Resolved, Unresolved
from config.counties import PackError, load_county, pack_folder
from config.counties.build import build, county_key, township_keys
from config.counties.check import Level, examine
from config.counties.national import CountyEntry, counties, find_county, hazards, townships
from config.load import load
from controller.cli.outcome import Code
from controller.cli.program import run
from simulators.scenarios import ScenarioError, placed

REPO = Path(__file__).parents[2]
# One of every kind: with clashes, a city without counties, a municipality, directly under a province, 兵团.
KINDS = ("513221", "441900", "110105", "469021", "659001", "632800", "623023", "653226")


@pytest.mark.parametrize("code", [*KINDS, *(entry.code for entry in counties()[::150])])
def test_a_built_pack_loads_and_has_every_unit_of_both_lists(tmp_path: Path, code: str) -> None:
    entry = find_county(code)
    build(entry, tmp_path / "p")
    county = load_county(str(tmp_path / "p")).county
    assert (county.code, county.name, county.province) == (entry.code, entry.name, entry.province)
    assert [(t.name, t.mca, t.nbs) for t in county.townships] == [
        (unit.name, unit.mca, unit.nbs) for unit in townships(code)
    ]
    assert entry.name not in county.neighbours
    for clash in hazards(code):
        held = county.resolve(RegionCode(CodeScheme.UNKNOWN, clash.digits))
        assert isinstance(held, Unresolved)
    assert not [finding for finding in examine(str(tmp_path / "p")) if finding.level is Level.ERROR]


def test_a_built_pack_knows_old_names_and_the_codes_of_2016(tmp_path: Path) -> None:
    build(find_county("舟曲"), tmp_path / "p")
    built, shipped = load_county(str(tmp_path / "p")).county, load_county("zhouqu").county
    assert {t.name: t.old_names for t in built.townships} == {t.name: t.old_names for t in shipped.townships}
    assert {m for m in shipped.meanings if m.source == "former"} <= set(built.meanings)
    found = built.find("果耶乡")
    assert isinstance(found, Resolved)
    assert found.label == "果耶镇"
    gone = built.find("舟曲县林场")
    assert isinstance(gone, Unresolved)
    held = built.resolve(RegionCode(CodeScheme.UNKNOWN, "623023209"))
    assert isinstance(held, Unresolved)
    assert held.suggestions == ("南峪乡", "果耶乡")
    told = built.resolve(RegionCode(CodeScheme.UNKNOWN, "623023209"), "舟曲县果耶乡")
    assert isinstance(told, Resolved)
    assert told.label == "果耶镇"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_to_do_list_names_what_is_missing_and_what_is_dangerous(tmp_path: Path, lang: str) -> None:
    build(find_county("513221"), tmp_path / "wenchuan", lang=lang)
    todo = (tmp_path / "wenchuan" / "TODO.md").read_text(encoding="utf-8")
    for text in (
        "| 513221106 | 三江镇 | 漩口镇 |",
        "绵虒镇、映秀镇",
        "fenghuo county import wenchuan --villages",
        "fenghuo county check wenchuan",
        "gcj02|wgs84|cgcs2000",
    ):
        assert text in todo
    assert "{" not in todo


def test_keys_are_pinyin_for_the_county_and_never_digits_of_a_code() -> None:
    assert county_key(find_county("舟曲")) == "zhouqu"
    assert county_key(CountyEntry("1", "巴音郭楞蒙古自治州库尔勒自治县", "", "")) == "byglmgzzzkel"
    assert township_keys(3) == ["w01", "w02", "w03"]
    assert township_keys(100)[0] == "w001"
    for entry in counties()[::25]:
        assert county_key(entry).isascii()
        assert county_key(entry).isalpha()


def test_a_folder_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(PackError, match="is not empty; name a new folder with --out"):
        build(find_county("舟曲"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# --- check


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(pack_folder("zhouqu"), tmp_path / "pack"))


def changed(copy: Path, file: str, old: str, new: str) -> list[str]:
    text = (copy / file).read_text(encoding="utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    return [f"{finding.level} {finding}".replace(f"{copy}/", "") for finding in examine(str(copy))]


@pytest.mark.parametrize("name", ["zhouqu", "yutian"])
def test_the_shipped_packs_have_no_error_and_say_what_is_made_up(name: str) -> None:
    findings = examine(name)
    assert {finding.level for finding in findings} == {Level.MISSING}
    assert [f for f in findings if "villages have a synthetic position" in f.text]


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (
            "villages.csv",
            "w01v02,东城社区",
            "w01v02,西城社区",
            "error villages.csv:3: 西城社区 stands already at",
        ),
        (
            "villages.csv",
            "33.78368,104.3631,synthetic",
            "35.78368,104.3631,measured",
            "error villages.csv:2: 西城社区 lies 19",
        ),
        (
            "villages.csv",
            "33.78089,104.33737",
            "33.78368,104.3631",
            "warning villages.csv:3: 东城社区 has the very position of the village at",
        ),
        ("villages.csv", ",623023100001,", ",,", "warning villages.csv:2: 西城社区 has no village code"),
        (
            "terminals.csv",
            "33.78368,104.3631,synthetic",
            "35.78368,104.3631,measured",
            "error terminals.csv:2: 西城社区 lies 19",
        ),
        (
            "terminals.csv",
            "w01v02,东城社区",
            "w01v01,西城社区",
            "error terminals.csv:3: 西城社区 stands already",
        ),
        (
            "terminals.csv",
            "w01v02,",
            "w01v01,",
            "missing terminals.csv:1: 1 of 212 villages have no terminal",
        ),
        (
            "townships.csv",
            "大川镇,623023101,623023101",
            "大川镇,623023102,623023101",
            "error townships.csv:4: mca9 623023102 is given twice",
        ),
        (
            "townships.csv",
            "大川镇,",
            "大河镇,",
            "error townships.csv:3: mca9 623023101 is 大川镇 in the national list, not 大河镇",
        ),
        (
            "townships.csv",
            ",623023101,623023101,",
            ",623023701,623023101,",
            "warning townships.csv:3: mca9 623023701 is not in the national list",
        ),
        ("readings.csv", "舟曲,zhōu qǔ", "舟曲,zhōu", "error readings.csv:2: 舟曲 has 2 characters"),
    ],
)
def test_what_is_wrong_with_a_pack_is_said_with_its_line(
    copy: Path, file: str, old: str, new: str, said: str
) -> None:
    found = changed(copy, file, old, new)
    assert [line for line in found if line.startswith(said)], found


def test_a_terminal_far_from_its_measured_village_is_an_error(copy: Path) -> None:
    changed(copy, "villages.csv", "33.78368,104.3631,synthetic", "33.9,103.98,measured")
    found = changed(copy, "terminals.csv", "33.78368,104.3631,synthetic", "33.78368,104.3631,measured")
    assert [line for line in found if "stands 38 km from 西城社区, its village" in line], found


def test_digits_whose_other_meaning_the_pack_does_not_say_are_an_error(tmp_path: Path) -> None:
    build(find_county("513221"), tmp_path / "p")
    text = (tmp_path / "p" / "townships.csv").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if ",漩口镇," in line)
    cells = row.split(",")
    bare = ",".join([*cells[:3], "", *cells[4:]])
    found = changed(tmp_path / "p", "townships.csv", row, bare)
    assert [
        line for line in found if "513221106 is 漩口镇 in the nbs list, which this pack does not say" in line
    ]
    mended = changed(tmp_path / "p", "codes.csv", "name\n", "name\n513221106,nbs,漩口镇\n")
    assert not [line for line in mended if line.startswith("error")]


def test_positions_that_are_still_gcj02_are_suspected(tmp_path: Path) -> None:
    """Villages that are called like their townships, all off by the shift of the map services."""
    from config.counties.datum import to_gcj02

    shutil.copytree(pack_folder("zhouqu"), tmp_path / "p")
    rows = ["key,name,official_name,nbs12,township_key,lat,lon,position,population"]
    for unit in load_county("zhouqu").county.townships:
        assert unit.position
        lat, lon = map(float, to_gcj02(*unit.position))
        rows.append(f"{unit.key}v01,{unit.name[:-1]}村,,,{unit.key},{lat:.6f},{lon:.6f},measured,")
    (tmp_path / "p" / "villages.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "p" / "terminals.csv").write_text(
        "village_key,name,lat,lon,position,speaker\n", encoding="utf-8"
    )
    found = [str(finding) for finding in examine(str(tmp_path / "p")) if finding.level is Level.ERROR]
    assert [line for line in found if "the positions look like GCJ-02, not WGS-84" in line], found


# --- the commands


def test_county_new_check_and_import_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "wenchuan"
    assert run(["county", "new", "汶川县", "--out", str(folder), "--json"]) == Code.DONE
    told = json.loads(capsys.readouterr().out)
    assert told["county"] == "513221 四川省阿坝藏族羌族自治州汶川县"
    assert {clash["digits"] for clash in told["hazards"]} == {"513221106", "513221107"}
    assert "TODO.md" in told["files"]

    (tmp_path / "v.csv").write_text(
        "村,代码,东,北\n南桥社区,513221100001,103.58491,31.49267\n", encoding="utf-8"
    )
    command = ["county", "import", str(folder), "--villages", str(tmp_path / "v.csv"), "--datum", "wgs84"]
    columns = ["--column", "lat=北", "--column", "lon=东"]
    assert run([*command, *columns, "--dry-run"]) == Code.DONE
    assert not load_county(str(folder)).county.villages
    assert run([*command, *columns]) == Code.DONE
    assert "1 of this county, 1 new" in capsys.readouterr().out
    assert load_county(str(folder)).county.villages[0].position == (31.49267, 103.58491)

    assert run(["county", "check", str(folder)]) == Code.DONE
    assert "missing" in capsys.readouterr().out
    shutil.copy(folder / "villages.csv", folder / "again.csv")
    (folder / "villages.csv").write_text("key\n", encoding="utf-8")
    assert run(["county", "check", str(folder), "--json"]) == Code.CONFIG
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert told["findings"][0]["where"].endswith("villages.csv:1")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["new", "朝阳区"], Code.USAGE, "220104 吉林省长春市朝阳区"),
        (["new", "999999"], Code.USAGE, "no county '999999'"),
        (["new", "舟曲", "--out", "DIR", "--key", "623023"], Code.CONFIG, "must be lowercase letters"),
        (["check", "nowhere"], Code.CONFIG, "no county pack 'nowhere'"),
        (["import", "nowhere"], Code.USAGE, "Name a file"),
        (["import", "nowhere", "--villages", __file__], Code.CONFIG, "no county pack"),
        (["import", "zhouqu", "--villages", __file__, "--column", "breite=x"], Code.USAGE, "ROLE=COLUMN"),
    ],
)
def test_what_cannot_be_done_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: Code, said: str
) -> None:
    arguments = [str(tmp_path / "pack") if part == "DIR" else part for part in arguments]
    assert run(["county", *arguments]) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "pack").exists()


def test_places_that_contradict_the_datum_end_with_exit_6(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(pack_folder("zhouqu"), tmp_path / "pack"))
    outline = str(pack_folder("zhouqu") / "boundary.geojson")
    assert run(["county", "import", str(folder), "--boundary", outline, "--datum", "gcj02"]) == Code.REFUSED
    said = capsys.readouterr().err
    assert "the outline looks like wgs84, not gcj02" in said
    assert "--anyway" in said


def test_a_configuration_takes_a_folder_by_its_bare_name_beside_it(tmp_path: Path) -> None:
    text = (REPO / "deploy" / "demo.yutian.yaml").read_text(encoding="utf-8")
    build(find_county("汶川"), tmp_path / "wenchuan")
    (tmp_path / "county.yaml").write_text(
        text.replace("county: yutian", "county: wenchuan"), encoding="utf-8"
    )
    found = load(tmp_path / "county.yaml", on_this_machine=False)
    assert found.county == str(tmp_path / "wenchuan")
    assert load_county(found.county).county.name == "汶川县"


def test_a_pack_without_terminals_gives_no_simulated_ones_but_a_reason(tmp_path: Path) -> None:
    build(find_county("汶川"), tmp_path / "p")
    with pytest.raises(ScenarioError, match="the pack of 汶川县 has no terminals"):
        placed(load_county(str(tmp_path / "p")), 5)


def test_the_demonstration_of_yutian_is_a_right_configuration() -> None:
    found = load(REPO / "deploy" / "demo.yutian.yaml", on_this_machine=False)
    assert load_county(found.county).county.name == "于田县"
