"""The voice process seen from the controller: what it does when the process crashes, hangs or lies."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

import tts.renderer
from alerts.model import Colour
from tts.renderer import Form, Piece, Rendered, Renderer
from tts.script import Script
from tts.voice import DEFAULT_VOICE, Signal, Speech, VoiceError, VoiceFailure

PATIENT_S = 600.0
"""For the real voice on a machine that is busy with other things."""
SCRIPT = Script("zh", ("请注意。",), "请注意。", "zh", "1", ("请注意。",))

# Speaks the worker's protocol without a voice: what the sentence says, it does.
FAKE = """
import os, struct, sys, time, json
def answer(head, data=b""):
    body = json.dumps({**head, "bytes": len(data)}).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(body)) + body + data); sys.stdout.flush()
while size := sys.stdin.buffer.read(4):
    head = json.loads(sys.stdin.buffer.read(struct.unpack(">I", size)[0]))
    sys.stdin.buffer.read(head["bytes"])
    word = "".join(head.get("sentences", []))
    told = {"id": head["id"], "seconds": 1.0, "lufs": -15.0, "dbtp": -2.0, "stages": {}, "voice": "fake",
            "model_sha256": "f", "spoken": [word, head.get("signal", ""), str(os.getpid())]}
    if word == "crash": sys.stderr.write("it hurts\\n"); sys.stderr.flush(); os._exit(3)
    if word == "hang": time.sleep(600)
    if word == "junk": sys.stdout.buffer.write(b"\\0\\0\\0\\5hello"); sys.stdout.flush(); continue
    if word == "stale": answer({**told, "id": head["id"] - 1}, b"old"); continue
    if word == "half": sys.stdout.buffer.write(b"\\0\\0"); sys.stdout.flush(); os._exit(0)
    if word == "silent": answer({**told, "lufs": float("-inf")}, b"mp3"); continue
    if word == "empty": answer(told); continue
    if word == "noisy": sys.stderr.write("x" * 3_000_000 + "\\n" * 5000); sys.stderr.flush()
    if word == "truncated": answer({"id": head["id"], "error": "truncated", "detail": "short"}); continue
    if "slow" in word: time.sleep(0.2)
    if head["op"] == "stop": continue
    answer(told, b"mp3")
"""


def fake(tmp_path: Path, *, queue: int = 16) -> Renderer:
    return Renderer(tmp_path, queue=queue, command=(sys.executable, "-c", FAKE))


def script(word: str) -> Script:
    return Script("zh", (word,), word, "zh", "1", (word,))


async def render(renderer: Renderer, word: str, deadline_s: float = 30.0) -> tuple[str, ...]:
    made = await renderer.render(script(word), kind="actual", colour=Colour.RED, deadline_s=deadline_s)
    assert made.clip == b"mp3"
    return made.spoken


async def test_who_has_no_time_left_is_told_so_and_the_voice_process_lives_on(tmp_path: Path) -> None:
    renderer = fake(tmp_path)
    try:
        process = (await render(renderer, "slow"))[-1]
        for left in (0.0, -0.16):
            with pytest.raises(VoiceError, match="no time was left") as caught:
                await render(renderer, "slow", deadline_s=left)
            assert caught.value.reason is VoiceFailure.TIMEOUT
        assert (await render(renderer, "好"))[-1] == process
    finally:
        await renderer.close()


async def test_a_message_that_is_late_tells_the_time_it_was_given_not_what_was_left(tmp_path: Path) -> None:
    renderer = fake(tmp_path)
    words = [f"{n} slow" for n in range(9)]
    try:
        await render(renderer, "好")
        with pytest.raises(VoiceError, match=r"no answer in 0\.25 s|no time was left") as late:
            await renderer.render_pieces([Piece(tuple(words))], Form(Signal.TEST), deadline_s=0.25)
        assert late.value.reason is VoiceFailure.TIMEOUT
        assert (await render(renderer, "好"))[0] == "好"
    finally:
        await renderer.close()


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("crash", VoiceFailure.CRASHED),
        ("junk", VoiceFailure.CRASHED),
        ("stale", VoiceFailure.CRASHED),
        ("half", VoiceFailure.CRASHED),
        ("silent", VoiceFailure.SILENT),
        ("empty", VoiceFailure.SILENT),
        ("truncated", VoiceFailure.TRUNCATED),
    ],
)
async def test_every_failure_has_its_name_and_the_next_call_works(
    tmp_path: Path, word: str, reason: VoiceFailure
) -> None:
    renderer = fake(tmp_path)
    try:
        with pytest.raises(VoiceError) as failed:
            await render(renderer, word)
        assert failed.value.reason is reason
        assert (await render(renderer, "ok"))[0] == "ok"
    finally:
        await renderer.close()


async def test_a_crash_tells_the_last_words_of_the_process(tmp_path: Path) -> None:
    renderer = fake(tmp_path)
    try:
        with pytest.raises(VoiceError, match=r"ended with 3 .*it hurts"):
            await render(renderer, "crash")
    finally:
        await renderer.close()


async def test_a_voice_that_hangs_is_ended_when_it_does_not_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tts.renderer._STOP_S", 0.1)
    monkeypatch.setattr("tts.renderer._LOAD_S", 0.1)
    renderer = fake(tmp_path)
    try:
        first = (await render(renderer, "ok"))[2]
        with pytest.raises(VoiceError) as failed:
            await render(renderer, "hang", deadline_s=0.3)
        assert failed.value.reason is VoiceFailure.TIMEOUT
        assert (await render(renderer, "ok"))[2] != first
        with pytest.raises(ProcessLookupError):
            os.kill(int(first), 0)
    finally:
        await renderer.close()


# Stops what it does when asked to, as the real process does; what it answered to is written down.
OBEDIENT = """
import json, os, queue, struct, sys, threading
asked, stopped = queue.SimpleQueue(), queue.SimpleQueue()
def listen():
    while size := sys.stdin.buffer.read(4):
        head = json.loads(sys.stdin.buffer.read(struct.unpack(">I", size)[0]))
        sys.stdin.buffer.read(head["bytes"])
        (stopped if head["op"] == "stop" else asked).put(head)
    os._exit(0)
