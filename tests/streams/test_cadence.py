"""The emission interval stretches with what commits cost."""

from __future__ import annotations

import pytest

from streams.cadence import pause_after


@pytest.mark.parametrize(
    ("wall", "cpu", "pause"),
    [
        (0.010, 0.002, 0.1),  # the usual commit: every 100 ms
        (0.030, 0.020, 0.2),  # much to encode: 20 ms are 10% of 200 ms
        (0.400, 0.002, 0.8),  # a slow broker: a third of the time
    ],
)
def test_the_pause_follows_the_dearer_of_cpu_and_wall(wall: float, cpu: float, pause: float) -> None:
    assert pause_after(0.1, wall, cpu, 0.1) == pytest.approx(pause)
