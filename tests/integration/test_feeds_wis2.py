"""WIS2 over real brokers: one notification from several is one, and only what matches its hash is taken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from alerts.feed import Document, Outcome
from alerts.feeds import wis2
from alerts.feeds.wis2 import Wis2Feed
from simulators.broker import MosquittoBroker
from support.brokers import NEEDS_MOSQUITTO
from support.feed_worlds import LIMIT_S, Wis2World, wis2_world

pytestmark = NEEDS_MOSQUITTO


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Wis2World]:
    async with wis2_world(tmp_path) as made:
        yield made


async def take(feed: Wis2Feed, count: int, *, done: bool = True) -> list[Document]:
    found: list[Document] = []
    async with asyncio.timeout(LIMIT_S), aclosing(feed.documents()) as documents:  # type: ignore[type-var]
        async for document in documents:
            found.append(document)
            if done:
                await document.done(Outcome.TAKEN)
            if len(found) == count:
                break
    return found


async def test_the_same_from_two_brokers_is_one_document(world: Wis2World) -> None:
    async with MosquittoBroker() as second:
        feed = world.adapter(world.broker, second)
        taking = asyncio.create_task(take(feed, 2))
        while feed.trouble:
            await asyncio.sleep(0.01)
        same = world.notification("a", b"<a/>")
        again = json.dumps(json.loads(same) | {"id": "another-id"}).encode()
        for broker in (world.broker, second):
            await asyncio.to_thread(world.publish, same, broker)
        await asyncio.to_thread(world.publish, again, second)
        await asyncio.to_thread(world.publish, world.notification("b", b"<b/>"), second)
        assert [document.body for document in await taking] == [b"<a/>", b"<b/>"]
        # All copies were acknowledged: none comes again.
        await asyncio.to_thread(world.publish, world.notification("c", b"<c/>"))
        assert [document.body for document in await take(world.adapter(), 1)] == [b"<c/>"]


async def test_a_copy_that_comes_while_the_first_is_being_decided_is_the_same(world: Wis2World) -> None:
    async with MosquittoBroker() as second:
        feed = world.adapter(world.broker, second)
        async with asyncio.timeout(LIMIT_S), aclosing(feed.documents()) as documents:  # type: ignore[type-var]
            coming = asyncio.ensure_future(anext(documents))
            while feed.trouble:
                await asyncio.sleep(0.01)
            same = world.notification("a", b"<a/>")
            await asyncio.to_thread(world.publish, same)
            first = await coming
            await asyncio.to_thread(world.publish, same, second)
            await asyncio.to_thread(world.publish, world.notification("b", b"<b/>"), second)
            assert (await anext(documents)).body == b"<b/>", "the copy is no document of its own"
            await first.done(Outcome.TAKEN)
        # Both brokers were told; only b, never acknowledged, comes again.
        assert [document.body for document in await take(world.adapter(second), 1)] == [b"<b/>"]
        await asyncio.to_thread(world.publish, world.notification("c", b"<c/>"))
        assert [document.body for document in await take(world.adapter(), 1)] == [b"<c/>"]


async def test_one_broker_that_is_gone_is_told_and_the_other_goes_on(world: Wis2World) -> None:
    async with MosquittoBroker() as second:
        feed = world.adapter(world.broker, second)
        taking = asyncio.create_task(take(feed, 2))
        while feed.trouble:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(second.kill)
        await asyncio.to_thread(world.publish, world.notification("a", b"<a/>"))
        while not feed.trouble:
            await asyncio.sleep(0.01)
        assert f"127.0.0.1:{second.port}" in feed.trouble
        assert str(world.broker.port) not in feed.trouble
        assert feed.last_good is not None
        await asyncio.to_thread(world.publish, world.notification("b", b"<b/>"))
        assert len(await taking) == 2


async def test_what_was_published_while_we_were_away_comes_when_we_are_back(world: Wis2World) -> None:
    for number in range(200):  # more than may be in flight at once
        await asyncio.to_thread(world.publish, world.notification(f"n{number}", b"<%d/>" % number))
    found = await take(world.adapter(), 200)
    assert {document.body for document in found} == {b"<%d/>" % number for number in range(200)}


async def test_a_document_journalled_never_comes_again_and_one_not_journalled_does(world: Wis2World) -> None:
    await asyncio.to_thread(world.publish, world.notification("a", b"<a/>"))
    await take(world.adapter(), 1)
    await asyncio.to_thread(world.publish, world.notification("b", b"<b/>"))
    for done in (False, False, True):
        assert [document.body for document in await take(world.adapter(), 1, done=done)] == [b"<b/>"]
    await asyncio.to_thread(world.publish, world.notification("c", b"<c/>"))
    assert [document.body for document in await take(world.adapter(), 1)] == [b"<c/>"]


async def test_bytes_that_do_not_match_the_hash_are_never_taken(world: Wis2World) -> None:
    message = world.notification("a", b"<real/>")
    world.files["1-a"] = b"<fake/>"
    await asyncio.to_thread(world.publish, message)
    [document] = await take(world.adapter(), 1)
    assert document.body == b""
    assert "could not be had in 5 tries" in document.refused
    assert "does not match" in document.refused


async def test_a_fetch_that_fails_is_tried_again(world: Wis2World) -> None:
    message = world.notification("a", b"<real/>")
    real = world.files.pop("1-a")
    tried = 0

    async def mend(_: float) -> None:
        nonlocal tried
        tried += 1
        if tried == 3:
            world.files["1-a"] = real

    await asyncio.to_thread(world.publish, message)
    [document] = await take(world.adapter(sleep=mend), 1)
    assert (document.body, document.refused) == (b"<real/>", "")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"links": [{"rel": "canonical", "href": "http://169.254.169.254/latest"}]},
            "name it in the feed's hosts",
        ),
        ({"links": [{"rel": "canonical", "href": "file:///etc/passwd"}]}, "is no http or https address"),
        ({"links": []}, "nothing is announced"),
        ({"links": [{"rel": "deletion", "href": "http://x.example/a"}]}, "ends no warning"),
        ({"type": "nonsense"}, "no WIS2 notification"),
    ],
)
async def test_what_may_not_be_fetched_is_recorded_with_the_reason(
    world: Wis2World, change: dict[str, object], why: str
) -> None:
    await asyncio.to_thread(world.publish, world.notification("a", b"<a/>", **change))
    await asyncio.to_thread(world.publish, b"\x00 no notification at all")
    await asyncio.to_thread(world.publish, world.notification("b", b"<b/>"))
    found = await take(world.adapter(), 3)
    assert sorted(document.body for document in found) == [b"", b"", b"<b/>"]
    assert any(why in document.refused for document in found), [document.refused for document in found]


async def test_a_document_that_cannot_be_had_holds_up_no_other(world: Wis2World) -> None:
    never = asyncio.Event()

    async def wait(_: float) -> None:
        await never.wait()

    lost = world.notification("lost", b"<lost/>")
    world.files.clear()
    await asyncio.to_thread(world.publish, lost)
    for number in range(5):
        await asyncio.to_thread(world.publish, world.notification(f"n{number}", b"<%d/>" % number))
    found = await take(world.adapter(sleep=wait), 5)
    assert {document.body for document in found} == {b"<%d/>" % number for number in range(5)}


async def test_cancelling_leaves_nothing_behind(world: Wis2World) -> None:
    feed = world.adapter()
    running = asyncio.create_task(take(feed, 1))
    while feed.trouble:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("a feed")]


async def test_the_queues_are_bounded(world: Wis2World) -> None:
    feed = world.adapter()
    assert feed._waiting.maxsize == wis2.IN_FLIGHT
    assert feed._ready.maxsize == wis2.AT_ONCE
