"""How late the event loop is: whatever keeps it, heartbeats and deliveries wait as long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

EVERY = 0.02


async def watch_lag(
    observe: Callable[[float], None],
    monotonic: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Tell ``observe`` for ever, every 20 ms, by how many seconds the loop came later than that."""
    while True:
        before = monotonic()
        await sleep(EVERY)
        observe(max(monotonic() - before - EVERY, 0.0))
