"""`county.yaml` → `Config`, or every problem in it at once, each as ``file:line: path: reason``.

The YAML is read strictly: no anchors, aliases, tags or duplicate keys, no empty values, and a word is a
word (`yes`, `on` and `012` are text, never a truth value or an octal number).
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from alerts.fatigue import BEIJING
from alerts.feeds.folder import replaceable
from config.counties import PackError, pack_folder, shipped
from config.schema import (
    ANY,
    Action,
    Config,
    Fatigue,
    Feed,
    FolderFeed,
    Mode,
    Operator,
    Rule,
    Trial,
    Voice,
    did_you_mean,
)

MAX_BYTES: Final = 256 * 1024
_MAX_DEPTH: Final = 12
_SECRET_KEY: Final = re.compile(r"(?i)pass(word|wd|phrase)?$|token$|secret|private|api_?key|credential")
_PRIVATE_KEY: Final = "PRIVATE KEY-----"
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")

_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where in the file, which option, why and what to do."""

    file: Path
    line: int
    path: str
    """Dotted, as ``feeds[0].every``; empty for the file as a whole."""
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.path or '(file)'}: {self.reason}"


class ConfigError(Exception):
    """The file cannot be used. `problems` has all that is wrong with it, in the order of the file."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.line, p.path)))
        super().__init__("\n".join(map(str, self.problems)))


def load(path: Path, *, on_this_machine: bool = True) -> Config:
    """Read and check the file; relative paths in it are relative to its folder.

    With `on_this_machine` also what it names must be there and private: password and certificate files,
    key folder, feed folders declared folder-0700, the hook program. Raises ConfigError.
    """
    return _Reading(path).config(on_this_machine=on_this_machine)


def show(config: Config) -> str:
    """The effective configuration as YAML that `load` reads back to an equal one. It holds no secret."""
    return yaml.safe_dump(
        config.model_dump(mode="json", exclude_none=True), allow_unicode=True, sort_keys=False
    )


class _Crossed(BaseModel):
    """The sections that are checked against each other, where each is right by itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    mode: Mode | None = None
    operators: tuple[Operator, ...] = ()
    feeds: tuple[Feed, ...] = ()
    release: tuple[Rule, ...] = ()
    hold_hook: tuple[str, ...] = ()
    voice: Voice = Voice()
    fatigue: Fatigue = Fatigue()
    tests: tuple[Trial, ...] = ()


