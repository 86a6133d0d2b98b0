"""espeak-ng, where it is installed: a formant voice for the few languages where it is better than silence.

Never Mandarin: 88 to 177 % syllable errors, and Debian 12's ``cmn`` reads pinyin as English
(``voice-and-audio.md`` §1). Nobody has proven it intelligible in the others: a native listener must
approve it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tts.voice import Speech
from tts.voices.external import MOST_BYTES, Decode, whole
from tts.voices.process import spoken_by
from tts.voices.writing import written_for

LANGUAGES: Final = ("kk", "ko", "ky", "mn", "tt", "ug", "uz", "vi")
"""Those it reads in the script that we have the text in: Kazakh, Kyrgyz, Mongolian, Tatar in Cyrillic
(Kazakh in Arabic script is turned into it), Uyghur in Arabic script. It knows no Tibetan, Yi, Zhuang."""
_PACE: Final = 140
"""Words a minute at speed 1, for ears in the open; its own is 175."""
_PIPER_DATA: Final = ("mn",)
"""Languages that only the data in the package piper-tts has."""
_LOOK_S: Final = 5


class EspeakVoice:
    """The port `Voice` over the program espeak-ng."""

    def __init__(self, language: str, *, decode: Decode, budget_s: float, program: str = "espeak-ng") -> None:
        """Raises ValueError for a language that it must not be used for."""
        if language not in LANGUAGES:
            raise ValueError(f"espeak is not used for {language}, only for {', '.join(LANGUAGES)}")
        self.name = f"espeak:{language}"
        self.languages = frozenset({language})
        self._language = language
        self._program = program
        self._decode = decode
        self._budget_s = budget_s

    async def speak(self, sentences: Sequence[str], *, speed: float) -> Speech:
        """All sentences in one start of the program."""
        # [[ and ]] would make it read phonemes.
        text = "\n".join(written_for(self._language, sentences)).replace("[", " ").replace("]", " ")
        wav = await spoken_by(
            _argv(self._program, self._language, speed),
            text,
            most_bytes=MOST_BYTES,
            budget_s=self._budget_s,
            what=self.name,
        )
        return await whole(await self._decode(wav), text, speed=speed * _PACE / 175, what=self.name)


def missing(language: str, program: str = "espeak-ng") -> str:
    """Why espeak-ng cannot be used for `language` on this machine; empty when it can."""
    found = shutil.which(program)
    if found is None:
        return "espeak-ng is not installed: apt-get install espeak-ng"
    data = _data(language)
    if language in _PIPER_DATA and not data:
        return "espeak-ng's own data lack this language: pip install piper-tts brings some that have it"
    try:
        listed = subprocess.run(  # fixed words, no shell
            [found, *data, f"--voices={language}"],
            capture_output=True,
            text=True,
            timeout=_LOOK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"espeak-ng does not run: {type(error).__name__}"
    if listed.returncode or len(listed.stdout.splitlines()) < 2:
        return f"espeak-ng on this machine has no voice for {language}"
    return ""


def _argv(program: str, language: str, speed: float) -> list[str]:
    pace = ["-s", str(max(80, round(_PACE * speed)))]
    return [program, *_data(language), "-b", "1", "-v", language, *pace, "--stdin", "--stdout"]


def _data(language: str) -> list[str]:
    """The option for other data than the program's own, where it needs them and they are there."""
    if language not in _PIPER_DATA:
        return []
    package = importlib.util.find_spec("piper")
    if package is None or package.origin is None:
        return []
    folder = Path(package.origin).parent
    return [f"--path={folder}"] if (folder / "espeak-ng-data").is_dir() else []
