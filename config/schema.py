"""What a county decides, as frozen types: the one YAML file `county.yaml`, already checked.

Every option here is read by the part named in its docstring. Validation of single values lives here;
reading the file, line numbers and rules between sections live in `config.load`. No secret is ever part of
these types: a password is the path of a file, a token is its hash.
"""

from __future__ import annotations

import ipaddress
import re
from abc import abstractmethod
from collections.abc import Iterable
from datetime import date, time, timedelta
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

from alerts import fatigue
from alerts.area import USUAL_SHARE
from alerts.feed import Trust
from alerts.formats import Reading
from alerts.formats.lists import LISTS
from alerts.hazards import HAZARDS, UNKNOWN
from alerts.model import CodeScheme, Colour, SeismicZone

ANY: Final = "*"
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_DURATION: Final = r"^[1-9][0-9]{0,5}[smh]$"
_CLOCK: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
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


def _clock(value: object) -> time:
    if not isinstance(value, str) or not re.match(_CLOCK, value):
        raise ValueError('must be a time of day in quotes, such as "22:00"')
    return time.fromisoformat(value)


Clock = Annotated[
    time,
    PlainValidator(_clock),
    PlainSerializer(lambda value: f"{value:%H:%M}"),
    WithJsonSchema({"type": "string", "pattern": _CLOCK, "examples": ["22:00", "06:30"]}),
]


WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _day(value: object) -> str | int:
    if isinstance(value, str) and value in WEEKDAYS:
        return value
    if type(value) is int and 1 <= value <= 28:
        return value
    raise ValueError(f"must be a day of the week ({', '.join(WEEKDAYS)}), or of the month, from 1 to 28")


Day = Annotated[
    str | int,
    PlainValidator(_day),
    WithJsonSchema({"anyOf": [{"enum": list(WEEKDAYS)}, {"type": "integer", "minimum": 1, "maximum": 28}]}),
]
"""A day of the week: every week; a number: that day of every month."""


def _polite(value: timedelta) -> timedelta:
    if not timedelta(seconds=10) <= value <= timedelta(hours=1):
        raise ValueError("must be from 10s to 1h")
    return value


def _polite_list(value: timedelta) -> timedelta:
    if not timedelta(seconds=3) <= value <= timedelta(hours=1):
        raise ValueError("must be from 3s to 1h")
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


def _socket_url(value: str) -> str:
    _split_url(value, ("ws", "wss"))
    return value


def _list_format(value: str) -> str:
    if value not in LISTS:
        raise ValueError(
            f"must be {' or '.join(sorted(LISTS))}, not {value[:40]!r}{did_you_mean(value, LISTS)}"
        )
    return value


def _topic(value: str) -> str:
    levels = value.split("/")
    if "#" in "".join(levels[:-1]) or any(len(level) > 1 and set(level) & set("+#") for level in levels):
        raise ValueError("is not an MQTT topic filter: + stands for one level, # for all the rest")
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
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$", examples=["bo", "ug"])]
"""A BCP 47 tag."""
Topic = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_topic)]
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

    Read by `controller.app`, which connects with it, and `controller.cli` (fenghuo broker config).
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
    terminals_url: Annotated[str, AfterValidator(_broker_url)] | None = None
    """How terminals reach the broker, mqtts://HOST:8883; by default as we do. Read by
    `controller.register` and `fenghuo broker config`."""
    terminals_login: Literal["certificate", "password"] | None = None
    """What a terminal is given at its enrolment to log in at the broker with: a certificate of the county's
    own authority (fenghuo keys ca), or a password of its own. By default nothing: for sandboxes. Read by
    `controller.register` and `fenghuo broker config`."""

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
            if self.terminals_url or self.terminals_login:
                raise ValueError(
                    "embedded takes no terminals_url or terminals_login: only this machine reaches it"
                )
            return self
        for_terminals = self.terminals_url or self.url or ""
        if self.terminals_login is not None and not for_terminals.startswith("mqtts:"):
            raise ValueError("terminals_login needs an mqtts:// address for terminals: give terminals_url")
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
    """Where we answer. Read by `controller.app` and `controller.cli` (api)."""

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


