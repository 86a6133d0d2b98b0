"""The options of a warning, shared by `alert`, `exercise` and `test`: they differ in the verb alone."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from typer import Argument, Option

from controller.cli import drawn
from controller.cli.outcome import Code, Failure
from controller.cli.words import w

MAX_FILE: Final = 2_000_000
"""Bytes; what the parsers take at most (`alerts.formats.xml.MAX_BYTES`)."""


Colour = Literal["red", "orange", "yellow", "blue"]


def _hazards(incomplete: str) -> list[tuple[str, str]]:
    from alerts.hazards import HAZARDS

    return [(h.key, h.zh) for h in HAZARDS if h.key.startswith(incomplete)]


File = Annotated[
    Path | None,
    Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, help=w("a_warning_file")),
]
Template = Annotated[
    str | None, Option("--template", metavar="HAZARD", autocompletion=_hazards, help=w("o_template"))
]
Shade = Annotated[Colour | None, Option("--colour", help=w("o_colour"))]
Areas = Annotated[list[str] | None, Option("--area", metavar="AREA", help=w("o_area"))]
Said = Annotated[str, Option("--text", metavar="TEXT", help=w("o_text"))]
Action = Annotated[str, Option("--action", metavar="TEXT", help=w("o_action"))]
Valid = Annotated[int | None, Option("--valid", metavar="MIN", min=1, max=1440, help=w("o_valid"))]
Codes = Annotated[Literal["mca", "nbs"] | None, Option("--codes", help=w("o_codes"))]
Circles = Annotated[list[str] | None, Option("--circle", metavar="LAT,LON,KM", help=w("o_circle"))]
Polygons = Annotated[
    list[Path] | None,
    Option("--polygon", metavar="FILE.geojson", exists=True, dir_okay=False, help=w("o_polygon")),
]
Datum = Annotated[Literal["wgs84", "cgcs2000", "gcj02"] | None, Option("--datum", help=w("o_drawn_datum"))]
Meant = Annotated[bool, Option("--meant", help=w("o_meant"))]


@dataclass(frozen=True, slots=True)
class Warned:
    """What was typed: a file, or the words of a template."""

    file: Path | None
    template: str | None
    colour: Colour | None
    areas: list[str] | None
    text: str
    action: str
    valid: int | None
    codes: Literal["mca", "nbs"] | None
    circles: list[str] | None = None
    polygons: list[Path] | None = None
    datum: Literal["wgs84", "cgcs2000", "gcj02"] | None = None
    meant: bool = False

    def body(self, kind: str) -> dict[str, Any]:
        """The API's `Send`. Raises Failure (usage) for a mixture, (refused) for a file that is too large."""
        codes = self.codes or "unknown"
        if (self.file is None) == (self.template is None):
            raise Failure(Code.USAGE, w("file_or_template"))
        if self.file is not None:
            extra = {
                "--colour": self.colour,
                "--area": self.areas,
                "--text": self.text,
                "--action": self.action,
                "--valid": self.valid,
                "--circle": self.circles,
                "--polygon": self.polygons,
                "--datum": self.datum,
            }
            given = [name for name, value in extra.items() if value]
            if given:
                raise Failure(Code.USAGE, w("not_with_file", options=", ".join(given)))
            document = {
                "name": self.file.name[:200],
                "body": base64.b64encode(read_warning(self.file)).decode(),
                "codes": codes,
            }
            return {"kind": kind, "document": document, **self._checked()}
        assert self.template is not None
        check_hazard(self.template)
        if not (self.areas or self.circles or self.polygons):
            raise Failure(Code.USAGE, w("area_missing"))
        if self.datum and not (self.circles or self.polygons):
            raise Failure(Code.USAGE, w("datum_alone"))
        compose: dict[str, Any] = {
            "hazard": self.template,
            "colour": self.colour,
            "areas": self.areas or [],
            "description": self.text,
            "instruction": self.action,
            "valid_minutes": self.valid,
            "codes": codes,
        }
        if self.circles or self.polygons:
            compose["circles"] = [drawn.circle(text) for text in self.circles or ()]
            compose["polygons"] = [one for file in self.polygons or () for one in drawn.polygons(file)]
            compose["datum"] = self.datum or "wgs84"
        return {"kind": kind, "compose": compose, **self._checked()}

    def _checked(self) -> dict[str, Any]:
        return {"meant": True} if self.meant else {}


def check_hazard(key: str) -> None:
    """Raises Failure (usage) for a key that is not in the catalogue, with all that are."""
    from difflib import get_close_matches

    from alerts.hazards import HAZARDS

    keys = [h.key for h in HAZARDS]
    if key in keys:
        return
    near = get_close_matches(key.lower(), keys, 1, 0.6)
    hint = w("did_you_mean", near=near[0]) if near else ""
    known = ", ".join(f"{h.key} {h.zh}" for h in HAZARDS)
    raise Failure(Code.USAGE, w("unknown_hazard", hazard=key, hint=hint), w("hazards", keys=known))


def read_warning(file: Path) -> bytes:
    """Raises Failure (refused) when it is too large, (usage) when it cannot be read."""
    try:
        with file.open("rb") as stream:
            body = stream.read(MAX_FILE + 1)
    except OSError as error:
        raise Failure(Code.USAGE, w("file_unreadable", file=file, why=error.strerror)) from None
    if len(body) > MAX_FILE:
        raise Failure(Code.REFUSED, w("file_too_large", file=file, limit=f"{MAX_FILE:,}"))
    return body
