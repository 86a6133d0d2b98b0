"""What a recogniser makes of a voice: 40 warning sentences, dry and through a simulated horn in noise.

`fenghuo tts check` and ``python -m benchmarks --only speech-errors`` show the same numbers. Not pure: it
speaks and listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tts.audio import AFTER_SIGNAL, RATE, TAIL, Sound, loudspeaker, silence
from tts.check import Finding, Verdict, compare, speech_faults, syllables
from tts.horn import horn
from tts.reading import read
from tts.recogniser import Recogniser
from tts.renderer import Renderer
from tts.voice import Speaker
from tts.worker import decode, encode

PLAIN: Final = "plain"
"""Not a class of loudspeaker: the voice as it is, at full scale, to see what a preset gains."""
PRESETS: Final = (*(speaker.value for speaker in Speaker), PLAIN)
NOISES: Final = (15.0, 5.0, 0.0)
TARGETS: Final = {None: 0.02, 15.0: 0.08, 5.0: 0.12, 0.0: 0.25}
"""Syllable errors of the default voice and preset, by SNR in dB (None: dry)."""
SEED: Final = 7
TOGETHER: Final = 4
"""Sentences of a usual message. A recogniser, like a villager, understands a sentence from those around it:
at 5 dB SNR each of them alone costs a quarter more errors than four in one clip."""

SENTENCES: Final = (
    "请注意，曲告纳镇有山洪灾害红色预警，请立即向高处转移。",
    "舟曲县气象局7月15日20时30分发布暴雨橙色预警信号。",
    "预计未来6小时内，峰迭镇、大川镇降雨量将达50毫米以上。",
    "白龙江舟曲站水位1290.35米，超过警戒水位0.65米。",
    "请河道两岸群众立即撤离，不要返回取财物。",
    "三眼峪沟可能发生泥石流，请沟口居民马上转移到安全地带。",
    "今天夜间到明天白天，全县有大到暴雨，局地伴有雷电和冰雹。",
    "预计将有5到6级西北风，阵风8级，请加固临时搭建物。",
    "明晨最低气温将降至零下12摄氏度，请注意防寒保暖。",
    "最高气温将升至40摄氏度，12时至16时请避免户外作业。",
    "地震预警，地震横波将于12秒后到达，请就近避险。",
    "舟曲县发生5.8级地震，震源深度10千米。",
    "请不要乘坐电梯，远离玻璃窗和高大建筑。",
    "上游水库将于今晚22时开闸放水，下游人员请立即撤离河道。",
    "洪峰将于明天凌晨3点通过县城，流量约5600立方米每秒。",
    "国道212线300公里处发生塌方，车辆请绕行。",
    "因道路结冰，平绵高速公路全线封闭。",
    "森林火险等级为4级，严禁一切野外用火。",
    "发现火情，请立即拨打119报警电话。",
    "如需救援，请拨打县应急局值班电话5122119。",
    "本次预警由县应急管理局发布，咨询电话12379。",
    "化工厂发生氯气泄漏，请向上风方向撤离，用湿毛巾捂住口鼻。",
    "半径800米范围内的居民，请关好门窗，不要外出。",
    "因管道抢修，明天8时至18时城关镇停水，请提前储水。",
    "台风中心附近最大风力14级，请海上船只立即回港避风。",
    "能见度小于50米，请减速慢行，保持车距。",
    "滑坡体威胁下方42户168人，请按预定路线转移到村小学。",
    "山体出现裂缝，请远离陡坡、沟谷和河道。",
    "全县中小学明天停课一天，请家长看护好孩子。",
    "请党员干部逐户通知，优先转移老人、儿童和病人。",
    "应急避难场所设在立节镇中学操场，请携带身份证和常用药品。",
    "目前已转移群众1286户5230人，没有人员伤亡。",
    "防汛应急响应由三级提升为二级。",
    "暴雨红色预警信号已经解除，请听从安排有序返回。",
    "这是一次应急演练，请不要惊慌。",
    "现在进行应急广播测试，测试时间大约1分钟。",
    "海啸波将于30分钟后到达沿海，请立即向高处撤离。",
    "水库大坝出现险情，下游5公里内的群众请立即撤离。",
    "接种疫苗的村民，请于本周五上午9点到村卫生室。",
    "请村民不要饮用井水，等待县疾控中心通知。",
)
_PLACES: Final = ("舟曲县", "曲告纳镇", "峰迭镇", "大川镇", "白龙江", "三眼峪沟", "立节镇", "城关镇")


@dataclass(frozen=True, slots=True)
class Heard:
    """One clip by one voice and preset at one SNR (None: dry, as the terminal plays it)."""

    voice: str
    preset: str
    snr_db: float | None
    text: str
    heard: str
    verdict: Verdict
    syllables: int
    faults: tuple[Finding, ...]
    """Of the speech itself, before the chain; the same at each SNR."""
    sentences: int = 1
    """In this clip."""


async def trial(
    renderer: Renderer,
    recogniser: Recogniser,
    *,
    voice: str,
    preset: str,
    speed: float,
    noises: Sequence[float | None] = (None, *NOISES),
    sentences: Sequence[str] = SENTENCES,
    together: int = 1,
) -> AsyncIterator[Heard]:
    """Each `together` sentences in one clip as a terminal of that preset decodes its MP3, dry and in noise.
    Raises VoiceError, RecogniserError."""
    clips = [sentences[first : first + together] for first in range(0, len(sentences), together)]
    for number, said in enumerate(clips):
        text = "".join(said)
        speech = await renderer.speak(said, voice=voice, speed=speed, deadline_s=300)
        samples = np.frombuffer(speech.pcm, "<f4")
        words = "".join(map(read, said))
        faults = speech_faults(samples, speech.sample_rate, words=words, speed=speed)
        played = await asyncio.to_thread(_played, samples, preset)
        for snr_db in noises:
            sound = played if snr_db is None else horn(played, RATE, snr_db, seed=SEED + number)
            wav = await asyncio.to_thread(encode, sound, RATE, "wav")
            heard = await recogniser.hear(wav, deadline_s=300)
            verdict = compare(text, heard, places=_PLACES)
            count = len(syllables(text))
            yield Heard(voice, preset, snr_db, text, heard, verdict, count, faults, len(said))


def _played(speech: Sound, preset: str) -> Sound:
    if preset == PLAIN:
        shaped = speech * np.float32(0.707 / max(1e-9, float(np.abs(speech).max(initial=0.0))))
    else:
        shaped = loudspeaker(speech, RATE, Speaker(preset))
    # With the silence in which a terminal plays it: a recogniser loses a first syllable without.
    aired = np.concatenate([silence(AFTER_SIGNAL), shaped, silence(TAIL)])
    return decode(encode(aired, RATE, "mp3"))[0]


@dataclass(frozen=True, slots=True)
class Score:
    """All sentences of one voice, preset and SNR together."""

    voice: str
    preset: str
    snr_db: float | None
    sentences: int
    ser: float
    """Errors by syllables, all sentences together."""
    misheard: int
    """Clips of which a number, place or action was not heard."""


def score(all_heard: Sequence[Heard]) -> list[Score]:
    """One row per voice, preset and SNR, in the order they came."""
    groups: dict[tuple[str, str, float | None], list[Heard]] = {}
    for heard in all_heard:
        groups.setdefault((heard.voice, heard.preset, heard.snr_db), []).append(heard)
    return [
        Score(
            voice,
            preset,
            snr_db,
            sum(h.sentences for h in group),
            sum(h.verdict.ser * h.syllables for h in group) / max(1, sum(h.syllables for h in group)),
            sum(bool(h.verdict.missing) for h in group),
        )
        for (voice, preset, snr_db), group in groups.items()
    ]
