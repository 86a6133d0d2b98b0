"""What holds for every test: no example is judged by how long it took, because machines are shared; and CI
tries the same examples every time, so that its verdict is about the change. At a desk they are new ones."""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "fenghuo",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("fenghuo")


@pytest.fixture(autouse=True)
def _nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recogniser hears what a test's voice hums as babble, after a load of seconds; who tests the ear
    gives it another one."""
    monkeypatch.setattr("controller.listening.missing", lambda: "tests do not listen")
