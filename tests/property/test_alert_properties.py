from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest
from alert_builders import ALL, COUNTY, HERE, T0, alert, cap_text, national_text
from hypothesis import example, given
from hypothesis import strategies as st

from alerts.area import cut
from alerts.formats import parse
from alerts.formats.fields import Notes, colour_of, strip_padding
from alerts.lifecycle import (
    Cancel,
    Continuation,
    Decision,
    Duplicate,
    Known,
    New,
    Refusal,
    Stale,
    State,
    Update,
    classify,
    remember,
    settled,
    sounds_as,
)
from alerts.model import Alert, AlertError, Area, CodeScheme, Colour, MsgType, RegionCode, Scope, Status
from alerts.regions import Resolved, Unresolved

NOW = T0 + timedelta(hours=1)
DOCUMENTS = (cap_text(), national_text())
SOUNDING = (New, Update, Continuation)


def outcome(body: bytes) -> Alert | AlertError:
    try:
        return parse(body, now=NOW)
    except AlertError as error:
        return error


# --- parsing -------------------------------------------------------------------------------------------


@given(st.binary(max_size=400))
@example(b"\xff\xfe<\0")
@example(b"<?xml version='1.0' encoding='utf-16'?><alert/>")
def test_any_bytes_are_an_alert_or_an_alert_error(body: bytes) -> None:
    assert isinstance(outcome(body), Alert | AlertError)


@given(st.sampled_from(DOCUMENTS), st.data())
def test_any_spoiled_document_is_an_alert_or_an_alert_error(document: str, data: st.DataObject) -> None:
    body = bytearray(document.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=8))
    assert isinstance(outcome(bytes(body)), Alert | AlertError)


TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="<&"), max_size=60)
NUMBERISH = st.text("0123456789.,+-eE ()nainf\n", max_size=40)


@given(st.sampled_from(DOCUMENTS), st.integers(0, 60), st.one_of(TEXT, NUMBERISH))
def test_any_value_in_any_field_is_an_alert_or_an_alert_error_with_a_path(
    document: str, number: int, value: str
) -> None:
    fields = list(re.finditer(r">([^<>]*)</", document))
    match = fields[number % len(fields)]
    found = outcome((document[: match.start(1)] + value + document[match.end(1) :]).encode())
    if isinstance(found, AlertError):
        assert found.where.startswith("alert/")
        assert found.why


@given(st.sampled_from(DOCUMENTS), st.integers(1, 3000))
def test_no_proper_beginning_of_a_document_is_a_warning(document: str, length: int) -> None:
    body = document.strip().encode()
    assert isinstance(outcome(body[: min(length, len(body) - 1)]), AlertError)


@given(st.permutations(re.findall(r"  <(?:identifier|sender|sent|status|msgType|scope)>.*\n", DOCUMENTS[0])))
def test_the_order_of_elements_does_not_matter(lines: list[str]) -> None:
    document = DOCUMENTS[0]
    first = document.index("  <identifier>")
    shuffled = document[:first] + "".join(lines) + document[document.index("  <info>") :]
    read, straight = (parse(text.encode(), now=NOW) for text in (shuffled, document))
    assert replace(read, raw_sha256="", remarks=()) == replace(straight, raw_sha256="", remarks=())
    odd = set(read.remarks) - set(straight.remarks)
    assert all(remark.endswith("is out of CAP's order") for remark in odd)


@given(st.text("红橙黄蓝色为I级一二三四/[]预警 LevelVredorangeyellowblue warning", max_size=60))
def test_a_colour_is_one_that_the_text_names(text: str) -> None:
    found = colour_of((), (text,), "x", Notes())
    marks = {
        Colour.RED: r"红|red|[I一Ⅰ]",
        Colour.ORANGE: r"橙|orange|[I二]",
        Colour.YELLOW: r"黄|yellow|[I三]",
        Colour.BLUE: r"蓝|blue|[I四]",
    }
    assert found is None or re.search(marks[found], text, re.IGNORECASE)


@given(st.integers(0, 10**12 - 1).map(lambda value: f"{value:012d}"))
def test_stripping_padding_only_takes_zeros_and_stops(digits: str) -> None:
    found = strip_padding(digits)
    assert digits == found + "0" * (12 - len(found))
    assert len(found) in (0, 2, 4, 6, 9, 12)
    assert strip_padding(found) == found


# --- regions -------------------------------------------------------------------------------------------

