"""The pictures of a broadcast, as the CLI and the demo show them."""

import io

import pytest
from rich.console import Console

from controller.cli import call, say, view
from controller.cli.words import w
from support import fake_desk as fake


def drawn(renderable):
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(renderable)
    return console.file.getvalue()


def missing(state, reason="", township="城关镇"):
    row = fake.broadcast()["not_reached"][0]
    return {**row, "state": state, "reason": reason, "township": township}


@pytest.mark.parametrize(
    ("state", "reason", "mark"),
    [
        ("accepted", "", "░"),
        ("ready", "", "▒"),
        ("playing", "", "▓"),
        ("interrupted", "", "▓"),
        ("failed", "fetch", "×"),
        ("refused", "bad-signature", "×"),
        ("cancelled", "stopped", "■"),
        ("expired", "expired", "×"),
        ("expired", "unreached", "·"),
        ("sent", "", "·"),
        ("pending", "", "·"),
    ],
)
def test_a_townships_bar_shows_each_terminal_once_in_the_state_it_is_in(state, reason, mark):
    summary = fake.broadcast(played=2)
    summary["not_reached"] = [missing(state, reason)]
    line = next(x for x in drawn(view.render_live(summary, "en")).splitlines() if x.startswith("城关镇"))
    assert (line.count("█"), line.count(mark)) == (20, 10)
    assert line.rstrip().endswith("2/3")


def test_one_failed_terminal_among_thousands_is_still_seen():
    summary = fake.broadcast()
    row = {**summary["total"], "targeted": 5000, "played": 4999, "name": "城关镇", "key": "w01"}
    summary |= {"townships": [row], "total": row, "not_reached": [missing("failed", "fetch")]}
    line = next(x for x in drawn(view.render_live(summary, "en")).splitlines() if x.startswith("城关镇"))
    assert (line.count("█"), line.count("×")) == (29, 1)


def test_a_long_list_of_the_missing_is_cut_and_says_where_the_rest_is():
    summary = fake.broadcast()
    summary["not_reached"] = [{**missing("sent"), "terminal": f"t-{n}"} for n in range(view.MOST_ROWS + 5)]
    said = drawn(view.render_summary(summary, "en"))
    assert "and 5 more: fenghuo broadcast show B1 --json" in said


@pytest.mark.parametrize(("lang", "shown"), [("en", "stopped by 李四"), ("zh", "由 李四 停止")])
def test_a_stopped_broadcast_says_by_whom(lang, shown):
    assert shown in drawn(view.render_summary(fake.broadcast(state="stopped"), lang))


def test_nothing_from_outside_is_read_as_markup_or_steers():
    summary = {**fake.broadcast(), "headline": "[red]\x1b[2J暴雨"}
    said = drawn(view.render_summary(summary, "zh"))
    assert "[red]" in said
    assert "\x1b" not in said


def test_a_live_picture_rings_shows_what_waits_and_leaves_no_trace():
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=60, color_system=None)
    with view.Watch(console, "en") as watch:
        watch.event("summary", fake.broadcast(played=0, state="sending", waiting=3))
        watch.event("held", [{"id": "A9", "headline": "泥石流红色预警"}])
        watch.event("held", [{"id": "A9", "headline": "泥石流红色预警"}])
    said = console.file.getvalue()
    assert said.count("\x07") == 1  # not with every event
    assert "WAITING FOR YOU: A9 泥石流红色预警" in said
    assert "城关镇" in said


def test_without_a_terminal_a_line_is_said_only_when_the_counts_change(monkeypatch):
    monkeypatch.setattr(view, "LINE_EVERY_S", 0.0)
    console = Console(file=io.StringIO(), width=120)
    with view.Watch(console, "en") as watch:
        for played in (0, 0, 1, 1, 2):
            watch.event("summary", fake.broadcast(played=played, state="sending", waiting=1))
    lines = console.file.getvalue().splitlines()
    assert ["played 0" in lines[0], "played 1" in lines[1], "played 2" in lines[2]] == [True] * 3
    assert len(lines) == 3


