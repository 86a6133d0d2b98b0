"""A loudspeaker that leads nowhere, and a tape of what it was given."""

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

from support.board import RATE

NEEDED = (
    pytest.mark.skipif(
        shutil.which("pulseaudio") is None, reason="no PulseAudio: apt-get install pulseaudio"
    ),
    pytest.mark.skipif(shutil.which("parec") is None, reason="no parec: apt-get install pulseaudio-utils"),
    pytest.mark.skipif(importlib.util.find_spec("pyaudio") is None, reason="PyAudio is not installed"),
)


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


async def until_quiet(horn: Horn) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The tape, once its last half second is silent."""
    async with asyncio.timeout(60):
        while True:
            heard = horn.heard()
            if len(heard) > RATE and not np.any(heard[-RATE // 2 :]):
                return heard
            await asyncio.sleep(0.05)
