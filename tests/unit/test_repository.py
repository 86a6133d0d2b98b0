"""What must hold for the tree as it is committed. The unit, the example configuration, the generic package
names and docs/cli.md are held elsewhere: test_deploy, test_config, test_cli_offline, test_cli_program."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

REPO = Path(__file__).parents[2]
MOST_BYTES = 2 * 1024 * 1024
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-build.lock")
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))
# In two halves, so that this file does not name what it looks for.
REGISTRIES = ("py" + "pi.org", "python" + "hosted.org", "py" + "pi.tuna", "mirrors." + "aliyun")
MACHINE_PATH = re.compile(r"(?<![\w.@$}/:~-])/(?:work|root|home|Users)/[\w.]")


@cache
def tracked() -> tuple[Path, ...]:
    if shutil.which("git") is None or not (REPO / ".git").exists():
        pytest.skip("no git, or no repository here: what is tracked is not known")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, check=True)
    return tuple(
        path for name in done.stdout.decode().split("\0") if name and (path := REPO / name).is_file()
    )


@cache
def texts() -> dict[Path, str]:
    found = {}
    for path in tracked():
        body = path.read_bytes()
        if b"\0" not in body:
            found[path.relative_to(REPO)] = body.decode("utf-8", "replace")
    return found


def own_registry() -> set[str]:
    """Hosts that this machine installs from; loopback says nothing."""
    said = [value for name, value in os.environ.items() if name.endswith("INDEX_URL")]
    pip = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(pip, capture_output=True, text=True, check=False).stdout
    said += re.findall(r"https?://[^\s'\"]+", listed)
    hosts = {urlsplit(url).hostname or "" for url in said}
    return {host for host in hosts if "." in host and not host.startswith("127.")}


def test_no_file_names_a_package_registry() -> None:
    names = {*REGISTRIES, *own_registry()}
    assert [(str(path), name) for path, text in texts().items() for name in names if name in text] == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = [
        f"{path}:{n}: {line.strip()[:100]}"
        for path, text in texts().items()
        for n, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line) or f"{REPO}/" in line
    ]
    assert found == []


def test_no_file_is_larger_than_two_megabytes() -> None:
    assert [str(path) for path in tracked() if path.stat().st_size > MOST_BYTES] == []


def test_every_part_of_what_is_installed_is_locked_by_hash_and_from_nowhere_in_particular() -> None:
    for name in LOCKS:
        text = (REPO / name).read_text(encoding="utf-8")
        assert "://" not in text, name
        entries = re.sub(r"\\\n\s*", " ", text).splitlines()
        entries = [line for line in entries if line and not line.startswith("#")]
        assert entries, name
        for entry in entries:
            assert re.match(r"[a-z0-9][a-z0-9._-]*==\S+ ", entry), f"{name}: {entry[:80]}"
            assert "--hash=sha256:" in entry, f"{name}: {entry[:80]}"


def test_what_runs_is_locked_alike_for_running_and_for_developing() -> None:
    def versions(name: str) -> set[str]:
        return set(re.findall(r"^([a-z0-9._-]+==[^\s;]+)", (REPO / name).read_text("utf-8"), re.MULTILINE))

    assert versions("requirements.lock") <= versions("requirements-dev.lock")


def test_every_folder_and_module_that_pyproject_names_is_there() -> None:
    tool = PROJECT["tool"]
    named = [
        *tool["hatch"]["build"]["targets"]["wheel"]["packages"],
        *tool["pytest"]["ini_options"]["testpaths"],
        *tool["pytest"]["ini_options"]["pythonpath"],
        *tool["ruff"]["extend-exclude"],
        *tool["mypy"]["files"],
        *tool["importlinter"]["root_packages"],
        *(pattern.removesuffix("/**") for pattern in tool["ruff"]["lint"]["per-file-ignores"]),
        *PROJECT["project"]["license-files"],
        PROJECT["project"]["readme"],
    ]
    assert [name for name in named if not (REPO / name).exists()] == []
    modules = [m for c in tool["importlinter"]["contracts"] for m in c.get("source_modules", ())]
    files = {m: REPO / m.replace(".", "/") for m in modules}
    assert [m for m, at in files.items() if not at.is_dir() and not at.with_suffix(".py").is_file()] == []


def test_every_package_is_shipped_and_every_shipped_package_is_layered() -> None:
    shipped = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    ours = {p.relative_to(REPO).parts[0] for p in tracked() if p.suffix == ".py"} - {"tests", "benchmarks"}
    assert ours == set(shipped) == set(PROJECT["tool"]["importlinter"]["root_packages"])
    [layers] = [c["layers"] for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    assert {name.strip() for layer in layers for name in layer.split("|")} == ours


def test_the_licence_is_there_whole_and_the_notice_names_us() -> None:
    licence = (REPO / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert "Fenghuo" in (REPO / "NOTICE").read_text(encoding="utf-8")


def test_decisions_are_numbered_without_a_gap_and_none_is_named_that_is_not_there() -> None:
    numbers = sorted(path.name[:4] for path in (REPO / "docs" / "decisions").glob("*.md"))
    assert numbers == [f"{n:04}" for n in range(1, len(numbers) + 1)]
    named = {n for text in texts().values() for n in re.findall(r"decisions/(\d{4})", text)}
    assert named - set(numbers) == set()


def test_the_ci_script_can_be_run() -> None:
    assert os.access(REPO / ".ci" / "run", os.X_OK)


def test_test_files_are_no_packages_and_have_names_of_their_own() -> None:
    files = [path for path in tracked() if path.is_relative_to(REPO / "tests")]
    assert [str(path) for path in files if path.name == "__init__.py"] == []
    names = Counter(path.name for path in files if path.name.startswith("test_"))
    assert [name for name, times in names.items() if times > 1] == []


def test_no_test_is_skipped_or_expected_to_fail_without_a_reason() -> None:
    wrong = []
    for path in tracked():
        if not path.is_relative_to(REPO / "tests") or path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "pytest.mark.skip",
                "pytest.mark.skipif",
                "pytest.mark.xfail",
            ):
                reason = {k.arg for k in node.keywords} & {"reason"}
                if not reason:
                    wrong.append(f"{path.relative_to(REPO)}:{node.lineno}")
    assert wrong == []
