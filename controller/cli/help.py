"""The look of the help: plain text that is there at once, wrapped by display width, in either language."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Final

import typer
from typer import Typer
from typer.core import TyperCommand, TyperGroup

from controller.cli import words
from controller.cli.words import w

_TOKENS: Final = r"[\u2e80-\uffef…—][，。；：、）」］！？]*|[^\s\u2e80-\uffef…—]+[，。；：、）」］！？]*|\s+"
# What typer says by itself. Compiled when it is needed: help is there at once.
_ZH: Final = (
    (r"^Show this message and exit\.", "显示本帮助。"),
    (r"^Install completion for the current shell\.", "为当前 shell 安装命令补全。"),
    (r"^Show completion for the current shell.*", "显示当前 shell 的补全脚本，可复制或修改。"),
    (r"\[required\]$", "［必填］"),
    (r"\[default: (.*?)\]$", r"［默认：\1］"),
    (r"\[([0-9<=x>]+)\]$", r"［\1］"),
    (r"No such option: (\S+)", r"没有这个选项：\1"),
    (r"\(Possible options: (.*)\)", r"（是不是：\1）"),
    (r"No such command ('[^']*')\.?", r"没有这个命令：\1"),
    (r"Did you mean (.*)\?", r"是不是 \1？"),
    (r"Missing (?:argument|option|parameter) ('.*')\.", r"缺少 \1。"),
    (r"Choose from:\s*", "可选："),
    (r"Missing command\.", "缺少命令。"),
    (r"Got unexpected extra arguments? \((.*)\)", r"多余的参数：\1"),
    (r"Option ('[^']*') requires an argument\.", r"选项 \1 后面要有内容。"),
    (r"Invalid value for (.*?): ", r"\1 的值不对："),
    (r"(?i)(?:file|path) ('.*') does not exist\.?", r"没有这个文件：\1"),
    (r"(?i)(?:file|path) ('.*') is not readable\.?", r"读不了这个文件：\1"),
    (r"(?i)(?:file|path) ('.*') is a directory\.?", r"这是文件夹，不是文件：\1"),
    (r"Input should be a valid (?:integer|number|decimal).*", "要写数字"),
    (r"Input should be greater than or equal to ([0-9.]+)", r"不能小于 \1"),
    (r"Input should be less than or equal to ([0-9.]+)", r"不能大于 \1"),
    (r"('.*') does not match the formats? .*", r"\1 不是日期，应像 2026-11-22 这样写"),
)


def translated(text: str) -> str:
    """Words of typer's own in the operator's language."""
    text = text.replace(": Value error, ", ": ")
    if words.lang() == "zh":
        for pattern, chinese in _ZH:
            text = re.sub(pattern, chinese, text)
    return text


def width(text: str) -> int:
    """Columns that `text` takes in a terminal."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def wrap(text: str, columns: int) -> list[str]:
    """Lines of at most `columns`; Chinese may break between any two characters."""
    lines = [""]
    for token in re.findall(_TOKENS, text):
        if lines[-1] and width(lines[-1]) + width(token.rstrip()) > columns:
            lines[-1] = lines[-1].rstrip()
            lines.append("")
        if lines[-1] or not token.isspace():
            lines[-1] += " " if token.isspace() else token
    return [line.rstrip() for line in lines]


class Formatter(typer.Context.formatter_class):  # type: ignore[misc,valid-type]  # not exported
    def write_heading(self, heading: str) -> None:
        super().write_heading(w(f"help_{heading.lower()}"))

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, prefix or w("help_usage"))

    def write_text(self, text: str) -> None:
        indent = " " * self.current_indent
        for paragraph in text.splitlines():
            for line in wrap(paragraph, self.width - self.current_indent):
                self.write(f"{indent}{line}".rstrip() + "\n")

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        left = min(max(width(first) for first, _ in rows), col_max) + col_spacing
        indent = " " * self.current_indent
        for first, second in rows:
            lines = wrap(translated(second), max(self.width - left - self.current_indent, 20))
            if width(first) > left - col_spacing:
                self.write(f"{indent}{first}\n")
                first = ""
            self.write(f"{indent}{first}{' ' * (left - width(first))}{lines[0]}".rstrip() + "\n")
            for line in lines[1:]:
                self.write(f"{indent}{' ' * left}{line}\n")


class Context(typer.Context):
    formatter_class = Formatter


class Command(TyperCommand):
    context_class = Context

    def get_short_help_str(self, limit: int = 45) -> str:
        return (self.help or "").splitlines()[0]


def _at_once(param: Any) -> Callable[[Any, Any], Any]:
    """Typer coerces also an option that is absent or one of its choices already, and imports pydantic for it:
    0.2 s of every group's help."""
    process = param.process_value

    def processed(context: Any, value: Any) -> Any:
        if value is None:
            return param.callback and param.callback(context, param, None)
        if param.callback is None and value in (param.type_descriptor.choices or ()):
            return value
        return process(context, value)

    return processed


class Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        params = super().get_params(ctx)
        for param in params:
            if "process_value" not in vars(param):
                param.process_value = _at_once(param)  # type: ignore[assignment, method-assign]
        return params

    context_class = Context

    def get_short_help_str(self, limit: int = 45) -> str:
        return (self.help or "").splitlines()[0]


class App(Typer):
    """Typer with this look."""

    def __init__(self, help: str, cls: type[Group] = Group) -> None:  # noqa: A002 - typer's word
        super().__init__(
            cls=cls,
            help=help,
            epilog=w("exit_codes"),
            no_args_is_help=True,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
            add_completion=cls is not Group,
        )

    def verb(self, name: str, help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # noqa: A002
        """A command of this group."""
        return self.command(name, cls=Command, help=help, epilog=w("exit_codes"))
