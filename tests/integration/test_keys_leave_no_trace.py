"""What is written of a run, database, journal and log, holds no byte of any key."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import pytest

from support.county import a_county, cap
from terminals.seal import report_key


def all_of(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_neither_the_database_nor_the_log_of_a_run_holds_a_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with a_county(tmp_path) as county:
        taken = await county.give(cap())
        assert taken.broadcast is not None
        assert len(await county.ended(taken.broadcast)) > 0
        secrets = {f"key {role}": signer.private_bytes for role, signer in county.keys.signers.items()}
        secrets["county secret"] = county.keys.secret
        for terminal in county.register.terminals:
            secrets[f"report key of {terminal}"] = report_key(county.keys.secret, terminal)
        public = county.keys.signers.values()
    written = all_of(tmp_path) + caplog.text.encode()
    # What is looked through is what the run wrote.
    assert any(signer.key_id.encode() in written for signer in public)
    assert "大川镇".encode() in written
    for name, secret in secrets.items():
        b64 = base64.b64encode(secret).rstrip(b"=")
        url = base64.urlsafe_b64encode(secret).rstrip(b"=")
        for form in (secret, secret.hex().encode(), secret.hex().upper().encode(), b64, url):
            assert form not in written, name
