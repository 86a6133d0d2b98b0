"""edge-tts, wrapped: the online voice, taken only when it is whole and in time.

Left alone it returns cut audio without an error when the connection closes half-way, waits for ever on a
silent server, and sends a long Chinese text as one oversized request (measured against a stand-in,
``voice-and-audio.md`` §4). Here there is one budget for everything, text goes sentence by sentence, and what
comes back must cover it. No retry: the offline voice is speaking meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tts.reading import hanzi
from tts.voice import MIN_SECONDS_PER_HANZI, Speech, VoiceError, VoiceFailure

VOICES: Final[dict[str, tuple[str, ...]]] = {
    "zh": ("zh-CN-YunyangNeural", "zh-CN-YunjianNeural", "zh-CN-YunxiNeural", "zh-CN-XiaoxiaoNeural",
           "zh-CN-XiaoyiNeural", "zh-CN-liaoning-XiaobeiNeural", "zh-CN-shaanxi-XiaoniNeural"),
    "yue": ("zh-HK-HiuGaaiNeural", "zh-HK-HiuMaanNeural", "zh-HK-WanLungNeural"),
    "zh-TW": ("zh-TW-HsiaoChenNeural", "zh-TW-HsiaoYuNeural", "zh-TW-YunJheNeural"),
    "kk": ("kk-KZ-AigulNeural", "kk-KZ-DauletNeural"),
    "mn": ("mn-MN-YesuiNeural", "mn-MN-BataaNeural"),
    "ko": ("ko-KR-SunHiNeural", "ko-KR-InJoonNeural"),
    "uz": ("uz-UZ-MadinaNeural", "uz-UZ-SardorNeural"),
    "vi": ("vi-VN-HoaiMyNeural", "vi-VN-NamMinhNeural"),
}  # fmt: skip
"""Language → voices of the free endpoint, the default first. It has none for Tibetan, Uyghur, Yi, Zhuang."""

_BYTES_PER_SECOND: Final = 48_000 / 8
"""edge-tts always asks for 48 kbit/s CBR, mono, 24 kHz."""
_TICKS: Final = 10_000_000
_SLACK_S: Final = 0.3
_MAX_BYTES: Final = 20_000_000
_MAX_REQUEST: Final = 4_000
"""Bytes of UTF-8 in one request; edge-tts cuts at 4,096, anywhere."""


class EdgeVoice:
    """The port `Voice` over the online service."""

    def __init__(
        self, name: str, *, decode: Callable[[bytes], Awaitable[Speech]], budget_s: float = 8.0
    ) -> None:
        """`decode`: MP3 to samples, elsewhere: this runs in the controller, which stays free of numpy.
        Raises ValueError for a voice that the service does not have."""
        languages = [language for language, voices in VOICES.items() if name in voices]
        if not languages:
            known = ", ".join(voice for voices in VOICES.values() for voice in voices)
            raise ValueError(f"{name!r} is no voice of the online service; it has {known}")
        self._voice = name
        self.name = f"edge:{name}"
        self.languages = frozenset(languages)
        self._decode = decode
        self._budget_s = budget_s

    async def speak(self, sentences: Sequence[str], *, speed: float) -> Speech:
        """Asked and answered within the budget, or VoiceError."""
        if not any(c.isalnum() for s in sentences for c in s):
            raise VoiceError(VoiceFailure.TEXT, "no sentence to speak")
        try:
            async with asyncio.timeout(self._budget_s):
                mp3 = b"".join([await self._ask(text, speed) for text in _requests(sentences)])
        except TimeoutError as error:
            raise VoiceError(
                VoiceFailure.TIMEOUT, f"{self.name}: no whole sound in {self._budget_s:g} s"
            ) from error
        return await self._decode(mp3)

    async def _ask(self, text: str, speed: float) -> bytes:
        # 30 MB and 0.2 s that only a county that uses it pays.
        import aiohttp
        from edge_tts import Communicate
        from edge_tts.exceptions import EdgeTTSException, NoAudioReceived

        audio = bytearray()
        ended = 0.0
        heard: list[str] = []
        speaking = Communicate(text, self._voice, rate=f"{round((speed - 1) * 100):+d}%").stream()
        try:
            async for part in speaking:
                if part["type"] == "audio":
                    audio += part["data"]
                    if len(audio) > _MAX_BYTES:
                        raise VoiceError(VoiceFailure.CRASHED, f"{self.name}: more than {_MAX_BYTES:,} bytes")
                else:
                    ended = (part["offset"] + part["duration"]) / _TICKS
                    heard.append(part["text"])
        except NoAudioReceived as error:
            raise VoiceError(VoiceFailure.SILENT, f"{self.name}: {error}") from error
        except (EdgeTTSException, aiohttp.ClientError, OSError, ValueError, KeyError) as error:
            # ValueError and KeyError: an answer that its parser does not know.
            detail = f"{self.name}: {type(error).__name__}: {error}"
            raise VoiceError(VoiceFailure.CRASHED, detail[:300]) from error
        finally:
            await speaking.aclose()
        _whole(text, bytes(audio), ended, "".join(heard), speed, self.name)
        return bytes(audio)


def _requests(sentences: Sequence[str]) -> list[str]:
    """Whole sentences, several to a request, one a line. A longer one goes alone, cut by edge-tts."""
    requests: list[str] = []
    for sentence in sentences:
        if requests and len(f"{requests[-1]}\n{sentence}".encode()) <= _MAX_REQUEST:
            requests[-1] += "\n" + sentence
        else:
            requests.append(sentence)
    return requests


def _whole(text: str, audio: bytes, ended: float, heard: str, speed: float, name: str) -> None:
    """Raises VoiceError unless the audio covers `text`, by its length and by what the service says it spoke
    (`heard`, until `ended` seconds)."""
    seconds = len(audio) / _BYTES_PER_SECOND
    least = MIN_SECONDS_PER_HANZI * len(hanzi(text)) / speed
    if seconds < least:
        raise VoiceError(VoiceFailure.TRUNCATED, f"{name}: {seconds:.2f} s for at least {least:.2f} s")
    if seconds + _SLACK_S < ended:
        raise VoiceError(
            VoiceFailure.TRUNCATED, f"{name}: {seconds:.2f} s of sound, words until {ended:.2f} s"
        )
    if _letters(heard)[-4:] != _letters(text)[-4:]:
        raise VoiceError(
            VoiceFailure.TRUNCATED, f"{name}: the last words that were spoken are {heard[-12:]!r}"
        )


def _letters(text: str) -> str:
    return "".join(c for c in text if c.isalnum())
