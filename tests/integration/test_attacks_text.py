"""Words of strangers (a feed, a terminal, a topic) on the operator's screen, in logs, sheets and maps: they
are shown, and steer nothing."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from controller.cli import ask, say, view
from controller.cli.service import OneLine
from controller.complaints import Complaints
from controller.siting import _of_itself
from controller.summary import summarise
from support.county import County, a_county, cap
from terminals.model import Terminal
from terminals.wire import Fact

ESC, CSI, BELL, BACK = "\x1b[2J\x1b]0;owned\x07", "\x9b2J", "\x07", "\x08\x08\x08"
REVERSED = "\u202egnitset\u202c"
NASTY = f"暴雨{ESC}{CSI}{BACK}{REVERSED}[bold red]x[/]\r\n2026 INFO all is well</script><img src=x>"
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def steers(text: str) -> list[str]:
    return STEERING.findall(text)


def drawn(shown: object) -> str:
    out = io.StringIO()
    Console(file=out, width=120, markup=False, highlight=False, force_terminal=True, color_system=None).print(
        shown
    )
    return out.getvalue()


async def told(county: County) -> tuple[dict[str, object], str]:
    """What a feed's nasty warning becomes: the summary of its broadcast and the headline."""
    # XML has no C0 controls: what can come through are C1, bidi marks, markup and quotes.
    words = NASTY.translate(dict.fromkeys(range(32))).replace("<", "&lt;")
    given = await county.give(cap(description=words, identifier="../../etc/passwd'\"=cmd"))
    assert given.broadcast is not None, given
    await county.ended(given.broadcast)
    run = county.dispatcher.runs[given.broadcast]
    summary = summarise(
        run.row,
        NASTY,
        run.facts,
        county.register.terminals,
        county.register.county,
        waiting=0,
        last_seen=county.dispatcher.online.get,
    )
    import msgspec

    return msgspec.to_builtins(summary), given.broadcast


async def test_a_feeds_words_are_seen_and_steer_neither_screen_nor_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_county(tmp_path) as county:
        summary, broadcast = await told(county)
        state = await county.store.broadcast(broadcast)
        # Nothing of its identifier became a name of ours.
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,40}", state.broadcast.id)
        assert not (tmp_path / "etc").exists()
    say.data_json(summary)
    out = capsys.readouterr().out
    assert steers(out) == []
    assert json.loads(out) == json.loads(json.dumps(summary))
    say.data_json({"headline": NASTY}, indent=None)
    out = capsys.readouterr().out
    assert steers(out) == []
    assert out.count("\n") == 1
    assert json.loads(out)["headline"] == NASTY
    for lang in ("en", "zh"):
        shown = drawn(view.render_summary(_shown(NASTY), lang))
        assert steers(shown) == []
        assert "[bold red]" in shown
    say.data(NASTY)
    say.talk(NASTY)
    both = capsys.readouterr()
    assert steers(both.out + both.err) == []


def _shown(headline: str) -> dict[str, object]:
    from support import fake_desk

    return {**fake_desk.broadcast(), "headline": headline}


def test_a_plan_that_is_to_be_confirmed_shows_a_strangers_words_and_obeys_none() -> None:
    assert steers(drawn(Text(say.clean(NASTY)))) == []
    assert steers(json.dumps(say.clean({NASTY: [NASTY, {"x": (NASTY,)}]}), ensure_ascii=False)) == []
    assert callable(ask.plan_shown)


def test_no_line_of_the_log_can_be_made_by_somebody_else() -> None:
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "report below %s: %s", (NASTY, NASTY), None)
    line = OneLine().format(record)
    assert "\n" not in line
    assert steers(line) == []
    assert "all is well" in line  # shown, but inside of its own line


def test_a_flood_of_made_up_names_is_few_lines_and_little_memory(caplog: pytest.LogCaptureFixture) -> None:
    alarms: list[str] = []
    complaints = Complaints(alarms.append)
    with caplog.at_level(logging.WARNING):
        for n in range(50_000):
            complaints.add(f"made-up-{n}{NASTY}", "unsigned", n // 50)
    assert len(caplog.records) <= 20
    assert len(complaints._counts) <= 10_000
    assert alarms == []


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1", "a\x1b[2Jb", "a\nb"])
def test_a_loudspeakers_name_is_no_formula_and_no_control(name: str) -> None:
    terminal = Terminal("zq-0001", name, "w01v01")
    assert [line for line in _of_itself(terminal, False) if "formula" in line]


def test_no_loudspeaker_is_called_like_the_controller() -> None:
    for name in ("controller", "Controller"):
        lines = list(_of_itself(Terminal(name, "西城", "w01v01"), False))
        assert any("controller's name" in line for line in lines)
    assert not any("controller's name" in line for line in _of_itself(Terminal("c1", "西", "w01v01"), False))


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "+", "#", "a#", "", "a" * 41, "a\n", "a b", "%2e", "喇叭", "@controller"]
)
def test_a_terminals_id_can_be_no_topic_no_path_and_no_other_line(name: str) -> None:
    import msgspec
    from pydantic import ValidationError

    from controller.web.models import TerminalIn
    from terminals.wire import Probe, decode_upward

    with pytest.raises(ValidationError):
        TerminalIn.model_validate({"id": name, "name": "x", "village": "w01v01"})
    from terminals.wire import WireError

    with pytest.raises(WireError):
        decode_upward(msgspec.json.encode(Probe(name, "n" * 32)))


def test_what_a_terminal_says_of_itself_is_short_and_only_shown() -> None:
    from terminals.wire import Report, WireError, decode_upward, encode

    report = Report("t-1", "b1", "boot", 1, (Fact(1, "failed", 1, "amplifier", NASTY),))
    detail = decode_upward(encode(report)).facts[0].detail  # type: ignore[union-attr]
    assert steers(say.clean(detail)) == []
    for long in (Fact(1, "x" * 17, 1), Fact(1, "failed", 1, "r" * 33), Fact(1, "failed", 1, "", "d" * 201)):
        with pytest.raises(WireError):
            decode_upward(encode(Report("t-1", "b1", "boot", 1, (long,))))


def test_a_sheet_of_words_is_text_in_a_browser_and_no_formula_in_a_spreadsheet() -> None:
    from controller.cli.templates import _csv, _html

    row = [
        "for",
        "=cmd|' /C calc'!A0",
        "{place}",
        '"><script>alert(1)</script>',
        "</textarea><b>",
        "",
        '"><i>',
    ]
    page = _html("bo", [row]).decode()
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    cells = list(csv.reader(io.StringIO(_csv([row]).decode("utf-8-sig"))))[1]
    assert all(not cell or cell[0] not in "=+-@\t\r" for cell in cells)


def test_the_words_on_a_map_are_no_markup() -> None:
    from controller import map as maps

    assert "<" not in maps.escape(maps._printable(NASTY))
    assert steers(maps._printable(NASTY)) == []
