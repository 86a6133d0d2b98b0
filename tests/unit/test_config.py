"""county.yaml: what is right loads, and what is wrong is named with its line, all at once."""

import json
import os
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from alerts.feed import Trust
from alerts.model import Colour
from config.jsonschema import json_schema, render
from config.load import MAX_BYTES, ConfigError, load, show
from config.schema import Action, CapIndexFeed, FolderFeed, Mode, Tcp, UnixSocket

REPO = Path(__file__).parents[2]
EXAMPLE = REPO / "deploy" / "county.example.yaml"
TOKEN = "a" * 64

GOOD = f"""\
county: zhouqu
mode: actual
state_dir: ./state
issuer: {{name: 舟曲县应急管理局}}
broker: {{embedded: {{}}}}
listen: {{api: "unix:./api.sock", terminals: "127.0.0.1:8470"}}
operators:
  - {{name: 王主任, token_sha256: {TOKEN}}}
feeds:
  - {{name: bureau, kind: folder, path: ./inbox, official: true, authenticated: folder-0700, codes: mca}}
  - {{name: swic, kind: cap_index, url: "https://swic.example/rss.xml", every: 5m}}
release:
  - {{feed: bureau, hazard: rainstorm, colour: [red, orange], action: auto}}
  - {{feed: "*", hazard: "*", action: hold}}
voice: {{approved_by: 王主任, approved_on: 2026-11-01}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "county.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def changed(old: str, new: str, base: str = GOOD) -> str:
    assert old in base, old
    return base.replace(old, new)


def problems(folder: Path, text: str | bytes, **how: Any) -> list[str]:
    """What is wrong, without the file's name in front."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load(path, **how)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


def test_a_whole_file_is_read_into_its_types(folder: Path) -> None:
    config = load(write(folder, GOOD))
    assert config.mode is Mode.ACTUAL
    assert config.state_dir == folder / "state"
    assert config.keys_dir == folder / "state" / "keys"
    assert config.broker.embedded is not None
    assert (config.broker.host, config.broker.port, config.broker.tls) == ("127.0.0.1", 1883, False)
    assert config.listen.api == UnixSocket(path=folder / "api.sock")
    assert config.listen.terminals == Tcp(host="127.0.0.1", port=8470)
    bureau, swic = config.feeds
    assert isinstance(bureau, FolderFeed)
    assert bureau.path == folder / "inbox"
    assert isinstance(swic, CapIndexFeed)
    assert swic.every == timedelta(minutes=5)
    assert config.release[0].action is Action.AUTO
    assert config.voice.approved_on == date(2026, 11, 1)
    assert config.issuer.level.rank == 4


def test_the_shipped_example_loads_and_is_commented() -> None:
    config = load(EXAMPLE, on_this_machine=False)
    assert config.county == "zhouqu"
    assert EXAMPLE.read_text().count("#") > 20


def test_what_is_shown_reads_back_to_the_same(folder: Path) -> None:
    config = load(write(folder, GOOD))
    shown = folder / "shown.yaml"
    shown.write_text(show(config))
    assert load(shown) == config
    assert "舟曲县应急管理局" in show(config)


