"""Key files: one signing key per role and the county secret, each a file of mode 0600 in a folder of mode
0700. Never in config, log or database. Made once by `fenghuo keys create`; never made silently, because a
controller with new keys is one that no terminal obeys.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from terminals.seal import SIGNER_ENTROPY, KeyRing, KeyRole, Signer, new_signer

SECRET_FILE: Final = "county.secret"  # noqa: S105 - a file name


class KeysError(Exception):
    """A key file that is missing, readable by others, or no key: which file, and what to do."""


@dataclass(frozen=True, slots=True)
class CountyKeys:
    signers: dict[KeyRole, Signer]
    secret: bytes
    """32 bytes; every terminal's report key is derived from it."""

    @property
    def ring(self) -> KeyRing:
        """What terminals are given at enrolment: the public halves of all roles."""
        return KeyRing.of(self.signers.values())


def throw_away(sandbox: bool = True) -> CountyKeys:
    """Fresh keys in memory; of the sandbox's class unless told otherwise."""
    signers = {
        role: new_signer(role, secrets.token_bytes(SIGNER_ENTROPY), sandbox=sandbox) for role in KeyRole
    }
    return CountyKeys(signers, secrets.token_bytes(32))


def create(folder: Path, *, sandbox: bool = False) -> CountyKeys:
    """Makes every key file. Raises KeysError when one is already there: keys are never overwritten."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _private(folder, 0o700)
    keys = throw_away(sandbox)
    for name in (*(_name(role) for role in KeyRole), SECRET_FILE):
        if (folder / name).exists():
            raise KeysError(f"{folder / name} is already there; keys are never overwritten")
    for role, signer in keys.signers.items():
        _write(folder / _name(role), f"{signer.key_id} {signer.private_bytes.hex()}\n".encode())
    _write(folder / SECRET_FILE, keys.secret.hex().encode() + b"\n")
    return keys


def sandbox(folder: Path) -> CountyKeys:
    """A sandbox's keys: made at its first start, kept for its restarts, and believed by no real terminal.
    Raises KeysError."""
    return load(folder, KeyRole) if (folder / SECRET_FILE).exists() else create(folder, sandbox=True)


def load(folder: Path, roles: Iterable[KeyRole]) -> CountyKeys:
    """The keys of these roles. Raises KeysError."""
    if not folder.is_dir():
        raise KeysError(f"no keys in {folder}; make them with: fenghuo keys create -c FILE")
    _private(folder, 0o700)
    signers = {}
    for role in roles:
        path = folder / _name(role)
        try:
            key_id, _, key = _read(path).decode("ascii").strip().partition(" ")
            signers[role] = Signer(role, key_id, Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key)))
        except ValueError as error:
            raise KeysError(f"{path} holds no {role} signing key: {error}") from error
    try:
        secret = bytes.fromhex(_read(folder / SECRET_FILE).decode("ascii").strip())
    except ValueError as error:
        raise KeysError(f"{folder / SECRET_FILE} holds no county secret: {error}") from error
    if len(secret) != 32:
        raise KeysError(f"{folder / SECRET_FILE} holds {len(secret)} bytes, not 32")
    return CountyKeys(signers, secret)


def _name(role: KeyRole) -> str:
    return f"{role.value}.key"


def _write(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> bytes:
    try:
        _private(path, 0o600)
        return path.read_bytes()
    except FileNotFoundError:
        raise KeysError(
            f"{path} is missing; restore it from the safe copy, or enrol every terminal anew "
            "with new keys (fenghuo keys create)"
        ) from None
    except OSError as error:
        raise KeysError(f"{path} cannot be read: {error.strerror}") from error


def _private(path: Path, mode: int) -> None:
    found = path.stat().st_mode & 0o777
    if found & 0o077:
        raise KeysError(f"{path} can be read by others (mode {found:04o}); chmod {mode:o} {path}")