CODES = st.one_of(
    st.sampled_from(
        [unit.mca for unit in COUNTY.townships if unit.mca]
        + [unit.nbs for unit in COUNTY.townships if unit.nbs]
        + [unit.nbs for unit in COUNTY.villages if unit.nbs]
    ),
    st.text("0123456789", min_size=0, max_size=13),
    st.text("0123", min_size=3, max_size=3).map(lambda tail: f"623023{tail}"),
)


@given(CODES, st.sampled_from(CodeScheme))
def test_a_code_never_warns_a_village_outside_itself(digits: str, scheme: CodeScheme) -> None:
    found = COUNTY.resolve(RegionCode(scheme, digits))
    if isinstance(found, Unresolved):
        assert found.text
        return
    townships = {unit.key: unit for unit in COUNTY.townships}
    bare = strip_padding(digits)
    for village in (village for village in COUNTY.villages if village.key in found.villages):
        parent = townships[village.township_key]
        if len(bare) == 12:
            assert village.nbs == bare
        elif len(bare) == 9:
            lists = {CodeScheme.MCA: (parent.mca,), CodeScheme.NBS: (parent.nbs,)}.get(
                scheme, (parent.mca, parent.nbs)
            )
            assert bare in lists
        else:
            assert COUNTY.code.startswith(bare) or bare == "10"
    if scheme is CodeScheme.UNKNOWN and len(bare) == 9:
        for known in (CodeScheme.MCA, CodeScheme.NBS):
            other = COUNTY.resolve(RegionCode(known, bare))
            assert isinstance(other, Unresolved) or other.villages == found.villages, (
                "the lists do not disagree"
            )


@given(st.one_of(st.text(max_size=20), CODES, st.text("大川镇乡村舟曲县立节阳山/", max_size=8)))
def test_whatever_is_typed_resolves_or_says_why(typed: str) -> None:
    found = COUNTY.find(typed)
    if isinstance(found, Resolved):
        assert found.villages <= ALL
        assert found.villages
        if found.villages == ALL:
            assert "舟曲" in typed or "全县" in typed or "623023" in "".join(c for c in typed if c.isdigit())
    else:
        assert found.text


@given(st.lists(st.tuples(CODES, st.sampled_from(CodeScheme)), max_size=6), st.integers(0, 6))
def test_a_cut_is_the_union_of_its_codes_and_more_codes_never_take_away(
    codes: list[tuple[str, CodeScheme]], split: int
) -> None:
    regions = [RegionCode(scheme, digits) for digits, scheme in codes]
    expected: set[str] = set()
    for region in regions:
        found = COUNTY.resolve(region)
        if isinstance(found, Resolved):
            expected |= found.villages
    whole = cut((Area("", tuple(regions)),), COUNTY)
    parts = cut((Area("", tuple(regions[:split])), Area("", tuple(regions[split:]))), COUNTY)
    assert whole.village_keys == parts.village_keys == expected
    if whole.empty:
        assert whole.problems or whole.outside, "an empty cut always has a reason"


# --- lifecycle -----------------------------------------------------------------------------------------


