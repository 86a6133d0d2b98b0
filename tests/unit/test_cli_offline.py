"""Commands that need no controller: lint, config, keys, operator, doctor; and how `serve` begins and ends."""

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import logging
import os
import signal
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from config.schema import Tcp
from controller.app import NotYet, _listen
from controller.cli import doctor, service, words
from controller.cli.outcome import Code, Failure
from controller.cli.program import run
from controller.store import StoreError, WrongSchema
from support.fake_desk import FakeDesk
from terminals.seal import KeyRole

ROOT = Path(__file__).parents[2]
CAP = ROOT / "tests" / "fixtures" / "cap" / "rainstorm-orange.cap.xml"
CONFIG = """\
county: zhouqu
mode: drill
state_dir: ./state
issuer: {name: 舟曲县应急管理局}
broker: {embedded: {port: 0}}
listen: {api: "unix:./api.sock", terminals: "127.0.0.1:0"}
operators:
"""
OPERATOR = "  - {name: 王主任, token_sha256: " + "a" * 64 + "}\n"


@pytest.fixture(autouse=True)
def english(monkeypatch):
    words.use("en")
    for name in ("FENGHUO_URL", "FENGHUO_CONFIG", "FENGHUO_TOKEN", "FENGHUO_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    yield
    words.use("en")


@pytest.fixture
def county(tmp_path):
    file = tmp_path / "county.yaml"
    file.write_text(CONFIG + OPERATOR)
    return file


def test_the_configuration_that_the_environment_names_is_used_where_a_command_must_have_one(
    county, monkeypatch, capsys
):
    monkeypatch.setenv("FENGHUO_CONFIG", str(county))
    assert run(["feed", "test", "bureau"]) != Code.DONE
    said = capsys.readouterr().err
    assert "bureau" in said
    assert "--config" not in said


def test_a_wrong_choice_is_told_without_the_librarys_own_words(capsys):
    for lang in ("en", "zh"):
        assert run(["--lang", lang, "county", "import", "x", "--datum", "bd09"]) == Code.USAGE
        said = capsys.readouterr().err
        assert "bd09" in said
        assert "gcj02" in said
        assert "Value error" not in said


# --- alert lint ----------------------------------------------------------------------------------


def test_lint_takes_in_a_good_file_and_shows_its_fields_and_who_would_hear_it(capsys):
    assert run(["alert", "lint", str(CAP), "--county", "zhouqu", "--codes", "mca"]) == Code.DONE
    said = capsys.readouterr()
    assert "rainstorm" in said.out
    assert "舟曲县" in said.out
    assert "would be taken in" in said.err
    assert run(["alert", "lint", str(CAP), "--json"]) == Code.DONE
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["area"]) == (True, None)
    assert told["fields"]["info[0] hazard"].startswith("rainstorm")


@pytest.mark.parametrize("body", [b"", b"<alert", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b"\x00" * 100])
def test_lint_refuses_with_exit_6_and_a_reason(tmp_path, capsys, body):
    file = tmp_path / "bad.xml"
    file.write_bytes(body)
    assert run(["alert", "lint", str(file)]) == Code.REFUSED
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) >= 2
    assert run(["alert", "lint", str(file), "--json"]) == Code.REFUSED
    assert json.loads(capsys.readouterr().err)["error"] == "refused"


def test_lint_says_that_a_test_never_sounds_and_that_damage_holds(tmp_path, capsys):
    file = tmp_path / "a.xml"
    file.write_text(
        CAP.read_text(encoding="utf-8").replace("<status>Actual", "<status>Test"), encoding="utf-8"
    )
    assert run(["alert", "lint", str(file)]) == Code.DONE
    assert "would never sound: status is Test" in capsys.readouterr().err
    text = CAP.read_text(encoding="utf-8").replace("</areaDesc>", "</areaDesc><circle>here</circle>")
    file.write_text(text, encoding="utf-8")
    assert run(["alert", "lint", str(file)]) == Code.DONE
    said = capsys.readouterr()
    assert "must be looked at: alert/info[0]/area[0]/circle[0]: " in said.out
    assert "would be taken in and held" in said.err
    assert run(["alert", "lint", str(file), "--json"]) == Code.DONE
    told = json.loads(capsys.readouterr().out)
    assert (told["sounds"], len(told["damage"])) == (True, 1)


