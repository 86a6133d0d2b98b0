"""``fenghuo bank``: from an empty folder to a sentence that may be aired, and what attacks it on the way."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from controller.cli.program import run
from support.studio import RATE, recorded, room, save, talk
from tts.audio import Sound
from tts.bank import Bank, BankError, PiecesDiffer, countdown, files, sound
from tts.bank.files import About
from tts.bank.model import Flaw, Grade, Line, State
from tts.renderer import Form, Piece, Rendered
from tts.voice import Signal

DAY = "2026-11-22"
LINES = (
    Line("line-001", "请注意，请注意。"),
    Line("line-002", "请立即往高处转移。"),
    Line("part-001-rainstorm-red", "暴雨红色预警。"),
    Line("place-w01", "城关镇"),
    Line("place-w02", "大川镇"),
    Line("quake-12", "地震波还有十二秒到达，请立即避险！"),
    Line("quake-13", "", zh="地震波还有十三秒到达，请立即避险！"),
)


def spoken(key: str) -> Sound:
    """What our announcer says for a line: 0.22 s a syllable."""
    text = next(line.text for line in LINES if line.key == key)
    return talk(0.22 * max(3, len(text.strip("。！"))), seed=sum(map(ord, key)))


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank.create(tmp_path / "bank", About("zh", "王老师", "本县使用"), LINES)


def approved(bank: Bank, *keys: str) -> Bank:
    for key in keys:
        bank.keep(key, sound.write_original(recorded(spoken(key)), RATE), ".flac", "studio", DAY)
    assert bank.level() == (len(keys), [])
    assert bank.approve(keys, by="扎西", on=DAY) == (list(keys), [])
    return bank


def named(keys: Sequence[str]) -> list[str]:
    return [word for key in keys for word in ("--key", key)]


def test_the_whole_road_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, heard = tmp_path / "bank", tmp_path / "heard"
    heard.mkdir()

    def fenghuo(*words: str) -> Any:
        code = run(["bank", *words, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out or said.err)

    code, made = fenghuo(
        "new", str(folder), "--language", "zh", "--announcer", "王老师", "--hazard", "hail",
        "--county", "zhouqu", "--consent", "本县使用",
    )  # fmt: skip
    assert code == 0
    assert made["totals"]["missing"] == made["lines"] > 100
    sheet = tmp_path / "sheet.html"
    assert fenghuo("sheet", str(folder), "--out", str(sheet))[0] == 0
    page = sheet.read_text("utf-8")
    assert "<ruby>城<rt>chéng</rt></ruby>" in page
    assert page.count('class="row missing"') == made["lines"]

    bank = Bank.open(folder)
    keys = [key for key, line in bank.lines.items() if key[:5] != "quake" and 8 < len(line.text) < 14][:7]
    seconds = {key: 0.22 * max(3, len(bank.lines[key].text)) for key in keys}
    takes = {key: recorded(talk(seconds[key], seed)) for seed, key in enumerate(keys)}
    save(heard / f"{keys[0]}.wav", sound.resampled(takes[keys[0]], RATE, 48_000), 48_000)
    save(heard / f"{keys[1].upper()}_take2.mp3", takes[keys[1]])
    save(heard / f"{keys[1]} (1).ogg", recorded(talk(seconds[keys[1]], 99)))
    save(heard / f"{keys[2]}.flac", takes[keys[2]], subtype="PCM_24")
    (heard / f"{keys[3]}.wav").write_bytes(b"RIFF and then nothing")
    (heard / "notes.txt").write_text("x")
    code, told = fenghuo("import", str(folder), str(heard))
    assert code == 5
    assert [(one["key"], one["number"]) for one in told["taken"]] == [
        (keys[0], 1), (keys[1], 1), (keys[1], 2), (keys[2], 1),
    ]  # fmt: skip
    assert {one["file"] for one in told["skipped"]} == {f"{keys[3]}.wav", "notes.txt"}
    assert Bank.open(folder).entry(keys[1]).chosen == 2

    session = np.concatenate([part for key in keys[3:7] for part in (takes[key], room(1.2, -65))])
    save(tmp_path / "session.wav", session)
    code, told = fenghuo("cut", str(folder), str(tmp_path / "session.wav"), *named(keys[3:6]))
    assert code == 6
    assert [round(p["end"] - p["start"], 1) for p in told["pieces"]] == pytest.approx(
        [seconds[key] for key in keys[3:7]], abs=0.15
    )
    assert not Bank.open(folder).entry(keys[3]).takes
    assert fenghuo("cut", str(folder), str(tmp_path / "session.wav"), *named(keys[3:7]))[0] == 0

    code, told = fenghuo("level", str(folder))
    assert (code, told["made"]) == (0, 7)
    code, told = fenghuo("check", str(folder))
    assert (code, [one for one in told["findings"] if one["grade"] == "error"]) == (0, [])
    assert len(told["missing"]) == made["lines"] - 7
    assert run(["bank", "approve", str(folder)]) == 2  # by whom?
    capsys.readouterr()
    code, told = fenghuo("approve", str(folder), "--by", "扎西", "--on", DAY)
    assert (code, sorted(told["keys"])) == (0, sorted(keys))
    text = bank.lines[keys[2]].text
    code, found = fenghuo("find", str(folder), text)
    assert code == 0
    assert (found["approved_by"], found["synthetic"]) == ("扎西", False)
    heard_clip, rate = soundfile.read(found["path"], dtype="float32")
    assert rate == 24_000
    assert sound.facts(heard_clip)[0] == pytest.approx(-20, abs=0.5)
    assert sound.likeness(heard_clip, sound.levelled(takes[keys[2]], RATE)) > 0.99
    assert fenghuo("find", str(folder), text + "吗")[0] == 1
    rows = fenghuo("list", str(folder))[1]
    assert [row["key"] for row in rows if row["state"] == "approved"] == [k for k in bank.lines if k in keys]


# --- only the very words, only what was approved -------------------------------------------------


def test_only_the_very_words_are_found(bank: Bank) -> None:
    approved(bank, "line-001", "part-001-rainstorm-red", "place-w01", "place-w02")
    assert bank.find("zh", "请注意，请注意") is not None
    for other in ("请注意", "请请注意，请注意。", "暴雨橙色预警。", "城关镇暴", "", "。"):
        assert bank.find("zh", other) is None
    assert bank.find("bo", "请注意，请注意。") is None
    lead = bank.find("zh", "城关镇、大川镇，暴雨红色预警。")
    assert lead is not None
    assert lead.keys == ("place-w01", "place-w02", "part-001-rainstorm-red")
    assert lead.approved_by == "扎西"
    parts = [soundfile.info(bank.recording(key).path).duration for key in lead.keys]  # type: ignore[union-attr]
    assert soundfile.info(lead.path).duration == pytest.approx(sum(parts) + 0.24, abs=0.02)
    assert set(bank.recorded("zh", ["城关镇", "没有录的"])) == {"城关镇"}


def test_one_part_that_nobody_approved_keeps_the_whole_from_being_aired(bank: Bank) -> None:
    approved(bank, "place-w01")
    bank.keep("part-001-rainstorm-red", sound.write_original(recorded(talk(1.4, 5)), RATE), ".flac", "x", DAY)
    bank.level()
    assert bank.find("zh", "城关镇，暴雨红色预警。") is None
    heard = bank.find("zh", "城关镇，暴雨红色预警。", approved_only=False)
    assert heard is not None
    assert (heard.approved_by, heard.approved_on) == ("", "")


def test_a_clip_whose_bytes_changed_is_not_aired(bank: Bank) -> None:
    approved(bank, "line-001")
    found = bank.find("zh", "请注意，请注意。")
    assert found is not None
    data = bytearray(found.path.read_bytes())
    data[len(data) // 2] ^= 1
    found.path.write_bytes(data)
    assert bank.find("zh", "请注意，请注意。") is None
    assert [f.flaw for f in bank.check()] == [Flaw.DAMAGED]
    assert bank.level()[0] == 1  # made again from the original: the same bytes, so the approval holds
    assert bank.find("zh", "请注意，请注意。") is not None
    found.path.unlink()
    assert bank.find("zh", "请注意，请注意。") is None


def test_an_original_that_changed_is_named_and_not_levelled(bank: Bank) -> None:
    bank.keep("line-001", sound.write_original(recorded(spoken("line-001")), RATE), ".flac", "x", DAY)
    take = bank.entry("line-001").take()
    assert take is not None
    (bank.folder / "originals" / take.file).write_bytes(b"other")
    made, skipped = bank.level()
    assert (made, [one.file for one in skipped]) == (0, ["line-001"])
    assert "changed" in skipped[0].why


def test_words_that_change_take_the_recording_out_of_service(bank: Bank) -> None:
    approved(bank, "line-002")
    lines = [*bank.lines.values()]
    lines[1] = Line("line-002", "请立即往低处转移。")
    files.write(bank.folder / "lines.csv", files.lines_text(lines))
    again = Bank.open(bank.folder)
    assert again.state("line-002") is State.CHANGED
    assert again.find("zh", "请立即往低处转移。", approved_only=False) is None
    assert again.find("zh", "请立即往高处转移。", approved_only=False) is None
    assert again.approve(["line-002"], by="x", on=DAY)[0] == []


def test_a_bank_that_is_open_sees_what_is_approved_and_withdrawn_meanwhile(
    bank: Bank, caplog: pytest.LogCaptureFixture
) -> None:
    """A controller holds it for months; the county works in it with the command line."""
    held = Bank.open(bank.folder)
    assert held.find("zh", "请注意，请注意。") is None
    approved(bank, "line-001")
    assert held.find("zh", "请注意，请注意。") is not None
    bank.withdraw(["line-001"])
    assert held.find("zh", "请注意，请注意。") is None
    approved(bank, "line-002")
    assert held.find("zh", "请立即往高处转移。") is not None
    whole = (bank.folder / "bank.json").read_bytes()
    (bank.folder / "bank.json").write_bytes(b"{")
    assert held.find("zh", "请立即往高处转移。") is None
    assert "nothing is taken from the bank" in caplog.text
    (bank.folder / "bank.json").write_bytes(whole)
    assert held.find("zh", "请立即往高处转移。") is not None


def test_a_new_take_does_not_silence_the_approved_one_and_is_not_aired_itself(bank: Bank) -> None:
    approved(bank, "line-002")
    old = bank.find("zh", "请立即往高处转移。")
    bank.keep("line-002", sound.write_original(recorded(talk(2, 77)), RATE), ".flac", "x", DAY)
    bank.level()
    assert bank.state("line-002") is State.LEVELLED
    assert bank.find("zh", "请立即往高处转移。") == old
    newest = bank.find("zh", "请立即往高处转移。", approved_only=False)
    assert newest is not None
    assert old is not None
    assert newest.sha256 != old.sha256
    assert newest.approved_by == ""
    version = bank.version
    bank.approve(["line-002"], by="卓玛", on=DAY)
    assert bank.find("zh", "请立即往高处转移。") != old
    assert bank.version == version + 1
    bank.choose("line-002", 1)
    assert bank.state("line-002") is State.RECORDED
    assert bank.withdraw(["line-002"]) == ["line-002"]
    assert bank.find("zh", "请立即往高处转移。") is None


def test_nothing_with_an_error_can_be_approved(bank: Bank) -> None:
    wrong = {
        "line-001": np.clip(recorded(talk(1.4, 1, level=1.0)), -0.5, 0.5),
        "line-002": recorded(talk(2, 2), noise_db=-24),
        "place-w01": recorded(talk(8, 3)),
        "place-w02": recorded(talk(0.2, 4)),
    }
    for key, heard in wrong.items():
        bank.keep(key, sound.write_original(heard, RATE), ".flac", "x", DAY)
    bank.level()
    found = {(f.key, f.flaw) for f in bank.check() if f.grade is Grade.ERROR}
    assert found == {
        ("line-001", Flaw.CLIPPED), ("line-002", Flaw.NOISY), ("place-w01", Flaw.TOO_LONG),
        ("place-w02", Flaw.TOO_SHORT),
    }  # fmt: skip
    done, skipped = bank.approve([], by="扎西", on=DAY)
    assert done == []
    assert {one.file for one in skipped} == set(wrong)


def test_one_recording_under_two_lines_is_found(bank: Bank) -> None:
    heard = recorded(talk(1.0, 8))
    bank.keep("place-w01", sound.write_original(heard, RATE), ".flac", "x", DAY)
    bank.keep("place-w02", sound.write_original(heard * np.float32(0.5), RATE), ".flac", "y", DAY)
    bank.level()
    found = [(f.key, f.flaw, f.grade) for f in bank.check()]
    assert found == [(key, Flaw.SAME_SOUND, Grade.ERROR) for key in ("place-w01", "place-w02")]
    assert bank.approve([], by="扎西", on=DAY)[0] == [], "which of the two says its words, nobody knows"


def test_a_line_read_at_another_pace_is_doubted(bank: Bank) -> None:
    for key in ("line-001", "line-002", "part-001-rainstorm-red", "place-w02", "quake-12"):
        bank.keep(key, sound.write_original(recorded(spoken(key)), RATE), ".flac", "x", DAY)
    bank.keep("place-w01", sound.write_original(recorded(talk(1.8, 3)), RATE), ".flac", "x", DAY)
    bank.level()
    assert [(f.key, f.flaw) for f in bank.check()] == [("place-w01", Flaw.PACE)]


def test_a_refresh_counts_what_is_new_and_what_nobody_needs(bank: Bank) -> None:
    approved(bank, "place-w01")
    written = [Line("quake-13", "ས་འགུལ།", zh="x"), *(line for line in LINES if line.key != "quake-13")]
    files.write(bank.folder / "lines.csv", files.lines_text(written))
    wanted = [Line("quake-13", "", zh="x"), *LINES[:5], Line("line-003", "新的话。")]
    assert bank.refresh(wanted) == (1, 1)  # quake-12 is not asked for any more
    assert bank.lines["quake-13"].text == "ས་འགུལ།"
    assert bank.find("zh", "城关镇") is not None
    assert bank.refresh(wanted) == (0, 1)


def test_no_machine_speaks_in_the_bank_of_a_person(bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bank", "demo", "--out", str(bank.folder)]) == 6
    assert "person" in capsys.readouterr().err
    assert all(bank.state(key) in (State.MISSING, State.UNWRITTEN) for key in Bank.open(bank.folder).lines)


# --- files from outside --------------------------------------------------------------------------


def test_names_from_outside_stay_outside(bank: Bank, tmp_path: Path) -> None:
    heard = tmp_path / "in"
    heard.mkdir()
    good = sound.write_original(recorded(spoken("place-w01")), RATE)
    for name in (
        "..%2fplace-w01.flac",
        "place-w01\u202e.flac",
        "place-w01;rm -rf.flac",
        "-key.flac",
        "CON.flac",
    ):
        (heard / name).write_bytes(good)
    (tmp_path / "secret.flac").write_bytes(good)
    (heard / "place-w02.flac").symlink_to(tmp_path / "secret.flac")
    os.mkfifo(heard / "line-001.flac")  # would wait for ever
    (heard / "line-002.flac").mkdir()
    before = {path for path in tmp_path.rglob("*") if bank.folder not in path.parents}
    taken, skipped = bank.add([heard], on=DAY)
    assert taken == []
    assert len(skipped) == 7
    assert {path for path in tmp_path.rglob("*") if bank.folder not in path.parents} == before


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e["takes"][0].update(file="../../secret"),
        lambda e: e["takes"][0].update(file="/etc/passwd"),
        lambda e: e["clip"].update(file="../bank.json"),
        lambda e: e["approval"]["clip"].update(file="../../x.flac"),
        lambda e: e.update(takes="x"),
        lambda e: e["clip"].update(seconds="long"),
    ],
)
def test_a_ledger_that_points_elsewhere_is_refused(bank: Bank, change: Callable[[Any], None]) -> None:
    approved(bank, "line-001")
    file = bank.folder / "bank.json"
    ledger = json.loads(file.read_text("utf-8"))
    change(ledger["entries"]["line-001"])
    file.write_text(json.dumps(ledger), "utf-8")
    with pytest.raises(BankError, match=r"bank\.json"):
        Bank.open(bank.folder)


def test_folders_of_the_bank_that_lead_elsewhere_are_refused(bank: Bank, tmp_path: Path) -> None:
    approved(bank, "line-001")
    (bank.folder / "clips").rename(tmp_path / "clips")
    (bank.folder / "clips").symlink_to(tmp_path / "clips")
    with pytest.raises(BankError, match="leads elsewhere"):
        Bank.open(bank.folder)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("bank.toml", b"language = ", "bank.toml"),
        ("bank.toml", b'language = "../zh"\nannouncer = "x"', "small letters"),
        ("bank.toml", b'language = "zh"\nannouncer = "x"\nformat = 2', "format 2"),
        ("bank.toml", b'language = "zh"\nannouncer = "x"\nplaces = "streets"', "streets"),
        ("bank.json", b"{", "backup"),
        ("bank.json", b"", "backup"),
        ("lines.csv", b"text\nx", "must name the columns"),
        ("lines.csv", b"key,text\n../x,y", "lines.csv:2"),
        ("lines.csv", b"key,text\na,x\na,y", "lines.csv:3"),
        ("lines.csv", b"key,text\na,x,y,z,u,v,w", "more cells"),
        ("lines.csv", b"key,text\na,x\x07y", "no line"),
        ("lines.csv", b"key,text\na,\xff\xff\xff", "GB 18030"),
        ("lines.csv", b'key,text\na,"x', "lines.csv"),
    ],
)
def test_a_damaged_file_of_the_bank_is_named_and_nothing_begun_anew(
    bank: Bank, name: str, data: bytes, said: str
) -> None:
    (bank.folder / name).write_bytes(data)
    with pytest.raises(BankError, match=said):
        Bank.open(bank.folder)
    assert (bank.folder / name).read_bytes() == data


def test_a_bank_is_made_in_an_empty_folder_only(bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(BankError, match="not empty"):
        Bank.create(bank.folder, bank.about, LINES)
    with pytest.raises(BankError, match="one line"):
        Bank.create(tmp_path / "other", About("zh", "a\nlanguage = 'bo'"), LINES)
    assert not (tmp_path / "other").exists()


def test_the_same_file_twice_is_one_take_and_another_is_a_second(bank: Bank, tmp_path: Path) -> None:
    one = save(tmp_path / "place-w01.wav", recorded(talk(1, 1)))
    assert [t.again for t in bank.add([one], on=DAY)[0]] == [False]
    assert [t.again for t in bank.add([one], on=DAY)[0]] == [True]
    save(one, recorded(talk(1, 2)))
    taken, _ = bank.add([one], on=DAY)
    assert [(t.number, t.replaces) for t in taken] == [(2, 1)]
    kept = {(bank.folder / "originals" / take.file).read_bytes() for take in bank.entry("place-w01").takes}
    assert len(kept) == 2
    assert bank.add([one], key="quake-13", on=DAY)[0] == []  # no words yet
    with pytest.raises(BankError, match="no line of this bank"):
        bank.add([one], key="nothing", on=DAY)


# --- long recordings -----------------------------------------------------------------------------


def session(keys: tuple[str, ...], pause: float = 1.5) -> Sound:
    parts = [part for key in keys for part in (spoken(key), np.zeros(int(pause * RATE), np.float32))]
    return recorded(np.concatenate(parts), noise_db=-55)


def test_a_count_that_does_not_match_is_refused_showing_where_the_pauses_lie(
    bank: Bank, tmp_path: Path
) -> None:
    keys = ("line-002", "part-001-rainstorm-red", "place-w01")
    path = save(tmp_path / "all.wav", session(keys))
    with pytest.raises(PiecesDiffer) as refused:
        bank.cut(path, on=DAY)
    assert refused.value.lines == 6
    assert [(p.number, p.key) for p in refused.value.pieces] == [
        (1, "line-001"),
        (2, "line-002"),
        (3, "part-001-rainstorm-red"),
    ]
    assert all(state is State.MISSING for state in map(bank.state, keys))
    with pytest.raises(PiecesDiffer) as refused:
        bank.cut(path, keys=keys, pause=2.5, on=DAY)
    assert 0.8 in refused.value.pauses
    pieces, taken = bank.cut(path, keys=keys, on=DAY)
    assert [t.key for t in taken] == list(keys)
    for piece in pieces:
        take = bank.entry(piece.key).take()
        assert take is not None
        heard = sound.levelled(*bank.original(take))
        assert sound.likeness(heard, sound.levelled(recorded(spoken(piece.key)), RATE)) > 0.9
    assert (bank.folder / "originals" / "_sessions").is_dir()


def test_a_slip_in_a_long_recording_is_left_out(bank: Bank, tmp_path: Path) -> None:
    path = save(tmp_path / "all.wav", session(("place-w01", "line-002", "place-w02")))
    pieces, _ = bank.cut(path, keys=("place-w01", "place-w02"), drop=[2], on=DAY, write=False)
    assert [(p.number, p.key) for p in pieces] == [(1, "place-w01"), (3, "place-w02")]
    assert bank.state("place-w01") is State.MISSING


# --- killed, full, and two at once ---------------------------------------------------------------

_KILLED = """
import os, signal, sys
from pathlib import Path
from tts.bank import Bank, files
real, left = files.write, [int(sys.argv[2])]
def write(path, data):
    if left[0] == 0:
        path.parent.mkdir(exist_ok=True)
        (path.parent / ".part-torn").write_bytes(data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    real(path, data)
files.write = write
bank = Bank.open(Path(sys.argv[1]))
bank.add([Path(sys.argv[3])], on="2026-11-22")
bank.level()
bank.approve([], by="x", on="2026-11-22")
"""


@pytest.mark.parametrize("writes", [0, 1, 3, 6])
def test_killed_at_any_write_the_bank_opens_and_goes_on(bank: Bank, tmp_path: Path, writes: int) -> None:
    heard = tmp_path / "in"
    heard.mkdir()
    for key in ("place-w01", "place-w02"):
        save(heard / f"{key}.wav", recorded(spoken(key)))
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(bank.folder), str(writes), str(heard)], timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL
    again = Bank.open(bank.folder)
    again.add([heard], on=DAY)
    again.level()
    again.approve([], by="扎西", on=DAY)
    assert {key: len(again.entry(key).takes) for key in ("place-w01", "place-w02")} == {
        "place-w01": 1,
        "place-w02": 1,
    }
    assert again.find("zh", "城关镇、大川镇") is not None


def test_a_full_disk_is_told_and_leaves_the_old_state(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    approved(bank, "line-001")
    before = (bank.folder / "bank.json").read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BankError, match="No space left"):
        bank.keep("line-002", sound.write_original(recorded(talk(2, 1)), RATE), ".flac", "x", DAY)
    monkeypatch.undo()
    assert (bank.folder / "bank.json").read_bytes() == before
    assert not list(bank.folder.rglob(".part-*"))
    assert Bank.open(bank.folder).find("zh", "请注意，请注意。") is not None


def _hold(folder: str, ready: Any, go: Any) -> None:
    with files.locked(Path(folder)):
        ready.set()
        go.wait(20)


def test_two_writers_do_not_work_in_one_bank(bank: Bank) -> None:
    ctx = multiprocessing.get_context("spawn")
    ready, go = ctx.Event(), ctx.Event()
    other = ctx.Process(target=_hold, args=(str(bank.folder), ready, go))
    other.start()
    try:
        assert ready.wait(20)
        with pytest.raises(BankError, match="another fenghuo"):
            bank.level()
    finally:
        go.set()
        other.join(20)
    assert bank.level() == (0, [])


def test_what_another_wrote_meanwhile_is_kept(bank: Bank) -> None:
    other = Bank.open(bank.folder)
    approved(bank, "line-001")
    approved(other, "line-002")
    assert Bank.open(bank.folder).serving() == 2


# --- the countdown -------------------------------------------------------------------------------


class FakeRenderer:
    """Says what it was asked; a voice would take minutes."""

    def __init__(self) -> None:
        self.asked: list[tuple[Piece, Form, str]] = []

    async def render_pieces(self, pieces: Sequence[Piece], form: Form, **more: Any) -> Rendered:
        (piece,) = pieces
        self.asked.append((piece, form, more["voice"]))
        said = b"bank" if set(piece.sentences) <= set(piece.recorded) else b"voice"
        return Rendered(said, 1.0, -15, -2, {}, more["voice"], "", piece.sentences)


def made(renderer: FakeRenderer, **more: Any) -> dict[str, bytes]:
    async def collect() -> dict[str, bytes]:
        clips = countdown.countdown(renderer, **more)  # type: ignore[arg-type]
        return {name: clip.clip async for name, clip in clips}

    return asyncio.run(collect())


def test_the_countdown_takes_approved_recordings_first_and_the_voice_for_the_rest(bank: Bank) -> None:
    approved(bank, "quake-12")
    renderer = FakeRenderer()
    clips = made(renderer, bank=bank)
    assert next(iter(clips)) == "quake/-"
    assert set(clips) == {"quake/-", *(f"quake/{n}" for n in range(1, 61))}
    assert [name for name, clip in clips.items() if clip == b"bank"] == ["quake/12"]
    piece, _, voice = next(one for one in renderer.asked if one[0].recorded)
    assert piece.sentences == ("地震波还有十二秒到达，请立即避险！",)
    assert piece.recorded[piece.sentences[0]] == bank.recording("quake-12").path  # type: ignore[union-attr]
    assert voice == "bank:bank"
    assert {form.signal for _, form, _ in renderer.asked} == {Signal.QUAKE}
    assert set(made(renderer, only={"quake/-", "quake/3"})) == {"quake/-", "quake/3"}


def test_an_exercise_countdown_never_takes_the_actual_clauses(bank: Bank) -> None:
    approved(bank, "quake-12")
    renderer = FakeRenderer()
    clips = made(renderer, bank=bank, kind="exercise")
    assert set(clips.values()) == {b"voice"}
    assert all("演练" in piece.sentences[0] for piece, _, _ in renderer.asked)
    assert {form.signal for _, form, _ in renderer.asked} == {Signal.EXERCISE}


def test_a_language_with_a_bank_only_has_what_the_bank_has(tmp_path: Path) -> None:
    text = "ས་འགུལ་སྐར་ཆ་བཅུ་གཉིས་ལ་སླེབས།"
    bank = Bank.create(
        tmp_path / "bo", About("bo", "卓玛"), [Line("quake-12", text, zh="x"), Line("quake-none", "", zh="y")]
    )
    bank.keep("quake-12", sound.write_original(recorded(talk(2.0, 4)), RATE), ".flac", "x", DAY)
    bank.level()
    renderer = FakeRenderer()
    assert made(renderer, language="bo", bank=bank) == {}  # nobody approved it
    bank.approve([], by="扎西", on=DAY)
    assert made(renderer, language="bo", bank=bank) == {"quake/12": b"bank"}
    assert len(renderer.asked) == 1
    with pytest.raises(countdown.CountdownError):
        made(renderer, language="bo", bank=None)
