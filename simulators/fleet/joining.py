"""How a simulated county gets in: registered over the operators' API, enrolled terminal by terminal with real
codes."""

from __future__ import annotations

import asyncio
import json
import random as _random
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from simulators.fleet.options import ControllerAway, FleetError, FleetOptions, FleetRefused
from terminals.enrolment import KEY_ENTROPY, Applicant, Enrolled, EnrolmentError

ENROLMENTS_AT_ONCE: Final = 16
REGISTER_AT_ONCE: Final = 2_000


async def register(options: FleetOptions, rows: Sequence[dict[str, object]]) -> tuple[str, dict[str, str]]:
    """(where terminals enrol, code of each). Raises FleetError."""
    async with _operators(options) as api:
        url = options.terminals_url or await _terminals_url(api)
        return url.rstrip("/"), await _codes(api, rows)


async def enrol_all(http: httpx2.AsyncClient, url: str, codes: Mapping[str, str]) -> dict[str, Enrolled]:
    """The papers of every terminal. Raises FleetError."""
    waiting = list(codes)[::-1]
    papers: dict[str, Enrolled] = {}

    async def enrol() -> None:
        while waiting:
            terminal = waiting.pop()
            papers[terminal] = await _enrol(http, url, terminal, codes[terminal])

    try:
        async with asyncio.TaskGroup() as tasks:
            for n in range(ENROLMENTS_AT_ONCE):
                tasks.create_task(enrol(), name=f"fleet.enrol.{n}")
    except* FleetError as errors:
        raise _first(errors) from None
    return papers


async def _enrol(http: httpx2.AsyncClient, url: str, terminal: str, code: str) -> Enrolled:
    applicant = Applicant(terminal, code, _random.SystemRandom().randbytes(KEY_ENTROPY))
    try:
        answer = await http.post(
            f"{url}/enrol", content=applicant.request, headers={"content-type": "application/json"}
        )
    except httpx2.HTTPError as error:
        raise ControllerAway(f"{url}/enrol does not answer: {str(error) or type(error).__name__}") from error
    if answer.status_code != 200:
        raise FleetError(f"{terminal} was not enrolled: HTTP {answer.status_code} {answer.text[:200]}")
    try:
        return applicant.open(answer.content)
    except EnrolmentError as error:
        raise FleetError(f"{terminal} was not enrolled: {error}") from error


def way(broker: str, ca_file: Path | None) -> tuple[tuple[str, int], ssl.SSLContext | None]:
    """Host and port of the broker, and TLS if it wants it. Raises FleetError."""
    parts = urlsplit(broker)
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise FleetError(f"the controller names {broker!r} as its broker, which is no mqtt:// address")
    tls = None
    if parts.scheme == "mqtts":
        try:
            tls = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise FleetError(f"the certificates in {ca_file}: {error}") from error
    return (parts.hostname, parts.port or (8883 if tls else 1883)), tls


def _first(errors: BaseExceptionGroup[FleetError]) -> FleetError:
    inner = errors.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _operators(options: FleetOptions) -> httpx2.AsyncClient:
    headers = {"authorization": f"Bearer {options.token}"}
    if options.controller.startswith("unix:"):
        transport = httpx2.AsyncHTTPTransport(uds=options.controller.removeprefix("unix:"), trust_env=False)
        return httpx2.AsyncClient(
            transport=transport, base_url="http://controller", headers=headers, timeout=120
        )
    if urlsplit(options.controller).scheme not in ("http", "https"):
        raise FleetError(f"{options.controller!r} is no address of a controller: http://… or unix:/path")
    return httpx2.AsyncClient(base_url=options.controller, headers=headers, timeout=120, trust_env=False)


async def _ask(api: httpx2.AsyncClient, method: str, path: str, body: object = None) -> Any:
    try:
        answer = await api.request(method, path, json=body)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise ControllerAway(
            f"the controller does not answer ({str(error) or type(error).__name__}); is it running?"
        ) from error
    if answer.status_code == 403:
        raise FleetRefused("this controller is not a sandbox; start one with: fenghuo serve --sandbox")
    if answer.status_code == 401:
        raise FleetError("the controller does not know this operator's token")
    try:
        said = answer.json()
    except ValueError as error:
        raise FleetError(f"{path}: HTTP {answer.status_code}, and no JSON") from error
    if answer.status_code != 200:
        why = said.get("detail") if isinstance(said, dict) else said
        text = (
            why
            if isinstance(why, str)
            else f"HTTP {answer.status_code} {json.dumps(why, ensure_ascii=False)}"
        )
        raise FleetError(f"{path}: {text[:300]}")
    return said


async def _terminals_url(api: httpx2.AsyncClient) -> str:
    said = await _ask(api, "GET", "/v1/status")
    url = said.get("terminals_url") if isinstance(said, dict) else None
    if not isinstance(url, str):
        raise FleetError("the controller's status does not say where terminals enrol; give --terminals-url")
    return url


async def _codes(api: httpx2.AsyncClient, rows: Sequence[dict[str, object]]) -> dict[str, str]:
    codes: dict[str, str] = {}
    for n in range(0, len(rows), REGISTER_AT_ONCE):
        part = rows[n : n + REGISTER_AT_ONCE]
        said = await _ask(api, "POST", "/v1/sandbox/terminals", {"terminals": part})
        if not isinstance(said, dict) or {row["id"] for row in part} - set(said):
            raise FleetError("the controller did not give a code for every terminal")
        codes.update(said)
    return codes
