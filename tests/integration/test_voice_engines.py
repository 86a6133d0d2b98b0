"""The county's own engines: programs and services that do everything wrong, and what is left of them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.voices import UYGHUR, VoiceService, decode, voice_service, wav
from tts.voice import VoiceError, VoiceFailure
from tts.voices import external, process
from tts.voices.external import CommandVoice, HttpVoice, program_missing

PATIENCE = 30.0


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A WAV that is long enough for `UYGHUR`."""
    file = tmp_path / "sound.wav"
    file.write_bytes(wav(4.0))
    return file


def command(*argv: str, budget_s: float = PATIENCE) -> CommandVoice:
    return CommandVoice("command:x", "ug", argv, decode=decode, budget_s=budget_s)


def python(code: str, *arguments: str, budget_s: float = PATIENCE) -> CommandVoice:
    return command(sys.executable, "-c", code, *arguments, budget_s=budget_s)


async def refused(voice: CommandVoice | HttpVoice) -> VoiceError:
    async with asyncio.timeout(60):
        with pytest.raises(VoiceError) as failed:
            await voice.speak(UYGHUR, speed=0.9)
    assert voice.name in failed.value.detail or failed.value.reason in (
        VoiceFailure.FORMAT,
        VoiceFailure.TRUNCATED,
    )
    return failed.value


async def test_the_text_comes_as_lines_on_standard_input_and_the_sound_goes_out_the_same_way(
    tmp_path: Path, sound: Path
) -> None:
    heard = tmp_path / "heard"
    code = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read());" + (
        "sys.stdout.buffer.write(open(sys.argv[2], 'rb').read())"
    )
    speech = await python(code, str(heard), str(sound)).speak(UYGHUR, speed=0.9)
    assert speech.seconds == pytest.approx(4.0, abs=0.01)
    assert heard.read_text() == "\n".join(UYGHUR)


async def test_files_language_and_speed_are_filled_in_without_a_shell(tmp_path: Path, sound: Path) -> None:
    heard = tmp_path / "heard"
    code = (
        "import os, shutil, sys; text = open(sys.argv[1]).read();"
        "open(sys.argv[2], 'w').write(repr((text, sys.argv[3], sorted(os.environ), os.listdir())));"
        "shutil.copy(sys.argv[4], sys.argv[5]); print('done')"
    )
    voice = python(code, "{file}", str(heard), "--as={language}/{speed};$(id)", str(sound), "{out}")
    await voice.speak(UYGHUR, speed=0.9)
    text, argument, environment, listed = eval(heard.read_text())
    assert text == "\n".join(UYGHUR)
    assert argument == "--as=ug/0.9;$(id)"
    assert {"FENGHUO_LANGUAGE", "FENGHUO_SPEED", "PATH"} <= set(environment)
    assert not {name for name in environment if "TOKEN" in name or "SECRET" in name or "CREDENTIAL" in name}
    assert set(environment) <= {
        *process._KEPT,
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "FENGHUO_LANGUAGE",
        "FENGHUO_SPEED",
    }
    assert listed == ["text.txt"]


async def test_words_of_the_text_are_never_arguments_or_placeholders(tmp_path: Path, sound: Path) -> None:
    heard = tmp_path / "heard"
    code = "import sys; open(sys.argv[1], 'w').write(repr((sys.argv[2:], sys.stdin.read())));" + (
        "sys.stdout.buffer.write(open(sys.argv[2], 'rb').read())"
    )
    voice = python(code, str(heard), str(sound))
    await voice.speak(("--out={out} $(reboot) `id` دىققەت!", *UYGHUR), speed=1)
    arguments, text = eval(heard.read_text())
    assert arguments == [str(sound)]
    assert text.startswith("--out={out} $(reboot) `id` ")


