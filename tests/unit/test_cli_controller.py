"""Commands that talk to the controller, against a fake of its API over real HTTP on loopback."""

import io
import json
import os
import pty
import sys
import termios

import pytest

from controller.cli import ask, client, follow, say, words
from controller.cli.outcome import Code, Failure
from controller.cli.program import run
from support import fake_desk as fake
from support.fake_desk import FakeDesk

COMPOSED = ["--template", "rainstorm", "--colour", "orange", "--area", "大川镇"]
RELEASED = fake.done("released", alert="A1", broadcast="B1")


@pytest.fixture(autouse=True)
def english(monkeypatch):
    words.use("en")
    monkeypatch.setattr(follow, "_AGAIN_S", 0.0)
    for name in ("FENGHUO_URL", "FENGHUO_CONFIG", "FENGHUO_TOKEN", "FENGHUO_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    yield
    words.use("en")


@pytest.fixture
def desk(monkeypatch):
    with fake.beside(monkeypatch) as desk:
        desk.answers = {
            ("GET", "/v1/status"): (200, fake.status()),
            ("POST", "/v1/alerts/preview"): (200, fake.plan()),
            ("POST", "/v1/alerts"): (200, RELEASED),
            ("GET", "/v1/alerts"): (200, [fake.alert()]),
            ("GET", "/v1/alerts/A1"): (200, fake.alert()),
            ("POST", "/v1/alerts/A1/approve"): (200, RELEASED),
            ("POST", "/v1/alerts/A1/reject"): (200, fake.done("rejected", alert="A1")),
            ("POST", "/v1/alerts/A1/cancel"): (
                200,
                fake.done("cancelled", alert="A1", stopped=["B1"], all_clear=["B2"]),
            ),
            ("GET", "/v1/broadcasts/B1"): (200, fake.broadcast()),
            ("POST", "/v1/broadcasts/B1/stop"): (200, fake.done("stopped", broadcast="B1")),
            ("GET", f"/v1/clips/{'c' * 64}"): (200, b"ID3 sound"),
            ("GET", "/v1/terminals"): (200, [fake.terminal()]),
            ("GET", "/v1/terminals/t-1"): (200, fake.terminal_detail()),
            ("POST", "/v1/terminals"): (
                200,
                {"registered": 2, "new": ["t-1"], "moved": ["t-2"], "changed": []},
            ),
            ("POST", "/v1/terminals/codes"): (200, {"t-1": "ABCD-EFGH"}),
        }
        yield desk


@pytest.fixture
def somebody(monkeypatch):
    """Somebody at the terminal, who types what is given."""

    def types(line):
        monkeypatch.setattr(say, "at_terminal", lambda: True)
        monkeypatch.setattr(sys, "stdin", io.StringIO(line + "\n"))

    return types


# --- finding the controller, and not finding it ---------------------------------------------------


def test_a_unix_socket_is_spoken_to_as_well(tmp_path, monkeypatch, capsys):
    with FakeDesk(tmp_path / "api.sock") as desk:
        desk.answers["GET", "/v1/status"] = (200, fake.status())
        monkeypatch.setenv("FENGHUO_TOKEN", fake.TOKEN)
        assert run(["status", "--url", desk.url, "--json"]) == Code.DONE
    assert json.loads(capsys.readouterr().out)["county"] == "舟曲县"


def test_the_controller_is_found_by_the_configuration_whose_paths_are_relative_to_it(tmp_path, monkeypatch):
    file = tmp_path / "county.yaml"
    file.write_text("listen:\n  api: unix:run/api.sock\n")
    monkeypatch.setenv("FENGHUO_CONFIG", str(file))
    assert (
        str(client.find_address(None, None, {"FENGHUO_CONFIG": str(file)})) == f"unix:{tmp_path}/run/api.sock"
    )
    file.write_text('listen: {api: "127.0.0.1:8471"}\n')
    assert str(client.find_address(None, file, {"FENGHUO_URL": "unix:/other"})) == "http://127.0.0.1:8471"
    assert str(client.find_address(None, None, {})) == "unix:./state/api.sock"
    assert str(client.find_address("unix:/x", file, {})) == "unix:/x"


@pytest.mark.parametrize("body", ["", "listen: 5\n", "listen: {api: }\n", "{"])
def test_a_configuration_without_an_address_is_a_configuration_error(tmp_path, body):
    file = tmp_path / "county.yaml"
    file.write_text(body)
    with pytest.raises(Failure) as failure:
        client.find_address(None, file, {})
    assert failure.value.code is Code.CONFIG
    assert str(file) in str(failure.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.1.0.2:8471",
        "https://127.0.0.1",
        "ftp://localhost",
        "unix:",
        "x",
        "http://127.0.0.1:0x",
        "http://a@localhost",
    ],
)
def test_an_address_that_would_carry_the_token_away_is_refused_as_usage(url, capsys):
    assert run(["status", "--url", url]) == Code.USAGE
    assert url in capsys.readouterr().err


