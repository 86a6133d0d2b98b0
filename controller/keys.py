"""Key files: what makes a county sound, each a file of mode 0600 in a folder of mode 0700. Never in config,
log or database. Made once by `fenghuo keys new`; never made silently, because a controller with new keys is
one that no terminal obeys.

| file | holds |
|---|---|
| ``<role>.key`` | the private keys of one role, one a line, the newest last |
| ``county.secret`` | 32 bytes, from which every terminal's report key is derived |
| ``public`` | the public halves as they were made first, the root's among them |
| ``ring`` | the latest Ring, as the root sealed it; absent until the first rotation |

A line of a key file is ``<name> clear <hex>`` or ``<name> scrypt:<log2 n>:<r>:<p>:<salt> <hex>``: sealed with
ChaCha20-Poly1305 under a key that scrypt (RFC 7914) makes of the passphrase; name and file are bound in. Why
not encrypted PKCS#8: docs/decisions/0018. `root.key` changes keys and never sends; it may lie in a safe.
"""

from __future__ import annotations

import os
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from terminals.seal import (
    SIGNER_ENTROPY,
    KeyRing,
    KeyRole,
    RingError,
    SealError,
    Signer,
    new_signer,
    open_command,
    renewed,
)
from terminals.wire import Ring, RingKey

SECRET_FILE: Final = "county.secret"  # noqa: S105 - a file name
PUBLIC_FILE: Final = "public"
RING_FILE: Final = "ring"
CREDENTIAL: Final = "keys-passphrase"
"""Name of the systemd credential (`LoadCredential`)."""
COST: Final = (15, 8, 1)
"""log2 n, r and p of scrypt: 32 MB and 0.1 s for each try (RFC 7914 §2 names r = 8, p = 1)."""
MOST_COST: Final = 20
OVERLAP_MS: Final = 30 * 86_400_000
"""How long the older key of a rotation is still believed, unless told otherwise."""
MOST_KEYS: Final = 30
"""In one ring; the wire takes 32."""
_SALT: Final = 16


class KeysError(Exception):
    """A key file that is missing, readable by others, locked or no key: which file, and what to do."""


class WrongPassphrase(KeysError):
    """There is a passphrase on a file, and it was not given or is another."""


@dataclass(frozen=True, slots=True)
class Root:
    """The root key where it is kept apart."""

    file: Path
    passphrase: bytes | None


@dataclass(frozen=True, slots=True)
class CountyKeys:
    signers: dict[KeyRole, Signer]
    """The newest key of each role that was asked for."""
    secret: bytes
    """32 bytes; every terminal's report key is derived from it."""
    older: dict[KeyRole, tuple[Signer, ...]] = field(default_factory=dict)
    """Keys that the ring still names beside the newest, oldest first."""
    believed: KeyRing | None = None
    """What terminals believe; None: the public halves of `signers`."""
    version: int = 0
    """Of the Ring; 0: none was ever issued."""
    envelope: bytes = b""
    """The Ring as the root sealed it; empty: none was ever issued."""

    @property
    def ring(self) -> KeyRing:
        """What terminals are given at enrolment: the public halves of all roles, the root's too."""
        return self.believed or KeyRing.of(self.signers.values())

    def until(self, key_id: str) -> int:
        """Wire ms from which it is not believed any more; 0: open."""
        return self.ring.until.get(key_id, 0)


def throw_away(sandbox: bool = True) -> CountyKeys:
    """Fresh keys in memory; of the sandbox's class unless told otherwise."""
    signers = {role: _fresh(role, sandbox) for role in KeyRole}
    return CountyKeys(signers, secrets.token_bytes(32))


