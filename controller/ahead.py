"""What is made before it is needed: the countdown's clips, and the first words of what a warning may become.

It runs behind everything else: the voice takes it up only when it has nothing better to do. A later warning
whose words are the same finds its clip in the library, and the terminals hold it already.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Collection
from typing import Final, cast

from alerts.regions import County
from config.schema import Staging as Options
from controller.clock import to_ms, wall_ms
from controller.planning import Plan, likely
from controller.register import Register
from controller.staging import DAY_MS, EVENT, FLOOR, QUAKE, HeldSet, Staging, StagingError, named
from controller.store import StoreError
from controller.voicing import Voicing, VoicingError, profiles_of
from terminals import wire
from terminals.broadcast import Kind, Part
from terminals.fleet import cover
from tts import floor
from tts.bank import countdown as quake
from tts.library import ClipRecord
from tts.voice import VoiceError

log = logging.getLogger(__name__)

AGAIN_S: Final = 600.0
"""After the voice, or the disk, would not."""
RENEW_S: Final = 24 * 3600.0
PATIENCE_S: Final = 24 * 3600.0
"""How long one clip may wait behind what is needed now, before that counts as a voice that would not."""
PLANS: Final = 50
"""Warnings whose likely successors wait to be made; the oldest gives way."""
SOME: Final = tuple(map(quake.name, (None, 10, 5, 15, 20, 30)))
"""Clips of the countdown of a demonstration or a drill, which is not to wait two minutes for the voice."""


class Ahead:
    def __init__(
        self,
        staging: Staging,
        voicing: Voicing,
        register: Register,
        county: County,
        options: Options,
        now: Callable[[], int],
        *,
        only: Collection[str] | None = None,
    ) -> None:
        """`now`: wire time, ms. `only`: these clips of the countdown; None: all of them, two minutes of the
        voice, once in the life of a state folder."""
        self._staging = staging
        self._voicing = voicing
        self._register = register
        self._county = county
        self._options = options
        self._now = now
        self._only = only
        self._plans: asyncio.Queue[Plan] = asyncio.Queue(PLANS)

    def released(self, plan: Plan) -> None:
        """A plan that goes out: what it may become is made and placed, as the policy says. Never blocks."""
        if not likely(plan, self._options.ahead_from, self._options.hazards):
            return
        if self._plans.full():
            left = self._plans.get_nowait()
            log.warning("nothing is made ahead for %s: too many warnings wait for that", left.headline)
        self._plans.put_nowait(plan)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._lasting(), name="ahead.lasting")
            tasks.create_task(self._events(), name="ahead.events")

    async def _lasting(self) -> None:
        """The floor at once, the countdown when it is made; both renewed long before they expire."""
        while True:
            pause = RENEW_S
            try:
                await self.place_floor()
                await self._voicing.loaded.wait()
                for kind in QUAKE:
                    await self.place_countdown(kind)
            except (StagingError, StoreError, VoiceError, OSError, quake.CountdownError) as error:
                log.warning("%s; what terminals hold ahead is not complete yet", error)
                pause = AGAIN_S
            await asyncio.sleep(pause)

    async def _events(self) -> None:
        while True:
            plan = await self._plans.get()
            try:
                await self.prepare(plan)
            except (StagingError, StoreError, VoicingError, OSError) as error:
                log.warning("nothing is placed ahead for %s: %s", plan.headline, error)

    # --- what is placed ----------------------------------------------------------------------------

    async def place_floor(self) -> HeldSet:
        """The generic sentences. Raises StagingError, StoreError."""
        clips = [named(entry.name, entry.record) for entry in floor.manifest()]
        return await self._staging.place(FLOOR, clips)

    async def place_countdown(self, kind: Kind) -> HeldSet:
        """The countdown's clips; what the library lacks is spoken first, and kept one by one, so that a
        restart goes on where it ended. Raises StagingError, StoreError, VoiceError, OSError."""
        said = quake.sentences("zh", cast(quake.CountdownKind, kind.value))
        wanted = [clip for clip in said if self._only is None or clip in self._only]
        made: dict[str, ClipRecord] = {}
        for clip in wanted:
            if (record := await self._voicing.kept(self._key(clip, kind))) is not None:
                made[clip] = record
        if len(made) < len(wanted):
            async for clip, rendered in quake.countdown(
                self._voicing.renderer,
                kind=cast(quake.CountdownKind, kind.value),
                voice=self._voicing.name,
                only=set(wanted) - set(made),
            ):
                made[clip] = await self._voicing.keep(rendered, self._key(clip, kind), "zh")
        placed = await self._staging.place(QUAKE[kind], [named(clip, made[clip]) for clip in wanted])
        await self._pin(placed)
        return placed

    def _key(self, clip: str, kind: Kind) -> str:
        said = "".join(quake.sentences("zh", cast(quake.CountdownKind, kind.value))[clip])
        parts = ("countdown", kind.value, quake.VERSION, self._voicing.name, clip, said)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    async def prepare(self, plan: Plan, *, ahead_from: str = "", who: str = "controller") -> HeldSet | None:
        """What this warning may become, spoken and placed on its villages' terminals; None where it can
        become nothing worse. `ahead_from`: instead of the configured colour. Raises StagingError,
        StoreError, VoicingError, OSError."""
        hazards = ("*",) if ahead_from else self._options.hazards
        requests = likely(plan, ahead_from or self._options.ahead_from, hazards)
        if not requests:
            return None
        terminals = [self._register.terminals[t] for t in plan.terminals if t in self._register.terminals]
        profiles = profiles_of(terminals)
        classes = {profile.speaker for profile in profiles}
        clips: dict[tuple[str, str, str, str], wire.StagedClip] = {}
        for request in requests:
            name = f"event/{request.hazard}/{request.colour}/{request.stage}"
            for profile, count in profiles.items():
                record = await self._voicing.clip(
                    request, Part.LEAD, ahead=True, profiles={profile: count}, patience_s=PATIENCE_S
                )
                speaker = profile.speaker if len(classes) > 1 else ""
                variant = (name, record.language, record.codec, speaker)
                clips.setdefault(variant, named(name, record, speaker))
        if not clips:
            return None
        groups = plan.groups or cover(set(plan.villages), self._county)
        left = max(0, to_ms(plan.expires) - wall_ms())
        held = await self._staging.place(
            f"{EVENT}{plan.event_key}",
            list(clips.values()),
            groups,
            expires=self._now() + left + DAY_MS,
            who=who,
        )
        await self._pin(held)
        log.info("%s: %d clips are placed ahead as %s", plan.headline, len(clips), held.id)
        return held

    async def _pin(self, held: HeldSet) -> None:
        until = (held.row.expires + wall_ms() - self._now()) / 1000
        await self._voicing.pin([clip.sha256 for clip in held.manifest.clips], held.id, until)
