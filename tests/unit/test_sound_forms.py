"""Classes of loudspeakers, codecs, sirens behind their permit, and the floor of every hazard."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest

from alerts import hazards
from alerts.model import Colour
from controller.cli.picture import picture
from terminals.agent.choice import generic_names
from tts import audio, floor
from tts.audio import PRESETS, RATE, db, loudness, true_peak
from tts.voice import Signal, SirenPermit, Speaker, VoiceError, signal_for
from tts.worker import Worker, decode, encode

PERMIT = SirenPermit("王主任", "2026-07-01")


def babble(seconds: float = 6.0) -> audio.Sound:
    """Speech-like: low and high noise in syllables of unequal loudness."""
    rng = np.random.default_rng(3)
    n = int(seconds * RATE)
    noise = rng.standard_normal(n).astype(np.float32)
    voiced = audio.apply([audio.peaking(RATE, 200, 0.7, 20.0)], noise, RATE)
    level = np.repeat(rng.uniform(0.05, 1.0, n // 4800 + 1), 4800)[:n]
    return (0.03 * voiced * level * np.abs(np.sin(np.pi * np.arange(n) / 4800))).astype(np.float32)


def band(sound: audio.Sound, low: float, high: float) -> float:
    """Level in dB of a band against the whole."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    return 10 * math.log10(power[(hz >= low) & (hz < high)].sum() / power.sum())


@pytest.mark.parametrize("speaker", list(Speaker))
def test_every_class_has_its_loudness_below_the_ceiling_also_after_the_codec(speaker: Speaker) -> None:
    told, clip = Worker._shape(
        Worker.__new__(Worker), [(0.0, babble())], {"signal": "red", "speaker": speaker.value}, {}
    )
    heard, _ = decode(clip)
    assert loudness(heard, RATE) == pytest.approx(PRESETS[speaker].lufs, abs=1.5)
    assert told["lufs"] == pytest.approx(loudness(heard, RATE), abs=0.01)
    assert told["dbtp"] == pytest.approx(true_peak(heard), abs=0.01)
    assert told["dbtp"] <= -3.0
    lead = int((PRESETS[speaker].lead_in - 0.02) * RATE)
    assert np.abs(heard[:lead]).max() < 1e-3


def test_a_horn_gets_less_bass_and_more_consonants_than_a_column_and_that_than_a_room() -> None:
    speech = babble()
    low, clear = zip(
        *(
            (band(out, 0, 200), band(out, 2000, 3500))
            for out in (audio.loudspeaker(speech, RATE, speaker) for speaker in Speaker)
        ),
        strict=True,
    )
    assert low[0] < low[1] - 3
    assert low[1] < low[2] - 1
    assert clear[0] > clear[1] > clear[2]


@pytest.mark.parametrize("codec", ["mp3", "opus", "wav"])
def test_each_codec_is_whole_and_its_peak_is_measured_on_what_is_heard(codec: str) -> None:
    if codec == "opus":
        pytest.importorskip("av", reason="the extra audio-more is not installed")
    told, clip = Worker._shape(
        Worker.__new__(Worker), [(0.0, babble(3))], {"signal": "blue", "codec": codec}, {}
    )
    sound, rate = decode(clip)
    assert rate == RATE
    assert len(sound) / rate == pytest.approx(told["seconds"])
    assert true_peak(sound) <= -3.0
    assert {"mp3": b"\xff", "opus": b"OggS", "wav": b"RIFF"}[codec] == clip[: 1 if codec == "mp3" else 4]


def test_an_unknown_codec_is_refused() -> None:
    with pytest.raises(VoiceError, match="there are mp3, opus and wav"):
        encode(babble(1), RATE, "aac")


