"""Small alerts, documents and a county for the tests of `alerts`; nothing here is product."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alerts.model import (
    Alert,
    Area,
    CodeScheme,
    Colour,
    Info,
    MsgType,
    Polygon,
    Reference,
    RegionCode,
    Scope,
    Status,
)
from alerts.regions import County, Meaning, Township, Village

T0 = datetime(2026, 7, 15, 6, 0, tzinfo=UTC)
FIXTURES = Path(__file__).parent / "fixtures"
SHARED = Path(__file__).parents[2] / "shared" / "data"

# 舟曲 as it is (a part of it), and 三江镇/漩口镇's collision from 汶川, the same shape with codes of ours.
COUNTY = County(
    key="zhouqu",
    code="623023",
    name="舟曲县",
    province="甘肃省",
    prefecture="甘南藏族自治州",
    townships=(
        Township("t-chengguan", "城关镇", "623023100", "623023100"),
        Township("t-dachuan", "大川镇", "623023101", "623023101"),
        Township("t-lijie", "立节镇", "623023103", "623023103", ("立节乡",)),
        Township("t-qugaona", "曲告纳镇", "623023105", "623023105", ("曲告纳乡",)),
        Township("t-nanyu", "南峪乡", "623023209", "623023208"),
        Township("t-baleng", "八楞乡", "623023211", "623023210"),
        # Made up: the two lists swap one code between two current townships.
        Township("t-san", "三江镇", "623023306", "623023307"),
        Township("t-xuan", "漩口镇", "623023304", "623023306"),
        Township("t-farm", "良种场", None, "623023400"),
    ),
    villages=(
        Village("v1", "西城社区", "623023100001", "t-chengguan"),
        Village("v2", "庙沟村", "623023100200", "t-chengguan"),
        Village("v3", "大川村", "623023101200", "t-dachuan"),
        Village("v4", "石门坪村", "623023101201", "t-dachuan"),
        Village("v5", "阳山村", "623023103200", "t-lijie"),
        Village("v6", "阳山村", "623023105200", "t-qugaona"),
        Village("v7", "南一村", "623023208200", "t-nanyu"),
        Village("v8", "花园沟村", "623023210200", "t-baleng"),
        Village("v9", "草坪村", "623023307200", "t-san"),
        Village("v10", "瓦窑村", "623023306200", "t-xuan"),
        Village("v11", "场部社区", "623023400001", "t-farm"),
    ),
    meanings=(Meaning("623023211", "former", "武坪乡"), Meaning("623023202", "former", "大峪乡")),
    neighbours=("宕昌县", "迭部县", "武都区"),
)
ALL = frozenset(village.key for village in COUNTY.villages)
HERE = frozenset({"v3", "v4"})


def box(south: float, west: float, north: float, east: float) -> Polygon:
    """A rectangle in degrees, closed."""
    return Polygon(((south, west), (south, east), (north, east), (north, west), (south, west)))


def alert(identifier: str = "A", **changes: Any) -> Alert:
    """An actual public orange rainstorm for 大川镇, sent at T0, 6 h long. Info fields may be given too."""
    refs = changes.pop("references", ())
    sent = changes.pop("sent", T0)
    info_fields = {
        "language": "zh-CN",
        "event": "暴雨",
        "hazard": "rainstorm",
        "colour": Colour.ORANGE,
        "headline": "舟曲县气象台发布暴雨橙色预警",
        "instruction": "向高处转移",
        "expires": sent + timedelta(hours=6),
        "areas": (Area("大川镇", (RegionCode(CodeScheme.MCA, "623023101"),)),),
    }
    for name in list(changes):
        if name in Info.__dataclass_fields__:
            info_fields[name] = changes.pop(name)
    fields: dict[str, Any] = {
        "sender": "weather",
        "status": Status.ACTUAL,
        "msg_type": MsgType.ALERT,
        "scope": Scope.PUBLIC,
        "infos": (Info(**info_fields),),
        **changes,
    }
    return Alert(
        identifier=identifier,
        sent=sent,
        references=tuple(Reference(reference) for reference in refs),
        **fields,
    )


def cap_text() -> str:
    """The orange rainstorm fixture, for tests that spoil one thing in it."""
    return (FIXTURES / "cap" / "rainstorm-orange.cap.xml").read_text(encoding="utf-8")


def national_text() -> str:
    """The red debris-flow fixture in the national format."""
    return (FIXTURES / "national" / "debris-flow-red.xml").read_text(encoding="utf-8")