class _Reading:
    """One pass over one file: collects problems, knows on which line each option stands."""

    def __init__(self, path: Path) -> None:
        self._file = path
        self._problems: dict[tuple[int, str], Problem] = {}
        self._lines: dict[_Path, int] = {(): 1}

    def config(self, *, on_this_machine: bool) -> Config:
        data = self._mapping()
        context = {"base": self._file.parent.absolute()}
        failed: set[str | int] = set()
        config = None
        try:
            config = Config.model_validate_json(json.dumps(data), strict=True, context=context)
        except ValidationError as error:
            details = error.errors(include_url=False)
            places = [detail["loc"] for detail in details]
            for detail in details:
                loc = detail["loc"]
                failed.update(loc[:1])
                # Pydantic counts only the items that are right, so a wrong one makes the list "short" too.
                within = any(len(other) > len(loc) and other[: len(loc)] == loc for other in places)
                if detail["type"] != "default_factory_not_called" and not (
                    within and detail["type"] == "too_short"
                ):
                    self._translate(detail)
        right = {k: v for k, v in data.items() if k in _Crossed.model_fields and k not in failed}
        self._cross_check(
            _Crossed.model_validate_json(json.dumps(right), strict=True, context=context), failed
        )
        if config is not None:
            config = self._with_county(config, context["base"])
        if config is not None and not self._problems and on_this_machine:
            self._check_machine(config)
        if config is None or self._problems:
            raise ConfigError(list(self._problems.values()))
        return config

    # -- the file as YAML

    def _mapping(self) -> dict[str, Any]:
        text = self._text()
        try:
            self._check_events(text)
            if not self._problems:
                node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            reason = f"not YAML: {error.problem or error.context}"
            if "\\t" in reason:
                reason = "a tab; YAML is indented with spaces"
            self._add((), reason, line=mark.line + 1 if mark else 1)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            code = ord(text[error.position])
            self._add((), f"not YAML: the character U+{code:04X} is not allowed", line=line)
        self._stop_if_broken()
        if not isinstance(node, yaml.MappingNode):
            self._add((), "must be a list of options, such as `county: zhouqu`" if node else "is empty")
            self._stop_if_broken()
        assert node is not None
        data: dict[str, Any] = self._value(node, ())
        return data

    def _text(self) -> str:
        try:
            with self._file.open("rb") as file:
                body = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            self._add((), "there is no such file")
        except OSError as error:
            self._add((), f"cannot be read: {error.strerror}")
        self._stop_if_broken()
        if len(body) > MAX_BYTES:
            self._add((), f"is larger than {MAX_BYTES // 1024} KiB; a county's decisions fit into a few")
        try:
            text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
        except UnicodeDecodeError as error:
            line = body.count(b"\n", 0, error.start) + 1
            self._add((), "is not UTF-8 here; save the file as UTF-8", line=line)
        self._stop_if_broken()
        return text

    def _check_events(self, text: str) -> None:
        depth = documents = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            assert event.start_mark is not None
            line = event.start_mark.line + 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._add((), "a second document starts here; one file is one county", line=line)
            elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                self._add(
                    (), "anchors and aliases (& and *) are not used here; put text in quotes", line=line
                )
            elif getattr(event, "tag", None) is not None:
                self._add((), "tags (!) are not used here; put text in quotes", line=line)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > _MAX_DEPTH:
                self._add((), "is nested too deeply", line=line)
            if self._problems and depth > _MAX_DEPTH:
                return

    def _value(self, node: yaml.Node, at: _Path) -> Any:
        if isinstance(node, yaml.MappingNode):
            values: dict[str, Any] = {}
            for key_node, value_node in node.value:
                line = key_node.start_mark.line + 1
                if not isinstance(key_node, yaml.ScalarNode):
                    self._add(at, "a name of an option must be a word", line=line)
                    continue
                key = key_node.value
                if key in values:
                    first = self._lines[(*at, key)]
                    self._add((*at, key), f"is given twice; the first is on line {first}", line=line)
                    continue
                self._lines[(*at, key)] = line
                values[key] = self._value(value_node, (*at, key))
            return {k: v for k, v in values.items() if v is not None}
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self._lines[(*at, index)] = item.start_mark.line + 1
                items.append(self._value(item, (*at, index)))
            return items
        assert isinstance(node, yaml.ScalarNode)
        value = node.value if node.style else _plain(node.value)
        if value is None:
            self._add(at, "has no value; give one, or leave the line out")
        elif _PRIVATE_KEY in str(value):
            self._add(at, "a private key does not belong in this file; keep it in keys_dir")
        return value

    # -- what pydantic found, in our words

    def _translate(self, detail: ErrorDetails) -> None:
        at, models = _where(detail["loc"])
        kind, context, given = detail["type"], detail.get("ctx", {}), detail["input"]
        last = str(at[-1]) if at else ""
        if kind == "extra_forbidden":
            if _SECRET_KEY.search(last):
                reason = (
                    "a secret does not belong in this file; put it into a file of mode 0600 and give its path"
                )
                options = [f for m in models for f in m.model_fields if f.endswith(("_file", "_sha256"))]
                reason += f" as {' or '.join(options)}" if options else ""
            else:
                options = [field for model in models for field in model.model_fields]
                reason = f"is not an option here{did_you_mean(last, options)}; options: {', '.join(options)}"
        elif kind in ("enum", "literal_error"):
            options = re.findall(r"'([^']*)'", str(context["expected"]))
            shown = repr(given) if len(repr(given)) <= 40 else "this"
            reason = f"must be {' or '.join(options)}, not {shown}{did_you_mean(given, options)}"
        elif kind in ("union_tag_invalid", "union_tag_not_found"):
            options = [tag for model in models for tag in _tags(model)]
            option = str(context["discriminator"]).strip("'")
            tag = given.get(option) if isinstance(given, dict) else None
            at = (*at, option)
            hint = did_you_mean(tag, options) if tag is not None else ""
            reason = f"must be {' or '.join(options)}{hint}"
        elif kind == "value_error":
            reason = str(context["error"])
        elif last == "token_sha256" and kind != "missing":
            reason = (
                "must be the SHA-256 of the operator's token, 64 lowercase hexadecimal digits "
                "(printf %s TOKEN | sha256sum)"
            )
        else:
            reason = _REASONS.get(kind, "") or detail["msg"].replace("Input should", "must")
        self._add(at, reason)

    # -- rules between options

    def _cross_check(self, config: _Crossed, failed: set[str | int]) -> None:
        self._unique("operators", "name", [o.name for o in config.operators])
        self._unique("operators", "token_sha256", [o.token_sha256 for o in config.operators])
        self._unique("feeds", "name", [f.name for f in config.feeds])
        self._unique(
            "feeds", "path", [f.path if isinstance(f, FolderFeed) else i for i, f in enumerate(config.feeds)]
        )
        if "feeds" not in failed:
            for index, rule in enumerate(config.release):
                self._check_rule(index, rule, config.feeds)
        if config.mode is Mode.ACTUAL and "voice" not in failed and not config.voice.mandarin_approved:
            self._add(
                ("voice", "approved_by"),
                "is missing: in actual mode someone must have approved the voice; until then use mode: drill",
            )
        for index, argument in enumerate(config.hold_hook):
            for name in _PLACEHOLDER.findall(argument):
                if name != "alert":
                    self._add(("hold_hook", index), f"{{{name[:40]}}} is not known; only {{alert}} is")

        self._unique("tests", "name", [t.name for t in config.tests])
        for index, trial in enumerate(config.tests):
            night = config.fatigue
            at = datetime.combine(date.min, trial.at, BEIJING)
            if "fatigue" not in failed and trial.sound == "audible" and night.rules.is_night(at):
                self._add(
                    ("tests", index, "at"),
                    f"is at night ({night.night_from:%H:%M} to {night.night_until:%H:%M}, fatigue): an "
                    "audible test wakes people; choose another time, or sound: silent",
                )

    def _check_rule(self, index: int, rule: Rule, feeds: tuple[Feed, ...]) -> None:
        names = [feed.name for feed in feeds]
        if rule.feed != ANY and rule.feed not in names:
            self._add(
                ("release", index, "feed"), f"there is no feed {rule.feed!r}{did_you_mean(rule.feed, names)}"
            )
        if rule.action is not Action.AUTO:
            return
        for position, feed in enumerate(feeds):
            if rule.feed not in (ANY, feed.name):
                continue
            lacks = [
                text
                for text, missing in (
                    ("official: true", not feed.official),
                    (f"authenticated: {_how_to_authenticate(feed)}", feed.authenticated == "none"),
                )
                if missing
            ]
            if lacks:
                self._add(
                    ("release", index, "action"),
                    f"auto is only for official and authenticated feeds, and feed {feed.name} "
                    f"(line {self._line(('feeds', position))}) lacks {' and '.join(lacks)}",
                    more=feed.name,
                )

    def _unique(self, section: str, option: str, values: list[Any]) -> None:
        for index, value in enumerate(values):
            first = values.index(value)
            if first != index:
                line = self._line((section, first, option))
                self._add((section, index, option), f"is the same as on line {line}")

    def _with_county(self, config: Config, base: Path) -> Config | None:
        county = config.county
        beside = base / county
        if "/" in county or county.startswith(".") or (county not in shipped() and beside.is_dir()):
            county = str(beside)
        try:
            pack_folder(county)
        except PackError as error:
            self._add(("county",), str(error))
            return None
        return config.model_copy(update={"county": county})

    # -- what the file names, on this machine

    def _check_machine(self, config: Config) -> None:
        # Whoever owns the state (keys, database) is the service; root may check on its behalf.
        try:
            owner = config.state_dir.stat().st_uid
        except FileNotFoundError:
            owner = os.geteuid()
        except OSError as error:
            self._add(("state_dir",), f"{config.state_dir}: {error.strerror}")
            return
        self._private_folder(("keys_dir",), config.keys_dir, owner)
        self._secret_file(("broker", "password_file"), config.broker.password_file)
        self._secret_file(("keys_passphrase_file",), config.keys_passphrase_file)
        self._readable(("broker", "ca_file"), config.broker.ca_file)
        for index, feed in enumerate(config.feeds):
            for option, file in feed.files:
                self._readable(("feeds", index, option), file)
            for option, file in feed.secrets:
                self._secret_file(("feeds", index, option), file)
            if isinstance(feed, FolderFeed) and feed.authenticated == "folder-0700":
                at = ("feeds", index, "path")
                self._private_folder(at, feed.path, owner)
                if why := replaceable(feed.path.absolute(), owner):
                    self._add(at, why)
        for index, other in enumerate(config.voice.others):
            for option, file in other.files:
                self._readable(("voice", "others", index, option), file)
            for option, file in other.secrets:
                self._secret_file(("voice", "others", index, option), file)
        if config.templates is not None and not config.templates.is_dir():
            self._add(("templates",), f"{config.templates} is no folder; make it, or leave the option out")
        if config.hold_hook:
            program = Path(config.hold_hook[0])
            if not (program.is_file() and os.access(program, os.X_OK)):
                self._add(("hold_hook", 0), f"{program} is not a program that can be run")

    def _private_folder(self, at: _Path, folder: Path, owner: int) -> None:
        """Absent is fine: the service makes it so."""
        try:
            found = folder.stat()
        except FileNotFoundError:
            return
        except OSError as error:
            self._add(at, f"{folder}: {error.strerror}")
            return
        mode = stat.S_IMODE(found.st_mode)
        if not stat.S_ISDIR(found.st_mode):
            self._add(at, f"{folder} is not a folder")
        elif found.st_uid != owner:
            self._add(at, f"{folder} belongs to user {found.st_uid}, and the service is user {owner} (chown)")
        elif mode & 0o077:
            self._add(at, f"{folder} has mode {mode:04o}, so others may reach it; chmod 0700 {folder}")

    def _secret_file(self, at: _Path, file: Path | None) -> None:
        if file is None or not self._readable(at, file):
            return
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & 0o077:
            self._add(at, f"{file} has mode {mode:04o}, so others may read it; chmod 0600 {file}")
        elif file.stat().st_size == 0:
            self._add(at, f"{file} is empty")

    def _readable(self, at: _Path, file: Path | None) -> bool:
        if file is None:
            return False
        try:
            regular = stat.S_ISREG(file.stat().st_mode)
        except FileNotFoundError:
            regular = False
        except OSError as error:
            self._add(at, f"{file}: {error.strerror}")
            return False
        if not regular:
            self._add(at, f"there is no file {file}")
        elif not os.access(file, os.R_OK):
            self._add(at, f"{file} cannot be read by user {os.geteuid()}")
        else:
            return True
        return False

    # -- problems

    def _line(self, at: _Path) -> int:
        """The line of the option, or of the nearest block around it."""
        return next(self._lines[at[:n]] for n in range(len(at), -1, -1) if at[:n] in self._lines)

    def _add(self, at: _Path, reason: str, *, line: int | None = None, more: str = "") -> None:
        problem = Problem(self._file, line or self._line(at), _dotted(at), reason)
        # The first word on an option counts: what follows from it would only repeat it.
        self._problems.setdefault((problem.line, problem.path + more), problem)

    def _stop_if_broken(self) -> None:
        if self._problems:
            raise ConfigError(list(self._problems.values()))