class _Feed(_Strict):
    """What every feed has."""

    name: Name
    official: bool = False
    """Whether its sender may lawfully issue warnings for this county."""
    codes: CodeScheme = CodeScheme.UNKNOWN
    """Which national list its division codes are from; unknown is held wherever the lists differ."""
    stale_after: Duration | None = None
    """How long without a sign of life (an answer, a heartbeat) until it counts as stale, with an alarm. By
    default five times `every` and at least 5m; twice `watchdog` for a socket, 10m for wis2, 1m for folder and
    inbox."""
    quiet_after: Duration | None = None
    """How long without a new document until it counts as stale, with an alarm: for sources that always have
    some. The whole country issues 949 to 1,758 warnings a day (feeds.md §2.2); a county 1 to 14."""

    @property
    def trust(self) -> Trust:
        """What its source is at most, however it is configured."""
        return Trust.OFFICIAL

    @property
    def signs_of_life(self) -> timedelta:
        """`stale_after`, or the default for this kind."""
        return self.stale_after or timedelta(minutes=1)

    @property
    def reading(self) -> Reading:
        """How its documents are read, but for the certificates, which are files."""
        return Reading(self.codes)

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        """Files that it names and that must be readable, by option."""
        return ()

    @property
    def secrets(self) -> tuple[tuple[str, Path], ...]:
        """Files that it names and that only the service may read, by option."""
        return ()

    @model_validator(mode="after")
    def _trust_is_possible(self) -> Self:
        if self.official and self.trust is not Trust.OFFICIAL:
            raise ValueError(f"official: true, but {_WHY_NOT[self.trust]}; it can inform, and never sound")
        return self


_WHY_NOT: Final = {
    Trust.RELAY: "this source passes on the warnings of others, late and unsigned",
    Trust.UNOFFICIAL: "this source is private and says itself that it must not be the only one",
}


class _XmlFeed(_Feed):
    """What feeds of XML documents have: CAP and the national format."""

    shapes: Literal["add", "narrow"] = "add"
    """What a shape beside codes in one area means: add = both are meant; narrow = the shape says which part
    of the codes' area, as this source declares."""
    signers: tuple[FilePath, ...] = ()
    """Certificates (PEM files) that may have signed its documents, or that issued those that did."""

    @property
    def _signed(self) -> bool:
        return getattr(self, "authenticated", "none") == "signed"

    @property
    def reading(self) -> Reading:
        return Reading(self.codes, shapes_narrow=self.shapes == "narrow", must_be_signed=self._signed)

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        return tuple(("signers", file) for file in self.signers)

    @model_validator(mode="after")
    def _signers_are_there(self) -> Self:
        if self._signed and not self.signers:
            raise ValueError("authenticated: signed needs signers, the certificates that may sign")
        return self


class FolderFeed(_XmlFeed):
    """Warnings as files put into a folder. Read by `alerts.feeds.folder`."""

    kind: Literal["folder"]
    path: FilePath
    authenticated: Literal["none", "folder-0700", "signed"] = "none"
    """What proves the sender: folder-0700 = only the service's own user can put files there; signed = every
    document carries a signature of one of `signers`."""


# Relays of other authorities' warnings (`feeds.md` §1.5, §2.9): what they carry is right and late, and
# nothing proves it.
_RELAYS: Final = (
    "worldweather.org",
    "severeweather.wmo.int",
    "cap-sources.s3.amazonaws.com",
    "cap-alerts.s3.amazonaws.com",
    "alert-feed.worldweather.org.s3.amazonaws.com",
    "feeds.meteoalarm.org",
)


class CapIndexFeed(_XmlFeed):
    """An RSS or Atom index of CAP documents, asked again and again. Read by `alerts.feeds.cap_index`."""

    kind: Literal["cap_index"]
    url: Annotated[str, AfterValidator(_feed_url)]
    every: Annotated[Duration, AfterValidator(_polite)] = timedelta(seconds=60)
    """How often it is asked, 10s to 1h."""
    authenticated: Literal["none", "tls-pinned", "loopback", "signed"] = "none"
    """What proves the sender: tls-pinned = https, and only certificates under `ca_file` are accepted;
    loopback = it runs on this machine; signed = every document carries a signature of one of `signers`."""
    ca_file: FilePath | None = None
    """Accept only certificates signed under this one, instead of every public authority's."""
    hosts: tuple[Host, ...] = ()
    """Further hosts from which the index may link documents; its own is always allowed."""

    @property
    def trust(self) -> Trust:
        relay = str(urlsplit(self.url).hostname).endswith(_RELAYS)
        return Trust.RELAY if relay and not self._signed else Trust.OFFICIAL

    @property
    def signs_of_life(self) -> timedelta:
        return self.stale_after or _five_rounds(self.every)

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        return (*super().files, *_named("ca_file", self.ca_file))

    @model_validator(mode="after")
    def _authentication_is_possible(self) -> Self:
        _check_transport(self.url, self.authenticated, self.ca_file, "https")
        return self