def test_lint_of_an_index_shows_every_entry_and_refuses_with_the_bad_one(tmp_path, capsys):
    alert = CAP.read_text(encoding="utf-8").split("?>", 1)[1]
    file = tmp_path / "index.xml"
    file.write_text(f"<feed><entry><id>one</id>{alert}</entry></feed>", encoding="utf-8")
    assert run(["alert", "lint", str(file)]) == Code.DONE
    assert "=== one" in capsys.readouterr().out
    assert run(["alert", "lint", str(file), "--json"]) == Code.DONE
    assert json.loads(capsys.readouterr().out)["entries"][0]["name"] == "one"
    file.write_text(f"<feed><entry>{alert}</entry><entry><link>/x</link></entry></feed>", encoding="utf-8")
    assert run(["alert", "lint", str(file)]) == Code.REFUSED
    assert "/x: is a link" in capsys.readouterr().err


def test_lint_demands_a_signature_where_a_certificate_is_given(tmp_path, capsys):
    pem = tmp_path / "c.pem"
    pem.write_text("no certificate")
    assert run(["alert", "lint", str(CAP), "--certificate", str(pem)]) == Code.USAGE
    assert "cannot be read" in capsys.readouterr().err
    pem.write_bytes(_certificate())
    assert run(["alert", "lint", str(CAP), "--certificate", str(pem)]) == Code.REFUSED
    assert "alert/Signature: is missing" in capsys.readouterr().err


def _certificate():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "县气象局")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    now = datetime.now(UTC)
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_lint_of_a_format_that_is_none_says_which_there_are(capsys):
    assert run(["alert", "lint", str(CAP), "--format", "nmcc"]) == Code.USAGE
    assert "there are" in capsys.readouterr().err


def test_lint_with_an_unknown_county_is_a_configuration_error(capsys):
    assert run(["alert", "lint", str(CAP), "--county", "zhouqv"]) == Code.CONFIG
    assert "did you mean zhouqu" in capsys.readouterr().err


# --- config --------------------------------------------------------------------------------------


def test_config_check_says_what_it_found(county, capsys):
    assert run(["config", "check", str(county)]) == Code.DONE
    assert "212 villages" in capsys.readouterr().out
    assert run(["config", "check", str(county), "--json"]) == Code.DONE
    assert json.loads(capsys.readouterr().out)["townships"] == 19


def test_every_problem_of_a_configuration_is_a_line_of_its_own_and_exit_3(tmp_path, capsys):
    file = tmp_path / "county.yaml"
    file.write_text(CONFIG.replace("drill", "dril").replace("issuer", "isuer") + OPERATOR)
    assert run(["config", "check", str(file)]) == Code.CONFIG
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{file}:2: mode: " in said.err
    assert f"{file}:4: isuer: " in said.err
    assert run(["config", "check", str(file), "--json"]) == Code.CONFIG
    problems = json.loads(capsys.readouterr().err)["problems"]
    assert {"file", "line", "path", "reason"} == set(problems[0])


def test_config_check_elsewhere_leaves_this_machine_out_of_it(county, tmp_path):
    broker = "broker: {url: 'mqtt://127.0.0.1', username: c, password_file: none}"
    county.write_text(county.read_text().replace("broker: {embedded: {port: 0}}", broker))
    assert run(["config", "check", str(county)]) == Code.CONFIG
    assert run(["config", "check", str(county), "--elsewhere"]) == Code.DONE


def test_config_show_is_yaml_or_json_with_the_defaults(county, capsys):
    assert run(["config", "show", str(county)]) == Code.DONE
    shown = yaml.safe_load(capsys.readouterr().out)
    assert run(["config", "show", str(county), "--json"]) == Code.DONE
    assert json.loads(capsys.readouterr().out) == shown
    assert shown["voice"]["name"] == "zm_yunjian"


def test_config_schema_is_the_schema_that_is_shipped(capsys):
    assert run(["config", "schema"]) == Code.DONE
    assert json.loads(capsys.readouterr().out) == json.loads(
        (ROOT / "config" / "county.schema.json").read_text()
    )


# --- keys and operators --------------------------------------------------------------------------


def test_keys_are_made_once_privately_and_never_shown(county, capsys):
    assert run(["keys", "new", "--no-passphrase", "-c", str(county)]) == Code.DONE
    said = capsys.readouterr()
    folder = county.parent / "state" / "keys"
    files = {file.name: file for file in folder.iterdir()}
    assert set(files) == {*(f"{role}.key" for role in KeyRole), "county.secret", "public"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files.values()} == {0o600}
    for file in files.values():
        assert file.read_text().split()[-1] not in said.out + said.err
    before = {name: file.read_bytes() for name, file in files.items()}
    assert run(["keys", "new", "--no-passphrase", "-c", str(county)]) == Code.CONFIG
    assert "never overwritten" in capsys.readouterr().err
    assert {name: file.read_bytes() for name, file in files.items()} == before


