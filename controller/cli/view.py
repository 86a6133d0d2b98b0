"""How a broadcast looks in a terminal: live, and as the final summary. Fed with the API's BroadcastOut as a
dict; the demo uses the same pictures."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from controller.cli import say
from controller.cli.ask import STYLES, originals
from controller.cli.words import reason_words, told, w
from terminals.delivery import BY_HANDS, FLOOR, RESUMED, SILENT, UNREACHED

BELL_EVERY_S: Final = 3.0
LINE_EVERY_S: Final = 1.0
MOST_ROWS: Final = 40
"""Terminals named in a summary; all of them are in the JSON."""
_BAR: Final = 30
# From best to worst: a township's bar shows each terminal in the furthest state it reached.
_PARTS: Final = (
    ("played", "green", "█"),
    ("playing", "bright_green", "▓"),
    ("ready", "yellow", "▒"),
    ("accepted", "blue", "░"),
    ("failed", "red", "×"),
    ("cancelled", "magenta", "■"),
)
_WAITING: Final = {"broadcast": "v_held_sound", "by-hand": "v_by_hand"}
_ENDED: Final = ("refused", "failed", "cancelled", "expired")
_ROAD: Final = ("accepted", "ready", "playing", "played")


def render_live(summary: Mapping[str, Any], lang: str) -> RenderableType:
    """Stages with their times and a bar for each township."""
    summary = say.clean(summary)
    return Group(
        _heading(summary, lang), *_doubt(summary, lang), _stages(summary, lang), _townships(summary, lang)
    )


def render_summary(summary: Mapping[str, Any], lang: str) -> RenderableType:
    """Counts, latencies, and who did not play and why."""
    summary = say.clean(summary)
    parts = [_heading(summary, lang), *_doubt(summary, lang)]
    begun = summary["state"] != "voicing"  # else nothing is out, and nobody is missing
    if begun and summary.get("mute"):  # first: whom to ring up
        parts.append(_mute(summary, lang))
    parts += [_stages(summary, lang, road=()), _counts(summary, lang)]
    if summary["latency"]:
        parts.append(_latency(summary, lang))
    if summary.get("together"):
        parts.append(_together(summary["together"], lang))
    if begun and summary["not_reached"]:
        missing = summary["not_reached"]
        title = w("v_not_held" if summary.get("standing") else "v_not_reached", lang, count=len(missing))
        parts.append(_not_reached(missing, lang, title, f"broadcast show {summary['id']}"))
    if summary["generic"]:
        parts.append(Text(w("v_generic", lang), style="bold red"))
    if summary["silent_villages"]:
        names = "、".join(summary["silent_villages"])
        parts.append(Text(w("v_silent_villages", lang, names=names), style="red"))
    label = "f_text_unsaid" if summary["generic"] else "f_text"
    said = {w(label, lang): summary.get("text"), **originals(summary)}
    parts += [Text(f"{name}: {text}") for name, text in said.items() if text]
    if summary["total"].get("floor"):
        parts.append(Text(w("v_floor", lang, count=summary["total"]["floor"]), style="red"))
    total = summary["total"]
    if summary.get("standing"):
        parts += _standing(summary, lang)
    elif total["played"] == total["targeted"]:
        parts.append(Text(w("v_all_played", lang, count=total["played"]), style="bold green"))
    elif begun:
        missing = total["targeted"] - total["played"]
        parts.append(
            Text(w("v_not_all", lang, missing=missing, targeted=total["targeted"]), style="bold red")
        )
    return Group(*parts)


class Watch:
    """A live picture on `console`, and the bell while something waits for an operator.

    Where the console is no terminal, a plain line whenever the counts have changed.
    """

    def __init__(self, console: Console, lang: str) -> None:
        self._console = console
        self._lang = lang
        self._summary: Mapping[str, Any] | None = None
        self._held: list[Mapping[str, Any]] = []
        self._rang = self._said = float("-inf")
        self._line = ""
        # Drawn anew each second also where nothing comes: a voice that speaks is silent for a minute here.
        self._live = Live(console=console, refresh_per_second=1, get_renderable=self._picture, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
        elif self._summary is not None:
            self._say(self._summary)

    def event(self, name: str, data: Any) -> None:
        """One event of the API's stream: `summary`, or `held` behind the summary it belongs to."""
        if name == "summary":
            self._summary = data
            self._held = []
        elif name == "held":
            self._held = say.clean(data)
            self._ring()
        self._draw()

    def _ring(self) -> None:
        now = time.monotonic()
        if self._held and now - self._rang >= BELL_EVERY_S:
            self._rang = now
            self._console.bell()
            if not self._console.is_terminal:
                for line in self._waiting():
                    self._console.print(line)

    def _draw(self) -> None:
        if self._summary is None:
            return
        if not self._console.is_terminal:
            if time.monotonic() - self._said >= LINE_EVERY_S:
                self._say(self._summary)
            return
        self._live.refresh()

    def _picture(self) -> RenderableType:
        if self._summary is None:
            return ""
        parts = [render_live(self._summary, self._lang)]
        parts += [Text(line, style="bold yellow") for line in self._waiting()]
        return Group(*parts)

    def _waiting(self) -> list[str]:
        return [
            w(
                _WAITING.get(h.get("what", ""), "v_held"),
                self._lang,
                id=h["id"],
                headline=h["headline"],
            )
            for h in self._held
        ]

    def _say(self, summary: Mapping[str, Any]) -> None:
        total = summary["total"]
        counts = " ".join(f"{w(f's_{s}', self._lang)} {total[s]}" for s in (*_ROAD, "failed", "silent"))
        line = f"{w('b_' + summary['state'], self._lang)}  {counts} / {total['targeted']}"
        if line != self._line:
            self._line = line
            self._said = time.monotonic()
            self._console.print(line)


