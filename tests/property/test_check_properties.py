"""What follows from a check: nothing urgent waits, nothing wrong is aired unflagged, all holds end."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tts.check import Fault, Finding, Hold, Take, TakeFlagged, TryNext, Verdict, after_check, compare

verdicts = st.none() | st.builds(
    Verdict,
    ser=st.floats(0, 3),
    missing=st.lists(st.sampled_from(["十二", "转移", "舟曲县"]), max_size=3).map(tuple),
    ok=st.booleans(),
)
findings = st.lists(
    st.builds(Finding, st.sampled_from(list(Fault)), st.floats(-60, 60), st.floats(-60, 60)), max_size=3
)


@given(verdicts, findings, st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=500, deadline=None)
def test_every_check_ends_in_one_outcome_that_says_why(
    verdict: Verdict | None, found: list[Finding], red: bool, fast: bool, more: bool
) -> None:
    outcome = after_check(verdict, found, red=red, fast=fast, more_voices=more)
    clean = not found and (verdict is None or verdict.ok)
    assert isinstance(outcome, Take) == clean
    if isinstance(outcome, Take):
        return
    assert outcome.why
    if red or fast:
        assert isinstance(outcome, TakeFlagged)
    elif more:
        assert isinstance(outcome, TryNext)
    else:
        assert isinstance(outcome, Hold)
        assert 0 < outcome.minutes <= 30


spoken = ["请立即转移", "降雨", "120毫米", "舟曲县", "拨打119", "不要过河", "2人", "，"]
texts = st.lists(st.sampled_from(spoken), min_size=1, max_size=8).map("".join)


@given(texts)
@settings(max_examples=60, deadline=None)
def test_a_text_heard_as_it_was_written_is_right(text: str) -> None:
    verdict = compare(text, text, places=["舟曲县"])
    assert verdict.ser == 0
    assert verdict.missing == ()


@given(texts, texts)
@settings(max_examples=60, deadline=None)
def test_errors_are_never_negative_and_missing_words_are_the_texts_own(text: str, heard: str) -> None:
    verdict = compare(text, heard, places=["舟曲县"])
    assert verdict.ser >= 0
    assert verdict.ok <= (not verdict.missing)
