"""Voicing: a script request becomes the clips that its loudspeakers can fetch: one for each order of
languages, class of loudspeaker and codec among them.

There is always a sound: what a language cannot say is said in Mandarin, and when Mandarin fails, the generic
clip of that hazard is what is sent, with an alarm.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import time
import unicodedata
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from alerts import hazards
from alerts.model import Colour
from config.counties import Reading
from config.schema import Sirens, Voice
from controller import voices
from controller.listening import AFTERWARDS_S, BUDGET_S, Ear, wav
from controller.metrics import Metrics
from controller.store import Unknown
from terminals.broadcast import Part, Variant
from terminals.model import Terminal
from tts import airtime, floor, templates
from tts.airtime import Airtime, Profile, Segment
from tts.bank import Bank, BankError, Recording
from tts.library import ClipRecord, Library, cache_key
from tts.renderer import Form, Piece, Rendered, Renderer
from tts.script import Script, ScriptError, ScriptRequest, compose_all
from tts.verdict import Hold, Take, TakeFlagged, TryNext, after_check
from tts.voice import Kind, Signal, SirenPermit, Speaker, Speech, VoiceError, VoiceFailure, signal_for
from tts.voices.choice import Choices, Engine, Offer, VoiceChoice, voices_for

log = logging.getLogger(__name__)

# A whole message of 60 s takes 10 to 110 s on two cores, as busy as they are; nobody waits for it in silence,
# because its lead of 10 to 13 s was heard before it, or the generic clip when even that took too long.
WHOLE_DEADLINE_S: Final = 240.0
LEAD_DEADLINE_S: Final = 20.0
# Hazards whose fixed sentences are spoken into memory at the start: nine in ten of a county's warnings
# (`feeds.md` §2.2), and those that kill.
PREPARED: Final = ("rainstorm", "flash_flood", "debris_flow", "thunderstorm_gale")
MANDARIN: Final = "zh"
AHEAD: Final = 40
"""Urgency of what may be needed later: behind every preview, before the fixed sentences (45) and the
countdown's set (50)."""
# No command lives longer than a day (design §5); what is aired stays until then.
_PINNED_S: Final = 25 * 3600.0
_FOR_EVER_S: Final = 100 * 365 * 86_400.0

_KINDS: Final[tuple[Kind, ...]] = ("actual", "exercise", "test")

Wanted = tuple[tuple[str, ...], str, str]
"""Languages in the order heard, class of loudspeaker, codec."""
Kept = tuple[str, ClipRecord]
"""A clip, and the key under which the library has it."""
Doubted = Callable[[Hold | TakeFlagged], Awaitable[None]]
"""Told what is wrong with the clips of a message: before they are returned, or (flagged) after they were."""


class VoicingError(Exception):
    """Nothing can be composed or spoken for a preview: why."""


class _Mute(VoiceError):
    """`language` cannot be said now."""

    def __init__(self, language: str, error: VoiceError) -> None:
        super().__init__(error.reason, error.detail)
        self.language = language


@dataclass(slots=True)
class _Message:
    """One request while its clips are made: what is said in which language, and what was spoken already."""

    request: ScriptRequest
    part: Part
    scripts: Mapping[str, Script]
    urgency: int
    ends: float
    """On the loop's clock."""
    patient: bool = False
    """Nobody waits for it to sound: it is listened to, whatever its colour."""
    hearing_s: float | None = None
    """How long it may be listened to, where that is not the usual budget."""
    speeches: dict[tuple[str, Segment], Speech] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    """Mandarin voices that did not say it right."""
    heard: dict[tuple[tuple[str, ...], str], ClipRecord] = field(default_factory=dict)
    """What was listened to, by languages and voices: another loudspeaker's clip has the same speech in it."""
    unheard: list[tuple[Wanted, Kept]] = field(default_factory=list)
    """What there was no time to listen to."""
    outcomes: list[Hold | TakeFlagged] = field(default_factory=list)

    @property
    def fast(self) -> bool:
        """Whether it is never kept waiting: the fast lane, and a test, which warns of nothing."""
        return self.request.kind == "test" or (hazards.by_key(self.request.hazard).lane is hazards.Lane.FAST)

    @property
    def red(self) -> bool:
        return self.request.colour is Colour.RED

    @property
    def left(self) -> float:
        return self.ends - asyncio.get_running_loop().time()