@pytest.mark.parametrize(("lang", "shown"), [("en", "being voiced until now"), ("zh", "正在合成语音")])
def test_while_a_message_is_voiced_the_picture_says_how_long_that_has_taken(lang, shown):
    voicing = {**fake.broadcast(played=0, state="voicing", waiting=3), "voiced": None, "done": None}
    assert shown in drawn(view.render_live(voicing, lang))
    assert shown not in drawn(view.render_live(fake.broadcast(), lang))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_while_a_message_is_voiced_nobody_is_called_missing(lang):
    silent = {"key": "v1", "village": "立节村", "township": "立节镇", "targeted": 1, "words": ["1 × pending"]}
    going = {**fake.broadcast(played=0, state="sending", waiting=3), "mute": [silent]}
    title = w("v_not_reached", lang, count=len(going["not_reached"]))
    said = drawn(view.render_summary(going, lang))
    assert "立节村" in said
    assert title in said
    said = drawn(view.render_summary({**going, "state": "voicing", "voiced": None, "done": None}, lang))
    assert "立节村" not in said
    assert title not in said


@pytest.mark.parametrize(
    ("lang", "shown"),
    [
        ("en", "refused: it does not know the signing key (unknown-key); no report, never seen"),
        ("zh", "拒收：不认识的签名密钥（unknown-key）；无回报，从未上线"),
    ],
)
def test_why_a_village_heard_nothing_is_told_in_words(lang, shown):
    silent = {
        "village": "杰迪村",
        "township": "立节镇",
        "targeted": 2,
        "words": ["refused unknown-key", "no report, never seen"],
    }
    said = " ".join(drawn(view.render_summary({**fake.broadcast(), "mute": [silent]}, lang)).split())
    assert shown in said


@pytest.mark.parametrize("width", [80, 120])
def test_an_id_and_a_time_of_a_table_are_never_broken_and_nothing_is_cut(monkeypatch, capsys, width):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    monkeypatch.setattr(say, "console", lambda **_: console)
    why = "没有任何现成声音：请录音；在此之前用普通话播" * 3
    row = {"id": "s-939b57cd2f948b9a", "at": "2026-11-23 07:48:45", "count": "208/212", "why": why}
    call.table([row], {"编号": "id", "时间": "at", "已存": "count", "原因": "why"}, as_json=False)
    said = capsys.readouterr().out
    assert all(row[name] in said for name in ("id", "at", "count"))
    told = "".join(line[-(width - 50) :].strip() for line in said.splitlines()[1:])
    assert told.endswith("用普通话播")
    assert said.count("录") == 3


def test_a_table_that_is_too_narrow_for_its_ids_wraps_them_and_cuts_nothing(monkeypatch, capsys):
    console = Console(file=io.StringIO(), width=30, color_system=None)
    monkeypatch.setattr(say, "console", lambda **_: console)
    row = {"id": "s-939b57cd2f948b9a", "at": "2026-11-23 07:48:45", "why": "hash-mismatch"}
    call.table([row], {"id": "id", "time": "at", "why": "why"}, as_json=False)
    said = capsys.readouterr().out
    lines = said.splitlines()[1:]
    for name, begin, end in (("id", 0, 9), ("at", 11, 19), ("why", 21, 30)):
        assert "".join(line[begin:end].strip() for line in lines) == row[name].replace(" ", "")
    assert max(map(len, lines)) <= 30


@pytest.mark.parametrize(
    ("generic", "said"), [(False, "text: Leave the river."), (True, "text, NOT SAID: Leave the river.")]
)
def test_a_generic_clip_is_told_and_its_text_is_not_shown_as_if_it_had_been_said(generic, said):
    shown = drawn(
        view.render_summary({**fake.broadcast(), "text": "Leave the river.", "generic": generic}, "en")
    )
    assert said in shown.splitlines()
    assert ("generic sentence: it says that there is a warning, not the text" in shown) is generic
