"""OASIS CAP 1.0, 1.1 and 1.2, tolerant of order and white space, strict about meaning.

Live official feeds break the XSD (order of elements, missing namespace, markup inside text: `feeds.md`
§1.2), so the schema is no gate; what matters to a loudspeaker is validated here instead. Attached
resources are not read. A signature is not verified by this version, and the remarks say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from alerts import hazards
from alerts.formats import fields
from alerts.formats.fields import Notes
from alerts.formats.xml import Element
from alerts.model import (
    Alert,
    AlertError,
    Area,
    Certainty,
    CodeScheme,
    Info,
    MsgType,
    Polygon,
    Reference,
    RegionCode,
    Scope,
    Severity,
    Status,
    Urgency,
)

VERSIONS: Final = {
    "urn:oasis:names:tc:emergency:cap:1.2": "cap-1.2",
    "urn:oasis:names:tc:emergency:cap:1.1": "cap-1.1",
    "http://www.incident.com/cap/1.0": "cap-1.0",
    "": "cap-1.2",
}


def read(root: Element, notes: Notes, *, scheme: CodeScheme) -> Alert:
    """The warning in a CAP `root`. Raises AlertError with the path of what is wrong.

    `scheme` is the list that the feed declares its division codes to be from; a geocode's own valueName
    goes first.
    """
    version = VERSIONS.get(root.namespace)
    if version is None:
        raise AlertError(
            root.path, f"unknown namespace {fields.shown(root.namespace)}", "CAP 1.0, 1.1 or 1.2 is read"
        )
    if not root.namespace:
        notes.remark("alert has no namespace; read as CAP 1.2")
    identifier, sender = (_word(root, name, notes) for name in ("identifier", "sender"))
    if not root.get("sent"):
        raise AlertError("alert/sent", "is missing", "give the time the message was sent")
    sent = fields.time(root.get("sent"), "alert/sent", notes)
    status = fields.required(Status, root.get("status"), "alert/status")
    msg_type = fields.required(MsgType, root.get("msgType"), "alert/msgType")
    scope = fields.required(Scope, root.get("scope"), "alert/scope")
    references = _references(root.get("references"), msg_type, notes)
    blocks = root.all("info")
    if not blocks and msg_type in (MsgType.ALERT, MsgType.UPDATE):
        raise AlertError(
            "alert/info", f"is missing; a message of type {msg_type} needs one", "say what happens"
        )
    china = _is_chinese(root, scheme)
    infos = tuple(_info(block, sent, msg_type, scheme, notes, china=china) for block in blocks)
    if root.all("Signature"):
        notes.remark("alert/Signature is present; this version does not verify it")
    return Alert(
        identifier=identifier, sender=sender, sent=sent, status=status, msg_type=msg_type, scope=scope,
        infos=infos, references=references, note=root.get("note"), format=version,
    )  # fmt: skip


def _word(root: Element, name: str, notes: Notes) -> str:
    text = root.get(name)
    if not text:
        raise AlertError(f"alert/{name}", "is missing or empty")
    if len(text) > 500:
        raise AlertError(f"alert/{name}", f"has {len(text)} characters; the limit is 500")
    if any(character in text for character in " ,<&\n\t"):
        notes.remark(f"alert/{name} has a space, comma, < or &, which CAP forbids")
    return text


def _is_chinese(root: Element, scheme: CodeScheme) -> bool:
    """Whether coordinates must lie around China: the feed says so, its codes or its language do."""
    if scheme is not CodeScheme.UNKNOWN:
        return True
    return any(
        info.get("language").casefold().startswith(("zh-cn", "zh-hans"))
        or any(
            fields.division_scheme(code.get("valueName"), scheme) is not None
            for area in info.all("area")
            for code in area.all("geocode")
        )
        for info in root.all("info")
    )


def _references(text: str, msg_type: MsgType, notes: Notes) -> tuple[Reference, ...]:
    where = "alert/references"
    if not text.strip():
        if msg_type in (MsgType.UPDATE, MsgType.CANCEL):
            raise AlertError(
                where,
                f"is missing or empty; {msg_type} must name the message it is about",
                "sender,identifier,sent",
            )
        return ()
    found = tuple(_triples(text, notes) or (Reference(word) for word in text.split() if "," not in word))
    if not found:
        if msg_type in (MsgType.UPDATE, MsgType.CANCEL):
            raise AlertError(where, f"{fields.shown(text)} names no message", "write sender,identifier,sent")
        notes.remark(f"{where} {fields.shown(text)} names no message; ignored")
    elif not found[0].sender:
        notes.remark(f"{where} gives identifiers only, without sender and time")
    return found


def _triples(text: str, notes: Notes) -> Sequence[Reference]:
    """``sender,identifier,sent sender,…``; a sender may contain spaces. Empty if it is not that."""
    parts = text.split(",")
    if len(parts) < 3 or len(parts) % 2 == 0:
        return ()
    found: list[Reference] = []
    sender = parts[0].strip()
    for number, (identifier, tail) in enumerate(zip(parts[1::2], parts[2::2], strict=True)):
        words = tail.split(None, 1)
        last = 2 * number + 3 == len(parts)
        if not sender or not identifier.strip() or not words or (len(words) == 2) is last:
            return ()
        where = f"alert/references[{number}]"
        try:
            sent = fields.time(words[0], where, Notes())
        except AlertError:
            notes.remark(f"{where} has no readable time")
            sent = None
        found.append(Reference(identifier.strip(), sender, sent))
        sender = words[1].strip() if len(words) == 2 else ""
    return found


def _info(
    block: Element, sent: datetime, msg_type: MsgType, scheme: CodeScheme, notes: Notes, *, china: bool
) -> Info:
    where = block.path
    event, headline, description = (block.get(name) for name in ("event", "headline", "description"))
    if not (event or headline or description):
        raise AlertError(f"{where}/event", "is missing, and so are headline and description: nothing to say")
    if not event:
        notes.remark(f"{where}/event is missing")
    parameters = tuple(
        (name.strip(), child.get("value"))
        for child in block.all("parameter")
        if (name := child.get("valueName"))
    )
    codes = tuple((child.get("valueName"), child.get("value")) for child in block.all("eventCode"))
    hazard = _hazard(event, headline, codes, where, notes)
    times = {
        name: fields.time(block.get(name), f"{where}/{name}", notes) if block.get(name) else None
        for name in ("effective", "onset", "expires")
    }
    if times["expires"] is None and msg_type in (MsgType.ALERT, MsgType.UPDATE):
        times["expires"] = default_expiry(hazard, sent, times["effective"], times["onset"], where, notes)
    if block.all("resource"):
        notes.remark(f"{where} has {len(block.all('resource'))} attached resource(s), which are not used")
    kept = (*parameters, *((f"eventCode {name}", value) for name, value in codes))
    for name in ("responseType", "senderName"):
        kept = (*kept, *((name, child.text) for child in block.all(name) if child.text))
    return Info(
        language=block.get("language") or "en-US",
        event=event,
        hazard=hazard.key,
        severity=fields.optional(Severity, block.get("severity"), f"{where}/severity", notes),
        urgency=fields.optional(Urgency, block.get("urgency"), f"{where}/urgency", notes),
        certainty=fields.optional(Certainty, block.get("certainty"), f"{where}/certainty", notes),
        colour=fields.colour_of(parameters, (headline, event), where, notes),
        headline=headline,
        description=description,
        instruction=block.get("instruction"),
        effective=times["effective"],
        onset=times["onset"],
        expires=times["expires"],
        web=block.get("web"),
        areas=tuple(_area(area, scheme, notes, china=china) for area in block.all("area")),
        parameters=kept,
    )


def _hazard(
    event: str, headline: str, codes: Sequence[tuple[str, str]], where: str, notes: Notes
) -> hazards.Hazard:
    code = next((value for _, value in codes if hazards.by_national_code(value) is not None), "")
    found = hazards.find(event, code)
    if found.hazard is hazards.UNKNOWN and headline:
        found = hazards.find(headline, code)
    if found.remark:
        notes.remark(f"{where}/event: {found.remark}")
    return found.hazard


def default_expiry(
    hazard: hazards.Hazard,
    sent: datetime,
    effective: datetime | None,
    onset: datetime | None,
    where: str,
    notes: Notes,
) -> datetime:
    """When a warning without an end ends: its hazard's lifetime after the latest of its own times."""
    start = max(when for when in (sent, effective, onset) if when is not None)
    hours = hazard.default_lifetime.total_seconds() / 3600
    notes.inferred.append(f"{where}/expires (none given; {hours:g} h, the default for {hazard.en})")
    return start + hazard.default_lifetime


def _area(area: Element, scheme: CodeScheme, notes: Notes, *, china: bool) -> Area:
    codes: list[RegionCode] = []
    other: list[tuple[str, str]] = []
    for child in area.all("geocode"):
        value_name, value = child.get("valueName"), child.get("value")
        if not child.all("value") and not child.all("valueName"):
            # CAP 1.0 writes <geocode>name=value</geocode>.
            value_name, _, value = child.text.rpartition("=")
        named = fields.division_scheme(value_name, scheme)
        if named is None:
            other.append((value_name, value))
        elif (code := fields.region_code(value, named, child.path)) not in codes:
            codes.append(code)
    rings = []
    for child in area.all("polygon"):
        if not child.text:
            notes.remark(f"{child.path} is empty")
            continue
        rings.append(fields.ring(fields.points(child.text, child.path, china=china), child.path, notes))
    circles = []
    for child in area.all("circle"):
        if not child.text:
            notes.remark(f"{child.path} is empty")
            continue
        circles.append(fields.circle(child.text, child.path, china=china))
    return Area(
        area.get("areaDesc"),
        tuple(codes),
        tuple(Polygon(ring) for ring in rings),
        tuple(circles),
        other_codes=tuple(other),
    )
