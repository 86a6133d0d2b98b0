"""Voicing: a script request becomes a clip that terminals can fetch. There is always a sound: when the voice
fails, the generic clip of that kind is what is sent, with an alarm.
"""

from __future__ import annotations

import asyncio
import logging
import time
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from alerts import hazards
from alerts.model import Colour
from config.counties import Reading
from config.schema import Voice
from controller.metrics import Metrics
from controller.store import Unknown
from terminals.broadcast import Part, Variant
from tts import floor, templates
from tts.library import ClipRecord, Library, cache_key
from tts.renderer import Rendered, Renderer
from tts.script import Script, ScriptError, ScriptRequest, compose
from tts.voice import Kind, Stage, VoiceError, signal_for
from tts.voices.edge import EdgeVoice

log = logging.getLogger(__name__)

# A whole message of 60 s takes 10 to 110 s on two cores, as busy as they are; nobody waits for it in silence,
# because its lead of 10 to 13 s was heard before it, or the generic clip when even that took too long.
WHOLE_DEADLINE_S: Final = 240.0
LEAD_DEADLINE_S: Final = 20.0
# Design §6: the online voice is taken where it has passed its checks within this.
ONLINE_BUDGET_S: Final = 2.0
# Hazards whose fixed sentences are spoken into memory at the start: nine in ten of a county's warnings
# (`feeds.md` §2.2), and those that kill.
PREPARED: Final = ("rainstorm", "flash_flood", "debris_flow", "thunderstorm_gale")


_KINDS: Final[tuple[Kind, ...]] = ("actual", "exercise", "test")
_STAGES: Final[tuple[Stage, ...]] = ("first", "cancel")


class VoicingError(Exception):
    """Nothing can be composed or spoken for a preview: why."""


