"""What a county decides, as frozen types: the one YAML file `county.yaml`, already checked.

Every option here is read by the part named in its docstring. Validation of single values lives here;
reading the file, line numbers and rules between sections live in `config.load`. No secret is ever part of
these types: a password is the path of a file, a token is its hash.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from datetime import date, timedelta
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from alerts.hazards import HAZARDS, UNKNOWN
from alerts.model import CodeScheme, Colour

ANY: Final = "*"
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_DURATION: Final = r"^[1-9][0-9]{0,5}[smh]$"
_ADDRESS: Final = r"^(\[[0-9A-Fa-f:]+\]|[0-9.]+|localhost):[0-9]{1,5}$"
# sun_path holds 108 bytes with the closing zero (unix(7)).
_MAX_SOCKET_PATH: Final = 107
_HAZARD_KEYS: Final = (ANY, *(h.key for h in HAZARDS), UNKNOWN.key)


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address) can only be this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _duration(value: object) -> timedelta:
    if not isinstance(value, str) or not re.match(_DURATION, value):
        raise ValueError('must be a duration with its unit, such as "60s", "5m" or "2h"')
    return timedelta(seconds=int(value[:-1]) * _UNITS[value[-1]])


def _duration_text(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    unit = next(u for u in ("h", "m", "s") if seconds % _UNITS[u] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


Duration = Annotated[
    timedelta,
    PlainValidator(_duration),
    PlainSerializer(_duration_text),
    WithJsonSchema({"type": "string", "pattern": _DURATION, "examples": ["60s", "5m", "2h"]}),
]


def _polite(value: timedelta) -> timedelta:
    if not timedelta(seconds=10) <= value <= timedelta(hours=1):
        raise ValueError("must be from 10s to 1h")
    return value


def _path(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be a path")
    base: Path = (info.context or {}).get("base", Path())
    return base / value


FilePath = Annotated[
    Path,
    PlainValidator(_path),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "minLength": 1, "description": "a path; relative to this file"}),
]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Tcp(_Strict):
    """An address on this machine to listen at; port 0 takes any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixSocket(_Strict):
    """A socket in the file system: whoever may open the file may connect."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


def _tcp(value: object) -> Tcp:
    if not isinstance(value, str) or not re.match(_ADDRESS, value):
        raise ValueError('must be ADDRESS:PORT, such as "127.0.0.1:8470"')
    host, _, port = value.rpartition(":")
    host = host.strip("[]")
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"{host} is not an IP address") from None
    if int(port) > 65_535:
        raise ValueError(f"{port} is not a port (0 to 65535)")
    return Tcp(host=host, port=int(port))


def _api_address(value: object, info: ValidationInfo) -> Tcp | UnixSocket:
    if isinstance(value, str) and value.startswith("unix:"):
        path = _path(value.removeprefix("unix:"), info)
        if len(str(path).encode()) > _MAX_SOCKET_PATH:
            raise ValueError(f"the socket's path has over {_MAX_SOCKET_PATH} bytes; choose a shorter one")
        return UnixSocket(path=path)
    try:
        address = _tcp(value)
    except ValueError as error:
        raise ValueError(f'{error}; or "unix:" and a path') from None
    if not is_loopback(address.host):
        raise ValueError(
            f"{address.host} can be reached from outside, and operators' tokens would cross the network in "
            "clear; use a unix socket or 127.0.0.1, and SSH from elsewhere"
        )
    return address


_AS_TEXT: Final = PlainSerializer(str)
TcpAddress = Annotated[
    Tcp, PlainValidator(_tcp), _AS_TEXT, WithJsonSchema({"type": "string", "pattern": _ADDRESS})
]
ApiAddress = Annotated[
    Tcp | UnixSocket,
    PlainValidator(_api_address),
    _AS_TEXT,
    WithJsonSchema({"type": "string", "pattern": rf"^unix:.|{_ADDRESS}"}),
]


def _http_url(value: str) -> str:
    parts = _split_url(value, ("http", "https"))
    if parts.query or parts.fragment:
        raise ValueError("must be a plain address without ? or #")
    return value.rstrip("/")


def _split_url(value: str, schemes: tuple[str, ...]) -> Any:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("is not a web address that can be read") from None
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        raise ValueError(f"must be {' or '.join(f'{s}://HOST[:PORT]' for s in schemes)}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no name and no password; they have options of their own")
    return parts


def _feed_url(value: str) -> str:
    _split_url(value, ("http", "https"))
    return value


def _broker_url(value: str) -> str:
    if _split_url(value, ("mqtt", "mqtts")).path not in ("", "/"):
        raise ValueError("must be mqtt://HOST[:PORT] or mqtts://HOST[:PORT], with nothing behind it")
    return value


def did_you_mean(word: object, options: Iterable[str]) -> str:
    """`` (did you mean x?)`` for the option nearest to `word`, or nothing where none is near."""
    near = get_close_matches(str(word).lower(), sorted(options), 1, 0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def _hazard(value: str) -> str:
    if value not in _HAZARD_KEYS:
        raise ValueError(
            f"{value[:40]!r} is not a key of the hazard catalogue{did_you_mean(value, _HAZARD_KEYS)}"
        )
    return value


Text = Annotated[str, Field(min_length=1, max_length=80)]
Argument = Annotated[str, Field(min_length=1, max_length=500)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]
Hazard = Annotated[
    str, AfterValidator(_hazard), WithJsonSchema({"type": "string", "enum": list(_HAZARD_KEYS)})
]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}$")]


class Mode(StrEnum):
    """What the controller may do at all."""

    ACTUAL = "actual"
    DRILL = "drill"
    """No actual key is loaded: exercise and test only, whoever asks. For the weeks before the handover."""


class Embedded(_Strict):
    """A broker of the program's own, on loopback: demo, drills and up to 2,000 simulated terminals."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 1883
    """Port on 127.0.0.1; 0 takes any free one."""


