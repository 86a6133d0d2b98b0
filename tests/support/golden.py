"""Golden delivery logs: what was told of deliveries, when, and what the state machine made of it then.

A log is JSON: the policy of a broadcast, and for each terminal its steps. A step has the time, the facts that
came (attempt, state, reason, time, detail), what the controller had tried, and what was shown and decided of
it. `replay` asks today's `terminals.delivery` again. Times are ms since the run began, which is 1,000.

``PYTHONPATH=.:tests python -m support.golden [NAME …]`` records the runs below anew into tests/golden: real
terminal cores, real seals, today's `next_action`, in virtual time. Look at the difference before you keep it:
a golden log that changes is a promise that changes.
"""

from __future__ import annotations

import heapq
import json
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from terminals import delivery
from terminals.agent.core import Core, Durable, Effect, Fetch, Identity, Send, Silence, Sound
from terminals.delivery import Ask, Facts, GiveUp, Policy, Settled, State, Tried, WaitUntil
from terminals.seal import KeyRing, KeyRole, new_signer, open_report, report_key
from terminals.wire import Clip, Command, Hello, Play, Query, Report, Stop, Targets, Time

FOLDER = Path(__file__).parents[1] / "golden"
WIRE = 1_790_000_000_000
"""Wire time of ms 0 of a run."""
BEGIN = 1_000
LIFETIME = 600_000
SECRET = bytes(range(32))
ACTUAL = new_signer(KeyRole.ACTUAL, bytes([1]) * 36, sandbox=True)
SERVICE = new_signer(KeyRole.SERVICE, bytes([2]) * 36, sandbox=True)
RING = KeyRing.of([ACTUAL, SERVICE])
ROUNDS = 10_000


# --- replaying ---------------------------------------------------------------------------------------


def logs() -> list[Path]:
    return sorted(FOLDER.glob("*.json"))


def replay(log: Mapping[str, Any]) -> list[str]:
    """Where today's state machine says something else than the log, one line each; empty if nowhere."""
    policy = Policy(**log["policy"])
    wrong: list[str] = []
    for terminal, steps in log["terminals"].items():
        facts: Facts = {}
        for number, step in enumerate(steps):
            new = [((a, State(s), r), (at, detail)) for a, s, r, at, detail in step["facts"]]
            facts = delivery.fold(facts, new)
            found = _judged(facts, Tried(**step["tried"]), step["t"], policy)
            wrong += [
                f"{log['name']}: {terminal} step {number} at {step['t']} ms: "
                f"{what} {found[what]}, was {step[what]}"
                for what in ("shown", "next")
                if found[what] != step[what]
            ]
    return wrong


def _judged(facts: Facts, tried: Tried, now: int, policy: Policy) -> dict[str, Any]:
    seen = delivery.shown(facts)
    action = delivery.next_action(facts, tried, now, policy)
    more = {"Send": ("attempt",), "WaitUntil": ("at",)}.get(type(action).__name__, ())
    return {
        "shown": [seen.state.value, seen.attempt, seen.reason, seen.at, seen.detail, seen.floor],
        "next": [type(action).__name__, *(getattr(action, name) for name in more)],
    }


# --- recording ---------------------------------------------------------------------------------------


@dataclass
class Way:
    """Of messages between controller and terminal."""

    delay: int = 20
    loss: float = 0.0


class World:
    """One broadcast to a few terminals in virtual time."""

    def __init__(self, name: str, count: int = 3, *, way: Way | None = None, seed: int = 7) -> None:
        self.name = name
        self.way = way or Way()
        self.dice = random.Random(seed)
        self.now = BEGIN
        self.policy = Policy(BEGIN + LIFETIME, 12.0, 300)
        self.heap: list[tuple[int, int, Callable[[], None]]] = []
        self.order = self.counter = 0
        self.boards = {f"sim-{n + 1:05d}": Board(self, f"sim-{n + 1:05d}") for n in range(count)}

    def at(self, when: int, call: Callable[[], None]) -> None:
        self.order += 1
        heapq.heappush(self.heap, (when, self.order, call))

    def run(self, until: int) -> None:
        while self.heap and self.heap[0][0] <= until:
            self.now, _, call = heapq.heappop(self.heap)
            call()
        self.now = max(self.now, until)

    def arrives(self, call: Callable[[], None]) -> None:
        if self.dice.random() >= self.way.loss:
            self.at(self.now + self.way.delay, call)

    def play(self, broadcast: str = "b1", **changes: Any) -> Play:
        self.counter += 1
        given: dict[str, Any] = {
            "broadcast": broadcast, "event": "e", "role": "actual", "attempt": 1, "counter": self.counter,
            "issued": WIRE + self.now, "not_before": WIRE + self.now, "expires": WIRE + BEGIN + LIFETIME,
            "priority": (0, 1, 1, 4), "targets": Targets(groups=("all",)),
            "clips": (Clip("zh", "mp3", "a" * 64, 300_000, 6.0, "/clips/a.mp3"),), "repeats": 2, "volume": 80,
        }  # fmt: skip
        return Play(**(given | changes))

    def log(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "policy": asdict(self.policy),
            "terminals": {name: board.steps for name, board in self.boards.items()},
        }


