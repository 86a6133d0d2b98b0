"""Wolfx Open API, socket and HTTP: early warnings and the lists of past earthquakes (`feeds.md` §2.10).

Private; calls itself no substitute for official warnings. It sends the last event again on connect, however
old: `sent` and the origin tell. No time has an offset: JMA's are Japanese, all others Beijing. Only JMA
cancels, and only JMA's intensities are shindo, which is another scale than ours.
"""

from __future__ import annotations

import re
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, Final

from alerts.feed import Trust
from alerts.formats import quakes, rows
from alerts.formats.fields import BEIJING, Notes, shown
from alerts.formats.lists import ListFormat, Row
from alerts.formats.quakes import Network, Report
from alerts.formats.rows import Fields
from alerts.model import Alert, AlertError, Status

if TYPE_CHECKING:
    from alerts.formats import Reading

_EARLY: Final[dict[str, tuple[Network, tzinfo]]] = {
    "cenc_eew": (quakes.CENC, BEIJING),
    "sc_eew": (Network("sc", "四川省地震局"), BEIJING),
    "fj_eew": (Network("fj", "福建省地震局"), BEIJING),
    "cq_eew": (Network("cq", "重庆市地震局"), BEIJING),
    "cwa_eew": (quakes.CWA, BEIJING),
    "jma_eew": (quakes.JMA, rows.JAPAN),
}
_LISTS: Final[dict[str, tuple[Network, tzinfo]]] = {
    "cenc_eqlist": (quakes.CATALOGUE, BEIJING),
    "jma_eqlist": (quakes.JMA, rows.JAPAN),
}
_ENTRY: Final = re.compile("No[0-9]{1,3}")


def split(answer: bytes) -> list[Row]:
    """The report, or the entries of an earthquake list, of one message; none for heartbeats and pongs.

    Raises AlertError for what is no message.
    """
    if answer.strip() in (b"ping", b"pong"):
        return []
    said = rows.mapping(rows.document(answer, "message"), "message")
    kind = str(said.get("type", ""))
    if kind in ("heartbeat", "pong", "ping"):
        return []
    entries = {name: entry for name, entry in said.items() if _ENTRY.fullmatch(name)}
    if not entries:
        return [rows.row(_key(said, kind), said)]
    # An entry's own `type` says automatic or reviewed; which list it is from stands outside.
    kind = kind or (
        "jma_eqlist"
        if any("shindo" in entry for entry in entries.values() if isinstance(entry, dict))
        else "cenc_eqlist"
    )
    return rows.once(
        rows.row(_key(entry, kind), {"type": kind, "entry": entry}) for entry in entries.values()
    )


def _key(value: Any, kind: str) -> str:
    if not isinstance(value, dict):
        return ""
    row = Fields(value, "message", Notes())
    event = _event(row)
    return f"{kind or 'wolfx'}-{event}" if event else ""


def read(body: bytes, notes: Notes, reading: Reading) -> Alert:
    """One report or one list entry. Raises AlertError with the path of what is wrong."""
    row = Fields(rows.document(body, "message"), "message", notes)
    kind = row.text("type")
    if kind in _LISTS:
        return _entry(row.child("entry") if row.has("entry") else row, kind, notes)
    if not kind:
        kind = "jma_eew" if row.has("Serial", "AnnouncedTime") else "wolfx"
        notes.remark(f"message/type is missing; read as {kind}")
    elif kind not in _EARLY:
        raise AlertError(
            "message/type", f"{shown(kind)} is not a kind that is known", ", ".join((*_EARLY, *_LISTS))
        )
    network, zone = _EARLY.get(kind, (Network("wolfx", "Wolfx"), BEIJING))
    origin = row.time("OriginTime", zone=zone)
    report = Report(
        network,
        _event(row),
        quakes.number_of(row, "ReportNum", "Serial"),
        row.optional_time("ReportTime", "AnnouncedTime", zone=zone),
        final=row.flag("isFinal"),
        cancelled=row.flag("isCancel"),
        status=_status(row),
    )
    if row.flag("isAssumption"):
        notes.remark("message: the hypocentre is assumed (isAssumption), place and depth are not measured")
    foreign = kind in ("jma_eew", "cwa_eew")
    quake = quakes.place(row, origin, report, intensity=None if foreign else quakes.csis(row, "MaxIntensity"))
    shindo = row.text("MaxIntensity") if foreign else ""
    return quakes.alert(
        row,
        report,
        quake,
        notes,
        format_name="wolfx",
        parameters=_given(("type", kind), ("shindo", shindo), ("areas", _areas(row))),
    )


def _event(row: Fields) -> str:
    """EventID; where a message has none (fj_eew), its origin time stands for the event: the same in all its
    reports."""
    event = row.word("EventID")
    if event or not (origin := re.sub("[^0-9]", "", row.text("OriginTime"))):
        return event
    row.notes.inferred.append("event (the origin time: the source gives no EventID)")
    return origin


def _status(row: Fields) -> Status:
    said = row.text("Issue.Status") + row.text("Title")
    if "試験" in said or "试验" in said:
        return Status.TEST
    return Status.EXERCISE if row.flag("isTraining") or "訓練" in said or "训练" in said else Status.ACTUAL


def _areas(row: Fields) -> str:
    """JMA's areas by name (Chiiki), for people: none of them is ours."""
    return "、".join(area.text("Chiiki") for area in row.children("WarnArea"))[:500]


def _entry(row: Fields, kind: str, notes: Notes) -> Alert:
    network, zone = _LISTS[kind]
    origin = row.time("time_full", "time", zone=zone)
    report = Report(
        network,
        row.word("EventID"),
        sent=row.optional_time("ReportTime", zone=zone),
        final=row.text("type") == "reviewed",
        early=False,
    )
    chinese = kind == "cenc_eqlist"
    quake = quakes.place(row, origin, report, intensity=quakes.csis(row, "intensity") if chinese else None)
    return quakes.alert(
        row,
        report,
        quake,
        notes,
        format_name="wolfx",
        parameters=_given(("type", kind), ("shindo", row.text("shindo")), ("review", row.text("type"))),
    )


def _given(*pairs: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in pairs if pair[1])


LIST: Final = ListFormat("wolfx", Trust.UNOFFICIAL, split)
