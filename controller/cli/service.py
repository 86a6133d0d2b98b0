"""``fenghuo serve``: the controller as a service, from configuration to an orderly end."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from controller.cli import say
from controller.cli.outcome import Code, Failure
from controller.cli.setup import load_config
from controller.cli.words import w

if TYPE_CHECKING:
    from config.schema import Config
    from controller.app import App

log = logging.getLogger(__name__)

_EIGHT_HOURS: Final = 8 * 3600
# What may have passed when systemd starts us again, which it does not after exit code 3.
_OF_THE_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


class OneLine(logging.Formatter):
    """A record is a line, its traceback too: what a feed says cannot forge a second one. Beijing time."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        beijing = time.gmtime(record.created + _EIGHT_HOURS)
        return f"{time.strftime(datefmt or '', beijing)}.{int(record.msecs):03d}+08:00"

    def format(self, record: logging.LogRecord) -> str:
        return str(say.clean(super().format(record).replace("\r", "\\r").replace("\n", "\\n")))


def serve(file: Path, *, sandbox: bool, speed: float = 1.0) -> Code:
    """Until SIGTERM or SIGINT. `speed`: how much faster than in reality a sandbox's terminals play. Raises
    Failure when it may not or cannot start: configuration where starting again would not mend it."""
    if speed != 1.0 and not sandbox:
        raise Failure(Code.USAGE, w("speed_is_sandbox"))
    # Before anything imports onnxruntime (docs/decisions/0004); the voice process inherits it.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # httpx2 logs whole addresses, in which some sources want their key.
    for chatty in ("alembic", "uvicorn", "httpx2", "httpcore2", "websockets"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    config = load_config(file)
    return asyncio.run(_serve(config, sandbox, speed))


async def _serve(config: Config, sandbox: bool, speed: float) -> Code:
    from config.counties import PackError
    from config.load import ConfigError
    from controller.app import NotYet, StartError, open_app
    from controller.keys import KeysError
    from controller.store import StoreError, WrongSchema
    from simulators.broker import BrokerError
    from tts.floor import FloorError

    stopping = False
    task = asyncio.current_task()
    assert task is not None

    def stop(name: str) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            log.info("%s: stopping", name)
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    running = False
    try:
        async with open_app(config, sandbox=sandbox, pace=speed) as app:
            running = True
            log.info(
                "%s, mode %s%s: operators at %s, terminals at %s",
                app.county.name,
                config.mode,
                ", sandbox" if sandbox else "",
                _api(config, app),
                config.listen.terminals,
            )
            await app.run()
    except asyncio.CancelledError:
        if not stopping:
            raise
        log.info("stopped")
    except (ConfigError, PackError, StartError, KeysError, WrongSchema, BrokerError, FloorError) as error:
        if running:
            raise
        raise Failure(Code.CONFIG, *str(error).splitlines()) from error
    except (StoreError, NotYet) as error:
        if running:
            raise
        raise Failure(Code.FAILED, *str(error).splitlines()) from error
    except OSError as error:  # a folder that may not be made, a full disk
        if running:
            raise
        code = Code.FAILED if error.errno in _OF_THE_DISK else Code.CONFIG
        raise Failure(code, f"{error.filename or ''}: {error.strerror}".lstrip(": ")) from error
    return Code.DONE


def _api(config: Config, app: App) -> str:
    """As `--url` takes it, with the port really listened at."""
    from config.schema import Tcp

    listen = config.listen.api
    if not isinstance(listen, Tcp):
        return str(listen)  # a socket's path; there is no port to ask for
    return f"http://{Tcp(host=listen.host, port=app.api_port)}"
