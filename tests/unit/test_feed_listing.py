"""Lists: what is new, what has changed, and what is gone for good. Answers are scripted, one a poll."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest

from alerts.feed import Document, FeedError, Outcome
from alerts.feeds import http, listing
from alerts.feeds.listing import EMPTY_AFTER, LONG, SETTLED_AFTER, ListFeed
from alerts.formats.lists import ListFormat, Row
from support.feed_worlds import PLAIN, answer

URL = "https://list.example/rest/all"


class Over(Exception):
    """The script is over."""


class Script:
    """Stands in for the HTTP client: each poll gets the next answer: rows by name, bytes or trouble."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.details: dict[str, bytes | FeedError] = {}
        self.asked: list[str] = []
        self.poll = 0

    def __call__(self, **_: Any) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def sleep(self, _: float) -> None:
        self.poll += 1
        if self.poll >= len(self.answers):
            raise Over

    async def get(self, url: httpx2.URL, _: int, validators: Mapping[str, str] | None = None) -> http.Answer:
        self.asked.append(str(url))
        if (detail := self.details.get(url.path)) is not None:
            if isinstance(detail, FeedError):
                raise detail
            return http.Answer(detail)
        said = self.answers[self.poll]
        if isinstance(said, dict) and "page" in url.params:
            said = said.get(int(url.params["page"]), "")
        if isinstance(said, FeedError):
            raise said
        return http.Answer(said if isinstance(said, bytes) else rows(said))


def rows(names: str) -> bytes:
    """``a b2 c`` are three rows, b in its second version."""
    return answer([row(name) for name in names.split()])


def row(name: str) -> Row:
    key = name.rstrip("0123456789")
    return Row(key, name, name.encode())


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    async def played(
        *answers: Any,
        source: ListFormat = PLAIN,
        outcome: Callable[[Document], Outcome | None] = lambda _: Outcome.TAKEN,
        details: Mapping[str, bytes | FeedError] | None = None,
        at: str | None = None,
        url: str = URL,
        **options: Any,
    ) -> tuple[list[tuple[int, str]], ListFeed, Script]:
        """What came at which poll, from 0."""
        script = Script(*answers)
        script.details = dict(details or {})
        monkeypatch.setattr(listing.http, "Getter", script)
        feed = ListFeed("a list", url, source, details=at, sleep=script.sleep, **options)
        came = []
        async with aclosing(feed.documents()) as documents:  # type: ignore[type-var]
            with suppress(Over):
                async for document in documents:
                    came.append((script.poll, document.body.decode()))
                    if (said := outcome(document)) is not None:
                        await document.done(said, "because")
        assert script.poll == len(answers)
        return came, feed, script

    return played


async def test_a_row_comes_once_and_again_when_it_changes(play: Any) -> None:
    came, feed, _ = await play("a", "a", "a b", "a2 b")
    assert came == [(0, "a"), (2, "b"), (3, "a2")]
    assert feed.trouble == ""


async def test_a_row_absent_from_two_good_answers_is_ended_once(play: Any) -> None:
    came, _, _ = await play("a b", "a", "a", "a", "a")
    assert came == [(0, "a"), (0, "b"), (2, "gone: b")]


async def test_a_row_that_comes_back_in_between_is_not_ended(play: Any) -> None:
    came, _, _ = await play("a b", "a", "a b", "a", "a b", "a b")
    assert came == [(0, "a"), (0, "b")]


async def test_a_failed_a_cut_and_an_empty_answer_are_no_witnesses(play: Any) -> None:
    for no_witness in (FeedError("500"), b'{"rows": [["a"', b"<html>error</html>", ""):
        came, _, _ = await play("a b", *[no_witness] * (EMPTY_AFTER - 1), "a", no_witness, "a")
        assert [(text, poll) for poll, text in came if "gone" in text] == [("gone: b", EMPTY_AFTER + 2)]


async def test_failures_alone_end_nothing_however_many(play: Any) -> None:
    came, feed, _ = await play("a b", *[FeedError("it is down")] * 50)
    assert len(came) == 2
    assert feed.trouble == "it is down"