threading.Thread(target=listen, daemon=True).start()
while True:
    head = asked.get()
    word = "".join(head["sentences"])
    told = {"id": head["id"], "seconds": 1.0, "lufs": -15.0, "dbtp": -2.0, "stages": {}, "voice": "fake",
            "model_sha256": "f", "spoken": [word, head.get("signal", ""), str(os.getpid())]}
    if word == "long":
        sys.stderr.write("long begins\\n"); sys.stderr.flush()
        while stopped.get()["id"] != head["id"]: pass
        told = {"id": head["id"], "error": "closed", "detail": "stopped"}
    data = b"" if "error" in told else b"mp3"
    body = json.dumps({**told, "bytes": len(data)}).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(body)) + body + data); sys.stdout.flush()
"""


@pytest.mark.parametrize("late", [False, True])
async def test_a_late_or_cancelled_request_stops_and_leaves_the_loaded_process(
    tmp_path: Path, late: bool
) -> None:
    renderer = Renderer(tmp_path, command=(sys.executable, "-c", OBEDIENT))
    try:
        first = (await render(renderer, "ok"))[2]
        for n in range(3):
            task = asyncio.create_task(render(renderer, "long", 0.2 if late else 60))
            if late:
                with pytest.raises(VoiceError, match="no answer"):
                    await task
            else:
                async with asyncio.timeout(30):
                    while renderer.stderr.count("long begins") <= n:
                        await asyncio.sleep(0.01)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert (await render(renderer, f"next {n}"))[::2] == (f"next {n}", first)
        assert renderer.pid == int(first)
    finally:
        await renderer.close()


async def test_what_ends_while_it_is_cancelled_is_not_taken_for_the_next_answer(tmp_path: Path) -> None:
    """At whatever moment it is cancelled: unsent, half answered, ready."""
    renderer = fake(tmp_path)
    try:
        first = (await render(renderer, "ok"))[2]
        for n in range(60):
            task = asyncio.create_task(render(renderer, f"gone {n}"))
            for _ in range(n):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert (await render(renderer, f"next {n}"))[::2] == (f"next {n}", first)
    finally:
        await renderer.close()


async def test_a_cancelled_request_leaves_no_answer_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tts.renderer._STOP_S", 0.1)
    monkeypatch.setattr("tts.renderer._LOAD_S", 0.1)
    renderer = fake(tmp_path)
    try:
        await render(renderer, "ok")
        task = asyncio.create_task(render(renderer, "hang"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await render(renderer, "next"))[0] == "next"
    finally:
        await renderer.close()


async def test_one_at_a_time_in_order_and_a_full_queue_says_so(tmp_path: Path) -> None:
    renderer = fake(tmp_path, queue=2)
    try:
        tasks = [asyncio.create_task(render(renderer, word)) for word in ("slow", "b", "c")]
        await asyncio.sleep(0)
        with pytest.raises(VoiceError) as failed:
            await render(renderer, "d")
        assert failed.value.reason is VoiceFailure.BUSY
        assert [spoken[0] for spoken in await asyncio.gather(*tasks)] == ["slow", "b", "c"]
    finally:
        await renderer.close()


async def test_what_the_process_writes_is_bounded_and_does_not_block_it(tmp_path: Path) -> None:
    renderer = fake(tmp_path)
    try:
        await render(renderer, "noisy")
        assert len(renderer.stderr) <= 200
        assert all(len(line) <= 500 for line in renderer.stderr)
    finally:
        await renderer.close()


async def test_a_closed_renderer_says_so_and_leaves_no_process(tmp_path: Path) -> None:
    renderer = fake(tmp_path)
    pid = int((await render(renderer, "ok"))[2])
    waiting = asyncio.create_task(render(renderer, "hang"))
    await asyncio.sleep(0.05)
    await renderer.close()
    with pytest.raises(VoiceError) as failed:
        await waiting
    assert failed.value.reason is VoiceFailure.CLOSED
    with pytest.raises(VoiceError, match="closed"):
        await render(renderer, "ok")
    assert renderer.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_renderer_is_closed_only_when_the_process_of_a_cancelled_request_is_gone(
    tmp_path: Path,
) -> None:
    renderer = fake(tmp_path)
    asking = asyncio.create_task(render(renderer, "hang"))
    async with asyncio.timeout(30):
        while renderer.pid is None:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    process = renderer._process
    assert process is not None
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await renderer.close()
    assert process.returncode is not None, "a loop that ends before it warns of a closed event loop"
    assert renderer.pid is None


async def test_a_program_that_is_not_there_is_a_named_failure(tmp_path: Path) -> None:
    renderer = Renderer(tmp_path, command=(str(tmp_path / "no-python"),))
    with pytest.raises(VoiceError, match="does not start"):
        await render(renderer, "ok")
    await renderer.close()


async def test_the_signal_follows_the_kind(tmp_path: Path) -> None:
    renderer = fake(tmp_path)
    try:
        red = await renderer.render(SCRIPT, kind="actual", colour=Colour.RED)
        drill = await renderer.render(SCRIPT, kind="exercise", colour=Colour.RED)
        over = await renderer.render(SCRIPT, kind="actual", colour=Colour.RED, stage="cancel")
        assert [made.spoken[1] for made in (red, drill, over)] == ["red", "exercise", "all_clear"]
    finally:
        await renderer.close()


async def test_an_impossible_speed_is_refused_before_anything_starts(tmp_path: Path) -> None:
    renderer = fake(tmp_path)
    with pytest.raises(VoiceError, match="speed"):
        await renderer.render(SCRIPT, kind="test", colour=None, speed=9)
    assert renderer.pid is None


async def test_the_real_process_ends_in_the_middle_when_the_controller_is_gone(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tts.worker", "--cache", str(tmp_path)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    long = {"id": 1, "op": "speak", "sentences": ["请马上转移。" * 20] * 50, "voice": DEFAULT_VOICE}
    head = json.dumps({**long, "speed": 1.0, "readings": {}, "bytes": 0}).encode()
    told, _ = await asyncio.wait_for(process.communicate(len(head).to_bytes(4, "big") + head), 120)
    assert (process.returncode, told) == (0, b"")


async def test_the_real_process_refuses_what_is_no_frame(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tts.worker", "--cache", str(tmp_path)),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await asyncio.wait_for(process.communicate(b"GET / HTTP/1.1\r\n\r\n"), 30)
    assert process.returncode == 2
    assert b"no frame" in told


async def test_what_a_library_prints_never_lands_between_two_answers(tmp_path: Path) -> None:
    talkative = (
        "import os, tts.worker as w\n"
        "def answer(self, head, payload):\n"
        "    print('Building prefix dict', flush=True); os.write(1, b'from C')\n"
        "    return {'model_sha256': 'f'}, b''\n"
        "w.Worker.answer = answer\n"
        "w.main()"
    )
    renderer = Renderer(tmp_path, command=(sys.executable, "-c", talkative))
    try:
        assert await renderer.warm() == "f"
        assert await renderer.warm() == "f"
    finally:
        await renderer.close()
    assert "Building prefix dict" in renderer.stderr[0]


async def test_speech_of_another_voice_is_shaped_by_the_real_process(tmp_path: Path) -> None:
    from array import array
    from math import sin

    tone = array("f", (0.1 * sin(i / 8) * (sin(i / 3000) > 0) for i in range(48_000))).tobytes()
    renderer = Renderer(tmp_path)

    async def shape(pcm: bytes, words: str = "请注意。", rate: int = 24_000) -> Rendered:
        speech = Speech(pcm, rate, len(pcm) / 4 / rate)
        return await renderer.render_pieces(
            [Piece((words,), speech)], Form(Signal.TEST), voice="bank", speed=1.0
        )

    try:
        made = await shape(tone)
        assert made.lufs == pytest.approx(-15, abs=1.5)
        assert made.dbtp <= -3
        assert made.voice == "bank"
        assert made.seconds > 2.0 + 0.5 + 0.35 + 0.6
        with pytest.raises(VoiceError, match="16000 Hz"):
            await shape(tone, rate=16_000)
        with pytest.raises(VoiceError) as failed:
            await shape(bytes(192_000))
        assert failed.value.reason is VoiceFailure.SILENT
        with pytest.raises(VoiceError) as short:
            await shape(tone, "未来6小时降雨量将达到100毫米，请立即转移。")
        assert short.value.reason is VoiceFailure.TRUNCATED
    finally:
        await renderer.close()


def watched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Python processes started from here write down, and may not, whom they ask over a network."""
    folder.mkdir()
    asked = folder / "asked"
    (folder / "sitecustomize.py").write_text(
        f"""
import sys

def note(what):
    with open({str(asked)!r}, "a") as file:
        file.write(what + "\\n")

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        note(event)
        raise PermissionError(event)

note("watching")
sys.addaudithook(watch)
"""
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return asked


@pytest.mark.slow
async def test_a_real_sentence_is_whole_loud_and_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, cache = tmp_path / "home", tmp_path / "cache"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setattr(tts.renderer, "_ANSWER_S", PATIENT_S)
    asked = watched(tmp_path / "watch", monkeypatch)
    said = Script("zh", ("舟曲县大川镇，暴雨橙色预警。", "请马上离开河道，准备转移。"), "", "zh", "1", ())
    renderer = Renderer(cache, readings={"舟曲": "zhou1 qu3"})
    try:
        assert len(await renderer.warm()) == 64
        made = await renderer.render(said, kind="actual", colour=Colour.ORANGE, deadline_s=PATIENT_S)
        characters = 13 + 11
        words = made.seconds - 0.5 - 2.1 - 0.35 - 0.6
        assert 0.15 < words / characters < 0.40
        assert made.lufs == pytest.approx(-15, abs=1.5)
        assert made.dbtp <= -3
        assert (made.voice, made.spoken) == (DEFAULT_VOICE, said.sentences)

        again = await renderer.render(said, kind="actual", colour=Colour.ORANGE, deadline_s=PATIENT_S)
        assert again.clip == made.clip

        # Killed in the middle of a sentence never spoken before: the next request has a voice again.
        pid = renderer.pid
        assert pid is not None
        fresh = Script("zh", ("住在山边、河边和危房里的群众，听从村干部安排转移。",) * 3, "", "zh", "1", ())
        task = asyncio.create_task(
            renderer.render(fresh, kind="actual", colour=Colour.ORANGE, deadline_s=PATIENT_S)
        )
        await asyncio.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(VoiceError) as failed:
            await task
        assert failed.value.reason is VoiceFailure.CRASHED
        third = await renderer.render(said, kind="actual", colour=Colour.ORANGE, deadline_s=PATIENT_S)
        assert third.clip == made.clip
        assert renderer.pid != pid

        # Cancelled in the middle of a sentence: the loaded model answers the next.
        pid = renderer.pid
        gone = ("住在山边、河边和危房里的群众，请听从村干部安排，带好证件和常用药品，" * 3 + "有序转移。",)
        task = asyncio.create_task(
            renderer.render_pieces([Piece(gone)], Form(Signal.RED), deadline_s=PATIENT_S)
        )
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        fourth = await renderer.render(said, kind="actual", colour=Colour.ORANGE, deadline_s=PATIENT_S)
        assert fourth.clip == made.clip
        assert renderer.pid == pid

        voice = renderer.voice("zf_xiaobei", budget_s=PATIENT_S)
        speech = await voice.speak(["请注意防范。"], speed=1.0)
        assert (voice.name, voice.languages) == ("zf_xiaobei", frozenset({"zh"}))
        assert len(speech.pcm) == 4 * round(speech.seconds * speech.sample_rate)
        with pytest.raises(VoiceError) as unknown:
            await renderer.voice("nobody").speak(["请注意。"], speed=1.0)
        assert unknown.value.reason is VoiceFailure.UNKNOWN_VOICE
        with pytest.raises(VoiceError) as nothing:
            await voice.speak(["……"], speed=1.0)
        assert nothing.value.reason is VoiceFailure.TEXT
    finally:
        await renderer.close()
    assert set(asked.read_text().split()) == {"watching"}  # each process that spoke was
    assert [p for p in home.rglob("*") if p.is_file()] == []
    assert (cache.stat().st_mode & 0o777) == 0o700


async def test_what_is_urgent_is_let_in_between_the_sentences_of_what_is_not(tmp_path: Path) -> None:
    renderer = fake(tmp_path)
    ended: list[str] = []

    async def make(name: str, sentences: tuple[str, ...], urgency: int) -> None:
        long = Script("zh", sentences, "".join(sentences), "zh", "1", sentences)
        await renderer.render(long, kind="actual", colour=Colour.RED, urgency=urgency)
        ended.append(name)

    try:
        await render(renderer, "ready")
        drill = asyncio.create_task(make("drill", tuple(f"slow {n}" for n in range(30)), urgency=3))
        await asyncio.sleep(0.3)
        assert not drill.done()
        await asyncio.gather(make("whole", ("slow", "slow"), urgency=1), make("lead", ("slow",), urgency=0))
        await drill
        assert ended == ["lead", "whole", "drill"]
    finally:
        await renderer.close()


async def test_a_request_that_gives_up_waiting_leaves_the_turn_to_the_next(tmp_path: Path) -> None:
    renderer = fake(tmp_path)
    try:
        await render(renderer, "ready")
        first = asyncio.create_task(render(renderer, "slow"))
        await asyncio.sleep(0.05)
        given_up = asyncio.create_task(render(renderer, "never"))
        await asyncio.sleep(0.05)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        assert (await render(renderer, "next"))[0] == "next"
        await first
    finally:
        await renderer.close()


# Answers at once, and writes down in which order it was asked.
ORDERLY = """
import struct, sys, json
asked = open(sys.argv[1], "a", buffering=1)
while size := sys.stdin.buffer.read(4):
    head = json.loads(sys.stdin.buffer.read(struct.unpack(">I", size)[0]))
    sys.stdin.buffer.read(head["bytes"])
    asked.write(head["op"] + " " + "".join(head.get("sentences", [])) + "\\n")
    told = {"id": head["id"], "rate": 24000, "seconds": 1.0, "lufs": -15.0, "dbtp": -2.0, "stages": {},
            "voice": "fake", "model_sha256": "f", "spoken": head.get("sentences", []), "bytes": 1}
    body = json.dumps(told).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(body)) + body + b"c"); sys.stdout.flush()
"""


@pytest.mark.parametrize("others", [(50, 50, 99), (1, 3, 6), (0, 50)])
async def test_between_the_sentences_of_what_is_urgent_nobody_else_speaks(
    tmp_path: Path, others: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The countdown's clips, a drill, a preview, a whole, another lead that came later: whatever speaks, a
    broadcast waits for the end of what is spoken at once, once."""
    monkeypatch.setattr(tts.renderer, "ABREAST", 2)
    log = tmp_path / "asked"
    renderer = Renderer(tmp_path / "cache", command=(sys.executable, "-c", ORDERLY, str(log)))
    lead = ("lead one.", "lead two.", "lead three.", "lead one.")

    async def speak(name: str, urgency: int) -> None:
        for n in range(200):
            await renderer.render_pieces(
                [Piece((f"{name} {n} a.", f"{name} {n} b."))], Form(Signal.TEST), urgency=urgency
            )

    first = [asyncio.create_task(speak(f"other{n}", u)) for n, u in enumerate(others) if u]
    later: list[asyncio.Task[None]] = []
    try:
        while not log.exists() or len(log.read_text().splitlines()) < 5:
            await asyncio.sleep(0)
        made = asyncio.create_task(renderer.render_pieces([Piece(lead)], Form(Signal.RED), urgency=0))
        await asyncio.sleep(0)
        later = [asyncio.create_task(speak("later", 0)) for u in others if not u]
        before = len(log.read_text().splitlines())
        await made
        asked = log.read_text().splitlines()
        began = asked.index("speak lead one.lead two.")
        assert asked[began : began + 3] == [
            "speak lead one.lead two.",
            "speak lead three.",
            "render " + "".join(lead),
        ]
        assert began - before <= 1
        assert not any(task.done() for task in (*first, *later))
    finally:
        for task in (*first, *later):
            task.cancel()
        await asyncio.gather(*first, *later, return_exceptions=True)
        await renderer.close()
