"""A voice for drills that takes no time: it hums as long as the words would take.

A web service as `docs/voices.md` asks for one, so that nothing in the controller knows of it: what is proven
with it is everything but the words. Every message still has a sound of its own, of about its real length.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final

import numpy as np
import soundfile

from tts.audio import RATE
from tts.voices.writing import bounds

NAME: Final = "hum"
LONGER: Final = 1.3
"""Than the shortest time in which these words can be said."""
_LEVEL: Final = 0.2
_FADE_S: Final = 0.2
_LONGEST: Final = 1_000_000
"""Bytes of a question."""
_WAIT_S: Final = 10.0


def hummed(text: str, speed: float) -> bytes:
    """WAV: a tone of its own for every text, which swells and fades as syllables do."""
    seconds = LONGER * bounds(text, speed)[0]
    t = np.arange(max(1, int(seconds * RATE)), dtype=np.float32) / RATE
    digest = hashlib.sha256(text.encode()).digest()
    pitch = 150 + digest[0] + digest[1] / 256
    sound = _LEVEL * np.sin(2 * np.pi * pitch * t) * (0.75 + 0.25 * np.sin(2 * np.pi * 4 * t))
    fade = min(int(_FADE_S * RATE), len(sound))
    sound[len(sound) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


class _Answer(BaseHTTPRequestHandler):
    timeout = _WAIT_S

    def do_POST(self) -> None:
        try:
            length = min(int(self.headers["content-length"]), _LONGEST)
            question = json.loads(self.rfile.read(length))
            status, kind, body = 200, "audio/wav", hummed(str(question["text"]), float(question["speed"]))
        except (KeyError, TypeError, ValueError) as error:
            status, kind, body = 400, "text/plain", f"no question to a voice: {error}".encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Nobody reads it."""


class HumService:
    """On loopback while it is entered; a thread of its own, and one for each question."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="hum", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> HumService:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
