"""The sound that is always there: generic Mandarin clips, for when every voice fails or a clip is not there.

One per kind, one per hazard and one for the end of a warning. Rendered by our own pipeline
(`python -m tts.floor.make`), shipped in the package, marked synthetic. An exercise's clip says that it is
one, and so does a test's: failing must not turn a drill into an alarm. A hazard's clip names no colour, so
what it tells people to do is right for every one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

from alerts.hazards import NOTICES
from tts.library import ClipRecord
from tts.voice import Kind, Signal, Stage, signal_for

Clip = Literal["actual", "exercise", "test", "all-clear"]

TEXTS: Final[dict[Clip, tuple[str, ...]]] = {
    "actual": (
        "请注意，请注意。",
        "这里是应急广播。",
        "有紧急预警，请立即留意周围情况，听从当地政府安排。",
        "再说一遍。",
        "有紧急预警，请立即留意周围情况，听从当地政府安排。",
    ),
    "all-clear": (
        "请注意，请注意。",
        "这里是应急广播。",
        "刚才的预警已经解除。",
        "再说一遍，刚才的预警已经解除。",
    ),
    "exercise": (
        "这是演练，不是真实预警。",
        "这里是应急广播，正在进行演练。",
        "这是演练，不是真实预警。",
    ),
    "test": ("这是应急广播测试，不是预警。", "听到测试的群众，不需要采取任何行动。"),
}

_FIRE: Final = "请不要在野外用火，进山不要带火种。"
_NOTICE: Final = "请留意村里的告示，或者问一问村委会。"
_OUTDOORS: Final = "请马上进到坚固的屋里，远离大树、广告牌和电线。"

HAZARDS: Final[dict[str, tuple[str, str]]] = {
    # Hazard key → (what it is called in the first sentence, the one thing to do). Public guidance, written
    # from general knowledge: like the templates, for the county's emergency office to approve.
    "typhoon": ("台风预警", "请留在坚固的房屋里，关好门窗，远离河边、海边和广告牌。"),
    "tornado": ("龙卷风预警", "请马上躲到坚固房屋的最底层，远离门窗。"),
    "rainstorm": ("暴雨预警", "请远离河道、沟谷和低洼地带，听从当地政府安排。"),
    "snowstorm": ("暴雪预警", "请减少外出，注意保暖，远离不牢固的棚屋。"),
    "cold_wave": ("寒潮预警", "请注意防寒保暖，照看好老人和孩子，取暖要防煤气中毒。"),
    "gale": ("大风预警", "请远离广告牌、围墙和大树，加固门窗，注意用火安全。"),
    "sandstorm": ("沙尘暴预警", "请关好门窗，尽量留在屋里，出门戴好口罩。"),
    "heat": ("高温预警", "请避开烈日，多喝水，照看好老人和孩子。"),
    "lightning": ("雷电预警", _OUTDOORS),
    "hail": ("冰雹预警", "请马上进到坚固的屋里，远离门窗。"),
    "frost": ("霜冻预警", "请给庄稼和牲畜做好防寒防冻。"),
    "fog": ("大雾预警", "请减少外出，开车减速慢行。"),
    "haze": ("霾预警", "请减少外出，出门戴好口罩。"),
    "thunder_gust": ("雷雨大风预警", _OUTDOORS),
    "thunderstorm_gale": ("雷暴大风预警", _OUTDOORS),
    "convection": ("强对流天气预警", _OUTDOORS),
    "road_ice": ("道路结冰预警", "请减少出行，走路防滑，开车减速慢行。"),
    "drought": ("干旱预警", "请节约用水，注意防火。"),
    "forest_fire_risk": ("森林火险预警", _FIRE),
    "grassland_fire_risk": ("草原火险预警", _FIRE),
    "wildland_fire_risk": ("森林草原火险预警", _FIRE),
    "waterlogging": ("渍涝风险预警", "请远离低洼地带、地下空间和积水的道路。"),
    "geological": ("地质灾害预警", "请远离陡坡、悬崖和沟口，听从当地政府安排。"),
    "flood": ("洪水预警", "请离开河边和低洼地带，到高处去。"),
    "flash_flood": ("山洪预警", "请马上离开河道和沟谷，往两边高处去。"),
    "debris_flow": ("泥石流预警", "请马上离开沟谷，往两边山坡高处跑，不要顺着沟跑。"),
    "dam_break": ("溃坝险情", "请立即离开河道和下游低地，往高处跑。"),
    "earthquake": ("地震预警", "请立即避险，护住头部。"),
    "tsunami": ("海啸预警", "请立即离开海边，往高处跑。"),
    "wildfire": ("森林火灾险情", "请远离火场，不要自己上山打火，听从当地政府安排。"),
    "chemical": ("危险化学品泄漏险情", "请用湿毛巾捂住口鼻，远离事故地点，听从当地政府安排。"),
    "epidemic": ("传染病疫情预警", "请戴好口罩，减少聚集，不舒服请及时就医。"),
    "avalanche": ("雪崩预警", "请不要到雪坡和雪坡下面去。"),
    "downburst": ("下击暴流预警", _OUTDOORS),
    "dry_hot_wind": ("干热风预警", "请给庄稼浇水防旱，注意防火。"),
    "continuous_rain": ("连阴雨预警", "请远离陡坡和危房，晒好收好粮食。"),
    "heat_stroke": ("高温中暑预警", "请避开烈日，多喝水，不舒服请马上到阴凉处，请人帮忙。"),
    "low_temperature": ("低温预警", "请注意防寒保暖，照看好老人和孩子，取暖要防煤气中毒。"),
    "cold": ("寒冷预警", "请注意防寒保暖，照看好老人和孩子，取暖要防煤气中毒。"),
    "freeze": ("冰冻预警", "请减少出行，走路防滑，远离结冰的电线和树枝。"),
    "snow_freeze": ("低温雨雪冰冻预警", "请减少出行，注意保暖，远离结冰的电线和树枝。"),
    "sea_fog": ("海上大雾预警", "海上船只请减速慢行，小船不要出海。"),
    "sea_gale": ("海上大风预警", "船只请回港避风，海边人员请离开。"),
    "pollution": ("空气重污染预警", "请减少外出，出门戴好口罩。"),
    "ozone": ("臭氧污染预警", "请减少午后的户外活动。"),
    "water_outage": ("停水通知", _NOTICE),
    "power_outage": ("停电通知", _NOTICE),
    "notice": ("一条通知", _NOTICE),
    "evacuation": ("紧急转移通知", "请带好老人和孩子，听从村干部安排，马上转移。"),
}


class FloorError(Exception):
    """A shipped generic clip is missing or damaged: which, and how to mend it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One clip of the floor, as terminals hold it."""

    name: str
    """``floor/<kind>/<hazard or *>/<first|cancel>``."""
    record: ClipRecord

    def data(self) -> bytes:
        """Its bytes. Raises FloorError."""
        return _clip(_file_of(self.name))[0]


def sentences(hazard: str) -> tuple[str, ...]:
    """What the clip of a hazard says. Raises KeyError for one without."""
    name, action = HAZARDS[hazard]
    if hazard == "earthquake":  # the wave is faster than a greeting
        return (f"{name}，{name}！", action)
    return (f"请注意，这里是应急广播，现在有{name}。", action)


def signal(hazard: str) -> Signal:
    """The signal of a hazard's clip, whose colour nobody knows: that of a warning without one."""
    return signal_for("actual", None, "first", hazard)


