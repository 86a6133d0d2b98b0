"""Clips on disk: found by what they say, whole or not at all; and the floor that is always there."""

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import tts.floor
from tts.audio import TARGET_LUFS, loudness, true_peak
from tts.floor import FloorError, generic
from tts.library import ClipRecord, Library, cache_key
from tts.voice import Signal
from tts.worker import decode

KEY = "a" * 64


def record(library: Library, data: bytes) -> ClipRecord:
    return ClipRecord(
        library.put(data), len(data), 3.2, -15.1, -1.9, "mp3", "zh", "kokoro/x", True, "请注意。"
    )


def test_a_clip_is_found_again_by_its_key_also_by_another_process(tmp_path: Path) -> None:
    library = Library(tmp_path)
    kept = record(library, b"sound")
    library.add(KEY, b"sound", kept)
    assert Library(tmp_path).get(KEY) == kept
    assert library.path(kept.sha256).read_bytes() == b"sound"
    assert library.get("b" * 64) is None


def test_a_damaged_clip_is_absent_and_can_be_made_again(tmp_path: Path) -> None:
    library = Library(tmp_path)
    kept = record(library, b"sound")
    library.add(KEY, b"sound", kept)
    library.path(kept.sha256).write_bytes(b"sounD")
    assert library.get(KEY) is None
    assert not library.verify(kept.sha256)
    library.add(KEY, b"sound", kept)
    assert library.get(KEY) == kept


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b'{"sha256": 1}', b'{"sha256": "zz"}', b"\xff\xfe"])
def test_a_damaged_record_is_absent_and_can_be_made_again(tmp_path: Path, torn: bytes) -> None:
    library = Library(tmp_path)
    kept = record(library, b"sound")
    library.add(KEY, b"sound", kept)
    (tmp_path / "index" / f"{KEY}.json").write_bytes(torn)
    assert library.get(KEY) is None
    library.add(KEY, b"sound", kept)
    assert library.get(KEY) == kept


def test_a_write_that_fails_half_way_leaves_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(tmp_path)
    kept = record(library, b"old")
    library.add(KEY, b"old", kept)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tts.library.os.fsync", full)
    with pytest.raises(OSError, match="space"):
        library.put(b"new")
    monkeypatch.undo()
    assert not library.path(hashlib.sha256(b"new").hexdigest()).exists()
    assert library.get(KEY) == kept
    assert not list(tmp_path.rglob(".part-*"))


def test_leftovers_of_a_kill_are_swept(tmp_path: Path) -> None:
    (tmp_path / "clips" / "ab").mkdir(parents=True)
    (tmp_path / "clips" / "ab" / ".part-x").write_bytes(b"half")
    Library(tmp_path)  # it may be another process's, and be finished in a moment
    assert list(tmp_path.rglob(".part-*"))
    Library(tmp_path, now=lambda: time.time() + 700)
    assert not list(tmp_path.rglob(".part-*"))


def used(library: Library, n: int, at: float, *, key: bool = True) -> str:
    """A clip of 1,000 bytes, last used then."""
    data = bytes([n]) * 1_000
    sha256 = library.put(data)
    if key:
        library.add(f"{n:064x}", data, ClipRecord(sha256, 1_000, 1.0, -15, -2, "mp3", "zh", "v", True, "x"))
    os.utime(library.path(sha256), (at, at))
    return sha256


def test_the_least_recently_used_make_room_and_their_records_go_with_them(tmp_path: Path) -> None:
    now = [1_000_000.0]
    library = Library(tmp_path, budget=5_000, now=lambda: now[0])
    clips = [used(library, n, now[0] - 9_000 + n) for n in range(5)]
    assert library.get(f"{0:064x}") is not None  # used again, so it stays
    used(library, 9, now[0])
    assert [library.verify(sha256) for sha256 in clips] == [True, False, False, True, True]
    assert library.size == 4_000
    assert sorted(int(p.stem, 16) for p in (tmp_path / "index").iterdir()) == [0, 3, 4, 9]


def test_what_is_pinned_or_in_use_is_never_evicted_also_after_a_restart(tmp_path: Path) -> None:
    now = [1_000_000.0]
    library = Library(tmp_path, budget=2_000, now=lambda: now[0])
    airing = used(library, 1, now[0] - 9_000)
    library.pin([airing], "B-1", now[0] + 100)
    library = Library(tmp_path, budget=2_000, now=lambda: now[0])
    young = [used(library, n, now[0] - 60) for n in range(2, 6)]
    assert all(library.verify(sha256) for sha256 in (airing, *young))
    now[0] += 99  # the last second of its pin
    assert library.pinned() == {airing}
    used(library, 6, now[0])
    assert library.verify(airing)
    now[0] += 4_000
    used(library, 7, now[0])
    assert not library.verify(airing)
    library.pin([young[0]], "set", now[0] + 9_000)
    library.unpin("set")
    assert library.pinned() == frozenset()


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b'{"a": 1}', b"\xff"])
def test_damaged_pins_hold_everything_that_is_here(tmp_path: Path, torn: bytes) -> None:
    library = Library(tmp_path)
    kept = used(library, 1, 0)
    (tmp_path / "pins.json").write_bytes(torn)
    now = time.time()
    library = Library(tmp_path, budget=1_000, now=lambda: now)
    used(library, 2, now)
    assert library.verify(kept)


