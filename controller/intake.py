"""Intake: documents become warnings. Bytes are journalled before they are read; one document's poison stays
in its bulkhead, with an alarm, and the next one is unharmed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from alerts import feed as feed_port
from alerts import formats, hazards
from alerts.feed import Document, Feed
from alerts.formats import Reading
from alerts.model import Alert, AlertError
from controller.admission import Turns
from controller.clock import moment, wall_ms
from controller.desk import Cancelled, Closed, Desk, Held, Released
from controller.metrics import Metrics
from controller.store import Store, StoreError
from controller.store.records import Outcome

log = logging.getLogger(__name__)

# A document that was being read twice when the process died kills it: not read a third time.
MOST_READINGS: Final = 2
STORE_PAUSE_S: Final = 2.0
UNREAD: Final = (Outcome.REFUSED, Outcome.QUARANTINED)
# What is older than this is catch-up and never automatic (`feeds.md` §6.7).
CATCH_UP_AGE: Final = timedelta(hours=1)
QUAKE_AGE: Final = timedelta(seconds=600)


@dataclass(frozen=True, slots=True)
class Taken:
    """How one document ended: what the folder feed writes beside it, and what the log says."""

    outcome: Outcome
    reason: str
    alert: str | None = None
    broadcast: str | None = None


def catch_up(alert: Alert, now: datetime, *, backlog: bool) -> str:
    """Why `alert` is old news that may not sound by itself, or empty. Pure (`feeds.md` §6.7).

    An earthquake counts from its origin, always: after 600 s its waves have passed. Anything else counts
    from when it was sent, and after one hour it is old; unless it says itself that it is still in force
    and we have been listening all the while (not `backlog`): then its issuer was late, not we.
    """
    origins = [info.quake.origin for info in alert.infos if info.quake is not None]
    if origins:
        age = now - max(origins)
        return f"catch-up: the earthquake was {_minutes(age)} minutes ago" if age > QUAKE_AGE else ""
    age = now - alert.sent
    if age <= CATCH_UP_AGE:
        return ""
    in_force = any(info.expires is not None and info.expires > now for info in alert.infos)
    if in_force and not backlog:
        return ""
    return f"catch-up: it was sent {_minutes(age)} minutes ago"


def _minutes(age: timedelta) -> int:
    return int(age.total_seconds() // 60)


class Intake:
    def __init__(self, store: Store, desk: Desk, metrics: Metrics, alarm: Callable[[str], None]) -> None:
        self._store = store
        self._desk = desk
        self._metrics = metrics
        self._alarm = alarm
        # One document at a time: lifecycle compares each with all before it. What counts in seconds has turns
        # of its own: no other is of its event, and to carry out a cancel takes seconds.
        self._one = Turns(1)
        self._fast = Turns(1)
        self.last_document: dict[str, datetime] = {}
        """When each feed's latest document came, this run's."""

    async def recover(self, readings: Mapping[str, Reading]) -> None:
        """Documents that were journalled when the process died are read now, as their feeds' are:
        `readings` by feed. One whose feed is configured no more is read as XML, and held."""
        for row, body in await self._store.unfinished_documents():
            log.warning("%s: %s was journalled and not decided when the controller ended", row.feed, row.name)
            doubts = [] if row.feed in readings else [f"feed {row.feed} is configured no more"]
            reading = readings.get(row.feed, Reading())
            await self._decide(row.id, row.feed, row.name, body, reading, backlog=True, doubts=doubts)

    async def pump(self, feed: Feed, reading: Reading) -> None:
        """Everything this feed brings, until cancelled."""
        async for document in feed.documents():
            taken = await self._surely(document, reading)
            unread = taken.outcome in UNREAD
            await document.done(
                feed_port.Outcome.REFUSED if unread else feed_port.Outcome.TAKEN, taken.reason
            )
            with contextlib.suppress(StoreError):  # it fails again where it matters
                await self._desk.events.known()  # at hand when the next one comes

    async def _surely(self, document: Document, reading: Reading) -> Taken:
        """A full or failing disk delays a warning, with an alarm; it does not lose one."""
        number: int | None = None
        while True:
            try:
                if number is None:  # once: a full disk is not to be filled with copies
                    number = await self._journal(document)
                return await self._journalled(number, document, reading)
            except StoreError as error:
                self._alarm(f"{document.feed}: {document.name} waits: {error}")
                await asyncio.sleep(STORE_PAUSE_S)

    async def accept(self, document: Document, reading: Reading) -> Taken:
        """Journal, then decide. Never raises for what is in the document."""
        return await self._journalled(await self._journal(document), document, reading)

    async def _journal(self, document: Document) -> int:
        sha256 = hashlib.sha256(document.body).hexdigest()
        read = not document.refused
        number = await self._store.journal(
            document.feed, document.name, document.body, sha256, wall_ms(), opened=read
        )
        self.last_document[document.feed] = document.received
        return number

    async def _journalled(self, number: int, document: Document, reading: Reading) -> Taken:
        if document.refused:
            self._metrics.documents.labels(document.feed, Outcome.REFUSED).inc()
            await self._store.close_document(number, Outcome.REFUSED, document.refused)
            log.warning("%s: %s: refused: %s", document.feed, document.name, document.refused)
            return Taken(Outcome.REFUSED, document.refused)
        return await self._decide(
            number,
            document.feed,
            document.name,
            document.body,
            reading,
            backlog=document.backlog,
            opened=True,
        )

    async def _decide(
        self,
        number: int,
        feed: str,
        name: str,
        body: bytes,
        reading: Reading,
        *,
        backlog: bool,
        doubts: Sequence[str] = (),
        opened: bool = False,
    ) -> Taken:
        """`opened`: its first reading was counted with the journal."""
        taken = await self._read_and_take(number, feed, body, reading, backlog, doubts, opened)
        if taken.outcome in UNREAD:  # the rest is closed by the transaction that stores its alert
            await self._store.close_document(number, taken.outcome, taken.reason)
        self._metrics.documents.labels(feed, taken.outcome).inc()
        level = logging.INFO if taken.outcome in (Outcome.RELEASED, Outcome.IGNORED) else logging.WARNING
        log.log(level, "%s: %s: %s: %s", feed, name, taken.outcome, taken.reason)
        return taken

    async def _read_and_take(
        self,
        number: int,
        feed: str,
        body: bytes,
        reading: Reading,
        backlog: bool,
        doubts: Sequence[str],
        opened: bool,
    ) -> Taken:
        if not opened and await self._store.open_document(number) > MOST_READINGS:
            self._alarm(
                f"document {number} of {feed} was being read when the process died, twice; quarantined"
            )
            self._metrics.quarantined.labels("document").inc()
            return Taken(Outcome.QUARANTINED, "the process died while reading it, twice")
        try:
            alert = formats.parse(body, reading, now=moment(wall_ms()))
        except AlertError as error:
            return Taken(Outcome.REFUSED, str(error))
        except Exception as error:  # the bulkhead (`_poison`)
            log.exception("document %d of %s quarantined", number, feed)
            return self._poison(number, feed, error)
        turns = self._fast if _counts_in_seconds(alert) else self._one
        async with turns.turn(()):
            return await self._judge_and_take(number, feed, alert, reading, backlog, doubts)

    async def _judge_and_take(
        self, number: int, feed: str, alert: Alert, reading: Reading, backlog: bool, doubts: Sequence[str]
    ) -> Taken:
        now = moment(wall_ms())
        known = await self._desk.events.known()
        try:
            judged = self._desk.judging.judge(alert, known, now, feed=feed, narrow=reading.shapes_narrow)
        except AlertError as error:
            return Taken(Outcome.REFUSED, str(error))
        except Exception as error:  # the bulkhead; what is stored and sent of it lies outside
            log.exception("document %d of %s quarantined", number, feed)
            return self._poison(number, feed, error)
        old = catch_up(alert, now, backlog=backlog)
        doubts = [*doubts, old] if old else doubts
        taken = await self._desk.take(alert, judged, feed=feed, doubts=doubts, document=number)
        match taken:
            case Released(alert=of, broadcast=broadcast):
                return Taken(Outcome.RELEASED, f"broadcast {broadcast}", of, broadcast)
            case Held(alert=of, reason=reason):
                return Taken(Outcome.HELD, reason, of)
            case Closed(alert=of, reason=reason):
                if not backlog and all(
                    info.expires is not None and info.expires <= now for info in alert.infos
                ):
                    # Late on its way, or it is our clock that is wrong: then people were not warned.
                    self._alarm(
                        f"{feed}: a warning came when it had expired: {reason}; if that is not so, this "
                        f"machine's clock ({now:%Y-%m-%d %H:%M:%SZ}) is wrong: set it, then send it anew"
                    )
                return Taken(Outcome.IGNORED, reason, of)
            case Cancelled(alerts=alerts):
                return Taken(Outcome.RELEASED, f"cancelled {', '.join(alerts)}")

    def _poison(self, number: int, feed: str, error: Exception) -> Taken:
        """The bulkhead: whatever one document makes reading or judging raise, which store and send nothing,
        the next one is unharmed."""
        self._metrics.quarantined.labels("document").inc()
        self._alarm(f"document {number} of {feed} could not be read ({error!r}); its bytes are kept")
        return Taken(Outcome.QUARANTINED, f"reading it failed: {error!r}")


def _counts_in_seconds(alert: Alert) -> bool:
    return any(hazards.by_key(info.hazard).lane is hazards.Lane.FAST for info in alert.infos)
