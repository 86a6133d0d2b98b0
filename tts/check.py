"""Does it say what we meant? A sound against its text, and what follows from the answer.

Two questions, both pure: is it whole and clean as sound (`speech_faults`, `clip_faults`), and does a
recogniser hear the words, above all the numbers, places and actions (`compare`)? `tts.verdict.after_check`
says what to do about it. The recogniser itself is another process (`tts.recogniser`).

Syllables are toneless pinyin: a recogniser that writes another character of the same sound has heard right
(``voice-and-audio.md``, head). Sound is mono float32, full scale ±1; rates hertz, times seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tts.audio import TARGET_LUFS, Sound, db
from tts.reading import digits, hanzi, read, spell_letters
from tts.verdict import HOLD_MINUTES as HOLD_MINUTES
from tts.verdict import Hold as Hold
from tts.verdict import Outcome as Outcome
from tts.verdict import Take as Take
from tts.verdict import TakeFlagged as TakeFlagged
from tts.verdict import TryNext as TryNext
from tts.verdict import Verdict as Verdict
from tts.verdict import after_check as after_check
from tts.voice import MAX_DBTP, MIN_SECONDS_PER_HANZI

MAX_SECONDS_PER_HANZI: Final = 0.6
"""At speed 1, pauses between sentences included. Read slowly, Mandarin takes 0.3."""
MAX_SILENCE_S: Final = 1.5
"""Inside speech. Our longest own pause is 0.4 s between sentences."""
SILENT_DB: Final = -45.0
"""Against the loud parts of the same speech."""
MAX_CLIPPED: Final = 1e-4
"""Share of samples that stand on the ceiling, three and more in a row."""
END_DB: Final = -14.0
"""Against the loud parts: speech that ends within its last 20 ms above this was cut, a syllable decays."""
LOUDNESS_TOLERANCE: Final = 1.5
MAX_SER: Final = 0.15
"""A good voice is heard with 0 to 2 % syllable errors (``voice-and-audio.md`` §1); above this it said
something else. Below it, what matters decides."""


class Fault(StrEnum):
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    CLIPPED = "clipped"
    SILENCE = "silence"
    CUT_OFF = "cut_off"
    TOO_QUIET = "too_quiet"
    TOO_LOUD = "too_loud"
    TRUE_PEAK = "true_peak"


_TOLD: Final = {
    Fault.TOO_SHORT: "{value:.2f} s per syllable, at least {limit:.2f} s: part of it was swallowed",
    Fault.TOO_LONG: "{value:.2f} s per syllable, at most {limit:.2f} s",
    Fault.CLIPPED: "{value:.2%} of the samples are clipped, at most {limit:.2%}",
    Fault.SILENCE: "{value:.1f} s of silence inside, at most {limit:.1f} s",
    Fault.CUT_OFF: "it ends at {value:.0f} dB of its loud parts, at most {limit:.0f} dB: cut off in speech",
    Fault.TOO_QUIET: "{value:.1f} LUFS, at least {limit:.1f}",
    Fault.TOO_LOUD: "{value:.1f} LUFS, at most {limit:.1f}",
    Fault.TRUE_PEAK: "true peak {value:.1f} dBTP, at most {limit:.1f}",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a sound: the value measured and the limit that it passed."""

    fault: Fault
    value: float
    limit: float

    def __str__(self) -> str:
        return _TOLD[self.fault].format(value=self.value, limit=self.limit)


def speech_faults(speech: Sound, rate: int, *, words: str, speed: float) -> tuple[Finding, ...]:
    """What is wrong with bare speech (no signal, no lead-in) that should say `words` at `speed` (1 is the
    voice's own pace)."""
    found: list[Finding] = []
    count = max(1, len(syllables(words)))
    each = len(speech) / rate * speed / count
    if each < MIN_SECONDS_PER_HANZI:
        found.append(Finding(Fault.TOO_SHORT, each, MIN_SECONDS_PER_HANZI))
    # One syllable alone is drawn out, and its ends count more than itself.
    if each > (limit := MAX_SECONDS_PER_HANZI + 1 / count):
        found.append(Finding(Fault.TOO_LONG, each, limit))
    clipped = _clipped(speech)
    if clipped > MAX_CLIPPED:
        found.append(Finding(Fault.CLIPPED, clipped, MAX_CLIPPED))
    levels = _levels(speech, rate)
    if not len(levels) or (loud := float(np.percentile(levels, 90))) == 0.0:
        return (*found, Finding(Fault.SILENCE, len(speech) / rate, MAX_SILENCE_S))
    quiet = _longest(levels < loud * 10 ** (SILENT_DB / 20)) * _FRAME
    if quiet > MAX_SILENCE_S:
        found.append(Finding(Fault.SILENCE, quiet, MAX_SILENCE_S))
    end = db(_rms(speech[-int(0.02 * rate) :]) / loud)
    if end > END_DB:
        found.append(Finding(Fault.CUT_OFF, end, END_DB))
    return tuple(found)