class Broker(_Strict):
    """The MQTT 5 broker between us and the terminals: exactly one of `url` and `embedded`.

    Read by `controller.wiring` (start) and `terminals.transports.mqtt` (connection).
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["url"]}, {"required": ["embedded"]}],
            "dependentRequired": {"username": ["password_file"], "password_file": ["username"]},
        }
    )

    url: Annotated[str, AfterValidator(_broker_url)] | None = None
    """mqtt://127.0.0.1:1883 on this machine; mqtts://HOST:8883 beyond it."""
    username: Text | None = None
    password_file: FilePath | None = None
    """File that holds the broker password; readable by the service alone."""
    ca_file: FilePath | None = None
    """Certificate of the authority that signed the broker's certificate."""
    embedded: Embedded | None = None

    @model_validator(mode="after")
    def _one_and_safe(self) -> Self:
        if (self.url is None) == (self.embedded is None):
            raise ValueError(
                "needs exactly one of url (an external broker) and embedded (a broker of our own)"
            )
        if self.embedded is not None:
            if self.username or self.password_file or self.ca_file:
                raise ValueError(
                    "embedded takes no username, password_file or ca_file: only this machine reaches it"
                )
            return self
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together")
        if not is_loopback(self.host):
            if not self.tls or self.ca_file is None:
                raise ValueError(
                    f"{self.host} is beyond this machine: it needs an mqtts:// url and a ca_file, "
                    "or a stranger could speak to the terminals"
                )
        elif self.ca_file is not None and not self.tls:
            raise ValueError("ca_file is for an mqtts:// url")
        return self

    @property
    def host(self) -> str:
        """Of `url`; 127.0.0.1 for the embedded broker."""
        return "127.0.0.1" if self.url is None else str(urlsplit(self.url).hostname)

    @property
    def port(self) -> int:
        """Of `url`, by default 1883 (8883 for mqtts); for the embedded broker its own, which may be 0."""
        if self.url is None:
            assert self.embedded is not None
            return self.embedded.port
        return urlsplit(self.url).port or (8883 if self.tls else 1883)

    @property
    def tls(self) -> bool:
        return self.url is not None and self.url.startswith("mqtts:")


