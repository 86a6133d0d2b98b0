"""``fenghuo tts``: what a text sounds like, without a controller."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.cli.outcome import Code
from controller.cli.program import run


def test_read_prints_one_line_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tts", "read", "阵风8-9级，\n请拨打12379。"]) == 0
    out, err = capsys.readouterr()
    assert out == "阵风八到九级， 请拨打幺二三七九。\n"
    assert err == ""


def test_read_gives_both_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tts", "read", "水位2.5m", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"text": "水位2.5m", "spoken": "水位二点五米"}


def test_voices_say_which_the_county_approved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tts", "voices", "--json"]) == 0
    rows = {row["voice"]: row for row in json.loads(capsys.readouterr().out)}
    assert {"zm_yunjian", "zf_xiaobei", "edge:zh-CN-YunyangNeural", "edge:kk-KZ-AigulNeural"} <= set(rows)
    assert not any(row["approved"] for row in rows.values())
    county = (Path(__file__).parents[2] / "deploy" / "county.example.yaml").read_text(encoding="utf-8")
    approved = {"approved_by": "扎西", "approved_on": "2026-07-01"}
    document = {"name": "zh-CN-YunxiNeural", **approved}
    lines = [line for line in county.splitlines() if line.startswith("voice:")]
    assert lines, "the example says something of the voice"
    config = tmp_path / "county.yaml"
    config.write_text(
        county.replace("voice:\n", f"voice:\n  online: {json.dumps(document, ensure_ascii=False)}\n")
    )
    assert run(["tts", "voices", "--json", "-c", str(config)]) == 0
    rows = {row["voice"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["edge:zh-CN-YunxiNeural"]["approved"] == "扎西 2026-07-01"
    assert rows["edge:zh-CN-YunyangNeural"]["approved"] == ""


def test_voices_shows_the_countys_first_and_the_others_only_when_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["tts", "voices"]) == 0
    shown = capsys.readouterr()
    assert "zm_yunjian" in shown.out
    assert "edge:" not in shown.out
    assert "kk 3" in shown.err
    assert "for bo ii za" in shown.err
    assert run(["tts", "voices", "--all"]) == 0
    assert "edge:kk-KZ-AigulNeural" in capsys.readouterr().out


@pytest.mark.slow
def test_say_writes_a_clip_that_passed_the_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.mp3"
    assert run(["tts", "say", "请马上转移。", "--out", str(file), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["file"] == str(file)
    assert about["spoken"] == ["请马上转移。"]
    assert about["dbtp"] <= -3.0
    assert file.read_bytes()[:2] in (b"\xff\xf3", b"\xff\xfb", b"ID")


def test_say_into_a_folder_that_is_not_there_is_an_error_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tts", "say", "请马上转移。", "--out", str(tmp_path / "no" / "a.mp3")]) == 1
    assert str(tmp_path / "no" / "a.mp3") in capsys.readouterr().err


@pytest.mark.slow
def test_nothing_to_say_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tts", "say", "。", "--out", str(tmp_path / "a.mp3")]) == 1
    assert "voice" in capsys.readouterr().err
    assert not (tmp_path / "a.mp3").exists()


COUNTY = """
county: zhouqu
mode: drill
state_dir: {state}
issuer: {{name: 舟曲县应急管理局}}
broker: {{embedded: {{port: 18831}}}}
listen: {{api: "127.0.0.1:18471", terminals: "127.0.0.1:18470"}}
operators: [{{name: 王主任, token_sha256: "{token}"}}]
"""


@pytest.fixture
def county(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    file = tmp_path / "county.yaml"
    file.write_text(COUNTY.format(state=state, token="ab" * 32), encoding="utf-8")
    return file


def test_prepare_tells_how_many_how_long_and_how_large_without_making_any(
    county: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tts", "prepare", str(county), "--dry-run", "--hazard", "rainstorm", "--json"]) == 0
    figure = json.loads(capsys.readouterr().out)
    assert (
        figure["messages"] == figure["wanted"] == 4 * 4 * 20
    )  # colours, stages, 19 townships and the county
    assert figure["estimated"]
    assert 9 < figure["minutes"] * 60 / figure["messages"] < 20
    assert figure["megabytes"] == pytest.approx(figure["minutes"] * 60 * 4_000 / 1e6, abs=0.5)
    assert not list((county.parent / "state").rglob("index/*.json"))
    assert run(["tts", "prepare", str(county), "--dry-run", "--most", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["messages"] == 3


@pytest.mark.parametrize("wrong", [["--hazard", "rain"], ["--stage", "last"]])
def test_prepare_refuses_what_there_is_not(
    county: Path, capsys: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    assert run(["tts", "prepare", str(county), "--dry-run", *wrong]) == 2
    assert wrong[1] in capsys.readouterr().err


@pytest.mark.parametrize("verb", [["say", "--out", "x.mp3"], ["compare", "--out", "."]])
def test_no_siren_can_be_made_at_the_command_line(
    verb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["tts", verb[0], "请注意。", *verb[1:], "--signal", "siren_raid"]) == 2
    assert "siren_raid" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_voice_that_nobody_has_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from controller.cli import sounds

    with pytest.raises(sounds.Failure, match="nobody"):
        sounds._opened("nobody", "zh", None, None)  # type: ignore[arg-type]


def test_playing_without_pyaudio_says_how_else(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from controller.cli import sounds

    monkeypatch.setitem(sys.modules, "pyaudio", None)
    with pytest.raises(sounds.Failure, match="PyAudio"):
        sounds.played(b"")


def test_the_voices_are_those_of_the_configuration_that_the_environment_names(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("FENGHUO_CONFIG", str(tmp_path / "county.yaml"))
    assert run(["tts", "voices"]) == Code.CONFIG
    assert "county.yaml" in capsys.readouterr().err
