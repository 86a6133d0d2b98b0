"""ICL 成都高新减灾研究所, `v1/earlywarnings`: the latest early warnings, polled (`feeds.md` §2.10).

The public address is anonymous and unofficial, whoever answers there. A county whose seismological authority
has a contract with the institute declares ``icl-contract`` instead: the same rows, over the contract's own
authenticated address. Times are epoch milliseconds; which fields there are depends on `sourceType`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from alerts.feed import Trust
from alerts.formats import quakes, rows
from alerts.formats.fields import Notes, shown
from alerts.formats.lists import ListFormat, Row
from alerts.formats.quakes import Network, Report
from alerts.formats.rows import Fields
from alerts.model import Alert, AlertError

if TYPE_CHECKING:
    from alerts.formats import Reading

_ICL: Final = Network("icl", "成都高新减灾研究所")


def split(answer: bytes) -> list[Row]:
    """The latest report of each event. Raises AlertError for an error page, an error code and an answer
    without its list."""
    said = rows.document(answer)
    if isinstance(said, dict) and str(said.get("code", 0)) not in ("0", "200"):
        raise AlertError(
            "answer/code", f"is {shown(str(said['code']))}: {shown(str(said.get('message', '')))}"
        )
    if isinstance(said, dict) and "data" not in said and "eventId" in said:
        said = [said]
    return rows.once(_row(value) for value in rows.listed(said, "answer", "data"))


def _row(value: Any) -> Row:
    if not isinstance(value, dict):
        return rows.row("", value)
    row = Fields(value, "event", Notes())
    return rows.row(row.word("eventId", "id"), value, version=row.word("updates"))


def read(body: bytes, notes: Notes, reading: Reading) -> Alert:
    """One report. Raises AlertError with the path of what is wrong."""
    row = Fields(rows.document(body, "event"), "event", notes)
    report = Report(
        _ICL,
        row.word("eventId", "id"),
        quakes.number_of(row, "updates"),
        row.optional_time("updateAt"),
    )
    quake = quakes.place(row, row.time("startAt"), report, intensity=quakes.csis(row, "epiIntensity"))
    told = (("sourceType", row.text("sourceType")), ("stations", row.text("sations", "stations")))
    return quakes.alert(
        row, report, quake, notes, format_name="icl", parameters=tuple(pair for pair in told if pair[1])
    )


LIST: Final = ListFormat("icl", Trust.UNOFFICIAL, split)
CONTRACT: Final = replace(LIST, trust=Trust.OFFICIAL)
"""At most; the configuration says who it is and how that is proven."""
