"""One message in several languages, for several loudspeakers: which clips are made, and what stands in when a
voice fails. The worker's protocol without a model; the county's other voices are programs."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import pytest

from alerts.model import Colour
from config.schema import BankVoice, CommandVoice, Voice
from controller import prepare
from controller.metrics import Metrics
from controller.store import Unknown
from controller.voicing import Voicing, profiles_of
from terminals.broadcast import Part
from terminals.model import Terminal
from tts import files, floor
from tts.airtime import Profile
from tts.recogniser import RecogniserError
from tts.renderer import Renderer
from tts.script import Script, ScriptError, ScriptRequest, Spoken
from tts.verdict import Hold, TakeFlagged, Verdict

# What is rendered is told as text: signal, loudspeaker, codec, then the sentences of each piece, those given
# by another voice in brackets.
WORKER = """
import json, os, struct, sys, time
while size := sys.stdin.buffer.read(4):
    head = json.loads(sys.stdin.buffer.read(struct.unpack(">I", size)[0]))
    payload = sys.stdin.buffer.read(head["bytes"])
    data, said, error = b"", head.get("sentences", []), None
    if head["op"] == "decode": data = payload[44:][: len(payload) // 4 * 4]
    if head["op"] == "decode":
        import array
        pcm = array.array("h", payload[44:])
        data = array.array("f", (x / 32768 for x in pcm)).tobytes()
    if head["op"] == "render":
        said = [s for piece in head["pieces"] for s in piece["sentences"]]
        told = "|".join(("[%s]" if piece["samples"] else "%s") % "".join(piece["sentences"])
                        for piece in head["pieces"])
        data = "/".join((head["signal"], head["speaker"], head["codec"], told)).encode()
        if "mute" in sys.argv: error = "silent"
        if "no-indoor" in sys.argv and head["speaker"] == "indoor": error = "crashed"
    with open(os.environ["ASKED"], "a") as log: log.write(head["op"] + "\\n")
    told = {"id": head["id"], "seconds": len(data) / 96000 or 1.0, "rate": 24000, "lufs": -15.0, "dbtp": -2.0,
            "stages": {}, "voice": head.get("voice", ""), "model_sha256": "f", "spoken": said, "aloud": said}
    if error: told, data = {"id": head["id"], "error": error, "detail": "on purpose"}, b""
    body = json.dumps({**told, "bytes": len(data)}).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(body)) + body + data); sys.stdout.flush()
"""
# A county's own voice: a third of a second of tone a letter, and silence at the end.
SPEAKER = """
import array, math, sys, wave
text = sys.stdin.read()
if "broken" in sys.argv: sys.exit("no model here")
n = int(24000 * 0.2 * max(1, sum(c.isalpha() for c in text)))
pcm = array.array("h", (int(6000 * math.sin(i / 6) * abs(math.sin(i / 2400))) for i in range(n)))
pcm.extend([0] * 6000)
with wave.open(sys.stdout.buffer, "wb") as file:
    file.setnchannels(1); file.setsampwidth(2); file.setframerate(24000); file.writeframes(pcm.tobytes())
