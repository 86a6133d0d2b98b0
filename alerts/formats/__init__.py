"""Bytes → Alert. Which format it is, the document itself says."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime

from alerts.formats import cap, national, xml
from alerts.formats.fields import Notes
from alerts.model import Alert, AlertError, CodeScheme, MsgType


def parse(body: bytes, *, scheme: CodeScheme = CodeScheme.UNKNOWN, now: datetime) -> Alert:
    """The warning in `body`, CAP or national, or an AlertError that says what is wrong and where.

    `scheme` is the list of division codes the feed is declared to use. `now` (aware) only words
    remarks, e.g. that the message is from the future; nothing is judged by it here.
    """
    root, remarks = xml.read(body)
    notes = Notes(list(remarks))
    if root.name != "alert":
        raise AlertError(
            root.path,
            "is not a warning",
            "an <alert> of CAP or the national format is read; lists by the index feed",
        )
    if national.looks_national(root):
        alert = national.read(root, notes, scheme=scheme)
    else:
        alert = cap.read(root, notes, scheme=scheme)
    _compare(alert, now, notes)
    return replace(
        alert,
        raw_sha256=hashlib.sha256(body).hexdigest(),
        inferred=tuple(notes.inferred),
        remarks=tuple(notes.remarks),
    )


def _compare(alert: Alert, now: datetime, notes: Notes) -> None:
    if alert.sent > now:
        notes.remark(f"sent {_span((alert.sent - now).total_seconds())} after our clock")
    if alert.msg_type not in (MsgType.ALERT, MsgType.UPDATE):
        return
    for number, info in enumerate(alert.infos):
        if info.expires is not None and info.expires <= now:
            notes.remark(f"alert/info[{number}]/expires is {_span((now - info.expires).total_seconds())} ago")


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
