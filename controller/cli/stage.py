"""``fenghuo stage …``: which clips lie on the terminals before they are needed, and who holds them."""

from __future__ import annotations

from typing import Annotated, Any

from typer import Argument, Option

from controller.cli import say
from controller.cli.call import Call, asks_the_controller
from controller.cli.help import App
from controller.cli.outcome import Code
from controller.cli.words import problem_words, w

SetId = Annotated[str, Argument(metavar="SET", help=w("a_set"))]

stage = App(w("h_stage"))


@stage.verb("list", w("h_stage_list"))
@asks_the_controller
def list_sets(call: Call) -> Code:
    _table(call, call.client.get("/v1/sets"))
    return Code.DONE


@stage.verb("now", w("h_stage_now"))
@asks_the_controller
def now(
    call: Call, alert: Annotated[str | None, Option("--alert", metavar="ID", help=w("o_stage_alert"))] = None
) -> Code:
    rows = call.client.post("/v1/sets/offer", {"alert": alert})
    if rows or call.json:
        _table(call, rows)
    say.talk(w("stage_offered", count=len(rows)) if rows else w("stage_nothing", alert=alert))
    return Code.DONE


@stage.verb("show", w("h_stage_show"))
@asks_the_controller
def show(call: Call, held: SetId) -> Code:
    one = call.client.get(f"/v1/sets/{held}")
    cover = one["cover"]
    call.fields(
        one,
        {
            w("c_id"): one["id"],
            w("c_purpose"): purpose_words(one["purpose"]),
            w("c_clips"): f"{one['clips']} ({one['size'] / 1e6:.1f} MB)",
            w("c_expires"): say.clock(one["expires"]),
            w("c_holders"): f"{cover['whole']}/{cover['terminals']} ({_share(cover)})",
            w("c_names"): "  ".join(one["names"]),
        },
    )
    if not call.json:
        rows = [
            {**row, "share": _share(row), "problems": problem_words(row["problems"])}
            for row in one["townships"]
        ]
        columns = {
            w("c_township"): "name",
            w("c_holders"): "whole",
            w("s_targeted"): "terminals",
            w("c_share"): "share",
            w("s_silent"): "silent",
            w("c_why"): "problems",
        }
        call.table(rows, columns)
    return Code.DONE


@stage.verb("drop", w("h_stage_drop"))
@asks_the_controller
def drop(call: Call, held: SetId) -> Code:
    done = call.client.post(f"/v1/sets/{held}/drop")
    if call.json:
        say.data_json(done)
    say.talk(w("stage_dropped", id=held, still=done.get("still") or 0))
    return Code.DONE


def _table(call: Call, rows: list[dict[str, Any]]) -> None:
    if not call.json:
        rows = [
            {
                **row,
                "purpose": purpose_words(row["purpose"]),
                "expires": say.clock(row["expires"])[:10],
                "size": f"{row['size'] / 1e6:.1f} MB",
                "holders": str(row["still"])
                if row.get("dropped")
                else f"{row['cover']['whole']}/{row['cover']['terminals']}",
                "problems": w("stage_gone") if row.get("dropped") else _trouble(row["cover"]),
            }
            for row in rows
        ]
    columns = {
        w("c_id"): "id",
        w("c_purpose"): "purpose",
        w("c_clips"): "clips",
        w("c_size"): "size",
        w("c_holders"): "holders",
        w("c_expires"): "expires",
        w("c_why"): "problems",
    }
    call.table(rows, columns)
    troubled = [row["id"] for row in rows if row["cover"]["problems"] and not row.get("dropped")]
    if troubled and not call.json:
        say.talk(w("stage_see", id=troubled[0]))


def _share(cover: dict[str, Any]) -> str:
    """How many of those that are meant to hold it do."""
    return f"{100 * cover['whole'] // cover['terminals']} %" if cover["terminals"] else "—"


def _trouble(cover: dict[str, Any]) -> str:
    count = sum(cover["problems"].values())
    return w("stage_trouble", count=count) if count else ""


def purpose_words(purpose: str) -> str:
    """What a set that terminals hold beforehand is for (`controller.staging`)."""
    match purpose:
        case "floor":
            return w("for_floor")
        case "quake":
            return w("for_quake")
        case "quake-exercise":
            return w("for_quake_exercise")
    return w("for_event", alert=purpose.removeprefix("event:"))
