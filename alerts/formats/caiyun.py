"""Caiyun 彩云天气: v2.6 `realtime?alert=true` and v3 `alert/location`, `alert/all` (`feeds.md` §2.8).

Commercial, but its alertId is the national identifier. In v2.6 what has ended just vanishes. The point of
v2.6 is the middle of a division, not an extent; the outline of v3 has no named datum (`weather.area`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from alerts.feed import Trust
from alerts.formats import fields, rows, weather
from alerts.formats.fields import Notes, shown
from alerts.formats.lists import ListFormat, Row
from alerts.formats.rows import Fields
from alerts.formats.weathercn import LEVELS, TYPES, WHITE
from alerts.model import Alert, AlertError, Colour

if TYPE_CHECKING:
    from alerts.formats import Reading


def split(answer: bytes) -> list[Row]:
    """The warnings of any version. Raises AlertError for an error page, a bad status and an answer without
    its list."""
    said = rows.mapping(rows.document(answer), "answer")
    status = said.get("status", "ok")
    if str(status).casefold() not in ("ok", "1", "success"):
        raise AlertError("answer/status", f"is {shown(str(status))}: {shown(str(said.get('error', '')))}")
    inner: Any = said
    if isinstance(result := said.get("result"), dict):
        alert = rows.mapping(result.get("alert"), "answer/result/alert")
        if str(alert.get("status", "ok")).casefold() not in ("ok", "1"):
            raise AlertError("answer/result/alert/status", f"is {shown(str(alert.get('status')))}")
        inner = alert
    found = rows.listed(inner, "answer", "content", "alerts", "features", "data")
    return rows.once(_row(value) for value in found)


def _row(value: Any) -> Row:
    if not isinstance(value, dict):
        return rows.row("", value)
    return rows.row(_identifier(_flat(value, Notes())), value)


def _flat(value: Any, notes: Notes) -> Fields:
    """A GeoJSON feature's properties, or the row itself."""
    whole = Fields(value, "alert", notes)
    return whole.child("properties") if whole.has("properties") else whole


def _identifier(row: Fields) -> str:
    given = row.word("alertId", "id", "alert_id")
    return weather.national(given) or given


def _read(value: Any, notes: Notes, reading: Reading) -> Alert:
    row = _flat(value, notes)
    identifier = _identifier(row)
    if not identifier:
        raise AlertError(row.path("alertId"), "is missing, so nothing could ever end this warning")
    tongues = row.children("data")
    main = next((said for said in tongues if said.text("language_code").casefold().startswith("zh")), None)
    main = main or (tongues[0] if tongues else row)
    headline = main.text("title", "name") or row.text("title")
    description = main.text("text", "description") or row.text("description")
    number = row.text("code")
    if len(number) == 3:
        number = f"0{number}"  # written as a number: 501
    kind, level = (number[:2], number[2:]) if re.fullmatch(r"[0-9]{4}", number) else ("", "")
    status = row.text("status")
    if status not in ("", "预警中", "1", "2"):
        notes.remark(f"{row.path('status')} is {shown(status)}, not one of 预警中, 1, 2")
    sent = row.time("pubtimestamp", "publish_time", "pubtime")
    if sent is None:
        sent = weather.entered(identifier, row.path("alertId", "id"), notes)
        notes.inferred.append("sent (the time inside alertId)")
    name = row.text("location") or "".join(
        dict.fromkeys(row.text(part) for part in ("province", "city", "county"))
    )
    geometry = Fields(value, "alert", notes).child("geometry")
    given = [
        (row.path(part), text)
        for part in ("adcode", "area_code", "region_code")
        if (text := row.text(part)).isdigit()
    ][:1]
    stations = tuple(("weather.com.cn station", code) for code in (row.text("regionId"),) if len(code) == 9)
    area = weather.area(
        name,
        weather.codes(given, identifier, reading, notes),
        "alert/geometry",
        notes,
        shape=geometry.raw("coordinates"),
        other=stations,
    )
    alert = weather.warning(
        format_name="caiyun",
        where="alert",
        notes=notes,
        identifier=identifier,
        sender=weather.issuer(headline, description) or row.text("source"),
        sent=rows.must(sent, row.path("pubtimestamp", "publish_time"), "time"),
        headline=headline,
        description=description,
        areas=(area,),
        colours={"code": LEVELS.get(level), "color": _colour(row), "name": _named(main, notes)},
        code=_national(row.text("alert_type")),
        known_as=TYPES.get(kind, ""),
        said_type=None,
        pale=level in WHITE or fields.white(main.text("name")),
        web=main.text("details_url") if main is not row else "",
        parameters=(("point", _point(row)), ("alert_type", row.text("alert_type"))),
    )
    others = [said for said in tongues if said is not main and (said.text("title") or said.text("text"))]
    first = alert.infos[0]
    mother = (main.text("language_code") if main is not row else "") or weather.language(
        headline, description
    )
    return replace(
        alert,
        infos=(
            replace(first, language=_language(mother)),
            *(
                replace(
                    first,
                    language=_language(said.text("language_code")) or "und",
                    event=said.text("name") or said.text("title"),
                    headline=said.text("title"),
                    description=said.text("text"),
                    instruction="",
                    web=said.text("details_url"),
                )
                for said in others
            ),
        ),
    )


def _language(code: str) -> str:
    return {"zh": "zh-CN", "zh_cn": "zh-CN", "zh-hans": "zh-CN"}.get(code.casefold(), code.replace("_", "-"))


def _colour(row: Fields) -> Colour | None:
    """A colour that is a word. Mixtures of red, green and blue are drawn, not said, and count for nothing."""
    value = row.raw("color")
    if isinstance(value, str):
        return fields.colour(value)
    return fields.colour(row.child("color").text("code", "name")) if isinstance(value, dict) else None


def _named(main: Fields, notes: Notes) -> Colour | None:
    """The colour inside v3's `name` (暴雨红色预警); `level` beside it is unreliable (`feeds.md` §2.8)."""
    return fields.colour_of((), (main.text("name"),), main.path("name"), notes)


def _national(alert_type: str) -> str:
    """156110214 → 11B14: country, family 11, letter by number, kind (`feeds.md` §2.8)."""
    match = re.fullmatch(r"156([0-9]{2})0([1-9])([0-9]{2})", alert_type)
    return f"{match[1]}{chr(ord('A') + int(match[2]) - 1)}{match[3]}" if match else ""


def _point(row: Fields) -> str:
    match row.raw("latlon"):
        case [int() | float() as lat, int() | float() as lon] if -90 <= lat <= 90 and -180 <= lon <= 180:
            return f"{lat:g},{lon:g}"
        case _:
            return ""


read = rows.reader(_read)
LIST: Final = ListFormat("caiyun", Trust.UNOFFICIAL, split, gone=rows.gone)
