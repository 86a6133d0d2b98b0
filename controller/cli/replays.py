"""``fenghuo feed replay``: the journal or files through `controller.rehearsal`, beside the controller and
without it. Sends nothing, stores nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from alerts import formats
from alerts.feed import FeedError
from alerts.formats import Reading
from alerts.model import AlertError
from alerts.regions import County
from config.counties import PackError, load_county
from config.schema import Config
from controller.adapters import read_as
from controller.cli import say
from controller.cli.options import read_warning
from controller.cli.outcome import Code, Failure
from controller.cli.setup import load_config
from controller.cli.words import told, w
from controller.rehearsal import Piece, Summary, Verdict, rehearsal, village_terminals
from controller.store import Store, StoreError
from simulators import dialects, story
from terminals.model import Terminal

MOST: Final = 20_000
_RECORD: Final = (".jsonl", ".jsonl.gz")
_UNITS: Final = {"m": 60, "h": 3600, "d": 86_400}


def run(
    config: Path,
    file: Path | None,
    *,
    since: str | None,
    feed: str | None,
    now: bool,
    within: str | None,
    as_json: bool,
) -> Code:
    """Prints a verdict for each document and a summary. Raises Failure."""
    if (file is None) == (since is None):
        raise Failure(Code.USAGE, w("file_or_since"))
    if file is not None and feed is None:
        raise Failure(Code.USAGE, w("replay_needs_feed"))
    found = load_config(config, on_this_machine=False)
    try:
        county = load_county(found.county).county
        readings = {settings.name: read_as(settings) for settings in found.feeds}
    except (PackError, FeedError) as error:
        raise Failure(Code.CONFIG, *str(error).splitlines()) from None
    if feed is not None and feed not in readings:
        raise Failure(Code.CONFIG, w("no_such_feed", name=feed, known=", ".join(readings) or w("none")))
    # What intake would log of each is in its verdict.
    logging.disable(logging.ERROR)
    try:
        return asyncio.run(
            _replay(
                found, county, readings, file, _when(since), feed=feed, now=now, within=within, json=as_json
            )
        )
    except StoreError as error:
        raise Failure(Code.FAILED, str(error)) from None
    finally:
        logging.disable(logging.NOTSET)


async def _replay(
    config: Config,
    county: County,
    readings: dict[str, Reading],
    file: Path | None,
    since: datetime,
    *,
    feed: str | None,
    now: bool,
    within: str | None,
    json: bool,
) -> Code:
    journal = config.state_dir / "fenghuo.db"
    terminals: list[Terminal] = []
    pieces: list[Piece] = []
    if file is None or await asyncio.to_thread(journal.exists):
        async with Store.look(journal) as store:
            terminals = [row.terminal for row in await store.terminals()]
            if file is None:
                pieces = await _journalled(store, since, feed)
    if file is not None:
        assert feed is not None
        if file.name.endswith(_RECORD):
            # A record is written as the relay of the Meteorological Administration does: as CAP.
            readings = {**readings, feed: replace(readings[feed], format="")}
        pieces = list(await asyncio.to_thread(_from_files, file, feed, readings[feed], county, within))
    if len(pieces) > MOST:
        raise Failure(Code.REFUSED, w("replay_too_many", count=len(pieces), limit=MOST))
    if not terminals:
        say.talk(w("replay_pretends"))
        terminals = village_terminals(county)
    if now:
        moment = datetime.now(UTC)
        pieces = [replace(piece, at=moment, backlog=True) for piece in pieces]
    summary = Summary()
    begin = min((piece.at for piece in pieces), default=datetime.now(UTC))
    async with rehearsal(config, county, terminals, readings, begin=begin) as world:
        async for verdict in world.judge(pieces):
            summary.add(verdict)
            _show(verdict, as_json=json)
    _sum_up(summary, as_json=json)
    return Code.DONE


async def _journalled(store: Store, since: datetime, feed: str | None) -> list[Piece]:
    pieces: list[Piece] = []
    after, start = 0, int(since.timestamp() * 1000)
    while rows := await store.journalled(feed=feed, since=start, after=after, limit=500):
        for row, body, _ in rows:
            was = row.outcome.value if row.outcome is not None else ""
            at = datetime.fromtimestamp(row.received / 1000, UTC)
            refused = row.reason if not body else ""
            pieces.append(Piece(row.feed, row.name, body, at, was, refused))
        after = rows[-1][0].id
        if len(pieces) > MOST:
            break
    return pieces


# --- files -----------------------------------------------------------------------------------------------


def _from_files(
    file: Path, feed: str, reading: Reading, county: County, within: str | None
) -> Iterator[Piece]:
    if file.is_dir():
        for path in sorted(path for path in file.iterdir() if path.is_file()):
            yield _piece(path.name, read_warning(path), feed, reading)
    elif file.name.endswith(_RECORD):
        yield from _recorded(file, feed, county, within)
    else:
        yield _piece(file.name, read_warning(file), feed, reading)


def _piece(name: str, body: bytes, feed: str, reading: Reading) -> Piece:
    """As if it had come when it was sent; what cannot be read comes now."""
    at = datetime.now(UTC)
    with contextlib.suppress(AlertError):  # the rehearsal says why
        at = formats.parse(body, reading, now=at).sent
    return Piece(feed, name, body, at)


def _recorded(file: Path, feed: str, county: County, within: str | None) -> Iterator[Piece]:
    """As seen first: each comes as late as it did then. Without `within`, those of the county, its prefecture
    and its province."""
    inside = county.code[:2] if within is None else within
    try:
        scenario = story.load(str(file))
        assert scenario.week is not None
        assert scenario.start is not None
        chosen = msgspec.structs.replace(scenario, week=msgspec.structs.replace(scenario.week, within=inside))
        messages: Iterable[Any] = story.timeline(chosen, lambda at: datetime.now(UTC))
    except story.StoryError as error:
        raise Failure(Code.CONFIG, str(error)) from None
    for issue in messages:
        over = re.sub("(00)+$", "", issue.codes[0])
        if within is None and not county.code.startswith(over):
            continue
        at = scenario.start + timedelta(seconds=issue.at)
        yield Piece(feed, issue.identifier, dialects.cap(issue), at)


def _when(text: str | None) -> datetime:
    """``2h``, ``7d``, or a time; without a zone it is Beijing's. Raises Failure (usage)."""
    if text is None:
        return datetime.fromtimestamp(0, UTC)
    if found := re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", text):
        return datetime.now(UTC) - timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Failure(Code.USAGE, w("bad_since", text=text)) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=say.BEIJING)


