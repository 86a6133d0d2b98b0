"""What every command shares: how it finds the controller, `--json`, and its options in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Concatenate, Final, ParamSpec

from typer import Option

from controller.cli import say
from controller.cli.client import Client
from controller.cli.outcome import Code, Failure
from controller.cli.words import w

P = ParamSpec("P")

Json = Annotated[bool, Option("--json", help=w("o_json"))]
Yes = Annotated[bool, Option("--yes", help=w("o_yes"))]
DryRun = Annotated[bool, Option("--dry-run", help=w("o_dry_run"))]
Wait = Annotated[bool, Option("--wait", help=w("o_wait"))]
ConfigFile = Annotated[
    Path,
    Option("--config", "-c", metavar="FILE", envvar="FENGHUO_CONFIG", show_envvar=False, help=w("o_config")),
]

Url = Annotated[str | None, Option("--url", metavar="URL", help=w("o_url"))]
FindConfig = Annotated[Path | None, Option("--config", "-c", metavar="FILE", help=w("o_find_config"))]
ReadConfig = Annotated[
    Path | None,
    Option(
        "--config", "-c", metavar="FILE", envvar="FENGHUO_CONFIG", show_envvar=False, help=w("o_find_config")
    ),
]
TokenFile = Annotated[Path | None, Option("--token-file", metavar="FILE", help=w("o_token_file"))]

WHOLE: Final = 19
"""Cells of a column that is never broken into lines: a time has as many, a set's id one less."""
ROOM: Final = 8
"""Cells that any other column keeps: four Chinese characters."""


def write(file: Path, data: bytes) -> None:
    """A file that the operator asked for. Raises Failure (failed)."""
    try:
        file.write_bytes(data)
    except OSError as error:
        raise Failure(Code.FAILED, w("cannot_write", file=file, why=error.strerror)) from None


def table(rows: list[dict[str, Any]], columns: Mapping[str, str], *, as_json: bool) -> None:
    """Rows as JSON, or as a table with `columns` (heading → key)."""
    if as_json:
        return say.data_json(rows)
    if not rows:
        return say.talk(w("nothing_there"))
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    cells = [[say.clean(str(row[key])) for key in columns.values()] for row in rows]
    for heading, width in zip(columns, _widths([*columns], cells), strict=True):
        shown.add_column(heading, overflow="fold", width=width)
    for line in cells:
        shown.add_row(*line)
    return say.show(shown)


def _widths(headings: list[str], cells: list[list[str]]) -> list[int | None]:
    """The width of each column that never wraps (None: any other). An id, a time or a count over two lines
    cannot be read out: the first column has the first claim, then the narrowest. What has no room wraps, and
    nothing is ever cut."""
    from rich.cells import cell_len

    words = [max(map(cell_len, heading.split()), default=0) for heading in headings]
    longest = [max((cell_len(line[i]) for line in cells), default=0) for i in range(len(headings))]
    wanted = [max(pair) for pair in zip(words, longest, strict=True)]
    left = say.console(err=False).width - 2 * (len(headings) - 1) - sum(min(w, ROOM) for w in wanted)
    found: list[int | None] = [None] * len(headings)
    for i in sorted(range(len(headings)), key=lambda i: (i > 0, wanted[i])):
        more = wanted[i] - min(wanted[i], ROOM)
        if wanted[i] <= WHOLE and more <= left:
            found[i] = wanted[i]
            left -= more
    return found


@dataclass(frozen=True, slots=True)
class Call:
    """One command's conversation with the controller."""

    client: Client
    json: bool

    def table(self, rows: list[dict[str, Any]], columns: Mapping[str, str]) -> None:
        """Rows as JSON, or as a table with `columns` (heading → key)."""
        table(rows, columns, as_json=self.json)

    def fields(self, thing: dict[str, Any], shown: Mapping[str, object]) -> None:
        """`thing` as JSON, or `shown` as lines of name and value."""
        if self.json:
            say.data_json(thing)
            return
        from rich.table import Table

        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in shown.items():
            if value not in (None, "", []):
                text = "\n".join(map(str, value)) if isinstance(value, list) else str(value)
                table.add_row(name, say.clean(text))
        say.show(table)


def asks_the_controller(command: Callable[Concatenate[Call, P], Code]) -> Callable[..., Code]:
    """Adds --url, --config, --token-file and --json to a command whose first argument is a `Call`."""

    def run(
        *,
        url: str | None,
        config: Path | None,
        token_file: Path | None,
        json: bool,
        **own: Any,
    ) -> Code:
        with Client.find(url, config, token_file) as client:
            return command(Call(client, json), **own)  # type: ignore[call-arg]  # typer passes by name

    own = inspect.signature(command, eval_str=True)
    added = {"url": Url, "config": FindConfig, "token_file": TokenFile, "json": Json}
    parameters = list(own.parameters.values())[1:] + [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if name == "json" else None,
            annotation=annotation,
        )
        for name, annotation in added.items()
    ]
    run.__name__ = command.__name__
    run.__doc__ = None
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run
