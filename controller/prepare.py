"""What a county will probably have to say, spoken before it must be: `fenghuo tts prepare`.

A whole message names its issuer and time, so it cannot be made ahead. Its lead can: what, where and what to
do (docs/decisions/0009). With the lead in the library the first sound of a warning needs no voice at all.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from alerts import hazards
from alerts.model import Colour
from alerts.regions import County
from controller.voicing import Voicing, VoicingError
from terminals.broadcast import Part
from tts.airtime import Profile
from tts.library import ClipRecord
from tts.script import Script, ScriptRequest
from tts.voice import Kind, Stage

LIKELY: Final = (
    # Those that kill within minutes, then nine in ten of what a county hears (`feeds.md` §2.2).
    "evacuation", "dam_break", "flash_flood", "debris_flow", "geological", "rainstorm", "flood", "wildfire",
    "thunderstorm_gale", "hail", "gale", "lightning", "heat", "cold_wave", "snowstorm", "road_ice", "fog",
    "forest_fire_risk", "sandstorm", "frost", "drought",
)  # fmt: skip
STAGES: Final[tuple[Stage, ...]] = ("first", "update", "cancel", "continuation")
PATIENCE_S: Final = 600.0
"""Nobody waits for what is made ahead."""
_UNCOLOURED: Final = frozenset({"evacuation", "dam_break", "wildfire"})
_ANY_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""No lead names a time; `leads` has a test for that."""


@dataclass(frozen=True, slots=True)
class Likely:
    """One message that may have to be said."""

    request: ScriptRequest
    profile: Profile


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one: its clip, or why there is none."""

    likely: Likely
    clip: ClipRecord | None
    known: bool
    """Whether it was in the library already."""
    problem: str = ""


def leads(
    county: County,
    issuer: str,
    *,
    keys: Sequence[str] = LIKELY,
    colours: Sequence[Colour] = tuple(Colour),
    stages: Sequence[Stage] = STAGES,
    kinds: Sequence[Kind] = ("actual",),
    profiles: Sequence[Profile] = (Profile(),),
) -> Iterator[Likely]:
    """Every hazard × colour × stage × place (each township, and the county), the worst and the first first:
    who stops it early has what matters most. Raises KeyError for an unknown hazard."""
    places = [(county.name,), *((township.name,) for township in county.townships)]
    for kind in kinds:
        for stage in stages:
            for colour in colours:
                for key in keys:
                    hazard = hazards.by_key(key)
                    if key in _UNCOLOURED or key in hazards.NOTICES:
                        if colour is not colours[0]:
                            continue
                        shown = None
                    else:
                        shown = colour
                    for place in places:
                        request = ScriptRequest(
                            kind=kind,
                            stage=stage,
                            hazard=hazard.key,
                            colour=shown,
                            issuer=issuer,
                            issued=_ANY_TIME,
                            places=place,
                        )
                        for profile in profiles:
                            yield Likely(request, profile)


async def make(voicing: Voicing, wanted: Iterable[Likely]) -> AsyncGenerator[Made, None]:
    """Speaks what is not in the library yet, one after the other, and listens to it once where `voicing` does
    that. Killed at any time it goes on there: a clip is in the library whole, or not at all."""
    for one in wanted:
        profiles = {one.profile: 1}
        try:
            clip = known = await voicing.lead_kept(one.request, profiles)
            if clip is None or voicing.to_be_heard(clip):
                clip = await voicing.clip(one.request, Part.LEAD, profiles=profiles, patience_s=PATIENCE_S)
        except VoicingError as error:
            yield Made(one, None, known=False, problem=str(error))
        else:
            yield Made(one, clip, known=known is not None)


def lead(voicing: Voicing, one: Likely) -> Script:
    """What its Mandarin lead says."""
    return voicing.script(one.request).brief()
