"""Canaries: events that the monitor sends through every partition of every app, to see how long they take."""

from __future__ import annotations

import msgspec


class Canary(msgspec.Struct, frozen=True):
    """One canary as sent; ``sent`` is the sender's clock in milliseconds."""

    sent: int


class CanarySeen(msgspec.Struct, frozen=True):
    """A canary that came out of an app's partition with one of its commits; ``sent`` is that of the canary."""

    app: str
    partition: int
    sent: int
