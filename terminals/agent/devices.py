"""What takes samples: a sound card through PortAudio, nobody at the right pace, or a file at the right pace.

A device counts the frames that were really *consumed*: what lies in its buffer has not sounded yet. That is
what `playing` rests on (design §4), so it is asked of the card and never inferred from what was written.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import soundfile

from terminals.agent.tones import Block

BUFFER_S: Final = 0.08
"""What a device holds ahead. Stop throws it away, so silence comes within one block and this."""
BLOCK_S: Final = 0.02
"""What is written at once."""
HELD_S: Final = 0.06
"""A card is opened with periods of this and holds three, which a stop throws away. With 20 ms a PulseAudio
without real-time rights starved in one message of three."""
RATES: Final = (48_000, 44_100)
"""Tried after a clip's own rate, for cards that take only these."""


class DeviceError(Exception):
    """The sound device is not there or failed: what it said, what to do."""


class Device(Protocol):
    """Mono, open until `close`; used by one thread."""

    @property
    def rate(self) -> int:
        """Frames a second that it takes; its own, if it does not take what was asked for."""

    @property
    def underruns(self) -> int:
        """How often it wanted samples and had none, since it was opened."""

    def write(self, block: Block) -> None:
        """Hand samples of -1 to 1 over; waits while the buffer is full. Raises DeviceError."""

    def consumed(self) -> int:
        """Frames that left the buffer. Raises DeviceError."""

    def close(self) -> None:
        """At once; what lies in the buffer is thrown away. Never raises."""


Opener = Callable[[int], Device]
"""Opens the device at this rate, or at its own. Raises DeviceError."""


def opener(name: str) -> Opener:
    """The device that `settings.Sound.device` names; opened only when called."""
    if name == "null":
        return Paced
    if name.startswith("wav:"):
        return WavFiles(Path(name.removeprefix("wav:")))
    return SoundCard(name)


# --- without a card ----------------------------------------------------------------------------------


class Paced:
    """Takes samples exactly as fast as a card would, by the monotonic clock, and lets them vanish."""

    def __init__(
        self,
        rate: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._written = 0
        self._since: float | None = None
        """When the frames after `_before` began to leave."""
        self._before = 0
        self._underruns = 0

    @property
    def rate(self) -> int:
        return self._rate

    @property
    def underruns(self) -> int:
        return self._underruns

    def write(self, block: Block) -> None:
        now = self._clock()
        if self._since is None or self._left(now) <= 0:
            self._underruns += self._since is not None
            self._before, self._since = self._written, now
        self._written += len(block)
        over = self._left(now) - int(BUFFER_S * self._rate)
        if over > 0:
            self._sleep(over / self._rate)

    def consumed(self) -> int:
        return self._written - max(self._left(self._clock()), 0)

    def _left(self, now: float) -> int:
        if self._since is None:
            return self._written
        return self._written - self._before - int((now - self._since) * self._rate)

    def close(self) -> None:
        """Nothing is held."""


class WavFiles:
    """Opener of devices that keep what they took: one WAV file a sound, 16 bit, in this folder, named by the
    moment of its opening on the monotonic clock (ns)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, rate: int) -> Device:
        return _Wav(rate, self._folder / f"{time.monotonic_ns()}.wav")


class _Wav(Paced):
    def __init__(self, rate: int, path: Path) -> None:
        super().__init__(rate)
        self._path = path
        try:
            self._file = soundfile.SoundFile(path, "w", rate, 1, subtype="PCM_16")
        except (OSError, soundfile.LibsndfileError) as error:
            raise DeviceError(f"{path}: cannot be written ({error})") from error

    def write(self, block: Block) -> None:
        try:
            self._file.write(block)
        except soundfile.LibsndfileError as error:
            raise DeviceError(f"{self._path}: cannot be written ({error})") from error
        super().write(block)

    def close(self) -> None:
        self._file.truncate(self.consumed())
        self._file.close()


# --- a card ------------------------------------------------------------------------------------------


class SoundCard:
    """Opener of a PortAudio output, by number, by a part of its name, or the default. PortAudio knows the
    cards that were there when it started: after a failure it is started anew, once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._port: Any = None

    def __call__(self, rate: int) -> Device:
        pyaudio = _pyaudio()
        problem: Exception | None = None
        for fresh in (False, True):
            if self._port is None or fresh:
                if self._port is not None:
                    self._port.terminate()
                self._port = pyaudio.PyAudio()
            for wanted in (rate, *(r for r in RATES if r != rate)):
                try:
                    stream = self._port.open(
                        rate=wanted,
                        channels=1,
                        format=pyaudio.paFloat32,
                        output=True,
                        output_device_index=self._index(),
                        frames_per_buffer=int(HELD_S * wanted),
                    )
                except OSError as error:
                    problem = error
                else:
                    return _Card(stream, wanted)
        raise DeviceError(f"sound device {self._name!r}: {problem}") from problem

    def _index(self) -> int | None:
        if self._name == "default":
            return None
        if self._name.isdecimal():
            return int(self._name)
        for index in range(self._port.get_device_count()):
            about = self._port.get_device_info_by_index(index)
            if self._name in about["name"] and about["maxOutputChannels"]:
                return index
        raise OSError("no output of that name")


class _Card:
    def __init__(self, stream: Any, rate: int) -> None:
        self._stream = stream
        self._rate = rate
        self._written = 0
        self._underruns = 0
        try:
            self._capacity: int = stream.get_write_available()
        except OSError as error:
            raise DeviceError(f"the sound card says nothing of its buffer: {error}") from error

    @property
    def rate(self) -> int:
        return self._rate

    @property
    def underruns(self) -> int:
        return self._underruns

    def write(self, block: Block) -> None:
        data = block.tobytes()
        try:
            if self._written and self._stream.get_write_available() >= self._capacity:
                self._underruns += 1
            self._stream.write(data, exception_on_underflow=False)
        except OSError as error:
            raise DeviceError(f"the sound card stopped taking samples: {error}") from error
        self._written += len(block)

    def consumed(self) -> int:
        try:
            free: int = self._stream.get_write_available()
        except OSError as error:
            raise DeviceError(f"the sound card is gone: {error}") from error
        return max(0, self._written - max(0, self._capacity - free))

    def close(self) -> None:
        # Pa_CloseStream discards what is pending; stop_stream would play it out.
        self._stream.close()


def _pyaudio() -> Any:
    try:
        return importlib.import_module("pyaudio")
    except ImportError as error:
        raise DeviceError(
            "PyAudio is not installed; install PortAudio and the package pyaudio, or set sound.device to null"
        ) from error