"""
REQUEST = ScriptRequest(
    kind="actual",
    stage="first",
    hazard="rainstorm",
    colour=Colour.ORANGE,
    issuer="舟曲县气象台",
    issued=datetime(2026, 7, 15, 6, 30, tzinfo=UTC),
    places=("大川镇",),
)
KO = Profile(("ko", "zh"))
ZH = Profile(("zh",))


WORDS = {
    "zh": (("请注意。", "请马上转移。"), "请互相通知。"),
    "ko": (("주의하세요.", "대피하세요."), "이웃에게 알리세요."),
}


def fake_compose(request: ScriptRequest, templates: object, order: tuple[str, ...]) -> Spoken:
    """Two sentences of headline and one more in every language: what is tested here is the road, no words."""
    scripts = []
    for tag in order:
        head, more = WORDS[tag]
        said = (*head, more)
        scripts.append(Script(tag, said, "".join(said), tag, "1", head))
    return Spoken(tuple(scripts), ())


@asynccontextmanager
async def voicing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *arguments: str,
    voice: str = "",
    language: str = "ko",
    alarms: list[str],
) -> AsyncIterator[Voicing]:
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    command = (sys.executable, "-c", WORKER, *arguments)
    monkeypatch.setattr("controller.voicing.Renderer", partial(Renderer, command=command))
    monkeypatch.setattr("controller.voicing.compose_all", fake_compose)
    others = ()
    if voice:
        others = (
            CommandVoice(
                engine="command",
                language=language,
                name="own",
                argv=(sys.executable, "-c", SPEAKER, voice),
                approved_by="金老师",
                approved_on=date(2026, 7, 1),
            ),
        )
    made = Voicing(
        Voice(others=others, approved_by="王主任", approved_on=date(2026, 7, 1)),
        tmp_path,
        (),
        Metrics(),
        alarms.append,
        prepare=False,
    )
    try:
        yield made
    finally:
        await made.close()


def asked(tmp_path: Path, op: str) -> int:
    return (tmp_path / "asked").read_text().split().count(op)


async def test_each_order_class_and_codec_is_made_once_most_loudspeakers_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminals = [
        *(Terminal(f"a{n}", "", "w01", languages=("ko", "zh")) for n in range(3)),
        *(Terminal(f"b{n}", "", "w01") for n in range(5)),
        Terminal("c", "", "w01", speaker="indoor"),
        Terminal("d", "", "w01", codecs=("opus", "mp3")),
    ]
    alarms: list[str] = []
    async with voicing(tmp_path, monkeypatch, voice="own", alarms=alarms) as made:
        variants = await made.voice(REQUEST, Part.WHOLE, profiles_of(terminals))
        assert [(v.language, v.speaker, v.codec) for v in variants] == [
            ("zh", "horn", "opus"),
            ("zh", "horn", "mp3"),
            ("ko+zh", "horn", "mp3"),
            ("zh", "indoor", "mp3"),
        ]
        both = (await made.audio(variants[2].sha256)).decode()
        assert both == (
            "orange/horn/mp3/[주의하세요.대피하세요.]|请注意。请马上转移。|[이웃에게 알리세요.]|请互相通知。"
        )
        assert asked(tmp_path, "render") == 4
        assert await made.voice(REQUEST, Part.WHOLE, profiles_of(terminals)) == variants
        assert asked(tmp_path, "render") == 4
        lead = await made.voice(REQUEST, Part.LEAD, {KO: 1})
        assert (
            (await made.audio(lead[0].sha256))
            .decode()
            .endswith("/[주의하세요.대피하세요.]|请注意。请马上转移。")
        )
        assert {v.sha256 for v in (*variants, *lead)} <= made._library.pinned()
    assert alarms == []


async def test_a_language_whose_voice_fails_is_said_in_mandarin_and_the_operator_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarms: list[str] = []
    async with voicing(tmp_path, monkeypatch, voice="broken", alarms=alarms) as made:
        variants = await made.voice(REQUEST, Part.WHOLE, {KO: 5})
        assert [(v.language, v.speaker) for v in variants] == [("zh", "horn")]
    assert any("no model here" in alarm and "ko is said in Mandarin" in alarm for alarm in alarms)


async def test_without_a_voice_for_a_language_the_notes_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarms: list[str] = []
    async with voicing(tmp_path, monkeypatch, alarms=alarms) as made:
        assert made.notes(REQUEST, {KO: 1, ZH: 3}) == (
            "ko is said in Mandarin: the county has no voice for it",
        )
        assert made.notes(REQUEST, {ZH: 3}) == ()
        [variant] = await made.voice(REQUEST, Part.WHOLE, {KO: 1})
        assert variant.language == "zh"


async def test_what_does_not_fit_is_in_the_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.voicing.airtime.plan.__kwdefaults__", {"longest_s": 4.0, "speed": 0.9})
    async with voicing(tmp_path, monkeypatch, voice="own", alarms=[]) as made:
        assert [note.split(",")[0] for note in made.notes(REQUEST, {KO: 1})] == ["ko is cut", "zh is cut"]


async def test_when_mandarin_fails_the_hazards_generic_clip_goes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarms: list[str] = []
    async with voicing(tmp_path, monkeypatch, "mute", alarms=alarms) as made:
        for request, hazard in (
            (REQUEST, "rainstorm"),
            (replace(REQUEST, hazard="debris_flow"), "debris_flow"),
            (replace(REQUEST, stage="cancel"), ""),
            (replace(REQUEST, kind="exercise"), ""),
        ):
            [variant] = await made.voice(request, Part.WHOLE, {KO: 1, ZH: 4})
            data, record = floor.generic(request.kind, request.stage, hazard)
            assert variant.sha256 == record.sha256
            assert (variant.language, variant.speaker) == ("zh", "")
            assert made.is_generic(variant.sha256)
            assert await made.audio(variant.sha256) == data
    assert len(alarms) == 4


async def test_what_cannot_be_composed_goes_out_as_the_generic_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def speechless(*_: object) -> Spoken:
        raise ScriptError("zh leaves out: what to do is a draft")

    alarms: list[str] = []
    async with voicing(tmp_path, monkeypatch, alarms=alarms) as made:
        monkeypatch.setattr("controller.voicing.compose_all", speechless)
        assert await made.known(REQUEST, {ZH: 1}), "no lead: it would say the same"
        [variant] = await made.voice(REQUEST, Part.WHOLE, {ZH: 1})
        assert made.is_generic(variant.sha256)
        assert alarms == [
            "zh leaves out: what to do is a draft; the generic clip goes out instead of: rainstorm"
        ]


def fill_disk(monkeypatch: pytest.MonkeyPatch, *, after: int = 0) -> None:
    """The library's disk takes so many files more."""
    real, left = files.write, [after]

    def write(path: Path, data: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, data)

    monkeypatch.setattr(files, "write", write)


