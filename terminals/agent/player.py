"""The loudspeaker's thread: blocks from a file to the device, one sound at a time.

`Player` belongs to the event loop. Each sound has a thread of its own, which first waits for its
predecessor to let go of the device; it decodes a block, writes a block, and looks whether it shall stop.
A clip of 20 minutes is never in memory. Nothing here decides: `Core` says what sounds and when.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from terminals.agent.devices import BLOCK_S, Device, DeviceError, Opener
from terminals.agent.tones import RATE, Block

log = logging.getLogger(__name__)

RELEASE_S: Final = 2.0
"""A device that does not let go of a stopped sound within this is dealt with by ending the process."""
DRAIN_S: Final = 2.0
"""How long a device may keep the last samples beyond their length."""
HOOK_S: Final = 2.0
EARLY_S: Final = 1.5
"""So long before its lead-in the device of a sound with a set time is opened, the amplifier switched on."""
AWAKE_S: Final = 2.0
"""So long after a sound the amplifier is still awake: the next one needs no lead-in."""
UNDERRUNS_A_SECOND: Final = 1.0
"""More than this over `UNDERRUN_AFTER_S` and longer is no speech any more."""
UNDERRUN_AFTER_S: Final = 5.0


class Broken(Exception):
    """A sound went wrong: `reason` for the report (`device`, `decode`, `underrun`, `amplifier`), the text for
    people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Hangs(Broken):
    """The sound before does not let go of the device; only the end of the process makes it."""

    def __init__(self) -> None:
        super().__init__("device", f"the sound device did not let go within {RELEASE_S:g} s")


Piece = Path | Block
"""A file of a clip, or samples at `tones.RATE`."""


@dataclass(frozen=True, slots=True)
class Job:
    """One sound. Times are the monotonic clock's, in seconds."""

    name: str
    """For logs: the broadcast."""
    repeats: int
    piece: Piece
    gap_s: float
    """Silence between the repeats; 0: gapless."""
    gain: float
    """0 to 1."""
    start: float
    """When its first sample is to be heard."""
    until: float
    """It never starts at or after this; then nothing is told."""


@dataclass(frozen=True, slots=True)
class Amplifier:
    """Commands around a sound; see `settings.Sound`."""

    on: tuple[str, ...] = ()
    off: tuple[str, ...] = ()


