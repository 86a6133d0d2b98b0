"""What terminals reach: clips by hash, and enrolment. Nothing else is served on the village network."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from controller.app import App
from controller.store import Unknown
from terminals.enrolment import EnrolmentError
from terminals.wire import MAX_BODY


def village_api(app: App) -> FastAPI:
    api = FastAPI(title="Fenghuo terminals", openapi_url=None, docs_url=None, redoc_url=None)

    @api.get("/clips/{name}")
    async def clip(name: str) -> Response:
        """``<sha256>.<codec>``; Range requests resume a broken download."""
        sha256, _, _ = name.partition(".")
        try:
            return FileResponse(app.voicing.path(sha256), media_type="audio/mpeg")
        except Unknown as error:
            return JSONResponse({"detail": str(error)}, 404)

    @api.post("/enrol")
    async def enrol(request: Request) -> Response:
        """One enrolment request (docs/wire.md §enrolment) and its answer."""
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return JSONResponse({"detail": "too long"}, 413)
        try:
            return Response(await app.register.enrol(body), media_type="application/json")
        except EnrolmentError as error:
            return JSONResponse({"detail": str(error), "reason": error.reason}, 403)

    return api
