"""Make the shipped generic clips again: ``python -m tts.floor.make [FOLDER]`` (default: this folder).

Run after a change of `TEXTS`, of the sound chain or of the voice; the output is the same bits for the same
machine and packages. About half a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tts.floor import TEXTS, file_name
from tts.library import ClipRecord
from tts.renderer import Renderer
from tts.script import Script
from tts.voice import Kind, Stage


async def make(folder: Path) -> list[ClipRecord]:
    """Render one clip and one JSON record per kind into `folder`. Raises VoiceError, OSError."""
    records = []
    with tempfile.TemporaryDirectory() as cache:
        renderer = Renderer(Path(cache))
        try:
            for clip, sentences in TEXTS.items():
                kind: Kind = "actual" if clip == "all-clear" else clip
                stage: Stage = "cancel" if clip == "all-clear" else "first"
                script = Script("zh", sentences, "".join(sentences), "floor", "1", sentences)
                made = await renderer.render(script, kind=kind, colour=None, stage=stage, deadline_s=180)
                record = ClipRecord(
                    sha256=hashlib.sha256(made.mp3).hexdigest(),
                    size=len(made.mp3),
                    seconds=round(made.seconds, 3),
                    lufs=round(made.lufs, 2),
                    dbtp=round(made.dbtp, 2),
                    codec="mp3",
                    language="zh",
                    voice=f"kokoro/{made.voice}",
                    synthetic=True,
                    text=script.text,
                )
                (folder / file_name(clip)).write_bytes(made.mp3)
                told = json.dumps(asdict(record), ensure_ascii=False, indent=1) + "\n"
                (folder / f"{file_name(clip)}.json").write_text(told, "utf-8")
                records.append(record)
        finally:
            await renderer.close()
    return records


def main() -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m tts.floor.make", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    for record in asyncio.run(make(parser.parse_args().folder)):
        sys.stdout.write(
            f"{record.seconds:6.2f} s {record.lufs:6.1f} LUFS {record.dbtp:5.1f} dBTP {record.text}\n"
        )


if __name__ == "__main__":
    main()
