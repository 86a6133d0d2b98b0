"""``python -m benchmarks.fleet_child …``: `simulators.fleet` as it is, which also says when the last of its
terminals has started a broadcast: ``{"event": "playing", "id": …, "first": ns, "last": ns, "count": n}``.

The clock is the machine's monotonic one, shared by all processes; the terminals' own (wire) clocks differ
by what the signed time took to reach them. The end of stdin ends it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from simulators.fleet import Terminal, main
from simulators.fleet.program import say


def tap(wanted: int) -> None:
    started: dict[str, list[int]] = {}
    """Broadcast → [count, first, last]."""
    real = Terminal._start

    def start(self: Terminal) -> None:
        assert self.sound is not None
        broadcast, before = self.sound.broadcast, self.fleet.counts.started
        real(self)
        if self.fleet.counts.started == before:
            return
        now = time.monotonic_ns()
        seen = started.setdefault(broadcast, [0, now, now])
        seen[0] += 1
        seen[2] = now
        if seen[0] == wanted:
            say({"event": "playing", "id": broadcast, "count": wanted, "first": seen[1], "last": now})

    Terminal._start = start  # type: ignore[method-assign]


def end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    tap(int(sys.argv.pop(1)))
    threading.Thread(target=end_with_parent, name="stdin", daemon=True).start()
    sys.exit(main())
