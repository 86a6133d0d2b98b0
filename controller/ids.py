"""Ids that a tired person can read over the phone: ``A261122-7KQ4X``.

Date and 25 random bits (Crockford base32, no I, L, O, U). Never sequential: a restored database must not
give an old broadcast's id to a new one, because terminals answer a known id with its old state and stay
silent.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
BEIJING: Final = ZoneInfo("Asia/Shanghai")


def new_id(letter: str, now: datetime) -> str:
    """`letter` is A for an alert, B for a broadcast; the date is Beijing's."""
    tail = "".join(secrets.choice(_ALPHABET) for _ in range(5))
    return f"{letter}{now.astimezone(BEIJING):%y%m%d}-{tail}"
