"""OASIS CAP 1.0, 1.1 and 1.2, tolerant of order and white space, strict about meaning.

Live official feeds break the XSD (order of elements, missing namespace, markup inside text: `feeds.md`
§1.2), so the schema is no gate; what matters to a loudspeaker is validated here instead. A message without
a clear label (who, when, status, type, scope) is refused. Whatever else cannot be read is `Alert.damage`: the
rest is kept, and a person looks before it sounds (`docs/decisions/0011`). Attached sound is never played.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Final, Protocol, TypeVar

from alerts import hazards
from alerts.formats import fields, weather
from alerts.formats.fields import Notes
from alerts.formats.xml import Element
from alerts.model import (
    Alert,
    AlertError,
    Area,
    Certainty,
    Circle,
    CodeScheme,
    Info,
    Line,
    MsgType,
    Polygon,
    Quake,
    Reference,
    RegionCode,
    Scope,
    Severity,
    Status,
    Urgency,
)

_Level = TypeVar("_Level", Severity, Urgency, Certainty)

VERSIONS: Final = {
    "urn:oasis:names:tc:emergency:cap:1.2": "cap-1.2",
    "urn:oasis:names:tc:emergency:cap:1.1": "cap-1.1",
    "http://www.incident.com/cap/1.0": "cap-1.0",
    "": "cap-1.2",
}


_ORDER: Final = {
    "alert": "identifier sender sent status msgType source scope restriction addresses code note references "
    "incidents info Signature",
    "info": "language category event responseType urgency severity certainty audience eventCode effective "
    "onset expires senderName headline description instruction web contact parameter resource area",
    "resource": "resourceDesc mimeType size uri derefUri digest",
    "area": "areaDesc polygon circle geocode altitude ceiling",
    **dict.fromkeys(("eventCode", "parameter", "geocode"), "valueName value"),
}  # fmt: skip
"""Of CAP 1.1 and 1.2 (§3.2); a live feed may break it and is taken all the same, with a remark."""
_REQUIRED: Final = {
    "info": ("category", "urgency", "severity", "certainty"),
    "area": ("areaDesc",),
    "resource": ("resourceDesc", "mimeType"),
}


def read(root: Element, notes: Notes, *, scheme: CodeScheme) -> Alert:
    """The warning in a CAP `root`. Raises AlertError with the path of what is wrong.

    `scheme` is the list that the feed declares its division codes to be from; a geocode's own valueName
    goes first.
    """
    namespace = root.namespace.strip().casefold()
    version = VERSIONS.get(namespace)
    if version is None:
        raise AlertError(
            root.path, f"unknown namespace {fields.shown(root.namespace)}", "CAP 1.0, 1.1 or 1.2 is read"
        )
    if not namespace:
        notes.remark("alert has no namespace; read as CAP 1.2")
    identifier, sender = (_word(root, name, notes) for name in ("identifier", "sender"))
    if not fields.label(root, "sent"):
        raise AlertError("alert/sent", "is missing", "give the time the message was sent")
    sent = fields.time(fields.label(root, "sent"), "alert/sent", notes)
    status = fields.required(Status, fields.label(root, "status"), "alert/status")
    msg_type = fields.required(MsgType, fields.label(root, "msgType"), "alert/msgType")
    scope = fields.required(Scope, fields.label(root, "scope"), "alert/scope")
    if version != "cap-1.0":
        _schema(root, notes)
    references = _references(" ".join(child.text for child in root.all("references")), msg_type, notes)
    china = _is_chinese(root, scheme)
    infos = tuple(_info(block, sent, msg_type, scheme, notes, china=china) for block in root.all("info"))
    if not infos and msg_type in (MsgType.ALERT, MsgType.UPDATE):
        notes.damaged("alert/info: is missing: nothing is said and nobody is named")
        infos = (_nothing(sent, notes),)
    if china and msg_type in (MsgType.ALERT, MsgType.UPDATE) and _lifts(infos):
        # CMA's relay may say so in the headline only (`feeds.md` §1.3, §2.9). It must not sound as a warning.
        notes.inferred.append(f"alert/msgType (Cancel instead of {msg_type}: the headline lifts the warning)")
        msg_type = MsgType.CANCEL
    return Alert(
        identifier=identifier, sender=sender, sent=sent, status=status, msg_type=msg_type, scope=scope,
        infos=infos, references=references, note=fields.prose(root.first("note"), notes), format=version,
    )  # fmt: skip


def _schema(element: Element, notes: Notes) -> None:
    """Remarks what the schema forbids: the order of elements, what is missing, what CAP does not know."""
    order = _ORDER.get(element.name, "").split()
    if not order:
        return
    last = 0
    for child in element.content:
        if isinstance(child, str):
            continue
        if child.name not in order:
            notes.remark(f"{child.path} is no element of CAP; not used")
            continue
        place = order.index(child.name)
        if place < last:
            notes.remark(f"{child.path} is out of CAP's order")
        last = max(last, place)
        _schema(child, notes)
    for name in _REQUIRED.get(element.name, ()):
        if not element.get(name):
            notes.remark(f"{element.path}/{name} is missing or empty")


def _lifts(infos: Sequence[Info]) -> bool:
    """Whether every headline says that the warning ends, and none that any begins or goes on (`feeds.md`
    §5.3)."""
    said = [info.headline for info in infos if info.headline]
    return bool(said) and all(weather.verb(text) is MsgType.CANCEL for text in said)


def _nothing(sent: datetime, notes: Notes) -> Info:
    end = default_expiry(hazards.UNKNOWN, sent, None, None, "alert/info", notes)
    return Info(language="en-US", event="", hazard=hazards.UNKNOWN.key, expires=end)


def _word(root: Element, name: str, notes: Notes) -> str:
    text = fields.label(root, name)
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
    found = tuple(_triples(text, notes) or (Reference(word) for word in text.split() if "," not in word))
    if not found:
        what = f"{fields.shown(text)} names no message" if text.strip() else "is missing or empty"
        if msg_type is MsgType.CANCEL:
            raise AlertError(where, f"{what}; a Cancel must say what it ends", "write sender,identifier,sent")
        if text.strip() or msg_type is MsgType.UPDATE:
            # Nine documents of the corpus; a warning that is not tied to an earlier one is still a warning.
            notes.remark(f"{where} {what}")
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
    warns = msg_type in (MsgType.ALERT, MsgType.UPDATE)
    event, headline = (fields.line(fields.only(block, name, notes), notes) for name in ("event", "headline"))
    description, instruction = (
        fields.prose(fields.only(block, name, notes), notes) for name in ("description", "instruction")
    )
    if not event:
        notes.remark(f"{where}/event is missing")
        if warns and not headline and not description:
            notes.damaged(f"{where}: has no event, no headline and no description: nothing is said")
    parameters = tuple(_pairs(block, "parameter"))
    codes = tuple(_pairs(block, "eventCode"))
    hazard = _hazard(event, headline, codes, where, notes)
    effective, onset, expires = fields.times(block, sent, notes)
    if expires is None and warns:
        expires = default_expiry(hazard, sent, effective, onset, where, notes)
    kept = (*parameters, *((f"eventCode {name}", value) for name, value in codes))
    for name in ("category", "responseType", "audience", "senderName"):
        said = (fields.line(child, notes) for child in block.all(name))
        kept = (
            *kept,
            *((name, text) for text in said if text and not (name == "senderName" and _is_person(text))),
        )
    for resource in block.all("resource"):
        _resource(resource, notes)
    areas = tuple(_area(area, scheme, notes, china=china) for area in block.all("area"))

    def level(kind: type[_Level], name: str) -> _Level:
        child = fields.only(block, name, notes)
        return fields.optional(kind, child.text if child else "", f"{where}/{name}", notes)

    return Info(
        language=_language(block, event + headline + description, notes),
        event=event,
        hazard=hazard.key,
        severity=level(Severity, "severity"),
        urgency=level(Urgency, "urgency"),
        certainty=level(Certainty, "certainty"),
        colour=fields.colour_of(parameters, (headline, event), where, notes),
        headline=headline,
        description=description,
        instruction=instruction,
        effective=effective,
        onset=onset,
        expires=expires,
        web=block.get("web"),
        areas=areas,
        parameters=kept,
        quake=_quake(parameters, areas, notes, where) if hazard.key == "earthquake" else None,
    )


def _is_person(name: str) -> bool:
    """Whether a senderName is a Chinese person's. In the national format it is the duty officer's, whose name
    is never told (`feeds.md` §2.3); a converter may have copied it."""
    return (
        re.fullmatch("[一-鿿·]{2,4}(?<![台臺局署厅廳处處委会會府部站网網中心办辦院社所司队隊])", name)
        is not None
    )


def _pairs(parent: Element, name: str) -> Iterator[tuple[str, str]]:
    """(valueName, value) of each child of that name, in CAP 1.0's ``name=value`` as well."""
    for child in parent.all(name):
        names, values = child.all("valueName"), child.all("value")
        if not names and not values:
            key, _, value = child.text.partition("=")
            yield key.strip(), value.strip()
        # An index of NWS puts several pairs into one element.
        for key_of, value_of in zip_longest(names, values):
            yield key_of.text if key_of else "", value_of.text if value_of else ""


