"""``broadcast stop --all`` and ``stage …`` against a fake of the API."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from controller.cli import words
from controller.cli.outcome import Code
from controller.cli.program import run
from support import fake_desk as fake
from support.fake_desk import FakeDesk

COVER = {
    "key": "", "name": "舟曲县", "terminals": 4, "whole": 3, "part": 1, "silent": 0,
    "problems": {"fetch": 1},
}  # fmt: skip
SET = {
    "id": "s-0123456789abcdef", "purpose": "floor", "clips": 36, "size": 900_000, "groups": ["all"],
    "created": "2026-11-22T12:00:00Z", "expires": "2027-11-22T12:00:00Z", "cover": COVER,
}  # fmt: skip
LINE = {
    "id": "B1", "alert": "A1", "kind": "actual", "part": "whole", "state": "sending",
    "created": "2026-11-22T12:00:00Z", "terminals": 4,
}  # fmt: skip


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDesk]:
    answers = {
        ("GET", "/v1/broadcasts"): (200, [LINE, {**LINE, "id": "B0", "state": "done"}]),
        ("POST", "/v1/broadcasts/stop-all"): (200, fake.done("stopped", stopped=["B1"])),
        ("GET", "/v1/sets"): (200, [SET]),
        ("GET", f"/v1/sets/{SET['id']}"): (200, {**SET, "names": ["floor/x"], "townships": [COVER]}),
        ("POST", "/v1/sets/offer"): (200, [SET]),
        ("POST", f"/v1/sets/{SET['id']}/drop"): (200, SET),
    }
    with fake.beside(monkeypatch, answers) as desk:
        yield desk


def test_stop_all_needs_a_hand_or_yes_and_stops_with_one_call(
    desk: FakeDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["broadcast", "stop", "--all"]) == Code.USAGE  # nobody is there to confirm
    assert not [a for a in desk.asked if a[0] == "POST"]
    assert run(["broadcast", "stop", "--all", "--yes", "--reason", "误报"]) == Code.DONE
    [asked] = [a for a in desk.asked if a[0] == "POST"]
    assert asked[3] == {"reason": "误报"}
    assert "B1" in capsys.readouterr().err


def test_stop_all_dry_run_shows_only_what_may_sound_and_stops_nothing(
    desk: FakeDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["broadcast", "stop", "--all", "--dry-run", "--json"]) == Code.DONE
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == ["B1"]
    assert not [a for a in desk.asked if a[0] == "POST"]


@pytest.mark.parametrize("arguments", [[], ["B1", "--all"]])
def test_stop_wants_a_broadcast_or_all_of_them_and_not_both(desk: FakeDesk, arguments: list[str]) -> None:
    assert run(["broadcast", "stop", *arguments, "--yes"]) == Code.USAGE
    assert not [a for a in desk.asked if a[0] == "POST"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_sets_are_listed_shown_offered_and_dropped_in_both_languages(
    desk: FakeDesk, capsys: pytest.CaptureFixture[str], language: str
) -> None:
    words.use(language)
    held = str(SET["id"])
    for arguments in (["list"], ["show", held], ["now"], ["drop", held]):
        assert run(["stage", *arguments]) == Code.DONE
    told = capsys.readouterr()
    assert "75 %" in told.out
    assert {"en": "could not be fetched (fetch) × 1", "zh": "（fetch） × 1"}[language] in told.out
    assert f"fenghuo stage show {held}" in told.err
    assert run(["stage", "show", held, "--json"]) == Code.DONE
    assert json.loads(capsys.readouterr().out)["cover"]["whole"] == 3