async def test_a_full_disk_sends_the_generic_clip_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarms: list[str] = []
    async with voicing(tmp_path, monkeypatch, alarms=alarms) as made:
        fill_disk(monkeypatch)
        [variant] = await made.voice(REQUEST, Part.WHOLE, {ZH: 1})
        assert made.is_generic(variant.sha256)
        assert "No space left on device; the generic clip goes out" in alarms[0]
        assert alarms[1:] == ["the library of clips cannot be written: No space left on device"]
        with pytest.raises(OSError, match="No space left"):
            await made.clip(REQUEST)  # a preview, or what is made ahead
        await made.unpin(f"aired {variant.sha256}")
    async with voicing(
        tmp_path, monkeypatch, alarms=alarms
    ) as again:  # nor does it keep anybody from starting
        running = asyncio.create_task(again.run())
        await again.loaded.wait()
        running.cancel()
        assert await again.audio(variant.sha256)
        assert alarms[-1].endswith("No space left on device")


async def test_a_disk_that_is_full_after_the_first_clip_leaves_that_for_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarms: list[str] = []
    async with voicing(tmp_path, monkeypatch, alarms=alarms) as made:
        fill_disk(monkeypatch, after=2)
        [variant] = await made.voice(REQUEST, Part.WHOLE, {ZH: 2, Profile(("zh",), "indoor"): 1})
        assert variant.speaker == "horn"
        assert not made.is_generic(variant.sha256)
        assert "no clip for indoor" in alarms[0]


async def test_a_class_that_fails_takes_nothing_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarms: list[str] = []
    async with voicing(tmp_path, monkeypatch, "no-indoor", alarms=alarms) as made:
        variants = await made.voice(REQUEST, Part.WHOLE, {ZH: 4, Profile(("zh",), "indoor"): 2})
        assert [(v.language, v.speaker) for v in variants] == [("zh", "horn")]
    assert any("no clip for indoor" in alarm for alarm in alarms)


async def test_every_clip_of_the_floor_can_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with voicing(tmp_path, monkeypatch, alarms=[]) as made:
        for entry in floor.manifest():
            assert made.path(entry.record.sha256).read_bytes() == entry.data()
        with pytest.raises(Unknown):
            made.path("0" * 64)


async def test_leads_are_made_ahead_and_a_second_run_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from config.counties import load_county

    county = load_county("zhouqu").county
    wanted = list(prepare.leads(county, "舟曲县应急管理局", keys=("rainstorm", "evacuation")))
    assert len({one.request for one in wanted}) == len(wanted) == (4 + 1) * 4 * 20
    assert (wanted[0].request.stage, wanted[0].request.colour) == ("first", Colour.RED)
    async with voicing(tmp_path, monkeypatch, alarms=[]) as made:
        first = [result async for result in prepare.make(made, wanted[:6])]
    async with voicing(tmp_path, monkeypatch, alarms=[]) as made:
        again = [result async for result in prepare.make(made, wanted[:8])]
    assert [result.known for result in first] == [False] + [True] * 5  # these fake words name no place
    assert [result.known for result in again] == [True] * 8
    assert all(result.clip is not None for result in again)


