"""``fenghuo standing …``: messages that loudspeakers keep for a hand to sound when no line reaches them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from typer import Argument, Option

from controller.cli import ask, say
from controller.cli.call import Call, DryRun, Yes, asks_the_controller
from controller.cli.help import App
from controller.cli.options import Action, Areas, Codes, Meant, Said, Shade, Template, Warned
from controller.cli.outcome import Code
from controller.cli.words import problem_words, told, w

BroadcastId = Annotated[str, Argument(metavar="ID", help=w("a_standing_id"))]

standing = App(w("h_standing"))


@standing.verb("send", w("h_standing_send"))
@asks_the_controller
def send(
    call: Call,
    kind: Annotated[
        Literal["actual", "exercise", "test"], Argument(metavar="KIND", help=w("a_standing_kind"))
    ],
    days: Annotated[int, Option("--valid", metavar="DAYS", min=1, max=400, help=w("o_standing_valid"))],
    template: Template = None,
    colour: Shade = None,
    area: Areas = None,
    text: Said = "",
    action: Action = "",
    codes: Codes = None,
    meant: Meant = False,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> Code:
    body = Warned(None, template, colour, area, text, action, None, codes, meant=meant).body(kind)
    body["days"] = days
    ask.need_somebody(yes=yes, dry_run=dry_run)
    if dry_run or not yes:
        plan = call.client.post("/v1/standing/preview", {**body, "sound": False})
        if dry_run:
            return ask.only_shown(plan, kind, as_json=call.json)
        ask.stop_if_wrong(plan)
        ask.confirm(kind, w("deed_standing"), ask.plan_shown(plan))
        body["compose"]["issued"] = plan["issued"]
    done = call.client.post("/v1/standing", body)
    ask.stop_if_refused(done)
    if call.json:
        say.data_json(done)
    else:
        say.data(f"{done['alert']} {done['broadcast']}")
        say.talk(w("standing_sent", broadcast=done["broadcast"]))
    return Code.DONE


@standing.verb("list", w("h_standing_list"))
@asks_the_controller
def list_standing(call: Call) -> Code:
    rows = call.client.get("/v1/standing")
    if not call.json:
        rows = [
            {
                **row,
                "kind": w(f"kind_{row['kind']}"),
                "state": w(f"k_{row['state']}"),
                "expires": say.clock(row["expires"]),
                "holders": f"{row['holding']}/{row['terminals']}",
                "hands": row["hands"] or "",
                "why": "; ".join(filter(None, (_now(row), told(row["anew"])))),
            }
            for row in rows
        ]
    columns = {
        w("c_id"): "id",
        w("c_kind"): "kind",
        w("c_state"): "state",
        w("f_headline"): "headline",
        w("c_expires"): "expires",
        w("c_holders"): "holders",
        w("c_hands"): "hands",
        w("c_why"): "why",
    }
    call.table(rows, columns)
    return Code.DONE


@standing.verb("show", w("h_standing_show"))
@asks_the_controller
def show(call: Call, broadcast: BroadcastId) -> Code:
    from controller.cli.view import hand_line

    one = call.client.get(f"/v1/standing/{broadcast}")
    call.fields(
        one,
        {
            w("c_id"): f"{one['id']} · {one['alert']}",
            w("c_kind"): w(f"kind_{one['kind']}"),
            w("c_state"): w(f"k_{one['state']}"),
            w("f_headline"): one["headline"],
            w("f_text_unsaid" if one["generic"] else "f_text"): one["text"],
            w("f_expires"): say.clock(one["expires"]),
            w("c_holders"): f"{one['holding']}/{one['terminals']}",
            w("c_hands"): [hand_line(hand) for hand in one["by_hand"]],
            w("c_why"): "; ".join(
                filter(
                    None,
                    (
                        _now(one),
                        told(one["anew"]),
                        w("v_generic") if one["generic"] else "",
                        told(one["doubt"]),
                    ),
                )
            ),
        },
    )
    if not call.json:
        rows = [{**row, "problems": problem_words(row["problems"])} for row in one["townships"]]
        columns = {
            w("c_township"): "name",
            w("c_holders"): "whole",
            w("s_targeted"): "terminals",
            w("s_silent"): "silent",
            w("c_why"): "problems",
        }
        call.table(rows, columns)
    return Code.DONE


@standing.verb("drop", w("h_standing_drop"))
@asks_the_controller
def drop(
    call: Call,
    broadcast: BroadcastId,
    reason: Annotated[str, Option("--reason", metavar="TEXT", help=w("o_standing_reason"))] = "值班员撤下",
    yes: Yes = False,
    dry_run: DryRun = False,
) -> Code:
    ask.need_somebody(yes=yes, dry_run=dry_run)
    if dry_run or not yes:
        from rich.text import Text

        one = call.client.get(f"/v1/standing/{broadcast}")
        if dry_run:
            if call.json:
                say.data_json(one)
            else:
                say.show(
                    Text(say.clean(f"{one['id']}  {one['headline']}  {one['holding']}/{one['terminals']}"))
                )
            return Code.DONE
        ask.confirm(one["kind"], w("deed_standing_drop", id=broadcast), Text(say.clean(one["headline"])))
    done = call.client.post(f"/v1/standing/{broadcast}/drop", {"reason": reason})
    ask.stop_if_refused(done)
    if call.json:
        say.data_json(done)
    say.talk(w("standing_dropped", id=broadcast))
    return Code.DONE


def _now(row: dict[str, Any]) -> str:
    return w("standing_now", terminals=" ".join(row["now"])) if row["now"] else ""
