"""The terminal as a program: carries out what `Core` decides, on a real board.

One event loop, one TaskGroup. The sound device has a thread of its own (`player`), so that neither the link
nor the disk can make it stutter; clips are fetched by tasks of their own. All that the core decides about
goes through `_do`: a call, then its effects in order, then the timer for its next wish.

Two liberties are taken with the order of effects. A Silence does not wait for the disk: what falls silent
and was not saved is stopped again after a power cut. And a disk that cannot save (worn out, read-only) does
not silence a genuine warning: it sounds, every report of it goes out, and the log and `status` say that a
power cut would make it sound again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import ssl
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from terminals.agent import tones
from terminals.agent.clips import ClipStore
from terminals.agent.core import (
    Alarm,
    Core,
    Effect,
    Fetch,
    FetchManifest,
    Identity,
    NotByHand,
    Reason,
    Save,
    Send,
    Silence,
    Sound,
    Subscribe,
)
from terminals.agent.devices import Opener, opener
from terminals.agent.errors import NO_STANDING, DeviceHangs, LinkError, Refused
from terminals.agent.fetch import Wanted, fetch
from terminals.agent.files import private_folder
from terminals.agent.health import POWER, read_health
from terminals.agent.link import Broker, Link, trust
from terminals.agent.player import Amplifier, Broken, Hangs, Job, Player
from terminals.agent.post import post
from terminals.agent.settings import Settings
from terminals.agent.state import StateFolder, fence
from terminals.agent.systemd import Systemd
from terminals.agent.version import version
from terminals.certificate import NotOurs, check, is_due, request
from terminals.enrolment import Enrolled, EnrolmentError, read_renewed, renewal
from terminals.seal import claimed_command
from terminals.wire import Manifest, Play, WireError, decode_manifest

log = logging.getLogger(__name__)

CODECS: Final = frozenset({"mp3", "wav", "flac", "ogg"})
"""What libsndfile decodes."""
URGENT_FETCHES: Final = 2
STAGED_FETCHES: Final = 1
HEALTH_S: Final = 60.0
RENEW_S: Final = 21_600.0
CUT_OFF_S: Final = 600.0
"""Who is not connected may be so because its certificate has ended, and asks sooner."""
BEAT_S: Final = 0.5
"""How often the watchdog, the hand's file, the second copy and the amplifier are looked after."""
CHECK_S: Final = 15.0
"""The link waits so long for the clips on the disk to be checked; then the checking goes on beside it."""
TEST_REPEATS: Final = 3
TEST_GAIN: Final = 0.3
TEST_NAME: Final = "test"