def test_no_lead_names_a_time_so_it_is_the_one_that_will_be_aired() -> None:
    from config.counties import load_county
    from tts import templates
    from tts.script import compose

    zh = templates.load("zh")
    county = load_county("zhouqu").county
    for one in prepare.leads(
        county, "舟曲县应急管理局", stages=("first", "update", "continuation", "cancel")
    ):
        if one.request.places == ("舟曲县",):
            later = replace(
                one.request,
                issued=datetime(2026, 7, 15, 6, 30, tzinfo=UTC),
                expires=datetime(2026, 7, 16, tzinfo=UTC),
                issuer="甘肃省气象台",
                description="过去一小时降雨五十毫米。",
            )
            assert compose(one.request, zh).brief().sentences == compose(later, zh).brief().sentences


async def test_two_broadcasts_at_once_are_both_voiced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with voicing(tmp_path, monkeypatch, voice="own", alarms=[]) as made:
        one, other = await asyncio.gather(
            made.voice(REQUEST, Part.WHOLE, {KO: 1}),
            made.voice(replace(REQUEST, colour=Colour.RED), Part.WHOLE, {ZH: 1}),
        )
        assert (one[0].language, other[0].language) == ("ko+zh", "zh")


async def test_recordings_that_cannot_be_read_are_an_alarm_and_nothing_else_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setattr(
        "controller.voicing.Renderer", partial(Renderer, command=(sys.executable, "-c", WORKER))
    )
    folder = tmp_path / "bank"
    folder.mkdir()
    (folder / "bank.toml").write_text("language = [", encoding="utf-8")
    bank = BankVoice.model_validate(
        {
            "engine": "bank",
            "language": "zh",
            "folder": str(folder),
            "approved_by": "扎西",
            "approved_on": date(2026, 7, 1),
        }
    )
    alarms: list[str] = []
    made = Voicing(Voice(others=(bank,)), tmp_path, (), Metrics(), alarms.append, prepare=False)
    running = asyncio.create_task(made.run())
    try:
        async with asyncio.timeout(60):
            await made.loaded.wait()
        [variant] = await made.voice(REQUEST, Part.LEAD, {ZH: 1})
        assert not made.is_generic(variant.sha256)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await made.close()
    assert any("bank:bank cannot be used" in alarm for alarm in alarms)


class FakeEar:
    """Hears what another voice said (in brackets) rightly, and the offline voice as `offline` says."""

    def __init__(self, offline: Verdict | None) -> None:
        self._offline = offline
        self.asked: list[str] = []

    async def hear(self, sound: bytes, *, deadline_s: float) -> str:
        return "ok"

    async def judge(self, sound: bytes, wanted: str, *, places: Sequence[str], deadline_s: float) -> Verdict:
        self.asked.append(wanted)
        if b"[" in sound:
            return Verdict(0.0, (), True)
        if self._offline is None:
            raise RecogniserError("busy")
        return self._offline

    async def close(self) -> None: ...


WRONG = Verdict(0.3, ("五十",), False)


def listening(made: Voicing, ear: FakeEar) -> list[Hold | TakeFlagged]:
    """`made` listens with `ear`; what it says of its doubts."""
    made.ear.lacks = ""
    made.ear._recogniser = ear  # type: ignore[assignment]
    return []


def into(told: list[Hold | TakeFlagged]) -> Callable[[Hold | TakeFlagged], Awaitable[None]]:
    async def doubted(outcome: Hold | TakeFlagged) -> None:
        told.append(outcome)

    return doubted


async def test_what_is_heard_otherwise_is_said_by_the_next_voice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with voicing(tmp_path, monkeypatch, voice="speaks", language="zh", alarms=[]) as made:
        told = listening(made, ear := FakeEar(WRONG))
        [variant] = await made.voice(REQUEST, Part.WHOLE, {ZH: 1}, doubted=into(told))
        assert (await made.audio(variant.sha256)).endswith(b"]")
        assert told == []
        assert len(ear.asked) == 2
        again = await made.voice(REQUEST, Part.WHOLE, {ZH: 1}, doubted=into(told))
        assert again == (variant,)
        assert len(ear.asked) == 2, "nobody listens twice"