def profiles_of(terminals: Iterable[Terminal]) -> dict[Profile, int]:
    """What these loudspeakers can be told, with how many of each."""
    return dict(Counter(Profile(t.languages, t.speaker, t.codecs) for t in terminals))


def numbered(terminals: Iterable[Terminal]) -> tuple[dict[str, int], list[Profile]]:
    """The profiles of these loudspeakers, and for each the number of its own: to count numbers is ten times
    as fast as to count profiles."""
    order: dict[Profile, int] = {}
    seen: dict[tuple[object, ...], int] = {}
    found: dict[str, int] = {}
    for t in terminals:
        plain = (t.languages, t.speaker, t.codecs)
        if (number := seen.get(plain)) is None:
            profile = Profile(t.languages, t.speaker, t.codecs)
            number = seen[plain] = order.setdefault(profile, len(order))
        found[t.id] = number
    return found, list(order)


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
        words: Sequence[Path] = (),
        evict: bool = True,
        sirens: Sirens | None = None,
    ) -> None:
        """`prepare`: speak the templates' fixed sentences beforehand, kept on disk; minutes at the first
        start. `words`: the folders of the county's own templates. `evict`: keep to `voice.library_mb`; only
        the controller, which knows what is airing, may. Raises tts.floor.FloorError when a generic
        clip is missing: without it nothing may start; ScriptError for templates that are wrong."""
        self._prepared = PREPARED if prepare else ()
        self._alarm = alarm
        self.loaded = asyncio.Event()
        """Set when the voice has been loaded, or has failed to."""
        self.name: str = voice.name
        self.approved = voice.mandarin_approved
        """Whether somebody of the county has listened to a Mandarin voice and answers for it."""
        self._options = voice
        self._permit = (
            SirenPermit(sirens.permitted_by, str(sirens.permitted_on), sirens.disaster) if sirens else None
        )
        self._offers = tuple(map(self._offer, voices.offered(voice)))
        self._broken: list[str] = []
        """Alarms for `run`: while the controller is put together nobody listens to them yet."""
        self._banks = self._opened_banks()
        self._readings = {r.text: " ".join(map(_numbered, r.pinyin)) for r in readings}
        self._templates = templates.load_all(words)
        budget = voice.library_mb * 1_000_000 if evict else None
        self._library = Library(state_dir / "clips", budget=budget)
        self._renderer = Renderer(state_dir / "voice", readings=self._readings)
        self._metrics = metrics
        self.ear = Ear(voice.check, state_dir / "recogniser", alarm)
        self._generic: set[str] = set()
        for entry in floor.manifest():
            self._library.put(entry.data())
            self._generic.add(entry.record.sha256)
        try:
            self._library.pin(self._generic, "floor", time.time() + _FOR_EVER_S)
        except OSError as error:  # a full disk: it is pinned in memory, and nobody is silent because of it
            self._broken.append(_unwritten(error))

    def _offer(self, offer: Offer) -> Offer:
        """The built-in voice may speak where no Mandarin voice is approved: nothing actual runs there, since
        `serve` refuses it, and drills and the sandbox need one."""
        if offer.engine is Engine.KOKORO and not self._options.mandarin_approved:
            return replace(offer, approved_by="nobody")
        return offer

    def _opened_banks(self) -> dict[str, list[tuple[Offer, Bank]]]:
        found: dict[str, list[tuple[Offer, Bank]]] = {}
        for offer in self._offers:
            if offer.engine is Engine.BANK and not offer.missing:
                try:
                    bank = Bank.open(voices.bank_folder(self._options, offer))
                except BankError as error:
                    self._broken.append(f"recordings {offer.name} cannot be used: {error}")
                else:
                    found.setdefault(offer.language, []).append((offer, bank))
        return found

    async def run(self) -> None:
        """Loads the voice before it is needed, and then the ear, which listens to what had no time for it;
        until cancelled."""
        speed = self._options.speed
        for problem in self._broken:
            self._alarm(problem)
        try:
            await self._renderer.warm(voice=self.name, speed=speed)
            self.loaded.set()
            # Not where another voice speaks what is actual: it would wait behind what nobody needs.
            speaks = self._options.approved_by is not None or not self._options.mandarin_approved
            prepared = self._prepared if speaks else ()
            fixed = self._templates[MANDARIN].fixed_sentences(prepared) if prepared else ()
            await self._renderer.warm(fixed, voice=self.name, speed=speed)
            log.info("voice %s is ready", self.name)
        except VoiceError as error:
            self._metrics.voice_failures.inc()
            self._alarm(f"{error}; until it comes back the generic clip is sent")
        self.loaded.set()
        await self.ear.run(floor.generic("test", "first")[0])

    async def close(self) -> None:
        await self.ear.close()
        await self._renderer.close()

    # --- words ---------------------------------------------------------------------------------

    def script(self, request: ScriptRequest) -> Script:
        """What will be said in Mandarin, as written. Raises VoicingError."""
        return self._scripts(request, (MANDARIN,))[MANDARIN]

    def _scripts(self, request: ScriptRequest, order: Sequence[str]) -> dict[str, Script]:
        """By language. Raises VoicingError."""
        try:
            spoken = compose_all(request, self._templates, order)
        except ScriptError as error:
            raise VoicingError(str(error)) from error
        return {script.language: script for script in spoken.scripts}

    def notes(self, request: ScriptRequest, profiles: Mapping[Profile, int] | None = None) -> tuple[str, ...]:
        """What the loudspeakers of `profiles` will not hear in their own language, or not at all, and why;
        for the operator. Raises VoicingError."""
        languages = _languages(profiles)
        try:
            spoken = compose_all(request, self._templates, languages)
        except ScriptError as error:
            raise VoicingError(str(error)) from error
        found = [
            f"{lack.language} is said in Mandarin: {lack.reason}"
            if lack.whole
            else f"{lack.language} leaves to Mandarin: {lack.reason}"
            for lack in spoken.fallback
        ]
        scripts = {script.language: script for script in spoken.scripts}
        for language in [tag for tag in scripts if not self._choices(tag, request).usable]:
            del scripts[language]
            why = "; ".join(f"{o.offer.name}: {o.why}" for o in self._choices(language, request).left_out)
            found.append(f"{language} is said in Mandarin: {why or 'the county has no voice for it'}")
        scripts.setdefault(MANDARIN, self.script(request))
        for order in dict.fromkeys(wanted[0] for wanted in airtime.orders(profiles or {}, scripts)):
            plan = self._plan(scripts, order)
            found += [
                f"{lost.language} is cut, {plan.tag} is longer than {airtime.LONGEST_S:g} s: "
                f"{''.join(lost.sentences)}"
                for lost in plan.left_out
            ]
        return tuple(dict.fromkeys(found))

    def _plan(self, scripts: Mapping[str, Script], order: Sequence[str]) -> Airtime:
        return airtime.plan([scripts[language] for language in order], speed=self._options.speed)

    def _choices(self, language: str, request: ScriptRequest) -> Choices:
        fast = hazards.by_key(request.hazard).lane is hazards.Lane.FAST
        red = request.colour is Colour.RED
        return voices_for(language, request.kind, self._offers, red=red, fast=fast)

    def _form(self, request: ScriptRequest, speaker: str, codec: str) -> Form:
        which = _signal(request)
        return Form(which, Speaker(speaker), codec, permit=self._permit if which.siren else None)

    # --- clips ---------------------------------------------------------------------------------

    async def known(self, request: ScriptRequest, profiles: Mapping[Profile, int] | None = None) -> bool:
        """Whether the whole clip of these words for most of the loudspeakers is in the library: then no lead
        is needed. One that would wait for an operator is none. What cannot be composed is said by the generic
        clip, which is there."""
        try:
            message = self._message(request, Part.WHOLE, profiles, urgency=0)
        except VoicingError:
            return True
        wanted = airtime.orders(profiles or {}, self._able(message), limit=2)[0]
        found = await self._kept(message, wanted)
        return found is not None and not isinstance(self._outcome(message, found[1], more=False), Hold)

    async def lead_kept(
        self, request: ScriptRequest, profiles: Mapping[Profile, int] | None = None
    ) -> ClipRecord | None:
        """The lead's clip for most of the loudspeakers, if it is in the library. Raises VoicingError."""
        message = self._message(request, Part.LEAD, profiles, urgency=0)
        found = await self._kept(message, airtime.orders(profiles or {}, self._able(message), limit=2)[0])
        return found[1] if found else None

    async def clip(
        self,
        request: ScriptRequest,
        part: Part = Part.WHOLE,
        *,
        preview: bool = True,
        ahead: bool = False,
        profiles: Mapping[Profile, int] | None = None,
        patience_s: float | None = None,
    ) -> ClipRecord:
        """The clip of these words that most of the loudspeakers will play, from the library or spoken now:
        the very one that is aired. `ahead`: nobody waits for it, and it waits for everybody. `patience_s`:
        more time than a warning has. It has been listened to, where that is configured. Raises
        VoicingError, and OSError when the disk does not take it."""
        urgency = AHEAD if ahead else _urgency(request, part, preview=preview)
        message = self._message(request, part, profiles, urgency=urgency)
        message.patient = True
        if patience_s is not None:
            message.ends = asyncio.get_running_loop().time() + patience_s
            message.hearing_s = AFTERWARDS_S
        try:
            return (await self._clips(message, profiles, most=1))[0][1]
        except VoiceError as error:
            raise VoicingError(str(error)) from error

    async def voice(
        self,
        request: ScriptRequest,
        part: Part,
        profiles: Mapping[Profile, int] | None = None,
        *,
        doubted: Doubted | None = None,
    ) -> tuple[Variant, ...]:
        """What the loudspeakers of `profiles` (with how many of each) will be offered, that of most of them
        made first; never fails, because silence is not an answer. `doubted`: told when no voice says it
        right; whether it waits then is the caller's."""
        message = None
        try:
            message = self._message(request, part, profiles, urgency=_urgency(request, part, preview=False))
            made = await self._clips(message, profiles)
        except (VoiceError, VoicingError, OSError) as error:
            why = _unwritten(error) if isinstance(error, OSError) else str(error)
            text = message.scripts[MANDARIN].text if message else request.description or request.hazard
            self._metrics.voice_failures.inc()
            self._alarm(f"{why}; the generic clip goes out instead of: {text[:80]}")
            made = [(((MANDARIN,), "", "mp3"), floor.generic(request.kind, request.stage, request.hazard)[1])]
        clips = sorted({record.sha256 for _, record in made})
        until = time.time() + _PINNED_S
        await self.pin(clips, f"aired {clips[0]}", until)
        variants = [
            Variant(record.language, record.codec, record.sha256, record.size, record.seconds, speaker)
            for (_, speaker, _), record in made
        ]
        if message is None:
            return tuple(variants)
        for one, kept in message.unheard if request.kind != "test" else ():
            self.ear.afterwards(partial(self._listen_later, message, one, kept, doubted))
        if message.outcomes and doubted is not None:
            await doubted(next((o for o in message.outcomes if isinstance(o, Hold)), message.outcomes[0]))
        # Of equals a terminal takes the first; what only some can decode was made for them.
        return tuple(sorted(variants, key=lambda variant: variant.codec == "mp3"))

    async def pin(self, clips: Iterable[str], reason: str, until: float) -> None:
        """Keep `clips` until then (Unix seconds): what is placed at terminals, or will be."""
        await self._noted(self._library.pin, tuple(clips), reason, until)

    def has(self, sha256: str) -> bool:
        """Whether this clip is still here to be fetched."""
        return self._library.path(sha256).is_file()

    async def unpin(self, reason: str) -> None:
        await self._noted(self._library.unpin, reason)

    async def _noted(self, note: Callable[..., None], *what: object) -> None:
        """A full disk refuses it with an alarm: no sound waits for what is only noted."""
        try:
            await asyncio.to_thread(note, *what)
        except OSError as error:
            self._alarm(_unwritten(error))

    async def keep(self, made: Rendered, key: str, language: str) -> ClipRecord:
        """A clip that somebody else had rendered (countdowns), found again with `kept`. Raises
        OSError."""
        return await self._keep(made, key, language, made.voice, Form(Signal.TEST), synthetic=True)

    async def kept(self, key: str) -> ClipRecord | None:
        return await asyncio.to_thread(self._library.get, key)

    @property
    def held_bytes(self) -> int:
        """Size of all clips."""
        return self._library.size

    @property
    def renderer(self) -> Renderer:
        """The voice process, for who speaks without a script (countdowns)."""
        return self._renderer

    def _message(
        self, request: ScriptRequest, part: Part, profiles: Mapping[Profile, int] | None, *, urgency: int
    ) -> _Message:
        scripts = self._scripts(request, _languages(profiles))
        scripts.setdefault(MANDARIN, self.script(request))
        if part is Part.LEAD:
            scripts = {language: script.brief() for language, script in scripts.items()}
        allowed = LEAD_DEADLINE_S if part is Part.LEAD else WHOLE_DEADLINE_S
        ends = asyncio.get_running_loop().time() + allowed
        return _Message(request, part, scripts, urgency, ends)

    def _able(self, message: _Message, failed: Iterable[str] = ()) -> list[str]:
        """Languages of the message that a voice of the county may say."""
        return [
            tag for tag in message.scripts if tag not in failed and self._choices(tag, message.request).usable
        ]

    async def _clips(
        self, message: _Message, profiles: Mapping[Profile, int] | None, *, most: int | None = None
    ) -> list[tuple[Wanted, ClipRecord]]:
        """One clip for each that is wanted, that of most loudspeakers first. A language that fails is left
        out, and Mandarin stands in for it. Raises VoiceError when Mandarin fails, or nothing comes of it,
        OSError when the disk takes none."""
        began = time.monotonic()
        failed: dict[str, VoiceError] = {}
        made: dict[Wanted, ClipRecord] = {}
        while True:
            wanted = airtime.orders(profiles or {}, self._able(message, failed))[:most]
            try:
                for one in wanted:
                    if one not in made and (record := await self._checked(message, one, first=not made)):
                        made[one] = record
                break
            except OSError as error:
                if not made:
                    raise
                self._alarm(f"{_unwritten(error)}; no clip for {one[1]} ({one[2]}): they play another one's")
                break
            except _Mute as error:
                if error.language == MANDARIN or error.language in failed:
                    if any(one in made for one in wanted) and error.language == MANDARIN:
                        break  # what is there is better than the generic clip
                    raise
                failed[error.language] = error
                self._metrics.voice_failures.inc()
                self._alarm(f"{error}; {error.language} is said in Mandarin")
        found = [(one, made[one]) for one in wanted if one in made]
        if not found:
            raise VoiceError(VoiceFailure.TIMEOUT, f"nothing was ready within {message.part} time")
        self._metrics.voice_seconds.set(time.monotonic() - began)
        return found

    # --- does it say what we meant -------------------------------------------------------------

    async def _checked(self, message: _Message, wanted: Wanted, *, first: bool) -> ClipRecord | None:
        """As `_made`, by the first voice that says it right; where none does, the best of them, with its
        outcome told. Raises _Mute."""
        tried: list[ClipRecord] = []
        while True:
            try:
                made = await self._made(message, wanted, first=first or bool(tried))
            except _Mute:
                if not tried:
                    raise
                made = None
            if made is None:
                break
            record = await self._listened(message, wanted, made)
            tried.append(record)
            said = set(record.voice.split("+"))
            more = any(choice.offer.name not in said for choice in self._mandarin_voices(message, wanted))
            outcome = self._outcome(message, record, more=more)
            if not isinstance(outcome, TryNext) or said <= message.refused:
                break
            log.warning("%s: %s; the next voice says it", record.voice, outcome.why)
            message.refused |= said
        if not tried:
            return None
        best = min(tried, key=lambda r: (bool(r.doubt), r.ser is None, r.ser or 0.0))
        final = self._outcome(message, best, more=False)
        if isinstance(final, Hold | TakeFlagged):
            self._metrics.doubts.inc()
            message.outcomes.append(final)
        return best

    def _outcome(
        self, message: _Message, record: ClipRecord, *, more: bool
    ) -> Take | TryNext | Hold | TakeFlagged:
        found = (record.doubt,) if record.doubt and self.ear.check != "off" else ()
        return after_check(None, found, red=message.red, fast=message.fast, more_voices=more)

    def _mandarin_voices(self, message: _Message, wanted: Wanted) -> list[VoiceChoice]:
        """Those that may say the Mandarin of it and have not failed to."""
        usable = self._choices(MANDARIN, message.request).usable if MANDARIN in wanted[0] else ()
        return [
            c for c in usable if c.offer.engine is not Engine.BANK and c.offer.name not in message.refused
        ]

    async def _listened(self, message: _Message, wanted: Wanted, made: Kept) -> ClipRecord:
        """Its record with what was heard, if it is to be listened to and there is time."""
        key, record = made
        if not self.to_be_heard(record) or _signal(message.request).siren:  # minutes of wailing
            return record
        like = message.heard.get((wanted[0], record.voice))
        if like is None:
            if (message.red or message.fast) and not message.patient:
                message.unheard.append((wanted, made))
                return record
            left = message.hearing_s or BUDGET_S[message.part]
            if not message.patient:
                left = min(left, message.left)
            like = await self._listen(message, wanted, record, left)
            if like is None:
                message.unheard.append((wanted, made))
                return record
            message.heard[wanted[0], record.voice] = like
        record = replace(record, ser=like.ser, doubt=like.doubt)
        await self._noted(self._library.amend, key, record)
        return record

    def to_be_heard(self, record: ClipRecord) -> bool:
        """Mandarin by a machine that nobody has listened to yet, and now somebody could."""
        return (
            self.ear.open
            and record.ser is None
            and record.synthetic
            and MANDARIN in record.language.split("+")
        )

    async def _listen(
        self, message: _Message, wanted: Wanted, record: ClipRecord, budget_s: float
    ) -> ClipRecord | None:
        """What of it is Mandarin, heard; None where that was not possible in time."""
        words, places = record.text, message.request.places
        try:
            async with asyncio.timeout(budget_s):
                if record.language == MANDARIN:
                    sound = await self.audio(record.sha256)
                else:
                    plan = self._plan(message.scripts, wanted[0])
                    said = [x for s in plan.segments if s.language == MANDARIN for x in s.sentences]
                    words = "".join(said)
                    if self.name not in record.voice.split("+"):
                        return None
                    speech = await self._renderer.speak(said, voice=self.name, speed=self._options.speed)
                    sound = wav(speech.pcm, speech.sample_rate)
                return await self.ear.heard(record, sound, words=words, places=places, budget_s=budget_s)
        except (TimeoutError, Unknown, VoiceError) as error:
            log.warning("nobody listened to %s: %s", record.sha256[:12], str(error) or "no time")
            return None

    async def _listen_later(
        self, message: _Message, wanted: Wanted, made: Kept, doubted: Doubted | None
    ) -> None:
        """What was aired unheard. What is wrong with it is told, loudly: it is too late to hold it."""
        key, record = made
        known = await asyncio.to_thread(self._library.get, key)
        if known is not None and known.ser is not None:
            return
        heard = await self._listen(message, wanted, record, AFTERWARDS_S)
        if heard is None:
            return
        await self._noted(self._library.amend, key, heard)
        if heard.doubt and heard.doubt != record.doubt:
            self._metrics.doubts.inc()
            self._alarm(f"aired, and it may not say what was meant: {heard.doubt}: {heard.text[:80]}")
            if doubted is not None:
                await doubted(TakeFlagged(heard.doubt))

    async def _made(self, message: _Message, wanted: Wanted, *, first: bool) -> Kept | None:
        """From the library or spoken now; None for one of several for which there was no time or no codec,
        because others can be played in its place. Raises _Mute."""
        known = await self._kept(message, wanted)
        if known is not None:
            return known
        try:
            return await self._render(message, wanted)
        except _Mute as error:
            if first or error.language != MANDARIN:
                raise
            self._alarm(f"{error}; no clip for {wanted[1]} ({wanted[2]}): they play another one's")
            return None

    async def _kept(self, message: _Message, wanted: Wanted) -> Kept | None:
        plan = self._plan(message.scripts, wanted[0])
        found = [
            [
                c
                for c in self._choices(language, message.request).usable
                if c.offer.name not in message.refused
            ]
            for language in wanted[0]
        ]
        for chosen in itertools.islice(itertools.product(*map(_speaking, found)), 16):
            names = dict(zip(wanted[0], (choice.offer.name for choice in chosen), strict=True))
            recorded = await asyncio.to_thread(self._recordings, plan, message.request)
            key = self._key(message, plan, wanted, names, recorded)
            known = await asyncio.to_thread(self._library.get, key)
            if known is not None:
                return key, known
        return None

    async def _render(self, message: _Message, wanted: Wanted) -> Kept:
        """Raises _Mute."""
        plan = self._plan(message.scripts, wanted[0])
        recorded = await asyncio.to_thread(self._recordings, plan, message.request)
        form = self._form(message.request, *wanted[1:])
        names = {language: self.name for language in plan.languages if language == MANDARIN}
        pieces: dict[Segment, Piece] = {}
        for language in plan.languages:
            segments = [segment for segment in plan.segments if segment.language == language]
            if language == MANDARIN:
                pieces |= {s: Piece(s.sentences, recorded=_paths(recorded, s)) for s in segments}
            else:
                names[language] = await self._speak(message, segments, recorded, pieces)
        ordered = [replace(pieces[s], pause=airtime.BETWEEN_LANGUAGES) for s in plan.segments]
        made = await self._mandarin(message, plan, ordered, form, names)
        spoken = [sentence for segment in plan.segments for sentence in segment.sentences]
        key = self._key(message, plan, wanted, names, recorded)
        return key, await self._keep(
            made,
            key,
            plan.tag,
            "+".join(dict.fromkeys(names[language] for language in plan.languages)),
            form,
            synthetic=any(words not in recorded or recorded[words].synthetic for words in spoken),
        )

    async def _keep(
        self, made: Rendered, key: str, language: str, voice: str, form: Form, *, synthetic: bool
    ) -> ClipRecord:
        record = ClipRecord(
            sha256=hashlib.sha256(made.clip).hexdigest(),
            size=len(made.clip),
            seconds=made.seconds,
            lufs=made.lufs,
            dbtp=made.dbtp,
            codec=form.codec,
            language=language,
            voice=voice,
            synthetic=synthetic,
            text="".join(made.spoken),
            speaker=form.speaker,
            doubt="; ".join(made.findings),
        )
        await asyncio.to_thread(self._library.add, key, made.clip, record)
        return record

    async def _speak(
        self,
        message: _Message,
        segments: Sequence[Segment],
        recorded: Mapping[str, Recording],
        pieces: dict[Segment, Piece],
    ) -> str:
        """`segments` of another language than Mandarin: recorded as a whole, or spoken by the first voice
        that can. Returns its name. Raises _Mute."""
        language = segments[0].language
        if all(sentence in recorded for segment in segments for sentence in segment.sentences):
            for segment in segments:
                pieces[segment] = Piece(segment.sentences, recorded=_paths(recorded, segment))
            return self._banks[language][0][0].name
        lacks = VoiceError(VoiceFailure.LANGUAGE, f"nobody has recorded all of it in {language}")
        for choice in self._choices(language, message.request).usable:
            if choice.offer.engine in (Engine.BANK, Engine.KOKORO):
                continue
            try:
                for segment in segments:
                    speech = await self._speech(message, choice, segment, segment.sentences)
                    pieces[segment] = Piece(segment.sentences, speech)
                return choice.offer.name
            except VoiceError as error:
                log.warning("%s: %s", choice.offer.name, error)
                lacks = error
        raise _Mute(language, lacks)

    async def _speech(
        self, message: _Message, choice: VoiceChoice, segment: Segment, words: Sequence[str]
    ) -> Speech:
        """By a voice outside the voice process; what it said for this message already, it does not say twice.
        Raises VoiceError."""
        key = (choice.offer.name, segment)
        if key not in message.speeches:
            budget = max(0.1, min(choice.budget_s, message.left))
            voice = voices.opened(self._options, replace(choice, budget_s=budget), self._renderer.decode)
            message.speeches[key] = await voice.speak(words, speed=choice.offer.speed)
        return message.speeches[key]

    async def _mandarin(
        self, message: _Message, plan: Airtime, pieces: Sequence[Piece], form: Form, names: dict[str, str]
    ) -> Rendered:
        """The clip of `pieces`, their Mandarin by the offline voice; or by another one, where the county
        approved it and it was whole in time: the online voice while the offline one speaks as well, the rest
        when that has failed. Raises _Mute."""
        found = self._choices(MANDARIN, message.request).usable if MANDARIN in names else ()
        usable = [choice for choice in found if choice.offer.name not in message.refused]
        others = [c for c in usable if c.offer.engine not in (Engine.KOKORO, Engine.BANK)]
        offline = MANDARIN not in names or any(c.offer.engine is Engine.KOKORO for c in usable)
        first = [choice for choice in others if choice.offer.online]
        last = [choice for choice in others if not choice.offer.online]
        needless = asyncio.Event()
        speaking = asyncio.create_task(
            self._offline(message, pieces, form, needless, allowed=offline), name="voice.offline"
        )
        try:
            if first:
                try:
                    return await self._by_others(message, plan, pieces, form, first, names)
                except VoiceError as error:
                    log.warning("%s; the offline voice speaks instead", error)
                    self._metrics.voice_failures.inc()
            try:
                return await speaking
            except VoiceError as error:
                if not last:
                    raise _Mute(MANDARIN if MANDARIN in names else plan.languages[0], error) from error
            try:
                return await self._by_others(message, plan, pieces, form, last, names)
            except VoiceError as error:
                raise _Mute(MANDARIN, error) from error
        finally:
            needless.set()
            if not speaking.done() and asyncio.current_task().cancelling():  # type: ignore[union-attr]
                speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)

    async def _offline(
        self,
        message: _Message,
        pieces: Sequence[Piece],
        form: Form,
        needless: asyncio.Event,
        *,
        allowed: bool,
    ) -> Rendered:
        if not allowed:
            raise VoiceError(VoiceFailure.REFUSED, f"{self.name}: nobody of the county has approved it")
        return await self._renderer.render_pieces(
            pieces,
            form,
            voice=self.name,
            speed=self._options.speed,
            deadline_s=message.left,
            urgency=message.urgency,
            needless=needless,
        )

    async def _by_others(
        self,
        message: _Message,
        plan: Airtime,
        pieces: Sequence[Piece],
        form: Form,
        choices: Sequence[VoiceChoice],
        names: dict[str, str],
    ) -> Rendered:
        """The first of `choices` that speaks the Mandarin of `pieces`. Raises the last one's VoiceError."""
        lacks = VoiceError(VoiceFailure.LANGUAGE, "no voice to try")
        for choice in choices:
            try:
                said = list(pieces)
                for n, segment in enumerate(plan.segments):
                    if segment.language == MANDARIN and set(segment.sentences) - set(pieces[n].recorded):
                        words, aloud = await self._renderer.read(segment.sentences, urgency=message.urgency)
                        speech = await self._speech(message, choice, segment, aloud)
                        said[n] = replace(said[n], sentences=words, speech=speech, recorded={})
                made = await self._renderer.render_pieces(
                    said,
                    form,
                    voice=choice.offer.name,
                    speed=choice.offer.speed,
                    deadline_s=message.left,
                    urgency=message.urgency,
                )
            except VoiceError as error:
                log.warning("%s: %s", choice.offer.name, error)
                lacks = error
            else:
                names[MANDARIN] = choice.offer.name
                return made
        raise lacks

    def _recordings(self, plan: Airtime, request: ScriptRequest) -> dict[str, Recording]:
        """Sentence → (file, hash) of what a person of the county has said and somebody has approved. Reads
        files."""
        found: dict[str, Recording] = {}
        for segment in plan.segments:
            for offer, bank in self._banks.get(segment.language, ()):
                if request.kind == "actual" and not offer.approved_by:
                    continue
                approved = request.kind == "actual"
                said = bank.recorded(segment.language, segment.sentences, approved_only=approved)
                found |= {words: r for words, r in said.items() if words not in found}
        return found

    def _key(
        self,
        message: _Message,
        plan: Airtime,
        wanted: Wanted,
        names: Mapping[str, str],
        recorded: Mapping[str, Recording],
    ) -> str:
        scripts = [message.scripts[language] for language in plan.languages]
        said = [f"{s.language}:{x}" for s in plan.segments for x in s.sentences] if len(scripts) > 1 else [
            x for s in plan.segments for x in s.sentences
        ]  # fmt: skip
        hashes = sorted(recording.sha256 for recording in recorded.values())
        if _signal(message.request).siren:
            hashes.append(repr(self._permit))
        return cache_key(
            said,
            voice="+".join(names.get(language, "") for language in plan.languages),
            speed=self._options.speed,
            signal=_signal(message.request),
            template="+".join(script.template for script in scripts),
            version="+".join(script.version for script in scripts),
            readings=self._readings,
            form="/".join((*wanted[1:], *hashes)),
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


def _unwritten(error: OSError) -> str:
    return f"the library of clips cannot be written: {error.strerror}"


def _signal(request: ScriptRequest) -> Signal:
    """A siren in an exercise alone, whatever is asked for."""
    if request.siren and request.kind == "exercise":
        return Signal(f"siren_{request.siren}")
    return signal_for(request.kind, request.colour, request.stage, request.hazard)


def _languages(profiles: Mapping[Profile, int] | None) -> tuple[str, ...]:
    """Every language of `profiles`, once; Mandarin where there are none."""
    found = [tag for profile in profiles or () for tag in profile.languages]
    return tuple(dict.fromkeys(found)) or (MANDARIN,)


def _speaking(choices: Sequence[VoiceChoice]) -> list[VoiceChoice]:
    """Those that can name a clip: recordings alone where nothing else speaks the language."""
    return [c for c in choices if c.offer.engine is not Engine.BANK] or list(choices)


def _paths(recorded: Mapping[str, Recording], segment: Segment) -> dict[str, Path]:
    return {words: recorded[words].path for words in segment.sentences if words in recorded}


def _urgency(request: ScriptRequest, part: Part, *, preview: bool) -> int:
    """Whose sentences the one voice speaks first: real before drill, a lead or an all-clear before a whole,
    what goes out before what is only looked at."""
    if preview or request.standing:
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