_REASONS: Final = {
    "missing": "is missing",
    "string_type": "must be text; put numbers and true or false in quotes",
    "string_pattern_mismatch": "must be letters, digits, '.', '_' and '-', at most 40, without blanks",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list, one item a line behind a dash",
    "model_type": "must be a block of options",
    "model_attributes_type": "must be a block of options",
    "date_type": "must be a date such as 2026-11-01",
    "date_parsing": "must be a date such as 2026-11-01",
    "date_from_datetime_parsing": "must be a date such as 2026-11-01",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


def _how_to_authenticate(feed: Feed) -> str:
    """The first value of `authenticated` that proves something."""
    values = get_args(type(feed).model_fields["authenticated"].annotation)
    return str(next(value for value in values if value != "none"))


def _plain(word: str) -> str | int | float | bool | None:
    if word in ("", "~", "null"):
        return None
    if word in ("true", "false"):
        return word == "true"
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,15})", word):
        return int(word)
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,8})\.[0-9]{1,9}", word):
        return float(word)
    return word


def _where(loc: tuple[str | int, ...]) -> tuple[_Path, list[type[BaseModel]]]:
    """The place in the file (pydantic adds the tags of unions), and the models around or at it."""
    at: list[str | int] = []
    models: list[type[BaseModel]] = [Config]
    for step in loc:
        if isinstance(step, int):
            at.append(step)
            continue
        found = [m.model_fields[step] for m in models if step in m.model_fields]
        tagged = [m for m in models if step in _tags(m)]
        if found:
            at.append(step)
            inner = [model for field in found for model in _models_in(field.annotation)]
            models = inner or models
        elif tagged:
            models = tagged
        else:
            at.append(step)
    return tuple(at), models


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    """Values of `kind` or `engine` that choose `model` in a union."""
    chosen_by = next((name for name in ("kind", "engine") if name in model.model_fields), None)
    return get_args(model.model_fields[chosen_by].annotation) if chosen_by is not None else ()


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _dotted(at: _Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at).lstrip(".")
