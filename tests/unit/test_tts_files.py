"""One way to write a file that a power cut cannot tear, for clips, banks, words and weights."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tts import files


def test_a_file_is_what_was_written_whole_and_readable_by_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.json"
    files.write(target, b"one")
    files.write(target, b"two")
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o644
    assert [found.name for found in target.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_whatever_fails_the_old_file_stays_and_nothing_lies_beside_it(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.json"
    files.write(target, b"old")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if step == "fsync" else Path, step, full)
    with pytest.raises(OSError, match="No space left"):
        files.write(target, b"new")
    assert target.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]


def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(fd: int) -> None:
        done.append("folder" if Path(f"/proc/self/fd/{fd}").is_dir() else "file")
        sync(fd)

    def replaced(self: Path, target: Path) -> Path:
        done.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    files.write(tmp_path / "a.json", b"x")
    assert done == ["file", "name", "folder"]