def clip_faults(
    sound: Sound, rate: int, *, lufs: float, dbtp: float, target: float = TARGET_LUFS
) -> tuple[Finding, ...]:
    """What is wrong with a finished clip, decoded as a terminal will decode it; `lufs` and `dbtp` as measured
    on it, `target` the loudness of its preset."""
    found: list[Finding] = []
    if lufs < target - LOUDNESS_TOLERANCE:
        found.append(Finding(Fault.TOO_QUIET, lufs, target - LOUDNESS_TOLERANCE))
    if lufs > target + LOUDNESS_TOLERANCE:
        found.append(Finding(Fault.TOO_LOUD, lufs, target + LOUDNESS_TOLERANCE))
    if dbtp > MAX_DBTP:
        found.append(Finding(Fault.TRUE_PEAK, dbtp, MAX_DBTP))
    clipped = _clipped(sound)
    if clipped > MAX_CLIPPED:
        found.append(Finding(Fault.CLIPPED, clipped, MAX_CLIPPED))
    levels = _levels(sound, rate)
    loud = float(np.percentile(levels, 90)) if len(levels) else 0.0
    quiet = _longest(levels < max(loud, 1e-9) * 10 ** (SILENT_DB / 20)) * _FRAME
    if loud == 0.0 or quiet > MAX_SILENCE_S:
        found.append(Finding(Fault.SILENCE, quiet, MAX_SILENCE_S))
    return tuple(found)


_FRAME: Final = 0.02


def _levels(sound: Sound, rate: int) -> NDArray[np.float64]:
    """RMS of each 20 ms."""
    size = int(_FRAME * rate)
    rows = len(sound) // size
    squares = np.square(sound[: rows * size].reshape(rows, size), dtype=np.float64)
    return np.asarray(np.sqrt(squares.mean(axis=1)) if rows else np.empty(0))


def _rms(sound: Sound) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) if len(sound) else 0.0


def _clipped(sound: Sound) -> float:
    """Share of samples in runs of three and more on the same highest value, near full scale."""
    if not len(sound):
        return 0.0
    on = np.abs(sound) >= 0.999
    runs = _runs(on)
    return float(sum(n for n in runs if n >= 3)) / len(sound)


def _runs(on: NDArray[np.bool_]) -> list[int]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], on, [False])).astype(np.int8)))
    return [int(n) for n in edges[1::2] - edges[::2]]


def _longest(on: NDArray[np.bool_]) -> int:
    """Of the runs that something else stands before and after."""
    inside = np.flatnonzero(~on)
    if not len(inside):
        return len(on)
    return max(_runs(on[inside[0] : inside[-1] + 1]), default=0)


# --- what was heard --------------------------------------------------------------------------------------

ACTIONS: Final = (
    "转移", "撤离", "撤到", "避险", "躲避", "趴下", "蹲下", "远离", "离开", "不要", "不得", "严禁", "禁止",
    "切勿", "请勿", "停止", "停课", "停工", "停业", "关闭", "切断", "拨打", "返回", "集合", "就地", "关好",
    "解除", "演习", "演练", "测试",
)  # fmt: skip
"""What people are to do, and the words that turn a message into its contrary."""
CONTRARIES: Final = (
    "不要", "不得", "不用", "不必", "严禁", "禁止", "切勿", "请勿", "停止", "取消", "解除", "演习", "演练",
    "测试",
)  # fmt: skip
"""Words that make the contrary of a message when a voice adds one."""
_NUMERAL: Final = "零一二三四五六七八九十百千万亿点两幺"
_NUMBER: Final = re.compile(rf"(?:零下|百分之|千分之|负)?[{_NUMERAL}]+")
_UNIT: Final = (
    "小时|分钟|分|秒|点|时|天|日|月|年|周|级|度|摄氏度|成|倍|米|千米|公里|毫米|厘米|平方|立方|吨|公斤|千克|"
    "人|户|名|头|只|栋|处|条|座|次|号|岁|层|组|社|村"
)
_SINGLE: Final = re.compile(
    rf"(?<![{_NUMERAL}])([{_NUMERAL.replace('点', '')}])(?=(?:到[{_NUMERAL}]+)?({_UNIT}))"
)
"""A number of one character counts as one before a unit: 一定, 四川 and 三眼峪 are none."""
_UNCERTAIN: Final = re.compile(r"\d[\d,.]*")
_ALIKE: Final = (("zh", "z"), ("ch", "c"), ("sh", "s"), ("n", "l"), ("f", "h"))


