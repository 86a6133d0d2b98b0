"""``fenghuo config|operator …``: what is decided before the service runs. All of it works off-line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from controller.cli import say
from controller.cli.call import Json
from controller.cli.help import App
from controller.cli.outcome import Code, Failure
from controller.cli.words import w

if TYPE_CHECKING:
    from config.schema import Config

ConfigArgument = Annotated[Path, Argument(metavar="FILE", help=w("a_config"))]

config = App(w("h_config"))
operator = App(w("h_operator"))


def load_config(file: Path, *, on_this_machine: bool = True) -> Config:
    """Raises Failure (configuration) with every problem on a line of its own."""
    from config.load import ConfigError, load

    try:
        return load(file, on_this_machine=on_this_machine)
    except ConfigError as error:
        problems: list[dict[str, Any]] = [
            {"file": str(p.file), "line": p.line, "path": p.path, "reason": p.reason} for p in error.problems
        ]
        raise Failure(Code.CONFIG, *map(str, error.problems), problems=problems) from None


@config.verb("check", w("h_config_check"))
def check(
    file: ConfigArgument,
    elsewhere: Annotated[bool, Option("--elsewhere", help=w("o_elsewhere"))] = False,
    json: Json = False,
) -> Code:
    from config.counties import PackError, load_county, template_folders
    from tts.script import ScriptError
    from tts.templates import load_all

    found = load_config(file, on_this_machine=not elsewhere)
    try:
        pack = load_county(found.county)
        load_all(template_folders(found.county, found.templates))
    except (PackError, ScriptError) as error:
        raise Failure(Code.CONFIG, *str(error).splitlines()) from None
    about = {
        "ok": True,
        "county": pack.county.name,
        "mode": found.mode.value,
        "townships": len(pack.county.townships),
        "villages": len(pack.county.villages),
        "operators": len(found.operators),
        "feeds": len(found.feeds),
    }
    if json:
        say.data_json(about)
    else:
        shown = {**about, "mode": w(f"mode_{found.mode}")}
        del shown["ok"]
        say.data(w("config_ok", file=file, **shown))
    return Code.DONE


@config.verb("show", w("h_config_show"))
def show(file: ConfigArgument, json: Json = False) -> Code:
    from config.load import show as as_yaml

    found = load_config(file, on_this_machine=False)
    if json:
        say.data_json(found.model_dump(mode="json", exclude_none=True))
    else:
        say.data(as_yaml(found).rstrip("\n"))
    return Code.DONE


@config.verb("schema", w("h_config_schema"))
def schema() -> Code:
    from config.jsonschema import render

    say.data(render().rstrip("\n"))
    return Code.DONE


@operator.verb("new", w("h_operator_new"))
def new(
    name: Annotated[str, Argument(metavar="NAME", help=w("a_operator"))],
    token_file: Annotated[
        Path | None, Option("--token-file", metavar="FILE", help=w("o_new_token_file"))
    ] = None,
    json: Json = False,
) -> Code:
    """The token goes to the terminal or into a private file, never the way the YAML line goes: whoever writes
    ``>> county.yaml`` must not put a secret there."""
    import hashlib
    import json as text
    import secrets

    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise Failure(Code.USAGE, w("bad_name"))
    token = secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    line = f"  - {{name: {text.dumps(name, ensure_ascii=False)}, token_sha256: {digest}}}"
    if token_file is not None:
        _write_secret(token_file, token)
    if json:
        about = {"name": name, "token_sha256": digest, "yaml": line.strip()}
        about |= {"token_file": str(token_file)} if token_file else {"token": token}
        say.data_json(about)
        return Code.DONE
    say.talk(w("paste_operator"))
    say.data(line)
    say.talk(w("token_written", file=token_file) if token_file else w("token_once", token=token))
    return Code.DONE


def _write_secret(file: Path, token: str) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(f"{token}\n")
    except OSError as error:
        raise Failure(Code.FAILED, w("cannot_write", file=file, why=error.strerror)) from None
