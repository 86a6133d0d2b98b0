"""A terminal on the bench: keys, commands, and a host that carries out what `Core` says."""

from __future__ import annotations

import random
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from terminals.agent.core import (
    Alarm,
    Core,
    Durable,
    Effect,
    Fetch,
    FetchManifest,
    Identity,
    Save,
    Send,
    Silence,
    Sound,
    Subscribe,
)
from terminals.seal import KeyRing, KeyRole, Signer, new_signer, open_report, report_key
from terminals.wire import (
    Clip,
    Command,
    Hello,
    Manifest,
    Play,
    Query,
    Report,
    Ring,
    RingKey,
    Stage,
    StagedClip,
    Stop,
    Targets,
    Time,
    Upward,
    encode_manifest,
    set_id,
)

ME = "t-0001"
SECRET = bytes(range(32))
SIGNERS = {role: new_signer(role, bytes([n + 1]) * 36) for n, role in enumerate(KeyRole)}
STRANGER = new_signer(KeyRole.ACTUAL, bytes([99]) * 36)
RING = KeyRing.of(SIGNERS.values())
ACTUAL, EXERCISE, TEST, SERVICE, ROOT = (SIGNERS[role] for role in KeyRole)
HOUR = 3_600_000
EPOCH = 1_800_000_000_000
AT_ONCE = (0, 1, 2, 4)


def clip(n: int = 1, language: str = "zh", codec: str = "mp3", seconds: float = 10.0) -> Clip:
    return Clip(language, codec, f"{n:064x}", 1000, seconds, f"clips/{n}.mp3")


def identity(**changes: Any) -> Identity:
    given: dict[str, Any] = {
        "id": ME,
        "county": "623023",
        "report_key": report_key(SECRET, ME),
        "ring": RING,
        "groups": ("v1", "county"),
        "languages": ("bo", "zh"),
        "codecs": frozenset({"mp3"}),
        "roles": frozenset({KeyRole.ACTUAL, KeyRole.EXERCISE, KeyRole.TEST}),
    }
    return Identity(**(given | changes))