def syllables(text: str) -> list[str]:
    """Toneless pinyin of `text`, numbers and letters read out; 两 as 二, which means the same."""
    from pypinyin import Style, lazy_pinyin

    words = hanzi(spell_letters(read(text))).replace("两", "二")
    return [str(s) for s in lazy_pinyin(words, style=Style.NORMAL)]


def compare(
    text: str, heard: str, *, places: Iterable[str] = (), actions: Iterable[str] = ACTIONS
) -> Verdict:
    """`heard`, the recogniser's writing, against `text`, what was to be said; both may hold digits.

    A number must be heard syllable by syllable, and nothing that turns the message round (`CONTRARIES`) where
    the text has none. Of places and actions, which a small recogniser writes as
    it pleases, near sounds (zh/z, n/l, f/h, -ng/-n) count as heard, and one syllable in four may differ.
    """
    wanted = syllables(text)
    got = _best_reading(wanted, heard)
    cost, kept = _align(wanted, got)
    ser = cost / max(1, len(wanted))
    spoken = hanzi(spell_letters(read(text)))
    near = _align([_folded(s) for s in wanted], [_folded(s) for s in got])[1]
    missing: list[str] = []
    for what, exact in (
        *((number, True) for number in _numbers(read(text))),
        *((hanzi(spell_letters(read(name))), False) for name in (*places, *actions)),
    ):
        spots = [m.start() for m in re.finditer(re.escape(what), spoken)] if what else []
        marks = kept if exact else near
        allowed = 0 if exact else len(what) // 4
        if spots and not any(marks[i : i + len(what)].count(False) <= allowed for i in spots):
            missing.append(what)
    singles: dict[str, bool] = {}
    for m in _SINGLE.finditer(spoken):
        singles[m[1] + m[2]] = singles.get(m[1] + m[2], False) or kept[m.start()]
    unique = tuple(dict.fromkeys([*missing, *(what for what, there in singles.items() if not there)]))
    added = _added(wanted, got)
    return Verdict(ser, unique, ser <= MAX_SER and not unique and not added, added)


def _added(wanted: Sequence[str], got: Sequence[str]) -> tuple[str, ...]:
    """The `CONTRARIES` in `got` of which no syllable stands where `wanted` has it."""
    placed = _align(got, wanted)[1]
    found: list[str] = []
    for word in CONTRARIES:
        sounds = syllables(word)
        spots = (i for i in range(len(got) - len(sounds) + 1) if got[i : i + len(sounds)] == sounds)
        if any(not any(placed[i : i + len(sounds)]) for i in spots):
            found.append(word)
    return tuple(found)


def _numbers(spoken: str) -> list[str]:
    """Numbers of two and more characters in words; 一 alone is mostly none (一定, 一些)."""
    found = (m[0].strip("点") for m in _NUMBER.finditer(spoken))
    return [hanzi(number) for number in dict.fromkeys(found) if len(number) >= 2]


def _best_reading(wanted: Sequence[str], heard: str) -> list[str]:
    """A recogniser writes "119" whether it heard a quantity or single digits; each run of digits is read in
    the way that fits better."""
    for run in dict.fromkeys(_UNCERTAIN.findall(heard)):
        ways = [heard.replace(run, way) for way in (run, digits(run), digits(run, one="幺"))]
        if run.endswith(",000"):  # 10,000米 may have been 十千米
            ways.append(heard.replace(run, run.removesuffix(",000") + "千"))
        heard = min(ways, key=lambda way: _align(wanted, syllables(way))[0])
    return syllables(heard)


def _align(wanted: Sequence[str], got: Sequence[str]) -> tuple[int, list[bool]]:
    """Edit distance, and for each wanted syllable whether it was heard in its place."""
    rows = [list(range(len(got) + 1))]
    for i, syllable in enumerate(wanted, 1):
        above, row = rows[-1], [i]
        for j, other in enumerate(got, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (syllable != other)))
        rows.append(row)
    kept = [False] * len(wanted)
    i, j = len(wanted), len(got)
    while i and j:
        if wanted[i - 1] == got[j - 1] and rows[i][j] == rows[i - 1][j - 1]:
            kept[i - 1] = True
            i, j = i - 1, j - 1
        elif rows[i][j] == rows[i - 1][j - 1] + 1:
            i, j = i - 1, j - 1
        elif rows[i][j] == rows[i - 1][j] + 1:
            i -= 1
        else:
            j -= 1
    return rows[-1][-1], kept


def _folded(syllable: str) -> str:
    """Near sounds as one."""
    for one, other in _ALIKE:
        if syllable.startswith(one):
            syllable = other + syllable[len(one) :]
            break
    return syllable[:-1] if syllable.endswith("ng") else syllable