def create(folder: Path, *, sandbox: bool = False, passphrase: bytes | None = None) -> CountyKeys:
    """Makes every key file; without `passphrase` they are not encrypted. Where a folder of an older version
    has all but the root, adds that. Raises KeysError when keys are there already: never overwritten."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _private(folder, 0o700)
    if _without_root(folder):
        keys = _load(folder, [r for r in KeyRole if r is not KeyRole.ROOT], passphrase, None, None)
        signers = {**keys.signers, KeyRole.ROOT: _fresh(KeyRole.ROOT, sandbox)}
        made = {KeyRole.ROOT: signers[KeyRole.ROOT]}
        keys = CountyKeys(signers, keys.secret)
    else:
        keys = throw_away(sandbox)
        made = keys.signers
        for name in (*(_name(role) for role in KeyRole), SECRET_FILE, PUBLIC_FILE, RING_FILE):
            if (folder / name).exists():
                raise KeysError(f"{folder / name} is already there; keys are never overwritten")
        _new_file(folder / SECRET_FILE, sealed_line(SECRET_FILE, SECRET_FILE, keys.secret, passphrase))
    for role, signer in made.items():
        line = sealed_line(_name(role), signer.key_id, signer.private_bytes, passphrase)
        _new_file(folder / _name(role), line)
    public = "".join(f"{s.key_id} {r.value} {_b64(s.public_bytes)}\n" for r, s in keys.signers.items())
    _new_file(folder / PUBLIC_FILE, public.encode())
    return keys


def sandbox(folder: Path, roles: Iterable[KeyRole] = KeyRole) -> CountyKeys:
    """A sandbox's keys of these roles: made at its first start, kept for its restarts, and believed by no
    real terminal. Raises KeysError."""
    if not (folder / SECRET_FILE).exists() or _without_root(folder):
        create(folder, sandbox=True)
    return load(folder, roles)


def load(folder: Path, roles: Iterable[KeyRole], passphrase: bytes | None = None) -> CountyKeys:
    """The keys of these roles; files of other roles are not opened. Raises KeysError (WrongPassphrase)."""
    if not folder.is_dir() or not any((folder / _name(role)).exists() for role in KeyRole):
        raise KeysError(f"no keys in {folder}; make them with: fenghuo keys new -c FILE")
    _private(folder, 0o700)
    if not (folder / PUBLIC_FILE).exists():
        raise KeysError(
            f"{folder} has no root key, it is of an older version; add it: fenghuo keys new -c FILE"
        )
    first = _first_ring(folder)
    ring, believed, envelope = _latest_ring(folder, first)
    return _load(folder, roles, passphrase, (ring, envelope), believed or first)


def rotate(
    folder: Path,
    role: KeyRole,
    *,
    county: str,
    now: int,
    overlap_ms: int = OVERLAP_MS,
    passphrase: bytes | None = None,
    root: Root | None = None,
) -> CountyKeys:
    """A new key of `role`; those before it are believed for `overlap_ms` more. `now`: Unix ms.
    `root`: where it is not in `folder` under the same passphrase. Raises KeysError."""
    if role is KeyRole.ROOT:
        raise KeysError(
            "a root key comes to a terminal with its enrolment alone: make new keys, enrol all anew"
        )
    keys = load(folder, [role], passphrase)
    fresh = _fresh(role, keys.ring.is_sandbox)
    entries = {k: e for k, e in _entries(keys).items() if not e.until or e.until > now}
    for key_id, entry in entries.items():
        if entry.role == role.value:
            end = now + overlap_ms
            until = min(entry.until, end) if entry.until else end
            entries[key_id] = RingKey(entry.role, entry.public, until)
    entries[fresh.key_id] = RingKey(role.value, _b64(fresh.public_bytes))
    return _reissue(folder, keys, entries, {role: fresh}, county, now, passphrase, root)


def revoke(
    folder: Path,
    key_id: str,
    *,
    county: str,
    now: int,
    passphrase: bytes | None = None,
    root: Root | None = None,
) -> CountyKeys:
    """`key_id` is believed by nobody from the next Ring on, with no overlap; was it the only open one of its
    role, a new one takes its place. Raises KeysError."""
    keys = load(folder, (), passphrase)
    entries = {k: e for k, e in _entries(keys).items() if not e.until or e.until > now}
    gone = entries.pop(key_id, None)
    if gone is None:
        if key_id in keys.ring.keys:
            raise KeysError(f"{key_id} is a root key; make new keys, enrol all anew")
        raise KeysError(f"no key {key_id} in the ring; {', '.join(sorted(entries))}")
    fresh = {}
    if not any(e.role == gone.role and not e.until for e in entries.values()):
        role = KeyRole(gone.role)
        fresh[role] = _fresh(role, keys.ring.is_sandbox)
        entries[fresh[role].key_id] = RingKey(gone.role, _b64(fresh[role].public_bytes))
    return _reissue(folder, keys, entries, fresh, county, now, passphrase, root)


def change_passphrase(folder: Path, old: bytes | None, new: bytes | None, more: Path) -> list[Path]:
    """Every key file that is there, and those in `more`, sealed anew; None: not encrypted. All are opened
    before one is written; after a power cut between two, the same call goes on. Raises KeysError."""
    files = [
        folder / name for name in (*(_name(r) for r in KeyRole), SECRET_FILE) if (folder / name).exists()
    ]
    files += sorted(more.glob("*.key"))
    content = {file: _either(file, old, new) for file in files}
    for file, lines in content.items():
        _write_lines(file, lines, new)
    return files


def _either(file: Path, old: bytes | None, new: bytes | None) -> list[tuple[str, bytes]]:
    try:
        return opened_lines(file, old)
    except WrongPassphrase:
        try:
            return opened_lines(file, new)
        except WrongPassphrase:
            pass
        raise


def given_passphrase(file: Path | None, environment: Mapping[str, str]) -> bytes | None:
    """From `file`, else from the systemd credential `keys-passphrase`; None: neither is there. Raises
    KeysError."""
    if file is None:
        credentials = environment.get("CREDENTIALS_DIRECTORY")
        if not credentials or not (Path(credentials) / CREDENTIAL).exists():
            return None
        return _passphrase(Path(credentials) / CREDENTIAL, mine=False)
    return _passphrase(file, mine=True)


def stamp(folder: Path) -> object:
    """Is another one when keys were changed."""
    return tuple(
        (name, found.st_mtime_ns, found.st_ino)
        for name in (*(_name(role) for role in KeyRole), RING_FILE)
        if (folder / name).exists()
        for found in [(folder / name).stat()]
    )


def is_locked(folder: Path) -> bool:
    """Whether a file there needs a passphrase. Raises KeysError."""
    return any(
        b" scrypt:" in _read(path)
        for path in (*(folder / _name(r) for r in KeyRole), folder / SECRET_FILE)
        if path.exists()
    )


# --- rings -------------------------------------------------------------------------------------------


def _entries(keys: CountyKeys) -> dict[str, RingKey]:
    ring = keys.ring
    data = ring.to_dict()
    return {
        key_id: RingKey(role.value, data[key_id]["public"], ring.until.get(key_id, 0))
        for key_id, (role, _) in ring.keys.items()
        if role is not KeyRole.ROOT
    }


def _reissue(
    folder: Path,
    keys: CountyKeys,
    entries: dict[str, RingKey],
    fresh: Mapping[KeyRole, Signer],
    county: str,
    now: int,
    passphrase: bytes | None,
    root: Root | None,
) -> CountyKeys:
    """The next Ring, sealed. New private halves are on the disk before it is, old ones go after it: who dies
    between has lost nothing."""
    if len(entries) > MOST_KEYS:
        raise KeysError(f"{len(entries)} keys are too many for a ring; revoke older ones first")
    signer = _root(root or Root(folder / _name(KeyRole.ROOT), passphrase), keys.ring)
    envelope = signer.seal(Ring(county=county, version=keys.version + 1, issued=now, keys=entries))
    paths: dict[KeyRole, Path] = {r: folder / _name(r) for r in KeyRole if r is not KeyRole.ROOT}
    lines = {role: opened_lines(path, passphrase) for role, path in paths.items() if path.exists()}
    for role, new in fresh.items():
        lines[role] = [*lines.get(role, ()), (new.key_id, new.private_bytes)]
        _write_lines(paths[role], lines[role], passphrase)
    replace_file(folder / RING_FILE, envelope)
    for role, found in lines.items():
        left = [line for line in found if line[0] in entries]
        if left and left != found:
            _write_lines(paths[role], left, passphrase)
    return load(folder, fresh, passphrase)


def _write_lines(path: Path, lines: Iterable[tuple[str, bytes]], passphrase: bytes | None) -> None:
    replace_file(path, b"".join(sealed_line(path.name, name, data, passphrase) for name, data in lines))


def _root(root: Root, ring: KeyRing) -> Signer:
    lines = opened_lines(root.file, root.passphrase, _name(KeyRole.ROOT))
    signer = _signer(root.file, KeyRole.ROOT, *lines[-1])
    mine = ring.keys.get(signer.key_id)
    if mine is None or mine[1].public_bytes_raw() != signer.public_bytes:
        raise KeysError(
            f"{root.file} is another county's root key ({signer.key_id}): no terminal believes it"
        )
    return signer


def _first_ring(folder: Path) -> KeyRing:
    path = folder / PUBLIC_FILE
    try:
        rows = [line.split() for line in _read(path).decode("ascii").splitlines()]
        ring = KeyRing.from_dict({key_id: {"role": role, "public": key} for key_id, role, key in rows})
        if KeyRole.ROOT not in {role for role, _ in ring.keys.values()}:
            raise ValueError("no root key")
    except (ValueError, RingError) as error:
        raise KeysError(f"{path} holds no public keys: {error}; restore it from the safe copy") from error
    return ring


def _latest_ring(folder: Path, first: KeyRing) -> tuple[int, KeyRing | None, bytes]:
    path = folder / RING_FILE
    if not path.exists():
        return 0, None, b""
    envelope = _read(path)
    try:
        opened = open_command(envelope, first)
        believed = renewed(first, opened.body)
    except (SealError, RingError) as error:
        raise KeysError(
            f"{path} is not this county's ring: {error}; restore it from the safe copy"
        ) from error
    assert isinstance(opened.command, Ring)
    return opened.command.version, believed, envelope


def _without_root(folder: Path) -> bool:
    """As an older version left it: keys, and neither a root nor public halves."""
    return (
        (folder / SECRET_FILE).exists()
        and (folder / _name(KeyRole.SERVICE)).exists()
        and not (folder / _name(KeyRole.ROOT)).exists()
        and not (folder / PUBLIC_FILE).exists()
    )


def _load(
    folder: Path,
    roles: Iterable[KeyRole],
    passphrase: bytes | None,
    issued: tuple[int, bytes] | None,
    believed: KeyRing | None,
) -> CountyKeys:
    signers: dict[KeyRole, Signer] = {}
    older: dict[KeyRole, tuple[Signer, ...]] = {}
    for role in roles:
        path = folder / _name(role)
        found = [_signer(path, role, *line) for line in opened_lines(path, passphrase)]
        if believed is not None:
            found = [s for s in found if s.key_id in believed.keys]
            for signer in found:
                if believed.keys[signer.key_id][1].public_bytes_raw() != signer.public_bytes:
                    raise KeysError(f"{path}: {signer.key_id} is not the key that the ring names")
            found.sort(key=lambda s: believed.until.get(s.key_id) or float("inf"))
        if not found:
            raise KeysError(
                f"{path} holds no {role} key that the ring names; restore both from one safe copy"
            )
        *before, signers[role] = found
        older[role] = tuple(before)
    path = folder / SECRET_FILE
    secret = opened_lines(path, passphrase)[-1][1]
    if len(secret) != 32:
        raise KeysError(f"{path} holds {len(secret)} bytes, not 32")
    version, envelope = issued or (0, b"")
    return CountyKeys(signers, secret, older, believed, version, envelope)


# --- files -------------------------------------------------------------------------------------------


def _fresh(role: KeyRole, sandbox: bool) -> Signer:
    return new_signer(role, secrets.token_bytes(SIGNER_ENTROPY), sandbox=sandbox)


def _signer(path: Path, role: KeyRole, key_id: str, key: bytes) -> Signer:
    try:
        return Signer(role, key_id, Ed25519PrivateKey.from_private_bytes(key))
    except (ValueError, RingError) as error:
        raise KeysError(f"{path} holds no {role} signing key: {error}") from error


def _name(role: KeyRole) -> str:
    return f"{role.value}.key"


def sealed_line(file: str, name: str, data: bytes, passphrase: bytes | None) -> bytes:
    """One line of the key file called `file`; without `passphrase` it is not encrypted."""
    if passphrase is None:
        return f"{name} clear {data.hex()}\n".encode()
    salt = secrets.token_bytes(_SALT)
    box = ChaCha20Poly1305(_stretched(passphrase, salt, *COST)).encrypt(bytes(12), data, _bound(file, name))
    cost = ":".join(map(str, COST))
    return f"{name} scrypt:{cost}:{salt.hex()} {box.hex()}\n".encode()


def opened_line(path: Path, passphrase: bytes | None) -> bytes:
    """What a key file of one line holds. Raises KeysError."""
    return opened_lines(path, passphrase)[-1][1]


def opened_lines(path: Path, passphrase: bytes | None, file: str = "") -> list[tuple[str, bytes]]:
    """(name, content) of each line; `file`: what the file was called when it was sealed. Raises KeysError."""
    found = []
    try:
        for line in _read(path).decode("ascii").splitlines():
            *about, text = line.split(" ")
            # As an older version wrote it: `<id> <hex>`, and the secret alone.
            name, how = about if len(about) == 2 else (about[0] if about else path.name, "clear")
            data = bytes.fromhex(text)
            if how != "clear":
                data = _unsealed(path, file or path.name, name, how, data, passphrase)
            found.append((name, data))
    except ValueError as error:
        raise KeysError(f"{path} holds no key: {error}; restore it from the safe copy") from error
    if not found:
        raise KeysError(f"{path} is empty; restore it from the safe copy")
    return found


def _unsealed(path: Path, file: str, name: str, how: str, box: bytes, passphrase: bytes | None) -> bytes:
    kind, n, r, p, salt = how.split(":")
    if kind != "scrypt" or not (10 <= int(n) <= MOST_COST and 1 <= int(r) <= 16 and 1 <= int(p) <= 4):
        raise ValueError(f"sealed in a way that is not ours ({how[:20]})")
    if passphrase is None:
        raise WrongPassphrase(
            f"{path} has a passphrase; give it: keys_passphrase_file, or the systemd credential {CREDENTIAL}"
        )
    key = _stretched(passphrase, bytes.fromhex(salt), int(n), int(r), int(p))
    try:
        return ChaCha20Poly1305(key).decrypt(bytes(12), box, _bound(file, name))
    except InvalidTag as error:
        raise WrongPassphrase(f"{path}: the passphrase is wrong, or the file is damaged") from error


def _stretched(passphrase: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=1 << n, r=r, p=p).derive(passphrase)


def _bound(file: str, name: str) -> bytes:
    return f"fenghuo/1 key file\n{file}\n{name}".encode()


def _passphrase(path: Path, *, mine: bool) -> bytes:
    """`mine`: a file of ours, which nobody else may read; a credential has systemd's mode."""
    if not path.exists():
        raise KeysError(f"{path} is not there; the passphrase is read from it")
    data = (_read(path) if mine else _bytes(path)).strip(b"\r\n")
    if not data:
        raise KeysError(f"{path} holds no passphrase")
    return data


def _new_file(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """All or nothing, durably: the key that it replaces is worth a county. Raises KeysError."""
    aside = path.with_name(f"{path.name}.new")
    try:
        aside.unlink(missing_ok=True)
        _new_file(aside, data)
        aside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise KeysError(f"{path} cannot be written: {error.strerror}") from error


def _read(path: Path) -> bytes:
    try:
        _private(path, 0o600)
    except OSError as error:
        raise _unreadable(path, error) from None
    return _bytes(path)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> KeysError:
    if isinstance(error, FileNotFoundError):
        return KeysError(
            f"{path} is missing; restore it from the safe copy, or enrol every terminal anew "
            "with new keys (fenghuo keys new)"
        )
    return KeysError(f"{path} cannot be read: {error.strerror}")


def _private(path: Path, mode: int) -> None:
    found = path.stat().st_mode & 0o777
    if found & 0o077:
        raise KeysError(f"{path} can be read by others (mode {found:04o}); chmod {mode:o} {path}")


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
