"""``fenghuo tts check``: what it says before it listens, and how it shows what was heard."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.cli import checks
from controller.cli.outcome import Code, Failure
from tts import recogniser, trial
from tts.audio import RATE
from tts.check import Fault, Finding, Verdict
from tts.trial import SENTENCES, TARGETS, Heard, score
from tts.voice import Speech


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recogniser, "missing", lambda: "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def _show(**changed: Any) -> Code:
    given: dict[str, Any] = {
        "voices": ["zm_yunjian"], "presets": ["horn"], "noises": [5.0], "files": [],
        "speed": 0.9, "as_json": True,
    }  # fmt: skip
    given |= changed
    positional = [given.pop(name) for name in ("voices", "presets", "noises", "files")]
    return checks.show(*positional, **given)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recogniser, "missing", lambda: f"not installed: x; {recogniser.INSTALL}")
    with pytest.raises(Failure, match=r"fenghuo\[check\]") as caught:
        _show()
    assert caught.value.code is Code.FAILED


def test_a_preset_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(Failure, match="horn, column, indoor, plain"):
        _show(presets=["horn", "cinema"])


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"gone\.txt"):
        _show(files=[tmp_path / "gone.txt"])
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Failure, match=r"bad\.txt"):
        _show(files=[tmp_path / "bad.txt"])
    (tmp_path / "empty.txt").write_text("  \n")
    with pytest.raises(Failure, match=r"empty\.txt"):
        _show(files=[tmp_path / "empty.txt"])


def test_scores_and_what_was_heard_wrong_are_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Sequence[str]] = []

    async def heard(
        *_: object, sentences: Sequence[str], noises: Sequence[float | None], **__: object
    ) -> AsyncIterator[Heard]:
        asked.append(sentences)
        for snr in noises:
            bad = snr is not None
            verdict = Verdict(0.5, ("五十",), False) if bad else Verdict(0.0, (), True)
            fault = (Finding(Fault.TOO_SHORT, 0.1, 0.12),) if bad else ()
            yield Heard("zm_yunjian", "horn", snr, sentences[0], "十五毫米", verdict, 10, fault)

    monkeypatch.setattr(trial, "trial", heard)
    file = tmp_path / "one.txt"
    file.write_text("降雨五十毫米。\n\n")
    assert _show(files=[file]) is Code.DONE
    told = json.loads(capsys.readouterr().out)
    assert asked == [("降雨五十毫米。",)]
    assert [(row["snr_db"], row["syllable_errors"], row["misheard"]) for row in told["scores"]] == [
        (None, 0.0, 0),
        (5.0, 0.5, 1),
    ]
    assert [(w["heard"], w["missing"]) for w in told["wrong"]] == [("十五毫米", ["五十"])]
    assert told["wrong"][0]["faults"][0].startswith("0.10 s")
    assert _show(as_json=False) is Code.DONE
    shown = capsys.readouterr()
    assert "50.0%" in shown.out
    assert "十五毫米" in shown.err
    assert len(asked[-1]) == 40


def test_a_long_sentence_counts_for_more_than_a_short_one() -> None:
    def one(ser: float, count: int) -> Heard:
        return Heard("v", "horn", None, "", "", Verdict(ser, (), True), count, ())

    (row,) = score([one(1.0, 10), one(0.0, 30)])
    assert row.ser == pytest.approx(0.25)
    assert row.sentences == 2


def test_the_40_sentences_are_different_and_hold_numbers_places_and_actions() -> None:
    assert len(set(SENTENCES)) == 40
    assert sum(any(c.isdigit() for c in s) for s in SENTENCES) >= 15
    assert sum("请" in s for s in SENTENCES) >= 15
    assert TARGETS == {None: 0.02, 15.0: 0.08, 5.0: 0.12, 0.0: 0.25}


async def test_a_trial_hears_sentences_together_as_a_message_says_them() -> None:
    spoken: list[tuple[str, ...]] = []

    class Voice:
        async def speak(self, sentences: Sequence[str], **_: object) -> Speech:
            spoken.append(tuple(sentences))
            noise = np.random.default_rng(1).standard_normal(RATE * len(sentences)).astype("<f4")
            return Speech(pcm=noise.tobytes(), sample_rate=RATE, seconds=len(sentences))

    class Ear:
        async def hear(self, sound: bytes, *, deadline_s: float) -> str:
            return "".join(spoken[-1])

    found = [
        one
        async for one in trial.trial(
            Voice(),  # type: ignore[arg-type]
            Ear(),  # type: ignore[arg-type]
            voice="v",
            preset="horn",
            speed=0.9,
            noises=(None,),
            sentences=SENTENCES[:6],
            together=4,
        )
    ]
    assert spoken == [SENTENCES[:4], SENTENCES[4:6]]
    assert [one.sentences for one in found] == [4, 2]
    assert [row.sentences for row in score(found)] == [6]
    assert [row.ser for row in score(found)] == [0]