def test_a_pack_folder_is_relative_to_the_file(folder: Path) -> None:
    (folder / "mypack").mkdir()
    (folder / "mypack" / "pack.toml").write_text("")
    config = load(write(folder, changed("county: zhouqu", "county: ./mypack")))
    assert config.county == str(folder / "mypack")


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(folder: Path) -> None:
    text = changed("mode: actual", "mode: actal").replace("every: 5m", "every: 5", 1)
    text = text.replace("hazard: rainstorm", "hazard: rainstrom").replace("state_dir", "state_dri")
    text = text.replace("county: zhouqu", "county: zhouqu\nhold_hook: []")
    assert [p.split(": ")[:2] for p in problems(folder, text)] == [
        ["1", "state_dir"],
        ["2", "hold_hook"],
        ["3", "mode"],
        ["4", "state_dri"],
        ["12", "feeds[1].every"],
        ["14", "release[0].hazard"],
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("county: zhouqu", "county: zhouqi", r"1: county: no county pack 'zhouqi' \(did you mean zhouqu\?\)"),
        (
            "mode: actual",
            "mode: actul",
            r"2: mode: must be actual or drill, not 'actul' \(did you mean actual",
        ),
        ("mode: actual\n", "", r"1: mode: is missing"),
        ("mode: actual", "mode: true", r"2: mode: must be"),
        ("mode: actual", "mode:", r"2: mode: has no value"),
        (
            "state_dir: ./state",
            "state_dri: ./state",
            r"3: state_dri: is not an option here \(did you mean state_dir",
        ),
        ("state_dir: ./state", "state_dir: 7", r"3: state_dir: must be a path"),
        ("{name: 舟曲县应急管理局}", "x", r"4: issuer: must be a block of options"),
        (
            "{name: 舟曲县应急管理局}",
            "{name: 12}",
            r"4: issuer\.name: must be text; put numbers .* in quotes",
        ),
        ("{name: 舟曲县应急管理局}", '{name: ""}', r"4: issuer\.name: must not be empty"),
        ("{embedded: {}}", "{}", r"5: broker: needs exactly one of url"),
        ("{embedded: {}}", '{embedded: {}, url: "mqtt://127.0.0.1"}', r"5: broker: needs exactly one of url"),
        ("{embedded: {}}", "{embedded: {}, username: x}", r"5: broker: embedded takes no username"),
        ("{embedded: {}}", "{embedded: {port: 70000}}", r"5: broker\.embedded\.port: must be less"),
        ("{embedded: {}}", '{embedded: {port: "1"}}', r"5: broker\.embedded\.port: must be a whole number"),
        (
            "{embedded: {}}",
            '{url: "mqtt://10.0.0.9"}',
            r"5: broker: 10\.0\.0\.9 is beyond .* mqtts:// .* ca_file",
        ),
        ("{embedded: {}}", '{url: "mqtts://10.0.0.9"}', r"5: broker: 10\.0\.0\.9 is beyond"),
        (
            "{embedded: {}}",
            '{url: "mqtt://localhost.evil.example"}',
            r"5: broker: localhost\.evil\.example is beyond",
        ),
        (
            "{embedded: {}}",
            '{url: "mqtt://127.0.0.1", username: x}',
            r"5: broker: username and password_file belong",
        ),
        (
            "{embedded: {}}",
            '{url: "mqtt://127.0.0.1", ca_file: x}',
            r"5: broker: ca_file is for an mqtts:// url",
        ),
        ("{embedded: {}}", '{url: "http://127.0.0.1"}', r"5: broker\.url: must be mqtt://"),
        ("{embedded: {}}", '{url: "mqtt://127.0.0.1:99999"}', r"5: broker\.url: is not a web address"),
        ("{embedded: {}}", '{url: "mqtt://127.0.0.1/x"}', r"5: broker\.url: .* nothing behind"),
        (
            "{embedded: {}}",
            '{url: "mqtt://me:hunter2@127.0.0.1"}',
            r"5: broker\.url: must hold no name and no pass",
        ),
        ("{embedded: {}}", "{embedded: {}, pasword: hunter2}", r"5: broker\.pasword: is not an option"),
        ("{embedded: {}}", "{password: hunter2}", r"5: broker\.password: a secret does not .* password_file"),
        ("unix:./api.sock", "0.0.0.0:8471", r"6: listen\.api: 0\.0\.0\.0 can be reached from outside"),
        ("unix:./api.sock", "unix:./" + "x" * 200, r"6: listen\.api: the socket's path has over 107 bytes"),
        ("unix:./api.sock", "8471", r'6: listen\.api: must be ADDRESS:PORT.*"unix:"'),
        (
            "127.0.0.1:8470",
            "0.0.0.0:8470",
            r"6: listen: terminals cannot fetch from 0\.0\.0\.0: give terminals_url",
        ),
        ("127.0.0.1:8470", "::1:8470", r"6: listen\.terminals: must be ADDRESS:PORT"),
        ("127.0.0.1:8470", "300.0.0.1:8470", r"6: listen\.terminals: 300\.0\.0\.1 is not an IP address"),
        ("127.0.0.1:8470", "127.0.0.1:84700", r"6: listen\.terminals: 84700 is not a port"),
        (TOKEN, "hunter2", r"8: operators\[0\]\.token_sha256: must be the SHA-256 of the operator's token"),
        (TOKEN, "A" * 64, r"8: operators\[0\]\.token_sha256: must be the SHA-256"),
        (
            "name: 王主任, token_sha256",
            "name: 王主任, token",
            r"8: operators\[0\]\.token: a secret .* token_sha256",
        ),
        (
            "kind: folder",
            "kind: foldr",
            r"10: feeds\[0\]\.kind: must be folder or cap_index .* inbox \(did you mean folder",
        ),
        ("kind: folder, ", "", r"10: feeds\[0\]\.kind: must be folder or cap_index or list or socket or"),
        (
            "path: ./inbox",
            "pth: ./inbox",
            r"10: feeds\[0\]\.pth: is not an option here \(did you mean path\?\)",
        ),
        ("official: true", "official: yes", r"10: feeds\[0\]\.official: must be true or false"),
        (
            "codes: mca",
            "codes: mac",
            r"10: feeds\[0\]\.codes: must be mca or nbs or unknown.*did you mean mca",
        ),
        (
            "release:",
            "  - {name: b, kind: folder, path: inbox}\nrelease:",
            r"12: feeds\[2\]\.path: is the same as on line 10",
        ),
        ("name: swic", "name: a b", r"11: feeds\[1\]\.name: must be letters, digits"),
        (
            "every: 5m",
            "every: 300",
            r'11: feeds\[1\]\.every: must be a duration with its unit, such as "60s"',
        ),
        ("every: 5m", "every: 1s", r"11: feeds\[1\]\.every: must be from 10s to 1h"),
        (
            "every: 5m",
            "authenticated: tls-pinned",
            r"11: feeds\[1\]: authenticated: tls-pinned needs .* ca_file",
        ),
        ("every: 5m", "authenticated: loopback", r"11: feeds\[1\]: .* swic\.example is another machine"),
        (
            "feed: bureau",
            "feed: buro",
            r"13: release\[0\]\.feed: there is no feed 'buro' \(did you mean bureau",
        ),
        (
            "[red, orange]",
            "[red, oragne]",
            r"13: release\[0\]\.colour\[1\]: must be .* did you mean orange|13: .*orange",
        ),
        ("[red, orange]", "red", r"13: release\[0\]\.colour: must be a list"),
        ("[red, orange]", "[]", r"13: release\[0\]\.colour: must not be empty"),
        ("2026-11-01", "1 Nov", r"15: voice\.approved_on: must be a date such as 2026-11-01"),
        (", approved_on: 2026-11-01", "", r"15: voice: approved_by and approved_on belong together"),
        (
            "voice: {approved_by: 王主任, approved_on: 2026-11-01}",
            "",
            r"1: voice\.approved_by: is missing: in actual",
        ),
        ("voice:", "hold_hook: [/bin/ring, '{alrt}']\nvoice:", r"15: hold_hook\[1\]: \{alrt\} is not known"),
        (
            "voice:",
            "broadcast: {repeats: {red: 10}}\nvoice:",
            r"15: broadcast\.repeats\.red: must be less than",
        ),
        (
            "voice:",
            "broadcast: {volume: {rde: 10}}\nvoice:",
            r"15: .*rde: is not an option here \(did you mean red",
        ),
        ("voice:", "mode: drill\nvoice:", r"15: mode: is given twice; the first is on line 2"),
        ("voice:", "x: &a 1\nvoice:", r"15: \(file\): anchors and aliases"),
        ("voice:", "x: *a\nvoice:", r"15: \(file\): (anchors and aliases|.*undefined alias)"),
        ("voice:", "x: !!python/name:os.system\nvoice:", r"15: \(file\): tags"),
        ("voice:", "\tx: 1\nvoice:", r"15: \(file\): a tab; YAML is indented with spaces"),
        ("voice:", "---\nvoice:", r"15: \(file\): a second document"),
        ("voice:", "x: [1\nvoice:", r"\d+: \(file\): not YAML"),
        ("voice:", "x: \x00\nvoice:", r"15: \(file\): not YAML: the character U\+0000"),
        ("voice:", "? [a, b]\n: 1\nvoice:", r"15: \(file\): a name of an option must be a word"),
        ("王主任, token", "'-----BEGIN PRIVATE KEY-----', token", r"8: operators\[0\]\.name: a private key"),
        ("voice:", "x: " + "[" * 40 + "]" * 40 + "\nvoice:", r"15: \(file\): is nested too deeply"),
    ],
)
def test_one_mistake_is_one_clear_line(folder: Path, old: str, new: str, expected: str) -> None:
    found = problems(folder, changed(old, new), on_this_machine=False)
    rest = [problem for problem in found if not re.match(expected, problem)]
    assert len(rest) == len(found) - 1, found
    # A misspelt option is also a missing one.
    assert all(problem.endswith(": is missing") for problem in rest), found
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "1: (file): is empty"),
        (b"- a\n", "1: (file): must be a list of options, such as `county: zhouqu`"),
        (b"county: zhouqu\nissuer: \xd6\xdb\n", "2: (file): is not UTF-8 here; save the file as UTF-8"),
        (b"#" * (MAX_BYTES + 1), "1: (file): is larger than 256 KiB; a county's decisions fit into a few"),
        (b"a: " + b"[" * 5000, "1: (file): is nested too deeply"),
    ],
)
def test_a_file_that_is_no_configuration_says_so(folder: Path, body: bytes, expected: str) -> None:
    assert problems(folder, body) == [expected]


