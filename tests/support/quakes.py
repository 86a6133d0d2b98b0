"""Earthquakes for tests: reports of one that far from 舟曲县, and the county's villages in a line."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from alerts.model import Alert, Area, Info, MsgType, Quake, Reference, Scope, Status
from controller.desk import Closed, Held, Released
from support.county import CONFIG, County

SEISMIC = CONFIG.replace(
    "release:\n",
    "earthquake: {threshold: 5, magnitude_floor: 4.5, zone: qingzang}\n"
    "release:\n  - {feed: bureau, hazard: earthquake, action: auto}\n",
)


def report(
    magnitude: float, *, km_north: float = 0.0, number: int = 1, areas: tuple[Area, ...] = ()
) -> Alert:
    """A report of an earthquake that far north of 舟曲县's seat, eight seconds after its origin."""
    now = datetime.now(UTC)
    quake = Quake(
        now - timedelta(seconds=8),
        33.784 + km_north / 111.2,
        104.363,
        magnitude,
        10.0,
        "甘肃甘南州舟曲县",
        number,
    )
    info = Info("zh-CN", "地震预警", "earthquake", headline=f"{magnitude}级地震", quake=quake, areas=areas)
    first = (Reference("eew-1"),) if number > 1 else ()
    return Alert(
        f"eew-{number}", "eew", now, Status.ACTUAL, MsgType.ALERT if number == 1 else MsgType.UPDATE,
        Scope.PUBLIC, (info,), first,
    )  # fmt: skip


async def taken(county: County, alert: Alert) -> Released | Held | Closed:
    now = datetime.now(UTC)
    judged = county.desk.judging.judge(alert, await county.desk.events.known(), now)
    number = await county.store.journal("bureau", "a", b"{}", f"{id(alert):064x}", 1)
    result = await county.desk.take(alert, judged, feed="bureau", doubts=(), document=number)
    assert isinstance(result, Released | Held | Closed)
    return result


def positioned(county: County) -> None:
    """Gives the pack's townships seats on a line going north, 20 km apart, where it has none."""
    judging = county.desk.judging
    here = judging._county
    townships = tuple(
        replace(t, position=(33.784 + n * 20 / 111.2, 104.363)) for n, t in enumerate(here.townships)
    )
    villages = tuple(replace(v, position=None) for v in here.villages)
    judging._county = replace(here, townships=townships, villages=villages)
