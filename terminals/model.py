"""A terminal: one loudspeaker with a computer, in one village."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SIMULATED_PREFIX: Final = "sim-"
"""Reserved id class. A real controller enrols none of these, a sandbox controller only these."""


def is_simulated(terminal_id: str) -> bool:
    return terminal_id.startswith(SIMULATED_PREFIX)


@dataclass(frozen=True, slots=True)
class Terminal:
    id: str
    name: str
    village: str
    """Internal village key of the county pack; decides which groups it belongs to."""
    lat: float | None = None
    lon: float | None = None
    languages: tuple[str, ...] = ("zh",)
    """In the village's order."""
    codecs: tuple[str, ...] = ("mp3",)
    enrolled: bool = False
    speaker: str = "horn"
    """Class of its loudspeaker, a `tts.voice.Speaker`."""