def test_every_piece_goes_through_the_chain_by_itself_so_a_quiet_voice_is_as_loud() -> None:
    quiet, loud = babble(3) * np.float32(0.01), babble(3)
    _, clip = Worker._shape(
        Worker.__new__(Worker), [(0.0, quiet), (0.9, loud)], {"signal": "test", "codec": "wav"}, {}
    )
    sound, _ = decode(clip)
    start = int((0.5 + 0.18 + 0.35) * RATE)
    first, second = sound[start : start + 3 * RATE], sound[start + int(3.9 * RATE) :][: 3 * RATE]
    assert loudness(first, RATE) == pytest.approx(loudness(second, RATE), abs=0.5)
    gap = sound[start + int(3.05 * RATE) : start + int(3.85 * RATE)]
    assert np.abs(gap).max() < 1e-3


# --- sirens ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [s for s in Signal if s.siren])
def test_no_siren_without_a_permit(which: Signal) -> None:
    with pytest.raises(VoiceError, match="permitted"):
        audio.signal(which)
    with pytest.raises(VoiceError, match="permitted"):
        audio.assemble(babble(1), which)
    with pytest.raises(VoiceError, match="permitted"):
        Worker._shape(Worker.__new__(Worker), [(0.0, babble(1))], {"signal": which.value}, {})


