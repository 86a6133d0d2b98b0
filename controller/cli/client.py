"""The one place that speaks HTTP with the controller: finding it, the token, errors in words, live events."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from controller.cli.outcome import Code, Failure
from controller.cli.words import w

if TYPE_CHECKING:
    import httpx2

DEFAULT: Final = "unix:./state/api.sock"
TOKEN_FILE: Final = "~/.config/fenghuo/token"  # noqa: S105 - a path
_CONNECT_S: Final = 3.0
_ANSWER_S: Final = 30.0
# A preview may wait for a voice: as long as `controller.voicing.WHOLE_DEADLINE_S`, and a little.
SLOW_S: Final = 260.0
# The controller says something at least every 10 s (`controller.web.operators.KEEPALIVE_S`).
_SILENCE_S: Final = 35.0


class Lost(Exception):
    """An event stream that broke off; ask again."""


@dataclass(frozen=True, slots=True)
class Address:
    """Either a socket's path or the root of an http:// address on this machine."""

    socket: str | None
    base: str

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else self.base


def parse_address(text: str) -> Address:
    """``unix:/path`` or ``http://127.0.0.1:PORT``. Raises Failure (usage): a token never leaves this machine
    in clear."""
    if text.startswith("unix:") and len(text) > len("unix:"):
        return Address(text.removeprefix("unix:"), "http://fenghuo")
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise Failure(Code.USAGE, w("bad_url", url=text)) from None
    host = parts.hostname or ""
    local = host in ("localhost", "::1") or host.startswith("127.")
    if parts.scheme != "http" or not local or parts.path not in ("", "/") or parts.query or parts.username:
        raise Failure(Code.USAGE, w("bad_url", url=text))
    name = f"[{host}]" if ":" in host else host
    return Address(None, f"http://{name}" + (f":{port}" if port else ""))


def find_address(url: str | None, config: Path | None, env: Mapping[str, str]) -> Address:
    """`url`, else ``listen.api`` of `config`, else `DEFAULT`; options before the environment."""
    if url is None and config is None:
        url = env.get("FENGHUO_URL")
        if url is None and env.get("FENGHUO_CONFIG"):
            config = Path(env["FENGHUO_CONFIG"])
    if url is not None:
        return parse_address(url)
    return parse_address(_listen_api(config) if config is not None else DEFAULT)