class ListFeed(_Feed):
    """A list of what is in force, asked again and again. Read by `alerts.feeds.listing`."""

    kind: Literal["list"]
    format: Annotated[str, AfterValidator(_list_format)]
    """Whose list it is: nmc, 12379, weathercn, qweather, caiyun, icl …"""
    url: Annotated[str, AfterValidator(_feed_url)]
    """May hold {page}, the number of the page from 1, and {key}, what is in `key_file`."""
    every: Annotated[Duration, AfterValidator(_polite_list)] = timedelta(seconds=60)
    """How often it is asked, 3s to 1h; only earthquakes are worth less than 60s."""
    authenticated: Literal["none", "tls-pinned", "loopback"] = "none"
    """What proves the sender: tls-pinned = https, and only certificates under `ca_file` are accepted;
    loopback = it runs on this machine."""
    ca_file: FilePath | None = None
    """Accept only certificates signed under this one, instead of every public authority's."""
    details: Annotated[str, AfterValidator(_feed_url)] | None = None
    """Address that details are relative to, where it is not `url`: weather.com.cn keeps those of alarmMap at
    https://product.weather.com.cn/."""
    hosts: tuple[Host, ...] = ()
    """Further hosts from which details may be fetched; its own and that of `details` are allowed."""
    only: tuple[Annotated[str, Field(min_length=1, max_length=40)], ...] = ()
    """Beginnings of the rows' keys that concern the county, such as ["62"]; empty for all. Only for
    sources whose keys begin with a division code."""
    key_file: FilePath | None = None
    """File that holds the key the source gave us; readable by the service alone."""
    key_header: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,39}$")] | None = None
    """Header that carries the key, such as X-QW-Api-Key; without it the key is {key} in the url."""

    @property
    def trust(self) -> Trust:
        return LISTS[self.format].trust

    @property
    def signs_of_life(self) -> timedelta:
        return self.stale_after or _five_rounds(self.every)

    @property
    def reading(self) -> Reading:
        return Reading(self.codes, format=LISTS[self.format].name)

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        return _named("ca_file", self.ca_file)

    @property
    def secrets(self) -> tuple[tuple[str, Path], ...]:
        return _named("key_file", self.key_file)

    @model_validator(mode="after")
    def _authentication_is_possible(self) -> Self:
        _check_transport(self.url, self.authenticated, self.ca_file, "https")
        if (self.key_file is None) != (self.key_header is None and "{key}" not in self.url):
            raise ValueError("key_file belongs together with {key} in the url, or with key_header")
        if self.format == "nmc" and "{page}" not in self.url:
            # What moves to its second page would look as if it were over.
            raise ValueError("an nmc list comes in pages: write pageNo={page} in the url")
        return self


class SocketFeed(_Feed):
    """A websocket that pushes rows as they come. Read by `alerts.feeds.socket`."""

    kind: Literal["socket"]
    format: Annotated[str, AfterValidator(_list_format)]
    """Whose stream it is: wolfx, fanstudio …"""
    url: Annotated[str, AfterValidator(_socket_url)]
    authenticated: Literal["none", "tls-pinned", "loopback"] = "none"
    """What proves the sender: tls-pinned = wss, and only certificates under `ca_file` are accepted;
    loopback = it runs on this machine."""
    ca_file: FilePath | None = None
    """Accept only certificates signed under this one, instead of every public authority's."""
    watchdog: Annotated[Duration, AfterValidator(_polite)] = timedelta(seconds=120)
    """How long the socket may be silent, heartbeats included, until it is given up and opened again."""

    @property
    def trust(self) -> Trust:
        return LISTS[self.format].trust

    @property
    def signs_of_life(self) -> timedelta:
        return self.stale_after or 2 * self.watchdog

    @property
    def reading(self) -> Reading:
        return Reading(self.codes, format=LISTS[self.format].name)

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        return _named("ca_file", self.ca_file)

    @model_validator(mode="after")
    def _authentication_is_possible(self) -> Self:
        _check_transport(self.url, self.authenticated, self.ca_file, "wss")
        return self


class Wis2Broker(_Strict):
    """A Global Broker of WIS2, or one that speaks like it."""

    url: Annotated[str, AfterValidator(_broker_url)]
    """mqtts://HOST[:8883]; mqtt:// only on this machine."""
    username: Text = "everyone"
    """The WMO publishes everyone/everyone for its Global Brokers (feeds.md §4.5)."""
    password_file: FilePath | None = None
    """File that holds the password; without it, everyone."""
    ca_file: FilePath | None = None
    """Certificate of the authority that signed the broker's certificate, instead of the public ones."""

    @property
    def host(self) -> str:
        return str(urlsplit(self.url).hostname)

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or (8883 if self.tls else 1883)

    @property
    def tls(self) -> bool:
        return self.url.startswith("mqtts:")

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if not self.tls and not is_loopback(self.host):
            raise ValueError(f"{self.host} is beyond this machine: it needs an mqtts:// url")
        if self.ca_file is not None and not self.tls:
            raise ValueError("ca_file is for an mqtts:// url")
        return self


