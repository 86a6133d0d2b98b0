"""``fenghuo tts templates`` and ``tts sheet``: out to the speakers of a language, and back with a name."""

from __future__ import annotations

import csv
import html
import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controller.cli import templates
from controller.cli.program import run
from tts.phrases import Status
from tts.script import ScriptRequest, compose_all
from tts.templates import load, load_all

COUNTY = """\
county: zhouqu
mode: drill
state_dir: ./state
issuer: {name: 舟曲县应急管理局}
broker: {embedded: {}}
listen: {api: "unix:./api.sock", terminals: "127.0.0.1:8470"}
templates: ./words
operators:
  - {name: 王主任, token_sha256: TOKEN}
""".replace("TOKEN", "a" * 64)
ISSUER, TOWN = "舟曲县应急管理局", "大川镇"


@pytest.fixture
def county(tmp_path: Path) -> Path:
    (tmp_path / "words").mkdir()
    (tmp_path / "county.yaml").write_text(COUNTY)
    return tmp_path / "county.yaml"


def rows(file: Path) -> list[list[str]]:
    return list(csv.reader(file.read_text("utf-8-sig").splitlines()))


def filled(sheet: Path, texts: dict[str, str], marked: set[str] = frozenset()) -> Path:  # type: ignore[assignment]
    """The sheet as somebody gives it back."""
    out = sheet.with_name("filled.csv")
    with out.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        head, *body = rows(sheet)
        writer.writerow(head)
        for row in body:
            row[4] = texts.get(row[1], row[4])
            row[5] = "x" if row[1] in marked else ""
            writer.writerow(row)
    return out


def test_a_sheet_lists_what_is_missing_with_slots_and_an_example(county: Path, capsys) -> None:
    sheet = county.with_name("bo.csv")
    assert run(["tts", "sheet", "bo", "--out", str(sheet), "-c", str(county)]) == 0
    head, *body = rows(sheet)
    assert len(head) == 7
    by_zh = {row[1]: row for row in body}
    assert len(by_zh) == len(body)
    assert by_zh["预警有效到{expires}。"][2:4] == ["{expires}", "预警有效到7月16日2时。"]
    assert by_zh["请注意，请注意。"][4].startswith("དོ")
    assert {ISSUER, TOWN, "{places}等{count}个地方", "暴雨", "红色"} <= set(by_zh)
    assert capsys.readouterr().out.strip() == str(sheet)


def test_a_filled_sheet_becomes_the_county_s_words_and_is_heard(county: Path, capsys) -> None:
    sheet = county.with_name("yue.csv")
    assert run(["tts", "sheet", "yue", "--out", str(sheet), "-c", str(county)]) == 0
    drafts = {row[1] for row in rows(sheet)[1:] if row[4]}
    back = filled(sheet, {ISSUER: ISSUER, TOWN: TOWN}, drafts)
    code = run(
        ["tts", "sheet", "yue", "--import", str(back), "--approved-by", "陈婆", "-c", str(county), "--json"]
    )
    assert code == 0
    told = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert told["status"] == "approved"
    assert told["lines"] == len(drafts) + 2
    every = load_all([county.with_name("words")])
    assert every["yue"].standing("再说一遍。").by == "陈婆"
    request = ScriptRequest(
        kind="actual", stage="first", hazard="rainstorm", colour=None, issuer=ISSUER,
        issued=datetime(2026, 7, 15, tzinfo=UTC), places=(TOWN,),
    )  # fmt: skip
    assert compose_all(request, every, ("yue",)).language.startswith("yue")
    assert run(["config", "check", "--elsewhere", str(county)]) == 0


def test_a_draft_that_nobody_touched_or_marked_stays_a_draft(county: Path) -> None:
    sheet = county.with_name("ug.csv")
    assert run(["tts", "sheet", "ug", "--out", str(sheet), "-c", str(county)]) == 0
    back = filled(sheet, {TOWN: "داچۇەن بازىرى"})
    assert (
        run(["tts", "sheet", "ug", "--import", str(back), "--reviewed-by", "ئادىل", "-c", str(county)]) == 0
    )
    found = load("ug", [county.with_name("words")])
    assert found.standing(TOWN).status is Status.REVIEWED
    assert found.standing("再说一遍。").status is Status.DRAFT


def test_one_fault_and_nothing_is_written(county: Path, capsys) -> None:
    sheet = county.with_name("bo.csv")
    assert run(["tts", "sheet", "bo", "--out", str(sheet), "-c", str(county)]) == 0
    back = filled(sheet, {TOWN: "ཀ", "涉及{places}。": "ཡུལ་", "本地区": "本地区"})
    capsys.readouterr()
    assert run(["tts", "sheet", "bo", "--import", str(back), "--reviewed-by", "扎西", "-c", str(county)]) == 6
    err = capsys.readouterr().err
    assert "{places}" in err
    assert "本地区" in err
    assert not list(county.with_name("words").iterdir())


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda f: f.write_bytes(b"\xb1\xea"), 1),
        (lambda f: f.write_text("a,b\nc,d\n"), 1),
        (lambda f: f.write_text("a,b,c,d,e,f,g\n,no such line,,,x,,\n"), 6),
        (lambda f: f.write_text("a,b,c,d,e,f,g\n"), 1),
        (lambda f: None, 1),
    ],
)
def test_what_is_no_sheet_is_refused(county: Path, make, code: int, capsys) -> None:
    file = county.with_name("x.csv")
    make(file)
    assert (
        run(["tts", "sheet", "bo", "--import", str(file), "--reviewed-by", "扎西", "-c", str(county)]) == code
    )
    assert capsys.readouterr().err
    assert not list(county.with_name("words").iterdir())


