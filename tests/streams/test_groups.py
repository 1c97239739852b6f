"""Group codes by labels: in order of first appearance, whether or not batches share their lists of values."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import Coded, Columns
from streams.groups import Groups

Rows = list[tuple[str, str, str]]
LABELS = ("a", "b", "c")


def columns(rows: Rows, lists: list[list[str]]) -> Columns:
    labels = {}
    for i, name in enumerate(LABELS):
        for row in rows:
            if row[i] not in lists[i]:
                lists[i].append(row[i])
        labels[name] = Coded(np.array([lists[i].index(row[i]) for row in rows], np.int32), lists[i])
    n = len(rows)
    whole = np.zeros(n, np.int64)
    return Columns(
        "t", 0, 0, n, whole, whole.astype(np.int32), whole, whole, {}, labels, lambda _: (None, b"")
    )


TEXT = st.sampled_from(["", "x", "y", "z", "x/y", "%"])
BATCHES = st.lists(st.tuples(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1), st.booleans()), min_size=1)


@settings(deadline=None)
@given(BATCHES, st.sampled_from([("a",), ("a", "b"), ("c", "a", "b")]))
def test_codes_are_those_of_a_dictionary(batches: list[tuple[Rows, bool]], by: tuple[str, ...]) -> None:
    groups = Groups(by, ())
    expected: dict[tuple[str, ...], int] = {}
    lists: list[list[str]] = [[], [], []]
    for rows, afresh in batches:
        if afresh:
            lists = [["unused"], [], []]
        keys = [tuple(row[LABELS.index(name)] for name in by) for row in rows]
        wanted = [expected.setdefault(key, len(expected)) for key in keys]
        assert groups.encode(columns(rows, lists)).tolist() == wanted
    assert [groups.labels(code) for code in range(len(groups))] == [
        dict(zip(by, key, strict=True)) for key in expected
    ]


def test_many_groups_keep_their_codes() -> None:
    groups, lists = (
        Groups(("a", "b"), ("c",)),
        [[str(i) for i in range(300)], [str(i) for i in range(50)], ["k"]],
    )
    rng = np.random.default_rng(1)
    seen: dict[tuple[int, int], int] = {}
    for _ in range(20):
        a, b = rng.integers(0, 300, 1_000).astype(np.int32), rng.integers(0, 50, 1_000).astype(np.int32)
        labels = {
            "a": Coded(a, lists[0]),
            "b": Coded(b, lists[1]),
            "c": Coded(np.zeros(1_000, np.int32), lists[2]),
        }
        whole = np.zeros(1_000, np.int64)
        batch = Columns("t", 0, 0, 0, whole, a, whole, whole, {}, labels, lambda _: (None, b""))
        wanted = [seen.setdefault(pair, len(seen)) for pair in zip(a.tolist(), b.tolist(), strict=True)]
        assert groups.encode(batch).tolist() == wanted
    assert groups.labels(0)["c"] == "k"