class Listen(_Strict):
    """Where we answer. Read by `controller.web` and `controller.cli` (api)."""

    api: ApiAddress
    """The operators' interface: unix:PATH or 127.0.0.1:PORT. Never reachable from outside."""
    terminals: TcpAddress
    """Audio and enrolment, for terminals."""
    terminals_url: Annotated[str, AfterValidator(_http_url)] | None = None
    """How terminals see `terminals`; needed when that is a wildcard such as 0.0.0.0, or behind a proxy."""

    @model_validator(mode="after")
    def _terminals_can_find_us(self) -> Self:
        host = self.terminals.host
        if self.terminals_url is None and host != "localhost" and ipaddress.ip_address(host).is_unspecified:
            raise ValueError(
                f"terminals cannot fetch from {host}: give terminals_url, such as http://10.1.0.2:{self.terminals.port}"
            )
        return self

    def audio_base(self, port: int) -> str:
        """What terminals are told to fetch from; `port` is the one really listened at."""
        return self.terminals_url or f"http://{Tcp(host=self.terminals.host, port=port)}"


class Operator(_Strict):
    """A person who may use the API. Read by `controller.web` (who is it) and the log (who did it)."""

    name: Text
    token_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the operator's token, 64 lowercase hexadecimal digits; never the token itself."""


class FolderFeed(_Strict):
    """Warnings as files put into a folder. Read by `alerts.feeds.folder`."""

    name: Name
    kind: Literal["folder"]
    path: FilePath
    official: bool = False
    """Whether its sender may lawfully issue warnings for this county."""
    authenticated: Literal["none", "folder-0700"] = "none"
    """What proves the sender: folder-0700 = only the service's own user can put files there."""
    codes: CodeScheme = CodeScheme.UNKNOWN
    """Which national list its division codes are from; unknown is held wherever the lists differ."""


class CapIndexFeed(_Strict):
    """An RSS or Atom index of CAP documents, asked again and again. Read by `alerts.feeds.cap_index`."""

    name: Name
    kind: Literal["cap_index"]
    url: Annotated[str, AfterValidator(_feed_url)]
    every: Annotated[Duration, AfterValidator(_polite)] = timedelta(seconds=60)
    """How often it is asked, 10s to 1h."""
    official: bool = False
    """Whether its sender may lawfully issue warnings for this county."""
    authenticated: Literal["none", "tls-pinned", "loopback"] = "none"
    """What proves the sender: tls-pinned = https, and only certificates under `ca_file` are accepted;
    loopback = it runs on this machine."""
    ca_file: FilePath | None = None
    """Accept only certificates signed under this one, instead of every public authority's."""
    hosts: tuple[Host, ...] = ()
    """Further hosts from which the index may link documents; its own is always allowed."""
    codes: CodeScheme = CodeScheme.UNKNOWN
    """Which national list its division codes are from; unknown is held wherever the lists differ."""

    @model_validator(mode="after")
    def _authentication_is_possible(self) -> Self:
        parts = urlsplit(self.url)
        if self.ca_file is not None and parts.scheme != "https":
            raise ValueError("ca_file is for an https:// url")
        if self.authenticated == "tls-pinned" and self.ca_file is None:
            raise ValueError("authenticated: tls-pinned needs an https:// url and a ca_file")
        if self.authenticated == "loopback" and not is_loopback(str(parts.hostname)):
            raise ValueError(f"authenticated: loopback, but {parts.hostname} is another machine")
        return self


Feed = Annotated[FolderFeed | CapIndexFeed, Field(discriminator="kind")]


class Action(StrEnum):
    """What happens to a warning without a human hand."""

    AUTO = "auto"
    HOLD = "hold"


class Rule(_Strict):
    """One line of the release table; the first that matches decides, and nothing matching is held.

    Read by `controller.release`.
    """

    feed: Annotated[str, Field(pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9._-]{0,39})$")]
    """Name of a feed, or "*" for every one."""
    hazard: Hazard
    """Key of the hazard catalogue, or "*" for every one."""
    colour: Annotated[tuple[Colour, ...], Field(min_length=1)] | None = None
    """Signal colours; without it every warning matches, also one without a colour."""
    action: Action

    def matches(self, feed: str, hazard: str, colour: Colour | None) -> bool:
        return (
            self.feed in (ANY, feed)
            and self.hazard in (ANY, hazard)
            and (self.colour is None or colour in self.colour)
        )