class Desk:
    """A little intake: stores every message as `settled` says and applies what it withdraws."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, MsgType], Known] = {}
        self.sounded: list[str] = []

    def take(self, message: Alert, villages: frozenset[str] = HERE) -> Decision:
        found = classify(message, list(self.known.values()), NOW, villages=villages)
        state = settled(message, found, held=bool(found.doubt))
        if not found.doubt:
            over = State.CANCELLED if isinstance(found, Cancel) else State.SUPERSEDED
            for key, item in self.known.items():
                if item.identifier in found.withdraws:
                    self.known[key] = replace(item, state=over)
        if not isinstance(found, Duplicate):
            self.known[(message.identifier, message.msg_type)] = remember(message, found, villages, state)
        if isinstance(found, SOUNDING) and not found.doubt:
            self.sounded.append(message.identifier)
        return found

    def live(self) -> list[str]:
        return sorted(
            item.identifier
            for item in self.known.values()
            if item.msg_type is not MsgType.CANCEL and item.state is State.RELEASED
        )


def message(number: int, kind: MsgType, references: tuple[str, ...] = (), **changes: object) -> Alert:
    return alert(f"M{number}", sent=T0 + timedelta(minutes=number), msg_type=kind, references=references,
                 expires=NOW + timedelta(hours=6), **changes)  # fmt: skip


def star(length: int, ended: bool, hazard: str = "rainstorm") -> list[Alert]:
    """As the national platform does it: everything refers to the first."""
    kinds = [MsgType.ALERT, *[MsgType.UPDATE] * (length - 1), *([MsgType.CANCEL] if ended else [])]
    return [message(n, kind, ("M0",) if n else (), hazard=hazard) for n, kind in enumerate(kinds)]


def chain(length: int, ended: bool, hazard: str = "rainstorm") -> list[Alert]:
    """As CAP does it: each refers to the one before."""
    return [
        replace(item, references=(replace(item.references[0], identifier=f"M{n - 1}"),) if n else ())
        for n, item in enumerate(star(length, ended, hazard))
    ]


# An earthquake is never matched by resemblance, so there the references alone must do it.
@pytest.mark.parametrize("hazard", ["rainstorm", "earthquake"])
@pytest.mark.parametrize("build", [star, chain])
@pytest.mark.parametrize(("length", "ended", "left"), [(3, True, []), (4, False, ["M3"])])
def test_no_order_of_arrival_leaves_more_than_the_latest_or_resurrects_what_was_cancelled(
    build: Callable[[int, bool, str], list[Alert]], hazard: str, length: int, ended: bool, left: list[str]
) -> None:
    for order in permutations(build(length, ended, hazard)):
        desk = Desk()
        for item in order:
            desk.take(item)
        assert desk.live() == left, [item.identifier for item in order]


@given(st.sampled_from([star, chain]), st.integers(1, 4), st.booleans(), st.randoms(), st.integers(0, 6))
def test_repeats_in_any_order_change_nothing(build, length, ended, random, repeats) -> None:  # type: ignore[no-untyped-def]
    messages = build(length, ended)
    arrivals = [*messages, *random.choices(messages, k=repeats)]
    random.shuffle(arrivals)
    desk, seen = Desk(), set()
    for item in arrivals:
        before = dict(desk.known)
        found = desk.take(item)
        if item.identifier in seen:
            assert isinstance(found, Duplicate)
            assert desk.known == before
        seen.add(item.identifier)
    assert desk.live() == ([] if ended else [f"M{length - 1}"])
    assert len(desk.sounded) == len(set(desk.sounded)), "nothing sounds twice"


ALERTS = st.builds(
    lambda number, kind, refs, minutes, colour, status, scope, form, hazard, sender: alert(
        f"M{number}",
        msg_type=kind,
        references=tuple(f"M{ref}" for ref in refs),
        sent=T0 + timedelta(minutes=minutes),
        colour=colour,
        status=status,
        scope=scope,
        format=form,
        hazard=hazard,
        sender=sender,
    ),
    st.integers(0, 4),
    st.sampled_from(MsgType),
    st.lists(st.integers(0, 4), max_size=2),
    st.integers(-500, 500),
    st.one_of(st.none(), st.sampled_from(Colour)),
    st.sampled_from([Status.ACTUAL] * 6 + list(Status)),
    st.sampled_from([Scope.PUBLIC] * 4 + list(Scope)),
    st.sampled_from(["cap-1.2", "national", "operator"]),
    st.sampled_from(["rainstorm", "earthquake", "unknown"]),
    st.sampled_from(["a", "b"]),
)


@given(st.lists(st.tuples(ALERTS, st.sampled_from([HERE, ALL, frozenset()])), max_size=10))
def test_only_what_may_sound_ever_does_and_a_repeat_is_always_a_duplicate(
    arrivals: list[tuple[Alert, frozenset[str]]],
) -> None:
    desk = Desk()
    for item, villages in arrivals:
        found = desk.take(item, villages)
        assert found.reason
        if isinstance(found, SOUNDING):
            assert not isinstance(sounds_as(item), Refusal)
            assert item.msg_type is not MsgType.CANCEL
            end = item.main.expires
            assert end is None or end > NOW, "nothing expired sounds"
        if isinstance(found, Cancel):
            assert found.withdraws
        if isinstance(found, Stale | Cancel):
            live = {
                key[0] for key, known in desk.known.items() if known.state in (State.HELD, State.RELEASED)
            }
            assert found.doubt or not set(found.withdraws) & (live - {item.identifier})
        if (
            isinstance(found, SOUNDING)
            and desk.known[item.identifier, item.msg_type].state is not State.CLOSED
        ):
            again = classify(item, list(desk.known.values()), NOW, villages=villages)
            assert isinstance(again, Duplicate)
