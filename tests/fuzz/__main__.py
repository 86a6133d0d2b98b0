"""``PYTHONPATH=tests python -m fuzz [--minutes 10] [--only NAME,…] [--seed N] [--save DIR]``

Fuzzes each parser for so long; exit code 1 where something was found. Inputs of findings are saved."""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from pathlib import Path

from fuzz.harness import fuzz, parsers


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    options.add_argument("--minutes", type=float, default=10.0, help="for each parser")
    options.add_argument("--only", default="", help=f"some of {', '.join(p.name for p in parsers())}")
    options.add_argument("--seed", type=int, default=int(time.time()))
    options.add_argument("--save", type=Path, help="folder for inputs of findings")
    given = options.parse_args()
    wanted = [parser for parser in parsers() if not given.only or parser.name in given.only.split(",")]
    if not wanted:
        options.error(f"--only {given.only}: there is no such parser")
    print(f"seed {given.seed}")
    found = 0
    for parser in wanted:
        end = time.monotonic() + given.minutes * 60
        result = fuzz(parser, lambda _, end=end: time.monotonic() < end, given.seed)
        print(
            f"{result.name:18} {result.runs:9,} runs, {result.taken:8,} taken, "
            f"slowest {result.slowest_s * 1000:7.0f} ms, grew {result.grown_mb:4.0f} MB, "
            f"{len(result.findings)} findings",
            flush=True,
        )
        for what, body in result.findings:
            found += 1
            folder = given.save or Path(tempfile.gettempdir()) / "fenghuo-fuzz"
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{parser.name.replace(' ', '-')}-{hashlib.sha256(body).hexdigest()[:12]}"
            file.write_bytes(body)
            print(f"  {what}\n    {file}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