def test_a_new_operators_line_is_data_and_the_token_is_not(tmp_path, capsys):
    assert run(["operator", "new", '王"主任']) == Code.DONE
    said = capsys.readouterr()
    (entry,) = yaml.safe_load("operators:\n" + said.out)["operators"]
    assert entry["name"] == '王"主任'
    token = said.err.split()[-1]
    assert hashlib.sha256(token.encode()).hexdigest() == entry["token_sha256"]
    assert token not in said.out
    assert len(token) >= 40


def test_a_new_token_goes_into_a_private_file_and_overwrites_none(tmp_path, capsys):
    file = tmp_path / "new" / "token"
    assert run(["operator", "new", "李四", "--token-file", str(file), "--json"]) == Code.DONE
    told = json.loads(capsys.readouterr().out)
    assert "token" not in told
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert hashlib.sha256(file.read_text().strip().encode()).hexdigest() == told["token_sha256"]
    before = file.read_text()
    assert run(["operator", "new", "李四", "--token-file", str(file)]) == Code.FAILED
    assert file.read_text() == before


def test_what_operator_new_prints_is_a_configuration(tmp_path, capsys):
    run(["operator", "new", "王主任"])
    file = tmp_path / "county.yaml"
    file.write_text(CONFIG + capsys.readouterr().out)
    assert run(["config", "check", str(file)]) == Code.DONE


@pytest.mark.parametrize("name", ["", "x" * 81, "a\nb"])
def test_a_name_that_the_log_could_not_show_is_refused(name, capsys):
    assert run(["operator", "new", name]) == Code.USAGE


# --- doctor --------------------------------------------------------------------------------------


@pytest.fixture
def healthy(monkeypatch):
    """A machine on which nothing slow is looked at and nothing is wrong."""
    monkeypatch.setattr(doctor, "_voice", lambda _: iter([doctor.Finding("voice", "right", "there")]))
    monkeypatch.setattr(doctor, "_run", lambda *_: "yes")
    monkeypatch.setattr(doctor, "_packages", lambda _: iter(()))


def test_doctor_is_content_with_a_healthy_machine(healthy, county, capsys):
    run(["keys", "new", "--no-passphrase", "-c", str(county)])
    with FakeDesk(county.parent / "api.sock") as desk:
        desk.answers["GET", "/readyz"] = (200, {"ready": True, "problems": []})
        capsys.readouterr()
        assert run(["doctor", "-c", str(county)]) == Code.DONE
        words.use("zh")
        assert run(["doctor", "-c", str(county), "--json"]) == Code.DONE
    english, _, chinese = capsys.readouterr().out.partition("[")
    assert "ready at unix:" in english
    told = json.loads("[" + chinese)
    assert {"config", "python", "mosquitto", "files", "clock", "disk", "keys", "controller"} <= {
        f["about"] for f in told
    }
    assert [f for f in told if f["state"] == "wrong"] == []