def test_a_missing_file_and_a_folder_say_so(folder: Path) -> None:
    for path, reason in ((folder / "no.yaml", "there is no such file"), (folder, "cannot be read: Is a dir")):
        with pytest.raises(ConfigError, match=re.escape(f"{path}:1: (file): {reason}")):
            load(path)


def test_a_byte_order_mark_is_harmless(folder: Path) -> None:
    assert load(write(folder, b"\xef\xbb\xbf" + GOOD.encode())).county == "zhouqu"


@pytest.mark.parametrize("missing", ["official: true, ", "authenticated: folder-0700, "])
def test_auto_is_refused_for_a_feed_that_is_not_official_and_authenticated(
    folder: Path, missing: str
) -> None:
    lacks = missing.rstrip(", ")
    assert problems(folder, changed(missing, "")) == [
        "13: release[0].action: auto is only for official and authenticated feeds, and feed bureau (line 10) "
        f"lacks {lacks}"
    ]


def test_auto_for_every_feed_names_each_feed_that_may_not(folder: Path) -> None:
    found = problems(folder, changed('hazard: "*", action: hold', 'hazard: "*", action: auto'))
    assert len(found) == 1
    assert "feed swic (line 11) lacks official: true and authenticated: tls-pinned" in found[0]


def test_auto_is_accepted_for_pinned_tls_and_for_loopback(folder: Path) -> None:
    rule = '{feed: swic, hazard: "*", action: auto}'
    (folder / "ca.pem").write_text("x")
    for how in (
        'url: "https://swic.example/rss.xml", ca_file: ca.pem, official: true, authenticated: tls-pinned',
        'url: "http://127.0.0.1:8000/rss.xml", official: true, authenticated: loopback',
    ):
        text = changed('url: "https://swic.example/rss.xml"', how)
        config = load(write(folder, changed('{feed: "*", hazard: "*", action: hold}', rule, text)))
        assert config.release[1].matches("swic", "earthquake", None)


