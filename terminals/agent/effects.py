"""What `Core` tells its host to do."""

from __future__ import annotations

from dataclasses import dataclass

from terminals.wire import Clip


@dataclass(frozen=True, slots=True)
class Save:
    """Make `Durable` safe before any later effect of this list. Always first, at most one."""


@dataclass(frozen=True, slots=True)
class Send:
    """Publish these sealed bytes on this terminal's report topic; best effort."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get `url` after `delay_ms`, check size and SHA-256 before it counts as held, then call `fetched`."""

    clip: Clip
    url: str
    delay_ms: int
    pinned: bool = False
    """For a staged set: less urgent than what is to sound now."""


@dataclass(frozen=True, slots=True)
class FetchManifest:
    """Get `url` after `delay_ms`, check size and SHA-256, decode it (`wire.decode_manifest`), keep the bytes
    for the next start, then call `manifest`."""

    set: str
    sha256: str
    size: int
    url: str
    delay_ms: int


@dataclass(frozen=True, slots=True)
class Sound:
    """Play the clip `repeats` times from `at_mono` (at once if past), never starting at or after
    `until_mono`. Then call `started` when the device takes samples, and `finished` or `broke`.

    One broadcast may get several, one after the other: each is started and finished by itself.
    """

    broadcast: str
    clip: Clip | None
    """None: generate the attention signal."""
    repeats: int
    volume: int
    """Percent; 0 for a silent test: decode it and drive the device with silence."""
    at_mono: int
    until_mono: int
    signal: str = ""
    """Which one, where there is no clip; "" a plain one. A clip has its signal inside."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Stop this Sound now, started or not. Nothing is to be called for it."""

    broadcast: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """The complete list of group topics to be subscribed to, beside the terminal's own."""

    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that an engineer should see in this terminal's log."""

    text: str


Effect = Save | Send | Fetch | FetchManifest | Sound | Silence | Subscribe | Alarm
