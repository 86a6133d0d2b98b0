"""The documents are true of the program: what they show as configuration loads, what they show as commands
parses, what they link to is there, and what ARCHITECTURE.md lists is what the packages hold."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from config.load import load
from controller.cli.outcome import Code
from controller.cli.program import app, run
from controller.cli.reference import leaves
from controller.metrics import Metrics

ROOT = Path(__file__).parents[2]
# docs/cli.md is written by the program; test_cli_program holds it.
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.yaml"))
    if page != ROOT / "docs" / "cli.md"
)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SETTINGS = {
    "county", "mode", "state_dir", "keys_dir", "keys_passphrase_file", "issuer", "broker", "listen",
    "operators", "feeds", "release",
    "hold_hook", "voice", "broadcast", "targeting", "fatigue", "earthquake",
}  # fmt: skip
BASE = {
    "county": "county: zhouqu\n",
    "mode": "mode: drill\n",
    "state_dir": "state_dir: state\n",
    "issuer": "issuer: {name: 舟曲县应急管理局}\n",
    "broker": "broker: {embedded: {port: 0}}\n",
    "listen": "listen: {api: 'unix:api.sock', terminals: '127.0.0.1:0'}\n",
    "operators": f"operators: [{{name: 王主任, token_sha256: '{'0' * 64}'}}]\n",
}
PASTED = re.compile(r"(token_sha256:\s*)(?:PASTE[^\s}]*|换成[^\s}]*)")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[tuple[int, str, str]]:
    """(line, language, text) of each code block; a YAML file is one."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".yaml":
        yield 1, "yaml", text
        return
    for found in BLOCK.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, found[1], found[2]


def county_configs() -> Iterator[Any]:
    """Each YAML block that shows a county.yaml or a part of one."""
    for page in PAGES:
        for line, language, text in blocks(page):
            if language not in ("yaml", "yml"):
                continue
            keys = set(yaml.safe_load(PASTED.sub(r"\1x", text)) or {})
            if keys & SETTINGS:
                yield pytest.param(text, keys, id=f"{name(page)}:{line}")


def commands() -> Iterator[Any]:
    """Each line of a code block, or of a comment in a YAML file, that begins with ``fenghuo``."""
    for page in PAGES:
        for line, _, text in blocks(page):
            for n, said in enumerate(text.replace("\\\n", " ").splitlines(), line):
                begun = re.match(r"(?:#\s+|runuser -u fenghuo -- )?(fenghuo .*)", said.strip())
                if begun:
                    words = shlex.split(begun[1], comments=True)
                    yield pytest.param(words[1:], id=f"{name(page)}:{n} {' '.join(words)}")


def links() -> Iterator[Any]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"\]\(([^)\s]+)\)", BLOCK.sub("", text)):
            if not re.match(r"[a-z]+:", found[1]):
                yield pytest.param(page, found[1], id=f"{name(page)} {found[1]}")


def mentioned() -> Iterator[Any]:
    """Paths of this repository in ``code`` marks."""
    for page in PAGES:
        if page.suffix == ".md" and page.name != "CHANGELOG.md":
            text = BLOCK.sub("", page.read_text(encoding="utf-8"))
            for path in dict.fromkeys(
                re.findall(r"`([a-z][\w./-]*/[\w.-]+\.(?:py|toml|md|yaml|conf|txt))`", text)
            ):
                yield pytest.param(page, path, id=f"{name(page)} {path}")


@pytest.mark.parametrize(("text", "keys"), list(county_configs()))
def test_every_configuration_in_the_documents_loads(text: str, keys: set[str], tmp_path: Path) -> None:
    assert keys <= SETTINGS
    file = tmp_path / "county.yaml"
    rest = "".join(section for key, section in BASE.items() if key not in keys)
    file.write_text(rest + PASTED.sub(rf'\g<1>"{"0" * 64}"', text), encoding="utf-8")
    shown = yaml.safe_load(file.read_text(encoding="utf-8"))
    found = load(file, on_this_machine=False)
    assert [feed.name for feed in found.feeds] == [feed["name"] for feed in shown.get("feeds", [])]
    assert len(found.release) == len(shown.get("release", []))


def test_what_the_example_shows_in_comments_loads_too(tmp_path: Path) -> None:
    said = (ROOT / "deploy" / "county.example.yaml").read_text(encoding="utf-8")
    above, feeds, below = said.partition("\nfeeds:\n")  # above it are alternatives: one broker or another
    option = re.compile(r"^( *)# ( *(?:- )?[a-z_]+:(?: .*)?)$", re.MULTILINE)
    assert len(option.findall(below)) > 10
    file = tmp_path / "county.yaml"
    file.write_text(above + feeds + option.sub(r"\1\2", below), encoding="utf-8")
    assert "nmc" in [feed.name for feed in load(file, on_this_machine=False).feeds]


