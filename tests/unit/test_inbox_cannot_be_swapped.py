"""A private inbox in a folder where others may write is no proof of who wrote into it: they could swap it."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.load import ConfigError, load

CONFIG = """\
county: zhouqu
mode: actual
state_dir: ./state
issuer: {name: 舟曲县应急管理局, level: county}
broker: {embedded: {port: 0}}
listen: {api: "127.0.0.1:0", terminals: "127.0.0.1:0"}
operators: [{name: 王主任, token_sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}]
feeds:
  - {name: bureau, kind: folder, path: ./open/inbox, official: true, authenticated: folder-0700, codes: mca}
release:
  - {feed: bureau, hazard: rainstorm, action: auto}
voice: {approved_by: 王主任, approved_on: 2026-11-01}
"""


@pytest.mark.parametrize("there", [True, False])
def test_an_inbox_that_others_can_swap_is_refused(tmp_path: Path, there: bool) -> None:
    (tmp_path / "county.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "state").mkdir(mode=0o700)
    place = tmp_path / "open"
    place.mkdir()
    if there:
        (place / "inbox").mkdir(mode=0o700)
    place.chmod(0o777)
    with pytest.raises(ConfigError, match="writable by others, who could replace"):
        load(tmp_path / "county.yaml")
    place.chmod(0o755)
    load(tmp_path / "county.yaml")
