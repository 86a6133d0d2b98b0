"""Errors that the commands tell a person; here, so that `status` need not load what makes sound."""

from __future__ import annotations

from typing import Final


class LinkError(Exception):
    """The broker's address or certificates make no sense: what to mend."""


class DeviceHangs(Exception):
    """The sound device does not let go of a stopped sound; only the end of the process makes it."""


class Refused(Exception):
    """What a person at the terminal asked for may not be done now: why."""


NO_STANDING: Final = "no standing message is here"
"""Of Refused: so that the commands can say it in Chinese."""
