"""``fenghuo doctor``: what is missing on this machine, and the command that mends it."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from controller.cli import say
from controller.cli.client import Address, Client, find_address
from controller.cli.outcome import Code, Failure
from controller.cli.setup import load_config
from controller.cli.words import told, w

if TYPE_CHECKING:
    from config.schema import Config

OURS: Final = ("alerts", "terminals", "tts", "config", "controller", "simulators")
"""Our packages; the folder names are prescribed and generic, so another distribution may own one too."""
OPEN_FILES: Final = 20_000
"""10,000 terminals that fetch over HTTP while the embedded broker holds their connections."""
FREE_BYTES: Final = 2 * 1024**3
"""Database, journal and clips of a year of daily warnings in a county of 6,000 terminals."""
_TOOL_S: Final = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """`state` wrong makes the exit code 1; odd is for the engineer to judge."""

    about: str
    state: Literal["right", "odd", "wrong"]
    text: str
    mend: str = ""
    """A command, or what to do."""


def examine(config_file: Path | None, url: str | None) -> list[Finding]:
    """Every check, in order; reads only."""
    config, findings = _config(config_file)
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        lambda: _packages(metadata.distributions()),
        lambda: _voice(config),
        lambda: _mosquitto(config),
        _files,
        _clock,
        lambda: _disk(config.state_dir if config else Path()),
        lambda: _keys(config),
        lambda: _certificates(config),
        lambda: _controller(url, config_file),
    )
    return findings + [finding for check in checks for finding in check()]


def doctor(config_file: Path | None, url: str | None, *, as_json: bool) -> Code:
    """Prints the findings; FAILED when something is wrong."""
    findings = examine(config_file, url)
    if as_json:
        say.data_json([asdict(finding) for finding in findings])
    else:
        marks = {"right": "✓", "odd": "!", "wrong": "✗"}
        for finding in findings:
            say.data(f"{marks[finding.state]} {w(f'd_{finding.about}')}: {finding.text}")
            if finding.mend:
                say.data(f"    → {finding.mend}")
    return Code.FAILED if any(f.state == "wrong" for f in findings) else Code.DONE


def _config(file: Path | None) -> tuple[Config | None, list[Finding]]:
    if file is None:
        return None, []
    try:
        config = load_config(file)
    except Failure as failure:
        mend = f"fenghuo config check {file}"
        return None, [Finding("config", "wrong", told(line), mend) for line in failure.lines]
    return config, [Finding("config", "right", f"{file} ({config.mode})")]


def _python() -> Iterator[Finding]:
    here = sys.version_info
    text = f"{here.major}.{here.minor}.{here.micro}"
    if (3, 11) <= here[:2] < (3, 13):
        yield Finding("python", "right", text)
    else:
        yield Finding("python", "wrong", w("dt_python", version=text), "python3.11 -m venv .venv")


def _packages(installed: Iterable[metadata.Distribution]) -> Iterator[Finding]:
    """Another distribution that owns one of our generic package names."""
    owners = {
        (top, name)
        for distribution in installed
        if (name := distribution.metadata["Name"]) and name.lower() != "fenghuo"
        for top in _tops(distribution)
        if top in OURS
    }
    for top, name in sorted(owners):
        yield Finding("packages", "wrong", w("dt_package", top=top, name=name), f"pip uninstall {name}")
    if not owners:
        yield Finding("packages", "right", w("dt_packages_free", names=" ".join(OURS)))


def _tops(distribution: metadata.Distribution) -> set[str]:
    listed = (distribution.read_text("top_level.txt") or "").split()
    files = (f.parts[0].removesuffix(".py") for f in distribution.files or () if f.parts[0] != "..")
    return {*listed, *files}


def _voice(config: Config | None) -> Iterator[Finding]:
    from tts.voice import VoiceError
    from tts.voices import kokoro, weights

    try:
        weights.load()
        for name in kokoro.voices():
            kokoro.load_style(name)
    except VoiceError as error:
        yield Finding("voice", "wrong", told(error.detail), "make demo")
    else:
        names = ", ".join(kokoro.voices())
        yield Finding("voice", "right", w("dt_voice", digest=weights.SHA256[:12], names=names))
    if config is not None:
        yield from _other_voices(config)


def _other_voices(config: Config) -> Iterator[Finding]:
    """Wrong is what the county approved and could not speak with; what nobody approved waits for somebody."""
    from controller.voices import offered
    from tts.voices.choice import Engine

    for offer in offered(config.voice):
        about = {"language": offer.language, "voice": offer.name}
        if offer.engine is Engine.KOKORO:
            continue
        if offer.missing:
            text = f"{offer.language} · {offer.name}: {told(offer.missing)}"
            yield Finding("voice", "wrong" if offer.approved_by else "odd", text)
        elif offer.approved_by:
            by = {"by": offer.approved_by, "on": offer.approved_on}
            yield Finding("voice", "right", w("dt_other_approved", **about, **by))
        else:
            yield Finding("voice", "odd", w("dt_other_unapproved", **about), w("dt_approve_mend"))


def _mosquitto(config: Config | None) -> Iterator[Finding]:
    from config.schema import is_loopback
    from simulators.broker import mosquitto_binary

    found = mosquitto_binary()
    if found is not None:
        yield Finding("mosquitto", "right", str(found))
    elif config is not None and config.broker.embedded is None and is_loopback(config.broker.host):
        yield Finding("mosquitto", "wrong", w("dt_no_mosquitto"), "apt-get install mosquitto")
    else:
        yield Finding("mosquitto", "odd", w("dt_no_mosquitto"), "make mosquitto")


def _files() -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= OPEN_FILES:
        yield Finding("files", "right", w("dt_files", limit=soft))
    elif hard == resource.RLIM_INFINITY or hard >= OPEN_FILES:
        yield Finding(
            "files", "odd", w("dt_files_few", limit=soft, wanted=OPEN_FILES), f"ulimit -n {OPEN_FILES}"
        )
    else:
        mend = w("dt_files_mend", wanted=65_536)
        yield Finding("files", "odd", w("dt_files_few", limit=hard, wanted=OPEN_FILES), mend)


def _clock() -> Iterator[Finding]:
    answer = _run("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if answer == "yes":
        yield Finding("clock", "right", w("dt_clock"))
    elif answer == "no":
        yield Finding("clock", "wrong", w("dt_clock_off"), "timedatectl set-ntp true")
    else:
        yield Finding("clock", "odd", w("dt_clock_unknown"), w("dt_clock_mend"))


def _run(*command: str) -> str | None:
    """What a system tool prints; None where it is missing or fails."""
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        done = subprocess.run(  # fixed words, no shell
            [program, *command[1:]], capture_output=True, text=True, timeout=_TOOL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _disk(folder: Path) -> Iterator[Finding]:
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    text = w("dt_disk", folder=there, free=f"{free / 1024**3:.1f}")
    if free >= FREE_BYTES:
        yield Finding("disk", "right", text)
    else:
        yield Finding("disk", "wrong", text, w("dt_disk_mend", wanted=FREE_BYTES // 1024**3))


def _keys(config: Config | None) -> Iterator[Finding]:
    if config is None:
        return
    from config.schema import Mode
    from controller.keys import KeysError, WrongPassphrase, given_passphrase, load
    from terminals.seal import KeyRole

    left = {KeyRole.ROOT} if config.mode is Mode.ACTUAL else {KeyRole.ROOT, KeyRole.ACTUAL}
    roles = [r for r in KeyRole if r not in left]
    try:
        load(config.keys_dir, roles, given_passphrase(config.keys_passphrase_file, os.environ))
    except WrongPassphrase as error:
        # The engineer may not have it; the service does.
        yield Finding("keys", "odd", told(str(error)))
    except (KeysError, OSError) as error:
        yield Finding("keys", "wrong", told(str(error)), w("dt_keys_mend"))
    else:
        yield Finding("keys", "right", str(config.keys_dir))


def _certificates(config: Config | None) -> Iterator[Finding]:
    from controller.certificates import SOON_DAYS, endings, warnings
    from controller.keys import KeysError

    if config is None:
        return
    try:
        found = endings(config.keys_dir)
    except KeysError as error:
        yield Finding("certificates", "wrong", told(str(error)))
        return
    bad = warnings(found, time.time_ns() // 1_000_000)
    for text in bad:
        yield Finding("certificates", "wrong", told(text), "fenghuo keys ca --renew")
    if found and not bad:
        yield Finding("certificates", "right", w("dt_certificates", days=SOON_DAYS))


def _controller(url: str | None, config_file: Path | None) -> Iterator[Finding]:
    asked = url is not None or config_file is not None or bool(os.environ.get("FENGHUO_URL"))
    address: Address | None = None
    try:
        address = find_address(url, config_file, os.environ)
        with Client(address, None) as client:
            problems = client.ready()
    except Failure as failure:
        # Whoever only installs has no controller yet; whoever names one expects it.
        state: Literal["odd", "wrong"] = "wrong" if asked else "odd"
        yield Finding("controller", state, " ".join(failure.lines), "systemctl start fenghuo")
        return
    for problem in problems:
        yield Finding("controller", "wrong", f"{address}: {told(problem)}", "journalctl -u fenghuo")
    if not problems:
        yield Finding("controller", "right", w("dt_ready", address=address))