def test_two_feeds_of_one_name_are_refused_and_auto_must_hold_for_both(folder: Path) -> None:
    first, second = problems(folder, changed("name: swic", "name: bureau"))
    assert first == "11: feeds[1].name: is the same as on line 10"
    assert second.startswith("13: release[0].action: auto is only for")


def test_a_mistake_elsewhere_does_not_hide_a_dangerous_rule(folder: Path) -> None:
    text = changed("official: true, ", "").replace("mode: actual", "mode: actul")
    assert [p.split(":")[0] for p in problems(folder, text)] == ["2", "13"]


def test_the_first_rule_that_matches_is_found_by_feed_hazard_and_colour(folder: Path) -> None:
    auto, hold = load(write(folder, GOOD)).release
    assert auto.matches("bureau", "rainstorm", Colour.RED)
    assert not auto.matches("bureau", "rainstorm", Colour.YELLOW)
    assert not auto.matches("bureau", "rainstorm", None)
    assert not auto.matches("bureau", "gale", Colour.RED)
    assert not auto.matches("swic", "rainstorm", Colour.RED)
    assert hold.matches("swic", "unknown", None)


def test_drill_mode_needs_no_approved_voice(folder: Path) -> None:
    text = changed("mode: actual", "mode: drill").replace("voice:", "#")
    assert load(write(folder, text)).voice.approved_by is None