class Wis2Feed(_XmlFeed):
    """Notifications of the WMO's WIS2 over MQTT; what they name is fetched and verified. Read by
    `alerts.feeds.wis2`."""

    kind: Literal["wis2"]
    brokers: Annotated[tuple[Wis2Broker, ...], Field(min_length=1, max_length=4)]
    """Two or more, so that one may fail; the same notification from several is one."""
    topics: Annotated[tuple[Topic, ...], Field(min_length=1, max_length=16)]
    """Such as cache/a/wis2/cn-cma/data/+/weather/advisories-warnings/#."""
    hosts: Annotated[tuple[Host, ...], Field(min_length=1)]
    """Hosts from which documents may be fetched: those of the Global Caches and the centre."""
    authenticated: Literal["none", "signed"] = "none"
    """What proves the sender: signed = every document carries a signature of one of `signers`. A
    notification itself proves nothing."""

    @property
    def trust(self) -> Trust:
        return Trust.OFFICIAL if self._signed else Trust.RELAY

    @property
    def signs_of_life(self) -> timedelta:
        return self.stale_after or timedelta(minutes=10)

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        brokers = [
            (f"brokers[{n}].ca_file", b.ca_file) for n, b in enumerate(self.brokers) if b.ca_file is not None
        ]
        return (*super().files, *brokers)

    @property
    def secrets(self) -> tuple[tuple[str, Path], ...]:
        return tuple(
            (f"brokers[{n}].password_file", b.password_file)
            for n, b in enumerate(self.brokers)
            if b.password_file is not None
        )


