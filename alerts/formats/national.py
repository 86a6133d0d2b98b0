"""The 国突 message file: the national warning platform's own XML, CAP-like and not CAP.

Differences from CAP: `feeds.md` §2.3, field by field. It has no namespace, calls the time sendTime with
a space in it, writes colours as severity, lists in one element, circle radii in metres, and references
only the first message of the event. `senderName` is the duty officer's name: personal, never read here.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from alerts import hazards
from alerts.formats import fields
from alerts.formats.cap import default_expiry
from alerts.formats.fields import Notes
from alerts.formats.xml import Element
from alerts.model import (
    Alert,
    AlertError,
    Area,
    Certainty,
    Circle,
    CodeScheme,
    Colour,
    Info,
    Line,
    MsgType,
    Polygon,
    Reference,
    RegionCode,
    Scope,
    Severity,
    Status,
    Urgency,
)

_SEVERITY: Final = {
    Colour.RED: Severity.EXTREME,
    Colour.ORANGE: Severity.SEVERE,
    Colour.YELLOW: Severity.MODERATE,
    Colour.BLUE: Severity.MINOR,
}
_IDENTIFIER: Final = re.compile(r"[0-9]{14}_[0-9]{14}(?:_[0-9]+)?")


def looks_national(root: Element) -> bool:
    """Whether an ``alert`` is the national format: it has a field only that one has. Under a namespace, which
    only CAP has, it must have the national time in place of CAP's as well."""
    if root.name != "alert" or (root.namespace and (root.all("sent") or not root.all("sendTime"))):
        return False
    return any(root.all(name) for name in ("sendTime", "senderCode", "secClassification")) or any(
        info.all("eventType") for info in root.all("info")
    )


def read(root: Element, notes: Notes, *, scheme: CodeScheme) -> Alert:
    """The warning in a national `root`. Raises AlertError with the path of what is wrong.

    `scheme` is the list that the feed declares its codes to be from; the format itself does not say.
    """
    for name in ("identifier", "sender", "sendTime"):
        text = fields.label(root, name)
        if not text:
            raise AlertError(f"alert/{name}", "is missing or empty")
        if len(text) > 500:
            raise AlertError(f"alert/{name}", f"has {len(text)} characters; the limit is 500")
    identifier = root.get("identifier")
    if not _IDENTIFIER.fullmatch(identifier):
        notes.remark("alert/identifier is not of the national form ZZZZZZDDDUUUXX_YYYYMMDDHHMISS")
    sent = fields.time(root.get("sendTime"), "alert/sendTime", notes)
    status = fields.required(Status, fields.label(root, "status"), "alert/status")
    msg_type = fields.required(MsgType, fields.label(root, "msgType"), "alert/msgType")
    scope = fields.required(Scope, fields.label(root, "scope"), "alert/scope")
    if root.get("secClassification").casefold() not in ("", "none"):
        notes.remark(f"alert/secClassification is {fields.shown(root.get('secClassification'))}")
        if scope is Scope.PUBLIC:
            # An internal (Inner) document must not be read to the public, whatever its scope says.
            scope = Scope.RESTRICTED
            notes.inferred.append("alert/scope (Restricted, because secClassification is not None)")
    blocks = root.all("info")
    if not blocks and msg_type in (MsgType.ALERT, MsgType.UPDATE):
        raise AlertError(
            "alert/info", f"is missing; a message of type {msg_type} needs one", "say what happens"
        )
    if root.get("secClassification").casefold() != "none" and len(root.all("secClassification")) > 1:
        raise AlertError("alert/secClassification", "is given more than once", "send it once")
    speaker = _speaker(root)
    return Alert(
        identifier=identifier,
        sender=root.get("sender"),
        sent=sent,
        status=status,
        msg_type=msg_type,
        scope=scope,
        infos=tuple(_info(block, sent, msg_type, speaker, scheme, notes) for block in blocks),
        references=_references(root.get("references"), msg_type, notes),
        note=fields.without_names(root.get("note")),
        format="national",
    )


def _references(text: str, msg_type: MsgType, notes: Notes) -> tuple[Reference, ...]:
    words = text.replace(",", " ").replace("，", " ").split()
    if not words:
        if msg_type is MsgType.CANCEL:
            raise AlertError(
                "alert/references",
                "is missing or empty; a Cancel must name the first message of its event",
                "its identifier",
            )
        if msg_type is MsgType.UPDATE:
            notes.remark("alert/references is missing or empty")
        return ()
    if len(words) > 1:
        notes.remark("alert/references names more than one message; the first is taken")
    return (Reference(words[0]),)


