"""The recogniser in its own process: what it hears, and how it fails."""

import asyncio
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from tts import recogniser
from tts.check import compare
from tts.recogniser import Recogniser, RecogniserError, joined, missing

_SENTENCE = Path(__file__).parents[1] / "fixtures" / "speech" / "sentence.mp3"


def _stand_in(tmp_path: Path, body: str) -> tuple[str, ...]:
    """A process that answers frames in its own way."""
    code = """
    import sys, time
    from pathlib import Path
    from tts.worker import read_frame, write_frame
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        head, sound = frame
    """
    file = tmp_path / "stand_in.py"
    file.write_text(textwrap.dedent(code) + textwrap.indent(textwrap.dedent(body), "    "))
    return (sys.executable, str(file))


@pytest.fixture(autouse=True)
def _as_if_installed(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    if "real" not in request.node.name:
        monkeypatch.setattr(recogniser, "missing", lambda: "")


async def test_it_hears_clip_after_clip_in_one_process(tmp_path: Path) -> None:
    body = "write_frame(sys.stdout.buffer, {'text': str(len(sound)) + head['prompt']})"
    one = Recogniser(tmp_path, command=_stand_in(tmp_path, body))
    both = await asyncio.gather(one.hear(b"12345", prompt="a"), one.hear(b"123", prompt="b"))
    pid = one.pid
    assert await one.hear(b"1", prompt="c") == "1c"
    assert both == ["5a", "3b"]
    assert one.pid == pid is not None
    await one.close()
    assert one.pid is None


async def test_a_process_that_dies_is_told_and_the_next_clip_starts_another(tmp_path: Path) -> None:
    flag = tmp_path / "died"
    body = f"""
    if not Path({str(flag)!r}).exists():
        Path({str(flag)!r}).touch()
        sys.exit(3)
    write_frame(sys.stdout.buffer, {{'text': 'again'}})
    """
    one = Recogniser(tmp_path, command=_stand_in(tmp_path, body))
    with pytest.raises(RecogniserError, match="process ended"):
        await one.hear(b"x")
    assert await one.hear(b"x") == "again"
    await one.close()


async def test_a_late_answer_ends_the_process_and_is_not_taken_for_the_next_ones(tmp_path: Path) -> None:
    body = """
    if sound == b"slow":
        time.sleep(60)
    write_frame(sys.stdout.buffer, {'text': sound.decode()})
    """
    one = Recogniser(tmp_path, command=_stand_in(tmp_path, body))
    assert await one.hear(b"first") == "first"
    first = one.pid
    with pytest.raises(RecogniserError, match="no answer"):
        await one.hear(b"slow", deadline_s=0.2)
    assert await one.hear(b"next") == "next"
    assert one.pid != first
    await one.close()


async def test_an_error_of_the_process_is_told_in_its_words(tmp_path: Path) -> None:
    body = "write_frame(sys.stdout.buffer, {'error': 'this is no sound'})"
    one = Recogniser(tmp_path, command=_stand_in(tmp_path, body))
    with pytest.raises(RecogniserError, match="this is no sound"):
        await one.hear(b"x")
    assert one.pid is not None
    await one.close()


async def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(recogniser, "missing", missing)
    monkeypatch.setattr(recogniser.importlib.util, "find_spec", lambda name: None)
    one = Recogniser(tmp_path)
    with pytest.raises(RecogniserError, match=r"pip install 'fenghuo\[check\]'"):
        await one.hear(b"x")
    assert one.pid is None


def _must_be_installed() -> None:
    if lacking := missing():
        pytest.skip(lacking)


def test_real_weights_are_joined_once_and_mended_when_damaged(tmp_path: Path) -> None:
    _must_be_installed()
    folder = joined(tmp_path)
    model = folder / "model.bin"
    first = model.stat().st_ino
    assert joined(tmp_path) == folder
    assert model.stat().st_ino == first
    with model.open("r+b") as file:
        file.write(b"planted")
    joined(tmp_path)
    assert model.read_bytes()[:7] != b"planted"
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json", "model.bin", "tokenizer.json", "vocabulary.txt",
    ]  # fmt: skip


def test_real_parts_that_were_changed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _must_be_installed()
    monkeypatch.setattr(recogniser, "MODEL_SHA256", "0" * 64)
    with pytest.raises(RecogniserError, match="sha256 differs"):
        joined(tmp_path)


@dataclass
class _Text:
    text: str


class _Looping:
    """Falls into a loop unless it must not repeat itself."""

    def __init__(self, first: str) -> None:
        self.first = first
        self.asked: list[int] = []

    def transcribe(
        self, samples: object, *, no_repeat_ngram_size: int, **_: object
    ) -> tuple[list[_Text], None]:
        self.asked.append(no_repeat_ngram_size)
        return [_Text("车辆请绕行" if no_repeat_ngram_size else self.first)], None


@pytest.mark.parametrize(
    ("first", "heard", "asked"),
    [
        ("塌方,车辆车辆车辆车辆车辆车辆车", "车辆请绕行", [0, 4]),
        ("电话,1、2、1、2、1、2、1、2、1、2、1、2", "车辆请绕行", [0, 4]),
        ("四十射射赐赐赐赐赐赐赐", "车辆请绕行", [0, 4]),
        ("暴雨橙色预警,请注意。暴雨橙色预警,请转移。电话8888", "", [0]),
        ("", "", [0]),
    ],
)
def test_a_recogniser_in_a_loop_hears_again_without_repeating_itself(
    first: str, heard: str, asked: list[int]
) -> None:
    listener = recogniser._Listener.__new__(recogniser._Listener)
    listener._model = _Looping(first)
    assert listener.hear(_SENTENCE.read_bytes(), "") == (heard or first)
    assert listener._model.asked == asked


@pytest.mark.slow
async def test_the_real_one_hears_a_real_sentence(tmp_path: Path) -> None:
    _must_be_installed()
    one = Recogniser(tmp_path)
    try:
        heard = await one.hear(_SENTENCE.read_bytes(), deadline_s=300)
        verdict = compare("预计未来六小时内，降雨量将达五十毫米以上，请立即转移。", heard)
        assert verdict.ok, heard
        with pytest.raises(RecogniserError, match="no sound"):
            await one.hear(b"no sound at all", deadline_s=300)
        assert one.pid is not None
    finally:
        await one.close()