async def test_what_no_voice_says_right_is_told_as_a_hold_and_heard_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with voicing(tmp_path, monkeypatch, alarms=[]) as made:
        told = listening(made, ear := FakeEar(WRONG))
        both = {ZH: 2, Profile(("zh",), "indoor"): 1}
        variants = await made.voice(REQUEST, Part.WHOLE, both, doubted=into(told))
        assert len(variants) == 2, "it is made all the same: nothing is ever silent"
        assert isinstance(told[0], Hold)
        assert "五十" in told[0].why
        assert len(ear.asked) == 1, "the speech in both is the same"
        assert not await made.known(REQUEST, both), "what would wait is no clip that is ready"
        shown = await made.clip(REQUEST, profiles={ZH: 1})
        assert "五十" in shown.doubt
    async with voicing(tmp_path, monkeypatch, alarms=[]) as made:  # after a restart
        told = listening(made, later := FakeEar(WRONG))
        await made.voice(REQUEST, Part.WHOLE, both, doubted=into(told))
        assert isinstance(told[0], Hold)
        assert later.asked == []


@pytest.mark.parametrize(
    "request_", [replace(REQUEST, colour=Colour.RED), replace(REQUEST, hazard="dam_break", colour=None)]
)
async def test_red_and_fast_are_aired_at_once_and_listened_to_afterwards(
    request_: ScriptRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarms: list[str] = []
    async with voicing(tmp_path, monkeypatch, alarms=alarms) as made:
        told = listening(made, ear := FakeEar(WRONG))
        await made.voice(request_, Part.WHOLE, {ZH: 1}, doubted=into(told))
        assert (told, ear.asked) == ([], [])
        afterwards = asyncio.create_task(made.ear.run(b""))
        async with asyncio.timeout(30):
            while not told:
                await asyncio.sleep(0.01)
        afterwards.cancel()
        assert isinstance(told[0], TakeFlagged)
        assert any("aired, and it may not say" in alarm for alarm in alarms)
        await made.voice(request_, Part.WHOLE, {ZH: 1}, doubted=into(told))
        assert isinstance(told[-1], TakeFlagged), "flagged before it goes out again, and never held"
        assert len(ear.asked) == 1


async def test_an_ear_that_fails_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with voicing(tmp_path, monkeypatch, alarms=[]) as made:
        told = listening(made, ear := FakeEar(None))
        variants = await made.voice(REQUEST, Part.WHOLE, {ZH: 1}, doubted=into(told))
        assert variants
        assert told == []
        assert len(ear.asked) == 1


async def test_several_languages_are_listened_to_in_what_is_mandarin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with voicing(tmp_path, monkeypatch, voice="speaks", alarms=[]) as made:
        told = listening(made, ear := FakeEar(WRONG))
        await made.voice(REQUEST, Part.WHOLE, {KO: 1}, doubted=into(told))
        assert isinstance(told[0], Hold)
        assert all("주의" not in words for words in ear.asked)
        assert ear.asked


async def test_nothing_is_listened_to_where_the_county_does_not_want_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with voicing(tmp_path, monkeypatch, alarms=[]) as made:
        told = listening(made, ear := FakeEar(WRONG))
        made.ear.check = "findings"
        await made.voice(REQUEST, Part.WHOLE, {ZH: 1}, doubted=into(told))
        assert (told, ear.asked) == ([], [])


async def test_an_ear_that_does_not_load_is_an_alarm_and_nothing_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deaf(FakeEar):
        async def hear(self, sound: bytes, *, deadline_s: float) -> str:
            raise RecogniserError("weights are damaged")

    alarms: list[str] = []
    async with voicing(tmp_path, monkeypatch, alarms=alarms) as made:
        told = listening(made, ear := Deaf(WRONG))
        loading = asyncio.create_task(made.ear.run(b""))
        async with asyncio.timeout(30):
            while not alarms:
                await asyncio.sleep(0.01)
        loading.cancel()
        assert "weights are damaged" in alarms[0]
        assert await made.voice(REQUEST, Part.WHOLE, {ZH: 1}, doubted=into(told))
        assert (told, ear.asked) == ([], [])
