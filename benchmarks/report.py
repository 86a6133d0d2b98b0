"""The numbers as markdown: medians with the least and the most, and each bar of the design beside them."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.fan import Fan, Round
from benchmarks.road import TERMINALS, Part, Run
from benchmarks.start import Start
from simulators.broker import mosquitto_binary

CRow = tuple[str, int, list[float], list[float]]
"""Broker, terminals, ms until the last has it, ms until the last report is back; one per round."""


def machine(quick: bool) -> str:
    """What it ran on, and how busy that was at the start."""
    info = Path("/proc/cpuinfo")
    models = [x for x in info.read_text().splitlines() if x.startswith("model name")] if info.exists() else []
    model = models[0].partition(":")[2].strip() if models else platform.processor()
    mosquitto = mosquitto_binary()
    version = "not here"
    if mosquitto is not None:
        said = subprocess.run([mosquitto, "-h"], capture_output=True, text=True, timeout=10)
        version = said.stdout.partition("\n")[0].removeprefix("mosquitto version ")
    return f"""\
# Benchmarks{" (quick)" if quick else ""}

{datetime.now(UTC):%Y-%m-%d %H:%M} UTC. {os.cpu_count()} cores, {model}; {platform.system()} \
{platform.release()}; Python {platform.python_version()}; mosquitto {version}. Load at the start {_load()}.