@pytest.mark.parametrize("kind", ["actual", "exercise", "test"])
@pytest.mark.parametrize("hazard", [h.key for h in hazards.HAZARDS])
def test_no_message_of_any_hazard_carries_a_siren_by_itself(kind: str, hazard: str) -> None:
    from alerts.model import Colour

    for colour in (*Colour, None):
        for stage in ("first", "update", "continuation", "downgrade", "cancel"):
            assert not signal_for(kind, colour, stage, hazard).siren  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("which", "pattern"),
    [
        (Signal.SIREN_PREPARE, [(36, 24)] * 3),
        (Signal.SIREN_RAID, [(6, 6)] * 15),
        (Signal.SIREN_CLEAR, [(180, 0)]),
        (Signal.SIREN_DISASTER, [(15, 10), (5, 10)] * 3),
    ],
)
def test_sirens_keep_the_national_times_to_a_tenth(which: Signal, pattern: list[tuple[int, int]]) -> None:
    sound = audio.signal(which, permit=PERMIT)
    assert len(sound) / RATE == pytest.approx(sum(on + off for on, off in pattern), abs=0.01)
    tenths = np.abs(sound[: len(sound) // 2400 * 2400].reshape(-1, 2400)).max(axis=1) > 0.01
    edges = np.flatnonzero(np.diff(np.concatenate([[False], tenths, [False]]).astype(int)))
    lengths = np.diff(edges) / 10
    wanted = [x for on, off in pattern for x in (on, off)][: len(lengths)]
    assert lengths == pytest.approx(wanted, abs=0.21)
    assert db(float(np.abs(sound).max())) <= -3.0


def test_a_county_decides_its_own_disaster_pattern() -> None:
    permit = SirenPermit("王主任", "2026-07-01", ((2.0, 1.0), (1.0, 0.0)))
    assert len(audio.signal(Signal.SIREN_DISASTER, permit=permit)) / RATE == pytest.approx(4.0, abs=0.01)


def test_the_earthquakes_signal_begins_and_ends_at_once() -> None:
    sound = audio.assemble(audio.loudspeaker(babble(2)), Signal.QUAKE)
    loud = np.flatnonzero(np.abs(sound) > 0.05)
    assert loud[0] / RATE < 0.15
    signal = len(audio.signal(Signal.QUAKE)) / RATE
    assert signal <= 1.1
    assert np.abs(sound[int((0.25 + signal) * RATE) : int((0.6 + signal) * RATE)]).max() > 0.05


# --- the floor -------------------------------------------------------------------------------------------


def test_every_hazard_has_a_clip_on_the_floor_and_the_whole_floor_is_small() -> None:
    entries = floor.manifest()
    names = {entry.name for entry in entries}
    assert len(names) == len(entries)
    assert {f"floor/actual/{hazard.key}/first" for hazard in hazards.HAZARDS} <= names
    assert {
        "floor/actual/*/first",
        "floor/actual/*/cancel",
        "floor/exercise/*/first",
        "floor/test/*/first",
    } <= names
    assert sum(entry.record.size for entry in entries) < 3_000_000


@pytest.mark.parametrize("key", sorted(floor.HAZARDS))
def test_the_floor_of_a_hazard_says_its_words_loud_enough_and_no_colour(key: str) -> None:
    data, record = floor.generic("actual", "first", key)
    assert record.text == "".join(floor.sentences(key))
    assert not any(colour in record.text for colour in ("红色", "橙色", "黄色", "蓝色"))
    assert ("预警" in record.text) == (key not in hazards.NOTICES and "预警" in floor.HAZARDS[key][0])
    assert record.synthetic
    assert record.seconds < 20
    sound, rate = decode(data)
    assert len(sound) / rate == pytest.approx(record.seconds, abs=0.01)
    assert loudness(sound, rate) == pytest.approx(audio.TARGET_LUFS, abs=1.5)
    assert record.dbtp == pytest.approx(true_peak(sound), abs=0.01)
    assert record.dbtp <= -3.0


def test_the_floor_of_a_hazard_is_only_for_its_actual_warning() -> None:
    assert floor.generic("exercise", "first", "rainstorm") == floor.generic("exercise")
    assert floor.generic("test", "first", "rainstorm") == floor.generic("test")
    assert floor.generic("actual", "cancel", "rainstorm") == floor.generic("actual", "cancel")
    assert floor.generic("actual", "first", "unknown") == floor.generic("actual")
    assert floor.signal("earthquake") is Signal.QUAKE
    assert floor.signal("notice") is Signal.NOTICE


def test_the_end_of_a_notice_neither_repeats_it_nor_ends_a_warning() -> None:
    held = {entry.name: entry.record for entry in floor.manifest()}
    for key in hazards.NOTICES:
        _, record = floor.generic("actual", "cancel", key)
        assert record.text == "".join(floor.sentences("notice"))
        assert not any(word in record.text for word in ("停水", "停电", "预警", "解除"))
        for stage in ("first", "cancel"):  # a terminal cannot tell them apart: one signal
            which = signal_for("actual", None, stage, key)  # type: ignore[arg-type]
            found = next(held[n] for n in generic_names("actual", key, which) if n in held)
            assert found == record
        assert floor.generic("exercise", "cancel", key) == floor.generic("exercise")
        assert floor.generic("actual", "first", key)[1].text == "".join(floor.sentences(key))
    warned = signal_for("actual", Colour.RED, "first", "rainstorm")
    assert generic_names("actual", "rainstorm", warned)[0] == "floor/actual/rainstorm/first"


def test_the_picture_names_a_voice_in_chinese_with_or_without_a_chinese_font(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from PIL import Image

    clip = encode(babble(1), RATE, "wav")
    monkeypatch.setattr("controller.map.cjk_font", lambda: None)
    bare = Image.open(io.BytesIO(picture([("县里的声音", clip)])))
    assert bare.height == Image.open(io.BytesIO(picture([("ours", clip)]))).height


def test_the_picture_shows_every_sound_under_its_name() -> None:
    from PIL import Image

    clip = encode(babble(2), RATE, "wav")
    tone = (0.5 * np.sin(2 * np.pi * 2000 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    image = Image.open(io.BytesIO(picture([("babble", clip), ("tone", encode(tone, RATE, "wav"))])))
    assert image.format == "PNG"
    pixels = np.asarray(image.convert("RGB")).astype(int)
    half = pixels[len(pixels) // 2 :]
    bright = half.sum(axis=2)[134:334, 60:400]  # the tone's spectrogram: one line, at 2 kHz of 12
    row = int(bright.sum(axis=1).argmax())
    assert row == pytest.approx(200 * (1 - 2 / 12), abs=4)
