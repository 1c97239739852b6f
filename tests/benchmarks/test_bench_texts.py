"""Records made a column at a time."""

from __future__ import annotations

import json
from itertools import islice

import numpy as np

from benchmarks.texts import named, numerals, records


def test_every_row_fills_the_template() -> None:
    name, size = named(["a", "b"], np.array([1, 0])), numerals(np.array([0.1, 12.0]))
    count = numerals(np.array([-3, 1_750_000_000_000]))
    found = list(records(name, '{"n":"%s","s":%s,"c":%s}', name, size, count))
    assert [key for key, _ in found] == [b"b", b"a"]
    assert [json.loads(value) for _, value in found] == [
        {"n": "b", "s": 0.1, "c": -3},
        {"n": "a", "s": 12.0, "c": 1_750_000_000_000},
    ]


def test_numbers_are_the_same_when_read_again() -> None:
    values = np.random.default_rng(3).lognormal(2.0, 3.0, 1_000)
    np.testing.assert_array_equal(values, [float(text) for text in numerals(values).to_pylist()])


def test_more_rows_than_are_made_at_once_keep_their_order() -> None:
    number = numerals(np.arange(120_001))
    found = [int(value) for _, value in records(number, "%s", number)]
    assert found == list(range(120_001))
    assert list(islice(records(number, "%s", number), 1)) == [(b"0", b"0")]
