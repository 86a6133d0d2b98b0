"""The keys while the controller runs: sends the Ring to who lacks it, seals with the key that reaches them,
and takes up what `fenghuo keys rotate` and `revoke` have written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from controller.dispatch import Signers
from controller.keys import CountyKeys, KeysError
from controller.metrics import Metrics
from controller.rotation import Coverage, coverage, sealing
from controller.staging import Staging
from controller.store import Store, StoreError
from terminals.broadcast import Kind
from terminals.fleet import EVERYONE
from terminals.seal import SOUNDING, KeyRole, Signer
from terminals.transport import ToGroup, Transport, TransportError
from terminals.wire import Hello

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0
"""How soon a change of the key files is taken up."""
LIFETIME_S: Final = 3_600
TOLD_EVERY_MS: Final = 600_000
"""A terminal with a newer ring than ours is told so often."""
META: Final = "ring_version"


def signers_of(keys: CountyKeys) -> Signers:
    """As of the start, before it is known who holds which ring."""
    return Signers(
        {Kind(role.value): s for role, s in keys.signers.items() if role in SOUNDING},
        keys.signers[KeyRole.SERVICE],
    )


class Rings:
    """`read`: the keys as the disk has them now (raises KeysError); `changed`: told when they are others."""

    def __init__(
        self,
        keys: CountyKeys,
        signers: Signers,
        *,
        read: Callable[[], CountyKeys],
        stamp: Callable[[], object],
        transport: Transport,
        staging: Staging,
        store: Store,
        held: Mapping[str, int],
        seen: Mapping[str, int],
        enrolled: Callable[[str], bool],
        now: Callable[[], int],
        alarm: Callable[[str], None],
        metrics: Metrics,
        changed: Callable[[CountyKeys], None],
    ) -> None:
        """`held`, `seen`: of each terminal the version and the time of its last hello, from the store.
        `stamp` tells without reading whether the disk has changed."""
        self.keys = keys
        self._signers = signers
        self._read = read
        self._stamp = stamp
        self._last = stamp()
        self._transport = transport
        self._staging = staging
        self._store = store
        self._held = dict(held)
        self._seen = dict(seen)
        self._enrolled = enrolled
        self._now = now
        self._alarm = alarm
        self._metrics = metrics
        self._changed = changed
        self._told = -TOLD_EVERY_MS
        self._unsent = False
        self._problem = ""
        self._choose()

    def coverage(self) -> Coverage:
        held = {t: v for t, v in self._held.items() if self._enrolled(t)}
        return coverage(self.keys.version, held, self._seen, self._now())

    def sealing(self) -> dict[str, str]:
        """Role → id of the key that seals now."""
        now = {kind.value: signer.key_id for kind, signer in self._signers.roles.items()}
        return {**now, KeyRole.SERVICE.value: self._signers.service.key_id}

    def problems(self) -> list[str]:
        """Why terminals may not obey."""
        return [self._problem] if self._problem else []

    def heard(self, hello: Hello, now: int) -> bytes | None:
        """The Ring as it is owed to this terminal, if it holds an older one."""
        self._held[hello.terminal] = hello.ring
        self._seen[hello.terminal] = now
        if hello.ring > self.keys.version:
            self._behind(f"terminal {hello.terminal} holds ring {hello.ring}", now)
        return self.keys.envelope if hello.ring < self.keys.version else None

    async def run(self) -> None:
        """Until cancelled."""
        await self._remember()
        self._unsent = self.keys.version > 0
        while True:
            self.look()
            if self._unsent:
                await self._publish()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Take up what has changed on the disk; seal with whichever key is right by now."""
        stamp = self._stamp()
        if stamp != self._last:
            self._last = stamp
            try:
                keys = self._read()
            except KeysError as error:
                self._alarm(f"the keys have changed and cannot be taken up: {error}; the old ones are used")
                return
            if keys.version < self.keys.version:
                self._behind(f"ring {self.keys.version} was in use", self._now())
                return
            if keys.version > self.keys.version:
                self.keys = keys
                self._unsent = True
                self._changed(keys)
                log.info("ring %d is in use: %s", keys.version, ", ".join(sorted(keys.ring.keys)))
        self._choose()

    def _behind(self, why: str, now: int) -> None:
        self._problem = (
            f"the ring in keys_dir is old: {why}, ours is {self.keys.version}: a backup of the keys was "
            "restored, or somebody has the root key; restore the newest copy of keys_dir"
        )
        if now - self._told >= TOLD_EVERY_MS:
            self._told = now
            self._alarm(self._problem)

    async def _remember(self) -> None:
        """The highest ring that this county has used, apart from the key files."""
        try:
            highest = int(await self._store.meta(META) or 0)
            if highest > self.keys.version:
                self._behind(f"ring {highest} was in use", self._now())
            elif highest < self.keys.version:
                await self._store.set_meta(META, str(self.keys.version))
        except StoreError as error:
            self._alarm(str(error))

    async def _publish(self) -> None:
        try:
            await self._transport.send(
                ToGroup(EVERYONE), self.keys.envelope, lifetime_s=LIFETIME_S, sure=True
            )
        except TransportError as error:
            log.info("ring %d is not sent yet: %s", self.keys.version, error)
            return
        self._unsent = False
        await self._remember()

    def _choose(self) -> None:
        now = self._now()
        found = self.coverage()
        chosen: dict[KeyRole, Signer] = {
            role: sealing(
                (*self.keys.older.get(role, ()), newest),
                self.keys.until,
                all_hold=not found.waiting,
                now=now,
            )
            for role, newest in self.keys.signers.items()
            if role is not KeyRole.ROOT
        }
        service = chosen[KeyRole.SERVICE]
        if service.key_id != self._signers.service.key_id:
            self._staging.seal_with(service)
        self._signers.use({Kind(r.value): s for r, s in chosen.items() if r in SOUNDING}, service)
        self._metrics.ring_version.set(self.keys.version)
        self._metrics.ring_waiting.set(len(found.waiting))
