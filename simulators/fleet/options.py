"""What a simulated county is asked for and what it tells of itself."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from simulators.faults import DEFAULT_SETTINGS, Fault, FaultSettings, Link
from simulators.scenarios import terminal_id

FILES_BESIDE: Final = 200
"""Open files that a process needs beside one for each terminal."""


class FleetError(Exception):
    """The fleet cannot run: what is wrong and what to do."""


class FleetRefused(FleetError):
    """The controller takes no simulated terminals."""


class ControllerAway(FleetError):
    """Nobody answers at the controller's address."""


@dataclass(frozen=True, slots=True)
class FleetOptions:
    controller: str
    """The operators' API: ``http://127.0.0.1:8471`` or ``unix:/path``."""
    token: str = field(repr=False)
    """An operator's."""
    county: str = "zhouqu"
    """Name or folder of a county pack."""
    terminals: int = 212
    """How many: one for each terminal of the pack, and then round again over its villages."""
    speed: float = 1.0
    """How many times faster than in reality a playing goes; 1 or more."""
    audio: Literal["fetch", "shared"] = "fetch"
    """Whether every terminal fetches each clip itself, or one does for all of the process."""
    faults: Mapping[str, Fault] = field(default_factory=dict)
    links: Mapping[str, Link] = field(default_factory=dict)
    """Bad links, by terminal; all others are good."""
    fault_settings: FaultSettings = DEFAULT_SETTINGS
    seed: int = 0
    """Of everything that is random and is no key."""
    connect_at_once: int = 40
    """Connections under way at any time, 1 to 100 (mosquitto's backlog; rumqttd resets above 40)."""
    terminals_url: str | None = None
    """Where terminals enrol; None: as the controller's status says."""
    ca_file: Path | None = None
    """Who signed the broker's certificate, where the broker is an mqtts:// one."""

    def __post_init__(self) -> None:
        """Raises FleetError naming the option that is out of range."""
        wrong = ""
        if self.terminals < 1:
            wrong = f"terminals {self.terminals}: at least 1"
        elif not 1 <= self.speed <= 1_000:
            wrong = f"speed {self.speed}: from 1 to 1000"
        elif not 1 <= self.connect_at_once <= 100:
            wrong = f"connect_at_once {self.connect_at_once}: from 1 to 100"
        elif unknown := sorted((set(self.faults) | set(self.links)) - set(self.ids())):
            wrong = f"a fault for {unknown[0]}, which is not one of the {self.terminals} terminals"
        if wrong:
            raise FleetError(wrong)

    def ids(self) -> list[str]:
        return [terminal_id(n) for n in range(self.terminals)]


@dataclass(frozen=True, slots=True)
class FleetReport:
    """What a fleet did, from its own side; JSON-able with `asdict`."""

    county: str
    terminals: int
    faults: Mapping[str, str]
    bad_links: int
    speed: float
    """Playing went so many times faster than in reality."""
    audio: str
    seconds: float
    enrolled: int
    connected: int
    """When it was stopped."""
    with_time: int
    """Terminals that had the signed time at least once."""
    commands: int
    reports: int
    """Sealed words handed to the broker."""
    reports_lost: int
    """By faults, or because the way was closed or full."""
    commands_lost: int
    """By bad links."""
    fetches: int
    fetched_bytes: int
    manifests: int
    """Of staged sets, taken by a terminal."""
    started: int
    """Sounds, the generic sentence and the signal alone included."""
    finished: int
    reconnects: int
    power_cuts: int
    alarms: int
    peak_memory_mb: float


@dataclass(slots=True)
class Counts:
    with_time: int = 0
    connected: int = 0
    commands: int = 0
    reports: int = 0
    reports_lost: int = 0
    commands_lost: int = 0
    fetches: int = 0
    fetched_bytes: int = 0
    manifests: int = 0
    started: int = 0
    finished: int = 0
    reconnects: int = 0
    power_cuts: int = 0
    alarms: int = 0


def allow_files(needed: int) -> None:
    """Let this process open `needed` files. Raises FleetError when the machine does not allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise FleetError(
                f"{needed} open files are needed and {hard} allowed; "
                "raise the hard limit (ulimit -Hn, LimitNOFILE=) or take fewer terminals"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
