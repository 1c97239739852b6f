"""Runs of changes: nothing is lost or put out of order, there are few blocks, and a part is seldom written again."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.blocks import BLOCK, TOGETHER, Runs, Saved
from streams.task import Blocks

steps = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from([0, 1, 3, BLOCK // TOGETHER, BLOCK // 2, BLOCK + 1]),
        st.sampled_from(["add", "add", "add", "whole", "gone", "full", "restore"]),
    ),
    max_size=60,
)


def write(held: dict[str, bytes], blocks: Blocks, *, full: bool = False) -> None:
    if full:
        held.clear()
    for name, value in blocks.items():
        if value is None:
            del held[name]
        else:
            assert len(value) <= BLOCK
            held[name] = value


@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_what_was_saved_is_read_back_in_order(steps: list[tuple[str, int, str]]) -> None:
    runs, held, expected = Runs("window"), dict[str, bytes](), defaultdict[str, list[bytes]](list)
    for number, (entry, size, what) in enumerate(steps):
        part = b"%06d" % number + b"." * size
        if what == "restore":
            runs = Runs("window")
            runs.read(held)
        elif what == "gone":
            expected.pop(entry, None)
            write(held, runs.since({}, expected, full=False))
        elif what == "full":
            everything = {name: Saved(parts, whole=True) for name, parts in expected.items()}
            write(held, runs.since(everything, expected, full=True), full=True)
        else:
            saved = Saved([part], whole=what == "whole")
            expected[entry] = [part] if saved.whole else [*expected[entry], part]
            write(held, runs.since({entry: saved}, expected, full=False))
    assert Runs("window").read(held) == expected


def test_small_changes_are_put_together_and_written_a_few_times() -> None:
    runs, held, written = Runs("window"), dict[str, bytes](), 0
    for _ in range(1_000):
        blocks = runs.since({"a": Saved([b"." * 100], whole=False)}, ["a"], full=False)
        written += sum(len(value) for value in blocks.values() if value is not None)
        write(held, blocks)
    assert len(held) <= 4 * TOGETHER
    assert written <= 5 * 1_000 * 100
    assert len(Runs("window").read(held)["a"]) == 1_000


def test_large_changes_are_written_once() -> None:
    runs, written = Runs("window"), 0
    for _ in range(30):
        blocks = runs.since({"a": Saved([b"." * BLOCK], whole=False)}, ["a"], full=False)
        written += sum(len(value or b"") for value in blocks.values())
    assert written < 31 * BLOCK
