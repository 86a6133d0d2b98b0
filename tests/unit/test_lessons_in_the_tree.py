"""Lessons of other systems that hold for the tree as a whole; `docs/lessons.md` says which is which."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec
import pytest

from alerts.model import Area, CodeScheme, RegionCode
from controller.keys import throw_away
from controller.planning import named
from support.named_tests import REPO, TESTS, is_there, test_files, tests_of, tree
from terminals import wire
from terminals.seal import KeyRole, open_command

PRODUCT = ("alerts", "terminals", "tts", "config", "controller", "simulators")
test_files.__test__ = False  # type: ignore[attr-defined]  # helpers, not tests
tests_of.__test__ = False  # type: ignore[attr-defined]


@cache
def modules() -> tuple[Path, ...]:
    return tuple(sorted(path for package in PRODUCT for path in (REPO / package).rglob("*.py")))


def short(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


def functions(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """(innermost function or empty, node) for every node."""

    def down(node: ast.AST, name: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else name
            yield inside, child
            yield from down(child, inside)

    yield from down(tree(path), "")


# --- every alarm can sound (§9 #2, #15) ------------------------------------------------------------------

LESSONS = "tests/integration/test_lessons.py::"
VOICING = "tests/integration/test_voicing.py::"
# Where the controller alarms: for each alarm there the test that makes it sound.
TROUBLE = "tests/integration/test_dispatch_under_trouble.py::"
RINGS = "tests/integration/test_rings.py::"
TRIALS = "tests/integration/test_trials.py::"
ALARMS: dict[tuple[str, str], tuple[str, ...]] = {
    ("controller/trials.py", "run"): (
        TRIALS + "test_a_disk_that_takes_no_test_is_an_alarm_and_the_loop_goes_on",
    ),
    ("controller/trials.py", "_over"): (
        TRIALS + "test_a_missed_test_is_an_alarm",
        TRIALS + "test_terminals_that_did_not_take_part_are_an_alarm_with_the_command_that_shows_them",
    ),
    ("controller/app.py", "look_at_clock"): (
        "tests/e2e/test_faults.py::"
        "test_clocks_a_day_off_and_an_old_backup_silence_nothing_revive_nothing_and_are_told",
    ),
    ("controller/app.py", "look_at_feeds"): (
        LESSONS + "test_the_running_controller_notices_by_itself_that_a_feed_is_dead",
    ),
    ("controller/app.py", "look_at_certificates"): (
        LESSONS + "test_a_certificate_that_ends_soon_is_an_alarm",
        LESSONS + "test_a_certificate_that_cannot_be_read_is_an_alarm",
    ),
    ("controller/rings.py", "look"): (RINGS + "test_damaged_keys_leave_the_running_ones_in_use",),
    ("controller/rings.py", "_behind"): (RINGS + "test_a_rolled_back_ring_file_is_not_taken_and_is_told",),
    ("controller/rings.py", "_remember"): (
        RINGS + "test_a_disk_that_does_not_keep_the_highest_ring_is_an_alarm",
    ),
    ("controller/web/village.py", "answered"): (
        "tests/integration/test_enrolment_papers.py::"
        "test_ten_thousand_requests_from_one_address_are_bounded_and_told",
    ),
    ("controller/app.py", "_keep_time"): (LESSONS + "test_a_signed_time_that_cannot_be_kept_is_an_alarm",),
    ("controller/app.py", "alarm"): (  # hands on what the parts say
        LESSONS + "test_what_the_parts_alarm_about_reaches_the_status_of_the_whole",
    ),
    ("controller/app.py", "open_app"): (
        LESSONS + "test_a_start_behind_the_last_signed_time_is_an_alarm_of_the_running_program",
        "tests/integration/test_fleet_register.py::"
        "test_villages_that_the_pack_has_lost_are_an_alarm_at_the_start",
    ),
    ("controller/ledger.py", "keep"): (
        LESSONS + "test_a_disk_that_takes_no_report_is_an_alarm_and_every_receipt_is_there_in_the_end",
    ),
    ("controller/ledger.py", "run"): (
        LESSONS + "test_a_disk_that_takes_no_report_is_an_alarm_and_every_receipt_is_there_in_the_end",
    ),
    ("controller/complaints.py", "add"): (
        TROUBLE + "test_a_flood_of_forged_reports_is_counted_and_harms_nobody",
    ),
    ("controller/dispatch.py", "_commit"): (TROUBLE + "test_an_operators_stop_works_while_the_disk_is_full",),
    ("controller/dispatch.py", "_foreign_word"): (
        TROUBLE + "test_a_second_controller_with_a_copy_of_the_keys_is_told_of",
    ),
    ("controller/dispatch.py", "_tell_hands"): (
        "tests/integration/test_standing_messages.py::test_a_hand_is_told_of_to_the_operator_once_for_each_time",
    ),
    ("controller/dispatch.py", "_answer_hellos"): (
        LESSONS + "test_terminals_that_hold_a_later_time_than_the_controller_are_an_alarm_and_are_obeyed",
    ),
    ("controller/escalation.py", "call"): (
        "tests/integration/test_escalation.py::test_a_hook_that_fails_is_an_alarm_that_names_the_alert",
    ),
    ("controller/escalation.py", "ring"): (
        LESSONS + "test_a_register_of_holds_that_cannot_be_read_is_an_alarm_and_it_rings_afterwards",
        "tests/integration/test_escalation.py::"
        "test_what_expires_while_it_is_held_is_closed_with_an_alarm_and_rings_no_more",
    ),
    ("controller/intake.py", "_surely"): (
        LESSONS + "test_a_disk_that_takes_no_document_delays_its_warning_with_an_alarm",
    ),
    ("controller/intake.py", "_read_and_take"): (
        LESSONS + "test_a_document_that_kills_the_process_twice_is_an_alarm",
    ),
    ("controller/intake.py", "_judge_and_take"): (
        "tests/e2e/test_faults.py::"
        "test_clocks_a_day_off_and_an_old_backup_silence_nothing_revive_nothing_and_are_told",
    ),
    ("controller/staging.py", "_bound"): (
        "tests/integration/test_staging.py::"
        "test_while_the_disk_is_full_only_each_terminals_last_word_waits_and_no_more_than_the_bound",
    ),
    ("controller/intake.py", "_poison"): (
        "tests/integration/test_desk.py::test_an_unforeseen_error_quarantines_one_document_with_an_alarm",
    ),
    ("controller/voicing.py", "run"): (
        VOICING + "test_recordings_that_cannot_be_read_are_an_alarm_and_nothing_else_is_lost",
        LESSONS + "test_a_voice_that_is_not_there_is_an_alarm_and_the_generic_clip_goes_out",
    ),
    ("controller/voicing.py", "_clips"): (
        VOICING + "test_a_language_whose_voice_fails_is_said_in_mandarin_and_the_operator_is_told",
        VOICING + "test_a_disk_that_is_full_after_the_first_clip_leaves_that_for_everybody",
    ),
    ("controller/voicing.py", "_noted"): (
        VOICING + "test_a_full_disk_sends_the_generic_clip_and_ends_nothing",
    ),
    ("controller/voicing.py", "_listen_later"): (
        VOICING + "test_red_and_fast_are_aired_at_once_and_listened_to_afterwards",
    ),
    ("controller/listening.py", "run"): (
        VOICING + "test_an_ear_that_does_not_load_is_an_alarm_and_nothing_waits_for_it",
    ),
    ("controller/voicing.py", "_made"): (VOICING + "test_a_class_that_fails_takes_nothing_from_the_others",),
    ("controller/voicing.py", "voice"): (
        LESSONS + "test_a_voice_that_is_not_there_is_an_alarm_and_the_generic_clip_goes_out",
    ),
}


def test_every_alarm_of_the_controller_has_a_test_that_makes_it_sound() -> None:
    """Peers' alarms could never sound (`=+ 1`), and nobody noticed because no test made them (§9 #2)."""
    found = Counter(
        (short(path), function)
        for path in modules()
        if path.is_relative_to(REPO / "controller")
        for function, node in functions(path)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("alarm", "_alarm")
    )
    assert dict(found) == {where: len(tests) for where, tests in ALARMS.items()}
    assert [test for tests in ALARMS.values() for test in tests if not is_there(test)] == []


