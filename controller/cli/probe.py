"""``fenghuo feed test``: one honest round against the configured address, by the feed's own adapter. Nothing
is acknowledged, journalled or remembered, so that nothing is taken from the controller.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from alerts.feed import Document, Feed, FeedError
from alerts.formats import Reading
from alerts.lint import lint
from alerts.regions import County
from config import schema
from config.counties import PackError, load_county
from controller.adapters import open_feed, pinned, read_as
from controller.cli import say
from controller.cli.outcome import Code, Failure
from controller.cli.setup import load_config
from controller.cli.words import told, w

QUIET_S: Final = 3.0
"""Of a source that pushes: what it has to say on connecting has come after so much silence."""
_CONNECT_S: Final = 10.0


@dataclass(slots=True)
class _Found:
    reached: bool = False
    trouble: str = ""
    connections: list[dict[str, str]] = field(default_factory=list)
    documents: list[dict[str, Any]] = field(default_factory=list)


def run(name: str, config: Path, *, seconds: float, as_json: bool) -> Code:
    """Prints what was reached, listed and understood. Raises Failure for a configuration that is wrong."""
    found = load_config(config, on_this_machine=False)
    settings = next((feed for feed in found.feeds if feed.name == name), None)
    if settings is None:
        known = ", ".join(feed.name for feed in found.feeds) or w("none")
        raise Failure(Code.CONFIG, w("no_such_feed", name=name, known=known))
    try:
        county = load_county(found.county).county
        reading = read_as(settings)
        with tempfile.TemporaryDirectory(prefix="fenghuo-feed-") as folder:
            result = asyncio.run(_try(settings, reading, county, Path(folder), seconds))
    except PackError as error:
        raise Failure(Code.CONFIG, *str(error).splitlines()) from None
    except FeedError as error:
        raise Failure(Code.CONFIG, f"{name}: {error}") from None
    code = _code(result)
    _show(settings, result, code, as_json)
    return code


def _code(result: _Found) -> Code:
    if not result.reached or result.trouble:
        return Code.FAILED
    return Code.DONE if all(document["ok"] for document in result.documents) else Code.PARTLY


async def _try(
    settings: schema.Feed, reading: Reading, county: County, folder: Path, seconds: float
) -> _Found:
    result = _Found()
    for address in _addresses(settings):
        result.connections.append(await _connection(address, getattr(settings, "ca_file", None)))
    if isinstance(settings, schema.InboxFeed):
        # The controller itself listens there; a second listener would take its place.
        result.reached = all(not c["problem"] for c in result.connections)
        result.trouble = next((c["problem"] for c in result.connections if c["problem"]), "")
        return result
    documents = await _round(settings, folder, seconds, result)
    now = datetime.now(UTC)
    result.documents = [_judged(document, reading, county, now) for document in documents]
    return result


async def _round(settings: schema.Feed, folder: Path, seconds: float, result: _Found) -> list[Document]:
    """What the feed's adapter brings in one round."""
    rested = asyncio.Event()
    looks, enough = 0, _looks(settings)

    async def sleep(pause: float) -> None:
        nonlocal looks
        looks += 1
        if looks >= enough:
            rested.set()
            await asyncio.Event().wait()
        await asyncio.sleep(min(pause, 1.0))

    feed = open_feed(settings, folder, sleep=sleep)
    documents: list[Document] = []
    collecting = asyncio.create_task(_collect(feed, documents), name="feed.collect")
    resting = asyncio.create_task(rested.wait(), name="feed.rested")
    end = time.monotonic() + seconds
    try:
        while not collecting.done() and not resting.done() and time.monotonic() < end:
            heard, before = feed.last_good is not None, len(documents)
            pause = QUIET_S if heard else 0.2
            await asyncio.wait((collecting, resting), timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            if heard and len(documents) == before and _is_told(settings):
                break
        if collecting.done():
            collecting.result()  # only a fault of ours ends it
    finally:
        collecting.cancel()
        resting.cancel()
        await asyncio.gather(collecting, resting, return_exceptions=True)
    result.reached = feed.last_good is not None
    result.trouble = feed.trouble
    if not result.reached and not result.trouble:
        result.trouble = w("no_contact", seconds=f"{seconds:g}")
    return documents


async def _collect(feed: Feed, documents: list[Document]) -> None:
    async for document in feed.documents():
        documents.append(document)


def _looks(settings: schema.Feed) -> int:
    """After how many rests there is nothing more to be expected."""
    match settings:
        case schema.FolderFeed():
            return 3  # a file may be read only at the second look that finds it as it was
        case schema.Wis2Feed():
            return len(settings.brokers)  # each has failed once
        case _:
            return 1


def _is_told(settings: schema.Feed) -> bool:
    """Whether it waits to be told instead of looking by itself."""
    return isinstance(settings, schema.SocketFeed | schema.Wis2Feed)


def _judged(document: Document, reading: Reading, county: County, now: datetime) -> dict[str, Any]:
    about: dict[str, Any] = {"name": document.name, "size": len(document.body), "ok": False}
    if document.refused:
        return {**about, "reason": document.refused}
    report = lint(document.body, reading, now=now, county=county)
    if report.refusal is not None:
        return {**about, "reason": str(report.refusal)}
    assert report.alert is not None
    main = report.alert.main if report.alert.infos else None
    return {
        **about,
        "ok": True,
        "reason": "",
        "headline": (main.headline or main.event) if main else report.alert.note,
        "fields": dict(report.fields),
        "remarks": list(report.remarks),
        "inferred": list(report.inferred),
        # An earthquake's villages follow from how strongly each is shaken, when it comes.
        "villages": len(report.cut.village_keys) if report.cut and main and main.quake is None else None,
    }


# --- the way there ---------------------------------------------------------------------------------------


def _addresses(settings: schema.Feed) -> list[str]:
    match settings:
        case schema.FolderFeed():
            return []
        case schema.Wis2Feed():
            return [broker.url for broker in settings.brokers]
        case schema.InboxFeed():
            scheme = "https" if settings.cert_file else "http"
            return [f"{scheme}://{settings.listen}"]
        case _:
            return [settings.url]


async def _connection(address: str, ca_file: Path | None) -> dict[str, str]:
    """Whether something listens at `address`, and what its certificate says."""
    parts = urlsplit(address.replace("{", "").replace("}", ""))
    secure = parts.scheme in ("https", "wss", "mqtts")
    port = parts.port or {"https": 443, "wss": 443, "mqtts": 8883, "mqtt": 1883}.get(parts.scheme, 80)
    about = {"address": f"{parts.scheme}://{parts.hostname}:{port}", "tls": "", "problem": ""}
    try:
        context = (pinned(ca_file) or ssl.create_default_context()) if secure else None
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
    except FeedError as error:
        return {**about, "problem": str(error)}
    except ssl.SSLCertVerificationError as error:
        return {**about, "problem": w("tls_refused", why=error.verify_message or str(error))}
    except TimeoutError:
        return {**about, "problem": w("no_contact", seconds=f"{_CONNECT_S:g}")}
    except OSError as error:
        return {**about, "problem": error.strerror or str(error)}
    try:
        if context is not None:
            about["tls"] = _certificate(writer.get_extra_info("ssl_object"), pinned=ca_file is not None)
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()
    return about


def _certificate(connection: ssl.SSLObject, *, pinned: bool) -> str:
    shown: Any = connection.getpeercert() or {}
    subject = {key: value for pairs in shown.get("subject", ()) for key, value in pairs}
    issuer = {key: value for pairs in shown.get("issuer", ()) for key, value in pairs}
    return w(
        "tls_pinned" if pinned else "tls_public",
        version=connection.version(),
        subject=subject.get("commonName", "?"),
        issuer=issuer.get("commonName", issuer.get("organizationName", "?")),
        until=shown.get("notAfter", "?"),
    )


# --- for people ------------------------------------------------------------------------------------------


def _show(settings: schema.Feed, result: _Found, code: Code, as_json: bool) -> None:
    if as_json:
        about = {"name": settings.name, "kind": settings.kind, "trust": settings.trust.value}
        say.data_json(
            {
                **about,
                "reached": result.reached,
                "trouble": result.trouble,
                "connections": result.connections,
                "documents": result.documents,
            }
        )
        return
    say.data(f"{settings.name} ({settings.kind}, {w(f'trust_{settings.trust.value}')})")
    for connection in result.connections:
        state = told(connection["problem"]) or w("connected")
        say.data(
            f"  {connection['address']}: {state}" + (f", {connection['tls']}" if connection["tls"] else "")
        )
    if result.trouble:
        say.data(f"  {w('feed_trouble', why=result.trouble)}")
    elif isinstance(settings, schema.InboxFeed):
        say.data(f"  {w('inbox_listens')}")
    else:
        say.data(f"  {w('feed_listed', count=len(result.documents))}")
    for document in result.documents:
        say.data(f"  {document['name']} ({document['size']} B): {_made_of(document)}")
    say.talk(w("feed_test_ok") if code is Code.DONE else w("feed_test_not", name=settings.name))


def _made_of(document: dict[str, Any]) -> str:
    if not document["ok"]:
        return w("doc_refused", why=document["reason"])
    fields: dict[str, str] = document["fields"]
    what = " ".join(part for part in (fields.get("msgType", ""), document["headline"]) if part)
    taken = w("doc_taken", what=what, sounds=fields.get("sounds as", ""))
    if document["villages"] is None:
        return taken
    return taken + w("doc_villages", villages=document["villages"])