async def test_the_folder_of_a_run_is_gone_afterwards_also_after_a_failure(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    code = "import os, sys; open(sys.argv[1], 'a').write(os.getcwd() + '\\n'); open('left', 'w'); sys.exit(1)"
    for _ in range(2):
        await refused(python(code, str(heard)))
    folders = set(heard.read_text().split())
    assert len(folders) == 2
    here = await asyncio.to_thread(lambda: [str(p) for p in Path(tempfile.gettempdir()).iterdir()])
    assert not folders & set(here)


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        ("import sys; sys.exit('no model for ug')", VoiceFailure.CRASHED, "no model for ug"),
        ("import os; os.abort()", VoiceFailure.CRASHED, "-6"),
        ("", VoiceFailure.SILENT, "no sound"),
        ("print('hello')", VoiceFailure.FORMAT, "hello"),
        ("import sys; sys.stdout.buffer.write(b'RIFF    WAVEjunk')", VoiceFailure.TRUNCATED, "WAV"),
        ("import sys; sys.stderr.write('x' * 3_000_000); sys.exit(1)", VoiceFailure.CRASHED, "xxx"),
        ("import sys; sys.stdin.close(); sys.exit(3)", VoiceFailure.CRASHED, "3"),
    ],
)
async def test_a_program_that_fails_is_told_with_its_last_words(
    code: str, reason: VoiceFailure, words: str
) -> None:
    error = await refused(python(code))
    assert error.reason is reason
    assert words in error.detail
    assert len(error.detail) < 400


async def test_a_program_that_writes_without_end_is_stopped_at_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(external, "MOST_BYTES", 1_000_000)
    error = await refused(python("import sys\nwhile True: sys.stdout.buffer.write(b'RIFF' * 10_000)"))
    assert error.reason is VoiceFailure.RUNAWAY
    code = "import sys\nf = open(sys.argv[1], 'wb')\nwhile True: f.write(b'RIFF' * 10_000)"
    error = await refused(python(code, "{out}"))
    assert error.reason is VoiceFailure.RUNAWAY


@pytest.mark.parametrize(
    "code",
    [
        "import os, sys; os.symlink(sys.argv[2], sys.argv[1])",
        "import os, sys; os.mkfifo(sys.argv[1])",
        "import os, sys; os.mkdir(sys.argv[1])",
    ],
    ids=["a link", "a pipe", "a folder"],
)
async def test_what_is_written_must_be_a_plain_file(code: str, sound: Path) -> None:
    error = await refused(python(code, "{out}", str(sound), budget_s=10))
    assert error.reason is VoiceFailure.FORMAT


async def test_a_child_that_holds_our_pipes_open_does_not_hold_us(tmp_path: Path, sound: Path) -> None:
    code = (
        "import subprocess, sys;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "open(sys.argv[2], 'w').write(str(child.pid));"
        "sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"
    )
    pid = tmp_path / "pid"
    speech = await python(code, str(sound), str(pid)).speak(UYGHUR, speed=1)
    assert speech.seconds > 3
    for _ in range(500):
        if _ended(int(pid.read_text())):
            break
        await asyncio.sleep(0.01)
    assert _ended(int(pid.read_text()))


async def test_a_child_that_fled_into_a_session_of_its_own_costs_the_budget_at_most(
    tmp_path: Path, sound: Path
) -> None:
    code = (
        "import subprocess, sys;"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(600)'];"
        "child = subprocess.Popen(sleep, start_new_session=True);"
        "open(sys.argv[2], 'w').write(str(child.pid));"
        "sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"
    )
    pid = tmp_path / "pid"
    error = await refused(python(code, str(sound), str(pid), budget_s=3))
    assert error.reason is VoiceFailure.TIMEOUT
    os.kill(int(pid.read_text()), signal.SIGKILL)


async def test_a_program_that_is_not_there_is_a_named_failure() -> None:
    error = await refused(command("/opt/nothing/here"))
    assert error.reason is VoiceFailure.CRASHED
    assert "does not start" in error.detail