class InboxFeed(_XmlFeed):
    """Warnings that a sender posts to us over HTTP. Read by `alerts.feeds.inbox`."""

    kind: Literal["inbox"]
    listen: TcpAddress
    """Where it listens; beyond this machine only with `cert_file` and `key_file`."""
    token_file: FilePath
    """File that holds the sender's token, of 32 characters or more; readable by the service alone."""
    cert_file: FilePath | None = None
    """Our certificate (PEM, the whole chain)."""
    key_file: FilePath | None = None
    """Its private key; readable by the service alone."""
    authenticated: Literal["token", "signed"] = "token"
    """What proves the sender: token = it knows what is in `token_file`, which it always must; signed = and
    every document carries a signature of one of `signers`."""

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        return (*super().files, *_named("cert_file", self.cert_file))

    @property
    def secrets(self) -> tuple[tuple[str, Path], ...]:
        return (("token_file", self.token_file), *_named("key_file", self.key_file))

    @model_validator(mode="after")
    def _token_stays_secret(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        if self.cert_file is None and not is_loopback(self.listen.host):
            raise ValueError(
                f"{self.listen.host} can be reached from outside, and the token would cross the network in "
                "clear; give cert_file and key_file, or listen at 127.0.0.1"
            )
        return self


def _five_rounds(every: timedelta) -> timedelta:
    return max(5 * every, timedelta(minutes=5))


def _named(option: str, file: Path | None) -> tuple[tuple[str, Path], ...]:
    return () if file is None else ((option, file),)


def _check_transport(url: str, authenticated: str, ca_file: Path | None, secure: str) -> None:
    """Raises ValueError for what `url` cannot prove."""
    parts = urlsplit(url)
    if ca_file is not None and parts.scheme != secure:
        raise ValueError(f"ca_file is for {'an' if secure == 'https' else 'a'} {secure}:// url")
    if authenticated == "tls-pinned" and ca_file is None:
        raise ValueError(f"authenticated: tls-pinned needs {secure}:// and a ca_file")
    if authenticated == "loopback" and not is_loopback(str(parts.hostname)):
        raise ValueError(f"authenticated: loopback, but {parts.hostname} is another machine")


Feed = Annotated[
    FolderFeed | CapIndexFeed | ListFeed | SocketFeed | Wis2Feed | InboxFeed, Field(discriminator="kind")
]


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


class OnlineVoice(_Strict):
    """edge-tts beside the offline voice: taken instead where its sound is whole within 2 s, and never waited
    for when a warning is red or seconds count. The words leave the county. Read by `tts.voices.edge`."""

    name: Literal[
        "zh-CN-YunyangNeural",
        "zh-CN-YunjianNeural",
        "zh-CN-YunxiNeural",
        "zh-CN-XiaoxiaoNeural",
        "zh-CN-XiaoyiNeural",
        "zh-CN-liaoning-XiaobeiNeural",
        "zh-CN-shaanxi-XiaoniNeural",
    ] = "zh-CN-YunyangNeural"
    approved_by: Text
    """Who listened to it and approved it for this county."""
    approved_on: date


Speed = Annotated[float, Field(ge=0.5, le=1.5)]
_APPROVAL_IS_WHOLE: Final = ConfigDict(
    json_schema_extra={"dependentRequired": {"approved_by": ["approved_on"], "approved_on": ["approved_by"]}}
)


class _Approved(_Strict):
    """What somebody of the county has listened to, or has yet to."""

    model_config = _APPROVAL_IS_WHOLE

    approved_by: Text | None = None
    """Who listened to it and approved it for this county and language; until then it is never aired as
    actual."""
    approved_on: date | None = None

    @model_validator(mode="after")
    def _approval_is_whole(self) -> Self:
        if (self.approved_by is None) != (self.approved_on is None):
            raise ValueError("approved_by and approved_on belong together")
        return self


def _moment(value: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= value <= timedelta(minutes=2):
        raise ValueError("must be from 1s to 2m")
    return value


Patience = Annotated[Duration, AfterValidator(_moment)]


class _OtherVoice(_Approved):
    """What every voice under `voice.others` has. Read by `controller.voices`."""

    language: Language
    """BCP 47, as terminals and templates name it: zh, yue, bo, ug, kk, mn, ko, ii, za, vi, uz …"""

    @property
    @abstractmethod
    def label(self) -> str:
        """How clips and lists name it; one in a language."""

    @property
    def offline(self) -> bool:
        """Whether it can say whatever is to be said with the internet gone."""
        return True

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        """Files that it names and that must be readable, by option."""
        return ()

    @property
    def secrets(self) -> tuple[tuple[str, Path], ...]:
        """Files that it names and that only the service may read, by option."""
        return ()


class BankVoice(_OtherVoice):
    """Recordings of a native announcer; the first choice for what they hold. Read by `tts.bank`."""

    engine: Literal["bank"]
    folder: FilePath
    """The bank, made with `fenghuo bank new`; each recording has an approval of its own besides."""

    @property
    def label(self) -> str:
        return f"bank:{self.folder.name}"

    @property
    def offline(self) -> bool:
        return False  # it can say only what was recorded


class EdgeVoice(_OtherVoice):
    """A voice of the online service for another language than Mandarin (`voice.online`). The words leave the
    county. Read by `tts.voices.edge`."""

    engine: Literal["edge"]
    name: Name
    """Such as kk-KZ-AigulNeural; `fenghuo tts voices` lists them."""
    timeout: Patience = timedelta(seconds=8)
    """How long its whole sound may take; 2s where another voice of this language works offline."""
    speed: Speed = 1.0

    @property
    def label(self) -> str:
        return f"edge:{self.name}"

    @property
    def offline(self) -> bool:
        return False

    @model_validator(mode="after")
    def _speaks_it(self) -> Self:
        if self.language == "zh":
            raise ValueError("for Mandarin the online voice is voice.online")
        names = _EDGE_VOICES.get(self.language)
        if names is None:
            raise ValueError(
                f"the online service has no voice for {self.language}, only for {', '.join(_EDGE_VOICES)}"
            )
        if self.name not in names:
            raise ValueError(
                f"the online service's voices for {self.language} are {', '.join(names)}, not {self.name}"
            )
        return self


class EspeakVoice(_OtherVoice):
    """espeak-ng (a system package), where it is better than silence; sounds like a machine, and a native
    listener must say whether it is understood. Read by `tts.voices.espeak`."""

    engine: Literal["espeak"]
    timeout: Patience = timedelta(seconds=8)
    speed: Speed = 1.0
    """1 is 140 words a minute."""

    @property
    def label(self) -> str:
        return f"espeak:{self.language}"

    @model_validator(mode="after")
    def _speaks_it(self) -> Self:
        if self.language == "zh":
            raise ValueError("espeak's Mandarin is not understood, and is never used")
        if self.language not in _ESPEAK_LANGUAGES:
            raise ValueError(f"espeak is used only for {', '.join(_ESPEAK_LANGUAGES)}, not {self.language}")
        return self


class CommandVoice(_OtherVoice):
    """A program of the county's own that speaks: text in, WAV out (docs/voices.md). Read by
    `tts.voices.external`."""

    engine: Literal["command"]
    name: Name
    argv: Annotated[tuple[Argument, ...], Field(min_length=1, max_length=64)]
    """The program's full path and its arguments; no shell. {file} becomes a file with the text (else it
    comes on standard input), {out} the file to write WAV to (else standard output), {language} and {speed}
    what they say."""
    timeout: Patience = timedelta(seconds=20)
    """How long it may take for one message; 8s at most for red."""
    speed: Speed = 1.0

    @property
    def label(self) -> str:
        return f"command:{self.name}"

    @model_validator(mode="after")
    def _one_program(self) -> Self:
        if not self.argv[0].startswith("/"):
            raise ValueError("argv must begin with the full path of the program, such as /opt/voices/say-ug")
        for argument in self.argv:
            for mark in re.findall(r"\{([a-z_]*)\}", argument):
                if mark not in ("file", "out", "language", "speed"):
                    raise ValueError(
                        f"{{{mark}}} is not known in argv; {{file}}, {{out}}, {{language}} and {{speed}} are"
                    )
        return self


class HttpVoice(_OtherVoice):
    """A web service that speaks: POST of JSON, WAV or MP3 back (docs/voices.md). Read by
    `tts.voices.external`."""

    engine: Literal["http"]
    name: Name
    url: Annotated[str, AfterValidator(_feed_url)]
    """http:// on this machine, https:// beyond it. What is beyond it needs the internet or the county's
    network: never used for red, nor where seconds count."""
    ca_file: FilePath | None = None
    """Certificate of the authority that signed the service's certificate, instead of the public ones."""
    token_file: FilePath | None = None
    """File that holds a bearer token; readable by the service alone."""
    timeout: Patience = timedelta(seconds=20)
    speed: Speed = 1.0

    @property
    def label(self) -> str:
        return f"http:{self.name}"

    @property
    def offline(self) -> bool:
        return is_loopback(str(urlsplit(self.url).hostname))

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        return _named("ca_file", self.ca_file)

    @property
    def secrets(self) -> tuple[tuple[str, Path], ...]:
        return _named("token_file", self.token_file)

    @model_validator(mode="after")
    def _safe(self) -> Self:
        secure = self.url.startswith("https:")
        if not secure and not self.offline:
            raise ValueError(
                f"{urlsplit(self.url).hostname} is beyond this machine: it needs an https:// url, "
                "or a stranger could put words into the loudspeakers"
            )
        if self.ca_file is not None and not secure:
            raise ValueError("ca_file is for an https:// url")
        return self


_EDGE_VOICES: Final = {
    "yue": ("zh-HK-HiuGaaiNeural", "zh-HK-HiuMaanNeural", "zh-HK-WanLungNeural"),
    "zh-TW": ("zh-TW-HsiaoChenNeural", "zh-TW-HsiaoYuNeural", "zh-TW-YunJheNeural"),
    "kk": ("kk-KZ-AigulNeural", "kk-KZ-DauletNeural"),
    "mn": ("mn-MN-YesuiNeural", "mn-MN-BataaNeural"),
    "ko": ("ko-KR-SunHiNeural", "ko-KR-InJoonNeural"),
    "uz": ("uz-UZ-MadinaNeural", "uz-UZ-SardorNeural"),
    "vi": ("vi-VN-HoaiMyNeural", "vi-VN-NamMinhNeural"),
}
"""As `tts.voices.edge.VOICES`, which we do not import; a test holds the two equal."""
_ESPEAK_LANGUAGES: Final = ("kk", "ko", "ky", "mn", "tt", "ug", "uz", "vi")
"""As `tts.voices.espeak.LANGUAGES`."""

OtherVoice = Annotated[
    BankVoice | EdgeVoice | EspeakVoice | CommandVoice | HttpVoice, Field(discriminator="engine")
]


class Voice(_Approved):
    """Who speaks. The offline Mandarin voice, and beside it what the county has for Mandarin and for other
    languages. Read by `controller.voices` and `controller.voicing`."""

    model_config = _APPROVAL_IS_WHOLE

    name: Literal["zm_yunjian", "zf_xiaobei"] = "zm_yunjian"
    speed: Speed = 0.95
    """1 is the voice's own pace; a loudspeaker valley wants it slower."""
    approved_by: Text | None = None
    """Who listened to it and approved it for this county; needed in actual mode."""
    online: OnlineVoice | None = None
    """The online voice, where the county wants one; needs the internet."""
    library_mb: Annotated[int, Field(ge=100, le=1_000_000)] = 2_000
    """Megabytes of finished clips that are kept; the least recently used go, never one that is airing or
    placed at terminals. Read by `controller.voicing`. A county's likely messages: `fenghuo tts prepare`."""
    others: Annotated[tuple[OtherVoice, ...], Field(max_length=64)] = ()
    """Voices for other languages and of other engines, each for one language."""
    check: Literal["off", "findings", "listen"] = "listen"
    """What is looked at before a clip is aired. findings: its sound (whole, clean, as loud as it should be).
    listen: also whether a recogniser hears the words in it, where the extra `check` is installed. What no
    voice says right waits 5 minutes for an operator; red and the fast lane never wait. Read by
    `controller.listening`."""

    @property
    def mandarin_approved(self) -> bool:
        """Whether somebody answers for a Mandarin voice that can say anything with the internet gone."""
        spare = any(v.language == "zh" and v.offline and v.approved_by is not None for v in self.others)
        return self.approved_by is not None or spare

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        seen = [(other.language, other.label) for other in self.others]
        twice = next((one for one in seen if seen.count(one) > 1), None)
        if twice is not None:
            raise ValueError(f"others has {twice[1]} twice for {twice[0]}")
        return self


Repeats = Annotated[int, Field(ge=1, le=9)]
Volume = Annotated[int, Field(ge=1, le=100)]


def _rising(value: RepeatsByColour | VolumeByColour, what: str) -> None:
    """A worse warning is never said more quietly or less often than a milder one."""
    ordered = [value.of(colour) for colour in Colour]
    if ordered != sorted(ordered, reverse=True):
        raise ValueError(f"{what} must not fall as the colour gets worse: red >= orange >= yellow >= blue")


class RepeatsByColour(_Strict):
    """How many times a warning is played; a worse colour never less often than a milder one."""

    red: Repeats = 3
    orange: Repeats = 3
    yellow: Repeats = 2
    blue: Repeats = 1
    none: Repeats = 3
    """Warnings without a colour, such as an earthquake."""

    def of(self, colour: Colour | None) -> int:
        value: int = getattr(self, colour.value if colour else "none")
        return value

    @model_validator(mode="after")
    def _rises_with_the_colour(self) -> Self:
        _rising(self, "repeats")
        return self


class VolumeByColour(_Strict):
    """Percent of each terminal's configured full volume; a worse colour never lower than a milder one."""

    red: Volume = 100
    orange: Volume = 100
    yellow: Volume = 80
    blue: Volume = 70
    none: Volume = 100
    """Warnings without a colour, such as an earthquake."""

    def of(self, colour: Colour | None) -> int:
        value: int = getattr(self, colour.value if colour else "none")
        return value

    @model_validator(mode="after")
    def _rises_with_the_colour(self) -> Self:
        _rising(self, "volume")
        return self


class BroadcastOptions(_Strict):
    """How it is played. Read by `controller.planning`, and `together` by `controller.outgoing`."""

    repeats: RepeatsByColour = RepeatsByColour()
    volume: VolumeByColour = VolumeByColour()
    together: Annotated[float, Field(ge=0.5, le=3)] | None = None
    """Seconds from the command to a start of all loudspeakers at one moment, so that neighbouring horns do
    not smear each other's words; more where they must fetch first. Without it each begins as soon as it can.
    Never in the fast lane."""


class Staging(_Strict):
    """Which clips lie on the terminals ahead. Read by `controller.staging` and `controller.ahead`.

    The generic sentences and the earthquake's countdown always do.
    """

    ahead_from: Literal["blue", "yellow", "orange", "never"] = "yellow"
    """From this colour on the first words of what it may become (worse colours, evacuation) are spoken and
    placed on its villages' terminals beforehand."""
    hazards: Annotated[tuple[Hazard, ...], Field(min_length=1)] = (
        "rainstorm",
        "flash_flood",
        "debris_flow",
        "geological",
        "flood",
        "typhoon",
    )
    """Hazards for which that is done; "*" for all."""
    megabits: Annotated[float, Field(ge=0.1, le=1000)] = 8.0
    """Megabits per second that all terminals together may take for what is placed ahead."""


class Earthquake(_Strict):
    """Who hears an earthquake warning that names no area. Read by `controller.judging`, for
    `alerts.intensity`.

    The defaults are ours: no standard that we could open gives them.
    """

    threshold: Annotated[float, Field(ge=1, le=12)] = 3.0
    """Warn where the estimated intensity (GB/T 17742) is at least this; 3 is felt by a few people indoors."""
    magnitude_floor: Annotated[float, Field(ge=0, le=9)] = 4.0
    """Smaller earthquakes are recorded and make no sound."""
    zone: SeismicZone | None = None
    """Zone of GB 18306-2015: qingzang (Tibet, Qinghai, western Sichuan, Gannan), xinjiang, east_strong or
    moderate. Without it the strongest of the four counts at each distance: up to half a degree more
    between M5 and M7."""


class Fatigue(_Strict):
    """When a village that has heard of an event is told briefly, or not at all, how it goes on. Never applied
    to red, to anything worse or new, to the fast lane, or to a village that has not heard of it yet.

    Read by `controller.events`; the rules are in `alerts.fatigue`.
    """

    night_from: Clock = time(22)
    """Beijing time. At night nobody is woken by a yellow or blue warning that goes on or falls. In the far
    west people go to bed two hours later by this clock."""
    night_until: Clock = time(6)
    """The same as night_from: there is no night."""
    renewal_every: Duration = timedelta(hours=12)
    """A village hears a yellow or blue warning that goes on at most once in this time."""
    per_day: Annotated[int, Field(ge=1, le=100)] = 6
    """After so many soundings in 24 hours a village hears no more that a yellow or blue warning goes on or
    falls; of an orange one only its own short soundings count."""
    short_volume: Volume = 60
    """Percent of the colour's own volume at which a short message is played."""
    all_clear_when_unlisted: bool = False
    """Whether a warning that merely disappears from its source's list is followed by an all-clear."""

    @property
    def rules(self) -> fatigue.Rules:
        return fatigue.Rules(self.night_from, self.night_until, self.renewal_every, self.per_day)


class Trial(_Strict):
    """One test that runs by itself, again and again. Read by `controller.tests_schedule` and
    `controller.trials`."""

    name: Name
    day: Day
    """mon … sun: every week; 1 to 28: that day of every month."""
    at: Clock
    """Beijing time; an audible one not at night (fatigue.night_from and night_until)."""
    sound: Literal["silent", "audible"]
    """silent: everything but the sound (command, clip, decoder, sound device). audible: the spoken test."""
    townships: tuple[Text, ...] = ()
    """Their names; all of the county without any."""
    volume: Volume = 60
    """Percent, of an audible one."""

    @model_validator(mode="after")
    def _volume_is_heard(self) -> Self:
        if self.sound == "silent" and "volume" in self.model_fields_set:
            raise ValueError("volume belongs to an audible test; this one is silent")
        return self


Share = Annotated[int, Field(ge=1, le=100)]


class Targeting(_Strict):
    """When an area is so much of the county that a slip is likelier than the danger. Such a warning of a feed
    is held; an operator's is refused until it is said to be meant. Read by `controller.planning`.
    """

    unusual: dict[Hazard, Share] = Field(default_factory=dict)
    """Percent of the county's villages above which this hazard is unusual, by hazard; ours where it says
    nothing: 50 for debris_flow, tornado, chemical, wildfire and tsunami, 80 for dam_break and evacuation.
    Every other hazard is issued for whole counties as a matter of course."""
    unusual_drawn: Share = 80
    """The same for a circle or polygon that an operator drew, whatever the hazard: who means everybody
    names the county."""

    def limit(self, hazard: str, *, drawn: bool) -> float:
        """Share of the villages, 0 to 1. `drawn`: by an operator's own hand."""
        limit = self.unusual.get(hazard, round(100 * USUAL_SHARE.get(hazard, 1.0)))
        return min(limit, self.unusual_drawn if drawn else 100) / 100


Siren = Literal["prepare", "raid", "clear", "disaster"]
"""预先警报, 空袭警报, 解除警报, 灾情警报."""


class Sirens(_Strict):
    """Who allows the sirens of civil defence, and which: in exercises that an operator starts by hand, never
    for a warning and never by a feed. Without it there are none. Read by `controller.judging` and
    `controller.voicing`."""

    permitted_by: Text
    """The office that may order them (人民防空主管部门), and who signed."""
    permitted_on: date
    patterns: Annotated[tuple[Siren, ...], Field(min_length=1)]
    disaster: Annotated[
        tuple[tuple[Annotated[float, Field(ge=1, le=60)], Annotated[float, Field(ge=0, le=60)]], ...],
        Field(min_length=1, max_length=30),
    ] = ((15, 10), (5, 10)) * 3
    """Seconds on and off of 灾情警报, which each place decides for itself (voice-and-audio.md §5)."""


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
    """actual, or drill: no actual key is loaded. Read by `controller.app`."""
    state_dir: FilePath
    """Database, clips, journal; made at the start, mode 0700. Read by `controller.app`."""
    keys_dir: Annotated[FilePath, Field(default_factory=lambda data: data["state_dir"] / "keys")]
    """Signing keys; mode 0700. By default `keys` in `state_dir`. Read by `controller.app`."""
    keys_passphrase_file: FilePath | None = None
    """File with the passphrase of the key files, mode 0600; by default the systemd credential
    keys-passphrase, if there is one. Read by `controller.keys`."""
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
    sirens: Sirens | None = None
    templates: FilePath | None = None
    """Folder with the county's own words, one file a language (bo.toml), over those of its pack's folder
    templates and ours (docs/languages.md). Read by `tts.templates`."""
    broadcast: BroadcastOptions = BroadcastOptions()
    staging: Staging = Staging()
    targeting: Targeting = Targeting()
    fatigue: Fatigue = Fatigue()
    earthquake: Earthquake = Earthquake()
    tests: Annotated[tuple[Trial, ...], Field(max_length=32)] = ()
    """What is tested, when. Without it nothing is, and `fenghuo terminal readiness` says so."""
