"""Which version of the program this is."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Of the installed package; "?" in a tree that was never installed."""
    try:
        return metadata.version("fenghuo")
    except metadata.PackageNotFoundError:
        return "?"