def _heading(summary: Mapping[str, Any], lang: str) -> RenderableType:
    kind = summary["kind"]
    part = w(f"part_{summary['part']}", lang)
    line = f"{summary['headline']}\n{summary['id']} · {part} · {w('b_' + summary['state'], lang)}"
    if summary["stopped_by"]:
        line += " · " + w("v_stopped_by", lang, who=summary["stopped_by"])
    return Panel(
        Text(line), title=Text(f" {w(f'kind_{kind}', lang)} ", style=STYLES[kind]), title_align="left"
    )


def _standing(summary: Mapping[str, Any], lang: str) -> list[RenderableType]:
    """Who holds it, and whose hand has sounded it."""
    targeted = summary["total"]["targeted"]
    holding = targeted - len(summary["not_reached"])
    until = say.clock(summary["expires"])
    parts: list[RenderableType] = [
        Text(w("v_standing", lang, until=until, holding=holding, targeted=targeted), style="bold")
    ]
    if summary["hands"]:
        lines = [
            w("v_hands", lang, count=len(summary["hands"])),
            *map(hand_line, summary["hands"][:MOST_ROWS]),
        ]
        parts.append(Text("\n  ".join(lines), style="bold red"))
    return parts


def hand_line(hand: Mapping[str, Any]) -> str:
    """A loudspeaker at which a hand has sounded a standing message, and when."""
    place = f"{hand['township']}{hand['village']}"
    times = " ".join(map(say.clock, hand["began"]))
    line = w("hand_line", terminal=hand["terminal"], place=place, times=times)
    return f"{line} · {w('hand_now')}" if hand["now"] else line


def _doubt(summary: Mapping[str, Any], lang: str) -> list[RenderableType]:
    """What is wrong with its sound, and whether it waits because of that."""
    if not summary.get("doubt"):
        return []
    lines = [w("v_doubt", lang, doubt=told(summary["doubt"], lang))]
    if summary.get("airs"):
        lines.append(w("v_waits", lang, id=summary["id"], at=say.clock(summary["airs"])))
    if summary.get("aired_by"):
        lines.append(w("v_aired_by", lang, who=summary["aired_by"]))
    return [Text("\n".join(lines), style="bold red")]


