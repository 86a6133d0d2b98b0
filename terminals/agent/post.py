"""One small request to the controller's door for terminals. Blocking: run it in a thread."""

from __future__ import annotations

import http.client
import ssl
from typing import Final
from urllib.parse import urlsplit

from terminals.wire import MAX_BODY

PATIENCE_S: Final = 30.0


def post(address: str, body: bytes, tls: ssl.SSLContext | None) -> bytes:
    """The answer. Raises OSError when nobody answers, or says no; ValueError for what is no address."""
    status, said = exchange(address, body, tls)
    if status != 200:
        raise OSError(f"{address}: HTTP {status}: {said[:200].decode(errors='replace')}")
    return said


def exchange(address: str, body: bytes, tls: ssl.SSLContext | None) -> tuple[int, bytes]:
    """Status and answer. Raises OSError when nobody answers; ValueError for what is no address."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{address!r} is no http address")
    way: http.client.HTTPConnection = (
        http.client.HTTPSConnection(parts.hostname, parts.port, timeout=PATIENCE_S, context=tls)
        if parts.scheme == "https"
        else http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_S)
    )
    try:
        way.request("POST", parts.path, body, {"content-type": "application/json"})
        answer = way.getresponse()
        return answer.status, answer.read(2 * MAX_BODY + 1)
    except http.client.HTTPException as error:
        raise OSError(f"{address}: {error!r}") from error
    finally:
        way.close()
