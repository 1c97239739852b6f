"""Replay and isolation of failing rows, without Kafka."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.columns import Columns, RawBatch
from streams.checkpoint import FORMAT, Control, Manifest, Progress, Restored
from streams.errors import HandlerError
from streams.runner import StageRunner
from streams.task import Output
from tests.streams.counting import POISON, Counting, stage


def batch(values: list[bytes], start: int) -> RawBatch:
    n = len(values)
    offsets = np.arange(start, start + n, dtype=np.int64)
    return RawBatch("t", 0, start, start + n, offsets, np.zeros(n, np.int64), [None] * n, values)


def numbers(first: int, last: int) -> list[bytes]:
    return [b"%d" % i for i in range(first, last + 1)]


def restored(state: bytes, at: int, committed: int, controls: tuple[Control, ...] = ()) -> Restored:
    result = Restored(
        Manifest(FORMAT, "s", 1, {"t": at}, {"t": 0}, {"t\0state": 1}),
        Progress("me", 2, {"t": committed}, []),
        list(controls),
    )
    result.blocks["t\0state", 1] = state
    return result


def runner(at: Restored | None = None) -> StageRunner:
    return StageRunner.restored(stage("t"), 0, at or Restored(), 0)


def texts(outputs: list[Output]) -> list[bytes | None]:
    return [output.value for output in outputs]


def test_outputs_before_the_committed_position_are_discarded() -> None:
    replaying = runner(restored(b"2 3", at=2, committed=4))
    assert texts(replaying.take(batch(numbers(3, 6), 2))) == [b"5 15", b"6 21"]
    assert replaying.position == 6
    assert not replaying.replaying


@given(cuts=st.lists(st.integers(1, 19), max_size=5), at=st.integers(0, 10), more=st.integers(0, 8))
def test_replay_gives_the_same_outputs_wherever_it_is_cut(cuts: list[int], at: int, more: int) -> None:
    values = numbers(1, 20)
    whole = texts(runner().take(batch(values, 0)))
    replaying = runner(restored(b"%d %d" % (at, at * (at + 1) // 2), at, at + more))
    edges = sorted({at, 20, *(cut for cut in cuts if cut > at)})
    outputs: list[bytes | None] = []
    for start, end in pairwise(edges):
        outputs += texts(replaying.take(batch(values[start:end], start)))
    assert outputs == whole[at + more :]


def test_idle_timeouts_are_applied_where_they_took_effect() -> None:
    seen: list[tuple[int, int, int]] = []

    class Watching(Counting):
        def advance(self, position: int, watermark: int) -> list[Output]:
            seen.append((self.count, position, watermark))
            return []

    controls = (Control("t", 3, "idle", 70), Control("t", 4, "idle", 80))
    replaying = StageRunner.restored(stage("t"), 0, restored(b"2 3", 2, 4, controls), 0)
    replaying.task = Watching()
    replaying.task.restore({"state": b"2 3"})
    replaying.take(batch(numbers(3, 3), 2))
    assert replaying.replaying
    replaying.take(batch(numbers(4, 5), 3))
    assert seen == [(3, 3, 70), (4, 4, 80)]


def test_a_failing_row_is_found_by_bisection_and_dead_lettered() -> None:
    suspect = runner()
    suspect.suspect_until = 10
    values = [*numbers(1, 4), POISON, *numbers(5, 6), POISON]
    outputs = suspect.take(batch(values, 0))
    kinds = [output.kind for output in outputs]
    assert kinds == ["result"] * 4 + ["dead"] + ["result"] * 2 + ["dead"]
    assert texts(outputs)[6] == b"6 21"
    assert [(c.kind, c.position) for c in suspect.controls] == [("skip", 4), ("skip", 7)]
    assert suspect.position == 8


def test_skipped_rows_stay_skipped_in_a_replay() -> None:
    replaying = runner(restored(b"0 0", 0, 3, (Control("t", 1, "skip"),)))
    outputs = replaying.take(batch([b"1", POISON, b"2", b"3"], 0))
    assert texts(outputs) == [b"3 6"]


def test_a_failure_that_no_row_explains_is_an_error() -> None:
    class Broken(Counting):
        def process(self, columns: object) -> list[Output]:  # noqa: ARG002
            raise RuntimeError("always")

    suspect = runner()
    object.__setattr__(suspect.stage, "task", Broken)
    suspect.task = Broken()
    suspect.suspect_until = 10
    with pytest.raises(HandlerError, match="always"):
        suspect.take(batch(numbers(1, 3), 0))


def test_what_is_recomputed_is_not_tallied_again() -> None:
    class Tallying(Counting):
        tally = 0

        def process(self, columns: Columns) -> list[Output]:
            self.tally += len(columns)
            return super().process(columns)

        def drain(self) -> dict[str, int]:
            tally, self.tally = self.tally, 0
            return {"taken": tally}

    replaying = StageRunner.restored(stage("t"), 0, restored(b"2 3", 2, 4), 0)
    replaying.task = Tallying()
    replaying.task.restore({"state": b"2 3"})
    replaying.take(batch(numbers(3, 7), 2))
    assert replaying.tally == {"taken": 3}
    replaying.take(batch(numbers(8, 8), 7))
    assert replaying.tally == {"taken": 1}
