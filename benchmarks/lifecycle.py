"""``python -m benchmarks.lifecycle FILE [--county CODE] [--weeks N]``: a recorded week, county by county.

FILE holds one warning a line (gzip or not): adcode, type, color, issued, expires, name, first_seen,
last_seen, as `SOURCES.md` beside the recording says. Each county takes its own warnings and those of its
prefecture and province through `alerts.replay`, at the minute of their issue, as from the bureau's own
feed. What leaves the list before its end is taken as a list feed would: two polls later, as no longer
listed. `--weeks` plays the week again and again, to show that memory stays flat.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

from alerts import hazards
from alerts.fatigue import BEIJING, Form, Rules
from alerts.lifecycle import GONE, Cancel, Continuation, Duplicate, Ignored, New, Stale, Update
from alerts.model import Alert, Area, CodeScheme, Colour, Info, MsgType, Reference, RegionCode, Scope, Status
from alerts.replay import Rehearsal, Told

COLOURS: Final = {"红色": Colour.RED, "橙色": Colour.ORANGE, "黄色": Colour.YELLOW, "蓝色": Colour.BLUE}
RECORDING: Final = (
    Path(__file__).parents[2] / "shared/data/feeds/wmo-cma/cma-warning-lifecycle-first-week.jsonl.gz"
)
POLL: Final = timedelta(hours=1)
"""The recording's snapshots are hourly; gone is what two of them no longer have."""


@dataclass(frozen=True, slots=True)
class Event:
    """One message on its way to a county."""

    at: datetime
    code: str
    alert: Alert


def read(path: Path) -> Iterator[Mapping[str, Any]]:
    with (
        gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as f
    ):
        for line in f:
            yield json.loads(line)


def messages(rows: Iterable[Mapping[str, Any]]) -> list[Event]:
    """Each row's warning, and its disappearance where that came before its end; in order of time."""
    out: list[Event] = []
    for number, row in enumerate(rows):
        issued = datetime.fromisoformat(row["issued"] or row["first_seen"])
        expires = datetime.fromisoformat(row["expires"]) if row["expires"] else None
        hazard = hazards.find(row["type"]).hazard
        code = str(row["adcode"])
        # Where the recording lacks the issue, its number keeps the identifier unique.
        stamp = f"{issued.astimezone(BEIJING):%Y%m%d%H%M%S}" + ("" if row["issued"] else f"_{number}")
        info = Info(
            language="zh-CN",
            event=row["type"],
            hazard=hazard.key,
            colour=COLOURS.get(row["color"]),
            headline=f"{row['name']}气象台发布{row['type']}{row['color']}预警",
            expires=expires,
            areas=(
                Area(row["name"], (RegionCode(CodeScheme.MCA, code.removesuffix("00").removesuffix("00")),)),
            ),
        )
        alert = Alert(
            identifier=f"{code}41600000_{stamp}",
            sender=f"{row['name']}气象台",
            sent=issued,
            status=Status.ACTUAL,
            msg_type=MsgType.ALERT,
            scope=Scope.PUBLIC,
            infos=(info,),
        )
        out.append(Event(issued, code, alert))
        gone = datetime.fromisoformat(row["last_seen"]) + 2 * POLL
        if gone < (expires or issued + hazard.default_lifetime):
            ends = Alert(
                identifier=alert.identifier,
                sender=alert.sender,
                sent=max(issued, gone - 2 * POLL),
                status=Status.ACTUAL,
                msg_type=MsgType.CANCEL,
                scope=Scope.PUBLIC,
                infos=(info,),
                references=(Reference(alert.identifier, alert.sender, issued),),
                inferred=(GONE,),
            )
            out.append(Event(gone, code, ends))
    return sorted(out, key=lambda event: (event.at, event.alert.identifier))


def above(code: str) -> list[str]:
    """The codes whose warnings a county hears: its own, its prefecture's, its province's."""
    return list(dict.fromkeys((code, code[:4] + "00", code[:2] + "0000")))


