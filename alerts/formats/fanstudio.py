"""FAN Studio's sockets: weather warnings, tsunami bulletins, early warnings and earthquake reports of many
networks (`feeds.md` §2.10).

Private; states that it must not be the only source. A socket of one path sends ``{Data, md5}`` bare or
inside ``data``; ``/all`` puts each source's under its name, or names it in ``source``. Where nothing names
it, the fields tell. All times are Beijing's without saying so, but for JMA's, which are Japanese.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, Final

from alerts.feed import Trust
from alerts.formats import quakes, rows, weather
from alerts.formats.fields import BEIJING, Notes, colour, colour_of, shown
from alerts.formats.lists import ListFormat, Row
from alerts.formats.quakes import Network, Report
from alerts.formats.rows import Fields
from alerts.formats.weathercn import LEVELS, WHITE
from alerts.model import (
    Alert,
    AlertError,
    Area,
    Certainty,
    Info,
    MsgType,
    Reference,
    Scope,
    Status,
    Urgency,
)

if TYPE_CHECKING:
    from alerts.formats import Reading

_EARLY: Final[dict[str, Network]] = {
    "cea": quakes.CENC,
    "cea-pr": Network("cea-pr", "省级地震预警网"),
    "cwa-eew": quakes.CWA,
    "jma": quakes.JMA,
    "sa": Network("sa", "ShakeAlert"),
    "kma-eew": Network("kma", "韩国气象厅"),
}
_REPORTS: Final[dict[str, Network]] = {
    "cenc": quakes.CATALOGUE,
    "cenc-ir": Network("cenc-ir", "中国地震台网"),
    "ningxia": Network("ningxia", "宁夏回族自治区地震局"),
    "guangxi": Network("guangxi", "广西壮族自治区地震局"),
    "shanxi": Network("shanxi", "山西省地震局"),
    "beijing": Network("beijing", "北京市地震局"),
    "yunnan": Network("yunnan", "云南省地震局"),
    "cwa": Network("cwa-report", "台湾省气象署"),
    "hko": Network("hko", "香港天文台"),
    "usgs": Network("usgs", "美国地质调查局"),
    "emsc": Network("emsc", "欧洲地中海地震中心"),
    "bcsf": Network("bcsf", "法国中央地震研究所"),
    "gfz": Network("gfz", "德国地学研究中心"),
    "usp": Network("usp", "巴西圣保罗大学"),
    "kma": Network("kma-report", "韩国气象厅"),
    "fssn": Network("fssn", "FSSN"),
    "fssn-cmt": Network("fssn-cmt", "FSSN"),
}
_SILENT: Final = frozenset(("kma-station",))
"""Readings of single stations: no report of anything."""
SOURCES: Final = frozenset((*_EARLY, *_REPORTS, *_SILENT, "weatheralarm", "tsunami"))
_ALARM: Final = re.compile(r"([0-9]{6})-([0-9]{14})-(1[0-9][A-Z][0-9]{2})([0-9]{2})?")
_DEPTH: Final = 4


def split(answer: bytes) -> list[Row]:
    """The reports and warnings of one message; none for heartbeats and pongs.

    Raises AlertError for what is no message, and for an error message.
    """
    if answer.strip() in (b"ping", b"pong"):
        return []
    said = rows.mapping(rows.document(answer, "message"), "message")
    if said.get("type") in ("heartbeat", "pong", "ping"):
        return []
    if "error" in said:
        raise AlertError("message/error", shown(str(said["error"]), 200))
    found = [
        rows.row(_key(source, value), {"source": source, "Data": value})
        for source, value in _payloads(said, "", 0)
        if source not in _SILENT
    ]
    if not found and not any(_plain(name) in ("data", *SOURCES) for name in said):
        return [rows.row("", said)]
    return rows.once(found)


def _plain(name: Any) -> str:
    return str(name).casefold().replace("_", "-")


def _payloads(node: Any, source: str, depth: int) -> Iterator[tuple[str, Any]]:
    """(source, payload) of every ``Data`` below `node`."""
    if depth > _DEPTH:
        return
    if isinstance(node, list):
        for item in node:
            yield from _payloads(item, source, depth + 1)
    if not isinstance(node, dict) or not node:
        return
    told = node.get("source")
    if isinstance(told, str) and _plain(told) in SOURCES:
        source = _plain(told)
    inner = next((node[name] for name in ("Data", "data") if name in node), None)
    if isinstance(inner, (dict, list)):
        yield from _payloads(inner, source, depth + 1)
    elif named := [
        (name, item)
        for name, item in node.items()
        if _plain(name) in SOURCES and isinstance(item, (dict, list))
    ]:
        for name, item in named:
            yield from _payloads(item, _plain(name), depth + 1)
    elif inner is None and "Data" not in node and "data" not in node and (depth or _known_by(node)):
        yield source or _known_by(node), node


def _known_by(node: dict[str, Any]) -> str:
    """Which source sends such fields; empty if none does."""

    def has(*names: str) -> bool:
        return all(name in node for name in names)

    event = str(node.get("eventId", ""))
    for source, shown_by in (
        ("tsunami", has("warningInfo")),
        ("weatheralarm", has("headline") or has("effective")),
        ("cenc-ir", has("oriTime") or has("uniEventId")),
        ("fssn-cmt", has("nodalPlane1")),
        ("jma", has("final") or has("cancel")),
        ("cwa-eew", has("locationDesc")),
        ("cwa", has("imageURI") or has("shakemapURI")),
        ("cea-pr", has("updates", "province")),
        ("cea", has("updates") and re.fullmatch(r"[0-9]{12}\.[0-9]+", event) is not None),
        ("cenc", has("eventId", "infoTypeName") or has("autoFlag")),
        ("usgs", "earthquake.usgs.gov" in str(node.get("url", ""))),
    ):
        if shown_by:
            return source
    return ""


def _key(source: str, value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    row = Fields(value, "Data", Notes())
    if source == "weatheralarm":
        return row.word("id")  # begins with a division code, so that a feed can tell whose it is
    event = row.word("eventId", "code", "uniEventId", "id")
    return f"{source or 'fan'}-{event}" if event else ""


def read(body: bytes, notes: Notes, reading: Reading) -> Alert:
    """One report or warning. Raises AlertError with the path of what is wrong."""
    whole = Fields(rows.document(body, "message"), "message", notes)
    row = whole.child("Data") if whole.has("Data") else whole
    value = whole.raw("Data") if whole.has("Data") else rows.document(body, "message")
    source = _plain(whole.text("source"))
    if source not in SOURCES:
        source = _known_by(value) if isinstance(value, dict) else ""
    if source == "weatheralarm":
        return _weather(row, notes, reading)
    if source == "tsunami":
        return _tsunami(row, notes)
    return _quake(row, source, notes)


# --- earthquakes ---------------------------------------------------------------------------------------


def _quake(row: Fields, source: str, notes: Notes) -> Alert:
    zone: tzinfo = rows.JAPAN if source == "jma" else BEIJING
    early = source in _EARLY or (not source and row.has("updates"))
    network = _EARLY.get(source) or _REPORTS.get(source)
    if network is None:
        network = Network("fan", "FAN Studio")
        notes.remark("message/source is not known; an unknown network, its times taken as Beijing's")
    if source == "cea-pr":
        # Two provinces number their events each for itself.
        province = row.text("province")
        network = Network(f"cea-pr-{province or 'unknown'}", f"{province}地震预警网")
    origin = row.time("shockTime", "oriTime", zone=zone)
    status = Status.ACTUAL
    if any(
        word in row.text("infoTypeName") + row.text("title")
        for word in ("訓練", "训练", "試験", "测试", "演练")
    ):
        status = Status.EXERCISE
    report = Report(
        network,
        row.word("eventId", "uniEventId", "id"),
        quakes.number_of(row, "updates") if early and source != "sa" else 1,
        row.optional_time("createTime", "updateTime", "gmtCreate", zone=zone),
        final=row.flag("final")
        or "正式" in row.text("infoTypeName")
        or row.text("infoTypeName") == "reviewed",
        cancelled=row.flag("cancel"),
        early=early,
        status=status,
    )
    chinese = source in ("cea", "cea-pr", "")
    where = row if not row.has("allMagnitudes") else row.child("allMagnitudes")
    quake = quakes.place(
        row,
        origin,
        report,
        intensity=quakes.csis(row, "epiIntensity") if chinese else None,
        magnitude=where.number("magnitude", "Mww", "M", low=-2, high=10.5),
    )
    told = [("source", source), ("infoTypeName", row.text("infoTypeName"))]
    if not chinese:
        told.append(("shindo", row.text("epiIntensity")))
    told.append(("areas", "、".join(row.words("locationDesc"))[:500]))
    return quakes.alert(
        row,
        report,
        quake,
        notes,
        format_name="fanstudio",
        parameters=tuple(pair for pair in told if pair[1]),
        web=row.text("url"),
    )


# --- weather -------------------------------------------------------------------------------------------


def _weather(row: Fields, notes: Notes, reading: Reading) -> Alert:
    identifier = row.word("id")
    if not identifier:
        raise AlertError(row.path("id"), "is missing, so nothing could ever end this warning")
    match = _ALARM.fullmatch(identifier)
    region, stamp, code, level = match.groups() if match else ("", "", "", "")
    kind, _, named = row.text("type").partition("_")
    headline = row.text("headline", "title")
    description = row.text("description")
    sent = row.time("effective")
    if sent is None and stamp:
        sent = rows.moment(stamp, row.path("id"), notes)
        notes.inferred.append("sent (the time inside id)")
    codes = weather.codes([(row.path("id"), region)], weather.national(identifier), reading, notes)
    lat, lon = row.number("latitude", low=-90, high=90), row.number("longitude", low=-180, high=180)
    alert = weather.warning(
        format_name="fanstudio",
        where="Data",
        notes=notes,
        identifier=weather.national(identifier) or identifier,
        sender=weather.issuer(headline, description),
        sent=rows.must(sent, row.path("effective"), "time"),
        headline=headline,
        description=description,
        areas=(Area(weather.issuer(headline), codes),),
        colours={"type": colour(named), "id": LEVELS.get(level or "")},
        code=code or (kind if re.fullmatch(r"1[0-9][A-Z][0-9]{2}", kind) else ""),
        effective=row.optional_time("effective"),
        pale=named == "white" or level in WHITE,
        parameters=(
            ("type", row.text("type")),
            ("point", f"{lat:g},{lon:g}" if lat is not None and lon is not None else ""),
        ),
    )
    if not codes:
        notes.remark("Data: no division code; the point is the middle of an area, not an area")
    return alert


# --- tsunami -------------------------------------------------------------------------------------------


def _tsunami(row: Fields, notes: Notes) -> Alert:
    """A bulletin of 自然资源部海啸预警中心. The areas are names of coasts: nobody's code. The earthquake
    behind it is told in words, not as `Info.quake`: it is no warning of shaking."""
    said, times, shock = row.child("warningInfo"), row.child("timeInfo"), row.child("shockInfo")
    details = row.child("details")
    code = row.word("code", "id")
    if not code:
        raise AlertError(row.path("code"), "is missing, so nothing could ever end this warning")
    level, title = said.text("level"), said.text("title")
    # Either may be the later one: alarmDate of an information was seen after its updateDate.
    given = [
        when
        for when in (times.optional_time("alarmDate"), times.optional_time("updateDate"))
        if when is not None
    ]
    batch = int(details.number("batch", low=1, high=1000) or row.number("batch", low=1, high=1000) or 1)
    lifted = "解除" in level or "取消" in level or "解除" in title
    msg_type = MsgType.CANCEL if lifted else MsgType.UPDATE if batch > 1 else MsgType.ALERT
    signal = None if lifted or level == "信息" else colour(level)
    signal = weather.agreed("warningInfo", notes, level=signal, title=colour_of((), (title,), "title", notes))
    if signal is None and not lifted and level != "信息":
        notes.remark(f"{said.path('level')} {shown(level)} is no colour; taken as none")
    origin = shock.optional_time("shockTime")
    coasts = [_coast(forecast) for forecast in row.children("forecasts")]
    place = said.text("subtitle") or shock.text("placeName")
    magnitude = shock.number("magnitude", low=-2, high=10.5)
    parts = [f"{said.text('orgUnit')}{title}：{place}"]
    if magnitude is not None:
        parts.append(f"发生{magnitude:g}级地震")
    text = "".join(parts) + "。" + "".join(f"{coast}。" for coast in coasts if coast)
    event = f"nmefc-{code}"
    return Alert(
        identifier=f"{event}-b{batch}",
        sender=said.text("orgUnit") or "自然资源部海啸预警中心",
        sent=rows.must(max(given, default=None), times.path("alarmDate"), "time"),
        status=Status.ACTUAL,
        msg_type=msg_type,
        scope=Scope.PUBLIC,
        infos=(
            Info(
                language="zh-CN",
                event="海啸",
                hazard="tsunami",
                severity=weather.SEVERITY[signal],
                urgency=Urgency.PAST if lifted else Urgency.IMMEDIATE if signal else Urgency.UNKNOWN,
                certainty=Certainty.LIKELY if signal else Certainty.UNKNOWN,
                colour=signal,
                headline=title or "海啸信息",
                description=text,
                onset=origin,
                web=details.text("htmlUrl"),
                areas=tuple(
                    Area(f"{forecast.text('province')}{forecast.text('forecastArea', 'forecastPoint')}")
                    for forecast in row.children("forecasts")
                )
                or (Area(place),),
                parameters=(("level", level),) if level else (),
            ),
        ),
        references=(Reference(event),),
        format="fanstudio",
    )


def _coast(forecast: Fields) -> str:
    where = f"{forecast.text('province')}{forecast.text('forecastArea', 'forecastPoint')}"
    told = [
        f"预计{forecast.text('estimatedArrivalTime')}到达" if forecast.text("estimatedArrivalTime") else "",
        f"最大波幅{forecast.text('maxWaveHeight')}厘米" if forecast.text("maxWaveHeight") else "",
        forecast.text("warningLevel"),
    ]
    return "，".join(part for part in (where, *told) if part)


LIST: Final = ListFormat("fanstudio", Trust.UNOFFICIAL, split)
