"""``fenghuo broadcast …``: what sounds, where it has got to, and how to silence it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from controller.cli import ask, say, words
from controller.cli.call import Call, DryRun, Yes, asks_the_controller
from controller.cli.follow import code_of, follow
from controller.cli.help import App
from controller.cli.outcome import Code, Failure
from controller.cli.words import w

if TYPE_CHECKING:
    from rich.console import RenderableType

BroadcastId = Annotated[str, Argument(metavar="ID", help=w("a_broadcast"))]

broadcast = App(w("h_broadcast"))


@broadcast.verb("watch", w("h_watch"))
@asks_the_controller
def watch(call: Call, broadcast: BroadcastId) -> Code:
    summary = follow(call.client, broadcast, as_json=call.json)
    if not call.json:
        _show(summary)
    return code_of(summary)


@broadcast.verb("show", w("h_broadcast_show"))
@asks_the_controller
def show(call: Call, broadcast: BroadcastId) -> Code:
    summary = call.client.get(f"/v1/broadcasts/{broadcast}")
    if call.json:
        say.data_json(summary)
    else:
        _show(summary)
    return Code.DONE


@broadcast.verb("why", w("h_broadcast_why"))
@asks_the_controller
def why(
    call: Call,
    broadcast: BroadcastId,
    terminal: Annotated[str, Argument(metavar="TERMINAL", help=w("a_terminal"))],
) -> Code:
    from controller.cli.view import chain_fields

    found = call.client.get(f"/v1/broadcasts/{broadcast}/why/{terminal}")
    call.fields(found, chain_fields(found, words.lang()))
    return Code.DONE


@broadcast.verb("list", w("h_broadcast_list"))
@asks_the_controller
def list_broadcasts(
    call: Call, limit: Annotated[int, Option("--limit", min=1, max=1000, help=w("o_limit"))] = 50
) -> Code:
    rows = call.client.get("/v1/broadcasts", limit=limit)
    if not call.json:
        rows = [
            {
                **row,
                "kind": w(f"kind_{row['kind']}"),
                "part": w(f"p_{row['part'].replace('-', '_')}"),
                "state": w("b_standing" if _kept(row) else f"b_{row['state']}"),
                "created": say.clock(row["created"]),
            }
            for row in rows
        ]
    columns = {
        w("c_id"): "id",
        w("c_kind"): "kind",
        w("c_part"): "part",
        w("c_state"): "state",
        w("c_time"): "created",
        w("s_targeted"): "terminals",
        w("c_alert"): "alert",
    }
    call.table(rows, columns)
    return Code.DONE


@broadcast.verb("stop", w("h_stop"))
@asks_the_controller
def stop(
    call: Call,
    broadcast: Annotated[str | None, Argument(metavar="ID", help=w("a_broadcast_or_all"))] = None,
    everything: Annotated[bool, Option("--all", help=w("o_stop_all"))] = False,
    standing: Annotated[bool, Option("--standing", help=w("o_stop_standing"))] = False,
    reason: Annotated[str, Option("--reason", help=w("o_stop_reason"))] = "",
    yes: Yes = False,
    dry_run: DryRun = False,
) -> Code:
    if (broadcast is None) is not everything:
        raise Failure(Code.USAGE, w("stop_which"))
    if standing and not everything:
        raise Failure(Code.USAGE, w("stop_standing_alone"))
    ask.need_somebody(yes=yes, dry_run=dry_run)
    if broadcast is None:
        return _stop_all(call, reason, yes=yes, dry_run=dry_run, standing=standing)
    if dry_run or not yes:
        summary = call.client.get(f"/v1/broadcasts/{broadcast}")
        if summary["state"] == "stopped":
            text = w("already_stopped", id=broadcast, who=summary["stopped_by"] or "—")
            raise Failure(Code.REFUSED, text, state="stopped")
        if dry_run:
            if call.json:
                say.data_json(summary)
            else:
                _show(summary)
            return Code.DONE
        from controller.cli.view import render_live

        ask.confirm(summary["kind"], w("deed_stop", id=broadcast), render_live(summary, words.lang()))
    done = call.client.post(f"/v1/broadcasts/{broadcast}/stop")
    ask.stop_if_refused(done)
    if call.json:
        say.data_json(done)
    say.talk(w("stopped", id=broadcast))
    return Code.DONE


@broadcast.verb("air", w("h_air"))
@asks_the_controller
def air(call: Call, broadcast: BroadcastId, yes: Yes = False, dry_run: DryRun = False) -> Code:
    ask.need_somebody(yes=yes, dry_run=dry_run)
    if dry_run or not yes:
        summary = call.client.get(f"/v1/broadcasts/{broadcast}")
        if not summary.get("airs"):
            text = w("not_waiting", id=broadcast, state=w(f"b_{summary['state']}"))
            raise Failure(Code.REFUSED, text, state=summary["state"])
        if dry_run:
            if call.json:
                say.data_json(summary)
            else:
                _show(summary)
            return Code.DONE
        from controller.cli.view import render_live

        deed = w("deed_air", id=broadcast, doubt=words.told(summary["doubt"]))
        ask.confirm(summary["kind"], deed, render_live(summary, words.lang()))
    done = call.client.post(f"/v1/broadcasts/{broadcast}/air")
    ask.stop_if_refused(done)
    if call.json:
        say.data_json(done)
    say.talk(w("aired", id=broadcast))
    return Code.DONE


def _kept(row: dict[str, Any]) -> bool:
    """A standing message that terminals hold: nothing that is under way."""
    return bool(row.get("standing")) and row["state"] in ("sending", "done")


def _stop_all(call: Call, reason: str, *, yes: bool, dry_run: bool, standing: bool) -> Code:
    """Nothing is asked twice, and nothing is looked up first where it need not be: seconds count here too."""
    if dry_run or not yes:
        rows = call.client.get("/v1/broadcasts", limit=1000)
        rows = [
            row
            for row in rows
            if (standing and _kept(row) if row.get("standing") else row["state"] in ("voicing", "sending"))
        ]
        if dry_run:
            return _active(call, rows)
        kinds = {row["kind"] for row in rows}
        worst = next((kind for kind in ask.WORDS if kind in kinds), "actual")
        deed = w("deed_stop_all") + (f"\n{w('deed_stop_all_standing')}" if standing else "")
        ask.confirm(worst, deed, _list(rows))
    body: dict[str, Any] = {"reason": reason or "stop --all"}
    if standing:
        body["standing"] = True
    done = call.client.post("/v1/broadcasts/stop-all", body)
    if call.json:
        say.data_json(done)
    stopped = done["stopped"]
    say.talk(w("stopped_all", count=len(stopped), ids=" ".join(stopped)) if stopped else w("stop_all_none"))
    return Code.DONE


def _active(call: Call, rows: list[dict[str, Any]]) -> Code:
    if call.json:
        say.data_json(rows)
    else:
        say.show(_list(rows))
    return Code.DONE


def _list(rows: list[dict[str, Any]]) -> RenderableType:
    from rich.text import Text

    lines = [
        f"{row['id']}  {w('kind_' + row['kind'])}  {w('b_' + row['state'])}  {row['terminals']}"
        for row in rows
    ]
    return Text("\n".join(lines) or w("stop_all_none"))


def _show(summary: dict[str, Any]) -> None:
    from controller.cli.view import render_summary

    say.show(render_summary(summary, words.lang()))
