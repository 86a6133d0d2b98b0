"""The terminals' protocol in the fuzzer: both directions, manifests, and a terminal that is told it all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from fuzz.harness import Parser

from alerts.model import AlertError
from support.terminal import (
    EPOCH,
    HOUR,
    ME,
    SIGNERS,
    Rig,
    ring_of,
    sealed_by,
    staged_clip,
)
from terminals.seal import KeyRole
from terminals.wire import (
    Fact,
    Health,
    Hello,
    Manifest,
    Probe,
    Quake,
    Query,
    Report,
    Stage,
    Staged,
    Targets,
    Time,
    WireError,
    decode_command,
    decode_manifest,
    decode_upward,
    encode,
    encode_manifest,
    set_id,
)


def wire_parsers() -> Iterator[Parser]:
    rig = Rig(sync=False)
    quake = Quake(EPOCH, 31.0, 103.4, 14.0, 7.0, set_id("a" * 64))
    down = (
        encode(rig.play()),
        encode(rig.play(quake=quake, hazard="earthquake", signal="quake", clips=())),
        encode(rig.play(standing=True, role="exercise", replaces=("b1",), patience_ms=0)),
        encode(rig.stop("b1", "b2")),
        encode(Query("b1", EPOCH)),
        encode(Time(ME, "n" * 32, EPOCH, ("v1",), "http://a", 8)),
        encode(Stage(set_id("a" * 64), "a" * 64, 9, "x", EPOCH, EPOCH + HOUR, Targets(("v1",)))),
        encode(ring_of(SIGNERS.values(), 1)),
    )
    up = (
        encode(Report(ME, "b1", "boot", 1, (Fact(1, "playing", EPOCH, "floor", "说"),), EPOCH)),
        encode(
            Hello(ME, "boot", 1, "n" * 32, EPOCH, health=Health(clock_error_ms=3), sets={"s-1": 3}, ring=2)
        ),
        encode(Probe(ME, "n" * 32)),
        encode(Staged(ME, "boot", 1, "s-1", 9, 3, "fetch HTTP 404")),
    )
    manifest = encode_manifest(Manifest((staged_clip("quake/3", 1), staged_clip("floor/actual/*/first", 2))))
    yield Parser("wire down", _plain(decode_command), down, xml=False)
    yield Parser("wire up", _plain(decode_upward), up, xml=False)
    yield Parser(
        "wire manifest", lambda body: _plain(lambda b: decode_manifest(b).clips)(body), (manifest,), xml=False
    )
    yield Parser("terminal", _Told(), down, xml=False)


def _plain(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read(body: bytes) -> Any:
        try:
            return msgspec.to_builtins(decode(body))
        except WireError as error:
            raise AlertError("body", str(error)) from error

    return read


class _Told:
    """A terminal that hears these words under every key: whoever says them, `Core` raises nothing, and what
    it keeps can be read again."""

    def __init__(self) -> None:
        self._rig = Rig()
        self._count = 0

    def __call__(self, body: bytes) -> int:
        self._count += 1
        if self._count % 50 == 0:
            self._rig.boot()
        rig = self._rig
        rig.mono += 7
        effects = []
        for role in KeyRole:
            effects += rig.core.command(sealed_by(SIGNERS[role], body), rig.mono)
        rig.disk = rig.core._durable.to_bytes()
        rig.speaker = None
        return len(effects)