class Player:
    """Plays one `Job` at a time. `told` is called on the loop: (job, None) when the device has consumed its
    first sample, (job, "") when all is out, (job, Broken) when it went wrong, (job, another error)
    for a bug; nothing after `stop`."""

    def __init__(
        self,
        opener: Opener,
        told: Callable[[Job, BaseException | str | None], None],
        *,
        lead_in_s: float,
        amplifier: Amplifier,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._opener = opener
        self._told = told
        self._lead_in = lead_in_s
        self._amplifier = amplifier
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._job: Job | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._awake = False
        self._ended = -AWAKE_S
        self.underruns = 0
        """Since the process began."""

    @property
    def busy(self) -> bool:
        """Whether a sound is under way or waits for its moment."""
        return self._job is not None

    def play(self, job: Job) -> None:
        """Instead of what plays now, if anything does."""
        self.stop()
        self._job = job
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(job, self._stop, self._thread), name=f"sound.{job.name}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """The device falls silent within `BUFFER_S` and two blocks; harmless if nothing plays."""
        self._job = None
        self._stop.set()

    async def released(self) -> bool:
        """After `stop`: whether the device let go within RELEASE_S."""
        thread = self._thread
        if thread is not None:
            await asyncio.to_thread(thread.join, RELEASE_S)
        return thread is None or not thread.is_alive()

    async def rest(self) -> None:
        """Switch the amplifier off; for when nothing plays or is about to."""
        if self._awake and not self.busy and self._amplifier.off:
            self._awake = False
            if trouble := await asyncio.to_thread(_hook, self._amplifier.off):
                log.warning("the amplifier stays on: %s", trouble)

    def _tell(self, job: Job, what: BaseException | str | None) -> None:
        """On the loop. A job that was stopped meanwhile says nothing more."""
        if job is not self._job:
            return
        if what is not None:
            self._job = None
        self._told(job, what)

    # --- on its own thread ---

    def _run(self, job: Job, stop: threading.Event, before: threading.Thread | None) -> None:
        def tell(what: BaseException | str | None) -> None:
            try:
                self._loop.call_soon_threadsafe(self._tell, job, what)
            except RuntimeError:  # the loop is closed: the process ends
                stop.set()

        try:
            if before is not None:
                before.join(RELEASE_S)
                if before.is_alive():
                    raise Hangs
            if self._sound(job, stop, tell):
                tell("")
        except Broken as broken:
            tell(broken)
        except DeviceError as error:
            tell(Broken("device", str(error)))
        except (soundfile.LibsndfileError, OSError) as error:
            tell(Broken("decode", str(error)))
        except BaseException as bug:
            tell(bug)  # the loop raises it too: a thread would only print it
            raise

    def _sound(self, job: Job, stop: threading.Event, tell: Callable[[None], None]) -> bool:
        """True when all of it is out, False when it was stopped or too late to start."""
        if stop.wait(max(0.0, job.start - self._lead_in - EARLY_S - self._clock())):
            return False
        rate = soundfile.info(job.piece).samplerate if isinstance(job.piece, Path) else RATE
        sick = "" if self._awake else _hook(self._amplifier.on)
        self._awake = True
        device = self._opener(int(rate))
        try:
            lead = 0.0 if max(job.start, self._clock()) - self._ended < AWAKE_S else self._lead_in
            if stop.wait(max(0.0, job.start - lead - self._clock())) or self._clock() >= job.until:
                return False
            whole = self._stream(job, lead, device, stop, tell)
        finally:
            device.close()
            self._ended = self._clock()
            self.underruns += device.underruns
        if whole and sick:
            raise Broken("amplifier", sick)
        return whole

    def _stream(
        self, job: Job, lead_s: float, device: Device, stop: threading.Event, tell: Callable[[None], None]
    ) -> bool:
        lead = int(lead_s * device.rate)
        written = 0
        told = False
        began = self._clock()

        def look() -> None:
            nonlocal told
            if not told and device.consumed() > lead:
                told = True
                tell(None)

        for block in _playing(job, lead, device.rate):
            if stop.is_set():
                return False
            device.write(block)
            written += len(block)
            look()
            elapsed = self._clock() - began
            if elapsed > UNDERRUN_AFTER_S and device.underruns > elapsed * UNDERRUNS_A_SECOND:
                raise Broken("underrun", f"{device.underruns} times without samples in {elapsed:.0f} s")
        if written <= lead:
            raise Broken("decode", "not one sample in it")
        patience = self._clock() + DRAIN_S
        while (consumed := device.consumed()) < written:
            look()
            if stop.wait(BLOCK_S / 2):
                return False
            if self._clock() > patience:
                raise Broken("device", f"the last {written - consumed} samples do not leave the sound device")
        look()
        return True


def _playing(job: Job, lead: int, rate: int) -> Iterator[Block]:
    """Lead-in and all repeats without a gap, block by block, at the message's volume."""
    yield from _nothing(lead, rate)
    for repeat in range(job.repeats):
        if repeat:
            yield from _nothing(int(job.gap_s * rate), rate)
        for block in _blocks(job.piece, rate):
            yield block * np.float32(job.gain)


def _nothing(frames: int, rate: int) -> Iterator[Block]:
    step = int(BLOCK_S * rate)
    for at in range(0, frames, step):
        yield np.zeros(min(step, frames - at), np.float32)


def _blocks(piece: Piece, rate: int) -> Iterator[Block]:
    """Mono blocks of BLOCK_S at `rate`, decoded as they are asked for."""
    if not isinstance(piece, Path):
        size = int(BLOCK_S * RATE)
        plain: Iterator[Block] = (piece[at : at + size] for at in range(0, len(piece), size))
        yield from plain if rate == RATE else _resampled(plain, RATE, rate)
        return
    with _Onwards(piece) as file:
        mono = _mono(file)
        yield from mono if rate == file.samplerate else _resampled(mono, int(file.samplerate), rate)


class _Onwards(soundfile.SoundFile):  # type: ignore[misc]
    """Read from the first to the last frame. soundfile seeks after every read of a seekable file, which tears
    an MP3's bit reservoir at every block: half of what is heard is noise then (measured)."""

    def seekable(self) -> bool:
        return False


def _mono(file: soundfile.SoundFile) -> Iterator[Block]:
    size = int(BLOCK_S * file.samplerate)
    while len(block := file.read(size, dtype="float32", always_2d=True)):
        yield block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)


def _resampled(blocks: Iterator[Block], given: int, wanted: int) -> Iterator[Block]:
    """Linear interpolation across block borders: enough for speech at 24 kHz on a card that takes only 48."""
    step = given / wanted
    last = np.zeros(1, np.float32)
    at = 1.0  # position of the next output frame, 0 being `last`
    for block in blocks:
        known = np.concatenate([last, block])
        end = len(known) - 1
        count = max(0, int((end - at) / step) + 1) if at <= end else 0
        positions = at + step * np.arange(count)
        if count:
            yield np.interp(positions, np.arange(len(known)), known).astype(np.float32)
        at += step * count - end
        last = known[-1:]


def _hook(command: tuple[str, ...]) -> str:
    """Run an amplifier's command; what went wrong, or nothing."""
    if not command:
        return ""
    try:
        done = subprocess.run(
            command, timeout=HOOK_S, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}"
    return "" if done.returncode == 0 else f"{command[0]} ended with {done.returncode}"


def hook_ok(command: tuple[str, ...]) -> bool | None:
    """Whether a check command ends well; None if there is none. Blocks up to HOOK_S."""
    return None if not command else not _hook(command)
