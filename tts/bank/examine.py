"""What is wrong with a bank's recordings: measured on the take as it came, and on what would be aired."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from tts.bank import sound
from tts.bank.model import BankError, Finding, Flaw, Grade, Line, said, syllables

if TYPE_CHECKING:
    from tts.audio import Sound
    from tts.bank import Bank

SNR_ERROR: Final = 12.0
SNR_WARNING: Final = 20.0
"""Decibels: a horn outdoors adds its own noise, the recording's comes on top and is compressed upwards."""
MOST_CLIPPED: Final = 0.001
"""Share of samples at the top from which a recording is an error."""
MOST_DC: Final = 0.02
LOW_RATE: Final = 16_000
"""Hertz: below, consonants above 7 kHz are gone; 8 kHz still gives 1.7 % syllable errors
(voice-and-audio.md §2)."""
LEAST_RATE: Final = 8_000
FAINT: Final = -50.0
PAUSE: Final = 1.2
"""Seconds of silence inside one line."""
SHORTEST: Final = 0.09
LONGEST: Final = 0.75
"""Seconds a syllable: outside, words are missing or are not these. Careful announcers take 0.2 to 0.35."""
PACE: Final = 1.7
"""How much slower or faster than the bank's median a line may be before a person should listen to it."""
ALIKE_OUTLINE: Final = 0.95
ALIKE: Final = 0.9
"""Correlation of two clips from which they are one recording."""


def check(bank: Bank) -> list[Finding]:
    """All findings, in the sheet's order."""
    found: list[Finding] = []
    clips: list[tuple[Line, Sound]] = []
    paces: dict[str, float] = {}
    for key, line in bank.lines.items():
        entry = bank.entry(key)
        take = entry.take()
        if take is None or take.text != line.text:
            continue
        try:
            found += _take(line, *bank.original(take))
        except BankError as error:
            found.append(Finding(key, Flaw.DAMAGED, Grade.ERROR, {"why": str(error)}))
            continue
        clip = entry.newest(line)
        if clip is None:
            continue
        heard = bank.heard(clip)
        if heard is None:
            found.append(Finding(key, Flaw.DAMAGED, Grade.ERROR, {"why": f"{clip.file}: fenghuo bank level"}))
            continue
        clips.append((line, heard))
        paces[key] = clip.seconds / max(syllables(line.text, bank.language), 1.0)
        found += _clip(line, heard, clip.seconds, bank.language)
    found += _paces(paces)
    found += _twice(bank, clips)
    order = {key: n for n, key in enumerate(bank.lines)}
    return sorted(found, key=lambda finding: (order[finding.key], finding.grade.value, finding.flaw.value))


def _take(line: Line, samples: Sound, rate: int) -> list[Finding]:
    """Of the recording as it came."""
    it = sound.measure(samples, rate)
    out: list[Finding] = []

    def say(flaw: Flaw, error: bool, **values: str) -> None:
        out.append(Finding(line.key, flaw, Grade.ERROR if error else Grade.WARNING, values))

    if rate < LOW_RATE:
        say(Flaw.LOW_RATE, rate < LEAST_RATE, rate=str(rate))
    if it.clipped:
        say(Flaw.CLIPPED, it.clipped > MOST_CLIPPED * len(samples), samples=str(it.clipped))
    if it.snr_db < SNR_WARNING:
        say(Flaw.NOISY, it.snr_db < SNR_ERROR, snr=f"{it.snr_db:.0f}", noise=f"{it.noise_db:.0f}")
    if abs(it.dc) > MOST_DC:
        say(Flaw.DC, False, dc=f"{it.dc:+.3f}")
    if it.speech_db < FAINT:
        say(Flaw.FAINT, False, level=f"{it.speech_db:.0f}")
    if it.longest_pause > PAUSE:
        say(Flaw.PAUSE, False, seconds=f"{it.longest_pause:.1f}")
    return out


def _clip(line: Line, heard: Sound, seconds: float, language: str) -> list[Finding]:
    """Of what would be aired."""
    out: list[Finding] = []
    count = syllables(line.text, language)
    values = {"seconds": f"{seconds:.1f}", "syllables": f"{count:.0f}"}
    if seconds - 2 * sound.MARGIN < SHORTEST * count:
        out.append(Finding(line.key, Flaw.TOO_SHORT, Grade.ERROR, values))
    elif seconds > LONGEST * count + 1.0:
        out.append(Finding(line.key, Flaw.TOO_LONG, Grade.ERROR, values))
    lufs, dbtp = sound.facts(heard)
    if not abs(lufs - sound.LUFS) <= sound.SPREAD:
        out.append(Finding(line.key, Flaw.LOUDNESS, Grade.ERROR, {"lufs": f"{lufs:.1f}"}))
    if dbtp > -2.0:
        out.append(Finding(line.key, Flaw.PEAK, Grade.ERROR, {"dbtp": f"{dbtp:.1f}"}))
    return out


def _paces(paces: dict[str, float]) -> list[Finding]:
    """Lines that are read much slower or faster than the rest: often they are other words."""
    if len(paces) < 5:
        return []
    usual = median(paces.values())
    return [
        Finding(key, Flaw.PACE, Grade.WARNING, {"times": f"{pace / usual:.1f}"})
        for key, pace in paces.items()
        if not 1 / PACE <= pace / usual <= PACE
    ]


def _twice(bank: Bank, clips: list[tuple[Line, Sound]]) -> list[Finding]:
    """One sound under two lines with different words; one text under two keys."""
    out: list[Finding] = []
    texts: dict[str, str] = {}
    for key, line in bank.lines.items():
        if line.text and (first := texts.setdefault(said(line.text), key)) != key:
            out.append(Finding(key, Flaw.SAME_WORDS, Grade.WARNING, {"other": first}))
    near: list[tuple[Line, Sound, Sound]] = []
    for line, heard in sorted(clips, key=lambda one: len(one[1])):
        shape = sound.outline(heard)
        near = [one for one in near if len(heard) - len(one[1]) < 0.06 * len(heard)]
        for other, sounds, its in near:
            if (
                said(other.text) != said(line.text)
                and sound.likeness(its, shape) > ALIKE_OUTLINE
                and sound.likeness(sounds, heard) > ALIKE
            ):
                # Which of the two is the wrong one only a person can hear.
                out.append(Finding(line.key, Flaw.SAME_SOUND, Grade.ERROR, {"other": other.key}))
                out.append(Finding(other.key, Flaw.SAME_SOUND, Grade.ERROR, {"other": line.key}))
        near.append((line, heard, shape))
    return out
