"""What we make of a document, field by field: for `fenghuo alert lint` and for people who write feeds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from alerts import hazards
from alerts.area import Cut, cut
from alerts.formats import Reading, parse
from alerts.lifecycle import Refusal, sounds_as
from alerts.model import Alert, AlertError, CodeScheme
from alerts.regions import County


@dataclass(frozen=True, slots=True)
class LintReport:
    """`alert` or `refusal` is set, never both."""

    alert: Alert | None
    refusal: AlertError | None
    fields: tuple[tuple[str, str], ...] = ()
    """(name, value as we understood it), in the order an operator reads."""
    cut: Cut | None = None
    """Who would hear it, when a county was given."""

    @property
    def ok(self) -> bool:
        """Whether the document would be taken in. It may still be held, or name nobody here."""
        return self.alert is not None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was odd but harmless."""
        return self.alert.remarks if self.alert else ()

    @property
    def inferred(self) -> tuple[str, ...]:
        """What the document did not say and we derived."""
        return self.alert.inferred if self.alert else ()


def lint(
    body: bytes, *, scheme: CodeScheme = CodeScheme.UNKNOWN, now: datetime, county: County | None = None
) -> LintReport:
    """Read `body` as a feed with code list `scheme` would, at `now`, for `county` if given."""
    try:
        alert = parse(body, Reading(scheme), now=now)
    except AlertError as error:
        return LintReport(None, error)
    areas = tuple(area for info in alert.infos for area in info.areas)
    return LintReport(alert, None, tuple(_fields(alert)), cut(areas, county) if county else None)


def _fields(alert: Alert) -> list[tuple[str, str]]:
    sounds = sounds_as(alert)
    rows = [
        ("format", alert.format),
        ("identifier", alert.identifier),
        ("sender", alert.sender),
        ("sent", alert.sent.isoformat()),
        ("status", alert.status),
        ("msgType", alert.msg_type),
        ("scope", alert.scope),
        ("references", ", ".join(reference.identifier for reference in alert.references)),
        ("event key", alert.event_key),
        ("sounds as", f"nothing: {sounds.reason}" if isinstance(sounds, Refusal) else sounds),
    ]
    for number, info in enumerate(alert.infos):
        hazard = hazards.by_key(info.hazard)
        rows += [
            (f"info[{number}] language", info.language),
            (f"info[{number}] event", info.event),
            (f"info[{number}] hazard", f"{info.hazard} ({hazard.zh}, {hazard.lane} lane)"),
            (f"info[{number}] colour", info.colour or "none"),
            (f"info[{number}] severity", f"{info.severity}, {info.urgency}, {info.certainty}"),
            (f"info[{number}] effective", info.effective.isoformat() if info.effective else ""),
            (f"info[{number}] onset", info.onset.isoformat() if info.onset else ""),
            (f"info[{number}] expires", info.expires.isoformat() if info.expires else ""),
            (f"info[{number}] headline", info.headline),
            (f"info[{number}] description", info.description),
            (f"info[{number}] instruction", info.instruction),
        ]
        for place, area in enumerate(info.areas):
            codes = ", ".join(str(code) for code in area.codes)
            shapes = f"{len(area.polygons)} polygon(s), {len(area.circles)} circle(s)"
            rows.append(
                (f"info[{number}] area[{place}]", f"{area.description}: {codes or 'no codes'}; {shapes}")
            )
    return [(name, str(value)) for name, value in rows if value]
