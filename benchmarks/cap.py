"""Reading CAP: documents a second and the slowest, over the shared corpus; how many valid ones are taken, and
how many invalid ones explained (target 100 % of both)."""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from alerts.formats import parse
from alerts.model import Alert, AlertError

CORPUS = Path(__file__).parents[1].parent / "shared" / "data" / "feeds" / "cap"
# Before every document of the corpus, so that no remark tells only of its age.
NOW = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Reading:
    """Milliseconds of processor time for each document; and what came of them."""

    parse_ms: list[float] = field(default_factory=list)
    floor_ms: list[float] = field(default_factory=list)
    """The same bytes through the C parser of the standard library, and nothing else."""
    size: int = 0
    valid: int = 0
    taken: int = 0
    held: int = 0
    invalid: int = 0
    refused: int = 0
    remarked: int = 0


def measure(rounds: int = 5) -> Reading | None:
    """Each document `rounds` times, the fastest counts; None without the corpus."""
    if not (CORPUS / "manifest.json").exists():
        return None
    found = Reading()
    for row in json.loads((CORPUS / "manifest.json").read_text("utf-8")):
        body = (CORPUS / row["file"]).read_bytes()
        found.size += len(body)
        found.parse_ms.append(min(_once(body) for _ in range(rounds)))
        if row["wellformed"] and b"<!DOCTYPE" not in body:
            found.floor_ms.append(min(_floor(body) for _ in range(rounds)))
        _judge(found, row.get("xsd") if row["wellformed"] else False, _read(body))
    return found


def _judge(found: Reading, valid: bool | None, read: Alert | AlertError) -> None:
    """`valid`: by the OASIS schema; None where that says nothing (CAP 1.0, no namespace)."""
    if valid is None:
        return
    found.valid += valid
    found.invalid += not valid
    if isinstance(read, AlertError):
        found.refused += not valid and bool(read.where and read.why)
    elif valid:
        found.taken += 1
        found.held += bool(read.damage)
    else:
        found.remarked += bool(read.damage or [one for one in read.remarks if "after our clock" not in one])


def _read(body: bytes) -> Alert | AlertError:
    try:
        return parse(body, now=NOW)
    except AlertError as error:
        return error


def _once(body: bytes) -> float:
    start = time.process_time()
    _read(body)
    return (time.process_time() - start) * 1e3


def _floor(body: bytes) -> float:
    start = time.process_time()
    ElementTree.fromstring(body)
    return (time.process_time() - start) * 1e3


def page(quick: bool) -> str:
    """The measurement as a markdown section."""
    found = measure(1 if quick else 5)
    if found is None:
        return "## CAP\n\nNot measured: the corpus (../shared/data/feeds/cap) is not here.\n"
    total, floor = sum(found.parse_ms) / 1e3, sum(found.floor_ms) / 1e3
    ranked = sorted(found.parse_ms)
    p99 = ranked[int(len(ranked) * 0.99)]
    explained = found.refused + found.remarked
    return "\n".join(
        [
            f"## CAP: {len(ranked)} documents, {found.size / 1e6:.1f} MB",
            "",
            "| documents a second | MB a second | median ms | p99 ms | slowest ms | × floor |",
            "|---|---|---|---|---|---|",
            f"| {len(ranked) / total:,.0f} | {found.size / 1e6 / total:.1f} "
            f"| {statistics.median(ranked):.2f} | {p99:.1f} | {ranked[-1]:.0f} | {total / floor:.1f} |",
            "",
            f"- valid by its schema and taken: {found.taken} of {found.valid} (target all: "
            f"**{'met' if found.taken == found.valid else 'not met'}**); {found.held} of them held, because "
            "they say nothing, or are tests called Actual",
            f"- invalid: {found.invalid}; refused with place and reason {found.refused}, taken with a remark "
            f"that says what is wrong {found.remarked} (target all: "
            f"**{'met' if explained == found.invalid else 'not met'}**)",
            "- the floor builds a tree of the same bytes with the C parser of the standard library; time is "
            "processor time, one thread",
            "",
        ]
    )