def test_a_controller_that_is_not_there_is_exit_4_with_what_to_do(tmp_path, capsys):
    assert run(["status", "--url", f"unix:{tmp_path}/none.sock"]) == Code.UNREACHABLE
    said = capsys.readouterr()
    assert said.out == ""
    assert "systemctl status fenghuo" in said.err


def test_something_else_at_the_address_is_exit_4(desk, capsys):
    desk.answers["GET", "/v1/status"] = (200, b"<html>")
    assert run(["status"]) == Code.UNREACHABLE
    assert "not a Fenghuo controller" in capsys.readouterr().err


@pytest.mark.parametrize(("token", "words_"), [("wrong", "does not know"), (None, "who you are")])
def test_an_unknown_or_missing_token_is_exit_4_with_words(desk, monkeypatch, tmp_path, capsys, token, words_):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FENGHUO_TOKEN")
    if token:
        monkeypatch.setenv("FENGHUO_TOKEN", token)
    assert run(["status"]) == Code.UNREACHABLE
    said = capsys.readouterr().err
    assert words_ in said
    assert "fenghuo operator new" in said


def test_a_token_file_must_be_private(tmp_path):
    file = tmp_path / "token"
    file.write_text("secret\n")
    file.chmod(0o600)
    assert client.find_token(file, {"FENGHUO_TOKEN": "other"}) == "secret"
    assert client.find_token(None, {"FENGHUO_TOKEN_FILE": str(file)}) == "secret"
    file.chmod(0o640)
    with pytest.raises(Failure, match="chmod 600") as failure:
        client.find_token(file, {})
    assert failure.value.code is Code.CONFIG
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("body", ["", "a\nb", "naïve"])
def test_a_token_file_that_holds_no_token_is_refused(tmp_path, body):
    file = tmp_path / "token"
    file.write_text(body)
    file.chmod(0o600)
    with pytest.raises(Failure, match="holds no token"):
        client.find_token(file, {})


@pytest.mark.parametrize(
    ("status", "detail", "code", "shown"),
    [
        (404, "no alert A1", Code.FAILED, "no alert A1"),
        (403, "not a sandbox", Code.REFUSED, "not a sandbox"),
        (422, "大川: not known", Code.REFUSED, "大川: not known"),
        (
            422,
            [{"loc": ["body", "compose", "areas"], "msg": "too short"}],
            Code.REFUSED,
            "compose.areas: too short",
        ),
        (503, "no voice", Code.FAILED, "no voice"),
        (500, "x", Code.FAILED, "journalctl"),
    ],
)
def test_every_answer_has_its_exit_code_and_its_reason(desk, capsys, status, detail, code, shown):
    desk.answers["GET", "/v1/alerts/A1"] = (status, {"detail": detail})
    assert run(["alert", "show", "A1"]) == code
    assert shown in capsys.readouterr().err


def test_errors_are_json_on_stderr_when_data_is(desk, capsys):
    desk.answers["GET", "/v1/alerts/A1"] = (404, {"detail": "no alert A1"})
    assert run(["alert", "show", "A1", "--json"]) == Code.FAILED
    said = capsys.readouterr()
    assert said.out == ""
    assert json.loads(said.err) == {"error": "failed", "exit": 1, "messages": ["no alert A1"], "status": 404}


def test_no_answer_to_a_deed_says_that_it_may_have_been_done(desk, monkeypatch, capsys):
    monkeypatch.setattr(FakeDesk, "_send", lambda *_: None)
    monkeypatch.setattr(client, "SLOW_S", 0.2)
    assert run(["test", "send", *COMPOSED, "--yes"]) == Code.UNREACHABLE
    assert "may have been done" in capsys.readouterr().err


# --- sending -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verb", "kind"), [("alert", "actual"), ("exercise", "exercise"), ("test", "test")])
def test_the_kind_is_the_verb_and_the_ids_are_the_data(desk, capsys, verb, kind):
    assert (
        run([verb, "send", *COMPOSED, "--text", "雨大", "--valid", "90", "--codes", "mca", "--yes"])
        == Code.DONE
    )
    assert capsys.readouterr().out == "A1 B1\n"
    (path, body) = next((path, body) for method, path, _, body in desk.asked if method == "POST")
    assert path == "/v1/alerts"
    assert body == {
        "kind": kind,
        "compose": {
            "hazard": "rainstorm",
            "colour": "orange",
            "areas": ["大川镇"],
            "description": "雨大",
            "instruction": "",
            "valid_minutes": 90,
            "codes": "mca",
        },
    }