class Rig:
    """One terminal, its disk, its loudspeaker, and an honest controller's clock."""

    def __init__(self, *, held: Iterable[int] = (1, 2, 3), sync: bool = True, **changes: Any) -> None:
        self.identity = identity(**changes)
        self.disk = Durable().to_bytes()
        self.mono = 5_000
        self.wire = EPOCH
        self.held = {f"{n:064x}" for n in held}
        self.manifests: dict[str, Manifest] = {}
        self.random = random.Random(1)
        self.boots = 0
        self.counter = EPOCH
        self.speaker: Sound | None = None
        self.effects: list[Effect] = []
        self.sent: list[Upward] = []
        self.boot(sync=sync)

    # --- life ---

    def boot(self, *, sync: bool = True) -> None:
        """Power on: everything but the disk is new."""
        self.boots += 1
        self.speaker = None
        self.core = Core(
            self.identity,
            Durable.from_bytes(self.disk),
            boot=f"boot-{self.boots}",
            random=self.random,
            held=self.held,
            manifests=self.manifests,
        )
        if sync:
            self.sync()

    def sync(self) -> list[Effect]:
        self.run(self.core.connected(self.mono))
        return self.time()

    def time(self, **changes: Any) -> list[Effect]:
        """The controller's answer to the last Hello."""
        given: dict[str, Any] = {
            "terminal": self.identity.id,
            "nonce": self.hello.nonce,
            "now": self.wire,
            "groups": self.identity.groups,
            "audio_base": "http://audio/",
        }
        return self.give(Time(**(given | changes)), SERVICE)

    def wait(self, ms: int, *, tick: bool = True) -> list[Effect]:
        """Time passes, with a tick at every moment that was asked for."""
        end = self.mono + ms
        done: list[Effect] = []
        while tick and (wake := self.core.next_wake()) is not None and wake <= end:
            self.wire += max(wake - self.mono, 0)
            self.mono = max(wake, self.mono)
            before = self.mono
            done += self.run(self.core.tick(self.mono))
            after = self.core.next_wake()
            assert after is None or after > before, "next_wake must move on"
        self.wire += end - self.mono
        self.mono = end
        return done

    def run(self, effects: list[Effect], upto: int | None = None) -> list[Effect]:
        """Carry out all effects, or only the first `upto` of them."""
        for effect in effects[:upto]:
            match effect:
                case Save():
                    self.disk = self.core._durable.to_bytes()
                case Sound():
                    assert self.speaker is None, "one sound at a time"
                    self.speaker = effect
                case Silence():
                    assert self.speaker is not None
                    assert self.speaker.broadcast == effect.broadcast
                    self.speaker = None
                case Send():
                    self.sent.append(open_report(effect.payload, lambda _: self.identity.report_key))
                case Fetch() | FetchManifest() | Subscribe() | Alarm():
                    pass
        self.effects = effects
        return effects

    # --- commands ---

    def play(self, broadcast: str = "b1", **changes: Any) -> Play:
        self.counter += 1
        given: dict[str, Any] = {
            "broadcast": broadcast,
            "event": "e",
            "role": "actual",
            "attempt": 1,
            "counter": self.counter,
            "issued": self.wire,
            "not_before": self.wire,
            "expires": self.wire + HOUR,
            "priority": AT_ONCE,
            "targets": Targets(groups=("v1",)),
            "clips": (clip(),),
            "repeats": 2,
            "volume": 80,
        }
        return Play(**(given | changes))

    def stop(self, *broadcasts: str, **changes: Any) -> Stop:
        self.counter += 1
        given: dict[str, Any] = {
            "broadcasts": broadcasts,
            "role": "actual",
            "counter": self.counter,
            "issued": self.wire,
            "expires": self.wire + HOUR,
            "targets": Targets(terminals=(ME,)),
        }
        return Stop(**(given | changes))

    def give(self, command: Command, signer: Signer | None = None) -> list[Effect]:
        if signer is None:
            role = command.role if isinstance(command, Play | Stop) else "service"
            signer = SIGNERS[KeyRole(role)]
        return self.bytes(signer.seal(command))

    def bytes(self, payload: bytes) -> list[Effect]:
        return self.run(self.core.command(payload, self.mono))

    def ask(self, broadcast: str = "b1") -> set[tuple[int, str, str]]:
        """What the terminal answers to a Query."""
        self.give(Query(broadcast, self.wire))
        return self.facts(broadcast)

    def stage(self, manifest: Manifest, **changes: Any) -> str:
        """A Stage of it; the set's id."""
        data = encode_manifest(manifest)
        digest = sha256(data).hexdigest()
        given: dict[str, Any] = {
            "set": set_id(digest),
            "sha256": digest,
            "size": len(data),
            "url": f"sets/{digest}",
            "issued": self.wire,
            "expires": self.wire + 24 * HOUR,
            "targets": Targets(groups=("v1",)),
        }
        stage = Stage(**(given | changes))
        self.give(stage)
        return stage.set

    def manifest(self, name: str, manifest: Manifest | None, problem: str | None = None) -> list[Effect]:
        """The host has fetched it, or has not."""
        if manifest is not None:
            self.manifests[name] = manifest
        return self.run(self.core.manifest(name, self.mono, manifest, problem))

    # --- the loudspeaker ---

    def started(self, broadcast: str = "b1") -> list[Effect]:
        return self.run(self.core.started(broadcast, self.mono))

    def finished(self, broadcast: str = "b1") -> list[Effect]:
        self.speaker = None
        return self.run(self.core.finished(broadcast, self.mono))

    def broke(self, broadcast: str = "b1", reason: str = "amplifier", detail: str = "") -> list[Effect]:
        self.speaker = None
        return self.run(self.core.broke(broadcast, self.mono, reason, detail))

    def fetched(self, n: int, problem: str | None = None) -> list[Effect]:
        if problem is None:
            self.held.add(f"{n:064x}")
        return self.run(self.core.fetched(f"{n:064x}", self.mono, problem))

    def play_out(self, broadcast: str = "b1") -> None:
        self.started(broadcast)
        self.wait(20_000)
        self.finished(broadcast)

    # --- what it said ---

    @property
    def hello(self) -> Hello:
        return next(m for m in reversed(self.sent) if isinstance(m, Hello))

    def reports(self, broadcast: str = "b1") -> list[Report]:
        return [m for m in self.sent if isinstance(m, Report) and m.broadcast == broadcast]

    def facts(self, broadcast: str = "b1") -> set[tuple[int, str, str]]:
        """The facts of the last report about it."""
        return {(f.attempt, f.state, f.reason) for f in self.reports(broadcast)[-1].facts}

    def states(self, broadcast: str = "b1") -> list[str]:
        """The states of the last report about it, in their order, with reasons after a colon."""
        last = self.reports(broadcast)[-1]
        return [f"{f.state}:{f.reason}" if f.reason else f.state for f in last.facts]

    @property
    def sounding(self) -> str | None:
        """What the loudspeaker was last told to play."""
        return None if self.speaker is None else self.speaker.broadcast


def kinds(effects: list[Effect]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


def staged_clip(name: str, n: int, **changes: Any) -> StagedClip:
    """Entry of a manifest whose clip has the hash n."""
    given: dict[str, Any] = {
        "name": name,
        "language": "zh",
        "codec": "mp3",
        "speaker": "",
        "sha256": f"{n:064x}",
        "size": 1000,
        "seconds": 8.0,
        "url": "",
    }
    return StagedClip(**(given | changes))


def sealed_by(signer: Signer, body: bytes) -> bytes:
    """A genuine seal around words that the signer itself would refuse to say."""
    key_id = signer.key_id.encode()
    seal = signer._private.sign(b"fenghuo/1 command\n" + key_id + b"\n" + body)
    return b"FH1 " + key_id + b" " + urlsafe_b64encode(seal).rstrip(b"=") + b"\n" + body


def ring_of(signers: Iterable[Signer], version: int, issued: int = EPOCH, **changes: Any) -> Ring:
    """A Ring that names the public halves of these, but of no root key."""
    public = KeyRing.of(s for s in signers if s.role is not KeyRole.ROOT).to_dict()
    keys = {key_id: RingKey(entry["role"], entry["public"]) for key_id, entry in public.items()}
    given: dict[str, Any] = {"county": "623023", "version": version, "issued": issued, "keys": keys}
    return Ring(**(given | changes))
