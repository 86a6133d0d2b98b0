"""A warning without a usable code or shape: held, with what its text seems to name and how to send it."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alerts.model import Alert
from controller.clock import moment, wall_ms
from controller.compose import compose_alert
from controller.desk import Refused, Released
from controller.events import decode_plan
from controller.store.records import AlertState, Outcome
from controller.web.models import Compose
from support.county import County, a_county, cap
from terminals.broadcast import Kind

TEXT = "预计未来3小时，大川、立节等2个镇和宕昌县沙湾镇将有50毫米以上降水，除憨班镇外其余乡镇有小雨。"


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path) as made:
        yield made


def from_command(line: str, county: County) -> Alert:
    """What that line of the shell would send."""
    words = iter(shlex.split(line))
    assert [next(words) for _ in range(3)] == ["fenghuo", "alert", "send"]
    given: dict[str, list[str]] = {}
    for word in words:
        option, _, value = word.partition("=")
        given.setdefault(option, []).append(value or next(words))
    assert set(given) <= {"--template", "--colour", "--area", "--text", "--action"}
    said = Compose(
        hazard=given["--template"][0],
        colour=given["--colour"][0],  # type: ignore[arg-type]
        areas=given["--area"],
        description=given["--text"][0],
        instruction=given["--action"][0],
    )
    here = county.register.county
    return compose_alert(said, Kind.ACTUAL, here, county.config.issuer, moment(wall_ms()))


async def test_names_alone_never_sound_and_the_offered_line_sends_exactly_them(county: County) -> None:
    taken = await county.give(cap(codes=(), description=TEXT))
    assert taken.outcome is Outcome.HELD
    assert not county.heard_anything
    [row] = await county.store.alerts(state=AlertState.HELD)
    assert "the text seems to name 大川镇、立节镇" in row.reason
    assert "without 憨班镇" in row.reason
    assert "宕昌县 is another county" in row.reason

    refused = await county.desk.approve(row.id, "王主任")
    assert isinstance(refused, Refused)  # nobody is in it: the operator sends it, with the area named

    [problem] = [text for text in decode_plan(row).problems if "fenghuo alert send" in text]
    line = problem[problem.index("fenghuo alert send") :]
    sent = await county.desk.send(from_command(line, county), Kind.ACTUAL, "王主任")
    assert isinstance(sent, Released)
    assert await county.ended(sent.broadcast) == county.in_township("大川镇", "立节镇")


async def test_a_usable_code_wins_over_the_names_in_the_text(county: County) -> None:
    taken = await county.give(cap(codes=("623023105000",), description=TEXT))
    assert taken.outcome is Outcome.RELEASED
    assert taken.broadcast is not None
    assert await county.ended(taken.broadcast) == county.in_township("曲告纳镇")


async def test_a_warning_for_another_county_is_not_searched_for_names(county: County) -> None:
    taken = await county.give(cap(codes=("621223100000",), description=TEXT))
    assert taken.outcome is Outcome.IGNORED
    assert "seems to name" not in taken.reason