def test_a_file_is_sent_as_its_bytes(desk, tmp_path):
    import base64

    file = tmp_path / "warning.xml"
    file.write_bytes(b"\xff<alert/>")
    assert run(["exercise", "send", str(file), "--yes"]) == Code.DONE
    document = next(body for method, _, _, body in desk.asked if method == "POST")["document"]
    assert document["name"] == "warning.xml"
    assert base64.b64decode(document["body"]) == b"\xff<alert/>"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "either a FILE or --template"),
        (["--template", "rainstorm"], "--area"),
        (["--template", "rainstrom", "--area", "x"], "did you mean rainstorm?"),
        (["{file}", "--template", "rainstorm"], "either a FILE or --template"),
        (["{file}", "--area", "x", "--valid", "5"], "--area, --valid"),
        (["{file}", "--colour", "green"], "green"),
        (["/no/such/file"], "/no/such/file"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error_and_nothing_is_asked(
    desk, tmp_path, capsys, arguments, reason
):
    file = tmp_path / "warning.xml"
    file.write_text("<alert/>")
    given = [a.format(file=file) for a in arguments]
    assert run(["alert", "send", *given, "--yes"]) == Code.USAGE
    assert reason in capsys.readouterr().err
    assert desk.asked == []


def test_a_file_too_large_to_be_a_warning_is_refused_without_being_sent(desk, tmp_path, capsys):
    file = tmp_path / "huge.xml"
    with file.open("wb") as out:
        out.truncate(50_000_000)
    assert run(["alert", "send", str(file), "--yes"]) == Code.REFUSED
    assert desk.asked == []


def test_refused_is_exit_6_with_the_reasons(desk, capsys):
    desk.answers["POST", "/v1/alerts"] = (200, fake.done("refused", reasons=["nobody would hear it"]))
    assert run(["alert", "send", *COMPOSED, "--yes", "--json"]) == Code.REFUSED
    said = json.loads(capsys.readouterr().err)
    assert said["reasons"] == ["nobody would hear it"]
    assert said["error"] == "refused"


DEEDS = [
    ["alert", "send", *COMPOSED],
    ["exercise", "send", *COMPOSED],
    ["test", "send", *COMPOSED],
    ["alert", "approve", "A1"],
    ["alert", "cancel", "A1"],
    ["broadcast", "stop", "B1"],
]


@pytest.mark.parametrize("deed", DEEDS, ids=" ".join)
def test_without_a_terminal_and_without_yes_nothing_is_done_and_it_says_so(desk, capsys, deed):
    assert run(deed) == Code.USAGE
    assert "--yes" in capsys.readouterr().err
    assert desk.asked == []


@pytest.mark.parametrize("deed", DEEDS, ids=" ".join)
@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_a_dry_run_shows_and_does_nothing(desk, capsys, deed, extra):
    assert run([*deed, "--dry-run", *extra]) == Code.DONE
    said = capsys.readouterr().out
    assert "暴雨橙色预警" in said
    if extra:
        json.loads(said)
    assert desk.deeds() == []


@pytest.mark.parametrize("deed", DEEDS, ids=" ".join)
@pytest.mark.parametrize("typed", ["y", "yes", "", "ACTUALLY"])
def test_a_mere_yes_confirms_nothing(desk, somebody, capsys, deed, typed):
    somebody(typed)
    assert run(deed) == Code.FAILED
    assert desk.deeds() == []
    assert "nothing was done" in capsys.readouterr().err


@pytest.mark.parametrize(("verb", "kind"), [("alert", "actual"), ("exercise", "exercise"), ("test", "test")])
@pytest.mark.parametrize("typed_for", ["actual", "exercise", "test"])
@pytest.mark.parametrize("language", [0, 1])
def test_only_the_word_of_its_own_kind_confirms(desk, somebody, capsys, verb, kind, typed_for, language):
    desk.answers["POST", "/v1/alerts/preview"] = (200, fake.plan(kind))
    somebody(ask.WORDS[typed_for][language])
    code = run([verb, "send", *COMPOSED])
    assert (code, desk.deeds()) == ((Code.DONE, ["/v1/alerts"]) if typed_for == kind else (Code.FAILED, []))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_question_shows_places_counts_and_text_before_it_asks(desk, somebody, capsys, language):
    words.use(language)
    somebody("TEST")
    assert run(["test", "send", *COMPOSED]) == Code.DONE
    said = capsys.readouterr().err
    shown = ["大川镇、城关镇", "28", "27", "现在播报暴雨预警。", "大川镇石门村"]
    asked = said.index({"en": "type TEST:", "zh": "“测试”："}[language])
    assert all(said.index(word) < asked for word in shown)
    assert {"en": "not real", "zh": "不是真的"}[language] in said
    assert {"en": "REAL", "zh": "真实"}[language] not in said


def test_what_was_confirmed_is_what_is_said_its_minute_included(desk, somebody):
    somebody("TEST")
    assert run(["test", "send", *COMPOSED]) == Code.DONE
    shown = desk.answers["POST", "/v1/alerts/preview"][1]
    sent = next(body for method, path, _, body in desk.asked if (method, path) == ("POST", "/v1/alerts"))
    assert sent["compose"]["issued"] == shown["issued"]


def test_what_was_typed_before_the_question_does_not_answer_it(desk, monkeypatch):
    """A pseudo-terminal, because only a terminal keeps what was typed too early."""
    ours, its = pty.openpty()
    try:
        attributes = termios.tcgetattr(its)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(its, termios.TCSANOW, attributes)
        monkeypatch.setattr(say, "at_terminal", lambda: True)
        asked = ask.w

        def answers_too_late(key, *given, **values):
            if key == "type_word":  # the question is on its way, and the queue is empty again
                os.write(ours, b"nothing\n")
            return asked(key, *given, **values)

        monkeypatch.setattr(ask, "w", answers_too_late)
        with os.fdopen(os.dup(its)) as keyboard:
            monkeypatch.setattr(sys, "stdin", keyboard)
            os.write(ours, b"TEST\n")
            assert run(["test", "send", *COMPOSED]) == Code.FAILED
        assert desk.deeds() == []
    finally:
        os.close(ours)
        os.close(its)


def test_a_county_of_reasons_does_not_push_the_question_off_the_screen(desk, capsys):
    many = {**fake.plan(), "why": [f"village {n}" for n in range(200)]}
    desk.answers["POST", "/v1/alerts/preview"] = (200, many)
    assert run(["test", "preview", *COMPOSED]) == Code.DONE
    said = capsys.readouterr().out
    assert "… 195 more" in said
    assert "village 5" not in said


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ((200, {"ready": True, "problems": []}), False),
        ((503, {"ready": False, "problems": ["the broker is not there"]}), True),
        ((500, {}), False),
    ],
)
def test_what_is_released_and_cannot_go_out_yet_says_so(desk, capsys, answer, shown):
    desk.answers["GET", "/readyz"] = answer
    assert run(["test", "send", *COMPOSED, "--yes"]) == Code.DONE
    assert ("the broker is not there" in capsys.readouterr().err) is shown


