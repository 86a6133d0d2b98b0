"""What holds for every test: no example is judged by how long it took, because machines are shared; and CI
tries the same examples every time, so that its verdict is about the change. At a desk they are new ones."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "fenghuo",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("fenghuo")

# Whoever runs the tests in the background of a script may have SIGINT ignored, and every child would inherit
# it; the programs under test are ended by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

BOUND_S = 900
"""A test that hangs fails after so long, and says where its tasks stand; the slowest takes two minutes."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    was = signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(BOUND_S)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, was)


def _hangs(*_: object) -> None:
    with contextlib.suppress(RuntimeError):  # no loop is running
        for task in asyncio.all_tasks():
            task.print_stack()
    raise TimeoutError(f"hangs: not over after {BOUND_S} s")


@pytest.fixture(autouse=True)
def _nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recogniser hears what a test's voice hums as babble, after a load of seconds; who tests the ear
    gives it another one."""
    monkeypatch.setattr("controller.listening.missing", lambda: "tests do not listen")