def test_a_private_feed_folder_must_be_private_on_this_machine(folder: Path) -> None:
    path = write(folder, GOOD)
    inbox = folder / "inbox"
    inbox.mkdir(mode=0o700)
    inbox.chmod(0o700)
    load(path)
    inbox.chmod(0o770)
    assert problems(folder, GOOD) == [
        f"10: feeds[0].path: {inbox} has mode 0770, so others may reach it; chmod 0700 {inbox}"
    ]
    load(path, on_this_machine=False)
    inbox.rmdir()
    inbox.write_text("")
    assert problems(folder, GOOD) == [f"10: feeds[0].path: {inbox} is not a folder"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_private_feed_folder_must_belong_to_the_owner_of_the_state(folder: Path) -> None:
    for name, owner in (("state", 1000), ("inbox", 1001)):
        (folder / name).mkdir(mode=0o700)
        os.chown(folder / name, owner, owner)
    found = problems(folder, GOOD)
    assert found == [
        f"10: feeds[0].path: {folder / 'inbox'} belongs to user 1001, and the service is user 1000 (chown)"
    ]
    os.chown(folder / "inbox", 1000, 1000)
    load(folder / "county.yaml")


def test_key_folder_and_password_file_must_be_private(folder: Path) -> None:
    text = changed("{embedded: {}}", '{url: "mqtt://127.0.0.1", username: controller, password_file: pw}')
    assert problems(folder, text) == [f"5: broker.password_file: there is no file {folder / 'pw'}"]
    (folder / "pw").write_text("hunter2")
    (folder / "pw").chmod(0o644)
    (folder / "state" / "keys").mkdir(parents=True)
    (folder / "state" / "keys").chmod(0o755)
    assert [p.split(", so")[0] for p in problems(folder, text)] == [
        f"1: keys_dir: {folder / 'state' / 'keys'} has mode 0755",
        f"5: broker.password_file: {folder / 'pw'} has mode 0644",
    ]
    (folder / "pw").chmod(0o600)
    (folder / "state" / "keys").chmod(0o700)
    config = load(write(folder, text))
    assert "hunter2" not in show(config)
    (folder / "pw").write_text("")
    assert problems(folder, text) == [f"5: broker.password_file: {folder / 'pw'} is empty"]


def test_a_path_that_leads_through_a_file_is_a_problem_not_a_crash(folder: Path) -> None:
    (folder / "file").write_text("")
    broker = '{url: "mqtt://127.0.0.1", username: controller, password_file: file/pw}'
    assert problems(folder, changed("{embedded: {}}", broker)) == [
        f"5: broker.password_file: {folder}/file/pw: Not a directory"
    ]
    assert problems(folder, changed("./state", "file/state")) == [
        f"3: state_dir: {folder}/file/state: Not a directory"
    ]


def test_the_hook_must_be_a_program_that_runs(folder: Path) -> None:
    text = changed("voice:", "hold_hook: [/no/such/ring, '{alert}']\nvoice:")
    assert problems(folder, text) == ["15: hold_hook[0]: /no/such/ring is not a program that can be run"]
    assert problems(folder, text.replace("/no/such/ring", "/bin")) == [
        "15: hold_hook[0]: /bin is not a program that can be run"
    ]
    assert load(write(folder, text.replace("/no/such/ring", "/bin/true"))).hold_hook == (
        "/bin/true",
        "{alert}",
    )


def test_terminals_are_told_where_to_fetch_from(folder: Path) -> None:
    config = load(write(folder, changed("127.0.0.1:8470", "[::1]:0")))
    assert config.listen.audio_base(9000) == "http://[::1]:9000"
    text = changed('"127.0.0.1:8470"', '"0.0.0.0:8470", terminals_url: "http://10.1.0.2:8470/"')
    assert load(write(folder, text)).listen.audio_base(8470) == "http://10.1.0.2:8470"


def test_an_outside_broker_with_tls_is_accepted(folder: Path) -> None:
    (folder / "ca.pem").write_text("x")
    text = changed("{embedded: {}}", '{url: "mqtts://broker.example", ca_file: ca.pem}')
    broker = load(write(folder, text)).broker
    assert (broker.host, broker.port, broker.tls) == ("broker.example", 8883, True)


def test_words_that_yaml_would_change_stay_words(folder: Path) -> None:
    for word in ("yes", "off", "0123", "1_000", "1:30", "0x1f", "1e3"):
        config = load(write(folder, changed("name: 王主任", f"name: {word}")))
        assert config.operators[0].name == word


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_no_text_whatever_makes_it_fail_otherwise(tmp_path_factory: Any, body: str | bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.yaml"
    path.write_bytes(body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError):
        load(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(yaml.safe_load(GOOD))), VALUES)
def test_no_value_of_any_option_makes_it_fail_otherwise(
    tmp_path_factory: Any, option: str, value: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "value.yaml"
    path.write_text(
        yaml.safe_dump({**yaml.safe_load(GOOD), option: value}, allow_unicode=True), encoding="utf-8"
    )
    try:
        load(path, on_this_machine=False)
    except ConfigError as error:
        found = error.problems
    else:
        return
    assert found
    assert all(problem.line >= 1 and problem.reason for problem in found)


# -- the JSON Schema


def schema_accepts(text: str) -> bool:
    document = json.loads(json.dumps(yaml.load(text, Loader=yaml.BaseLoader)))
    return bool(jsonschema.Draft202012Validator(json_schema()).is_valid(_typed(document)))


def _typed(value: Any) -> Any:
    """As an editor's YAML 1.2 parser sees it: numbers, truth values, and dates as text."""
    if isinstance(value, dict):
        return {k: _typed(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_typed(v) for v in value]
    if value in ("true", "false"):
        return value == "true"
    if re.fullmatch(r"\d{1,3}", value):
        return int(value)
    return float(value) if re.fullmatch(r"\d\.\d+", value) else value


def test_every_module_that_is_said_to_read_an_option_is_there() -> None:
    source = (REPO / "config" / "schema.py").read_text(encoding="utf-8")
    said = {
        module
        for clause in re.findall(r"[Rr]ead\s+by\s+(`[^;:]*?)(?:\.\s|\.\"|;|$)", source)
        for module in re.findall(r"`((?:[a-z]+\.)+[a-z_]+)`", clause)
    }
    assert len(said) > 20
    homes = {m: (REPO / m.replace(".", "/")) for m in said}
    assert [m for m, at in homes.items() if not (at.is_dir() or at.with_suffix(".py").is_file())] == []


def test_a_night_that_is_wrong_says_nothing_of_the_tests_by_the_usual_night(folder: Path) -> None:
    text = changed(
        "voice:",
        'fatigue: {night_from: "25:00"}\ntests: [{name: late, day: 1, at: "23:00", sound: audible}]\nvoice:',
    )
    assert [line.partition(" ")[0] for line in problems(folder, text)] == ["15:"]
    assert "night_from" in problems(folder, text)[0]


def test_the_committed_schema_is_up_to_date() -> None:
    committed = (REPO / "config" / "county.schema.json").read_text(encoding="utf-8")
    assert committed == render(), (
        "write it again: python -c 'from config.jsonschema import render; print(render(), end=\"\")'"
    )


def test_the_schema_is_itself_valid_and_accepts_every_good_file() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert schema_accepts(EXAMPLE.read_text())
    assert schema_accepts(GOOD)


AGREED = [
    ("mode: actual", "mode: actul"),
    ("mode: actual\n", ""),
    ("state_dir: ./state", "state_dri: ./state"),
    ("{name: 舟曲县应急管理局}", "x"),
    ("{embedded: {}}", "{}"),
    ("{embedded: {}}", '{embedded: {}, url: "mqtt://127.0.0.1"}'),
    ("{embedded: {}}", '{url: "mqtt://127.0.0.1", username: x}'),
    ("{embedded: {}}", "{embedded: {port: 70000}}"),
    ("unix:./api.sock", "8471"),
    (TOKEN, "short"),
    ("kind: folder", "kind: foldr"),
    ("path: ./inbox", "pth: ./inbox"),
    ("official: true", "official: yes"),
    ("name: swic", "name: a b"),
    ("every: 5m", "every: 300"),
    ("hazard: rainstorm", "hazard: rainstrom"),
    ("[red, orange]", "[]"),
    (", approved_on: 2026-11-01", ""),
    ("voice:", "broadcast: {repeats: {red: 10}}\nvoice:"),
]
ONLY_THE_LOADER_SEES = [
    ("county: zhouqu", "county: zhouqi"),
    ("{embedded: {}}", '{url: "mqtt://10.0.0.9"}'),
    ("every: 5m", "every: 1s"),
    ("official: true, ", ""),
    ("feed: bureau", "feed: buro"),
    ("name: swic", "name: bureau"),
]


@pytest.mark.parametrize(("old", "new"), AGREED)
def test_schema_and_loader_refuse_the_same_files(folder: Path, old: str, new: str) -> None:
    text = changed(old, new)
    assert not schema_accepts(text)
    assert problems(folder, text, on_this_machine=False)


@pytest.mark.parametrize(("old", "new"), ONLY_THE_LOADER_SEES)
def test_what_the_schema_cannot_see_the_loader_refuses(folder: Path, old: str, new: str) -> None:
    text = changed(old, new)
    assert schema_accepts(text)
    assert problems(folder, text, on_this_machine=False)


# --- feeds ---------------------------------------------------------------------------------------------

NMC = "https://www.nmc.cn/rest/findAlarm?pageNo={page}&pageSize=300"
LINE = '  - {name: swic, kind: cap_index, url: "https://swic.example/rss.xml", every: 5m}'


def with_feed(line: str) -> str:
    return changed(LINE, f"  - {{name: swic, {line}}}")


@pytest.mark.parametrize(
    ("line", "trust", "alive", "read_as"),
    [
        (f'kind: list, format: nmc, url: "{NMC}", only: ["62"]', Trust.RELAY, "5m", "nmc"),
        ('kind: list, format: qweather, url: "https://q.example/{key}", key_file: key', None, "5m", None),
        ('kind: list, format: nmc, url: "https://n.ex/{page}", key_file: k, key_header: X', None, "5m", None),
        ('kind: list, format: nmc, url: "https://n.example/{page}", every: 10m', Trust.RELAY, "50m", None),
        ('kind: socket, format: wolfx, url: "wss://w.example/all", watchdog: 90s', None, "3m", "wolfx"),
        ('kind: wis2, topics: ["cache/a/#"], hosts: [c.example], brokers: [{url: "mqtts://b.example"}]',
         Trust.RELAY, "10m", ""),
        ('kind: inbox, listen: "127.0.0.1:8471", token_file: t, official: true', Trust.OFFICIAL, "1m", ""),
        ('kind: inbox, listen: "0.0.0.0:8471", token_file: token, cert_file: c, key_file: k', None, "1m", ""),
        ('kind: cap_index, url: "https://s.example/", stale_after: 7m, shapes: narrow', None, "7m", ""),
    ],
)  # fmt: skip
def test_every_kind_of_feed_can_be_configured(
    folder: Path, line: str, trust: Trust | None, alive: str, read_as: str | None
) -> None:
    config = load(write(folder, with_feed(line)), on_this_machine=False)
    feed = config.feeds[1]
    minutes = int(alive.removesuffix("m"))
    assert feed.signs_of_life == timedelta(minutes=minutes)
    if trust is not None:
        assert feed.trust is trust
    if read_as is not None:
        assert feed.reading.format == read_as
    assert feed.reading.shapes_narrow == ("narrow" in line)
    (folder / "again").mkdir()
    assert load(write(folder / "again", show(config)), on_this_machine=False) == config


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f'kind: list, format: nmc, url: "{NMC}", official: true', "but this source passes"),
        ('kind: socket, format: wolfx, url: "wss://w.example/", official: true', "true, but .* private"),
        ('kind: cap_index, url: "https://severeweather.wmo.int/cn-cma-xx/rss.xml", official: true',
         "official: true, but this source passes"),
        ('kind: wis2, topics: [a], hosts: [c.example], brokers: [{url: "mqtts://b.example"}], official: true',
         "official: true, but this source passes"),
        ('kind: list, format: nnc, url: "https://n.example"', r"not 'nnc' \(did you mean nmc\?\)"),
        ('kind: list, format: nmc, url: "http://n.example", ca_file: c', "ca_file is for an https:// url"),
        ('kind: list, format: nmc, url: "https://n.example", authenticated: loopback', "is another machine"),
        ('kind: list, format: nmc, url: "https://n.example", authenticated: folder-0700', "must be none or"),
        ('kind: list, format: nmc, url: "https://n.example/{key}"', "key_file belongs together"),
        ('kind: list, format: nmc, url: "https://n.example"', r"write pageNo=\{page\} in the url"),
        ('kind: list, format: nmc, url: "https://n.example", key_file: key', "key_file belongs together"),
        ('kind: socket, format: wolfx, url: "https://w.example/"', "must be ws://HOST"),
        ('kind: socket, format: wolfx, url: "ws://w.example/", authenticated: tls-pinned', "needs wss://"),
        ('kind: wis2, topics: [a], hosts: [c.example], brokers: [{url: "mqtt://b.example"}]', "mqtts:// url"),
        ('kind: wis2, topics: ["a/#/b"], hosts: [c], brokers: [{url: "mqtts://b.example"}]', "topic filter"),
        ('kind: wis2, topics: [a], brokers: [{url: "mqtts://b.example"}]', "hosts: is missing"),
        ('kind: inbox, listen: "0.0.0.0:8471", token_file: token', "cross the network in clear"),
        ('kind: inbox, listen: "127.0.0.1:8471", token_file: t, cert_file: c', "belong together"),
        ('kind: inbox, listen: "127.0.0.1:8471"', "token_file: is missing"),
        ('kind: inbox, listen: "127.0.0.1:8471", token: abc, token_file: t', "a secret does not belong"),
        ('kind: cap_index, url: "https://s.example/", authenticated: signed', "needs signers"),
    ],
)  # fmt: skip
def test_what_a_feed_cannot_be_or_prove_is_refused(folder: Path, line: str, reason: str) -> None:
    found = problems(folder, with_feed(line), on_this_machine=False)
    assert any(re.search(reason, problem) for problem in found), found


