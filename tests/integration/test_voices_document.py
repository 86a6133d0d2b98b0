"""docs/voices.md is what an engineer follows: its configuration loads, and its scripts speak."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from config.load import load
from support.voices import UYGHUR, decode
from tts.voice import VoiceError, VoiceFailure
from tts.voices.external import CommandVoice, HttpVoice, program_missing

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "voices.md").read_text(encoding="utf-8")

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs the package espeak-ng")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_configuration_of_the_page_is_read_with_a_voice_for_each_engine(tmp_path: Path) -> None:
    example = (ROOT / "deploy" / "county.example.yaml").read_text(encoding="utf-8")
    file = tmp_path / "county.yaml"
    file.write_text(re.sub(r"^voice:\n(  .*\n)+", lambda _: block("yaml"), example, flags=re.MULTILINE))
    voice = load(file, on_this_machine=False).voice
    assert [(o.language, o.engine) for o in voice.others] == [
        ("bo", "bank"),
        ("kk", "edge"),
        ("ug", "espeak"),
        ("ug", "command"),
        ("mn", "http"),
    ]
    assert voice.mandarin_approved


@needs_espeak
async def test_the_program_of_the_page_speaks_as_it_stands(tmp_path: Path) -> None:
    script = tmp_path / "say-uyghur"
    script.write_text(block("sh"))
    script.chmod(0o755)
    assert program_missing([str(script)]) == ""
    voice = CommandVoice("command:mms", "ug", [str(script), "{out}"], decode=decode, budget_s=30)
    plain = await voice.speak(UYGHUR, speed=1.0)
    slow = await voice.speak(UYGHUR, speed=0.7)
    assert 1 < plain.seconds < slow.seconds


@asynccontextmanager
async def serving(script: str) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, "0", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}/speak"
    finally:
        process.kill()
        await process.wait()


@needs_espeak
async def test_the_service_of_the_page_speaks_as_it_stands_and_says_what_fails() -> None:
    async with asyncio.timeout(60), serving(block("python")) as url:
        speech = await HttpVoice("http:x", "ug", url, decode=decode, budget_s=30).speak(UYGHUR, speed=0.9)
        assert speech.seconds > 1
        nobody = HttpVoice("http:x", "xxx", url, decode=decode, budget_s=30)
        with pytest.raises(VoiceError) as failed:
            await nobody.speak(UYGHUR, speed=0.9)
        assert failed.value.reason is VoiceFailure.REFUSED
        assert "espeak-ng" in failed.value.detail