class Host:
    """One terminal. `run` until cancelled; raises DeviceHangs, and bugs as they are."""

    def __init__(
        self,
        state: StateFolder,
        papers: Enrolled,
        settings: Settings,
        *,
        open_device: Opener | None = None,
        systemd: Systemd | None = None,
    ) -> None:
        """Reads the state folder; wants a running loop. Raises FileError, LinkError, EnrolmentError."""
        self.settings = settings
        self.papers = papers
        self.trouble: dict[str, str] = {}
        """What is wrong now, by its part: for `status`."""
        self._state = state
        self._systemd = systemd or Systemd()
        self._loop = asyncio.get_running_loop()
        self._tasks: asyncio.TaskGroup | None = None
        self._crashed: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._job: Job | None = None
        self._testing: asyncio.Future[str] | None = None
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._turns = {False: asyncio.Semaphore(URGENT_FETCHES), True: asyncio.Semaphore(STAGED_FETCHES)}
        self._unsaved = False
        self._uncopied = False
        self._leaving: asyncio.Future[None] | None = None

        self.store = ClipStore(
            state.clips,
            budget=settings.disk.clips_mb << 20,
            keep_free=settings.disk.keep_free_mb << 20,
        )
        self.durable, damage, self._lost = state.load()
        manifests, bad = state.manifests()
        for line in (*damage, *bad):
            self._alarm(line)
        if damage:
            self.trouble["state"] = damage[-1]
        self._ring = papers.key_ring()
        self.core = Core(
            Identity(
                id=papers.terminal,
                county=papers.county,
                report_key=papers.report_key_bytes(),
                ring=self._ring,
                groups=papers.groups,
                languages=papers.languages,
                codecs=CODECS,
                roles=frozenset(papers.roles),
                speaker=papers.speaker,
                position=papers.position,
                ring_version=papers.ring_version,
            ),
            self.durable,
            boot=secrets.token_hex(8),
            random=random.SystemRandom(),
            held=self.store.held,
            manifests={s: m for s, m in manifests.items() if s in self.durable.sets},
        )
        self._tls: ssl.SSLContext | None = None
        self._link_tls: ssl.SSLContext | None = None
        self._renewed = False
        """Whether a further certificate has come since the start."""
        self.link = Link(
            Broker.of(papers.broker, self._trust, papers.password),
            me=papers.terminal,
            county=papers.county,
            keepalive_s=settings.link.keepalive_s,
            up=lambda: self._do(self.core.connected),
            down=lambda: self._do(self.core.disconnected),
            message=self._message,
        )
        sound = settings.sound
        self.player = Player(
            open_device or opener(sound.device),
            self._told,
            lead_in_s=sound.lead_in_ms / 1000,
            amplifier=Amplifier(sound.amplifier_on, sound.amplifier_off),
        )

    # --- life ---

    async def run(self) -> None:
        """Until cancelled or told to leave. However it ends, the loudspeaker is silent, no task left."""
        if self.settings.button:
            private_folder(self._state.hand)
        self._systemd.notify("READY=1")
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                checking = tasks.create_task(self._check_clips(), name="clips")
                children = [
                    checking,
                    tasks.create_task(self._connect(checking), name="link"),
                    tasks.create_task(self._health(), name="health"),
                    tasks.create_task(self._beat(), name="beat"),
                    tasks.create_task(self._watch(), name="crash"),
                    tasks.create_task(self._renew(), name="certificate"),
                ]
                self._leaving = self._loop.create_future()
                self._do(self.core.tick)
                await self._leaving
                for child in (*children, *self._fetches.values()):
                    child.cancel()
        finally:
            self._tasks = None
            self._systemd.notify("STOPPING=1")
            if self._timer is not None:
                self._timer.cancel()
            self.player.stop()
            await self.player.released()
            await self.player.rest()
            self._copy()

    @property
    def idle(self) -> bool:
        """Nothing plays, and nothing that was accepted may still sound by itself."""
        return not self.player.busy and not any(
            record.outcome is None and record.play is not None and not record.play.standing
            for record in self.durable.records.values()
        )

    def leave(self) -> None:
        """End `run`, for a new version. Raises Refused unless `idle`."""
        if not self.idle:
            raise Refused("a message plays or is due; an upgrade waits for it")
        if self._leaving is not None and not self._leaving.done():
            self._leaving.set_result(None)

    async def _check_clips(self) -> None:
        for line in await asyncio.to_thread(self.store.check_all):
            self._alarm(line)

    async def _connect(self, checking: asyncio.Task[None]) -> None:
        """What lies on the disk first, so that the first hello is true of it."""
        await asyncio.wait([checking], timeout=CHECK_S)
        await self.link.run()

    async def _watch(self) -> None:
        await self._crashed

    # --- the certificate for the broker ---

    def _trust(self) -> ssl.SSLContext:
        """The installer's files, else what the enrolment brought. Raises LinkError."""
        links, tls = self.settings.link, self._state.tls
        if links.ca_file or links.certificate or not self.papers.authority:
            return trust(links.ca_file, links.certificate, links.key)
        mine = (tls / "certificate.pem", tls / "key.pem") if self.papers.certificate else ("", "")
        self._link_tls = trust(str(tls / "authority.pem"), *map(str, mine), timeless=True)
        return self._link_tls

    async def _renew(self) -> None:
        """Asks for the next certificate in good time, and in vain again and again."""
        pause = CUT_OFF_S / 10  # who comes back after years must not wait for hours
        while self._link_tls is not None and self.papers.certificate:
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads a county
            await self.renew_if_due()
            pause = RENEW_S if self.link.connected else CUT_OFF_S

    async def renew_if_due(self) -> bool:
        """Whether a further certificate has come. It serves from the next connection on."""
        tls, me = self._state.tls, self.papers.terminal
        try:
            key = (tls / "key.pem").read_bytes()
            present = (tls / "certificate.pem").read_text(encoding="ascii")
            begins, ends = check(present, self.papers.authority, key, me)
            now = self.core.now(self.mono())
            # Without signed time we are cut off, perhaps because it has ended: then our own clock must do.
            # One that is from before it began knows nothing: we ask once, in case.
            wall = int(time.time() * 1000)
            blind = now is None and wall < begins and not self._renewed
            if not blind and not is_due(begins, ends, wall if now is None else now):
                return False
            asked = renewal(me, self.papers.report_key_bytes(), request(key, me))
            answer = await asyncio.to_thread(post, self.papers.audio + "/renew", asked, self._clip_tls())
            fresh = read_renewed(answer, me)
            check(fresh, self.papers.authority, key, me)
            self._state.keep_certificate(fresh)
            if self._link_tls is not None:
                self._link_tls.load_cert_chain(tls / "certificate.pem", tls / "key.pem")
        except (NotOurs, EnrolmentError, OSError, ValueError, LinkError) as error:
            self.trouble["certificate"] = f"it ends, and cannot be renewed: {error}"
            log.warning("certificate: %s", error)
            return False
        self._renewed = True
        self.trouble.pop("certificate", None)
        log.info("a further certificate for the broker has come")
        return True

    def _clip_tls(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = trust(self.settings.link.ca_file)
        return self._tls

    async def _health(self) -> None:
        while True:
            self.core.health = await asyncio.to_thread(
                read_health, self.settings.sound, self.store.free_mb, POWER
            )
            if self._unsaved:
                self._save()
            await asyncio.sleep(HEALTH_S)

    async def _beat(self) -> None:
        watchdog = self._systemd.watchdog_s
        while True:
            if watchdog is not None:
                self._systemd.notify("WATCHDOG=1")
            if self.settings.button:
                self._look_for_hand()
            self._copy()
            if self._job is None:
                await self.player.rest()
            await asyncio.sleep(BEAT_S if watchdog is None else min(BEAT_S, watchdog / 3))

    # --- the core ---

    def mono(self) -> int:
        return int(time.monotonic() * 1000)

    def _do(self, call: Callable[[int], list[Effect]]) -> None:
        """One decision and all that follows from it. A bug ends the program, from wherever it was called."""
        try:
            self._carry(call(self.mono()))
            self._wake_later()
        except BaseException as bug:
            self._crash(bug)
            raise

    def _wake_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake = self.core.next_wake()
        if wake is not None:
            self._timer = self._loop.call_later(
                max(0.0, wake / 1000 - time.monotonic()), self._do, self.core.tick
            )

    def _message(self, payload: bytes) -> None:
        if self._lost:
            # What was accepted is lost with the disk: nothing that was sealed until now may sound.
            if isinstance(claimed_command(payload), Play):
                log.warning(
                    "a command came before the time is known, and what was accepted is lost: not taken"
                )
                return
            self._do(partial(self.core.command, payload))
            now = self.core.now(self.mono())
            if now is not None:
                self._lost = False
                fence(self.durable, self._ring, now)
                self._save()
            return
        self._do(partial(self.core.command, payload))

    def _carry(self, effects: list[Effect]) -> None:
        quiet = _first_silences(effects)
        for silence in quiet:
            self._silence(silence)
        for effect in effects:
            match effect:
                case Save():
                    self._save()
                case Send(payload=payload):
                    self.link.send(payload)
                case Sound():
                    self._sound(effect)
                case Silence():
                    if effect not in quiet:
                        self._silence(effect)
                case Fetch():
                    self._spawn(effect.clip.sha256, self._fetch(effect))
                case FetchManifest():
                    self._spawn(effect.sha256, self._fetch_manifest(effect))
                case Subscribe(groups=groups):
                    self.link.subscribe(groups)
                case Alarm(text=text):
                    self._alarm(text)

    def _alarm(self, text: str) -> None:
        log.warning("%s", text)

    # --- the disk ---

    def _save(self) -> None:
        try:
            self._state.save(self.durable)
        except OSError as error:
            if not self._unsaved:
                log.error("the disk does not save (%s): a power cut would make messages sound again", error)
            self._unsaved = True
            self.trouble["disk"] = f"nothing can be saved: {error}"
            return
        self._unsaved = False
        self._uncopied = True
        self.trouble.pop("disk", None)

    def _copy(self) -> None:
        """The second copy, when there is time for it."""
        if not self._uncopied:
            return
        try:
            self._state.save_copy(self.durable)
            self._state.forget_manifests(self.durable.sets)
        except OSError as error:
            self.trouble["disk"] = f"the copy cannot be saved: {error}"
            return
        self._uncopied = False

    # --- the loudspeaker ---

    def _sound(self, effect: Sound) -> None:
        self._end_test("a message came")
        sha256 = "" if effect.clip is None else effect.clip.sha256
        if effect.clip is None:
            record = self.durable.records.get(effect.broadcast)
            piece: Any = tones.signal(effect.signal, "" if record is None else record.role.value)
        else:
            self.store.used(sha256)
            piece = self.store.path(sha256)
        self._job = Job(
            name=effect.broadcast,
            repeats=effect.repeats,
            piece=piece,
            gap_s=tones.PAUSE_S if effect.clip is None else 0.0,
            gain=effect.volume / 100 * self.settings.sound.full_volume / 100,
            start=effect.at_mono / 1000,
            until=effect.until_mono / 1000,
        )
        log.info("%s: sounds %s", effect.broadcast, sha256[:12] or f"the signal {effect.signal or 'plain'}")
        self.player.play(self._job)

    def _silence(self, effect: Silence) -> None:
        if self._job is None or self._job.name != effect.broadcast:
            return
        log.info("%s: falls silent", effect.broadcast)
        self._job = None
        self.player.stop()
        if self._tasks is not None:
            self._tasks.create_task(self._must_release(), name=f"release.{effect.broadcast}")

    async def _must_release(self) -> None:
        if not await self.player.released() and not self.player.busy:
            raise DeviceHangs("the sound device does not fall silent")

    def _told(self, job: Job, what: BaseException | str | None) -> None:
        """From the player, on the loop."""
        if self._testing is not None and job.name == TEST_NAME:
            if what is not None and not self._testing.done():
                self._testing.set_result(str(what))
            return
        if what is None:
            self._do(partial(self.core.started, job.name))
            return
        self._job = None
        if isinstance(what, str):
            self.trouble.pop("sound", None)
            self._do(partial(self.core.finished, job.name))
        elif isinstance(what, Hangs):
            # Not a word to the core: the message is unfinished, and sounds after the restart.
            self._crash(DeviceHangs(str(what)))
        elif isinstance(what, Broken):
            log.error("%s: %s: %s", job.name, what.reason, what)
            self.trouble["sound"] = f"{what.reason}: {what}"
            if what.reason == "decode" and isinstance(job.piece, Path):
                self.store.check(job.piece.name)
            self._do(partial(self._broke, job.name, what))
        else:
            self._crash(what)

    def _crash(self, error: BaseException) -> None:
        """Ends `run` with it."""
        if not self._crashed.done():
            self._crashed.set_exception(error)

    def _broke(self, broadcast: str, broken: Broken, mono: int) -> list[Effect]:
        return self.core.broke(broadcast, mono, broken.reason, str(broken))

    # --- fetching ---

    def _spawn(self, sha256: str, work: Any) -> None:
        """Instead of an older fetch of the same hash: a staged clip may become urgent. Its pieces stay."""
        assert self._tasks is not None
        older = self._fetches.pop(sha256, None)
        if older is not None:
            older.cancel()
        task = self._tasks.create_task(work, name=f"fetch.{sha256[:12]}")
        self._fetches[sha256] = task
        task.add_done_callback(lambda done: self._fetched_task(sha256, done))

    def _fetched_task(self, sha256: str, task: asyncio.Task[None]) -> None:
        if self._fetches.get(sha256) is task:
            del self._fetches[sha256]

    async def _fetch(self, effect: Fetch) -> None:
        await asyncio.sleep(effect.delay_ms / 1000)
        clip = effect.clip
        async with self._turns[effect.pinned]:
            problem = await self._get(Wanted(clip.sha256, clip.size, effect.url))
        self._do(partial(self._fetched, clip.sha256, problem))

    def _fetched(self, sha256: str, problem: str | None, mono: int) -> list[Effect]:
        return self.core.fetched(sha256, mono, problem)

    async def _fetch_manifest(self, effect: FetchManifest) -> None:
        await asyncio.sleep(effect.delay_ms / 1000)
        async with self._turns[True]:
            problem = await self._get(Wanted(effect.sha256, effect.size, effect.url))
        manifest: Manifest | None = None
        if problem is None:
            try:
                data = self.store.take(effect.sha256)
                manifest = decode_manifest(data)
                self._state.keep_manifest(effect.sha256, data)
            except WireError as error:
                problem = f"malformed {error}"
            except OSError as error:
                problem = f"cannot be kept: {error}"
        self._do(lambda mono: self.core.manifest(effect.set, mono, manifest, problem))

    async def _get(self, wanted: Wanted) -> str | None:
        tls = self._clip_tls() if wanted.url.startswith("https:") else None
        problem = await fetch(wanted, self.store, frozenset(self.core.pinned()), tls)
        if problem is None:
            log.info("clip %s… of %d bytes is here", wanted.sha256[:12], wanted.size)
        elif problem != Reason.HASH_MISMATCH:
            log.warning("clip %s…: %s", wanted.sha256[:12], problem)
        return problem

    # --- people at the terminal ---

    def by_hand(self, broadcast: str) -> str:
        """Sound a standing message now; "" or ``any``: the newest that is whole. Its id. Raises Refused."""
        if broadcast in ("", "any"):
            standing = self.core.standing(self.mono())
            if not standing:
                raise Refused(NO_STANDING)
            broadcast = max(reversed(standing), key=lambda one: one.ready).broadcast
        refused: list[NotByHand] = []

        def sound(mono: int) -> list[Effect]:
            try:
                return self.core.by_hand(broadcast, mono)
            except NotByHand as error:
                refused.append(error)
                return []

        self._do(sound)
        if refused:
            raise Refused(str(refused[0]))
        log.warning("%s: sounded by hand", broadcast)
        return broadcast

    def quiet_by_hand(self) -> None:
        """Stop what a hand started."""
        if self._job is not None:
            name = self._job.name
            self._do(lambda mono: self.core.silence_by_hand(name, mono))

    def _look_for_hand(self) -> None:
        for path in sorted(self._state.hand.iterdir()):
            try:
                path.unlink()
                self.by_hand(path.name)
            except Refused as error:
                log.warning("by hand: %s: %s", path.name, error)
            except OSError as error:
                log.warning("by hand: %s: %s", path, error)

    async def test(self, *, audible: bool) -> dict[str, str]:
        """The way to the loudspeaker, with silence or a few soft notes that are no signal; part → "" or the
        trouble. A message that comes cuts it. Raises Refused when one plays or is due."""
        if not self.idle or self._testing is not None:
            raise Refused("a message plays or is due, or a test runs already")
        self._testing = self._loop.create_future()
        job = Job(
            name=TEST_NAME,
            repeats=TEST_REPEATS if audible else 1,
            piece=tones.tone(tones.CHECK),
            gap_s=0.25,
            gain=TEST_GAIN if audible else 0.0,
            start=0.0,
            until=time.monotonic() + 10,
        )
        try:
            self.player.play(job)
            sound = await asyncio.wait_for(self._testing, 30)
        except TimeoutError:
            self.player.stop()
            sound = "the sound device took nothing for 30 s"
        finally:
            self._testing = None
        health = await asyncio.to_thread(read_health, self.settings.sound, self.store.free_mb, POWER)
        return {
            "sound": sound,
            "amplifier": "its check command says that it is not well" if health.amplifier_ok is False else "",
            "link": "" if self.link.connected else self.link.trouble or "not connected",
            "time": ""
            if self.core.now(self.mono()) is not None
            else "not known: the controller did not answer",
            "disk": self.trouble.get("disk", ""),
        }

    def _end_test(self, why: str) -> None:
        if self._testing is not None and not self._testing.done():
            self.player.stop()
            self._testing.set_result(why)

    def status(self) -> dict[str, Any]:
        """What `fenghuo-terminal status` shows; JSON-able."""
        mono = self.mono()
        core = self.core
        now = core.now(mono)
        health = core.health
        unfinished = [
            {"broadcast": r.broadcast, "role": r.role.value, "sounding": r.sounding}
            for r in self.durable.records.values()
            if r.outcome is None and r.play is not None and not r.play.standing
        ]
        return {
            "terminal": self.papers.terminal,
            "county": self.papers.county,
            "software": version(),
            "pid": os.getpid(),
            "broker": self.papers.broker,
            "connected": self.link.connected,
            "link_trouble": self.link.trouble,
            "time": now,
            "clock_error_ms": core.clock_error_ms(mono),
            "device": self.settings.sound.device,
            "underruns": self.player.underruns,
            "volume": self.settings.sound.full_volume,
            "playing": "" if self._job is None else self._job.name,
            "last_sound": _last_sound(self.durable),
            "queued": unfinished,
            "reports_queued": self.link.queued,
            "standing": [msgspec.to_builtins(_plain(one)) for one in core.standing(mono)],
            "sets": {name: list(count) for name, count in core.sets().items()},
            "clips": len(self.store.held),
            "clips_mb": round(self.store.bytes() / (1 << 20), 1),
            "clips_budget_mb": self.settings.disk.clips_mb,
            "disk_free_mb": health.disk_free_mb,
            "battery": health.battery,
            "mains": health.mains,
            "amplifier_ok": health.amplifier_ok,
            "ring": core.ring_version,
            "unverified": core.unverified,
            "trouble": dict(self.trouble),
        }


def _first_silences(effects: list[Effect]) -> list[Silence]:
    """Those that stop what sounds now, before anything of this list sounds."""
    first = []
    for effect in effects:
        if isinstance(effect, Sound):
            break
        if isinstance(effect, Silence):
            first.append(effect)
    return first


def _last_sound(durable: Any) -> dict[str, Any] | None:
    """The youngest sound in the records, which survive a restart."""
    facts = [
        (fact.at, record.broadcast, fact.state, fact.reason)
        for record in durable.records.values()
        for fact in record.facts
        if fact.state in ("playing", "played")
    ]
    if not facts:
        return None
    at, broadcast, state, reason = max(facts)
    return {"at": at, "broadcast": broadcast, "state": state, "reason": reason}


def _plain(standing: Any) -> dict[str, Any]:
    return {
        "broadcast": standing.broadcast,
        "event": standing.event,
        "expires": standing.expires,
        "ready": standing.ready,
    }
