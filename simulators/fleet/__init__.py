"""A simulated county: thousands of terminals in one process, each a real `Core` behind a real TCP
connection, enrolled with a real code, in the reserved id class that only a sandbox controller takes.

Simulated are the loudspeaker (a playing takes its real time, divided by `speed`, which the report and the
log name) and the disk (memory). Everything else is what a board does: X25519 enrolment, MQTT 5, signed
time, Ed25519, staged sets, fetching by hash with resume, sealed reports.

Three things are shared between the terminals of a process, and change nothing that they decide: the check of
one seal over the same bytes under the same ring is remembered (the last `SEALS_REMEMBERED`; a refusal
never is), so is what fits a kind of terminal in a set's manifest, and with ``audio="shared"`` a clip is
fetched and checked once for all. All waiting is in one heap (`timers`).

``python -m simulators.fleet --help`` runs it as a process of its own.
"""

from simulators.fleet.county import Fleet
from simulators.fleet.options import (
    ControllerAway,
    FleetError,
    FleetOptions,
    FleetRefused,
    FleetReport,
    allow_files,
)
from simulators.fleet.program import main, run_fleet
from simulators.fleet.terminal import Ear, Heard, Terminal

__all__ = [
    "ControllerAway",
    "Ear",
    "Fleet",
    "FleetError",
    "FleetOptions",
    "FleetRefused",
    "FleetReport",
    "Heard",
    "Terminal",
    "allow_files",
    "main",
    "run_fleet",
]
