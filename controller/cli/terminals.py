"""``fenghuo terminal …`` and ``fenghuo simulate …``: the loudspeakers, real and simulated."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from typer import Argument, Option

from controller.cli import say
from controller.cli.call import Call, FindConfig, Json, TokenFile, Url, asks_the_controller
from controller.cli.client import find_address, find_token
from controller.cli.help import App
from controller.cli.outcome import Code, Failure
from controller.cli.words import w

COLUMNS: Final = ("id", "name", "village", "lat", "lon", "languages")
MOST: Final = 20_000
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,40}")
_PLACE: Final = re.compile(r"terminals\.(\d+)\.?(.*)")

terminal = App(w("h_terminal"))
simulate = App(w("h_simulate"))


@terminal.verb("list", w("h_terminal_list"))
@asks_the_controller
def list_terminals(
    call: Call,
    village: Annotated[str | None, Option("--village", metavar="PLACE", help=w("o_village"))] = None,
) -> Code:
    rows = call.client.get("/v1/terminals", village=village)
    if not call.json:
        rows = [
            {
                **row,
                "enrolled": _yes(row["enrolled"]),
                "online": _yes(row["online"]),
                "last_seen": say.clock(row["last_seen"]),
            }
            for row in rows
        ]
    columns = {
        w("c_id"): "id",
        w("c_name"): "name",
        w("c_township"): "township",
        w("c_village"): "village",
        w("c_enrolled"): "enrolled",
        w("c_online"): "online",
        w("c_last_seen"): "last_seen",
    }
    call.table(rows, columns)
    return Code.DONE


@terminal.verb("show", w("h_terminal_show"))
@asks_the_controller
def show(call: Call, terminal: Annotated[str, Argument(metavar="ID", help=w("a_terminal"))]) -> Code:
    row = call.client.get(f"/v1/terminals/{terminal}")
    call.fields(
        row,
        {
            w("c_id"): row["id"],
            w("c_name"): row["name"],
            w("c_place"): f"{row['township']} {row['village']} ({row['village_key']})",
            w("c_position"): "" if row["lat"] is None else f"{row['lat']}, {row['lon']}",
            w("c_languages"): " ".join(row["languages"]),
            w("c_enrolled"): _yes(row["enrolled"]),
            w("c_simulated"): _yes(row["simulated"]),
            w("c_online"): _yes(row["online"]),
            w("c_last_seen"): say.clock(row["last_seen"]),
            w("c_health"): [f"{name}: {value}" for name, value in row["health"].items() if value is not None],
        },
    )
    return Code.DONE


def _yes(value: bool) -> str:
    return w("yes") if value else w("no")


@terminal.verb("import", w("h_terminal_import", columns=",".join(COLUMNS)))
@asks_the_controller
def import_terminals(
    call: Call,
    file: Annotated[
        Path, Argument(metavar="FILE.csv", exists=True, dir_okay=False, readable=True, help=w("a_csv"))
    ],
) -> Code:
    rows = read_csv(file)
    try:
        done = call.client.post("/v1/terminals", {"terminals": [row for _, row in rows]})
    except Failure as error:
        if error.data.get("status") not in (404, 422):
            raise
        located = [f"{file}{place}" for line in error.lines for place in _located(line, rows)]
        raise Failure(Code.REFUSED, *located, w("nothing_imported"), **error.data) from None
    if call.json:
        say.data_json(done)
    say.talk(w("imported", count=done["registered"]))
    return Code.DONE


def read_csv(file: Path) -> list[tuple[int, dict[str, Any]]]:
    """(line, API row) of every terminal. Raises Failure (refused) with every problem as file:line: reason."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Failure(Code.USAGE, w("file_unreadable", file=file, why=error.strerror)) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise Failure(Code.REFUSED, f"{file}:{line}: {w('csv_not_utf8')}") from None
    problems: list[str] = []
    rows: list[tuple[int, dict[str, Any]]] = []
    lines: dict[str, int] = {}
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if sorted(header) != sorted(COLUMNS):
            raise Failure(Code.REFUSED, f"{file}:1: {w('csv_columns', columns=','.join(COLUMNS))}")
        for cells in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                problems.append(f"{file}:{line}: {w('csv_cells', given=len(cells), wanted=len(header))}")
                continue
            row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
            problems += [f"{file}:{line}: {reason}" for reason in _wrong(row, lines)]
            lines.setdefault(row["id"], line)
            rows.append((line, row))
    except csv.Error as error:
        problems.append(f"{file}:{reader.line_num}: {error}")
    if not problems and not rows:
        problems.append(f"{file}:1: {w('csv_empty')}")
    if len(rows) > MOST:
        problems.append(f"{file}: {w('csv_too_many', count=len(rows), limit=MOST)}")
    if problems:
        raise Failure(Code.REFUSED, *problems, w("nothing_imported"))
    return [(line, _api(row)) for line, row in rows]