def test_a_signature_makes_a_relay_a_source_that_may_sound(folder: Path) -> None:
    signed = with_feed(
        'kind: wis2, topics: [a], hosts: [c.example], brokers: [{url: "mqtts://b.example"}], official: true, '
        "authenticated: signed, signers: [cma.pem]"
    )
    text = changed("  - {feed: bureau, hazard", "  - {feed: swic, hazard", signed)
    config = load(write(folder, text), on_this_machine=False)
    assert config.feeds[1].reading.must_be_signed


def test_no_relay_sounds_by_itself(folder: Path) -> None:
    text = changed("  - {feed: bureau, hazard", "  - {feed: swic, hazard", with_feed(
        f'kind: list, format: nmc, url: "{NMC}"'
    ))  # fmt: skip
    [problem] = problems(folder, text, on_this_machine=False)
    assert "feed swic (line 11) lacks official: true and authenticated: tls-pinned" in problem


def test_the_files_of_feeds_must_be_there_and_secrets_private(folder: Path) -> None:
    text = with_feed('kind: inbox, listen: "127.0.0.1:8471", token_file: token, signers: [cma.pem]')
    found = "\n".join(problems(folder, text))
    assert f"feeds[1].signers: there is no file {folder / 'cma.pem'}" in found
    (folder / "cma.pem").write_text("x")
    (folder / "token").write_text("x")
    (folder / "token").chmod(0o644)
    assert problems(folder, text) == [
        f"11: feeds[1].token_file: {folder / 'token'} has mode 0644, so others may read it; "
        f"chmod 0600 {folder / 'token'}"
    ]
    (folder / "token").chmod(0o600)
    load(write(folder, text))
