"""``fenghuo feed …``: where warnings come from, whether each source is well, what became of what it sent."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Final

from typer import Argument, Option

from controller.cli import say
from controller.cli.call import Call, ConfigFile, Json, asks_the_controller
from controller.cli.client import Lost
from controller.cli.help import App
from controller.cli.outcome import Code, Failure
from controller.cli.words import told, w

_TRIES: Final = 60
_AGAIN_S: Final = 1.0

feed = App(w("h_feed"))

FeedName = Annotated[str | None, Argument(metavar="NAME", help=w("a_feed_or_all"))]


@feed.verb("list", w("h_feed_list"))
@asks_the_controller
def list_feeds(call: Call) -> Code:
    rows: list[dict[str, Any]] = call.client.get("/v1/feeds")
    if not call.json:
        rows = [
            {
                **row,
                "trust": w(f"trust_{row['trust']}"),
                "last_good": say.clock(row["last_good"]),
                "last_document": say.clock(row["last_document"]),
                "state": state_of(row),
            }
            for row in rows
        ]
    columns = {
        w("c_name"): "name",
        w("c_kind"): "kind",
        w("c_trust"): "trust",
        w("c_contact"): "last_good",
        w("c_document"): "last_document",
        w("c_state"): "state",
    }
    call.table(rows, columns)
    return Code.DONE


def state_of(row: dict[str, Any]) -> str:
    """How a feed of the API (FeedOut) is, in words."""
    if row["stale"]:
        return w("feed_stale", why=row["stale"])
    if row["problem"]:
        return w("feed_trouble", why=row["problem"])
    return w("feed_well") if row["last_good"] else w("feed_awaited")


@feed.verb("test", w("h_feed_test"))
def try_out(
    name: Annotated[str, Argument(metavar="NAME", help=w("a_feed"))],
    config: ConfigFile,
    seconds: Annotated[int, Option("--seconds", min=1, max=600, help=w("o_feed_seconds"))] = 60,
    json: Json = False,
) -> Code:
    from controller.cli import probe

    return probe.run(name, config, seconds=seconds, as_json=json)


@feed.verb("tail", w("h_feed_tail"))
@asks_the_controller
def tail(
    call: Call,
    name: FeedName = None,
    last: Annotated[int, Option("--last", metavar="N", min=0, max=1000, help=w("o_last"))] = 10,
    once: Annotated[bool, Option("--once", help=w("o_once"))] = False,
) -> Code:
    if once:
        rows = call.client.get("/v1/documents", feed=name, limit=last) if last else []
        for row in rows:
            _show(row, as_json=call.json)
        if not rows:
            say.talk(w("nothing_there"))
        return Code.DONE
    seen: dict[int, str | None] = {}
    failure = Failure(Code.UNREACHABLE, w("stream_lost"))
    for _ in range(_TRIES):
        query = f"?last={last if not seen else 1000}" + (f"&feed={name}" if name else "")
        try:
            for event, row in call.client.events(f"/v1/documents/tail{query}"):
                # After a break the controller begins with what we have seen already.
                if event == "document" and seen.get(row["id"], "") != row["outcome"]:
                    seen[row["id"]] = row["outcome"]
                    _show(row, as_json=call.json)
            return Code.DONE
        except Lost:
            say.talk(w("stream_lost"))
        except KeyboardInterrupt:
            return Code.DONE
        except Failure as error:
            if not seen or error.code is not Code.UNREACHABLE or "status" in error.data:
                raise
            failure = error
        time.sleep(_AGAIN_S)
    raise failure


def _show(row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        say.data_json({"event": "document", "data": row}, indent=None)
        return
    became = w(f"o_{row['outcome']}") if row["outcome"] else w("doc_undecided")
    about = " ".join(part for part in (row["alert"] or "", row["headline"]) if part)
    reason = f": {told(row['reason'])}" if row["reason"] else ""
    line = f"{say.clock(row['received'])}  {row['feed']}  {row['name']}  {became}{reason}"
    say.data(line + (f"  ({about})" if about else ""))


@feed.verb("replay", w("h_feed_replay"))
def replay(
    config: ConfigFile,
    file: Annotated[
        Path | None, Argument(metavar="FILE|FOLDER", exists=True, readable=True, help=w("a_replay"))
    ] = None,
    since: Annotated[str | None, Option("--since", metavar="WHEN", help=w("o_since"))] = None,
    name: Annotated[str | None, Option("--feed", metavar="NAME", help=w("o_feed_as"))] = None,
    now: Annotated[bool, Option("--now", help=w("o_replay_now"))] = False,
    within: Annotated[str | None, Option("--within", metavar="DIGITS", help=w("o_within"))] = None,
    json: Json = False,
) -> Code:
    from controller.cli import replays

    return replays.run(config, file, since=since, feed=name, now=now, within=within, as_json=json)
