"""A simulated terminal never stands in for a real one, nor a drill for a warning: a sandbox, with keys of its
own, beside a real county."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from controller.clock import wall_ms
from controller.keys import throw_away
from controller.register import RegisterError, Unknown
from support.county import County, a_county, cap
from terminals import wire
from terminals.agent.core import Core, Durable, Identity, Sound
from terminals.delivery import State
from terminals.model import Terminal
from terminals.seal import SOUNDING, KeyRole, report_key, seal_report
from terminals.transport import ToTerminal

LIMIT_S = 60
HOUR = 3_600_000
SIM = "sim-00001"
DRILL = throw_away(sandbox=True)
"""Keys of a sandbox on the same network."""


@pytest.fixture
async def county(tmp_path: Path) -> AsyncIterator[County]:
    async with a_county(tmp_path, sandbox=False) as made:
        await everybody_online(made)
        yield made


async def until(true: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not true():
            await asyncio.sleep(0.01)


async def everybody_online(county: County) -> None:
    await until(lambda: len(county.dispatcher.online) >= len(county.village.units))


async def test_no_simulated_terminals_word_counts_in_a_real_county(county: County) -> None:
    real = sorted(county.village.units)[0]
    county.village.power_off(real)
    given = await county.give(cap(codes=("623023",)))
    assert given.broadcast is not None
    await until(lambda: given.broadcast in county.dispatcher.runs)
    run = county.dispatcher.runs[given.broadcast]

    def words(who: str) -> list[wire.Upward]:
        return [
            wire.Report(who, run.id, "boot9", 1, (wire.Fact(1, "played", wall_ms()),)),
            wire.Hello(who, "boot9", 2, "h" + "x" * 31, wall_ms() + 9 * HOUR),
            wire.Staged(who, "boot9", 3, "s-" + "0" * 16, 1, 1),
            wire.Probe(who, "p" + "x" * 31),
        ]

    drills, ours = DRILL.secret, county.keys.secret
    # Below whose topic it is said, the name on the seal, the name in the words, the key.
    ways = [
        (SIM, SIM, SIM, report_key(drills, SIM)),  # as in its sandbox
        (SIM, SIM, SIM, report_key(ours, SIM)),  # under the key that this county would derive for it
        (real, real, real, report_key(drills, real)),  # a sandbox that calls its terminal like ours
        (real, SIM, SIM, report_key(drills, SIM)),
        (real, SIM, SIM, report_key(ours, SIM)),
        (real, SIM, real, report_key(ours, SIM)),
        (SIM, real, real, report_key(drills, real)),
    ]
    refused = county.dispatcher._metrics.reports_refused._value.get
    before, sent, online = refused(), len(county.village.sent), county.dispatcher.online[real]
    for below, name, who, key in ways:
        for word in words(who):
            county.dispatcher.upward(below, seal_report(word, name, key))
    await until(lambda: refused() >= before + 4 * len(ways))
    assert SIM not in county.dispatcher.online
    assert SIM not in run.facts
    assert county.dispatcher.online[real] == online
    assert not any(state is State.PLAYED for _, state, _ in run.facts[real])
    assert ToTerminal(SIM) not in [address for address, _ in county.village.sent[sent:]]
    county.village.power_on(real)
    assert await county.ended(run.id) == set(county.village.units)


async def test_nothing_that_a_sandbox_seals_is_obeyed_by_a_real_terminal(county: County) -> None:
    given = await county.give(cap(codes=("623023",)))
    assert given.broadcast is not None
    everybody = set(county.village.units)
    await until(lambda: county.village.heard(given.broadcast or "") == everybody)
    genuine = next(payload for _, payload in county.village.sent if b'"play"' in payload)
    play = wire.decode_command(genuine.partition(b"\n")[2])
    assert isinstance(play, wire.Play)
    now, targets = county.dispatcher.now(), wire.Targets(groups=("all",))
    keys = {k: e for k, e in DRILL.ring.to_dict().items() if e["role"] != KeyRole.ROOT}
    ring = wire.Ring("zhouqu", 99, now, {k: wire.RingKey(e["role"], e["public"]) for k, e in keys.items()})
    stage = wire.Stage("s-" + "0" * 16, "0" * 64, 10, "x", now, now + HOUR, targets)
    theirs = [DRILL.signers[KeyRole.ROOT].seal(ring), DRILL.signers[KeyRole.SERVICE].seal(stage)]
    for n, role in enumerate(sorted(SOUNDING)):
        said = msgspec.structs.replace(
            play, broadcast=f"drill-{role}", role=role.value, counter=now + n, expires=now + HOUR, issued=now
        )
        stop = wire.Stop((play.broadcast,), role.value, now, now, now + HOUR, targets)
        theirs += [DRILL.signers[role].seal(said), DRILL.signers[role].seal(stop)]
    mono = int(asyncio.get_running_loop().time() * 1000)
    for unit in county.village.units.values():
        assert unit.core is not None
        before, sets = unit.core.unverified, unit.core.sets()
        for payload in theirs:
            county.village._do(unit, unit.core.command(payload, mono))
        assert unit.core.unverified == before + len(theirs)
        assert (unit.core.ring_version, unit.core.sets()) == (0, sets)
    assert await county.ended(given.broadcast) == everybody
    assert [county.village.heard(f"drill-{role}") for role in SOUNDING] == [set()] * len(SOUNDING)


async def test_a_real_warning_is_nothing_to_a_simulated_terminal(county: County) -> None:
    given = await county.give(cap(codes=("623023",)))
    assert given.broadcast is not None
    await county.ended(given.broadcast)
    drilled = Identity(
        SIM,
        "zhouqu",
        report_key(DRILL.secret, SIM),
        DRILL.ring,
        ("all",),
        ("zh",),
        frozenset({"mp3"}),
        SOUNDING,
    )
    core = Core(drilled, Durable(), boot="b", random=random.Random(1))
    core.connected(0)
    effects = [effect for _, payload in county.village.sent for effect in core.command(payload, 10)]
    assert core.unverified == len(county.village.sent) > 0
    assert not any(isinstance(effect, Sound) for effect in effects)
    for mixed in (replace(drilled, ring=county.keys.ring), replace(drilled, id="zq-00001")):
        with pytest.raises(ValueError, match="sandbox keys belong to simulated terminals"):
            Core(mixed, Durable(), boot="b", random=random.Random(1))


async def test_no_simulated_terminal_comes_into_a_real_register_in_any_way(county: County) -> None:
    real = sorted(county.village.units)[0]
    village = county.register.terminals[real].village
    with pytest.raises(RegisterError, match="reserved for simulated terminals"):
        await county.register.add([Terminal(SIM, "x", village)], "me")
    with pytest.raises(RegisterError, match="reserved for simulated terminals"):
        await county.register.put_in_place(real, SIM, "me", "broken")
    with pytest.raises(Unknown, match=SIM):
        await county.register.codes([SIM], "me")
    assert SIM not in county.register.terminals
    assert county.register.report_key(SIM) is None
    assert county.register.groups(SIM) is None
