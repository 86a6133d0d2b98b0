"""The polite and wary HTTP GET that every feed over HTTP uses: indexes, lists, details, what WIS2 names.

Polite: ETag and If-Modified-Since, one pause rule with jitter and back-off. Wary: a limit on size and on
time as a whole, no redirects, no compression (a small body could grow past any limit inside the library),
no proxy from the environment, links only to hosts that were named. A broken TLS chain is pinned by a
certificate file, never ignored.
"""

from __future__ import annotations

import asyncio
import random as _random
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import httpx2

from alerts.feed import FeedError

MAX_BACKOFF: Final = 600.0
USER_AGENT: Final = "fenghuo (county emergency broadcast)"
# Caiyun v3 calls its ETag so (`feeds.md` §2.8).
_VALIDATORS: Final = (
    ("If-None-Match", ("etag", "x-cy-etag")),
    ("If-Modified-Since", ("last-modified",)),
)


class TooLarge(FeedError):
    """The body has more bytes than allowed: no use to ask again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A 200 with its body, or a 304."""

    body: bytes = b""
    unchanged: bool = False
    """304: what we have is still right; there is no body."""
    validators: Mapping[str, str] = field(default_factory=dict)
    """Headers to ask with next time, once the body has proved to be good."""


def parse_url(text: str, schemes: tuple[str, ...] = ("http", "https")) -> httpx2.URL:
    """Raises FeedError unless `text` is an absolute address of one of `schemes`."""
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise FeedError(f"{text!r} is not an address: {error}") from error
    # httpx2 quotes what no host may contain ("http://[bad" → %5Bbad) instead of refusing it.
    if url.scheme not in schemes or not url.host or "%" in url.host:
        raise FeedError(f"{text!r} is not an {' or '.join(schemes)} address")
    return url


def shown(url: httpx2.URL) -> str:
    """An address for people and logs, without what might be a key: no user, no query."""
    return f"{url.scheme}://{url.host}{f':{url.port}' if url.port else ''}{url.path}"


def forbidden(base: httpx2.URL | None, link: httpx2.URL, hosts: frozenset[str]) -> str:
    """Why `link` may not be followed, or empty. It may lead to the host of `base`, and to `hosts`
    (``host`` or ``host:port``, folded), and never from https to http: whoever writes an index or a
    notification must not be able to make us call the county's other machines."""
    plain = base is None or base.scheme == "http"
    if link.scheme not in ("http", "https") or (not plain and link.scheme == "http"):
        return f"{shown(link)}: links may not leave {'http' if plain else 'https'}"
    if base is not None and (link.host, _port(link)) == (base.host, _port(base)):
        return ""
    host = link.host.casefold()
    if {host, f"{host}:{_port(link)}"} & hosts:
        return ""
    return f"{shown(link)}: not the feed's own host; name it in the feed's hosts if that is right"


def pause(
    interval: float,
    failures: int,
    random: Callable[[], float] = _random.random,
    *,
    most: float | None = None,
    spread: float = 0.1,
) -> float:
    """Seconds to the next try: the interval ± `spread`, doubled with every failure in a row, at most `most`
    (or the interval, if that is longer). By default that is ten intervals, and never over 10 minutes: who
    asks for earthquakes every 3 s must not stay away for long. `random` is in [0, 1)."""
    most = min(10 * interval, MAX_BACKOFF) if most is None else most
    base: float = min(interval * 2 ** min(failures, 16), max(most, interval))
    return base * (1 - spread + 2 * spread * random())


class Getter:
    """An HTTP client that obeys the rules above. Enter it before the first `get`."""

    def __init__(
        self,
        *,
        deadline: float = 10.0,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        secret: str = "",
    ) -> None:
        """`deadline`: seconds that one request may take in all, a body that drips included. `secret`: a key
        within addresses, which no message may repeat."""
        self._deadline = deadline
        self._secret = secret
        self._client = httpx2.AsyncClient(
            headers={"User-Agent": USER_AGENT, **(headers or {}), "Accept-Encoding": "identity"},
            verify=tls if tls is not None else True,
            follow_redirects=False,
            trust_env=False,
            timeout=deadline,
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def get(self, url: httpx2.URL, limit: int, validators: Mapping[str, str] | None = None) -> Answer:
        """One GET of at most `limit` bytes. Raises FeedError (TooLarge) for all but a whole 200 and, where
        `validators` were sent, a 304."""
        at = self._masked(shown(url))
        try:
            async with (
                asyncio.timeout(self._deadline),
                self._client.stream("GET", url, headers=dict(validators or {})) as response,
            ):
                if response.status_code == 304 and validators:
                    return Answer(unchanged=True, validators=validators)
                if response.is_redirect:
                    raise FeedError(f"{at} redirects; configure the address it leads to")
                if response.status_code != 200:
                    raise FeedError(f"{at} answers {response.status_code}")
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise FeedError(f"{at} compresses, though asked not to")
                body = bytearray()
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > limit:
                        raise TooLarge(f"{at}: more than {limit:,} bytes")
                return Answer(bytes(body), validators=_validators(response.headers))
        except TimeoutError as error:
            raise FeedError(f"{at} took longer than {self._deadline:g} s") from error
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
            raise FeedError(f"{at}: {self._masked(str(error)) or type(error).__name__}") from error

    def _masked(self, text: str) -> str:
        if not self._secret:
            return text
        return text.replace(self._secret, "***").replace(quote(self._secret, safe=""), "***")


def hosts_of(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.casefold() for name in names)


def _validators(headers: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for ask, names in _VALIDATORS:
        if told := next((headers[name] for name in names if name in headers), ""):
            found[ask] = told
    return found


def _port(url: httpx2.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)
