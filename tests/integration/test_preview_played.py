"""``fenghuo tts preview --play``: what comes out of this machine's loudspeaker is what would be aired."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from controller.cli import sounds
from controller.cli.program import run
from support.board import RATE, speech, times_in
from support.crash import BRIEF_S, say_briefly
from support.horn_tape import NEEDED, Horn, horn, until_quiet
from tts.renderer import Renderer

__all__ = ["horn"]
pytestmark = [pytest.mark.slow, pytest.mark.sound, *NEEDED]

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
RAW = "预计未来3小时将出现50毫米以上降水。详情请登录http://www.weather.example.cn/a查询。"


async def test_played_to_the_last_sample(horn: Horn) -> None:
    words = speech(1.0)
    file = io.BytesIO()
    soundfile.write(file, words, RATE, subtype="PCM_16", format="WAV")
    await asyncio.to_thread(sounds.played, file.getvalue())
    heard = await until_quiet(horn)
    [at] = times_in(heard, words)
    piece = heard[at : at + len(words)]
    end = len(words) // 10
    for part in (slice(None), slice(-end, None)):
        likeness = np.dot(piece[part], words[part])
        assert likeness / np.linalg.norm(piece[part]) / np.linalg.norm(words[part]) > 0.999


async def test_a_preview_plays_its_lead_and_its_whole_and_shows_the_text_it_came_with(
    tmp_path: Path, horn: Horn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Renderer, "render_pieces", say_briefly)
    (tmp_path / "state").mkdir(mode=0o700)
    county = tmp_path / "county.yaml"
    county.write_text(COUNTY.format(state=tmp_path / "state", token="ab" * 32), encoding="utf-8")
    asked = [
        "tts",
        "preview",
        str(county),
        "--hazard",
        "rainstorm",
        "--colour",
        "orange",
        "--place",
        "大川镇",
    ]
    assert await asyncio.to_thread(run, [*asked, "--text", RAW, "--play", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [part["part"] for part in told["parts"]] == ["lead", "whole"]
    assert told["original"]["description"] == RAW
    assert "http" not in told["text"]
    heard = await until_quiet(horn)
    sounding = np.flatnonzero(np.abs(heard) > 0.05)
    assert len(sounding) / RATE == pytest.approx(2 * BRIEF_S, rel=0.15)
    for part in told["parts"]:
        clip, rate = soundfile.read(part["file"], dtype="float32")
        pitch = np.argmax(np.abs(np.fft.rfft(clip))) * rate / len(clip)
        spectrum = np.abs(np.fft.rfft(heard))
        near = round(pitch * len(heard) / RATE)
        assert spectrum[near - 20 : near + 20].max() > 0.3 * spectrum.max(), part["part"]
