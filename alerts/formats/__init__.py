"""Bytes → Alert. Which format it is, an XML document says itself; of JSON the feed declares it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from alerts.formats import (
    caiyun,
    cap,
    cma12379,
    fanstudio,
    fields,
    icl,
    national,
    nmc,
    qweather,
    rows,
    weather,
    weathercn,
    wolfx,
    xml,
)
from alerts.formats.fields import Notes
from alerts.formats.lists import LISTS
from alerts.formats.xml import Element
from alerts.model import Alert, AlertError, CodeScheme, Info, MsgType, Scope, Status


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


FORMATS: Final[dict[str, Callable[[bytes, Notes, Reading], Alert]]] = {
    "nmc": nmc.read,
    "12379": cma12379.read,
    "weathercn": weathercn.read,
    "qweather": qweather.read,
    "caiyun": caiyun.read,
    "wolfx": wolfx.read,
    "fanstudio": fanstudio.read,
    "icl": icl.read,
}
"""Readers of what is not XML: (body, notes, reading) → Alert, or AlertError."""

LISTS.update(
    {
        source.LIST.name: source.LIST
        for source in (nmc, cma12379, weathercn, qweather, caiyun, wolfx, fanstudio, icl)
    }
)
LISTS["icl-contract"] = icl.CONTRACT


def parse(body: bytes, reading: Reading = Reading(), *, now: datetime) -> Alert:
    """The warning in `body`, or an AlertError that says what is wrong and where.

    `now` (aware) words remarks, e.g. that the message is from the future, and must lie in the validity of
    the certificate that signed; nothing else is judged by it here.
    """
    notes = Notes()
    if reading.format:
        if reading.must_be_signed:
            raise AlertError(
                "document", f"{reading.format} cannot be signed, and this feed's warnings must be"
            )
        alert = FORMATS[reading.format](body, notes, reading)
    else:
        alert = _xml(body, notes, reading, now)
    _compare(alert, now, notes)
    _doubt(alert, notes)
    return replace(
        alert,
        raw_sha256=hashlib.sha256(body).hexdigest(),
        inferred=(*alert.inferred, *notes.inferred),
        remarks=(*alert.remarks, *notes.remarks),
        damage=(*alert.damage, *notes.damage),
    )


def _xml(body: bytes, notes: Notes, reading: Reading, now: datetime) -> Alert:
    root, remarks = xml.read(body)
    notes.remarks.extend(remarks)
    if root.name != "alert":
        raise AlertError(
            root.path,
            "is not a warning",
            "an <alert> of CAP or the national format is read; lists by the index feed",
        )
    root = _verified(root, body, notes, reading, now)
    if national.looks_national(root):
        return national.read(root, notes, scheme=reading.scheme)
    return cap.read(root, notes, scheme=reading.scheme)


def _verified(root: Element, body: bytes, notes: Notes, reading: Reading, now: datetime) -> Element:
    """What may be read of the document: where certificates are configured, the signed bytes and nothing else.
    A signature that does not hold refuses the document where the feed must sign, else it is damage."""
    signed = any(element.name == "Signature" for element in root.walk())
    if not reading.certificates:
        if reading.must_be_signed:
            raise AlertError(
                "alert/Signature", "cannot be verified: this feed has no certificates", "configure them"
            )
        if signed:
            notes.remark("alert/Signature is not verified: this feed has no certificates")
        return root
    if not signed and not reading.must_be_signed:
        notes.remark("alert is not signed")
        return root
    from alerts.formats import signature  # 0.1 s to import, and few feeds sign

    try:
        inside, who = signature.verified(body, signature.pinned(reading.certificates), now)
    except AlertError as error:
        if reading.must_be_signed:
            raise
        notes.damaged(error)
        return root
    notes.remark(f"alert/Signature holds: {who}")
    return xml.read(inside)[0]


def _compare(alert: Alert, now: datetime, notes: Notes) -> None:
    if alert.sent > now:
        notes.remark(f"sent {_span((alert.sent - now).total_seconds())} after our clock")
    if alert.msg_type not in (MsgType.ALERT, MsgType.UPDATE):
        return
    for number, info in enumerate(alert.infos):
        if info.expires is not None and info.expires <= now:
            notes.remark(f"alert/info[{number}]/expires is {_span((now - info.expires).total_seconds())} ago")


_REHEARSAL: Final = re.compile(
    "测试|測試|试验|試驗|演练|演練|演习|演習|模拟|訓練|\\b(?:test|exercise|drill)\\b", re.IGNORECASE
)


def _doubt(alert: Alert, notes: Notes) -> None:
    """Words that contradict the labels of what could sound are damage: a headline that calls itself a test, a
    Chinese one that lifts the warning, and the white signal, which warns nobody (`feeds.md` §5.1, §5.3)."""
    warns = alert.msg_type in (MsgType.ALERT, MsgType.UPDATE)
    if not (warns and alert.status is Status.ACTUAL and alert.scope is Scope.PUBLIC):
        return
    chinese = any(rows.chinese(info.headline + info.description) for info in alert.infos)
    for number, info in enumerate(alert.infos):
        where = f"alert/info[{number}]/headline"
        if found := _REHEARSAL.search(f"{info.event} {info.headline}"[:500]):
            notes.damaged(f"{where}: says {found[0]}, but status is Actual")
        if fields.white(info.headline):
            notes.damaged(f"{where}: is a white signal, which informs and warns nobody")
        if chinese and _ends(info):
            notes.damaged(f"{where}: says that the warning is over, but msgType is {alert.msg_type}")


def _ends(info: Info) -> bool:
    """Whether the words end the warning: the headline, or the text unless the headline says it goes on."""
    titled, told = weather.verb(info.headline), weather.verb(info.description)
    return titled is MsgType.CANCEL or (told is MsgType.CANCEL and titled is not MsgType.UPDATE)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