def test_the_three_kinds_and_the_siren_look_different():
    assert set(ask.STYLES) == {"actual", "exercise", "test", "siren"}
    assert len(set(ask.STYLES.values())) == 4
    banners = {kind: ask.WORDS[kind] for kind in ask.WORDS}
    assert len(set(banners.values())) == 4


def test_what_would_be_refused_is_not_even_asked_about(desk, somebody, capsys):
    desk.answers["POST", "/v1/alerts/preview"] = (200, fake.plan("test", "nobody would hear it"))
    somebody("TEST")
    assert run(["test", "send", *COMPOSED]) == Code.REFUSED
    assert desk.deeds() == []
    assert "nobody would hear it" in capsys.readouterr().err


def test_a_preview_writes_the_sound_and_sends_nothing(desk, tmp_path, capsys):
    out = tmp_path / "preview.mp3"
    assert run(["alert", "preview", *COMPOSED, "--out", str(out)]) == Code.DONE
    assert out.read_bytes() == b"ID3 sound"
    assert desk.deeds() == []
    assert "现在播报暴雨预警。" in capsys.readouterr().out


def test_a_preview_of_what_would_be_refused_is_exit_6_and_has_no_sound(desk, tmp_path, capsys):
    desk.answers["POST", "/v1/alerts/preview"] = (200, fake.plan("actual", "it expired"))
    out = tmp_path / "preview.mp3"
    assert run(["alert", "preview", *COMPOSED, "--out", str(out), "--json"]) == Code.REFUSED
    assert json.loads(capsys.readouterr().out)["problems"] == ["it expired"]
    assert not out.exists()


# --- following -----------------------------------------------------------------------------------

WATCH = "/v1/broadcasts/B1/watch"


@pytest.mark.parametrize(("end", "code"), [(fake.all_played, Code.DONE), (fake.broadcast, Code.PARTLY)])
def test_wait_follows_to_the_end_and_the_exit_code_says_how_it_ended(desk, capsys, end, code):
    desk.streams[WATCH] = [
        [("summary", fake.broadcast(played=0, state="sending", waiting=3)), ("summary", end())]
    ]
    assert run(["test", "send", *COMPOSED, "--yes", "--wait"]) == code
    said = capsys.readouterr()
    assert said.out == "A1 B1\n"
    assert {Code.DONE: "All 3 terminals played", Code.PARTLY: "1 of 3 terminals"}[code] in said.err


