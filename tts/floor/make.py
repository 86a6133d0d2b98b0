"""Make the shipped generic clips again: ``python -m tts.floor.make [FOLDER]`` (default: this folder).

Run after a change of a text, of the voice or of the sound chain (`tts.voice.CHAIN_VERSION`); the output is
the same bits for the same machine and packages. What says the same words by the same voice and chain already
is left alone, so a run that was stopped goes on. Eight minutes on a core of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tts import floor
from tts.library import ClipRecord
from tts.renderer import Form, Piece, Renderer
from tts.voice import CHAIN_VERSION, DEFAULT_VOICE, Kind, Signal, Stage, signal_for

BIT_RATE: Final = 24
"""kbit/s of the hazards' clips: 1 % less ESTOI than 32 (0.96 against 0.97), a quarter less to ship."""


async def make(folder: Path) -> AsyncIterator[ClipRecord]:
    """Render the clips that are missing in `folder`, with their records. Raises VoiceError, OSError."""
    with tempfile.TemporaryDirectory() as cache:
        renderer = Renderer(Path(cache))
        try:
            for clip, said in floor.TEXTS.items():
                kind: Kind = "actual" if clip == "all-clear" else clip
                stage: Stage = "cancel" if clip == "all-clear" else "first"
                file = folder / floor.file_name(clip)
                note = file.with_name(f"{file.name}.json")
                if _is(file, json.loads(note.read_text("utf-8")) if note.is_file() else {}, said):
                    continue
                record = await _render(renderer, file, said, Form(signal_for(kind, None, stage)))
                note.write_text(_json(_noted(record)), "utf-8")
                yield record
            index = folder / "hazards-zh.json"
            known = json.loads(index.read_text("utf-8")) if index.is_file() else {}
            for hazard in floor.HAZARDS:
                file, said = folder / floor.hazard_file(hazard), floor.sentences(hazard)
                if _is(file, known.get(file.name, {}), said):
                    continue
                form = Form(floor.signal(hazard), bit_rate=BIT_RATE)
                record = await _render(renderer, file, said, form)
                known[file.name] = _noted(record)
                index.write_text(_json(known), "utf-8")
                yield record
            kept = {floor.hazard_file(hazard) for hazard in floor.HAZARDS}
            for name in sorted(set(known) - kept):
                (folder / name).unlink(missing_ok=True)
                del known[name]
            index.write_text(_json(known), "utf-8")
        finally:
            await renderer.close()


def _is(file: Path, record: dict[str, object], said: Sequence[str]) -> bool:
    """Whether `file` is that of `record`, says that, and was made by today's voice and chain."""
    made = record.get("text"), record.get("voice"), record.get("chain")
    if made != ("".join(said), f"kokoro/{DEFAULT_VOICE}", CHAIN_VERSION) or not file.is_file():
        return False
    return hashlib.sha256(file.read_bytes()).hexdigest() == record.get("sha256")


def _noted(record: ClipRecord) -> dict[str, object]:
    return {**asdict(record), "chain": CHAIN_VERSION}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


async def _render(renderer: Renderer, file: Path, said: Sequence[str], form: Form) -> ClipRecord:
    # 1.0 for the earthquake: its words are ten syllables, and every tenth counts.
    speed = 1.0 if form.signal is Signal.QUAKE else 0.9
    made = await renderer.render_pieces([Piece(tuple(said))], form, speed=speed, deadline_s=300)
    await asyncio.to_thread(file.write_bytes, made.clip)
    return ClipRecord(
        sha256=hashlib.sha256(made.clip).hexdigest(),
        size=len(made.clip),
        seconds=round(made.seconds, 3),
        lufs=round(made.lufs, 2),
        dbtp=round(made.dbtp, 2),
        codec=form.codec,
        language="zh",
        voice=f"kokoro/{made.voice}",
        synthetic=True,
        text="".join(said),
    )


async def _all(folder: Path) -> None:
    async for made in make(folder):
        sys.stdout.write(f"{made.seconds:6.2f} s {made.lufs:6.1f} LUFS {made.dbtp:5.1f} dBTP {made.text}\n")
        sys.stdout.flush()


def main() -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m tts.floor.make", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    asyncio.run(_all(parser.parse_args().folder))


if __name__ == "__main__":
    main()
