"""The watch on the event loop tells how much later than meant it comes."""

from __future__ import annotations

import asyncio

import pytest

from streams.loop_lag import EVERY, watch_lag


def test_what_keeps_the_loop_shows_as_lag() -> None:
    now, kept, seen = [0.0], iter([0.0, 0.25, -0.001]), list[float]()

    async def sleep(seconds: float) -> None:
        late = next(kept, None)
        if late is None:
            raise asyncio.CancelledError
        now[0] += seconds + late

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watch_lag(seen.append, lambda: now[0], sleep))
    assert seen == pytest.approx([0.0, 0.25, 0.0])
    assert EVERY < 0.1
