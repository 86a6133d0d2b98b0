"""The fleet register in memory: who is enrolled where, their groups and report keys; and enrolment."""

from __future__ import annotations

import csv
import io
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from alerts.fatigue import BEIJING
from alerts.regions import County
from controller import siting
from controller.certificates import Authority, CertificateError
from controller.clock import moment, wall_ms
from controller.keys import CountyKeys
from controller.store import Store, Unknown
from controller.store.records import Entry, Papers, RetiredRow
from simulators.broker import password_hash
from terminals import enrolment
from terminals.enrolment import Enrolled, EnrolmentError, EnrolmentReason
from terminals.fleet import EVERYONE, Fleet, groups_of
from terminals.model import Terminal
from terminals.seal import KeyRole, report_key

# A code that an installer did not use within a day is void (design §5).
CODE_LIFETIME_MS: Final = 24 * 3_600_000
# A recorded renewal that is sent again brings nothing: its certificate is useless without the key.
RENEWAL_PAUSE_MS: Final = 3_600_000


COLUMNS: Final = ("id", "name", "village", "lat", "lon", "languages", "speaker", "codecs")
"""Of the register as CSV."""
TERMINAL_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,40}")


@dataclass(frozen=True, slots=True)
class Changes:
    """What an import does to the register, by ids."""

    new: tuple[str, ...]
    moved: tuple[str, ...]
    """To another village."""
    changed: tuple[str, ...]


class RegisterError(Exception):
    """A terminal that cannot be registered or enrolled: which, and why."""