def test_wait_with_json_is_one_object_with_the_summary(desk, capsys):
    desk.streams[WATCH] = [[("summary", fake.all_played())]]
    assert run(["alert", "approve", "A1", "--yes", "--wait", "--json"]) == Code.DONE
    said = json.loads(capsys.readouterr().out)
    assert (said["broadcast"], said["summary"]["total"]["played"]) == ("B1", 3)


@pytest.mark.parametrize("cut", [("summary", None), ("held", [{"id": "A9", "headline": "x"}])])
def test_a_stream_that_breaks_off_or_ends_early_is_taken_up_again(desk, capsys, cut):
    begun = fake.broadcast(played=0, state="sending", waiting=3)
    desk.streams[WATCH] = [[("summary", begun), cut], [("summary", fake.all_played())]]
    assert run(["broadcast", "watch", "B1"]) == Code.DONE
    assert [path for _, path, _, _ in desk.asked] == [WATCH, WATCH]


def test_watching_what_is_not_there_is_not_tried_again(desk, capsys):
    assert run(["broadcast", "watch", "B1"]) == Code.FAILED
    assert len(desk.asked) == 1


def test_a_controller_that_never_comes_back_ends_the_watch_with_exit_4(desk, monkeypatch, capsys):
    monkeypatch.setattr(follow, "_TRIES", 3)
    desk.streams[WATCH] = [
        [("summary", fake.broadcast(played=0, state="sending", waiting=3)), ("summary", None)]
    ]
    assert run(["broadcast", "watch", "B1"]) == Code.UNREACHABLE
    assert "fenghuo broadcast show B1" in capsys.readouterr().err
    assert len(desk.asked) == 3


def test_watch_with_json_is_one_event_a_line(desk, capsys):
    held = [{"id": "A9", "headline": "x"}]
    desk.streams[WATCH] = [
        [("summary", fake.broadcast(waiting=1)), ("held", held), ("summary", fake.broadcast())]
    ]
    assert run(["broadcast", "watch", "B1", "--json"]) == Code.PARTLY
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["summary", "held", "summary"]
    assert lines[1]["data"] == held


@pytest.mark.parametrize("held", [True, False])
def test_the_bell_rings_only_while_something_waits_for_an_operator(desk, capsys, monkeypatch, held):
    from rich.console import Console

    rung = []
    monkeypatch.setattr(Console, "bell", lambda _: rung.append(True))
    events = [("held", [{"id": "A9", "headline": "泥石流红色预警"}])] if held else []
    desk.streams[WATCH] = [[("summary", fake.broadcast(waiting=1)), *events, ("summary", fake.broadcast())]]
    run(["broadcast", "watch", "B1"])
    assert bool(rung) is held
    assert ("A9 泥石流红色预警" in capsys.readouterr().err) is held


@pytest.mark.parametrize(
    ("language", "shown"),
    [
        ("en", ["no report since 12:00:00, never seen", "first", "0.25 s", "Not played: 1", "TEST"]),
        ("zh", ["自 12:00:00 起无回报，从未上线", "最早", "0.25 s", "未播完：1 台", "测试"]),
    ],
)
def test_the_summary_says_who_did_not_play_and_why_in_either_language(desk, capsys, language, shown):
    words.use(language)
    assert run(["broadcast", "show", "B1"]) == Code.DONE
    said = capsys.readouterr().out
    assert [word for word in shown if word not in said] == []
    assert "城关镇沙川村" in said