def file_name(clip: Clip) -> str:
    return "generic-zh.mp3" if clip == "actual" else f"generic-zh-{clip}.mp3"


def hazard_file(hazard: str) -> str:
    return f"hazard-zh-{hazard}.mp3"


def generic(kind: Kind = "actual", stage: Stage = "first", hazard: str = "") -> tuple[bytes, ClipRecord]:
    """Bytes and record of the generic Mandarin clip of `kind`, and of `hazard` where it has one,
    hash-checked. An all-clear has its own: the words of a warning must never end one. A notice warned of
    nothing, and when the water comes back nobody may hear that it goes: its end is one more notice. Raises
    FloorError."""
    if stage == "cancel" and hazard in NOTICES:
        hazard, stage = _NOTICE_ENDS, "first"
    if kind == "actual" and stage != "cancel" and hazard_file(hazard) in _records():
        return _clip(hazard_file(hazard))
    return _clip(file_name("all-clear" if kind == "actual" and stage == "cancel" else kind))


def manifest() -> tuple[Entry, ...]:
    """Every clip of the floor that a terminal is to hold. Raises FloorError."""
    hazards = [hazard for hazard in HAZARDS if hazard_file(hazard) in _records()]
    names = (*_NAMES, *(f"floor/actual/{hazard}/first" for hazard in hazards))
    return tuple(Entry(name, _clip(_file_of(name))[1]) for name in names)


_NOTICE_ENDS: Final = "notice"
_NAMES: Final = (
    "floor/actual/*/first",
    "floor/actual/*/cancel",
    "floor/exercise/*/first",
    "floor/test/*/first",
)


def _file_of(name: str) -> str:
    _, kind, hazard, stage = name.split("/")
    if hazard != "*":
        return hazard_file(hazard)
    clip: Clip = "all-clear" if stage == "cancel" else kind  # type: ignore[assignment]
    return file_name(clip)


@cache
def _records() -> dict[str, ClipRecord]:
    """File name → record, of all clips of hazards. Raises FloorError."""
    try:
        told = json.loads((resources.files("tts.floor") / "hazards-zh.json").read_text("utf-8"))
        return {name: _record(record) for name, record in told.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise FloorError(f"tts/floor/hazards-zh.json: {error}; install Fenghuo again") from error


def _record(told: dict[str, Any]) -> ClipRecord:
    """Without ``chain``: only `tts.floor.make` asks which chain made it."""
    return ClipRecord(**{name: value for name, value in told.items() if name != "chain"})


def _clip(name: str) -> tuple[bytes, ClipRecord]:
    folder = resources.files("tts.floor")
    try:
        if name.startswith("hazard-"):
            record = _records()[name]
        else:
            record = _record(json.loads((folder / f"{name}.json").read_text("utf-8")))
        data = (folder / name).read_bytes()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FloorError(f"tts/floor/{name}: {error}; install Fenghuo again") from error
    if (hashlib.sha256(data).hexdigest(), len(data)) != (record.sha256, record.size):
        raise FloorError(f"tts/floor/{name}: its bytes are not those of its record; install Fenghuo again")
    return data, record
