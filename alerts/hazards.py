"""The hazard catalogue: national code, names, aliases, default lifetime, lane.

Rows and codes: `feeds.md` §5.4 and its event crosswalk (《国家应急平台体系信息资源分类与编码规范》 family
1xLnn). Lifetimes when a document gives no end: `feeds.md` §6 rule 5 (thunder, hail, lightning, rain 6 h;
fog 12 h; wind, heat, typhoon, geology, floods 24 h); what that rule does not name takes the national
format's own default of 24 h, except where the comment in the row says why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final


class Lane(StrEnum):
    """Fast: seconds count, terminals already hold the clip. Normal: composed and synthesised."""

    FAST = "fast"
    NORMAL = "normal"


@dataclass(frozen=True, slots=True)
class Hazard:
    """One kind of danger. `code` is the national event type, empty where the list has none."""

    key: str
    code: str
    zh: str
    en: str
    default_lifetime: timedelta
    aliases: tuple[str, ...] = ()
    """Other names met in feeds, Chinese or English; matched as parts of a longer text."""
    lane: Lane = Lane.NORMAL


@dataclass(frozen=True, slots=True)
class Found:
    """What a name and a code were taken for; `remark` is empty unless something was odd."""

    hazard: Hazard
    remark: str = ""


def _row(
    key: str, code: str, zh: str, en: str, hours: float, *aliases: str, lane: Lane = Lane.NORMAL
) -> Hazard:
    return Hazard(key, code, zh, en, timedelta(hours=hours), aliases, lane)


UNKNOWN: Final = _row("unknown", "", "突发事件", "emergency", 24)

HAZARDS: Final[tuple[Hazard, ...]] = (
    _row("typhoon", "11B01", "台风", "typhoon", 24, "颱風", "热带气旋", "tropical cyclone", "hurricane"),
    _row("tornado", "11B02", "龙卷风", "tornado", 6, "龙卷"),
    _row(
        "rainstorm", "11B03", "暴雨", "rainstorm", 6,
        "强降雨", "强降水", "短时强降雨", "短历时强降水", "大暴雨", "heavy rain", "torrential rain",
    ),
    _row(
        "snowstorm", "11B04", "暴雪", "snowstorm", 24, "雪灾", "大雪", "snow storm", "blizzard", "heavy snow",
    ),
    _row("cold_wave", "11B05", "寒潮", "cold wave", 24, "强降温"),
    _row("gale", "11B06", "大风", "gale", 24, "strong wind", "high wind"),
    _row(
        "sandstorm", "11B07", "沙尘暴", "sandstorm", 24, "沙尘", "sand storm", "dust storm", "sand and dust",
    ),
    _row("heat", "11B09", "高温", "high temperature", 24, "heat wave", "heatwave", "热浪"),
    _row("lightning", "11B14", "雷电", "lightning", 6),
    _row("hail", "11B15", "冰雹", "hail", 6, "hailstorm"),
    _row("frost", "11B16", "霜冻", "frost", 24),
    _row("fog", "11B17", "大雾", "heavy fog", 12, "浓雾", "dense fog", "fog"),
    _row("haze", "11B19", "霾", "haze", 24, "smog"),
    _row("thunder_gust", "11B20", "雷雨大风", "thunder gust", 6),
    _row("road_ice", "11B21", "道路结冰", "road icing", 24, "道路冰雪", "icy road", "road ice"),
    _row("drought", "11B22", "干旱", "drought", 24, "气象干旱"),
    _row("forest_fire_risk", "11B25", "森林火险", "forest fire risk", 24, "forest fire danger"),
    _row("grassland_fire_risk", "11B26", "草原火险", "grassland fire risk", 24, "grassland fire danger"),
    _row(
        "wildland_fire_risk", "11B41", "森林（草原）火险", "wildland fire risk", 24,
        "森林草原火险", "森林(草原)火险",
    ),
    _row(
        "convection", "11B31", "强对流", "severe convection", 6, "雷暴", "strong convection", "thunderstorm",
    ),
    _row("waterlogging", "11B36", "渍涝风险", "waterlogging", 24, "渍涝", "内涝", "urban flooding"),
    _row(
        "geological", "11B37", "地质灾害", "geological disaster", 24,
        "地质灾害气象风险", "山体滑坡", "滑坡", "崩塌", "geological hazard", "landslide",
    ),
    _row("thunderstorm_gale", "11B58", "雷暴大风", "thunderstorm gale", 6, "thunderstorm and gale"),
    _row("flood", "11A01", "洪水", "flood", 24, "洪涝", "中小河流洪水", "river flood"),
    _row("flash_flood", "", "山洪", "flash flood", 24, "山洪灾害", "山洪灾害气象风险"),
    _row("debris_flow", "11D02", "泥石流", "debris flow", 24, "mudslide", "mud-rock flow"),
    # Water from a broken dam passes a county within hours; a longer alarm would hold people away.
    _row(
        "dam_break", "", "溃坝", "dam break", 12,
        "垮坝", "水库溃决", "堰塞湖溃决", "溃堤", "决堤", "dam failure", lane=Lane.FAST,
    ),
    # The age gate of earthquake early warnings (600 s, `feeds.md` §2.10): later it warns of nothing.
    _row("earthquake", "", "地震", "earthquake", 1 / 6, "地震预警", lane=Lane.FAST),
    _row("tsunami", "", "海啸", "tsunami", 12, lane=Lane.FAST),
    _row("wildfire", "", "森林火灾", "wildfire", 24, "山火", "草原火灾", "林火", "forest fire", "bushfire"),
    _row(
        "chemical", "", "危险化学品泄漏", "chemical release", 12,
        "危化品泄漏", "危险化学品", "危化品", "有毒气体",
        "chemical spill", "chemical leak", "hazardous material",
    ),
    _row("epidemic", "", "传染病疫情", "epidemic", 24, "疫情", "传染病", "infectious disease"),
    _row(
        "evacuation", "", "紧急转移", "evacuation", 24, "紧急避险", "转移避险", "紧急撤离", "人员转移",
        "evacuate",
    ),
    # The rest of the national list that a village can do something about (`event-codes` crosswalk).
    _row(
        "low_temperature", "11B08", "低温冻害", "low temperature freeze", 24,
        "持续低温", "低温", "low temperature",
    ),
    _row("dry_hot_wind", "11B11", "干热风", "dry hot wind", 24),
    _row("downburst", "11B12", "下击暴流", "downburst", 6),
    _row("avalanche", "11B13", "雪崩", "avalanche", 24),
    _row("sea_gale", "11B23", "海上大风", "gale at sea", 24, "海区大风"),
    _row("heat_stroke", "11B24", "高温中暑", "heat stroke", 24, "中暑气象条件", "中暑"),
    _row("freeze", "11B27", "冰冻", "freezing", 24),
    _row("pollution", "11B29", "重污染", "heavy air pollution", 24, "重污染天气", "heavy pollution"),
    _row("snow_freeze", "11B30", "低温雨雪冰冻", "rain, snow and ice", 24, "雨雪冰冻"),
    _row("ozone", "11B32", "臭氧", "ozone", 24),
    _row("cold", "11B34", "寒冷", "severe cold", 24, "严寒"),
    _row("continuous_rain", "11B35", "连阴雨", "continuous rain", 24),
    _row("sea_fog", "11B53", "海上大雾", "sea fog", 12, "海区大雾"),
    # Notices, not dangers. Only their whole names are known, so that no warning that speaks of a power cut is
    # taken for one; a message that our own operator gives the key is one.
    _row("water_outage", "", "停水通知", "water outage notice", 24),
    _row("power_outage", "", "停电通知", "power outage notice", 24),
    _row("notice", "", "日常通知", "routine notice", 24),
)  # fmt: skip

NOTICES: Final = frozenset({"water_outage", "power_outage", "notice"})
"""Hazards that are no danger: said without alarm (`tts.script`)."""

_BY_KEY: Final = {hazard.key: hazard for hazard in (*HAZARDS, UNKNOWN)}
_BY_CODE: Final = {hazard.code: hazard for hazard in HAZARDS if hazard.code}
_NAMES: Final = sorted(
    ((name, hazard) for hazard in HAZARDS for name in (hazard.zh, hazard.en, *hazard.aliases)),
    key=lambda item: -len(item[0]),
)
_ENGLISH: Final = {
    name: re.compile(rf"(?<![a-z]){re.escape(name)}(?:s|es|ing)?(?![a-z])")
    for name, _ in _NAMES
    if name.isascii()
}
# A headline's own event: "舟曲县气象台发布暴雨橙色预警" → 暴雨, so that an agency's name is not searched.
_HEADLINE: Final = re.compile(
    r"(?:发布|解除|取消|撤销|终止|变更|更新|升级|降级|续发|延长)(?P<event>.{1,20}?)(?:[红橙黄蓝白]色)?预警"
)


def by_key(key: str) -> Hazard:
    """The hazard of that key. Raises KeyError: keys come from this catalogue only."""
    return _BY_KEY[key]


def by_national_code(code: str) -> Hazard | None:
    """The hazard of a national event type such as ``11B03``, or None when the catalogue lacks it."""
    return _BY_CODE.get(code.strip().upper())


def find(text: str, code: str = "") -> Found:
    """What `text` (an event name or a headline, Chinese or English) and national `code` mean.

    The longest known name in the text wins. When it disagrees with the code the name is believed,
    because some feeds glue another numbering onto the prefix 11B (`feeds.md` §5.4), and the remark
    says so. Without a known name the code decides; without either the key is ``unknown``.
    """
    named, coded = _by_name(text), by_national_code(code)
    if named is not None:
        if code.strip() and coded is None and named.code:
            return Found(named, f"code {code.strip()} is not in our catalogue; took the name {named.zh}")
        if coded is not None and coded is not named:
            return Found(
                named, f"code {coded.code} means {coded.zh} but the text says {named.zh}; believed the text"
            )
        return Found(named)
    if coded is not None:
        odd = (
            f"no hazard name known in the text; took {coded.zh} from code {coded.code}"
            if text.strip()
            else ""
        )
        return Found(coded, odd)
    shown = " / ".join(part for part in (text.strip()[:40], code.strip()[:20]) if part)
    return Found(UNKNOWN, f"hazard not recognised: {shown or 'nothing given'}")


def _by_name(text: str) -> Hazard | None:
    text = text[:500]  # a headline is 160 characters
    match = _HEADLINE.search(text)
    for part in (match["event"], text) if match else (text,):
        low = part.casefold()
        for name, hazard in _NAMES:
            if _ENGLISH[name].search(low) if name.isascii() else name in part:
                return hazard
    return None