def _stages(summary: Mapping[str, Any], lang: str, road: Sequence[str] = _ROAD) -> RenderableType:
    """When each stage began, as a time of day and as seconds since the release; while it is being voiced, how
    long that has taken. `road`: the states of terminals of which the first and the last are told."""
    begun = datetime.fromisoformat(summary["created"])
    stages: list[tuple[str, datetime]] = [(w("v_released", lang), begun)]
    if summary["voiced"]:
        voiced = datetime.fromisoformat(summary["voiced"])
        stages.append((w("v_voiced", lang, seconds=f"{summary['seconds']:.0f}"), voiced))
    elif summary["state"] == "voicing":
        stages.append((w("v_being_voiced", lang), datetime.now(UTC)))
    if summary["done"]:
        stages.append((w("v_done", lang), datetime.fromisoformat(summary["done"])))
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, at in stages:
        after = (at - begun).total_seconds()
        table.add_row(f"{at.astimezone(say.BEIJING):%H:%M:%S}", f"+{after:.1f} s", name)
    for state in road:
        if state in summary["latency"]:
            first, last = (_seconds(summary["latency"][state][f"{n}_ms"]) for n in ("first", "last"))
            words = w("v_stage", lang, state=w(f"s_{state}", lang), first=first, last=last)
            table.add_row("", "", words)
    return table


def _townships(summary: Mapping[str, Any], lang: str) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    everywhere: Counter[str] = Counter()
    where: dict[str, Counter[str]] = {}
    for missing in summary["not_reached"]:
        part = _part_of(missing)
        where.setdefault(missing["township"], Counter())[part] += 1
        everywhere[part] += 1
    for row in summary["townships"]:
        # A terminal that is not in the register any more has no township; its row is called "?".
        parts = where.get("" if row["key"] == "" else row["name"], Counter())
        table.add_row(row["name"], _bar(row, parts), f"{row['played']}/{row['targeted']}")
    total = summary["total"]
    name = Text(w("v_total", lang), style="bold")
    table.add_row(name, _bar(total, everywhere), f"{total['played']}/{total['targeted']}")
    legend = Text("  ")
    for state, style, mark in _PARTS:
        legend.append(f"{mark} {w(f's_{state}', lang)}  ", style=style)
    legend.append(f"· {w('s_silent', lang)}", style="dim")
    return Group(table, legend)


def _part_of(missing: Mapping[str, Any]) -> str:
    """Which part of the bar a terminal that has not played is in."""
    state: str = missing["state"]
    if state in ("accepted", "ready", "playing", "cancelled"):
        return state
    if state in ("interrupted", "preempted"):
        return "playing"
    if state in ("pending", "sent") or missing["reason"] == UNREACHED:
        return "silent"
    return "failed"


