"""Sources that publish a list of what is in force, or a stream of rows: NMC, 12379, weather.com.cn, QWeather,
Caiyun, ICL, Wolfx, FAN Studio. A feed cuts the answer into rows, each of which is a document of its own.

Pure: bytes in, rows out. Which row is new, changed or gone is the feed's to see (`alerts.feeds`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from alerts.feed import Trust


@dataclass(frozen=True, slots=True)
class Row:
    """One warning of a list."""

    key: str
    """What the source calls it: the same in every answer for as long as it is the same warning."""
    version: str
    """Changes when what it says changes."""
    body: bytes
    """This row alone, as its format's reader takes it: the source's own bytes or JSON, nothing added."""
    link: str = ""
    """Where its detail lies, relative to the list's address; empty if the row is all there is."""


@dataclass(frozen=True, slots=True)
class ListFormat:
    """What a feed must know of a source to read it."""

    name: str
    """Key of `alerts.formats.FORMATS`, which reads a row's body."""
    trust: Trust
    split: Callable[[bytes], list[Row]]
    """The rows of one answer or message; none for a heartbeat. Raises AlertError for an error page."""
    with_detail: Callable[[Row, bytes], bytes] | None = None
    """The body of a row and its detail together, as the reader takes it."""
    gone: Callable[[bytes], bytes] | None = None
    """From a row's body, the document that says the source no longer lists it; None where absence means
    nothing (a stream)."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What the source demands of a request, e.g. a Referer."""


LISTS: dict[str, ListFormat] = {}
"""By the name that a feed's configuration gives; filled by `alerts.formats`."""
