"""What terminals reach: clips by hash, and enrolment. Nothing else is served on the village network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from controller.app import App
from controller.clock import mono_ms
from controller.store import Unknown
from controller.strangers import Strangers
from terminals.enrolment import EnrolmentError, EnrolmentReason
from terminals.wire import MAX_BODY


def village_api(app: App) -> FastAPI:
    api = FastAPI(title="Fenghuo terminals", openapi_url=None, docs_url=None, redoc_url=None)

    strangers = Strangers()

    @api.get("/clips/{name}")
    async def clip(name: str) -> Response:
        """``<sha256>.<codec>``; Range requests resume a broken download."""
        sha256, _, _ = name.partition(".")
        try:
            return FileResponse(app.voicing.path(sha256), media_type="application/octet-stream")
        except Unknown as error:
            return JSONResponse({"detail": str(error)}, 404)

    @api.get("/sets/{name}")
    async def manifest(name: str) -> Response:
        """``<set>.json``: which clips a held set has (docs/wire.md)."""
        try:
            return Response(app.staging.body(name.removesuffix(".json")), media_type="application/json")
        except Unknown as error:
            return JSONResponse({"detail": str(error)}, 404)

    @api.post("/enrol")
    async def enrol(request: Request) -> Response:
        """One enrolment request (docs/wire.md §enrolment) and its answer."""
        return await answered(request, app.register.enrol)

    @api.post("/renew")
    async def renew(request: Request) -> Response:
        """A terminal's further certificate, before or after its present one ends (docs/wire.md §6)."""
        return await answered(request, app.register.renew_certificate)

    async def answered(request: Request, answer: Callable[[bytes], Awaitable[bytes]]) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return JSONResponse({"detail": "too long"}, 413)
        who = request.client.host if request.client is not None else ""
        if not strangers.may_try(who, mono_ms()):
            return JSONResponse(
                {"detail": "too many failed requests from this address; try again in a minute"},
                429,
                {"retry-after": "60"},
            )
        try:
            return Response(await answer(body), media_type="application/json")
        except EnrolmentError as error:
            text = strangers.failed(who, str(error), mono_ms())
            if text:
                app.alarm(text)
            # Which terminals there are, and which of them wait for their installer, the alarm alone tells.
            detail = error.reason if error.reason is EnrolmentReason.WRONG_CODE else str(error)
            return JSONResponse({"detail": detail, "reason": error.reason}, 403)

    return api