async def test_a_short_list_that_stays_empty_ends_its_last_row(play: Any) -> None:
    came, _, _ = await play("a", *[""] * (EMPTY_AFTER + 3))
    assert came == [(0, "a"), (EMPTY_AFTER, "gone: a")]


def letters(count: int) -> str:
    return " ".join("k" + "x" * number for number in range(count))


async def test_a_long_list_that_is_suddenly_short_is_believed_only_when_it_stays_so(play: Any) -> None:
    whole, half = letters(LONG), letters(LONG // 2 - 1)
    came, feed, _ = await play(whole, *[half] * (SETTLED_AFTER - 1))
    assert not any("gone" in text for _, text in came)
    assert "not believed yet" in feed.trouble
    came, feed, _ = await play(whole, *[half] * (SETTLED_AFTER + 1))
    assert sum("gone" in text for _, text in came) == LONG // 2 + 1
    assert feed.trouble == ""


async def test_a_long_list_is_never_believed_to_be_empty(play: Any) -> None:
    came, feed, _ = await play(letters(LONG), *[""] * 100)
    assert not any("gone" in text for _, text in came)
    assert "not believed" in feed.trouble


async def test_what_vanished_while_we_were_down_is_still_ended(play: Any, tmp_path: Path) -> None:
    memory = tmp_path / "state" / "list.json"
    await play("a b", memory=memory)
    came, _, _ = await play("a", "a", "a", memory=memory)
    assert came == [(1, "gone: b")], "a is known and does not come again"
    assert (await play("a", "a", "a", memory=memory))[0] == []


async def test_a_row_and_an_end_not_acknowledged_come_again_after_a_restart(
    play: Any, tmp_path: Path
) -> None:
    memory = tmp_path / "list.json"
    assert (await play("a", memory=memory, outcome=lambda _: None))[0] == [(0, "a")]
    assert (await play("a b", memory=memory))[0] == [(0, "a"), (0, "b")]
    assert (await play("a", "a", "a", memory=memory, outcome=lambda _: None))[0] == [(1, "gone: b")]
    assert (await play("a", "a", "a", memory=memory))[0] == [(1, "gone: b")]
    assert (await play("a", "a", "a", memory=memory))[0] == []


async def test_what_was_refused_is_not_ended_and_not_brought_again(play: Any, tmp_path: Path) -> None:
    memory = tmp_path / "list.json"
    came, _, _ = await play("a b", "a b", "a", "a", "a", memory=memory, outcome=lambda _: Outcome.REFUSED)
    assert came == [(0, "a"), (0, "b")]
    assert (await play("a", "a", "a", memory=memory))[0] == []


async def test_where_absence_means_nothing_a_row_is_forgotten_and_news_again_when_it_is_back(
    play: Any,
) -> None:
    stream = ListFormat("stream", PLAIN.trust, PLAIN.split)
    came, _, _ = await play("a b", "a", "a", "a b", source=stream)
    assert came == [(0, "a"), (0, "b"), (3, "b")]


async def test_an_unreadable_memory_is_set_aside_and_told_and_the_feed_goes_on(
    play: Any, tmp_path: Path
) -> None:
    memory = tmp_path / "list.json"
    for nonsense in ("{", "[1]", '{"rows": {"a": ["a", "not base64!", true], "b": 3, "c": [1, 2, 3]}}'):
        memory.write_text(nonsense)
        came, feed, _ = await play("a", "a", memory=memory)
        assert came == [(0, "a")]
        assert feed.trouble == "", "written anew"
    assert (tmp_path / "list.json.unreadable").read_text() == "[1]"


async def test_a_memory_that_cannot_be_written_is_told(play: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    _, feed, _ = await play("a", memory=tmp_path / "file" / "list.json")
    assert "cannot be written" in feed.trouble


async def test_the_memory_is_never_half_written(
    play: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "list.json"
    await play("a", memory=memory)
    before = memory.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    _, feed, _ = await play("a b", memory=memory)
    assert memory.read_bytes() == before
    assert "No space left" in feed.trouble
    assert files(tmp_path) == [memory]


def linked(link: str) -> bytes:
    return answer([Row("a", "1", b"row", link)])


async def test_the_detail_is_put_to_its_row(play: Any) -> None:
    came, feed, _ = await play(linked("/detail/a.html"), details={"/detail/a.html": b" and detail"})
    assert came == [(0, "row and detail")]
    assert feed.trouble == ""


async def test_a_row_whose_detail_cannot_be_had_goes_without_at_the_second_try(play: Any) -> None:
    for link, details in (
        ("/detail/a.html", {"/detail/a.html": FeedError("404")}),
        ("https://elsewhere.example/a.html", {}),
        ("http://list.example/a.html", {}),
    ):
        came, feed, script = await play(*[linked(link)] * 4, details=details)
        assert came == [(1, "row")]
        assert "the detail of a cannot be had" in feed.trouble
        assert not any("elsewhere" in asked for asked in script.asked), "never visited"


async def test_details_may_lie_at_another_configured_address(play: Any) -> None:
    came, _, script = await play(
        linked("/webdata/a.html"),
        details={"/webdata/a.html": b" and detail"},
        at="https://product.example/",
    )
    assert came == [(0, "row and detail")]
    assert script.asked[-1] == "https://product.example/webdata/a.html"


async def test_all_pages_are_one_list(play: Any) -> None:
    paged = URL + "?page={page}"
    came, _, script = await play(
        {1: "a b", 2: "b c", 3: "c d", 4: "a"}, {1: "a", 2: "c"}, {1: "a", 2: "c"}, url=paged
    )
    assert came == [(0, "a"), (0, "b"), (0, "c"), (0, "d"), (2, "gone: b"), (2, "gone: d")]
    assert [asked.rpartition("=")[2] for asked in script.asked] == [*"1234", *"123", *"123"]


async def test_a_page_that_fails_fails_the_whole_look(play: Any) -> None:
    came, feed, _ = await play({1: "a", 2: "b"}, *[{1: "a", 2: b"<html>"}] * 5, url=URL + "?page={page}")
    assert came == [(0, "a"), (0, "b")]
    assert feed.trouble


async def test_only_rows_that_concern_us_are_given_and_all_are_counted(play: Any) -> None:
    came, _, _ = await play("ga gb sc", "ga sc", "ga sc", only=["g"])
    assert came == [(0, "ga"), (0, "gb"), (2, "gone: gb")]


async def test_what_was_there_at_the_first_look_or_after_trouble_is_backlog_and_the_rest_is_not(
    play: Any,
) -> None:
    marks = {}

    def note(document: Document) -> Outcome:
        marks[document.body.decode()] = document.backlog
        return Outcome.TAKEN

    await play("a", "a b", FeedError("x"), "a b c", "a2 b c d", outcome=note)
    assert marks == {"a": True, "b": False, "c": True, "a2": False, "d": False}


async def test_a_key_within_the_address_is_never_told(play: Any) -> None:
    feed = ListFeed("f", "https://x.example/v2/{key}/all", PLAIN, key="s3cr3t/key")
    assert "s3cr3t" not in feed._shown
    _, feed, script = await play(b"<html>", url="https://x.example/{key}/all", key="s3cr3t")
    assert "s3cr3t" in script.asked[0]
    assert "s3cr3t" not in feed.trouble
    assert "x.example" in feed.trouble


def test_the_getter_masks_the_key_in_what_it_says() -> None:
    getter = http.Getter(secret="s3/cr3t")
    assert getter._masked("https://x/s3/cr3t/a and s3%2Fcr3t") == "https://x/***/a and ***"


async def test_too_many_rows_are_trouble_and_not_cut(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_ROWS", 2)
    came, feed, _ = await play("a b", "a b c")
    assert len(came) == 2
    assert "3 rows; the limit is 2" in feed.trouble


def test_what_is_no_address_is_refused_at_once() -> None:
    for url in ("list.example", "ftp://list.example/", "http://[bad"):
        with pytest.raises(FeedError):
            ListFeed("f", url, PLAIN)