def _language(block: Element, text: str, notes: Notes) -> str:
    """As declared; CAP's default is en-US, which Chinese text is plainly not."""
    declared = "".join(block.get("language").split())
    if declared:
        return declared
    han = sum("\u4e00" <= character <= "\u9fff" for character in text)
    if han > len(text) / 4 and not re.search(r"[\u3040-\u30ff]", text):
        notes.inferred.append(f"{block.path}/language (zh-CN, from its text)")
        return "zh-CN"
    return "en-US"


def _resource(resource: Element, notes: Notes) -> None:
    """Says what is attached. A sound inside the document is measured and never played: what a loudspeaker
    says is composed from the fields, which a stranger's recording is not (lesson: obplayer plays it)."""
    kind = resource.get("mimeType")[:60] or "of no type"
    inside = resource.first("derefUri")
    if inside is None:
        notes.remark(f"{resource.path} ({kind}) is attached and not used")
        return
    try:
        data = base64.b64decode("".join(inside.text.split()), validate=True)
    except (binascii.Error, ValueError):
        notes.remark(f"{resource.path} ({kind}) lies inside, is not base64, and is not used")
        return
    hashed = hashlib.sha256(data).hexdigest()
    notes.remark(f"{resource.path} ({kind}) lies inside, {len(data):,} bytes, SHA-256 {hashed}; never played")
    digest = resource.get("digest").casefold()
    if digest and digest not in (hashlib.sha1(data, usedforsecurity=False).hexdigest(), hashed):
        notes.remark(f"{resource.path}/digest is not that of its bytes")


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
    excluded: list[Polygon] = []
    for number, (value_name, value) in enumerate(_pairs(area, "geocode")):
        where = f"{area.path}/geocode[{number}]"
        named = fields.division_scheme(value_name, scheme)
        if "exclude" in value_name.casefold():
            shape = _read(_outline, value, where, notes, china=china)
            if isinstance(shape, Polygon):
                excluded.append(shape)
            elif shape is not None or fields.blank(value):
                notes.damaged(f"{where}: {fields.shown(value_name)} takes nothing away; who is meant?")
        elif named is None:
            other.append((value_name, value))
        else:
            codes += _codes(value, named, where, notes)
    shapes = [
        shape
        for name, reader in (("polygon", _outline), ("circle", fields.circle))
        for child in area.all(name)
        if (shape := _read(reader, child.text, child.path, notes, china=china)) is not None
    ]
    for name in ("altitude", "ceiling"):
        if area.get(name):
            notes.remark(f"{area.path}/{name} is not used")
    return Area(
        fields.line(area.first("areaDesc"), notes),
        tuple(dict.fromkeys(codes)),
        polygons=tuple(shape for shape in shapes if isinstance(shape, Polygon)),
        circles=tuple(shape for shape in shapes if isinstance(shape, Circle)),
        lines=tuple(shape for shape in shapes if isinstance(shape, Line)),
        excluded=tuple(excluded),
        other_codes=tuple(other),
    )


