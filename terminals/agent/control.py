"""The way from a person at the board to the running program: one line of JSON each way over a Unix socket in
the state folder, which only its owner can reach.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from terminals.agent.errors import Refused

if TYPE_CHECKING:
    from terminals.agent.host import Host

log = logging.getLogger(__name__)

SOCKET: Final = "control"
LONGEST: Final = 4096
ANSWER_S: Final = 60.0


class NotRunning(Exception):
    """No program answers on this state folder. `why`: an errno, 0 where there is none."""

    def __init__(self, text: str, why: int = 0) -> None:
        super().__init__(text)
        self.why = why


@asynccontextmanager
async def control(host: Host, folder: Path) -> AsyncIterator[None]:
    """Answers as long as the block lasts; a disk that takes no socket silences no loudspeaker."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                said = await _obey(host, await reader.readline())
                writer.write(json.dumps(said).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            pass  # the person's side is gone, or is none of ours
        finally:
            writer.close()

    try:
        listening = _listening(folder)
    except OSError as error:
        log.error("nobody can ask this program anything: %s: %s", folder / SOCKET, error.strerror)
        yield
        return
    server = await asyncio.start_unix_server(answer, sock=listening, limit=LONGEST)
    try:
        yield
    finally:
        server.close()
        with suppress(FileNotFoundError):
            (folder / SOCKET).unlink()


def _listening(folder: Path) -> socket.socket:
    """Raises OSError."""
    (folder / SOCKET).unlink(missing_ok=True)
    handle = os.open(folder, os.O_DIRECTORY | os.O_CLOEXEC)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # Through the folder's descriptor: the path of a Unix socket has room for 107 bytes.
        listening.bind(f"/proc/self/fd/{handle}/{SOCKET}")
        (folder / SOCKET).chmod(0o600)
        listening.listen(8)
    except OSError:
        listening.close()
        raise
    finally:
        os.close(handle)
    return listening


async def _obey(host: Host, line: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(line)
        match asked:
            case {"do": "status"}:
                return {"status": host.status()}
            case {"do": "test", "audible": bool(audible)}:
                return {"test": await host.test(audible=audible)}
            case {"do": "play", "broadcast": str(broadcast)}:
                return {"played": host.by_hand(broadcast)}
            case {"do": "quiet"}:
                host.quiet_by_hand()
                return {"quiet": True}
            case {"do": "leave"}:
                host.leave()
                return {"left": True}
            case _:
                return {"refused": "that is nothing this program can be asked"}
    except Refused as error:
        return {"refused": str(error)}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        return {"refused": f"no JSON: {error}"}


def ask(folder: Path, what: dict[str, Any], *, timeout_s: float = ANSWER_S) -> dict[str, Any]:
    """The running program's answer. Raises NotRunning."""
    try:
        handle = os.open(folder, os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise NotRunning(f"{folder}: {error.strerror}", error.errno or 0) from error
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as way:
            way.settimeout(timeout_s)
            way.connect(f"/proc/self/fd/{handle}/{SOCKET}")
            way.sendall(json.dumps(what).encode() + b"\n")
            with way.makefile("rb") as file:
                said = json.loads(file.readline())
    except (OSError, ValueError) as error:
        why = error.errno if isinstance(error, OSError) else None
        raise NotRunning(f"nobody answers at {SOCKET}: {error}", why or 0) from error
    finally:
        os.close(handle)
    assert isinstance(said, dict)
    return said
