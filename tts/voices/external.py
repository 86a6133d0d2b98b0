"""The county's own engines behind the port `Voice`: a program, or a web service. ``docs/voices.md`` says
how to add one (MMS, sherpa-onnx, a vendor) for a language that we have no voice for."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from tts.voice import Speech, VoiceError, VoiceFailure
from tts.voices.process import spoken_by
from tts.voices.writing import written_for

Decode = Callable[[bytes], Awaitable[Speech]]
"""Sound in any form → samples at 24 kHz, elsewhere: this runs in the controller. Raises VoiceError."""

MOST_BYTES: Final = 48_000_000
"""Four minutes of 16-bit stereo at 48 kHz, the most wasteful form of the longest message."""
_SHOWN: Final = 200


class CommandVoice:
    """The port `Voice` over a program: text in, WAV out (`tts.voices.process.spoken_by` has the places)."""

    def __init__(
        self, name: str, language: str, argv: Sequence[str], *, decode: Decode, budget_s: float
    ) -> None:
        """``{language}`` and ``{speed}`` in `argv` become what is asked for; both are in the environment
        too, as FENGHUO_LANGUAGE and FENGHUO_SPEED."""
        self.name = name
        self.languages = frozenset({language})
        self._language = language
        self._argv = tuple(argv)
        self._decode = decode
        self._budget_s = budget_s

    async def speak(self, sentences: Sequence[str], *, speed: float) -> Speech:
        """One start of the program for all sentences, one a line."""
        text = "\n".join(written_for(self._language, sentences))
        places = {"{language}": self._language, "{speed}": f"{speed:g}"}
        argv = list(self._argv)
        for mark, value in places.items():
            argv = [a.replace(mark, value) for a in argv]
        wav = await spoken_by(
            argv,
            text,
            most_bytes=MOST_BYTES,
            budget_s=self._budget_s,
            what=self.name,
            told={"FENGHUO_LANGUAGE": self._language, "FENGHUO_SPEED": f"{speed:g}"},
        )
        if not _is_wav(wav):
            detail = f"{self.name}: what the program wrote is no WAV but begins with {wav[:12]!r}"
            raise VoiceError(VoiceFailure.FORMAT, detail)
        return await whole(await self._decode(wav), text, speed=speed, what=self.name)


class HttpVoice:
    """The port `Voice` over a web service: POST {"text", "language", "speed"} → audio/wav or audio/mpeg."""

    def __init__(
        self,
        name: str,
        language: str,
        url: str,
        *,
        decode: Decode,
        budget_s: float,
        ca_file: Path | None = None,
        token_file: Path | None = None,
    ) -> None:
        """`url`: https, or http on this machine. `ca_file`: authority that signed its certificate, instead
        of the public ones. `token_file`: what is sent as a bearer token."""
        self.name = name
        self.languages = frozenset({language})
        self._language = language
        self._url = url
        self._decode = decode
        self._budget_s = budget_s
        self._ca_file = ca_file
        self._token_file = token_file

    async def speak(self, sentences: Sequence[str], *, speed: float) -> Speech:
        """One request for all sentences, one a line; no retry, no redirect."""
        text = "\n".join(written_for(self._language, sentences))
        try:
            async with asyncio.timeout(self._budget_s):
                sound = await self._ask({"text": text, "language": self._language, "speed": speed})
        except TimeoutError as error:
            detail = f"{self.name}: no whole sound in {self._budget_s:g} s"
            raise VoiceError(VoiceFailure.TIMEOUT, detail) from error
        return await whole(await self._decode(sound), text, speed=speed, what=self.name)

    async def _ask(self, question: dict[str, str | float]) -> bytes:
        import httpx2

        headers = {"Accept": "audio/wav, audio/mpeg", "Accept-Encoding": "identity"}
        try:
            if self._token_file is not None:
                headers["Authorization"] = f"Bearer {self._token_file.read_text(encoding='ascii').strip()}"
            tls = ssl.create_default_context(cafile=self._ca_file) if self._ca_file is not None else True
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            detail = f"{self.name}: its certificate or token file cannot be read: {type(error).__name__}"
            raise VoiceError(VoiceFailure.UNREACHABLE, detail) from error
        try:
            async with (
                httpx2.AsyncClient(
                    verify=tls, follow_redirects=False, trust_env=False, timeout=self._budget_s
                ) as client,
                client.stream("POST", self._url, json=question, headers=headers) as answer,
            ):
                if answer.status_code != 200:
                    said = await _read(answer.aiter_raw(), _SHOWN, self.name, cut=True)
                    raise VoiceError(
                        VoiceFailure.REFUSED, f"{self.name}: {answer.status_code}{_words(bytes(said))}"
                    )
                if answer.headers.get("content-encoding", "identity") != "identity":
                    raise VoiceError(VoiceFailure.FORMAT, f"{self.name}: it compresses, though asked not to")
                sound = await _read(answer.aiter_raw(), MOST_BYTES, self.name)
                length = answer.headers.get("content-length", "")
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
            cut = isinstance(error, httpx2.RemoteProtocolError)
            reason = VoiceFailure.TRUNCATED if cut else VoiceFailure.UNREACHABLE
            raise VoiceError(reason, f"{self.name}: {str(error) or type(error).__name__}"[:300]) from error
        if length.isdecimal() and int(length) != len(sound):
            detail = f"{self.name}: {len(sound):,} bytes of sound came, and {length} were announced"
            raise VoiceError(VoiceFailure.TRUNCATED, detail)
        return self._sound(answer.headers.get("content-type", ""), bytes(sound))

    def _sound(self, kind: str, sound: bytes) -> bytes:
        """Only what is declared as sound, and begins as such."""
        named = kind.partition(";")[0].strip().lower()
        if not sound:
            raise VoiceError(VoiceFailure.SILENT, f"{self.name}: an empty answer")
        wav = named in ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave") and _is_wav(sound)
        mp3 = named in ("audio/mpeg", "audio/mp3") and _is_mp3(sound)
        if not wav and not mp3:
            what = f"{named[:40] or 'something unnamed'}{_words(sound[:80])}"
            raise VoiceError(VoiceFailure.FORMAT, f"{self.name}: neither WAV nor MP3 but {what}")
        return sound


def program_missing(argv: Sequence[str]) -> str:
    """Why the program of a `CommandVoice` cannot be used; empty when it can."""
    path = Path(argv[0])
    try:
        found = path.stat()
    except OSError:
        return f"there is no program {path}"
    if not stat.S_ISREG(found.st_mode) or not os.access(path, os.X_OK):
        return f"{path} is not a program that can be run"
    if found.st_mode & 0o022 or found.st_uid not in (0, os.geteuid()):
        # Whoever may change it may speak to the county.
        return f"{path}: others may change it; chown root and chmod 755 {path}"
    return ""


async def whole(speech: Speech, text: str, *, speed: float, what: str) -> Speech:
    """`speech`, if it can be all of `text` and nothing else. Raises VoiceError (silent, truncated,
    runaway)."""
    from tts.voices.sound import checked

    return await asyncio.to_thread(checked, speech, text, speed=speed, what=what)


async def _read(parts: AsyncIterator[bytes], most: int, what: str, *, cut: bool = False) -> bytearray:
    body = bytearray()
    async for part in parts:
        body += part
        if len(body) > most:
            if cut:
                return body[:most]
            raise VoiceError(VoiceFailure.RUNAWAY, f"{what}: more than {most:,} bytes of sound")
    return body


def _words(body: bytes) -> str:
    """The beginning of an answer that is no sound, if people can read it: what the service complains of."""
    text = " ".join(body.decode("utf-8", errors="replace").split())
    readable = "".join(c for c in text if c.isprintable() and c != "\ufffd")[:_SHOWN]
    return f": {readable}" if readable else ""


def _is_wav(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WAVE"


def _is_mp3(data: bytes) -> bool:
    return data[:3] == b"ID3" or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0)