@dataclass
class Tally:
    """What one county, or all of them, got."""

    decisions: Counter[str] = field(default_factory=Counter)
    sounds: Counter[tuple[str, Form]] = field(default_factory=Counter)
    """(what the message was, form)"""
    night: Counter[tuple[str, Form]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    days: Counter[str] = field(default_factory=Counter)
    """Soundings by Beijing day."""
    events: set[str] = field(default_factory=set)
    warnings: int = 0

    def add(self, told: Told, rules: Rules) -> None:
        kind = type(told.decision).__name__
        self.decisions[kind] += 1
        if told.alert.msg_type is MsgType.CANCEL:
            return
        self.warnings += 1
        self.events.add(told.decision.event_key)
        if told.decision.doubt:
            self.reasons[f"held: {told.decision.doubt}"] += 1
        for verdict in told.verdicts.values():
            colour = told.alert.main.colour
            key = (f"{what(told)} {colour or 'no colour'}", verdict.form)
            self.sounds[key] += 1
            if rules.is_night(told.at):
                self.night[key] += 1
            if verdict.form is not Form.SILENT:
                self.days[f"{told.at.astimezone(BEIJING):%m-%d}"] += 1
            if verdict.form is not Form.FULL:
                self.reasons[f"{verdict.form}: {_kind_of(verdict.reason)}"] += 1


def _kind_of(reason: str) -> str:
    """A reason without its numbers and colours, to count it by."""
    last = reason.split("; ")[-1]
    last = re.sub(
        r"^(?:red|orange|yellow|blue|[a-z_]+)(?= was heard)|(?<=another )\S+(?= warning)", "…", last
    )
    return re.sub(r" \d+ (?:min|h) ago|^\d+ ", "", last)


def what(told: Told) -> str:
    match told.decision:
        case New():
            return "first"
        case Continuation():
            return "renewal"
        case Update(announce=True):
            return "rise"
        case Update():
            return "fall"
        case Duplicate() | Stale() | Ignored() | Cancel():
            return "nothing"


@dataclass
class Week:
    counties: dict[str, Tally]
    total: Tally
    seconds: float
    taken: int
    kept: list[tuple[str, int, int]]
    """At the end of each day: messages and soundings that all counties still keep."""
    most_kept: int
    """The most messages that one county kept at any time."""
    peak_mb: float
    """Of the whole process, the recording in memory included."""


def replay(events: Iterable[Event], codes: Iterable[str], rules: Rules, *, only: str = "") -> Week:
    """Every county of the recording at once, in order of time."""
    hears: dict[str, list[str]] = defaultdict(list)
    for county in sorted(codes):
        if only in ("", county):
            for code in above(county):
                hears[code].append(county)
    state = {county: Rehearsal(rules) for counties in hears.values() for county in counties}
    tallies = {county: Tally() for county in state}
    total, kept, most, taken, day = Tally(), list[tuple[str, int, int]](), 0, 0, ""
    began = time.process_time()
    for event in events:
        today = f"{event.at.astimezone(BEIJING):%m-%d}"
        if today != day:
            for one in state.values():
                one.forget(event.at)
            messages_kept = sum(len(one.known) for one in state.values())
            soundings_kept = sum(len(s) for one in state.values() for s in one.heard.values())
            kept.append((day, messages_kept, soundings_kept))
            day = today
        for county in hears.get(event.code, ()):
            told = state[county].take(event.alert, frozenset({county}), event.at, feed="bureau")
            most = max(most, len(state[county].known))
            taken += 1
            tallies[county].add(told, rules)
            total.add(told, rules)
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Week(tallies, total, seconds, taken, kept[1:], most, peak)


def again(events: Sequence[Event], weeks: int) -> Iterator[Event]:
    """The same week `weeks` times, each one later than the last, with identifiers of its own."""
    span = timedelta(days=(events[-1].at - events[0].at).days + 1)
    for week in range(weeks):
        later = span * week
        for event in events:
            yield event if week == 0 else _later(event, later)


def _later(event: Event, by: timedelta) -> Event:
    alert = event.alert
    info = alert.main

    def moved(identifier: str) -> str:
        stamp = datetime.strptime(identifier[15:29], "%Y%m%d%H%M%S") + by  # noqa: DTZ007 Beijing, as it was
        return f"{identifier[:15]}{stamp:%Y%m%d%H%M%S}{identifier[29:]}"

    return Event(
        event.at + by,
        event.code,
        replace(
            alert,
            identifier=moved(alert.identifier),
            sent=alert.sent + by,
            infos=(replace(info, expires=info.expires + by if info.expires else None),),
            references=tuple(replace(r, identifier=moved(r.identifier)) for r in alert.references),
        ),
    )


def report(week: Week, rules: Rules) -> str:
    """The tables, as markdown."""
    total = week.total
    sounded = [c for t in week.counties.values() for c in t.days.values()]
    lines = [
        "## Lifecycle: real warnings, county by county",
        "",
        f"{total.warnings:,} warnings for {len(week.counties):,} counties (a prefecture's and a province's "
        f"count in each of theirs), {len(total.events):,} events; {week.taken:,} messages in "
        f"{week.seconds:.1f} s of processor time ({week.seconds / max(week.taken, 1) * 1e6:.0f} µs each). "
        f"The most that one county kept in memory: {week.most_kept} messages; peak of the process "
        f"{week.peak_mb:.0f} MB.",
        "",
        "What they were: " + ", ".join(f"{name} {n:,}" for name, n in total.decisions.most_common()) + ".",
        "",
        f"| message | full | short | silent | of these at night ({rules.night_from:%H:%M}"
        f" to {rules.night_until:%H:%M}): full | short | silent |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in sorted({name for name, _ in total.sounds}):
        cells = [total.sounds[name, form] for form in Form] + [total.night[name, form] for form in Form]
        lines.append(f"| {name} | " + " | ".join(f"{n:,}" for n in cells) + " |")
    lines += ["", "| why it was short or silent | messages |", "|---|---|"]
    lines += [f"| {reason} | {n:,} |" for reason, n in total.reasons.most_common(12)]
    if sounded:
        every = sorted(t.warnings for t in week.counties.values())
        lines += [
            "",
            f"Soundings in a county on a day with any: median {median(sounded):g}, "
            f"p95 {sorted(sounded)[int(len(sounded) * 0.95)]}, most {max(sounded)}. "
            f"Warnings per county in all: median {median(every):g}, most {every[-1]}.",
        ]
    lines += [
        "",
        "| county | warnings | events | full | short | silent | most in a day |",
        "|---|---|---|---|---|---|---|",
    ]
    busiest = sorted(week.counties.items(), key=lambda item: -item[1].warnings)
    for code, tally in busiest[:10]:
        forms = [sum(n for (_, f), n in tally.sounds.items() if f is form) for form in Form]
        most = max(tally.days.values(), default=0)
        cells = [tally.warnings, len(tally.events), *forms, most]
        lines.append(f"| {code} | " + " | ".join(map(str, cells)) + " |")
    lines += ["", "| day | messages kept | soundings kept |", "|---|---|---|"]
    lines += [f"| {day} | {messages_kept:,} | {soundings:,} |" for day, messages_kept, soundings in week.kept]
    return "\n".join(lines) + "\n"


def run(path: Path, *, only: str = "", weeks: int = 1, rules: Rules | None = None) -> str:
    """The report of one recording."""
    rules = rules or Rules()
    events = messages(read(path))
    codes = {event.code for event in events}
    return report(replay(again(events, weeks), codes, rules, only=only), rules)


def page(quick: bool) -> str:
    """For `python -m benchmarks`: the recording where it lies beside the repository."""
    if not RECORDING.is_file():
        return f"## Lifecycle\n\nNot measured: no {RECORDING.name} beside the repository.\n"
    return run(RECORDING, weeks=1 if quick else 3)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lifecycle", description=__doc__)
    parser.add_argument("file", type=Path, help="the recording, .jsonl or .jsonl.gz")
    parser.add_argument("--county", default="", help="only this six-digit code")
    parser.add_argument("--weeks", type=int, default=1, help="play it so many times over")
    given = parser.parse_args()
    print(run(given.file, only=given.county, weeks=given.weeks))
    return 0


if __name__ == "__main__":
    sys.exit(main())