# --- for people ------------------------------------------------------------------------------------------


def _show(verdict: Verdict, *, as_json: bool) -> None:
    piece = verdict.piece
    if as_json:
        row = asdict(verdict) | {"was": piece.was, "at": piece.at.isoformat()}
        del row["piece"]
        row |= {"feed": piece.feed, "name": piece.name, "sha256": hashlib.sha256(piece.body).hexdigest()}
        say.data_json({"event": "document", "data": row}, indent=None)
        return
    became = w(f"r_{verdict.outcome.value}")
    reach = w("reach", villages=verdict.villages, terminals=verdict.terminals)
    about = f"  ({verdict.headline}; {reach})" if verdict.headline else ""
    then = ""
    if piece.was and piece.was != verdict.outcome.value:
        then = w("replay_then", was=w(f"o_{piece.was}"))
    line = f"{say.clock(piece.at.isoformat())}  {piece.feed}  {piece.name}  {became}{then}"
    say.data(f"{line}: {told(verdict.reason)}{about}")


def _sum_up(summary: Summary, *, as_json: bool) -> None:
    if as_json:
        say.data_json({"event": "summary", "data": asdict(summary)}, indent=None)
        return
    counts = ", ".join(f"{w(f'r_{name}')} {count}" for name, count in summary.outcomes.items())
    say.talk(w("replay_sum", count=summary.documents, counts=counts or w("none"), differ=summary.differ))