def _codes(value: str, scheme: CodeScheme, where: str, notes: Notes) -> Iterator[RegionCode]:
    items = value.replace("，", ",").replace(",", " ").split()
    if not items:
        notes.damaged(f"{where}: is empty")
    if len(items) > 1:
        notes.remark(f"{where} lists several codes; CAP has one geocode for each")
    for item in items:
        try:
            yield fields.region_code(item, scheme, where)
        except AlertError as error:
            notes.damaged(error)


def _outline(text: str, where: str, notes: Notes, *, china: bool) -> Polygon | Line | Circle:
    return fields.outline(fields.points(text, where, notes, china=china), where, notes)


class _Reader(Protocol):
    def __call__(self, text: str, where: str, notes: Notes, *, china: bool) -> Polygon | Line | Circle: ...


def _read(
    reader: _Reader, text: str, where: str, notes: Notes, *, china: bool
) -> Polygon | Line | Circle | None:
    """A shape, or None: an empty one says nothing and is remarked, one that cannot be read is damage."""
    if fields.blank(text):
        notes.remark(f"{where} is empty")
        return None
    try:
        return reader(text, where, notes, china=china)
    except AlertError as error:
        notes.damaged(error)
        return None


# --- earthquakes ---------------------------------------------------------------------------------------

# Taiwan CWA, PTWC/NTWC, USGS and the networks of ANSS, each as its documents write it.
_MAGNITUDES: Final = (
    "magnitude",
    "eventmagnitude",
    "eventmagnitudedescription",
    "eventpreliminarymagnitude",
    "震级",
)
_DEPTHS: Final = ("depth", "eventdepth", "震源深度")
_PLACES: Final = ("eventlatlon", "epicenter", "epicentre", "震中位置")
_ORIGINS: Final = ("eventorigintime", "eventtime", "origintime", "发震时刻")
_NAMES: Final = ("eventlocationname", "eventlocation", "震中地名")
_REPORTS: Final = ("eventreportnumber", "reportnumber", "reportnum", "version")
_MAGNITUDE: Final = re.compile(
    r"(?:芮氏規模|里氏|规模|震级|M[a-z]{0,3})?\s*([0-9](?:\.[0-9]{1,2})?)(?:级|\s*M[a-z]{0,3})?", re.I
)
_DEPTH: Final = re.compile(
    r"([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*(km|公里|千米|kilomet(?:er|re)s?|mi|miles?)\b.*", re.I
)