KILLED = """
import os, sys, itertools
from pathlib import Path
from tts.library import ClipRecord, Library
library = Library(Path(sys.argv[1]), budget=40_000)
for n in itertools.count():
    data = n.to_bytes(4, "big") * 500
    sha = library.put(data)
    library.add(f"{n:064x}", data, ClipRecord(sha, len(data), 1.0, -15, -2, "mp3", "zh", "v", True, str(n)))
    os.utime(library.path(sha), (1, 1))
    if n % 5 == 0:
        library.pin([sha], "aired", 9e9)
    print(n, sha, flush=True)
"""


def test_a_kill_at_any_moment_leaves_whole_clips_and_the_pin(tmp_path: Path) -> None:
    for round_ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(23 + 7 * round_):
            assert process.stdout.readline()
        process.kill()
        process.wait()
        library = Library(tmp_path, budget=40_000)
        held = list((tmp_path / "clips").glob("*/*.clip"))
        assert held
        assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.stem for path in held)
        assert library.pinned()
        assert all(library.verify(clip) for clip in library.pinned())
        for entry in (tmp_path / "index").glob("*.json"):
            found = library.get(entry.stem)
            assert found is None or library.verify(found.sha256)
        assert library.size == sum(path.stat().st_size for path in (tmp_path / "clips").glob("*/*.clip"))


def test_a_record_of_other_bytes_is_refused(tmp_path: Path) -> None:
    library = Library(tmp_path)
    kept = record(library, b"sound")
    with pytest.raises(ValueError, match="record of"):
        library.add(KEY, b"other", kept)


@pytest.mark.parametrize("bad", ["../../etc/passwd", "", "A" * 64, "a" * 63])
def test_nothing_but_a_hash_names_a_file(tmp_path: Path, bad: str) -> None:
    library = Library(tmp_path)
    with pytest.raises(ValueError, match="is no"):
        library.path(bad)
    with pytest.raises(ValueError, match="is no"):
        library.get(bad)


def test_the_key_changes_with_everything_that_changes_the_sound() -> None:
    same = {"voice": "v", "speed": 1.0, "signal": Signal.RED, "template": "zh", "version": "1"}
    keys = {
        cache_key(["请注意。", "舟曲。"], **same),
        cache_key(["请注意。舟曲。"], **same),
        cache_key(["请注意。", "舟曲。"], **{**same, "voice": "w"}),
        cache_key(["请注意。", "舟曲。"], **{**same, "speed": 0.9}),
        cache_key(["请注意。", "舟曲。"], **{**same, "signal": Signal.EXERCISE}),
        cache_key(["请注意。", "舟曲。"], **{**same, "version": "2"}),
        cache_key(["请注意。", "舟曲。"], **same, readings={"舟曲": "zhou1 qu3"}),
    }
    assert len(keys) == 7
    assert cache_key(["请注意。"], **same, readings={"舟曲": "zhou1 qu3"}) == cache_key(["请注意。"], **same)


def test_the_chain_version_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    same = {"voice": "v", "speed": 1.0, "signal": Signal.RED, "template": "zh", "version": "1"}
    before = cache_key(["请注意。"], **same)
    monkeypatch.setattr("tts.library.CHAIN_VERSION", "next")
    assert cache_key(["请注意。"], **same) != before


@pytest.mark.parametrize("kind", ["actual", "exercise", "test"])
def test_the_shipped_generic_clip_is_whole_loud_and_labelled(kind: str) -> None:
    data, kept = generic(kind)  # type: ignore[arg-type]
    sound, rate = decode(data)
    assert len(sound) / rate == pytest.approx(kept.seconds, abs=0.01)
    assert loudness(sound, rate) == pytest.approx(TARGET_LUFS, abs=1.5)
    assert true_peak(sound) <= -3.0
    assert kept.synthetic
    assert kept.text == "".join(tts.floor.TEXTS[kind])  # type: ignore[index]
    assert ("演练" in kept.text) == (kind == "exercise")
    assert ("测试" in kept.text) == (kind == "test")


def test_the_generic_all_clear_never_says_that_there_is_a_warning() -> None:
    data, kept = generic("actual", "cancel")
    assert data != generic("actual")[0]
    assert "解除" in kept.text
    assert "紧急预警" not in kept.text
    sound, rate = decode(data)
    assert loudness(sound, rate) == pytest.approx(TARGET_LUFS, abs=1.5)
    assert true_peak(sound) <= -3.0
    assert generic("exercise", "cancel") == generic("exercise")


def test_a_damaged_floor_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data, kept = generic()
    (tmp_path / "generic-zh.mp3").write_bytes(data[:-1])
    (tmp_path / "generic-zh.mp3.json").write_text(json.dumps({k: getattr(kept, k) for k in kept.__slots__}))
    monkeypatch.setattr("tts.floor.resources.files", lambda name: tmp_path)
    with pytest.raises(FloorError, match=r"generic-zh\.mp3"):
        generic()
    with pytest.raises(FloorError, match="exercise"):
        generic("exercise")
    assert replace(kept, size=1) != kept


def test_the_controllers_side_never_imports_numpy() -> None:
    heavy = "numpy onnxruntime soundfile wetext jieba"
    code = (
        "import sys, tts.voice, tts.script, tts.library, tts.renderer, tts.floor, tts.templates, tts.reading;"
        f"print([m for m in '{heavy}'.split() if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
