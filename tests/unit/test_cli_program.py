"""The program as a whole: its start, its help, its languages, its words and its page in docs."""

import ast
import json
import os
import re
import string
import subprocess
import sys
from pathlib import Path

import pytest

from controller.cli import help as cli_help
from controller.cli import words
from controller.cli.outcome import Code, Failure
from controller.cli.program import app, run
from controller.cli.reference import leaves

ROOT = Path(__file__).parents[2]
HEAVY = [
    "alembic", "aiomqtt", "cryptography", "fastapi", "httpx2", "jieba", "msgspec", "numpy", "onnxruntime",
    "pydantic", "rich", "sqlalchemy", "uvicorn", "yaml",
]  # fmt: skip


def python(*arguments, **env):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "FENGHUO_"))}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**clean, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def fenghuo(*arguments, **env):
    return python("-m", "controller.cli", *arguments, **env)


@pytest.fixture(autouse=True)
def english():
    words.use("en")
    yield
    words.use("en")


@pytest.mark.parametrize(
    "start",
    ["import controller.cli", "from controller.cli import main; sys.argv = ['fenghuo', '--help']; main()"],
)
def test_nothing_heavy_is_imported_before_it_is_needed(start):
    done = python("-c", f"import sys; {start}; print(*sys.modules, file=sys.stderr)")
    loaded = set(done.stderr.split())
    assert "controller.cli" in loaded
    assert loaded & set(HEAVY) == set()


