"""The operators' API: HTTP over a local socket or loopback, a named token for each person, OpenAPI at
/openapi.json. Every verb that makes or stops a sound is in the log under the name of who asked.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Final

import msgspec
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from alerts import formats, intensity
from alerts.model import Alert, AlertError, CodeScheme
from config.schema import Siren
from controller import map as plan_map
from controller import standing
from controller.app import App
from controller.clock import moment, wall_ms
from controller.compose import ComposeError, compose_alert
from controller.desk import Cancelled, Refused, Released
from controller.events import decode_alert, decode_plan, decode_script
from controller.planning import Plan
from controller.readiness import Line, Township, totals
from controller.register import RegisterError, as_csv
from controller.staging import HeldSet, StagingError
from controller.standing import KEPT
from controller.store import StoreError, Unknown
from controller.store.records import (
    AlertRow,
    AlertState,
    BroadcastRow,
    BroadcastState,
    DocumentRow,
    Entry,
    RetiredRow,
)
from controller.summary import Summary, place_of, unheard
from controller.voicing import VoicingError
from controller.web import models as m
from controller.why import why as explain
from terminals.broadcast import Kind, Part
from terminals.delivery import Facts, holds
from terminals.model import Terminal, is_simulated
from tts.script import Script, ScriptRequest

# A watcher is told at most this often; a burst of reports is one picture.
WATCH_PAUSE_S: Final = 0.1
# An idle event stream says so, so that a dead connection is noticed.
KEEPALIVE_S: Final = 10.0
# Between looks at the journal for who follows it.
TAIL_PAUSE_S: Final = 0.5
_OVER: Final = (BroadcastState.DONE, BroadcastState.STOPPED, BroadcastState.SUPERSEDED)


_SIRENS: Final[dict[Siren, str]] = {
    "prepare": "预先警报",
    "raid": "空袭警报",
    "clear": "解除警报",
    "disaster": "灾情警报",
}


def operators_api(app: App) -> FastAPI:
    api = FastAPI(
        title="Fenghuo 烽火",
        version=app.version,
        description="The county's warning desk. Every call needs an operator's token.",
        docs_url=None,
        redoc_url=None,
    )
    bearer = HTTPBearer(auto_error=False)

    async def operator(token: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> str:
        given = hashlib.sha256(token.credentials.encode()).hexdigest() if token else ""
        found = None
        for known in app.config.operators:  # all of them, so that timing tells nothing
            if hmac.compare_digest(known.token_sha256, given):
                found = known.name
        if found is None:
            raise HTTPException(401, "no operator has this token; see: fenghuo operator new NAME")
        return found

    Operator = Annotated[str, Depends(operator)]  # noqa: N806 - a type

    @api.exception_handler(Unknown)
    async def unknown(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 404)

    @api.exception_handler(AlertError)
    @api.exception_handler(ComposeError)
    @api.exception_handler(RegisterError)
    async def unusable(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 422)

    @api.exception_handler(StoreError)
    @api.exception_handler(VoicingError)
    async def voiceless(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 503)

    # --- health --------------------------------------------------------------------------------

    @api.get("/livez", response_class=PlainTextResponse, tags=["health"])
    async def livez() -> str:
        """200 while the process answers."""
        return "ok\n"

    @api.get("/readyz", tags=["health"])
    async def readyz() -> Response:
        """200 when a warning could go out now; 503 with the reasons when not. `stale_feeds`: whose warnings
        may be missed meanwhile; an operator's still go out, so that alone is no 503."""
        problems = app.problems()
        body = {"ready": not problems, "problems": problems, "stale_feeds": app.stale_feeds()}
        return JSONResponse(body, 503 if problems else 200)

    @api.get("/metrics", response_class=PlainTextResponse, tags=["health"])
    async def metrics() -> Response:
        """Prometheus text."""
        app.refresh_gauges()
        await app.show_readiness()
        return Response(app.metrics.text(), media_type="text/plain; version=0.0.4")

    @api.get("/v1/status", tags=["health"])
    async def status(who: Operator) -> m.Status:
        """The desk at a glance."""
        ring = app.rings.coverage()
        covers = [(held.row.purpose, app.staging.cover(held.id)[0]) for held in app.staging.sets()]
        return m.Status(
            version=app.version,
            county=app.county.name,
            mode=app.config.mode,
            sandbox=app.sandbox,
            operator=who,
            broker=app.transport.connected,
            terminals_url=app.register.audio,
            voice=app.voicing.name,
            voice_approved=app.voicing.approved,
            terminals=len(app.register.terminals),
            enrolled=sum(t.enrolled for t in app.register.terminals.values()),
            online=app.online_count(),
            held=len(await app.store.alerts(state=AlertState.HELD)),
            doubted=len(await app.desk.outgoing.doubted()),
            sending=len(
                [
                    row
                    for row in await app.store.broadcasts(
                        states=(BroadcastState.VOICING, BroadcastState.SENDING)
                    )
                    if not row.broadcast.standing
                ]
            ),
            standing=len([row for row in await app.store.standing(wall_ms()) if row.state in KEPT]),
            feeds=[m.FeedOut(**asdict(f)) for f in app.feed_states()],
            alarms=list(app.alarms),
            ring=m.RingCover(
                version=ring.version, enrolled=ring.enrolled, holding=ring.holding, ahead=len(ring.ahead)
            ),
            sets=[m.SetCover(purpose=p, terminals=c.terminals, whole=c.whole) for p, c in covers],
        )

    @api.get("/v1/ring", tags=["health"])
    async def ring(who: Operator) -> m.RingOut:
        """Which ring of keys is in use, and which terminals hold it."""
        found = app.rings.coverage()
        return m.RingOut(
            version=found.version,
            enrolled=found.enrolled,
            holding=found.holding,
            waiting=list(found.waiting[:100]),
            ahead=list(found.ahead[:100]),
            sealing=app.rings.sealing(),
            problems=app.rings.problems(),
        )

    # --- alerts --------------------------------------------------------------------------------

    def read(body: m.Send) -> Alert:
        kind = Kind(body.kind)
        if (body.compose is None) == (body.document is None):
            raise HTTPException(422, "exactly one of compose and document")
        if body.compose is not None:
            return compose_alert(body.compose, kind, app.county, app.config.issuer, moment(wall_ms()))
        assert body.document is not None
        try:
            data = base64.b64decode(body.document.body, validate=True)
        except binascii.Error as error:
            raise HTTPException(422, f"document.body is not base64: {error}") from error
        return formats.parse(data, formats.Reading(CodeScheme(body.document.codes)), now=moment(wall_ms()))

    def said(script: Script, request: ScriptRequest, headline: str) -> dict[str, object]:
        theirs = request.description or request.instruction
        return {
            "text": script.text,
            "omitted": list(script.omitted),
            "original": m.OriginalOut(
                headline=headline, description=request.description, instruction=request.instruction
            )
            if theirs
            else None,
        }

    def plan_out(plan: Plan) -> dict[str, object]:
        try:
            words = said(app.voicing.script(plan.script), plan.script, plan.headline)
            notes = app.voicing.notes(plan.script, app.desk.outgoing.profiles(plan.terminals))
        except VoicingError as error:  # then the generic clip is aired; all else can still be decided on
            words, notes = {"text": ""}, (str(error),)
        return {
            "kind": plan.kind,
            "stage": plan.stage,
            "hazard": plan.hazard,
            "colour": plan.colour,
            "headline": plan.headline,
            "places": list(plan.places),
            "villages": len(plan.villages),
            "terminals": len(plan.terminals),
            "silent_villages": [app.village_name(v) for v in plan.silent_villages],
            **words,
            "issued": plan.script.issued,
            "expires": plan.expires,
            "repeats": plan.repeats,
            "volume": plan.volume,
            "ways": Counter(way for _, way in plan.ways),
            "why": list(plan.why),
            "problems": list(plan.problems),
            "notes": list(notes),
        }

    @api.post("/v1/alerts/preview", tags=["alerts"])
    async def preview(body: m.Send, who: Operator) -> m.Preview:
        """Who would hear it and what would be said, with the audio. Sends nothing, stores nothing."""
        alert = read(body)
        plan = app.desk.judging.plan(alert, Kind(body.kind), moment(wall_ms()), meant=body.meant)
        drawn = await map_of(alert, plan, body.map) if body.map else {}
        return await previewed(plan, drawn, sound=body.sound)

    async def previewed(plan: Plan, drawn: dict[str, object], *, sound: bool) -> m.Preview:
        clip, problem = None, ""
        if sound and not plan.problems:
            try:
                profiles = app.desk.outgoing.profiles(plan.terminals)
                clip = await app.voicing.clip(plan.script, profiles=profiles)
            except (VoicingError, OSError) as error:
                problem = str(error)
        return m.Preview.model_validate(
            {
                **plan_out(plan),
                "spoken": clip.text if clip else None,
                "clip": clip.sha256 if clip else None,
                "seconds": clip.seconds if clip else None,
                "lufs": clip.lufs if clip else None,
                "dbtp": clip.dbtp if clip else None,
                "voice": clip.voice if clip else None,
                "voice_problem": problem,
                "doubt": clip.doubt if clip else "",
                **reach(plan),
                **drawn,
            }
        )

    def reach(plan: Plan) -> dict[str, object]:
        targeted = set(plan.terminals)
        ways = dict(plan.ways)
        languages: dict[str, list[str]] = {}
        counts: Counter[str] = Counter()
        for terminal in app.register.fleet:
            if terminal.id in targeted:
                counts[terminal.village] += 1
                languages.setdefault(terminal.village, []).extend(terminal.languages)
        villages = [app.county.village(key) for key in plan.villages]
        known = [v.population for v in villages if v.population is not None]
        return {
            "reach": [
                m.ReachOut(
                    key=v.key,
                    name=v.name,
                    township=app.county.township(v.township_key).name,
                    way=ways.get(v.key, ""),
                    population=v.population,
                    terminals=counts[v.key],
                    languages=list(dict.fromkeys(languages.get(v.key, ()))),
                )
                for v in villages
            ],
            "population": sum(known) if known else None,
            "population_unknown": len(villages) - len(known),
        }

    async def map_of(alert: Alert, plan: Plan, form: str) -> dict[str, object]:
        area = app.desk.judging.area(alert, moment(wall_ms()))
        fleet = app.register.fleet

        def drawn() -> tuple[bytes | None, str]:
            drawing = plan_map.draw(
                plan.headline, area, app.county, fleet, set(plan.terminals), set(plan.villages)
            )
            if drawing is None:
                return None, "no place of the county has a position in its county pack"
            if form == "svg":
                return plan_map.svg(drawing), ""
            font = plan_map.cjk_font()
            note = "" if font else "no Chinese font on the controller's machine: drawn without names"
            return plan_map.png(drawing, font), note

        # Half a second of work for a PNG: not on the road that warnings take.
        data, note = await asyncio.to_thread(drawn)
        return {"map": base64.b64encode(data).decode() if data else None, "map_note": note}

    @api.post("/v1/alerts", tags=["alerts"])
    async def send(body: m.Send, who: Operator) -> m.Done:
        """Send a warning, an exercise or a test. The operator's act is the release."""
        match await app.desk.send(read(body), Kind(body.kind), who, meant=body.meant):
            case Released(alert=alert, broadcast=broadcast):
                return m.Done(outcome="released", alert=alert, broadcast=broadcast)
            case Refused(reasons=reasons):
                return m.Done(outcome="refused", reasons=list(reasons))

    @api.post("/v1/exercises/siren", tags=["alerts"])
    async def siren(body: m.SirenIn, who: Operator) -> m.Done:
        """Sound a siren of civil defence in an exercise, where the county permits it. Nothing else can."""
        said = f"现在进行防空警报试鸣：{_SIRENS[body.pattern]}。请不要惊慌，保持正常生活秩序。"
        words = m.Compose(hazard="notice", areas=body.areas, description=said)
        alert = compose_alert(words, Kind.EXERCISE, app.county, app.config.issuer, moment(wall_ms()))
        if body.dry_run:
            problems = app.desk.judging.siren_problems(alert, body.pattern, moment(wall_ms()))
            return m.Done(outcome="refused" if problems else "released", reasons=problems)
        match await app.desk.send(alert, Kind.EXERCISE, who, siren=body.pattern):
            case Released(alert=sent, broadcast=broadcast):
                return m.Done(outcome="released", alert=sent, broadcast=broadcast)
            case Refused(reasons=reasons):
                return m.Done(outcome="refused", reasons=list(reasons))

    async def alert_out(row: AlertRow) -> dict[str, object]:
        now = wall_ms()
        broadcasts = await app.store.broadcasts(alert=row.id)
        return {
            "id": row.id,
            "source": row.source,
            "kind": row.kind,
            "state": row.state,
            "reason": row.reason,
            "msg_type": row.msg_type,
            "identifier": row.identifier,
            "event_key": row.event_key,
            "hazard": row.hazard,
            "colour": row.colour,
            "headline": row.headline,
            "created": moment(row.created),
            "expires": moment(row.expires),
            "decided": moment(row.decided) if row.decided else None,
            "decided_by": row.decided_by,
            "waiting_seconds": (now - row.created) // 1000 if row.state is AlertState.HELD else None,
            "broadcasts": [b.broadcast.id for b in reversed(broadcasts)],
        }

    @api.get("/v1/alerts", tags=["alerts"])
    async def alerts(
        who: Operator,
        state: AlertState | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> list[m.AlertOut]:
        """Newest first."""
        rows = await app.store.alerts(state=state, limit=limit)
        return [m.AlertOut.model_validate(await alert_out(row)) for row in rows]

    @api.get("/v1/alerts/{alert}", tags=["alerts"])
    async def alert(alert: str, who: Operator) -> m.AlertDetail:
        """One alert with its plan: who hears it, what is said, and why."""
        row = await app.store.alert(alert)
        message = decode_alert(row)
        plan = plan_out(decode_plan(row)) if row.plan is not None else None
        return m.AlertDetail.model_validate(
            {
                **await alert_out(row),
                "plan": plan,
                "remarks": list(message.remarks),
                "inferred": list(message.inferred),
            }
        )

    @api.get("/v1/alerts/{alert}/why/{terminal}", tags=["alerts"])
    async def why(alert: str, terminal: str, who: Operator) -> m.WhyOut:
        """Why this terminal is in this warning or not: held, released or closed, then and now."""
        row = await app.store.alert(alert)
        known = app.register.terminals.get(terminal)
        if known is None:
            raise app.register.unknown(terminal)
        village = app.county.village(known.village)
        options = app.config.earthquake
        found = explain(
            decode_alert(row),
            decode_plan(row) if row.plan is not None else None,
            known,
            county=app.county,
            fleet=app.register.fleet,
            now=moment(wall_ms()),
            quake=intensity.Policy(options.threshold, options.magnitude_floor, options.zone),
        )
        return m.WhyOut(
            alert=row.id,
            state=row.state,
            terminal=terminal,
            name=known.name,
            village=village.name,
            township=app.county.township(village.township_key).name,
            inside=found.inside,
            then=found.then.value,
            basis=found.basis,
            lat=found.position[0] if found.position else None,
            lon=found.position[1] if found.position else None,
            because=[m.BecauseOut(kind=b.kind, values=dict(b.values)) for b in found.because],
        )

    @api.get("/v1/alerts/{alert}/deliveries", tags=["alerts"])
    async def deliveries(alert: str, who: Operator) -> m.DeliveriesOut:
        """Which broadcasts came of this warning, and where nothing of it has sounded and why."""
        row = await app.store.alert(alert)
        plan = decode_plan(row) if row.plan is not None else None
        parts: list[m.PartOut] = []
        told: list[tuple[Summary, Collection[str]]] = []
        for found in sorted(await app.store.broadcasts(alert=alert), key=lambda b: b.created):
            summary = await app.summary(found.broadcast.id)
            clear = decode_script(found.script).stage == "cancel"
            parts.append(
                m.PartOut(
                    id=summary.id,
                    part="all-clear" if clear else summary.part,
                    state=summary.state,
                    created=summary.created,
                    targeted=summary.total.targeted,
                    played=summary.total.played,
                    stopped_by=summary.stopped_by,
                )
            )
            if not (clear or summary.standing):  # who keeps it was not to hear it
                _, facts = await app.deliveries(found.broadcast.id)
                told.append((summary, tuple(facts)))
        return m.DeliveriesOut(
            id=row.id,
            state=row.state,
            headline=row.headline,
            reason=row.reason,
            why=list(plan.why) if plan is not None else [],
            broadcasts=parts,
            silent_villages=[app.village_name(v) for v in plan.silent_villages] if plan is not None else [],
            unheard=[m.UnheardOut(broadcast=of, **asdict(one)) for of, one in unheard(told)],
        )

    @api.post("/v1/alerts/{alert}/approve", tags=["alerts"])
    async def approve(alert: str, who: Operator) -> m.Done:
        """Release what is held."""
        match await app.desk.approve(alert, who):
            case Released(broadcast=broadcast):
                return m.Done(outcome="released", alert=alert, broadcast=broadcast)
            case Cancelled() as cancelled:
                return cancelled_out(alert, cancelled)
            case Refused(reasons=reasons):
                return m.Done(outcome="refused", alert=alert, reasons=list(reasons))

    @api.post("/v1/alerts/{alert}/reject", tags=["alerts"])
    async def reject(alert: str, body: m.Reason, who: Operator) -> m.Done:
        """End a hold without a sound."""
        refused = await app.desk.reject(alert, who, body.reason)
        if refused is not None:
            return m.Done(outcome="refused", alert=alert, reasons=list(refused.reasons))
        return m.Done(outcome="rejected", alert=alert)

    @api.post("/v1/alerts/{alert}/cancel", tags=["alerts"])
    async def cancel(alert: str, body: m.Reason, who: Operator) -> m.Done:
        """Stop it, drop what is queued, and air the all-clear only where it had sounded."""
        match await app.desk.cancel(alert, who, body.reason):
            case Cancelled() as cancelled:
                return cancelled_out(alert, cancelled)
            case Refused(reasons=reasons):
                return m.Done(outcome="refused", alert=alert, reasons=list(reasons))

    def cancelled_out(alert: str, cancelled: Cancelled) -> m.Done:
        return m.Done(
            outcome="cancelled",
            alert=alert,
            stopped=list(cancelled.stopped),
            all_clear=list(cancelled.all_clear),
        )

    # --- broadcasts ----------------------------------------------------------------------------

    async def waiting() -> list[dict[str, object]]:
        """What an operator must look at: warnings to be decided on, broadcasts that no voice says right, and
        what a hand sounds now."""
        now, wire = wall_ms(), app.dispatcher.now()
        hands = [
            (run, where)
            for run in tuple(app.dispatcher.runs.values())
            if (where := run.sounding_by_hand(wire))
        ]
        found: list[dict[str, object]] = [
            {
                "id": h.id,
                "headline": h.headline,
                "reason": h.reason,
                "waiting_seconds": (now - h.created) // 1000,
                "what": "alert",
            }
            for h in await app.store.alerts(state=AlertState.HELD)
        ]
        return (
            found
            + [
                {
                    "id": row.broadcast.id,
                    "headline": alert.headline,
                    "reason": f"no voice says it right: {row.doubt}",
                    "waiting_seconds": (now - row.created) // 1000,
                    "what": "broadcast",
                }
                for row, alert in await app.desk.outgoing.doubted()
            ]
            + [
                {
                    "id": run.id,
                    "headline": (await app.store.alert(run.row.broadcast.alert_id)).headline,
                    "reason": f"a hand sounds it at {', '.join(where[:5])}{' …' if len(where) > 5 else ''}",
                    "waiting_seconds": (wire - run.since_by_hand(where)) // 1000,
                    "what": "by-hand",
                }
                for run, where in hands
            ]
        )

    @api.get("/v1/broadcasts", tags=["broadcasts"])
    async def broadcasts(
        who: Operator, limit: Annotated[int, Query(ge=1, le=1000)] = 50
    ) -> list[m.BroadcastLine]:
        """Newest first."""
        return [
            m.BroadcastLine(
                id=b.broadcast.id,
                alert=b.broadcast.alert_id,
                kind=b.broadcast.kind.value,
                part=b.broadcast.part,
                state=b.state,
                created=moment(b.created),
                terminals=len(b.broadcast.terminals),
                standing=b.broadcast.standing,
            )
            for b in await app.store.broadcasts(limit=limit)
        ]

    @api.get("/v1/broadcasts/{broadcast}", tags=["broadcasts"])
    async def broadcast(broadcast: str, who: Operator) -> m.BroadcastOut:
        """Who accepted, verified, played, finished, and who did not and why; and what it says."""
        summary = await app.summary(broadcast)
        request = decode_script((await app.store.broadcast(broadcast)).script)
        try:
            script = app.voicing.script(request)
        except VoicingError:  # the templates have changed since
            words = {}
        else:
            brief = summary.part == Part.LEAD
            words = said(script.brief() if brief else script, request, summary.headline)
        return m.BroadcastOut.model_validate({**summary_out(summary), **words})

    @api.get("/v1/broadcasts/{broadcast}/why/{terminal}", tags=["broadcasts"])
    async def delivery_of(broadcast: str, terminal: str, who: Operator) -> m.ChainOut:
        """All that is known of one terminal's part of this broadcast, with times."""
        row = await app.store.broadcast(broadcast)
        alert = await app.store.alert(row.broadcast.alert_id)
        found = await app.chain(broadcast, terminal)
        if found is None:
            raise Unknown(
                f"{terminal} was not to sound {broadcast}; why not: fenghuo why {terminal} --alert {alert.id}"
            )
        known = app.register.terminals.get(terminal)
        township, village = place_of(known.village, app.county) if known is not None else ("", "")
        return m.ChainOut(
            broadcast=broadcast,
            alert=alert.id,
            headline=alert.headline,
            terminal=terminal,
            name=known.name if known is not None else "",
            village=village,
            township=township,
            state=found.state,
            reason=found.reason,
            words=found.words,
            sounded=found.sounded,
            last_seen=moment(found.last_seen) if found.last_seen is not None else None,
            steps=[
                m.StepOut(at=moment(s.at), attempt=s.attempt, state=s.state, reason=s.reason, detail=s.detail)
                for s in found.steps
            ],
        )

    @api.post("/v1/broadcasts/{broadcast}/stop", tags=["broadcasts"])
    async def stop(broadcast: str, who: Operator) -> m.Done:
        """Silence now, without an all-clear; acknowledged per terminal."""
        refused = await app.desk.stop(broadcast, who)
        if refused is not None:
            return m.Done(outcome="refused", broadcast=broadcast, reasons=list(refused.reasons))
        return m.Done(outcome="stopped", broadcast=broadcast)

    @api.post("/v1/broadcasts/{broadcast}/air", tags=["broadcasts"])
    async def air(broadcast: str, who: Operator) -> m.Done:
        """Air what waits because no voice says it right. To replace it: stop it, and send it anew."""
        refused = await app.desk.air(broadcast, who)
        if refused is not None:
            return m.Done(outcome="refused", broadcast=broadcast, reasons=list(refused.reasons))
        return m.Done(outcome="aired", broadcast=broadcast)

    @api.post("/v1/broadcasts/stop-all", tags=["broadcasts"])
    async def stop_all(body: m.StopAll, who: Operator) -> m.Done:
        """Silence everything now, also what is still being voiced, without an all-clear. Standing messages
        stay with their terminals, but for one that a hand sounds now and, with `standing`, all of them."""
        stopped = await app.desk.stop_all(who, body.reason, standing=body.standing)
        return m.Done(outcome="stopped", stopped=list(stopped))

    @api.get("/v1/broadcasts/{broadcast}/watch", tags=["broadcasts"], response_class=StreamingResponse)
    async def watch(broadcast: str, who: Operator) -> StreamingResponse:
        """Server-sent events: `summary` (as GET, at most ten a second), `held` when something waits for an
        operator. Ends when every terminal's outcome is known or nothing more is to be expected soon."""
        await app.store.broadcast(broadcast)

        async def events() -> AsyncIterator[str]:
            while True:
                before = app.version_of(broadcast)
                began = time.monotonic()
                summary = await app.summary(broadcast)
                took = time.monotonic() - began
                yield _event(
                    "summary", m.BroadcastOut.model_validate(summary_out(summary)).model_dump(mode="json")
                )
                held = await waiting()
                if held:
                    yield _event("held", held)
                if summary.waiting == 0 and (summary.voiced is not None or summary.state in _OVER):
                    return
                # A picture of 10,000 terminals costs 50 ms: watching must not slow what is watched.
                await asyncio.sleep(max(WATCH_PAUSE_S, 10 * took))
                await app.changed(broadcast, before, KEEPALIVE_S)

        return StreamingResponse(_until(app.stopping, events()), media_type="text/event-stream")

    @api.get("/v1/events", tags=["alerts"], response_class=StreamingResponse)
    async def desk_events(who: Operator) -> StreamingResponse:
        """Server-sent events: `held` with what waits for an operator, at once and at every change."""

        async def events() -> AsyncIterator[str]:
            while True:
                yield _event("held", await waiting())
                await app.desk.events.wait_changed(KEEPALIVE_S)

        return StreamingResponse(_until(app.stopping, events()), media_type="text/event-stream")

    # --- standing messages ---------------------------------------------------------------------

    def composed(body: m.StandingIn) -> Alert:
        return compose_alert(body.compose, Kind(body.kind), app.county, app.config.issuer, moment(wall_ms()))

    @api.post("/v1/standing/preview", tags=["standing"])
    async def preview_standing(body: m.StandingIn, who: Operator) -> m.Preview:
        """Who would keep it and what a hand would sound, with the audio. Sends nothing, stores nothing."""
        plan = await app.desk.standing(composed(body), Kind(body.kind), body.days, meant=body.meant)
        return await previewed(plan, {}, sound=body.sound)

    @api.post("/v1/standing", tags=["standing"])
    async def send_standing(body: m.StandingIn, who: Operator) -> m.Done:
        """Have the terminals keep a message for a hand to sound. It makes no sound now."""
        match await app.desk.keep(composed(body), Kind(body.kind), who, body.days, meant=body.meant):
            case Released(alert=alert, broadcast=broadcast):
                return m.Done(outcome="released", alert=alert, broadcast=broadcast)
            case Refused(reasons=reasons):
                return m.Done(outcome="refused", reasons=list(reasons))

    async def standing_line(row: BroadcastRow) -> tuple[dict[str, object], Mapping[str, Facts]]:
        plan, now = row.broadcast, app.dispatcher.now()
        run = app.dispatcher.runs.get(plan.id)
        _, facts = await app.deliveries(plan.id)
        sealed = {c.key_id for c in (*run.first, *run.own.values())} if run is not None else set()
        ring = app.rings.keys.ring
        state = "kept" if row.state in KEPT else "dropped"
        state = (
            "expired"
            if plan.expires_ms <= now
            else "voicing"
            if row.state is BroadcastState.VOICING
            else state
        )
        kept = state == "kept"
        return {
            "id": plan.id,
            "alert": plan.alert_id,
            "kind": plan.kind,
            "state": state,
            "headline": (await app.store.alert(plan.alert_id)).headline,
            "created": moment(row.created),
            "expires": moment(plan.expires_ms),
            "terminals": len(facts),
            "holding": sum(map(holds, facts.values())),
            "hands": len(standing.hands(facts, app.register.terminals, app.county)),
            "now": [] if run is None else run.sounding_by_hand(now),
            "anew": standing.anew(
                facts,
                sealed,
                ring.keys,
                ring.until,
                whole=all(app.voicing.has(v.sha256) for v in plan.variants),
            )
            if kept
            else "",
        }, facts

    @api.get("/v1/standing", tags=["standing"])
    async def all_standing(who: Operator) -> list[m.StandingLine]:
        """The messages that terminals keep, newest first; a dropped one until every terminal has said so."""
        rows = [
            row
            for row in await app.store.standing(wall_ms())
            if row.state in KEPT or (row.state is BroadcastState.STOPPED and row.done is None)
        ]
        return [m.StandingLine.model_validate((await standing_line(row))[0]) for row in rows]

    @api.get("/v1/standing/{broadcast}", tags=["standing"])
    async def one_standing(broadcast: str, who: Operator) -> m.StandingDetail:
        """One of them: what a hand sounds, who holds it per township, and whose hand has sounded it."""
        row = await app.store.broadcast(broadcast)
        if not row.broadcast.standing:
            raise Unknown(f"{broadcast} is no standing message; see: fenghuo standing list")
        line, facts = await standing_line(row)
        summary = await app.summary(broadcast)
        try:
            text = app.voicing.script(decode_script(row.script)).text
        except VoicingError:  # the templates have changed since
            text = ""
        _, townships = standing.cover(facts, app.register.terminals, app.county)
        return m.StandingDetail.model_validate(
            {
                **line,
                "text": text,
                "generic": summary.generic,
                "doubt": summary.doubt,
                "townships": [asdict(one) for one in townships],
                "by_hand": [_hand(one) for one in summary.hands],
            }
        )

    @api.post("/v1/standing/{broadcast}/drop", tags=["standing"])
    async def drop_standing(broadcast: str, body: m.Reason, who: Operator) -> m.Done:
        """No hand may sound it any more: terminals forget it now, or when they are back; acknowledged by
        each."""
        refused = await app.desk.drop(broadcast, who, body.reason)
        if refused is not None:
            return m.Done(outcome="refused", broadcast=broadcast, reasons=list(refused.reasons))
        return m.Done(outcome="stopped", broadcast=broadcast)

    async def kept_by(terminal: str) -> list[m.KeptOut]:
        found = []
        for row in await app.store.standing(wall_ms()):
            run = app.dispatcher.runs.get(row.broadcast.id)
            facts = run.facts.get(terminal) if run is not None else None
            if facts is None or not holds(facts):
                continue
            hands = standing.hands({terminal: facts}, app.register.terminals, app.county)
            found.append(
                m.KeptOut(
                    broadcast=row.broadcast.id,
                    kind=row.broadcast.kind.value,
                    headline=(await app.store.alert(row.broadcast.alert_id)).headline,
                    expires=moment(row.broadcast.expires_ms),
                    began=[moment(at) for hand in hands for at in hand.began],
                )
            )
        return found

    # --- feeds ---------------------------------------------------------------------------------

    @api.get("/v1/feeds", tags=["feeds"])
    async def feeds(who: Operator) -> list[m.FeedOut]:
        """Where warnings come from, and whether each source is still there."""
        return [m.FeedOut(**asdict(f)) for f in app.feed_states()]

    def check_feed(feed: str | None) -> None:
        names = [f.name for f in app.feed_states()]
        if feed is not None and feed not in names:
            raise Unknown(f"no feed {feed}; there are: {', '.join(names) or 'none'}")

    @api.get("/v1/documents", tags=["feeds"])
    async def documents(
        who: Operator, feed: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 50
    ) -> list[m.DocumentOut]:
        """What came last, oldest first, and what became of it."""
        check_feed(feed)
        return [_document(*row) for row in await app.store.journalled(feed=feed, latest=True, limit=limit)]

    @api.get("/v1/documents/tail", tags=["feeds"], response_class=StreamingResponse)
    async def tail(
        who: Operator, feed: str | None = None, last: Annotated[int, Query(ge=0, le=1000)] = 10
    ) -> StreamingResponse:
        """Server-sent events: `document` for each of the last and for each that comes, again once it is
        decided; `alive` when nothing comes."""
        check_feed(feed)

        async def events() -> AsyncIterator[str]:
            newest = await app.store.journalled(latest=True, limit=1)
            seen = newest[-1][0].id if newest else 0
            rows = await app.store.journalled(feed=feed, latest=True, limit=last)
            undecided: set[int] = set()
            told = time.monotonic()
            while True:
                for row, body, headline in rows:
                    seen = max(seen, row.id)
                    if row.outcome is None and row.id in undecided:
                        continue
                    (undecided.add if row.outcome is None else undecided.discard)(row.id)
                    told = time.monotonic()
                    yield _event("document", _document(row, body, headline).model_dump(mode="json"))
                if time.monotonic() - told > KEEPALIVE_S:
                    told = time.monotonic()
                    yield _event("alive", None)
                await asyncio.sleep(TAIL_PAUSE_S)
                rows = await app.store.journalled(feed=feed, after=seen, limit=1000)
                if undecided:
                    before = min(undecided) - 1
                    open_ = await app.store.journalled(feed=feed, after=before, limit=1000)
                    rows = [r for r in open_ if r[0].id in undecided] + rows

        return StreamingResponse(_until(app.stopping, events()), media_type="text/event-stream")

    # --- held sets -----------------------------------------------------------------------------

    def set_out(held: HeldSet) -> dict[str, object]:
        total, _ = app.staging.cover(held.id)
        return {**set_of(held), "cover": asdict(total)}

    def set_of(held: HeldSet) -> dict[str, object]:
        return {
            "id": held.id,
            "purpose": held.row.purpose,
            "clips": len(held.manifest.clips),
            "size": held.bytes,
            "groups": list(held.row.groups),
            "created": moment(held.row.created),
            "expires": moment(held.row.expires),
        }

    @api.get("/v1/sets", tags=["staging"])
    async def sets(who: Operator) -> list[m.SetOut]:
        """The sets of clips that terminals hold ahead, and how many of them do."""
        found = [m.SetOut.model_validate(set_out(held)) for held in app.staging.sets()]
        return found + [dropped_out(held, still) for held, still in app.staging.dropped()]

    def dropped_out(held: HeldSet, still: int) -> m.SetOut:
        nobody = m.CoverOut(key="", name=app.county.name, terminals=0, whole=0, part=0, silent=0, problems={})
        return m.SetOut.model_validate({**set_of(held), "cover": nobody, "dropped": True, "still": still})

    @api.get("/v1/sets/{held}", tags=["staging"])
    async def one_set(held: str, who: Operator) -> m.SetDetail:
        """One set: its clips, and who holds it, per township."""
        found = app.staging.one(held)
        _, townships = app.staging.cover(held)
        names = list(dict.fromkeys(clip.name for clip in found.manifest.clips))
        return m.SetDetail.model_validate(
            {**set_out(found), "names": names, "townships": [asdict(row) for row in townships]}
        )

    @api.post("/v1/sets/offer", tags=["staging"])
    async def offer(body: m.Offer, who: Operator) -> list[m.SetOut]:
        """Offer every set again to its terminals now; or, with an alert, speak what it may become and place
        that."""
        try:
            if body.alert is None:
                await app.ahead.place_floor()
                for held in app.staging.sets():
                    await app.staging.offer(held.id)
                placed = app.staging.sets()
            else:
                row = await app.store.alert(body.alert)
                made = await app.ahead.prepare(decode_plan(row), ahead_from="blue", who=who)
                placed = [made] if made is not None else []
        except StagingError as error:
            raise HTTPException(409, str(error)) from error
        await app.store.note(Entry(who, "stage.offer", body.alert or "all", ""), wall_ms())
        return [m.SetOut.model_validate(set_out(held)) for held in placed]

    @api.post("/v1/sets/{held}/drop", tags=["staging"])
    async def drop(held: str, who: Operator) -> m.SetOut:
        """Tell its terminals to forget it, now or at their next hello; `still` says how many have not."""
        gone = await app.staging.drop(held, who)
        return dropped_out(gone, app.staging.still(gone))

    # --- clips, terminals, the log -------------------------------------------------------------

    @api.get("/v1/clips/{sha256}", tags=["alerts"], response_class=Response)
    async def clip(sha256: str, who: Operator) -> Response:
        """The audio of a preview, MP3."""
        data = await app.voicing.audio(sha256)
        return Response(data, media_type="audio/mpeg")

    async def terminal_rows() -> list[m.TerminalOut]:
        return [m.TerminalOut.model_validate(row) for row in await app.terminal_rows()]

    @api.get("/v1/terminals", tags=["terminals"])
    async def terminals(who: Operator, village: str | None = None) -> list[m.TerminalOut]:
        """Every terminal, or those of what `village` names (a township, a village, a code)."""
        rows = await terminal_rows()
        if village is None:
            return rows
        keys = app.find_villages(village)
        return [r for r in rows if r.village_key in keys]

    @api.get("/v1/terminals/export", tags=["terminals"], response_class=Response)
    async def export_terminals(who: Operator) -> Response:
        """The register as CSV, as an import takes it: UTF-8 with a mark, so that spreadsheets read it."""
        rows = [app.register.terminals[name] for name in sorted(app.register.terminals)]
        return Response(as_csv(rows), media_type="text/csv; charset=utf-8")

    @api.get("/v1/terminals/retired", tags=["terminals"])
    async def retired_terminals(who: Operator) -> list[m.RetiredOut]:
        """Loudspeakers that were taken down."""
        return [_retired(row, app) for row in app.register.retired.values()]

    @api.get("/v1/terminals/{terminal}", tags=["terminals"])
    async def terminal(terminal: str, who: Operator) -> m.TerminalDetail:
        """Everything about one terminal that an engineer asks on the phone."""
        for row in await app.terminal_rows():
            if row["id"] == terminal:
                return m.TerminalDetail.model_validate({**row, **(await detail(terminal))})
        gone = app.register.retired.get(terminal)
        if gone is None:
            raise app.register.unknown(terminal)
        row = app.terminal_row(gone.terminal)
        return m.TerminalDetail.model_validate({**row, **(await detail(terminal))})

    async def detail(terminal: str) -> dict[str, object]:
        gone = app.register.retired.get(terminal)
        line = next((x for x in (await app.readiness()).lines if x.known.terminal == terminal), None)
        certificates = [c for c in await app.store.certificates() if c.terminal == terminal]
        latest = max((c for c in certificates if c.revoked is None), key=lambda c: c.expires, default=None)
        return {
            "retired": moment(gone.at) if gone else None,
            "replaced_by": gone.replaced_by if gone else "",
            "replaces": [r.terminal.id for r in app.register.retired.values() if r.replaced_by == terminal],
            "grade": line.grade if line else None,
            "findings": [f.text for f in line.findings] if line else [],
            "heard": _when(line.known.heard if line else None),
            "tested": _when(line.known.tested if line else None),
            "groups": list(app.register.groups(terminal) or ()),
            "ring": app.register.rings.get(terminal, 0),
            "sets_missing": line.known.missing if line else None,
            "certificate": _when(latest.expires if latest else None),
            "last_broadcasts": [
                m.PlayedOut(broadcast=b, kind=k, headline=h, state=s, reason=r, at=moment(at))
                for b, k, h, s, r, at in await app.store.last_words(terminal, 10)
            ],
            "standing": await kept_by(terminal),
            "history": [
                m.AuditOut.model_validate({**asdict(row), "at": moment(row.at)})
                for row in await app.store.audit(10, terminal)
            ],
        }

    @api.get("/v1/readiness", tags=["terminals"])
    async def readiness(who: Operator, township: str | None = None) -> m.ReadinessOut:
        """Which loudspeakers would sound now, worst first; of all townships, or of the places that `township`
        names, with every loudspeaker there."""
        board = await app.readiness()
        keys = None if township is None else app.find_villages(township)
        lines = [
            x for x in board.lines if keys is None or app.register.terminals[x.known.terminal].village in keys
        ]
        if keys is not None:
            board = totals(lines)
        return m.ReadinessOut(
            total=_township(board.total, app),
            townships=[_township(t, app) for t in board.townships],
            terminals=[_line(x, app) for x in lines],
        )

    @api.get("/v1/tests", tags=["terminals"])
    async def tests(who: Operator) -> list[m.TrialOut]:
        """The tests that run by themselves: when next, and what became of the last ones."""
        return [
            m.TrialOut(
                name=p.trial.name,
                day=p.trial.day,
                at=f"{p.trial.at:%H:%M}",
                sound=p.trial.sound,
                townships=list(p.trial.townships),
                volume=0 if p.trial.sound == "silent" else p.trial.volume,
                next=p.next,
                waits=p.waits,
                runs=[
                    m.TrialRunOut(
                        slot=moment(r.slot),
                        state=r.state,
                        reason=r.reason,
                        began=_when(r.began),
                        ended=_when(r.ended),
                        broadcast=r.broadcast,
                        planned=r.planned,
                        played=r.played,
                    )
                    for r in p.runs
                ],
            )
            for p in await app.trials.planned(moment(wall_ms()))
        ]

    @api.post("/v1/terminals", tags=["terminals"])
    async def import_terminals(body: m.Import, who: Operator) -> m.Imported:
        """Register terminals, or change what is known of them. All rows or none; `dry_run`: none, only what
        it would do. What is wrong is told of every row at once."""
        terminals = []
        problems = []
        for n, row in enumerate(body.terminals):
            try:
                village = app.one_village(row.village)
            except Unknown as error:
                problems.append((n, str(error)))
                continue
            terminals.append((n, _terminal(row, village)))
        given = [terminal for _, terminal in terminals]
        problems += [(terminals[k][0], reason) for k, reason in app.register.wrong(given)]
        if problems:
            raise RegisterError("\n".join(f"terminals.{n}: {reason}" for n, reason in sorted(problems)))
        done = app.register.changes(given) if body.dry_run else await app.register.add(given, who)
        return m.Imported(
            registered=len(given), new=list(done.new), moved=list(done.moved), changed=list(done.changed)
        )

    @api.post("/v1/terminals/{terminal}/retire", tags=["terminals"])
    async def retire(terminal: str, body: m.Reason, who: Operator) -> m.RetiredOut:
        """Taken down: kept in the history, never addressed again."""
        await app.register.retire(terminal, who, body.reason)
        return _retired(app.register.retired[terminal], app)

    @api.post("/v1/terminals/{terminal}/replace", tags=["terminals"])
    async def put_in_place(terminal: str, body: m.Replace, who: Operator) -> dict[str, str]:
        """A new board in the place of a broken one, with its enrolment code: id and code."""
        board = await app.register.put_in_place(terminal, body.by, who, body.reason)
        return await app.register.codes([board.id], who)

    @api.post("/v1/terminals/codes", tags=["terminals"])
    async def codes(body: m.Codes, who: Operator) -> dict[str, str]:
        """A fresh single-use enrolment code for each, valid 24 hours, shown once."""
        return await app.register.codes(body.terminals, who)

    @api.post("/v1/sandbox/terminals", tags=["terminals"])
    async def sandbox(body: m.Import, who: Operator) -> dict[str, str]:
        """Register simulated terminals and give each a code. Only a sandbox controller does this."""
        if not app.sandbox:
            raise HTTPException(
                403, "this controller is not a sandbox; start one with: fenghuo serve --sandbox"
            )
        await import_terminals(body, who)
        return await app.register.codes([t.id for t in body.terminals if is_simulated(t.id)], who)

    @api.get("/v1/audit", tags=["audit"])
    async def audit(
        who: Operator, subject: str | None = None, limit: Annotated[int, Query(ge=1, le=5000)] = 100
    ) -> list[m.AuditOut]:
        """Who did what, newest first."""
        rows = await app.store.audit(limit, subject)
        return [m.AuditOut.model_validate({**asdict(row), "at": moment(row.at)}) for row in rows]

    return api


async def _until(stopping: asyncio.Event, events: AsyncIterator[str]) -> AsyncIterator[str]:
    """`events`, ended by `stopping`: a stream that somebody looks at must not hold up the end."""
    end = asyncio.ensure_future(stopping.wait())
    step: asyncio.Future[str | None] | None = None
    try:
        while True:
            step = asyncio.ensure_future(anext(events, None))
            await asyncio.wait((step, end), return_when=asyncio.FIRST_COMPLETED)
            if not step.done() or (event := step.result()) is None:
                return
            yield event
    finally:
        waiting = [task for task in (end, step) if task is not None and not task.done()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _document(row: DocumentRow, body: bytes, headline: str) -> m.DocumentOut:
    return m.DocumentOut(
        id=row.id,
        feed=row.feed,
        name=row.name,
        received=moment(row.received),
        sha256=row.sha256,
        size=len(body),
        outcome=row.outcome,
        reason=row.reason,
        alert=row.alert,
        headline=headline,
    )


def summary_out(summary: Summary) -> dict[str, object]:
    return {**asdict(summary), "hands": [_hand(one) for one in summary.hands]}


def _hand(hand: standing.Hand) -> dict[str, object]:
    return {**asdict(hand), "began": [moment(at) for at in hand.began]}


def _when(ms: int | None) -> datetime | None:
    return None if ms is None else moment(ms)


def _terminal(row: m.TerminalIn, village: str) -> Terminal:
    return Terminal(
        row.id,
        row.name or row.id,
        village,
        row.lat,
        row.lon,
        tuple(row.languages),
        tuple(row.codecs),
        speaker=row.speaker,
    )


def _retired(row: RetiredRow, app: App) -> m.RetiredOut:
    t = row.terminal
    return m.RetiredOut(
        id=t.id, name=t.name, village=app.village_name(t.village), retired=moment(row.at), by=row.replaced_by
    )


def _township(line: Township, app: App) -> m.TownshipOut:
    return m.TownshipOut(
        name=app.county.township(line.key).name if line.key else app.county.name,
        terminals=line.terminals,
        ready=line.ready,
        doubtful=line.doubtful,
        dead=line.dead,
        online=line.online,
        on_battery=line.on_battery,
        sick_amplifiers=line.sick_amplifiers,
        software=dict(line.software),
        heard=_when(line.heard),
    )


def _line(line: Line, app: App) -> m.ReadyOut:
    k = line.known
    return m.ReadyOut(
        id=k.terminal,
        name=k.name,
        village=k.village,
        township=app.county.township(k.township).name,
        grade=line.grade,
        online=line.online,
        hello=_when(k.hello),
        heard=_when(k.heard),
        tested=_when(k.tested),
        health=msgspec.to_builtins(k.health) if k.health is not None else {},
        sets_missing=k.missing,
        certificate=_when(k.certificate),
        findings=[f.text for f in line.findings],
    )


def _event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