async def test_a_program_that_never_reads_a_long_text_is_no_deadlock(sound: Path) -> None:
    long = tuple(f"دەرھال ئېگىز جايغا چىقىڭ {n}." for n in range(6_000))
    code = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"
    async with asyncio.timeout(60):
        with pytest.raises(VoiceError) as failed:
            await python(code, str(sound)).speak(long, speed=1)
    assert failed.value.reason is VoiceFailure.TRUNCATED, "4 s cannot be all of that"


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def test_a_program_that_others_may_change_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "say"
    file.write_text("#!/bin/sh\n")
    assert "not a program" in program_missing([str(file)])
    file.chmod(0o755)
    assert program_missing([str(file)]) == ""
    for mode in (0o775, 0o757):
        file.chmod(mode)
        assert "others may change it" in program_missing([str(file)])
    assert "no program" in program_missing([str(tmp_path / "none")])
    assert "not a program" in program_missing([str(tmp_path)])
    if os.geteuid() == 0:
        file.chmod(0o755)
        os.chown(file, 12_345, 0)
        assert "others may change it" in program_missing([str(file)])


# -- web services


@pytest.fixture
async def service() -> AsyncIterator[VoiceService]:
    async with voice_service() as running:
        yield running


def http(service: VoiceService, budget_s: float = PATIENCE, **options: Path) -> HttpVoice:
    return HttpVoice("http:x", "ug", service.url, decode=decode, budget_s=budget_s, **options)


@pytest.mark.parametrize("fault", ["", "mp3"])
async def test_a_service_is_asked_once_in_json_and_may_answer_wav_or_mp3(
    service: VoiceService, fault: str
) -> None:
    service.fault = fault
    speech = await http(service).speak(UYGHUR, speed=0.9)
    assert speech.sample_rate == 24_000
    assert speech.seconds > 3
    assert service.asked == [{"text": "\n".join(UYGHUR), "language": "ug", "speed": 0.9}]
    assert "Authorization" not in service.headers[0]


async def test_a_token_is_sent_and_is_in_no_message(service: VoiceService, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("very-secret-token\n")
    await http(service, token_file=token).speak(UYGHUR, speed=1)
    assert service.headers[0]["Authorization"] == "Bearer very-secret-token"
    service.fault = "crashes"
    assert "very-secret" not in str(await refused(http(service, token_file=token)))
    token.unlink()
    assert (await refused(http(service, token_file=token))).reason is VoiceFailure.UNREACHABLE
    token.write_text("密码")
    assert (await refused(http(service, token_file=token))).reason is VoiceFailure.UNREACHABLE
    token.write_text("two\nlines")
    assert (await refused(http(service, token_file=token))).reason is VoiceFailure.UNREACHABLE


@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        ("crashes", VoiceFailure.REFUSED, "no such voice"),
        ("html", VoiceFailure.FORMAT, "please log in"),
        ("called wav", VoiceFailure.FORMAT, "please log in"),
        ("redirects", VoiceFailure.REFUSED, "302"),
        ("cut", VoiceFailure.TRUNCATED, ""),
        ("silent", VoiceFailure.SILENT, "dBFS"),
    ],
)
async def test_each_failure_of_a_service_has_a_name(
    service: VoiceService, fault: str, reason: VoiceFailure, words: str
) -> None:
    service.fault = fault
    error = await refused(http(service))
    assert error.reason is reason, str(error)
    assert words in error.detail
    assert len(service.asked) == 1, "nothing is tried twice"


async def test_a_service_without_end_is_stopped_at_the_limit_and_one_that_drips_at_the_budget(
    service: VoiceService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external, "MOST_BYTES", 1_000_000)
    service.fault = "endless"
    assert (await refused(http(service))).reason is VoiceFailure.RUNAWAY
    service.fault = "drips"
    assert (await refused(http(service, budget_s=0.5))).reason is VoiceFailure.TIMEOUT


async def test_a_service_that_is_not_there_fails_at_once() -> None:
    voice = HttpVoice("http:x", "ug", "http://127.0.0.1:9/speak", decode=decode, budget_s=PATIENCE)
    assert (await refused(voice)).reason is VoiceFailure.UNREACHABLE


async def test_a_certificate_that_cannot_be_read_is_named(service: VoiceService, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    error = await refused(http(service, ca_file=tmp_path / "ca.pem"))
    assert error.reason is VoiceFailure.UNREACHABLE
    assert "certificate" in error.detail