@pytest.mark.parametrize(
    ("arguments", "env", "shown"),
    [
        (["--help"], {"LANG": "zh_CN.UTF-8"}, ["用法：", "命令", "值守概况。", "退出码：", "4 连不上服务"]),
        (["--help"], {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, ["Usage:", "Commands", "The desk at a glance."]),
        (["--lang", "zh", "alert", "send", "--help"], {"LC_ALL": "C"}, ["发布实警", "预警颜色。", "不询问"]),
        (
            ["--lang=en", "alert", "send", "--help"],
            {"LANG": "zh_CN.UTF-8"},
            ["REAL warning", "Exit codes: 0 done"],
        ),
    ],
)
def test_help_speaks_the_operators_language(arguments, env, shown):
    done = fenghuo(*arguments, **env)
    assert done.returncode == 0
    assert [word for word in shown if word not in done.stdout] == []


def test_chinese_help_has_no_line_wider_than_its_terminal():
    done = fenghuo("--lang", "zh", "alert", "send", "--help", COLUMNS="80")
    assert max(map(cli_help.width, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "env", "language"),
    [
        ([], {}, "en"),
        ([], {"LANG": "zh_CN.UTF-8"}, "zh"),
        ([], {"LC_MESSAGES": "zh_CN", "LANG": "en_US"}, "zh"),
        ([], {"LC_ALL": "de_DE", "LC_MESSAGES": "zh_CN"}, "en"),
        (["--lang", "zh", "status"], {}, "zh"),
        (["--lang", "en"], {"LANG": "zh_CN"}, "en"),
        (["alert", "list", "--lang", "zh"], {}, "en"),
        (["--lang"], {}, "en"),
        (["--lang", "fr"], {"LANG": "zh_CN"}, "zh"),
    ],
)
def test_the_language_is_the_option_before_the_command_else_the_locale(arguments, env, language):
    assert words.language(arguments, env) == language


@pytest.mark.parametrize(
    ("arguments", "english", "chinese"),
    [
        (["alret", "list"], "Did you mean 'alert'", "是不是 'alert'"),
        (["alert", "show"], "Missing argument 'ID'", "缺少 'ID'"),
        (["status", "--jsn"], "No such option: --jsn", "没有这个选项：--jsn"),
        (["alert", "list", "--limit", "x"], "Invalid value for '--limit'", "'--limit' 的值不对"),
        (["alert", "reject", "A1"], "'--reason'", "缺少 '--reason'"),
    ],
)
def test_a_wrong_command_line_is_exit_2_in_either_language(capsys, arguments, english, chinese):
    for language, shown in (("en", english), ("zh", chinese)):
        words.use(language)
        assert run(arguments) == Code.USAGE
        said = capsys.readouterr()
        assert shown in said.err
        assert "--help" in said.err
        assert said.out == ""
    assert run([*arguments, "--json"]) == Code.USAGE
    assert json.loads(capsys.readouterr().err)["exit"] == 2


def test_the_program_says_its_version(capsys):
    assert run(["--version"]) == Code.DONE
    assert re.fullmatch(r"fenghuo \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_without_a_command_the_help_is_shown(capsys):
    assert run([]) == Code.USAGE
    assert "Exit codes" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "controller.cli", "config", "schema"],
            cwd=ROOT,
            stdout=gone,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 0
    assert done.stderr == b""


def test_our_bugs_travel_up(monkeypatch):
    from controller.cli.client import Client

    def bug(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(Client, "find", bug)
    with pytest.raises(ZeroDivisionError):
        run(["status"])


@pytest.mark.parametrize("code", list(Code))
def test_every_exit_code_is_in_the_help_of_every_command(code):
    import typer

    texts = {c.epilog for _, c in leaves(typer.main.get_command(app), "fenghuo") if " " in _}
    assert len(texts) == 1
    (text,) = texts
    assert f"{int(code)} " in text


def test_the_page_of_commands_is_as_the_program_is():
    done = python("-m", "controller.cli.reference", LANG="zh_CN.UTF-8", COLUMNS="40")
    assert done.stderr == ""
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == done.stdout


def test_the_page_names_every_command_and_option():
    import typer

    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## `(.*?)`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    found = dict(leaves(typer.main.get_command(app), "fenghuo"))
    assert set(sections) == set(found)
    assert len(found) > 30
    for name, command in found.items():
        options = [option for parameter in command.params for option in parameter.opts if option[0] == "-"]
        assert [o for o in options if o not in sections[name]] == []


def test_every_command_that_prints_data_takes_json():
    import typer

    found = dict(leaves(typer.main.get_command(app), "fenghuo"))
    without = {name for name, c in found.items() if not any("--json" in p.opts for p in c.params)}
    # The root; a service; a picture; and what is JSON anyway.
    assert without == {"fenghuo", "fenghuo serve", "fenghuo demo", "fenghuo config schema"}


def test_whatever_sounds_or_silences_can_be_asked_first():
    import typer

    found = dict(leaves(typer.main.get_command(app), "fenghuo"))
    careful = {
        n.removeprefix("fenghuo ") for n, c in found.items() if any("--dry-run" in p.opts for p in c.params)
    }
    careful.remove("county import")  # which writes files and sounds nothing
    careful -= {"bank cut", "terminal import", "tts prepare"}  # the same
    assert careful == {
        "alert send", "exercise send", "test send", "exercise siren", "alert approve", "alert cancel",
        "broadcast stop", "broadcast air", "standing send", "standing drop",
    }  # fmt: skip
    asked = {n.removeprefix("fenghuo ") for n, c in found.items() if any("--yes" in p.opts for p in c.params)}
    assert asked == careful | {"terminal retire", "terminal replace"}  # which change the register only


# --- the words -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", words.TABLE)
def test_both_languages_say_the_same_things(key):
    fields = [
        sorted(name for _, name, _, _ in string.Formatter().parse(text) if name) for text in words.TABLE[key]
    ]
    assert fields[0] == fields[1]
    assert all(words.TABLE[key])


def test_every_word_that_is_used_is_there_and_every_word_there_is_used():
    source = "".join(
        file.read_text(encoding="utf-8")
        for file in (ROOT / "controller" / "cli").glob("*.py")
        if file.name != "words.py"
    )
    used = set(re.findall(r"""['"]([a-z0-9_]+)['"]""", source))
    built = set(re.findall(r"""[fF]['"]([a-z]+_(?:[a-z]+_)?)\{""", source))
    built |= set(re.findall(r"""['"]([a-z]+_)['"] \+""", source))
    asked_for = set(re.findall(r"""\bw\(\s*['"]([a-z0-9_]+)['"]""", source))
    assert asked_for - set(words.TABLE) - built == set()
    assert {
        k for k in words.TABLE if k not in used and not any(k.startswith(prefix) for prefix in built)
    } == set()


def test_every_reason_of_a_terminal_has_words():
    from terminals.agent.core import Reason
    from terminals.seal import SealReason

    for reason in (*Reason, *SealReason):
        row = {"state": "failed", "reason": reason.value, "words": f"failed {reason} (detail)"}
        said = words.reason_words(row, "zh")
        assert "failed" not in said
        assert said.endswith(f"（{reason}：detail）")
        said = words.reason_words(row, "en")
        assert said.endswith(f"({reason}: detail)")
        assert not said.startswith(("failed", "("))  # the state has a column of its own
        alike = {**row, "words": f"failed {reason} ({reason})"}
        assert words.reason_words(alike, "en").endswith(f" ({reason})")


def test_every_deed_in_the_audit_has_its_chinese():
    """As the code writes them; `{}` stands for what is filled in: a kind, a state."""
    deeds = set()
    for file in (ROOT / "controller").rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(("Entry", "._decide")):
                for word in (*call.args, *(named.value for named in call.keywords)):
                    deeds |= set(re.findall(r"'([a-z{}_.()-]+\.[a-z{}_.()-]+)'", ast.unparse(word)))
    assert len(deeds) > 25
    for deed in deeds:
        known = re.compile(re.sub(r"\{.*\}", "[a-z-]+", deed.replace(".", r"\.")) + "$")
        assert any(map(known.match, words._DEEDS)), deed
    words.use("zh")
    assert words.deed_words("exercise.send") == "发出演练"
    assert words.who_words("feed:bureau") == "来源 bureau"
    assert words.who_words("王主任") == "王主任"
    words.use("en")
    assert words.deed_words("exercise.send") == "exercise.send"


def test_every_state_has_words():
    from controller.store.records import AlertState, BroadcastState
    from terminals.delivery import State

    for state in State:
        words.w(f"s_{state}")
    for state in AlertState:
        words.w(f"a_{state}")
    for state in BroadcastState:
        words.w(f"b_{state}")


@pytest.mark.parametrize(
    ("said", "chinese"),
    [
        ("no report since 12:00:00, last seen 11:59:58", "自 12:00:00 起无回报，最后一次收到 11:59:58"),
        ("no report, never seen", "无回报，从未上线"),
        ("not sent yet", "尚未下发"),
    ],
)
def test_absence_is_worded_as_what_is_known(said, chinese):
    assert words.reason_words({"reason": "", "words": said}, "zh") == chinese


# --- the look of the help ------------------------------------------------------------------------


def test_chinese_is_wrapped_by_display_width_and_marks_do_not_begin_a_line():
    lines = cli_help.wrap("发布实警：来自 FILE，或用 --template 拟稿。" * 5, 20)
    assert max(map(cli_help.width, lines)) <= 22
    assert not [line for line in lines if line[0] in "，。："]
    assert "".join(lines).replace(" ", "") == ("发布实警：来自FILE，或用--template拟稿。" * 5)


def test_a_failure_keeps_its_lines():
    failure = Failure(Code.REFUSED, "one", "two", reasons=["x"])
    assert (str(failure), failure.data) == ("one\ntwo", {"reasons": ["x"]})