def test_alert_watch_rings_and_names_what_waits(desk, monkeypatch, capsys):
    waiting = {
        "id": "A9",
        "headline": "泥石流红色预警",
        "reason": "the table says hold",
        "waiting_seconds": 65,
    }
    desk.streams["/v1/events"] = [[("held", [waiting])]]

    def no_second_look(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", no_second_look)
    assert run(["alert", "watch"]) == 130
    said = capsys.readouterr().err
    assert "\a" in said
    assert "A9 has waited 1:05: 泥石流红色预警" in said


# --- deciding ------------------------------------------------------------------------------------


def test_approve_reject_cancel_and_stop_say_what_came_of_it(desk, capsys):
    assert run(["alert", "approve", "A1", "--yes"]) == Code.DONE
    assert capsys.readouterr().out == "A1 B1\n"
    assert run(["alert", "reject", "A1", "--reason", "误报"]) == Code.DONE
    assert desk.asked[-1][3] == {"reason": "误报"}
    capsys.readouterr()
    assert run(["alert", "cancel", "A1", "--yes"]) == Code.DONE
    said = capsys.readouterr()
    assert said.out == "stopped B1\nall_clear B2\n"
    assert "all-clear airs" in said.err
    assert run(["broadcast", "stop", "B1", "--yes"]) == Code.DONE
    assert desk.deeds() == [
        "/v1/alerts/A1/approve",
        "/v1/alerts/A1/reject",
        "/v1/alerts/A1/cancel",
        "/v1/broadcasts/B1/stop",
    ]


def test_cancelling_what_sounded_nowhere_says_that_no_all_clear_airs(desk, capsys):
    desk.answers["POST", "/v1/alerts/A1/cancel"] = (200, fake.done("cancelled", alert="A1"))
    assert run(["alert", "cancel", "A1", "--reason", "x", "--yes"]) == Code.DONE
    assert "no all-clear" in capsys.readouterr().err


def test_reject_needs_a_reason(desk):
    assert run(["alert", "reject", "A1"]) == Code.USAGE
    assert desk.asked == []


@pytest.mark.parametrize("verb", ["approve", "cancel"])
def test_what_is_decided_already_is_refused_with_who_decided(desk, capsys, verb):
    desk.answers["GET", "/v1/alerts/A1"] = (200, fake.alert("rejected"))
    assert run(["alert", verb, "A1", "--dry-run"]) == Code.REFUSED
    assert "李四" in capsys.readouterr().err


@pytest.mark.parametrize("deed", DEEDS[3:], ids=" ".join)
def test_a_refusal_by_the_desk_is_exit_6(desk, deed, capsys):
    path = {
        "approve": "/v1/alerts/A1/approve",
        "cancel": "/v1/alerts/A1/cancel",
        "stop": "/v1/broadcasts/B1/stop",
    }
    desk.answers["POST", path[deed[1]]] = (200, fake.done("refused", reasons=["somebody else decided"]))
    assert run([*deed, "--yes"]) == Code.REFUSED
    assert "somebody else decided" in capsys.readouterr().err


# --- looking -------------------------------------------------------------------------------------

LOOKS = [
    (["status"], "舟曲县", {"en": "you are", "zh": "你是"}),
    (["alert", "list", "--state", "held"], "A1", {"en": "held (2:05 min)", "zh": "待审 （已等 2:05）"}),
    (["alert", "show", "A1"], "the table says hold", {"en": "valid until", "zh": "有效至"}),
    (["broadcast", "show", "B1"], "B1", {"en": "accepted", "zh": "已接收"}),
    (["broadcast", "list"], "B1", {"en": "sending", "zh": "播发中"}),
    (["terminal", "list", "--village", "城关镇"], "t-1", {"en": "enrolled", "zh": "已入网"}),
    (["terminal", "show", "t-1"], ": 80 %", {"en": "health", "zh": "状况"}),
    (["audit", "--subject", "A1"], "李四", {"en": "alert.approve", "zh": "核准"}),
]


@pytest.fixture
def looked_at(desk):
    desk.answers["GET", "/v1/broadcasts"] = (
        200,
        [
            {
                "id": "B1",
                "alert": "A1",
                "kind": "test",
                "part": "lead",
                "state": "sending",
                "created": fake.AT.isoformat(),
                "terminals": 3,
            }
        ],
    )
    desk.answers["GET", "/v1/audit"] = (
        200,
        [
            {
                "id": 1,
                "at": fake.AT.isoformat(),
                "who": "李四",
                "what": "alert.approve",
                "subject": "A1",
                "detail": "",
            }
        ],
    )
    return desk


@pytest.mark.parametrize(
    ("command", "datum", "labels"), LOOKS, ids=lambda v: " ".join(v) if isinstance(v, list) else ""
)
def test_every_look_speaks_both_languages_and_json(looked_at, capsys, command, datum, labels):
    for language in ("en", "zh"):
        words.use(language)
        assert run(command) == Code.DONE
        said = capsys.readouterr()
        assert datum in said.out
        assert labels[language] in said.out
        assert said.err == ""
    assert run([*command, "--json"]) == Code.DONE
    told = json.loads(capsys.readouterr().out)
    (_, path, _, _) = looked_at.asked[-1]
    assert told == looked_at.answers["GET", path][1]


def test_filters_reach_the_controller(looked_at):
    run(["alert", "list", "--state", "held", "--limit", "7"])
    run(["terminal", "list", "--village", "城关镇"])
    run(["audit", "--subject", "A1"])
    queries = [query for _, _, query, _ in looked_at.asked]
    assert queries == [
        {"state": ["held"], "limit": ["7"]},
        {"village": ["城关镇"]},
        {"subject": ["A1"], "limit": ["100"]},
    ]


def test_times_are_beijings(looked_at, capsys):
    run(["broadcast", "list"])
    assert "2026-11-22 12:00:00" in capsys.readouterr().out


def test_text_from_outside_never_steers_the_terminal(desk, capsys):
    evil = {**fake.alert(), "plan": None, "headline": "\x1b[2J\x1b]0;owned\x07暴雨\u202e[red]"}
    desk.answers["GET", "/v1/alerts/A1"] = (200, evil)
    desk.answers["GET", "/v1/alerts"] = (200, [evil])
    for command in (["alert", "show", "A1"], ["alert", "list"]):
        run(command)
        said = capsys.readouterr().out
        assert not {"\x1b", "\x07", "\u202e"} & set(said)
        assert "[red]" in said


# --- terminals -----------------------------------------------------------------------------------

HEADER = "id,name,village,lat,lon,languages\n"


def test_terminals_are_imported_whole(desk, tmp_path, capsys):
    file = tmp_path / "terminals.csv"
    file.write_text("\ufeff" + HEADER + "t-1,东喇叭,沙川村,33.7,104.3,zh;bo\n\nt-2,,沙川村,,,\n")
    assert run(["terminal", "import", str(file), "--json"]) == Code.DONE
    said = capsys.readouterr()
    assert json.loads(said.out)["registered"] == 2
    assert "1 new, 1 moved, 0 changed" in said.err
    assert "Moved: t-2" in said.err
    first, second = desk.asked[-1][3]["terminals"]
    assert first == {
        "id": "t-1",
        "name": "东喇叭",
        "village": "沙川村",
        "lat": 33.7,
        "lon": 104.3,
        "languages": ["zh", "bo"],
        "speaker": "horn",
        "codecs": ["mp3"],
    }
    assert (second["lat"], second["languages"]) == (None, ["zh"])


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        (
            HEADER + "t 1,,v,,,\nt-2,,,,,\nt-2,,v,104.3,33.7,\n",
            [":2: id 't 1'", ":3: village", ":4: id t-2", ":4: has lat 104.3 and lon 33.7: they are swapped"],
        ),
        (HEADER + "t-1,,v,33.7,,\n", [":2: has only one of lat and lon"]),
        (HEADER + "t-1,,v,nan,nan,\n", [":2: 'nan' is no number of degrees"]),
        (HEADER + "t-1,,v\n", [":2: 3 cells instead of 6"]),
        (HEADER + '"t-1\n', [":2: "]),
        (HEADER, [":1: no terminal"]),
        ("", [":1: the first line must name the columns"]),
        ("id,name\n", [":1: there is no column for village"]),
        ("id,village,colour\n", [":1: the column 'colour' is not known"]),
        ("id,village,编号\n", [":1: the column '编号' is not known, or is there twice"]),
    ],
)
def test_every_wrong_line_is_named_and_nothing_is_sent(desk, tmp_path, capsys, body, problems):
    file = tmp_path / "terminals.csv"
    file.write_text(body)
    assert run(["terminal", "import", str(file)]) == Code.REFUSED
    said = capsys.readouterr().err
    assert [p for p in problems if f"{file}{p}" not in said] == []
    assert desk.asked == []


