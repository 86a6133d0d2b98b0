"""``fenghuo terminal …`` and ``fenghuo simulate …``: the loudspeakers, real and simulated."""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from typer import Argument, Option

from controller.cli import ask, say
from controller.cli.call import (
    Call,
    DryRun,
    FindConfig,
    Json,
    TokenFile,
    Url,
    Yes,
    asks_the_controller,
    write,
)
from controller.cli.client import find_address, find_token
from controller.cli.help import App
from controller.cli.outcome import Code, Failure
from controller.cli.words import deed_words, lang, reason_words, told, w, who_words
from tts.voice import Speaker

if TYPE_CHECKING:
    from config.counties.tables import Table

COLUMNS: Final = ("id", "name", "village", "lat", "lon", "languages")
OPTIONAL: Final = ("speaker", "codecs")
NEEDED: Final = ("id", "village")
NAMES: Final = {
    "id": ("id", "编号", "终端编号", "设备编号", "终端id", "设备id"),
    "name": ("name", "名称", "终端名称", "设备名称", "点位名称", "安装点"),
    "village": ("village", "村", "村名", "村名称", "行政村", "所属村", "所在村", "社区", "村社区"),
    "township": ("township", "乡镇", "乡镇名称", "所属乡镇", "所在乡镇", "乡镇街道", "街道"),
    "lat": ("lat", "latitude", "纬度", "北纬"),
    "lon": ("lon", "lng", "longitude", "经度", "东经"),
    "languages": ("languages", "language", "语言", "播报语言"),
    "speaker": ("speaker", "喇叭类型", "扬声器", "扬声器类型"),
    "codecs": ("codecs", "codec", "编码", "音频编码"),
}
"""What a column may be called; compared without case, spaces and brackets."""
MOST_SHOWN: Final = 40
CODECS: Final = ("mp3", "opus")
MOST: Final = 20_000
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,40}")
_PLACE: Final = re.compile(r"terminals\.(\d+)[.:]?\s*(.*)")

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
                "speaker": w(f"speaker_{row['speaker']}"),
                "last_seen": say.minute(row["last_seen"]),
            }
            for row in rows
        ]
    columns = {
        w("c_id"): "id",
        w("c_name"): "name",
        w("c_township"): "township",
        w("c_village"): "village",
        w("c_class"): "speaker",
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
    gone = say.clock(row["retired"]) if row["retired"] else ""
    if row["replaced_by"]:
        gone += f" → {row['replaced_by']}"
    call.fields(
        row,
        {
            w("c_id"): row["id"],
            w("c_name"): row["name"],
            w("c_retired"): gone,
            w("c_replaces"): " ".join(row["replaces"]),
            w("c_place"): f"{row['township']} {row['village']} ({row['village_key']})",
            w("c_position"): "" if row["lat"] is None else f"{row['lat']}, {row['lon']}",
            w("c_languages"): " ".join(row["languages"]),
            w("c_speaker"): f"{w('speaker_' + row['speaker'])} ({' '.join(row['codecs'])})",
            w("c_enrolled"): _yes(row["enrolled"]),
            w("c_simulated"): _yes(row["simulated"]),
            w("c_online"): _yes(row["online"]),
            w("c_last_seen"): say.clock(row["last_seen"]),
            w("c_readiness"): w(f"g_{row['grade']}") if row["grade"] else "",
            w("c_findings"): [told(text) for text in row["findings"]],
            w("c_heard"): say.clock(row["heard"]),
            w("c_tested"): say.clock(row["tested"]),
            w("c_health"): [
                _health(name, value) for name, value in row["health"].items() if value is not None
            ],
            w("c_refused_reports"): row["refused_reports"] or "",
            w("c_groups"): " ".join(row["groups"]),
            w("c_ring"): row["ring"] or "",
            w("c_sets_missing"): "" if row["sets_missing"] is None else str(row["sets_missing"]),
            w("c_certificate"): say.clock(row["certificate"]) if row["certificate"] else "",
            w("c_broadcasts"): [
                f"{say.clock(one['at'])}  {one['broadcast']}  {w('s_' + one['state'])}"
                f"{_because(one['reason'])}  {one['headline']}"
                for one in row["last_broadcasts"]
            ],
            w("c_standing"): [
                f"{one['broadcast']}  {w('kind_' + one['kind'])}  {one['headline']}  "
                f"→ {say.clock(one['expires'])}"
                + (f"  {w('c_hands')}: {' '.join(map(say.clock, one['began']))}" if one["began"] else "")
                for one in row.get("standing", ())
            ],
            w("c_history"): [
                f"{say.clock(one['at'])}  {who_words(one['who'])}  {deed_words(one['what'])}  "
                f"{told(one['detail'])}"
                for one in row["history"]
            ],
        },
    )
    return Code.DONE


def _because(reason: str) -> str:
    return " " + reason_words({"words": reason, "reason": reason}, lang()) if reason else ""


def _yes(value: bool) -> str:
    return w("yes") if value else w("no")


_UNITS: Final = {"volume": " %", "battery": " %", "disk_free_mb": " MB", "clock_error_ms": " ms"}


def _health(name: str, value: Any) -> str:
    """One thing that a terminal says of itself (`HealthOut`)."""
    if isinstance(value, bool):
        said = _yes(value)
    elif name == "last_sound":
        said = say.clock(datetime.fromtimestamp(value / 1000, UTC).isoformat()) if value else "—"
    else:
        said = f"{value}{_UNITS.get(name, '')}"
    return f"{w('hl_' + name)}: {said}"


@terminal.verb("import", w("h_terminal_import", columns=",".join((*COLUMNS, *OPTIONAL))))
@asks_the_controller
def import_terminals(
    call: Call,
    file: Annotated[
        Path, Argument(metavar="FILE.csv", exists=True, dir_okay=False, readable=True, help=w("a_csv"))
    ],
    dry_run: DryRun = False,
) -> Code:
    rows = read_csv(file)
    try:
        done = call.client.post("/v1/terminals", {"terminals": [row for _, row in rows], "dry_run": dry_run})
    except Failure as error:
        if error.data.get("status") not in (404, 422):
            raise
        located = [f"{file}{place}" for line in error.lines for place in _located(line, rows)]
        raise Failure(Code.REFUSED, *located, w("nothing_imported"), **error.data) from None
    if call.json:
        say.data_json(done)
    counts = {name: len(done[name]) for name in ("new", "moved", "changed")}
    said = w("would_import" if dry_run else "imported", count=done["registered"], **counts)
    say.talk(said)
    if done["moved"]:
        say.talk(w("moved_enrol", terminals=" ".join(done["moved"])))
    return Code.DONE


@terminal.verb("export", w("h_terminal_export"))
@asks_the_controller
def export(
    call: Call,
    out: Annotated[Path | None, Option("--out", metavar="FILE.csv", help=w("o_register_out"))] = None,
) -> Code:
    body = call.client.content("/v1/terminals/export")
    if out is not None:
        write(out, body)
        say.talk(w("exported", file=out))
    elif call.json:
        say.data_json(list(csv.DictReader(body.decode("utf-8-sig").splitlines())))
    else:
        say.data("\n".join(body.decode("utf-8-sig").splitlines()))
    return Code.DONE


def read_csv(file: Path) -> list[tuple[int, dict[str, Any]]]:
    """(line, API row) of every terminal, in any encoding and with any column names that are used here. Raises
    Failure (refused) with every problem as file:line: reason."""
    from config.counties import tables

    try:
        table = tables.read(file)
        columns = _columns(table)
    except tables.TableError as error:
        lines = str(error).splitlines()
        raise Failure(Code.REFUSED, *map(told, lines), w("nothing_imported")) from None
    problems: list[str] = []
    rows: list[tuple[int, dict[str, Any]]] = []
    seen: dict[str, int] = {}
    for found in table.rows:
        line = int(found.where.rsplit(":", 1)[1])
        row = {name: found.cells.get(columns.get(name, ""), "") for name in (*COLUMNS, *OPTIONAL, "township")}
        row["id"] = unicodedata.normalize("NFKC", row["id"])
        reasons = list(_wrong(row, seen))
        try:
            place = tables.position(found, columns)
        except ValueError as error:
            place = None
            reasons.append(told(str(error)))
        problems += [f"{file}:{line}: {reason}" for reason in reasons]
        seen.setdefault(row["id"], line)
        rows.append((line, _api(row, place)))
    if not problems and not rows:
        problems.append(f"{file}:1: {w('csv_empty')}")
    if len(rows) > MOST:
        problems.append(f"{file}: {w('csv_too_many', count=len(rows), limit=MOST)}")
    if problems:
        raise Failure(Code.REFUSED, *problems, w("nothing_imported"))
    return rows


def _columns(table: Table) -> dict[str, str]:
    """Our name of each column → the file's. Raises Failure where one is missing, twice, or unknown."""
    found: dict[str, str] = {}
    for column in table.columns:
        plain = re.sub(r"\([^)]*\)|[\s°]", "", unicodedata.normalize("NFKC", column)).casefold()
        if not plain:
            continue
        name = next((name for name, names in NAMES.items() if plain in names), None)
        if name is None or name in found:
            wanted = f"{','.join(COLUMNS)}[,{','.join(OPTIONAL)}]"
            text = w("csv_columns", columns=wanted, column=column)
            raise Failure(Code.REFUSED, f"{table.file}:1: {text}", w("nothing_imported"))
        found[name] = column
    missing = [name for name in NEEDED if name not in found]
    if missing:
        raise Failure(
            Code.REFUSED,
            f"{table.file}:1: {w('csv_no_column', columns=', '.join(missing))}",
            w("nothing_imported"),
        )
    return found


def _wrong(row: dict[str, str], lines: dict[str, int]) -> Iterator[str]:
    if not _ID.fullmatch(row["id"]):
        yield w("csv_id", id=row["id"])
    if row["id"] in lines:
        yield w("csv_twice", id=row["id"], line=lines[row["id"]])
    if len(row["name"]) > 80:
        yield w("csv_name")
    if not row["village"]:
        yield w("csv_village")
    for column, given, known in (
        ("speaker", [row["speaker"]] if row["speaker"] else [], tuple(Speaker)),
        ("codecs", _listed(row["codecs"]), CODECS),
    ):
        for value in given:
            if value not in known:
                yield w("csv_one_of", column=column, given=value, known=", ".join(known))


def _listed(cell: str) -> list[str]:
    return [part for part in re.split(r"[\s;；、]+", cell) if part]


def _api(row: dict[str, str], place: tuple[float, float] | None) -> dict[str, Any]:
    lat, lon = place if place is not None else (None, None)
    return {
        "id": row["id"],
        "name": row["name"],
        "village": f"{row['township']}/{row['village']}" if row["township"] else row["village"],
        "lat": lat,
        "lon": lon,
        "languages": _listed(row["languages"]) or ["zh"],
        "speaker": row["speaker"] or Speaker.HORN,
        "codecs": _listed(row["codecs"]) or ["mp3"],
    }


def _located(reason: str, rows: list[tuple[int, dict[str, Any]]]) -> list[str]:
    """The controller's reason, at the line of the row that it names."""
    named = _PLACE.match(reason)
    if named and int(named[1]) < len(rows):
        return [f":{rows[int(named[1])][0]}: {named[2]}"]
    return [f": {reason}"]


@terminal.verb("retire", w("h_terminal_retire"))
@asks_the_controller
def retire(
    call: Call,
    terminal: Annotated[str, Argument(metavar="ID", help=w("a_terminal"))],
    reason: Annotated[str, Option("--reason", metavar="TEXT", help=w("o_why_retired"))],
    yes: Yes = False,
) -> Code:
    ask.need_somebody(yes=yes, dry_run=False)
    if not yes:
        one = call.client.get(f"/v1/terminals/{terminal}")
        ask.confirm_id(w("retire_shown", **_named(one)), one["id"])
    done = call.client.post(f"/v1/terminals/{terminal}/retire", {"reason": reason})
    if call.json:
        say.data_json(done)
    say.talk(w("retired", id=terminal))
    return Code.DONE


@terminal.verb("replace", w("h_terminal_replace"))
@asks_the_controller
def replace(
    call: Call,
    terminal: Annotated[str, Argument(metavar="ID", help=w("a_terminal"))],
    by: Annotated[str, Argument(metavar="NEW-ID", help=w("a_new_terminal"))],
    reason: Annotated[str, Option("--reason", metavar="TEXT", help=w("o_why_retired"))],
    yes: Yes = False,
) -> Code:
    ask.need_somebody(yes=yes, dry_run=False)
    if not yes:
        one = call.client.get(f"/v1/terminals/{terminal}")
        ask.confirm_id(w("replace_shown", by=by, **_named(one)), one["id"])
    codes = call.client.post(f"/v1/terminals/{terminal}/replace", {"by": by, "reason": reason})
    if call.json:
        say.data_json(codes)
    else:
        for name, code in codes.items():
            say.data(f"{name} {code}")
    say.talk(w("codes_once"))
    return Code.DONE


def _named(one: dict[str, Any]) -> dict[str, str]:
    return {"id": one["id"], "name": one["name"], "place": f"{one['township']}{one['village']}"}


@terminal.verb("retired", w("h_terminal_retired"))
@asks_the_controller
def retired(call: Call) -> Code:
    rows = call.client.get("/v1/terminals/retired")
    if not call.json:
        rows = [{**row, "retired": say.clock(row["retired"])} for row in rows]
    columns = {
        w("c_id"): "id",
        w("c_name"): "name",
        w("c_village"): "village",
        w("c_retired"): "retired",
        w("c_replaced_by"): "by",
    }
    call.table(rows, columns)
    return Code.DONE


@terminal.verb("readiness", w("h_readiness"))
@asks_the_controller
def readiness(
    call: Call,
    township: Annotated[str | None, Argument(metavar="[TOWNSHIP]", help=w("o_village"))] = None,
) -> Code:
    board = call.client.get("/v1/readiness", township=township)
    if call.json:
        say.data_json(board)
        return Code.DONE
    rows = [*board["townships"], board["total"]]
    if township is not None and len(board["townships"]) == 1:
        rows = board["townships"]
    shown = [{**row, "heard": say.minute(row["heard"])} for row in rows]
    columns = {
        w("c_township"): "name",
        w("c_terminals"): "terminals",
        w("c_ready"): "ready",
        w("c_doubtful"): "doubtful",
        w("c_dead"): "dead",
        w("c_online"): "online",
        w("c_on_battery"): "on_battery",
        w("c_sick"): "sick_amplifiers",
        w("c_quiet"): "heard",
    }
    call.table(shown, columns)
    software = rows[-1]["software"]
    if len(software) > 1:
        versions = "  ".join(f"{name} × {count}" for name, count in software.items())
        say.data(f"{w('c_software')}: {versions}")
    wanted = [one for one in board["terminals"] if township is not None or one["findings"]]
    lines = [
        {
            **one,
            "grade": w(f"g_{one['grade']}"),
            "place": f"{one['township']}{one['village']}",
            "hello": say.minute(one["hello"]),
            "findings": "\n".join(told(text) for text in one["findings"]),
        }
        for one in wanted[: MOST_SHOWN if township is None else len(wanted)]
    ]
    if not lines:
        say.talk(w("all_ready"))
        return Code.DONE
    call.table(
        lines,
        {
            w("c_id"): "id",
            w("c_place"): "place",
            w("c_readiness"): "grade",
            w("c_last_seen"): "hello",
            w("c_why"): "findings",
        },
    )
    if len(wanted) > len(lines):
        say.talk(w("more_not_ready", count=len(wanted) - len(lines)))
    return Code.DONE


@terminal.verb("tests", w("h_terminal_tests"))
@asks_the_controller
def tests(call: Call) -> Code:
    planned = call.client.get("/v1/tests")
    if call.json:
        say.data_json(planned)
        return Code.DONE
    if not planned:
        say.talk(w("no_tests"))
        return Code.DONE
    rows = [
        {
            **one,
            "sound": w(f"t_{one['sound']}") + (f" {one['volume']} %" if one["volume"] else ""),
            "where": "、".join(one["townships"]) or w("everywhere"),
            "when": f"{_day(one['day'])} {one['at']}",
            "next": say.clock(one["next"]),
            "waits": told(one["waits"]),
        }
        for one in planned
    ]
    call.table(
        rows,
        {
            w("c_test"): "name",
            w("c_when"): "when",
            w("c_sound"): "sound",
            w("c_place"): "where",
            w("c_next"): "next",
            w("c_why"): "waits",
        },
    )
    runs = [
        {
            **run,
            "name": one["name"],
            "slot": say.clock(run["slot"]),
            "state": w(f"r_{run['state']}"),
            "share": f"{run['played']}/{run['planned']}" if run["planned"] else "—",
            "reason": told(run["reason"]),
        }
        for one in planned
        for run in one["runs"]
    ]
    if not runs:
        return Code.DONE
    call.table(
        runs,
        {
            w("c_test"): "name",
            w("c_when"): "slot",
            w("c_state"): "state",
            w("c_share"): "share",
            w("c_broadcast"): "broadcast",
            w("c_why"): "reason",
        },
    )
    return Code.DONE


def _day(day: str | int) -> str:
    return w("each_week", day=w(f"day_{day}")) if isinstance(day, str) else w("each_month", day=day)


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
