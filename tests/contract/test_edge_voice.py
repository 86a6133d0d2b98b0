"""The online voice: what the service does wrong is a named failure in time, and never cut sound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from xml.sax.saxutils import escape

import pytest

from support.edge_service import EdgeService, edge_service
from support.voices import decode
from tts.voice import VoiceError, VoiceFailure
from tts.voices.edge import VOICES, EdgeVoice, _requests

SENTENCES = ("请注意，请注意。", "大川镇，暴雨橙色预警。", "请马上远离河道、沟谷和低洼地带，准备转移。")


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EdgeService]:
    async with edge_service() as running:
        monkeypatch.setattr("edge_tts.communicate.WSS_URL", running.url)
        yield running


def voice(budget_s: float = 20.0) -> EdgeVoice:
    return EdgeVoice(VOICES["zh"][0], decode=decode, budget_s=budget_s)


async def test_what_it_speaks_is_whole_and_all_of_it_was_asked_for(service: EdgeService) -> None:
    speech = await voice().speak(SENTENCES, speed=0.9)
    assert speech.sample_rate == 24_000
    assert len(speech.pcm) == pytest.approx(speech.seconds * 24_000 * 4, abs=8)
    assert speech.seconds > 0.2 * sum(map(len, SENTENCES))
    assert service.asked == ["\n".join(SENTENCES)]
    assert service.rates == ["-10%"]


async def test_a_long_text_goes_in_requests_of_whole_sentences(service: EdgeService) -> None:
    service.pace = 0.13
    long = tuple(
        f"第{'一二三四五六七八九'[n % 9]}句，请沿河各村的群众马上往高处转移，不要返回。" for n in range(90)
    )
    await voice(60).speak(long, speed=1)
    assert len(service.asked) > 1
    assert "\n".join(service.asked).split("\n") == list(long)
    assert all(len(text.encode()) <= 4_096 for text in service.asked)


async def test_one_sentence_of_4400_hanzi_is_cut_at_its_commas_and_then_anywhere(
    service: EdgeService,
) -> None:
    service.pace = 0.13
    long = "河水上涨，" * 880 + "请转移。"
    speech = await voice(120).speak((long,), speed=1)
    assert "".join(service.asked) == long
    assert len(service.asked) >= 4
    assert all(len(text.encode()) <= 4_096 and text.endswith(("，", "。")) for text in service.asked)
    assert speech.seconds > 4_400 * 0.12
    for other in ("雨" * 4_400, ("A&B<C>" * 30 + "号楼，") * 30):
        pieces = _requests((other,))
        assert "".join(pieces).replace("\n", "") == other
        assert all(len(escape(piece).encode()) <= 4_096 for piece in pieces)


@pytest.mark.parametrize("language", VOICES)
async def test_every_language_is_spoken_in_its_own_script_and_no_other(
    service: EdgeService, language: str
) -> None:
    said = {
        "kk": "ەسكەرتۋ! سۋ تاسقىنى.",
        "mn": "Анхааруулга! Үер болно.",
        "ko": "긴급 경보입니다.",
        "uz": "Diqqat, sel keladi.",
        "vi": "Cảnh báo lũ quét.",
    }.get(language, "请注意，山洪来了。")
    speaking = EdgeVoice(VOICES[language][0], decode=decode, budget_s=20)
    assert speaking.languages == {language}
    await speaking.speak((said,), speed=1)
    assert service.asked == ["Ескерту! су тасқыны.".lower() if language == "kk" else said]
    with pytest.raises(VoiceError) as caught:
        await speaking.speak(("ཉེན་བརྡ།",), speed=1)
    assert caught.value.reason is VoiceFailure.LANGUAGE


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("closed half-way", VoiceFailure.TRUNCATED),
        ("drops the end", VoiceFailure.TRUNCATED),
        ("too short", VoiceFailure.TRUNCATED),
        ("no audio", VoiceFailure.SILENT),
        ("hush", VoiceFailure.SILENT),
        ("spells", VoiceFailure.RUNAWAY),
        ("no sound", VoiceFailure.FORMAT),
        ("unknown path", VoiceFailure.CRASHED),
        ("not json", VoiceFailure.CRASHED),
        ("403", VoiceFailure.REFUSED),
        ("403 an hour away", VoiceFailure.REFUSED),
        ("403 without a date", VoiceFailure.REFUSED),
        ("403 with a wrong date", VoiceFailure.REFUSED),
        ("429", VoiceFailure.REFUSED),
        ("503", VoiceFailure.REFUSED),
    ],
)
async def test_each_of_its_failures_has_a_name(
    service: EdgeService, fault: str, reason: VoiceFailure
) -> None:
    service.fault = fault
    with pytest.raises(VoiceError) as caught:
        await voice().speak(SENTENCES, speed=1)
    assert caught.value.reason is reason
    assert "edge:zh-CN-YunyangNeural" in caught.value.detail or reason is VoiceFailure.FORMAT
    assert "Sec-MS-GEC" not in caught.value.detail


@pytest.mark.parametrize("fault", ["silent", "slow"])
async def test_a_server_that_is_silent_or_slow_costs_the_budget_and_no_more(
    service: EdgeService, fault: str
) -> None:
    service.fault = fault
    async with asyncio.timeout(20):
        with pytest.raises(VoiceError) as caught:
            await voice(0.5).speak(SENTENCES, speed=1)
    assert caught.value.reason is VoiceFailure.TIMEOUT


async def test_without_the_service_it_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_tts.communicate.WSS_URL", "ws://127.0.0.1:9/edge/v1?x=1")
    with pytest.raises(VoiceError) as caught:
        await voice().speak(SENTENCES, speed=1)
    assert caught.value.reason is VoiceFailure.UNREACHABLE


async def test_cancelling_it_leaves_no_task_behind(service: EdgeService) -> None:
    service.fault = "silent"
    before = asyncio.all_tasks()
    speaking = asyncio.create_task(voice().speak(SENTENCES, speed=1))
    while not service.asked:
        await asyncio.sleep(0.01)
    speaking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await speaking
    service.fault = ""
    await asyncio.sleep(0.05)
    left = {task for task in asyncio.all_tasks() - before if "edge_service" not in repr(task)}
    assert not [task for task in left if "edge_tts" in repr(task)]


async def test_nothing_to_say_is_refused_before_anybody_is_asked(service: EdgeService) -> None:
    with pytest.raises(VoiceError) as caught:
        await voice().speak(("。", "……"), speed=1)
    assert caught.value.reason is VoiceFailure.TEXT
    assert service.asked == []


def test_a_voice_that_the_service_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(ValueError, match="zh-CN-YunyangNeural"):
        EdgeVoice("zh-CN-NobodyNeural", decode=decode)