class Voice(_Strict):
    """The offline Mandarin voice. Read by `tts.voices.kokoro`, and by `controller.wiring` at the start."""

    name: Literal["zm_yunjian", "zf_xiaobei"] = "zm_yunjian"
    speed: Annotated[float, Field(ge=0.5, le=1.5)] = 0.95
    """1 is the voice's own pace; a loudspeaker valley wants it slower."""
    approved_by: Text | None = None
    """Who listened to it and approved it for this county; needed in actual mode."""
    approved_on: date | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "dependentRequired": {"approved_by": ["approved_on"], "approved_on": ["approved_by"]}
        }
    )

    @model_validator(mode="after")
    def _approval_is_whole(self) -> Self:
        if (self.approved_by is None) != (self.approved_on is None):
            raise ValueError("approved_by and approved_on belong together")
        return self


Repeats = Annotated[int, Field(ge=1, le=9)]
Volume = Annotated[int, Field(ge=1, le=100)]


class RepeatsByColour(_Strict):
    """How many times a warning is played."""

    red: Repeats = 3
    orange: Repeats = 3
    yellow: Repeats = 2
    blue: Repeats = 1
    none: Repeats = 3
    """Warnings without a colour, such as an earthquake."""

    def of(self, colour: Colour | None) -> int:
        value: int = getattr(self, colour.value if colour else "none")
        return value


class VolumeByColour(_Strict):
    """Percent of each terminal's configured full volume."""

    red: Volume = 100
    orange: Volume = 100
    yellow: Volume = 80
    blue: Volume = 70
    none: Volume = 100
    """Warnings without a colour, such as an earthquake."""

    def of(self, colour: Colour | None) -> int:
        value: int = getattr(self, colour.value if colour else "none")
        return value


class BroadcastOptions(_Strict):
    """How it is played. Read by `controller.planning`."""

    repeats: RepeatsByColour = RepeatsByColour()
    volume: VolumeByColour = VolumeByColour()


class IssuerLevel(StrEnum):
    """Whose word it is; goes into the order at the loudspeaker, behind the colour."""

    NATION = "nation"
    PROVINCE = "province"
    PREFECTURE = "prefecture"
    COUNTY = "county"

    @property
    def rank(self) -> int:
        """1 (nation) to 4 (county), as `terminals.broadcast.Priority.issuer_level`."""
        return list(IssuerLevel).index(self) + 1


class Issuer(_Strict):
    """Who speaks. Read by `controller.planning`: the spoken sender and the broadcast's priority."""

    name: Text
    level: IssuerLevel = IssuerLevel.COUNTY


class Config(_Strict):
    """The whole of `county.yaml`, checked; all paths are absolute or relative to the working folder."""

    county: Argument
    """A shipped county pack such as zhouqu, or the path of a pack folder. Read by `config.counties`."""
    mode: Mode
    """actual, or drill: no actual key is loaded. Read by `controller.wiring`."""
    state_dir: FilePath
    """Database, clips, journal; made at the start, mode 0700. Read by `controller.wiring`."""
    keys_dir: Annotated[FilePath, Field(default_factory=lambda data: data["state_dir"] / "keys")]
    """Signing keys; mode 0700. By default `keys` in `state_dir`. Read by `controller.wiring`."""
    issuer: Issuer
    broker: Broker
    listen: Listen
    operators: Annotated[tuple[Operator, ...], Field(min_length=1)]
    feeds: tuple[Feed, ...] = ()
    release: tuple[Rule, ...] = ()
    hold_hook: Annotated[tuple[Argument, ...], Field(min_length=1)] | None = None
    """Program and arguments, run every minute while something is held; {alert} becomes the alert's id.
    No shell. Read by `controller.escalation`."""
    voice: Voice = Voice()
    broadcast: BroadcastOptions = BroadcastOptions()
