"""From what the county decided about a feed to the adapter that reads it, and how its documents are read."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from alerts.feed import Feed, FeedError
from alerts.feeds.cap_index import CapIndexFeed
from alerts.feeds.folder import FolderFeed
from alerts.feeds.inbox import InboxFeed
from alerts.feeds.listing import ListFeed
from alerts.feeds.socket import SocketFeed
from alerts.feeds.wis2 import Broker, Wis2Feed
from alerts.formats import Reading
from alerts.formats.lists import LISTS
from config import schema


def open_feed(
    settings: schema.Feed,
    state_dir: Path,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Feed:
    """The adapter; what it must remember lies below `state_dir`. `sleep`: how it rests between looks and
    tries. Raises FeedError for files that cannot be used."""
    memory = state_dir / "feeds" / settings.name
    match settings:
        case schema.FolderFeed():
            return FolderFeed(settings.name, settings.path, sleep=sleep)
        case schema.CapIndexFeed():
            return CapIndexFeed(
                settings.name,
                settings.url,
                memory=memory.with_name(f"{memory.name}.json"),
                hosts=settings.hosts,
                interval=settings.every.total_seconds(),
                tls=pinned(settings.ca_file),
                sleep=sleep,
            )
        case schema.ListFeed():
            key = _secret(settings.key_file) if settings.key_file else ""
            return ListFeed(
                settings.name,
                settings.url,
                LISTS[settings.format],
                memory=memory.with_name(f"{memory.name}.json"),
                key="" if settings.key_header else key,
                headers={settings.key_header: key} if settings.key_header else None,
                only=settings.only,
                details=settings.details,
                hosts=settings.hosts,
                interval=settings.every.total_seconds(),
                tls=pinned(settings.ca_file),
                sleep=sleep,
            )
        case schema.SocketFeed():
            return SocketFeed(
                settings.name,
                settings.url,
                LISTS[settings.format],
                watchdog=settings.watchdog.total_seconds(),
                tls=pinned(settings.ca_file),
                sleep=sleep,
            )
        case schema.Wis2Feed():
            return Wis2Feed(
                settings.name,
                [_wis2_broker(broker) for broker in settings.brokers],
                settings.topics,
                client=_client_id(memory.with_name(f"{memory.name}.client")),
                hosts=settings.hosts,
                sleep=sleep,
            )
        case schema.InboxFeed():
            return InboxFeed(
                settings.name,
                settings.listen.host,
                settings.listen.port,
                _secret(settings.token_file),
                tls=_served(settings.cert_file, settings.key_file),
                sleep=sleep,
            )
        case _:
            assert_never(settings)


def read_as(settings: schema.Feed) -> Reading:
    """How its documents are read, certificates included. Raises FeedError for one that cannot be read."""
    signers = getattr(settings, "signers", ())
    return replace(settings.reading, certificates=tuple(_bytes(file) for file in signers))


def _wis2_broker(broker: schema.Wis2Broker) -> Broker:
    tls = None
    if broker.tls:
        tls = pinned(broker.ca_file) or ssl.create_default_context()
    # The WMO publishes this password with the name (`feeds.md` §4.5): it opens to everybody what is public.
    password = _secret(broker.password_file) if broker.password_file else "everyone"
    return Broker(broker.host, broker.port, broker.username, password, tls)


def _client_id(file: Path) -> str:
    """Ours alone and the same after a restart: a broker ends the session of whoever has the same name."""
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise FeedError(f"{file} cannot be read: {error}") from error
    made = f"fenghuo-{secrets.token_hex(8)}"
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_text(f"{made}\n", encoding="ascii")
    except OSError as error:
        raise FeedError(f"{file} cannot be written: {error.strerror}") from error
    return made


def pinned(ca_file: Path | None) -> ssl.SSLContext | None:
    """With a ca_file only certificates under it are accepted: pinned, never ignored."""
    if ca_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:
        raise FeedError(f"{ca_file} is no certificate that can be used: {error}") from error
    # NMC sends its own certificate without the one between it and the root (`feeds.md` §2.4): that one, or
    # the server's own, may be pinned.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _served(cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext | None:
    if cert_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert_file, key_file)
    except OSError as error:
        raise FeedError(f"{cert_file} and {key_file} cannot be used: {error}") from error
    return context


def _secret(file: Path) -> str:
    try:
        return _bytes(file).decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise FeedError(f"{file} is not text") from error


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise FeedError(f"{file} cannot be read: {error.strerror}") from error
