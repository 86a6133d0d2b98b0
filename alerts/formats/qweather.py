"""QWeather 和风天气: `weatheralert/v1/current` and the older `v7/warning/now` (`feeds.md` §2.7).

Commercial. Its ids join with nobody's; supersedes and cancels are its own, and a cancel is listed for an
hour only. It names no area: one asks for a place and gets what holds there. New values may come at any
time, so an unknown one is Unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alerts import hazards
from alerts.feed import Trust
from alerts.formats import fields, rows, weather
from alerts.formats.fields import Notes, shown
from alerts.formats.lists import ListFormat, Row
from alerts.formats.rows import Fields
from alerts.model import (
    Alert,
    AlertError,
    Area,
    Certainty,
    Colour,
    Info,
    MsgType,
    Reference,
    Scope,
    Severity,
    Status,
    Urgency,
)

if TYPE_CHECKING:
    from alerts.formats import Reading

_SEVERITY: Final = {
    "extreme": Severity.EXTREME, "severe": Severity.SEVERE, "major": Severity.SEVERE,
    "moderate": Severity.MODERATE, "minor": Severity.MINOR, "standard": Severity.MINOR,
    "cancel": Severity.UNKNOWN, "none": Severity.UNKNOWN, "unknown": Severity.UNKNOWN, "": Severity.UNKNOWN,
}  # fmt: skip
"""Its own field (`feeds.md` §5.1); standard goes with the white signal."""
_RESPONSES: Final = {
    name.casefold(): name
    for name in (
        "Shelter",
        "Evacuate",
        "Prepare",
        "Execute",
        "Avoid",
        "Monitor",
        "Assess",
        "AllClear",
        "None",
    )
}
_WATER: Final = {"1201": "11A01", "1242": "11D02", "1248": "11B37"}


def split(answer: bytes) -> list[Row]:
    """The warnings of either API. Raises AlertError for an error page, an error code and an answer without
    its list."""
    said = rows.mapping(rows.document(answer), "answer")
    if "error" in said and "alerts" not in said:
        raise AlertError("answer/error", shown(str(said["error"]), 200))
    code = str(said.get("code", "200"))
    if code == "204":
        return []  # v7: the query was right, and there is nothing
    if code != "200":
        raise AlertError("answer/code", f"is {shown(code)}, not 200", "401 to 403 key or quota, 429 too fast")
    meta = said.get("metadata")
    if isinstance(meta, dict) and meta.get("zeroResult") is True and "alerts" not in said:
        return []
    found = rows.listed(said, "answer", "alerts", "warning", "warnings")
    return rows.once(
        rows.row(Fields(value, "alert", Notes()).word("id") if isinstance(value, dict) else "", value)
        for value in found
    )


def read(body: bytes, notes: Notes, reading: Reading) -> Alert:
    """One warning. Raises AlertError with the path of what is wrong."""
    row = Fields(rows.document(body, "alert"), "alert", notes)
    identifier = row.word("id")
    if not identifier:
        raise AlertError(row.path("id"), "is missing, so nothing could ever end this warning")
    headline = row.text("headline", "title")
    description = row.text("description", "text")
    if not (headline or description):
        raise AlertError(row.where, "has neither headline nor description: nothing to say")
    msg_type, references = _type(row, headline, notes)
    sent = rows.must(
        row.time("issuedTime", "pubTime", "issueTime"), row.path("issuedTime", "pubTime"), "time"
    )
    expires = row.end("expireTime", "expiredTime", "expiresTime", "endTime")
    if expires is not None and expires <= sent and msg_type is not MsgType.CANCEL:
        notes.remark(f"{row.path('expireTime', 'endTime')} is not after it was sent; taken as no end")
        expires = None
    kind = row.child("eventType") if isinstance(row.raw("eventType"), dict) else row
    number = kind.text("code") if kind is not row else row.text("type", "eventType")
    name = kind.text("name") if kind is not row else row.text("typeName")
    found = weather.hazard(headline or name or description, _national(number), name, row.where, notes)
    colour, severity = _level(row, headline, number, notes)
    urgency = fields.optional(Urgency, row.text("urgency"), row.path("urgency"), notes)
    certainty = fields.optional(Certainty, row.text("certainty"), row.path("certainty"), notes)
    if urgency is Urgency.UNKNOWN and (urgency := weather.urgency(description)) is not Urgency.UNKNOWN:
        notes.inferred.append(f"alert urgency ({urgency}, from the words)")
    if (
        certainty is Certainty.UNKNOWN
        and (certainty := weather.certainty(description)) is not Certainty.UNKNOWN
    ):
        notes.inferred.append(f"alert certainty ({certainty}, from the words)")
    notes.inferred.append("alert status and scope (Actual and Public: this source has no other)")
    sender = row.text("senderName", "sender") or weather.issuer(headline, description)
    notes.remark("alert names no area: it holds for the place that the feed asks for")
    return Alert(
        identifier=identifier,
        sender=sender or "qweather",
        sent=sent,
        status=Status.ACTUAL,
        msg_type=msg_type,
        scope=Scope.PUBLIC,
        infos=(
            Info(
                language=weather.language(headline, description),
                event=name or (found.zh if found is not hazards.UNKNOWN else headline or description[:60]),
                hazard=found.key,
                severity=severity,
                urgency=Urgency.PAST if msg_type is MsgType.CANCEL else urgency,
                certainty=certainty,
                colour=colour,
                headline=headline,
                description=description,
                instruction=row.text("instruction"),
                effective=row.optional_time("effectiveTime", "startTime"),
                onset=row.optional_time("onsetTime"),
                expires=expires,
                areas=(Area(sender),),
                parameters=_parameters(row, number, notes),
            ),
        ),
        references=references,
        format="qweather",
    )


def _type(row: Fields, headline: str, notes: Notes) -> tuple[MsgType, tuple[Reference, ...]]:
    message = row.child("messageType") if isinstance(row.raw("messageType"), dict) else row
    code = message.text("code") if message is not row else row.text("messageType", "status")
    # v7 marks the end by severity, too.
    if row.text("severity").casefold() == "cancel":
        code = "cancel"
    said = weather.msg_type_of(code, message.path("code", "status"), notes)
    if said is None:
        said = weather.verb(headline) or MsgType.ALERT
        notes.inferred.append(f"alert type ({said}, from the words)")
    earlier = message.words("supersedes") if message is not row else []
    earlier += row.text("related").replace(",", " ").split()
    references = tuple(dict.fromkeys(Reference("_".join(item.split())) for item in earlier))
    if not references and said is not MsgType.ALERT:
        notes.remark(
            f"alert: an {said} that does not say of what; its event must be found by issuer, kind and area"
        )
    return said, references


def _level(row: Fields, headline: str, number: str, notes: Notes) -> tuple[Colour | None, Severity]:
    """Colour and severity from their own fields. Only for a mainland event may the one stand in for the
    other (`feeds.md` §5.1), and the notes say so."""
    named = (
        row.child("color").text("code")
        if isinstance(row.raw("color"), dict)
        else row.text("color", "severityColor")
    )
    given = fields.colour(named)
    if named and given is None:
        notes.remark(f"alert colour {shown(named)} is none of red, orange, yellow, blue; taken as none")
    spoken = fields.colour_of((), (headline,), "alert/headline", notes)
    colour = weather.agreed("alert", notes, color=given, headline=spoken)
    said = row.text("severity").casefold()
    severity = _SEVERITY.get(said)
    if severity is None:
        notes.remark(f"alert/severity {shown(said)} is not a known value; taken as Unknown")
        severity = Severity.UNKNOWN
    if severity is Severity.UNKNOWN and colour is not None and _mainland(number):
        severity = weather.SEVERITY[colour]
        notes.inferred.append(f"alert severity ({severity}, from the colour)")
    if named.casefold() == "white" or fields.white(headline):
        notes.remark("alert: a white signal, which informs and warns nobody")
        return None, Severity.MINOR
    return colour, severity


def _mainland(number: str) -> bool:
    return len(number) == 4 and number.isdigit() and 1000 <= int(number) < 1600


def _national(number: str) -> str:
    """The national code behind QWeather's: 1001 to 1089 are 11B01 to 11B89, some of 12xx are listed."""
    if len(number) == 4 and number.startswith("10") and number.isdigit():
        return f"11B{number[2:]}"
    return _WATER.get(number, "")


def _parameters(row: Fields, number: str, notes: Notes) -> tuple[tuple[str, str], ...]:
    found = [("eventType", number), ("criteria", row.text("criteria")), ("level", row.text("level"))]
    for word in row.words("responseTypes"):
        known = _RESPONSES.get(word.replace(" ", "").casefold())
        if known is None:
            notes.remark(f"alert/responseTypes {shown(word)} is not a known value; left out")
        else:
            found.append(("responseType", known))
    return tuple((name, value) for name, value in found if value)


LIST: Final = ListFormat("qweather", Trust.UNOFFICIAL, split)
