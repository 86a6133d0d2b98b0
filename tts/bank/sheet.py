"""The studio sheet: what the announcer reads from. HTML for a printer or a tablet, all in one file."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import groupby
from typing import Final

from tts.bank.model import Line, State

LABELS: Final = (
    "title", "announcer", "consent", "totals", "how", "missing", "changed", "unwritten", "done",
    "quake", "line", "part", "other",
)  # fmt: skip
"""Words that `page` needs: headings, states, and names of the groups by the first part of their keys."""


def page(
    lines: Sequence[tuple[Line, State]],
    language: str,
    labels: Mapping[str, str],
    *,
    only_missing: bool = False,
) -> str:
    """The sheet of `lines`: in Mandarin with pinyin over the text, elsewhere with room to write it down.

    A new page for each group, no line across two pages; what is still to be recorded carries its mark and an
    empty box. Raises KeyError for a label that is not given.
    """
    style = (resources.files("tts.bank") / "sheet.css").read_text("utf-8")
    shown = [(line, state) for line, state in lines if not only_missing or state in _OPEN]
    head = [
        f"<h1>{_text(labels['title'])}</h1>",
        *(
            f"<p>{_text(labels[name])}</p>"
            for name in ("announcer", "consent", "totals", "how")
            if labels[name]
        ),
    ]
    body = []
    for name, group in groupby(shown, key=lambda one: _group(one[0].key)):
        rows = "".join(_row(line, state, language, labels) for line, state in group)
        body.append(f"<section><h2>{_text(labels[name])}</h2>{rows}</section>")
    return (
        f'<!DOCTYPE html>\n<html lang="{_text(language)}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{_text(labels['title'])}</title><style>{style}</style></head>\n"
        f"<body>{''.join(head)}\n{''.join(body)}</body></html>\n"
    )


_OPEN: Final = frozenset((State.UNWRITTEN, State.MISSING, State.CHANGED))


def _group(key: str) -> str:
    first = key.partition("-")[0]
    return first if first in ("quake", "line", "part") else "other"


def _row(line: Line, state: State, language: str, labels: Mapping[str, str]) -> str:
    mark = labels[state.value] if state in _OPEN else labels["done"]
    extra = "; ".join(filter(None, (line.slots, line.note)))
    room = "" if language == "zh" and line.text else '<div class="room"></div>'
    meaning = f'<div class="zh" lang="zh">{_text(line.zh)}</div>' if line.zh else ""
    words = _with_pinyin(line.text) if language == "zh" else _text(line.text)
    box = '<div class="box"></div>' if state in _OPEN else "✓"
    kind = "missing" if state in _OPEN else "done"
    return (
        f'<div class="row {kind}"><div class="key">{_text(line.key)}<br><small>{_text(extra)}</small></div>'
        f'<div><div class="text" dir="auto" lang="{_text(language)}">{words}</div>{meaning}{room}</div>'
        f'<div class="state">{box}{_text(mark)}</div></div>\n'
    )


def _with_pinyin(text: str) -> str:
    from pypinyin import Style, pinyin

    out = []
    for run in pinyin_runs(text):
        if run[0]:
            said = pinyin(run[1], style=Style.TONE)
            pairs = zip(run[1], said, strict=True)
            out += [f"<ruby>{_text(c)}<rt>{_text(p[0])}</rt></ruby>" for c, p in pairs]
        else:
            out.append(_text(run[1]))
    return "".join(out)


def pinyin_runs(text: str) -> list[tuple[bool, str]]:
    """`text` as runs that are Chinese characters, or not."""
    return [(han, "".join(run)) for han, run in groupby(text, key=lambda c: "\u4e00" <= c <= "\u9fff")]


def _text(value: str) -> str:
    return html.escape(value)
