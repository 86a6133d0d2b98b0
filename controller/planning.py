"""Planning: an alert becomes a plan: who hears what, how loud, how often, until when, and why. Pure.

A plan is what an operator sees before release and what a broadcast is made from. What speaks against it
is in `problems`; nothing here widens, drops or guesses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from alerts import hazards
from alerts.area import Cut
from alerts.model import Alert, Colour
from alerts.regions import County
from config.schema import BroadcastOptions, Issuer
from terminals.broadcast import Broadcast, Kind, Lane, Priority
from terminals.fleet import select
from terminals.model import Terminal
from tts.script import ScriptRequest

Stage = Literal["first", "update", "continuation", "cancel"]

NO_COLOUR: Final = 5
# An all-clear is heard where the warning was heard; after this it says nothing useful any more.
ALL_CLEAR_LIFETIME: Final = timedelta(hours=1)
# A terminal keeps counters for at most a day (design §5), so no command may live longer.
LONGEST: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Plan:
    kind: Kind
    stage: Stage
    event_key: str
    hazard: str
    colour: Colour | None
    lane: Lane
    issuer_level: int
    headline: str
    villages: tuple[str, ...]
    places: tuple[str, ...]
    terminals: tuple[str, ...]
    groups: tuple[str, ...]
    silent_villages: tuple[str, ...]
    script: ScriptRequest
    expires: datetime
    repeats: int
    volume: int
    why: tuple[str, ...]
    problems: tuple[str, ...]
    replaces: tuple[str, ...] = ()
    """Broadcasts of the same event that this one supersedes."""


def plan_alert(
    alert: Alert,
    kind: Kind,
    stage: Stage,
    area: Cut,
    *,
    county: County,
    terminals: Iterable[Terminal],
    settings: BroadcastOptions,
    issuer: Issuer,
) -> Plan:
    """The plan for one alert or update, for the part of its area that lies in the county."""
    info = alert.main
    hazard = hazards.by_key(info.hazard)
    selection = select(terminals, area.village_keys, county)
    problems = list(area.problems)
    places = places_of(area.village_keys, county)
    if area.empty:
        problems.append(f"nothing of the area lies in {county.name}")
    elif not selection.terminals:
        problems.append("no enrolled terminal in these villages")
    expires = info.expires or alert.sent + hazard.default_lifetime
    script = ScriptRequest(
        kind=kind.value,
        stage=stage,
        hazard=info.hazard,
        colour=info.colour,
        issuer=spoken_issuer(alert, issuer),
        issued=alert.sent,
        places=places,
        onset=info.onset,
        expires=expires,
        description=info.description,
        instruction=info.instruction,
    )
    return Plan(
        kind=kind,
        stage=stage,
        event_key=alert.event_key,
        hazard=info.hazard,
        colour=info.colour,
        lane=Lane.FAST if hazard.lane == "fast" else Lane.NORMAL,
        issuer_level=issuer_level(alert, county, issuer),
        headline=info.headline or info.event,
        villages=tuple(sorted(area.village_keys)),
        places=places,
        terminals=selection.terminals,
        groups=selection.groups,
        silent_villages=selection.silent_villages,
        script=script,
        expires=expires,
        repeats=settings.repeats.of(info.colour),
        volume=settings.volume.of(info.colour),
        why=(*area.lines, *(f"cut off: {text}" for text in area.outside)),
        problems=tuple(problems),
    )


def plan_all_clear(
    original: Plan,
    heard: Sequence[str],
    *,
    now: datetime,
    issuer: Issuer,
    replaces: Sequence[str],
    reason: str,
) -> Plan:
    """The all-clear of a cancelled warning, only for the terminals `heard`, which had sounded."""
    script = ScriptRequest(
        kind=original.kind.value,
        stage="cancel",
        hazard=original.hazard,
        colour=original.colour,
        issuer=issuer.name,
        issued=now,
        places=original.places,
    )
    return Plan(
        kind=original.kind,
        stage="cancel",
        event_key=original.event_key,
        hazard=original.hazard,
        colour=original.colour,
        lane=Lane.NORMAL,
        issuer_level=original.issuer_level,
        headline=f"解除：{original.headline}",
        villages=original.villages,
        places=original.places,
        terminals=tuple(sorted(heard)),
        groups=(),
        silent_villages=(),
        script=script,
        expires=now + ALL_CLEAR_LIFETIME,
        repeats=original.repeats,
        volume=original.volume,
        why=(f"解除：{reason or '由值班员'}", f"{len(heard)} terminals had sounded"),
        problems=(),
        replaces=tuple(replaces),
    )


def to_broadcast(plan: Plan, broadcast_id: str, alert_id: str, *, wall: datetime, wire_ms: int) -> Broadcast:
    """The plan as an immutable broadcast, its window on the wire clock. Its variants come with the voice."""
    left = min(plan.expires - wall, LONGEST)
    return Broadcast(
        id=broadcast_id,
        alert_id=alert_id,
        event_key=plan.event_key,
        kind=plan.kind,
        priority=Priority.of(
            plan.kind, plan.lane, plan.colour.rank if plan.colour else NO_COLOUR, plan.issuer_level
        ),
        terminals=plan.terminals,
        groups=plan.groups,
        variants=(),
        repeats=plan.repeats,
        volume=plan.volume,
        expires_ms=wire_ms + int(left.total_seconds() * 1000),
        replaces=plan.replaces,
    )


def issuer_level(alert: Alert, county: County, own: Issuer) -> int:
    """1 nation … 4 county, from the national identifier's six-digit area, else our own level."""
    digits = alert.identifier[:6]
    if not digits.isdigit() or len(alert.identifier) < 14:
        return own.level.rank
    if digits == county.code:
        return 4
    if digits == "000000":
        return 1
    if digits[2:] == "0000":
        return 2
    return 3 if digits[4:] == "00" else 4


def places_of(villages: Set[str], county: County) -> tuple[str, ...]:
    """What a listener would call it: the county, whole townships, and single villages with their township."""
    if villages and villages >= {v.key for v in county.villages}:
        return (county.name,)
    places: list[str] = []
    for township in county.townships:
        own = county.villages_of(township.key)
        if own and own <= villages:
            places.append(township.name)
        else:
            inside = [county.village(v).name for v in sorted(own & villages)]
            if inside:
                places.append(township.name + "、".join(inside))
    return tuple(places)


def spoken_issuer(alert: Alert, own: Issuer) -> str:
    """The sender where it is a Chinese name; an address or a code is not spoken, our own office is."""
    name = next((v for k, v in alert.main.parameters if k == "senderName" and _is_chinese(v)), alert.sender)
    return name if _is_chinese(name) else own.name


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= c <= "\u9fff" for c in text)
