"""edge-tts, wrapped: the online voice, taken only when it is whole and in time.

Left alone it returns cut audio without an error when the connection closes half-way, waits for ever on a
silent server, and sends a long Chinese text as one oversized request (measured against a stand-in,
``voice-and-audio.md`` §4). Here there is one budget for everything, text goes sentence by sentence, and what
comes back must cover it. No retry: the offline voice is speaking meanwhile. Whoever uses it sends the
words of a warning out of the county, so only a county that configured it does.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from xml.sax.saxutils import escape

from tts.voice import Speech, VoiceError, VoiceFailure
from tts.voices.external import whole
from tts.voices.writing import bounds, written_for

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
"""Bytes of UTF-8, escaped for XML, in one request: the service takes 4,096, and edge-tts splits Chinese
without blanks not at all (measured: one request of 13,200 bytes)."""
_ENDS: Final = (r"(?<=[。！？；!?;…\n])", r"(?<=[，、：,: ])", r"(?<=.)")
"""Where a text that is too long for one request may be cut: sentences, clauses, anywhere between letters."""


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
        self._language = languages[0]
        self._decode = decode
        self._budget_s = budget_s

    async def speak(self, sentences: Sequence[str], *, speed: float) -> Speech:
        """Asked and answered within the budget, or VoiceError."""
        ready = written_for(self._language, sentences)
        try:
            async with asyncio.timeout(self._budget_s):
                mp3 = b"".join([await self._ask(text, speed) for text in _requests(ready)])
        except TimeoutError as error:
            raise VoiceError(
                VoiceFailure.TIMEOUT, f"{self.name}: no whole sound in {self._budget_s:g} s"
            ) from error
        return await whole(await self._decode(mp3), "\n".join(ready), speed=speed, what=self.name)

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
            raise VoiceError(_reason(error), f"{self.name}: {_said(error)}") from error
        finally:
            await speaking.aclose()
        _all_spoken(text, bytes(audio), ended, "".join(heard), speed, self.name)
        return bytes(audio)


def _reason(error: Exception) -> VoiceFailure:
    """A service that says no (403, 429, 503), one that is not there, or one that speaks otherwise than it
    did."""
    import aiohttp
    from edge_tts.exceptions import SkewAdjustmentError

    if isinstance(error, aiohttp.WSServerHandshakeError | SkewAdjustmentError):
        return VoiceFailure.REFUSED
    if isinstance(error, aiohttp.ClientConnectionError):
        return VoiceFailure.UNREACHABLE
    return VoiceFailure.CRASHED


def _said(error: Exception) -> str:
    """Without the address, which is long and holds a token."""
    import aiohttp

    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"the service answers {error.status}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{error.host} cannot be reached: {error.os_error.strerror or error.os_error}"
    return f"{type(error).__name__}: {error}"[:200]


def _requests(sentences: Sequence[str]) -> list[str]:
    """All that is to be said in requests of at most `_MAX_REQUEST` bytes: whole sentences, several to a
    request, one a line; a sentence that is too long alone is cut at its own stops, then at commas, then
    anywhere."""
    requests: list[str] = []
    for piece in (piece for sentence in sentences for piece in _pieces(sentence)):
        if requests and _bytes(f"{requests[-1]}\n{piece}") <= _MAX_REQUEST:
            requests[-1] += "\n" + piece
        else:
            requests.append(piece)
    return requests


def _pieces(text: str, ends: Sequence[str] = _ENDS) -> list[str]:
    if _bytes(text) <= _MAX_REQUEST:
        return [text] if any(c.isalnum() for c in text) else []  # it answers bare punctuation with no audio
    pieces: list[str] = []
    for part in re.split(ends[0], text):
        if pieces and _bytes(pieces[-1] + part) <= _MAX_REQUEST:
            pieces[-1] += part
        else:
            pieces.append(part)
    return [small for piece in pieces if piece for small in _pieces(piece, ends[1:])]


def _bytes(text: str) -> int:
    return len(escape(text).encode())


def _all_spoken(text: str, audio: bytes, ended: float, heard: str, speed: float, name: str) -> None:
    """Raises VoiceError unless the audio covers `text`, by its length and by what the service says it spoke
    (`heard`, until `ended` seconds)."""
    seconds = len(audio) / _BYTES_PER_SECOND
    least, _ = bounds(text, speed)
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
    return "".join(c for c in unicodedata.normalize("NFC", text) if c.isalnum())
