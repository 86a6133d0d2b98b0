"""A real week through the rules: what must hold over every warning of it. And a small made-up one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from alerts.fatigue import Form, Rules
from alerts.lifecycle import Cancel, Duplicate, Stale
from alerts.model import Colour, MsgType
from alerts.replay import Rehearsal
from benchmarks import lifecycle

REAL = (
    Path(__file__).parents[2].parent / "shared/data/feeds/wmo-cma/cma-warning-lifecycle-first-week.jsonl.gz"
)


def row(
    code: str, kind: str, colour: str, issued: str, last_seen: str, expires: str | None = None
) -> dict[str, object]:
    return {"adcode": code, "type": kind, "color": colour, "issued": issued, "expires": expires,
            "name": "某县", "first_seen": issued, "last_seen": last_seen, "snapshots": 1}  # fmt: skip


def test_a_recording_becomes_warnings_and_what_disappeared_before_its_end(tmp_path: Path) -> None:
    rows = [
        row("623023", "暴雨", "橙色", "2026-07-14T06:00:00Z", "2026-07-14T07:00:00Z"),
        row("623000", "暴雨", "黄色", "2026-07-14T08:00:00Z", "2026-07-14T20:00:00Z"),
    ]
    path = tmp_path / "week.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    events = lifecycle.messages(lifecycle.read(path))
    assert [(e.code, e.alert.msg_type) for e in events] == [
        ("623023", MsgType.ALERT),
        ("623000", MsgType.ALERT),
        ("623023", MsgType.CANCEL),
    ]
    county = Rehearsal()
    first, other, gone = (county.take(e.alert, frozenset({"v"}), e.at) for e in events)
    assert (first.form, other.form) == (Form.FULL, Form.SHORT), "the prefecture says less than is known"
    assert isinstance(gone.decision, Cancel)
    assert gone.cleared == frozenset()
    text = lifecycle.run(path)
    assert "| first orange | 2 |" not in text
    assert "| first orange | 1 | 0 | 0 |" in text
    assert "| first yellow | 1 | 1 | 0 |" in text, "in the prefecture's seat it is the first word"


def test_a_week_played_again_is_another_week() -> None:
    rows = [row("623023", "雷电", "黄色", "2026-07-14T06:00:00Z", "2026-07-14T20:00:00Z")]
    events = list(lifecycle.again(lifecycle.messages(rows), 3))
    assert len({event.alert.identifier for event in events}) == 3
    assert [event.at for event in events] == sorted(event.at for event in events)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_file(), reason="the shared recording is not on this machine")
def test_a_real_week_loses_nothing_wakes_nobody_for_a_renewal_and_tells_every_fall_that_matters() -> None:
    rules = Rules()
    events = lifecycle.messages(lifecycle.read(REAL))
    assert sum(event.alert.msg_type is MsgType.ALERT for event in events) == 7_982
    counties = {event.code: Rehearsal(rules) for event in events}
    hears: dict[str, list[str]] = {}
    for county in counties:
        for code in lifecycle.above(county):
            hears.setdefault(code, []).append(county)
    falls = 0
    for event in events:
        for code in hears[event.code]:
            county = counties[code]
            before = {item.identifier: item for item in county.known}
            told = county.take(event.alert, frozenset({code}), event.at, feed="bureau")
            colour, found = event.alert.main.colour, told.decision
            if event.alert.msg_type is MsgType.CANCEL:
                assert not told.cleared, "nobody said that it was over"
                continue
            assert not isinstance(found, Stale), found.reason
            if isinstance(found, Duplicate):
                known = before[found.of]
                assert (known.hazard, known.colour) == (event.alert.main.hazard, colour)
                continue
            assert told.form is not None
            what = lifecycle.what(told)
            if colour is Colour.RED or what == "rise":
                assert told.form is Form.FULL, found.reason
            if what == "first":
                assert told.form is not Form.SILENT
            if what == "renewal" and colour in (Colour.YELLOW, Colour.BLUE):
                assert told.form is not Form.FULL
                assert told.form is Form.SILENT or not rules.is_night(event.at)
            if what == "fall" and before[found.of].colour in (Colour.RED, Colour.ORANGE):
                falls += 1
                assert told.form is not Form.SILENT, told.verdicts[code].reason
    assert falls > 100
    for county in counties.values():
        assert len(county.known) < 60
        county.forget(events[-1].at.replace(year=events[-1].at.year + 1))
        assert not county.known
        assert not county.heard
