"""NMC 中央气象台: `rest/findAlarm`, its pages, and the warning inside `rest/weather` (`feeds.md` §2.4).

A relay: the whole country's warnings in force as titles, the text on a page of its own. A warning that ends
just disappears. One answer may be one page of several: ask with ``pageNo={page}``, or what has moved to the
next page looks gone.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final

from alerts.feed import Trust
from alerts.formats import rows, weather
from alerts.formats.fields import Notes, colour, shown
from alerts.formats.lists import ListFormat, Row
from alerts.formats.rows import Fields
from alerts.model import Alert, AlertError, Area, Colour

if TYPE_CHECKING:
    from alerts.formats import Reading

_TYPES: Final = {
    "0002": "暴雨", "0003": "高温", "0004": "寒潮", "0005": "大雾", "0007": "大风", "0011": "道路结冰",
    "0012": "雷电", "0015": "雷雨大风", "0021": "地质灾害", "0024": "山洪", "0042": "雷暴大风",
}  # fmt: skip
_COLOURS: Final = {"001": Colour.RED, "002": Colour.ORANGE, "003": Colour.YELLOW, "004": Colour.BLUE}
_PIC: Final = re.compile(r"p([0-9]{4})([0-9]{3})\.")
_MAX_PAGE: Final = 2 * 2**20


def split(answer: bytes) -> list[Row]:
    """The rows of `findAlarm`, those of `provinceAlarms` included, or the one warning of `rest/weather`.

    Raises AlertError for an error page, an error code and an answer without its list.
    """
    said = rows.mapping(rows.document(answer), "answer")
    if str(said.get("code", 0)) not in ("0", "200"):
        raise AlertError(
            "answer/code", f"is {shown(str(said.get('code')))}: {shown(str(said.get('msg', '')))}"
        )
    data = rows.mapping(said.get("data"), "answer/data")
    if isinstance(real := data.get("real"), dict):
        warning = Fields(rows.mapping(real.get("warn"), "answer/data/real/warn"), "warn", Notes())
        return [_row(real["warn"])] if warning.text("alert", "issuecontent") else []
    page = data.get("page")
    found = rows.listed(page, "answer/data/page", "list")
    provinces = data.get("provinceAlarms")
    return rows.once(_row(value) for value in [*found, *(provinces if isinstance(provinces, list) else [])])


def _row(value: Any) -> Row:
    if not isinstance(value, dict):
        return rows.row("", value)
    row = Fields(value, "row", Notes())
    key = _identifier(row)
    # The address is made anew: the source's may name any host.
    return rows.row(key, value, link=f"/publish/alarm/{key}.html" if weather.NATIONAL.fullmatch(key) else "")


def _identifier(row: Fields) -> str:
    given = row.word("alertid", "identifier")
    return given or weather.national(row.text("url"))


class _Page(HTMLParser):
    """The texts of the elements `title`, `pubtime` and `alarmtext`; ids repeat, tags are left open."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[tuple[str, str]] = []
        self._inside: tuple[str, str] | None = None
        """Id and tag of the element that is being read."""
        self._depth = 0
        self._parts: list[str] = []
        self._code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._inside is None:
            name = dict(attrs).get("id") or ""
            if name in ("title", "pubtime", "alarmtext"):
                self._inside, self._depth, self._parts = (name, tag), 1, []
            return
        self._code = tag in ("script", "style")
        if tag == self._inside[1]:
            self._depth += 1
        elif tag in ("br", "p", "li"):
            self._parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if self._inside is None:
            return
        self._code = False
        if tag == self._inside[1]:
            self._depth -= 1
            if not self._depth:
                self._end()
        elif tag == "p":
            self._parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._code:
            self._parts.append(data)

    def close(self) -> None:
        """Also ends an element that the page never ends."""
        super().close()
        if self._inside is not None:
            self._end()

    def _end(self) -> None:
        assert self._inside is not None
        lines = (" ".join(part.split()) for part in "".join(self._parts).split("\n"))
        self.texts.append((self._inside[0], "\n".join(line for line in lines if line)))
        self._inside = None


def with_detail(row: Row, detail: bytes) -> bytes:
    """The row and what its page says: title, times, texts, without markup, navigation and scripts.

    Raises AlertError for a page without a warning's text, or of another warning.
    """
    if len(detail) > _MAX_PAGE:
        raise AlertError("detail", f"has {len(detail):,} bytes; the limit is {_MAX_PAGE:,}")
    page = _Page()
    page.feed(detail.decode("utf-8-sig", "replace"))
    page.close()
    texts = [text for name, text in page.texts if name == "alarmtext" and text]
    if not texts:
        raise AlertError("detail", "has no element alarmtext: no page of a warning")
    title = next(("".join(text.split()) for name, text in page.texts if name == "title"), "")
    value = rows.document(row.body, "row")
    listed = Fields(value, "row", Notes()).text("title", "alert")
    if title and listed and title != "".join(listed.split()):
        raise AlertError("detail/title", f"is {shown(title)}, but the list says {shown(listed)}")
    said = {
        "title": title,
        "pubtime": [text for name, text in page.texts if name == "pubtime"],
        "alarmtext": texts,
    }
    return rows.pack({"row": value, "detail": said})


def _read(value: Any, notes: Notes, reading: Reading) -> Alert:
    whole = Fields(value, "row", notes)
    row, detail = (whole.child("row"), whole.child("detail")) if whole.has("row") else (whole, None)
    identifier = _identifier(row)
    if not identifier:
        raise AlertError(row.path("alertid"), "is missing, so nothing could ever end this warning")
    title = (detail.text("title") if detail else "") or row.text("title", "alert")
    texts = detail.words("alarmtext") if detail else row.words("issuecontent", "content")
    guide = [text for text in texts[1:] if text]
    published = next(
        (
            rows.moment(match[0], "detail/pubtime", notes)
            for text in (detail.words("pubtime") if detail else [])
            if (match := re.search(r"[0-9]{4}年[0-9]{1,2}月[0-9]{1,2}日[0-9]{1,2}时[0-9]{1,2}分", text))
        ),
        None,
    )
    sent = row.time("issuetime", "pubtime") or published
    if sent is None:
        sent = weather.entered(identifier, "row/alertid", notes)
        notes.inferred.append("sent (the time inside alertid)")
    pic = _PIC.search(row.text("pic", "pic2"))
    kind, level = pic.groups() if pic else ("", "")
    sender = weather.issuer(title, texts[0] if texts else "")
    name = row.text("province") + row.text("city") or weather.seat(sender)
    return weather.warning(
        format_name="nmc",
        where="row",
        notes=notes,
        identifier=identifier,
        sender=sender,
        sent=rows.must(sent, row.path("issuetime"), "time"),
        headline=title,
        description=texts[0] if texts else "",
        instruction="\n".join(guide) or row.text("fmeans"),
        areas=(Area(name, weather.codes((), identifier, reading, notes)),),
        colours={"pic": _COLOURS.get(level), "signallevel": colour(row.text("signallevel"))},
        known_as=_TYPES.get(kind, "") or row.text("signaltype"),
        effective=published,
        web=row.text("url"),
    )


read = rows.reader(_read)
LIST: Final = ListFormat(
    "nmc",
    Trust.RELAY,
    split,
    with_detail=with_detail,
    gone=rows.gone,
    headers={
        "Accept": "application/json, text/html;q=0.9",
        "User-Agent": "Mozilla/5.0 (compatible; fenghuo)",
    },
)