@pytest.mark.parametrize("encoding", ["gbk", "utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("between", [",", "\t", ";"])
def test_a_register_out_of_a_spreadsheet_is_read_as_it_is(desk, tmp_path, encoding, between):
    rows = [
        ["设备编号", "设备名称", "所属乡镇", "所在村", "经度", "纬度（°）", "语言", ""],
        ["ｔ-1", "东喇叭", "城关镇", "沙川村", "104°21′46″", "33.7", "bo、zh", ""],
        [""] * 8,
    ]
    file = tmp_path / "terminals.csv"
    file.write_bytes("\r\n".join(between.join(row) for row in rows).encode(encoding))
    assert run(["terminal", "import", str(file)]) == Code.DONE
    (row,) = desk.asked[-1][3]["terminals"]
    assert (row["id"], row["village"], row["languages"]) == ("t-1", "城关镇/沙川村", ["bo", "zh"])
    assert (row["lat"], round(row["lon"], 4)) == (33.7, 104.3628)


def test_a_dry_run_of_an_import_says_so_to_the_controller_and_to_the_operator(desk, tmp_path, capsys):
    file = tmp_path / "terminals.csv"
    file.write_text(HEADER + "t-1,,沙川村,,,\n")
    assert run(["terminal", "import", str(file), "--dry-run"]) == Code.DONE
    assert desk.asked[-1][3]["dry_run"] is True
    assert "Nothing was done" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "detail", "shown"),
    [
        (422, "terminals.1: 沙坝村 is not known", ":4: 沙坝村 is not known"),
        (422, [{"loc": ["body", "terminals", 1, "languages"], "msg": "too many"}], ":4: languages: too many"),
        (422, "terminals.0: only one\nterminals.1: another", ":2: only one"),
        (422, "terminals.0: only one\nterminals.1: another", ":4: another"),
        (422, "the disk is full", ": the disk is full"),
    ],
)
def test_what_the_controller_refuses_is_shown_at_its_line(desk, tmp_path, capsys, status, detail, shown):
    file = tmp_path / "terminals.csv"
    file.write_text(HEADER + "t-1,,沙川村,,,\n\nt-2,,沙坝村,,,\n")
    desk.answers["POST", "/v1/terminals"] = (status, {"detail": detail})
    assert run(["terminal", "import", str(file)]) == Code.REFUSED
    assert f"{file}{shown}" in capsys.readouterr().err


