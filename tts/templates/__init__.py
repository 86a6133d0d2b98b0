"""The templates that ship with the program, read from TOML. `tts.script` itself reads nothing."""

from __future__ import annotations

import tomllib
from importlib import resources

from tts.script import Templates, parse_templates


def load(language: str = "zh") -> Templates:
    """The shipped templates of `language`. Raises ScriptError if there are none or they are malformed."""
    from tts.script import ScriptError

    file = resources.files("tts.templates") / f"{language}.toml"
    if not language.isalpha() or not file.is_file():
        raise ScriptError(f"no templates for language {language!r}; zh is shipped")
    return parse_templates(tomllib.loads(file.read_text("utf-8")), where=f"tts/templates/{language}.toml")
