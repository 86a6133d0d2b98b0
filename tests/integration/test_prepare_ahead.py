"""``fenghuo tts prepare`` as an engineer runs it: killed and gone on with, heard once, on a full disk."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from controller.cli.program import run
from support.crash import say_briefly
from tts import files
from tts.renderer import Form, Piece, Rendered, Renderer
from tts.verdict import Verdict
from tts.voice import VoiceError, VoiceFailure

ROOT = Path(__file__).parents[2]
COUNTY = """
county: zhouqu
mode: drill
state_dir: {state}
issuer: {{name: 舟曲县应急管理局}}
broker: {{embedded: {{port: 0}}}}
listen: {{api: "127.0.0.1:0", terminals: "127.0.0.1:0"}}
operators: [{{name: 王主任, token_sha256: "{token}"}}]
voice: {{check: findings}}
"""
ONE_STAGE = (
    "--hazard",
    "rainstorm",
    "--colour",
    "red",
    "--stage",
    "first",
)  # the county and its 19 townships
KILLED = """
import os, signal, sys
from support.crash import say_briefly
from tts import files
from tts.renderer import Renderer
from controller.cli.program import run

Renderer.render_pieces = say_briefly
real, left = files.write, [int(sys.argv[1])]

def write(path, data):
    if path.name != "pins.json":
        left[0] -= 1
        if left[0] < 0:
            if sys.argv[2] == "half":
                path.parent.mkdir(parents=True, exist_ok=True)
                (path.parent / ".part-half").write_bytes(data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
    real(path, data)

files.write = write
run(sys.argv[3:])
"""
FLOOR_CLIPS = 53


class Voice:
    """Says every message briefly, and keeps count."""

    def __init__(self, fails: int = 0) -> None:
        self.said = 0
        self.fails = fails

    async def __call__(self, pieces: Sequence[Piece], form: Form, **more: Any) -> Rendered:
        self.said += 1
        if self.said <= self.fails:
            raise VoiceError(VoiceFailure.CRASHED, "switched off for this test")
        return await say_briefly(None, pieces, form, **more)  # type: ignore[arg-type]


@pytest.fixture
def voice(monkeypatch: pytest.MonkeyPatch) -> Voice:
    made = Voice()
    monkeypatch.setattr(Renderer, "render_pieces", lambda _, *args, **more: made(*args, **more))
    return made


@pytest.fixture
def county(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir(mode=0o700)
    file = tmp_path / "county.yaml"
    file.write_text(COUNTY.format(state=tmp_path / "state", token="ab" * 32), encoding="utf-8")
    return file


def prepared(capsys: pytest.CaptureFixture[str], county: Path, *more: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["tts", "prepare", str(county), *ONE_STAGE, *more, "--json"]) == code
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


# Two writes a message: its bytes, then what points at them.
@pytest.mark.parametrize(("writes", "how", "whole"), [(7, "", 3), (12, "half", 6)])
def test_killed_in_the_middle_it_goes_on_where_it_was(
    county: Path, voice: Voice, capsys: pytest.CaptureFixture[str], writes: int, how: str, whole: int
) -> None:
    command = [sys.executable, "-c", KILLED, str(FLOOR_CLIPS + writes), how]
    killed = subprocess.run(
        [*command, "tts", "prepare", str(county), *ONE_STAGE],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    told = prepared(capsys, county)
    assert (told["messages"], told["wanted"], told["failed"]) == (20, 20, 0)
    assert told["known"] == whole, "what was whole is not said again"
    assert voice.said == 20 - whole
    again = prepared(capsys, county)
    assert (again["known"], voice.said) == (20, 20 - whole)


def test_a_full_disk_is_told_and_what_was_made_stays(
    county: Path, voice: Voice, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = files.write

    def full(path: Path, data: bytes) -> None:
        if voice.said > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, data)

    monkeypatch.setattr(files, "write", full)
    assert run(["tts", "prepare", str(county), *ONE_STAGE]) == 1
    told = capsys.readouterr().err
    assert os.strerror(errno.ENOSPC) in told
    assert str(county.parent / "state") in told
    monkeypatch.setattr(files, "write", real)
    assert prepared(capsys, county)["known"] == 3


def test_a_voice_that_fails_now_and_then_leaves_gaps_that_the_next_run_fills(
    county: Path, voice: Voice, capsys: pytest.CaptureFixture[str]
) -> None:
    voice.fails = 2
    told = prepared(capsys, county, code=1)
    assert told["failed"] > 0
    assert told["messages"] == 20 - told["failed"]
    again = prepared(capsys, county)
    assert (again["messages"], again["known"]) == (20, told["messages"])


class Ears:
    """A recogniser that hears everything right but what is about 大川镇."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heard: list[str] = []

        async def hear(_: object, sound: bytes, **more: object) -> str:
            return ""

        async def judge(_: object, sound: bytes, text: str, **more: object) -> Verdict:
            self.heard.append(text)
            bad = "大川镇" in text
            return Verdict(0.3 if bad else 0.0, ("大川镇",) if bad else (), not bad)

        monkeypatch.setattr("tts.recogniser.Recogniser.hear", hear)
        monkeypatch.setattr("tts.recogniser.Recogniser.judge", judge)
        for where in ("tts.recogniser.missing", "controller.listening.missing"):
            monkeypatch.setattr(where, lambda: "")


def test_a_check_listens_to_every_clip_once_in_its_life(
    county: Path, voice: Voice, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ears = Ears(monkeypatch)
    prepared(capsys, county, "--most", "8")
    assert ears.heard == [], "nobody asked for it"
    told = prepared(capsys, county, "--check", code=1)
    assert len(ears.heard) == len(set(ears.heard)) == 20
    [doubted] = told["flagged"]
    assert "大川镇" in doubted
    assert voice.said >= 20
    again = prepared(capsys, county, "--check", code=1)
    assert len(ears.heard) == 20, "its verdict is in the library"
    assert again["flagged"] == told["flagged"]
    assert prepared(capsys, county, code=1)["flagged"] == told["flagged"]


def test_without_a_recogniser_a_check_says_so_and_speaks_nothing(
    county: Path, voice: Voice, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tts.recogniser.missing", lambda: "the extra check is not installed")
    assert run(["tts", "prepare", str(county), *ONE_STAGE, "--check"]) == 1
    assert "the extra check" in capsys.readouterr().err
    assert voice.said == 0
