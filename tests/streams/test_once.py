"""Batches sent again count once: whatever is repeated, however batches are cut and restored, and whoever sent them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import Columns, Rejected, Sent
from schemas.errors import ErrorCode
from streams.once import KEPT_MS, OnceTask
from streams.window_task import WindowTask
from tests.streams.windowing import Row, by_kind, columns, pipeline, process_in_pieces, summaries

Part = tuple[str | None, int, list[Row]]  # stream, number, rows


def task() -> OnceTask:
    return OnceTask(WindowTask(pipeline()))


def records(parts: list[Part], log_times: list[int] | None = None) -> Columns:
    """Each part as one record, at offsets 0, 1, ... with its rows numbered."""
    rows = [row for _, _, members in parts for row in members]
    sizes = [len(members) for _, _, members in parts]
    offset = np.repeat(np.arange(len(parts), dtype=np.int64), sizes)
    row = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
    sent = tuple(Sent(i, stream, number) for i, (stream, number, _) in enumerate(parts) if stream)
    log_time = offset if log_times is None else np.array(log_times, np.int64)[offset]
    return replace(columns(rows), next=len(parts), offset=offset, row=row, sent=sent, log_time=log_time)


def counts(parts: list[Part], log_times: list[int] | None = None) -> int:
    one = task()
    outputs = one.process(records(parts, log_times)) + one.advance(len(parts), 10_000)
    return sum(summary.count for summary in summaries(outputs))


ROWS: list[Row] = [("a", 1, 1.0), ("b", 2, 2.0)]
parts_strategy = st.lists(
    st.tuples(
        st.sampled_from(["g", "h", None]),
        st.integers(0, 5),
        st.lists(
            st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 60), st.floats(-9, 9)),
            min_size=1,
            max_size=4,
        ),
    ),
    min_size=1,
    max_size=12,
)


def first_times(parts: list[Part]) -> list[Part]:
    highest: dict[str, int] = {}
    kept = []
    for stream, number, rows in parts:
        if stream is None or number > highest.get(stream, -1):
            kept.append((stream, number, rows))
            if stream is not None:
                highest[stream] = number
    return kept


@settings(max_examples=100, deadline=None)
@given(parts=parts_strategy, data=st.data())
def test_only_the_first_of_each_batch_counts(parts: list[Part], data: st.DataObject) -> None:
    plain = WindowTask(pipeline())
    once = first_times(parts)
    rows = [row for _, _, members in once for row in members]
    expected = plain.process(columns(rows)) + plain.advance(0, 10_000)

    def as_records(some: list[Part], begin: int) -> Columns:
        made = records(some)
        moved = tuple(sent._replace(offset=sent.offset + begin) for sent in made.sent)
        return replace(
            made, start=begin, next=made.next + begin, offset=made.offset + begin, sent=moved, rejected=()
        )

    last, outputs = process_in_pieces(task(), task, parts, data, as_records)  # type: ignore[arg-type]
    outputs += last.advance(0, 10_000)
    assert by_kind(outputs)["result"] == by_kind(expected)["result"]


def test_rows_of_a_batch_taken_one_by_one_all_count() -> None:
    whole = records([("g", 3, ROWS)])
    one = task()
    outputs = [o for i in range(2) for o in one.process(whole.take(slice(i, i + 1), 0, 1))]
    outputs += one.advance(1, 10_000)
    assert sum(summary.count for summary in summaries(outputs)) == 2


def test_rejected_rows_of_a_batch_sent_again_are_not_dead_lettered_again() -> None:
    bad = [Rejected(i, 2, ErrorCode.MISROUTED, "", b"k", b"{}") for i in range(2)]
    both = replace(records([("g", 3, ROWS), ("g", 3, ROWS)]), rejected=tuple(bad))
    assert sum(output.kind == "dead" for output in task().process(both)) == 1


def test_streams_do_not_depend_on_each_other() -> None:
    assert counts([("g", 9, ROWS), ("h", 2, ROWS), ("g", 9, ROWS), ("h", 3, ROWS), (None, 0, ROWS)]) == 8


def test_a_stream_silent_for_longer_than_sources_are_kept_is_forgotten() -> None:
    parts: list[Part] = [("g", 9, ROWS), ("h", 2, ROWS), ("g", 9, ROWS)]
    assert counts(parts, [0, KEPT_MS, KEPT_MS]) == 4
    assert counts(parts, [0, KEPT_MS + 1, KEPT_MS + 1]) == 6


def test_without_numbered_batches_the_state_is_that_of_the_task_alone() -> None:
    plain, one = WindowTask(pipeline()), task()
    for each in (plain, one):
        each.process(columns(ROWS))
    assert one.snapshot(full=True) == plain.snapshot(full=True)
