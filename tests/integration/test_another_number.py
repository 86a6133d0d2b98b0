"""A voice that says another number, place or action than was meant: the real voice, heard by the real
recogniser."""

from pathlib import Path

import numpy as np
import pytest

from tts.check import compare
from tts.recogniser import Recogniser, missing
from tts.renderer import Renderer
from tts.voice import DEFAULT_VOICE
from tts.worker import encode

PLACES = ("舟曲县", "大川镇", "峰迭镇", "曲告纳镇", "立节镇")
PAIRS = (  # what was meant, what is spoken
    ("预计未来6小时内，大川镇降雨量将达50毫米以上。", "预计未来9小时内，大川镇降雨量将达50毫米以上。"),
    ("预计未来12小时内，降雨量将达50毫米以上。", "预计未来12小时内，降雨量将达15毫米以上。"),
    ("舟曲县发生5.8级地震。", "舟曲县发生5.6级地震。"),
    ("请于今晚22时前全部撤离。", "请于今晚20时前全部撤离。"),
    ("目前已转移群众1286户5230人。", "目前已转移群众1286户3250人。"),
    ("大川镇有山洪灾害红色预警，请注意防范。", "立节镇有山洪灾害红色预警，请注意防范。"),
    ("舟曲县气象局发布暴雨红色预警信号。", "岷县气象局发布暴雨红色预警信号。"),
    ("请河道两岸群众立即撤离。", "请河道两岸群众不要撤离。"),
    ("请沟口居民马上转移到安全地带。", "请沟口居民马上返回到安全地带。"),
    ("暴雨红色预警信号已经生效，请注意防范。", "暴雨红色预警信号已经解除，请注意防范。"),
)


@pytest.mark.slow
async def test_what_is_spoken_otherwise_than_meant_is_caught(tmp_path: Path) -> None:
    if lacking := missing():
        pytest.skip(lacking)
    voice, ear = Renderer(tmp_path / "voice"), Recogniser(tmp_path / "ear")
    passed: list[tuple[str, str]] = []
    right = 0
    try:
        for meant, spoken in PAIRS:
            speech = await voice.speak([spoken], voice=DEFAULT_VOICE, deadline_s=300)
            quiet = np.zeros(speech.sample_rate // 2, np.float32)
            sound = np.concatenate([quiet, np.frombuffer(speech.pcm, "<f4"), quiet])
            heard = await ear.hear(encode(sound, speech.sample_rate, "wav"), deadline_s=300)
            if compare(meant, heard, places=PLACES).ok:
                passed.append((meant, heard))
            # A check that says no to everything would catch these as well.
            right += compare(spoken, heard, places=PLACES).ok
    finally:
        await voice.close()
        await ear.close()
    assert passed == []
    assert right >= 8, "of ten sentences, those that the recogniser hears as they were spoken"
