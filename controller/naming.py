"""A warning that names nobody by code or shape: what its text seems to name, for the operator to confirm.

Pure. It never widens what sounds: the words of `alerts.placenames` become a problem, which holds the
warning, with the command that would send it to exactly those places.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Final

from alerts import hazards, placenames
from alerts.area import Cut
from alerts.model import Alert
from alerts.regions import County
from config.counties.national import county_names

LONGEST_SAID: Final = 600
"""Characters of one text in the command; more is no line that anybody could check."""


def proposed(area: Cut, alert: Alert, county: County) -> Cut:
    """`area` with what the headline, the description and the areas' names of `alert` seem to mean here."""
    info = alert.main
    parts = [info.headline, info.description, *(part.description for part in info.areas)]
    text = "。".join(dict.fromkeys(part.strip() for part in parts if part.strip()))
    proposal = placenames.propose(text, county, county_names())
    if not (proposal.areas or proposal.unknown or proposal.flags):
        return area
    words = proposal.text
    if proposal.areas:
        words += f"; if that is right, send it instead: {command(alert, proposal.areas)}"
    return replace(area, problems=(*area.problems, words))


def command(alert: Alert, areas: tuple[str, ...]) -> str:
    """The line for the shell that sends the words of `alert` to `areas`.

    What is longer than `LONGEST_SAID` is left for the operator to say shorter.
    """
    info = alert.main
    known = info.hazard != hazards.UNKNOWN.key
    words = ["fenghuo", "alert", "send", "--template", info.hazard if known else "HAZARD"]
    if info.colour is not None:
        words += ["--colour", info.colour.value]
    for area in areas:
        words += ["--area", area]
    for option, said in (("--text", info.description), ("--action", info.instruction)):
        if 0 < len(line := " ".join(said.split())) <= LONGEST_SAID:
            words.append(f"{option}={line}")
    return shlex.join(words)
