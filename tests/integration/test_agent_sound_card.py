"""Real sound: PortAudio through ALSA into a PulseAudio of our own whose loudspeaker is a tape."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from support.board import RATE, speech, times_in
from terminals.agent.devices import opener
from terminals.agent.player import Amplifier, Broken, Job, Player

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("pulseaudio") is None, reason="no PulseAudio: apt-get install pulseaudio"
    ),
    pytest.mark.skipif(shutil.which("parec") is None, reason="no parec: apt-get install pulseaudio-utils"),
    pytest.mark.skipif(importlib.util.find_spec("pyaudio") is None, reason="PyAudio is not installed"),
]


class Horn:
    """A PulseAudio with one loudspeaker that leads nowhere, and a tape of what it was given."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._socket = home / "pulse.sock"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._tape = home / "tape.raw"

    def start(self) -> dict[str, str]:
        """The environment in which the default ALSA device is this loudspeaker."""
        home = str(self._home)
        (self._home / "asound.conf").write_text("pcm.!default { type pulse }\nctl.!default { type pulse }\n")
        environment = {
            "HOME": home,
            "XDG_RUNTIME_DIR": home,
            "PULSE_SERVER": f"unix:{self._socket}",
            "ALSA_CONFIG_PATH": f"/usr/share/alsa/alsa.conf:{self._home / 'asound.conf'}",
        }
        self._environment = {"PATH": "/usr/bin:/bin", **environment}
        sink = f"module-null-sink sink_name=horn rate={RATE} channels=1 format=float32le"
        self._run(
            "pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disallow-exit",
            f"--load={sink}", f"--load=module-native-protocol-unix auth-anonymous=1 socket={self._socket}",
        )  # fmt: skip
        end = time.monotonic() + 20
        while not self._socket.exists():
            if time.monotonic() > end:
                pytest.skip("PulseAudio does not start here")
            time.sleep(0.02)
        with self._tape.open("wb") as tape:
            self._run(
                "parec", "-d", "horn.monitor", "--format=float32le", f"--rate={RATE}", "--channels=1",
                "--latency-msec=20", out=tape,
            )  # fmt: skip
        while self._tape.stat().st_size == 0:
            assert time.monotonic() < end, "the tape does not run"
            time.sleep(0.02)
        return environment

    def _run(self, *command: str, out: object = subprocess.DEVNULL) -> None:
        self._processes.append(
            subprocess.Popen(command, env=self._environment, stdout=out, stderr=subprocess.DEVNULL)  # type: ignore[call-overload]
        )

    def heard(self) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        data = self._tape.read_bytes()
        return np.frombuffer(data[: len(data) // 4 * 4], np.float32)

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def horn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Horn]:
    horn = Horn(tmp_path)
    try:
        for name, value in horn.start().items():
            monkeypatch.setenv(name, value)
        yield horn
    finally:
        horn.stop()


class Ear:
    def __init__(self) -> None:
        self.told: list[Broken | BaseException | str | None] = []
        self.player = Player(opener("default"), self.tell, lead_in_s=0.05, amplifier=Amplifier())

    def tell(self, job: Job, what: BaseException | str | None) -> None:
        self.told.append(what)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.told) < count:
                await asyncio.sleep(0.01)


async def until_quiet(horn: Horn) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The tape, once its last half second is silent."""
    async with asyncio.timeout(60):
        while True:
            heard = horn.heard()
            if len(heard) > RATE and not np.any(heard[-RATE // 2 :]):
                return heard
            await asyncio.sleep(0.05)


async def test_what_the_loudspeaker_got_is_the_clip_twice_without_a_gap(tmp_path: Path, horn: Horn) -> None:
    words = speech(1.0)
    soundfile.write(tmp_path / "c", words, RATE, subtype="FLOAT", format="WAV")
    ear = Ear()
    ear.player.play(Job("b", 2, tmp_path / "c", 0.0, 0.5, 0.0, 1e12))
    await ear.until(2)
    assert ear.told == [None, ""]
    heard = await until_quiet(horn)
    first, second = times_in(heard, words)
    assert second - first == len(words)
    for at in (first, second):
        piece = heard[at : at + len(words)]
        likeness = np.dot(piece, words) / np.linalg.norm(piece) / np.linalg.norm(words)
        assert likeness > 0.999
        assert np.linalg.norm(piece) / np.linalg.norm(words) == pytest.approx(0.5, rel=0.01)
    assert await ear.player.released()


async def test_a_stop_is_heard_as_silence_and_the_next_sound_as_sound(tmp_path: Path, horn: Horn) -> None:
    long, short = speech(30.0, seed=1), speech(0.5, seed=2)
    soundfile.write(tmp_path / "long", long, RATE, subtype="FLOAT", format="WAV")
    soundfile.write(tmp_path / "short", short, RATE, subtype="FLOAT", format="WAV")
    ear = Ear()
    ear.player.play(Job("long", 1, tmp_path / "long", 0.0, 1.0, 0.0, 1e12))
    await ear.until(1)
    ear.player.stop()
    assert await ear.player.released()
    ear.player.play(Job("short", 1, tmp_path / "short", 0.0, 1.0, 0.0, 1e12))
    await ear.until(3)
    heard = await until_quiet(horn)
    assert len(times_in(heard, short)) == 1
    assert len(heard) < len(long), "the rest of the long one never sounded"
    assert await ear.player.released()