def test_a_configuration_that_is_wrong_would_be_found(tmp_path: Path) -> None:
    from config.load import ConfigError

    wrong = "feeds:\n  - {name: x, kind: list, format: nmc, url: 'ftp://x'}\n"
    file = tmp_path / "county.yaml"
    file.write_text("".join(BASE.values()) + wrong, encoding="utf-8")
    with pytest.raises(ConfigError, match="feeds"):
        load(file, on_this_machine=False)


@pytest.fixture
def only_parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The program with commands that do nothing but be counted."""
    parsed: list[str] = []
    root = typer.main.get_command(app)

    def noted(path: str) -> Any:
        def command(**_: Any) -> Code:
            parsed.append(path)
            return Code.DONE

        return command

    for path, command in leaves(root, "fenghuo"):
        if path != "fenghuo":
            command.callback = noted(path)
    monkeypatch.setattr(typer.main, "get_command", lambda _: root)
    return parsed


@pytest.mark.parametrize("words", list(commands()))
def test_every_command_in_the_documents_parses(
    words: list[str], only_parsed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for word in words:  # files and folders that it reads
        if re.fullmatch(r"[\w-]+/", word):
            Path(word).mkdir()
        elif re.fullmatch(r"[\w-]+(?:\.[\w-]+)+", word):
            Path(word).touch()
    assert run(words) == Code.DONE
    if "--help" not in words and "--version" not in words:
        assert len(only_parsed) == 1


def test_a_command_that_is_wrong_would_be_found(only_parsed: list[str]) -> None:
    assert run(["feed", "test", "nmc"]) == Code.USAGE  # no --config
    assert run(["feed", "tset", "nmc"]) == Code.USAGE
    assert run(["alert", "list", "--sate", "held"]) == Code.USAGE
    assert only_parsed == []


def test_every_command_named_in_the_text_is_one_of_ours() -> None:
    known = {path.removeprefix("fenghuo ") for path, _ in leaves(typer.main.get_command(app), "fenghuo")}
    groups = {path.split()[0] for path in known if " " in path}
    unknown = []
    for page in PAGES:
        for said in re.findall(r"`fenghuo ((?:--lang \w+ )?[^`\n]+)`", page.read_text(encoding="utf-8")):
            words = said.removeprefix("--lang zh ").removeprefix("--lang en ").split()
            verb = " ".join(words[:2]) if words[0] in groups else words[0]
            whole_group = words[0] in groups and (len(words) == 1 or not re.fullmatch("[a-z]+", words[1]))
            if verb not in known and not whole_group and not words[0].startswith("-"):
                unknown.append(f"{name(page)}: fenghuo {said}")
    assert unknown == []


@pytest.mark.parametrize(("page", "link"), list(links()))
def test_every_link_leads_somewhere(page: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.exists()
    if anchor:
        headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", target.read_text(encoding="utf-8")), re.MULTILINE)
        # As the usual viewers make an anchor of a heading.
        assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize(("page", "path"), list(mentioned()))
def test_every_file_named_in_the_text_is_there(page: Path, path: str) -> None:
    places = (ROOT, page.parent, ROOT / "tests", ROOT / "controller")
    assert any((place / path).exists() for place in places)


def test_the_manual_explains_every_metric() -> None:
    manual = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    shown = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in Metrics().registry.collect()
    }
    assert len(shown) > 20
    assert sorted(name for name in shown if not re.search(rf"`{name}[`{{]", manual)) == []


def test_the_house_lists_every_module() -> None:
    """Each module of a package stands in ARCHITECTURE.md by its own name, so that nothing is built twice."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    house = text[text.index("## The house") : text.index("## The road")]
    words = set(re.findall(r"[a-z][a-z0-9_]*", house))
    folders = (
        "alerts", "alerts/feeds", "alerts/formats", "config", "config/counties", "controller",
        "controller/store", "controller/web", "simulators", "terminals", "terminals/agent", "tts",
        "tts/voices",
    )  # fmt: skip
    modules = {f"{folder}/{file.stem}" for folder in folders for file in (ROOT / folder).glob("[a-z]*.py")}
    assert {m for m in modules if m.rpartition("/")[2] not in words} == set()