# --- tests that can fail (§9 #10) ------------------------------------------------------------------------

# `w` raises for a word that is not there; the state machine's invariants assert.
CHECKS_OF_OTHERS = {"w", "run_state_machine_as_test"}


# To wait with an end is a check: what never comes is an error.
CHECKS = ("pytest.raises", "pytest.fail", "asyncio.timeout")


def checks_itself(function: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Assert | ast.Raise)
        or (isinstance(node, ast.Call) and ast.unparse(node.func) in CHECKS)
        for node in ast.walk(function)
    )


def helpers(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and checks_itself(node)
    }


def test_every_test_checks_something() -> None:
    """A peer's tests were stubs of three lines that could not fail (§9 #10)."""
    shared = set().union(*(helpers(path) for path in (TESTS / "support").glob("*.py"))) | CHECKS_OF_OTHERS
    idle = []
    for path in test_files():
        known = shared | helpers(path)
        for name, test in tests_of(path).items():
            called = {
                node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                for node in ast.walk(test)
                if isinstance(node, ast.Call)
            }
            if not checks_itself(test) and not called & known:
                idle.append(f"{short(path)}::{name}")
    assert idle == []


def test_no_test_asserts_a_constant() -> None:
    constant = [
        f"{short(path)}:{node.lineno}"
        for path in test_files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Assert)
        and (
            isinstance(node.test, ast.Tuple)
            or (isinstance(node.test, ast.Constant) and node.test.value)
            or (
                isinstance(node.test, ast.BoolOp)
                and any(isinstance(part, ast.Constant) and part.value for part in node.test.values)
            )
        )
    ]
    assert constant == []


