"""Which sound a terminal takes: variant, countdown, generic sentence."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.intensity import Places, felt
from alerts.model import Quake as Reported
from alerts.swave import arrival_s
from support.terminal import clip, staged_clip
from terminals.agent.choice import (
    NUMBER_AT_S,
    Profile,
    choose,
    countdown,
    fitting,
    generic_names,
    seconds_left,
)
from terminals.wire import Clip, Manifest, Quake

MP3 = frozenset({"mp3"})
THREE = Profile(("bo", "zh", "ii"), MP3, "column")


def variant(language: str, speaker: str = "", codec: str = "mp3") -> Clip:
    return Clip(language, codec, "0" * 64, 1, 1.0, "", speaker)


def test_languages_go_before_loudspeakers_and_loudspeakers_before_the_issuers_order() -> None:
    order = [
        variant("bo+zh+ii", "column"),
        variant("bo+zh+ii", ""),
        variant("bo+zh+ii", "horn"),
        variant("bo+zh", "column"),
        variant("bo+zh"),
        variant("bo"),
        variant("bo+ug"),
        variant("zh", "column"),
        variant("zh"),
        variant("zh+ug"),
        variant("ii"),
        variant("ii+bo", "column"),
    ]
    for best, worse in itertools.combinations(order, 2):
        if (best.language, worse.language) == ("ii", "ii+bo"):
            continue  # both begin with the same language: then the loudspeaker decides
        assert choose([worse, best], THREE) is best, (best, worse)
        assert choose([best, worse], THREE) is best, (best, worse)


def test_a_language_that_nobody_there_speaks_is_not_taken_nor_a_codec_it_cannot_play() -> None:
    assert choose([variant("ug"), variant("ug+zh"), variant("zh", codec="opus")], THREE) is None
    assert choose([], THREE) is None
    assert choose([variant("bo", codec="opus"), variant("zh", codec="mp3")], THREE) == variant("zh")


def test_of_equals_the_issuers_first_is_taken() -> None:
    first, second = variant("zh"), variant("zh")
    assert choose([first, second], THREE) is first


TAGS = ["zh", "bo", "ii", "ug", "mn"]
variants = st.builds(
    variant,
    st.lists(st.sampled_from(TAGS), min_size=1, max_size=4, unique=True).map("+".join),
    st.sampled_from(["", "horn", "column", "indoor"]),
    st.sampled_from(["mp3", "opus"]),
)


@given(
    st.lists(variants, max_size=8),
    st.lists(st.sampled_from(TAGS), min_size=1, max_size=4, unique=True),
    st.sampled_from([MP3, frozenset({"mp3", "opus"})]),
    st.randoms(),
)
def test_a_choice_is_playable_understood_and_does_not_hang_on_the_order_of_what_it_refuses(
    offered: list[Clip], languages: list[str], codecs: frozenset[str], chance: object
) -> None:
    profile = Profile(tuple(languages), codecs, "horn")
    taken = choose(offered, profile)
    playable = [v for v in offered if v.codec in codecs]
    if taken is None:
        assert not any(v.language in ("zh", "+".join(languages), languages[0]) for v in playable)
        return
    assert taken in playable
    spoken = taken.language.split("+")
    assert spoken[0] in ("zh", languages[0]) or set(spoken) <= set(languages)
    exact = [v for v in playable if v.language == "+".join(languages)]
    assert not exact or taken in exact
    same = [v for v in playable if v.language == taken.language]
    assert taken.speaker == "horn" or not any(v.speaker == "horn" for v in same)
    chance.shuffle(offered)  # type: ignore[attr-defined]
    again = choose(offered, profile)
    assert again is not None
    # A beginning of its own languages is the same whatever the order; of the others the issuer's first.
    beginnings = ["+".join(languages[:n]) for n in range(1, len(languages) + 1)]
    assert again.language == taken.language or not {again.language, taken.language} & set(beginnings)


def test_a_manifest_is_cut_to_what_fits_this_terminal() -> None:
    manifest = Manifest(
        (
            staged_clip("floor/actual/flood/first", 1, language="zh"),
            staged_clip("floor/actual/flood/first", 2, language="bo"),
            staged_clip("floor/actual/flood/first", 3, language="bo", speaker="horn"),
            staged_clip("floor/actual/fire/first", 4, language="ug"),
            staged_clip("quake/-", 5, codec="opus"),
        )
    )
    fits = fitting(manifest, Profile(("bo", "zh"), MP3, "horn"))
    assert {name: int(c.sha256, 16) for name, c in fits.items()} == {"floor/actual/flood/first": 3}


# --- the countdown ---

NUMBERS = {f"quake/{n}": clip(n) for n in range(1, 61)} | {"quake/-": clip(99)}


def said(left: float | None, clips: dict[str, Clip] = NUMBERS) -> int | None:
    taken = countdown(clips, left, lambda c: True)
    return None if taken is None else int(taken.sha256, 16)


def test_the_number_is_true_when_it_is_heard_and_none_is_said_too_late_or_unknown() -> None:
    assert said(12.0) == 9
    assert said(12.9) == 10
    assert said(3.6) == 1
    for without in (3.5, 0.0, -5.0, None, 90.0):
        assert said(without) == 99


@given(st.floats(-100, 400), st.sets(st.integers(1, 60)))
def test_a_countdown_never_promises_more_time_than_there_is(left: float, numbers: set[int]) -> None:
    clips = {f"quake/{n}": clip(n) for n in numbers} | {"quake/-": clip(99)}
    number = said(left, clips)
    assert number is not None
    if number != 99:
        assert number in numbers
        assert number <= left - NUMBER_AT_S < number + 6
    else:
        assert not any(n <= left - NUMBER_AT_S < n + 5 for n in numbers)


def test_a_clip_that_is_not_here_is_not_counted_with() -> None:
    assert countdown(NUMBERS, 20.0, lambda c: c is NUMBERS["quake/-"]) is NUMBERS["quake/-"]
    assert countdown(NUMBERS, 20.0, lambda c: False) is None
    assert countdown({}, 20.0, lambda c: True) is None


@given(
    st.floats(20, 50),
    st.floats(75, 130),
    st.floats(0, 700),
    st.floats(-3, 3),
    st.floats(-3, 3),
)
def test_one_place_and_many_places_agree_when_the_wave_comes(
    lat: float, lon: float, depth: float, north: float, east: float
) -> None:
    quake = Reported(origin=None, lat=lat, lon=lon, depth_km=depth, magnitude=7.0)  # type: ignore[arg-type]
    many = felt(quake, Places.at(lat + north, lon + east)).arrival[0]
    assert arrival_s(lat, lon, depth, lat + north, lon + east) == pytest.approx(
        float(many), rel=1e-3, abs=0.01
    )


def test_the_seconds_left_are_those_of_a_known_earthquake() -> None:
    """Wenchuan 2008 (31.0 N, 103.4 E, 14 km) at Chengdu (30.66 N, 104.06 E), 73 km: 21 s after origin."""
    quake = Quake(1_000_000, 31.0, 103.4, 14.0, 8.0, "s-1")
    assert seconds_left(quake, (30.66, 104.06), 1_000_000) == pytest.approx(21.3, abs=0.5)
    assert seconds_left(quake, (30.66, 104.06), 1_020_000) == pytest.approx(1.3, abs=0.5)
    assert seconds_left(quake, (31.0, 103.4), 1_000_000) == pytest.approx(4.0, abs=0.01)
    assert np.isfinite(seconds_left(quake, (-31.0, -76.6), 0))
    assert not math.isnan(seconds_left(quake, (31.0, 103.4), 10**15))


# --- the generic sentence ---


def test_the_generic_sentence_is_the_hazards_own_first_and_an_all_clear_is_never_a_warning() -> None:
    assert generic_names("actual", "flood", "red") == (
        "floor/actual/flood/first",
        "floor/actual/*/first",
    )
    assert generic_names("actual", "flood", "all_clear") == (
        "floor/actual/flood/cancel",
        "floor/actual/*/cancel",
    )
    assert generic_names("exercise", "", "exercise") == ("floor/exercise/*/first",)
