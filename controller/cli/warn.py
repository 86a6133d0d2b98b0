"""``fenghuo alert|exercise|test …``: sending, previewing, deciding and looking at warnings."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from typer import Argument, Option

from controller.cli import ask, say, words
from controller.cli.call import Call, DryRun, Json, Wait, Yes, asks_the_controller, table, write
from controller.cli.follow import code_of, follow
from controller.cli.help import App
from controller.cli.options import (
    Action,
    Areas,
    Circles,
    Codes,
    Datum,
    File,
    Meant,
    Polygons,
    Said,
    Shade,
    Template,
    Valid,
    Warned,
    read_warning,
)
from controller.cli.outcome import Code, Failure
from controller.cli.words import told, w, who_words

if TYPE_CHECKING:
    from alerts.lint import LintReport
    from alerts.regions import County

AlertId = Annotated[str, Argument(metavar="ID", help=w("a_alert"))]
State = Literal["held", "released", "rejected", "closed", "cancelled", "superseded", "standing"]


def group(kind: str) -> App:
    """The verbs of one kind: the kind is in the command, never an option and never a default."""
    app = App(w(f"h_{'alert' if kind == 'actual' else kind}"))
    app.verb("send", w(f"h_send_{kind}"))(asks_the_controller(_send(kind)))
    app.verb("preview", w(f"h_preview_{kind}"))(asks_the_controller(_preview(kind)))
    return app


def _send(kind: str) -> Callable[..., Code]:
    def send(
        call: Call,
        file: File = None,
        template: Template = None,
        colour: Shade = None,
        area: Areas = None,
        text: Said = "",
        action: Action = "",
        valid: Valid = None,
        codes: Codes = None,
        circle: Circles = None,
        polygon: Polygons = None,
        datum: Datum = None,
        meant: Meant = False,
        yes: Yes = False,
        dry_run: DryRun = False,
        wait: Wait = False,
    ) -> Code:
        body = Warned(
            file, template, colour, area, text, action, valid, codes, circle, polygon, datum, meant
        ).body(kind)
        ask.need_somebody(yes=yes, dry_run=dry_run)
        if dry_run or not yes:
            plan = _plan(call, {**body, "sound": False})  # the question is there at once
            if dry_run:
                return ask.only_shown(plan, kind, as_json=call.json)
            ask.stop_if_wrong(plan)
            ask.confirm(kind, w("deed_send"), ask.plan_shown(plan))
            if "compose" in body:  # what was confirmed is what is said
                body["compose"]["issued"] = plan["issued"]
        return _released(call, call.client.post("/v1/alerts", body), wait=wait)

    return send


def _preview(kind: str) -> Callable[..., Code]:
    def preview(
        call: Call,
        file: File = None,
        template: Template = None,
        colour: Shade = None,
        area: Areas = None,
        text: Said = "",
        action: Action = "",
        valid: Valid = None,
        codes: Codes = None,
        circle: Circles = None,
        polygon: Polygons = None,
        datum: Datum = None,
        meant: Meant = False,
        out: Annotated[Path | None, Option("--out", metavar="FILE.mp3", help=w("o_out"))] = None,
        chart: Annotated[Path | None, Option("--map", metavar="FILE.svg|png", help=w("o_map"))] = None,
        play: Annotated[bool, Option("--play", help=w("o_play"))] = False,
    ) -> Code:
        body = Warned(
            file, template, colour, area, text, action, valid, codes, circle, polygon, datum, meant
        ).body(kind)
        if chart is not None:
            body["map"] = _form(chart)
        plan = _plan(call, body)
        drawing = plan.pop("map", None)
        # The files first: whoever reads what is shown may stop reading (`| head`).
        if chart is not None:
            _save_map(chart, drawing, plan["map_note"])
        sound = b""
        if (out is not None or play) and plan["clip"] is not None:
            sound = call.client.content(f"/v1/clips/{plan['clip']}")
        if out is not None and sound:
            write(out, sound)
            say.talk(w("sound_written", file=out))
        code = ask.only_shown(plan, kind, as_json=call.json)
        if not call.json:
            _show_reach(plan)
        if play and sound:
            from controller.cli.sounds import played

            played(sound)
        return code

    return preview


def _form(chart: Path) -> str:
    form = chart.suffix.lower().removeprefix(".")
    if form not in ("svg", "png"):
        raise Failure(Code.USAGE, w("map_form", file=chart))
    return form


def _save_map(chart: Path, drawing: str | None, note: str) -> None:
    if drawing is None:
        raise Failure(Code.FAILED, w("no_map", why=note))
    write(chart, base64.b64decode(drawing))
    say.talk(w("map_written", file=chart))
    if note:
        say.talk(told(note))


def _show_reach(plan: dict[str, Any]) -> None:
    """Every village that is meant, and what is known of it."""
    rows = [
        {
            **row,
            "way": told(row["way"]),
            "population": "—" if row["population"] is None else row["population"],
            "terminals": row["terminals"] or w("none_there"),
            "languages": " ".join(row["languages"]),
        }
        for row in plan["reach"]
    ]
    columns = {
        w("c_township"): "township",
        w("c_village"): "name",
        w("c_way"): "way",
        w("c_population"): "population",
        w("c_terminals"): "terminals",
        w("c_languages"): "languages",
    }
    table(rows, columns, as_json=False)
    known = plan["population"]
    say.data(
        w(
            "population_sum",
            people="—" if known is None else known,
            unknown=plan["population_unknown"],
            silent=sum(row["terminals"] == 0 for row in plan["reach"]),
        )
    )


def _plan(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """The preview, its sound included: whoever waits is told why."""
    if not say.at_terminal():
        return dict(call.client.post("/v1/alerts/preview", body))
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description}"), TimeElapsedColumn(), console=say.console(err=True)
    ) as wait:
        wait.add_task(w("preparing"))
        return dict(call.client.post("/v1/alerts/preview", body))


def _released(call: Call, done: dict[str, Any], *, wait: bool) -> Code:
    """The ids on stdout; with `wait` the broadcast to its end."""
    ask.stop_if_refused(done)
    if done["outcome"] == "cancelled":
        return _cancelled(call, done)
    broadcast = done["broadcast"]
    if not call.json:
        say.data(f"{done['alert']} {broadcast}")
        say.talk(w("sent", alert=done["alert"], broadcast=broadcast))
        if lead := _lead(call, done):
            say.talk(w("lead_first", lead=lead))
        if problems := _in_the_way(call):
            say.talk(w("not_out_yet", problems="; ".join(problems)))
    if not wait:
        if call.json:
            say.data_json(done)
        return Code.DONE
    summary = follow(call.client, broadcast, as_json=False)
    if call.json:
        say.data_json({**done, "summary": summary})
    else:
        from controller.cli.view import render_summary

        say.show(render_summary(summary, words.lang()), err=True)
    return code_of(summary)


def _lead(call: Call, done: dict[str, Any]) -> str:
    """The broadcast that sounds before the one to follow, where there is one. It is released whatever comes
    of this question."""
    try:
        rows = call.client.get("/v1/broadcasts", limit=20)
    except Failure:
        return ""
    leads = (row["id"] for row in rows if row["alert"] == done["alert"] and row["part"] == "lead")
    return next((name for name in leads if name != done["broadcast"]), "")


def _in_the_way(call: Call) -> list[str]:
    """Why what was released cannot go out yet. It is released whatever comes of this question."""
    try:
        return call.client.ready()
    except Failure:
        return []


def _cancelled(call: Call, done: dict[str, Any]) -> Code:
    if call.json:
        say.data_json(done)
        return Code.DONE
    for name in ("stopped", "all_clear"):
        for broadcast in done[name]:
            say.data(f"{name} {broadcast}")
    say.talk(w("cancelled", alert=done["alert"], stopped=len(done["stopped"])))
    say.talk(w("all_clear_airs") if done["all_clear"] else w("all_clear_not"))
    return Code.DONE


LINES: Final = {"broadcast": "doubted_line", "by-hand": "by_hand_line"}
alert = group("actual")
exercise = group("exercise")
test = group("test")


@exercise.verb("siren", w("h_siren"))
@asks_the_controller
def siren(
    call: Call,
    pattern: Annotated[
        Literal["prepare", "raid", "clear", "disaster"], Argument(metavar="PATTERN", help=w("a_siren"))
    ],
    place: Annotated[list[str], Option("--place", metavar="NAME", help=w("o_siren_place"))],
    yes: Yes = False,
    dry_run: DryRun = False,
    wait: Wait = False,
) -> Code:
    ask.need_somebody(yes=yes, dry_run=dry_run)
    body = {"pattern": pattern, "areas": place}
    if dry_run or not yes:
        from rich.text import Text

        tried = call.client.post("/v1/exercises/siren", {**body, "dry_run": True})
        ask.stop_if_refused(tried)
        shown = w("siren_shown", pattern=w(f"siren_{pattern}"), places="、".join(place))
        if dry_run:
            if call.json:
                say.data_json(tried)
            say.talk(shown)
            return Code.DONE
        ask.confirm("siren", w("deed_send"), Text(shown))
    return _released(call, call.client.post("/v1/exercises/siren", body), wait=wait)


@alert.verb("approve", w("h_approve"))
@asks_the_controller
def approve(
    call: Call, alert: AlertId, yes: Yes = False, dry_run: DryRun = False, wait: Wait = False
) -> Code:
    ask.need_somebody(yes=yes, dry_run=dry_run)
    if dry_run or not yes:
        detail = call.client.get(f"/v1/alerts/{alert}")
        _only(detail, "held")
        if dry_run:
            return _show_detail(call, detail)
        _confirm(detail, w("deed_approve", id=alert))
    return _released(call, call.client.post(f"/v1/alerts/{alert}/approve"), wait=wait)


@alert.verb("reject", w("h_reject"))
@asks_the_controller
def reject(
    call: Call,
    alert: AlertId,
    reason: Annotated[str, Option("--reason", metavar="TEXT", help=w("o_reason_reject"))],
) -> Code:
    done = call.client.post(f"/v1/alerts/{alert}/reject", {"reason": reason})
    ask.stop_if_refused(done)
    if call.json:
        say.data_json(done)
    say.talk(w("rejected", alert=alert))
    return Code.DONE


@alert.verb("cancel", w("h_cancel"))
@asks_the_controller
def cancel(
    call: Call,
    alert: AlertId,
    reason: Annotated[str, Option("--reason", metavar="TEXT", help=w("o_reason_cancel"))] = "值班员解除",
    yes: Yes = False,
    dry_run: DryRun = False,
) -> Code:
    ask.need_somebody(yes=yes, dry_run=dry_run)
    if dry_run or not yes:
        detail = call.client.get(f"/v1/alerts/{alert}")
        _only(detail, "held", "released")
        if dry_run:
            return _show_detail(call, detail)
        _confirm(detail, w("deed_cancel", id=alert))
    done = call.client.post(f"/v1/alerts/{alert}/cancel", {"reason": reason})
    ask.stop_if_refused(done)
    return _cancelled(call, done)


def _only(detail: dict[str, Any], *states: str) -> None:
    if detail["state"] not in states:
        by = detail["decided_by"] or "—"
        text = w("wrong_state", id=detail["id"], state=w(f"a_{detail['state']}"), who=by)
        raise Failure(Code.REFUSED, text, state=detail["state"])


def _confirm(detail: dict[str, Any], deed: str) -> None:
    from rich.text import Text

    plan = detail["plan"]
    shown = ask.plan_shown(plan) if plan else Text(say.clean(detail["headline"]))
    ask.confirm(detail["kind"], deed, shown)


@alert.verb("list", w("h_alert_list"))
@asks_the_controller
def list_alerts(
    call: Call,
    state: Annotated[State | None, Option("--state", help=w("o_state"))] = None,
    limit: Annotated[int, Option("--limit", min=1, max=1000, help=w("o_limit"))] = 50,
) -> Code:
    rows = call.client.get("/v1/alerts", state=state, limit=limit)
    if not call.json:
        rows = [
            {
                **row,
                "kind": w(f"kind_{row['kind']}"),
                "state": w(f"a_{row['state']}") + _waiting(row),
                "created": say.clock(row["created"]),
                "source": who_words(row["source"]),
            }
            for row in rows
        ]
    call.table(
        rows,
        {
            w("c_id"): "id",
            w("c_kind"): "kind",
            w("c_state"): "state",
            w("c_time"): "created",
            w("f_headline"): "headline",
            w("c_source"): "source",
        },
    )
    return Code.DONE


def _waiting(row: dict[str, Any]) -> str:
    seconds = row["waiting_seconds"]
    return "" if seconds is None else " " + w("waits", minutes=f"{seconds // 60}:{seconds % 60:02}")


@alert.verb("show", w("h_alert_show"))
@asks_the_controller
def show(call: Call, alert: AlertId) -> Code:
    return _show_detail(call, call.client.get(f"/v1/alerts/{alert}"))


def _show_detail(call: Call, detail: dict[str, Any]) -> Code:
    colour = detail["colour"]
    planned = detail["plan"] is not None  # and then says what it says
    call.fields(
        detail,
        {
            w("c_id"): detail["id"],
            w("c_kind"): w(f"kind_{detail['kind']}"),
            w("c_state"): w(f"a_{detail['state']}") + _waiting(detail),
            w("c_why"): told(detail["reason"]),
            w("c_decided"): f"{say.clock(detail['decided'])} {detail['decided_by'] or ''}".strip()
            if detail["decided"]
            else "",
            w("c_source"): who_words(detail["source"]),
            w("c_identifier"): f"{detail['identifier']} ({detail['msg_type']})",
            w("f_headline"): "" if planned else detail["headline"],
            w("f_hazard"): ""
            if planned
            else told(detail["hazard"]) + (f" · {w(f'colour_{colour}')}" if colour else ""),
            w("c_time"): say.clock(detail["created"]),
            w("f_expires"): "" if planned else say.clock(detail["expires"]),
            w("c_broadcasts"): detail["broadcasts"],
            w("c_remarks"): [*map(told, detail["remarks"])],
            w("c_inferred"): [*map(told, detail["inferred"])],
        },
    )
    if detail["plan"] and not call.json:
        say.show(ask.plan_shown(detail["plan"], whole=True))
    return Code.DONE


@alert.verb("why", w("h_alert_why"))
@asks_the_controller
def why(call: Call, alert: AlertId) -> Code:
    """DONE whoever heard it: the question was answered."""
    from controller.cli.view import render_deliveries

    found = call.client.get(f"/v1/alerts/{alert}/deliveries")
    if call.json:
        say.data_json(found)
    else:
        say.show(render_deliveries(found, words.lang()))
    return Code.DONE


@alert.verb("watch", w("h_alert_watch"))
@asks_the_controller
def watch(call: Call) -> Code:
    """Until it is interrupted; the stream is taken up again when it breaks off."""
    import time

    from controller.cli.client import Lost

    seen = None
    while True:
        try:
            for name, held in call.client.events("/v1/events"):
                if name != "held":
                    continue
                if call.json:
                    say.data_json({"event": name, "data": held}, indent=None)
                elif held:
                    for one in held:
                        minutes = f"{one['waiting_seconds'] // 60}:{one['waiting_seconds'] % 60:02}"
                        say.talk(
                            w(
                                LINES.get(one.get("what", ""), "held_line"),
                                minutes=minutes,
                                **{k: one[k] for k in ("id", "headline", "reason")},
                            )
                        )
                    say.bell()
                elif seen != []:
                    say.talk(w("nothing_held"))
                seen = held
        except Lost:
            say.talk(w("stream_lost"))
        time.sleep(1)


@alert.verb("lint", w("h_lint"))
def lint(
    file: Annotated[
        Path, Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, help=w("a_lint_file"))
    ],
    codes: Codes = None,
    county: Annotated[str | None, Option("--county", metavar="PACK", help=w("o_county_lint"))] = None,
    form: Annotated[str, Option("--format", metavar="NAME", help=w("o_format_lint"))] = "",
    certificate: Annotated[
        list[Path] | None,
        Option(
            "--certificate", metavar="FILE.pem", exists=True, dir_okay=False, help=w("o_certificate_lint")
        ),
    ] = None,
    json: Json = False,
) -> Code:
    from alerts import formats
    from alerts.lint import lint_all
    from alerts.model import CodeScheme
    from config.counties import PackError, load_county

    try:
        pack = load_county(county) if county else None
    except PackError as error:
        raise Failure(Code.CONFIG, *str(error).splitlines()) from None
    if form and form not in formats.FORMATS:
        raise Failure(Code.USAGE, w("no_format", format=form, known=", ".join(sorted(formats.FORMATS))))
    pems = tuple(path.read_bytes() for path in certificate or ())
    reading = formats.Reading(
        CodeScheme(codes or "unknown"), format=form, certificates=pems, must_be_signed=bool(pems)
    )
    home = pack.county if pack else None
    try:
        reports = lint_all(read_warning(file), reading, now=datetime.now(UTC), county=home)
    except ValueError as error:
        raise Failure(Code.USAGE, w("no_certificate", why=error)) from None
    if json and all(report.ok for report in reports):
        shown = [_lint_data(report) for report in reports]
        say.data_json(shown[0] if len(shown) == 1 and not reports[0].name else {"ok": True, "entries": shown})
        return Code.DONE
    refusals = []
    if not reports:
        say.talk(w("feed_listed", count=0))
    for report in reports:
        if report.name and not json:
            say.data(f"=== {report.name}")
        if report.refusal is not None:
            refusals.append(str(report.refusal))
        elif not json:
            _show_lint(file, report, home)
    if refusals:
        raise Failure(Code.REFUSED, w("lint_refused", file=file), *refusals)
    return Code.DONE


# Fields of a lint report that hold what the sender wrote.
_OWN_WORDS: Final = (
    *("identifier", "sender", "references", "note", "event", "headline", "description", "instruction"),
    "parameters",
)


def _lint_data(report: LintReport) -> dict[str, Any]:
    area = None
    if report.cut is not None:
        area = {name: getattr(report.cut, name) for name in ("lines", "outside", "problems")}
        area["village_keys"] = sorted(report.cut.village_keys)
    return {
        "ok": True,
        "name": report.name,
        "fields": dict(report.fields),
        "sounds": not report.silent,
        "why_silent": report.silent,
        "damage": report.damage,
        "remarks": report.remarks,
        "inferred": report.inferred,
        "area": area,
    }


def _show_lint(file: Path, report: LintReport, county: County | None) -> None:
    for name, value in report.fields:
        label = name if name == "sent" else told(name)  # an element of CAP, and a state of a delivery
        say.data(f"{label}: {value if name.endswith(_OWN_WORDS) else told(value)}")
    for label, texts in (
        ("c_damage", report.damage),
        ("c_remarks", report.remarks),
        ("c_inferred", report.inferred),
    ):
        for text in texts:
            say.data(f"{w(label)}: {told(text)}")
    if county is not None and report.cut is not None:
        say.data(w("lint_area", villages=len(report.cut.village_keys), county=county.name))
        for line in (*report.cut.lines, *report.cut.problems):
            say.data(f"  {told(line)}")
    what = "lint_silent" if report.silent else "lint_held" if report.damage else "lint_ok"
    say.talk(w(what, file=file, why=report.silent))
