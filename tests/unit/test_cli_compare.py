"""``fenghuo tts compare``: every voice for every loudspeaker as a file, and one picture to see them by."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from controller.cli.outcome import Code
from controller.cli.program import run
from tts import floor
from tts.renderer import Form, Piece, Rendered, Renderer

TEXT = "请注意。请马上转移。"


async def spoken(
    self: Renderer, pieces: Sequence[Piece], form: Form, *, voice: str, speed: float, deadline_s: float
) -> Rendered:
    """Other bytes for each voice and class, and a sound."""
    data, record = floor.generic("test" if voice.startswith("zm") else "exercise")
    said = tuple(s for piece in pieces for s in piece.sentences)
    return Rendered(data, record.seconds, record.lufs, record.dbtp, {}, voice, "0" * 64, said)


@pytest.fixture(autouse=True)
def voices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Renderer, "render_pieces", spoken)


def test_each_voice_and_class_is_a_file_and_all_are_in_one_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["tts", "compare", TEXT, "--out", str(tmp_path), "--speaker", "horn", "--speaker", "indoor"]
    assert run([*asked, "--json"]) == Code.DONE
    told = json.loads(capsys.readouterr().out)
    assert [(take["voice"], take["speaker"]) for take in told["takes"]] == [
        ("zm_yunjian", "horn"),
        ("zm_yunjian", "indoor"),
        ("zf_xiaobei", "horn"),
        ("zf_xiaobei", "indoor"),
    ]
    assert len({take["file"] for take in told["takes"]}) == 4
    for take in told["takes"]:
        assert Path(take["file"]).stat().st_size == take["bytes"] > 0
        assert "".join(take["spoken"]) == TEXT
    assert Path(told["picture"]).read_bytes().startswith(b"\x89PNG")
    assert {file.name for file in tmp_path.iterdir()} == {
        "compare.png",
        *(Path(take["file"]).name for take in told["takes"]),
    }


def test_people_get_a_row_for_each_and_the_name_of_the_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--lang", "zh", "tts", "compare", TEXT, "--out", str(tmp_path)]) == Code.DONE
    out = capsys.readouterr().out
    assert "LUFS" in out
    assert "zm_yunjian" in out
    assert "zf_xiaobei" in out
    assert str(tmp_path / "compare.png") in out


def test_a_voice_that_there_is_not_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tts", "compare", TEXT, "--out", str(tmp_path), "--voice", "nobody"]) == Code.USAGE
    assert "nobody" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
