"""What `fenghuo tts prepare` costs a county: its likely leads counted, a sample of them really spoken."""

from __future__ import annotations

import itertools
import tempfile
import time
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from config.counties import load_county
from config.schema import Voice
from controller import prepare
from controller.metrics import Metrics
from controller.voicing import Voicing
from tts.airtime import estimate

COUNTY: Final = "zhouqu"
SAMPLE: Final = 24
QUICK: Final = 6
FRAME_S: Final = 3.5
"""Lead-in, signal, pause and tail, as `fenghuo tts prepare --dry-run` reckons them."""


@dataclass(frozen=True, slots=True)
class Sample:
    """`spoken` of `wanted` messages, evenly spread over the list that `prepare` goes through."""

    wanted: int
    townships: int
    spoken: int
    failed: tuple[str, ...]
    audio_s: float
    size: int
    took_s: float
    """Of wall time, the voice loaded before."""
    estimated_s: float
    """What a dry run says of the very same messages."""


async def measure(count: int) -> Sample:
    """Speaks `count` leads of the county's likely set into a library of their own. A run of the whole set
    takes less for each: it meets the same sentences again, which are kept."""
    county = load_county(COUNTY).county
    wanted = list(prepare.leads(county, f"{county.name}应急管理局"))
    chosen = [wanted[(2 * n + 1) * len(wanted) // (2 * count)] for n in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        voicing = Voicing(
            Voice(approved_by="benchmark", approved_on=date(2026, 1, 1), check="findings"),
            Path(folder), (), Metrics(), lambda _: None, prepare=False, evict=False,
        )  # fmt: skip
        try:
            await voicing.renderer.warm(voice=voicing.name, speed=0.95)
            estimated = sum(
                sum(map(estimate, prepare.lead(voicing, one).sentences)) + FRAME_S for one in chosen
            )
            began = time.perf_counter()
            async with aclosing(prepare.make(voicing, chosen)) as results:
                made = [one async for one in results]
            took = time.perf_counter() - began
        finally:
            await voicing.close()
    clips = [one.clip for one in made if one.clip is not None]
    return Sample(
        wanted=len(wanted),
        townships=len(county.townships),
        spoken=len(clips),
        failed=tuple(one.problem for one in made if one.clip is None),
        audio_s=sum(clip.seconds for clip in clips),
        size=sum(clip.size for clip in clips),
        took_s=took,
        estimated_s=estimated,
    )


async def page(quick: bool) -> str:
    """The measurement as a markdown section."""
    it = await measure(QUICK if quick else SAMPLE)
    title = f"## A county's likely leads, spoken ahead ({COUNTY}: {it.townships} townships)"
    if not it.spoken:
        return f"{title}\n\nNothing was measured: {'; '.join(dict.fromkeys(it.failed))}\n"
    times = it.wanted / it.spoken
    rows = [
        ("messages", f"{it.spoken}", f"{it.wanted:,} (counted, not extrapolated)"),
        ("minutes of sound", f"{it.audio_s / 60:.1f}", f"{it.audio_s * times / 60:,.0f}"),
        ("megabytes", f"{it.size / 1e6:.2f}", f"{it.size * times / 1e6:,.0f}"),
        ("minutes of work", f"{it.took_s / 60:.1f}", f"{it.took_s * times / 60:,.0f} at most"),
    ]
    lines = [
        title,
        "",
        f"{it.spoken} messages, evenly spread over hazards, colours, stages and places, were spoken; the "
        "whole set is extrapolated from them. Sentences that come again are kept, so its work is less than "
        "shown.",
        "",
        "| what | measured, of the sample | extrapolated, of the whole set |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"A dry run's estimate of the sample: {it.estimated_s / 60:.1f} minutes of sound "
        f"({it.estimated_s / it.audio_s - 1:+.0%}). One language, one class of loudspeaker, MP3.",
    ]
    if it.failed:
        lines += ["", f"{len(it.failed)} failed: {'; '.join(itertools.islice(dict.fromkeys(it.failed), 3))}"]
    return "\n".join(lines) + "\n"
