"""The polite GET over real TLS: a broken chain is pinned, never ignored."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from alerts.feed import FeedError
from alerts.feeds import http
from controller.adapters import pinned
from support.brokers import certificate


@asynccontextmanager
async def https(chain: Path, key: Path) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}/"


async def fetched(url: str, tls: ssl.SSLContext | None) -> bytes:
    async with http.Getter(tls=tls, deadline=20) as getter:
        return (await getter.get(http.parse_url(url), 10)).body


async def test_a_certificate_is_believed_only_where_it_was_pinned(tmp_path: Path) -> None:
    """NMC sends its own certificate and not the one above it: that one is pinned, or the server's own."""
    authority = certificate("authority", tmp_path, None)
    certificate("server", tmp_path, authority)
    certificate("stranger", tmp_path, None)
    async with https(tmp_path / "server.crt", tmp_path / "server.key") as url:
        assert await fetched(url, pinned(tmp_path / "authority.crt")) == b"ok"
        assert await fetched(url, pinned(tmp_path / "server.crt")) == b"ok"
        with pytest.raises(FeedError, match="certificate verify failed"):
            await fetched(url, None)
        with pytest.raises(FeedError, match="certificate verify failed"):
            await fetched(url, pinned(tmp_path / "stranger.crt"))


async def test_a_pinned_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    certificate("server", tmp_path, None)
    async with https(tmp_path / "server.crt", tmp_path / "server.key") as url:
        with pytest.raises(FeedError, match="verify failed"):
            await fetched(url.replace("localhost", "127.0.0.1"), pinned(tmp_path / "server.crt"))


def test_a_ca_file_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for file in ("ca.pem", "missing.pem"):
        with pytest.raises(FeedError, match=file):
            pinned(tmp_path / file)