def test_doctor_names_what_is_wrong_and_the_command_that_mends_it(healthy, county, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_run", lambda *_: "no")
    monkeypatch.setattr(doctor, "FREE_BYTES", 2**80)
    assert run(["doctor", "-c", str(county)]) == Code.FAILED
    said = capsys.readouterr().out
    for mend in ("timedatectl set-ntp true", "fenghuo keys new", "make room", "systemctl start fenghuo"):
        assert mend in said


def test_doctor_tells_every_problem_of_the_configuration(healthy, tmp_path):
    file = tmp_path / "county.yaml"
    file.write_text(CONFIG.replace("drill", "dril").replace("issuer", "isuer") + OPERATOR)
    wrong = [f for f in doctor.examine(file, None) if f.about == "config"]
    assert len(wrong) >= 2
    assert {f.state for f in wrong} == {"wrong"}


def test_doctor_says_why_a_controller_is_not_ready(healthy):
    with FakeDesk() as desk:
        desk.answers["GET", "/readyz"] = (503, {"ready": False, "problems": ["the broker is not there"]})
        (found,) = [f for f in doctor.examine(None, desk.url) if f.about == "controller"]
    assert found.state == "wrong"
    assert "the broker is not there" in found.text


def test_no_controller_is_wrong_only_where_one_was_named(healthy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (unnamed,) = [f for f in doctor.examine(None, None) if f.about == "controller"]
    (named,) = [f for f in doctor.examine(None, f"unix:{tmp_path}/x") if f.about == "controller"]
    assert (unnamed.state, named.state) == ("odd", "wrong")


def test_another_distribution_that_owns_one_of_our_names_is_found(tmp_path):
    for name, top in (("config", "config"), ("harmless", "harmless"), ("fenghuo", "config")):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "RECORD").write_text(f"{top}/__init__.py,,\n{name}-1.0.dist-info/METADATA,,\n")
    found = list(doctor._packages(importlib.metadata.distributions(path=[str(tmp_path)])))
    assert [(f.state, f.mend) for f in found] == [("wrong", "pip uninstall config")]


def test_no_other_distribution_owns_our_names_here():
    assert [f.state for f in doctor._packages(importlib.metadata.distributions())] == ["right"]


def test_a_voice_with_a_missing_part_is_wrong_and_a_whole_one_is_right(monkeypatch):
    from tts.voice import VoiceError, VoiceFailure
    from tts.voices import weights

    def missing():
        raise VoiceError(VoiceFailure.MODEL, "no part 3")

    monkeypatch.setattr(weights, "load", lambda: b"")
    assert [f.state for f in doctor._voice(None)] == ["right"]
    monkeypatch.setattr(weights, "load", missing)
    (found,) = doctor._voice(None)
    assert (found.state, found.text) == ("wrong", "no part 3")


@pytest.mark.parametrize(
    ("url", "state"),
    [("mqtt://localhost:1883", "wrong"), ("mqtt://[::1]:1883", "wrong"), ("mqtts://10.1.0.2:8883", "odd")],
)
def test_doctor_misses_mosquitto_where_the_broker_is_this_machine_by_whatever_name(
    county, monkeypatch, url, state
):
    monkeypatch.setattr("simulators.broker.mosquitto_binary", lambda: None)
    broker = f"broker: {{url: '{url}'{', ca_file: ./ca.pem' if url.startswith('mqtts') else ''}}}"
    lines = county.read_text().splitlines()
    county.write_text("\n".join(broker if line.startswith("broker:") else line for line in lines))
    (county.parent / "ca.pem").write_text("x")
    found = next(f for f in doctor.examine(county, "unix:/none") if f.about == "mosquitto")
    assert found.state == state


# --- serve ---------------------------------------------------------------------------------------


@pytest.fixture
def own_logging():
    """`serve` sets up the logging of its process; here that is ours."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_serve_with_a_wrong_configuration_is_exit_3(own_logging, tmp_path, capsys):
    assert run(["serve", "-c", str(tmp_path / "none.yaml")]) == Code.CONFIG
    assert "there is no such file" in capsys.readouterr().err


def test_serve_without_keys_is_exit_3_with_the_command_that_makes_them(own_logging, county, capsys):
    assert run(["serve", "-c", str(county)]) == Code.CONFIG
    assert "fenghuo keys new" in capsys.readouterr().err


def test_serve_where_it_may_not_write_is_exit_3(own_logging, county, capsys):
    county.write_text(county.read_text().replace("./state", "./county.yaml/state"))
    assert run(["serve", "-c", str(county)]) == Code.CONFIG
    said = capsys.readouterr().err
    assert "county.yaml/state" in said
    assert "Traceback" not in said


def test_a_certificate_or_a_password_that_is_none_is_exit_3_with_its_file(own_logging, county, capsys):
    broker = "broker: {url: 'mqtts://127.0.0.1:1', ca_file: ./ca.pem, username: me, password_file: ./word}"
    lines = county.read_text().splitlines()
    county.write_text("\n".join(broker if line.startswith("broker:") else line for line in lines))
    ca, word = county.parent / "ca.pem", county.parent / "word"
    ca.write_text("no certificate")
    word.write_bytes(b"\xff\xfe")
    word.chmod(0o600)
    for wrong in (word, ca):
        assert run(["serve", "--sandbox", "-c", str(county)]) == Code.CONFIG
        assert str(wrong) in capsys.readouterr().err
        word.write_text("right")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreError("the disk is full"), Code.FAILED),
        (NotYet("no network of this machine has that address (yet)"), Code.FAILED),
        (OSError(errno.ENOSPC, "No space left on device", "lock"), Code.FAILED),
        (WrongSchema("a later version has used it"), Code.CONFIG),
        (PermissionError(errno.EACCES, "Permission denied", "lock"), Code.CONFIG),
    ],
)
def test_what_may_pass_at_the_start_is_tried_again_and_what_stays_wrong_is_not(
    own_logging, county, monkeypatch, capsys, error, code
):
    """systemd starts it again, but after exit code 3."""

    @contextlib.asynccontextmanager
    async def open_app(config, *, sandbox, pace):
        raise error
        yield

    monkeypatch.setattr("controller.app.open_app", open_app)
    assert run(["serve", "-c", str(county)]) == code
    assert (error.strerror if isinstance(error, OSError) else str(error)) in capsys.readouterr().err


def test_an_address_that_is_not_there_or_taken_is_tried_again():
    def listens_at(host, port):
        with _listen(Tcp(host=host, port=port)) as sock:
            return sock.getsockname()[1]

    with pytest.raises(NotYet, match=r"192\.0\.2\.1:8080: .*no network of this machine has that address"):
        listens_at("192.0.2.1", 8080)  # TEST-NET-1 (RFC 5737): nobody's
    with _listen(Tcp(host="127.0.0.1", port=0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NotYet, match="is another controller running"):
            listens_at("127.0.0.1", port)
    assert listens_at("127.0.0.1", port) == port


class _App:
    """In place of the controller: does `deed` when it runs."""

    @property
    def api_port(self):
        raise ValueError("the API listens at a socket's path here, which has no port")

    def __init__(self, deed):
        self.deed = deed

        class county:  # noqa: N801
            name = "舟曲县"

        self.county = county

    async def run(self):
        import asyncio

        self.deed()
        await asyncio.Event().wait()


def _instead(monkeypatch, deed):
    import controller.app

    closed = []

    @contextlib.asynccontextmanager
    async def open_app(config, *, sandbox, pace):
        try:
            yield _App(deed)
        finally:
            closed.append(sandbox)

    monkeypatch.setattr(controller.app, "open_app", open_app)
    return closed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_in_order_at_a_signal(own_logging, county, monkeypatch, number):
    closed = _instead(monkeypatch, lambda: os.kill(os.getpid(), number))
    assert run(["serve", "-c", str(county), "--sandbox"]) == Code.DONE
    assert closed == [True]
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_a_bug_of_the_running_service_travels_up(own_logging, county, monkeypatch):
    def bug():
        raise OSError("of our own making")

    closed = _instead(monkeypatch, bug)
    with pytest.raises(OSError, match="of our own making"):
        run(["serve", "-c", str(county)])
    assert closed == [False]


def test_a_log_record_is_one_line_in_beijing_time():
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "bad: %s", ("a\nforged line",), None)
    record.created, record.msecs = 1_795_320_000.5, 500
    line = service.OneLine().format(record)
    assert line == "2026-11-22 12:00:00.500+08:00 ERROR x: bad: a\\nforged line"


def test_load_config_keeps_every_problem(tmp_path):
    with pytest.raises(Failure) as failure:
        service.load_config(tmp_path / "none.yaml")
    assert failure.value.code is Code.CONFIG


# --- simulate fleet and demo ---------------------------------------------------------------------


def test_a_fleet_without_a_controller_is_exit_4(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FENGHUO_TOKEN", "t")
    assert run(["simulate", "fleet", "--terminals", "1", "--url", f"unix:{tmp_path}/x"]) == Code.UNREACHABLE


def test_a_fleet_without_a_token_is_exit_4(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(["simulate", "fleet", "--terminals", "1", "--url", f"unix:{tmp_path}/x"]) == Code.UNREACHABLE
    assert "fenghuo operator new" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--county", "zhouqv"], ["--scenario", "none"]])
def test_a_fleet_of_what_there_is_not_is_exit_3(tmp_path, monkeypatch, capsys, wrong):
    monkeypatch.setenv("FENGHUO_TOKEN", "t")
    given = ["simulate", "fleet", "--terminals", "1", "--url", f"unix:{tmp_path}/x", *wrong]
    assert run(given) == Code.CONFIG
    assert capsys.readouterr().err != ""


def test_the_demo_is_given_what_was_asked_and_its_code_is_ours(tmp_path, monkeypatch):
    import controller.demo

    asked = {}

    def run_demo(**given):
        asked.update(given)
        return 1

    monkeypatch.setattr(controller.demo, "run_demo", run_demo)
    words.use("zh")
    assert run(["demo", "--out", str(tmp_path), "--speed", "5", "--document", "national"]) == Code.FAILED
    assert asked == {"out": tmp_path, "speed": 5.0, "keep": False, "lang": "zh", "document": "national"}
