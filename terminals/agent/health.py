"""What the board knows of itself, for an engineer far away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from terminals.agent.player import hook_ok
from terminals.agent.settings import Sound
from terminals.agent.version import version
from terminals.wire import Health

POWER: Final = Path("/sys/class/power_supply")


def read_health(sound: Sound, free_mb: Callable[[], int], power: Path = POWER) -> Health:
    """As it is now; may take `player.HOOK_S` where an amplifier check is configured. None for what the board
    cannot tell."""
    battery, mains = read_power(power)
    try:
        free: int | None = free_mb()
    except OSError:
        free = None
    return Health(
        software=f"fenghuo-terminal {version()}",
        volume=sound.full_volume,
        amplifier_ok=hook_ok(sound.amplifier_check),
        battery=battery,
        mains=mains,
        disk_free_mb=free,
    )


def read_power(folder: Path) -> tuple[int | None, bool | None]:
    """(battery in percent, the emptiest where there are several; whether any mains supply is there)."""
    charges: list[int] = []
    mains: list[bool] = []
    for supply in sorted(folder.iterdir()) if folder.is_dir() else ():
        kind = _read(supply / "type")
        if kind == "Battery" and (text := _read(supply / "capacity")).isdecimal():
            charges.append(min(int(text), 100))
        elif kind in ("Mains", "USB") and (text := _read(supply / "online")).isdecimal():
            mains.append(text != "0")
    return min(charges, default=None), any(mains) if mains else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