def _bar(row: Mapping[str, Any], missing: Mapping[str, int]) -> Text:
    """Cells in proportion to terminals; whoever is there at all gets at least a cell."""
    counts = {state: missing.get(state, 0) for state, _, _ in _PARTS} | {"played": row["played"]}
    counts["silent"] = row["targeted"] - sum(counts.values())
    cells = {
        state: max(1, _BAR * count // row["targeted"]) if count > 0 else 0 for state, count in counts.items()
    }
    cells[max(counts, key=lambda state: counts[state])] += _BAR - sum(cells.values())
    bar = Text()
    for state, style, mark in (*_PARTS, ("silent", "dim", "·")):
        bar.append(mark * cells[state], style=style)
    return bar


def _counts(summary: Mapping[str, Any], lang: str) -> RenderableType:
    stopped = Counter(m["township"] for m in summary["not_reached"] if m["state"] == "cancelled")
    states = ("targeted", *_ROAD, "failed", *(("cancelled",) if stopped else ()), "silent")
    table = Table(title=w("v_counts", lang), title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for state in states:
        table.add_column(w(f"s_{state}", lang), justify="right")
    everywhere = {**summary["total"], "name": w("v_total", lang)}
    for row in (*summary["townships"], everywhere):
        ended = stopped.total() if row is everywhere else stopped["" if row["key"] == "" else row["name"]]
        counts = {**row, "failed": row["failed"] - ended, "cancelled": ended}  # the API counts both as one
        table.add_row(row["name"], *(str(counts[state]) for state in states))
    return Group(Rule(style="dim"), table)


def _latency(summary: Mapping[str, Any], lang: str) -> RenderableType:
    table = Table(title=w("v_latency", lang), title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for name in ("first", "median", "last"):
        table.add_column(w(f"v_{name}", lang), justify="right")
    for state in _ROAD:
        if state in summary["latency"]:
            row = summary["latency"][state]
            times = (_seconds(row[f"{name}_ms"]) for name in ("first", "median", "last"))
            table.add_row(w(f"s_{state}", lang), *times)
    return Group(Rule(style="dim"), table)


def _mute(summary: Mapping[str, Any], lang: str) -> RenderableType:
    """Villages where nobody has heard anything: the first to ring up."""
    mute = summary["mute"]
    title = w("v_mute", lang, count=len(mute))
    table = Table(title=title, title_justify="left", title_style="bold red", box=None, pad_edge=False)
    for name in ("c_place", "s_targeted", "c_why"):
        table.add_column(w(name, lang), overflow="fold")
    for row in mute[:MOST_ROWS]:
        why = w("and_then", lang).join(_known(text, lang) for text in row["words"]) or w(
            "v_no_terminal", lang
        )
        table.add_row(f"{row['township']}{row['village']}", str(row["targeted"]), why)
    parts: list[RenderableType] = [Rule(style="dim"), table]
    if len(mute) > MOST_ROWS:
        more = w("v_more", lang, count=len(mute) - MOST_ROWS, command=f"broadcast show {summary['id']}")
        parts.append(Text(more, style="dim"))
    return Group(*parts)


def _known(text: str, lang: str) -> str:
    """What a village's loudspeakers say (`MuteOut.words`), the machine's reason put into words."""
    count, times, words = text.rpartition(" × ")
    state, _, rest = words.partition(" ")
    reason = rest.partition(" (")[0]
    if state in _ENDED and reason:
        why = reason_words({"words": words, "reason": reason}, lang)
        words = f"{w(f's_{state}', lang)}{w('and_so', lang)}{why}"
    return f"{count}{times}{told(words, lang)}"


def _together(together: Mapping[str, Any], lang: str) -> RenderableType:
    unknown = w("v_unknown", lang)
    spread, error = (
        unknown if together[name] is None else w("v_ms", lang, count=together[name])
        for name in ("spread_ms", "error_ms")
    )
    text = w(
        "v_together",
        lang,
        at=say.clock(together["at"]),
        started=together["started"],
        late=together["late"],
        spread=spread,
        error=error,
        unmeasured=together["unmeasured"],
    )
    return Text(text, style="red" if together["late"] else "")


def _not_reached(missing: Sequence[Mapping[str, Any]], lang: str, title: str, command: str) -> RenderableType:
    """`command`: where all of them are, as JSON."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("c_terminal", "c_place", "c_state", "c_why"):
        table.add_column(w(name, lang), overflow="fold")
    for row in missing[:MOST_ROWS]:
        place = f"{row['township']}{row['village']}"
        if row["name"] not in ("", row["village"], row["terminal"]):
            place += f" {row['name']}"
        table.add_row(row["terminal"], place, w(f"s_{row['state']}", lang), reason_words(row, lang))
    parts: list[RenderableType] = [Rule(style="dim"), table]
    if len(missing) > MOST_ROWS:
        more = w("v_more", lang, count=len(missing) - MOST_ROWS, command=command)
        parts.append(Text(more, style="dim"))
    return Group(*parts)


def render_deliveries(found: Mapping[str, Any], lang: str) -> RenderableType:
    """What came of a warning (`DeliveriesOut`): where nothing sounded and why, its broadcasts, the plan."""
    found = say.clean(found)
    head = f"{found['headline']}\n{found['id']} · {w('a_' + found['state'], lang)}"
    parts: list[RenderableType] = [Panel(Text(head))]
    if found["silent_villages"]:
        names = "、".join(found["silent_villages"])
        parts.append(Text(w("v_silent_villages", lang, names=names), style="bold red"))
    if found["unheard"]:
        title = w("v_unheard", lang, count=len(found["unheard"]))
        parts.append(_not_reached(found["unheard"], lang, title, f"alert why {found['id']}"))
    elif found["broadcasts"]:
        parts.append(Text(w("v_unheard_none", lang), style="bold green"))
    if found["broadcasts"]:
        table = Table(title=w("c_broadcasts", lang), title_justify="left", box=None, pad_edge=False)
        for name in ("c_id", "c_part", "c_state", "c_time", "s_played"):
            table.add_column(w(name, lang), no_wrap=name in ("c_id", "c_time", "s_played"))
        for row in found["broadcasts"]:
            state = w(f"b_{row['state']}", lang)
            if row["stopped_by"]:
                state += f" · {row['stopped_by']}"
            part = w("p_" + row["part"].replace("-", "_"), lang)
            counts = f"{row['played']}/{row['targeted']}"
            table.add_row(row["id"], part, state, say.clock(row["created"]), counts)
        parts += [Rule(style="dim"), table]
    else:
        parts.append(Text(w("v_no_broadcast", lang), style="bold red"))
    reasons = [told(text, lang) for text in (found["reason"], *found["why"]) if text]
    if reasons:
        parts += [Rule(style="dim"), Text("\n".join((w("c_why", lang), *(f"  {text}" for text in reasons))))]
    if found["unheard"]:
        terminal, last = found["unheard"][0]["terminal"], found["unheard"][0]["broadcast"]
        parts.append(
            Text(w("v_ask_why", lang, broadcast=last, terminal=terminal, alert=found["id"]), style="dim")
        )
    return Group(*parts)


def chain_fields(found: Mapping[str, Any], lang: str) -> dict[str, object]:
    """One terminal's part of a broadcast (`ChainOut`) as names and values."""
    place = f"{found['township']}{found['village']}"
    name = "" if found["name"] in ("", found["village"], found["terminal"]) else f" {found['name']}"
    return {
        w("c_terminal", lang): f"{found['terminal']}{name} · {place}",
        w("c_broadcast", lang): f"{found['broadcast']} · {found['headline']}",
        w("y_sounded", lang): w("y_heard" if found["sounded"] else "y_unheard", lang),
        w("c_state", lang): w(f"s_{found['state']}", lang),
        w("c_why", lang): "" if found["state"] == "played" else reason_words(found, lang),
        w("c_last_seen", lang): say.clock(found["last_seen"]) if found["last_seen"] else w("y_never", lang),
        w("c_facts", lang): [_step(step, lang) for step in found["steps"]],
    }


_FACTS: Final = {FLOOR: "y_floor", RESUMED: "y_resumed", SILENT: "y_silent", UNREACHED: "y_unreached"}


def _step(step: Mapping[str, Any], lang: str) -> str:
    at = datetime.fromisoformat(step["at"]).astimezone(say.BEIJING)
    detail = f"({step['detail']})" if step["detail"] else ""
    if step["reason"] in BY_HANDS:
        why = w("y_by_hand", lang)
    elif step["reason"] in _FACTS:
        why = w(_FACTS[step["reason"]], lang)
    else:
        why = reason_words({"words": detail or step["reason"], "reason": step["reason"]}, lang)
    number = w("y_attempt", lang, number=step["attempt"])
    return f"{at:%H:%M:%S.%f}"[:-3] + f"  {number}  {w('s_' + step['state'], lang)}  {why}".rstrip()


def _seconds(ms: int) -> str:
    """A terminal's clock is known to some ms, so its first word may seem older than the command: no time."""
    return f"{max(0, ms) / 1000:.2f} s"
