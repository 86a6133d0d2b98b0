"""12379.cn, the public list of the national warning platform (`feeds.md` §2.5), in its three spellings:
``alertData`` with texts, the same as a JavaScript variable, and rows of alertid, alarmtype, alarmlevel.

A relay. It lists 解除 as rows of their own, which name neither the warning they end nor its identifier.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from alerts.feed import Trust
from alerts.formats import rows, weather
from alerts.formats.fields import Notes, colour
from alerts.formats.lists import ListFormat, Row
from alerts.formats.rows import Fields
from alerts.model import Alert, AlertError, Area, Colour, Reference

if TYPE_CHECKING:
    from alerts.formats import Reading

_PERSONAL: Final = rows.PERSONAL | {"sendername"}
"""In the national platform's own fields senderName is the duty officer (`feeds.md` §2.3)."""
_RANKS: Final = {
    **dict.fromkeys(("1", "01", "I", "Ⅰ", "一"), Colour.RED),
    **dict.fromkeys(("2", "02", "II", "Ⅱ", "二"), Colour.ORANGE),
    **dict.fromkeys(("3", "03", "III", "Ⅲ", "三"), Colour.YELLOW),
    **dict.fromkeys(("4", "04", "IV", "Ⅳ", "四"), Colour.BLUE),
}
"""The national level: 1 is the worst (`feeds.md` §5.1)."""


def split(answer: bytes) -> list[Row]:
    """The rows of any of its lists. Raises AlertError for an error page and an answer without a list."""
    said = rows.document(answer)
    if isinstance(said, dict) and isinstance(said.get("data"), dict):
        said = said["data"]
    found = rows.listed(said, "answer", "alertData", "alarmData", "data", "list", "rows")
    return rows.once(_row(value) for value in found)


def _row(value: Any) -> Row:
    key = _identifier(Fields(value, "row", Notes())) if isinstance(value, dict) else ""
    return rows.row(key, value, personal=_PERSONAL)


def _identifier(row: Fields) -> str:
    return row.word("identifier", "alertid", "alarmid", "id")


def _read(value: Any, notes: Notes, reading: Reading) -> Alert:
    row = Fields(value, "row", notes)
    identifier = _identifier(row)
    if not identifier:
        raise AlertError(row.path("identifier"), "is missing, so nothing could ever end this warning")
    headline = row.text("headline", "title", "head")
    description = row.text("description", "content", "alarmcontent", "issuecontent")
    kind, level = (
        row.text("alarmtype", "eventType", "signaltype"),
        row.text("alarmlevel", "severity", "signallevel"),
    )
    code = kind if re.fullmatch(r"1[0-9][A-Z][0-9]{2}", kind) else ""
    sent = row.time("sendTime", "issuetime", "pubtime", "effective")
    if sent is None:
        sent = weather.entered(identifier, row.path("identifier"), notes)
        notes.inferred.append("sent (the time inside the identifier)")
    name = "".join(
        dict.fromkeys(row.text(part) for part in ("provincename", "cityname", "countyname", "areaDesc"))
    )
    explicit = [(row.path(part), row.text(part)) for part in ("areacode", "adcode", "geocode")]
    references = [Reference(word) for word in row.text("references").replace(",", " ").split()[:1]]
    if not headline and kind and not code:
        headline = f"{name}{kind}{level}预警"
        notes.inferred.append("row/headline (from place, type and level)")
    return weather.warning(
        format_name="12379",
        where="row",
        notes=notes,
        identifier=identifier,
        sender=weather.issuer(headline, description) or row.text("sender"),
        sent=rows.must(sent, row.path("sendTime"), "time"),
        headline=headline,
        description=description,
        instruction=row.text("instruction", "defense"),
        areas=(Area(name, weather.codes(explicit, identifier, reading, notes)),),
        colours={"level": colour(level) or _RANKS.get(level.removesuffix("级").upper())},
        code=code,
        known_as="" if code else kind,
        said_type=weather.msg_type_of(row.text("msgType"), row.path("msgType"), notes),
        references=tuple(references),
        effective=row.optional_time("effective"),
        expires=row.end("expires", "relievetime"),
        parameters=(("eventType", code),),
    )


read = rows.reader(_read)
LIST: Final = ListFormat("12379", Trust.RELAY, split)