class Register:
    def __init__(
        self,
        store: Store,
        county: County,
        keys: CountyKeys,
        *,
        broker: str,
        audio: str,
        sandbox: bool,
        authority: Authority | None = None,
        login: Literal["certificate", "password"] | None = None,
    ) -> None:
        """`broker` and `audio`: addresses that terminals are given at enrolment. `login`: what they log in
        with at the broker; `authority` signed the broker's certificate, and theirs."""
        self._store = store
        self.county = county
        self._keys = keys
        self._broker = broker
        self.audio = audio
        self._sandbox = sandbox
        self._authority = authority
        self._login = login
        self._report_keys: dict[str, bytes] = {}
        self.terminals: dict[str, Terminal] = {}
        self.last_seen: dict[str, int] = {}
        """Unix ms of the last hello of each, as of `load`."""
        self.rings: dict[str, int] = {}
        """Version of the ring that each held, as of `load`."""
        self.retired: dict[str, RetiredRow] = {}
        """Terminals that were taken down, by id."""
        self.homeless: dict[str, Terminal] = {}
        """By id, terminals whose village the county pack has no more: in no plan, and not in `terminals`."""
        self.begun: Callable[[str], Awaitable[None]] | None = None
        """Told of each terminal that has just been enrolled."""
        self._fleet: Fleet | None = None

    async def load(self) -> None:
        rows = await self._store.terminals()
        villages = {village.key for village in self.county.villages}
        every = {row.terminal.id: row.terminal for row in rows}
        self.terminals = {name: t for name, t in every.items() if t.village in villages}
        self.homeless = {name: t for name, t in every.items() if t.village not in villages}
        self.last_seen = {row.terminal.id: row.last_seen for row in rows if row.last_seen}
        self.rings = {row.terminal.id: row.ring for row in rows}
        self.retired = {row.terminal.id: row for row in await self._store.retired()}
        self._fleet = None

    def renew_keys(self, keys: CountyKeys) -> None:
        """What terminals are given from now on. The county secret, and with it all report keys, stays."""
        self._keys = keys

    @property
    def fleet(self) -> Fleet:
        """The terminals, made ready for targeting; kept until one of them changes."""
        if self._fleet is None:
            self._fleet = Fleet.of(self.terminals.values(), self.county)
        return self._fleet

    def groups(self, terminal: str) -> tuple[str, ...] | None:
        """None for a terminal that is not enrolled: it gets no word from us. A retired one that is still
        there is told that it belongs to no group any more; one whose village is gone, that it belongs to the
        county's."""
        if terminal in self.retired:
            return ()
        known = self._enrolled(terminal)
        if known is None:
            return None
        return (EVERYONE,) if terminal in self.homeless else groups_of(known.village, self.county)

    def enrolled(self, terminal: str) -> bool:
        """Whether it is in service: of a retired one nothing is expected any more."""
        return self._enrolled(terminal) is not None

    def _enrolled(self, terminal: str) -> Terminal | None:
        known = self.terminals.get(terminal) or self.homeless.get(terminal)
        return known if known is not None and known.enrolled else None

    def report_key(self, terminal: str) -> bytes | None:
        """None for a terminal that is not enrolled: its reports are not taken."""
        if terminal not in self.retired and self._enrolled(terminal) is None:
            return None
        key = self._report_keys.get(terminal)
        if key is None:
            key = self._report_keys[terminal] = report_key(self._keys.secret, terminal)
        return key

    def wrong(self, terminals: Sequence[Terminal]) -> list[tuple[int, str]]:
        """(index, reason) of everything that speaks against registering these; empty when nothing does."""
        gone = {row.terminal.id: row.replaced_by for row in self.retired.values()}
        return siting.wrong(
            terminals, self.county, sandbox=self._sandbox, standing=self.terminals, retired=gone
        )

    def changes(self, terminals: Sequence[Terminal]) -> Changes:
        """What registering these would do."""
        new, moved, changed = [], [], []
        for terminal in terminals:
            old = self.terminals.get(terminal.id)
            if old is None:
                new.append(terminal.id)
            elif old.village != terminal.village:
                moved.append(terminal.id)
            elif replace(old, enrolled=False) != replace(terminal, enrolled=False):
                changed.append(terminal.id)
        return Changes(tuple(new), tuple(moved), tuple(changed))

    async def add(self, terminals: Sequence[Terminal], who: str) -> Changes:
        """Registers (not enrols), all or none; what is known of a terminal changes, its enrolment
        stays. Raises RegisterError with every row that is impossible, a line each."""
        problems = self.wrong(terminals)
        if problems:
            raise RegisterError("\n".join(f"terminals.{n}: {reason}" for n, reason in problems))
        done = self.changes(terminals)
        detail = f"{len(done.new)} new, {len(done.changed)} changed, moved: {' '.join(done.moved) or 'none'}"
        await self._store.register(
            terminals, Entry(who, "terminal.import", f"{len(terminals)} terminals", detail[:2_000]), wall_ms()
        )
        await self.load()
        return done

    async def retire(self, terminal: str, who: str, reason: str) -> None:
        """Taken down: kept in the history, never addressed again; nor is its id ever used again. Raises
        Unknown."""
        if not await self._store.retire(terminal, Entry(who, "terminal.retire", terminal, reason), wall_ms()):
            raise self.unknown(terminal)
        await self.load()

    async def put_in_place(self, old: str, new: str, who: str, reason: str) -> Terminal:
        """A new board in the place of a broken one: `new` takes over village, position, name, languages and
        loudspeaker of `old`, which is retired in the same moment. It must still be enrolled. Raises Unknown,
        RegisterError."""
        known = self.terminals.get(old)
        if known is None:
            raise self.unknown(old)
        if not TERMINAL_ID.fullmatch(new):
            raise RegisterError(f"id {new!r} must be 1 to 40 letters, digits, '.', '_' and '-'")
        if new in self.terminals:
            raise RegisterError(f"{new} is registered already, in {self.terminals[new].village}")
        board = replace(known, id=new, enrolled=False)
        others = {name: t for name, t in self.terminals.items() if name != old}
        gone = {row.terminal.id: row.replaced_by for row in self.retired.values()}
        problems = siting.wrong([board], self.county, sandbox=self._sandbox, standing=others, retired=gone)
        if problems:
            raise RegisterError("\n".join(text for _, text in problems))
        entry = Entry(who, "terminal.replace", old, f"by {new}: {reason}")
        if not await self._store.retire(old, entry, wall_ms(), board):
            raise self.unknown(old)
        await self.load()
        return board

    def unknown(self, terminal: str) -> Unknown:
        """Why `terminal` is not among `terminals`."""
        if (known := self.homeless.get(terminal)) is not None:
            return Unknown(f"{terminal} is in village {known.village}, which the county pack has no more")
        row = self.retired.get(terminal)
        if row is None:
            return Unknown(f"no terminal {terminal}; see: fenghuo terminal list")
        by = f" and replaced by {row.replaced_by}" if row.replaced_by else ""
        return Unknown(f"{terminal} was retired on {moment(row.at).astimezone(BEIJING):%Y-%m-%d}{by}")

    async def codes(self, terminals: Sequence[str], who: str) -> dict[str, str]:
        """A fresh single-use code each, shown once; only its fingerprint is kept. Raises Unknown."""
        for terminal in terminals:
            if terminal not in self.terminals:
                raise Unknown(f"no terminal {terminal}; register it first (fenghuo terminal import)")
        codes = {t: enrolment.new_code(secrets.token_bytes(enrolment.CODE_ENTROPY)) for t in terminals}
        now = wall_ms()
        subject = terminals[0] if len(terminals) == 1 else f"{len(terminals)} terminals"
        await self._store.set_codes(
            [(t, enrolment.code_fingerprint(c).hex()) for t, c in codes.items()],
            now + CODE_LIFETIME_MS,
            Entry(who, "terminal.code", subject),
            now,
        )
        return codes

    async def enrol(self, body: bytes) -> bytes:
        """One terminal's request, answered; its code is spent first, durably. Raises EnrolmentError."""
        request = enrolment.read_request(body)
        now = wall_ms()
        stored = await self._store.code_hash(request.terminal, now)
        terminal = self.terminals.get(request.terminal)
        if stored is None or terminal is None:
            raise EnrolmentError(
                EnrolmentReason.WRONG_CODE,
                f"{request.terminal} has no open code; make one: fenghuo terminal enrol {request.terminal}",
            )
        enrolment.verify(request, bytes.fromhex(stored))
        certificate, row = "", None
        if self._authority is not None and self._login == "certificate":
            try:
                certificate, row = self._authority.for_terminal(terminal.id, request.csr_bytes(), now)
            except CertificateError as error:
                raise EnrolmentError(EnrolmentReason.MALFORMED, f"{terminal.id}: {error}") from error
        password = secrets.token_urlsafe(24) if self._login == "password" else ""
        papers = Enrolled.of(
            terminal=terminal.id,
            county=self.county.key,
            report_key=report_key(self._keys.secret, terminal.id),
            ring=self._keys.ring,
            groups=groups_of(terminal.village, self.county),
            languages=terminal.languages,
            roles=(KeyRole.ACTUAL, KeyRole.EXERCISE, KeyRole.TEST),
            broker=self._broker,
            audio=self.audio,
            speaker=terminal.speaker,
            position=None if terminal.lat is None or terminal.lon is None else (terminal.lat, terminal.lon),
            ring_version=self._keys.version,
            certificate=certificate,
            authority="" if self._authority is None else self._authority.pem,
            password=password,
        )
        answer = enrolment.answer(
            request, bytes.fromhex(stored), papers, secrets.token_bytes(enrolment.KEY_ENTROPY)
        )
        entry = Entry(f"terminal:{terminal.id}", "terminal.enrol", terminal.id)
        left = Papers(row, password_hash(password) if password else None, self._keys.version)
        if not await self._store.enrol(terminal.id, stored, entry, now, left):
            raise EnrolmentError(EnrolmentReason.WRONG_CODE, f"{terminal.id}: this code has been used")
        self.terminals[terminal.id] = replace(terminal, enrolled=True)
        self._fleet = None
        if self.begun is not None:
            await self.begun(terminal.id)
        return answer

    async def renew_certificate(self, body: bytes) -> bytes:
        """A further certificate for a terminal that proves itself with its report key. Raises
        EnrolmentError."""
        request = enrolment.read_renewal(body)
        key = self.report_key(request.terminal)
        if key is None or self._authority is None:
            raise EnrolmentError(
                EnrolmentReason.WRONG_TERMINAL, f"{request.terminal} has no certificate of ours to renew"
            )
        csr = enrolment.verify_renewal(request, key)
        now = wall_ms()
        have = [c for c in await self._store.certificates() if c.terminal == request.terminal]
        open_ = [c for c in have if c.revoked is None]
        if not open_:
            raise EnrolmentError(
                EnrolmentReason.WRONG_TERMINAL,
                f"{request.terminal}: its certificate is revoked; enrol it anew with a code",
            )
        if now - max(c.issued for c in open_) < RENEWAL_PAUSE_MS:
            raise EnrolmentError(EnrolmentReason.REPLAYED, f"{request.terminal} got one within the last hour")
        try:
            certificate, row = self._authority.for_terminal(request.terminal, csr, now)
        except CertificateError as error:
            raise EnrolmentError(EnrolmentReason.MALFORMED, f"{request.terminal}: {error}") from error
        entry = Entry(f"terminal:{request.terminal}", "terminal.certificate", request.terminal)
        await self._store.renew(row, entry, now)
        return enrolment.renewed(request.terminal, certificate)


def as_csv(terminals: Iterable[Terminal]) -> str:
    """`COLUMNS` of each, with the village's key: an import of it changes nothing. Begins with U+FEFF, without
    which spreadsheets take UTF-8 for GBK."""
    text = io.StringIO()
    out = csv.writer(text)
    out.writerow(COLUMNS)
    for t in terminals:
        lat, lon = ("" if t.lat is None else repr(t.lat)), ("" if t.lon is None else repr(t.lon))
        out.writerow(
            (t.id, t.name, t.village, lat, lon, " ".join(t.languages), t.speaker, " ".join(t.codecs))
        )
    return "\ufeff" + text.getvalue()