def _quake(
    parameters: Sequence[tuple[str, str]], areas: Sequence[Area], notes: Notes, where: str
) -> Quake | None:
    """The earthquake that the parameters state, only where magnitude, place and time are each stated once and
    clearly; the place may be the only point of the areas. A depth without a unit is not taken."""
    said: dict[str, set[str]] = {}
    for name, value in parameters:
        said.setdefault("".join(name.casefold().replace("_", "").split()), set()).add(value.strip())

    def stated(names: Sequence[str]) -> str:
        values = {value for name in names for value in said.get(name, ()) if value}
        return values.pop() if len(values) == 1 else ""

    magnitude = _MAGNITUDE.fullmatch(stated(_MAGNITUDES))
    points = {(c.lat, c.lon) for area in areas for c in area.circles if c.radius_km == 0}
    try:
        if place := stated(_PLACES):
            centre = fields.circle(place if " " in place else f"{place} 0", where, Notes(), china=False)
            points = {(centre.lat, centre.lon)}
        time_notes = Notes()
        origin = fields.time(stated(_ORIGINS), where, time_notes)
    except AlertError:
        return None
    if magnitude is None or len(points) != 1 or time_notes.inferred:
        return None
    ((lat, lon),) = points
    depth = _DEPTH.fullmatch(stated(_DEPTHS))
    report = stated(_REPORTS)
    return Quake(
        origin=origin,
        lat=lat,
        lon=lon,
        magnitude=float(magnitude[1]),
        depth_km=float(depth[1]) * (1.609344 if depth[2].casefold().startswith("mi") else 1.0)
        if depth
        else None,
        place=stated(_NAMES),
        report=int(report) if re.fullmatch("[0-9]{1,4}", report) else 1,
    )
