"""The unit that starts a loudspeaker's program keeps what docs/terminal.md promises."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy" / "fenghuo-terminal.service"


def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNIT, encoding="utf-8")
    return unit["Service"]


def test_it_is_watched_started_again_for_ever_and_not_when_that_would_not_help() -> None:
    section = service()
    assert section["Type"] == "notify"
    assert int(section["WatchdogSec"]) >= 10
    assert section["Restart"] == "always"
    assert section["RestartPreventExitStatus"] == "3"
    assert section["ExecStart"].split()[1:] == ["run"]


def test_its_memory_is_bounded_and_its_state_its_own() -> None:
    section = service()
    assert section["MemoryMax"] == "160M"
    assert section["StateDirectoryMode"] == "0700"
    assert section["UMask"] == "0077"
    assert section["User"] == "fenghuo-terminal"
    assert "audio" in section["SupplementaryGroups"].split()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_finds_no_fault_with_it(tmp_path: Path) -> None:
    program = tmp_path / "fenghuo-terminal"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8").replace(
        "/opt/fenghuo-terminal/current/bin/fenghuo-terminal", str(program)
    )
    unit.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if UNIT.name in line] == []
