"""What the installer decided about this board: one small TOML file, every line of it optional.

What the county decides (keys, groups, languages, broker) comes with the enrolment and is not here.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

DEFAULT_SETTINGS: Final = Path("/etc/fenghuo/terminal.toml")


class SettingsError(Exception):
    """The settings file is wrong: file, field, what to do."""


class Sound(Struct, frozen=True, forbid_unknown_fields=True):
    """The sound device and the amplifier behind it."""

    device: Annotated[str, Meta(min_length=1, max_length=200)] = "default"
    """``default``, the number or a part of the name of a PortAudio device, ``null`` (plays to nobody, at the
    right pace) or ``wav:FOLDER`` (into files there, one a sound, at the right pace)."""
    full_volume: Annotated[int, Meta(ge=1, le=100)] = 100
    """Percent of the device's full scale that a message's volume of 100 means here."""
    lead_in_ms: Annotated[int, Meta(ge=0, le=2_000)] = 300
    """Silence before every message: relays and amplifiers wake up in it (lessons-from-the-field.md §7,
    "first words clipped")."""
    amplifier_on: tuple[str, ...] = ()
    """Command that switches the amplifier on before a sound; it has 2 s. Nothing is run if empty."""
    amplifier_off: tuple[str, ...] = ()
    """Command that switches it off when nothing follows."""
    amplifier_check: tuple[str, ...] = ()
    """Command that ends with 0 if the amplifier is well; it has 2 s."""


class Disk(Struct, frozen=True, forbid_unknown_fields=True):
    """How much of a small disk sounds may take."""

    clips_mb: Annotated[int, Meta(ge=8, le=100_000)] = 256
    """Budget of all clips together; pinned ones count and are never evicted."""
    keep_free_mb: Annotated[int, Meta(ge=1, le=100_000)] = 64
    """No fetch makes the disk fuller than this: what the terminal must remember has to find room."""


class Link(Struct, frozen=True, forbid_unknown_fields=True):
    """The way to the county's broker, where the enrolment alone does not tell it."""

    ca_file: str = ""
    """Who signed the certificates of broker and clip server; the system's list if empty."""
    certificate: str = ""
    """This terminal's own certificate for the broker, PEM; `key` is its private key."""
    key: str = ""
    keepalive_s: Annotated[int, Meta(ge=10, le=120)] = 45


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    sound: Sound = Sound()
    disk: Disk = Disk()
    link: Link = Link()
    button: bool = False
    """Whether a file `by-hand/<broadcast>` or `by-hand/any` in the state folder sounds a standing message."""


def load(path: Path, *, required: bool) -> Settings:
    """The settings in `path`; those by default if it is not there and not `required`. Raises
    SettingsError."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        settings = msgspec.convert(data, Settings)
    except FileNotFoundError:
        if required:
            raise SettingsError(f"{path}: there is no such file") from None
        return Settings()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    if bool(settings.link.certificate) != bool(settings.link.key):
        raise SettingsError(f"{path}: $.link: certificate and key come together; give both or none")
    return settings