def _listen_api(config: Path) -> str:
    """Only this one option, quickly; the whole file is the business of `fenghuo config check`."""
    import yaml

    try:
        body = yaml.load(config.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 - text only
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise Failure(Code.CONFIG, w("config_unreadable", file=config, why=reason)) from None
    listen = body.get("listen") if isinstance(body, dict) else None
    api = listen.get("api") if isinstance(listen, dict) else None
    if not isinstance(api, str) or not api:
        raise Failure(Code.CONFIG, w("config_no_api", file=config))
    if api.startswith("unix:"):
        return f"unix:{config.parent.absolute() / api.removeprefix('unix:')}"
    return f"http://{api}"


def find_token(file: Path | None, env: Mapping[str, str]) -> str | None:
    """`file`, else FENGHUO_TOKEN, else FENGHUO_TOKEN_FILE, else `TOKEN_FILE` if it is there.

    Raises Failure (configuration) for a file that is missing, empty or readable by others.
    """
    if file is None:
        if env.get("FENGHUO_TOKEN"):
            return env["FENGHUO_TOKEN"].strip()
        if env.get("FENGHUO_TOKEN_FILE"):
            file = Path(env["FENGHUO_TOKEN_FILE"])
    if file is None:
        file = Path(TOKEN_FILE).expanduser()
        if not file.exists():
            return None
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        token = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Failure(Code.CONFIG, w("token_unreadable", file=file, why=error.strerror)) from None
    except UnicodeDecodeError:
        raise Failure(Code.CONFIG, w("token_empty", file=file)) from None
    if mode & 0o077:
        raise Failure(Code.CONFIG, w("token_open", file=file, mode=f"{mode:04o}"))
    if not token or not token.isascii() or not token.isprintable():
        raise Failure(Code.CONFIG, w("token_empty", file=file))
    return token


class Client:
    """A connection to one controller. Every method raises Failure with words for the operator."""

    def __init__(self, address: Address, token: str | None) -> None:
        import httpx2

        self.address = address
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._has_token = token is not None
        self._http = httpx2.Client(
            base_url=address.base,
            transport=httpx2.HTTPTransport(uds=address.socket) if address.socket else None,
            headers=headers,
            timeout=httpx2.Timeout(_ANSWER_S, connect=_CONNECT_S),
            trust_env=False,  # a proxy would see the token
        )

    @classmethod
    def find(cls, url: str | None, config: Path | None, token_file: Path | None) -> Self:
        return cls(find_address(url, config, os.environ), find_token(token_file, os.environ))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: str | int | None) -> Any:
        """Decoded JSON. `query` values that are None are left out."""
        return self._decode(self._ask("GET", path, query=query))

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Decoded JSON."""
        return self._decode(self._ask("POST", path, body=body))

    def content(self, path: str) -> bytes:
        return self._ask("GET", path).content

    def ready(self) -> list[str]:
        """Why a warning could not go out now; needs no token."""
        answer = self._decode(self._ask("GET", "/readyz", expected=(200, 503)))
        if not isinstance(answer, dict) or "problems" not in answer:
            raise Failure(Code.UNREACHABLE, w("not_ours", address=self.address))
        problems: list[str] = answer["problems"]
        return problems

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """(name, decoded data) of each server-sent event until the controller ends the stream.

        Raises Lost when it breaks off, Failure when it cannot even begin.
        """
        import httpx2

        began = False
        try:
            with self._http.stream(
                "GET", path, timeout=httpx2.Timeout(_SILENCE_S, connect=_CONNECT_S)
            ) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise self._refusal(answer)
                began = True
                yield from parse_events(answer.iter_lines())
        except httpx2.TransportError as error:
            if began:
                raise Lost(str(error)) from error
            raise self._unreachable(error, wrote=False) from error

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | None] | None = None,
        body: Mapping[str, Any] | None = None,
        expected: tuple[int, ...] = (200,),
    ) -> httpx2.Response:
        import httpx2

        wait = SLOW_S if method == "POST" else _ANSWER_S
        try:
            answer = self._http.request(
                method,
                path,
                params={k: v for k, v in (query or {}).items() if v is not None},
                json=body,
                timeout=httpx2.Timeout(wait, connect=_CONNECT_S),
            )
        except httpx2.TransportError as error:
            wrote = method == "POST" and not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
            raise self._unreachable(error, wrote=wrote) from error
        if answer.status_code not in expected:
            raise self._refusal(answer)
        return answer

    def _decode(self, answer: httpx2.Response) -> Any:
        try:
            return answer.json()
        except ValueError:
            raise Failure(Code.UNREACHABLE, w("not_ours", address=self.address)) from None

    def _unreachable(self, error: Exception, *, wrote: bool) -> Failure:
        why = str(error) or type(error).__name__
        if wrote:
            return Failure(Code.UNREACHABLE, w("no_answer", address=self.address, why=why))
        return Failure(Code.UNREACHABLE, w("unreachable", address=self.address, why=why))

    def _refusal(self, answer: httpx2.Response) -> Failure:
        """What an answer that is not 200 means to the operator."""
        lines = _detail(answer)
        if answer.status_code == 401:
            return Failure(Code.UNREACHABLE, w("wrong_token" if self._has_token else "no_token"), status=401)
        if answer.status_code >= 500 and answer.status_code != 503:
            lines = [w("controller_failed", status=answer.status_code)]
        code = Code.REFUSED if answer.status_code in (403, 422) else Code.FAILED
        return Failure(code, *lines, status=answer.status_code)


def parse_events(lines: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Server-sent events (WHATWG HTML §9.2) with JSON as their data. An unfinished last one is dropped."""
    name = "message"
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield name, json.loads("\n".join(data))
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)


def _detail(answer: httpx2.Response) -> list[str]:
    """The reasons in an error's body: FastAPI gives a text or a list of where and what."""
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return [w("odd_answer", status=answer.status_code)]
    if not isinstance(detail, list):
        return str(detail).splitlines() or [w("odd_answer", status=answer.status_code)]
    return [f"{'.'.join(map(str, item.get('loc', ())[1:]))}: {item.get('msg', '')}" for item in detail]
