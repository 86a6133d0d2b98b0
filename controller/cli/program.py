"""The program ``fenghuo``: its commands, and how every outcome becomes an exit code."""

from __future__ import annotations

import json as js
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from typer import Argument, Option

from controller.cli import say, words
from controller.cli.call import Call, ConfigFile, FindConfig, Json, Url, asks_the_controller
from controller.cli.help import App, Group, translated
from controller.cli.outcome import Code, Failure, ReaderGone
from controller.cli.words import deed_words, told, w, who_words

NAME: Final = "fenghuo"

# In the order of the help: what is needed at night comes first. A group is a module and its name there.
GROUPS: Final = {
    "alert": "warn",
    "exercise": "warn",
    "test": "warn",
    "broadcast": "broadcasts",
    "stage": "stage",
    "standing": "standing",
    "terminal": "terminals",
    "feed": "feeds",
    "simulate": "terminals",
    "drill": "drill",
    "tts": "speech",
    "bank": "bank",
    "county": "county",
    "config": "setup",
    "keys": "keys",
    "broker": "broker",
    "operator": "setup",
}
FIRST: Final = ("alert", "exercise", "test", "broadcast", "status", "terminal", "feed", "audit", "serve")


class Root(Group):
    """Builds a group when it is called for: the help of the whole needs only their names."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        own = dict(self.commands)
        self.commands: dict[str, Any] = dict.fromkeys((*FIRST, *GROUPS)) | own

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in GROUPS and self.commands[cmd_name] is None:
            module = import_module(f"controller.cli.{GROUPS[cmd_name]}")
            self.commands[cmd_name] = typer.main.get_group(getattr(module, cmd_name))
            self.commands[cmd_name].name = cmd_name
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, w(f"h_{name}")) for name in self.commands])


app = App(w("h_fenghuo"), cls=Root)


def run(arguments: Sequence[str]) -> int:
    """Runs one command line; its exit code. Our bugs travel up as they are."""
    as_json = "--json" in arguments
    try:
        try:
            command = typer.main.get_command(app)
            result = command.main(args=list(arguments), prog_name=NAME, standalone_mode=False)
            return int(result or Code.DONE)
        except Failure as failure:
            _complain(failure, as_json)
            return failure.code
        except typer.TyperException as error:
            _complain(_misused(error), as_json)
            return Code.USAGE
        except typer.Abort:
            say.talk(w("aborted"))
            return Code.FAILED
    except ReaderGone:
        return Code.DONE


def _misused(error: typer.TyperException) -> Failure:
    context = getattr(error, "ctx", None)
    if context is None or type(error).__name__ == "NoArgsIsHelpError":
        return Failure(Code.USAGE, translated(error.format_message()))
    hint = w("see_help", command=context.command_path)
    return Failure(Code.USAGE, translated(error.format_message()), hint)


def _complain(failure: Failure, as_json: bool) -> None:
    if not as_json:
        for line in failure.lines:
            say.talk(told(line))
        return
    messages = [told(line) for line in failure.lines]
    error = {"error": failure.code.name.lower(), "exit": int(failure.code), "messages": messages}
    say.talk(js.dumps({**error, **failure.data}, ensure_ascii=False))


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say.data(f"{NAME} {version(NAME)}")
        raise typer.Exit(0)


@app.callback()
def root(
    version: Annotated[
        bool, Option("--version", is_eager=True, callback=_version, help=w("o_version"))
    ] = False,
    lang: Annotated[Literal["zh", "en"] | None, Option("--lang", help=w("o_lang"))] = None,
) -> None:
    """`lang` is read in `controller.cli.main`, before the help is worded; `version` in its callback."""


@app.verb("serve", w("h_serve"))
def serve(
    config: ConfigFile,
    sandbox: Annotated[bool, Option("--sandbox", help=w("o_sandbox"))] = False,
    speed: Annotated[float, Option("--speed", min=1, max=100, help=w("o_serve_speed"))] = 1.0,
) -> Code:
    from controller.cli import service

    return service.serve(config, sandbox=sandbox, speed=speed)


@app.verb("status", w("h_status"))
@asks_the_controller
def status(call: Call) -> Code:
    from controller.cli.stage import purpose_words

    found = call.client.get("/v1/status")
    feeds = [
        f"{f['name']} ({f['kind']}) {say.clock(f['last_good'])} "
        f"{told(f.get('stale', ''))} {told(f['problem'])}".rstrip()
        for f in found["feeds"]
    ]
    mode = w(f"mode_{found['mode']}")
    if found["sandbox"]:
        mode += " · " + w("mode_sandbox")
    call.fields(
        found,
        {
            w("st_county"): found["county"],
            w("st_mode"): mode,
            w("st_operator"): found["operator"],
            w("st_broker"): w("st_there") if found["broker"] else w("st_not_there"),
            w("st_terminals_url"): found["terminals_url"],
            w("st_voice"): f"{found['voice']} · "
            + w("st_approved" if found["voice_approved"] else "st_unapproved"),
            w("st_terminals"): w("st_counts", **{k: found[k] for k in ("terminals", "enrolled", "online")}),
            w("st_ring"): _ring(found.get("ring")),
            w("st_sets"): [
                w(
                    "st_set",
                    purpose=purpose_words(held["purpose"]),
                    whole=held["whole"],
                    terminals=held["terminals"],
                )
                for held in found.get("sets", ())
            ],
            w("st_held"): found["held"],
            w("st_doubted"): found.get("doubted") or "",
            w("st_sending"): found["sending"],
            w("st_standing"): found.get("standing") or "",
            w("st_feeds"): feeds,
            w("st_alarms"): [*map(_alarm, found["alarms"])],
            w("st_version"): found["version"],
        },
    )
    return Code.DONE


def _ring(ring: dict[str, Any] | None) -> str:
    """How many terminals hold the newest keys."""
    if ring is None:
        return ""
    text = w("st_ring_held", **ring)
    return f"{text} · {w('st_ring_ahead', ahead=ring['ahead'])}" if ring["ahead"] else text


def _alarm(line: str) -> str:
    """An alarm of the API, ``TIME what``."""
    at, _, what = line.partition(" ")
    return f"{say.clock(at)} {told(what)}"


@app.verb("why", w("h_why"))
@asks_the_controller
def why(
    call: Call,
    terminal: Annotated[str, Argument(metavar="TERMINAL", help=w("a_terminal"))],
    alert: Annotated[str, Option("--alert", metavar="ID", help=w("o_why_alert"))],
) -> Code:
    from controller.cli import why as reasons

    return reasons.explain(call, terminal, alert)


@app.verb("audit", w("h_audit"))
@asks_the_controller
def audit(
    call: Call,
    subject: Annotated[str | None, Option("--subject", metavar="ID", help=w("o_subject"))] = None,
    limit: Annotated[int, Option("--limit", min=1, max=5000, help=w("o_limit"))] = 100,
) -> Code:
    rows: list[dict[str, Any]] = call.client.get("/v1/audit", subject=subject, limit=limit)
    if not call.json:
        rows = [
            {
                "at": say.clock(row["at"])[5:],
                "who": who_words(row["who"]),
                "what": deed_words(row["what"]),
                "subject": told(row["subject"]),
                "detail": told(row["detail"]),
            }
            for row in rows
        ]
    columns = {
        w("c_time"): "at",
        w("c_who"): "who",
        w("c_what"): "what",
        w("c_subject"): "subject",
        w("c_detail"): "detail",
    }
    call.table(rows, columns)
    return Code.DONE


@app.verb("doctor", w("h_doctor"))
def doctor(config: FindConfig = None, url: Url = None, json: Json = False) -> Code:
    from controller.cli import doctor as checks

    return checks.doctor(config, url, as_json=json)


@app.verb("demo", w("h_demo"))
def demo(
    out: Annotated[Path, Option("--out", metavar="DIR", help=w("o_demo_out"))] = Path("demo-out"),
    speed: Annotated[float, Option("--speed", min=1, max=100, help=w("o_speed"))] = 20.0,
    keep: Annotated[bool, Option("--keep", help=w("o_keep"))] = False,
    document: Annotated[Literal["cap", "national"], Option("--document", help=w("o_document"))] = "cap",
) -> int:
    from controller.demo import run_demo

    return run_demo(out=out, speed=speed, keep=keep, lang=words.lang(), document=document)
