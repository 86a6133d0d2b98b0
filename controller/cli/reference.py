"""docs/cli.md, written from the commands themselves: ``python -m controller.cli.reference > docs/cli.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer

from controller.cli import words
from controller.cli.outcome import Code

_MEANS = {
    Code.DONE: "done",
    Code.FAILED: "failed, or not confirmed",
    Code.USAGE: "usage",
    Code.CONFIG: "configuration",
    Code.UNREACHABLE: "service not reachable, or it does not know the token",
    Code.PARTLY: "partly delivered",
    Code.REFUSED: "refused",
}
_HEAD = """\
# The command line

Written by `python -m controller.cli.reference > docs/cli.md`; a test holds it to the program.

Data goes to stdout, talk to stderr. `--json` gives data as JSON on stdout and an error as one JSON object on
stderr: `error`, `exit`, `messages`. `broadcast watch --json` and `alert watch --json` give one object a line:
`event`, `data`. Everything that makes or stops a sound asks for the word of its kind (ACTUAL, EXERCISE, TEST;
实警, 演练, 测试); without a terminal it needs `--yes`. The language is `--lang zh` or `--lang en` before the
command, else that of the locale.

The controller is found by `--url`, else `--config` (its `listen.api`), else `FENGHUO_URL`, `FENGHUO_CONFIG`,
else `unix:./state/api.sock`. The token is in the file `--token-file`, else in `FENGHUO_TOKEN`, else in the
file `FENGHUO_TOKEN_FILE`, else in `~/.config/fenghuo/token`; a token file has mode 0600.

Completion: `fenghuo --install-completion`.
"""


def render() -> str:
    """The page. `words.use("en")` must have been said before `controller.cli.program` was imported."""
    from controller.cli.program import NAME, app

    lines = [_HEAD, "| exit code | |", "|---|---|"]
    lines += [f"| {int(code)} | {text} |" for code, text in _MEANS.items()]
    for name, command in leaves(typer.main.get_command(app), NAME):
        context = command.context_class(command, info_name=name)
        usage = " ".join(command.collect_usage_pieces(context))
        lines += ["", f"## `{name}`", "", command.help or "", "", f"`{name} {usage}`".replace(" `", "`"), ""]
        lines += ["| | |", "|---|---|"]
        for parameter in command.params:
            record = parameter.get_help_record(context)
            if record is not None:
                lines.append("| " + " | ".join(_cell(text) for text in (f"`{record[0]}`", record[1])) + " |")
    return "\n".join(lines) + "\n"


def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """(full name, command) of every command that does something; the root stands for the global options."""
    children = command.list_commands(None) if hasattr(command, "list_commands") else []
    if not children or " " not in name:
        yield name, command
    for word in children:
        yield from leaves(command.get_command(None, word), f"{name} {word}")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    words.use("en")
    sys.stdout.write(render())