def test_ci_runs_the_tests_and_the_checks() -> None:
    """A peer's only CI job pulled translations (§9 #10)."""
    script = (REPO / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert "set -euo pipefail" in script
    assert {"make check", "make test"} <= set(script)
    makefile = (REPO / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^test:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe is not None
    first, second = (line.split("#")[0].strip() for line in recipe[1].splitlines())
    # All of them, whatever their mark: those in real time alone, after the others.
    assert first == '$(PY) -m pytest -n 2 --dist loadfile -m "not sound"'
    assert second == "$(PY) -m pytest -m sound"


# --- hostile documents (§9 #6) ---------------------------------------------------------------------------

PARSERS = {"xml", "lxml", "defusedxml", "xmltodict", "html5lib", "bs4"}
WRITES = {"escape", "quoteattr"}
# `xml` is the bounded reader; `signature` is given bytes that it has let through.
READERS = {"alerts/formats/xml.py", "alerts/formats/signature.py"}


def test_foreign_xml_meets_one_bounded_reader_and_no_other_parser() -> None:
    """A peer read its feed with plain minidom, which expands entities (§9 #6)."""
    strangers = []
    for path in modules():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                only_writes = {alias.name for alias in node.names} <= WRITES
                names = set() if only_writes else {node.module or ""}
            else:
                continue
            if {name.split(".")[0] for name in names} & PARSERS and short(path) not in READERS:
                strangers.append(f"{short(path)}:{node.lineno}")
    assert strangers == []
    reader = (REPO / "alerts" / "formats" / "__init__.py").read_text(encoding="utf-8")
    assert reader.index("xml.read(body)") < reader.index("signature.verified("), (
        "bounded before anything else"
    )


def test_no_file_of_ours_has_a_fixed_place_where_others_may_write() -> None:
    """A peer's poller wrote to one fixed file below the folder that everybody may write to (§9 #6)."""
    shared = ("/" + "tmp", "/var/" + "tmp", "/dev/" + "shm")
    found = [
        f"{short(path)}:{node.lineno}"
        for path in modules()
        for node in ast.walk(tree(path))
        if (isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(shared))
        or (isinstance(node, ast.Attribute) and node.attr in ("mktemp", "gettempdir", "tempdir"))
    ]
    assert found == []


# --- secrets and switches (§9 #13, #14) ------------------------------------------------------------------

PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE" + r" KEY-----\s*[A-Za-z0-9+/=]{16}")
SERVICES = re.compile(r"\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|xox[abp]-[0-9A-Za-z-]{10,})\b")
LITERAL = re.compile(
    r"\b(?:\w*_)?(?:password|passwd|secret|token|api_?key|private_?key)[\"']?\s*[:=]\s*[\"'][^\s\"'{}<>$%]{6,}[\"']",
    re.IGNORECASE,
)
SIGNER = re.compile(r"\b[aets][0-9a-f]{8} [0-9a-f]{64}\b")  # as controller.keys writes one


@cache
def texts() -> dict[str, str]:
    if shutil.which("git") is None or not (REPO / ".git").exists():
        pytest.skip("no git, or no repository here: what will be committed is not known")
    listed = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    done = subprocess.run(listed, cwd=REPO, capture_output=True, check=True)
    found = {}
    for name in filter(None, done.stdout.decode().split("\0")):
        path = REPO / name
        if path.is_file() and b"\0" not in (body := path.read_bytes()):
            found[name] = body.decode("utf-8", "replace")
    return found


def secrets_in(name: str, text: str) -> list[str]:
    patterns = [PEM, SERVICES, SIGNER]
    if not name.startswith("tests/"):  # those have tokens of their own, of no use anywhere
        patterns.append(LITERAL)
    return [f"{name}: {m[0][:60]}" for pattern in patterns for m in pattern.finditer(text)]


def test_no_file_holds_a_key_a_password_or_a_token() -> None:
    """Peers committed their signing keys, and the passwords of their databases and brokers (§9 #13, #14)."""
    assert [found for name, text in texts().items() for found in secrets_in(name, text)] == []
    signer = throw_away(sandbox=False).signers[KeyRole.ACTUAL]
    planted = [
        "-----BEGIN EC PRIVATE" + " KEY-----\nMHcCAQEEIIJ1Zm9yIHRlc3Rz\n",
        'db_password = "hunter22"',
        "  password: 'hunter22'",
        f"{signer.key_id} {signer.private_bytes.hex()}",
    ]
    assert [text for text in planted if not secrets_in("deploy/x", text)] == [], "the scan finds what it must"


ENVIRONMENT: dict[str, set[str]] = {
    # What systemd tells its service, and the language of whoever stands at the terminal.
    "terminals/agent/systemd.py": {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"},
    "terminals/agent/words.py": {"LANG", "LC_ALL", "LC_MESSAGES"},
    # Handed on to where systemd lays the keys' passphrase (controller/keys.py).
    "controller/app.py": set(),
    # Written, so that nothing is sent to anybody.
    "tts/recogniser.py": {"HF_HUB_OFFLINE"},
    "tts/renderer.py": {"ORT_DISABLE_TELEMETRY"},
    "tts/voices/kokoro.py": {"ORT_DISABLE_TELEMETRY"},
    "tts/worker.py": {"ORT_DISABLE_TELEMETRY"},
    # What a county's own engine is started with.
    "tts/voices/process.py": {"HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR"},
    # Where the weights are, whose hash is checked.
    "tts/voices/weights.py": {"FENGHUO_WEIGHTS", "XDG_CACHE_HOME"},
}
"""Files that touch the environment, and the only names of variables in them."""


def test_only_the_command_line_the_voice_and_the_simulators_read_the_environment() -> None:
    """A peer's `TEST` switch decided whether a warning played at once (§9 #14). On the road of a warning
    there is nothing to switch: what it is, it says itself."""
    readers = {
        short(path)
        for path in modules()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute | ast.Name)
        and ast.unparse(node) in ("os.environ", "os.getenv", "environ", "getenv")
    }
    inside = {name for name in readers if not name.startswith(("controller/cli/", "simulators/"))}
    assert inside == set(ENVIRONMENT)
    for name, allowed in ENVIRONMENT.items():
        text = (REPO / name).read_text(encoding="utf-8")
        assert set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+|LANG|HOME|PATH|TMPDIR)"', text)) == allowed, name


# --- one time, one length, whoever seals at once (§9 #13) ------------------------------------------------


def a_play(counter: int, issued: int, terminals: int) -> wire.Play:
    return wire.Play(
        broadcast=f"B{counter}",
        event="e",
        role="actual",
        attempt=1,
        counter=counter,
        issued=issued,
        not_before=issued,
        expires=issued + 600_000,
        priority=(0, 1, 2, 4),
        targets=wire.Targets(("all",), tuple(f"t{n:04d}" for n in range(terminals))),
        clips=(wire.Clip("zh", "mp3", "ab" * 32, 1000, 1.0),),
        repeats=1,
        volume=100,
    )


@pytest.mark.parametrize("issued", [999, 1_000, 1_795_305_599_999, 1_795_305_600_000, 1_795_305_600_001])
def test_the_time_that_is_signed_is_the_time_that_is_sent(issued: int) -> None:
    """A peer read the clock twice, once for the signature and once for the packet: at the turn of a second
    the signature was of another time (§9 #13). Here the time is inside the signed bytes, and nowhere else."""
    keys = throw_away()
    envelope = keys.signers[KeyRole.ACTUAL].seal(a_play(7, issued, 3))
    opened = open_command(envelope, keys.ring).command
    assert isinstance(opened, wire.Play)
    assert (opened.issued, opened.counter) == (issued, 7)
    header, body = envelope.split(b"\n", 1)
    assert len(header.split(b" ")) == 3
    assert msgspec.json.decode(body)["issued"] == issued


def test_many_that_seal_at_once_seal_each_its_own_words() -> None:
    """A peer kept the length of the packet in one field for all: two at once spoiled each other (§9 #13)."""
    keys = throw_away()
    signer = keys.signers[KeyRole.ACTUAL]
    plays = [a_play(n, 1_795_305_600_000 + n, n % 97) for n in range(1, 400)]
    with ThreadPoolExecutor(16) as threads:
        envelopes = list(threads.map(signer.seal, plays))
    assert [open_command(envelope, keys.ring).command for envelope in envelopes] == plays


# --- the place by its name (§10 #20) ----------------------------------------------------------------


def test_an_area_is_shown_by_its_own_words_and_codes_and_never_as_nothing() -> None:
    """Nine islands were warned of a missile because nobody saw whom the list named (§10 #20)."""
    area = Area(description="大川镇", codes=(RegionCode(CodeScheme.MCA, "623023101"),))
    assert named([area]) == "大川镇 (623023101)"
    assert named([replace(area, description="")]) == "(623023101)"
    assert named([]) == "no place"
    assert named([area] * 5).endswith("and 2 more")