Everything runs on this machine: broker, controller, voice, and the terminals, which take most of it. Times \
are medians (least – most). Bars are those of the design, §8.
"""


def end() -> str:
    return f"Load at the end {_load()}."


def failure(title: str, error: Exception) -> str:
    return f"## {title}\n\nNot measured: {error}\n"


def roads(runs: Sequence[Run], failures: Sequence[str]) -> str:
    """Table A."""
    rows = []
    stages: list[Callable[[Part], float]] = [
        lambda p: p.journalled,
        lambda p: p.planned,
        lambda p: p.voiced,
        lambda p: p.published,
        lambda p: p.accepted,
        lambda p: p.ready,
        lambda p: p.first_playing,
        lambda p: p.last_playing,
    ]
    groups: dict[tuple[str, str], list[Part]] = {}
    for run in runs:
        for part in run.parts:
            groups.setdefault((run.how, part.part), []).append(part)
    for (how, name), parts in groups.items():
        label = f"{how}, {name} ({median(p.sound_s for p in parts):.0f} s of sound)"
        rows.append([label, str(len(parts)), *(_spread([s(p) / 1e3 for p in parts], 2) for s in stages)])
    text = [
        f"## A. Feed file → {TERMINALS} loudspeakers, real voice\n",
        "Seconds since the file was there; accepted, ready and playing are the last terminal's. The folder "
        "is looked at every 0.5 s and a file is taken at the second look that finds it unchanged. `cold`: a "
        "controller just started, nothing spoken before. `prepared`: the fixed sentences of the hazard's "
        "template are in the voice's memory, as a county's own controller has them. `cached`: the whole clip "
        "is in the library. Terminals fetch the clip themselves.\n",
        _table(
            ["", "runs", "journalled", "planned", "voiced", "published", "accepted", "ready",
             "first playing", "last playing"],
            rows,
        ),
    ]  # fmt: skip
    for how, bar in (("cold", 5.0), ("prepared", 5.0), ("cached", 1.0)):
        firsts = [min(r.parts, key=lambda p: p.first_playing) for r in runs if r.how == how]
        if firsts:
            waits = [(p.first_playing - p.journalled) / 1e3 for p in firsts]
            fell_back = sum("generic" in p.part for p in firsts)
            text.append(
                f"- {how}: text → first terminal playing {_spread(waits, 2)} s; bar {bar:g} s: "
                f"**{_met(max(waits) < bar)}** ({sum(w < bar for w in waits)} of {len(waits)} runs); "
                f"what was heard first was the generic clip in {fell_back}"
            )
    text += [f"- not measured: {line}" for line in failures]
    return "\n".join(text) + "\n"


def fans(fans: Sequence[Fan], lossy: Fan | None, c_rows: Sequence[CRow], note: str) -> str:
    """Tables B and C."""
    rows, bars = [], []
    for fan in fans:
        rows.append(_fan_row(fan, "controller", fan.controller))
        if fan.floor:
            rows.append(_fan_row(fan, "floor", fan.floor))
        if fan.controller and fan.floor:
            has = _mid(fan.controller, _has) / _mid(fan.floor, _has)
            reported = _mid(fan.controller, _reported) / _mid(fan.floor, _reported)
            stored = _mid(fan.controller, _stored) / _mid(fan.floor, _reported)
            ratios = [f"**{ratio:.2f}**" for ratio in (has, reported, stored)]
            rows.append([fan.broker, f"{fan.terminals:,}", "**ratio**", "", "", *ratios, "", ""])
            bars.append(
                f"- {fan.broker}, {fan.terminals:,}: last playing {has:.2f} × the floor (bar 1.5): "
                f"**{_met(has <= 1.5)}**; last `playing` stored {stored:.2f} × (bar 2): "
                f"**{_met(stored <= 2)}**"
                + (
                    f"; last playing in {_mid(fan.controller, _has) / 1e3:.2f} s (bar 1 s): "
                    f"**{_met(_mid(fan.controller, _has) < 1_000)}**"
                    if fan.terminals == 10_000
                    else ""
                )
            )
        if fan.failed:
            bars.append(f"- {fan.broker}, {fan.terminals:,}: **stopped early**: {fan.failed}")
    text = [
        "## B. Command published → the last of N terminals\n",
        "Milliseconds since the publish. `floor`: a raw client that publishes the same sealed bytes to the "
        "same group of the same fleet through the same broker and only counts the same reports (three of "
        "each terminal), rounds in turn. The terminals hold the clip, so has it, accepted and playing are "
        "one step; the message is the generic clip, no voice is in it. `request` is an operator's request "
        "until the publish, with the plan and every delivery stored.\n",
        _table(
            ["broker", "terminals", "", "rounds", "request", "last terminal plays", "last `playing` known",
             "last `playing` stored", "all `played` known", "questions and repeats"],
            rows,
        ),
        *bars,
        "",
    ]  # fmt: skip
    text += [f"- One playing took {f.playing_s:g} s with {f.terminals:,} on {f.broker}." for f in fans]
    if fans:
        text.append(f"- A command has {fans[0].envelope} bytes, a report {fans[0].report:.0f} on average.\n")
    text += ["### The same in C: one command of 200 bytes, one report of 80 bytes from each C terminal\n"]
    if c_rows:
        rows = [[b, f"{n:,}", str(len(has)), _spread(has, 0), _spread(back, 0)] for b, n, has, back in c_rows]
        text.append(
            _table(["broker", "terminals", "rounds", "last terminal has it", "last report back"], rows)
        )
    if note:
        text.append(f"{note}\n")
    if lossy is not None:
        text += _lossy(lossy)
    text += _memory([*fans, *([lossy] if lossy else [])])
    return "\n".join(text)


def _lossy(fan: Fan) -> list[str]:
    text = ["### mosquitto with its default queue limits (it drops what is above about 1,000 in a burst)\n"]
    if fan.controller:
        whole = [r.all_played / 1e3 for r in fan.controller if r.all_played is not None]
        reports = median(r.reports for r in fan.controller)
        text.append(
            f"{fan.terminals:,} terminals, one playing takes {fan.playing_s:g} s: every `played` known after "
            f"{_spread(whole, 1)} s ({len(whole)} rounds); {reports:,.0f} reports came and "
            f"{median(r.repeats for r in fan.controller):,.0f} questions and repeats went out. Bar 30 s: "
            f"**{_met(max(whole) < 30)}**\n"
        )
    if fan.failed:
        text.append(f"**Stopped early**: {fan.failed}\n")
    return text


def _memory(fans: Sequence[Fan]) -> list[str]:
    rows = []
    for fan in fans:
        if not fan.controller:
            continue
        each = [r.cpu * 1e3 / r.reports for r in fan.controller if r.cpu is not None]
        memory = [f"{fan.memory[k]:.0f}" if k in fan.memory else "" for k in _MEMORY]
        rows.append([fan.broker, f"{fan.terminals:,}", *memory, _spread(each, 0), f"{fan.connect_s:.0f}"])
    big = [fan for fan in fans if fan.terminals == 10_000]
    bars = [
        f"- {fan.broker}, 10,000 terminals: {worst:.0f} MB at the most (bar 300 MB): **{_met(worst < 300)}**"
        for fan in big
        if (worst := max(fan.memory.values(), default=0.0))
    ]
    return [
        "## C. The controller's process (the voice is another)\n",
        "Resident MB (10⁶ bytes); µs of CPU per report, all that the process does from the publish until "
        "every terminal has played; seconds until the fleet was enrolled, connected and had the time.\n",
        _table(
            ["broker", "terminals", "started", "connected", "after 5 broadcasts", "peak", "µs per report",
             "fleet ready"],
            rows,
        ),
        *bars,
        "",
    ]  # fmt: skip


_MEMORY = ("started", "connected", "five", "peak")


def starts(rows: Sequence[Start]) -> str:
    """Table D."""
    by_name = {row.what: median(row.ms) for row in rows}
    bars = [
        f"- {name} in {by_name[name]:.0f} ms (bar {bar} ms): **{_met(by_name[name] < bar)}**"
        for name, bar in (("`fenghuo --help`", 300), ("`fenghuo status`", 600))
    ]
    return "\n".join(
        [
            "## D. Starts of the CLI\n",
            _table(["", "runs", "ms"], [[r.what, str(len(r.ms)), _spread(r.ms, 0)] for r in rows]),
            *bars,
            "",
        ]
    )


def _fan_row(fan: Fan, who: str, rounds: Sequence[Round]) -> list[str]:
    def column(of: Callable[[Round], float | None]) -> str:
        return _spread([v for r in rounds if (v := of(r)) is not None], 0)

    return [
        fan.broker,
        f"{fan.terminals:,}",
        who,
        str(len(rounds)),
        column(lambda r: r.planned),
        column(_has),
        column(_reported),
        column(lambda r: r.stored),
        column(lambda r: r.all_played),
        column(lambda r: None if r.cpu is None else float(r.repeats)),
    ]


def _has(r: Round) -> float:
    return r.has


def _reported(r: Round) -> float:
    return r.reported


def _stored(r: Round) -> float:
    assert r.stored is not None
    return r.stored


def _mid(rounds: Iterable[Round], of: Callable[[Round], float]) -> float:
    return median(of(r) for r in rounds)


def _spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return ""
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} – {max(values):,.{digits}f})"


def _met(yes: bool) -> str:
    return "met" if yes else "not met"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _load() -> str:
    return " ".join(f"{x:.1f}" for x in os.getloadavg())
