"""What `fenghuo alert lint` makes of files that people really have in hand: lists as a source answers them,
earthquakes, and what is no XML at all."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alert_builders import cap_text

from alerts.formats import Reading, parse
from alerts.formats.lists import LISTS
from alerts.lint import lint_all
from alerts.model import AlertError
from config.counties import load_county

NOW = datetime(2026, 7, 15, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b'\n{"data": []}', "JSON"),
        (b"\xef\xbb\xbf[]", "JSON"),
        (gzip.compress(cap_text().encode(), mtime=0), "unpack"),
        ("<!DOCTYPE html>\n<html><body>系统维护</body></html>".encode(), "web page"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><alert>&x;</alert>', "DTD"),
    ],
)
def test_what_is_no_xml_at_all_is_called_by_its_name(body: bytes, what: str) -> None:
    with pytest.raises(AlertError, match=what):
        parse(body, now=NOW)


def test_a_list_as_its_source_answers_it_is_linted_row_by_row_and_a_row_alone_too() -> None:
    folder = Path(__file__).parents[1] / "fixtures" / "lists"
    answer = (folder / "nmc.json").read_bytes()
    reading = Reading(format="nmc")
    reports = lint_all(answer, reading, now=NOW)
    assert len(reports) == len(LISTS["nmc"].split(answer)) > 0
    assert all(report.name and report.ok for report in reports)
    (alone,) = lint_all(LISTS["nmc"].split(answer)[0].body, reading, now=NOW)
    assert alone.ok
    assert lint_all(b'{"data": {"page": {"list": []}}, "code": 0, "msg": "success"}', reading, now=NOW) == []


def test_of_an_earthquake_lint_says_how_strongly_it_is_felt_and_not_that_it_names_no_area() -> None:
    row = {
        "type": "cenc_eew", "ID": "1", "EventID": "202607150000.0001", "ReportNum": 1,
        "ReportTime": "2026-07-15 08:00:05", "OriginTime": "2026-07-15 08:00:00", "HypoCenter": "甘肃舟曲县",
        "Latitude": 33.8, "Longitude": 104.4, "Magunitude": 6.0, "Depth": 10, "MaxIntensity": 8.0,
    }  # fmt: skip
    (found,) = lint_all(
        json.dumps(row).encode(), Reading(format="wolfx"), now=NOW, county=load_county("zhouqu").county
    )
    assert found.cut is not None
    assert len(found.cut.village_keys) == 212
    assert not any("names no area" in line for line in (*found.cut.lines, *found.cut.problems))
