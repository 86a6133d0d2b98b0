"""Before a sound is made or stopped: what it is, in full, and the word that has to be typed.

Test and real never look alike and are never confirmed by the same key (Hawaii, 13 January 2018: a drill and
the real thing were neighbours in one menu, behind the same question).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from controller.cli import say
from controller.cli.outcome import Code, Failure
from controller.cli.words import told, w

if TYPE_CHECKING:
    from rich.console import RenderableType

WORDS: Final = {
    "actual": ("ACTUAL", "实警"),
    "exercise": ("EXERCISE", "演练"),
    "test": ("TEST", "测试"),
    "siren": ("SIREN", "警报"),
}
"""What is typed, in English or in Chinese, whatever the language of the terminal."""
MOST_WHY: Final = 6
MOST_SILENT: Final = 12
MOST_ORIGINAL: Final = 300
"""Characters of a source's own text before a question."""
STYLES: Final = {
    "actual": "bold white on red",
    "exercise": "bold black on green",
    "test": "bold black on cyan",
    "siren": "bold white on magenta",
}


def need_somebody(*, yes: bool, dry_run: bool) -> None:
    """Raises Failure (usage) when a confirmation is needed and nobody is there to give it."""
    if not yes and not dry_run and not say.at_terminal():
        raise Failure(Code.USAGE, w("nobody_to_ask"))


def confirm(kind: str, deed: str, shown: RenderableType) -> None:
    """Shows what will happen and waits for the kind's word. Raises Failure (failed) for anything else."""
    english, chinese = WORDS[kind]
    say.show(banner(kind, deed), err=True)
    say.show(shown, err=True)
    _forget_typed()
    sys.stderr.write(w("type_word", word=w(f"kind_{kind}")) + " ")
    sys.stderr.flush()
    typed = sys.stdin.readline().strip()
    if typed.casefold() not in (english.casefold(), chinese):
        raise Failure(Code.FAILED, w("not_confirmed"))


def confirm_id(shown: str, name: str) -> None:
    """What makes no sound and cannot be taken back: the thing's own id is typed. Raises Failure (failed)."""
    say.talk(shown)
    _forget_typed()
    sys.stderr.write(w("type_id", id=name) + " ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != name:
        raise Failure(Code.FAILED, w("not_confirmed"))


def stop_if_refused(done: Mapping[str, Any]) -> None:
    """Raises Failure (refused) with the reasons of a `Done` of the API that did nothing."""
    if done["outcome"] == "refused":
        raise Failure(Code.REFUSED, w("refused"), *done["reasons"], reasons=done["reasons"])


def stop_if_wrong(plan: Mapping[str, Any]) -> None:
    """Raises Failure (refused) with what stands against a plan of the API."""
    if plan["problems"]:
        raise Failure(Code.REFUSED, w("refused"), *plan["problems"], reasons=plan["problems"])


def _forget_typed() -> None:
    """What was typed before the question could be read does not answer it."""
    if sys.stdin.isatty():
        import termios

        termios.tcflush(sys.stdin, termios.TCIFLUSH)


def banner(kind: str, deed: str) -> RenderableType:
    """The kind in its own colour and in words, over the whole width."""
    from rich.align import Align
    from rich.panel import Panel
    from rich.text import Text

    text = Text(f"{w(f'kind_{kind}')} — {w(f'kind_{kind}_means')}\n{deed}", justify="center")
    return Panel(Align.center(text), style=STYLES[kind])


def _some(why: list[str]) -> list[str]:
    """A county has hundreds of villages; the kind and the question must stay on the screen."""
    if len(why) <= MOST_WHY:
        return why
    return [*why[: MOST_WHY - 1], w("more_why", count=len(why) - MOST_WHY + 1)]


def _first(villages: list[str], *, whole: bool) -> list[str]:
    """The same; `alert show` and the preview's table have all of them."""
    if whole or len(villages) <= MOST_SILENT:
        return villages
    left = len(villages) - MOST_SILENT + 1
    return [*villages[: MOST_SILENT - 1], w("more_silent", count=left, all=len(villages))]


def originals(said: Mapping[str, Any], most: int | None = None) -> dict[str, str]:
    """Of an answer of the API: what the source wrote and what is not said of it, by their names; `most`
    characters of each."""
    theirs = said.get("original")
    words = [theirs[name] for name in ("description", "instruction") if theirs[name]] if theirs else []
    found = {w("f_original"): "\n".join(words), w("f_omitted"): "\n".join(said.get("omitted", ()))}
    return {
        name: text if most is None or len(text) <= most else text[:most] + "…" for name, text in found.items()
    }


def only_shown(plan: Mapping[str, Any], kind: str, *, as_json: bool) -> Code:
    """A plan as data, and that nothing is done; REFUSED when it would be refused."""
    if as_json:
        say.data_json(plan)
    else:
        say.show(banner(kind, w("deed_nothing")))
        say.show(plan_shown(plan))
    return Code.REFUSED if plan["problems"] else Code.DONE


def plan_shown(plan: Mapping[str, Any], *, whole: bool = False) -> RenderableType:
    """A plan of the API (PlanOut or Preview): who hears it, what is said, and what it was made from; that in
    full only where it is `whole`: before a question the question must stay on the screen."""
    from rich.table import Table

    plan = say.clean(plan)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    colour = w(f"colour_{plan['colour']}") if plan["colour"] else w("colour_none")
    rows = {
        w("f_headline"): plan["headline"],
        w("f_hazard"): f"{told(plan['hazard'])} · {colour}",
        w("f_places"): "、".join(plan["places"]),
        w("f_reach"): w("reach", villages=plan["villages"], terminals=plan["terminals"]),
        w("f_ways"): " · ".join(
            w("way_count", way=told(way), count=count) for way, count in plan.get("ways", {}).items()
        ),
        w("f_silent"): "、".join(_first(plan["silent_villages"], whole=whole)),
        w("f_text"): plan["text"],
        w("f_spoken"): plan.get("spoken") if plan.get("spoken") != plan["text"] else None,
        **originals(plan, None if whole else MOST_ORIGINAL),
        w("f_play"): w("play", repeats=plan["repeats"], volume=plan["volume"]),
        w("f_expires"): say.clock(plan["expires"]),
        w("f_why"): "\n".join(map(told, _some(plan["why"]))),
        w("f_notes"): "\n".join(map(told, plan.get("notes", ()))),
        w("f_problems"): "\n".join(map(told, plan["problems"])),
    }
    if plan.get("voice_problem"):
        rows[w("f_audio")] = w("no_audio", why=plan["voice_problem"])
    if plan.get("seconds") is not None:
        rows[w("f_audio")] = w("audio", seconds=f"{plan['seconds']:.1f}", voice=plan["voice"])
    if plan.get("doubt"):
        rows[w("f_doubt")] = told(plan["doubt"])
    for name, value in rows.items():
        if value:
            table.add_row(name, value, style="red" if name in (w("f_silent"), w("f_problems")) else "")
    return table
