"""Planning: an alert becomes a plan: who hears what, how loud, how often, until when, and why. Pure.

A plan is what an operator sees before release and what a broadcast is made from. What speaks against it
is in `problems`; nothing here widens, drops or guesses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from alerts import fatigue, hazards
from alerts.area import Cut, unusual_share
from alerts.fatigue import Form, Verdict
from alerts.lifecycle import OPERATOR
from alerts.model import Alert, Area, Colour, Quake, Severity
from alerts.regions import County
from config.schema import BroadcastOptions, Fatigue, Issuer, Targeting
from terminals import broadcast
from terminals.broadcast import PATIENCE_MS, Broadcast, Kind, Lane, Priority
from terminals.fleet import cover, select
from terminals.model import Terminal
from tts.script import ScriptRequest
from tts.voice import signal_for

Stage = Literal["first", "update", "continuation", "cancel"]

# An all-clear is heard where the warning was heard; after this it says nothing useful any more.
ALL_CLEAR_LIFETIME: Final = timedelta(hours=1)
# A terminal keeps counters for at most a day (design §5), so no command may live longer.
LONGEST: Final = timedelta(hours=24)
MOST_STANDING: Final = 32
"""So many a terminal keeps at most (docs/wire.md §5.3)."""
LONGEST_STANDING: Final = timedelta(days=400)
"""The same of a standing message (docs/wire.md §5.3)."""


@dataclass(frozen=True, slots=True)
class Portion:
    """The loudspeakers of a plan that hear it in one form, and why in that one."""

    form: Form
    reason: str
    villages: tuple[str, ...]
    terminals: tuple[str, ...]
    groups: tuple[str, ...]


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
    news: bool = True
    """Whether it says more than what was in force; if not, `portions` says who hears it how."""
    falls: bool = False
    """Whether the colour is milder than that of the message in force."""
    ends: tuple[str, ...] = ()
    """Villages for which the event is over: the message in force named them, this one does not."""
    portions: tuple[Portion, ...] = ()
    """Empty: everybody hears it in full."""
    severity: Severity = Severity.UNKNOWN
    narrow: bool = False
    """Whether shapes narrowed codes, as its feed declares; for `controller.why`."""
    ways: tuple[tuple[str, str], ...] = ()
    """(village key, by which way it is in), as `alerts.area.Cut.ways`."""
    quake: Quake | None = None
    """The earthquake that terminals count down to."""
    silent: bool = False
    """A test of everything but the sound."""
    standing: bool = False
    """Kept at the terminals; sounds only when a hand there wants it."""
    also: tuple[Plan, ...] = ()
    """What the same message says of other places here, milder ones after worse; nobody hears two of them."""

    @property
    def level(self) -> int:
        """1 (worst) to 5: by colour; without one by its source's severity, 5 where that is unknown as well.
        Orders at the loudspeaker and changes nothing that is said."""
        return self.colour.rank if self.colour else list(Severity).index(self.severity) + 1


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
    targeting: Targeting,
    narrow: bool = False,
    meant: bool = False,
) -> Plan:
    """The plan for one alert or update, for the part of its area that lies in the county. `terminals`: best a
    `Fleet`. `narrow`: how `area` was cut. `meant`: the operator has said that an unusual share of the county
    is meant."""
    info = alert.main
    hazard = hazards.by_key(info.hazard)
    selection = select(terminals, area, county)
    villages = frozenset(selection.villages)
    damage = () if stage == "cancel" else alert.damage  # to end a warning, all of it need not be read
    problems = [*damage, *area.problems]
    places = places_of(villages, county)
    if not villages:
        problems.append(f"nothing of the area lies in {county.name}: it names {named(info.areas)}")
    elif not selection.terminals:
        problems.append("no enrolled terminal in these villages")
    checked = ""
    if stage in ("first", "update") and info.quake is None:  # an earthquake is judged by its magnitude only
        drawn = alert.format == OPERATOR and area.target is not None
        limit = targeting.limit(info.hazard, drawn=drawn)
        many = unusual_share(len(villages), county, limit, "a drawn area" if drawn else hazard.zh)
        if many and meant:
            checked = f"{many}: said to be meant"
        elif many:
            problems.append(many)
    expires = info.expires or alert.sent + hazard.default_lifetime
    if area.until is not None:
        expires = min(expires, area.until)
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
        severity=info.severity,
        quake=info.quake,
        lane=Lane.FAST if hazard.lane == "fast" else Lane.NORMAL,
        issuer_level=issuer_level(alert, county, issuer),
        headline=info.headline or info.event,
        villages=selection.villages,
        places=places,
        terminals=selection.terminals,
        groups=selection.groups,
        silent_villages=selection.silent_villages,
        script=script,
        expires=expires,
        repeats=settings.repeats.of(info.colour),
        volume=settings.volume.of(info.colour),
        why=(
            *area.lines,
            *selection.lines,
            *((checked,) if checked else ()),
            *(f"cut off: {text}" for text in area.outside),
        ),
        problems=tuple(problems),
        narrow=narrow,
        ways=(*area.ways, *((key, "terminal") for key in selection.villages if key not in area.village_keys)),
    )


def beside(plan: Plan, others: Sequence[Plan]) -> Plan:
    """`plan` and what its message says of other places here, worst first. Who is in several hears the worst.
    Such a message is always heard in full: which part of it is news to whom is not told apart."""
    taken = set(plan.terminals)
    also = []
    for other in others:
        left = tuple(t for t in other.terminals if t not in taken)
        taken.update(left)
        whole = len(left) == len(other.terminals)
        also.append(replace(other, terminals=left, groups=other.groups if whole else ()))
    if not also:
        return plan
    lines = [
        f"it also says {other.headline!r} of {'、'.join(other.places) or 'nobody here'}: "
        f"{len(other.terminals)} loudspeakers hear that instead"
        for other in also
    ]
    problems = [*plan.problems, *(text for other in also for text in other.problems)]
    return replace(
        plan,
        also=tuple(also),
        news=True,
        why=(*plan.why, *lines, *(text for other in also for text in other.why)),
        problems=tuple(dict.fromkeys(problems)),
    )


def replacing(plan: Plan, broadcasts: Sequence[str]) -> Plan:
    """`plan`, all of it in place of these broadcasts of its event."""
    gone = tuple(broadcasts)
    return replace(plan, replaces=gone, also=tuple(replace(other, replaces=gone) for other in plan.also))


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
        severity=original.severity,
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


def divide(
    plan: Plan,
    verdicts: Mapping[str, Verdict],
    heard: Set[str],
    *,
    terminals: Iterable[Terminal],
    county: County,
) -> Plan:
    """`plan` with its terminals divided by the verdict on their village, each form and reason in `why`.

    A terminal that has not sounded the event itself (`heard` are those that have) gets it in full, whatever
    its village has heard.
    """
    known = {t.id: t for t in terminals}
    members: dict[tuple[Form, str], list[str]] = {}
    for terminal in plan.terminals:
        verdict = verdicts[known[terminal].village]
        if verdict.form is not Form.FULL and terminal not in heard:
            verdict = Verdict(Form.FULL, "these loudspeakers have not sounded it yet")
        members.setdefault((verdict.form, verdict.reason), []).append(terminal)
    why = plan.why[: len(plan.why) - len(plan.portions)]  # of an earlier division, if there was one
    portions = []
    for (form, reason), ids in sorted(members.items(), key=lambda item: (item[0][0].rank, item[0][1])):
        villages = {known[terminal].village for terminal in ids}
        whole = {t.id for t in known.values() if t.enrolled and t.village in villages} == set(ids)
        groups = cover(villages, county) if plan.groups and whole else ()
        portions.append(Portion(form, reason, tuple(sorted(villages)), tuple(ids), groups))
    lines = [f"{p.form} in {'、'.join(places_of(set(p.villages), county))}: {p.reason}" for p in portions]
    return replace(plan, portions=tuple(portions), why=(*why, *lines))


def sounding(plan: Plan, options: Fatigue) -> list[Plan]:
    """What of `plan` is heard: one plan for each form that sounds, the full one first, then what is said of
    other places. Empty if none does."""
    also = [part for other in plan.also for part in sounding(other, options)]
    if not plan.portions:
        return [plan, *also] if plan.terminals else also
    out = []
    for form in (Form.FULL, Form.SHORT):
        chosen = [portion for portion in plan.portions if portion.form is form]
        if not chosen:
            continue
        part = replace(
            plan,
            villages=tuple(sorted({v for p in chosen for v in p.villages})),
            terminals=tuple(sorted(t for p in chosen for t in p.terminals)),
            groups=tuple(g for p in chosen for g in p.groups) if all(p.groups for p in chosen) else (),
            silent_villages=plan.silent_villages if form is Form.FULL else (),
            portions=(),
        )
        out.append(part if form is Form.FULL else shortened(part, options))
    return out + also


def shortened(plan: Plan, options: Fatigue) -> Plan:
    """As those hear it who know the rest: one sentence, once, at lower volume."""
    stage: Stage = plan.stage if plan.stage == "first" else "update" if plan.falls else "continuation"
    return replace(
        plan,
        stage=stage,
        script=replace(
            plan.script, stage=plan.script.stage if plan.script.stage == "downgrade" else stage, short=True
        ),
        repeats=1,
        volume=max(1, plan.volume * options.short_volume // 100),
        # What still says the same is not cut short for it; it waits its turn.
        replaces=plan.replaces if plan.falls else (),
    )


def message_of(plan: Plan, event: str, at: datetime) -> fatigue.Message:
    """What `alerts.fatigue` judges of a plan; `event` is the key that its messages share."""
    return fatigue.Message(
        at,
        event,
        plan.hazard,
        plan.colour,
        plan.news,
        fast=plan.lane is Lane.FAST or plan.kind is not Kind.ACTUAL,
        extreme=plan.severity is Severity.EXTREME,
        first=plan.stage == "first",
        instruction=fatigue.words(plan.script.instruction),
    )


def to_broadcast(plan: Plan, broadcast_id: str, alert_id: str, *, wall: datetime, wire_ms: int) -> Broadcast:
    """The plan as an immutable broadcast, its window on the wire clock. Its variants come with the voice."""
    left = min(plan.expires - wall, LONGEST_STANDING if plan.standing else LONGEST)
    return Broadcast(
        id=broadcast_id,
        alert_id=alert_id,
        event_key=plan.event_key,
        kind=plan.kind,
        priority=Priority.of(plan.kind, plan.lane, plan.level, plan.issuer_level),
        terminals=plan.terminals,
        groups=plan.groups,
        variants=(),
        repeats=plan.repeats,
        volume=plan.volume,
        expires_ms=wire_ms + int(left.total_seconds() * 1000),
        replaces=plan.replaces,
        hazard=plan.hazard,
        signal=signal_for(plan.script.kind, plan.colour, plan.script.stage, plan.hazard),
        patience_ms=0 if plan.lane is Lane.FAST else PATIENCE_MS,
        silent=plan.silent,
        standing=plan.standing,
    )


def moved(plan: Broadcast, ms: int) -> Broadcast:
    """`plan` when the wire clock has jumped ahead by `ms`: nothing of it ends or happens sooner for that. But
    a standing message ends when its terminals know it to."""
    if plan.standing or not ms:
        return plan
    quake = None if plan.quake is None else replace(plan.quake, origin_ms=plan.quake.origin_ms + ms)
    play_at = plan.play_at + ms if plan.play_at else 0
    return replace(plan, expires_ms=plan.expires_ms + ms, quake=quake, play_at=play_at)


def standing(plan: Plan, until: datetime, kept: Mapping[str, int]) -> Plan:
    """`plan` as a message that terminals keep until then, for a hand to sound: nothing is said of now, nobody
    knows when that will be. `kept`: how many each terminal keeps already."""
    full = sum(kept.get(t, 0) >= MOST_STANDING for t in plan.terminals)
    problems = plan.problems
    if full:
        why = f"{full} of these loudspeakers keep {MOST_STANDING} standing messages already; drop one"
        problems = (*problems, why)
    return replace(
        plan,
        standing=True,
        expires=until,
        quake=None,
        script=replace(plan.script, standing=True, onset=None, expires=None),
        problems=problems,
    )


def counted_down(plan: Plan, countdown: str, offset_ms: int) -> broadcast.Quake | None:
    """The earthquake of `plan` as terminals count down to it with the held set `countdown`; None where there
    is none. `offset_ms`: how far the wire clock is ahead of the time in which its origin is told. A depth
    that is not told is 10 km, the usual one in China (as `alerts.intensity`)."""
    quake = plan.quake
    if quake is None or not countdown:
        return None
    origin = int(quake.origin.timestamp() * 1000) + offset_ms
    depth = 10.0 if quake.depth_km is None else min(max(quake.depth_km, 0.0), 750.0)
    return broadcast.Quake(origin, quake.lat, quake.lon, depth, quake.magnitude, countdown)


def likely(plan: Plan, ahead_from: str, which: Sequence[str]) -> tuple[ScriptRequest, ...]:
    """What a released warning may become, as it would be said in its villages: each worse colour as an update
    of it and as a first word, and the order to leave. Nothing below the colour `ahead_from`, for other
    hazards than `which`, or for what is not real."""
    colours = [colour.value for colour in Colour]
    if plan.kind is not Kind.ACTUAL or plan.colour is None or ahead_from not in colours:
        return ()
    listed = "*" in which or plan.hazard in which
    if not listed or plan.stage == "cancel" or plan.colour.rank > Colour(ahead_from).rank:
        return ()
    bare = replace(plan.script, onset=None, description="", instruction="", short=False, was=None)
    worse = sorted((c for c in Colour if c.rank < plan.colour.rank), key=lambda c: -c.rank)
    found = [replace(bare, colour=c, stage=stage) for c in worse for stage in ("update", "first")]
    found.append(replace(bare, hazard="evacuation", colour=Colour.RED, stage="first"))
    return tuple(found)


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


def named(areas: Sequence[Area]) -> str:
    """The areas in their own words and codes, for people; the first three."""

    def one(area: Area) -> str:
        codes = ", ".join(code.digits for code in area.codes[:5]) + (" …" if len(area.codes) > 5 else "")
        counts = {
            "polygon": len(area.polygons),
            "circle": len(area.circles),
            "line": len(area.lines),
            "foreign code": len(area.other_codes),
        }
        shapes = (f"{count} {name}{'s' * (count > 1)}" for name, count in counts.items() if count)
        said = "; ".join(filter(None, (codes, *shapes)))
        return " ".join(filter(None, (area.description[:60], f"({said})" if said else "")))

    given = [text for area in areas[:3] if (text := one(area))]
    more = f" and {len(areas) - 3} more" if len(areas) > 3 else ""
    return (" / ".join(given) or "no place") + more


def spoken_issuer(alert: Alert, own: Issuer) -> str:
    """The sender where it is a Chinese name; an address or a code is not spoken, our own office is."""
    name = next((v for k, v in alert.main.parameters if k == "senderName" and _is_chinese(v)), alert.sender)
    return name if _is_chinese(name) else own.name


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= c <= "\u9fff" for c in text)