def test_what_is_exported_is_the_controllers_own_bytes(desk, tmp_path, capsys):
    body = "\ufeffid,name\r\nt-1,东喇叭\r\n"
    desk.answers["GET", "/v1/terminals/export"] = (200, body.encode())
    assert run(["terminal", "export", "--out", str(tmp_path / "r.csv")]) == Code.DONE
    assert (tmp_path / "r.csv").read_bytes() == body.encode()
    assert run(["terminal", "export"]) == Code.DONE
    assert capsys.readouterr().out.splitlines() == ["id,name", "t-1,东喇叭"]


def test_a_terminal_is_retired_only_by_its_own_id(desk, monkeypatch, capsys):
    desk.answers["POST", "/v1/terminals/t-1/retire"] = (200, {"id": "t-1"})
    command = ["terminal", "retire", "t-1", "--reason", "烧毁"]
    assert run(command) == Code.USAGE
    monkeypatch.setattr(say, "at_terminal", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert run(command) == Code.FAILED
    assert ("POST", "/v1/terminals/t-1/retire") not in [(m, p) for m, p, _, _ in desk.asked]
    monkeypatch.setattr("sys.stdin", io.StringIO("t-1\n"))
    assert run(command) == Code.DONE
    assert desk.asked[-1][3] == {"reason": "烧毁"}
    assert "never addressed again" in capsys.readouterr().err


def test_a_replacement_prints_the_code_of_the_new_board(desk, capsys):
    desk.answers["POST", "/v1/terminals/t-1/replace"] = (200, {"t-9": "ABCD-EFGH"})
    assert run(["terminal", "replace", "t-1", "t-9", "--reason", "雷击", "--yes"]) == Code.DONE
    assert desk.asked[-1][3] == {"by": "t-9", "reason": "雷击"}
    assert capsys.readouterr().out == "t-9 ABCD-EFGH\n"


@pytest.mark.parametrize(
    ("lang", "wanted"),
    [("en", ("DEAD", "its amplifier is broken")), ("zh", ("不能响", "功放故障"))],
)
def test_the_readiness_board_names_the_worst_in_the_operators_language(desk, capsys, lang, wanted):
    desk.answers["GET", "/v1/readiness"] = (200, fake.readiness())
    words.use(lang)
    assert run(["terminal", "readiness"]) == Code.DONE
    said = capsys.readouterr().out
    assert [word for word in (*wanted, "城关镇", "t-1") if word not in said] == []


@pytest.mark.parametrize(
    ("lang", "wanted"),
    [
        ("en", ("every Monday 10:00", "MISSED", "the controller was not running")),
        ("zh", ("每周一 10:00", "错过")),
    ],
)
def test_tests_are_listed_with_their_last_results_and_their_next_time(desk, capsys, lang, wanted):
    desk.answers["GET", "/v1/tests"] = (200, fake.tests())
    words.use(lang)
    assert run(["terminal", "tests"]) == Code.DONE
    said = capsys.readouterr().out
    assert [word for word in wanted if word not in said] == []
    desk.answers["GET", "/v1/tests"] = (200, [])
    words.use(lang)
    assert run(["terminal", "tests"]) == Code.DONE
    assert "county.yaml" in capsys.readouterr().err


def test_enrolment_codes_are_data(desk, capsys):
    assert run(["terminal", "enrol", "t-1"]) == Code.DONE
    said = capsys.readouterr()
    assert said.out == "t-1 ABCD-EFGH\n"
    assert "24 hours" in said.err


# --- the wire ------------------------------------------------------------------------------------


def test_events_are_parsed_as_the_standard_says():
    lines = [
        ": hello",
        "",
        "event: summary",
        'data: {"a":',
        "data: 1}",
        "",
        "data:5",
        "",
        "event: cut",
        "data: 1",
    ]
    assert list(client.parse_events(lines)) == [("summary", {"a": 1}), ("message", 5)]


def test_hundreds_of_villages_without_a_loudspeaker_leave_the_question_on_the_screen(capsys):
    words.use("zh")
    plan = fake.plan() | {"silent_villages": [f"大川镇{n}村" for n in range(200)]}
    say.show(ask.plan_shown(plan))
    asked = capsys.readouterr().out
    assert "大川镇10村" in asked
    assert "大川镇11村" not in asked
    assert "还有 189 个村（共 200 个）" in asked
    say.show(ask.plan_shown(plan, whole=True))
    assert "大川镇199村" in capsys.readouterr().out
