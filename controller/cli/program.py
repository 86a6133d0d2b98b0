"""The program ``fenghuo``: its commands, its help, and how every outcome becomes an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from typer import Option, Typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from controller.cli import say, words
from controller.cli.broadcasts import broadcast
from controller.cli.call import Call, ConfigFile, Json, TokenFile, Url, asks_the_controller
from controller.cli.help import HelpContext, usage_words
from controller.cli.outcome import Code, Failure, ReaderGone
from controller.cli.setup import config, keys, operator
from controller.cli.terminals import terminal
from controller.cli.warn import alert, exercise, test
from controller.cli.words import w

NAME: Final = "fenghuo"


class Group(TyperGroup):
    context_class = HelpContext


class Command(TyperCommand):
    context_class = HelpContext
