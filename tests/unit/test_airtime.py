"""The order and length of what is said, in one language or several."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.agent.choice import Profile as Own
from terminals.agent.choice import choose
from terminals.broadcast import Variant
from tts import floor
from tts.airtime import BETWEEN_LANGUAGES, LONGEST_S, Profile, estimate, orders, plan
from tts.script import Script


def script(language: str, *, rest: int = 3, closing: bool = False) -> Script:
    head = tuple(f"{language}要紧{n}。" for n in range(3))
    end = (f"{language}演练。",) if closing else ()
    body = tuple(f"{language}其余的话第{n}句，说得比较长一些。" for n in range(rest))
    said = (*head, *body, *end)
    return Script(language, said, "".join(said), language, "1", (*head, *end))


def test_one_language_is_said_as_it_is_written() -> None:
    mandarin = script("zh")
    made = plan([mandarin])
    assert [s.sentences for s in made.segments] == [mandarin.sentences]
    assert (made.tag, made.left_out) == ("zh", ())


def test_what_saves_lives_comes_first_in_every_language_in_the_villages_order() -> None:
    made = plan([script("bo"), script("zh")])
    assert [(s.language, s.sentences[0]) for s in made.segments] == [
        ("bo", "bo要紧0。"),
        ("zh", "zh要紧0。"),
        ("bo", "bo其余的话第0句，说得比较长一些。"),
        ("zh", "zh其余的话第0句，说得比较长一些。"),
    ]
    assert made.tag == "bo+zh"


def test_the_last_language_loses_first_and_the_plan_says_what() -> None:
    whole = plan([script("bo"), script("zh")])
    tight = plan([script("bo"), script("zh")], longest_s=whole.seconds - 1)
    assert [(s.language, s.sentences) for s in tight.left_out] == [
        ("zh", ("zh其余的话第2句，说得比较长一些。",))
    ]


def test_an_exercise_that_is_cut_still_ends_as_one() -> None:
    made = plan([script("bo", closing=True), script("zh", closing=True)], longest_s=1)
    assert [s.sentences[-1] for s in made.segments][-2:] == ["bo演练。", "zh演练。"]
    assert all("其余" not in x for s in made.segments for x in s.sentences)


@pytest.mark.parametrize("wrong", [[], [script("zh"), script("zh")]])
def test_no_script_or_two_of_one_language_is_refused(wrong: list[Script]) -> None:
    with pytest.raises(ValueError, match="one script per language"):
        plan(wrong)


@given(
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    closing=st.booleans(),
    limit=st.floats(1, 300),
)
def test_nothing_is_lost_twice_said_or_out_of_order(counts: list[int], closing: bool, limit: float) -> None:
    scripts = [
        script(tag, rest=n, closing=closing)
        for tag, n in zip(("bo", "zh", "ug", "yue"), counts, strict=False)
    ]
    made = plan(scripts, longest_s=limit)
    for one in scripts:
        said = [x for s in made.segments if s.language == one.language for x in s.sentences]
        lost = [x for s in made.left_out if s.language == one.language for x in s.sentences]
        assert sorted(said + lost) == sorted(one.sentences)
        assert [x for x in one.sentences if x in said] == said
        assert set(one.headline) <= set(said)
    assert made.languages == tuple(s.language for s in scripts)
    heads = [s.sentences[0] for s in made.segments[: len(scripts)]]
    assert heads == [s.headline[0] for s in scripts]
    # Shorter than asked, or nothing is left that could go; and no more was left out than had to be.
    assert made.seconds <= limit or all(
        {x for s in made.segments if s.language == one.language for x in s.sentences} == set(one.headline)
        for one in scripts
    )
    if made.left_out:
        back = estimate(made.left_out[0].sentences[0])
        assert made.seconds + back + BETWEEN_LANGUAGES > limit


def test_estimates_are_near_what_the_voice_took() -> None:
    # The shipped floor, measured: text and seconds of speech without its signal.
    for clip in ("exercise", "all-clear"):
        _, record = floor.generic(*(("actual", "cancel") if clip == "all-clear" else ("exercise", "first")))
        guess = sum(estimate(x) for x in floor.TEXTS[clip])  # type: ignore[index]
        assert guess == pytest.approx(record.seconds - 2.5, rel=0.34), clip
    assert LONGEST_S > 3 * 30


def test_most_loudspeakers_come_first_and_each_clip_once() -> None:
    profiles = {
        Profile(("bo", "zh")): 40,
        Profile(("zh",)): 100,
        Profile(("zh", "ug"), "column"): 7,
        Profile(("za",)): 3,
        Profile(("zh",), "horn", ("opus", "mp3")): 2,
    }
    assert orders(profiles, ("bo", "zh")) == (
        (("zh",), "horn", "mp3"),
        (("bo", "zh"), "horn", "mp3"),
        (("zh",), "column", "mp3"),
        (("zh",), "horn", "opus"),
    )
    assert orders({}, ()) == ((("zh",), "horn", "mp3"),)


_PROFILES = st.dictionaries(
    st.builds(
        Profile,
        st.lists(st.sampled_from(["zh", "bo", "ug", "yue"]), min_size=1, max_size=3, unique=True).map(tuple),
        st.sampled_from(["horn", "column", "indoor"]),
        st.sampled_from([("mp3",), ("opus", "mp3")]),
    ),
    st.integers(1, 500),
    max_size=12,
)


@given(profiles=_PROFILES, can=st.sets(st.sampled_from(["bo", "ug", "yue"])), limit=st.integers(2, 50))
def test_every_loudspeaker_finds_a_clip_that_it_understands(
    profiles: dict[Profile, int], can: set[str], limit: int
) -> None:
    wanted = orders(profiles, can, limit=limit)
    assert len(set(wanted)) == len(wanted) <= limit
    clips = [Variant("+".join(languages), codec, "", 1, 1.0, s) for languages, s, codec in wanted]
    clips.sort(key=lambda clip: clip.codec == "mp3")  # as `Voicing.voice` does
    for profile in profiles:
        picked = choose(clips, Own(profile.languages, frozenset({*profile.codecs, "mp3"}), profile.speaker))
        assert picked is not None
        if limit == 50:
            sayable = tuple(t for t in dict.fromkeys(profile.languages) if t in {*can, "zh"}) or ("zh",)
            assert picked.language == "+".join(sayable)
            assert picked.speaker == profile.speaker
            assert picked.codec == profile.codecs[0]
