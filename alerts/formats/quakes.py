"""One report of an earthquake → Alert, whichever socket or list brought it (`feeds.md` §2.10).

An event has a key (network and the network's own event id). Every report names it as its reference, so that
reports are one event whatever is missed and whatever order they come in. An early warning is urgent at
once, and no more than likely until the network calls a report final. A catalogue entry tells what was: its
urgency is Past, and it never warns.

Severity and colour stay open: what an earthquake is for a village follows from magnitude, depth and
distance (`Info.quake`), and no standard of ours gives colours for it (`geo.md` §7).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from alerts import hazards
from alerts.formats.fields import Notes
from alerts.formats.rows import Fields
from alerts.model import (
    Alert,
    AlertError,
    Certainty,
    Info,
    MsgType,
    Quake,
    Reference,
    Scope,
    Status,
    Urgency,
)

_EARTHQUAKE: Final = hazards.by_key("earthquake")


@dataclass(frozen=True, slots=True)
class Network:
    """Who located it. `key` begins the event's key; two relays of one network share it."""

    key: str
    name: str
    """As people call it, in Chinese."""


CENC: Final = Network("cea", "中国地震预警网")
CATALOGUE: Final = Network("cenc", "中国地震台网")
JMA: Final = Network("jma", "日本气象厅")
CWA: Final = Network("cwa", "台湾省气象署")


@dataclass(frozen=True, slots=True)
class Report:
    """What a source's row says about a report, beside place and strength."""

    network: Network
    event: str
    """The network's own event id, without spaces."""
    number: int = 1
    sent: datetime | None = None
    """When the report was given out; None where the source does not say."""
    final: bool = False
    cancelled: bool = False
    early: bool = True
    """An early warning; False for a catalogue entry."""
    status: Status = Status.ACTUAL


def place(
    row: Fields,
    origin: datetime | None,
    report: Report,
    *,
    intensity: float | None,
    magnitude: float | None = None,
) -> Quake | None:
    """Place and strength from any of the sources' names for them (``Magunitude`` is Wolfx's). None if origin
    time, place or magnitude is missing: then nobody can say who feels it.

    `magnitude` counts where the source keeps it elsewhere.
    """
    lat = row.number("latitude", "lat", "epiLat", low=-90, high=90)
    lon = row.number("longitude", "lon", "lng", "epiLon", low=-180, high=180)
    if magnitude is None:
        magnitude = row.number("magnitude", "Magunitude", "mag", low=-2, high=10.5)
    if origin is None or lat is None or lon is None or magnitude is None:
        return None
    # Floats that went through single precision: 3.900001 is 3.9.
    depth = row.number("depth", "focDepth", low=-10, high=1000)
    return Quake(
        origin=origin,
        lat=round(lat, 6),
        lon=round(lon, 6),
        magnitude=round(magnitude, 2),
        depth_km=None if depth is None else round(max(depth, 0.0), 2),
        place=row.text("HypoCenter", "placeName", "epicenter", "location", "locName", "place"),
        report=report.number,
        final=report.final,
        intensity=intensity,
    )


def number_of(row: Fields, *names: str) -> int:
    """A report's number, from 1; 1, with a remark, where it is missing. Raises AlertError beyond 10,000."""
    value = row.number(*names, low=0, high=10_000)
    if value is None:
        row.notes.remark(f"{row.path(*names)} is missing; taken as report 1")
    elif value != int(value):
        raise AlertError(row.path(*names), f"is {value:g}, not a whole number")
    return max(int(value or 1), 1)


def csis(row: Fields, *names: str) -> float | None:
    """Greatest intensity on the Chinese scale (GB/T 17742), 0 to 12; nothing below 1 is told."""
    value = row.number(*names, low=0, high=12)
    return value if value is not None and value >= 1 else None


def alert(
    row: Fields,
    report: Report,
    quake: Quake | None,
    notes: Notes,
    *,
    format_name: str,
    parameters: tuple[tuple[str, str], ...] = (),
    web: str = "",
) -> Alert:
    """The report as an Alert: identifier event key + report number, reference the event key.

    Raises AlertError where an early warning lacks what it takes to tell who feels it, and where nothing
    says which event it is.
    """
    if not report.event:
        raise AlertError(
            row.path("EventID", "eventId", "id"), "is missing, so its reports cannot be told apart"
        )
    if quake is None and not report.cancelled:
        raise AlertError(
            row.where,
            "lacks origin time, latitude, longitude or magnitude, or one of them is impossible",
            "without them nobody can say who feels it",
        )
    sent = report.sent
    if sent is None:
        sent = quake.origin if quake else None
        notes.inferred.append("sent (the origin time: the source does not say when it reported)")
    if sent is None:
        raise AlertError(row.where, "has neither report time nor origin time")
    if quake is not None and sent < quake.origin:
        notes.remark("reported before it happened: one of the two times is wrong")
    event = f"{report.network.key}-{report.event}"
    msg_type = MsgType.ALERT
    if report.cancelled:
        msg_type = MsgType.CANCEL
    elif report.early and report.number > 1:
        msg_type = MsgType.UPDATE
    notes.inferred.append("type, urgency and certainty (from the number and kind of the report)")
    return Alert(
        identifier=f"{event}-r{report.number}" + ("-cancel" if report.cancelled else ""),
        sender=report.network.name,
        sent=sent,
        status=report.status,
        msg_type=msg_type,
        scope=Scope.PUBLIC,
        infos=(
            Info(
                language="zh-CN",
                event="地震预警" if report.early else "地震信息",
                hazard=_EARTHQUAKE.key,
                urgency=Urgency.IMMEDIATE if report.early and not report.cancelled else Urgency.PAST,
                certainty=_certainty(report),
                headline=_headline(report, quake),
                description=_description(report, quake),
                onset=quake.origin if quake else None,
                web=web,
                parameters=parameters,
                quake=quake,
            ),
        ),
        references=(Reference(event),),
        format=format_name,
    )


def _certainty(report: Report) -> Certainty:
    if report.cancelled:
        return Certainty.UNLIKELY
    return Certainty.OBSERVED if report.final or not report.early else Certainty.LIKELY


def _headline(report: Report, quake: Quake | None) -> str:
    kind = "地震预警" if report.early else "地震信息"
    if report.cancelled:
        return f"{report.network.name}取消{kind}"
    where = f"{quake.place}{quake.magnitude:g}级地震" if quake else ""
    return (
        f"{report.network.name}{kind}第{report.number}报：{where}"
        if report.early
        else f"{report.network.name}{kind}：{where}"
    )


def _description(report: Report, quake: Quake | None) -> str:
    if report.cancelled or quake is None:
        return ""
    parts = [f"{quake.place}发生{quake.magnitude:g}级地震"]
    if quake.depth_km is not None:
        parts.append(f"震源深度{quake.depth_km:g}千米")
    if quake.intensity is not None:
        parts.append(f"预估最大烈度{quake.intensity:g}度")
    return "，".join(parts) + "。"