class Voicing:
    def __init__(
        self,
        voice: Voice,
        state_dir: Path,
        readings: Iterable[Reading],
        metrics: Metrics,
        alarm: Callable[[str], None],
        *,
        prepare: bool,
    ) -> None:
        """`prepare`: speak the templates' fixed sentences beforehand, kept on disk; minutes at the first
        start. Raises tts.floor.FloorError when a generic clip is missing: without it nothing may start."""
        self._prepared = PREPARED if prepare else ()
        self._alarm = alarm
        self.loaded = asyncio.Event()
        """Set when the voice has been loaded, or has failed to."""
        self.name: str = voice.name
        self.approved = voice.approved_by is not None
        """Whether somebody of the county has listened to this voice and answers for it."""
        self._speed = voice.speed
        self._readings = {r.text: " ".join(map(_numbered, r.pinyin)) for r in readings}
        self._templates = templates.load("zh")
        self._library = Library(state_dir / "clips")
        self._renderer = Renderer(state_dir / "voice", readings=self._readings)
        self._online = (
            EdgeVoice(voice.online.name, decode=self._renderer.decode, budget_s=ONLINE_BUDGET_S)
            if voice.online
            else None
        )
        self._metrics = metrics
        self._generic: set[str] = set()
        for kind in _KINDS:
            for stage in _STAGES:
                data, record = floor.generic(kind, stage)
                self._library.put(data)
                self._generic.add(record.sha256)

    async def run(self) -> None:
        """Loads the voice before it is needed; then nothing, until cancelled."""
        try:
            await self._renderer.warm(voice=self.name, speed=self._speed)
            self.loaded.set()
            await self._renderer.warm(
                self._templates.fixed_sentences(self._prepared) if self._prepared else (),
                voice=self.name,
                speed=self._speed,
            )
            log.info("voice %s is ready", self.name)
        except VoiceError as error:
            self._metrics.voice_failures.inc()
            self._alarm(f"{error}; until it comes back the generic clip is sent")
        self.loaded.set()
        await asyncio.Event().wait()

    async def close(self) -> None:
        await self._renderer.close()

    def script(self, request: ScriptRequest) -> Script:
        """What will be said, as written. Raises VoicingError."""
        try:
            return compose(request, self._templates)
        except ScriptError as error:
            raise VoicingError(str(error)) from error

    async def known(self, request: ScriptRequest) -> bool:
        """Whether the whole clip of these words is in the library: then no lead is needed."""
        for key in self._keys(self.script(request), request):
            if await asyncio.to_thread(self._library.get, key) is not None:
                return True
        return False

    async def clip(
        self, request: ScriptRequest, part: Part = Part.WHOLE, *, preview: bool = True
    ) -> ClipRecord:
        """The clip of these words, from the library or spoken now. Raises VoicingError."""
        script = self.script(request)
        if part is Part.LEAD:
            script = script.brief()
        for key in self._keys(script, request):
            known = await asyncio.to_thread(self._library.get, key)
            if known is not None:
                return known
        began = time.monotonic()
        try:
            made = await self._spoken(script, request, part, _urgency(request, part, preview=preview))
        except VoiceError as error:
            raise VoicingError(str(error)) from error
        self._metrics.voice_seconds.set(time.monotonic() - began)
        sha256 = await asyncio.to_thread(self._library.put, made.mp3)
        record = ClipRecord(
            sha256=sha256,
            size=len(made.mp3),
            seconds=made.seconds,
            lufs=made.lufs,
            dbtp=made.dbtp,
            codec="mp3",
            language=script.language,
            voice=made.voice,
            synthetic=True,
            text="".join(made.spoken),
        )
        await asyncio.to_thread(self._library.add, self._key(script, request, made.voice), made.mp3, record)
        return record

    async def _spoken(self, script: Script, request: ScriptRequest, part: Part, urgency: int) -> Rendered:
        """By the offline voice; or by the online one, where the county uses it, nobody is in a hurry, and it
        was whole in time. The offline voice begins at once either way. Raises VoiceError."""
        needless = asyncio.Event()
        offline = self._renderer.render(
            script,
            kind=request.kind,
            colour=request.colour,
            stage=request.stage,
            voice=self.name,
            speed=self._speed,
            deadline_s=LEAD_DEADLINE_S if part is Part.LEAD else WHOLE_DEADLINE_S,
            urgency=urgency,
            needless=needless,
        )
        if self._online is None or not _may_wait(request):
            return await offline
        speaking = asyncio.create_task(offline, name="voice.offline")
        try:
            words = await self._renderer.read(script.sentences, urgency=urgency)
            speech = await self._online.speak(words, speed=self._speed)
            made = await self._renderer.shape(
                speech,
                sentences=words,
                signal=signal_for(request.kind, request.colour, request.stage),
                voice=self._online.name,
                speed=self._speed,
                urgency=urgency,
            )
        except VoiceError as error:
            self._metrics.voice_failures.inc()
            log.warning("%s; the offline voice speaks instead", error)
            return await speaking
        else:
            return made
        finally:
            needless.set()
            await asyncio.gather(speaking, return_exceptions=True)

    async def voice(self, request: ScriptRequest, part: Part) -> tuple[Variant, ...]:
        """What terminals will be offered; never fails, because silence is not an answer."""
        try:
            record = await self.clip(request, part, preview=False)
        except VoicingError as error:
            self._metrics.voice_failures.inc()
            self._alarm(f"{error}; the generic clip goes out instead of: {self.script(request).text[:80]}")
            _, record = floor.generic(request.kind, request.stage)
        return (Variant(record.language, record.codec, record.sha256, record.size, record.seconds),)

    def _keys(self, script: Script, request: ScriptRequest) -> tuple[str, ...]:
        """Of the clips that say this, the voice that would be taken first first."""
        online = (self._online.name,) if self._online is not None and _may_wait(request) else ()
        return tuple(self._key(script, request, voice) for voice in (*online, self.name))

    def _key(self, script: Script, request: ScriptRequest, voice: str) -> str:
        return cache_key(
            script.sentences,
            voice=voice,
            speed=self._speed,
            signal=signal_for(request.kind, request.colour, request.stage),
            template=script.template,
            version=script.version,
            readings=self._readings,
        )

    def is_generic(self, sha256: str) -> bool:
        """Whether this is a clip that says only that there is a warning."""
        return sha256 in self._generic

    def path(self, sha256: str) -> Path:
        """The file of a clip. Raises Unknown."""
        try:
            path = self._library.path(sha256)
        except ValueError as error:
            raise Unknown(str(error)) from error
        if not path.is_file():
            raise Unknown(f"no clip {sha256}")
        return path

    async def audio(self, sha256: str) -> bytes:
        """The bytes of a clip. Raises Unknown."""
        path = self.path(sha256)
        return await asyncio.to_thread(path.read_bytes)


def _may_wait(request: ScriptRequest) -> bool:
    """Red and the fast lane never wait for the internet."""
    return request.colour is not Colour.RED and hazards.by_key(request.hazard).lane is hazards.Lane.NORMAL


def _urgency(request: ScriptRequest, part: Part, *, preview: bool) -> int:
    """Whose sentences the one voice speaks first: real before drill, a lead or an all-clear before a whole,
    what goes out before what is only looked at."""
    if preview:
        return 2 * len(_KINDS)
    return 2 * _KINDS.index(request.kind) + (part is Part.WHOLE and request.stage != "cancel")


_TONES: Final = {"\u0304": "1", "\u0301": "2", "\u030c": "3", "\u0300": "4"}


def _numbered(syllable: str) -> str:
    """A pinyin syllable with its tone as a number: ``qǔ`` → ``qu3``; the packs write the mark."""
    letters, tone = "", "5"
    for part in unicodedata.normalize("NFD", syllable):
        if part in _TONES:
            tone = _TONES[part]
        else:
            letters += part
    return unicodedata.normalize("NFC", letters) + tone