def _wrong(row: dict[str, str], lines: dict[str, int]) -> Iterator[str]:
    if not _ID.fullmatch(row["id"]):
        yield w("csv_id", id=row["id"])
    if row["id"] in lines:
        yield w("csv_twice", id=row["id"], line=lines[row["id"]])
    if len(row["name"]) > 80:
        yield w("csv_name")
    if not row["village"]:
        yield w("csv_village")
    if bool(row["lat"]) != bool(row["lon"]):
        yield w("csv_half_position")
    for name, most in (("lat", 90), ("lon", 180)):
        if row[name] and not _degrees(row[name], most):
            yield w("csv_degrees", column=name, given=row[name], most=most)


def _degrees(text: str, most: int) -> bool:
    try:
        return -most <= float(text) <= most
    except ValueError:
        return False


def _api(row: dict[str, str]) -> dict[str, Any]:
    languages = re.split(r"[\s;]+", row["languages"]) if row["languages"] else ["zh"]
    return {
        "id": row["id"],
        "name": row["name"],
        "village": row["village"],
        "lat": float(row["lat"]) if row["lat"] else None,
        "lon": float(row["lon"]) if row["lon"] else None,
        "languages": languages,
    }


def _located(reason: str, rows: list[tuple[int, dict[str, Any]]]) -> list[str]:
    """The controller's reason, at the lines it is about: it names the row or the village."""
    named = _PLACE.match(reason)
    if named and int(named[1]) < len(rows):
        return [f":{rows[int(named[1])][0]}: {named[2]}"]
    words = re.split(r"[^A-Za-z0-9._-]+", reason)
    about = [line for line, row in rows if row["village"] in reason or row["id"] in words]
    return [f":{line}: {reason}" for line in about] or [f": {reason}"]


@terminal.verb("enrol", w("h_enrol"))
@asks_the_controller
def enrol(
    call: Call, terminals: Annotated[list[str], Argument(metavar="ID…", help=w("a_terminals"))]
) -> Code:
    codes = call.client.post("/v1/terminals/codes", {"terminals": terminals})
    if call.json:
        say.data_json(codes)
    else:
        for name, code in codes.items():
            say.data(f"{name} {code}")
    say.talk(w("codes_once"))
    return Code.DONE


@simulate.verb("fleet", w("h_fleet"))
def fleet(
    terminals: Annotated[int, Option("--terminals", min=1, max=20_000, help=w("o_terminals"))],
    county: Annotated[str, Option("--county", metavar="PACK", help=w("o_county"))] = "zhouqu",
    speed: Annotated[float, Option("--speed", min=1, max=100, help=w("o_speed"))] = 1.0,
    audio: Annotated[Literal["fetch", "shared"], Option("--audio", help=w("o_audio"))] = "fetch",
    scenario: Annotated[str | None, Option("--scenario", metavar="NAME", help=w("o_scenario"))] = None,
    url: Url = None,
    config: FindConfig = None,
    token_file: TokenFile = None,
    json: Json = False,
) -> Code:
    from controller.cli import fleet as simulated

    return simulated.run(
        find_address(url, config, os.environ),
        find_token(token_file, os.environ),
        county=county,
        terminals=terminals,
        speed=speed,
        audio=audio,
        scenario=scenario,
        as_json=json,
    )


@simulate.verb("feeds", w("h_feeds"))
def feeds(
    scenario: Annotated[str, Option("--scenario", metavar="NAME|FILE", help=w("o_story"))],
    speed: Annotated[float, Option("--speed", min=0.1, max=100_000, help=w("o_story_speed"))] = 1.0,
    seed: Annotated[int | None, Option("--seed", metavar="N", help=w("o_seed"))] = None,
    json: Json = False,
) -> Code:
    from controller.cli import sources

    return sources.run(scenario, speed=speed, seed=seed, as_json=json)
