"""weather.com.cn 中国天气网: `grepalarm_cn.php` and `alarmMap`, and a script per warning (`feeds.md` §2.6).

A relay. Levels count the other way round from NMC's: 04 is red. The scripts lie on the first list's host, so
that list is the one to ask; that host wants a Referer and cuts who asks too fast. The outlines' datum is
unknown: `weather.area` says what becomes of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from alerts.feed import Trust
from alerts.formats import rows, weather
from alerts.formats.fields import Notes, colour, shown
from alerts.formats.lists import ListFormat, Row
from alerts.formats.rows import Fields
from alerts.model import Alert, AlertError, Colour, Reference

if TYPE_CHECKING:
    from alerts.formats import Reading

TYPES: Final = {
    "01": "台风", "02": "暴雨", "03": "暴雪", "04": "寒潮", "05": "大风", "06": "沙尘暴", "07": "高温",
    "08": "干旱", "09": "雷电", "10": "冰雹", "11": "霜冻", "12": "大雾", "13": "霾", "14": "道路结冰",
}  # fmt: skip
"""Also Caiyun's; 91 and above are free text."""
LEVELS: Final = {"01": Colour.BLUE, "02": Colour.YELLOW, "03": Colour.ORANGE, "04": Colour.RED}
WHITE: Final = ("05", "00")
"""05 here, 00 at Caiyun: the white signal (`feeds.md` §5.1)."""
_ZH: Final = {Colour.RED: "红色", Colour.ORANGE: "橙色", Colour.YELLOW: "黄色", Colour.BLUE: "蓝色"}
_FILE: Final = re.compile(r"([0-9]{6,9})-([0-9]{14})-(1[0-9][A-Z][0-9]{2}|[0-9]{2})([0-9]{2})\.html?")
_COLUMNS: Final = ("name", "file", "lon", "lat", "identifier", "references", "title", "shape")


def split(answer: bytes) -> list[Row]:
    """The rows of either list. Raises AlertError for an error page and an answer without its list."""
    said = rows.document(answer)
    if isinstance(said, dict) and isinstance(said.get("result"), dict):
        said = said["result"]
    found = rows.listed(said, "answer", "data")
    return rows.once(_row(value) for value in found)


def _row(value: Any) -> Row:
    if not isinstance(value, list):
        return rows.row("", value)
    row = _named(value, Notes())
    file = row.text("file")
    key = row.word("identifier") or file
    return rows.row(key, value, link=f"/alarm/webdata/{file}" if _FILE.fullmatch(file) else "")


def _named(value: Any, notes: Notes) -> Fields:
    if not isinstance(value, list):
        raise AlertError("row", "is no array of name, file, lon, lat, …")
    return Fields(dict(zip(_COLUMNS, value, strict=False)), "row", notes)


def with_detail(row: Row, detail: bytes) -> bytes:
    """The row and its script. Raises AlertError for an error page or the script of another warning."""
    value = rows.document(row.body, "row")
    said = rows.mapping(rows.document(detail, "detail"), "detail")
    listed = _named(value, Notes()).word("identifier")
    found = Fields(said, "detail", Notes()).word("identifier")
    if listed and found and listed != found:
        raise AlertError("detail/identifier", f"is {shown(found)}, but the list says {shown(listed)}")
    return rows.pack({"row": value, "detail": said})


def _read(value: Any, notes: Notes, reading: Reading) -> Alert:
    row, detail = Fields({}, "row", notes), Fields({}, "detail", notes)
    if isinstance(value, list):
        row = _named(value, notes)
    elif isinstance(value, dict) and "row" in value:
        row, detail = _named(value["row"], notes), Fields(value, "row", notes).child("detail")
    else:
        detail = Fields(value, "detail", notes)
    file = _FILE.fullmatch(row.text("file"))
    region, stamp, number, level = file.groups() if file else ("", "", "", "")
    number, level = detail.text("TYPECODE") or number, detail.text("LEVELCODE") or level
    identifier = detail.word("identifier") or row.word("identifier") or row.word("file")
    if not identifier:
        raise AlertError(detail.path("identifier"), "is missing, so nothing could ever end this warning")
    name = row.text("name") or "".join(dict.fromkeys(detail.text(part) for part in ("PROVINCE", "CITY")))
    content = detail.text("ISSUECONTENT")
    sent = detail.time("ISSUETIME")
    if sent is None:
        sent = weather.entered(identifier, row.path("identifier"), notes)
        sent = sent or (rows.moment(stamp, row.path("file"), notes) if stamp else None)
        notes.inferred.append("sent (the time inside the identifier or the file's name)")
    # Nine digits are a weather station's number (101…), six a division.
    explicit = (
        [(row.path("file"), region)]
        if len(region) == 6 and not weather.NATIONAL.fullmatch(identifier)
        else []
    )
    stations = tuple(
        ("weather.com.cn station", code)
        for code in dict.fromkeys((region, detail.text("EFFECT")))
        if len(code) == 9
    )
    shape = row.raw("shape")
    shape = shape.get("coordinates") if isinstance(shape, dict) else shape
    area = weather.area(
        name,
        weather.codes(explicit, identifier, reading, notes),
        "row/coordinates",
        notes,
        shape=shape,
        other=stations,
    )
    station = detail.text("STATIONNAME")
    return weather.warning(
        format_name="weathercn",
        where="row",
        notes=notes,
        identifier=identifier,
        sender=weather.issuer(content, station + "发布" if station else "", row.text("title")),
        sent=rows.must(sent, detail.path("ISSUETIME"), "time"),
        headline=_headline(row, detail, name, number, level, notes),
        description=content,
        areas=(area,),
        colours={
            "LEVELCODE": LEVELS.get(level),
            "SIGNALLEVEL": colour(detail.text("SIGNALLEVEL")),
        },
        code=number if len(number) == 5 else "",
        known_as=TYPES.get(number, "") or detail.text("SIGNALTYPE"),
        said_type=weather.msg_type_of(detail.text("msgType"), detail.path("msgType"), notes),
        references=tuple(
            Reference(word) for word in (detail.word("references") or row.word("references"),) if word
        ),
        effective=detail.optional_time("ISSUETIME"),
        expires=detail.end("RELIEVETIME"),
        pale=level in WHITE,
        parameters=(("point", _point(row)),),
    )


def _headline(row: Fields, detail: Fields, name: str, number: str, level: str, notes: Notes) -> str:
    given = detail.text("head") or row.text("title")
    if given:
        return given
    kind = detail.text("SIGNALTYPE") or TYPES.get(number, "")
    level_name = detail.text("SIGNALLEVEL") or (_ZH[LEVELS[level]] if level in LEVELS else "")
    if not (name and kind):
        return ""
    notes.inferred.append("row/title (from place, type and level; the list gives none)")
    return f"{name}发布{kind}{level_name}预警"


def _point(row: Fields) -> str:
    """The place that the map marks, as ``lat,lon``: within the area, not its extent."""
    lat, lon = row.number("lat", low=-90, high=90), row.number("lon", low=-180, high=180)
    return f"{lat:g},{lon:g}" if lat is not None and lon is not None else ""


read = rows.reader(_read)
LIST: Final = ListFormat(
    "weathercn",
    Trust.RELAY,
    split,
    with_detail=with_detail,
    gone=rows.gone,
    headers={"Referer": "http://www.weather.com.cn/alarm/index.shtml"},
)
