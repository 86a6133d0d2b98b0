"""`fenghuo-terminal`: the commands of a loudspeaker's program.

Exit codes: 0 done, 1 failed, 2 wrong use, 3 settings, state folder or enrolment, 4 nobody answers (the
controller, or the running program), 5 a test found something wrong, 6 refused.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import http
import json
import logging
import logging.handlers
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from terminals.agent.control import NotRunning, ask, control
from terminals.agent.errors import NO_STANDING, DeviceHangs, LinkError
from terminals.agent.files import FileError
from terminals.agent.post import exchange
from terminals.agent.settings import DEFAULT_SETTINGS, Settings, SettingsError, load
from terminals.agent.state import DEFAULT_STATE, LOG_BYTES, StateError, StateFolder
from terminals.agent.version import version
from terminals.agent.words import Words, chinese
from terminals.certificate import ENTROPY, NotOurs, check, new_key
from terminals.certificate import request as certificate_request
from terminals.enrolment import (
    KEY_ENTROPY,
    Applicant,
    Enrolled,
    EnrolmentError,
    EnrolmentReason,
    code_bytes,
)

DONE, FAILED, SETTINGS, NOBODY, WRONG, REFUSED = 0, 1, 3, 4, 5, 6
DEFAULT_LINK: Final = Path("/opt/fenghuo-terminal/current")


class ProgramError(Exception):
    """What a person must know, and the exit code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script `fenghuo-terminal`."""
    words = Words(chinese=chinese())
    given = _parser(words).parse_args(arguments)
    try:
        return _obey(given, words)
    except ProgramError as error:
        return _fail(error, error.code)
    except (FileError, StateError, SettingsError, LinkError, EnrolmentError, NotOurs) as error:
        return _fail(error, SETTINGS)
    except NotRunning as error:
        return _fail(ProgramError(NOBODY, _nobody(given, words, error)), NOBODY)
    except DeviceHangs as error:
        # Nothing less lets go of the device; its thread would hold up a normal exit.
        logging.shutdown()
        os._exit(_fail(error, FAILED))


def _parser(words: Words) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fenghuo-terminal", description=words("help"))
    parser.add_argument("--version", action="version", version=version())
    parser.add_argument(
        "--state", type=Path, default=DEFAULT_STATE, help=f"{words('help.state')}: %(default)s"
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str) -> argparse.ArgumentParser:
        text = words(f"help.{name}")
        made = commands.add_parser(name, help=text, description=text)
        # After the command too; without a default, which would undo what stands before it.
        made.add_argument("--state", type=Path, default=argparse.SUPPRESS, help=words("help.state"))
        return made

    enrol = command("enrol")
    enrol.add_argument("--controller", required=True, help=words("help.controller"))
    enrol.add_argument("--terminal", required=True, help=words("help.terminal"))
    enrol.add_argument("--code", help=words("help.code"))
    enrol.add_argument("--ca-file", default="", help=words("help.ca"))
    command("run").add_argument("--settings", type=Path, help=f"{words('help.settings')}: {DEFAULT_SETTINGS}")
    command("status").add_argument("--json", action="store_true", help=words("help.json"))
    command("test").add_argument(
        "how", nargs="?", choices=("silent", "audible"), default="silent", help=words("help.how")
    )
    play = command("play")
    play.add_argument("broadcast", nargs="?", default="", help=words("help.broadcast"))
    play.add_argument("--stop", action="store_true", help=words("help.stop"))
    command("log").add_argument("-n", dest="lines", type=int, default=50, help=words("help.lines"))
    upgrade = command("upgrade")
    upgrade.add_argument("new", type=Path, help=words("help.new"))
    upgrade.add_argument("--link", type=Path, default=DEFAULT_LINK, help=f"{words('help.link')}: %(default)s")
    upgrade.add_argument("--wait", type=float, default=3600.0, help=words("help.wait"))
    upgrade.add_argument("--patience", type=float, default=60.0, help=words("help.patience"))
    return parser


def _obey(given: argparse.Namespace, words: Words) -> int:
    state: Path = given.state
    match given.command:
        case "enrol":
            return _enrol(given, words)
        case "run":
            settings = load(given.settings or DEFAULT_SETTINGS, required=given.settings is not None)
            return _run(StateFolder(state), settings, words)
        case "status":
            return _status(state, words, as_json=given.json)
        case "test":
            said = _asked(state, {"do": "test", "audible": given.how == "audible"})
            return _tested(said["test"], words)
        case "play" if given.stop:
            _asked(state, {"do": "quiet"})
            _say(words("stopped"))
        case "play":
            said = ask(state, {"do": "play", "broadcast": given.broadcast})
            if "refused" in said:
                none = said["refused"] == NO_STANDING
                raise ProgramError(REFUSED, words("no-standing") if none else said["refused"])
            _say(words("sounding", broadcast=said["played"]))
        case "log":
            _show_log(StateFolder(state), given.lines)
        case "upgrade":
            return _upgrade(given, words)
    return DONE


def _nobody(given: argparse.Namespace, words: Words, error: NotRunning) -> str:
    if error.why == errno.EACCES:
        return words("not-yours", folder=given.state, command=given.command)
    return words("nobody", folder=given.state, why=error)


# --- enrol -------------------------------------------------------------------------------------------


def _enrol(given: argparse.Namespace, words: Words) -> int:
    folder = StateFolder(given.state)
    folder.lock()
    try:
        code = given.code or _typed(words("code?"))
        try:
            code_bytes(code)
        except EnrolmentError as error:
            raise ProgramError(SETTINGS, words("code-mistyped", why=error.detail)) from error
        key = new_key(secrets.token_bytes(ENTROPY))
        applicant = Applicant(
            given.terminal, code, secrets.token_bytes(KEY_ENTROPY), certificate_request(key, given.terminal)
        )
        papers = applicant.open(_post(given, applicant.request, words))
        if papers.certificate:
            check(papers.certificate, papers.authority, key, papers.terminal)
        try:
            folder.keep_papers(papers, key)
        except OSError as error:
            raise StateError(f"{folder.path}: the papers cannot be kept ({error.strerror})") from error
    finally:
        folder.unlock()
    _say(words("enrolled", terminal=papers.terminal, county=papers.county, broker=papers.broker))
    _say(words("start"))
    return DONE


def _typed(prompt: str) -> str:
    if sys.stdin.isatty():
        sys.stdout.write(prompt)
        sys.stdout.flush()
    return sys.stdin.readline()


def _post(given: argparse.Namespace, body: bytes, words: Words) -> bytes:
    """The answer of ``POST <controller>/enrol``. Raises ProgramError, LinkError."""
    controller: str = given.controller
    tls = None
    if controller.lower().startswith("https:"):
        from terminals.agent.link import trust

        tls = trust(given.ca_file)
    try:
        status, said = exchange(controller.rstrip("/") + "/enrol", body, tls)
    except ValueError as error:
        raise ProgramError(NOBODY, words("no-address", address=controller)) from error
    except OSError as error:
        raise ProgramError(NOBODY, words("no-answer", address=controller, why=error)) from error
    if status != 200:
        raise ProgramError(REFUSED, _refusal(status, said, given.terminal, words))
    return said


def _refusal(status: int, said: bytes, terminal: str, words: Words) -> str:
    """In the installer's language, from what the controller says (`EnrolmentReason`)."""
    reason = ""
    try:
        body = json.loads(said)
        detail, reason = str(body["detail"]), str(body.get("reason", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        detail = said.decode(errors="replace")
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        return words("too-often")
    if reason == EnrolmentReason.WRONG_CODE:
        return words("code-wrong", terminal=terminal)
    printable = "".join(c if c.isprintable() else " " for c in detail)[:300]
    return words("office-refused", status=status, why=printable)


# --- run ---------------------------------------------------------------------------------------------


def _run(folder: StateFolder, settings: Settings, words: Words) -> int:
    folder.lock()
    try:
        _log_to(folder.log)
        papers = folder.papers()
        if papers is None:
            raise StateError(words("not-enrolled"))
        asyncio.run(_serve(folder, papers, settings))
    except BaseExceptionGroup as errors:
        if errors.subgroup(DeviceHangs) is None:
            raise
        raise DeviceHangs("the sound device hangs; systemd starts the program again") from errors
    finally:
        folder.unlock()
    return DONE


async def _serve(folder: StateFolder, papers: Enrolled, settings: Settings) -> None:
    from terminals.agent.host import Host
    from terminals.agent.systemd import Systemd

    host = Host(folder, papers, settings, systemd=Systemd())
    logging.getLogger(__name__).info("%s starts, version %s", papers.terminal, version())
    loop = asyncio.get_running_loop()
    running = asyncio.current_task()
    assert running is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        async with control(host, folder.path):
            await host.run()


def _log_to(path: Path) -> None:
    """To systemd's journal, and to a small file that outlives it on boards whose journal is in memory."""
    format_ = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    with contextlib.suppress(OSError):  # a read-only disk: the journal has it all the same
        handlers.append(
            logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
        )
    for handler in handlers:
        handler.setFormatter(format_)
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    logging.raiseExceptions = False  # a full disk must not flood the journal with tracebacks of the log


def _show_log(folder: StateFolder, lines: int) -> None:
    last: deque[str] = deque(maxlen=max(lines, 1))
    for path in (folder.log.with_name(folder.log.name + ".1"), folder.log):
        with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
            last.extend(file)
    sys.stdout.writelines(last)


# --- status and test ---------------------------------------------------------------------------------


def _asked(state: Path, what: dict[str, Any]) -> dict[str, Any]:
    said = ask(state, what)
    if "refused" in said:
        raise ProgramError(REFUSED, said["refused"])
    return said


def _status(state: Path, words: Words, *, as_json: bool) -> int:
    try:
        status = _asked(state, {"do": "status"})["status"]
    except NotRunning:
        papers = StateFolder(state).papers()
        if as_json:
            _say(json.dumps({"terminal": None if papers is None else papers.terminal, "running": False}))
        elif papers is None:
            _say(f"{words('terminal')}: {words('not-enrolled')}")
        else:
            _say(f"{words('terminal')}: {papers.terminal}, {words('enrolled-yes', county=papers.county)}")
            _say(f"{words('program')}: {words('not-running')}")
        return SETTINGS if papers is None else NOBODY
    if as_json:
        _say(json.dumps(status | {"running": True}, ensure_ascii=False))
    else:
        for line in status_lines(status, words):
            _say(line)
    return DONE


def status_lines(status: dict[str, Any], words: Words) -> list[str]:
    """`Host.status` for a person on a ladder: one fact a line, what is wrong in capitals."""
    lines: list[str] = []

    def line(name: str, text: str) -> None:
        lines.append(f"{words(name)}: {text}")

    line("terminal", f"{status['terminal']}, {words('enrolled-yes', county=status['county'])}")
    line("program", words("running", version=status["software"]))
    if status["connected"]:
        line("connection", words("connected", broker=status["broker"]))
    else:
        line("connection", words("not-connected", broker=status["broker"], why=status["link_trouble"] or "…"))
    if status["time"] is None:
        line("time", words("time-unknown"))
    else:
        line("time", words("time-known", time=_time(status["time"]), error=status["clock_error_ms"]))
    line(
        "sound",
        words("device", device=status["device"], volume=status["volume"], underruns=status["underruns"]),
    )
    if status["amplifier_ok"] is not None:
        line("amplifier", words("well" if status["amplifier_ok"] else "not-well"))
    line("playing", status["playing"] or words("nothing"))
    last = status["last_sound"]
    if last is None:
        line("last", words("never"))
    else:
        line(
            "last", words("last-at", time=_time(last["at"]), broadcast=last["broadcast"], state=last["state"])
        )
    line("queued", words("queue", messages=len(status["queued"]), reports=status["reports_queued"]))
    for name, (wanted, held) in status["sets"].items():
        line("sets", words("set", set=name, held=held, wanted=wanted))
    for one in status["standing"]:
        word = "standing-one" if one["ready"] else "not-whole"
        line("standing", words(word, **one, time=_time(one["expires"])))
    line(
        "disk",
        words(
            "disk-use",
            clips=status["clips"],
            mb=status["clips_mb"],
            budget=status["clips_budget_mb"],
            free="?" if status["disk_free_mb"] is None else status["disk_free_mb"],
        ),
    )
    power = []
    if status["mains"] is not None:
        power.append(words("mains-on" if status["mains"] else "mains-off"))
    if status["battery"] is not None:
        power.append(words("battery", percent=status["battery"]))
    if power:
        line("power", ", ".join(power))
    for text in status["trouble"].values():
        line("trouble", text)
    return lines


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _tested(parts: dict[str, str], words: Words) -> int:
    for part, told in parts.items():
        name = words(f"part.{part}")
        problem = told
        if told and part == "time":
            problem = words("no-time-yet")
        elif part == "sound" and told.startswith("sound device"):
            problem = words("no-device", problem=told)
        _say(words("test-bad", part=name, problem=problem) if problem else words("test-well", part=name))
    return WRONG if any(parts.values()) else DONE


# --- upgrade -----------------------------------------------------------------------------------------


def _upgrade(given: argparse.Namespace, words: Words) -> int:
    """Put `link` to `new` and let the running program leave when nothing plays; systemd starts the new one.
    A running program has its files under its own folder and is not touched. If the new one does not come
    up, the old one is put back."""
    state: Path = given.state
    new: Path = given.new
    link: Path = given.link
    program = new.absolute() / "bin" / "fenghuo-terminal"
    fresh = _version_of(program, words)
    try:
        pid = _asked(state, {"do": "status"})["status"]["pid"]
    except NotRunning:
        _point(link, new)
        _say(words("upgrade-later", version=fresh))
        return DONE
    old = link.readlink() if link.is_symlink() else None
    deadline = time.monotonic() + given.wait
    said = False
    _point(link, new)
    while "refused" in ask(state, {"do": "leave"}):
        if not said:
            _say(words("waiting"))
            said = True
        if time.monotonic() >= deadline:
            _point(link, old)
            raise ProgramError(REFUSED, words("busy", seconds=f"{given.wait:g}"))
        time.sleep(1)
    if _came_up(state, pid, given.patience):
        _say(words("upgraded", version=fresh))
        return DONE
    _point(link, old)
    raise ProgramError(FAILED, words("rolled-back", seconds=f"{given.patience:g}"))


def _version_of(program: Path, words: Words) -> str:
    try:
        done = subprocess.run([program, "--version"], timeout=60, capture_output=True, text=True, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramError(SETTINGS, words("no-version", path=program, why=error)) from error
    if done.returncode != 0:
        raise ProgramError(SETTINGS, words("no-version", path=program, why=done.stderr.strip()[-300:]))
    return done.stdout.strip()


def _came_up(state: Path, old_pid: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with contextlib.suppress(NotRunning):
            if ask(state, {"do": "status"}, timeout_s=5)["status"]["pid"] != old_pid:
                return True
        time.sleep(0.5)
    return False


def _point(link: Path, target: Path | None) -> None:
    """`link` points to `target` from one moment to the next. Raises ProgramError."""
    try:
        if target is None:
            link.unlink(missing_ok=True)
            return
        aside = link.with_name(link.name + ".new")
        aside.unlink(missing_ok=True)
        aside.symlink_to(target.absolute())
        aside.replace(link)
    except OSError as error:
        raise ProgramError(SETTINGS, f"{link}: {error.strerror}") from error


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(text + "\n")


def _fail(error: Exception, code: int) -> int:
    sys.stderr.write(f"fenghuo-terminal: {error}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
