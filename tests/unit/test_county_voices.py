"""The voices of a county: what its configuration may name, what this machine has of it, who answers for
it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from config import schema
from config.load import ConfigError, load
from config.schema import Voice as VoiceOptions
from controller import voices
from controller.cli import doctor, words
from controller.cli.program import run
from support.voices import decode
from tts.voices import edge, espeak
from tts.voices.choice import Engine, VoiceChoice
from tts.voices.external import CommandVoice, HttpVoice

EXAMPLE = Path(__file__).parents[2] / "deploy" / "county.example.yaml"
BY = {"approved_by": "扎西", "approved_on": "2026-11-01"}


def options(*others: dict[str, Any], **more: Any) -> VoiceOptions:
    return VoiceOptions.model_validate_json(json.dumps({"others": others, **more}))


def county(folder: Path, *others: dict[str, Any], mode: str = "drill", **more: Any) -> Path:
    text = EXAMPLE.read_text(encoding="utf-8").replace("mode: drill", f"mode: {mode}", 1)
    voice = json.dumps({"name": "zm_yunjian", "others": others, **more}, ensure_ascii=False)
    before, after = text.split("\nvoice:\n", 1)
    file = folder / "county.yaml"
    file.write_text(f"{before}\nvoice: {voice}\n\nbroadcast:{after.split(chr(10) + 'broadcast:', 1)[1]}")
    return file


def test_the_configuration_knows_the_same_voices_as_their_engines() -> None:
    assert {k: v for k, v in edge.VOICES.items() if k != "zh"} == schema._EDGE_VOICES
    assert espeak.LANGUAGES == schema._ESPEAK_LANGUAGES
    assert set(edge.VOICES["zh"]) == set(schema.OnlineVoice.model_fields["name"].annotation.__args__)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"language": "zh", "engine": "espeak"}, "never used"),
        ({"language": "bo", "engine": "espeak"}, "only for"),
        ({"language": "zh", "engine": "edge", "name": "zh-CN-YunxiNeural"}, r"voice\.online"),
        ({"language": "ug", "engine": "edge", "name": "ug-CN-Nobody"}, "no voice for ug"),
        ({"language": "kk", "engine": "edge", "name": "ko-KR-SunHiNeural"}, "kk-KZ-AigulNeural"),
        ({"language": "ug", "engine": "command", "name": "x", "argv": ["say"]}, "full path"),
        ({"language": "ug", "engine": "command", "name": "x", "argv": ["/bin/say", "{text}"]}, r"\{text\}"),
        ({"language": "ug", "engine": "command", "name": "x", "argv": []}, "at least 1|empty"),
        ({"language": "ug", "engine": "http", "name": "x", "url": "http://example.com/a"}, "stranger"),
        ({"language": "ug", "engine": "http", "name": "x", "url": "https://a:b@example.com/"}, "password"),
        ({"language": "ug", "engine": "http", "name": "x", "url": "ftp://127.0.0.1/"}, "https://"),
        (
            {"language": "ug", "engine": "http", "name": "x", "url": "http://127.0.0.1/", "ca_file": "c"},
            "ca_file",
        ),
        ({"language": "ug", "engine": "espeak", "timeout": "3m"}, "2m"),
        ({"language": "ug", "engine": "espeak", "approved_by": "扎西"}, "belong together"),
        ({"language": "Uyghur", "engine": "espeak"}, "pattern"),
        ({"language": "ug", "engine": "festival"}, "festival"),
        ({"language": "ug", "engine": "espeak", "argv": ["/bin/say"]}, "argv"),
    ],
)
def test_what_cannot_be_right_is_refused(other: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        options(other)


def test_the_same_voice_twice_for_a_language_is_refused() -> None:
    one = {"language": "ug", "engine": "espeak"}
    with pytest.raises(ValidationError, match="twice"):
        options(one, one)
    assert len(options(one, {"language": "kk", "engine": "espeak"}).others) == 2


def test_an_error_in_a_voice_names_the_line_the_option_and_the_engines(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"others\[0\]\.engine: must be .*espeak.*did you mean espeak"):
        load(county(tmp_path, {"language": "ug", "engine": "espek"}), on_this_machine=False)
    with pytest.raises(ConfigError, match=r"others\[0\]\.speeed: is not an option here.*did you mean speed"):
        load(county(tmp_path, {"language": "ug", "engine": "espeak", "speeed": 1.0}), on_this_machine=False)


def test_actual_mode_wants_a_mandarin_voice_that_works_without_the_internet(tmp_path: Path) -> None:
    own = {"language": "zh", "engine": "http", "name": "own", "url": "http://127.0.0.1:8500/"}
    far = {**own, "url": "https://tts.example.cn/"}
    uyghur = {"language": "ug", "engine": "espeak"}
    bank = {"language": "zh", "engine": "bank", "folder": "b"}
    for others in ([], [own], [{**far, **BY}], [{**uyghur, **BY}], [{**bank, **BY}]):
        with pytest.raises(ConfigError, match="approved the voice"):
            load(county(tmp_path, *others, mode="actual"), on_this_machine=False)
    assert load(county(tmp_path, {**own, **BY}, mode="actual"), on_this_machine=False).voice.mandarin_approved
    assert load(county(tmp_path, mode="actual", **BY), on_this_machine=False).voice.mandarin_approved


def test_what_a_voice_names_must_be_on_the_machine_and_secret(tmp_path: Path) -> None:
    vendor = {"language": "mn", "engine": "http", "name": "v", "url": "https://tts.example.cn/"}
    with pytest.raises(ConfigError, match=r"voice\.others\[0\]\.token_file: there is no file"):
        load(county(tmp_path, {**vendor, "token_file": "token"}))
    (tmp_path / "token").write_text("t" * 40)
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(ConfigError, match=r"voice\.others\[0\]\.token_file.*chmod 0600"):
        load(county(tmp_path, {**vendor, "token_file": "token"}))
    with pytest.raises(ConfigError, match=r"voice\.others\[0\]\.ca_file: there is no file"):
        load(county(tmp_path, {**vendor, "ca_file": "ca.pem"}))


@pytest.fixture
def all_engines(tmp_path: Path) -> VoiceOptions:
    program = tmp_path / "say"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "bank.toml").touch()
    return options(
        {"language": "bo", "engine": "bank", "folder": str(tmp_path / "bank"), **BY},
        {"language": "kk", "engine": "edge", "name": "kk-KZ-AigulNeural"},
        {"language": "ug", "engine": "command", "name": "mms", "argv": [str(program)], "speed": 0.8, **BY},
        {
            "language": "ug",
            "engine": "http",
            "name": "near",
            "url": "http://127.0.0.1:8500/",
            "timeout": "5s",
        },
        {"language": "ug", "engine": "http", "name": "far", "url": "https://tts.example.cn/"},
        online={"approved_by": "王主任", "approved_on": "2026-11-01"},
    )


def test_every_voice_is_offered_as_it_is_configured(all_engines: VoiceOptions) -> None:
    offers = {offer.name: offer for offer in voices.offered(all_engines)}
    assert [(o.language, o.name, o.online) for o in offers.values()] == [
        ("zh", "zm_yunjian", False),
        ("zh", "edge:zh-CN-YunyangNeural", True),
        ("bo", "bank:bank", False),
        ("kk", "edge:kk-KZ-AigulNeural", True),
        ("ug", "command:mms", False),
        ("ug", "http:near", False),
        ("ug", "http:far", True),
    ]
    assert not any(offer.missing for offer in offers.values())
    assert (offers["command:mms"].speed, offers["http:near"].timeout_s) == (0.8, 5.0)
    assert (offers["command:mms"].approved_by, offers["command:mms"].approved_on) == ("扎西", "2026-11-01")
    assert offers["zm_yunjian"].approved_by == ""


def test_what_the_machine_lacks_is_in_the_offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tts.voices import weights

    monkeypatch.setattr(weights, "HELPERS", ("kokoro-of-nobody",))
    monkeypatch.setenv("PATH", str(tmp_path))
    lost = options(
        {"language": "bo", "engine": "bank", "folder": str(tmp_path / "none")},
        {"language": "ug", "engine": "command", "name": "mms", "argv": [str(tmp_path / "none")]},
        {"language": "ug", "engine": "espeak"},
    )
    missing = [offer.missing for offer in voices.offered(lost)]
    for text, said in zip(
        missing,
        ("pip install kokoro-of-nobody", "no phrase bank", "no program", "apt-get install"),
        strict=True,
    ):
        assert said in text


def test_each_offer_opens_as_the_voice_it_names(all_engines: VoiceOptions) -> None:
    opened = {}
    for offer in voices.offered(all_engines):
        if offer.engine in (Engine.BANK, Engine.KOKORO):
            with (
                pytest.raises(ValueError, match="no voice to be opened")
                if offer.engine is Engine.BANK
                else (pytest.raises(StopIteration))
            ):
                voices.opened(all_engines, VoiceChoice(offer, 1.0), decode)
            continue
        voice = voices.opened(all_engines, VoiceChoice(offer, 1.0), decode)
        assert voice.languages == {offer.language}
        opened[voice.name] = type(voice)
    assert opened["command:mms"] is CommandVoice
    assert opened["http:far"] is HttpVoice
    assert opened["edge:kk-KZ-AigulNeural"] is edge.EdgeVoice
    bank = next(o for o in voices.offered(all_engines) if o.engine is Engine.BANK)
    assert voices.bank_folder(all_engines, bank).name == "bank"


def test_the_list_says_who_approved_each_voice_and_why_it_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = county(
        tmp_path,
        {"language": "ug", "engine": "command", "name": "mms", "argv": [str(tmp_path / "none")], **BY},
        {"language": "kk", "engine": "edge", "name": "kk-KZ-AigulNeural"},
        **BY,
    )
    assert run(["tts", "voices", "-c", str(file), "--json"]) == 0
    rows = {(row["language"], row["voice"]): row for row in json.loads(capsys.readouterr().out)}
    assert rows["zh", "zm_yunjian"]["approved"] == "扎西 2026-11-01"
    assert rows["zh", "zm_yunjian"]["not_now"] == ""
    assert "voice.name" in rows["zh", "zf_xiaobei"]["not_now"]
    assert rows["ug", "command:mms"]["not_now"] == f"there is no program {tmp_path / 'none'}"
    assert "nobody of the county has approved" in rows["kk", "edge:kk-KZ-AigulNeural"]["not_now"]
    assert "leave the county" in rows["mn", "edge:mn-MN-YesuiNeural"]["not_now"]
    assert rows["ky", "espeak:ky"]["not_now"]
    words.use("zh")
    try:
        assert run(["tts", "voices", "-c", str(file)]) == 0
    finally:
        words.use("en")
    shown = capsys.readouterr().out
    assert "本县无人批准" in shown
    assert "没有程序" in shown
    assert "nobody" not in shown


def test_the_doctor_looks_at_each_voice_of_the_county(tmp_path: Path) -> None:
    gone = {"language": "ug", "engine": "command", "name": "mms", "argv": [str(tmp_path / "none")]}
    near = {"language": "ug", "engine": "http", "name": "near", "url": "http://127.0.0.1:8500/"}
    file = county(
        tmp_path, {**gone, **BY}, {**gone, "name": "other"}, {**near, **BY}, {**near, "name": "new"}
    )
    found = list(doctor._other_voices(load(file, on_this_machine=False)))
    assert [f.state for f in found] == ["wrong", "odd", "right", "odd"]
    assert "no program" in found[0].text
    assert "扎西" in found[2].text
    assert found[3].mend


def test_espeak_is_asked_whether_it_has_the_language(tmp_path: Path) -> None:
    program = tmp_path / "espeak-ng"
    program.write_text(f"#!{sys.executable}\nprint('Pty Language')\n")
    program.chmod(0o755)
    assert "no voice for ug" in espeak.missing("ug", str(program))
    program.write_text(f"#!{sys.executable}\nprint('Pty Language')\nprint(' 5  ug')\n")
    assert espeak.missing("ug", str(program)) == ""
    program.write_text("#!/nowhere\n")
    assert "does not run" in espeak.missing("ug", str(program))
    assert "piper-tts" in espeak.missing("mn", str(program))


SMALL = """\
county: zhouqu
mode: {mode}
state_dir: ./state
issuer: {{name: 舟曲县应急管理局}}
broker: {{embedded: {{port: 0}}}}
listen: {{api: "unix:./api.sock", terminals: "127.0.0.1:0"}}
operators: [{{name: 王主任, token_sha256: {token}}}]
voice: {voice}
"""


@pytest.fixture
def own_logging() -> Iterator[None]:
    """`serve` sets up the logging of its process; here that is ours."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.mark.usefixtures("own_logging")
def test_serve_does_not_start_without_the_generic_clip_or_an_approved_voice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "county.yaml"
    small = {"mode": "actual", "token": "a" * 64}
    file.write_text(SMALL.format(**small, voice="{name: zm_yunjian}"))
    assert run(["serve", "-c", str(file)]) == 3
    assert "approved the voice" in capsys.readouterr().err
    file.write_text(SMALL.format(**small, voice="{approved_by: 王主任, approved_on: 2026-11-01}"))
    assert run(["keys", "new", "--no-passphrase", "-c", str(file)]) == 0
    real = resources.files

    def without_clips(package: str) -> Any:
        return tmp_path / "nothing" if package == "tts.floor" else real(package)

    monkeypatch.setattr(resources, "files", without_clips)
    capsys.readouterr()
    assert run(["serve", "-c", str(file)]) == 3
    assert "install Fenghuo again" in capsys.readouterr().err
