"""Key files: locked, changed with overlap, revoked; and what an attacker may try with them."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from controller import keys as files
from controller.keys import KeysError, Root, WrongPassphrase, create, given_passphrase, load, revoke, rotate
from terminals.seal import KeyRole, RingError, SealError, open_command, renewed
from terminals.wire import Ring, RingKey

WORD = b"correct horse"
NOW = 1_795_000_000_000
DAY = 86_400_000
ONLINE = [r for r in KeyRole if r is not KeyRole.ROOT]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "COST", (10, 8, 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "keys")
    return tmp_path / "keys"


def turn(folder: Path, role: KeyRole = KeyRole.ACTUAL, now: int = NOW, **more: object) -> files.CountyKeys:
    return rotate(folder, role, county="623023", now=now, **more)  # type: ignore[arg-type]


def take_back(folder: Path, key_id: str, now: int = NOW) -> files.CountyKeys:
    return revoke(folder, key_id, county="623023", now=now)


# --- passphrases ---


def test_locked_keys_open_with_their_passphrase_and_no_byte_of_them_lies_in_clear(tmp_path: Path) -> None:
    made = create(tmp_path, passphrase=WORD)
    again = load(tmp_path, KeyRole, WORD)
    assert {r: s.private_bytes for r, s in again.signers.items()} == {
        r: s.private_bytes for r, s in made.signers.items()
    }
    assert again.secret == made.secret
    disk = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    for secret in (made.secret, *(s.private_bytes for s in made.signers.values())):
        assert secret.hex().encode() not in disk
        assert secret not in disk


@pytest.mark.parametrize(
    ("word", "said"), [(b"wrong", "the passphrase is wrong"), (None, "has a passphrase")]
)
def test_a_wrong_passphrase_and_none_say_so(tmp_path: Path, word: bytes | None, said: str) -> None:
    create(tmp_path, passphrase=WORD)
    with pytest.raises(WrongPassphrase, match=said):
        load(tmp_path, ONLINE, word)


def test_a_locked_line_cannot_be_moved_to_another_file_or_key(tmp_path: Path) -> None:
    """Otherwise who can write the folder, and no more, makes a drill key an actual one."""
    create(tmp_path, passphrase=WORD)
    (tmp_path / "actual.key").write_bytes((tmp_path / "test.key").read_bytes())
    with pytest.raises(KeysError):
        load(tmp_path, [KeyRole.ACTUAL], WORD)


def test_a_file_that_asks_for_absurd_work_is_refused_at_once(folder: Path) -> None:
    (folder / "test.key").write_text(f"t00000000 scrypt:40:8:1:{'00' * 16} {'00' * 48}\n")
    with pytest.raises(KeysError, match="not ours"):
        load(folder, [KeyRole.TEST], WORD)


def test_a_new_passphrase_replaces_the_old_one_and_a_cut_between_two_files_is_mended(tmp_path: Path) -> None:
    create(tmp_path, passphrase=WORD)
    old = (tmp_path / "test.key").read_bytes()
    files.change_passphrase(tmp_path, WORD, b"new", tmp_path / "tls")
    (tmp_path / "test.key").write_bytes(old)  # as if power had gone before this one
    files.change_passphrase(tmp_path, WORD, b"new", tmp_path / "tls")
    assert set(load(tmp_path, KeyRole, b"new").signers) == set(KeyRole)
    with pytest.raises(WrongPassphrase):
        load(tmp_path, KeyRole, WORD)


def test_the_passphrase_comes_from_its_file_or_from_systemd(tmp_path: Path) -> None:
    mine = tmp_path / "word"
    mine.write_bytes(WORD + b"\n")
    mine.chmod(0o644)
    with pytest.raises(KeysError, match="read by others"):
        given_passphrase(mine, {})
    mine.chmod(0o600)
    (tmp_path / "keys-passphrase").write_bytes(b"systemd\n")
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert given_passphrase(mine, environment) == WORD
    assert given_passphrase(None, environment) == b"systemd"
    assert given_passphrase(None, {}) is None


# --- rotation ---


def test_a_rotation_adds_a_key_and_gives_the_older_one_an_end(folder: Path) -> None:
    before = load(folder, ONLINE)
    after = turn(folder, overlap_ms=10 * DAY)
    old, new = before.signers[KeyRole.ACTUAL].key_id, after.signers[KeyRole.ACTUAL].key_id
    assert (before.version, after.version) == (0, 1)
    assert [s.key_id for s in after.older[KeyRole.ACTUAL]] == [old]
    assert (after.until(old), after.until(new)) == (NOW + 10 * DAY, 0)
    assert set(after.ring.keys) == {*before.ring.keys, new}


def test_a_terminal_takes_the_ring_and_each_next_one_is_higher(folder: Path) -> None:
    enrolled = load(folder, ONLINE).ring
    for version in (1, 2, 3):
        keys = turn(folder, KeyRole.TEST, now=NOW + version)
        opened = open_command(keys.envelope, enrolled)
        assert isinstance(opened.command, Ring)
        assert opened.command.version == version
        assert set(renewed(enrolled, opened.body).keys) == set(keys.ring.keys)


def test_an_ended_key_is_dropped_with_the_next_ring_and_its_private_half_with_it(folder: Path) -> None:
    first = load(folder, ONLINE).signers[KeyRole.ACTUAL]
    turn(folder, overlap_ms=DAY)
    later = turn(folder, KeyRole.TEST, now=NOW + 2 * DAY)
    assert first.key_id not in later.ring.keys
    assert first.private_bytes.hex() not in (folder / "actual.key").read_text()


def test_a_shorter_overlap_later_never_makes_a_key_last_longer(folder: Path) -> None:
    old = load(folder, ONLINE).signers[KeyRole.ACTUAL].key_id
    turn(folder, overlap_ms=2 * DAY)
    assert turn(folder, overlap_ms=30 * DAY).until(old) == NOW + 2 * DAY


def test_a_revoked_key_is_gone_at_once_and_a_new_one_takes_its_place(folder: Path) -> None:
    stolen = load(folder, ONLINE).signers[KeyRole.ACTUAL]
    after = take_back(folder, stolen.key_id)
    assert stolen.key_id not in after.ring.keys
    assert load(folder, ONLINE).signers[KeyRole.ACTUAL].key_id != stolen.key_id
    assert stolen.private_bytes.hex() not in (folder / "actual.key").read_text()


def test_revoking_the_older_key_of_a_rotation_keeps_the_newer(folder: Path) -> None:
    old = load(folder, ONLINE).signers[KeyRole.ACTUAL].key_id
    new = turn(folder).signers[KeyRole.ACTUAL].key_id
    take_back(folder, old)
    after = load(folder, ONLINE)
    assert (after.signers[KeyRole.ACTUAL].key_id, after.older[KeyRole.ACTUAL]) == (new, ())


def test_a_root_in_a_safe_is_asked_for_and_has_a_passphrase_of_its_own(tmp_path: Path) -> None:
    folder, safe = tmp_path / "keys", tmp_path / "safe"
    create(folder, passphrase=WORD)
    safe.mkdir(mode=0o700)
    create(tmp_path / "other", passphrase=WORD)
    (folder / "root.key").rename(safe / "county-root")
    assert set(load(folder, ONLINE, WORD).signers) == set(ONLINE), "it serves without it"
    with pytest.raises(KeysError, match=r"root\.key is missing"):
        turn(folder, passphrase=WORD)
    with pytest.raises(KeysError, match="another county's root key"):
        turn(folder, passphrase=WORD, root=Root(tmp_path / "other" / "root.key", WORD))
    assert load(folder, ONLINE, WORD).version == 0, "nothing was changed"
    assert turn(folder, passphrase=WORD, root=Root(safe / "county-root", WORD)).version == 1


@pytest.mark.parametrize("role", [KeyRole.ROOT])
def test_the_root_itself_is_not_rotated(folder: Path, role: KeyRole) -> None:
    with pytest.raises(KeysError, match="enrol all anew"):
        turn(folder, role)
    root = next(k for k, (r, _) in load(folder, ()).ring.keys.items() if r is role)
    with pytest.raises(KeysError, match="root key"):
        take_back(folder, root)


def test_an_unknown_key_cannot_be_revoked(folder: Path) -> None:
    with pytest.raises(KeysError, match="no key a00000000"):
        take_back(folder, "a00000000")


def test_a_ring_holds_no_more_keys_than_the_wire_takes(folder: Path) -> None:
    with pytest.raises(KeysError, match="too many"):  # noqa: PT012
        for n in range(40):
            turn(folder, KeyRole.TEST, now=NOW + n)
    assert load(folder, ONLINE).version > 20


def test_who_dies_between_key_and_ring_has_lost_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = files.replace_file

    def dies(path: Path, data: bytes) -> None:
        if path.name == "ring":
            raise SystemExit
        whole(path, data)

    before = load(folder, ONLINE)
    monkeypatch.setattr(files, "replace_file", dies)
    with pytest.raises(SystemExit):
        turn(folder)
    monkeypatch.setattr(files, "replace_file", whole)
    after = load(folder, ONLINE)
    assert after.signers[KeyRole.ACTUAL].key_id == before.signers[KeyRole.ACTUAL].key_id
    assert turn(folder).version == 1


# --- what must be refused ---


def test_an_actual_key_seals_no_ring(folder: Path) -> None:
    keys = load(folder, KeyRole)
    stolen = keys.signers[KeyRole.ACTUAL]
    with pytest.raises(ValueError, match="may not seal"):
        stolen.seal(Ring("623023", 9, NOW, {}))
    # With its hands on the bytes: signed all the same, and refused by whoever opens it.
    entries = {stolen.key_id: RingKey("actual", "A" * 43)}
    forged = keys.signers[KeyRole.ROOT].seal(Ring("623023", 9, NOW, entries))
    _, _, body = forged.partition(b"\n")
    signed = stolen._private.sign(b"fenghuo/1 command\n" + stolen.key_id.encode() + b"\n" + body)
    seal = urlsafe_b64encode(signed).rstrip(b"=").decode()
    envelope = f"FH1 {stolen.key_id} {seal}\n".encode() + body
    with pytest.raises(SealError, match="may not say this"):
        open_command(envelope, keys.ring)
    (folder / "ring").write_bytes(envelope)
    (folder / "ring").chmod(0o600)
    with pytest.raises(KeysError, match="not this county's ring"):
        load(folder, ONLINE)


def test_another_countys_ring_file_is_refused(folder: Path, tmp_path: Path) -> None:
    create(tmp_path / "other")
    turn(tmp_path / "other")
    (folder / "ring").write_bytes((tmp_path / "other" / "ring").read_bytes())
    (folder / "ring").chmod(0o600)
    with pytest.raises(KeysError, match="not this county's ring"):
        load(folder, ONLINE)


def test_a_drill_controller_opens_neither_the_actual_nor_the_root_key(folder: Path) -> None:
    for name in ("actual.key", "root.key"):
        (folder / name).write_bytes(b"\xff")
    drill = load(folder, [KeyRole.EXERCISE, KeyRole.TEST, KeyRole.SERVICE])
    assert KeyRole.ACTUAL not in drill.signers
    roles = {role for role, _ in drill.ring.keys.values()}
    assert KeyRole.ACTUAL in roles, "terminals that enrol in the drill believe it later"


def test_a_stolen_drill_key_stays_a_drill_key_in_every_ring(folder: Path) -> None:
    keys = turn(folder, KeyRole.EXERCISE)
    entries = {k: RingKey("actual", e.public) for k, e in files._entries(keys).items() if k[0] == "e"}
    root = load(folder, [KeyRole.ROOT]).signers[KeyRole.ROOT]
    lie = root.seal(Ring("623023", 9, NOW, entries))
    with pytest.raises(RingError, match="must be 'a'"):
        renewed(keys.ring, lie.partition(b"\n")[2])


def test_a_folder_of_an_older_version_gets_its_root_and_keeps_its_keys(folder: Path) -> None:
    before = load(folder, ONLINE)
    (folder / "root.key").unlink()
    (folder / "public").unlink()
    for role in ONLINE:  # as it was written then: id and key, nothing between
        signer = before.signers[role]
        (folder / f"{role}.key").write_text(f"{signer.key_id} {signer.private_bytes.hex()}\n")
    (folder / "county.secret").write_text(f"{before.secret.hex()}\n")
    with pytest.raises(KeysError, match="add it: fenghuo keys new"):
        load(folder, ONLINE)
    create(folder)
    after = load(folder, KeyRole)
    assert {r: after.signers[r].key_id for r in ONLINE} == {r: before.signers[r].key_id for r in ONLINE}
    assert after.secret == before.secret
    with pytest.raises(KeysError, match="never overwritten"):
        create(folder)