def _speaker(root: Element) -> str:
    """The text meant for loudspeakers. Unfit to be read as it is (`feeds.md` §2.3), kept for people."""
    for method in (method for code in root.all("code") for method in code.all("method")):
        if method.get("methodName").upper() == "SPEAKER" and method.get("message"):
            return fields.without_names(method.get("message"))
    return ""


def _info(
    block: Element, sent: datetime, msg_type: MsgType, speaker: str, scheme: CodeScheme, notes: Notes
) -> Info:
    where = block.path
    headline = fields.line(fields.only(block, "headline", notes), notes)
    description, instruction = (
        fields.prose(fields.only(block, name, notes), notes) for name in ("description", "instruction")
    )
    if not (headline or description):
        raise AlertError(f"{where}/headline", "is missing, and so is description: nothing to say")
    code = block.get("eventType")
    found = hazards.find(headline or description, code)
    if found.remark:
        notes.remark(f"{where}/eventType: {found.remark}")
    effective, onset, expires = fields.times(block, sent, notes)
    if expires is None and msg_type in (MsgType.ALERT, MsgType.UPDATE):
        expires = default_expiry(found.hazard, sent, effective, onset, where, notes)
    colour = _colour(block, headline, where, notes)
    parameters = (("eventType", code),) if code else ()
    if speaker:
        parameters = (*parameters, ("SPEAKER", speaker))
    return Info(
        language=block.get("language") or "zh-CN",
        event=found.hazard.zh if found.hazard is not hazards.UNKNOWN else headline,
        hazard=found.hazard.key,
        severity=_SEVERITY[colour] if colour else Severity.UNKNOWN,
        urgency=fields.optional(Urgency, block.get("urgency"), f"{where}/urgency", notes),
        certainty=fields.optional(Certainty, block.get("certainty"), f"{where}/certainty", notes),
        colour=colour,
        headline=headline,
        description=description,
        instruction=instruction,
        effective=effective,
        onset=onset,
        expires=expires,
        web=block.get("web"),
        areas=tuple(_area(area, scheme, notes) for area in block.all("area")),
        parameters=parameters,
    )


def _colour(block: Element, headline: str, where: str, notes: Notes) -> Colour | None:
    """The colour in `severity`. A headline that says another one is a contradiction that nobody may
    resolve by rule, so it gives none."""
    given = block.get("severity")
    colour = fields.colour(given) or fields.level(given)
    if colour is None and given.casefold() not in ("", "unknown"):
        notes.damaged(f"{where}/severity: {fields.shown(given)} is not a colour; taken as Unknown")
    said = fields.colour_of((), (headline,), f"{where}/headline", notes)
    if colour is not None and said is not None and said is not colour:
        notes.damaged(f"{where}/severity: says {colour} but the headline says {said}; taken as none")
        return None
    if colour is None and said is not None:
        notes.inferred.append(f"{where}/severity ({said}, from the headline)")
    return colour or said


def _items(text: str) -> list[str]:
    """A comma list without its repetitions and stray commas; full-width commas are met in files too."""
    return list(dict.fromkeys(item for part in text.replace("，", ",").split(",") if (item := part.strip())))


def _area(area: Element, scheme: CodeScheme, notes: Notes) -> Area:
    names = [name for child in area.all("areaDesc") for name in _items(fields.line(child, notes))]
    codes: list[RegionCode] = []
    shapes: list[Polygon | Line | Circle] = []
    for child in area.all("geocode"):
        for item in _items(child.text):
            try:
                codes.append(fields.region_code(item, scheme, child.path))
            except AlertError as error:
                notes.damaged(error)
    for child in (*area.all("polygon"), *area.all("circle")):
        if fields.blank(child.text):
            continue
        try:
            shapes.append(_shape(child, notes))
        except AlertError as error:
            notes.damaged(error)
    return Area(
        ", ".join(names),
        tuple(dict.fromkeys(codes)),
        polygons=tuple(shape for shape in shapes if isinstance(shape, Polygon)),
        circles=tuple(shape for shape in shapes if isinstance(shape, Circle)),
        lines=tuple(shape for shape in shapes if isinstance(shape, Line)),
    )


def _shape(child: Element, notes: Notes) -> Polygon | Line | Circle:
    if child.name == "circle":
        return fields.circle(child.text, child.path, notes, china=True, unit_km=0.001)
    vertices = fields.points(child.text, child.path, notes, china=True)
    if len(set(vertices)) > 1 and vertices[0] != vertices[-1]:
        notes.remark(f"{child.path} is open: in this format a line, which encloses nobody")
        return Line(vertices)
    return fields.outline(vertices, child.path, notes)