class Board:
    """A real core, and the controller's side of its delivery."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.facts: Facts = {}
        self.tried = Tried()
        self.steps: list[dict[str, Any]] = []
        self.stop: Stop | None = None
        self.tracked = "b1"
        self.held: set[str] = set()
        self.sound: Sound | None = None
        self.turn = 0
        self.replaced = False
        key = report_key(SECRET, name)
        identity = Identity(
            name, "zhouqu", key, RING, ("all",), ("zh",), frozenset({"mp3"}), frozenset({KeyRole.ACTUAL})
        )
        self.name = name
        self.core = Core(identity, Durable(), boot="boot1", random=random.Random(name), held=self.held)

    # the terminal

    def connect(self) -> None:
        self._do(self.core.connected(self.world.now))

    def hear(self, payload: bytes) -> None:
        self._do(self.core.command(payload, self.world.now))

    def _do(self, effects: list[Effect]) -> None:
        world = self.world
        for effect in effects:
            match effect:
                case Send(payload):
                    world.arrives(lambda payload=payload: self.told(payload))  # type: ignore[misc]
                case Fetch(clip, _, delay, _):

                    def got(sha256: str = clip.sha256) -> None:
                        self.held.add(sha256)
                        self._do(self.core.fetched(sha256, world.now, None))

                    world.at(world.now + delay + 400, got)
                case Sound():
                    self.sound = effect
                    world.at(max(effect.at_mono, world.now), lambda sound=effect: self._start(sound))  # type: ignore[misc]
                case Silence():
                    self.sound = None
        wake = self.core.next_wake()
        if wake is not None:
            world.at(max(wake, world.now + 1), self._tick)

    def _tick(self) -> None:
        wake = self.core.next_wake()
        if wake is not None and wake <= self.world.now:
            self._do(self.core.tick(self.world.now))

    def _start(self, sound: Sound) -> None:
        if self.sound is sound:
            seconds = 3.0 if sound.clip is None else sound.clip.seconds
            self.world.at(self.world.now + int(1000 * seconds * sound.repeats), lambda: self._finish(sound))
            self._do(self.core.started(sound.broadcast, self.world.now))

    def _finish(self, sound: Sound) -> None:
        if self.sound is sound:
            self.sound = None
            self._do(self.core.finished(sound.broadcast, self.world.now))

    # the controller

    def send(self, command: Command) -> None:
        signer = ACTUAL if isinstance(command, Play | Stop) else SERVICE
        payload = signer.seal(command)
        self.world.arrives(lambda: self.hear(payload))

    def told(self, payload: bytes) -> None:
        said = open_report(payload, lambda name: report_key(SECRET, name))
        now = self.world.now
        if isinstance(said, Hello):
            self.send(Time(self.name, said.nonce, WIRE + now, ("all",), "http://127.0.0.1:9"))
        elif isinstance(said, Report) and said.broadcast == self.tracked:
            self.tried = replace(self.tried, heard=now, unanswered=0)
            self.step([(f.attempt, f.state, f.reason, f.at - WIRE, f.detail) for f in said.facts])

    def step(self, new: list[tuple[int, str, str, int, str]] | None = None) -> None:
        """Facts came, or it is time to look: what is decided is done, and written down."""
        world = self.world
        fresh = [f for f in new or () if (f[0], State(f[1]), f[2]) not in self.facts]
        self.facts = delivery.fold(self.facts, [((a, State(s), r), (at, d)) for a, s, r, at, d in fresh])
        judged = _judged(self.facts, self.tried, world.now, world.policy)
        entry = {"t": world.now, "facts": fresh, "tried": asdict(self.tried), **judged}
        self.steps.append(entry)
        action = delivery.next_action(self.facts, self.tried, world.now, world.policy)
        self.turn += 1
        match action:
            case WaitUntil(at):
                world.at(at, lambda turn=self.turn: self.look(turn))  # type: ignore[misc]
            case Settled() | GiveUp():
                pass
            case Ask() | delivery.Send():
                attempt = action.attempt if isinstance(action, delivery.Send) else self.tried.attempt
                self.tried = Tried(attempt, world.now, self.tried.heard, self.tried.unanswered + 1)
                if self.stop is not None:
                    self.send(self.stop)
                elif isinstance(action, Ask):
                    self.send(Query(self.tracked, WIRE + world.now))
                else:
                    self.send(world.play(self.tracked, attempt=attempt))
                if isinstance(action, delivery.Send) and self.steps[-1]["next"][0] == "Send":
                    sent = (attempt, "sent", "", world.now, "")
                    self.step([sent])
                else:
                    self.step()

    def look(self, turn: int) -> None:
        if turn == self.turn:
            self.step()


def _normal() -> World:
    world = World("normal")
    for board in world.boards.values():
        world.at(BEGIN, board.connect)
        world.at(BEGIN + 200, board.step)
    world.run(60_000)
    return world


def _lossy() -> World:
    world = World("lossy", way=Way(delay=80, loss=0.4))
    for board in world.boards.values():
        world.at(BEGIN, board.connect)
        world.at(BEGIN + 200, board.step)
    world.run(BEGIN + LIFETIME + 120_000)
    return world


def _stop() -> World:
    world = World("stop", way=Way(delay=40, loss=0.3), seed=3)
    for board in world.boards.values():
        world.at(BEGIN, board.connect)
        world.at(BEGIN + 200, board.step)
    world.run(6_000)
    # A log has one policy; that of a stop is what its steps were judged by from here on.
    world.policy = replace(world.policy, stopping=True)
    for board in world.boards.values():
        world.counter += 1
        board.stop = Stop(
            broadcasts=("b1",), role="actual", counter=world.counter, issued=WIRE + world.now,
            expires=WIRE + world.now + LIFETIME, targets=Targets(groups=("all",)),
        )  # fmt: skip
        kept = [[*key, *value] for key, value in board.facts.items()]
        board.steps = []
        board.facts = {}
        board.tried = replace(board.tried, unanswered=0, sent=0)
        board.step([(a, State(s).value, r, at, d) for a, s, r, at, d in kept])  # type: ignore[misc]
    world.run(90_000)
    return world


def _update() -> World:
    """The old message's delivery, while a new one replaces it."""
    world = World("update")
    for board in world.boards.values():
        world.at(BEGIN, board.connect)
        world.at(BEGIN + 200, board.step)
    world.run(5_000)
    for board in world.boards.values():
        board.send(world.play("b2", replaces=("b1",), clips=(Clip("zh", "mp3", "b" * 64, 9, 4.0, "/b"),)))
    world.run(60_000)
    return world


def _late() -> World:
    world = World("late")
    for n, board in enumerate(world.boards.values()):
        world.at(BEGIN + n * 45_000, board.connect)
        world.at(BEGIN + 200, board.step)
    world.run(BEGIN + 200_000)
    return world


RUNS: dict[str, Callable[[], World]] = {
    "normal": _normal, "lossy": _lossy, "stop": _stop, "update": _update, "late": _late,
}  # fmt: skip


def written(log: Mapping[str, Any]) -> str:
    """One step a line, so that a difference can be read."""
    terminals = ",\n".join(
        f" {json.dumps(name)}: [\n"
        + ",\n".join("  " + json.dumps(step, ensure_ascii=False, separators=(",", ":")) for step in steps)
        + "\n ]"
        for name, steps in log["terminals"].items()
    )
    policy = json.dumps(log["policy"])
    return f'{{"name": {json.dumps(log["name"])}, "policy": {policy}, "terminals": {{\n{terminals}\n}}}}\n'


def main(names: list[str]) -> None:
    for name in names or list(RUNS):
        path = FOLDER / f"{name}.json"
        path.write_text(written(RUNS[name]().log()), encoding="utf-8")
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1:])
