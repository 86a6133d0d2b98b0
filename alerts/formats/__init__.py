"""Bytes → Alert. Which format it is, an XML document says itself; of JSON the feed declares it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from alerts.formats import cap, national, xml
from alerts.formats.fields import Notes
from alerts.model import Alert, AlertError, CodeScheme, MsgType


@dataclass(frozen=True, slots=True)
class Reading:
    """How a feed's documents are to be read: what its configuration and its adapter declare."""

    scheme: CodeScheme = CodeScheme.UNKNOWN
    """The list that its division codes are from."""
    format: str = ""
    """A name of `FORMATS`; empty for XML, which says itself what it is."""
    shapes_narrow: bool = False
    """Whether a shape beside codes narrows them. If not, both are meant (design §7: nothing is guessed)."""
    certificates: tuple[bytes, ...] = ()
    """Certificates (PEM) that may sign; one of them, or what it signed, must have made the signature."""
    must_be_signed: bool = False
    """Refuse what is not signed, or not by one of `certificates`."""


FORMATS: Final[dict[str, Callable[[bytes, Notes, Reading], Alert]]] = {}
"""Readers of what is not XML: (body, notes, reading) → Alert, or AlertError."""


def parse(body: bytes, reading: Reading = Reading(), *, now: datetime) -> Alert:
    """The warning in `body`, or an AlertError that says what is wrong and where.

    `now` (aware) only words remarks, e.g. that the message is from the future; nothing is judged by it
    here.
    """
    notes = Notes()
    reader = FORMATS[reading.format] if reading.format else _xml
    alert = reader(body, notes, reading)
    _compare(alert, now, notes)
    return replace(
        alert,
        raw_sha256=hashlib.sha256(body).hexdigest(),
        inferred=tuple(notes.inferred),
        remarks=tuple(notes.remarks),
    )


def _xml(body: bytes, notes: Notes, reading: Reading) -> Alert:
    root, remarks = xml.read(body)
    notes.remarks.extend(remarks)
    if root.name != "alert":
        raise AlertError(
            root.path,
            "is not a warning",
            "an <alert> of CAP or the national format is read; lists by the index feed",
        )
    if national.looks_national(root):
        return national.read(root, notes, scheme=reading.scheme)
    return cap.read(root, notes, scheme=reading.scheme)


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