def test_a_sheet_is_taken_only_with_a_name_a_county_and_a_folder(county: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "bo.csv"
    assert run(["tts", "sheet", "bo", "--out", str(sheet)]) == 0
    assert run(["tts", "sheet", "bo", "--import", str(sheet), "-c", str(county)]) == 2
    assert run(["tts", "sheet", "bo", "--import", str(sheet), "--reviewed-by", "扎西"]) == 2
    assert run(["tts", "sheet", "bo", "-c", str(county)]) == 2
    assert run(["tts", "sheet", "bo", "--out", str(tmp_path / "bo.docx")]) == 2
    county.write_text(COUNTY.replace("templates: ./words\n", ""))
    assert (
        run(["tts", "sheet", "bo", "--import", str(sheet), "--reviewed-by", "扎西", "-c", str(county)]) == 3
    )
    assert run(["tts", "sheet", "../bo", "--out", str(sheet)]) == 3


def test_the_page_for_the_browser_carries_every_line_and_no_address(tmp_path: Path) -> None:
    page = tmp_path / "ug.html"
    assert run(["tts", "sheet", "ug", "--out", str(page)]) == 0
    text = page.read_text("utf-8")
    assert text.count("<textarea") == len(load("ug").lines())
    assert 'dir="rtl"' in text
    assert "http" not in text
    assert "{places}" in text


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AN_AUTHOR = """
const fill = (n, text, mark) => {
  const td = document.querySelectorAll("tbody tr")[n].children;
  td[4].firstChild.value = text; td[5].firstChild.checked = mark;
  td[4].firstChild.dispatchEvent(new Event("input", {bubbles: true}));
};
fill(0, '=1+"1"', true); fill(1, "ئا، ب", true);
const before = unsaved;
HTMLAnchorElement.prototype.click = function () { this.id = "done"; };
const blobs = []; URL.createObjectURL = (blob) => { blobs.push(blob); return "x:"; };
save();
blobs[0].text().then((text) => { document.body.textContent = JSON.stringify([before, unsaved, text]); });
</script></html>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no browser: make browser")
def test_what_is_written_in_a_browser_comes_back_as_the_sheet_that_is_imported(tmp_path: Path) -> None:
    page = tmp_path / "ug.html"
    assert run(["tts", "sheet", "ug", "--out", str(page)]) == 0
    page.write_text(page.read_text("utf-8").replace("</script></html>", AN_AUTHOR), "utf-8")
    told = subprocess.run(
        [
            CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000",
            f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, timeout=120,
    ).stdout.decode()  # fmt: skip
    body = html.unescape(told[told.index("<body") :])
    before, after, text = json.loads(body[body.index("[") : body.rindex("]") + 1])
    assert (before, after) == (True, False), "closing the page before it was saved is asked about"
    saved = tmp_path / "ug.csv"
    saved.write_text(text, "utf-8", newline="")
    rows = [(words, marked) for _, _, words, marked, _ in templates._filled(saved)]
    assert len(rows) == len(load("ug").lines())
    assert rows[:2] == [('=1+"1"', True), ("ئا، ب", True)]
    assert "'=1+" in text, "to a spreadsheet it is no formula"


def test_the_table_counts_every_language(capsys) -> None:
    assert run(["tts", "templates", "--json"]) == 0
    found = {row["language"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(found) == {"zh", "bo", "ug", "kk", "mn", "ko", "ii", "za", "yue"}
    assert found["zh"]["missing"] == found["zh"]["draft"] == 0
    assert found["ii"]["missing"] == found["zh"]["reviewed"]
    assert found["yue"]["draft"] > 100
    assert run(["tts", "templates", "yue", "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert {"status", "for", "zh", "text", "by", "on"} == set(lines[0])


def test_a_line_whose_mandarin_is_gone_is_shown_as_stale(county: Path, capsys) -> None:
    (county.with_name("words") / "bo.toml").write_text(
        'language = "bo"\n[[lines]]\nzh = "早就没有的一句。"\ntext = "ཀ"\nstatus = "draft"\n',
        encoding="utf-8",
    )
    assert run(["tts", "templates", "bo", "--json", "-c", str(county)]) == 0
    stale = [row for row in json.loads(capsys.readouterr().out) if row["status"] == "stale"]
    assert [row["zh"] for row in stale] == ["早就没有的一句。"]


def test_a_broken_file_of_the_county_is_found_by_config_check(county: Path, capsys) -> None:
    (county.with_name("words") / "bo.toml").write_text(
        'language = "bo"\n[[lines]]\nzh = "走5米。"\ntext = "ཀ"\n'
    )
    assert run(["config", "check", "--elsewhere", str(county)]) == 3
    assert "bo.toml" in capsys.readouterr().err
