"""The fleet register in memory: who is enrolled where, their groups and report keys; and enrolment."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from alerts.regions import County
from controller.clock import wall_ms
from controller.keys import CountyKeys
from controller.store import Store, Unknown
from controller.store.records import Entry, TerminalRow
from terminals import enrolment
from terminals.enrolment import Enrolled, EnrolmentError, EnrolmentReason
from terminals.fleet import Fleet, groups_of
from terminals.model import Terminal, is_simulated
from terminals.seal import KeyRole, report_key

# A code that an installer did not use within a day is void (design §5).
CODE_LIFETIME_MS: Final = 24 * 3_600_000


class RegisterError(Exception):
    """A terminal that cannot be registered or enrolled: which, and why."""


class Register:
    def __init__(
        self, store: Store, county: County, keys: CountyKeys, *, broker: str, audio: str, sandbox: bool
    ) -> None:
        """`broker` and `audio`: addresses that terminals are given at enrolment."""
        self._store = store
        self.county = county
        self._keys = keys
        self._broker = broker
        self.audio = audio
        self._sandbox = sandbox
        self._report_keys: dict[str, bytes] = {}
        self.terminals: dict[str, Terminal] = {}
        self._fleet: Fleet | None = None

    async def load(self) -> None:
        self.terminals = {row.terminal.id: row.terminal for row in await self._store.terminals()}
        self._fleet = None

    @property
    def fleet(self) -> Fleet:
        """The terminals, made ready for targeting; kept until one of them changes."""
        if self._fleet is None:
            self._fleet = Fleet.of(self.terminals.values(), self.county)
        return self._fleet

    async def rows(self) -> list[TerminalRow]:
        return await self._store.terminals()

    def groups(self, terminal: str) -> tuple[str, ...] | None:
        """None for a terminal that is not enrolled: it gets no word from us."""
        known = self.terminals.get(terminal)
        return groups_of(known.village, self.county) if known is not None and known.enrolled else None

    def report_key(self, terminal: str) -> bytes | None:
        """None for a terminal that is not enrolled: its reports are not taken."""
        known = self.terminals.get(terminal)
        if known is None or not known.enrolled:
            return None
        key = self._report_keys.get(terminal)
        if key is None:
            key = self._report_keys[terminal] = report_key(self._keys.secret, terminal)
        return key

    async def add(self, terminals: Sequence[Terminal], who: str) -> None:
        """Registers (not enrols). Raises RegisterError naming the first row that is impossible."""
        names = {v.key for v in self.county.villages}
        seen: set[str] = set()
        for n, terminal in enumerate(terminals, 1):
            where = f"row {n} ({terminal.id})"
            if is_simulated(terminal.id) != self._sandbox:
                raise RegisterError(
                    f"{where}: "
                    + (
                        "a sandbox controller takes only simulated terminals (sim-…)"
                        if self._sandbox
                        else "sim-… is reserved for simulated terminals; this controller is not a sandbox"
                    )
                )
            if terminal.id in seen:
                raise RegisterError(f"{where}: twice in this list")
            if terminal.village not in names:
                raise RegisterError(f"{where}: no village {terminal.village} in {self.county.name}")
            seen.add(terminal.id)
        await self._store.register(
            terminals, Entry(who, "terminal.import", f"{len(terminals)} terminals"), wall_ms()
        )
        await self.load()

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
        )
        answer = enrolment.answer(
            request, bytes.fromhex(stored), papers, secrets.token_bytes(enrolment.KEY_ENTROPY)
        )
        entry = Entry(f"terminal:{terminal.id}", "terminal.enrol", terminal.id)
        if not await self._store.enrol(terminal.id, stored, entry, now):
            raise EnrolmentError(EnrolmentReason.WRONG_CODE, f"{terminal.id}: this code has been used")
        self.terminals[terminal.id] = replace(terminal, enrolled=True)
        self._fleet = None
        return answer
